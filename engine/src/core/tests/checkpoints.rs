//! Whatever happens to an engine, its state comes out of a checkpoint at any event and the events
//! after it as out of all events, byte for byte.

use proptest::prelude::*;

use super::*;
use crate::checkpoint::{decode, encode};

/// Something that happens; what cannot happen here is passed over.
#[derive(Clone, Copy, Debug)]
pub(super) enum Step {
    Backup(u8),
    Restore(u8),
    Cancel(u8, JobKind),
    /// Ends the nth worker that runs.
    End(u8),
    Fail(u8, FailureClass),
    Later(u64),
    Reopen(u64),
    DropRepository,
}

pub(super) fn step() -> impl Strategy<Value = Step> {
    let class = prop_oneof![
        4 => Just(FailureClass::Retry),
        1 => (1_u32..500).prop_map(FailureClass::RetryAfter),
        1 => Just(FailureClass::Replica(BackendId(1))),
        1 => Just(FailureClass::PinLost),
        1 => Just(FailureClass::Fatal(StatusCode::BadFile)),
        2 => Just(FailureClass::Stopped),
    ];
    let kind = prop_oneof![Just(JobKind::Backup), Just(JobKind::Restore)];
    prop_oneof![
        3 => (0_u8..2).prop_map(Step::Backup),
        3 => (0_u8..2).prop_map(Step::Restore),
        1 => (0_u8..2, kind).prop_map(|(database, kind)| Step::Cancel(database, kind)),
        20 => any::<u8>().prop_map(Step::End),
        4 => (any::<u8>(), class).prop_map(|(worker, class)| Step::Fail(worker, class)),
        2 => (1_u64..5_000).prop_map(Step::Later),
        1 => (0_u64..700_000).prop_map(Step::Reopen),
        1 => Just(Step::DropRepository),
    ]
}

/// The records of an engine to which all of `steps` happened.
pub(super) fn recorded(steps: &[Step]) -> Vec<(u64, Event)> {
    let mut bench = Bench::new();
    let mut workers = Vec::new();
    let database = |n: u8| if n == 0 { "a" } else { "b" };
    for (at, step) in steps.iter().enumerate() {
        let has_repository = bench.core.state().repositories.contains_key("repo");
        workers.append(&mut bench.orders());
        let pick = |n: u8| (!workers.is_empty()).then(|| usize::from(n) % workers.len());
        match *step {
            Step::Backup(n) if has_repository => {
                let _refused = bench.backup(database(n), &format!("s{at}"));
            }
            Step::Restore(n) if has_repository => {
                let _refused = bench.restore(database(n));
            }
            Step::Cancel(n, kind) => {
                let _refused = bench.cancel(kind, database(n));
            }
            Step::End(n) => {
                if let Some(worker) = pick(n) {
                    let order = workers.remove(worker);
                    bench.end(&order, Ok(well(order.work)));
                }
            }
            Step::Fail(n, class) => {
                if let Some(worker) = pick(n) {
                    let order = workers.remove(worker);
                    bench.fail(&order, class);
                }
            }
            Step::Later(ms) => bench.later(ms),
            Step::Reopen(later_ms) => {
                workers.clear();
                bench = bench.reopen(later_ms);
            }
            Step::DropRepository => {
                let _refused = bench.ask(Input::DropRepository("repo".to_owned()));
            }
            Step::Backup(_) | Step::Restore(_) => {}
        }
    }
    let mut records = Vec::new();
    bench
        .journal
        .read(Seq::FIRST, &mut |record| {
            records.push((record.at_ms, record.event));
            Ok(())
        })
        .unwrap();
    records
}

/// Everything in a state but what readers have seen of it.
fn told(state: &State) -> String {
    let mut state = state.clone();
    state.changed.clear();
    state.repositories_changed = false;
    format!("{state:?}")
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn a_checkpoint_at_any_event_and_the_rest_make_the_state_of_all(
        steps in prop::collection::vec(step(), 1..60)
    ) {
        let records = recorded(&steps);
        let end = Seq(records.len() as u64);
        let mut whole = State::new();
        let mut kept = Vec::new();
        for (at, (at_ms, event)) in records.iter().enumerate() {
            whole.apply(*at_ms, event).unwrap();
            kept.push(encode(&whole, Seq(at as u64 + 1)).unwrap());
        }
        for (at, bytes) in kept.iter().enumerate() {
            let cut = Seq(at as u64 + 1);
            let mut state = decode(bytes, cut).unwrap();
            prop_assert_eq!(&encode(&state, cut).unwrap(), bytes, "written again at {}", cut);
            for (at_ms, event) in &records[at + 1..] {
                state.apply(*at_ms, event).unwrap();
            }
            prop_assert_eq!(&encode(&state, end).unwrap(), kept.last().unwrap(), "cut at {}", cut);
            prop_assert_eq!(told(&state), told(&whole), "cut at {}", cut);
        }
    }
}
