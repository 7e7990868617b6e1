//! A file system that forgets what was not synced, for real processes and real system calls.
//!
//! [`Disk`] is what the device and the page cache hold: plain data. [`Mounted`] serves it through
//! FUSE. The model is harsher than that of the usual file systems:
//! - what a file holds, its length included, is durable from a sync of *that file* on, page by page
//!   of 4 KiB; a file's sync says nothing of its name;
//! - a change of names is one change per call (a rename is one, whichever folders it touches) and
//!   durable from a sync of a folder that it touches on; a sync of a folder says nothing of the
//!   folder's own name;
//! - of what is not durable, a cut of power keeps nothing, or everything, or each page, each cut of
//!   a length and each change of names by the seed, in any order;
//! - mapped pages are the kernel's; shared writable maps, `O_TMPFILE`, `fallocate`, device files
//!   and symbolic links are refused.

mod disk;
mod mount;

pub use disk::{Disk, Kept, When};
pub use mount::{Mounted, unavailable};
