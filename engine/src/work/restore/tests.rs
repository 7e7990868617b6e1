//! Restores, work by work, from snapshots in a repository behind a memory broker into a memory
//! storage.

mod bench;
mod failures;
mod local;
mod round;

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_broker::{Context, FaultRule, Request, Trouble, When};
use holdfast_repository::ContentHash;
use holdfast_storage::model::{Access, Bounds, PartitionMeta};
use holdfast_storage::{ErrorKind, Storage};

use self::bench::{Bench, JOB, job};
use crate::ids::{BlobHash, Epoch, JobId};
use crate::order::{FailureClass, Output, StatusCode, Work};
use crate::seams::{BlobError, Blobs};
use crate::spec::{ObjectRef, Replication, Selection};
use crate::testing::{CallKind, MemoryStorage};
use crate::work::Limits;

fn partition(name: &str, buckets: u32, replication_num: u32) -> PartitionMeta {
    let items = vec![vec![name.to_owned()]];
    PartitionMeta {
        name: name.into(),
        bounds: Bounds::List { items },
        buckets,
        replication_num,
    }
}

/// `db.t` with partitions `p` (3 buckets, 2 replicas) and `q`, small and empty files and one over
/// a mebibyte.
fn source() -> MemoryStorage {
    let storage = MemoryStorage::new(3);
    let partitions = vec![partition("p", 3, 2), partition("q", 1, 1)];
    storage
        .create_table("db", "t", MemoryStorage::loaded_schema(), partitions)
        .unwrap();
    let names: Vec<String> = (0..40).map(|i| format!("dir {}/f{i}", i % 3)).collect();
    let contents: Vec<Vec<u8>> = (0..40_u32)
        .map(|i| {
            if i % 10 == 0 {
                vec![]
            } else {
                vec![i as u8; 100 + i as usize]
            }
        })
        .collect();
    let files: Vec<(&str, &[u8])> = names
        .iter()
        .zip(&contents)
        .map(|(n, c)| (n.as_str(), c.as_slice()))
        .collect();
    storage.load("db", "t", "p", &files).unwrap();
    let big: Vec<u8> = (0..1_500_000_u32).map(|i| (i % 251) as u8).collect();
    storage
        .load(
            "db",
            "t",
            "q",
            &[("big", &big), ("twin", &big), ("small", b"s")],
        )
        .unwrap();
    storage
}

type Files = BTreeMap<(String, String), Vec<u8>>;

fn files(storage: &MemoryStorage, table: &str) -> Files {
    storage.read_back("db", table).unwrap()
}

#[test]
fn a_restore_into_an_empty_cluster_brings_every_byte_back() {
    let source = source();
    let bench = Bench::new(MemoryStorage::new(3));
    bench.back_up(&source, "db", "nightly");
    let moved = bench.restore(&job("nightly")).expect("restores");
    assert_eq!(files(&bench.storage, "t"), files(&source, "t"));
    let tables = bench.storage.tables("db").unwrap();
    assert_eq!(tables[0].access, Access::Normal);
    assert_eq!(tables[0].partitions[0].meta, partition("p", 3, 2));
    assert!(moved.bytes > 0 && moved.reused_bytes == 0);
    assert!(bench.storage.held().1.is_empty(), "forgotten");
}

#[test]
fn targets_serve_nothing_new_until_the_commit() {
    let source = source();
    let bench = Bench::new(MemoryStorage::new(3));
    bench.back_up(&source, "db", "nightly");
    bench
        .storage
        .load("db", "t", "p", &[("old", b"old")])
        .unwrap();
    // The table that is there has one bucket; it is made again as the snapshot has it.
    bench.storage.drop_table("db", "t").unwrap();
    let (schema, parts) = (MemoryStorage::loaded_schema(), vec![partition("p", 3, 2)]);
    bench
        .storage
        .create_table("db", "t", schema, parts)
        .unwrap();
    bench
        .storage
        .load("db", "t", "p", &[("old", b"old")])
        .unwrap();
    let before = files(&bench.storage, "t");
    let job = job("nightly");
    bench.up_to_commit(&job).expect("prepares");
    assert_eq!(files(&bench.storage, "t"), before);
    assert!(bench.storage.load("db", "t", "p", &[("x", b"x")]).is_err());
    bench.run(&job, Work::Commit, None).expect("commits");
    assert_eq!(files(&bench.storage, "t"), files(&source, "t"));
    bench.run(&job, Work::Commit, None).expect("commits again");
    bench.run(&job, Work::Forget, None).expect("forgets");
    assert_eq!(
        bench.storage.tables("db").unwrap()[0].partitions[0].visible_version,
        3
    );
}

#[test]
fn commit_needs_neither_repository_nor_blobs() {
    let bench = Bench::new(MemoryStorage::new(3));
    bench.back_up(&source(), "db", "nightly");
    let job = job("nightly");
    bench.up_to_commit(&job).expect("prepares");
    let (before, blobs) = (bench.requests(), bench.blob_requests());
    bench.run(&job, Work::Commit, None).expect("rolls forward");
    assert_eq!((bench.requests(), bench.blob_requests()), (before, blobs));
    bench.run(&job, Work::Forget, None).expect("forgets");
    assert_eq!(bench.requests(), before);
}

/// A bench whose one backend holds what the snapshot `nightly` of [`source`] holds.
fn restored() -> Bench {
    let bench = Bench::new(MemoryStorage::new(1));
    bench.back_up(&source(), "db", "nightly");
    bench.restore(&job("nightly")).expect("restores");
    bench
}

#[test]
fn unchanged_files_are_linked_and_not_fetched() {
    let bench = restored();
    let reads = bench.figures().requests(Request::Get);
    let parts = 1 + files(&bench.storage, "t").len() as u64;
    let moved = bench.restore(&job("nightly")).expect("restores again");
    assert_eq!(moved.bytes, 0);
    assert!(moved.reused_bytes > 3_000_000);
    // No more than the marker and the manifest parts were read.
    assert!(bench.figures().requests(Request::Get) - reads < parts);
    assert_eq!(files(&bench.storage, "t"), files(&source(), "t"));
}

#[test]
fn only_what_changed_is_fetched() {
    let bench = restored();
    bench.storage.truncate("db", "t").unwrap();
    let original = files(&source(), "t");
    let kept: Vec<(&str, &[u8])> = original
        .iter()
        .filter(|((partition, name), _)| partition == "p" && name != "dir 1/f1")
        .map(|((_, name), bytes)| (name.as_str(), bytes.as_slice()))
        .collect();
    bench.storage.load("db", "t", "p", &kept).unwrap();
    let mut job = job("nightly");
    job.selection = only("t", &["p"], None);
    let moved = bench.restore(&job).expect("restores");
    // One file of 101 bytes.
    assert_eq!((moved.bytes, moved.objects), (101, 1));
    let p = |files: Files| {
        files
            .into_iter()
            .filter(|((p, _), _)| p == "p")
            .collect::<Files>()
    };
    assert_eq!(p(files(&bench.storage, "t")), p(original));
}

fn only(table: &str, partitions: &[&str], alias: Option<&str>) -> Selection {
    Selection::Only(vec![ObjectRef {
        table: table.into(),
        partitions: partitions.iter().map(|p| (*p).to_owned()).collect(),
        alias: alias.map(str::to_owned),
    }])
}

#[test]
fn a_partition_alone_can_be_restored_under_another_name() {
    let source = source();
    let bench = Bench::new(MemoryStorage::new(1));
    bench.back_up(&source, "db", "nightly");
    let mut job = job("nightly");
    job.selection = only("t", &["q"], Some("t2"));
    let (output, _) = bench.prepare_meta(&job).expect("prepares");
    let Output::MetaPrepared {
        objects,
        replication_num,
        ..
    } = output
    else {
        panic!()
    };
    assert_eq!(objects[0].alias.as_deref(), Some("t2"));
    assert_eq!(replication_num, Some(1));
    bench.restore(&job).expect("restores");
    let mut expected = files(&source, "t");
    expected.retain(|(partition, _), _| partition == "q");
    assert_eq!(files(&bench.storage, "t2"), expected);
}

#[test]
fn equal_content_is_fetched_once_per_backend() {
    let source = source();
    let bench = Bench::new(MemoryStorage::new(1));
    bench.back_up(&source, "db", "nightly");
    let mut job = job("nightly");
    job.selection = only("t", &["q"], None);
    let moved = bench.restore(&job).expect("restores");
    assert_eq!(moved.bytes, 1_500_001);
}

#[test]
fn replicas_are_lowered_to_the_backends_with_a_note() {
    let bench = Bench::new(MemoryStorage::new(1));
    bench.back_up(&source(), "db", "nightly");
    let (output, _) = bench.prepare_meta(&job("nightly")).expect("prepares");
    let Output::MetaPrepared {
        note,
        replication_num,
        ..
    } = output
    else {
        panic!()
    };
    assert!(note.expect("note").contains("from 2 to 1"));
    assert_eq!(replication_num, Some(1));
}

#[test]
fn too_many_replicas_are_refused_before_anything_is_made() {
    let bench = Bench::new(MemoryStorage::new(1));
    bench.back_up(&source(), "db", "nightly");
    let mut job = job("nightly");
    job.replication = Replication::Fixed(2);
    let failure = bench.prepare_meta(&job).expect_err("refused");
    assert_eq!(failure.class, FailureClass::Fatal(StatusCode::CommonError));
    assert!(bench.storage.databases().unwrap().is_empty());
}

#[test]
fn the_manifest_may_be_prepared_again_after_its_targets_were_made() {
    let source = source();
    let bench = Bench::new(MemoryStorage::new(3));
    bench.back_up(&source, "db", "nightly");
    let job = job("nightly");
    let first = bench.prepare_meta(&job).expect("prepares");
    assert_eq!(bench.prepare_meta(&job).expect("prepares again"), first);
    bench.restore(&job).expect("restores");
    assert_eq!(files(&bench.storage, "t"), files(&source, "t"));
}

/// Blobs that cancel a context once something was put: a worker that is asked to let go in the middle.
struct CancelAfterPut(Arc<dyn Blobs>, Context);

impl Blobs for CancelAfterPut {
    fn put(&self, job: JobId, bytes: &[u8]) -> Result<BlobHash, BlobError> {
        let put = self.0.put(job, bytes);
        self.1.cancel_token().cancel("the job is being stopped");
        put
    }
    fn get_range(
        &self,
        job: JobId,
        hash: BlobHash,
        at: u64,
        len: u64,
    ) -> Result<Vec<u8>, BlobError> {
        self.0.get_range(job, hash, at, len)
    }
    fn len(&self, job: JobId, hash: BlobHash) -> Result<Option<u64>, BlobError> {
        self.0.len(job, hash)
    }
    fn retain_only(&self, live: &[JobId]) -> Result<(), BlobError> {
        self.0.retain_only(live)
    }
    fn remove(&self, job: JobId) -> Result<(), BlobError> {
        self.0.remove(job)
    }
}

#[test]
fn a_worker_that_was_asked_to_let_go_makes_no_targets() {
    // Of one part, so that the cancel comes after the last look at a part.
    let from = MemoryStorage::new(1);
    let schema = MemoryStorage::loaded_schema();
    from.create_table("db", "t", schema, vec![partition("p", 1, 1)])
        .unwrap();
    from.load("db", "t", "p", &[("a", b"1")]).unwrap();
    let mut bench = Bench::new(MemoryStorage::new(1));
    bench.back_up(&from, "db", "label");
    let blobs = Arc::clone(&bench.env.blobs);
    bench.env.blobs = Arc::new(CancelAfterPut(blobs, bench.context.clone()));
    let failure = bench.prepare_meta(&job("label")).unwrap_err();
    assert_eq!(failure.class, FailureClass::Stopped, "{}", failure.message);
    assert!(bench.storage.databases().unwrap().is_empty());
}

#[test]
fn tasks_are_cut_by_the_limits_and_cover_everything_once() {
    let source = source();
    let mut bench = Bench::new(MemoryStorage::new(2));
    bench.env.limits = Limits {
        tablets_per_task: 1,
        bytes_per_task: 1,
        files_per_task: 1,
    };
    bench.back_up(&source, "db", "nightly");
    let (output, _) = bench.prepare_meta(&job("nightly")).expect("prepares");
    let Output::MetaPrepared { lanes, .. } = output else {
        panic!()
    };
    // Three buckets on both backends, one bucket on one of them.
    assert_eq!(lanes.iter().map(|lane| lane.tasks).sum::<u32>(), 7);
    assert_eq!(lanes.len(), 2);
    bench.restore(&job("nightly")).expect("restores");
    assert_eq!(files(&bench.storage, "t"), files(&source, "t"));
}

#[test]
fn an_empty_table_is_restored_without_any_download() {
    let source = MemoryStorage::new(1);
    let (schema, parts) = (MemoryStorage::loaded_schema(), vec![partition("p", 2, 1)]);
    source.create_table("db", "t", schema, parts).unwrap();
    let bench = Bench::new(MemoryStorage::new(1));
    bench.back_up(&source, "db", "nightly");
    let moved = bench.restore(&job("nightly")).expect("restores");
    assert_eq!((moved.bytes, moved.downloads), (0, 0));
    assert_eq!(bench.storage.tables("db").unwrap()[0].partitions.len(), 1);
}

#[test]
fn abort_leaves_the_targets_as_they_were() {
    let bench = Bench::new(source());
    bench.back_up(&bench.storage, "db", "nightly");
    bench
        .storage
        .load("db", "t", "q", &[("later", b"x")])
        .unwrap();
    let before = (
        files(&bench.storage, "t"),
        bench.storage.tables("db").unwrap(),
    );
    let mut job = job("nightly");
    job.database = "other".into();
    bench.up_to_commit(&job).expect("prepares");
    bench.run(&job, Work::Abort, None).expect("aborts");
    assert_eq!(bench.storage.databases().unwrap(), ["db"]);
    job.database = "db".into();
    bench.up_to_commit(&job).expect("prepares");
    bench.run(&job, Work::Abort, None).expect("aborts");
    bench.run(&job, Work::Abort, None).expect("aborts again");
    assert_eq!(
        (
            files(&bench.storage, "t"),
            bench.storage.tables("db").unwrap()
        ),
        before
    );
}

#[test]
fn an_attempt_after_a_restart_fetches_only_what_is_missing() {
    let source = source();
    let bench = Bench::new(MemoryStorage::new(1));
    bench.back_up(&source, "db", "nightly");
    let job = job("nightly");
    let plans = bench.up_to_download(&job).expect("plans");
    // The storage is full after a while.
    let calls = bench.storage.calls(CallKind::StageFile);
    let storage = bench.storage.clone();
    bench.storage.set_hook(move |call| {
        if call.kind == CallKind::StageFile && storage.calls(CallKind::StageFile) > calls + 20 {
            return Err(holdfast_storage::Error::new(
                ErrorKind::Full,
                "disk is full",
            ));
        }
        Ok(())
    });
    let failure = bench
        .downloads(&job, &plans, 1, Epoch(1))
        .expect_err("full");
    assert_eq!(failure.class, FailureClass::Retry);
    bench.storage.clear_hook();
    let moved = bench.downloads(&job, &plans, 2, Epoch(2)).expect("goes on");
    assert!(moved.reused_bytes > 0, "{moved:?}");
    let again = bench
        .downloads(&job, &plans, 3, Epoch(2))
        .expect("once more");
    assert_eq!(again.bytes, 0);
    for work in [Work::Prepare, Work::Commit, Work::Forget] {
        bench.run(&job, work, None).expect("ends");
    }
    assert_eq!(files(&bench.storage, "t"), files(&source, "t"));
}

#[test]
fn a_download_is_never_fenced_by_the_attempts_of_its_staging() {
    let bench = Bench::new(MemoryStorage::new(1));
    bench.back_up(&source(), "db", "nightly");
    let job = job("nightly");
    let (_, plan) = bench.prepare_meta(&job).expect("prepares");
    for attempt in 1..=5 {
        bench
            .run_attempt(&job, Work::Stage, Some(plan), 0, attempt, Epoch(1))
            .expect("stages");
    }
    let (_, download) = bench.plan_download(&job, plan).expect("plans");
    bench
        .run_attempt(&job, Work::Download, Some(download), 0, 1, Epoch(1))
        .expect("downloads");
    let stale = bench.run_attempt(&job, Work::Stage, Some(plan), 0, 5, Epoch(1));
    assert_eq!(stale.expect_err("stale").class, FailureClass::Stopped);
    assert_eq!(bench.storage.held().1, [holdfast_storage::OpId(JOB.0)]);
}

#[test]
fn a_file_of_several_segments_is_fetched_segment_by_segment() {
    let mut big = vec![1_u8; 64 << 20];
    big.extend_from_slice(&[2; 1000]);
    let source = MemoryStorage::new(1);
    source.load("db", "t", "t", &[("big", &big)]).unwrap();
    let bench = Bench::new(MemoryStorage::new(1));
    bench.back_up(&source, "db", "nightly");
    let last = ContentHash::of(&[2; 1000]).to_string();
    let flip = Trouble::Corrupt { at: 999 };
    bench
        .faults
        .add(FaultRule::on(Request::Get, When::Always, flip).named(last.clone()));
    let failure = bench.restore(&job("nightly")).expect_err("damaged");
    assert_eq!(failure.class, FailureClass::Fatal(StatusCode::BadFile));
    // The second reading proves each segment, and so knows which one it is.
    assert!(failure.message.contains(&last), "{}", failure.message);
    bench.faults.clear();
    bench
        .run(&job("nightly"), Work::Abort, None)
        .expect("aborts");
    let moved = bench.restore(&job("nightly")).expect("restores");
    assert_eq!((moved.bytes, moved.objects), (big.len() as u64, 2));
    assert!(files(&bench.storage, "t").into_values().eq([big]));
}
