//! A clock that moves only when told.

use std::sync::atomic::{AtomicI32, AtomicU64, Ordering};

use crate::seams::Clock;

/// Both clocks, moved by hand. Starts at wall time 2025-01-01 00:00:00 UTC and monotonic time 0.
#[derive(Debug)]
pub struct ManualClock {
    wall_ms: AtomicU64,
    mono_ms: AtomicU64,
    offset_seconds: AtomicI32,
}

impl ManualClock {
    /// A clock at its start.
    pub fn new() -> Self {
        Self {
            wall_ms: AtomicU64::new(1_735_689_600_000),
            mono_ms: AtomicU64::new(0),
            offset_seconds: AtomicI32::new(0),
        }
    }

    /// Lets both clocks advance by `ms`.
    pub fn advance(&self, ms: u64) {
        self.wall_ms.fetch_add(ms, Ordering::SeqCst);
        self.mono_ms.fetch_add(ms, Ordering::SeqCst);
    }

    /// Lets the wall clock jump to `ms` since the epoch; monotonic time is untouched.
    pub fn set_wall_ms(&self, ms: u64) {
        self.wall_ms.store(ms, Ordering::SeqCst);
    }

    /// Sets the local zone's offset from UTC.
    pub fn set_utc_offset_seconds(&self, seconds: i32) {
        self.offset_seconds.store(seconds, Ordering::SeqCst);
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        Self::new()
    }
}

impl Clock for ManualClock {
    fn wall_ms(&self) -> u64 {
        self.wall_ms.load(Ordering::SeqCst)
    }

    fn mono_ms(&self) -> u64 {
        self.mono_ms.load(Ordering::SeqCst)
    }

    fn utc_offset_seconds(&self, _wall_ms: u64) -> i32 {
        self.offset_seconds.load(Ordering::SeqCst)
    }
}
