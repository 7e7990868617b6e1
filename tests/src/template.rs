//! What a test of interrupted jobs begins with and is judged by: a node in a folder of its own,
//! copied for every run, and the content of its tables before and after.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_broker::{Broker, Context, LocalBroker};
use holdfast_engine::{Event, JobId, JobKind};
use holdfast_journal::{Event as _, Journal as _, Kind, Seq};
use holdfast_storage::{ErrorKind, ExportRequest, LocalStorage};

use crate::place::{copy_tree, fingerprint, is_immutable, leftovers_of_remote};
use crate::traffic::Logged;
use crate::{Node, assert_finished, noise, odd_files};

/// The tables of a template.
pub const TABLES: [&str; 3] = ["a", "b", "c"];

/// A node whose repository lies at `remote` wherever the journal says it does, each request written
/// down.
pub fn open_at(root: &Path, log: Option<PathBuf>) -> Node {
    let remote = root.join("remote");
    Node::open_with(
        &root.join("node"),
        Arc::new(move |_| {
            let local: Arc<dyn Broker> = Arc::new(LocalBroker::open(&remote).unwrap());
            match &log {
                Some(log) => Arc::new(Logged::new(local, log)) as Arc<dyn Broker>,
                None => local,
            }
        }),
    )
}

/// As [`open_at`] without a log, or the words with which a part of the node refuses to open.
pub fn try_open_at(root: &Path) -> Result<Node, String> {
    let remote = root.join("remote");
    let wrap = move |_| Arc::new(LocalBroker::open(&remote).unwrap()) as Arc<dyn Broker>;
    Node::try_open(&root.join("node"), Arc::new(wrap), |_| {})
}

/// The label of the job of this kind.
pub fn label(kind: JobKind) -> &'static str {
    if kind == JobKind::Backup {
        "killed"
    } else {
        "s1"
    }
}

/// How much each partition of the largest table holds; the others hold less.
#[derive(Clone, Copy)]
pub struct Size {
    /// Files of one to two and a half megabytes.
    pub big: u64,
    /// Files from nothing to 64 KiB with odd names.
    pub small: usize,
}

/// What every round of a test begins with, and what its end is judged by.
pub struct Template {
    pub root: tempfile::TempDir,
    /// Content of the tables before the job.
    pub before: BTreeMap<&'static str, Option<String>>,
    /// Content of the tables of the snapshot.
    pub in_snapshot: BTreeMap<&'static str, Option<String>>,
}

fn table_files(dir: &Path, seed: u64, big: u64, small: usize) {
    std::fs::create_dir_all(dir).unwrap();
    for n in 0..big {
        let len = 1_100_000 + (seed + n) * 7_919 % 1_500_000;
        std::fs::write(
            dir.join(format!("big {n}")),
            noise(seed * 1_000 + n, len as usize),
        )
        .unwrap();
    }
    odd_files(dir, small, seed * 1_000_000);
}

fn load_all(node: &Node, root: &Path, size: Size) {
    let Size { big, small } = size;
    let sizes = [
        ("a", big, small, 2),
        ("b", big / 2, small / 2, 1),
        ("c", big / 4, small / 3, 1),
    ];
    for (table, big, small, replicas) in sizes {
        for partition in ["p1", "p2"] {
            let files = root.join(format!("files-{table}-{partition}"));
            let seed = u64::from(table.as_bytes()[0]) * 10 + u64::from(partition.as_bytes()[1]);
            table_files(&files, seed, big, small);
            node.load(table, Some(partition), &files, replicas);
        }
    }
}

impl Template {
    /// A node with tables and a repository; for a restore also a snapshot, with other data in the
    /// tables by now.
    pub fn new(kind: JobKind, size: Size) -> Self {
        let root = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(root.path().join("remote")).unwrap();
        let node = open_at(root.path(), None);
        load_all(&node, root.path(), size);
        node.repository("repo", &root.path().join("remote"));
        if kind == JobKind::Restore {
            assert_finished(&node.backup(label(kind)));
        }
        drop(node);
        let in_snapshot = contents(root.path());
        if kind == JobKind::Restore {
            let node = open_at(root.path(), None);
            for (table, seed) in [("a", 5), ("b", 6)] {
                node.storage.truncate_table("db", table, None).unwrap();
                let files = root.path().join(format!("files-newer-{table}"));
                table_files(&files, seed, size.big.min(2), 10);
                node.load(table, Some("p1"), &files, 1);
                // Some files that the snapshot holds too, and that a restore may reuse.
                let same = root.path().join(format!("files-{table}-p2"));
                if size.big > 0 && table == "a" {
                    std::fs::remove_file(same.join("big 0")).unwrap();
                }
                node.load(table, Some("p2"), &same, 1);
            }
            node.storage.drop_table("db", "c").unwrap();
        }
        let before = contents(root.path());
        Self {
            root,
            before,
            in_snapshot,
        }
    }

    /// A copy to work in.
    pub fn copy(&self) -> tempfile::TempDir {
        let to = tempfile::tempdir().unwrap();
        for folder in ["node", "remote"] {
            copy_tree(
                &self.root.path().join(folder),
                &to.path().join(folder),
                &is_immutable,
            );
        }
        to
    }
}

/// Opens the storage of a closed node. A process that another test is just starting holds a copy of all open files for
/// a moment, and with them the lock.
fn opened(folder: &Path) -> LocalStorage {
    let patience = Instant::now() + Duration::from_secs(20);
    loop {
        match LocalStorage::open(folder, Default::default()) {
            Err(e) if e.kind() == ErrorKind::Locked && Instant::now() < patience => {
                std::thread::sleep(Duration::from_millis(20));
            }
            opened => return opened.unwrap(),
        }
    }
}

/// The content of each table of a closed node; `None` where there is none to be read.
pub fn contents(root: &Path) -> BTreeMap<&'static str, Option<String>> {
    let storage = opened(&root.join("node/storage"));
    let read = |table: &str| {
        let out = tempfile::tempdir().unwrap();
        let to = out.path().join("out");
        match storage.export(&ExportRequest::new("db", table, &to)) {
            Ok(report) => {
                assert!(report.faults.is_empty(), "{:?}", report.faults);
                Some(fingerprint(&to))
            }
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Busy) => None,
            Err(e) => panic!("table {table} cannot be read: {e}"),
        }
    };
    TABLES.iter().map(|table| (*table, read(table))).collect()
}

/// Waits until nothing of an ended job is held any more.
pub fn released(node: &Node, job: JobId) {
    let released = Kind(
        Event::kinds()
            .iter()
            .find(|kind| kind.1 == "JobReleased")
            .unwrap()
            .0,
    );
    let is_released = || {
        let found = node
            .journal
            .by_kind(released, Seq::FIRST, usize::MAX)
            .unwrap();
        found.iter().any(|record| record.stream.get() == job.0)
    };
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_released() {
        assert!(Instant::now() < deadline, "job {job} is never released");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// With the tables gone nothing may hold a data file of a closed node: no pin, no restore.
pub fn assert_nothing_is_held(root: &Path) {
    let node = root.join("node");
    let storage = LocalStorage::open(node.join("storage"), Default::default()).unwrap();
    for table in TABLES {
        match storage.drop_table("db", table) {
            Err(e) if e.kind() != ErrorKind::NotFound => panic!("table {table}: {e}"),
            _ => {}
        }
    }
    drop(storage);
    assert_eq!(crate::place::held_files(&node), Vec::<String>::new());
}

/// Nothing of a writer may be left. What a kill between the link to an object's name and the removal
/// of its temporary name leaves is a second name of the object: it takes no space, and a sweep takes
/// it away.
pub fn assert_remote_is_clean(root: &Path) {
    use std::os::unix::fs::MetadataExt as _;
    let remote = root.join("remote");
    let second_name = |name: &String| {
        name.contains(".tmp-") && std::fs::metadata(remote.join(name)).unwrap().nlink() > 1
    };
    let mut left = leftovers_of_remote(&remote);
    left.retain(|name| !second_name(name));
    assert_eq!(left, Vec::<String>::new());
    let broker = LocalBroker::open(&remote).unwrap();
    broker.sweep(&Context::new(), Duration::ZERO).unwrap();
    assert_eq!(leftovers_of_remote(&remote), Vec::<String>::new());
}
