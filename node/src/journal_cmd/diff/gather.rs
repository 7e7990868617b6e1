//! Gathers what the events between two points changed. Prints nothing.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_engine::{
    BackupState, Event, JobId, JobKind, JobView, RepositoryId, RestoreState, Views,
};
use holdfast_journal::{Record, Seq};

/// A moment: after which record, and its time (0 before the first).
pub(super) type Moment = (Seq, u64);

/// All that changed.
#[derive(Debug, Default)]
pub(super) struct Changes {
    pub(super) from: Moment,
    pub(super) to: Moment,
    pub(super) records: u64,
    /// Openings of the engine: the epoch.
    pub(super) openings: Vec<(Moment, u64)>,
    /// Repositories: name, and whether it was made (else dropped).
    pub(super) repositories: Vec<(Moment, String, bool)>,
    /// Acts of archiving: how many jobs left the state.
    pub(super) archived: Vec<(Moment, u64)>,
    pub(super) jobs: BTreeMap<JobId, JobChange>,
}

/// What changed of a job.
#[derive(Debug)]
pub(super) struct JobChange {
    pub(super) kind: JobKind,
    pub(super) database: String,
    pub(super) label: String,
    pub(super) repository: String,
    /// When it was accepted, where that is between the points.
    pub(super) new: Option<Moment>,
    /// The state at the first point; none before it was accepted.
    pub(super) before: Option<&'static str>,
    pub(super) moves: Vec<(Moment, &'static str)>,
    /// When it began to end without success, and why.
    pub(super) stopping: Option<(Moment, String)>,
    pub(super) tasks: Tasks,
    pub(super) bytes: u64,
    pub(super) objects: u64,
    pub(super) reused_bytes: u64,
    pub(super) errors: BTreeMap<u64, ErrorChange>,
    /// When it ended, where that is between the points.
    pub(super) ended: Option<Moment>,
    /// Whether it is no longer kept at the second point.
    pub(super) left: bool,
}

/// Tasks of a job, by what happened to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Tasks {
    pub(super) started: u64,
    /// Of those, started before: after a failure, or in an earlier opening.
    pub(super) again: u64,
    pub(super) finished: u64,
    pub(super) failed: u64,
    pub(super) stopped: u64,
    pub(super) fenced: u64,
}

/// An error of a task.
#[derive(Clone, Debug, Default)]
pub(super) struct ErrorChange {
    pub(super) failures: u32,
    pub(super) message: String,
    /// Whether it stood at the first point.
    pub(super) before: bool,
    /// Whether it stands at the second.
    pub(super) after: bool,
}

/// Takes in the records between two points.
pub(super) struct Gather {
    changes: Changes,
    names: BTreeMap<RepositoryId, String>,
}

impl Gather {
    /// After the first point, where the views were these.
    pub(super) fn new(from: Moment, views: &Views) -> Self {
        let jobs = views.jobs.iter();
        let names = views.repositories.values();
        Self {
            names: names.map(|view| (view.id, view.name.clone())).collect(),
            changes: Changes {
                from,
                to: from,
                jobs: jobs.map(|(id, view)| (*id, JobChange::of(view))).collect(),
                ..Changes::default()
            },
        }
    }

    /// Takes in the next record.
    pub(super) fn take(&mut self, record: &Record<Event>) {
        let at = (record.seq, record.at_ms);
        self.changes.to = at;
        self.changes.records += 1;
        match &record.event {
            Event::EngineStarted(e) => self.changes.openings.push((at, e.epoch)),
            Event::RepositoryCreated(e) => {
                let id = RepositoryId(e.repository);
                self.names.insert(id, e.name.clone());
                self.changes.repositories.push((at, e.name.clone(), true));
            }
            Event::RepositoryDropped(e) => {
                let name = self.names.get(&RepositoryId(e.repository));
                let name = name.cloned().unwrap_or_default();
                self.changes.repositories.push((at, name, false));
            }
            Event::HistoryArchived(e) => self.changes.archived.push((at, e.jobs)),
            Event::BackupSubmitted(e) => {
                let job = JobChange::new(at, JobKind::Backup, &e.database, &e.label);
                self.accept(e.job, job, &e.repository_name);
            }
            Event::RestoreSubmitted(e) => {
                let job = JobChange::new(at, JobKind::Restore, &e.database, &e.label);
                self.accept(e.job, job, &e.repository_name);
            }
            event => {
                let job = JobId(record.stream.get());
                if let Some(job) = self.changes.jobs.get_mut(&job) {
                    job.take(at, event);
                }
            }
        }
    }

    fn accept(&mut self, id: u64, mut job: JobChange, repository: &str) {
        repository.clone_into(&mut job.repository);
        self.changes.jobs.insert(JobId(id), job);
    }

    /// What changed up to the second point, where the views are these.
    pub(super) fn finish(mut self, views: &Views) -> Changes {
        self.changes.jobs.retain(|id, job| {
            match views.jobs.get(id) {
                Some(view) => {
                    for error in &view.common().errors {
                        let change = job.errors.entry(error.task.0).or_default();
                        change.failures = error.failures;
                        change.message.clone_from(&error.message);
                        change.after = true;
                    }
                }
                None => job.left = true,
            }
            // An error that stood all the time and did not grow is no change.
            job.changed()
        });
        self.changes
    }
}

impl JobChange {
    fn new(at: Moment, kind: JobKind, database: &str, label: &str) -> Self {
        Self {
            kind,
            database: database.to_owned(),
            label: label.to_owned(),
            repository: String::new(),
            new: Some(at),
            before: None,
            moves: vec![(at, BackupState::Pending.name())],
            stopping: None,
            tasks: Tasks::default(),
            bytes: 0,
            objects: 0,
            reused_bytes: 0,
            errors: BTreeMap::new(),
            ended: None,
            left: false,
        }
    }

    fn of(view: &Arc<JobView>) -> Self {
        let common = view.common();
        let mut job = Self::new((Seq::ZERO, 0), view.kind(), &common.database, &common.label);
        job.repository.clone_from(&common.repository);
        (job.new, job.before) = (None, Some(view.state_name()));
        job.moves.clear();
        for error in &common.errors {
            let change = ErrorChange {
                failures: error.failures,
                message: error.message.clone(),
                before: true,
                after: false,
            };
            job.errors.insert(error.task.0, change);
        }
        job
    }

    fn changed(&self) -> bool {
        let errors = self
            .errors
            .values()
            .any(|error| !error.before || !error.after);
        self.new.is_some()
            || self.ended.is_some()
            || self.stopping.is_some()
            || self.left
            || errors
            || !self.moves.is_empty()
            || self.tasks != Tasks::default()
    }

    fn take(&mut self, at: Moment, event: &Event) {
        match event {
            Event::StateEntered(e) => self.enter(at, state_name(self.kind, e.state)),
            Event::PinLost(_) => self.enter(at, BackupState::Pending.name()),
            Event::BackupFinished(_) | Event::RestoreFinished(_) => {
                self.ended = Some(at);
                self.enter(at, BackupState::Finished.name());
            }
            Event::JobCancelled(_) => {
                self.ended = Some(at);
                self.enter(at, BackupState::Cancelled.name());
            }
            Event::JobStopping(e) => self.stopping = Some((at, e.message.clone())),
            Event::TaskStarted(e) => {
                self.tasks.started += 1;
                self.tasks.again += u64::from(e.attempt > 1);
            }
            Event::TaskFinished(e) => {
                self.tasks.finished += 1;
                self.bytes = self.bytes.saturating_add(e.bytes);
                self.objects = self.objects.saturating_add(e.objects);
                self.reused_bytes = self.reused_bytes.saturating_add(e.reused_bytes);
            }
            Event::TaskFailed(e) => {
                self.tasks.failed += 1;
                let change = self.errors.entry(e.task).or_default();
                change.failures = e.failures;
                change.message.clone_from(&e.message);
            }
            Event::UploadPlanned(e) => {
                self.reused_bytes = self.reused_bytes.saturating_add(e.reused_bytes);
            }
            Event::TaskStopped(_) => self.tasks.stopped += 1,
            Event::WorkerFenced(_) => self.tasks.fenced += 1,
            _ => {}
        }
    }

    /// A job may enter the next piece of work of the state that it is in.
    fn enter(&mut self, at: Moment, state: &'static str) {
        let present = self.moves.last().map(|(_, state)| *state).or(self.before);
        if present != Some(state) {
            self.moves.push((at, state));
        }
    }
}

/// The name of a state by its number; a number that no state has never gets past `apply`.
fn state_name(kind: JobKind, number: u8) -> &'static str {
    use {BackupState as B, RestoreState as R};
    let backups = [
        B::Pending,
        B::Snapshoting,
        B::UploadSnapshot,
        B::Uploading,
        B::SaveMeta,
        B::UploadInfo,
    ];
    let restores = [
        R::Pending,
        R::Snapshotting,
        R::Download,
        R::Downloading,
        R::Commit,
        R::Committing,
    ];
    let name = match kind {
        JobKind::Backup => backups
            .iter()
            .find(|s| **s as u8 == number)
            .map(|s| s.name()),
        JobKind::Restore => restores
            .iter()
            .find(|s| **s as u8 == number)
            .map(|s| s.name()),
    };
    name.unwrap_or("UNKNOWN")
}
