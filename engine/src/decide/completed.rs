//! What the end of a worker means: what was learned, or what follows from a failure. The one policy for failures.

use holdfast_storage::BackendId;

use super::stopping;
use crate::convert;
use crate::event::{self, Event};
use crate::ids::{JobId, TaskId};
use crate::order::{Completion, Failure, FailureClass, Output, StatusCode};
use crate::seams::Now;
use crate::state::{Job, Phase, State};

/// A task is tried this often before its job fails.
pub(crate) const MAX_FAILURES: u32 = 8;
/// The wait after the first failure; doubles with each.
const BACKOFF_FIRST_MS: u64 = 100;
/// Bytes of a failure's words that an event keeps: some remotes answer with whole pages.
const MESSAGE_BYTES: usize = 2_000;
/// The longest wait between attempts.
const BACKOFF_CAP_MS: u64 = 30_000;

/// What a worker's end means; nothing, where the worker is stale.
pub(super) fn completed(state: &State, completion: &Completion, now: Now) -> Vec<Event> {
    let Some(job) = state
        .jobs
        .get(&completion.job)
        .filter(|_| completion.epoch == state.epoch)
    else {
        return Vec::new();
    };
    let Some(phase) = job.current() else {
        return Vec::new();
    };
    let Some(index) = phase.index_of(completion.task.0) else {
        return Vec::new();
    };
    if phase.running.get(&index).map(|r| r.attempt) != Some(completion.attempt) {
        return Vec::new();
    }
    match &completion.outcome {
        Ok(output) => succeeded(job, completion, output, now),
        Err(failure) => failed(state, job, phase, (index, completion), failure, now),
    }
}

fn succeeded(job: &Job, completion: &Completion, output: &Output, now: Now) -> Vec<Event> {
    let (bytes, objects, reused_bytes) = match output {
        Output::Moved {
            bytes,
            objects,
            reused_bytes,
        } => (*bytes, *objects, *reused_bytes),
        _ => (0, 0, 0),
    };
    // What was learned comes first: a history that ends between the two runs the task again.
    let known = (job.cleanup.is_none() && job.stop.is_none()).then(|| learned(job, output, now));
    let mut events: Vec<Event> = known.flatten().into_iter().collect();
    events.push(
        event::TaskFinished {
            job: job.id.0,
            task: completion.task.0,
            attempt: completion.attempt,
            bytes,
            objects,
            reused_bytes,
            mono_ms: now.mono_ms,
        }
        .into(),
    );
    events
}

/// The event that carries what a coordinator's task found out.
fn learned(job: &Job, output: &Output, now: Now) -> Option<Event> {
    let id = job.id.0;
    Some(match output {
        Output::Pinned {
            plan,
            lanes,
            tablets,
            files,
            bytes,
        } => event::BackupPinned {
            job: id,
            plan: plan.0,
            lanes: convert::lanes_out(lanes),
            tablets: *tablets,
            files: *files,
            bytes: *bytes,
        }
        .into(),
        Output::UploadPlanned {
            plan,
            lanes,
            new_bytes,
            new_objects,
            reused_bytes,
        } => event::UploadPlanned {
            job: id,
            plan: plan.0,
            lanes: convert::lanes_out(lanes),
            new_bytes: *new_bytes,
            new_objects: *new_objects,
            reused_bytes: *reused_bytes,
        }
        .into(),
        Output::MetaSaved { plan, marker, root } => event::BackupMetaSaved {
            job: id,
            plan: plan.0,
            marker: marker.clone(),
            root: *root,
        }
        .into(),
        Output::MarkerLost { message } => {
            stopping(job, StatusCode::CommonError, message.clone(), now)
        }
        Output::MetaPrepared { .. } => return targets_made(id, output),
        Output::DownloadPlanned { plan, lanes, bytes } => event::DownloadPlanned {
            job: id,
            plan: plan.0,
            lanes: convert::lanes_out(lanes),
            bytes: *bytes,
        }
        .into(),
        Output::Done | Output::InfoUploaded | Output::MarkerDurable | Output::Moved { .. } => {
            return None;
        }
    })
}

/// The event of a restore whose targets are made.
fn targets_made(job: u64, output: &Output) -> Option<Event> {
    let Output::MetaPrepared {
        plan,
        lanes,
        objects,
        drops,
        replication_num,
        note,
        tablets,
        files,
    } = output
    else {
        return None;
    };
    let made = event::RestoreMetaPrepared {
        job,
        plan: plan.0,
        lanes: convert::lanes_out(lanes),
        objects: convert::objects_out(objects),
        drops: convert::objects_out(drops),
        replication_num: *replication_num,
        note: note.clone(),
        tablets: *tablets,
        files: *files,
    };
    Some(made.into())
}

/// The one policy for failures.
fn failed(
    state: &State,
    job: &Job,
    phase: &Phase,
    (index, completion): (u32, &Completion),
    failure: &Failure,
    now: Now,
) -> Vec<Event> {
    let failures = phase.trouble.get(&index).map_or(0, |t| t.failures) + 1;
    let words = clipped(&failure.message);
    let ending = job.stop.is_some() && job.cleanup.is_none();
    let stopped = || {
        Event::from(event::TaskStopped {
            job: job.id.0,
            task: completion.task.0,
            attempt: completion.attempt,
        })
    };
    if ending {
        return vec![stopped()];
    }
    if failure.class == FailureClass::PinLost && job.cleanup.is_none() && !job.committed {
        let lost = event::PinLost {
            job: job.id.0,
            message: words,
            first_task: state.next_id,
            mono_ms: now.mono_ms,
        };
        return vec![lost.into()];
    }
    // After a commit event, and while cleaning up, giving up is no answer: the task goes on at the cap.
    let bounded = !job.committed && job.cleanup.is_none();
    if bounded && let FailureClass::Fatal(code) = failure.class {
        return vec![stopped(), stopping(job, code, words, now)];
    }
    if bounded && failures >= MAX_FAILURES {
        let message = format!(
            "task {} failed {failures} times, last: {words}",
            completion.task
        );
        return vec![
            stopped(),
            stopping(job, StatusCode::CommonError, message, now),
        ];
    }
    let (excluded, wait_ms) = match failure.class {
        FailureClass::Replica(BackendId(backend)) => (Some(backend), 0),
        FailureClass::RetryAfter(ms) => (None, u64::from(ms)),
        _ => (None, 0),
    };
    let backoff_ms = backoff_ms(job.id, completion.task, failures).max(wait_ms);
    vec![
        event::TaskFailed {
            job: job.id.0,
            task: completion.task.0,
            attempt: completion.attempt,
            failures,
            excluded,
            message: words,
            backoff_ms,
            mono_ms: now.mono_ms,
        }
        .into(),
    ]
}

/// The beginning of a long text, the whole of a short one.
fn clipped(text: &str) -> String {
    match text.len() > MESSAGE_BYTES {
        true => format!("{} …", &text[..text.floor_char_boundary(MESSAGE_BYTES)]),
        false => text.to_owned(),
    }
}

/// 100 ms doubled with each failure up to 30 s, less up to a quarter: the jitter is a hash, so that a replay of the
/// same inputs decides the same.
fn backoff_ms(job: JobId, task: TaskId, failures: u32) -> u64 {
    let doubled = BACKOFF_FIRST_MS.saturating_mul(1 << failures.saturating_sub(1).min(20));
    let full = doubled.min(BACKOFF_CAP_MS);
    let mut hasher = blake3::Hasher::new();
    hasher.update(&job.0.to_le_bytes());
    hasher.update(&task.0.to_le_bytes());
    hasher.update(&failures.to_le_bytes());
    let byte = u64::from(hasher.finalize().as_bytes()[0]);
    full - full * byte / 1024
}
