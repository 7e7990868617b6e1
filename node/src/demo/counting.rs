//! A journal that counts how often it was made durable, for the floor that the demo shows.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_engine::Event;
use holdfast_journal::{
    Appended, Checkpoint, Error, FrameHash, Journal, Kind, Record, Seq, StreamId, Visit,
};

/// Counts appends on their way to the journal inside.
pub(crate) struct Counting {
    inner: Arc<dyn Journal<Event>>,
    appends: Arc<AtomicU64>,
}

impl Counting {
    /// `inner`, and the number of appends from now on.
    pub(crate) fn around(
        inner: Arc<dyn Journal<Event>>,
    ) -> (Arc<dyn Journal<Event>>, Arc<AtomicU64>) {
        let appends = Arc::new(AtomicU64::new(0));
        (
            Arc::new(Self {
                inner,
                appends: Arc::clone(&appends),
            }),
            appends,
        )
    }

    fn count(&self) {
        self.appends.fetch_add(1, Ordering::Relaxed);
    }
}

impl Journal<Event> for Counting {
    fn append(&self, events: &[Event], at_ms: u64) -> Result<Appended, Error> {
        self.count();
        self.inner.append(events, at_ms)
    }

    fn append_urgent(&self, events: &[Event], at_ms: u64) -> Result<Appended, Error> {
        self.count();
        self.inner.append_urgent(events, at_ms)
    }

    fn position(&self) -> (Seq, FrameHash) {
        self.inner.position()
    }

    fn first(&self) -> Seq {
        self.inner.first()
    }

    fn read(&self, from: Seq, visit: &mut Visit<'_, Event>) -> Result<(), Error> {
        self.inner.read(from, visit)
    }

    fn by_stream(
        &self,
        stream: StreamId,
        from: Seq,
        limit: usize,
    ) -> Result<Vec<Record<Event>>, Error> {
        self.inner.by_stream(stream, from, limit)
    }

    fn by_kind(&self, kind: Kind, from: Seq, limit: usize) -> Result<Vec<Record<Event>>, Error> {
        self.inner.by_kind(kind, from, limit)
    }

    fn checkpoint(&self, seq: Seq, projection: &str, state: &[u8]) -> Result<(), Error> {
        self.inner.checkpoint(seq, projection, state)
    }

    fn latest_checkpoint(&self, projection: &str) -> Result<Option<Checkpoint>, Error> {
        self.inner.latest_checkpoint(projection)
    }
}
