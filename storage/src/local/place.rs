//! One staging place: what one tablet on one backend must get, what it has got, and who may write
//! there.
//!
//! On disk a place is `list` (the files it must get), `done/<key>` (complete files) and one folder
//! for each attempt, named by its token, where that attempt writes. A file moves to `done` only
//! when its content agrees with the list, so what counts survives attempts; what a crash left
//! unsynced is hashed again before it counts.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock};

use super::disk::{
    PIECE, WriteBack, digest_file, entries, failed, make_dirs, parse_token, remove_file, token_dir,
};
use super::lists::{decode, encode};
use crate::digest::{Digest, Digested};
use crate::model::{FileEntry, FileHash, SEGMENT_BYTES, TabletId, Token};
use crate::names::DiskKey;
use crate::{Error, ErrorKind, StagedFile};

/// One tablet's staging place on one backend.
pub(crate) struct Place {
    dir: PathBuf,
    tablet: TabletId,
    inner: Mutex<Inner>,
    /// Tells apart the files that one attempt writes at the same time.
    writes: AtomicU64,
}

struct Inner {
    newest: Token,
    sealed: bool,
    /// By key.
    slots: Vec<Slot>,
}

/// One file of the list.
#[derive(Clone)]
struct Slot {
    key: DiskKey,
    /// A short hash of the entry: tells whether a caller means the same content as the list.
    mark: [u8; 8],
    state: SlotState,
    /// What was found in the bytes where the list does not say all of it.
    found: Option<Box<Digested>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum SlotState {
    /// Not complete as far as this opening knows; `done` may hold a file of an earlier one.
    Unproved,
    /// Proved, not known to be durable.
    Done,
    /// Proved and synced.
    Synced,
}

impl Place {
    /// Opens the place that an earlier opening made, if its list is whole.
    pub(crate) fn find(dir: PathBuf, tablet: TabletId) -> Result<Option<Self>, Error> {
        let Some(files) = read_kept_list(&dir.join("list")) else {
            return Ok(None);
        };
        let tokens = entries(&dir)?;
        let newest = tokens.iter().filter_map(|n| parse_token(n)).max();
        let newest = newest.unwrap_or(Token {
            epoch: 0,
            attempt: 0,
        });
        let inner = Inner {
            newest,
            sealed: false,
            slots: slots(&files),
        };
        Ok(Some(Self {
            dir,
            tablet,
            inner: Mutex::new(inner),
            writes: AtomicU64::new(0),
        }))
    }

    /// Makes the place, with a list that it does not have yet.
    pub(crate) fn make(dir: PathBuf, tablet: TabletId) -> Self {
        let newest = Token {
            epoch: 0,
            attempt: 0,
        };
        let inner = Inner {
            newest,
            sealed: false,
            slots: Vec::new(),
        };
        Self {
            dir,
            tablet,
            inner: Mutex::new(inner),
            writes: AtomicU64::new(0),
        }
    }

    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// Complete files, under their final names.
    pub(crate) fn done(&self) -> PathBuf {
        self.dir.join("done")
    }

    /// Takes the place over for `token` with this list (in name order). A sealed place opens for a
    /// newer token.
    pub(crate) fn stage(&self, token: Token, files: &[FileEntry]) -> Result<(), Error> {
        let bytes = encode(files)?;
        let mut inner = self.inner.lock();
        if token < inner.newest || (inner.sealed && token == inner.newest) {
            return Err(self.fenced(token, &inner));
        }
        make_dirs(&self.done())?;
        make_dirs(&token_dir(&self.dir, token))?;
        (inner.newest, inner.sealed) = (token, false);
        let path = self.dir.join("list");
        let kept = [FileHash::of(&bytes).0.as_slice(), &bytes].concat();
        if fs::read(&path).ok().as_ref() != Some(&kept) {
            let new = self.dir.join("list.new");
            let written = fs::write(&new, &kept).and_then(|()| fs::rename(&new, &path));
            written.map_err(|e| failed("write list", &path, &e))?;
        }
        let mut fresh = slots(files);
        for slot in &mut fresh {
            if let Ok(at) = inner.slots.binary_search_by_key(&slot.key, |s| s.key)
                && inner.slots[at].mark == slot.mark
            {
                *slot = inner.slots[at].clone();
            }
        }
        inner.slots = fresh;
        Ok(())
    }

    /// Refuses every writer from here on, until a newer attempt stages again.
    pub(crate) fn seal(&self) {
        self.inner.lock().sealed = true;
    }

    /// Lets `token` in where it is the newest; a newer one than that takes over.
    pub(crate) fn admit(&self, token: Token) -> Result<(), Error> {
        let mut inner = self.inner.lock();
        if inner.sealed || token < inner.newest {
            return Err(self.fenced(token, &inner));
        }
        inner.newest = token;
        Ok(())
    }

    fn fenced(&self, token: Token, inner: &Inner) -> Error {
        let Token { epoch, attempt } = token;
        let text = if inner.sealed {
            format!(
                "staging of tablet {} is sealed, attempt {epoch}-{attempt} must stop",
                self.tablet
            )
        } else {
            format!(
                "staging of tablet {} belongs to attempt {}-{}, attempt {epoch}-{attempt} must \
                 stop",
                self.tablet, inner.newest.epoch, inner.newest.attempt
            )
        };
        Error::new(ErrorKind::Fenced, text)
    }

    /// Whether the file is complete. What an earlier opening left is hashed; what does not agree is
    /// removed.
    pub(crate) fn is_done(&self, entry: &FileEntry) -> Result<bool, Error> {
        let (key, state) = self.slot(entry)?;
        if state != SlotState::Unproved {
            return Ok(true);
        }
        let path = self.done().join(key.file_name());
        if !path.exists() {
            return Ok(false);
        }
        let found = digest_file(&path)?;
        if found.agrees_with(entry) {
            self.set(key, SlotState::Done, keep(entry, found));
            return Ok(true);
        }
        remove_file(&path)?;
        Ok(false)
    }

    /// Key and state of an entry of the list.
    fn slot(&self, entry: &FileEntry) -> Result<(DiskKey, SlotState), Error> {
        let key = DiskKey::of(&entry.name);
        let inner = self.inner.lock();
        let at = self.position(&inner, key, entry)?;
        Ok((key, inner.slots[at].state))
    }

    /// Where the entry stands; refuses one that is not in the list with this content.
    fn position(&self, inner: &Inner, key: DiskKey, entry: &FileEntry) -> Result<usize, Error> {
        let found = inner.slots.binary_search_by_key(&key, |s| s.key).ok();
        found
            .filter(|at| inner.slots[*at].mark == mark_of(entry))
            .ok_or_else(|| {
                let (name, len) = (entry.name.escape_debug(), entry.len);
                let tablet = self.tablet;
                let text =
                    format!("file '{name}' of {len} bytes is not in the list of tablet {tablet}");
                Error::new(ErrorKind::NotFound, text)
            })
    }

    fn set(&self, key: DiskKey, state: SlotState, found: Option<Box<Digested>>) {
        let mut inner = self.inner.lock();
        if let Ok(at) = inner.slots.binary_search_by_key(&key, |s| s.key) {
            let slot = &mut inner.slots[at];
            slot.state = state;
            if found.is_some() {
                slot.found = found;
            }
        }
    }

    /// Puts a proved file at `from` among the complete ones, if `token` may still write.
    pub(crate) fn accept(
        &self,
        token: Token,
        entry: &FileEntry,
        found: Digested,
        put: impl FnOnce(&Path) -> Result<SlotState, Error>,
    ) -> Result<(), Error> {
        let key = DiskKey::of(&entry.name);
        let mut inner = self.inner.lock();
        if inner.sealed || token < inner.newest {
            return Err(self.fenced(token, &inner));
        }
        let at = self.position(&inner, key, entry)?;
        if inner.slots[at].state == SlotState::Unproved {
            let state = put(&self.done().join(key.file_name()))?;
            let slot = &mut inner.slots[at];
            (slot.state, slot.found) = (state, keep(entry, found));
        }
        Ok(())
    }

    /// Names on disk of proved files that are not known to be durable.
    pub(crate) fn unsynced(&self) -> Vec<DiskKey> {
        let inner = self.inner.lock();
        let done = inner.slots.iter().filter(|s| s.state == SlotState::Done);
        done.map(|s| s.key).collect()
    }

    /// Records that these files and their folder were synced.
    pub(crate) fn synced(&self, keys: &[DiskKey]) {
        for key in keys {
            self.set(*key, SlotState::Synced, None);
        }
    }

    /// What this opening knows of a file of the list.
    pub(crate) fn known(&self, key: DiskKey) -> (SlotState, Option<Box<Digested>>) {
        let inner = self.inner.lock();
        match inner.slots.binary_search_by_key(&key, |s| s.key) {
            Ok(at) => (inner.slots[at].state, inner.slots[at].found.clone()),
            Err(_) => (SlotState::Unproved, None),
        }
    }

    /// Forgets that a file was proved: it turned out to be missing or different.
    pub(crate) fn doubt(&self, key: DiskKey) {
        self.set(key, SlotState::Unproved, None);
    }
}

/// Keeps of what was found in the bytes only what the entry does not say.
fn keep(entry: &FileEntry, found: Digested) -> Option<Box<Digested>> {
    let lacks = entry.hash.is_none() || (entry.len > SEGMENT_BYTES && entry.segments.is_empty());
    lacks.then(|| Box::new(found))
}

fn mark_of(entry: &FileEntry) -> [u8; 8] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&entry.len.to_le_bytes());
    if let Some(hash) = entry.hash {
        hasher.update(&hash.0);
    }
    let mut mark = [0_u8; 8];
    mark.copy_from_slice(&hasher.finalize().as_bytes()[..8]);
    mark
}

fn slots(files: &[FileEntry]) -> Vec<Slot> {
    let mut out: Vec<Slot> = files
        .iter()
        .map(|entry| Slot {
            key: DiskKey::of(&entry.name),
            mark: mark_of(entry),
            state: SlotState::Unproved,
            found: None,
        })
        .collect();
    out.sort_unstable_by_key(|slot| slot.key);
    out
}

/// The list that a place keeps; `None` where it is absent or not whole (it is synced only when
/// settled).
pub(crate) fn read_kept_list(path: &Path) -> Option<Vec<FileEntry>> {
    let kept = fs::read(path).ok()?;
    let (hash, bytes) = kept.split_at_checked(32)?;
    if FileHash::of(bytes).0 != *hash {
        return None;
    }
    decode(bytes).ok()
}

/// A file that one attempt writes into its own folder.
pub(crate) struct Writing {
    place: Arc<Place>,
    /// Held for reading while a file is put among the complete ones; see `LocalStorage::gate`.
    gate: Arc<RwLock<()>>,
    token: Token,
    entry: FileEntry,
    path: PathBuf,
    file: File,
    write_back: WriteBack,
    digest: Digest,
    /// Whether the file lies among the complete ones now.
    moved: bool,
}

impl Writing {
    pub(crate) fn begin(
        place: Arc<Place>,
        gate: Arc<RwLock<()>>,
        token: Token,
        entry: &FileEntry,
    ) -> Result<Self, Error> {
        let dir = token_dir(&place.dir, token);
        let key = DiskKey::of(&entry.name).file_name();
        let number = place.writes.fetch_add(1, Ordering::Relaxed);
        let path = dir.join(format!("{key}.{number}"));
        let file = match File::create(&path) {
            // A token that never staged has no folder yet.
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                make_dirs(&dir)?;
                File::create(&path)
            }
            other => other,
        };
        let file = file.map_err(|e| failed("create", &path, &e))?;
        let entry = entry.clone();
        Ok(Self {
            place,
            gate,
            token,
            entry,
            path,
            file,
            write_back: WriteBack::default(),
            digest: Digest::new(),
            moved: false,
        })
    }
}

impl StagedFile for Writing {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.place.admit(self.token)?;
        if self.digest.seen() + bytes.len() as u64 > self.entry.len {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "file '{}' gets more than its {} bytes",
                    self.entry.name.escape_debug(),
                    self.entry.len
                ),
            ));
        }
        for piece in bytes.chunks(PIECE) {
            self.file
                .write_all(piece)
                .map_err(|e| failed("write", &self.path, &e))?;
            self.digest.update(piece);
            self.write_back.wrote(&self.file, self.digest.seen());
        }
        Ok(())
    }

    fn finish(mut self: Box<Self>) -> Result<(), Error> {
        let found = std::mem::replace(&mut self.digest, Digest::new()).finish();
        if !found.agrees_with(&self.entry) {
            return Err(differs(&self.entry, &found));
        }
        let gate = Arc::clone(&self.gate);
        let _open = gate.read();
        let (path, moved) = (&self.path, &mut self.moved);
        self.place.accept(self.token, &self.entry, found, |done| {
            fs::rename(path, done).map_err(|e| failed("rename to", done, &e))?;
            *moved = true;
            Ok(SlotState::Done)
        })
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.moved {
            // What cannot be removed goes with the staging.
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The refusal of content that is not what the list says.
pub(crate) fn differs(entry: &FileEntry, found: &Digested) -> Error {
    let expected = entry
        .hash
        .map_or_else(|| "any".to_owned(), |h| h.to_string());
    Error::new(
        ErrorKind::Invalid,
        format!(
            "file '{}' has {} bytes and hash {}, expected {} bytes and hash {expected}",
            entry.name.escape_debug(),
            found.len,
            found.hash,
            entry.len
        ),
    )
}
