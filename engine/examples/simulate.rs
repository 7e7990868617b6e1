//! The simulator over an embedder's own storage: the node of `embed.rs`, whose tables lie in redb, backs up and restores
//! while its process dies, its remote fails and its disk forgets.
//!
//! ```sh
//! cargo run --release -p holdfast-engine --features simulation --example simulate -- 200
//! ```

#![allow(
    clippy::disallowed_methods,
    reason = "a host has the real clock and threads"
)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs,
    reason = "an example"
)]

#[path = "embed/mod.rs"]
mod pocket;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use holdfast_engine::simulation::{Coverage, Simulation, Subject};
use holdfast_storage::conformance::{Files, Harness};
use holdfast_storage::{Error, ErrorKind, Storage};
use parking_lot::Mutex;
use pocket::{Form, Pocket};

/// One node's tables: a folder, and the store as the running process has it open.
struct Tables {
    folder: tempfile::TempDir,
    open: Mutex<Option<Arc<Pocket>>>,
}

impl Tables {
    fn node(&self) -> Result<Arc<Pocket>, Error> {
        let open = self.open.lock().clone();
        match open {
            Some(node) => Ok(node),
            // Users load before the first start of the engine.
            None => self.start(),
        }
    }

    fn start(&self) -> Result<Arc<Pocket>, Error> {
        let mut open = self.open.lock();
        // The row store is locked by whoever has it open.
        *open = None;
        let node = Arc::new(Pocket::open(self.folder.path())?);
        *open = Some(Arc::clone(&node));
        Ok(node)
    }
}

impl Harness for Tables {
    fn open(&self) -> Result<Arc<dyn Storage>, Error> {
        Ok(self.start()?)
    }

    fn load(&self, db: &str, table: &str, partition: &str, files: &Files) -> Result<(), Error> {
        let node = self.node()?;
        match node.create_table(db, table, Form::Loose) {
            Err(e) if e.kind() != ErrorKind::Exists => return Err(e),
            _ => {}
        }
        let rows = files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        node.insert(db, table, partition, rows)
    }

    fn read(&self, db: &str, table: &str) -> Result<BTreeMap<String, Files>, Error> {
        self.node()?.scan(db, table)
    }

    fn drop_table(&self, db: &str, table: &str) -> Result<(), Error> {
        self.node()?.drop_table(db, table)
    }
}

/// Nothing more than the conformance suite's harness is needed.
impl Subject for Tables {}

fn main() -> ExitCode {
    let seeds = std::env::args().nth(1);
    let seeds: u64 = seeds.and_then(|text| text.parse().ok()).unwrap_or(20);
    let simulation = Simulation::new(|_backends, _knows_hashes| {
        Box::new(Tables {
            folder: tempfile::tempdir().unwrap(),
            open: Mutex::new(None),
        })
    });
    let mut coverage = Coverage::default();
    for seed in 0..seeds {
        let outcome = simulation.run(seed);
        coverage.add(&outcome.coverage);
        if let Some(violation) = outcome.violation {
            eprintln!("SEED={seed}: {}: {}", violation.rule, violation.text);
            if let Some(shrunk) = simulation.shrink(&outcome.plan, 300) {
                eprintln!("as a short plan: {}", shrunk.plan);
            }
            return ExitCode::FAILURE;
        }
    }
    print!("{}", coverage.report());
    ExitCode::SUCCESS
}
