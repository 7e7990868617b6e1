//! `sql --keep-finished`: jobs that ended longer ago leave SHOW and move into an archive, which the tools read.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use std::time::Duration;

use common::{Ended, World};
use serde_json::Value;

fn show(world: &World, more: &[&str]) -> Ended {
    world.sql_on("node", "SHOW BACKUP FROM shop", more).ok()
}

fn labels(shown: &Ended) -> Vec<String> {
    let rows = shown.sets().remove(0);
    let label = |row: &Value| row["SnapshotName"].as_str().unwrap().to_owned();
    rows.iter().map(label).collect()
}

fn records(world: &World) -> Vec<Value> {
    let dump = world
        .run(&["journal", "dump", "node", "--format", "json"])
        .ok();
    let lines = dump.out.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn archives(world: &World) -> usize {
    let folder = std::fs::read_dir(world.path("node/journal/archive"));
    folder.map_or(0, |entries| entries.count())
}

#[test]
fn a_job_older_than_the_setting_moves_into_an_archive_that_the_tools_read() {
    let world = World::new();
    world.shop(50_000, None);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    let job = show(&world, &[]).row()["JobId"]
        .as_str()
        .unwrap()
        .to_owned();
    let before = records(&world);
    // Not old enough: nothing moves, nothing is said.
    let young = show(&world, &["--keep-finished", "1d"]);
    assert_eq!(
        (labels(&young), young.err.as_str()),
        (vec!["monday".to_owned()], "")
    );
    assert_eq!(archives(&world), 0);

    std::thread::sleep(Duration::from_millis(1_100));
    let old = show(&world, &["--keep-finished", "1s"]);
    assert!(labels(&old).is_empty(), "{old:#?}");
    assert!(
        old.err.contains("1 job that ended before")
            && old.err.contains("moved to journal/archive/"),
        "{old:#?}"
    );
    assert_eq!(archives(&world), 1);

    let after = records(&world);
    assert_eq!(
        after[..before.len()],
        before[..],
        "the archive is read first"
    );
    let archived = after
        .iter()
        .find(|record| record["kind"] == "HistoryArchived");
    assert_eq!(archived.expect("the act is an event")["fields"]["jobs"], 1);
    let explain = world.run(&["journal", "explain", "node", &job]).ok();
    assert!(explain.out.contains("It is FINISHED"), "{}", explain.out);
    let events = world
        .sql(&format!("SHOW JOB EVENTS FOR {job}"))
        .ok()
        .sets()
        .remove(0);
    assert_eq!(events.last().unwrap()["Kind"], "JobReleased");
    let then = archived.unwrap()["seq"].as_u64().unwrap() - 1;
    let as_of = world
        .sql(&format!("SHOW BACKUP FROM shop AS OF EVENT {then}"))
        .ok();
    assert_eq!(labels(&as_of), ["monday"]);
    world.run(&["journal", "verify", "node"]).ok();
}

#[test]
fn an_act_soon_after_another_waits_and_the_newest_jobs_stay_where_asked() {
    let world = World::new();
    world.shop(50_000, None);
    world
        .sql("BACKUP SNAPSHOT shop.monday TO r; BACKUP SNAPSHOT shop.tuesday TO r")
        .ok();
    std::thread::sleep(Duration::from_millis(1_100));
    let kept = ["--keep-finished", "1s", "--keep-last"];
    let all = show(&world, &[&kept[..], &["2"]].concat());
    assert_eq!((labels(&all).len(), archives(&world)), (2, 0), "{all:#?}");
    let one = show(&world, &[&kept[..], &["1"]].concat());
    assert_eq!(labels(&one), ["tuesday"], "{one:#?}");
    // The next act is due a minute later at the earliest.
    let still = show(&world, &["--keep-finished", "1s"]);
    assert_eq!(labels(&still), ["tuesday"], "{still:#?}");
    assert_eq!(still.err, "");
}

#[test]
fn a_wrong_age_is_a_usage_error() {
    let world = World::new();
    for (args, expected) in [
        (&["--keep-finished", "soon"][..], "is no duration"),
        (&["--keep-last", "3"], "--keep-finished"),
    ] {
        let ended = world.sql_on("node", "SHOW BACKENDS", args);
        assert_eq!(ended.code, 2, "{ended:#?}");
        assert!(ended.err.contains(expected), "{ended:#?}");
    }
    assert!(!world.path("node").exists());
}
