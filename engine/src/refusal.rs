//! Why a statement was refused: a stable code for programs, a text for people that names what was found, what was
//! expected and what to do.

use std::fmt;

/// Stable names of refusals. `sql` gives each its error number and SQLSTATE.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RefusalCode {
    /// The database does not exist.
    DatabaseNotFound,
    /// The table does not exist (in the database or in the snapshot).
    TableNotFound,
    /// The partition does not exist (in the table or in the snapshot).
    PartitionNotFound,
    /// Nothing is left to back up or restore.
    NothingSelected,
    /// A table or alias is listed twice.
    DuplicateObject,
    /// The label does not match its pattern.
    BadLabel,
    /// The repository name does not match its pattern.
    BadRepositoryName,
    /// The repository does not exist.
    RepositoryNotFound,
    /// A repository of that name exists.
    RepositoryExists,
    /// The repository is in use by a running job.
    RepositoryBusy,
    /// The repository refuses writes.
    RepositoryReadOnly,
    /// The repository could not be made or reached.
    RepositoryUnusable,
    /// The broker is not registered.
    BrokerNotFound,
    /// The label is taken in the repository.
    LabelExists,
    /// The snapshot or its timestamp is not in the repository.
    SnapshotNotFound,
    /// The snapshot holds another database.
    WrongDatabase,
    /// Another job of the database runs.
    JobRunning,
    /// No job of that kind runs.
    NoJob,
    /// The job is past its point of no return or has ended.
    NotCancellable,
    /// A property is unknown, malformed or contradicts another.
    BadProperty,
    /// The target does not agree with the snapshot.
    TargetMismatch,
    /// The engine is closing or its journal is poisoned.
    Unavailable,
    /// The disk of the journal is full.
    Full,
    /// Any other failure of a part below; the text has its words.
    Failed,
}

/// A refused statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The stable code.
    pub code: RefusalCode,
    /// The text.
    pub message: String,
}

impl Refusal {
    /// A refusal with its text.
    pub fn new(code: RefusalCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Refusal {}
