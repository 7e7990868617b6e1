//! What follows from an input: the events to record, or a refusal. Pure; reads state, changes nothing.

use std::collections::BTreeMap;

use holdfast_storage::BackendId;

use crate::convert::{self, Accepted};
use crate::event::{self, Event};
use crate::ids::{JobId, RepositoryId, TaskId};
use crate::order::{Completion, Failure, FailureClass, Output, StatusCode, Work};
use crate::refusal::{Refusal, RefusalCode};
use crate::seams::Now;
use crate::spec::{BackupSpec, JobKind, RepositoryAccess, RestoreJobSpec};
use crate::state::transitions::{self, Tasks};
use crate::state::{Ending, Job, Phase, State};

/// A task is tried this often before its job fails (CONTRACT section 3).
pub(crate) const MAX_FAILURES: u32 = 8;
/// The wait after the first failure; doubles with each.
const BACKOFF_FIRST_MS: u64 = 100;
/// The longest wait between attempts.
const BACKOFF_CAP_MS: u64 = 30_000;
/// How long a worker may take to let go before it is fenced.
pub(crate) const LET_GO_MS: u64 = 3_000;
/// How long the remote side of a cancelled backup may take before CANCELLED is recorded without it.
pub(crate) const DISCARD_MS: u64 = 6_000;

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
        Input::Backup(spec) => backup(state, spec, now),
        Input::Restore(spec) => restore(state, spec, now),
        Input::Cancel { kind, database } => cancel(state, *kind, database, now),
        Input::Completion(completion) => Ok(completed(state, completion, now)),
        Input::Dispatch { job, index } => Ok(dispatch(state, *job, *index, now)),
        Input::Fence { job, index } => Ok(fence(state, *job, *index)),
        Input::Advance(job) => Ok(state.jobs.get(job).map_or_else(Vec::new, |job| {
            advance(state, job, now).unwrap_or_default()
        })),
    }
}

fn open(state: &State, cluster: &str, catalog: u64, now: Now) -> Event {
    let cluster = if state.cluster.is_empty() { cluster } else { &state.cluster };
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
    let user = state.working.iter().filter_map(|id| state.jobs.get(id)).find(|job| {
        job.repository() == record.id && job.ending.is_none()
    });
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
    Ok(vec![event::RepositoryDropped { repository: record.id.0 }.into()])
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
            format!("repository '{}' is read only and takes no backup", spec.repository_name),
        ));
    }
    database_free(state, &spec.database, &spec.label)?;
    let racing = state.active.values().filter_map(|id| state.jobs.get(id)).find(|job| {
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
    Ok(vec![convert::restore_out(spec, accepted(state, now)).into()])
}

fn accepted(state: &State, now: Now) -> Accepted {
    Accepted { job: state.next_id, first_task: state.next_id + 1, mono_ms: now.mono_ms }
}

fn cancel(
    state: &State,
    kind: JobKind,
    database: &str,
    now: Now,
) -> Result<Vec<Event>, Refusal> {
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
        return Err(Refusal::new(RefusalCode::NoJob, format!("{text} in database '{database}'")));
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
            format!("job {} ({}) is being cancelled already", job.id, job.label()),
        ));
    }
    let message = match kind {
        JobKind::Backup => "user cancelled".to_owned(),
        JobKind::Restore => format!("user cancelled, current state: {}", job.state_name()),
    };
    Ok(vec![stopping(job, StatusCode::CommonError, message, now)])
}

fn stopping(job: &Job, code: StatusCode, message: String, now: Now) -> Event {
    event::JobStopping { job: job.id.0, code: code as u8, message, mono_ms: now.mono_ms }.into()
}

fn dispatch(state: &State, id: JobId, index: u32, now: Now) -> Vec<Event> {
    let Some(job) = state.jobs.get(&id).filter(|job| job.starts_tasks()) else {
        return Vec::new();
    };
    let Some(phase) = job.current().filter(|phase| phase.may_start(index, now.mono_ms)) else {
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
    let phase = state.jobs.get(&id).and_then(Job::current);
    let Some((phase, running)) = phase.and_then(|p| p.running.get(&index).map(|r| (p, r))) else {
        return Vec::new();
    };
    let task = phase.task(index).0;
    vec![event::WorkerFenced { job: id.0, task, attempt: running.attempt }.into()]
}

/// What a worker's end means; nothing, where the worker is stale.
fn completed(state: &State, completion: &Completion, now: Now) -> Vec<Event> {
    let Some(job) = state.jobs.get(&completion.job).filter(|_| completion.epoch == state.epoch)
    else {
        return Vec::new();
    };
    let Some(phase) = job.current() else { return Vec::new() };
    let Some(index) = phase.index_of(completion.task.0) else { return Vec::new() };
    if phase.running.get(&index).map(|r| r.attempt) != Some(completion.attempt) {
        return Vec::new();
    }
    match &completion.outcome {
        Ok(output) => succeeded(job, completion, output, now),
        Err(failure) => failed(state, job, phase, (index, completion), failure, now),
    }
}

fn succeeded(job: &Job, completion: &Completion, output: &Output, now: Now) -> Vec<Event> {
    let (bytes, objects, reused_bytes) = match output {
        Output::Moved { bytes, objects, reused_bytes } => (*bytes, *objects, *reused_bytes),
        _ => (0, 0, 0),
    };
    // What was learned comes first: a history that ends between the two runs the task again.
    let known = (job.cleanup.is_none() && job.stop.is_none()).then(|| learned(job, output, now));
    let mut events: Vec<Event> = known.flatten().into_iter().collect();
    events.push(
        event::TaskFinished {
            job: job.id.0,
            task: completion.task.0,
            attempt: completion.attempt,
            bytes,
            objects,
            reused_bytes,
            mono_ms: now.mono_ms,
        }
        .into(),
    );
    events
}

/// The event that carries what a coordinator's task found out.
fn learned(job: &Job, output: &Output, now: Now) -> Option<Event> {
    let id = job.id.0;
    Some(match output {
        Output::Pinned { plan, lanes, tablets, files, bytes } => event::BackupPinned {
            job: id,
            plan: plan.0,
            lanes: convert::lanes_out(lanes),
            tablets: *tablets,
            files: *files,
            bytes: *bytes,
        }
        .into(),
        Output::UploadPlanned { plan, lanes, new_bytes, new_objects, reused_bytes } => {
            event::UploadPlanned {
                job: id,
                plan: plan.0,
                lanes: convert::lanes_out(lanes),
                new_bytes: *new_bytes,
                new_objects: *new_objects,
                reused_bytes: *reused_bytes,
            }
            .into()
        }
        Output::MetaSaved { plan, marker, root } => event::BackupMetaSaved {
            job: id,
            plan: plan.0,
            marker: marker.clone(),
            root: *root,
        }
        .into(),
        Output::MarkerLost { message } => {
            stopping(job, StatusCode::CommonError, message.clone(), now)
        }
        Output::MetaPrepared { plan, lanes, objects, drops, replication_num, note } => {
            event::RestoreMetaPrepared {
                job: id,
                plan: plan.0,
                lanes: convert::lanes_out(lanes),
                objects: convert::objects_out(objects),
                drops: convert::objects_out(drops),
                replication_num: *replication_num,
                note: note.clone(),
            }
            .into()
        }
        Output::DownloadPlanned { plan, lanes, bytes } => event::DownloadPlanned {
            job: id,
            plan: plan.0,
            lanes: convert::lanes_out(lanes),
            bytes: *bytes,
        }
        .into(),
        Output::Done
        | Output::InfoUploaded
        | Output::MarkerDurable
        | Output::Moved { .. } => return None,
    })
}

/// The one policy for failures.
fn failed(
    state: &State,
    job: &Job,
    phase: &Phase,
    (index, completion): (u32, &Completion),
    failure: &Failure,
    now: Now,
) -> Vec<Event> {
    let failures = phase.trouble.get(&index).map_or(0, |t| t.failures) + 1;
    let ending = job.stop.is_some() && job.cleanup.is_none();
    let stopped = || {
        Event::from(event::TaskStopped {
            job: job.id.0,
            task: completion.task.0,
            attempt: completion.attempt,
        })
    };
    if ending {
        return vec![stopped()];
    }
    if failure.class == FailureClass::PinLost && job.cleanup.is_none() && !job.committed {
        let lost = event::PinLost {
            job: job.id.0,
            message: failure.message.clone(),
            first_task: state.next_id,
            mono_ms: now.mono_ms,
        };
        return vec![lost.into()];
    }
    // After a commit event, and while cleaning up, giving up is no answer: the task goes on at the cap.
    let bounded = !job.committed && job.cleanup.is_none();
    if bounded && let FailureClass::Fatal(code) = failure.class {
        return vec![stopped(), stopping(job, code, failure.message.clone(), now)];
    }
    if bounded && failures >= MAX_FAILURES {
        let message = format!(
            "task {} failed {failures} times, last: {}",
            completion.task, failure.message
        );
        return vec![stopped(), stopping(job, StatusCode::CommonError, message, now)];
    }
    let (excluded, wait_ms) = match failure.class {
        FailureClass::Replica(BackendId(backend)) => (Some(backend), 0),
        FailureClass::RetryAfter(ms) => (None, u64::from(ms)),
        _ => (None, 0),
    };
    let backoff_ms = backoff_ms(job.id, completion.task, failures).max(wait_ms);
    vec![
        event::TaskFailed {
            job: job.id.0,
            task: completion.task.0,
            attempt: completion.attempt,
            failures,
            excluded,
            message: failure.message.clone(),
            backoff_ms,
            mono_ms: now.mono_ms,
        }
        .into(),
    ]
}

/// 100 ms doubled with each failure up to 30 s, less up to a quarter: the jitter is a hash, so that a replay of the
/// same inputs decides the same.
fn backoff_ms(job: JobId, task: TaskId, failures: u32) -> u64 {
    let doubled = BACKOFF_FIRST_MS.saturating_mul(1 << failures.saturating_sub(1).min(20));
    let full = doubled.min(BACKOFF_CAP_MS);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&job.0.to_le_bytes());
    hasher.update(&task.0.to_le_bytes());
    hasher.update(&failures.to_le_bytes());
    let byte = u64::from(hasher.finalize().as_bytes()[0]);
    full - full * byte / 1024
}

/// The next move that a job makes by itself, if it can make one now.
pub(crate) fn advance(state: &State, job: &Job, now: Now) -> Option<Vec<Event>> {
    if job.released {
        return None;
    }
    if let Some(cleanup) = &job.cleanup {
        return advance_cleanup(job, cleanup, now);
    }
    if job.ending == Some(Ending::Finished) {
        return Some(vec![begin_cleanup(state, job, transitions::tidy_of(job.stage))]);
    }
    let phase = job.phase.as_ref()?;
    if job.stop.is_some() {
        let idle = phase.running.is_empty();
        return idle.then(|| vec![begin_cleanup(state, job, transitions::undo_of(job.stage))]);
    }
    if job.deadline_mono_ms().is_some_and(|deadline| deadline <= now.mono_ms) {
        let message = format!(
            "job {} ({}) ran past its timeout of {} seconds in state {}",
            job.id,
            job.label(),
            job.timeout_ms() / 1000,
            job.state_name()
        );
        return Some(vec![stopping(job, StatusCode::Timeout, message, now)]);
    }
    if phase.is_complete() { enter_next(state, job, phase) } else { None }
}

fn begin_cleanup(state: &State, job: &Job, work: Work) -> Event {
    event::CleanupStarted { job: job.id.0, work: work as u8, first_task: state.next_id }.into()
}

fn advance_cleanup(job: &Job, cleanup: &Phase, now: Now) -> Option<Vec<Event>> {
    let cancelled = || Event::from(event::JobCancelled { job: job.id.0 });
    let released = |leftovers: String| {
        Event::from(event::JobReleased { job: job.id.0, leftovers })
    };
    if cleanup.is_complete() {
        let mut events = Vec::with_capacity(2);
        if job.ending.is_none() {
            events.push(cancelled());
        }
        events.push(released(String::new()));
        return Some(events);
    }
    // The node's own side of an abort must be done before CANCELLED. The remote side of a discarded backup need not:
    // a remote that is down must not hold the database's slot.
    if cleanup.work == Work::Discard && job.ending.is_none() {
        let failed = cleanup.trouble.get(&0).is_some_and(|t| t.failures > 0);
        let slow = job.stop.as_ref().is_some_and(|stop| {
            stop.since_mono_ms.saturating_add(DISCARD_MS) <= now.mono_ms
        });
        return (failed || slow).then(|| vec![cancelled()]);
    }
    let tried = cleanup.trouble.get(&0).filter(|t| t.failures >= MAX_FAILURES);
    match tried {
        Some(trouble) if job.ending.is_some() && cleanup.running.is_empty() => {
            Some(vec![released(trouble.message.clone())])
        }
        _ => None,
    }
}

/// The last work of a job is done.
fn finished(job: &Job) -> Event {
    match &job.marker {
        Some((_, root)) => event::BackupFinished { job: job.id.0, root: *root }.into(),
        None => event::RestoreFinished { job: job.id.0 }.into(),
    }
}

fn enter_next(state: &State, job: &Job, phase: &Phase) -> Option<Vec<Event>> {
    let Some(step) = transitions::after(job.stage, phase.work) else {
        return Some(vec![finished(job)]);
    };
    let (stage, work) = step.to;
    let one = || vec![event::LaneV1 { backend: None, tasks: 1 }];
    let (lanes, plan) = match step.tasks {
        Tasks::Planned => {
            let next = job.next.as_ref()?;
            (convert::lanes_out(&next.lanes), Some(next.plan.0))
        }
        Tasks::OneNewPlan => (one(), Some(job.next.as_ref()?.plan.0)),
        Tasks::OneSamePlan => (one(), phase.plan.map(|plan| plan.0)),
        Tasks::OneBare => (one(), None),
    };
    let mut events = Vec::with_capacity(2);
    if step.commits && !job.committed {
        events.push(match &job.marker {
            Some((marker, root)) => {
                event::BackupCommitStarted { job: job.id.0, marker: marker.clone(), root: *root }
                    .into()
            }
            None => event::RestoreCommitStarted { job: job.id.0 }.into(),
        });
    }
    events.push(
        event::StateEntered {
            job: job.id.0,
            state: stage.number(),
            work: work as u8,
            first_task: state.next_id,
            lanes,
            plan,
        }
        .into(),
    );
    Some(events)
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
