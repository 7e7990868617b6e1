//! [`LocalStorage`] under the contract: each call of [`Storage`] handed to the module that does it.

use std::sync::Arc;

use super::{LocalStorage, is_alive};
use crate::model::{
    BackendId, BackendInfo, CatalogPosition, FileEntry, OpId, Pin, PinRequest, RestoreSpec,
    TableInfo, TabletId, Targets, Token,
};
use crate::{DataFile, Error, Reuse, Staging, Storage};

impl Storage for LocalStorage {
    fn position(&self) -> CatalogPosition {
        CatalogPosition(self.ledger.read().position)
    }

    fn backends(&self) -> Result<Vec<BackendInfo>, Error> {
        let state = self.ledger.read();
        let infos = state.backends.iter().map(|(id, backend)| BackendInfo {
            id: BackendId(*id),
            name: backend.name.clone(),
            alive: is_alive(&self.layout.backend(&backend.name)),
            replicas: backend.replicas,
            data_bytes: backend.bytes,
        });
        Ok(infos.collect())
    }

    fn databases(&self) -> Result<Vec<String>, Error> {
        Ok(self.ledger.read().database_names.keys().cloned().collect())
    }

    fn tables(&self, database: &str) -> Result<Vec<TableInfo>, Error> {
        let state = self.ledger.read();
        let ids = state.database(database)?.tables.values();
        ids.map(|id| state.table_info(state.table(*id)?)).collect()
    }

    fn pin(&self, op: OpId, request: &PinRequest) -> Result<Pin, Error> {
        self.take_pin(op, request)
    }

    fn pinned_files(&self, op: OpId, tablet: TabletId) -> Result<Vec<FileEntry>, Error> {
        self.list_pinned(op, tablet)
    }

    fn link(&self, op: OpId, backend: BackendId, tablets: &[TabletId]) -> Result<(), Error> {
        self.link_tablets(op, backend, tablets)
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
        self.stage_tablet(op, token, backend, tablet, files)
    }

    fn reuse(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        entry: &FileEntry,
    ) -> Result<Reuse, Error> {
        self.reuse_local(op, token, backend, tablet, entry)
    }

    fn stage_file(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        entry: &FileEntry,
    ) -> Result<Staging, Error> {
        self.open_staged(op, token, backend, tablet, entry)
    }

    fn settle(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablets: &[TabletId],
    ) -> Result<(), Error> {
        self.settle_tablets(op, token, backend, tablets)
    }

    fn prepare(&self, op: OpId) -> Result<(), Error> {
        self.prepare_restore(op)
    }

    fn commit(&self, op: OpId) -> Result<(), Error> {
        self.commit_prepared(op)
    }

    fn forget(&self, op: OpId) -> Result<(), Error> {
        self.forget_committed(op)
    }

    fn abort(&self, op: OpId) -> Result<(), Error> {
        self.abort_uncommitted(op)
    }

    fn retain_only(&self, live: &[OpId]) -> Result<(), Error> {
        self.end_all_but(live)
    }
}
