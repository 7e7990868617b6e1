//! The in-memory twin of the file journal: same contract, same hashes, no disk.
//!
//! It keeps real frames, so what cannot be encoded and decoded fails here too. For tests of its
//! owners it can fail a sync on command, and a new one can be opened on what survived.

use std::{collections::BTreeMap, marker::PhantomData, sync::Arc};

use parking_lot::Mutex;

use crate::{
    checkpoint::check_name,
    error::{Error, ErrorKind},
    event::Event,
    frame,
    ids::{FrameHash, Kind, Seq, StreamId},
    journal::{Appended, Checkpoint, Journal, Record, Visit},
    reader::record,
    transaction::{Tip, Transaction},
};

/// What happens to the events of an append whose sync fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// They are in the journal that is opened next.
    Kept,
    /// They are gone.
    Lost,
}

#[derive(Clone, Debug, Default)]
struct Kept {
    frames: Vec<Arc<[u8]>>,
    checkpoints: BTreeMap<String, Vec<Checkpoint>>,
}

#[derive(Debug)]
struct Inner {
    kept: Kept,
    tip: Tip,
    syncs: u64,
    fail_at: Option<(u64, Fate)>,
    full: bool,
    poisoned: Option<Error>,
    /// Written by the append whose sync failed; visible only to the next opening.
    uncertain: Vec<Arc<[u8]>>,
}

/// A journal in memory.
#[derive(Debug)]
pub struct MemoryJournal<E> {
    inner: Mutex<Inner>,
    events: PhantomData<fn() -> E>,
}

impl<E: Event> Default for MemoryJournal<E> {
    fn default() -> Self {
        Self::new()
    }
}

impl<E: Event> MemoryJournal<E> {
    /// An empty journal.
    #[must_use]
    pub fn new() -> Self {
        let tip = Tip {
            seq: Seq::ZERO,
            hash: FrameHash::genesis(E::FAMILY),
        };
        Self::with(Kept::default(), tip)
    }

    fn with(kept: Kept, tip: Tip) -> Self {
        let inner = Inner {
            kept,
            tip,
            syncs: 0,
            fail_at: None,
            full: false,
            poisoned: None,
            uncertain: Vec::new(),
        };
        Self {
            inner: Mutex::new(inner),
            events: PhantomData,
        }
    }

    /// A journal on what survives this one, as after a crash and a new opening. This one goes on
    /// untouched and separate.
    #[must_use]
    pub fn reopen(&self) -> Self {
        let inner = self.inner.lock();
        let mut kept = inner.kept.clone();
        let mut tip = inner.tip;
        for bytes in &inner.uncertain {
            if let Ok((head, ..)) = frame::open(bytes, 0) {
                tip = Tip {
                    seq: head.seq,
                    hash: head.hash,
                };
            }
        }
        kept.frames.extend(inner.uncertain.iter().cloned());
        Self::with(kept, tip)
    }

    /// A journal that holds the records of this one up to `seq`, as after a crash at that moment.
    #[must_use]
    pub fn reopen_at(&self, seq: Seq) -> Self {
        let inner = self.inner.lock();
        let mut kept = inner.kept.clone();
        kept.frames
            .truncate(usize::try_from(seq.get()).unwrap_or(usize::MAX));
        for list in kept.checkpoints.values_mut() {
            list.retain(|c| c.seq <= seq);
        }
        let mut tip = Tip {
            seq: Seq::ZERO,
            hash: FrameHash::genesis(E::FAMILY),
        };
        if let Some(Ok((head, ..))) = kept.frames.last().map(|bytes| frame::open(bytes, 0)) {
            tip = Tip {
                seq: head.seq,
                hash: head.hash,
            };
        }
        Self::with(kept, tip)
    }

    /// Fails the `nth` sync from now (1 is the next): that append and all later ones hear
    /// `Poisoned`.
    pub fn fail_sync(&self, nth: u64, fate: Fate) {
        let mut inner = self.inner.lock();
        inner.fail_at = Some((inner.syncs + nth, fate));
    }

    /// From now on ordinary appends hear `Full`; urgent ones still succeed.
    pub fn fill_disk(&self) {
        self.inner.lock().full = true;
    }

    /// Ends [`fill_disk`](MemoryJournal::fill_disk).
    pub fn free_disk(&self) {
        self.inner.lock().full = false;
    }

    /// Syncs so far; each append is one.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.inner.lock().syncs
    }

    fn commit(&self, mut transaction: Transaction) -> Result<Appended, Error> {
        let mut inner = self.inner.lock();
        if let Some(error) = &inner.poisoned {
            return Err(error.clone());
        }
        let mut tip = inner.tip;
        let synced_through = tip.seq;
        let mut starts = Vec::new();
        let appended = transaction.seal(&mut tip, synced_through, 0, |_, start| starts.push(start));
        let bytes = transaction.bytes();
        let ends = starts.iter().skip(1).copied().chain([bytes.len()]);
        let frames: Vec<Arc<[u8]>> = starts
            .iter()
            .zip(ends)
            .map(|(start, end)| Arc::from(&bytes[*start..end]))
            .collect();
        inner.syncs += 1;
        match inner.fail_at {
            Some((at, fate)) if at == inner.syncs => {
                if fate == Fate::Kept {
                    inner.uncertain = frames;
                }
                let error = Error::poisoned("the sync failed as asked");
                inner.poisoned = Some(error.clone());
                Err(error)
            }
            _ => {
                inner.kept.frames.extend(frames);
                inner.tip = tip;
                Ok(appended)
            }
        }
    }

    fn snapshot(&self) -> Vec<Arc<[u8]>> {
        self.inner.lock().kept.frames.clone()
    }

    fn select(
        &self,
        from: Seq,
        limit: usize,
        wanted: impl Fn(&frame::Head) -> bool,
    ) -> Result<Vec<Record<E>>, Error> {
        let mut found = Vec::new();
        for bytes in self.snapshot().iter().skip(skip(from)) {
            if found.len() == limit {
                break;
            }
            let (head, payload, _) = open(bytes)?;
            if wanted(&head) {
                found.push(record(&head, payload)?);
            }
        }
        Ok(found)
    }
}

fn skip(from: Seq) -> usize {
    usize::try_from(from.before().get()).unwrap_or(usize::MAX)
}

fn open(bytes: &[u8]) -> Result<(frame::Head, &[u8], usize), Error> {
    frame::open(bytes, 0).map_err(|flaw| Error::damaged(flaw.text()))
}

impl<E: Event> Journal<E> for MemoryJournal<E> {
    fn append(&self, events: &[E], at_ms: u64) -> Result<Appended, Error> {
        let transaction = Transaction::encode(events, at_ms)?;
        if self.inner.lock().full {
            return Err(Error::new(
                ErrorKind::Full,
                "memory journal: no space left, as asked",
            ));
        }
        self.commit(transaction)
    }

    fn append_urgent(&self, events: &[E], at_ms: u64) -> Result<Appended, Error> {
        self.commit(Transaction::encode(events, at_ms)?)
    }

    fn position(&self) -> (Seq, FrameHash) {
        let inner = self.inner.lock();
        (inner.tip.seq, inner.tip.hash)
    }

    fn first(&self) -> Seq {
        Seq::FIRST
    }

    fn read(&self, from: Seq, visit: &mut Visit<'_, E>) -> Result<(), Error> {
        for bytes in self.snapshot().iter().skip(skip(from)) {
            let (head, payload, _) = open(bytes)?;
            visit(record(&head, payload)?)?;
        }
        Ok(())
    }

    fn by_stream(
        &self,
        stream: StreamId,
        from: Seq,
        limit: usize,
    ) -> Result<Vec<Record<E>>, Error> {
        self.select(from, limit, |head| head.stream == stream)
    }

    fn by_kind(&self, kind: Kind, from: Seq, limit: usize) -> Result<Vec<Record<E>>, Error> {
        self.select(from, limit, |head| head.kind == kind)
    }

    fn checkpoint(&self, seq: Seq, projection: &str, state: &[u8]) -> Result<(), Error> {
        check_name(projection)?;
        let mut inner = self.inner.lock();
        let hash = match inner.kept.frames.get(skip(seq)) {
            _ if seq == Seq::ZERO => FrameHash::genesis(E::FAMILY),
            Some(bytes) => open(bytes)?.0.hash,
            None => {
                let end = inner.tip.seq;
                return Err(Error::invalid(format!(
                    "checkpoint at {seq}, journal ends at {end}"
                )));
            }
        };
        let list = inner
            .kept
            .checkpoints
            .entry(projection.to_owned())
            .or_default();
        list.retain(|c| c.seq != seq);
        list.push(Checkpoint {
            seq,
            hash,
            state: state.to_vec(),
        });
        list.sort_by_key(|c| c.seq);
        while list.len() > 2 {
            list.remove(0);
        }
        Ok(())
    }

    fn latest_checkpoint(&self, projection: &str) -> Result<Option<Checkpoint>, Error> {
        check_name(projection)?;
        let inner = self.inner.lock();
        Ok(inner
            .kept
            .checkpoints
            .get(projection)
            .and_then(|list| list.last().cloned()))
    }
}
