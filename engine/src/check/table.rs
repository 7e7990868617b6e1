//! One table of a restore: whether it may be made or overwritten, and each of its partitions.

use std::collections::BTreeMap;

use holdfast_storage::model::{
    Access, Bounds, PartitionInfo, PartitionMeta, Partitioning, RestorePartition, RestoreTable,
};
use holdfast_storage::{OpId, TableInfo, schema};

use super::bounds::{self, Taken};
use super::replicas::Replicas;
use super::{SnapshotTable, made_by, make};
use crate::refusal::{Refusal, RefusalCode};

/// Where one table is restored to.
pub(super) struct Target<'a> {
    /// The target database.
    pub(super) database: &'a str,
    /// The target's name.
    pub(super) name: &'a str,
    /// Whether the statement gave that name.
    pub(super) aliased: bool,
    /// The table of that name, where there is one that this operation has not made itself.
    pub(super) existing: Option<&'a TableInfo>,
    /// The operation.
    pub(super) op: OpId,
}

impl Target<'_> {
    fn title(&self) -> String {
        format!("table '{}.{}'", self.database, self.name)
    }

    fn partition(&self, name: &str) -> String {
        format!("partition '{name}' of {}", self.title())
    }
}

fn mismatch(message: String) -> Refusal {
    Refusal::new(RefusalCode::TargetMismatch, message)
}

/// Checks one table; `wanted` are indices of its partitions in the snapshot.
pub(super) fn check(
    target: &Target<'_>,
    source: &SnapshotTable,
    wanted: &[usize],
    replicas: &mut Replicas,
) -> Result<RestoreTable, Refusal> {
    let metas: Vec<&PartitionMeta> = wanted
        .iter()
        .filter_map(|&i| source.partitions.get(i))
        .collect();
    check_source(target, source, &metas)?;
    let schema = match target.existing {
        Some(table) => {
            check_existing(target, table, source)?;
            table.schema.clone()
        }
        None => source.schema.clone(),
    };
    let local = Local::of(target);
    let mut taken = local.taken();
    let apart = local.stays_apart(&metas);
    let mut partitions = Vec::with_capacity(metas.len());
    for meta in &metas {
        let partition = match local.find(meta) {
            Some(existing) => overwritten(target, existing, meta, replicas)?,
            None => {
                if !apart {
                    refuse_conflict(target, &taken, meta)?;
                    taken.add(&meta.name, &meta.bounds);
                }
                added(target, meta, &source.schema.partitioning, replicas)?
            }
        };
        partitions.push(partition);
    }
    Ok(RestoreTable {
        name: target.name.to_owned(),
        schema,
        table: make(target.existing.is_some()),
        partitions,
    })
}

/// What the manifest says must hold together by itself: it comes from outside.
fn check_source(
    target: &Target<'_>,
    source: &SnapshotTable,
    metas: &[&PartitionMeta],
) -> Result<(), Refusal> {
    let unpartitioned = source.schema.partitioning == Partitioning::Unpartitioned;
    if unpartitioned && source.partitions.len() != 1 {
        return Err(mismatch(format!(
            "unpartitioned table '{}' has {} partitions in the snapshot, expected 1",
            source.name,
            source.partitions.len()
        )));
    }
    for meta in metas {
        if !bounds::fit(&source.schema.partitioning, &meta.bounds) {
            return Err(mismatch(format!(
                "{} has bounds {} in the snapshot, expected some of its table's partition type",
                target.partition(&meta.name),
                bounds::text(&meta.bounds)
            )));
        }
        if meta.buckets == 0 {
            return Err(mismatch(format!(
                "{} has 0 buckets in the snapshot, expected at least 1",
                target.partition(&meta.name)
            )));
        }
    }
    Ok(())
}

fn check_existing(
    target: &Target<'_>,
    table: &TableInfo,
    source: &SnapshotTable,
) -> Result<(), Refusal> {
    refuse_if_held(target.database, table, target.op)?;
    if target.aliased {
        return Err(mismatch(format!(
            "{} already exists, expected a new name after AS: table '{}' of the snapshot can \
             overwrite only a table of its own name",
            target.title(),
            source.name
        )));
    }
    match schema::difference(&table.schema, &source.schema) {
        Some(difference) => Err(mismatch(format!(
            "{} already exist but with different schema: {difference}",
            target.title()
        ))),
        None => Ok(()),
    }
}

/// Refuses a table that another operation holds, or one of its partitions.
pub(super) fn refuse_if_held(database: &str, table: &TableInfo, op: OpId) -> Result<(), Refusal> {
    let holder = |access: Access| match access {
        Access::Restoring(other) | Access::Overwriting(other) if other != op => Some(other),
        _ => None,
    };
    let partitions = table.partitions.iter().map(|p| p.access);
    match std::iter::once(table.access)
        .chain(partitions)
        .find_map(holder)
    {
        Some(other) => Err(Refusal::new(
            RefusalCode::JobRunning,
            format!(
                "table '{database}.{}' is being restored by job {other}",
                table.name
            ),
        )),
        None => Ok(()),
    }
}

/// The partitions of the existing table that this operation has not made itself.
struct Local<'a> {
    single: Option<&'a PartitionInfo>,
    by_name: BTreeMap<&'a str, &'a PartitionInfo>,
}

impl<'a> Local<'a> {
    fn of(target: &Target<'a>) -> Self {
        let mut local = Self {
            single: None,
            by_name: BTreeMap::new(),
        };
        if let Some(table) = target.existing {
            if table.schema.partitioning == Partitioning::Unpartitioned {
                local.single = table.partitions.first();
            }
            let others = table
                .partitions
                .iter()
                .filter(|p| !made_by(p.access, target.op));
            local.by_name = others.map(|p| (p.meta.name.as_str(), p)).collect();
        }
        local
    }

    /// The partition that `meta` overwrites. The one partition of an unpartitioned table goes by
    /// any name.
    fn find(&self, meta: &PartitionMeta) -> Option<&'a PartitionInfo> {
        self.single
            .or_else(|| self.by_name.get(meta.name.as_str()).copied())
    }

    /// Whether nothing that is added conflicts with anything: found by one sort, since comparing each
    /// with each takes too long for tables of very many partitions. Where it does, that is how the
    /// conflict gets its names.
    fn stays_apart(&self, metas: &[&PartitionMeta]) -> bool {
        let own = self.by_name.values().map(|p| &p.meta.bounds);
        let new = metas.iter().filter(|meta| self.find(meta).is_none());
        let all: Vec<&Bounds> = own.chain(new.map(|meta| &meta.bounds)).collect();
        schema::first_overlap(&all).is_none()
    }

    fn taken(&self) -> Taken<'a> {
        let mut taken = Taken::default();
        for partition in self.by_name.values() {
            taken.add(&partition.meta.name, &partition.meta.bounds);
        }
        taken
    }
}

fn overwritten(
    target: &Target<'_>,
    existing: &PartitionInfo,
    meta: &PartitionMeta,
    replicas: &mut Replicas,
) -> Result<RestorePartition, Refusal> {
    let title = target.partition(&existing.meta.name);
    if !schema::same_bounds(&existing.meta.bounds, &meta.bounds) {
        let word = bounds::word(&meta.bounds);
        return Err(mismatch(format!(
            "{title} has different {word}: {}, expected {}",
            bounds::text(&existing.meta.bounds),
            bounds::text(&meta.bounds)
        )));
    }
    if existing.meta.buckets != meta.buckets {
        return Err(mismatch(format!(
            "{title} has {} buckets, expected {}",
            existing.meta.buckets, meta.buckets
        )));
    }
    let own = existing.meta.replication_num;
    let count = replicas.of_existing(&title, own, meta.replication_num)?;
    Ok(RestorePartition {
        meta: PartitionMeta {
            replication_num: count,
            ..existing.meta.clone()
        },
        partition: make(true),
    })
}

fn refuse_conflict(
    target: &Target<'_>,
    taken: &Taken<'_>,
    meta: &PartitionMeta,
) -> Result<(), Refusal> {
    let Some((other, what)) = taken.conflict(&meta.bounds) else {
        return Ok(());
    };
    let takes = match &meta.bounds {
        Bounds::List { .. } => format!("takes {what} too"),
        _ => format!("takes {what}"),
    };
    Err(mismatch(format!(
        "{} has conflicting {}: {} is to be added, but partition '{other}' {takes}",
        target.partition(&meta.name),
        bounds::word(&meta.bounds),
        bounds::text(&meta.bounds)
    )))
}

fn added(
    target: &Target<'_>,
    meta: &PartitionMeta,
    partitioning: &Partitioning,
    replicas: &mut Replicas,
) -> Result<RestorePartition, Refusal> {
    // The one partition of an unpartitioned table bears the table's name, also where that is a new
    // one.
    let name = match partitioning {
        Partitioning::Unpartitioned => target.name,
        _ => &meta.name,
    };
    let count = replicas.of_new(&target.partition(name), meta.replication_num)?;
    Ok(RestorePartition {
        meta: PartitionMeta {
            name: name.to_owned(),
            replication_num: count,
            ..meta.clone()
        },
        partition: make(false),
    })
}
