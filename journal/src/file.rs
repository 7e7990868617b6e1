//! The file journal: opening, and the contract over log, group commit and index.
//!
//! Opening follows the table in `cases`; nothing is written before it is known that the folder
//! holds a journal of ours, and nothing is handed out before all of it is durable.

use std::{
    fmt::Debug,
    fs::File,
    io::{Read as _, Seek as _, Write as _},
    marker::PhantomData,
    path::Path,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use crate::{
    ahead,
    anchor::{self, Anchor},
    archive::{self, ArchiveInfo, ArchiveRequest, Archives, Leading},
    cases::{Answer, OpenCase, OpenReport},
    checkpoint,
    commit::{Committer, Sizes, Urgency},
    disk::{Disk, FolderDisk},
    error::{Error, ErrorKind},
    event::Event,
    ids::{FrameHash, Kind, Seq, StreamId},
    index::{Follower, INDEX_FOLDER, IndexStatus, Opening, Place, Query},
    journal::{Appended, Checkpoint, Journal, Record, Visit},
    reader::Reader,
    scan::{self, Expected, Scan},
    segment,
    transaction::Transaction,
};

const LOCK: &str = "lock";

/// Whether queries have an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// One in sled, kept by a thread of its own behind the log.
    Sled,
    /// None: queries by stream and kind read the log.
    None,
}

/// How a journal is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// A segment file is closed before it grows above this; a larger transaction gets a segment
    /// of its own.
    pub segment_bytes: u64,
    /// Space held back for urgent events on a full disk; 0 holds none.
    pub reserve_bytes: u64,
    /// Whether there is an index. Without a real folder there is none.
    pub index: Index,
    /// What the index may take beside four times the bytes of the log before it is built anew, in bytes. It is
    /// looked at after each 20 000 records and whenever records have left the log. Where it is small a young journal's
    /// index is built often: sled takes half a MiB for nothing.
    pub index_floor_bytes: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            reserve_bytes: 1 << 20,
            index: Index::Sled,
            index_floor_bytes: 16 << 20,
        }
    }
}

impl Options {
    /// With or without an index.
    #[must_use]
    pub const fn index(mut self, index: Index) -> Self {
        self.index = index;
        self
    }

    /// With an index that may be this much larger than four times the log.
    #[must_use]
    pub const fn index_floor_bytes(mut self, bytes: u64) -> Self {
        self.index_floor_bytes = bytes;
        self
    }

    /// With segments of this size.
    #[must_use]
    pub const fn segment_bytes(mut self, bytes: u64) -> Self {
        self.segment_bytes = bytes;
        self
    }

    /// With this much space held back.
    #[must_use]
    pub const fn reserve_bytes(mut self, bytes: u64) -> Self {
        self.reserve_bytes = bytes;
        self
    }
}

/// A journal in a folder, open for writing. One at a time: the folder is locked until it is
/// dropped, which also ends the index thread.
#[derive(Debug)]
pub struct FileJournal<E> {
    // Dropped in this order: the thread ends before the lock goes.
    index: Option<Follower>,
    committer: Arc<Committer>,
    reader: Arc<Reader>,
    /// One archive is made at a time; none any more once it is unknown which anchor stands.
    archiving: Mutex<Option<Error>>,
    _lock: Option<File>,
    events: PhantomData<fn() -> E>,
}

impl<E: Event> FileJournal<E> {
    /// Opens the journal in a folder, or begins one in an empty or missing folder.
    ///
    /// # Errors
    /// The refusals of the opening table (`Locked`, `Foreign`, `NewerFormat`, `Damaged`), `Full`
    /// and `Io`. A refused folder is unchanged but for its lock file.
    pub fn open(folder: impl AsRef<Path>, options: Options) -> Result<(Self, OpenReport), Error> {
        let folder = folder.as_ref();
        let disk = FolderDisk::create(folder)
            .map_err(|e| Error::io("open journal folder", &folder.display().to_string(), &e))?;
        Self::open_on(Arc::new(disk), options)
    }

    /// Opens the journal on a disk of the caller's, such as one that fails on command.
    ///
    /// # Errors
    /// As [`open`](FileJournal::open).
    pub fn open_on(disk: Arc<dyn Disk>, options: Options) -> Result<(Self, OpenReport), Error> {
        let expected = Expected {
            family: E::FAMILY,
            kinds: E::kinds(),
        };
        let lock = disk.folder().map(lock).transpose()?;
        scan::probe(&*disk, expected)?;
        let mut opening = Opening::begin(&*disk, options.index, E::FAMILY);
        let mut scan = scan::scan(&*disk, expected, &mut |head| opening.pass(head))?;
        let followed = opening.judge(
            &*disk,
            E::FAMILY,
            scan.damage.take(),
            (scan.base, scan.tip.seq),
        );
        let (begin, index_case) = followed?;
        mend(&*disk, &scan)?;
        let mut report = report(&scan);
        let leftover = std::mem::take(&mut scan.leftover);
        let (reader, last) = readable(Arc::clone(&disk), E::FAMILY, scan);
        report
            .cases
            .extend(archive::mend(&reader, E::FAMILY, &leftover)?);
        report.cases.extend(index_case);
        let sizes = Sizes {
            segment_bytes: options.segment_bytes,
            reserve_bytes: options.reserve_bytes,
        };
        let committer = Arc::new(Committer::open(
            Arc::clone(&reader),
            E::FAMILY,
            sizes,
            last,
        )?);
        report.segments = reader.segment_count() as u64;
        let index = match (begin, disk.folder()) {
            (Some(begin), Some(folder)) => {
                let path = folder.join(INDEX_FOLDER);
                let poisoned = Arc::clone(&committer);
                let refuse = Box::new(move |error| poisoned.poison(error));
                let reader = Arc::clone(&reader);
                let kept = Place {
                    path,
                    floor_bytes: options.index_floor_bytes,
                };
                Some(Follower::start(reader, E::FAMILY, kept, begin, refuse)?)
            }
            _ => None,
        };
        say(&report);
        Ok((
            Self {
                index,
                committer,
                reader,
                archiving: Mutex::new(None),
                _lock: lock,
                events: PhantomData,
            },
            report,
        ))
    }

    #[cfg(test)]
    pub(crate) fn reader(&self) -> &Reader {
        &self.reader
    }

    /// How the index stands to the log at this moment.
    #[must_use]
    pub fn index_status(&self) -> IndexStatus {
        self.index
            .as_ref()
            .map_or(IndexStatus::Off, Follower::status)
    }

    /// Waits until the index holds all that is durable now; `false` when it has none, cannot be
    /// built, or the time is over. Nothing needs this but tests and tools: queries are right at
    /// any moment.
    #[must_use]
    pub fn wait_for_index(&self, timeout: Duration) -> bool {
        let end = self.reader.tip().seq;
        self.index
            .as_ref()
            .is_some_and(|index| index.wait_for(end, timeout))
    }

    fn submit(&self, events: &[E], at_ms: u64, urgency: Urgency) -> Result<Appended, Error> {
        let appended = self
            .committer
            .submit(Transaction::encode(events, at_ms)?, urgency)?;
        if let Some(index) = &self.index {
            index.wake();
        }
        Ok(appended)
    }

    /// The archive with its anchor, both durable; the segments are still there. Where it stays unknown whether the
    /// anchor stands, the error is kept in `unsure` too.
    fn move_away(
        &self,
        leading: &Leading,
        request: &ArchiveRequest<'_>,
        unsure: &mut Option<Error>,
    ) -> Result<ArchiveInfo, Error> {
        let last = leading.last.seq;
        let held = checkpoint::hold(&self.reader, E::FAMILY, request.projection, last);
        let (checkpoint, checkpoint_hash) = held?;
        let disk = &**self.reader.disk();
        let prepared = archive::make(disk, leading, request).and_then(|(info, archive_hash)| {
            let anchor = Anchor {
                family: E::FAMILY,
                tip: leading.last,
                archive_first: info.first,
                archive_hash,
                projection: request.projection.to_owned(),
                checkpoint,
                checkpoint_hash,
                at_ms: request.at_ms,
            };
            match anchor::prepare(disk, &anchor) {
                Ok(()) => Ok((info, anchor)),
                Err(e) => {
                    archive::take_back(disk, &info);
                    Err(Error::io("write", anchor::ANCHOR_NEW, &e))
                }
            }
        });
        let (info, anchor) = prepared.inspect_err(|_| self.reader.release_candidate())?;
        if let Err(e) = anchor::put(disk) {
            // The checkpoint stays held: the anchor that names it may be the one that is durable.
            let text = format!(
                "put {}: {e}; whether records {} to {} have moved to {} is known when the journal \
                 is opened again, until then nothing is archived",
                anchor::ANCHOR,
                info.first,
                info.last,
                info.file
            );
            let error = Error::new(ErrorKind::Io, text);
            *unsure = Some(error.clone());
            return Err(error);
        }
        self.reader.hold_anchored(&anchor);
        self.reader.begin_at(anchor);
        Ok(info)
    }

    fn query(&self, query: Query, from: Seq, limit: usize) -> Result<Vec<Record<E>>, Error> {
        self.answer(query, from.max(self.reader.first()), limit)
    }

    /// The answer from `from` on, which was in the log a moment ago.
    pub(crate) fn answer(
        &self,
        query: Query,
        from: Seq,
        limit: usize,
    ) -> Result<Vec<Record<E>>, Error> {
        let known = self
            .index
            .as_ref()
            .and_then(|index| index.query(query, from, limit))
            // It passes over what left the log before it was fed.
            .filter(|_| self.reader.first() <= from);
        let (mut found, from) = match known {
            Some(known) => (known.records, from.max(known.through.next())),
            None => (Vec::new(), from),
        };
        self.reader
            .select(from, limit, &mut found, |head| query.wants(head))?;
        Ok(found)
    }
}

impl<E: Event> Journal<E> for FileJournal<E> {
    fn append(&self, events: &[E], at_ms: u64) -> Result<Appended, Error> {
        self.submit(events, at_ms, Urgency::Ordinary)
    }

    fn append_urgent(&self, events: &[E], at_ms: u64) -> Result<Appended, Error> {
        self.submit(events, at_ms, Urgency::Urgent)
    }

    fn position(&self) -> (Seq, FrameHash) {
        let tip = self.reader.tip();
        (tip.seq, tip.hash)
    }

    fn first(&self) -> Seq {
        self.reader.first()
    }

    fn read(&self, from: Seq, visit: &mut Visit<'_, E>) -> Result<(), Error> {
        self.reader.records(from, visit)
    }

    fn by_stream(
        &self,
        stream: StreamId,
        from: Seq,
        limit: usize,
    ) -> Result<Vec<Record<E>>, Error> {
        self.query(Query::Stream(stream), from, limit)
    }

    fn by_kind(&self, kind: Kind, from: Seq, limit: usize) -> Result<Vec<Record<E>>, Error> {
        self.query(Query::Kind(kind), from, limit)
    }

    fn checkpoint(&self, seq: Seq, projection: &str, state: &[u8]) -> Result<(), Error> {
        checkpoint::write(&self.reader, E::FAMILY, seq, projection, state)
    }

    fn checkpoint_by(&self, projection: &str, through: Seq) -> Result<Option<Checkpoint>, Error> {
        checkpoint::newest_by(&self.reader, E::FAMILY, projection, through)
    }

    fn roll(&self) -> Result<(), Error> {
        self.committer.begin_next()
    }

    fn archive(&self, request: &ArchiveRequest<'_>) -> Result<Option<ArchiveInfo>, Error> {
        let mut unsure = self.archiving.lock();
        if let Some(error) = &*unsure {
            return Err(error.clone());
        }
        self.committer.usable()?;
        let Some((segments, last)) = self.reader.leading(request.before) else {
            return Ok(None);
        };
        let leading = Leading {
            family: E::FAMILY,
            segments,
            before: self.reader.base(),
            last,
        };
        let info = self.move_away(&leading, request, &mut unsure)?;
        archive::remove_segments(&**self.reader.disk(), &leading.segments);
        if let Some(index) = &self.index {
            index.wake();
        }
        log::info!(
            "records {} to {} moved to {}",
            info.first,
            info.last,
            info.file
        );
        Ok(Some(info))
    }

    fn archives(&self) -> Result<Archives, Error> {
        Ok(self.reader.archives()?.infos())
    }

    fn history(&self, from: Seq, visit: &mut Visit<'_, E>) -> Result<(), Error> {
        self.reader.history_records(from, visit)
    }

    fn history_ahead(&self, from: Seq, visit: &mut Visit<'_, E>) -> Result<(), Error> {
        ahead::history(&self.reader, from, visit)
    }
}

/// Locks the folder against another writer.
#[expect(
    clippy::disallowed_methods,
    reason = "tells the operator who holds the folder"
)]
fn lock(folder: &Path) -> Result<File, Error> {
    let path = folder.join(LOCK);
    let failed = |e: &std::io::Error| Error::io("lock", &path.display().to_string(), e);
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|e| failed(&e))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(std::fs::TryLockError::WouldBlock) => {
            let mut holder = String::new();
            let read = file.read_to_string(&mut holder);
            let holder = match (read, holder.trim()) {
                (Ok(_), holder) if !holder.is_empty() => holder.to_owned(),
                _ => "another process".to_owned(),
            };
            return Err(OpenCase::Locked { holder }.refusal());
        }
        Err(std::fs::TryLockError::Error(e)) => return Err(failed(&e)),
    }
    file.set_len(0).map_err(|e| failed(&e))?;
    file.rewind().map_err(|e| failed(&e))?;
    write!(file, "process {}", std::process::id()).map_err(|e| failed(&e))?;
    Ok(file)
}

/// Cuts what was never acknowledged and makes durable what opening found whole.
///
/// The bytes that may not be durable are written again before the sync: after a sync that failed,
/// the system takes their pages for clean, and a sync alone would prove nothing.
fn mend(disk: &dyn Disk, scan: &Scan) -> Result<(), Error> {
    if let Some(cut) = &scan.cut {
        let failed = |e: &std::io::Error| Error::io("cut", &cut.segment, e);
        match cut.keep {
            None => disk.remove(&cut.segment).map_err(|e| failed(&e))?,
            Some(bytes) => {
                let file = disk.open(&cut.segment).map_err(|e| failed(&e))?;
                // Synced below: what is cut is the end of the last segment.
                file.truncate(bytes).map_err(|e| failed(&e))?;
            }
        }
    }
    if let Some(last) = scan.segments.last() {
        let failed = |e: &std::io::Error| Error::io("sync", &last.name, e);
        let file = disk.open(&last.name).map_err(|e| failed(&e))?;
        let bytes = usize::try_from(scan.end - scan.unsynced_from).unwrap_or(0);
        if bytes > 0 {
            let mut unsynced = vec![0; bytes];
            let read = file
                .read_at(scan.unsynced_from, &mut unsynced)
                .map_err(|e| failed(&e))?;
            file.write_at(scan.unsynced_from, &unsynced[..read])
                .map_err(|e| failed(&e))?;
        }
        file.sync().map_err(|e| failed(&e))?;
    }
    disk.sync_folder()
        .map_err(|e| Error::io("sync", "the journal folder", &e))
}

/// The report of a scan, before the index had its say.
pub(crate) fn report(scan: &Scan) -> OpenReport {
    let cut_at = scan.cut.as_ref().map(|cut| {
        let offset = cut.keep.unwrap_or(0);
        format!("segment {} offset {offset}", cut.segment)
    });
    OpenReport {
        cases: vec![scan.case.clone()],
        records: scan.tip.seq.get() - scan.base.seq.get(),
        first: scan.base.seq.next(),
        last: scan.tip.seq,
        segments: scan.segments.len() as u64,
        cut_bytes: scan.cut.as_ref().map_or(0, |cut| cut.bytes),
        cut_at,
    }
}

/// Where a writer goes on: name, seed and end of the last segment.
type Last = Option<(String, u32, u64)>;

pub(crate) fn readable(disk: Arc<dyn Disk>, family: u32, scan: Scan) -> (Arc<Reader>, Last) {
    let last = scan
        .segments
        .last()
        .map(|s| (s.name.clone(), s.seed, scan.end));
    debug_assert!(last.is_none() || scan.end >= segment::HEADER_BYTES as u64);
    let log = (scan.anchor, scan.segments);
    let reader = Reader::new(disk, family, log, scan.tip);
    if let Some(anchor) = reader.anchor() {
        reader.hold_anchored(&anchor);
    }
    (Arc::new(reader), last)
}

fn say(report: &OpenReport) {
    for case in &report.cases {
        match case.answer() {
            Answer::GoOn => log::debug!("journal opened: {case}"),
            Answer::Cut => log::warn!("journal opened, {} bytes cut: {case}", report.cut_bytes),
            Answer::MendIndex | Answer::MendArchive => log::info!("journal opened: {case}"),
            Answer::Refuse(_) => log::error!("journal opened in spite of {case}"),
        }
    }
}
