//! A transaction on its way into a log: encoded outside every lock, numbered and chained later.
//!
//! The caller pays for encoding; whoever writes the batch calls [`Transaction::seal`], which is the
//! one place where sequence and chain are given.

use crate::{
    error::Error,
    event::Event,
    frame::{self, Head, Role},
    ids::{FrameHash, Kind, Seq, StreamId},
    journal::Appended,
};

/// The most bytes that one transaction may take.
pub(crate) const TRANSACTION_MAX_BYTES: usize = 256 << 20;

#[derive(Clone, Copy, Debug)]
struct Part {
    start: usize,
    payload_bytes: u32,
    kind: Kind,
    stream: StreamId,
}

/// One transaction, encoded.
#[derive(Debug)]
pub(crate) struct Transaction {
    bytes: Vec<u8>,
    parts: Vec<Part>,
    at_ms: u64,
}

/// What sealing needs to know about where the transaction goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Tip {
    pub(crate) seq: Seq,
    pub(crate) hash: FrameHash,
}

impl Transaction {
    /// Encodes the events.
    ///
    /// # Errors
    /// `Invalid` for none, or for more than fits.
    pub(crate) fn encode<E: Event>(events: &[E], at_ms: u64) -> Result<Self, Error> {
        if events.is_empty() {
            return Err(Error::invalid(
                "a transaction of 0 events, expected at least 1",
            ));
        }
        let mut bytes = Vec::with_capacity(events.len() * 256);
        let mut parts = Vec::with_capacity(events.len());
        for event in events {
            let start = frame::reserve(&mut bytes);
            event.encode(&mut bytes)?;
            let payload_bytes = frame::close(&mut bytes, start)?;
            parts.push(Part {
                start,
                payload_bytes,
                kind: event.kind(),
                stream: event.stream(),
            });
            if bytes.len() > TRANSACTION_MAX_BYTES {
                return Err(Error::invalid(format!(
                    "a transaction of more than {TRANSACTION_MAX_BYTES} bytes"
                )));
            }
        }
        Ok(Self {
            bytes,
            parts,
            at_ms,
        })
    }

    /// The frames' bytes; complete after [`seal`](Transaction::seal).
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Numbers and chains the frames after `tip` and moves it on. `each` hears of every frame:
    /// its header and its offset in [`bytes`](Transaction::bytes).
    pub(crate) fn seal(
        &mut self,
        tip: &mut Tip,
        synced_through: Seq,
        seed: u32,
        mut each: impl FnMut(&Head, usize),
    ) -> Appended {
        let first = tip.seq.next();
        let count = self.parts.len();
        for (i, part) in self.parts.iter().enumerate() {
            let end = self
                .parts
                .get(i + 1)
                .map_or(self.bytes.len(), |next| next.start);
            let frame = &mut self.bytes[part.start..end];
            let mut head = Head {
                kind: part.kind,
                stream: part.stream,
                seq: tip.seq.next(),
                at_ms: self.at_ms,
                role: Role {
                    first: i == 0,
                    last: i + 1 == count,
                },
                payload_bytes: part.payload_bytes,
                synced_through,
                hash: tip.hash,
            };
            let payload_end = frame::HEADER_BYTES + part.payload_bytes as usize;
            let payload = &frame[frame::HEADER_BYTES..payload_end];
            head.hash = frame::chain(&tip.hash, &head, payload);
            frame::seal(frame, &head, seed);
            *tip = Tip {
                seq: head.seq,
                hash: head.hash,
            };
            each(&head, part.start);
        }
        Appended {
            first,
            last: tip.seq,
            hash: tip.hash,
        }
    }
}
