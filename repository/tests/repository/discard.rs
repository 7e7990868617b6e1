//! Cancelled backups: what is removed, and what is kept because another may need it.

use holdfast_broker::{
    Broker, BrokerExt, Context, ErrorClass, Fault, FaultPlan, FaultRule, MemoryBroker, PutMode,
    Trouble, When,
};
use holdfast_repository::{Discarded, ObjectKey, Repository};

use crate::harness::*;

fn extra(mut data: Data, text: &str) -> Data {
    data.insert(
        ("x".into(), "x".into(), 0, "extra".into()),
        text.as_bytes().to_vec(),
    );
    data
}

#[test]
fn a_cancelled_backup_leaves_nothing_behind() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    Job::new(&repository, "one", NOON, 1).run(&sample());
    let before = paths(&broker);
    let job = Job::new(&repository, "two", LATER, 2);
    let uploaded = job.upload(&extra(sample(), "only here")).unwrap();
    job.marker(&uploaded).unwrap();
    assert_eq!(uploaded.created.len(), 1);
    let discard = || {
        repository
            .discard(&ctx, &job.writer, "two", &uploaded.created)
            .unwrap()
    };
    assert_eq!(
        discard(),
        Discarded {
            deleted: 1,
            kept: 0
        }
    );
    assert_eq!(paths(&broker), before);
    // Told again, after its intent is gone, it has nothing to go by and deletes nothing.
    assert_eq!(
        discard(),
        Discarded {
            deleted: 0,
            kept: 1
        }
    );
    assert_eq!(paths(&broker), before);
    assert_eq!(restore(&repository, "one", NOON).unwrap(), sample());
}

#[test]
fn objects_are_kept_while_another_writer_is_at_work() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let job = Job::new(&repository, "one", NOON, 1);
    let uploaded = job.upload(&sample()).unwrap();
    let other = Job::new(&repository, "two", NOON, 1).of("west");
    let relying = other.upload(&sample()).unwrap();
    assert!(relying.created.len() < uploaded.created.len());
    let done = repository
        .discard(&ctx, &job.writer, "one", &uploaded.created)
        .unwrap();
    assert_eq!(
        done,
        Discarded {
            deleted: 0,
            kept: uploaded.created.len() as u64
        }
    );
    assert!(repository.condemned(&ctx).unwrap().is_empty());
    other.commit(&relying).unwrap();
    assert_eq!(restore(&repository, "two", NOON).unwrap(), sample());
    assert!(
        !paths(&broker)
            .iter()
            .any(|path| path.starts_with("__ss_one/"))
    );
}

#[test]
fn an_intent_that_was_torn_is_made_whole_so_that_a_discard_can_go_by_it() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let job = Job::new(&repository, "l", NOON, 1);
    repository.begin(&ctx, &job.writer).unwrap();
    let name = object("intents/east-1");
    let whole = broker.get(&ctx, &name, 1 << 20).unwrap();
    for torn in [&b""[..], &whole[..17]] {
        broker
            .put_bytes(&ctx, &name, torn, PutMode::Overwrite)
            .unwrap();
        repository.begin(&ctx, &job.writer).unwrap();
        assert_eq!(broker.get(&ctx, &name, 1 << 20).unwrap(), whole);
    }
    let uploaded = job.upload(&sample()).unwrap();
    let done = repository
        .discard(&ctx, &job.writer, "l", &uploaded.created)
        .unwrap();
    assert!(done.deleted > 0 && done.kept == 0, "{done:?}");
}

#[test]
fn an_intent_that_an_ended_job_of_the_same_cluster_has_left_goes_and_no_other_does() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let before = paths(&broker);
    for left in [writer("east", 7), writer("east", 8), writer("east-9", 7)] {
        repository.begin(&ctx, &left).unwrap();
    }
    let job = Job::new(&repository, "one", NOON, 1);
    let uploaded = job.upload(&sample()).unwrap();
    let ended = |job: u64| job != 8;
    assert_eq!(repository.end_stale(&ctx, &job.writer, &ended).unwrap(), 1);
    let mut left = repository.intents(&ctx).unwrap();
    left.sort();
    assert_eq!(left, ["east-1", "east-8", "east-9-7"]);
    let kept = repository
        .discard(&ctx, &job.writer, "one", &uploaded.created)
        .unwrap();
    assert_eq!(
        (kept.deleted, kept.kept),
        (0, uploaded.created.len() as u64)
    );
    // The other cluster's and the running job's are theirs to end.
    for other in [writer("east", 8), writer("east-9", 7)] {
        repository.end(&ctx, &other).unwrap();
    }
    let again = Job::new(&repository, "two", NOON, 2);
    repository.begin(&ctx, &writer("east", 7)).unwrap();
    let uploaded_again = again.upload(&extra(sample(), "only here")).unwrap();
    repository.end_stale(&ctx, &again.writer, &ended).unwrap();
    let done = repository
        .discard(&ctx, &again.writer, "two", &uploaded_again.created)
        .unwrap();
    assert_eq!(done.kept, 0);
    assert!(paths(&broker).len() >= before.len());
    assert!(repository.intents(&ctx).unwrap().is_empty());
}

#[test]
fn objects_are_kept_that_a_snapshot_made_meanwhile_refers_to() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let job = Job::new(&repository, "one", NOON, 1);
    let uploaded = job.upload(&sample()).unwrap();
    // It finds the objects of the first in place, adds one of its own, and is done before the
    // first is cancelled.
    let whole = ("b".to_owned(), "b".to_owned(), 4, "whole".to_owned());
    let shared = Data::from([(whole.clone(), sample()[&whole].clone())]);
    let other = Job::new(&repository, "two", NOON, 1).of("west");
    let relying = other.run(&shared);
    assert_eq!(relying.sent, 0);
    let done = repository
        .discard(&ctx, &job.writer, "one", &uploaded.created)
        .unwrap();
    assert_eq!(
        done,
        Discarded {
            deleted: uploaded.created.len() as u64 - 1,
            kept: 1
        }
    );
    assert_eq!(restore(&repository, "two", NOON).unwrap(), shared);
    assert_eq!(findings(&repository), []);
    let left = paths(&broker);
    let objects = left.iter().filter(|path| ObjectKey::parse(path).is_ok());
    assert_eq!(objects.count(), 1);
}

#[test]
fn a_snapshot_made_meanwhile_that_cannot_be_read_keeps_everything() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let job = Job::new(&repository, "one", NOON, 1);
    let uploaded = job.upload(&sample()).unwrap();
    Job::new(&repository, "two", NOON, 1)
        .of("west")
        .run(&sample());
    let part = paths(&broker)
        .into_iter()
        .find(|path| path.starts_with("__ss_two/part."))
        .unwrap();
    broker
        .damage(&object(&part), |bytes| bytes.truncate(1))
        .unwrap();
    let done = repository
        .discard(&ctx, &job.writer, "one", &uploaded.created)
        .unwrap();
    assert_eq!(done.deleted, 0);
}

#[test]
fn a_discard_after_the_marker_became_visible_harms_nothing() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let job = Job::new(&repository, "one", NOON, 1);
    let uploaded = job.upload(&sample()).unwrap();
    let marker = job.marker(&uploaded).unwrap();
    repository.put_marker(&ctx, "one", &marker).unwrap();
    let done = repository
        .discard(&ctx, &job.writer, "one", &uploaded.created)
        .unwrap();
    assert_eq!(
        done,
        Discarded {
            deleted: 0,
            kept: uploaded.created.len() as u64
        }
    );
    assert_eq!(restore(&repository, "one", NOON).unwrap(), sample());
    assert!(
        paths(&broker)
            .iter()
            .all(|path| !path.starts_with("intents/"))
    );
}

#[test]
fn a_writer_that_begins_again_keeps_its_first_view_of_what_was_visible() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let job = Job::new(&repository, "one", NOON, 1);
    let uploaded = job.upload(&sample()).unwrap();
    let intent = || {
        broker
            .get(&ctx, &object("intents/east-1"), 1 << 20)
            .unwrap()
    };
    let first = intent();
    Job::new(&repository, "two", NOON, 1)
        .of("west")
        .run(&sample());
    // As after a restart in the middle of the upload.
    repository.begin(&ctx, &job.writer).unwrap();
    assert_eq!(intent(), first);
    let done = repository
        .discard(&ctx, &job.writer, "one", &uploaded.created)
        .unwrap();
    assert_eq!(done.deleted, 0);
    assert_eq!(restore(&repository, "two", NOON).unwrap(), sample());
}

#[test]
fn where_listings_may_be_late_nothing_is_deleted_and_backups_still_work() {
    let broker = MemoryBroker::new();
    let repository = open(Tapped::late(broker.clone()));
    let ctx = Context::new();
    let job = Job::new(&repository, "one", NOON, 1);
    let uploaded = job.upload(&sample()).unwrap();
    let done = repository
        .discard(&ctx, &job.writer, "one", &uploaded.created)
        .unwrap();
    assert_eq!(
        done,
        Discarded {
            deleted: 0,
            kept: uploaded.created.len() as u64
        }
    );
    let again = Job::new(&repository, "one", NOON, 2).run(&sample());
    assert_eq!(again.sent, 0);
    assert_eq!(restore(&repository, "one", NOON).unwrap(), sample());
}

#[test]
fn what_is_condemned_counts_as_absent_and_gets_a_new_generation() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let job = Job::new(&repository, "one", NOON, 1);
    let uploaded = job.upload(&sample()).unwrap();
    // A cancelled writer that was killed in the middle: its list stands, its objects do too.
    let keys: Vec<_> = uploaded.created.iter().map(ToString::to_string).collect();
    let list = serde_json::json!({"format": 1, "cluster": "east", "job": 1, "keys": keys});
    let list = zstd::bulk::compress(list.to_string().as_bytes(), 1).unwrap();
    broker
        .put_bytes(
            &ctx,
            &object("condemned/east-1"),
            &list,
            holdfast_broker::PutMode::Overwrite,
        )
        .unwrap();

    let other = Job::new(&repository, "two", NOON, 1).of("west");
    let sent = other.run(&sample());
    assert_eq!(sent.created.len(), uploaded.created.len());
    assert!(sent.created.iter().all(|key| key.generation() == 1));
    assert_eq!(repository.condemned(&ctx).unwrap().len(), keys.len());

    // It goes on where it was killed.
    let done = repository
        .discard(&ctx, &job.writer, "one", &uploaded.created)
        .unwrap();
    assert_eq!(done.deleted, keys.len() as u64);
    assert_eq!(restore(&repository, "two", NOON).unwrap(), sample());
    let again = Job::new(&repository, "three", LATER, 3).run(&sample());
    assert_eq!(again.sent, 0);
}

#[test]
fn an_unreadable_list_of_the_condemned_stops_a_writer() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let name = object("condemned/east-1");
    broker
        .put_bytes(&ctx, &name, b"{", holdfast_broker::PutMode::Overwrite)
        .unwrap();
    let error = repository.presence(&ctx).unwrap_err();
    assert_eq!(error.kind(), holdfast_repository::ErrorKind::Damaged);
    assert!(error.message().contains("condemned/east-1"), "{error}");
    broker.delete(&ctx, &name).unwrap();
    assert!(repository.presence(&ctx).unwrap().is_empty());
}

fn other(repository: &Repository) -> Job<'_> {
    Job::new(repository, "two", LATER, 1).of("west")
}

/// One writer discards its backup while another backs the same data up: `first` requests of the
/// one, then `second` of the other, then the rest of the one, then the rest of the other. Gives
/// how many requests each had left at its stop.
fn meet(first: u64, second: u64) -> (bool, bool) {
    let ctx = Context::new();
    let broker = MemoryBroker::new();
    let files = data([("a", b"first".as_slice()), ("b", b"second")]);
    let uploaded = Job::new(&open(broker.clone()), "one", NOON, 1)
        .upload(&files)
        .unwrap();
    let (east_gate, west_gate) = (Gate::default(), Gate::default());
    let east = open(broker.clone());
    let stopped = std::thread::scope(|scope| {
        scope.spawn(|| {
            let east = open(east_gate.clone().before(broker.clone()));
            let discarded = east.discard(&ctx, &writer("east", 1), "one", &uploaded.created);
            east_gate.done();
            discarded.unwrap();
        });
        scope.spawn(|| {
            let west = open(west_gate.clone().before(broker.clone()));
            let job = other(&west);
            let committed = job
                .upload(&files)
                .and_then(|uploaded| job.commit(&uploaded));
            west_gate.done();
            committed.unwrap();
        });
        let stopped = (east_gate.grant(first), west_gate.grant(second));
        east_gate.grant(u64::MAX);
        west_gate.grant(u64::MAX);
        stopped
    });
    assert_eq!(
        restore(&east, "two", LATER).unwrap(),
        files,
        "{first} {second}"
    );
    assert_eq!(findings(&east), [], "{first} {second}");
    assert!(east.condemned(&ctx).unwrap().is_empty());
    assert!(east.intents(&ctx).unwrap().is_empty());
    stopped
}

#[test]
fn a_discard_takes_nothing_from_whoever_works_meanwhile_at_whichever_moment() {
    let mut met = 0;
    for first in 0.. {
        let mut more = true;
        for second in 0.. {
            let (east, west) = meet(first, second);
            met += u32::from(east && west);
            more &= east;
            if !west {
                break;
            }
        }
        if !more {
            break;
        }
    }
    assert!(met > 100, "only {met} meetings");
}

#[test]
fn a_killed_discard_goes_on_without_harm_to_who_came_meanwhile() {
    let ctx = Context::new();
    for nth in 1.. {
        let broker = MemoryBroker::new();
        let plan = FaultPlan::new(5);
        let east = open(Fault::new(broker.clone(), plan.clone()));
        let west = open(broker);
        let job = Job::new(&east, "one", NOON, 1);
        let uploaded = job.upload(&sample()).unwrap();
        plan.add(FaultRule::on_any(
            When::Nth(nth),
            Trouble::Fail(ErrorClass::Retry),
        ));
        let discard = || east.discard(&ctx, &job.writer, "one", &uploaded.created);
        let killed = discard().is_err();
        plan.clear();
        other(&west).run(&sample());
        discard().unwrap();
        assert_eq!(restore(&west, "two", LATER).unwrap(), sample(), "{nth}");
        assert!(west.condemned(&ctx).unwrap().is_empty());
        if !killed {
            assert!(nth > 7, "only {nth} requests");
            break;
        }
    }
}
