//! The embedded default storage: tables of immutable data files on one or more backends, each a
//! folder.
//!
//! [`LocalStorage`] ties together the catalog ([`ledger`]), the files ([`disk`]) and the
//! operations. On disk:
//! - `catalog/`: the journal whose projection the catalog is;
//! - `lists/<id>`: which files the chunks of one transaction hold;
//! - `backends/<name>/data/<tablet>/<chunk>/<key>`: data files. A *chunk* is what one load or
//!   restore added to a tablet; a version is a sequence of chunks, so appending copies nothing.
//!   `<key>` is a hash of the file's name;
//! - `backends/<name>/snapshot/<op>/<tablet>/<key>`: local snapshots, hard links;
//! - `backends/<name>/staging/<op>/<tablet>/…`: what a restore has fetched.
//!
//! Files are durable before the event that makes them visible, and are deleted only after the event
//! that frees them is durable. What a crash leaves between the two is swept at opening.

mod apply;
mod apply_restore;
mod backup;
mod ddl;
mod details;
mod disk;
pub mod events;
mod export;
mod ingest;
mod ledger;
mod lists;
mod load;
mod parallel;
mod place;
mod placement;
mod restore;
mod staging;
pub(crate) mod state;
mod storage;
mod sweep;
mod targets;
mod walk;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use holdfast_journal::{FileJournal, Index, Journal};
use parking_lot::{Mutex, RwLock};

pub(crate) use disk::unreadable;

use crate::model::{BackendId, OpId, TabletId};
use crate::{Error, ErrorKind};
use disk::{BackendDir, Layout, failed, make_dirs, sync_dir};
use events::{BackendAdded, CatalogEvent};
use ledger::{Ledger, from_journal};
use place::Place;
use staging::LocalFiles;
use state::{Freed, State};

pub use details::{PartitionDetails, ReplicaDetails, TableDetails, TabletDetails};
pub use export::{ExportReport, ExportRequest};
pub use ingest::Progress;
pub use load::{LoadReport, LoadRequest};

/// How a [`LocalStorage`] is opened.
#[derive(Clone, Debug)]
pub struct Options {
    /// Backends that a new storage is made with, 1 to 64; ignored where the storage exists.
    pub backends: u32,
    /// Threads that one load, export, sync or proof may use, at least 1.
    pub threads: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            backends: 3,
            threads: 4,
        }
    }
}

/// Tables of data files in a folder. Implements [`crate::Storage`]; statements and data come in by
/// its own methods.
pub struct LocalStorage {
    layout: Layout,
    threads: usize,
    ledger: Ledger,
    readers: Mutex<Readers>,
    places: Mutex<BTreeMap<(OpId, BackendId, TabletId), Arc<Place>>>,
    gates: Mutex<BTreeMap<OpId, Arc<RwLock<()>>>>,
    /// By operation, backend and partition.
    reusable: Mutex<BTreeMap<(OpId, BackendId, u64), Arc<LocalFiles>>>,
}

/// Chunks and list files that are being read outside of any pin: their deletion waits.
#[derive(Default)]
struct Readers {
    counts: BTreeMap<u64, u32>,
    waiting: BTreeMap<u64, Freed>,
}

impl LocalStorage {
    /// Opens the storage in `dir`; an absent or empty folder becomes a new one.
    ///
    /// # Errors
    /// `Locked` where another process has it open; `Damaged` where the catalog is; `Invalid` for
    /// bad options; `Io`.
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<Self, Error> {
        let layout = Layout::new(dir.as_ref());
        // The journal makes its folder, and durably: what is made before it would look as if it had been there.
        let journal_options = holdfast_journal::Options::default().index(Index::None);
        let (journal, report) =
            FileJournal::open(layout.catalog(), journal_options).map_err(from_journal)?;
        log::debug!("catalog of '{}' opened: {report}", dir.as_ref().display());
        Self::with_journal(dir.as_ref(), options, Arc::new(journal))
    }

    fn with_journal(
        dir: &Path,
        options: Options,
        journal: Arc<dyn Journal<CatalogEvent>>,
    ) -> Result<Self, Error> {
        if !(1..=64).contains(&options.backends) {
            return Err(Error::new(
                ErrorKind::Invalid,
                format!(
                    "a storage has {} backends, expected 1 to 64",
                    options.backends
                ),
            ));
        }
        let layout = Layout::new(dir);
        make_dirs(&layout.lists())?;
        make_dirs(&layout.backends())?;
        let storage = Self {
            layout,
            threads: options.threads.max(1),
            ledger: Ledger::open(journal)?,
            readers: Mutex::default(),
            places: Mutex::default(),
            gates: Mutex::default(),
            reusable: Mutex::default(),
        };
        if storage.ledger.read().position == 0 {
            storage.create(dir, options.backends)?;
        }
        storage.sweep()?;
        Ok(storage)
    }

    fn create(&self, dir: &Path, backends: u32) -> Result<(), Error> {
        let first = self.ledger.take_ids(u64::from(backends));
        let mut events = Vec::new();
        for i in 0..backends {
            let name = format!("backend-{}", i + 1);
            self.make_backend_dirs(&self.layout.backend(&name))?;
            events.push(
                BackendAdded {
                    id: first + u64::from(i),
                    name,
                }
                .into(),
            );
        }
        sync_dir(&self.layout.backends())?;
        sync_dir(dir)?;
        self.ledger.change(|_, out| {
            out.append(&mut events);
            Ok(())
        })?;
        Ok(())
    }

    fn make_backend_dirs(&self, backend: &BackendDir) -> Result<(), Error> {
        for dir in [backend.data(), backend.snapshots(), backend.stagings()] {
            make_dirs(&dir)?;
        }
        sync_dir(backend.root())
    }

    /// The folder of a backend.
    fn backend_dir(&self, id: BackendId) -> Result<BackendDir, Error> {
        Ok(self.layout.backend(&self.ledger.read().backend(id.0)?.name))
    }

    /// The folder of a backend that is there; its disk may be gone, and then nothing may be written
    /// where it was mounted.
    fn live_dir(&self, state: &State, id: u64) -> Result<BackendDir, Error> {
        let name = &state.backend(id)?.name;
        let dir = self.layout.backend(name);
        if is_alive(&dir) {
            return Ok(dir);
        }
        let text = format!(
            "backend '{name}' is not there: '{}' is missing",
            shown(&dir.data())
        );
        Err(Error::new(ErrorKind::ReplicaFault, text))
    }

    /// The folders of all backends.
    fn backend_dirs(&self) -> Vec<BackendDir> {
        self.ledger
            .read()
            .backends
            .values()
            .map(|b| self.layout.backend(&b.name))
            .collect()
    }

    /// Changes the catalog, then deletes the files of what that set free.
    fn change<T>(
        &self,
        decide: impl FnOnce(&State, &mut Vec<CatalogEvent>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (answer, freed) = self.ledger.change(decide)?;
        self.delete_freed(freed);
        Ok(answer)
    }

    /// Deletes files that nothing holds, except those being read now. A failure leaves them to the
    /// next sweep.
    fn delete_freed(&self, mut freed: Vec<Freed>) {
        {
            let mut readers = self.readers.lock();
            freed.retain(|item| {
                let id = item.id();
                let read = readers.counts.contains_key(&id);
                if read {
                    readers.waiting.insert(id, *item);
                }
                !read
            });
        }
        if freed.is_empty() {
            return;
        }
        let backends = self.backend_dirs();
        let deleted = parallel::for_each(self.threads, &freed, |item| match item {
            Freed::List(id) => disk::remove_file(&self.layout.list(*id)),
            Freed::Chunk { id, tablet } => backends.iter().try_for_each(|backend| {
                disk::remove_tree(&backend.chunk(*tablet, *id))?;
                // Goes away with the tablet's last chunk; a tablet that lives on makes it again.
                let _ = std::fs::remove_dir(backend.tablet(*tablet));
                Ok(())
            }),
        });
        if let Err(e) = deleted {
            log::warn!("files that nothing holds are left for the next sweep: {e}");
        }
    }

    /// Begins reading chunks and their lists outside of a pin. Call while the state is held for
    /// reading.
    fn begin_read(&self, ids: &[u64]) {
        let mut readers = self.readers.lock();
        for id in ids {
            *readers.counts.entry(*id).or_insert(0) += 1;
        }
    }

    fn end_read(&self, ids: &[u64]) {
        let mut due = Vec::new();
        {
            let mut readers = self.readers.lock();
            for id in ids {
                let left = readers.counts.get_mut(id).map_or(0, |n| {
                    *n -= 1;
                    *n
                });
                if left == 0 {
                    readers.counts.remove(id);
                    due.extend(readers.waiting.remove(id));
                }
            }
        }
        self.delete_freed(due);
    }

    /// Syncs a folder and reports it as this storage's own fault, not a replica's.
    fn sync_all_dirs(&self, dirs: &[std::path::PathBuf]) -> Result<(), Error> {
        parallel::for_each(self.threads, dirs, |dir| sync_dir(dir))
    }
}

impl Freed {
    fn id(&self) -> u64 {
        match self {
            Freed::Chunk { id, .. } | Freed::List(id) => *id,
        }
    }
}

/// Whether a backend's folder is there; its disk may be gone.
fn is_alive(backend: &BackendDir) -> bool {
    backend.data().is_dir()
}

/// A path of the system as text for messages.
fn shown(path: &Path) -> std::path::Display<'_> {
    path.display()
}

/// A user's file that cannot be used.
fn source_failed(what: &str, path: &Path, e: &std::io::Error) -> Error {
    match e.kind() {
        std::io::ErrorKind::NotFound => Error::new(
            ErrorKind::NotFound,
            format!("'{}' does not exist", shown(path)),
        ),
        _ => failed(what, path, e),
    }
}
