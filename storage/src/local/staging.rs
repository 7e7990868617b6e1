//! The staging half of a restore: places, fenced writers, reuse of local files, settling.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::RwLock;

use super::disk::{digest_file, failed, link_or_copy, remove_file, remove_tree, sync_file};
use super::lists::read_list;
use super::place::{Place, SlotState, Writing};
use super::state::Phase;
use super::{LocalStorage, parallel};
use crate::model::{BackendId, FileEntry, FileHash, OpId, TabletId, Token};
use crate::names::{DiskKey, check_file};
use crate::{Error, ErrorKind, Reuse, Staging};

/// The current files of a partition on one backend, by hash.
pub(crate) type LocalFiles = BTreeMap<(FileHash, u64), PathBuf>;

impl LocalStorage {
    /// Staging calls of an operation hold its gate for reading, `prepare`, `commit` and `abort` for
    /// writing: so that no writer is half-way through when a place is sealed or removed.
    pub(super) fn gate(&self, op: OpId) -> Arc<RwLock<()>> {
        Arc::clone(self.gates.lock().entry(op).or_default())
    }

    pub(super) fn stage_tablet(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        files: &[FileEntry],
    ) -> Result<(), Error> {
        let mut sorted = files.to_vec();
        sorted.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        for file in &sorted {
            check_file(&file.name)?;
        }
        if let Some(pair) = sorted.windows(2).find(|pair| pair[0].name == pair[1].name) {
            let name = pair[0].name.escape_debug();
            let text = format!("file '{name}' is twice in the list of tablet {tablet}");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        let gate = self.gate(op);
        let _open = gate.read();
        let dir = self.place_dir(op, backend, tablet)?;
        let place = {
            let known = self.places.lock().get(&(op, backend, tablet)).cloned();
            match known {
                Some(place) => place,
                None => {
                    let found = Place::find(dir.clone(), tablet)?;
                    let place = Arc::new(found.unwrap_or_else(|| Place::make(dir, tablet)));
                    Arc::clone(
                        self.places
                            .lock()
                            .entry((op, backend, tablet))
                            .or_insert(place),
                    )
                }
            }
        };
        self.take_back(op, backend, tablet, &place)?;
        place.stage(token, &sorted)
    }

    /// Undoes the move of a `prepare` that did not come to its end, so that staging can go on.
    fn take_back(
        &self,
        op: OpId,
        backend: BackendId,
        tablet: TabletId,
        place: &Place,
    ) -> Result<(), Error> {
        let dir = self.backend_dir(backend)?;
        let chunk = self
            .ledger
            .read()
            .restore(op)?
            .targets
            .get(&tablet.0)
            .copied();
        let Some(moved) = chunk.map(|chunk| dir.chunk(tablet.0, chunk)) else {
            return Ok(());
        };
        if !moved.is_dir() {
            return Ok(());
        }
        let done = place.done();
        remove_tree(&done)?;
        fs::rename(&moved, &done).map_err(|e| failed("rename to", &done, &e))
    }

    /// Where a target tablet is staged; refuses what is no target, and what is sealed for good.
    fn place_dir(&self, op: OpId, backend: BackendId, tablet: TabletId) -> Result<PathBuf, Error> {
        let state = self.ledger.read();
        let restore = state.restore(op)?;
        if restore.phase != Phase::Made {
            let text = format!("staging of operation {op} is sealed");
            return Err(Error::new(ErrorKind::Fenced, text));
        }
        let target = restore.targets.contains_key(&tablet.0);
        if !target || !state.tablet(tablet.0)?.replicas.contains(&backend.0) {
            let text = format!("operation {op} has no target tablet {tablet} on backend {backend}");
            return Err(Error::new(ErrorKind::NotFound, text));
        }
        Ok(self.live_dir(&state, backend.0)?.place(op, tablet.0))
    }

    /// A place that was staged, now or by an earlier opening; `token` may write there.
    fn admitted(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
    ) -> Result<Arc<Place>, Error> {
        let dir = self.place_dir(op, backend, tablet)?;
        // Until it was settled a cut of power may have taken a part of a place: its list can be there
        // without the folder for what is complete. A move that died has taken that folder, too.
        if !dir.join("done").is_dir() {
            return Err(not_staged(backend, tablet));
        }
        let place = self.staged_place(op, backend, tablet, dir)?;
        place.admit(token)?;
        Ok(place)
    }

    pub(super) fn staged_place(
        &self,
        op: OpId,
        backend: BackendId,
        tablet: TabletId,
        dir: PathBuf,
    ) -> Result<Arc<Place>, Error> {
        let key = (op, backend, tablet);
        if let Some(place) = self.places.lock().get(&key) {
            return Ok(Arc::clone(place));
        }
        let found = Place::find(dir, tablet)?.ok_or_else(|| not_staged(backend, tablet))?;
        Ok(Arc::clone(
            self.places
                .lock()
                .entry(key)
                .or_insert_with(|| Arc::new(found)),
        ))
    }

    pub(super) fn open_staged(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        entry: &FileEntry,
    ) -> Result<Staging, Error> {
        let gate = self.gate(op);
        let _open = gate.read();
        let place = self.admitted(op, token, backend, tablet)?;
        if place.is_done(entry)? {
            return Ok(Staging::Done);
        }
        let writing = Writing::begin(place, Arc::clone(&gate), token, entry)?;
        Ok(Staging::Write(Box::new(writing)))
    }

    pub(super) fn reuse_local(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        entry: &FileEntry,
    ) -> Result<Reuse, Error> {
        let gate = self.gate(op);
        let _open = gate.read();
        let place = self.admitted(op, token, backend, tablet)?;
        if place.is_done(entry)? {
            return Ok(Reuse::Linked);
        }
        let Some(hash) = entry.hash else {
            return Ok(Reuse::Absent);
        };
        let local = self.local_files(op, backend, tablet)?;
        let Some(path) = local.get(&(hash, entry.len)) else {
            return Ok(Reuse::Absent);
        };
        // A local file that cannot be read, or differs from its hash, is no reason to fail: it is
        // fetched.
        let Ok(found) = digest_file(path) else {
            return Ok(Reuse::Absent);
        };
        if !found.agrees_with(entry) {
            log::warn!(
                "data file '{}' does not agree with its hash, not reused",
                path.display()
            );
            return Ok(Reuse::Absent);
        }
        place.accept(token, entry, found, |done| {
            remove_file(done)?;
            link_or_copy(path, done)?;
            Ok(SlotState::Done)
        })?;
        Ok(Reuse::Linked)
    }

    /// The current files of the target's partition on this backend; gathered once per operation.
    fn local_files(
        &self,
        op: OpId,
        backend: BackendId,
        tablet: TabletId,
    ) -> Result<Arc<LocalFiles>, Error> {
        let (partition, chunks) = {
            let state = self.ledger.read();
            let partition = state.tablet(tablet.0)?.partition;
            if let Some(known) = self.reusable.lock().get(&(op, backend, partition)) {
                return Ok(Arc::clone(known));
            }
            let dir = self.layout.backend(&state.backend(backend.0)?.name);
            let mut chunks = Vec::new();
            for id in state.partition(partition)?.tablets() {
                let tablet = state.tablet(id)?;
                if tablet.replicas.contains(&backend.0) {
                    for chunk in &tablet.chunks {
                        chunks.push((state.chunk(*chunk)?.list, dir.chunk(id, *chunk)));
                    }
                }
            }
            (partition, chunks)
        };
        let mut files = LocalFiles::new();
        for (list, folder) in chunks {
            for file in read_list(&self.layout, &list)? {
                let Some(hash) = file.hash else { continue };
                let path = folder.join(DiskKey::of(&file.name).file_name());
                files.entry((hash, file.len)).or_insert(path);
            }
        }
        let key = (op, backend, partition);
        Ok(Arc::clone(
            self.reusable
                .lock()
                .entry(key)
                .or_insert_with(|| Arc::new(files)),
        ))
    }

    pub(super) fn settle_tablets(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablets: &[TabletId],
    ) -> Result<(), Error> {
        let gate = self.gate(op);
        let _open = gate.read();
        let mut places = Vec::new();
        for tablet in tablets {
            places.push(self.admitted(op, token, backend, *tablet)?);
        }
        self.sync_places(&places)?;
        let dir = self.backend_dir(backend)?;
        self.sync_all_dirs(&[dir.staging(op), dir.stagings()])
    }

    /// Syncs the lists, proved files and folders of these places.
    pub(super) fn sync_places(&self, places: &[Arc<Place>]) -> Result<(), Error> {
        let mut due = Vec::new();
        let mut files = Vec::new();
        let mut dirs = Vec::new();
        for place in places {
            let keys = place.unsynced();
            files.extend(keys.iter().map(|key| place.done().join(key.file_name())));
            files.push(place.dir().join("list"));
            dirs.extend([place.done(), place.dir().to_owned()]);
            due.push((place, keys));
        }
        parallel::for_each(self.threads * 2, &files, |path| sync_file(path))?;
        self.sync_all_dirs(&dirs)?;
        for (place, keys) in due {
            place.synced(&keys);
        }
        Ok(())
    }

    /// Drops what is only known in memory of an operation that has ended.
    pub(super) fn forget_places(&self, op: OpId) {
        self.places.lock().retain(|(o, ..), _| *o != op);
        self.reusable.lock().retain(|(o, ..), _| *o != op);
        self.gates.lock().remove(&op);
    }
}

fn not_staged(backend: BackendId, tablet: TabletId) -> Error {
    let text = format!("tablet {tablet} is not staged on backend {backend}");
    Error::new(ErrorKind::NotFound, text)
}
