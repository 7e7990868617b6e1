//! The way from one process of a node to its tables: every call is a moment at which others move, may fail, and is
//! shown to the books once it has done something.

use std::sync::Arc;

use holdfast_storage::{
    BackendId, BackendInfo, CatalogPosition, DataFile, Error, ErrorKind, FileEntry, OpId, Pin,
    PinRequest, RestoreSpec, Reuse, StagedFile, Staging, Storage, TableInfo, TabletId, Targets,
    Token,
};

use super::books::Books;
use super::choices::Kind;
use super::shared::{Shared, Wait};

/// One process' handle on its tables.
pub(super) struct Tables {
    pub(super) shared: Arc<Shared>,
    pub(super) truth: Arc<dyn Storage>,
    pub(super) books: Arc<Books>,
    pub(super) node: usize,
}

/// When a call fails.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fails {
    Not,
    Before(ErrorKind),
    After,
}

impl Tables {
    /// Lets others move, then says whether the call fails. `backend` = whether a replica can be blamed.
    fn begin(
        &self,
        call: &'static str,
        op: OpId,
        backend: Option<BackendId>,
    ) -> Result<Fails, Error> {
        if !self.shared.pause(Wait::Turn) {
            return Err(Error::new(ErrorKind::Stopped, "the process is gone"));
        }
        self.books.before_call(self.node, op);
        let drawn = self.shared.trouble(|choices, weather| {
            if !choices.happens(Kind::Storage, weather.storage_error) {
                return None;
            }
            let blame = if backend.is_some() { 2 } else { 0 };
            Some(match choices.weighted(Kind::Storage, &[4, 1, blame, 3]) {
                0 => Fails::Before(ErrorKind::Io),
                1 => Fails::Before(ErrorKind::Full),
                2 => Fails::Before(ErrorKind::ReplicaFault),
                _ => Fails::After,
            })
        });
        let Some(fails) = drawn else {
            return Ok(Fails::Not);
        };
        let name = match fails {
            Fails::Before(ErrorKind::Full) => "storage full",
            Fails::Before(ErrorKind::ReplicaFault) => "storage replica fault",
            Fails::After => "storage done, answered with an error",
            _ => "storage error",
        };
        self.shared
            .fault(name, || format!("{call} of job {op} on node {}", self.node));
        Ok(fails)
    }

    /// Runs a call that changes something.
    fn change<T>(
        &self,
        call: &'static str,
        op: OpId,
        backend: Option<BackendId>,
        act: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let fails = self.begin(call, op, backend)?;
        if let Fails::Before(kind) = fails {
            return Err(injected(kind, call));
        }
        let result = act();
        self.books.after_call(self.node, call, op);
        match fails {
            Fails::After if result.is_ok() => Err(injected(ErrorKind::Io, call)),
            _ => result,
        }
    }

    /// Runs a call that only reads.
    fn look<T>(
        &self,
        call: &'static str,
        op: OpId,
        backend: Option<BackendId>,
        act: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        match self.begin(call, op, backend)? {
            Fails::Not => act(),
            Fails::Before(kind) => Err(injected(kind, call)),
            Fails::After => Err(injected(ErrorKind::Io, call)),
        }
    }
}

fn injected(kind: ErrorKind, call: &str) -> Error {
    Error::new(kind, format!("simulated {kind:?} failure of {call}"))
}

impl Storage for Tables {
    fn position(&self) -> CatalogPosition {
        self.truth.position()
    }

    fn backends(&self) -> Result<Vec<BackendInfo>, Error> {
        self.truth.backends()
    }

    fn databases(&self) -> Result<Vec<String>, Error> {
        self.truth.databases()
    }

    fn tables(&self, database: &str) -> Result<Vec<TableInfo>, Error> {
        self.truth.tables(database)
    }

    fn pin(&self, op: OpId, request: &PinRequest) -> Result<Pin, Error> {
        self.change("pin", op, None, || {
            let pin = self.truth.pin(op, request);
            if let Ok(pin) = &pin {
                self.books.pinned(self.node, op, request, pin);
            }
            pin
        })
    }

    fn pinned_files(&self, op: OpId, tablet: TabletId) -> Result<Vec<FileEntry>, Error> {
        self.look("pinned_files", op, None, || {
            self.truth.pinned_files(op, tablet)
        })
    }

    fn link(&self, op: OpId, backend: BackendId, tablets: &[TabletId]) -> Result<(), Error> {
        self.change("link", op, Some(backend), || {
            self.truth.link(op, backend, tablets)
        })
    }

    fn open(
        &self,
        op: OpId,
        backend: BackendId,
        tablet: TabletId,
        name: &str,
    ) -> Result<Arc<dyn DataFile>, Error> {
        self.look("open", op, Some(backend), || {
            self.truth.open(op, backend, tablet, name)
        })
    }

    fn release(&self, op: OpId) -> Result<(), Error> {
        self.change("release", op, None, || self.truth.release(op))
    }

    fn create_targets(&self, op: OpId, spec: &RestoreSpec) -> Result<Targets, Error> {
        self.change("create_targets", op, None, || {
            let targets = self.truth.create_targets(op, spec);
            if targets.is_ok() {
                self.books.targets_made(self.node, op, spec);
            }
            targets
        })
    }

    fn stage(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        files: &[FileEntry],
    ) -> Result<(), Error> {
        self.change("stage", op, None, || {
            self.truth.stage(op, token, backend, tablet, files)
        })
    }

    fn reuse(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        entry: &FileEntry,
    ) -> Result<Reuse, Error> {
        self.change("reuse", op, None, || {
            self.truth.reuse(op, token, backend, tablet, entry)
        })
    }

    fn stage_file(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        entry: &FileEntry,
    ) -> Result<Staging, Error> {
        let staging = self.look("stage_file", op, None, || {
            self.truth.stage_file(op, token, backend, tablet, entry)
        })?;
        Ok(match staging {
            Staging::Done => Staging::Done,
            Staging::Write(truth) => Staging::Write(Box::new(Writing {
                shared: Arc::clone(&self.shared),
                truth,
            })),
        })
    }

    fn settle(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablets: &[TabletId],
    ) -> Result<(), Error> {
        self.change("settle", op, None, || {
            self.truth.settle(op, token, backend, tablets)
        })
    }

    fn prepare(&self, op: OpId) -> Result<(), Error> {
        self.change("prepare", op, None, || self.truth.prepare(op))
    }

    fn commit(&self, op: OpId) -> Result<(), Error> {
        self.change("commit", op, None, || {
            self.books.before_commit(self.node, op);
            let done = self.truth.commit(op);
            self.books.committed(self.node, op, done.is_ok());
            done
        })
    }

    fn forget(&self, op: OpId) -> Result<(), Error> {
        self.change("forget", op, None, || self.truth.forget(op))
    }

    fn abort(&self, op: OpId) -> Result<(), Error> {
        self.change("abort", op, None, || self.truth.abort(op))
    }

    fn retain_only(&self, live: &[OpId]) -> Result<(), Error> {
        // Called while the engine opens: a failure would only be another death.
        let done = self.truth.retain_only(live);
        self.books.after_call(self.node, "retain_only", OpId(0));
        done
    }
}

/// A file on its way into a staging place.
struct Writing {
    shared: Arc<Shared>,
    truth: Box<dyn StagedFile>,
}

impl StagedFile for Writing {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if !self.shared.is_alive() {
            return Err(Error::new(ErrorKind::Stopped, "the process is gone"));
        }
        if self.shared.happens(Kind::Storage, |w| w.storage_error) {
            self.shared
                .fault("storage full", || "write of a staged file".to_owned());
            return Err(injected(ErrorKind::Full, "write"));
        }
        self.truth.write(bytes)
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        if !self.shared.pause(Wait::Turn) {
            return Err(Error::new(ErrorKind::Stopped, "the process is gone"));
        }
        self.truth.finish()
    }
}
