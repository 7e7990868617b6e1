//! What a journal takes on the disk over a long life: hourly backups of many databases, archived day by day. Log, index,
//! checkpoints and archives stay within bounds. The whole month with its table:
//! `cargo test --release -p holdfast-tests --test long_life -- --ignored --nocapture`.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use std::path::Path;
use std::time::{Duration, Instant};

use holdfast_engine::testing::History;
use holdfast_engine::{Event, HistoryRequest, Replay, archive_journal};
use holdfast_journal::{FileJournal, Journal, Options, Projection as _, ReadJournal};

const DAY_MS: u64 = 86_400_000;
const BEGIN_MS: u64 = 1_735_689_600_000;

/// What a folder takes, by what it is for.
#[derive(Clone, Copy, Debug, Default)]
struct Sizes {
    log: u64,
    index: u64,
    checkpoints: u64,
    archives: u64,
}

fn bytes_of(path: &Path) -> u64 {
    let found = std::fs::metadata(path).unwrap();
    if found.is_dir() {
        let entries = std::fs::read_dir(path).unwrap();
        return entries.map(|e| bytes_of(&e.unwrap().path())).sum();
    }
    found.len()
}

impl Sizes {
    fn of(folder: &Path) -> Self {
        let mut sizes = Self::default();
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            let part = match name.as_str() {
                "index" | "index.new" => &mut sizes.index,
                "archive" => &mut sizes.archives,
                name if name.ends_with(".log") => &mut sizes.log,
                name if name.ends_with(".checkpoint") => &mut sizes.checkpoints,
                _ => continue,
            };
            *part += bytes_of(&path);
        }
        sizes
    }
}

/// A life of backups.
#[derive(Clone, Copy)]
struct Life {
    days: u64,
    databases: u32,
    /// Days for which ended jobs are kept; `None` archives nothing.
    keep_days: Option<u64>,
}

/// Lives it in `folder`, one job an append, and tells the sizes at the end of each day.
fn live(folder: &Path, life: Life, tell: &mut dyn FnMut(u64, u64, Sizes)) -> Vec<Sizes> {
    let (journal, _) = FileJournal::<Event>::open(folder, Options::default()).unwrap();
    let mut history = History::new();
    let mut sizes = Vec::new();
    let mut jobs = 0_u32;
    for day in 0..life.days {
        for hour in 0..24 {
            let now_ms = BEGIN_MS + day * DAY_MS + hour * 3_600_000;
            for database in 0..life.databases {
                jobs += 1;
                let name = format!("database_{database}");
                match jobs % 50 {
                    0 => history.cancelled_backup(&name),
                    _ => history.backup(&name, 2),
                }
                journal.append(&history.take(), now_ms).unwrap();
            }
        }
        if let Some(keep) = life.keep_days {
            let now_ms = BEGIN_MS + (day + 1) * DAY_MS;
            let request = HistoryRequest::before(now_ms.saturating_sub(keep * DAY_MS));
            archive_journal(&journal, &request, now_ms).unwrap();
        }
        assert!(journal.wait_for_index(Duration::from_secs(300)));
        settle(folder);
        let now = Sizes::of(folder);
        tell(day + 1, journal.position().0.get(), now);
        sizes.push(now);
    }
    sizes
}

/// An index that is built anew for its size is in the place of the old one soon.
fn settle(folder: &Path) {
    let begun = Instant::now();
    loop {
        std::thread::sleep(Duration::from_millis(50));
        if !folder.join("index.new").exists() || begun.elapsed() > Duration::from_secs(60) {
            return;
        }
    }
}

/// That nothing was lost: archives and log are one history, and a checkpoint tells the same state.
fn check(folder: &Path, days: u64, life: Life) {
    let (journal, _) = ReadJournal::<Event>::open(folder).unwrap();
    let mut replay = Replay::new();
    journal.replay(&mut replay).unwrap();
    let jobs = replay.views().jobs.size() as u64;
    let each_day = 24 * u64::from(life.databases);
    let kept = life.keep_days.unwrap_or(days).min(days);
    assert!(
        jobs >= kept * each_day && jobs <= (kept + 1) * each_day,
        "{jobs} jobs"
    );
    if life.keep_days.is_some() {
        let found = journal
            .latest_checkpoint(Replay::CHECKPOINTS)
            .unwrap()
            .unwrap();
        let mut from = Replay::from_checkpoint(&found.state, found.seq).unwrap();
        journal.replay(&mut from).unwrap();
        assert_eq!(from.position(), replay.position());
        assert_eq!(from.to_checkpoint(), replay.to_checkpoint());
    }
}

#[test]
fn log_index_and_checkpoints_stay_bounded_while_days_go_by() {
    let life = Life {
        days: 12,
        databases: 4,
        keep_days: Some(2),
    };
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("journal");
    let sizes = live(&folder, life, &mut |_, _, _| {});
    let day = sizes[0].log;
    for (n, now) in sizes.iter().enumerate() {
        // The days that are kept, the day at hand and one that shares a segment with them.
        assert!(
            now.log <= (2 + 2) * day + day / 2,
            "day {n}: {now:?}, a day has {day}"
        );
        assert!(now.index <= 4 * now.log + (20 << 20), "day {n}: {now:?}");
    }
    let checkpoints = |n: usize| sizes[n].checkpoints;
    assert!(checkpoints(11) <= 2 * checkpoints(4), "{sizes:?}");
    let archived = sizes[11].archives - sizes[5].archives;
    assert!(
        archived < 6 * day / 3,
        "six days of {day} bytes became {archived}"
    );
    check(&folder, 12, life);
}

#[test]
#[ignore = "a month takes minutes"]
fn a_month_of_hourly_backups_of_twenty_databases() {
    for keep_days in [None, Some(7)] {
        let life = Life {
            days: 30,
            databases: 20,
            keep_days,
        };
        println!("\nkeep_days {keep_days:?}\nday events log index checkpoints archives");
        let root = tempfile::tempdir().unwrap();
        let folder = root.path().join("journal");
        live(&folder, life, &mut |day, events, s| {
            if day % 5 == 0 || day == 1 {
                let kib = |bytes: u64| bytes.div_ceil(1024);
                println!(
                    "{day} {events} {} {} {} {} KiB",
                    kib(s.log),
                    kib(s.index),
                    kib(s.checkpoints),
                    kib(s.archives)
                );
            }
        });
        check(&folder, 30, life);
    }
}
