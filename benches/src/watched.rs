//! A journal's folder whose log files are watched: where they were written and when they were
//! synced.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use holdfast_journal::disk::{Disk, DiskFile, FolderDisk};
use parking_lot::Mutex;

/// What the log's file went through.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// So many bytes at this offset.
    Write { at: u64, len: usize },
    /// A sync.
    Sync,
}

/// What was seen.
#[derive(Debug, Default)]
pub(crate) struct Watch {
    on: AtomicBool,
    steps: Mutex<Vec<Step>>,
    syncs: AtomicU64,
}

impl Watch {
    /// Remembers each step from here on.
    pub(crate) fn begin(&self) {
        self.on.store(true, Ordering::Release);
    }

    /// Gives what was remembered, and remembers no more.
    pub(crate) fn end(&self) -> Vec<Step> {
        self.on.store(false, Ordering::Release);
        std::mem::take(&mut self.steps.lock())
    }

    /// All syncs so far.
    pub(crate) fn syncs(&self) -> u64 {
        self.syncs.load(Ordering::Relaxed)
    }

    fn note(&self, step: Step) {
        if matches!(step, Step::Sync) {
            self.syncs.fetch_add(1, Ordering::Relaxed);
        }
        if self.on.load(Ordering::Acquire) {
            self.steps.lock().push(step);
        }
    }
}

/// A folder whose log files are watched.
#[derive(Debug)]
pub(crate) struct WatchedDisk {
    inner: FolderDisk,
    watch: Arc<Watch>,
}

impl WatchedDisk {
    /// A folder of the real file system.
    pub(crate) fn create(folder: &Path, watch: &Arc<Watch>) -> Self {
        let inner = FolderDisk::create(folder).unwrap();
        Self {
            inner,
            watch: Arc::clone(watch),
        }
    }

    fn watched(&self, name: &str, file: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        if name.ends_with(".log") {
            Box::new(WatchedFile {
                inner: file,
                watch: Arc::clone(&self.watch),
            })
        } else {
            file
        }
    }
}

impl Disk for WatchedDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.watched(name, self.inner.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.watched(name, self.inner.open(name)?))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.inner.rename(from, to)
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        self.inner.remove(name)
    }

    fn sync_folder(&self) -> io::Result<()> {
        self.inner.sync_folder()
    }

    fn folder(&self) -> Option<&Path> {
        self.inner.folder()
    }

    fn within(&self, name: &str, make: bool) -> io::Result<Box<dyn Disk>> {
        // Archives are no part of what is measured.
        self.inner.within(name, make)
    }
}

#[derive(Debug)]
struct WatchedFile {
    inner: Box<dyn DiskFile>,
    watch: Arc<Watch>,
}

impl DiskFile for WatchedFile {
    fn bytes(&self) -> io::Result<u64> {
        self.inner.bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.watch.note(Step::Write {
            at: offset,
            len: bytes.len(),
        });
        self.inner.write_at(offset, bytes)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.inner.truncate(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        self.watch.note(Step::Sync);
        self.inner.sync()
    }
}
