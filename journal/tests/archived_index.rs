//! The index beside a log whose beginning was archived: what of it has left the log is no fault of the index.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are outside the deterministic core"
)]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test")]

mod common;

use std::{fs, path::Path, time::Duration};

use common::{DoorEvent, event};
use holdfast_journal::{
    ArchiveRequest, FileJournal, Index, IndexStatus, Journal, OpenCase, Options, Seq, StreamId,
};

type Doors = FileJournal<DoorEvent>;

const WAIT: Duration = Duration::from_secs(60);

fn options(index: Index) -> Options {
    let small = Options::default().segment_bytes(1_000);
    small.index(index).reserve_bytes(0)
}

fn append(journal: &Doors, from: u64, to: u64) {
    for n in from..to {
        journal.append(&[event(n % 3, n)], 1_000 + n).unwrap();
    }
}

/// Checkpoint at the end, a new segment, and everything before `before` away.
fn archive(journal: &Doors, before: u64) {
    let end = journal.position().0;
    journal.checkpoint(end, "views", b"state").unwrap();
    journal.roll().unwrap();
    let request = ArchiveRequest {
        before: Seq(before),
        projection: "views",
        description: b"{}",
        at_ms: 9_000,
    };
    journal.archive(&request).unwrap().unwrap();
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let (from, to) = (entry.path(), to.join(entry.file_name()));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

fn check_index(journal: &Doors) {
    let kept = common::records(journal).unwrap();
    for door in 0..3 {
        let found = journal
            .by_stream(StreamId(door), Seq::FIRST, 1_000)
            .unwrap();
        let wanted = kept.iter().filter(|r| r.stream == StreamId(door));
        assert!(found.iter().eq(wanted), "door {door}");
    }
}

#[test]
fn an_opening_builds_an_index_anew_whose_end_has_left_the_log_and_calls_it_behind() {
    let folder = tempfile::tempdir().unwrap();
    let indexed = || Doors::open(folder.path(), options(Index::Sled)).unwrap();
    let (journal, _) = indexed();
    append(&journal, 0, 2);
    assert!(journal.wait_for_index(WAIT));
    drop(journal);
    let (journal, _) = Doors::open(folder.path(), options(Index::None)).unwrap();
    append(&journal, 2, 60);
    archive(&journal, 50);
    let records = 60 - journal.first().get() + 1;
    drop(journal);
    let (journal, report) = indexed();
    assert!(
        report.cases.contains(&OpenCase::IndexBehind { records }),
        "{report:?}"
    );
    assert!(journal.wait_for_index(WAIT));
    check_index(&journal);
}

#[test]
fn an_index_that_lost_its_end_goes_on_from_the_log_where_that_end_has_left_it() {
    let folder = tempfile::tempdir().unwrap();
    let kept = tempfile::tempdir().unwrap();
    let indexed = || Doors::open(folder.path(), options(Index::Sled)).unwrap().0;
    let index = folder.path().join("index");
    let journal = indexed();
    append(&journal, 0, 2);
    assert!(journal.wait_for_index(WAIT));
    drop(journal);
    copy(&index, kept.path());
    let journal = indexed();
    append(&journal, 2, 22);
    archive(&journal, 23);
    assert_eq!(journal.first(), Seq(23));
    assert!(journal.wait_for_index(WAIT));
    drop(journal);
    // As a power cut leaves it: the word on how far it came is newer than the index itself.
    fs::copy(index.join("seen"), kept.path().join("seen")).unwrap();
    fs::remove_dir_all(&index).unwrap();
    fs::create_dir(&index).unwrap();
    copy(kept.path(), &index);
    let journal = indexed();
    append(&journal, 22, 30);
    assert!(journal.wait_for_index(WAIT));
    let expected = IndexStatus::Following {
        through: Seq(30),
        rebuilt: None,
    };
    assert_eq!(journal.index_status(), expected);
    check_index(&journal);
}

fn bytes(folder: &Path) -> u64 {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => bytes(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.map(size).sum()
}

#[test]
fn an_index_that_has_outgrown_its_log_is_built_anew_and_a_floor_keeps_it() {
    for (floor, rebuilt) in [(0, true), (1 << 30, false)] {
        let folder = tempfile::tempdir().unwrap();
        let options = options(Index::Sled)
            .segment_bytes(100_000)
            .index_floor_bytes(floor);
        let (journal, _) = Doors::open(folder.path(), options).unwrap();
        for first in (0..20_000).step_by(500) {
            let batch: Vec<_> = (first..first + 500).map(|n| event(n % 3, n)).collect();
            journal.append(&batch, first).unwrap();
        }
        assert!(journal.wait_for_index(WAIT));
        let index = folder.path().join("index");
        let before = bytes(&index);
        archive(&journal, 19_900);
        let log: u64 = fs::read_dir(folder.path())
            .unwrap()
            .map(|entry| entry.unwrap())
            .filter(|entry| entry.file_name().to_string_lossy().ends_with(".log"))
            .map(|entry| entry.metadata().unwrap().len())
            .sum();
        assert!(before > 4 * log, "{before} bytes beside {log}");
        let deadline =
            std::time::Instant::now() + Duration::from_secs(if rebuilt { 60 } else { 1 });
        while bytes(&index) > before / 2 && std::time::Instant::now() < deadline {
            append(&journal, 20_000, 20_001);
            std::thread::sleep(Duration::from_millis(20));
        }
        let after = bytes(&index);
        assert_eq!(after <= before / 2, rebuilt, "{before} bytes, then {after}");
        assert!(journal.wait_for_index(WAIT));
        // It was never unusable.
        let status = journal.index_status();
        let through = journal.position().0;
        let expected = IndexStatus::Following {
            through,
            rebuilt: None,
        };
        assert_eq!(status, expected);
        check_index(&journal);
    }
}

#[test]
fn an_index_is_done_where_all_that_it_lacked_has_left_the_log() {
    // Whether the index lacks anything at the act is a race, so it is run more than once.
    for _ in 0..20 {
        let folder = tempfile::tempdir().unwrap();
        let (journal, _) = Doors::open(folder.path(), options(Index::Sled)).unwrap();
        let batch: Vec<_> = (0..400).map(|n| event(n % 3, n)).collect();
        journal.append(&batch, 1_000).unwrap();
        archive(&journal, 401);
        assert_eq!(journal.first(), Seq(401));
        assert!(journal.wait_for_index(WAIT), "{:?}", journal.index_status());
        append(&journal, 400, 410);
        assert!(journal.wait_for_index(WAIT));
        check_index(&journal);
    }
}
