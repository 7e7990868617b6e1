//! `journal` and `repository`: what they show, what they find, and that they change nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use std::fs;

use common::{World, files};

fn backed_up() -> World {
    let world = World::new();
    world.shop(200_000, None);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    world
}

fn repository(world: &World, what: &str, more: &[&str]) -> common::Ended {
    let location = format!("file://{}", world.path("repo").display());
    let args = ["repository", what, "--location", &location, "--name", "r"];
    world.run(&[&args[..], more].concat())
}

#[test]
fn a_dump_has_every_record_in_order_and_no_secret() {
    let world = backed_up();
    let dump = world
        .run(&["journal", "dump", "--data-dir", "node", "--format", "json"])
        .ok();
    let records: Vec<serde_json::Value> = dump
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for (record, seq) in records.iter().zip(1..) {
        assert_eq!(record["seq"], seq);
        assert!(
            record["fields"].is_object() && record["time"].is_string(),
            "{record}"
        );
    }
    let kinds: Vec<_> = records
        .iter()
        .map(|record| record["kind"].as_str().unwrap())
        .collect();
    assert_eq!(kinds[0], "EngineStarted");
    assert!(kinds.contains(&"BackupFinished"));
    let created = records
        .iter()
        .find(|record| record["kind"] == "RepositoryCreated")
        .unwrap();
    assert!(
        created["fields"]["properties"]
            .as_str()
            .unwrap()
            .ends_with("sealed bytes")
    );
    let table = world.run(&["journal", "dump", "--data-dir", "node"]).ok();
    assert_eq!(table.out.lines().count(), records.len());
}

#[test]
fn the_state_of_any_moment_can_be_shown() {
    let world = backed_up();
    let state = |at: &str| {
        let args = [
            "journal",
            "state",
            "--data-dir",
            "node",
            "--format",
            "json",
            "--at",
            at,
        ];
        world.run(&args).ok().sets()
    };
    assert!(state("0").iter().all(Vec::is_empty));
    let states: Vec<String> = (1..=30)
        .filter_map(|at| {
            Some(
                state(&at.to_string())[0].first()?["State"]
                    .as_str()?
                    .to_owned(),
            )
        })
        .collect();
    assert_eq!(states.first().map(String::as_str), Some("PENDING"));
    assert_eq!(states.last().map(String::as_str), Some("FINISHED"));
    let args = ["journal", "state", "--data-dir", "node", "--at", "100000"];
    world.run(&args).refused(1, "SEQUENCE_NOT_FOUND");
    let at = |time: &str| {
        let args = ["journal", "state", "node", "--format", "json", "--at", time];
        world.run(&args).ok().sets()
    };
    assert!(at("2001-01-01 00:00:00").iter().all(Vec::is_empty));
    let end = at("2999-01-01T00:00:00Z");
    assert_eq!(end[0][0]["State"].as_str(), Some("FINISHED"));
    let args = ["journal", "state", "node", "--at", "noon"];
    assert_eq!(world.run(&args).code, 2);
    world
        .run(&["journal", "state", "--data-dir", "absent"])
        .refused(1, "JOURNAL_NOT_FOUND");
}

#[test]
fn tools_change_nothing() {
    let world = backed_up();
    let before = files(&world.path("node"));
    for args in [
        &["journal", "dump", "--data-dir", "node"][..],
        &["journal", "verify", "--data-dir", "node"],
        &["journal", "state", "--data-dir", "node"],
    ] {
        world.run(args).ok();
    }
    assert!(
        files(&world.path("node")) == before,
        "a tool changed the data folder"
    );
    let before = files(&world.path("repo"));
    repository(&world, "verify", &[]).ok();
    repository(&world, "unreferenced", &[]).ok();
    assert!(
        files(&world.path("repo")) == before,
        "a tool changed the repository"
    );
}

#[test]
fn a_flipped_bit_in_the_log_is_found() {
    let world = backed_up();
    let log = fs::read_dir(world.path("node/journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .find(|path| path.is_file() && fs::read(path).unwrap().windows(6).any(|w| w == b"monday"))
        .expect("a log segment");
    let mut bytes = fs::read(&log).unwrap();
    let at = bytes.windows(6).position(|w| w == b"monday").unwrap();
    bytes[at] ^= 1;
    fs::write(&log, bytes).unwrap();
    let verify = world
        .run(&["journal", "verify", "--data-dir", "node"])
        .refused(4, "JOURNAL_DAMAGED");
    assert!(verify.out.starts_with("journal: "), "{verify:#?}");
    let dump = world
        .run(&["journal", "dump", "--data-dir", "node"])
        .refused(4, "JOURNAL_DAMAGED");
    assert!(dump.out.contains("EngineStarted"), "what is whole is shown");
    world.sql("SHOW BACKENDS").refused(4, "JOURNAL_DAMAGED");
}

#[test]
fn a_lost_index_is_no_damage() {
    let world = backed_up();
    fs::remove_dir_all(world.path("node/journal/index")).unwrap();
    world.run(&["journal", "verify", "--data-dir", "node"]).ok();
    let row = world.sql("SHOW BACKUP FROM shop").ok().row();
    assert_eq!(row["State"].as_str(), Some("FINISHED"));
}

#[test]
fn a_damaged_index_is_found_and_mended_by_the_next_opening() {
    let world = backed_up();
    let index = world.path("node/journal/index");
    let mut changed = 0;
    for (name, mut content) in files(&index) {
        let middle = content.len() / 2;
        if content.iter().any(|byte| *byte != 0) {
            content[middle..].iter_mut().for_each(|byte| *byte ^= 0x55);
            fs::write(index.join(name), content).unwrap();
            changed += 1;
        }
    }
    assert!(changed > 0);
    let verify = world
        .run(&["journal", "verify", "--data-dir", "node"])
        .refused(4, "JOURNAL_DAMAGED");
    assert!(verify.out.starts_with("index: "), "{verify:#?}");
    let shown = world.sql("SHOW BACKUP FROM shop").ok();
    assert_eq!(shown.row()["State"].as_str(), Some("FINISHED"));
    assert!(!shown.err.contains("panicked"), "{shown:#?}");
    world.run(&["journal", "verify", "--data-dir", "node"]).ok();
}

#[test]
fn a_damaged_or_missing_object_is_named() {
    let world = backed_up();
    repository(&world, "verify", &["--snapshot", "monday"]).ok();
    repository(&world, "verify", &["--snapshot", "lost"]).refused(1, "SNAPSHOT_NOT_FOUND");
    let root = world.path("repo/__holdfast_repository_r");
    let (pack, content) = files(&root)
        .into_iter()
        .find(|(name, _)| name.starts_with("packs/"))
        .unwrap();
    let mut changed = content.clone();
    let last = changed.len() - 1;
    changed[last] ^= 1;
    fs::remove_file(root.join(&pack)).unwrap();
    fs::write(root.join(&pack), changed).unwrap();
    let verify = repository(&world, "verify", &[]).refused(4, "REPOSITORY_DAMAGED");
    assert!(
        verify.out.contains(&pack) && verify.out.contains("orders"),
        "{verify:#?}"
    );
    let json = repository(&world, "verify", &["--format", "json"]).refused(4, "REPOSITORY_DAMAGED");
    let rows = json.sets().remove(0);
    assert_eq!(
        (rows[0]["Table"].as_str(), rows[0]["Object"].as_str()),
        (Some("orders"), Some(pack.as_str()))
    );
    fs::remove_file(root.join(&pack)).unwrap();
    let verify = repository(&world, "verify", &[]).refused(4, "REPOSITORY_DAMAGED");
    assert!(verify.out.contains(&pack), "{verify:#?}");
}

#[test]
fn objects_that_no_snapshot_needs_are_listed() {
    let world = backed_up();
    let none = repository(&world, "unreferenced", &["--format", "json"]).ok();
    assert_eq!(none.out, "[]\n");
    fs::remove_dir_all(world.path("repo/__holdfast_repository_r/__ss_monday")).unwrap();
    let some = repository(&world, "unreferenced", &["--format", "json"])
        .ok()
        .sets()
        .remove(0);
    assert!(
        !some.is_empty() && some.iter().all(|row| row["Standing"] == "free"),
        "{some:#?}"
    );
    let lines = repository(&world, "unreferenced", &[])
        .ok()
        .out
        .lines()
        .count();
    assert_eq!(lines, some.len());
}

#[test]
fn a_place_without_a_repository_is_said_to_be_one() {
    let world = World::new();
    repository(&world, "verify", &[]).refused(1, "REPOSITORY_NOT_FOUND");
    let args = [
        "repository",
        "verify",
        "--location",
        "ftp://x/y",
        "--name",
        "r",
    ];
    let ended = world.run(&args).refused(1, "REPOSITORY_UNUSABLE");
    assert!(ended.err.contains("file://"), "{ended:#?}");
    let args = [
        "repository",
        "verify",
        "--location",
        "/tmp",
        "--name",
        "r",
        "--property",
        "speed=1",
    ];
    let ended = world.run(&args).refused(1, "REPOSITORY_UNUSABLE");
    assert!(ended.err.contains("'speed'"), "{ended:#?}");
}

#[test]
fn a_dump_masks_the_secrets_in_a_location() {
    let world = World::new();
    let location = format!("file://{}?sas=hush", world.path("repo").display());
    world
        .sql(&format!(
            "CREATE REPOSITORY r WITH BROKER ON LOCATION '{location}'"
        ))
        .ok();
    for format in ["table", "json"] {
        let dump = ["journal", "dump", "--data-dir", "node", "--format", format];
        let dump = world.run(&dump).ok().out;
        assert!(dump.contains("repo?sas="), "{dump}");
        assert!(!dump.contains("hush"), "{dump}");
    }
}
