//! The facts of the engine: one frozen struct per kind, numbered for ever. A struct here never changes; a new
//! payload is a new kind (or an upcast from the old one). Nothing here decides or applies.
//!
//! Events are small: counts, hashes and names. What is larger lies in a blob whose hash the event carries.

use holdfast_journal::{StreamId, events};

use crate::order::Work;
use crate::view::state_name;

macro_rules! payloads {
    ($($(#[$meta:meta])* $name:ident { $($(#[$fmeta:meta])* $field:ident : $ty:ty),* $(,)? })*) => {
        $(
            $(#[$meta])*
            #[derive(Clone, Debug, PartialEq, serde::Serialize)]
            #[derive(rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
            pub struct $name { $($(#[$fmeta])* pub $field: $ty),* }
        )*
    };
}

payloads! {
    /// A table with partitions and alias, as [`crate::ObjectRef`].
    ObjectV1 {
        /// The table.
        table: String,
        /// The partitions; empty = all.
        partitions: Vec<String>,
        /// The new name.
        alias: Option<String>,
    }

    /// Tasks per backend, as [`crate::Lane`].
    LaneV1 {
        /// The backend; `None` for the coordinator.
        backend: Option<u64>,
        /// How many tasks.
        tasks: u32,
    }

    /// The engine was opened: what ran before it did not end, and is ready again.
    EngineStarted {
        /// The number of this opening, from 1.
        epoch: u64,
        /// The cluster's id, made at the first opening.
        cluster: String,
        /// Where the storage's catalog stood.
        catalog: u64,
        /// Monotonic time of this opening, ms.
        mono_ms: u64,
    }

    /// A repository was made known to this cluster.
    RepositoryCreated {
        /// Its id.
        repository: u64,
        /// Its name.
        name: String,
        /// The broker process; `None` = direct.
        broker: Option<String>,
        /// The location as given.
        location: String,
        /// Whether it refuses writes.
        read_only: bool,
        /// When the remote side was made, ms since the epoch.
        created_ms: u64,
        /// The properties, sealed.
        properties: Vec<u8>,
    }

    /// A repository was forgotten; its remote data stays.
    RepositoryDropped {
        /// Its id.
        repository: u64,
    }

    /// Jobs that had ended and been released left the state, and events the log.
    HistoryArchived {
        /// Those that ended before this wall time left, ms since the epoch.
        ended_before_ms: u64,
        /// How many.
        jobs: u64,
        /// The lowest of their ids; zero where none left.
        first_job: u64,
        /// The highest of their ids.
        last_job: u64,
        /// The file that the events moved to, where a whole segment of the log could leave.
        archive: Option<String>,
        /// The last event that is in an archive now; zero where none is.
        archived_through: u64,
        /// Whether the engine did it by itself.
        automatic: bool,
    }

    /// A BACKUP was accepted: it is PENDING with one `Pin` task.
    BackupSubmitted {
        /// The job's id.
        job: u64,
        /// The id of its first task.
        first_task: u64,
        /// The database.
        database: String,
        /// The label.
        label: String,
        /// The repository's id.
        repository: u64,
        /// The repository's name.
        repository_name: String,
        /// Tables and partitions.
        objects: Vec<ObjectV1>,
        /// The snapshot's timestamp.
        timestamp: String,
        /// The same moment, ms since the epoch.
        timestamp_ms: u64,
        /// The timeout in seconds.
        timeout_seconds: u64,
        /// Monotonic time, ms.
        mono_ms: u64,
    }

    /// A RESTORE was accepted: it is PENDING with one `PrepareMeta` task.
    RestoreSubmitted {
        /// The job's id.
        job: u64,
        /// The id of its first task.
        first_task: u64,
        /// The target database.
        database: String,
        /// The database that the snapshot must hold.
        source_database: Option<String>,
        /// The label.
        label: String,
        /// The repository's id.
        repository: u64,
        /// The repository's name.
        repository_name: String,
        /// The backup timestamp.
        timestamp: String,
        /// 0 = all, 1 = only `objects`, 2 = all but `objects`.
        selection: u8,
        /// Tables and partitions of the selection.
        objects: Vec<ObjectV1>,
        /// Whether loads into untouched partitions go on.
        allow_load: bool,
        /// 0 = automatic, 1 = `replication_num`, 2 = as in the snapshot.
        replication: u8,
        /// The count, where `replication` is 1.
        replication_num: u32,
        /// `clean_tables`.
        clean_tables: bool,
        /// `clean_partitions`.
        clean_partitions: bool,
        /// What existed at acceptance, where one of the above is set.
        existed: Vec<ObjectV1>,
        /// The timeout in seconds.
        timeout_seconds: u64,
        /// Monotonic time, ms.
        mono_ms: u64,
    }

    /// A task was dispatched.
    TaskStarted {
        /// The job.
        job: u64,
        /// The task.
        task: u64,
        /// Which attempt, from 1.
        attempt: u32,
        /// Monotonic time, ms.
        mono_ms: u64,
    }

    /// A task ended well.
    TaskFinished {
        /// The job.
        job: u64,
        /// The task.
        task: u64,
        /// The attempt that ended.
        attempt: u32,
        /// Bytes that crossed the broker.
        bytes: u64,
        /// Objects written or read.
        objects: u64,
        /// Bytes that did not need to move.
        reused_bytes: u64,
        /// Monotonic time, ms.
        mono_ms: u64,
    }

    /// A task failed and will be tried again.
    TaskFailed {
        /// The job.
        job: u64,
        /// The task.
        task: u64,
        /// The attempt that failed.
        attempt: u32,
        /// Failed attempts so far, this one counted.
        failures: u32,
        /// The backend whose replica was at fault, if one was.
        excluded: Option<u64>,
        /// The words.
        message: String,
        /// How long to wait before the next attempt, ms.
        backoff_ms: u64,
        /// Monotonic time, ms.
        mono_ms: u64,
    }

    /// A worker was asked to let go and did not in time: what it still does counts for nothing.
    WorkerFenced {
        /// The job.
        job: u64,
        /// The task.
        task: u64,
        /// The attempt that is fenced.
        attempt: u32,
    }

    /// A worker let go because its job is ending.
    TaskStopped {
        /// The job.
        job: u64,
        /// The task.
        task: u64,
        /// The attempt that ended.
        attempt: u32,
    }

    /// The consistent point of a backup is durable.
    BackupPinned {
        /// The job.
        job: u64,
        /// The plan of the local snapshots.
        plan: [u8; 32],
        /// Its tasks.
        lanes: Vec<LaneV1>,
        /// Tablets.
        tablets: u64,
        /// Data files.
        files: u64,
        /// Bytes, one replica counted.
        bytes: u64,
    }

    /// The pin was lost: the backup takes a new point for all its tables.
    PinLost {
        /// The job.
        job: u64,
        /// What was found.
        message: String,
        /// The id of the new `Pin` task.
        first_task: u64,
        /// Monotonic time, ms.
        mono_ms: u64,
    }

    /// What must be sent is known.
    UploadPlanned {
        /// The job.
        job: u64,
        /// The plan of the upload.
        plan: [u8; 32],
        /// Its tasks.
        lanes: Vec<LaneV1>,
        /// Bytes to send.
        new_bytes: u64,
        /// Objects to send.
        new_objects: u64,
        /// Bytes that the repository already holds.
        reused_bytes: u64,
    }

    /// Manifest parts and marker are made and kept.
    BackupMetaSaved {
        /// The job.
        job: u64,
        /// The parts and the marker.
        plan: [u8; 32],
        /// The marker's name.
        marker: String,
        /// The root manifest's hash.
        root: [u8; 32],
    }

    /// The marker is about to be put: from here on the backup is neither cancelled nor timed out.
    BackupCommitStarted {
        /// The job.
        job: u64,
        /// The marker's name.
        marker: String,
        /// The root manifest's hash.
        root: [u8; 32],
    }

    /// The targets of a restore are made and marked.
    RestoreMetaPrepared {
        /// The job.
        job: u64,
        /// The plan of the staging.
        plan: [u8; 32],
        /// Its tasks.
        lanes: Vec<LaneV1>,
        /// What is restored.
        objects: Vec<ObjectV1>,
        /// What the commit drops.
        drops: Vec<ObjectV1>,
        /// The replica count, where one holds for all.
        replication_num: Option<u32>,
        /// A note for the Status column.
        note: Option<String>,
        /// Target tablets.
        tablets: u64,
        /// Data files that they will hold, one replica counted.
        files: u64,
    }

    /// What must be fetched is known.
    DownloadPlanned {
        /// The job.
        job: u64,
        /// The plan of the download.
        plan: [u8; 32],
        /// Its tasks.
        lanes: Vec<LaneV1>,
        /// Bytes that the targets must get, all replicas counted.
        bytes: u64,
    }

    /// The staging is sealed and the swap list durable: the point of no return of a restore.
    RestoreCommitStarted {
        /// The job.
        job: u64,
    }

    /// A job is to end without success: no task of it starts any more.
    JobStopping {
        /// The job.
        job: u64,
        /// The Status code.
        #[serde(serialize_with = "code_name")]
        code: u8,
        /// The words of the Status column.
        message: String,
        /// Monotonic time, ms.
        mono_ms: u64,
    }

    /// All workers of an ending job have let go, or a job has finished: cleaning up begins.
    CleanupStarted {
        /// The job.
        job: u64,
        /// The work's number.
        #[serde(serialize_with = "work_name")]
        work: u8,
        /// The id of its task.
        first_task: u64,
    }

    /// A backup is done: every object is durable and the marker is ours.
    BackupFinished {
        /// The job.
        job: u64,
        /// The root manifest's hash.
        root: [u8; 32],
    }

    /// A restore is done: all targets were swapped in one step.
    RestoreFinished {
        /// The job.
        job: u64,
    }

    /// A job is cancelled: every worker has let go and the node's own data is as it was.
    JobCancelled {
        /// The job.
        job: u64,
    }

    /// Nothing of the job is left outside the journal.
    JobReleased {
        /// The job.
        job: u64,
        /// What could not be removed, in words; empty where all was.
        leftovers: String,
    }
}

/// A job entered a state, or the next piece of work in it.
#[derive(Clone, Debug, PartialEq, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
pub struct StateEntered {
    /// The job.
    pub job: u64,
    /// The state's number ([`crate::BackupState`] or [`crate::RestoreState`]).
    pub state: u8,
    /// The work's number ([`crate::Work`]).
    pub work: u8,
    /// The id of its first task.
    pub first_task: u64,
    /// The tasks.
    pub lanes: Vec<LaneV1>,
    /// The plan of the work.
    pub plan: Option<[u8; 32]>,
}

/// State and work by their names, so that a dump reads without a table. A backup and a restore number their states
/// alike; the work tells which of both the job is.
impl serde::Serialize for StateEntered {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(serde::Serialize)]
        struct Shown<'a> {
            job: u64,
            state: Name,
            #[serde(serialize_with = "work_name")]
            work: u8,
            first_task: u64,
            lanes: &'a [LaneV1],
            plan: Option<[u8; 32]>,
        }
        #[derive(serde::Serialize)]
        #[serde(untagged)]
        enum Name {
            Known(&'static str),
            Unknown(u8),
        }
        let kind = Work::from_number(self.work).map(Work::kind);
        let name = kind.and_then(|kind| state_name(kind, self.state));
        let shown = Shown {
            job: self.job,
            state: name.map_or(Name::Unknown(self.state), Name::Known),
            work: self.work,
            first_task: self.first_task,
            lanes: &self.lanes,
            plan: self.plan,
        };
        shown.serialize(serializer)
    }
}

/// A work by its name, so that a dump reads without a table.
fn work_name<S: serde::Serializer>(number: &u8, serializer: S) -> Result<S::Ok, S::Error> {
    match Work::from_number(*number) {
        Some(work) => serializer.collect_str(&format_args!("{work:?}")),
        None => serializer.serialize_u8(*number),
    }
}

/// A Status code by its name.
fn code_name<S: serde::Serializer>(number: &u8, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(crate::order::StatusCode::from_number(*number).name())
}

events! {
    /// What happens to the engine, its repositories and its jobs.
    pub enum Event: family 0x4846_454e {
        /// An opening.
        1 => EngineStarted(EngineStarted),
        /// A repository made known.
        10 => RepositoryCreated(RepositoryCreated),
        /// A repository forgotten.
        11 => RepositoryDropped(RepositoryDropped),
        /// Finished jobs archived.
        12 => HistoryArchived(HistoryArchived),
        /// A backup accepted.
        20 => BackupSubmitted(BackupSubmitted) in |e| StreamId(e.job),
        /// A restore accepted.
        21 => RestoreSubmitted(RestoreSubmitted) in |e| StreamId(e.job),
        /// A state entered.
        30 => StateEntered(StateEntered) in |e| StreamId(e.job),
        /// A task dispatched.
        31 => TaskStarted(TaskStarted) in |e| StreamId(e.job),
        /// A task done.
        32 => TaskFinished(TaskFinished) in |e| StreamId(e.job),
        /// A task failed.
        33 => TaskFailed(TaskFailed) in |e| StreamId(e.job),
        /// A worker fenced.
        34 => WorkerFenced(WorkerFenced) in |e| StreamId(e.job),
        /// A worker stopped.
        35 => TaskStopped(TaskStopped) in |e| StreamId(e.job),
        /// A point pinned.
        40 => BackupPinned(BackupPinned) in |e| StreamId(e.job),
        /// A point lost.
        41 => PinLost(PinLost) in |e| StreamId(e.job),
        /// An upload planned.
        42 => UploadPlanned(UploadPlanned) in |e| StreamId(e.job),
        /// A manifest made.
        43 => BackupMetaSaved(BackupMetaSaved) in |e| StreamId(e.job),
        /// A backup past cancel.
        44 => BackupCommitStarted(BackupCommitStarted) in |e| StreamId(e.job),
        /// Targets made.
        50 => RestoreMetaPrepared(RestoreMetaPrepared) in |e| StreamId(e.job),
        /// A download planned.
        51 => DownloadPlanned(DownloadPlanned) in |e| StreamId(e.job),
        /// A restore past cancel.
        52 => RestoreCommitStarted(RestoreCommitStarted) in |e| StreamId(e.job),
        /// A job ending.
        60 => JobStopping(JobStopping) in |e| StreamId(e.job),
        /// Cleaning up.
        61 => CleanupStarted(CleanupStarted) in |e| StreamId(e.job),
        /// A backup done.
        62 => BackupFinished(BackupFinished) in |e| StreamId(e.job),
        /// A restore done.
        63 => RestoreFinished(RestoreFinished) in |e| StreamId(e.job),
        /// A job cancelled.
        64 => JobCancelled(JobCancelled) in |e| StreamId(e.job),
        /// A job released.
        65 => JobReleased(JobReleased) in |e| StreamId(e.job),
    }
}

#[cfg(test)]
mod tests;
