//! What a remote that loses, damages or refuses does to a restore.

use holdfast_broker::{Context, ErrorClass, FaultRule, ObjectName, Request, Trouble, When};
use holdfast_storage::Storage;

use super::bench::{Bench, job};
use super::{files, source};
use crate::order::{Failure, FailureClass, StatusCode, Work};
use crate::testing::MemoryStorage;
use holdfast_broker::{Broker, BrokerExt};

const BAD_FILE: FailureClass = FailureClass::Fatal(StatusCode::BadFile);

/// A bench with the snapshot `nightly` of [`source`] and an empty target of one backend.
fn bench() -> Bench {
    let bench = Bench::new(MemoryStorage::new(1));
    bench.back_up(&source(), "db", "nightly");
    bench
}

fn object(bench: &Bench, part: &str) -> ObjectName {
    let all = bench.broker.list_all(&Context::new(), "").unwrap();
    all.into_iter()
        .find(|info| info.name.as_str().contains(part))
        .expect("object")
        .name
}

fn names_object(failure: &Failure, name: &ObjectName) {
    let hash = name.as_str().rsplit('/').next().expect("name");
    assert!(
        failure.message.contains(hash),
        "{hash} in: {}",
        failure.message
    );
}

fn fails_on_data(change: impl Fn(&Bench, &ObjectName), folder: &str) {
    let bench = bench();
    let name = object(&bench, folder);
    change(&bench, &name);
    let failure = bench.restore(&job("nightly")).expect_err("fails");
    assert_eq!(failure.class, BAD_FILE, "{}", failure.message);
    names_object(&failure, &name);
    assert!(
        failure.message.contains("read 3 times"),
        "{}",
        failure.message
    );
    bench
        .run(&job("nightly"), Work::Abort, None)
        .expect("aborts");
    assert!(bench.storage.databases().unwrap().is_empty());
}

#[test]
fn a_missing_object_fails_the_job_and_is_named() {
    for folder in ["/packs/", "/objects/"] {
        let delete = |bench: &Bench, name: &ObjectName| {
            bench.broker.delete(&Context::new(), name).unwrap();
        };
        fails_on_data(delete, folder);
    }
}

#[test]
fn a_damaged_object_fails_the_job_and_is_named() {
    for folder in ["/packs/", "/objects/"] {
        let flip = |bench: &Bench, name: &ObjectName| {
            let change = |bytes: &mut Vec<u8>| *bytes.last_mut().expect("byte") ^= 1;
            bench.broker.damage(name, change).unwrap();
        };
        fails_on_data(flip, folder);
    }
}

#[test]
fn a_short_object_fails_the_job_and_is_named() {
    for folder in ["/packs/", "/objects/"] {
        let cut = |bench: &Bench, name: &ObjectName| {
            bench
                .broker
                .damage(name, |bytes| bytes.truncate(bytes.len() - 1))
                .unwrap();
        };
        fails_on_data(cut, folder);
    }
}

#[test]
fn what_is_wrong_twice_and_right_the_third_time_is_good() {
    for trouble in [
        Trouble::Corrupt { at: 3000 },
        Trouble::Fail(ErrorClass::Missing),
    ] {
        for folder in ["/packs/", "/objects/"] {
            let bench = bench();
            let rule = FaultRule::on(Request::Get, When::First(2), trouble).named(folder);
            bench.faults.add(rule);
            bench.restore(&job("nightly")).expect("restores");
            assert_eq!(bench.faults.fired(), 2);
            assert_eq!(files(&bench.storage, "t"), files(&source(), "t"));
        }
    }
}

#[test]
fn a_passing_failure_is_left_to_the_next_attempt() {
    let bench = bench();
    let busy = ErrorClass::Throttled {
        after: Some(std::time::Duration::from_millis(700)),
    };
    for (class, expected) in [
        (ErrorClass::Retry, FailureClass::Retry),
        (busy, FailureClass::RetryAfter(700)),
    ] {
        bench
            .faults
            .add(FaultRule::on(Request::Get, When::Always, Trouble::Fail(class)).named("/packs/"));
        let failure = bench.restore(&job("nightly")).expect_err("fails");
        assert_eq!(failure.class, expected, "{}", failure.message);
        bench.faults.clear();
        bench
            .run(&job("nightly"), Work::Abort, None)
            .expect("aborts");
    }
    bench.restore(&job("nightly")).expect("restores");
}

#[test]
fn a_failed_download_leaves_an_overwritten_table_as_it_was() {
    let bench = Bench::new(source());
    bench.back_up(&bench.storage, "db", "nightly");
    bench.storage.truncate("db", "t").unwrap();
    bench
        .storage
        .load("db", "t", "q", &[("mine", b"mine")])
        .unwrap();
    let before = files(&bench.storage, "t");
    let name = object(&bench, "/objects/");
    bench.broker.delete(&Context::new(), &name).unwrap();
    bench.restore(&job("nightly")).expect_err("fails");
    assert_eq!(files(&bench.storage, "t"), before);
    bench
        .run(&job("nightly"), Work::Abort, None)
        .expect("aborts");
    assert_eq!(files(&bench.storage, "t"), before);
    bench
        .storage
        .load("db", "t", "q", &[("more", b"more")])
        .expect("open again");
}

#[test]
fn a_wrong_label_or_timestamp_is_not_found() {
    let bench = bench();
    let mut wrong = job("nightly");
    wrong.timestamp = "2020-01-01-00-00-00-000".into();
    for job in [job("weekly"), wrong] {
        let failure = bench.restore(&job).expect_err("fails");
        assert_eq!(failure.class, FailureClass::Fatal(StatusCode::NotFound));
        for part in [&job.label, &job.timestamp, "SHOW SNAPSHOT ON repo"] {
            assert!(failure.message.contains(part), "{}", failure.message);
        }
    }
}

#[test]
fn a_damaged_marker_fails_before_anything_is_made() {
    let bench = bench();
    let name = object(&bench, "/__info_");
    bench.broker.damage(&name, |bytes| bytes[20] ^= 1).unwrap();
    let failure = bench.restore(&job("nightly")).expect_err("fails");
    assert_eq!(failure.class, BAD_FILE, "{}", failure.message);
    assert!(failure.message.contains("marker"), "{}", failure.message);
    assert!(bench.storage.databases().unwrap().is_empty());
}

#[test]
fn a_missing_or_damaged_manifest_part_fails_before_anything_is_made() {
    for delete in [true, false] {
        let bench = bench();
        let name = object(&bench, "/part.");
        if delete {
            bench.broker.delete(&Context::new(), &name).unwrap();
        } else {
            bench.broker.damage(&name, |bytes| bytes[9] ^= 4).unwrap();
        }
        let failure = bench.restore(&job("nightly")).expect_err("fails");
        assert_eq!(failure.class, BAD_FILE);
        names_object(&failure, &name);
        assert!(bench.storage.databases().unwrap().is_empty());
    }
}

#[test]
fn a_manifest_that_contradicts_itself_fails_before_anything_is_made() {
    let bench = Bench::new(MemoryStorage::new(1));
    bench.back_up_as(&source(), "db", "buckets", |root| {
        root.tables[0].partitions[0].meta.0["buckets"] = 2.into();
    });
    bench.back_up_as(&source(), "db", "names", |root| {
        root.tables[0].partitions[0].meta.0["name"] = "other".into();
    });
    bench.back_up_as(&source(), "db", "schema", |root| {
        root.tables[0].schema.0["columns"] = 7.into();
    });
    for (label, fragment) in [
        ("buckets", "bucket 2 of partition 'p'"),
        ("names", "'other'"),
        ("schema", "table 't'"),
    ] {
        let failure = bench.restore(&job(label)).expect_err("fails");
        assert_eq!(failure.class, BAD_FILE);
        assert!(failure.message.contains(fragment), "{}", failure.message);
        assert!(bench.storage.databases().unwrap().is_empty());
    }
}

#[test]
fn a_cancelled_task_says_stopped() {
    let bench = bench();
    let job = job("nightly");
    let plans = bench.up_to_download(&job).expect("plans");
    bench.context.cancel_token().cancel("the job was cancelled");
    let failure = bench
        .downloads(&job, &plans, 1, crate::ids::Epoch(1))
        .expect_err("stops");
    assert_eq!(failure.class, FailureClass::Stopped);
}

#[test]
fn a_table_made_between_check_and_create_is_tried_again() {
    let bench = bench();
    bench.storage.fail_next(
        crate::testing::CallKind::CreateTargets,
        1,
        holdfast_storage::ErrorKind::Exists,
    );
    let failure = bench.prepare_meta(&job("nightly")).expect_err("fails once");
    assert_eq!(failure.class, FailureClass::Retry);
    bench.restore(&job("nightly")).expect("restores");
}
