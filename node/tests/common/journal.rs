//! What the tests of `holdfast journal` share: a folder that has lived, and its records.

use serde_json::Value;

use super::{Ended, World};

/// A data folder with a backup, a restore and a cancelled backup.
pub(crate) fn lived() -> World {
    let world = World::new();
    world.shop(200_000, None);
    world.sql("BACKUP SNAPSHOT shop.monday TO r").ok();
    let timestamp = world.timestamp("monday");
    world
        .sql(&format!(
            "RESTORE SNAPSHOT shop.monday FROM r PROPERTIES ('backup_timestamp' = '{timestamp}')"
        ))
        .ok();
    world
}

pub(crate) fn journal(world: &World, args: &[&str]) -> Ended {
    world.run(&[&["journal"], args].concat())
}

pub(crate) fn objects(text: &str) -> Vec<Value> {
    let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
    text.lines().map(parse).collect()
}

pub(crate) fn dumped(world: &World, source: &str, more: &[&str]) -> Vec<Value> {
    let args = [&["dump", source, "--format", "json"], more].concat();
    objects(&journal(world, &args).ok().out)
}

/// What each tool prints of a source, stdout alone.
pub(crate) fn shown(world: &World, source: &str) -> Vec<String> {
    let all = dumped(world, source, &[]);
    let job = all.iter().find_map(|r| r["job"].as_u64()).unwrap();
    let job = job.to_string();
    let middle = (all.len() / 2).to_string();
    [
        &["dump", source, "--job", &job, "--format", "csv"][..],
        &["state", source],
        &["state", source, "--format", "json", "--at", &middle],
        &["explain", source, &job],
        &["verify", source],
    ]
    .iter()
    .map(|args| journal(world, args).ok().out)
    .collect()
}

pub(crate) fn copied(world: &World, from: &str, to: &str) {
    for (name, content) in super::files(&world.path(from)) {
        world.file(&format!("{to}/{name}"), content);
    }
}
