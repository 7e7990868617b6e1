//! The catalog in memory: what the events of [`super::events`] amount to, and the questions asked
//! of it.
//!
//! Plain data without I/O, clock or lock. Only [`super::apply`] changes it; everything else reads.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::model::{Access, OpId, PartitionInfo, PartitionMeta, TableInfo, TableSchema};
use crate::{Error, ErrorKind};

/// Ids below this are never given, so that ids are told apart from counts at sight.
pub(crate) const FIRST_ID: u64 = 10_001;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Backend {
    pub(crate) name: String,
    /// Tablet replicas placed here.
    pub(crate) replicas: u64,
    /// Bytes of the visible versions of those.
    pub(crate) bytes: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Database {
    pub(crate) name: String,
    pub(crate) tables: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Table {
    pub(crate) database: u64,
    pub(crate) name: String,
    pub(crate) schema: TableSchema,
    pub(crate) access: Access,
    /// In creation order.
    pub(crate) partitions: Vec<u64>,
    pub(crate) by_name: BTreeMap<String, u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Partition {
    pub(crate) table: u64,
    pub(crate) meta: PartitionMeta,
    pub(crate) access: Access,
    pub(crate) version: u64,
    pub(crate) since_ms: u64,
    pub(crate) first_tablet: u64,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

impl Partition {
    pub(crate) fn tablets(&self) -> std::ops::Range<u64> {
        self.first_tablet
            ..self
                .first_tablet
                .saturating_add(u64::from(self.meta.buckets))
    }
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tablet {
    pub(crate) partition: u64,
    pub(crate) replicas: Vec<u64>,
    /// The chunks of the visible version, oldest first.
    pub(crate) chunks: Vec<u64>,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

/// Where the list of a chunk's files lies: a piece of a list file.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ListRef {
    pub(crate) list: u64,
    pub(crate) offset: u64,
    pub(crate) len: u64,
    pub(crate) hash: [u8; 32],
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct ChunkState {
    pub(crate) tablet: u64,
    pub(crate) list: ListRef,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
    /// How many of tablet, pins and restores hold it; its files are deleted when none does.
    pub(crate) holders: u32,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PinState {
    pub(crate) database: u64,
    pub(crate) position: u64,
    pub(crate) tables: Vec<PinTableState>,
    pub(crate) tablets: BTreeMap<u64, PinTabletState>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PinTableState {
    pub(crate) id: u64,
    pub(crate) name: String,
    pub(crate) schema: TableSchema,
    pub(crate) partitions: Vec<PinPartitionState>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PinPartitionState {
    pub(crate) meta: PartitionMeta,
    pub(crate) version: u64,
    pub(crate) first_tablet: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PinTabletState {
    pub(crate) replicas: Vec<u64>,
    pub(crate) chunks: Vec<u64>,
    pub(crate) files: u64,
    pub(crate) bytes: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    Made,
    Prepared,
    Committed,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct RestoreState {
    pub(crate) database: u64,
    pub(crate) created_database: bool,
    pub(crate) allow_load: bool,
    pub(crate) phase: Phase,
    pub(crate) tables: Vec<PlannedTable>,
    /// Table and partition (0 = the whole table) that the commit drops.
    pub(crate) drops: Vec<(u64, u64)>,
    /// Each target tablet with the chunk it will get.
    pub(crate) targets: BTreeMap<u64, u64>,
    /// Placed chunks, held until they belong to their tablets.
    pub(crate) placed: Vec<u64>,
    /// After the commit: chunks that it replaced, held until forgotten.
    pub(crate) replaced: Vec<u64>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlannedTable {
    pub(crate) id: u64,
    pub(crate) created: bool,
    pub(crate) partitions: Vec<PlannedPartition>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct PlannedPartition {
    pub(crate) id: u64,
    pub(crate) created: bool,
}

/// What no holder needs any more; its files may be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Freed {
    Chunk { id: u64, tablet: u64 },
    List(u64),
}

/// The whole catalog.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) position: u64,
    pub(crate) next_id: u64,
    pub(crate) backends: BTreeMap<u64, Backend>,
    pub(crate) databases: BTreeMap<u64, Database>,
    pub(crate) database_names: BTreeMap<String, u64>,
    pub(crate) tables: BTreeMap<u64, Table>,
    pub(crate) partitions: BTreeMap<u64, Partition>,
    pub(crate) tablets: BTreeMap<u64, Tablet>,
    pub(crate) chunks: BTreeMap<u64, ChunkState>,
    /// List files with the number of chunks whose lists they hold.
    pub(crate) lists: BTreeMap<u64, u32>,
    pub(crate) pins: BTreeMap<u64, PinState>,
    pub(crate) restores: BTreeMap<u64, RestoreState>,
    /// Every operation ever committed, so that a late repetition is known for what it is.
    pub(crate) committed: BTreeSet<u64>,
    /// What the events applied since the last `take_freed` set free.
    #[serde(skip)]
    pub(crate) freed: Vec<Freed>,
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            next_id: FIRST_ID,
            ..Self::default()
        }
    }

    /// The state that a checkpoint holds.
    ///
    /// # Errors
    /// Why the bytes are none, in words.
    pub(crate) fn from_checkpoint(bytes: &[u8]) -> Result<Self, String> {
        let (state, rest) = postcard::take_from_bytes::<Self>(bytes)
            .map_err(|e| format!("it cannot be read: {e}"))?;
        match rest.len() {
            0 => Ok(state),
            more => Err(format!("{more} bytes follow its end")),
        }
    }

    pub(crate) fn database_id(&self, name: &str) -> Result<u64, Error> {
        self.database_names.get(name).copied().ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("database '{name}' does not exist"),
            )
        })
    }

    pub(crate) fn database(&self, name: &str) -> Result<&Database, Error> {
        let id = self.database_id(name)?;
        self.databases
            .get(&id)
            .ok_or_else(|| broken("database", id))
    }

    pub(crate) fn table_id(&self, database: &str, table: &str) -> Result<u64, Error> {
        self.database(database)?
            .tables
            .get(table)
            .copied()
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::NotFound,
                    format!("table '{database}.{table}' does not exist"),
                )
            })
    }

    pub(crate) fn table(&self, id: u64) -> Result<&Table, Error> {
        self.tables.get(&id).ok_or_else(|| broken("table", id))
    }

    pub(crate) fn partition_id(&self, table: u64, partition: &str) -> Result<u64, Error> {
        let owner = self.table(table)?;
        owner.by_name.get(partition).copied().ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!(
                    "partition '{partition}' of table '{}' does not exist",
                    self.full_name(table)
                ),
            )
        })
    }

    pub(crate) fn partition(&self, id: u64) -> Result<&Partition, Error> {
        self.partitions
            .get(&id)
            .ok_or_else(|| broken("partition", id))
    }

    pub(crate) fn tablet(&self, id: u64) -> Result<&Tablet, Error> {
        self.tablets
            .get(&id)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("tablet {id} does not exist")))
    }

    pub(crate) fn chunk(&self, id: u64) -> Result<&ChunkState, Error> {
        self.chunks.get(&id).ok_or_else(|| broken("chunk", id))
    }

    pub(crate) fn backend(&self, id: u64) -> Result<&Backend, Error> {
        self.backends
            .get(&id)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, format!("backend {id} does not exist")))
    }

    pub(crate) fn pin(&self, op: OpId) -> Result<&PinState, Error> {
        self.pins
            .get(&op.0)
            .ok_or_else(|| Error::new(ErrorKind::PinLost, format!("operation {op} holds no pin")))
    }

    pub(crate) fn restore(&self, op: OpId) -> Result<&RestoreState, Error> {
        self.restores.get(&op.0).ok_or_else(|| {
            Error::new(
                ErrorKind::NotFound,
                format!("operation {op} has no restore targets"),
            )
        })
    }

    /// `db.table`, for messages.
    pub(crate) fn full_name(&self, table: u64) -> String {
        let Some(found) = self.tables.get(&table) else {
            return format!("table {table}");
        };
        let database = self
            .databases
            .get(&found.database)
            .map_or("?", |d| d.name.as_str());
        format!("{database}.{}", found.name)
    }

    /// `db.table.partition`, for messages.
    pub(crate) fn full_partition_name(&self, partition: u64) -> String {
        self.partitions.get(&partition).map_or_else(
            || format!("partition {partition}"),
            |p| format!("{}.{}", self.full_name(p.table), p.meta.name),
        )
    }

    pub(crate) fn table_info(&self, table: &Table) -> Result<TableInfo, Error> {
        let partitions = table.partitions.iter().map(|id| {
            let p = self.partition(*id)?;
            Ok(PartitionInfo {
                id: *id,
                meta: p.meta.clone(),
                access: p.access,
                visible_version: p.version,
                visible_since_ms: p.since_ms,
                files: p.files,
                data_bytes: p.bytes,
            })
        });
        Ok(TableInfo {
            name: table.name.clone(),
            schema: table.schema.clone(),
            access: table.access,
            partitions: partitions.collect::<Result<_, Error>>()?,
        })
    }

    /// Refuses where an operation holds the table or one of its partitions: for changes of schema
    /// and drops.
    pub(crate) fn check_free(&self, table: u64) -> Result<(), Error> {
        let found = self.table(table)?;
        if let Some(op) = holder(found.access) {
            return Err(busy(&format!("table '{}'", self.full_name(table)), op));
        }
        for id in &found.partitions {
            if let Some(op) = holder(self.partition(*id)?.access) {
                let what = format!("partition '{}'", self.full_partition_name(*id));
                return Err(busy(&what, op));
            }
        }
        Ok(())
    }

    /// Refuses where a partition's data may not be read: an operation made it and has not finished.
    pub(crate) fn check_readable(&self, partition: u64) -> Result<(), Error> {
        let found = self.partition(partition)?;
        match (self.table(found.table)?.access, found.access) {
            (Access::Restoring(op), _) => Err(busy(
                &format!("table '{}'", self.full_name(found.table)),
                op,
            )),
            (_, Access::Restoring(op)) => Err(busy(
                &format!("partition '{}'", self.full_partition_name(partition)),
                op,
            )),
            _ => Ok(()),
        }
    }

    /// Refuses where a partition may not be loaded into.
    pub(crate) fn check_loadable(&self, partition: u64) -> Result<(), Error> {
        let found = self.partition(partition)?;
        if let Some(op) = holder(found.access) {
            let what = format!("partition '{}'", self.full_partition_name(partition));
            return Err(busy(&what, op));
        }
        if let Some(op) = holder(self.table(found.table)?.access) {
            let allowed = self.restores.get(&op.0).is_some_and(|r| r.allow_load);
            if !allowed {
                return Err(busy(
                    &format!("table '{}'", self.full_name(found.table)),
                    op,
                ));
            }
        }
        Ok(())
    }
}

/// The operation behind a mark.
pub(crate) fn holder(access: Access) -> Option<OpId> {
    match access {
        Access::Normal => None,
        Access::Restoring(op) | Access::Overwriting(op) => Some(op),
    }
}

/// The refusal that names the operation.
pub(crate) fn busy(what: &str, op: OpId) -> Error {
    Error::new(
        ErrorKind::Busy,
        format!("{what} is being restored by job {op}"),
    )
}

/// The catalog names something that it does not hold.
pub(crate) fn broken(what: &str, id: u64) -> Error {
    Error::new(
        ErrorKind::Damaged,
        format!("the catalog names {what} {id}, which it does not hold"),
    )
}
