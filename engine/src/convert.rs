//! Between the engine's own types and the frozen payloads of its events. One direction each, nothing else.

use std::sync::Arc;

use holdfast_storage::{AllowLoad, BackendId};

use crate::event::{BackupSubmitted, LaneV1, ObjectV1, RestoreSubmitted};
use crate::ids::RepositoryId;
use crate::order::{JobSpec, Lane};
use crate::spec::{BackupSpec, Clean, ObjectRef, Replication, RestoreJobSpec, Selection};

pub(crate) fn objects_out(objects: &[ObjectRef]) -> Vec<ObjectV1> {
    objects
        .iter()
        .map(|o| ObjectV1 {
            table: o.table.clone(),
            partitions: o.partitions.clone(),
            alias: o.alias.clone(),
        })
        .collect()
}

pub(crate) fn objects_in(objects: &[ObjectV1]) -> Vec<ObjectRef> {
    objects
        .iter()
        .map(|o| ObjectRef {
            table: o.table.clone(),
            partitions: o.partitions.clone(),
            alias: o.alias.clone(),
        })
        .collect()
}

pub(crate) fn lanes_out(lanes: &[Lane]) -> Vec<LaneV1> {
    lanes
        .iter()
        .map(|l| LaneV1 {
            backend: l.backend.map(|b| b.0),
            tasks: l.tasks,
        })
        .collect()
}

pub(crate) fn lanes_in(lanes: &[LaneV1]) -> Vec<Lane> {
    lanes
        .iter()
        .map(|l| Lane {
            backend: l.backend.map(BackendId),
            tasks: l.tasks,
        })
        .collect()
}

/// The numbers of a job and its first task, and the monotonic time of its acceptance.
#[derive(Clone, Copy)]
pub(crate) struct Accepted {
    pub(crate) job: u64,
    pub(crate) first_task: u64,
    pub(crate) mono_ms: u64,
}

pub(crate) fn backup_out(spec: &BackupSpec, accepted: Accepted) -> BackupSubmitted {
    BackupSubmitted {
        job: accepted.job,
        first_task: accepted.first_task,
        database: spec.database.clone(),
        label: spec.label.clone(),
        repository: spec.repository.0,
        repository_name: spec.repository_name.clone(),
        objects: objects_out(&spec.objects),
        timestamp: spec.timestamp.clone(),
        timestamp_ms: spec.timestamp_ms,
        timeout_seconds: spec.timeout_seconds,
        mono_ms: accepted.mono_ms,
    }
}

pub(crate) fn backup_in(event: &BackupSubmitted, cluster: &str) -> JobSpec {
    JobSpec::Backup(Arc::new(BackupSpec {
        database: event.database.clone(),
        label: event.label.clone(),
        repository: RepositoryId(event.repository),
        repository_name: event.repository_name.clone(),
        objects: objects_in(&event.objects),
        timestamp: event.timestamp.clone(),
        timestamp_ms: event.timestamp_ms,
        timeout_seconds: event.timeout_seconds,
        cluster: cluster.to_owned(),
    }))
}

pub(crate) fn restore_out(spec: &RestoreJobSpec, accepted: Accepted) -> RestoreSubmitted {
    let (selection, objects): (u8, &[ObjectRef]) = match &spec.selection {
        Selection::All => (0, &[]),
        Selection::Only(objects) => (1, objects),
        Selection::Except(objects) => (2, objects),
    };
    let (replication, replication_num) = match spec.replication {
        Replication::Automatic => (0, 0),
        Replication::Fixed(count) => (1, count),
        Replication::Reserve => (2, 0),
    };
    RestoreSubmitted {
        job: accepted.job,
        first_task: accepted.first_task,
        database: spec.database.clone(),
        source_database: spec.source_database.clone(),
        label: spec.label.clone(),
        repository: spec.repository.0,
        repository_name: spec.repository_name.clone(),
        timestamp: spec.timestamp.clone(),
        selection,
        objects: objects_out(objects),
        allow_load: spec.allow_load == AllowLoad::UntouchedPartitions,
        replication,
        replication_num,
        clean_tables: spec.clean.tables,
        clean_partitions: spec.clean.partitions,
        existed: objects_out(&spec.existed),
        timeout_seconds: spec.timeout_seconds,
        mono_ms: accepted.mono_ms,
    }
}

pub(crate) fn restore_in(event: &RestoreSubmitted, cluster: &str) -> JobSpec {
    let objects = objects_in(&event.objects);
    JobSpec::Restore(Arc::new(RestoreJobSpec {
        database: event.database.clone(),
        source_database: event.source_database.clone(),
        label: event.label.clone(),
        repository: RepositoryId(event.repository),
        repository_name: event.repository_name.clone(),
        timestamp: event.timestamp.clone(),
        selection: match event.selection {
            0 => Selection::All,
            1 => Selection::Only(objects),
            _ => Selection::Except(objects),
        },
        allow_load: if event.allow_load {
            AllowLoad::UntouchedPartitions
        } else {
            AllowLoad::No
        },
        replication: match event.replication {
            0 => Replication::Automatic,
            1 => Replication::Fixed(event.replication_num),
            _ => Replication::Reserve,
        },
        clean: Clean {
            tables: event.clean_tables,
            partitions: event.clean_partitions,
        },
        existed: objects_in(&event.existed),
        timeout_seconds: event.timeout_seconds,
        cluster: cluster.to_owned(),
    }))
}
