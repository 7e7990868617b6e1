//! Reading on behind a live writer: everything once, in order, over segments, ends and openings.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are outside the deterministic core"
)]
#![allow(clippy::unwrap_used, reason = "a test may fail by a panic")]

mod common;

use std::fs;

use common::{DoorEvent, event};
use holdfast_journal::{
    Advanced, ErrorKind, FileJournal, Frame, FrameHash, Index, Journal, Options, ReadJournal, Seq,
};

const OPTIONS: Options = Options {
    segment_bytes: 2_000,
    reserve_bytes: 0,
    index: Index::None,
    index_floor_bytes: 0,
};

fn writer(folder: &std::path::Path) -> FileJournal<DoorEvent> {
    FileJournal::open(folder, OPTIONS).unwrap().0
}

fn numbers(reader: &ReadJournal<DoorEvent>, from: Seq) -> Vec<(u64, DoorEvent)> {
    let mut found = Vec::new();
    reader
        .read(from, &mut |record| {
            found.push((record.seq.get(), record.event));
            Ok(())
        })
        .unwrap();
    found
}

#[test]
fn what_a_writer_adds_is_read_once_over_segments_ends_and_openings() {
    let root = tempfile::tempdir().unwrap();
    let mut journal = Some(writer(root.path()));
    journal.as_ref().unwrap().append(&[event(1, 1)], 1).unwrap();
    let (reader, _) = ReadJournal::<DoorEvent>::open(root.path()).unwrap();
    let mut seen = reader.position().0;
    for n in 2..200 {
        if n % 40 == 0 {
            journal = None;
        }
        let writing = journal.get_or_insert_with(|| writer(root.path()));
        // Transactions of one to three events.
        let events: Vec<_> = (0..n % 3 + 1).map(|i| event(i, n)).collect();
        let done = writing.append(&events, n).unwrap();
        if n % 7 == 0 {
            continue;
        }
        let advanced = reader.advance().unwrap();
        assert_eq!(
            advanced,
            Advanced {
                last: done.last,
                unfinished: false
            }
        );
        assert_eq!(reader.position(), (done.last, done.hash));
        let new = numbers(&reader, seen.next());
        assert_eq!(new.first().unwrap().0, seen.next().get());
        assert_eq!(
            new.last().unwrap(),
            &(done.last.get(), events[events.len() - 1].clone())
        );
        seen = done.last;
    }
    let segments = fs::read_dir(root.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().path().extension() == Some("log".as_ref()))
        .count();
    assert!(segments > 10, "{segments} segments");
    let (again, _) = ReadJournal::<DoorEvent>::open(root.path()).unwrap();
    assert_eq!(numbers(&again, Seq::FIRST), numbers(&reader, Seq::FIRST));
}

#[test]
fn half_a_transaction_is_waited_for() {
    let root = tempfile::tempdir().unwrap();
    let copy = tempfile::tempdir().unwrap();
    let journal = writer(root.path());
    journal.append(&[event(1, 1)], 1).unwrap();
    let name = format!("{:020}.log", 1);
    let before = fs::read(root.path().join(&name)).unwrap();
    journal.append(&[event(1, 2), event(2, 3)], 2).unwrap();
    let after = fs::read(root.path().join(&name)).unwrap();
    fs::write(copy.path().join(&name), &before).unwrap();
    let (reader, _) = ReadJournal::<DoorEvent>::open(copy.path()).unwrap();
    for cut in (before.len() + 1..after.len()).step_by(7) {
        fs::write(copy.path().join(&name), &after[..cut]).unwrap();
        let advanced = reader.advance().unwrap();
        assert_eq!(
            (advanced.last, advanced.unfinished),
            (Seq(1), true),
            "cut at {cut}"
        );
    }
    fs::write(copy.path().join(&name), &after).unwrap();
    assert_eq!(reader.advance().unwrap().last, Seq(3));
}

#[test]
fn a_journal_that_was_cut_or_replaced_is_not_read_on() {
    let root = tempfile::tempdir().unwrap();
    let other = tempfile::tempdir().unwrap();
    let journal = writer(root.path());
    journal.append(&[event(1, 1)], 1).unwrap();
    journal.append(&[event(1, 2)], 1).unwrap();
    let (reader, _) = ReadJournal::<DoorEvent>::open(root.path()).unwrap();
    let replacing = writer(other.path());
    for n in 0..4 {
        replacing.append(&[event(1, n + 10)], 1).unwrap();
    }
    let name = format!("{:020}.log", 1);
    let whole = fs::read(root.path().join(&name)).unwrap();
    fs::write(root.path().join(&name), &whole[..whole.len() - 16]).unwrap();
    assert_eq!(reader.advance().unwrap_err().kind(), ErrorKind::Damaged);
    fs::copy(other.path().join(&name), root.path().join(&name)).unwrap();
    assert_eq!(reader.advance().unwrap_err().kind(), ErrorKind::Damaged);
    fs::remove_file(root.path().join(&name)).unwrap();
    assert_eq!(reader.advance().unwrap_err().kind(), ErrorKind::NotFound);
}

#[test]
fn frames_show_transactions_and_prove_their_chain() {
    let root = tempfile::tempdir().unwrap();
    let journal = writer(root.path());
    journal.append(&[event(1, 1), event(1, 2)], 1).unwrap();
    journal.append(&[event(2, 3)], 2).unwrap();
    let (reader, _) = ReadJournal::<DoorEvent>::open(root.path()).unwrap();
    let mut places = Vec::new();
    let mut prev = FrameHash::genesis(0x444f_4f52);
    reader
        .frames(Seq::FIRST, &mut |frame| {
            places.push((frame.seq.get(), frame.first, frame.last));
            assert_eq!(frame.chained(&prev), frame.hash);
            let changed = Frame {
                at_ms: frame.at_ms + 1,
                ..*frame
            };
            assert_ne!(changed.chained(&prev), frame.hash);
            prev = frame.hash;
            Ok(())
        })
        .unwrap();
    assert_eq!(
        places,
        [(1, true, false), (2, false, true), (3, true, true)]
    );
}
