//! SHOW BACKUP (14 columns of StarRocks, then ours) and SHOW RESTORE (18, then ours).
//!
//! Ours are: Repository; Timestamp (the snapshot's, backup only); Tablets and Files of the job;
//! DataSize, its bytes; UploadedBytes or DownloadedBytes, what crossed the broker; ReusedBytes,
//! what did not need to; Objects, remote files written or read; Tasks, `done/total` of the present
//! state; ElapsedSeconds; Root, the hash of the root manifest (backup only). Sizes are plain
//! numbers of bytes.

use std::sync::Arc;

use holdfast_engine::{BackupView, JobCommon, JobId, JobView, RestoreView, TaskProgress};
use holdfast_storage::AllowLoad;

use crate::statement::Width;

use super::{Clock, ResultTable, text};

const BACKUP: [&str; 25] = [
    "JobId",
    "SnapshotName",
    "DbName",
    "State",
    "BackupObjs",
    "CreateTime",
    "SnapshotFinishedTime",
    "UploadFinishedTime",
    "FinishedTime",
    "UnfinishedTasks",
    "Progress",
    "TaskErrMsg",
    "Status",
    "Timeout",
    "Repository",
    "Timestamp",
    "Tablets",
    "Files",
    "DataSize",
    "UploadedBytes",
    "ReusedBytes",
    "Objects",
    "Tasks",
    "ElapsedSeconds",
    "Root",
];

const RESTORE: [&str; 27] = [
    "JobId",
    "Label",
    "Timestamp",
    "DbName",
    "State",
    "AllowLoad",
    "ReplicationNum",
    "RestoreObjs",
    "CreateTime",
    "MetaPreparedTime",
    "SnapshotFinishedTime",
    "DownloadFinishedTime",
    "FinishedTime",
    "UnfinishedTasks",
    "Progress",
    "TaskErrMsg",
    "Status",
    "Timeout",
    "Repository",
    "Tablets",
    "Files",
    "DataSize",
    "DownloadedBytes",
    "ReusedBytes",
    "Objects",
    "Tasks",
    "ElapsedSeconds",
];

/// What `SHOW BRIEF RESTORE` leaves out.
const NOT_BRIEF: [&str; 3] = ["RestoreObjs", "Progress", "TaskErrMsg"];

/// The backups among `jobs`, in their order. `progress` gives what the running tasks of a job
/// reported last.
pub fn backups(
    jobs: &[Arc<JobView>],
    progress: &dyn Fn(JobId) -> Vec<TaskProgress>,
    clock: Clock<'_>,
) -> ResultTable {
    let mut table = ResultTable::new(&BACKUP);
    for job in jobs {
        if let JobView::Backup(view) = job.as_ref() {
            table
                .rows
                .push(backup_row(view, &progress(view.common.job), clock));
        }
    }
    table
}

/// The restores among `jobs`, in their order, without the long columns for `SHOW BRIEF RESTORE`.
pub fn restores(
    jobs: &[Arc<JobView>],
    progress: &dyn Fn(JobId) -> Vec<TaskProgress>,
    width: Width,
    clock: Clock<'_>,
) -> ResultTable {
    let mut table = ResultTable::new(&RESTORE);
    for job in jobs {
        if let JobView::Restore(view) = job.as_ref() {
            table
                .rows
                .push(restore_row(view, &progress(view.common.job), clock));
        }
    }
    match width {
        Width::Full => table,
        Width::Brief => table.without(&NOT_BRIEF),
    }
}

type Row = Vec<Option<String>>;

fn backup_row(view: &BackupView, progress: &[TaskProgress], clock: Clock<'_>) -> Row {
    let job = &view.common;
    let mut row = vec![
        Some(job.job.to_string()),
        Some(job.label.clone()),
        Some(job.database.clone()),
        Some(view.state.name().to_owned()),
        Some(text::backup_objects(&job.database, &job.objects)),
        Some(clock.time(job.created_ms)),
        clock.maybe(job.snapshot_finished_ms),
        clock.maybe(job.transfer_finished_ms),
        clock.maybe(job.finished_ms),
    ];
    row.extend(work_columns(job, progress));
    row.extend([Some(job.repository.clone()), Some(view.timestamp.clone())]);
    row.extend(figures(job));
    row.push(view.root.clone());
    row
}

fn restore_row(view: &RestoreView, progress: &[TaskProgress], clock: Clock<'_>) -> Row {
    let job = &view.common;
    let allow = match view.allow_load {
        AllowLoad::No => "false",
        AllowLoad::UntouchedPartitions => "true",
    };
    let mut row = vec![
        Some(job.job.to_string()),
        Some(job.label.clone()),
        Some(view.timestamp.clone()),
        Some(job.database.clone()),
        Some(view.state.name().to_owned()),
        Some(allow.to_owned()),
        view.replication_num.map(|count| count.to_string()),
        Some(text::restore_objects(&job.objects, &view.drops)),
        Some(clock.time(job.created_ms)),
        clock.maybe(view.meta_prepared_ms),
        clock.maybe(job.snapshot_finished_ms),
        clock.maybe(job.transfer_finished_ms),
        clock.maybe(job.finished_ms),
    ];
    row.extend(work_columns(job, progress));
    row.push(Some(job.repository.clone()));
    row.extend(figures(job));
    row
}

/// UnfinishedTasks, Progress, TaskErrMsg, Status, Timeout.
fn work_columns(job: &JobCommon, progress: &[TaskProgress]) -> [Option<String>; 5] {
    [
        Some(text::unfinished(&job.unfinished)),
        Some(text::progress(progress)),
        Some(text::errors(&job.errors)),
        Some(text::status(&job.status)),
        Some(job.timeout_seconds.to_string()),
    ]
}

/// Tablets, Files, DataSize, moved bytes, ReusedBytes, Objects, Tasks, ElapsedSeconds.
///
/// The time is the engine's own, as of the job's last event: a wall clock may be set while it runs.
fn figures(job: &JobCommon) -> [Option<String>; 8] {
    [
        Some(job.tablets.to_string()),
        Some(job.files.to_string()),
        Some(job.total_bytes.to_string()),
        Some(job.moved_bytes.to_string()),
        Some(job.reused_bytes.to_string()),
        Some(job.moved_objects.to_string()),
        Some(format!("{}/{}", job.tasks_done, job.tasks_total)),
        Some(text::seconds(job.elapsed_ms)),
    ]
}
