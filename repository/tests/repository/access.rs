//! Opening a repository, and what a read-only one does not do.

use std::sync::Arc;

use holdfast_broker::{
    Broker, BrokerExt, Calls, Context, ErrorClass, Fault, FaultPlan, FaultRule, MemoryBroker,
    PutMode, Record, Request, Trouble, When,
};
use holdfast_repository::manifest::EncodedPart;
use holdfast_repository::{ErrorKind, Mode, ObjectKey, Repository, Unclaimed};

use crate::harness::*;

fn read_only(broker: impl Broker + 'static) -> Result<Repository, holdfast_repository::Error> {
    Repository::open(&Context::new(), Arc::new(broker), NAME, Mode::ReadOnly)
}

#[test]
fn a_read_only_repository_reads_everything_and_writes_nothing() {
    let (writable, broker) = in_memory();
    let data = sample();
    let job = Job::new(&writable, "l", NOON, 1);
    let uploaded = job.upload(&data).unwrap();
    let marker = job.commit(&uploaded).unwrap();

    let record = Arc::new(Record::new(broker, Calls::Counted));
    let recorder = record.recorder();
    let repository = read_only(record).unwrap();
    let ctx = &Context::new();
    assert!(repository.is_read_only());
    repository.probe(ctx, "a").unwrap();
    assert_eq!(restore(&repository, "l", NOON).unwrap(), data);
    assert_eq!(findings(&repository), []);
    repository
        .unreferenced(ctx, &mut |_| panic!("all are needed"))
        .unwrap();
    let presence = repository.presence(ctx).unwrap();
    repository
        .known_members(ctx, &|_| true, usize::MAX, &presence)
        .unwrap();
    assert!(repository.has(ctx, &uploaded.plan.objects[0]).unwrap());

    let someone = writer("west", 1);
    let part = EncodedPart {
        bytes: Vec::new(),
        reference: marker.root().unwrap().tables[0].partitions[0].parts[0],
    };
    let refused: [Result<(), holdfast_repository::Error>; 9] = [
        repository.begin(ctx, &someone),
        repository.end(ctx, &someone),
        repository.claim(ctx, "m", &someone, &|_| false),
        repository.unclaim(ctx, "l", &someone).map(drop),
        repository
            .put_object(ctx, &uploaded.plan.objects[0], &Files(vec![]))
            .map(drop),
        repository.put_part(ctx, "l", &part),
        repository.put_marker(ctx, "l", &marker).map(drop),
        repository.settle_reused(ctx, &[]),
        repository
            .discard(ctx, &someone, "l", &uploaded.created)
            .map(drop),
    ];
    for (number, result) in refused.into_iter().enumerate() {
        assert_eq!(
            result.unwrap_err().kind(),
            ErrorKind::ReadOnly,
            "call {number}"
        );
    }
    let figures = recorder.figures();
    assert_eq!(
        (
            figures.requests(Request::Put),
            figures.requests(Request::Delete)
        ),
        (0, 0)
    );
    assert_eq!(
        (figures.requests(Request::Settle), figures.up_bytes),
        (0, 0)
    );
}

#[test]
fn a_repository_that_is_absent_is_made_or_missed() {
    let broker = MemoryBroker::new();
    let error = read_only(broker.clone()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(paths(&broker).is_empty());
    let repository = open(broker.clone());
    assert_eq!(repository.info().create_time, "2026-11-22 08:37:55");
    repository.probe(&Context::new(), "a").unwrap();
    assert_eq!(paths(&broker), ["__repo_info"]);
    assert_eq!(read_only(broker).unwrap().info(), repository.info());
}

#[test]
fn another_name_a_newer_format_and_damage_are_told_apart() {
    let ctx = Context::new();
    for (text, kind, part) in [
        (
            r#"{"format":2,"title":"x"}"#,
            ErrorKind::NewerFormat,
            "format 2, expected at most 1",
        ),
        (
            r#"{"format":1,"name":"south","create_time":"","create_time_ms":1,"id":""}"#,
            ErrorKind::Damaged,
            "\"south\", expected \"north\"",
        ),
        ("{", ErrorKind::Damaged, "__repo_info"),
        (
            r#"{"format":0,"name":"north"}"#,
            ErrorKind::Damaged,
            "__repo_info",
        ),
    ] {
        let broker = MemoryBroker::new();
        broker
            .put_bytes(
                &ctx,
                &object("__repo_info"),
                text.as_bytes(),
                PutMode::Overwrite,
            )
            .unwrap();
        let mode = Mode::ReadWrite { created_at_ms: 1 };
        let error = Repository::open(&ctx, Arc::new(broker), NAME, mode).unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(part), "{error}");
    }
    let error = Repository::open(&ctx, Arc::new(MemoryBroker::new()), "a/b", Mode::ReadOnly);
    assert_eq!(error.unwrap_err().kind(), ErrorKind::Invalid);
}

#[test]
fn a_probe_names_the_step_that_fails() {
    for (request, word) in [
        (Request::Put, "writing"),
        (Request::Get, "reading"),
        (Request::Delete, "deleting"),
    ] {
        let plan = FaultPlan::new(1);
        let repository = open(Fault::new(MemoryBroker::new(), plan.clone()));
        plan.add(FaultRule::on(
            request,
            When::Always,
            Trouble::Fail(ErrorClass::Denied),
        ));
        let error = repository.probe(&Context::new(), "a").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Remote(ErrorClass::Denied));
        assert!(error.message().starts_with(word), "{error}");
    }
}

#[test]
fn names_that_would_leave_their_folder_are_refused() {
    let (repository, _) = in_memory();
    let ctx = Context::new();
    let someone = writer("east", 1);
    for label in ["", "../x", "a/b", "a b", "."] {
        let claimed = repository.claim(&ctx, label, &someone, &|_| false);
        assert_eq!(claimed.unwrap_err().kind(), ErrorKind::Invalid, "{label}");
        let read = repository.marker(&ctx, label, NOON);
        assert_eq!(read.unwrap_err().kind(), ErrorKind::Invalid, "{label}");
    }
    let mut bad = someone;
    bad.cluster = "../x".into();
    assert_eq!(
        repository.begin(&ctx, &bad).unwrap_err().kind(),
        ErrorKind::Invalid
    );
    assert!(ObjectKey::parse("objects/../x").is_err());
    let released = repository
        .unclaim(&ctx, "never", &writer("east", 1))
        .unwrap();
    assert_eq!(released, Unclaimed::Released);
}
