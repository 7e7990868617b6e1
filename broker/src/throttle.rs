//! Bounds on requests: how many at a time, how many per second. Knows nothing of bytes.

use std::num::{NonZeroU32, NonZeroUsize};
use std::ops::Range;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};

use crate::{
    Broker, Context, Description, Error, ObjectInfo, ObjectName, Page, PageToken, PutMode,
    PutOutcome, Source, Visit,
};

/// How often a waiter for a free place looks at its context.
const LOOK: Duration = Duration::from_millis(20);

/// Bounds of a [`Throttle`]; `None` is no bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ThrottleLimits {
    /// Requests under way at a time.
    pub concurrent: Option<NonZeroUsize>,
    /// Requests begun per second, evenly spaced.
    pub per_second: Option<NonZeroU32>,
}

/// Lets requests through to `inner` no faster than its [`ThrottleLimits`]; those that wait give up
/// when their context ends.
#[derive(Debug)]
pub struct Throttle<B> {
    inner: B,
    limits: ThrottleLimits,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    active: usize,
    /// When the next request may begin.
    next: Option<Instant>,
}

/// A place among the requests under way.
struct Place<'a, B>(&'a Throttle<B>);

impl<B> Drop for Place<'_, B> {
    fn drop(&mut self) {
        self.0.state.lock().active -= 1;
        self.0.freed.notify_one();
    }
}

impl<B: Broker> Throttle<B> {
    /// `inner` within `limits`.
    pub fn new(inner: B, limits: ThrottleLimits) -> Self {
        Throttle {
            inner,
            limits,
            state: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// The broker inside.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    fn enter(&self, ctx: &Context) -> Result<Place<'_, B>, Error> {
        let most = self.limits.concurrent.map_or(usize::MAX, NonZeroUsize::get);
        let mut state = self.state.lock();
        loop {
            ctx.check()?;
            if state.active < most {
                break;
            }
            self.freed.wait_for(&mut state, LOOK);
        }
        state.active += 1;
        let wait = self.limits.per_second.map(|rate| {
            let now = ctx.now();
            let begin = state.next.map_or(now, |next| next.max(now));
            state.next = begin.checked_add(Duration::from_secs(1) / rate.get());
            begin.saturating_duration_since(now)
        });
        drop(state);
        let place = Place(self);
        match wait {
            Some(wait) if !wait.is_zero() => ctx.sleep(wait)?,
            _ => {}
        }
        Ok(place)
    }
}

#[deny(
    clippy::missing_trait_methods,
    reason = "a wrapper forwards each request"
)]
impl<B: Broker> Broker for Throttle<B> {
    fn put(
        &self,
        ctx: &Context,
        name: &ObjectName,
        source: &dyn Source,
        mode: PutMode,
    ) -> Result<PutOutcome, Error> {
        let _place = self.enter(ctx)?;
        self.inner.put(ctx, name, source, mode)
    }

    fn get_range(
        &self,
        ctx: &Context,
        name: &ObjectName,
        range: Range<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        let _place = self.enter(ctx)?;
        self.inner.get_range(ctx, name, range, visit)
    }

    fn get(&self, ctx: &Context, name: &ObjectName, max_len: u64) -> Result<Vec<u8>, Error> {
        let _place = self.enter(ctx)?;
        self.inner.get(ctx, name, max_len)
    }

    fn stat(&self, ctx: &Context, name: &ObjectName) -> Result<Option<ObjectInfo>, Error> {
        let _place = self.enter(ctx)?;
        self.inner.stat(ctx, name)
    }

    fn list(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page, Error> {
        let _place = self.enter(ctx)?;
        self.inner.list(ctx, prefix, after, limit)
    }

    fn delete(&self, ctx: &Context, name: &ObjectName) -> Result<(), Error> {
        let _place = self.enter(ctx)?;
        self.inner.delete(ctx, name)
    }

    fn settle(&self, ctx: &Context, names: &[ObjectName]) -> Result<(), Error> {
        let _place = self.enter(ctx)?;
        self.inner.settle(ctx, names)
    }

    fn describe(&self) -> Description {
        self.inner.describe()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::{BytesSource, ErrorClass, ManualClock, MemoryBroker};

    #[test]
    fn no_more_than_the_limit_run_at_a_time() {
        let limits = ThrottleLimits {
            concurrent: NonZeroUsize::new(2),
            per_second: None,
        };
        let broker = Throttle::new(MemoryBroker::new(), limits);
        let (ctx, name) = (Context::new(), ObjectName::parse("a").expect("name"));
        broker
            .put(&ctx, &name, &BytesSource::from("x"), PutMode::Overwrite)
            .expect("put");
        let (active, peak) = (AtomicUsize::new(0), AtomicUsize::new(0));
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    broker.get_range(&ctx, &name, 0..1, &mut |_| {
                        peak.fetch_max(active.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                        std::thread::sleep(Duration::from_millis(5));
                        active.fetch_sub(1, Ordering::SeqCst);
                        Ok(())
                    })
                });
            }
        });
        assert_eq!(peak.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn requests_begin_evenly_spaced() {
        let limits = ThrottleLimits {
            concurrent: None,
            per_second: NonZeroU32::new(10),
        };
        let broker = Throttle::new(MemoryBroker::new(), limits);
        let clock = Arc::new(ManualClock::new());
        let ctx = Context::new().with_clock(clock.clone());
        for _ in 0..21 {
            broker.list(&ctx, "", None, 1).expect("list");
        }
        assert_eq!(clock.elapsed(), Duration::from_secs(2));
    }

    #[test]
    fn a_waiter_for_a_place_can_be_cancelled() {
        let limits = ThrottleLimits {
            concurrent: NonZeroUsize::new(1),
            per_second: None,
        };
        let broker = Throttle::new(MemoryBroker::new(), limits);
        let place = broker.enter(&Context::new()).expect("first");
        let late = Context::new().with_timeout(Duration::from_millis(30));
        let error = broker.list(&late, "", None, 1).expect_err("no place");
        assert_eq!(error.class(), ErrorClass::Cancelled);
        drop(place);
        broker
            .list(&Context::new(), "", None, 1)
            .expect("free again");
    }
}
