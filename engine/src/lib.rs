//! The backup and restore engine: it decides, applies, dispatches, and shows.
//!
//! The crate owns jobs. Whatever a job decides, starts or suffers is an event in a journal; state is what the
//! events make of it; views are what readers see of the state. It names no concrete storage, broker or journal,
//! opens no file and reads no clock: all of that comes in through [`Storage`](holdfast_storage::Storage),
//! [`Brokers`], [`Journal`](holdfast_journal::Journal) and the other seams.

mod blobs;
mod calendar;
mod check;
mod convert;
mod core;
mod decide;
mod dispatcher;
mod due;
mod engine;
pub mod event;
mod executor;
pub mod host;
mod ids;
mod opening;
mod order;
pub mod plan;
mod published;
mod refusal;
mod registry;
mod replay;
mod seams;
mod select;
mod spec;
mod state;
mod submit;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod view;
mod work;

pub use blobs::BrokerBlobs;
pub use due::Credits;
pub use engine::{Engine, Options, Parts};
pub use event::Event;
pub use executor::{PoolExecutor, Threads};
pub use ids::{BlobHash, Epoch, JobId, RepositoryId, TaskId};
pub use opening::OpenError;
pub use order::{
    Completion, Failure, FailureClass, JobSpec, Lane, Output, StatusCode, TaskOrder, Work,
};
pub use refusal::{Refusal, RefusalCode};
pub use replay::Replay;
pub use seams::{BlobError, Blobs, Brokers, Clock, Entropy, Executor, Now, Vault};
pub use spec::{
    BackupRequest, BackupSpec, Clean, DEFAULT_TIMEOUT_SECONDS, JobKind, MIN_TIMEOUT_SECONDS,
    ObjectRef, Replication, RepositoryAccess, RepositoryRequest, RestoreJobSpec, RestoreRequest,
    Selection,
};
pub use view::{
    BackupState, BackupView, JobCommon, JobView, RepositoryView, RestoreState, RestoreView, Status,
    TaskError, TaskProgress, TaskRun, Views,
};
pub use work::Limits;
