//! Each trouble does what it says, and the same seed makes the same trouble.

use std::sync::Arc;

use super::*;
use crate::{BrokerExt, ManualClock, MemoryBroker};

fn name() -> ObjectName {
    ObjectName::parse("a").expect("name")
}

fn broken(rule: FaultRule) -> Fault<MemoryBroker> {
    let broker = Fault::new(MemoryBroker::new(), FaultPlan::new(1));
    broker
        .inner()
        .put_bytes(
            &Context::new(),
            &ObjectName::parse("old").expect("name"),
            b"abc",
            PutMode::Overwrite,
        )
        .expect("put");
    broker.plan.add(rule);
    broker
}

fn put(broker: &impl Broker, bytes: &[u8]) -> Result<PutOutcome, ErrorClass> {
    broker
        .put_bytes(&Context::new(), &name(), bytes, PutMode::CreateIfAbsent)
        .map_err(|error| error.class())
}

fn held(broker: &Fault<MemoryBroker>) -> Option<Vec<u8>> {
    broker
        .inner()
        .find(&Context::new(), &name(), 1 << 20)
        .expect("find")
}

#[test]
fn a_broken_put_shows_nothing() {
    for bytes in [0, 1, 100_000, 1_000_000] {
        let trouble = Trouble::FailAfter {
            bytes,
            class: ErrorClass::Retry,
        };
        let broker = broken(FaultRule::on(Request::Put, When::Nth(1), trouble));
        assert_eq!(put(&broker, &[1; 200_000]), Err(ErrorClass::Retry));
        assert!(held(&broker).is_none(), "after {bytes}");
        assert_eq!(put(&broker, b"again"), Ok(PutOutcome::Created));
    }
}

#[test]
fn a_torn_put_shows_its_first_bytes() {
    let broker = broken(FaultRule::on(
        Request::Put,
        When::Always,
        Trouble::Tear { bytes: 3 },
    ));
    assert_eq!(put(&broker, b"abcdef"), Err(ErrorClass::Ambiguous));
    assert_eq!(held(&broker).as_deref(), Some(b"abc".as_slice()));
}

#[test]
fn a_put_that_lands_and_fails_is_there() {
    let broker = broken(FaultRule::on(
        Request::Put,
        When::Always,
        Trouble::LandThenFail(ErrorClass::Ambiguous),
    ));
    assert_eq!(put(&broker, b"abcdef"), Err(ErrorClass::Ambiguous));
    assert_eq!(held(&broker).as_deref(), Some(b"abcdef".as_slice()));
}

#[test]
fn a_put_whose_answer_never_comes_is_there() {
    let broker = broken(FaultRule::on(
        Request::Put,
        When::Always,
        Trouble::LandThenHang,
    ));
    let ctx = Context::new()
        .with_clock(Arc::new(ManualClock::new()))
        .with_timeout(Duration::from_secs(60));
    let put = broker.put_bytes(&ctx, &name(), b"abc", PutMode::CreateIfAbsent);
    assert_eq!(put.expect_err("no answer").class(), ErrorClass::Cancelled);
    assert_eq!(held(&broker).as_deref(), Some(b"abc".as_slice()));
}

#[test]
fn a_lie_has_no_effect() {
    let broker = broken(FaultRule::on_any(When::Always, Trouble::Lie));
    let (ctx, old) = (Context::new(), ObjectName::parse("old").expect("name"));
    assert_eq!(put(&broker, b"abcdef"), Ok(PutOutcome::Created));
    assert_eq!(held(&broker), None);
    broker.delete(&ctx, &old).expect("lie");
    assert!(broker.inner().exists(&ctx, &old).expect("stat"));
    assert!(!broker.exists(&ctx, &old).expect("lie"));
    assert_eq!(broker.get(&ctx, &old, 9).expect("gets do not lie"), b"abc");
}

#[test]
fn a_corrupt_get_flips_the_byte_at_its_offset_and_no_other() {
    let broker = broken(FaultRule::on(
        Request::Get,
        When::Always,
        Trouble::Corrupt { at: 1 },
    ));
    let (ctx, old) = (Context::new(), ObjectName::parse("old").expect("name"));
    let range = |range: Range<u64>| {
        let mut bytes = Vec::new();
        broker
            .get_range(&ctx, &old, range, &mut |piece| {
                bytes.extend_from_slice(piece);
                Ok(())
            })
            .expect("get");
        bytes
    };
    assert_eq!(range(0..3), b"acc");
    assert_eq!(range(1..3), b"cc");
    assert_eq!(range(2..3), b"c");
    assert_eq!(broker.get(&ctx, &old, 9).expect("get"), b"acc");
}

#[test]
fn a_hanging_request_ends_with_its_context() {
    let broker = broken(FaultRule::on_any(When::Always, Trouble::Hang));
    let clock = Arc::new(ManualClock::new());
    let ctx = Context::new()
        .with_clock(clock)
        .with_timeout(Duration::from_secs(9));
    assert_eq!(
        broker.list_all(&ctx, "").expect_err("hang").class(),
        ErrorClass::Cancelled
    );
    let ctx = Context::new();
    std::thread::scope(|scope| {
        let hanging = scope.spawn(|| broker.list_all(&ctx, ""));
        ctx.cancel_token().cancel("enough");
        assert_eq!(
            hanging.join().expect("no panic").expect_err("hang").class(),
            ErrorClass::Cancelled
        );
    });
}

#[test]
fn rules_count_only_what_they_are_about() {
    let plan = FaultPlan::new(0)
        .with(FaultRule::on(Request::Put, When::Nth(2), Trouble::Fail(ErrorClass::Full)).named("x"))
        .with(FaultRule::on(
            Request::Put,
            When::Every(3),
            Trouble::Fail(ErrorClass::Denied),
        ));
    let full = Some(Trouble::Fail(ErrorClass::Full));
    let denied = Some(Trouble::Fail(ErrorClass::Denied));
    let asked = [
        (Request::Put, "x1"),
        (Request::Get, "x1"),
        (Request::Put, "y"),
        (Request::Put, "x2"),
        (Request::Put, "x3"),
    ];
    let hits: Vec<_> = asked
        .iter()
        .map(|(request, name)| plan.next(*request, name))
        .collect();
    // The third put is hit by both rules and the first rule counts.
    assert_eq!(hits, [None, None, None, full, None]);
    assert_eq!(plan.next(Request::Put, "z"), None);
    assert_eq!(plan.next(Request::Put, "z"), denied);
    assert_eq!(plan.fired(), 2);
    plan.clear();
    assert_eq!(plan.next(Request::Put, "x"), None);
}

#[test]
fn a_seed_decides_alone_which_requests_are_hit() {
    let hits = |seed: u64, names: &[u32]| {
        let rule = FaultRule::on_any(When::PerMille(300), Trouble::Fail(ErrorClass::Retry));
        let plan = FaultPlan::new(seed).with(rule);
        let mut hits: Vec<u32> = names
            .iter()
            .copied()
            .filter(|n| plan.next(Request::Get, &n.to_string()).is_some())
            .collect();
        hits.sort_unstable();
        hits
    };
    let forward: Vec<u32> = (0..1000).collect();
    let backward: Vec<u32> = (0..1000).rev().collect();
    assert_eq!(hits(7, &forward), hits(7, &backward));
    assert_ne!(hits(7, &forward), hits(8, &forward));
    let share = hits(7, &forward).len();
    assert!((240..360).contains(&share), "{share}");
}
