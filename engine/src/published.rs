//! The views as readers have them: swapped whole after each durable batch, so that a reader never waits for the
//! dispatcher and never sees what is not durable.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Condvar, Mutex, RwLock};

use crate::ids::JobId;
use crate::state::State;
use crate::view::{JobView, Views};

/// The last published views.
#[derive(Default)]
pub(crate) struct Published {
    views: RwLock<Views>,
    /// What wakes waiters for good.
    turn: Mutex<Turn>,
    changed: Condvar,
}

#[derive(Default)]
struct Turn {
    closed: bool,
    /// Why the engine takes nothing any more.
    stopped: Option<String>,
}

impl Published {
    /// The views as of now; costs two counters.
    pub(crate) fn views(&self) -> Views {
        self.views.read().clone()
    }

    /// Publishes what changed in `state` since the last time.
    pub(crate) fn publish(&self, state: &mut State) {
        let mut views = self.views();
        for id in std::mem::take(&mut state.changed) {
            if let Some(job) = state.jobs.get(&id) {
                views.jobs.insert_mut(id, Arc::new(job.view()));
            } else {
                views.jobs.remove_mut(&id);
            }
        }
        if std::mem::take(&mut state.repositories_changed) {
            views.repositories = state
                .repositories
                .iter()
                .map(|(name, record)| (name.clone(), Arc::new(record.view())))
                .collect();
        }
        *self.views.write() = views;
        let _turn = self.turn.lock();
        self.changed.notify_all();
    }

    /// Wakes all waiters for good.
    pub(crate) fn close(&self) {
        self.turn.lock().closed = true;
        self.changed.notify_all();
    }

    /// Says why nothing will change any more until the engine is opened again; wakes all waiters.
    pub(crate) fn stop(&self, why: &str) {
        let mut turn = self.turn.lock();
        turn.stopped.get_or_insert_with(|| why.to_owned());
        turn.closed = true;
        self.changed.notify_all();
    }

    /// Why the engine has stopped, where it has.
    pub(crate) fn failure(&self) -> Option<String> {
        self.turn.lock().stopped.clone()
    }

    /// The job's view once it has ended, or when `timeout` is over, or when the engine closes or stops.
    pub(crate) fn wait(&self, job: JobId, timeout: Duration) -> Option<Arc<JobView>> {
        let mut turn = self.turn.lock();
        let running = |turn: &mut Turn| {
            let views = self.views.read();
            !turn.closed && views.jobs.get(&job).is_some_and(|view| !view.has_ended())
        };
        self.changed.wait_while_for(&mut turn, running, timeout);
        self.views.read().jobs.get(&job).cloned()
    }
}
