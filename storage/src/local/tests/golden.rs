//! The bytes of every kind of catalog event, kept: a payload that changes its form would make old
//! catalogs unreadable, or worse, read wrong.

use crate::local::events::*;
use holdfast_journal::Event;

fn chunk() -> Chunk {
    Chunk {
        id: 10_050,
        tablet: 10_006,
        offset: 7,
        len: 90,
        hash: [9; 32],
        files: 3,
        bytes: 4_000,
    }
}

/// One event of each kind, in order of the number.
#[allow(clippy::too_many_lines, reason = "a list")]
fn samples() -> Vec<CatalogEvent> {
    let (op, list, chunks) = (12, 10_040, vec![chunk()]);
    let partition = PartitionAdded {
        id: 10_005,
        table: 10_003,
        name: "p".to_owned(),
        bounds: "\"all\"".to_owned(),
        buckets: 2,
        replication_num: 1,
        first_tablet: 10_006,
        replicas: vec![10_001, 10_001],
    };
    let planned = RestoreTablePlanned {
        op,
        table: 10_003,
        created: false,
        partitions: vec![RestorePartition {
            id: 10_005,
            created: true,
        }],
        first_chunk: 10_050,
    };
    let schema = "{\"columns\":[]}".to_owned();
    vec![
        BackendAdded {
            id: 10_001,
            name: "backend-1".to_owned(),
        }
        .into(),
        BackendDropped { id: 10_001 }.into(),
        DatabaseCreated {
            id: 10_002,
            name: "db".to_owned(),
        }
        .into(),
        DatabaseDropped { id: 10_002 }.into(),
        TableCreated {
            id: 10_003,
            database: 10_002,
            name: "t".to_owned(),
            schema,
        }
        .into(),
        TableDropped { id: 10_003 }.into(),
        partition.into(),
        PartitionDropped { id: 10_005 }.into(),
        PartitionLoaded {
            partition: 10_005,
            version: 2,
        }
        .into(),
        PartitionTruncated {
            partition: 10_005,
            version: 3,
        }
        .into(),
        ChunksAdded {
            list,
            chunks: chunks.clone(),
        }
        .into(),
        PinStarted {
            op,
            database: 10_002,
        }
        .into(),
        PinTableTaken {
            op,
            table: 10_003,
            partitions: vec![10_005],
        }
        .into(),
        PinReleased { op }.into(),
        RestoreStarted {
            op,
            database: 10_002,
            created_database: true,
            allow_load: false,
        }
        .into(),
        planned.into(),
        RestoreDropPlanned {
            op,
            table: 10_003,
            partition: 0,
        }
        .into(),
        RestoreChunksPlaced { op, list, chunks }.into(),
        RestorePrepared { op }.into(),
        RestoreCommitted { op }.into(),
        RestoreForgotten { op }.into(),
        RestoreAborted { op }.into(),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |i| u8::from_str_radix(&text[i..i + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

#[test]
fn the_bytes_of_every_event_stay_as_they_are() {
    let golden = include_str!("../../../tests/golden/catalog-events.txt");
    let mut now = String::new();
    for event in samples() {
        let mut bytes = Vec::new();
        event.encode(&mut bytes).unwrap();
        now += &format!("{} {} {}\n", event.kind(), event.kind_name(), hex(&bytes));
    }
    assert_eq!(
        samples().len(),
        CatalogEvent::kinds().len(),
        "every kind has a sample"
    );
    assert!(golden == now, "payloads changed; as they are now:\n{now}");
    for (line, event) in golden.lines().zip(samples()) {
        let bytes = line.rsplit(' ').next().unwrap();
        assert_eq!(
            CatalogEvent::decode(event.kind(), &unhex(bytes)).unwrap(),
            event,
            "{line}"
        );
    }
}
