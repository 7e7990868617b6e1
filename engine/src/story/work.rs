//! One piece of work while it goes on: which of its tasks run, wait and are done, and what its time goes into.

use std::collections::BTreeMap;

use super::model::PlanFigures;
use super::model::{
    BackendStory, Moment, SLOWEST, SlowTask, TROUBLES, TimeSpent, TroubleStory, WorkStory,
};
use super::records::Tasks;
use crate::event::{Event, LaneV1, TaskFailed, TaskFinished};
use crate::order::Work;

/// A task that runs.
#[derive(Clone, Copy, Debug)]
struct Run {
    since_ms: u64,
    /// When its first attempt began.
    first_ms: u64,
}

/// A piece of work that has not ended.
#[derive(Clone, Debug)]
pub(super) struct Going {
    pub(super) story: WorkStory,
    /// No task starts any more, the job is ending.
    pub(super) stopping: bool,
    tasks: Tasks,
    running: BTreeMap<u64, Run>,
    /// Tasks that were tried: when they first began, and since when they are ready again.
    tried: BTreeMap<u64, (u64, u64)>,
    /// Tried tasks whose next attempt is due later.
    waiting: BTreeMap<u64, u64>,
    failures: BTreeMap<u64, u32>,
}

impl Going {
    pub(super) fn new(
        work: Option<Work>,
        state: &'static str,
        (first, lanes): (u64, &[LaneV1]),
        entered: Moment,
    ) -> Self {
        let mut backends: BTreeMap<Option<u64>, u64> = BTreeMap::new();
        for lane in lanes {
            *backends.entry(lane.backend).or_default() += u64::from(lane.tasks);
        }
        if lanes.is_empty() {
            backends.insert(None, 1);
        }
        let backends: Vec<BackendStory> = backends
            .into_iter()
            .map(|(backend, tasks)| BackendStory {
                backend,
                tasks,
                ..BackendStory::default()
            })
            .collect();
        Self {
            story: WorkStory {
                work,
                state,
                entered,
                left: None,
                duration_ms: 0,
                tasks: backends.iter().map(|b| b.tasks).sum(),
                done: 0,
                running: 0,
                waiting: 0,
                attempts: 0,
                failures: 0,
                interrupted: 0,
                fenced: 0,
                most_running: 0,
                time: TimeSpent::default(),
                busy_ms: 0,
                backoff_ms: 0,
                longest_wait_ms: 0,
                waited_behind: Default::default(),
                bytes: 0,
                objects: 0,
                reused_bytes: 0,
                backends,
                slowest: Vec::new(),
                troubles: Vec::new(),
                troubled: 0,
            },
            stopping: false,
            tasks: Tasks::new(work, first, lanes),
            running: BTreeMap::new(),
            tried: BTreeMap::new(),
            waiting: BTreeMap::new(),
            failures: BTreeMap::new(),
        }
    }

    pub(super) fn is_cleanup(&self) -> bool {
        self.story.work.is_some_and(Work::is_cleanup)
    }

    /// The story up to its end.
    pub(super) fn left(self, at: Moment) -> WorkStory {
        WorkStory {
            left: Some(at),
            ..self.so_far(at)
        }
    }

    /// The story up to a moment at which the work goes on.
    pub(super) fn so_far(self, at: Moment) -> WorkStory {
        let mut story = self.story;
        story.running = self.running.len() as u64;
        let later = self.waiting.values().filter(|wake| **wake > at.since_ms);
        story.waiting = later.count() as u64;
        story.duration_ms = at.since_ms.saturating_sub(story.entered.since_ms);
        story
    }

    pub(super) fn backend(&self, task: u64) -> Option<u64> {
        self.tasks.backend(task).map(|backend| backend.0)
    }

    /// Time went by in which nothing of the job was recorded.
    pub(super) fn pass<I: Iterator<Item = u64>>(
        &mut self,
        (from_ms, to_ms): (u64, u64),
        closed: bool,
        others: impl Fn() -> I,
    ) {
        let span = to_ms.saturating_sub(from_ms);
        if span == 0 {
            return;
        }
        let time = &mut self.story.time;
        if closed {
            time.closed_ms = time.closed_ms.saturating_add(span);
        } else if !self.running.is_empty() {
            match self.stopping {
                true => time.letting_go_ms = time.letting_go_ms.saturating_add(span),
                false => time.working_ms = time.working_ms.saturating_add(span),
            }
        } else if !self.stopping {
            let open = self.story.tasks.saturating_sub(self.story.done);
            let all_wait = open > 0 && self.waiting.len() as u64 == open;
            let wake = self.waiting.values().min().copied().filter(|_| all_wait);
            let backoff = wake.map_or(0, |wake| wake.clamp(from_ms, to_ms) - from_ms);
            time.backoff_ms = time.backoff_ms.saturating_add(backoff);
            if open > 0 && backoff < span {
                time.queued_ms = time.queued_ms.saturating_add(span - backoff);
                self.story.waited_behind.extend(others());
            }
        }
    }

    pub(super) fn started(&mut self, task: u64, _attempt: u32, at: Moment) {
        let now = at.since_ms;
        let (first_ms, ready_ms) = match self.tried.remove(&task) {
            Some((first, ready)) => (first, ready),
            None => (now, self.story.entered.since_ms),
        };
        let ready_ms = self.waiting.remove(&task).map_or(ready_ms, |wake| wake);
        let waited = now.saturating_sub(ready_ms);
        self.story.longest_wait_ms = self.story.longest_wait_ms.max(waited);
        self.story.attempts += 1;
        self.running.insert(
            task,
            Run {
                since_ms: now,
                first_ms,
            },
        );
        let running = self.running.len() as u64;
        self.story.most_running = self.story.most_running.max(running);
    }

    /// Takes a task from the running ones, its time counted.
    fn end(&mut self, task: u64, now_ms: u64) -> Option<(Run, u64)> {
        let run = self.running.remove(&task)?;
        let took = now_ms.saturating_sub(run.since_ms);
        self.story.busy_ms = self.story.busy_ms.saturating_add(took);
        if let Some(part) = self.part(task) {
            part.busy_ms = part.busy_ms.saturating_add(took);
        }
        Some((run, took))
    }

    fn part(&mut self, task: u64) -> Option<&mut BackendStory> {
        let backend = self.backend(task);
        self.story
            .backends
            .iter_mut()
            .find(|part| part.backend == backend)
    }

    pub(super) fn finished(&mut self, e: &TaskFinished, at: Moment) {
        let Some((run, _)) = self.end(e.task, at.since_ms) else {
            return;
        };
        self.story.done += 1;
        self.story.bytes = self.story.bytes.saturating_add(e.bytes);
        self.story.objects = self.story.objects.saturating_add(e.objects);
        self.story.reused_bytes = self.story.reused_bytes.saturating_add(e.reused_bytes);
        if let Some(part) = self.part(e.task) {
            part.done += 1;
            part.bytes = part.bytes.saturating_add(e.bytes);
        }
        if self.failures.remove(&e.task).is_some() {
            let told = self.story.troubles.iter_mut().find(|t| t.task == e.task);
            if let Some(trouble) = told {
                trouble.recovered = true;
            }
        }
        let slow = SlowTask {
            task: e.task,
            backend: self.backend(e.task),
            duration_ms: at.since_ms.saturating_sub(run.first_ms),
            attempts: e.attempt,
            bytes: e.bytes,
            reused_bytes: e.reused_bytes,
        };
        let slowest = &mut self.story.slowest;
        let place = slowest.partition_point(|other| other.duration_ms >= slow.duration_ms);
        slowest.insert(place, slow);
        slowest.truncate(SLOWEST);
    }

    pub(super) fn failed(&mut self, e: &TaskFailed, at: Moment) {
        let Some((run, _)) = self.end(e.task, at.since_ms) else {
            return;
        };
        let wake_ms = at.since_ms.saturating_add(e.backoff_ms);
        self.tried.insert(e.task, (run.first_ms, wake_ms));
        self.waiting.insert(e.task, wake_ms);
        self.story.failures += 1;
        self.story.backoff_ms = self.story.backoff_ms.saturating_add(e.backoff_ms);
        if let Some(part) = self.part(e.task) {
            part.failures += 1;
        }
        if self.failures.insert(e.task, e.failures).is_none() {
            self.story.troubled += 1;
        }
        let backend = self.backend(e.task);
        let troubles = &mut self.story.troubles;
        let known = troubles.iter().position(|t| t.task == e.task);
        let place = known.unwrap_or(troubles.len());
        if place >= TROUBLES {
            return;
        }
        if known.is_none() {
            troubles.push(TroubleStory {
                task: e.task,
                backend,
                failures: 0,
                backoff_ms: 0,
                excluded: Vec::new(),
                message: String::new(),
                recovered: false,
            });
        }
        let trouble = &mut troubles[place];
        trouble.failures = e.failures;
        trouble.backoff_ms = e.backoff_ms;
        trouble.message.clone_from(&e.message);
        trouble.excluded.extend(e.excluded);
        trouble.excluded.sort_unstable();
        trouble.excluded.dedup();
    }

    /// The attempt ended without a result; the task is ready again.
    pub(super) fn let_go(&mut self, task: u64, at: Moment) {
        if let Some((run, _)) = self.end(task, at.since_ms) {
            self.tried.insert(task, (run.first_ms, at.since_ms));
        }
    }

    /// The engine was opened anew: what ran is ready again, what waited waits no longer. Gives how many ran.
    pub(super) fn interrupt(&mut self, at: Moment) -> u64 {
        let cut_off = self.running.len() as u64;
        self.story.interrupted = self.story.interrupted.saturating_add(cut_off);
        for (task, run) in std::mem::take(&mut self.running) {
            self.tried.insert(task, (run.first_ms, at.since_ms));
        }
        for task in std::mem::take(&mut self.waiting).into_keys() {
            if let Some((_, ready_ms)) = self.tried.get_mut(&task) {
                *ready_ms = at.since_ms;
            }
        }
        cut_off
    }
}

impl PlanFigures {
    /// Takes in what an event says of the plans.
    pub(super) fn take(&mut self, event: &Event) {
        match event {
            Event::BackupPinned(e) => {
                self.tablets = e.tablets;
                self.files = e.files;
                self.bytes = Some(e.bytes);
            }
            Event::UploadPlanned(e) => {
                self.new_bytes = Some(e.new_bytes);
                self.new_objects = e.new_objects;
                self.reused_bytes = e.reused_bytes;
            }
            Event::RestoreMetaPrepared(e) => {
                self.tablets = e.tablets;
                self.files = e.files;
                self.note.clone_from(&e.note);
                self.drops = e.drops.len() as u64;
            }
            Event::DownloadPlanned(e) => self.bytes = Some(e.bytes),
            _ => {}
        }
    }
}
