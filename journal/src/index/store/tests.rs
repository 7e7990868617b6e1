//! An index that lies, by leaving out or by changing, is never believed.

use super::*;
use crate::{
    frame::Role,
    ids::{FrameHash, Kind, StreamId},
    index::Heads,
};

const STREAM: Query = Query::Stream(StreamId(7));

/// An index of ten events, the even ones of stream 7, and the newest of those.
fn filled(folder: &Path) -> (Store, Seq) {
    let store = Store::open(&folder.join("index"), 1).unwrap();
    let (mut batch, mut heads, mut prev) = (Batch::default(), Heads::default(), FrameHash([0; 32]));
    for n in 1..=10 {
        let mut head = Head {
            kind: Kind(1),
            stream: StreamId(if n % 2 == 0 { 7 } else { 8 }),
            seq: Seq(n),
            at_ms: n,
            role: Role {
                first: true,
                last: true,
            },
            payload_bytes: 0,
            synced_through: Seq(n - 1),
            hash: prev,
        };
        head.hash = frame::chain(&prev, &head, &[]);
        prev = head.hash;
        let mut bytes = vec![0; frame::HEADER_BYTES];
        frame::seal(&mut bytes, &head, 5);
        let raw = Raw {
            head,
            payload: &[],
            bytes: &bytes,
            seed: 5,
        };
        batch.add(&raw, heads.pass(&head));
    }
    store.put(batch).unwrap();
    (store, heads.last_of(STREAM))
}

fn found(store: &Store, from: u64, limit: usize, last: Seq) -> Result<Vec<u64>, Broken> {
    let values = store.query(STREAM, Seq(from), Seq(10), limit, last)?;
    values
        .iter()
        .map(|value| Ok(open_event(value)?.0.seq.get()))
        .collect()
}

#[test]
fn a_whole_index_answers() {
    let folder = tempfile::tempdir().unwrap();
    let (store, last) = filled(folder.path());
    assert_eq!(found(&store, 1, 99, last), Ok(vec![2, 4, 6, 8, 10]));
    assert_eq!(found(&store, 5, 2, last), Ok(vec![6, 8]));
    assert_eq!(found(&store, 11, 2, last), Ok(vec![]));
    assert_eq!(store.position().unwrap().map(|tip| tip.seq), Some(Seq(10)));
}

#[test]
fn an_entry_left_out_is_missed_wherever_it_was() {
    for gone in [2, 6, 10] {
        let folder = tempfile::tempdir().unwrap();
        let (store, last) = filled(folder.path());
        store.streams.remove(key(STREAM, Seq(gone))).unwrap();
        assert!(found(&store, 1, 99, last).is_err(), "entry {gone} left out");
    }
    let folder = tempfile::tempdir().unwrap();
    let (store, last) = filled(folder.path());
    store.streams.clear().unwrap();
    assert!(found(&store, 1, 99, last).is_err(), "all entries left out");
}

#[test]
fn a_changed_entry_or_event_is_noticed() {
    let folder = tempfile::tempdir().unwrap();
    let (store, last) = filled(folder.path());
    let other = store.events.get(8_u64.to_be_bytes()).unwrap().unwrap();
    store.events.insert(6_u64.to_be_bytes(), other).unwrap();
    assert!(
        found(&store, 1, 99, last).is_err(),
        "another event in its place"
    );
    let folder = tempfile::tempdir().unwrap();
    let (store, last) = filled(folder.path());
    let entry = key(STREAM, Seq(6));
    store
        .streams
        .insert(entry.as_slice(), link_value(&key(STREAM, Seq(8)), Seq(4)))
        .unwrap();
    assert!(
        found(&store, 1, 99, last).is_err(),
        "the value of another entry"
    );
    store.events.remove(4_u64.to_be_bytes()).unwrap();
    assert!(found(&store, 1, 3, last).is_err(), "an event left out");
}

#[test]
fn a_panic_below_is_an_error_here() {
    let hook = std::panic::take_hook();
    std::panic::set_hook(Box::new(|_| {}));
    let outcome: Result<(), Broken> = guarded(|| panic!("as sled would"));
    std::panic::set_hook(hook);
    assert_eq!(
        outcome,
        Err(Broken("sled panicked: as sled would".to_owned()))
    );
}
