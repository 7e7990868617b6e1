//! A journal that nobody has checked may say anything: numbers of any size, ends of tasks that never
//! were. Every tool answers it, and none panics.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use common::World;
use holdfast_engine::Event;
use holdfast_engine::testing::History;
use holdfast_journal::{FileJournal, Journal, Options};

/// Puts `value` into whatever is a size or a time of the event.
fn exaggerate(event: &mut Event, value: u64) {
    match event {
        Event::EngineStarted(e) => e.mono_ms = value,
        Event::BackupSubmitted(e) => {
            e.timeout_seconds = value;
            e.mono_ms = value;
        }
        Event::RestoreSubmitted(e) => {
            e.timeout_seconds = value;
            e.mono_ms = value;
        }
        Event::TaskStarted(e) => e.mono_ms = value,
        Event::TaskFinished(e) => {
            e.bytes = value;
            e.objects = value;
            e.reused_bytes = value;
            e.mono_ms = value;
        }
        Event::TaskFailed(e) => {
            e.backoff_ms = value;
            e.mono_ms = value;
        }
        Event::UploadPlanned(e) => {
            e.new_bytes = value;
            e.new_objects = value;
            e.reused_bytes = value;
        }
        Event::StateEntered(e) => {
            for lane in &mut e.lanes {
                lane.tasks = u32::try_from(value).unwrap_or(u32::MAX);
            }
        }
        Event::JobStopping(e) => e.mono_ms = value,
        _ => {}
    }
}

/// A journal of two backups and an open restore, each event changed by `change`.
fn written(world: &World, name: &str, change: impl Fn(usize, &mut Event) -> (usize, u64)) {
    let mut history = History::new();
    history.backup("a", 2);
    history.cancelled_backup("b");
    history.open_restore("c");
    let (journal, _) = FileJournal::<Event>::open(world.path(name), Options::default()).unwrap();
    for (at, mut event) in history.take().into_iter().enumerate() {
        let (times, at_ms) = change(at, &mut event);
        for _ in 0..times {
            journal.append(std::slice::from_ref(&event), at_ms).unwrap();
        }
    }
}

/// Runs every tool that reads a source.
fn tools(world: &World, source: &str) {
    let jobs: Vec<String> = (1..60)
        .step_by(1)
        .map(|id| (10_000 + id).to_string())
        .collect();
    let run = |args: &[&str]| {
        let ended = world.run(&[&["journal"], args].concat());
        assert!(
            (0..=4).contains(&ended.code) && !ended.err.contains("panicked"),
            "{source} {args:?}: {ended:#?}"
        );
        ended
    };
    run(&["dump", source]);
    run(&["verify", source]);
    run(&["state", source]);
    run(&["state", source, "--at", "20"]);
    run(&["diff", source, "0", "2999-01-01"]);
    run(&["tail", source, "-n", "3"]);
    run(&["recover", "--dry-run", source]);
    run(&["recover", "--dry-run", source, "--format", "json"]);
    let script = world.file(
        "script",
        "goto 20\ndue\nshow\njobs\nnext error\ngoto end\nfindings",
    );
    run(&["replay", source, "--script", script.to_str().unwrap()]);
    let mut told = 0;
    for job in &jobs {
        let explained = run(&["explain", source, job]);
        if explained.code == 0 {
            told += 1;
            run(&["explain", source, job, "--format", "json"]);
            run(&["explain", source, job, "--at", "20"]);
            run(&["timeline", source, job, "--html", "-"]);
            run(&["timeline", source, job, "--chrome", "-"]);
        }
    }
    assert!(told > 0, "{source}: no job was explained");
}

#[test]
fn numbers_of_any_size_are_told_and_nothing_panics() {
    let world = World::new();
    for (name, value) in [("most", u64::MAX), ("half", u64::MAX / 2), ("none", 0)] {
        written(&world, name, |_, event| {
            exaggerate(event, value);
            (1, value)
        });
        tools(&world, name);
        let file = format!("{name}.hfexport");
        world.run(&["journal", "export", name, "--to", &file]).ok();
        tools(&world, &file);
    }
    // Times that go back and forth.
    written(&world, "jumps", |at, event| {
        let value = if at % 2 == 0 { u64::MAX } else { 1 };
        exaggerate(event, value);
        (1, value)
    });
    tools(&world, "jumps");
}

#[test]
fn events_that_come_twice_or_not_at_all_are_told_and_nothing_panics() {
    let world = World::new();
    written(&world, "thrice", |_, event| {
        let times = if matches!(event, Event::TaskFinished(_)) {
            3
        } else {
            1
        };
        (times, 1_000)
    });
    tools(&world, "thrice");
    written(&world, "no-starts", |_, event| {
        let gone = matches!(event, Event::TaskStarted(_) | Event::StateEntered(_));
        (usize::from(!gone), 1_000)
    });
    tools(&world, "no-starts");
    written(&world, "all-twice", |at, _| (2 - at % 2, at as u64));
    tools(&world, "all-twice");
}
