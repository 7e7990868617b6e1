//! Who gets a label.

use std::sync::{Arc, Barrier};

use holdfast_broker::{Broker, BrokerExt, Context, LocalBroker, MemoryBroker, PutMode};
use holdfast_repository::{ErrorKind, MarkerOutcome, Mode, Repository, Unclaimed};

use crate::harness::*;

#[test]
fn of_clusters_that_race_for_a_label_one_wins() {
    const RACERS: usize = 6;
    for round in 0..30 {
        let (repository, _) = in_memory();
        let barrier = Barrier::new(RACERS);
        let wins: usize = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..RACERS)
                .map(|racer| {
                    let (repository, barrier) = (&repository, &barrier);
                    scope.spawn(move || {
                        let writer = writer(&format!("c{racer}"), 1);
                        barrier.wait();
                        match repository.claim(&Context::new(), "l", &writer, &|_| false) {
                            Ok(()) => 1,
                            Err(error) => {
                                assert_eq!(error.kind(), ErrorKind::LabelTaken);
                                assert!(error.message().contains("already exist in repository"));
                                0
                            }
                        }
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).sum()
        });
        assert_eq!(wins, 1, "round {round}");
    }
}

#[test]
fn of_jobs_that_race_to_take_over_from_an_ended_one_at_most_one_wins() {
    const RACERS: u64 = 4;
    let mut won = 0;
    for round in 0..30 {
        let (repository, _) = in_memory();
        let ctx = Context::new();
        repository
            .claim(&ctx, "l", &writer("east", 1), &|_| false)
            .unwrap();
        let barrier = Barrier::new(RACERS as usize);
        let wins: usize = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..RACERS)
                .map(|racer| {
                    let (repository, barrier) = (&repository, &barrier);
                    scope.spawn(move || {
                        barrier.wait();
                        let claimed = repository.claim(
                            &Context::new(),
                            "l",
                            &writer("east", 2 + racer),
                            &|job| job == 1,
                        );
                        usize::from(claimed.is_ok())
                    })
                })
                .collect();
            racers.into_iter().map(|racer| racer.join().unwrap()).sum()
        });
        assert!(wins <= 1, "round {round}");
        won += wins;
    }
    assert!(won > 0);
}

#[test]
fn a_claim_stays_its_writers_until_given_up() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let (first, second) = (writer("east", 1), writer("west", 1));
    let nobody = |_: u64| false;
    repository.claim(&ctx, "l", &first, &nobody).unwrap();
    repository.claim(&ctx, "l", &first, &nobody).unwrap();
    for other in [&second, &writer("east", 2)] {
        let error = repository.claim(&ctx, "l", other, &nobody).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LabelTaken);
        assert_eq!(
            repository.unclaim(&ctx, "l", other).unwrap(),
            Unclaimed::NotOurs
        );
    }
    // Another cluster's word that a job has ended is no reason to take over from this one.
    assert!(repository.claim(&ctx, "l", &second, &|_| true).is_err());
    assert_eq!(
        repository.unclaim(&ctx, "l", &first).unwrap(),
        Unclaimed::Released
    );
    assert_eq!(
        repository.unclaim(&ctx, "l", &first).unwrap(),
        Unclaimed::Released
    );
    repository.claim(&ctx, "l", &second, &nobody).unwrap();
    assert!(repository.claim(&ctx, "l", &first, &nobody).is_err());
    assert_eq!(paths(&broker), ["__repo_info", "__ss_l/claim.0"]);
}

#[test]
fn an_ended_jobs_claim_is_taken_over_and_its_leavings_go_with_it() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let dead = Job::new(&repository, "l", NOON, 1);
    let uploaded = dead.upload(&sample()).unwrap();
    dead.marker(&uploaded).unwrap();
    assert!(
        paths(&broker)
            .iter()
            .any(|path| path.starts_with("__ss_l/part."))
    );
    let heir = writer("east", 2);
    repository.claim(&ctx, "l", &heir, &|job| job == 1).unwrap();
    repository.claim(&ctx, "l", &heir, &|job| job == 1).unwrap();
    let error = repository
        .claim(&ctx, "l", &dead.writer, &|_| false)
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::LabelTaken);
    assert_eq!(
        repository.unclaim(&ctx, "l", &heir).unwrap(),
        Unclaimed::Released
    );
    assert!(
        !paths(&broker)
            .iter()
            .any(|path| path.starts_with("__ss_l/"))
    );
}

#[test]
fn a_label_that_bears_a_snapshot_is_taken_and_its_folder_is_left_alone() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let job = Job::new(&repository, "l", NOON, 1);
    job.run(&sample());
    let before = paths(&broker);
    for other in [writer("east", 2), writer("west", 1)] {
        let error = repository.claim(&ctx, "l", &other, &|_| true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LabelTaken);
    }
    repository
        .claim(&ctx, "l", &job.writer, &|_| false)
        .unwrap();
    assert_eq!(
        repository.unclaim(&ctx, "l", &job.writer).unwrap(),
        Unclaimed::Visible
    );
    assert_eq!(paths(&broker), before);
}

#[test]
fn a_claimed_label_is_not_visible_before_its_marker() {
    let (repository, _) = in_memory();
    let ctx = Context::new();
    let job = Job::new(&repository, "l", NOON, 1);
    let uploaded = job.upload(&sample()).unwrap();
    let marker = job.marker(&uploaded).unwrap();
    assert_eq!(repository.labels(&ctx).unwrap(), []);
    let error = repository.marker(&ctx, "l", NOON).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(
        repository.put_marker(&ctx, "l", &marker).unwrap(),
        MarkerOutcome::Ours
    );
    let labels = repository.labels(&ctx).unwrap();
    assert_eq!(labels[0].snapshots[0].root, marker.root_hash());
    assert_eq!(labels[0].snapshots[0].file_name(), marker.name());
    assert_eq!(
        repository.marker(&ctx, "l", NOON).unwrap(),
        marker.root().unwrap()
    );
    let error = repository.marker(&ctx, "l", LATER).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn a_marker_is_put_once_and_not_over_anothers() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let job = Job::new(&repository, "l", NOON, 1);
    let uploaded = job.upload(&sample()).unwrap();
    let marker = job.commit(&uploaded).unwrap();
    assert_eq!(
        repository.put_marker(&ctx, "l", &marker).unwrap(),
        MarkerOutcome::Ours
    );

    let west = Job::new(&repository, "m", NOON, 1).of("west");
    let uploaded = west.upload(&sample()).unwrap();
    let lost = Job { label: "l", ..west }.marker(&uploaded).unwrap();
    let before = paths(&broker);
    match repository.put_marker(&ctx, "l", &lost).unwrap() {
        MarkerOutcome::Anothers(who) => assert!(who.contains("cluster east"), "{who}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(paths(&broker), before);
    let error = repository.put_marker(&ctx, "m", &lost).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn nothing_is_written_where_the_repository_is_gone_or_another() {
    let ctx = Context::new();
    let broker = MemoryBroker::new();
    let repository = open(broker.clone());
    repository.begin(&ctx, &writer("east", 1)).unwrap();
    // As after an unmount, and after another file system was mounted in its place.
    for other in [false, true] {
        for each in broker.list_all(&ctx, "").unwrap() {
            broker.delete(&ctx, &each.name).unwrap();
        }
        if other {
            let mode = Mode::ReadWrite { created_at_ms: 99 };
            Repository::open(
                &ctx,
                Arc::new(broker.clone()),
                repository.info().name.as_str(),
                mode,
            )
            .unwrap();
        }
        let error = repository.begin(&ctx, &writer("east", 2)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert_eq!(broker.counts().objects, u64::from(other));
    }
}

#[test]
fn a_marker_that_is_visible_is_ours_whatever_lies_beside_it() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    // What an undecided race leaves: two markers under one label.
    let east = Job::new(&repository, "l", NOON, 1);
    let uploaded = east.upload(&sample()).unwrap();
    let marker = east.commit(&uploaded).unwrap();
    let west = Job::new(&repository, "m", NOON, 1).of("west");
    let uploaded = west.upload(&sample()).unwrap();
    let other = Job { label: "l", ..west }.marker(&uploaded).unwrap();
    let name = object(&format!("__ss_l/{other}"));
    broker
        .put_bytes(&ctx, &name, other.bytes(), PutMode::CreateIfAbsent)
        .unwrap();
    assert_eq!(
        repository.put_marker(&ctx, "l", &marker).unwrap(),
        MarkerOutcome::Ours
    );
}

#[test]
fn a_marker_is_not_put_where_a_part_or_the_claim_is_gone() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let job = Job::new(&repository, "l", NOON, 1);
    let uploaded = job.upload(&sample()).unwrap();
    let marker = job.marker(&uploaded).unwrap();
    broker.delete(&ctx, &object("__ss_l/claim.0")).unwrap();
    let outcome = repository.put_marker(&ctx, "l", &marker).unwrap();
    assert!(matches!(outcome, MarkerOutcome::Anothers(_)), "{outcome:?}");
    repository
        .claim(&ctx, "l", &job.writer, &|_| false)
        .unwrap();
    let part = paths(&broker)
        .into_iter()
        .find(|path| path.starts_with("__ss_l/part."))
        .unwrap();
    broker.delete(&ctx, &object(&part)).unwrap();
    let error = repository.put_marker(&ctx, "l", &marker).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert_eq!(repository.labels(&ctx).unwrap(), []);
    job.commit(&uploaded).unwrap();
    assert_eq!(restore(&repository, "l", NOON).unwrap(), sample());
}

#[test]
fn labels_that_begin_alike_do_not_mix() {
    let (repository, _) = in_memory();
    let ctx = Context::new();
    for (number, label) in ["a", "ab", "a-b", "a_", "A"].iter().enumerate() {
        Job::new(&repository, label, NOON, number as u64).run(&data([(*label, label.as_bytes())]));
    }
    let labels = repository.labels(&ctx).unwrap();
    let names: Vec<_> = labels.iter().map(|entry| entry.label.as_str()).collect();
    assert_eq!(names, ["A", "a", "a-b", "a_", "ab"]);
    assert!(
        labels
            .iter()
            .all(|entry| entry.snapshots.len() == 1 && entry.problem.is_none())
    );
    assert_eq!(
        restore(&repository, "a", NOON).unwrap(),
        data([("a", b"a".as_slice())])
    );
}

/// A job takes over from an ended one of its cluster while the folder is deleted by hand and
/// another cluster claims the label, at these moments; gives who won, and whether both were
/// stopped on their way.
fn contend(first: u64, second: u64) -> (usize, bool) {
    let broker = MemoryBroker::new();
    let ctx = Context::new();
    let plain = open(broker.clone());
    plain
        .claim(&ctx, "l", &writer("east", 1), &|_| false)
        .unwrap();
    let (east_gate, west_gate) = (Gate::default(), Gate::default());
    let claim = |gate: &Gate, who| {
        let repository = open(gate.clone().before(broker.clone()));
        let claimed = repository.claim(&ctx, "l", &who, &|job| job == 1);
        gate.done();
        usize::from(claimed.is_ok())
    };
    let (wins, stopped) = std::thread::scope(|scope| {
        let east = scope.spawn(|| claim(&east_gate, writer("east", 2)));
        let mut stopped = east_gate.grant(first);
        broker.delete(&ctx, &object("__ss_l/claim.0")).unwrap();
        let west = scope.spawn(|| claim(&west_gate, writer("west", 1)));
        stopped &= west_gate.grant(second);
        east_gate.grant(u64::MAX);
        west_gate.grant(u64::MAX);
        (east.join().unwrap() + west.join().unwrap(), stopped)
    });
    (wins, stopped)
}

#[test]
fn a_label_whose_folder_was_deleted_during_a_race_still_has_one_owner_at_most() {
    let mut stops = 0;
    let mut won = 0;
    for (first, second) in (0..12).flat_map(|first| (0..12).map(move |second| (first, second))) {
        let (wins, stopped) = contend(first, second);
        assert!(wins <= 1, "{first} {second}");
        stops += u32::from(stopped);
        won += wins;
    }
    assert!(stops > 20 && won > 20, "{stops} stops, {won} won");
}

/// What a writer left that was killed while it put its claim, as the local broker leaves it.
#[test]
fn what_a_killed_put_of_a_claim_left_goes_when_the_writer_gives_up() {
    let ctx = Context::new();
    let ours = writer("east", 1);
    let another = writer("west", 1);
    let expected = [Unclaimed::Released, Unclaimed::NotOurs, Unclaimed::Visible];
    for (case, expected) in expected.into_iter().enumerate() {
        let folder = tempfile::tempdir().unwrap();
        let repository = open(LocalBroker::open(folder.path()).unwrap());
        repository.begin(&ctx, &ours).unwrap();
        match expected {
            Unclaimed::Released => {}
            Unclaimed::NotOurs => repository.claim(&ctx, "l", &another, &|_| false).unwrap(),
            Unclaimed::Visible => drop(Job::new(&repository, "l", NOON, 2).run(&sample())),
        }
        let label = folder
            .path()
            .join(format!("__holdfast_repository_{NAME}/__ss_l"));
        std::fs::create_dir_all(&label).unwrap();
        let left = label.join(".tmp-1-1");
        std::fs::write(&left, "half a claim").unwrap();
        let names = || -> std::collections::BTreeSet<std::ffi::OsString> {
            let entries = std::fs::read_dir(&label).into_iter().flatten();
            entries.map(|entry| entry.unwrap().file_name()).collect()
        };
        let mut before = names();
        before.remove(std::ffi::OsStr::new(".tmp-1-1"));
        // Another process opens the repository after the kill.
        let again = open(LocalBroker::open(folder.path()).unwrap());
        assert_eq!(again.unclaim(&ctx, "l", &ours).unwrap(), expected, "{case}");
        assert_eq!(names(), before, "{expected:?}");
        assert_eq!(label.exists(), expected != Unclaimed::Released);
    }
}
