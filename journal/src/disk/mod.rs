//! The seam to the file system: one flat folder of files, as little as a log needs.
//!
//! [`FolderDisk`] is the real one. [`MemoryDisk`] knows what a sync has made durable, loses the
//! rest on command in any order of pages, fails syncs and runs full, so that everything a power cut
//! can do to a log is tried without one. Nothing here knows what is in the files.

mod folder;
mod memory;

use std::{fmt::Debug, io, path::Path};

pub use folder::FolderDisk;
pub(crate) use folder::open_to_read;
pub use memory::{MemoryDisk, Unsynced};

/// A flat folder of files.
///
/// What a file holds is durable after [`DiskFile::sync`]; that a name is there, gone or given to
/// another file is durable after [`Disk::sync_folder`].
pub trait Disk: Debug + Send + Sync {
    /// Names of the files, sorted. Folders are left out.
    ///
    /// # Errors
    /// What the system reports.
    fn list(&self) -> io::Result<Vec<String>>;

    /// Makes an empty file; `AlreadyExists` where the name is taken.
    ///
    /// # Errors
    /// What the system reports.
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Opens a file that exists.
    ///
    /// # Errors
    /// What the system reports, `NotFound` above all.
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>>;

    /// Gives a file another name, replacing what had it.
    ///
    /// # Errors
    /// What the system reports.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// What the system reports.
    fn remove(&self, name: &str) -> io::Result<()>;

    /// Makes every change of names durable.
    ///
    /// # Errors
    /// What the system reports; the outcome is then unknown.
    fn sync_folder(&self) -> io::Result<()>;

    /// The real folder, where there is one; without it a journal has no index and no lock.
    fn folder(&self) -> Option<&Path>;

    /// The folder `name` inside this one, as a disk of its own; with `make` it is made, durably,
    /// where it is missing. A disk without folders keeps a journal whose log is never archived.
    ///
    /// # Errors
    /// `NotFound` where it is missing and not to be made; `Unsupported` on a disk without folders;
    /// what the system reports.
    fn within(&self, name: &str, make: bool) -> io::Result<Box<dyn Disk>> {
        let _ = make;
        let text = format!("no folder {name}: this disk has no folders");
        Err(io::Error::new(io::ErrorKind::Unsupported, text))
    }
}

/// An open file of a [`Disk`].
pub trait DiskFile: Debug + Send + Sync {
    /// Its length in bytes.
    ///
    /// # Errors
    /// What the system reports.
    fn bytes(&self) -> io::Result<u64>;

    /// Reads up to `buffer.len()` bytes at `offset`; fewer only at the end of the file.
    ///
    /// # Errors
    /// What the system reports.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;

    /// Writes all of `bytes` at `offset`. After an error any part may be written.
    ///
    /// # Errors
    /// What the system reports; `StorageFull` where no space is left.
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file to `bytes`.
    ///
    /// # Errors
    /// What the system reports.
    fn truncate(&self, bytes: u64) -> io::Result<()>;

    /// Makes the content and the length durable.
    ///
    /// # Errors
    /// What the system reports; what of the unsynced content is durable is then unknown, and a
    /// repeated sync proves nothing.
    fn sync(&self) -> io::Result<()>;
}

/// Reads a whole file.
pub(crate) fn read_all(file: &dyn DiskFile) -> io::Result<Vec<u8>> {
    let bytes = usize::try_from(file.bytes()?).map_err(io::Error::other)?;
    let mut content = vec![0; bytes];
    let read = file.read_at(0, &mut content)?;
    content.truncate(read);
    Ok(content)
}
