//! The end of a restore: proof and final names, the one commit, and taking it back or forgetting
//! it.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::disk::{
    BackendDir, digest_file, entries, failed, make_dirs, remove_file, remove_tree, sync_dir,
    sync_file,
};
use super::events::{
    RestoreAborted, RestoreChunksPlaced, RestoreCommitted, RestoreForgotten, RestorePrepared,
};
use super::lists::ListWriter;
use super::load::CHUNKS_PER_EVENT;
use super::place::{Place, SlotState, differs, read_kept_list};
use super::state::Phase;
use super::{LocalStorage, parallel};
use crate::digest::Digested;
use crate::model::{BackendId, FileEntry, OpId, TabletId};
use crate::names::DiskKey;
use crate::{Error, ErrorKind};

/// A target tablet with the folders of its replicas.
struct Target {
    tablet: u64,
    chunk: u64,
    replicas: Vec<(BackendId, BackendDir)>,
}

impl LocalStorage {
    pub(super) fn prepare_restore(&self, op: OpId) -> Result<(), Error> {
        let gate = self.gate(op);
        let _alone = gate.write();
        let Some(targets) = self.unprepared_targets(op)? else {
            return Ok(());
        };
        for ((o, ..), place) in self.places.lock().iter() {
            if *o == op {
                place.seal();
            }
        }
        let lists = Mutex::new(ListWriter::new(self.ledger.take_ids(1)));
        parallel::for_each(self.threads, &targets, |target| {
            let files = self.prove_target(op, target)?;
            if files.is_empty() {
                return Ok(());
            }
            lists.lock().add(target.chunk, target.tablet, &files)
        })?;
        // Only when all is proved is anything moved: a failed proof leaves every complete file in
        // its staging.
        parallel::for_each(self.threads, &targets, |target| move_target(op, target))?;
        let data: BTreeSet<PathBuf> = targets
            .iter()
            .flat_map(|t| &t.replicas)
            .map(|(_, dir)| dir.data())
            .collect();
        self.sync_all_dirs(&data.into_iter().collect::<Vec<_>>())?;
        let (list, chunks) = lists.into_inner().finish(&self.layout)?;
        self.change(|_, out| {
            for some in chunks.chunks(CHUNKS_PER_EVENT) {
                let event = RestoreChunksPlaced {
                    op: op.0,
                    list,
                    chunks: some.to_vec(),
                };
                out.push(event.into());
            }
            out.push(RestorePrepared { op: op.0 }.into());
            Ok(())
        })?;
        self.reusable.lock().retain(|(o, ..), _| *o != op);
        Ok(())
    }

    /// `None` where the operation is prepared, or committed, already.
    fn unprepared_targets(&self, op: OpId) -> Result<Option<Vec<Target>>, Error> {
        let state = self.ledger.read();
        if state.committed.contains(&op.0) {
            return Ok(None);
        }
        let restore = state.restore(op)?;
        if restore.phase != Phase::Made {
            return Ok(None);
        }
        let mut targets = Vec::new();
        for (tablet, chunk) in &restore.targets {
            let mut replicas = Vec::new();
            for id in &state.tablet(*tablet)?.replicas {
                let dir = self.layout.backend(&state.backend(*id)?.name);
                replicas.push((BackendId(*id), dir));
            }
            targets.push(Target {
                tablet: *tablet,
                chunk: *chunk,
                replicas,
            });
        }
        Ok(Some(targets))
    }

    /// Proves all replicas of a tablet, complete and durable; returns its list with all hashes.
    fn prove_target(&self, op: OpId, target: &Target) -> Result<Vec<FileEntry>, Error> {
        let mut agreed: Option<Vec<FileEntry>> = None;
        for (backend, dir) in &target.replicas {
            let files = self.prove_replica(op, target, *backend, dir)?;
            match &agreed {
                Some(first) if *first != files => {
                    return Err(Error::new(
                        ErrorKind::Invalid,
                        format!(
                            "tablet {} has other files staged on backend {backend} than on {}",
                            target.tablet, target.replicas[0].0
                        ),
                    ));
                }
                Some(_) => {}
                None => agreed = Some(files),
            }
        }
        Ok(agreed.unwrap_or_default())
    }

    fn prove_replica(
        &self,
        op: OpId,
        target: &Target,
        backend: BackendId,
        dir: &BackendDir,
    ) -> Result<Vec<FileEntry>, Error> {
        let tablet = TabletId(target.tablet);
        let place_dir = dir.place(op, target.tablet);
        let kept = read_kept_list(&place_dir.join("list"));
        let (Some(mut files), Ok(place)) =
            (kept, self.staged_place(op, backend, tablet, place_dir))
        else {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!("tablet {tablet} was never staged on backend {backend}"),
            ));
        };
        // After a crash in the middle of the moves, the files are under their final name already.
        let moved = dir.chunk(target.tablet, target.chunk);
        let folder = if moved.is_dir() { moved } else { place.done() };
        let mut wanted = BTreeSet::new();
        for entry in &mut files {
            let key = DiskKey::of(&entry.name);
            wanted.insert(key.file_name());
            if let Some(found) = prove_file(&place, key, entry, &folder)? {
                (entry.hash, entry.segments) = (Some(found.hash), found.segments);
            }
        }
        for extra in entries(&folder)?
            .iter()
            .filter(|name| !wanted.contains(*name))
        {
            remove_file(&folder.join(extra))?;
        }
        let unsynced: Vec<PathBuf> = files
            .iter()
            .map(|entry| DiskKey::of(&entry.name))
            .filter(|key| place.known(*key).0 != SlotState::Synced)
            .map(|key| folder.join(key.file_name()))
            .collect();
        parallel::for_each(self.threads, &unsynced, |path| sync_file(path))?;
        if !files.is_empty() {
            sync_dir(&folder)?;
        }
        Ok(files)
    }

    pub(super) fn commit_prepared(&self, op: OpId) -> Result<(), Error> {
        let gate = self.gate(op);
        let _alone = gate.write();
        self.change(|state, out| {
            if state.committed.contains(&op.0) {
                return Ok(());
            }
            match state.restores.get(&op.0).map(|r| r.phase) {
                Some(Phase::Prepared) => {
                    out.push(RestoreCommitted { op: op.0 }.into());
                    Ok(())
                }
                Some(Phase::Committed) => Ok(()),
                Some(Phase::Made) | None => Err(Error::new(
                    ErrorKind::NotFound,
                    format!("operation {op} was never prepared, it cannot be committed"),
                )),
            }
        })?;
        self.forget_places(op);
        Ok(())
    }

    pub(super) fn forget_committed(&self, op: OpId) -> Result<(), Error> {
        self.change(|state, out| {
            match state.restores.get(&op.0).map(|r| r.phase) {
                None => {}
                Some(Phase::Committed) => out.push(RestoreForgotten { op: op.0 }.into()),
                Some(_) => {
                    let text = format!("operation {op} is not committed, it cannot be forgotten");
                    return Err(Error::new(ErrorKind::Invalid, text));
                }
            }
            Ok(())
        })?;
        self.remove_staging(op)
    }

    pub(super) fn abort_uncommitted(&self, op: OpId) -> Result<(), Error> {
        let gate = self.gate(op);
        let _alone = gate.write();
        let targets = self.change(|state, out| {
            if state.committed.contains(&op.0) {
                let text = format!("operation {op} is committed, it cannot be taken back");
                return Err(Error::new(ErrorKind::Invalid, text));
            }
            let Some(restore) = state.restores.get(&op.0) else {
                return Ok(Vec::new());
            };
            out.push(RestoreAborted { op: op.0 }.into());
            Ok(restore
                .targets
                .iter()
                .map(|(t, c)| (*t, *c))
                .collect::<Vec<_>>())
        })?;
        self.forget_places(op);
        // Chunks that were moved in without being placed are known to nobody any more.
        let backends = self.backend_dirs();
        parallel::for_each(self.threads, &targets, |(tablet, chunk)| {
            backends.iter().try_for_each(|dir| {
                remove_tree(&dir.chunk(*tablet, *chunk))?;
                let _ = fs::remove_dir(dir.tablet(*tablet));
                Ok(())
            })
        })?;
        self.remove_staging(op)
    }

    fn remove_staging(&self, op: OpId) -> Result<(), Error> {
        self.backend_dirs()
            .iter()
            .try_for_each(|dir| remove_tree(&dir.staging(op)))
    }

    pub(super) fn end_all_but(&self, live: &[OpId]) -> Result<(), Error> {
        let live: BTreeSet<u64> = live.iter().map(|op| op.0).collect();
        let (pins, restores): (Vec<u64>, Vec<(u64, Phase)>) = {
            let state = self.ledger.read();
            let pins = state.pins.keys().filter(|op| !live.contains(op)).copied();
            let restores = state.restores.iter().filter(|(op, _)| !live.contains(op));
            (
                pins.collect(),
                restores.map(|(op, r)| (*op, r.phase)).collect(),
            )
        };
        for op in pins {
            self.release_pin(OpId(op))?;
        }
        for (op, phase) in restores {
            match phase {
                Phase::Committed => self.forget_committed(OpId(op))?,
                Phase::Made | Phase::Prepared => self.abort_uncommitted(OpId(op))?,
            }
        }
        Ok(())
    }
}

/// Proves one file: by what this opening saw of its bytes, else by hashing it now. Returns what the
/// entry lacks.
fn prove_file(
    place: &Place,
    key: DiskKey,
    entry: &FileEntry,
    folder: &Path,
) -> Result<Option<Digested>, Error> {
    let path = folder.join(key.file_name());
    let len = fs::metadata(&path).ok().map(|meta| meta.len());
    let Some(len) = len else {
        place.doubt(key);
        return Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "file '{}' is missing in '{}'",
                entry.name.escape_debug(),
                folder.display()
            ),
        ));
    };
    let (state, found) = place.known(key);
    if state != SlotState::Unproved && len == entry.len {
        return Ok(found.map(|found| *found));
    }
    let found = digest_file(&path)?;
    if !found.agrees_with(entry) {
        place.doubt(key);
        // So that a further attempt fetches it again.
        remove_file(&path)?;
        return Err(differs(entry, &found));
    }
    Ok(Some(found))
}

/// Puts a proved tablet's files under their final name on all its backends.
fn move_target(op: OpId, target: &Target) -> Result<(), Error> {
    for (_, dir) in &target.replicas {
        let done = dir.place(op, target.tablet).join("done");
        let moved = dir.chunk(target.tablet, target.chunk);
        let tablet = dir.tablet(target.tablet);
        if !moved.is_dir() {
            if entries(&done)?.is_empty() {
                continue;
            }
            make_dirs(&tablet)?;
            fs::rename(&done, &moved).map_err(|e| failed("rename to", &moved, &e))?;
        }
        // Also where a process that was killed has moved them: it may not have come so far.
        sync_dir(&tablet)?;
    }
    Ok(())
}
