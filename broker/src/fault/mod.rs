//! A remote that misbehaves by plan. Owns the carrying out of a [`FaultPlan`]'s troubles around a
//! true broker; what is not told to fail is passed through unchanged. For tests and trials only.

mod plan;

#[cfg(test)]
mod tests;

use std::ops::Range;
use std::time::Duration;

pub use self::plan::{FaultPlan, FaultRule, Trouble, When};
use crate::{
    Broker, BytesSource, Context, Description, Error, ErrorClass, ObjectInfo, ObjectName, Page,
    PageToken, PutMode, PutOutcome, Request, Source, Visit,
};

/// How long a hanging request sleeps at a time.
const HANG_STEP: Duration = Duration::from_millis(50);

/// Makes trouble for `inner` as its [`FaultPlan`] says.
#[derive(Debug)]
pub struct Fault<B> {
    inner: B,
    plan: FaultPlan,
}

impl<B: Broker> Fault<B> {
    /// `inner` with the troubles of `plan`; keep a clone of the plan to add to it, clear it, or
    /// see what it did.
    pub fn new(inner: B, plan: FaultPlan) -> Self {
        Fault { inner, plan }
    }

    /// The broker inside, which tells the truth.
    pub fn inner(&self) -> &B {
        &self.inner
    }

    /// Carries out a trouble that needs nothing of the request, or hands it on.
    fn trouble(
        &self,
        ctx: &Context,
        request: Request,
        name: &str,
    ) -> Result<Option<Trouble>, Error> {
        ctx.check()?;
        match self.plan.next(request, name) {
            Some(Trouble::Fail(class)) => Err(planned(class, request, name)),
            Some(Trouble::Hang) => Err(hang(ctx)),
            Some(Trouble::Delay(duration)) => {
                ctx.sleep(duration)?;
                Ok(None)
            }
            other => Ok(other),
        }
    }

    /// A request without bytes: it can fail before, fail after, or be answered without being done.
    fn plain<T>(
        &self,
        ctx: &Context,
        request: Request,
        name: &str,
        lie: Option<T>,
        act: impl FnOnce() -> Result<T, Error>,
    ) -> Result<T, Error> {
        match (self.trouble(ctx, request, name)?, lie) {
            (Some(Trouble::LandThenFail(class)), _) => {
                act()?;
                Err(planned(class, request, name))
            }
            (Some(Trouble::LandThenHang), _) => {
                act()?;
                Err(hang(ctx))
            }
            (Some(Trouble::Lie), Some(answer)) => Ok(answer),
            _ => act(),
        }
    }

    /// Puts what the source gives up to `bytes` and then fails: the source was partly consumed,
    /// nothing is visible.
    fn break_put(
        &self,
        ctx: &Context,
        name: &ObjectName,
        source: &dyn Source,
        mode: PutMode,
        (bytes, class): (u64, ErrorClass),
    ) -> Result<PutOutcome, Error> {
        let error = planned(class, Request::Put, name.as_str());
        self.inner.put(
            ctx,
            name,
            &Broken {
                inner: source,
                bytes,
                error: &error,
            },
            mode,
        )?;
        // What is there already asks for no bytes, and the request fails all the same.
        Err(error)
    }

    /// Leaves the first `bytes` of the source visible under the name, as a remote without atomic
    /// puts can.
    fn tear_put(
        &self,
        ctx: &Context,
        name: &ObjectName,
        source: &dyn Source,
        mode: PutMode,
        bytes: u64,
    ) -> Result<PutOutcome, Error> {
        let most = usize::try_from(bytes.min(source.len())).unwrap_or(usize::MAX);
        let mut part = Vec::new();
        source.read(&mut |piece| {
            part.extend_from_slice(&piece[..piece.len().min(most - part.len())]);
            Ok(())
        })?;
        self.inner.put(ctx, name, &BytesSource::from(part), mode)?;
        Err(planned(ErrorClass::Ambiguous, Request::Put, name.as_str()))
    }

    fn get_through(
        &self,
        ctx: &Context,
        name: &ObjectName,
        range: Range<u64>,
        trouble: Option<Trouble>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        let mut at = range.start;
        match trouble {
            Some(Trouble::FailAfter { bytes, class }) => {
                let end = range.end.min(range.start.saturating_add(bytes));
                self.inner
                    .get_range(ctx, name, range.start..end.max(range.start), visit)?;
                Err(planned(class, Request::Get, name.as_str()))
            }
            Some(Trouble::Corrupt { at: flipped }) => {
                self.inner.get_range(ctx, name, range, &mut |piece| {
                    let inside = flipped
                        .checked_sub(at)
                        .and_then(|n| usize::try_from(n).ok())
                        .filter(|n| *n < piece.len());
                    at += piece.len() as u64;
                    match inside {
                        Some(n) => {
                            let mut bytes = piece.to_vec();
                            bytes[n] ^= 1;
                            visit(&bytes)
                        }
                        None => visit(piece),
                    }
                })
            }
            Some(Trouble::LandThenFail(class)) => {
                self.inner.get_range(ctx, name, range, visit)?;
                Err(planned(class, Request::Get, name.as_str()))
            }
            Some(Trouble::LandThenHang) => {
                self.inner.get_range(ctx, name, range, visit)?;
                Err(hang(ctx))
            }
            _ => self.inner.get_range(ctx, name, range, visit),
        }
    }
}

/// A source that fails after some bytes, at the latest behind its end.
struct Broken<'a> {
    inner: &'a dyn Source,
    bytes: u64,
    error: &'a Error,
}

impl Source for Broken<'_> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read(&self, visit: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let mut left = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        self.inner.read(&mut |piece| {
            let good = &piece[..piece.len().min(left)];
            left -= good.len();
            if !good.is_empty() {
                visit(good)?;
            }
            if good.len() < piece.len() {
                Err(self.error.clone())
            } else {
                Ok(())
            }
        })?;
        Err(self.error.clone())
    }
}

/// Waits for the end of the context and gives its error.
fn hang(ctx: &Context) -> Error {
    loop {
        if let Err(error) = ctx.sleep(HANG_STEP) {
            return error;
        }
    }
}

fn planned(class: ErrorClass, request: Request, name: &str) -> Error {
    Error::new(
        class,
        format!("planned failure ({class}) of {request:?} on {name:?}"),
    )
}

#[deny(
    clippy::missing_trait_methods,
    reason = "a wrapper forwards each request"
)]
impl<B: Broker> Broker for Fault<B> {
    fn put(
        &self,
        ctx: &Context,
        name: &ObjectName,
        source: &dyn Source,
        mode: PutMode,
    ) -> Result<PutOutcome, Error> {
        match self.trouble(ctx, Request::Put, name.as_str())? {
            Some(Trouble::FailAfter { bytes, class }) => {
                self.break_put(ctx, name, source, mode, (bytes, class))
            }
            Some(Trouble::Tear { bytes }) => self.tear_put(ctx, name, source, mode, bytes),
            Some(Trouble::LandThenFail(class)) => {
                self.inner.put(ctx, name, source, mode)?;
                Err(planned(class, Request::Put, name.as_str()))
            }
            Some(Trouble::LandThenHang) => {
                self.inner.put(ctx, name, source, mode)?;
                Err(hang(ctx))
            }
            Some(Trouble::Lie) => {
                source.read(&mut |_| ctx.check())?;
                Ok(PutOutcome::Created)
            }
            _ => self.inner.put(ctx, name, source, mode),
        }
    }

    fn get_range(
        &self,
        ctx: &Context,
        name: &ObjectName,
        range: Range<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        let trouble = self.trouble(ctx, Request::Get, name.as_str())?;
        self.get_through(ctx, name, range, trouble, visit)
    }

    fn get(&self, ctx: &Context, name: &ObjectName, max_len: u64) -> Result<Vec<u8>, Error> {
        let Some(trouble) = self.trouble(ctx, Request::Get, name.as_str())? else {
            return self.inner.get(ctx, name, max_len);
        };
        let whole = self.inner.get(ctx, name, max_len)?;
        let mut bytes = Vec::with_capacity(whole.len());
        self.get_through(
            ctx,
            name,
            0..whole.len() as u64,
            Some(trouble),
            &mut |piece| {
                bytes.extend_from_slice(piece);
                Ok(())
            },
        )?;
        Ok(bytes)
    }

    fn stat(&self, ctx: &Context, name: &ObjectName) -> Result<Option<ObjectInfo>, Error> {
        self.plain(ctx, Request::Stat, name.as_str(), Some(None), || {
            self.inner.stat(ctx, name)
        })
    }

    fn list(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page, Error> {
        let lie = Some(Page::default());
        self.plain(ctx, Request::List, prefix, lie, || {
            self.inner.list(ctx, prefix, after, limit)
        })
    }

    fn delete(&self, ctx: &Context, name: &ObjectName) -> Result<(), Error> {
        self.plain(ctx, Request::Delete, name.as_str(), Some(()), || {
            self.inner.delete(ctx, name)
        })
    }

    fn settle(&self, ctx: &Context, names: &[ObjectName]) -> Result<(), Error> {
        let name = names.first().map_or("", ObjectName::as_str);
        self.plain(ctx, Request::Settle, name, Some(()), || {
            self.inner.settle(ctx, names)
        })
    }

    fn describe(&self) -> Description {
        self.inner.describe()
    }
}
