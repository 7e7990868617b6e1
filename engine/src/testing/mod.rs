//! Deterministic twins of the engine's seams, for tests of this crate and of those who embed it (feature `testing`).

mod clock;

pub use clock::ManualClock;
