//! Restores of a [`super::MemoryStorage`]: targets, staging, and the two-phase commit.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_storage::model::{
    Access, Make, RestoreTable, TargetPartition, TargetTable, TargetTablet,
};
use holdfast_storage::{
    AllowLoad, BackendId, Error, ErrorKind, FileEntry, FileHash, OpId, RestoreSpec, Reuse,
    TabletId, Targets, Token,
};

use super::catalog::{Catalog, File, Table, Tablet, error, hashes};

#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Staging,
    Prepared,
    Committed,
}

struct Stage {
    token: Token,
    wanted: BTreeMap<String, FileEntry>,
    done: BTreeMap<String, Arc<[u8]>>,
}

/// One restore that was not forgotten.
pub(super) struct Restore {
    spec: RestoreSpec,
    targets: Targets,
    phase: Phase,
    stages: BTreeMap<(BackendId, TabletId), Stage>,
}

impl Restore {
    pub(super) fn lets_load(&self) -> bool {
        self.spec.allow_load == AllowLoad::UntouchedPartitions
    }

    fn tablets(&self) -> impl Iterator<Item = &TargetTablet> {
        self.targets
            .tables
            .iter()
            .flat_map(|t| &t.partitions)
            .flat_map(|p| &p.tablets)
    }

    pub(super) fn is_committed(&self) -> bool {
        self.phase == Phase::Committed
    }
}

impl Catalog {
    pub(super) fn create_targets(
        &mut self,
        op: OpId,
        spec: &RestoreSpec,
    ) -> Result<Targets, Error> {
        if let Some(restore) = self.restores.get(&op) {
            return Ok(restore.targets.clone());
        }
        for table in &spec.tables {
            self.check_target(&spec.database, table)?;
        }
        for name in spec
            .drop_tables
            .iter()
            .chain(spec.drop_partitions.iter().map(|(t, _)| t))
        {
            self.check_free(&spec.database, name)?;
        }
        let created_database = !self.databases.contains_key(&spec.database);
        let mut made = Vec::new();
        for table in &spec.tables {
            made.push(self.make_target(table)?);
        }
        // Nothing can fail from here on: all or nothing.
        let mut tables = Vec::new();
        for (wanted, new) in spec.tables.iter().zip(made) {
            tables.push(self.enter_target(op, &spec.database, wanted, new));
        }
        let targets = Targets {
            created_database,
            tables,
        };
        let phase = Phase::Staging;
        let restore = Restore {
            spec: spec.clone(),
            targets: targets.clone(),
            phase,
            stages: BTreeMap::new(),
        };
        self.restores.insert(op, restore);
        self.position += 1;
        Ok(targets)
    }

    fn check_target(&self, database: &str, wanted: &RestoreTable) -> Result<(), Error> {
        let name = format!("{database}.{}", wanted.name);
        let existing = self.table(database, &wanted.name).ok();
        match (existing, wanted.table) {
            (None, Make::Create) => return Ok(()),
            (Some(_), Make::Create) => {
                return Err(error(
                    ErrorKind::Exists,
                    format!("table '{name}' already exists"),
                ));
            }
            (None, Make::Overwrite) => {
                return Err(error(
                    ErrorKind::NotFound,
                    format!("table '{name}' does not exist"),
                ));
            }
            (Some(_), Make::Overwrite) => self.check_free(database, &wanted.name)?,
        }
        for partition in &wanted.partitions {
            let has = existing.is_some_and(|table| {
                table
                    .partitions
                    .iter()
                    .any(|p| p.meta.name == partition.meta.name)
            });
            let text = format!("partition '{}' of '{name}'", partition.meta.name);
            match (has, partition.partition) {
                (true, Make::Create) => {
                    return Err(error(ErrorKind::Exists, format!("{text} already exists")));
                }
                (false, Make::Overwrite) => {
                    return Err(error(ErrorKind::NotFound, format!("{text} does not exist")));
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn make_target(&mut self, wanted: &RestoreTable) -> Result<Vec<Vec<Tablet>>, Error> {
        wanted
            .partitions
            .iter()
            .map(|p| self.new_tablets(&p.meta))
            .collect()
    }

    fn enter_target(
        &mut self,
        op: OpId,
        database: &str,
        wanted: &RestoreTable,
        made: Vec<Vec<Tablet>>,
    ) -> TargetTable {
        let mut partitions = Vec::new();
        let mut entered = Vec::new();
        for (partition, tablets) in wanted.partitions.iter().zip(made) {
            let target = |(bucket, tablet): (usize, &Tablet)| TargetTablet {
                id: tablet.id,
                bucket: bucket as u32,
                replicas: tablet.replicas.clone(),
            };
            partitions.push(TargetPartition {
                name: partition.meta.name.clone(),
                tablets: tablets.iter().enumerate().map(target).collect(),
            });
            entered.push((partition, tablets, self.id()));
        }
        let tables = self.databases.entry(database.to_owned()).or_default();
        let table = tables.entry(wanted.name.clone()).or_insert_with(|| Table {
            schema: wanted.schema.clone(),
            access: Access::Restoring(op),
            partitions: Vec::new(),
        });
        if wanted.table == Make::Overwrite {
            table.access = Access::Overwriting(op);
        }
        for (partition, tablets, id) in entered {
            let meta = partition.meta.clone();
            match table
                .partitions
                .iter_mut()
                .find(|p| p.meta.name == meta.name)
            {
                Some(existing) => existing.access = Access::Overwriting(op),
                None => table.partitions.push(super::catalog::Partition {
                    id,
                    meta,
                    access: Access::Restoring(op),
                    version: 1,
                    tablets,
                }),
            }
        }
        TargetTable {
            name: wanted.name.clone(),
            partitions,
        }
    }

    pub(super) fn stage(
        &mut self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        files: &[FileEntry],
    ) -> Result<(), Error> {
        if let Some(bad) = files.iter().find(|file| !is_plain(&file.name)) {
            let text = format!(
                "file name {:?} of tablet {tablet} is no plain path",
                bad.name
            );
            return Err(error(ErrorKind::Invalid, text));
        }
        let restore = self
            .restores
            .get_mut(&op)
            .ok_or_else(|| no_target(op, tablet))?;
        let known = restore
            .tablets()
            .any(|t| t.id == tablet && t.replicas.contains(&backend));
        if !known {
            return Err(no_target(op, tablet));
        }
        if restore.phase != Phase::Staging {
            return Err(sealed(op));
        }
        let wanted = files
            .iter()
            .map(|file| (file.name.clone(), file.clone()))
            .collect();
        let stage = restore
            .stages
            .entry((backend, tablet))
            .or_insert_with(|| Stage {
                token,
                wanted: BTreeMap::new(),
                done: BTreeMap::new(),
            });
        check_token(stage, token)?;
        stage.token = token;
        stage.wanted = wanted;
        Ok(())
    }

    /// The stage that `token` may write, for a file of its list.
    fn staged(
        &mut self,
        op: OpId,
        token: Token,
        key: (BackendId, TabletId),
        entry: Option<&FileEntry>,
    ) -> Result<&mut Stage, Error> {
        let restore = self
            .restores
            .get_mut(&op)
            .ok_or_else(|| no_target(op, key.1))?;
        if restore.phase != Phase::Staging {
            return Err(sealed(op));
        }
        let stage = restore
            .stages
            .get_mut(&key)
            .ok_or_else(|| no_target(op, key.1))?;
        check_token(stage, token)?;
        stage.token = token;
        match entry {
            Some(entry) if stage.wanted.get(&entry.name) != Some(entry) => Err(error(
                ErrorKind::NotFound,
                format!(
                    "the list of tablet {} has no such file '{}'",
                    key.1, entry.name
                ),
            )),
            _ => Ok(stage),
        }
    }

    pub(super) fn reuse(
        &mut self,
        op: OpId,
        token: Token,
        key: (BackendId, TabletId),
        entry: &FileEntry,
    ) -> Result<Reuse, Error> {
        self.staged(op, token, key, Some(entry))?;
        let found = self.local_copy(op, key, entry);
        let stage = self.staged(op, token, key, Some(entry))?;
        Ok(match found {
            Some(bytes) => {
                stage.done.insert(entry.name.clone(), bytes);
                Reuse::Linked
            }
            None => Reuse::Absent,
        })
    }

    /// Bytes of a file that the target partition's current version has on this backend, hashed again.
    fn local_copy(
        &self,
        op: OpId,
        (backend, target): (BackendId, TabletId),
        entry: &FileEntry,
    ) -> Option<Arc<[u8]>> {
        let restore = self.restores.get(&op)?;
        let (table, partition) = restore.targets.tables.iter().find_map(|table| {
            let holds = |p: &&TargetPartition| p.tablets.iter().any(|t| t.id == target);
            table
                .partitions
                .iter()
                .find(holds)
                .map(|p| (&table.name, &p.name))
        })?;
        let table = self.table(&restore.spec.database, table).ok()?;
        let current = table
            .partitions
            .iter()
            .find(|p| p.meta.name == *partition)?;
        let here = current
            .tablets
            .iter()
            .filter(|t| t.replicas.contains(&backend));
        here.flat_map(|tablet| tablet.files.values().map(move |file| (tablet.id, file)))
            .filter(|(_, file)| file.entry.len == entry.len && file.entry.hash == entry.hash)
            .filter_map(|(tablet, file)| self.replica_bytes(backend, tablet, file))
            .find(|bytes| Some(FileHash::of(bytes)) == entry.hash)
    }

    pub(super) fn is_staged(
        &mut self,
        op: OpId,
        token: Token,
        key: (BackendId, TabletId),
        entry: &FileEntry,
    ) -> Result<bool, Error> {
        Ok(self
            .staged(op, token, key, Some(entry))?
            .done
            .contains_key(&entry.name))
    }

    pub(super) fn finish_file(
        &mut self,
        op: OpId,
        token: Token,
        key: (BackendId, TabletId),
        entry: &FileEntry,
        bytes: Vec<u8>,
    ) -> Result<(), Error> {
        let stage = self.staged(op, token, key, Some(entry))?;
        let found = FileHash::of(&bytes);
        if bytes.len() as u64 != entry.len || entry.hash.is_some_and(|hash| hash != found) {
            return Err(error(
                ErrorKind::Invalid,
                format!(
                    "file '{}' has {} bytes of hash {found}, expected {} bytes of hash {:?}",
                    entry.name,
                    bytes.len(),
                    entry.len,
                    entry.hash
                ),
            ));
        }
        stage.done.insert(entry.name.clone(), bytes.into());
        Ok(())
    }

    pub(super) fn settle(
        &mut self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablets: &[TabletId],
    ) -> Result<(), Error> {
        tablets
            .iter()
            .try_for_each(|t| self.staged(op, token, (backend, *t), None).map(drop))
    }

    pub(super) fn prepare(&mut self, op: OpId) -> Result<(), Error> {
        let restore = self.restores.get_mut(&op).ok_or_else(|| unknown(op))?;
        if restore.phase != Phase::Staging {
            return Ok(());
        }
        let keys = restore
            .tablets()
            .flat_map(|t| t.replicas.iter().map(|b| (*b, t.id)));
        for key in keys {
            let Some(stage) = restore.stages.get(&key) else {
                let text = format!("tablet {} was not staged on backend {}", key.1, key.0);
                return Err(error(ErrorKind::Invalid, text));
            };
            if let Some(name) = stage
                .wanted
                .keys()
                .find(|name| !stage.done.contains_key(*name))
            {
                let text = format!("file '{name}' of tablet {} is missing", key.1);
                return Err(error(ErrorKind::Invalid, text));
            }
        }
        restore.phase = Phase::Prepared;
        self.position += 1;
        Ok(())
    }

    pub(super) fn commit(&mut self, op: OpId) -> Result<(), Error> {
        let Some(mut restore) = self.restores.remove(&op) else {
            return Err(unknown(op));
        };
        if restore.phase == Phase::Prepared {
            restore.phase = Phase::Committed;
            self.swap(&restore);
            self.position += 1;
        }
        let committed = restore.is_committed();
        self.restores.insert(op, restore);
        if committed { Ok(()) } else { Err(unknown(op)) }
    }

    fn swap(&mut self, restore: &Restore) {
        let spec = &restore.spec;
        for (wanted, target) in spec.tables.iter().zip(&restore.targets.tables) {
            let Ok(table) = self.table_mut(&spec.database, &wanted.name) else {
                continue;
            };
            table.access = Access::Normal;
            for (asked, new) in wanted.partitions.iter().zip(&target.partitions) {
                let found = table
                    .partitions
                    .iter_mut()
                    .find(|p| p.meta.name == new.name);
                let Some(partition) = found else { continue };
                if partition.access != Access::Normal && asked.partition == Make::Overwrite {
                    partition.version += 1;
                }
                partition.meta = asked.meta.clone();
                partition.access = Access::Normal;
                partition.tablets = new.tablets.iter().map(|t| filled(restore, t)).collect();
            }
        }
        for (table, partition) in &spec.drop_partitions {
            if let Ok(table) = self.table_mut(&spec.database, table) {
                table.partitions.retain(|p| p.meta.name != *partition);
            }
        }
        if let Some(tables) = self.databases.get_mut(&spec.database) {
            tables.retain(|name, _| !spec.drop_tables.contains(name));
        }
    }

    pub(super) fn forget(&mut self, op: OpId) -> Result<(), Error> {
        match self.restores.get(&op) {
            Some(restore) if !restore.is_committed() => Err(error(
                ErrorKind::Invalid,
                format!("operation {op} is not committed"),
            )),
            _ => {
                self.restores.remove(&op);
                Ok(())
            }
        }
    }

    pub(super) fn abort(&mut self, op: OpId) -> Result<(), Error> {
        let Some(restore) = self.restores.get(&op) else {
            return Ok(());
        };
        if restore.is_committed() {
            return Err(error(
                ErrorKind::Invalid,
                format!("operation {op} is committed"),
            ));
        }
        let (spec, created) = (restore.spec.clone(), restore.targets.created_database);
        self.restores.remove(&op);
        if let Some(tables) = self.databases.get_mut(&spec.database) {
            tables.retain(|_, table| table.access != Access::Restoring(op));
            for table in tables
                .values_mut()
                .filter(|t| t.access == Access::Overwriting(op))
            {
                table.access = Access::Normal;
                table
                    .partitions
                    .retain(|p| p.access != Access::Restoring(op));
                table
                    .partitions
                    .iter_mut()
                    .for_each(|p| p.access = Access::Normal);
            }
            if created && tables.is_empty() {
                self.databases.remove(&spec.database);
            }
        }
        self.position += 1;
        Ok(())
    }
}

/// The target tablet with what was staged for it.
fn filled(restore: &Restore, target: &TargetTablet) -> Tablet {
    let stage = target
        .replicas
        .iter()
        .find_map(|b| restore.stages.get(&(*b, target.id)));
    let file = |(name, bytes): (&String, &Arc<[u8]>)| {
        let (hash, segments) = hashes(bytes);
        let (name, len) = (name.clone(), bytes.len() as u64);
        let entry = FileEntry {
            name: name.clone(),
            len,
            hash: Some(hash),
            segments,
        };
        (
            name,
            File {
                entry,
                bytes: bytes.clone(),
            },
        )
    };
    let wanted = |stage: &Stage, name: &str| stage.wanted.contains_key(name);
    let files = stage.map(|stage| {
        stage
            .done
            .iter()
            .filter(|(name, _)| wanted(stage, name))
            .map(file)
            .collect()
    });
    Tablet {
        id: target.id,
        replicas: target.replicas.clone(),
        files: Arc::new(files.unwrap_or_default()),
    }
}

fn check_token(stage: &Stage, token: Token) -> Result<(), Error> {
    if token >= stage.token {
        return Ok(());
    }
    Err(error(
        ErrorKind::Fenced,
        format!(
            "attempt {token:?} is older than {:?}, which owns the place",
            stage.token
        ),
    ))
}

fn is_plain(name: &str) -> bool {
    !name.is_empty()
        && !name.contains('\0')
        && name.split('/').all(|part| !matches!(part, "" | "." | ".."))
}

fn no_target(op: OpId, tablet: TabletId) -> Error {
    error(
        ErrorKind::NotFound,
        format!("operation {op} has no staged tablet {tablet} there"),
    )
}

fn sealed(op: OpId) -> Error {
    error(
        ErrorKind::Fenced,
        format!("the staging of operation {op} is sealed"),
    )
}

fn unknown(op: OpId) -> Error {
    error(
        ErrorKind::NotFound,
        format!("operation {op} was never prepared"),
    )
}
