//! Two clusters on one repository, killed for real: two programs with data folders and cluster ids of
//! their own back up into one local repository and restore each other's snapshots from it, all at once; each is
//! killed at random times and started again until its jobs have ended. Then every snapshot must prove
//! whole and restore byte for byte in both clusters: nobody's clean-up took what the other needs.
//!
//! `HOLDFAST_KILL_ROUNDS` sets the number of rounds, `HOLDFAST_KILL_SEED` the seed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_broker::{Broker, Context, LocalBroker};
use holdfast_engine::{JobKind, JobView, RestoreRequest};
use holdfast_storage::{ExportRequest, LoadRequest};
use holdfast_tests::dice::Dice;
use holdfast_tests::killing::{Moment, PATIENCE, Usual, journal_bytes, kill_at, number};
use holdfast_tests::place::{copy_tree, fingerprint, is_immutable, leftovers_of_node};
use holdfast_tests::template::{assert_remote_is_clean, released};
use holdfast_tests::traffic::appending;
use holdfast_tests::{Node, assert_finished, backup, noise, odd_files, restore};

const CHILD: &str = "HOLDFAST_CLUSTERS_CHILD";
const TABLES: [&str; 2] = ["common", "own"];
/// Hash of each table's content.
type Content = BTreeMap<&'static str, String>;

/// One of the two clusters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    A,
    B,
}

impl Side {
    const BOTH: [Self; 2] = [Self::A, Self::B];

    fn name(self) -> &'static str {
        match self {
            Self::A => "a",
            Self::B => "b",
        }
    }

    fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }

    fn folder(self, root: &Path) -> PathBuf {
        root.join(self.name())
    }

    /// The snapshot that is there from the start.
    fn first(self) -> String {
        format!("{}0", self.name())
    }

    /// The snapshot that a round makes.
    fn second(self) -> String {
        format!("{}1", self.name())
    }

    /// Where the other's first snapshot goes.
    fn migrated(self) -> String {
        format!("from_{}", self.other().name())
    }

    fn open(self, root: &Path) -> Node {
        let remote = root.join("remote");
        let wrap = move |_| Arc::new(LocalBroker::open(&remote).unwrap()) as Arc<dyn Broker>;
        Node::open_with(&self.folder(root).join("node"), Arc::new(wrap))
    }
}

fn into(node: &Node, label: &str, database: &str) -> RestoreRequest {
    let mut request = restore(label, &node.timestamp("repo", label));
    request.source_database = Some("db".to_owned());
    request.database = database.to_owned();
    request
}

fn content(node: &Node, database: &str) -> Content {
    let hash = |table: &'static str| {
        let out = tempfile::tempdir().unwrap();
        let to = out.path().join("out");
        let request = ExportRequest::new(database, table, &to);
        node.storage.export(&request).unwrap();
        (table, fingerprint(&to))
    };
    TABLES.into_iter().map(hash).collect()
}

/// Loads a table; the same `seed` gives the same files.
fn load(node: &Node, table: &str, partition: &str, seed: u64) {
    let files = tempfile::tempdir().unwrap();
    for n in 0..2 {
        let bytes = noise(seed * 100 + n, 1_100_000 + 1_000 * n as usize);
        std::fs::write(files.path().join(format!("big {n}")), bytes).unwrap();
    }
    odd_files(files.path(), 12, seed * 1_000);
    let mut request = LoadRequest::new("db", table, vec![files.path().to_owned()]);
    request.partition = Some(partition.to_owned());
    request.buckets = 2;
    node.storage.load(&request).unwrap();
}

/// What a round begins with: each cluster with a finished snapshot, and newer data that is not in
/// it, a part of it the same in both clusters.
struct Start {
    root: tempfile::TempDir,
    /// Of the tables, by the snapshot that holds them.
    contents: BTreeMap<String, Content>,
}

impl Start {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("remote")).unwrap();
        let mut contents = BTreeMap::new();
        for (seed, side) in (10..).zip(Side::BOTH) {
            let node = side.open(root.path());
            node.repository("repo", &root.path().join("remote"));
            load(&node, "common", "p1", 1);
            load(&node, "own", "p1", seed);
            let view = node.backup(&side.first());
            assert_finished(&view);
            released(&node, view.common().job);
            contents.insert(side.first(), content(&node, "db"));
            load(&node, "common", "p2", 2);
            load(&node, "own", "p2", seed + 10);
            contents.insert(side.second(), content(&node, "db"));
        }
        Self { root, contents }
    }

    fn copy(&self) -> tempfile::TempDir {
        let to = tempfile::tempdir().unwrap();
        for folder in ["a", "b", "remote"] {
            let from = self.root.path().join(folder);
            copy_tree(&from, &to.path().join(folder), &is_immutable);
        }
        to
    }
}

/// The process that is killed: submits the backup and the migration of its cluster if they are not
/// there yet, waits for both, and says what it has heard.
#[test]
fn child() {
    let Ok(order) = std::env::var(CHILD) else {
        return;
    };
    let [root, side, cancel] = order.split('\n').collect::<Vec<_>>()[..] else {
        panic!("order {order:?}");
    };
    let root = Path::new(root);
    let side = if side == "a" { Side::A } else { Side::B };
    let said = appending(&side.folder(root).join("said"));
    let say = |text: String| {
        std::io::Write::write_all(&mut &said, format!("{text}\n").as_bytes()).unwrap();
    };
    let node = side.open(root);
    let migration = of_round(&node, side, JobKind::Restore).map_or_else(
        || {
            let request = into(&node, &side.other().first(), &side.migrated());
            let job = node.engine.restore(&request).unwrap();
            say(format!("accepted {job}"));
            job
        },
        |view| view.common().job,
    );
    let saved = of_round(&node, side, JobKind::Backup).map_or_else(
        || {
            let job = node.engine.backup(&backup(&side.second())).unwrap();
            say(format!("accepted {job}"));
            job
        },
        |view| view.common().job,
    );
    if let Ok(after) = cancel.parse() {
        std::thread::sleep(Duration::from_micros(after));
        if node.engine.cancel(JobKind::Backup, "db").is_ok() {
            say("cancelling".to_owned());
        }
    }
    for job in [migration, saved] {
        let view = node.ended(job);
        say(format!("ended {job} {}", view.state_name()));
        released(&node, job);
    }
}

/// The job of this kind that a round is about.
fn of_round(node: &Node, side: Side, kind: JobKind) -> Option<Arc<JobView>> {
    let (database, label) = match kind {
        JobKind::Backup => ("db".to_owned(), side.second()),
        JobKind::Restore => (side.migrated(), side.other().first()),
    };
    let jobs = node.engine.views().jobs_of(kind, Some(&database));
    jobs.iter()
        .find(|view| view.common().label == label)
        .cloned()
}

fn spawn(root: &Path, side: Side, cancel_after: Option<Duration>) -> Child {
    let cancel = cancel_after.map_or(String::new(), |after| after.as_micros().to_string());
    let out = appending(&side.folder(root).join("output"));
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(
            CHILD,
            format!("{}\n{}\n{cancel}", root.display(), side.name()),
        )
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap()
}

/// What became of one cluster's processes.
#[derive(Default)]
struct Course {
    kills: u64,
    /// Whether a process was told to cancel the backup.
    cancels: bool,
}

/// Kills the processes of one cluster at random moments, then lets the jobs end.
fn drive(root: &Path, side: Side, dice: &mut Dice, usual: &Usual, kills: u64) -> Course {
    let mut course = Course {
        cancels: kills > 0 && dice.below(4) == 0,
        ..Course::default()
    };
    let journal = side.folder(root).join("node/journal");
    let check = |status: std::process::ExitStatus| {
        let output = std::fs::read_to_string(side.folder(root).join("output")).unwrap();
        assert!(status.success(), "{side:?} ended by itself: {output}");
    };
    for n in 0..kills {
        let cancel = (course.cancels && n == 0).then(|| usual.part(dice).mul_f64(0.7));
        let moment = usual.moment(dice, journal.clone());
        if let Some(status) = kill_at(&mut spawn(root, side, cancel), &moment) {
            check(status);
            break;
        }
        course.kills += 1;
    }
    let never = Moment {
        journal: PathBuf::new(),
        bytes: 0,
        then: PATIENCE,
    };
    let ended = kill_at(&mut spawn(root, side, None), &never);
    check(ended.expect("the jobs never ended"));
    course
}

#[derive(Default)]
struct Tally {
    rounds: u64,
    kills: u64,
    cancelled: u64,
    /// Objects that nobody needs, left by a cancelled backup beside which another one ran.
    spared: usize,
}

/// Runs both clusters at once to their ends; `Usual::default()` and no kills measure.
fn round(start: &Start, seed: u64, usual: &Usual, disturbed: bool, tally: &mut Tally) -> Usual {
    let place = start.copy();
    let root = place.path();
    let began = Instant::now();
    let courses = std::thread::scope(|scope| {
        let threads = Side::BOTH.map(|side| {
            scope.spawn(move || {
                let mut dice = Dice::new(seed * 2 + u64::from(side == Side::B));
                let kills = if disturbed { 1 + dice.below(4) } else { 0 };
                drive(root, side, &mut dice, usual, kills)
            })
        });
        threads.map(|thread| thread.join().unwrap())
    });
    let took = Usual {
        time: began.elapsed(),
        journal_bytes: journal_bytes(&Side::A.folder(root).join("node/journal")),
    };
    let nodes = Side::BOTH.map(|side| {
        let left = leftovers_of_node(&side.folder(root).join("node"));
        assert_eq!(left, Vec::<String>::new(), "{side:?}");
        (side, side.open(root))
    });
    assert_remote_is_clean(root);
    let mut snapshots: Vec<String> = Side::BOTH.map(Side::first).into();
    for ((side, node), course) in nodes.iter().zip(&courses) {
        tally.kills += course.kills;
        if check_jobs(root, *side, node, course) == "FINISHED" {
            snapshots.push(side.second());
        } else {
            tally.cancelled += 1;
        }
        let first = &start.contents[&side.other().first()];
        assert_eq!(content(node, &side.migrated()), *first, "{side:?}");
    }
    for (_, node) in &nodes {
        let free = check_repository(node, snapshots.len());
        assert!(free == 0 || snapshots.len() < 4, "{free} objects left");
        tally.spared = tally.spared.max(free);
        // Each cluster reads what either has made.
        for label in &snapshots {
            let database = format!("again_{label}");
            assert_finished(&node.restore(&into(node, label, &database)));
            assert_eq!(content(node, &database), start.contents[label], "{label}");
        }
    }
    tally.rounds += 1;
    took
}

/// The state of the round's backup, after both jobs were found to have ended as they were told to.
fn check_jobs(root: &Path, side: Side, node: &Node, course: &Course) -> &'static str {
    let text = std::fs::read_to_string(side.folder(root).join("said")).unwrap();
    let said: Vec<&str> = text.lines().collect();
    assert!(
        said.iter()
            .filter(|line| line.starts_with("accepted "))
            .count()
            <= 2
    );
    let cancelling = said.contains(&"cancelling");
    let mut state = "";
    for kind in [JobKind::Restore, JobKind::Backup] {
        let view = of_round(node, side, kind).expect("a job is not known any more");
        state = view.state_name();
        let job = view.common().job;
        let told = format!("ended {job} ");
        let mut ends = said.iter().filter_map(|line| line.strip_prefix(&told));
        assert!(ends.all(|end| end == state), "an end changed: {said:?}");
        let expected = match (kind, cancelling, course.cancels) {
            (JobKind::Backup, true, _) => "CANCELLED",
            (JobKind::Backup, false, true) => state,
            _ => "FINISHED",
        };
        assert_eq!(state, expected, "{side:?}: {:?}", view.common().status);
    }
    state
}

/// Nothing is missing or wrong in the repository; gives how many objects nobody needs.
fn check_repository(node: &Node, snapshots: usize) -> usize {
    let context = Context::new();
    let repository = node.engine.repository("repo").unwrap();
    let mut findings = Vec::new();
    let report = repository.verify(&context, None, &mut |finding| findings.push(finding));
    assert_eq!(findings, []);
    assert_eq!(report.unwrap().snapshots, snapshots as u64);
    let mut free = 0;
    let count = &mut |_| free += 1;
    repository.unreferenced(&context, count).unwrap();
    free
}

#[test]
fn two_clusters_killed_while_they_work_on_one_repository_lose_nothing_of_each_other() {
    let seed = number("HOLDFAST_KILL_SEED", 1);
    let rounds = number("HOLDFAST_KILL_ROUNDS", 2);
    let start = Start::new();
    let mut tally = Tally::default();
    let usual = round(&start, seed, &Usual::default(), false, &mut tally);
    for n in 0..rounds {
        println!("two clusters, round {n} of seed {seed}");
        let of_round = seed.wrapping_mul(1_000_003).wrapping_add(n);
        round(&start, of_round, &usual, true, &mut tally);
    }
    println!(
        "two clusters: {rounds} rounds, {} kills, {} backups cancelled, both take {} ms, at most {} objects \
         spared by a clean-up",
        tally.kills,
        tally.cancelled,
        usual.time.as_millis(),
        tally.spared,
    );
    assert!(tally.kills >= rounds, "too few kills to mean anything");
}
