//! `load` and `export`: what goes in comes out, and what is refused changes nothing.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use std::fs;

use common::{World, files};

#[test]
fn odd_names_and_sizes_come_out_as_they_went_in() {
    let world = World::new();
    let long = "n".repeat(255);
    for name in [
        "plain",
        "with space",
        "ümläut/日本語",
        "emoji🦀",
        "-rf",
        "a;b",
        "quo'te\"s",
        "new\nline",
        ".hidden",
        "deep/er/and/deeper",
        "%2e%2e",
        "back\\slash",
        &long,
    ] {
        world.file(&format!("src/{name}"), name.repeat(3));
    }
    world.file("src/empty", "");
    world.file("src/big", common::noise(1_500_000));
    world.load("shop.orders", "src").ok();
    let exported = world.exported("shop.orders");
    let source: Vec<_> = files(&world.path("src"))
        .into_iter()
        .map(|(name, content)| (format!("orders/{name}"), content))
        .collect();
    assert_eq!(exported, source);
}

#[test]
fn loads_append_and_partitions_stay_apart() {
    let world = World::new();
    world.file("one/a", "1");
    world.file("two/b", "2");
    world.file("c", "3");
    world.load("shop.orders", "one").ok();
    world.load("shop.orders", "two").ok();
    let load = ["load", "--data-dir", "node", "--table", "shop.orders"];
    world
        .run(&[&load[..], &["--partition", "p 2026", "--buckets", "4", "c"]].concat())
        .ok();
    let names: Vec<String> = world
        .exported("shop.orders")
        .into_iter()
        .map(|(name, _)| name)
        .collect();
    assert_eq!(names, ["orders/a", "orders/b", "p 2026/c"]);
    let row = world
        .sql("SHOW PARTITIONS FROM shop.orders WHERE PartitionName = 'p 2026'")
        .ok()
        .row();
    assert_eq!(
        (row["Buckets"].as_str(), row["DataSize"].as_str()),
        (Some("4"), Some("1"))
    );
    let one = ["export", "--data-dir", "node", "--table", "shop.orders"];
    world
        .run(&[&one[..], &["--partition", "p 2026", "--to", "out"]].concat())
        .ok();
    assert_eq!(
        files(&world.path("out")),
        [("p 2026/c".to_owned(), b"3".to_vec())]
    );
}

#[test]
fn what_is_refused_is_named_and_changes_nothing() {
    let world = World::new();
    world.file("src/a", "old");
    world.load("shop.orders", "src").ok();
    world.file("again/a", "new");
    world.file("again/b", "new");
    let ended = world
        .load("shop.orders", "again")
        .refused(1, "ALREADY_EXISTS");
    assert!(ended.err.contains("'a'"), "{ended:#?}");
    fs::create_dir(world.path("links")).unwrap();
    world.file("links/fine", "x");
    std::os::unix::fs::symlink(world.path("src/a"), world.path("links/link")).unwrap();
    let ended = world.load("shop.orders", "links").refused(1, "INVALID");
    assert!(ended.err.contains("link"), "{ended:#?}");
    let odd = std::ffi::OsStr::new("bad");
    let bad = {
        use std::os::unix::ffi::OsStrExt;
        fs::create_dir(world.path("bad")).unwrap();
        world
            .path("bad")
            .join(std::ffi::OsStr::from_bytes(b"no\xffutf8"))
    };
    fs::write(&bad, "x").unwrap();
    let args = ["load", "--data-dir", "node", "--table", "shop.orders"].map(std::ffi::OsStr::new);
    world
        .run(&[&args[..], &[odd]].concat())
        .refused(1, "INVALID");
    let ended = world.load("shop.orders", "nowhere");
    assert_eq!(ended.code, 1);
    assert!(
        ended.err.contains("nowhere") && ended.err.starts_with("ERROR "),
        "{ended:#?}"
    );
    assert_eq!(
        world.exported("shop.orders"),
        [("orders/a".to_owned(), b"old".to_vec())]
    );
}

#[test]
fn export_refuses_what_it_would_mix_with_or_cannot_find() {
    let world = World::new();
    world.file("src/a", "a");
    world.load("shop.orders", "src").ok();
    world.file("full/x", "x");
    let to = |table: &str, to: &str| {
        world.run(&["export", "--data-dir", "node", "--table", table, "--to", to])
    };
    to("shop.orders", "full").refused(1, "ALREADY_EXISTS");
    to("shop.lost", "out").refused(1, "TABLE_NOT_FOUND");
    to("lost.orders", "out").refused(1, "DATABASE_NOT_FOUND");
    assert_eq!(files(&world.path("full")).len(), 1);
    let absent = [
        "export",
        "--data-dir",
        "absent",
        "--table",
        "a.b",
        "--to",
        "out",
    ];
    world.run(&absent).refused(1, "DATA_FOLDER_NOT_FOUND");
    assert!(!world.path("absent").exists());
}

#[test]
fn a_damaged_file_is_never_exported() {
    let world = World::new();
    world.file("src/a", common::noise(10_000));
    world.load("shop.orders", "src").ok();
    let stored = files(&world.path("node/storage/backends"));
    let (name, content) = stored
        .iter()
        .find(|(_, content)| content.len() == 10_000)
        .unwrap();
    let mut changed = content.clone();
    changed[5_000] ^= 1;
    fs::write(world.path("node/storage/backends").join(name), changed).unwrap();
    let args = [
        "export",
        "--data-dir",
        "node",
        "--table",
        "shop.orders",
        "--to",
        "out",
    ];
    let ended = world.run(&args).refused(4, "DAMAGED");
    assert!(ended.err.contains('a'), "{ended:#?}");
    assert!(
        files(&world.path("out"))
            .iter()
            .all(|(_, content)| content.len() != 10_000)
    );
}

#[test]
fn a_partition_that_is_there_keeps_its_buckets_and_replicas() {
    let world = World::new();
    world.file("a", "1");
    world.file("b", "2");
    let load = ["load", "--data-dir", "node", "--table", "shop.orders"];
    let run = |more: &[&str]| world.run(&[&load[..], more].concat());
    run(&["--buckets", "4", "--replication-num", "2", "a"]).ok();
    for (option, has) in [("--buckets", 4), ("--replication-num", 2)] {
        let refused = run(&[option, "3", "b"]).refused(1, "INVALID");
        let told = refused.err.contains(&format!("{option} is 3"))
            && refused.err.contains(&format!("has {has}"));
        assert!(told, "both values are named: {refused:#?}");
    }
    run(&["--buckets", "4", "--replication-num", "2", "b"]).ok();
    assert_eq!(world.exported("shop.orders").len(), 2);
}
