//! Objects in memory, shared by the clones of one [`MemoryBroker`]: the deterministic twin of a
//! remote system. Keeps the contract to the letter, strictness about names and folders included,
//! so that what works here works on a disk.

use std::collections::BTreeMap;
use std::ops::{Bound, Range};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::RwLock;

use crate::broker::{check_limit, check_range, check_size};
use crate::source::check_given;
use crate::{
    Atomicity, Broker, ConditionalPut, Context, Description, Durability, Error, ListConsistency,
    ObjectInfo, ObjectName, Page, PageToken, PutMode, PutOutcome, Source, Visit,
};

/// The largest piece that a read hands over, so that cancellation is noticed within an object.
const PIECE_BYTES: usize = 1 << 20;

/// A broker without a disk. Clones share one store, so that several engines can open the same
/// "remote".
#[derive(Debug, Clone, Default)]
pub struct MemoryBroker {
    store: Arc<Store>,
}

#[derive(Debug, Default)]
struct Store {
    objects: RwLock<BTreeMap<String, Arc<[u8]>>>,
    requests: AtomicU64,
    put_bytes: AtomicU64,
    got_bytes: AtomicU64,
}

/// What a [`MemoryBroker`] and its clones have done so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MemoryCounts {
    /// Requests of all kinds, failed ones included.
    pub requests: u64,
    /// Bytes of the puts that created an object.
    pub put_bytes: u64,
    /// Bytes handed to readers.
    pub got_bytes: u64,
    /// Objects held now.
    pub objects: u64,
    /// Bytes held now.
    pub held_bytes: u64,
}

impl MemoryBroker {
    /// An empty store.
    pub fn new() -> Self {
        MemoryBroker::default()
    }

    /// What has been done so far and what is held.
    pub fn counts(&self) -> MemoryCounts {
        let objects = self.store.objects.read();
        MemoryCounts {
            requests: self.store.requests.load(Ordering::Relaxed),
            put_bytes: self.store.put_bytes.load(Ordering::Relaxed),
            got_bytes: self.store.got_bytes.load(Ordering::Relaxed),
            objects: objects.len() as u64,
            held_bytes: objects.values().map(|bytes| bytes.len() as u64).sum(),
        }
    }

    /// Changes the bytes of an object in place, as damage would. Fails with
    /// [`ErrorClass::Missing`](crate::ErrorClass::Missing) where there is none.
    pub fn damage(
        &self,
        name: &ObjectName,
        change: impl FnOnce(&mut Vec<u8>),
    ) -> Result<(), Error> {
        let mut objects = self.store.objects.write();
        let held = objects
            .get_mut(name.as_str())
            .ok_or_else(|| Error::missing(name))?;
        let mut bytes = held.to_vec();
        change(&mut bytes);
        *held = Arc::from(bytes);
        Ok(())
    }

    fn begin(&self, ctx: &Context) -> Result<(), Error> {
        self.store.requests.fetch_add(1, Ordering::Relaxed);
        ctx.check()
    }

    fn held(&self, name: &ObjectName) -> Result<Arc<[u8]>, Error> {
        self.store
            .objects
            .read()
            .get(name.as_str())
            .cloned()
            .ok_or_else(|| Error::missing(name))
    }
}

/// Reads a source whole, checking its length and the context.
fn collect(ctx: &Context, name: &ObjectName, source: &dyn Source) -> Result<Vec<u8>, Error> {
    let expected = source.len();
    let mut bytes = Vec::new();
    source.read(&mut |piece| {
        for part in piece.chunks(PIECE_BYTES) {
            ctx.check()?;
            bytes.extend_from_slice(part);
        }
        Ok(())
    })?;
    check_given(name, bytes.len() as u64, expected)?;
    Ok(bytes)
}

/// Fails where `name` lies below an object, or is a folder of others.
fn check_folders(objects: &BTreeMap<String, Arc<[u8]>>, name: &ObjectName) -> Result<(), Error> {
    let text = name.as_str();
    for (at, _) in text.match_indices('/') {
        if objects.contains_key(&text[..at]) {
            return Err(Error::invalid(format!(
                "object {name:?} cannot lie below object {:?}",
                &text[..at]
            )));
        }
    }
    let below = format!("{text}/");
    let first = objects
        .range::<str, _>((Bound::Included(below.as_str()), Bound::Unbounded))
        .next();
    if first.is_some_and(|(key, _)| key.starts_with(&below)) {
        return Err(Error::invalid(format!(
            "{name:?} is a folder, not an object"
        )));
    }
    Ok(())
}

impl Broker for MemoryBroker {
    fn put(
        &self,
        ctx: &Context,
        name: &ObjectName,
        source: &dyn Source,
        mode: PutMode,
    ) -> Result<PutOutcome, Error> {
        self.begin(ctx)?;
        let taken = |objects: &BTreeMap<String, Arc<[u8]>>| {
            mode == PutMode::CreateIfAbsent && objects.contains_key(name.as_str())
        };
        if taken(&self.store.objects.read()) {
            return Ok(PutOutcome::Exists);
        }
        let bytes = collect(ctx, name, source)?;
        ctx.check()?;
        let len = bytes.len() as u64;
        let mut objects = self.store.objects.write();
        if taken(&objects) {
            return Ok(PutOutcome::Exists);
        }
        check_folders(&objects, name)?;
        objects.insert(name.as_str().to_owned(), Arc::from(bytes));
        self.store.put_bytes.fetch_add(len, Ordering::Relaxed);
        Ok(PutOutcome::Created)
    }

    fn get_range(
        &self,
        ctx: &Context,
        name: &ObjectName,
        range: Range<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        self.begin(ctx)?;
        let bytes = self.held(name)?;
        check_range(name, &range, bytes.len() as u64)?;
        // The casts hold: the range lies within a slice.
        for piece in bytes[range.start as usize..range.end as usize].chunks(PIECE_BYTES) {
            ctx.check()?;
            self.store
                .got_bytes
                .fetch_add(piece.len() as u64, Ordering::Relaxed);
            visit(piece)?;
        }
        Ok(())
    }

    fn get(&self, ctx: &Context, name: &ObjectName, max_len: u64) -> Result<Vec<u8>, Error> {
        self.begin(ctx)?;
        let bytes = self.held(name)?;
        check_size(name, bytes.len() as u64, max_len)?;
        self.store
            .got_bytes
            .fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(bytes.to_vec())
    }

    fn stat(&self, ctx: &Context, name: &ObjectName) -> Result<Option<ObjectInfo>, Error> {
        self.begin(ctx)?;
        let objects = self.store.objects.read();
        Ok(objects.get(name.as_str()).map(|bytes| ObjectInfo {
            name: name.clone(),
            len: bytes.len() as u64,
        }))
    }

    fn list(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.begin(ctx)?;
        check_limit(limit)?;
        let from = match after {
            Some(token) if token.as_str() >= prefix => Bound::Excluded(token.as_str()),
            _ => Bound::Included(prefix),
        };
        let objects = self.store.objects.read();
        let mut page = Page::default();
        for (key, bytes) in objects.range::<str, _>((from, Bound::Unbounded)) {
            if !key.starts_with(prefix) {
                break;
            }
            if page.objects.len() == limit {
                page.next = page
                    .objects
                    .last()
                    .map(|last| PageToken::new(last.name.as_str()));
                break;
            }
            page.objects.push(ObjectInfo {
                name: ObjectName::parse(key.as_str())?,
                len: bytes.len() as u64,
            });
        }
        Ok(page)
    }

    fn delete(&self, ctx: &Context, name: &ObjectName) -> Result<(), Error> {
        self.begin(ctx)?;
        self.store.objects.write().remove(name.as_str());
        Ok(())
    }

    fn settle(&self, ctx: &Context, names: &[ObjectName]) -> Result<(), Error> {
        self.begin(ctx)?;
        let objects = self.store.objects.read();
        match names
            .iter()
            .find(|name| !objects.contains_key(name.as_str()))
        {
            Some(name) => Err(Error::missing(name)),
            None => Ok(()),
        }
    }

    fn describe(&self) -> Description {
        Description {
            kind: "memory",
            location: "memory:".to_owned(),
            atomic_put: Atomicity::Atomic,
            conditional_put: ConditionalPut::Decided,
            list_consistency: ListConsistency::Strong,
            durability: Durability::Volatile,
        }
    }
}
