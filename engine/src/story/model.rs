//! The story of one job as data: what [`super::Gather`] makes and [`super::Story::explain`] puts in words. All spans
//! are in ms on one line of time: monotonic within an opening, the wall's difference across restarts.

use std::collections::BTreeSet;

use serde::Serialize;

use crate::order::Work;

/// A record, and when it was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Moment {
    /// Its sequence.
    pub seq: u64,
    /// The wall clock, ms since the epoch.
    pub at_ms: u64,
    /// Time since the job was accepted, ms.
    pub since_ms: u64,
    /// The opening it belongs to.
    pub epoch: u64,
}

/// What there is to say of one job.
#[derive(Clone, Debug, Serialize)]
pub struct Story {
    /// The job's id.
    pub job: u64,
    /// `BACKUP` or `RESTORE`.
    pub kind: &'static str,
    /// Its label.
    pub label: String,
    /// Its database.
    pub database: String,
    /// Its repository's name.
    pub repository: String,
    /// The snapshot's timestamp.
    pub timestamp: String,
    /// Tables that were named, or found by a restore.
    pub objects: u64,
    /// Its timeout.
    pub timeout_seconds: u64,
    /// Its state now, as SHOW spells it.
    pub state: &'static str,
    /// When it was accepted.
    pub accepted: Moment,
    /// The last record of the whole journal: what happened later is not known.
    pub known: Moment,
    /// The last record of the job.
    pub last: Moment,
    /// Its pieces of work in the order in which they began, clean-up last.
    pub works: Vec<WorkStory>,
    /// Openings since it was accepted, until nothing of it was left.
    pub restarts: Vec<Restart>,
    /// How often its consistent point was lost, with the words.
    pub pins_lost: Vec<(Moment, String)>,
    /// Figures that its plans brought.
    pub plan: PlanFigures,
    /// The point of no return, once passed.
    pub committed: Option<Moment>,
    /// Why it was stopped, where it was.
    pub stopped: Option<Stopped>,
    /// FINISHED or CANCELLED.
    pub ended: Option<Moment>,
    /// When nothing of it was left, and the words for what could not be removed.
    pub released: Option<(Moment, String)>,
}

/// Figures that a job's plans brought.
#[derive(Clone, Debug, Default, Serialize)]
pub struct PlanFigures {
    /// Tablets.
    pub tablets: u64,
    /// Data files.
    pub files: u64,
    /// Bytes of the data (for a restore, of all replicas); `None` until known.
    pub bytes: Option<u64>,
    /// Bytes that must be sent; backups only.
    pub new_bytes: Option<u64>,
    /// Objects that must be sent; backups only.
    pub new_objects: u64,
    /// Bytes that the repository held already; backups only.
    pub reused_bytes: u64,
    /// A note of the restore's preparation.
    pub note: Option<String>,
    /// Objects that a restore's commit drops.
    pub drops: u64,
}

/// An opening in the life of a job.
#[derive(Clone, Debug, Serialize)]
pub struct Restart {
    /// The opening.
    pub at: Moment,
    /// Time since the last record before it.
    pub silent_ms: u64,
    /// The job's state.
    pub state: &'static str,
    /// Tasks that ran and are run again.
    pub interrupted: u64,
}

/// Why a job was stopped.
#[derive(Clone, Debug, Serialize)]
pub struct Stopped {
    /// When.
    pub at: Moment,
    /// The state it was in.
    pub state: &'static str,
    /// Who or what did it.
    pub cause: StopCause,
    /// The Status code.
    pub code: &'static str,
    /// The words of the Status column.
    pub message: String,
    /// The task whose failure it was.
    pub task: Option<u64>,
    /// The backend of that task.
    pub backend: Option<u64>,
}

/// Who or what stopped a job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StopCause {
    /// A user, by CANCEL.
    User,
    /// Its timeout.
    Timeout,
    /// A failure.
    Failure,
}

/// One piece of work of a job.
#[derive(Clone, Debug, Serialize)]
pub struct WorkStory {
    /// Which.
    pub work: Option<Work>,
    /// The job's state while it went on.
    pub state: &'static str,
    /// When it began.
    pub entered: Moment,
    /// When the next began, or the job ended.
    pub left: Option<Moment>,
    /// How long it has taken.
    pub duration_ms: u64,
    /// Its tasks.
    pub tasks: u64,
    /// Those that are done.
    pub done: u64,
    /// Those that run at the moment that is known last.
    pub running: u64,
    /// Those that wait for their next attempt then.
    pub waiting: u64,
    /// Starts of tasks.
    pub attempts: u64,
    /// Attempts that failed.
    pub failures: u64,
    /// Attempts that a restart cut off.
    pub interrupted: u64,
    /// Attempts that did not let go in time.
    pub fenced: u64,
    /// Tasks running at once, at most.
    pub most_running: u64,
    /// What the time went into.
    pub time: TimeSpent,
    /// Task time: the sum over all attempts, each from its start to its end.
    pub busy_ms: u64,
    /// Backoff that failures asked for, summed.
    pub backoff_ms: u64,
    /// The longest that a ready task waited to be started.
    pub longest_wait_ms: u64,
    /// Jobs that had tasks running while this one had ready tasks and none running.
    pub waited_behind: BTreeSet<u64>,
    /// Bytes that crossed the broker.
    pub bytes: u64,
    /// Objects written or read.
    pub objects: u64,
    /// Bytes that did not need to move.
    pub reused_bytes: u64,
    /// Its backends, by id; the coordinator first.
    pub backends: Vec<BackendStory>,
    /// The tasks that took longest from their first start to their end, longest first; at most [`SLOWEST`].
    pub slowest: Vec<SlowTask>,
    /// Tasks that failed at least once: the first [`TROUBLES`] of them.
    pub troubles: Vec<TroubleStory>,
    /// How many tasks failed at least once.
    pub troubled: u64,
}

/// Slow tasks that are kept of each work.
pub const SLOWEST: usize = 5;
/// Troubled tasks that are kept of each work.
pub const TROUBLES: usize = 20;

/// Where the time of a work went: each moment counts once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct TimeSpent {
    /// At least one task ran.
    pub working_ms: u64,
    /// None ran although one was ready: workers or coordinators were taken.
    pub queued_ms: u64,
    /// None ran: all that was left waited for its next attempt.
    pub backoff_ms: u64,
    /// The job was ending, and its workers had not let go yet.
    pub letting_go_ms: u64,
    /// Between the last event of one opening and the next opening.
    pub closed_ms: u64,
}

/// One backend's part of a work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BackendStory {
    /// Which; `None` for the coordinator.
    pub backend: Option<u64>,
    /// Its tasks.
    pub tasks: u64,
    /// Those that are done.
    pub done: u64,
    /// Their time, summed.
    pub busy_ms: u64,
    /// Bytes that crossed the broker.
    pub bytes: u64,
    /// Attempts that failed.
    pub failures: u64,
}

/// A task that took long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SlowTask {
    /// Which.
    pub task: u64,
    /// Where; `None` for the coordinator.
    pub backend: Option<u64>,
    /// From its first start to its end.
    pub duration_ms: u64,
    /// The attempt that ended well.
    pub attempts: u32,
    /// Bytes that crossed the broker.
    pub bytes: u64,
    /// Bytes that did not need to move.
    pub reused_bytes: u64,
}

/// A task that failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct TroubleStory {
    /// Which.
    pub task: u64,
    /// Where; `None` for the coordinator.
    pub backend: Option<u64>,
    /// How often.
    pub failures: u32,
    /// The wait before its next attempt, ms, as the last failure asked.
    pub backoff_ms: u64,
    /// Backends whose replicas were found at fault.
    pub excluded: Vec<u64>,
    /// The words of the last failure.
    pub message: String,
    /// Whether it ended well afterwards.
    pub recovered: bool,
}

impl Story {
    /// Time since acceptance: up to the end, or to the last record of the journal.
    pub fn elapsed_ms(&self) -> u64 {
        self.ended.unwrap_or(self.known).since_ms
    }

    /// Whether the job is FINISHED.
    pub fn is_finished(&self) -> bool {
        self.state == "FINISHED"
    }

    /// The pieces of work that are no clean-up.
    pub fn main_works(&self) -> impl Iterator<Item = &WorkStory> {
        self.works
            .iter()
            .filter(|w| !w.work.is_some_and(Work::is_cleanup))
    }
}
