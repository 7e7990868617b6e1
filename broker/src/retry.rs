//! Trying again. Owns the policy of when and how often, and the one hard case: a put of which
//! nobody knows whether it landed. Does no I/O of its own.

use std::ops::Range;
use std::time::Duration;

use crate::hash;
use crate::{
    Broker, Context, Description, Error, ErrorClass, ObjectInfo, ObjectName, Page, PageToken,
    PutMode, PutOutcome, Source, Visit,
};

/// How much is compared at a time when a put is read back.
const COMPARE_BYTES: usize = 8 << 20;

/// How often to try, and how long to wait in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryPolicy {
    /// All tries of one request, the first included; 0 counts as 1.
    pub tries: u32,
    /// The wait after the first failure; each further one doubles it.
    pub base: Duration,
    /// No wait is longer, except where the remote asks for it.
    pub cap: Duration,
    /// Two brokers with different seeds wait differently; the same seed always waits the same.
    pub seed: u64,
}

impl Default for RetryPolicy {
    /// Eight tries, from 100 ms to 30 s.
    fn default() -> Self {
        RetryPolicy {
            tries: 8,
            base: Duration::from_millis(100),
            cap: Duration::from_secs(30),
            seed: 0,
        }
    }
}

impl RetryPolicy {
    /// The wait after the failed try number `tried` (from 1) of a request on `name`: between half
    /// of the doubled base and all of it, by a hash of seed, name and number, so that many
    /// requests that fail together do not return together.
    pub fn delay(&self, name: &str, tried: u32) -> Duration {
        let doublings = tried.saturating_sub(1).min(31);
        let full = self.base.saturating_mul(1 << doublings).min(self.cap);
        let half = full / 2;
        let per_mille = hash::of(self.seed, name, u64::from(tried)) % 1001;
        // The cast holds: a remainder of 1001.
        half + (full - half).saturating_mul(per_mille as u32) / 1000
    }
}

/// Tries requests again that failed in a way that may heal.
///
/// A broken read goes on behind the last byte handed over. A conditional put of unknown outcome is
/// read back and compared with its source: the same bytes are answered [`PutOutcome::Created`],
/// other bytes [`PutOutcome::Exists`], and where nothing is there it is sent again. If it stays
/// unknown until the tries are over, the error is [`ErrorClass::Ambiguous`], whatever the last one
/// was. An error of a source or a visitor ends the request as it does without retries, except that
/// a source may itself say [`ErrorClass::Retry`].
#[derive(Debug)]
pub struct Retry<B> {
    inner: B,
    policy: RetryPolicy,
}

/// What a read-back found in the place of a put.
enum Held {
    Nothing,
    Ours,
    Another,
}

impl<B: Broker> Retry<B> {
    /// `inner` with retries by `policy`.
    pub fn new(inner: B, policy: RetryPolicy) -> Self {
        Retry { inner, policy }
    }

    /// The broker inside.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    fn again<T>(
        &self,
        ctx: &Context,
        what: &str,
        mut attempt: impl FnMut() -> Result<T, Tried>,
    ) -> Result<T, Error> {
        let mut tried = 0;
        loop {
            ctx.check()?;
            let error = match attempt() {
                Ok(value) => return Ok(value),
                Err(Tried::Final(error)) => return Err(error),
                Err(Tried::Failed(error)) => error,
            };
            tried += 1;
            if !error.class().heals() && error.class() != ErrorClass::Ambiguous {
                return Err(error);
            }
            if tried >= self.policy.tries {
                return Err(error.context(format_args!("gave up after {tried} tries")));
            }
            self.pause(ctx, what, tried, error)?;
        }
    }

    /// Waits before the next try, or gives `error` back where no further try is allowed.
    fn pause(&self, ctx: &Context, what: &str, tried: u32, error: Error) -> Result<(), Error> {
        let mut wait = self.policy.delay(what, tried);
        if let ErrorClass::Throttled { after: Some(after) } = error.class() {
            wait = wait.max(after);
        }
        if ctx
            .deadline()
            .is_some_and(|deadline| deadline.saturating_duration_since(ctx.now()) <= wait)
        {
            return Err(error.context(format_args!(
                "gave up after {tried} tries, as no time is left for another"
            )));
        }
        if !ctx.take_retry() {
            return Err(error.context(format_args!(
                "gave up after {tried} tries, as the budget of retries is spent"
            )));
        }
        log::debug!("try {tried} on {what:?} failed, next in {wait:?}: {error}");
        ctx.sleep(wait)
    }

    /// Looks whether the object under `name` is what `source` gives.
    fn read_back(
        &self,
        ctx: &Context,
        name: &ObjectName,
        source: &dyn Source,
    ) -> Result<Held, Error> {
        match self.inner.stat(ctx, name)? {
            None => return Ok(Held::Nothing),
            Some(info) if info.len != source.len() => return Ok(Held::Another),
            Some(_) => {}
        }
        let mut comparison = Comparison {
            broker: &self.inner,
            ctx,
            name,
            at: 0,
            gathered: Vec::new(),
            differs: false,
            failure: None,
        };
        let read = source
            .read(&mut |piece| comparison.piece(piece))
            .and_then(|()| comparison.compare());
        if comparison.differs {
            return Ok(Held::Another);
        }
        match (read, comparison.failure) {
            (_, Some(ErrorClass::Missing)) => Ok(Held::Nothing),
            (_, Some(ErrorClass::Corrupt)) => Ok(Held::Another),
            (Err(error), _) => Err(error),
            (Ok(()), _) => {
                self.inner.settle(ctx, std::slice::from_ref(name))?;
                Ok(Held::Ours)
            }
        }
    }

    /// One try of a put; `in_doubt` says, and learns, whether an earlier one may have landed.
    fn try_put(
        &self,
        ctx: &Context,
        name: &ObjectName,
        source: &dyn Source,
        mode: PutMode,
        in_doubt: &mut bool,
    ) -> Result<PutOutcome, Error> {
        let conditional = mode == PutMode::CreateIfAbsent;
        if *in_doubt && conditional {
            match self.read_back(ctx, name, source)? {
                Held::Ours => return Ok(PutOutcome::Created),
                Held::Another => return Ok(PutOutcome::Exists),
                Held::Nothing => {}
            }
        }
        match self.inner.put(ctx, name, source, mode) {
            // An earlier try of ours may have landed late.
            Ok(PutOutcome::Exists) if *in_doubt => match self.read_back(ctx, name, source)? {
                Held::Ours => Ok(PutOutcome::Created),
                Held::Another => Ok(PutOutcome::Exists),
                Held::Nothing => {
                    let text =
                        format!("object {name:?} was there for a put and is gone for a look");
                    Err(Error::new(ErrorClass::Ambiguous, text))
                }
            },
            Err(error) => {
                *in_doubt |= error.class() == ErrorClass::Ambiguous;
                Err(error)
            }
            done => done,
        }
    }
}

/// How one try failed.
enum Tried {
    /// By its own class.
    Failed(Error),
    /// Not to be tried again, whatever its class.
    Final(Error),
}

impl From<Error> for Tried {
    fn from(error: Error) -> Self {
        Tried::Failed(error)
    }
}

/// Compares an object with pieces of a source, many pieces by one request.
struct Comparison<'a, B> {
    broker: &'a B,
    ctx: &'a Context,
    name: &'a ObjectName,
    at: u64,
    gathered: Vec<u8>,
    differs: bool,
    /// The class of the error with which the remote refused the object, as opposed to the source.
    failure: Option<ErrorClass>,
}

impl<B: Broker> Comparison<'_, B> {
    fn piece(&mut self, piece: &[u8]) -> Result<(), Error> {
        for part in piece.chunks(COMPARE_BYTES) {
            if self.gathered.len() + part.len() > COMPARE_BYTES {
                self.compare()?;
            }
            self.gathered.extend_from_slice(part);
        }
        Ok(())
    }

    fn compare(&mut self) -> Result<(), Error> {
        let gathered = std::mem::take(&mut self.gathered);
        let end = self.at + gathered.len() as u64;
        let mut rest = gathered.as_slice();
        let mut differs = false;
        let got = self
            .broker
            .get_range(self.ctx, self.name, self.at..end, &mut |piece| match rest
                .split_at_checked(piece.len())
            {
                Some((own, tail)) if own == piece => {
                    rest = tail;
                    Ok(())
                }
                _ => {
                    differs = true;
                    Err(Error::new(
                        ErrorClass::Exists,
                        "the object's bytes are another's",
                    ))
                }
            });
        self.differs |= differs;
        if let Err(error) = &got {
            self.failure = Some(error.class());
        }
        self.at = end;
        got
    }
}

#[deny(
    clippy::missing_trait_methods,
    reason = "a wrapper forwards each request"
)]
impl<B: Broker> Broker for Retry<B> {
    fn put(
        &self,
        ctx: &Context,
        name: &ObjectName,
        source: &dyn Source,
        mode: PutMode,
    ) -> Result<PutOutcome, Error> {
        let mut in_doubt = false;
        let put = self.again(ctx, name.as_str(), || {
            Ok(self.try_put(ctx, name, source, mode, &mut in_doubt)?)
        });
        put.map_err(|error| match error.class() {
            ErrorClass::Cancelled | ErrorClass::Ambiguous => error,
            _ if in_doubt => error
                .with_class(ErrorClass::Ambiguous)
                .context(format_args!("object {name:?} may have been put, and then")),
            _ => error,
        })
    }

    fn get_range(
        &self,
        ctx: &Context,
        name: &ObjectName,
        range: Range<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        let mut at = range.start;
        self.again(ctx, name.as_str(), || {
            if at > range.start && at >= range.end {
                return Ok(());
            }
            let mut refused = false;
            let got = self
                .inner
                .get_range(ctx, name, at..range.end, &mut |piece| {
                    visit(piece).inspect_err(|_| refused = true)?;
                    at += piece.len() as u64;
                    Ok(())
                });
            got.map_err(|error| {
                if refused {
                    Tried::Final(error)
                } else {
                    Tried::Failed(error)
                }
            })
        })
    }

    fn get(&self, ctx: &Context, name: &ObjectName, max_len: u64) -> Result<Vec<u8>, Error> {
        self.again(ctx, name.as_str(), || {
            Ok(self.inner.get(ctx, name, max_len)?)
        })
    }

    fn stat(&self, ctx: &Context, name: &ObjectName) -> Result<Option<ObjectInfo>, Error> {
        self.again(ctx, name.as_str(), || Ok(self.inner.stat(ctx, name)?))
    }

    fn list(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.again(ctx, prefix, || {
            Ok(self.inner.list(ctx, prefix, after, limit)?)
        })
    }

    fn delete(&self, ctx: &Context, name: &ObjectName) -> Result<(), Error> {
        self.again(ctx, name.as_str(), || Ok(self.inner.delete(ctx, name)?))
    }

    fn settle(&self, ctx: &Context, names: &[ObjectName]) -> Result<(), Error> {
        let what = names.first().map_or("", ObjectName::as_str);
        self.again(ctx, what, || Ok(self.inner.settle(ctx, names)?))
    }

    fn describe(&self) -> Description {
        self.inner.describe()
    }
}

#[cfg(test)]
mod tests;
