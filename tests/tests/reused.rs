//! A damaged object that a later backup reuses. A backup finds by name and length what the repository
//! holds, and does not read it again; so the later snapshot suffers with the earlier one. Verify and
//! restore must name the object, nothing wrong may be restored, and once the object is deleted the next backup
//! makes all snapshots whole.
//!
//! `HOLDFAST_DAMAGE=full` damages every object at its begin, middle and end; without it some are taken.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use holdfast_broker::Context;
use holdfast_engine::RestoreRequest;
use holdfast_storage::{LoadRequest, Storage as _};
use holdfast_tests::damage::is_full;
use holdfast_tests::template::{open_at, released};
use holdfast_tests::{Node, assert_finished, noise, restore, tree};

/// The table has small files, which are packed, and one that is an object of its own.
fn filled(root: &Path) -> Node {
    std::fs::create_dir_all(root.join("remote")).unwrap();
    let files = root.join("files");
    std::fs::create_dir_all(&files).unwrap();
    for n in 0..5 {
        std::fs::write(files.join(format!("small-{n}")), noise(n, 300)).unwrap();
    }
    std::fs::write(files.join("large"), noise(9, 1 << 20)).unwrap();
    let node = open_at(root, None);
    node.load("t", None, &files, 1);
    make_taken(&node);
    node.repository("repo", &root.join("remote"));
    node
}

fn backed_up(node: &Node, label: &str) {
    let view = node.backup(label);
    assert_finished(&view);
    released(node, view.common().job);
}

/// What verify finds on one snapshot, or on all.
fn findings(node: &Node, label: Option<&str>) -> Vec<String> {
    let mut found = Vec::new();
    let repository = node.engine.repository("repo").unwrap();
    let sink = &mut |finding: holdfast_repository::Finding| found.push(finding.to_string());
    repository.verify(&Context::new(), label, sink).unwrap();
    found
}

/// Packs and objects of the repository.
fn data_objects(root: &Path) -> Vec<PathBuf> {
    let names = tree(&root.join("remote")).into_keys();
    names
        .filter(|name| name.contains("/packs/") || name.contains("/objects/"))
        .map(|name| root.join("remote").join(name))
        .collect()
}

fn of_database(node: &Node, label: &str, database: &str) -> RestoreRequest {
    let mut request = restore(label, &node.timestamp("repo", label));
    request.source_database = Some("db".to_owned());
    request.database = database.to_owned();
    request
}

/// The content of a database's table, where there is one.
fn table_of(node: &Node, database: &str) -> Option<BTreeMap<String, Vec<u8>>> {
    let tables = node.storage.tables(database).unwrap_or_default();
    (!tables.is_empty()).then(|| node.content(database, "t"))
}

/// A table with other content, where there is none.
fn make_taken(node: &Node) {
    if table_of(node, "taken").is_some() {
        return;
    }
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("file"), noise(50, 700)).unwrap();
    let mut request = LoadRequest::new("taken", "t", vec![files.path().to_owned()]);
    request.buckets = 3;
    node.storage.load(&request).unwrap();
}

/// Damages one object between two backups of the same content, in the same length.
fn between_two_backups(node: &Node, object: &Path, at: usize, number: usize) -> bool {
    let name = object.file_name().unwrap().to_str().unwrap();
    let content = node.content("db", "t");
    let taken = node.content("taken", "t");
    let mut bytes = std::fs::read(object).unwrap();
    // A pack has bytes that belong to no file.
    let hits_a_file = {
        let file = content.values().find(|file| {
            let lies = |from: usize| (from..from + file.len()).contains(&at);
            let mut places = bytes.windows(file.len()).enumerate();
            places.any(|(from, window)| lies(from) && window == &file[..])
        });
        file.is_some()
    };
    bytes[at] ^= 1 << (at % 8);
    std::fs::remove_file(object).unwrap();
    std::fs::write(object, &bytes).unwrap();
    let later = format!("later{number}");
    let view = node.backup(&later);
    assert_finished(&view);
    released(node, view.common().job);
    // It was reused, as it was.
    assert_eq!(std::fs::read(object).unwrap(), bytes);
    for label in ["s0", &later] {
        let found = findings(node, Some(label));
        let named = found.iter().any(|finding| finding.contains(name));
        assert!(named, "{label}, byte {at} of {name}: {found:?}");
        // A restore over other data leaves that, one into an empty place leaves nothing.
        for (database, before) in [("taken", Some(&taken)), ("empty", None)] {
            let view = node.restore(&of_database(node, label, database));
            released(node, view.common().job);
            let now = table_of(node, database);
            if hits_a_file {
                assert_eq!(view.state_name(), "CANCELLED", "byte {at} of {name}");
                let words = &view.common().status.message;
                assert!(words.contains(name), "{words}");
                assert!(now.as_ref() == before, "{database} was changed");
            } else {
                // What belongs to no file is never fetched.
                assert_finished(&view);
                assert!(now.as_ref() == Some(&content), "restored wrongly");
                node.storage.drop_table(database, "t").unwrap();
            }
        }
        make_taken(node);
    }
    // What is not there is sent again, and serves every snapshot that needs it.
    std::fs::remove_file(object).unwrap();
    let mended = format!("mended{number}");
    backed_up(node, &mended);
    assert_eq!(findings(node, None), Vec::<String>::new());
    for label in ["s0", &later, &mended] {
        let database = format!("{label}_{number}");
        assert_finished(&node.restore(&of_database(node, label, &database)));
        assert!(node.content(&database, "t") == content, "{label}");
    }
    hits_a_file
}

#[test]
fn a_flipped_object_that_a_later_backup_reuses_is_named_by_verify_and_restore_and_never_restored() {
    let place = tempfile::tempdir().unwrap();
    let root = place.path();
    let node = filled(root);
    backed_up(&node, "s0");
    let objects = data_objects(root);
    // Each wrong byte is read again, and again a little later, before it counts as damage.
    let chosen = |of_object: usize, is_pack: bool| match (is_full(), of_object, is_pack) {
        (true, ..) => 3,
        (false, 0, true) => 2,
        (false, _, true) => 0,
        (false, _, false) => 1,
    };
    let (mut number, mut packs, mut large, mut pack) = (0, 0, 0, 0);
    for object in &objects {
        let len = usize::try_from(std::fs::metadata(object).unwrap().len()).unwrap();
        let is_pack = object.to_string_lossy().contains("/packs/");
        for at in [0, len / 2, len - 1]
            .into_iter()
            .take(chosen(pack, is_pack))
        {
            number += 1;
            let hits = u32::from(between_two_backups(&node, object, at, number));
            match is_pack {
                true => packs += hits,
                false => large += hits,
            }
        }
        pack += usize::from(is_pack);
    }
    assert!(packs > 0 && large > 0, "{packs} {large} of {objects:?}");
}
