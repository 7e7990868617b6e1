//! The only unsafe code of this crate: a window of a file mapped for reading.
//!
//! A window is paged in before it is handed out, so that a bad sector or a file cut short is an
//! error of the call and not a signal that kills the host. It must stay the one small type here;
//! who may be mapped is decided by the caller.
#![allow(unsafe_code, reason = "mapping a file is unsafe; see the SAFETY text")]

use std::fs::File;
use std::io;

use memmap2::{Advice, Mmap, MmapOptions};
use rustix::io::Errno;

/// Bytes of one window; windows start at multiples of it.
pub(crate) const WINDOW: u64 = 8 * 1024 * 1024;

/// Some bytes of a file, mapped and paged in.
pub(crate) struct Window {
    map: Mmap,
}

impl Window {
    /// Maps `len` bytes from `offset` (a multiple of [`WINDOW`]) and pages them in. `None` where
    /// the system cannot page in with an error instead of a signal: read the bytes instead.
    ///
    /// # Errors
    /// The system's error where a page cannot be had: a read error, or a file shorter than the
    /// window.
    pub(crate) fn open(file: &File, offset: u64, len: usize) -> io::Result<Option<Self>> {
        debug_assert_eq!(offset % WINDOW, 0, "windows are aligned");
        // SAFETY: the map is read-only and private to this type, and its bytes are handed out only
        // while it lives. The file keeps still because it is a data file of a local snapshot: a
        // hard link that this storage made of a file that it never opens for writing again, in a
        // folder that it owns alone and removes only by unlinking, which leaves the pages as they
        // are. Where somebody breaks that rule from outside by writing in place, the bytes may
        // change under a reader that then sees a wrong hash; where they cut the file, paging in
        // fails with an error. Left open is a cut, or a read error of a page that was evicted
        // again, in the short time between paging in and reading.
        let map = unsafe { MmapOptions::new().offset(offset).len(len).map(file)? };
        // A hint only: what cannot be followed is no error.
        let _ = map.advise(Advice::Sequential);
        match map.advise(Advice::PopulateRead) {
            Ok(()) => Ok(Some(Self { map })),
            Err(e) if e.raw_os_error() == Some(Errno::INVAL.raw_os_error()) => Ok(None),
            Err(e) => Err(e),
        }
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.map
    }
}
