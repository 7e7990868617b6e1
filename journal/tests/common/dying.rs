//! A disk that dies at one of its operations.

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use holdfast_journal::disk::{Disk, DiskFile};

/// Fails the operation number `left` that changes something, and all after it.
#[derive(Debug)]
pub struct Dying {
    pub inner: Box<dyn Disk>,
    pub left: Arc<AtomicU64>,
}

#[derive(Debug)]
struct DyingFile {
    inner: Box<dyn DiskFile>,
    left: Arc<AtomicU64>,
}

/// Whether this operation is the last gasp (`Some(true)`), before it, or after.
fn spend(left: &AtomicU64) -> Option<bool> {
    let before = left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| n.checked_sub(1));
    before.ok().map(|n| n == 1)
}

fn dead() -> io::Error {
    io::Error::other("the disk is dead")
}

/// Does what comes before the end, and not what is the end.
fn alive<T>(left: &AtomicU64, act: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    match spend(left) {
        Some(false) => act(),
        Some(true) | None => Err(dead()),
    }
}

impl Dying {
    fn file(&self, inner: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(DyingFile {
            inner,
            left: Arc::clone(&self.left),
        })
    }
}

impl Disk for Dying {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        alive(&self.left, || self.inner.create(name)).map(|file| self.file(file))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.inner.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        alive(&self.left, || self.inner.rename(from, to))
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        alive(&self.left, || self.inner.remove(name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        alive(&self.left, || self.inner.sync_folder())
    }

    fn folder(&self) -> Option<&Path> {
        None
    }

    fn within(&self, name: &str, make: bool) -> io::Result<Box<dyn Disk>> {
        Ok(Box::new(Self {
            inner: self.inner.within(name, make)?,
            left: Arc::clone(&self.left),
        }))
    }
}

impl DiskFile for DyingFile {
    fn bytes(&self) -> io::Result<u64> {
        self.inner.bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        match spend(&self.left) {
            Some(false) => self.inner.write_at(offset, bytes),
            Some(true) => {
                self.inner.write_at(offset, &bytes[..bytes.len() / 2])?;
                Err(dead())
            }
            None => Err(dead()),
        }
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        alive(&self.left, || self.inner.truncate(bytes))
    }

    fn sync(&self) -> io::Result<()> {
        alive(&self.left, || self.inner.sync())
    }
}
