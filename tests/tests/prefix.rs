//! Every prefix of a job: the folders are copied before and after each append to the journal and
//! each change of storage or repository, with nobody at work in them. Each copy is opened and must
//! come to the right end: so "recorded and not begun" and "done and not recorded" are covered for
//! every event and every effect. An append of several events is cut after each of its frames and in the middle
//! of each, too.
//!
//! `HOLDFAST_PREFIX=full` copies around every change and cuts at every frame; without it copies are made around
//! every append and a part of the others, and a sample of the cuts is taken.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use holdfast_broker::{Broker, Fault, FaultPlan, FaultRule, LocalBroker, Request, Trouble, When};
use holdfast_engine::{BrokerBlobs, Engine, Event, JobKind, Parts};
use holdfast_journal::FileJournal;
use holdfast_storage::LocalStorage;
use holdfast_tests::frames::{Cut, cuts};
use holdfast_tests::gate::{Gate, Gated, Moment};
use holdfast_tests::place::copy_tree;
use holdfast_tests::template::{Size, Template, label, open_at, released};
use holdfast_tests::verdict::{events, judge};
use holdfast_tests::{Node, backup, restore};

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
    gate.arm(if is_full() { 1 } else { 8 });
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

fn is_full() -> bool {
    std::env::var("HOLDFAST_PREFIX").is_ok_and(|value| value == "full")
}

/// Runs `one` for each of these, on three threads; a failure is told with what it is about.
fn each<T: Sync>(all: &[T], about: impl Fn(&T) -> String + Sync, one: impl Fn(&T, usize) + Sync) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let run = || {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                let Some(item) = all.get(number) else {
                    return;
                };
                let judged = std::panic::catch_unwind(AssertUnwindSafe(|| one(item, number)));
                assert!(judged.is_ok(), "copy {number}: {}", about(item));
            }
        };
        let others = [scope.spawn(run), scope.spawn(run)];
        run();
        for other in others {
            other.join().unwrap();
        }
    });
}

fn every_prefix(kind: JobKind, course: Course) {
    let template = Template::new(kind, Size { big: 1, small: 6 });
    let copies = tempfile::tempdir().unwrap();
    let chosen = watch(&template, kind, course, copies.path());
    println!("{kind:?} {course:?}: {} copies", chosen.len());
    assert!(chosen.len() > 20, "too few moments to mean anything");
    let about = |moment: &Moment| format!("{kind:?} {course:?}, {}", moment.what);
    each(&chosen, about, |moment, number| {
        judge(&template, kind, &moment.root, number);
        std::fs::remove_dir_all(&moment.root).unwrap();
    });
}

/// So many of these, spread evenly.
fn spread(all: Vec<Cut>, few: usize) -> Vec<Cut> {
    let step = all.len().div_ceil(few).max(1);
    all.into_iter().step_by(step).collect()
}

/// Cuts the log of a job between and inside the frames of each append.
fn every_frame(kind: JobKind, course: Course) {
    let template = Template::new(kind, Size { big: 1, small: 6 });
    let copies = tempfile::tempdir().unwrap();
    let moments = watch(&template, kind, course, copies.path());
    let all = cuts(&moments);
    let ends = |cut: &&Cut| cut.whole == cut.frames;
    let (appends, frames) = (
        all.iter().filter(ends).count(),
        all.iter().filter(|cut| !cut.is_torn).count(),
    );
    let (inside, others): (Vec<_>, Vec<_>) = all.into_iter().partition(Cut::is_inside);
    assert!(inside.len() > 10, "too few appends of several events");
    let of_several = format!("{} cuts inside appends of several events", inside.len());
    let chosen = match is_full() {
        true => [inside, others].concat(),
        false => [spread(inside, 8), spread(others, 4)].concat(),
    };
    println!(
        "{kind:?} {course:?}: {appends} appends, {frames} frames, {of_several}, {} cuts judged",
        chosen.len()
    );
    let about = |cut: &Cut| {
        let torn = if cut.is_torn { " and a half" } else { "" };
        let (whole, of, what) = (cut.whole, cut.frames, &cut.what);
        format!("{kind:?} {course:?}, {whole}{torn} of {of} frames, {what}")
    };
    each(&chosen, about, |cut, number| {
        let place = tempfile::tempdir().unwrap();
        cut.lay_out(place.path());
        // All of an append counts, or nothing of it.
        let added = events(place.path()).len() - cut.events_before();
        assert_eq!(
            added,
            if cut.whole == cut.frames {
                cut.frames
            } else {
                0
            }
        );
        judge(&template, kind, place.path(), number);
    });
}

#[test]
fn a_log_cut_at_any_frame_of_a_backup_comes_to_its_end() {
    every_frame(JobKind::Backup, Course::ToItsEnd);
}

#[test]
fn a_log_cut_at_any_frame_of_an_overwriting_restore_comes_to_its_end() {
    every_frame(JobKind::Restore, Course::ToItsEnd);
}

#[test]
fn a_log_cut_at_any_frame_of_a_cancelled_backup_comes_to_its_end() {
    every_frame(JobKind::Backup, Course::Cancelled);
}

#[test]
fn a_log_cut_at_any_frame_of_a_cancelled_restore_leaves_the_target_or_restores_it_wholly() {
    every_frame(JobKind::Restore, Course::Cancelled);
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
