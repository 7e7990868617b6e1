//! sled, held at arm's length.
//!
//! It may panic, lie by omission, or refuse to open after a kill. So every call runs under
//! [`guarded`]; every value bears a checksum; every entry of a stream or kind names the entry
//! before it, so that a gap shows; and a half-written snapshot is removed before opening, since
//! sled would take it for a whole one.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    path::Path,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use super::{
    Query,
    seen::{Seen, open_position, position_value},
};
use crate::{
    frame::{self, Head},
    ids::Seq,
    reader::Raw,
    transaction::Tip,
};

/// The host's memory is not ours; queries of one job touch few pages.
const CACHE_BYTES: u64 = 8 << 20;
const POSITION: &[u8] = b"position";

/// Why the index cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Broken(pub(crate) String);

impl From<sled::Error> for Broken {
    fn from(error: sled::Error) -> Self {
        Self(error.to_string())
    }
}

/// Runs what calls sled; a panic in it is damage like any other.
pub(crate) fn guarded<T>(act: impl FnOnce() -> Result<T, Broken>) -> Result<T, Broken> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        let text = panic
            .downcast_ref::<String>()
            .map(String::as_str)
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("without a message");
        Err(Broken(format!(
            "sled panicked: {}",
            text.lines().next().unwrap_or_default()
        )))
    })
}

/// An open index.
#[derive(Debug)]
pub(crate) struct Store {
    family: u32,
    events: sled::Tree,
    streams: sled::Tree,
    kinds: sled::Tree,
    meta: sled::Tree,
    db: sled::Db,
    seen: Seen,
    panicked: AtomicBool,
}

/// A batch on its way into the index.
#[derive(Default)]
pub(crate) struct Batch {
    events: sled::Batch,
    streams: sled::Batch,
    kinds: sled::Batch,
    pub(crate) tip: Option<Tip>,
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

impl Batch {
    /// Adds a frame, with the records before it in its stream and in its kind.
    pub(crate) fn add(&mut self, raw: &Raw<'_>, before: (Seq, Seq)) {
        let head = &raw.head;
        self.events
            .insert(&head.seq.get().to_be_bytes(), event_value(raw));
        let key = key(Query::Stream(head.stream), head.seq);
        self.streams
            .insert(key.as_slice(), link_value(&key, before.0));
        let key = self::key(Query::Kind(head.kind), head.seq);
        self.kinds
            .insert(key.as_slice(), link_value(&key, before.1));
        self.tip = Some(Tip {
            seq: head.seq,
            hash: head.hash,
        });
        self.records += 1;
        self.bytes += raw.bytes.len();
    }
}

fn event_value(raw: &Raw<'_>) -> Vec<u8> {
    let mut value = Vec::with_capacity(4 + raw.bytes.len());
    value.extend_from_slice(&raw.seed.to_le_bytes());
    value.extend_from_slice(raw.bytes);
    value
}

/// The frame in a value of the tree by sequence.
pub(crate) fn open_event(value: &[u8]) -> Result<(Head, &[u8]), Broken> {
    let (seed, bytes) = value
        .split_first_chunk::<4>()
        .ok_or_else(|| Broken("a short event".to_owned()))?;
    let (head, payload, _) = frame::open(bytes, u32::from_le_bytes(*seed))
        .map_err(|flaw| Broken(format!("an event in the index: {}", flaw.text())))?;
    Ok((head, payload))
}

fn prefix(query: Query) -> Vec<u8> {
    match query {
        Query::Stream(stream) => stream.get().to_be_bytes().to_vec(),
        Query::Kind(kind) => kind.get().to_be_bytes().to_vec(),
    }
}

fn key(query: Query, seq: Seq) -> Vec<u8> {
    let mut key = prefix(query);
    key.extend_from_slice(&seq.get().to_be_bytes());
    key
}

fn link_value(key: &[u8], before: Seq) -> Vec<u8> {
    let mut value = before.get().to_be_bytes().to_vec();
    let crc = crc32c::crc32c_append(crc32c::crc32c(key), &value);
    value.extend_from_slice(&crc.to_le_bytes());
    value
}

/// The sequence in a key and the one before it in its value.
fn open_link(key: &[u8], value: &[u8]) -> Result<(Seq, Seq), Broken> {
    let bad = || Broken("a changed entry of a stream or kind".to_owned());
    let (_, seq) = key.split_last_chunk::<8>().ok_or_else(bad)?;
    let before = value.first_chunk::<8>().ok_or_else(bad)?;
    let before = Seq(u64::from_be_bytes(*before));
    if value != link_value(key, before) {
        return Err(bad());
    }
    Ok((Seq(u64::from_be_bytes(*seq)), before))
}

impl Store {
    /// Opens the index in a folder, or makes an empty one where the folder is missing.
    pub(crate) fn open(path: &Path, family: u32) -> Result<Self, Broken> {
        remove_half_snapshots(path)?;
        let mut tries = 0;
        #[expect(
            clippy::disallowed_methods,
            reason = "sled lets go of its lock in the machine's time"
        )]
        let db = loop {
            let config = sled::Config::new()
                .path(path)
                .cache_capacity(CACHE_BYTES)
                // Its flushing thread, once panicked, would hang whoever closes the index.
                .flush_every_ms(None)
                .print_profile_on_drop(false);
            match guarded(|| Ok(config.open()?)) {
                // sled lets go of its lock on a thread of its own, after the handle is dropped.
                Err(Broken(text)) if text.contains("acquire lock") && tries < 100 => {
                    tries += 1;
                    std::thread::sleep(Duration::from_millis(20));
                }
                other => break other?,
            }
        };
        let seen = Seen::open(path, family)?;
        guarded(|| {
            Ok(Self {
                family,
                events: db.open_tree("events")?,
                streams: db.open_tree("streams")?,
                kinds: db.open_tree("kinds")?,
                meta: db.open_tree("meta")?,
                db,
                seen,
                panicked: AtomicBool::new(false),
            })
        })
    }

    /// The last record it holds; `None` where nothing was ever put in.
    pub(crate) fn position(&self) -> Result<Option<Tip>, Broken> {
        self.guard(|| {
            let Some(value) = self.meta.get(POSITION)? else {
                return Ok(None);
            };
            open_position(self.family, &value).map(Some)
        })
    }

    /// Puts a batch in. That it was seen goes first, and the position last: what a kill cut short is
    /// put in again.
    pub(crate) fn put(&self, batch: Batch) -> Result<(), Broken> {
        self.guard(|| {
            let Some(tip) = batch.tip else { return Ok(()) };
            self.seen.write(tip)?;
            self.events.apply_batch(batch.events)?;
            self.streams.apply_batch(batch.streams)?;
            self.kinds.apply_batch(batch.kinds)?;
            self.meta
                .insert(POSITION, position_value(self.family, tip))?;
            Ok(())
        })
    }

    /// Notes how far it has seen the log, for an opening that does not wait for sled.
    pub(crate) fn note(&self, tip: Tip) -> Result<(), Broken> {
        self.seen.write(tip)
    }

    pub(crate) fn flush(&self) -> Result<(), Broken> {
        self.guard(|| {
            self.db.flush()?;
            Ok(())
        })
    }

    /// Lets go of sled. After a panic inside it nothing is safe to run but leaving it behind.
    pub(crate) fn close(self) -> Result<(), Broken> {
        let flushed = self.flush();
        if self.panicked.load(Ordering::Acquire) {
            std::mem::forget(self);
            return flushed;
        }
        guarded(|| {
            drop(self);
            Ok(())
        })?;
        flushed
    }

    fn guard<T>(&self, act: impl FnOnce() -> Result<T, Broken>) -> Result<T, Broken> {
        let mut whole = false;
        let outcome = guarded(|| {
            let outcome = act();
            whole = true;
            outcome
        });
        if !whole {
            self.panicked.store(true, Ordering::Release);
        }
        outcome
    }

    /// The frames of up to `limit` records between `from` and `through`, each checked, and checked
    /// to be without a gap up to `last`, the newest of that stream or kind.
    pub(crate) fn query(
        &self,
        query: Query,
        from: Seq,
        through: Seq,
        limit: usize,
        last: Seq,
    ) -> Result<Vec<sled::IVec>, Broken> {
        self.guard(|| {
            let tree = match query {
                Query::Stream(_) => &self.streams,
                Query::Kind(_) => &self.kinds,
            };
            let mut found = Vec::new();
            let mut previous: Option<Seq> = None;
            for entry in tree
                .range(key(query, from)..=key(query, through))
                .take(limit)
            {
                let (key, value) = entry?;
                let (seq, before) = open_link(&key, &value)?;
                if previous.map_or(before >= from, |previous| before != previous) {
                    return Err(Broken(format!("a gap before sequence {seq}")));
                }
                previous = Some(seq);
                found.push(self.event(query, seq)?);
            }
            let complete =
                found.len() == limit || previous.map_or(last < from, |previous| previous == last);
            if !complete {
                return Err(Broken(format!(
                    "a gap between {previous:?} and sequence {last}"
                )));
            }
            Ok(found)
        })
    }

    fn event(&self, query: Query, seq: Seq) -> Result<sled::IVec, Broken> {
        let value = self.events.get(seq.get().to_be_bytes())?;
        let value = value.ok_or_else(|| Broken(format!("no event of sequence {seq}")))?;
        let (head, _) = open_event(&value)?;
        if head.seq != seq || !query.wants(&head) {
            return Err(Broken(format!(
                "another event in the place of sequence {seq}"
            )));
        }
        Ok(value)
    }

    /// Whether a frame and its entries are in the index just as the log has them. `before` are the
    /// records before it in its stream and kind, zero where the log holds none: what left the log,
    /// before `first`, may still be named.
    pub(crate) fn agrees(
        &self,
        raw: &Raw<'_>,
        before: (Seq, Seq),
        first: Seq,
    ) -> Result<bool, Broken> {
        self.guard(|| {
            let head = &raw.head;
            let linked = |tree: &sled::Tree, key: Vec<u8>, before: Seq| {
                let Some(value) = tree.get(&key)? else {
                    return Ok(false);
                };
                let (_, found) = open_link(&key, &value)?;
                Ok::<_, Broken>(found == before || (before == Seq::ZERO && found < first))
            };
            let event = self.events.get(head.seq.get().to_be_bytes())?;
            let stream = key(Query::Stream(head.stream), head.seq);
            let kind = key(Query::Kind(head.kind), head.seq);
            Ok(event.is_some_and(|found| found == event_value(raw))
                && linked(&self.streams, stream, before.0)?
                && linked(&self.kinds, kind, before.1)?)
        })
    }

    /// Entries in the trees by sequence, by stream and by kind.
    pub(crate) fn counts(&self) -> Result<[usize; 3], Broken> {
        self.guard(|| Ok([self.events.len(), self.streams.len(), self.kinds.len()]))
    }
}

fn remove_half_snapshots(path: &Path) -> Result<(), Broken> {
    let failed = |e: &std::io::Error| Broken(format!("{}: {e}", path.display()));
    let entries = match std::fs::read_dir(path) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(e) => return Err(failed(&e)),
    };
    for entry in entries {
        let entry = entry.map_err(|e| failed(&e))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            std::fs::remove_file(entry.path()).map_err(|e| failed(&e))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
