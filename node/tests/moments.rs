//! Points in time: a statement and the tools mean the same by the same text, in any zone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use common::World;
use common::journal::objects;
use serde_json::Value;

/// stdout of a run in another time zone.
fn there(world: &World, zone: &str, args: &[&str]) -> String {
    let mut command = world.command();
    let ended = command.env("TZ", zone).args(args).output().unwrap();
    let err = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{args:?}: {err}");
    String::from_utf8(ended.stdout).unwrap()
}

/// Two backups with a second between them.
fn two_backups() -> World {
    let world = World::new();
    world.shop(20_000, None);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    std::thread::sleep(std::time::Duration::from_millis(1_100));
    world.sql("BACKUP SNAPSHOT shop.tuesday TO r").ok();
    world
}

const ZONES: [&str; 3] = ["UTC", "Asia/Kolkata", "America/St_Johns"];

#[test]
fn a_time_copied_from_show_is_behind_its_event_for_statements_and_tools() {
    let world = two_backups();
    for zone in ZONES {
        let sql = |statement: &str| {
            let args = [
                "sql",
                "--data-dir",
                "node",
                "--format",
                "json",
                "-e",
                statement,
            ];
            let out = there(&world, zone, &args);
            serde_json::from_str::<Vec<Value>>(out.trim()).unwrap()
        };
        for row in sql("SHOW BACKUP FROM shop") {
            for column in ["CreateTime", "FinishedTime"] {
                let time = row[column].as_str().unwrap();
                let past = sql(&format!("SHOW BACKUP FROM shop AS OF TIMESTAMP '{time}'"));
                let state = ["journal", "state", "node", "--format", "json", "--at", time];
                let out = there(&world, zone, &state);
                let shown: Vec<Value> = serde_json::from_str(out.lines().next().unwrap()).unwrap();
                let jobs = |rows: &[Value]| {
                    let job = |row: &Value| (row["JobId"].clone(), row["State"].clone());
                    rows.iter().map(job).collect::<Vec<_>>()
                };
                assert_eq!(jobs(&past), jobs(&shown), "{zone} {time}");
                let known = past.iter().any(|other| other["JobId"] == row["JobId"]);
                assert!(
                    known,
                    "{zone}: a job is not there at its own {column}, {time}"
                );
            }
        }
    }
}

#[test]
fn a_job_is_told_the_same_by_the_sequence_and_by_the_time_in_any_zone() {
    let world = two_backups();
    for zone in ZONES {
        let events = there(
            &world,
            zone,
            &["journal", "dump", "node", "--format", "json"],
        );
        let events = objects(&events);
        let last_of_its_time = |(at, event): &(usize, &Value)| {
            let next = events.get(at + 1);
            event["job"].is_u64() && next.is_none_or(|next| next["at_ms"] != event["at_ms"])
        };
        for (_, event) in events
            .iter()
            .enumerate()
            .filter(last_of_its_time)
            .step_by(3)
        {
            let (job, seq) = (event["job"].to_string(), event["seq"].to_string());
            let time = event["time"].as_str().unwrap();
            let explain = |at: &str| {
                there(
                    &world,
                    zone,
                    &["journal", "explain", "node", &job, "--at", at],
                )
            };
            assert_eq!(explain(&seq), explain(time), "{zone} {time}");
        }
        // What SHOW JOB EVENTS prints is the time of the dump.
        let job = events
            .iter()
            .find_map(|event| event["job"].as_u64())
            .unwrap();
        let statement = format!("SHOW JOB EVENTS FOR {job}");
        let args = [
            "sql",
            "--data-dir",
            "node",
            "--format",
            "json",
            "-e",
            &statement,
        ];
        let out = there(&world, zone, &args);
        let shown: Vec<Value> = serde_json::from_str(out.trim()).unwrap();
        assert!(!shown.is_empty());
        for row in &shown {
            let of =
                |event: &&Value| event["seq"].as_u64() == row["Seq"].as_str().unwrap().parse().ok();
            let event = events.iter().find(of).unwrap();
            assert_eq!(event["time"], row["Time"], "{zone}");
        }
    }
}
