//! Golden bytes: what was written once is read for ever, and written the same way today.
//!
//! To add a format, write its files once by running with `HOLDFAST_WRITE_GOLDEN=1` and commit them;
//! files of older formats are never written again.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are outside the deterministic core"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test"
)]

mod common;

use std::{fs, path::PathBuf, sync::Arc};

use common::{DoorEvent, Opened, Painted, records};
use holdfast_journal::{FileJournal, Journal, Options, Seq, disk::MemoryDisk};

const LOG: &str = "00000000000000000001.log";

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("tests/golden")
        .join(name)
}

fn open(disk: &MemoryDisk) -> FileJournal<DoorEvent> {
    let options = Options::default().reserve_bytes(0);
    FileJournal::open_on(Arc::new(disk.clone()), options)
        .unwrap()
        .0
}

fn history() -> [(u64, Vec<DoorEvent>); 2] {
    let colours = vec!["red".to_owned(), "a longer name of a colour".to_owned()];
    [
        (1_700_000_000_000, vec![Opened { door: 7, n: 1 }.into()]),
        (
            1_700_000_000_001,
            vec![
                Painted {
                    door: 7,
                    n: 2,
                    colours,
                }
                .into(),
                Opened { door: 8, n: 3 }.into(),
            ],
        ),
    ]
}

#[test]
fn format_1_is_read_and_written_byte_for_byte() {
    let disk = MemoryDisk::new(4_096);
    let journal = open(&disk);
    for (at_ms, events) in history() {
        journal.append(&events, at_ms).unwrap();
    }
    journal
        .checkpoint(Seq(3), "views", b"the state of a view")
        .unwrap();
    let checkpoint = format!("views.{:020}.checkpoint", 3);
    let (written, kept) = (disk.get(LOG).unwrap(), disk.get(&checkpoint).unwrap());
    if std::env::var_os("HOLDFAST_WRITE_GOLDEN").is_some() {
        fs::write(golden("format-1.log"), &written).unwrap();
        fs::write(golden("format-1.checkpoint"), &kept).unwrap();
    }
    let log = fs::read(golden("format-1.log")).unwrap();
    assert_eq!(written, log, "the log is no longer written as it was");
    assert_eq!(kept, fs::read(golden("format-1.checkpoint")).unwrap());

    let disk = MemoryDisk::new(4_096);
    disk.put(LOG, &log);
    disk.put(&checkpoint, &kept);
    let journal = open(&disk);
    let found = records(&journal).unwrap();
    let expected: Vec<_> = history()
        .into_iter()
        .flat_map(|(at_ms, events)| events.into_iter().map(move |event| (at_ms, event)))
        .collect();
    let pairs: Vec<_> = found.iter().map(|r| (r.at_ms, r.event.clone())).collect();
    assert_eq!(pairs, expected);
    let hash = "2f2e5420f58303aa60b4e17ae02a62d38bd09860030a3e1e7c5e608567b75181";
    assert_eq!(journal.position().1.to_string(), hash);
    assert_eq!(
        journal.latest_checkpoint("views").unwrap().unwrap().seq,
        Seq(3)
    );
}

#[test]
fn the_chain_can_be_computed_from_the_written_format_alone() {
    let log = fs::read(golden("format-1.log")).unwrap();
    let mut prev = blake3::Hasher::new()
        .update(b"holdfast journal genesis")
        .update(&0x444f_4f52_u32.to_le_bytes())
        .finalize();
    assert_eq!(&log[24..56], prev.as_bytes());
    let seed = u32::from_le_bytes(log[92..96].try_into().unwrap());
    assert_eq!(crc32c::crc32c(&log[..92]), seed);
    let (mut at, mut frames) = (96, 0);
    while at < log.len() {
        let frame = &log[at..];
        let length = u32::from_le_bytes(frame[12..16].try_into().unwrap()) as usize;
        let padded = (96 + length).next_multiple_of(16);
        let crc = crc32c::crc32c_append(
            crc32c::crc32c_append(seed, &frame[..80]),
            &frame[84..padded],
        );
        assert_eq!(frame[80..84], crc.to_le_bytes());
        prev = blake3::Hasher::new()
            .update(prev.as_bytes())
            .update(&frame[6..10])
            .update(&frame[12..40])
            .update(&frame[96..96 + length])
            .finalize();
        assert_eq!(&frame[48..80], prev.as_bytes(), "frame at {at}");
        at += padded;
        frames += 1;
    }
    assert_eq!(frames, 3);
}
