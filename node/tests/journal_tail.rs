//! `journal tail`: the last records, and those of running processes.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use common::World;
use common::journal::{dumped, journal, lived, objects};
use serde_json::Value;

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
    // Counted before the process is there: it may open the folder before a count ends.
    let openings = || dumped(&world, "node", &["--kind", "EngineStarted"]).len();
    let count = openings();
    let mut killed = world
        .command()
        .args(["sql", "--data-dir", "node"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
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
