use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::Condemned;

fn planner(presence: &Presence, limits: Limits) -> Planner<'_> {
    Planner::new(presence, KnownMembers::default(), limits).expect("good limits")
}

/// The bytes of each object of a plan, made from the bytes of its files.
fn objects(plan: &Plan, files: &[Vec<u8>]) -> BTreeMap<ObjectKey, Vec<u8>> {
    let mut objects = BTreeMap::new();
    for object in &plan.objects {
        let bytes = match &object.content {
            PlannedContent::Whole { file, segment } => {
                let start = *segment as usize * MAX_OBJECT_LEN as usize;
                files[file.index()][start..start + object.len as usize].to_vec()
            }
            PlannedContent::Pack { members } => {
                let header = Header::new(members.iter().map(|m| (m.hash, m.len))).expect("header");
                let mut bytes = header.encode();
                for member in members {
                    bytes.extend_from_slice(&files[member.file.index()]);
                }
                bytes
            }
        };
        assert_eq!(bytes.len() as u64, object.len);
        assert_eq!(plan.table[object.slot as usize], object.entry());
        assert!(
            objects.insert(object.key, bytes).is_none(),
            "{}",
            object.key
        );
    }
    objects
}

fn read(plan: &Plan, objects: &BTreeMap<ObjectKey, Vec<u8>>, file: FileNo) -> Vec<u8> {
    let mut bytes = Vec::new();
    for piece in &plan.placements[file.index()].pieces {
        let object = &objects[&plan.table[piece.object as usize].key];
        bytes.extend_from_slice(&object[piece.offset as usize..][..piece.len as usize]);
    }
    bytes
}

/// What a repository that holds `objects` knows.
fn holdings(objects: &BTreeMap<ObjectKey, Vec<u8>>) -> (Presence, KnownMembers) {
    let entries = objects.iter().map(|(key, bytes)| ObjectEntry {
        key: *key,
        len: bytes.len() as u64,
    });
    let presence = Presence::new(entries.clone(), Condemned::default());
    let mut known = KnownMembers::default();
    for object in entries.filter(|entry| entry.key.kind() == ObjectKind::Pack) {
        let header = Header::decode(&object.key, &objects[&object.key]).expect("own pack");
        for member in header.members() {
            known.insert(
                member.hash,
                KnownMember {
                    object,
                    offset: member.offset,
                    len: member.len,
                },
            );
        }
    }
    (presence, known)
}

proptest! {
    #[test]
    fn every_file_can_be_read_back_and_a_second_plan_writes_nothing(
        files in prop::collection::vec((0_u32..3, prop::collection::vec(0_u8..3, 0..80)), 0..60),
        pack_below in 0_u64..60,
        spare in 0_u64..300,
        pack_members in 1_u32..6,
    ) {
        let pack_len = header_len(1) + pack_below + spare;
        let limits = Limits { pack_below, pack_len, pack_members };
        let nothing = Presence::default();
        let mut planner = planner(&nothing, limits);
        let mut distinct: Vec<Vec<u8>> = Vec::new();
        let mut numbers = Vec::new();
        for (lane, bytes) in &files {
            let file = planner.add(*lane, &Content::of(bytes)).expect("good");
            if file.index() == distinct.len() {
                distinct.push(bytes.clone());
            }
            numbers.push(file);
        }
        let plan = planner.finish().expect("plan");
        let objects = objects(&plan, &distinct);
        for (file, (_, bytes)) in numbers.iter().zip(&files) {
            prop_assert_eq!(&read(&plan, &objects, *file), bytes);
        }
        for object in &plan.objects {
            prop_assert!(object.len <= limits.pack_len.max(80));
            if let PlannedContent::Pack { members } = &object.content {
                prop_assert!(members.len() as u32 <= pack_members);
            }
        }
        let total: u64 = distinct.iter().map(|bytes| bytes.len() as u64).sum();
        prop_assert_eq!(plan.new_bytes, total);
        prop_assert_eq!(plan.new_files + plan.reused_files, distinct.len() as u64);

        let (presence, known) = holdings(&objects);
        // The same once more, though no manifest tells what the packs hold: their names do.
        let mut same = Planner::new(&presence, KnownMembers::default(), limits).expect("limits");
        for (lane, bytes) in &files {
            same.add(*lane, &Content::of(bytes)).expect("good");
        }
        let same = same.finish().expect("plan");
        prop_assert!(same.objects.is_empty());
        prop_assert_eq!((same.new_files, same.new_bytes, same.reused_bytes), (0, 0, total));

        let mut again = Planner::new(&presence, known, limits).expect("limits");
        // In another order and from other lanes: what is known does not depend on how it came.
        let mut renumbered = Vec::new();
        for (lane, bytes) in files.iter().rev() {
            renumbered.push(again.add(lane + 7, &Content::of(bytes)).expect("good"));
        }
        let again = again.finish().expect("plan");
        prop_assert!(again.objects.is_empty());
        prop_assert_eq!((again.new_files, again.new_bytes), (0, 0));
        prop_assert_eq!(again.reused_bytes, total);
        for (file, (_, bytes)) in renumbered.iter().zip(files.iter().rev()) {
            prop_assert_eq!(&read(&again, &objects, *file), bytes);
        }
    }
}

#[test]
fn a_plan_is_a_function_of_what_is_added() {
    let nothing = Presence::default();
    let make = || {
        let mut planner = planner(&nothing, Limits::default());
        for number in 0..100_u32 {
            let content = Content::of(&number.to_le_bytes());
            planner.add(number % 3, &content).expect("good");
        }
        planner.finish().expect("plan")
    };
    assert_eq!(make(), make());
    assert_eq!(make().objects.len(), 3);
    let binary = postcard::to_stdvec(&make()).expect("binary");
    assert_eq!(
        postcard::from_bytes::<Plan>(&binary).expect("binary"),
        make()
    );
    let json = serde_json::to_string(&make()).expect("json");
    assert_eq!(serde_json::from_str::<Plan>(&json).expect("json"), make());
}

#[test]
fn a_pack_that_is_present_though_no_snapshot_knows_it_is_reused() {
    let nothing = Presence::default();
    let files = vec![b"one".to_vec(), b"two".to_vec()];
    let plan = |presence: &Presence| {
        let mut planner = planner(presence, Limits::default());
        for bytes in &files {
            planner.add(0, &Content::of(bytes)).expect("good");
        }
        planner.finish().expect("plan")
    };
    let first = plan(&nothing);
    let objects = objects(&first, &files);
    let (presence, _) = holdings(&objects);
    let second = plan(&presence);
    assert!(second.objects.is_empty());
    assert_eq!(second.reused, [first.objects[0].entry()]);
    assert_eq!((second.new_files, second.reused_files), (0, 2));
    assert_eq!((second.new_bytes, second.reused_bytes), (0, 6));
    assert_eq!(read(&second, &objects, FileNo(1)), b"two");

    let condemned = Condemned::from_iter([first.objects[0].key]);
    let listed = [first.objects[0].entry()];
    let third = plan(&Presence::new(listed, condemned));
    assert_eq!(
        third.objects[0].key,
        first.objects[0].key.with_generation(1)
    );
}

#[test]
fn larger_files_are_segments_and_equal_segments_are_one_object() {
    let nothing = Presence::default();
    let mut planner = planner(&nothing, Limits::default());
    let segment = ContentHash::of(b"a segment");
    let tail = ContentHash::of(b"a tail");
    let content = Content {
        hash: ContentHash::of(b"a file"),
        len: 2 * MAX_OBJECT_LEN + 5,
        segments: vec![segment, segment, tail],
    };
    let file = planner.add(0, &content).expect("good");
    let short = Content {
        hash: tail,
        len: 5,
        segments: vec![],
    };
    planner.add(0, &short).expect("good");
    let plan = planner.finish().expect("plan");
    let keys: Vec<_> = plan
        .objects
        .iter()
        .map(|o| (*o.key.hash(), o.len))
        .collect();
    assert_eq!(keys, [(segment, MAX_OBJECT_LEN), (tail, 5)]);
    let pieces = &plan.placements[file.index()].pieces;
    assert_eq!(
        pieces.iter().map(|p| p.object).collect::<Vec<_>>(),
        [0, 0, 1]
    );
    assert_eq!(pieces.iter().map(|p| p.len).sum::<u64>(), content.len);
}

#[test]
fn contents_that_contradict_themselves_are_refused() {
    let nothing = Presence::default();
    let mut planner = planner(&nothing, Limits::default());
    let hash = ContentHash::of(b"x");
    let bad = |len, segments| Content {
        hash,
        len,
        segments,
    };
    assert!(planner.add(0, &bad(0, vec![])).is_err());
    assert!(planner.add(0, &bad(1, vec![hash])).is_err());
    assert!(
        planner
            .add(0, &bad(MAX_OBJECT_LEN + 1, vec![hash]))
            .is_err()
    );
    assert!(planner.add(0, &bad(u64::MAX, vec![])).is_err());
    planner.add(0, &bad(1, vec![])).expect("good");
    let error = planner.add(1, &bad(2, vec![])).expect_err("another length");
    assert!(error.message().contains("two files"), "{error}");
}

#[test]
fn known_members_that_do_not_fit_are_not_relied_on() {
    let content = Content::of(b"content");
    let key = ObjectKey::new(ObjectKind::Pack, ContentHash::of(b"pack"));
    let object = ObjectEntry { key, len: 100 };
    let presence = Presence::new([object], Condemned::default());
    let attempts = [
        (ObjectEntry { key, len: 101 }, 60, 7),
        (object, 94, 7),
        (object, u64::MAX, 7),
        (object, 60, 8),
    ];
    for (object, offset, len) in attempts {
        let mut known = KnownMembers::default();
        known.insert(
            content.hash,
            KnownMember {
                object,
                offset,
                len,
            },
        );
        let mut planner = Planner::new(&presence, known, Limits::default()).expect("limits");
        planner.add(0, &content).expect("good");
        assert_eq!(planner.finish().expect("plan").objects.len(), 1);
    }
}
