//! The example's storage lives through simulated worlds: what an embedder's own would be asked.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are outside the deterministic core"
)]
#![allow(clippy::unwrap_used, clippy::print_stdout, missing_docs)]

#[path = "../examples/embed/mod.rs"]
mod pocket;
#[path = "../examples/embed/subject.rs"]
mod subject;

use holdfast_engine::simulation::{Coverage, Simulation};
use subject::Tables;

#[test]
fn an_embedders_storage_keeps_every_rule_in_worlds_where_everything_goes_wrong() {
    let simulation = Simulation::new(|_backends, _knows_hashes| Box::new(Tables::new()));
    let mut coverage = Coverage::default();
    for seed in 0..40 {
        let outcome = simulation.run(seed);
        assert_eq!(outcome.violation, None, "seed {seed}: {}", outcome.plan);
        coverage.add(&outcome.coverage);
    }
    assert!(coverage.deaths > 40, "{}", coverage.report());
    assert!(coverage.snapshots > 40, "{}", coverage.report());
}
