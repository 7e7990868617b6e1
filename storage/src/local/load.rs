//! Loading: files from outside become one new version of a partition, or nothing happens.
//!
//! The data is copied and hashed in one pass, made durable with its folders and its list, and only
//! then named by the catalog. Tables, partitions and version appear in the same transaction.

use std::collections::BTreeSet;
use std::path::PathBuf;

use super::LocalStorage;
use super::ddl::{check_addable, partition_event, table_created};
use super::disk::{remove_file, remove_tree};
use super::events::{CatalogEvent, ChunksAdded, DatabaseCreated, PartitionLoaded};
use super::ingest::{Progress, TabletLoad};
use super::lists::{ListWriter, read_list};
use super::state::{ListRef, State};
use super::walk::{Source, walk};
use crate::model::{
    Bounds, Distribution, FileEntry, KeysType, PartitionMeta, Partitioning, TableSchema,
};
use crate::names::{DiskKey, check_object, check_partition};
use crate::{Error, ErrorKind};

/// Most chunks that one event names.
pub(super) const CHUNKS_PER_EVENT: usize = 32;
/// What to load, and where to.
pub struct LoadRequest<'a> {
    /// The database; made where it is absent.
    pub database: String,
    /// The table; made where it is absent.
    pub table: String,
    /// The partition; `None` = the one named as the table. Made where it is absent and the table
    /// was made by a load.
    pub partition: Option<String>,
    /// Tablets of a partition that is made.
    pub buckets: u32,
    /// Replicas of the tablets of a partition that is made.
    pub replication_num: u32,
    /// Files and folders; folders are walked and their files named by the path below them.
    pub sources: Vec<PathBuf>,
    /// Called now and then, from several threads.
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
}

impl LoadRequest<'_> {
    /// A load of `sources` into the partition named as the table, one bucket and one replica where
    /// it is made.
    pub fn new(database: &str, table: &str, sources: Vec<PathBuf>) -> Self {
        Self {
            database: database.to_owned(),
            table: table.to_owned(),
            partition: None,
            buckets: 1,
            replication_num: 1,
            sources,
            progress: None,
        }
    }
}

/// What a load did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LoadReport {
    /// The partition.
    pub partition: String,
    /// Its visible version after the load.
    pub version: u64,
    /// Files loaded.
    pub files: u64,
    /// Their bytes, one replica counted.
    pub bytes: u64,
}

/// Where a load goes, as the catalog stood when it began.
struct Plan {
    database_name: String,
    table_name: String,
    partition_name: String,
    partition: u64,
    first_tablet: u64,
    buckets: u32,
    /// The partition as the catalog held it; the publication looks again.
    found: Option<u64>,
    /// What is made where the partition is absent.
    make: Option<NewPartition>,
    /// Backends of each bucket.
    replicas: Vec<Vec<u64>>,
    /// Chunks whose names were already compared.
    seen_chunks: BTreeSet<u64>,
}

/// A partition that the load makes, with ids for the table and database that may be absent too.
struct NewPartition {
    meta: PartitionMeta,
    replicas: Vec<u64>,
    table: u64,
    database: u64,
}

/// What the publication found.
enum Publication {
    Done(u64),
    /// Others loaded meanwhile: their names must be compared first.
    Compare(Vec<(u64, ListRef)>),
}

impl LocalStorage {
    /// Appends files to a partition as one new version, durably. Where it fails, nothing is loaded
    /// or made.
    ///
    /// # Errors
    /// `Exists` where a path is already in the partition; `Invalid` for links, special files, bad
    /// names and counts; `Busy` where a restore refuses loads; `NotFound`, `Full`, `Io`.
    pub fn load(&self, request: &LoadRequest<'_>) -> Result<LoadReport, Error> {
        check_object("database", &request.database)?;
        check_object("table", &request.table)?;
        let partition = request.partition.as_deref().unwrap_or(&request.table);
        check_partition(partition)?;
        let sources = walk(&request.sources)?;
        check_folders(&sources)?;
        let mut plan = self.plan_load(request, partition)?;
        let existing = self.unseen_chunks(&mut plan)?;
        self.compare_names(&existing, &sources, &plan)?;
        if sources.is_empty() {
            let version = self.publish_empty(&plan)?;
            return Ok(LoadReport {
                partition: plan.partition_name,
                version,
                files: 0,
                bytes: 0,
            });
        }
        let tablets = self.plan_tablets(&plan, &sources)?;
        let done = self
            .ingest(&tablets, &sources, request.progress)
            .and_then(|entries| {
                let version = self.publish_load(&mut plan, &tablets, &entries, &sources)?;
                let bytes = entries.iter().map(|e| e.len).sum();
                Ok((version, bytes))
            });
        match done {
            Ok((version, bytes)) => Ok(LoadReport {
                partition: plan.partition_name,
                version,
                files: sources.len() as u64,
                bytes,
            }),
            Err(e) => {
                // What stays behind is swept at the next opening, which also knows whether a change
                // in doubt came to be.
                let folders = tablets.iter().flat_map(|t| &t.folders);
                for folder in folders.filter(|_| !self.ledger.in_doubt()) {
                    let _ = remove_tree(folder);
                }
                Err(e)
            }
        }
    }

    fn plan_load(&self, request: &LoadRequest<'_>, partition: &str) -> Result<Plan, Error> {
        let state = self.ledger.read();
        let table = state.table_id(&request.database, &request.table).ok();
        let found = table.and_then(|table| state.partition_id(table, partition).ok());
        let mut plan = Plan {
            database_name: request.database.clone(),
            table_name: request.table.clone(),
            partition_name: partition.to_owned(),
            partition: 0,
            first_tablet: 0,
            buckets: 0,
            found,
            make: None,
            replicas: Vec::new(),
            seen_chunks: BTreeSet::new(),
        };
        if let Some(id) = found {
            state.check_loadable(id)?;
            let partition = state.partition(id)?;
            (plan.partition, plan.first_tablet) = (id, partition.first_tablet);
            plan.buckets = partition.meta.buckets;
            for tablet in partition.tablets() {
                plan.replicas.push(state.tablet(tablet)?.replicas.clone());
            }
            return Ok(plan);
        }
        let items = vec![vec![partition.to_owned()]];
        let meta = PartitionMeta {
            name: partition.to_owned(),
            bounds: Bounds::List { items },
            buckets: request.buckets,
            replication_num: request.replication_num,
        };
        let replicas = self.placement(&state).place(&meta)?;
        let id = self.ledger.take_ids(3 + u64::from(meta.buckets));
        (plan.partition, plan.first_tablet, plan.buckets) = (id + 2, id + 3, meta.buckets);
        let per_tablet = meta.replication_num as usize;
        plan.replicas = replicas.chunks(per_tablet).map(<[u64]>::to_vec).collect();
        plan.make = Some(NewPartition {
            meta,
            replicas,
            table: id + 1,
            database: id,
        });
        // For the refusals only: the publication asks again.
        creations(&state, &plan)?;
        Ok(plan)
    }

    /// Chunks of the target partition whose names were not compared yet; they count as seen
    /// afterwards.
    fn unseen_chunks(&self, plan: &mut Plan) -> Result<Vec<(u64, ListRef)>, Error> {
        let state = self.ledger.read();
        let Some(id) = plan.found else {
            return Ok(Vec::new());
        };
        let Some(partition) = state.partitions.get(&id) else {
            return Ok(Vec::new());
        };
        let mut out = Vec::new();
        for tablet in partition.tablets() {
            for chunk in &state.tablet(tablet)?.chunks {
                if plan.seen_chunks.insert(*chunk) {
                    out.push((*chunk, state.chunk(*chunk)?.list));
                }
            }
        }
        self.begin_read(&read_ids(&out));
        Ok(out)
    }

    /// Refuses where a new path is among these chunks' files or stands in the way of one. Ends
    /// their reading.
    fn compare_names(
        &self,
        chunks: &[(u64, ListRef)],
        sources: &[Source],
        plan: &Plan,
    ) -> Result<(), Error> {
        let new: BTreeSet<&str> = sources.iter().map(|s| s.name.as_str()).collect();
        let compared = chunks.iter().try_for_each(|(_, place)| {
            let files = read_list(&self.layout, place)?;
            files
                .iter()
                .try_for_each(|old| check_apart(&old.name, &new, plan))
        });
        self.end_read(&read_ids(chunks));
        compared
    }

    fn plan_tablets(&self, plan: &Plan, sources: &[Source]) -> Result<Vec<TabletLoad>, Error> {
        let mut by_bucket: Vec<Vec<usize>> = vec![Vec::new(); plan.buckets as usize];
        for (i, source) in sources.iter().enumerate() {
            by_bucket[DiskKey::of(&source.name).bucket(plan.buckets) as usize].push(i);
        }
        let first_chunk = self.ledger.take_ids(u64::from(plan.buckets));
        let state = self.ledger.read();
        let mut tablets = Vec::new();
        for (bucket, files) in by_bucket.into_iter().enumerate() {
            if files.is_empty() {
                continue;
            }
            let (chunk, tablet) = (
                first_chunk + bucket as u64,
                plan.first_tablet + bucket as u64,
            );
            let mut folders = Vec::new();
            for backend in plan.replicas.get(bucket).into_iter().flatten() {
                let dir = self.live_dir(&state, *backend)?;
                folders.push(dir.chunk(tablet, chunk));
            }
            tablets.push(TabletLoad {
                chunk,
                tablet,
                folders,
                files,
            });
        }
        Ok(tablets)
    }

    fn publish_load(
        &self,
        plan: &mut Plan,
        tablets: &[TabletLoad],
        entries: &[FileEntry],
        sources: &[Source],
    ) -> Result<u64, Error> {
        let mut lists = ListWriter::new(self.ledger.take_ids(1));
        for tablet in tablets {
            let files: Vec<FileEntry> = tablet.files.iter().map(|i| entries[*i].clone()).collect();
            lists.add(tablet.chunk, tablet.tablet, &files)?;
        }
        let (list, chunks) = lists.finish(&self.layout)?;
        loop {
            let publication = self.change(|state, out| {
                check_unchanged(state, plan)?;
                let unseen = unseen(state, plan)?;
                if !unseen.is_empty() {
                    self.begin_read(&read_ids(&unseen));
                    return Ok(Publication::Compare(unseen));
                }
                out.extend(creations(state, plan)?);
                let version = match plan.found {
                    Some(id) => state.partition(id)?.version + 1,
                    None => 2,
                };
                out.push(
                    PartitionLoaded {
                        partition: plan.partition,
                        version,
                    }
                    .into(),
                );
                for some in chunks.chunks(CHUNKS_PER_EVENT) {
                    out.push(
                        ChunksAdded {
                            list,
                            chunks: some.to_vec(),
                        }
                        .into(),
                    );
                }
                Ok(Publication::Done(version))
            });
            let publication = publication.inspect_err(|_| {
                if !self.ledger.in_doubt() {
                    let _ = remove_file(&self.layout.list(list));
                }
            })?;
            match publication {
                Publication::Done(version) => return Ok(version),
                Publication::Compare(unseen) => {
                    plan.seen_chunks.extend(unseen.iter().map(|(id, _)| *id));
                    self.compare_names(&unseen, sources, plan)?;
                }
            }
        }
    }

    /// A load of no files: makes what is absent, empty.
    fn publish_empty(&self, plan: &Plan) -> Result<u64, Error> {
        self.change(|state, out| {
            check_unchanged(state, plan)?;
            out.extend(creations(state, plan)?);
            plan.found
                .map_or(Ok(1), |id| Ok(state.partition(id)?.version))
        })
    }
}

/// The events that make what the load needs and the catalog lacks now.
fn creations(state: &State, plan: &Plan) -> Result<Vec<CatalogEvent>, Error> {
    let Some(make) = &plan.make else {
        return Ok(Vec::new());
    };
    let mut out = Vec::new();
    let known = state.database_names.get(&plan.database_name);
    let database = *known.unwrap_or(&make.database);
    if known.is_none() {
        out.push(
            DatabaseCreated {
                id: database,
                name: plan.database_name.clone(),
            }
            .into(),
        );
    }
    let table = match state.table_id(&plan.database_name, &plan.table_name) {
        Ok(table) => {
            check_takes_partition(state, table, &plan.partition_name)?;
            state.check_free(table)?;
            check_addable(state, table, &make.meta)?;
            table
        }
        Err(_) => {
            out.push(table_created(
                make.table,
                database,
                &plan.table_name,
                &load_schema(),
            )?);
            make.table
        }
    };
    if let Some(gone) = make
        .replicas
        .iter()
        .find(|id| !state.backends.contains_key(id))
    {
        let text = format!("backend {gone} was dropped during the load, nothing was loaded");
        return Err(Error::new(ErrorKind::Busy, text));
    }
    out.push(partition_event(
        plan.partition,
        table,
        &make.meta,
        make.replicas.clone(),
    )?);
    Ok(out)
}

/// Refuses where the partition is another one now than when the load was planned, or is held.
fn check_unchanged(state: &State, plan: &Plan) -> Result<(), Error> {
    let table = state.table_id(&plan.database_name, &plan.table_name).ok();
    let now = table.and_then(|table| state.partition_id(table, &plan.partition_name).ok());
    if now == plan.found {
        return now.map_or(Ok(()), |partition| state.check_loadable(partition));
    }
    let name = &plan.partition_name;
    let table = format!("{}.{}", plan.database_name, plan.table_name);
    let text = format!(
        "partition '{table}.{name}' was made or dropped during the load, nothing was loaded"
    );
    Err(Error::new(ErrorKind::Busy, text))
}

fn unseen(state: &State, plan: &Plan) -> Result<Vec<(u64, ListRef)>, Error> {
    let Some(id) = plan.found else {
        return Ok(Vec::new());
    };
    let mut out = Vec::new();
    for tablet in state.partition(id)?.tablets() {
        for chunk in &state.tablet(tablet)?.chunks {
            if !plan.seen_chunks.contains(chunk) {
                out.push((*chunk, state.chunk(*chunk)?.list));
            }
        }
    }
    Ok(out)
}

/// The ids under which the reading of these chunks and their lists is known.
pub(super) fn read_ids(chunks: &[(u64, ListRef)]) -> Vec<u64> {
    chunks
        .iter()
        .flat_map(|(id, place)| [*id, place.list])
        .collect()
}

/// The schema of a table that a load makes.
fn load_schema() -> TableSchema {
    TableSchema {
        columns: Vec::new(),
        keys_type: KeysType::Duplicate,
        key_columns: Vec::new(),
        partitioning: Partitioning::List {
            columns: Vec::new(),
        },
        distribution: Distribution::Hash {
            columns: Vec::new(),
        },
        comment: String::new(),
        properties: Default::default(),
    }
}

/// Only tables made by a load get a partition from the mere name of one.
fn check_takes_partition(state: &State, table: u64, partition: &str) -> Result<(), Error> {
    match &state.table(table)?.schema.partitioning {
        Partitioning::List { columns } if columns.is_empty() => Ok(()),
        _ => state.partition_id(table, partition).map(|_| ()),
    }
}

/// Refuses a path that is a file in one source and a folder in another.
fn check_folders(sources: &[Source]) -> Result<(), Error> {
    let names: BTreeSet<&str> = sources.iter().map(|s| s.name.as_str()).collect();
    for source in sources {
        if let Some(above) = folders_of(&source.name).find(|above| names.contains(above)) {
            let (above, name) = (above.escape_debug(), source.name.escape_debug());
            let text =
                format!("'{above}' is a file in one source and a folder of '{name}' in another");
            return Err(Error::new(ErrorKind::Invalid, text));
        }
    }
    Ok(())
}

fn folders_of(name: &str) -> impl Iterator<Item = &str> {
    name.match_indices('/').map(|(at, _)| &name[..at])
}

fn check_apart(old: &str, new: &BTreeSet<&str>, plan: &Plan) -> Result<(), Error> {
    let place = || {
        format!(
            "{}.{}.{}",
            plan.database_name, plan.table_name, plan.partition_name
        )
    };
    if new.contains(old) {
        let text = format!("path '{}' is already in '{}'", old.escape_debug(), place());
        return Err(Error::new(ErrorKind::Exists, text));
    }
    let below = format!("{old}/");
    let covered = new
        .range(below.as_str()..)
        .next()
        .filter(|n| n.starts_with(&below))
        .copied();
    match covered.or_else(|| folders_of(old).find(|above| new.contains(above))) {
        None => Ok(()),
        Some(name) => Err(Error::new(
            ErrorKind::Exists,
            format!(
                "path '{}' cannot stand beside '{}' in '{}': one is a file, the other its folder",
                name.escape_debug(),
                old.escape_debug(),
                place()
            ),
        )),
    }
}
