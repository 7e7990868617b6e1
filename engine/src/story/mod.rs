//! What a journal tells of one job: its records in words, and its story from acceptance to clean-up.
//!
//! Projections and nothing else: they read records, hold no file, no clock and no lock, and decide nothing. They are
//! for people; what a program needs of a job is in [`crate::Views`].

mod figures;
mod records;

pub use figures::{bytes, count, duration};
pub use records::{JobRecord, JobRecords, words};
