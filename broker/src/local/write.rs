//! Writing one object: temporary file, early write-back, data sync, link, folder sync. Nothing
//! here is ever visible under an object's name before its bytes are on the disk.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::{self, Advice, AtFlags, FlockOperation, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use super::buffers::Buffer;
use super::errno::{Doing, failed};
use super::folders::{Folder, Walk};
use super::{LocalBroker, is_a_folder};
use crate::name::TEMPORARY_PREFIX;
use crate::source::check_given;
use crate::{Context, Error, ErrorClass, ObjectName, PutMode, PutOutcome, Source};

/// How often a put begins again where somebody removes its empty folder just after it was made.
const WALKS: u32 = 8;
/// Pieces below this size are gathered; larger ones are written from where they are, this much at a
/// time. The page cache takes memory in blocks as large as the write, and large ones must often be
/// cleared or fetched from a hypervisor first.
const GATHER_BYTES: usize = 256 * 1024;
/// After so many bytes the disk is set to work, so that the sync at the end finds little to do.
const WRITE_BACK_BYTES: u64 = 8 << 20;

/// What became of an attempt to give the bytes their name.
enum Linked {
    Done,
    Taken,
}

impl LocalBroker {
    /// Writes `source` and gives it its name as `mode` asks.
    pub(super) fn write(
        &self,
        ctx: &Context,
        name: &ObjectName,
        source: &dyn Source,
        mode: PutMode,
    ) -> Result<PutOutcome, Error> {
        let (folder, temporary) = self.create_temporary(name)?;
        let mut writer = Writer::new(self, ctx, name, &temporary);
        source.read(&mut |piece| writer.write(piece))?;
        check_given(name, writer.finish()?, source.len())?;
        fs::fdatasync(&temporary.file)
            .map_err(|errno| failed(errno, Doing::Write, "sync", name))?;
        // The last moment at which the request can be withdrawn.
        ctx.check()?;
        let linked = match mode {
            PutMode::CreateIfAbsent => link(&folder, temporary, name)?,
            PutMode::Overwrite => replace(&folder, temporary, name)?,
        };
        match linked {
            Linked::Taken => self.answer_exists(name),
            Linked::Done => {
                self.folders
                    .sync(&folder)
                    .map_err(|errno| failed(errno, Doing::Publish, "sync the folder of", name))?;
                Ok(PutOutcome::Created)
            }
        }
    }

    /// A new temporary file in the folder of `name`, both made as needed.
    fn create_temporary(&self, name: &ObjectName) -> Result<(Folder, Temporary), Error> {
        let (path, _) = name.split();
        for _ in 0..WALKS {
            let Some(folder) = (match self.folders.walk(path, Walk::Create, name) {
                Ok(folder) => folder,
                // A folder above was removed between two steps.
                Err(error) if error.class() == ErrorClass::Missing => continue,
                Err(error) => return Err(error),
            }) else {
                continue;
            };
            self.visited.first_visit(&folder);
            match Temporary::create(&folder, &self.temporaries) {
                Ok(temporary) => return Ok((folder, temporary)),
                Err(Errno::NOENT) => {}
                Err(errno) => {
                    return Err(failed(
                        errno,
                        Doing::Write,
                        "create a temporary file for",
                        name,
                    ));
                }
            }
        }
        let text = format!(
            "the folder of object {name:?} was removed {WALKS} times while it was being made"
        );
        Err(Error::new(ErrorClass::Retry, text))
    }
}

/// A file that no listing shows, locked while its owner lives and removed when dropped.
struct Temporary {
    /// The folder again, so that the file can be removed whatever happens to the caller's handle.
    folder: OwnedFd,
    name: String,
    file: OwnedFd,
}

impl Temporary {
    fn create(folder: &Folder, counter: &AtomicU64) -> Result<Self, Errno> {
        loop {
            let number = counter.fetch_add(1, Ordering::Relaxed);
            #[expect(
                clippy::disallowed_methods,
                reason = "tells this process's files from another's; nobody sees the name"
            )]
            let name = format!("{TEMPORARY_PREFIX}{}-{number}", std::process::id());
            let flags =
                OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let file = match fs::openat(folder, name.as_str(), flags, Mode::from_raw_mode(0o644)) {
                Ok(file) => file,
                Err(Errno::EXIST) => continue,
                Err(errno) => return Err(errno),
            };
            let folder = rustix::io::fcntl_dupfd_cloexec(folder, 0)?;
            let temporary = Temporary { folder, name, file };
            // The lock tells a sweep that the owner lives. Where the file system has no locks, age
            // alone must do.
            if fs::flock(&temporary.file, FlockOperation::LockExclusive).is_ok()
                && fs::fstat(&temporary.file)?.st_nlink == 0
            {
                // A sweep was faster than the lock.
                continue;
            }
            return Ok(temporary);
        }
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        match fs::unlinkat(&self.folder, self.name.as_str(), AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(errno) => log::warn!(
                "temporary file {:?} could not be removed: {errno}",
                self.name
            ),
        }
    }
}

/// Gives the bytes the name, unless it is taken.
fn link(folder: &Folder, temporary: Temporary, name: &ObjectName) -> Result<Linked, Error> {
    let (_, leaf) = name.split();
    let fail = |errno| failed(errno, Doing::Write, "link", name);
    match fs::linkat(
        folder,
        temporary.name.as_str(),
        folder,
        leaf,
        AtFlags::empty(),
    ) {
        Ok(()) => Ok(Linked::Done),
        // Over a network a repeated request can find the link that its first sending made.
        Err(Errno::EXIST) => match fs::fstat(&temporary.file).map_err(fail)?.st_nlink {
            0 | 1 => Ok(Linked::Taken),
            _ => Ok(Linked::Done),
        },
        Err(Errno::NOENT) => Err(removed(name)),
        // A file system without hard links.
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS | Errno::MLINK) => {
            let from = temporary.name.as_str();
            match fs::renameat_with(folder, from, folder, leaf, RenameFlags::NOREPLACE) {
                Ok(()) => Ok(Linked::Done),
                Err(Errno::EXIST) => Ok(Linked::Taken),
                Err(errno) => Err(fail(errno)),
            }
        }
        Err(errno) => Err(fail(errno)),
    }
}

/// Gives the bytes the name, whatever had it.
fn replace(folder: &Folder, temporary: Temporary, name: &ObjectName) -> Result<Linked, Error> {
    let (_, leaf) = name.split();
    match fs::renameat(folder, temporary.name.as_str(), folder, leaf) {
        Ok(()) => Ok(Linked::Done),
        Err(Errno::ISDIR | Errno::NOTEMPTY) => Err(is_a_folder(name)),
        Err(Errno::NOENT) => Err(removed(name)),
        Err(errno) => Err(failed(errno, Doing::Write, "rename to", name)),
    }
}

fn removed(name: &ObjectName) -> Error {
    let text = format!("the unfinished object {name:?} was removed while it was being written");
    Error::new(ErrorClass::Retry, text)
}

/// Writes pieces of any size to a file from its beginning.
struct Writer<'a> {
    ctx: &'a Context,
    name: &'a ObjectName,
    file: &'a OwnedFd,
    gathered: Buffer<'a>,
    gathered_bytes: usize,
    written_bytes: u64,
    /// Up to where the disk was set to work.
    started_bytes: u64,
}

impl<'a> Writer<'a> {
    fn new(
        broker: &'a LocalBroker,
        ctx: &'a Context,
        name: &'a ObjectName,
        temporary: &'a Temporary,
    ) -> Self {
        let gathered = broker.buffers.take();
        Writer {
            ctx,
            name,
            file: &temporary.file,
            gathered,
            gathered_bytes: 0,
            written_bytes: 0,
            started_bytes: 0,
        }
    }

    fn write(&mut self, piece: &[u8]) -> Result<(), Error> {
        for part in piece.chunks(GATHER_BYTES) {
            self.ctx.check()?;
            if self.gathered_bytes + part.len() > GATHER_BYTES {
                self.flush()?;
            }
            if part.len() < GATHER_BYTES {
                let end = self.gathered_bytes + part.len();
                self.gathered.bytes()[self.gathered_bytes..end].copy_from_slice(part);
                self.gathered_bytes = end;
            } else {
                put_at(self.file, self.name, self.written_bytes, part)?;
                self.advance(part.len())?;
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<(), Error> {
        let bytes = std::mem::take(&mut self.gathered_bytes);
        put_at(
            self.file,
            self.name,
            self.written_bytes,
            &self.gathered.bytes()[..bytes],
        )?;
        self.advance(bytes)
    }

    fn advance(&mut self, bytes: usize) -> Result<(), Error> {
        self.written_bytes += bytes as u64;
        let ready = self.written_bytes - self.started_bytes;
        if let Some(len) = std::num::NonZeroU64::new(ready).filter(|_| ready >= WRITE_BACK_BYTES) {
            // "Not needed" starts the write-back of dirty pages at once and drops none of them. It
            // measures the same as sync_file_range, which has no safe binding; a refusal costs
            // only time.
            let _ = fs::fadvise(self.file, self.started_bytes, Some(len), Advice::DontNeed);
            self.started_bytes = self.written_bytes;
        }
        Ok(())
    }

    /// Writes what is gathered and gives the number of all bytes.
    fn finish(mut self) -> Result<u64, Error> {
        self.flush()?;
        Ok(self.written_bytes)
    }
}

pub(super) fn put_at(
    file: &OwnedFd,
    name: &ObjectName,
    mut at: u64,
    mut bytes: &[u8],
) -> Result<(), Error> {
    while !bytes.is_empty() {
        match rustix::io::pwrite(file, bytes, at) {
            Ok(0) => return Err(failed(Errno::IO, Doing::Write, "write", name)),
            Ok(n) => {
                at += n as u64;
                bytes = &bytes[n..];
            }
            Err(Errno::INTR) => {}
            Err(errno) => return Err(failed(errno, Doing::Write, "write", name)),
        }
    }
    Ok(())
}
