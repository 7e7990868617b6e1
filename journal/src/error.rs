//! The one error of this crate.
//!
//! An error is plain data (it is handed to every caller that shared a failed sync, so it is
//! `Clone`): a kind that says what to do, a message that names the thing, and where there is one,
//! the place in the log.

use std::{fmt, io};

use crate::ids::Seq;

/// What went wrong, as far as it changes what a caller does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The request itself is wrong (no events, a payload too large, a bad name): correct it.
    Invalid,
    /// Another process or handle has the journal open for writing.
    Locked,
    /// The folder holds a journal of another family: the wrong folder was named.
    Foreign,
    /// The journal was written by a newer program: use that one.
    NewerFormat,
    /// Acknowledged events are missing or changed: restore the folder from a copy.
    Damaged,
    /// A write or sync failed earlier, its outcome is unknown: open the journal again.
    Poisoned,
    /// No space is left; nothing was written. Free space and repeat.
    Full,
    /// The operating system failed an operation that changed nothing.
    Io,
    /// There is no journal here.
    NotFound,
    /// A visitor or projection refused a record.
    Rejected,
}

/// Where in a log an error was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Name of the segment file.
    pub segment: String,
    /// Byte offset in that file.
    pub offset: u64,
    /// The sequence expected there.
    pub seq: Seq,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "segment {} offset {} sequence {}",
            self.segment, self.offset, self.seq
        )
    }
}

/// Why a journal could not do what was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    place: Option<Box<Place>>,
}

impl Error {
    /// An error of this kind; the message is lower case, names the thing and ends without a stop.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
            place: None,
        }
    }

    /// An [`ErrorKind::Rejected`], for visitors and projections.
    pub fn rejected(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Rejected, message)
    }

    /// What to do about it.
    #[must_use]
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// Where in the log it was found, for damage.
    #[must_use]
    pub fn place(&self) -> Option<&Place> {
        self.place.as_deref()
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn damaged(message: impl Into<String>) -> Self {
        Self::new(ErrorKind::Damaged, message)
    }

    pub(crate) fn poisoned(cause: &str) -> Self {
        let text = format!("outcome unknown, reopen the journal: {cause}");
        Self::new(ErrorKind::Poisoned, text)
    }

    /// Names the operation and the file around an error of the system.
    pub(crate) fn io(what: &str, name: &str, error: &io::Error) -> Self {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
            _ => ErrorKind::Io,
        };
        Self::new(kind, format!("{what} {name}: {error}"))
    }

    pub(crate) fn at(mut self, place: Place) -> Self {
        self.place = Some(Box::new(place));
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.place {
            Some(place) => write!(f, "{place}: {}", self.message),
            None => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for Error {}
