//! The works of a restore, from the manifest to the swap. Each reads its record of the plan, calls
//! the storage and the repository, and gives back what it learned; nothing here decides what comes
//! next.
//!
//! A tablet's files belong to one task per backend, so that its staging place has one writer at a
//! time and a retried task never fences another that still runs.

mod download;
mod insist;
mod lists;
mod meta;
mod plan;
mod stage;
mod units;

#[cfg(test)]
mod tests;

use holdfast_storage::Token;

use crate::order::{Failure, JobSpec, Output, StatusCode, TaskOrder};
use crate::spec::RestoreJobSpec;
use crate::work::Task;

pub(crate) use download::download;
pub(crate) use meta::prepare_meta;
pub(crate) use plan::plan_download;
pub(crate) use stage::stage;

/// Tokens of downloads lie above all tokens of the stagings before them in the same epoch.
const DOWNLOAD_TOKENS: u32 = 1 << 24;

/// Seals the staging and proves it; from here on no writer gets in.
pub(crate) fn prepare(task: &Task<'_>) -> Result<Output, Failure> {
    done(task.env.storage.prepare(task.order.op()))
}

/// Swaps all targets. Needs neither repository nor plan: what was prepared is enough.
pub(crate) fn commit(task: &Task<'_>) -> Result<Output, Failure> {
    done(task.env.storage.commit(task.order.op()))
}

/// Frees what the swap replaced.
pub(crate) fn forget(task: &Task<'_>) -> Result<Output, Failure> {
    done(task.env.storage.forget(task.order.op()))
}

/// Takes back all that the restore made and marked.
pub(crate) fn abort(task: &Task<'_>) -> Result<Output, Failure> {
    done(task.env.storage.abort(task.order.op()))
}

fn done(result: Result<(), holdfast_storage::Error>) -> Result<Output, Failure> {
    result.map(|()| Output::Done).map_err(Failure::from)
}

fn spec<'a>(task: &Task<'a>) -> Result<&'a RestoreJobSpec, Failure> {
    match &task.order.job_spec {
        JobSpec::Restore(spec) => Ok(spec),
        JobSpec::Backup(_) => Err(Failure::fatal(
            StatusCode::CommonError,
            format!("job {} is a backup, expected a restore", task.order.job),
        )),
    }
}

fn stage_token(order: &TaskOrder) -> Token {
    Token {
        epoch: order.epoch.0,
        attempt: order.attempt.min(DOWNLOAD_TOKENS - 1),
    }
}

fn download_token(order: &TaskOrder) -> Token {
    Token {
        epoch: order.epoch.0,
        attempt: order.attempt.saturating_add(DOWNLOAD_TOKENS),
    }
}
