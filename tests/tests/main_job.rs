//! The main job on real parts: what is backed up comes back, to the byte, whatever happened in between.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_broker::{
    Broker, Calls, Fault, FaultPlan, FaultRule, Record, Recorder, Request, Trouble, When,
};
use holdfast_engine::{
    Clean, JobId, JobKind, JobView, RefusalCode, Replication, RepositoryAccess, Selection,
};
use holdfast_storage::{AllowLoad, LoadRequest, Storage};
use holdfast_tests::{
    Node, assert_finished, backup, noise, odd_files, refused, repository, restore, table, tree,
};
use parking_lot::Mutex;

struct Place {
    root: tempfile::TempDir,
}

impl Place {
    fn new() -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
        }
    }

    fn dir(&self, name: &str) -> std::path::PathBuf {
        let dir = self.root.path().join(name);
        std::fs::create_dir_all(&dir).unwrap();
        dir
    }
}

/// Files of several sizes: packed ones, single objects, and one of more than a segment.
fn mixed_files(dir: &Path, seed: u64) {
    std::fs::write(dir.join("empty"), b"").unwrap();
    for n in 0..20 {
        std::fs::write(
            dir.join(format!("small-{n}")),
            noise(seed + n, 3_000 + n as usize),
        )
        .unwrap();
    }
    std::fs::write(dir.join("big"), noise(seed + 100, 5_000_000)).unwrap();
    std::fs::write(dir.join("huge"), noise(seed + 101, (64 << 20) + 12_345)).unwrap();
}

#[test]
fn every_byte_of_mixed_tables_comes_back_after_they_are_dropped() {
    let place = Place::new();
    let node = Node::open(&place.dir("node"));
    let files = place.dir("files");
    mixed_files(&files, 1);
    node.load("t", Some("p1"), &files, 2);
    let odd = place.dir("odd");
    odd_files(&odd, 700, 9);
    node.load("odd", None, &odd, 1);
    node.storage
        .create_table("db", "empty", loaded_schema(), vec![])
        .unwrap();
    node.repository("repo", &place.dir("remote"));
    let before = (node.content("db", "t"), node.content("db", "odd"));
    assert_eq!(before.0.len(), 23);

    let view = node.backup("s1");
    assert_finished(&view);
    for name in ["t", "odd", "empty"] {
        node.storage.drop_table("db", name).unwrap();
    }
    let stamp = node.timestamp("repo", "s1");
    let view = node.restore(&restore("s1", &stamp));
    assert_finished(&view);
    assert!(node.content("db", "t") == before.0);
    assert!(node.content("db", "odd") == before.1);
    assert!(node.content("db", "empty").is_empty());
}

fn loaded_schema() -> holdfast_storage::model::TableSchema {
    use holdfast_storage::model::{Distribution, KeysType, Partitioning, TableSchema};
    TableSchema {
        columns: Vec::new(),
        keys_type: KeysType::Duplicate,
        key_columns: Vec::new(),
        partitioning: Partitioning::List {
            columns: Vec::new(),
        },
        distribution: Distribution::Hash {
            columns: Vec::new(),
        },
        comment: String::new(),
        properties: std::collections::BTreeMap::new(),
    }
}

/// A node whose repository's requests are counted.
fn counted(dir: &Path) -> (Node, Arc<Mutex<Vec<Recorder>>>) {
    let recorders: Arc<Mutex<Vec<Recorder>>> = Arc::default();
    let kept = Arc::clone(&recorders);
    let node = Node::open_with(
        dir,
        Arc::new(move |broker| {
            let record = Record::new(broker, Calls::Kept(100_000));
            kept.lock().push(record.recorder());
            Arc::new(record) as Arc<dyn Broker>
        }),
    );
    (node, recorders)
}

/// Bytes put under the names of data objects so far.
fn data_puts(recorders: &Mutex<Vec<Recorder>>) -> usize {
    recorders
        .lock()
        .iter()
        .flat_map(|recorder| recorder.calls())
        .filter(|call| call.request == Request::Put)
        .filter(|call| call.name.contains("/objects/") || call.name.contains("/packs/"))
        .count()
}

#[test]
fn a_second_backup_of_unchanged_data_sends_no_object_and_a_changed_file_only_itself() {
    let place = Place::new();
    let (node, recorders) = counted(&place.dir("node"));
    let files = place.dir("files");
    mixed_files(&files, 1);
    node.load("t", Some("p1"), &files, 1);
    node.repository("repo", &place.dir("remote"));
    let first = node.backup("s1");
    assert_finished(&first);
    let sent = data_puts(&recorders);
    assert!(sent > 3, "{sent}");

    let second = node.backup("s2");
    assert_finished(&second);
    assert_eq!(data_puts(&recorders), sent);
    assert_eq!(second.common().moved_bytes, 0);
    assert_eq!(second.common().reused_bytes, first.common().total_bytes);

    let more = place.dir("more");
    std::fs::write(more.join("new"), noise(77, 2_000_000)).unwrap();
    node.load("t", Some("p1"), &more, 1);
    let third = node.backup("s3");
    assert_finished(&third);
    assert_eq!(data_puts(&recorders), sent + 1);
    assert_eq!(third.common().moved_bytes, 2_000_000);
}

#[test]
fn what_is_changed_after_the_pin_is_not_in_the_backup() {
    let place = Place::new();
    let gate = FaultPlan::new(1);
    let plan = gate.clone();
    let node = Node::open_with(
        &place.dir("node"),
        Arc::new(move |broker| Arc::new(Fault::new(broker, plan.clone())) as Arc<dyn Broker>),
    );
    let files = place.dir("files");
    mixed_files(&files, 1);
    node.load("t", Some("p1"), &files, 1);
    node.load("gone", None, &files, 1);
    let before = (node.content("db", "t"), node.content("db", "gone"));
    node.repository("repo", &place.dir("remote"));
    gate.add(
        FaultRule::on(
            Request::Put,
            When::Always,
            Trouble::Delay(Duration::from_millis(300)),
        )
        .named("/objects/"),
    );
    let job = node.engine.backup(&backup("s1")).unwrap();
    let deadline = Instant::now() + Duration::from_secs(60);
    while node
        .engine
        .wait(job, Duration::ZERO)
        .unwrap()
        .common()
        .snapshot_finished_ms
        .is_none()
    {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(2));
    }
    let more = place.dir("more");
    std::fs::write(more.join("late"), b"late").unwrap();
    node.load("t", Some("p1"), &more, 1);
    node.storage.drop_table("db", "gone").unwrap();
    assert!(
        !node.engine.wait(job, Duration::ZERO).unwrap().has_ended(),
        "the test came too late"
    );
    assert_finished(&node.ended(job));

    let stamp = node.timestamp("repo", "s1");
    assert_finished(&node.restore(&restore("s1", &stamp)));
    assert!(node.content("db", "t") == before.0);
    assert!(node.content("db", "gone") == before.1);
}

#[test]
fn an_overwriting_restore_that_fails_half_way_leaves_the_previous_data() {
    let place = Place::new();
    let troubles = FaultPlan::new(3);
    let plan = troubles.clone();
    let node = Node::open_with(
        &place.dir("node"),
        Arc::new(move |broker| Arc::new(Fault::new(broker, plan.clone())) as Arc<dyn Broker>),
    );
    let files = place.dir("files");
    mixed_files(&files, 1);
    node.load("t", Some("p1"), &files, 2);
    node.repository("repo", &place.dir("remote"));
    assert_finished(&node.backup("s1"));
    let stamp = node.timestamp("repo", "s1");

    node.storage.truncate_table("db", "t", None).unwrap();
    let newer = place.dir("newer");
    std::fs::write(newer.join("newer"), b"newer data").unwrap();
    node.load("t", Some("p1"), &newer, 2);
    let previous = node.content("db", "t");

    troubles.add(
        FaultRule::on(
            Request::Get,
            When::Every(2),
            Trouble::Fail(holdfast_broker::ErrorClass::Denied),
        )
        .named("/objects/"),
    );
    let job = node.engine.restore(&restore("s1", &stamp)).unwrap();
    let view = node.ended(job);
    assert_eq!(view.state_name(), "CANCELLED", "{view:?}");
    assert!(node.content("db", "t") == previous);
    // Nothing is held any more: a load and a second restore go through.
    let more = place.dir("more");
    std::fs::write(more.join("more"), b"more").unwrap();
    node.load("t", Some("p1"), &more, 2);
    troubles.clear();
    assert_finished(&node.restore(&restore("s1", &stamp)));
    assert_eq!(node.content("db", "t").len(), 23);
}

#[test]
fn a_second_cluster_restores_tables_that_it_never_had() {
    let place = Place::new();
    let remote = place.dir("remote");
    let files = place.dir("files");
    mixed_files(&files, 1);
    let other = place.dir("other");
    odd_files(&other, 60, 5);
    let (before, before_p2, stamp) = {
        let old = Node::open(&place.dir("old"));
        old.load("t", Some("p1"), &files, 2);
        old.load("t", Some("p2"), &other, 2);
        old.repository("repo", &remote);
        assert_finished(&old.backup("s1"));
        let all = old.content("db", "t");
        let p2: std::collections::BTreeMap<_, _> = all
            .clone()
            .into_iter()
            .filter(|(name, _)| name.starts_with("p2/"))
            .collect();
        (all, p2, old.timestamp("repo", "s1"))
    };
    let new = Node::open(&place.dir("new"));
    new.engine
        .create_repository(&repository("repo", &remote, RepositoryAccess::ReadOnly))
        .unwrap();
    let refusal = refused(new.engine.backup(&backup("s9")));
    assert_eq!(refusal.code, RefusalCode::DatabaseNotFound);
    assert_finished(&new.restore(&restore("s1", &stamp)));
    assert!(new.content("db", "t") == before);
    let refusal = refused(new.engine.backup(&backup("s9")));
    assert_eq!(refusal.code, RefusalCode::RepositoryReadOnly);

    // Another name, another database, one partition, another replica count.
    let mut request = restore("s1", &stamp);
    request.database = "elsewhere".to_owned();
    let mut object = table("t", &["p2"]);
    object.alias = Some("renamed".to_owned());
    request.selection = Selection::Only(vec![object]);
    request.replication = Replication::Fixed(3);
    assert_finished(&new.restore(&request));
    assert!(new.content("elsewhere", "renamed") == before_p2);
    let tables = new.storage.tables("elsewhere").unwrap();
    assert_eq!(tables[0].partitions[0].meta.replication_num, 3);

    // The other partition later, into the table that is there now, with its own count.
    let mut object = table("t", &["p1"]);
    object.alias = Some("renamed".to_owned());
    request.selection = Selection::Only(vec![object]);
    let view = new.restore(&request);
    assert_eq!(
        view.state_name(),
        "CANCELLED",
        "an alias onto an existing table is refused"
    );
    assert!(new.content("elsewhere", "renamed") == before_p2);
}

#[test]
fn partitions_come_back_one_by_one_and_the_others_stay() {
    let place = Place::new();
    let node = Node::open(&place.dir("node"));
    for (partition, seed) in [("p1", 1), ("p2", 2)] {
        let files = place.dir(partition);
        odd_files(&files, 40, seed * 1_000);
        node.load("t", Some(partition), &files, 1);
    }
    node.repository("repo", &place.dir("remote"));
    let before = node.content("db", "t");
    assert_finished(&node.backup("s1"));
    let stamp = node.timestamp("repo", "s1");
    node.storage.truncate_table("db", "t", None).unwrap();
    let mut request = restore("s1", &stamp);
    request.selection = Selection::Only(vec![table("t", &["p2"])]);
    assert_finished(&node.restore(&request));
    let half = node.content("db", "t");
    assert!(half.keys().all(|name| name.starts_with("p2/")) && !half.is_empty());
    request.selection = Selection::Except(vec![table("t", &["p2"])]);
    assert_finished(&node.restore(&request));
    assert!(node.content("db", "t") == before);
}

#[test]
fn a_hanging_remote_does_not_hold_a_cancel_and_its_label_is_free_again() {
    let place = Place::new();
    let troubles = FaultPlan::new(4);
    let plan = troubles.clone();
    let node = Node::open_with(
        &place.dir("node"),
        Arc::new(move |broker| Arc::new(Fault::new(broker, plan.clone())) as Arc<dyn Broker>),
    );
    let files = place.dir("files");
    mixed_files(&files, 1);
    node.load("t", None, &files, 1);
    let remote = place.dir("remote");
    node.repository("repo", &remote);
    troubles.add(FaultRule::on(Request::Put, When::Always, Trouble::Hang).named("/objects/"));
    let job = node.engine.backup(&backup("s1")).unwrap();
    std::thread::sleep(Duration::from_millis(500));
    let refusal = refused(node.engine.backup(&backup("s2")));
    assert!(
        refusal.message.contains(&format!("job {job} ")),
        "{refusal}"
    );
    let began = Instant::now();
    node.engine.cancel(JobKind::Backup, "db").unwrap();
    let view = node.ended(job);
    assert_eq!(view.state_name(), "CANCELLED");
    assert!(
        began.elapsed() < Duration::from_secs(10),
        "{:?}",
        began.elapsed()
    );
    troubles.clear();
    assert_finished(&node.backup("s1"));
    let JobView::Backup(_) = node.backup("s2").as_ref() else {
        panic!("a backup")
    };
}

#[test]
fn jobs_of_two_databases_run_together_on_one_repository() {
    let place = Place::new();
    let node = Node::open(&place.dir("node"));
    let files = place.dir("files");
    mixed_files(&files, 1);
    node.load("t", None, &files, 1);
    let mut request = holdfast_storage::LoadRequest::new("db2", "t", vec![files]);
    request.buckets = 2;
    node.storage.load(&request).unwrap();
    node.repository("repo", &place.dir("remote"));
    let one = node.engine.backup(&backup("s1")).unwrap();
    let mut second = backup("s2");
    second.database = "db2".to_owned();
    let two = node.engine.backup(&second).unwrap();
    assert_eq!(node.engine.active().len(), 2);
    assert_finished(&node.ended(one));
    assert_finished(&node.ended(two));
}

#[test]
fn objects_deleted_by_hand_are_sent_again_by_the_next_backup() {
    let place = Place::new();
    let node = Node::open(&place.dir("node"));
    let files = place.dir("files");
    mixed_files(&files, 1);
    node.load("t", None, &files, 1);
    let remote = place.dir("remote");
    node.repository("repo", &remote);
    assert_finished(&node.backup("s1"));
    let inside = remote.join("__holdfast_repository_repo");
    std::fs::remove_dir_all(inside.join("objects")).unwrap();
    std::fs::remove_dir_all(inside.join("__ss_s1")).unwrap();
    let again = node.backup("s1");
    assert_finished(&again);
    assert!(again.common().moved_bytes > 64 << 20);
    let before = node.content("db", "t");
    node.storage.drop_table("db", "t").unwrap();
    let stamp = node.timestamp("repo", "s1");
    assert_finished(&node.restore(&restore("s1", &stamp)));
    assert!(node.content("db", "t") == before);
    assert!(!tree(&inside).is_empty());
}

#[test]
fn a_damaged_replica_is_left_for_another() {
    let place = Place::new();
    let node = Node::open(&place.dir("node"));
    let files = place.dir("files");
    mixed_files(&files, 1);
    node.load("t", None, &files, 2);
    let before = node.content("db", "t");
    node.repository("repo", &place.dir("remote"));
    // One byte of every data file on one backend is flipped, in place.
    let backends = node.dir.join("storage/backends");
    let victim = std::fs::read_dir(&backends)
        .unwrap()
        .next()
        .unwrap()
        .unwrap()
        .path();
    let mut flipped = 0;
    for (name, mut bytes) in tree(&victim) {
        if let Some(byte) = bytes.first_mut() {
            *byte ^= 1;
            std::fs::write(victim.join(name), bytes).unwrap();
            flipped += 1;
        }
    }
    assert!(flipped > 0);
    let view = node.backup("s1");
    assert_finished(&view);
    node.storage.drop_table("db", "t").unwrap();
    let stamp = node.timestamp("repo", "s1");
    assert_finished(&node.restore(&restore("s1", &stamp)));
    assert!(node.content("db", "t") == before);
}

#[test]
fn a_table_moves_partition_by_partition_each_with_its_own_replication() {
    let place = Place::new();
    let remote = place.dir("remote");
    let (before, stamp) = {
        let old = Node::open(&place.dir("old"));
        for (partition, seed) in [("p1", 1), ("p2", 2)] {
            let files = place.dir(partition);
            odd_files(&files, 40, seed * 1_000);
            old.load("t", Some(partition), &files, 2);
        }
        old.repository("repo", &remote);
        assert_finished(&old.backup("s1"));
        (old.content("db", "t"), old.timestamp("repo", "s1"))
    };
    let new = Node::open(&place.dir("new"));
    new.engine
        .create_repository(&repository("repo", &remote, RepositoryAccess::ReadOnly))
        .unwrap();
    let mut request = restore("s1", &stamp);
    for (partition, count) in [("p1", 1), ("p2", 3)] {
        request.selection = Selection::Only(vec![table("t", &[partition])]);
        request.replication = Replication::Fixed(count);
        assert_finished(&new.restore(&request));
    }
    assert!(new.content("db", "t") == before);
    let tables = new.storage.tables("db").unwrap();
    assert_eq!(tables.len(), 1);
    let counts: Vec<_> = tables[0]
        .partitions
        .iter()
        .map(|partition| (partition.meta.name.as_str(), partition.meta.replication_num))
        .collect();
    assert_eq!(counts, [("p1", 1), ("p2", 3)]);
}

/// A node whose remote has the troubles of a plan, with a snapshot `s1` of tables `t` (partitions
/// `p1` and `p2`) and `u`, after which `p1` got other data; the snapshot's timestamp.
fn changed_since_backup(place: &Place, troubles: &FaultPlan) -> (Node, String) {
    let plan = troubles.clone();
    let node = Node::open_with(
        &place.dir("node"),
        Arc::new(move |broker| Arc::new(Fault::new(broker, plan.clone())) as Arc<dyn Broker>),
    );
    for (name, partition) in [("t", Some("p1")), ("t", Some("p2")), ("u", None)] {
        load_one(place, &node, name, partition, 5_000_000).unwrap();
    }
    node.repository("repo", &place.dir("remote"));
    assert_finished(&node.backup("s1"));
    let p1 = ["p1".to_owned()];
    node.storage.truncate_table("db", "t", Some(&p1)).unwrap();
    load_one(place, &node, "t", Some("p1"), 100).unwrap();
    let stamp = node.timestamp("repo", "s1");
    (node, stamp)
}

/// Loads one file of so many bytes, the same for the same place and length.
fn load_one(
    place: &Place,
    node: &Node,
    name: &str,
    partition: Option<&str>,
    len: usize,
) -> Result<(), holdfast_storage::Error> {
    let what = format!("{name}-{}-{len}", partition.unwrap_or("all"));
    let files = place.dir(&what);
    let seed = what.bytes().map(u64::from).sum();
    std::fs::write(files.join(&what), noise(seed, len)).unwrap();
    let mut request = LoadRequest::new("db", name, vec![files]);
    request.partition = partition.map(str::to_owned);
    request.buckets = 3;
    request.replication_num = 1;
    node.storage.load(&request).map(|_| ())
}

type Files = std::collections::BTreeMap<String, Vec<u8>>;

/// Every table's name, partitions and content.
fn everything(node: &Node) -> Vec<(String, Vec<String>, Files)> {
    let tables = node.storage.tables("db").unwrap();
    tables
        .into_iter()
        .map(|table| {
            let names = table.partitions.into_iter().map(|p| p.meta.name).collect();
            let content = node.content("db", &table.name);
            (table.name, names, content)
        })
        .collect()
}

/// Names of tables and of the partitions of `t`.
fn names(node: &Node) -> (Vec<String>, Vec<String>) {
    let all = everything(node);
    let t = all.iter().find(|(name, ..)| name == "t").unwrap();
    let partitions = t.1.clone();
    (all.into_iter().map(|(name, ..)| name).collect(), partitions)
}

fn until_downloading(node: &Node, job: JobId) {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let view = node.engine.wait(job, Duration::ZERO).unwrap();
        if view.state_name() == "DOWNLOADING" {
            return;
        }
        assert!(!view.has_ended() && Instant::now() < deadline, "{view:?}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn what_a_restore_cleans_is_gone_once_it_finished_and_untouched_unless_it_did() {
    let place = Place::new();
    let troubles = FaultPlan::new(5);
    let (node, stamp) = changed_since_backup(&place, &troubles);
    let extras = |len: usize| {
        load_one(&place, &node, "t", Some("p3"), len).unwrap();
        load_one(&place, &node, "extra", None, len).unwrap();
    };
    extras(200);
    let before = everything(&node);
    let mut request = restore("s1", &stamp);
    request.clean = Clean {
        tables: true,
        partitions: true,
    };

    let denied = Trouble::Fail(holdfast_broker::ErrorClass::Denied);
    troubles.add(FaultRule::on(Request::Get, When::Always, denied).named("/objects/"));
    assert_eq!(node.restore(&request).state_name(), "CANCELLED");
    assert!(everything(&node) == before, "after a failed restore");

    troubles.clear();
    troubles.add(FaultRule::on(Request::Get, When::Always, Trouble::Hang).named("/objects/"));
    let job = node.engine.restore(&request).unwrap();
    until_downloading(&node, job);
    node.engine.cancel(JobKind::Restore, "db").unwrap();
    assert_eq!(node.ended(job).state_name(), "CANCELLED");
    assert!(everything(&node) == before, "after a cancelled restore");
    troubles.clear();

    let cleans = [(false, false), (false, true), (true, false), (true, true)];
    for (len, (tables, partitions)) in (201..).zip(cleans) {
        extras(len);
        request.clean = Clean { tables, partitions };
        assert_finished(&node.restore(&request));
        let (left_tables, left_partitions) = names(&node);
        let has = |names: &[String], name: &str| names.iter().any(|n| n == name);
        assert_eq!(has(&left_tables, "extra"), !tables, "{left_tables:?}");
        assert_eq!(
            has(&left_partitions, "p3"),
            !partitions,
            "{left_partitions:?}"
        );
        for kept in ["t", "u"] {
            assert!(has(&left_tables, kept), "{left_tables:?}");
        }
        assert_eq!(left_partitions[..2], ["p1", "p2"]);
    }
    let files: usize = everything(&node)
        .iter()
        .map(|(.., files)| files.len())
        .sum();
    assert_eq!(files, 3, "what the snapshot holds and nothing else");
}

#[test]
fn loads_beside_a_restore_are_refused_unless_allowed_and_into_what_it_does_not_touch() {
    let place = Place::new();
    let troubles = FaultPlan::new(6);
    let (node, stamp) = changed_since_backup(&place, &troubles);
    let mut request = restore("s1", &stamp);
    request.selection = Selection::Only(vec![table("t", &["p1"])]);
    let refused_by = |job: JobId, partition: &str| {
        let error = load_one(&place, &node, "t", Some(partition), 400).unwrap_err();
        assert_eq!(error.kind(), holdfast_storage::ErrorKind::Busy, "{error}");
        let text = error.to_string();
        assert!(text.ends_with(&format!("by job {job}")), "{text}");
    };
    let before = everything(&node);

    troubles.add(FaultRule::on(Request::Get, When::Always, Trouble::Hang).named("/objects/"));
    let job = node.engine.restore(&request).unwrap();
    until_downloading(&node, job);
    refused_by(job, "p1");
    refused_by(job, "p2");
    // A table that is no part of the job is free in any case.
    load_one(&place, &node, "u", None, 400).unwrap();
    node.engine.cancel(JobKind::Restore, "db").unwrap();
    assert_eq!(node.ended(job).state_name(), "CANCELLED");
    assert!(node.content("db", "t") == before[0].2);

    troubles.clear();
    let slow = Trouble::Delay(Duration::from_secs(2));
    troubles.add(FaultRule::on(Request::Get, When::Always, slow).named("/objects/"));
    request.allow_load = AllowLoad::UntouchedPartitions;
    let job = node.engine.restore(&request).unwrap();
    until_downloading(&node, job);
    refused_by(job, "p1");
    load_one(&place, &node, "t", Some("p2"), 400).unwrap();
    let view = node.engine.wait(job, Duration::ZERO).unwrap();
    assert!(!view.has_ended(), "the test came too late");
    assert_finished(&node.ended(job));
    let content = node.content("db", "t");
    let found: Vec<&str> = content.keys().map(String::as_str).collect();
    let expected = ["p1/t-p1-5000000", "p2/t-p2-400", "p2/t-p2-5000000"];
    assert_eq!(found, expected, "the load and the restore");
}
