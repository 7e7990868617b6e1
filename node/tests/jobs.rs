//! Backup and restore through the program: what is waited for, what goes on, what is left alone.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use std::fs;
use std::time::Duration;

use common::{World, files, noise, until};

#[test]
fn a_lost_table_comes_back_byte_for_byte() {
    let world = World::new();
    world.shop(3_000_000, None);
    let before = world.exported("shop.orders");
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    let row = world.sql("SHOW BACKUP FROM shop").ok().row();
    assert_eq!(
        (row["State"].as_str(), row["Status"].as_str()),
        (Some("FINISHED"), Some("[OK]"))
    );
    let stamp = world.timestamp("monday");
    let ended = world
        .sql(&format!(
            "DROP TABLE shop.orders; RESTORE SNAPSHOT shop.monday FROM r \
             PROPERTIES ('backup_timestamp' = '{stamp}'); SHOW RESTORE FROM shop"
        ))
        .ok();
    assert_eq!(ended.row()["State"].as_str(), Some("FINISHED"));
    assert!(
        ended.err.contains("FINISHED"),
        "progress is told on stderr: {ended:#?}"
    );
    assert_eq!(world.exported("shop.orders"), before);
    let dump = world
        .run(&["journal", "dump", "--data-dir", "node"])
        .ok()
        .out;
    assert_eq!(
        dump.matches("JobReleased").count(),
        2,
        "both jobs let go of everything"
    );
}

#[test]
fn another_node_gets_the_tables_from_the_repository_alone() {
    let world = World::new();
    world.shop(200_000, None);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    let stamp = world.timestamp("monday");
    let location = world.path("repo");
    let create = format!(
        "CREATE READ ONLY REPOSITORY r WITH BROKER ON LOCATION '{}'",
        location.display()
    );
    world.sql_on("other", &create, &[]).ok();
    let restore = format!(
        "RESTORE SNAPSHOT copy.monday FROM r ON (orders AS again) \
         PROPERTIES ('backup_timestamp' = '{stamp}', 'replication_num' = '2')"
    );
    world.sql_on("other", &restore, &[]).ok();
    world
        .run(&[
            "export",
            "--data-dir",
            "other",
            "--table",
            "copy.again",
            "--to",
            "out",
        ])
        .ok();
    let (got, had) = (files(&world.path("out")), files(&world.path("src")));
    assert_eq!(got.len(), had.len());
    for ((_, got), (name, had)) in got.iter().zip(&had) {
        assert!(got == had, "{name}");
    }
    let denied = world.sql_on("other", "BACKUP SNAPSHOT copy.x TO r", &[]);
    denied.refused(1, "REPOSITORY_READ_ONLY");
}

#[test]
fn without_waiting_a_job_goes_on_at_the_next_opening() {
    let world = World::new();
    world.shop(1_500_000, Some(500_000));
    let statements = "BACKUP SNAPSHOT shop.slow TO r; SHOW BACKUP FROM shop";
    let ended = world.sql_on("node", statements, &["--no-wait"]).ok();
    let row = ended.row();
    assert_ne!(row["State"].as_str(), Some("FINISHED"));
    let job = row["JobId"].as_str().unwrap().to_owned();
    let second = world.sql_on("node", "BACKUP SNAPSHOT shop.second TO r", &["--no-wait"]);
    let second = second.refused(1, "JOB_RUNNING");
    assert!(
        second.err.contains(&job),
        "the refusal names the job: {second:#?}"
    );
    world.sql("").ok();
    let row = world.sql("SHOW BACKUP FROM shop").ok().row();
    assert_eq!(
        (row["State"].as_str(), row["JobId"].as_str()),
        (Some("FINISHED"), Some(job.as_str()))
    );
}

#[test]
fn a_killed_backup_is_finished_by_the_next_process() {
    let world = World::new();
    world.shop(1_500_000, Some(500_000));
    for round in 0..2 {
        let statement = format!("BACKUP SNAPSHOT shop.kill{round} TO r");
        let mut child = world.start(&["sql", "--data-dir", "node", "-e", &statement]);
        std::thread::sleep(Duration::from_millis(300 + 500 * round));
        child.kill().unwrap();
        child.wait().unwrap();
        world.sql("SHOW BACKENDS").ok();
    }
    let rows = world.sql("SHOW BACKUP FROM shop").ok().sets().remove(0);
    assert!(
        rows.iter().all(|row| row["State"] == "FINISHED"),
        "{rows:#?}"
    );
    let verify = ["repository", "verify", "--name", "r", "--location"];
    world
        .run(&[&verify[..], &[world.path("repo").to_str().unwrap()]].concat())
        .ok();
}

#[test]
fn a_killed_restore_leaves_the_table_whole_and_is_finished_by_the_next_process() {
    let world = World::new();
    world.shop(1_500_000, Some(500_000));
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    let before = world.exported("shop.orders");
    let stamp = world.timestamp("monday");
    world.file("later/z", noise(1000));
    world.load("shop.orders", "later").ok();
    let changed = world.exported("shop.orders");
    // Nothing of the old content may be at hand, or the restore would not read the repository.
    world.sql("TRUNCATE TABLE shop.orders").ok();
    world.load("shop.orders", "later").ok();
    let old = world.exported("shop.orders");
    assert_ne!(changed, old);
    let restore =
        format!("RESTORE SNAPSHOT shop.monday FROM r PROPERTIES ('backup_timestamp' = '{stamp}')");
    let mut child = world.start(&["sql", "--data-dir", "node", "-e", &restore]);
    std::thread::sleep(Duration::from_millis(900));
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(
        world.exported("shop.orders"),
        old,
        "half a restore is not seen"
    );
    world.sql("").ok();
    assert_eq!(world.exported("shop.orders"), before);
}

#[test]
fn a_cancelled_job_ends_the_wait_with_1_and_frees_its_label() {
    let world = World::new();
    world.shop(1_500_000, Some(300_000));
    world
        .sql_on("node", "BACKUP SNAPSHOT shop.slow TO r", &["--no-wait"])
        .ok();
    world
        .sql("CANCEL BACKUP FROM shop")
        .refused(1, "JOB_CANCELLED");
    let row = world.sql("SHOW BACKUP FROM shop").ok().row();
    assert_eq!(row["State"].as_str(), Some("CANCELLED"));
    assert!(
        row["Status"].as_str().unwrap().contains("cancel"),
        "{row:#}"
    );
    world.sql("CANCEL BACKUP FROM shop").refused(1, "NO_JOB");
    world
        .sql_on(
            "node",
            "BACKUP SNAPSHOT shop.slow TO r; CANCEL BACKUP FROM shop",
            &["--no-wait"],
        )
        .ok();
}

#[test]
fn a_restore_that_cannot_be_is_cancelled_and_changes_nothing() {
    let world = World::new();
    world.shop(100_000, None);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    let before = world.exported("shop.orders");
    let stamp = world.timestamp("monday");
    let ended = world.sql(&format!(
        "RESTORE SNAPSHOT shop.monday FROM r \
         PROPERTIES ('backup_timestamp' = '{stamp}', 'replication_num' = '9')"
    ));
    assert_eq!(ended.code, 1, "{ended:#?}");
    let shown = world.sql("SHOW RESTORE FROM shop").ok().row();
    assert_eq!(shown["ReplicationNum"].as_str(), Some("9"));
    for wrong in [
        "2020-01-01-00-00-00-000",
        "2020-01-01-00-00-00",
        "yesterday",
    ] {
        let ended = world
            .sql(&format!(
                "RESTORE SNAPSHOT shop.monday FROM r PROPERTIES ('backup_timestamp' = '{wrong}')"
            ))
            .refused(1, "SNAPSHOT_NOT_FOUND");
        assert!(ended.err.contains("wrong backup timestamp"), "{ended:#?}");
    }
    world
        .sql("RESTORE SNAPSHOT shop.monday FROM r")
        .refused(1, "BAD_PROPERTY");
    world
        .sql("BACKUP SNAPSHOT shop.monday TO r")
        .refused(1, "LABEL_EXISTS");
    assert_eq!(world.exported("shop.orders"), before);
    // An object that went bad fails the restore by name; the table goes on with what it had.
    for (name, content) in files(&world.path("repo")) {
        if name.contains("/objects/") || name.contains("/packs/") {
            let path = world.path("repo").join(&name);
            fs::remove_file(&path).unwrap();
            fs::write(&path, vec![0; content.len()]).unwrap();
        }
    }
    world.sql("TRUNCATE TABLE shop.orders").ok();
    let restore =
        format!("RESTORE SNAPSHOT shop.monday FROM r PROPERTIES ('backup_timestamp' = '{stamp}')");
    world.sql(&restore).refused(1, "JOB_CANCELLED");
    assert!(world.exported("shop.orders").is_empty());
}

#[test]
fn a_second_backup_sends_only_what_is_new() {
    let world = World::new();
    world.shop(500_000, None);
    world
        .sql("BACKUP SNAPSHOT shop.monday TO r; BACKUP SNAPSHOT shop.tuesday TO r")
        .ok();
    let rows = world.sql("SHOW BACKUP FROM shop").ok().sets().remove(0);
    assert_eq!(rows[1]["UploadedBytes"].as_str(), Some("0"));
    assert_eq!(rows[0]["DataSize"], rows[1]["ReusedBytes"]);
    fs::remove_dir_all(world.path("repo/__holdfast_repository_r/__ss_monday")).unwrap();
    let names: Vec<_> = world.sql("SHOW SNAPSHOT ON r").ok().sets().remove(0);
    assert_eq!(
        (names.len(), names[0]["Snapshot"].as_str()),
        (1, Some("tuesday"))
    );
    let verify = ["repository", "verify", "--name", "r", "--location"];
    world
        .run(&[&verify[..], &[world.path("repo").to_str().unwrap()]].concat())
        .ok();
}

#[test]
fn a_torn_object_is_sent_again_and_counted_as_sent() {
    let world = World::new();
    world.shop(3_000_000, None);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    let root = world.path("repo/__holdfast_repository_r");
    let (object, content) = files(&root)
        .into_iter()
        .filter(|(name, _)| name.starts_with("objects/") || name.starts_with("packs/"))
        .max_by_key(|(_, content)| content.len())
        .unwrap();
    fs::remove_file(root.join(&object)).unwrap();
    fs::write(root.join(&object), &content[..100]).unwrap();
    world.sql("BACKUP SNAPSHOT shop.tuesday TO r").ok();
    let row = world
        .sql("SHOW BACKUP FROM shop WHERE SnapshotName = 'tuesday'")
        .ok()
        .row();
    let number = |column: &str| -> usize { row[column].as_str().unwrap().parse().unwrap() };
    assert_eq!(number("UploadedBytes"), content.len());
    assert_eq!(number("Objects"), 1);
    assert_eq!(
        number("UploadedBytes") + number("ReusedBytes"),
        number("DataSize"),
        "{row:#?}"
    );
    assert_eq!(fs::read(root.join(&object)).unwrap(), content);
}

#[test]
fn files_of_equal_content_are_sent_once_and_the_backup_is_told_as_whole() {
    let world = World::new();
    world.shop(500_000, None);
    world.load("shop.twin", "src").ok();
    let ended = world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    assert!(
        ended.err.contains("FINISHED, 1.0 MB of 1.0 MB"),
        "{ended:#?}"
    );
    let row = world.sql("SHOW BACKUP FROM shop").ok().row();
    let sent: u64 = row["UploadedBytes"].as_str().unwrap().parse().unwrap();
    assert!((500_000..600_000).contains(&sent), "{row:#?}");
}

#[test]
fn a_damaged_marker_is_not_blamed_on_the_statement() {
    let world = World::new();
    world.shop(1_000, None);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    let stamp = world.timestamp("monday");
    let root = world.path("repo/__holdfast_repository_r");
    let (marker, _) = files(&root)
        .into_iter()
        .find(|(name, _)| name.contains("__ss_monday/__info_"))
        .unwrap();
    fs::remove_file(root.join(&marker)).unwrap();
    fs::write(root.join(&marker), "torn").unwrap();
    let ended = world
        .sql(&format!(
            "RESTORE SNAPSHOT shop.monday FROM r PROPERTIES ('backup_timestamp' = '{stamp}')"
        ))
        .refused(1, "REPOSITORY_UNUSABLE");
    assert!(
        ended.err.contains(&marker) && !ended.err.contains("wrong label"),
        "{ended:#?}"
    );
}

#[test]
fn a_read_only_repository_that_is_not_there_is_refused_with_a_hint() {
    let world = World::new();
    world.shop(1_000, None);
    let location = world.path("repo");
    let ended = world
        .sql(&format!(
            "CREATE READ ONLY REPOSITORY other WITH BROKER ON LOCATION 'file://{}'",
            location.display()
        ))
        .refused(1, "REPOSITORY_UNUSABLE");
    assert!(
        ended.err.contains("Failed to create repository") && ended.err.contains("by the name"),
        "{ended:#?}"
    );
}

#[test]
fn the_journal_can_be_read_beside_a_running_job() {
    let world = World::new();
    world.shop(1_500_000, Some(500_000));
    let mut child = world.start(&[
        "sql",
        "--data-dir",
        "node",
        "-e",
        "BACKUP SNAPSHOT shop.slow TO r",
    ]);
    until("the upload runs", || {
        let state = world.run(&["journal", "state", "--data-dir", "node", "--format", "json"]);
        state.code == 0
            && state.sets()[0]
                .iter()
                .any(|row| row["State"] == "UPLOADING")
    });
    world.run(&["journal", "verify", "--data-dir", "node"]).ok();
    assert!(child.wait().unwrap().success());
}

#[test]
fn an_interrupted_wait_ends_with_130_and_the_job_goes_on_later() {
    let world = World::new();
    world.shop(1_500_000, Some(500_000));
    let child = world.start(&[
        "sql",
        "--data-dir",
        "node",
        "-e",
        "BACKUP SNAPSHOT shop.slow TO r",
    ]);
    until("the upload runs", || {
        let state = world.run(&["journal", "state", "--data-dir", "node", "--format", "json"]);
        state.code == 0
            && state.sets()[0]
                .iter()
                .any(|row| row["State"] == "UPLOADING")
    });
    let ended = interrupted(child);
    assert_eq!(ended, Some(130));
    world.sql("").ok();
    let row = world.sql("SHOW BACKUP FROM shop").ok().row();
    assert_eq!(row["State"].as_str(), Some("FINISHED"));
}

#[test]
fn what_an_accepted_restore_claims_is_neither_dropped_nor_loaded_into() {
    let world = World::new();
    world.shop(1_500_000, Some(500_000));
    world.load("shop.other", "src/deep").ok();
    world
        .sql("BACKUP SNAPSHOT shop.monday TO r ON (orders)")
        .ok();
    // Nothing is left that the restore could take from here, so that it takes its time.
    world.sql("TRUNCATE TABLE shop.orders").ok();
    let stamp = world.timestamp("monday");
    let restore = format!(
        "RESTORE SNAPSHOT shop.monday FROM r ON (orders) \
         PROPERTIES ('backup_timestamp' = '{stamp}')"
    );
    for (round, change) in [
        "DROP TABLE shop.orders",
        "TRUNCATE TABLE shop.orders",
        "ALTER TABLE shop.orders DROP PARTITION orders",
        "DROP DATABASE shop",
    ]
    .into_iter()
    .enumerate()
    {
        // The job of the first round has not ended when the others run.
        let statements = match round {
            0 => format!("{restore}; {change}"),
            _ => change.to_owned(),
        };
        let ended = world.sql_on("node", &statements, &["--no-wait"]);
        let ended = ended.refused(1, "OBJECT_BUSY");
        assert!(ended.err.contains("restored by job "), "{ended:#?}");
    }
    let load = world.load("shop.orders", "src/deep");
    let load = load.refused(1, "OBJECT_BUSY");
    assert!(load.err.contains("restored by job "), "{load:#?}");
    world.load("shop.other", "src/big").ok();
    world.sql("").ok();
    world.load("shop.orders", "src/deep").ok();
    world.sql("DROP TABLE shop.orders").ok();
}

#[test]
fn snapshots_of_a_repository_out_of_reach_are_one_row_with_the_problem() {
    let world = World::new();
    world.shop(10_000, None);
    fs::rename(world.path("repo"), world.path("away")).unwrap();
    let row = world.sql("SHOW SNAPSHOT ON r").ok().row();
    let status = row["Status"].as_str().unwrap();
    assert!(status.starts_with("ERROR"), "{row:#?}");
    world
        .sql("SHOW SNAPSHOT ON lost")
        .refused(1, "REPOSITORY_NOT_FOUND");
}

fn interrupted(mut child: std::process::Child) -> Option<i32> {
    let pid = child.id().to_string();
    assert!(
        std::process::Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    child.wait().unwrap().code()
}
