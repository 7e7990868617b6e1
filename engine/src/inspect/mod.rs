//! Looks into a journal with the engine's own code, for tools: what the next opening would do, and whether the engine
//! of today would decide what was recorded. It writes nothing, talks to nobody, and has no rules of its own: whatever
//! it says, [`crate::Engine`] does by the same functions.

mod due;
mod opening;
mod recheck;

pub use due::{Due, due_now};
pub use opening::{Again, Direction, JobOutlook, NextOpening, next_opening};
pub use recheck::{Verdict, recheck};
