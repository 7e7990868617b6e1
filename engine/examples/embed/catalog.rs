//! What Pocket keeps in redb, and the small steps that read and write it within a transaction.
//!
//! Rows lie under the number of their *tablet*: one immutable set of rows of one partition, as far
//! as restores are concerned. Putting another number into a table's record swaps all rows at once,
//! which is what makes the commit of a restore small. Nothing here opens a transaction or touches a
//! file.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_storage::model::{
    Access, Column, Distribution, KeysType, PartitionMeta, Partitioning, TableSchema,
};
use holdfast_storage::{Error, ErrorKind, FileEntry, OpId, RestoreSpec, Targets};
use redb::{ReadableTable, TableDefinition, WriteTransaction};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::{Form, failed, now_ms};

/// Counters: the catalog's position, the last id given.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
/// Databases.
pub(super) const DATABASES: TableDefinition<'_, &str, ()> = TableDefinition::new("databases");
/// Tables by database and name.
pub(super) const TABLES: TableDefinition<'_, (&str, &str), &[u8]> = TableDefinition::new("tables");
/// Rows by tablet and key.
pub(super) const ROWS: TableDefinition<'_, (u64, &str), &[u8]> = TableDefinition::new("rows");
/// Pins by operation.
pub(super) const PINS: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("pins");
/// Data files of pins by operation, tablet and name.
pub(super) const PINNED: TableDefinition<'_, (u64, u64, &str), &[u8]> =
    TableDefinition::new("pinned");
/// Restores that are not forgotten, by operation.
pub(super) const RESTORES: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("restores");
/// Target tablets that were staged: how many files they must get, by operation and tablet.
pub(super) const STAGES: TableDefinition<'_, (u64, u64), u64> = TableDefinition::new("stages");
/// The files that they must get, by operation, tablet and name.
pub(super) const STAGED: TableDefinition<'_, (u64, u64, &str), &[u8]> =
    TableDefinition::new("staged");
/// Operations that were committed, for ever: a late repetition must find them.
pub(super) const COMMITTED: TableDefinition<'_, u64, ()> = TableDefinition::new("committed");

/// A table.
#[derive(Serialize, Deserialize)]
pub(super) struct TableRecord {
    pub(super) schema: TableSchema,
    pub(super) access: Access,
    pub(super) partitions: Vec<PartitionRecord>,
}

impl TableRecord {
    pub(super) fn new(schema: TableSchema) -> Self {
        Self {
            schema,
            access: Access::Normal,
            partitions: Vec::new(),
        }
    }

    pub(super) fn form(&self) -> Result<Form, Error> {
        form(&self.schema)
    }

    pub(super) fn partition(&mut self, name: &str) -> Option<&mut PartitionRecord> {
        self.partitions.iter_mut().find(|p| p.meta.name == name)
    }
}

/// A partition and where its rows are.
#[derive(Serialize, Deserialize)]
pub(super) struct PartitionRecord {
    pub(super) id: u64,
    pub(super) meta: PartitionMeta,
    pub(super) access: Access,
    pub(super) version: u64,
    pub(super) since_ms: u64,
    pub(super) tablet: u64,
    pub(super) rows: u64,
    /// Bytes of keys and values.
    pub(super) bytes: u64,
}

impl PartitionRecord {
    /// An empty partition whose first tablet bears its id.
    pub(super) fn new(id: u64, meta: PartitionMeta, access: Access) -> Self {
        let since_ms = now_ms();
        Self {
            id,
            meta,
            access,
            version: 1,
            since_ms,
            tablet: id,
            rows: 0,
            bytes: 0,
        }
    }

    pub(super) fn publish(&mut self, version: u64) {
        self.version = version;
        self.since_ms = now_ms();
    }
}

/// A data file: a piece of its tablet's export.
#[derive(Clone, Serialize, Deserialize)]
pub(super) struct PinnedFile {
    pub(super) entry: FileEntry,
    pub(super) offset: u64,
}

/// A restore.
#[derive(Serialize, Deserialize)]
pub(super) struct RestoreRecord {
    pub(super) spec: RestoreSpec,
    pub(super) targets: Targets,
    pub(super) phase: Phase,
    /// Rows and their bytes of each target tablet, once prepared.
    pub(super) counts: BTreeMap<u64, (u64, u64)>,
    /// Tablets that the commit has put out of use.
    pub(super) replaced: Vec<u64>,
}

impl RestoreRecord {
    /// The target tablets.
    pub(super) fn tablets(&self) -> BTreeSet<u64> {
        let partitions = self.targets.tables.iter().flat_map(|t| &t.partitions);
        partitions
            .flat_map(|p| &p.tablets)
            .map(|t| t.id.0)
            .collect()
    }
}

/// How far a restore has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Phase {
    Made,
    Prepared,
    Committed,
}

/// Makes the redb tables, so that readers find them.
pub(super) fn make_tables(txn: &WriteTransaction) -> Result<(), Error> {
    txn.open_table(META).map_err(failed)?;
    txn.open_table(DATABASES).map_err(failed)?;
    txn.open_table(TABLES).map_err(failed)?;
    txn.open_table(ROWS).map_err(failed)?;
    txn.open_table(PINS).map_err(failed)?;
    txn.open_table(PINNED).map_err(failed)?;
    txn.open_table(RESTORES).map_err(failed)?;
    txn.open_table(STAGES).map_err(failed)?;
    txn.open_table(STAGED).map_err(failed)?;
    txn.open_table(COMMITTED).map_err(failed)?;
    Ok(())
}

pub(super) fn encode<T: Serialize>(record: &T) -> Result<Vec<u8>, Error> {
    let damaged = |e| {
        Error::new(
            ErrorKind::Damaged,
            format!("a record cannot be written: {e}"),
        )
    };
    serde_json::to_vec(record).map_err(damaged)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Error> {
    let damaged = |e| Error::new(ErrorKind::Damaged, format!("a record cannot be read: {e}"));
    serde_json::from_slice(bytes).map_err(damaged)
}

pub(super) fn number(
    meta: &impl ReadableTable<&'static str, u64>,
    name: &str,
) -> Result<u64, Error> {
    Ok(meta
        .get(name)
        .map_err(failed)?
        .map_or(0, |found| found.value()))
}

/// Adds one to a counter and gives its new value.
pub(super) fn advance(txn: &WriteTransaction, name: &str) -> Result<u64, Error> {
    let mut meta = txn.open_table(META).map_err(failed)?;
    let next = number(&meta, name)? + 1;
    meta.insert(name, next).map_err(failed)?;
    Ok(next)
}

/// A number for a partition or tablet that was never given before.
pub(super) fn take_id(txn: &WriteTransaction) -> Result<u64, Error> {
    advance(txn, "last_id")
}

pub(super) fn get_table(
    tables: &impl ReadableTable<(&'static str, &'static str), &'static [u8]>,
    database: &str,
    name: &str,
) -> Result<Option<TableRecord>, Error> {
    let found = tables.get((database, name)).map_err(failed)?;
    found.map(|found| decode(found.value())).transpose()
}

pub(super) fn table(
    txn: &WriteTransaction,
    database: &str,
    name: &str,
) -> Result<Option<TableRecord>, Error> {
    get_table(&txn.open_table(TABLES).map_err(failed)?, database, name)
}

pub(super) fn known(
    found: Option<TableRecord>,
    database: &str,
    name: &str,
) -> Result<TableRecord, Error> {
    let text = || format!("table '{database}.{name}' does not exist");
    found.ok_or_else(|| Error::new(ErrorKind::NotFound, text()))
}

pub(super) fn known_table(
    txn: &WriteTransaction,
    database: &str,
    name: &str,
) -> Result<TableRecord, Error> {
    known(table(txn, database, name)?, database, name)
}

pub(super) fn put_table(
    txn: &WriteTransaction,
    database: &str,
    name: &str,
    record: &TableRecord,
) -> Result<(), Error> {
    let mut tables = txn.open_table(TABLES).map_err(failed)?;
    tables
        .insert((database, name), encode(record)?.as_slice())
        .map_err(failed)?;
    Ok(())
}

pub(super) fn remove_table(
    txn: &WriteTransaction,
    database: &str,
    name: &str,
) -> Result<(), Error> {
    let mut tables = txn.open_table(TABLES).map_err(failed)?;
    tables.remove((database, name)).map_err(failed)?;
    Ok(())
}

pub(super) fn clear_rows(txn: &WriteTransaction, tablet: u64) -> Result<(), Error> {
    let mut rows = txn.open_table(ROWS).map_err(failed)?;
    rows.retain_in((tablet, "")..(tablet + 1, ""), |_, _| false)
        .map_err(failed)
}

pub(super) fn restore(txn: &WriteTransaction, op: OpId) -> Result<Option<RestoreRecord>, Error> {
    let restores = txn.open_table(RESTORES).map_err(failed)?;
    let found = restores.get(op.0).map_err(failed)?;
    found.map(|found| decode(found.value())).transpose()
}

pub(super) fn put_restore(
    txn: &WriteTransaction,
    op: OpId,
    record: &RestoreRecord,
) -> Result<(), Error> {
    let mut restores = txn.open_table(RESTORES).map_err(failed)?;
    restores
        .insert(op.0, encode(record)?.as_slice())
        .map_err(failed)?;
    Ok(())
}

/// Removes a restore's record and the lists of what it was to get.
pub(super) fn remove_restore(txn: &WriteTransaction, op: OpId) -> Result<(), Error> {
    txn.open_table(RESTORES)
        .map_err(failed)?
        .remove(op.0)
        .map_err(failed)?;
    let mut stages = txn.open_table(STAGES).map_err(failed)?;
    stages
        .retain_in((op.0, 0)..(op.0 + 1, 0), |_, _| false)
        .map_err(failed)?;
    let mut staged = txn.open_table(STAGED).map_err(failed)?;
    staged
        .retain_in((op.0, 0, "")..(op.0 + 1, 0, ""), |_, _| false)
        .map_err(failed)
}

pub(super) fn is_committed(txn: &WriteTransaction, op: OpId) -> Result<bool, Error> {
    let committed = txn.open_table(COMMITTED).map_err(failed)?;
    Ok(committed.get(op.0).map_err(failed)?.is_some())
}

/// The operation behind a mark.
pub(super) fn holder(access: Access) -> Option<OpId> {
    match access {
        Access::Normal => None,
        Access::Restoring(op) | Access::Overwriting(op) => Some(op),
    }
}

/// Refuses where an operation holds the table or a part of it.
pub(super) fn check_free(record: &TableRecord, database: &str, name: &str) -> Result<(), Error> {
    let parts = record.partitions.iter().map(|p| p.access);
    match parts.chain([record.access]).find_map(holder) {
        Some(op) => Err(busy(database, name, op)),
        None => Ok(()),
    }
}

/// The refusal that names the operation.
pub(super) fn busy(database: &str, table: &str, op: OpId) -> Error {
    let text = format!("table '{database}.{table}' is being restored by job {op}");
    Error::new(ErrorKind::Busy, text)
}

/// The property that says a table's form.
const FORM: &str = "pocket.form";

/// What all of Pocket's tables look like to the engine.
pub(super) fn schema(form: Form) -> TableSchema {
    let column = |name: &str, data_type: &str| Column {
        name: name.to_owned(),
        data_type: data_type.to_owned(),
        nullable: false,
        default: None,
        aggregation: None,
        comment: String::new(),
    };
    let text = match form {
        Form::Packed => "packed",
        Form::Loose => "loose",
    };
    TableSchema {
        columns: vec![column("key", "VARCHAR"), column("value", "VARBINARY")],
        keys_type: KeysType::Primary,
        key_columns: vec!["key".to_owned()],
        partitioning: Partitioning::List {
            columns: Vec::new(),
        },
        distribution: Distribution::Hash {
            columns: vec!["key".to_owned()],
        },
        comment: String::new(),
        properties: [(FORM.to_owned(), text.to_owned())].into(),
    }
}

/// The form that a schema says; a table of another kind of node has none.
pub(super) fn form(schema: &TableSchema) -> Result<Form, Error> {
    match schema.properties.get(FORM).map(String::as_str) {
        Some("packed") => Ok(Form::Packed),
        Some("loose") => Ok(Form::Loose),
        found => {
            let text = format!("property '{FORM}' is {found:?}, expected 'packed' or 'loose'");
            Err(Error::new(ErrorKind::Invalid, text))
        }
    }
}
