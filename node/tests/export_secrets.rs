//! `journal export`: no value of users' data and no secret is in the file, also not in the words of
//! errors, and the hashes in it prove no guess of what was taken out.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use std::collections::BTreeSet;

use common::World;
use common::journal::{dumped, journal};

/// Everything in an exported file as text.
fn raw(world: &World, source: &str) -> String {
    let held = std::fs::read(world.path(source)).unwrap();
    let mut all = String::from_utf8_lossy(&held).into_owned();
    let mut at = 0;
    // Each block's zstd frame starts with this number.
    while let Some(found) = held[at..]
        .windows(4)
        .position(|w| w == [0x28, 0xb5, 0x2f, 0xfd])
    {
        at += found;
        let mut bytes = Vec::new();
        let mut decoder = zstd::stream::Decoder::new(&held[at..])
            .unwrap()
            .single_frame();
        std::io::Read::read_to_end(&mut decoder, &mut bytes).unwrap();
        all.push_str(&String::from_utf8_lossy(&bytes));
        at += 4;
    }
    all
}

/// The hashes of the records behind the first that names something.
fn hashes(world: &World, source: &str) -> BTreeSet<String> {
    let hash = |record: &serde_json::Value| record["hash"].as_str().unwrap().to_owned();
    let records = dumped(world, source, &[]);
    let opened = |record: &&serde_json::Value| record["kind"] == "EngineStarted";
    records.iter().skip_while(opened).map(hash).collect()
}

/// A table whose partition takes one patient, backed up, and a restore that was refused since
/// another partition takes that patient now.
fn refused_restore(location: &str) -> World {
    let world = World::new();
    let location = world.path(location);
    world
        .sql(&format!(
            "CREATE DATABASE ward; \
             CREATE TABLE ward.visits (patient VARCHAR(40) NOT NULL, n INT NOT NULL) \
             PARTITION BY LIST(patient) (PARTITION a VALUES IN ('Muster-Patient')) \
             DISTRIBUTED BY HASH(patient) BUCKETS 1; \
             CREATE REPOSITORY r WITH BROKER ON LOCATION 'file://{}'; \
             BACKUP SNAPSHOT ward.monday TO r; \
             ALTER TABLE ward.visits DROP PARTITION a; \
             ALTER TABLE ward.visits ADD PARTITION z VALUES IN ('Muster-Patient')",
            location.display()
        ))
        .ok();
    let stamp = world.timestamp("monday");
    let restore =
        format!("RESTORE SNAPSHOT ward.monday FROM r PROPERTIES ('backup_timestamp' = '{stamp}')");
    world.sql(&restore).refused(1, "JOB_CANCELLED");
    world
}

#[test]
fn no_value_of_a_partition_is_in_an_export() {
    let world = refused_restore("repo");
    let words = journal(&world, &["dump", "node", "--kind", "JobStopping"]).ok();
    assert!(words.out.contains("'Muster-Patient'"), "{words:#?}");
    journal(&world, &["export", "node", "--to", "plain"]).ok();
    journal(&world, &["export", "node", "--to", "hidden", "--anonymize"]).ok();
    for file in ["plain", "hidden"] {
        assert!(!raw(&world, file).contains("Muster"), "{file}");
        let words = journal(&world, &["dump", file, "--kind", "JobStopping"]).ok();
        assert!(words.out.contains("values left out"), "{words:#?}");
        journal(&world, &["verify", file]).ok();
        journal(&world, &["replay", file, "--script", "/dev/null"]).ok();
    }
}

#[test]
fn no_secret_in_the_words_of_an_error_is_in_an_export() {
    let world = refused_restore("vault?sas=hush");
    world
        .sql_on("node", "BACKUP SNAPSHOT ward.tuesday TO r", &["--no-wait"])
        .ok();
    std::fs::rename(world.path("vault?sas=hush"), world.path("gone")).unwrap();
    let mut node = world.start(&["sql", "--data-dir", "node", "-e", "SHOW BACKENDS"]);
    common::until("a task has failed and said where", || {
        let dump = journal(&world, &["dump", "node", "--kind", "TaskFailed"]);
        dump.out.contains("vault?")
    });
    node.kill().unwrap();
    node.wait().unwrap();
    journal(&world, &["export", "node", "--to", "plain"]).ok();
    journal(&world, &["export", "node", "--to", "hidden", "--anonymize"]).ok();
    let failed = journal(&world, &["dump", "plain", "--kind", "TaskFailed"]).ok();
    assert!(failed.out.contains("vault?"), "{failed:#?}");
    for file in ["plain", "hidden"] {
        assert!(!raw(&world, file).contains("hush"), "{file}");
    }
    for name in ["vault", "monday", "tuesday", "visits", "ward"] {
        assert!(!raw(&world, "hidden").contains(name), "{name}");
    }
}

#[test]
fn the_hashes_of_an_export_prove_no_guess_of_what_was_taken_out() {
    let world = refused_restore("repo");
    let node = hashes(&world, "node");
    let anonymous = ["export", "node", "--to", "hidden", "--anonymize"];
    let exported = journal(&world, &anonymous).ok();
    assert!(
        exported.err.contains("(the file's own from sequence 1 on)"),
        "{exported:#?}"
    );
    assert!(node.is_disjoint(&hashes(&world, "hidden")));
    let file = raw(&world, "hidden");
    assert!(node.iter().all(|hash| !file.contains(hash.as_str())));
    let verify = journal(&world, &["verify", "hidden"]).ok();
    let records = dumped(&world, "node", &[]).len();
    for part in [
        format!("chain: {records} links proved; 0 taken as recorded"),
        format!("chain: {records} links at the end are of a chain of the file's own"),
    ] {
        assert!(verify.err.contains(&part), "{verify:#?}");
    }
    // A value was taken out of the words of the refusal: what lies before is as the node recorded it.
    journal(&world, &["export", "node", "--to", "plain"]).ok();
    let all = dumped(&world, "node", &[]);
    let stopped = all.iter().position(|r| r["kind"] == "JobStopping").unwrap();
    let plain = dumped(&world, "plain", &[]);
    for (at, (one, other)) in all.iter().zip(&plain).enumerate() {
        assert_eq!(one["hash"] == other["hash"], at < stopped, "{at}");
    }
    // An export of an export tells no more.
    journal(&world, &["export", "plain", "--to", "again"]).ok();
    assert_eq!(dumped(&world, "again", &[]), plain);
    journal(&world, &["export", "plain", "--to", "later", "--anonymize"]).ok();
    assert!(node.is_disjoint(&hashes(&world, "later")));
}
