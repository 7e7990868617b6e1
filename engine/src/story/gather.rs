//! Gathers the story of one job while records go by. What it keeps is bounded by the job's backends, its running and
//! its troubled tasks, not by its tasks.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_journal::{Error, Projection, Record, Seq};

use super::line::Line;
use super::model::{Moment, Restart, StopCause, Stopped, Story};
use super::records::state_name;
use super::work::Going;
use crate::event::{Event, LaneV1};
use crate::ids::JobId;
use crate::order::{StatusCode, Work};
use crate::spec::JobKind;
use crate::view::BackupState;

/// A projection that gathers the story of one job. It takes every record of a journal, or at least the openings and
/// what has to do with jobs, in order.
#[derive(Clone, Debug)]
pub struct Gather {
    job: u64,
    kind: JobKind,
    line: Line,
    epoch: u64,
    position: Seq,
    /// Where the job's acceptance lies on the line.
    accepted_ms: u64,
    story: Option<Story>,
    going: Option<Going>,
    /// The task that let go in the record before, and its backend.
    let_go: Option<(Seq, u64, Option<u64>)>,
    /// Running tasks of other jobs.
    others: BTreeMap<u64, BTreeSet<u64>>,
}

impl Gather {
    /// For the job with this id, before the first record.
    pub fn new(job: JobId) -> Self {
        Self {
            job: job.0,
            kind: JobKind::Backup,
            line: Line::default(),
            epoch: 0,
            position: Seq::ZERO,
            accepted_ms: 0,
            story: None,
            going: None,
            let_go: None,
            others: BTreeMap::new(),
        }
    }

    /// What was gathered; `None` where no record was the job's.
    pub fn story(mut self) -> Option<Story> {
        let going = self.going.take();
        let mut story = self.story?;
        if let Some(going) = going {
            story.works.push(going.so_far(story.known));
        }
        Some(story)
    }

    /// Takes in the next record.
    pub fn take(&mut self, record: &Record<Event>) {
        self.position = record.seq;
        let before_ms = self.line.now_ms();
        let now_ms = self.line.take(record);
        let opened = matches!(record.event, Event::EngineStarted(_));
        if let Event::EngineStarted(e) = &record.event {
            self.epoch = e.epoch;
        }
        if let Some(going) = &mut self.going {
            let since = |at: u64| at.saturating_sub(self.accepted_ms);
            let others = || self.others.keys().copied();
            going.pass((since(before_ms), since(now_ms)), opened, others);
        }
        let at = Moment {
            seq: record.seq.get(),
            at_ms: record.at_ms,
            since_ms: now_ms.saturating_sub(self.accepted_ms),
            epoch: self.epoch,
        };
        if let Some(story) = &mut self.story {
            story.known = at;
        }
        if opened {
            self.opened(at, now_ms.saturating_sub(before_ms));
        } else if record.stream.get() == self.job {
            self.own(&record.event, at, now_ms);
        } else {
            self.other(record.stream.get(), &record.event);
        }
    }

    fn opened(&mut self, at: Moment, silent_ms: u64) {
        self.others.clear();
        let interrupted = self.going.as_mut().map_or(0, |going| going.interrupt(at));
        if let Some(story) = self.story.as_mut().filter(|story| story.released.is_none()) {
            story.restarts.push(Restart {
                at,
                silent_ms,
                state: story.state,
                interrupted,
            });
        }
    }

    fn other(&mut self, job: u64, event: &Event) {
        match event {
            Event::TaskStarted(e) => {
                self.others.entry(job).or_default().insert(e.task);
            }
            Event::TaskFinished(e) => self.other_ended(job, e.task),
            Event::TaskFailed(e) => self.other_ended(job, e.task),
            Event::TaskStopped(e) => self.other_ended(job, e.task),
            Event::WorkerFenced(e) => self.other_ended(job, e.task),
            Event::PinLost(_) | Event::JobReleased(_) => {
                self.others.remove(&job);
            }
            _ => {}
        }
    }

    fn other_ended(&mut self, job: u64, task: u64) {
        if let Some(running) = self.others.get_mut(&job) {
            running.remove(&task);
            if running.is_empty() {
                self.others.remove(&job);
            }
        }
    }

    fn own(&mut self, event: &Event, at: Moment, now_ms: u64) {
        match event {
            Event::BackupSubmitted(e) => {
                self.kind = JobKind::Backup;
                let names = (&e.label, &e.database, &e.repository_name, &e.timestamp);
                self.accept(names, (e.objects.len(), e.timeout_seconds), at, now_ms);
                self.enter(Some(Work::Pin), (1, &[]), e.first_task);
            }
            Event::RestoreSubmitted(e) => {
                self.kind = JobKind::Restore;
                let names = (&e.label, &e.database, &e.repository_name, &e.timestamp);
                self.accept(names, (e.objects.len(), e.timeout_seconds), at, now_ms);
                self.enter(Some(Work::PrepareMeta), (1, &[]), e.first_task);
            }
            _ => self.later(event, at),
        }
    }

    fn accept(
        &mut self,
        (label, database, repository, timestamp): (&String, &String, &String, &String),
        (objects, timeout_seconds): (usize, u64),
        at: Moment,
        now_ms: u64,
    ) {
        self.accepted_ms = now_ms;
        let at = Moment { since_ms: 0, ..at };
        self.story = Some(Story {
            job: self.job,
            kind: match self.kind {
                JobKind::Backup => "BACKUP",
                JobKind::Restore => "RESTORE",
            },
            label: label.clone(),
            database: database.clone(),
            repository: repository.clone(),
            timestamp: timestamp.clone(),
            objects: objects as u64,
            timeout_seconds,
            state: "PENDING",
            accepted: at,
            known: at,
            last: at,
            works: Vec::new(),
            restarts: Vec::new(),
            pins_lost: Vec::new(),
            plan: super::model::PlanFigures::default(),
            committed: None,
            stopped: None,
            ended: None,
            released: None,
        });
    }

    /// Begins a piece of work at the last record.
    fn enter(&mut self, work: Option<Work>, (state, lanes): (u8, &[LaneV1]), first_task: u64) {
        let Some(story) = &mut self.story else { return };
        if let Some(before) = self.going.take() {
            story.works.push(before.left(story.known));
        }
        if !work.is_some_and(Work::is_cleanup) {
            story.state = state_name(self.kind, state);
        }
        self.going = Some(Going::new(
            work,
            story.state,
            (first_task, lanes),
            story.known,
        ));
    }

    fn later(&mut self, event: &Event, at: Moment) {
        let Some(story) = &mut self.story else { return };
        story.last = at;
        match event {
            Event::StateEntered(e) => {
                self.enter(Work::from_number(e.work), (e.state, &e.lanes), e.first_task);
            }
            Event::PinLost(e) => {
                story.pins_lost.push((at, e.message.clone()));
                story.plan = super::model::PlanFigures::default();
                self.enter(Some(Work::Pin), (1, &[]), e.first_task);
            }
            Event::CleanupStarted(e) => {
                self.enter(Work::from_number(e.work), (0, &[]), e.first_task);
            }
            Event::BackupCommitStarted(_) | Event::RestoreCommitStarted(_) => {
                story.committed = Some(at);
            }
            Event::JobStopping(e) => self.stopping(e.code, &e.message, at),
            Event::BackupFinished(_) | Event::RestoreFinished(_) => {
                self.ended(BackupState::Finished, at);
            }
            Event::JobCancelled(_) => self.ended(BackupState::Cancelled, at),
            Event::JobReleased(e) => {
                story.released = Some((at, e.leftovers.clone()));
                if let Some(last) = self.going.take() {
                    story.works.push(last.left(at));
                }
            }
            _ => {
                story.plan.take(event);
                story.objects = match event {
                    Event::RestoreMetaPrepared(e) => e.objects.len() as u64,
                    _ => story.objects,
                };
                self.task(event, at);
            }
        }
    }

    fn task(&mut self, event: &Event, at: Moment) {
        let Some(going) = &mut self.going else { return };
        match event {
            Event::TaskStarted(e) => going.started(e.task, e.attempt, at),
            Event::TaskFinished(e) => going.finished(e, at),
            Event::TaskFailed(e) => going.failed(e, at),
            Event::WorkerFenced(e) => {
                going.story.fenced += 1;
                going.let_go(e.task, at);
            }
            Event::TaskStopped(e) => {
                going.let_go(e.task, at);
                self.let_go = Some((self.position, e.task, going.backend(e.task)));
            }
            _ => {}
        }
    }

    fn stopping(&mut self, code: u8, message: &str, at: Moment) {
        let code = StatusCode::from_number(code);
        let blamed = self
            .let_go
            .filter(|(seq, ..)| seq.next() == self.position)
            .map(|(_, task, backend)| (task, backend));
        let cause = match code {
            StatusCode::Timeout if blamed.is_none() => StopCause::Timeout,
            _ if message.starts_with("user cancelled") => StopCause::User,
            _ => StopCause::Failure,
        };
        if let Some(story) = &mut self.story {
            story.stopped = Some(Stopped {
                at,
                state: story.state,
                cause,
                code: code.name(),
                message: message.to_owned(),
                task: blamed.map(|(task, _)| task),
                backend: blamed.and_then(|(_, backend)| backend),
            });
        }
        if let Some(going) = &mut self.going {
            going.stopping = true;
        }
    }

    fn ended(&mut self, state: BackupState, at: Moment) {
        let Some(story) = &mut self.story else { return };
        story.state = state_name(self.kind, state as u8);
        story.ended = Some(at);
        // A cancelled backup's clean-up may outlast its end; any other work is over.
        if let Some(last) = self.going.take_if(|going| !going.is_cleanup()) {
            story.works.push(last.left(at));
        }
    }
}

impl Projection<Event> for Gather {
    fn apply(&mut self, record: &Record<Event>) -> Result<(), Error> {
        self.take(record);
        Ok(())
    }

    fn position(&self) -> Seq {
        self.position
    }
}
