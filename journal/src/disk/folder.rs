//! The real file system under a journal.
//!
//! Positioned reads and writes only, so that one file may be read while it is written. A sync is
//! `fdatasync`, which also makes a new length durable.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::FileExt,
    path::{Path, PathBuf},
};

use super::{Disk, DiskFile};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Access {
    Write,
    Read,
}

/// A folder of the file system.
#[derive(Debug)]
pub struct FolderDisk {
    path: PathBuf,
    access: Access,
}

impl FolderDisk {
    /// A folder to write in; it is made where it is missing. Before it holds a first segment, it and
    /// all folders above it are made durable: whoever made them may have been interrupted.
    ///
    /// # Errors
    /// What the system reports.
    pub fn create(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        std::fs::create_dir_all(&path)?;
        if is_new(&path)? {
            sync_above(&path)?;
        }
        Ok(Self {
            path,
            access: Access::Write,
        })
    }

    /// A folder that exists and of which nothing is changed.
    ///
    /// # Errors
    /// What the system reports.
    pub fn read_only(path: impl Into<PathBuf>) -> io::Result<Self> {
        let path = path.into();
        std::fs::read_dir(&path)?;
        Ok(Self {
            path,
            access: Access::Read,
        })
    }

    fn writable(&self, name: &str) -> io::Result<PathBuf> {
        match self.access {
            Access::Write => Ok(self.path.join(name)),
            Access::Read => Err(io::Error::from(io::ErrorKind::ReadOnlyFilesystem)),
        }
    }
}

/// A file by its path, to be read alone.
pub(crate) fn open_to_read(path: &Path) -> io::Result<Box<dyn DiskFile>> {
    let file = File::open(path)?;
    Ok(Box::new(FolderFile { file }))
}

/// Whether no log was begun in a folder.
fn is_new(path: &Path) -> io::Result<bool> {
    for entry in std::fs::read_dir(path)? {
        if Path::new(&entry?.file_name()).extension() == Some("log".as_ref()) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Makes the names of a folder and of those above it durable, as far up as that is ours to do.
fn sync_above(path: &Path) -> io::Result<()> {
    for above in path.canonicalize()?.ancestors().skip(1) {
        match File::open(above).and_then(|folder| folder.sync_all()) {
            // A folder that we may not even read was not made by us.
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Ok(()),
            // Some file systems cannot sync a folder; then there is nothing to be done.
            Err(e) if e.kind() == io::ErrorKind::InvalidInput => return Ok(()),
            done => done?,
        }
    }
    Ok(())
}

impl Disk for FolderDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path)? {
            let entry = entry?;
            if let (true, Ok(name)) = (
                entry.file_type()?.is_file(),
                entry.file_name().into_string(),
            ) {
                names.push(name);
            }
        }
        names.sort();
        Ok(names)
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let path = self.writable(name)?;
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .open(path)?;
        Ok(Box::new(FolderFile { file }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let write = self.access == Access::Write;
        let file = OpenOptions::new()
            .read(true)
            .write(write)
            .open(self.path.join(name))?;
        Ok(Box::new(FolderFile { file }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        std::fs::rename(self.writable(from)?, self.writable(to)?)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        std::fs::remove_file(self.writable(name)?)
    }

    fn sync_folder(&self) -> io::Result<()> {
        File::open(self.writable(".")?)?.sync_all()
    }

    fn folder(&self) -> Option<&Path> {
        Some(&self.path)
    }

    fn within(&self, name: &str, make: bool) -> io::Result<Box<dyn Disk>> {
        let path = self.path.join(name);
        let inner = match self.access {
            Access::Write if make => Self::create(path)?,
            access => {
                std::fs::read_dir(&path)?;
                Self { path, access }
            }
        };
        Ok(Box::new(inner))
    }
}

#[derive(Debug)]
struct FolderFile {
    file: File,
}

impl DiskFile for FolderFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            match self.file.read_at(&mut buffer[done..], offset + done as u64) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.file.set_len(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}
