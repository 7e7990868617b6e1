//! The part of the state's only writer that takes in the events of restores: targets, marks, the
//! one commit.

use super::apply::beyond;
use super::events::{CatalogEvent, RestoreStarted, RestoreTablePlanned};
use super::state::{Phase, PlannedPartition, PlannedTable, RestoreState, State, broken, holder};
use crate::Error;
use crate::model::{Access, OpId};

impl State {
    pub(super) fn apply_restore(&mut self, at_ms: u64, event: &CatalogEvent) -> Result<(), Error> {
        match event {
            CatalogEvent::RestoreStarted(e) => self.start_restore(e),
            CatalogEvent::RestoreTablePlanned(e) => self.plan_table(e)?,
            CatalogEvent::RestoreDropPlanned(e) => {
                let access = Access::Overwriting(OpId(e.op));
                self.mark(e.table, e.partition, access)?;
                self.restore_mut(e.op)?.drops.push((e.table, e.partition));
            }
            CatalogEvent::RestoreChunksPlaced(e) => {
                for chunk in &e.chunks {
                    self.insert_chunk(e.list, chunk);
                    self.restore_mut(e.op)?.placed.push(chunk.id);
                }
            }
            CatalogEvent::RestorePrepared(e) => self.restore_mut(e.op)?.phase = Phase::Prepared,
            CatalogEvent::RestoreCommitted(e) => self.commit_restore(e.op, at_ms)?,
            CatalogEvent::RestoreForgotten(e) => {
                if let Some(restore) = self.restores.remove(&e.op) {
                    self.let_go(restore.replaced)?;
                }
            }
            CatalogEvent::RestoreAborted(e) => self.abort_restore(e.op)?,
            // Every other kind was taken in before this was called.
            _ => {}
        }
        Ok(())
    }

    fn restore_mut(&mut self, op: u64) -> Result<&mut RestoreState, Error> {
        self.restores
            .get_mut(&op)
            .ok_or_else(|| broken("restore", op))
    }

    fn start_restore(&mut self, e: &RestoreStarted) {
        let restore = RestoreState {
            database: e.database,
            created_database: e.created_database,
            allow_load: e.allow_load,
            phase: Phase::Made,
            tables: Vec::new(),
            drops: Vec::new(),
            targets: Default::default(),
            placed: Vec::new(),
            replaced: Vec::new(),
        };
        self.restores.insert(e.op, restore);
    }

    /// Marks a table, or one partition of it where `partition` is not 0.
    fn mark(&mut self, table: u64, partition: u64, access: Access) -> Result<(), Error> {
        if partition == 0 {
            let found = self
                .tables
                .get_mut(&table)
                .ok_or_else(|| broken("table", table))?;
            found.access = access;
        } else {
            let found = self.partitions.get_mut(&partition);
            found.ok_or_else(|| broken("partition", partition))?.access = access;
        }
        Ok(())
    }

    fn plan_table(&mut self, e: &RestoreTablePlanned) -> Result<(), Error> {
        let access = |created| match created {
            true => Access::Restoring(OpId(e.op)),
            false => Access::Overwriting(OpId(e.op)),
        };
        self.mark(e.table, 0, access(e.created))?;
        let mut chunk = e.first_chunk;
        let mut targets = Vec::new();
        let mut planned = Vec::new();
        for partition in &e.partitions {
            self.mark(e.table, partition.id, access(partition.created))?;
            for tablet in self.partition(partition.id)?.tablets() {
                targets.push((tablet, chunk));
                let next = chunk.checked_add(1);
                chunk = next.ok_or_else(|| beyond("chunks of table", e.table))?;
            }
            planned.push(PlannedPartition {
                id: partition.id,
                created: partition.created,
            });
        }
        self.saw_id(chunk);
        let restore = self.restore_mut(e.op)?;
        restore.targets.extend(targets);
        match restore.tables.last_mut().filter(|t| t.id == e.table) {
            Some(table) => table.partitions.append(&mut planned),
            None => restore.tables.push(PlannedTable {
                id: e.table,
                created: e.created,
                partitions: planned,
            }),
        }
        Ok(())
    }

    fn commit_restore(&mut self, op: u64, at_ms: u64) -> Result<(), Error> {
        let mut restore = self
            .restores
            .remove(&op)
            .ok_or_else(|| broken("restore", op))?;
        let mut replaced = Vec::new();
        for table in &restore.tables {
            for partition in &table.partitions {
                replaced.append(&mut self.empty_partition(partition.id)?);
                let version = match partition.created {
                    true => 1,
                    false => self.partition(partition.id)?.version + 1,
                };
                self.publish(partition.id, version, at_ms)?;
                self.mark(table.id, partition.id, Access::Normal)?;
            }
            self.mark(table.id, 0, Access::Normal)?;
        }
        for chunk in std::mem::take(&mut restore.placed) {
            let tablet = self.chunk(chunk)?.tablet;
            self.attach(tablet, chunk)?;
        }
        for (table, partition) in std::mem::take(&mut restore.drops) {
            replaced.append(&mut match partition {
                0 => self.drop_table(table)?,
                _ => self.drop_partition(partition)?,
            });
        }
        restore.replaced = replaced;
        restore.phase = Phase::Committed;
        // What the targets were is history from here on: users may drop them before the operation
        // is forgotten.
        restore.tables.clear();
        restore.targets.clear();
        self.restores.insert(op, restore);
        self.committed.insert(op);
        Ok(())
    }

    fn abort_restore(&mut self, op: u64) -> Result<(), Error> {
        let restore = self
            .restores
            .remove(&op)
            .ok_or_else(|| broken("restore", op))?;
        for table in &restore.tables {
            if table.created {
                let held = self.drop_table(table.id)?;
                self.let_go(held)?;
                continue;
            }
            for partition in &table.partitions {
                if partition.created {
                    let held = self.drop_partition(partition.id)?;
                    self.let_go(held)?;
                } else {
                    self.mark(table.id, partition.id, Access::Normal)?;
                }
            }
            self.mark(table.id, 0, Access::Normal)?;
        }
        for (table, partition) in &restore.drops {
            self.mark(*table, *partition, Access::Normal)?;
        }
        self.let_go(restore.placed)?;
        let empty = self
            .databases
            .get(&restore.database)
            .is_some_and(|d| d.tables.is_empty());
        if restore.created_database && empty {
            self.drop_database(restore.database)?;
        }
        Ok(())
    }

    /// Whether an operation works on tables of this database or made it and is not committed.
    pub(crate) fn database_holder(&self, database: u64) -> Option<OpId> {
        let by_restore = self
            .restores
            .iter()
            .find(|(_, r)| r.database == database && r.phase != Phase::Committed);
        by_restore.map(|(op, _)| OpId(*op)).or_else(|| {
            let tables = self.databases.get(&database)?.tables.values();
            tables
                .filter_map(|t| holder(self.tables.get(t)?.access))
                .next()
        })
    }
}
