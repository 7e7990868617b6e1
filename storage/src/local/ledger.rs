//! The catalog's journal and its state under one roof: decide, append durably, apply, then show.
//!
//! Changes go one after another; readers see the state before or after a change, never in between,
//! and wait for no I/O. Nobody waits for the I/O of a checkpoint or an archive: a thread writes them beside the changes.
//! Only while the state is put into bytes in memory the next change, and who reads after it, waits.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_journal::{ArchiveRequest, ErrorKind as JournalKind, Journal, Seq, replay};
use parking_lot::{Mutex, RwLock, RwLockReadGuard};

use super::events::CatalogEvent;
use super::state::{Freed, State};
use crate::{Error, ErrorKind};

/// The name of the state's checkpoints; the number grows with every change of its form.
const PROJECTION: &str = "catalog-1";
/// After this many events the state is kept beside the log, so that opening replays few of them.
const CHECKPOINT_EVERY: u64 = 8192;
/// So many times [`CHECKPOINT_EVERY`] events stay in the log when older ones are archived, which is done once there are
/// twice as many: nothing needs them but whoever wants to see what happened.
const LOG_CHECKPOINTS: u64 = 4;

pub(crate) struct Ledger {
    keeper: Arc<Keeper>,
    /// Held from the decision to the applied change.
    writer: Mutex<()>,
    next_id: AtomicU64,
    /// A change failed in a way that leaves open whether it is in the log.
    in_doubt: AtomicBool,
    /// The thread that keeps a checkpoint, where one does; there is never more than one.
    keeping: Mutex<Option<JoinHandle<()>>>,
}

/// What keeps the log short and its opening quick.
struct Keeper {
    journal: Arc<dyn Journal<CatalogEvent>>,
    state: RwLock<State>,
    /// The last event of the newest checkpoint.
    kept: AtomicU64,
    /// Where the state stood when a checkpoint failed last; 0 where none has since the newest was kept.
    failed: AtomicU64,
    /// Events between two checkpoints.
    every: u64,
}

impl Ledger {
    /// Brings the state up from the newest checkpoint that can be read and the events after it; without one from every
    /// event, the archived ones first.
    pub(crate) fn open(journal: Arc<dyn Journal<CatalogEvent>>) -> Result<Self, Error> {
        Self::open_sized(journal, CHECKPOINT_EVERY)
    }

    /// As [`open`](Ledger::open), with a checkpoint after every so many events.
    fn open_sized(journal: Arc<dyn Journal<CatalogEvent>>, every: u64) -> Result<Self, Error> {
        let mut state = newest_kept(&*journal)?.unwrap_or_else(State::new);
        let kept = state.position;
        replay(&*journal, &mut state).map_err(from_journal)?;
        // What was freed before this opening is found by the sweep.
        state.freed.clear();
        let next_id = AtomicU64::new(state.next_id);
        Ok(Self {
            keeper: Arc::new(Keeper {
                journal,
                state: RwLock::new(state),
                kept: AtomicU64::new(kept),
                failed: AtomicU64::new(0),
                every,
            }),
            writer: Mutex::new(()),
            next_id,
            in_doubt: AtomicBool::new(false),
            keeping: Mutex::new(None),
        })
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, State> {
        self.keeper.state.read()
    }

    /// The first of `count` ids never given before. Ids given and not used in an event are given
    /// again after a restart, when the sweep has removed what bore them.
    pub(crate) fn take_ids(&self, count: u64) -> u64 {
        self.next_id.fetch_add(count, Ordering::Relaxed)
    }

    /// Asks `decide` what to change, makes it durable and shows it, as one transaction. No events:
    /// no change. Returns the answer and what the change set free.
    pub(crate) fn change<T>(
        &self,
        decide: impl FnOnce(&State, &mut Vec<CatalogEvent>) -> Result<T, Error>,
    ) -> Result<(T, Vec<Freed>), Error> {
        let _one = self.writer.lock();
        let (journal, state) = (&self.keeper.journal, &self.keeper.state);
        let mut events = Vec::new();
        let answer = decide(&state.read(), &mut events)?;
        if events.is_empty() {
            return Ok((answer, Vec::new()));
        }
        let at_ms = now_ms();
        let appended = match events.iter().all(is_urgent) {
            true => journal.append_urgent(&events, at_ms),
            false => journal.append(&events, at_ms),
        };
        let appended = appended.map_err(|e| {
            if e.kind() == JournalKind::Poisoned {
                self.in_doubt.store(true, Ordering::Relaxed);
            }
            from_journal(e)
        })?;
        let freed = {
            let mut state = state.write();
            for (seq, event) in (appended.first.get()..).zip(&events) {
                state.apply_event(seq, at_ms, event)?;
            }
            std::mem::take(&mut state.freed)
        };
        if self.keeper.due(appended.last.get()) {
            self.keep();
        }
        Ok((answer, freed))
    }

    /// Has a thread keep the state and shorten the log, where none does. Where it fails a later change tries again.
    #[expect(
        clippy::disallowed_methods,
        reason = "a change must not wait for a checkpoint; what it is made of is durable already"
    )]
    fn keep(&self) {
        let mut keeping = self.keeping.lock();
        if keeping.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        join(keeping.take());
        let keeper = Arc::clone(&self.keeper);
        let named = std::thread::Builder::new().name("holdfast-catalog".to_owned());
        match named.spawn(move || keeper.checkpoint()) {
            Ok(thread) => *keeping = Some(thread),
            Err(e) => {
                self.keeper.put_off(self.keeper.state.read().position);
                log::warn!("no thread keeps a checkpoint of the catalog: {e}");
            }
        }
    }

    /// Whether a failed change may yet be found in the log by the next opening: then no file that
    /// it names may be removed.
    pub(crate) fn in_doubt(&self) -> bool {
        self.in_doubt.load(Ordering::Relaxed)
    }

    #[cfg(test)]
    pub(crate) fn journal(&self) -> Arc<dyn Journal<CatalogEvent>> {
        Arc::clone(&self.keeper.journal)
    }

    /// Waits for the thread that keeps a checkpoint, where one does.
    #[cfg(test)]
    pub(crate) fn settle(&self) {
        join(self.keeping.lock().take());
    }
}

impl Drop for Ledger {
    fn drop(&mut self) {
        join(self.keeping.lock().take());
        let position = self.keeper.state.read().position;
        if self.keeper.behind(position) >= self.keeper.few() {
            self.keeper.checkpoint();
        }
    }
}

/// The state of the newest checkpoint that holds one.
fn newest_kept(journal: &dyn Journal<CatalogEvent>) -> Result<Option<State>, Error> {
    let mut through = journal.position().0;
    while let Some(checkpoint) = journal
        .checkpoint_by(PROJECTION, through)
        .map_err(from_journal)?
    {
        match state_at(checkpoint.seq.get(), &checkpoint.state) {
            Ok(state) => return Ok(Some(state)),
            Err(why) => log::warn!(
                "checkpoint of the catalog at {} is passed over: {why}",
                checkpoint.seq
            ),
        }
        through = checkpoint.seq.before();
        if through == Seq::ZERO {
            break;
        }
    }
    Ok(None)
}

/// The state that these bytes hold, which must be that at `position`.
fn state_at(position: u64, bytes: &[u8]) -> Result<State, String> {
    let state = State::from_checkpoint(bytes)?;
    match state.position {
        found if found == position => Ok(state),
        found => Err(format!("its state is that at {found}, expected {position}")),
    }
}

fn join(thread: Option<JoinHandle<()>>) {
    if thread.is_some_and(|thread| thread.join().is_err()) {
        log::error!("the thread that keeps the catalog's checkpoints ended by a panic");
    }
}

impl Keeper {
    /// Events between the newest checkpoint and one at `position`.
    fn behind(&self, position: u64) -> u64 {
        position.saturating_sub(self.kept.load(Ordering::Relaxed))
    }

    /// Few events in comparison to those between two checkpoints.
    fn few(&self) -> u64 {
        self.every / 32
    }

    /// Whether a checkpoint at `position` is due: after one that failed, a few events later.
    fn due(&self, position: u64) -> bool {
        let failed = self.failed.load(Ordering::Relaxed);
        let put_off = failed > 0 && position < failed.saturating_add(self.few());
        self.behind(position) >= self.every && !put_off
    }

    fn put_off(&self, position: u64) {
        self.failed.store(position, Ordering::Relaxed);
    }

    /// Keeps the state beside the log and shortens that. Failing costs only time at the next opening.
    fn checkpoint(&self) {
        let (position, bytes) = {
            let state = self.state.read();
            (state.position, postcard::to_stdvec(&*state))
        };
        let result = bytes.map_err(|e| e.to_string()).and_then(|bytes| {
            // Nothing is kept, and no event leaves the log, for bytes that cannot be read again.
            let _same = state_at(position, &bytes)?;
            let done = self.journal.checkpoint(Seq(position), PROJECTION, &bytes);
            done.map_err(|e| e.to_string())
        });
        match result {
            Ok(()) => {
                self.kept.store(position, Ordering::Relaxed);
                self.put_off(0);
                self.bound(position);
            }
            Err(e) => {
                self.put_off(position);
                log::warn!("no checkpoint of the catalog at {position}: {e}");
            }
        }
    }

    /// Lets the log hold no more than a few checkpoints' worth of events: begins a segment at each checkpoint and moves the
    /// oldest into an archive. Failing costs only space; the next checkpoint tries again.
    fn bound(&self, position: u64) {
        let kept = LOG_CHECKPOINTS * self.every;
        let events = position.saturating_sub(self.journal.first().get());
        let bounded = self.journal.roll().and_then(|()| {
            if events < 2 * kept {
                return Ok(None);
            }
            self.journal.archive(&ArchiveRequest {
                before: Seq(position - kept),
                projection: PROJECTION,
                description: b"events of a storage's catalog",
                at_ms: now_ms(),
            })
        });
        match bounded {
            Ok(Some(info)) => log::info!(
                "events {} to {} of the catalog moved to catalog/{}",
                info.first,
                info.last,
                info.file
            ),
            Ok(None) => {}
            Err(e) => log::warn!("old events of the catalog stay in its log: {e}"),
        }
    }
}

/// What must be recorded on a full disk too: it frees space, or ends what cannot be taken back.
fn is_urgent(event: &CatalogEvent) -> bool {
    matches!(
        event,
        CatalogEvent::DatabaseDropped(_)
            | CatalogEvent::TableDropped(_)
            | CatalogEvent::PartitionDropped(_)
            | CatalogEvent::PartitionTruncated(_)
            | CatalogEvent::PinReleased(_)
            | CatalogEvent::RestoreCommitted(_)
            | CatalogEvent::RestoreForgotten(_)
            | CatalogEvent::RestoreAborted(_)
    )
}

/// Wall clock in milliseconds since 1970; only shown, never compared.
#[expect(clippy::disallowed_methods, reason = "only shown, never compared")]
fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as u64)
}

pub(crate) fn from_journal(e: holdfast_journal::Error) -> Error {
    let kind = match e.kind() {
        JournalKind::Locked => ErrorKind::Locked,
        JournalKind::Full => ErrorKind::Full,
        // Archived events that are needed and not there.
        JournalKind::NotFound
        | JournalKind::Damaged
        | JournalKind::Foreign
        | JournalKind::NewerFormat
        | JournalKind::Rejected => ErrorKind::Damaged,
        JournalKind::Invalid => ErrorKind::Invalid,
        _ => ErrorKind::Io,
    };
    Error::new(kind, format!("catalog: {e}"))
}

#[cfg(test)]
mod tests;
