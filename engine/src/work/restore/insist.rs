//! Reading again what is missing or not what it should be: a remote may answer late or once
//! wrongly. What stays wrong fails the job, by name; what the remote itself calls a passing
//! failure goes back to the task's own retries.

use std::time::Duration;

use holdfast_repository::ErrorKind;

use crate::order::{Failure, StatusCode};
use crate::work::Task;

/// How often something is read before it counts as lost.
pub(super) const READINGS: u32 = 3;

/// Waited before the second reading; the third waits twice as long.
const PAUSE: Duration = Duration::from_millis(50);

/// Why one reading failed.
pub(super) enum Fault {
    /// What was read is missing or different; the text names it.
    Object(String),
    /// Anything else.
    Other(Failure),
}

impl From<holdfast_repository::Error> for Fault {
    fn from(error: holdfast_repository::Error) -> Self {
        match error.kind() {
            ErrorKind::NotFound | ErrorKind::Damaged => Self::Object(error.to_string()),
            _ => Self::Other(Failure::from(error)),
        }
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::Other(failure)
    }
}

/// Calls `read` with the number of the reading, from 1, until it succeeds or there is no point.
pub(super) fn insist<T>(
    task: &Task<'_>,
    mut read: impl FnMut(u32) -> Result<T, Fault>,
) -> Result<T, Failure> {
    let mut reading = 1;
    loop {
        match read(reading) {
            Ok(value) => return Ok(value),
            Err(Fault::Other(failure)) => return Err(failure),
            Err(Fault::Object(message)) if reading >= READINGS => {
                let text = format!("{message} (read {READINGS} times)");
                return Err(Failure::fatal(StatusCode::BadFile, text));
            }
            Err(Fault::Object(message)) => {
                log::warn!(
                    "job {}: {message}; reading {reading} of {READINGS}",
                    task.order.job
                );
                let pause = task.context.sleep(PAUSE * reading);
                pause?;
                reading += 1;
            }
        }
    }
}
