//! What a [`super::MemoryStorage`] holds: databases down to files, and how they are found.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_storage::model::{
    Access, Bounds, Distribution, KeysType, PartitionInfo, PartitionMeta, Partitioning,
    SEGMENT_BYTES, TableSchema,
};
use holdfast_storage::{
    BackendId, BackendInfo, Error, ErrorKind, FileEntry, FileHash, OpId, TableInfo, TabletId,
};

use super::pins::Held;
use super::restores::Restore;

/// The files of one tablet's version.
pub(super) type Files = Arc<BTreeMap<String, File>>;

#[derive(Clone)]
pub(super) struct File {
    pub(super) entry: FileEntry,
    pub(super) bytes: Arc<[u8]>,
}

#[derive(Clone)]
pub(super) struct Tablet {
    pub(super) id: TabletId,
    pub(super) replicas: Vec<BackendId>,
    pub(super) files: Files,
}

pub(super) struct Partition {
    pub(super) id: u64,
    pub(super) meta: PartitionMeta,
    pub(super) access: Access,
    pub(super) version: u64,
    pub(super) tablets: Vec<Tablet>,
}

pub(super) struct Table {
    pub(super) schema: TableSchema,
    pub(super) access: Access,
    pub(super) partitions: Vec<Partition>,
}

/// Replicas' files whose bytes are not those of the version; `None` = unreadable.
type Damage = BTreeMap<(BackendId, TabletId, String), Option<Arc<[u8]>>>;

pub(super) struct Catalog {
    pub(super) position: u64,
    pub(super) next_id: u64,
    pub(super) backends: Vec<BackendId>,
    pub(super) knows_hashes: bool,
    pub(super) databases: BTreeMap<String, BTreeMap<String, Table>>,
    pub(super) pins: BTreeMap<OpId, Held>,
    pub(super) restores: BTreeMap<OpId, Restore>,
    pub(super) damage: Damage,
}

pub(super) fn error(kind: ErrorKind, message: impl Into<String>) -> Error {
    Error::new(kind, message)
}

/// Hash and, for a long file, the hashes of its segments.
pub(super) fn hashes(bytes: &[u8]) -> (FileHash, Vec<FileHash>) {
    let segments = if bytes.len() as u64 > SEGMENT_BYTES {
        bytes
            .chunks(SEGMENT_BYTES as usize)
            .map(FileHash::of)
            .collect()
    } else {
        Vec::new()
    };
    (FileHash::of(bytes), segments)
}

impl Catalog {
    pub(super) fn new(backends: u32) -> Self {
        Self {
            position: 1,
            next_id: 100,
            backends: (1..=u64::from(backends)).map(BackendId).collect(),
            knows_hashes: true,
            databases: BTreeMap::new(),
            pins: BTreeMap::new(),
            restores: BTreeMap::new(),
            damage: BTreeMap::new(),
        }
    }

    pub(super) fn id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(super) fn backend_infos(&self) -> Vec<BackendInfo> {
        let tablets = || {
            let tables = self.databases.values().flat_map(BTreeMap::values);
            tables
                .flat_map(|table| &table.partitions)
                .flat_map(|p| &p.tablets)
        };
        let info = |id: &BackendId| BackendInfo {
            id: *id,
            name: format!("be{id}"),
            alive: true,
            replicas: tablets().filter(|t| t.replicas.contains(id)).count() as u64,
            data_bytes: tablets()
                .filter(|t| t.replicas.contains(id))
                .flat_map(|t| t.files.values())
                .map(|f| f.entry.len)
                .sum(),
        };
        self.backends.iter().map(info).collect()
    }

    pub(super) fn table_infos(&self, database: &str) -> Result<Vec<TableInfo>, Error> {
        let tables = self.tables(database)?;
        Ok(tables
            .iter()
            .map(|(name, table)| TableInfo {
                name: name.clone(),
                schema: table.schema.clone(),
                access: table.access,
                partitions: table.partitions.iter().map(partition_info).collect(),
            })
            .collect())
    }

    pub(super) fn tables(&self, database: &str) -> Result<&BTreeMap<String, Table>, Error> {
        self.databases
            .get(database)
            .ok_or_else(|| no_database(database))
    }

    pub(super) fn table(&self, database: &str, table: &str) -> Result<&Table, Error> {
        self.tables(database)?
            .get(table)
            .ok_or_else(|| no_table(database, table))
    }

    pub(super) fn table_mut(&mut self, database: &str, table: &str) -> Result<&mut Table, Error> {
        self.databases
            .get_mut(database)
            .ok_or_else(|| no_database(database))?
            .get_mut(table)
            .ok_or_else(|| no_table(database, table))
    }

    /// Tablets for a partition: each on `replication_num` backends, round robin.
    pub(super) fn new_tablets(&mut self, meta: &PartitionMeta) -> Result<Vec<Tablet>, Error> {
        let wanted = meta.replication_num as usize;
        if wanted == 0 || wanted > self.backends.len() {
            return Err(error(
                ErrorKind::Invalid,
                format!(
                    "partition '{}' wants {wanted} replicas, there are {} backends",
                    meta.name,
                    self.backends.len()
                ),
            ));
        }
        Ok((0..meta.buckets)
            .map(|_| {
                let id = self.id();
                let first = id as usize % self.backends.len();
                let around = self.backends.iter().cycle().skip(first);
                Tablet {
                    id: TabletId(id),
                    replicas: around.take(wanted).copied().collect(),
                    files: Files::default(),
                }
            })
            .collect())
    }

    pub(super) fn create_table(
        &mut self,
        database: &str,
        name: &str,
        schema: TableSchema,
        partitions: Vec<PartitionMeta>,
    ) -> Result<(), Error> {
        if self
            .databases
            .get(database)
            .is_some_and(|tables| tables.contains_key(name))
        {
            return Err(error(
                ErrorKind::Exists,
                format!("table '{database}.{name}' already exists"),
            ));
        }
        let mut table = Table {
            schema,
            access: Access::Normal,
            partitions: Vec::new(),
        };
        for meta in partitions {
            table
                .partitions
                .push(self.new_partition(meta, Access::Normal)?);
        }
        self.databases
            .entry(database.to_owned())
            .or_default()
            .insert(name.to_owned(), table);
        self.position += 1;
        Ok(())
    }

    pub(super) fn new_partition(
        &mut self,
        meta: PartitionMeta,
        access: Access,
    ) -> Result<Partition, Error> {
        let tablets = self.new_tablets(&meta)?;
        Ok(Partition {
            id: self.id(),
            meta,
            access,
            version: 1,
            tablets,
        })
    }

    /// Refuses what changes a table that an operation holds.
    pub(super) fn check_free(&self, database: &str, table: &str) -> Result<(), Error> {
        match self.table(database, table)?.access {
            Access::Normal => Ok(()),
            Access::Restoring(op) | Access::Overwriting(op) => Err(error(
                ErrorKind::Busy,
                format!("table '{database}.{table}' is being restored by job {op}"),
            )),
        }
    }

    /// The partition that takes a load, made where it is absent; refused where an operation forbids it.
    pub(super) fn loadable(
        &mut self,
        database: &str,
        table: &str,
        partition: &str,
    ) -> Result<&mut Partition, Error> {
        if self.table(database, table).is_err() {
            let meta = loaded_partition(partition);
            self.create_table(database, table, loaded_schema(), vec![meta])?;
        }
        if let Access::Restoring(op) | Access::Overwriting(op) = self.table(database, table)?.access
        {
            let open = self.restores.get(&op).is_some_and(Restore::lets_load);
            let held = self
                .table(database, table)?
                .partitions
                .iter()
                .any(|p| p.meta.name == partition && p.access == Access::Normal);
            if !(open && held) {
                self.check_free(database, table)?;
            }
        }
        let partitions = &self.table(database, table)?.partitions;
        if partitions.iter().all(|p| p.meta.name != partition) {
            let new = self.new_partition(loaded_partition(partition), Access::Normal)?;
            self.table_mut(database, table)?.partitions.push(new);
        }
        self.table_mut(database, table)?
            .partitions
            .iter_mut()
            .find(|p| p.meta.name == partition)
            .ok_or_else(|| error(ErrorKind::NotFound, format!("partition '{partition}'")))
    }

    /// Flips a byte of one replica's file, or makes it unreadable, where another replica is whole.
    pub(super) fn damage_one_of_several(&mut self, number: u64) -> bool {
        let tables = self.databases.values().flat_map(BTreeMap::values);
        let tablets = tables
            .flat_map(|table| &table.partitions)
            .flat_map(|partition| &partition.tablets);
        let files = tablets.flat_map(|tablet| tablet.files.values().map(move |f| (tablet, f)));
        let mut found = Vec::new();
        for (tablet, file) in files.filter(|(_, file)| file.entry.len > 0) {
            let key = |backend: BackendId| (backend, tablet.id, file.entry.name.clone());
            let whole = tablet.replicas.iter();
            let mut whole = whole.filter(|backend| !self.damage.contains_key(&key(**backend)));
            if let (Some(first), Some(_)) = (whole.next(), whole.next()) {
                found.push((key(*first), file.bytes.clone()));
            }
        }
        if found.is_empty() {
            return false;
        }
        let (key, bytes) = found.swap_remove(number as usize % found.len());
        let mut wrong = bytes.to_vec();
        let at = number as usize % wrong.len();
        wrong[at] ^= 1;
        let wrong = (!number.is_multiple_of(3)).then(|| Arc::from(wrong));
        self.damage.insert(key, wrong);
        true
    }

    /// What `backend` would read for a file of a version.
    pub(super) fn replica_bytes(
        &self,
        backend: BackendId,
        tablet: TabletId,
        file: &File,
    ) -> Option<Arc<[u8]>> {
        let key = (backend, tablet, file.entry.name.clone());
        self.damage
            .get(&key)
            .map_or_else(|| Some(file.bytes.clone()), Clone::clone)
    }
}

fn partition_info(partition: &Partition) -> PartitionInfo {
    let files = || partition.tablets.iter().flat_map(|t| t.files.values());
    PartitionInfo {
        id: partition.id,
        meta: partition.meta.clone(),
        access: partition.access,
        visible_version: partition.version,
        visible_since_ms: 1_735_689_600_000 + partition.version,
        files: files().count() as u64,
        data_bytes: files().map(|f| f.entry.len).sum(),
    }
}

/// The schema of a table that a load makes.
pub(super) fn loaded_schema() -> TableSchema {
    TableSchema {
        columns: Vec::new(),
        keys_type: KeysType::Duplicate,
        key_columns: Vec::new(),
        partitioning: Partitioning::List {
            columns: Vec::new(),
        },
        distribution: Distribution::Hash {
            columns: Vec::new(),
        },
        comment: String::new(),
        properties: BTreeMap::new(),
    }
}

fn loaded_partition(name: &str) -> PartitionMeta {
    PartitionMeta {
        name: name.to_owned(),
        bounds: Bounds::List {
            items: vec![vec![name.to_owned()]],
        },
        buckets: 1,
        replication_num: 1,
    }
}

fn no_database(database: &str) -> Error {
    error(
        ErrorKind::NotFound,
        format!("database '{database}' does not exist"),
    )
}

fn no_table(database: &str, table: &str) -> Error {
    error(
        ErrorKind::NotFound,
        format!("table '{database}.{table}' does not exist"),
    )
}
