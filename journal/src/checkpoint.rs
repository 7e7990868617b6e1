//! Checkpoint files.

use crate::error::Error;

/// Checks the name of a projection, which becomes part of a file name.
pub(crate) fn check_name(projection: &str) -> Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if projection.is_empty() || projection.len() > 64 || !projection.bytes().all(allowed) {
        let text = format!("projection name {projection:?}, expected [a-z0-9-], 1 to 64 bytes");
        return Err(Error::invalid(text));
    }
    Ok(())
}
