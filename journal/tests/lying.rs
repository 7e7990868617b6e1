//! Checkpoints on a disk that says it wrote what it did not.

#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use common::{DoorEvent, event};
use holdfast_journal::{
    ErrorKind, FileJournal, Index, Journal, Options, Seq,
    disk::{Disk, DiskFile, MemoryDisk},
};

#[test]
fn a_checkpoint_that_does_not_read_back_does_not_count_and_pushes_none_out() {
    let options = Options::default().index(Index::None).reserve_bytes(0);
    let disk = MemoryDisk::new(256);
    let lying = Arc::new(Lying {
        inner: disk.clone(),
        lies: Arc::default(),
    });
    let (journal, _) =
        FileJournal::<DoorEvent>::open_on(Arc::clone(&lying) as Arc<dyn Disk>, options).unwrap();
    for n in 0..20 {
        journal.append(&[event(1, n)], n).unwrap();
    }
    for seq in [5, 10] {
        journal.checkpoint(Seq(seq), "views", b"a state").unwrap();
    }
    lying.lies.store(true, Ordering::Relaxed);
    for seq in [15, 20] {
        let error = journal
            .checkpoint(Seq(seq), "views", b"a state")
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
        assert!(error.to_string().contains("read back"), "{error}");
    }
    lying.lies.store(false, Ordering::Relaxed);
    let mut kept = disk.list().unwrap();
    kept.retain(|name| name.contains("checkpoint"));
    assert_eq!(kept.len(), 2, "{kept:?}");
    let newest = journal.latest_checkpoint("views").unwrap().unwrap();
    assert_eq!(newest.seq, Seq(10));
}

/// A disk that says it wrote what it did not.
#[derive(Debug)]
struct Lying {
    inner: MemoryDisk,
    lies: Arc<AtomicBool>,
}

#[derive(Debug)]
struct LyingFile {
    inner: Box<dyn DiskFile>,
    lies: Arc<AtomicBool>,
}

impl Lying {
    fn file(&self, inner: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        let lies = Arc::clone(&self.lies);
        Box::new(LyingFile { inner, lies })
    }
}

impl Disk for Lying {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }
    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.inner.create(name).map(|file| self.file(file))
    }
    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.inner.open(name).map(|file| self.file(file))
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
        None
    }
}

impl DiskFile for LyingFile {
    fn bytes(&self) -> io::Result<u64> {
        self.inner.bytes()
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buffer)
    }
    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut bytes = bytes.to_vec();
        if self.lies.load(Ordering::Relaxed)
            && let Some(last) = bytes.last_mut()
        {
            *last ^= 1;
        }
        self.inner.write_at(offset, &bytes)
    }
    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.inner.truncate(bytes)
    }
    fn sync(&self) -> io::Result<()> {
        self.inner.sync()
    }
}
