//! The bytes of an archive's head: a header of 224 bytes, the caller's description, and a table of
//! the compressed segments that follow. The layout is written down in `docs/journal-format.md`.
//!
//! The header's own hash covers the hash of description and table, and the table holds the hash of
//! every compressed segment: one hash of 32 bytes stands for the whole file. No I/O here.

use crate::bytes::array;
use crate::ids::{FrameHash, Seq};

/// Bytes of the header; the description follows.
pub(super) const HEADER_BYTES: usize = 224;
/// Bytes of one entry of the table.
pub(super) const PART_BYTES: usize = 64;
/// More segments than this are no archive of ours.
pub(super) const PARTS_MAX: u32 = 1 << 20;
const FORMAT: u16 = 1;
/// The first bytes of every archive.
pub(super) const MAGIC: [u8; 8] = *b"HFJARC\r\n";
const SEAL_AT: usize = 192;

/// What a header says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) family: u32,
    pub(super) first: Seq,
    pub(super) last: Seq,
    pub(super) before: FrameHash,
    pub(super) hash: FrameHash,
    pub(super) earliest_ms: u64,
    pub(super) latest_ms: u64,
    pub(super) made_ms: u64,
    pub(super) parts: u32,
    pub(super) description_bytes: u32,
    pub(super) file_bytes: u64,
    /// BLAKE3 of description and table.
    pub(super) head_hash: [u8; 32],
}

/// One segment in an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) first: Seq,
    /// Bytes of the segment.
    pub(super) raw_bytes: u64,
    /// Where its compressed form lies in the file.
    pub(super) offset: u64,
    pub(super) bytes: u64,
    /// BLAKE3 of its compressed form.
    pub(super) hash: [u8; 32],
}

/// The header, its own hash in its last 32 bytes.
pub(super) fn encode(header: &Header) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[12..16].copy_from_slice(&header.family.to_le_bytes());
    bytes[16..24].copy_from_slice(&header.first.0.to_le_bytes());
    bytes[24..32].copy_from_slice(&header.last.0.to_le_bytes());
    bytes[32..64].copy_from_slice(&header.before.0);
    bytes[64..96].copy_from_slice(&header.hash.0);
    bytes[96..104].copy_from_slice(&header.earliest_ms.to_le_bytes());
    bytes[104..112].copy_from_slice(&header.latest_ms.to_le_bytes());
    bytes[112..120].copy_from_slice(&header.made_ms.to_le_bytes());
    bytes[120..124].copy_from_slice(&header.parts.to_le_bytes());
    bytes[124..128].copy_from_slice(&header.description_bytes.to_le_bytes());
    bytes[128..136].copy_from_slice(&header.file_bytes.to_le_bytes());
    bytes[136..168].copy_from_slice(&header.head_hash);
    let own = *blake3::hash(&bytes[..SEAL_AT]).as_bytes();
    bytes[SEAL_AT..].copy_from_slice(&own);
    bytes
}

/// The header and its own hash.
///
/// # Errors
/// Why the bytes are none, in words.
pub(super) fn decode(bytes: &[u8]) -> Result<(Header, [u8; 32]), String> {
    let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Err("it is too short".to_owned());
    };
    if bytes[..8] != MAGIC {
        return Err("it is no archive".to_owned());
    }
    let seal = *blake3::hash(&bytes[..SEAL_AT]).as_bytes();
    if bytes[SEAL_AT..] != seal {
        return Err("the hash of its header disagrees".to_owned());
    }
    let format = u16::from_le_bytes(array(bytes, 8));
    if format != FORMAT {
        return Err(format!("archive format {format}, expected {FORMAT}"));
    }
    if bytes[10..12]
        .iter()
        .chain(&bytes[168..SEAL_AT])
        .any(|b| *b != 0)
    {
        return Err("its header has a byte set where a zero is written".to_owned());
    }
    let header = Header {
        family: u32::from_le_bytes(array(bytes, 12)),
        first: Seq(u64::from_le_bytes(array(bytes, 16))),
        last: Seq(u64::from_le_bytes(array(bytes, 24))),
        before: FrameHash(array(bytes, 32)),
        hash: FrameHash(array(bytes, 64)),
        earliest_ms: u64::from_le_bytes(array(bytes, 96)),
        latest_ms: u64::from_le_bytes(array(bytes, 104)),
        made_ms: u64::from_le_bytes(array(bytes, 112)),
        parts: u32::from_le_bytes(array(bytes, 120)),
        description_bytes: u32::from_le_bytes(array(bytes, 124)),
        file_bytes: u64::from_le_bytes(array(bytes, 128)),
        head_hash: array(bytes, 136),
    };
    let parts = header.parts > 0 && header.parts <= PARTS_MAX;
    let described = header.description_bytes as usize <= super::DESCRIPTION_MAX_BYTES;
    let counted = header.first > Seq::ZERO && header.first <= header.last;
    if !(parts && described && counted) {
        return Err("its header is impossible".to_owned());
    }
    Ok((header, seal))
}

pub(super) fn encode_part(part: &Part, out: &mut Vec<u8>) {
    out.extend_from_slice(&part.first.0.to_le_bytes());
    out.extend_from_slice(&part.raw_bytes.to_le_bytes());
    out.extend_from_slice(&part.offset.to_le_bytes());
    out.extend_from_slice(&part.bytes.to_le_bytes());
    out.extend_from_slice(&part.hash);
}

pub(super) fn decode_part(bytes: &[u8; PART_BYTES]) -> Part {
    Part {
        first: Seq(u64::from_le_bytes(array(bytes, 0))),
        raw_bytes: u64::from_le_bytes(array(bytes, 8)),
        offset: u64::from_le_bytes(array(bytes, 16)),
        bytes: u64::from_le_bytes(array(bytes, 24)),
        hash: array(bytes, 32),
    }
}
