//! What the state makes due now, and when to look again. Pure; looks only at jobs that still work, at the first
//! ready task of each lane, and never at a task that needs nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::decide::{self, Input, LET_GO_MS};
use crate::ids::JobId;
use crate::order::Work;
use crate::seams::Now;
use crate::state::phase::Running;
use crate::state::{Job, Phase, State};

/// How many tasks may run at once; 0 counts as 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credits {
    /// Fanned-out tasks over all backends.
    pub workers: u32,
    /// Fanned-out tasks of one backend.
    pub per_backend: u32,
    /// Tasks of the coordinator.
    pub coordinators: u32,
}

impl Credits {
    /// With at least one of each: with none, no job would ever move.
    pub(crate) fn at_least_one(self) -> Self {
        Self {
            workers: self.workers.max(1),
            per_backend: self.per_backend.max(1),
            coordinators: self.coordinators.max(1),
        }
    }
}

impl Default for Credits {
    fn default() -> Self {
        Self {
            workers: 4,
            per_backend: 4,
            coordinators: 4,
        }
    }
}

/// What is taken of the credits: by workers that run, stale ones included, since they hold their threads.
#[derive(Clone, Debug, Default)]
pub(crate) struct InFlight {
    pub(crate) workers: u32,
    pub(crate) coordinators: u32,
}

/// The inputs that are due now, at most as many starts as there are credits. Moves and fences come first; starts
/// are only looked for when no job can move.
pub(crate) fn due(state: &State, credits: Credits, in_flight: &InFlight, now: Now) -> Vec<Input> {
    let mut inputs = Vec::new();
    for job in working(state) {
        if decide::advance(state, job, now).is_some() {
            inputs.push(Input::Advance(job.id));
        } else {
            inputs.extend(late(job, now));
        }
    }
    if inputs.is_empty() {
        starts(state, credits, in_flight, now)
    } else {
        inputs
    }
}

fn working(state: &State) -> impl Iterator<Item = &Job> {
    state.working.iter().filter_map(|id| state.jobs.get(id))
}

/// Workers that did not let go in time: of a stopping job, and of a cleanup that hangs on its remote.
fn late(job: &Job, now: Now) -> Vec<Input> {
    let Some(phase) = job.current().filter(|phase| !phase.running.is_empty()) else {
        return Vec::new();
    };
    phase
        .running
        .iter()
        .filter(|(_, run)| late_at(job, phase, run).is_some_and(|at| at <= now.mono_ms))
        .map(|(index, _)| Input::Fence {
            job: job.id,
            index: *index,
        })
        .collect()
}

/// When a worker is fenced, if it is to be fenced at all.
fn late_at(job: &Job, phase: &Phase, run: &Running) -> Option<u64> {
    let asked = job.stop.as_ref().map(|stop| stop.since_mono_ms);
    let limit_ms = match phase.work.is_cleanup() {
        true => decide::cleanup_limit_ms(phase.work, run.attempt)?,
        false => asked.map(|_| LET_GO_MS)?,
    };
    let since = run.since_mono_ms.max(asked.unwrap_or(0));
    Some(since.saturating_add(limit_ms))
}

/// Ready tasks, one per job and lane in turn until the credits are used, so that no job starves another.
fn starts(state: &State, credits: Credits, in_flight: &InFlight, now: Now) -> Vec<Input> {
    let mut workers = credits.workers.saturating_sub(in_flight.workers);
    let mut coordinators = credits.coordinators.saturating_sub(in_flight.coordinators);
    let mut backends = decide::running_by_backend(state);
    let mut taken: BTreeMap<JobId, BTreeSet<u32>> = BTreeMap::new();
    let mut inputs = Vec::new();
    loop {
        let before = inputs.len();
        for job in working(state).filter(|job| job.starts_tasks()) {
            let Some(phase) = job.current() else { continue };
            let pool = if phase.work.is_fanned_out() {
                &mut workers
            } else {
                &mut coordinators
            };
            let taken = taken.entry(job.id).or_default();
            for span in &phase.spans {
                let busy = span.backend.map(|b| backends.entry(b).or_insert(0));
                if *pool == 0 || busy.as_ref().is_some_and(|n| **n >= credits.per_backend) {
                    continue;
                }
                let Some(index) = phase.first_ready(*span, taken, now.mono_ms) else {
                    continue;
                };
                taken.insert(index);
                *pool -= 1;
                if let Some(count) = busy {
                    *count += 1;
                }
                inputs.push(Input::Dispatch { job: job.id, index });
            }
        }
        if inputs.len() == before {
            return inputs;
        }
    }
}

/// The next monotonic time after `now` at which something becomes due by itself. What is due already and did not
/// start waits for a credit, and a completion wakes the dispatcher for that.
pub(crate) fn next_wake(state: &State, now: Now) -> Option<u64> {
    working(state)
        .filter_map(|job| job_wake(job, now.mono_ms))
        .min()
}

fn job_wake(job: &Job, now_mono_ms: u64) -> Option<u64> {
    let phase = job.current();
    let waiting = phase
        .filter(|_| job.starts_tasks())
        .and_then(|phase| phase.next_wake_after(now_mono_ms));
    let asked = job.stop.as_ref().map(|stop| stop.since_mono_ms);
    let late = phase.and_then(|phase| {
        let running = phase.running.values();
        running.filter_map(|run| late_at(job, phase, run)).min()
    });
    let discard = asked
        .filter(|_| job.ending.is_none() && phase.is_some_and(|p| p.work == Work::Discard))
        .map(|since| since.saturating_add(decide::DISCARD_MS));
    [job.deadline_mono_ms(), waiting, late, discard]
        .into_iter()
        .flatten()
        .filter(|wake| *wake > now_mono_ms)
        .min()
}
