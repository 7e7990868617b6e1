//! The works of a backup.

use crate::order::{Failure, FailureClass, Output, StatusCode};
use crate::work::Task;

fn unsupported(task: &Task<'_>) -> Result<Output, Failure> {
    Err(Failure {
        class: FailureClass::Fatal(StatusCode::Unsupported),
        message: format!("work {:?} is not supported", task.order.work),
    })
}

pub(crate) fn pin(task: &Task<'_>) -> Result<Output, Failure> {
    unsupported(task)
}

pub(crate) fn link(task: &Task<'_>) -> Result<Output, Failure> {
    unsupported(task)
}

pub(crate) fn plan_upload(task: &Task<'_>) -> Result<Output, Failure> {
    unsupported(task)
}

pub(crate) fn upload(task: &Task<'_>) -> Result<Output, Failure> {
    unsupported(task)
}

pub(crate) fn save_meta(task: &Task<'_>) -> Result<Output, Failure> {
    unsupported(task)
}

pub(crate) fn upload_info(task: &Task<'_>) -> Result<Output, Failure> {
    unsupported(task)
}

pub(crate) fn put_marker(task: &Task<'_>) -> Result<Output, Failure> {
    unsupported(task)
}

pub(crate) fn release(task: &Task<'_>) -> Result<Output, Failure> {
    unsupported(task)
}

pub(crate) fn discard(task: &Task<'_>) -> Result<Output, Failure> {
    unsupported(task)
}

