//! The contract an embedder implements: what each call promises, how calls may repeat, what must be
//! durable.
//!
//! Rules that hold for every method of [`Storage`]:
//! - calls may come from several threads at once and may repeat after a crash; each is
//!   *get-or-create* by its [`OpId`]: a repeated call finds what the first one made and answers the
//!   same;
//! - when a method that changes something returns `Ok`, the change is durable (survives power
//!   loss), unless its documentation says that a later call makes it so;
//! - nothing is cleaned up by the storage on its own: pins, staging places and marks stay until
//!   `release`, `abort`, `forget` or `retain_only`;
//! - no method panics on bad input; errors carry a [`crate::ErrorKind`] that tells what can be
//!   done.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use crate::Error;
use crate::ErrorKind;
use crate::model::{
    BackendId, BackendInfo, CatalogPosition, FileEntry, OpId, Pin, PinRequest, RestoreSpec,
    TableInfo, TabletId, Targets, Token,
};

/// An immutable data file opened for reading.
pub trait DataFile: Send + Sync {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// Whether it has no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Reads up to `buffer.len()` bytes at `offset`; 0 only at the end.
    ///
    /// # Errors
    /// `ReplicaFault` where the bytes cannot be read or the file is shorter than it was.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error>;

    /// Gives the bytes of `range` to `visit` in order, in pieces of at most some MiB. A storage
    /// that can map its files overrides this to hand out mapped windows. `Break` stops with `Ok`.
    ///
    /// # Errors
    /// `ReplicaFault` where the bytes cannot be read or the file is shorter than `range.end`.
    fn visit(
        &self,
        range: Range<u64>,
        visit: &mut dyn FnMut(&[u8]) -> ControlFlow<()>,
    ) -> Result<(), Error> {
        let mut buffer = vec![0_u8; (range.end - range.start).min(1024 * 1024) as usize];
        let mut at = range.start;
        while at < range.end {
            let want = (range.end - at).min(buffer.len() as u64) as usize;
            let got = self.read_at(at, &mut buffer[..want])?;
            if got == 0 {
                return Err(Error::new(
                    ErrorKind::ReplicaFault,
                    format!("data file ends at byte {at}, expected {} bytes", range.end),
                ));
            }
            if visit(&buffer[..got]).is_break() {
                return Ok(());
            }
            at += got as u64;
        }
        Ok(())
    }
}

/// A file being written into a staging place. Dropped without `finish`, it leaves nothing that
/// counts.
pub trait StagedFile: Send {
    /// Appends bytes.
    ///
    /// # Errors
    /// `Full`, `Fenced` or `Io`.
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error>;

    /// Ends the file: the storage compares length and hash of what was written with the entry it
    /// was opened for, and only then lets it count. Durable at the latest with [`Storage::settle`].
    ///
    /// # Errors
    /// `Invalid` where length or hash differ (nothing counts then), else as `write`.
    fn finish(self: Box<Self>) -> Result<(), Error>;
}

/// What [`Storage::stage_file`] answers.
pub enum Staging {
    /// The file is already complete in the staging place (an earlier attempt wrote it).
    Done,
    /// Write it here.
    Write(Box<dyn StagedFile>),
}

/// What [`Storage::reuse`] answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reuse {
    /// A local file was hashed again, agrees with the entry, and now counts as staged.
    Linked,
    /// No local file agrees; it must be fetched.
    Absent,
}

/// A database node's tables, as the engine needs to see them. See the module for the rules of every
/// call.
pub trait Storage: Send + Sync {
    /// Where the catalog stands; never goes back, not even over a restart. Answered from memory: it cannot
    /// fail, and it is asked often.
    fn position(&self) -> CatalogPosition;

    /// All backends.
    ///
    /// # Errors
    /// `Io` or `Damaged`.
    fn backends(&self) -> Result<Vec<BackendInfo>, Error>;

    /// Names of all databases.
    ///
    /// # Errors
    /// `Io` or `Damaged`.
    fn databases(&self) -> Result<Vec<String>, Error>;

    /// All tables of a database, by name.
    ///
    /// # Errors
    /// `NotFound` where the database does not exist.
    fn tables(&self, database: &str) -> Result<Vec<TableInfo>, Error>;

    /// Pins the visible versions of the requested tables at one point of time over all of them.
    /// From its return on, loads, truncates and drops succeed and the pinned data stays readable.
    /// Repeated: the same pin.
    ///
    /// # Errors
    /// `NotFound` names the missing database, table or partition; `Busy` where a table is being
    /// restored; `ReplicaFault` where a tablet has no whole replica.
    fn pin(&self, op: OpId, request: &PinRequest) -> Result<Pin, Error>;

    /// The data files of a pinned tablet, in name order.
    ///
    /// # Errors
    /// `PinLost` where the pin is gone; `Damaged` where the list cannot be read.
    fn pinned_files(&self, op: OpId, tablet: TabletId) -> Result<Vec<FileEntry>, Error>;

    /// Takes the local snapshot of pinned tablets on one backend (hard links, or whatever keeps the
    /// bytes still). Repeated: nothing more happens.
    ///
    /// # Errors
    /// `PinLost`; `ReplicaFault` where this backend cannot give a file; `Full`.
    fn link(&self, op: OpId, backend: BackendId, tablets: &[TabletId]) -> Result<(), Error>;

    /// Opens a file of the local snapshot.
    ///
    /// # Errors
    /// `PinLost`; `ReplicaFault` where this backend cannot give it (also when it was never linked
    /// there).
    fn open(
        &self,
        op: OpId,
        backend: BackendId,
        tablet: TabletId,
        name: &str,
    ) -> Result<Arc<dyn DataFile>, Error>;

    /// Ends a backup's hold: local snapshots and pin are removed. Unknown `op`: nothing happens.
    ///
    /// # Errors
    /// `Io`; may be tried again.
    fn release(&self, op: OpId) -> Result<(), Error>;

    /// Makes the metadata of a restore: what is absent is created, visible and closed; what will be
    /// overwritten is marked and goes on serving its data. A table of which only some partitions
    /// are overwritten is itself marked `Overwriting`; so is a table that the commit will drop.
    /// What the spec drops and is gone already is skipped. All or nothing. Repeated: the same
    /// targets.
    ///
    /// # Errors
    /// `Exists`/`NotFound` where the catalog has changed since the spec was checked; `Busy` where
    /// another operation holds a table; `Invalid` where there are fewer backends than replicas.
    fn create_targets(&self, op: OpId, spec: &RestoreSpec) -> Result<Targets, Error>;

    /// Makes the staging place of one tablet on one backend and keeps the list of files that it
    /// must get. A newer token takes the place over; what earlier attempts finished stays.
    ///
    /// # Errors
    /// `NotFound` where `op` has no such target; `Fenced`; `Invalid` for a bad file name; `Full`.
    fn stage(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        files: &[FileEntry],
    ) -> Result<(), Error>;

    /// Looks for a local file with the entry's content; hashes it again and, if it agrees, links it
    /// into the staging place. A token newer than the place has seen takes it over, as
    /// [`Storage::stage`] does: downloads come with newer tokens than the staging before them.
    ///
    /// # Errors
    /// `NotFound` where the tablet was not staged or its list lacks `entry`; `Fenced`; `Full`.
    fn reuse(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        entry: &FileEntry,
    ) -> Result<Reuse, Error>;

    /// Opens a file of the staging place for writing, in a place of this attempt's own. A newer
    /// token takes the place over.
    ///
    /// # Errors
    /// As [`Storage::reuse`].
    fn stage_file(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        entry: &FileEntry,
    ) -> Result<Staging, Error>;

    /// Makes all that this attempt finished on these tablets durable. A newer token takes the place
    /// over.
    ///
    /// # Errors
    /// `Fenced`, `Full` or `Io`.
    fn settle(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablets: &[TabletId],
    ) -> Result<(), Error>;

    /// Seals the staging: from here on every writer is refused. Proves that each replica of each
    /// target tablet has exactly the files of its list, puts them under their final names and makes
    /// the list of swaps durable. Targets still serve what they served. Repeated: nothing more
    /// happens. After a failure the places stay sealed for old tokens; a `stage` with a newer one
    /// opens them again.
    ///
    /// # Errors
    /// `Invalid` names the first file that is missing or differs; `NotFound` for an unknown `op`.
    fn prepare(&self, op: OpId) -> Result<(), Error>;

    /// Makes all targets of a prepared operation visible and drops what the spec drops, in one
    /// durable step. A commit of an op already committed does nothing, even if users have since
    /// changed the tables: committed ids are kept, after `forget` too (an id is never used again).
    ///
    /// # Errors
    /// `NotFound` where `op` was never prepared; `Io` may be tried again.
    fn commit(&self, op: OpId) -> Result<(), Error>;

    /// Forgets a committed operation: frees old versions and what is left of the staging. Unknown:
    /// nothing.
    ///
    /// # Errors
    /// `Io`; may be tried again.
    fn forget(&self, op: OpId) -> Result<(), Error>;

    /// Takes an uncommitted restore back: everything it made is gone, everything it marked is open
    /// again, its staging is removed. Unknown: nothing happens.
    ///
    /// # Errors
    /// `Invalid` where `op` is already committed; `Io` may be tried again.
    fn abort(&self, op: OpId) -> Result<(), Error>;

    /// After a start: ends every pin and every uncommitted restore whose op is not in `live`, and
    /// forgets every committed one not in it.
    ///
    /// # Errors
    /// `Io`; may be tried again.
    fn retain_only(&self, live: &[OpId]) -> Result<(), Error>;
}
