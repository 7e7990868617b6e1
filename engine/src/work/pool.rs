//! Where lists are worked off and bytes are hashed: on the engine's own threads, or, where a run must come out the same
//! each time, one after the other on the caller's. Knows nothing of what is done.

use blake3::Hasher;
use rayon::ThreadPool;
use rayon::prelude::*;

/// The pool of one engine.
pub(crate) enum Pool {
    /// Threads of the engine's own, never the process' common ones.
    Threads(ThreadPool),
    /// The caller's thread alone: everything happens in the order of the list.
    #[cfg_attr(
        not(any(test, feature = "simulation")),
        expect(dead_code, reason = "only simulated engines have it")
    )]
    Inline,
}

impl Pool {
    /// A pool of `threads` threads, at least one.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub(crate) fn threads(threads: usize) -> Result<Self, rayon::ThreadPoolBuildError> {
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(threads.max(1))
            .thread_name(|n| format!("holdfast-pool-{n}"))
            .build()?;
        Ok(Self::Threads(pool))
    }

    /// What `work` makes of each item, in the items' order.
    ///
    /// # Errors
    /// A failure of `work`; which one, where there are several, is open.
    pub(crate) fn map<T: Send, R: Send, E: Send>(
        &self,
        items: impl IntoParallelIterator<Item = T> + IntoIterator<Item = T> + Send,
        work: impl Fn(T) -> Result<R, E> + Sync + Send,
    ) -> Result<Vec<R>, E> {
        match self {
            Self::Threads(pool) => pool.install(|| items.into_par_iter().map(work).collect()),
            Self::Inline => items.into_iter().map(work).collect(),
        }
    }

    /// Hashes on.
    pub(crate) fn update(&self, hasher: &mut Hasher, bytes: &[u8]) {
        match self {
            Self::Threads(pool) => {
                pool.install(|| hasher.update_rayon(bytes));
            }
            Self::Inline => {
                hasher.update(bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_kinds_answer_in_the_order_of_the_items_and_hash_alike() {
        let bytes: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        for pool in [Pool::threads(3).unwrap(), Pool::Inline] {
            let items: Vec<u32> = (0..1000).collect();
            let doubled = pool.map(items, |n| Ok::<u32, ()>(2 * n)).unwrap();
            assert!(doubled.iter().zip(0..).all(|(found, n)| *found == 2 * n));
            assert_eq!(
                pool.map(vec![1, 2], Err::<(), u32>).map_err(|n| n > 0),
                Err(true)
            );
            let mut hasher = Hasher::new();
            pool.update(&mut hasher, &bytes);
            assert_eq!(hasher.finalize(), blake3::hash(&bytes));
        }
    }
}
