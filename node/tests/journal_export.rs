//! `journal export`: what the file holds, what it proves, and what reads it.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use common::World;
use common::journal::{copied, dumped, journal, lived, shown};
use serde_json::Value;

#[test]
fn an_exported_file_reads_like_the_folder_and_a_copy_of_it() {
    let world = lived();
    let exported = journal(&world, &["export", "node", "--to", "file"]).ok();
    assert!(exported.err.contains("seal "), "{exported:#?}");
    copied(&world, "node", "copy");
    copied(&world, "node/journal", "bare");
    let before = common::files(&world.path("node"));
    let expected = shown(&world, "node");
    for source in ["copy", "bare", "file"] {
        assert_eq!(shown(&world, source), expected, "{source}");
    }
    assert!(before == common::files(&world.path("node")));
    let verify = journal(&world, &["verify", "file"]).ok();
    let seal = exported.err.trim().rsplit(' ').next().unwrap();
    assert!(verify.err.contains(seal), "{verify:#?}");
    assert!(verify.err.contains("1 taken as recorded"), "{verify:#?}");
    journal(&world, &["recover", "--dry-run", "file"]).ok();
}

#[test]
fn an_export_holds_no_secret_and_an_anonymous_one_no_name() {
    let world = World::new();
    world.file("src/a", "a");
    world.load("shop.orders", "src").ok();
    let location = format!("file://{}", world.path("vault?sas=hush").display());
    world
        .sql(&format!(
            "CREATE REPOSITORY attic WITH BROKER ON LOCATION '{location}'; \
             BACKUP SNAPSHOT shop.monday TO attic"
        ))
        .ok();
    journal(&world, &["export", "node", "--to", "plain"]).ok();
    journal(&world, &["export", "node", "--to", "hidden", "--anonymize"]).ok();
    // An export of an export: what is out stays out.
    journal(&world, &["export", "plain", "--to", "again", "--anonymize"]).ok();
    let raw = |source: &str| -> String {
        let held = std::fs::read(world.path(source)).unwrap();
        let mut all = String::from_utf8_lossy(&held).into_owned();
        let mut at = 0;
        // Each block's zstd frame starts with this number.
        while let Some(found) = held[at..]
            .windows(4)
            .position(|w| w == [0x28, 0xb5, 0x2f, 0xfd])
        {
            at += found;
            let mut bytes = Vec::new();
            let mut decoder = zstd::stream::Decoder::new(&held[at..])
                .unwrap()
                .single_frame();
            std::io::Read::read_to_end(&mut decoder, &mut bytes).unwrap();
            all.push_str(&String::from_utf8_lossy(&bytes));
            at += 4;
        }
        all
    };
    let plain = raw("plain");
    assert!(plain.contains("monday") && plain.contains("orders"));
    for file in ["plain", "hidden", "again"] {
        assert!(!raw(file).contains("hush"), "{file}");
        journal(&world, &["verify", file]).ok();
    }
    for file in ["hidden", "again"] {
        let held = raw(file);
        for name in ["monday", "orders", "shop", "attic", "vault"] {
            assert!(!held.contains(name), "{file} holds {name}");
        }
        let dump = journal(&world, &["dump", file]).ok().out;
        assert!(
            dump.contains("label-1") && dump.contains("database-1"),
            "{dump}"
        );
    }
    assert_eq!(
        journal(&world, &["dump", "hidden"]).ok().out,
        journal(&world, &["dump", "again"]).ok().out
    );
    let created = &dumped(&world, "plain", &["--kind", "RepositoryCreated"])[0];
    assert_eq!(created["fields"]["properties"], "0 sealed bytes");
}

#[test]
fn damage_of_an_exported_file_is_named_wherever_it_is() {
    let world = lived();
    journal(&world, &["export", "node", "--to", "file"]).ok();
    let whole = std::fs::read(world.path("file")).unwrap();
    for at in (8..whole.len()).step_by(61).chain([whole.len() - 1]) {
        if (8..10).contains(&at) {
            continue;
        }
        let mut changed = whole.clone();
        changed[at] ^= 1;
        world.file("hurt", &changed);
        let verify = journal(&world, &["verify", "hurt"]).refused(4, "JOURNAL_DAMAGED");
        assert!(verify.out.contains("'hurt'"), "byte {at}: {verify:#?}");
        world.file("hurt", &whole[..at]);
        let verify = journal(&world, &["verify", "hurt"]).refused(4, "JOURNAL_DAMAGED");
        assert!(!verify.out.is_empty(), "cut at {at}: {verify:#?}");
    }
    let longer = [&whole[..], b"x"].concat();
    world.file("hurt", longer);
    let verify = journal(&world, &["verify", "hurt"]).refused(4, "JOURNAL_DAMAGED");
    assert!(verify.out.contains("bytes follow the end"), "{verify:#?}");
    // What is whole is shown all the same.
    world.file("hurt", &whole[..whole.len() - 1]);
    let dump = journal(&world, &["dump", "hurt"]).refused(4, "JOURNAL_DAMAGED");
    assert!(dump.out.contains("RestoreFinished"), "{dump:#?}");
}

#[test]
fn an_export_says_why_it_is_not_made_and_what_is_no_export() {
    let world = World::new();
    world.sql("SHOW BACKENDS").ok();
    world.file("there", "mine");
    journal(&world, &["export", "node", "--to", "there"]).refused(1, "FILE_EXISTS");
    assert_eq!(std::fs::read(world.path("there")).unwrap(), b"mine");
    journal(&world, &["export", "node", "--to", "no/such/place"]).refused(1, "IO_ERROR");
    journal(&world, &["export", "absent", "--to", "x"]).refused(1, "JOURNAL_NOT_FOUND");
    assert!(!world.path("x").exists());
    for args in [
        &["dump", "there"][..],
        &["verify", "there"],
        &["state", "there"],
    ] {
        let ended = journal(&world, args).refused(1, "JOURNAL_NOT_FOUND");
        assert!(ended.err.contains("no exported journal"), "{ended:#?}");
    }
    assert_eq!(journal(&world, &["export", "node"]).code, 2);
}

#[test]
fn an_export_of_a_damaged_journal_has_what_is_whole_and_says_so() {
    let world = lived();
    let log = world.path("node/journal/00000000000000000001.log");
    let mut bytes = std::fs::read(&log).unwrap();
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    std::fs::write(&log, bytes).unwrap();
    journal(&world, &["export", "node", "--to", "file"]).refused(4, "JOURNAL_DAMAGED");
    // Behind the repository, whose properties are left out.
    let dump = |source| journal(&world, &["dump", source, "--from", "3"]);
    let folder = dump("node").refused(4, "JOURNAL_DAMAGED");
    let file = dump("file").refused(4, "JOURNAL_DAMAGED");
    assert!(!file.out.is_empty());
    assert_eq!(folder.out, file.out);
    let verify = journal(&world, &["verify", "file"]).refused(4, "JOURNAL_DAMAGED");
    assert!(verify.out.contains("went no further"), "{verify:#?}");
}

#[test]
fn an_exported_file_of_format_1_is_read_for_ever() {
    let world = World::new();
    let golden = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/golden/format-1.hfexport"
    );
    let verify = journal(&world, &["verify", golden]).ok();
    for proved in [
        "184 links proved; 8 taken as recorded",
        "chain hash d17097186af6efc1c26edf48180da55b237a175354014c80da727506614c46de",
        "seal: 0be55d5e338e18145447559e6831650bd459c07d366e60a364f1f00df85159ee",
    ] {
        assert!(verify.err.contains(proved), "{proved}: {verify:#?}");
    }
    let dump = dumped(&world, golden, &[]);
    assert_eq!(dump.len(), 192);
    let fields: Vec<&Value> = dump.iter().map(|record| &record["fields"]).collect();
    let whole = blake3::hash(serde_json::to_string(&fields).unwrap().as_bytes());
    assert_eq!(
        whole.to_hex().as_str(),
        "a009a8f330cfa9e244a1cfb11b291f76832885ec4bf1c8bda4bb42ada59aa2a3"
    );
    let state = journal(&world, &["state", golden, "--format", "json"])
        .ok()
        .sets();
    assert_eq!((state[0].len(), state[1].len(), state[2].len()), (5, 1, 1));
}
