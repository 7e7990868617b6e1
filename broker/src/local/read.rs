//! Reading a range of one object by positioned reads into pooled buffers, with the next window
//! asked for ahead. Must not drop pages from the host's cache.

use std::num::NonZeroU64;
use std::ops::Range;
use std::os::fd::OwnedFd;

use rustix::fs::{self, Advice, Mode, OFlags};
use rustix::io::Errno;

use super::LocalBroker;
use super::buffers::BUFFER_BYTES;
use super::errno::{Doing, failed};
use super::folders::Folder;
use crate::{Context, Error, ErrorClass, ObjectName, Visit};

/// How far ahead of the reader the disk is set to work.
const AHEAD_BYTES: u64 = 4 << 20;

/// Opens `leaf` for reading. Does not block on what only looks like a file.
pub(super) fn open(folder: &Folder, leaf: &str) -> Result<OwnedFd, Errno> {
    fs::openat(
        folder,
        leaf,
        OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )
}

impl LocalBroker {
    /// Hands `range` of the open `file` to `visit`.
    pub(super) fn read(
        &self,
        ctx: &Context,
        name: &ObjectName,
        file: &OwnedFd,
        range: Range<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        let mut buffer = self.buffers.take();
        let buffer = buffer.bytes();
        let mut asked = range.start;
        let mut at = range.start;
        while at < range.end {
            ctx.check()?;
            let rest = range.end - at;
            if rest > BUFFER_BYTES as u64 && at + AHEAD_BYTES > asked {
                let end = range.end.min(asked.saturating_add(AHEAD_BYTES));
                if let Some(len) = NonZeroU64::new(end - asked) {
                    let _ = fs::fadvise(file, asked, Some(len), Advice::WillNeed);
                }
                asked = end;
            }
            let want = usize::try_from(rest)
                .unwrap_or(BUFFER_BYTES)
                .min(BUFFER_BYTES);
            match rustix::io::pread(file, &mut buffer[..want], at) {
                Ok(0) => {
                    let text = format!(
                        "object {name:?} ends at byte {at}, expected {} bytes",
                        range.end
                    );
                    return Err(Error::new(ErrorClass::Corrupt, text));
                }
                Ok(n) => {
                    at += n as u64;
                    visit(&buffer[..n])?;
                }
                Err(Errno::INTR) => {}
                Err(errno) => {
                    return Err(failed(
                        errno,
                        Doing::Read,
                        &format!("read byte {at} of"),
                        name,
                    ));
                }
            }
        }
        Ok(())
    }
}
