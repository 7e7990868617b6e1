//! Doing one thing to many items with a few named threads of our own.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;

use crate::{Error, ErrorKind};

/// Fewer items than this are done by the caller's own thread.
const ALONE: usize = 4;

/// Calls `work` once for each item, on up to `threads` threads; stops at the first error and
/// returns it.
#[expect(
    clippy::disallowed_methods,
    reason = "the threads end with this call, and no result depends on their order"
)]
pub(crate) fn for_each<T: Sync>(
    threads: usize,
    items: &[T],
    work: impl Fn(&T) -> Result<(), Error> + Sync,
) -> Result<(), Error> {
    if threads < 2 || items.len() < ALONE {
        return items.iter().try_for_each(work);
    }
    let next = AtomicUsize::new(0);
    let stop = AtomicBool::new(false);
    let first: Mutex<Option<Error>> = Mutex::new(None);
    let run = || {
        while !stop.load(Ordering::Relaxed) {
            let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) else {
                return;
            };
            if let Err(e) = work(item) {
                stop.store(true, Ordering::Relaxed);
                first.lock().get_or_insert(e);
            }
        }
    };
    thread::scope(|scope| {
        let handles: Vec<_> = (0..threads.min(items.len()))
            .filter_map(|i| {
                let builder = thread::Builder::new().name(format!("holdfast-storage-{i}"));
                builder.spawn_scoped(scope, run).ok()
            })
            .collect();
        if handles.is_empty() {
            run();
        }
        for handle in handles {
            if handle.join().is_err() {
                let e = Error::new(ErrorKind::Io, "a storage thread ended by a panic");
                first.lock().get_or_insert(e);
            }
        }
    });
    first.into_inner().map_or(Ok(()), Err)
}
