//! Where errors of the parts below become what the engine does about them: the one place of that policy.

use holdfast_broker::ErrorClass;
use holdfast_storage::{BackendId, ErrorKind};

use crate::order::{Failure, FailureClass, StatusCode};

impl Failure {
    /// A failure of `class` with its words.
    pub(crate) fn new(class: FailureClass, message: impl Into<String>) -> Self {
        Self {
            class,
            message: message.into(),
        }
    }

    /// A failure that cannot heal.
    pub(crate) fn fatal(code: StatusCode, message: impl Into<String>) -> Self {
        Self::new(FailureClass::Fatal(code), message)
    }

    /// A failure that may heal by itself.
    pub(crate) fn retry(message: impl Into<String>) -> Self {
        Self::new(FailureClass::Retry, message)
    }
}

/// What follows from a failed call of the storage that concerned no particular replica.
pub(crate) fn from_storage(error: &holdfast_storage::Error) -> Failure {
    Failure::new(storage_class(error.kind(), None), error.message())
}

/// What follows from a failed call of the storage on `backend`.
pub(crate) fn from_backend(backend: BackendId, error: &holdfast_storage::Error) -> Failure {
    Failure::new(storage_class(error.kind(), Some(backend)), error.message())
}

fn storage_class(kind: ErrorKind, backend: Option<BackendId>) -> FailureClass {
    match kind {
        ErrorKind::NotFound | ErrorKind::Exists | ErrorKind::Locked | ErrorKind::Busy => {
            FailureClass::Fatal(if kind == ErrorKind::NotFound {
                StatusCode::NotFound
            } else {
                StatusCode::CommonError
            })
        }
        ErrorKind::Invalid => FailureClass::Fatal(StatusCode::CommonError),
        ErrorKind::Damaged => FailureClass::Fatal(StatusCode::BadFile),
        ErrorKind::PinLost => FailureClass::PinLost,
        ErrorKind::ReplicaFault => backend.map_or(FailureClass::Retry, FailureClass::Replica),
        ErrorKind::Fenced | ErrorKind::Stopped => FailureClass::Stopped,
        ErrorKind::Full | ErrorKind::Io => FailureClass::Retry,
    }
}

/// What follows from a failed call of a broker.
pub(crate) fn from_broker(error: &holdfast_broker::Error) -> Failure {
    Failure::new(broker_class(error.class()), error.to_string())
}

fn broker_class(class: ErrorClass) -> FailureClass {
    match class {
        ErrorClass::Retry | ErrorClass::Ambiguous | ErrorClass::Full => FailureClass::Retry,
        ErrorClass::Throttled { after: None } => FailureClass::Retry,
        ErrorClass::Throttled { after: Some(after) } => {
            FailureClass::RetryAfter(u32::try_from(after.as_millis()).unwrap_or(u32::MAX))
        }
        ErrorClass::Denied => FailureClass::Fatal(StatusCode::CommonError),
        ErrorClass::Missing => FailureClass::Fatal(StatusCode::NotFound),
        ErrorClass::Exists | ErrorClass::Invalid => FailureClass::Fatal(StatusCode::CommonError),
        ErrorClass::Corrupt => FailureClass::Fatal(StatusCode::BadFile),
        ErrorClass::Cancelled => FailureClass::Stopped,
    }
}
