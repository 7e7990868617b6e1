//! What `inspect` says of a journal is what the engine does with it.

use holdfast_journal::{Event as _, FrameHash, Projection, Record};
use proptest::prelude::*;

use super::checkpoints::{recorded, step};
use super::*;
use crate::inspect::{Direction, NextOpening, Verdict, next_opening, recheck};
use crate::replay::Replay;

const CREDITS: Credits = Credits {
    workers: 4,
    per_backend: 2,
    coordinators: 2,
};

fn records(history: Vec<(u64, Event)>) -> Vec<Record<Event>> {
    history
        .into_iter()
        .zip(1..)
        .map(|((at_ms, event), seq)| Record {
            seq: Seq(seq),
            at_ms,
            stream: event.stream(),
            kind: event.kind(),
            hash: FrameHash([0; 32]),
            event,
        })
        .collect()
}

fn replayed_to(records: &[Record<Event>]) -> Replay {
    let mut replay = Replay::new();
    records.iter().for_each(|r| replay.apply(r).unwrap());
    replay
}

/// What the engine records when it is opened on these records.
fn opened(records: &[Record<Event>], now: Now) -> Vec<Event> {
    let journal = MemoryJournal::new();
    for record in records {
        journal
            .append(std::slice::from_ref(&record.event), record.at_ms)
            .unwrap();
    }
    let bench = Bench::over(journal, now);
    let mut events = Vec::new();
    bench
        .journal
        .read(Seq(records.len() as u64 + 1), &mut |record| {
            events.push(record.event);
            Ok(())
        })
        .unwrap();
    events
}

fn foretold(records: &[Record<Event>], now: Now) -> NextOpening {
    next_opening(&replayed_to(records), CatalogPosition(0), now, CREDITS).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn the_next_opening_records_what_was_foretold(
        steps in prop::collection::vec(step(), 1..120),
        cut in any::<prop::sample::Index>(),
        later in 0_u64..200_000_000,
    ) {
        let records = records(recorded(&steps));
        let records = &records[..=cut.index(records.len())];
        let wall_ms = records.iter().map(|r| r.at_ms).max().unwrap_or(0) + later;
        let now = Now { wall_ms, mono_ms: 50 };
        prop_assert_eq!(foretold(records, now).events, opened(records, now));
    }

    #[test]
    fn what_the_engine_recorded_it_decides_again(
        steps in prop::collection::vec(step(), 1..200),
    ) {
        let records = records(recorded(&steps));
        let mut replay = Replay::new();
        for at in 0..records.len() {
            let from = at.saturating_sub(2);
            let window = &records[from..records.len().min(at + 3)];
            let verdict = recheck(&replay, window, at - from);
            prop_assert_eq!(verdict, Verdict::Same, "{:#?}", window);
            replay.apply(&records[at]).unwrap();
        }
    }
}

/// A backup of which two uploads run.
fn uploading() -> (Bench, JobId) {
    let mut bench = Bench::new();
    let job = bench.backup("db", "s1").unwrap();
    let order = bench.run_until(|order| order.work == Work::Upload).unwrap();
    bench.executor.started.lock().push(order);
    (bench, job)
}

fn tape(bench: &Bench) -> Vec<Record<Event>> {
    let mut records = Vec::new();
    let read = bench.journal.read(Seq::FIRST, &mut |record| {
        records.push(record);
        Ok(())
    });
    read.unwrap();
    records
}

#[test]
fn a_running_job_goes_on_with_the_tasks_that_were_cut_off() {
    let (bench, job) = uploading();
    let records = tape(&bench);
    let later = Now {
        wall_ms: bench.now.wall_ms + 1_000,
        mono_ms: 5,
    };
    let opening = foretold(&records, later);
    let outlook = &opening.jobs[0];
    assert_eq!((outlook.job, outlook.direction), (job, Direction::GoesOn));
    assert_eq!(outlook.work, Some(Work::Upload));
    assert!(!outlook.starts.is_empty());
    for start in &outlook.starts {
        assert_eq!((start.attempt, start.interrupted), (2, true), "{start:?}");
        assert!(start.backend.is_some());
    }
    assert!(outlook.time_left_ms.is_some_and(|left| left < 86_400_000));
}

#[test]
fn a_job_past_its_time_is_cancelled_at_once_and_one_past_its_commit_is_not() {
    let (mut bench, _) = uploading();
    let late = |bench: &Bench| Now {
        wall_ms: bench.now.wall_ms + 90_000_000,
        mono_ms: 5,
    };
    let opening = foretold(&tape(&bench), late(&bench));
    assert_eq!(opening.jobs[0].direction, Direction::TimesOut);
    assert_eq!(opening.jobs[0].work, Some(Work::Discard));
    let order = bench.run_until(|order| order.work == Work::PutMarker);
    assert!(order.is_some());
    let opening = foretold(&tape(&bench), late(&bench));
    assert_eq!(opening.jobs[0].direction, Direction::RollsForward);
    assert_eq!(opening.jobs[0].starts.len(), 1);
    assert_eq!(opening.jobs[0].time_left_ms, None);
}

#[test]
fn a_job_that_was_being_cancelled_is_taken_back() {
    let (mut bench, _) = uploading();
    bench.cancel(JobKind::Backup, "db").unwrap();
    let opening = foretold(&tape(&bench), bench.now);
    assert_eq!(opening.jobs[0].direction, Direction::RollsBack);
    assert!(opening.jobs[0].why.contains("user cancelled"));
    bench.orders();
    let kinds: Vec<_> = opening.events.iter().map(Event::kind_name).collect();
    assert_eq!(kinds, ["EngineStarted", "CleanupStarted", "TaskStarted"]);
}

#[test]
fn a_storage_older_than_the_journal_is_refused_as_by_the_engine() {
    let mut records = tape(&uploading().0);
    if let Event::EngineStarted(e) = &mut records[0].event {
        e.catalog = 9;
    }
    let now = Now {
        wall_ms: 0,
        mono_ms: 0,
    };
    let refused = next_opening(&replayed_to(&records), CatalogPosition(8), now, CREDITS);
    let error = refused.unwrap_err();
    assert!(
        error.damaged && error.message.contains("stands at 8"),
        "{error}"
    );
}

#[test]
fn a_record_that_the_engine_would_not_decide_is_a_finding() {
    let records = tape(&uploading().0);
    let changed = |kind: &str, change: &dyn Fn(&mut Event)| {
        let at = records
            .iter()
            .position(|r| r.event.kind_name() == kind)
            .unwrap();
        let mut records = records.clone();
        change(&mut records[at].event);
        let from = at.saturating_sub(2);
        let window = &records[from..records.len().min(at + 3)];
        recheck(&replayed_to(&records[..at]), window, at - from)
    };
    let differs = |verdict| match verdict {
        Verdict::Differs { today, why } => (today.len(), why),
        Verdict::Same => panic!("no difference was found"),
    };
    let attempt = changed("TaskStarted", &|event| {
        if let Event::TaskStarted(e) = event {
            e.attempt = 3;
        }
    });
    assert_eq!(differs(attempt).0, 1);
    let state = changed("StateEntered", &|event| {
        if let Event::StateEntered(e) = event {
            e.work = Work::Upload as u8;
        }
    });
    assert_eq!(differs(state).0, 1);
    let label = changed("BackupSubmitted", &|event| {
        if let Event::BackupSubmitted(e) = event {
            e.repository += 1;
        }
    });
    let (today, why) = differs(label);
    assert!(today == 0 && why.contains("does not exist"), "{why}");
}
