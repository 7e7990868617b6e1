//! A durable journal of events.
//!
//! The log, a chain of checksummed frames in append-only segment files, is the only judge of what
//! happened. An index in sled follows behind it, answers queries by stream and by kind, and can be
//! rebuilt from the log at any time. `docs/journal-format.md` describes the files byte by byte and
//! the table by which a folder is opened.
//!
//! The crate is generic over its events ([`Event`], [`events!`]) and knows nothing of what they
//! mean.
//!
//! ```
//! use holdfast_journal::{FileJournal, Journal, Options, Seq, events};
//!
//! #[derive(Clone, Debug, PartialEq)]
//! #[derive(serde::Serialize, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize)]
//! pub struct Greeted { pub name: String }
//!
//! events! {
//!     /// What happens at the door.
//!     pub enum DoorEvent: family 0x444f_4f52 {
//!         /// Somebody was greeted.
//!         1 => Greeted(Greeted),
//!     }
//! }
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! let (journal, report) = FileJournal::<DoorEvent>::open(folder.path(), Options::default())?;
//! assert_eq!(report.records, 0);
//! // Durable when it returns.
//! let done = journal.append(&[Greeted { name: "Ada".into() }.into()], 1_700_000_000_000)?;
//! assert_eq!(done.last, Seq(1));
//! # Ok(())
//! # }
//! ```
//!
//! # Threads
//! A journal with an index has one thread, `holdfast-index`, which ends when the journal is
//! dropped. sled, below it, may panic on a damaged folder; such a panic is caught and leads to a
//! new index, but the host's panic hook still hears of it.
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests are outside the deterministic core"
    )
)]

mod advance;
mod ahead;
mod anchor;
mod archive;
mod bytes;
mod cases;
mod checkpoint;
mod commit;
pub mod conformance;
pub mod disk;
mod error;
mod event;
mod file;
mod frame;
mod ids;
mod index;
mod journal;
mod memory;
mod reader;
mod readonly;
mod scan;
mod segment;
#[cfg(feature = "testing")]
pub mod testing;
mod transaction;
mod window;

#[doc(hidden)]
pub use serde;

pub use advance::Advanced;
pub use ahead::replay_ahead;
pub use archive::{ArchiveFile, ArchiveInfo, ArchiveRequest, Archives};
pub use cases::{Answer, OpenCase, OpenReport};
pub use error::{Error, ErrorKind, Place};
#[doc(hidden)]
pub use event::assert_kinds;
pub use event::{Event, PAYLOAD_ALIGN, decode_payload, encode_payload, unknown_kind};
pub use file::{FileJournal, Index, Options};
pub use frame::Frame;
pub use ids::{FrameHash, Kind, Seq, StreamId};
pub use index::{IndexCheck, IndexStatus};
pub use journal::{Appended, Checkpoint, Journal, Kept, Projection, Record, Visit, replay};
pub use memory::{Fate, MemoryJournal};
pub use readonly::{ReadJournal, VisitFrame};
