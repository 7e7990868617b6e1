//! Puts into a local folder, killed at any moment: what is under a name is whole, what was
//! acknowledged is there, and what was under way is invisible and can be swept.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are outside the deterministic core"
)]
#![allow(clippy::expect_used, reason = "helpers of tests")]

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use holdfast_broker::{
    Broker, BrokerExt, BytesSource, Context, LocalBroker, ObjectName, PutMode, PutOutcome,
};
use tempfile::TempDir;

/// Names the folder to the child, which is this program again.
const FOLDER: &str = "HOLDFAST_KILL_FOLDER";
const ROUND: &str = "HOLDFAST_KILL_ROUND";
const ROUNDS: u64 = 12;
const THREADS: u64 = 3;

/// The bytes that belong to `key`, and to no other; they begin with it.
fn bytes_of(key: u64) -> Vec<u8> {
    let len = 8 + (key.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 43) as usize;
    let mut word = key;
    let mut bytes = Vec::with_capacity(len + 8);
    while bytes.len() < len {
        bytes.extend_from_slice(&word.to_le_bytes());
        word = word
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
    }
    bytes.truncate(len);
    bytes
}

/// Whether these are all the bytes of one put, and which.
fn key_of(bytes: &[u8]) -> Option<u64> {
    let key = u64::from_le_bytes(bytes.first_chunk().copied()?);
    (bytes == bytes_of(key)).then_some(key)
}

/// The child's work: puts for ever, and a line for each put that was acknowledged.
#[test]
#[ignore = "runs as the child of the test below"]
fn child_puts_until_killed() {
    let (Ok(folder), Ok(round)) = (std::env::var(FOLDER), std::env::var(ROUND)) else {
        return;
    };
    let round: u64 = round.parse().expect("a round");
    let broker = LocalBroker::open(Path::new(&folder)).expect("open");
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let broker = &broker;
            scope.spawn(move || {
                for n in 0.. {
                    let key = (round << 32) | (thread << 24) | n;
                    let source = BytesSource::from(bytes_of(key));
                    let name = ObjectName::parse(format!("{}/{key}", n % 7)).expect("name");
                    let put = broker.put(&Context::new(), &name, &source, PutMode::CreateIfAbsent);
                    assert_eq!(put.expect("put"), PutOutcome::Created);
                    let replaced = ObjectName::parse(format!("replaced/{thread}")).expect("name");
                    broker
                        .put(&Context::new(), &replaced, &source, PutMode::Overwrite)
                        .expect("overwrite");
                    // One write call a line, so that a kill cuts between lines.
                    let line = format!("put {name}\n");
                    std::io::stdout()
                        .lock()
                        .write_all(line.as_bytes())
                        .expect("parent listens");
                }
            });
        }
    });
}

/// Starts a child, kills it after some of its puts, and gives the names it was answered for.
fn kill_one(folder: &Path, round: u64) -> BTreeSet<String> {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "child_puts_until_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(FOLDER, folder)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("child");
    let lines = BufReader::new(child.stdout.take().expect("piped")).lines();
    let mut lines = lines
        .map_while(Result::ok)
        .filter_map(|line| line.strip_prefix("put ").map(str::to_owned));
    let mut acknowledged: BTreeSet<String> = lines.by_ref().take(1 + round as usize % 5).collect();
    std::thread::sleep(Duration::from_micros(997 * (round * 7 % 13)));
    child.kill().expect("kill");
    acknowledged.extend(lines);
    child.wait().expect("reaped");
    acknowledged
}

fn temporaries(folder: &Path) -> usize {
    let entries = std::fs::read_dir(folder)
        .expect("folder")
        .map(|entry| entry.expect("entry").path());
    entries
        .map(|path| match path.is_dir() {
            true => temporaries(&path),
            false => usize::from(
                path.file_name()
                    .is_some_and(|n| n.to_string_lossy().starts_with(".tmp-")),
            ),
        })
        .sum()
}

#[test]
fn a_killed_put_leaves_a_whole_object_or_none() {
    let folder = TempDir::new().expect("folder");
    let ctx = Context::new();
    let mut left = 0;
    for round in 0..ROUNDS {
        let acknowledged = kill_one(folder.path(), round);
        assert!(
            !acknowledged.is_empty(),
            "the child of round {round} put nothing"
        );
        let broker = LocalBroker::open(folder.path()).expect("open");
        let listed = broker.list_all(&ctx, "").expect("list");
        let names: BTreeSet<String> = listed
            .iter()
            .map(|object| object.name.to_string())
            .collect();
        assert!(
            acknowledged.is_subset(&names),
            "round {round} lost {:?}",
            acknowledged.difference(&names)
        );
        assert!(
            !names.iter().any(|name| name.contains(".tmp-")),
            "{names:?}"
        );
        for object in &listed {
            let bytes = broker.get(&ctx, &object.name, u64::MAX).expect("get");
            let key = key_of(&bytes);
            let whole = match object.name.as_str().strip_prefix("replaced/") {
                Some(thread) => key.is_some_and(|key| thread == ((key >> 24) & 0xff).to_string()),
                None => key.is_some_and(|key| object.name.as_str().ends_with(&format!("/{key}"))),
            };
            assert!(
                whole,
                "round {round}: {} has {} bytes of no put",
                object.name,
                bytes.len()
            );
        }
        // Old rounds are checked; fewer objects keep the test quick.
        for object in listed {
            broker.delete(&ctx, &object.name).expect("delete");
        }
        left += temporaries(folder.path());
        broker.sweep(&ctx, Duration::ZERO).expect("sweep");
        assert_eq!(temporaries(folder.path()), 0);
    }
    assert!(
        left > 0,
        "no kill hit a put under way, so this test showed nothing"
    );
}
