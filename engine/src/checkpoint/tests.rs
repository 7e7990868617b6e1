//! Checkpoints through opening and through a whole engine: they save the replay and never change
//! what is seen.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use holdfast_broker::{Broker, MemoryBroker};
use holdfast_journal::{
    Appended, Checkpoint, Error, FileJournal, FrameHash, Kind, MemoryJournal, Projection as _,
    Record, StreamId, Visit,
};
use holdfast_storage::CatalogPosition;
use parking_lot::Mutex;

use super::*;
use crate::engine::{Engine, Parts};
use crate::opening::{Opened, open_state, replayed};
use crate::replay::Replay;
use crate::seams::Now;
use crate::spec::{BackupRequest, RepositoryAccess, RepositoryRequest, Selection};
use crate::testing::{History, MemoryStorage};

const NOW: Now = Now {
    wall_ms: 1_735_689_600_000,
    mono_ms: 0,
};
const PATIENCE: Duration = Duration::from_secs(30);

fn history() -> Vec<Event> {
    let mut history = History::new();
    history.backup("a", 2);
    history.cancelled_backup("a");
    history.open_restore("b");
    history.take()
}

fn journal_of(events: &[Event]) -> MemoryJournal<Event> {
    let journal = MemoryJournal::new();
    for event in events {
        journal
            .append(std::slice::from_ref(event), NOW.wall_ms)
            .unwrap();
    }
    journal
}

/// The state after the first `count` events.
fn state_after(events: &[Event], count: usize) -> State {
    let mut state = State::new();
    for event in &events[..count] {
        state.apply(NOW.wall_ms, event).unwrap();
    }
    state
}

fn at(count: usize) -> Seq {
    Seq(count as u64)
}

/// Everything in a state but what readers have seen of it.
fn told(mut state: State) -> String {
    state.changed.clear();
    state.repositories_changed = false;
    format!("{state:?}")
}

#[test]
fn the_bytes_of_a_version_are_frozen() {
    let events = history();
    let mut hasher = blake3::Hasher::new();
    for count in 0..=events.len() {
        hasher.update(&encode(&state_after(&events, count), at(count)).unwrap());
    }
    assert_eq!(
        (VERSION, hasher.finalize().to_hex().as_str()),
        (
            1,
            "471dc212c3dabb0b0d04ce2bdadcf998ae51f912e39dde4f64a41bb0ee727fc6"
        ),
        "a state has another form or events make another: raise VERSION, put the hash here"
    );
}

#[test]
fn opening_replays_only_what_follows_the_checkpoint() {
    let events = history();
    for count in 1..=events.len() {
        let journal = journal_of(&events);
        let bytes = encode(&state_after(&events, count), at(count)).unwrap();
        journal.checkpoint(at(count), PROJECTION, &bytes).unwrap();
        let opened = replayed(&journal).unwrap();
        assert_eq!((opened.kept, opened.at), (at(count), at(events.len())));
        assert_eq!(
            told(opened.state),
            told(state_after(&events, events.len())),
            "checkpoint at {count}"
        );
    }
}

#[test]
fn a_clone_keeps_what_the_state_was() {
    let events = history();
    let end = told(state_after(&events, events.len()));
    for count in 0..events.len() {
        let mut state = state_after(&events, count);
        let (kept, before) = (state.clone(), told(state.clone()));
        for event in &events[count..] {
            state.apply(NOW.wall_ms, event).unwrap();
        }
        assert_eq!(told(kept), before, "clone at {count}");
        assert_eq!(told(state), end);
    }
}

/// What opening makes of a journal whose only checkpoint, at `count`, has these bytes.
fn open_with(events: &[Event], count: usize, bytes: &[u8]) -> Opened {
    let journal = journal_of(events);
    journal.checkpoint(at(count), PROJECTION, bytes).unwrap();
    open_state(&journal, CatalogPosition(0), "cluster".to_owned(), NOW).unwrap()
}

#[test]
fn what_is_no_state_of_this_version_is_passed_over() {
    let events = history();
    let count = events.len() - 5;
    let good = encode(&state_after(&events, count), at(count)).unwrap();
    assert_eq!(open_with(&events, count, &good).kept, at(count));
    let expected = told(open_with(&events, count, &[]).state);

    let with = |place: usize, byte: u8| {
        let mut bytes = good.clone();
        bytes[place] = byte;
        bytes
    };
    let longer = [good.as_slice(), &[0]].concat();
    let elsewhere = encode(&state_after(&events, count - 1), at(count - 1)).unwrap();
    for (why, bytes) in [
        ("newer version", with(8, 2)),
        ("older version", with(8, 0)),
        ("another magic", with(0, b'X')),
        ("too long", longer),
        ("of another event", elsewhere),
        ("cut in its header", good[..10].to_vec()),
    ] {
        let opened = open_with(&events, count, &bytes);
        assert_eq!(opened.kept, Seq::ZERO, "{why}");
        assert_eq!(told(opened.state), expected, "{why}");
    }
    for cut in HEADER_BYTES..good.len() {
        assert!(decode(&good[..cut], at(count)).is_err(), "cut at {cut}");
    }
}

#[test]
fn a_state_that_the_next_events_contradict_is_passed_over() {
    let events = history();
    let count = events.len() - 5;
    // A whole state in every respect, but an older one under the wrong place.
    let wrong = encode(&state_after(&events, count - 3), at(count)).unwrap();
    let opened = open_with(&events, count, &wrong);
    assert_eq!(opened.kept, Seq::ZERO);
    let expected = open_with(&events, count, &[]).state;
    assert_eq!(told(opened.state), told(expected));
}

#[test]
fn where_the_newest_cannot_be_used_the_one_before_is() {
    let events = history();
    let (before, count) = (events.len() - 8, events.len() - 5);
    let good = encode(&state_after(&events, before), at(before)).unwrap();
    let mut newer = encode(&state_after(&events, count), at(count)).unwrap();
    newer[8] += 1;
    let elsewhere = encode(&state_after(&events, count - 3), at(count)).unwrap();
    let unsound = encode(&unsound(&events, count), at(count)).unwrap();
    let cases = [
        ("of another version", newer),
        ("unsound", unsound),
        ("contradicted by what follows", elsewhere),
        ("no state", Vec::new()),
    ];
    for (why, bytes) in cases {
        let journal = journal_of(&events);
        journal.checkpoint(at(before), PROJECTION, &good).unwrap();
        journal.checkpoint(at(count), PROJECTION, &bytes).unwrap();
        let opened = replayed(&journal).unwrap();
        assert_eq!(opened.kept, at(before), "{why}");
        let expected = told(state_after(&events, events.len()));
        assert_eq!(told(opened.state), expected, "{why}");
    }
}

/// A state that holds an id which it says was never given.
fn unsound(events: &[Event], count: usize) -> State {
    let mut state = state_after(events, count);
    state.next_id = 1;
    state
}

#[test]
fn a_state_that_could_not_be_read_again_is_not_kept() {
    let events = history();
    let journal = journal_of(&events);
    let (before, count) = (events.len() - 8, events.len() - 5);
    keep(&journal, &state_after(&events, before), at(before));
    keep(&journal, &unsound(&events, count), at(count));
    let kept = journal.latest_checkpoint(PROJECTION).unwrap().unwrap();
    assert_eq!(kept.seq, at(before));
}

#[test]
fn an_earlier_state_is_told_from_the_checkpoint_before_it() {
    let events = history();
    let journal = journal_of(&events);
    let (before, count) = (4, events.len() - 2);
    for kept in [before, count] {
        keep(&journal, &state_after(&events, kept), at(kept));
    }
    journal.roll().unwrap();
    for seq in before..=events.len() {
        let mut replay = Replay::at(&journal, at(seq)).unwrap();
        let mut whole = Replay::after(state_after(&events, seq), at(seq));
        let told = |replay: &mut Replay| format!("{:?}", replay.views());
        assert_eq!(told(&mut replay), told(&mut whole), "event {seq}");
    }
}

#[test]
fn bytes_that_are_no_state_never_panic() {
    let events = history();
    let good = encode(&state_after(&events, events.len()), at(events.len())).unwrap();
    for place in HEADER_BYTES..good.len() {
        for flip in [0x01, 0x80, 0xff] {
            let mut bytes = good.clone();
            bytes[place] ^= flip;
            if let Ok(state) = decode(&bytes, at(events.len())) {
                // Whatever passes can be shown, and takes or refuses events.
                for (_, job) in state.jobs.iter() {
                    let _ = job.view();
                }
                let mut state = state;
                for event in &events {
                    let _ = state.apply(NOW.wall_ms, event);
                }
            }
        }
    }
}

/// A journal that tells from where it was read, and whose checkpoints can be held up or failed.
struct Watched {
    inner: FileJournal<Event>,
    read_from: Mutex<Vec<Seq>>,
    hold: AtomicBool,
    fail: AtomicBool,
    asked: Mutex<Vec<Seq>>,
}

impl Watched {
    fn open(folder: &Path) -> Arc<Self> {
        let (inner, _) = FileJournal::open(folder, holdfast_journal::Options::default()).unwrap();
        Arc::new(Self {
            inner,
            read_from: Mutex::default(),
            hold: AtomicBool::new(false),
            fail: AtomicBool::new(false),
            asked: Mutex::default(),
        })
    }

    fn kept(&self) -> Option<Seq> {
        let found = self.inner.latest_checkpoint(PROJECTION).unwrap();
        found.map(|checkpoint| checkpoint.seq)
    }
}

impl Journal<Event> for Watched {
    fn append(&self, events: &[Event], at_ms: u64) -> Result<Appended, Error> {
        self.inner.append(events, at_ms)
    }
    fn position(&self) -> (Seq, FrameHash) {
        self.inner.position()
    }
    fn first(&self) -> Seq {
        self.inner.first()
    }
    fn read(&self, from: Seq, visit: &mut Visit<'_, Event>) -> Result<(), Error> {
        self.read_from.lock().push(from);
        self.inner.read(from, visit)
    }
    fn history(&self, from: Seq, visit: &mut Visit<'_, Event>) -> Result<(), Error> {
        self.read_from.lock().push(from);
        self.inner.history(from, visit)
    }
    fn by_stream(
        &self,
        stream: StreamId,
        from: Seq,
        limit: usize,
    ) -> Result<Vec<Record<Event>>, Error> {
        self.inner.by_stream(stream, from, limit)
    }
    fn by_kind(&self, kind: Kind, from: Seq, limit: usize) -> Result<Vec<Record<Event>>, Error> {
        self.inner.by_kind(kind, from, limit)
    }
    fn checkpoint(&self, seq: Seq, projection: &str, state: &[u8]) -> Result<(), Error> {
        self.asked.lock().push(seq);
        while self.hold.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        if self.fail.load(Ordering::SeqCst) {
            return Err(Error::rejected("injected"));
        }
        self.inner.checkpoint(seq, projection, state)
    }
    fn checkpoint_by(&self, projection: &str, through: Seq) -> Result<Option<Checkpoint>, Error> {
        self.inner.checkpoint_by(projection, through)
    }
}

/// A node whose storage, work files and remote outlive its engine.
struct Site {
    folder: tempfile::TempDir,
    storage: MemoryStorage,
    remote: MemoryBroker,
    work: MemoryBroker,
}

impl Site {
    fn new() -> Self {
        let storage = MemoryStorage::new(2);
        storage
            .load("db", "t", "p", &[("f1", b"one"), ("f2", b"two")])
            .unwrap();
        Self {
            folder: tempfile::tempdir().unwrap(),
            storage,
            remote: MemoryBroker::new(),
            work: MemoryBroker::new(),
        }
    }

    fn open(&self, checkpoint_events: u64) -> (Engine, Arc<Watched>) {
        let journal = Watched::open(self.folder.path());
        let remote = self.remote.clone();
        let brokers =
            move |_: &str| -> Result<Arc<dyn Broker>, String> { Ok(Arc::new(remote.clone())) };
        let mut parts = Parts::new(
            Arc::clone(&journal) as Arc<dyn Journal<Event>>,
            Arc::new(self.storage.clone()),
            Arc::new(self.work.clone()),
            Arc::new(brokers),
        );
        parts.options.checkpoint_events = checkpoint_events;
        (Engine::open(parts).unwrap(), journal)
    }

    /// The first opening, with a repository and a finished backup.
    fn begin(&self, checkpoint_events: u64) -> (Engine, Arc<Watched>) {
        let (engine, journal) = self.open(checkpoint_events);
        create_repository(&engine);
        backup(&engine, &journal, "s1");
        (engine, journal)
    }

    fn checkpoint_files(&self) -> Vec<PathBuf> {
        let mut found: Vec<PathBuf> = std::fs::read_dir(self.folder.path())
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|e| e == "checkpoint"))
            .collect();
        found.sort();
        found
    }
}

fn create_repository(engine: &Engine) {
    let request = RepositoryRequest {
        name: "repo".to_owned(),
        broker: None,
        location: "memory://".to_owned(),
        access: RepositoryAccess::ReadWrite,
        properties: std::collections::BTreeMap::new(),
    };
    engine.create_repository(&request).unwrap();
}

/// Backs up and waits until nothing of the job is left to do.
fn backup(engine: &Engine, journal: &Watched, label: &str) {
    let request = BackupRequest {
        database: "db".to_owned(),
        label: label.to_owned(),
        repository: "repo".to_owned(),
        selection: Selection::All,
        timeout_seconds: None,
    };
    let job = engine.backup(&request).unwrap();
    let view = engine.wait(job, PATIENCE).unwrap();
    assert_eq!(view.state_name(), "FINISHED", "{view:?}");
    until("the release", || {
        let events = journal.by_stream(StreamId(job.0), Seq::FIRST, usize::MAX);
        let last = events.unwrap().pop().unwrap().event;
        matches!(last, Event::JobReleased(_))
    });
}

fn shown(engine: &Engine) -> String {
    format!("{:?}", engine.views())
}

fn until(what: &str, done: impl Fn() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < PATIENCE, "{what} does not come");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[test]
fn a_closed_engine_opens_without_replaying_and_shows_the_same() {
    let site = Site::new();
    let (engine, journal) = site.begin(50_000);
    assert_eq!(journal.kept(), None, "none before the time");
    engine.close();
    let (before, end) = (shown(&engine), journal.position().0);
    assert_eq!(journal.kept(), Some(end));
    drop((engine, journal));

    let (engine, journal) = site.open(50_000);
    assert_eq!(*journal.read_from.lock(), [end.next()]);
    assert_eq!(shown(&engine), before);
    backup(&engine, &journal, "s2");
    drop((engine, journal));

    for file in site.checkpoint_files() {
        std::fs::remove_file(file).unwrap();
    }
    let (whole, journal) = site.open(50_000);
    assert_eq!(*journal.read_from.lock(), [Seq::FIRST]);
    assert_eq!(whole.views().jobs.size(), 2);
    assert!(shown(&whole).contains("s1") && shown(&whole).contains("s2"));
}

#[test]
fn a_damaged_checkpoint_is_passed_over_and_the_views_are_equal() {
    let site = Site::new();
    let (engine, journal) = site.begin(50_000);
    engine.close();
    let before = shown(&engine);
    drop((engine, journal));
    let files = site.checkpoint_files();
    assert_eq!(files.len(), 1);
    let good = std::fs::read(&files[0]).unwrap();
    let mut bad = good.clone();
    *bad.last_mut().unwrap() ^= 1;
    std::fs::write(&files[0], bad).unwrap();
    let (engine, journal) = site.open(50_000);
    assert_eq!(*journal.read_from.lock(), [Seq::FIRST]);
    assert_eq!(shown(&engine), before);
}

#[test]
fn an_engine_that_dies_goes_on_from_the_checkpoint_before() {
    let site = Site::new();
    let (engine, journal) = site.begin(10);
    until("a checkpoint of an open engine", || {
        journal.kept().is_some()
    });
    // What comes now is not in any checkpoint, as after a kill.
    journal.fail.store(true, Ordering::SeqCst);
    backup(&engine, &journal, "s2");
    engine.close();
    let (before, kept) = (shown(&engine), journal.kept().unwrap());
    assert!(kept < journal.position().0);
    drop((engine, journal));

    let (engine, journal) = site.open(10);
    assert_eq!(*journal.read_from.lock(), [kept.next()]);
    assert_eq!(shown(&engine), before);
}

#[test]
fn jobs_go_on_while_a_checkpoint_is_being_written_and_there_is_only_one() {
    let site = Site::new();
    let (engine, journal) = site.open(20);
    journal.hold.store(true, Ordering::SeqCst);
    create_repository(&engine);
    for label in ["s1", "s2", "s3"] {
        backup(&engine, &journal, label);
    }
    assert!(journal.position().0 > Seq(60));
    assert_eq!(journal.asked.lock().len(), 1, "{:?}", journal.asked.lock());
    journal.hold.store(false, Ordering::SeqCst);
    engine.close();
    assert_eq!(journal.kept(), Some(journal.position().0));
}

#[test]
fn zero_events_mean_no_checkpoint_at_all() {
    let site = Site::new();
    let (engine, journal) = site.begin(0);
    engine.close();
    assert_eq!(journal.kept(), None);
    assert!(journal.asked.lock().is_empty());
}

#[test]
fn a_tools_replay_from_a_checkpoint_ends_as_one_from_the_first_event() {
    let events = history();
    let record = |count: usize| Record {
        seq: at(count),
        at_ms: NOW.wall_ms,
        stream: StreamId::OWNER,
        kind: Kind(0),
        hash: FrameHash::genesis(0),
        event: events[count - 1].clone(),
    };
    let mut whole = Replay::new();
    let mut begun: Vec<Replay> = Vec::new();
    for count in 1..=events.len() {
        whole.apply(&record(count)).unwrap();
        let kept = whole.to_checkpoint().unwrap();
        for replay in &mut begun {
            replay.apply(&record(count)).unwrap();
        }
        begun.push(Replay::from_checkpoint(&kept, at(count)).unwrap());
        for replay in &mut begun {
            assert_eq!(replay.to_checkpoint().unwrap(), kept);
            assert_eq!(
                format!("{:?}", replay.views()),
                format!("{:?}", whole.views())
            );
        }
    }
}

#[test]
fn a_checkpoint_of_another_version_is_told_from_one_that_is_unsound() {
    let good = encode(&State::new(), at(0)).unwrap();
    let mut other = good.clone();
    other[8] += 1;
    let expected = CheckpointError::OtherVersion {
        found: VERSION + 1,
        expected: VERSION,
    };
    assert_eq!(Replay::from_checkpoint(&other, at(0)).err(), Some(expected));
    assert!(matches!(
        Replay::from_checkpoint(&good, at(1)).err(),
        Some(CheckpointError::Unsound(_))
    ));
}
