//! The header of a segment file, and what is known of the segments of a log.
//!
//! A header anchors the frames behind it: the first sequence, the hash before it, and that
//! everything before was durable when the segment was made. Its checksum seeds the checksums of the
//! frames, so a frame counts only in the segment that it was written in. No I/O here.

use crate::{
    frame::FRAME_ALIGN,
    ids::{FrameHash, Seq},
};

/// Bytes of a segment's header; the first frame starts here.
pub(crate) const HEADER_BYTES: usize = 96;
/// The segment format that this program writes.
pub(crate) const FORMAT: u16 = 1;
const MAGIC: [u8; 8] = *b"HFJRNL\r\n";
const CRC_AT: usize = HEADER_BYTES - 4;
/// How far apart the places are from which reading may start.
const WAYPOINT_BYTES: u64 = 256 << 10;

/// What a header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) family: u32,
    pub(crate) first: Seq,
    pub(crate) prev: FrameHash,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderFlaw {
    /// Too short, or zeros: the file was being made. The system never got to the first frame.
    Torn,
    /// Not a header, or a changed one.
    Unreadable,
    /// Whole, but of a format that this program does not know.
    Format(u16),
}

pub(crate) fn encode(header: &Header) -> ([u8; HEADER_BYTES], u32) {
    let mut bytes = [0; HEADER_BYTES];
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[12..16].copy_from_slice(&header.family.to_le_bytes());
    bytes[16..24].copy_from_slice(&header.first.0.to_le_bytes());
    bytes[24..56].copy_from_slice(&header.prev.0);
    let crc = crc32c::crc32c(&bytes[..CRC_AT]);
    bytes[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
    (bytes, crc)
}

/// Reads the header at the start of a segment; also returns the seed for its frames.
pub(crate) fn decode(bytes: &[u8]) -> Result<(Header, u32), HeaderFlaw> {
    let Some(bytes) = bytes.first_chunk::<HEADER_BYTES>() else {
        return Err(HeaderFlaw::Torn);
    };
    if bytes.iter().all(|b| *b == 0) {
        return Err(HeaderFlaw::Torn);
    }
    let (body, tail) = bytes.split_at(CRC_AT);
    let crc = crc32c::crc32c(body);
    if body[..8] != MAGIC || tail != crc.to_le_bytes() {
        return Err(HeaderFlaw::Unreadable);
    }
    let mut fields = [0; 16];
    fields.copy_from_slice(&body[8..24]);
    let [f0, f1, _, _, a, b, c, d, first @ ..] = fields;
    let format = u16::from_le_bytes([f0, f1]);
    if format != FORMAT {
        return Err(HeaderFlaw::Format(format));
    }
    if body[10..12].iter().chain(&body[56..]).any(|b| *b != 0) {
        return Err(HeaderFlaw::Unreadable);
    }
    let mut prev = [0; 32];
    prev.copy_from_slice(&body[24..56]);
    let header = Header {
        family: u32::from_le_bytes([a, b, c, d]),
        first: Seq(u64::from_le_bytes(first)),
        prev: FrameHash(prev),
    };
    Ok((header, crc))
}

/// The name of the segment that starts with `first`.
pub(crate) fn name(first: Seq) -> String {
    format!("{:020}.log", first.0)
}

/// The first sequence of the segment with this name, where it is the name of one.
pub(crate) fn first_of(name: &str) -> Option<Seq> {
    let digits = name.strip_suffix(".log")?;
    if digits.len() != 20 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    digits.parse().ok().map(Seq)
}

/// A place from which frames may be read and their chain checked.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waypoint {
    pub(crate) seq: Seq,
    pub(crate) offset: u64,
    pub(crate) prev: FrameHash,
}

/// A segment of an open log.
#[derive(Clone, Debug)]
pub(crate) struct Segment {
    pub(crate) name: String,
    pub(crate) first: Seq,
    pub(crate) seed: u32,
    waypoints: Vec<Waypoint>,
}

impl Segment {
    pub(crate) fn new(header: &Header, seed: u32) -> Self {
        let start = Waypoint {
            seq: header.first,
            offset: HEADER_BYTES as u64,
            prev: header.prev,
        };
        Self {
            name: name(header.first),
            first: header.first,
            seed,
            waypoints: vec![start],
        }
    }

    /// Hears of a frame; remembers its place where the last one remembered is far.
    pub(crate) fn pass(&mut self, seq: Seq, offset: u64, prev: FrameHash) {
        let far = self
            .waypoints
            .last()
            .is_none_or(|w| offset >= w.offset + WAYPOINT_BYTES);
        if far {
            self.waypoints.push(Waypoint { seq, offset, prev });
        }
    }

    /// Where its first frame is.
    pub(crate) fn start(&self) -> Waypoint {
        self.waypoints[0]
    }

    /// The nearest place at or before `seq`; the start of the segment for an earlier one.
    pub(crate) fn nearest(&self, seq: Seq) -> Waypoint {
        let after = self.waypoints.partition_point(|w| w.seq <= seq);
        self.waypoints[after.saturating_sub(1)]
    }

    /// Places that are about `bytes` apart, from the one at or before `from` on, by their sequence.
    pub(crate) fn every(&self, bytes: u64, from: Seq) -> Vec<Seq> {
        let begin = self.nearest(from);
        let mut last = begin.offset;
        let mut places = vec![begin.seq];
        for place in self.waypoints.iter().filter(|w| w.seq > begin.seq) {
            if place.offset >= last.saturating_add(bytes) {
                last = place.offset;
                places.push(place.seq);
            }
        }
        places
    }

    /// Forgets the places at and behind `offset`, which are cut off.
    pub(crate) fn forget_from(&mut self, offset: u64) {
        self.waypoints
            .retain(|w| w.offset < offset || w.offset == HEADER_BYTES as u64);
    }
}

const _: () = assert!(
    HEADER_BYTES.is_multiple_of(FRAME_ALIGN),
    "frames start aligned"
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_that_sets_what_must_be_zero_is_no_header() {
        let header = Header {
            family: 1,
            first: Seq(2),
            prev: FrameHash([3; 32]),
        };
        let (bytes, _) = encode(&header);
        assert!(decode(&bytes).is_ok());
        for at in [10, 11].into_iter().chain(56..CRC_AT) {
            let mut odd = bytes;
            odd[at] = 1;
            let crc = crc32c::crc32c(&odd[..CRC_AT]);
            odd[CRC_AT..].copy_from_slice(&crc.to_le_bytes());
            assert_eq!(
                decode(&odd).err(),
                Some(HeaderFlaw::Unreadable),
                "byte {at}"
            );
        }
    }
}
