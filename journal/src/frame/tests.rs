//! Any bit of a frame that is flipped is noticed, and what is sealed is opened again.

use proptest::{collection::vec, prelude::*};

use super::*;

fn sealed(head: &Head, payload: &[u8], prev: &FrameHash, seed: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    let start = reserve(&mut bytes);
    bytes.extend_from_slice(payload);
    close(&mut bytes, start).unwrap();
    let head = Head {
        hash: chain(prev, head, payload),
        ..*head
    };
    seal(&mut bytes, &head, seed);
    bytes
}

prop_compose! {
    fn heads()(
        kind: u16,
        stream: u64,
        seq in 1_u64..,
        at_ms: u64,
        first: bool,
        last: bool,
        back in 1_u64..,
    ) -> Head {
        Head {
            kind: Kind(kind),
            stream: StreamId(stream),
            seq: Seq(seq),
            at_ms,
            role: Role { first, last },
            payload_bytes: 0,
            synced_through: Seq(seq.saturating_sub(back)),
            hash: FrameHash([0; 32]),
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_was_sealed_is_opened(head in heads(), payload in vec(any::<u8>(), 0..300), seed: u32) {
        let head = Head { payload_bytes: u32::try_from(payload.len()).unwrap(), ..head };
        let prev = FrameHash::genesis(1);
        let mut bytes = sealed(&head, &payload, &prev, seed);
        prop_assert_eq!(bytes.len() % FRAME_ALIGN, 0);
        let taken = bytes.len();
        bytes.extend_from_slice(b"what comes next");
        let (found, found_payload, total) = open(&bytes, seed).unwrap();
        prop_assert_eq!(found, Head { hash: chain(&prev, &head, &payload), ..head });
        prop_assert_eq!(found_payload, payload.as_slice());
        prop_assert_eq!(total, taken);
        prop_assert!(open(&bytes, seed ^ 1).is_err(), "another segment's seed");
    }

    #[test]
    fn any_flipped_bit_is_noticed(
        head in heads(),
        payload in vec(any::<u8>(), 0..300),
        at: prop::sample::Index,
        bit in 0..8_u8,
    ) {
        let head = Head { payload_bytes: u32::try_from(payload.len()).unwrap(), ..head };
        let mut bytes = sealed(&head, &payload, &FrameHash::genesis(1), 9);
        let at = at.index(bytes.len());
        bytes[at] ^= 1_u8 << bit;
        prop_assert!(open(&bytes, 9).is_err());
    }

    #[test]
    fn any_bytes_at_all_are_refused_without_a_panic(mut bytes in vec(any::<u8>(), 0..400)) {
        prop_assert!(open(&bytes, 0).is_err());
        if bytes.len() >= 4 {
            bytes[..4].copy_from_slice(&MAGIC);
        }
        prop_assert!(open(&bytes, 0).is_err());
    }

    #[test]
    fn each_part_of_what_happened_changes_the_chain(head in heads(), payload in vec(any::<u8>(), 1..40)) {
        let prev = FrameHash::genesis(1);
        let hash = chain(&prev, &head, &payload);
        let mut other = payload.clone();
        other[0] ^= 1;
        let changed = [
            chain(&FrameHash::genesis(2), &head, &payload),
            chain(&prev, &head, &other),
            chain(&prev, &Head { kind: Kind(head.kind.0 ^ 1), ..head }, &payload),
            chain(&prev, &Head { stream: StreamId(head.stream.0 ^ 1), ..head }, &payload),
            chain(&prev, &Head { seq: Seq(head.seq.0 ^ 1), ..head }, &payload),
            chain(&prev, &Head { at_ms: head.at_ms ^ 1, ..head }, &payload),
            chain(&prev, &Head { payload_bytes: 1 << 20, ..head }, &payload),
            chain(&prev, &Head {
                role: Role { first: !head.role.first, ..head.role },
                ..head
            }, &payload),
        ];
        prop_assert!(changed.iter().all(|other| *other != hash));
        let batched = Head { synced_through: Seq(0), ..head };
        prop_assert_eq!(chain(&prev, &batched, &payload), hash, "how it was batched does not count");
    }
}

#[test]
fn a_frame_that_claims_to_be_synced_by_itself_is_refused() {
    let head = Head {
        kind: Kind(1),
        stream: StreamId(1),
        seq: Seq(5),
        at_ms: 0,
        role: Role {
            first: true,
            last: true,
        },
        payload_bytes: 0,
        synced_through: Seq(5),
        hash: FrameHash([0; 32]),
    };
    let bytes = sealed(&head, &[], &FrameHash::genesis(1), 0);
    assert_eq!(open(&bytes, 0), Err(Flaw::Field("synced-through")));
}

#[test]
fn a_format_of_the_future_is_told_from_damage() {
    let head = Head {
        kind: Kind(1),
        stream: StreamId(1),
        seq: Seq(1),
        at_ms: 0,
        role: Role {
            first: true,
            last: true,
        },
        payload_bytes: 0,
        synced_through: Seq::ZERO,
        hash: FrameHash([0; 32]),
    };
    let mut bytes = sealed(&head, &[], &FrameHash::genesis(1), 0);
    bytes[4] = 2;
    let crc = checksum(&bytes, 0);
    bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
    assert_eq!(open(&bytes, 0), Err(Flaw::Format(2)));
}

#[test]
fn a_payload_above_the_bound_is_refused_before_it_is_written() {
    let mut bytes = vec![0; HEADER_BYTES + PAYLOAD_MAX_BYTES + 1];
    let error = close(&mut bytes, 0).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn the_chain_is_the_same_hash_whether_or_not_the_frame_fits_a_chunk() {
    let prev = FrameHash::genesis(1);
    for bytes in [0, 959, 960, 961, 5_000] {
        let payload = vec![7; bytes];
        let head = Head {
            kind: Kind(2),
            stream: StreamId(3),
            seq: Seq(4),
            at_ms: 5,
            role: Role {
                first: true,
                last: false,
            },
            payload_bytes: u32::try_from(bytes).unwrap(),
            synced_through: Seq::ZERO,
            hash: prev,
        };
        let mut written = prev.0.to_vec();
        written.extend_from_slice(&[1, 0, 2, 0]);
        written.extend_from_slice(&head.payload_bytes.to_le_bytes());
        for field in [3_u64, 4, 5] {
            written.extend_from_slice(&field.to_le_bytes());
        }
        written.extend_from_slice(&payload);
        let expected = *blake3::hash(&written).as_bytes();
        assert_eq!(
            chain(&prev, &head, &payload),
            FrameHash(expected),
            "{bytes} bytes"
        );
    }
}

#[test]
fn a_frame_that_sets_what_must_be_zero_is_no_frame() {
    let head = Head {
        kind: Kind(1),
        stream: StreamId(2),
        seq: Seq(3),
        at_ms: 4,
        role: Role {
            first: true,
            last: true,
        },
        payload_bytes: 5,
        synced_through: Seq(2),
        hash: FrameHash([0; 32]),
    };
    let bytes = sealed(&head, b"bytes", &FrameHash::genesis(1), 7);
    let zeros = [10, 11].into_iter().chain(84..96).chain(101..bytes.len());
    for at in zeros {
        let mut odd = bytes.clone();
        odd[at] = 1;
        let crc = checksum(&odd, 7);
        odd[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        let found = open(&odd, 7);
        assert!(matches!(found, Err(Flaw::Field(_))), "byte {at}: {found:?}");
    }
}
