//! What workers do for one task. Each function here is idempotent: it may run again after a crash, in another
//! attempt, or beside a stale worker that has not let go yet. Nothing here reads or writes the engine's state or
//! journal; all that a task learns goes back in its [`Output`], all that it suffers in its [`Failure`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_broker::Context;
use holdfast_repository::Repository;
use holdfast_storage::Storage;

use crate::ids::{JobId, RepositoryId};
use crate::order::{Failure, Output, TaskOrder, Work};
use crate::seams::Blobs;
use pool::Pool;

/// Sizes that plans are cut by.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Tablets in one `Link` or `Stage` task.
    pub tablets_per_task: usize,
    /// Bytes in one `Upload` or `Download` task (a task always has at least one object or file).
    pub bytes_per_task: u64,
    /// Files in one `Download` task at most.
    pub files_per_task: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            tablets_per_task: 256,
            bytes_per_task: 256 * 1024 * 1024,
            files_per_task: 10_000,
        }
    }
}

/// What every task may use.
pub(crate) struct WorkEnv {
    /// The database node's tables.
    pub(crate) storage: Arc<dyn Storage>,
    /// Plans and lists.
    pub(crate) blobs: Arc<dyn Blobs>,
    /// Opened repositories.
    pub(crate) repositories: Arc<dyn Repositories>,
    /// The pool for hashing and packing.
    pub(crate) pool: Arc<Pool>,
    /// Sizes that plans are cut by.
    pub(crate) limits: Limits,
    /// The threads that the pieces of tasks share.
    pub(crate) movers: parallel::Movers,
}

/// Gives workers their repository.
pub(crate) trait Repositories: Send + Sync {
    /// The opened repository, connected at first use.
    ///
    /// # Errors
    /// The failure to give back where it is gone or cannot be reached.
    fn get(&self, context: &Context, id: RepositoryId) -> Result<Repository, Failure>;

    /// Whether a job of this cluster has ended (its label claim may be taken over).
    fn has_ended(&self, job: JobId) -> bool;
}

/// What one running task reports while it runs; read by SHOW without any lock.
#[derive(Debug, Default)]
pub(crate) struct ProgressCell {
    done: AtomicU64,
    total: AtomicU64,
    bytes: AtomicU64,
}

impl ProgressCell {
    /// Sets how many files the task has.
    pub(crate) fn set_total(&self, files: u64) {
        self.total.store(files, Ordering::Relaxed);
    }

    /// Adds finished files and the bytes that moved for them.
    pub(crate) fn add(&self, files: u64, bytes: u64) {
        self.done.fetch_add(files, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Takes back the finished files, which are counted again; what moved for them has moved.
    pub(crate) fn forget_files(&self) {
        self.done.store(0, Ordering::Relaxed);
    }

    /// Files done, files in all, bytes moved.
    pub(crate) fn read(&self) -> (u64, u64, u64) {
        (
            self.done.load(Ordering::Relaxed),
            self.total.load(Ordering::Relaxed),
            self.bytes.load(Ordering::Relaxed),
        )
    }
}

/// One run of one task.
pub(crate) struct Task<'a> {
    /// What every task may use.
    pub(crate) env: &'a WorkEnv,
    /// The order.
    pub(crate) order: &'a TaskOrder,
    /// Cancel and deadline; checked between pieces and given to every broker call.
    pub(crate) context: &'a Context,
    /// Where progress goes.
    pub(crate) progress: &'a ProgressCell,
}

mod backup;
pub(crate) mod failure;
#[cfg(test)]
pub(crate) mod fixture;
mod hashes;
pub(crate) mod parallel;
pub(crate) mod pool;
mod restore;

/// Runs one task to its end. Once a job's last work is done its blobs go too.
pub(crate) fn run(task: &Task<'_>) -> Result<Output, Failure> {
    let _share = task
        .order
        .work
        .is_fanned_out()
        .then(|| task.env.movers.enter());
    let output = dispatch(task)?;
    if task.order.work.is_cleanup() {
        task.env.blobs.remove(task.order.job)?;
    }
    Ok(output)
}

fn dispatch(task: &Task<'_>) -> Result<Output, Failure> {
    match task.order.work {
        Work::Pin => backup::pin(task),
        Work::Link => backup::link(task),
        Work::PlanUpload => backup::plan_upload(task),
        Work::Upload => backup::upload(task),
        Work::SaveMeta => backup::save_meta(task),
        Work::UploadInfo => backup::upload_info(task),
        Work::PutMarker => backup::put_marker(task),
        Work::Release => backup::release(task),
        Work::Discard => backup::discard(task),
        Work::PrepareMeta => restore::prepare_meta(task),
        Work::Stage => restore::stage(task),
        Work::PlanDownload => restore::plan_download(task),
        Work::Download => restore::download(task),
        Work::Prepare => restore::prepare(task),
        Work::Commit => restore::commit(task),
        Work::Forget => restore::forget(task),
        Work::Abort => restore::abort(task),
    }
}
