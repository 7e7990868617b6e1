//! Retention: which finished jobs leave the state, and how their events leave the log. Which jobs is decided by a pure
//! function over the state; moving segments is work beside the dispatcher, and what it came to is one event, so that
//! nothing vanishes in silence. A job that has not ended and been released never leaves.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use crossbeam::channel::{Receiver, Sender, bounded};
use holdfast_journal::{ArchiveInfo, ArchiveRequest, Journal, Seq, StreamId};
use parking_lot::Mutex;

use crate::checkpoint::{self, Writing};
use crate::core::{Answer, Asked};
use crate::decide::Input;
use crate::event::{Event, HistoryArchived};
use crate::ids::JobId;
use crate::opening::{OpenError, Opened, replayed};
use crate::refusal::{Refusal, RefusalCode};
use crate::seams::Now;
use crate::state::State;

/// How soon after its opening an engine first looks whether jobs are to leave.
const FIRST_LOOK_MS: u64 = 60_000;
/// How soon an act that was wanted or done within a turn is looked at again.
const LOOK_AGAIN_MS: u64 = 20;

/// How long finished jobs stay, where an engine archives by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Jobs that ended longer ago than this leave the state and SHOW, and their events the log. `None`, the default:
    /// none leaves but by [`Engine::archive`](crate::Engine::archive).
    pub keep_finished: Option<Duration>,
    /// So many of the newest ended jobs stay however old they are.
    pub keep_last: u64,
    /// The time between two acts; the first is a minute after the opening. Each act with anything to do makes one archive
    /// at most, and begins one segment.
    pub every: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            keep_finished: None,
            keep_last: 100,
            every: Duration::from_secs(24 * 3600),
        }
    }
}

/// Which jobs are to leave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HistoryRequest {
    /// Jobs that ended before this wall time leave, ms since the epoch. A time to come counts as now.
    pub ended_before_ms: u64,
    /// So many of the newest ended jobs stay all the same.
    pub keep_last: u64,
}

impl HistoryRequest {
    /// Every job that ended before this wall time, ms since the epoch.
    pub const fn before(ended_before_ms: u64) -> Self {
        Self {
            ended_before_ms,
            keep_last: 0,
        }
    }
}

/// What an act of archiving came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Archiving {
    /// The jobs that left the state: how many.
    pub jobs: u64,
    /// The lowest of their ids; zero where none left.
    pub first_job: JobId,
    /// The highest of their ids.
    pub last_job: JobId,
    /// The archive that was made. `None` where no whole segment lay before the first event of the oldest job that stays:
    /// the events are in the log until a later act.
    pub archive: Option<ArchiveInfo>,
    /// The first event that is still in the log.
    pub first_event: u64,
}

/// Jobs that may leave, as a rule that `apply` can check: all that are released, ended before a time and have an id in a
/// range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Leaving {
    pub(crate) ended_before_ms: u64,
    pub(crate) jobs: u64,
    pub(crate) first: JobId,
    pub(crate) last: JobId,
}

impl Leaving {
    fn none(ended_before_ms: u64) -> Self {
        Self {
            ended_before_ms,
            jobs: 0,
            first: JobId(0),
            last: JobId(0),
        }
    }
}

/// Which jobs leave at `request`.
pub(crate) fn leaving(state: &State, request: &HistoryRequest) -> Leaving {
    let released: Vec<_> = state.jobs.iter().filter(|(_, job)| job.released).collect();
    let kept = usize::try_from(request.keep_last).unwrap_or(usize::MAX);
    let old = &released[..released.len().saturating_sub(kept)];
    let mut found = Leaving::none(request.ended_before_ms);
    for (id, job) in old {
        if job.ended_before(request.ended_before_ms) {
            if found.jobs == 0 {
                found.first = *id;
            }
            found.last = *id;
            found.jobs += 1;
        }
    }
    found
}

/// An act: asked for, and by whom.
struct Wanted {
    request: HistoryRequest,
    automatic: bool,
    reply: Option<Sender<Result<Answer, Refusal>>>,
}

/// What the work beside the dispatcher found and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Moved {
    pub(crate) leaving: Leaving,
    /// The file that was made.
    pub(crate) archive: Option<String>,
    pub(crate) first_event: Seq,
    pub(crate) automatic: bool,
}

impl Moved {
    /// The event of it; `None` where nothing leaves. A job in the same range that was released meanwhile leaves too.
    pub(crate) fn event(&self, state: &State) -> Option<HistoryArchived> {
        let jobs = state.jobs.iter();
        let gone: Vec<JobId> = jobs
            .filter(|(id, job)| goes(*id, job, &self.leaving))
            .map(|(id, _)| id)
            .collect();
        if gone.is_empty() && self.archive.is_none() {
            return None;
        }
        Some(HistoryArchived {
            ended_before_ms: self.leaving.ended_before_ms,
            jobs: gone.len() as u64,
            first_job: gone.first().map_or(0, |id| id.0),
            last_job: gone.last().map_or(0, |id| id.0),
            archive: self.archive.clone(),
            archived_through: self.first_event.before().get(),
            automatic: self.automatic,
        })
    }
}

type Outcome = Result<(Moved, Option<ArchiveInfo>), String>;

/// An act under way: who wanted it, where its outcome goes, and its thread, where it has one.
type Running = (Wanted, Arc<Mutex<Option<Outcome>>>, Option<JoinHandle<()>>);

/// The acts of a core, of which one runs at a time.
pub(crate) struct Archivist {
    journal: Arc<dyn Journal<Event>>,
    by: Writing,
    retention: Retention,
    /// When the next scheduled act is due, monotonic ms.
    next_ms: Option<u64>,
    wanted: Option<Wanted>,
    running: Option<Running>,
    /// What was moved by the act whose event was just decided.
    last: Option<ArchiveInfo>,
    /// Where the thread of an act says that it has ended.
    bell: (Sender<()>, Receiver<()>),
}

/// The end of an act on a thread: fills its slot, also where it was left by a panic, and then says so.
struct Ending {
    slot: Arc<Mutex<Option<Outcome>>>,
    bell: Sender<()>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let mut slot = self.slot.lock();
        slot.get_or_insert_with(|| Err("it ended by a fault of the program".to_owned()));
        drop(slot);
        // One act runs at a time; a bell that still rings says the same.
        let _ = self.bell.try_send(());
    }
}

impl Archivist {
    pub(crate) fn new(journal: Arc<dyn Journal<Event>>, by: Writing) -> Self {
        Self {
            journal,
            by,
            retention: Retention::default(),
            next_ms: None,
            wanted: None,
            running: None,
            last: None,
            bell: bounded(1),
        }
    }

    /// Is told when the thread of an act has ended, so that a turn can record it.
    pub(crate) fn bell(&self) -> Receiver<()> {
        self.bell.1.clone()
    }

    pub(crate) fn keep(&mut self, retention: Retention) {
        self.retention = retention;
    }

    /// Takes an explicit act on; it begins with the end of the turn.
    pub(crate) fn ask(&mut self, request: HistoryRequest, asked: Asked, now: Now) {
        if self.wanted.is_some() || self.running.is_some() {
            let refusal = Refusal::new(
                RefusalCode::Unavailable,
                "jobs are being archived already; ask again when that has ended",
            );
            answer(asked.reply, Err(refusal));
            return;
        }
        self.wanted = Some(Wanted {
            request: HistoryRequest {
                ended_before_ms: request.ended_before_ms.min(now.wall_ms),
                ..request
            },
            automatic: false,
            reply: asked.reply,
        });
    }

    /// Where one is due by the clock, wants it.
    fn schedule(&mut self, state: &State, now: Now) {
        let Some(keep) = self.retention.keep_finished else {
            return;
        };
        let next = *self.next_ms.get_or_insert(now.mono_ms + FIRST_LOOK_MS);
        if now.mono_ms < next || self.wanted.is_some() || self.running.is_some() {
            return;
        }
        self.next_ms = Some(
            now.mono_ms
                .saturating_add(millis(self.retention.every).max(1)),
        );
        let request = HistoryRequest {
            ended_before_ms: now.wall_ms.saturating_sub(millis(keep)),
            keep_last: self.retention.keep_last,
        };
        if leaving(state, &request).jobs > 0 {
            self.wanted = Some(Wanted {
                request,
                automatic: true,
                reply: None,
            });
        }
    }

    /// After a turn whose events are durable: begins what is wanted. `state` includes the events up to `at`.
    #[expect(clippy::disallowed_methods, reason = "the real side of `Writing`")]
    pub(crate) fn begin(&mut self, state: &State, at: Seq, now: Now) {
        self.schedule(state, now);
        if self.running.is_some() {
            return;
        }
        let Some(wanted) = self.wanted.take() else {
            return;
        };
        let slot = Arc::new(Mutex::new(None));
        let (journal, state) = (Arc::clone(&self.journal), state.clone());
        let ending = Ending {
            slot: Arc::clone(&slot),
            bell: self.bell.0.clone(),
        };
        let (request, automatic) = (wanted.request, wanted.automatic);
        let act = move || {
            let moved = act(journal.as_ref(), &state, at, (request, automatic), now);
            *ending.slot.lock() = Some(moved);
        };
        if self.by == Writing::Inline {
            act();
            self.running = Some((wanted, slot, None));
            return;
        }
        let named = std::thread::Builder::new().name("holdfast-archive".to_owned());
        match named.spawn(act) {
            Ok(thread) => self.running = Some((wanted, slot, Some(thread))),
            Err(e) => failed(wanted.reply, &format!("no thread archives: {e}")),
        }
    }

    /// An act that has ended, to be decided in this turn; the reply is that of who asked for it.
    pub(crate) fn ended(&mut self) -> Option<Asked> {
        let (_, slot, _) = self.running.as_ref()?;
        let outcome = slot.lock().take()?;
        let (wanted, _, thread) = self.running.take()?;
        if let Some(thread) = thread
            && thread.join().is_err()
        {
            log::error!("the thread that archives ended by a panic");
        }
        match outcome {
            Ok((moved, info)) => {
                self.last = info;
                Some(Asked {
                    input: Input::Archived(moved),
                    reply: wanted.reply,
                })
            }
            Err(why) => {
                failed(wanted.reply, &why);
                None
            }
        }
    }

    /// The answer for whoever asked for the act that ended with `event`.
    pub(crate) fn archiving(&mut self, event: &HistoryArchived) -> Archiving {
        Archiving {
            jobs: event.jobs,
            first_job: JobId(event.first_job),
            last_job: JobId(event.last_job),
            archive: self.last.take(),
            first_event: event.archived_through + 1,
        }
    }

    /// When to turn without an input: soon for an act that needs no thread, else when the next is due. The thread of one
    /// rings the bell.
    pub(crate) fn next_wake(&self, now: Now) -> Option<u64> {
        match &self.running {
            Some((_, _, Some(_))) => return None,
            Some((_, _, None)) => return Some(now.mono_ms + LOOK_AGAIN_MS),
            None if self.wanted.is_some() => return Some(now.mono_ms + LOOK_AGAIN_MS),
            None => {}
        }
        self.retention.keep_finished?;
        Some(self.next_ms.unwrap_or(now.mono_ms + FIRST_LOOK_MS)).filter(|next| *next > now.mono_ms)
    }

    /// Waits for an act that runs: what it moved is moved, and the next act records it.
    pub(crate) fn close(&mut self) {
        if let Some((wanted, _, thread)) = self.running.take() {
            if let Some(thread) = thread
                && thread.join().is_err()
            {
                log::error!("the thread that archives ended by a panic");
            }
            failed(wanted.reply, "the engine was closed meanwhile");
        }
        if let Some(wanted) = self.wanted.take() {
            failed(wanted.reply, "the engine was closed");
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn answer(reply: Option<Sender<Result<Answer, Refusal>>>, answer: Result<Answer, Refusal>) {
    if let Some(reply) = reply {
        // The caller may have gone; then nobody needs the answer.
        let _ = reply.send(answer);
    }
}

fn failed(reply: Option<Sender<Result<Answer, Refusal>>>, why: &str) {
    log::warn!("no job was archived: {why}");
    let text = format!("no job was archived: {why}");
    answer(reply, Err(Refusal::new(RefusalCode::Failed, text)));
}

/// The work: a checkpoint that includes every event so far, a seam in the log, and the segments before the oldest job
/// that stays moved behind it. The jobs leave the state afterwards, by the event, so that a kill in between leaves them
/// where they were.
fn act(
    journal: &dyn Journal<Event>,
    state: &State,
    at: Seq,
    (request, automatic): (HistoryRequest, bool),
    now: Now,
) -> Outcome {
    let leaving = leaving(state, &request);
    let bytes = checkpoint::encode(state, at)?;
    // What leaves is known by it alone from now on, unless the archives are at hand.
    checkpoint::decode(&bytes, at).map_err(|why| why.to_string())?;
    journal
        .checkpoint(at, checkpoint::PROJECTION, &bytes)
        .map_err(|e| e.to_string())?;
    if leaving.jobs > 0 {
        journal.roll().map_err(|e| e.to_string())?;
    }
    let before = oldest_that_stays(journal, state, &leaving)?.unwrap_or(at.next());
    let description = serde_json::json!({
        "cluster": state.cluster,
        "ended_before_ms": leaving.ended_before_ms,
        "jobs": leaving.jobs,
        "first_job": leaving.first.0,
        "last_job": leaving.last.0,
    });
    let archive = journal
        .archive(&ArchiveRequest {
            before,
            projection: checkpoint::PROJECTION,
            description: description.to_string().as_bytes(),
            at_ms: now.wall_ms,
        })
        .map_err(|e| e.to_string())?;
    let moved = Moved {
        leaving,
        archive: archive.as_ref().map(|info| info.file.clone()),
        first_event: journal.first(),
        automatic,
    };
    Ok((moved, archive))
}

/// Archives in a journal that no engine has open, as [`Engine::archive`](crate::Engine::archive) does; no job is resumed.
/// `now_ms` is the wall clock, ms since the epoch.
///
/// # Errors
/// Where the journal holds no state, an event that could not have followed, or cannot be written.
pub fn archive_journal(
    journal: &dyn Journal<Event>,
    request: &HistoryRequest,
    now_ms: u64,
) -> Result<Archiving, OpenError> {
    let Opened { mut state, at, .. } = replayed(journal).map_err(OpenError::damaged)?;
    let request = HistoryRequest {
        ended_before_ms: request.ended_before_ms.min(now_ms),
        ..*request
    };
    let now = Now {
        wall_ms: now_ms,
        mono_ms: state.last_mono_ms,
    };
    let acted = act(journal, &state, at, (request, false), now);
    let (moved, archive) = acted.map_err(OpenError::environment)?;
    let mut done = Archiving {
        jobs: 0,
        first_job: JobId(0),
        last_job: JobId(0),
        archive,
        first_event: moved.first_event.get(),
    };
    if let Some(event) = moved.event(&state) {
        (done.jobs, done.first_job, done.last_job) =
            (event.jobs, JobId(event.first_job), JobId(event.last_job));
        let event = Event::from(event);
        state.apply(now_ms, &event).map_err(OpenError::damaged)?;
        let appended = journal
            .append(&[event], now_ms)
            .map_err(OpenError::environment)?;
        checkpoint::keep(journal, &state, appended.last);
    }
    Ok(done)
}

/// The first event in the log of the oldest job that stays; ids are given in the order of submission.
fn oldest_that_stays(
    journal: &dyn Journal<Event>,
    state: &State,
    leaving: &Leaving,
) -> Result<Option<Seq>, String> {
    let mut staying = state
        .jobs
        .iter()
        .filter(|(id, job)| !goes(*id, job, leaving));
    let Some((id, _)) = staying.next() else {
        return Ok(None);
    };
    let found = journal
        .by_stream(StreamId(id.0), Seq::FIRST, 1)
        .map_err(|e| e.to_string())?;
    // A job that stays and of which the log holds nothing: nothing moves.
    Ok(Some(found.first().map_or(Seq::FIRST, |record| record.seq)))
}

/// Whether a job is one of those that leave.
pub(crate) fn goes(id: JobId, job: &crate::state::Job, leaving: &Leaving) -> bool {
    leaving.jobs > 0
        && job.released
        && (leaving.first..=leaving.last).contains(&id)
        && job.ended_before(leaving.ended_before_ms)
}

#[cfg(test)]
mod tests;
