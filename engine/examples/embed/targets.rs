//! The beginning of a restore: its targets are made and marked in one transaction, and unmarked by
//! an abort in the same way.

use std::collections::BTreeMap;

use holdfast_storage::model::{
    Access, Make, RestorePartition, RestoreTable, TargetPartition, TargetTable, TargetTablet,
};
use holdfast_storage::{
    Error, ErrorKind, OpId, RestoreSpec, TabletId, Targets, check_object, check_partition,
};
use redb::{ReadableTable, WriteTransaction};

use super::catalog::{self, DATABASES, PartitionRecord, Phase, RestoreRecord, TABLES, TableRecord};
use super::storage::BACKEND;
use super::{Pocket, failed};

impl Pocket {
    pub(super) fn make_targets(&self, op: OpId, spec: &RestoreSpec) -> Result<Targets, Error> {
        self.change(|txn| {
            if catalog::is_committed(txn, op)? {
                let text = format!("operation {op} has already been committed");
                return Err(Error::new(ErrorKind::Invalid, text));
            }
            if let Some(record) = catalog::restore(txn, op)? {
                return Ok(record.targets);
            }
            check_object("database", &spec.database)?;
            let mut databases = txn.open_table(DATABASES).map_err(failed)?;
            let known = databases
                .insert(spec.database.as_str(), ())
                .map_err(failed)?
                .is_some();
            let mut targets = Targets {
                created_database: !known,
                tables: Vec::new(),
            };
            for table in &spec.tables {
                targets
                    .tables
                    .push(mark_table(txn, op, &spec.database, table)?);
            }
            mark_drops(txn, op, spec)?;
            let record = RestoreRecord {
                spec: spec.clone(),
                targets: targets.clone(),
                phase: Phase::Made,
                counts: BTreeMap::new(),
                replaced: Vec::new(),
            };
            catalog::put_restore(txn, op, &record)?;
            Ok(targets)
        })
    }
}

/// Makes or marks one table, and gives each of its partitions a tablet to be filled.
fn mark_table(
    txn: &WriteTransaction,
    op: OpId,
    database: &str,
    wanted: &RestoreTable,
) -> Result<TargetTable, Error> {
    let found = catalog::table(txn, database, &wanted.name)?;
    let mut record = match (wanted.table, found) {
        (Make::Create, Some(_)) => {
            let text = format!("table '{database}.{}' exists already", wanted.name);
            return Err(Error::new(ErrorKind::Exists, text));
        }
        (Make::Create, None) => {
            check_object("table", &wanted.name)?;
            catalog::form(&wanted.schema)?;
            TableRecord {
                access: Access::Restoring(op),
                ..TableRecord::new(wanted.schema.clone())
            }
        }
        (Make::Overwrite, found) => {
            let mut found = catalog::known(found, database, &wanted.name)?;
            catalog::check_free(&found, database, &wanted.name)?;
            if found.schema != wanted.schema {
                let text = format!("table '{database}.{}' has another schema now", wanted.name);
                return Err(Error::new(ErrorKind::Invalid, text));
            }
            found.access = Access::Overwriting(op);
            found
        }
    };
    let mut partitions = Vec::new();
    for partition in &wanted.partitions {
        let full = format!("{database}.{}.{}", wanted.name, partition.meta.name);
        let tablet = mark_partition(txn, op, &full, &mut record, partition)?;
        let tablet = TargetTablet {
            id: TabletId(tablet),
            bucket: 0,
            replicas: vec![BACKEND],
        };
        let name = partition.meta.name.clone();
        partitions.push(TargetPartition {
            name,
            tablets: vec![tablet],
        });
    }
    catalog::put_table(txn, database, &wanted.name, &record)?;
    Ok(TargetTable {
        name: wanted.name.clone(),
        partitions,
    })
}

/// Makes or marks one partition; gives the number of the tablet that the restore fills.
fn mark_partition(
    txn: &WriteTransaction,
    op: OpId,
    full: &str,
    record: &mut TableRecord,
    wanted: &RestorePartition,
) -> Result<u64, Error> {
    let refuse = |kind, what: &str| Err(Error::new(kind, format!("partition '{full}' {what}")));
    let meta = &wanted.meta;
    check_partition(&meta.name)?;
    if meta.buckets != 1 || meta.replication_num != 1 {
        let (buckets, replicas) = (meta.buckets, meta.replication_num);
        let text = format!("has {buckets} buckets and {replicas} replicas, expected 1 of each");
        return refuse(ErrorKind::Invalid, &text);
    }
    let tablet = catalog::take_id(txn)?;
    match (wanted.partition, record.partition(&meta.name)) {
        (Make::Create, Some(_)) => return refuse(ErrorKind::Exists, "exists already"),
        (Make::Create, None) => {
            let made = PartitionRecord::new(tablet, meta.clone(), Access::Restoring(op));
            record.partitions.push(made);
        }
        (Make::Overwrite, None) => return refuse(ErrorKind::NotFound, "does not exist"),
        (Make::Overwrite, Some(found)) if found.meta != *meta => {
            return refuse(ErrorKind::Invalid, "takes other rows now");
        }
        (Make::Overwrite, Some(found)) if found.access != Access::Normal => {
            return refuse(ErrorKind::Invalid, "is twice in one restore");
        }
        (Make::Overwrite, Some(found)) => found.access = Access::Overwriting(op),
    }
    Ok(tablet)
}

/// Marks what the commit will drop. What is gone already needs no drop.
fn mark_drops(txn: &WriteTransaction, op: OpId, spec: &RestoreSpec) -> Result<(), Error> {
    let both = |name: &str| {
        let text = format!("'{name}' is both restored and dropped in one restore");
        Err(Error::new(ErrorKind::Invalid, text))
    };
    for name in &spec.drop_tables {
        let Some(mut record) = catalog::table(txn, &spec.database, name)? else {
            continue;
        };
        if spec.tables.iter().any(|table| table.name == *name) {
            return both(name);
        }
        catalog::check_free(&record, &spec.database, name)?;
        record.access = Access::Overwriting(op);
        for partition in &mut record.partitions {
            partition.access = Access::Overwriting(op);
        }
        catalog::put_table(txn, &spec.database, name, &record)?;
    }
    for (table, name) in &spec.drop_partitions {
        let Some(mut record) = catalog::table(txn, &spec.database, table)? else {
            continue;
        };
        let table_access = record.access;
        let Some(partition) = record.partition(name) else {
            continue;
        };
        match catalog::holder(partition.access).or_else(|| catalog::holder(table_access)) {
            Some(holder) if holder != op => {
                return Err(catalog::busy(&spec.database, table, holder));
            }
            _ if partition.access != Access::Normal => return both(&format!("{table}.{name}")),
            _ => partition.access = Access::Overwriting(op),
        }
        catalog::put_table(txn, &spec.database, table, &record)?;
    }
    Ok(())
}

/// Takes back what `make_targets` has made and marked.
pub(super) fn unmark(
    txn: &WriteTransaction,
    op: OpId,
    record: &RestoreRecord,
) -> Result<(), Error> {
    let spec = &record.spec;
    let database = spec.database.as_str();
    let dropped = spec.drop_partitions.iter().map(|(table, _)| table);
    let targets = spec.tables.iter().map(|table| &table.name);
    for name in targets.chain(&spec.drop_tables).chain(dropped) {
        let Some(mut table) = catalog::table(txn, database, name)? else {
            continue;
        };
        if table.access == Access::Restoring(op) {
            catalog::remove_table(txn, database, name)?;
            continue;
        }
        table
            .partitions
            .retain(|p| p.access != Access::Restoring(op));
        if table.access == Access::Overwriting(op) {
            table.access = Access::Normal;
        }
        for partition in &mut table.partitions {
            if partition.access == Access::Overwriting(op) {
                partition.access = Access::Normal;
            }
        }
        catalog::put_table(txn, database, name, &table)?;
    }
    let tables = txn.open_table(TABLES).map_err(failed)?;
    let mut left = tables.range((database, "")..).map_err(failed)?;
    let is_used = match left.next().transpose().map_err(failed)? {
        Some((key, _)) => key.value().0 == database,
        None => false,
    };
    if record.targets.created_database && !is_used {
        txn.open_table(DATABASES)
            .map_err(failed)?
            .remove(database)
            .map_err(failed)?;
    }
    Ok(())
}
