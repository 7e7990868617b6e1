//! From state to views: what readers see of a job. Pure; costs what the job's runs and troubles are, not its tasks.

use crate::ids::TaskId;
use crate::order::{JobSpec, StatusCode};
use crate::spec::{Replication, RestoreJobSpec};
use crate::state::{Job, Phase, RepositoryRecord, Stage};
use crate::view::{
    BackupView, JobCommon, JobView, RepositoryView, RestoreView, Status, TaskError, TaskRun,
};

/// Troubled tasks shown at most; the rest is counted in TaskErrMsg's last entry by the reader of `errors`.
const ERRORS_SHOWN: usize = 100;

impl Job {
    /// The job as readers see it.
    pub(crate) fn view(&self) -> JobView {
        let common = self.common_view();
        match (&self.spec, self.stage) {
            (JobSpec::Restore(spec), Stage::Restore(state)) => JobView::Restore(RestoreView {
                state,
                timestamp: spec.timestamp.clone(),
                allow_load: spec.allow_load,
                replication_num: self.facts.replication_num.or(asked(spec)),
                drops: self.facts.drops.clone(),
                meta_prepared_ms: self.facts.meta_prepared_ms,
                common,
            }),
            (spec, stage) => JobView::Backup(BackupView {
                state: match stage {
                    Stage::Backup(state) => state,
                    // A job's stage is made from its spec and never changes its kind.
                    Stage::Restore(_) => crate::view::BackupState::Pending,
                },
                timestamp: match spec {
                    JobSpec::Backup(spec) => spec.timestamp.clone(),
                    JobSpec::Restore(spec) => spec.timestamp.clone(),
                },
                root: self
                    .marker
                    .as_ref()
                    .filter(|_| self.ending == Some(crate::state::Ending::Finished))
                    .map(|(_, root)| blake3::Hash::from_bytes(*root).to_hex().to_string()),
                common,
            }),
        }
    }

    fn common_view(&self) -> JobCommon {
        let phase = if self.ending.is_some() {
            None
        } else {
            self.current()
        };
        let repository = match &self.spec {
            JobSpec::Backup(spec) => spec.repository_name.clone(),
            JobSpec::Restore(spec) => spec.repository_name.clone(),
        };
        JobCommon {
            job: self.id,
            label: self.label().to_owned(),
            database: self.database().to_owned(),
            repository,
            objects: self.facts.objects.clone(),
            created_ms: self.created_ms,
            snapshot_finished_ms: self.facts.snapshot_finished_ms,
            transfer_finished_ms: self.facts.transfer_finished_ms,
            finished_ms: self.facts.finished_ms,
            unfinished: phase.map(unfinished).unwrap_or_default(),
            errors: phase.map(errors).unwrap_or_default(),
            status: self.status(),
            timeout_seconds: self.timeout_ms() / 1000,
            tablets: self.facts.tablets,
            files: self.facts.files,
            total_bytes: self.facts.total_bytes,
            moved_bytes: self.facts.moved_bytes,
            moved_objects: self.facts.moved_objects,
            reused_bytes: self.facts.reused_bytes,
            epoch: self.epoch,
            elapsed_ms: self.facts.elapsed_ms,
            tasks_total: phase.map_or(0, |p| p.total),
            tasks_done: phase.map_or(0, Phase::done),
            stopping: self.stop.is_some() && self.ending.is_none(),
        }
    }

    fn status(&self) -> Status {
        match &self.stop {
            Some(stop) => Status {
                code: stop.code,
                message: stop.message.clone(),
            },
            None => Status {
                code: StatusCode::Ok,
                message: self.facts.note.clone().unwrap_or_default(),
            },
        }
    }
}

/// The count that the statement gave, shown until the plan knows better.
fn asked(spec: &RestoreJobSpec) -> Option<u32> {
    match spec.replication {
        Replication::Fixed(count) => Some(count),
        Replication::Automatic | Replication::Reserve => None,
    }
}

fn unfinished(phase: &Phase) -> Vec<TaskRun> {
    let mut runs = Vec::new();
    for span in &phase.spans {
        for (start, end) in phase.unfinished_in(*span) {
            runs.push(TaskRun {
                first: phase.task(start),
                count: end - start,
                backend: span.backend.map(holdfast_storage::BackendId),
            });
        }
    }
    runs
}

fn errors(phase: &Phase) -> Vec<TaskError> {
    phase
        .failed()
        .take(ERRORS_SHOWN)
        .map(|(index, trouble)| TaskError {
            task: TaskId(phase.first + u64::from(index)),
            failures: trouble.failures,
            message: trouble.message.clone(),
        })
        .collect()
}

impl RepositoryRecord {
    /// The repository as readers see it.
    pub(crate) fn view(&self) -> RepositoryView {
        RepositoryView {
            id: self.id,
            name: self.name.clone(),
            created_ms: self.created_ms,
            access: self.access,
            location: self.location.clone(),
            broker: self.broker.clone(),
        }
    }
}
