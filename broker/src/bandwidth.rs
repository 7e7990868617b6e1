//! Bounds on bytes per second, up and down apart. Knows nothing of requests.
//!
//! A bucket may go into debt by one piece and lets nobody through until it is paid, so the average
//! holds whatever the size of pieces. Waiters look at the rate again at least ten times a second,
//! so a change is felt at once.

use std::num::NonZeroU64;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use crate::source::Tapped;
use crate::{
    Broker, Context, Description, Error, ObjectInfo, ObjectName, Page, PageToken, PutMode,
    PutOutcome, Source, Visit,
};

/// Bytes let through at a time.
const PIECE_BYTES: usize = 256 * 1024;
/// The longest wait before the rate is looked at again.
const LOOK: Duration = Duration::from_millis(100);
/// How long an idle bucket saves up.
const SAVED: Duration = Duration::from_millis(100);

/// The rates of one or many [`Bandwidth`] wrappers, shared by clones and alterable while requests
/// run.
#[derive(Debug, Clone, Default)]
pub struct BandwidthLimits(Arc<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    up: Bucket,
    down: Bucket,
}

impl BandwidthLimits {
    /// No bounds, for now.
    pub fn unlimited() -> Self {
        BandwidthLimits::default()
    }

    /// Bounds in bytes per second; `None` is no bound.
    pub fn new(up: Option<NonZeroU64>, down: Option<NonZeroU64>) -> Self {
        let limits = BandwidthLimits::default();
        limits.set_up(up);
        limits.set_down(down);
        limits
    }

    /// Bounds bytes put per second from now on.
    pub fn set_up(&self, bytes_per_second: Option<NonZeroU64>) {
        self.0.up.set(bytes_per_second);
    }

    /// Bounds bytes got per second from now on.
    pub fn set_down(&self, bytes_per_second: Option<NonZeroU64>) {
        self.0.down.set(bytes_per_second);
    }

    /// The bound on bytes put per second.
    pub fn up(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.0.up.rate.load(Ordering::Relaxed))
    }

    /// The bound on bytes got per second.
    pub fn down(&self) -> Option<NonZeroU64> {
        NonZeroU64::new(self.0.down.rate.load(Ordering::Relaxed))
    }
}

#[derive(Debug, Default)]
struct Bucket {
    /// Bytes per second; 0 is no bound.
    rate: AtomicU64,
    level: Mutex<Level>,
}

#[derive(Debug, Default)]
struct Level {
    /// Bytes that may pass; below zero is debt.
    bytes: f64,
    filled: Option<Instant>,
}

impl Bucket {
    fn set(&self, rate: Option<NonZeroU64>) {
        self.rate
            .store(rate.map_or(0, NonZeroU64::get), Ordering::Relaxed);
    }

    fn is_bounded(&self) -> bool {
        self.rate.load(Ordering::Relaxed) != 0
    }

    /// Waits until `bytes` may pass. Fails when `ctx` ends first; then they did not pass.
    fn take(&self, ctx: &Context, bytes: usize) -> Result<(), Error> {
        loop {
            ctx.check()?;
            match self.try_take(ctx.now(), bytes) {
                None => return Ok(()),
                Some(wait) => ctx.sleep(wait.min(LOOK))?,
            }
        }
    }

    /// `None` once taken, else how long to wait at the present rate.
    fn try_take(&self, now: Instant, bytes: usize) -> Option<Duration> {
        let rate = self.rate.load(Ordering::Relaxed);
        if rate == 0 {
            return None;
        }
        let rate = rate as f64;
        let mut level = self.level.lock();
        let since = level
            .filled
            .map_or(SAVED, |filled| now.saturating_duration_since(filled));
        level.filled = Some(level.filled.map_or(now, |filled| filled.max(now)));
        level.bytes = (level.bytes + rate * since.as_secs_f64()).min(rate * SAVED.as_secs_f64());
        if level.bytes > 0.0 {
            level.bytes -= bytes as f64;
            return None;
        }
        // A little more than the debt, so that rounding does not cost another turn.
        Some(
            Duration::from_secs_f64((-level.bytes / rate).clamp(0.0, 1.0))
                + Duration::from_micros(10),
        )
    }
}

/// Lets bytes through to and from `inner` no faster than its [`BandwidthLimits`].
#[derive(Debug)]
pub struct Bandwidth<B> {
    inner: B,
    limits: BandwidthLimits,
}

impl<B: Broker> Bandwidth<B> {
    /// `inner` within `limits`; keep a clone of them to alter the rates.
    pub fn new(inner: B, limits: BandwidthLimits) -> Self {
        Bandwidth { inner, limits }
    }

    /// The broker inside.
    pub fn inner(&self) -> &B {
        &self.inner
    }
}

#[deny(
    clippy::missing_trait_methods,
    reason = "a wrapper forwards each request"
)]
impl<B: Broker> Broker for Bandwidth<B> {
    fn put(
        &self,
        ctx: &Context,
        name: &ObjectName,
        source: &dyn Source,
        mode: PutMode,
    ) -> Result<PutOutcome, Error> {
        let tap = |piece: &[u8]| self.limits.0.up.take(ctx, piece.len());
        self.inner
            .put(ctx, name, &Tapped::new(source, PIECE_BYTES, &tap), mode)
    }

    fn get_range(
        &self,
        ctx: &Context,
        name: &ObjectName,
        range: Range<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        let bucket = &self.limits.0.down;
        self.inner.get_range(ctx, name, range, &mut |piece| {
            if !bucket.is_bounded() {
                return visit(piece);
            }
            piece.chunks(PIECE_BYTES).try_for_each(|part| {
                bucket.take(ctx, part.len())?;
                visit(part)
            })
        })
    }

    fn get(&self, ctx: &Context, name: &ObjectName, max_len: u64) -> Result<Vec<u8>, Error> {
        let bytes = self.inner.get(ctx, name, max_len)?;
        self.limits.0.down.take(ctx, bytes.len())?;
        Ok(bytes)
    }

    fn stat(&self, ctx: &Context, name: &ObjectName) -> Result<Option<ObjectInfo>, Error> {
        self.inner.stat(ctx, name)
    }

    fn list(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.inner.list(ctx, prefix, after, limit)
    }

    fn delete(&self, ctx: &Context, name: &ObjectName) -> Result<(), Error> {
        self.inner.delete(ctx, name)
    }

    fn settle(&self, ctx: &Context, names: &[ObjectName]) -> Result<(), Error> {
        self.inner.settle(ctx, names)
    }

    fn describe(&self) -> Description {
        self.inner.describe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BytesSource, ErrorClass, ManualClock, MemoryBroker};

    const MIB: u64 = 1 << 20;

    fn name() -> ObjectName {
        ObjectName::parse("a").expect("name")
    }

    #[test]
    fn bytes_pass_at_the_bound_each_way() {
        let limits = BandwidthLimits::new(NonZeroU64::new(2 * MIB), NonZeroU64::new(4 * MIB));
        let broker = Bandwidth::new(MemoryBroker::new(), limits);
        let clock = Arc::new(ManualClock::new());
        let ctx = Context::new().with_clock(clock.clone());
        let bytes = vec![7; 8 * MIB as usize];
        broker
            .put(
                &ctx,
                &name(),
                &BytesSource::from(&bytes),
                PutMode::Overwrite,
            )
            .expect("put");
        let up = clock.elapsed().as_secs_f64();
        assert!((3.6..4.1).contains(&up), "{up}");
        let mut got = 0;
        broker
            .get_range(&ctx, &name(), 0..8 * MIB, &mut |piece| {
                got += piece.len() as u64;
                Ok(())
            })
            .expect("get");
        let down = clock.elapsed().as_secs_f64() - up;
        assert!((1.6..2.1).contains(&down), "{down}");
        assert_eq!(got, 8 * MIB);
    }

    #[test]
    fn a_bound_lifted_while_a_put_waits_lets_it_go() {
        let limits = BandwidthLimits::new(NonZeroU64::new(1), None);
        let broker = Bandwidth::new(MemoryBroker::new(), limits.clone());
        let ctx = Context::new();
        std::thread::scope(|scope| {
            let put = scope.spawn(|| {
                let bytes = vec![7; 4 * MIB as usize];
                broker.put(
                    &ctx,
                    &name(),
                    &BytesSource::from(&bytes),
                    PutMode::Overwrite,
                )
            });
            // At one byte a second this put would outlive us all.
            limits.set_up(None);
            put.join().expect("no panic").expect("put");
        });
    }

    #[test]
    fn a_waiting_put_can_be_cancelled_and_leaves_nothing() {
        let limits = BandwidthLimits::new(NonZeroU64::new(1), None);
        let broker = Bandwidth::new(MemoryBroker::new(), limits);
        let clock = Arc::new(ManualClock::new());
        let ctx = Context::new()
            .with_clock(clock)
            .with_timeout(Duration::from_secs(60));
        let bytes = vec![7; 4 * MIB as usize];
        let error = broker
            .put(
                &ctx,
                &name(),
                &BytesSource::from(&bytes),
                PutMode::Overwrite,
            )
            .expect_err("slow");
        assert_eq!(error.class(), ErrorClass::Cancelled);
        assert_eq!(broker.stat(&Context::new(), &name()).expect("stat"), None);
    }
}
