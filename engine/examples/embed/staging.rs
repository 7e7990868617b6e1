//! The staging place of a restore: one folder per target tablet, in which files are written beside
//! their name, compared with their entry, and only then given it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_storage::model::SEGMENT_BYTES;
use holdfast_storage::{
    BackendId, Error, ErrorKind, FileEntry, FileHash, OpId, StagedFile, Staging, TabletId, Token,
    check_file,
};
use parking_lot::Mutex;
use redb::ReadableDatabase;

use super::backup::check_backend;
use super::catalog::{self, Phase, RESTORES, RestoreRecord, STAGED, STAGES};
use super::{Pocket, failed, io_failed, sync_dir};

/// Who may write where. In memory only: the writers that it refuses end with the process.
#[derive(Default)]
pub(super) struct Fences(Mutex<Fence>);

#[derive(Default)]
struct Fence {
    newest: BTreeMap<(OpId, TabletId), Token>,
    sealed: BTreeSet<OpId>,
}

impl Fences {
    /// Lets the newest attempt through, and whoever is newer than it, who then is the newest.
    /// `work` is done before anybody else is let through or a seal is put on.
    fn pass<T>(
        &self,
        (op, tablet): (OpId, TabletId),
        token: Token,
        work: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        let mut fence = self.0.lock();
        let newest = *fence.newest.get(&(op, tablet)).unwrap_or(&token);
        if fence.sealed.contains(&op) || token < newest {
            let text = format!(
                "tablet {tablet} of operation {op} takes no more from attempt {token:?}: it is \
                 sealed or belongs to attempt {newest:?}"
            );
            return Err(Error::new(ErrorKind::Fenced, text));
        }
        fence.newest.insert((op, tablet), token);
        work()
    }

    /// Refuses all writers of an operation from now on; none is half-way through when this returns.
    pub(super) fn seal(&self, op: OpId) {
        self.0.lock().sealed.insert(op);
    }

    /// Lets writers in again: the staging was found incomplete.
    pub(super) fn unseal(&self, op: OpId) {
        self.0.lock().sealed.remove(&op);
    }

    /// Forgets an operation that has ended; its records refuse whoever still comes.
    pub(super) fn forget(&self, op: OpId) {
        let mut fence = self.0.lock();
        fence.sealed.remove(&op);
        fence.newest.retain(|(of, _), _| *of != op);
    }
}

impl Pocket {
    pub(super) fn staging_dir(&self, op: OpId) -> PathBuf {
        self.dir.join("staging").join(op.to_string())
    }

    pub(super) fn place(&self, op: OpId, tablet: TabletId) -> PathBuf {
        self.staging_dir(op).join(tablet.to_string())
    }

    pub(super) fn stage_tablet(
        &self,
        (op, token): (OpId, Token),
        backend: BackendId,
        tablet: TabletId,
        files: &[FileEntry],
    ) -> Result<(), Error> {
        check_backend(backend)?;
        let mut list = BTreeMap::new();
        for file in files {
            check_entry(file)?;
            if list.insert(file.name.as_str(), file).is_some() {
                let text = format!("file '{}' is twice in a list", file.name.escape_debug());
                return Err(Error::new(ErrorKind::Invalid, text));
            }
        }
        self.change(|txn| {
            open_for_staging(catalog::restore(txn, op)?, op, tablet)?;
            self.fences.pass((op, tablet), token, || Ok(()))?;
            let mut stages = txn.open_table(STAGES).map_err(failed)?;
            stages
                .insert((op.0, tablet.0), list.len() as u64)
                .map_err(failed)?;
            let mut staged = txn.open_table(STAGED).map_err(failed)?;
            let range = (op.0, tablet.0, "")..(op.0, tablet.0 + 1, "");
            staged.retain_in(range, |_, _| false).map_err(failed)?;
            for (name, file) in &list {
                let entry = catalog::encode(file)?;
                staged
                    .insert((op.0, tablet.0, *name), entry.as_slice())
                    .map_err(failed)?;
            }
            Ok(())
        })?;
        let place = self.place(op, tablet);
        fs::create_dir_all(&place).map_err(|e| io_failed("make folder", &place, &e))
    }

    /// The files that a target tablet must get; `None` where it was never staged.
    pub(super) fn staged(
        &self,
        op: OpId,
        tablet: TabletId,
    ) -> Result<Option<Vec<FileEntry>>, Error> {
        let txn = self.db.begin_read().map_err(failed)?;
        let stages = txn.open_table(STAGES).map_err(failed)?;
        if stages.get((op.0, tablet.0)).map_err(failed)?.is_none() {
            return Ok(None);
        }
        let staged = txn.open_table(STAGED).map_err(failed)?;
        let range = (op.0, tablet.0, "")..(op.0, tablet.0 + 1, "");
        let files = staged.range(range).map_err(failed)?;
        files
            .map(|file| catalog::decode(file.map_err(failed)?.1.value()))
            .collect::<Result<_, _>>()
            .map(Some)
    }

    /// Checks that this attempt may write this file.
    pub(super) fn check_staged(
        &self,
        (op, token): (OpId, Token),
        backend: BackendId,
        tablet: TabletId,
        entry: Option<&FileEntry>,
    ) -> Result<(), Error> {
        check_backend(backend)?;
        let txn = self.db.begin_read().map_err(failed)?;
        let restores = txn.open_table(RESTORES).map_err(failed)?;
        let restore = restores.get(op.0).map_err(failed)?;
        let restore = restore.map(|found| catalog::decode(found.value()));
        open_for_staging(restore.transpose()?, op, tablet)?;
        let absent = |text| Error::new(ErrorKind::NotFound, text);
        let stages = txn.open_table(STAGES).map_err(failed)?;
        if stages.get((op.0, tablet.0)).map_err(failed)?.is_none() {
            return Err(absent(format!("tablet {tablet} was not staged")));
        }
        if let Some(entry) = entry {
            let staged = txn.open_table(STAGED).map_err(failed)?;
            let key = (op.0, tablet.0, entry.name.as_str());
            let found = staged.get(key).map_err(failed)?;
            let found: Option<FileEntry> = found
                .map(|found| catalog::decode(found.value()))
                .transpose()?;
            if found.as_ref() != Some(entry) {
                let name = entry.name.escape_debug();
                let text = format!("the list of tablet {tablet} has no such file '{name}'");
                return Err(absent(text));
            }
        }
        self.fences.pass((op, tablet), token, || Ok(()))
    }

    pub(super) fn open_staged(
        &self,
        (op, token): (OpId, Token),
        backend: BackendId,
        tablet: TabletId,
        entry: &FileEntry,
    ) -> Result<Staging, Error> {
        self.check_staged((op, token), backend, tablet, Some(entry))?;
        let place = self.place(op, tablet);
        let path = place.join(disk_name(&entry.name));
        if read_staged(&path, entry).is_ok() {
            return Ok(Staging::Done);
        }
        // A name of its own, so that two attempts never write into one file.
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let own = place.join(format!("writing-{}", NEXT.fetch_add(1, Ordering::Relaxed)));
        let file = File::create(&own).map_err(|e| io_failed("create", &own, &e))?;
        Ok(Staging::Write(Box::new(Writing {
            fences: Arc::clone(&self.fences),
            place: (op, tablet),
            token,
            entry: entry.clone(),
            own,
            path,
            file,
            hasher: blake3::Hasher::new(),
            len: 0,
        })))
    }

    pub(super) fn settle_tablets(
        &self,
        (op, token): (OpId, Token),
        backend: BackendId,
        tablets: &[TabletId],
    ) -> Result<(), Error> {
        for &tablet in tablets {
            self.check_staged((op, token), backend, tablet, None)?;
            let place = self.place(op, tablet);
            let entries = fs::read_dir(&place).map_err(|e| io_failed("list", &place, &e))?;
            for entry in entries {
                let path = entry.map_err(|e| io_failed("list", &place, &e))?.path();
                match File::open(&path).and_then(|file| file.sync_all()) {
                    // Another attempt's unfinished file that went away meanwhile.
                    Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                    synced => synced.map_err(|e| io_failed("sync", &path, &e))?,
                }
            }
            sync_dir(&place)?;
        }
        let staging = self.staging_dir(op);
        [staging.as_path(), &self.dir.join("staging"), &self.dir]
            .into_iter()
            .try_for_each(sync_dir)
    }
}

/// Refuses where an operation has no such target, or takes no more files.
fn open_for_staging(
    restore: Option<RestoreRecord>,
    op: OpId,
    tablet: TabletId,
) -> Result<(), Error> {
    let Some(restore) = restore.filter(|restore| restore.tablets().contains(&tablet.0)) else {
        let text = format!("operation {op} has no target tablet {tablet}");
        return Err(Error::new(ErrorKind::NotFound, text));
    };
    if restore.phase != Phase::Made {
        let text = format!("the staging of operation {op} is sealed");
        return Err(Error::new(ErrorKind::Fenced, text));
    }
    Ok(())
}

/// Files come from outside: a name must stay below its folder, a file must fit into memory.
fn check_entry(entry: &FileEntry) -> Result<(), Error> {
    check_file(&entry.name)?;
    if entry.len > SEGMENT_BYTES {
        let (name, len) = (entry.name.escape_debug(), entry.len);
        let text = format!("file '{name}' has {len} bytes, expected at most {SEGMENT_BYTES}");
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    Ok(())
}

/// Names of data files are users' keys; on disk they bear a name that any file system takes.
pub(super) fn disk_name(name: &str) -> String {
    blake3::hash(name.as_bytes()).to_hex().to_string()
}

/// The bytes of a staged file, if they are what its entry says.
pub(super) fn read_staged(path: &Path, entry: &FileEntry) -> Result<Vec<u8>, Error> {
    let name = entry.name.escape_debug();
    let invalid = |text: String| Error::new(ErrorKind::Invalid, text);
    let bytes = match fs::read(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(invalid(format!("file '{name}' is missing in the staging")));
        }
        read => read.map_err(|e| io_failed("read", path, &e))?,
    };
    agrees(entry, bytes.len() as u64, FileHash::of(&bytes))?;
    Ok(bytes)
}

fn agrees(entry: &FileEntry, len: u64, hash: FileHash) -> Result<(), Error> {
    if len == entry.len && entry.hash.is_none_or(|expected| expected == hash) {
        return Ok(());
    }
    let text = format!(
        "file '{}' has {len} bytes of hash {hash}, expected {} bytes of hash {:?}",
        entry.name.escape_debug(),
        entry.len,
        entry.hash
    );
    Err(Error::new(ErrorKind::Invalid, text))
}

/// A file being written by one attempt.
struct Writing {
    fences: Arc<Fences>,
    place: (OpId, TabletId),
    token: Token,
    entry: FileEntry,
    own: PathBuf,
    path: PathBuf,
    file: File,
    hasher: blake3::Hasher,
    len: u64,
}

impl StagedFile for Writing {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        self.len += bytes.len() as u64;
        self.file
            .write_all(bytes)
            .map_err(|e| io_failed("write", &self.own, &e))
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        agrees(
            &self.entry,
            self.len,
            FileHash(*self.hasher.finalize().as_bytes()),
        )?;
        self.fences.pass(self.place, self.token, || {
            fs::rename(&self.own, &self.path).map_err(|e| io_failed("rename", &self.own, &e))
        })
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        // After `finish` there is nothing under this name; else it is garbage that counts for
        // nothing.
        let _ = fs::remove_file(&self.own);
    }
}
