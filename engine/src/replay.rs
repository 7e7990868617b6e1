//! The engine's state as a projection of a journal, for tools: the same `apply` as in life, nothing else.

use holdfast_journal::{Error, Journal, Projection, Record, Seq};
use holdfast_storage::CatalogPosition;

use crate::checkpoint::{self, CheckpointError};
use crate::event::Event;
use crate::ids::JobId;
use crate::published::Published;
use crate::retention::{HistoryRequest, leaving};
use crate::state::{FIRST_ID, State};
use crate::view::Views;

/// Brings back what SHOW printed at any point of a journal, and refuses an event that could not have followed.
#[derive(Clone)]
pub struct Replay {
    state: State,
    position: Seq,
}

impl Replay {
    /// The name under which a journal keeps checkpoints of the engine's state.
    pub const CHECKPOINTS: &'static str = checkpoint::PROJECTION;

    /// Before the first event.
    pub fn new() -> Self {
        Self {
            state: State::new(),
            position: Seq::ZERO,
        }
    }

    /// The state behind record `seq` of a journal: from the newest checkpoint that is not later, else from the first
    /// record, archives included.
    ///
    /// # Errors
    /// What reading reports; `Rejected` for an event that cannot follow, and where the journal does not reach `seq`.
    pub fn at(journal: &dyn Journal<Event>, seq: Seq) -> Result<Self, Error> {
        let mut replay = match checkpoint::newest_by(journal, seq) {
            Some((state, kept)) => Self::after(state, kept),
            None => Self::new(),
        };
        let mut enough = replay.position >= seq;
        if !enough {
            let read = journal.history(replay.position.next(), &mut |record| {
                replay.apply(&record)?;
                enough = record.seq >= seq;
                // The only way to end a reading before the end.
                if enough {
                    Err(Error::rejected("enough was read"))
                } else {
                    Ok(())
                }
            });
            if !enough {
                read?;
                let end = replay.position;
                return Err(Error::rejected(format!(
                    "the journal ends at event {end}, expected event {seq}"
                )));
            }
        }
        Ok(replay)
    }

    /// The state that a checkpoint named [`CHECKPOINTS`](Self::CHECKPOINTS) holds: `state` as the
    /// journal kept it, and `seq`, the last event that it includes.
    ///
    /// # Errors
    /// [`CheckpointError`]: bytes that this program does not take for a state. They are then no
    /// part of any state, and the events alone say what it was.
    pub fn from_checkpoint(state: &[u8], seq: Seq) -> Result<Self, CheckpointError> {
        checkpoint::decode(state, seq).map(|state| Self::after(state, seq))
    }

    /// The state as a checkpoint of this moment would hold it. Equal states have equal bytes,
    /// however they were come by.
    ///
    /// # Errors
    /// What could not be written, in words.
    pub fn to_checkpoint(&self) -> Result<Vec<u8>, String> {
        checkpoint::encode(&self.state, self.position)
    }

    /// The views as of the last event taken in.
    pub fn views(&mut self) -> Views {
        let published = Published::default();
        self.state.changed = self.state.jobs.keys().copied().collect();
        self.state.repositories_changed = true;
        published.publish(&mut self.state);
        published.views()
    }

    /// Which jobs an act of archiving would take out of this state: how many, and the lowest and highest of their ids.
    pub fn archivable(&self, request: &HistoryRequest) -> (u64, JobId, JobId) {
        let found = leaving(&self.state, request);
        (found.jobs, found.first, found.last)
    }

    /// The opening that the last event belongs to.
    pub fn epoch(&self) -> crate::ids::Epoch {
        self.state.epoch
    }

    /// Whether the events so far gave this id to anything, such as a job, also one that has left the state since.
    pub fn gave(&self, id: u64) -> bool {
        (FIRST_ID..self.state.next_id).contains(&id)
    }

    /// The cluster's id; empty before the first opening.
    pub fn cluster(&self) -> &str {
        &self.state.cluster
    }

    /// Where the storage's catalog stood at the last opening.
    pub fn catalog(&self) -> CatalogPosition {
        CatalogPosition(self.state.catalog)
    }

    /// Goes on from a state that includes the events up to `position`.
    pub(crate) fn after(state: State, position: Seq) -> Self {
        Self { state, position }
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn state_mut(&mut self) -> &mut State {
        &mut self.state
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
