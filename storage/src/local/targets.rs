//! Making the targets of a restore: the checks against the catalog as it is now, and the one
//! transaction.

use std::collections::{BTreeMap, BTreeSet};

use super::LocalStorage;
use super::backup::PER_EVENT;
use super::ddl::{check_all_addable, check_partitions, exists, table_created};
use super::events::{
    CatalogEvent, DatabaseCreated, RestoreDropPlanned, RestorePartition as PlannedEvent,
    RestoreStarted, RestoreTablePlanned,
};
use super::placement::Placement;
use super::state::{Phase, State};
use crate::model::{
    AllowLoad, BackendId, Make, OpId, PartitionMeta, RestorePartition, RestoreSpec, RestoreTable,
    TabletId, TargetPartition, TargetTable, TargetTablet, Targets,
};
use crate::names::check_object;
use crate::schema::{difference, same_bounds};
use crate::{Error, ErrorKind};

/// A table as the restore plans it: its id and partitions with their counts of tablets.
struct Planned {
    table: u64,
    created: bool,
    partitions: Vec<(PlannedEvent, u32)>,
}

impl LocalStorage {
    pub(super) fn make_targets(&self, op: OpId, spec: &RestoreSpec) -> Result<Targets, Error> {
        let gate = self.gate(op);
        let _alone = gate.write();
        self.change(|state, out| {
            if state.committed.contains(&op.0) {
                let text = format!("operation {op} has already been committed");
                return Err(Error::new(ErrorKind::Invalid, text));
            }
            match state.restores.contains_key(&op.0) {
                true => Ok(()),
                false => self.target_events(state, op, spec, out),
            }
        })?;
        targets(&self.ledger.read(), op)
    }

    fn target_events(
        &self,
        state: &State,
        op: OpId,
        spec: &RestoreSpec,
        out: &mut Vec<CatalogEvent>,
    ) -> Result<(), Error> {
        let (database, created_database) = match state.database_names.get(&spec.database) {
            Some(id) => (*id, false),
            None => {
                check_object("database", &spec.database)?;
                let (id, name) = (self.ledger.take_ids(1), spec.database.clone());
                out.push(DatabaseCreated { id, name }.into());
                (id, true)
            }
        };
        let mut placement = self.placement(state);
        let mut planned = Vec::new();
        let mut names = BTreeSet::new();
        for table in &spec.tables {
            if !names.insert(table.name.as_str()) {
                let text = format!("table '{}' is twice in one restore", table.name);
                return Err(Error::new(ErrorKind::Invalid, text));
            }
            planned.push(self.plan_table(state, database, spec, table, &mut placement, out)?);
        }
        let allow_load = spec.allow_load == AllowLoad::UntouchedPartitions;
        let op = op.0;
        out.push(
            RestoreStarted {
                op,
                database,
                created_database,
                allow_load,
            }
            .into(),
        );
        self.mark_events(op, &planned, out);
        drop_events(state, op, spec, &planned, out)
    }

    fn plan_table(
        &self,
        state: &State,
        database: u64,
        spec: &RestoreSpec,
        table: &RestoreTable,
        placement: &mut Placement,
        out: &mut Vec<CatalogEvent>,
    ) -> Result<Planned, Error> {
        let found = state.table_id(&spec.database, &table.name);
        let full = format!("{}.{}", spec.database, table.name);
        let id = match (table.table, found) {
            (Make::Create, Ok(_)) => return Err(exists(&format!("table '{full}'"))),
            (Make::Create, Err(_)) => {
                check_object("table", &table.name)?;
                let id = self.ledger.take_ids(1);
                out.push(table_created(id, database, &table.name, &table.schema)?);
                id
            }
            (Make::Overwrite, found) => {
                let id = found?;
                state.check_free(id)?;
                if let Some(difference) = difference(&state.table(id)?.schema, &table.schema) {
                    let text = format!("table '{full}' has changed: {difference}");
                    return Err(Error::new(ErrorKind::Exists, text));
                }
                id
            }
        };
        let created = table
            .partitions
            .iter()
            .filter(|p| p.partition == Make::Create);
        let created: Vec<&PartitionMeta> = created.map(|p| &p.meta).collect();
        match table.table {
            Make::Create => check_partitions(&table.schema, &created)?,
            Make::Overwrite => {
                check_partitions(&table.schema, &created)?;
                // Fine by themselves, so the table has changed since the spec was checked.
                let beside = check_all_addable(state, id, &created);
                beside.map_err(|e| Error::new(ErrorKind::Exists, e.message()))?;
            }
        }
        let mut partitions = Vec::new();
        let mut names = BTreeSet::new();
        for partition in &table.partitions {
            let name = &partition.meta.name;
            if !names.insert(name) {
                let text = format!("partition '{full}.{name}' is twice in one restore");
                return Err(Error::new(ErrorKind::Invalid, text));
            }
            let planned = match partition.partition {
                Make::Overwrite => overwritten(state, id, &full, partition)?,
                Make::Create => {
                    let event = self.partition_added(id, &partition.meta, placement)?;
                    let CatalogEvent::PartitionAdded(added) = &event else {
                        continue;
                    };
                    let planned = PlannedEvent {
                        id: added.id,
                        created: true,
                    };
                    out.push(event);
                    planned
                }
            };
            partitions.push((planned, partition.meta.buckets));
        }
        Ok(Planned {
            table: id,
            created: table.table == Make::Create,
            partitions,
        })
    }

    /// The marks of all targets, and the ids of the chunks they will get.
    fn mark_events(&self, op: u64, planned: &[Planned], out: &mut Vec<CatalogEvent>) {
        let tablets = planned
            .iter()
            .flat_map(|p| &p.partitions)
            .map(|(_, n)| u64::from(*n))
            .sum();
        let mut first_chunk = self.ledger.take_ids(tablets);
        for table in planned {
            let mut groups: Vec<&[(PlannedEvent, u32)]> =
                table.partitions.chunks(PER_EVENT).collect();
            if groups.is_empty() {
                groups.push(&[]);
            }
            for group in groups {
                let event = RestoreTablePlanned {
                    op,
                    table: table.table,
                    created: table.created,
                    partitions: group.iter().map(|(p, _)| p.clone()).collect(),
                    first_chunk,
                };
                out.push(event.into());
                first_chunk += group.iter().map(|(_, n)| u64::from(*n)).sum::<u64>();
            }
        }
    }
}

/// A partition that is overwritten must be what the spec says it is.
fn overwritten(
    state: &State,
    table: u64,
    full: &str,
    wanted: &RestorePartition,
) -> Result<PlannedEvent, Error> {
    let name = &wanted.meta.name;
    if !state.tables.contains_key(&table) {
        let text = format!("partition '{full}.{name}' does not exist");
        return Err(Error::new(ErrorKind::NotFound, text));
    }
    let id = state.partition_id(table, name)?;
    let found = &state.partition(id)?.meta;
    let differ = |what: &str, found: String, expected: String| {
        let text = format!("partition '{full}.{name}' has {what} {found}, expected {expected}");
        Err(Error::new(ErrorKind::Exists, text))
    };
    if !same_bounds(&found.bounds, &wanted.meta.bounds) {
        let (found, expected) = (&found.bounds, &wanted.meta.bounds);
        return differ("bounds", format!("{found:?}"), format!("{expected:?}"));
    }
    if found.buckets != wanted.meta.buckets {
        return differ(
            "bucket count",
            found.buckets.to_string(),
            wanted.meta.buckets.to_string(),
        );
    }
    if found.replication_num != wanted.meta.replication_num {
        let (found, expected) = (found.replication_num, wanted.meta.replication_num);
        return differ("replication_num", found.to_string(), expected.to_string());
    }
    Ok(PlannedEvent { id, created: false })
}

/// What the commit drops. Something already gone needs no drop.
fn drop_events(
    state: &State,
    op: u64,
    spec: &RestoreSpec,
    planned: &[Planned],
    out: &mut Vec<CatalogEvent>,
) -> Result<(), Error> {
    let targets: BTreeMap<u64, BTreeSet<u64>> = planned
        .iter()
        .map(|p| {
            (
                p.table,
                p.partitions.iter().map(|(planned, _)| planned.id).collect(),
            )
        })
        .collect();
    let both = |name: String| {
        let text = format!("'{name}' is both restored and dropped in one restore");
        Err(Error::new(ErrorKind::Invalid, text))
    };
    let mut dropped = BTreeSet::new();
    for name in &spec.drop_tables {
        let Ok(table) = state.table_id(&spec.database, name) else {
            continue;
        };
        if targets.contains_key(&table) {
            return both(state.full_name(table));
        }
        state.check_free(table)?;
        if dropped.insert((table, 0)) {
            out.push(
                RestoreDropPlanned {
                    op,
                    table,
                    partition: 0,
                }
                .into(),
            );
        }
    }
    for (table, name) in &spec.drop_partitions {
        let Ok(table) = state.table_id(&spec.database, table) else {
            continue;
        };
        let Ok(partition) = state.partition_id(table, name) else {
            continue;
        };
        if targets.get(&table).is_some_and(|t| t.contains(&partition)) {
            return both(state.full_partition_name(partition));
        }
        state.check_free(table)?;
        if !dropped.contains(&(table, 0)) && dropped.insert((table, partition)) {
            out.push(
                RestoreDropPlanned {
                    op,
                    table,
                    partition,
                }
                .into(),
            );
        }
    }
    Ok(())
}

/// The answer of `create_targets`, from the state alone, so that a repeated call answers the same.
fn targets(state: &State, op: OpId) -> Result<Targets, Error> {
    let restore = state.restore(op)?;
    if restore.phase == Phase::Committed {
        let text = format!("operation {op} has already been committed");
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    let mut tables = Vec::new();
    for table in &restore.tables {
        let mut partitions = Vec::new();
        for planned in &table.partitions {
            let partition = state.partition(planned.id)?;
            let mut tablets = Vec::new();
            for (bucket, id) in (0..).zip(partition.tablets()) {
                let replicas = state
                    .tablet(id)?
                    .replicas
                    .iter()
                    .map(|r| BackendId(*r))
                    .collect();
                tablets.push(TargetTablet {
                    id: TabletId(id),
                    bucket,
                    replicas,
                });
            }
            partitions.push(TargetPartition {
                name: partition.meta.name.clone(),
                tablets,
            });
        }
        tables.push(TargetTable {
            name: state.table(table.id)?.name.clone(),
            partitions,
        });
    }
    Ok(Targets {
        created_database: restore.created_database,
        tables,
    })
}
