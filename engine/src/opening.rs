//! Opening: replay, the checks that refuse a folder, and the event that begins an epoch. There is no other recovery.

use std::fmt;

use holdfast_journal::{Journal, Seq, replay};
use holdfast_storage::CatalogPosition;

use crate::decide::{Input, decide};
use crate::event::Event;
use crate::replay::Replay;
use crate::seams::Now;
use crate::state::State;

/// Why an engine could not be opened.
#[derive(Debug)]
pub struct OpenError {
    /// Whether data is damaged (else the environment is at fault).
    pub damaged: bool,
    /// What was found and what to do.
    pub message: String,
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for OpenError {}

impl OpenError {
    pub(crate) fn environment(message: impl fmt::Display) -> Self {
        Self {
            damaged: false,
            message: message.to_string(),
        }
    }

    pub(crate) fn damaged(message: impl fmt::Display) -> Self {
        Self {
            damaged: true,
            message: message.to_string(),
        }
    }
}

/// The state as the journal has it, with this opening recorded: what ran before is ready again.
pub(crate) fn open_state(
    journal: &dyn Journal<Event>,
    catalog: CatalogPosition,
    cluster: String,
    now: Now,
) -> Result<State, OpenError> {
    if journal.first() > Seq::FIRST {
        return Err(OpenError::damaged(format!(
            "the journal begins at event {}, expected event 1",
            journal.first()
        )));
    }
    let mut projection = Replay::new();
    replay(journal, &mut projection).map_err(OpenError::damaged)?;
    let mut state = projection.into_state();
    if catalog.0 < state.catalog {
        return Err(OpenError::damaged(format!(
            "the storage's catalog stands at {catalog}, the journal has seen it at {}: the storage folder is older \
             than the journal; bring back both from the same moment",
            state.catalog
        )));
    }
    let input = Input::Open {
        cluster,
        catalog: catalog.0,
    };
    let events = decide(&state, &input, now).map_err(OpenError::environment)?;
    for event in &events {
        state
            .apply(now.wall_ms, event)
            .map_err(OpenError::damaged)?;
    }
    journal
        .append(&events, now.wall_ms)
        .map_err(OpenError::environment)?;
    Ok(state)
}
