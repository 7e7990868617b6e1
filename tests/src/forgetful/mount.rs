//! Serves a [`Disk`] through FUSE, counts syncs, and cuts power at the one that it was told.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, Config, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, MountOption, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate,
    ReplyData, ReplyDirectory, ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request,
    TimeOrNow, WriteFlags,
};
use parking_lot::{Condvar, Mutex};

use super::disk::{Content, Disk, Kept, Node, ROOT, When, folder};
use crate::dice::Dice;

/// The kernel alone changes this file system, so it may remember for as long as it likes.
const TTL: Duration = Duration::from_secs(3_600);

#[derive(Debug)]
struct Power {
    disk: Disk,
    syncs: u64,
    /// At which sync power is cut, when, and what decides over the rest.
    cut_at: Option<(u64, When, Kept)>,
    /// What was left when it was cut.
    left: Option<Disk>,
}

impl Power {
    /// Cuts power now: from here on every call fails.
    fn cut(&mut self, kept: Kept) {
        self.left = Some(self.disk.cut(kept));
    }

    /// One sync of a file or folder; `false` where power is gone and nobody hears an answer.
    fn sync(&mut self, id: u64) -> bool {
        self.syncs += 1;
        let Some((_, when, kept)) = self.cut_at.filter(|(at, ..)| *at == self.syncs) else {
            self.disk.sync(id, None);
            return true;
        };
        match when {
            When::Before => {}
            When::Inside => self.disk.sync(id, Some(&mut Dice::new(self.syncs))),
            When::After => self.disk.sync(id, None),
        }
        self.cut(kept);
        false
    }
}

type Shared = Arc<(Mutex<Power>, Condvar)>;

/// A mounted [`Disk`]. Unmounted when dropped.
pub struct Mounted {
    shared: Shared,
    session: Option<BackgroundSession>,
}

/// Why no such file system can be mounted here, if none can.
pub fn unavailable() -> Option<String> {
    let place = match tempfile::tempdir() {
        Ok(place) => place,
        Err(e) => return Some(format!("no temporary folder: {e}")),
    };
    match Mounted::new(Disk::new(), place.path(), None) {
        Ok(_) => None,
        Err(e) => Some(format!("a FUSE file system cannot be mounted: {e}")),
    }
}

impl Mounted {
    /// Mounts the disk at an empty folder; power is cut at the sync with the number given, from 1.
    ///
    /// # Errors
    /// What the system reports, such as that there is no `/dev/fuse`.
    pub fn new(disk: Disk, at: &Path, cut_at: Option<(u64, When, Kept)>) -> io::Result<Self> {
        let power = Power {
            disk,
            syncs: 0,
            cut_at,
            left: None,
        };
        let shared: Shared = Arc::new((Mutex::new(power), Condvar::new()));
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("forgetful".to_owned())];
        let served = Served {
            power: Arc::clone(&shared),
            open: Mutex::default(),
        };
        let session = fuser::spawn_mount(served, at, &config)?;
        Ok(Self {
            shared,
            session: Some(session),
        })
    }

    /// Waits until power is cut, at most so long; says whether it is.
    pub fn wait_for_cut(&self, patience: Duration) -> bool {
        let (power, changed) = &*self.shared;
        let mut power = power.lock();
        if power.left.is_none() {
            changed.wait_for(&mut power, patience);
        }
        power.left.is_some()
    }

    /// Syncs so far.
    pub fn syncs(&self) -> u64 {
        self.shared.0.lock().syncs
    }

    /// What a cut left, or all that there is where power was not cut. Unmounts.
    pub fn into_disk(mut self) -> Disk {
        self.unmount();
        let power = self.shared.0.lock();
        power.left.clone().unwrap_or_else(|| power.disk.clone())
    }

    fn unmount(&mut self) {
        if let Some(session) = self.session.take()
            && let Err(e) = session.umount_and_join()
        {
            eprintln!("the forgetful file system is not unmounted: {e}");
        }
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.unmount();
    }
}

/// Names, numbers and kinds of what a folder held when it was opened.
type Listing = Vec<(std::ffi::OsString, u64, FileType)>;

struct Served {
    power: Shared,
    /// Listings of open folders, which stay what they were while others remove what they name.
    open: Mutex<(u64, BTreeMap<u64, Arc<Listing>>)>,
}

impl Served {
    /// Does something with the disk, while there is power.
    fn with<T>(&self, act: impl FnOnce(&mut Disk) -> Result<T, Errno>) -> Result<T, Errno> {
        let mut power = self.power.0.lock();
        match power.left {
            None => act(&mut power.disk),
            Some(_) => Err(Errno::EIO),
        }
    }

    fn sync(&self, id: u64, reply: ReplyEmpty) {
        let mut power = self.power.0.lock();
        if power.left.is_none() && power.sync(id) {
            return reply.ok();
        }
        self.power.1.notify_all();
        reply.error(Errno::EIO);
    }
}

fn attr(disk: &Disk, id: u64) -> Result<FileAttr, Errno> {
    let (kind, size, perm, nlink) = match disk.nodes.get(&id) {
        Some(Node::File(content)) => {
            let size = content.now.len() as u64;
            (FileType::RegularFile, size, 0o644, disk.links(id))
        }
        Some(Node::Folder { .. }) => (FileType::Directory, 0, 0o755, 2),
        None => return Err(Errno::ENOENT),
    };
    let time = UNIX_EPOCH + Duration::from_secs(1_735_689_600);
    Ok(FileAttr {
        ino: INodeNo(id),
        size,
        blocks: size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm,
        nlink,
        uid: 0,
        gid: 0,
        rdev: 0,
        blksize: 4_096,
        flags: 0,
    })
}

fn child(disk: &Disk, parent: INodeNo, name: &OsStr) -> Result<u64, Errno> {
    let names = disk.names(parent.0).ok_or(Errno::ENOTDIR)?;
    names.get(name).copied().ok_or(Errno::ENOENT)
}

fn free(disk: &Disk, parent: INodeNo, name: &OsStr) -> Result<(), Errno> {
    match child(disk, parent, name) {
        Err(e) if e == Errno::ENOENT => Ok(()),
        Err(e) => Err(e),
        Ok(_) => Err(Errno::EEXIST),
    }
}

fn entry(found: Result<FileAttr, Errno>, reply: ReplyEntry) {
    match found {
        Ok(attr) => reply.entry(&TTL, &attr, Generation(0)),
        Err(e) => reply.error(e),
    }
}

fn done(found: Result<(), Errno>, reply: ReplyEmpty) {
    match found {
        Ok(()) => reply.ok(),
        Err(e) => reply.error(e),
    }
}

impl Filesystem for Served {
    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let found = self.with(|disk| attr(disk, child(disk, parent, name)?));
        entry(found, reply);
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.with(|disk| attr(disk, ino.0)) {
            // The count of links changes behind the kernel's back.
            Ok(attr) => reply.attr(&Duration::ZERO, &attr),
            Err(e) => reply.error(e),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        _fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<fuser::BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changed = self.with(|disk| {
            if let Some(size) = size {
                disk.truncate(ino.0, size);
            }
            attr(disk, ino.0)
        });
        match changed {
            Ok(attr) => reply.attr(&Duration::ZERO, &attr),
            Err(e) => reply.error(e),
        }
    }

    fn mkdir(&self, _: &Request, parent: INodeNo, name: &OsStr, _: u32, _: u32, r: ReplyEntry) {
        let made = self.with(|disk| {
            free(disk, parent, name)?;
            let id = disk.add(parent.0, name, folder());
            attr(disk, id)
        });
        entry(made, r);
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let gone = self.with(|disk| {
            let id = child(disk, parent, name)?;
            disk.file(id).ok_or(Errno::EISDIR)?;
            disk.unlink(parent.0, name);
            Ok(())
        });
        done(gone, reply);
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        let gone = self.with(|disk| {
            let id = child(disk, parent, name)?;
            let names = disk.names(id).ok_or(Errno::ENOTDIR)?;
            if !names.is_empty() {
                return Err(Errno::ENOTEMPTY);
            }
            disk.unlink(parent.0, name);
            Ok(())
        });
        done(gone, reply);
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let moved = self.with(|disk| {
            let id = child(disk, parent, name)?;
            if !(flags - RenameFlags::RENAME_NOREPLACE).is_empty() {
                return Err(Errno::EINVAL);
            }
            match child(disk, newparent, newname) {
                Ok(_) if !flags.is_empty() => return Err(Errno::EEXIST),
                Ok(old) if disk.names(old).is_some_and(|names| !names.is_empty()) => {
                    return Err(Errno::ENOTEMPTY);
                }
                _ => {}
            }
            disk.rename((parent.0, name), (newparent.0, newname), id);
            Ok(())
        });
        done(moved, reply);
    }

    fn link(&self, _: &Request, ino: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let linked = self.with(|disk| {
            free(disk, parent, name)?;
            disk.file(ino.0).ok_or(Errno::EPERM)?;
            disk.link(ino.0, parent.0, name);
            attr(disk, ino.0)
        });
        entry(linked, reply);
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        match self.with(|disk| attr(disk, ino.0)) {
            Ok(_) => reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE),
            Err(e) => reply.error(e),
        }
    }

    fn create(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        _mode: u32,
        _umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let made = self.with(|disk| {
            free(disk, parent, name)?;
            let id = disk.add(parent.0, name, Node::File(Content::default()));
            attr(disk, id)
        });
        match made {
            Ok(attr) => reply.created(
                &TTL,
                &attr,
                Generation(0),
                FileHandle(0),
                FopenFlags::empty(),
            ),
            Err(e) => reply.error(e),
        }
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let found = self.with(|disk| {
            let content = disk.file(ino.0).ok_or(Errno::EISDIR)?;
            Ok(Arc::clone(&content.now))
        });
        match found {
            Ok(bytes) => {
                let start = (offset as usize).min(bytes.len());
                let end = (start + size as usize).min(bytes.len());
                reply.data(&bytes[start..end]);
            }
            Err(e) => reply.error(e),
        }
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write: WriteFlags,
        _flags: OpenFlags,
        _lock: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.with(|disk| {
            disk.write(ino.0, offset, data);
            Ok(())
        });
        match written {
            Ok(()) => reply.written(u32::try_from(data.len()).unwrap_or(u32::MAX)),
            Err(e) => reply.error(e),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(ino.0, reply);
    }

    fn fsyncdir(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.sync(ino.0, reply);
    }

    fn opendir(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        let listed = self.with(|disk| {
            let names = disk.names(ino.0).ok_or(Errno::ENOTDIR)?;
            let of = |id: &u64| match disk.file(*id) {
                Some(_) => FileType::RegularFile,
                None => FileType::Directory,
            };
            let mut listing: Listing = vec![
                (".".into(), ino.0, FileType::Directory),
                ("..".into(), ROOT, FileType::Directory),
            ];
            listing.extend(names.iter().map(|(name, id)| (name.clone(), *id, of(id))));
            Ok(listing)
        });
        match listed {
            Ok(listing) => {
                let mut open = self.open.lock();
                open.0 += 1;
                let handle = open.0;
                open.1.insert(handle, Arc::new(listing));
                reply.opened(FileHandle(handle), FopenFlags::empty());
            }
            Err(e) => reply.error(e),
        }
    }

    fn readdir(
        &self,
        _: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        let Some(listing) = self.open.lock().1.get(&fh.0).map(Arc::clone) else {
            return reply.error(Errno::EBADF);
        };
        for (at, (name, id, kind)) in listing.iter().enumerate().skip(offset as usize) {
            if reply.add(INodeNo(*id), at as u64 + 1, *kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn releasedir(
        &self,
        _: &Request,
        _ino: INodeNo,
        fh: FileHandle,
        _flags: OpenFlags,
        reply: ReplyEmpty,
    ) {
        self.open.lock().1.remove(&fh.0);
        reply.ok();
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        // A terabyte, all of it free.
        reply.statfs(
            1 << 28,
            1 << 28,
            1 << 28,
            1 << 20,
            1 << 20,
            4_096,
            255,
            4_096,
        );
    }
}
