//! The backup half of the contract: pins, local snapshots, and reading them.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::sync::Arc;

use rustix::fs::{AtFlags, linkat};

use super::disk::{
    BackendDir, entries, failed, link_or_copy, make_dirs, remove_tree, sync_dir, unreadable,
};
use super::events::{CatalogEvent, PinReleased, PinStarted, PinTableTaken};
use super::lists::read_list;
use super::state::{PinState, PinTabletState, State};
use super::{LocalStorage, is_alive, parallel};
use crate::data_file::LocalFile;
use crate::model::{
    BackendId, CatalogPosition, FileEntry, OpId, Pin, PinRequest, PinTable, PinnedPartition,
    PinnedTable, PinnedTablet, TabletId,
};
use crate::names::DiskKey;
use crate::{DataFile, Error, ErrorKind};

/// Most partitions that one event names.
pub(super) const PER_EVENT: usize = 256;

impl LocalStorage {
    pub(super) fn take_pin(&self, op: OpId, request: &PinRequest) -> Result<Pin, Error> {
        let alive = self.alive_of(&self.ledger.read());
        self.change(|state, out| match state.pins.contains_key(&op.0) {
            true => Ok(()),
            false => pin_events(state, op, request, &alive, out),
        })?;
        let state = self.ledger.read();
        Ok(self.pin_answer(state.pin(op)?, &alive))
    }

    /// The backends of a catalog whose folders are there.
    pub(super) fn alive_of(&self, state: &State) -> BTreeSet<u64> {
        let alive = state
            .backends
            .iter()
            .filter(|(_, b)| is_alive(&self.layout.backend(&b.name)));
        alive.map(|(id, _)| *id).collect()
    }

    fn pin_answer(&self, pin: &PinState, alive: &BTreeSet<u64>) -> Pin {
        let tablet = |(id, bucket): (u64, u32)| {
            let found = pin.tablets.get(&id)?;
            let mut replicas = found.replicas.clone();
            // Those that can answer now come first; the order is else the one of the placement.
            replicas.sort_by_key(|r| !alive.contains(r));
            Some(PinnedTablet {
                id: TabletId(id),
                bucket,
                replicas: replicas.into_iter().map(BackendId).collect(),
                files: found.files,
                bytes: found.bytes,
            })
        };
        let tables = pin.tables.iter().map(|table| PinnedTable {
            name: table.name.clone(),
            schema: table.schema.clone(),
            partitions: table
                .partitions
                .iter()
                .map(|p| PinnedPartition {
                    meta: p.meta.clone(),
                    version: p.version,
                    tablets: (p.first_tablet..)
                        .zip(0..p.meta.buckets)
                        .filter_map(tablet)
                        .collect(),
                })
                .collect(),
        });
        Pin {
            position: CatalogPosition(pin.position),
            tables: tables.collect(),
        }
    }

    pub(super) fn list_pinned(&self, op: OpId, tablet: TabletId) -> Result<Vec<FileEntry>, Error> {
        let places = {
            let state = self.ledger.read();
            let pinned = pinned_tablet(&state, op, tablet)?;
            let lists = pinned.chunks.iter().map(|id| Ok(state.chunk(*id)?.list));
            lists.collect::<Result<Vec<_>, Error>>()?
        };
        let mut files = Vec::new();
        for place in &places {
            files.append(&mut read_list(&self.layout, place)?);
        }
        if places.len() > 1 {
            files.sort_unstable_by(|a, b| a.name.cmp(&b.name));
        }
        Ok(files)
    }

    pub(super) fn link_tablets(
        &self,
        op: OpId,
        backend: BackendId,
        tablets: &[TabletId],
    ) -> Result<(), Error> {
        let dir = self.live_dir(&self.ledger.read(), backend.0)?;
        let snapshot = dir.snapshot(op);
        let mut due = Vec::new();
        {
            let state = self.ledger.read();
            state.pin(op)?;
            for id in tablets {
                let pinned = pinned_tablet(&state, op, *id)?;
                if !pinned.replicas.contains(&backend.0) {
                    return Err(Error::new(
                        ErrorKind::ReplicaFault,
                        format!("backend {backend} holds no replica of tablet {id}"),
                    ));
                }
                let mut chunks = Vec::new();
                for chunk in &pinned.chunks {
                    chunks.push((*chunk, state.chunk(*chunk)?.files));
                }
                due.push((id.0, chunks));
            }
        }
        if due.is_empty() {
            return Ok(());
        }
        // What is there may be a killed process's, which did not come as far as the syncs below.
        due.retain(|(tablet, _)| !snapshot.join(tablet.to_string()).is_dir());
        make_dirs(&snapshot)?;
        parallel::for_each(self.threads, &due, |(tablet, chunks)| {
            link_tablet(&dir, op, *tablet, chunks)
        })?;
        sync_dir(&snapshot)?;
        sync_dir(&dir.snapshots())
    }

    pub(super) fn open_pinned(
        &self,
        op: OpId,
        backend: BackendId,
        tablet: TabletId,
        name: &str,
    ) -> Result<Arc<dyn DataFile>, Error> {
        let dir = {
            let state = self.ledger.read();
            pinned_tablet(&state, op, tablet)?;
            let found = state.backends.get(&backend.0).ok_or_else(|| {
                let text = format!("backend {backend} does not exist");
                Error::new(ErrorKind::ReplicaFault, text)
            })?;
            self.layout.backend(&found.name)
        };
        let folder = dir.snapshot(op).join(tablet.to_string());
        LocalFile::open(&folder.join(DiskKey::of(name).file_name()))
            .map(|file| Arc::new(file) as Arc<dyn DataFile>)
            .map_err(|e| {
                let name = name.escape_debug();
                Error::new(
                    e.kind(),
                    format!("file '{name}' of tablet {tablet}: {}", e.message()),
                )
            })
    }

    pub(super) fn release_pin(&self, op: OpId) -> Result<(), Error> {
        self.change(|state, out| {
            if state.pins.contains_key(&op.0) {
                out.push(PinReleased { op: op.0 }.into());
            }
            Ok(())
        })?;
        let snapshots: Vec<_> = self.backend_dirs().iter().map(|b| b.snapshot(op)).collect();
        snapshots.iter().try_for_each(|dir| remove_tree(dir))
    }
}

fn pinned_tablet(state: &State, op: OpId, tablet: TabletId) -> Result<&PinTabletState, Error> {
    state.pin(op)?.tablets.get(&tablet.0).ok_or_else(|| {
        let text = format!("tablet {tablet} is not pinned by operation {op}");
        Error::new(ErrorKind::NotFound, text)
    })
}

fn pin_events(
    state: &State,
    op: OpId,
    request: &PinRequest,
    alive: &BTreeSet<u64>,
    out: &mut Vec<CatalogEvent>,
) -> Result<(), Error> {
    let database = state.database_id(&request.database)?;
    out.push(PinStarted { op: op.0, database }.into());
    let mut seen = BTreeSet::new();
    for wanted in &request.tables {
        let table = state.table_id(&request.database, &wanted.name)?;
        if !seen.insert(table) {
            let text = format!("table '{}' is named twice in one pin", wanted.name);
            return Err(Error::new(ErrorKind::Invalid, text));
        }
        state.check_free(table)?;
        let partitions = wanted_partitions(state, table, wanted)?;
        for id in &partitions {
            check_replicas(state, *id, alive)?;
        }
        let op = op.0;
        if partitions.is_empty() {
            out.push(
                PinTableTaken {
                    op,
                    table,
                    partitions: Vec::new(),
                }
                .into(),
            );
        }
        for some in partitions.chunks(PER_EVENT) {
            out.push(
                PinTableTaken {
                    op,
                    table,
                    partitions: some.to_vec(),
                }
                .into(),
            );
        }
    }
    Ok(())
}

fn wanted_partitions(state: &State, table: u64, wanted: &PinTable) -> Result<Vec<u64>, Error> {
    let Some(names) = &wanted.partitions else {
        return Ok(state.table(table)?.partitions.clone());
    };
    let mut ids = Vec::new();
    let mut seen = BTreeSet::new();
    for name in names {
        let id = state.partition_id(table, name)?;
        if seen.insert(id) {
            ids.push(id);
        }
    }
    Ok(ids)
}

fn check_replicas(state: &State, partition: u64, alive: &BTreeSet<u64>) -> Result<(), Error> {
    for id in state.partition(partition)?.tablets() {
        let tablet = state.tablet(id)?;
        if !tablet.replicas.iter().any(|r| alive.contains(r)) {
            let name = state.full_partition_name(partition);
            return Err(Error::new(
                ErrorKind::ReplicaFault,
                format!("tablet {id} of '{name}' has no replica on an alive backend"),
            ));
        }
    }
    Ok(())
}

/// Links all files of a tablet's chunks into its snapshot folder, which appears whole or not at
/// all.
#[expect(
    clippy::disallowed_methods,
    reason = "tells the half that a late worker makes from its successor's"
)]
fn link_tablet(
    dir: &BackendDir,
    op: OpId,
    tablet: u64,
    chunks: &[(u64, u64)],
) -> Result<(), Error> {
    let done = dir.snapshot(op).join(tablet.to_string());
    let half = dir
        .snapshot(op)
        .join(format!("{tablet}.{:?}.half", std::thread::current().id()));
    remove_tree(&half)?;
    make_dirs(&half)?;
    let to = fs::File::open(&half).map_err(|e| failed("open folder", &half, &e))?;
    for (chunk, files) in chunks {
        let source = dir.chunk(tablet, *chunk);
        let names = entries(&source)?;
        if names.len() as u64 != *files {
            return Err(Error::new(
                ErrorKind::ReplicaFault,
                format!(
                    "'{}' has {} files, expected {files}",
                    source.display(),
                    names.len()
                ),
            ));
        }
        let from = fs::File::open(&source).map_err(|e| unreadable(&source, &e))?;
        for name in names {
            if linkat(&from, &name, &to, &name, AtFlags::empty()).is_err() {
                link_or_copy(&source.join(&name), &half.join(&name))?;
            }
        }
    }
    sync_dir(&half)?;
    match fs::rename(&half, &done) {
        // Another thread of the same operation was first: its folder is as good as ours.
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::DirectoryNotEmpty | io::ErrorKind::AlreadyExists
            ) =>
        {
            remove_tree(&half)
        }
        other => other.map_err(|e| failed("rename to", &done, &e)),
    }
}
