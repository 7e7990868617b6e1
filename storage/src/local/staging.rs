//! stub
use super::LocalStorage;
use crate::model::{BackendId, FileEntry, OpId, TabletId, Token};
use crate::{Error, ErrorKind, Reuse, Staging};
fn later<T>() -> Result<T, Error> {
    Err(Error::new(ErrorKind::Invalid, "not available"))
}
impl LocalStorage {
    pub(super) fn stage_tablet(&self, _: OpId, _: Token, _: BackendId, _: TabletId, _: &[FileEntry]) -> Result<(), Error> { later() }
    pub(super) fn reuse_local(&self, _: OpId, _: Token, _: BackendId, _: TabletId, _: &FileEntry) -> Result<Reuse, Error> { later() }
    pub(super) fn open_staged(&self, _: OpId, _: Token, _: BackendId, _: TabletId, _: &FileEntry) -> Result<Staging, Error> { later() }
    pub(super) fn settle_tablets(&self, _: OpId, _: Token, _: BackendId, _: &[TabletId]) -> Result<(), Error> { later() }
}
