//! Pins and local snapshots of a [`super::MemoryStorage`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_storage::{
    BackendId, CatalogPosition, DataFile, Error, ErrorKind, FileEntry, OpId, Pin, PinRequest,
    PinnedPartition, PinnedTable, PinnedTablet, TabletId,
};

use super::catalog::{Catalog, File, Partition, Tablet, error};

/// What one pin holds.
pub(super) struct Held {
    pin: Pin,
    tablets: BTreeMap<TabletId, Tablet>,
    linked: BTreeSet<(BackendId, TabletId)>,
}

impl Catalog {
    pub(super) fn pin(&mut self, op: OpId, request: &PinRequest) -> Result<Pin, Error> {
        if let Some(held) = self.pins.get(&op) {
            return Ok(held.pin.clone());
        }
        let database = &request.database;
        self.tables(database)?;
        let mut tables = Vec::new();
        let mut tablets = BTreeMap::new();
        for wanted in &request.tables {
            let table = self.table(database, &wanted.name)?;
            self.check_free(database, &wanted.name)?;
            let mut partitions = Vec::new();
            for partition in &table.partitions {
                let chosen = match &wanted.partitions {
                    None => true,
                    Some(names) => names.contains(&partition.meta.name),
                };
                if chosen {
                    partitions.push(pinned(partition));
                    tablets.extend(partition.tablets.iter().map(|t| (t.id, t.clone())));
                }
            }
            let missing = wanted.partitions.iter().flatten().find(|name| {
                partitions
                    .iter()
                    .all(|p: &PinnedPartition| p.meta.name != **name)
            });
            if let Some(name) = missing {
                let text = format!("partition '{name}' of '{database}.{}'", wanted.name);
                return Err(error(ErrorKind::NotFound, format!("{text} does not exist")));
            }
            let (name, schema) = (wanted.name.clone(), table.schema.clone());
            tables.push(PinnedTable {
                name,
                schema,
                partitions,
            });
        }
        self.position += 1;
        let pin = Pin {
            position: CatalogPosition(self.position),
            tables,
        };
        self.pins.insert(
            op,
            Held {
                pin: pin.clone(),
                tablets,
                linked: BTreeSet::new(),
            },
        );
        Ok(pin)
    }

    /// Adds a file to what a pin holds.
    pub(super) fn change_pinned(&mut self, op: OpId, tablet: TabletId) {
        let held = self.pins.get_mut(&op);
        let Some(tablet) = held.and_then(|held| held.tablets.get_mut(&tablet)) else {
            return;
        };
        let bytes: Arc<[u8]> = Arc::from(b"loaded after the pin".as_slice());
        let (hash, segments) = super::catalog::hashes(&bytes);
        let entry = FileEntry {
            name: "late".to_owned(),
            len: bytes.len() as u64,
            hash: Some(hash),
            segments,
        };
        Arc::make_mut(&mut tablet.files).insert(entry.name.clone(), File { entry, bytes });
    }

    pub(super) fn pinned_files(&self, op: OpId, tablet: TabletId) -> Result<Vec<FileEntry>, Error> {
        let files = &self.pinned(op, tablet)?.files;
        let entry = |file: &File| {
            let mut entry = file.entry.clone();
            if !self.knows_hashes {
                entry.hash = None;
                entry.segments.clear();
            }
            entry
        };
        Ok(files.values().map(entry).collect())
    }

    pub(super) fn link(
        &mut self,
        op: OpId,
        backend: BackendId,
        tablets: &[TabletId],
    ) -> Result<(), Error> {
        for tablet in tablets {
            let pinned = self.pinned(op, *tablet)?;
            if !pinned.replicas.contains(&backend) {
                return Err(fault(backend, *tablet, "has no replica there"));
            }
            let lost = pinned
                .files
                .values()
                .any(|file| self.replica_bytes(backend, *tablet, file).is_none());
            if lost {
                return Err(fault(backend, *tablet, "has an unreadable file there"));
            }
        }
        let held = self.pins.get_mut(&op).ok_or_else(|| pin_lost(op))?;
        held.linked
            .extend(tablets.iter().map(|tablet| (backend, *tablet)));
        Ok(())
    }

    pub(super) fn open(
        &self,
        op: OpId,
        backend: BackendId,
        tablet: TabletId,
        name: &str,
    ) -> Result<Arc<dyn DataFile>, Error> {
        let pinned = self.pinned(op, tablet)?;
        let linked = self
            .pins
            .get(&op)
            .is_some_and(|h| h.linked.contains(&(backend, tablet)));
        if !linked {
            return Err(fault(backend, tablet, "was never linked there"));
        }
        let bytes = pinned
            .files
            .get(name)
            .and_then(|file| self.replica_bytes(backend, tablet, file))
            .ok_or_else(|| fault(backend, tablet, &format!("has no readable file '{name}'")))?;
        Ok(Arc::new(MemoryFile { bytes }))
    }

    fn pinned(&self, op: OpId, tablet: TabletId) -> Result<&Tablet, Error> {
        let held = self.pins.get(&op).ok_or_else(|| pin_lost(op))?;
        held.tablets.get(&tablet).ok_or_else(|| pin_lost(op))
    }
}

fn pinned(partition: &Partition) -> PinnedPartition {
    let tablet = |(bucket, tablet): (usize, &Tablet)| PinnedTablet {
        id: tablet.id,
        bucket: bucket as u32,
        replicas: tablet.replicas.clone(),
        files: tablet.files.len() as u64,
        bytes: tablet.files.values().map(|f| f.entry.len).sum(),
    };
    PinnedPartition {
        meta: partition.meta.clone(),
        version: partition.version,
        tablets: partition.tablets.iter().enumerate().map(tablet).collect(),
    }
}

fn pin_lost(op: OpId) -> Error {
    error(
        ErrorKind::PinLost,
        format!("operation {op} holds no such pin"),
    )
}

fn fault(backend: BackendId, tablet: TabletId, what: &str) -> Error {
    let text = format!("tablet {tablet} on backend {backend} {what}");
    error(ErrorKind::ReplicaFault, text)
}

/// A file's bytes as one replica has them.
struct MemoryFile {
    bytes: Arc<[u8]>,
}

impl DataFile for MemoryFile {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let start = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(self.bytes.len());
        let rest = &self.bytes[start..];
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        Ok(len)
    }
}
