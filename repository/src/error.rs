//! The crate's one error. Owns how failures of the repository are named; decides no policy.

use std::fmt;

use holdfast_broker::ErrorClass;

use crate::ContentHash;

/// What kind of failure an [`Error`] is; callers choose what to do by this alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// A repository, snapshot, manifest or object that was named is not there.
    NotFound,
    /// The label belongs to another snapshot or to another writer.
    LabelTaken,
    /// The repository was opened read-only and a write was asked for.
    ReadOnly,
    /// Bytes in the repository are not what their name, size or format promise.
    Damaged,
    /// The repository or a manifest was written by a newer, incompatible format.
    NewerFormat,
    /// A member's bytes differ from the planned hash or length: the *source* is at fault.
    MemberMismatch,
    /// A member's bytes could not be read: the *source* is at fault.
    MemberUnreadable,
    /// The request itself is wrong: a name, a size or a plan breaks a rule.
    Invalid,
    /// The remote system failed; the class says what helps.
    Remote(ErrorClass),
}

impl ErrorKind {
    /// True where the same call may succeed if simply repeated later.
    pub fn heals(self) -> bool {
        matches!(self, ErrorKind::Remote(class) if class.heals() || class == ErrorClass::Ambiguous)
    }
}

/// Which member of an object disagreed with the plan, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberFault {
    /// Index of the member within the object; 0 for an object that is one file or segment.
    pub index: u32,
    /// The hash of what was read; `None` where the length was wrong or reading failed.
    pub found: Option<ContentHash>,
    /// The planned hash.
    pub expected: ContentHash,
}

/// A failure, with a message that names the thing, the value found and the value expected.
#[derive(Debug, Clone)]
pub struct Error {
    kind: ErrorKind,
    message: String,
    member: Option<Box<MemberFault>>,
    source: Option<holdfast_broker::Error>,
}

impl Error {
    /// What kind of failure this is.
    pub fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The message without its cause.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The member at fault, for [`ErrorKind::MemberMismatch`] and [`ErrorKind::MemberUnreadable`].
    pub fn member(&self) -> Option<&MemberFault> {
        self.member.as_deref()
    }

    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Error {
            kind,
            message: message.into(),
            member: None,
            source: None,
        }
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Invalid, message)
    }

    pub(crate) fn damaged(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::Damaged, message)
    }

    pub(crate) fn not_found(message: impl Into<String>) -> Self {
        Error::new(ErrorKind::NotFound, message)
    }

    pub(crate) fn with_member(mut self, fault: MemberFault) -> Self {
        self.member = Some(Box::new(fault));
        self
    }

    pub(crate) fn with_source(mut self, cause: holdfast_broker::Error) -> Self {
        self.source = Some(cause);
        self
    }

    /// The same failure under a message that puts `context` first.
    pub(crate) fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = format!("{context}: {}", self.message);
        self
    }

    /// A failed request of the remote, seen while doing `what`. What is missing or corrupt there
    /// keeps that meaning.
    pub(crate) fn remote(what: impl fmt::Display, cause: holdfast_broker::Error) -> Self {
        let kind = match cause.class() {
            ErrorClass::Missing => ErrorKind::NotFound,
            ErrorClass::Corrupt => ErrorKind::Damaged,
            class => ErrorKind::Remote(class),
        };
        Error::new(kind, what.to_string()).with_source(cause)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)?;
        match &self.source {
            Some(cause) => write!(f, ": {cause}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source
            .as_ref()
            .map(|cause| cause as &(dyn std::error::Error + 'static))
    }
}
