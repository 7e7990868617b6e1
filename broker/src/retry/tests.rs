//! Retries over a broker that fails by plan, on a clock that nobody waits for.

use std::sync::Arc;

use super::*;
use crate::{
    BrokerExt, Budget, Fault, FaultPlan, FaultRule, ManualClock, MemoryBroker, Request, Trouble,
    When,
};

struct Setup {
    memory: MemoryBroker,
    plan: FaultPlan,
    clock: Arc<ManualClock>,
    broker: Retry<Fault<MemoryBroker>>,
}

impl Setup {
    fn new(rules: impl IntoIterator<Item = FaultRule>) -> Self {
        let memory = MemoryBroker::new();
        let plan = rules.into_iter().fold(FaultPlan::new(1), FaultPlan::with);
        let broker = Retry::new(
            Fault::new(memory.clone(), plan.clone()),
            RetryPolicy::default(),
        );
        Setup {
            memory,
            plan,
            clock: Arc::new(ManualClock::new()),
            broker,
        }
    }

    fn ctx(&self) -> Context {
        Context::new().with_clock(self.clock.clone())
    }

    fn create(&self, bytes: &[u8]) -> Result<PutOutcome, Error> {
        self.broker
            .put_bytes(&self.ctx(), &name(), bytes, PutMode::CreateIfAbsent)
    }

    fn held(&self) -> Option<Vec<u8>> {
        self.memory
            .find(&Context::new(), &name(), 1 << 24)
            .expect("find")
    }
}

fn name() -> ObjectName {
    ObjectName::parse("a/b").expect("name")
}

fn puts(when: When, trouble: Trouble) -> FaultRule {
    FaultRule::on(Request::Put, when, trouble)
}

#[test]
fn a_failure_that_heals_is_tried_again_with_growing_waits() {
    let setup = Setup::new([puts(When::First(7), Trouble::Fail(ErrorClass::Retry))]);
    assert_eq!(
        setup.create(b"x").expect("the eighth try"),
        PutOutcome::Created
    );
    let full: f64 = (0..7).map(|n| 0.1 * f64::from(1 << n)).sum();
    let waited = setup.clock.elapsed().as_secs_f64();
    assert!(
        (full / 2.0..=full).contains(&waited),
        "waited {waited} of at most {full}"
    );
}

#[test]
fn tries_are_bounded_and_the_last_error_says_so() {
    let setup = Setup::new([puts(When::Always, Trouble::Fail(ErrorClass::Retry))]);
    let error = setup.create(b"x").expect_err("always fails");
    assert_eq!(error.class(), ErrorClass::Retry);
    assert!(
        error.message().starts_with("gave up after 8 tries"),
        "{error}"
    );
    assert_eq!(setup.plan.fired(), 8);
}

#[test]
fn what_cannot_heal_fails_at_once() {
    use ErrorClass::{Corrupt, Denied, Exists, Full, Invalid, Missing};
    for class in [Corrupt, Denied, Exists, Full, Invalid, Missing] {
        let setup = Setup::new([puts(When::Always, Trouble::Fail(class))]);
        assert_eq!(setup.create(b"x").expect_err("fails").class(), class);
        assert_eq!(
            (setup.plan.fired(), setup.clock.elapsed()),
            (1, Duration::ZERO)
        );
    }
}

#[test]
fn a_throttling_remote_is_left_alone_as_long_as_it_asked() {
    let after = Some(Duration::from_secs(77));
    let setup = Setup::new([puts(
        When::First(1),
        Trouble::Fail(ErrorClass::Throttled { after }),
    )]);
    setup.create(b"x").expect("second try");
    assert_eq!(setup.clock.elapsed(), Duration::from_secs(77));
}

#[test]
fn no_wait_goes_beyond_the_deadline() {
    let setup = Setup::new([puts(When::Always, Trouble::Fail(ErrorClass::Retry))]);
    let ctx = setup.ctx().with_timeout(Duration::from_secs(2));
    let put = setup
        .broker
        .put_bytes(&ctx, &name(), b"x", PutMode::CreateIfAbsent);
    let error = put.expect_err("no time");
    // The caller learns the remote's own words instead of a mere timeout, and without waiting for
    // it.
    assert_eq!(error.class(), ErrorClass::Retry);
    assert!(error.message().contains("no time is left"), "{error}");
    assert!(setup.clock.elapsed() < Duration::from_secs(2));
}

#[test]
fn a_shared_budget_bounds_the_retries_of_all_requests() {
    let setup = Setup::new([puts(When::Always, Trouble::Fail(ErrorClass::Retry))]);
    let budget = Budget::new(10);
    let ctx = setup.ctx().with_budget(budget.clone());
    for _ in 0..3 {
        setup
            .broker
            .put_bytes(&ctx, &name(), b"x", PutMode::CreateIfAbsent)
            .expect_err("fails");
    }
    assert_eq!((setup.plan.fired(), budget.left()), (13, 0));
}

#[test]
fn a_cancelled_context_ends_the_waiting() {
    let setup = Setup::new([puts(When::Always, Trouble::Fail(ErrorClass::Retry))]);
    let ctx = Context::new();
    let policy = RetryPolicy {
        base: Duration::from_secs(3600),
        cap: Duration::from_secs(3600),
        ..RetryPolicy::default()
    };
    let broker = Retry::new(Fault::new(setup.memory.clone(), setup.plan.clone()), policy);
    std::thread::scope(|scope| {
        let put = scope.spawn(|| broker.put_bytes(&ctx, &name(), b"x", PutMode::CreateIfAbsent));
        while setup.plan.fired() == 0 {
            std::thread::yield_now();
        }
        ctx.cancel_token().cancel("enough");
        assert_eq!(
            put.join()
                .expect("no panic")
                .expect_err("cancelled")
                .class(),
            ErrorClass::Cancelled
        );
    });
}

#[test]
fn a_put_that_landed_unnoticed_counts_as_created() {
    let setup = Setup::new([puts(
        When::First(1),
        Trouble::LandThenFail(ErrorClass::Ambiguous),
    )]);
    assert_eq!(
        setup.create(&vec![7; 9 << 20]).expect("ours"),
        PutOutcome::Created
    );
    assert_eq!(
        setup.memory.counts().put_bytes,
        9 << 20,
        "nothing was sent twice"
    );
}

/// A source during whose reading something lands under the name.
struct Landing<'a>(&'a Setup, &'a [u8]);

impl Source for Landing<'_> {
    fn len(&self) -> u64 {
        4
    }

    fn read(&self, visit: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let Landing(setup, landing) = self;
        setup
            .memory
            .put_bytes(&Context::new(), &name(), landing, PutMode::CreateIfAbsent)?;
        visit(b"ours")
    }
}

#[test]
fn a_put_that_lands_while_it_is_sent_again_counts_by_its_bytes() {
    for (landing, expected) in [
        (b"ours", PutOutcome::Created),
        (b"else", PutOutcome::Exists),
    ] {
        let setup = Setup::new([puts(When::First(1), Trouble::Fail(ErrorClass::Ambiguous))]);
        let source = Landing(&setup, landing);
        let put = setup
            .broker
            .put(&setup.ctx(), &name(), &source, PutMode::CreateIfAbsent);
        assert_eq!(put.expect("answered"), expected);
        assert_eq!(setup.held().as_deref(), Some(landing.as_slice()));
    }
}

#[test]
fn a_put_that_got_lost_is_sent_again() {
    let setup = Setup::new([puts(When::First(2), Trouble::Fail(ErrorClass::Ambiguous))]);
    assert_eq!(
        setup.create(b"ours").expect("third try"),
        PutOutcome::Created
    );
    assert_eq!(setup.held().as_deref(), Some(b"ours".as_slice()));
}

#[test]
fn anothers_object_found_after_an_ambiguous_put_is_not_taken_for_ours() {
    for theirs in [b"THEM".as_slice(), b"longer than ours", b""] {
        let setup = Setup::new([puts(When::First(1), Trouble::Fail(ErrorClass::Ambiguous))]);
        setup
            .memory
            .put_bytes(&Context::new(), &name(), theirs, PutMode::Overwrite)
            .expect("theirs");
        assert_eq!(setup.create(b"ours").expect("answered"), PutOutcome::Exists);
        assert_eq!(setup.held().as_deref(), Some(theirs));
    }
}

#[test]
fn a_read_back_that_fails_is_itself_tried_again() {
    let setup = Setup::new([
        puts(When::First(1), Trouble::LandThenFail(ErrorClass::Ambiguous)),
        FaultRule::on(
            Request::Stat,
            When::First(1),
            Trouble::Fail(ErrorClass::Retry),
        ),
        FaultRule::on(
            Request::Get,
            When::First(1),
            Trouble::FailAfter {
                bytes: 2,
                class: ErrorClass::Retry,
            },
        ),
    ]);
    assert_eq!(setup.create(b"ours").expect("ours"), PutOutcome::Created);
    assert_eq!(setup.plan.fired(), 3);
}

#[test]
fn a_doubt_that_is_never_resolved_stays_ambiguous() {
    let later = [ErrorClass::Retry, ErrorClass::Denied, ErrorClass::Full];
    for class in later {
        let setup = Setup::new([
            puts(When::First(1), Trouble::Fail(ErrorClass::Ambiguous)),
            puts(When::Always, Trouble::Fail(class)),
        ]);
        let error = setup.create(b"ours").expect_err("fails");
        assert_eq!(error.class(), ErrorClass::Ambiguous, "{error}");
        assert!(error.message().contains("may have been put"), "{error}");
    }
}

#[test]
fn an_ambiguous_overwrite_is_simply_sent_again() {
    let setup = Setup::new([puts(When::First(1), Trouble::Fail(ErrorClass::Ambiguous))]);
    let put = setup
        .broker
        .put_bytes(&setup.ctx(), &name(), b"new", PutMode::Overwrite);
    assert_eq!(put.expect("second try"), PutOutcome::Created);
    assert_eq!(setup.held().as_deref(), Some(b"new".as_slice()));
}

#[test]
fn a_broken_read_goes_on_behind_the_last_good_byte() {
    let bytes: Vec<u8> = (0..1000u32).flat_map(u32::to_le_bytes).collect();
    let broken = Trouble::FailAfter {
        bytes: 700,
        class: ErrorClass::Retry,
    };
    let setup = Setup::new([FaultRule::on(Request::Get, When::First(5), broken)]);
    setup
        .memory
        .put_bytes(&Context::new(), &name(), &bytes, PutMode::Overwrite)
        .expect("put");
    let mut got = Vec::new();
    let read = setup
        .broker
        .get_range(&setup.ctx(), &name(), 100..3900, &mut |piece| {
            got.extend_from_slice(piece);
            Ok(())
        });
    read.expect("sixth try");
    assert_eq!(got, bytes[100..3900]);
    assert_eq!(
        setup.memory.counts().got_bytes,
        3800,
        "no byte was read twice"
    );
}

#[test]
fn a_visitor_that_refuses_is_not_asked_again() {
    let setup = Setup::new([]);
    setup
        .memory
        .put_bytes(&Context::new(), &name(), b"abc", PutMode::Overwrite)
        .expect("put");
    let mut asked = 0;
    let read = setup
        .broker
        .get_range(&setup.ctx(), &name(), 0..3, &mut |_| {
            asked += 1;
            Err(Error::new(ErrorClass::Retry, "not now"))
        });
    assert_eq!(
        (read.expect_err("refused").class(), asked),
        (ErrorClass::Retry, 1)
    );
}

#[test]
fn every_request_is_tried_again() {
    let kinds = Request::ALL
        .map(|kind| FaultRule::on(kind, When::Nth(1), Trouble::Fail(ErrorClass::Retry)));
    let setup = Setup::new(kinds);
    let (ctx, name) = (setup.ctx(), name());
    setup.create(b"abc").expect("put");
    assert_eq!(setup.broker.get(&ctx, &name, 9).expect("get"), b"abc");
    assert_eq!(
        setup
            .broker
            .stat(&ctx, &name)
            .expect("stat")
            .map(|info| info.len),
        Some(3)
    );
    assert_eq!(setup.broker.list_all(&ctx, "").expect("list").len(), 1);
    setup
        .broker
        .settle(&ctx, std::slice::from_ref(&name))
        .expect("settle");
    setup.broker.delete(&ctx, &name).expect("delete");
    assert_eq!(setup.plan.fired(), 6);
}

#[test]
fn waits_are_capped_repeatable_and_spread() {
    let policy = RetryPolicy::default();
    for tried in 1..100 {
        assert!(policy.delay("a", tried) <= policy.cap);
        assert!(policy.delay("a", tried) >= policy.base / 2);
        assert_eq!(policy.delay("a", tried), policy.delay("a", tried));
    }
    let spread: std::collections::BTreeSet<_> =
        (0..100).map(|n| policy.delay(&n.to_string(), 5)).collect();
    assert!(spread.len() > 80, "{}", spread.len());
}
