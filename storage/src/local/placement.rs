//! Which backends get the replicas of new tablets: the least loaded first, always the same for the
//! same catalog.

use std::collections::BTreeMap;

use super::state::State;
use crate::model::PartitionMeta;
use crate::{Error, ErrorKind};

/// Most tablets that one partition may have.
const MAX_BUCKETS: u32 = 65_536;

/// Replicas on each backend that takes new ones, kept up while many partitions are placed in one
/// go.
pub(crate) struct Placement {
    loads: BTreeMap<u64, u64>,
}

impl Placement {
    /// Places on those of the catalog's backends that `alive` says can take replicas.
    pub(crate) fn new(state: &State, alive: impl Fn(&str) -> bool) -> Self {
        let usable = state.backends.iter().filter(|(_, b)| alive(&b.name));
        Self {
            loads: usable.map(|(id, b)| (*id, b.replicas)).collect(),
        }
    }

    /// Chooses distinct backends for each bucket in turn.
    ///
    /// # Errors
    /// `Invalid` where counts are zero, too many, or more replicas than backends.
    pub(crate) fn place(&mut self, meta: &PartitionMeta) -> Result<Vec<u64>, Error> {
        check_counts(meta, self.loads.len())?;
        let mut out = Vec::new();
        for _ in 0..meta.buckets {
            let mut order: Vec<(u64, u64)> = self.loads.iter().map(|(id, n)| (*n, *id)).collect();
            order.sort_unstable();
            for (_, id) in order.into_iter().take(meta.replication_num as usize) {
                *self.loads.entry(id).or_insert(0) += 1;
                out.push(id);
            }
        }
        Ok(out)
    }
}

/// Checks a partition's counts against the number of usable backends.
pub(crate) fn check_counts(meta: &PartitionMeta, backends: usize) -> Result<(), Error> {
    let name = meta.name.escape_debug();
    let text = if !(1..=MAX_BUCKETS).contains(&meta.buckets) {
        format!(
            "partition '{name}' has {} buckets, expected 1 to {MAX_BUCKETS}",
            meta.buckets
        )
    } else if meta.replication_num == 0 {
        format!("replication_num of partition '{name}' is 0, expected at least 1")
    } else if meta.replication_num as usize > backends {
        format!(
            "replication_num of partition '{name}' is {}, expected at most {backends}, the number \
             of alive backends",
            meta.replication_num
        )
    } else {
        return Ok(());
    };
    Err(Error::new(ErrorKind::Invalid, text))
}
