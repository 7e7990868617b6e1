//! A simulator of whole worlds, for whoever changes the engine or implements [`Storage`](holdfast_storage::Storage):
//! one or two clusters with users, a remote, clocks and disks, and everything that can go wrong with them, decided by one
//! number.
//!
//! What runs is the real engine: deciding, applying, dispatching, the journal's files on a simulated disk, every worker,
//! the repository's format, the views. Only what is outside is made up: who moves when, how long it takes, what the
//! remote answers, what a disk keeps when the power goes. The same seed gives the same run, byte for byte.
//!
//! After each step the run is compared with books that are kept beside it. What must hold is in [`RULES`].
//!
//! # Over an embedder's own tables
//! Implement [`Subject`] (the conformance suite's harness and, where they exist, some further hooks) and call
//! [`Simulation::run`] with a few thousand seeds. `engine/examples/simulate.rs` does it over a storage in redb.
//!
//! ```
//! use holdfast_engine::simulation::{MemoryTables, Simulation};
//!
//! let simulation = Simulation::new(|backends, knows_hashes| {
//!     Box::new(MemoryTables::new(backends, knows_hashes))
//! });
//! for seed in 1..=3 {
//!     let outcome = simulation.run(seed);
//!     assert_eq!(outcome.violation, None, "seed {seed}: {}", outcome.plan);
//! }
//! ```

mod books;
mod choices;
mod coverage;
mod fiber;
mod process;
mod remote;
mod rules;
mod shared;
mod shrink;
mod subject;
mod tables;
mod users;
mod weather;
mod world;

use std::panic::{AssertUnwindSafe, catch_unwind};

pub use choices::{Kind, Plan, Script};
pub use coverage::{Coverage, Place};
pub use rules::RULES;
pub use shared::Violation;
pub use shrink::Shrunk;
pub use subject::{MemoryTables, Subject};

use world::World;

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The first thing that must not be, if there was one.
    pub violation: Option<Violation>,
    /// Every decision that was not the usual one: run as [`Script::Plan`], it gives the same run.
    pub plan: Plan,
    /// What was reached.
    pub coverage: Coverage,
    /// A hash over every byte of every journal, archives included.
    pub digest: [u8; 32],
    /// What happened, a line each; empty unless it was asked for.
    pub story: Vec<String>,
}

type MakeSubject = dyn Fn(u32, bool) -> Box<dyn Subject> + Send + Sync;

/// Runs worlds over one kind of tables.
pub struct Simulation {
    make: Box<MakeSubject>,
}

impl Simulation {
    /// Over what `make` makes: empty tables of one node, given the number of backends, and whether the storage knows the
    /// hashes of its files. A subject that cannot vary these may leave them aside.
    pub fn new(make: impl Fn(u32, bool) -> Box<dyn Subject> + Send + Sync + 'static) -> Self {
        Self {
            make: Box::new(make),
        }
    }

    /// The run that a seed decides.
    pub fn run(&self, seed: u64) -> Outcome {
        self.play(Script::Seed(seed), false)
    }

    /// The run that a script decides; `told` = with its story.
    pub fn play(&self, script: Script, told: bool) -> Outcome {
        let mut world = World::new(script, told, &*self.make);
        let ran = catch_unwind(AssertUnwindSafe(|| world.run()));
        if let Err(panic) = ran {
            let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
            let text = text.or_else(|| panic.downcast_ref::<String>().cloned());
            let text = text.unwrap_or_else(|| "no message".to_owned());
            world.shared.broken(rules::NO_PANIC, text);
        }
        Outcome {
            violation: world.shared.violation(),
            plan: world.shared.plan(),
            coverage: world.shared.coverage(),
            digest: world.digest(),
            story: world.shared.story(),
        }
    }

    /// The shortest plan found, within `runs` runs, that breaks the same rule as `plan`. `None` where `plan` breaks none.
    pub fn shrink(&self, plan: &Plan, runs: u64) -> Option<Shrunk> {
        shrink::shrink(plan, runs, |plan| {
            let outcome = self.play(Script::Plan(plan.clone()), false);
            outcome.violation.map(|violation| violation.rule)
        })
    }
}

#[cfg(test)]
mod tests;
