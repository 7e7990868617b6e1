//! One thing that goes on beside others: a task, or a user at the keyboard. It runs on a stack of its own until it calls
//! a seam; then others move. Which one moves is the world's to say.

use std::sync::Arc;

use generator::{Generator, Gn};
use holdfast_broker::CancelToken;

use super::shared::{Shared, Wait};

/// Words of stack for each: the deepest path (a manifest encoded within a put) needs a tenth of it.
const STACK_WORDS: usize = 128 << 10;

/// What a fiber does.
#[derive(Clone, Debug)]
pub(super) enum Role {
    /// One start of a task.
    Task {
        /// Asked to stop by it.
        token: CancelToken,
        job: crate::ids::JobId,
        task: crate::ids::TaskId,
        attempt: u32,
        /// Where it runs.
        backend: Option<holdfast_storage::BackendId>,
        /// The dispatcher does not wait for it any more.
        abandoned: bool,
    },
    /// A user.
    User,
}

pub(super) struct Fiber {
    pub(super) node: usize,
    /// Which process of the node it belongs to.
    pub(super) process: u32,
    pub(super) role: Role,
    wait: Wait,
    shared: Arc<Shared>,
    code: Option<Generator<'static, (), Wait>>,
}

impl Fiber {
    pub(super) fn new(
        (node, process): (usize, u32),
        role: Role,
        shared: &Arc<Shared>,
        run: impl FnOnce() + Send + 'static,
    ) -> Self {
        let mut code = Gn::<()>::new_opt(STACK_WORDS, move || {
            run();
            Wait::Ended
        });
        // Marks the stack as one that can be left from any depth; nobody reads what it points to.
        code.set_local_data(std::ptr::dangling_mut());
        Self {
            node,
            process,
            role,
            wait: Wait::Turn,
            shared: Arc::clone(shared),
            code: Some(code),
        }
    }

    /// Whether it can move at this time.
    pub(super) fn is_ready(&self, now_ms: u64) -> bool {
        match &self.wait {
            Wait::Turn => true,
            Wait::Until(at, token) => {
                *at <= now_ms || token.as_ref().is_some_and(CancelToken::is_cancelled)
            }
            Wait::Ended => false,
        }
    }

    /// When it can move by itself.
    pub(super) fn wakes_at(&self) -> Option<u64> {
        match &self.wait {
            Wait::Until(at, _) => Some(*at),
            Wait::Turn | Wait::Ended => None,
        }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self.wait, Wait::Ended)
    }

    /// Moves on to its next wait.
    pub(super) fn step(&mut self) {
        let Some(code) = &mut self.code else { return };
        let shared = Arc::clone(&self.shared);
        self.wait = shared
            .as_fiber(true, || code.resume())
            .unwrap_or(Wait::Ended);
        if self.has_ended() {
            self.code = None;
        }
    }
}

impl Drop for Fiber {
    fn drop(&mut self) {
        if let Some(code) = self.code.take() {
            // Its stack is taken apart; what that calls has no effect any more.
            let shared = Arc::clone(&self.shared);
            shared.as_fiber(false, || drop(code));
        }
    }
}
