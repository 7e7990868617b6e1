//! Where the bytes of a put come from. Push style, so that mapped windows and pooled buffers
//! travel to the remote without a copy in between.

use std::borrow::Cow;
use std::fmt;

use crate::{Error, ErrorClass, ObjectName};

/// The bytes of one object, readable again and again.
///
/// Each [`Source::read`] gives the same [`Source::len`] bytes in the same order, in non-empty
/// pieces of any size, or fails; a source that finds its bytes changed fails with
/// [`ErrorClass::Corrupt`]. An error from `visit` ends the read at once and is returned as it is.
/// Reads from several threads at once are allowed.
pub trait Source: Send + Sync {
    /// How many bytes each read gives.
    fn len(&self) -> u64;

    /// True where there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Hands all bytes to `visit`, piece by piece.
    fn read(&self, visit: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error>;
}

/// Fails where a source gave another number of bytes than it promised.
pub(crate) fn check_given(name: &ObjectName, given: u64, expected: u64) -> Result<(), Error> {
    if given == expected {
        return Ok(());
    }
    let text = format!("the source of object {name:?} gave {given} bytes, expected {expected}");
    Err(Error::new(ErrorClass::Corrupt, text))
}

/// Bytes in memory as a [`Source`].
#[derive(Clone, PartialEq, Eq)]
pub struct BytesSource<'a>(Cow<'a, [u8]>);

impl<'a> BytesSource<'a> {
    /// A source of `bytes`, owned or borrowed.
    pub fn new(bytes: impl Into<Cow<'a, [u8]>>) -> Self {
        BytesSource(bytes.into())
    }
}

impl From<Vec<u8>> for BytesSource<'_> {
    fn from(bytes: Vec<u8>) -> Self {
        BytesSource(Cow::Owned(bytes))
    }
}

impl<'a> From<&'a [u8]> for BytesSource<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        BytesSource(Cow::Borrowed(bytes))
    }
}

impl<'a> From<&'a Vec<u8>> for BytesSource<'a> {
    fn from(bytes: &'a Vec<u8>) -> Self {
        BytesSource(Cow::Borrowed(bytes))
    }
}

impl<'a> From<&'a str> for BytesSource<'a> {
    fn from(text: &'a str) -> Self {
        BytesSource(Cow::Borrowed(text.as_bytes()))
    }
}

impl fmt::Debug for BytesSource<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BytesSource({} bytes)", self.0.len())
    }
}

impl Source for BytesSource<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, visit: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        if self.0.is_empty() {
            Ok(())
        } else {
            visit(&self.0)
        }
    }
}

/// A source whose pieces are shown to a function before they go on, cut to a largest size.
pub(crate) struct Tapped<'a> {
    inner: &'a dyn Source,
    piece_bytes: usize,
    tap: &'a (dyn Fn(&[u8]) -> Result<(), Error> + Sync),
}

impl<'a> Tapped<'a> {
    pub(crate) fn new(
        inner: &'a dyn Source,
        piece_bytes: usize,
        tap: &'a (dyn Fn(&[u8]) -> Result<(), Error> + Sync),
    ) -> Self {
        Tapped {
            inner,
            piece_bytes,
            tap,
        }
    }
}

impl Source for Tapped<'_> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read(&self, visit: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        self.inner.read(&mut |piece| {
            piece.chunks(self.piece_bytes).try_for_each(|part| {
                (self.tap)(part)?;
                visit(part)
            })
        })
    }
}
