//! The engine's state as bytes, and what an engine would do with it by itself: for tests that feed
//! both with bytes of any origin. Nothing here is recorded or carried out.

use crate::decide::{Input, decide};
use crate::due::{Credits, InFlight, due, next_wake};
use crate::replay::Replay;
use crate::seams::Now;

/// More moves than any job can make by itself without a worker's answer.
const MOVES: usize = 10_000;

impl Replay {
    /// Opens the engine on this state and takes all that is due at `now`, as if every task that can
    /// start were started: gives the number of events that this made.
    ///
    /// # Errors
    /// In words, where what was decided may not be applied, or where there is no end to it.
    pub fn open_and_settle(&mut self, now: Now) -> Result<usize, String> {
        let mut made = 0;
        let state = self.state_mut();
        let (cluster, catalog) = ("cluster".to_owned(), state.catalog);
        let mut inputs = vec![Input::Open { cluster, catalog }];
        // What runs counts as free, so that every ready task starts.
        let (credits, free) = (Credits::default(), InFlight::default());
        loop {
            let before = made;
            for input in &inputs {
                for event in decide(state, input, now).unwrap_or_default() {
                    let applied = state.apply(now.wall_ms, &event);
                    applied.map_err(|e| format!("{event:?} was decided: {e}"))?;
                    made += 1;
                }
            }
            if made == before {
                let _ = next_wake(state, now);
                return Ok(made);
            }
            if made > MOVES {
                return Err(format!("more than {MOVES} events without an answer"));
            }
            inputs = due(state, credits, &free, now);
        }
    }
}
