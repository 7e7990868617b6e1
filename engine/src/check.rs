//! Whether a snapshot may be restored onto what exists, and what that makes or overwrites.
//!
//! Pure: the same snapshot, tables and job give the same answer, so that an attempt that runs
//! again after a crash asks the storage for the same targets. For that, what this very operation
//! has already made counts as absent. The rules are those a user reads in the RESTORE
//! documentation; each refusal names the first thing that differs and both values.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_storage::model::{
    Access, Make, PartitionMeta, RestorePartition, RestoreTable, TableSchema,
};
use holdfast_storage::{OpId, RestoreSpec, TableInfo};

use crate::refusal::{Refusal, RefusalCode};
use crate::select::{self, Available};
use crate::spec::{Clean, ObjectRef, RestoreJobSpec, Selection};

mod bounds;
mod replicas;
mod table;
#[cfg(test)]
mod tests;
mod values;

pub use values::without_values;

/// What a snapshot holds, as its manifest says.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot<'a> {
    /// The database it was taken of.
    pub(crate) database: &'a str,
    /// Its tables.
    pub(crate) tables: &'a [SnapshotTable],
}

/// A table of a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct SnapshotTable {
    /// Its name.
    pub(crate) name: String,
    /// Its schema.
    pub(crate) schema: TableSchema,
    /// Its partitions.
    pub(crate) partitions: Vec<PartitionMeta>,
}

/// What is there now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Existing<'a> {
    /// The tables of the target database; empty where the database does not exist.
    pub(crate) tables: &'a [TableInfo],
    /// Backends that can hold replicas.
    pub(crate) backends: usize,
    /// The operation that asks: what it has made itself does not count as existing.
    pub(crate) op: OpId,
}

/// A restore that may go on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Checked {
    /// What the storage is to make or overwrite.
    pub(crate) spec: RestoreSpec,
    /// For each table of `spec`, in its order, where its data comes from.
    pub(crate) sources: Vec<SourceTable>,
    /// What is restored, for RestoreObjs.
    pub(crate) objects: Vec<ObjectRef>,
    /// What is dropped in the same commit; a table without partitions is dropped as a whole.
    pub(crate) drops: Vec<ObjectRef>,
    /// The replica count, where one count holds for all partitions.
    pub(crate) replication_num: Option<u32>,
    /// Something the operator should know.
    pub(crate) note: Option<String>,
}

/// Where the data of one table of a [`RestoreSpec`] comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SourceTable {
    /// Index of the table in the snapshot.
    pub(crate) table: usize,
    /// For each partition of the spec's table, its index in the snapshot's table.
    pub(crate) partitions: Vec<usize>,
}

/// Checks a restore against what exists.
///
/// # Errors
/// A refusal that names the first thing that does not agree, the value found and the value
/// expected.
pub(crate) fn check(
    snapshot: &Snapshot<'_>,
    existing: Existing<'_>,
    job: &RestoreJobSpec,
) -> Result<Checked, Refusal> {
    check_database(snapshot, job)?;
    check_clean(job.clean, &job.selection)?;
    let sources = index_snapshot(snapshot, job)?;
    let available: Vec<Available<'_>> = snapshot.tables.iter().map(available).collect();
    let objects = select::for_restore(&job.label, &job.selection, &available)?;
    let local: BTreeMap<&str, &TableInfo> = existing
        .tables
        .iter()
        .map(|t| (t.name.as_str(), t))
        .collect();
    let mut replicas = replicas::Replicas::new(job.replication, existing.backends)?;
    let mut tables = Vec::with_capacity(objects.len());
    let mut chosen = Vec::with_capacity(objects.len());
    let mut targets: BTreeMap<&str, usize> = BTreeMap::new();
    for object in &objects {
        let Some(&index) = sources.get(object.table.as_str()) else {
            continue;
        };
        let source = &snapshot.tables[index];
        let name = object.alias.as_deref().unwrap_or(&object.table);
        if targets.insert(name, index).is_some() {
            return Err(Refusal::new(
                RefusalCode::DuplicateObject,
                format!("two tables of the restore would be named '{name}'"),
            ));
        }
        let target = table::Target {
            database: &job.database,
            name,
            aliased: object.alias.is_some(),
            existing: local
                .get(name)
                .copied()
                .filter(|t| !made_by(t.access, existing.op)),
            op: existing.op,
        };
        let wanted = wanted_partitions(source, object);
        tables.push(table::check(&target, source, &wanted, &mut replicas)?);
        chosen.push(SourceTable {
            table: index,
            partitions: wanted,
        });
    }
    let (drop_tables, drop_partitions) = drops(job, &local, &targets, snapshot, existing.op)?;
    let drops = drop_objects(&drop_tables, &drop_partitions);
    let replication_num = one_count(&tables);
    let spec = RestoreSpec {
        database: job.database.clone(),
        tables,
        allow_load: job.allow_load,
        drop_tables,
        drop_partitions,
    };
    Ok(Checked {
        spec,
        sources: chosen,
        objects,
        drops,
        replication_num,
        note: replicas.note(),
    })
}

fn available(table: &SnapshotTable) -> Available<'_> {
    Available {
        table: &table.name,
        partitions: table.partitions.iter().map(|p| p.name.as_str()).collect(),
    }
}

fn made_by(access: Access, op: OpId) -> bool {
    access == Access::Restoring(op)
}

fn check_database(snapshot: &Snapshot<'_>, job: &RestoreJobSpec) -> Result<(), Refusal> {
    match &job.source_database {
        Some(wanted) if wanted != snapshot.database => Err(Refusal::new(
            RefusalCode::WrongDatabase,
            format!(
                "snapshot '{}' holds database '{}', expected '{wanted}'; name it in DATABASE, or \
                 leave DATABASE out",
                job.label, snapshot.database
            ),
        )),
        _ => Ok(()),
    }
}

/// Whether the drops that `clean` asks for go together with the selection.
///
/// # Errors
/// A refusal that names the property and what it contradicts.
pub(crate) fn check_clean(clean: Clean, selection: &Selection) -> Result<(), Refusal> {
    let listed = select::listed(selection);
    let refuse = |message: String| Err(Refusal::new(RefusalCode::BadProperty, message));
    if clean.tables && !matches!(selection, Selection::All) {
        let clause = if matches!(selection, Selection::Only(_)) {
            "ON"
        } else {
            "EXCLUDE"
        };
        return refuse(format!(
            "property 'clean_tables' is true beside {clause}, expected a restore of the \
             whole snapshot"
        ));
    }
    if clean.partitions
        && let Some(part) = listed.iter().find(|o| !o.partitions.is_empty())
    {
        return refuse(format!(
            "property 'clean_partitions' is true beside a partition list of table '{}', expected \
             whole tables",
            part.table
        ));
    }
    Ok(())
}

/// The snapshot's tables by name. A manifest comes from outside: what is there twice is refused,
/// not guessed.
fn index_snapshot<'a>(
    snapshot: &Snapshot<'a>,
    job: &RestoreJobSpec,
) -> Result<BTreeMap<&'a str, usize>, Refusal> {
    let twice = |what: String| {
        Refusal::new(
            RefusalCode::TargetMismatch,
            format!("snapshot '{}' holds {what} twice", job.label),
        )
    };
    let mut by_name = BTreeMap::new();
    for (index, table) in snapshot.tables.iter().enumerate() {
        if by_name.insert(table.name.as_str(), index).is_some() {
            return Err(twice(format!("table '{}'", table.name)));
        }
        let mut names = BTreeSet::new();
        for partition in &table.partitions {
            if !names.insert(partition.name.as_str()) {
                return Err(twice(format!(
                    "partition '{}' of table '{}'",
                    partition.name, table.name
                )));
            }
        }
    }
    Ok(by_name)
}

/// Indices of the wanted partitions, in the snapshot's order.
fn wanted_partitions(source: &SnapshotTable, object: &ObjectRef) -> Vec<usize> {
    let listed: BTreeSet<&str> = object.partitions.iter().map(String::as_str).collect();
    source
        .partitions
        .iter()
        .enumerate()
        .filter(|(_, p)| listed.is_empty() || listed.contains(p.name.as_str()))
        .map(|(index, _)| index)
        .collect()
}

type Drops = (Vec<String>, Vec<(String, String)>);

/// What `clean` drops: only what existed at acceptance, exists still, and is not brought by the
/// snapshot.
fn drops(
    job: &RestoreJobSpec,
    local: &BTreeMap<&str, &TableInfo>,
    targets: &BTreeMap<&str, usize>,
    snapshot: &Snapshot<'_>,
    op: OpId,
) -> Result<Drops, Refusal> {
    let (mut tables, mut partitions) = (Vec::new(), Vec::new());
    let existed: BTreeMap<&str, &ObjectRef> =
        job.existed.iter().map(|o| (o.table.as_str(), o)).collect();
    for (name, old) in existed {
        let Some(table) = local.get(name).filter(|t| !made_by(t.access, op)) else {
            continue;
        };
        match targets.get(name) {
            None if job.clean.tables => {
                table::refuse_if_held(&job.database, table, op)?;
                tables.push(name.to_owned());
            }
            Some(&source) if job.clean.partitions => {
                let brought: BTreeSet<&str> = snapshot.tables[source]
                    .partitions
                    .iter()
                    .map(|p| p.name.as_str())
                    .collect();
                let old: BTreeSet<&str> = old.partitions.iter().map(String::as_str).collect();
                let gone = table
                    .partitions
                    .iter()
                    .filter(|p| !made_by(p.access, op))
                    .map(|p| p.meta.name.as_str())
                    .filter(|p| old.contains(p) && !brought.contains(p));
                partitions.extend(gone.map(|p| (name.to_owned(), p.to_owned())));
            }
            _ => {}
        }
    }
    Ok((tables, partitions))
}

fn drop_objects(tables: &[String], partitions: &[(String, String)]) -> Vec<ObjectRef> {
    let mut objects: Vec<ObjectRef> = tables
        .iter()
        .map(|table| ObjectRef {
            table: table.clone(),
            partitions: Vec::new(),
            alias: None,
        })
        .collect();
    let mut by_table: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (table, partition) in partitions {
        by_table.entry(table).or_default().push(partition.clone());
    }
    objects.extend(by_table.into_iter().map(|(table, partitions)| ObjectRef {
        table: table.to_owned(),
        partitions,
        alias: None,
    }));
    objects
}

fn one_count(tables: &[RestoreTable]) -> Option<u32> {
    let mut counts = tables
        .iter()
        .flat_map(|t| &t.partitions)
        .map(|p: &RestorePartition| p.meta.replication_num);
    let first = counts.next()?;
    counts.all(|count| count == first).then_some(first)
}

/// Whether a target is made, by whether it exists.
fn make(exists: bool) -> Make {
    if exists {
        Make::Overwrite
    } else {
        Make::Create
    }
}
