//! The jobs of a state. Each is shared with the clones of the state until it changes, so that a
//! clone costs a pointer per job and not a job; only `apply` changes one.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::ids::JobId;
use crate::state::Job;

/// Jobs by id.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Jobs(BTreeMap<JobId, Arc<Job>>);

impl Jobs {
    pub(crate) fn get(&self, id: &JobId) -> Option<&Job> {
        self.0.get(id).map(Arc::as_ref)
    }

    /// The job, to be changed; a clone of the state keeps what it was.
    pub(super) fn get_mut(&mut self, id: &JobId) -> Option<&mut Job> {
        self.0.get_mut(id).map(Arc::make_mut)
    }

    pub(super) fn insert(&mut self, job: Job) {
        self.0.insert(job.id, Arc::new(job));
    }

    pub(super) fn remove(&mut self, id: &JobId) {
        self.0.remove(id);
    }

    pub(crate) fn keys(&self) -> impl Iterator<Item = &JobId> {
        self.0.keys()
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (JobId, &Job)> {
        self.0.iter().map(|(id, job)| (*id, job.as_ref()))
    }
}
