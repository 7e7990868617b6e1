//! Pins: one consistent point over all tables of a backup, kept as files until it is released.
//!
//! redb's readers see one moment for as long as they live, but they end with the process, and a pin
//! must outlive it. So a pin is an export of one read transaction: from its record on, users may
//! change or drop what they like. The export is the local snapshot as well, so that `link` has
//! nothing to do.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::sync::Arc;

use holdfast_storage::model::{PinTable, PinnedPartition, PinnedTable, PinnedTablet};
use holdfast_storage::{
    BackendId, CatalogPosition, DataFile, Error, ErrorKind, FileEntry, OpId, Pin, PinRequest,
    TabletId,
};
use redb::{ReadTransaction, ReadableDatabase};

use super::catalog::{
    self, DATABASES, META, PINNED, PINS, PartitionRecord, PinnedFile, ROWS, TABLES, TableRecord,
};
use super::dump::Dump;
use super::storage::BACKEND;
use super::{Form, Pocket, failed, io_failed, remove_tree, sync_dir};

/// Data files, each with its tablet.
type Files = Vec<(u64, PinnedFile)>;

impl Pocket {
    fn pin_dir(&self, op: OpId) -> PathBuf {
        self.dir.join("pins").join(op.to_string())
    }

    pub(super) fn take_pin(&self, op: OpId, request: &PinRequest) -> Result<Pin, Error> {
        let _alone = self.pinning.lock();
        if let Some(pin) = self.pin_record(op)? {
            return Ok(pin);
        }
        let dir = self.pin_dir(op);
        // What is there without a record is the rest of an export that was killed.
        remove_tree(&dir)?;
        fs::create_dir_all(&dir).map_err(|e| io_failed("make folder", &dir, &e))?;
        let exported = self.export(op, request);
        let (pin, files) = exported.inspect_err(|_| {
            let _ = fs::remove_dir_all(&dir);
        })?;
        let pins = self.dir.join("pins");
        for dir in [&dir, &pins, &self.dir] {
            sync_dir(dir)?;
        }
        self.change(|txn| {
            let mut pins = txn.open_table(PINS).map_err(failed)?;
            pins.insert(op.0, catalog::encode(&pin)?.as_slice())
                .map_err(failed)?;
            let mut pinned = txn.open_table(PINNED).map_err(failed)?;
            for (tablet, file) in &files {
                pinned
                    .insert(
                        (op.0, *tablet, file.entry.name.as_str()),
                        catalog::encode(file)?.as_slice(),
                    )
                    .map_err(failed)?;
            }
            Ok(())
        })?;
        Ok(pin)
    }

    /// Writes everything asked for out of one read transaction: that is the point of the pin.
    fn export(&self, op: OpId, request: &PinRequest) -> Result<(Pin, Files), Error> {
        let txn = self.db.begin_read().map_err(failed)?;
        let databases = txn.open_table(DATABASES).map_err(failed)?;
        if databases
            .get(request.database.as_str())
            .map_err(failed)?
            .is_none()
        {
            let text = format!("database '{}' does not exist", request.database);
            return Err(Error::new(ErrorKind::NotFound, text));
        }
        let position = catalog::number(&txn.open_table(META).map_err(failed)?, "position")?;
        let mut pin = Pin {
            position: CatalogPosition(position),
            tables: Vec::new(),
        };
        let mut files = Files::new();
        let tables = txn.open_table(TABLES).map_err(failed)?;
        for wanted in &request.tables {
            let found = catalog::get_table(&tables, &request.database, &wanted.name)?;
            let table = catalog::known(found, &request.database, &wanted.name)?;
            catalog::check_free(&table, &request.database, &wanted.name)?;
            let mut pinned = Vec::new();
            for partition in chosen(&request.database, wanted, &table)? {
                pinned.push(self.export_tablet(&txn, op, table.form()?, partition, &mut files)?);
            }
            let (name, schema) = (wanted.name.clone(), table.schema.clone());
            pin.tables.push(PinnedTable {
                name,
                schema,
                partitions: pinned,
            });
        }
        Ok((pin, files))
    }

    fn export_tablet(
        &self,
        txn: &ReadTransaction,
        op: OpId,
        form: Form,
        partition: &PartitionRecord,
        all: &mut Files,
    ) -> Result<PinnedPartition, Error> {
        let tablet = partition.tablet;
        let path = self.pin_dir(op).join(tablet.to_string());
        let mut dump = Dump::create(form, &path)?;
        let rows = txn.open_table(ROWS).map_err(failed)?;
        for row in rows.range((tablet, "")..(tablet + 1, "")).map_err(failed)? {
            let (key, value) = row.map_err(failed)?;
            dump.row(key.value().1, value.value())?;
        }
        let files = dump.finish()?;
        let pinned = PinnedTablet {
            id: TabletId(tablet),
            bucket: 0,
            replicas: vec![BACKEND],
            files: files.len() as u64,
            bytes: files.iter().map(|file| file.entry.len).sum(),
        };
        all.extend(files.into_iter().map(|file| (tablet, file)));
        let (meta, version) = (partition.meta.clone(), partition.version);
        Ok(PinnedPartition {
            meta,
            version,
            tablets: vec![pinned],
        })
    }

    fn pin_record(&self, op: OpId) -> Result<Option<Pin>, Error> {
        let txn = self.db.begin_read().map_err(failed)?;
        let pins = txn.open_table(PINS).map_err(failed)?;
        let found = pins.get(op.0).map_err(failed)?;
        found
            .map(|found| catalog::decode(found.value()))
            .transpose()
    }

    /// Refuses where the operation has no pin of this tablet.
    pub(super) fn check_pinned(&self, op: OpId, tablet: TabletId) -> Result<(), Error> {
        let holds = self.pin_record(op)?.is_some_and(|pin| {
            let partitions = pin.tables.iter().flat_map(|table| &table.partitions);
            let mut tablets = partitions.flat_map(|partition| &partition.tablets);
            tablets.any(|pinned| pinned.id == tablet)
        });
        if holds {
            return Ok(());
        }
        let text = format!("operation {op} holds no pin of tablet {tablet}");
        Err(Error::new(ErrorKind::PinLost, text))
    }

    pub(super) fn list_pinned(&self, op: OpId, tablet: TabletId) -> Result<Vec<FileEntry>, Error> {
        self.check_pinned(op, tablet)?;
        let txn = self.db.begin_read().map_err(failed)?;
        let pinned = txn.open_table(PINNED).map_err(failed)?;
        let range = (op.0, tablet.0, "")..(op.0, tablet.0 + 1, "");
        let files = pinned.range(range).map_err(failed)?;
        files
            .map(|file| {
                let file: PinnedFile = catalog::decode(file.map_err(failed)?.1.value())?;
                Ok(file.entry)
            })
            .collect()
    }

    pub(super) fn open_pinned(
        &self,
        op: OpId,
        backend: BackendId,
        tablet: TabletId,
        name: &str,
    ) -> Result<Arc<dyn DataFile>, Error> {
        self.check_pinned(op, tablet)?;
        check_backend(backend)?;
        let fault = |text| Error::new(ErrorKind::ReplicaFault, text);
        let txn = self.db.begin_read().map_err(failed)?;
        let pinned = txn.open_table(PINNED).map_err(failed)?;
        let found = pinned.get((op.0, tablet.0, name)).map_err(failed)?;
        let found = found.ok_or_else(|| {
            fault(format!(
                "tablet {tablet} has no data file '{}'",
                name.escape_debug()
            ))
        })?;
        let found: PinnedFile = catalog::decode(found.value())?;
        let path = self.pin_dir(op).join(tablet.to_string());
        let file = File::open(&path)
            .map_err(|e| fault(format!("cannot open '{}': {e}", path.display())))?;
        let (offset, len) = (found.offset, found.entry.len);
        Ok(Arc::new(Piece {
            file,
            path,
            offset,
            len,
        }))
    }

    pub(super) fn release_pin(&self, op: OpId) -> Result<(), Error> {
        let _alone = self.pinning.lock();
        if self.pin_record(op)?.is_some() {
            self.change(|txn| {
                txn.open_table(PINS)
                    .map_err(failed)?
                    .remove(op.0)
                    .map_err(failed)?;
                let mut pinned = txn.open_table(PINNED).map_err(failed)?;
                pinned
                    .retain_in((op.0, 0, "")..(op.0 + 1, 0, ""), |_, _| false)
                    .map_err(failed)
            })?;
        }
        remove_tree(&self.pin_dir(op))
    }
}

/// Refuses any backend but the one there is.
pub(super) fn check_backend(backend: BackendId) -> Result<(), Error> {
    if backend == BACKEND {
        return Ok(());
    }
    let text = format!("backend is {backend}, expected {BACKEND}, the only one");
    Err(Error::new(ErrorKind::ReplicaFault, text))
}

/// The wanted partitions, in the order of the request; all there are where it names none.
fn chosen<'a>(
    database: &str,
    wanted: &PinTable,
    table: &'a TableRecord,
) -> Result<Vec<&'a PartitionRecord>, Error> {
    let Some(names) = &wanted.partitions else {
        return Ok(table.partitions.iter().collect());
    };
    let find = |name: &String| {
        let text = || {
            format!(
                "partition '{database}.{}.{name}' does not exist",
                wanted.name
            )
        };
        let mut all = table.partitions.iter();
        all.find(|p| p.meta.name == *name)
            .ok_or_else(|| Error::new(ErrorKind::NotFound, text()))
    };
    names.iter().map(find).collect()
}

/// A data file within its tablet's export.
struct Piece {
    file: File,
    path: PathBuf,
    offset: u64,
    len: u64,
}

impl DataFile for Piece {
    fn len(&self) -> u64 {
        self.len
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        let left = self.len.saturating_sub(offset);
        let want = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        let fault = |text: String| {
            let text = format!("cannot read '{}': {text}", self.path.display());
            Error::new(ErrorKind::ReplicaFault, text)
        };
        self.file
            .read_exact_at(&mut buffer[..want], self.offset + offset)
            .map_err(|e| fault(e.to_string()))?;
        Ok(want)
    }
}
