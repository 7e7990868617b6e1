//! Which jobs leave, that nothing is lost whenever the act is cut short, and that no opening needs what left.

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_broker::{Broker, MemoryBroker};
use holdfast_journal::{
    Error, FileJournal, Index, Journal, MemoryJournal, Projection as _, ReadJournal, Record, Seq,
};

use super::*;
use crate::engine::{Engine, Options, Parts};
use crate::replay::Replay;
use crate::seams::Clock as _;
use crate::testing::{History, ManualClock, MemoryStorage};

/// The wall time of event `n` of a history.
fn at_ms(n: u64) -> u64 {
    1_000_000 + n * 1_000
}

/// Backups of databases `a` and `b` in turn, a cancelled one, and a restore that still downloads: jobs and events.
fn history(backups: u32) -> Vec<Event> {
    let mut history = History::new();
    for n in 0..backups {
        history.backup(if n % 2 == 0 { "a" } else { "b" }, 1);
    }
    history.cancelled_backup("a");
    history.open_restore("c");
    history.take()
}

fn fill(journal: &dyn Journal<Event>, events: &[Event]) {
    for (event, n) in events.iter().zip(1..) {
        journal
            .append(std::slice::from_ref(event), at_ms(n))
            .unwrap();
    }
}

struct Site {
    clock: Arc<ManualClock>,
    options: Options,
}

impl Site {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new());
        clock.set_wall_ms(at_ms(1_000_000));
        Self {
            clock,
            options: Options::default(),
        }
    }

    fn open(&self, journal: Arc<dyn Journal<Event>>) -> Result<Engine, crate::OpenError> {
        let brokers =
            |_: &str| -> Result<Arc<dyn Broker>, String> { Ok(Arc::new(MemoryBroker::new())) };
        let work = Arc::new(MemoryBroker::new());
        let storage = Arc::new(MemoryStorage::new(1));
        let mut parts = Parts::new(journal, storage, work, Arc::new(brokers));
        parts.clock = Arc::clone(&self.clock) as _;
        parts.options = self.options;
        Engine::open(parts)
    }
}

fn shown(engine: &Engine) -> Vec<u64> {
    let views = engine.views();
    views.jobs.iter().map(|(id, _)| id.0).collect()
}

/// The whole history of a journal replayed from its first event, and the events.
fn replayed(journal: &dyn Journal<Event>) -> Result<(Replay, Vec<Record<Event>>), Error> {
    let (mut replay, mut records) = (Replay::new(), Vec::new());
    journal.history(Seq::FIRST, &mut |record| {
        replay.apply(&record)?;
        records.push(record);
        Ok(())
    })?;
    Ok((replay, records))
}

/// Ids of the jobs of a history in order, and the number of the event that released each that is.
fn jobs_of(events: &[Event]) -> (Vec<u64>, Vec<u64>) {
    let mut jobs = (Vec::new(), Vec::new());
    for (event, n) in events.iter().zip(1..) {
        match event {
            Event::BackupSubmitted(e) => jobs.0.push(e.job),
            Event::RestoreSubmitted(e) => jobs.0.push(e.job),
            Event::JobReleased(_) => jobs.1.push(n),
            _ => {}
        }
    }
    jobs
}

#[test]
fn jobs_that_ended_before_a_time_leave_and_their_events_are_archived() {
    let events = history(6);
    let (jobs, released) = jobs_of(&events);
    let journal = Arc::new(MemoryJournal::<Event>::new());
    fill(&*journal, &events);
    let engine = Site::new().open(Arc::clone(&journal) as _).unwrap();
    assert_eq!(shown(&engine), jobs);

    // Three have ended; everything lies in one segment with what stays, so no event moves.
    let request = HistoryRequest::before(at_ms(released[2]));
    let done = engine.archive(&request).unwrap();
    assert_eq!(
        (done.jobs, done.first_job.0, done.last_job.0),
        (3, jobs[0], jobs[2])
    );
    assert_eq!((done.archive, done.first_event), (None, 1));
    assert_eq!(shown(&engine), jobs[3..]);
    assert!(engine.wait(JobId(jobs[0]), Duration::ZERO).is_none());

    // Now all that have ended leave; the restore still runs and stays.
    let done = engine.archive(&HistoryRequest::before(u64::MAX)).unwrap();
    assert_eq!((done.jobs, done.last_job.0), (4, jobs[6]));
    let still = *jobs.last().unwrap();
    assert_eq!(shown(&engine), [still]);
    assert!(
        engine.views().repositories.contains_key("repo"),
        "repositories stay"
    );
    engine.close();

    let (mut replay, records) = replayed(&*journal).unwrap();
    let counted: Vec<u64> = records
        .iter()
        .filter_map(|record| match &record.event {
            Event::HistoryArchived(e) => Some(e.jobs),
            _ => None,
        })
        .collect();
    assert_eq!(counted, [3, 4], "each act is an event");
    assert_eq!(
        replay
            .views()
            .jobs
            .keys()
            .map(|id| id.0)
            .collect::<Vec<_>>(),
        [still]
    );
    let kept = journal.latest_checkpoint("engine").unwrap().unwrap();
    assert_eq!(
        kept.state,
        replay.to_checkpoint().unwrap(),
        "as from the first event"
    );
}

fn lose_checkpoints(folder: &std::path::Path) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|e| e == "checkpoint") {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn a_log_whose_beginning_left_opens_from_the_checkpoint_and_without_one_from_the_archives() {
    let folder = tempfile::tempdir().unwrap();
    let options = holdfast_journal::Options::default()
        .index(Index::None)
        .segment_bytes(20_000);
    let open = || {
        let (journal, _) = FileJournal::<Event>::open(folder.path(), options).unwrap();
        Arc::new(journal)
    };
    let mut story = History::new();
    (0..8).for_each(|_| story.backup("a", 2));
    let site = Site::new();
    let journal = open();
    fill(&*journal, &story.take());
    let engine = site.open(Arc::clone(&journal) as _).unwrap();
    let done = engine.archive(&HistoryRequest::before(u64::MAX)).unwrap();
    let archive = done.archive.unwrap();
    assert_eq!(done.jobs, 8);
    assert_eq!(
        (archive.first, archive.last.get() + 1),
        (Seq(1), done.first_event)
    );
    let description: serde_json::Value = serde_json::from_slice(&archive.description).unwrap();
    assert_eq!(description["jobs"], 8);
    engine.close();
    drop((engine, journal));

    let state = |journal: &dyn Journal<Event>| journal.latest_checkpoint("engine").unwrap();
    let journal = open();
    assert_eq!(journal.first().get(), done.first_event);
    let engine = site.open(Arc::clone(&journal) as _).unwrap();
    assert_eq!(shown(&engine), Vec::<u64>::new());
    engine.close();
    let (replay, _) = replayed(&*journal).unwrap();
    assert_eq!(
        state(&*journal).unwrap().state,
        replay.to_checkpoint().unwrap()
    );
    drop((engine, journal));

    lose_checkpoints(folder.path());
    let journal = open();
    let engine = site.open(Arc::clone(&journal) as _).unwrap();
    engine.close();
    let (replay, _) = replayed(&*journal).unwrap();
    assert_eq!(
        state(&*journal).unwrap().state,
        replay.to_checkpoint().unwrap()
    );
    drop((engine, journal));

    lose_checkpoints(folder.path());
    let kept = folder.path().join(&archive.file);
    let away = folder.path().join("away");
    std::fs::rename(&kept, &away).unwrap();
    let journal = open();
    let refused = match site.open(Arc::clone(&journal) as _) {
        Ok(_) => panic!("opened without its beginning"),
        Err(error) => error,
    };
    assert!(refused.damaged);
    assert!(refused.message.contains(&archive.file), "{refused}");
    drop(journal);
    std::fs::rename(&away, &kept).unwrap();
    site.open(open()).unwrap().close();
    ReadJournal::<Event>::open(folder.path())
        .unwrap()
        .0
        .verify_archives()
        .unwrap();
}

#[test]
fn an_act_that_was_cut_short_before_its_event_is_recorded_by_the_next() {
    let events = history(5);
    let journal = Arc::new(MemoryJournal::<Event>::new());
    fill(&*journal, &events);
    let site = Site::new();
    let (replay, _) = replayed(&*journal).unwrap();
    let end = journal.position().0;
    let request = HistoryRequest::before(u64::MAX);
    let now = Now {
        wall_ms: site.clock.wall_ms(),
        mono_ms: 0,
    };
    // The restore that runs is put out of the way: a history in which all have ended.
    let mut ended = History::new();
    (0..5).for_each(|_| ended.backup("a", 1));
    let whole = MemoryJournal::<Event>::new();
    fill(&whole, &ended.take());
    let (all, _) = replayed(&whole).unwrap();
    let at = whole.position().0;
    let (moved, _) = act(&whole, &all.into_state(), at, (request, false), now).unwrap();
    assert_eq!(moved.leaving.jobs, 5);
    assert!(moved.archive.is_some());
    // Here it is killed: the events have left, the jobs have not.
    let reopened = Arc::new(whole.reopen());
    let engine = site.open(Arc::clone(&reopened) as _).unwrap();
    assert_eq!(shown(&engine).len(), 5);
    assert_eq!(engine.archive(&request).unwrap().jobs, 5);
    assert_eq!(shown(&engine).len(), 0);
    engine.close();
    replayed(&*reopened).unwrap();

    // Where a job runs, its events hold back what would leave.
    let (moved, _) = act(&*journal, &replay.into_state(), end, (request, false), now).unwrap();
    assert_eq!((moved.leaving.jobs, moved.archive), (6, None));
}

#[test]
fn a_checkpoint_that_cannot_be_written_lets_nothing_leave() {
    let events = history(3);
    let (jobs, _) = jobs_of(&events);
    let journal = MemoryJournal::<Event>::new();
    fill(&journal, &events);
    let (replay, _) = replayed(&journal).unwrap();
    let (state, end) = (replay.into_state(), journal.position().0);
    // A state of more than the journal holds has no checkpoint.
    let now = Now {
        wall_ms: 0,
        mono_ms: 0,
    };
    let request = HistoryRequest::before(u64::MAX);
    let refused = act(&journal, &state, end.next(), (request, false), now).unwrap_err();
    assert!(refused.contains("checkpoint"), "{refused}");
    assert_eq!(journal.first(), Seq::FIRST);
    assert_eq!(state.jobs.keys().count(), jobs.len());
}

#[test]
fn the_newest_ended_jobs_stay_where_some_are_to_be_kept() {
    let events = history(6);
    let (jobs, released) = jobs_of(&events);
    let journal = MemoryJournal::<Event>::new();
    fill(&journal, &events);
    let (replay, _) = replayed(&journal).unwrap();
    let of = |keep_last, before| {
        let request = HistoryRequest {
            ended_before_ms: before,
            keep_last,
        };
        let (count, first, last) = replay.archivable(&request);
        (count, first.0, last.0)
    };
    assert_eq!(of(0, u64::MAX), (7, jobs[0], jobs[6]));
    assert_eq!(of(2, u64::MAX), (5, jobs[0], jobs[4]));
    assert_eq!(of(7, u64::MAX), (0, 0, 0));
    assert_eq!(of(0, at_ms(released[1])), (2, jobs[0], jobs[1]));
    assert_eq!(of(6, at_ms(released[1])), (1, jobs[0], jobs[0]));
    assert_eq!(of(0, 0), (0, 0, 0));
}

#[test]
fn an_event_that_counts_other_jobs_than_could_leave_is_illegal() {
    let events = history(2);
    let (jobs, _) = jobs_of(&events);
    let journal = MemoryJournal::<Event>::new();
    fill(&journal, &events);
    let (replay, _) = replayed(&journal).unwrap();
    let state = replay.into_state();
    let running = *jobs.last().unwrap();
    let archived = |count, first, last| HistoryArchived {
        ended_before_ms: u64::MAX,
        jobs: count,
        first_job: first,
        last_job: last,
        archive: None,
        archived_through: 0,
        automatic: false,
    };
    let apply = |event: HistoryArchived| state.clone().apply(at_ms(999), &event.into());
    assert!(apply(archived(3, jobs[0], jobs[2])).is_ok());
    for wrong in [
        archived(4, jobs[0], running),
        archived(3, jobs[0], running),
        archived(1, running, running),
        archived(2, jobs[0], jobs[2]),
        archived(1, 5, 5),
    ] {
        assert!(apply(wrong.clone()).is_err(), "{wrong:?}");
    }
}

#[test]
fn by_the_clock_jobs_leave_only_where_that_is_asked_for_and_one_act_at_a_time() {
    let mut ended = History::new();
    (0..4).for_each(|_| ended.backup("a", 1));
    let events = ended.take();
    let (jobs, _) = jobs_of(&events);
    let journal = Arc::new(MemoryJournal::<Event>::new());
    fill(&*journal, &events);
    let mut site = Site::new();
    let settled = |site: &Site, wanted: usize| {
        let engine = site.open(Arc::clone(&journal) as _).unwrap();
        let begun = Instant::now();
        // Any statement wakes the dispatcher, as its own timer would in real time.
        for turn in 0.. {
            let _refused = engine.drop_repository("none");
            if turn == 0 {
                site.clock.advance(FIRST_LOOK_MS + 1);
            }
            let over = turn > 10 && shown(&engine).len() == wanted;
            if over || begun.elapsed() > Duration::from_secs(20) {
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let found = shown(&engine).len();
        engine.close();
        found
    };
    assert_eq!(settled(&site, jobs.len()), jobs.len(), "off by default");
    site.options.retention = Retention {
        keep_finished: Some(Duration::from_secs(1)),
        keep_last: 2,
        every: Duration::from_secs(3_600),
    };
    assert_eq!(settled(&site, 2), 2, "the newest two");
    let (_, records) = replayed(&*journal).unwrap();
    let acts = records.iter().filter_map(|record| match &record.event {
        Event::HistoryArchived(e) => Some((e.jobs, e.automatic)),
        _ => None,
    });
    assert_eq!(acts.collect::<Vec<_>>(), [(2, true)]);
}

#[test]
fn a_long_replay_with_a_reader_ahead_makes_the_state_that_one_thread_makes() {
    let folder = tempfile::tempdir().unwrap();
    let options = holdfast_journal::Options::default().index(Index::None);
    let (journal, _) = FileJournal::<Event>::open(folder.path(), options).unwrap();
    let mut story = History::new();
    while journal.position().0.get() < 25_000 {
        story.backup("a", 200);
        story.cancelled_backup("b");
        journal.append(&story.take(), at_ms(1)).unwrap();
    }
    story.open_restore("c");
    journal.append(&story.take(), at_ms(2)).unwrap();
    let end = journal.position().0;
    let state = |by| {
        let opened = crate::opening::replayed_by(&journal, by).unwrap();
        assert_eq!((opened.at, opened.kept), (end, Seq::ZERO));
        checkpoint::encode(&opened.state, opened.at).unwrap()
    };
    assert!(state(Writing::Beside) == state(Writing::Inline));

    // An event that cannot follow ends both at the same place.
    journal.append(&History::new().take(), at_ms(3)).unwrap();
    let refused = |by| {
        crate::opening::replayed_by(&journal, by)
            .unwrap_err()
            .to_string()
    };
    assert_eq!(refused(Writing::Beside), refused(Writing::Inline));
}

/// A journal whose archiving waits until it may go on, or ends by a panic.
struct Waiting {
    inner: MemoryJournal<Event>,
    go: crossbeam::channel::Receiver<bool>,
}

impl Journal<Event> for Waiting {
    fn append(&self, events: &[Event], at_ms: u64) -> Result<holdfast_journal::Appended, Error> {
        self.inner.append(events, at_ms)
    }
    fn position(&self) -> (Seq, holdfast_journal::FrameHash) {
        self.inner.position()
    }
    fn first(&self) -> Seq {
        self.inner.first()
    }
    fn read(&self, from: Seq, visit: &mut holdfast_journal::Visit<'_, Event>) -> Result<(), Error> {
        self.inner.read(from, visit)
    }
    fn by_stream(
        &self,
        stream: StreamId,
        from: Seq,
        limit: usize,
    ) -> Result<Vec<Record<Event>>, Error> {
        self.inner.by_stream(stream, from, limit)
    }
    fn by_kind(
        &self,
        kind: holdfast_journal::Kind,
        from: Seq,
        limit: usize,
    ) -> Result<Vec<Record<Event>>, Error> {
        self.inner.by_kind(kind, from, limit)
    }
    fn checkpoint(&self, seq: Seq, projection: &str, state: &[u8]) -> Result<(), Error> {
        assert!(self.go.recv().unwrap(), "as asked");
        self.inner.checkpoint(seq, projection, state)
    }
    fn checkpoint_by(
        &self,
        projection: &str,
        through: Seq,
    ) -> Result<Option<holdfast_journal::Checkpoint>, Error> {
        self.inner.checkpoint_by(projection, through)
    }
    fn roll(&self) -> Result<(), Error> {
        self.inner.roll()
    }
    fn archive(&self, request: &ArchiveRequest<'_>) -> Result<Option<ArchiveInfo>, Error> {
        self.inner.archive(request)
    }
}

#[test]
fn nobody_looks_for_the_end_of_an_act_it_says_so_itself_even_where_it_ends_by_a_panic() {
    for good in [true, false] {
        let (send, go) = crossbeam::channel::bounded(1);
        let inner = MemoryJournal::new();
        fill(&inner, &history(4));
        let crate::opening::Opened { state, at, .. } = crate::opening::replayed(&inner).unwrap();
        let journal = Arc::new(Waiting { inner, go });
        let mut archivist = Archivist::new(journal as _, Writing::Beside);
        let bell = archivist.bell();
        let now = Now {
            wall_ms: at_ms(1_000_000),
            mono_ms: 1,
        };
        let asked = Asked::silent(Input::Archive(HistoryRequest::before(u64::MAX)));
        archivist.ask(HistoryRequest::before(u64::MAX), asked, now);
        archivist.begin(&state, at, now);
        assert_eq!(archivist.next_wake(now), None, "no tick");
        assert!(archivist.ended().is_none() && bell.try_recv().is_err());
        send.send(good).unwrap();
        bell.recv_timeout(Duration::from_secs(30)).unwrap();
        let ended = archivist.ended();
        assert_eq!(ended.is_some(), good);
        assert!(archivist.running.is_none(), "another may begin");
    }
}
