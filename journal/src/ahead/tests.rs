//! Readers ahead: the order stays, what waits is bounded, and whatever ends early ends all.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

use std::{
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use super::*;
use crate::{
    ArchiveRequest, FileJournal, Index, Options,
    disk::{Disk, DiskFile, MemoryDisk},
    ids::{Kind, StreamId},
};

#[derive(
    Clone, Debug, PartialEq, serde::Serialize, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub(crate) struct Told {
    n: u64,
    words: String,
}

crate::events! {
    /// What is told.
    pub(crate) enum Tale: family 0x5441_4c45 {
        /// Words.
        1 => Told(Told) in |e| StreamId(e.n % 7),
    }
}

/// As [`Tale`], but reading the record 1500 panics.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
struct Fragile(Tale);

impl Event for Fragile {
    const FAMILY: u32 = Tale::FAMILY;

    fn kind(&self) -> Kind {
        self.0.kind()
    }

    fn kind_name(&self) -> &'static str {
        self.0.kind_name()
    }

    fn stream(&self) -> StreamId {
        self.0.stream()
    }

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), Error> {
        self.0.encode(out)
    }

    fn decode(kind: Kind, payload: &[u8]) -> Result<Self, Error> {
        let tale = Tale::decode(kind, payload)?;
        let Tale::Told(told) = &tale;
        assert!(told.n != 1_499, "the reader's own");
        Ok(Self(tale))
    }

    fn kinds() -> &'static [(u16, &'static str)] {
        Tale::kinds()
    }
}

/// A journal of `count` records of `bytes` each and more, in small segments.
fn journal(count: u64, bytes: usize) -> (FileJournal<Tale>, MemoryDisk) {
    let disk = MemoryDisk::new(4_096);
    let options = Options::default()
        .segment_bytes(100_000)
        .index(Index::None)
        .reserve_bytes(0);
    let (journal, _) =
        FileJournal::open_on(Arc::new(disk.clone()) as Arc<dyn Disk>, options).unwrap();
    for first in (0..count).step_by(50) {
        let events: Vec<Tale> = (first..count.min(first + 50))
            .map(|n| {
                let words = "x".repeat(bytes + usize::try_from(n % 11).unwrap());
                Told { n, words }.into()
            })
            .collect();
        journal.append(&events, first).unwrap();
    }
    (journal, disk)
}

fn archive(journal: &FileJournal<Tale>, before: u64) {
    let end = journal.position().0;
    journal.checkpoint(end, "views", b"state").unwrap();
    journal.roll().unwrap();
    let request = ArchiveRequest {
        before: Seq(before),
        projection: "views",
        description: b"{}",
        at_ms: 1,
    };
    journal.archive(&request).unwrap().unwrap();
}

fn read(journal: &FileJournal<Tale>, from: u64, ahead: bool) -> Result<Vec<Record<Tale>>, Error> {
    let mut found = Vec::new();
    let mut visit = |record| {
        found.push(record);
        Ok(())
    };
    match ahead {
        true => journal.history_ahead(Seq(from), &mut visit)?,
        false => journal.history(Seq(from), &mut visit)?,
    }
    Ok(found)
}

#[test]
fn what_readers_ahead_bring_is_what_one_reader_brings_with_archives_and_from_anywhere() {
    let (journal, disk) = journal(3_000, 300);
    for before in [0, 800, 1_700] {
        if before > 0 {
            archive(&journal, before);
        }
        for from in [0, 1, 2, 700, 801, 1_650, 2_999, 3_000, 3_001] {
            let expected = read(&journal, from, false).unwrap();
            assert_eq!(read(&journal, from, true).unwrap(), expected, "from {from}");
        }
    }
    let archives = disk.within("archive", false).unwrap();
    let first = archives.list().unwrap().remove(0);
    archives.remove(&first).unwrap();
    let (one, many) = (read(&journal, 1, false), read(&journal, 1, true));
    assert_eq!(many.unwrap_err(), one.unwrap_err());
    assert_eq!(
        read(&journal, 1_000, true).unwrap(),
        read(&journal, 1_000, false).unwrap()
    );
}

#[test]
fn damage_is_heard_of_behind_the_records_before_it() {
    let (journal, disk) = journal(2_000, 300);
    let names = disk.list().unwrap();
    let middle = names.iter().filter(|n| n.ends_with(".log")).nth(3).unwrap();
    let mut bytes = disk.get(middle).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    disk.put(middle, &bytes);
    let ends = |ahead: bool| {
        let mut last = Seq::ZERO;
        let mut visit = |record: Record<Tale>| {
            last = record.seq;
            Ok(())
        };
        let read = match ahead {
            true => journal.history_ahead(Seq::FIRST, &mut visit),
            false => journal.history(Seq::FIRST, &mut visit),
        };
        (read.unwrap_err(), last)
    };
    assert_eq!(ends(true), ends(false));
}

#[test]
fn a_visitor_that_stops_or_panics_stops_the_readers() {
    let (journal, _) = journal(2_000, 300);
    for stop in [1, 500, 1_999] {
        let mut visit = |record: Record<Tale>| match record.seq == Seq(stop) {
            true => Err(Error::rejected("enough")),
            false => Ok(()),
        };
        let stopped = journal.history_ahead(Seq::FIRST, &mut visit).unwrap_err();
        assert_eq!(stopped.to_string(), "enough");
    }
    let panicked = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let mut visit = |_: Record<Tale>| -> Result<(), Error> { panic!("the visitor's own") };
        journal.history_ahead(Seq::FIRST, &mut visit)
    }));
    assert!(panicked.is_err());
}

#[test]
fn a_reader_that_panics_is_an_error_and_no_panic_of_the_caller() {
    let (journal, _) = journal(2_000, 300);
    let mut next = Seq::FIRST;
    let mut visit = |record: Record<Fragile>| {
        assert_eq!(record.seq, next, "in order up to the panic");
        next = next.next();
        Ok(())
    };
    let error = history(journal.reader(), Seq::FIRST, &mut visit).unwrap_err();
    assert!(error.to_string().contains("panic"), "{error}");
    assert!(next <= Seq(1_500), "{next}");
}

#[test]
fn a_selection_goes_on_in_the_archive_where_records_left_the_log_before_it_read_them() {
    let (journal, _) = journal(1_000, 300);
    // An index has answered for the first 100, then these and more leave the log.
    archive(&journal, 500);
    assert!(journal.reader().first() > Seq(101));
    let mut found: Vec<Record<Tale>> = Vec::new();
    let wanted = |_: &crate::frame::Head| true;
    let reader = journal.reader();
    reader.select(Seq(101), 1_000, &mut found, wanted).unwrap();
    let seqs: Vec<u64> = found.iter().map(|record| record.seq.get()).collect();
    assert_eq!(seqs, (101..=1_000).collect::<Vec<_>>());
}

#[test]
fn an_answer_has_no_hole_where_an_index_never_saw_what_left_the_log() {
    let folder = tempfile::tempdir().unwrap();
    let opened = |index: Index| {
        let options = Options::default().segment_bytes(4_000).reserve_bytes(0);
        FileJournal::<Tale>::open(folder.path(), options.index(index))
            .unwrap()
            .0
    };
    let told = |n: u64| -> Tale {
        let words = "x".repeat(100);
        Told { n: 7 * n, words }.into()
    };
    let journal = opened(Index::None);
    for n in 0..200 {
        journal.append(&[told(n)], n).unwrap();
    }
    archive(&journal, 150);
    drop(journal);
    let journal = opened(Index::Sled);
    assert!(journal.wait_for_index(std::time::Duration::from_secs(60)));
    assert!(journal.reader().first() > Seq(100));
    // As if the archive had been made after the first record asked for was chosen.
    let query = crate::index::Query::Stream(StreamId(0));
    let found = journal.answer(query, Seq(50), 1_000).unwrap();
    let seqs: Vec<u64> = found.iter().map(|record| record.seq.get()).collect();
    assert_eq!(seqs, (50..=200).collect::<Vec<_>>());
}

#[test]
fn what_waits_is_bounded_by_bytes_whatever_the_size_of_records() {
    for (count, bytes) in [(3_000, 200), (60, 400_000)] {
        let (journal, _) = journal(count, bytes);
        let parts = journal_parts(&journal);
        assert!(parts.len() > 3, "{parts:?}");
        let bound = 1 << 20;
        let lane = Lane::<Tale>::new(parts, bound);
        let reader = journal.reader();
        let none = &reader.archives().unwrap();
        std::thread::scope(|scope| {
            let lane = Closing(&lane);
            for _ in 0..3 {
                let lane = lane.0;
                scope.spawn(move || lane.read((reader, none)));
            }
            let mut seen = 0;
            loop {
                // Slower than the readers: they come as far as they may.
                std::thread::sleep(std::time::Duration::from_millis(2));
                let waiting = lane.0.state.lock().waiting_bytes;
                let most = bound + BATCH_BYTES + bytes + 200;
                assert!(waiting <= most, "{waiting} bytes wait, expected {most}");
                let Some(batch) = lane.0.next().unwrap() else {
                    break;
                };
                for record in batch {
                    seen += 1;
                    assert_eq!(record.seq, Seq(seen));
                }
            }
            assert_eq!(seen, count);
        });
    }
}

/// A disk that counts how often an archive is opened.
#[derive(Debug)]
struct Counting {
    inner: Box<dyn Disk>,
    archives: Arc<AtomicU64>,
}

impl Disk for Counting {
    fn list(&self) -> io::Result<Vec<String>> {
        self.inner.list()
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        self.inner.create(name)
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        if name.ends_with(".archive") {
            self.archives.fetch_add(1, Ordering::Relaxed);
        }
        self.inner.open(name)
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
        Ok(Box::new(Self {
            inner: self.inner.within(name, make)?,
            archives: Arc::clone(&self.archives),
        }))
    }
}

#[test]
fn readers_ahead_open_each_archive_once() {
    let (journal, disk) = journal(3_000, 300);
    for before in (400..2_800).step_by(300) {
        archive(&journal, before);
    }
    drop(journal);
    let opened = Arc::new(AtomicU64::new(0));
    let counting = Counting {
        inner: Box::new(disk),
        archives: Arc::clone(&opened),
    };
    let options = Options::default().index(Index::None).reserve_bytes(0);
    let (journal, _) = FileJournal::open_on(Arc::new(counting), options).unwrap();
    let archives = journal.archives().unwrap().found.len();
    assert!(archives > 5, "{archives}");
    opened.store(0, Ordering::Relaxed);
    assert_eq!(read(&journal, 1, true).unwrap().len(), 3_000);
    assert_eq!(opened.load(Ordering::Relaxed), archives as u64);
}

fn journal_parts(journal: &FileJournal<Tale>) -> Vec<(Seq, Seq)> {
    let end = journal.position().0;
    let archives = journal.reader().archives().unwrap();
    journal.reader().parts(&archives, Seq::FIRST, end)
}
