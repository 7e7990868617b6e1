//! The crate's way to time: what o'clock it is, and waiting. Beside the wait of a cancel token,
//! which [`SystemClock`] stands on, no other module reads a clock or sleeps, so that tests and
//! simulated runs decide both.

use std::fmt;
use std::time::{Duration, Instant, SystemTime};

use parking_lot::Mutex;

use crate::CancelToken;

/// A source of monotonic time that can be waited on.
pub trait Clock: fmt::Debug + Send + Sync {
    /// The time now.
    fn now(&self) -> Instant;

    /// Returns when `duration` is over or `cancel` is cancelled, whichever comes first.
    fn sleep(&self, duration: Duration, cancel: &CancelToken);
}

/// The machine's monotonic clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the real side of the seam")]
    fn now(&self) -> Instant {
        Instant::now()
    }

    fn sleep(&self, duration: Duration, cancel: &CancelToken) {
        cancel.wait(duration);
    }
}

/// How long ago a file was last written to, by its time in seconds since 1970; nothing for the
/// future.
#[expect(
    clippy::disallowed_methods,
    reason = "a file's age is told by the machine's wall clock"
)]
pub(crate) fn age(modified: i64) -> Duration {
    let modified = Duration::from_secs(u64::try_from(modified).unwrap_or(0));
    SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .saturating_sub(modified)
}

/// A clock that stands still except when somebody sleeps or [`ManualClock::advance`] is called; a
/// sleep ends at once and leaves the clock later by its duration.
#[derive(Debug)]
pub struct ManualClock {
    origin: Instant,
    elapsed: Mutex<Duration>,
}

impl ManualClock {
    /// A clock at an arbitrary origin.
    #[expect(
        clippy::disallowed_methods,
        reason = "an origin; only differences from it are seen"
    )]
    pub fn new() -> Self {
        ManualClock {
            origin: Instant::now(),
            elapsed: Mutex::new(Duration::ZERO),
        }
    }

    /// Makes it later by `duration`.
    pub fn advance(&self, duration: Duration) {
        let mut elapsed = self.elapsed.lock();
        *elapsed = elapsed.saturating_add(duration);
    }

    /// The time since the clock was made: the sum of all sleeps and advances.
    pub fn elapsed(&self) -> Duration {
        *self.elapsed.lock()
    }
}

impl Default for ManualClock {
    fn default() -> Self {
        ManualClock::new()
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Instant {
        let elapsed = self.elapsed();
        self.origin.checked_add(elapsed).unwrap_or(self.origin)
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a waiter in a loop leaves room for whom it waits for"
    )]
    fn sleep(&self, duration: Duration, cancel: &CancelToken) {
        if !cancel.is_cancelled() {
            self.advance(duration);
            std::thread::yield_now();
        }
    }
}
