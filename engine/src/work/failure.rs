//! Where errors of the parts below become what the engine does about them: the one place of that policy.

use holdfast_broker::ErrorClass;
use holdfast_repository::ErrorKind as RepositoryKind;
use holdfast_storage::{BackendId, ErrorKind};

use crate::order::{Failure, FailureClass, StatusCode};
use crate::seams::BlobError;

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

impl From<BlobError> for Failure {
    fn from(error: BlobError) -> Self {
        let class = match error.retryable {
            true => FailureClass::Retry,
            false => FailureClass::Fatal(StatusCode::CommonError),
        };
        Self::new(class, error.message)
    }
}

/// A call of the storage that concerned no particular replica.
impl From<holdfast_storage::Error> for Failure {
    fn from(error: holdfast_storage::Error) -> Self {
        Self::new(storage_class(error.kind(), None), error.message())
    }
}

/// A call of a broker.
impl From<holdfast_broker::Error> for Failure {
    fn from(error: holdfast_broker::Error) -> Self {
        Self::new(broker_class(error.class()), error.to_string())
    }
}

/// A call of a repository whose sources were not at fault.
impl From<holdfast_repository::Error> for Failure {
    fn from(error: holdfast_repository::Error) -> Self {
        Self::new(repository_class(error.kind()), error.to_string())
    }
}

/// What follows from a failed call of the storage that concerned its replica on `backend`.
pub(crate) fn on_backend(backend: BackendId, error: &holdfast_storage::Error) -> Failure {
    Failure::new(storage_class(error.kind(), Some(backend)), error.message())
}

fn storage_class(kind: ErrorKind, backend: Option<BackendId>) -> FailureClass {
    match kind {
        ErrorKind::NotFound => FailureClass::Fatal(StatusCode::NotFound),
        ErrorKind::Exists | ErrorKind::Locked | ErrorKind::Invalid => {
            FailureClass::Fatal(StatusCode::CommonError)
        }
        ErrorKind::Damaged => FailureClass::Fatal(StatusCode::BadFile),
        ErrorKind::PinLost => FailureClass::PinLost,
        // Without a backend it says that no replica is whole.
        ErrorKind::ReplicaFault => backend.map_or(
            FailureClass::Fatal(StatusCode::BadFile),
            FailureClass::Replica,
        ),
        ErrorKind::Fenced | ErrorKind::Stopped => FailureClass::Stopped,
        ErrorKind::Busy | ErrorKind::Full | ErrorKind::Io => FailureClass::Retry,
    }
}

fn broker_class(class: ErrorClass) -> FailureClass {
    match class {
        // What is ambiguous is looked at again by the next attempt, since every work is idempotent.
        ErrorClass::Retry | ErrorClass::Ambiguous | ErrorClass::Full => FailureClass::Retry,
        ErrorClass::Throttled { after } => after.map_or(FailureClass::Retry, |after| {
            FailureClass::RetryAfter(u32::try_from(after.as_millis()).unwrap_or(u32::MAX))
        }),
        ErrorClass::Missing => FailureClass::Fatal(StatusCode::NotFound),
        ErrorClass::Corrupt => FailureClass::Fatal(StatusCode::BadFile),
        ErrorClass::Denied | ErrorClass::Exists | ErrorClass::Invalid => {
            FailureClass::Fatal(StatusCode::CommonError)
        }
        ErrorClass::Cancelled => FailureClass::Stopped,
    }
}

fn repository_class(kind: RepositoryKind) -> FailureClass {
    match kind {
        RepositoryKind::NotFound => FailureClass::Fatal(StatusCode::NotFound),
        RepositoryKind::Damaged => FailureClass::Fatal(StatusCode::BadFile),
        RepositoryKind::NewerFormat => FailureClass::Fatal(StatusCode::Unsupported),
        RepositoryKind::LabelTaken | RepositoryKind::ReadOnly | RepositoryKind::Invalid => {
            FailureClass::Fatal(StatusCode::CommonError)
        }
        // The sources know which replica it was; without that, another attempt opens them anew.
        RepositoryKind::MemberMismatch | RepositoryKind::MemberUnreadable => FailureClass::Retry,
        RepositoryKind::Remote(class) => broker_class(class),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_storage_failure_blames_the_backend_only_where_there_is_one() {
        let fault = holdfast_storage::Error::new(ErrorKind::ReplicaFault, "file 'x' is short");
        let backend = BackendId(3);
        assert_eq!(
            on_backend(backend, &fault).class,
            FailureClass::Replica(backend)
        );
        let nobody = Failure::from(fault);
        assert_eq!(nobody.class, FailureClass::Fatal(StatusCode::BadFile));
        assert_eq!(nobody.message, "file 'x' is short");
        let lost = holdfast_storage::Error::new(ErrorKind::PinLost, "gone");
        assert_eq!(on_backend(backend, &lost).class, FailureClass::PinLost);
    }

    #[test]
    fn a_remote_failure_waits_as_long_as_the_remote_asked() {
        let after = Some(Duration::from_millis(1500));
        let busy = holdfast_broker::Error::new(ErrorClass::Throttled { after }, "slow down");
        assert_eq!(Failure::from(busy).class, FailureClass::RetryAfter(1500));
        let endless = ErrorClass::Throttled {
            after: Some(Duration::MAX),
        };
        assert_eq!(broker_class(endless), FailureClass::RetryAfter(u32::MAX));
        assert_eq!(broker_class(ErrorClass::Ambiguous), FailureClass::Retry);
        let denied = FailureClass::Fatal(StatusCode::CommonError);
        assert_eq!(broker_class(ErrorClass::Denied), denied);
        assert_eq!(broker_class(ErrorClass::Cancelled), FailureClass::Stopped);
    }

    #[test]
    fn a_lost_blob_is_not_tried_again() {
        let lost = BlobError {
            retryable: false,
            message: "blob x".to_owned(),
        };
        let failure = Failure::from(lost);
        assert_eq!(failure.class, FailureClass::Fatal(StatusCode::CommonError));
        assert_eq!(failure.message, "blob x");
    }
}
