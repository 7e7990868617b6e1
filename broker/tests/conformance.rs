//! The public suite over both brokers and every wrapper around them.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are outside the deterministic core"
)]
#![allow(clippy::expect_used, reason = "helpers of tests")]

use std::num::{NonZeroU32, NonZeroU64, NonZeroUsize};
use std::ops::Range;
use std::time::Duration;

use holdfast_broker::{
    Atomicity, Bandwidth, BandwidthLimits, Broker, BrokerExt, Calls, ConditionalPut, Context,
    Description, Error, ErrorClass, Fault, FaultPlan, FaultRule, LocalBroker, MemoryBroker,
    ObjectInfo, ObjectName, Page, PageToken, PutMode, PutOutcome, Record, Request, Retry,
    RetryPolicy, Source, Throttle, ThrottleLimits, Trouble, Visit, When, conformance,
};
use tempfile::TempDir;

fn check(make: impl Fn() -> Box<dyn Broker>) {
    let report = conformance::run(make).expect("conforms");
    assert!(report.passed.len() >= 20, "{report:?}");
}

/// Runs the suite on `wrap` around a memory broker and around a local one.
fn check_around<B: Broker + 'static>(wrap: impl Fn(Box<dyn Broker>) -> B) {
    check(|| Box::new(wrap(Box::new(MemoryBroker::new()))));
    let folder = TempDir::new().expect("folder");
    check(|| {
        Box::new(wrap(Box::new(
            LocalBroker::open(folder.path()).expect("open"),
        )))
    });
}

fn quick_retries() -> RetryPolicy {
    RetryPolicy {
        base: Duration::from_micros(10),
        cap: Duration::from_micros(100),
        ..RetryPolicy::default()
    }
}

#[test]
fn memory_conforms() {
    check(|| Box::new(MemoryBroker::new()));
    let shared = MemoryBroker::new();
    check(|| Box::new(shared.clone()));
}

#[test]
fn local_conforms() {
    let folder = TempDir::new().expect("folder");
    check(|| Box::new(LocalBroker::open(&folder.path().join("not/made/yet")).expect("open")));
}

#[test]
fn retry_conforms() {
    check_around(|inner| Retry::new(inner, quick_retries()));
}

#[test]
fn throttle_conforms() {
    let limits = ThrottleLimits {
        concurrent: NonZeroUsize::new(2),
        per_second: NonZeroU32::new(1_000_000),
    };
    check_around(|inner| Throttle::new(inner, limits));
}

#[test]
fn bandwidth_conforms() {
    let fast = NonZeroU64::new(1 << 40);
    check_around(|inner| Bandwidth::new(inner, BandwidthLimits::new(fast, fast)));
    check_around(|inner| Bandwidth::new(inner, BandwidthLimits::unlimited()));
}

#[test]
fn record_conforms() {
    check_around(|inner| Record::new(inner, Calls::Kept(10)));
}

#[test]
fn fault_without_rules_conforms() {
    check_around(|inner| Fault::new(inner, FaultPlan::new(1)));
}

#[test]
fn retry_hides_a_remote_that_fails_a_third_of_all_requests() {
    let plan = FaultPlan::new(42)
        .with(FaultRule::on_any(
            When::PerMille(100),
            Trouble::Fail(ErrorClass::Retry),
        ))
        .with(FaultRule::on_any(
            When::PerMille(50),
            Trouble::Fail(ErrorClass::Throttled { after: None }),
        ))
        .with(FaultRule::on(
            Request::Put,
            When::PerMille(200),
            Trouble::LandThenFail(ErrorClass::Ambiguous),
        ))
        .with(FaultRule::on_any(
            When::PerMille(100),
            Trouble::FailAfter {
                bytes: 70_000,
                class: ErrorClass::Retry,
            },
        ));
    let policy = RetryPolicy {
        tries: 40,
        ..quick_retries()
    };
    check_around(|inner| Retry::new(Fault::new(inner, plan.clone()), policy));
    assert!(plan.fired() > 200, "{}", plan.fired());
}

#[test]
fn the_usual_nest_conforms() {
    check_around(|inner| {
        let recorded = Record::new(inner, Calls::Counted);
        let bounded = Bandwidth::new(recorded, BandwidthLimits::unlimited());
        Retry::new(
            Throttle::new(bounded, ThrottleLimits::default()),
            quick_retries(),
        )
    });
}

/// A remote of the weaker kind, and honest about it: it looks before it puts, and a put that
/// fails leaves what it has.
struct Weak(MemoryBroker);

impl Broker for Weak {
    fn put(
        &self,
        ctx: &Context,
        name: &ObjectName,
        source: &dyn Source,
        mode: PutMode,
    ) -> Result<PutOutcome, Error> {
        ctx.check()?;
        if mode == PutMode::CreateIfAbsent && self.0.exists(ctx, name)? {
            return Ok(PutOutcome::Exists);
        }
        let mut bytes = Vec::new();
        let read = source.read(&mut |piece| {
            ctx.check()?;
            bytes.extend_from_slice(piece);
            Ok(())
        });
        self.0
            .put_bytes(&Context::new(), name, &bytes, PutMode::Overwrite)?;
        read?;
        match bytes.len() as u64 == source.len() {
            true => Ok(PutOutcome::Created),
            false => Err(Error::new(
                ErrorClass::Corrupt,
                "the source has another length",
            )),
        }
    }

    fn get_range(
        &self,
        ctx: &Context,
        name: &ObjectName,
        range: Range<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        self.0.get_range(ctx, name, range, visit)
    }

    fn stat(&self, ctx: &Context, name: &ObjectName) -> Result<Option<ObjectInfo>, Error> {
        self.0.stat(ctx, name)
    }

    fn list(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page, Error> {
        // Pages shorter than asked for are allowed.
        self.0.list(ctx, prefix, after, limit.min(2))
    }

    fn delete(&self, ctx: &Context, name: &ObjectName) -> Result<(), Error> {
        self.0.delete(ctx, name)
    }

    fn describe(&self) -> Description {
        Description {
            atomic_put: Atomicity::MayTear,
            conditional_put: ConditionalPut::Raced,
            ..self.0.describe()
        }
    }
}

#[test]
fn a_weaker_remote_that_says_so_conforms() {
    check(|| Box::new(Weak(MemoryBroker::new())));
}

/// The names of the checks that a deviant broker fails.
fn findings(rule: FaultRule) -> Vec<&'static str> {
    let run = conformance::run(|| {
        Box::new(Fault::new(
            MemoryBroker::new(),
            FaultPlan::new(1).with(rule.clone()),
        ))
    });
    run.expect_err("deviates")
        .findings
        .into_iter()
        .map(|(check, _)| check)
        .collect()
}

#[test]
fn the_suite_finds_brokers_that_deviate() {
    let lost = findings(FaultRule::on(Request::Put, When::Always, Trouble::Lie));
    assert!(lost.contains(&"objects-of-every-size"), "{lost:?}");
    let flipped = findings(FaultRule::on(
        Request::Get,
        When::Always,
        Trouble::Corrupt { at: 4 << 20 },
    ));
    assert!(
        flipped.contains(&"range-edges") && !flipped.contains(&"one-creator-wins"),
        "{flipped:?}"
    );
    let torn = findings(FaultRule::on(
        Request::Put,
        When::Nth(2),
        Trouble::Tear { bytes: 1 },
    ));
    assert!(torn.contains(&"create-if-absent"), "{torn:?}");
    let kept = findings(FaultRule::on(Request::Delete, When::Always, Trouble::Lie));
    assert!(kept.contains(&"delete-twice"), "{kept:?}");
    let blind = findings(FaultRule::on(Request::List, When::Every(3), Trouble::Lie));
    assert!(blind.contains(&"list-pages"), "{blind:?}");
}
