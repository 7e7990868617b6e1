//! Archiving: what moved is read as before, whatever moment the act is cut short at; what is missing
//! or changed is refused or named.

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
    path::Path,
    sync::{Arc, atomic::AtomicU64, atomic::Ordering},
};

use common::{Dice, DoorEvent, dying::Dying, event, events_of, history};
use holdfast_journal::{
    ArchiveFile, ArchiveInfo, ArchiveRequest, Error, ErrorKind, Event as _, FileJournal, Index,
    IndexCheck, Journal, OpenCase, Options, ReadJournal, Seq, StreamId,
    disk::{Disk, MemoryDisk},
};

type Doors = FileJournal<DoorEvent>;

fn small() -> Options {
    Options::default()
        .segment_bytes(1_000)
        .index(Index::None)
        .reserve_bytes(0)
}

fn open(path: &Path) -> (Doors, holdfast_journal::OpenReport) {
    let foretold = ReadJournal::<DoorEvent>::salvage(path).map(|(journal, ..)| journal.mending());
    let (journal, report) = FileJournal::open(path, small()).unwrap();
    if let Ok(foretold) = foretold {
        let found = report.cases.iter().filter(|case| {
            matches!(
                case,
                OpenCase::ArchiveUnfinished { .. }
                    | OpenCase::ArchiveUndone { .. }
                    | OpenCase::ArchiveAway { .. }
            )
        });
        let found: Vec<OpenCase> = found.cloned().collect();
        assert_eq!(
            foretold.unwrap(),
            found,
            "a reader foretells what an opening does"
        );
    }
    (journal, report)
}

fn append(journal: &Doors, from: u64, to: u64) {
    for n in from..to {
        journal.append(&[event(n % 3, n)], 1_000 + n).unwrap();
    }
}

fn request<'a>(before: Seq) -> ArchiveRequest<'a> {
    ArchiveRequest {
        before,
        projection: "views",
        description: b"doors of last year",
        at_ms: 9_000,
    }
}

/// Checkpoint at the end, a new segment, and everything before `before` away.
fn archive(journal: &Doors, before: u64) -> Result<Option<ArchiveInfo>, Error> {
    journal.checkpoint(journal.position().0, "views", b"state")?;
    journal.roll()?;
    journal.archive(&request(Seq(before)))
}

fn expected(count: u64) -> Vec<DoorEvent> {
    (0..count).map(|n| event(n % 3, n)).collect()
}

/// 60 records, of which the first 40 or so lie in two archives.
fn filled(path: &Path) -> Doors {
    let (journal, _) = open(path);
    append(&journal, 0, 30);
    archive(&journal, 20).unwrap().unwrap();
    append(&journal, 30, 60);
    archive(&journal, 45).unwrap().unwrap();
    journal
}

fn names(path: &Path) -> Vec<String> {
    let entries = fs::read_dir(path).unwrap();
    let mut names: Vec<_> = entries
        .map(|e| e.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for name in names(from) {
        let (from, to) = (from.join(&name), to.join(&name));
        if from.is_dir() {
            copy(&from, &to);
        } else {
            fs::copy(from, to).unwrap();
        }
    }
}

#[test]
fn archived_records_are_read_before_those_of_the_log_and_alone() {
    let root = tempfile::tempdir().unwrap();
    let journal = filled(root.path());
    let first = journal.first();
    assert!(first > Seq(30) && first <= Seq(45), "{first}");
    assert_eq!(history(&journal).unwrap(), expected(60));
    let kept = usize::try_from(first.get() - 1).unwrap();
    assert_eq!(events_of(&journal), expected(60)[kept..]);
    let position = journal.position();
    drop(journal);

    let (journal, report) = open(root.path());
    assert_eq!(report.cases, [OpenCase::Clean]);
    assert_eq!((report.first, report.records), (first, 61 - first.get()));
    assert_eq!(journal.position(), position);
    assert_eq!(history(&journal).unwrap(), expected(60));
    let known = journal.archives().unwrap();
    assert_eq!((known.found.len(), &known.missing), (2, &None));
    let log: u64 = known.found.iter().map(|a| a.log_bytes).sum();
    let archived: u64 = known.found.iter().map(|a| a.file_bytes).sum();
    assert!(archived < log, "{archived} of {log}");

    let (reader, _) = ReadJournal::<DoorEvent>::open(root.path()).unwrap();
    assert_eq!(reader.origin().unwrap(), Seq::FIRST);
    reader.verify_archives().unwrap();
    let mut count = 0;
    let mut visit = |_| {
        count += 1;
        Ok(())
    };
    reader.history(Seq(7), &mut visit).unwrap();
    assert_eq!(count, 54);

    let second = &known.found[1];
    let alone = ArchiveFile::<DoorEvent>::open(root.path().join(&second.file)).unwrap();
    let mut found = Vec::new();
    let mut visit = |record: holdfast_journal::Record<DoorEvent>| {
        found.push(record.seq);
        Ok(())
    };
    alone.read(Seq::FIRST, &mut visit).unwrap();
    let all: Vec<_> = (second.first.get()..=second.last.get()).map(Seq).collect();
    assert_eq!(found, all);
    let info = alone.info();
    assert_eq!(info.description, b"doors of last year");
    let times = (info.earliest_ms, info.latest_ms, info.made_ms);
    let last = 1_000 + second.last.get() - 1;
    assert_eq!(times, (1_000 + second.first.get() - 1, last, 9_000));
}

#[test]
fn an_index_answers_for_what_the_log_holds_and_is_sound_after_archiving() {
    let root = tempfile::tempdir().unwrap();
    let indexed = || {
        let options = small().index(Index::Sled);
        FileJournal::<DoorEvent>::open(root.path(), options)
            .unwrap()
            .0
    };
    let wait = std::time::Duration::from_secs(20);
    let journal = indexed();
    append(&journal, 0, 60);
    assert!(journal.wait_for_index(wait));
    archive(&journal, 40).unwrap().unwrap();
    check_index(&journal);
    drop(journal);
    let journal = indexed();
    check_index(&journal);
    append(&journal, 60, 70);
    assert!(journal.wait_for_index(wait));
    check_index(&journal);
    drop(journal);
    let (reader, _) = ReadJournal::<DoorEvent>::open(root.path()).unwrap();
    let check = reader.verify_index().unwrap();
    assert!(check.to_string().contains("agrees"), "{check}");
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
fn the_checkpoint_that_an_anchor_names_stays_until_the_next_anchor() {
    let root = tempfile::tempdir().unwrap();
    let journal = filled(root.path());
    let anchored = format!("views.{:020}.checkpoint", 60);
    for n in 60..70 {
        append(&journal, n, n + 1);
        journal.checkpoint(Seq(n + 1), "views", b"later").unwrap();
    }
    let kept = || {
        let mut kept = names(root.path());
        kept.retain(|name| name.ends_with(".checkpoint"));
        kept
    };
    assert_eq!(kept().len(), 3);
    assert!(kept().contains(&anchored), "{:?}", kept());
    drop(journal);
    let (journal, _) = open(root.path());
    journal.checkpoint(Seq(70), "views", b"again").unwrap();
    assert!(kept().contains(&anchored), "after reopening: {:?}", kept());
    archive(&journal, 60).unwrap().unwrap();
    append(&journal, 70, 71);
    journal.checkpoint(Seq(71), "views", b"newest").unwrap();
    assert!(!kept().contains(&anchored), "{:?}", kept());
}

#[test]
fn the_checkpoint_that_an_anchor_names_is_the_one_that_was_meant_or_a_finding() {
    let root = tempfile::tempdir().unwrap();
    let journal = filled(root.path());
    let check = || {
        let (reader, _) = ReadJournal::<DoorEvent>::open(root.path()).unwrap();
        reader.verify_anchor()
    };
    check().unwrap();
    let name = format!("views.{:020}.checkpoint", 60);
    let path = root.path().join(&name);
    let good = fs::read(&path).unwrap();
    let refused = |part: &str| {
        let error = check().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
        let text = error.to_string();
        assert!(text.contains(&name) && text.contains(part), "{text}");
    };
    journal.checkpoint(Seq(60), "views", b"another").unwrap();
    refused("another one");
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 1;
        fs::write(&path, bad).unwrap();
        refused("not used");
    }
    fs::remove_file(&path).unwrap();
    refused("is gone");
    fs::write(&path, good).unwrap();
    check().unwrap();
    // A newer one may take its place in use, not in the anchor.
    append(&journal, 60, 61);
    journal.checkpoint(Seq(61), "views", b"newer").unwrap();
    check().unwrap();
}

#[test]
fn a_log_without_its_anchor_or_with_a_wrong_one_is_refused_and_says_what_is_missing() {
    let root = tempfile::tempdir().unwrap();
    drop(filled(root.path()));
    let anchor = root.path().join("anchor");
    let bytes = fs::read(&anchor).unwrap();
    let refused = |what: &str| {
        let error = FileJournal::<DoorEvent>::open(root.path(), small()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error}");
        let read = ReadJournal::<DoorEvent>::open(root.path()).unwrap_err();
        assert_eq!(read.kind(), ErrorKind::Damaged, "{what}: {read}");
        error.to_string()
    };
    fs::remove_file(&anchor).unwrap();
    let text = refused("no anchor");
    assert!(text.contains("no file anchor"), "{text}");
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 0x10;
        fs::write(&anchor, &bad).unwrap();
        let text = refused("flipped");
        assert!(text.contains("anchor"), "{text}");
    }
    fs::write(&anchor, &bytes[..100]).unwrap();
    refused("cut");
    // The anchor of a journal that went another way at the same place.
    let other = tempfile::tempdir().unwrap();
    let (journal, _) = open(other.path());
    append(&journal, 7, 37);
    archive(&journal, 20).unwrap().unwrap();
    append(&journal, 37, 67);
    archive(&journal, 45).unwrap().unwrap();
    fs::copy(other.path().join("anchor"), &anchor).unwrap();
    refused("of another journal");
    fs::write(&anchor, &bytes).unwrap();
    let log = names(root.path()).into_iter().find(|n| n.ends_with(".log"));
    let log = root.path().join(log.unwrap());
    let kept = fs::read(&log).unwrap();
    fs::remove_file(&log).unwrap();
    refused("the segment behind the anchor is gone");
    fs::write(&log, kept).unwrap();
    assert_eq!(history(&open(root.path()).0).unwrap(), expected(60));
}

#[test]
fn a_reader_goes_on_in_the_archive_when_segments_are_archived_under_it() {
    let root = tempfile::tempdir().unwrap();
    let journal = filled(root.path());
    let opened = || ReadJournal::<DoorEvent>::open(root.path()).unwrap().0;
    let (one, two, three) = (opened(), opened(), opened());
    let first = journal.first();
    let place = usize::try_from(first.get() - 1).unwrap();
    append(&journal, 60, 70);
    archive(&journal, 71).unwrap().unwrap();
    assert_eq!(journal.first(), Seq(71));

    let collected =
        |read: &dyn Fn(&mut holdfast_journal::Visit<'_, DoorEvent>) -> Result<(), Error>| {
            let mut found = Vec::new();
            read(&mut |record| {
                found.push(record.event);
                Ok(())
            })
            .unwrap();
            found
        };
    assert_eq!(one.position().0, Seq(60));
    let all = collected(&|visit| one.history(Seq::FIRST, visit));
    assert_eq!(all, expected(60));
    assert_eq!(
        collected(&|visit| two.read(Seq::FIRST, visit)),
        expected(60)[place..]
    );
    let door: Vec<_> = three.by_stream(StreamId(1), Seq::FIRST, 100).unwrap();
    let of_door = expected(60)[place..]
        .iter()
        .filter(|e| e.stream() == StreamId(1))
        .count();
    assert_eq!(door.len(), of_door);
    // In the middle of a visit.
    append(&journal, 70, 90);
    let reader = opened();
    let mut count = 0;
    let mut visit = |_: &holdfast_journal::Frame<'_>| {
        count += 1;
        if count == 2 {
            archive(&journal, 91).unwrap().unwrap();
        }
        Ok(())
    };
    reader.frames(Seq(71), &mut visit).unwrap();
    assert_eq!(count, 20);
    assert_eq!(journal.first(), Seq(91));
}

#[test]
fn a_reader_does_not_go_on_in_the_archive_of_another_history() {
    // Another journal of the same family and as many records, archived as far as the reader knows, and farther.
    for before in [40, 71] {
        let (root, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (journal, _) = open(root.path());
        append(&journal, 0, 60);
        drop(journal);
        let (journal, _) = open(other.path());
        for n in 0..70 {
            journal.append(&[event(n % 3, n + 1_000)], n).unwrap();
        }
        archive(&journal, before).unwrap().unwrap();
        drop(journal);
        let (reader, _) = ReadJournal::<DoorEvent>::open(root.path()).unwrap();
        let mut found = Vec::new();
        let read = reader.history(Seq::FIRST, &mut |record| {
            found.push(record.event);
            if found.len() == 2 {
                for name in names(root.path()) {
                    fs::remove_file(root.path().join(name)).unwrap();
                }
                copy(other.path(), root.path());
            }
            Ok(())
        });
        let error = read.unwrap_err();
        assert!(found.len() >= 2 && found.len() < 40, "{}", found.len());
        let own = expected(60)[..found.len()].to_vec();
        assert_eq!(found, own, "none of another history, before {before}");
        if before == 71 {
            assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
            assert!(error.to_string().contains("another history"), "{error}");
        }
    }
}

#[test]
fn an_archive_that_does_not_begin_with_the_beginning_of_a_journal_is_not_used() {
    let root = tempfile::tempdir().unwrap();
    let journal = filled(root.path());
    let info = journal.archives().unwrap().found[0].clone();
    assert_eq!(info.first, Seq::FIRST);
    let path = root.path().join(&info.file);
    let mut bytes = fs::read(&path).unwrap();
    bytes[32] ^= 1;
    let own = blake3::hash(&bytes[..192]);
    bytes[192..224].copy_from_slice(own.as_bytes());
    fs::write(&path, bytes).unwrap();
    let missing = journal.archives().unwrap().missing.unwrap();
    assert!(missing.contains("does not begin a journal"), "{missing}");
    let error = ArchiveFile::<DoorEvent>::open(&path).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    assert!(error.to_string().contains("begin a journal"), "{error}");
    let (reader, _) = ReadJournal::<DoorEvent>::open(root.path()).unwrap();
    let error = reader.verify_archives().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
}

#[test]
fn archives_that_were_moved_away_are_named_and_the_log_goes_on() {
    let root = tempfile::tempdir().unwrap();
    let journal = filled(root.path());
    let known = journal.archives().unwrap().found;
    let away = tempfile::tempdir().unwrap();
    for (moved, named) in [(0, &known[0].last), (1, &known[1].last)] {
        let file = root.path().join(&known[moved].file);
        let kept = away.path().join("kept");
        fs::rename(&file, &kept).unwrap();
        let error = history(&journal).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let name = format!("-{:020}.archive", named.get());
        assert!(error.to_string().contains(&name), "{error}");
        let missing = journal.archives().unwrap().missing.unwrap();
        assert!(missing.contains(&name), "{missing}");
        fs::rename(&kept, &file).unwrap();
    }
    fs::remove_dir_all(root.path().join("archive")).unwrap();
    drop(journal);
    let (journal, report) = open(root.path());
    assert_eq!(report.cases, [OpenCase::Clean]);
    append(&journal, 60, 62);
    assert!(history(&journal).is_err());
    let kept = usize::try_from(journal.first().get() - 1).unwrap();
    assert_eq!(events_of(&journal), expected(62)[kept..]);
}

#[test]
fn any_byte_of_an_archive_that_changes_is_found_and_the_archive_named() {
    let root = tempfile::tempdir().unwrap();
    let journal = filled(root.path());
    let info = journal.archives().unwrap().found[0].clone();
    let path = root.path().join(&info.file);
    let bytes = fs::read(&path).unwrap();
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&path, &bad).unwrap();
        let whole = history(&journal);
        let proved = ArchiveFile::<DoorEvent>::open(&path).and_then(|archive| archive.verify());
        let error = proved.expect_err("a changed byte");
        assert!(
            error
                .to_string()
                .contains(&format!("{:020}.archive", info.last.get())),
            "byte {at}: {error}"
        );
        match whole {
            Ok(found) => assert_eq!(found, expected(60), "byte {at}"),
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::Damaged | ErrorKind::NotFound),
                "byte {at}: {error}"
            ),
        }
    }
    for cut in [0, 100, 223, bytes.len() / 2, bytes.len() - 1] {
        fs::write(&path, &bytes[..cut]).unwrap();
        assert!(history(&journal).is_err(), "cut to {cut}");
    }
}

#[test]
fn an_archive_cut_at_any_byte_or_lengthened_is_no_archive_and_is_named_while_the_log_opens() {
    let root = tempfile::tempdir().unwrap();
    let journal = filled(root.path());
    let info = journal.archives().unwrap().found[0].clone();
    let (first, last) = (journal.first(), journal.position().0);
    drop(journal);
    let path = root.path().join(&info.file);
    let bytes = fs::read(&path).unwrap();
    let name = format!("{:020}.archive", info.last.get());
    let check = |what: &str| {
        let proved = ArchiveFile::<DoorEvent>::open(&path).and_then(|archive| archive.verify());
        let error = proved.expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error}");
        assert!(error.to_string().contains(&name), "{what}: {error}");
        // The log does not need it, and whoever proves all archives hears of it.
        let (reader, _) = ReadJournal::<DoorEvent>::open(root.path()).unwrap();
        assert_eq!((reader.first(), reader.position().0), (first, last));
        let error = reader.verify_archives().expect_err(what);
        assert_eq!(error.kind(), ErrorKind::Damaged, "{what}: {error}");
        assert!(error.to_string().contains(&name), "{what}: {error}");
    };
    for cut in 0..bytes.len() {
        fs::write(&path, &bytes[..cut]).unwrap();
        check(&format!("cut to {cut}"));
    }
    fs::write(&path, [&bytes[..], &[0]].concat()).unwrap();
    check("a byte longer");
    fs::write(&path, &bytes).unwrap();
    let (reader, _) = ReadJournal::<DoorEvent>::open(root.path()).unwrap();
    reader.verify_archives().unwrap();
}

#[test]
fn a_move_that_was_cut_short_is_finished_or_undone_by_the_next_opening() {
    let root = tempfile::tempdir().unwrap();
    let (journal, _) = open(root.path());
    append(&journal, 0, 30);
    journal.checkpoint(Seq(30), "views", b"state").unwrap();
    journal.roll().unwrap();
    let before = tempfile::tempdir().unwrap();
    copy(root.path(), before.path());
    let info = journal.archive(&request(Seq(31))).unwrap().unwrap();
    drop(journal);
    let archive = fs::read(root.path().join(&info.file)).unwrap();
    let logs = |path: &Path| names(path).iter().filter(|n| n.ends_with(".log")).count();

    // The archive is there, the anchor is not.
    let undone = tempfile::tempdir().unwrap();
    copy(before.path(), undone.path());
    fs::create_dir(undone.path().join("archive")).unwrap();
    fs::write(undone.path().join(&info.file), &archive).unwrap();
    fs::write(undone.path().join("archive/0.archive.new"), &archive[..9]).unwrap();
    let (journal, report) = open(undone.path());
    let found = report
        .cases
        .iter()
        .filter(|c| matches!(c, OpenCase::ArchiveUndone { .. }));
    assert_eq!(found.count(), 2, "{report}");
    assert!(names(&undone.path().join("archive")).is_empty());
    assert_eq!(events_of(&journal), expected(30));

    // The anchor is there, and so are the segments.
    let finished = tempfile::tempdir().unwrap();
    copy(before.path(), finished.path());
    copy(root.path(), finished.path());
    let count = logs(finished.path()) as u64;
    let (journal, report) = open(finished.path());
    let case = OpenCase::ArchiveUnfinished {
        archive: info.file.clone(),
        segments: count - 1,
    };
    assert!(report.cases.contains(&case), "{report}");
    assert_eq!(logs(finished.path()), 1);
    assert_eq!(history(&journal).unwrap(), expected(30));

    // The same, and the archive was taken away: the segments are the only copy, and stay.
    let away = tempfile::tempdir().unwrap();
    copy(before.path(), away.path());
    copy(root.path(), away.path());
    fs::remove_file(away.path().join(&info.file)).unwrap();
    let (journal, report) = open(away.path());
    let case = OpenCase::ArchiveAway {
        segments: count - 1,
    };
    assert!(report.cases.contains(&case), "{report}");
    assert_eq!(logs(away.path()) as u64, count);
    append(&journal, 30, 32);
    drop(journal);
    fs::write(away.path().join(&info.file), &archive).unwrap();
    assert_eq!(history(&open(away.path()).0).unwrap(), expected(32));
    assert_eq!(logs(away.path()), 1, "put back, it is finished");
}

fn on(disk: Arc<dyn Disk>) -> Result<(Doors, holdfast_journal::OpenReport), Error> {
    FileJournal::open_on(disk, small())
}

#[test]
fn whenever_the_power_fails_while_archiving_no_record_is_lost_and_the_second_opening_is_clean() {
    let (mut finished, mut undone) = (0, 0);
    for seed in 0..8 {
        let mut life = 0;
        loop {
            life += 1;
            let mut dice = Dice(seed * 1_000 + life);
            let disk = MemoryDisk::new(256);
            {
                let (journal, _) = on(Arc::new(disk.clone())).unwrap();
                append(&journal, 0, 20);
                archive(&journal, 10).unwrap().unwrap();
                append(&journal, 20, 40);
            }
            let left = Arc::new(AtomicU64::new(life));
            let dying = Dying {
                inner: Box::new(disk.clone()),
                left: Arc::clone(&left),
            };
            let outcome = on(Arc::new(dying)).and_then(|(journal, _)| archive(&journal, 35));
            let odds = [0, 10, dice.below(11), dice.below(11)][usize::try_from(seed % 4).unwrap()];
            let cut = disk.power_cut(&mut |_| dice.below(10) < odds);
            let what = format!("seed {seed} life {life}: {outcome:?}");
            let (journal, report) =
                on(Arc::new(cut.clone())).unwrap_or_else(|e| panic!("{what}: {e}"));
            for case in &report.cases {
                finished += u64::from(matches!(case, OpenCase::ArchiveUnfinished { .. }));
                undone += u64::from(matches!(case, OpenCase::ArchiveUndone { .. }));
            }
            assert_eq!(history(&journal).unwrap(), expected(40), "{what}");
            assert_eq!(journal.archives().unwrap().missing, None, "{what}");
            let covered = journal.latest_checkpoint("views").unwrap().unwrap().seq;
            assert!(covered.next() >= journal.first(), "{what}");
            if let Ok(Some(made)) = &outcome {
                assert_eq!(journal.first(), made.last.next(), "{what}");
            }
            drop(journal);
            let (journal, report) = on(Arc::new(cut)).unwrap();
            assert!(report.is_clean(), "{what}: {report}");
            assert_eq!(history(&journal).unwrap(), expected(40), "{what}");
            if left.load(Ordering::Relaxed) > 0 {
                break;
            }
        }
        assert!(life > 20, "{life} moments");
    }
    assert!(
        finished > 0 && undone > 0,
        "{finished} finished, {undone} undone"
    );
}

#[test]
fn a_second_act_after_a_failed_one_loses_no_record_whenever_the_power_fails() {
    let (mut again, mut refused) = (0, 0);
    let mut first = 0;
    loop {
        first += 1;
        let mut second = 0;
        loop {
            second += 1;
            let mut dice = Dice(first * 1_000 + second);
            let disk = MemoryDisk::new(256);
            let left = Arc::new(AtomicU64::new(u64::MAX));
            let failing = Dying {
                inner: Box::new(disk.clone()),
                left: Arc::clone(&left),
            };
            let (journal, _) = on(Arc::new(failing)).unwrap();
            append(&journal, 0, 40);
            journal.checkpoint(Seq(40), "views", b"state").unwrap();
            journal.roll().unwrap();
            let act = |at_ms: u64, left_now: u64| {
                left.store(left_now, Ordering::Relaxed);
                let request = ArchiveRequest {
                    at_ms,
                    ..request(Seq(41))
                };
                let outcome = journal.archive(&request);
                let whole = left.swap(u64::MAX, Ordering::Relaxed) > 0;
                (outcome, whole)
            };
            let (one, done) = act(9_000, first);
            if done {
                // The first act came to its end.
                assert!(one.is_ok(), "{one:?}");
                assert!(again > 0 && refused > 0, "{again} again, {refused} refused");
                return;
            }
            append(&journal, 40, 42);
            let (two, whole) = act(9_500, second);
            match (&one, &two) {
                (Err(_), Ok(Some(_))) => again += 1,
                (Err(one), Err(two)) if one == two => refused += 1,
                _ => {}
            }
            let odds = [0, 10, dice.below(11)][usize::try_from(dice.below(3)).unwrap()];
            let cut = disk.power_cut(&mut |_| dice.below(10) < odds);
            let what = format!("first {first} second {second}: {one:?}, {two:?}");
            let (journal, _) = on(Arc::new(cut)).unwrap_or_else(|e| panic!("{what}: {e}"));
            let found = history(&journal).unwrap_or_else(|e| panic!("{what}: {e}"));
            assert_eq!(found, expected(42), "{what}");
            assert_eq!(journal.archives().unwrap().missing, None, "{what}");
            if whole {
                break;
            }
        }
    }
}

#[test]
fn an_archive_of_the_same_records_that_was_made_at_another_time_will_do() {
    let made = |at_ms: u64| {
        let root = tempfile::tempdir().unwrap();
        let (journal, _) = open(root.path());
        append(&journal, 0, 30);
        journal.checkpoint(Seq(30), "views", b"state").unwrap();
        journal.roll().unwrap();
        let request = ArchiveRequest {
            at_ms,
            ..request(Seq(31))
        };
        let info = journal.archive(&request).unwrap().unwrap();
        (root, info)
    };
    let ((one, info), (two, other)) = (made(9_000), made(9_500));
    assert_eq!(info.file, other.file);
    let bytes = |root: &tempfile::TempDir| fs::read(root.path().join(&info.file)).unwrap();
    assert_ne!(bytes(&one), bytes(&two));
    fs::write(one.path().join(&info.file), bytes(&two)).unwrap();
    let (journal, _) = open(one.path());
    assert_eq!(history(&journal).unwrap(), expected(30));
    assert_eq!(journal.archives().unwrap().found, [other]);
}

#[test]
fn a_full_disk_leaves_no_archive_that_does_not_count() {
    let filled = || {
        let disk = MemoryDisk::new(256);
        let (journal, _) = on(Arc::new(disk.clone())).unwrap();
        append(&journal, 0, 40);
        journal.checkpoint(Seq(40), "views", b"state").unwrap();
        journal.roll().unwrap();
        (disk, journal)
    };
    let (disk, journal) = filled();
    let before = disk.used_bytes();
    let info = journal.archive(&request(Seq(41))).unwrap().unwrap();
    let archive = usize::try_from(info.file_bytes).unwrap();
    // Room for the archive, and not for the anchor.
    let (disk, journal) = filled();
    disk.set_capacity(Some(before + archive + 100));
    let error = journal.archive(&request(Seq(41))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert!(error.to_string().contains("anchor"), "{error}");
    let left = disk.within("archive", false).unwrap().list().unwrap();
    assert_eq!(left, Vec::<String>::new());
    disk.set_capacity(None);
    assert!(journal.archive(&request(Seq(41))).unwrap().is_some());
    assert_eq!(history(&journal).unwrap(), expected(40));
}

/// A disk whose records 1 to 40 were archived by a process that died before their segments went, with so
/// much held back for a full disk.
fn left_over(reserve_bytes: u64) -> (MemoryDisk, Options) {
    let disk = MemoryDisk::new(256);
    let options = small().reserve_bytes(reserve_bytes);
    let (journal, _) = Doors::open_on(Arc::new(disk.clone()), options).unwrap();
    append(&journal, 0, 40);
    journal.checkpoint(Seq(40), "views", b"state").unwrap();
    journal.roll().unwrap();
    let before = disk.everything();
    journal.archive(&request(Seq(41))).unwrap().unwrap();
    drop(journal);
    for (name, bytes) in before {
        if disk.get(&name).is_none() {
            disk.put(&name, &bytes);
        }
    }
    (disk, options)
}

fn segments(disk: &MemoryDisk) -> usize {
    let names = disk.list().unwrap();
    names.iter().filter(|name| name.ends_with(".log")).count()
}

#[test]
fn an_opening_on_a_full_disk_frees_what_archiving_left_behind() {
    let (disk, options) = left_over(4_096);
    assert!(segments(&disk) > 2);
    disk.set_capacity(Some(disk.used_bytes()));
    let (journal, report) = Doors::open_on(Arc::new(disk.clone()), options).unwrap();
    let finished = |case: &OpenCase| matches!(case, OpenCase::ArchiveUnfinished { .. });
    assert!(report.cases.iter().any(finished), "{report:?}");
    assert_eq!(segments(&disk), 1);
    append(&journal, 40, 41);
    assert_eq!(history(&journal).unwrap(), expected(41));
}

#[test]
fn an_opening_that_cannot_write_the_anchor_keeps_the_segments_for_a_later_one() {
    let (disk, options) = left_over(0);
    let there = segments(&disk);
    let names = disk.list().unwrap();
    disk.set_capacity(Some(disk.used_bytes()));
    let (journal, report) = Doors::open_on(Arc::new(disk.clone()), options).unwrap();
    assert_eq!(report.cases, [OpenCase::Clean], "nothing was removed");
    assert_eq!(disk.list().unwrap(), names);
    assert_eq!(history(&journal).unwrap(), expected(40));
    drop(journal);
    disk.set_capacity(None);
    let (journal, report) = Doors::open_on(Arc::new(disk.clone()), options).unwrap();
    assert_eq!(report.cases.len(), 2, "{report:?}");
    assert!(segments(&disk) < there);
    assert_eq!(history(&journal).unwrap(), expected(40));
}

#[test]
fn a_full_disk_refuses_to_archive_and_changes_nothing() {
    let disk = MemoryDisk::new(256);
    let (journal, _) = on(Arc::new(disk.clone())).unwrap();
    append(&journal, 0, 40);
    journal.checkpoint(Seq(40), "views", b"state").unwrap();
    journal.roll().unwrap();
    disk.set_capacity(Some(disk.used_bytes() + 200));
    let error = journal.archive(&request(Seq(41))).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Full, "{error}");
    assert_eq!(journal.first(), Seq::FIRST);
    disk.set_capacity(None);
    append(&journal, 40, 41);
    assert_eq!(events_of(&journal), expected(41));
    assert!(journal.archive(&request(Seq(41))).unwrap().is_some());
    assert_eq!(history(&journal).unwrap(), expected(41));
}

#[test]
fn an_index_that_ends_in_what_was_archived_is_behind_and_not_of_another_history() {
    let folder = tempfile::tempdir().unwrap();
    let indexed = small().index(Index::Sled);
    let (journal, _) = Doors::open(folder.path(), indexed).unwrap();
    append(&journal, 0, 2);
    assert!(journal.wait_for_index(std::time::Duration::from_secs(60)));
    drop(journal);
    // The index goes no further: the process that writes on keeps none.
    let (journal, _) = open(folder.path());
    append(&journal, 2, 60);
    archive(&journal, 50).unwrap().unwrap();
    let first = journal.first();
    assert!(first > Seq(3));
    drop(journal);
    let reading = ReadJournal::<DoorEvent>::open(folder.path()).unwrap();
    let behind = 60 - first.get() + 1;
    let expected = IndexCheck::Agrees {
        through: Seq::ZERO,
        behind,
    };
    assert_eq!(reading.0.verify_index().unwrap(), expected);
}
