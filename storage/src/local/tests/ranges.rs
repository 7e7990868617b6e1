//! Catalog events whose numbers would leave the range of what they are added to: refused as damage,
//! never a wrapped sum and never a panic.

use crate::ErrorKind;
use crate::local::events::{
    BackendAdded, CatalogEvent, Chunk, ChunksAdded, DatabaseCreated, PartitionAdded,
    PartitionLoaded, RestoreChunksPlaced, RestoreCommitted, RestorePartition, RestorePrepared,
    RestoreStarted, RestoreTablePlanned, TableCreated,
};
use crate::local::state::State;
use crate::model::{Bounds, Distribution, KeysType, Partitioning, TableSchema};

const PARTITION: u64 = 20;
const TABLET: u64 = 30;
const CHUNK: u64 = 40;
const OP: u64 = 50;

fn partition(id: u64, first_tablet: u64, replicas: usize) -> CatalogEvent {
    let event = PartitionAdded {
        id,
        table: 11,
        name: format!("p{id}"),
        bounds: serde_json::to_string(&Bounds::All).unwrap(),
        buckets: 2,
        replication_num: 1,
        first_tablet,
        replicas: vec![1; replicas],
    };
    event.into()
}

fn chunk(id: u64, files: u64, bytes: u64) -> Chunk {
    Chunk {
        id,
        tablet: TABLET,
        offset: 0,
        len: 1,
        hash: [0; 32],
        files,
        bytes,
    }
}

fn chunks(some: Vec<Chunk>) -> CatalogEvent {
    let event = ChunksAdded {
        list: CHUNK,
        chunks: some,
    };
    event.into()
}

fn planned(first_chunk: u64) -> CatalogEvent {
    let partitions = vec![RestorePartition {
        id: PARTITION,
        created: false,
    }];
    let event = RestoreTablePlanned {
        op: OP,
        table: 11,
        created: false,
        partitions,
        first_chunk,
    };
    event.into()
}

/// A backend, and a partition of two tablets on it.
fn begun() -> Vec<CatalogEvent> {
    let schema = TableSchema {
        columns: Vec::new(),
        keys_type: KeysType::Duplicate,
        key_columns: Vec::new(),
        partitioning: Partitioning::Unpartitioned,
        distribution: Distribution::Random,
        comment: String::new(),
        properties: Default::default(),
    };
    vec![
        BackendAdded {
            id: 1,
            name: "backend-1".to_owned(),
        }
        .into(),
        DatabaseCreated {
            id: 10,
            name: "db".to_owned(),
        }
        .into(),
        TableCreated {
            id: 11,
            database: 10,
            name: "t".to_owned(),
            schema: serde_json::to_string(&schema).unwrap(),
        }
        .into(),
        partition(PARTITION, TABLET, 2),
    ]
}

/// Applies what may come before, then `last`; gives its kind of error and text.
fn apply(before: &[CatalogEvent], last: &CatalogEvent) -> Result<(), (ErrorKind, String)> {
    let mut state = State::new();
    let mut seq = 0;
    for event in begun().iter().chain(before) {
        seq += 1;
        state.apply_event(seq, 1, event).unwrap();
    }
    let applied = state.apply_event(seq + 1, 1, last);
    applied.map_err(|e| (e.kind(), e.message().to_owned()))
}

#[track_caller]
fn refused(before: &[CatalogEvent], last: &CatalogEvent, what: &str) {
    let (kind, text) = apply(before, last).unwrap_err();
    assert_eq!(kind, ErrorKind::Damaged, "{text}");
    assert!(text.contains(what), "{text}");
}

#[test]
fn tablets_that_leave_the_range_of_ids_are_refused() {
    refused(
        &[],
        &partition(21, u64::MAX - 1, 2),
        "tablets of partition 21",
    );
    apply(&[], &partition(21, u64::MAX - 2, 2)).unwrap();
}

#[test]
fn more_replicas_than_tablets_are_refused() {
    refused(&[], &partition(21, 60, 3), "replicas of partition 21");
    apply(&[], &partition(21, 60, 2)).unwrap();
}

#[test]
fn files_and_bytes_that_cannot_be_summed_are_refused() {
    let first = chunks(vec![chunk(CHUNK, u64::MAX - 1, 7)]);
    refused(
        std::slice::from_ref(&first),
        &chunks(vec![chunk(CHUNK + 1, 2, 1)]),
        "chunk 41",
    );
    apply(
        std::slice::from_ref(&first),
        &chunks(vec![chunk(CHUNK + 1, 1, 1)]),
    )
    .unwrap();
    let first = chunks(vec![chunk(CHUNK, 1, u64::MAX)]);
    refused(
        std::slice::from_ref(&first),
        &chunks(vec![chunk(CHUNK + 1, 1, 1)]),
        "chunk 41",
    );
    // In one event, too.
    let both = vec![chunk(CHUNK, 1, u64::MAX), chunk(CHUNK + 1, 1, 1)];
    refused(&[], &chunks(both), "chunk 41");
}

fn started() -> CatalogEvent {
    RestoreStarted {
        op: OP,
        database: 10,
        created_database: false,
        allow_load: false,
    }
    .into()
}

#[test]
fn target_chunks_that_leave_the_range_of_ids_are_refused() {
    refused(&[started()], &planned(u64::MAX), "chunks of table 11");
    apply(&[started()], &planned(u64::MAX - 2)).unwrap();
}

#[test]
fn a_version_that_none_can_follow_is_refused() {
    let loaded = |version| -> CatalogEvent {
        PartitionLoaded {
            partition: PARTITION,
            version,
        }
        .into()
    };
    let before = |version| -> Vec<CatalogEvent> {
        vec![
            loaded(version),
            started(),
            planned(CHUNK),
            RestoreChunksPlaced {
                op: OP,
                list: 60,
                chunks: vec![chunk(CHUNK, 1, 1)],
            }
            .into(),
            RestorePrepared { op: OP }.into(),
        ]
    };
    let commit = RestoreCommitted { op: OP }.into();
    refused(&[], &loaded(u64::MAX), "version of partition 20");
    refused(&before(u64::MAX - 1), &commit, "version of partition 20");
    apply(&before(u64::MAX - 2), &commit).unwrap();
}
