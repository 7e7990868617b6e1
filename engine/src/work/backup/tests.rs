//! The works of a backup, one after the other, over twins.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use holdfast_broker::{
    Broker, BrokerExt, Context, ErrorClass, FaultRule, MemoryBroker, ObjectName, Request, Trouble,
    When,
};
use holdfast_repository::{ObjectKey, Writer};
use holdfast_storage::model::{Bounds, PartitionMeta};
use holdfast_storage::{BackendId, ErrorKind, OpId, TabletId};

use crate::ids::{JobId, RepositoryId};
use crate::order::{FailureClass, Lane, Output, StatusCode, Work};
use crate::testing::{CallKind, HashKnowledge, MemoryStorage, backup_spec};
use crate::work::fixture::{Backup, Sent, World, read_snapshot, read_table};

/// Three tables: small and larger files in two partitions, an empty file, and a table without files.
fn fill(world: &World) {
    let large: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let storage = &world.storage;
    storage
        .load(
            "d",
            "t",
            "p1",
            &[("a", b"one"), ("sub/b", b"two"), ("empty", b"")],
        )
        .unwrap();
    storage
        .load("d", "t", "p2", &[("a", b"one"), ("large", &large)])
        .unwrap();
    storage.load("d", "u", "u", &[("c", b"three")]).unwrap();
    let schema = MemoryStorage::loaded_schema();
    storage
        .create_table("d", "none", schema, vec![meta("none", 3, 1)])
        .unwrap();
}

fn meta(name: &str, buckets: u32, replication_num: u32) -> PartitionMeta {
    let bounds = Bounds::List {
        items: vec![vec![name.to_owned()]],
    };
    PartitionMeta {
        name: name.to_owned(),
        bounds,
        buckets,
        replication_num,
    }
}

/// One table `r` of `files` files of `len` bytes in one partition.
fn fill_replicated(world: &World, buckets: u32, replicas: u32, files: u32, len: usize) {
    let schema = MemoryStorage::loaded_schema();
    world
        .storage
        .create_table("d", "r", schema, vec![meta("r", buckets, replicas)])
        .unwrap();
    let bytes: Vec<(String, Vec<u8>)> = (0..files)
        .map(|n| (format!("f{n:04}"), vec![n as u8; len + n as usize % 3]))
        .collect();
    let files: Vec<(&str, &[u8])> = bytes
        .iter()
        .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    world.storage.load("d", "r", "r", &files).unwrap();
}

fn world(backends: u32) -> World {
    World::new(backends, &MemoryBroker::new())
}

fn data_objects(world: &World) -> Vec<String> {
    let all = world
        .remote
        .list_all(&Context::new(), "__holdfast_repository_repo/")
        .unwrap();
    let names = all
        .into_iter()
        .map(|object| object.name.as_str().to_owned());
    names
        .filter(|name| name.contains("/objects/") || name.contains("/packs/"))
        .collect()
}

fn objects_with(world: &World, part: &str) -> usize {
    let all = world.remote.list_all(&Context::new(), "").unwrap();
    all.iter()
        .filter(|object| object.name.as_str().contains(part))
        .count()
}

/// Tablets that the job links, with the backend of each.
fn first_tablets(world: &World, job: JobId) -> Vec<(TabletId, Vec<BackendId>)> {
    use holdfast_storage::{PinRequest, Storage};
    // A pin of the same operation answers what it pinned.
    let request = PinRequest {
        database: "d".to_owned(),
        tables: Vec::new(),
    };
    let pin = world.storage.pin(OpId(job.0), &request).unwrap();
    let partitions = pin.tables.into_iter().flat_map(|table| table.partitions);
    let tablets = partitions.flat_map(|partition| partition.tablets);
    tablets.map(|tablet| (tablet.id, tablet.replicas)).collect()
}

/// What a pin's output says apart from the plan, which holds the point of time.
fn cut_of(output: &Output) -> (Vec<Lane>, [u64; 3]) {
    match output {
        Output::Pinned {
            lanes,
            tablets,
            files,
            bytes,
            ..
        } => (lanes.clone(), [*tablets, *files, *bytes]),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_backup_holds_every_file_of_every_table_and_proves_it() {
    let world = world(2);
    fill(&world);
    let mut backup = Backup::new(&world, 7, backup_spec("d", "first", &["t", "u", "none"]));
    let sent = backup.run().unwrap();
    let mut expected = read_table(&world, "t");
    expected.extend(read_table(&world, "u"));
    assert_eq!(expected.len(), 6);
    assert_eq!(read_snapshot(&world, &backup.spec), expected);
    assert!(sent.bytes > 3_000_000 && sent.reused == 0, "{sent:?}");

    let repository = world.repository();
    let mut findings = Vec::new();
    let report = repository.verify(&Context::new(), None, &mut |f| findings.push(f.to_string()));
    assert_eq!((report.unwrap().files, findings), (6, vec![]));
    let root = repository
        .marker(&Context::new(), "first", &backup.spec.timestamp)
        .unwrap();
    assert_eq!(
        (root.database.as_str(), root.job, root.totals.files),
        ("d", 7, 6)
    );
    let none = &root.tables[2].partitions[0];
    let part = repository
        .part(&Context::new(), "first", &none.parts[0])
        .unwrap();
    assert_eq!(part.tablets.len(), 3, "buckets without files are listed");
    assert_eq!(
        repository.intents(&Context::new()).unwrap(),
        Vec::<String>::new()
    );
    assert_eq!(world.storage.held(), (vec![], vec![]));
}

#[test]
fn only_named_partitions_are_pinned() {
    let world = world(1);
    fill(&world);
    let mut spec = backup_spec("d", "some", &["t"]);
    spec.objects[0].partitions = vec!["p2".to_owned()];
    let mut backup = Backup::new(&world, 7, spec);
    backup.run().unwrap();
    let names: Vec<String> = read_snapshot(&world, &backup.spec).into_keys().collect();
    assert_eq!(names, ["t/p2/a", "t/p2/large"]);
}

#[test]
fn a_second_backup_sends_only_what_changed_and_reads_nothing_else() {
    let world = world(2);
    fill(&world);
    Backup::new(&world, 7, backup_spec("d", "first", &["t", "u"]))
        .run()
        .unwrap();
    let (objects, opened) = (data_objects(&world), world.storage.calls(CallKind::Open));
    let mut again = Backup::new(&world, 8, backup_spec("d", "second", &["t", "u"]));
    assert_eq!(again.run().unwrap(), Sent::default());
    assert_eq!(data_objects(&world), objects);
    assert_eq!(
        world.storage.calls(CallKind::Open),
        opened,
        "no data file was read"
    );

    world
        .storage
        .load("d", "u", "u", &[("new", b"only this")])
        .unwrap();
    let mut third = Backup::new(&world, 9, backup_spec("d", "third", &["t", "u"]));
    let sent = third.run().unwrap();
    assert_eq!((sent.tasks, sent.objects), (1, 1));
    assert_eq!(world.storage.calls(CallKind::Open), opened + 1);
    assert_eq!(read_snapshot(&world, &third.spec)["u/u/new"], b"only this");
    assert_eq!(read_snapshot(&world, &again.spec).len(), 6);
}

#[test]
fn what_was_deleted_by_hand_is_sent_again() {
    let world = world(1);
    fill(&world);
    Backup::new(&world, 7, backup_spec("d", "first", &["t"]))
        .run()
        .unwrap();
    for object in data_objects(&world) {
        world
            .remote
            .delete(&Context::new(), &ObjectName::parse(object).unwrap())
            .unwrap();
    }
    let mut again = Backup::new(&world, 8, backup_spec("d", "second", &["t"]));
    assert!(again.run().unwrap().objects > 0);
    assert_eq!(read_snapshot(&world, &again.spec), read_table(&world, "t"));
}

#[test]
fn hashes_that_the_storage_does_not_know_are_made_here() {
    let (knowing, ignorant) = (world(1), world(1));
    let huge: Vec<u8> = (0..(64 << 20) + 5_u32).map(|n| (n >> 12) as u8).collect();
    for world in [&knowing, &ignorant] {
        fill(world);
        world
            .storage
            .load("d", "t", "p3", &[("huge", &huge)])
            .unwrap();
    }
    ignorant.storage.set_hash_knowledge(HashKnowledge::Unknown);
    for world in [&knowing, &ignorant] {
        let mut backup = Backup::new(world, 7, backup_spec("d", "first", &["t"]));
        backup.run().unwrap();
        assert!(read_snapshot(world, &backup.spec) == read_table(world, "t"));
    }
    assert_eq!(data_objects(&knowing), data_objects(&ignorant));
}

#[test]
fn tasks_are_cut_by_size_and_spread_over_the_replicas_the_same_way_each_time() {
    let mut world = world(3);
    world.env.limits.tablets_per_task = 2;
    world.env.limits.bytes_per_task = 3 << 20;
    fill_replicated(&world, 12, 3, 48, 1 << 20);
    let mut backup = Backup::new(&world, 7, backup_spec("d", "first", &["r"]));
    let first = backup.pin().unwrap();
    let Output::Pinned {
        lanes,
        tablets,
        files,
        ..
    } = &first
    else {
        panic!("{first:?}")
    };
    assert_eq!((*tablets, *files, lanes.len()), (12, 48, 3));
    assert!(
        lanes.iter().all(|lane| (1..=3).contains(&lane.tasks)),
        "{lanes:?}"
    );
    let again = backup.pin().unwrap();
    assert_eq!(
        cut_of(&again),
        cut_of(&first),
        "a new point, cut the same way"
    );
    backup.link().unwrap();
    let planned = backup.plan().unwrap();
    let Output::UploadPlanned {
        lanes,
        new_bytes,
        new_objects,
        ..
    } = &planned
    else {
        panic!("{planned:?}")
    };
    assert_eq!(*new_objects, 48);
    assert!(*new_bytes > 48 << 20);
    assert!(
        lanes.iter().map(|lane| lane.tasks).sum::<u32>() >= 16,
        "{lanes:?}"
    );
    assert_eq!(backup.plan().unwrap(), planned);
    assert_eq!(backup.upload().unwrap().objects, 48);
}

#[test]
fn every_work_can_be_done_twice() {
    let world = world(2);
    fill(&world);
    let mut backup = Backup::new(&world, 7, backup_spec("d", "first", &["t", "u"]));
    assert_eq!(
        cut_of(&backup.pin().unwrap()),
        cut_of(&backup.pin().unwrap())
    );
    backup.link().unwrap();
    backup.link().unwrap();
    backup.plan().unwrap();
    let sent = backup.upload().unwrap();
    let again = backup.upload().unwrap();
    assert_eq!((again.bytes, again.objects), (0, 0));
    assert_eq!(again.reused, sent.bytes);
    let lanes = &backup.uploads.as_ref().unwrap().1;
    let mut restarted = backup.order(Work::Upload, 0, lanes[0].backend);
    restarted.attempt = 2;
    let opened = world.storage.calls(CallKind::Open);
    assert!(matches!(
        world.run(&restarted).unwrap(),
        Output::Moved { bytes: 0, .. }
    ));
    assert_eq!(
        world.storage.calls(CallKind::Open),
        opened,
        "a later attempt looks first"
    );
    assert_eq!(backup.save_meta().unwrap(), backup.save_meta().unwrap());
    for work in [Work::UploadInfo, Work::PutMarker, Work::Release] {
        assert_eq!(
            backup.one(work).unwrap(),
            backup.one(work).unwrap(),
            "{work:?}"
        );
    }
    assert_eq!(read_snapshot(&world, &backup.spec).len(), 6);
}

#[test]
fn a_damaged_replica_is_found_by_hash_and_another_one_is_taken() {
    let world = world(2);
    fill_replicated(&world, 1, 2, 3, 40_000);
    let mut backup = Backup::new(&world, 7, backup_spec("d", "first", &["r"]));
    backup.pin().unwrap();
    let chosen = backup.pinned.as_ref().unwrap().1[0].backend.unwrap();
    let (tablet, _) = first_tablets(&world, backup.job)[0];
    world
        .storage
        .damage(chosen, tablet, "f0001", Some(&vec![9; 40_001]));
    backup.link().unwrap();
    backup.plan().unwrap();
    let order = backup.order(Work::Upload, 0, Some(chosen));
    let failure = world.run(&order).unwrap_err();
    assert_eq!(failure.class, FailureClass::Replica(chosen));
    assert!(failure.message.contains("f0001"), "{}", failure.message);
    assert!(
        data_objects(&world).is_empty(),
        "nothing of it became visible"
    );
    backup.upload().unwrap();
    backup.save_meta().unwrap();
    backup.one(Work::UploadInfo).unwrap();
    backup.one(Work::PutMarker).unwrap();
    assert_eq!(read_snapshot(&world, &backup.spec), read_table(&world, "r"));
}

#[test]
fn damage_of_the_only_replica_fails_the_job_and_names_the_file() {
    for bytes in [None, Some(&b"on"[..]), Some(b"onx"), Some(b"onex")] {
        let world = world(2);
        world.storage.load("d", "t", "p", &[("a", b"one")]).unwrap();
        let mut backup = Backup::new(&world, 7, backup_spec("d", "first", &["t"]));
        backup.pin().unwrap();
        backup.link().unwrap();
        backup.plan().unwrap();
        let (tablet, replicas) = first_tablets(&world, backup.job).remove(0);
        world.storage.damage(replicas[0], tablet, "a", bytes);
        let failed = backup.upload();
        if bytes == Some(b"onex") {
            // More bytes than the version has: those that count are right.
            failed.unwrap();
            continue;
        }
        let failure = failed.unwrap_err();
        assert_eq!(
            failure.class,
            FailureClass::Fatal(StatusCode::BadFile),
            "{bytes:?}"
        );
        assert!(
            failure.message.contains("no other replica"),
            "{}",
            failure.message
        );
    }
}

#[test]
fn a_replica_that_cannot_be_linked_or_hashed_is_passed_over() {
    let world = world(2);
    fill_replicated(&world, 1, 2, 3, 100);
    world.storage.set_hash_knowledge(HashKnowledge::Unknown);
    let mut backup = Backup::new(&world, 7, backup_spec("d", "first", &["r"]));
    backup.pin().unwrap();
    let chosen = backup.pinned.as_ref().unwrap().1[0].backend.unwrap();
    let (tablet, _) = first_tablets(&world, backup.job)[0];
    world.storage.damage(chosen, tablet, "f0000", None);
    let order = backup.order(Work::Link, 0, Some(chosen));
    assert_eq!(
        world.run(&order).unwrap_err().class,
        FailureClass::Replica(chosen)
    );
    backup.link().unwrap();
    let failure = world
        .run(&backup.order(Work::PlanUpload, 0, None))
        .unwrap_err();
    assert_eq!(failure.class, FailureClass::Replica(chosen));
    backup.plan().unwrap();
    backup.upload().unwrap();
    backup.save_meta().unwrap();
    backup.one(Work::UploadInfo).unwrap();
    backup.one(Work::PutMarker).unwrap();
    assert_eq!(read_snapshot(&world, &backup.spec), read_table(&world, "r"));
}

#[test]
fn a_lost_pin_is_told_and_the_next_pin_is_one_new_point_for_all_tables() {
    let world = world(1);
    fill(&world);
    let mut backup = Backup::new(&world, 7, backup_spec("d", "first", &["t", "u"]));
    backup.pin().unwrap();
    backup.link().unwrap();
    backup.plan().unwrap();
    world
        .storage
        .load("d", "t", "p1", &[("late", b"late")])
        .unwrap();
    world
        .storage
        .load("d", "u", "u", &[("late", b"late too")])
        .unwrap();
    world.storage.lose_pin(OpId(7));
    assert_eq!(backup.upload().unwrap_err().class, FailureClass::PinLost);
    backup.run().unwrap();
    let mut expected = read_table(&world, "t");
    expected.extend(read_table(&world, "u"));
    assert_eq!(expected.len(), 8);
    assert_eq!(read_snapshot(&world, &backup.spec), expected);
}

#[test]
fn a_backup_holds_the_pinned_data_whatever_happens_to_the_tables() {
    let world = world(1);
    fill(&world);
    let before = read_table(&world, "t");
    let mut backup = Backup::new(&world, 7, backup_spec("d", "first", &["t"]));
    backup.pin().unwrap();
    world.storage.truncate("d", "t").unwrap();
    world.storage.drop_table("d", "t").unwrap();
    backup.link().unwrap();
    backup.plan().unwrap();
    backup.upload().unwrap();
    backup.save_meta().unwrap();
    backup.one(Work::UploadInfo).unwrap();
    backup.one(Work::PutMarker).unwrap();
    assert_eq!(read_snapshot(&world, &backup.spec), before);
}

#[test]
fn a_label_belongs_to_one_cluster_and_is_taken_over_only_from_the_own_ended_jobs() {
    let remote = MemoryBroker::new();
    let (one, two) = (World::new(1, &remote), World::new(1, &remote));
    for world in [&one, &two] {
        fill(world);
    }
    Backup::new(&one, 7, backup_spec("d", "label", &["t"]))
        .pin()
        .unwrap();
    let mut foreign = backup_spec("d", "label", &["t"]);
    foreign.cluster = "othercluster".to_owned();
    let failure = Backup::new(&two, 7, foreign).pin().unwrap_err();
    assert_eq!(failure.class, FailureClass::Fatal(StatusCode::CommonError));
    assert!(
        failure.message.contains("already exist in repository"),
        "{}",
        failure.message
    );
    let mut next = Backup::new(&one, 8, backup_spec("d", "label", &["t"]));
    assert!(next.pin().is_err(), "job 7 may be at work");
    one.ended.lock().push(JobId(7));
    next.run().unwrap();
}

#[test]
fn passing_failures_of_the_remote_are_tried_again_and_do_not_change_the_result() {
    let world = world(2);
    fill(&world);
    for (request, nth) in [(Request::Put, 3), (Request::List, 2), (Request::Put, 5)] {
        let fail = Trouble::Fail(ErrorClass::Retry);
        world
            .faults
            .add(FaultRule::on(request, When::Nth(nth), fail));
    }
    let ambiguous = Trouble::LandThenFail(ErrorClass::Ambiguous);
    world
        .faults
        .add(FaultRule::on(Request::Put, When::Nth(1), ambiguous).named("__info_"));
    let mut backup = Backup::new(&world, 7, backup_spec("d", "first", &["t"]));
    backup.run().unwrap();
    assert!(world.faults.fired() >= 3, "{}", world.faults.fired());
    assert_eq!(read_snapshot(&world, &backup.spec), read_table(&world, "t"));
    assert_eq!(objects_with(&world, "__info_"), 1);
}

#[test]
fn a_refusing_remote_fails_the_task_at_once_with_its_own_words() {
    let world = world(1);
    fill(&world);
    let denied = Trouble::Fail(ErrorClass::Denied);
    world
        .faults
        .add(FaultRule::on(Request::Put, When::Always, denied).named("/packs/"));
    let mut backup = Backup::new(&world, 7, backup_spec("d", "first", &["t"]));
    backup.pin().unwrap();
    backup.link().unwrap();
    backup.plan().unwrap();
    let failure = backup.upload().unwrap_err();
    assert_eq!(failure.class, FailureClass::Fatal(StatusCode::CommonError));
    assert!(failure.message.contains("/packs/"), "{}", failure.message);
}

#[test]
fn a_discarded_backup_leaves_nothing_and_frees_its_label() {
    let world = world(2);
    fill(&world);
    for upto in 0..4 {
        let mut backup = Backup::new(&world, 20 + upto, backup_spec("d", "label", &["t", "u"]));
        if upto > 0 {
            backup.pin().unwrap();
        }
        if upto > 1 {
            backup.link().unwrap();
            backup.plan().unwrap();
            backup.upload().unwrap();
        }
        if upto > 2 {
            backup.save_meta().unwrap();
            backup.one(Work::UploadInfo).unwrap();
        }
        assert_eq!(backup.one(Work::Discard).unwrap(), Output::Done);
        assert_eq!(data_objects(&world), Vec::<String>::new());
        assert_eq!(objects_with(&world, "__ss_label"), 0);
        assert_eq!(
            world.repository().intents(&Context::new()).unwrap(),
            Vec::<String>::new()
        );
        assert_eq!(world.storage.held().0, vec![]);
        // Again, as after a crash before its completion was durable.
        assert_eq!(backup.one(Work::Discard).unwrap(), Output::Done);
    }
    Backup::new(&world, 30, backup_spec("d", "label", &["t"]))
        .run()
        .unwrap();
}

#[test]
fn a_discard_keeps_what_other_snapshots_need() {
    let world = world(1);
    fill(&world);
    let mut kept = Backup::new(&world, 7, backup_spec("d", "kept", &["t"]));
    kept.run().unwrap();
    let before: BTreeSet<String> = data_objects(&world).into_iter().collect();
    let mut backup = Backup::new(&world, 8, backup_spec("d", "label", &["t", "u"]));
    backup.until_uploaded().unwrap();
    assert!(data_objects(&world).len() > before.len());
    backup.one(Work::Discard).unwrap();
    assert_eq!(
        data_objects(&world).into_iter().collect::<BTreeSet<_>>(),
        before
    );
    assert_eq!(read_snapshot(&world, &kept.spec), read_table(&world, "t"));
}

#[test]
fn a_discard_lets_go_of_local_things_even_where_the_remote_hangs() {
    let world = world(1);
    fill(&world);
    let mut backup = Backup::new(&world, 7, backup_spec("d", "label", &["t"]));
    backup.pin().unwrap();
    world
        .faults
        .add(FaultRule::on_any(When::Always, Trouble::Hang));
    let start = Instant::now();
    let failure = world
        .run(&backup.order(Work::Discard, 0, None))
        .unwrap_err();
    assert!(start.elapsed() < Duration::from_secs(10));
    assert_eq!(failure.class, FailureClass::Retry, "{}", failure.message);
    assert_eq!(world.storage.held().0, vec![]);
}

#[test]
fn a_condemned_object_stops_the_commit_until_it_is_free_again() {
    let world = world(1);
    fill(&world);
    let mut backup = Backup::new(&world, 7, backup_spec("d", "label", &["t"]));
    backup.until_uploaded().unwrap();
    backup.save_meta().unwrap();
    let context = Context::new();
    let keys: Vec<ObjectKey> = data_objects(&world)
        .iter()
        .filter_map(|name| name.strip_prefix("__holdfast_repository_repo/"))
        .map(|key| ObjectKey::parse(key).unwrap())
        .collect();
    // Another cluster takes the same objects back, sees our intent, and cannot remove its list.
    let other = World::new(1, &world.remote);
    let stuck = Trouble::Fail(ErrorClass::Retry);
    other
        .faults
        .add(FaultRule::on(Request::Delete, When::Always, stuck));
    let repository = other
        .env
        .repositories
        .get(&context, RepositoryId(1))
        .unwrap();
    let writer = Writer::new("othercluster", 3).unwrap();
    assert!(
        repository
            .discard(&context, &writer, "theirs", &keys)
            .is_err()
    );
    let failure = world
        .run(&backup.order(Work::UploadInfo, 0, None))
        .unwrap_err();
    assert_eq!(failure.class, FailureClass::Retry);
    assert!(failure.message.contains("condemned"), "{}", failure.message);
    other.faults.clear();
    repository
        .discard(&context, &writer, "theirs", &keys)
        .unwrap();
    assert_eq!(backup.one(Work::UploadInfo).unwrap(), Output::InfoUploaded);
}

#[test]
fn a_marker_of_another_under_the_label_is_told_and_nothing_is_deleted() {
    let world = world(1);
    fill(&world);
    let mut slow = Backup::new(&world, 7, backup_spec("d", "label", &["t"]));
    slow.until_uploaded().unwrap();
    slow.save_meta().unwrap();
    slow.one(Work::UploadInfo).unwrap();
    // Somebody removes the claim by hand, and another cluster is quicker.
    let claim = "__holdfast_repository_repo/__ss_label/claim.0";
    world
        .remote
        .delete(&Context::new(), &ObjectName::parse(claim).unwrap())
        .unwrap();
    let other = World::new(1, &world.remote);
    fill(&other);
    let mut spec = backup_spec("d", "label", &["t"]);
    spec.cluster = "othercluster".to_owned();
    spec.timestamp = "2025-01-01-00-00-01-000".to_owned();
    let mut quick = Backup::new(&other, 9, spec);
    quick.run().unwrap();
    let lost = slow.one(Work::PutMarker).unwrap();
    let Output::MarkerLost { message } = lost else {
        panic!("{lost:?}")
    };
    assert!(message.contains("othercluster"), "{message}");
    assert_eq!(objects_with(&world, "__info_"), 1);
    assert_eq!(read_snapshot(&other, &quick.spec), read_table(&other, "t"));
}

#[test]
fn parts_deleted_by_hand_before_the_marker_do_not_hold_the_commit_for_ever() {
    let world = world(1);
    fill(&world);
    let context = Context::new();
    let delete = |part: &str| {
        let all = world.remote.list_all(&context, "").unwrap();
        for object in all.iter().filter(|o| o.name.as_str().contains(part)) {
            world.remote.delete(&context, &object.name).unwrap();
        }
    };
    let mut backup = Backup::new(&world, 7, backup_spec("d", "label", &["t"]));
    backup.until_uploaded().unwrap();
    backup.save_meta().unwrap();
    backup.one(Work::UploadInfo).unwrap();
    delete("/part.");
    assert_eq!(backup.one(Work::PutMarker).unwrap(), Output::MarkerDurable);
    assert_eq!(read_snapshot(&world, &backup.spec), read_table(&world, "t"));

    let mut backup = Backup::new(&world, 8, backup_spec("d", "label2", &["t"]));
    backup.until_uploaded().unwrap();
    backup.save_meta().unwrap();
    backup.one(Work::UploadInfo).unwrap();
    delete("__ss_label2/");
    let lost = backup.one(Work::PutMarker).unwrap();
    assert!(matches!(lost, Output::MarkerLost { .. }), "{lost:?}");
    assert_eq!(objects_with(&world, "label2/__info_"), 0);
}

#[test]
fn a_cancelled_task_stops() {
    let world = world(1);
    fill(&world);
    let mut backup = Backup::new(&world, 7, backup_spec("d", "label", &["t"]));
    backup.until_uploaded().unwrap();
    backup.save_meta().unwrap();
    let context = Context::new();
    context.cancel_token().cancel("test");
    for work in [
        Work::Pin,
        Work::Link,
        Work::PlanUpload,
        Work::Upload,
        Work::SaveMeta,
        Work::UploadInfo,
        Work::PutMarker,
    ] {
        let failure = world
            .run_under(&context, &backup.order(work, 0, None))
            .unwrap_err();
        assert_eq!(
            failure.class,
            FailureClass::Stopped,
            "{work:?}: {}",
            failure.message
        );
    }
}

#[test]
fn orders_that_contradict_their_plans_fail_without_a_panic() {
    let world = world(1);
    fill(&world);
    let mut backup = Backup::new(&world, 7, backup_spec("d", "label", &["t"]));
    backup.until_uploaded().unwrap();
    let fatal = FailureClass::Fatal(StatusCode::CommonError);
    let plans = [None, backup.pinned.as_ref().map(|(plan, _)| *plan)];
    for plan in plans {
        for work in [
            Work::Upload,
            Work::SaveMeta,
            Work::UploadInfo,
            Work::PutMarker,
        ] {
            let mut order = backup.order(work, 0, None);
            order.plan = plan;
            assert_eq!(
                world.run(&order).unwrap_err().class,
                fatal,
                "{work:?} {plan:?}"
            );
        }
    }
    for work in [Work::Link, Work::Upload] {
        let order = backup.order(work, 99, None);
        assert_eq!(world.run(&order).unwrap_err().class, fatal, "{work:?}");
    }
}

#[test]
fn storage_failures_that_pass_are_tried_again() {
    let world = world(1);
    fill(&world);
    for (kind, error) in [
        (CallKind::Pin, ErrorKind::Busy),
        (CallKind::Link, ErrorKind::Full),
        (CallKind::PinnedFiles, ErrorKind::Io),
        (CallKind::Open, ErrorKind::Io),
    ] {
        world.storage.fail_next(kind, 1, error);
        let label = format!("{kind:?}");
        let job = 50 + kind as u64;
        let mut backup = Backup::new(&world, job, backup_spec("d", &label, &["t"]));
        if kind == CallKind::Open {
            world
                .storage
                .load("d", "t", "p1", &[("fresh", b"fresh")])
                .unwrap();
        }
        backup.run().unwrap();
        assert_eq!(read_snapshot(&world, &backup.spec), read_table(&world, "t"));
    }
}

/// Flips one bit of every data file that `backend` holds with this content.
fn damage_on_disk(folder: &std::path::Path, backend: &str, content: &[u8]) -> u32 {
    let mut damaged = 0;
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.components().any(|part| part.as_os_str() == backend)
                && std::fs::read(&path).unwrap() == content
            {
                let mut bytes = content.to_vec();
                bytes[0] ^= 1;
                // In place, so that every hard link sees it.
                std::fs::write(&path, &bytes).unwrap();
                damaged += 1;
            }
        }
    }
    damaged
}

#[test]
fn real_files_are_backed_up_and_a_damaged_replica_of_them_is_passed_over() {
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("source");
    std::fs::create_dir_all(source.join("sub")).unwrap();
    let mut expected = std::collections::BTreeMap::new();
    for (name, len) in [
        ("a b", 10),
        ("sub/ü", 70_000),
        ("large", 2_500_000),
        ("empty", 0),
    ] {
        let bytes: Vec<u8> = (0..len).map(|n: u32| (n / 7) as u8).collect();
        std::fs::write(source.join(name), &bytes).unwrap();
        expected.insert(format!("t/t/{name}"), bytes);
    }
    let options = holdfast_storage::Options {
        backends: 2,
        threads: 2,
    };
    let storage = holdfast_storage::LocalStorage::open(folder.path().join("storage"), options);
    let storage = std::sync::Arc::new(storage.unwrap());
    let mut load = holdfast_storage::LoadRequest::new("d", "t", vec![source]);
    load.replication_num = 2;
    storage.load(&load).unwrap();
    let jobs = folder.path().join("jobs");
    std::fs::create_dir(&jobs).unwrap();
    let jobs = holdfast_broker::LocalBroker::open(&jobs).unwrap();

    let mut world = world(1);
    world.env.storage = storage.clone();
    world.env.blobs = std::sync::Arc::new(crate::BrokerBlobs::new(std::sync::Arc::new(jobs)));
    let mut backup = Backup::new(&world, 7, backup_spec("d", "label", &["t"]));
    backup.pin().unwrap();
    backup.link().unwrap();
    backup.plan().unwrap();
    let chosen = backup.pinned.as_ref().unwrap().1[0].backend.unwrap();
    let backends = world.env.storage.backends().unwrap();
    let name = backends
        .into_iter()
        .find(|info| info.id == chosen)
        .unwrap()
        .name;
    let files = folder.path().join("storage");
    assert!(damage_on_disk(&files, &name, &expected["t/t/large"]) > 0);
    let tasks = backup.uploads.as_ref().unwrap().1[0].tasks;
    let failures: Vec<_> = (0..tasks)
        .filter_map(|index| {
            world
                .run(&backup.order(Work::Upload, index, Some(chosen)))
                .err()
        })
        .collect();
    assert!(
        failures
            .iter()
            .all(|failure| failure.class == FailureClass::Replica(chosen))
    );
    assert_eq!(failures.len(), 1, "{failures:?}");
    backup.upload().unwrap();
    backup.save_meta().unwrap();
    backup.one(Work::UploadInfo).unwrap();
    backup.one(Work::PutMarker).unwrap();
    assert_eq!(read_snapshot(&world, &backup.spec), expected);
    backup.one(Work::Release).unwrap();
}
