//! The repository through its public seams: a small backup and restore in the order the protocol
//! asks for, over memory and over a folder, with faults, races and damage.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are outside the deterministic core"
)]
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod access;
mod damage;
mod discard;
mod faults;
mod format;
mod harness;
mod histories;
mod labels;
mod objects;
mod reuse;
