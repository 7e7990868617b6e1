//! What travels between the dispatcher and the workers: orders out, completions back. Plain data only: never a
//! path, never a secret, so that a backend can live on another host.

use std::sync::Arc;

use holdfast_storage::{BackendId, OpId};
use serde::{Deserialize, Serialize};

use crate::ids::{BlobHash, Epoch, JobId, TaskId};
use crate::spec::{BackupSpec, RestoreJobSpec};

/// The kinds of work. Each belongs to one state of one kind of job (see `docs/states.md`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum Work {
    /// Backup, PENDING: intent, label claim, pin, plan of the local snapshots. One task.
    Pin = 1,
    /// Backup, SNAPSHOTING: hard links of one batch of tablets on one backend.
    Link = 2,
    /// Backup, UPLOAD_SNAPSHOT: subtract what the repository holds, cut the rest into tasks. One task.
    PlanUpload = 3,
    /// Backup, UPLOADING: one batch of objects from one backend.
    Upload = 4,
    /// Backup, SAVE_META: manifest parts and the marker's bytes as blobs. One task.
    SaveMeta = 5,
    /// Backup, UPLOAD_INFO: manifest parts to the repository, condemned list read again. One task.
    UploadInfo = 6,
    /// Backup, UPLOAD_INFO after its commit event: the marker, and its read-back. One task.
    PutMarker = 7,
    /// Backup, after FINISHED: local snapshots, pin, intent and work files go. One task.
    Release = 8,
    /// Backup, while it is cancelled: local release, then what only this job uploaded, its label and intent.
    Discard = 9,
    /// Restore, PENDING: manifest read, targets checked and made. One task.
    PrepareMeta = 20,
    /// Restore, SNAPSHOTTING: staging places of one batch of tablets on one backend.
    Stage = 21,
    /// Restore, DOWNLOAD: cut into tasks. One task.
    PlanDownload = 22,
    /// Restore, DOWNLOADING: one batch of files to one backend.
    Download = 23,
    /// Restore, COMMIT: staging proved, sealed, swap list durable. One task.
    Prepare = 24,
    /// Restore, COMMITTING: the swap. One task.
    Commit = 25,
    /// Restore, after FINISHED: old versions and staging go. One task.
    Forget = 26,
    /// Restore, while it is cancelled: everything is taken back. One task.
    Abort = 27,
}

/// Tasks of one phase that belong to one backend; a phase's tasks are numbered lane after lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lane {
    /// The backend; `None` for work of the coordinator.
    pub backend: Option<BackendId>,
    /// How many tasks.
    pub tasks: u32,
}

/// One start of one task.
#[derive(Clone, Debug)]
pub struct TaskOrder {
    /// The job.
    pub job: JobId,
    /// The task.
    pub task: TaskId,
    /// Which attempt, from 1; grows with each start, across restarts too.
    pub attempt: u32,
    /// The opening it belongs to.
    pub epoch: Epoch,
    /// What to do.
    pub work: Work,
    /// The task's number within its phase, from 0: its record in the plan.
    pub index: u32,
    /// Where it runs.
    pub backend: Option<BackendId>,
    /// Replicas that earlier attempts found at fault.
    pub excluded: Vec<BackendId>,
    /// The plan of this phase (of the phase before, for work that makes a plan).
    pub plan: Option<BlobHash>,
    /// What the job is.
    pub job_spec: JobSpec,
}

impl TaskOrder {
    /// The job's operation on the storage.
    pub fn op(&self) -> OpId {
        OpId(self.job.0)
    }
}

/// What a job is, as its workers need it.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum JobSpec {
    /// A backup.
    Backup(Arc<BackupSpec>),
    /// A restore.
    Restore(Arc<RestoreJobSpec>),
}

/// The end of one start of one task.
#[derive(Clone, Debug)]
pub struct Completion {
    /// The job.
    pub job: JobId,
    /// The task.
    pub task: TaskId,
    /// The attempt that ended.
    pub attempt: u32,
    /// The opening that it belongs to.
    pub epoch: Epoch,
    /// How it ended.
    pub outcome: Result<Output, Failure>,
}

/// What a task gives back.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// `Pin`.
    Pinned {
        /// Plan of the links: a [`crate::plan`] container, one record per task of `lanes`.
        plan: BlobHash,
        /// Tasks per backend.
        lanes: Vec<Lane>,
        /// Tablets pinned.
        tablets: u64,
        /// Data files pinned.
        files: u64,
        /// Bytes pinned, one replica counted.
        bytes: u64,
    },
    /// `PlanUpload`.
    UploadPlanned {
        /// Plan of the uploads, one record per task, and the placements of all files.
        plan: BlobHash,
        /// Tasks per backend.
        lanes: Vec<Lane>,
        /// Bytes to send.
        new_bytes: u64,
        /// Objects to send.
        new_objects: u64,
        /// Bytes that the repository already holds.
        reused_bytes: u64,
    },
    /// `SaveMeta`.
    MetaSaved {
        /// The parts and the marker as a [`crate::plan`] container.
        plan: BlobHash,
        /// The marker's name in the repository.
        marker: String,
        /// The hash of the root manifest.
        root: [u8; 32],
    },
    /// `UploadInfo`: all parts are durable, nothing we refer to is condemned.
    InfoUploaded,
    /// `PutMarker`: the marker is there and is ours.
    MarkerDurable,
    /// `PutMarker`: another snapshot holds the label.
    MarkerLost {
        /// What was found.
        message: String,
    },
    /// `PrepareMeta`.
    MetaPrepared {
        /// Plan of the staging: one record per task of `lanes`, and the targets.
        plan: BlobHash,
        /// Tasks per backend.
        lanes: Vec<Lane>,
        /// What is restored, for RestoreObjs.
        objects: Vec<crate::spec::ObjectRef>,
        /// What is dropped in the same commit (table, partition or whole table), for RestoreObjs.
        drops: Vec<crate::spec::ObjectRef>,
        /// The replica count, where one count holds for all.
        replication_num: Option<u32>,
        /// Something the operator should know, such as a lowered replica count.
        note: Option<String>,
        /// Target tablets.
        tablets: u64,
        /// Data files that they will hold, one replica counted.
        files: u64,
    },
    /// `PlanDownload`.
    DownloadPlanned {
        /// Plan of the downloads, one record per task.
        plan: BlobHash,
        /// Tasks per backend.
        lanes: Vec<Lane>,
        /// Bytes that the targets must get, all replicas counted.
        bytes: u64,
    },
    /// Work that moves bytes: `Upload`, `Download`.
    Moved {
        /// Bytes that crossed the broker.
        bytes: u64,
        /// Objects written or read.
        objects: u64,
        /// Bytes that were there already.
        reused_bytes: u64,
    },
    /// Work with nothing to tell: `Link`, `Stage`, `Prepare`, `Commit`, `Release`, `Discard`, `Forget`, `Abort`.
    Done,
}

/// Why a task failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// What follows from it.
    pub class: FailureClass,
    /// The words for TaskErrMsg.
    pub message: String,
}

/// What follows from a failure: the one policy of the engine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum FailureClass {
    /// Try again with backoff, up to the bound.
    Retry,
    /// Try again, not before this many milliseconds.
    RetryAfter(u32),
    /// This replica is at fault: try again on another.
    Replica(BackendId),
    /// The pin is gone: the job takes a new point for all tables.
    PinLost,
    /// Cannot heal: the job fails now, with this Status code.
    Fatal(StatusCode),
    /// The worker let go because it was asked to.
    Stopped,
}

/// The codes of the Status column, by the names that users of StarRocks and Doris know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[repr(u8)]
pub enum StatusCode {
    /// All is well.
    Ok = 0,
    /// Something named does not exist.
    NotFound = 1,
    /// A file or object is not what it should be.
    BadFile = 2,
    /// The job ran past its timeout.
    Timeout = 3,
    /// The remote cannot be reached.
    BadConnection = 4,
    /// Anything else.
    CommonError = 5,
    /// The system cannot do this.
    Unsupported = 6,
}

impl StatusCode {
    /// The code with this number; an unknown one, from a newer program, is a common error.
    pub(crate) fn from_number(number: u8) -> Self {
        match number {
            0 => Self::Ok,
            1 => Self::NotFound,
            2 => Self::BadFile,
            3 => Self::Timeout,
            4 => Self::BadConnection,
            6 => Self::Unsupported,
            _ => Self::CommonError,
        }
    }

    /// The text that users know.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "OK",
            Self::NotFound => "NOT_FOUND",
            Self::BadFile => "BAD_FILE",
            Self::Timeout => "TIMEOUT",
            Self::BadConnection => "BAD_CONNECTION",
            Self::CommonError => "COMMON_ERROR",
            Self::Unsupported => "UNSUPPORTED",
        }
    }
}
