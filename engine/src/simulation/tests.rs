//! The simulator keeps its own promises: same seed, same run; plans give runs again; faults come; broken code is found.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_storage::conformance::{Files, Harness};
use holdfast_storage::{Error, OpId, Storage};
use parking_lot::Mutex;

use super::*;
use crate::testing::{CallKind, MemoryStorage};

fn over_memory() -> Simulation {
    Simulation::new(|backends, knows| Box::new(MemoryTables::new(backends, knows)))
}

#[test]
fn the_same_seed_gives_the_same_journals_byte_for_byte_and_its_plan_gives_them_again() {
    let simulation = over_memory();
    for seed in 0..20 {
        let (one, two) = (simulation.run(seed), simulation.run(seed));
        assert_eq!(one.digest, two.digest, "seed {seed}");
        assert_eq!(one.plan, two.plan, "seed {seed}");
        let plan = one.plan.to_string().parse().unwrap();
        let again = simulation.play(Script::Plan(plan), false);
        assert_eq!(one.digest, again.digest, "seed {seed}");
        assert_eq!(one.violation, again.violation);
    }
}

#[test]
fn what_goes_wrong_does_go_wrong() {
    let simulation = over_memory();
    let mut coverage = Coverage::default();
    for seed in 0..150 {
        let outcome = simulation.run(seed);
        assert_eq!(outcome.violation, None, "seed {seed}: {}", outcome.plan);
        coverage.add(&outcome.coverage);
    }
    assert_eq!(coverage.runs, 150);
    for fault in [
        "clock jump",
        "death while opening",
        "death within a turn",
        "disk full",
        "end told twice",
        "pin lost",
        "power cut",
        "power cut over unsynced pages",
        "process killed",
        "remote delay",
        "remote done, answered with an error",
        "remote done, called retryable",
        "remote done, never answered",
        "remote error",
        "remote hang",
        "remote listing lacks the newest",
        "remote throttled",
        "remote torn put",
        "remote wrong bit",
        "replica damaged",
        "storage error",
        "sync fails",
        "work file error",
        "worker outlives its process",
    ] {
        assert!(
            coverage.faults.contains_key(fault),
            "no {fault} in 150 worlds"
        );
    }
}

/// How a storage may lie.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lie {
    /// What was loaded last is gone after the next start.
    ForgetsALoad,
    /// Tables that are pinned change under the pin.
    PinsLoosely,
    /// A released pin is kept.
    KeepsPins,
}

/// Tables that do not keep the contract.
struct Liar {
    truth: MemoryStorage,
    tables: MemoryTables,
    lie: Lie,
    starts: Mutex<u32>,
    loaded: Mutex<BTreeSet<(String, String)>>,
}

impl Liar {
    fn new(lie: Lie) -> Self {
        let tables = MemoryTables::new(2, true);
        let truth = tables.storage();
        if lie == Lie::PinsLoosely {
            let inner = truth.clone();
            truth.set_hook(move |call| {
                if call.kind == CallKind::PinnedFiles
                    && let Some(tablet) = call.tablet
                {
                    inner.change_pinned(call.op, tablet);
                }
                Ok(())
            });
        }
        Self {
            truth,
            tables,
            lie,
            starts: Mutex::new(0),
            loaded: Mutex::default(),
        }
    }
}

impl Harness for Liar {
    fn open(&self) -> Result<Arc<dyn Storage>, Error> {
        *self.starts.lock() += 1;
        if self.lie == Lie::ForgetsALoad && *self.starts.lock() > 1 {
            for (database, table) in std::mem::take(&mut *self.loaded.lock()) {
                // Where a restore holds it, the next start will do.
                let _ = self.truth.truncate(&database, &table);
            }
        }
        self.tables.open()
    }

    fn load(&self, db: &str, table: &str, partition: &str, files: &Files) -> Result<(), Error> {
        self.tables.load(db, table, partition, files)?;
        self.loaded.lock().insert((db.to_owned(), table.to_owned()));
        Ok(())
    }

    fn read(&self, db: &str, table: &str) -> Result<BTreeMap<String, Files>, Error> {
        self.tables.read(db, table)
    }

    fn drop_table(&self, db: &str, table: &str) -> Result<(), Error> {
        self.tables.drop_table(db, table)
    }
}

impl Subject for Liar {
    fn held(&self) -> Option<Vec<OpId>> {
        match self.lie {
            Lie::KeepsPins => Some(vec![OpId(10_002)]),
            _ => self.tables.held(),
        }
    }
}

#[test]
fn a_storage_that_does_not_keep_its_contract_is_found_and_its_plan_shrinks() {
    for (lie, rule) in [
        (
            Lie::ForgetsALoad,
            "tables hold what users loaded and commits brought, wholly",
        ),
        (
            Lie::PinsLoosely,
            "a restore brings back exactly what was pinned",
        ),
        (
            Lie::KeepsPins,
            "nothing of an ended job is left in the storage",
        ),
    ] {
        let simulation = Simulation::new(move |_, _| Box::new(Liar::new(lie)));
        let found = (0..60).find_map(|seed| {
            let outcome = simulation.run(seed);
            outcome.violation.map(|violation| (violation, outcome.plan))
        });
        let (violation, plan) = found.expect("a lie is found within 60 seeds");
        assert_eq!(violation.rule, rule, "{}", violation.text);
        let shrunk = simulation
            .shrink(&plan, 60)
            .expect("the plan breaks it again");
        assert_eq!(shrunk.rule, rule);
        assert!(shrunk.plan.len() <= plan.len());
    }
}
