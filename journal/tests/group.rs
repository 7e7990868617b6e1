//! Group commit: callers share syncs and nobody waits for the index.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are outside the deterministic core"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test"
)]

mod common;

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use common::{DoorEvent, event};
use holdfast_journal::{
    ErrorKind, FileJournal, Index, Journal, Options, Seq, StreamId,
    disk::{Disk, DiskFile, MemoryDisk},
};

/// A disk whose syncs take a moment and are counted.
#[derive(Debug)]
struct Slow {
    inner: MemoryDisk,
    syncs: Arc<AtomicU64>,
}

#[derive(Debug)]
struct SlowFile {
    inner: Box<dyn DiskFile>,
    syncs: Arc<AtomicU64>,
}

impl Slow {
    fn file(&self, inner: Box<dyn DiskFile>) -> Box<dyn DiskFile> {
        Box::new(SlowFile {
            inner,
            syncs: Arc::clone(&self.syncs),
        })
    }
}

impl Disk for Slow {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.inner.create(name)?))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        Ok(self.file(self.inner.open(name)?))
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

impl DiskFile for SlowFile {
    fn bytes(&self) -> io::Result<u64> {
        self.inner.bytes()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.inner.read_at(offset, buffer)
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.inner.write_at(offset, bytes)
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        self.inner.truncate(bytes)
    }

    fn sync(&self) -> io::Result<()> {
        std::thread::sleep(Duration::from_millis(1));
        self.syncs.fetch_add(1, Ordering::Relaxed);
        self.inner.sync()
    }
}

#[test]
fn sixty_four_callers_share_their_syncs() {
    const CALLERS: u64 = 64;
    const EACH: u64 = 20;
    let syncs = Arc::new(AtomicU64::new(0));
    let disk = Slow {
        inner: MemoryDisk::new(4_096),
        syncs: Arc::clone(&syncs),
    };
    let options = Options::default().segment_bytes(32 << 10);
    let (journal, _) = FileJournal::<DoorEvent>::open_on(Arc::new(disk), options).unwrap();
    let before = syncs.load(Ordering::Relaxed);
    std::thread::scope(|scope| {
        for door in 0..CALLERS {
            let journal = &journal;
            scope.spawn(move || {
                for n in 0..EACH {
                    let done = journal.append(&[event(door, n)], n).unwrap();
                    assert!(
                        journal.position().0 >= done.last,
                        "answered before it was durable"
                    );
                }
            });
        }
    });
    let appends = CALLERS * EACH;
    assert_eq!(journal.position().0, Seq(appends));
    let used = syncs.load(Ordering::Relaxed) - before;
    assert!(used * 4 < appends, "{used} syncs for {appends} appends");
    for door in 0..CALLERS {
        let found = journal
            .by_stream(StreamId(door), Seq::FIRST, usize::MAX)
            .unwrap();
        let found: Vec<_> = found.into_iter().map(|r| r.event).collect();
        let expected: Vec<_> = (0..EACH).map(|n| event(door, n)).collect();
        assert_eq!(found, expected);
    }
}

#[test]
fn all_callers_of_a_failed_sync_hear_of_it_and_later_ones_too() {
    let disk = MemoryDisk::new(512);
    let (journal, _) =
        FileJournal::<DoorEvent>::open_on(Arc::new(disk.clone()), Options::default()).unwrap();
    disk.fail_sync(5);
    let good: u64 = std::thread::scope(|scope| {
        let callers: Vec<_> = (0..16)
            .map(|door| {
                let journal = &journal;
                scope.spawn(move || {
                    let mut good = 0;
                    loop {
                        match journal.append(&[event(door, good)], 0) {
                            Ok(_) => good += 1,
                            Err(error) => {
                                assert_eq!(error.kind(), ErrorKind::Poisoned, "{error}");
                                return good;
                            }
                        }
                    }
                })
            })
            .collect();
        callers
            .into_iter()
            .map(|caller| caller.join().unwrap())
            .sum()
    });
    assert_eq!(
        journal.position().0,
        Seq(good),
        "what was acknowledged, and no more, is read"
    );
    let error = journal.append_urgent(&[event(1, 1)], 0).unwrap_err();
    assert!(
        error.to_string().contains("outcome unknown, reopen"),
        "{error}"
    );
}

#[test]
fn two_writers_of_a_checkpoint_at_one_record_both_succeed() {
    let disk = MemoryDisk::new(256);
    let options = Options::default().index(Index::None).reserve_bytes(0);
    let (journal, _) = FileJournal::<DoorEvent>::open_on(Arc::new(disk), options).unwrap();
    for n in 1..=200 {
        journal.append(&[event(1, n)], n).unwrap();
        let state = vec![7; 4_096];
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| journal.checkpoint(Seq(n), "views", &state).unwrap());
            }
        });
        let kept = journal.latest_checkpoint("views").unwrap().unwrap();
        assert_eq!((kept.seq, kept.state), (Seq(n), state));
    }
}
