//! The catalog's state as events and bytes make it (feature `testing`), for tests that feed both
//! with bytes of any origin. No part of the crate's promise; nothing here does I/O.

use crate::Error;
use crate::events::CatalogEvent;
use crate::local::state::State;

/// The catalog in memory, without files and without a journal.
#[derive(Debug)]
pub struct Catalog(State);

impl Catalog {
    /// Before the first event.
    pub fn new() -> Self {
        Self(State::new())
    }

    /// Takes in the event with this sequence.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) where it could not have followed.
    pub fn apply(&mut self, seq: u64, at_ms: u64, event: &CatalogEvent) -> Result<(), Error> {
        self.0.apply_event(seq, at_ms, event)
    }

    /// The bytes of a checkpoint.
    ///
    /// # Errors
    /// What could not be written, in words.
    pub fn checkpoint(&self) -> Result<Vec<u8>, String> {
        postcard::to_stdvec(&self.0).map_err(|e| e.to_string())
    }

    /// The state that a checkpoint holds.
    ///
    /// # Errors
    /// Why it is not used, in words.
    pub fn from_checkpoint(bytes: &[u8]) -> Result<Self, String> {
        State::from_checkpoint(bytes).map(Self)
    }
}

impl Default for Catalog {
    fn default() -> Self {
        Self::new()
    }
}
