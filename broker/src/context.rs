//! What travels with each request: the right to stop it, its deadline, its share of retries, and
//! the clock these are measured by. Adapters and wrappers ask [`Context::check`] before each chunk
//! and wait only through [`Context::sleep`].

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::{Clock, Error, ErrorClass, SystemClock};

/// A flag, shared by its clones, that asks work to stop; it says why and never goes back.
#[derive(Debug, Clone, Default)]
pub struct CancelToken(Arc<CancelInner>);

#[derive(Debug, Default)]
struct CancelInner {
    cancelled: AtomicBool,
    reason: Mutex<Option<Arc<str>>>,
    changed: Condvar,
}

impl CancelToken {
    /// A token that nobody has cancelled.
    pub fn new() -> Self {
        CancelToken::default()
    }

    /// Asks all work under this token to stop and wakes what sleeps under it. The first reason
    /// given stays.
    pub fn cancel(&self, reason: impl Into<String>) {
        let mut kept = self.0.reason.lock();
        if kept.is_none() {
            *kept = Some(Arc::from(reason.into()));
        }
        self.0.cancelled.store(true, Ordering::Release);
        self.0.changed.notify_all();
    }

    /// Whether somebody has cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// Why it was cancelled, once it is.
    pub fn reason(&self) -> Option<Arc<str>> {
        self.0.reason.lock().clone()
    }

    /// Blocks for `duration` of the machine's time, or until cancelled; says whether it is
    /// cancelled.
    pub fn wait(&self, duration: Duration) -> bool {
        #[expect(clippy::disallowed_methods, reason = "the real side of the clock seam")]
        let deadline = Instant::now().checked_add(duration);
        let mut reason = self.0.reason.lock();
        while reason.is_none() {
            match deadline {
                Some(deadline) if self.0.changed.wait_until(&mut reason, deadline).timed_out() => {
                    break;
                }
                Some(_) => {}
                None => self.0.changed.wait(&mut reason),
            }
        }
        reason.is_some()
    }
}

/// A number of retries that many requests share, so that a remote that fails each request does not
/// multiply the waiting.
#[derive(Debug, Clone)]
pub struct Budget(Arc<AtomicU64>);

impl Budget {
    /// A budget of `retries` over all requests that carry a clone of it.
    pub fn new(retries: u64) -> Self {
        Budget(Arc::new(AtomicU64::new(retries)))
    }

    /// How many retries are left.
    pub fn left(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn take(&self) -> bool {
        self.0
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            })
            .is_ok()
    }
}

/// The terms of one request or of many: cancellation, deadline, budget, clock. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    cancel: CancelToken,
    deadline: Option<Instant>,
    budget: Option<Budget>,
    /// `None` is the machine's clock, which needs no allocation.
    clock: Option<Arc<dyn Clock>>,
}

impl Context {
    /// Terms without a deadline or a budget, under a token of its own and the machine's clock.
    pub fn new() -> Self {
        Context {
            cancel: CancelToken::new(),
            deadline: None,
            budget: None,
            clock: None,
        }
    }

    /// The same terms under `cancel`.
    pub fn with_cancel(mut self, cancel: CancelToken) -> Self {
        self.cancel = cancel;
        self
    }

    /// The same terms, ending at `deadline` on [`Context::now`]'s clock, or earlier if they
    /// already did.
    pub fn with_deadline(mut self, deadline: Instant) -> Self {
        self.deadline = Some(self.deadline.map_or(deadline, |own| own.min(deadline)));
        self
    }

    /// The same terms, ending `duration` from now, or earlier if they already did.
    pub fn with_timeout(self, duration: Duration) -> Self {
        match self.now().checked_add(duration) {
            Some(deadline) => self.with_deadline(deadline),
            None => self,
        }
    }

    /// The same terms with retries taken from `budget`.
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.budget = Some(budget);
        self
    }

    /// The same terms, measured by `clock`.
    pub fn with_clock(mut self, clock: Arc<dyn Clock>) -> Self {
        self.clock = Some(clock);
        self
    }

    /// The token that ends this request.
    pub fn cancel_token(&self) -> &CancelToken {
        &self.cancel
    }

    /// When the request ends at the latest.
    pub fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// The time on this context's clock.
    pub fn now(&self) -> Instant {
        self.clock().now()
    }

    /// Fails with [`ErrorClass::Cancelled`] once the token is cancelled or the deadline has
    /// passed. Costs little enough to be asked for each chunk.
    pub fn check(&self) -> Result<(), Error> {
        if self.cancel.is_cancelled() {
            let reason = self
                .cancel
                .reason()
                .unwrap_or_else(|| Arc::from("no reason given"));
            return Err(Error::new(
                ErrorClass::Cancelled,
                format!("the request was cancelled: {reason}"),
            ));
        }
        match self.deadline {
            Some(deadline) if self.now() >= deadline => Err(Error::new(
                ErrorClass::Cancelled,
                "the request was cancelled: its deadline passed",
            )),
            _ => Ok(()),
        }
    }

    /// Waits for `duration`. Fails as [`Context::check`] does, as soon as it would.
    pub fn sleep(&self, duration: Duration) -> Result<(), Error> {
        self.check()?;
        let allowed = match self.deadline {
            Some(deadline) => duration.min(deadline.saturating_duration_since(self.now())),
            None => duration,
        };
        self.clock().sleep(allowed, &self.cancel);
        self.check()
    }

    /// Takes one retry from the budget; false where it is spent.
    pub(crate) fn take_retry(&self) -> bool {
        self.budget.as_ref().is_none_or(Budget::take)
    }

    fn clock(&self) -> &dyn Clock {
        match &self.clock {
            Some(clock) => clock.as_ref(),
            None => &SystemClock,
        }
    }
}

impl Default for Context {
    fn default() -> Self {
        Context::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ManualClock;

    #[test]
    fn a_cancelled_context_says_the_first_reason() {
        let ctx = Context::new();
        assert!(ctx.check().is_ok());
        ctx.cancel_token().clone().cancel("user asked");
        ctx.cancel_token().cancel("too late");
        let error = ctx.check().expect_err("cancelled");
        assert_eq!(error.class(), ErrorClass::Cancelled);
        assert!(error.message().contains("user asked"), "{error}");
    }

    #[test]
    fn a_sleep_ends_at_the_deadline() {
        let clock = Arc::new(ManualClock::new());
        let ctx = Context::new()
            .with_clock(clock.clone())
            .with_timeout(Duration::from_secs(5));
        assert!(ctx.sleep(Duration::from_secs(3)).is_ok());
        assert_eq!(
            ctx.sleep(Duration::from_secs(30))
                .expect_err("deadline")
                .class(),
            ErrorClass::Cancelled
        );
        assert_eq!(clock.elapsed(), Duration::from_secs(5));
    }

    #[test]
    fn a_later_deadline_does_not_extend_an_earlier_one() {
        let ctx = Context::new().with_timeout(Duration::from_secs(5));
        let own = ctx.deadline();
        assert_eq!(ctx.with_timeout(Duration::from_secs(50)).deadline(), own);
    }

    #[test]
    fn cancel_wakes_a_sleeper() {
        let ctx = Context::new();
        let token = ctx.cancel_token().clone();
        let result = std::thread::scope(|scope| {
            let sleeper = scope.spawn(|| ctx.sleep(Duration::from_secs(3600)));
            token.cancel("done waiting");
            sleeper.join().expect("no panic")
        });
        assert_eq!(
            result.expect_err("cancelled").class(),
            ErrorClass::Cancelled
        );
    }
}
