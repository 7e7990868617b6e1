//! The journal as the program hands it to the engine: counts how often it was made durable, for the
//! figures of the demo.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_engine::Event;
use holdfast_journal::{
    Appended, ArchiveInfo, ArchiveRequest, Archives, Checkpoint, Error, FrameHash, Journal, Kind,
    Record, Seq, StreamId, Visit,
};

/// Passes everything on to the journal inside.
pub(crate) struct Watched {
    inner: Arc<dyn Journal<Event>>,
    appends: AtomicU64,
}

impl Watched {
    pub(crate) fn new(inner: Arc<dyn Journal<Event>>) -> Self {
        Self {
            inner,
            appends: AtomicU64::new(0),
        }
    }

    /// Durable appends so far.
    pub(crate) fn appends(&self) -> u64 {
        self.appends.load(Ordering::Relaxed)
    }

    fn seen(&self, result: Result<Appended, Error>) -> Result<Appended, Error> {
        if result.is_ok() {
            self.appends.fetch_add(1, Ordering::Relaxed);
        }
        result
    }
}

impl Journal<Event> for Watched {
    fn append(&self, events: &[Event], at_ms: u64) -> Result<Appended, Error> {
        self.seen(self.inner.append(events, at_ms))
    }

    fn append_urgent(&self, events: &[Event], at_ms: u64) -> Result<Appended, Error> {
        self.seen(self.inner.append_urgent(events, at_ms))
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

    fn checkpoint_by(&self, projection: &str, through: Seq) -> Result<Option<Checkpoint>, Error> {
        self.inner.checkpoint_by(projection, through)
    }

    fn roll(&self) -> Result<(), Error> {
        self.inner.roll()
    }

    fn archive(&self, request: &ArchiveRequest<'_>) -> Result<Option<ArchiveInfo>, Error> {
        self.inner.archive(request)
    }

    fn archives(&self) -> Result<Archives, Error> {
        self.inner.archives()
    }

    fn history(&self, from: Seq, visit: &mut Visit<'_, Event>) -> Result<(), Error> {
        self.inner.history(from, visit)
    }

    fn history_ahead(&self, from: Seq, visit: &mut Visit<'_, Event>) -> Result<(), Error> {
        self.inner.history_ahead(from, visit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_engine::event::EngineStarted;
    use holdfast_journal::MemoryJournal;

    #[test]
    fn only_durable_appends_are_counted() {
        let watched = Watched::new(Arc::new(MemoryJournal::<Event>::new()));
        let event = Event::from(EngineStarted {
            epoch: 1,
            cluster: "c".into(),
            catalog: 0,
            mono_ms: 0,
        });
        watched.append(std::slice::from_ref(&event), 1).unwrap();
        watched
            .append_urgent(std::slice::from_ref(&event), 2)
            .unwrap();
        assert!(watched.append(&[], 3).is_err());
        assert_eq!(watched.appends(), 2);
    }
}
