//! Durable appends: the journal as it is, the same frames by plain write and `fdatasync` in the
//! same batches, and sled alone with the same payloads.
//!
//! The journal's disk is watched, so that the floor writes exactly what the journal wrote and syncs
//! exactly where it synced; both files are compared byte by byte afterwards.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdfast_engine::Event;
use holdfast_engine::event::TaskFinished;
use holdfast_journal::{Event as _, FileJournal, Index, Journal, Options, Seq};

use crate::watched::{Step, Watch, WatchedDisk};

/// How many append at the same time, and how many events each of their appends has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Events in one append.
    pub batch: usize,
    /// Threads that append.
    pub callers: usize,
}

/// All cases.
pub const CASES: [Case; 6] = [
    Case {
        batch: 1,
        callers: 1,
    },
    Case {
        batch: 32,
        callers: 1,
    },
    Case {
        batch: 1024,
        callers: 1,
    },
    Case {
        batch: 1,
        callers: 64,
    },
    Case {
        batch: 32,
        callers: 64,
    },
    Case {
        batch: 1024,
        callers: 64,
    },
];

/// What one round took.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Events appended by each contender.
    pub events: u64,
    /// Syncs that made them durable, of journal and floor alike.
    pub syncs: u64,
    /// The journal with its index, as an engine opens it.
    pub journal: Duration,
    /// The journal without an index.
    pub bare: Duration,
    /// The same frames in the same batches by plain write and `fdatasync`.
    pub floor: Duration,
    /// sled alone: each append applied as a batch and flushed.
    pub sled: Duration,
}

/// Runs all contenders once, each in a fresh folder below `below`; each caller appends `appends`
/// times.
pub fn round(below: &Path, case: Case, appends: usize) -> Round {
    let folder = tempfile::tempdir_in(below).unwrap();
    let batches = batches(case, appends);
    let expected = digest(batches.iter().flatten());
    let (bare, _) = journal(
        &folder.path().join("bare"),
        Index::None,
        case,
        &batches,
        expected,
    );
    let (journal, steps) = journal(
        &folder.path().join("journal"),
        Index::Sled,
        case,
        &batches,
        expected,
    );
    let floor = floor(
        &folder.path().join("journal"),
        &folder.path().join("floor"),
        &steps,
    );
    let sled = sled(&folder.path().join("sled"), case, &batches, expected);
    Round {
        events: batches.iter().map(|batch| batch.len() as u64).sum(),
        syncs: steps
            .iter()
            .filter(|step| matches!(step, Step::Sync))
            .count() as u64,
        journal,
        bare,
        floor,
        sled,
    }
}

/// One append for each caller and turn.
fn batches(case: Case, appends: usize) -> Vec<Vec<Event>> {
    let mut task = 0;
    let mut event = || {
        task += 1;
        Event::from(TaskFinished {
            job: 1 + task % 7,
            task,
            attempt: 1,
            bytes: task * 4096,
            objects: 1,
            reused_bytes: 0,
            mono_ms: task,
        })
    };
    let count = appends * case.callers;
    (0..count)
        .map(|_| (0..case.batch).map(|_| event()).collect())
        .collect()
}

fn payload(event: &Event) -> Vec<u8> {
    let mut bytes = Vec::new();
    event.encode(&mut bytes).unwrap();
    bytes
}

/// Count and sum over all payloads, whatever their order.
fn digest<'a>(events: impl Iterator<Item = &'a Event>) -> (u64, u64) {
    events.fold((0, 0), |(count, sum), event| {
        (count + 1, sum + mark(&payload(event)))
    })
}

fn mark(payload: &[u8]) -> u64 {
    u64::from(crc32c::crc32c(payload))
}

/// Calls `append` for each batch on `callers` threads that start together; the time from the start
/// to the last answer.
fn drive(case: Case, batches: &[Vec<Event>], append: impl Fn(&[Event]) + Sync) -> Duration {
    let start = std::sync::Barrier::new(case.callers + 1);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..case.callers)
            .map(|caller| {
                let (start, append) = (&start, &append);
                scope.spawn(move || {
                    start.wait();
                    for batch in batches.iter().skip(caller).step_by(case.callers) {
                        append(batch);
                    }
                })
            })
            .collect();
        start.wait();
        let begun = Instant::now();
        for thread in threads {
            thread.join().unwrap();
        }
        begun.elapsed()
    })
}

fn journal(
    folder: &Path,
    index: Index,
    case: Case,
    batches: &[Vec<Event>],
    expected: (u64, u64),
) -> (Duration, Vec<Step>) {
    let watch = Arc::new(Watch::default());
    let disk = WatchedDisk::create(folder, &watch);
    let options = Options::default().index(index).segment_bytes(u64::MAX >> 1);
    let (journal, _) = FileJournal::<Event>::open_on(Arc::new(disk), options).unwrap();
    watch.begin();
    let took = drive(case, batches, |batch| {
        journal.append(batch, 1_700_000_000_000).unwrap();
    });
    let steps = watch.end();
    let mut found = (0, 0);
    journal
        .read(Seq::FIRST, &mut |record| {
            found = (found.0 + 1, found.1 + mark(&payload(&record.event)));
            Ok(())
        })
        .unwrap();
    assert_eq!(found, expected, "the journal holds what was appended");
    (took, steps)
}

/// Writes what the log holds again, in the same pieces; then compares.
fn floor(journal: &Path, folder: &Path, steps: &[Step]) -> Duration {
    use std::os::unix::fs::FileExt as _;
    std::fs::create_dir(folder).unwrap();
    let mut names = std::fs::read_dir(journal)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    let log = names
        .find(|path| path.extension().is_some_and(|e| e == "log"))
        .unwrap();
    let log = std::fs::read(log).unwrap();
    let first = steps
        .iter()
        .find_map(|step| match step {
            Step::Write { at, .. } => Some(*at),
            Step::Sync => None,
        })
        .unwrap();
    let path = folder.join("log");
    let file = std::fs::File::create_new(&path).unwrap();
    file.write_all_at(&log[..usize::try_from(first).unwrap()], 0)
        .unwrap();
    file.sync_all().unwrap();
    let begun = Instant::now();
    for step in steps {
        match step {
            Step::Write { at, len } => {
                let start = usize::try_from(*at).unwrap();
                file.write_all_at(&log[start..start + len], *at).unwrap();
            }
            Step::Sync => file.sync_data().unwrap(),
        }
    }
    let took = begun.elapsed();
    assert!(
        std::fs::read(&path).unwrap() == log,
        "the floor wrote what the journal wrote"
    );
    took
}

fn sled(folder: &Path, case: Case, batches: &[Vec<Event>], expected: (u64, u64)) -> Duration {
    let tree = sled::Config::new()
        .path(folder)
        .flush_every_ms(None)
        .open()
        .unwrap();
    let next = AtomicU64::new(1);
    let took = drive(case, batches, |events| {
        let mut batch = sled::Batch::default();
        for event in events {
            let key = next.fetch_add(1, Ordering::Relaxed).to_be_bytes();
            batch.insert(&key, payload(event));
        }
        tree.apply_batch(batch).unwrap();
        tree.flush().unwrap();
    });
    let found = tree.iter().fold((0, 0), |(count, sum), entry| {
        (count + 1, sum + mark(&entry.unwrap().1))
    });
    assert_eq!(found, expected, "sled holds what was appended");
    took
}
