//! Kills a process in the middle of loads, drops and restores, again and again, and looks at what
//! the next opening finds: everything acknowledged, nothing half, no table between old and new.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are outside the deterministic core"
)]
#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test, and its child talks by stdout"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use holdfast_storage::model::{Access, Make, RestorePartition, RestoreSpec, RestoreTable};
use holdfast_storage::{
    AllowLoad, ExportRequest, FileEntry, FileHash, LoadRequest, LocalStorage, OpId, Options,
    Staging, Storage, TableInfo, Token,
};

const CHILD: &str = "HOLDFAST_STORAGE_KILL_CHILD";
const ROUNDS: u64 = 8;
const FILES: usize = 12;

fn open(root: &Path) -> LocalStorage {
    LocalStorage::open(root.join("storage"), Options::default()).unwrap()
}

fn content(word: &str, number: u64) -> Vec<u8> {
    format!("{word} {number} ").repeat(500).into_bytes()
}

/// One load of some files, whose names say which load they belong to.
fn load_once(storage: &LocalStorage, root: &Path, number: u64) {
    let source = root.join(format!("source-{number}"));
    let _ = fs::remove_dir_all(&source);
    fs::create_dir_all(&source).unwrap();
    for i in 0..FILES {
        fs::write(
            source.join(format!("{number}-{i}")),
            content("load", number),
        )
        .unwrap();
    }
    let mut request = LoadRequest::new("db", "loads", vec![source.clone()]);
    (request.buckets, request.replication_num) = (3, 2);
    storage.load(&request).unwrap();
    fs::remove_dir_all(source).unwrap();
}

fn spec(tables: &[TableInfo]) -> RestoreSpec {
    let tables = tables
        .iter()
        .filter(|t| t.name.starts_with('r'))
        .map(|info| RestoreTable {
            name: info.name.clone(),
            schema: info.schema.clone(),
            table: Make::Overwrite,
            partitions: info
                .partitions
                .iter()
                .map(|p| RestorePartition {
                    meta: p.meta.clone(),
                    partition: Make::Overwrite,
                })
                .collect(),
        });
    RestoreSpec {
        database: "db".to_owned(),
        tables: tables.collect(),
        allow_load: AllowLoad::No,
        drop_tables: Vec::new(),
        drop_partitions: Vec::new(),
    }
}

/// One restore over both tables, all whose files say which restore they belong to.
fn restore_once(storage: &LocalStorage, number: u64) {
    let op = OpId(number);
    let token = Token {
        epoch: number,
        attempt: 1,
    };
    let targets = storage
        .create_targets(op, &spec(&storage.tables("db").unwrap()))
        .unwrap();
    let bytes = content("restore", number);
    for tablet in targets
        .tables
        .iter()
        .flat_map(|t| &t.partitions)
        .flat_map(|p| &p.tablets)
    {
        let list: Vec<FileEntry> = (0..3)
            .map(|i| FileEntry {
                name: format!("{}-{i}", tablet.bucket),
                len: bytes.len() as u64,
                hash: Some(FileHash::of(&bytes)),
                segments: Vec::new(),
            })
            .collect();
        for backend in &tablet.replicas {
            storage
                .stage(op, token, *backend, tablet.id, &list)
                .unwrap();
            for entry in &list {
                let staged = storage
                    .stage_file(op, token, *backend, tablet.id, entry)
                    .unwrap();
                if let Staging::Write(mut file) = staged {
                    file.write(&bytes).unwrap();
                    file.finish().unwrap();
                }
            }
            storage.settle(op, token, *backend, &[tablet.id]).unwrap();
        }
    }
    storage.prepare(op).unwrap();
    storage.commit(op).unwrap();
}

/// The child: works until it is killed, and says what is acknowledged.
#[test]
fn child() {
    let Ok(given) = std::env::var(CHILD) else {
        return;
    };
    let (number, root) = given.split_once(' ').unwrap();
    let (mut number, root): (u64, PathBuf) = (number.parse().unwrap(), root.into());
    let storage = open(&root);
    storage.retain_only(&[]).unwrap();
    loop {
        number += 1;
        load_once(&storage, &root, number);
        println!("\nloaded {number}");
        restore_once(&storage, number);
        println!("\nrestored {number}");
        storage.forget(OpId(number)).unwrap();
    }
}

fn read_table(storage: &LocalStorage, root: &Path, table: &str) -> BTreeMap<String, Vec<u8>> {
    let to = root.join("out");
    let _ = fs::remove_dir_all(&to);
    let report = storage
        .export(&ExportRequest::new("db", table, &to))
        .unwrap();
    assert_eq!(
        report.faults,
        Vec::<String>::new(),
        "every replica is whole"
    );
    let folder = to.join(table);
    let names = fs::read_dir(&folder)
        .unwrap()
        .map(|e| e.unwrap().file_name());
    names
        .map(|n| {
            (
                n.to_str().unwrap().to_owned(),
                fs::read(folder.join(n)).unwrap(),
            )
        })
        .collect()
}

/// The number that all files of a table bear.
fn number_of(files: &BTreeMap<String, Vec<u8>>) -> u64 {
    let numbers: Vec<u64> = files
        .values()
        .map(|bytes| {
            let text = std::str::from_utf8(bytes).unwrap();
            text.split(' ').nth(1).unwrap().parse().unwrap()
        })
        .collect();
    assert!(
        numbers.iter().all(|n| *n == numbers[0]),
        "a table of two restores: {numbers:?}"
    );
    numbers[0]
}

/// What the children have acknowledged so far.
#[derive(Default)]
struct Acknowledged {
    loaded: Vec<u64>,
    restored: u64,
    /// No number above this was begun.
    begun: u64,
}

/// Two tables of two buckets and two replicas, which the restores overwrite.
fn make_tables(root: &Path) {
    let storage = open(root);
    for table in ["r1", "r2"] {
        let source = root.join("0-0");
        fs::write(&source, content("restore", 0)).unwrap();
        let mut request = LoadRequest::new("db", table, vec![source]);
        (request.buckets, request.replication_num) = (2, 2);
        storage.load(&request).unwrap();
    }
}

/// Lets a child work for some time, kills it and gathers what it had acknowledged.
fn run_and_kill(root: &Path, time: Duration, known: &mut Acknowledged) {
    let mut process = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, format!("{} {}", known.begun, root.display()))
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(process.stdout.take().unwrap()).lines();
    let reader = std::thread::spawn(move || lines.map_while(Result::ok).collect::<Vec<_>>());
    std::thread::sleep(time);
    process.kill().unwrap();
    process.wait().unwrap();
    for line in reader.join().unwrap() {
        if let Some(number) = line.strip_prefix("loaded ") {
            known.loaded.push(number.parse().unwrap());
        } else if let Some(number) = line.strip_prefix("restored ") {
            known.restored = number.parse().unwrap();
        }
    }
    // At most one load and its restore beyond the acknowledged ones were under way.
    known.begun = known.loaded.last().copied().unwrap_or(0).max(known.begun) + 1;
}

/// Looks at both restored tables: of one restore, not older than acknowledged, and open.
fn check_restores(storage: &LocalStorage, root: &Path, known: &mut Acknowledged) {
    let numbers = || ["r1", "r2"].map(|table| number_of(&read_table(storage, root, table)));
    let found = numbers();
    assert_eq!(found[0], found[1], "both tables change in one step");
    assert!(
        (known.restored..=known.begun).contains(&found[0]),
        "{found:?}"
    );
    storage.retain_only(&[]).unwrap();
    assert_eq!(numbers(), found, "ending what was left changes no data");
    known.restored = found[0];
    for table in storage.tables("db").unwrap() {
        assert_eq!(table.access, Access::Normal, "{}", table.name);
    }
}

/// Looks at the loads: all acknowledged ones are there, each whole.
fn check_loads(storage: &LocalStorage, root: &Path, known: &Acknowledged) {
    let Ok(_) = storage.table_details("db", "loads") else {
        assert!(known.loaded.is_empty());
        return;
    };
    let mut counts: BTreeMap<u64, usize> = BTreeMap::new();
    for (name, bytes) in read_table(storage, root, "loads") {
        let number = name.split('-').next().unwrap().parse().unwrap();
        assert_eq!(bytes, content("load", number));
        *counts.entry(number).or_default() += 1;
    }
    assert!(
        counts.values().all(|n| *n == FILES),
        "a load is whole or absent: {counts:?}"
    );
    assert!(
        known.loaded.iter().all(|n| counts.contains_key(n)),
        "{counts:?}"
    );
}

#[test]
fn a_kill_at_any_moment_loses_nothing_acknowledged_and_leaves_nothing_half() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path();
    make_tables(root);
    let mut known = Acknowledged::default();
    for round in 0..ROUNDS {
        run_and_kill(
            root,
            Duration::from_millis(150 + round * 67 % 300),
            &mut known,
        );
        let storage = open(root);
        check_restores(&storage, root, &mut known);
        check_loads(&storage, root, &known);
    }
    assert!(
        known.loaded.len() as u64 >= ROUNDS / 2,
        "too few loads: {:?}",
        known.loaded
    );
}
