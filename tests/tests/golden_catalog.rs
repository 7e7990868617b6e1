//! Catalogs of earlier releases, read by the code of today: same chain, same records, same tables, from the checkpoint
//! and from the first event, archives included. `tests/golden/README.md` says how one is made.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use holdfast_engine::Clean;
use holdfast_journal::{
    ArchiveRequest, Event as _, FileJournal, Index, Journal as _, Options, ReadJournal, Record, Seq,
};
use holdfast_storage::events::CatalogEvent;
use holdfast_storage::testing::Catalog;
use holdfast_storage::{LocalStorage, Storage as _};
use holdfast_tests::place::copy_tree;
use holdfast_tests::{Node, assert_finished, noise, restore};

/// Every release whose catalogs are kept.
const RELEASES: &[&str] = &["0.1"];
const RECORD: &str = "HOLDFAST_RECORD_GOLDEN_CATALOG";
/// The name of the state's checkpoints at this release.
const PROJECTION: &str = "catalog-1";

fn golden() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("golden")
}

/// Everything that a catalog records.
fn live(root: &Path) {
    let remote = root.join("remote");
    fs::create_dir_all(&remote).unwrap();
    let source = |name: &str, seed: u64| {
        let folder = root.join(name);
        fs::create_dir_all(&folder).unwrap();
        for n in 0..3 {
            fs::write(folder.join(format!("f{n}")), noise(seed + n, 900)).unwrap();
        }
        folder
    };
    let node = Node::open(&root.join("node"));
    node.repository("repo", &remote);
    let storage = &node.storage;
    storage.create_database("db").unwrap();
    storage.create_database("gone").unwrap();
    storage.drop_database("gone").unwrap();
    storage.add_backend("spare").unwrap();
    storage.drop_backend("spare").unwrap();
    node.load("orders", Some("p1"), &source("a", 1), 1);
    node.load("orders", Some("p2"), &source("b", 9), 1);
    node.load("items", None, &source("c", 17), 2);
    assert_finished(&node.backup("first"));
    let stamp = node.timestamp("repo", "first");
    // What the snapshot does not bring is dropped by the restore.
    node.load("orders", Some("p3"), &source("d", 25), 1);
    node.load("extra", None, &source("e", 33), 1);
    storage.truncate_table("db", "items", None).unwrap();
    let mut request = restore("first", &stamp);
    request.clean = Clean {
        tables: true,
        partitions: true,
    };
    assert_finished(&node.restore(&request));
    storage.drop_partition("db", "orders", "p2").unwrap();
    node.load("late", None, &source("f", 41), 1);
    storage.drop_table("db", "late").unwrap();
    // A restore whose objects are gone is taken back.
    remove_objects(&remote);
    let cancelled = node.restore(&restore("first", &stamp));
    assert_eq!(cancelled.state_name(), "CANCELLED");
    storage.create_database("last").unwrap();
    node.engine.close();
}

fn remove_objects(folder: &Path) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && (name == "packs" || name == "objects") {
            fs::remove_dir_all(&path).unwrap();
        } else if path.is_dir() {
            remove_objects(&path);
        }
    }
}

/// A checkpoint at the end, and what lies before it in an archive.
fn archive(folder: &Path) {
    let options = Options::default().index(Index::None).reserve_bytes(0);
    let (journal, _) = FileJournal::<CatalogEvent>::open(folder, options).unwrap();
    let mut catalog = Catalog::new();
    let mut visit = |record: Record<CatalogEvent>| {
        let taken = catalog.apply(record.seq.get(), record.at_ms, &record.event);
        taken.unwrap();
        Ok(())
    };
    journal.history(Seq::FIRST, &mut visit).unwrap();
    let last = journal.position().0;
    let state = catalog.checkpoint().unwrap();
    journal.checkpoint(last, PROJECTION, &state).unwrap();
    journal.roll().unwrap();
    let request = ArchiveRequest {
        before: last.next(),
        projection: PROJECTION,
        description: b"events of a storage's catalog",
        at_ms: 1,
    };
    assert!(journal.archive(&request).unwrap().is_some());
}

fn records(folder: &Path) -> (String, Vec<String>) {
    let (journal, _) = ReadJournal::<CatalogEvent>::open(folder).unwrap();
    journal.verify_archives().unwrap();
    let mut lines = Vec::new();
    let mut visit = |record: Record<CatalogEvent>| {
        lines.push(serde_json::to_string(&record).unwrap());
        Ok(())
    };
    journal.history(Seq::FIRST, &mut visit).unwrap();
    let (seq, hash) = journal.position();
    (format!("{seq} {hash}\n"), lines)
}

/// The tables in words of this test, as a storage of today shows them that opens on the catalog.
fn shown(folder: &Path) -> String {
    let place = tempfile::tempdir().unwrap();
    copy_tree(folder, &place.path().join("catalog"), &|_| false);
    let storage = LocalStorage::open(place.path(), holdfast_storage::Options::default()).unwrap();
    let mut text = format!("position {}\n", storage.position());
    for database in storage.databases().unwrap() {
        writeln!(text, "database {database}").unwrap();
        for table in storage.tables(&database).unwrap() {
            writeln!(text, "table {} {:?}", table.name, table.access).unwrap();
            for part in &table.partitions {
                let meta = &part.meta;
                writeln!(
                    text,
                    "partition {} {} {:?} {:?} version {} since {} buckets {} replicas {} files {} bytes {}",
                    part.id,
                    meta.name,
                    meta.bounds,
                    part.access,
                    part.visible_version,
                    part.visible_since_ms,
                    meta.buckets,
                    meta.replication_num,
                    part.files,
                    part.data_bytes
                )
                .unwrap();
            }
        }
    }
    text
}

#[test]
fn record_when_asked_to() {
    let Some(target) = std::env::var_os(RECORD) else {
        return;
    };
    let target = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("..")
        .join(target);
    let place = tempfile::tempdir().unwrap();
    live(place.path());
    let folder = place.path().join("node/storage/catalog");
    for name in ["catalog", "catalog-archived"] {
        if name == "catalog-archived" {
            archive(&folder);
            // The log goes on behind the archive.
            let storage = folder.parent().unwrap();
            let storage =
                LocalStorage::open(storage, holdfast_storage::Options::default()).unwrap();
            storage.create_database("behind").unwrap();
        }
        fs::create_dir_all(target.join("expected")).unwrap();
        copy_tree(&folder, &target.join(name), &|_| false);
        for left in ["lock", "reserve"] {
            let _ = fs::remove_file(target.join(name).join(left));
        }
        let (end, lines) = records(&folder);
        let write = |part: &str, text: &str| {
            fs::write(target.join(format!("expected/{name}.{part}")), text).unwrap();
        };
        write("end", &end);
        write("records", &(lines.join("\n") + "\n"));
        write("tables", &shown(&folder));
    }
}

fn each(mut check: impl FnMut(&str, &Path, &dyn Fn(&str) -> String)) {
    for release in RELEASES {
        for name in ["catalog", "catalog-archived"] {
            let kept = golden().join(release);
            let place = tempfile::tempdir().unwrap();
            let folder = place.path().join("catalog");
            copy_tree(&kept.join(name), &folder, &|_| false);
            let read = |part: &str| {
                let path = kept.join(format!("expected/{name}.{part}"));
                fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
            };
            check(&format!("{release}/{name}"), &folder, &read);
        }
    }
}

#[test]
fn catalogs_of_every_release_have_the_same_chain_records_and_tables_today() {
    each(|what, folder, read| {
        let (end, lines) = records(folder);
        assert_eq!(end, read("end"), "{what}: chain");
        let text = read("records");
        assert_eq!(lines.len(), text.lines().count(), "{what}");
        for (now, then) in lines.iter().zip(text.lines()) {
            assert_eq!(now, then, "{what}");
        }
        assert_eq!(
            shown(folder),
            read("tables"),
            "{what}: with its checkpoints"
        );
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "checkpoint") {
                fs::remove_file(path).unwrap();
            }
        }
        assert_eq!(shown(folder), read("tables"), "{what}: from the events");
    });
}

#[test]
fn every_kind_of_catalog_event_is_in_a_golden_catalog() {
    let mut covered = BTreeSet::new();
    each(|_, folder, _| {
        let (journal, _) = ReadJournal::<CatalogEvent>::open(folder).unwrap();
        let mut visit = |record: Record<CatalogEvent>| {
            covered.insert(record.kind.get());
            Ok(())
        };
        journal.history(Seq::FIRST, &mut visit).unwrap();
    });
    let missing: Vec<_> = CatalogEvent::kinds()
        .iter()
        .filter(|(number, _)| !covered.contains(number))
        .collect();
    assert!(
        missing.is_empty(),
        "no golden catalog has {missing:?}; record new ones, see tests/golden/README.md"
    );
}
