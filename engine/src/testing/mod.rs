//! Deterministic twins of the engine's seams, for tests of this crate and of those who embed it (feature `testing`).

mod clock;
mod history;
mod kept;
mod memory_storage;
mod spec;

pub use clock::ManualClock;
pub use history::History;
pub use memory_storage::{Call, CallKind, HashKnowledge, MemoryStorage};
pub use spec::backup_spec;
