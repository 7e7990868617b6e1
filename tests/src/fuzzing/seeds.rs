//! Inputs to start from: what the product itself writes, in the form that each target reads.

use holdfast_engine::{Event, Replay};
use holdfast_journal::disk::MemoryDisk;
use holdfast_journal::{
    ArchiveRequest, Event as _, FileJournal, Journal, Options, Projection as _, Seq,
};

use super::event::{history, record};

/// Everything right: the bytes are used as they are.
const AS_IS: u8 = 0;
/// Everything is set right; see [`super::frame`].
const MENDED: u8 = 63;

/// `(target, name, bytes)` of each seed.
pub fn all() -> Vec<(&'static str, String, Vec<u8>)> {
    let mut seeds = Vec::new();
    frames(&mut seeds);
    events(&mut seeds);
    checkpoints(&mut seeds);
    archives(&mut seeds);
    manifests(&mut seeds);
    statements(&mut seeds);
    seeds
}

type Seeds = Vec<(&'static str, String, Vec<u8>)>;

fn tagged(tag: u8, bytes: &[u8]) -> Vec<u8> {
    let mut out = vec![tag];
    out.extend_from_slice(bytes);
    out
}

/// The log that the history gives, in transactions of one to three events.
fn log_of(events: &[Event]) -> Vec<u8> {
    let disk = MemoryDisk::new(4_096);
    let options = Options::default().reserve_bytes(0);
    let (journal, _) =
        FileJournal::<Event>::open_on(std::sync::Arc::new(disk.clone()), options).unwrap();
    let (mut rest, mut size) = (events, 1);
    while !rest.is_empty() {
        let (now, later) = rest.split_at(size.min(rest.len()));
        journal.append(now, 1_735_689_600_000).unwrap();
        (rest, size) = (later, size % 3 + 1);
    }
    drop(journal);
    disk.get("00000000000000000001.log").unwrap()
}

fn frames(seeds: &mut Seeds) {
    for count in [1, 2, 4, 12] {
        let log = log_of(&history()[..count]);
        assert_eq!(log[..96], super::frame::segment_header());
        seeds.push(("frame", format!("log-{count}"), tagged(AS_IS, &log)));
        seeds.push((
            "frame",
            format!("frames-{count}"),
            tagged(MENDED, &log[96..]),
        ));
        seeds.push((
            "frame",
            format!("unchained-{count}"),
            tagged(33, &log[96..]),
        ));
        let cut = &log[..log.len() - 40];
        seeds.push(("frame", format!("cut-{count}"), tagged(AS_IS, cut)));
    }
}

/// An archive of so many events, and its anchor.
fn archive_of(events: &[Event], segment_bytes: u64) -> (Vec<u8>, Vec<u8>) {
    let disk = MemoryDisk::new(4_096);
    let options = Options::default()
        .reserve_bytes(0)
        .segment_bytes(segment_bytes);
    let (journal, _) =
        FileJournal::<Event>::open_on(std::sync::Arc::new(disk.clone()), options).unwrap();
    for event in events {
        journal
            .append(std::slice::from_ref(event), 1_735_689_600_000)
            .unwrap();
    }
    let end = journal.position().0;
    journal.checkpoint(end, "engine", b"state").unwrap();
    journal.roll().unwrap();
    let request = ArchiveRequest {
        before: end.next(),
        projection: "engine",
        description: b"{\"jobs\":1}",
        at_ms: 1_735_689_600_000,
    };
    let info = journal.archive(&request).unwrap().unwrap();
    (disk.get(&info.file).unwrap(), disk.get("anchor").unwrap())
}

fn archives(seeds: &mut Seeds) {
    for (count, segment_bytes) in [(1, 4_096), (2, 1_000), (6, 800), (12, 1_500), (30, 4_000)] {
        let (archive, anchor) = archive_of(&history()[..count], segment_bytes);
        let mut add = |name: &str, tag: u8, bytes: &[u8]| {
            seeds.push(("archive", format!("{name}-{count}"), tagged(tag, bytes)));
        };
        add("archive", 0, &archive);
        add("mended", 1, &archive);
        add("cut", 1, &archive[..archive.len() - 20]);
        add("anchor", 2, &anchor);
        add("mended-anchor", 3, &anchor);
    }
}

fn events(seeds: &mut Seeds) {
    let mut kinds = std::collections::BTreeSet::new();
    for event in history().iter().filter(|e| kinds.insert(e.kind())) {
        let mut payload = Vec::new();
        event.encode(&mut payload).unwrap();
        let mut seed = vec![0];
        seed.extend_from_slice(&event.kind().get().to_le_bytes());
        seed.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_le_bytes());
        seed.extend_from_slice(&payload);
        seeds.push(("event", event.kind_name().to_owned(), seed));
    }
    for count in [2, 5, 20, 35, 60, 90] {
        seeds.push(("event", format!("history-{count}"), vec![4, count, 2]));
    }
    for (name, event) in catalog() {
        let mut payload = Vec::new();
        event.encode(&mut payload).unwrap();
        let mut seed = vec![3];
        seed.extend_from_slice(&event.kind().get().to_le_bytes());
        seed.extend_from_slice(&u16::try_from(payload.len()).unwrap().to_le_bytes());
        seed.extend_from_slice(&payload);
        seeds.push(("event", format!("catalog-{name}"), seed));
    }
    let whole: Vec<u8> = seeds
        .iter()
        .filter(|(_, name, _)| name.starts_with("catalog-"))
        .flat_map(|(_, _, seed)| seed.clone())
        .collect();
    seeds.push(("event", "catalog".to_owned(), whole));
}

/// The events of a small life of a catalog, as its journal has them.
fn catalog() -> Vec<(String, holdfast_storage::events::CatalogEvent)> {
    use holdfast_storage::{LoadRequest, LocalStorage, Options, events::CatalogEvent};
    let dir = tempfile::tempdir().unwrap();
    let files = dir.path().join("files");
    std::fs::create_dir_all(&files).unwrap();
    std::fs::write(files.join("one"), b"one").unwrap();
    let home = dir.path().join("storage");
    let storage = LocalStorage::open(&home, Options::default()).unwrap();
    storage
        .load(&LoadRequest::new("db", "t", vec![files]))
        .unwrap();
    storage.drop_table("db", "t").unwrap();
    drop(storage);
    let (journal, _) =
        holdfast_journal::ReadJournal::<CatalogEvent>::open(home.join("catalog")).unwrap();
    let mut found = Vec::new();
    journal
        .read(Seq::FIRST, &mut |record| {
            let name = format!("{}-{}", found.len(), record.event.kind_name());
            found.push((name, record.event));
            Ok(())
        })
        .unwrap();
    found
}

fn checkpoints(seeds: &mut Seeds) {
    for count in [2, 8, 30, 47, history().len()] {
        let mut replay = Replay::new();
        for (n, event) in (1..).zip(&history()[..count]) {
            replay.apply(&record(n, event.clone())).unwrap();
        }
        let state = replay.to_checkpoint().unwrap();
        seeds.push(("checkpoint", format!("state-{count}"), tagged(3, &state)));
        seeds.push((
            "checkpoint",
            format!("body-{count}"),
            tagged(2, &state[18..]),
        ));
    }
    let state = Replay::new().to_checkpoint().unwrap();
    let mut file = vec![0; 96];
    file.extend_from_slice(&state);
    seeds.push(("checkpoint", "file".to_owned(), tagged(1, &file)));
    let mut catalog_state = holdfast_storage::testing::Catalog::new();
    for (n, (_, event)) in (1..).zip(&catalog()) {
        let state = catalog_state.checkpoint().unwrap();
        seeds.push(("checkpoint", format!("catalog-{n}"), tagged(4, &state)));
        catalog_state.apply(n, 1, event).unwrap();
    }
}

/// The code blocks of `docs/repository-format.md`, which a test of the repository holds to be true.
fn manifests(seeds: &mut Seeds) {
    let document = include_str!("../../../docs/repository-format.md");
    let block = |title: &str| -> String {
        let at = document.find(&format!("\n### {title}\n")).unwrap();
        let (_, rest) = document[at..].split_once("\n```").unwrap();
        let (_, rest) = rest.split_once('\n').unwrap();
        let text = rest.split_once("\n```").unwrap().0;
        let value: serde_json::Value = serde_json::from_str(text).unwrap();
        value.to_string()
    };
    for (tag, title) in [
        (0, "The marker"),
        (1, "The manifest part"),
        (4, "The info object"),
        (5, "The claim"),
        (6, "The intent"),
    ] {
        let name = title.to_lowercase().replace(' ', "-");
        let text = block(title);
        if tag < 2 {
            let stored = zstd::bulk::compress(text.as_bytes(), 3).unwrap();
            seeds.push((
                "manifest",
                format!("{name}-stored"),
                tagged(tag + 2, &stored),
            ));
        }
        seeds.push(("manifest", name, tagged(tag, text.as_bytes())));
    }
    let condemned = r#"{"format":1,"objects":["objects/ab/ab"]}"#;
    seeds.push((
        "manifest",
        "condemned".to_owned(),
        tagged(7, condemned.as_bytes()),
    ));
}

fn statements(seeds: &mut Seeds) {
    for (number, text) in STATEMENTS.iter().enumerate() {
        seeds.push((
            "sql",
            format!("statement-{number}"),
            text.as_bytes().to_vec(),
        ));
    }
}

const STATEMENTS: &[&str] = &[
    "CREATE READ ONLY REPOSITORY r WITH BROKER b ON LOCATION 's3://x' PROPERTIES ('a' = 'b')",
    "BACKUP DATABASE d SNAPSHOT l TO r ON (TABLE t PARTITIONS (p, `q`), ALL VIEWS) PROPERTIES ('timeout'='600')",
    "BACKUP SNAPSHOT d.l TO r EXCLUDE (t PARTITION (p1))",
    "RESTORE SNAPSHOT l FROM r DATABASE a AS b ON (t PARTITION (p) AS u) PROPERTIES ('backup_timestamp'='x')",
    "SHOW BACKUP FROM d WHERE (State = 'X' OR NOT JobId IN (1, -2.5)) AND Status LIKE '%\\_' ORDER BY 1 DESC LIMIT 1, 2",
    "SHOW SNAPSHOT ON r WHERE SNAPSHOT = 'a' AND TIMESTAMP = 'b'",
    "CREATE TABLE d.t (k INT NOT NULL DEFAULT '1' COMMENT 'c', v ARRAY<MAP<INT,STRING>>) DUPLICATE KEY(k) PARTITION BY RANGE(k) (PARTITION a VALUES LESS THAN (1), PARTITION b VALUES [(1), (MAXVALUE))) DISTRIBUTED BY HASH(k) BUCKETS 3 PROPERTIES ('replication_num' = '1')",
    "CREATE TABLE t (c DATE, s VARCHAR(5)) PARTITION BY LIST(c, s) (PARTITION a VALUES IN (('2024-01-01', 'x')))",
    "ALTER TABLE t ADD PARTITION p VALUES [('1'), ('2')) ('replication_num'='1') BUCKETS 2",
    "ALTER SYSTEM ADD BROKER b 'h:1', \"i:2\"; SHOW TABLET FROM d.t PARTITION (p); -- end",
    "CANCEL RESTORE FROM d; SHOW BRIEF RESTORE IN d LIKE 'x'; USE `a``b`; TRUNCATE TABLE t",
    "SHOW TABLET 10001 /* c */ # d",
];
