//! What follows from an input: the events to record, or a refusal. Pure; reads state, changes nothing.

mod advance;
mod completed;

use std::collections::BTreeMap;

use crate::convert::{self, Accepted};
use crate::event::{self, Event};
use crate::ids::{JobId, RepositoryId};
use crate::order::{Completion, StatusCode, Work};
use crate::refusal::{Refusal, RefusalCode};
use crate::retention::{HistoryRequest, Moved};
use crate::seams::Now;
use crate::spec::{BackupSpec, JobKind, RepositoryAccess, RestoreJobSpec};
use crate::state::{Job, State};

pub(crate) use advance::advance;
pub(crate) use completed::MAX_FAILURES;

/// How long a worker may take to let go before it is fenced.
pub(crate) const LET_GO_MS: u64 = 3_000;
/// How long the remote side of a cancelled backup may take before CANCELLED is recorded without it.
pub(crate) const DISCARD_MS: u64 = 6_000;
/// How long a cleanup that talks to a remote may run before it is fenced, once nobody waits for it.
pub(crate) const CLEANUP_MS: u64 = 300_000;

/// How long this attempt of a cleanup may run before it is fenced; `None` where the cleanup is the
/// node's own and there is nothing to give up. The work's own deadline is well below it.
pub(crate) fn cleanup_limit_ms(work: Work, attempt: u32) -> Option<u64> {
    match work {
        Work::Discard if attempt <= 1 => Some(2 * DISCARD_MS),
        Work::Discard | Work::Release => Some(CLEANUP_MS),
        _ => None,
    }
}

/// A repository whose remote side is made and proved.
#[derive(Clone, Debug)]
pub(crate) struct NewRepository {
    pub(crate) name: String,
    pub(crate) broker: Option<String>,
    pub(crate) location: String,
    pub(crate) access: RepositoryAccess,
    pub(crate) created_ms: u64,
    pub(crate) properties: Vec<u8>,
}

/// Everything that can happen to the engine.
#[derive(Clone, Debug)]
pub(crate) enum Input {
    /// The engine is opened.
    Open { cluster: String, catalog: u64 },
    /// CREATE REPOSITORY, its remote side already made.
    CreateRepository(NewRepository),
    /// DROP REPOSITORY.
    DropRepository(String),
    /// Finished jobs are to leave; taken on beside the decisions.
    Archive(HistoryRequest),
    /// Events of finished jobs were moved.
    Archived(Moved),
    /// BACKUP, its objects already resolved.
    Backup(BackupSpec),
    /// RESTORE, its snapshot already found.
    Restore(RestoreJobSpec),
    /// CANCEL BACKUP or CANCEL RESTORE.
    Cancel { kind: JobKind, database: String },
    /// A worker ended.
    Completion(Box<Completion>),
    /// A ready task is dispatched.
    Dispatch { job: JobId, index: u32 },
    /// A worker did not let go.
    Fence { job: JobId, index: u32 },
    /// The job can move by itself.
    Advance(JobId),
}

/// Decides one input.
pub(crate) fn decide(state: &State, input: &Input, now: Now) -> Result<Vec<Event>, Refusal> {
    match input {
        Input::Open { cluster, catalog } => Ok(vec![open(state, cluster, *catalog, now)]),
        Input::CreateRepository(new) => create_repository(state, new),
        Input::DropRepository(name) => drop_repository(state, name),
        // The core takes it on before anything is decided.
        Input::Archive(_) => Ok(Vec::new()),
        Input::Archived(moved) => Ok(moved.event(state).map(Event::from).into_iter().collect()),
        Input::Backup(spec) => backup(state, spec, now),
        Input::Restore(spec) => restore(state, spec, now),
        Input::Cancel { kind, database } => cancel(state, *kind, database, now),
        Input::Completion(completion) => Ok(completed::completed(state, completion, now)),
        Input::Dispatch { job, index } => Ok(dispatch(state, *job, *index, now)),
        Input::Fence { job, index } => Ok(fence(state, *job, *index)),
        Input::Advance(job) => Ok(state
            .jobs
            .get(job)
            .map_or_else(Vec::new, |job| advance(state, job, now).unwrap_or_default())),
    }
}

fn open(state: &State, cluster: &str, catalog: u64, now: Now) -> Event {
    let cluster = if state.cluster.is_empty() {
        cluster
    } else {
        &state.cluster
    };
    event::EngineStarted {
        epoch: state.epoch.0 + 1,
        cluster: cluster.to_owned(),
        catalog,
        mono_ms: now.mono_ms,
    }
    .into()
}

fn create_repository(state: &State, new: &NewRepository) -> Result<Vec<Event>, Refusal> {
    if state.repositories.contains_key(&new.name) {
        return Err(repository_exists(&new.name));
    }
    let event = event::RepositoryCreated {
        repository: state.next_id,
        name: new.name.clone(),
        broker: new.broker.clone(),
        location: new.location.clone(),
        read_only: new.access == RepositoryAccess::ReadOnly,
        created_ms: new.created_ms,
        properties: new.properties.clone(),
    };
    Ok(vec![event.into()])
}

pub(crate) fn repository_exists(name: &str) -> Refusal {
    Refusal::new(
        RefusalCode::RepositoryExists,
        format!(
            "repository with same name already exist: '{name}'; choose another name or DROP \
             REPOSITORY {name} first (its remote data stays)"
        ),
    )
}

fn drop_repository(state: &State, name: &str) -> Result<Vec<Event>, Refusal> {
    let Some(record) = state.repositories.get(name) else {
        return Err(repository_not_found(state.repositories.keys(), name));
    };
    let user = state
        .working
        .iter()
        .filter_map(|id| state.jobs.get(id))
        .find(|job| job.repository() == record.id && job.ending.is_none());
    if let Some(job) = user {
        return Err(Refusal::new(
            RefusalCode::RepositoryBusy,
            format!(
                "repository '{name}' is used by job {} ({}, {}) of database '{}'; wait until it \
                 has ended or cancel it",
                job.id,
                job.label(),
                job.state_name(),
                job.database()
            ),
        ));
    }
    Ok(vec![
        event::RepositoryDropped {
            repository: record.id.0,
        }
        .into(),
    ])
}

/// The refusal for a repository that this cluster does not know.
pub(crate) fn repository_not_found<'a>(
    known: impl Iterator<Item = &'a String>,
    name: &str,
) -> Refusal {
    let known: Vec<&str> = known.take(20).map(String::as_str).collect();
    let hint = if known.is_empty() {
        "none exists yet, make it with CREATE REPOSITORY".to_owned()
    } else {
        format!("known: {}", known.join(", "))
    };
    Refusal::new(
        RefusalCode::RepositoryNotFound,
        format!("repository '{name}' does not exist ({hint})"),
    )
}

/// One active job per database: the refusal names the one that runs.
fn database_free(state: &State, database: &str, label: &str) -> Result<(), Refusal> {
    let Some(job) = state.active.get(database).and_then(|id| state.jobs.get(id)) else {
        return Ok(());
    };
    Err(Refusal::new(
        RefusalCode::JobRunning,
        format!(
            "Can only run one backup or restore job of a database at same time: job {} ({}, {}) \
             of database '{database}' is running, so '{label}' is refused; wait until it has \
             ended or cancel it",
            job.id,
            job.label(),
            job.state_name()
        ),
    ))
}

fn repository_of(state: &State, id: RepositoryId, name: &str) -> Result<RepositoryAccess, Refusal> {
    match state.repositories.get(name) {
        Some(record) if record.id == id => Ok(record.access),
        _ => Err(repository_not_found(state.repositories.keys(), name)),
    }
}

fn backup(state: &State, spec: &BackupSpec, now: Now) -> Result<Vec<Event>, Refusal> {
    let access = repository_of(state, spec.repository, &spec.repository_name)?;
    if access == RepositoryAccess::ReadOnly {
        return Err(Refusal::new(
            RefusalCode::RepositoryReadOnly,
            format!(
                "repository '{}' is read only and takes no backup",
                spec.repository_name
            ),
        ));
    }
    database_free(state, &spec.database, &spec.label)?;
    let racing = state
        .active
        .values()
        .filter_map(|id| state.jobs.get(id))
        .find(|job| {
            job.kind() == JobKind::Backup
                && job.label() == spec.label
                && job.repository() == spec.repository
        });
    if let Some(job) = racing {
        return Err(Refusal::new(
            RefusalCode::LabelExists,
            format!(
                "Snapshot with name '{}' already exist in repository '{}': job {} of database \
                 '{}' is making it",
                spec.label,
                spec.repository_name,
                job.id,
                job.database()
            ),
        ));
    }
    Ok(vec![convert::backup_out(spec, accepted(state, now)).into()])
}

fn restore(state: &State, spec: &RestoreJobSpec, now: Now) -> Result<Vec<Event>, Refusal> {
    repository_of(state, spec.repository, &spec.repository_name)?;
    database_free(state, &spec.database, &spec.label)?;
    Ok(vec![
        convert::restore_out(spec, accepted(state, now)).into(),
    ])
}

fn accepted(state: &State, now: Now) -> Accepted {
    Accepted {
        job: state.next_id,
        first_task: state.next_id + 1,
        mono_ms: now.mono_ms,
    }
}

fn cancel(state: &State, kind: JobKind, database: &str, now: Now) -> Result<Vec<Event>, Refusal> {
    let job = state
        .active
        .get(database)
        .and_then(|id| state.jobs.get(id))
        .filter(|job| job.kind() == kind);
    let Some(job) = job else {
        let text = match kind {
            JobKind::Backup => "No backup job is currently running",
            JobKind::Restore => "No restore is currently running",
        };
        return Err(Refusal::new(
            RefusalCode::NoJob,
            format!("{text} in database '{database}'"),
        ));
    };
    if job.committed {
        return Err(Refusal::new(
            RefusalCode::NotCancellable,
            format!(
                "Failed to cancel job: job {} ({}) can not be cancelled. state: {}; it is about \
                 to finish",
                job.id,
                job.label(),
                job.state_name()
            ),
        ));
    }
    if job.stop.is_some() {
        return Err(Refusal::new(
            RefusalCode::NotCancellable,
            format!(
                "job {} ({}) is being cancelled already",
                job.id,
                job.label()
            ),
        ));
    }
    let message = match kind {
        JobKind::Backup => "user cancelled".to_owned(),
        JobKind::Restore => format!("user cancelled, current state: {}", job.state_name()),
    };
    Ok(vec![stopping(job, StatusCode::CommonError, message, now)])
}

fn stopping(job: &Job, code: StatusCode, message: String, now: Now) -> Event {
    event::JobStopping {
        job: job.id.0,
        code: code as u8,
        message,
        mono_ms: now.mono_ms,
    }
    .into()
}

fn dispatch(state: &State, id: JobId, index: u32, now: Now) -> Vec<Event> {
    let Some(job) = state.jobs.get(&id).filter(|job| job.starts_tasks()) else {
        return Vec::new();
    };
    let Some(phase) = job
        .current()
        .filter(|phase| phase.may_start(index, now.mono_ms))
    else {
        return Vec::new();
    };
    let event = event::TaskStarted {
        job: id.0,
        task: phase.task(index).0,
        attempt: phase.next_attempt(index),
        mono_ms: now.mono_ms,
    };
    vec![event.into()]
}

fn fence(state: &State, id: JobId, index: u32) -> Vec<Event> {
    let Some(job) = state.jobs.get(&id) else {
        return Vec::new();
    };
    let phase = job.current();
    let Some((phase, running)) = phase.and_then(|p| p.running.get(&index).map(|r| (p, r))) else {
        return Vec::new();
    };
    let fenced = event::WorkerFenced {
        job: id.0,
        task: phase.task(index).0,
        attempt: running.attempt,
    };
    let mut events = vec![fenced.into()];
    if cleanup_limit_ms(phase.work, running.attempt).is_some() {
        // A cleanup that hangs is not begun anew beside itself. What it was about to delete may
        // still go: the list of the condemned stays, so that nobody comes to rely on it.
        if job.ending.is_none() {
            events.push(event::JobCancelled { job: id.0 }.into());
        }
        let leftovers = format!(
            "the repository did not answer {:?} in {} seconds",
            phase.work,
            cleanup_limit_ms(phase.work, running.attempt).unwrap_or_default() / 1000
        );
        let released = event::JobReleased {
            job: id.0,
            leftovers,
        };
        events.push(released.into());
    }
    events
}

/// Tasks running now per backend, for the credits of `due`.
pub(crate) fn running_by_backend(state: &State) -> BTreeMap<u64, u32> {
    let mut counts = BTreeMap::new();
    for job in state.working.iter().filter_map(|id| state.jobs.get(id)) {
        let Some(phase) = job.current() else { continue };
        for index in phase.running.keys() {
            if let Some(backend) = phase.backend_of(*index) {
                *counts.entry(backend).or_insert(0) += 1;
            }
        }
    }
    counts
}
