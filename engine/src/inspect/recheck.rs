//! Decides anew what was recorded. Inputs are not recorded, but each event tells which input it came from: that input
//! is made again and decided by the engine of today, on the state as it stood before.

use holdfast_journal::{Record, Seq};
use holdfast_storage::BackendId;

use crate::convert;
use crate::decide::{Input, NewRepository, advance, decide};
use crate::due::{Credits, InFlight, due};
use crate::event::{self, Event};
use crate::ids::{BlobHash, JobId, TaskId};
use crate::order::{Completion, Failure, FailureClass, JobSpec, Output, StatusCode};
use crate::replay::Replay;
use crate::retention::{Leaving, Moved};
use crate::seams::Now;
use crate::spec::{JobKind, RepositoryAccess};
use crate::state::{Job, State};

/// What the engine of today says to a record.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// Given the same input it decides the same.
    Same,
    /// It decides something else.
    Differs {
        /// What it would record instead; nothing, where it would record nothing here.
        today: Vec<Event>,
        /// Why, in words.
        why: String,
    },
}

/// Decides `window[at]` anew on the state `before` it. The records beside it, as far as the window has them, tell
/// which decision it was a part of: two on each side are enough.
pub fn recheck(before: &Replay, window: &[Record<Event>], at: usize) -> Verdict {
    let Some(record) = window.get(at) else {
        return Verdict::Same;
    };
    let case = Case {
        state: before.state(),
        record,
        last: at.checked_sub(1).and_then(|i| window.get(i)),
        last_but_one: at.checked_sub(2).and_then(|i| window.get(i)),
        next: window.get(at + 1),
    };
    case.verdict()
}

struct Case<'a> {
    state: &'a State,
    record: &'a Record<Event>,
    last: Option<&'a Record<Event>>,
    last_but_one: Option<&'a Record<Event>>,
    next: Option<&'a Record<Event>>,
}

impl Case<'_> {
    fn verdict(&self) -> Verdict {
        match &self.record.event {
            Event::EngineStarted(e) => self.opened(e),
            Event::RepositoryCreated(_)
            | Event::RepositoryDropped(_)
            | Event::BackupSubmitted(_)
            | Event::RestoreSubmitted(_) => self.statement(),
            Event::HistoryArchived(e) => self.archived(e),
            Event::TaskStarted(e) => self.started(e),
            Event::TaskFinished(_)
            | Event::TaskFailed(_)
            | Event::BackupPinned(_)
            | Event::PinLost(_)
            | Event::UploadPlanned(_)
            | Event::BackupMetaSaved(_)
            | Event::RestoreMetaPrepared(_)
            | Event::DownloadPlanned(_) => self.any_of(self.completions()),
            Event::TaskStopped(_) => self.let_go(),
            Event::JobStopping(e) => self.stopping(e),
            Event::WorkerFenced(e) => self.fenced(e),
            Event::StateEntered(_)
            | Event::BackupCommitStarted(_)
            | Event::RestoreCommitStarted(_)
            | Event::CleanupStarted(_)
            | Event::BackupFinished(_)
            | Event::RestoreFinished(_)
            | Event::JobCancelled(_)
            | Event::JobReleased(_) => self.move_by_itself(),
        }
    }

    fn now(&self, mono_ms: u64) -> Now {
        Now {
            wall_ms: self.record.at_ms,
            mono_ms,
        }
    }

    /// The monotonic time of the record, where it carries none: the newest that is known, and what the wall clock
    /// says has passed since.
    fn about_mono_ms(&self) -> u64 {
        let passed = self.record.at_ms.saturating_sub(self.state.last_wall_ms);
        self.state.last_mono_ms.saturating_add(passed)
    }

    fn job(&self) -> Option<&Job> {
        self.state.jobs.get(&JobId(self.record.stream.get()))
    }

    fn opened(&self, e: &event::EngineStarted) -> Verdict {
        if e.catalog < self.state.catalog {
            let why = format!(
                "an opening over a catalog at {} is refused, the journal had seen it at {}",
                e.catalog, self.state.catalog
            );
            return Verdict::Differs {
                today: Vec::new(),
                why,
            };
        }
        let input = Input::Open {
            cluster: e.cluster.clone(),
            catalog: e.catalog,
        };
        self.decides(&input, self.now(e.mono_ms))
    }

    fn archived(&self, e: &event::HistoryArchived) -> Verdict {
        let moved = Moved {
            leaving: Leaving {
                ended_before_ms: e.ended_before_ms,
                jobs: e.jobs,
                first: JobId(e.first_job),
                last: JobId(e.last_job),
            },
            archive: e.archive.clone(),
            first_event: Seq(e.archived_through).next(),
            automatic: e.automatic,
        };
        self.decides(&Input::Archived(moved), self.now(0))
    }

    fn statement(&self) -> Verdict {
        let (input, mono_ms) = match &self.record.event {
            Event::RepositoryCreated(e) => (Input::CreateRepository(created(e)), 0),
            Event::RepositoryDropped(e) => {
                let known = self.state.repositories.values();
                let name = known
                    .into_iter()
                    .find(|record| record.id.0 == e.repository)
                    .map(|record| record.name.clone());
                (Input::DropRepository(name.unwrap_or_default()), 0)
            }
            Event::BackupSubmitted(e) => match convert::backup_in(e, &self.state.cluster) {
                JobSpec::Backup(spec) => (Input::Backup(spec.as_ref().clone()), e.mono_ms),
                JobSpec::Restore(spec) => (Input::Restore(spec.as_ref().clone()), e.mono_ms),
            },
            Event::RestoreSubmitted(e) => match convert::restore_in(e, &self.state.cluster) {
                JobSpec::Restore(spec) => (Input::Restore(spec.as_ref().clone()), e.mono_ms),
                JobSpec::Backup(spec) => (Input::Backup(spec.as_ref().clone()), e.mono_ms),
            },
            _ => return Verdict::Same,
        };
        self.decides(&input, self.now(mono_ms))
    }

    /// A start comes when no job can move by itself any more.
    fn started(&self, e: &event::TaskStarted) -> Verdict {
        let now = self.now(e.mono_ms);
        let none = Credits {
            workers: 0,
            per_backend: 0,
            coordinators: 0,
        };
        for input in due(self.state, none, &InFlight::default(), now) {
            let today = decide(self.state, &input, now).unwrap_or_default();
            if !today.is_empty() {
                let why = "a job moves by itself before a task starts".to_owned();
                return Verdict::Differs { today, why };
            }
        }
        let index = self.job().and_then(|job| job.current()?.index_of(e.task));
        let Some(index) = index else {
            let why = format!("job {} has no task {} now", e.job, e.task);
            return Verdict::Differs {
                today: Vec::new(),
                why,
            };
        };
        let input = Input::Dispatch {
            job: JobId(e.job),
            index,
        };
        self.decides(&input, now)
    }

    fn completion(&self, task: TaskId, outcome: Result<Output, Failure>) -> Option<Input> {
        let job = self.job()?;
        let phase = job.current()?;
        let attempt = phase.running.get(&phase.index_of(task.0)?)?.attempt;
        Some(Input::Completion(Box::new(Completion {
            job: job.id,
            task,
            attempt,
            epoch: self.state.epoch,
            outcome,
        })))
    }

    /// The one task of a coordinator, or any that runs: what it told is the job's affair.
    fn running(&self) -> Option<TaskId> {
        let phase = self.job()?.current()?;
        phase.running.keys().next().map(|index| phase.task(*index))
    }

    /// The ends of a worker that the record may have come from, with their times.
    fn completions(&self) -> Vec<(Input, Now)> {
        let failure = |class, message: &str| {
            Err(Failure {
                class,
                message: message.to_owned(),
            })
        };
        let (task, mono_ms, outcomes) = match &self.record.event {
            Event::TaskFinished(e) => {
                let moved = Output::Moved {
                    bytes: e.bytes,
                    objects: e.objects,
                    reused_bytes: e.reused_bytes,
                };
                (Some(TaskId(e.task)), e.mono_ms, vec![Ok(moved)])
            }
            Event::TaskFailed(e) => {
                let wait = u32::try_from(e.backoff_ms).unwrap_or(u32::MAX);
                let classes = match e.excluded {
                    Some(backend) => vec![FailureClass::Replica(BackendId(backend))],
                    None => vec![FailureClass::Retry, FailureClass::RetryAfter(wait)],
                };
                let outcomes = classes.into_iter().map(|class| failure(class, &e.message));
                (Some(TaskId(e.task)), e.mono_ms, outcomes.collect())
            }
            Event::PinLost(e) => {
                let lost = failure(FailureClass::PinLost, &e.message);
                (self.running(), e.mono_ms, vec![lost])
            }
            event => {
                let output = learned(event).map(Ok);
                let mono_ms = match self.next.map(|next| &next.event) {
                    Some(Event::TaskFinished(e)) => e.mono_ms,
                    _ => self.about_mono_ms(),
                };
                (self.running(), mono_ms, output.into_iter().collect())
            }
        };
        let inputs = outcomes
            .into_iter()
            .filter_map(|outcome| self.completion(task?, outcome));
        inputs.map(|input| (input, self.now(mono_ms))).collect()
    }

    /// A worker that let go: its job was ending, or its failure ends the job with the record after it.
    fn let_go(&self) -> Verdict {
        let Event::TaskStopped(e) = &self.record.event else {
            return Verdict::Same;
        };
        let class = |class, message: String| {
            self.completion(TaskId(e.task), Err(Failure { class, message }))
        };
        let ending = self.job().is_some_and(|job| job.stop.is_some());
        let (inputs, mono_ms) = match self.next.map(|next| &next.event) {
            _ if ending => {
                let stopped = class(FailureClass::Stopped, String::new());
                (vec![stopped], self.about_mono_ms())
            }
            Some(Event::JobStopping(next)) if next.job == e.job => {
                let fatal = FailureClass::Fatal(StatusCode::from_number(next.code));
                // The last of too many failures wraps its words.
                let words = next.message.split_once(" times, last: ");
                let words = words.map(|(_, words)| class(FailureClass::Retry, words.to_owned()));
                let fatal = class(fatal, next.message.clone());
                (vec![fatal, words.flatten()], next.mono_ms)
            }
            // The window ends here: what would follow is not known.
            None => return Verdict::Same,
            Some(_) => (
                vec![class(FailureClass::Stopped, String::new())],
                self.about_mono_ms(),
            ),
        };
        let inputs = inputs.into_iter().flatten();
        self.any_of(inputs.map(|input| (input, self.now(mono_ms))).collect())
    }

    fn stopping(&self, e: &event::JobStopping) -> Verdict {
        let now = self.now(e.mono_ms);
        let part_of_failure = matches!(
            self.last.map(|last| &last.event),
            Some(Event::TaskStopped(last)) if last.job == e.job
        );
        let Some(job) = self.job() else {
            return self.any_of(Vec::new());
        };
        if part_of_failure && job.stop.is_none() {
            return Verdict::Same;
        }
        let cancel = Input::Cancel {
            kind: job.kind(),
            database: job.database().to_owned(),
        };
        let lost = Output::MarkerLost {
            message: e.message.clone(),
        };
        let lost = self
            .running()
            .and_then(|task| self.completion(task, Ok(lost)));
        let mut inputs = vec![Input::Advance(job.id), cancel];
        inputs.extend(lost.filter(|_| job.kind() == JobKind::Backup));
        self.any_of(inputs.into_iter().map(|input| (input, now)).collect())
    }

    fn fenced(&self, e: &event::WorkerFenced) -> Verdict {
        let index = self.job().and_then(|job| job.current()?.index_of(e.task));
        let input = index.map(|index| Input::Fence {
            job: JobId(e.job),
            index,
        });
        let now = self.now(self.about_mono_ms());
        self.any_of(input.into_iter().map(|input| (input, now)).collect())
    }

    fn move_by_itself(&self) -> Verdict {
        let Some(job) = self.job() else {
            return self.any_of(Vec::new());
        };
        let fenced = |record: Option<&Record<Event>>| {
            record.is_some_and(|r| {
                r.stream == self.record.stream && matches!(r.event, Event::WorkerFenced(_))
            })
        };
        let cancelled = self
            .last
            .is_some_and(|r| matches!(r.event, Event::JobCancelled(_)));
        let with_fence = matches!(
            self.record.event,
            Event::JobCancelled(_) | Event::JobReleased(_)
        );
        if with_fence && (fenced(self.last) || cancelled && fenced(self.last_but_one)) {
            // A cleanup that hangs is given up with its fence, in one decision.
            return Verdict::Same;
        }
        // Moves carry no monotonic time. Where the job is ending, only one is waited for, and it may have come later
        // than the wall clock tells.
        let mut times = vec![self.about_mono_ms(), self.state.last_mono_ms];
        if job.stop.is_some() {
            times.push(u64::MAX);
        }
        let at = |mono_ms| (Input::Advance(job.id), self.now(mono_ms));
        self.any_of(times.into_iter().map(at).collect())
    }

    fn decides(&self, input: &Input, now: Now) -> Verdict {
        self.any_of(vec![(input.clone(), now)])
    }

    /// Same, where one of the inputs leads to a decision that begins with the record.
    fn any_of(&self, inputs: Vec<(Input, Now)>) -> Verdict {
        let mut told = None;
        for (input, now) in &inputs {
            let decided = match input {
                Input::Advance(id) => self
                    .state
                    .jobs
                    .get(id)
                    .and_then(|job| advance(self.state, job, *now))
                    .ok_or_else(|| format!("job {id} does not move by itself here")),
                input => decide(self.state, input, *now).map_err(|refusal| refusal.message),
            };
            match decided {
                Ok(events) if events.first() == Some(&self.record.event) => return Verdict::Same,
                Ok(events) if told.is_none() => {
                    let why = "the same input leads to something else".to_owned();
                    told = Some((events, why));
                }
                Err(why) if told.is_none() => told = Some((Vec::new(), why)),
                _ => {}
            }
        }
        let (today, why) = told.unwrap_or_else(|| {
            let why = "nothing that could have led to it can happen here".to_owned();
            (Vec::new(), why)
        });
        Verdict::Differs { today, why }
    }
}

fn created(e: &event::RepositoryCreated) -> NewRepository {
    NewRepository {
        name: e.name.clone(),
        broker: e.broker.clone(),
        location: e.location.clone(),
        access: match e.read_only {
            true => RepositoryAccess::ReadOnly,
            false => RepositoryAccess::ReadWrite,
        },
        created_ms: e.created_ms,
        properties: e.properties.clone(),
    }
}

/// What a coordinator's task must have given back for this event.
fn learned(event: &Event) -> Option<Output> {
    Some(match event {
        Event::BackupPinned(e) => Output::Pinned {
            plan: BlobHash(e.plan),
            lanes: convert::lanes_in(&e.lanes),
            tablets: e.tablets,
            files: e.files,
            bytes: e.bytes,
        },
        Event::UploadPlanned(e) => Output::UploadPlanned {
            plan: BlobHash(e.plan),
            lanes: convert::lanes_in(&e.lanes),
            new_bytes: e.new_bytes,
            new_objects: e.new_objects,
            reused_bytes: e.reused_bytes,
        },
        Event::BackupMetaSaved(e) => Output::MetaSaved {
            plan: BlobHash(e.plan),
            marker: e.marker.clone(),
            root: e.root,
        },
        Event::RestoreMetaPrepared(e) => Output::MetaPrepared {
            plan: BlobHash(e.plan),
            lanes: convert::lanes_in(&e.lanes),
            objects: convert::objects_in(&e.objects),
            drops: convert::objects_in(&e.drops),
            replication_num: e.replication_num,
            note: e.note.clone(),
            tablets: e.tablets,
            files: e.files,
        },
        Event::DownloadPlanned(e) => Output::DownloadPlanned {
            plan: BlobHash(e.plan),
            lanes: convert::lanes_in(&e.lanes),
            bytes: e.bytes,
        },
        _ => return None,
    })
}
