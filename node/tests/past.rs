//! `SHOW … AS OF` and `SHOW JOB EVENTS`: what the journal says of earlier moments, and of one job.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use common::World;

fn text(row: &serde_json::Value, column: &str) -> String {
    row[column]
        .as_str()
        .unwrap_or_else(|| panic!("{column} of {row}"))
        .to_owned()
}

fn backed_up() -> World {
    let world = World::new();
    world.shop(200_000, None);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    world
}

#[test]
fn every_state_of_a_backup_can_be_shown_again() {
    let world = backed_up();
    let job = text(&world.sql("SHOW BACKUP FROM shop").ok().row(), "JobId");
    let events = world
        .sql(&format!("SHOW JOB EVENTS FOR {job}"))
        .ok()
        .sets()
        .remove(0);
    assert_eq!(text(&events[0], "Kind"), "BackupSubmitted");
    assert_eq!(text(events.last().unwrap(), "Kind"), "JobReleased");
    let statements: Vec<String> = events
        .iter()
        .map(|event| format!("SHOW BACKUP FROM shop AS OF EVENT {}", text(event, "Seq")))
        .collect();
    let shown = world.sql(&statements.join("; ")).ok().sets();
    for (event, rows) in events.iter().zip(shown) {
        assert_eq!(text(&rows[0], "State"), text(event, "State"), "{event}");
        assert_eq!(text(&rows[0], "JobId"), job);
        assert_eq!(text(&rows[0], "Progress"), "");
    }
    let before: u64 = text(&events[0], "Seq").parse().unwrap();
    let none = world
        .sql(&format!("SHOW BACKUP FROM shop AS OF EVENT {}", before - 1))
        .ok();
    assert_eq!(none.out, "[]\n");
}

#[test]
fn a_time_that_show_prints_finds_what_it_was_printed_for() {
    let world = backed_up();
    let row = world.sql("SHOW BACKUP FROM shop").ok().row();
    let as_of = |time: &str, zone: &str| {
        let statement = format!("SHOW BACKUP FROM shop AS OF TIMESTAMP '{time}'");
        let mut command = world.command();
        command
            .env("TZ", zone)
            .args(["sql", "--data-dir", "node", "--format", "json", "-e"])
            .arg(statement);
        String::from_utf8(command.output().unwrap().stdout).unwrap()
    };
    let created = text(&row, "CreateTime");
    assert!(as_of(&created, "UTC").contains("monday"), "{created}");
    let finished = as_of(&text(&row, "FinishedTime"), "UTC");
    assert!(finished.contains("\"State\":\"FINISHED\""), "{finished}");
    // The same digits east of here are an earlier moment, when there was nothing.
    assert_eq!(as_of(&created, "Asia/Tokyo"), "");
    let job = text(&row, "JobId");
    let exact = world
        .sql(&format!("SHOW JOB EVENTS FOR {job} LIMIT 1"))
        .ok()
        .row();
    assert!(as_of(&text(&exact, "Time"), "UTC").contains("monday"));
}

#[test]
fn a_restore_of_the_past_is_brief_where_it_is_asked_to_be() {
    let world = backed_up();
    let restore = format!(
        "RESTORE SNAPSHOT copy.monday FROM r PROPERTIES ('backup_timestamp' = '{}')",
        world.timestamp("monday")
    );
    world.sql(&format!("CREATE DATABASE copy; {restore}")).ok();
    let job = text(&world.sql("SHOW RESTORE FROM copy").ok().row(), "JobId");
    let begun = world
        .sql(&format!(
            "SHOW JOB EVENTS FOR {job} LIKE 'StateEntered' WHERE State = 'DOWNLOADING'"
        ))
        .ok()
        .row();
    assert_eq!(text(&begun, "Work"), "Download");
    let row = world
        .sql(&format!(
            "SHOW BRIEF RESTORE FROM copy AS OF EVENT {}",
            text(&begun, "Seq")
        ))
        .ok()
        .row();
    assert_eq!(text(&row, "State"), "DOWNLOADING");
    assert!(row["RestoreObjs"].is_null(), "{row}");
    // The rows of the past are filtered as those of now.
    let none = world
        .sql(&format!(
            "SHOW RESTORE FROM copy AS OF EVENT {} WHERE State = 'FINISHED'",
            text(&begun, "Seq")
        ))
        .ok();
    assert_eq!(none.out, "[]\n");
}

#[test]
fn events_are_filtered_ordered_and_limited_as_every_show() {
    let world = backed_up();
    let job = text(&world.sql("SHOW BACKUP FROM shop").ok().row(), "JobId");
    let uploads = world
        .sql(&format!(
            "SHOW JOB EVENTS FOR {job} LIKE 'Task%' WHERE Work = 'Upload' ORDER BY Seq DESC"
        ))
        .ok()
        .sets()
        .remove(0);
    assert!(uploads.len() >= 2, "{uploads:#?}");
    assert_eq!(text(&uploads[0], "Kind"), "TaskFinished");
    assert_eq!(text(&uploads[0], "Attempt"), "1");
    assert!(text(&uploads[0], "Detail").contains("object"));
    assert!(uploads[0]["Backend"].is_string());
    let seqs: Vec<u64> = uploads
        .iter()
        .map(|row| text(row, "Seq").parse().unwrap())
        .collect();
    assert!(seqs.is_sorted_by(|a, b| a > b), "{seqs:?}");
    let two = format!("SHOW JOB EVENTS FOR {job} LIMIT 1, 2");
    assert_eq!(world.sql(&two).ok().sets()[0].len(), 2);
}

#[test]
fn moments_and_jobs_that_are_not_there_are_named() {
    let world = backed_up();
    let refused = |statement: &str, symbol: &str, part: &str| {
        let ended = world.sql(statement).refused(1, symbol);
        assert!(ended.err.contains(part), "{ended:#?}");
    };
    let late = "SHOW BACKUP FROM shop AS OF EVENT 1000000";
    refused(
        late,
        "EVENT_NOT_FOUND",
        "event 1000000 is not in the journal",
    );
    refused(
        "SHOW RESTORE FROM shop AS OF EVENT 0",
        "EVENT_NOT_FOUND",
        "expected an event from 1 to ",
    );
    refused(
        "SHOW BACKUP FROM shop AS OF TIMESTAMP '1999-12-31 23:59:59'",
        "EVENT_NOT_FOUND",
        "nothing was recorded up to 1999-12-31 23:59:59: the journal begins at ",
    );
    refused(
        "SHOW BACKUP FROM shop AS OF TIMESTAMP '9999-12-31 23:59:59'",
        "BAD_TIMESTAMP",
        "is later than now",
    );
    let noon = "SHOW BACKUP FROM shop AS OF TIMESTAMP 'noon'";
    refused(noon, "BAD_TIMESTAMP", "'noon' is no timestamp");
    let nowhere = "SHOW BACKUP FROM nowhere AS OF EVENT 1";
    refused(nowhere, "DATABASE_NOT_FOUND", "nowhere");
    for job in ["0", "1", "424242"] {
        let unknown = format!("SHOW JOB EVENTS FOR {job}");
        refused(
            &unknown,
            "JOB_NOT_FOUND",
            &format!("job {job} does not exist"),
        );
    }
    let filter = "SHOW JOB EVENTS FOR 424242 WHERE Colour = 1";
    refused(filter, "JOB_NOT_FOUND", "424242");
    world
        .sql_on("node", "SHOW JOB EVENTS FOR 10002", &["--user", "bob"])
        .refused(1, "ACCESS_DENIED");
}

/// Two days of backups: Monday's has left for an archive, which was moved away; Tuesday's is in the log.
fn moved_away() -> (World, String, String) {
    let world = backed_up();
    let monday = text(&world.sql("SHOW BACKUP FROM shop").ok().row(), "JobId");
    world
        .run(&["journal", "archive", "node", "--older-than", "0s"])
        .ok();
    world.sql("BACKUP SNAPSHOT shop.tuesday TO r").ok();
    let tuesday = text(&world.sql("SHOW BACKUP FROM shop").ok().row(), "JobId");
    std::fs::rename(world.path("node/journal/archive"), world.path("away")).unwrap();
    (world, monday, tuesday)
}

#[test]
fn what_is_in_the_log_is_told_while_the_archives_are_elsewhere() {
    let (world, monday, tuesday) = moved_away();
    let all = format!("SHOW JOB EVENTS FOR {tuesday}");
    let events = world.sql(&all).ok().sets().remove(0);
    assert_eq!(text(&events[0], "Kind"), "BackupSubmitted");
    assert_eq!(text(events.last().unwrap(), "Kind"), "JobReleased");
    for event in &events {
        let seq = text(event, "Seq");
        let row = world
            .sql(&format!("SHOW BACKUP FROM shop AS OF EVENT {seq}"))
            .ok()
            .row();
        assert_eq!(text(&row, "State"), text(event, "State"), "{event}");
    }
    let time = text(events.last().unwrap(), "Time");
    let now = world
        .sql(&format!("SHOW BACKUP FROM shop AS OF TIMESTAMP '{time}'"))
        .ok()
        .row();
    assert_eq!(text(&now, "JobId"), tuesday);
    // Neither an id that was never given nor one of another thing is looked for in archives.
    let task: u64 = tuesday.parse::<u64>().unwrap() + 1;
    for job in [1, task, 424_242] {
        world
            .sql(&format!("SHOW JOB EVENTS FOR {job}"))
            .refused(1, "JOB_NOT_FOUND");
    }
    // What left is named.
    for statement in [
        format!("SHOW JOB EVENTS FOR {monday}"),
        "SHOW BACKUP FROM shop AS OF EVENT 3".to_owned(),
        "SHOW BACKUP FROM shop AS OF TIMESTAMP '1999-12-31 23:59:59'".to_owned(),
    ] {
        let away = world.sql(&statement).refused(1, "EVENT_NOT_FOUND");
        assert!(away.err.contains("put back archive/"), "{away:#?}");
    }
    std::fs::rename(world.path("away"), world.path("node/journal/archive")).unwrap();
    let back = world
        .sql(&format!("SHOW JOB EVENTS FOR {monday}"))
        .ok()
        .sets()
        .remove(0);
    assert_eq!(text(&back[0], "Kind"), "BackupSubmitted");
    assert_eq!(world.sql(&all).ok().sets().remove(0), events);
}
