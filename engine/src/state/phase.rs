//! The tasks of one piece of work: which are ready, running, waiting for their next attempt, or done. Only
//! `apply` changes a phase; everyone else asks it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::ids::{BlobHash, TaskId};
use crate::order::{Lane, Work};
use crate::state::ranges::RangeSet;

/// Tasks `start..end` (numbers within the phase) belong to `backend`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span {
    pub(crate) backend: Option<u64>,
    pub(crate) start: u32,
    pub(crate) end: u32,
}

/// A dispatched task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Running {
    pub(crate) attempt: u32,
    pub(crate) since_mono_ms: u64,
}

/// What is remembered of a task that did not end at its first attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Trouble {
    /// The attempts started so far.
    pub(crate) attempts: u32,
    /// Those that failed.
    pub(crate) failures: u32,
    /// The words of the last failure; empty where it was only interrupted.
    pub(crate) message: String,
    /// Backends whose replicas were at fault.
    pub(crate) excluded: Vec<u64>,
}

/// One piece of work and its tasks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Phase {
    pub(crate) work: Work,
    pub(crate) first: u64,
    pub(crate) plan: Option<BlobHash>,
    pub(crate) total: u32,
    pub(crate) spans: Vec<Span>,
    pub(crate) running: BTreeMap<u32, Running>,
    pub(crate) trouble: BTreeMap<u32, Trouble>,
    ready: RangeSet,
    unfinished: RangeSet,
    /// (monotonic ms, task)
    waiting: BTreeSet<(u64, u32)>,
}

impl Phase {
    pub(crate) fn new(work: Work, first: u64, lanes: &[Lane], plan: Option<BlobHash>) -> Self {
        let mut spans = Vec::with_capacity(lanes.len());
        let mut total = 0_u32;
        for lane in lanes {
            let end = total.saturating_add(lane.tasks);
            spans.push(Span {
                backend: lane.backend.map(|b| b.0),
                start: total,
                end,
            });
            total = end;
        }
        Self {
            work,
            first,
            plan,
            total,
            spans,
            running: BTreeMap::new(),
            trouble: BTreeMap::new(),
            ready: RangeSet::span(0, total),
            unfinished: RangeSet::span(0, total),
            waiting: BTreeSet::new(),
        }
    }

    /// A phase of one task of the coordinator.
    pub(crate) fn single(work: Work, first: u64, plan: Option<BlobHash>) -> Self {
        Self::new(
            work,
            first,
            &[Lane {
                backend: None,
                tasks: 1,
            }],
            plan,
        )
    }

    pub(crate) fn is_complete(&self) -> bool {
        self.unfinished.is_empty()
    }

    pub(crate) fn done(&self) -> u32 {
        self.total - self.unfinished.len()
    }

    pub(crate) fn task(&self, index: u32) -> TaskId {
        TaskId(self.first + u64::from(index))
    }

    /// The number of `task` within this phase.
    pub(crate) fn index_of(&self, task: u64) -> Option<u32> {
        let index = u32::try_from(task.checked_sub(self.first)?).ok()?;
        (index < self.total).then_some(index)
    }

    pub(crate) fn backend_of(&self, index: u32) -> Option<u64> {
        self.spans
            .iter()
            .find(|s| s.start <= index && index < s.end)
            .and_then(|s| s.backend)
    }

    /// The attempt that a start of `index` would be.
    pub(crate) fn next_attempt(&self, index: u32) -> u32 {
        self.trouble.get(&index).map_or(0, |t| t.attempts) + 1
    }

    /// The first ready task of a span; waiting tasks count as ready once their time has come.
    pub(crate) fn first_ready(
        &self,
        span: Span,
        taken: &BTreeSet<u32>,
        mono_ms: u64,
    ) -> Option<u32> {
        let mut start = span.start;
        while let Some(index) = self.ready.first_in(start, span.end) {
            if !taken.contains(&index) {
                return Some(index);
            }
            start = index + 1;
        }
        self.waiting
            .iter()
            .take_while(|(wake, _)| *wake <= mono_ms)
            .map(|(_, index)| *index)
            .find(|index| span.start <= *index && *index < span.end && !taken.contains(index))
    }

    pub(crate) fn may_start(&self, index: u32, mono_ms: u64) -> bool {
        self.ready.contains(index)
            || self
                .waiting
                .iter()
                .any(|(wake, i)| *i == index && *wake <= mono_ms)
    }

    /// When the first task that still waits at `mono_ms` becomes ready.
    pub(crate) fn next_wake_after(&self, mono_ms: u64) -> Option<u64> {
        self.waiting
            .range((mono_ms.saturating_add(1), 0)..)
            .next()
            .map(|(wake, _)| *wake)
    }

    /// Runs of unfinished tasks within one span.
    pub(crate) fn unfinished_in(&self, span: Span) -> Vec<(u32, u32)> {
        self.unfinished.runs_in(span.start, span.end)
    }

    /// Unfinished tasks that have failed, with what is remembered of them.
    pub(crate) fn failed(&self) -> impl Iterator<Item = (u32, &Trouble)> {
        self.trouble
            .iter()
            .filter(|(_, t)| t.failures > 0)
            .map(|(index, t)| (*index, t))
    }

    pub(super) fn start(&mut self, index: u32, attempt: u32, mono_ms: u64) -> Result<(), String> {
        let expected = self.next_attempt(index);
        if attempt != expected {
            return Err(format!(
                "attempt {attempt} started, expected attempt {expected}"
            ));
        }
        let waited = self.waiting.iter().find(|(_, i)| *i == index).copied();
        if let Some(entry) = waited {
            self.waiting.remove(&entry);
        } else if !self.ready.remove(index) {
            return Err("started although it is not ready".to_owned());
        }
        if attempt > 1
            && let Some(trouble) = self.trouble.get_mut(&index)
        {
            trouble.attempts = attempt;
        }
        self.running.insert(
            index,
            Running {
                attempt,
                since_mono_ms: mono_ms,
            },
        );
        Ok(())
    }

    fn take_running(&mut self, index: u32, attempt: u32) -> Result<(), String> {
        match self.running.get(&index) {
            Some(running) if running.attempt == attempt => {
                self.running.remove(&index);
                Ok(())
            }
            Some(running) => Err(format!(
                "attempt {attempt} ended, attempt {} is running",
                running.attempt
            )),
            None => Err(format!(
                "attempt {attempt} ended although it is not running"
            )),
        }
    }

    pub(super) fn finish(&mut self, index: u32, attempt: u32) -> Result<(), String> {
        self.take_running(index, attempt)?;
        self.trouble.remove(&index);
        self.unfinished.remove(index);
        Ok(())
    }

    /// The attempt failed; the task waits until `wake_mono_ms`.
    pub(super) fn fail(
        &mut self,
        index: u32,
        attempt: u32,
        trouble: Trouble,
        wake_mono_ms: u64,
    ) -> Result<(), String> {
        self.take_running(index, attempt)?;
        self.trouble.insert(index, trouble);
        self.waiting.insert((wake_mono_ms, index));
        Ok(())
    }

    /// The attempt let go, or is let go of; the task is ready again (its job decides whether it starts).
    pub(super) fn let_go(&mut self, index: u32, attempt: u32) -> Result<(), String> {
        self.take_running(index, attempt)?;
        self.trouble.entry(index).or_default().attempts = attempt;
        self.ready.insert(index);
        Ok(())
    }

    /// Whether what was read from outside is a phase that events could have made: every task that is unfinished is
    /// ready, running or waiting, and none is more than one of them.
    pub(super) fn is_sound(&self) -> bool {
        let mut end = 0;
        let spans = self.spans.iter().all(|span| {
            let follows = span.start == end && span.start <= span.end;
            end = span.end;
            follows
        });
        // Before anything is counted: what is no set may have no length.
        if !self.unfinished.is_sound(self.total) || !self.ready.is_sound(self.total) {
            return false;
        }
        let open = |index: &u32| self.unfinished.contains(*index) && !self.ready.contains(*index);
        let waiting: BTreeSet<u32> = self.waiting.iter().map(|(_, index)| *index).collect();
        let parts = self.ready.len() as usize + self.running.len() + waiting.len();
        spans
            && end == self.total
            && self.running.keys().all(open)
            && waiting.iter().all(open)
            && waiting.len() == self.waiting.len()
            && parts == self.unfinished.len() as usize
            && self.trouble.keys().all(|index| *index < self.total)
    }

    /// A new opening: what ran is ready again, what waited waits no longer.
    pub(super) fn interrupt(&mut self) {
        for (index, running) in std::mem::take(&mut self.running) {
            self.trouble.entry(index).or_default().attempts = running.attempt;
            self.ready.insert(index);
        }
        for (_, index) in std::mem::take(&mut self.waiting) {
            self.ready.insert(index);
        }
    }
}
