//! Snapshots that the works of a backup made, brought back by the works of a restore.

use holdfast_storage::Storage;

use super::bench::{Bench, job};
use super::{files, only, source};
use crate::testing::{MemoryStorage, backup_spec};
use crate::work::fixture::{Backup, World};

#[test]
fn what_a_backup_wrote_a_restore_brings_back_to_another_cluster() {
    let bench = Bench::new(MemoryStorage::new(2));
    let mut east = World::new(3, &bench.broker);
    east.storage = source();
    east.env.storage = std::sync::Arc::new(east.storage.clone());
    let spec = backup_spec("db", "weekly", &["t"]);
    let mut job = job("weekly");
    job.timestamp = spec.timestamp.clone();
    let mut backup = Backup::new(&east, 5, spec);
    backup.run().expect("backs up");
    let moved = bench.restore(&job).expect("restores");
    assert!(moved.bytes > 0);
    assert_eq!(files(&bench.storage, "t"), files(&east.storage, "t"));
    let made = bench.storage.tables("db").unwrap();
    let original = east.storage.tables("db").unwrap();
    assert_eq!(made[0].schema, original[0].schema);
    job.selection = only("t", &["q"], Some("t2"));
    bench
        .restore(&job)
        .expect("restores a part under another name");
    let mut expected = files(&east.storage, "t");
    expected.retain(|(partition, _), _| partition == "q");
    assert_eq!(files(&bench.storage, "t2"), expected);
}
