//! Objects as files below one folder. Owns the order of system calls that makes a put whole and
//! durable:
//!
//! ```text
//! temporary file in the target's folder ── write, early write-back ── fdatasync
//!      └─ link to the name (never an overwriting rename) ── unlink temporary
//!      └─ fsync the folder, and each new folder above it
//! ```
//!
//! The bytes are on the disk before the name exists, so no crash shows a torn object. Names map to
//! paths one to one. No symbolic link below the root is followed. Keeps no file handle between
//! calls: a folder that a user moves away is gone for the next call, instead of being written to
//! under another name.

mod buffers;
mod errno;
mod folders;
mod gate;
mod list;
mod read;
mod sweep;
mod write;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::AtomicU64;

use rustix::fs::{self, AtFlags, FileType};
use rustix::io::Errno;

use self::buffers::Buffers;
use self::errno::{Doing, failed};
use self::folders::{Folder, Folders, Walk};
pub use self::sweep::Swept;
use self::sweep::Visited;
use crate::broker::{check_limit, check_range, check_size};
use crate::{
    Atomicity, Broker, ConditionalPut, Context, Description, Durability, Error, ListConsistency,
    ObjectInfo, ObjectName, Page, PageToken, PutMode, PutOutcome, Source, Visit,
};

/// A folder of a local or mounted file system as a remote.
///
/// The folder need not exist: the first put makes it and whatever is missing above it. Folders
/// that deletes leave empty are removed. A name below a symbolic link, or that is one, is refused
/// with [`ErrorClass::Invalid`](crate::ErrorClass::Invalid).
///
/// What killed writers left unfinished is removed from a folder when a broker first puts into it
/// or deletes from it; [`LocalBroker::sweep`] removes it everywhere.
#[derive(Debug)]
pub struct LocalBroker {
    folders: Folders,
    buffers: Buffers,
    /// Numbers the temporary files of this broker.
    temporaries: AtomicU64,
    visited: Visited,
}

/// What lies under a name.
enum Found {
    Object(u64),
    Folder,
    Nothing,
}

impl LocalBroker {
    /// A broker on the folder `root`, an absolute path. Fails with
    /// [`ErrorClass::Invalid`](crate::ErrorClass::Invalid) where the path is relative or something
    /// other than a folder is there.
    pub fn open(root: &Path) -> Result<Self, Error> {
        if !root.is_absolute() {
            return Err(Error::invalid(format!(
                "folder {} is a relative path, expected an absolute one",
                root.display()
            )));
        }
        let folders = Folders::new(root);
        folders.open_root()?;
        Ok(LocalBroker {
            folders,
            buffers: Buffers::default(),
            temporaries: AtomicU64::new(0),
            visited: Visited::default(),
        })
    }

    /// The folder that all objects lie in.
    pub fn root(&self) -> &Path {
        self.folders.root()
    }

    /// What lies under `name` in its folder; symbolic links and special files are refused.
    fn look(&self, folder: &Folder, name: &ObjectName) -> Result<Found, Error> {
        let (_, leaf) = name.split();
        let stat = match fs::statat(folder, leaf, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => stat,
            Err(Errno::NOENT) => return Ok(Found::Nothing),
            Err(errno) => return Err(failed(errno, Doing::Read, "look at", name)),
        };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::RegularFile => Ok(Found::Object(u64::try_from(stat.st_size).unwrap_or(0))),
            FileType::Directory => Ok(Found::Folder),
            other => Err(not_a_file(name, other)),
        }
    }

    /// The open object and its length, and the folder it lies in.
    fn open_object(&self, name: &ObjectName, walk: Walk) -> Result<(Folder, OwnedFd, u64), Error> {
        let (path, leaf) = name.split();
        let folder = self
            .folders
            .walk(path, walk, name)?
            .ok_or_else(|| Error::missing(name))?;
        match self.look(&folder, name)? {
            Found::Object(_) => {}
            Found::Folder | Found::Nothing => return Err(Error::missing(name)),
        }
        let file = match read::open(&folder, leaf) {
            Ok(file) => file,
            Err(Errno::NOENT) => return Err(Error::missing(name)),
            Err(errno) => return Err(failed(errno, Doing::Read, "open", name)),
        };
        let stat = fs::fstat(&file).map_err(|errno| failed(errno, Doing::Read, "look at", name))?;
        Ok((folder, file, u64::try_from(stat.st_size).unwrap_or(0)))
    }

    /// Syncs the data of one object, and names it in its folder for ever.
    fn settle_one(&self, name: &ObjectName) -> Result<Folder, Error> {
        let (folder, file, _) = self.open_object(name, Walk::Settle)?;
        // Whoever was killed while it put this object, which another put meanwhile, will not put it again.
        self.visited.first_visit(&folder);
        fs::fdatasync(&file).map_err(|errno| failed(errno, Doing::Settle, "sync", name))?;
        Ok(folder)
    }
}

fn is_a_folder(name: &ObjectName) -> Error {
    Error::invalid(format!("{name:?} is a folder, not an object"))
}

fn not_a_file(name: &ObjectName, kind: FileType) -> Error {
    let kind = match kind {
        FileType::Symlink => "a symbolic link, which is not followed",
        _ => "a special file",
    };
    Error::invalid(format!("{name:?} is {kind}, expected a plain file"))
}

impl Broker for LocalBroker {
    fn put(
        &self,
        ctx: &Context,
        name: &ObjectName,
        source: &dyn Source,
        mode: PutMode,
    ) -> Result<PutOutcome, Error> {
        ctx.check()?;
        let (path, _) = name.split();
        // A look first saves writing the bytes of an object that is there; the link decides later
        // in any case.
        if let Some(folder) = self.folders.walk(path, Walk::Look, name)? {
            self.visited.first_visit(&folder);
            match (self.look(&folder, name)?, mode) {
                (Found::Folder, _) => return Err(is_a_folder(name)),
                (Found::Object(_), PutMode::CreateIfAbsent) => return self.answer_exists(name),
                _ => {}
            }
        }
        self.write(ctx, name, source, mode)
    }

    fn get_range(
        &self,
        ctx: &Context,
        name: &ObjectName,
        range: Range<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        ctx.check()?;
        let (_, file, len) = self.open_object(name, Walk::Look)?;
        check_range(name, &range, len)?;
        self.read(ctx, name, &file, range, visit)
    }

    fn get(&self, ctx: &Context, name: &ObjectName, max_len: u64) -> Result<Vec<u8>, Error> {
        ctx.check()?;
        let (_, file, len) = self.open_object(name, Walk::Look)?;
        check_size(name, len, max_len)?;
        let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(0));
        self.read(ctx, name, &file, 0..len, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    fn stat(&self, ctx: &Context, name: &ObjectName) -> Result<Option<ObjectInfo>, Error> {
        ctx.check()?;
        let (path, _) = name.split();
        let Some(folder) = self.folders.walk(path, Walk::Look, name)? else {
            return Ok(None);
        };
        match self.look(&folder, name)? {
            Found::Object(len) => Ok(Some(ObjectInfo {
                name: name.clone(),
                len,
            })),
            Found::Folder | Found::Nothing => Ok(None),
        }
    }

    fn list(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page, Error> {
        ctx.check()?;
        check_limit(limit)?;
        list::page(ctx, &self.folders, prefix, after, limit)
    }

    fn delete(&self, ctx: &Context, name: &ObjectName) -> Result<(), Error> {
        ctx.check()?;
        let (path, leaf) = name.split();
        let Some(folder) = self.folders.walk(path, Walk::Look, name)? else {
            return Ok(());
        };
        let swept = self.visited.first_visit(&folder);
        match self.look(&folder, name)? {
            Found::Object(_) => {}
            Found::Folder => return Ok(()),
            Found::Nothing => {
                if let Some(path) = path.filter(|_| swept.files > 0) {
                    self.folders.remove_empty(path);
                }
                return Ok(());
            }
        }
        match fs::unlinkat(&folder, leaf, AtFlags::empty()) {
            Ok(()) => {}
            Err(Errno::NOENT) => return Ok(()),
            Err(errno) => return Err(failed(errno, Doing::Write, "delete", name)),
        }
        self.folders
            .sync(&folder)
            .map_err(|errno| failed(errno, Doing::Write, "sync the folder of deleted", name))?;
        if let Some(path) = path {
            self.folders.remove_empty(path);
        }
        Ok(())
    }

    fn settle(&self, ctx: &Context, names: &[ObjectName]) -> Result<(), Error> {
        // Neighbours share a folder, and one sync of the folder serves them all.
        let mut pending: Option<(&ObjectName, Folder)> = None;
        for name in names {
            ctx.check()?;
            let folder = self.settle_one(name)?;
            match pending.replace((name, folder)) {
                Some((before, last))
                    if pending
                        .as_ref()
                        .is_none_or(|(_, next)| next.id() != last.id()) =>
                {
                    self.sync_settled(before, &last)?;
                }
                _ => {}
            }
        }
        match pending {
            Some((name, folder)) => self.sync_settled(name, &folder),
            None => Ok(()),
        }
    }

    fn describe(&self) -> Description {
        Description {
            kind: "local",
            location: format!("file://{}", self.root().display()),
            atomic_put: Atomicity::Atomic,
            conditional_put: ConditionalPut::Decided,
            list_consistency: ListConsistency::Strong,
            durability: Durability::Synced,
        }
    }
}

impl LocalBroker {
    fn sync_settled(&self, name: &ObjectName, folder: &Folder) -> Result<(), Error> {
        self.folders
            .sync(folder)
            .map_err(|errno| failed(errno, Doing::Settle, "sync the folder of", name))
    }

    /// Answers that an object is there, once it is as durable as if this put had made it.
    fn answer_exists(&self, name: &ObjectName) -> Result<PutOutcome, Error> {
        let folder = self.settle_one(name)?;
        self.sync_settled(name, &folder)?;
        Ok(PutOutcome::Exists)
    }
}
