//! Where things lie in the storage's folder, and the few ways its files are made, linked, synced
//! and removed.
//!
//! Knows paths and bytes; knows nothing of tables, versions or operations beyond their ids.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::digest::{Digest, Digested};
use crate::model::{OpId, Token};
use crate::{Error, ErrorKind};

/// After this many written bytes of one file the system is told to begin writing them back, so that
/// the sync at the end finds little left to do.
const WRITE_BACK: u64 = 8 * 1024 * 1024;

/// The most bytes moved by one read or write. The page cache takes memory in blocks as large as the
/// write: large ones must often be cleared or fetched from a hypervisor first, while small ones are
/// found among what was just freed, and still lie in the processor's cache when they are hashed.
pub(crate) const PIECE: usize = 256 * 1024;

/// The folders of one storage.
#[derive(Clone, Debug)]
pub(crate) struct Layout {
    root: PathBuf,
}

impl Layout {
    pub(crate) fn new(root: &Path) -> Self {
        Self {
            root: root.to_owned(),
        }
    }

    pub(crate) fn catalog(&self) -> PathBuf {
        self.root.join("catalog")
    }

    pub(crate) fn lists(&self) -> PathBuf {
        self.root.join("lists")
    }

    pub(crate) fn list(&self, id: u64) -> PathBuf {
        self.lists().join(id.to_string())
    }

    pub(crate) fn backends(&self) -> PathBuf {
        self.root.join("backends")
    }

    pub(crate) fn backend(&self, name: &str) -> BackendDir {
        BackendDir {
            root: self.backends().join(name),
        }
    }
}

/// The folders of one backend.
#[derive(Clone, Debug)]
pub(crate) struct BackendDir {
    root: PathBuf,
}

impl BackendDir {
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(crate) fn tablet(&self, tablet: u64) -> PathBuf {
        self.data().join(tablet.to_string())
    }

    pub(crate) fn chunk(&self, tablet: u64, chunk: u64) -> PathBuf {
        self.tablet(tablet).join(chunk.to_string())
    }

    pub(crate) fn snapshots(&self) -> PathBuf {
        self.root.join("snapshot")
    }

    pub(crate) fn snapshot(&self, op: OpId) -> PathBuf {
        self.snapshots().join(op.to_string())
    }

    pub(crate) fn stagings(&self) -> PathBuf {
        self.root.join("staging")
    }

    pub(crate) fn staging(&self, op: OpId) -> PathBuf {
        self.stagings().join(op.to_string())
    }

    /// The staging place of one tablet: `list`, the folder `done` and one folder for each attempt.
    pub(crate) fn place(&self, op: OpId, tablet: u64) -> PathBuf {
        self.staging(op).join(tablet.to_string())
    }
}

/// The folder of one attempt within a staging place.
pub(crate) fn token_dir(place: &Path, token: Token) -> PathBuf {
    place.join(format!("{}-{}", token.epoch, token.attempt))
}

/// The token that [`token_dir`] made this name of.
pub(crate) fn parse_token(name: &str) -> Option<Token> {
    let (epoch, attempt) = name.split_once('-')?;
    Some(Token {
        epoch: epoch.parse().ok()?,
        attempt: attempt.parse().ok()?,
    })
}

/// An error of the system while doing `what` to `path`; a full disk is told apart.
pub(crate) fn failed(what: &str, path: &Path, e: &io::Error) -> Error {
    let kind = match e.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
        _ => ErrorKind::Io,
    };
    Error::new(kind, format!("cannot {what} '{}': {e}", path.display()))
}

/// As [`failed`], for a data file of a replica that should be readable.
pub(crate) fn unreadable(path: &Path, e: &io::Error) -> Error {
    let text = format!("cannot read data file '{}': {e}", path.display());
    Error::new(ErrorKind::ReplicaFault, text)
}

pub(crate) fn make_dirs(path: &Path) -> Result<(), Error> {
    fs::create_dir_all(path).map_err(|e| failed("make folder", path, &e))
}

pub(crate) fn sync_dir(path: &Path) -> Result<(), Error> {
    let done = File::open(path).and_then(|dir| dir.sync_all());
    done.map_err(|e| failed("sync folder", path, &e))
}

pub(crate) fn sync_file(path: &Path) -> Result<(), Error> {
    let done = File::open(path).and_then(|file| file.sync_data());
    done.map_err(|e| failed("sync", path, &e))
}

/// Removes a folder and all in it; one that is absent is fine.
pub(crate) fn remove_tree(path: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove folder", path, &e)),
        _ => Ok(()),
    }
}

pub(crate) fn remove_file(path: &Path) -> Result<(), Error> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(failed("remove", path, &e)),
        _ => Ok(()),
    }
}

pub(crate) fn create_new(path: &Path) -> Result<File, Error> {
    File::create_new(path).map_err(|e| failed("create", path, &e))
}

/// Begins the writing back of large files as they grow. Nobody waits for it, and nothing depends on
/// it: durable is only what was synced.
#[derive(Default)]
pub(crate) struct WriteBack {
    begun: u64,
}

impl WriteBack {
    /// Told after each write how long the file has become.
    pub(crate) fn wrote(&mut self, file: &File, len: u64) {
        let Some(due) = std::num::NonZeroU64::new(len - self.begun) else {
            return;
        };
        if due.get() >= WRITE_BACK {
            // For dirty pages this means: begin to write them; only clean ones would be dropped.
            let _ = rustix::fs::fadvise(file, self.begun, Some(due), rustix::fs::Advice::DontNeed);
            self.begun = len;
        }
    }
}

/// Writes a file whole and syncs it; the caller syncs the folder.
pub(crate) fn write_synced(path: &Path, bytes: &[u8]) -> Result<(), Error> {
    let done = File::create(path).and_then(|mut file| {
        file.write_all(bytes)?;
        file.sync_data()
    });
    done.map_err(|e| failed("write", path, &e))
}

/// Names of the entries of a folder, sorted; an absent folder has none.
pub(crate) fn entries(path: &Path) -> Result<Vec<String>, Error> {
    let reader = match fs::read_dir(path) {
        Ok(reader) => reader,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(failed("list folder", path, &e)),
    };
    let mut names = Vec::new();
    for entry in reader {
        let entry = entry.map_err(|e| failed("list folder", path, &e))?;
        // A name that is not UTF-8 is none of ours and is left alone.
        if let Ok(name) = entry.file_name().into_string() {
            names.push(name);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// Makes `to` the same file as `from` by a hard link, or a synced copy where the file system
/// refuses links. A `to` that exists is left as it is.
pub(crate) fn link_or_copy(from: &Path, to: &Path) -> Result<(), Error> {
    let Err(e) = fs::hard_link(from, to) else {
        return Ok(());
    };
    match e.kind() {
        io::ErrorKind::AlreadyExists => Ok(()),
        // The folder of `to` may be what is missing; that is no fault of the data file.
        io::ErrorKind::NotFound if !from.exists() => Err(unreadable(from, &e)),
        io::ErrorKind::CrossesDevices
        | io::ErrorKind::TooManyLinks
        | io::ErrorKind::PermissionDenied
        | io::ErrorKind::Unsupported => copy_synced(from, to),
        _ => Err(failed("link", to, &e)),
    }
}

fn copy_synced(from: &Path, to: &Path) -> Result<(), Error> {
    let mut source = File::open(from).map_err(|e| unreadable(from, &e))?;
    let mut target = match File::create_new(to) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
        Err(e) => return Err(failed("create", to, &e)),
    };
    let done = io::copy(&mut source, &mut target).and_then(|_| target.sync_data());
    done.map_err(|e| failed("copy to", to, &e))
}

/// Reads a data file from start to end and hashes it.
pub(crate) fn digest_file(path: &Path) -> Result<Digested, Error> {
    let mut file = File::open(path).map_err(|e| unreadable(path, &e))?;
    let len = file.metadata().map_err(|e| unreadable(path, &e))?.len();
    let mut buffer = vec![0_u8; PIECE.min(len as usize + 1)];
    let mut digest = Digest::new();
    loop {
        match file.read(&mut buffer) {
            Ok(0) => return Ok(digest.finish()),
            Ok(got) => digest.update(&buffer[..got]),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(unreadable(path, &e)),
        }
    }
}
