//! What the events make of the engine: the only mutable truth, and `apply` its only writer.
//!
//! State holds no clock, no lock and no handle. It keeps the indices that make `due` cost what is new: which jobs
//! still work, which database has which active job.

mod apply;
mod check;
mod jobs;
pub(crate) mod phase;
pub(crate) mod ranges;
mod show;
pub(crate) mod transitions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::{BlobHash, Epoch, JobId, RepositoryId};
use crate::order::{JobSpec, Lane, StatusCode, Work};
use crate::spec::{JobKind, ObjectRef, RepositoryAccess};
use crate::view::{BackupState, RestoreState};

pub(crate) use jobs::Jobs;
pub(crate) use phase::{Phase, Trouble};

/// The first id that is given out; those below are left to hosts.
pub(crate) const FIRST_ID: u64 = 10_001;

/// A repository as the journal knows it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RepositoryRecord {
    pub(crate) id: RepositoryId,
    pub(crate) name: String,
    pub(crate) broker: Option<String>,
    pub(crate) location: String,
    pub(crate) access: RepositoryAccess,
    pub(crate) created_ms: u64,
    /// Sealed properties.
    pub(crate) properties: Vec<u8>,
}

/// How long a job has run: monotonic while the engine is open, the wall's difference across restarts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct JobClock {
    /// Time run in earlier openings and between them, ms.
    pub(crate) base_ms: u64,
    /// Monotonic time in this opening from which the job runs.
    pub(crate) since_mono_ms: u64,
}

impl JobClock {
    pub(crate) fn elapsed_ms(self, mono_ms: u64) -> u64 {
        self.base_ms
            .saturating_add(mono_ms.saturating_sub(self.since_mono_ms))
    }

    /// The monotonic time of this opening at which `limit_ms` will have run.
    pub(crate) fn reaches_ms(self, limit_ms: u64) -> u64 {
        self.since_mono_ms
            .saturating_add(limit_ms.saturating_sub(self.base_ms))
    }
}

/// Why a job is ending without success.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Stop {
    pub(crate) code: StatusCode,
    pub(crate) message: String,
    /// When it was asked, in this opening.
    pub(crate) since_mono_ms: u64,
}

/// How a job ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Ending {
    Finished,
    Cancelled,
}

/// Where a job stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) enum Stage {
    Backup(BackupState),
    Restore(RestoreState),
}

/// The work that the present phase makes possible: set by the event that carries a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct NextWork {
    pub(crate) plan: BlobHash,
    pub(crate) lanes: Vec<Lane>,
}

/// Facts for the columns of SHOW, filled as events bring them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Facts {
    pub(crate) objects: Vec<ObjectRef>,
    pub(crate) drops: Vec<ObjectRef>,
    pub(crate) meta_prepared_ms: Option<u64>,
    pub(crate) snapshot_finished_ms: Option<u64>,
    pub(crate) transfer_finished_ms: Option<u64>,
    pub(crate) finished_ms: Option<u64>,
    pub(crate) replication_num: Option<u32>,
    pub(crate) note: Option<String>,
    pub(crate) tablets: u64,
    pub(crate) files: u64,
    pub(crate) total_bytes: u64,
    pub(crate) moved_bytes: u64,
    pub(crate) moved_objects: u64,
    pub(crate) reused_bytes: u64,
    pub(crate) elapsed_ms: u64,
}

/// The plans that later work of a job still needs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Plans {
    pub(crate) upload: Option<BlobHash>,
    pub(crate) stage: Option<BlobHash>,
    pub(crate) meta: Option<BlobHash>,
}

/// One job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Job {
    pub(crate) id: JobId,
    pub(crate) spec: JobSpec,
    pub(crate) created_ms: u64,
    pub(crate) clock: JobClock,
    pub(crate) epoch: Epoch,
    pub(crate) stage: Stage,
    pub(crate) phase: Option<Phase>,
    pub(crate) next: Option<NextWork>,
    pub(crate) stop: Option<Stop>,
    pub(crate) cleanup: Option<Phase>,
    pub(crate) ending: Option<Ending>,
    pub(crate) released: bool,
    /// From its commit event on a job is neither cancelled nor timed out.
    pub(crate) committed: bool,
    pub(crate) marker: Option<(String, [u8; 32])>,
    pub(crate) plans: Plans,
    pub(crate) facts: Facts,
}

impl Job {
    pub(crate) fn kind(&self) -> JobKind {
        match self.spec {
            JobSpec::Backup(_) => JobKind::Backup,
            JobSpec::Restore(_) => JobKind::Restore,
        }
    }

    pub(crate) fn database(&self) -> &str {
        match &self.spec {
            JobSpec::Backup(spec) => &spec.database,
            JobSpec::Restore(spec) => &spec.database,
        }
    }

    pub(crate) fn label(&self) -> &str {
        match &self.spec {
            JobSpec::Backup(spec) => &spec.label,
            JobSpec::Restore(spec) => &spec.label,
        }
    }

    pub(crate) fn repository(&self) -> RepositoryId {
        match &self.spec {
            JobSpec::Backup(spec) => spec.repository,
            JobSpec::Restore(spec) => spec.repository,
        }
    }

    pub(crate) fn timeout_ms(&self) -> u64 {
        let seconds = match &self.spec {
            JobSpec::Backup(spec) => spec.timeout_seconds,
            JobSpec::Restore(spec) => spec.timeout_seconds,
        };
        seconds.saturating_mul(1000)
    }

    pub(crate) fn state_name(&self) -> &'static str {
        match self.stage {
            Stage::Backup(state) => state.name(),
            Stage::Restore(state) => state.name(),
        }
    }

    /// Whether it has ended, and before a wall time.
    pub(crate) fn ended_before(&self, wall_ms: u64) -> bool {
        self.ending.is_some() && self.facts.finished_ms.is_some_and(|at| at < wall_ms)
    }

    /// The work that tasks run for now: the cleanup, once it has begun.
    pub(crate) fn current(&self) -> Option<&Phase> {
        self.cleanup.as_ref().or(self.phase.as_ref())
    }

    /// Whether new tasks of the current work may start.
    pub(crate) fn starts_tasks(&self) -> bool {
        self.cleanup.is_some() || (self.stop.is_none() && self.ending.is_none())
    }

    /// When a job that may still be cancelled runs out of time.
    pub(crate) fn deadline_mono_ms(&self) -> Option<u64> {
        let may = self.stop.is_none() && self.ending.is_none() && !self.committed;
        may.then(|| self.clock.reaches_ms(self.timeout_ms()))
    }

    /// The plan that an order of the current work carries.
    pub(crate) fn plan_for(&self, work: Work) -> Option<BlobHash> {
        match work {
            Work::Discard => self.plans.upload,
            Work::Commit | Work::Forget | Work::Abort | Work::Release => None,
            _ => self.current().and_then(|phase| phase.plan),
        }
    }
}

/// Everything the events have made. A clone shares its jobs until they change, so that a checkpoint of it costs the
/// dispatcher no copy.
///
/// Its serialised form is that of [`crate::checkpoint`]: whatever changes it, or what an event makes of it, raises the
/// version there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) cluster: String,
    pub(crate) epoch: Epoch,
    pub(crate) catalog: u64,
    pub(crate) next_id: u64,
    /// The newest wall and monotonic times that events of this opening carried.
    pub(crate) last_wall_ms: u64,
    pub(crate) last_mono_ms: u64,
    pub(crate) repositories: BTreeMap<String, Arc<RepositoryRecord>>,
    pub(crate) jobs: Jobs,
    /// Database -> its job that has not ended.
    #[serde(skip)]
    pub(crate) active: BTreeMap<String, JobId>,
    /// Jobs that are not released: all that `due` looks at.
    #[serde(skip)]
    pub(crate) working: BTreeSet<JobId>,
    /// Jobs that changed since the views were published last.
    #[serde(skip)]
    pub(crate) changed: BTreeSet<JobId>,
    /// Whether a repository changed since then.
    #[serde(skip)]
    pub(crate) repositories_changed: bool,
}

impl State {
    pub(crate) fn new() -> Self {
        Self {
            cluster: String::new(),
            epoch: Epoch(0),
            catalog: 0,
            next_id: FIRST_ID,
            last_wall_ms: 0,
            last_mono_ms: 0,
            repositories: BTreeMap::new(),
            jobs: Jobs::default(),
            active: BTreeMap::new(),
            working: BTreeSet::new(),
            changed: BTreeSet::new(),
            repositories_changed: true,
        }
    }

    /// Makes again what a serialised state leaves out: the indices, and that no reader has seen anything of it.
    pub(crate) fn index(&mut self) {
        let jobs = || self.jobs.iter();
        self.active = jobs()
            .filter(|(_, job)| job.ending.is_none())
            .map(|(id, job)| (job.database().to_owned(), id))
            .collect();
        self.working = jobs()
            .filter(|(_, job)| !job.released)
            .map(|(id, _)| id)
            .collect();
        self.changed = self.jobs.keys().copied().collect();
        self.repositories_changed = true;
    }

    pub(crate) fn repository(&self, id: RepositoryId) -> Option<&Arc<RepositoryRecord>> {
        self.repositories.values().find(|record| record.id == id)
    }
}
