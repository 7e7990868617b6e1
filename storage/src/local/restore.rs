//! stub
use super::LocalStorage;
use crate::model::{OpId, RestoreSpec, Targets};
use crate::{Error, ErrorKind};
fn later<T>() -> Result<T, Error> {
    Err(Error::new(ErrorKind::Invalid, "not available"))
}
impl LocalStorage {
    pub(super) fn make_targets(&self, _: OpId, _: &RestoreSpec) -> Result<Targets, Error> { later() }
    pub(super) fn prepare_restore(&self, _: OpId) -> Result<(), Error> { later() }
    pub(super) fn commit_prepared(&self, _: OpId) -> Result<(), Error> { later() }
    pub(super) fn forget_committed(&self, _: OpId) -> Result<(), Error> { later() }
    pub(super) fn abort_uncommitted(&self, _: OpId) -> Result<(), Error> { later() }
    pub(super) fn end_all_but(&self, _: &[OpId]) -> Result<(), Error> { later() }
}
