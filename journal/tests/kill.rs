//! A process killed while it appends and archives has kept everything that it was told is durable.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are outside the deterministic core"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test"
)]

mod common;

use std::{
    collections::BTreeMap,
    env,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::Duration,
};

use common::{Dice, DoorEvent, event};
use holdfast_journal::{
    ArchiveRequest, Error, FileJournal, Journal, Options, Record, Seq, StreamId,
};

const FOLDER: &str = "HOLDFAST_TEST_KILL_FOLDER";
const CALLERS: u64 = 4;

/// Archived records and those of the log.
fn history(journal: &FileJournal<DoorEvent>) -> Result<Vec<Record<DoorEvent>>, Error> {
    let mut found = Vec::new();
    journal.history(Seq::FIRST, &mut |record| {
        found.push(record);
        Ok(())
    })?;
    Ok(found)
}

fn open(path: &Path) -> FileJournal<DoorEvent> {
    let options = Options::default()
        .segment_bytes(64 << 10)
        .reserve_bytes(4 << 10);
    FileJournal::open(path, options).unwrap().0
}

/// The process that is killed. It does nothing unless the test below starts it.
#[test]
fn child_that_appends_until_it_is_killed() {
    let Some(folder) = env::var_os(FOLDER) else {
        return;
    };
    let journal = open(Path::new(&folder));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            loop {
                let (end, _) = journal.position();
                journal.checkpoint(end, "views", b"state").unwrap();
                journal.roll().unwrap();
                let request = ArchiveRequest {
                    before: Seq(end.get().saturating_sub(200)),
                    projection: "views",
                    description: b"",
                    at_ms: 1,
                };
                if journal.archive(&request).unwrap().is_some() {
                    std::io::stderr().write_all(b"\narchived\n").unwrap();
                }
            }
        });
        for door in 0..CALLERS {
            let journal = &journal;
            scope.spawn(move || {
                let known = history(journal).unwrap();
                let known = known.iter().filter(|r| r.stream == StreamId(door)).count();
                for n in known as u64 / 2.. {
                    let pair = [event(door, 2 * n), event(door, 2 * n + 1)];
                    journal.append(&pair, n).unwrap();
                    // One write, so that lines of callers do not mix.
                    let line = format!("\nacknowledged {door} {n}\n");
                    std::io::stderr().write_all(line.as_bytes()).unwrap();
                }
            });
        }
    });
}

#[test]
fn a_killed_process_kept_what_it_acknowledged() {
    let root = tempfile::tempdir().unwrap();
    let mut dice = Dice(5);
    let mut acknowledged: BTreeMap<u64, u64> = BTreeMap::new();
    for round in 0..8 {
        let mut child = Command::new(env::current_exe().unwrap())
            .args([
                "child_that_appends_until_it_is_killed",
                "--exact",
                "--nocapture",
            ])
            .args(["--test-threads", "1"])
            .env(FOLDER, root.path())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = BufReader::new(child.stderr.take().unwrap());
        let mut text = String::new();
        while !text.contains("acknowledged") {
            assert!(
                stderr.read_line(&mut text).unwrap() > 0,
                "round {round}: {text}"
            );
        }
        let reader = std::thread::spawn(move || {
            let mut rest = Vec::new();
            stderr.read_to_end(&mut rest).unwrap();
            text + &String::from_utf8_lossy(&rest)
        });
        std::thread::sleep(Duration::from_millis(10 + dice.below(150)));
        child.kill().unwrap();
        child.wait().unwrap();
        for line in reader.join().unwrap().split_inclusive('\n') {
            let Some(line) = line
                .strip_prefix("acknowledged ")
                .and_then(|l| l.strip_suffix('\n'))
            else {
                continue;
            };
            let (door, n) = line.split_once(' ').unwrap();
            let last = acknowledged.entry(door.parse().unwrap()).or_default();
            *last = n.parse::<u64>().unwrap().max(*last);
        }
        check(root.path(), &acknowledged, round);
    }
    assert_eq!(acknowledged.len() as u64, CALLERS);
    let archives = open(root.path()).archives().unwrap().found.len();
    assert!(archives > 3, "{archives} archives");
}

fn check(path: &Path, acknowledged: &BTreeMap<u64, u64>, round: u64) {
    let journal = open(path);
    let log = history(&journal).unwrap();
    let missing = journal.archives().unwrap().missing;
    assert_eq!(missing, None, "round {round}");
    for (door, last) in acknowledged {
        let found: Vec<_> = log.iter().filter(|r| r.stream == StreamId(*door)).collect();
        assert!(
            found.len() as u64 >= 2 * (last + 1),
            "round {round} door {door}"
        );
        for (n, record) in found.iter().enumerate() {
            assert_eq!(
                record.event,
                event(*door, n as u64),
                "round {round} door {door}"
            );
        }
        let indexed = journal
            .by_stream(StreamId(*door), Seq::FIRST, usize::MAX)
            .unwrap();
        assert!(
            indexed
                .iter()
                .eq(found.into_iter().filter(|r| r.seq >= journal.first())),
            "round {round} door {door}: the index differs"
        );
    }
}
