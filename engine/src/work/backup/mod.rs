//! The works of a backup, in the order in which a job does them. Each reads its record of the plan that the work before
//! it made, and can be done again at any moment.

mod cleanup;
mod commit;
mod cut;
mod listing;
mod pin;
mod plan_upload;
mod records;
mod save_meta;
mod sources;
mod upload;

pub(super) use cleanup::{discard, release};
pub(super) use commit::{put_marker, upload_info};
pub(super) use pin::{link, pin};
pub(super) use plan_upload::plan_upload;
pub(super) use save_meta::save_meta;
pub(super) use upload::upload;

use holdfast_repository::{Repository, Writer};

use crate::order::{Failure, JobSpec, StatusCode};
use crate::spec::BackupSpec;
use crate::work::Task;

/// What the job was asked for.
fn spec<'a>(task: &'a Task<'_>) -> Result<&'a BackupSpec, Failure> {
    match &task.order.job_spec {
        JobSpec::Backup(spec) => Ok(spec),
        JobSpec::Restore(_) => Err(broken(format!(
            "work {:?} was ordered for a restore",
            task.order.work
        ))),
    }
}

/// The job's repository and its name as a writer there.
fn repository(task: &Task<'_>) -> Result<(Repository, Writer), Failure> {
    let spec = spec(task)?;
    let writer = Writer::new(&spec.cluster, task.order.job.0)?;
    let repository = task.env.repositories.get(task.context, spec.repository)?;
    Ok((repository, writer))
}

/// A failure of the program itself: an order or a plan that contradicts itself.
fn broken(message: String) -> Failure {
    Failure::fatal(StatusCode::CommonError, message)
}

#[cfg(test)]
mod tests;
