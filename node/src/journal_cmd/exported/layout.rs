//! The bytes of an exported file's parts: head, block, record, end. No I/O here.

use holdfast_journal::{Frame, FrameHash, Kind, Seq, StreamId};

/// The first bytes of the file; a transfer in text mode breaks them.
const MAGIC: [u8; 8] = *b"HFJEXP\r\n";
/// The format that this program writes. Format 1 had no [`Mark::own`].
pub(crate) const FORMAT: u16 = 2;
pub(super) const HEAD_BYTES: usize = 64;
pub(super) const BLOCK_BYTES: usize = 56;
pub(super) const END_BYTES: usize = 96;
pub(super) const RECORD_BYTES: usize = 64;
/// The longest description that is read.
pub(super) const DESCRIPTION_MAX: u64 = 1 << 20;
/// A block is closed once its records take this much.
pub(super) const BLOCK_TARGET: usize = 1 << 20;
/// The most that a block's records may take: the target and one event of the largest size.
pub(super) const BLOCK_MAX: usize = 32 << 20;
const BLOCK_MAGIC: [u8; 4] = *b"HFxb";
const END_MAGIC: [u8; 4] = *b"HFxe";
const ANONYMIZED: u16 = 1;
const FLAG_FIRST: u16 = 1;
const FLAG_LAST: u16 = 2;
const FLAG_CHANGED: u16 = 4;
const FLAG_OWN: u16 = 8;
const RECORD_ALIGN: usize = 16;

/// BLAKE3 over everything up to a place; each part's seal continues the one before.
pub(super) type Seal = [u8; 32];

fn array<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    let mut out = [0; N];
    out.copy_from_slice(&bytes[at..at + N]);
    out
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(array(bytes, at))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(array(bytes, at))
}

/// What stands before the events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// The format of the file.
    pub(crate) format: u16,
    /// Which kind of journal the events are of.
    pub(crate) family: u32,
    /// The first record.
    pub(crate) first: Seq,
    /// The chain hash of the record before the first.
    pub(crate) before: FrameHash,
    /// Whether names stand replaced by pseudonyms.
    pub(crate) anonymized: bool,
}

/// Why bytes are no head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HeadFlaw {
    /// It is another kind of file.
    Magic,
    /// Of a format that this program does not know.
    Format(u16),
}

impl Head {
    pub(super) fn encode(&self, description_bytes: usize) -> [u8; HEAD_BYTES] {
        let flags = if self.anonymized { ANONYMIZED } else { 0 };
        let mut bytes = [0; HEAD_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..10].copy_from_slice(&self.format.to_le_bytes());
        bytes[10..12].copy_from_slice(&flags.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.family.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.get().to_le_bytes());
        bytes[24..32].copy_from_slice(&(description_bytes as u64).to_le_bytes());
        bytes[32..64].copy_from_slice(self.before.as_bytes());
        bytes
    }

    /// The head, and how many bytes the description behind it takes.
    pub(super) fn decode(bytes: &[u8; HEAD_BYTES]) -> Result<(Self, u64), HeadFlaw> {
        if bytes[..8] != MAGIC {
            return Err(HeadFlaw::Magic);
        }
        let format = u16::from_le_bytes(array(bytes, 8));
        if !(1..=FORMAT).contains(&format) {
            return Err(HeadFlaw::Format(format));
        }
        let head = Self {
            format,
            family: u32_at(bytes, 12),
            first: Seq(u64_at(bytes, 16)),
            before: FrameHash::from_bytes(array(bytes, 32)),
            anonymized: u16::from_le_bytes(array(bytes, 10)) & ANONYMIZED != 0,
        };
        Ok((head, u64_at(bytes, 24)))
    }
}

/// What stands before the compressed records of a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    pub(super) records: u32,
    pub(super) first: Seq,
    pub(super) stored_bytes: u32,
    pub(super) raw_bytes: u32,
    pub(super) seal: Seal,
}

impl Block {
    /// The last record of the block.
    pub(super) fn last(&self) -> Seq {
        let count = u64::from(self.records);
        Seq(self.first.get().saturating_add(count).saturating_sub(1))
    }

    /// The block's header in front of `stored`, its seal continuing `before`.
    pub(super) fn encode(
        (records, first): (u32, Seq),
        raw_bytes: u32,
        stored: &[u8],
        before: &Seal,
    ) -> Option<(Self, [u8; BLOCK_BYTES])> {
        let stored_bytes = u32::try_from(stored.len()).ok()?;
        let mut bytes = [0; BLOCK_BYTES];
        bytes[0..4].copy_from_slice(&BLOCK_MAGIC);
        bytes[4..8].copy_from_slice(&records.to_le_bytes());
        bytes[8..16].copy_from_slice(&first.get().to_le_bytes());
        bytes[16..20].copy_from_slice(&stored_bytes.to_le_bytes());
        bytes[20..24].copy_from_slice(&raw_bytes.to_le_bytes());
        let seal = seal(before, &[&bytes[..24], stored]);
        bytes[24..56].copy_from_slice(&seal);
        let block = Self {
            records,
            first,
            stored_bytes,
            raw_bytes,
            seal,
        };
        Some((block, bytes))
    }

    pub(super) fn decode(bytes: &[u8; BLOCK_BYTES]) -> Option<Self> {
        (bytes[..4] == BLOCK_MAGIC).then(|| Self {
            records: u32_at(bytes, 4),
            first: Seq(u64_at(bytes, 8)),
            stored_bytes: u32_at(bytes, 16),
            raw_bytes: u32_at(bytes, 20),
            seal: array(bytes, 24),
        })
    }

    /// The seal that the block must bear behind `before`.
    pub(super) fn sealed(&self, header: &[u8; BLOCK_BYTES], stored: &[u8], before: &Seal) -> Seal {
        seal(before, &[&header[..24], stored])
    }
}

/// What stands behind the last block: a file without it was cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) blocks: u64,
    pub(super) records: u64,
    pub(super) last: Seq,
    pub(super) hash: FrameHash,
    pub(super) seal: Seal,
}

impl End {
    pub(super) fn encode(&mut self, before: &Seal) -> [u8; END_BYTES] {
        let mut bytes = [0; END_BYTES];
        bytes[0..4].copy_from_slice(&END_MAGIC);
        bytes[8..16].copy_from_slice(&self.blocks.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.records.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.last.get().to_le_bytes());
        bytes[32..64].copy_from_slice(self.hash.as_bytes());
        self.seal = seal(before, &[&bytes[..64]]);
        bytes[64..96].copy_from_slice(&self.seal);
        bytes
    }

    /// The end at the start of `bytes`, where one is there with the seal that continues `before`.
    pub(super) fn decode(bytes: &[u8; END_BYTES], before: &Seal) -> Option<Result<Self, ()>> {
        if bytes[..4] != END_MAGIC {
            return None;
        }
        let end = Self {
            blocks: u64_at(bytes, 8),
            records: u64_at(bytes, 16),
            last: Seq(u64_at(bytes, 24)),
            hash: FrameHash::from_bytes(array(bytes, 32)),
            seal: array(bytes, 64),
        };
        let whole = bytes[64..] == seal(before, &[&bytes[..64]]);
        Some(if whole { Ok(end) } else { Err(()) })
    }
}

/// The seal of a part behind one with the seal `before`; the first part has none before it.
pub(super) fn seal(before: &[u8], parts: &[&[u8]]) -> Seal {
    let mut hasher = blake3::Hasher::new();
    hasher.update(before);
    for part in parts {
        hasher.update(part);
    }
    *hasher.finalize().as_bytes()
}

/// What an export made of a record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Mark {
    /// Its payload is not what the journal held.
    pub(crate) changed: bool,
    /// Its hash is not the one that the journal recorded, which would let what was taken out be
    /// guessed, but continues the one before in this file.
    pub(crate) own: bool,
}

/// Appends a record.
pub(super) fn push_record(out: &mut Vec<u8>, frame: &Frame<'_>, mark: Mark) -> Option<()> {
    let payload_bytes = u32::try_from(frame.payload.len()).ok()?;
    let flag = |set: bool, flag: u16| if set { flag } else { 0 };
    let flags = flag(frame.first, FLAG_FIRST)
        | flag(frame.last, FLAG_LAST)
        | flag(mark.changed, FLAG_CHANGED)
        | flag(mark.own, FLAG_OWN);
    out.extend_from_slice(&frame.seq.get().to_le_bytes());
    out.extend_from_slice(&frame.at_ms.to_le_bytes());
    out.extend_from_slice(&frame.stream.get().to_le_bytes());
    out.extend_from_slice(&frame.kind.get().to_le_bytes());
    out.extend_from_slice(&flags.to_le_bytes());
    out.extend_from_slice(&payload_bytes.to_le_bytes());
    out.extend_from_slice(frame.hash.as_bytes());
    out.extend_from_slice(frame.payload);
    out.resize(out.len().next_multiple_of(RECORD_ALIGN), 0);
    Some(())
}

/// The record at the start of `bytes`, what was made of it, and how many bytes it takes.
pub(super) fn take_record(bytes: &[u8]) -> Option<(Frame<'_>, Mark, usize)> {
    let head = bytes.get(..RECORD_BYTES)?;
    let payload_bytes = u32_at(head, 28) as usize;
    let end = RECORD_BYTES.checked_add(payload_bytes)?;
    let payload = bytes.get(RECORD_BYTES..end)?;
    let taken = end.checked_next_multiple_of(RECORD_ALIGN)?;
    if bytes.get(end..taken)?.iter().any(|byte| *byte != 0) {
        return None;
    }
    let flags = u16::from_le_bytes(array(head, 26));
    if flags & !(FLAG_FIRST | FLAG_LAST | FLAG_CHANGED | FLAG_OWN) != 0 {
        return None;
    }
    let frame = Frame {
        seq: Seq(u64_at(head, 0)),
        at_ms: u64_at(head, 8),
        stream: StreamId(u64_at(head, 16)),
        kind: Kind(u16::from_le_bytes(array(head, 24))),
        first: flags & FLAG_FIRST != 0,
        last: flags & FLAG_LAST != 0,
        hash: FrameHash::from_bytes(array(head, 32)),
        payload,
    };
    let mark = Mark {
        changed: flags & FLAG_CHANGED != 0,
        own: flags & FLAG_OWN != 0,
    };
    Some((frame, mark, taken))
}
