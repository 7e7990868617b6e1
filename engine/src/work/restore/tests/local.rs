//! The same works over the storage that ships with the product, opened again between the steps.

use std::path::Path;
use std::sync::Arc;

use holdfast_storage::model::{PinRequest, PinTable};
use holdfast_storage::{LocalStorage, OpId, Options, Storage};

use super::bench::{Bench, job, read_file};
use super::{Files, files, source};
use crate::ids::{Epoch, JobId};
use crate::order::Work;
use crate::testing::MemoryStorage;

fn open(dir: &Path) -> Arc<LocalStorage> {
    let options = Options {
        backends: 2,
        ..Options::default()
    };
    Arc::new(LocalStorage::open(dir, options).unwrap())
}

/// Every file of `db.t`, read from each of its replicas.
fn read_back(storage: &dyn Storage) -> Files {
    let op = OpId(4711);
    let tables = vec![PinTable {
        name: "t".into(),
        partitions: None,
    }];
    let pin = storage
        .pin(
            op,
            &PinRequest {
                database: "db".into(),
                tables,
            },
        )
        .unwrap();
    let mut all = Files::new();
    for partition in &pin.tables[0].partitions {
        for tablet in &partition.tablets {
            for &backend in &tablet.replicas {
                storage.link(op, backend, &[tablet.id]).unwrap();
                for entry in storage.pinned_files(op, tablet.id).unwrap() {
                    let file = storage.open(op, backend, tablet.id, &entry.name).unwrap();
                    let bytes = read_file(file.as_ref());
                    let key = (partition.meta.name.clone(), entry.name);
                    let before = all.insert(key, bytes.clone());
                    assert!(before.is_none_or(|before| before == bytes));
                }
            }
        }
    }
    storage.release(op).unwrap();
    all
}

#[test]
fn a_restore_goes_on_after_the_storage_was_opened_again_at_any_step() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(MemoryStorage::new(1));
    bench.back_up(&source(), "db", "nightly");
    let expected = files(&source(), "t");
    let job = job("nightly");
    let nothing: Arc<dyn Storage> = bench.env.storage.clone();
    let reopen = |bench: &mut Bench| {
        // The folder has one owner at a time.
        bench.env.storage = Arc::clone(&nothing);
        bench.env.storage = open(dir.path());
    };
    reopen(&mut bench);
    bench.prepare_meta(&job).expect("prepares");
    reopen(&mut bench);
    let plans = bench
        .up_to_download(&job)
        .expect("prepares again and stages");
    reopen(&mut bench);
    let moved = bench
        .downloads(&job, &plans, 2, Epoch(2))
        .expect("downloads");
    assert!(moved.bytes > 0);
    reopen(&mut bench);
    let again = bench
        .downloads(&job, &plans, 3, Epoch(3))
        .expect("has it all");
    assert_eq!(again.bytes, 0);
    for work in [Work::Prepare, Work::Commit] {
        reopen(&mut bench);
        bench.run(&job, work, None).expect("goes on");
    }
    reopen(&mut bench);
    bench.run(&job, Work::Commit, None).expect("commits once");
    bench.run(&job, Work::Forget, None).expect("forgets");
    assert_eq!(read_back(bench.env.storage.as_ref()), expected);
    bench.id = JobId(78);
    let unchanged = bench.restore(&job).expect("restores over it");
    assert_eq!(unchanged.bytes, 0, "all files are local");
    assert_eq!(read_back(bench.env.storage.as_ref()), expected);
}

#[test]
fn abort_takes_everything_back_after_the_storage_was_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut bench = Bench::new(MemoryStorage::new(1));
    bench.back_up(&source(), "db", "nightly");
    let nothing: Arc<dyn Storage> = bench.env.storage.clone();
    bench.env.storage = open(dir.path());
    bench.up_to_commit(&job("nightly")).expect("prepares");
    bench.env.storage = nothing;
    bench.env.storage = open(dir.path());
    bench
        .run(&job("nightly"), Work::Abort, None)
        .expect("aborts");
    bench
        .run(&job("nightly"), Work::Abort, None)
        .expect("aborts again");
    assert!(bench.env.storage.databases().unwrap().is_empty());
}
