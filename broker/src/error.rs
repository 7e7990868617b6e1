//! The crate's one error: what the caller should do about it, in words that name the object, and
//! the cause beneath.
//!
//! The class is the whole interface to policy: whoever retries, takes another replica or gives up
//! decides on it alone and never reads the text.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// What an error asks of its caller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorClass {
    /// The request certainly took no effect, and the same request may well succeed later.
    Retry,
    /// The remote asks for fewer requests; nothing took effect. Carries how long it asked to be
    /// left alone, where it said so.
    Throttled {
        /// The least wait before the next request.
        after: Option<Duration>,
    },
    /// The request may or may not have taken effect; only reading back tells.
    Ambiguous,
    /// The remote has no space or quota left.
    Full,
    /// The remote refuses this principal.
    Denied,
    /// There is no such object.
    Missing,
    /// Something is in the way under that name.
    Exists,
    /// Bytes are not what they were promised to be: damaged, short, or changed while they were
    /// read.
    Corrupt,
    /// The request itself is wrong, and repeating it is useless.
    Invalid,
    /// The caller withdrew the request, or its deadline passed.
    Cancelled,
}

impl ErrorClass {
    /// True where the same request may succeed if it is simply sent again. An
    /// [`ErrorClass::Ambiguous`] failure is not among them: whoever sends that again must first
    /// look at what is there.
    pub fn heals(self) -> bool {
        matches!(self, ErrorClass::Retry | ErrorClass::Throttled { .. })
    }

    /// The class as one word, for messages and records.
    pub fn name(self) -> &'static str {
        match self {
            ErrorClass::Retry => "retry",
            ErrorClass::Throttled { .. } => "throttled",
            ErrorClass::Ambiguous => "ambiguous",
            ErrorClass::Full => "full",
            ErrorClass::Denied => "denied",
            ErrorClass::Missing => "missing",
            ErrorClass::Exists => "exists",
            ErrorClass::Corrupt => "corrupt",
            ErrorClass::Invalid => "invalid",
            ErrorClass::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for ErrorClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A failed request: its [`ErrorClass`], a message that names the object, and the cause where
/// there is one.
///
/// Cheap to clone, so that one failure can be answered to several waiters.
#[derive(Debug, Clone)]
pub struct Error {
    class: ErrorClass,
    message: Arc<str>,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    /// An error of `class`; the message is lower case, names the thing, and ends without a full
    /// stop.
    pub fn new(class: ErrorClass, message: impl Into<String>) -> Self {
        Error {
            class,
            message: Arc::from(message.into()),
            source: None,
        }
    }

    /// The same error with `cause` beneath it.
    pub fn with_source(mut self, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(cause));
        self
    }

    /// The same cause and class under a message that puts `context` first.
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.message = Arc::from(format!("{context}: {}", self.message));
        self
    }

    /// What the caller should do.
    pub fn class(&self) -> ErrorClass {
        self.class
    }

    /// The message without its cause.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn with_class(mut self, class: ErrorClass) -> Self {
        self.class = class;
        self
    }

    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Error::new(ErrorClass::Invalid, message)
    }

    pub(crate) fn missing(name: &crate::ObjectName) -> Self {
        Error::new(
            ErrorClass::Missing,
            format!("object {name:?} does not exist"),
        )
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
            .as_deref()
            .map(|cause| cause as &(dyn std::error::Error + 'static))
    }
}
