//! Tables and local snapshots: the border between a database node's own data and the backup engine.
//!
//! [`Storage`] is the contract an embedder implements for its tables; [`model`] holds the plain data that
//! crosses it. This crate knows tables, versions and replicas. It must not know jobs, brokers or
//! repositories: an operation reaches it as an [`OpId`] and nothing more.

mod contract;
mod error;
pub mod model;
pub mod schema;

pub use contract::{DataFile, Reuse, StagedFile, Staging, Storage};
pub use error::{Error, ErrorKind};
pub use model::{
    AllowLoad, BackendId, BackendInfo, CatalogPosition, FileEntry, FileHash, OpId, Pin, PinRequest,
    PinnedPartition, PinnedTable, PinnedTablet, RestoreSpec, TableInfo, TabletId, TargetTablet,
    Targets, Token,
};
