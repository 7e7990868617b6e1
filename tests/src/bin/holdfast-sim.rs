//! Runs simulated worlds on as many seeds as wanted, or one of them with its story, and makes a broken one short. Owns
//! the command line and the threads; what a world is, is the engine's `simulation`.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that reports to a terminal"
)]

use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use clap::Parser;
use holdfast_engine::simulation::{Coverage, MemoryTables, Plan, Script, Simulation, Violation};
use parking_lot::Mutex;

/// Simulates clusters that back up and restore while everything goes wrong, decided by seeds.
///
/// Exit codes: 0 nothing broke, 1 something did, 2 usage.
#[derive(Debug, Parser)]
#[command(name = "holdfast-sim", version)]
struct Arguments {
    /// How many seeds to run
    #[arg(long, value_name = "N", default_value_t = 1000)]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    from: u64,
    /// Threads; each runs worlds of its own
    #[arg(long, value_name = "N", default_value_t = 2)]
    threads: usize,
    /// Run this one seed and tell what happens
    #[arg(long, value_name = "SEED", conflicts_with = "plan")]
    tell: Option<u64>,
    /// Run this plan and tell what happens
    #[arg(long, value_name = "PLAN")]
    plan: Option<Plan>,
    /// Runs that may be spent on making a broken plan short; 0 leaves it as it is
    #[arg(long, value_name = "N", default_value_t = 3000)]
    shrink: u64,
    /// Stop after so many broken seeds
    #[arg(long, value_name = "N", default_value_t = 1)]
    stop_after: usize,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    // A panic within a world is a finding, and told as one.
    std::panic::set_hook(Box::new(|_| {}));
    let simulation =
        Simulation::new(|backends, knows| Box::new(MemoryTables::new(backends, knows)));
    let script = match (&arguments.plan, arguments.tell) {
        (Some(plan), _) => Some(Script::Plan(plan.clone())),
        (None, Some(seed)) => Some(Script::Seed(seed)),
        (None, None) => None,
    };
    match script {
        Some(script) => tell(&simulation, script),
        None => search(&simulation, &arguments),
    }
}

fn tell(simulation: &Simulation, script: Script) -> ExitCode {
    if let Script::Seed(seed) = script {
        println!("SEED={seed}");
    }
    let outcome = simulation.play(script, true);
    for line in &outcome.story {
        println!("{line}");
    }
    println!("digest {}", hex(&outcome.digest));
    match outcome.violation {
        None => ExitCode::SUCCESS,
        Some(Violation { rule, text }) => {
            println!("BROKEN: {rule}: {text}");
            ExitCode::FAILURE
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

struct Search {
    next: AtomicU64,
    end: u64,
    found: Mutex<Vec<(u64, Violation, Plan)>>,
    coverage: Mutex<Coverage>,
    most: usize,
}

fn search(simulation: &Simulation, arguments: &Arguments) -> ExitCode {
    let end = arguments.from.saturating_add(arguments.seeds);
    println!("SEED={}..{end}", arguments.from);
    let begun = Instant::now();
    let search = Search {
        next: AtomicU64::new(arguments.from),
        end,
        found: Mutex::default(),
        coverage: Mutex::default(),
        most: arguments.stop_after.max(1),
    };
    std::thread::scope(|scope| {
        for _ in 0..arguments.threads.max(1) {
            scope.spawn(|| work(simulation, &search));
        }
    });
    let seconds = begun.elapsed().as_secs_f64();
    let coverage = search.coverage.into_inner();
    print!("{}", coverage.report());
    println!(
        "{:.0} seconds, {:.0} seeds a second",
        seconds,
        coverage.runs as f64 / seconds
    );
    let mut found = search.found.into_inner();
    found.sort_by_key(|(seed, _, _)| *seed);
    for (seed, violation, plan) in &found {
        report(simulation, arguments.shrink, *seed, violation, plan);
    }
    match found.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    }
}

fn work(simulation: &Simulation, search: &Search) {
    let mut own = Coverage::default();
    while search.found.lock().len() < search.most {
        let seed = search.next.fetch_add(1, Ordering::Relaxed);
        if seed >= search.end {
            break;
        }
        let outcome = simulation.run(seed);
        own.add(&outcome.coverage);
        if let Some(violation) = outcome.violation {
            eprintln!("SEED={seed} BROKEN: {}: {}", violation.rule, violation.text);
            search.found.lock().push((seed, violation, outcome.plan));
        }
        if seed.is_multiple_of(50_000) && seed > 0 {
            eprintln!("seed {seed} is done, of those below {}", search.end);
        }
    }
    search.coverage.lock().add(&own);
}

fn report(simulation: &Simulation, runs: u64, seed: u64, violation: &Violation, plan: &Plan) {
    println!("SEED={seed} BROKEN: {}: {}", violation.rule, violation.text);
    if runs == 0 {
        return;
    }
    match simulation.shrink(plan, runs) {
        Some(shrunk) => println!(
            "  {} decisions, after {} runs {}: --plan '{}'",
            plan.len(),
            shrunk.runs,
            shrunk.plan.len(),
            shrunk.plan
        ),
        None => {
            println!("  its plan does not break it again: the run is not determined by its seed")
        }
    }
}
