//! The opening table on real folders: what each case answers.

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
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use common::{DoorEvent, Opened, event, events_of};
use holdfast_journal::{
    ErrorKind, FileJournal, Index, Journal, OpenCase, Options, ReadJournal, Seq, StreamId, events,
};

events! {
    /// A program that never heard of painting.
    pub enum OlderEvent: family 0x444f_4f52 {
        /// A door was opened.
        1 => Opened(Opened) in |e| StreamId(e.door),
    }
}

events! {
    /// Another kind of journal.
    pub enum OtherEvent: family 0x1234_5678 {
        /// A door was opened.
        1 => Opened(Opened) in |e| StreamId(e.door),
    }
}

fn small() -> Options {
    Options::default()
        .segment_bytes(1_000)
        .index(Index::None)
        .reserve_bytes(0)
}

fn open(path: &Path) -> (FileJournal<DoorEvent>, holdfast_journal::OpenReport) {
    FileJournal::open(path, small()).unwrap()
}

fn filled(path: &Path, count: u64) {
    let (journal, _) = open(path);
    for n in 0..count {
        journal.append(&[event(n % 2, n)], n).unwrap();
    }
}

fn segments(path: &Path) -> Vec<PathBuf> {
    let mut found: Vec<_> = fs::read_dir(path)
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    found.retain(|p| p.extension().is_some_and(|e| e == "log"));
    found.sort();
    found
}

fn content(path: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(path).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(content(&path));
        } else {
            found.insert(path.clone(), fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn a_missing_folder_becomes_an_empty_journal_and_then_a_clean_one() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("a/b");
    let (journal, report) = open(&path);
    assert_eq!(report.cases, [OpenCase::Empty]);
    drop(journal);
    assert_eq!(open(&path).1.cases, [OpenCase::Clean]);
    let (_, report) =
        FileJournal::<DoorEvent>::open(root.path().join("indexed"), Options::default()).unwrap();
    assert_eq!(
        report.cases,
        [OpenCase::Empty],
        "a new journal lacks no index"
    );
}

#[test]
fn a_second_opener_is_told_who_holds_the_journal() {
    let root = tempfile::tempdir().unwrap();
    let (journal, _) = open(root.path());
    let error = FileJournal::<DoorEvent>::open(root.path(), small()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Locked);
    let holder = format!("process {}", std::process::id());
    assert!(error.to_string().contains(&holder), "{error}");
    drop(journal);
    open(root.path());
}

#[test]
fn a_journal_of_another_family_is_foreign_and_untouched() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path(), 9);
    let before = content(root.path());
    let error = FileJournal::<OtherEvent>::open(root.path(), Options::default()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Foreign, "{error}");
    assert_eq!(content(root.path()), before);
    let error = ReadJournal::<OtherEvent>::open(root.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Foreign);
}

#[test]
fn a_kind_from_a_newer_program_is_refused_by_number() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path(), 9);
    let error = FileJournal::<OlderEvent>::open(root.path(), small()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NewerFormat);
    assert!(error.to_string().contains("kind 4"), "{error}");
}

/// A file's last name.
fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

#[test]
fn a_missing_segment_is_refused_and_its_file_named() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path(), 40);
    let (journal, _) = open(root.path());
    journal.checkpoint(Seq(40), "views", b"state").unwrap();
    drop(journal);
    let all = segments(root.path());
    assert!(all.len() > 4, "{} segments", all.len());
    for gone in [0, 2, all.len() - 1] {
        let bytes = fs::read(&all[gone]).unwrap();
        fs::remove_file(&all[gone]).unwrap();
        let error = FileJournal::<DoorEvent>::open(root.path(), small()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged);
        let expected = format!("segment {} is not there", name(&all[gone]));
        assert!(error.to_string().contains(&expected), "{error}");
        let (_, _, refusal) = ReadJournal::<DoorEvent>::salvage(root.path()).unwrap();
        let refusal = refusal.unwrap().to_string();
        assert!(refusal.contains(&expected), "{refusal}");
        fs::write(&all[gone], bytes).unwrap();
    }
    assert_eq!(events_of(&open(root.path()).0).len(), 40);
}

#[test]
fn a_segment_that_was_cut_between_two_records_is_named() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path(), 40);
    let all = segments(root.path());
    let victim = &all[2];
    let bytes = fs::read(victim).unwrap();
    let first: u64 = name(victim).strip_suffix(".log").unwrap().parse().unwrap();
    // The header of the segment, then one frame: 96 bytes and its payload, padded to 16.
    let payload = u32::from_le_bytes(bytes[108..112].try_into().unwrap()) as usize;
    let end = 96 + (96 + payload).next_multiple_of(16);
    fs::write(victim, &bytes[..end]).unwrap();
    let error = FileJournal::<DoorEvent>::open(root.path(), small()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    let expected = format!(
        "segment {:020}.log is not there, or {} was cut",
        first + 1,
        name(victim)
    );
    assert!(error.to_string().contains(&expected), "{error}");
}

#[test]
fn a_segment_under_the_name_of_another_is_damage() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path(), 40);
    let all = segments(root.path());
    fs::rename(&all[3], &all[2]).unwrap();
    let error = FileJournal::<DoorEvent>::open(root.path(), small()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    let number = |path: &Path| name(path).trim_start_matches('0').replace(".log", "");
    let expected = format!(
        "its name says sequence {}, its header {}",
        number(&all[2]),
        number(&all[3])
    );
    assert!(error.to_string().contains(&expected), "{error}");
    assert!(error.to_string().contains(name(&all[2])), "{error}");
}

#[test]
fn a_segment_before_the_last_must_be_whole() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path(), 40);
    let all = segments(root.path());
    let victim = &all[all.len() - 2];
    let bytes = fs::read(victim).unwrap();
    for cut in [bytes.len() - 1, bytes.len() - 16, 96, 50, 0] {
        fs::write(victim, &bytes[..cut]).unwrap();
        let error = FileJournal::<DoorEvent>::open(root.path(), small()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "cut to {cut}: {error}");
    }
}

#[test]
fn a_segment_that_was_being_made_is_removed() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path(), 7);
    for torn in [vec![], vec![0; 96], vec![0; 4_096], b"HFJRNL".to_vec()] {
        let (journal, _) = open(root.path());
        let next = root
            .path()
            .join(format!("{:020}.log", journal.position().0.next().get()));
        drop(journal);
        fs::write(&next, &torn).unwrap();
        let (journal, report) = open(root.path());
        assert!(
            matches!(report.cases[0], OpenCase::TornSegment { .. }),
            "{report}"
        );
        assert!(!next.exists());
        assert_eq!(events_of(&journal).len(), 7);
    }
}

#[test]
fn a_log_that_ends_before_a_checkpoint_lost_its_tail() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path(), 20);
    let (journal, _) = open(root.path());
    journal.checkpoint(Seq(20), "views", b"state").unwrap();
    drop(journal);
    fs::remove_file(segments(root.path()).pop().unwrap()).unwrap();
    let error = FileJournal::<DoorEvent>::open(root.path(), small()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.to_string().contains("lost tail"), "{error}");
    let (journal, _, refusal) = ReadJournal::<DoorEvent>::salvage(root.path()).unwrap();
    assert_eq!(refusal.unwrap().kind(), ErrorKind::Damaged);
    assert!(journal.position().0 > Seq::ZERO);
}

#[test]
fn a_damaged_checkpoint_is_passed_over_for_the_one_before() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path(), 20);
    let (journal, _) = open(root.path());
    journal.checkpoint(Seq(10), "views", b"ten").unwrap();
    journal.checkpoint(Seq(20), "views", b"twenty").unwrap();
    for (seq, left) in [(20, Some(Seq(10))), (10, None)] {
        let path = root.path().join(format!("views.{seq:020}.checkpoint"));
        let mut bytes = fs::read(&path).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 4;
        fs::write(&path, bytes).unwrap();
        let found = journal.latest_checkpoint("views").unwrap();
        assert_eq!(found.map(|c| c.seq), left);
    }
}

#[test]
fn a_checkpoint_of_another_history_is_not_used() {
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    filled(one.path(), 20);
    let (journal, _) = open(one.path());
    journal.checkpoint(Seq(5), "views", b"five").unwrap();
    let (other, _) = open(two.path());
    for n in 0..20 {
        other.append(&[event(7, n)], n).unwrap();
    }
    let name = format!("views.{:020}.checkpoint", 5);
    fs::copy(one.path().join(&name), two.path().join(&name)).unwrap();
    assert_eq!(other.latest_checkpoint("views").unwrap(), None);
}

#[test]
fn a_reader_works_beside_a_writer_and_changes_nothing() {
    let root = tempfile::tempdir().unwrap();
    let (journal, _) = FileJournal::<DoorEvent>::open(root.path(), Options::default()).unwrap();
    for n in 0..30 {
        journal.append(&[event(n % 2, n)], n).unwrap();
    }
    journal.checkpoint(Seq(30), "views", b"state").unwrap();
    let (reader, report) = ReadJournal::<DoorEvent>::open(root.path()).unwrap();
    assert!(report.is_clean(), "{report}");
    assert_eq!(reader.position(), journal.position());
    let door = StreamId(1);
    let found = reader.by_stream(door, Seq(4), 5).unwrap();
    assert_eq!(found, journal.by_stream(door, Seq(4), 5).unwrap());
    assert_eq!(
        reader.latest_checkpoint("views").unwrap().unwrap().state,
        b"state"
    );
    drop(journal);
    let before = content(root.path());
    let (reader, _) = ReadJournal::<DoorEvent>::open(root.path()).unwrap();
    reader.verify_index().unwrap();
    let mut seen = 0;
    reader
        .read(Seq(11), &mut |_| {
            seen += 1;
            Ok(())
        })
        .unwrap();
    assert_eq!(seen, 20);
    assert_eq!(content(root.path()), before);
}

#[test]
fn a_reader_beside_a_busy_writer_never_takes_the_moving_end_for_damage() {
    let root = tempfile::tempdir().unwrap();
    let options = small().segment_bytes(20_000);
    let (journal, _) = FileJournal::<DoorEvent>::open(root.path(), options).unwrap();
    journal.append(&[event(0, 0)], 0).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for door in 0..3 {
            let (journal, done) = (&journal, &done);
            scope.spawn(move || {
                for n in 0.. {
                    if done.load(Ordering::Relaxed) {
                        break;
                    }
                    let batch: Vec<_> = (0..8).map(|i| event(door, n * 8 + i)).collect();
                    let last = journal.append(&batch, n).unwrap().last;
                    if n % 16 == 0 {
                        journal.checkpoint(last, "views", b"state").unwrap();
                    }
                }
            });
        }
        let outcome: Result<Vec<_>, _> = (0..60)
            .map(|_| {
                let before = journal.position().0;
                let (reader, _) = ReadJournal::<DoorEvent>::open(root.path())?;
                assert!(reader.position().0 >= before);
                reader.read(Seq::FIRST, &mut |_| Ok(()))
            })
            .collect();
        done.store(true, Ordering::Relaxed);
        outcome.unwrap();
    });
}

#[test]
fn a_reader_of_a_torn_log_reads_the_prefix_and_leaves_the_rest() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path(), 8);
    let last = segments(root.path()).pop().unwrap();
    let mut bytes = fs::read(&last).unwrap();
    bytes.extend_from_slice(&[7; 40]);
    fs::write(&last, &bytes).unwrap();
    let (reader, report) = ReadJournal::<DoorEvent>::open(root.path()).unwrap();
    assert!(
        matches!(report.cases[0], OpenCase::TornTail { .. }),
        "{report}"
    );
    assert_eq!((reader.position().0, report.cut_bytes), (Seq(8), 40));
    assert_eq!(fs::read(&last).unwrap(), bytes);
}

#[test]
fn a_reader_salvages_what_lies_before_damage() {
    let root = tempfile::tempdir().unwrap();
    filled(root.path(), 40);
    let victim = &segments(root.path())[3];
    let mut bytes = fs::read(victim).unwrap();
    bytes[150] ^= 1;
    fs::write(victim, bytes).unwrap();
    let error = ReadJournal::<DoorEvent>::open(root.path()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    let (reader, _, refusal) = ReadJournal::<DoorEvent>::salvage(root.path()).unwrap();
    assert_eq!(refusal, Some(error.clone()));
    assert_eq!(reader.position().0.next(), error.place().unwrap().seq);
}

#[test]
fn no_journal_is_told_from_an_empty_one() {
    let root = tempfile::tempdir().unwrap();
    for path in [root.path().to_path_buf(), root.path().join("none")] {
        let error = ReadJournal::<DoorEvent>::open(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 0);
}
