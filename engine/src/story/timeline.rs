//! The picture of one job: when it was in which state, what each backend did, how fast bytes moved, and what went
//! wrong. However many tasks a job has, the picture has a bounded number of slices: tasks that follow each other on one
//! row and are too short to be seen are drawn as one.

use std::collections::BTreeMap;

use holdfast_journal::Record;
use serde::Serialize;

use super::line::Line;
use super::records::{Tasks, state_name};
use crate::event::{Event, LaneV1};
use crate::ids::JobId;
use crate::order::{StatusCode, Work};
use crate::spec::JobKind;

/// A span in which the job was in one state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct StateSpan {
    /// The state, as SHOW spells it; `clean-up` for what follows the end.
    pub state: &'static str,
    /// Its work.
    pub work: Option<Work>,
    /// From when, ms since acceptance.
    pub from_ms: u64,
    /// To when.
    pub to_ms: u64,
}

/// One task on one row of a backend, or several short ones that follow each other.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Slice {
    /// The work.
    pub work: Option<Work>,
    /// From when, ms since acceptance.
    pub from_ms: u64,
    /// To when.
    pub to_ms: u64,
    /// Attempts in it.
    pub attempts: u64,
    /// Those of them that failed.
    pub failed: u64,
    /// Those of them that a restart cut off, or that let go or were fenced because the job was ending.
    pub cut_off: u64,
    /// The first task in it.
    pub task: u64,
    /// Bytes that crossed the broker.
    pub bytes: u64,
}

/// The rows of one backend: as many as tasks ran on it at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct BackendRows {
    /// Which; `None` for the coordinator.
    pub backend: Option<u64>,
    /// The rows, each with slices that do not overlap.
    pub rows: Vec<Vec<Slice>>,
}

/// What kind of mark stands on the time line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum MarkKind {
    /// An opening of the engine.
    Restart,
    /// A failed attempt, a fenced worker, a lost point.
    Error,
    /// The job was told to end.
    Stopped,
    /// The point of no return.
    Commit,
    /// FINISHED or CANCELLED.
    End,
}

/// Something that happened at one moment; alike ones that lie close together are one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Mark {
    /// What.
    pub kind: MarkKind,
    /// When, ms since acceptance.
    pub at_ms: u64,
    /// How many.
    pub count: u64,
    /// The words of the first.
    pub words: String,
}

/// The picture of one job.
#[derive(Clone, Debug, Serialize)]
pub struct Timeline {
    /// The job.
    pub job: u64,
    /// `BACKUP` or `RESTORE`.
    pub kind: &'static str,
    /// Its label.
    pub label: String,
    /// Its database.
    pub database: String,
    /// Its repository's name.
    pub repository: String,
    /// Its state now.
    pub state: &'static str,
    /// When it was accepted, ms since the epoch.
    pub accepted_ms: u64,
    /// How long the picture is.
    pub length_ms: u64,
    /// Attempts in all.
    pub attempts: u64,
    /// Bytes that crossed the broker.
    pub bytes: u64,
    /// Its states, one after the other.
    pub states: Vec<StateSpan>,
    /// Who did what, the coordinator first.
    pub backends: Vec<BackendRows>,
    /// Bytes that were moved in each of as many equal parts of the length: a task's bytes spread over its time.
    pub moved: Vec<u64>,
    /// What happened at one moment.
    pub marks: Vec<Mark>,
}

/// Draws the time line of one job while records go by.
#[derive(Clone, Debug)]
pub struct Drawing {
    job: u64,
    kind: JobKind,
    line: Line,
    accepted_at: u64,
    drawn: Option<Timeline>,
    tasks: Tasks,
    running: BTreeMap<u64, Running>,
    rows: BTreeMap<Option<u64>, Vec<Row>>,
    last_ms: u64,
    over: bool,
}

/// A task that runs, and the row that it has.
#[derive(Clone, Copy, Debug)]
struct Running {
    from_ms: u64,
    backend: Option<u64>,
    row: usize,
    work: Option<Work>,
}

#[derive(Clone, Debug, Default)]
struct Row {
    busy: bool,
    slices: Vec<Slice>,
}

/// How an attempt ended.
#[derive(Clone, Copy)]
enum Ended {
    Well(u64),
    Failed,
    CutOff,
}

impl Drawing {
    /// For the job with this id, before the first record.
    pub fn new(job: JobId) -> Self {
        Self {
            job: job.0,
            kind: JobKind::Backup,
            line: Line::default(),
            accepted_at: 0,
            drawn: None,
            tasks: Tasks::default(),
            running: BTreeMap::new(),
            rows: BTreeMap::new(),
            last_ms: 0,
            over: false,
        }
    }

    /// Takes in the next record of the journal.
    pub fn take(&mut self, record: &Record<Event>) {
        let now = self.line.take(record);
        let at_ms = now.saturating_sub(self.accepted_at);
        if let Event::EngineStarted(e) = &record.event {
            if self.drawn.is_some() && !self.over {
                // Between two openings nobody knows: what ran is drawn up to the last record before.
                let running: Vec<u64> = self.running.keys().copied().collect();
                for task in running {
                    self.end(task, self.last_ms, Ended::CutOff);
                }
                self.mark(MarkKind::Restart, at_ms, &format!("opening {}", e.epoch));
            }
        } else if record.stream.get() == self.job {
            self.own(&record.event, record.at_ms, now);
        }
        if !self.over {
            self.last_ms = now.saturating_sub(self.accepted_at);
        }
        self.over |= matches!(&record.event, Event::JobReleased(e) if e.job == self.job);
    }

    fn own(&mut self, event: &Event, wall_ms: u64, now: u64) {
        let at_ms = now.saturating_sub(self.accepted_at);
        match event {
            Event::BackupSubmitted(e) => {
                let names = [&e.label, &e.database, &e.repository_name];
                self.accept(JobKind::Backup, names, wall_ms, now);
                self.enter(Some(Work::Pin), ("PENDING", &[]), e.first_task, 0);
            }
            Event::RestoreSubmitted(e) => {
                let names = [&e.label, &e.database, &e.repository_name];
                self.accept(JobKind::Restore, names, wall_ms, now);
                self.enter(Some(Work::PrepareMeta), ("PENDING", &[]), e.first_task, 0);
            }
            Event::StateEntered(e) => {
                let state = state_name(self.kind, e.state);
                let work = Work::from_number(e.work);
                self.enter(work, (state, &e.lanes), e.first_task, at_ms);
            }
            Event::PinLost(e) => {
                self.mark(MarkKind::Error, at_ms, &e.message);
                let running: Vec<u64> = self.running.keys().copied().collect();
                for task in running {
                    self.end(task, at_ms, Ended::CutOff);
                }
                self.enter(Some(Work::Pin), ("PENDING", &[]), e.first_task, at_ms);
            }
            Event::CleanupStarted(e) => {
                let work = Work::from_number(e.work);
                self.enter(work, ("clean-up", &[]), e.first_task, at_ms);
            }
            Event::TaskStarted(e) => self.start(e.task, at_ms),
            Event::TaskFinished(e) => self.end(e.task, at_ms, Ended::Well(e.bytes)),
            Event::TaskFailed(e) => {
                self.end(e.task, at_ms, Ended::Failed);
                let words = format!("task {}: {}", e.task, e.message);
                self.mark(MarkKind::Error, at_ms, &words);
            }
            Event::TaskStopped(e) => self.end(e.task, at_ms, Ended::CutOff),
            Event::WorkerFenced(e) => {
                self.end(e.task, at_ms, Ended::CutOff);
                let words = format!("task {} did not let go in time", e.task);
                self.mark(MarkKind::Error, at_ms, &words);
            }
            Event::JobStopping(e) => {
                let code = StatusCode::from_number(e.code).name();
                self.mark(MarkKind::Stopped, at_ms, &format!("{code}: {}", e.message));
            }
            Event::BackupCommitStarted(_) | Event::RestoreCommitStarted(_) => {
                self.mark(MarkKind::Commit, at_ms, "point of no return");
            }
            Event::BackupFinished(_) | Event::RestoreFinished(_) => self.ended("FINISHED", at_ms),
            Event::JobCancelled(_) => self.ended("CANCELLED", at_ms),
            _ => {}
        }
    }

    fn accept(&mut self, kind: JobKind, names: [&String; 3], wall_ms: u64, now: u64) {
        self.kind = kind;
        self.accepted_at = now;
        let [label, database, repository] = names.map(Clone::clone);
        self.drawn = Some(Timeline {
            job: self.job,
            kind: match kind {
                JobKind::Backup => "BACKUP",
                JobKind::Restore => "RESTORE",
            },
            label,
            database,
            repository,
            state: "PENDING",
            accepted_ms: wall_ms,
            length_ms: 0,
            attempts: 0,
            bytes: 0,
            states: Vec::new(),
            backends: Vec::new(),
            moved: Vec::new(),
            marks: Vec::new(),
        });
    }

    fn enter(
        &mut self,
        work: Option<Work>,
        (state, lanes): (&'static str, &[LaneV1]),
        first_task: u64,
        at_ms: u64,
    ) {
        self.tasks = Tasks::new(work, first_task, lanes);
        let Some(drawn) = &mut self.drawn else { return };
        if let Some(before) = drawn.states.last_mut() {
            before.to_ms = before.to_ms.max(at_ms);
        }
        if state != "clean-up" {
            drawn.state = state;
        }
        drawn.states.push(StateSpan {
            state,
            work,
            from_ms: at_ms,
            to_ms: at_ms,
        });
    }

    fn ended(&mut self, state: &'static str, at_ms: u64) {
        if let Some(drawn) = &mut self.drawn {
            drawn.state = state;
        }
        self.mark(MarkKind::End, at_ms, state);
    }

    fn start(&mut self, task: u64, at_ms: u64) {
        let backend = self.tasks.backend(task).map(|backend| backend.0);
        let rows = self.rows.entry(backend).or_default();
        let free = rows.iter().position(|row| !row.busy);
        let row = free.unwrap_or_else(|| {
            rows.push(Row::default());
            rows.len() - 1
        });
        rows[row].busy = true;
        let running = Running {
            from_ms: at_ms,
            backend,
            row,
            work: self.tasks.work,
        };
        self.running.insert(task, running);
        if let Some(drawn) = &mut self.drawn {
            drawn.attempts += 1;
        }
    }

    fn end(&mut self, task: u64, at_ms: u64, ended: Ended) {
        let Some(running) = self.running.remove(&task) else {
            return;
        };
        let bytes = match ended {
            Ended::Well(bytes) => bytes,
            Ended::Failed | Ended::CutOff => 0,
        };
        if let Some(drawn) = &mut self.drawn {
            drawn.bytes = drawn.bytes.saturating_add(bytes);
        }
        let rows = self.rows.entry(running.backend).or_default();
        if let Some(row) = rows.get_mut(running.row) {
            row.busy = false;
            row.slices.push(Slice {
                work: running.work,
                from_ms: running.from_ms,
                to_ms: at_ms.max(running.from_ms),
                attempts: 1,
                failed: u64::from(matches!(ended, Ended::Failed)),
                cut_off: u64::from(matches!(ended, Ended::CutOff)),
                task,
                bytes,
            });
        }
    }

    fn mark(&mut self, kind: MarkKind, at_ms: u64, words: &str) {
        let Some(drawn) = &mut self.drawn else { return };
        drawn.marks.push(Mark {
            kind,
            at_ms,
            count: 1,
            words: words.split_whitespace().collect::<Vec<_>>().join(" "),
        });
    }

    /// The picture, in which nothing shorter than a `parts`th of its length stands alone, and whose throughput has
    /// `parts` values. `None` where no record was the job's.
    pub fn finish(mut self, parts: u32) -> Option<Timeline> {
        let running: Vec<u64> = self.running.keys().copied().collect();
        for task in running {
            self.still_running(task);
        }
        let mut drawn = self.drawn?;
        drawn.length_ms = self.last_ms;
        if let Some(last) = drawn.states.last_mut() {
            last.to_ms = last.to_ms.max(self.last_ms);
        }
        let parts = u64::from(parts.max(1));
        drawn.moved = spread(&self.rows, drawn.length_ms, parts);
        let short_ms = drawn.length_ms.div_ceil(parts);
        drawn.marks = merged_marks(drawn.marks, short_ms);
        drawn.backends = self
            .rows
            .into_iter()
            .map(|(backend, rows)| BackendRows {
                backend,
                rows: rows
                    .into_iter()
                    .map(|row| merged(row.slices, short_ms))
                    .collect(),
            })
            .collect();
        Some(drawn)
    }

    /// A task that runs at the end is drawn up to there; it neither failed nor was cut off.
    fn still_running(&mut self, task: u64) {
        self.end(task, self.last_ms, Ended::Well(0));
    }
}

/// Joins neighbours that are shorter than `short_ms` and less than that apart.
fn merged(mut slices: Vec<Slice>, short_ms: u64) -> Vec<Slice> {
    slices.sort_by_key(|slice| slice.from_ms);
    let mut out: Vec<Slice> = Vec::new();
    for slice in slices {
        let short = |s: &Slice| s.to_ms.saturating_sub(s.from_ms) < short_ms;
        match out.last_mut() {
            Some(last)
                if last.work == slice.work
                    && short(&slice)
                    && (last.attempts > 1 || short(last))
                    && slice.from_ms.saturating_sub(last.to_ms) < short_ms =>
            {
                last.to_ms = last.to_ms.max(slice.to_ms);
                last.attempts = last.attempts.saturating_add(slice.attempts);
                last.failed = last.failed.saturating_add(slice.failed);
                last.cut_off = last.cut_off.saturating_add(slice.cut_off);
                last.bytes = last.bytes.saturating_add(slice.bytes);
            }
            _ => out.push(slice),
        }
    }
    out
}

fn merged_marks(marks: Vec<Mark>, short_ms: u64) -> Vec<Mark> {
    let mut latest: BTreeMap<MarkKind, usize> = BTreeMap::new();
    let mut out: Vec<Mark> = Vec::new();
    for mark in marks {
        let near = latest
            .get(&mark.kind)
            .copied()
            .filter(|at| mark.at_ms.saturating_sub(out[*at].at_ms) < short_ms.saturating_mul(4));
        match near {
            Some(at) => out[at].count = out[at].count.saturating_add(mark.count),
            None => {
                latest.insert(mark.kind, out.len());
                out.push(mark);
            }
        }
    }
    out
}

/// The share `part` of `whole` of `bytes`; a nonsense journal may have numbers of any size.
fn share(bytes: u64, part: u128, whole: u128) -> u128 {
    let bytes = u128::from(bytes);
    match bytes.checked_mul(part) {
        Some(product) => product / whole.max(1),
        None => bytes * (part >> 40) / (whole >> 40).max(1),
    }
}

/// Bytes moved in each part of the length, each task's spread evenly over its time.
fn spread(rows: &BTreeMap<Option<u64>, Vec<Row>>, length_ms: u64, parts: u64) -> Vec<u64> {
    let mut moved = vec![0_u64; usize::try_from(parts).unwrap_or(1)];
    // Places are in units of which a millisecond has `parts` and a part has `length`.
    let (parts, length) = (u128::from(parts), u128::from(length_ms.max(1)));
    let slices = rows.values().flatten().flat_map(|row| &row.slices);
    for slice in slices.filter(|slice| slice.bytes > 0) {
        let from = u128::from(slice.from_ms) * parts;
        let to = u128::from(slice.to_ms.max(slice.from_ms.saturating_add(1))) * parts;
        let last = ((to - 1) / length).min(parts - 1);
        let mut given = 0_u128;
        for part in (from / length).min(last)..=last {
            // What the task had moved at the end of this part, less what was given before.
            let end = ((part + 1) * length).clamp(from, to);
            let due = match part == last {
                true => u128::from(slice.bytes),
                false => share(slice.bytes, end - from, to - from),
            };
            if let Some(part) = usize::try_from(part).ok().and_then(|at| moved.get_mut(at)) {
                *part = part.saturating_add(u64::try_from(due.saturating_sub(given)).unwrap_or(0));
            }
            given = given.max(due);
        }
    }
    moved
}
