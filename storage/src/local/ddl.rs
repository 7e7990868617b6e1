//! Statements that change what tables there are: each is one transaction of the catalog.

use std::collections::BTreeSet;

use super::disk::{entries, remove_tree, sync_dir};
use super::events::{
    BackendAdded, BackendDropped, CatalogEvent, DatabaseCreated, DatabaseDropped, PartitionAdded,
    PartitionDropped, PartitionTruncated, TableCreated, TableDropped,
};
use super::placement::Placement;
use super::state::{Phase, State, busy};
use super::{LocalStorage, is_alive, shown};
use crate::model::{BackendId, Bounds, PartitionMeta, Partitioning, TableSchema};
use crate::names::{check_backend, check_object, check_partition};
use crate::schema::{first_overlap, overlaps};
use crate::{Error, ErrorKind};

impl LocalStorage {
    /// Creates an empty database.
    ///
    /// # Errors
    /// `Invalid` for a bad name, `Exists`.
    pub fn create_database(&self, name: &str) -> Result<(), Error> {
        check_object("database", name)?;
        self.change(|state, out| {
            if state.database_names.contains_key(name) {
                return Err(exists(&format!("database '{name}'")));
            }
            out.push(
                DatabaseCreated {
                    id: self.ledger.take_ids(1),
                    name: name.to_owned(),
                }
                .into(),
            );
            Ok(())
        })
    }

    /// Drops a database with all its tables. Pinned data stays.
    ///
    /// # Errors
    /// `NotFound`; `Busy` where a restore works on it.
    pub fn drop_database(&self, name: &str) -> Result<(), Error> {
        self.change(|state, out| {
            let id = state.database_id(name)?;
            if let Some(op) = state.database_holder(id) {
                return Err(busy(&format!("database '{name}'"), op));
            }
            for table in state.database(name)?.tables.values() {
                state.check_free(*table)?;
            }
            out.push(DatabaseDropped { id }.into());
            Ok(())
        })
    }

    /// Creates a table with its first partitions, all empty.
    ///
    /// # Errors
    /// `NotFound` for the database, `Exists`, `Invalid` for bad names, counts, or partitions that
    /// overlap or do not fit the partitioning.
    pub fn create_table(
        &self,
        database: &str,
        name: &str,
        schema: TableSchema,
        partitions: Vec<PartitionMeta>,
    ) -> Result<(), Error> {
        check_object("table", name)?;
        self.change(|state, out| {
            let database_id = state.database_id(database)?;
            if state.database(database)?.tables.contains_key(name) {
                return Err(exists(&format!("table '{database}.{name}'")));
            }
            let table = self.ledger.take_ids(1);
            out.push(table_created(table, database_id, name, &schema)?);
            let mut placement = self.placement(state);
            check_partitions(&schema, &partitions.iter().collect::<Vec<_>>())?;
            for meta in &partitions {
                out.push(self.partition_added(table, meta, &mut placement)?);
            }
            Ok(())
        })
    }

    /// Drops a table. Pinned data stays.
    ///
    /// # Errors
    /// `NotFound`; `Busy` where a restore holds it.
    pub fn drop_table(&self, database: &str, table: &str) -> Result<(), Error> {
        self.change(|state, out| {
            let id = state.table_id(database, table)?;
            state.check_free(id)?;
            out.push(TableDropped { id }.into());
            Ok(())
        })
    }

    /// Empties some partitions of a table, or all of them. Pinned data stays.
    ///
    /// # Errors
    /// `NotFound`; `Busy` where a restore holds the table.
    pub fn truncate_table(
        &self,
        database: &str,
        table: &str,
        partitions: Option<&[String]>,
    ) -> Result<(), Error> {
        self.change(|state, out| {
            let id = state.table_id(database, table)?;
            state.check_free(id)?;
            let mut wanted = BTreeSet::new();
            match partitions {
                None => wanted.extend(&state.table(id)?.partitions),
                Some(names) => {
                    for name in names {
                        wanted.insert(state.partition_id(id, name)?);
                    }
                }
            }
            for partition in wanted {
                let version = state.partition(partition)?.version + 1;
                out.push(PartitionTruncated { partition, version }.into());
            }
            Ok(())
        })
    }

    /// Adds an empty partition.
    ///
    /// # Errors
    /// `NotFound`; `Exists` for the name; `Invalid` for counts, bounds that do not fit or that
    /// overlap another partition; `Busy` where a restore holds the table.
    pub fn add_partition(
        &self,
        database: &str,
        table: &str,
        meta: PartitionMeta,
    ) -> Result<(), Error> {
        self.change(|state, out| {
            let id = state.table_id(database, table)?;
            state.check_free(id)?;
            check_addable(state, id, &meta)?;
            let mut placement = self.placement(state);
            out.push(self.partition_added(id, &meta, &mut placement)?);
            Ok(())
        })
    }

    /// Drops a partition. Pinned data stays.
    ///
    /// # Errors
    /// `NotFound`; `Busy` where a restore holds the table.
    pub fn drop_partition(
        &self,
        database: &str,
        table: &str,
        partition: &str,
    ) -> Result<(), Error> {
        self.change(|state, out| {
            let table = state.table_id(database, table)?;
            state.check_free(table)?;
            out.push(
                PartitionDropped {
                    id: state.partition_id(table, partition)?,
                }
                .into(),
            );
            Ok(())
        })
    }

    /// Adds an empty backend.
    ///
    /// # Errors
    /// `Invalid` for a bad name; `Exists` where the name, or a folder of it with something in it,
    /// exists.
    pub fn add_backend(&self, name: &str) -> Result<BackendId, Error> {
        check_backend(name)?;
        let dir = self.layout.backend(name);
        if self.ledger.read().backends.values().any(|b| b.name == name) {
            return Err(exists(&format!("backend '{name}'")));
        }
        if !entries(&dir.data())?.is_empty() {
            let path = dir.root().to_owned();
            return Err(exists(&format!(
                "folder '{}' with data in it",
                shown(&path)
            )));
        }
        self.make_backend_dirs(&dir)?;
        sync_dir(&self.layout.backends())?;
        self.change(|state, out| {
            if state.backends.values().any(|b| b.name == name) {
                return Err(exists(&format!("backend '{name}'")));
            }
            let id = self.ledger.take_ids(1);
            out.push(
                BackendAdded {
                    id,
                    name: name.to_owned(),
                }
                .into(),
            );
            Ok(BackendId(id))
        })
    }

    /// Drops a backend. Its replicas are dropped from their tablets, which keep the others.
    ///
    /// # Errors
    /// `NotFound`; `Busy` while a pin or a restore uses it; `Invalid` while it is the last backend
    /// or a tablet of it has no other replica on an alive backend.
    pub fn drop_backend(&self, name: &str) -> Result<(), Error> {
        self.change(|state, out| {
            let id = check_droppable(state, name)?;
            self.check_others_alive(state, id)?;
            out.push(BackendDropped { id }.into());
            Ok(())
        })?;
        self.places
            .lock()
            .retain(|(_, b, _), _| self.ledger.read().backends.contains_key(&b.0));
        remove_tree(self.layout.backend(name).root())
    }

    /// A replica on a backend that is not there may be lost for good: it is no reason to remove
    /// one that can be read.
    fn check_others_alive(&self, state: &State, id: u64) -> Result<(), Error> {
        let alive = self.alive_of(state);
        let last = state.tablets.iter().find(|(_, t)| {
            let mut others = t.replicas.iter().filter(|r| **r != id);
            t.replicas.contains(&id) && !others.any(|r| alive.contains(r))
        });
        let Some((tablet, found)) = last else {
            return Ok(());
        };
        let partition = state.full_partition_name(found.partition);
        let others = found.replicas.iter().filter(|r| **r != id);
        let others: Vec<String> = others
            .map(|r| Ok(format!("'{}'", state.backend(*r)?.name)))
            .collect::<Result<_, Error>>()?;
        let name = &state.backend(id)?.name;
        let held = format!("of tablet {tablet} of '{partition}'");
        let text = if others.is_empty() {
            format!("backend '{name}' holds the only replica {held}, drop the partition first")
        } else {
            format!(
                "backend '{name}' holds the last replica {held} that may be read: the others are \
                 on backends that are not alive ({}), bring one back or drop the partition first",
                others.join(", ")
            )
        };
        Err(Error::new(ErrorKind::Invalid, text))
    }

    pub(super) fn placement(&self, state: &State) -> Placement {
        Placement::new(state, |name| is_alive(&self.layout.backend(name)))
    }

    /// The event that adds a partition, with new ids and chosen backends.
    pub(super) fn partition_added(
        &self,
        table: u64,
        meta: &PartitionMeta,
        placement: &mut Placement,
    ) -> Result<CatalogEvent, Error> {
        let replicas = placement.place(meta)?;
        let id = self.ledger.take_ids(1 + u64::from(meta.buckets));
        partition_event(id, table, meta, replicas)
    }
}

/// The event that adds a partition `id` whose tablets have the ids after it.
pub(super) fn partition_event(
    id: u64,
    table: u64,
    meta: &PartitionMeta,
    replicas: Vec<u64>,
) -> Result<CatalogEvent, Error> {
    let event = PartitionAdded {
        id,
        table,
        name: meta.name.clone(),
        bounds: to_json(&meta.bounds)?,
        buckets: meta.buckets,
        replication_num: meta.replication_num,
        first_tablet: id + 1,
        replicas,
    };
    Ok(event.into())
}

/// The event that creates a table.
pub(super) fn table_created(
    id: u64,
    database: u64,
    name: &str,
    schema: &TableSchema,
) -> Result<CatalogEvent, Error> {
    let schema = to_json(schema)?;
    Ok(TableCreated {
        id,
        database,
        name: name.to_owned(),
        schema,
    }
    .into())
}

fn to_json<T: serde::Serialize>(value: &T) -> Result<String, Error> {
    serde_json::to_string(value).map_err(|e| {
        Error::new(
            ErrorKind::Invalid,
            format!("value cannot be kept as JSON: {e}"),
        )
    })
}

pub(super) fn exists(what: &str) -> Error {
    Error::new(ErrorKind::Exists, format!("{what} exists already"))
}

/// Checks that a partition can stand in this table as it is now.
pub(super) fn check_addable(state: &State, table: u64, meta: &PartitionMeta) -> Result<(), Error> {
    check_all_addable(state, table, &[meta])
}

/// As [`check_addable`], for many partitions at once.
pub(super) fn check_all_addable(
    state: &State,
    table: u64,
    new: &[&PartitionMeta],
) -> Result<(), Error> {
    let found = state.table(table)?;
    let mut all = Vec::with_capacity(found.partitions.len() + new.len());
    for id in &found.partitions {
        all.push(&state.partition(*id)?.meta);
    }
    all.extend(new);
    check_partitions(&found.schema, &all)
}

/// Checks that partitions fit the schema and can stand beside each other.
pub(super) fn check_partitions(schema: &TableSchema, all: &[&PartitionMeta]) -> Result<(), Error> {
    let mut names = BTreeSet::new();
    for meta in all {
        check_fits(schema, meta, all.len())?;
        if !names.insert(meta.name.as_str()) {
            return Err(exists(&format!("partition '{}'", meta.name)));
        }
    }
    let bounds: Vec<&Bounds> = all.iter().map(|meta| &meta.bounds).collect();
    let Some((one, other)) = first_overlap(&bounds) else {
        return Ok(());
    };
    let (one, other) = (&all[one].name, &all[other].name);
    let text = format!("partition '{other}' overlaps partition '{one}', expected bounds apart");
    Err(Error::new(ErrorKind::Invalid, text))
}

/// Checks one partition's name and bounds against the schema of a table with `count` partitions.
fn check_fits(schema: &TableSchema, meta: &PartitionMeta, count: usize) -> Result<(), Error> {
    check_partition(&meta.name)?;
    let wrong = |text: String| Err(Error::new(ErrorKind::Invalid, text));
    let name = &meta.name;
    let (fits, expected) = match (&schema.partitioning, &meta.bounds) {
        (Partitioning::Unpartitioned, Bounds::All) => (count == 1, "one partition"),
        (Partitioning::Unpartitioned, _) => (false, "bounds of all rows"),
        (Partitioning::Range { .. }, bounds) => (matches!(bounds, Bounds::Range { .. }), "a range"),
        (Partitioning::List { .. }, bounds) => (matches!(bounds, Bounds::List { .. }), "a list"),
    };
    if !fits {
        return wrong(format!(
            "partition '{name}' does not fit its table, expected {expected}"
        ));
    }
    if !overlaps(&meta.bounds, &meta.bounds) {
        let text = format!("partition '{name}' takes no row, expected bounds that take some");
        return wrong(text);
    }
    Ok(())
}

fn check_droppable(state: &State, name: &str) -> Result<u64, Error> {
    let found = state.backends.iter().find(|(_, b)| b.name == name);
    let Some((id, _)) = found else {
        return Err(Error::new(
            ErrorKind::NotFound,
            format!("backend '{name}' does not exist"),
        ));
    };
    let id = *id;
    let refuse = |kind, text: String| Err(Error::new(kind, format!("backend '{name}' {text}")));
    if state.backends.len() == 1 {
        return refuse(ErrorKind::Invalid, "is the last one".to_owned());
    }
    let pinned = state
        .pins
        .iter()
        .find(|(_, pin)| pin.tablets.values().any(|t| t.replicas.contains(&id)));
    if let Some((op, _)) = pinned {
        return refuse(ErrorKind::Busy, format!("is used by job {op}"));
    }
    let restored = state.restores.iter().find(|(_, r)| {
        let mut tablets = r.targets.keys().filter_map(|t| state.tablets.get(t));
        r.phase != Phase::Committed && tablets.any(|t| t.replicas.contains(&id))
    });
    if let Some((op, _)) = restored {
        return refuse(ErrorKind::Busy, format!("is used by job {op}"));
    }
    Ok(id)
}
