//! At opening: removes what a crash left between files and catalog. Nothing else runs yet, so
//! whatever the catalog does not hold belongs to nobody.

use std::collections::BTreeSet;

use super::disk::{BackendDir, entries, remove_file, remove_tree};
use super::state::{Phase, State};
use super::{LocalStorage, is_alive};
use crate::Error;

impl LocalStorage {
    pub(super) fn sweep(&self) -> Result<(), Error> {
        let state = self.ledger.read();
        for name in entries(&self.layout.lists())? {
            if let Ok(id) = name.parse::<u64>()
                && !state.lists.contains_key(&id)
            {
                remove_file(&self.layout.list(id))?;
            }
        }
        // A restore's chunks are known before they are placed: what is there already was moved in
        // whole.
        let restores = state
            .restores
            .values()
            .filter(|r| r.phase != Phase::Committed);
        let expected: BTreeSet<u64> = restores.flat_map(|r| r.targets.values().copied()).collect();
        for backend in state.backends.values() {
            let dir = self.layout.backend(&backend.name);
            if is_alive(&dir) {
                sweep_data(&state, &expected, &dir)?;
                sweep_operations(&state, &dir)?;
            } else {
                log::warn!(
                    "backend '{}' is not there: '{}'",
                    backend.name,
                    dir.root().display()
                );
            }
        }
        Ok(())
    }
}

fn sweep_data(state: &State, expected: &BTreeSet<u64>, dir: &BackendDir) -> Result<(), Error> {
    for tablet_name in entries(&dir.data())? {
        let Ok(tablet) = tablet_name.parse::<u64>() else {
            continue;
        };
        let mut kept = 0;
        for name in entries(&dir.tablet(tablet))? {
            let Ok(chunk) = name.parse::<u64>() else {
                continue;
            };
            let held = state.chunks.get(&chunk).is_some_and(|c| c.tablet == tablet);
            if held || expected.contains(&chunk) {
                kept += 1;
            } else {
                log::info!(
                    "swept '{}', which no version holds",
                    dir.chunk(tablet, chunk).display()
                );
                remove_tree(&dir.chunk(tablet, chunk))?;
            }
        }
        if kept == 0 {
            // Made again by the next load into this tablet, if it is still there.
            let _ = std::fs::remove_dir(dir.tablet(tablet));
        }
    }
    Ok(())
}

fn sweep_operations(state: &State, dir: &BackendDir) -> Result<(), Error> {
    for name in entries(&dir.snapshots())? {
        match name.parse::<u64>() {
            Ok(op) if !state.pins.contains_key(&op) => remove_tree(&dir.snapshots().join(name))?,
            Ok(_) => sweep_halves(&dir.snapshots().join(name))?,
            Err(_) => {}
        }
    }
    for name in entries(&dir.stagings())? {
        let Ok(op) = name.parse::<u64>() else {
            continue;
        };
        let needed = state
            .restores
            .get(&op)
            .is_some_and(|r| r.phase != Phase::Committed);
        if !needed {
            remove_tree(&dir.stagings().join(name))?;
        }
    }
    Ok(())
}

/// Snapshot folders that were not complete.
fn sweep_halves(snapshot: &std::path::Path) -> Result<(), Error> {
    for name in entries(snapshot)? {
        if name.ends_with(".half") {
            remove_tree(&snapshot.join(name))?;
        }
    }
    Ok(())
}
