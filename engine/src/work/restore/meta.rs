//! `PrepareMeta`: the snapshot's manifest is read and kept, the targets are checked and made, the
//! staging is planned.
//!
//! All that can be refused is refused before anything is made; all that is needed of the manifest
//! is local before users see a target. May run again at any point: the check does not count what
//! this operation has made itself.

use std::collections::BTreeMap;

use holdfast_repository::manifest::{Opaque, PartRef, Root, TableRef};
use holdfast_repository::{ErrorKind as RepositoryKind, Repository};
use holdfast_storage::model::{PartitionMeta, TargetTable, TargetTablet};
use holdfast_storage::{BackendId, ErrorKind, RestoreSpec, TableInfo, Targets};
use serde::de::DeserializeOwned;

use super::insist::{Fault, insist};
use super::lists::{self, KeptPart};
use super::plan::{BatchWriter, Bounds, SourceTablet};
use super::spec;
use crate::check::{Checked, Existing, Snapshot, SnapshotTable, check};
use crate::order::{Failure, Output, StatusCode};
use crate::refusal::{Refusal, RefusalCode};
use crate::spec::{Replication, RestoreJobSpec};
use crate::work::Task;

/// Checks and makes the targets of a restore.
pub(crate) fn prepare_meta(task: &Task<'_>) -> Result<Output, Failure> {
    let job = spec(task)?;
    let repository = task.env.repositories.get(task.context, job.repository)?;
    let root = read_root(task, &repository, job)?;
    let snapshot = snapshot_tables(&root)?;
    let checked = check_targets(task, job, &root, &snapshot)?;
    let sources = keep_lists(task, &repository, &root, &checked)?;
    // One that was asked to let go while a remote held it must make nothing any more.
    task.context.check()?;
    let targets = make_targets(task, &checked.spec)?;
    let tablets = sources.pair(&checked.spec, &targets)?;
    let tablet_count = tablets.len() as u64;
    let files = tablets.iter().map(|(_, source)| source.files).sum();
    let bounds = Bounds {
        tablets: task.env.limits.tablets_per_task.max(1),
        files: u64::MAX,
        bytes: u64::MAX,
    };
    let mut writer = BatchWriter::new(task, bounds);
    for (backend, tablets) in by_backend(&tablets) {
        for (target, source) in tablets {
            let parts = &sources.parts;
            let lists = source.lists.iter().filter_map(|&(part, record)| {
                parts.get(part as usize).map(|part| (part.blob, record))
            });
            writer.add(backend, target.id, lists, source.files, source.bytes)?;
        }
    }
    let (plan, lanes) = writer.finish()?;
    Ok(Output::MetaPrepared {
        plan,
        lanes,
        objects: checked.objects,
        drops: checked.drops,
        replication_num: match job.replication {
            Replication::Fixed(count) => Some(count),
            _ => checked.replication_num,
        },
        note: checked.note,
        tablets: tablet_count,
        files,
    })
}

fn read_root(
    task: &Task<'_>,
    repository: &Repository,
    job: &RestoreJobSpec,
) -> Result<Root, Failure> {
    insist(task, |_| {
        let read = repository.marker(task.context, &job.label, &job.timestamp);
        read.map_err(|error| match error.kind() {
            RepositoryKind::NotFound => Fault::Other(unknown_snapshot(job, &error)),
            _ => Fault::from(error),
        })
    })
}

fn unknown_snapshot(job: &RestoreJobSpec, error: &holdfast_repository::Error) -> Failure {
    let text = format!(
        "failed to get info of snapshot '{}' in repository '{}', perhaps a wrong backup \
         timestamp '{}': {error}; see SHOW SNAPSHOT ON {}",
        job.label, job.repository_name, job.timestamp, job.repository_name
    );
    Failure::fatal(StatusCode::NotFound, text)
}

/// The snapshot's tables as the check wants them. The repository does not look into schemas; here
/// they are read.
fn snapshot_tables(root: &Root) -> Result<Vec<SnapshotTable>, Failure> {
    root.tables.iter().map(snapshot_table).collect()
}

fn snapshot_table(table: &TableRef) -> Result<SnapshotTable, Failure> {
    let title = format!("table '{}'", table.name);
    let mut partitions = Vec::with_capacity(table.partitions.len());
    for partition in &table.partitions {
        let title = format!("partition '{}' of {title}", partition.name);
        let meta: PartitionMeta = read_value(&title, &partition.meta)?;
        if meta.name != partition.name {
            return Err(bad(format!(
                "the manifest describes {title} under the name '{}'",
                meta.name
            )));
        }
        partitions.push(meta);
    }
    Ok(SnapshotTable {
        name: table.name.clone(),
        schema: read_value(&title, &table.schema)?,
        partitions,
    })
}

fn read_value<T: DeserializeOwned>(title: &str, value: &Opaque) -> Result<T, Failure> {
    T::deserialize(&value.0).map_err(|error| {
        bad(format!(
            "the manifest's description of {title} cannot be read: {error}"
        ))
    })
}

fn bad(message: String) -> Failure {
    Failure::fatal(StatusCode::BadFile, message)
}

fn check_targets(
    task: &Task<'_>,
    job: &RestoreJobSpec,
    root: &Root,
    tables: &[SnapshotTable],
) -> Result<Checked, Failure> {
    let storage = &task.env.storage;
    let local: Vec<TableInfo> = match storage.tables(&job.database) {
        Ok(tables) => tables,
        Err(error) if error.kind() == ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(Failure::from(error)),
    };
    let backends = storage.backends()?;
    let existing = Existing {
        tables: &local,
        backends: backends.iter().filter(|backend| backend.alive).count(),
        op: task.order.op(),
    };
    let snapshot = Snapshot {
        database: &root.database,
        tables,
    };
    check(&snapshot, existing, job).map_err(|refusal| from_refusal(&refusal))
}

fn from_refusal(refusal: &Refusal) -> Failure {
    let code = match refusal.code {
        RefusalCode::DatabaseNotFound
        | RefusalCode::TableNotFound
        | RefusalCode::PartitionNotFound
        | RefusalCode::SnapshotNotFound => StatusCode::NotFound,
        _ => StatusCode::CommonError,
    };
    Failure::fatal(code, refusal.message.clone())
}

fn make_targets(task: &Task<'_>, spec: &RestoreSpec) -> Result<Targets, Failure> {
    task.env
        .storage
        .create_targets(task.order.op(), spec)
        .map_err(|error| match error.kind() {
            // The catalog has changed since the check, which names the change when it runs again.
            ErrorKind::Exists | ErrorKind::NotFound => Failure::retry(error.message()),
            _ => Failure::from(error),
        })
}

/// Where the data of all partitions comes from.
struct Sources {
    parts: Vec<KeptPart>,
    /// For each table and partition of the spec: the tablets of the snapshot by bucket.
    tables: Vec<Vec<BTreeMap<u32, SourceTablet>>>,
}

fn keep_lists(
    task: &Task<'_>,
    repository: &Repository,
    root: &Root,
    checked: &Checked,
) -> Result<Sources, Failure> {
    let chosen = |table: usize, partition: usize| {
        root.tables
            .get(table)
            .and_then(|table| table.partitions.get(partition))
    };
    let mut wanted: Vec<PartRef> = Vec::new();
    for source in &checked.sources {
        let partitions = source
            .partitions
            .iter()
            .filter_map(|&p| chosen(source.table, p));
        wanted.extend(partitions.flat_map(|partition| &partition.parts));
    }
    let parts = lists::keep(task, repository, &wanted)?;
    let mut tables = Vec::with_capacity(checked.sources.len());
    let mut first = 0_usize;
    for (source, target) in checked.sources.iter().zip(&checked.spec.tables) {
        let mut partitions = Vec::with_capacity(source.partitions.len());
        for (&index, target) in source.partitions.iter().zip(&target.partitions) {
            let Some(partition) = chosen(source.table, index) else {
                continue;
            };
            let last = first.saturating_add(partition.parts.len());
            let own = parts.get(first..last).unwrap_or_default();
            let number = u32::try_from(first)
                .map_err(|_| bad(format!("the manifest has more than {} parts", u32::MAX)))?;
            let buckets = target.meta.buckets;
            partitions.push(lists::by_bucket(&partition.name, buckets, number, own)?);
            first = last;
        }
        tables.push(partitions);
    }
    Ok(Sources { parts, tables })
}

impl Sources {
    /// Each target tablet beside the tablet of the snapshot that fills it. A bucket of which the
    /// manifest lists no file is empty.
    fn pair<'a>(
        &self,
        spec: &RestoreSpec,
        targets: &'a Targets,
    ) -> Result<Vec<(&'a TargetTablet, SourceTablet)>, Failure> {
        same_count("tables", targets.tables.len(), spec.tables.len())?;
        let mut pairs = Vec::new();
        for ((wanted, target), sources) in spec.tables.iter().zip(&targets.tables).zip(&self.tables)
        {
            let TargetTable { name, partitions } = target;
            if *name != wanted.name {
                return Err(strange(format!(
                    "table '{name}', expected '{}'",
                    wanted.name
                )));
            }
            same_count("partitions", partitions.len(), wanted.partitions.len())?;
            for ((wanted, target), buckets) in wanted.partitions.iter().zip(partitions).zip(sources)
            {
                same_count(
                    "tablets",
                    target.tablets.len(),
                    wanted.meta.buckets as usize,
                )?;
                for (bucket, tablet) in (0_u32..).zip(&target.tablets) {
                    if tablet.bucket != bucket || tablet.replicas.is_empty() {
                        return Err(strange(format!(
                            "tablet {} as bucket {} with {} replicas, expected bucket {bucket} \
                             with at least 1",
                            tablet.id,
                            tablet.bucket,
                            tablet.replicas.len()
                        )));
                    }
                    pairs.push((tablet, buckets.get(&bucket).cloned().unwrap_or_default()));
                }
            }
        }
        Ok(pairs)
    }
}

fn same_count(what: &str, found: usize, expected: usize) -> Result<(), Failure> {
    if found == expected {
        return Ok(());
    }
    Err(strange(format!("{found} {what}, expected {expected}")))
}

/// The storage did not make what it was asked for.
fn strange(what: String) -> Failure {
    Failure::fatal(StatusCode::CommonError, format!("the storage made {what}"))
}

type Pair<'a> = (&'a TargetTablet, &'a SourceTablet);

/// The replicas of each backend, in the order of the targets.
fn by_backend<'a>(
    pairs: &'a [(&'a TargetTablet, SourceTablet)],
) -> BTreeMap<BackendId, Vec<Pair<'a>>> {
    let mut lanes: BTreeMap<BackendId, Vec<Pair<'a>>> = BTreeMap::new();
    for (tablet, source) in pairs {
        for backend in &tablet.replicas {
            lanes.entry(*backend).or_default().push((tablet, source));
        }
    }
    lanes
}
