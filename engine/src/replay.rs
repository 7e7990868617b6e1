//! The engine's state as a projection of a journal, for tools: the same `apply` as in life, nothing else.

use holdfast_journal::{Error, Projection, Record, Seq};

use crate::event::Event;
use crate::published::Published;
use crate::state::State;
use crate::view::Views;

/// Brings back what SHOW printed at any point of a journal, and refuses an event that could not have followed.
pub struct Replay {
    state: State,
    position: Seq,
}

impl Replay {
    /// Before the first event.
    pub fn new() -> Self {
        Self {
            state: State::new(),
            position: Seq::ZERO,
        }
    }

    /// The views as of the last event taken in.
    pub fn views(&mut self) -> Views {
        let published = Published::default();
        self.state.changed = self.state.jobs.keys().copied().collect();
        self.state.repositories_changed = true;
        published.publish(&mut self.state);
        published.views()
    }

    /// The opening that the last event belongs to.
    pub fn epoch(&self) -> crate::ids::Epoch {
        self.state.epoch
    }

    /// The cluster's id; empty before the first opening.
    pub fn cluster(&self) -> &str {
        &self.state.cluster
    }

    /// Goes on from a state that includes the events up to `position`.
    pub(crate) fn after(state: State, position: Seq) -> Self {
        Self { state, position }
    }

    pub(crate) fn into_state(self) -> State {
        self.state
    }
}

impl Default for Replay {
    fn default() -> Self {
        Self::new()
    }
}

impl Projection<Event> for Replay {
    fn apply(&mut self, record: &Record<Event>) -> Result<(), Error> {
        self.state
            .apply(record.at_ms, &record.event)
            .map_err(|e| Error::rejected(format!("event {}: {e}", record.seq)))?;
        self.position = record.seq;
        Ok(())
    }

    fn position(&self) -> Seq {
        self.position
    }
}
