//! What damage, cuts and lost pages do to a log: a prefix, or a refusal; never a wrong event.

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

use std::sync::{Arc, Mutex};

use common::{Dice, DoorEvent, event, events_of};
use holdfast_journal::{
    Answer, Error, ErrorKind, FileJournal, Journal, OpenCase, OpenReport, Options, Seq,
    disk::{MemoryDisk, Unsynced},
};

const LOG: &str = "00000000000000000001.log";
const SEGMENT_HEADER: usize = 96;

fn open(disk: &MemoryDisk) -> Result<(FileJournal<DoorEvent>, OpenReport), Error> {
    FileJournal::open_on(Arc::new(disk.clone()), Options::default().reserve_bytes(0))
}

/// A disk with a log of these transactions, each synced by itself, and where each ends.
fn written(transactions: &[u64]) -> (MemoryDisk, Vec<DoorEvent>, Vec<usize>) {
    let disk = MemoryDisk::new(512);
    let (journal, _) = open(&disk).unwrap();
    let (mut events, mut ends, mut n) = (Vec::new(), Vec::new(), 0);
    for count in transactions {
        let batch: Vec<_> = (n..n + count).map(|n| event(n % 2, n)).collect();
        journal.append(&batch, n).unwrap();
        events.extend(batch);
        ends.push(disk.get(LOG).unwrap().len());
        n += count;
    }
    (disk, events, ends)
}

/// How many events the transactions that end at or before `bytes` hold.
fn whole(transactions: &[u64], ends: &[usize], bytes: usize) -> usize {
    let counts = transactions
        .iter()
        .zip(ends)
        .filter(|(_, end)| **end <= bytes);
    usize::try_from(counts.map(|(count, _)| count).sum::<u64>()).unwrap()
}

#[test]
fn a_log_cut_at_any_byte_is_a_prefix_of_whole_transactions() {
    let transactions = [1, 3, 1, 4, 2];
    let (disk, events, ends) = written(&transactions);
    let bytes = disk.get(LOG).unwrap();
    for cut in 0..bytes.len() {
        let copy = MemoryDisk::new(512);
        copy.put(LOG, &bytes[..cut]);
        let (journal, report) = open(&copy).unwrap();
        let kept = whole(&transactions, &ends, cut);
        assert_eq!(events_of(&journal), events[..kept], "cut at {cut}");
        let clean = cut == SEGMENT_HEADER || ends.contains(&cut);
        assert_eq!(report.is_clean(), clean, "cut at {cut}: {report}");
        journal.append(&[event(9, 9)], 1).unwrap();
        drop(journal);
        let (journal, report) = open(&copy).unwrap();
        assert!(report.is_clean(), "{report}");
        assert_eq!(journal.position().0, Seq(kept as u64 + 1));
    }
}

#[test]
fn any_byte_flipped_is_refused_or_was_in_the_last_batch() {
    let transactions = [1, 2, 1, 3];
    let (disk, events, ends) = written(&transactions);
    let bytes = disk.get(LOG).unwrap();
    let last = ends[ends.len() - 2];
    for at in 0..bytes.len() {
        for bit in [0, 7] {
            let mut changed = bytes.clone();
            changed[at] ^= 1 << bit;
            let copy = MemoryDisk::new(512);
            copy.put(LOG, &changed);
            match open(&copy) {
                Ok((journal, report)) => {
                    assert!(at >= last, "byte {at} was acknowledged: {report}");
                    assert_eq!(events_of(&journal), events[..4], "byte {at}");
                    assert_eq!(report.cases[0].answer(), Answer::Cut, "byte {at}: {report}");
                    assert_eq!(report.cut_bytes as usize, bytes.len() - last);
                }
                Err(error) => {
                    assert_eq!(error.kind(), ErrorKind::Damaged, "byte {at}: {error}");
                    assert!(at < last, "byte {at} was never proved synced: {error}");
                    let place = error.place().unwrap();
                    assert_eq!(place.segment, LOG);
                    assert!(place.offset as usize <= at, "byte {at}: {error}");
                    assert_eq!(
                        copy.get(LOG).unwrap(),
                        changed,
                        "a refused log is unchanged"
                    );
                }
            }
        }
    }
}

#[test]
fn a_refusal_names_segment_offset_and_what_to_do() {
    let (disk, _, ends) = written(&[1, 1, 1]);
    let mut bytes = disk.get(LOG).unwrap();
    bytes[ends[0] + 100] ^= 1;
    disk.put(LOG, &bytes);
    let text = open(&disk).unwrap_err().to_string();
    let place = format!("segment {LOG} offset {} sequence 2: damage", ends[0]);
    assert!(text.starts_with(&place), "{text}");
    assert!(text.contains("put the folder back from a copy"), "{text}");
}

#[test]
fn a_power_cut_keeps_the_acknowledged_and_whole_transactions_in_any_order_of_pages() {
    for seed in 0..300 {
        let mut dice = Dice(seed);
        let disk = MemoryDisk::new(512);
        let options = Options::default()
            .segment_bytes(3_000 + dice.below(9_000))
            .reserve_bytes(0);
        let open =
            |disk: &MemoryDisk| FileJournal::<DoorEvent>::open_on(Arc::new(disk.clone()), options);
        let (journal, _) = open(&disk).unwrap();
        let good = dice.below(12);
        let mut events = Vec::new();
        for n in 0..good {
            let batch: Vec<_> = (0..=dice.below(4)).map(|i| event(n, i)).collect();
            journal.append(&batch, n).unwrap();
            events.extend(batch);
        }
        disk.fail_sync(1 + dice.below(2));
        let lost: Vec<_> = (0..1 + dice.below(20)).map(|i| event(99, i)).collect();
        let outcome = journal.append(&lost, 0);
        let mut allowed = vec![events.clone()];
        match outcome {
            Ok(_) => allowed = vec![[events.clone(), lost].concat()],
            Err(e) if e.kind() == ErrorKind::Poisoned => {
                allowed.push([events.clone(), lost].concat());
                let later = journal.append(&[event(1, 1)], 0).unwrap_err();
                assert_eq!(later.kind(), ErrorKind::Poisoned);
            }
            // A segment that could not be begun was taken back.
            Err(e) => assert_eq!(e.kind(), ErrorKind::Io, "seed {seed}: {e}"),
        }
        let odds = 1 + dice.below(9);
        let after = disk.power_cut(&mut |_| dice.below(10) < odds);
        let (journal, report) = open(&after).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        let found = events_of(&journal);
        assert!(
            allowed.contains(&found),
            "seed {seed}: {} events, {report}",
            found.len()
        );
        // What was answered after opening survives the next power cut whatever is lost.
        let bare = after.power_cut(&mut |_| false);
        let (journal, _) = open(&bare).unwrap_or_else(|e| panic!("seed {seed}: {e}"));
        assert_eq!(events_of(&journal), found, "seed {seed}");
    }
}

#[test]
fn a_batch_of_many_callers_is_lost_in_whole_transactions() {
    for seed in 0..40 {
        let disk = MemoryDisk::new(512);
        let (journal, _) = open(&disk).unwrap();
        let acknowledged = Mutex::new(Vec::new());
        disk.fail_sync(10 + seed % 7);
        std::thread::scope(|scope| {
            for door in 0..6 {
                let (journal, acknowledged) = (&journal, &acknowledged);
                scope.spawn(move || {
                    for n in 0.. {
                        let batch = [event(door, 2 * n), event(door, 2 * n + 1)];
                        if journal.append(&batch, 0).is_err() {
                            return;
                        }
                        acknowledged.lock().unwrap().push((door, n));
                    }
                });
            }
        });
        let mut dice = Dice(seed);
        let after = disk.power_cut(&mut |_| dice.below(2) == 0);
        let (journal, _) = open(&after).unwrap();
        let found = events_of(&journal);
        let pairs: Vec<_> = found.chunks(2).collect();
        for (door, n) in acknowledged.lock().unwrap().iter() {
            let pair = [event(*door, 2 * n), event(*door, 2 * n + 1)];
            assert!(
                pairs.contains(&pair.as_slice()),
                "seed {seed}: lost {door} {n}"
            );
        }
        for pair in pairs {
            let door = match &pair[0] {
                DoorEvent::Opened(e) => (e.door, e.n),
                DoorEvent::Painted(e) => (e.door, e.n),
            };
            assert_eq!(pair, [event(door.0, door.1), event(door.0, door.1 + 1)]);
        }
    }
}

#[test]
fn what_a_failed_sync_left_in_the_cache_is_made_durable_before_it_is_answered() {
    let disk = MemoryDisk::new(512);
    let (journal, _) = open(&disk).unwrap();
    journal.append(&[event(1, 1)], 0).unwrap();
    disk.fail_sync(1);
    journal.append(&[event(1, 2)], 0).unwrap_err();
    drop(journal);
    // The process goes on, so the system still shows the page that never reached the disk.
    let (journal, _) = open(&disk).unwrap();
    assert_eq!(journal.position().0, Seq(2));
    let (journal, _) = open(&disk.power_cut(&mut |_| false)).unwrap();
    assert_eq!(journal.position().0, Seq(2));
}

#[test]
fn a_hole_that_nobody_was_told_of_is_cut_and_said() {
    let disk = MemoryDisk::new(512);
    let (journal, _) = open(&disk).unwrap();
    journal.append(&[event(1, 1)], 0).unwrap();
    disk.fail_sync(1);
    let many: Vec<_> = (0..30).map(|n| event(2, n)).collect();
    journal.append(&many, 0).unwrap_err();
    let after = disk.power_cut(&mut |lost| !matches!(lost, Unsynced::Page(_, 1)));
    let (journal, report) = open(&after).unwrap();
    assert!(
        matches!(report.cases[0], OpenCase::Hole { behind: 1.., .. }),
        "{report}"
    );
    assert_eq!(events_of(&journal), [event(1, 1)]);
    assert!(
        report.to_string().contains("bytes cut at segment"),
        "{report}"
    );
}

#[test]
fn a_full_disk_refuses_and_keeps_room_for_what_is_urgent() {
    let disk = MemoryDisk::new(512);
    let options = Options::default().reserve_bytes(8 << 10);
    let open = |disk: &MemoryDisk| {
        FileJournal::<DoorEvent>::open_on(Arc::new(disk.clone()), options)
            .unwrap()
            .0
    };
    let journal = open(&disk);
    journal.append(&[event(1, 1)], 0).unwrap();
    disk.set_capacity(Some(disk.used_bytes() + 100));
    for _ in 0..3 {
        let error = journal.append(&[event(1, 2)], 0).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    }
    journal.append_urgent(&[event(1, 3)], 0).unwrap();
    let error = journal.append(&[event(1, 4)], 0).unwrap_err();
    assert_eq!(
        error.kind(),
        ErrorKind::Full,
        "the room given up is for urgent events only"
    );
    journal.append_urgent(&[event(1, 5)], 0).unwrap();
    let kept = [event(1, 1), event(1, 3), event(1, 5)];
    assert_eq!(events_of(&journal), kept);
    let after = disk.power_cut(&mut |_| false);
    assert_eq!(events_of(&open(&after)), kept);
    disk.set_capacity(None);
    journal.append(&[event(1, 6)], 0).unwrap();
    assert_eq!(
        disk.get("reserve").unwrap().len(),
        8 << 10,
        "held back again"
    );
}

#[test]
fn events_refused_for_lack_of_space_do_not_come_back() {
    let disk = MemoryDisk::new(512);
    let (journal, _) = open(&disk).unwrap();
    journal.append(&[event(1, 1)], 0).unwrap();
    disk.set_capacity(Some(disk.used_bytes() + 1_000));
    let many: Vec<_> = (0..40).map(|n| event(2, n)).collect();
    assert_eq!(
        journal.append(&many, 0).unwrap_err().kind(),
        ErrorKind::Full
    );
    disk.set_capacity(None);
    let choices: [fn(Unsynced<'_>) -> bool; 3] = [
        |_| true,
        |_| false,
        |lost| !matches!(lost, Unsynced::Cut(_)),
    ];
    for mut keep in choices {
        let (journal, report) = open(&disk.power_cut(&mut keep)).unwrap();
        assert!(report.is_clean(), "{report}");
        assert_eq!(events_of(&journal), [event(1, 1)]);
    }
}
