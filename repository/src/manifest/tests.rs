use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::limits::{FORMAT_VERSION, MAX_OBJECT_LEN};
use crate::plan::{KnownMembers, Limits, Placement, Planner};
use crate::{ErrorKind, Presence};

fn sample() -> EncodedPart {
    let presence = Presence::default();
    let mut planner =
        Planner::new(&presence, KnownMembers::default(), Limits::default()).expect("limits");
    let big = Content {
        hash: ContentHash::of(b"big"),
        len: MAX_OBJECT_LEN + 3,
        segments: vec![ContentHash::of(b"1"), ContentHash::of(b"2")],
    };
    let files = [
        (0, "a/one", Content::of(b"one")),
        (0, "a/two", Content::of(b"two")),
        (0, "empty", Content::of(b"")),
        (2, "big", big),
        (2, "whole", Content::of(&vec![7; 1 << 20])),
    ];
    let numbers = files
        .each_ref()
        .map(|(_, _, content)| planner.add(0, content).expect("good"));
    let plan = planner.finish().expect("plan");
    let mut builder = PartBuilder::new(&plan.table);
    for ((bucket, name, content), file) in files.iter().zip(numbers) {
        let placement = &plan.placements[file.index()];
        let full = builder
            .add(*bucket, name, content, placement)
            .expect("good");
        assert!(full.is_none());
    }
    builder.finish().expect("good").expect("one part")
}

fn root() -> Root {
    let part = sample().reference;
    Root {
        format: FORMAT_VERSION,
        label: "nightly_7".into(),
        timestamp: "2026-11-22-08-37-55-123".into(),
        timestamp_ms: 1_795_336_675_123,
        cluster: "east".into(),
        job: 7,
        database: "shop".into(),
        meta: Opaque(json!({"zone": "UTC"})),
        tables: vec![TableRef {
            name: "sales".into(),
            schema: Opaque(json!({"columns": [{"name": "k", "type": "INT"}], "f": 1.5})),
            partitions: vec![PartitionRef {
                name: "p1".into(),
                meta: Opaque::default(),
                version: 3,
                parts: vec![part],
            }],
        }],
        totals: Totals::default(),
    }
}

fn text_of(stored: &[u8]) -> Vec<u8> {
    zstd::bulk::decompress(stored, 1 << 24).expect("own bytes")
}

/// Stores `text` as an honest writer would store a part, and reads it with a reference that agrees
/// with the bytes.
fn read_part(text: &[u8]) -> Result<Part, Error> {
    let stored = zstd::bulk::compress(text, 1).expect("compress");
    read_stored(&stored, text)
}

fn read_stored(stored: &[u8], text: &[u8]) -> Result<Part, Error> {
    let mut reference = PartRef {
        hash: ContentHash::of(stored),
        len: stored.len() as u64,
        files: 0,
        bytes: 0,
    };
    if let Ok(part) = serde_json::from_slice::<Part>(text) {
        let files = part.tablets.iter().flat_map(|tablet| &tablet.files);
        reference.files = files.clone().count() as u64;
        reference.bytes = files.fold(0, |sum, file| sum.wrapping_add(file.len));
    }
    Part::decode(&reference, stored)
}

/// What a reader relies on, checked in other words than the reader's own.
fn assert_harmless(part: &Part) {
    for tablet in &part.tablets {
        let mut names = std::collections::BTreeSet::new();
        for file in &tablet.files {
            let path = std::path::Path::new(&file.name);
            let plain = path
                .components()
                .all(|c| matches!(c, std::path::Component::Normal(_)));
            assert!(
                plain && path.is_relative() && !file.name.contains('\0'),
                "{}",
                file.name
            );
            assert!(!file.name.is_empty() && file.name.len() <= 4096);
            assert!(names.insert(path.to_owned()));
            let mut covered = 0;
            for (_, piece) in file.hashed_pieces() {
                let object = part.objects[piece.object as usize];
                assert!(piece.offset + piece.len <= object.len && object.len <= MAX_OBJECT_LEN);
                covered += piece.len;
            }
            assert_eq!(covered, file.len);
        }
    }
}

#[test]
fn a_part_round_trips() {
    let encoded = sample();
    let part = Part::decode(&encoded.reference, &encoded.bytes).expect("own bytes");
    assert_eq!(part.encode().expect("again"), encoded);
    assert_eq!((encoded.reference.files, part.tablets.len()), (5, 2));
    assert_harmless(&part);
}

#[test]
fn a_root_round_trips_and_its_marker_names_it() {
    let marker = Marker::build(root()).expect("good");
    let read = marker.root().expect("own bytes");
    assert_eq!(read.tables, root().tables);
    assert_eq!((read.totals.files, read.totals.partitions), (5, 1));
    let hash = ContentHash::of(marker.bytes());
    assert_eq!(marker.root_hash(), hash);
    assert_eq!(
        marker.name(),
        format!("__info_2026-11-22-08-37-55-123.east.7.{hash}")
    );
    let binary = postcard::to_stdvec(&read).expect("binary");
    assert_eq!(postcard::from_bytes::<Root>(&binary).expect("binary"), read);
    let binary = postcard::to_stdvec(&marker).expect("binary");
    assert_eq!(
        postcard::from_bytes::<Marker>(&binary).expect("binary"),
        marker
    );
}

#[test]
fn unknown_keys_are_ignored_and_a_newer_format_is_refused() {
    let mut value: Value = serde_json::from_slice(&text_of(&sample().bytes)).expect("json");
    value["tomorrow"] = json!([1, 2]);
    value["tablets"][0]["files"][0]["colour"] = json!("red");
    assert!(read_part(value.to_string().as_bytes()).is_ok());
    value["format"] = json!(2);
    let error = read_part(value.to_string().as_bytes()).expect_err("newer");
    assert_eq!(error.kind(), ErrorKind::NewerFormat);
}

#[test]
fn names_that_leave_the_staging_place_are_refused() {
    for name in [
        "", "/a", "a//b", "a/", "../a", "a/../b", "a/..", ".", "./a", "a\0b",
    ] {
        assert!(check_file_name(name).is_err(), "{name:?}");
        let mut value: Value = serde_json::from_slice(&text_of(&sample().bytes)).expect("json");
        value["tablets"][0]["files"][0]["name"] = json!(name);
        let error = read_part(value.to_string().as_bytes()).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::Damaged);
    }
    let longest = "a".repeat(4096);
    for name in [
        "a b",
        "ä/ö",
        "...",
        "a\\b",
        ".hidden",
        longest.as_str(),
        "a\nb",
    ] {
        assert!(check_file_name(name).is_ok(), "{name:?}");
    }
    assert!(check_file_name(&format!("{longest}a")).is_err());
}

#[test]
fn names_that_cannot_lie_beside_each_other_are_refused() {
    for name in ["a/one", "a", "a/one/b"] {
        let mut value: Value = serde_json::from_slice(&text_of(&sample().bytes)).expect("json");
        value["tablets"][0]["files"][1]["name"] = json!(name);
        assert!(read_part(value.to_string().as_bytes()).is_err(), "{name}");
    }
    let mut guard = NameGuard::new();
    guard.admit("a/b/c").expect("first");
    guard.admit("a/b-c").expect("beside");
    for name in ["a/b/c", "a/b", "a", "a/b/c/d"] {
        assert!(guard.admit(name).is_err(), "{name}");
    }
}

#[test]
fn places_that_do_not_cover_a_file_exactly_are_refused() {
    let good: Value = serde_json::from_slice(&text_of(&sample().bytes)).expect("json");
    let breakages: [(&str, Value); 12] = [
        ("/tablets/0/files/0/pieces/0/offset", json!(u64::MAX)),
        ("/tablets/0/files/0/pieces/0/offset", json!(1_000_000)),
        ("/tablets/0/files/0/pieces/0/len", json!(2)),
        ("/tablets/0/files/0/pieces/0/object", json!(77)),
        ("/tablets/0/files/0/pieces", json!([])),
        (
            "/tablets/0/files/2/pieces",
            json!([{"object": 0, "offset": 0, "len": 0}]),
        ),
        ("/tablets/0/files/0/len", json!(4)),
        ("/tablets/1/files/0/len", json!(u64::MAX)),
        ("/tablets/1/files/0/segments", json!([])),
        ("/tablets/1/files/0/pieces/0/object", json!(2)),
        ("/tablets/1/bucket", json!(0)),
        ("/objects/0/len", json!(MAX_OBJECT_LEN + 1)),
    ];
    assert!(read_part(good.to_string().as_bytes()).is_ok());
    for (place, with) in breakages {
        let mut value = good.clone();
        *value.pointer_mut(place).expect(place) = with.clone();
        let error = read_part(value.to_string().as_bytes()).expect_err(place);
        assert_eq!(error.kind(), ErrorKind::Damaged, "{place} {with}: {error}");
    }
}

#[test]
fn roots_that_break_a_rule_are_refused() {
    let build = |change: &dyn Fn(&mut Root)| {
        let mut changed = root();
        change(&mut changed);
        Marker::build(changed)
    };
    assert!(build(&|_| ()).is_ok());
    let changes: [&dyn Fn(&mut Root); 8] = [
        &|root| root.label = "a/b".into(),
        &|root| root.timestamp = "yesterday".into(),
        &|root| root.cluster = "a.b".into(),
        &|root| root.database = String::new(),
        &|root| root.tables.push(root.tables[0].clone()),
        &|root| root.tables[0].name = "a\nb".into(),
        &|root| {
            let twice = root.tables[0].partitions[0].clone();
            root.tables[0].partitions.push(twice);
        },
        &|root| root.tables[0].partitions[0].parts[0].files = 20_001,
    ];
    for (number, change) in changes.iter().enumerate() {
        assert!(build(change).is_err(), "change {number}");
    }
}

#[test]
fn parts_are_cut_at_their_bounds_and_bound_together_hold_everything() {
    let content = Content::of(b"");
    let mut builder = PartBuilder::new(&[]).with_max_files(10);
    let mut parts = Vec::new();
    for number in 0..35 {
        let name = format!("f{number}");
        let full = builder.add(number / 20, &name, &content, &Placement::default());
        parts.extend(full.expect("good"));
    }
    parts.extend(builder.tablet(5).expect("good"));
    parts.extend(builder.finish().expect("good"));
    let counts: Vec<u64> = parts.iter().map(|part| part.reference.files).collect();
    assert_eq!(counts, [10, 10, 10, 5]);
    let last = Part::decode(&parts[3].reference, &parts[3].bytes).expect("own bytes");
    let buckets: Vec<u32> = last.tablets.iter().map(|tablet| tablet.bucket).collect();
    assert_eq!(buckets, [1, 5]);
    let mut builder = PartBuilder::new(&[]);
    builder.tablet(3).expect("good");
    assert!(builder.tablet(2).is_err());
}

/// One of the hostile things that a value of a manifest can be replaced by.
fn hostile() -> impl Strategy<Value = Value> {
    prop_oneof![
        Just(Value::Null),
        Just(json!([])),
        Just(json!({})),
        Just(json!(-1)),
        Just(json!(1e300)),
        any::<u64>().prop_map(|number| json!(number)),
        (0_u64..10).prop_map(|number| json!(number)),
        "[./a\\x00]{0,6}".prop_map(|text| json!(text)),
        Just(json!("../../etc/passwd")),
        Just(json!("/etc/passwd")),
        Just(json!("objects/../../../x")),
    ]
}

/// Replaces, removes or doubles the `at`th value below `value`.
fn mutate(value: &mut Value, at: &mut usize, with: &Value, how: u8) -> bool {
    if *at == 0 {
        *value = with.clone();
        return true;
    }
    *at -= 1;
    match value {
        Value::Array(items) => {
            for index in 0..items.len() {
                if *at == 0 && how == 1 {
                    items.remove(index);
                    return true;
                }
                if *at == 0 && how == 2 {
                    items.push(items[index].clone());
                    return true;
                }
                if mutate(&mut items[index], at, with, how) {
                    return true;
                }
            }
            false
        }
        Value::Object(fields) => fields
            .values_mut()
            .any(|field| mutate(field, at, with, how)),
        _ => false,
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn random_bytes_are_never_a_manifest(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        prop_assert!(read_stored(&bytes, &bytes).is_err());
        prop_assert!(Root::decode(&bytes).is_err());
        let wrapped = zstd::bulk::compress(&bytes, 1).expect("compress");
        prop_assert!(read_stored(&wrapped, &bytes).is_err());
        prop_assert!(Root::decode(&wrapped).is_err());
    }

    #[test]
    fn mutated_bytes_are_refused_or_harmless(
        at in any::<prop::sample::Index>(),
        with in any::<u8>(),
        cut in any::<bool>(),
    ) {
        let encoded = sample();
        let mut stored = encoded.bytes.clone();
        let place = at.index(stored.len());
        stored[place] = with;
        if cut {
            stored.truncate(place);
        }
        if stored != encoded.bytes {
            prop_assert!(Part::decode(&encoded.reference, &stored).is_err());
        }
        let mut text = text_of(&encoded.bytes);
        let place = at.index(text.len());
        text[place] = with;
        if let Ok(part) = read_part(&text) {
            assert_harmless(&part);
        }
        let _ = read_stored(&stored, &[]);
    }

    #[test]
    fn mutated_values_are_refused_or_harmless(
        changes in prop::collection::vec((0_usize..120, hostile(), 0_u8..3), 1..4),
    ) {
        let mut value: Value = serde_json::from_slice(&text_of(&sample().bytes)).expect("json");
        for (at, with, how) in changes {
            mutate(&mut value, &mut at.clone(), &with, how);
        }
        if let Ok(part) = read_part(value.to_string().as_bytes()) {
            assert_harmless(&part);
        }
        let marker = Marker::build(root()).expect("good");
        let mut value: Value = serde_json::from_slice(&text_of(marker.bytes())).expect("json");
        mutate(&mut value, &mut 7, &json!("../x"), 0);
        let stored = zstd::bulk::compress(value.to_string().as_bytes(), 1).expect("compress");
        let _ = Root::decode(&stored);
    }
}
