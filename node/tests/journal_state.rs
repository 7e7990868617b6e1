//! `journal state`, `diff` and `verify`: what stood when, what changed, and whether it is so.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use common::World;
use common::journal::{dumped, journal, lived, objects, shown};
use serde_json::Value;

#[test]
fn verify_finds_a_checkpoint_that_is_not_what_the_events_make() {
    let world = lived();
    let verify = journal(&world, &["verify", "node"]).ok();
    assert!(verify.err.contains("agrees with the events"), "{verify:#?}");
    let folder = world.path("node/journal");
    let checkpoint = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension() == Some("checkpoint".as_ref()))
        .max()
        .unwrap();
    let whole = std::fs::read(&checkpoint).unwrap();
    // Whole, sealed and in agreement with the log, but of another state.
    let mut changed = whole.clone();
    let at = changed.windows(6).position(|w| w == b"monday").unwrap();
    changed[at..at + 6].copy_from_slice(b"sunday");
    let own = *blake3::Hasher::new()
        .update(&changed[..64])
        .update(&changed[96..])
        .finalize()
        .as_bytes();
    changed[64..96].copy_from_slice(&own);
    std::fs::write(&checkpoint, &changed).unwrap();
    let verify = journal(&world, &["verify", "node"]).refused(4, "JOURNAL_DAMAGED");
    assert!(
        verify.out.contains("checkpoint: ")
            && verify
                .out
                .contains("SnapshotName 'sunday', expected 'monday'"),
        "{verify:#?}"
    );
    let json = journal(&world, &["verify", "node", "--format", "json"]);
    assert_eq!(objects(&json.out)[0]["part"], "checkpoint");
    let mut flipped = whole;
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    std::fs::write(&checkpoint, &flipped).unwrap();
    let verify = journal(&world, &["verify", "node"]).refused(4, "JOURNAL_DAMAGED");
    assert!(verify.out.contains("its hash disagrees"), "{verify:#?}");
}

#[test]
fn the_state_shows_all_views_at_a_sequence_and_at_its_time() {
    let world = lived();
    let all = dumped(&world, "node", &[]);
    let sets = |at: &str| {
        let args = ["state", "node", "--format", "json", "--at", at];
        journal(&world, &args).ok().sets()
    };
    let created = all
        .iter()
        .find(|r| r["kind"] == "RepositoryCreated")
        .unwrap();
    let seq = created["seq"].as_u64().unwrap();
    assert!(sets(&(seq - 1).to_string())[2].is_empty());
    assert_eq!(sets(&seq.to_string())[2][0]["RepoName"], "r");
    // The last record of a moment stands for the time.
    let last = all
        .iter()
        .rev()
        .find(|r| r["at_ms"] == all[all.len() / 2]["at_ms"])
        .unwrap();
    let by_time = sets(last["time"].as_str().unwrap());
    assert_eq!(by_time, sets(&last["seq"].to_string()));
    assert_eq!(sets(&all.len().to_string())[1][0]["State"], "FINISHED");
    journal(&world, &["state", "node", "--at", "99999"]).refused(1, "SEQUENCE_NOT_FOUND");
}

#[test]
fn a_diff_tells_what_changed_between_two_points_and_adds_up() {
    let world = lived();
    let all = dumped(&world, "node", &[]);
    let end = all.len().to_string();
    let diff = |a: &str, b: &str| {
        let args = ["diff", "node", a, b, "--format", "json"];
        objects(&journal(&world, &args).ok().out)
    };
    let of = |changes: &[Value], change: &str| -> Vec<Value> {
        let found = changes.iter().filter(|c| c["change"] == change);
        found.cloned().collect()
    };
    let whole = diff("0", &end);
    assert_eq!(whole[0]["records"], all.len());
    assert_eq!(of(&whole, "job_new").len(), 2);
    assert_eq!(of(&whole, "repository_made")[0]["repository"], "r");
    let ended: Vec<Value> = of(&whole, "job_ended");
    assert!(ended.iter().all(|e| e["state"] == "FINISHED") && ended.len() == 2);
    let openings = all.iter().filter(|r| r["kind"] == "EngineStarted").count();
    assert_eq!(of(&whole, "opening").len(), openings);
    let moves: Vec<Value> = of(&whole, "state");
    let states: Vec<&str> = moves.iter().filter_map(|m| m["to"].as_str()).collect();
    assert_eq!(
        states[..7],
        [
            "PENDING",
            "SNAPSHOTING",
            "UPLOAD_SNAPSHOT",
            "UPLOADING",
            "SAVE_META",
            "UPLOAD_INFO",
            "FINISHED"
        ]
    );
    // Any cut adds up to the whole.
    let sum = |changes: &[Value], change: &str, member: &str| -> u64 {
        let found = of(changes, change);
        found.iter().filter_map(|c| c[member].as_u64()).sum()
    };
    for cut in [1, all.len() / 3, all.len() / 2, all.len() - 1] {
        let cut = cut.to_string();
        let (first, second) = (diff("0", &cut), diff(&cut, &end));
        for (change, member) in [
            ("tasks", "started"),
            ("tasks", "finished"),
            ("bytes", "moved"),
            ("bytes", "reused"),
            ("span", "records"),
        ] {
            assert_eq!(
                sum(&first, change, member) + sum(&second, change, member),
                sum(&whole, change, member),
                "{change} {member} cut at {cut}"
            );
        }
        let moved = of(&first, "state").len() + of(&second, "state").len();
        assert_eq!(moved, moves.len());
    }
    assert_eq!(diff(&end, &end).len(), 1);
}

#[test]
fn a_diff_in_words_takes_times_and_refuses_what_is_no_pair_of_points() {
    let world = lived();
    let end = dumped(&world, "node", &[]).len().to_string();
    let words = journal(&world, &["diff", "node", "0", &end]).ok().out;
    assert!(
        words.contains("new and ended") && words.contains("repository 'r' made"),
        "{words}"
    );
    let option = ["diff", "--data-dir", "node", "0", "2999-01-01"];
    assert_eq!(journal(&world, &option).ok().out, words);
    for wrong in [
        &["diff", "node", "3"][..],
        &["diff", "node", "5", "3"],
        &["diff", "node", "noon", "3"],
        &["diff", "--data-dir", "node", "1", "2", "3"],
    ] {
        assert_eq!(journal(&world, wrong).code, 2, "{wrong:?}");
    }
    journal(&world, &["diff", "node", "1", "99999"]).refused(1, "SEQUENCE_NOT_FOUND");
}

#[test]
fn a_diff_tells_of_errors_that_came_and_went() {
    let world = World::new();
    world.shop(3_000, Some(1_000));
    world
        .sql_on("node", "BACKUP SNAPSHOT shop.monday TO r", &["--no-wait"])
        .ok();
    let here = world.path("repo");
    let away = world.path("away");
    std::fs::rename(&here, &away).unwrap();
    std::fs::create_dir(&here).unwrap();
    let mut node = world.start(&["sql", "--data-dir", "node", "-e", "SHOW BACKENDS"]);
    let seen = |kind: &str| dumped(&world, "node", &["--kind", kind]);
    common::until("a task fails", || !seen("TaskFailed").is_empty());
    let failed = seen("TaskFailed")[0]["seq"].to_string();
    std::fs::remove_dir_all(&here).unwrap();
    std::fs::rename(&away, &here).unwrap();
    assert!(node.wait().unwrap().success());
    let errors = |a: &str, b: &str| -> Vec<Value> {
        let args = ["diff", "node", a, b, "--format", "json"];
        let all = objects(&journal(&world, &args).ok().out);
        all.into_iter().filter(|c| c["change"] == "error").collect()
    };
    let came = &errors("0", &failed)[0];
    assert_eq!(
        (&came["before"], &came["after"]),
        (&Value::from(false), &Value::from(true))
    );
    let went = &errors(&failed, "2999-01-01")[0];
    assert_eq!(
        (&went["before"], &went["after"]),
        (&Value::from(true), &Value::from(false))
    );
    let both = &errors("0", "2999-01-01")[0];
    assert_eq!(
        (&both["before"], &both["after"]),
        (&Value::from(false), &Value::from(false))
    );
}

#[test]
fn every_tool_works_beside_the_process_that_has_the_folder() {
    let world = lived();
    // Counted before the process is there: it may open the folder before a count ends.
    let openings = || dumped(&world, "node", &["--kind", "EngineStarted"]).len();
    let count = openings();
    let mut node = world
        .command()
        .args(["sql", "--data-dir", "node"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    common::until("the folder is opened", || openings() > count);
    common::until("it is at rest", || {
        let one = dumped(&world, "node", &[]);
        std::thread::sleep(std::time::Duration::from_millis(300));
        one == dumped(&world, "node", &[])
    });
    let expected = shown(&world, "node");
    let diff = journal(&world, &["diff", "node", "0", "2999-01-01"]).ok();
    let tail = journal(&world, &["tail", "node"]).ok();
    journal(&world, &["export", "node", "--to", "file"]).ok();
    assert_eq!(shown(&world, "file"), expected);
    assert_eq!(
        journal(&world, &["diff", "file", "0", "2999-01-01"])
            .ok()
            .out,
        diff.out
    );
    assert_eq!(journal(&world, &["tail", "file"]).ok().out, tail.out);
    assert!(
        node.try_wait().unwrap().is_none(),
        "the process is still there"
    );
    drop(node.stdin.take());
    assert!(node.wait().unwrap().success());
}

#[test]
fn a_damaged_folder_is_told_to_its_damage_and_nothing_is_promised_behind_it() {
    let world = World::new();
    world.shop(200_000, Some(20_000));
    world
        .sql_on("node", "BACKUP SNAPSHOT shop.monday TO r", &["--no-wait"])
        .ok();
    let job = dumped(&world, "node", &["--kind", "BackupSubmitted"])[0]["job"].to_string();
    let promise = "the next opening goes on with job";
    let whole = journal(&world, &["explain", "node", &job]).ok();
    assert!(whole.err.contains(promise), "{whole:#?}");
    // The last opening is what is lost; the job is recorded before it.
    world.sql_on("node", "SHOW BACKENDS", &["--no-wait"]).ok();
    let log = world.path("node/journal/00000000000000000001.log");
    let mut bytes = std::fs::read(&log).unwrap();
    let last = bytes.len() - 8;
    bytes[last] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    let hurt = journal(&world, &["explain", "node", &job]).refused(4, "JOURNAL_DAMAGED");
    assert!(!hurt.err.contains(promise), "{hurt:#?}");
    for args in [
        &["state", "node", "--at", "9999"][..],
        &["replay", "node", "--to", "9999"],
        &["diff", "node", "0", "9999"],
    ] {
        let ended = journal(&world, args).refused(4, "SEQUENCE_NOT_FOUND");
        assert!(ended.err.contains("put the folder back"), "{ended:#?}");
    }
}

#[test]
fn where_there_is_no_journal_it_is_said_what_would_be_one() {
    let world = World::new();
    world.sql("SHOW BACKENDS").ok();
    std::fs::create_dir(world.path("empty")).unwrap();
    for place in ["empty", "absent", "node/storage", "/dev/null"] {
        for command in ["dump", "verify", "state", "tail"] {
            let ended = journal(&world, &[command, place]).refused(1, "JOURNAL_NOT_FOUND");
            assert!(ended.err.contains(&format!("'{place}'")), "{ended:#?}");
            assert!(ended.err.contains("expected a data folder"), "{ended:#?}");
        }
    }
    journal(&world, &["dump", "node/storage/catalog"]).refused(1, "JOURNAL_FOREIGN");
}
