//! A durable journal of events.
//!
//! The log, a chain of checksummed frames in append-only segment files, is the only judge of what
//! happened. An index in sled follows behind it, answers queries by stream and by kind, and can be
//! rebuilt from the log at any time.
//!
//! The crate is generic over its events ([`Event`], [`events!`]) and knows nothing of what they
//! mean.

mod checkpoint;
mod error;
mod event;
mod frame;
mod ids;
mod journal;
mod memory;
mod transaction;

#[doc(hidden)]
pub use serde;

pub use error::{Error, ErrorKind, Place};
#[doc(hidden)]
pub use event::assert_kinds;
pub use event::{Event, PAYLOAD_ALIGN, decode_payload, encode_payload, unknown_kind};
pub use ids::{FrameHash, Kind, Seq, StreamId};
pub use journal::{Appended, Checkpoint, Journal, Projection, Record, Source, Visit, replay};
pub use memory::{Fate, MemoryJournal};
