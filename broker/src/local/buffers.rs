//! Buffers that are used again, since fresh ones of this size cost a page fault per page. Bounded;
//! gives memory only.

use parking_lot::Mutex;

/// The size of each buffer: large enough for the disk, small enough to stay in a processor's cache
/// until it is hashed.
pub(super) const BUFFER_BYTES: usize = 1 << 20;

/// How many idle buffers are kept.
const KEPT: usize = 8;

/// A pool of buffers of [`BUFFER_BYTES`].
#[derive(Debug, Default)]
pub(super) struct Buffers(Mutex<Vec<Vec<u8>>>);

impl Buffers {
    /// A buffer of [`BUFFER_BYTES`] bytes of no meaning, given back when dropped.
    pub(super) fn take(&self) -> Buffer<'_> {
        let bytes = self.0.lock().pop().unwrap_or_else(|| vec![0; BUFFER_BYTES]);
        Buffer { pool: self, bytes }
    }
}

/// A buffer on loan.
#[derive(Debug)]
pub(super) struct Buffer<'a> {
    pool: &'a Buffers,
    bytes: Vec<u8>,
}

impl Buffer<'_> {
    /// All of its bytes.
    pub(super) fn bytes(&mut self) -> &mut [u8] {
        &mut self.bytes
    }
}

impl Drop for Buffer<'_> {
    fn drop(&mut self) {
        let mut kept = self.pool.0.lock();
        if kept.len() < KEPT {
            kept.push(std::mem::take(&mut self.bytes));
        }
    }
}
