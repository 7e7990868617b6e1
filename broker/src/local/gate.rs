//! One sync for all who wait for the same folder. Whoever comes while a sync runs shares the next
//! one, since the running one may have begun before their entry was made. Knows no path.

use std::sync::Arc;

use parking_lot::{Condvar, Mutex};
use rustix::io::Errno;

/// The syncs of one folder.
#[derive(Debug, Default)]
pub(super) struct Gate {
    state: Mutex<State>,
    done: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: bool,
    next: Arc<Round>,
}

/// One sync and its answer, which all who joined it get, a failure included.
#[derive(Debug, Default)]
struct Round {
    answer: Mutex<Option<Result<(), Errno>>>,
}

impl Gate {
    /// Returns after a `sync` that began later than this call, run here or by another waiter.
    pub(super) fn pass(&self, sync: impl FnOnce() -> Result<(), Errno>) -> Result<(), Errno> {
        let mut state = self.state.lock();
        let round = state.next.clone();
        loop {
            if let Some(answer) = *round.answer.lock() {
                return answer;
            }
            if !state.running {
                break;
            }
            self.done.wait(&mut state);
        }
        // Nothing runs and this round has no answer, so it is still the next one and nobody else
        // leads it.
        state.running = true;
        state.next = Arc::default();
        drop(state);
        let answer = sync();
        let mut state = self.state.lock();
        *round.answer.lock() = Some(answer);
        state.running = false;
        self.done.notify_all();
        answer
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;

    #[test]
    fn those_who_come_during_a_sync_share_the_next_one() {
        let gate = Gate::default();
        let syncs = AtomicUsize::new(0);
        let (entered, leave) = (Barrier::new(2), Barrier::new(2));
        std::thread::scope(|scope| {
            scope.spawn(|| {
                gate.pass(|| {
                    entered.wait();
                    leave.wait();
                    syncs.fetch_add(1, Ordering::SeqCst);
                    Ok(())
                })
            });
            entered.wait();
            let round = gate.state.lock().next.clone();
            let late: Vec<_> = (0..8)
                .map(|_| {
                    scope.spawn(|| {
                        gate.pass(|| {
                            syncs.fetch_add(1, Ordering::SeqCst);
                            Err(Errno::IO)
                        })
                    })
                })
                .collect();
            // All eight hold the next round (with this test and the gate) before the first sync
            // ends.
            while Arc::strong_count(&round) < 10 {
                std::thread::yield_now();
            }
            leave.wait();
            for waiter in late {
                assert_eq!(waiter.join().expect("no panic"), Err(Errno::IO));
            }
        });
        assert_eq!(syncs.load(Ordering::SeqCst), 2);
    }

    #[test]
    fn a_failed_sync_is_not_remembered_for_later_ones() {
        let gate = Gate::default();
        assert_eq!(gate.pass(|| Err(Errno::IO)), Err(Errno::IO));
        assert_eq!(gate.pass(|| Ok(())), Ok(()));
    }
}
