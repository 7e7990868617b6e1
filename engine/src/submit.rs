//! From a statement to an accepted form: what can be checked against storage and repository before the dispatcher
//! decides. Runs on the caller's thread and changes nothing.

use holdfast_repository::{ErrorKind, Repository};
use holdfast_storage::TableInfo;

use crate::calendar::snapshot_timestamp;
use crate::check;
use crate::decide::repository_not_found;
use crate::desk::Desk;
use crate::ids::RepositoryId;
use crate::refusal::{Refusal, RefusalCode};
use crate::select::{self, Available};
use crate::spec::{
    BackupRequest, BackupSpec, DEFAULT_TIMEOUT_SECONDS, MIN_TIMEOUT_SECONDS, ObjectRef,
    RepositoryAccess, RestoreJobSpec, RestoreRequest,
};
use crate::view::RepositoryView;
use crate::work::Repositories;

/// Names of tables and partitions that one RESTORE may have to drop or remember at most: they lie in one event.
const NAMES: usize = 100_000;

/// The id of a repository that this cluster knows.
pub(crate) fn repository(desk: &Desk, name: &str) -> Result<RepositoryId, Refusal> {
    known(desk, name).map(|view| view.id)
}

fn known(desk: &Desk, name: &str) -> Result<std::sync::Arc<RepositoryView>, Refusal> {
    let views = desk.views();
    views
        .repositories
        .get(name)
        .cloned()
        .ok_or_else(|| repository_not_found(views.repositories.keys(), name))
}

/// The opened repository, or why it cannot be reached.
pub(crate) fn open_repository(desk: &Desk, id: RepositoryId) -> Result<Repository, Refusal> {
    desk.registry
        .get(&desk.patience(), id)
        .map_err(|failure| Refusal::new(RefusalCode::RepositoryUnusable, failure.message))
}

/// Checks a BACKUP statement.
pub(crate) fn backup(desk: &Desk, request: &BackupRequest) -> Result<BackupSpec, Refusal> {
    check_label(&request.label)?;
    let timeout_seconds = timeout(request.timeout_seconds)?;
    let tables = tables(desk, &request.database)?;
    let available: Vec<Available<'_>> = tables.iter().map(Available::from).collect();
    let objects = select::for_backup(&request.database, &request.selection, &available)?;
    let view = known(desk, &request.repository)?;
    if view.access == RepositoryAccess::ReadOnly {
        return Err(Refusal::new(
            RefusalCode::RepositoryReadOnly,
            format!(
                "repository '{}' is read only and takes no backup",
                view.name
            ),
        ));
    }
    let opened = open_repository(desk, view.id)?;
    let labels = opened.labels(&desk.patience()).map_err(unusable)?;
    if labels.iter().any(|entry| entry.label == request.label) {
        return Err(Refusal::new(
            RefusalCode::LabelExists,
            format!(
                "Snapshot with name '{}' already exist in repository '{}'; choose another label \
                 (every backup is full and sends only what changed)",
                request.label, view.name
            ),
        ));
    }
    let timestamp_ms = desk.clock.wall_ms();
    let offset = desk.clock.utc_offset_seconds(timestamp_ms);
    Ok(BackupSpec {
        database: request.database.clone(),
        label: request.label.clone(),
        repository: view.id,
        repository_name: view.name.clone(),
        objects,
        timestamp: snapshot_timestamp(timestamp_ms, offset),
        timestamp_ms,
        timeout_seconds,
        cluster: String::new(),
    })
}

/// Checks a RESTORE statement.
pub(crate) fn restore(desk: &Desk, request: &RestoreRequest) -> Result<RestoreJobSpec, Refusal> {
    check_label(&request.label)?;
    check::check_clean(request.clean, &request.selection)?;
    let timeout_seconds = timeout(request.timeout_seconds)?;
    let view = known(desk, &request.repository)?;
    let opened = open_repository(desk, view.id)?;
    let root = opened
        .marker(&desk.patience(), &request.label, &request.timestamp)
        .map_err(|e| snapshot_error(request, &e))?;
    if let Some(source) = request
        .source_database
        .as_ref()
        .filter(|name| **name != root.database)
    {
        return Err(Refusal::new(
            RefusalCode::WrongDatabase,
            format!(
                "snapshot '{}' holds database '{}', expected '{source}' as the statement says",
                request.label, root.database
            ),
        ));
    }
    let available: Vec<Available<'_>> = root
        .tables
        .iter()
        .map(|table| Available {
            table: &table.name,
            partitions: table.partitions.iter().map(|p| p.name.as_str()).collect(),
        })
        .collect();
    select::for_restore(&request.label, &request.selection, &available)?;
    Ok(RestoreJobSpec {
        database: request.database.clone(),
        source_database: request.source_database.clone(),
        label: request.label.clone(),
        repository: view.id,
        repository_name: view.name.clone(),
        timestamp: request.timestamp.clone(),
        selection: request.selection.clone(),
        allow_load: request.allow_load,
        replication: request.replication,
        clean: request.clean,
        existed: existed(desk, request)?,
        timeout_seconds,
        cluster: String::new(),
    })
}

/// What `clean_*` may drop: tables and partitions that exist now. Left empty where nothing is to be dropped.
fn existed(desk: &Desk, request: &RestoreRequest) -> Result<Vec<ObjectRef>, Refusal> {
    if !request.clean.tables && !request.clean.partitions {
        return Ok(Vec::new());
    }
    let tables = match desk.storage.tables(&request.database) {
        Ok(tables) => tables,
        Err(e) if e.kind() == holdfast_storage::ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(Refusal::new(RefusalCode::Failed, e.to_string())),
    };
    let names: usize = tables.iter().map(|table| table.partitions.len() + 1).sum();
    if names > NAMES {
        return Err(Refusal::new(
            RefusalCode::BadProperty,
            format!(
                "database '{}' has {names} tables and partitions, clean_tables and clean_partitions \
                 cover at most {NAMES}; drop what is not wanted by itself",
                request.database
            ),
        ));
    }
    Ok(tables
        .into_iter()
        .map(|table| ObjectRef {
            table: table.name,
            partitions: table.partitions.into_iter().map(|p| p.meta.name).collect(),
            alias: None,
        })
        .collect())
}

fn tables(desk: &Desk, database: &str) -> Result<Vec<TableInfo>, Refusal> {
    desk.storage.tables(database).map_err(|e| match e.kind() {
        holdfast_storage::ErrorKind::NotFound => Refusal::new(
            RefusalCode::DatabaseNotFound,
            format!("database '{database}' does not exist"),
        ),
        _ => Refusal::new(RefusalCode::Failed, e.to_string()),
    })
}

fn check_label(label: &str) -> Result<(), Refusal> {
    holdfast_repository::check_label(label)
        .map_err(|e| Refusal::new(RefusalCode::BadLabel, e.to_string()))
}

fn timeout(seconds: Option<u64>) -> Result<u64, Refusal> {
    match seconds {
        None => Ok(DEFAULT_TIMEOUT_SECONDS),
        Some(seconds) if seconds >= MIN_TIMEOUT_SECONDS => Ok(seconds),
        Some(seconds) => Err(Refusal::new(
            RefusalCode::BadProperty,
            format!(
                "timeout is {seconds} seconds, expected at least 10 min ({MIN_TIMEOUT_SECONDS} \
                 seconds)"
            ),
        )),
    }
}

fn unusable(error: holdfast_repository::Error) -> Refusal {
    Refusal::new(RefusalCode::RepositoryUnusable, error.to_string())
}

fn snapshot_error(request: &RestoreRequest, error: &holdfast_repository::Error) -> Refusal {
    let failed = format!(
        "Failed to get info of snapshot '{}' at '{}': {error}",
        request.label, request.timestamp
    );
    match error.kind() {
        // No snapshot can bear a timestamp that is none.
        ErrorKind::NotFound | ErrorKind::Invalid => Refusal::new(
            RefusalCode::SnapshotNotFound,
            format!(
                "{failed}; a wrong label or wrong backup timestamp? SHOW SNAPSHOT ON {} lists what \
                 is there",
                request.repository
            ),
        ),
        // The statement is right and the repository is not: no word of wrong names.
        _ => Refusal::new(RefusalCode::RepositoryUnusable, failed),
    }
}
