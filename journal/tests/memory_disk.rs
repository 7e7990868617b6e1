//! The simulated disk keeps what was synced: all of it, and nothing else.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are outside the deterministic core"
)]
#![allow(clippy::unwrap_used)]

use holdfast_journal::disk::{Disk, MemoryDisk};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Step {
    Write(u64, u8, usize),
    Append(u8, usize),
    Cut(u64),
    Sync,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..200_u64, any::<u8>(), 1..60_usize)
            .prop_map(|(at, byte, len)| Step::Write(at, byte, len)),
        (any::<u8>(), 1..60_usize).prop_map(|(byte, len)| Step::Append(byte, len)),
        (0..200_u64).prop_map(Step::Cut),
        Just(Step::Sync),
    ]
}

proptest! {
    #[test]
    fn a_power_cut_after_a_sync_keeps_the_file_as_it_is_and_before_it_may(
        steps in proptest::collection::vec(step(), 1..40),
        page_bytes in 1..64_usize,
    ) {
        let disk = MemoryDisk::new(page_bytes);
        let file = disk.create("log").unwrap();
        disk.sync_folder().unwrap();
        for step in steps {
            let end = file.bytes().unwrap();
            match step {
                Step::Write(at, byte, len) => file.write_at(at.min(end), &vec![byte; len]).unwrap(),
                Step::Append(byte, len) => file.write_at(end, &vec![byte; len]).unwrap(),
                Step::Cut(at) => file.truncate(at.min(end)).unwrap(),
                Step::Sync => {
                    file.sync().unwrap();
                    let left = disk.power_cut(&mut |_| false);
                    prop_assert_eq!(left.get("log"), disk.get("log"));
                }
            }
            // Whatever is not synced may have reached the disk all the same.
            let left = disk.power_cut(&mut |_| true);
            prop_assert_eq!(left.get("log"), disk.get("log"));
        }
    }
}
