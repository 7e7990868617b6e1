//! What is due at a point of a journal, in words: what the engine would do next if nobody told it anything.

use crate::decide::{Input, decide};
use crate::due::{Credits, InFlight, due, next_wake};
use crate::event::Event;
use crate::replay::Replay;
use crate::seams::Now;
use crate::state::State;

/// What is due at a point.
#[derive(Clone, Debug, PartialEq)]
pub struct Due {
    /// What the engine would record now, in order: moves that jobs make by themselves, else the starts that there
    /// are credits for.
    pub events: Vec<Event>,
    /// After how many ms the next thing becomes due by itself; `None` where all waits for a worker or for a statement.
    pub next_in_ms: Option<u64>,
}

/// What is due behind the last record that `replay` took in, at the time of that record, with as many workers as
/// `credits` says.
pub fn due_now(replay: &Replay, credits: Credits) -> Due {
    let state = replay.state();
    let now = Now {
        wall_ms: state.last_wall_ms,
        mono_ms: state.last_mono_ms,
    };
    let in_flight = in_flight(state);
    let events = due(state, credits.at_least_one(), &in_flight, now)
        .iter()
        .flat_map(|input: &Input| decide(state, input, now).unwrap_or_default())
        .collect();
    Due {
        events,
        next_in_ms: next_wake(state, now).map(|wake| wake.saturating_sub(now.mono_ms)),
    }
}

/// The workers that run as far as the journal knows.
fn in_flight(state: &State) -> InFlight {
    let mut taken = InFlight::default();
    for job in state.working.iter().filter_map(|id| state.jobs.get(id)) {
        let Some(phase) = job.current() else { continue };
        let running = u32::try_from(phase.running.len()).unwrap_or(u32::MAX);
        match phase.work.is_fanned_out() {
            true => taken.workers = taken.workers.saturating_add(running),
            false => taken.coordinators = taken.coordinators.saturating_add(running),
        }
    }
    taken
}
