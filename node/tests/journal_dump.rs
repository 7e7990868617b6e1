//! `journal dump`: filters, formats, and no secret in any of them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use common::World;
use common::journal::{dumped, journal, lived};
use serde_json::Value;

#[test]
fn a_dump_shows_what_agrees_with_every_filter_and_nothing_else() {
    let world = lived();
    let all = dumped(&world, "node", &[]);
    let agree = |more: &[&str], is: &dyn Fn(&Value) -> bool| {
        let expected: Vec<&Value> = all.iter().filter(|record| is(record)).collect();
        assert!(
            !expected.is_empty() && expected.len() < all.len(),
            "{more:?}"
        );
        let found = dumped(&world, "node", more);
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{more:?}");
    };
    let mut jobs: Vec<u64> = all.iter().filter_map(|r| r["job"].as_u64()).collect();
    jobs.dedup();
    let [backup, restore] = jobs[..] else {
        panic!("{jobs:?}")
    };
    let (backup_text, restore_text) = (backup.to_string(), restore.to_string());
    agree(&["--job", &backup_text], &|r| r["job"] == backup);
    agree(&["--job", &backup_text, "--job", &restore_text], &|r| {
        r["job"] != Value::Null
    });
    agree(
        &["--kind", "TaskFinished", "--kind", "backupfinished"],
        &|r| r["kind"] == "TaskFinished" || r["kind"] == "BackupFinished",
    );
    agree(&["--kind", "TaskFinished", "--job", &restore_text], &|r| {
        r["kind"] == "TaskFinished" && r["job"] == restore
    });
    agree(&["--from", "4", "--to", "9"], &|r| {
        (4..=9).contains(&r["seq"].as_u64().unwrap())
    });
    let middle = &all[all.len() / 2];
    let (time, at_ms) = (middle["time"].as_str().unwrap(), &middle["at_ms"]);
    let at_ms = at_ms.as_u64().unwrap();
    agree(&["--since", time], &|r| {
        r["at_ms"].as_u64().unwrap() >= at_ms
    });
    agree(&["--until", time], &|r| {
        r["at_ms"].as_u64().unwrap() <= at_ms
    });
    let zulu = format!("{}Z", time.replace(' ', "T"));
    agree(&["--since", &zulu, "--until", &zulu], &|r| {
        r["at_ms"].as_u64().unwrap() == at_ms
    });
    let none = journal(&world, &["dump", "node", "--job", "5"]).ok();
    assert!(none.out.is_empty() && none.err.contains("no record agrees"));
}

#[test]
fn a_wrong_filter_is_a_usage_error_that_says_what_is_expected() {
    let world = World::new();
    world.sql("SHOW BACKENDS").ok();
    for (args, expected) in [
        (&["--kind", "TaskExploded"][..], "TaskFinished"),
        (&["--since", "noon"], "expected a time"),
        (&["--job", "one"], "invalid value 'one'"),
        (&["--from", "9", "--to", "3"], "--from 9 lies behind --to 3"),
        (
            &["--since", "2026-01-02", "--until", "2026-01-01"],
            "--since is later than --until",
        ),
        (&["--format", "xml"], "json, csv"),
    ] {
        let ended = journal(&world, &[&["dump", "node"], args].concat());
        assert_eq!(ended.code, 2, "{args:?}: {ended:#?}");
        assert!(
            ended.out.is_empty() && ended.err.contains(expected),
            "{args:?}: {ended:#?}"
        );
    }
}

#[test]
fn a_dump_as_csv_has_a_header_quotes_and_null() {
    let world = lived();
    let dump = journal(&world, &["dump", "node", "--format", "csv"]).ok();
    let mut lines = dump.out.lines();
    assert_eq!(
        lines.next(),
        Some("seq,at_ms,time,stream,job,kind,kind_number,hash,fields")
    );
    let records = dumped(&world, "node", &[]);
    for (line, record) in lines.by_ref().zip(&records) {
        let parts: Vec<&str> = line.splitn(9, ',').collect();
        assert_eq!(parts[0], record["seq"].to_string());
        assert_eq!(parts[2], record["time"].as_str().unwrap());
        let job = match &record["job"] {
            Value::Null => "\\N".to_owned(),
            job => job.to_string(),
        };
        assert_eq!(parts[4], job, "{line}");
        assert_eq!(parts[7], record["hash"].as_str().unwrap());
        let fields = parts[8].trim_matches('"').replace("\"\"", "\"");
        let fields: Value = serde_json::from_str(&fields).unwrap();
        assert_eq!(fields, record["fields"]);
    }
    assert_eq!(lines.next(), None);
    assert_eq!(dump.out.lines().count(), records.len() + 1);
}

#[test]
fn secrets_in_the_words_of_an_error_are_shown_nowhere() {
    let world = World::new();
    world.file("src/a", common::noise(200_000));
    world.load("shop.orders", "src").ok();
    // A local folder's name may end like the query of a remote location.
    let repo = world.path("repo?sas=hush");
    world
        .sql(&format!(
            "CREATE REPOSITORY r WITH BROKER ON LOCATION 'file://{}' \
             PROPERTIES ('upload_bandwidth' = '1000')",
            repo.display()
        ))
        .ok();
    let accepted = world.sql_on("node", "BACKUP SNAPSHOT shop.monday TO r", &["--no-wait"]);
    accepted.ok();
    std::fs::remove_dir_all(&repo).unwrap();
    let refused = world.sql_on("node", "BACKUP SNAPSHOT shop.sunday TO r", &["--no-wait"]);
    assert!(!refused.err.contains("hush"), "{refused:#?}");
    // The place is no longer there, and the error names it.
    let mut node = world.start(&["sql", "--data-dir", "node", "-e", "SHOW BACKENDS"]);
    common::until("a task has failed and said where", || {
        let dump = journal(&world, &["dump", "node", "--kind", "TaskFailed"]);
        dump.out.contains("repo?")
    });
    node.kill().unwrap();
    node.wait().unwrap();
    let shown = ["table", "json", "csv"].map(|format| ["dump", "node", "--format", format]);
    let states = ["table", "json"].map(|format| ["state", "node", "--format", format]);
    for args in shown.iter().chain(&states) {
        let out = journal(&world, args).ok().out;
        assert!(out.contains("repo?") && !out.contains("hush"), "{out}");
    }
}

#[test]
fn a_state_that_is_entered_bears_its_name_in_every_format() {
    let world = lived();
    let states = |job: &str| -> Vec<String> {
        let records = dumped(&world, "node", &["--kind", "StateEntered", "--job", job]);
        let state = |r: &Value| r["fields"]["state"].as_str().unwrap().to_owned();
        records.iter().map(state).collect()
    };
    let jobs: Vec<String> = ["BackupSubmitted", "RestoreSubmitted"]
        .map(|kind| dumped(&world, "node", &["--kind", kind])[0]["job"].to_string())
        .to_vec();
    assert_eq!(
        states(&jobs[0]),
        [
            "SNAPSHOTING",
            "UPLOAD_SNAPSHOT",
            "UPLOADING",
            "SAVE_META",
            "UPLOAD_INFO",
            "UPLOAD_INFO"
        ]
    );
    assert_eq!(
        states(&jobs[1]),
        [
            "SNAPSHOTTING",
            "DOWNLOAD",
            "DOWNLOADING",
            "COMMIT",
            "COMMITTING"
        ]
    );
    for (format, shown) in [
        ("table", "\"state\":\"SAVE_META\""),
        ("csv", "\"\"state\"\":\"\"SAVE_META\"\""),
    ] {
        let dump = journal(&world, &["dump", "node", "--format", format]).ok();
        assert!(dump.out.contains(shown), "{}", dump.out);
    }
}

#[test]
fn a_reader_that_has_gone_ends_every_command_without_a_word() {
    let world = lived();
    let job = dumped(&world, "node", &["--kind", "BackupSubmitted"])[0]["job"].to_string();
    for args in [
        &["dump", "node"][..],
        &["dump", "node", "--format", "csv"],
        &["state", "node"],
        &["explain", "node", &job],
        &["diff", "node", "0", "9"],
        &["recover", "--dry-run", "node"],
        &["replay", "node", "--to", "9"],
        &["timeline", "node", &job, "--html", "-"],
    ] {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = world
            .command()
            .arg("journal")
            .args(args)
            .stdout(writer)
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(1), "{args:?}: {output:?}");
        assert!(output.stderr.is_empty(), "{args:?}: {output:?}");
    }
}
