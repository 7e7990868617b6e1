//! The backup and restore engine: it decides, applies, dispatches, and shows.
//!
//! The crate owns jobs. Whatever a job decides, starts or suffers is an event in a journal; state is what the
//! events make of it; views are what readers see of the state. It names no concrete storage, broker or journal,
//! opens no file and reads no clock: all of that comes in through [`Storage`](holdfast_storage::Storage),
//! [`Brokers`], [`Journal`](holdfast_journal::Journal) and the other seams.
//!
//! # Embedding
//! A database node implements [`Storage`](holdfast_storage::Storage) for its tables, opens an
//! engine with it, and asks for jobs. `docs/embedding.md` goes through it step by step, and
//! `examples/embed.rs` is a small node over a row store that does it. [`Parts::new`] brings clocks,
//! random numbers and a vault that takes no secrets; each is a field that a host can replace.
//!
//! ```
//! use std::{error::Error, path::Path, sync::Arc, time::Duration};
//! use holdfast_broker::{Broker, LocalBroker};
//! use holdfast_engine::{BackupRequest, Engine, Parts, RepositoryRequest};
//! use holdfast_journal::FileJournal;
//! use holdfast_storage::Storage;
//!
//! fn protect(tables: Arc<dyn Storage>, home: &Path, remote: &Path) -> Result<(), Box<dyn Error>> {
//!     let (journal, _report) = FileJournal::open(home.join("journal"), Default::default())?;
//!     std::fs::create_dir_all(home.join("jobs"))?;
//!     let work = Arc::new(LocalBroker::open(&home.join("jobs"))?);
//!     let brokers = |location: &str| match LocalBroker::open(Path::new(location)) {
//!         Ok(broker) => Ok(Arc::new(broker) as Arc<dyn Broker>),
//!         Err(e) => Err(e.to_string()),
//!     };
//!     let engine = Engine::open(Parts::new(Arc::new(journal), tables, work, Arc::new(brokers)))?;
//!     let location = remote.display().to_string();
//!     engine.create_repository(&RepositoryRequest::new("attic", &location))?;
//!     let job = engine.backup(&BackupRequest::new("shop", "monday", "attic"))?;
//!     let view = engine.wait(job, Duration::from_secs(3600)).ok_or("the job is not known")?;
//!     if view.is_finished() { Ok(()) } else { Err(view.common().status.message.clone().into()) }
//! }
//! # let dir = tempfile::tempdir()?;
//! # let (home, remote) = (dir.path().join("node"), dir.path().join("remote"));
//! # let files = dir.path().join("files");
//! # for dir in [&home, &remote, &files] { std::fs::create_dir_all(dir)?; }
//! # std::fs::write(files.join("part-0"), "some rows")?;
//! # let tables = holdfast_storage::LocalStorage::open(home.join("storage"), Default::default())?;
//! # tables.load(&holdfast_storage::LoadRequest::new("shop", "orders", vec![files]))?;
//! # protect(Arc::new(tables), &home, &remote)?;
//! # Ok::<(), Box<dyn Error>>(())
//! ```
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests are outside the deterministic core"
    )
)]

mod blobs;
mod calendar;
mod check;
mod checkpoint;
mod convert;
mod core;
mod decide;
mod desk;
mod dispatcher;
mod due;
mod engine;
pub mod event;
mod executor;
pub mod host;
mod ids;
pub mod inspect;
mod opening;
mod order;
pub mod plan;
mod published;
mod refusal;
mod registry;
mod replay;
mod retention;
mod seams;
mod select;
#[cfg(feature = "simulation")]
pub mod simulation;
mod spec;
mod state;
pub mod story;
mod submit;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod view;
mod work;

pub use blobs::BrokerBlobs;
pub use checkpoint::CheckpointError;
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
pub use retention::{Archiving, HistoryRequest, Retention, archive_journal};
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
