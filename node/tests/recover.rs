//! `journal recover --dry-run`: what it foretells is what the next opening records.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use std::fs;
use std::path::PathBuf;

use common::{Ended, World, files, until};
use serde_json::Value;

/// A data folder whose backup was killed while it uploaded; three tables, so that several tasks run.
fn killed_while_uploading() -> World {
    let world = World::new();
    world.shop(3_000_000, Some(1_000_000));
    for table in ["items", "parts"] {
        world.load(&format!("shop.{table}"), "src").ok();
    }
    let mut child = world.start(&[
        "sql",
        "--data-dir",
        "node",
        "-e",
        "BACKUP SNAPSHOT shop.big TO r",
    ]);
    until("the upload", || {
        let dump = world.run(&["journal", "dump", "node"]);
        dump.out.contains("\"work\":\"Upload\"")
    });
    child.kill().unwrap();
    child.wait().unwrap();
    world
}

fn dry_run(world: &World, more: &[&str]) -> Ended {
    let args = ["journal", "recover", "--dry-run", "node"];
    world.run(&[&args[..], more].concat())
}

fn foretold(world: &World, more: &[&str]) -> Value {
    let json = dry_run(world, &[&["--format", "json"], more].concat()).ok();
    serde_json::from_str(&json.out).unwrap()
}

/// The records of the journal behind sequence `after`.
fn recorded(world: &World, after: u64) -> Vec<Value> {
    let dump = world
        .run(&["journal", "dump", "node", "--format", "json"])
        .ok();
    let records = dump
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap());
    records
        .filter(|record: &Value| record["seq"].as_u64().unwrap() > after)
        .collect()
}

/// Task and attempt of each start.
fn starts(job: &Value) -> Vec<(u64, u64)> {
    let starts = job["starts"].as_array().unwrap().iter();
    starts
        .map(|start| {
            (
                start["task"].as_u64().unwrap(),
                start["attempt"].as_u64().unwrap(),
            )
        })
        .collect()
}

#[test]
fn the_task_starts_that_are_foretold_are_those_that_the_opening_records() {
    let world = killed_while_uploading();
    let before = files(&world.path("node"));
    let said = foretold(&world, &[]);
    assert!(
        files(&world.path("node")) == before,
        "a dry run changed the data folder"
    );
    let job = &said["opening"]["jobs"][0];
    assert_eq!(job["direction"], "goes_on");
    assert_eq!(
        (&job["state"], &job["work"]),
        (&"UPLOADING".into(), &"Upload".into())
    );
    let foretold = starts(job);
    assert!(!foretold.is_empty());
    let end = said["journal"]["records"].as_u64().unwrap();
    world.sql_on("node", "SHOW BACKENDS", &["--no-wait"]).ok();
    let events = said["opening"]["events"].as_array().unwrap();
    let after = recorded(&world, end);
    for (record, kind) in after.iter().zip(events) {
        assert_eq!(&record["kind"], kind, "{record}");
    }
    let actual: Vec<(u64, u64)> = after[..events.len()]
        .iter()
        .filter(|record| record["kind"] == "TaskStarted")
        .map(|record| {
            let fields = &record["fields"];
            (
                fields["task"].as_u64().unwrap(),
                fields["attempt"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(actual, foretold);
    assert!(
        foretold.iter().any(|(_, attempt)| *attempt == 2),
        "{foretold:?}"
    );
}

#[test]
fn the_words_say_what_goes_on_and_what_becomes_of_label_and_pin() {
    let world = killed_while_uploading();
    let words = dry_run(&world, &[]).ok();
    for part in [
        "found in UPLOADING: goes on",
        "again: it was running when the journal ended",
        "on backend ",
        "its claim on the label 'big' stays",
        "not behind",
        "it may run for 23 h 59 min more",
    ] {
        assert!(words.out.contains(part), "{part}: {words:#?}");
    }
    assert!(words.err.is_empty(), "{words:#?}");
}

#[test]
fn an_opening_after_the_timeout_cancels_at_once() {
    let world = killed_while_uploading();
    let late = foretold(&world, &["--opened-at", "2999-01-01T00:00:00Z"]);
    let job = &late["opening"]["jobs"][0];
    assert_eq!(job["direction"], "times_out");
    assert_eq!(job["work"], "Discard");
    assert!(
        job["why"]
            .as_str()
            .unwrap()
            .contains("ran past its timeout of 86400")
    );
    let words = dry_run(&world, &["--opened-at", "2999-01-01 00:00:00"]).ok();
    assert!(
        words
            .out
            .contains("times out at once, it will be CANCELLED"),
        "{words:#?}"
    );
    assert!(words.out.contains("the label is free again"), "{words:#?}");
}

#[test]
fn nothing_is_left_to_do_after_a_clean_end() {
    let world = World::new();
    world.shop(1_000, None);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    let words = dry_run(&world, &[]).ok();
    assert!(
        words.out.contains("Journal: clean: nothing to mend"),
        "{words:#?}"
    );
    assert!(
        words.out.contains("1 job is over and is not touched"),
        "{words:#?}"
    );
    assert_eq!(
        foretold(&world, &[])["opening"]["events"],
        serde_json::json!(["EngineStarted"])
    );
}

/// The newest segment of the jobs' log.
fn segment(world: &World) -> PathBuf {
    let mut logs: Vec<PathBuf> = fs::read_dir(world.path("node/journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            path.extension()
                .is_some_and(|e| e == "log" || e == "segment")
        })
        .collect();
    logs.sort();
    logs.pop().expect("a segment")
}

#[test]
fn a_torn_tail_is_cut_and_said() {
    let world = killed_while_uploading();
    let log = segment(&world);
    let mut bytes = fs::read(&log).unwrap();
    bytes.extend_from_slice(b"half a frame");
    fs::write(&log, bytes).unwrap();
    let words = dry_run(&world, &[]).ok();
    assert!(words.out.contains("Journal: torn tail"), "{words:#?}");
    assert!(words.out.contains("12 bytes cut at segment"), "{words:#?}");
}

#[test]
fn a_damaged_journal_is_refused_with_the_words_of_the_opening() {
    let world = killed_while_uploading();
    let log = segment(&world);
    let mut bytes = fs::read(&log).unwrap();
    let at = bytes.windows(3).position(|w| w == b"big").unwrap();
    bytes[at] ^= 1;
    fs::write(&log, bytes).unwrap();
    let said = dry_run(&world, &[]).refused(4, "JOURNAL_DAMAGED");
    assert!(
        said.out.contains("The next opening refuses: segment"),
        "{said:#?}"
    );
    let opened = world.sql("SHOW BACKENDS").refused(4, "JOURNAL_DAMAGED");
    assert_eq!(said.err.lines().last(), opened.err.lines().last());
}

#[test]
fn a_storage_older_than_the_journal_is_refused_with_the_words_of_the_opening() {
    let world = World::new();
    world.sql("SHOW BACKENDS").ok();
    let old = files(&world.path("node/storage"));
    world.shop(1_000, None);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    fs::remove_dir_all(world.path("node/storage")).unwrap();
    for (name, content) in old {
        world.file(&format!("node/storage/{name}"), content);
    }
    let said = dry_run(&world, &[]).refused(4, "DAMAGED");
    assert!(
        said.out.contains("it is older than the journal"),
        "{said:#?}"
    );
    let opened = world.sql("SHOW BACKENDS").refused(4, "DAMAGED");
    assert_eq!(said.err.lines().last(), opened.err.lines().last());
}

#[test]
fn recovery_by_hand_is_a_wrong_command() {
    let world = World::new();
    world.sql("SHOW BACKENDS").ok();
    let ended = world.run(&["journal", "recover", "node"]);
    assert_eq!(ended.code, 2, "{ended:#?}");
    assert!(
        ended
            .err
            .contains("any opening of the folder does it, such as `holdfast sql`"),
        "{ended:#?}"
    );
    let ended = dry_run(&world, &["--opened-at", "noon"]);
    assert_eq!(ended.code, 2, "{ended:#?}");
    world
        .run(&["journal", "recover", "--dry-run", "absent"])
        .refused(1, "JOURNAL_NOT_FOUND");
    let help = world.run(&["journal", "recover", "--help"]).ok();
    assert!(
        help.out
            .contains("holdfast journal recover --dry-run node1"),
        "{help:#?}"
    );
}

#[test]
fn beside_a_running_process_it_says_that_one_is_there() {
    let world = World::new();
    world.shop(3_000_000, Some(1_000_000));
    let mut child = world.start(&[
        "sql",
        "--data-dir",
        "node",
        "-e",
        "BACKUP SNAPSHOT shop.big TO r",
    ]);
    until("the upload", || {
        let dump = world.run(&["journal", "dump", "node"]);
        dump.out.contains("\"work\":\"Upload\"")
    });
    let words = dry_run(&world, &[]);
    child.kill().unwrap();
    child.wait().unwrap();
    let words = words.ok();
    assert!(
        words.err.contains("a process has the folder open now"),
        "{words:#?}"
    );
    assert!(words.out.contains("goes on"), "{words:#?}");
}

#[test]
fn an_exported_file_says_the_same_of_the_jobs_as_the_folder() {
    let world = killed_while_uploading();
    world
        .run(&["journal", "export", "node", "--to", "ticket.hfexport"])
        .ok();
    let at = ["--opened-at", "2999-01-01 00:00:00", "--format", "json"];
    let args = ["journal", "recover", "--dry-run", "ticket.hfexport"];
    let exported = world.run(&[&args[..], &at].concat()).ok();
    let exported: Value = serde_json::from_str(&exported.out).unwrap();
    let folder = foretold(&world, &["--opened-at", "2999-01-01 00:00:00"]);
    assert_eq!(exported["opening"], folder["opening"]);
    assert_eq!(exported["journal"]["cases"], Value::Null);
    let words = world.run(&args).ok();
    assert!(
        words.out.contains("Journal: exported up to record"),
        "{words:#?}"
    );
    assert!(words.out.contains("none here, not checked"), "{words:#?}");
}
