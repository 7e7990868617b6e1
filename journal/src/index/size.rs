//! How large the index may become: sled gives little back of what it once wrote, and what left the
//! log stays in it. One that has outgrown the log is built anew from the log beside normal work.

use std::path::Path;

use super::follow::{Phase, Worker};
use crate::ids::Seq;

/// The index may be this many times as large as the log, and the floor of the options more. A new one
/// is between one and two times as large.
const TIMES: u64 = 4;
/// The size is looked at after as many records, and whenever records have left the log.
const EVERY_RECORDS: u64 = 20_000;

/// What is known of the index's size.
#[derive(Debug)]
pub(super) struct Size {
    /// What it may take beside [`TIMES`] the log.
    floor_bytes: u64,
    /// The last record in it, and the first of the log, when it was last looked at.
    looked: Option<(Seq, Seq)>,
    /// Its size when it was last built, and the first record of the log then: as long as that is the
    /// first, a new one could not be much smaller.
    built: Option<(u64, Seq)>,
    /// Whether it is being built for its size.
    pub(super) outgrown: bool,
}

impl Size {
    pub(super) fn with_floor(floor_bytes: u64) -> Self {
        Self {
            floor_bytes,
            looked: None,
            built: None,
            outgrown: false,
        }
    }
}

impl Worker {
    /// Has an index that is too large built anew; whether it has.
    pub(super) fn outgrown(&mut self) -> bool {
        let fed = match &*self.shared.phase.lock() {
            Phase::Following { fed, .. } => *fed,
            Phase::Opening | Phase::Building { .. } | Phase::Failed { .. } => return false,
        };
        let first = self.reader.first();
        if let Some((at, from)) = self.size.looked
            && from == first
            && fed.get() < at.get().saturating_add(EVERY_RECORDS)
        {
            return false;
        }
        self.size.looked = Some((fed, first));
        let (log, index) = (self.reader.log_bytes(), folder_bytes(&self.path));
        let bound = TIMES
            .saturating_mul(log)
            .saturating_add(self.size.floor_bytes);
        let built = self.size.built.filter(|(_, from)| *from == first);
        let bound = bound.max(built.map_or(0, |(bytes, _)| bytes.saturating_mul(2)));
        if index <= bound {
            return false;
        }
        let why = format!("it has {index} bytes, more than {TIMES} times the log's {log}");
        log::info!("the journal's index is built anew: {why}");
        self.size.outgrown = true;
        self.shared.set(Phase::Building { why });
        true
    }

    /// Notes the size of an index that was just built.
    pub(super) fn measured(&mut self) {
        self.size.built = Some((folder_bytes(&self.path), self.reader.first()));
    }
}

/// Bytes of the files in a folder and its folders; what cannot be read counts for nothing.
fn folder_bytes(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return 0;
    };
    let bytes = |entry: std::fs::DirEntry| match entry.metadata() {
        Ok(found) if found.is_dir() => folder_bytes(&entry.path()),
        Ok(found) => found.len(),
        Err(_) => 0,
    };
    entries.flatten().map(bytes).sum()
}
