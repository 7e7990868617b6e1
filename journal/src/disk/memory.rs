//! A disk in memory that forgets what was not synced, in any order, when told to.
//!
//! The fault model: a power cut keeps every synced byte and, of what was written since, any choice
//! of pages; a change of names survives from its folder sync on, before that by choice. A failed
//! sync leaves its pages in doubt and no longer dirty, as Linux does: a later sync succeeds without
//! them.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::Path,
    sync::Arc,
};

use parking_lot::Mutex;

use super::{Disk, DiskFile};

/// Something written and not synced, of which a power cut keeps or loses each on its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsynced<'a> {
    /// A page of a file, by its number.
    Page(&'a str, u64),
    /// That a file was cut shorter.
    Cut(&'a str),
    /// That a name exists, is gone, or means another file.
    Name(&'a str),
}

#[derive(Clone, Debug, Default)]
struct Content {
    now: Vec<u8>,
    durable: Vec<u8>,
    /// Pages that the next sync makes durable.
    dirty: BTreeSet<usize>,
    /// Pages of a failed sync: a power cut may have them or not, and no sync writes them again.
    doubtful: BTreeSet<usize>,
    /// What there was before it was cut, until that is durable.
    uncut: Option<Vec<u8>>,
}

#[derive(Debug)]
struct State {
    page_bytes: usize,
    names: BTreeMap<String, u64>,
    durable_names: BTreeMap<String, u64>,
    contents: BTreeMap<u64, Content>,
    next_id: u64,
    capacity: Option<usize>,
    syncs: u64,
    fail_sync_at: Option<u64>,
    changes: u64,
    /// The change that is not done any more, nor any after it.
    stop_at: Option<u64>,
}

/// A disk in memory; clones are the same disk. A file of a folder within it is named
/// `folder/file` here, and a power cut tells of it by that name.
#[derive(Clone, Debug)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
    /// What the names of this folder begin with: nothing, or `folder/`.
    prefix: String,
}

impl MemoryDisk {
    /// An empty disk that writes pages of `page_bytes` at once or not at all.
    #[must_use]
    pub fn new(page_bytes: usize) -> Self {
        let state = State {
            page_bytes: page_bytes.max(1),
            names: BTreeMap::new(),
            durable_names: BTreeMap::new(),
            contents: BTreeMap::new(),
            next_id: 0,
            capacity: None,
            syncs: 0,
            fail_sync_at: None,
            changes: 0,
            stop_at: None,
        };
        Self {
            state: Arc::new(Mutex::new(state)),
            prefix: String::new(),
        }
    }

    fn full(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    /// The name within this folder, of what lies in it and in no folder of its own.
    fn own<'a>(&self, full: &'a str) -> Option<&'a str> {
        full.strip_prefix(&self.prefix)
            .filter(|name| !name.contains('/'))
    }

    /// Fails the `nth` file sync from now; 1 is the next.
    pub fn fail_sync(&self, nth: u64) {
        let mut state = self.state.lock();
        state.fail_sync_at = Some(state.syncs + nth);
    }

    /// File syncs so far.
    #[must_use]
    pub fn syncs(&self) -> u64 {
        self.state.lock().syncs
    }

    /// Stops whoever writes: the `nth` change from now (1 is the next; a write, a cut, a sync, a change of names or the
    /// sync of a folder) is not done, and every change from it on fails. So the disk stays as the death of the process at
    /// that moment would leave it, which may be in the middle of a sync.
    pub fn stop(&self, nth: u64) {
        let mut state = self.state.lock();
        state.stop_at = Some(state.changes + nth);
    }

    /// Whether a change has failed because of [`stop`](MemoryDisk::stop).
    #[must_use]
    pub fn has_stopped(&self) -> bool {
        self.state.lock().has_stopped()
    }

    /// Takes back a [`stop`](MemoryDisk::stop), reached or not.
    pub fn go_on(&self) {
        self.state.lock().stop_at = None;
    }

    /// Takes back all that was asked to go wrong.
    pub fn heal(&self) {
        let mut state = self.state.lock();
        (state.stop_at, state.fail_sync_at, state.capacity) = (None, None, None);
    }

    /// What lies in the folders of this one, too: full names and what they hold now, in the order of the names.
    #[must_use]
    pub fn everything(&self) -> Vec<(String, Vec<u8>)> {
        let state = self.state.lock();
        let held = |id: &u64| state.contents.get(id).map(|c| c.now.clone());
        let names = state.names.iter();
        names
            .filter_map(|(name, id)| Some((name.clone(), held(id)?)))
            .collect()
    }

    /// Lets the files grow to `bytes` in all; `None` is without bound.
    pub fn set_capacity(&self, bytes: Option<usize>) {
        self.state.lock().capacity = bytes;
    }

    /// Bytes of all files.
    #[must_use]
    pub fn used_bytes(&self) -> usize {
        self.state.lock().used()
    }

    /// The disk that a power cut now would leave: `keep` decides over each thing not synced. This
    /// one goes on untouched.
    #[must_use]
    pub fn power_cut(&self, keep: &mut dyn FnMut(Unsynced<'_>) -> bool) -> Self {
        let state = self.state.lock();
        let left = Self::new(state.page_bytes);
        let mut names = state.durable_names.clone();
        let all: BTreeSet<&String> = state.names.keys().chain(names.keys()).collect();
        let changed: Vec<String> = all
            .into_iter()
            .filter(|name| state.names.get(*name) != state.durable_names.get(*name))
            .cloned()
            .collect();
        for name in changed {
            if keep(Unsynced::Name(&name)) {
                match state.names.get(&name) {
                    Some(id) => names.insert(name, *id),
                    None => names.remove(&name),
                };
            }
        }
        for (name, id) in names {
            let Some(content) = state.contents.get(&id) else {
                continue;
            };
            let uncut = content
                .uncut
                .as_ref()
                .filter(|_| !keep(Unsynced::Cut(&name)));
            let now = uncut.unwrap_or(&content.now);
            let pages = content.dirty.union(&content.doubtful);
            let pages = pages
                .copied()
                .filter(|p| keep(Unsynced::Page(&name, *p as u64)));
            let bytes = content.with_pages(now, state.page_bytes, pages);
            left.put(&name, &bytes);
        }
        left
    }

    /// Writes a file whole and durable, as damage or a copy would.
    pub fn put(&self, name: &str, bytes: &[u8]) {
        let mut state = self.state.lock();
        let id = state.fresh_id();
        let (now, durable) = (bytes.to_vec(), bytes.to_vec());
        let content = Content {
            now,
            durable,
            ..Content::default()
        };
        state.contents.insert(id, content);
        state.names.insert(name.to_owned(), id);
        state.durable_names.insert(name.to_owned(), id);
    }

    /// What a file holds now.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        let state = self.state.lock();
        state
            .names
            .get(name)
            .and_then(|id| state.contents.get(id))
            .map(|c| c.now.clone())
    }
}

impl Content {
    /// The durable content with these pages of `now`.
    fn with_pages(
        &self,
        now: &[u8],
        page_bytes: usize,
        pages: impl Iterator<Item = usize>,
    ) -> Vec<u8> {
        let mut bytes = self.durable.clone();
        for start in pages.map(|page| page * page_bytes) {
            let now = now.get(start..).unwrap_or_default();
            let now = &now[..now.len().min(page_bytes)];
            let end = start + now.len();
            if now.len() < page_bytes && bytes.len() > end && bytes.len() <= start + page_bytes {
                bytes.truncate(end);
            }
            if !now.is_empty() {
                bytes.resize(bytes.len().max(end), 0);
                bytes[start..end].copy_from_slice(now);
            }
        }
        // The file may have been cut over several pages.
        bytes.truncate(now.len());
        bytes
    }

    fn touch(&mut self, from: usize, to: usize, page_bytes: usize) {
        self.dirty
            .extend(from / page_bytes..to.div_ceil(page_bytes));
    }
}

impl State {
    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn has_stopped(&self) -> bool {
        self.stop_at.is_some_and(|at| self.changes >= at)
    }

    /// One change begins.
    fn change(&mut self) -> io::Result<()> {
        self.changes += 1;
        match self.has_stopped() {
            true => Err(io::Error::other("the disk was stopped as asked")),
            false => Ok(()),
        }
    }

    fn used(&self) -> usize {
        self.names
            .values()
            .filter_map(|id| self.contents.get(id))
            .map(|c| c.now.len())
            .sum()
    }
}

fn not_found(name: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no file {name}"))
}

impl Disk for MemoryDisk {
    fn list(&self) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        let names = state.names.keys().filter_map(|name| self.own(name));
        Ok(names.map(str::to_owned).collect())
    }

    fn create(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let name = self.full(name);
        let mut state = self.state.lock();
        state.change()?;
        if state.names.contains_key(&name) {
            return Err(io::Error::from(io::ErrorKind::AlreadyExists));
        }
        let id = state.fresh_id();
        state.contents.insert(id, Content::default());
        state.names.insert(name, id);
        Ok(Box::new(MemoryFile {
            disk: self.clone(),
            id,
        }))
    }

    fn open(&self, name: &str) -> io::Result<Box<dyn DiskFile>> {
        let name = self.full(name);
        let id = *self
            .state
            .lock()
            .names
            .get(&name)
            .ok_or_else(|| not_found(&name))?;
        Ok(Box::new(MemoryFile {
            disk: self.clone(),
            id,
        }))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let (from, to) = (self.full(from), self.full(to));
        let mut state = self.state.lock();
        state.change()?;
        let id = state.names.remove(&from).ok_or_else(|| not_found(&from))?;
        state.names.insert(to, id);
        Ok(())
    }

    fn remove(&self, name: &str) -> io::Result<()> {
        let name = self.full(name);
        let mut state = self.state.lock();
        state.change()?;
        state
            .names
            .remove(&name)
            .map(|_| ())
            .ok_or_else(|| not_found(&name))
    }

    fn sync_folder(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        state.change()?;
        let mut durable = std::mem::take(&mut state.durable_names);
        durable.retain(|name, _| self.own(name).is_none());
        let own = state.names.iter();
        let own = own.filter(|(name, _)| self.own(name).is_some());
        durable.extend(own.map(|(name, id)| (name.clone(), *id)));
        state.durable_names = durable;
        Ok(())
    }

    fn folder(&self) -> Option<&Path> {
        None
    }

    fn within(&self, name: &str, _make: bool) -> io::Result<Box<dyn Disk>> {
        Ok(Box::new(Self {
            state: Arc::clone(&self.state),
            prefix: format!("{}{name}/", self.prefix),
        }))
    }
}

#[derive(Debug)]
struct MemoryFile {
    disk: MemoryDisk,
    id: u64,
}

impl MemoryFile {
    fn with<T>(&self, act: impl FnOnce(&mut Content, usize) -> T) -> T {
        let mut state = self.disk.state.lock();
        let page_bytes = state.page_bytes;
        act(state.contents.entry(self.id).or_default(), page_bytes)
    }
}

impl DiskFile for MemoryFile {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.with(|content, _| content.now.len() as u64))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        Ok(self.with(|content, _| {
            let rest = content.now.get(offset..).unwrap_or_default();
            let read = rest.len().min(buffer.len());
            buffer[..read].copy_from_slice(&rest[..read]);
            read
        }))
    }

    fn write_at(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let offset = usize::try_from(offset).map_err(io::Error::other)?;
        let room = {
            let mut state = self.disk.state.lock();
            state.change()?;
            let now = state.contents.get(&self.id).map_or(0, |c| c.now.len());
            let free = state
                .capacity
                .map_or(usize::MAX, |all| all.saturating_sub(state.used()));
            now.saturating_sub(offset).saturating_add(free)
        };
        let fits = &bytes[..bytes.len().min(room)];
        self.with(|content, page_bytes| {
            let end = offset + fits.len();
            let old = content.now.len();
            content.now.resize(old.max(end), 0);
            content.now[offset..end].copy_from_slice(fits);
            content.touch(offset.min(old), end, page_bytes);
        });
        if fits.len() < bytes.len() {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }

    fn truncate(&self, bytes: u64) -> io::Result<()> {
        let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
        self.disk.state.lock().change()?;
        self.with(|content, page_bytes| {
            let old = content.now.len();
            if bytes < old && content.uncut.is_none() {
                content.uncut = Some(content.now.clone());
            }
            content.now.resize(bytes, 0);
            content.touch(old.min(bytes), old.max(bytes), page_bytes);
        });
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        let fails = {
            let mut state = self.disk.state.lock();
            state.change()?;
            state.syncs += 1;
            state.fail_sync_at == Some(state.syncs)
        };
        self.with(|content, page_bytes| {
            let dirty = std::mem::take(&mut content.dirty);
            if fails {
                content.doubtful.extend(dirty);
            } else {
                content.uncut = None;
                content.durable = content.with_pages(&content.now, page_bytes, dirty.into_iter());
            }
        });
        if fails {
            Err(io::Error::other("the sync failed as asked"))
        } else {
            Ok(())
        }
    }
}
