//! The in-memory twin of the file journal: same contract, same hashes, no disk.
//!
//! It keeps real frames, so what cannot be encoded and decoded fails here too. For tests of its
//! owners it can fail a sync on command, and a new one can be opened on what survived.

use std::{collections::BTreeMap, marker::PhantomData, sync::Arc};

use parking_lot::Mutex;

use crate::{
    archive::{ArchiveInfo, ArchiveRequest, Archives},
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

#[derive(Clone, Debug)]
struct Kept {
    /// The record before the first of `frames`.
    base: Tip,
    frames: Vec<Arc<[u8]>>,
    checkpoints: BTreeMap<String, Vec<Checkpoint>>,
    /// Projection and record of the checkpoint that archiving needed last.
    anchored: Option<(String, Seq)>,
    /// Where segments begin, but for the first.
    starts: Vec<Seq>,
    archives: Vec<(ArchiveInfo, Vec<Arc<[u8]>>)>,
}

impl Kept {
    fn empty(family: u32) -> Self {
        Self {
            base: Tip {
                seq: Seq::ZERO,
                hash: FrameHash::genesis(family),
            },
            frames: Vec::new(),
            checkpoints: BTreeMap::new(),
            anchored: None,
            starts: Vec::new(),
            archives: Vec::new(),
        }
    }

    /// How many frames lie before `from`.
    fn skip(&self, from: Seq) -> usize {
        let before = from.before().get().saturating_sub(self.base.seq.get());
        usize::try_from(before).unwrap_or(usize::MAX)
    }

    /// The chain hash at a record that is kept, or at the one before the first.
    fn hash_at(&self, seq: Seq) -> Result<Option<FrameHash>, Error> {
        if seq <= self.base.seq {
            return Ok((seq == self.base.seq).then_some(self.base.hash));
        }
        let bytes = self.frames.get(self.skip(seq));
        bytes.map(|bytes| Ok(open(bytes)?.0.hash)).transpose()
    }

    /// The first record at hand: of the archives that lead up to the frames, else of these.
    fn origin(&self) -> Seq {
        let mut origin = self.base.seq.next();
        for (info, _) in self.archives.iter().rev() {
            if info.last.next() == origin {
                origin = info.first;
            }
        }
        origin
    }

    fn missing(&self) -> Option<String> {
        let origin = self.origin();
        (origin > Seq::FIRST).then(|| {
            format!(
                "archive/*-{:020}.archive: it is not there",
                origin.before().get()
            )
        })
    }
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
        let kept = Kept::empty(E::FAMILY);
        let tip = kept.base;
        Self::with(kept, tip)
    }

    /// Loses the archives, as one does who moves them away.
    pub fn lose_archives(&self) {
        self.inner.lock().kept.archives.clear();
    }

    /// Damages every checkpoint, so that none is used any more.
    pub fn lose_checkpoints(&self) {
        self.inner.lock().kept.checkpoints.clear();
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
        if seq < kept.base.seq {
            // At that moment nothing of it was archived yet.
            let archives = std::mem::take(&mut kept.archives);
            let archived = archives.into_iter().flat_map(|(_, frames)| frames);
            kept.frames = archived.chain(kept.frames).collect();
            kept.base = Kept::empty(E::FAMILY).base;
        }
        let keep = kept.skip(seq.next());
        kept.frames.truncate(keep);
        kept.starts.retain(|start| *start <= seq.next());
        for list in kept.checkpoints.values_mut() {
            list.retain(|c| c.seq <= seq);
        }
        let mut tip = kept.base;
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

    /// The frames kept from `from` on.
    fn snapshot(&self, from: Seq) -> Vec<Arc<[u8]>> {
        let kept = &self.inner.lock().kept;
        let from = kept.skip(from).min(kept.frames.len());
        kept.frames[from..].to_vec()
    }

    fn select(
        &self,
        from: Seq,
        limit: usize,
        wanted: impl Fn(&frame::Head) -> bool,
    ) -> Result<Vec<Record<E>>, Error> {
        let mut found = Vec::new();
        for bytes in &self.snapshot(from) {
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
        self.inner.lock().kept.base.seq.next()
    }

    fn read(&self, from: Seq, visit: &mut Visit<'_, E>) -> Result<(), Error> {
        for bytes in &self.snapshot(from) {
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
        let Some(hash) = inner.kept.hash_at(seq)? else {
            let end = inner.tip.seq;
            return Err(Error::invalid(format!(
                "checkpoint at {seq}, journal ends at {end}"
            )));
        };
        let anchored = inner.kept.anchored.clone();
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
        let newest = list.len().saturating_sub(2);
        let mut at = 0;
        list.retain(|c| {
            at += 1;
            let held = anchored
                .as_ref()
                .is_some_and(|(p, s)| p == projection && *s == c.seq);
            at > newest || held
        });
        Ok(())
    }

    fn checkpoint_by(&self, projection: &str, through: Seq) -> Result<Option<Checkpoint>, Error> {
        check_name(projection)?;
        let inner = self.inner.lock();
        let list = inner.kept.checkpoints.get(projection);
        Ok(list.and_then(|list| list.iter().rfind(|c| c.seq <= through).cloned()))
    }

    fn roll(&self) -> Result<(), Error> {
        let mut inner = self.inner.lock();
        if let Some(error) = &inner.poisoned {
            return Err(error.clone());
        }
        let next = inner.tip.seq.next();
        let begun = inner.kept.starts.last().copied().unwrap_or(Seq::ZERO);
        if next > begun.max(inner.kept.base.seq.next()) {
            inner.kept.starts.push(next);
        }
        Ok(())
    }

    fn archive(&self, request: &ArchiveRequest<'_>) -> Result<Option<ArchiveInfo>, Error> {
        check_name(request.projection)?;
        let mut inner = self.inner.lock();
        if let Some(error) = &inner.poisoned {
            return Err(error.clone());
        }
        let kept = &mut inner.kept;
        let mut starts = kept.starts.iter().copied();
        let Some(next) = starts.rfind(|start| *start <= request.before) else {
            return Ok(None);
        };
        let last = next.before();
        let covering = kept.checkpoints.get(request.projection);
        let covering = covering.and_then(|list| list.iter().rfind(|c| c.seq >= last));
        let Some(covering) = covering.map(|c| c.seq) else {
            return Err(Error::invalid(format!(
                "nothing is archived: no whole checkpoint of {} includes record {last}, write one \
                 first",
                request.projection
            )));
        };
        let Some(hash) = kept.hash_at(last)? else {
            return Ok(None);
        };
        let moved: Vec<_> = kept.frames.drain(..kept.skip(next)).collect();
        let mut info = ArchiveInfo {
            file: format!(
                "archive/{:020}-{:020}.archive",
                kept.base.seq.get() + 1,
                last.get()
            ),
            first: kept.base.seq.next(),
            last,
            hash_before: kept.base.hash,
            hash,
            earliest_ms: u64::MAX,
            latest_ms: 0,
            made_ms: request.at_ms,
            description: request.description.to_vec(),
            segments: kept.starts.iter().filter(|start| **start <= next).count() as u64,
            log_bytes: moved.iter().map(|bytes| bytes.len() as u64).sum(),
            file_bytes: 0,
        };
        for bytes in &moved {
            let at_ms = open(bytes)?.0.at_ms;
            info.earliest_ms = info.earliest_ms.min(at_ms);
            info.latest_ms = info.latest_ms.max(at_ms);
        }
        info.file_bytes = info.log_bytes;
        kept.starts.retain(|start| *start > next);
        kept.base = Tip { seq: last, hash };
        kept.anchored = Some((request.projection.to_owned(), covering));
        kept.archives.push((info.clone(), moved));
        Ok(Some(info))
    }

    fn archives(&self) -> Result<Archives, Error> {
        let kept = &self.inner.lock().kept;
        let origin = kept.origin();
        let found = kept.archives.iter().map(|(info, _)| info.clone());
        Ok(Archives {
            found: found.filter(|info| info.first >= origin).collect(),
            missing: kept.missing(),
        })
    }

    fn history(&self, from: Seq, visit: &mut Visit<'_, E>) -> Result<(), Error> {
        let from = from.max(Seq::FIRST);
        let (origin, missing, archived) = {
            let kept = &self.inner.lock().kept;
            let archived = kept.archives.iter().flat_map(|(_, frames)| frames.clone());
            (kept.origin(), kept.missing(), archived.collect::<Vec<_>>())
        };
        if from < origin {
            let missing = missing.unwrap_or_default();
            let text =
                format!("records before {origin} were archived and moved away, put back {missing}");
            return Err(Error::new(ErrorKind::NotFound, text));
        }
        for bytes in &archived {
            let (head, payload, _) = open(bytes)?;
            if head.seq >= from {
                visit(record(&head, payload)?)?;
            }
        }
        self.read(from, visit)
    }
}
