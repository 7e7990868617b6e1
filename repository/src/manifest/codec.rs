//! Documents as stored bytes: JSON text, compressed with zstd. Owns the bounds on both sides of
//! the compression, so that a small hostile document cannot grow without end; knows no document.

use std::io::{self, Read};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::limits::{FORMAT_VERSION, MAX_DOCUMENT_TEXT, MAX_STORED_DOCUMENT};
use crate::{Error, ErrorKind};

/// Fast, and within some percent of the smallest for text that is mostly hashes.
const LEVEL: i32 = 3;

/// The largest window a reader grants, as a power of two: 8 MiB, what `LEVEL` may use at most.
const WINDOW_LOG_MAX: u32 = 23;

/// JSON, compressed. The same value gives the same bytes within one build.
pub(crate) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    let text = serde_json::to_vec(value)
        .map_err(|cause| Error::invalid(format!("the document cannot be written: {cause}")))?;
    if text.len() > MAX_DOCUMENT_TEXT {
        return Err(Error::invalid(format!(
            "the document has {} bytes of text, expected at most {MAX_DOCUMENT_TEXT}",
            text.len()
        )));
    }
    let stored = zstd::bulk::compress(&text, LEVEL)
        .map_err(|cause| Error::invalid(format!("the document cannot be compressed: {cause}")))?;
    if stored.len() as u64 > MAX_STORED_DOCUMENT {
        return Err(Error::invalid(format!(
            "the document has {} bytes as stored, expected at most {MAX_STORED_DOCUMENT}",
            stored.len()
        )));
    }
    Ok(stored)
}

/// The text of a stored document, of at most [`MAX_DOCUMENT_TEXT`] bytes.
fn text(stored: &[u8]) -> Result<Vec<u8>, Error> {
    let damaged =
        |cause: io::Error| Error::damaged(format!("the document cannot be decompressed: {cause}"));
    let mut decoder = zstd::stream::read::Decoder::with_buffer(stored).map_err(damaged)?;
    decoder.window_log_max(WINDOW_LOG_MAX).map_err(damaged)?;
    let mut text = Vec::new();
    decoder
        .take(MAX_DOCUMENT_TEXT as u64 + 1)
        .read_to_end(&mut text)
        .map_err(damaged)?;
    if text.len() > MAX_DOCUMENT_TEXT {
        return Err(Error::damaged(format!(
            "the document has more than {MAX_DOCUMENT_TEXT} bytes of text"
        )));
    }
    Ok(text)
}

/// A document that names its format's version.
pub(crate) trait Versioned {
    /// The version it names.
    fn format(&self) -> u32;
}

#[derive(serde::Deserialize)]
struct FormatOnly {
    format: u32,
}

/// Reads a document.
pub(crate) fn decode<T: DeserializeOwned + Versioned>(stored: &[u8]) -> Result<T, Error> {
    decode_text(&text(stored)?)
}

/// Reads a document that is stored as plain text.
pub(crate) fn decode_text<T: DeserializeOwned + Versioned>(text: &[u8]) -> Result<T, Error> {
    match serde_json::from_slice::<T>(text) {
        Ok(value) => check_format(value.format()).map(|()| value),
        Err(cause) => {
            // A newer document may well have another shape; then its version is the better answer.
            let damaged = |cause| Error::damaged(format!("the document cannot be read: {cause}"));
            let only = serde_json::from_slice::<FormatOnly>(text).map_err(damaged)?;
            check_format(only.format)?;
            Err(damaged(cause))
        }
    }
}

fn check_format(format: u32) -> Result<(), Error> {
    match format {
        FORMAT_VERSION => Ok(()),
        newer if newer > FORMAT_VERSION => Err(Error::new(
            ErrorKind::NewerFormat,
            format!("the document has format {newer}, expected at most {FORMAT_VERSION}"),
        )),
        older => Err(Error::damaged(format!(
            "the document has format {older}, expected {FORMAT_VERSION}"
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_that_grows_without_end_is_refused() {
        let text = vec![b' '; MAX_DOCUMENT_TEXT + 1];
        let stored = zstd::bulk::compress(&text, 1).expect("compress");
        assert!(stored.len() < 1 << 20);
        let error = decode::<crate::manifest::Part>(&stored).expect_err("too long");
        assert_eq!(error.kind(), ErrorKind::Damaged);
    }

    #[test]
    fn a_newer_format_is_named_even_where_its_shape_is_unknown() {
        let stored =
            zstd::bulk::compress(br#"{"format":2,"tablets":"elsewhere"}"#, 1).expect("zstd");
        let error = decode::<crate::manifest::Part>(&stored).expect_err("newer");
        assert_eq!(error.kind(), ErrorKind::NewerFormat);
        assert!(error.message().contains('2'), "{error}");
    }
}
