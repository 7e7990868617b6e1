//! Exported files of earlier releases are read for ever.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use common::World;
use common::journal::{dumped, journal};
use serde_json::Value;

#[test]
fn an_anonymous_exported_file_of_format_2_is_read_for_ever() {
    let world = World::new();
    let golden = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/format-2.hfexport"
    );
    let verify = journal(&world, &["verify", golden]).ok();
    for proved in [
        "192 links proved; 0 taken as recorded",
        "192 links at the end are of a chain of the file's own",
        "chain hash 2b92df555307971c8a101dc99066f36ee7d1e6cd55618cc6e9aa672bb8d0dd2a",
        "seal: 6c9a0e3f2de398c64e98ee8565294172c409dc1036ec3389a591045f80c5c288",
    ] {
        assert!(verify.err.contains(proved), "{proved}: {verify:#?}");
    }
    let dump = dumped(&world, golden, &[]);
    assert_eq!(dump.len(), 192);
    let fields: Vec<&Value> = dump.iter().map(|record| &record["fields"]).collect();
    let whole = blake3::hash(serde_json::to_string(&fields).unwrap().as_bytes());
    assert_eq!(
        whole.to_hex().as_str(),
        "a009a8f330cfa9e244a1cfb11b291f76832885ec4bf1c8bda4bb42ada59aa2a3"
    );
    let state = journal(&world, &["state", golden, "--format", "json"])
        .ok()
        .sets();
    assert_eq!((state[0].len(), state[1].len(), state[2].len()), (5, 1, 1));
}
