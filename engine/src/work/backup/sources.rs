//! Where a task reads pinned files: which replica of a tablet it takes, and the blame for one that fails.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use holdfast_storage::{BackendId, DataFile, Error, ErrorKind, TabletId};
use parking_lot::Mutex;

use super::records::SourceTablet;
use crate::order::{Failure, FailureClass, StatusCode};
use crate::work::{Task, failure};

/// The replicas of one task's tablets.
pub(super) struct Sources<'a> {
    task: &'a Task<'a>,
    /// Tablets that this task has linked on another backend than the planned one.
    relinked: Mutex<BTreeSet<(BackendId, TabletId)>>,
}

impl<'a> Sources<'a> {
    pub(super) fn new(task: &'a Task<'a>) -> Self {
        Self {
            task,
            relinked: Mutex::default(),
        }
    }

    /// The backend to read the tablet on: the planned one, unless earlier attempts found it at fault and there is another.
    pub(super) fn backend(&self, tablet: &SourceTablet) -> BackendId {
        let good = |backend: &BackendId| !self.task.order.excluded.contains(backend);
        if good(&tablet.chosen) {
            return tablet.chosen;
        }
        tablet
            .replicas
            .iter()
            .copied()
            .find(good)
            .unwrap_or(tablet.chosen)
    }

    /// Links each tablet on its backend.
    pub(super) fn link_all(&self, tablets: &[SourceTablet]) -> Result<(), Failure> {
        let mut batches: BTreeMap<BackendId, Vec<&SourceTablet>> = BTreeMap::new();
        for tablet in tablets {
            batches
                .entry(self.backend(tablet))
                .or_default()
                .push(tablet);
        }
        for (backend, tablets) in batches {
            self.task.context.check()?;
            let ids: Vec<TabletId> = tablets.iter().map(|tablet| tablet.id).collect();
            let linked = self
                .task
                .env
                .storage
                .link(self.task.order.op(), backend, &ids);
            linked.map_err(|error| self.blame(backend, &tablets, &error))?;
        }
        Ok(())
    }

    /// Opens a file of the tablet; links the tablet first where the plan wanted it elsewhere.
    pub(super) fn open(
        &self,
        tablet: &SourceTablet,
        name: &str,
    ) -> Result<Arc<dyn DataFile>, Failure> {
        let (op, storage) = (self.task.order.op(), &self.task.env.storage);
        let backend = self.backend(tablet);
        let key = (backend, tablet.id);
        if backend != tablet.chosen && !self.relinked.lock().contains(&key) {
            let linked = storage.link(op, backend, &[tablet.id]);
            linked.map_err(|error| self.blame(backend, &[tablet], &error))?;
            self.relinked.lock().insert(key);
        }
        let opened = storage.open(op, backend, tablet.id, name);
        opened.map_err(|error| self.blame(backend, &[tablet], &error))
    }

    /// What follows from a failure of the storage while it read `tablets` on `backend`.
    pub(super) fn blame(
        &self,
        backend: BackendId,
        tablets: &[&SourceTablet],
        error: &Error,
    ) -> Failure {
        let failure = failure::on_backend(backend, error);
        if failure.class != FailureClass::Replica(backend) {
            return failure;
        }
        let others = |tablet: &&SourceTablet| {
            tablet
                .replicas
                .iter()
                .any(|b| *b != backend && !self.task.order.excluded.contains(b))
        };
        // Of a batch, one tablet with another replica is reason enough to try again: the others may be whole.
        if tablets.iter().any(others) {
            return failure;
        }
        let text = format!("{}; no other replica is left", failure.message);
        Failure::fatal(StatusCode::BadFile, text)
    }

    /// A replica that gave other bytes than it should.
    pub(super) fn blame_content(&self, tablet: &SourceTablet, text: String) -> Failure {
        let error = Error::new(ErrorKind::ReplicaFault, text);
        self.blame(self.backend(tablet), &[tablet], &error)
    }
}

/// Hands the bytes of `range` to `visit`, which may end the reading with its own error.
pub(super) fn visit<E>(
    file: &dyn DataFile,
    range: Range<u64>,
    visit: &mut dyn FnMut(&[u8]) -> Result<(), E>,
) -> Result<Result<(), E>, Error> {
    let mut ended = Ok(());
    file.visit(range, &mut |bytes| match visit(bytes) {
        Ok(()) => ControlFlow::Continue(()),
        Err(error) => {
            ended = Err(error);
            ControlFlow::Break(())
        }
    })?;
    Ok(ended)
}
