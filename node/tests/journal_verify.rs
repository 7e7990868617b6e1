//! `journal verify` as scripts use it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use common::World;

#[test]
fn damage_is_told_by_the_exit_code_where_nobody_reads_the_findings() {
    let world = World::new();
    world.shop(100_000, None);
    let log = world.path("node/journal/00000000000000000001.log");
    let mut bytes = std::fs::read(&log).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    for format in ["table", "json"] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = world.command();
        command
            .args(["journal", "verify", "node", "--format", format])
            .stdout(writer);
        let ended = command.output().unwrap();
        let err = String::from_utf8_lossy(&ended.stderr).into_owned();
        assert_eq!(ended.status.code(), Some(4), "{err}");
        assert!(err.contains("[JOURNAL_DAMAGED]"), "{err}");
    }
}
