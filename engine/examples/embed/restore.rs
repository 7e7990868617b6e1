//! The end of a restore: proof and import, the one commit, and taking it back or forgetting it.
//!
//! `prepare` puts the rows into redb under the numbers of new tablets, which no table names yet.
//! The commit then is one small transaction that puts these numbers into the tables' records.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_storage::model::{Access, Make};
use holdfast_storage::{Error, ErrorKind, OpId, TabletId};
use redb::{ReadableDatabase, ReadableTable, WriteTransaction};

use super::catalog::{self, COMMITTED, PINS, Phase, RESTORES, ROWS, RestoreRecord};
use super::targets::unmark;
use super::{Form, Pocket, dump, failed, remove_tree, staging};

impl Pocket {
    pub(super) fn prepare_restore(&self, op: OpId) -> Result<(), Error> {
        let _alone = self.restoring.lock();
        let Some(record) = self.uncommitted(op)? else {
            return Ok(());
        };
        self.fences.seal(op);
        let imported = self.import(op, &record);
        if imported.is_err() {
            // What is missing can still be brought; nothing that was imported is to be seen.
            self.fences.unseal(op);
        }
        let counts = imported?;
        self.change(|txn| {
            catalog::put_restore(
                txn,
                op,
                &RestoreRecord {
                    phase: Phase::Prepared,
                    counts,
                    ..record
                },
            )
        })
    }

    /// The record of an operation that is to be prepared; `None` where it is, or is committed even.
    fn uncommitted(&self, op: OpId) -> Result<Option<RestoreRecord>, Error> {
        let txn = self.db.begin_read().map_err(failed)?;
        let committed = txn.open_table(COMMITTED).map_err(failed)?;
        if committed.get(op.0).map_err(failed)?.is_some() {
            return Ok(None);
        }
        let restores = txn.open_table(RESTORES).map_err(failed)?;
        let Some(found) = restores.get(op.0).map_err(failed)? else {
            let text = format!("operation {op} has no targets, it cannot be prepared");
            return Err(Error::new(ErrorKind::NotFound, text));
        };
        let record: RestoreRecord = catalog::decode(found.value())?;
        Ok(Some(record).filter(|record| record.phase == Phase::Made))
    }

    /// Proves each tablet's files and puts their rows in; a repetition begins each tablet anew.
    fn import(&self, op: OpId, record: &RestoreRecord) -> Result<BTreeMap<u64, (u64, u64)>, Error> {
        let mut counts = BTreeMap::new();
        for (table, target) in record.spec.tables.iter().zip(&record.targets.tables) {
            let form = catalog::form(&table.schema)?;
            for tablet in target.partitions.iter().flat_map(|p| &p.tablets) {
                counts.insert(tablet.id.0, self.import_tablet(op, form, tablet.id)?);
            }
        }
        Ok(counts)
    }

    fn import_tablet(&self, op: OpId, form: Form, tablet: TabletId) -> Result<(u64, u64), Error> {
        let files = self.staged(op, tablet)?.ok_or_else(|| {
            Error::new(
                ErrorKind::Invalid,
                format!("tablet {tablet} was never staged"),
            )
        })?;
        let place = self.place(op, tablet);
        self.change(|txn| {
            catalog::clear_rows(txn, tablet.0)?;
            let mut store = txn.open_table(ROWS).map_err(failed)?;
            let (mut rows, mut size) = (0, 0);
            for entry in &files {
                let name = entry.name.as_str();
                let path = place.join(staging::disk_name(name));
                let bytes = staging::read_staged(&path, entry)?;
                dump::rows(form, name, &bytes, |key, value| {
                    rows += 1;
                    size += (key.len() + value.len()) as u64;
                    if store
                        .insert((tablet.0, key), value)
                        .map_err(failed)?
                        .is_some()
                    {
                        let text = format!("row '{}' is twice in a dump", key.escape_debug());
                        return Err(Error::new(ErrorKind::Invalid, text));
                    }
                    Ok(())
                })?;
            }
            Ok((rows, size))
        })
    }

    pub(super) fn commit_restore(&self, op: OpId) -> Result<(), Error> {
        let _alone = self.restoring.lock();
        self.change(|txn| {
            if catalog::is_committed(txn, op)? {
                return Ok(());
            }
            let prepared = catalog::restore(txn, op)?.filter(|r| r.phase == Phase::Prepared);
            let Some(mut record) = prepared else {
                let text = format!("operation {op} was never prepared, it cannot be committed");
                return Err(Error::new(ErrorKind::NotFound, text));
            };
            for at in 0..record.spec.tables.len() {
                swap_table(txn, &mut record, at)?;
            }
            drop_marked(txn, &mut record)?;
            record.phase = Phase::Committed;
            catalog::put_restore(txn, op, &record)?;
            txn.open_table(COMMITTED)
                .map_err(failed)?
                .insert(op.0, ())
                .map_err(failed)?;
            Ok(())
        })?;
        self.fences.forget(op);
        Ok(())
    }

    pub(super) fn forget_restore(&self, op: OpId) -> Result<(), Error> {
        let _alone = self.restoring.lock();
        self.change(|txn| {
            let Some(record) = catalog::restore(txn, op)? else {
                return Ok(());
            };
            if record.phase != Phase::Committed {
                let text = format!("operation {op} is not committed, it cannot be forgotten");
                return Err(Error::new(ErrorKind::Invalid, text));
            }
            for tablet in &record.replaced {
                catalog::clear_rows(txn, *tablet)?;
            }
            catalog::remove_restore(txn, op)
        })?;
        remove_tree(&self.staging_dir(op))
    }

    pub(super) fn abort_restore(&self, op: OpId) -> Result<(), Error> {
        let _alone = self.restoring.lock();
        self.change(|txn| {
            if catalog::is_committed(txn, op)? {
                let text = format!("operation {op} is committed, it cannot be taken back");
                return Err(Error::new(ErrorKind::Invalid, text));
            }
            let Some(record) = catalog::restore(txn, op)? else {
                return Ok(());
            };
            unmark(txn, op, &record)?;
            for tablet in record.tablets() {
                catalog::clear_rows(txn, tablet)?;
            }
            catalog::remove_restore(txn, op)
        })?;
        self.fences.forget(op);
        remove_tree(&self.staging_dir(op))
    }

    pub(super) fn end_all_but(&self, live: &[OpId]) -> Result<(), Error> {
        let live: BTreeSet<u64> = live.iter().map(|op| op.0).collect();
        let mut ended: BTreeMap<u64, Option<Phase>> = BTreeMap::new();
        {
            let txn = self.db.begin_read().map_err(failed)?;
            for pin in txn
                .open_table(PINS)
                .map_err(failed)?
                .iter()
                .map_err(failed)?
            {
                ended.insert(pin.map_err(failed)?.0.value(), None);
            }
            for restore in txn
                .open_table(RESTORES)
                .map_err(failed)?
                .iter()
                .map_err(failed)?
            {
                let (op, record) = restore.map_err(failed)?;
                let record: RestoreRecord = catalog::decode(record.value())?;
                ended.insert(op.value(), Some(record.phase));
            }
        }
        // Folders without a record: the work of calls that were killed.
        for folder in [self.dir.join("pins"), self.dir.join("staging")] {
            for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
                if let Some(op) = entry
                    .file_name()
                    .to_str()
                    .and_then(|name| name.parse().ok())
                {
                    ended.entry(op).or_insert(None);
                }
            }
        }
        for (op, phase) in ended.into_iter().filter(|(op, _)| !live.contains(op)) {
            self.release_pin(OpId(op))?;
            match phase {
                Some(Phase::Made | Phase::Prepared) => self.abort_restore(OpId(op))?,
                Some(Phase::Committed) => self.forget_restore(OpId(op))?,
                None => remove_tree(&self.staging_dir(OpId(op)))?,
            }
        }
        Ok(())
    }
}

/// Makes one target table serve what was prepared.
fn swap_table(txn: &WriteTransaction, record: &mut RestoreRecord, at: usize) -> Result<(), Error> {
    let (database, spec) = (&record.spec.database, &record.spec.tables[at]);
    let mut table = catalog::known_table(txn, database, &spec.name)?;
    table.access = Access::Normal;
    for (wanted, target) in spec
        .partitions
        .iter()
        .zip(&record.targets.tables[at].partitions)
    {
        let (Some(found), [tablet]) = (table.partition(&wanted.meta.name), &target.tablets[..])
        else {
            let text = format!("target partition '{}' is gone", wanted.meta.name);
            return Err(Error::new(ErrorKind::Damaged, text));
        };
        if found.tablet != tablet.id.0 {
            record.replaced.push(found.tablet);
            found.tablet = tablet.id.0;
        }
        (found.rows, found.bytes) = record.counts.get(&tablet.id.0).copied().unwrap_or_default();
        found.access = Access::Normal;
        let version = match wanted.partition {
            Make::Create => 1,
            Make::Overwrite => found.version + 1,
        };
        found.publish(version);
    }
    catalog::put_table(txn, database, &spec.name, &table)
}

/// Drops what the targets' making has marked for it; the rows stay until the restore is forgotten.
fn drop_marked(txn: &WriteTransaction, record: &mut RestoreRecord) -> Result<(), Error> {
    let database = &record.spec.database;
    for name in &record.spec.drop_tables {
        if let Some(table) = catalog::table(txn, database, name)? {
            record
                .replaced
                .extend(table.partitions.iter().map(|p| p.tablet));
            catalog::remove_table(txn, database, name)?;
        }
    }
    for (table, name) in &record.spec.drop_partitions {
        if let Some(mut found) = catalog::table(txn, database, table)? {
            let gone = found.partitions.extract_if(.., |p| p.meta.name == *name);
            record.replaced.extend(gone.map(|p| p.tablet));
            catalog::put_table(txn, database, table, &found)?;
        }
    }
    Ok(())
}
