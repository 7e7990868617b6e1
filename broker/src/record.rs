//! Counting what goes through: requests by kind, failures, bytes each way, and the calls
//! themselves where wanted. Changes nothing.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;

use crate::source::Tapped;
use crate::{
    Broker, Context, Description, Error, ErrorClass, ObjectInfo, ObjectName, Page, PageToken,
    PutMode, PutOutcome, Request, Source, Visit,
};

/// Which calls a [`Record`] keeps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// None; only figures are counted.
    Counted,
    /// The last so many.
    Kept(usize),
}

/// One request as it went by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// What kind of request.
    pub request: Request,
    /// The object's name; the prefix of a listing; the first name of many.
    pub name: String,
    /// Bytes that went up or down.
    pub bytes: u64,
    /// The class of its failure, if it failed.
    pub failed: Option<ErrorClass>,
}

/// What has gone through so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Figures {
    /// Requests by kind, in the order of [`Request::ALL`].
    requests: [u64; Request::ALL.len()],
    /// Those of them that failed.
    failed: [u64; Request::ALL.len()],
    /// Bytes that the adapter took from sources, failed puts included.
    pub up_bytes: u64,
    /// Bytes that the adapter handed over, failed gets included.
    pub down_bytes: u64,
}

impl Figures {
    /// Requests of this kind, failed ones included.
    pub fn requests(&self, request: Request) -> u64 {
        self.requests[request as usize]
    }

    /// Failed requests of this kind.
    pub fn failed(&self, request: Request) -> u64 {
        self.failed[request as usize]
    }

    /// Requests of all kinds.
    pub fn all_requests(&self) -> u64 {
        self.requests.iter().sum()
    }
}

/// A handle to read what a [`Record`] counts; clones are the same handle.
#[derive(Debug, Clone)]
pub struct Recorder(Arc<Counters>);

#[derive(Debug)]
struct Counters {
    requests: [AtomicU64; Request::ALL.len()],
    failed: [AtomicU64; Request::ALL.len()],
    up_bytes: AtomicU64,
    down_bytes: AtomicU64,
    kept: usize,
    calls: Mutex<VecDeque<Call>>,
}

impl Recorder {
    /// The figures now.
    pub fn figures(&self) -> Figures {
        let load = |counters: &[AtomicU64; Request::ALL.len()]| {
            counters.each_ref().map(|c| c.load(Ordering::Relaxed))
        };
        Figures {
            requests: load(&self.0.requests),
            failed: load(&self.0.failed),
            up_bytes: self.0.up_bytes.load(Ordering::Relaxed),
            down_bytes: self.0.down_bytes.load(Ordering::Relaxed),
        }
    }

    /// The calls kept, oldest first, in the order in which they ended.
    pub fn calls(&self) -> Vec<Call> {
        self.0.calls.lock().iter().cloned().collect()
    }

    fn note<T>(&self, request: Request, name: &str, bytes: u64, result: &Result<T, Error>) {
        let counters = &self.0;
        counters.requests[request as usize].fetch_add(1, Ordering::Relaxed);
        let failed = result.as_ref().err().map(Error::class);
        if failed.is_some() {
            counters.failed[request as usize].fetch_add(1, Ordering::Relaxed);
        }
        if counters.kept > 0 {
            let mut calls = counters.calls.lock();
            if calls.len() >= counters.kept {
                calls.pop_front();
            }
            calls.push_back(Call {
                request,
                name: name.to_owned(),
                bytes,
                failed,
            });
        }
    }
}

/// Counts what goes through to `inner`.
#[derive(Debug)]
pub struct Record<B> {
    inner: B,
    recorder: Recorder,
}

impl<B: Broker> Record<B> {
    /// `inner`, counted from zero.
    pub fn new(inner: B, calls: Calls) -> Self {
        let kept = match calls {
            Calls::Counted => 0,
            Calls::Kept(most) => most,
        };
        let counters = Counters {
            requests: Default::default(),
            failed: Default::default(),
            up_bytes: AtomicU64::new(0),
            down_bytes: AtomicU64::new(0),
            kept,
            calls: Mutex::default(),
        };
        Record {
            inner,
            recorder: Recorder(Arc::new(counters)),
        }
    }

    /// The handle to read the figures by.
    pub fn recorder(&self) -> Recorder {
        self.recorder.clone()
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
impl<B: Broker> Broker for Record<B> {
    fn put(
        &self,
        ctx: &Context,
        name: &ObjectName,
        source: &dyn Source,
        mode: PutMode,
    ) -> Result<PutOutcome, Error> {
        let bytes = AtomicU64::new(0);
        let tap = |piece: &[u8]| {
            bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
            self.recorder
                .0
                .up_bytes
                .fetch_add(piece.len() as u64, Ordering::Relaxed);
            Ok(())
        };
        let result = self
            .inner
            .put(ctx, name, &Tapped::new(source, usize::MAX, &tap), mode);
        self.recorder.note(
            Request::Put,
            name.as_str(),
            bytes.load(Ordering::Relaxed),
            &result,
        );
        result
    }

    fn get_range(
        &self,
        ctx: &Context,
        name: &ObjectName,
        range: Range<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        let mut bytes = 0;
        let result = self.inner.get_range(ctx, name, range, &mut |piece| {
            bytes += piece.len() as u64;
            self.recorder
                .0
                .down_bytes
                .fetch_add(piece.len() as u64, Ordering::Relaxed);
            visit(piece)
        });
        self.recorder
            .note(Request::Get, name.as_str(), bytes, &result);
        result
    }

    fn get(&self, ctx: &Context, name: &ObjectName, max_len: u64) -> Result<Vec<u8>, Error> {
        let result = self.inner.get(ctx, name, max_len);
        let bytes = result.as_ref().map_or(0, |bytes| bytes.len() as u64);
        self.recorder
            .0
            .down_bytes
            .fetch_add(bytes, Ordering::Relaxed);
        self.recorder
            .note(Request::Get, name.as_str(), bytes, &result);
        result
    }

    fn stat(&self, ctx: &Context, name: &ObjectName) -> Result<Option<ObjectInfo>, Error> {
        let result = self.inner.stat(ctx, name);
        self.recorder.note(Request::Stat, name.as_str(), 0, &result);
        result
    }

    fn list(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page, Error> {
        let result = self.inner.list(ctx, prefix, after, limit);
        self.recorder.note(Request::List, prefix, 0, &result);
        result
    }

    fn delete(&self, ctx: &Context, name: &ObjectName) -> Result<(), Error> {
        let result = self.inner.delete(ctx, name);
        self.recorder
            .note(Request::Delete, name.as_str(), 0, &result);
        result
    }

    fn settle(&self, ctx: &Context, names: &[ObjectName]) -> Result<(), Error> {
        let result = self.inner.settle(ctx, names);
        self.recorder.note(
            Request::Settle,
            names.first().map_or("", ObjectName::as_str),
            0,
            &result,
        );
        result
    }

    fn describe(&self) -> Description {
        self.inner.describe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{BrokerExt, MemoryBroker};

    #[test]
    fn figures_and_calls_say_what_went_through() {
        let broker = Record::new(MemoryBroker::new(), Calls::Kept(3));
        let recorder = broker.recorder();
        let (ctx, name) = (Context::new(), ObjectName::parse("a/b").expect("name"));
        broker
            .put_bytes(&ctx, &name, b"12345", PutMode::CreateIfAbsent)
            .expect("put");
        broker
            .put_bytes(&ctx, &name, b"12345", PutMode::CreateIfAbsent)
            .expect("put");
        broker
            .get_range(&ctx, &name, 1..3, &mut |_| Ok(()))
            .expect("get");
        assert_eq!(broker.get(&ctx, &name, 9).expect("get"), b"12345");
        broker
            .get_range(&ctx, &name, 0..9, &mut |_| Ok(()))
            .expect_err("too far");
        broker.list_all(&ctx, "a/").expect("list");

        let figures = recorder.figures();
        assert_eq!((figures.up_bytes, figures.down_bytes), (5, 7));
        assert_eq!(
            (figures.requests(Request::Put), figures.failed(Request::Put)),
            (2, 0)
        );
        assert_eq!(
            (figures.requests(Request::Get), figures.failed(Request::Get)),
            (3, 1)
        );
        assert_eq!(figures.all_requests(), 6);
        let call = |request, name: &str, bytes, failed| Call {
            request,
            name: name.to_owned(),
            bytes,
            failed,
        };
        let expected = [
            call(Request::Get, "a/b", 5, None),
            call(Request::Get, "a/b", 0, Some(ErrorClass::Corrupt)),
            call(Request::List, "a/", 0, None),
        ];
        assert_eq!(recorder.calls(), expected);
    }
}
