//! CREATE TABLE and partitions.
use holdfast_engine::RepositoryView;
use holdfast_storage::model::{PartitionMeta, TableSchema};
use std::collections::BTreeMap;

use crate::cursor::Cursor;
use crate::error::SqlError;
use crate::statement::{AddedPartition, CreateTable};

pub(crate) fn create_table(_: &mut Cursor<'_>) -> Result<CreateTable, SqlError> {
    Err(crate::parse::unsupported("CREATE TABLE", "-"))
}
pub(crate) fn added_partition(_: &mut Cursor<'_>) -> Result<AddedPartition, SqlError> {
    Err(crate::parse::unsupported("ADD PARTITION", "-"))
}
impl AddedPartition {
    /// The partition as it would stand in a table that has `schema` and `existing` partitions.
    ///
    /// # Errors
    /// Values that do not fit the columns, an overlap with another partition, a name that is taken.
    pub fn resolve(
        &self,
        _schema: &TableSchema,
        _existing: &[PartitionMeta],
    ) -> Result<PartitionMeta, SqlError> {
        Err(crate::parse::unsupported("ADD PARTITION", "-"))
    }
}
/// The CREATE TABLE statement that makes a table like this one.
pub fn create_table_text(
    _name: &str,
    _schema: &TableSchema,
    _partitions: &[PartitionMeta],
) -> String {
    String::new()
}
/// The CREATE REPOSITORY statement of a repository, secrets masked.
pub fn create_repository_text(
    _view: &RepositoryView,
    _properties: &BTreeMap<String, String>,
) -> String {
    String::new()
}
