//! Checkpoints of the engine's state: their bytes, and when they are written. They only save time:
//! a checkpoint that is absent, damaged, of another version or not sound is passed over, and the
//! events are replayed from the first.
//!
//! The journal keeps the bytes under a hash and binds them to its own chain; this file says what
//! they mean. They are no archive: a new version reads no old one.

use std::fmt;
use std::sync::Arc;
use std::thread::JoinHandle;

use holdfast_journal::{Journal, Seq};

use crate::event::Event;
use crate::state::State;

/// The name under which the journal keeps them.
pub(crate) const PROJECTION: &str = "engine";
const MAGIC: [u8; 8] = *b"HFSTATE\n";
/// Grows with every change of a state's form, and of what any event makes of a state.
const VERSION: u16 = 1;
/// Magic, version, and the sequence of the last event that the state includes.
const HEADER_BYTES: usize = 18;

/// Why bytes are not used as a state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckpointError {
    /// They are a state in the form of another version of the program, older or newer. That is no
    /// damage: the events are replayed instead.
    OtherVersion {
        /// The version of the bytes.
        found: u16,
        /// The version of this program.
        expected: u16,
    },
    /// They are no state, or not the one that they are said to be; what does not fit, in words.
    Unsound(String),
}

impl fmt::Display for CheckpointError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherVersion { found, expected } => {
                write!(f, "its version is {found}, expected {expected}")
            }
            Self::Unsound(why) => f.write_str(why),
        }
    }
}

impl std::error::Error for CheckpointError {}

/// The bytes of `state`, which includes the events up to `at`. Equal states have equal bytes.
///
/// # Errors
/// What could not be written, in words.
pub(crate) fn encode(state: &State, at: Seq) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&at.get().to_le_bytes());
    postcard::to_extend(state, bytes).map_err(|e| e.to_string())
}

/// The state that [`encode`] wrote as of `at`.
///
/// # Errors
/// Why the bytes are not that.
pub(crate) fn decode(bytes: &[u8], at: Seq) -> Result<State, CheckpointError> {
    let unsound = |why: String| Err(CheckpointError::Unsound(why));
    let Some((header, body)) = bytes.split_at_checked(HEADER_BYTES) else {
        return unsound(format!("it has {} bytes, less than a header", bytes.len()));
    };
    if header[..8] != MAGIC {
        return unsound("it is no state of an engine".to_owned());
    }
    if header[8..10] != VERSION.to_le_bytes() {
        return Err(CheckpointError::OtherVersion {
            found: u16::from_le_bytes([header[8], header[9]]),
            expected: VERSION,
        });
    }
    if header[10..] != at.get().to_le_bytes() {
        return unsound(format!("it is not of event {at}"));
    }
    let (mut state, rest) = match postcard::take_from_bytes::<State>(body) {
        Ok(read) => read,
        Err(e) => return unsound(format!("it cannot be read: {e}")),
    };
    if !rest.is_empty() {
        return unsound(format!("{} bytes follow its end", rest.len()));
    }
    state.index();
    state.check().map_err(CheckpointError::Unsound)?;
    Ok(state)
}

/// The newest state kept by the journal that this program understands and that includes no event
/// behind `through`, with the last event that it includes. One that cannot be used is told of and passed over for
/// the one before.
pub(crate) fn newest_by(journal: &dyn Journal<Event>, through: Seq) -> Option<(State, Seq)> {
    let mut through = through;
    loop {
        let found = match journal.checkpoint_by(PROJECTION, through) {
            Ok(found) => found?,
            Err(e) => {
                log::warn!("no checkpoint can be read: {e}");
                return None;
            }
        };
        match decode(&found.state, found.seq) {
            Ok(state) => return Some((state, found.seq)),
            Err(why) => log::warn!("the checkpoint at event {} is not used: {why}", found.seq),
        }
        if found.seq == Seq::ZERO {
            return None;
        }
        through = found.seq.before();
    }
}

/// Keeps the state as of `at`, once its bytes were read as an opening will read them: one that could not be used
/// must not push out one that can. A failure costs time at the next opening and nothing else, so it is only told.
pub(crate) fn keep(journal: &dyn Journal<Event>, state: &State, at: Seq) {
    let kept = encode(state, at).and_then(|bytes| {
        decode(&bytes, at).map_err(|why| why.to_string())?;
        journal
            .checkpoint(at, PROJECTION, &bytes)
            .map_err(|e| e.to_string())
    });
    match kept {
        Ok(()) => log::debug!("checkpoint kept at event {at}"),
        Err(why) => log::warn!("no checkpoint is kept at event {at}: {why}"),
    }
}

/// Who writes the checkpoints of a running engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writing {
    /// A thread of its own, so that nobody waits.
    Beside,
    /// The caller, where a run must come out the same each time.
    Inline,
}

/// When checkpoints are written, and the one thread that may be writing one.
pub(crate) struct Checkpoints {
    journal: Arc<dyn Journal<Event>>,
    /// Events between two checkpoints; 0 = none are written.
    every: u64,
    by: Writing,
    /// The last event of the newest checkpoint, written or being written.
    kept: Seq,
    /// The last event that the state includes.
    at: Seq,
    writing: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// For a state that includes the events up to `at` and was made from a checkpoint at `kept`.
    pub(crate) fn new(
        journal: Arc<dyn Journal<Event>>,
        (every, by): (u64, Writing),
        (kept, at): (Seq, Seq),
    ) -> Self {
        Self {
            journal,
            every,
            by,
            kept,
            at,
            writing: None,
        }
    }

    /// The last event that the state includes.
    pub(crate) fn at(&self) -> Seq {
        self.at
    }

    /// The state now includes the events up to `at`, all durable. Where it is time and none is
    /// being written, a thread writes what the state is now; the caller does not wait.
    pub(crate) fn advanced(&mut self, state: &State, at: Seq) {
        self.at = at;
        let new = at.get().saturating_sub(self.kept.get());
        let busy = self.writing.as_ref().is_some_and(|t| !t.is_finished());
        if self.every == 0 || new < self.every || busy {
            return;
        }
        self.join();
        self.kept = at;
        if self.by == Writing::Inline {
            keep(self.journal.as_ref(), state, at);
            return;
        }
        let (journal, state) = (Arc::clone(&self.journal), state.clone());
        #[expect(clippy::disallowed_methods, reason = "the real side of `Writing`")]
        let spawned = std::thread::Builder::new()
            .name("holdfast-checkpoint".to_owned())
            .spawn(move || keep(journal.as_ref(), &state, at));
        match spawned {
            Ok(thread) => self.writing = Some(thread),
            Err(e) => log::warn!("no thread writes the checkpoint at event {at}: {e}"),
        }
    }

    /// The last of all, on the caller's thread: the next opening then replays nothing. `state`
    /// must be what the journal says; where the journal has gone further, nothing is kept.
    pub(crate) fn close(&mut self, state: &State) {
        self.join();
        let end = self.journal.position().0;
        if self.every > 0 && self.at > self.kept && self.at == end {
            self.kept = self.at;
            keep(self.journal.as_ref(), state, self.at);
        }
    }

    fn join(&mut self) {
        if let Some(thread) = self.writing.take()
            && thread.join().is_err()
        {
            log::error!("the writer of a checkpoint ended by a panic");
        }
    }
}

#[cfg(test)]
mod tests;
