//! The log: single frames and segment headers, and whole segments through an opening.

use std::sync::Arc;

use holdfast_engine::Event;
use holdfast_engine::event::JobReleased;
use holdfast_journal::disk::MemoryDisk;
use holdfast_journal::{
    ErrorKind, Event as _, FileJournal, Journal, Options, Record, Seq, testing,
};

use super::Fields;

/// Name of the first segment.
const LOG: &str = "00000000000000000001.log";
const HEADER: usize = 96;
const CRC_AT: usize = 80;

/// The first byte says what is set right before the bytes are used, so that the checks behind the
/// checksum are reached: 1 checksums, 2 chain hashes, 4 sequences, 8 `synced_through`, 16 magic and
/// format, 32 the segment's own header.
pub fn frame(data: &[u8]) {
    let mut fields = Fields(data);
    let mend = fields.byte();
    let bytes = fields.0;
    one(bytes, 0x1234_5678);
    if let Ok((again, seed)) = testing::rewritten_segment_header(bytes) {
        assert_eq!(again, bytes[..again.len()], "a header is written otherwise");
        one(&bytes[again.len()..], seed);
    }
    log(mend, bytes);
}

/// Whatever is accepted as a frame is what would be written.
fn one(bytes: &[u8], seed: u32) {
    let check = |bytes: &[u8]| {
        if let Ok(again) = testing::rewritten_frame(bytes, seed) {
            assert_eq!(again, bytes[..again.len()], "a frame is written otherwise");
        }
    };
    check(bytes);
    let mut mended = bytes.to_vec();
    if let Some(frame) = first_frame(&mended).and_then(|total| mended.get_mut(..total)) {
        set_checksum(frame, seed);
        check(&mended);
    }
}

/// The bytes that the frame at the start claims.
fn first_frame(bytes: &[u8]) -> Option<usize> {
    let length = bytes.get(12..16)?;
    let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
    Some(HEADER.checked_add(length)?.next_multiple_of(16))
}

/// As `docs/journal-format.md` has it.
fn set_checksum(frame: &mut [u8], seed: u32) {
    let crc = crc32c::crc32c_append(seed, &frame[..CRC_AT]);
    let crc = crc32c::crc32c_append(crc, &frame[CRC_AT + 4..]);
    frame[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
}

/// As `docs/journal-format.md` has it.
fn chain(prev: &[u8; 32], frame: &[u8]) -> [u8; 32] {
    let length = u32::from_le_bytes(frame[12..16].try_into().unwrap()) as usize;
    let mut hasher = blake3::Hasher::new();
    hasher
        .update(prev)
        .update(&frame[6..10])
        .update(&frame[12..40])
        .update(&frame[HEADER..HEADER + length]);
    *hasher.finalize().as_bytes()
}

/// The header of the first segment of an engine's journal.
pub(super) fn segment_header() -> Vec<u8> {
    let genesis = blake3::Hasher::new()
        .update(b"holdfast journal genesis")
        .update(&Event::FAMILY.to_le_bytes())
        .finalize();
    let mut header = vec![0; HEADER];
    header[..8].copy_from_slice(b"HFJRNL\r\n");
    header[8..10].copy_from_slice(&1_u16.to_le_bytes());
    header[12..16].copy_from_slice(&Event::FAMILY.to_le_bytes());
    header[16..24].copy_from_slice(&1_u64.to_le_bytes());
    header[24..56].copy_from_slice(genesis.as_bytes());
    let crc = crc32c::crc32c(&header[..HEADER - 4]);
    header[HEADER - 4..].copy_from_slice(&crc.to_le_bytes());
    header
}

/// Sets right what `mend` asks for.
fn mended(mend: u8, bytes: &[u8]) -> Vec<u8> {
    let mut log = segment_header();
    if mend & 32 == 0 {
        log.clear();
    }
    log.extend_from_slice(bytes);
    let Some((header, mut rest)) = log.split_at_mut_checked(HEADER) else {
        return log;
    };
    let seed = u32::from_le_bytes(header[HEADER - 4..].try_into().unwrap());
    let mut prev: [u8; 32] = header[24..56].try_into().unwrap();
    let mut seq = 1_u64;
    while let Some(total) = first_frame(rest).filter(|total| *total <= rest.len()) {
        let (frame, behind) = rest.split_at_mut(total);
        if mend & 16 != 0 {
            frame[..4].copy_from_slice(b"HFf\xa7");
            frame[4..6].copy_from_slice(&1_u16.to_le_bytes());
        }
        if mend & 4 != 0 {
            frame[24..32].copy_from_slice(&seq.to_le_bytes());
        }
        if mend & 8 != 0 {
            frame[40..48].copy_from_slice(&(seq - 1).to_le_bytes());
        }
        if mend & 2 != 0 {
            prev = chain(&prev, frame);
            frame[48..80].copy_from_slice(&prev);
        }
        if mend & 1 != 0 {
            set_checksum(frame, seed);
        }
        seq += 1;
        rest = behind;
    }
    log
}

fn open(disk: &MemoryDisk) -> Result<FileJournal<Event>, holdfast_journal::Error> {
    let options = Options::default().reserve_bytes(0);
    FileJournal::open_on(Arc::new(disk.clone()), options).map(|(journal, _)| journal)
}

fn records(journal: &FileJournal<Event>) -> Result<Vec<Record<Event>>, holdfast_journal::Error> {
    let mut found = Vec::new();
    journal.read(Seq::FIRST, &mut |record| {
        found.push(record);
        Ok(())
    })?;
    Ok(found)
}

/// A log is refused with words, or it can be read, written on and read again.
fn log(mend: u8, bytes: &[u8]) {
    let disk = MemoryDisk::new(4_096);
    let log = mended(mend, bytes);
    disk.put(LOG, &log);
    let journal = match open(&disk) {
        Ok(journal) => journal,
        Err(refused) => {
            let words = refused.to_string();
            let named = words.contains(LOG) || refused.kind() != ErrorKind::Damaged;
            assert!(named, "damage without a place: {words}");
            assert_eq!(disk.get(LOG).as_deref(), Some(log.as_slice()), "touched");
            return;
        }
    };
    let (end, hash) = journal.position();
    let found = match records(&journal) {
        Ok(found) => found,
        Err(refused) => {
            assert!(!refused.to_string().is_empty());
            return;
        }
    };
    assert_eq!(found.len() as u64, end.get(), "sequences are dense");
    let event = JobReleased {
        job: 1,
        leftovers: String::new(),
    };
    let Ok(appended) = journal.append(&[event.into()], 7) else {
        panic!("a log that opened takes no event");
    };
    assert_eq!(appended.last, end.next());
    drop(journal);
    let journal = open(&disk).unwrap();
    let again = records(&journal).unwrap();
    assert_eq!(again[..found.len()], found[..], "another history");
    assert_eq!(again.len(), found.len() + 1);
    assert_ne!(journal.position().1, hash);
}
