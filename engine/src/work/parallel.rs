//! Does the pieces of one task on a few threads of its own, since pieces wait for disks and remotes: the pool for
//! hashing must not be held up by them, and a piece must never run inside another one's wait.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use holdfast_broker::Context;
use parking_lot::Mutex;

use crate::order::{Failure, FailureClass};

/// The most threads that one task uses.
const MAX_THREADS: usize = 4;

/// Calls `work` once for each item, on up to `threads` threads (this one among them), in the items' order of start.
///
/// # Errors
/// The first failure; once there is one, no further item is started. Cancelled contexts fail as `Stopped`.
pub(crate) fn each<T: Sync>(
    context: &Context,
    items: &[T],
    threads: usize,
    work: impl Fn(&T) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    let next = AtomicUsize::new(0);
    let failed = AtomicBool::new(false);
    let first: Mutex<Option<Failure>> = Mutex::new(None);
    let run = || {
        while !failed.load(Ordering::Acquire) {
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
    let helpers = threads.min(MAX_THREADS).min(items.len()).saturating_sub(1);
    std::thread::scope(|scope| {
        for number in 1..=helpers {
            let named = std::thread::Builder::new().name(format!("holdfast-piece-{number}"));
            if let Err(error) = named.spawn_scoped(scope, run) {
                // This thread does the work alone then.
                log::warn!("a thread for pieces of a task cannot be started: {error}");
                break;
            }
        }
        run();
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
            each(&context, &items, threads, |item| {
                assert!(seen.lock().insert(*item), "item {item} came twice");
                Ok(())
            })
            .unwrap();
            assert_eq!(seen.into_inner().len(), 500);
        }
    }

    #[test]
    fn a_failure_ends_the_rest_and_a_cancel_says_stopped() {
        let items: Vec<u32> = (0..10_000).collect();
        let done = AtomicUsize::new(0);
        let context = Context::new();
        let failure = each(&context, &items, 3, |item| {
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
        let stopped = each(&context, &items, 3, |_| Ok(()));
        assert_eq!(stopped.unwrap_err().class, FailureClass::Stopped);
    }
}
