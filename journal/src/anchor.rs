//! The anchor: what stands before the first record of a log whose leading segments were archived.
//!
//! One small file, replaced by a rename, so it is always whole or damaged, never half. It names the
//! last archived record with its chain hash, the archive that was made with it, and the checkpoint
//! without which nothing was moved. The file `anchor` is the moment at which archiving counts:
//! before it the log holds the records, after it the archive does.

use std::io;

use crate::{
    bytes::array,
    disk::{Disk, read_all},
    ids::{FrameHash, Seq},
    transaction::Tip,
};

/// The name of the file.
pub(crate) const ANCHOR: &str = "anchor";
/// What it is called while it is written.
pub(crate) const ANCHOR_NEW: &str = "anchor.new";
const MAGIC: [u8; 8] = *b"HFJANC\r\n";
/// The format that this program writes.
pub(crate) const FORMAT: u16 = 1;
const BYTES: usize = 256;
const HASH_AT: usize = 224;
const NAME_BYTES: usize = 64;

/// What an anchor says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Anchor {
    pub(crate) family: u32,
    /// The last archived record.
    pub(crate) tip: Tip,
    /// The first record of the archive that ends with `tip`.
    pub(crate) archive_first: Seq,
    /// The own hash of that archive.
    pub(crate) archive_hash: [u8; 32],
    /// The checkpoint that covers what was archived: projection, record, own hash.
    pub(crate) projection: String,
    pub(crate) checkpoint: Seq,
    pub(crate) checkpoint_hash: [u8; 32],
    /// Wall clock when it was made.
    pub(crate) at_ms: u64,
}

/// Why there is no anchor to be had from bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AnchorFlaw {
    Unreadable(&'static str),
    Format(u16),
}

pub(crate) fn encode(anchor: &Anchor) -> Vec<u8> {
    let mut bytes = vec![0; BYTES];
    let name = anchor.projection.as_bytes();
    let name = &name[..name.len().min(NAME_BYTES)];
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[10..12].copy_from_slice(&u16::try_from(name.len()).unwrap_or(0).to_le_bytes());
    bytes[12..16].copy_from_slice(&anchor.family.to_le_bytes());
    bytes[16..24].copy_from_slice(&anchor.tip.seq.0.to_le_bytes());
    bytes[24..56].copy_from_slice(&anchor.tip.hash.0);
    bytes[56..64].copy_from_slice(&anchor.archive_first.0.to_le_bytes());
    bytes[64..96].copy_from_slice(&anchor.archive_hash);
    bytes[96..104].copy_from_slice(&anchor.checkpoint.0.to_le_bytes());
    bytes[104..136].copy_from_slice(&anchor.checkpoint_hash);
    bytes[136..144].copy_from_slice(&anchor.at_ms.to_le_bytes());
    bytes[144..144 + name.len()].copy_from_slice(name);
    let own = *blake3::hash(&bytes[..HASH_AT]).as_bytes();
    bytes[HASH_AT..].copy_from_slice(&own);
    bytes
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Anchor, AnchorFlaw> {
    let bad = AnchorFlaw::Unreadable;
    let bytes: &[u8; BYTES] = bytes.try_into().map_err(|_| bad("its length is wrong"))?;
    if bytes[..8] != MAGIC {
        return Err(bad("it is no anchor"));
    }
    if bytes[HASH_AT..] != *blake3::hash(&bytes[..HASH_AT]).as_bytes() {
        return Err(bad("its hash disagrees"));
    }
    let format = u16::from_le_bytes(array(bytes, 8));
    if format != FORMAT {
        return Err(AnchorFlaw::Format(format));
    }
    let name_bytes = usize::from(u16::from_le_bytes(array(bytes, 10)));
    let name = bytes[144..144 + NAME_BYTES].get(..name_bytes);
    let projection = name
        .and_then(|name| std::str::from_utf8(name).ok())
        .ok_or(bad("its projection is unreadable"))?
        .to_owned();
    if bytes[144 + name_bytes..HASH_AT].iter().any(|b| *b != 0) {
        return Err(bad("it has a byte set where a zero is written"));
    }
    let anchor = Anchor {
        family: u32::from_le_bytes(array(bytes, 12)),
        tip: Tip {
            seq: Seq(u64::from_le_bytes(array(bytes, 16))),
            hash: FrameHash(array(bytes, 24)),
        },
        archive_first: Seq(u64::from_le_bytes(array(bytes, 56))),
        archive_hash: array(bytes, 64),
        projection,
        checkpoint: Seq(u64::from_le_bytes(array(bytes, 96))),
        checkpoint_hash: array(bytes, 104),
        at_ms: u64::from_le_bytes(array(bytes, 136)),
    };
    if anchor.archive_first == Seq::ZERO || anchor.archive_first > anchor.tip.seq {
        return Err(bad("its archive is empty"));
    }
    Ok(anchor)
}

/// The anchor of a folder; `None` where there is none.
///
/// # Errors
/// What the system reports; a flaw is in the inner result.
pub(crate) fn read(disk: &dyn Disk) -> io::Result<Option<Result<Anchor, AnchorFlaw>>> {
    match disk.open(ANCHOR) {
        Ok(file) => Ok(Some(decode(&read_all(&*file)?))),
        Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(e),
    }
}

/// Writes an anchor beside the one that stands, durably.
///
/// # Errors
/// What the system reports; the one that stands is untouched.
pub(crate) fn prepare(disk: &dyn Disk, anchor: &Anchor) -> io::Result<()> {
    match disk.remove(ANCHOR_NEW) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let file = disk.create(ANCHOR_NEW)?;
    file.write_at(0, &encode(anchor))?;
    file.sync()
}

/// Puts the prepared anchor in the place of the one before, durably.
///
/// # Errors
/// What the system reports; which of the two then stands is unknown.
pub(crate) fn put(disk: &dyn Disk) -> io::Result<()> {
    disk.rename(ANCHOR_NEW, ANCHOR)?;
    disk.sync_folder()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "a test")]

    use super::*;

    fn sample() -> Anchor {
        Anchor {
            family: 7,
            tip: Tip {
                seq: Seq(40),
                hash: FrameHash([4; 32]),
            },
            archive_first: Seq(21),
            archive_hash: [5; 32],
            projection: "engine".to_owned(),
            checkpoint: Seq(44),
            checkpoint_hash: [6; 32],
            at_ms: 1_700_000_000_000,
        }
    }

    #[test]
    fn an_anchor_that_sets_what_must_be_zero_is_none() {
        let name = sample().projection.len();
        for at in 144 + name..HASH_AT {
            let mut odd = encode(&sample());
            odd[at] = 1;
            let own = *blake3::hash(&odd[..HASH_AT]).as_bytes();
            odd[HASH_AT..].copy_from_slice(&own);
            assert!(decode(&odd).is_err(), "byte {at}");
        }
    }

    #[test]
    fn an_anchor_reads_back_and_any_flipped_bit_is_found() {
        let bytes = encode(&sample());
        assert_eq!(bytes.len(), BYTES);
        assert_eq!(decode(&bytes), Ok(sample()));
        for at in 0..bytes.len() {
            for bit in 0..8 {
                let mut bad = bytes.clone();
                bad[at] ^= 1 << bit;
                assert!(decode(&bad).is_err(), "byte {at} bit {bit}");
            }
            assert!(decode(&bytes[..at]).is_err(), "cut to {at}");
        }
    }
}
