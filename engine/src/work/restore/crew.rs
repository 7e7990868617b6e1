//! Several pieces of one task at once: the worker's own thread, helped by the pool where it has room. The worker never
//! waits for the pool to begin, so that tasks go on side by side however many share it.

use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use rayon::ScopeFifo;

use crate::order::{Failure, FailureClass};
use crate::work::Task;

/// Does `work` for each of `items`, in about their order. The first failure ends it, but one that cannot heal is
/// told before others that happened beside it.
pub(super) fn each<T: Sync>(
    task: &Task<'_>,
    items: &[T],
    work: impl Fn(&T) -> Result<(), Failure> + Sync,
) -> Result<(), Failure> {
    let next = AtomicUsize::new(0);
    let failed: Mutex<Option<Failure>> = Mutex::new(None);
    let one = || {
        if failed.lock().is_some() {
            return false;
        }
        let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) else {
            return false;
        };
        let result = task
            .context
            .check()
            .map_err(Failure::from)
            .and_then(|()| work(item));
        if let Err(failure) = result {
            keep_worst(&mut failed.lock(), failure);
        }
        true
    };
    let helpers = items
        .len()
        .saturating_sub(1)
        .min(task.env.pool.current_num_threads());
    task.env.pool.in_place_scope_fifo(|scope| {
        for _ in 0..helpers {
            help(scope, &one);
        }
        while one() {}
    });
    match failed.into_inner() {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// One item per turn, so that helpers of other tasks get theirs.
fn help<'scope>(scope: &ScopeFifo<'scope>, one: &'scope (dyn Fn() -> bool + Sync)) {
    scope.spawn_fifo(move |scope| {
        if one() {
            help(scope, one);
        }
    });
}

fn keep_worst(kept: &mut Option<Failure>, failure: Failure) {
    let fatal = |failure: &Failure| matches!(failure.class, FailureClass::Fatal(_));
    match kept {
        Some(old) if fatal(old) || !fatal(&failure) => {}
        _ => *kept = Some(failure),
    }
}
