//! Does the pieces of one task on a few threads of its own, since pieces wait for disks and remotes: the pool for
//! hashing must not be held up by them, and a piece must never run inside another one's wait.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use holdfast_broker::Context;
use parking_lot::Mutex;

use crate::order::{Failure, FailureClass};

/// The threads that move bytes, shared by all tasks that do: a task alone uses all of them, tasks beside each other a
/// part each, so that about as many objects are in flight as there are workers, however the work is cut.
pub(crate) struct Movers {
    limit: usize,
    tasks: AtomicUsize,
}

/// One task that moves bytes, for as long as it is held.
pub(crate) struct Moving<'a>(&'a Movers);

impl Drop for Moving<'_> {
    fn drop(&mut self) {
        self.0.tasks.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Movers {
    /// `limit` threads in all, at least 1.
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            limit: limit.max(1),
            tasks: AtomicUsize::new(0),
        }
    }

    /// Counts a task among those that share.
    pub(crate) fn enter(&self) -> Moving<'_> {
        self.tasks.fetch_add(1, Ordering::AcqRel);
        Moving(self)
    }

    /// How many threads one task may use now; at least its own.
    pub(crate) fn share(&self) -> usize {
        let tasks = self.tasks.load(Ordering::Acquire).max(1);
        (self.limit / tasks).max(1)
    }
}

/// Calls `work` once for each item, on this thread and on as many more as the task's share of the `movers` allows, in
/// the items' order of start. A share that shrinks is given up between two items.
///
/// # Errors
/// The first failure; once there is one, no further item is started. Cancelled contexts fail as `Stopped`.
#[expect(
    clippy::disallowed_methods,
    reason = "the threads end with this call; a worker of one thread has none"
)]
pub(crate) fn each<T: Sync>(
    context: &Context,
    items: &[T],
    movers: &Movers,
    work: impl Fn(&T) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let first: Mutex<Option<Failure>> = Mutex::new(None);
    let run = |number: usize| {
        while !failed.load(Ordering::Acquire) && (number == 0 || number < movers.share()) {
            let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            let done = context
                .check()
                .map_err(Failure::from)
                .and_then(|()| work(item));
            if let Err(failure) = done {
                failed.store(true, Ordering::Release);
                keep(&mut first.lock(), failure);
            }
        }
    };
    let helpers = movers.share().min(items.len()).saturating_sub(1);
    let run = &run;
    std::thread::scope(|scope| {
        for number in 1..=helpers {
            let named = std::thread::Builder::new().name(format!("holdfast-piece-{number}"));
            if let Err(error) = named.spawn_scoped(scope, move || run(number)) {
                // This thread does the work alone then.
                log::warn!("a thread for pieces of a task cannot be started: {error}");
                break;
            }
        }
        run(0);
    });
    first.into_inner().map_or(Ok(()), Err)
}

/// Of several failures the first counts, but a worker's own "stopped" says less than any other.
fn keep(first: &mut Option<Failure>, failure: Failure) {
    let stopped = |failure: &Failure| failure.class == FailureClass::Stopped;
    if first
        .as_ref()
        .is_none_or(|kept| stopped(kept) && !stopped(&failure))
    {
        *first = Some(failure);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_item_is_done_once_on_any_number_of_threads() {
        for threads in [0, 1, 3, 100] {
            let items: Vec<u32> = (0..500).collect();
            let seen = Mutex::new(BTreeSet::new());
            let context = Context::new();
            each(&context, &items, &Movers::new(threads), |item| {
                assert!(seen.lock().insert(*item), "item {item} came twice");
                Ok(())
            })
            .unwrap();
            assert_eq!(seen.into_inner().len(), 500);
        }
    }

    #[test]
    fn tasks_beside_each_other_share_the_threads() {
        let movers = Movers::new(4);
        assert_eq!(movers.share(), 4);
        let one = movers.enter();
        assert_eq!(movers.share(), 4);
        let others = [movers.enter(), movers.enter()];
        assert_eq!(movers.share(), 1);
        // Helpers that have begun stop at their next item once their share is gone: the caller does the rest.
        drop(others);
        let (late, caller) = (Mutex::new(None), std::thread::current().id());
        let items: Vec<usize> = (0..64).collect();
        each(&Context::new(), &items, &movers, |item| {
            late.lock()
                .get_or_insert_with(|| [movers.enter(), movers.enter(), movers.enter()]);
            let mine = std::thread::current().id() == caller;
            assert!(*item < 8 || mine, "item {item} was done by a helper");
            Ok(())
        })
        .unwrap();
        assert_eq!(movers.share(), 1);
        drop((one, late));
        assert_eq!(movers.share(), 4);
    }

    #[test]
    fn a_failure_ends_the_rest_and_a_cancel_says_stopped() {
        let items: Vec<u32> = (0..10_000).collect();
        let done = AtomicUsize::new(0);
        let context = Context::new();
        let failure = each(&context, &items, &Movers::new(3), |item| {
            done.fetch_add(1, Ordering::Relaxed);
            if *item == 5 {
                Err(Failure::retry("five"))
            } else {
                Ok(())
            }
        });
        assert_eq!(failure.unwrap_err().message, "five");
        assert!(done.load(Ordering::Relaxed) < 10_000);
        context.cancel_token().cancel("test");
        let stopped = each(&context, &items, &Movers::new(3), |_| Ok(()));
        assert_eq!(stopped.unwrap_err().class, FailureClass::Stopped);
    }
}
