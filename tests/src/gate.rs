//! A node whose folders are copied between any two of its calls: journal, storage and broker pass a
//! gate, and while a copy is made nobody is within. Such a copy is what a kill at that moment
//! leaves. Nothing is faked: each call goes on to the real part.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_broker::{
    Broker, Context, Description, Error, ObjectInfo, ObjectName, Page, PageToken, PutMode,
    PutOutcome, Source, Visit,
};
use holdfast_engine::Event;
use holdfast_journal::{
    Appended, Checkpoint, Event as _, FrameHash, Journal, Kind, Record, Seq, StreamId,
};
use holdfast_storage::model::{
    BackendId, BackendInfo, CatalogPosition, FileEntry, OpId, Pin, PinRequest, RestoreSpec,
    TableInfo, TabletId, Targets, Token,
};
use holdfast_storage::{DataFile, Reuse, StagedFile, Staging, Storage};
use parking_lot::{Mutex, RwLock};

use crate::place::{copy_without_indices, is_immutable};

/// A copy of a node's folders, and the moment that it shows.
#[derive(Clone, Debug)]
pub struct Moment {
    /// Holds `node` and `remote`.
    pub root: PathBuf,
    /// What had just happened, or was about to.
    pub what: String,
    /// Where an append to the journal was, or is, what happens.
    pub append: Option<Side>,
}

/// On which side of a call a copy was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Before,
    After,
}

/// Counts the calls within, and copies when there is none.
pub struct Gate {
    within: RwLock<()>,
    from: PathBuf,
    to: PathBuf,
    appends: AtomicU64,
    puts: AtomicU64,
    copies: Mutex<Copies>,
}

#[derive(Default)]
struct Copies {
    /// Of the calls to storage and brokers each so-manieth is copied around; 0 while nothing is copied.
    step: usize,
    calls: usize,
    moments: Vec<Moment>,
}

impl Gate {
    /// Copies `from/node` and `from/remote` to folders below `to`.
    pub fn new(from: &Path, to: &Path) -> Arc<Self> {
        Arc::new(Self {
            within: RwLock::default(),
            from: from.to_owned(),
            to: to.to_owned(),
            appends: AtomicU64::new(0),
            puts: AtomicU64::new(0),
            copies: Mutex::default(),
        })
    }

    /// How many times the journal was appended to, each with one sync, and how many objects were
    /// put.
    pub fn counts(&self) -> (u64, u64) {
        (
            self.appends.load(Ordering::Relaxed),
            self.puts.load(Ordering::Relaxed),
        )
    }

    /// From here on copies are made: around each append to the journal, and around each `step`th of
    /// the other calls.
    pub fn arm(&self, step: usize) {
        self.copies.lock().step = step;
    }

    /// No more copies; those made so far.
    pub fn disarm(&self) -> Vec<Moment> {
        std::mem::take(&mut *self.copies.lock()).moments
    }

    /// One call, during which nobody copies. Calls may be nested, so a waiting copy lets more of
    /// them in.
    fn pass<T>(&self, call: impl FnOnce() -> T) -> T {
        let _within = self.within.read_recursive();
        call()
    }

    fn copy(&self, what: impl FnOnce() -> String, append: Option<Side>) {
        let _nobody = self.within.write();
        let mut copies = self.copies.lock();
        if copies.step == 0 {
            return;
        }
        let moments = &mut copies.moments;
        let root = self.to.join(moments.len().to_string());
        for folder in ["node/journal", "node/storage", "node/jobs", "remote"] {
            if self.from.join(folder).exists() {
                copy_without_indices(&self.from.join(folder), &root.join(folder), &is_immutable);
            }
        }
        moments.push(Moment {
            root,
            what: what(),
            append,
        });
    }

    /// A call that changes something, maybe with a copy before it and one after it.
    fn change<T>(&self, what: impl Fn() -> String, call: impl FnOnce() -> T) -> T {
        let is_due = {
            let mut copies = self.copies.lock();
            copies.calls += 1;
            copies.step > 0 && copies.calls.is_multiple_of(copies.step)
        };
        if is_due {
            self.around(what, false, call)
        } else {
            self.pass(call)
        }
    }

    /// A call with a copy before it and one after it.
    fn around<T>(&self, what: impl Fn() -> String, appends: bool, call: impl FnOnce() -> T) -> T {
        let side = |side: Side| appends.then_some(side);
        self.copy(|| format!("before {}", what()), side(Side::Before));
        let done = self.pass(call);
        self.copy(|| format!("after {}", what()), side(Side::After));
        done
    }
}

/// Something behind a gate.
pub struct Gated<T: ?Sized> {
    pub gate: Arc<Gate>,
    pub inner: Arc<T>,
}

impl Journal<Event> for Gated<dyn Journal<Event>> {
    fn append(&self, events: &[Event], at_ms: u64) -> Result<Appended, holdfast_journal::Error> {
        let names = || {
            let names: Vec<_> = events.iter().map(|event| event.kind_name()).collect();
            format!("append of {}", names.join(", "))
        };
        self.gate.appends.fetch_add(1, Ordering::Relaxed);
        if self.gate.copies.lock().step == 0 {
            return self.inner.append(events, at_ms);
        }
        self.gate
            .around(names, true, || self.inner.append(events, at_ms))
    }

    fn position(&self) -> (Seq, FrameHash) {
        self.inner.position()
    }

    fn first(&self) -> Seq {
        self.inner.first()
    }

    fn read(
        &self,
        from: Seq,
        visit: &mut holdfast_journal::Visit<'_, Event>,
    ) -> Result<(), holdfast_journal::Error> {
        self.inner.read(from, visit)
    }

    fn by_stream(
        &self,
        stream: StreamId,
        from: Seq,
        limit: usize,
    ) -> Result<Vec<Record<Event>>, holdfast_journal::Error> {
        self.inner.by_stream(stream, from, limit)
    }

    fn by_kind(
        &self,
        kind: Kind,
        from: Seq,
        limit: usize,
    ) -> Result<Vec<Record<Event>>, holdfast_journal::Error> {
        self.inner.by_kind(kind, from, limit)
    }

    fn checkpoint(
        &self,
        seq: Seq,
        projection: &str,
        state: &[u8],
    ) -> Result<(), holdfast_journal::Error> {
        self.inner.checkpoint(seq, projection, state)
    }

    fn checkpoint_by(
        &self,
        projection: &str,
        through: Seq,
    ) -> Result<Option<Checkpoint>, holdfast_journal::Error> {
        self.inner.checkpoint_by(projection, through)
    }

    fn roll(&self) -> Result<(), holdfast_journal::Error> {
        self.inner.roll()
    }

    fn archive(
        &self,
        request: &holdfast_journal::ArchiveRequest<'_>,
    ) -> Result<Option<holdfast_journal::ArchiveInfo>, holdfast_journal::Error> {
        self.inner.archive(request)
    }

    fn archives(&self) -> Result<holdfast_journal::Archives, holdfast_journal::Error> {
        self.inner.archives()
    }

    fn history(
        &self,
        from: Seq,
        visit: &mut holdfast_journal::Visit<'_, Event>,
    ) -> Result<(), holdfast_journal::Error> {
        self.inner.history(from, visit)
    }
}

impl Broker for Gated<dyn Broker> {
    fn put(
        &self,
        ctx: &Context,
        name: &ObjectName,
        source: &dyn Source,
        mode: PutMode,
    ) -> Result<PutOutcome, Error> {
        self.gate.puts.fetch_add(1, Ordering::Relaxed);
        let what = || format!("put of {}", name.as_str());
        self.gate
            .change(what, || self.inner.put(ctx, name, source, mode))
    }

    fn get_range(
        &self,
        ctx: &Context,
        name: &ObjectName,
        range: Range<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        self.inner.get_range(ctx, name, range, visit)
    }

    fn get(&self, ctx: &Context, name: &ObjectName, max_len: u64) -> Result<Vec<u8>, Error> {
        self.inner.get(ctx, name, max_len)
    }

    fn stat(&self, ctx: &Context, name: &ObjectName) -> Result<Option<ObjectInfo>, Error> {
        self.inner.stat(ctx, name)
    }

    fn list(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.inner.list(ctx, prefix, after, limit)
    }

    fn delete(&self, ctx: &Context, name: &ObjectName) -> Result<(), Error> {
        let what = || format!("delete of {}", name.as_str());
        self.gate.change(what, || self.inner.delete(ctx, name))
    }

    fn settle(&self, ctx: &Context, names: &[ObjectName]) -> Result<(), Error> {
        self.gate.pass(|| self.inner.settle(ctx, names))
    }

    fn describe(&self) -> Description {
        self.inner.describe()
    }
}

/// A staged file each of whose writes passes the gate.
struct GatedFile {
    gate: Arc<Gate>,
    inner: Box<dyn StagedFile>,
}

type Stored<T> = Result<T, holdfast_storage::Error>;

impl StagedFile for GatedFile {
    fn write(&mut self, bytes: &[u8]) -> Stored<()> {
        self.gate.pass(|| self.inner.write(bytes))
    }

    fn finish(self: Box<Self>) -> Stored<()> {
        let Self { gate, inner } = *self;
        gate.change(|| "the end of a staged file".to_owned(), || inner.finish())
    }
}

impl Storage for Gated<dyn Storage> {
    fn position(&self) -> CatalogPosition {
        self.inner.position()
    }

    fn backends(&self) -> Stored<Vec<BackendInfo>> {
        self.inner.backends()
    }

    fn databases(&self) -> Stored<Vec<String>> {
        self.inner.databases()
    }

    fn tables(&self, database: &str) -> Stored<Vec<TableInfo>> {
        self.inner.tables(database)
    }

    fn pin(&self, op: OpId, request: &PinRequest) -> Stored<Pin> {
        self.gate
            .change(|| "pin".to_owned(), || self.inner.pin(op, request))
    }

    fn pinned_files(&self, op: OpId, tablet: TabletId) -> Stored<Vec<FileEntry>> {
        self.inner.pinned_files(op, tablet)
    }

    fn link(&self, op: OpId, backend: BackendId, tablets: &[TabletId]) -> Stored<()> {
        self.gate.change(
            || "link".to_owned(),
            || self.inner.link(op, backend, tablets),
        )
    }

    fn open(
        &self,
        op: OpId,
        backend: BackendId,
        tablet: TabletId,
        name: &str,
    ) -> Stored<Arc<dyn DataFile>> {
        self.inner.open(op, backend, tablet, name)
    }

    fn release(&self, op: OpId) -> Stored<()> {
        self.gate
            .change(|| "release".to_owned(), || self.inner.release(op))
    }

    fn create_targets(&self, op: OpId, spec: &RestoreSpec) -> Stored<Targets> {
        self.gate.change(
            || "create_targets".to_owned(),
            || self.inner.create_targets(op, spec),
        )
    }

    fn stage(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        files: &[FileEntry],
    ) -> Stored<()> {
        let call = || self.inner.stage(op, token, backend, tablet, files);
        self.gate.change(|| "stage".to_owned(), call)
    }

    fn reuse(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        entry: &FileEntry,
    ) -> Stored<Reuse> {
        self.gate
            .pass(|| self.inner.reuse(op, token, backend, tablet, entry))
    }

    fn stage_file(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        entry: &FileEntry,
    ) -> Stored<Staging> {
        let staging = self
            .gate
            .pass(|| self.inner.stage_file(op, token, backend, tablet, entry))?;
        Ok(match staging {
            Staging::Done => Staging::Done,
            Staging::Write(inner) => Staging::Write(Box::new(GatedFile {
                gate: Arc::clone(&self.gate),
                inner,
            })),
        })
    }

    fn settle(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablets: &[TabletId],
    ) -> Stored<()> {
        let call = || self.inner.settle(op, token, backend, tablets);
        self.gate.change(|| "settle".to_owned(), call)
    }

    fn prepare(&self, op: OpId) -> Stored<()> {
        self.gate
            .change(|| "prepare".to_owned(), || self.inner.prepare(op))
    }

    fn commit(&self, op: OpId) -> Stored<()> {
        self.gate
            .change(|| "commit".to_owned(), || self.inner.commit(op))
    }

    fn forget(&self, op: OpId) -> Stored<()> {
        self.gate
            .change(|| "forget".to_owned(), || self.inner.forget(op))
    }

    fn abort(&self, op: OpId) -> Stored<()> {
        self.gate
            .change(|| "abort".to_owned(), || self.inner.abort(op))
    }

    fn retain_only(&self, live: &[OpId]) -> Stored<()> {
        self.gate
            .change(|| "retain_only".to_owned(), || self.inner.retain_only(live))
    }
}
