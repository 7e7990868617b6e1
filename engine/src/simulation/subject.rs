//! What a simulation is run over: the tables of one node, and a user's hands on them. An embedder implements
//! [`Subject`] over their own storage; [`MemoryTables`] is the one that is used without.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_storage::conformance::{Files, Harness};
use holdfast_storage::model::{Access, Bounds, PartitionMeta};
use holdfast_storage::{Error, ErrorKind, OpId, Storage};

use crate::testing::{HashKnowledge, MemoryStorage};

/// The tables of one node that is killed and started again. [`Harness::open`] is called at every start; what was
/// answered before must be there. All that goes beyond the harness is optional: what a subject cannot do is not tried.
pub trait Subject: Harness + Send {
    /// Makes a table of one partition with so many buckets and replicas. False = loads are left to make it.
    fn create_table(
        &self,
        _database: &str,
        _table: &str,
        _partition: &str,
        _buckets: u32,
        _replicas: u32,
    ) -> bool {
        false
    }

    /// Loses a pin, as a storage that was set back would. False = it cannot.
    fn lose_pin(&self, _op: OpId) -> bool {
        false
    }

    /// Damages a file of one replica where another replica holds it whole; `number` picks one. False = it cannot.
    fn damage_replica(&self, _number: u64) -> bool {
        false
    }

    /// The operations that still hold something. `None` = it cannot tell.
    fn held(&self) -> Option<Vec<OpId>> {
        None
    }

    /// Whether a worker of a dead process may go on calling the storage that it had, beside the one opened since: so it
    /// is where the storage lives on another host than the engine.
    fn outlives_its_engine(&self) -> bool {
        false
    }
}

/// Tables in memory, durable against the death of the engine's process.
pub struct MemoryTables {
    storage: MemoryStorage,
    knows_hashes: bool,
}

impl MemoryTables {
    /// Empty tables on backends 1 to `backends`; `knows_hashes` = whether files come with their hashes.
    pub fn new(backends: u32, knows_hashes: bool) -> Self {
        let storage = MemoryStorage::new(backends);
        if !knows_hashes {
            storage.set_hash_knowledge(HashKnowledge::Unknown);
        }
        Self {
            storage,
            knows_hashes,
        }
    }
}

#[cfg(test)]
impl MemoryTables {
    /// The storage below, for tables that do not keep the contract.
    pub(super) fn storage(&self) -> MemoryStorage {
        self.storage.clone()
    }
}

fn not_found(database: &str, table: &str) -> Error {
    let text = format!("table '{database}.{table}' does not exist");
    Error::new(ErrorKind::NotFound, text)
}

impl Harness for MemoryTables {
    fn open(&self) -> Result<Arc<dyn Storage>, Error> {
        Ok(Arc::new(self.storage.clone()))
    }

    fn load(
        &self,
        database: &str,
        table: &str,
        partition: &str,
        files: &Files,
    ) -> Result<(), Error> {
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect();
        self.storage.load(database, table, partition, &files)
    }

    fn read(&self, database: &str, table: &str) -> Result<BTreeMap<String, Files>, Error> {
        let infos = self.storage.tables(database)?;
        let info = infos.into_iter().find(|info| info.name == table);
        let info = info.ok_or_else(|| not_found(database, table))?;
        if matches!(info.access, Access::Restoring(_)) {
            let text = format!("table '{database}.{table}' is being restored");
            return Err(Error::new(ErrorKind::Busy, text));
        }
        let made = |access| matches!(access, Access::Restoring(_));
        let open = info.partitions.iter().filter(|p| !made(p.access));
        let mut all: BTreeMap<String, Files> =
            open.map(|p| (p.meta.name.clone(), Files::new())).collect();
        for ((partition, name), bytes) in self.storage.read_back(database, table)? {
            if let Some(files) = all.get_mut(&partition) {
                files.insert(name, bytes);
            }
        }
        Ok(all)
    }

    fn drop_table(&self, database: &str, table: &str) -> Result<(), Error> {
        self.storage.drop_table(database, table)
    }
}

impl Subject for MemoryTables {
    fn create_table(
        &self,
        database: &str,
        table: &str,
        partition: &str,
        buckets: u32,
        replicas: u32,
    ) -> bool {
        let meta = PartitionMeta {
            name: partition.to_owned(),
            bounds: Bounds::List {
                items: vec![vec![partition.to_owned()]],
            },
            buckets,
            replication_num: replicas,
        };
        let schema = MemoryStorage::loaded_schema();
        self.storage
            .create_table(database, table, schema, vec![meta])
            .is_ok()
    }

    fn lose_pin(&self, op: OpId) -> bool {
        let (pins, _) = self.storage.held();
        let held = pins.contains(&op);
        self.storage.lose_pin(op);
        held
    }

    fn damage_replica(&self, number: u64) -> bool {
        // What nobody knows the hash of is backed up as it is read.
        self.knows_hashes && self.storage.damage_one_of_several(number)
    }

    fn held(&self) -> Option<Vec<OpId>> {
        let (pins, restores) = self.storage.held();
        Some(pins.into_iter().chain(restores).collect())
    }

    fn outlives_its_engine(&self) -> bool {
        true
    }
}
