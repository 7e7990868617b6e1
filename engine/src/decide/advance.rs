//! The moves that a job makes by itself: the next state, the timeout, the cleanup and what follows it.

use super::completed::MAX_FAILURES;
use super::{DISCARD_MS, stopping};
use crate::convert;
use crate::event::{self, Event};
use crate::order::{StatusCode, Work};
use crate::seams::Now;
use crate::state::transitions::{self, Tasks};
use crate::state::{Ending, Job, Phase, State};

/// The next move that a job makes by itself, if it can make one now.
pub(crate) fn advance(state: &State, job: &Job, now: Now) -> Option<Vec<Event>> {
    if job.released {
        return None;
    }
    if let Some(cleanup) = &job.cleanup {
        return advance_cleanup(job, cleanup, now);
    }
    if job.ending == Some(Ending::Finished) {
        return Some(vec![begin_cleanup(
            state,
            job,
            transitions::tidy_of(job.stage),
        )]);
    }
    let phase = job.phase.as_ref()?;
    if job.stop.is_some() {
        let idle = phase.running.is_empty();
        return idle.then(|| vec![begin_cleanup(state, job, transitions::undo_of(job.stage))]);
    }
    if job
        .deadline_mono_ms()
        .is_some_and(|deadline| deadline <= now.mono_ms)
    {
        let message = format!(
            "job {} ({}) ran past its timeout of {} seconds in state {}",
            job.id,
            job.label(),
            job.timeout_ms() / 1000,
            job.state_name()
        );
        return Some(vec![stopping(job, StatusCode::Timeout, message, now)]);
    }
    if phase.is_complete() {
        enter_next(state, job, phase)
    } else {
        None
    }
}

fn begin_cleanup(state: &State, job: &Job, work: Work) -> Event {
    event::CleanupStarted {
        job: job.id.0,
        work: work as u8,
        first_task: state.next_id,
    }
    .into()
}

fn advance_cleanup(job: &Job, cleanup: &Phase, now: Now) -> Option<Vec<Event>> {
    let cancelled = || Event::from(event::JobCancelled { job: job.id.0 });
    let released = |leftovers: String| {
        Event::from(event::JobReleased {
            job: job.id.0,
            leftovers,
        })
    };
    if cleanup.is_complete() {
        let mut events = Vec::with_capacity(2);
        if job.ending.is_none() {
            events.push(cancelled());
        }
        events.push(released(String::new()));
        return Some(events);
    }
    // The node's own side of an abort must be done before CANCELLED. The remote side of a discarded backup need not:
    // a remote that is down must not hold the database's slot.
    if cleanup.work == Work::Discard && job.ending.is_none() {
        let failed = cleanup.trouble.get(&0).is_some_and(|t| t.failures > 0);
        let slow = job
            .stop
            .as_ref()
            .is_some_and(|stop| stop.since_mono_ms.saturating_add(DISCARD_MS) <= now.mono_ms);
        return (failed || slow).then(|| vec![cancelled()]);
    }
    let tried = cleanup
        .trouble
        .get(&0)
        .filter(|t| t.failures >= MAX_FAILURES);
    match tried {
        Some(trouble) if job.ending.is_some() && cleanup.running.is_empty() => {
            Some(vec![released(trouble.message.clone())])
        }
        _ => None,
    }
}

/// The last work of a job is done.
fn finished(job: &Job) -> Event {
    match &job.marker {
        Some((_, root)) => event::BackupFinished {
            job: job.id.0,
            root: *root,
        }
        .into(),
        None => event::RestoreFinished { job: job.id.0 }.into(),
    }
}

fn enter_next(state: &State, job: &Job, phase: &Phase) -> Option<Vec<Event>> {
    let Some(step) = transitions::after(job.stage, phase.work) else {
        return Some(vec![finished(job)]);
    };
    let (stage, work) = step.to;
    let one = || {
        vec![event::LaneV1 {
            backend: None,
            tasks: 1,
        }]
    };
    let (lanes, plan) = match step.tasks {
        Tasks::Planned => {
            let next = job.next.as_ref()?;
            (convert::lanes_out(&next.lanes), Some(next.plan.0))
        }
        Tasks::OneNewPlan => (one(), Some(job.next.as_ref()?.plan.0)),
        Tasks::OneSamePlan => (one(), phase.plan.map(|plan| plan.0)),
        Tasks::OneBare => (one(), None),
    };
    let mut events = Vec::with_capacity(2);
    if step.commits && !job.committed {
        events.push(match &job.marker {
            Some((marker, root)) => event::BackupCommitStarted {
                job: job.id.0,
                marker: marker.clone(),
                root: *root,
            }
            .into(),
            None => event::RestoreCommitStarted { job: job.id.0 }.into(),
        });
    }
    events.push(
        event::StateEntered {
            job: job.id.0,
            state: stage.number(),
            work: work as u8,
            first_task: state.next_id,
            lanes,
            plan,
        }
        .into(),
    );
    Some(events)
}
