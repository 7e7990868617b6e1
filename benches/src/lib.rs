//! Measurements of the product beside the floor that the machine sets: the same frames by plain
//! write and `fdatasync`, the same tree by `cp -r` and `sync -f`, a scan of the same bytes.
//!
//! Contender and floor run in turns in one process, and what is compared are medians: on a machine
//! that others use too, a ratio within one run means something and a number by itself does not.
//! Each round proves by content that the work was done. Sizes come from [`Scale`]; the tiny one
//! runs with the tests, so that nothing here rots. What was found stands in `docs/performance.md`.
//!
//! Nothing depends on this crate, and it must not judge: it has no timed assertion.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a measurement that cannot be made ends the program"
)]

pub mod append;
pub mod copy;
pub mod history;
pub mod jobs;
pub mod node;
pub mod place;
pub mod replay;
pub mod report;
pub mod scale;
mod watched;

pub use place::Place;
pub use report::{Samples, Table};
pub use scale::Scale;
