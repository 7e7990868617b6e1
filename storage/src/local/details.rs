//! What the catalog knows of a table, its partitions and tablets: enough for a node's SHOW
//! statements.

use std::path::PathBuf;

use super::state::State;
use super::{LocalStorage, is_alive};
use crate::Error;
use crate::model::{Access, BackendId, PartitionMeta, TableSchema, TabletId};

/// A table with its ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableDetails {
    /// The id of its database.
    pub database_id: u64,
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Its schema.
    pub schema: TableSchema,
    /// Who may use it.
    pub access: Access,
    /// Its partitions in creation order.
    pub partitions: Vec<PartitionDetails>,
}

/// A partition with its sizes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartitionDetails {
    /// Its id.
    pub id: u64,
    /// What it is.
    pub meta: PartitionMeta,
    /// Who may use it.
    pub access: Access,
    /// The visible version, from 1.
    pub visible_version: u64,
    /// When that became visible, ms since 1970.
    pub visible_since_ms: u64,
    /// Data files of the visible version.
    pub files: u64,
    /// Bytes of the visible version, one replica counted.
    pub data_bytes: u64,
    /// Bytes of the visible version over all replicas.
    pub stored_bytes: u64,
}

/// A tablet with its owners and replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TabletDetails {
    /// Its id.
    pub id: TabletId,
    /// Its bucket, from 0.
    pub bucket: u32,
    /// Id and name of its database.
    pub database: (u64, String),
    /// Id and name of its table.
    pub table: (u64, String),
    /// Id and name of its partition.
    pub partition: (u64, String),
    /// The partition's visible version.
    pub version: u64,
    /// How many loads and restores the visible version is made of.
    pub version_count: u64,
    /// Data files of the visible version.
    pub files: u64,
    /// Bytes of the visible version, one replica counted.
    pub data_bytes: u64,
    /// Its replicas.
    pub replicas: Vec<ReplicaDetails>,
}

/// One replica of a tablet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplicaDetails {
    /// The backend's id.
    pub backend: BackendId,
    /// The backend's name.
    pub backend_name: String,
    /// Whether the backend is alive.
    pub alive: bool,
    /// The folder of the replica's data files.
    pub path: PathBuf,
}

impl LocalStorage {
    /// The id of a database.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn database_id(&self, name: &str) -> Result<u64, Error> {
        self.ledger.read().database_id(name)
    }

    /// A table with its partitions.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn table_details(&self, database: &str, table: &str) -> Result<TableDetails, Error> {
        let state = self.ledger.read();
        let id = state.table_id(database, table)?;
        let found = state.table(id)?;
        let partitions = found
            .partitions
            .iter()
            .map(|p| partition_details(&state, *p));
        Ok(TableDetails {
            database_id: found.database,
            id,
            name: found.name.clone(),
            schema: found.schema.clone(),
            access: found.access,
            partitions: partitions.collect::<Result<_, Error>>()?,
        })
    }

    /// One partition.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn partition_details(
        &self,
        database: &str,
        table: &str,
        partition: &str,
    ) -> Result<PartitionDetails, Error> {
        let state = self.ledger.read();
        let table = state.table_id(database, table)?;
        partition_details(&state, state.partition_id(table, partition)?)
    }

    /// The tablets of some partitions of a table (`None` = all) in order of partition and bucket.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn table_tablets(
        &self,
        database: &str,
        table: &str,
        partitions: Option<&[String]>,
    ) -> Result<Vec<TabletDetails>, Error> {
        let state = self.ledger.read();
        let table = state.table_id(database, table)?;
        let wanted = match partitions {
            None => state.table(table)?.partitions.clone(),
            Some(names) => {
                let ids = names.iter().map(|name| state.partition_id(table, name));
                ids.collect::<Result<_, Error>>()?
            }
        };
        let mut out = Vec::new();
        for id in wanted {
            for tablet in state.partition(id)?.tablets() {
                out.push(self.describe_tablet(&state, tablet)?);
            }
        }
        Ok(out)
    }

    /// One tablet by its id.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn tablet_details(&self, tablet: TabletId) -> Result<TabletDetails, Error> {
        self.describe_tablet(&self.ledger.read(), tablet.0)
    }

    fn describe_tablet(&self, state: &State, id: u64) -> Result<TabletDetails, Error> {
        let tablet = state.tablet(id)?;
        let partition = state.partition(tablet.partition)?;
        let table = state.table(partition.table)?;
        let database = state
            .databases
            .get(&table.database)
            .map_or("", |d| d.name.as_str());
        let replicas = tablet.replicas.iter().map(|backend| {
            let name = state.backend(*backend)?.name.clone();
            let dir = self.layout.backend(&name);
            Ok(ReplicaDetails {
                backend: BackendId(*backend),
                backend_name: name,
                alive: is_alive(&dir),
                path: dir.tablet(id),
            })
        });
        Ok(TabletDetails {
            id: TabletId(id),
            bucket: (id - partition.first_tablet) as u32,
            database: (table.database, database.to_owned()),
            table: (partition.table, table.name.clone()),
            partition: (tablet.partition, partition.meta.name.clone()),
            version: partition.version,
            version_count: tablet.chunks.len() as u64,
            files: tablet.files,
            data_bytes: tablet.bytes,
            replicas: replicas.collect::<Result<_, Error>>()?,
        })
    }
}

fn partition_details(state: &State, id: u64) -> Result<PartitionDetails, Error> {
    let found = state.partition(id)?;
    let mut stored_bytes = 0;
    for tablet in found.tablets() {
        let tablet = state.tablet(tablet)?;
        stored_bytes += tablet.bytes * tablet.replicas.len() as u64;
    }
    Ok(PartitionDetails {
        id,
        meta: found.meta.clone(),
        access: found.access,
        visible_version: found.version,
        visible_since_ms: found.since_ms,
        files: found.files,
        data_bytes: found.bytes,
        stored_bytes,
    })
}
