//! Pocket behind the engine's trait: lists of what there is, and each call handed to its module.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use holdfast_storage::model::PartitionInfo;
use holdfast_storage::{
    BackendId, BackendInfo, CatalogPosition, DataFile, Error, ErrorKind, FileEntry, OpId, Pin,
    PinRequest, RestoreSpec, Reuse, Staging, Storage, TableInfo, TabletId, Targets, Token,
};
use redb::{ReadableDatabase, ReadableTable};

use super::catalog::{self, DATABASES, PartitionRecord, TABLES, TableRecord};
use super::{Form, Pocket, failed};

/// The one place where Pocket keeps its rows.
pub(super) const BACKEND: BackendId = BackendId(1);

impl Storage for Pocket {
    fn position(&self) -> CatalogPosition {
        CatalogPosition(self.position.load(Ordering::Acquire))
    }

    fn backends(&self) -> Result<Vec<BackendInfo>, Error> {
        let (mut replicas, mut data_bytes) = (0, 0);
        for database in self.databases()? {
            for partition in self
                .tables(&database)?
                .iter()
                .flat_map(|table| &table.partitions)
            {
                replicas += 1;
                data_bytes += partition.data_bytes;
            }
        }
        let name = "pocket".to_owned();
        Ok(vec![BackendInfo {
            id: BACKEND,
            name,
            alive: true,
            replicas,
            data_bytes,
        }])
    }

    fn databases(&self) -> Result<Vec<String>, Error> {
        let txn = self.db.begin_read().map_err(failed)?;
        let databases = txn.open_table(DATABASES).map_err(failed)?;
        let names = databases.iter().map_err(failed)?;
        names
            .map(|name| Ok(name.map_err(failed)?.0.value().to_owned()))
            .collect()
    }

    fn tables(&self, database: &str) -> Result<Vec<TableInfo>, Error> {
        let txn = self.db.begin_read().map_err(failed)?;
        let databases = txn.open_table(DATABASES).map_err(failed)?;
        if databases.get(database).map_err(failed)?.is_none() {
            let text = format!("database '{database}' does not exist");
            return Err(Error::new(ErrorKind::NotFound, text));
        }
        let tables = txn.open_table(TABLES).map_err(failed)?;
        let mut out = Vec::new();
        for table in tables.range((database, "")..).map_err(failed)? {
            let (key, record) = table.map_err(failed)?;
            let (of, name) = key.value();
            if of != database {
                break;
            }
            out.push(info(name, catalog::decode(record.value())?)?);
        }
        Ok(out)
    }

    fn pin(&self, op: OpId, request: &PinRequest) -> Result<Pin, Error> {
        self.take_pin(op, request)
    }

    fn pinned_files(&self, op: OpId, tablet: TabletId) -> Result<Vec<FileEntry>, Error> {
        self.list_pinned(op, tablet)
    }

    fn link(&self, op: OpId, backend: BackendId, tablets: &[TabletId]) -> Result<(), Error> {
        // The pin's export is the snapshot already.
        super::backup::check_backend(backend)?;
        tablets
            .iter()
            .try_for_each(|tablet| self.check_pinned(op, *tablet))
    }

    fn open(
        &self,
        op: OpId,
        backend: BackendId,
        tablet: TabletId,
        name: &str,
    ) -> Result<Arc<dyn DataFile>, Error> {
        self.open_pinned(op, backend, tablet, name)
    }

    fn release(&self, op: OpId) -> Result<(), Error> {
        self.release_pin(op)
    }

    fn create_targets(&self, op: OpId, spec: &RestoreSpec) -> Result<Targets, Error> {
        self.make_targets(op, spec)
    }

    fn stage(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        files: &[FileEntry],
    ) -> Result<(), Error> {
        self.stage_tablet((op, token), backend, tablet, files)
    }

    fn reuse(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        entry: &FileEntry,
    ) -> Result<Reuse, Error> {
        // Rows do not lie about as files that could be linked.
        self.check_staged((op, token), backend, tablet, Some(entry))?;
        Ok(Reuse::Absent)
    }

    fn stage_file(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        entry: &FileEntry,
    ) -> Result<Staging, Error> {
        self.open_staged((op, token), backend, tablet, entry)
    }

    fn settle(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablets: &[TabletId],
    ) -> Result<(), Error> {
        self.settle_tablets((op, token), backend, tablets)
    }

    fn prepare(&self, op: OpId) -> Result<(), Error> {
        self.prepare_restore(op)
    }

    fn commit(&self, op: OpId) -> Result<(), Error> {
        self.commit_restore(op)
    }

    fn forget(&self, op: OpId) -> Result<(), Error> {
        self.forget_restore(op)
    }

    fn abort(&self, op: OpId) -> Result<(), Error> {
        self.abort_restore(op)
    }

    fn retain_only(&self, live: &[OpId]) -> Result<(), Error> {
        self.end_all_but(live)
    }
}

fn info(name: &str, record: TableRecord) -> Result<TableInfo, Error> {
    let form = record.form()?;
    let partition = |p: PartitionRecord| PartitionInfo {
        id: p.id,
        meta: p.meta,
        access: p.access,
        visible_version: p.version,
        visible_since_ms: p.since_ms,
        files: match form {
            Form::Loose => p.rows,
            Form::Packed => u64::from(p.rows > 0),
        },
        data_bytes: p.bytes,
    };
    Ok(TableInfo {
        name: name.to_owned(),
        schema: record.schema,
        access: record.access,
        partitions: record.partitions.into_iter().map(partition).collect(),
    })
}
