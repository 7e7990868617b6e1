//! How many replicas each restored partition gets, and what the operator should be told about it.

use crate::refusal::{Refusal, RefusalCode};
use crate::spec::Replication;

/// Decides replica counts for one restore and remembers what was lowered or kept.
pub(super) struct Replicas {
    wish: Replication,
    backends: u32,
    lowered: Option<Change>,
    kept: Option<Change>,
}

/// A first partition whose count is not the snapshot's, and how many there are of its kind.
struct Change {
    partition: String,
    from: u32,
    to: u32,
    others: u32,
}

impl Replicas {
    /// For a restore that wishes for `wish` on so many backends.
    ///
    /// # Errors
    /// Where the wish alone cannot be met.
    pub(super) fn new(wish: Replication, backends: usize) -> Result<Self, Refusal> {
        let backends = u32::try_from(backends).unwrap_or(u32::MAX);
        if backends == 0 {
            return Err(Refusal::new(
                RefusalCode::TargetMismatch,
                "no backend is alive, expected at least one for the restored replicas",
            ));
        }
        match wish {
            Replication::Fixed(0) => Err(bad("replication_num is 0, expected at least 1")),
            Replication::Fixed(count) if count > backends => Err(bad(format!(
                "replication_num is {count}, expected at most {backends}, the number of \
                 backends alive"
            ))),
            _ => Ok(Self {
                wish,
                backends,
                lowered: None,
                kept: None,
            }),
        }
    }

    /// The count of a partition that is to be made; `name` is for messages, `source` the
    /// snapshot's count.
    ///
    /// # Errors
    /// Where the snapshot's count must be kept and there are fewer backends, or it is 0.
    pub(super) fn of_new(&mut self, name: &str, source: u32) -> Result<u32, Refusal> {
        if source == 0 {
            return Err(Refusal::new(
                RefusalCode::TargetMismatch,
                format!("{name} has 0 replicas in the snapshot, expected at least 1"),
            ));
        }
        match self.wish {
            Replication::Fixed(count) => Ok(count),
            Replication::Reserve if source > self.backends => Err(bad(format!(
                "{name} has {source} replicas in the snapshot, which reserve_replica keeps, \
                 expected at most {}, the number of backends alive",
                self.backends
            ))),
            Replication::Reserve => Ok(source),
            Replication::Automatic => {
                let count = source.min(self.backends);
                if count < source {
                    note(&mut self.lowered, name, source, count);
                }
                Ok(count)
            }
        }
    }

    /// The count of a partition that is overwritten: its own, which a given count must equal.
    ///
    /// # Errors
    /// Where a count was given and the partition has another.
    pub(super) fn of_existing(
        &mut self,
        name: &str,
        own: u32,
        source: u32,
    ) -> Result<u32, Refusal> {
        match self.wish {
            Replication::Fixed(count) if count != own => Err(Refusal::new(
                RefusalCode::TargetMismatch,
                format!(
                    "{name} has different replication num: it is {own}, replication_num is \
                     {count}; leave replication_num out to keep it"
                ),
            )),
            Replication::Reserve if own != source => {
                note(&mut self.kept, name, source, own);
                Ok(own)
            }
            _ => Ok(own),
        }
    }

    /// What the operator should know, where there is something.
    pub(super) fn note(&self) -> Option<String> {
        let lowered = self.lowered.as_ref().map(|change| {
            format!(
                "replicas lowered from {} to {}, the number of backends alive: {}{}",
                change.from,
                change.to,
                change.partition,
                change.others()
            )
        });
        let kept = self.kept.as_ref().map(|change| {
            format!(
                "existing partitions keep their replicas: {} has {}, the snapshot {}{}",
                change.partition,
                change.to,
                change.from,
                change.others()
            )
        });
        match (lowered, kept) {
            (Some(lowered), Some(kept)) => Some(format!("{lowered}; {kept}")),
            (one, other) => one.or(other),
        }
    }
}

impl Change {
    fn others(&self) -> String {
        match self.others {
            0 => String::new(),
            1 => " and 1 other partition".to_owned(),
            others => format!(" and {others} other partitions"),
        }
    }
}

fn note(slot: &mut Option<Change>, partition: &str, from: u32, to: u32) {
    match slot {
        Some(change) => change.others = change.others.saturating_add(1),
        None => {
            *slot = Some(Change {
                partition: partition.to_owned(),
                from,
                to,
                others: 0,
            })
        }
    }
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(RefusalCode::BadProperty, message)
}
