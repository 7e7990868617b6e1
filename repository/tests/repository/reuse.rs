//! What a later backup sends: only what the repository does not hold at that moment.

use std::sync::Arc;

use holdfast_broker::{Broker, Calls, Context, LocalBroker, MemoryBroker, Record, Request};
use holdfast_repository::plan::{Limits, Planner};
use holdfast_repository::{ContentHash, ObjectKind, Standing};

use crate::harness::*;

fn round_trip(broker: impl Broker + Clone + 'static) {
    let repository = open(broker.clone());
    let first = sample();
    let uploaded = Job::new(&repository, "one", NOON, 1).run(&first);
    assert!(uploaded.plan.objects.len() > 3);
    assert_eq!(restore(&repository, "one", NOON).unwrap(), first);

    let again = Job::new(&repository, "two", LATER, 2).run(&first);
    assert!(again.plan.objects.is_empty(), "{:?}", again.plan.objects);
    assert_eq!((again.sent, again.plan.new_bytes), (0, 0));

    let mut changed = first.clone();
    *changed.values_mut().next().unwrap() = b"another content".to_vec();
    let third = Job::new(&repository, "three", LATER, 3).run(&changed);
    assert_eq!(third.plan.objects.len(), 1);
    assert_eq!((third.plan.new_files, third.plan.new_bytes), (1, 15));
    assert_eq!(restore(&repository, "three", LATER).unwrap(), changed);
    assert_eq!(restore(&repository, "two", LATER).unwrap(), first);
    assert_eq!(findings(&repository), []);
}

#[test]
fn an_unchanged_backup_sends_no_object_and_a_changed_file_only_its_own() {
    round_trip(MemoryBroker::new());
}

#[test]
fn the_same_holds_on_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Arc::new(LocalBroker::open(folder.path()).unwrap());
    round_trip(broker);
}

#[test]
fn a_second_cluster_sees_the_first_ones_snapshots_and_builds_on_them() {
    let (east, broker) = in_memory();
    let west = open(broker);
    assert_eq!(east.info(), west.info());
    let data = sample();
    Job::new(&east, "one", NOON, 1).run(&data);
    assert_eq!(restore(&west, "one", NOON).unwrap(), data);
    let uploaded = Job::new(&west, "two", LATER, 1).of("west").run(&data);
    assert!(uploaded.plan.objects.is_empty());
    let labels = east.labels(&Context::new()).unwrap();
    let seen: Vec<_> = labels
        .iter()
        .map(|entry| (entry.label.as_str(), entry.snapshots[0].cluster.as_str()))
        .collect();
    assert_eq!(seen, [("one", "east"), ("two", "west")]);
}

#[test]
fn what_was_deleted_or_cut_by_hand_is_sent_again() {
    let (repository, broker) = in_memory();
    let data = sample();
    let ctx = Context::new();
    let first = Job::new(&repository, "one", NOON, 1).run(&data);
    let gone = first
        .plan
        .objects
        .iter()
        .find(|o| o.key.kind() == ObjectKind::Pack)
        .unwrap();
    let cut = first
        .plan
        .objects
        .iter()
        .find(|o| o.key.kind() == ObjectKind::Whole)
        .unwrap();
    broker.delete(&ctx, &object(&gone.key.to_string())).unwrap();
    broker
        .damage(&object(&cut.key.to_string()), |bytes| bytes.truncate(9))
        .unwrap();
    assert!(!findings(&repository).is_empty());

    let second = Job::new(&repository, "two", LATER, 2).run(&data);
    let keys: Vec<_> = second
        .plan
        .objects
        .iter()
        .map(|object| object.key)
        .collect();
    assert!(keys.contains(&cut.key), "{keys:?}");
    assert_eq!(second.sent, gone.len + cut.len);
    assert_eq!(findings(&repository), []);
    assert_eq!(restore(&repository, "one", NOON).unwrap(), data);
}

#[test]
fn a_label_folder_deleted_by_hand_harms_no_other_snapshot() {
    let (repository, broker) = in_memory();
    let (one, mut two) = (sample(), sample());
    two.insert(
        ("c".into(), "c".into(), 0, "extra".into()),
        b"extra".to_vec(),
    );
    Job::new(&repository, "one", NOON, 1).run(&one);
    Job::new(&repository, "two", LATER, 2).run(&two);
    let ctx = Context::new();
    for path in paths(&broker)
        .iter()
        .filter(|path| path.starts_with("__ss_two/"))
    {
        broker.delete(&ctx, &object(path)).unwrap();
    }
    assert_eq!(restore(&repository, "one", NOON).unwrap(), one);
    assert_eq!(findings(&repository), []);
    let mut free = Vec::new();
    let report = repository
        .unreferenced(&ctx, &mut |object| free.push(object))
        .unwrap();
    assert_eq!((report.objects, free.len()), (1, 1));
    assert_eq!(free[0].standing, Standing::Free);

    // The label is free again, and the object that nothing needed serves the next backup.
    let again = Job::new(&repository, "two", LATER, 3).run(&two);
    assert_eq!(again.sent, 0);
    assert_eq!(restore(&repository, "two", LATER).unwrap(), two);
}

#[test]
fn unreferenced_objects_are_held_while_a_writer_is_at_work() {
    let (repository, _) = in_memory();
    let ctx = Context::new();
    let job = Job::new(&repository, "one", NOON, 1);
    let uploaded = job.upload(&sample()).unwrap();
    let mut held = Vec::new();
    let report = repository
        .unreferenced(&ctx, &mut |object| held.push(object))
        .unwrap();
    assert_eq!(report.writers, ["east-1"]);
    assert_eq!(held.len(), uploaded.created.len());
    assert!(held.iter().all(|object| object.standing == Standing::Held));
    job.commit(&uploaded).unwrap();
    let report = repository
        .unreferenced(&ctx, &mut |_| panic!("all are needed"))
        .unwrap();
    assert_eq!(
        (report.objects, report.listed),
        (0, uploaded.created.len() as u64)
    );
}

#[test]
fn a_damaged_manifest_is_passed_over_when_looking_for_what_is_known() {
    let (repository, broker) = in_memory();
    Job::new(&repository, "one", NOON, 1).run(&sample());
    Job::new(&repository, "two", LATER, 2).run(&sample());
    let damaged = |path: &&String| path.starts_with("__ss_two/part.") || path.starts_with("packs/");
    let all = paths(&broker);
    let mut packs = 0;
    for path in all.iter().filter(damaged) {
        packs += u32::from(path.starts_with("packs/"));
        if packs != 2 {
            // The second pack stays whole, the headers of the others are hit.
            broker
                .damage(&object(path), |bytes| bytes[30] ^= 1)
                .unwrap();
        }
    }
    let ctx = Context::new();
    let presence = repository.presence(&ctx).unwrap();
    let known = repository
        .known_members(&ctx, &|_| true, usize::MAX, &presence)
        .unwrap();
    assert!(!known.is_empty());
    let packs: std::collections::BTreeSet<_> =
        known.values().map(|member| member.object.key).collect();
    assert_eq!(packs.len(), 1);
}

#[test]
fn the_search_for_known_files_ends_when_enough_are_found() {
    let broker = MemoryBroker::new();
    let record = Arc::new(Record::new(broker, Calls::Counted));
    let recorder = record.recorder();
    let repository = open(record);
    let data = sample();
    for number in 0..5 {
        let label = format!("l{number}");
        Job::new(&repository, &label, NOON, number).run(&data);
    }
    let ctx = Context::new();
    let presence = repository.presence(&ctx).unwrap();
    let wanted = ContentHash::of(data.values().next().unwrap());
    let gets = |enough| {
        let before = recorder.figures().requests(Request::Get);
        let known = repository.known_members(&ctx, &|hash| *hash == wanted, enough, &presence);
        assert_eq!(known.unwrap().len().min(1), enough.min(1));
        recorder.figures().requests(Request::Get) - before
    };
    assert_eq!(gets(0), 0);
    let one = gets(1);
    let all = gets(2);
    assert!(one < all, "{one} {all}");
    // Every snapshot has a root of its own, and equal parts are read once.
    assert!(all <= one + 4 + 8, "{one} {all}");
}

#[test]
fn files_longer_than_an_object_are_segments() {
    let (repository, broker) = in_memory();
    let mut big = noise(1, 4096).repeat((64 << 20) / 4096);
    big.extend_from_slice(b"the tail");
    let data = data([("big", big.as_slice()), ("tail", b"the tail")]);
    let first = Job::new(&repository, "one", NOON, 1).run(&data);
    let lens: Vec<_> = first.plan.objects.iter().map(|object| object.len).collect();
    assert_eq!(lens, [64 << 20, 8]);
    assert_eq!(restore(&repository, "one", NOON).unwrap(), data);
    let mut changed = big.clone();
    changed[64 << 20] ^= 1;
    let data = self::data([("big", changed.as_slice())]);
    let second = Job::new(&repository, "two", LATER, 2).run(&data);
    assert_eq!(second.sent, 8);
    let segment = first.plan.objects[0].key.to_string();
    broker
        .damage(&object(&segment), |bytes| bytes[1 << 20] ^= 1)
        .unwrap();
    let found = findings(&repository);
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().all(|finding| finding.object == segment));
}

#[test]
fn a_plan_made_for_another_state_of_the_repository_still_ends_well() {
    let (repository, _) = in_memory();
    let data = sample();
    let ctx = Context::new();
    let presence = repository.presence(&ctx).unwrap();
    let uploaded = Job::new(&repository, "one", NOON, 1).run(&data);
    // As if both had looked before either had sent anything.
    let mut planner = Planner::new(&presence, Default::default(), Limits::default()).unwrap();
    let mut files = Vec::new();
    for (place, content) in &uploaded.contents {
        if planner.add(0, content).unwrap().index() == files.len() {
            files.push(data[place].clone());
        }
    }
    let plan = planner.finish().unwrap();
    for object in &plan.objects {
        let there = repository.has(&ctx, object).unwrap();
        let put = repository
            .put_object(&ctx, object, &Files(files.clone()))
            .unwrap();
        assert_eq!(put.bytes == 0, there, "{object:?}");
        assert!(repository.has(&ctx, object).unwrap());
    }
    assert_eq!(findings(&repository), []);
}

#[test]
fn what_is_found_in_place_is_settled_before_it_counts() {
    let record = Arc::new(Record::new(MemoryBroker::new(), Calls::Counted));
    let recorder = record.recorder();
    let repository = open(record);
    let uploaded = Job::new(&repository, "one", NOON, 1).run(&sample());
    let ctx = Context::new();
    let settled = || recorder.figures().requests(Request::Settle);
    let before = settled();
    assert!(repository.has(&ctx, &uploaded.plan.objects[0]).unwrap());
    assert_eq!(settled(), before + 1);
    Job::new(&repository, "two", LATER, 2).run(&sample());
    assert!(settled() > before + 1);
}
