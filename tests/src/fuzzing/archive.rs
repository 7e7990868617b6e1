//! Archives and anchors: what is accepted holds the records that it says it holds, or is written the same again.

use holdfast_engine::Event;
use holdfast_journal::{Event as _, testing};

use super::Fields;

const HEADER: usize = 224;
const PART: usize = 64;
const ANCHOR: usize = 256;

/// The first byte says what the rest is: 0 an archive, 1 one whose magic, family, lengths and hashes are set right,
/// 2 an anchor, 3 one whose magic, family and hash are.
pub fn archive(data: &[u8]) {
    let mut fields = Fields(data);
    let kind = fields.byte();
    let bytes = fields.0;
    match kind {
        0 => read(bytes),
        1 => read(&mended(bytes)),
        2 => anchor(bytes),
        _ => anchor(&mended_anchor(bytes)),
    }
}

fn read(bytes: &[u8]) {
    match testing::archived::<Event>(bytes) {
        Ok((found, said)) => assert_eq!(found, said, "records of an archive"),
        Err(why) => assert!(!why.is_empty()),
    }
}

fn anchor(bytes: &[u8]) {
    match testing::rewritten_anchor(bytes) {
        Ok(again) => assert_eq!(again, bytes, "an anchor is written otherwise"),
        Err(why) => assert!(!why.is_empty()),
    }
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> [u8; N] {
    bytes[at..at + N].try_into().unwrap_or([0; N])
}

pub(super) fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut file = bytes.to_vec();
    file.resize(file.len().max(HEADER), 0);
    let length = file.len();
    file[..8].copy_from_slice(b"HFJARC\r\n");
    file[8..10].copy_from_slice(&1_u16.to_le_bytes());
    file[12..16].copy_from_slice(&Event::FAMILY.to_le_bytes());
    file[128..136].copy_from_slice(&(length as u64).to_le_bytes());
    let parts = u32::from_le_bytes(number(&file, 120)) as usize;
    let described = u32::from_le_bytes(number(&file, 124)) as usize;
    let table = HEADER.saturating_add(described);
    let end = table.saturating_add(parts.saturating_mul(PART));
    if end <= length {
        for entry in (table..end).step_by(PART) {
            let at = u64::from_le_bytes(number(&file, entry + 16));
            let bytes = u64::from_le_bytes(number(&file, entry + 24));
            let from = usize::try_from(at).unwrap_or(length).min(length);
            let to = usize::try_from(at.saturating_add(bytes)).unwrap_or(length);
            let hash = blake3::hash(&file[from..to.clamp(from, length)]);
            file[entry + 32..entry + PART].copy_from_slice(hash.as_bytes());
        }
        let head = blake3::hash(&file[HEADER..end]);
        file[136..168].copy_from_slice(head.as_bytes());
    }
    let own = blake3::hash(&file[..192]);
    file[192..HEADER].copy_from_slice(own.as_bytes());
    file
}

fn mended_anchor(bytes: &[u8]) -> Vec<u8> {
    let mut file = bytes.to_vec();
    file.resize(ANCHOR, 0);
    file[..8].copy_from_slice(b"HFJANC\r\n");
    file[8..10].copy_from_slice(&1_u16.to_le_bytes());
    file[12..16].copy_from_slice(&Event::FAMILY.to_le_bytes());
    let own = blake3::hash(&file[..224]);
    file[224..].copy_from_slice(own.as_bytes());
    file
}
