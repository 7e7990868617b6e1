//! Worlds on seeds, over the real engine: a bounded number of them with every test run, and written plans by name. `holdfast-sim` runs as many as wanted.
//!
//! `HOLDFAST_SIM_SEEDS` sets how many (default 400), `HOLDFAST_SIM_FROM` the first.
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_engine::simulation::{Coverage, MemoryTables, Script, Simulation};
use parking_lot::Mutex;

fn over_memory() -> Simulation {
    Simulation::new(|backends, knows| Box::new(MemoryTables::new(backends, knows)))
}

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) => text.parse().unwrap_or_else(|_| panic!("{name}={text}")),
        Err(_) => default,
    }
}

#[test]
fn whatever_goes_wrong_on_any_seed_every_rule_holds() {
    let simulation = over_memory();
    let (from, seeds) = (
        number("HOLDFAST_SIM_FROM", 0),
        number("HOLDFAST_SIM_SEEDS", 400),
    );
    println!("SEED={from}..{}", from + seeds);
    let (next, all) = (AtomicU64::new(from), Mutex::new(Coverage::default()));
    let work = || {
        let mut own = Coverage::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if seed >= from + seeds {
                break;
            }
            let outcome = simulation.run(seed);
            own.add(&outcome.coverage);
            if let Some(violation) = outcome.violation {
                let (rule, text) = (violation.rule, violation.text);
                let plan = simulation.shrink(&outcome.plan, 500);
                let plan = plan.map(|shrunk| shrunk.plan.to_string());
                panic!("SEED={seed}: {rule}: {text}\nshort plan: {plan:?}");
            }
        }
        all.lock().add(&own);
    };
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(work);
        }
    });
    let coverage = all.into_inner();
    print!("{}", coverage.report());
    assert_eq!(coverage.runs, seeds);
    if seeds >= 400 {
        // What is proved is proved on worlds in which much happens.
        assert!(coverage.deaths > seeds / 2, "{} deaths", coverage.deaths);
        assert!(coverage.snapshots > seeds, "{}", coverage.snapshots);
        let faults: u64 = coverage.faults.values().sum();
        assert!(faults > 5 * seeds, "{faults} faults");
        let unseen: Vec<_> = Coverage::all_places()
            .into_iter()
            .filter(|place| !coverage.places.contains_key(place))
            .filter(|(_, _, work)| !matches!(work.as_str(), "Discard" | "Abort"))
            .collect();
        assert!(unseen.is_empty(), "never seen: {unseen:?}");
    }
}

/// Runs a plan that once broke a rule.
fn holds(plan: &str) {
    let outcome = over_memory().play(Script::Plan(plan.parse().unwrap()), true);
    if let Some(violation) = outcome.violation {
        let story = outcome.story.join("\n");
        panic!("{story}\n{}: {}", violation.rule, violation.text);
    }
}

#[test]
fn a_world_in_which_nothing_goes_wrong_is_at_rest_in_the_end() {
    holds("");
}
