//! What the engine needs from its host, as traits: each has a real and a deterministic twin.
//!
//! The engine names no adapter, opens no file, reads no clock and starts no thread except through these.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_broker::Broker;

use crate::ids::{BlobHash, Epoch, JobId, TaskId};
use crate::order::TaskOrder;

/// The two clocks. Timeouts use monotonic time; columns that people read use wall time.
pub trait Clock: Send + Sync {
    /// Milliseconds since the epoch, as the host's wall clock has it; may jump.
    fn wall_ms(&self) -> u64;
    /// Milliseconds since some fixed point of this process; never goes back.
    fn mono_ms(&self) -> u64;
    /// The local time zone's offset from UTC at `wall_ms`, in seconds, for texts that people read.
    fn utc_offset_seconds(&self, wall_ms: u64) -> i32;
}

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Wall time, ms since the epoch.
    pub wall_ms: u64,
    /// Monotonic time, ms.
    pub mono_ms: u64,
}

/// A failed call to a blob store.
#[derive(Clone, Debug)]
pub struct BlobError {
    /// Whether trying again can help.
    pub retryable: bool,
    /// What happened, naming the blob.
    pub message: String,
}

/// What is too large for an event: plans and lists, by the job they belong to and the hash of their content.
pub trait Blobs: Send + Sync {
    /// Keeps `bytes` durably for `job` and gives their hash. Repeated: the same hash, nothing more happens.
    ///
    /// # Errors
    /// Where the store cannot keep them.
    fn put(&self, job: JobId, bytes: &[u8]) -> Result<BlobHash, BlobError>;

    /// Reads `len` bytes at `offset`.
    ///
    /// # Errors
    /// Where the blob is absent, shorter than asked, or unreadable.
    fn get_range(
        &self,
        job: JobId,
        hash: BlobHash,
        offset: u64,
        len: u64,
    ) -> Result<Vec<u8>, BlobError>;

    /// The blob's length in bytes; `None` where it is absent.
    ///
    /// # Errors
    /// Where the store cannot tell.
    fn len(&self, job: JobId, hash: BlobHash) -> Result<Option<u64>, BlobError>;

    /// Removes every blob of every job that is not in `live`.
    ///
    /// # Errors
    /// Where the store cannot; the rest may be removed later.
    fn retain_only(&self, live: &[JobId]) -> Result<(), BlobError>;

    /// Removes every blob of `job`. Unknown: nothing happens.
    ///
    /// # Errors
    /// As `retain_only`.
    fn remove(&self, job: JobId) -> Result<(), BlobError>;
}

/// Seals secrets before they reach the journal.
pub trait Vault: Send + Sync {
    /// Seals `plain`; the result may lie in a journal.
    ///
    /// # Errors
    /// A text that says why not.
    fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, String>;

    /// Opens what `seal` made.
    ///
    /// # Errors
    /// A text that says why not, such as another key.
    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, String>;
}

/// Where the engine's few random numbers come from (the cluster's id at its first opening).
pub trait Entropy: Send + Sync {
    /// 128 random bits.
    fn random(&self) -> u128;
}

/// Finds the broker for a repository.
pub trait Brokers: Send + Sync {
    /// The broker for `location`, by the named broker process or (`None`) directly by the location's scheme.
    ///
    /// # Errors
    /// A text that names the broker, scheme or property that is not understood, and what is.
    fn connect(
        &self,
        broker: Option<&str>,
        location: &str,
        properties: &BTreeMap<String, String>,
    ) -> Result<Arc<dyn Broker>, String>;
}

/// Runs tasks beside the dispatcher and sends a completion for each.
pub trait Executor: Send + Sync {
    /// Starts the task. Must not block: the dispatcher holds a credit for each start.
    fn start(&self, order: TaskOrder);
    /// Asks every worker of the job to let go: its cancel token is set.
    fn stop(&self, job: JobId);
    /// Gives up on a worker that did not let go in time: its thread is replaced, its completion will be stale.
    fn abandon(&self, job: JobId, task: TaskId, attempt: u32);
    /// What still runs from `epoch` or before; an executor within the process answers with nothing after a start.
    fn reconcile(&self, epoch: Epoch) -> Vec<TaskOrder>;
    /// Stops all workers and joins what can be joined.
    fn shutdown(&self);
}
