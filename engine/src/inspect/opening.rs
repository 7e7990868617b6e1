//! What the next opening of an engine would record, decided on a copy of the state by the engine's own turn. The turn
//! runs on a journal in memory and on workers that never start.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_broker::Broker;
use holdfast_journal::{Journal, MemoryJournal, Seq};
use holdfast_storage::{BackendId, CatalogPosition};
use serde::Serialize;

use crate::checkpoint::Writing;
use crate::core::{Core, Settings};
use crate::due::Credits;
use crate::event::{self, Event};
use crate::ids::{Epoch, JobId, TaskId};
use crate::opening::{OpenError, Opened, begun};
use crate::order::{StatusCode, TaskOrder, Work};
use crate::published::Published;
use crate::registry::Registry;
use crate::replay::Replay;
use crate::seams::{Brokers, Clock, Executor, Now, Vault};
use crate::spec::JobKind;
use crate::state::{Ending, Job, State};

/// What the next opening would do before any worker has answered.
#[derive(Clone, Debug)]
pub struct NextOpening {
    /// Its number.
    pub epoch: Epoch,
    /// What it would record, in order: the opening, then what its first turn decides.
    pub events: Vec<Event>,
    /// Every job that has not been released, by id.
    pub jobs: Vec<JobOutlook>,
}

/// Where a job goes from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// It goes on where it stood.
    GoesOn,
    /// Its commit event is recorded: it is finished, whatever happens.
    RollsForward,
    /// It was to end without success: it is taken back.
    RollsBack,
    /// Its time is over: it is cancelled at once and taken back.
    TimesOut,
    /// It has ended, only its clean-up goes on.
    CleansUp,
}

/// What the next opening means for one job.
#[derive(Clone, Debug, Serialize)]
pub struct JobOutlook {
    /// The job.
    pub job: JobId,
    /// `BACKUP` or `RESTORE`.
    pub kind: &'static str,
    /// Its label.
    pub label: String,
    /// Its database.
    pub database: String,
    /// The state in which it is found, as SHOW spells it.
    pub state: &'static str,
    /// The state after the first turn.
    pub next_state: &'static str,
    /// Where it goes.
    pub direction: Direction,
    /// Why, in words.
    pub why: String,
    /// The work that its tasks are started for.
    pub work: Option<Work>,
    /// Tasks of that work, and how many of them are done.
    pub tasks: u32,
    /// Those that are done.
    pub done: u32,
    /// The tasks that the first turn starts, in order.
    pub starts: Vec<Again>,
    /// Tasks that are ready too, and wait until a worker is free.
    pub queued: u32,
    /// How long it may still run, ms; `None` where no timeout holds any more.
    pub time_left_ms: Option<u64>,
    /// What becomes of label, pin, staging and targets, a sentence each.
    pub holdings: Vec<String>,
}

/// A task that is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Again {
    /// Which.
    pub task: TaskId,
    /// Which attempt that is.
    pub attempt: u32,
    /// Where; `None` for the coordinator.
    pub backend: Option<BackendId>,
    /// Whether it ran when the journal ended, so that it runs again.
    pub interrupted: bool,
}

/// What an opening at `now`, over a storage whose catalog stands at `catalog`, would do to a journal that `replay` has
/// taken in whole. `credits` are those of the engine that would be opened.
///
/// # Errors
/// What [`crate::Engine::open`] would refuse with.
pub fn next_opening(
    replay: &Replay,
    catalog: CatalogPosition,
    now: Now,
    credits: Credits,
) -> Result<NextOpening, OpenError> {
    let found = replay.state();
    let mut opened = Opened {
        state: found.clone(),
        at: Seq::ZERO,
        kept: Seq::ZERO,
    };
    let journal: Arc<dyn Journal<Event>> = Arc::new(MemoryJournal::new());
    // The cluster's id of a first opening is random; nothing else depends on it.
    let events = begun(&mut opened.state, catalog, String::new(), now)?;
    journal
        .append(&events, now.wall_ms)
        .map_err(OpenError::environment)?;
    let published = Arc::new(Published::default());
    let nothing = Arc::new(Nothing);
    let registry = Registry::new(
        Arc::clone(&nothing) as _,
        Arc::clone(&nothing) as _,
        Arc::clone(&nothing) as _,
        Arc::clone(&published),
    );
    let settings = Settings {
        credits: credits.at_least_one(),
        checkpoint_events: 0,
        checkpoints: Writing::Beside,
    };
    let places = (Arc::new(registry), published);
    let mut core = Core::new(opened, Arc::clone(&journal), nothing, places, settings);
    core.turn(Vec::new(), now);
    let mut events = Vec::new();
    journal
        .read(Seq::FIRST, &mut |record| {
            events.push(record.event);
            Ok(())
        })
        .map_err(OpenError::environment)?;
    let after = core.state();
    let jobs = found
        .working
        .iter()
        .filter_map(|id| Some((found.jobs.get(id)?, after.jobs.get(id)?)))
        .map(|(before, job)| outlook((found, before), job, &events, now))
        .collect();
    Ok(NextOpening {
        epoch: after.epoch,
        events,
        jobs,
    })
}

fn outlook((found, before): (&State, &Job), job: &Job, events: &[Event], now: Now) -> JobOutlook {
    let (direction, why) = direction(before, events);
    let phase = job.current();
    let starts = phase.map_or_else(Vec::new, |phase| {
        let running = before.current().map(|phase| &phase.running);
        started(job.id, events)
            .filter_map(|e| {
                let index = phase.index_of(e.task)?;
                Some(Again {
                    task: TaskId(e.task),
                    attempt: e.attempt,
                    backend: phase.backend_of(index).map(BackendId),
                    interrupted: e.attempt > 1
                        && running.is_some_and(|running| running.contains_key(&index)),
                })
            })
            .collect()
    });
    let (tasks, done) = phase.map_or((0, 0), |phase| (phase.total, phase.done()));
    let running = phase.map_or(0, |phase| phase.running.len());
    // After an opening nothing waits for its next attempt; a task that is neither done nor running is ready.
    let open = tasks - done - u32::try_from(running).unwrap_or(u32::MAX).min(tasks - done);
    let between_ms = now.wall_ms.saturating_sub(found.last_wall_ms);
    let ran_ms = before
        .clock
        .elapsed_ms(found.last_mono_ms)
        .saturating_add(between_ms);
    let limited = matches!(direction, Direction::GoesOn);
    JobOutlook {
        job: job.id,
        kind: match job.kind() {
            JobKind::Backup => "BACKUP",
            JobKind::Restore => "RESTORE",
        },
        label: job.label().to_owned(),
        database: job.database().to_owned(),
        state: before.state_name(),
        next_state: job.state_name(),
        direction,
        why,
        work: phase.map(|phase| phase.work),
        tasks,
        done,
        starts,
        queued: if job.starts_tasks() { open } else { 0 },
        time_left_ms: limited.then(|| before.timeout_ms().saturating_sub(ran_ms)),
        holdings: holdings(before, direction),
    }
}

fn started(job: JobId, events: &[Event]) -> impl Iterator<Item = &event::TaskStarted> {
    events.iter().filter_map(move |event| match event {
        Event::TaskStarted(e) if e.job == job.0 => Some(e),
        _ => None,
    })
}

fn direction(before: &Job, events: &[Event]) -> (Direction, String) {
    let stopped = events.iter().find_map(|event| match event {
        Event::JobStopping(e) if e.job == before.id.0 => Some(e),
        _ => None,
    });
    match (before.ending, &before.stop, stopped) {
        (Some(Ending::Finished), ..) => (
            Direction::CleansUp,
            "it is FINISHED, what it held is let go of".to_owned(),
        ),
        (Some(Ending::Cancelled), ..) => (
            Direction::CleansUp,
            "it is CANCELLED, what it left in the repository is removed".to_owned(),
        ),
        (None, Some(stop), _) => (
            Direction::RollsBack,
            format!("it was being cancelled: {}", stop.message),
        ),
        (None, None, Some(e)) => {
            let code = StatusCode::from_number(e.code);
            let direction = match code {
                StatusCode::Timeout => Direction::TimesOut,
                _ => Direction::RollsBack,
            };
            (direction, e.message.clone())
        }
        (None, None, None) if before.committed => (
            Direction::RollsForward,
            "its commit event is recorded, which no restart takes back".to_owned(),
        ),
        (None, None, None) => (
            Direction::GoesOn,
            format!(
                "it had neither ended nor committed in {}",
                before.state_name()
            ),
        ),
    }
}

/// What becomes of what a job holds outside the journal.
fn holdings(job: &Job, direction: Direction) -> Vec<String> {
    let label = job.label();
    let lines: &[&str] = match (job.kind(), direction) {
        (JobKind::Backup, Direction::GoesOn) => &[
            "its claim on the label stays",
            "its pin and its local snapshots stay; where the storage has lost the pin, the backup goes back to \
             PENDING and takes one new point for all its tables",
            "objects that were uploaded are found again and not sent twice",
        ],
        (JobKind::Backup, Direction::RollsForward) => &[
            "the marker is looked for and, if it is not there, put: the snapshot becomes visible",
            "pin, local snapshots and intent are let go of after that",
        ],
        (JobKind::Backup, Direction::RollsBack | Direction::TimesOut) => &[
            "pin and local snapshots go first",
            "objects that only this job uploaded, its intent and its claim on the label go then; the label is free \
             again",
        ],
        (JobKind::Backup, Direction::CleansUp) => {
            &["pin, local snapshots, work files and what is left of it in the repository go"]
        }
        (JobKind::Restore, Direction::GoesOn) => &[
            "its target tables stay marked and refuse access",
            "its staging stays; files that are there and sound are not fetched again",
        ],
        (JobKind::Restore, Direction::RollsForward) => &[
            "all its tables are swapped in one step; where that is done already, nothing happens again",
            "old versions and staging go after that, neither needs the repository",
        ],
        (JobKind::Restore, Direction::RollsBack | Direction::TimesOut) => &[
            "its target tables are as they were before; tables that it made go",
            "its staging goes",
        ],
        (JobKind::Restore, Direction::CleansUp) => &["old versions and staging go"],
    };
    let mut lines: Vec<String> = lines.iter().map(|line| (*line).to_owned()).collect();
    if job.kind() == JobKind::Backup && direction == Direction::GoesOn {
        lines[0] = format!("its claim on the label '{label}' stays");
    }
    lines
}

/// Stands for everything outside: workers that never start, remotes that are not there.
struct Nothing;

impl Executor for Nothing {
    fn start(&self, _: TaskOrder) {}
    fn stop(&self, _: JobId) {}
    fn abandon(&self, _: JobId, _: TaskId, _: u32) {}
    fn reconcile(&self, _: Epoch) -> Vec<TaskOrder> {
        Vec::new()
    }
    fn shutdown(&self) {}
}

impl Brokers for Nothing {
    fn connect(
        &self,
        _: Option<&str>,
        _: &str,
        _: &BTreeMap<String, String>,
    ) -> Result<Arc<dyn Broker>, String> {
        Err("nothing is connected while looking".to_owned())
    }
}

impl Vault for Nothing {
    fn seal(&self, _: &[u8]) -> Result<Vec<u8>, String> {
        Err("nothing is sealed while looking".to_owned())
    }
    fn open(&self, _: &[u8]) -> Result<Vec<u8>, String> {
        Err("nothing is opened while looking".to_owned())
    }
}

impl Clock for Nothing {
    fn wall_ms(&self) -> u64 {
        0
    }
    fn mono_ms(&self) -> u64 {
        0
    }
    fn utc_offset_seconds(&self, _: u64) -> i32 {
        0
    }
}
