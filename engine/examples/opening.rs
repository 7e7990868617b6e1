//! How long an engine takes to open on a long journal, with a checkpoint and without:
//! `cargo run --release -p holdfast-engine --features testing --example opening [events]`.
//!
//! Two journals of about as many events as asked for (one million, unless told): many small jobs,
//! whose state is the largest that so many events can make, and a few jobs of very many tasks,
//! whose state is small.

#![allow(
    clippy::disallowed_methods,
    reason = "a host has the real clock and threads"
)]
#![allow(clippy::print_stdout, reason = "a program that reports to a person")]

use std::error::Error;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_broker::{Broker, MemoryBroker};
use holdfast_engine::testing::{History, MemoryStorage};
use holdfast_engine::{Engine, Event, Parts};
use holdfast_journal::{FileJournal, Index, Journal, Options, Seq};

type Outcome<T> = Result<T, Box<dyn Error>>;

fn main() -> Outcome<()> {
    let events = match std::env::args().nth(1) {
        Some(text) => text.parse()?,
        None => 1_000_000,
    };
    for (what, tasks) in [("jobs of 1 task per phase", 1), ("jobs of 25 000", 25_000)] {
        let folder = tempfile::tempdir()?;
        let made = fill(folder.path(), events, tasks)?;
        println!("{made} events, {what}:");
        let without = open(folder.path())?;
        report("without a checkpoint", without);
        // That opening left a checkpoint when it closed; the next one uses it.
        let with = open(folder.path())?;
        report("with one", with);
        let (bytes, scan) = scan(folder.path())?;
        println!("  the checkpoint has {bytes} bytes; reading all records takes {scan:.2?}");
    }
    Ok(())
}

/// Appends backups of `tasks` links and uploads each until there are `events` events.
fn fill(folder: &Path, events: u64, tasks: u32) -> Outcome<u64> {
    let journal = journal(folder)?;
    let mut history = History::new();
    let mut made = 0;
    while made < events {
        for _ in 0..(20_000 / (26 + 4 * tasks)).max(1) {
            history.backup("db", tasks);
        }
        for batch in history.take().chunks(20_000) {
            made = journal.append(batch, 1_735_689_600_000)?.last.get();
        }
    }
    Ok(made)
}

fn journal(folder: &Path) -> Outcome<FileJournal<Event>> {
    Ok(FileJournal::open(folder, Options::default().index(Index::None))?.0)
}

/// How long opening the journal, and then the engine on it, takes.
fn open(folder: &Path) -> Outcome<(Duration, Duration)> {
    let start = Instant::now();
    let journal = Arc::new(journal(folder)?);
    let journal_opened = start.elapsed();
    let brokers =
        |_: &str| -> Result<Arc<dyn Broker>, String> { Ok(Arc::new(MemoryBroker::new())) };
    let parts = Parts::new(
        journal,
        Arc::new(MemoryStorage::new(1)),
        Arc::new(MemoryBroker::new()),
        Arc::new(brokers),
    );
    let engine = Engine::open(parts)?;
    let opened = start.elapsed() - journal_opened;
    let close = Instant::now();
    engine.close();
    println!(
        "  {} jobs shown; closing took {:.2?}",
        engine.views().jobs.size(),
        close.elapsed()
    );
    Ok((journal_opened, opened))
}

fn report(how: &str, (journal, engine): (Duration, Duration)) {
    println!(
        "  {how}: journal {journal:.2?} + engine {engine:.2?} = {:.2?}",
        journal + engine
    );
}

/// The size of the checkpoint, and how long it takes to read every record and do nothing with it.
fn scan(folder: &Path) -> Outcome<(usize, Duration)> {
    let journal = journal(folder)?;
    let kept = journal.latest_checkpoint("engine")?;
    let start = Instant::now();
    journal.read(Seq::FIRST, &mut |_| Ok(()))?;
    Ok((kept.map_or(0, |kept| kept.state.len()), start.elapsed()))
}
