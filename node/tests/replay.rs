//! `journal replay`: forward, back, and what it says on the way.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use common::{Ended, World, until};

fn backed_up() -> World {
    let world = World::new();
    world.shop(200_000, None);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    world
}

fn script(world: &World, commands: &str) -> Ended {
    let path = world.file("commands", commands);
    let path = path.to_str().unwrap();
    world.run(&["journal", "replay", "node", "--script", path])
}

#[test]
fn it_steps_forward_and_back_and_shows_the_same_each_time() {
    let world = backed_up();
    let commands = "next job\nstep\nback\nevent\nnext state\nshow\njobs\nquit\nnonsense";
    let run = script(&world, commands).ok();
    let lines: Vec<&str> = run.out.lines().collect();
    assert!(lines[0].contains("BackupSubmitted"), "{run:#?}");
    assert!(lines[1].contains("TaskStarted"), "{run:#?}");
    assert_eq!(lines[2], lines[0]);
    assert_eq!(lines[3], lines[0]);
    assert!(lines[4].contains("StateEntered"), "{run:#?}");
    let active = "Backup 'monday' of database 'shop': SNAPSHOTING";
    assert!(run.out.contains(active), "{run:#?}");
    let there = script(&world, "goto 9\nshow\ndue\njobs").ok().out;
    let back = script(&world, "goto end\ngoto 9\nshow\ndue\njobs").ok().out;
    assert!(back.ends_with(&there), "{there}\n{back}");
}

#[test]
fn it_ends_where_the_live_engine_ended_and_decides_the_same() {
    let world = backed_up();
    let state = world.run(&["journal", "state", "node"]).ok().out;
    let run = script(&world, "goto end\nshow\ndue\nfindings").ok();
    assert!(run.out.contains("no finding"), "{run:#?}");
    assert!(run.out.contains("nothing is due"), "{run:#?}");
    let row = state.lines().find(|line| line.contains("monday")).unwrap();
    assert!(run.out.contains(row), "{row}\n{run:#?}");
}

#[test]
fn what_is_due_is_what_comes_next() {
    let world = backed_up();
    let run = script(&world, "next job\ndue\nstep\ndue\nexplain").ok();
    let lines: Vec<&str> = run.out.lines().collect();
    assert!(lines[1].starts_with("due: TaskStarted of job"), "{run:#?}");
    assert!(lines[3].contains("TaskStarted"), "{run:#?}");
    assert!(lines[4].starts_with("next by itself: in "), "{run:#?}");
    assert!(run.out.contains("It is PENDING"), "{run:#?}");
}

#[test]
fn a_killed_run_is_replayed_with_its_restart_and_without_a_finding() {
    let world = World::new();
    world.shop(3_000_000, Some(1_500_000));
    let mut child = world.start(&[
        "sql",
        "--data-dir",
        "node",
        "-e",
        "BACKUP SNAPSHOT shop.big TO r",
    ]);
    until("the upload", || {
        let dump = world.run(&["journal", "dump", "node"]);
        dump.out.contains("\"work\":\"Upload\"")
    });
    child.kill().unwrap();
    child.wait().unwrap();
    world.sql("SHOW BACKENDS").ok();
    let run = script(&world, "goto end\nfindings\nback 5\nnext error").ok();
    assert!(
        run.out.contains("no finding") && run.out.contains("no later error"),
        "{run:#?}"
    );
    let to = world.run(&["journal", "replay", "node", "--to", "12"]).ok();
    assert!(
        to.out.contains("no finding") && to.out.contains("UPLOAD_SNAPSHOT"),
        "{to:#?}"
    );
}

#[test]
fn commands_come_from_stdin_where_it_is_no_terminal() {
    let world = backed_up();
    let run = world.run(&["journal", "replay", "node"]).ok();
    assert_eq!(run.out, "");
    let args = ["journal", "replay", "node", "--script", "-"];
    assert_eq!(world.run(&args).ok().out, "");
}

#[test]
fn wrong_commands_and_places_are_named() {
    let world = backed_up();
    let wrong = script(&world, "step\n\n# comment\njump 3").refused(1, "BAD_COMMAND");
    assert!(
        wrong
            .err
            .contains("line 4: 'jump 3' is no command, expected step"),
        "{wrong:#?}"
    );
    script(&world, "goto 100000").refused(1, "SEQUENCE_NOT_FOUND");
    script(&world, "goto end\nexplain 77").refused(1, "JOB_NOT_FOUND");
    let past = script(&world, "goto end\nstep").ok();
    assert!(past.err.contains("behind the last record"), "{past:#?}");
    let before = script(&world, "step 3\nback 9\nshow").ok();
    assert!(
        before.out.contains("before the first record\nno job"),
        "{before:#?}"
    );
    world
        .run(&["journal", "replay", "node", "--script", "absent"])
        .refused(1, "FILE_UNREADABLE");
    let both = world.run(&["journal", "replay", "node", "--to", "1", "--script", "-"]);
    assert_eq!(both.code, 2, "{both:#?}");
}
