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
#[path = "embed/subject.rs"]
mod subject;

use std::process::ExitCode;

use holdfast_engine::simulation::{Coverage, Simulation};
use subject::Tables;

fn main() -> ExitCode {
    let seeds = std::env::args().nth(1);
    let seeds: u64 = seeds.and_then(|text| text.parse().ok()).unwrap_or(20);
    let simulation = Simulation::new(|_backends, _knows_hashes| Box::new(Tables::new()));
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
