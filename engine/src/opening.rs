//! Opening: replay, the checks that refuse a folder, and the event that begins an epoch. There is no other recovery; a
//! checkpoint only shortens the replay.

use std::fmt;
use std::sync::Arc;

use holdfast_journal::{Error, ErrorKind, Journal, Seq, replay, replay_ahead};
use holdfast_storage::{CatalogPosition, OpId};

use crate::checkpoint::{self, Writing};
use crate::decide::{Input, decide};
use crate::engine::Parts;
use crate::event::Event;
use crate::ids::JobId;
use crate::published::Published;
use crate::registry::Registry;
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

/// A state, and how it was come by.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) state: State,
    /// The last event that the state includes.
    pub(crate) at: Seq,
    /// The last event of the checkpoint that it was made from; zero where every event was replayed.
    pub(crate) kept: Seq,
}

/// The state as the journal has it: the newest checkpoint that the events after it can follow, and these, or every
/// event, from the archives first.
///
/// # Errors
/// What reading every event reports; an event that cannot follow is `Rejected`.
pub(crate) fn replayed(journal: &dyn Journal<Event>) -> Result<Opened, Error> {
    replayed_by(journal, Writing::Inline)
}

/// As [`replayed`], with a thread that reads ahead, or on the caller's alone: the state is the same.
pub(crate) fn replayed_by(journal: &dyn Journal<Event>, by: Writing) -> Result<Opened, Error> {
    let replay = |projection: &mut Replay| match by {
        Writing::Beside => replay_ahead(journal, projection),
        Writing::Inline => replay(journal, projection),
    };
    let mut through = journal.position().0;
    while let Some((state, kept)) = checkpoint::newest_by(journal, through) {
        let mut projection = Replay::after(state, kept);
        match replay(&mut projection) {
            Ok(at) => {
                log::debug!("replayed from event {} to event {at}", kept.next());
                let state = projection.into_state();
                return Ok(Opened { state, at, kept });
            }
            Err(e) => log::warn!("the checkpoint at event {kept} is not used: {e}"),
        }
        if kept == Seq::ZERO {
            break;
        }
        through = kept.before();
    }
    let mut projection = Replay::new();
    let at = replay(&mut projection).map_err(|e| no_beginning(journal, e))?;
    log::debug!("replayed from event {} to event {at}", Seq::FIRST);
    Ok(Opened {
        state: projection.into_state(),
        at,
        kept: Seq::ZERO,
    })
}

/// Where archived events are needed and not there: says why they are.
fn no_beginning(journal: &dyn Journal<Event>, error: Error) -> Error {
    if error.kind() != ErrorKind::NotFound {
        return error;
    }
    let text = format!(
        "no checkpoint of this journal can be used, so its events are needed from the first, and the log begins at event \
         {}: {error}",
        journal.first()
    );
    Error::new(ErrorKind::NotFound, text)
}

/// The state as the journal has it, with this opening recorded: what ran before is ready again.
#[cfg(test)]
pub(crate) fn open_state(
    journal: &dyn Journal<Event>,
    catalog: CatalogPosition,
    cluster: String,
    now: Now,
) -> Result<Opened, OpenError> {
    open_state_by(journal, (catalog, cluster), now, Writing::Inline)
}

fn open_state_by(
    journal: &dyn Journal<Event>,
    (catalog, cluster): (CatalogPosition, String),
    now: Now,
    by: Writing,
) -> Result<Opened, OpenError> {
    let mut opened = replayed_by(journal, by).map_err(OpenError::damaged)?;
    let events = begun(&mut opened.state, catalog, cluster, now)?;
    // A full disk must not keep anybody from opening, and cancelling what fills it.
    let appended = journal
        .append_urgent(&events, now.wall_ms)
        .map_err(OpenError::environment)?;
    opened.at = appended.last;
    Ok(opened)
}

/// Begins an epoch: checks the storage's catalog, decides what the opening records, and applies it. Nothing is
/// written; the engine records the events before it does anything else.
///
/// # Errors
/// Where the catalog is behind what the journal has seen.
pub(crate) fn begun(
    state: &mut State,
    catalog: CatalogPosition,
    cluster: String,
    now: Now,
) -> Result<Vec<Event>, OpenError> {
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
    let events = decide(state, &input, now).map_err(OpenError::environment)?;
    for event in &events {
        state
            .apply(now.wall_ms, event)
            .map_err(OpenError::damaged)?;
    }
    Ok(events)
}

/// An engine that is open but for the threads that turn it.
pub(crate) struct Prepared {
    pub(crate) opened: Opened,
    pub(crate) registry: Arc<Registry>,
    pub(crate) published: Arc<Published>,
}

/// Replays, records this opening, has the storage and the work files let go of ended jobs, and publishes.
/// Where there is much to replay a thread reads ahead, but where all is to be done inline.
pub(crate) fn prepare(parts: &Parts, by: Writing) -> Result<Prepared, OpenError> {
    let now = Now {
        wall_ms: parts.clock.wall_ms(),
        mono_ms: parts.clock.mono_ms(),
    };
    let cluster = format!("{:032x}", parts.entropy.random());
    let mut opened = open_state_by(
        parts.journal.as_ref(),
        (parts.storage.position(), cluster),
        now,
        by,
    )?;
    let state = &mut opened.state;
    let live: Vec<JobId> = state.working.iter().copied().collect();
    let ops: Vec<OpId> = live.iter().map(|id| OpId(id.0)).collect();
    parts
        .storage
        .retain_only(&ops)
        .map_err(OpenError::environment)?;
    if let Err(e) = parts.blobs.retain_only(&live) {
        log::warn!(
            "work files of ended jobs stay until the next opening: {}",
            e.message
        );
    }
    let published = Arc::new(Published::default());
    state.changed = state.jobs.keys().copied().collect();
    state.repositories_changed = true;
    published.publish(state);
    let registry = Arc::new(Registry::new(
        Arc::clone(&parts.brokers),
        Arc::clone(&parts.vault),
        Arc::clone(&parts.clock),
        Arc::clone(&published),
    ));
    registry.update(state.repositories.values());
    Ok(Prepared {
        opened,
        registry,
        published,
    })
}
