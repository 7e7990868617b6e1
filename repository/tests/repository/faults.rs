//! Requests that fail, land unseen or tear: the protocol is repeated, and ends with a whole
//! snapshot or with none.

use std::sync::Arc;

use holdfast_broker::{
    Broker, Context, ErrorClass, Fault, FaultPlan, FaultRule, MemoryBroker, Request, Trouble, When,
};
use holdfast_repository::{Discarded, ObjectKey, ObjectKind};

use crate::harness::*;

fn faulty() -> (holdfast_repository::Repository, MemoryBroker, FaultPlan) {
    let broker = MemoryBroker::new();
    let plan = FaultPlan::new(7);
    let repository = open(Arc::new(Fault::new(broker.clone(), plan.clone())));
    (repository, broker, plan)
}

/// A few files, so that each request can be hit in turn.
fn few() -> Data {
    data([("a", b"first".as_slice()), ("b", b"second")])
}

#[test]
fn a_backup_whose_nth_request_fails_succeeds_when_it_is_repeated() {
    for trouble in [
        Trouble::Fail(ErrorClass::Retry),
        Trouble::LandThenFail(ErrorClass::Ambiguous),
    ] {
        for nth in 1.. {
            let (repository, broker, plan) = faulty();
            plan.add(FaultRule::on_any(When::Nth(nth), trouble));
            let job = Job::new(&repository, "l", NOON, 1);
            let attempt = || {
                job.upload(&few())
                    .and_then(|uploaded| job.commit(&uploaded))
            };
            if attempt().is_err() {
                plan.clear();
                attempt().unwrap_or_else(|error| panic!("{trouble:?} {nth}: {error}"));
            }
            let fired = plan.fired();
            plan.clear();
            assert_eq!(
                restore(&repository, "l", NOON).unwrap(),
                few(),
                "{trouble:?} {nth}"
            );
            assert_eq!(findings(&repository), []);
            let left = paths(&broker);
            let whole = left
                .iter()
                .filter(|path| ObjectKey::parse(path).is_ok())
                .count();
            assert_eq!(
                (
                    whole,
                    left.iter().filter(|path| path.contains("intents")).count()
                ),
                (1, 0)
            );
            if fired == 0 {
                assert!(nth > 15, "only {nth} requests were hit");
                break;
            }
        }
    }
}

#[test]
fn a_discard_whose_nth_request_fails_ends_clean_when_it_is_repeated() {
    let ctx = Context::new();
    for trouble in [
        Trouble::Fail(ErrorClass::Retry),
        Trouble::LandThenFail(ErrorClass::Ambiguous),
    ] {
        for nth in 1.. {
            let (repository, broker, plan) = faulty();
            Job::new(&repository, "kept", NOON, 1).run(&few());
            let before = paths(&broker);
            let job = Job::new(&repository, "l", NOON, 2);
            let files = data([("c", b"third".as_slice()), ("a", b"first")]);
            let uploaded = job.upload(&files).unwrap();
            plan.add(FaultRule::on_any(When::Nth(nth), trouble));
            let discard = || repository.discard(&ctx, &job.writer, "l", &uploaded.created);
            if discard().is_err() {
                plan.clear();
                discard().unwrap_or_else(|error| panic!("{trouble:?} {nth}: {error}"));
            }
            let fired = plan.fired();
            plan.clear();
            assert_eq!(paths(&broker), before, "{trouble:?} {nth}");
            assert_eq!(restore(&repository, "kept", NOON).unwrap(), few());
            if fired == 0 {
                assert!(nth > 7, "only {nth} requests were hit");
                break;
            }
        }
    }
}

#[test]
fn a_put_that_lands_unseen_is_found_and_not_counted_as_ours_to_delete() {
    let (repository, _, plan) = faulty();
    let rule = FaultRule::on(
        Request::Put,
        When::Always,
        Trouble::LandThenFail(ErrorClass::Ambiguous),
    );
    plan.add(rule.named("packs/"));
    let job = Job::new(&repository, "l", NOON, 1);
    let uploaded = job.upload(&few()).unwrap();
    assert_eq!(plan.fired(), 1);
    assert!(uploaded.created.is_empty());
    job.commit(&uploaded).unwrap();
    assert_eq!(restore(&repository, "l", NOON).unwrap(), few());
}

#[test]
fn torn_puts_of_any_object_are_written_again() {
    for name in ["packs/", "part.", "__info_", "objects/"] {
        let broker = MemoryBroker::new();
        let plan = FaultPlan::new(3);
        let repository = open(Tapped::tearing(Fault::new(broker.clone(), plan.clone())));
        plan.add(
            FaultRule::on(Request::Put, When::First(1), Trouble::Tear { bytes: 20 }).named(name),
        );
        let job = Job::new(&repository, "l", NOON, 1);
        let attempt = || {
            job.upload(&sample())
                .and_then(|uploaded| job.commit(&uploaded))
        };
        assert!(attempt().is_err(), "{name}");
        let torn = paths(&broker)
            .into_iter()
            .find(|path| path.contains(name))
            .unwrap();
        assert!(
            broker
                .stat(&Context::new(), &object(&torn))
                .unwrap()
                .is_some()
        );
        attempt().unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(restore(&repository, "l", NOON).unwrap(), sample());
        assert_eq!(findings(&repository), []);
    }
}

#[test]
fn where_puts_may_tear_an_object_of_the_right_size_is_hashed_before_it_counts() {
    let broker = MemoryBroker::new();
    let repository = open(Tapped::tearing(broker.clone()));
    let uploaded = Job::new(&repository, "l", NOON, 1).run(&sample());
    let ctx = Context::new();
    for kind in [ObjectKind::Whole, ObjectKind::Pack] {
        let object = uploaded
            .plan
            .objects
            .iter()
            .find(|o| o.key.kind() == kind)
            .unwrap();
        assert!(repository.has(&ctx, object).unwrap());
        let name = self::object(&object.key.to_string());
        broker
            .damage(&name, |bytes| *bytes.last_mut().unwrap() ^= 1)
            .unwrap();
        assert!(!repository.has(&ctx, object).unwrap());
        broker.delete(&ctx, &name).unwrap();
        assert!(!repository.has(&ctx, object).unwrap());
    }
}

#[test]
fn a_cancelled_context_ends_every_step() {
    let (repository, _) = in_memory();
    let job = Job::new(&repository, "l", NOON, 1);
    let uploaded = job.upload(&few()).unwrap();
    let ctx = Context::new();
    ctx.cancel_token().cancel("user asked");
    let someone = writer("west", 1);
    let results: [Result<(), holdfast_repository::Error>; 6] = [
        repository.begin(&ctx, &someone),
        repository.claim(&ctx, "m", &someone, &|_| false),
        repository.presence(&ctx).map(drop),
        repository.labels(&ctx).map(drop),
        repository
            .put_object(&ctx, &uploaded.plan.objects[0], &Files(vec![]))
            .map(drop),
        repository.verify(&ctx, None, &mut |_| ()).map(drop),
    ];
    for (number, result) in results.into_iter().enumerate() {
        let kind = result.unwrap_err().kind();
        let cancelled = holdfast_repository::ErrorKind::Remote(ErrorClass::Cancelled);
        assert_eq!(kind, cancelled, "step {number}");
    }
    let none = Discarded::default();
    let done = repository
        .discard(&Context::new(), &job.writer, "l", &[])
        .unwrap();
    assert_eq!(done, none);
}
