//! A journal whose archives were moved away: what the tools still tell, and what they refuse to.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use common::{Ended, World};
use serde_json::Value;

fn journal(world: &World, args: &[&str]) -> Ended {
    world.run(&[&["journal"], args].concat())
}

fn seqs(world: &World, source: &str) -> Vec<u64> {
    let dump = journal(world, &["dump", source, "--format", "json"]).ok();
    let parse = |line| serde_json::from_str::<Value>(line).unwrap();
    let seq = |line| parse(line)["seq"].as_u64().unwrap();
    dump.out.lines().map(seq).collect()
}

/// A data folder whose first backup has left for an archive that is not there any more, and whose
/// second one is in the log. The first record of the log.
fn away() -> (World, u64) {
    let world = World::new();
    world.shop(200_000, None);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    journal(&world, &["archive", "node", "--older-than", "0s"]).ok();
    world.sql("BACKUP SNAPSHOT shop.tuesday TO r").ok();
    std::fs::rename(world.path("node/journal/archive"), world.path("away")).unwrap();
    let first = seqs(&world, "node")[0];
    assert!(first > 1);
    (world, first)
}

fn script(world: &World, commands: &str) -> Ended {
    let path = world.file("commands", commands);
    let path = path.to_str().unwrap();
    world.run(&["journal", "replay", "node", "--script", path])
}

#[test]
fn a_replay_begins_with_the_oldest_state_and_says_so() {
    let (world, _) = away();
    let end = *seqs(&world, "node").last().unwrap();
    let to = journal(&world, &["replay", "node", "--to", &end.to_string()]).ok();
    assert!(
        to.out.starts_with(&format!("{end:>8}  ")) && to.out.contains("tuesday"),
        "{to:#?}"
    );
    assert!(!to.out.contains("monday"), "{to:#?}");
    let begun = to.err.lines().find(|line| line.contains("begins with"));
    let begun = begun.unwrap_or_else(|| panic!("{to:#?}"));
    let base: u64 = begun
        .split(' ')
        .find_map(|word| word.trim_end_matches([',', ':']).parse().ok())
        .unwrap();
    assert!(base > 1 && base < end, "{begun}");
    let found = format!(
        "no finding from sequence {} on: the engine of today",
        base + 1
    );
    assert!(to.out.contains(&found), "{to:#?}");
    let state = journal(&world, &["state", "node"]).ok().out;
    let row = state.lines().find(|line| line.contains("tuesday")).unwrap();
    assert!(to.out.contains(row), "{row}\n{to:#?}");
    // Steps go back as far as to that state.
    let there = script(&world, "step 3\nback 9\nshow\nstep").ok().out;
    let straight = script(&world, "show\nstep").ok().out;
    assert!(there.ends_with(&straight), "{there}\n{straight}");
}

#[test]
fn a_replay_to_what_is_away_is_refused_and_says_what_to_do() {
    let (world, first) = away();
    for target in [1, 3, first - 2] {
        let refused = journal(&world, &["replay", "node", "--to", &target.to_string()])
            .refused(1, "RECORDS_NOT_HERE");
        assert!(
            refused.err.contains("put the archives back"),
            "{refused:#?}"
        );
        assert_eq!(refused.out, "", "nothing was replayed");
        script(&world, &format!("goto end\ngoto {target}")).refused(1, "RECORDS_NOT_HERE");
    }
    script(&world, "goto 1999-01-01").refused(1, "RECORDS_NOT_HERE");
    // With no state that stands in for what left there is nothing to begin with.
    for entry in std::fs::read_dir(world.path("node/journal")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "checkpoint") {
            std::fs::remove_file(path).unwrap();
        }
    }
    for args in [
        &["replay", "node"][..],
        &["replay", "node", "--to", "100"],
        &["replay", "node", "--script", "commands"],
    ] {
        let refused = journal(&world, args).refused(1, "RECORDS_NOT_HERE");
        assert_eq!(refused.out, "", "nothing was replayed");
    }
}

#[test]
fn a_dry_run_foretells_what_an_opening_does_about_archiving_that_was_cut_short() {
    let world = World::new();
    world.shop(200_000, None);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    let over = journal(&world, &["recover", "--dry-run", "node"]).ok();
    let leave = "stay in SHOW, but where the folder is opened with --keep-finished";
    assert!(over.out.contains(leave), "{over:#?}");
    let before = common::files(&world.path("node/journal"));
    journal(&world, &["archive", "node", "--older-than", "0s"]).ok();
    let calm = journal(&world, &["recover", "--dry-run", "node"]).ok();
    assert!(calm.out.contains("clean: nothing to mend"), "{calm:#?}");
    // A kill behind the anchor leaves the segments; one before it, an archive that was being made.
    for (name, content) in before.iter().filter(|(name, _)| name.ends_with(".log")) {
        world.file(&format!("node/journal/{name}"), content);
    }
    world.file("node/journal/archive/0.archive.new", "half");
    let folder = common::files(&world.path("node"));
    let said = journal(&world, &["recover", "--dry-run", "node"]).ok();
    assert!(
        folder == common::files(&world.path("node")),
        "a dry run changed the folder"
    );
    for part in [
        "clean: nothing to cut",
        "archive unfinished: 1 segment that archive/00000000000000000001-",
        " holds will be removed",
        "archive undone: archive/0.archive.new will be removed",
    ] {
        assert!(said.out.contains(part), "{part}: {said:#?}");
    }
    let json = journal(
        &world,
        &["recover", "--dry-run", "node", "--format", "json"],
    )
    .ok();
    let json: Value = serde_json::from_str(&json.out).unwrap();
    let cases = json["journal"]["cases"].as_array().unwrap();
    let mended = cases.iter().filter(|case| case["answer"] == "MendArchive");
    assert_eq!(mended.count(), 2, "{json}");
    world.sql("SHOW BACKENDS").ok();
    assert!(!world.path("node/journal/00000000000000000001.log").exists());
    assert!(!world.path("node/journal/archive/0.archive.new").exists());
    let calm = journal(&world, &["recover", "--dry-run", "node"]).ok();
    assert!(calm.out.contains("clean: nothing to mend"), "{calm:#?}");
}

#[test]
fn a_storage_older_than_what_only_the_archives_saw_is_a_finding() {
    let world = World::new();
    world.shop(100_000, None);
    let old = common::files(&world.path("node/storage"));
    for table in ["a", "b", "c"] {
        world.load(&format!("shop.{table}"), "src").ok();
    }
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    journal(&world, &["archive", "node", "--older-than", "0s"]).ok();
    std::fs::rename(world.path("node/journal/archive"), world.path("away")).unwrap();
    let dump = journal(&world, &["dump", "node"]).ok();
    assert!(!dump.out.contains("EngineStarted"), "{dump:#?}");
    journal(&world, &["verify", "node"]).ok();
    std::fs::remove_dir_all(world.path("node/storage")).unwrap();
    for (name, content) in &old {
        world.file(&format!("node/storage/{name}"), content);
    }
    let verify = journal(&world, &["verify", "node"]).refused(4, "JOURNAL_DAMAGED");
    assert!(
        verify.out.starts_with("catalog: ends at ") && verify.out.contains("has seen it at"),
        "{verify:#?}"
    );
}

#[test]
fn names_that_only_a_state_knows_are_replaced_too() {
    let world = World::new();
    world.shop(20_000, None);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    journal(&world, &["archive", "node", "--older-than", "0s"]).ok();
    std::fs::rename(world.path("node/journal/archive"), world.path("away")).unwrap();
    // The repository was created in what is away; the words of this failure name its place.
    world
        .sql_on("node", "BACKUP SNAPSHOT shop.tuesday TO r", &["--no-wait"])
        .ok();
    std::fs::rename(world.path("repo"), world.path("gone")).unwrap();
    let mut node = world.start(&["sql", "--data-dir", "node", "-e", "SHOW BACKENDS"]);
    common::until("a task has failed and said where", || {
        let dump = journal(&world, &["dump", "node", "--kind", "TaskFailed"]);
        dump.out.contains("/repo")
    });
    node.kill().unwrap();
    node.wait().unwrap();
    journal(&world, &["export", "node", "--to", "hidden", "--anonymize"]).ok();
    let failed = journal(&world, &["dump", "hidden", "--kind", "TaskFailed"]).ok();
    assert!(failed.out.contains("location-1"), "{failed:#?}");
}

#[test]
fn what_is_at_hand_of_a_journal_without_its_archives_goes_into_one_file() {
    let (world, first) = away();
    for (file, more) in [("plain", None), ("hidden", Some("--anonymize"))] {
        let mut args = vec!["export", "node", "--to", file];
        args.extend(more);
        let exported = journal(&world, &args).ok();
        let begins = format!("it begins with sequence {first}: the records before are not here");
        assert!(exported.err.contains(&begins), "{exported:#?}");
        assert_eq!(seqs(&world, file), seqs(&world, "node"));
        let verify = journal(&world, &["verify", file]).ok();
        assert!(verify.err.contains("links proved"), "{verify:#?}");
        journal(&world, &["state", file]).refused(1, "RECORDS_NOT_HERE");
        journal(&world, &["replay", file, "--to", "9999"]).refused(1, "RECORDS_NOT_HERE");
    }
    let dump = |source| journal(&world, &["dump", source]).ok().out;
    assert_eq!(
        dump("plain"),
        dump("node"),
        "no record at hand held what may not leave"
    );
    // The job whose records are all at hand is told from the file as from the folder.
    let parse = |line| serde_json::from_str::<Value>(line).unwrap();
    let json = journal(&world, &["dump", "node", "--format", "json"]).ok();
    let mut records = json.out.lines().map(parse);
    let submitted = records.find(|record| record["kind"] == "BackupSubmitted");
    let job = submitted.unwrap()["job"].to_string();
    let explain = |source| journal(&world, &["explain", source, &job]).ok().out;
    assert_eq!(explain("plain"), explain("node"));
}
