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
