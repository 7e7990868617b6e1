//! The only writer of state: takes one event, checks that it may follow what came before, and changes what it says.
//! It never refuses on policy; an event that cannot follow is an [`IllegalEvent`] and leaves the state unusable.

use std::fmt;
use std::sync::Arc;

use crate::convert;
use crate::event::{self, Event};
use crate::ids::{BlobHash, Epoch, JobId, RepositoryId};
use crate::order::{JobSpec, Lane, Work};
use crate::retention::{self, Leaving};
use crate::spec::RepositoryAccess;
use crate::state::transitions;
use crate::state::{
    Ending, Facts, Job, JobClock, NextWork, Phase, Plans, RepositoryRecord, Stage, State, Stop,
    Trouble,
};
use crate::view::{BackupState, RestoreState};

/// An event that cannot follow the ones before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IllegalEvent {
    /// What does not fit.
    pub(crate) message: String,
}

impl fmt::Display for IllegalEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for IllegalEvent {}

type Applied = Result<(), IllegalEvent>;

fn illegal<T>(message: impl Into<String>) -> Result<T, IllegalEvent> {
    Err(IllegalEvent {
        message: message.into(),
    })
}

impl State {
    /// Takes one event that was recorded at `at_ms`.
    pub(crate) fn apply(&mut self, at_ms: u64, event: &Event) -> Applied {
        if self.epoch.0 == 0 && !matches!(event, Event::EngineStarted(_)) {
            return illegal("the first event must be EngineStarted");
        }
        match event {
            Event::EngineStarted(e) => return self.engine_started(at_ms, e),
            Event::RepositoryCreated(e) => self.repository_created(e)?,
            Event::RepositoryDropped(e) => self.repository_dropped(e)?,
            Event::HistoryArchived(e) => self.history_archived(e)?,
            Event::BackupSubmitted(e) => {
                let spec = convert::backup_in(e, &self.cluster);
                self.submitted(at_ms, (e.job, e.first_task, e.mono_ms), spec)?;
            }
            Event::RestoreSubmitted(e) => {
                let spec = convert::restore_in(e, &self.cluster);
                self.submitted(at_ms, (e.job, e.first_task, e.mono_ms), spec)?;
            }
            Event::StateEntered(e) => self.state_entered(at_ms, e)?,
            Event::TaskStarted(_)
            | Event::TaskFinished(_)
            | Event::TaskFailed(_)
            | Event::WorkerFenced(_)
            | Event::TaskStopped(_) => self.task_event(event)?,
            Event::BackupPinned(_)
            | Event::UploadPlanned(_)
            | Event::BackupMetaSaved(_)
            | Event::RestoreMetaPrepared(_)
            | Event::DownloadPlanned(_) => self.plan_event(at_ms, event)?,
            Event::PinLost(e) => self.pin_lost(e)?,
            Event::BackupCommitStarted(e) => self.commit_started(e.job)?,
            Event::RestoreCommitStarted(e) => self.commit_started(e.job)?,
            Event::JobStopping(e) => self.job_stopping(e)?,
            Event::CleanupStarted(e) => self.cleanup_started(e)?,
            Event::BackupFinished(e) => self.job_finished(at_ms, e.job)?,
            Event::RestoreFinished(e) => self.job_finished(at_ms, e.job)?,
            Event::JobCancelled(e) => self.job_cancelled(at_ms, e.job)?,
            Event::JobReleased(e) => self.job_released(e.job)?,
        }
        self.note_time(at_ms, event);
        Ok(())
    }

    /// Keeps the newest times, and the running time of the job that the event is about.
    fn note_time(&mut self, at_ms: u64, event: &Event) {
        self.last_wall_ms = self.last_wall_ms.max(at_ms);
        let mono_ms = match event {
            Event::BackupSubmitted(e) => Some(e.mono_ms),
            Event::RestoreSubmitted(e) => Some(e.mono_ms),
            Event::TaskStarted(e) => Some(e.mono_ms),
            Event::TaskFinished(e) => Some(e.mono_ms),
            Event::TaskFailed(e) => Some(e.mono_ms),
            Event::JobStopping(e) => Some(e.mono_ms),
            Event::PinLost(e) => Some(e.mono_ms),
            _ => None,
        };
        if let Some(mono_ms) = mono_ms {
            self.last_mono_ms = self.last_mono_ms.max(mono_ms);
        }
        let id = JobId(holdfast_journal::Event::stream(event).get());
        let last = self.last_mono_ms;
        if let Some(job) = self.jobs.get_mut(&id) {
            if job.ending.is_none() || job.facts.elapsed_ms == 0 {
                job.facts.elapsed_ms = job.facts.elapsed_ms.max(job.clock.elapsed_ms(last));
            }
            self.changed.insert(id);
        }
    }

    fn engine_started(&mut self, at_ms: u64, e: &event::EngineStarted) -> Applied {
        if Some(e.epoch) != self.epoch.0.checked_add(1) {
            return illegal(format!("epoch {} follows epoch {}", e.epoch, self.epoch));
        }
        if self.epoch.0 > 0 && e.cluster != self.cluster {
            return illegal(format!(
                "cluster '{}' follows cluster '{}'",
                e.cluster, self.cluster
            ));
        }
        if e.cluster.is_empty() {
            return illegal("an opening names no cluster");
        }
        let between_ms = at_ms.saturating_sub(self.last_wall_ms);
        for id in &self.working {
            let Some(job) = self.jobs.get_mut(id) else {
                continue;
            };
            let ran_ms = job.clock.elapsed_ms(self.last_mono_ms);
            job.clock = JobClock {
                base_ms: ran_ms.saturating_add(between_ms),
                since_mono_ms: e.mono_ms,
            };
            job.epoch = Epoch(e.epoch);
            if let Some(stop) = &mut job.stop {
                stop.since_mono_ms = e.mono_ms;
            }
            for phase in [&mut job.phase, &mut job.cleanup].into_iter().flatten() {
                phase.interrupt();
            }
            self.changed.insert(*id);
        }
        self.cluster.clone_from(&e.cluster);
        self.epoch = Epoch(e.epoch);
        self.catalog = e.catalog;
        self.last_wall_ms = at_ms;
        self.last_mono_ms = e.mono_ms;
        Ok(())
    }

    fn repository_created(&mut self, e: &event::RepositoryCreated) -> Applied {
        if self.repositories.contains_key(&e.name) {
            return illegal(format!("repository '{}' is created twice", e.name));
        }
        self.take_ids(e.repository, 1)?;
        let access = if e.read_only {
            RepositoryAccess::ReadOnly
        } else {
            RepositoryAccess::ReadWrite
        };
        let record = RepositoryRecord {
            id: RepositoryId(e.repository),
            name: e.name.clone(),
            broker: e.broker.clone(),
            location: e.location.clone(),
            access,
            created_ms: e.created_ms,
            properties: e.properties.clone(),
        };
        self.repositories.insert(e.name.clone(), Arc::new(record));
        self.repositories_changed = true;
        Ok(())
    }

    fn repository_dropped(&mut self, e: &event::RepositoryDropped) -> Applied {
        let name = self
            .repository(RepositoryId(e.repository))
            .map(|record| record.name.clone());
        let Some(name) = name else {
            return illegal(format!(
                "repository {} is dropped but unknown",
                e.repository
            ));
        };
        self.repositories.remove(&name);
        self.repositories_changed = true;
        Ok(())
    }

    /// Jobs leave: exactly those that the event counts.
    fn history_archived(&mut self, e: &event::HistoryArchived) -> Applied {
        let leaving = Leaving {
            ended_before_ms: e.ended_before_ms,
            jobs: e.jobs,
            first: JobId(e.first_job),
            last: JobId(e.last_job),
        };
        let jobs = self.jobs.iter();
        let gone: Vec<JobId> = jobs
            .filter(|(id, job)| retention::goes(*id, job, &leaving))
            .map(|(id, _)| id)
            .collect();
        let ends = [gone.first(), gone.last()].map(|id| id.map_or(0, |id| id.0));
        if gone.len() as u64 != e.jobs || ends != [e.first_job, e.last_job] {
            return illegal(format!(
                "{} jobs from {} to {} are archived, {} could leave",
                e.jobs,
                e.first_job,
                e.last_job,
                gone.len()
            ));
        }
        for id in gone {
            self.jobs.remove(&id);
            self.changed.insert(id);
        }
        Ok(())
    }

    /// Ids are given out densely: `first` must be the next one.
    fn take_ids(&mut self, first: u64, count: u64) -> Applied {
        if first != self.next_id {
            return illegal(format!(
                "id {first} is given out, expected {}",
                self.next_id
            ));
        }
        self.next_id = first.saturating_add(count);
        Ok(())
    }

    fn submitted(&mut self, at_ms: u64, ids: (u64, u64, u64), spec: JobSpec) -> Applied {
        let (id, first_task, mono_ms) = ids;
        self.take_ids(id, 1)?;
        self.take_ids(first_task, 1)?;
        let (stage, work, objects) = match &spec {
            JobSpec::Backup(s) => (
                Stage::Backup(BackupState::Pending),
                Work::Pin,
                s.objects.clone(),
            ),
            JobSpec::Restore(s) => {
                let objects = match &s.selection {
                    crate::spec::Selection::Only(objects) => objects.clone(),
                    _ => Vec::new(),
                };
                (
                    Stage::Restore(RestoreState::Pending),
                    Work::PrepareMeta,
                    objects,
                )
            }
        };
        let job = Job {
            id: JobId(id),
            spec,
            created_ms: at_ms,
            clock: JobClock {
                base_ms: 0,
                since_mono_ms: mono_ms,
            },
            epoch: self.epoch,
            stage,
            phase: Some(Phase::single(work, first_task, None)),
            next: None,
            stop: None,
            cleanup: None,
            ending: None,
            released: false,
            committed: false,
            marker: None,
            plans: Plans::default(),
            facts: Facts {
                objects,
                ..Facts::default()
            },
        };
        if let Some(other) = self.active.get(job.database()) {
            return illegal(format!(
                "job {id} begins while job {other} of its database is active"
            ));
        }
        self.active.insert(job.database().to_owned(), job.id);
        self.working.insert(job.id);
        self.jobs.insert(job);
        Ok(())
    }

    fn job_mut(&mut self, id: u64) -> Result<&mut Job, IllegalEvent> {
        match self.jobs.get_mut(&JobId(id)) {
            Some(job) if job.released => illegal(format!("job {id} is released already")),
            Some(job) => Ok(job),
            None => illegal(format!("job {id} is unknown")),
        }
    }

    fn state_entered(&mut self, at_ms: u64, e: &event::StateEntered) -> Applied {
        let lanes = convert::lanes_in(&e.lanes);
        let tasks: u64 = lanes.iter().map(|lane| u64::from(lane.tasks)).sum();
        self.take_ids(e.first_task, tasks)?;
        let job = self.job_mut(e.job)?;
        let Some(phase) = job.phase.as_ref().filter(|phase| phase.is_complete()) else {
            return illegal(format!("job {} moves on before its work is done", e.job));
        };
        let Some(step) = transitions::after(job.stage, phase.work) else {
            return illegal(format!("job {} moves on from its last work", e.job));
        };
        let (stage, work) = step.to;
        if stage.number() != e.state || work as u8 != e.work {
            return illegal(format!(
                "job {} enters state {} work {}, expected state {} work {}",
                e.job,
                e.state,
                e.work,
                stage.number(),
                work as u8
            ));
        }
        if step.commits != job.committed || job.stop.is_some() || job.ending.is_some() {
            return illegal(format!("job {} moves on although it may not", e.job));
        }
        let plan = e.plan.map(BlobHash);
        match work {
            Work::PlanUpload | Work::PlanDownload => {
                job.facts.snapshot_finished_ms = Some(at_ms);
            }
            Work::SaveMeta | Work::Prepare => job.facts.transfer_finished_ms = Some(at_ms),
            _ => {}
        }
        job.stage = stage;
        job.next = None;
        job.phase = Some(Phase::new(work, e.first_task, &lanes, plan));
        Ok(())
    }

    fn task_event(&mut self, event: &Event) -> Applied {
        let (id, task) = match event {
            Event::TaskStarted(e) => (e.job, e.task),
            Event::TaskFinished(e) => (e.job, e.task),
            Event::TaskFailed(e) => (e.job, e.task),
            Event::WorkerFenced(e) => (e.job, e.task),
            Event::TaskStopped(e) => (e.job, e.task),
            _ => return Ok(()),
        };
        let job = self.job_mut(id)?;
        let starts = job.starts_tasks();
        let Some(phase) = job.cleanup.as_mut().or(job.phase.as_mut()) else {
            return illegal(format!("task {task} of job {id}: the job has no work"));
        };
        let Some(index) = phase.index_of(task) else {
            return illegal(format!(
                "task {task} of job {id} is not in its present work"
            ));
        };
        let done = match event {
            Event::TaskStarted(e) if starts => phase.start(index, e.attempt, e.mono_ms),
            Event::TaskStarted(_) => Err("started although its job is ending".to_owned()),
            Event::TaskFinished(e) => {
                let done = phase.finish(index, e.attempt);
                job.facts.moved_bytes = job.facts.moved_bytes.saturating_add(e.bytes);
                job.facts.moved_objects = job.facts.moved_objects.saturating_add(e.objects);
                job.facts.reused_bytes = job.facts.reused_bytes.saturating_add(e.reused_bytes);
                done
            }
            Event::TaskFailed(e) => fail(phase, index, e),
            Event::WorkerFenced(e) => phase.let_go(index, e.attempt),
            Event::TaskStopped(e) => phase.let_go(index, e.attempt),
            _ => Ok(()),
        };
        done.map_err(|text| IllegalEvent {
            message: format!("task {task} of job {id}: {text}"),
        })
    }

    fn plan_event(&mut self, at_ms: u64, event: &Event) -> Applied {
        let (id, expected, plan, lanes) = match event {
            Event::BackupPinned(e) => (e.job, Work::Pin, e.plan, convert::lanes_in(&e.lanes)),
            Event::UploadPlanned(e) => {
                (e.job, Work::PlanUpload, e.plan, convert::lanes_in(&e.lanes))
            }
            Event::BackupMetaSaved(e) => (e.job, Work::SaveMeta, e.plan, one_task()),
            Event::RestoreMetaPrepared(e) => (
                e.job,
                Work::PrepareMeta,
                e.plan,
                convert::lanes_in(&e.lanes),
            ),
            Event::DownloadPlanned(e) => (
                e.job,
                Work::PlanDownload,
                e.plan,
                convert::lanes_in(&e.lanes),
            ),
            _ => return Ok(()),
        };
        let job = self.job_mut(id)?;
        let found = job.phase.as_ref().map(|phase| phase.work);
        if found != Some(expected) {
            return illegal(format!("job {id}: a plan of {expected:?} during {found:?}"));
        }
        let plan = BlobHash(plan);
        job.next = Some(NextWork { plan, lanes });
        match event {
            Event::BackupPinned(e) => {
                job.facts.tablets = e.tablets;
                job.facts.files = e.files;
                job.facts.total_bytes = e.bytes;
            }
            Event::UploadPlanned(e) => {
                job.plans.upload = Some(plan);
                job.facts.reused_bytes = e.reused_bytes;
            }
            Event::BackupMetaSaved(e) => {
                job.plans.meta = Some(plan);
                job.marker = Some((e.marker.clone(), e.root));
            }
            Event::RestoreMetaPrepared(e) => {
                job.plans.stage = Some(plan);
                job.facts.objects = convert::objects_in(&e.objects);
                job.facts.drops = convert::objects_in(&e.drops);
                job.facts.replication_num = e.replication_num;
                job.facts.note.clone_from(&e.note);
                job.facts.meta_prepared_ms = Some(at_ms);
                job.facts.tablets = e.tablets;
                job.facts.files = e.files;
            }
            Event::DownloadPlanned(e) => job.facts.total_bytes = e.bytes,
            _ => {}
        }
        Ok(())
    }

    fn pin_lost(&mut self, e: &event::PinLost) -> Applied {
        self.take_ids(e.first_task, 1)?;
        let job = self.job_mut(e.job)?;
        // Workers of the old point may still run: their tasks are no longer the job's, so nothing they do counts.
        let may = job.stop.is_none() && job.ending.is_none() && !job.committed;
        if !matches!(job.stage, Stage::Backup(_)) || !may {
            return illegal(format!("job {} cannot go back to PENDING here", e.job));
        }
        job.stage = Stage::Backup(BackupState::Pending);
        job.phase = Some(Phase::single(Work::Pin, e.first_task, None));
        job.next = None;
        job.plans = Plans::default();
        job.facts.snapshot_finished_ms = None;
        job.facts.transfer_finished_ms = None;
        Ok(())
    }

    fn commit_started(&mut self, id: u64) -> Applied {
        let job = self.job_mut(id)?;
        let ready = job.phase.as_ref().is_some_and(|phase| {
            phase.is_complete()
                && transitions::after(job.stage, phase.work).is_some_and(|step| step.commits)
        });
        if !ready || job.committed || job.stop.is_some() {
            return illegal(format!("job {id} cannot commit here"));
        }
        job.committed = true;
        Ok(())
    }

    fn job_stopping(&mut self, e: &event::JobStopping) -> Applied {
        let job = self.job_mut(e.job)?;
        if job.stop.is_some() || job.ending.is_some() {
            return illegal(format!("job {} is ending already", e.job));
        }
        if job.committed && !matches!(job.stage, Stage::Backup(BackupState::UploadInfo)) {
            return illegal(format!("job {} is past its point of no return", e.job));
        }
        job.stop = Some(Stop {
            code: crate::order::StatusCode::from_number(e.code),
            message: e.message.clone(),
            since_mono_ms: e.mono_ms,
        });
        Ok(())
    }

    fn cleanup_started(&mut self, e: &event::CleanupStarted) -> Applied {
        self.take_ids(e.first_task, 1)?;
        let job = self.job_mut(e.job)?;
        let expected = match job.ending {
            Some(Ending::Finished) => transitions::tidy_of(job.stage),
            _ => transitions::undo_of(job.stage),
        };
        let idle = job
            .phase
            .as_ref()
            .is_none_or(|phase| phase.running.is_empty());
        let may = job.stop.is_some() || job.ending.is_some();
        if job.cleanup.is_some() || !idle || !may || expected as u8 != e.work {
            return illegal(format!(
                "job {} cannot begin cleanup {} here",
                e.job, e.work
            ));
        }
        job.cleanup = Some(Phase::single(expected, e.first_task, None));
        Ok(())
    }

    fn job_finished(&mut self, at_ms: u64, id: u64) -> Applied {
        let job = self.job_mut(id)?;
        let done = job.phase.as_ref().is_some_and(|phase| {
            phase.is_complete() && matches!(phase.work, Work::PutMarker | Work::Commit)
        });
        if !done || job.ending.is_some() || job.stop.is_some() {
            return illegal(format!("job {id} cannot finish here"));
        }
        job.stage = match job.stage {
            Stage::Backup(_) => Stage::Backup(BackupState::Finished),
            Stage::Restore(_) => Stage::Restore(RestoreState::Finished),
        };
        self.ended(at_ms, id, Ending::Finished)
    }

    fn job_cancelled(&mut self, at_ms: u64, id: u64) -> Applied {
        let job = self.job_mut(id)?;
        let idle = job
            .phase
            .as_ref()
            .is_none_or(|phase| phase.running.is_empty());
        if job.stop.is_none() || job.cleanup.is_none() || job.ending.is_some() || !idle {
            return illegal(format!("job {id} cannot be cancelled here"));
        }
        job.stage = match job.stage {
            Stage::Backup(_) => Stage::Backup(BackupState::Cancelled),
            Stage::Restore(_) => Stage::Restore(RestoreState::Cancelled),
        };
        self.ended(at_ms, id, Ending::Cancelled)
    }

    fn ended(&mut self, at_ms: u64, id: u64, ending: Ending) -> Applied {
        let last_mono_ms = self.last_mono_ms;
        let job = self.job_mut(id)?;
        job.ending = Some(ending);
        job.phase = None;
        job.next = None;
        job.facts.finished_ms = Some(at_ms);
        job.facts.elapsed_ms = job.clock.elapsed_ms(last_mono_ms);
        let database = job.database().to_owned();
        self.active.remove(&database);
        Ok(())
    }

    fn job_released(&mut self, id: u64) -> Applied {
        let job = self.job_mut(id)?;
        let idle = job
            .cleanup
            .as_ref()
            .is_some_and(|phase| phase.running.is_empty());
        if job.ending.is_none() || !idle {
            return illegal(format!("job {id} cannot be released here"));
        }
        job.released = true;
        job.cleanup = None;
        job.plans = Plans::default();
        self.working.remove(&JobId(id));
        Ok(())
    }
}

fn one_task() -> Vec<Lane> {
    vec![Lane {
        backend: None,
        tasks: 1,
    }]
}

fn fail(phase: &mut Phase, index: u32, e: &event::TaskFailed) -> Result<(), String> {
    let mut excluded = phase
        .trouble
        .get(&index)
        .map(|t| t.excluded.clone())
        .unwrap_or_default();
    if let Some(backend) = e.excluded
        && !excluded.contains(&backend)
    {
        excluded.push(backend);
    }
    let trouble = Trouble {
        attempts: e.attempt,
        failures: e.failures,
        message: e.message.clone(),
        excluded,
    };
    phase.fail(
        index,
        e.attempt,
        trouble,
        e.mono_ms.saturating_add(e.backoff_ms),
    )
}
