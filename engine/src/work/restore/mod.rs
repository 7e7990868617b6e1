//! The works of a restore.

use crate::order::{Failure, FailureClass, Output, StatusCode};
use crate::work::Task;

fn unsupported(task: &Task<'_>) -> Result<Output, Failure> {
    Err(Failure {
        class: FailureClass::Fatal(StatusCode::Unsupported),
        message: format!("work {:?} is not supported", task.order.work),
    })
}

pub(crate) fn prepare_meta(task: &Task<'_>) -> Result<Output, Failure> {
    unsupported(task)
}

pub(crate) fn stage(task: &Task<'_>) -> Result<Output, Failure> {
    unsupported(task)
}

pub(crate) fn plan_download(task: &Task<'_>) -> Result<Output, Failure> {
    unsupported(task)
}

pub(crate) fn download(task: &Task<'_>) -> Result<Output, Failure> {
    unsupported(task)
}

pub(crate) fn prepare(task: &Task<'_>) -> Result<Output, Failure> {
    unsupported(task)
}

pub(crate) fn commit(task: &Task<'_>) -> Result<Output, Failure> {
    unsupported(task)
}

pub(crate) fn forget(task: &Task<'_>) -> Result<Output, Failure> {
    unsupported(task)
}

pub(crate) fn abort(task: &Task<'_>) -> Result<Output, Failure> {
    unsupported(task)
}
