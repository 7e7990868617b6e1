//! The last work of a backup: nothing of the job stays but the snapshot, or nothing at all.

use std::time::Duration;

use holdfast_repository::{ObjectKey, Repository, Writer};

use super::records::open_upload;
use crate::ids::JobId;
use crate::order::{Failure, FailureClass, Output};
use crate::work::Task;

/// How long the remote part of a discard may take at first: a cancel must not wait for a remote that
/// hangs.
const FIRST_TIME: Duration = Duration::from_secs(3);
/// How long the remote part of a cleanup may take once nobody waits for it: enough for very many
/// objects on a slow remote.
const LONG_TIME: Duration = Duration::from_secs(60);

/// After the end: local snapshots, pin and intent go.
pub(crate) fn release(task: &Task<'_>) -> Result<Output, Failure> {
    task.env.storage.release(task.order.op())?;
    within(task, LONG_TIME, |task| {
        let (repository, writer) = super::repository(task)?;
        repository.end(task.context, &writer)?;
        end_stale(task, &repository, &writer)
    })
}

/// Takes a cancelled backup back: what is local first, then what only this job uploaded, its label and its intent.
pub(crate) fn discard(task: &Task<'_>) -> Result<Output, Failure> {
    task.env.storage.release(task.order.op())?;
    let time = match task.order.attempt {
        0 | 1 => FIRST_TIME,
        _ => LONG_TIME,
    };
    within(task, time, discard_remote)
}

/// Does the remote part of a cleanup, with a deadline.
fn within(
    task: &Task<'_>,
    time: Duration,
    remote: impl Fn(&Task<'_>) -> Result<(), Failure>,
) -> Result<Output, Failure> {
    let context = task.context.clone().with_timeout(time);
    let task = Task {
        context: &context,
        ..*task
    };
    remote(&task).map_err(|failure| match failure.class {
        // Nobody asked this worker to let go: the time was over.
        FailureClass::Stopped if !context.cancel_token().is_cancelled() => {
            Failure::new(FailureClass::Retry, failure.message)
        }
        _ => failure,
    })?;
    Ok(Output::Done)
}

fn discard_remote(task: &Task<'_>) -> Result<(), Failure> {
    let (repository, writer) = super::repository(task)?;
    // One that was left behind would keep everything.
    end_stale(task, &repository, &writer)?;
    let written = written(task)?;
    let label = &super::spec(task)?.label;
    let done = repository.discard(task.context, &writer, label, &written)?;
    log::info!(
        "job {}: of {} planned objects {} are kept for others",
        task.order.job,
        written.len(),
        done.kept
    );
    Ok(())
}

/// Intents that ended jobs of this cluster have left go.
fn end_stale(task: &Task<'_>, repository: &Repository, writer: &Writer) -> Result<(), Failure> {
    let ended = |job: u64| task.env.repositories.has_ended(JobId(job));
    let gone = repository.end_stale(task.context, writer, &ended)?;
    if gone > 0 {
        log::info!(
            "job {}: {gone} intents of ended jobs are gone",
            task.order.job
        );
    }
    Ok(())
}

/// The objects that the job may have put: none before they were planned, and none where an earlier run of this work came
/// so far that the plans went, too.
fn written(task: &Task<'_>) -> Result<Vec<ObjectKey>, Failure> {
    let Some(hash) = task.order.plan else {
        return Ok(Vec::new());
    };
    if task.env.blobs.len(task.order.job, hash)?.is_none() {
        return Ok(Vec::new());
    }
    let plan = open_upload(task)?;
    plan.list(plan.head.written)
}
