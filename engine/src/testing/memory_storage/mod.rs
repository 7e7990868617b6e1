//! [`MemoryStorage`]: the whole contract of [`Storage`] in memory, with hooks for faults. Durable against anything but
//! the end of the process: what a test calls a restart is opening an engine again on the same clone.

mod catalog;
mod pins;
mod restores;

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_storage::model::{PartitionMeta, TableSchema};
use holdfast_storage::{
    BackendId, BackendInfo, CatalogPosition, DataFile, Error, ErrorKind, FileEntry, OpId, Pin,
    PinRequest, RestoreSpec, Reuse, StagedFile, Staging, Storage, TableInfo, TabletId, Targets,
    Token,
};
use parking_lot::Mutex;

use catalog::{Catalog, File, error, hashes};

/// The methods of [`Storage`] that a hook sees.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum CallKind {
    /// `pin`.
    Pin,
    /// `pinned_files`.
    PinnedFiles,
    /// `link`.
    Link,
    /// `open`.
    Open,
    /// `release`.
    Release,
    /// `create_targets`.
    CreateTargets,
    /// `stage`.
    Stage,
    /// `reuse`.
    Reuse,
    /// `stage_file`.
    StageFile,
    /// `settle`.
    Settle,
    /// `prepare`.
    Prepare,
    /// `commit`.
    Commit,
    /// `forget`.
    Forget,
    /// `abort`.
    Abort,
}

/// One call of a method, before it does anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Call {
    /// The method.
    pub kind: CallKind,
    /// The operation.
    pub op: OpId,
    /// The backend, where the method has one.
    pub backend: Option<BackendId>,
    /// The (first) tablet, where the method has one.
    pub tablet: Option<TabletId>,
}

/// Whether the storage knows its files' hashes without reading them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HashKnowledge {
    /// It does.
    Known,
    /// It does not: entries come without hash and segments.
    Unknown,
}

type Hook = Arc<dyn Fn(&Call) -> Result<(), Error> + Send + Sync>;

#[derive(Default)]
struct Hooks {
    hook: Option<Hook>,
    counts: BTreeMap<CallKind, u64>,
}

/// A storage in memory; clones share it.
#[derive(Clone)]
pub struct MemoryStorage {
    catalog: Arc<Mutex<Catalog>>,
    hooks: Arc<Mutex<Hooks>>,
}

impl MemoryStorage {
    /// An empty storage with backends 1 to `backends`.
    pub fn new(backends: u32) -> Self {
        Self {
            catalog: Arc::new(Mutex::new(Catalog::new(backends))),
            hooks: Arc::default(),
        }
    }

    /// Sets whether `pinned_files` tells hashes; it does from the start.
    pub fn set_hash_knowledge(&self, knowledge: HashKnowledge) {
        self.catalog.lock().knows_hashes = knowledge == HashKnowledge::Known;
    }

    /// Has every call go through `hook` first: it may fail the call, count it or hold it up. No lock is held meanwhile.
    pub fn set_hook(&self, hook: impl Fn(&Call) -> Result<(), Error> + Send + Sync + 'static) {
        self.hooks.lock().hook = Some(Arc::new(hook));
    }

    /// Takes the hook away.
    pub fn clear_hook(&self) {
        self.hooks.lock().hook = None;
    }

    /// Fails the next `times` calls of `kind` with `kind_of_error`.
    pub fn fail_next(&self, kind: CallKind, times: u32, kind_of_error: ErrorKind) {
        let left = Mutex::new(times);
        self.set_hook(move |call| {
            let mut left = left.lock();
            if call.kind != kind || *left == 0 {
                return Ok(());
            }
            *left -= 1;
            Err(error(
                kind_of_error,
                format!("injected failure of {kind:?}"),
            ))
        });
    }

    /// How many calls of `kind` there were.
    pub fn calls(&self, kind: CallKind) -> u64 {
        self.hooks.lock().counts.get(&kind).copied().unwrap_or(0)
    }

    /// Makes a table, and its database where that is absent.
    ///
    /// # Errors
    /// `Exists`, or `Invalid` where a partition wants more replicas than there are backends.
    pub fn create_table(
        &self,
        database: &str,
        table: &str,
        schema: TableSchema,
        partitions: Vec<PartitionMeta>,
    ) -> Result<(), Error> {
        self.catalog
            .lock()
            .create_table(database, table, schema, partitions)
    }

    /// The schema of a table that `load` makes.
    pub fn loaded_schema() -> TableSchema {
        catalog::loaded_schema()
    }

    /// Makes a database; one that exists is left as it is.
    pub fn create_database(&self, database: &str) {
        let mut catalog = self.catalog.lock();
        catalog.databases.entry(database.to_owned()).or_default();
        catalog.position += 1;
    }

    /// Appends files as one new version; makes what is absent of database, table and partition (1 bucket, 1 replica).
    /// Files go to buckets by a hash of their names.
    ///
    /// # Errors
    /// `Exists` where a name is already there; `Busy` where an operation forbids loads.
    pub fn load(
        &self,
        database: &str,
        table: &str,
        partition: &str,
        files: &[(&str, &[u8])],
    ) -> Result<(), Error> {
        let mut catalog = self.catalog.lock();
        catalog.position += 1;
        let partition = catalog.loadable(database, table, partition)?;
        let taken = |name: &str| partition.tablets.iter().any(|t| t.files.contains_key(name));
        if let Some((name, _)) = files.iter().find(|(name, _)| taken(name)) {
            return Err(error(
                ErrorKind::Exists,
                format!("file '{name}' is already there"),
            ));
        }
        for (name, bytes) in files {
            let start = blake3::hash(name.as_bytes()).as_bytes()[0];
            let bucket = usize::from(start) % partition.tablets.len().max(1);
            let Some(tablet) = partition.tablets.get_mut(bucket) else {
                continue;
            };
            let (hash, segments) = hashes(bytes);
            let entry = FileEntry {
                name: (*name).to_owned(),
                len: bytes.len() as u64,
                hash: Some(hash),
                segments,
            };
            let file = File {
                entry,
                bytes: Arc::from(*bytes),
            };
            Arc::make_mut(&mut tablet.files).insert((*name).to_owned(), file);
        }
        partition.version += 1;
        Ok(())
    }

    /// Empties all partitions of a table.
    ///
    /// # Errors
    /// `NotFound` or `Busy`.
    pub fn truncate(&self, database: &str, table: &str) -> Result<(), Error> {
        let mut catalog = self.catalog.lock();
        catalog.check_free(database, table)?;
        catalog.position += 1;
        for partition in &mut catalog.table_mut(database, table)?.partitions {
            partition.version += 1;
            partition
                .tablets
                .iter_mut()
                .for_each(|t| t.files = Arc::default());
        }
        Ok(())
    }

    /// Drops a table.
    ///
    /// # Errors
    /// `NotFound` or `Busy`.
    pub fn drop_table(&self, database: &str, table: &str) -> Result<(), Error> {
        let mut catalog = self.catalog.lock();
        catalog.check_free(database, table)?;
        catalog.position += 1;
        if let Some(tables) = catalog.databases.get_mut(database) {
            tables.remove(table);
        }
        Ok(())
    }

    /// Every visible file of a table as `(partition, name)` with its bytes.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn read_back(
        &self,
        database: &str,
        table: &str,
    ) -> Result<BTreeMap<(String, String), Vec<u8>>, Error> {
        let catalog = self.catalog.lock();
        let mut all = BTreeMap::new();
        for partition in &catalog.table(database, table)?.partitions {
            for file in partition.tablets.iter().flat_map(|t| t.files.values()) {
                let key = (partition.meta.name.clone(), file.entry.name.clone());
                all.insert(key, file.bytes.to_vec());
            }
        }
        Ok(all)
    }

    /// Changes what `backend` reads for the file `name` of a tablet; `None` makes it unreadable.
    pub fn damage(&self, backend: BackendId, tablet: TabletId, name: &str, bytes: Option<&[u8]>) {
        let key = (backend, tablet, name.to_owned());
        self.catalog.lock().damage.insert(key, bytes.map(Arc::from));
    }

    /// Damages one visible file on one backend, chosen by `number`, where an undamaged replica of it remains; says
    /// whether there was such a file.
    pub fn damage_one_of_several(&self, number: u64) -> bool {
        self.catalog.lock().damage_one_of_several(number)
    }

    /// Changes a pinned tablet under its pin, as a storage would that does not keep what it pins.
    pub fn change_pinned(&self, op: OpId, tablet: TabletId) {
        self.catalog.lock().change_pinned(op, tablet);
    }

    /// Loses the pin of `op`, as a storage that was set back would.
    pub fn lose_pin(&self, op: OpId) {
        self.catalog.lock().pins.remove(&op);
    }

    /// Operations that hold a pin, and operations of restores not forgotten.
    pub fn held(&self) -> (Vec<OpId>, Vec<OpId>) {
        let catalog = self.catalog.lock();
        (
            catalog.pins.keys().copied().collect(),
            catalog.restores.keys().copied().collect(),
        )
    }

    fn enter(
        &self,
        kind: CallKind,
        op: OpId,
        backend: Option<BackendId>,
        tablet: Option<TabletId>,
    ) -> Result<(), Error> {
        let hook = {
            let mut hooks = self.hooks.lock();
            *hooks.counts.entry(kind).or_default() += 1;
            hooks.hook.clone()
        };
        hook.map_or(Ok(()), |hook| {
            hook(&Call {
                kind,
                op,
                backend,
                tablet,
            })
        })
    }
}

impl Storage for MemoryStorage {
    fn position(&self) -> CatalogPosition {
        CatalogPosition(self.catalog.lock().position)
    }

    fn backends(&self) -> Result<Vec<BackendInfo>, Error> {
        Ok(self.catalog.lock().backend_infos())
    }

    fn databases(&self) -> Result<Vec<String>, Error> {
        Ok(self.catalog.lock().databases.keys().cloned().collect())
    }

    fn tables(&self, database: &str) -> Result<Vec<TableInfo>, Error> {
        self.catalog.lock().table_infos(database)
    }

    fn pin(&self, op: OpId, request: &PinRequest) -> Result<Pin, Error> {
        self.enter(CallKind::Pin, op, None, None)?;
        self.catalog.lock().pin(op, request)
    }

    fn pinned_files(&self, op: OpId, tablet: TabletId) -> Result<Vec<FileEntry>, Error> {
        self.enter(CallKind::PinnedFiles, op, None, Some(tablet))?;
        self.catalog.lock().pinned_files(op, tablet)
    }

    fn link(&self, op: OpId, backend: BackendId, tablets: &[TabletId]) -> Result<(), Error> {
        self.enter(CallKind::Link, op, Some(backend), tablets.first().copied())?;
        self.catalog.lock().link(op, backend, tablets)
    }

    fn open(
        &self,
        op: OpId,
        backend: BackendId,
        tablet: TabletId,
        name: &str,
    ) -> Result<Arc<dyn DataFile>, Error> {
        self.enter(CallKind::Open, op, Some(backend), Some(tablet))?;
        self.catalog.lock().open(op, backend, tablet, name)
    }

    fn release(&self, op: OpId) -> Result<(), Error> {
        self.enter(CallKind::Release, op, None, None)?;
        self.catalog.lock().pins.remove(&op);
        Ok(())
    }

    fn create_targets(&self, op: OpId, spec: &RestoreSpec) -> Result<Targets, Error> {
        self.enter(CallKind::CreateTargets, op, None, None)?;
        self.catalog.lock().create_targets(op, spec)
    }

    fn stage(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        files: &[FileEntry],
    ) -> Result<(), Error> {
        self.enter(CallKind::Stage, op, Some(backend), Some(tablet))?;
        self.catalog.lock().stage(op, token, backend, tablet, files)
    }

    fn reuse(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        entry: &FileEntry,
    ) -> Result<Reuse, Error> {
        self.enter(CallKind::Reuse, op, Some(backend), Some(tablet))?;
        self.catalog
            .lock()
            .reuse(op, token, (backend, tablet), entry)
    }

    fn stage_file(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        entry: &FileEntry,
    ) -> Result<Staging, Error> {
        self.enter(CallKind::StageFile, op, Some(backend), Some(tablet))?;
        let key = (backend, tablet);
        if self.catalog.lock().is_staged(op, token, key, entry)? {
            return Ok(Staging::Done);
        }
        Ok(Staging::Write(Box::new(Writing {
            catalog: Arc::clone(&self.catalog),
            op,
            token,
            key,
            entry: entry.clone(),
            bytes: Vec::new(),
        })))
    }

    fn settle(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablets: &[TabletId],
    ) -> Result<(), Error> {
        self.enter(
            CallKind::Settle,
            op,
            Some(backend),
            tablets.first().copied(),
        )?;
        self.catalog.lock().settle(op, token, backend, tablets)
    }

    fn prepare(&self, op: OpId) -> Result<(), Error> {
        self.enter(CallKind::Prepare, op, None, None)?;
        self.catalog.lock().prepare(op)
    }

    fn commit(&self, op: OpId) -> Result<(), Error> {
        self.enter(CallKind::Commit, op, None, None)?;
        self.catalog.lock().commit(op)
    }

    fn forget(&self, op: OpId) -> Result<(), Error> {
        self.enter(CallKind::Forget, op, None, None)?;
        self.catalog.lock().forget(op)
    }

    fn abort(&self, op: OpId) -> Result<(), Error> {
        self.enter(CallKind::Abort, op, None, None)?;
        self.catalog.lock().abort(op)
    }

    fn retain_only(&self, live: &[OpId]) -> Result<(), Error> {
        let mut catalog = self.catalog.lock();
        catalog.pins.retain(|op, _| live.contains(op));
        let all = catalog.restores.iter();
        let dead: Vec<(OpId, bool)> = all
            .filter(|(op, _)| !live.contains(op))
            .map(|(op, restore)| (*op, restore.is_committed()))
            .collect();
        for (op, committed) in dead {
            if committed {
                catalog.forget(op)?;
            } else {
                catalog.abort(op)?;
            }
        }
        Ok(())
    }
}

/// A file on its way into a staging place.
struct Writing {
    catalog: Arc<Mutex<Catalog>>,
    op: OpId,
    token: Token,
    key: (BackendId, TabletId),
    entry: FileEntry,
    bytes: Vec<u8>,
}

impl StagedFile for Writing {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        if self.bytes.len() as u64 + bytes.len() as u64 > self.entry.len {
            return Err(error(
                ErrorKind::Invalid,
                format!(
                    "file '{}' gets more than {} bytes",
                    self.entry.name, self.entry.len
                ),
            ));
        }
        self.bytes.extend_from_slice(bytes);
        Ok(())
    }

    fn finish(self: Box<Self>) -> Result<(), Error> {
        let Self {
            catalog,
            op,
            token,
            key,
            entry,
            bytes,
        } = *self;
        catalog.lock().finish_file(op, token, key, &entry, bytes)
    }
}

#[cfg(test)]
mod tests;
