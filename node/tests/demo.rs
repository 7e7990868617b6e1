//! `demo`: the story runs to its end and leaves a folder that can be looked at.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use common::World;

#[test]
fn the_story_proves_itself_and_leaves_a_folder_to_look_at() {
    let world = World::new();
    let args = ["demo", "--data-dir", "node", "--scale-factor", "0.002"];
    let ended = world.run(&args).ok();
    for part in [
        "BACKUP SNAPSHOT tpch.monday",
        "FINISHED",
        "ratio",
        "every one as it was made",
    ] {
        assert!(ended.out.contains(part), "{part}: {ended:#?}");
    }
    let rows = world
        .sql("SHOW BACKUP FROM tpch ORDER BY JobId")
        .ok()
        .sets()
        .remove(0);
    assert_eq!(rows.len(), 2);
    let sent = |row: &serde_json::Value| {
        row["UploadedBytes"]
            .as_str()
            .unwrap()
            .parse::<u64>()
            .unwrap()
    };
    assert!(
        sent(&rows[1]) * 100 < sent(&rows[0]),
        "the second backup sends what changed: {rows:#?}"
    );
    world.run(&["journal", "verify", "--data-dir", "node"]).ok();
}
