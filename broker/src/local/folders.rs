//! The folders below the root: walking to them without following links, making them, and knowing
//! which of their names are on the disk for ever. Must not touch objects.
//!
//! A folder is known durable by path *and* identity (device, inode, time of birth), and only after
//! its parent was synced here; one that was removed and made again has another identity and is
//! synced again.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use rustix::fs::{self, AtFlags, CWD, FileType, Mode, OFlags, StatxFlags};
use rustix::io::Errno;

use super::errno::{Doing, failed};
use super::gate::Gate;
use crate::Error;

/// How many folders are remembered; beyond it memory is emptied, which only costs syncs.
const REMEMBERED: usize = 16 * 1024;
/// How many gates may be idle before they are cleared away.
const GATES: usize = 256;

const FOLDER: OFlags = OFlags::RDONLY
    .union(OFlags::DIRECTORY)
    .union(OFlags::CLOEXEC);

/// What identifies a folder, whatever its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FolderId {
    device: (u32, u32),
    inode: u64,
    born: (i64, u32),
}

/// An open folder.
#[derive(Debug)]
pub(super) struct Folder {
    file: OwnedFd,
    id: FolderId,
}

impl Folder {
    fn new(file: OwnedFd) -> Result<Self, Errno> {
        let stat = fs::statx(
            &file,
            "",
            AtFlags::EMPTY_PATH,
            StatxFlags::INO | StatxFlags::BTIME,
        )?;
        let id = FolderId {
            device: (stat.stx_dev_major, stat.stx_dev_minor),
            inode: stat.stx_ino,
            born: (stat.stx_btime.tv_sec, stat.stx_btime.tv_nsec),
        };
        Ok(Folder { file, id })
    }

    pub(super) fn id(&self) -> FolderId {
        self.id
    }

    /// Opens the folder `segment` in this one; a link is not followed.
    pub(super) fn open(&self, segment: &str) -> Result<Folder, Errno> {
        Folder::new(fs::openat(
            self,
            segment,
            FOLDER | OFlags::NOFOLLOW,
            Mode::empty(),
        )?)
    }
}

impl AsFd for Folder {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// How to walk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Walk {
    /// Take folders as they are.
    Look,
    /// The same, and make their names durable.
    Settle,
    /// Make what is missing, durably.
    Create,
}

/// The tree below one root.
#[derive(Debug)]
pub(super) struct Folders {
    root: PathBuf,
    durable: Mutex<BTreeMap<String, FolderId>>,
    gates: Mutex<BTreeMap<FolderId, Weak<Gate>>>,
}

impl Folders {
    pub(super) fn new(root: &Path) -> Self {
        Folders {
            root: root.to_owned(),
            durable: Mutex::default(),
            gates: Mutex::default(),
        }
    }

    pub(super) fn root(&self) -> &Path {
        &self.root
    }

    /// The root, or `None` where it is not made yet. The root itself may be reached through links:
    /// it is the user's word.
    pub(super) fn open_root(&self) -> Result<Option<Folder>, Error> {
        match fs::openat(CWD, &self.root, FOLDER, Mode::empty()).and_then(Folder::new) {
            Ok(folder) => Ok(Some(folder)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(failed(errno, Doing::Read, "open folder", &self.root)),
        }
    }

    /// The folder at `path` below the root (`None` is the root), or `None` where it does not exist
    /// and is not to be made. Errors name `what`, for whose sake the walk is.
    pub(super) fn walk(
        &self,
        path: Option<&str>,
        walk: Walk,
        what: impl fmt::Debug,
    ) -> Result<Option<Folder>, Error> {
        let root = match (self.open_root()?, walk) {
            (None, Walk::Create) => self.make_root()?,
            (None, _) => return Ok(None),
            (Some(root), _) => root,
        };
        let mut folder = root;
        let path = path.unwrap_or("");
        let mut end = 0;
        for segment in path.split('/').filter(|segment| !segment.is_empty()) {
            end = end + segment.len() + usize::from(end > 0);
            folder = match self.step(&folder, segment, &path[..end], walk) {
                Ok(Some(next)) => next,
                Ok(None) => return Ok(None),
                Err(Errno::NOTDIR | Errno::LOOP) => {
                    return self.obstacle(&folder, segment, walk, &what);
                }
                Err(errno) => {
                    let doing = if walk == Walk::Create {
                        Doing::Write
                    } else {
                        Doing::Read
                    };
                    return Err(failed(errno, doing, "reach the folder of", &what));
                }
            };
        }
        Ok(Some(folder))
    }

    /// One step down; `path` is the whole path of the folder stepped into.
    fn step(
        &self,
        folder: &Folder,
        segment: &str,
        path: &str,
        walk: Walk,
    ) -> Result<Option<Folder>, Errno> {
        let next = match (folder.open(segment), walk) {
            (Err(Errno::NOENT), Walk::Create) => {
                // An inode number and a coarse time of birth can come again at once.
                self.durable.lock().remove(path);
                match fs::mkdirat(folder, segment, Mode::from_raw_mode(0o755)) {
                    Ok(()) | Err(Errno::EXIST) => {}
                    Err(errno) => return Err(errno),
                }
                folder.open(segment)?
            }
            (Err(Errno::NOENT), _) => return Ok(None),
            (other, _) => other?,
        };
        if walk != Walk::Look && self.durable.lock().get(path) != Some(&next.id) {
            self.sync(folder)?;
            let mut durable = self.durable.lock();
            if durable.len() >= REMEMBERED {
                durable.clear();
            }
            durable.insert(path.to_owned(), next.id);
        }
        Ok(Some(next))
    }

    /// What to answer where a segment is no folder: below an object there is nothing, a link is
    /// refused.
    fn obstacle(
        &self,
        folder: &Folder,
        segment: &str,
        walk: Walk,
        what: &impl fmt::Debug,
    ) -> Result<Option<Folder>, Error> {
        let stat = fs::statat(folder, segment, AtFlags::SYMLINK_NOFOLLOW)
            .map_err(|errno| failed(errno, Doing::Read, "reach the folder of", what))?;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Symlink => Err(Error::invalid(format!(
                "{what:?} lies below {segment:?}, a symbolic link, which is not followed"
            ))),
            FileType::RegularFile if walk != Walk::Create => Ok(None),
            _ => Err(Error::invalid(format!(
                "{what:?} cannot lie below {segment:?}, which is no folder"
            ))),
        }
    }

    /// Makes the root and what is missing above it, each name synced.
    fn make_root(&self) -> Result<Folder, Error> {
        let fail = |errno: Errno| failed(errno, Doing::Write, "make folder", &self.root);
        let missing: Vec<&Path> = self
            .root
            .ancestors()
            .take_while(|path| !path.exists())
            .collect();
        for path in missing.iter().rev() {
            match fs::mkdirat(CWD, *path, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(errno) => return Err(fail(errno)),
            }
            if let Some(parent) = path.parent() {
                let parent = fs::openat(CWD, parent, FOLDER, Mode::empty()).map_err(fail)?;
                fs::fsync(&parent).map_err(fail)?;
            }
        }
        self.open_root()?.ok_or_else(|| fail(Errno::NOENT))
    }

    /// Makes the names in `folder` durable as they are now; shares the sync with others who wait
    /// for the same folder.
    pub(super) fn sync(&self, folder: &Folder) -> Result<(), Errno> {
        self.gate(folder.id).pass(|| fs::fsync(folder))
    }

    fn gate(&self, id: FolderId) -> Arc<Gate> {
        let mut gates = self.gates.lock();
        if let Some(gate) = gates.get(&id).and_then(Weak::upgrade) {
            return gate;
        }
        if gates.len() >= GATES {
            gates.retain(|_, gate| gate.strong_count() > 0);
        }
        let gate = Arc::new(Gate::default());
        gates.insert(id, Arc::downgrade(&gate));
        gate
    }

    /// Removes the folder at `path` and those above it while they are empty, as a remote without
    /// folders would look. Best effort: a put that walked in meanwhile keeps its folder, or walks
    /// again.
    pub(super) fn remove_empty(&self, path: &str) {
        let mut rest = Some(path);
        while let Some(path) = rest {
            let (parent, leaf) = path
                .rsplit_once('/')
                .map_or((None, path), |(parent, leaf)| (Some(parent), leaf));
            let Ok(Some(folder)) = self.walk(parent, Walk::Look, path) else {
                return;
            };
            self.durable.lock().remove(path);
            if fs::unlinkat(&folder, leaf, AtFlags::REMOVEDIR).is_err() {
                return;
            }
            rest = parent;
        }
    }
}
