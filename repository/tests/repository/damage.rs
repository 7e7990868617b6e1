//! Every kind of damage to every stored object is found, and named.

use holdfast_broker::{Broker, BrokerExt, Context, PutMode};
use holdfast_repository::manifest::{
    Marker, Opaque, Part, PartFile, PartRef, PartTablet, PartitionRef, Root, TableRef,
};
use holdfast_repository::plan::Location;
use holdfast_repository::{ContentHash, ErrorKind, MarkerOutcome};

use crate::harness::*;

#[test]
fn verify_names_whatever_is_flipped_cut_lengthened_or_deleted() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    Job::new(&repository, "one", NOON, 1).run(&sample());
    Job::new(&repository, "two", LATER, 2).run(&sample());
    let is_proved = |path: &&String| {
        ["part.", "__info_", "objects/", "packs/"]
            .iter()
            .any(|what| path.contains(what))
    };
    let all = paths(&broker);
    let proved: Vec<_> = all.iter().filter(is_proved).collect();
    assert!(proved.len() > 10, "{proved:?}");
    for path in proved {
        let name = object(path);
        let good = broker.get(&ctx, &name, u64::MAX).unwrap();
        let mut damages: Vec<Option<Vec<u8>>> = vec![None, Some(good[..good.len() / 2].to_vec())];
        for at in [0, good.len() / 2, good.len() - 1] {
            let mut flipped = good.clone();
            flipped[at] ^= 0x10;
            damages.push(Some(flipped));
        }
        let mut longer = good.clone();
        longer.push(0);
        damages.push(Some(longer));
        for (number, damage) in damages.into_iter().enumerate() {
            match damage {
                None if path.contains("__info_") => continue,
                None => broker.delete(&ctx, &name).unwrap(),
                Some(bytes) => {
                    broker
                        .put_bytes(&ctx, &name, &bytes, PutMode::Overwrite)
                        .unwrap();
                }
            }
            let found = findings(&repository);
            assert!(!found.is_empty(), "{path}, damage {number}");
            let named = found.iter().all(|finding| finding.object == *path);
            assert!(named, "{path}, damage {number}: {found:?}");
            if path.contains("objects/") || path.contains("packs/") {
                // Both snapshots suffer, and each finding says which file.
                assert!(found.iter().any(|finding| finding.label == "two"));
                assert!(found.iter().all(|f| f.file.is_some() && f.table.is_some()));
            } else {
                assert_eq!(found.len(), 1, "{found:?}");
            }
            broker
                .put_bytes(&ctx, &name, &good, PutMode::Overwrite)
                .unwrap();
        }
    }
    assert_eq!(findings(&repository), []);
}

#[test]
fn damage_to_one_member_of_a_pack_is_a_finding_for_that_file_alone() {
    let (repository, broker) = in_memory();
    let files = data([
        ("a", b"first".as_slice()),
        ("b", b"second"),
        ("c", b"third"),
    ]);
    let uploaded = Job::new(&repository, "l", NOON, 1).run(&files);
    let pack = uploaded.plan.objects[0].key.to_string();
    broker
        .damage(&object(&pack), |bytes| *bytes.last_mut().unwrap() ^= 1)
        .unwrap();
    let found = findings(&repository);
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].file.as_deref(), &found[0].object),
        (Some("c"), &pack)
    );
    let text = found[0].to_string();
    for part in ["snapshot l", "table t", "partition p", "\"c\"", &pack] {
        assert!(text.contains(part), "{text}");
    }
    let error = restore(&repository, "l", NOON).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Damaged);
    assert!(error.message().contains(&pack), "{error}");
}

#[test]
fn a_marker_with_a_damaged_name_is_a_problem_of_its_label() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let files = data([("a", b"first".as_slice())]);
    Job::new(&repository, "good", NOON, 1).run(&files);
    broker
        .put_bytes(
            &ctx,
            &object("__ss_bad/__info_yesterday"),
            b"x",
            PutMode::Overwrite,
        )
        .unwrap();
    broker
        .put_bytes(&ctx, &object("__ss_only/other"), b"x", PutMode::Overwrite)
        .unwrap();
    let labels = repository.labels(&ctx).unwrap();
    let names: Vec<_> = labels.iter().map(|entry| entry.label.as_str()).collect();
    assert_eq!(names, ["bad", "good"]);
    assert!(
        labels[0]
            .problem
            .as_ref()
            .unwrap()
            .contains("__info_yesterday")
    );
    assert!(labels[0].snapshots.is_empty() && labels[1].problem.is_none());
    let found = findings(&repository);
    assert_eq!((found.len(), found[0].label.as_str()), (1, "bad"));
    let taken = repository.claim(&ctx, "bad", &writer("east", 2), &|_| false);
    assert_eq!(taken.unwrap_err().kind(), ErrorKind::LabelTaken);
}

#[test]
fn a_marker_under_another_label_or_name_is_refused() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let files = data([("a", b"first".as_slice())]);
    Job::new(&repository, "one", NOON, 1).run(&files);
    let path = paths(&broker)
        .into_iter()
        .find(|path| path.contains("__info_"))
        .unwrap();
    let bytes = broker.get(&ctx, &object(&path), 1 << 20).unwrap();
    let moved = path.replace("__ss_one", "__ss_two");
    let renamed = path
        .replace("__ss_one", "__ss_three")
        .replace(".east.1.", ".east.9.");
    for path in [&moved, &renamed] {
        broker
            .put_bytes(&ctx, &object(path), &bytes, PutMode::Overwrite)
            .unwrap();
    }
    for label in ["two", "three"] {
        let error = repository.marker(&ctx, label, NOON).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Damaged, "{error}");
    }
    assert_eq!(restore(&repository, "one", NOON).unwrap(), files);
}

#[test]
fn verify_of_one_label_looks_at_that_one_alone() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    Job::new(&repository, "one", NOON, 1).run(&data([("a", b"first".as_slice())]));
    let bad = Job::new(&repository, "two", NOON, 2).run(&data([("b", b"second".as_slice())]));
    broker
        .delete(&ctx, &object(&bad.created[0].to_string()))
        .unwrap();
    let verify = |label| {
        repository
            .verify(&ctx, Some(label), &mut |_| ())
            .map(|report| report.findings)
    };
    assert_eq!(verify("one").unwrap(), 0);
    assert_eq!(verify("two").unwrap(), 1);
    assert_eq!(verify("three").unwrap_err().kind(), ErrorKind::NotFound);
    let report = repository.verify(&ctx, Some("one"), &mut |_| ()).unwrap();
    assert_eq!(
        (report.snapshots, report.parts, report.files, report.objects),
        (1, 1, 1, 1)
    );
}

fn liars_marker(part: PartRef) -> Marker {
    let partition = PartitionRef {
        name: "p".to_owned(),
        meta: Opaque::default(),
        version: 1,
        parts: vec![part],
    };
    let table = TableRef {
        name: "t".to_owned(),
        schema: Opaque::default(),
        partitions: vec![partition],
    };
    let marker = Marker::build(Root {
        format: 1,
        label: "liar".to_owned(),
        timestamp: LATER.to_owned(),
        timestamp_ms: 2,
        cluster: "west".to_owned(),
        job: 1,
        database: "shop".to_owned(),
        meta: Opaque::default(),
        tables: vec![table],
        totals: Default::default(),
    });
    marker.unwrap()
}

#[test]
fn a_manifest_that_lies_about_places_misleads_nobody() {
    let (repository, _) = in_memory();
    let ctx = Context::new();
    let files = data([("a", b"first".as_slice()), ("b", b"third")]);
    let honest = Job::new(&repository, "honest", NOON, 1).run(&files);
    let pack = honest.plan.objects[0].entry();
    let places: Vec<_> = honest
        .plan
        .placements
        .iter()
        .map(|place| place.pieces[0])
        .collect();

    // The places of two files of equal length are exchanged, and a third is said to be in the pack.
    let file = |name: &str, bytes: &[u8], place: Location| PartFile {
        name: name.to_owned(),
        len: bytes.len() as u64,
        hash: ContentHash::of(bytes),
        segments: Vec::new(),
        pieces: vec![place],
    };
    let lies = vec![
        file("a", b"first", places[1]),
        file("b", b"third", places[0]),
        file("c", b"never", places[0]),
    ];
    let part = Part {
        format: 1,
        objects: vec![pack],
        tablets: vec![PartTablet {
            bucket: 0,
            files: lies,
        }],
    };
    let part = part.encode().unwrap();
    let liar = writer("west", 1);
    repository.claim(&ctx, "liar", &liar, &|_| false).unwrap();
    repository.put_part(&ctx, "liar", &part).unwrap();
    let outcome = repository
        .put_marker(&ctx, "liar", &liars_marker(part.reference))
        .unwrap();
    assert_eq!(outcome, MarkerOutcome::Ours);

    let presence = repository.presence(&ctx).unwrap();
    let known = repository
        .known_members(&ctx, &|_| true, usize::MAX, &presence)
        .unwrap();
    assert_eq!(known.len(), 2);
    assert_eq!(known[&ContentHash::of(b"first")].offset, places[0].offset);
    assert_eq!(known[&ContentHash::of(b"third")].offset, places[1].offset);

    let found = findings(&repository);
    let named: Vec<_> = found
        .iter()
        .map(|f| (f.label.as_str(), f.file.as_deref()))
        .collect();
    assert_eq!(
        named,
        [
            ("liar", Some("a")),
            ("liar", Some("b")),
            ("liar", Some("c"))
        ]
    );
    assert_eq!(
        restore(&repository, "liar", LATER).unwrap_err().kind(),
        ErrorKind::Damaged
    );
    let again = Job::new(&repository, "again", LATER, 2).run(&files);
    assert_eq!(again.sent, 0);
    assert_eq!(restore(&repository, "again", LATER).unwrap(), files);
}
