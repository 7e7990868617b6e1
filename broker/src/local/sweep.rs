//! Removing temporary files whose writer is dead: old enough, and no longer locked. Must never
//! touch an object.

use std::time::Duration;

use rustix::fs::{self, AtFlags, Dir, FileType, FlockOperation};
use rustix::io::Errno;

use super::LocalBroker;
use super::errno::{Doing, failed};
use super::folders::Folder;
use super::read;
use crate::name::TEMPORARY_PREFIX;
use crate::{Context, Error, clock};

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
