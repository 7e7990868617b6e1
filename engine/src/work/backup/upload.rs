//! Sends one batch of objects from the local snapshots to the repository.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_broker::{ErrorClass, PutOutcome};
use holdfast_repository::{Error, ErrorKind, MemberRead, MemberSource, Repository};
use parking_lot::Mutex;

use super::records::{MemberFile, SourceTablet, UploadObject, UploadTask, open_upload};
use super::sources::{Sources, visit};
use crate::order::{Failure, Output};
use crate::work::{Task, parallel};

/// Puts the task's objects, several at a time.
pub(crate) fn upload(task: &Task<'_>) -> Result<Output, Failure> {
    let plan = open_upload(task)?;
    let UploadTask { tablets, objects } = plan.task(plan.head.tasks, task.order.index)?;
    let (repository, _) = super::repository(task)?;
    let files = objects
        .iter()
        .map(|object| object.members.len() as u64)
        .sum();
    task.progress.set_total(files);
    let upload = Upload {
        task,
        repository,
        tablets,
        sources: Sources::new(task),
        moved: AtomicU64::new(0),
        made: AtomicU64::new(0),
        found: AtomicU64::new(0),
    };
    parallel::each(task.context, &objects, &task.env.movers, |object| {
        upload.object(object)
    })?;
    Ok(Output::Moved {
        bytes: upload.moved.into_inner(),
        objects: upload.made.into_inner(),
        reused_bytes: upload.found.into_inner(),
    })
}

struct Upload<'a> {
    task: &'a Task<'a>,
    repository: Repository,
    tablets: Vec<SourceTablet>,
    sources: Sources<'a>,
    moved: AtomicU64,
    made: AtomicU64,
    found: AtomicU64,
}

impl Upload<'_> {
    fn object(&self, object: &UploadObject) -> Result<(), Failure> {
        let (context, plan) = (self.task.context, &object.plan);
        let files = object.members.len() as u64;
        // The plan has just found the object absent; only an earlier attempt can have put it since.
        if self.task.order.attempt > 1 && self.repository.has(context, plan)? {
            self.found.fetch_add(plan.len, Ordering::Relaxed);
            self.task.progress.add(files, 0);
            return Ok(());
        }
        let members = Members {
            upload: self,
            object,
            failure: Mutex::new(None),
        };
        let put = self.repository.put_object(context, plan, &members);
        let put = put.map_err(|error| members.failed(error))?;
        match put.outcome {
            // What was there and torn has been sent again: nothing of it was reused.
            PutOutcome::Exists if put.bytes == 0 => {
                self.found.fetch_add(plan.len, Ordering::Relaxed)
            }
            PutOutcome::Created | PutOutcome::Exists => self.made.fetch_add(1, Ordering::Relaxed),
        };
        self.moved.fetch_add(put.bytes, Ordering::Relaxed);
        self.task.progress.add(files, put.bytes);
        Ok(())
    }
}

/// The files of one object.
struct Members<'a> {
    upload: &'a Upload<'a>,
    object: &'a UploadObject,
    /// What the storage said when a member could not be read.
    failure: Mutex<Option<Failure>>,
}

impl Members<'_> {
    fn file(&self, index: u32) -> Option<(&MemberFile, &SourceTablet)> {
        let member = self.object.members.get(index as usize)?;
        Some((member, self.upload.tablets.get(member.tablet as usize)?))
    }

    fn open(&self, index: u32) -> Result<Arc<dyn holdfast_storage::DataFile>, Failure> {
        let (member, tablet) = self.file(index).ok_or_else(|| {
            super::broken(format!(
                "object {} has no member {index}",
                self.object.plan.key
            ))
        })?;
        self.upload.sources.open(tablet, &member.name)
    }

    /// Keeps the storage's own words, and tells the put that its source failed.
    fn keep(&self, failure: Failure) -> holdfast_broker::Error {
        let error = holdfast_broker::Error::new(ErrorClass::Corrupt, failure.message.clone());
        *self.failure.lock() = Some(failure);
        error
    }

    /// What follows from a failed put: blame for the replica where the source was at fault.
    fn failed(&self, error: Error) -> Failure {
        let kind = error.kind();
        let kept = self.failure.lock().take();
        if kind == ErrorKind::MemberUnreadable
            && let Some(failure) = kept
        {
            return failure;
        }
        let fault = error.member().and_then(|fault| self.file(fault.index));
        match fault {
            Some((member, tablet)) if kind == ErrorKind::MemberMismatch => {
                let text = format!("file '{}' of tablet {}: {error}", member.name, tablet.id);
                self.upload.sources.blame_content(tablet, text)
            }
            _ => Failure::from(error),
        }
    }
}

impl MemberSource for Members<'_> {
    fn read(
        &self,
        member: &MemberRead,
        to: &mut holdfast_broker::Visit<'_>,
    ) -> Result<(), holdfast_broker::Error> {
        let file = self
            .open(member.index)
            .map_err(|failure| self.keep(failure))?;
        let end = member.offset.saturating_add(member.len);
        visit(file.as_ref(), member.offset..end, to).map_err(|error| {
            let sources = &self.upload.sources;
            let failure = match self.file(member.index) {
                Some((_, tablet)) => sources.blame(sources.backend(tablet), &[tablet], &error),
                None => Failure::from(error),
            };
            self.keep(failure)
        })?
    }
}
