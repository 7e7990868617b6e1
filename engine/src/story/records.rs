//! The records of one job, each with the state, work and backend that it belongs to, and in words. Reads what stands
//! in the journal; concludes nothing from it.

use holdfast_journal::{Event as _, Record, Seq};
use holdfast_storage::BackendId;

use super::figures::{bytes, count};
use crate::event::{Event, LaneV1};
use crate::ids::{Epoch, JobId, TaskId};
use crate::order::{StatusCode, Work};
use crate::spec::JobKind;
use crate::view::{self, BackupState};

/// One record of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JobRecord {
    /// Its place in the journal.
    pub seq: Seq,
    /// The wall clock when it was recorded, ms since the epoch.
    pub at_ms: u64,
    /// The opening in which it was recorded.
    pub epoch: Epoch,
    /// The name of its kind, such as `TaskStarted`.
    pub kind: &'static str,
    /// The job's state once it was recorded, as SHOW spells it.
    pub state: &'static str,
    /// The work that it is about.
    pub work: Option<Work>,
    /// The task that it is about.
    pub task: Option<TaskId>,
    /// Which attempt of it.
    pub attempt: Option<u32>,
    /// The backend of that task; `None` for work of the coordinator too.
    pub backend: Option<BackendId>,
    /// The rest, in words.
    pub detail: String,
}

/// Makes [`JobRecord`]s of the records of one job. It needs the openings too, for their numbers; other records are
/// passed over.
#[derive(Clone, Debug)]
pub struct JobRecords {
    job: JobId,
    kind: JobKind,
    epoch: Epoch,
    state: &'static str,
    tasks: Tasks,
}

impl JobRecords {
    /// For the job with this id, before the first record.
    pub fn new(job: JobId) -> Self {
        Self {
            job,
            kind: JobKind::Backup,
            epoch: Epoch(0),
            state: "",
            tasks: Tasks::default(),
        }
    }

    /// Takes in the next record; gives it back in words where it is one of the job's.
    pub fn take(&mut self, record: &Record<Event>) -> Option<JobRecord> {
        if let Event::EngineStarted(started) = &record.event {
            self.epoch = Epoch(started.epoch);
            return None;
        }
        if record.stream.get() != self.job.0 {
            return None;
        }
        self.follow(&record.event);
        let (task, attempt) = task_of(&record.event);
        Some(JobRecord {
            seq: record.seq,
            at_ms: record.at_ms,
            epoch: self.epoch,
            kind: record.event.kind_name(),
            state: self.state,
            work: self.tasks.work,
            task,
            attempt,
            backend: task.and_then(|task| self.tasks.backend(task.0)),
            detail: words(&record.event),
        })
    }

    fn follow(&mut self, event: &Event) {
        match event {
            Event::BackupSubmitted(e) => {
                self.enter(JobKind::Backup, 1, Tasks::one(Work::Pin, e.first_task));
            }
            Event::RestoreSubmitted(e) => {
                let tasks = Tasks::one(Work::PrepareMeta, e.first_task);
                self.enter(JobKind::Restore, 1, tasks);
            }
            Event::StateEntered(e) => {
                let tasks = Tasks::new(Work::from_number(e.work), e.first_task, &e.lanes);
                self.enter(self.kind, e.state, tasks);
            }
            Event::PinLost(e) => self.enter(self.kind, 1, Tasks::one(Work::Pin, e.first_task)),
            Event::CleanupStarted(e) => {
                self.tasks = Tasks::new(Work::from_number(e.work), e.first_task, &[]);
            }
            Event::BackupFinished(_) | Event::RestoreFinished(_) => {
                self.state = state_name(self.kind, BackupState::Finished as u8);
            }
            Event::JobCancelled(_) => {
                self.state = state_name(self.kind, BackupState::Cancelled as u8);
            }
            _ => {}
        }
    }

    fn enter(&mut self, kind: JobKind, state: u8, tasks: Tasks) {
        self.kind = kind;
        self.state = state_name(kind, state);
        self.tasks = tasks;
    }
}

/// The tasks of the present work: whose they are.
#[derive(Clone, Debug, Default)]
pub(super) struct Tasks {
    pub(super) work: Option<Work>,
    first: u64,
    lanes: Vec<LaneV1>,
}

impl Tasks {
    pub(super) fn new(work: Option<Work>, first: u64, lanes: &[LaneV1]) -> Self {
        Self {
            work,
            first,
            lanes: lanes.to_vec(),
        }
    }

    pub(super) fn one(work: Work, first: u64) -> Self {
        Self::new(Some(work), first, &[])
    }

    /// The backend of a task; tasks are numbered lane after lane.
    pub(super) fn backend(&self, task: u64) -> Option<BackendId> {
        let mut end = self.first;
        let within = task >= self.first;
        let lane = self.lanes.iter().find(|lane| {
            end = end.saturating_add(u64::from(lane.tasks));
            within && task < end
        });
        lane.and_then(|lane| lane.backend).map(BackendId)
    }
}

/// The name of a state by the number that an event carries.
pub(super) fn state_name(kind: JobKind, number: u8) -> &'static str {
    view::state_name(kind, number).unwrap_or("UNKNOWN")
}

/// The task and attempt that an event is about.
pub(super) fn task_of(event: &Event) -> (Option<TaskId>, Option<u32>) {
    let (task, attempt) = match event {
        Event::TaskStarted(e) => (e.task, e.attempt),
        Event::TaskFinished(e) => (e.task, e.attempt),
        Event::TaskFailed(e) => (e.task, e.attempt),
        Event::WorkerFenced(e) => (e.task, e.attempt),
        Event::TaskStopped(e) => (e.task, e.attempt),
        _ => return (None, None),
    };
    (Some(TaskId(task)), Some(attempt))
}

/// What an event says, in a few words without its kind, job, task and attempt. Locations and properties of
/// repositories, which may hold secrets, are left out.
pub fn words(event: &Event) -> String {
    match event {
        Event::EngineStarted(e) => format!("opening {}, catalog at {}", e.epoch, e.catalog),
        Event::RepositoryCreated(e) => format!("repository '{}' ({})", e.name, e.repository),
        Event::RepositoryDropped(e) => format!("repository {}", e.repository),
        Event::HistoryArchived(e) => format!(
            "{} left ({} to {}); events up to {} are archived{}",
            count(e.jobs, "ended job"),
            e.first_job,
            e.last_job,
            e.archived_through,
            e.archive
                .as_ref()
                .map(|file| format!(", now in {file}"))
                .unwrap_or_default()
        ),
        Event::BackupSubmitted(e) => format!(
            "backup '{}' of database '{}' to repository '{}', {}, timeout {} s",
            e.label,
            e.database,
            e.repository_name,
            count(e.objects.len() as u64, "table"),
            e.timeout_seconds
        ),
        Event::RestoreSubmitted(e) => format!(
            "restore of '{}' ({}) from repository '{}' into database '{}', timeout {} s",
            e.label, e.timestamp, e.repository_name, e.database, e.timeout_seconds
        ),
        Event::StateEntered(e) => format!("{} begins: {}", work(e.work), lanes(&e.lanes)),
        Event::TaskStarted(_) => String::new(),
        Event::TaskFinished(e) => moved(e.bytes, e.objects, e.reused_bytes),
        Event::TaskFailed(e) => failed(e.failures, e.excluded, e.backoff_ms, &e.message),
        Event::WorkerFenced(_) => {
            "did not let go in time; what it still does is ignored".to_owned()
        }
        Event::TaskStopped(_) => "let go, its job is ending".to_owned(),
        _ => words_of_plans(event),
    }
}

fn words_of_plans(event: &Event) -> String {
    match event {
        Event::BackupPinned(e) => format!(
            "{}, {}, {}; to link: {}",
            count(e.tablets, "tablet"),
            count(e.files, "file"),
            bytes(e.bytes),
            lanes(&e.lanes)
        ),
        Event::PinLost(e) => format!("back to PENDING: {}", e.message),
        Event::UploadPlanned(e) => format!(
            "{} to send in {}, {} already there; {}",
            bytes(e.new_bytes),
            count(e.new_objects, "object"),
            bytes(e.reused_bytes),
            lanes(&e.lanes)
        ),
        Event::BackupMetaSaved(e) => format!("marker {}", e.marker),
        Event::BackupCommitStarted(e) => format!("no cancel from here on; marker {}", e.marker),
        Event::RestoreMetaPrepared(e) => {
            let note = e.note.as_deref().map(|note| format!("; {note}"));
            format!(
                "{}, {}, {} to drop{}",
                count(e.tablets, "target tablet"),
                count(e.files, "file"),
                count(e.drops.len() as u64, "object"),
                note.unwrap_or_default()
            )
        }
        Event::DownloadPlanned(e) => format!("{} to fetch; {}", bytes(e.bytes), lanes(&e.lanes)),
        Event::RestoreCommitStarted(_) => "no cancel from here on".to_owned(),
        Event::JobStopping(e) => {
            let code = StatusCode::from_number(e.code).name();
            format!("{code}: {}", e.message)
        }
        Event::CleanupStarted(e) => work(e.work),
        Event::BackupFinished(e) => format!("root {}", blake3::Hash::from_bytes(e.root).to_hex()),
        Event::JobReleased(e) if e.leftovers.is_empty() => "nothing is left over".to_owned(),
        Event::JobReleased(e) => format!("left over: {}", e.leftovers),
        _ => String::new(),
    }
}

fn work(number: u8) -> String {
    Work::from_number(number).map_or_else(|| format!("work {number}"), |work| format!("{work:?}"))
}

fn lanes(lanes: &[LaneV1]) -> String {
    let tasks: u64 = lanes.iter().map(|lane| u64::from(lane.tasks)).sum();
    let backends = lanes.iter().filter(|lane| lane.backend.is_some()).count();
    match backends {
        0 => count(tasks, "task"),
        _ => {
            let on = count(backends as u64, "backend");
            format!("{} on {on}", count(tasks, "task"))
        }
    }
}

fn moved(moved: u64, objects: u64, reused: u64) -> String {
    let mut parts = Vec::new();
    if objects > 0 || moved > 0 {
        parts.push(format!("{} in {}", bytes(moved), count(objects, "object")));
    }
    if reused > 0 {
        parts.push(format!("{} not moved, already there", bytes(reused)));
    }
    parts.join("; ")
}

fn failed(failures: u32, excluded: Option<u64>, backoff_ms: u64, message: &str) -> String {
    let excluded = excluded.map(|backend| format!(", not from backend {backend} again"));
    format!(
        "failure {failures}, next attempt after {backoff_ms} ms{}: {message}",
        excluded.unwrap_or_default()
    )
}
