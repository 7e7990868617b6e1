//! `journal explain` and `journal timeline`: what they say of real jobs, and of what is not there.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use common::{World, until};

fn job_of(world: &World, statement: &str) -> String {
    let row = world.sql(statement).ok().row();
    row["JobId"].as_str().unwrap().to_owned()
}

/// Kills a backup while it uploads, and gives its id.
fn killed(world: &World) -> String {
    let run = [
        "sql",
        "--data-dir",
        "node",
        "-e",
        "BACKUP SNAPSHOT shop.big TO r",
    ];
    let mut child = world.start(&run);
    until("the upload", || {
        let dump = world.run(&["journal", "dump", "node"]);
        dump.out.contains("\"work\":\"Upload\"")
    });
    child.kill().unwrap();
    child.wait().unwrap();
    let state = world
        .run(&["journal", "state", "node", "--format", "json"])
        .ok();
    state.sets()[0].last().unwrap()["JobId"]
        .as_str()
        .unwrap()
        .to_owned()
}

#[test]
fn a_finished_job_and_a_cancelled_one_are_explained() {
    let world = World::new();
    world.shop(200_000, Some(400_000));
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    let job = job_of(&world, "SHOW BACKUP FROM shop");
    let words = world.run(&["journal", "explain", "node", &job]).ok();
    for part in [
        "It is FINISHED. It took",
        "UPLOADING",
        "200.0 kB",
        "Clean-up\n",
    ] {
        assert!(words.out.contains(part), "{part}: {words:#?}");
    }
    let json = world
        .run(&[
            "journal",
            "explain",
            "--data-dir",
            "node",
            &job,
            "--format",
            "json",
        ])
        .ok();
    let story: serde_json::Value = serde_json::from_str(&json.out).unwrap();
    assert_eq!(story["state"], "FINISHED");
    assert_eq!(story["works"].as_array().unwrap().len(), 8);
    let cancel = "CANCEL BACKUP FROM shop";
    world.file("src/more", common::noise(4_000_000));
    world.load("shop.more", "src/more").ok();
    let run = format!("BACKUP SNAPSHOT shop.tuesday TO r; {cancel}");
    world.sql_on("node", &run, &["--no-wait"]);
    world.sql("SHOW BACKUP FROM shop");
    let job = job_of(&world, "SHOW BACKUP FROM shop LIKE 'tuesday'");
    let words = world.run(&["journal", "explain", "node", &job]).ok();
    let cancelled = words
        .out
        .contains("It is CANCELLED: a user cancelled it in");
    assert!(cancelled, "{words:#?}");
    let free = "the label 'tuesday' is free again";
    assert!(words.out.contains(free), "{words:#?}");
}

#[test]
fn a_killed_job_is_explained_before_and_after_it_went_on() {
    let world = World::new();
    world.shop(3_000_000, Some(1_500_000));
    let job = killed(&world);
    let words = world.run(&["journal", "explain", "node", &job]).ok();
    assert!(
        words.out.contains("It is UPLOADING and has run for"),
        "{words:#?}"
    );
    assert!(
        words.out.contains("CANCEL BACKUP FROM shop ends it sooner"),
        "{words:#?}"
    );
    assert!(
        words.err.contains("the next opening goes on with job"),
        "{words:#?}"
    );
    world.sql("SHOW BACKENDS").ok();
    let words = world.run(&["journal", "explain", "node", &job]).ok();
    assert!(words.out.contains("It is FINISHED."), "{words:#?}");
    assert!(words.out.contains("\nRestarts\n  opening "), "{words:#?}");
    assert!(words.err.is_empty(), "{words:#?}");
    let earlier = world
        .run(&["journal", "explain", "node", &job, "--at", "8"])
        .ok();
    assert!(!earlier.out.contains("FINISHED"), "{earlier:#?}");
}

#[test]
fn what_cannot_be_explained_is_said() {
    let world = World::new();
    world.sql("SHOW BACKENDS").ok();
    let none = world
        .run(&["journal", "explain", "node", "10002"])
        .refused(1, "JOB_NOT_FOUND");
    assert!(none.err.contains("there is none"), "{none:#?}");
    world.shop(1_000, None);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    let other = world
        .run(&["journal", "explain", "node", "77"])
        .refused(1, "JOB_NOT_FOUND");
    assert!(other.err.contains("the only one is 1"), "{other:#?}");
    for (args, part) in [
        (
            &["journal", "explain", "node", "monday"][..],
            "expected the id of a job",
        ),
        (
            &["journal", "explain", "node"],
            "found 0 operands beside the source",
        ),
        (
            &["journal", "explain", "node", "1", "2"],
            "found 2 operands",
        ),
        (&["journal", "explain"], "SOURCE"),
    ] {
        let ended = world.run(args);
        assert_eq!(ended.code, 2, "{ended:#?}");
        assert!(ended.err.contains(part), "{ended:#?}");
    }
    world
        .run(&["journal", "explain", "absent", "1"])
        .refused(1, "JOURNAL_NOT_FOUND");
}

#[test]
fn a_timeline_is_written_as_a_trace_and_as_a_page() {
    let world = World::new();
    world.shop(200_000, None);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    let job = job_of(&world, "SHOW BACKUP FROM shop");
    let draw = ["journal", "timeline", "node", &job];
    let files = ["--chrome", "job.json", "--html", "job.html"];
    let run = world.run(&[&draw[..], &files].concat()).ok();
    assert!(
        run.out.is_empty() && run.err.contains("job.html: "),
        "{run:#?}"
    );
    let trace = std::fs::read(world.path("job.json")).unwrap();
    let trace: serde_json::Value = serde_json::from_slice(&trace).unwrap();
    assert!(trace["traceEvents"].as_array().unwrap().len() > 20);
    let page = std::fs::read_to_string(world.path("job.html")).unwrap();
    assert!(page.starts_with("<!DOCTYPE html>") && page.contains("&#39;monday&#39;"));
    assert!(
        page.contains("UPLOADING") && page.contains("backend 1"),
        "{page}"
    );
    let stdout = world.run(&[&draw[..], &["--html", "-"]].concat()).ok();
    assert_eq!(stdout.out, page);
    let early = world
        .run(&[&draw[..], &["--at", "5", "--html", "-"]].concat())
        .ok();
    assert!(!early.out.contains("UPLOADING") && early.out.contains("PENDING"));
}

#[test]
fn a_timeline_of_nothing_is_refused() {
    let world = World::new();
    world.sql("SHOW BACKENDS").ok();
    let nothing = world.run(&["journal", "timeline", "node", "10002"]);
    assert_eq!(nothing.code, 2, "{nothing:#?}");
    assert!(
        nothing.err.contains("give --chrome FILE, --html FILE"),
        "{nothing:#?}"
    );
    world
        .run(&["journal", "timeline", "node", "10002", "--html", "x.html"])
        .refused(1, "JOB_NOT_FOUND");
    assert!(!world.path("x.html").exists());
    world.shop(1_000, None);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    let job = job_of(&world, "SHOW BACKUP FROM shop");
    world
        .run(&[
            "journal",
            "timeline",
            "node",
            &job,
            "--html",
            "absent/x.html",
        ])
        .refused(1, "IO_ERROR");
    world
        .run(&["journal", "timeline", "node", &job, "--html", "/dev/full"])
        .refused(1, "DISK_FULL");
}
