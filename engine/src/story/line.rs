//! One line of time through all openings: the monotonic clock within each, the wall's difference between the last
//! event of one and the next opening. A wall clock that jumps while the engine is open moves nothing on it.

use holdfast_journal::Record;

use crate::event::Event;

/// Gives each record its place on the line, in ms from the first record.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    now_ms: u64,
    /// Monotonic time of this opening, and where it lies on the line.
    mono: Option<(u64, u64)>,
    /// The wall clock of the last record, and the newest of this opening.
    wall_ms: u64,
    newest_wall_ms: u64,
}

impl Line {
    /// Where the last record lies.
    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    /// Takes in the next record; gives its place.
    pub(super) fn take(&mut self, record: &Record<Event>) -> u64 {
        match (&record.event, self.mono, mono_ms(&record.event)) {
            (Event::EngineStarted(e), ..) => {
                let first = self.mono.is_none();
                let between = record.at_ms.saturating_sub(self.newest_wall_ms);
                self.now_ms = self.now_ms.saturating_add(if first { 0 } else { between });
                self.mono = Some((e.mono_ms, self.now_ms));
                self.newest_wall_ms = record.at_ms;
            }
            (_, Some((since, line)), Some(mono)) => {
                self.now_ms = line.saturating_add(mono.saturating_sub(since));
            }
            // Events without a monotonic time mostly share the append, and so the wall's time, of one that has it.
            _ => {
                self.now_ms = self
                    .now_ms
                    .saturating_add(record.at_ms.saturating_sub(self.wall_ms))
            }
        }
        self.wall_ms = record.at_ms;
        self.newest_wall_ms = self.newest_wall_ms.max(record.at_ms);
        self.now_ms
    }
}

/// The monotonic time that an event carries.
fn mono_ms(event: &Event) -> Option<u64> {
    match event {
        Event::BackupSubmitted(e) => Some(e.mono_ms),
        Event::RestoreSubmitted(e) => Some(e.mono_ms),
        Event::TaskStarted(e) => Some(e.mono_ms),
        Event::TaskFinished(e) => Some(e.mono_ms),
        Event::TaskFailed(e) => Some(e.mono_ms),
        Event::JobStopping(e) => Some(e.mono_ms),
        Event::PinLost(e) => Some(e.mono_ms),
        _ => None,
    }
}
