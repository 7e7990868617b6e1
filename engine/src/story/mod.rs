//! What a journal tells of one job: its records in words, and its story from acceptance to clean-up.
//!
//! Projections and nothing else: they read records, hold no file, no clock and no lock, and decide nothing. They are
//! for people; what a program needs of a job is in [`crate::Views`].

mod advice;
mod explain;
mod figures;
mod gather;
mod line;
mod model;
mod phrases;
mod records;
mod timeline;
mod work;

pub use crate::check::without_values;
pub use figures::{bytes, count, duration};
pub use gather::Gather;
pub use model::{
    BackendStory, Moment, PlanFigures, Restart, SLOWEST, SlowTask, StopCause, Stopped, Story,
    TROUBLES, TimeSpent, TroubleStory, WorkStory,
};
pub use records::{JobRecord, JobRecords, words};
pub use timeline::{BackendRows, Drawing, Mark, MarkKind, Slice, StateSpan, Timeline};

#[cfg(test)]
mod tape;
#[cfg(test)]
mod tests;
