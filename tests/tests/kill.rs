//! Kill -9 at any moment: a process that backs up or restores is killed at random times and started
//! again until its job has ended. Then the job must have ended as it should, every byte must be
//! there, nothing acknowledged may be lost, nothing that was sent may be sent again, and nothing
//! may be left lying about.
//!
//! `HOLDFAST_KILL_ROUNDS` sets the number of jobs per test, `HOLDFAST_KILL_SEED` the seed; both are
//! printed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::time::{Duration, Instant};

use holdfast_broker::Context;
use holdfast_engine::{Event, JobId, JobKind, Work};
use holdfast_journal::{Event as _, ReadJournal, Seq};
use holdfast_storage::ExportRequest;
use holdfast_tests::dice::Dice;
use holdfast_tests::killing::{Moment, PATIENCE, Usual, journal_bytes, kill_at, number};
use holdfast_tests::place::{fingerprint, leftovers_of_node};
use holdfast_tests::template::{
    Size, TABLES, Template, assert_nothing_is_held, assert_remote_is_clean, contents, label,
    open_at, released,
};
use holdfast_tests::traffic::{Traffic, appending, is_content};
use holdfast_tests::{Node, assert_finished, backup, restore};

const CHILD: &str = "HOLDFAST_KILL_CHILD";
/// The most objects that a node of default size has in flight. Four threads are shared: a task that begins
/// to move beside others takes 4 divided by the number of tasks, itself included, and at least its own
/// thread; more than four tasks do not run at once. A share that shrinks is given up between two objects. Of the
/// tasks that move at one moment the oldest may so still have 4 threads, the second 2, the others 1 each.
const IN_FLIGHT: usize = 4 + 2 + 1 + 1;
/// Works that a journal names by number.
const WORKS: [Work; 17] = [
    Work::Pin,
    Work::Link,
    Work::PlanUpload,
    Work::Upload,
    Work::SaveMeta,
    Work::UploadInfo,
    Work::PutMarker,
    Work::Release,
    Work::Discard,
    Work::PrepareMeta,
    Work::Stage,
    Work::PlanDownload,
    Work::Download,
    Work::Prepare,
    Work::Commit,
    Work::Forget,
    Work::Abort,
];
const OBJECT_MAX: u64 = 64 << 20;

/// What a child is to do, and where: `root/node` is its folder, `root/remote` the repository's
/// location.
struct Order {
    kind: JobKind,
    root: PathBuf,
    /// Names the child's own files below `root`.
    name: String,
    cancel_after: Option<Duration>,
}

impl Order {
    fn encode(&self) -> String {
        let kind = if self.kind == JobKind::Backup {
            "backup"
        } else {
            "restore"
        };
        let cancel = self
            .cancel_after
            .map_or(String::new(), |after| after.as_micros().to_string());
        format!("{kind}\n{}\n{}\n{cancel}", self.root.display(), self.name)
    }

    fn decode(text: &str) -> Self {
        let [kind, root, name, cancel] = text.split('\n').collect::<Vec<_>>()[..] else {
            panic!("order {text:?}");
        };
        Self {
            kind: if kind == "backup" {
                JobKind::Backup
            } else {
                JobKind::Restore
            },
            root: root.into(),
            name: name.to_owned(),
            cancel_after: cancel.parse().ok().map(Duration::from_micros),
        }
    }
}

/// The process that is killed: starts its job if it is not there yet, waits for it, and says what
/// it has heard.
#[test]
fn child() {
    let Ok(order) = std::env::var(CHILD) else {
        return;
    };
    let order = Order::decode(&order);
    let said = appending(&order.root.join("said"));
    let say = |text: String| {
        std::io::Write::write_all(&mut &said, format!("{text}\n").as_bytes()).unwrap()
    };
    let node = open_at(
        &order.root,
        Some(order.root.join(format!("traffic-{}", order.name))),
    );
    let known = node.engine.views().jobs_of(order.kind, Some("db"));
    let wanted = known
        .iter()
        .find(|view| view.common().label == label(order.kind));
    let job = match wanted {
        Some(view) => view.common().job,
        None => {
            let job = match order.kind {
                JobKind::Backup => node.engine.backup(&backup(label(order.kind))).unwrap(),
                JobKind::Restore => {
                    let stamp = node.timestamp("repo", label(order.kind));
                    node.engine
                        .restore(&restore(label(order.kind), &stamp))
                        .unwrap()
                }
            };
            say(format!("accepted {job}"));
            job
        }
    };
    if let Some(after) = order.cancel_after {
        std::thread::sleep(after);
        match node.engine.cancel(order.kind, "db") {
            Ok(_) => say("cancelling".to_owned()),
            Err(refusal) => say(format!("refused {:?}", refusal.code)),
        }
    }
    let view = node.ended(job);
    say(format!("ended {job} {}", view.state_name()));
    released(&node, job);
    drop(node);
    say("closed".to_owned());
}

fn spawn(order: &Order) -> Child {
    let out = appending(&order.root.join(format!("output-{}", order.name)));
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, order.encode())
        .stdout(out.try_clone().unwrap())
        .stderr(out)
        .spawn()
        .unwrap()
}

/// How far the job of a killed node was, by the last event that is not about a task.
fn last_event(root: &Path, kind: JobKind) -> String {
    let folder = root.join("node/journal");
    let (journal, _) = ReadJournal::<Event>::open(folder).unwrap();
    let mut last = "none".to_owned();
    journal
        .read(Seq::FIRST, &mut |record| {
            let name = record.event.kind_name();
            match &record.event {
                Event::BackupSubmitted(_) | Event::RestoreSubmitted(_) => last = name.to_owned(),
                Event::StateEntered(e) => {
                    let work = WORKS.iter().find(|work| **work as u8 == e.work);
                    last = work.map_or(name.to_owned(), |work| format!("{work:?}"));
                }
                Event::JobReleased(_) if kind == JobKind::Restore && last == "CleanupStarted" => {
                    last = name.to_owned();
                }
                Event::EngineStarted(_) => {}
                _ if name.starts_with("Task") || name == "JobReleased" => {}
                _ => last = name.to_owned(),
            }
            Ok(())
        })
        .unwrap();
    last
}

#[derive(Default)]
struct Tally {
    jobs: u64,
    kills: u64,
    cancelled: u64,
    killed_at: BTreeMap<String, u64>,
    bytes: u64,
    again: u64,
    in_flight_most: usize,
    /// Objects that had to be fetched again.
    again_objects: u64,
    /// The most objects of one killed process that had to be fetched again, of those that are wanted once.
    lost_most: usize,
}

/// One job over several processes.
struct Round<'a> {
    template: &'a Template,
    kind: JobKind,
    dir: tempfile::TempDir,
    children: Vec<String>,
    /// Whether a child was told to cancel the job.
    cancels: bool,
}

impl Round<'_> {
    fn root(&self) -> &Path {
        self.dir.path()
    }

    fn order(&mut self, cancel_after: Option<Duration>) -> Order {
        let name = self.children.len().to_string();
        self.children.push(name.clone());
        Order {
            kind: self.kind,
            root: self.root().to_owned(),
            name,
            cancel_after,
        }
    }

    fn said(&self) -> Vec<String> {
        let text = std::fs::read_to_string(self.root().join("said")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    fn check_status(&self, status: ExitStatus) {
        let output = self
            .root()
            .join(format!("output-{}", self.children.last().unwrap()));
        let text = std::fs::read_to_string(output).unwrap();
        assert!(
            status.success(),
            "the child ended by itself: {status}\n{text}"
        );
    }

    /// Kills processes at random moments, at most `kills` of them, until one ends by itself; then
    /// lets the job end.
    fn run(&mut self, dice: &mut Dice, usual: &Usual, kills: u64, tally: &mut Tally) {
        self.cancels = kills > 0 && dice.below(4) == 0;
        for n in 0..kills {
            let cancel_after = (self.cancels && n == 0).then(|| usual.part(dice).mul_f64(0.7));
            let order = self.order(cancel_after);
            let journal = self.root().join("node/journal");
            let moment = usual.moment(dice, journal);
            let mut child = spawn(&order);
            if let Some(status) = kill_at(&mut child, &moment) {
                self.check_status(status);
                break;
            }
            tally.kills += 1;
            let at = last_event(self.root(), self.kind);
            *tally.killed_at.entry(at).or_default() += 1;
            self.check_tables();
        }
        let order = self.order(None);
        let never = Moment {
            journal: PathBuf::new(),
            bytes: 0,
            then: PATIENCE,
        };
        let status = kill_at(&mut spawn(&order), &never);
        self.check_status(status.expect("the job never ended"));
    }

    /// Every table as it was, or every table as in the snapshot.
    fn check_tables(&self) {
        let now = contents(self.root());
        let (before, after) = (&self.template.before, &self.template.in_snapshot);
        assert!(
            now == *before || now == *after,
            "{now:?} is neither {before:?} nor {after:?}"
        );
    }

    fn check_end(&self, tally: &mut Tally) {
        let said = self.said();
        assert_eq!(
            leftovers_of_node(&self.root().join("node")),
            Vec::<String>::new()
        );
        assert_remote_is_clean(self.root());
        let node = open_at(self.root(), None);
        let accepted: Vec<JobId> = said
            .iter()
            .filter_map(|line| line.strip_prefix("accepted "))
            .map(|id| JobId(id.parse().unwrap()))
            .collect();
        assert!(accepted.len() <= 1, "accepted twice: {said:?}");
        let jobs = node.engine.views().jobs_of(self.kind, Some("db"));
        let of_label: Vec<_> = jobs
            .iter()
            .filter(|view| view.common().label == label(self.kind))
            .collect();
        assert_eq!(of_label.len(), 1);
        let view = of_label[0];
        assert!(
            accepted.iter().all(|job| *job == view.common().job),
            "{said:?}"
        );
        let state = view.state_name();
        let heard = said.iter().filter_map(|line| line.strip_prefix("ended "));
        for ended in heard {
            assert_eq!(
                ended,
                format!("{} {state}", view.common().job),
                "an end changed"
            );
        }
        let cancelling = said.iter().any(|line| line == "cancelling");
        assert!(
            !cancelling || state == "CANCELLED",
            "{state} after an accepted cancel"
        );
        assert!(
            self.cancels || state == "FINISHED",
            "{:?}",
            view.common().status
        );
        tally.cancelled += u64::from(state == "CANCELLED");
        match self.kind {
            JobKind::Backup => {
                self.check_backup(&node, state);
                drop(node);
            }
            JobKind::Restore => {
                drop(node);
                let expected = match state {
                    "FINISHED" => &self.template.in_snapshot,
                    _ => &self.template.before,
                };
                assert_eq!(contents(self.root()), *expected);
            }
        }
        assert_nothing_is_held(self.root());
    }

    fn check_backup(&self, node: &Node, state: &str) {
        let context = Context::new();
        let repository = node.engine.repository("repo").unwrap();
        let labels = repository.labels(&context).unwrap();
        if state == "CANCELLED" {
            assert!(labels.is_empty(), "{labels:?}");
            let mut left = Vec::new();
            repository
                .unreferenced(&context, &mut |object| left.push(object))
                .unwrap();
            assert_eq!(left, [], "objects of a cancelled backup");
            assert_finished(&node.backup(label(self.kind)));
        }
        let mut findings = Vec::new();
        let report = repository
            .verify(&context, None, &mut |found| findings.push(found))
            .unwrap();
        assert_eq!(findings, []);
        assert_eq!(report.snapshots, 1);
        for table in TABLES {
            node.storage.drop_table("db", table).unwrap();
        }
        let stamp = node.timestamp("repo", label(self.kind));
        assert_finished(&node.restore(&restore(label(self.kind), &stamp)));
        for table in TABLES {
            let out = tempfile::tempdir().unwrap();
            let to = out.path().join("out");
            node.storage
                .export(&ExportRequest::new("db", table, &to))
                .unwrap();
            assert_eq!(Some(fingerprint(&to)), self.template.before[table]);
        }
    }

    /// What one process had put is not put again by a later one, and what was in flight is one
    /// object per thread.
    fn check_sent_again(&self, tally: &mut Tally) {
        let mut finished: BTreeMap<String, u64> = BTreeMap::new();
        let mut in_flight: BTreeMap<String, u64> = BTreeMap::new();
        for name in &self.children {
            let log = self.root().join(format!("traffic-{name}"));
            let traffic = Traffic::read(&log, "put", is_content);
            let began = traffic
                .done
                .iter()
                .chain(&traffic.open)
                .filter(|(_, bytes)| **bytes > 0);
            for (object, bytes) in began {
                assert!(
                    !finished.contains_key(object),
                    "{object} was sent by two processes"
                );
                if in_flight.contains_key(object) {
                    assert!(*bytes <= OBJECT_MAX);
                    tally.again += bytes;
                }
            }
            assert!(
                traffic.open.len() <= IN_FLIGHT,
                "in flight: {:?}",
                traffic.open
            );
            tally.in_flight_most = tally.in_flight_most.max(traffic.open.len());
            tally.bytes += traffic.bytes();
            in_flight.extend(traffic.open);
            finished.extend(traffic.done);
        }
    }

    /// Of what one process had fetched, a later one fetches again only what was in flight. A killed
    /// process was busy with at most [`IN_FLIGHT`] objects, each all of what one thread fetched at the time (the
    /// files of this test are no longer than an object); whatever it had ended is staged and outlives
    /// it. So no more objects are fetched again than that for each kill.
    ///
    /// `clean` is the same restore without a kill, and says how often each piece is wanted: a table
    /// with two replicas is fetched once for each, by tasks that the log does not tell apart. A piece that the clean
    /// restore does not know is the rest of one that was in flight.
    fn check_fetched_again(&self, clean: &Traffic, kills: u64, tally: &mut Tally) {
        let mut begun: BTreeMap<String, (u64, u64)> = BTreeMap::new();
        // Of pieces that are wanted once, which process fetched them last.
        let mut last: BTreeMap<String, usize> = BTreeMap::new();
        let mut lost: BTreeMap<usize, BTreeSet<String>> = BTreeMap::new();
        for (n, name) in self.children.iter().enumerate() {
            let log = self.root().join(format!("traffic-{name}"));
            let traffic = Traffic::read(&log, "get", is_data);
            for (piece, (count, len)) in &traffic.begun {
                let begun = begun.entry(piece.clone()).or_default();
                *begun = (begun.0 + count, *len);
                if wanted(clean, piece) == 1
                    && let Some(before) = last.insert(piece.clone(), n)
                {
                    lost.entry(before).or_default().insert(object_of(piece));
                }
            }
            assert!(
                traffic.open.len() <= IN_FLIGHT,
                "in flight: {:?}",
                traffic.open
            );
            tally.in_flight_most = tally.in_flight_most.max(traffic.open.len());
            tally.bytes += traffic.bytes();
        }
        for (n, objects) in lost {
            assert!(
                objects.len() <= IN_FLIGHT,
                "of process {n} fetched again: {objects:?}"
            );
            tally.lost_most = tally.lost_most.max(objects.len());
        }
        let mut again = BTreeSet::new();
        for (piece, (count, len)) in &begun {
            let times = count.saturating_sub(wanted(clean, piece));
            if times > 0 {
                tally.again += times * len;
                again.insert(object_of(piece));
            }
        }
        assert!(
            again.len() as u64 <= kills * IN_FLIGHT as u64,
            "after {kills} kills fetched again: {again:?}"
        );
        tally.again_objects += again.len() as u64;
    }
}

fn is_data(name: &str) -> bool {
    name.contains("/objects/") || name.contains("/packs/")
}

/// How often a restore without a kill fetches a piece.
fn wanted(clean: &Traffic, piece: &str) -> u64 {
    clean.begun.get(piece).map_or(0, |(count, _)| *count)
}

fn object_of(piece: &str) -> String {
    piece.rsplit_once('@').unwrap().0.to_owned()
}

fn soak(kind: JobKind, rounds: u64) {
    let seed = number("HOLDFAST_KILL_SEED", 1);
    let rounds = number("HOLDFAST_KILL_ROUNDS", rounds);
    let template = Template::new(kind, Size { big: 8, small: 60 });
    let mut tally = Tally::default();
    let new_round = || Round {
        template: &template,
        kind,
        dir: template.copy(),
        children: Vec::new(),
        cancels: false,
    };
    // Once without a kill: what is to be disturbed works, and takes so long.
    let mut round = new_round();
    let began = Instant::now();
    round.run(&mut Dice::new(seed), &Usual::default(), 0, &mut tally);
    let usual = Usual {
        time: began.elapsed(),
        journal_bytes: journal_bytes(&round.root().join("node/journal")),
    };
    let log = round.root().join("traffic-0");
    round.check_end(&mut tally);
    let clean = Traffic::read(&log, "get", is_data);
    for n in 0..rounds {
        let round_seed = seed.wrapping_mul(1_000_003).wrapping_add(n * 1_000);
        println!("{kind:?} round {n} of seed {seed}");
        let mut dice = Dice::new(round_seed);
        let mut round = new_round();
        let kills = 1 + dice.below(5);
        let before = tally.kills;
        round.run(&mut dice, &usual, kills, &mut tally);
        let kills = tally.kills - before;
        match kind {
            JobKind::Backup => round.check_sent_again(&mut tally),
            JobKind::Restore => round.check_fetched_again(&clean, kills, &mut tally),
        }
        round.check_end(&mut tally);
        tally.jobs += 1;
    }
    let mut text = format!(
        "{kind:?}: {} jobs, {} kills, {} cancelled, a job takes {} ms, most in flight at a kill {}, \
         {} objects fetched again, at most {} of a process, {} bytes moved, {} of them again, \
         {} bytes fetched without a kill; last event before the kill:",
        tally.jobs,
        tally.kills,
        tally.cancelled,
        usual.time.as_millis(),
        tally.in_flight_most,
        tally.again_objects,
        tally.lost_most,
        tally.bytes,
        tally.again,
        clean.bytes(),
    );
    for (name, count) in &tally.killed_at {
        write!(text, " {name} {count}").unwrap();
    }
    println!("{text}");
    assert!(
        tally.kills >= rounds / 2,
        "too few kills to mean anything: {text}"
    );
}

/// Kills each process as soon as it has begun, more often than a task may fail.
fn kill_at_every_start(kind: JobKind) {
    const KILLS: u64 = 10;
    let template = Template::new(kind, Size { big: 2, small: 20 });
    let mut round = Round {
        template: &template,
        kind,
        dir: template.copy(),
        children: Vec::new(),
        cancels: false,
    };
    let journal = round.root().join("node/journal");
    let mut tally = Tally::default();
    for n in 0..KILLS {
        let order = round.order(None);
        // The first process is let go on until its job is recorded, the others until they are open.
        let accepted = if n == 0 { 600 } else { 1 };
        let moment = Moment {
            journal: journal.clone(),
            bytes: journal_bytes(&journal) + accepted,
            then: Duration::from_millis(n % 4),
        };
        if let Some(status) = kill_at(&mut spawn(&order), &moment) {
            round.check_status(status);
            break;
        }
        tally.kills += 1;
    }
    assert!(tally.kills > 8, "only {} kills", tally.kills);
    round.run(&mut Dice::new(1), &Usual::default(), 0, &mut tally);
    round.check_end(&mut tally);
}

#[test]
fn a_job_killed_more_often_than_a_task_may_fail_still_ends() {
    kill_at_every_start(JobKind::Backup);
    kill_at_every_start(JobKind::Restore);
}

#[test]
fn a_backup_killed_at_any_moment_ends_and_sends_nothing_twice_that_had_arrived() {
    soak(JobKind::Backup, 8);
}

#[test]
fn an_overwriting_restore_killed_at_any_moment_ends_with_all_tables_old_or_all_new() {
    soak(JobKind::Restore, 8);
}
