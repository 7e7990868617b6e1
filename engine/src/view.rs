//! What readers see: one immutable value per job, published after each durable batch. Projections only; nothing
//! here decides.

use std::sync::Arc;

use holdfast_storage::{AllowLoad, BackendId};
use rpds::RedBlackTreeMapSync;
use serde::{Deserialize, Serialize};

use crate::ids::{Epoch, JobId, RepositoryId, TaskId};
use crate::order::StatusCode;
use crate::spec::{JobKind, ObjectRef, RepositoryAccess};

/// The states of a backup, as the State column spells them, SNAPSHOTING with one T.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum BackupState {
    /// Accepted; the pin is being taken.
    Pending = 1,
    /// Local snapshots are being taken.
    Snapshoting = 2,
    /// The upload is being planned.
    UploadSnapshot = 3,
    /// Objects are being uploaded.
    Uploading = 4,
    /// The manifest is being made.
    SaveMeta = 5,
    /// The manifest and the marker are being uploaded.
    UploadInfo = 6,
    /// Done.
    Finished = 7,
    /// Failed or cancelled.
    Cancelled = 8,
}

impl BackupState {
    /// The text of the State column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Snapshoting => "SNAPSHOTING",
            Self::UploadSnapshot => "UPLOAD_SNAPSHOT",
            Self::Uploading => "UPLOADING",
            Self::SaveMeta => "SAVE_META",
            Self::UploadInfo => "UPLOAD_INFO",
            Self::Finished => "FINISHED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// The states of a restore, as the State column spells them, SNAPSHOTTING with two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[repr(u8)]
pub enum RestoreState {
    /// Accepted; targets are checked and made.
    Pending = 1,
    /// Staging places are being made.
    Snapshotting = 2,
    /// The download is being planned.
    Download = 3,
    /// Files are being fetched.
    Downloading = 4,
    /// The staging is being proved and sealed.
    Commit = 5,
    /// The swap is being done; the point of no return is behind.
    Committing = 6,
    /// Done.
    Finished = 7,
    /// Failed or cancelled.
    Cancelled = 8,
}

impl RestoreState {
    /// The text of the State column.
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "PENDING",
            Self::Snapshotting => "SNAPSHOTTING",
            Self::Download => "DOWNLOAD",
            Self::Downloading => "DOWNLOADING",
            Self::Commit => "COMMIT",
            Self::Committing => "COMMITTING",
            Self::Finished => "FINISHED",
            Self::Cancelled => "CANCELLED",
        }
    }
}

/// The Status column: `[OK]` or `[CODE, msg: text]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// The code.
    pub code: StatusCode,
    /// The text; may stand beside OK as a note.
    pub message: String,
}

/// A run of unfinished tasks on one backend: ids `first` to `first + count - 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskRun {
    /// The first task.
    pub first: TaskId,
    /// How many.
    pub count: u32,
    /// Where they run; `None` for work of the coordinator.
    pub backend: Option<BackendId>,
}

/// The progress of a running task, as its worker reported it last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TaskProgress {
    /// The task.
    pub task: TaskId,
    /// Files done.
    pub done: u64,
    /// Files in all.
    pub total: u64,
}

/// The last error of an unfinished task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskError {
    /// The task.
    pub task: TaskId,
    /// Failed attempts so far.
    pub failures: u32,
    /// The words.
    pub message: String,
}

/// What both kinds of job show.
#[derive(Clone, Debug, PartialEq)]
pub struct JobCommon {
    /// The id, from acceptance on.
    pub job: JobId,
    /// The label.
    pub label: String,
    /// The job's database (the target's, for a restore).
    pub database: String,
    /// The repository's name.
    pub repository: String,
    /// Tables and partitions.
    pub objects: Vec<ObjectRef>,
    /// Accepted at, ms since the epoch.
    pub created_ms: u64,
    /// Local snapshot or staging done.
    pub snapshot_finished_ms: Option<u64>,
    /// Upload or download done.
    pub transfer_finished_ms: Option<u64>,
    /// FINISHED or CANCELLED.
    pub finished_ms: Option<u64>,
    /// Tasks of the present state that have not finished.
    pub unfinished: Vec<TaskRun>,
    /// Unfinished tasks that have failed at least once.
    pub errors: Vec<TaskError>,
    /// The status.
    pub status: Status,
    /// The timeout in seconds.
    pub timeout_seconds: u64,
    /// Tablets, once known.
    pub tablets: u64,
    /// Files, once known.
    pub files: u64,
    /// Bytes of the job's data, once known (a restore counts every replica).
    pub total_bytes: u64,
    /// Bytes that crossed the broker so far.
    pub moved_bytes: u64,
    /// Objects written or read so far.
    pub moved_objects: u64,
    /// Bytes that did not need to move.
    pub reused_bytes: u64,
    /// The opening in which the job was last active.
    pub epoch: Epoch,
    /// Running time in ms, as of the last event.
    pub elapsed_ms: u64,
    /// Tasks of the present state in all.
    pub tasks_total: u32,
    /// Tasks of the present state that are done.
    pub tasks_done: u32,
    /// True from a cancel or a fatal error on until CANCELLED.
    pub stopping: bool,
}

/// A backup.
#[derive(Clone, Debug, PartialEq)]
pub struct BackupView {
    /// What both kinds show.
    pub common: JobCommon,
    /// The state.
    pub state: BackupState,
    /// The snapshot's timestamp.
    pub timestamp: String,
    /// The root manifest's hash as hex, once FINISHED.
    pub root: Option<String>,
}

/// A restore.
#[derive(Clone, Debug, PartialEq)]
pub struct RestoreView {
    /// What both kinds show.
    pub common: JobCommon,
    /// The state.
    pub state: RestoreState,
    /// The backup timestamp.
    pub timestamp: String,
    /// Loads while it runs.
    pub allow_load: AllowLoad,
    /// The replica count, where one holds for all.
    pub replication_num: Option<u32>,
    /// What the commit drops (a whole table has no partitions).
    pub drops: Vec<ObjectRef>,
    /// When the targets' metadata was made.
    pub meta_prepared_ms: Option<u64>,
}

/// A job as readers see it.
#[derive(Clone, Debug, PartialEq)]
pub enum JobView {
    /// A backup.
    Backup(BackupView),
    /// A restore.
    Restore(RestoreView),
}

/// The name of a state by the number that an event carries.
pub(crate) fn state_name(kind: JobKind, number: u8) -> Option<&'static str> {
    use BackupState as B;
    use RestoreState as R;
    let backup = [
        B::Pending,
        B::Snapshoting,
        B::UploadSnapshot,
        B::Uploading,
        B::SaveMeta,
        B::UploadInfo,
        B::Finished,
        B::Cancelled,
    ];
    let restore = [
        R::Pending,
        R::Snapshotting,
        R::Download,
        R::Downloading,
        R::Commit,
        R::Committing,
        R::Finished,
        R::Cancelled,
    ];
    match kind {
        JobKind::Backup => backup
            .into_iter()
            .find(|state| *state as u8 == number)
            .map(B::name),
        JobKind::Restore => restore
            .into_iter()
            .find(|state| *state as u8 == number)
            .map(R::name),
    }
}

impl JobView {
    /// What both kinds show.
    pub fn common(&self) -> &JobCommon {
        match self {
            Self::Backup(view) => &view.common,
            Self::Restore(view) => &view.common,
        }
    }

    /// Which kind.
    pub fn kind(&self) -> JobKind {
        match self {
            Self::Backup(_) => JobKind::Backup,
            Self::Restore(_) => JobKind::Restore,
        }
    }

    /// The text of the State column.
    pub fn state_name(&self) -> &'static str {
        match self {
            Self::Backup(view) => view.state.name(),
            Self::Restore(view) => view.state.name(),
        }
    }

    /// Whether the job is FINISHED or CANCELLED.
    pub fn has_ended(&self) -> bool {
        self.common().finished_ms.is_some()
    }

    /// Whether the job is FINISHED.
    pub fn is_finished(&self) -> bool {
        self.state_name() == "FINISHED"
    }
}

/// A repository as SHOW REPOSITORIES lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryView {
    /// Its id.
    pub id: RepositoryId,
    /// Its name.
    pub name: String,
    /// When the remote side was made, ms since the epoch.
    pub created_ms: u64,
    /// Whether it refuses writes.
    pub access: RepositoryAccess,
    /// The location as given.
    pub location: String,
    /// The broker process; `None` = direct.
    pub broker: Option<String>,
}

/// Everything readers see at one moment; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Views {
    /// All kept jobs by id.
    pub jobs: RedBlackTreeMapSync<JobId, Arc<JobView>>,
    /// All repositories by name.
    pub repositories: RedBlackTreeMapSync<String, Arc<RepositoryView>>,
}

impl Views {
    /// The kept jobs of one kind, oldest first; of one database, or (`None`) of all.
    pub fn jobs_of(&self, kind: JobKind, database: Option<&str>) -> Vec<Arc<JobView>> {
        self.jobs
            .values()
            .filter(|view| view.kind() == kind)
            .filter(|view| database.is_none_or(|name| view.common().database == name))
            .cloned()
            .collect()
    }
}
