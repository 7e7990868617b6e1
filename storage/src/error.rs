//! The one error of this crate: what a caller can do about it is its [`ErrorKind`]; the text names
//! the thing.

use std::fmt;

/// What the caller can do about an [`Error`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// The database, table, partition, tablet, file or backend does not exist.
    NotFound,
    /// Something of that name exists already.
    Exists,
    /// The request itself is wrong; trying again cannot help.
    Invalid,
    /// The object is held by a running operation (the text names it); try again when it has ended.
    Busy,
    /// The pinned versions are gone; the operation must take a new pin for all its tables.
    PinLost,
    /// This replica is damaged or unreadable; another replica may serve.
    ReplicaFault,
    /// A newer attempt owns the place; this one must stop.
    Fenced,
    /// No space is left.
    Full,
    /// The folder is in use by another process.
    Locked,
    /// What is on disk is damaged and no replica is left to answer.
    Damaged,
    /// The visitor asked to stop; only seen by callers that stop a read themselves.
    Stopped,
    /// A passing fault of the system below (the text has its words); may be tried again.
    Io,
}

/// A failed storage operation.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    message: String,
}

impl Error {
    /// An error of `kind` whose `message` names the thing, the value found and the value expected.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }

    /// What the caller can do.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The text without the kind.
    pub fn message(&self) -> &str {
        &self.message
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Error {}
