//! One turn of the engine: inputs in, events made durable, views published, answers and effects out. No thread, no
//! wait and no clock of its own: the dispatcher turns it in life, a simulation turns it on a seed.
//!
//! Order within a turn: decide and apply each input on the state that already holds the ones before it; then what is
//! due; then one append for all; only after its sync are views published, callers answered, effects started.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam::channel::{Receiver, Sender};
use holdfast_journal::{ErrorKind, Journal, Seq};
use holdfast_storage::BackendId;

use crate::checkpoint::{Checkpoints, Writing};
use crate::decide::{Input, decide};
use crate::due::{Credits, InFlight, due, next_wake};
use crate::event::Event;
use crate::ids::{JobId, RepositoryId, TaskId};
use crate::opening::{Opened, replayed};
use crate::order::TaskOrder;
use crate::published::Published;
use crate::refusal::{Refusal, RefusalCode};
use crate::registry::Registry;
use crate::retention::{Archiving, Archivist, Retention};
use crate::seams::{Executor, Now};
use crate::state::State;

/// What a command is answered with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Job(JobId),
    Repository(RepositoryId),
    Archived(Archiving),
    Done,
}

/// An input, and who waits for its answer.
pub(crate) struct Asked {
    pub(crate) input: Input,
    pub(crate) reply: Reply,
}

impl Asked {
    pub(crate) fn silent(input: Input) -> Self {
        Self { input, reply: None }
    }
}

type Reply = Option<Sender<Result<Answer, Refusal>>>;
type Answering = (Reply, Result<Answer, Refusal>);

/// Whether the events of a turn are in the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Recorded {
    /// All of them, up to this one.
    Yes(Seq),
    /// There were none, or what became of them is not known.
    Nothing,
    NoSpace,
}

type TaskKey = (JobId, u64, u32);

/// Sizes of a core, and how it keeps checkpoints.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) credits: Credits,
    /// Events between two checkpoints; 0 = none are kept.
    pub(crate) checkpoint_events: u64,
    pub(crate) checkpoints: Writing,
}

/// The engine without its thread.
pub(crate) struct Core {
    state: State,
    journal: Arc<dyn Journal<Event>>,
    executor: Arc<dyn Executor>,
    registry: Arc<Registry>,
    published: Arc<Published>,
    credits: Credits,
    /// Workers that hold a thread, stale ones included; true = fanned out.
    running: BTreeMap<TaskKey, bool>,
    /// Inputs that a full disk put off.
    put_off: Vec<Input>,
    /// When it was said last that the disk is full, by the monotonic clock, until it has room again.
    full_said_ms: Option<u64>,
    poisoned: Option<String>,
    checkpoints: Checkpoints,
    archivist: Archivist,
}

/// How often a log line says that the journal's disk is still full.
const FULL_SAID_EVERY_MS: u64 = 60_000;

/// What happened in a turn.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Turned {
    pub(crate) events: usize,
    /// Whether inputs wait for space on the disk.
    pub(crate) put_off: bool,
}

impl Core {
    pub(crate) fn new(
        opened: Opened,
        journal: Arc<dyn Journal<Event>>,
        executor: Arc<dyn Executor>,
        (registry, published): (Arc<Registry>, Arc<Published>),
        settings: Settings,
    ) -> Self {
        let places = (opened.kept, opened.at);
        Self {
            state: opened.state,
            checkpoints: Checkpoints::new(
                Arc::clone(&journal),
                (settings.checkpoint_events, settings.checkpoints),
                places,
            ),
            archivist: Archivist::new(Arc::clone(&journal), settings.checkpoints),
            journal,
            executor,
            registry,
            published,
            credits: settings.credits,
            running: BTreeMap::new(),
            put_off: Vec::new(),
            full_said_ms: None,
            poisoned: None,
        }
    }

    /// Archives finished jobs by itself, as `retention` says.
    pub(crate) fn keeping(mut self, retention: Retention) -> Self {
        self.archivist.keep(retention);
        self
    }

    /// Rings where a turn is due because work beside the core has ended.
    pub(crate) fn bell(&self) -> Receiver<()> {
        self.archivist.bell()
    }

    pub(crate) fn state(&self) -> &State {
        &self.state
    }

    /// The next monotonic time after `now` at which a turn is due without any input.
    pub(crate) fn next_wake(&self, now: Now) -> Option<u64> {
        let wakes = [next_wake(&self.state, now), self.archivist.next_wake(now)];
        wakes.into_iter().flatten().min()
    }

    /// After the last turn: keeps a checkpoint, so that the next opening replays nothing.
    pub(crate) fn close(mut self) {
        self.archivist.close();
        if self.poisoned.is_none() {
            self.checkpoints.close(&self.state);
        }
    }

    /// One turn.
    pub(crate) fn turn(&mut self, asked: Vec<Asked>, now: Now) -> Turned {
        if let Some(why) = self.poisoned.clone() {
            for ask in asked {
                answer(ask.reply, Err(unavailable(&why)));
            }
            return Turned::default();
        }
        let put_off = std::mem::take(&mut self.put_off)
            .into_iter()
            .map(Asked::silent);
        let ended = self.archivist.ended();
        let asked: Vec<Asked> = put_off.chain(ended).chain(asked).collect();
        let mut events = Vec::new();
        let mut answers = Vec::new();
        let mut durable_inputs = Vec::new();
        for ask in asked {
            if let Input::Archive(request) = ask.input {
                self.archivist.ask(request, ask, now);
                continue;
            }
            self.returned(&ask.input);
            let decided = decide(&self.state, &ask.input, now)
                .and_then(|new| self.take(now, new, &mut events));
            if ask.reply.is_some() {
                answers.push((ask.reply, decided));
            } else {
                durable_inputs.push(ask.input);
            }
        }
        self.take_due(now, &mut events);
        let recorded = self.append(&events, now, durable_inputs);
        let turned = self.conclude(events, answers, recorded);
        if self.poisoned.is_none() && !turned.put_off {
            let at = self.checkpoints.at();
            self.archivist.begin(&self.state, at, now);
        }
        turned
    }

    /// A worker has ended: its thread is free, whatever its end means.
    fn returned(&mut self, input: &Input) {
        if let Input::Completion(c) = input {
            self.running.remove(&(c.job, c.task.0, c.attempt));
        }
    }

    /// Applies decided events; the answer is what they made.
    fn take(&mut self, now: Now, new: Vec<Event>, all: &mut Vec<Event>) -> Result<Answer, Refusal> {
        let mut answer = Answer::Done;
        for event in new {
            if let Err(illegal) = self.state.apply(now.wall_ms, &event) {
                log::error!("the engine decided what it may not: {illegal}");
                self.poisoned = Some(format!("internal error: {illegal}"));
                return Err(unavailable(&illegal.message));
            }
            answer = match &event {
                Event::BackupSubmitted(e) => Answer::Job(JobId(e.job)),
                Event::RestoreSubmitted(e) => Answer::Job(JobId(e.job)),
                Event::JobStopping(e) => Answer::Job(JobId(e.job)),
                Event::HistoryArchived(e) => Answer::Archived(self.archivist.archiving(e)),
                Event::RepositoryCreated(e) => Answer::Repository(RepositoryId(e.repository)),
                _ => answer,
            };
            all.push(event);
        }
        Ok(answer)
    }

    /// Moves every job as far as it goes by itself, then starts what there are credits for.
    fn take_due(&mut self, now: Now, all: &mut Vec<Event>) {
        while self.poisoned.is_none() {
            let fanned = self.running.values().filter(|fanned| **fanned).count();
            let in_flight = InFlight {
                workers: u32::try_from(fanned).unwrap_or(u32::MAX),
                coordinators: u32::try_from(self.running.len() - fanned).unwrap_or(u32::MAX),
            };
            let inputs = due(&self.state, self.credits, &in_flight, now);
            if inputs.is_empty() {
                return;
            }
            let before = all.len();
            for input in inputs {
                let events = decide(&self.state, &input, now).unwrap_or_default();
                let first = all.len();
                if self.take(now, events, all).is_err() {
                    return;
                }
                for event in &all[first..] {
                    note_running(&self.state, &mut self.running, event);
                }
            }
            if all.len() == before {
                return;
            }
        }
    }

    fn append(&mut self, events: &[Event], now: Now, inputs: Vec<Input>) -> Recorded {
        if events.is_empty() || self.poisoned.is_some() {
            return Recorded::Nothing;
        }
        let urgent = events.iter().any(is_urgent);
        let appended = if urgent {
            self.journal.append_urgent(events, now.wall_ms)
        } else {
            self.journal.append(events, now.wall_ms)
        };
        match appended {
            Ok(appended) => {
                if self.full_said_ms.take().is_some() {
                    log::info!("the journal's disk has room again");
                }
                Recorded::Yes(appended.last)
            }
            Err(e) if e.kind() == ErrorKind::Full => {
                self.say_full(events.len(), &e.to_string(), now);
                self.go_back(events, inputs);
                Recorded::NoSpace
            }
            Err(e) => {
                log::error!("the journal failed, the engine stops: {e}");
                self.poisoned = Some(format!("outcome unknown, reopen: {e}"));
                Recorded::Nothing
            }
        }
    }

    /// A full disk is tried again and again, and said once in a while.
    fn say_full(&mut self, events: usize, why: &str, now: Now) {
        let said = self.full_said_ms;
        if said.is_none_or(|at| now.mono_ms.saturating_sub(at) >= FULL_SAID_EVERY_MS) {
            log::warn!("the journal's disk is full, {events} events wait: {why}");
            self.full_said_ms = Some(now.mono_ms);
        }
    }

    /// Nothing of the turn is in the journal: the state becomes again what the journal says, and what workers told is
    /// kept for a later turn. Commands are refused, so that nobody waits on a full disk.
    fn go_back(&mut self, events: &[Event], inputs: Vec<Input>) {
        match replayed(self.journal.as_ref()) {
            Ok(opened) => self.state = opened.state,
            Err(e) => {
                self.poisoned = Some(format!("the journal cannot be read: {e}"));
                return;
            }
        }
        self.state.changed = self.state.jobs.keys().copied().collect();
        for event in events {
            if let Event::TaskStarted(e) = event {
                self.running.remove(&(JobId(e.job), e.task, e.attempt));
            }
        }
        self.put_off = inputs
            .into_iter()
            .filter(|input| matches!(input, Input::Completion(_)))
            .collect();
        self.poisoned = None;
        self.registry.update(self.state.repositories.values());
    }

    /// Publishes, answers and starts effects, in that order.
    fn conclude(
        &mut self,
        events: Vec<Event>,
        answers: Vec<Answering>,
        recorded: Recorded,
    ) -> Turned {
        let put_off = recorded == Recorded::NoSpace;
        if let Some(why) = &self.poisoned {
            self.published.stop(why);
        } else {
            if self.state.repositories_changed {
                self.registry.update(self.state.repositories.values());
            }
            self.published.publish(&mut self.state);
        }
        for (reply, decided) in answers {
            let decided = match (&self.poisoned, put_off) {
                (Some(why), _) => Err(unavailable(why)),
                (None, true) => decided.and_then(|_| Err(full())),
                (None, false) => decided,
            };
            answer(reply, decided);
        }
        if self.poisoned.is_some() || put_off {
            return Turned { events: 0, put_off };
        }
        let count = events.len();
        for event in events {
            self.effect(&event);
        }
        if let Recorded::Yes(at) = recorded {
            self.checkpoints.advanced(&self.state, at);
        }
        Turned {
            events: count,
            put_off,
        }
    }

    fn effect(&mut self, event: &Event) {
        match event {
            Event::TaskStarted(e) => {
                if let Some(order) = self.order(JobId(e.job), e.task, e.attempt) {
                    self.executor.start(order);
                }
            }
            Event::JobStopping(e) => self.executor.stop(JobId(e.job)),
            // What works on the old point works for nothing.
            Event::PinLost(e) => self.executor.stop(JobId(e.job)),
            Event::WorkerFenced(e) => {
                self.running.remove(&(JobId(e.job), e.task, e.attempt));
                self.executor
                    .abandon(JobId(e.job), TaskId(e.task), e.attempt);
            }
            _ => {}
        }
    }

    /// The order for one start of one task, as plain data.
    fn order(&self, id: JobId, task: u64, attempt: u32) -> Option<TaskOrder> {
        let job = self.state.jobs.get(&id)?;
        let phase = job.current()?;
        let index = phase.index_of(task)?;
        let excluded = phase
            .trouble
            .get(&index)
            .map(|t| t.excluded.as_slice())
            .unwrap_or_default();
        Some(TaskOrder {
            job: id,
            task: phase.task(index),
            attempt,
            epoch: self.state.epoch,
            work: phase.work,
            index,
            backend: phase.backend_of(index).map(BackendId),
            excluded: excluded.iter().copied().map(BackendId).collect(),
            plan: job.plan_for(phase.work),
            job_spec: job.spec.clone(),
        })
    }
}

fn note_running(state: &State, running: &mut BTreeMap<TaskKey, bool>, event: &Event) {
    if let Event::TaskStarted(e) = event {
        let fanned = state
            .jobs
            .get(&JobId(e.job))
            .and_then(|job| job.current())
            .is_some_and(|phase| phase.work.is_fanned_out());
        running.insert((JobId(e.job), e.task, e.attempt), fanned);
    }
}

/// Events that a full disk must still take.
fn is_urgent(event: &Event) -> bool {
    matches!(
        event,
        Event::JobStopping(_)
            | Event::TaskStopped(_)
            | Event::CleanupStarted(_)
            | Event::JobCancelled(_)
            | Event::BackupFinished(_)
            | Event::RestoreFinished(_)
            | Event::JobReleased(_)
    )
}

fn answer(reply: Reply, decided: Result<Answer, Refusal>) {
    if let Some(reply) = reply {
        // The caller may have gone; then nobody needs the answer.
        let _ = reply.send(decided);
    }
}

fn unavailable(why: &str) -> Refusal {
    Refusal::new(
        RefusalCode::Unavailable,
        format!("the engine takes no more statements: {why}"),
    )
}

fn full() -> Refusal {
    Refusal::new(
        RefusalCode::Full,
        "no space is left for the journal; nothing was recorded, free some space and try again",
    )
}

#[cfg(test)]
mod tests;
