//! Checkpoints: the file that the journal keeps, the engine's state and the catalog's state in it.

use holdfast_engine::{Event, Now, Replay};
use holdfast_journal::{Event as _, Seq, testing};
use holdfast_storage::testing::Catalog;

use super::Fields;

const HEADER: usize = 96;
const HASH_AT: usize = 64;

/// The first byte says what the rest is: 0 a file, 1 a file whose length, hash, family and magic
/// are set right, 2 a state of the engine without its header, 3 one with it, 4 a state of the
/// catalog.
pub fn checkpoint(data: &[u8]) {
    let mut fields = Fields(data);
    let kind = fields.byte();
    let bytes = fields.0;
    match kind {
        0 => file(bytes),
        1 => file(&mended(bytes)),
        2 => {
            let at = Seq(47);
            let mut whole = Vec::from(*b"HFSTATE\n");
            whole.extend_from_slice(&version());
            whole.extend_from_slice(&at.get().to_le_bytes());
            whole.extend_from_slice(bytes);
            engine(&whole, at);
        }
        3 => {
            let at = bytes.get(10..18).map_or(0, |at| {
                u64::from_le_bytes(at.try_into().unwrap_or_default())
            });
            engine(bytes, Seq(at));
        }
        _ => catalog(bytes),
    }
}

/// The version of a state's form, as this program writes it.
fn version() -> [u8; 2] {
    let written = Replay::new().to_checkpoint().unwrap();
    [written[8], written[9]]
}

fn mended(bytes: &[u8]) -> Vec<u8> {
    let mut file = bytes.to_vec();
    file.resize(file.len().max(HEADER), 0);
    let length = (file.len() - HEADER) as u64;
    file[..8].copy_from_slice(b"HFJCHK\r\n");
    file[8..10].copy_from_slice(&1_u16.to_le_bytes());
    file[12..16].copy_from_slice(&Event::FAMILY.to_le_bytes());
    file[24..32].copy_from_slice(&length.to_le_bytes());
    let hash = blake3::Hasher::new()
        .update(&file[..HASH_AT])
        .update(&file[HEADER..])
        .finalize();
    file[HASH_AT..HEADER].copy_from_slice(hash.as_bytes());
    file
}

fn file(bytes: &[u8]) {
    match testing::rewritten_checkpoint(Event::FAMILY, bytes) {
        Ok(again) => assert_eq!(again, bytes, "a checkpoint is written otherwise"),
        Err(why) => assert!(!why.is_empty()),
    }
}

/// What is accepted is a state that an engine can live with, and is written the same again.
fn engine(bytes: &[u8], at: Seq) {
    let mut replay = match Replay::from_checkpoint(bytes, at) {
        Ok(replay) => replay,
        Err(why) => {
            assert!(!why.to_string().is_empty());
            return;
        }
    };
    let written = replay.to_checkpoint().unwrap();
    let again = Replay::from_checkpoint(&written, at).unwrap();
    assert_eq!(again.to_checkpoint().unwrap(), written);
    let _ = replay.views();
    let now = Now {
        wall_ms: 1_735_689_600_000,
        mono_ms: 1_000_000,
    };
    // Such a state need not be one that events could have made: words are an answer, too.
    if replay.open_and_settle(now).is_ok() {
        let _ = replay.views();
    }
}

fn catalog(bytes: &[u8]) {
    let Ok(found) = Catalog::from_checkpoint(bytes) else {
        return;
    };
    let written = found.checkpoint().unwrap();
    let again = Catalog::from_checkpoint(&written).unwrap();
    assert_eq!(again.checkpoint().unwrap(), written);
}
