//! Tables and local snapshots: the border between a database node's own data and the backup engine.
//!
//! [`Storage`] is the contract an embedder implements for its tables; [`model`] holds the plain
//! data that crosses it; [`schema`] says what must agree before data may be put over other data.
//! [`LocalStorage`] is the storage for nodes that have none of their own. This crate knows tables,
//! versions and replicas. It must not know jobs, brokers or repositories: an operation reaches it
//! as an [`OpId`] and nothing more.
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests are outside the deterministic core"
    )
)]

pub mod conformance;
mod contract;
mod data_file;
mod digest;
mod error;
mod local;
mod mapping;
pub mod model;
mod names;
pub mod schema;
#[cfg(feature = "testing")]
pub mod testing;

pub use contract::{DataFile, Reuse, StagedFile, Staging, Storage};
pub use digest::{Digest, Digested};
pub use error::{Error, ErrorKind};
pub use local::events;
pub use local::{
    ExportReport, ExportRequest, LoadReport, LoadRequest, LocalStorage, Options, PartitionDetails,
    Progress, ReplicaDetails, TableDetails, TabletDetails,
};
pub use model::{
    AllowLoad, BackendId, BackendInfo, CatalogPosition, FileEntry, FileHash, OpId, Pin, PinRequest,
    PinnedPartition, PinnedTable, PinnedTablet, RestoreSpec, TableInfo, TabletId, TargetTablet,
    Targets, Token,
};
pub use names::{check_backend, check_file, check_object, check_partition};
