//! Removing temporary files whose writer is dead: old enough, and no longer locked. Must never
//! touch an object.
//!
//! A whole tree is swept when somebody asks for it. Beside that, each folder is swept once, when a
//! broker first puts into it or deletes from it: who goes on with what a kill broke off comes
//! through the same folders, and so nothing piles up.

use std::collections::BTreeSet;
use std::time::Duration;

use parking_lot::Mutex;

use rustix::fs::{self, AtFlags, Dir, FileType, FlockOperation};
use rustix::io::Errno;

use super::LocalBroker;
use super::errno::{Doing, failed};
use super::folders::{Folder, FolderId};
use super::read;
use crate::name::TEMPORARY_PREFIX;
use crate::{Context, Error, clock};

/// How many swept folders are remembered; beyond it memory is emptied, which only costs a look.
const REMEMBERED: usize = 16 * 1024;

/// How old a temporary file must be where locks may not be carried between hosts.
const SURELY_DEAD: Duration = Duration::from_secs(6 * 3600);

/// File systems of one host (ext2 to 4, XFS, Btrfs, tmpfs, ZFS, F2FS, overlay), by the number that
/// `statfs` gives: a lock that nobody holds here is held by nobody.
const OF_ONE_HOST: [u64; 7] = [
    0xef53,
    0x5846_5342,
    0x9123_683e,
    0x0102_1994,
    0x2fc1_2fc1,
    0xf2f5_2010,
    0x794c_7630,
];

/// The folders that a broker has come through.
#[derive(Debug, Default)]
pub(super) struct Visited(Mutex<BTreeSet<FolderId>>);

impl Visited {
    /// Sweeps `folder` unless that was done before, and says what that removed. A failure is no
    /// failure of the request for whose sake the folder was opened.
    pub(super) fn first_visit(&self, folder: &Folder) -> Swept {
        let mut swept = Swept::default();
        {
            let mut visited = self.0.lock();
            if visited.len() >= REMEMBERED {
                visited.clear();
            }
            if !visited.insert(folder.id()) {
                return swept;
            }
        }
        if let Err(errno) = sweep_entries(folder, &mut swept) {
            log::debug!("unfinished uploads in a folder are not swept: {errno}");
        }
        if swept.files > 0 {
            let Swept { files, bytes } = swept;
            log::info!("{files} unfinished uploads of dead writers removed, {bytes} bytes");
        }
        swept
    }
}

fn sweep_entries(folder: &Folder, swept: &mut Swept) -> Result<(), Errno> {
    let mut found = Vec::new();
    for entry in Dir::read_from(folder)? {
        if let Ok(leaf) = entry?.file_name().to_str()
            && leaf.starts_with(TEMPORARY_PREFIX)
        {
            found.push(leaf.to_owned());
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    // The type's width and sign differ between systems; its value is a 32-bit number.
    let kind = u64::try_from(fs::fstatfs(folder)?.f_type).unwrap_or(0) & 0xffff_ffff;
    let older_than = if OF_ONE_HOST.contains(&kind) {
        Duration::ZERO
    } else {
        SURELY_DEAD
    };
    found
        .iter()
        .try_for_each(|leaf| sweep_file(folder, leaf, older_than, swept))
}

/// What a sweep removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Swept {
    /// Temporary files removed.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
}

impl LocalBroker {
    /// Removes what puts left behind that were killed: temporary files not written to for
    /// `older_than` whose writer no longer holds its lock. Some network file systems do not carry
    /// locks between hosts; there only the age protects a put of another host, so give hours
    /// rather than minutes where several hosts write.
    pub fn sweep(&self, ctx: &Context, older_than: Duration) -> Result<Swept, Error> {
        let mut swept = Swept::default();
        if let Some(root) = self.folders.open_root()? {
            sweep_folder(ctx, &root, "", older_than, &mut swept)?;
        }
        Ok(swept)
    }
}

fn sweep_folder(
    ctx: &Context,
    folder: &Folder,
    path: &str,
    older_than: Duration,
    swept: &mut Swept,
) -> Result<(), Error> {
    ctx.check()?;
    let fail = |errno: Errno| failed(errno, Doing::Read, "sweep folder", path);
    let mut below = Vec::new();
    for entry in Dir::read_from(folder).map_err(fail)? {
        let entry = entry.map_err(fail)?;
        let Ok(leaf) = entry.file_name().to_str() else {
            continue;
        };
        if leaf.starts_with(TEMPORARY_PREFIX) {
            sweep_file(folder, leaf, older_than, swept).map_err(fail)?;
        } else if leaf != "."
            && leaf != ".."
            && matches!(entry.file_type(), FileType::Directory | FileType::Unknown)
        {
            below.push(leaf.to_owned());
        }
    }
    for leaf in below {
        match folder.open(&leaf) {
            Ok(next) => sweep_folder(ctx, &next, &format!("{path}{leaf}/"), older_than, swept)?,
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP) => {}
            Err(errno) => return Err(fail(errno)),
        }
    }
    Ok(())
}

fn sweep_file(
    folder: &Folder,
    leaf: &str,
    older_than: Duration,
    swept: &mut Swept,
) -> Result<(), Errno> {
    let file = match read::open(folder, leaf) {
        Ok(file) => file,
        Err(Errno::NOENT | Errno::LOOP | Errno::ACCESS) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let stat = fs::fstat(&file)?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile
        || clock::age(stat.st_mtime) < older_than
    {
        return Ok(());
    }
    if fs::flock(&file, FlockOperation::NonBlockingLockExclusive) == Err(Errno::WOULDBLOCK) {
        return Ok(());
    }
    match fs::unlinkat(folder, leaf, AtFlags::empty()) {
        Ok(()) => {
            swept.files += 1;
            swept.bytes += u64::try_from(stat.st_size).unwrap_or(0);
            Ok(())
        }
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}
