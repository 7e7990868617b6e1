//! Durable appends beside the same frames by plain write and `fdatasync`, and beside sled alone:
//! `cargo bench -p holdfast-benches --bench append`.
//!
//! Criterion times the journal; the other contenders run in the same turns, and the table at the
//! end compares the medians of all of them.

use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use holdfast_benches::append::{CASES, Case, Round, round};
use holdfast_benches::report::{rate, seconds, times};
use holdfast_benches::{Place, Samples, Scale, Table};

fn append(criterion: &mut Criterion) {
    let (place, scale) = (Place::new(), Scale::of_this_run());
    let columns = [
        "callers",
        "batch",
        "events a sync",
        "journal",
        "without index",
        "write + fdatasync",
        "sled",
        "journal / floor",
        "journal / sled",
        "one sync",
    ];
    let title = format!(
        "### append: events a second, durable · {}",
        place.describe()
    );
    let mut table = Table::new(&title, &columns);
    let mut group = criterion.benchmark_group("append");
    group
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_secs(1));
    for case in CASES {
        // About as many events in each round, whatever the case.
        let appends = match case.batch * case.callers {
            0..=64 => scale.appends,
            65..=2048 => scale.appends.min(16),
            _ => scale.appends.min(2),
        };
        let mut rounds = Vec::new();
        group.throughput(Throughput::Elements(
            (case.batch * case.callers * appends) as u64,
        ));
        let name = format!("callers {} batch {}", case.callers, case.batch);
        group.bench_function(name, |bencher| {
            bencher.iter_custom(|iterations| {
                (0..iterations)
                    .map(|_| {
                        let round = round(place.path(), case, appends);
                        rounds.push(round);
                        round.journal
                    })
                    .sum()
            });
        });
        if !rounds.is_empty() {
            table.row(&cells(case, &rounds));
        }
    }
    group.finish();
    table.print();
}

fn cells(case: Case, rounds: &[Round]) -> [String; 10] {
    let samples = |of: fn(&Round) -> Duration| {
        let mut samples = Samples::default();
        rounds.iter().for_each(|round| samples.add(of(round)));
        samples
    };
    let (journal, bare) = (samples(|r| r.journal), samples(|r| r.bare));
    let (floor, sled) = (samples(|r| r.floor), samples(|r| r.sled));
    let events = rounds[0].events;
    let syncs = rounds.iter().map(|round| round.syncs).sum::<u64>() as f64 / rounds.len() as f64;
    [
        case.callers.to_string(),
        case.batch.to_string(),
        format!("{:.1}", events as f64 / syncs),
        rate(events, journal.median()),
        rate(events, bare.median()),
        rate(events, floor.median()),
        rate(events, sled.median()),
        // Events a second compared, so the times the other way round.
        times(floor.ratio_to(&journal)),
        times(sled.ratio_to(&journal)),
        seconds(floor.median() / syncs),
    ]
}

criterion_group!(benches, append);
criterion_main!(benches);
