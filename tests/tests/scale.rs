//! Many files, odd names, and nothing at all: what the shape of the data must not change, and what
//! the smallest job costs.
//!
//! `HOLDFAST_SCALE=full` takes 20 000 files instead of 2 000. Figures are printed, not judged by
//! time.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use holdfast_broker::{Broker, LocalBroker};
use holdfast_engine::{JobKind, JobView};
use holdfast_storage::model::{Distribution, KeysType, Partitioning, TableSchema};
use holdfast_storage::{ExportRequest, LoadRequest};
use holdfast_tests::gate::{Gate, Gated};
use holdfast_tests::place::fingerprint;
use holdfast_tests::template::released;
use holdfast_tests::{Node, assert_finished, noise, odd_files, restore, tree};

fn file_count() -> usize {
    match std::env::var("HOLDFAST_SCALE") {
        Ok(value) if value == "full" => 20_000,
        _ => 2_000,
    }
}

/// Names that some program or other would take for something else.
fn strange_names(dir: &Path) {
    let longest = "\u{65e5}".repeat(85);
    assert_eq!(longest.len(), 255);
    let names = [
        longest.as_str(),
        &"y".repeat(255),
        "line\nbreak",
        "back\\slash",
        ".hidden",
        ".tmp-1-1",
        "...",
        " leading and trailing ",
        "caf\u{e9}",
        "cafe\u{301}",
        "Case",
        "case",
        "%2e%2e",
        "*?<>|:",
        "\u{202e}right to left",
        "~",
        "__ss_x",
    ];
    for (n, name) in names.iter().enumerate() {
        std::fs::write(dir.join(name), noise(n as u64, n * 100)).unwrap();
    }
    let deep = dir.join(vec!["deep folder"; 40].join("/"));
    std::fs::create_dir_all(&deep).unwrap();
    std::fs::write(deep.join("file"), b"deep").unwrap();
}

fn load(node: &Node, table: &str, from: &Path, buckets: u32) {
    let mut request = LoadRequest::new("db", table, vec![from.to_owned()]);
    request.buckets = buckets;
    node.storage.load(&request).unwrap();
}

fn data_objects(remote: &Path) -> (usize, usize) {
    let all = tree(remote);
    let below = |part: &str| all.keys().filter(|name| name.contains(part)).count();
    (below("/packs/"), below("/objects/"))
}

#[test]
fn thousands_of_files_with_odd_names_come_back_to_the_byte() {
    let place = tempfile::tempdir().unwrap();
    let (files, remote) = (place.path().join("files"), place.path().join("remote"));
    std::fs::create_dir_all(&files).unwrap();
    std::fs::create_dir_all(&remote).unwrap();
    let count = file_count();
    odd_files(&files, count, 77);
    strange_names(&files);
    let before = fingerprint(&files);
    let node = Node::open(&place.path().join("node"));
    let mut clock = Instant::now();
    let mut lap = || {
        std::mem::replace(&mut clock, Instant::now())
            .elapsed()
            .as_millis()
    };
    load(&node, "t", &files, 4);
    let loading = lap();
    node.repository("repo", &remote);
    lap();
    let view = node.backup("s1");
    assert_finished(&view);
    let backing_up = lap();
    assert_eq!(view.common().files, count as u64 + 18);
    node.storage.drop_table("db", "t").unwrap();
    let stamp = node.timestamp("repo", "s1");
    lap();
    assert_finished(&node.restore(&restore("s1", &stamp)));
    let restoring = lap();
    let out = place.path().join("out");
    node.storage
        .export(&ExportRequest::new("db", "t", &out))
        .unwrap();
    let exporting = lap();
    assert_eq!(fingerprint(&out.join("t")), before);
    let (packs, objects) = data_objects(&remote);
    println!(
        "{} files of {} bytes in {packs} packs and {objects} objects: load {loading} ms, backup {backing_up} ms, \
         restore {restoring} ms, export {exporting} ms",
        view.common().files,
        view.common().total_bytes,
    );
}

#[test]
fn a_thousand_small_files_share_an_object() {
    let place = tempfile::tempdir().unwrap();
    let (files, remote) = (place.path().join("files"), place.path().join("remote"));
    std::fs::create_dir_all(&files).unwrap();
    std::fs::create_dir_all(&remote).unwrap();
    let count = file_count();
    for n in 0..count {
        std::fs::write(files.join(format!("f{n}")), noise(n as u64, 4_096)).unwrap();
    }
    let node = Node::open(&place.path().join("node"));
    load(&node, "t", &files, 1);
    node.repository("repo", &remote);
    assert_finished(&node.backup("s1"));
    let (packs, objects) = data_objects(&remote);
    println!("{count} files of 4 KiB: {packs} packs, {objects} objects");
    assert_eq!(objects, 0);
    assert!(packs <= count / 1_000, "{packs} packs for {count} files");
}

#[test]
fn the_smallest_backup_costs_a_handful_of_syncs() {
    let place = tempfile::tempdir().unwrap();
    let remote = place.path().join("remote");
    std::fs::create_dir_all(&remote).unwrap();
    let gate = Gate::new(place.path(), place.path());
    let (for_broker, for_journal) = (Arc::clone(&gate), Arc::clone(&gate));
    let location = remote.clone();
    let node = Node::open_sized(
        &place.path().join("node"),
        Arc::new(move |_| {
            let inner: Arc<dyn Broker> = Arc::new(LocalBroker::open(&location).unwrap());
            Arc::new(Gated {
                gate: Arc::clone(&for_broker),
                inner,
            }) as Arc<dyn Broker>
        }),
        move |parts| {
            let inner = Arc::clone(&parts.journal);
            parts.journal = Arc::new(Gated {
                gate: for_journal,
                inner,
            });
        },
    );
    let schema = TableSchema {
        columns: Vec::new(),
        keys_type: KeysType::Duplicate,
        key_columns: Vec::new(),
        partitioning: Partitioning::List {
            columns: Vec::new(),
        },
        distribution: Distribution::Hash {
            columns: Vec::new(),
        },
        comment: String::new(),
        properties: BTreeMap::new(),
    };
    node.storage.create_database("db").unwrap();
    node.storage
        .create_table("db", "empty", schema, vec![])
        .unwrap();
    node.repository("repo", &remote);
    let (appends, puts) = gate.counts();
    let began = Instant::now();
    let view = node.backup("s1");
    let took = began.elapsed();
    assert_finished(&view);
    released(&node, view.common().job);
    let (appends, puts) = (gate.counts().0 - appends, gate.counts().1 - puts);
    println!(
        "an empty table's backup: {} ms, {appends} appends to the journal, {puts} puts",
        took.as_millis()
    );
    assert!(matches!(view.as_ref(), JobView::Backup(_)) && view.kind() == JobKind::Backup);
    assert!(appends <= 12, "{appends} appends");
    assert!(puts <= 4, "{puts} puts");
}
