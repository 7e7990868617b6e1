//! A toy database node that backs itself up: `cargo run -p holdfast-engine --example embed`.
//!
//! "Pocket" keeps its rows in redb. This file opens it with an engine beside it and tells the story
//! of a backup, a loss and a restore in a temporary folder; the node itself is in `embed/`. It ends
//! with an exit code other than 0 where a row does not come back.

#![allow(
    clippy::disallowed_methods,
    reason = "a host has the real clock and threads"
)]
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "embed/mod.rs"]
mod pocket;

use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_broker::{Broker, LocalBroker};
use holdfast_engine::{
    BackupRequest, Clean, Engine, JobId, JobView, Parts, Replication, RepositoryAccess,
    RepositoryRequest, RestoreRequest, Selection,
};
use holdfast_journal::FileJournal;
use holdfast_storage::AllowLoad;
use pocket::{Form, Pocket};

type Outcome<T = ()> = Result<T, Box<dyn Error>>;

fn main() -> ExitCode {
    let told = tempfile::tempdir()
        .map_err(Into::into)
        .and_then(|dir| tell(dir.path()));
    match told {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Opens an engine on a node's tables. All that it keeps is in `dir`.
fn open_engine(dir: &Path, node: &Arc<Pocket>) -> Outcome<Engine> {
    let (journal, _report) = FileJournal::open(dir.join("journal"), Default::default())?;
    let jobs = dir.join("jobs");
    std::fs::create_dir_all(&jobs)?;
    let brokers = |location: &str| -> Result<Arc<dyn Broker>, String> {
        let local = LocalBroker::open(Path::new(location)).map_err(|e| e.to_string())?;
        Ok(Arc::new(local))
    };
    let parts = Parts::new(
        Arc::new(journal),
        Arc::clone(node) as _,
        Arc::new(LocalBroker::open(&jobs)?),
        Arc::new(brokers),
    );
    Ok(Engine::open(parts)?)
}

/// The story.
fn tell(dir: &Path) -> Outcome {
    let home = dir.join("node");
    let node = Arc::new(Pocket::open(&home)?);
    fill(&node)?;
    let before = (node.scan("shop", "orders")?, node.scan("shop", "letters")?);
    println!("Pocket has a shop: 10000 orders of two years, and 60 letters.");

    let engine = open_engine(&home, &node)?;
    let remote = dir.join("remote");
    std::fs::create_dir_all(&remote)?;
    engine.create_repository(&repository(&remote))?;
    let first = run(&engine, engine.backup(&backup("monday"))?)?;
    node.insert(
        "shop",
        "letters",
        "all",
        [("from/afar", b"Dear shop".as_slice())],
    )?;
    let second = run(&engine, engine.backup(&backup("tuesday"))?)?;
    let (full, little) = (first.common(), second.common());
    println!(
        "The second backup moved {} bytes, {} were there.",
        little.moved_bytes, little.reused_bytes
    );
    if little.moved_bytes >= full.moved_bytes {
        return Err("a second backup of nearly the same rows moved as much as the first".into());
    }

    node.drop_table("shop", "orders")?;
    node.insert("shop", "letters", "all", [("0007", b"spoilt".as_slice())])?;
    println!("Then somebody dropped the orders and spoilt a letter.");
    drop(engine);
    let engine = open_engine(&home, &node)?;
    println!(
        "The engine was closed and opened again; its journal knows {} jobs.",
        engine.views().jobs.size()
    );

    let JobView::Backup(snapshot) = first.as_ref() else {
        return Err("a backup's view is not that of a backup".into());
    };
    run(
        &engine,
        engine.restore(&restore("monday", &snapshot.timestamp))?,
    )?;
    if (node.scan("shop", "orders")?, node.scan("shop", "letters")?) != before {
        return Err("the rows after the restore are not the rows before the loss".into());
    }
    println!("Every row of Monday is back, and nothing else.");
    Ok(())
}

fn fill(node: &Pocket) -> Outcome {
    node.create_table("shop", "orders", Form::Packed)?;
    for year in ["2024", "2025"] {
        let rows: Vec<_> = (0..5000)
            .map(|n| {
                (
                    format!("{n:06}"),
                    format!("{} pieces, ordered in {year}", n % 17).into_bytes(),
                )
            })
            .collect();
        let rows = rows
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_slice()));
        node.insert("shop", "orders", year, rows)?;
    }
    node.create_table("shop", "letters", Form::Loose)?;
    let letters: Vec<_> = (0..60)
        .map(|n| {
            (
                format!("{n:04}"),
                "Dear customer, ".repeat(n * 3).into_bytes(),
            )
        })
        .collect();
    let letters = letters
        .iter()
        .map(|(key, value)| (key.as_str(), value.as_slice()));
    Ok(node.insert("shop", "letters", "all", letters)?)
}

/// Waits for a job's end and says how it went.
fn run(engine: &Engine, job: JobId) -> Outcome<Arc<JobView>> {
    let start = Instant::now();
    let view = engine
        .wait(job, Duration::from_secs(600))
        .ok_or("the job is not known")?;
    let common = view.common();
    if !view.is_finished() {
        return Err(format!("job {job} is {}: {:?}", view.state_name(), common.status).into());
    }
    println!(
        "{:?} of '{}' FINISHED: {} bytes, {} objects moved, {} ms.",
        view.kind(),
        common.label,
        common.total_bytes,
        common.moved_objects,
        start.elapsed().as_millis()
    );
    Ok(view)
}

fn repository(location: &Path) -> RepositoryRequest {
    RepositoryRequest {
        name: "attic".to_owned(),
        broker: None,
        location: location.display().to_string(),
        access: RepositoryAccess::ReadWrite,
        properties: Default::default(),
    }
}

fn backup(label: &str) -> BackupRequest {
    BackupRequest {
        database: "shop".to_owned(),
        label: label.to_owned(),
        repository: "attic".to_owned(),
        selection: Selection::All,
        timeout_seconds: None,
    }
}

fn restore(label: &str, timestamp: &str) -> RestoreRequest {
    RestoreRequest {
        database: "shop".to_owned(),
        source_database: None,
        label: label.to_owned(),
        repository: "attic".to_owned(),
        timestamp: timestamp.to_owned(),
        selection: Selection::All,
        allow_load: AllowLoad::No,
        replication: Replication::Automatic,
        clean: Clean::default(),
        timeout_seconds: None,
    }
}
