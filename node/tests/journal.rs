//! `journal`: what each command shows of a live folder, a dead one, a copy and an exported file.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use common::{Ended, World};
use serde_json::Value;

/// A data folder with a backup, a restore and a cancelled backup.
fn lived() -> World {
    let world = World::new();
    world.shop(200_000, None);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    let timestamp = world.timestamp("monday");
    world
        .sql(&format!(
            "RESTORE SNAPSHOT shop.monday FROM r PROPERTIES ('backup_timestamp' = '{timestamp}')"
        ))
        .ok();
    world
}

fn journal(world: &World, args: &[&str]) -> Ended {
    world.run(&[&["journal"], args].concat())
}

fn objects(text: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    text.lines().map(parse).collect()
}

fn dumped(world: &World, source: &str, more: &[&str]) -> Vec<Value> {
    let args = [&["dump", source, "--format", "json"], more].concat();
    objects(&journal(world, &args).ok().out)
}

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

/// What each tool prints of a source, stdout alone.
fn shown(world: &World, source: &str) -> Vec<String> {
    let all = dumped(world, source, &[]);
    let job = all.iter().find_map(|r| r["job"].as_u64()).unwrap();
    let job = job.to_string();
    let middle = (all.len() / 2).to_string();
    [
        &["dump", source, "--job", &job, "--format", "csv"][..],
        &["state", source],
        &["state", source, "--format", "json", "--at", &middle],
        &["explain", source, &job],
        &["verify", source],
    ]
    .iter()
    .map(|args| journal(world, args).ok().out)
    .collect()
}

fn copied(world: &World, from: &str, to: &str) {
    for (name, content) in common::files(&world.path(from)) {
        world.file(&format!("{to}/{name}"), content);
    }
}

#[test]
fn an_exported_file_reads_like_the_folder_and_a_copy_of_it() {
    let world = lived();
    let exported = journal(&world, &["export", "node", "--to", "file"]).ok();
    assert!(exported.err.contains("seal "), "{exported:#?}");
    copied(&world, "node", "copy");
    copied(&world, "node/journal", "bare");
    let before = common::files(&world.path("node"));
    let expected = shown(&world, "node");
    for source in ["copy", "bare", "file"] {
        assert_eq!(shown(&world, source), expected, "{source}");
    }
    assert!(before == common::files(&world.path("node")));
    let verify = journal(&world, &["verify", "file"]).ok();
    let seal = exported.err.trim().rsplit(' ').next().unwrap();
    assert!(verify.err.contains(seal), "{verify:#?}");
    assert!(verify.err.contains("1 taken as recorded"), "{verify:#?}");
    journal(&world, &["recover", "--dry-run", "file"]).ok();
}

#[test]
fn an_export_holds_no_secret_and_an_anonymous_one_no_name() {
    let world = World::new();
    world.file("src/a", "a");
    world.load("shop.orders", "src").ok();
    let location = format!("file://{}", world.path("vault?sas=hush").display());
    world
        .sql(&format!(
            "CREATE REPOSITORY attic WITH BROKER ON LOCATION '{location}'; \
             BACKUP SNAPSHOT shop.monday TO attic"
        ))
        .ok();
    journal(&world, &["export", "node", "--to", "plain"]).ok();
    journal(&world, &["export", "node", "--to", "hidden", "--anonymize"]).ok();
    // An export of an export: what is out stays out.
    journal(&world, &["export", "plain", "--to", "again", "--anonymize"]).ok();
    let raw = |source: &str| -> String {
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
    };
    let plain = raw("plain");
    assert!(plain.contains("monday") && plain.contains("orders"));
    for file in ["plain", "hidden", "again"] {
        assert!(!raw(file).contains("hush"), "{file}");
        journal(&world, &["verify", file]).ok();
    }
    for file in ["hidden", "again"] {
        let held = raw(file);
        for name in ["monday", "orders", "shop", "attic", "vault"] {
            assert!(!held.contains(name), "{file} holds {name}");
        }
        let dump = journal(&world, &["dump", file]).ok().out;
        assert!(
            dump.contains("label-1") && dump.contains("database-1"),
            "{dump}"
        );
    }
    assert_eq!(
        journal(&world, &["dump", "hidden"]).ok().out,
        journal(&world, &["dump", "again"]).ok().out
    );
    let created = &dumped(&world, "plain", &["--kind", "RepositoryCreated"])[0];
    assert_eq!(created["fields"]["properties"], "0 sealed bytes");
}

#[test]
fn damage_of_an_exported_file_is_named_wherever_it_is() {
    let world = lived();
    journal(&world, &["export", "node", "--to", "file"]).ok();
    let whole = std::fs::read(world.path("file")).unwrap();
    for at in (8..whole.len()).step_by(61).chain([whole.len() - 1]) {
        if (8..10).contains(&at) {
            continue;
        }
        let mut changed = whole.clone();
        changed[at] ^= 1;
        world.file("hurt", &changed);
        let verify = journal(&world, &["verify", "hurt"]).refused(4, "JOURNAL_DAMAGED");
        assert!(verify.out.contains("'hurt'"), "byte {at}: {verify:#?}");
        world.file("hurt", &whole[..at]);
        let verify = journal(&world, &["verify", "hurt"]).refused(4, "JOURNAL_DAMAGED");
        assert!(!verify.out.is_empty(), "cut at {at}: {verify:#?}");
    }
    let longer = [&whole[..], b"x"].concat();
    world.file("hurt", longer);
    let verify = journal(&world, &["verify", "hurt"]).refused(4, "JOURNAL_DAMAGED");
    assert!(verify.out.contains("bytes follow the end"), "{verify:#?}");
    // What is whole is shown all the same.
    world.file("hurt", &whole[..whole.len() - 1]);
    let dump = journal(&world, &["dump", "hurt"]).refused(4, "JOURNAL_DAMAGED");
    assert!(dump.out.contains("RestoreFinished"), "{dump:#?}");
}

#[test]
fn an_export_says_why_it_is_not_made_and_what_is_no_export() {
    let world = World::new();
    world.sql("SHOW BACKENDS").ok();
    world.file("there", "mine");
    journal(&world, &["export", "node", "--to", "there"]).refused(1, "FILE_EXISTS");
    assert_eq!(std::fs::read(world.path("there")).unwrap(), b"mine");
    journal(&world, &["export", "node", "--to", "no/such/place"]).refused(1, "IO_ERROR");
    journal(&world, &["export", "absent", "--to", "x"]).refused(1, "JOURNAL_NOT_FOUND");
    assert!(!world.path("x").exists());
    for args in [
        &["dump", "there"][..],
        &["verify", "there"],
        &["state", "there"],
    ] {
        let ended = journal(&world, args).refused(1, "JOURNAL_NOT_FOUND");
        assert!(ended.err.contains("no exported journal"), "{ended:#?}");
    }
    assert_eq!(journal(&world, &["export", "node"]).code, 2);
}

#[test]
fn an_export_of_a_damaged_journal_has_what_is_whole_and_says_so() {
    let world = lived();
    let log = world.path("node/journal/00000000000000000001.log");
    let mut bytes = std::fs::read(&log).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    journal(&world, &["export", "node", "--to", "file"]).refused(4, "JOURNAL_DAMAGED");
    // Behind the repository, whose properties are left out.
    let dump = |source| journal(&world, &["dump", source, "--from", "3"]);
    let folder = dump("node").refused(4, "JOURNAL_DAMAGED");
    let file = dump("file").refused(4, "JOURNAL_DAMAGED");
    assert!(!file.out.is_empty());
    assert_eq!(folder.out, file.out);
    let verify = journal(&world, &["verify", "file"]).refused(4, "JOURNAL_DAMAGED");
    assert!(verify.out.contains("went no further"), "{verify:#?}");
}

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
    let mut node = world
        .command()
        .args(["sql", "--data-dir", "node"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let opened = dumped(&world, "node", &[]).len();
    common::until("the folder is opened", || {
        dumped(&world, "node", &[]).len() > opened || world.path("node/lock").exists()
    });
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

/// A `tail -f` whose lines come through a channel.
struct Tail {
    child: std::process::Child,
    lines: std::sync::mpsc::Receiver<String>,
}

impl Tail {
    fn start(world: &World, more: &[&str]) -> Self {
        use std::io::BufRead;
        let mut child = world
            .command()
            .args(["journal", "tail", "-f", "node"])
            .args(more)
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let out = std::io::BufReader::new(child.stdout.take().unwrap());
        let (send, lines) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            for line in out.lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    break;
                }
            }
        });
        Self { child, lines }
    }

    fn next(&self) -> Value {
        let line = self.lines.recv_timeout(std::time::Duration::from_secs(30));
        serde_json::from_str(&line.expect("a line within 30 s")).unwrap()
    }
}

#[test]
fn tail_shows_the_last_records_that_agree() {
    let world = lived();
    let all = dumped(&world, "node", &[]);
    let tail = |more: &[&str]| {
        let args = [&["tail", "node", "--format", "json"], more].concat();
        objects(&journal(&world, &args).ok().out)
    };
    assert_eq!(tail(&[]), all[all.len() - 10..]);
    assert_eq!(tail(&["-n", "3"]), all[all.len() - 3..]);
    assert_eq!(tail(&["-n", "99999"]), all);
    assert_eq!(tail(&["-n", "0"]), [] as [Value; 0]);
    let finished = dumped(&world, "node", &["--kind", "TaskFinished"]);
    assert_eq!(
        tail(&["-n", "2", "--kind", "TaskFinished"]),
        finished[finished.len() - 2..]
    );
    journal(&world, &["export", "node", "--to", "file"]).ok();
    let file = journal(&world, &["tail", "file", "-n", "3", "--format", "json"]).ok();
    assert_eq!(objects(&file.out), all[all.len() - 3..]);
    journal(&world, &["tail", "-f", "file"]).refused(1, "NOT_A_FOLDER");
    journal(&world, &["tail", "absent"]).refused(1, "JOURNAL_NOT_FOUND");
}

#[test]
fn tail_follows_a_running_process_over_its_end_and_the_next_openings() {
    let world = World::new();
    world.shop(200_000, None);
    let before = dumped(&world, "node", &[]).len();
    let mut tail = Tail::start(&world, &["-n", "2", "--format", "json"]);
    let mut seen = vec![tail.next(), tail.next()];
    assert_eq!(seen[1]["seq"], before);
    // Two openings that end, and one that is killed.
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    world.sql("BACKUP SNAPSHOT shop.tuesday TO r").ok();
    let mut killed = world
        .command()
        .args(["sql", "--data-dir", "node"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let openings = || dumped(&world, "node", &["--kind", "EngineStarted"]).len();
    let count = openings();
    common::until("the folder is opened", || openings() > count);
    killed.kill().unwrap();
    killed.wait().unwrap();
    world.sql("SHOW BACKENDS").ok();
    let all = dumped(&world, "node", &[]);
    while seen.last().unwrap()["seq"].as_u64().unwrap() < all.len() as u64 {
        seen.push(tail.next());
    }
    assert_eq!(seen, all[before - 2..]);
    let pid = tail.child.id().to_string();
    let signalled = std::process::Command::new("kill")
        .args(["-INT", &pid])
        .status();
    assert!(signalled.unwrap().success());
    assert_eq!(tail.child.wait().unwrap().code(), Some(130));
}

#[test]
fn tail_ends_when_nobody_reads_and_with_the_record_asked_for() {
    let world = World::new();
    world.sql("SHOW BACKENDS").ok();
    let end = dumped(&world, "node", &[]).len();
    let mut piped = world
        .command()
        .args(["journal", "tail", "-f", "node"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(piped.stdout.take());
    assert_eq!(piped.wait().unwrap().code(), Some(0));
    let to = (end + 1).to_string();
    let mut tail = Tail::start(&world, &["-n", "1", "--to", &to, "--format", "json"]);
    // What it shows first says that it has looked: the record asked for is not there yet.
    assert_eq!(tail.next()["seq"], end);
    world.sql("SHOW BACKENDS").ok();
    assert_eq!(tail.next()["seq"], end + 1);
    assert_eq!(tail.child.wait().unwrap().code(), Some(0));
}

#[test]
fn tail_tells_when_another_journal_takes_the_place_of_the_one_it_follows() {
    let world = World::new();
    world.sql("SHOW BACKENDS; SHOW BACKENDS").ok();
    world.sql("SHOW BACKENDS").ok();
    let mut child = world
        .command()
        .args([
            "journal", "tail", "-f", "node", "-n", "1", "--format", "json",
        ])
        .stdout(std::process::Stdio::piped())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut first).unwrap();
    world.sql_on("other", "SHOW BACKENDS", &[]).ok();
    world.sql_on("other", "SHOW BACKENDS", &[]).ok();
    world.sql_on("other", "SHOW BACKENDS", &[]).ok();
    std::fs::rename(world.path("node"), world.path("gone")).unwrap();
    std::fs::rename(world.path("other"), world.path("node")).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    let err = String::from_utf8(output.stderr).unwrap();
    assert!(
        err.contains("[JOURNAL_REPLACED]") || err.contains("[JOURNAL_NOT_FOUND]"),
        "{err}"
    );
}

#[test]
fn archiving_moves_ended_jobs_and_their_events_and_the_tools_read_both_as_one() {
    let world = lived();
    let all = dumped(&world, "node", &[]);
    let dry = journal(
        &world,
        &["archive", "node", "--older-than", "0s", "--dry-run"],
    )
    .ok();
    assert!(dry.out.contains("2 jobs"), "{}", dry.out);
    assert_eq!(
        dumped(&world, "node", &[]),
        all,
        "a dry run changes nothing"
    );
    let none = journal(&world, &["archive", "node", "--older-than", "1d"]).ok();
    assert!(none.out.contains("no job ended before"), "{}", none.out);
    assert_eq!(dumped(&world, "node", &[]), all);

    let done = journal(&world, &["archive", "node", "--older-than", "0s"]).ok();
    assert!(done.out.contains("2 jobs"), "{}", done.out);
    let moved = format!("{} events (1 to {})", all.len(), all.len());
    assert!(done.out.contains(&moved), "{}", done.out);
    let after = dumped(&world, "node", &[]);
    assert_eq!(after[..all.len()], all[..], "the archive is read first");
    assert_eq!(after[all.len()]["kind"], "HistoryArchived");
    assert!(
        !world
            .sql("SHOW BACKUP FROM shop")
            .ok()
            .out
            .contains("monday")
    );
    journal(&world, &["verify", "node"]).ok();
    // The label is still taken, and a new backup runs.
    world.sql("BACKUP SNAPSHOT shop.tuesday TO r").ok();

    let folder = world.path("node/journal/archive");
    std::fs::rename(&folder, world.path("away")).unwrap();
    let told = journal(&world, &["dump", "node", "--format", "json"]).ok();
    assert!(told.err.contains("records before sequence"), "{}", told.err);
    assert!(objects(&told.out).len() > 1);
    journal(&world, &["state", "node"]).ok();
    world.sql("SHOW BACKUP FROM shop").ok();
}

#[test]
fn archiving_is_refused_while_a_process_has_the_folder_open_and_without_an_age() {
    let world = lived();
    let held = std::fs::File::open(world.path("node/lock")).unwrap();
    held.lock().unwrap();
    journal(&world, &["archive", "node", "--older-than", "0s"]).refused(3, "FOLDER_IN_USE");
    drop(held);
    let usage = journal(&world, &["archive", "node"]);
    assert_eq!(usage.code, 2, "{}", usage.err);
}

/// Moves the whole log of data folder `node` into an archive.
fn archive(world: &World) {
    use holdfast_engine::Event;
    use holdfast_journal::{ArchiveRequest, FileJournal, Journal, Options};
    let folder = world.path("node/journal");
    let (journal, _) = FileJournal::<Event>::open(folder, Options::default()).unwrap();
    let before = journal.position().0.next();
    journal.roll().unwrap();
    let request = ArchiveRequest {
        before,
        projection: holdfast_engine::Replay::CHECKPOINTS,
        description: b"{}",
        at_ms: 0,
    };
    journal.archive(&request).unwrap().expect("an archive");
}

#[test]
fn archived_records_are_read_before_those_of_the_log() {
    let world = lived();
    let expected = shown(&world, "node");
    let all = dumped(&world, "node", &[]);
    archive(&world);
    assert_eq!(shown(&world, "node"), expected);
    // The log goes on behind the archive.
    world.sql("BACKUP SNAPSHOT shop.tuesday TO r").ok();
    let more = dumped(&world, "node", &[]);
    assert_eq!(more[..all.len()], all);
    assert!(more.len() > all.len());
    let tail = journal(&world, &["tail", "node", "-n", "99999", "--format", "json"]).ok();
    assert_eq!(objects(&tail.out), more);
    journal(&world, &["export", "node", "--to", "file"]).ok();
    assert_eq!(shown(&world, "file"), shown(&world, "node"));
    let verify = journal(&world, &["verify", "file"]).ok();
    assert!(verify.err.contains("1 taken as recorded"), "{verify:#?}");
    let words = |source| {
        journal(&world, &["diff", source, "0", "2999-01-01"])
            .ok()
            .out
    };
    assert_eq!(words("file"), words("node"));
}

#[test]
fn without_its_archives_a_journal_is_told_from_its_oldest_checkpoint_on() {
    let world = lived();
    let end = dumped(&world, "node", &[]).len();
    let state = journal(&world, &["state", "node"]).ok().out;
    archive(&world);
    world.sql("SHOW BACKENDS").ok();
    let archives = world.path("node/journal/archive");
    let file = std::fs::read_dir(&archives)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let away = world.path("away");
    std::fs::rename(file.path(), &away).unwrap();
    let dump = journal(&world, &["dump", "node", "--format", "json"]).ok();
    assert_eq!(objects(&dump.out)[0]["seq"], end + 1);
    assert!(
        dump.err
            .contains(&format!("before sequence {} are not here", end + 1)),
        "{dump:#?}"
    );
    assert_eq!(journal(&world, &["state", "node"]).ok().out, state);
    let verify = journal(&world, &["verify", "node"]).ok();
    assert!(
        verify.err.contains("checked from the checkpoint"),
        "{verify:#?}"
    );
    journal(&world, &["state", "node", "--at", "3"]).refused(1, "RECORDS_NOT_HERE");
    journal(&world, &["export", "node", "--to", "file"]).refused(1, "RECORDS_NOT_HERE");
    assert!(!world.path("file").exists());
    // A damaged archive is a finding.
    let mut bytes = std::fs::read(&away).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file.path(), bytes).unwrap();
    let verify = journal(&world, &["verify", "node"]).refused(4, "JOURNAL_DAMAGED");
    assert!(
        verify.out.contains("archive: ") || verify.out.contains("journal: "),
        "{verify:#?}"
    );
}

#[test]
fn an_exported_file_of_format_1_is_read_for_ever() {
    let world = World::new();
    let golden = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/format-1.hfexport"
    );
    let verify = journal(&world, &["verify", golden]).ok();
    for proved in [
        "184 links proved; 8 taken as recorded",
        "chain hash d17097186af6efc1c26edf48180da55b237a175354014c80da727506614c46de",
        "seal: 0be55d5e338e18145447559e6831650bd459c07d366e60a364f1f00df85159ee",
    ] {
        assert!(verify.err.contains(proved), "{proved}: {verify:#?}");
    }
    let dump = dumped(&world, golden, &[]);
    assert_eq!(dump.len(), 192);
    let fields: Vec<&Value> = dump.iter().map(|record| &record["fields"]).collect();
    let whole = blake3::hash(serde_json::to_string(&fields).unwrap().as_bytes());
    assert_eq!(
        whole.to_hex().as_str(),
        "64383ca1e09750d8dc58004f1a093059e2e1e0cf146456dee57bd92ed1e3ff0c"
    );
    let state = journal(&world, &["state", golden, "--format", "json"])
        .ok()
        .sets();
    assert_eq!((state[0].len(), state[1].len(), state[2].len()), (5, 1, 1));
}
