//! Damage to the file `key` of a data folder, which seals the properties of repositories: whatever
//! happens to it, tables and jobs are there as before, and whoever needs a sealed secret is told of
//! the file. Putting the file back makes everything right again.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::fs;
use std::ops::Range;

use common::World;

/// Length of a key in bytes.
const KEY: usize = 32;
/// So many bytes are zeroed at once.
const ZEROED: usize = 16;
/// Shows what needs no secret, and what needs one.
const LOOK: &str = "SHOW BACKUP FROM shop; SHOW SNAPSHOT ON r";
const FAST: usize = 1 << 30;

/// A world with a finished backup in a repository whose properties are sealed, and its key.
fn sealed(bytes: usize, rate: usize) -> (World, Vec<u8>) {
    let world = World::new();
    world.shop(bytes, Some(rate));
    let key = fs::read(world.path("node/key")).unwrap();
    assert_eq!(key.len(), KEY);
    (world, key)
}

/// Puts these bytes in place of the key; `None` deletes it.
fn damage(world: &World, damaged: Option<&[u8]>) {
    let path = world.path("node/key");
    fs::remove_file(&path).unwrap();
    if let Some(bytes) = damaged {
        fs::write(&path, bytes).unwrap();
    }
}

fn repair(world: &World, key: &[u8]) {
    fs::write(world.path("node/key"), key).unwrap();
}

/// The bytes of another length: cut at each byte, and longer by some.
fn of_another_length(key: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let cut = (0..KEY).map(|len| key[..len].to_vec());
    let longer = [1, KEY, 4_096].map(|more| [key, &vec![7; more]].concat());
    cut.chain(longer)
}

/// Another key of the right length: with a bit turned over in each byte, with zeros from each byte
/// on.
fn of_other_bytes(key: &[u8]) -> impl Iterator<Item = Vec<u8>> {
    let changed = |range: Range<usize>, change: &dyn Fn(u8) -> u8| {
        let mut bytes = key.to_vec();
        for byte in &mut bytes[range] {
            *byte = change(*byte);
        }
        bytes
    };
    let flipped = (0..KEY).map(|at| changed(at..at + 1, &|byte| byte ^ (1 << (at % 8))));
    let zeroed = (0..KEY).map(|at| changed(at..KEY.min(at + ZEROED), &|_| 0));
    let all: Vec<_> = flipped.chain(zeroed).collect();
    all.into_iter().filter(move |bytes| bytes != key)
}

/// After the key was put back nothing is missing.
fn assert_whole(world: &World, content: &[(String, Vec<u8>)]) {
    let sets = world.sql(LOOK).ok().sets();
    assert_eq!(sets[0].last().unwrap()["State"], "FINISHED");
    assert_eq!(sets[1][0]["Snapshot"], "monday");
    assert_eq!(world.exported("shop.orders"), content);
}

#[test]
fn a_key_of_another_length_is_refused_and_named() {
    let (world, key) = sealed(5_000, FAST);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    let content = world.exported("shop.orders");
    for damaged in of_another_length(&key) {
        let len = damaged.len();
        damage(&world, Some(&damaged));
        let refused = world.sql(LOOK).refused(4, "KEY_DAMAGED");
        let found = match len <= KEY {
            true => format!("node/key' has {len} bytes, expected {KEY}:"),
            false => format!("node/key' has more than {KEY} bytes, expected {KEY}:"),
        };
        assert!(refused.err.contains(&found), "{len}: {refused:#?}");
    }
    repair(&world, &key);
    assert_whole(&world, &content);
}

#[test]
fn a_key_with_any_byte_changed_opens_no_secret_and_is_named_while_all_else_is_there() {
    let (world, key) = sealed(5_000, FAST);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    let content = world.exported("shop.orders");
    for (number, damaged) in of_other_bytes(&key).enumerate() {
        damage(&world, Some(&damaged));
        assert_shut(&world);
        if number % 16 == 0 {
            assert_eq!(world.exported("shop.orders"), content);
        }
        // What was found is never written over.
        assert_eq!(fs::read(world.path("node/key")).unwrap(), damaged);
    }
    repair(&world, &key);
    assert_whole(&world, &content);
}

/// What needs no secret is as it was; what needs one names the key.
#[track_caller]
fn assert_shut(world: &World) {
    let refused = world.sql(&format!("{LOOK}; BACKUP SNAPSHOT shop.tuesday TO r"));
    assert_eq!(refused.code, 1, "{refused:#?}");
    assert_named(&refused.err);
    let sets = refused.sets();
    assert_eq!(sets[0][0]["State"], "FINISHED");
    assert_named(sets[1][0]["Status"].as_str().unwrap());
}

#[track_caller]
fn assert_named(text: &str) {
    let named = "repository 'r' cannot be read: secret was sealed with another key: put the data \
                 folder's file 'key' back";
    assert!(text.contains(named) && !text.contains("panicked"), "{text}");
}

#[test]
fn a_key_that_is_gone_is_made_anew_with_a_warning_and_the_old_one_can_be_put_back() {
    let (world, key) = sealed(5_000, FAST);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    let content = world.exported("shop.orders");
    damage(&world, None);
    let opened = world.sql("SHOW BACKENDS").ok();
    let warning = "node/key' is missing, a new one is made";
    assert!(opened.err.contains(warning), "{opened:#?}");
    assert_shut(&world);
    assert_ne!(fs::read(world.path("node/key")).unwrap(), key);
    // What needs no old secret works with the new key.
    let location = world.path("other");
    world
        .sql(&format!(
            "CREATE REPOSITORY s WITH BROKER ON LOCATION 'file://{}' \
             PROPERTIES ('upload_bandwidth' = '1 GB'); BACKUP SNAPSHOT shop.tuesday TO s",
            location.display()
        ))
        .ok();
    repair(&world, &key);
    assert_whole(&world, &content);
}

/// Lets the job under way go on with a bit of the key turned over: it ends, and says why.
fn ends_under_another_key(world: &World, key: &[u8], show: &str) {
    let mut other = key.to_vec();
    other[11] ^= 4;
    damage(world, Some(&other));
    // The program waits for the job, and ends with 1 where it was cancelled meanwhile.
    world.sql(show);
    let last = world.sql(show).ok().row();
    assert_eq!(last["State"], "CANCELLED");
    assert_named(last["Status"].as_str().unwrap());
    repair(world, key);
}

#[test]
fn a_job_under_way_whose_key_is_changed_is_cancelled_and_says_why() {
    let (world, key) = sealed(150_000, 100_000);
    let content = world.exported("shop.orders");
    world
        .sql_on("node", "BACKUP SNAPSHOT shop.slow TO r", &["--no-wait"])
        .ok();
    ends_under_another_key(&world, &key, "SHOW BACKUP FROM shop");
    assert_eq!(world.exported("shop.orders"), content);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    assert_whole(&world, &content);

    // Other data, which a restore that is cancelled must leave.
    world.sql("TRUNCATE TABLE shop.orders").ok();
    world.file("newer/a", "newer");
    world.load("shop.orders", "newer").ok();
    let newer = world.exported("shop.orders");
    let stamp = world.timestamp("monday");
    let restore =
        format!("RESTORE SNAPSHOT shop.monday FROM r PROPERTIES ('backup_timestamp' = '{stamp}')");
    world.sql_on("node", &restore, &["--no-wait"]).ok();
    ends_under_another_key(&world, &key, "SHOW RESTORE FROM shop");
    assert_eq!(world.exported("shop.orders"), newer);
    world.sql(&restore).ok();
    assert_eq!(world.exported("shop.orders"), content);
}
