//! Reading a journal back, into views and into nothing, beside a pass over its bytes:
//! `cargo bench -p holdfast-benches --bench replay`.
//!
//! Criterion times the replay into views; the others run in the same turns.

use std::time::Duration;

use criterion::{Criterion, SamplingMode, Throughput, criterion_group, criterion_main};
use holdfast_benches::replay::{Log, Round};
use holdfast_benches::report::{rate, seconds, times};
use holdfast_benches::{Place, Samples, Scale, Table};

fn replay(criterion: &mut Criterion) {
    let (place, scale) = (Place::new(), Scale::of_this_run());
    let log = Log::make(&place.path().join("journal"), scale.events);
    let mut rounds = Vec::new();
    let mut group = criterion.benchmark_group("replay");
    group
        .sample_size(10)
        .sampling_mode(SamplingMode::Flat)
        .warm_up_time(Duration::from_millis(100))
        .measurement_time(Duration::from_secs(2))
        .throughput(Throughput::Elements(log.events));
    group.bench_function("into views", |bencher| {
        bencher.iter_custom(|iterations| {
            (0..iterations)
                .map(|_| {
                    let round = log.round();
                    rounds.push(round);
                    round.replay
                })
                .sum()
        });
    });
    group.finish();
    print(&place, &log, &rounds);
}

fn print(place: &Place, log: &Log, rounds: &[Round]) {
    let samples = |of: fn(&Round) -> Duration| {
        let mut samples = Samples::default();
        rounds.iter().for_each(|round| samples.add(of(round)));
        samples
    };
    let scan = samples(|r| r.scan);
    let rows = [
        ("replay into views", samples(|r| r.replay)),
        ("scan of the events", scan.clone()),
        (
            "opening: every frame and the chain checked",
            samples(|r| r.open),
        ),
        ("read of the bytes with a checksum", samples(|r| r.bytes)),
    ];
    let title = format!(
        "### replay: {} events, {} MiB, warm · {} · median of {} rounds",
        log.events,
        log.bytes >> 20,
        place.describe(),
        rounds.len()
    );
    let mut table = Table::new(
        &title,
        &["work", "median", "events", "speed beside the scan"],
    );
    for (name, samples) in rows {
        table.row(&[
            name.to_owned(),
            seconds(samples.median()),
            rate(log.events, samples.median()),
            times(scan.ratio_to(&samples)),
        ]);
    }
    table.print();
}

criterion_group!(benches, replay);
criterion_main!(benches);
