//! Journals of earlier releases, replayed by the code of today: same chain, same records, same views, and an engine
//! that opens on them. `tests/golden/README.md` says how one is made.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use holdfast_broker::{Broker, MemoryBroker};
use holdfast_engine::testing::{CallKind, MemoryStorage};
use holdfast_engine::{
    BackupRequest, CheckpointError, Engine, Event, HistoryRequest, JobId, JobKind, JobView, Parts,
    Replay, RepositoryRequest, Views,
};
use holdfast_journal::{
    Event as _, FileJournal, Index, Options, Projection as _, ReadJournal, Seq,
};
use holdfast_storage::ErrorKind;
use holdfast_tests::place::copy_tree;
use holdfast_tests::restore;

/// Every release whose journals are kept.
const RELEASES: &[&str] = &["0.1"];
const RECORD: &str = "HOLDFAST_RECORD_GOLDEN";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

fn open(folder: &Path) -> Arc<FileJournal<Event>> {
    let options = Options::default()
        .index(Index::None)
        .reserve_bytes(0)
        .segment_bytes(24_000);
    Arc::new(FileJournal::open(folder, options).unwrap().0)
}

/// Tables and a remote that outlive their engines.
struct World {
    folder: PathBuf,
    tables: MemoryStorage,
    remote: MemoryBroker,
    work: MemoryBroker,
}

impl World {
    fn engine(&self) -> Engine {
        let remote = self.remote.clone();
        let brokers =
            move |_: &str| -> Result<Arc<dyn Broker>, String> { Ok(Arc::new(remote.clone())) };
        let tables = Arc::new(self.tables.clone());
        let work = Arc::new(self.work.clone());
        let parts = Parts::new(open(&self.folder), tables, work, Arc::new(brokers));
        Engine::open(parts).unwrap()
    }
}

fn ended(engine: &Engine, job: JobId) -> Arc<JobView> {
    let view = engine.wait(job, Duration::from_secs(60)).unwrap();
    assert!(view.has_ended(), "{view:?}");
    view
}

fn until(mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(60), "it never came");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn backup(engine: &Engine, label: &str) -> Arc<JobView> {
    let request = BackupRequest::new("db", label, "repo");
    ended(engine, engine.backup(&request).unwrap())
}

/// Begins a backup whose links wait until the flag is set, and returns when one waits.
fn hanging(world: &World, engine: &Engine, label: &str) -> (JobId, Arc<AtomicBool>) {
    let go = Arc::new(AtomicBool::new(false));
    let reached = Arc::new(AtomicBool::new(false));
    let (wait, here) = (Arc::clone(&go), Arc::clone(&reached));
    world.tables.set_hook(move |call| {
        if call.kind == CallKind::Link {
            here.store(true, Ordering::SeqCst);
            while !wait.load(Ordering::SeqCst) {
                std::thread::sleep(Duration::from_millis(2));
            }
        }
        Ok(())
    });
    let job = engine
        .backup(&BackupRequest::new("db", label, "repo"))
        .unwrap();
    until(|| reached.load(Ordering::SeqCst));
    (job, go)
}

fn restored(engine: &Engine, label: &str, failing: bool) {
    let opened = engine.repository("repo").unwrap();
    let labels = opened.labels(&holdfast_broker::Context::new()).unwrap();
    let entry = labels
        .into_iter()
        .find(|entry| entry.label == label)
        .unwrap();
    let mut request = restore(label, &entry.snapshots[0].timestamp);
    request.database = "copy".to_owned();
    let view = ended(engine, engine.restore(&request).unwrap());
    let state = if failing { "CANCELLED" } else { "FINISHED" };
    assert_eq!(view.state_name(), state, "{view:?}");
}

/// Everything that can happen to a job.
fn live(world: &World) {
    let engine = world.engine();
    for name in ["repo", "old"] {
        engine
            .create_repository(&RepositoryRequest::new(name, &format!("memory://{name}")))
            .unwrap();
    }
    engine.drop_repository("old").unwrap();
    assert!(backup(&engine, "monday").is_finished());
    world.tables.create_database("copy");
    restored(&engine, "monday", false);
    world.tables.fail_next(CallKind::Link, 1, ErrorKind::Io);
    assert!(backup(&engine, "failed_once").is_finished());
    world
        .tables
        .fail_next(CallKind::Link, 1, ErrorKind::PinLost);
    assert!(backup(&engine, "pinned_twice").is_finished());
    world.tables.fail_next(CallKind::Commit, 1, ErrorKind::Io);
    restored(&engine, "pinned_twice", false);
    world
        .tables
        .fail_next(CallKind::CreateTargets, 1, ErrorKind::Invalid);
    restored(&engine, "monday", true);

    let (job, go) = hanging(world, &engine, "cancelled");
    engine.cancel(JobKind::Backup, "db").unwrap();
    go.store(true, Ordering::SeqCst);
    assert_eq!(ended(&engine, job).state_name(), "CANCELLED");
    world.tables.clear_hook();
    let (job, go) = hanging(world, &engine, "fenced");
    engine.cancel(JobKind::Backup, "db").unwrap();
    assert_eq!(ended(&engine, job).state_name(), "CANCELLED");
    go.store(true, Ordering::SeqCst);
    world.tables.clear_hook();

    let (job, go) = hanging(world, &engine, "interrupted");
    let closing = std::thread::spawn(move || engine.close());
    std::thread::sleep(Duration::from_millis(100));
    go.store(true, Ordering::SeqCst);
    closing.join().unwrap();
    world.tables.clear_hook();
    let engine = world.engine();
    assert!(ended(&engine, job).is_finished());
    let released = |view: &JobView| view.common().finished_ms.is_some();
    until(|| engine.views().jobs.values().all(|view| released(view)));
    std::thread::sleep(Duration::from_millis(500));
    engine.close();
}

fn records(journal: &ReadJournal<Event>) -> Vec<String> {
    let mut lines = Vec::new();
    let mut visit = |record: holdfast_journal::Record<Event>| {
        lines.push(serde_json::to_string(&record).unwrap());
        Ok(())
    };
    journal.history(Seq::FIRST, &mut visit).unwrap();
    lines
}

/// The views in words of this test, which no change of another output touches.
fn shown(views: &Views) -> String {
    let mut text = String::new();
    for (name, record) in &views.repositories {
        writeln!(
            text,
            "repository {name} {} at {}",
            record.id, record.location
        )
        .unwrap();
    }
    for (id, view) in views.jobs.iter() {
        let c = view.common();
        writeln!(
            text,
            "job {id} {:?} {} of {} in {} {} {} {:?} created {} snapshot {:?} transfer {:?} finished {:?} \
             tablets {} files {} bytes {} moved {} in {} reused {} tasks {}/{} elapsed {} opening {}",
            view.kind(),
            c.label,
            c.database,
            c.repository,
            view.state_name(),
            c.status.code.name(),
            c.status.message,
            c.created_ms,
            c.snapshot_finished_ms,
            c.transfer_finished_ms,
            c.finished_ms,
            c.tablets,
            c.files,
            c.total_bytes,
            c.moved_bytes,
            c.moved_objects,
            c.reused_bytes,
            c.tasks_done,
            c.tasks_total,
            c.elapsed_ms,
            c.epoch
        )
        .unwrap();
    }
    text
}

/// What is expected of a journal: its end, its records, its views.
fn expected(folder: &Path) -> (String, Vec<String>, String) {
    let (journal, _) = ReadJournal::<Event>::open(folder).unwrap();
    let (seq, hash) = journal.position();
    let mut replay = Replay::new();
    journal.replay(&mut replay).unwrap();
    (
        format!("{seq} {hash}\n"),
        records(&journal),
        shown(&replay.views()),
    )
}

#[test]
fn record_when_asked_to() {
    let Some(target) = std::env::var_os(RECORD) else {
        return;
    };
    let target = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(target);
    let place = tempfile::tempdir().unwrap();
    let world = World {
        folder: place.path().join("journal"),
        tables: MemoryStorage::new(2),
        remote: MemoryBroker::new(),
        work: MemoryBroker::new(),
    };
    let files: Vec<(String, Vec<u8>)> =
        (0..3_u8).map(|n| (format!("f{n}"), vec![n; 300])).collect();
    let files: Vec<(&str, &[u8])> = files
        .iter()
        .map(|(n, b)| (n.as_str(), b.as_slice()))
        .collect();
    world.tables.load("db", "orders", "p", &files).unwrap();
    live(&world);
    for (name, archive) in [("lived", false), ("archived", true)] {
        if archive {
            let engine = world.engine();
            let done = engine.archive(&HistoryRequest {
                ended_before_ms: u64::MAX,
                keep_last: 3,
            });
            assert!(done.unwrap().archive.is_some(), "a segment must have left");
            assert!(backup(&engine, "after").is_finished());
            engine.close();
        }
        fs::create_dir_all(target.join("expected")).unwrap();
        copy_tree(&world.folder, &target.join(name), &|_| false);
        let _ = fs::remove_file(target.join(name).join("lock"));
        let (end, records, views) = expected(&world.folder);
        let write = |part: &str, text: &str| {
            fs::write(target.join(format!("expected/{name}.{part}")), text).unwrap();
        };
        write("end", &end);
        write("records", &(records.join("\n") + "\n"));
        write("views", &views);
    }
}

fn each(mut check: impl FnMut(&str, &Path, &dyn Fn(&str) -> String)) {
    for release in RELEASES {
        for name in ["lived", "archived"] {
            let kept = golden().join(release);
            let place = tempfile::tempdir().unwrap();
            let folder = place.path().join("journal");
            copy_tree(&kept.join(name), &folder, &|_| false);
            let read = |part: &str| {
                let path = kept.join(format!("expected/{name}.{part}"));
                fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
            };
            check(&format!("{release}/{name}"), &folder, &read);
        }
    }
}

#[test]
fn journals_of_every_release_have_the_same_chain_records_and_views_today() {
    each(|what, folder, read| {
        let (end, records, views) = expected(folder);
        assert_eq!(end, read("end"), "{what}: chain");
        let text = read("records");
        assert_eq!(records.len(), text.lines().count(), "{what}");
        for (now, then) in records.iter().zip(text.lines()) {
            assert_eq!(now, then, "{what}");
        }
        assert_eq!(views, read("views"), "{what}: views");
        ReadJournal::<Event>::open(folder)
            .unwrap()
            .0
            .verify_archives()
            .unwrap();
    });
}

#[test]
fn checkpoints_of_every_release_are_whole_and_are_read_or_passed_over_for_the_events() {
    each(|what, folder, read| {
        let (journal, _) = ReadJournal::<Event>::open(folder).unwrap();
        let kept = journal.latest_checkpoint(Replay::CHECKPOINTS).unwrap();
        let kept = kept.unwrap_or_else(|| panic!("{what}: no checkpoint"));
        let mut replay = Replay::new();
        journal.replay(&mut replay).unwrap();
        match Replay::from_checkpoint(&kept.state, kept.seq) {
            Ok(mut from) => {
                journal.replay(&mut from).unwrap();
                assert_eq!(from.position(), replay.position());
                assert_eq!(shown(&from.views()), read("views"), "{what}");
                assert_eq!(from.to_checkpoint(), replay.to_checkpoint(), "{what}");
            }
            // A later version makes other states, and replays the events instead.
            Err(CheckpointError::OtherVersion { .. }) => {}
            Err(unsound) => panic!("{what}: {unsound}"),
        }
    });
}

#[test]
fn an_engine_of_today_opens_on_journals_of_every_release() {
    each(|what, folder, read| {
        let world = World {
            folder: folder.to_owned(),
            tables: catalog_of(folder),
            remote: MemoryBroker::new(),
            work: MemoryBroker::new(),
        };
        let engine = world.engine();
        assert_eq!(shown(&engine.views()), read("views"), "{what}");
        engine.close();
    });
}

/// Tables whose catalog is as far as the journal has seen it.
fn catalog_of(folder: &Path) -> MemoryStorage {
    let (journal, _) = ReadJournal::<Event>::open(folder).unwrap();
    let mut seen = 0;
    let mut visit = |record: holdfast_journal::Record<Event>| {
        if let Event::EngineStarted(e) = &record.event {
            seen = seen.max(e.catalog);
        }
        Ok(())
    };
    journal.history(Seq::FIRST, &mut visit).unwrap();
    let tables = MemoryStorage::new(2);
    (0..=seen).for_each(|n| tables.create_database(&format!("d{n}")));
    tables
}

#[test]
fn every_kind_of_event_is_in_a_golden_journal() {
    let mut covered = BTreeSet::new();
    each(|_, folder, _| {
        let (journal, _) = ReadJournal::<Event>::open(folder).unwrap();
        let mut visit = |record: holdfast_journal::Record<Event>| {
            covered.insert(record.kind.get());
            Ok(())
        };
        journal.history(Seq::FIRST, &mut visit).unwrap();
    });
    let missing: Vec<_> = Event::kinds()
        .iter()
        .filter(|(number, _)| !covered.contains(number))
        .collect();
    assert!(
        missing.is_empty(),
        "no golden journal has {missing:?}; record new ones, see tests/golden/README.md"
    );
}
