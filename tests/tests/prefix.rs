//! Every prefix of a job: the folders are copied before and after each append to the journal and
//! each change of storage or repository, with nobody at work in them. Each copy is opened and must
//! come to the right end: so "recorded and not begun" and "done and not recorded" are covered for
//! every event and every effect.
//!
//! `HOLDFAST_PREFIX=full` copies around every change; without it around every append and a part of
//! the others.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use holdfast_broker::{
    Broker, Context, Fault, FaultPlan, FaultRule, LocalBroker, Request, Trouble, When,
};
use holdfast_engine::{BrokerBlobs, Engine, Event, JobKind, Parts};
use holdfast_journal::{FileJournal, ReadJournal, Seq};
use holdfast_storage::{ExportRequest, LocalStorage};
use holdfast_tests::gate::{Gate, Gated, Moment};
use holdfast_tests::place::{copy_tree, fingerprint, leftovers_of_node};
use holdfast_tests::template::{
    Size, TABLES, Template, assert_nothing_is_held, assert_remote_is_clean, contents, label,
    open_at, released,
};
use holdfast_tests::{Node, assert_finished, backup, restore};

/// How a watched job ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    ToItsEnd,
    /// Cancelled while its first transfer hangs.
    Cancelled,
}

/// Opens the node whose every change passes the gate.
fn open_gated(root: &Path, gate: &Arc<Gate>, troubles: &FaultPlan) -> Node {
    let remote = root.join("remote");
    let (gate, troubles) = (Arc::clone(gate), troubles.clone());
    let wrapped = Arc::clone(&gate);
    let wrap = Arc::new(move |_| {
        let local: Arc<dyn Broker> = Arc::new(LocalBroker::open(&remote).unwrap());
        let gated = Gated {
            gate: Arc::clone(&wrapped),
            inner: local,
        };
        Arc::new(Fault::new(
            Arc::new(gated) as Arc<dyn Broker>,
            troubles.clone(),
        )) as Arc<dyn Broker>
    });
    let jobs = root.join("node/jobs");
    Node::open_sized(&root.join("node"), wrap, move |parts| {
        parts.journal = Arc::new(Gated {
            gate: Arc::clone(&gate),
            inner: Arc::clone(&parts.journal),
        });
        parts.storage = Arc::new(Gated {
            gate: Arc::clone(&gate),
            inner: Arc::clone(&parts.storage),
        });
        let work: Arc<dyn Broker> = Arc::new(LocalBroker::open(&jobs).unwrap());
        parts.blobs = Arc::new(BrokerBlobs::new(Arc::new(Gated { gate, inner: work })));
    })
}

/// Runs the job once, and gives the copies made on the way.
fn watch(template: &Template, kind: JobKind, course: Course, copies: &Path) -> Vec<Moment> {
    let place = template.copy();
    let gate = Gate::new(place.path(), copies);
    let troubles = FaultPlan::new(1);
    let node = open_gated(place.path(), &gate, &troubles);
    let request = if kind == JobKind::Backup {
        Request::Put
    } else {
        Request::Get
    };
    let stamp = (kind == JobKind::Restore).then(|| node.timestamp("repo", label(kind)));
    if course == Course::Cancelled {
        for folder in ["/objects/", "/packs/"] {
            troubles.add(FaultRule::on(request, When::Nth(1), Trouble::Hang).named(folder));
        }
    }
    let full = std::env::var("HOLDFAST_PREFIX").is_ok_and(|value| value == "full");
    gate.arm(if full { 1 } else { 8 });
    let job = match stamp {
        None => node.engine.backup(&backup(label(kind))).unwrap(),
        Some(stamp) => node.engine.restore(&restore(label(kind), &stamp)).unwrap(),
    };
    if course == Course::Cancelled {
        let deadline = Instant::now() + Duration::from_secs(60);
        while troubles.fired() == 0 {
            assert!(Instant::now() < deadline, "nothing was transferred");
            std::thread::sleep(Duration::from_millis(2));
        }
        node.engine.cancel(kind, "db").unwrap();
    }
    let view = node.ended(job);
    let expected = if course == Course::Cancelled {
        "CANCELLED"
    } else {
        "FINISHED"
    };
    assert_eq!(view.state_name(), expected, "{:?}", view.common().status);
    released(&node, job);
    gate.disarm()
}

/// Names of the events about the job in the journal of a copy.
fn events(root: &Path) -> Vec<&'static str> {
    use holdfast_journal::Event as _;
    let (journal, _) = ReadJournal::<Event>::open(root.join("node/journal")).unwrap();
    let mut names = Vec::new();
    journal
        .read(Seq::FIRST, &mut |record| {
            names.push(record.event.kind_name());
            Ok(())
        })
        .unwrap();
    names
}

/// Opens a copy and judges to what end it comes.
fn judge(template: &Template, kind: JobKind, moment: &Moment, number: usize) {
    let root = moment.root.as_path();
    let events = events(root);
    let submitted = if kind == JobKind::Backup {
        "BackupSubmitted"
    } else {
        "RestoreSubmitted"
    };
    let last = events.iter().rposition(|name| *name == submitted);
    // A template for a restore holds an ended backup, too.
    let since = last.map_or(&[] as &[&str], |at| &events[at..]);
    let now = contents(root);
    assert!(
        now == template.before || now == template.in_snapshot,
        "neither old nor new: {now:?}"
    );
    let committed = since.contains(&"RestoreFinished");
    assert!(
        !committed || now == template.in_snapshot,
        "FINISHED before the swap"
    );
    let begun = since.contains(&"RestoreCommitStarted") || kind == JobKind::Backup;
    assert!(
        begun || now == template.before,
        "swapped before the commit was recorded"
    );

    let node = open_at(root, None);
    let jobs = node.engine.views().jobs_of(kind, Some("db"));
    let view = jobs.iter().find(|view| view.common().label == label(kind));
    let Some(view) = view else {
        assert!(last.is_none(), "a recorded job is not known");
        drop(node);
        assert_eq!(contents(root), template.before);
        return;
    };
    let job = view.common().job;
    let view = node.ended(job);
    let expected = if since.contains(&"JobStopping") {
        "CANCELLED"
    } else {
        "FINISHED"
    };
    assert_eq!(view.state_name(), expected, "{:?}", view.common().status);
    released(&node, job);
    if kind == JobKind::Backup {
        judge_backup(template, &node, expected, number);
    }
    drop(node);
    let after = match (kind, expected) {
        (JobKind::Restore, "FINISHED") => &template.in_snapshot,
        _ => &template.before,
    };
    assert_eq!(contents(root), *after);
    assert_eq!(leftovers_of_node(&root.join("node")), Vec::<String>::new());
    assert_remote_is_clean(root);
    assert_nothing_is_held(root);
}

fn judge_backup(template: &Template, node: &Node, state: &str, number: usize) {
    let context = Context::new();
    let repository = node.engine.repository("repo").unwrap();
    let mut findings = Vec::new();
    let report = repository
        .verify(&context, None, &mut |found| findings.push(found))
        .unwrap();
    assert_eq!(findings, []);
    assert_eq!(report.snapshots, u64::from(state == "FINISHED"));
    let mut free = Vec::new();
    repository
        .unreferenced(&context, &mut |object| free.push(object))
        .unwrap();
    assert_eq!(free, [], "objects that no snapshot needs");
    if state == "FINISHED" && number.is_multiple_of(4) {
        for table in TABLES {
            node.storage.drop_table("db", table).unwrap();
        }
        let stamp = node.timestamp("repo", label(JobKind::Backup));
        let view = node.restore(&restore(label(JobKind::Backup), &stamp));
        assert_finished(&view);
        released(node, view.common().job);
        for table in TABLES {
            let out = tempfile::tempdir().unwrap();
            let to = out.path().join("out");
            node.storage
                .export(&ExportRequest::new("db", table, &to))
                .unwrap();
            assert_eq!(Some(fingerprint(&to)), template.before[table]);
        }
    }
}

fn every_prefix(kind: JobKind, course: Course) {
    let template = Template::new(kind, Size { big: 1, small: 6 });
    let copies = tempfile::tempdir().unwrap();
    let chosen = watch(&template, kind, course, copies.path());
    println!("{kind:?} {course:?}: {} copies", chosen.len());
    assert!(chosen.len() > 20, "too few moments to mean anything");
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let run = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(moment) = chosen.get(number) else {
                    return;
                };
                let judged = std::panic::catch_unwind(|| judge(&template, kind, moment, number));
                assert!(
                    judged.is_ok(),
                    "{kind:?} {course:?}, copy {number}: {}",
                    moment.what
                );
                std::fs::remove_dir_all(&moment.root).unwrap();
            }
        };
        let others = [scope.spawn(run), scope.spawn(run)];
        run();
        for other in others {
            other.join().unwrap();
        }
    });
}

#[test]
fn every_prefix_of_a_backup_comes_to_its_end() {
    every_prefix(JobKind::Backup, Course::ToItsEnd);
}

#[test]
fn every_prefix_of_an_overwriting_restore_comes_to_its_end() {
    every_prefix(JobKind::Restore, Course::ToItsEnd);
}

#[test]
fn every_prefix_of_a_cancelled_backup_comes_to_its_end() {
    every_prefix(JobKind::Backup, Course::Cancelled);
}

#[test]
fn every_prefix_of_a_cancelled_restore_leaves_the_target_as_it_was_or_restores_it_wholly() {
    every_prefix(JobKind::Restore, Course::Cancelled);
}

#[test]
fn a_storage_folder_older_than_the_journal_is_refused() {
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(place.path().join("remote")).unwrap();
    drop(open_at(place.path(), None));
    let (storage, older) = (
        place.path().join("node/storage"),
        place.path().join("older"),
    );
    copy_tree(&storage, &older, &|_| false);
    let node = open_at(place.path(), None);
    node.storage.create_database("db").unwrap();
    drop(node);
    // The next opening has seen the database.
    drop(open_at(place.path(), None));
    std::fs::remove_dir_all(&storage).unwrap();
    std::fs::rename(&older, &storage).unwrap();
    let (journal, _) =
        FileJournal::<Event>::open(place.path().join("node/journal"), Default::default()).unwrap();
    let storage = LocalStorage::open(&storage, Default::default()).unwrap();
    let work = LocalBroker::open(&place.path().join("node/jobs")).unwrap();
    let brokers = |_: &str| -> Result<Arc<dyn Broker>, String> { Err("unused".to_owned()) };
    let parts = Parts::new(
        Arc::new(journal),
        Arc::new(storage),
        Arc::new(work),
        Arc::new(brokers),
    );
    let Err(refused) = Engine::open(parts) else {
        panic!("opened")
    };
    assert!(refused.damaged, "{refused}");
    assert!(
        refused.message.contains("older than the journal"),
        "{refused}"
    );
}
