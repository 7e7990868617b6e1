//! The index behind the log: the same events by sequence, stream and kind, for queries.
//!
//! It is never needed and never believed: it is fed only frames that the log has synced, each
//! answer is checked for gaps and changes, and whatever is wrong with it leads to a new one built
//! from the log. No append waits for it. sled is named in `store` only.

mod build;
mod follow;
mod opening;
mod seen;
mod size;
mod store;
mod verify;

use std::collections::BTreeMap;

pub(crate) use follow::{Follower, Place, Query};
pub(crate) use opening::Opening;
pub(crate) use store::Broken;
pub use verify::IndexCheck;
pub(crate) use verify::check;

use serde::Serialize;

use crate::{
    frame::Head,
    ids::{Kind, Seq, StreamId},
};

/// The folder of the index, beside the segments.
pub(crate) const INDEX_FOLDER: &str = "index";

/// How the index stands to the log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum IndexStatus {
    /// The journal was opened without one.
    Off,
    /// It is being opened; queries read the log.
    Opening,
    /// It answers queries up to this sequence; the log is asked for the rest.
    Following {
        /// The last record it holds.
        through: Seq,
        /// Why it was built anew since the journal was opened, where it was.
        rebuilt: Option<String>,
    },
    /// It is being built; queries read the log.
    Building {
        /// Why it was not usable.
        why: String,
    },
    /// It could not be built; queries read the log until the journal is opened again.
    Failed {
        /// What went wrong.
        why: String,
    },
}

/// The last record of each stream and kind, which is what tells a short answer from a gap.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Heads {
    streams: BTreeMap<StreamId, Seq>,
    kinds: BTreeMap<Kind, Seq>,
}

impl Heads {
    /// Takes in the next frame; returns the records before it in its stream and kind.
    pub(crate) fn pass(&mut self, head: &Head) -> (Seq, Seq) {
        let stream = self
            .streams
            .insert(head.stream, head.seq)
            .unwrap_or(Seq::ZERO);
        let kind = self.kinds.insert(head.kind, head.seq).unwrap_or(Seq::ZERO);
        (stream, kind)
    }

    /// Takes in a frame whose place is known to be newer.
    fn set(&mut self, stream: StreamId, kind: Kind, seq: Seq) {
        self.streams.insert(stream, seq);
        self.kinds.insert(kind, seq);
    }

    fn last_of(&self, query: Query) -> Seq {
        let found = match query {
            Query::Stream(stream) => self.streams.get(&stream),
            Query::Kind(kind) => self.kinds.get(&kind),
        };
        found.copied().unwrap_or(Seq::ZERO)
    }
}
