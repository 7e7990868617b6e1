//! The bytes of one frame: a fixed header of 96 bytes, then the payload, padded to 16.
//!
//! Encoding and checking live here and nowhere else; the layout is written down in
//! `docs/journal-format.md`. This module does no I/O and knows no segment: the caller hands in the
//! `seed`, which binds a frame's checksum to the segment that it was written in.

use crate::{
    error::{Error, ErrorKind},
    ids::{FrameHash, Kind, Seq, StreamId},
};

/// Bytes of a frame's header.
pub(crate) const HEADER_BYTES: usize = 96;
/// Frames start at multiples of this.
pub(crate) const FRAME_ALIGN: usize = 16;
/// The largest payload of one event.
pub(crate) const PAYLOAD_MAX_BYTES: usize = 16 << 20;
/// The frame format that this program writes.
pub(crate) const FORMAT: u16 = 1;
/// The first four bytes of a frame.
pub(crate) const MAGIC: [u8; 4] = *b"HFf\xa7";

/// BLAKE3's chunk.
const SMALL_BYTES: usize = 1_024;

const FLAG_FIRST: u16 = 1;
const FLAG_LAST: u16 = 2;
const HASH_AT: usize = 48;
const CRC_AT: usize = 80;

/// Where a frame stands in its transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Role {
    pub(crate) first: bool,
    pub(crate) last: bool,
}

/// What a frame's header says, without chain and checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: Kind,
    pub(crate) stream: StreamId,
    pub(crate) seq: Seq,
    pub(crate) at_ms: u64,
    pub(crate) role: Role,
    pub(crate) payload_bytes: u32,
    pub(crate) synced_through: Seq,
    pub(crate) hash: FrameHash,
}

/// A frame without its checksum and its padding: what happened, and how it is chained.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Its place in the journal.
    pub seq: Seq,
    /// Wall clock at the append, milliseconds since 1970.
    pub at_ms: u64,
    /// What it is about.
    pub stream: StreamId,
    /// What the payload is.
    pub kind: Kind,
    /// Whether it is the first of its transaction.
    pub first: bool,
    /// Whether it is the last of its transaction.
    pub last: bool,
    /// The chain hash up to and including it, as it is recorded.
    pub hash: FrameHash,
    /// The bytes of the event.
    pub payload: &'a [u8],
}

impl<'a> Frame<'a> {
    pub(crate) fn of(head: &Head, payload: &'a [u8]) -> Self {
        Self {
            seq: head.seq,
            at_ms: head.at_ms,
            stream: head.stream,
            kind: head.kind,
            first: head.role.first,
            last: head.role.last,
            hash: head.hash,
            payload,
        }
    }

    /// The chain hash that this frame must bear behind one with the hash `prev`. Where it differs
    /// from [`hash`](Frame::hash), something of the two frames was changed since they were written.
    #[must_use]
    pub fn chained(&self, prev: &FrameHash) -> FrameHash {
        let head = Head {
            kind: self.kind,
            stream: self.stream,
            seq: self.seq,
            at_ms: self.at_ms,
            role: Role {
                first: self.first,
                last: self.last,
            },
            payload_bytes: u32::try_from(self.payload.len()).unwrap_or(u32::MAX),
            synced_through: Seq::ZERO,
            hash: self.hash,
        };
        chain(prev, &head, self.payload)
    }
}

/// Why bytes are no frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flaw {
    /// The bytes end before the frame does.
    Short,
    /// No frame starts here.
    Magic,
    /// The checksum disagrees.
    Checksum,
    /// A field has a value that no writer gives it.
    Field(&'static str),
    /// Whole, but of a format that this program does not know.
    Format(u16),
}

impl Flaw {
    pub(crate) fn text(self) -> String {
        match self {
            Self::Short => "the file ends inside a frame".to_owned(),
            Self::Magic => "no frame starts here".to_owned(),
            Self::Checksum => "the checksum of the frame disagrees".to_owned(),
            Self::Field(name) => format!("the frame has an impossible {name}"),
            Self::Format(found) => format!("frame format {found}, expected {FORMAT} or older"),
        }
    }
}

/// Bytes that a frame with this payload takes in a segment.
pub(crate) const fn frame_bytes(payload_bytes: usize) -> usize {
    (HEADER_BYTES + payload_bytes).next_multiple_of(FRAME_ALIGN)
}

/// The chain hash of a frame. It covers what happened and not how it was batched or stored, so
/// the same events have the same hash in every kind of journal.
pub(crate) fn chain(prev: &FrameHash, head: &Head, payload: &[u8]) -> FrameHash {
    let mut fixed = [0_u8; 64];
    fixed[..32].copy_from_slice(&prev.0);
    fixed[32..34].copy_from_slice(&flags(head.role).to_le_bytes());
    fixed[34..36].copy_from_slice(&head.kind.0.to_le_bytes());
    fixed[36..40].copy_from_slice(&head.payload_bytes.to_le_bytes());
    fixed[40..48].copy_from_slice(&head.stream.0.to_le_bytes());
    fixed[48..56].copy_from_slice(&head.seq.0.to_le_bytes());
    fixed[56..64].copy_from_slice(&head.at_ms.to_le_bytes());
    let mut small = [0_u8; SMALL_BYTES];
    let whole = fixed.len() + payload.len();
    let hash = if whole <= small.len() {
        // One call over one chunk takes half the time of setting a hasher up, and most events fit.
        small[..fixed.len()].copy_from_slice(&fixed);
        small[fixed.len()..whole].copy_from_slice(payload);
        blake3::hash(&small[..whole])
    } else {
        blake3::Hasher::new()
            .update(&fixed)
            .update(payload)
            .finalize()
    };
    FrameHash(*hash.as_bytes())
}

const fn flags(role: Role) -> u16 {
    let first = if role.first { FLAG_FIRST } else { 0 };
    let last = if role.last { FLAG_LAST } else { 0 };
    first | last
}

/// Appends room for a header to `out`, to be filled by [`seal`] once the payload follows.
pub(crate) fn reserve(out: &mut Vec<u8>) -> usize {
    let start = out.len();
    out.resize(start + HEADER_BYTES, 0);
    start
}

/// Pads the frame that starts at `start` and reaches to the end of `out`.
///
/// # Errors
/// `Invalid` for a payload above [`PAYLOAD_MAX_BYTES`].
pub(crate) fn close(out: &mut Vec<u8>, start: usize) -> Result<u32, Error> {
    let payload_bytes = out.len() - start - HEADER_BYTES;
    if payload_bytes > PAYLOAD_MAX_BYTES {
        return Err(Error::invalid(format!(
            "event payload of {payload_bytes} bytes, expected at most {PAYLOAD_MAX_BYTES}"
        )));
    }
    out.resize(out.len().next_multiple_of(FRAME_ALIGN), 0);
    u32::try_from(payload_bytes).map_err(|_| Error::new(ErrorKind::Invalid, "payload too large"))
}

/// Writes the header into a padded frame: chain first, checksum last.
pub(crate) fn seal(frame: &mut [u8], head: &Head, seed: u32) {
    frame[0..4].copy_from_slice(&MAGIC);
    frame[4..6].copy_from_slice(&FORMAT.to_le_bytes());
    frame[6..8].copy_from_slice(&flags(head.role).to_le_bytes());
    frame[8..10].copy_from_slice(&head.kind.0.to_le_bytes());
    frame[10..12].fill(0);
    frame[12..16].copy_from_slice(&head.payload_bytes.to_le_bytes());
    frame[16..24].copy_from_slice(&head.stream.0.to_le_bytes());
    frame[24..32].copy_from_slice(&head.seq.0.to_le_bytes());
    frame[32..40].copy_from_slice(&head.at_ms.to_le_bytes());
    frame[40..48].copy_from_slice(&head.synced_through.0.to_le_bytes());
    frame[HASH_AT..CRC_AT].copy_from_slice(&head.hash.0);
    frame[CRC_AT..HEADER_BYTES].fill(0);
    let crc = checksum(frame, seed);
    frame[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
}

fn checksum(frame: &[u8], seed: u32) -> u32 {
    let crc = crc32c::crc32c_append(seed, &frame[..CRC_AT]);
    crc32c::crc32c_append(crc, &frame[CRC_AT + 4..])
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

/// How many bytes the frame at the start of `bytes` claims, without having checked it.
pub(crate) fn claimed_bytes(bytes: &[u8]) -> Result<usize, Flaw> {
    if bytes.len() < HEADER_BYTES {
        return Err(Flaw::Short);
    }
    if bytes[..4] != MAGIC {
        return Err(Flaw::Magic);
    }
    let payload_bytes = u32::from_le_bytes(array(bytes, 12)) as usize;
    if payload_bytes > PAYLOAD_MAX_BYTES {
        return Err(Flaw::Field("payload length"));
    }
    Ok(frame_bytes(payload_bytes))
}

/// Reads the frame at the start of `bytes`: header, payload and the bytes it takes. The chain is
/// the caller's to check.
pub(crate) fn open(bytes: &[u8], seed: u32) -> Result<(Head, &[u8], usize), Flaw> {
    let total = claimed_bytes(bytes)?;
    let frame = bytes.get(..total).ok_or(Flaw::Short)?;
    if checksum(frame, seed) != u32::from_le_bytes(array(frame, CRC_AT)) {
        return Err(Flaw::Checksum);
    }
    let format = u16::from_le_bytes(array(frame, 4));
    if format != FORMAT {
        return Err(Flaw::Format(format));
    }
    let flags = u16::from_le_bytes(array(frame, 6));
    if flags & !(FLAG_FIRST | FLAG_LAST) != 0 {
        return Err(Flaw::Field("flag"));
    }
    let payload_bytes = u32::from_le_bytes(array(frame, 12));
    let padding = &frame[HEADER_BYTES + payload_bytes as usize..];
    let zeros = [&frame[10..12], &frame[CRC_AT + 4..HEADER_BYTES], padding];
    if zeros.iter().any(|field| field.iter().any(|b| *b != 0)) {
        return Err(Flaw::Field("byte where a zero is written"));
    }
    let head = Head {
        kind: Kind(u16::from_le_bytes(array(frame, 8))),
        stream: StreamId(u64::from_le_bytes(array(frame, 16))),
        seq: Seq(u64::from_le_bytes(array(frame, 24))),
        at_ms: u64::from_le_bytes(array(frame, 32)),
        role: Role {
            first: flags & FLAG_FIRST != 0,
            last: flags & FLAG_LAST != 0,
        },
        payload_bytes,
        synced_through: Seq(u64::from_le_bytes(array(frame, 40))),
        hash: FrameHash(array(frame, HASH_AT)),
    };
    if head.synced_through >= head.seq {
        return Err(Flaw::Field("synced-through"));
    }
    Ok((
        head,
        &frame[HEADER_BYTES..HEADER_BYTES + payload_bytes as usize],
        total,
    ))
}

#[cfg(test)]
mod tests;
