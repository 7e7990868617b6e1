//! The index behind the log: whatever happens to it, nothing is lost and every answer is right.

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
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use common::{Dice, DoorEvent, event, events_of, records};
use holdfast_journal::{
    ErrorKind, FileJournal, Index, IndexCheck, IndexStatus, Journal, Kind, OpenCase, Options,
    ReadJournal, Record, Seq, StreamId,
};

const PATIENCE: Duration = Duration::from_secs(20);

fn with_index(path: &Path) -> FileJournal<DoorEvent> {
    FileJournal::open(path, Options::default().reserve_bytes(0))
        .unwrap()
        .0
}

fn without_index(path: &Path) -> FileJournal<DoorEvent> {
    FileJournal::open(path, Options::default().index(Index::None).reserve_bytes(0))
        .unwrap()
        .0
}

fn fill(journal: &FileJournal<DoorEvent>, from: u64, to: u64) {
    for n in from..to {
        journal.append(&[event(n % 5, n), event(7, n)], n).unwrap();
    }
}

fn files(path: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for file in files(from) {
        let target = to.join(file.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::copy(file, target).unwrap();
    }
}

fn every_query_is_right(journal: &FileJournal<DoorEvent>, log: &[Record<DoorEvent>], what: &str) {
    for door in [0, 3, 7, 8] {
        for (from, limit) in [(1, usize::MAX), (40, 6)] {
            let expected: Vec<_> = log
                .iter()
                .filter(|r| r.stream == StreamId(door) && r.seq >= Seq(from))
                .take(limit)
                .cloned()
                .collect();
            let found = journal.by_stream(StreamId(door), Seq(from), limit).unwrap();
            assert_eq!(found, expected, "door {door} {what}");
        }
    }
    for kind in [1, 4, 5].map(Kind) {
        let expected: Vec<_> = log.iter().filter(|r| r.kind == kind).cloned().collect();
        let found = journal.by_kind(kind, Seq::FIRST, usize::MAX).unwrap();
        assert_eq!(found, expected, "kind {kind} {what}");
    }
}

#[test]
fn the_index_follows_and_agrees_with_the_log() {
    let root = tempfile::tempdir().unwrap();
    let journal = with_index(root.path());
    fill(&journal, 0, 200);
    assert!(
        journal.wait_for_index(PATIENCE),
        "{:?}",
        journal.index_status()
    );
    assert_eq!(
        journal.index_status(),
        IndexStatus::Following {
            through: Seq(400),
            rebuilt: None
        }
    );
    every_query_is_right(&journal, &records(&journal).unwrap(), "followed");
    drop(journal);
    let (reader, _) = ReadJournal::<DoorEvent>::open(root.path()).unwrap();
    let agrees = IndexCheck::Agrees {
        through: Seq(400),
        behind: 0,
    };
    assert_eq!(reader.verify_index().unwrap(), agrees);
}

#[test]
fn deleting_the_index_loses_nothing() {
    let root = tempfile::tempdir().unwrap();
    let journal = with_index(root.path());
    fill(&journal, 0, 100);
    let log = records(&journal).unwrap();
    drop(journal);
    fs::remove_dir_all(root.path().join("index")).unwrap();
    let (journal, report) =
        FileJournal::<DoorEvent>::open(root.path(), Options::default()).unwrap();
    assert_eq!(report.cases, [OpenCase::Clean, OpenCase::IndexMissing]);
    every_query_is_right(&journal, &log, "while it is built");
    assert!(
        journal.wait_for_index(PATIENCE),
        "{:?}",
        journal.index_status()
    );
    every_query_is_right(&journal, &log, "built");
}

#[test]
fn an_index_that_is_behind_catches_up() {
    let root = tempfile::tempdir().unwrap();
    let journal = with_index(root.path());
    fill(&journal, 0, 30);
    assert!(journal.wait_for_index(PATIENCE));
    drop(journal);
    fill(&without_index(root.path()), 30, 60);
    let (reader, _) = ReadJournal::<DoorEvent>::open(root.path()).unwrap();
    let check = reader.verify_index().unwrap();
    assert!(
        matches!(check, IndexCheck::Agrees { behind: 60.., .. }),
        "{check}"
    );
    let (journal, report) =
        FileJournal::<DoorEvent>::open(root.path(), Options::default()).unwrap();
    assert!(
        matches!(report.cases[1], OpenCase::IndexBehind { records: 60.. }),
        "{report}"
    );
    let log = records(&journal).unwrap();
    every_query_is_right(&journal, &log, "behind");
    assert!(
        journal.wait_for_index(PATIENCE),
        "{:?}",
        journal.index_status()
    );
    every_query_is_right(&journal, &log, "caught up");
}

#[test]
fn an_index_ahead_means_that_the_log_lost_acknowledged_events() {
    let (root, earlier) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fill(&without_index(root.path()), 0, 10);
    copy(root.path(), earlier.path());
    let journal = with_index(root.path());
    fill(&journal, 10, 20);
    assert!(journal.wait_for_index(PATIENCE));
    drop(journal);
    copy(&root.path().join("index"), &earlier.path().join("index"));
    let error = FileJournal::<DoorEvent>::open(earlier.path(), Options::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(
        error
            .to_string()
            .contains("has seen sequence 40, the log ends at 20"),
        "{error}"
    );
    let (reader, _) = ReadJournal::<DoorEvent>::open(earlier.path()).unwrap();
    let ahead = IndexCheck::Ahead {
        through: Seq(40),
        end: Seq(20),
    };
    assert_eq!(reader.verify_index().unwrap(), ahead);
    fs::remove_dir_all(earlier.path().join("index")).unwrap();
    assert_eq!(events_of(&with_index(earlier.path())).len(), 20);
}

#[test]
fn an_index_that_understates_itself_still_stops_a_log_that_lost_events() {
    let (root, earlier) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = with_index(root.path());
    fill(&journal, 0, 10);
    assert!(journal.wait_for_index(PATIENCE));
    drop(journal);
    copy(root.path(), earlier.path());
    let seen = fs::read(earlier.path().join("index/seen")).unwrap();
    let journal = with_index(root.path());
    fill(&journal, 10, 20);
    assert!(journal.wait_for_index(PATIENCE));
    drop(journal);
    fs::remove_dir_all(earlier.path().join("index")).unwrap();
    copy(&root.path().join("index"), &earlier.path().join("index"));
    fs::write(earlier.path().join("index/seen"), seen).unwrap();
    let journal = with_index(earlier.path());
    assert!(
        !journal.wait_for_index(PATIENCE),
        "{:?}",
        journal.index_status()
    );
    let mut error = journal.append(&[event(1, 1)], 0).map(|_| ());
    for _ in 0..100 {
        std::thread::sleep(Duration::from_millis(5));
        error = error.and_then(|()| journal.append(&[event(1, 1)], 0).map(|_| ()));
    }
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Damaged);
    drop(journal);
    let error = FileJournal::<DoorEvent>::open(earlier.path(), Options::default()).unwrap_err();
    assert!(
        error.to_string().contains("has seen sequence 40"),
        "{error}"
    );
}

#[test]
fn the_index_bears_witness_for_the_last_batch() {
    let root = tempfile::tempdir().unwrap();
    let journal = with_index(root.path());
    fill(&journal, 0, 10);
    assert!(journal.wait_for_index(PATIENCE));
    drop(journal);
    let log = root.path().join("00000000000000000001.log");
    let mut bytes = fs::read(&log).unwrap();
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    fs::write(&log, bytes).unwrap();
    let error = FileJournal::<DoorEvent>::open(root.path(), Options::default()).unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::Damaged,
        "no later frame says so, the index does"
    );
}

#[test]
fn a_log_that_is_gone_is_missed_by_its_index() {
    let root = tempfile::tempdir().unwrap();
    let journal = with_index(root.path());
    fill(&journal, 0, 10);
    assert!(journal.wait_for_index(PATIENCE));
    drop(journal);
    fs::remove_file(root.path().join("00000000000000000001.log")).unwrap();
    let error = FileJournal::<DoorEvent>::open(root.path(), Options::default()).unwrap_err();
    assert!(
        error
            .to_string()
            .contains("has seen sequence 20, the log ends at 0"),
        "{error}"
    );
}

#[test]
fn an_index_without_its_note_is_asked_itself() {
    let root = tempfile::tempdir().unwrap();
    let journal = with_index(root.path());
    fill(&journal, 0, 10);
    assert!(journal.wait_for_index(PATIENCE));
    drop(journal);
    fs::remove_file(root.path().join("index/seen")).unwrap();
    let (journal, report) =
        FileJournal::<DoorEvent>::open(root.path(), Options::default()).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(
        journal.index_status(),
        IndexStatus::Following {
            through: Seq(20),
            rebuilt: None
        }
    );
}

#[test]
fn an_index_of_another_history_is_built_anew() {
    let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let journal = with_index(other.path());
    fill(&journal, 50, 60);
    assert!(journal.wait_for_index(PATIENCE));
    drop(journal);
    fill(&without_index(root.path()), 0, 20);
    copy(&other.path().join("index"), &root.path().join("index"));
    let (journal, report) =
        FileJournal::<DoorEvent>::open(root.path(), Options::default()).unwrap();
    assert!(
        matches!(report.cases[1], OpenCase::IndexDamaged { .. }),
        "{report}"
    );
    assert!(
        journal.wait_for_index(PATIENCE),
        "{:?}",
        journal.index_status()
    );
    every_query_is_right(&journal, &records(&journal).unwrap(), "of its own history");
}

#[test]
fn a_half_written_snapshot_does_not_lock_the_index_out() {
    let root = tempfile::tempdir().unwrap();
    let journal = with_index(root.path());
    fill(&journal, 0, 40);
    assert!(journal.wait_for_index(PATIENCE));
    drop(journal);
    let half = root.path().join("index/snap.00000000FFFFFFFF.generating");
    fs::write(&half, b"half of it").unwrap();
    let (journal, report) =
        FileJournal::<DoorEvent>::open(root.path(), Options::default()).unwrap();
    assert_eq!(report.cases, [OpenCase::Clean], "{report}");
    assert!(journal.wait_for_index(PATIENCE));
    let through = Seq(80);
    assert_eq!(
        journal.index_status(),
        IndexStatus::Following {
            through,
            rebuilt: None
        }
    );
    assert!(!half.exists());
    every_query_is_right(
        &journal,
        &records(&journal).unwrap(),
        "beside half a snapshot",
    );
}

/// One way to damage a file; `None` where there is nothing in it to damage.
fn damaged(bytes: &[u8], round: u64, dice: &mut Dice) -> Option<Vec<u8>> {
    let mut changed = bytes.to_vec();
    // What sled preallocates and never wrote tells nothing.
    let used = bytes
        .iter()
        .rposition(|b| *b != 0)
        .map_or(0, |last| last + 1);
    match round {
        0 => changed.clear(),
        1 => changed.truncate(used / 2),
        _ if used == 0 => return None,
        _ => {
            let at = usize::try_from(dice.below(used as u64)).unwrap();
            changed[at] ^= 1 << dice.below(8);
        }
    }
    Some(changed)
}

/// Flips single bits, cuts and empties files all over the index. sled panics on many of these;
/// whatever it does, the journal opens, answers right, and has a good index again.
#[test]
fn damage_anywhere_in_the_index_loses_nothing() {
    std::panic::set_hook(Box::new(|info| {
        // sled's panics are the point; those of the test are not.
        let place = info.location().map(ToString::to_string).unwrap_or_default();
        if !place.contains("sled-") {
            eprintln!("{info}");
        }
    }));
    let root = tempfile::tempdir().unwrap();
    let original = root.path().join("original");
    let journal = with_index(&original);
    fill(&journal, 0, 60);
    assert!(journal.wait_for_index(PATIENCE));
    let log = records(&journal).unwrap();
    drop(journal);
    let index = original.join("index");
    // More of them, with another seed, for a longer search.
    let number = |name: &str, usual| {
        std::env::var(name)
            .ok()
            .and_then(|text| text.parse().ok())
            .unwrap_or(usual)
    };
    let rounds = number("HOLDFAST_TEST_ROUNDS", 16);
    let mut dice = Dice(number("HOLDFAST_TEST_SEED", 11));
    let (mut mended, mut unharmed) = (0, 0);
    for (number, file) in files(&index).iter().enumerate() {
        let bytes = fs::read(file).unwrap();
        for round in 0..rounds {
            let Some(changed) = damaged(&bytes, round, &mut dice) else {
                break;
            };
            let what = format!("file {number} round {round}");
            let path = root.path().join("copy");
            copy(&original, &path);
            let target = path.join("index").join(file.strip_prefix(&index).unwrap());
            fs::write(target, changed).unwrap();
            let (journal, report) = FileJournal::<DoorEvent>::open(&path, Options::default())
                .unwrap_or_else(|e| panic!("{what}: {e}"));
            every_query_is_right(&journal, &log, &what);
            journal.append(&[event(8, 1)], 1).unwrap();
            assert!(
                journal.wait_for_index(PATIENCE),
                "{what}: {:?}",
                journal.index_status()
            );
            every_query_is_right(&journal, &records(&journal).unwrap(), &what);
            let status = journal.index_status();
            let rebuilt = matches!(
                status,
                IndexStatus::Following {
                    rebuilt: Some(_),
                    ..
                }
            );
            if report.is_clean() && !rebuilt {
                unharmed += 1;
            } else {
                mended += 1;
            }
            drop(journal);
            fs::remove_dir_all(&path).unwrap();
        }
    }
    assert!(
        mended > 0,
        "no damage was found, {unharmed} copies were unharmed"
    );
}
