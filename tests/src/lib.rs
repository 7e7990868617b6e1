//! What the tests across crates share: a node made of the real parts, and tables of files to put
//! into it.
//!
//! Test support only: a failure here panics, which is what a test wants.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

pub mod damage;
pub mod dice;
pub mod forgetful;
pub mod frames;
pub mod fuzzing;
pub mod gate;
pub mod killing;
pub mod place;
pub mod template;
pub mod traffic;
pub mod verdict;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_broker::{Broker, LocalBroker};
use holdfast_engine::{
    BackupRequest, Clean, Engine, Event, JobId, JobView, ObjectRef, Parts, Refusal, Replication,
    RepositoryAccess, RepositoryRequest, RestoreRequest, Selection,
};
use holdfast_journal::{FileJournal, Journal};
use holdfast_storage::{AllowLoad, ExportRequest, LoadRequest, LocalStorage, Storage};

/// Wraps the broker of a repository, as a test likes it.
pub type Wrap = Arc<dyn Fn(Arc<dyn Broker>) -> Arc<dyn Broker> + Send + Sync>;

/// A node in one folder: real journal, real storage, real files; the repository's broker as the
/// test wraps it.
pub struct Node {
    pub engine: Engine,
    pub storage: Arc<LocalStorage>,
    pub journal: Arc<FileJournal<Event>>,
    pub dir: PathBuf,
}

/// The longest that any job of a test may take.
const PATIENCE: Duration = Duration::from_secs(120);

impl Node {
    pub fn open(dir: &Path) -> Self {
        Self::open_with(dir, Arc::new(|broker| broker))
    }

    pub fn open_with(dir: &Path, wrap: Wrap) -> Self {
        Self::open_sized(dir, wrap, |_| {})
    }

    pub fn open_sized(dir: &Path, wrap: Wrap, size: impl FnOnce(&mut Parts)) -> Self {
        Self::try_open(dir, wrap, size).unwrap()
    }

    /// The node, or the words with which a part of it refuses to open.
    pub fn try_open(dir: &Path, wrap: Wrap, size: impl FnOnce(&mut Parts)) -> Result<Self, String> {
        let said = |error: &dyn std::fmt::Display| error.to_string();
        let (journal, _) =
            FileJournal::open(dir.join("journal"), holdfast_journal::Options::default())
                .map_err(|error| said(&error))?;
        let journal = Arc::new(journal);
        let storage = LocalStorage::open(dir.join("storage"), holdfast_storage::Options::default())
            .map_err(|error| said(&error))?;
        let storage = Arc::new(storage);
        std::fs::create_dir_all(dir.join("jobs")).unwrap();
        let work = Arc::new(LocalBroker::open(&dir.join("jobs")).unwrap());
        // Nobody else writes here, so whatever is half-written was left by a kill.
        work.sweep(&holdfast_broker::Context::new(), Duration::ZERO)
            .unwrap();
        let brokers = move |location: &str| -> Result<Arc<dyn Broker>, String> {
            let local = LocalBroker::open(Path::new(location)).map_err(|e| e.to_string())?;
            Ok(wrap(Arc::new(local)))
        };
        let mut parts = Parts::new(
            Arc::clone(&journal) as Arc<dyn Journal<Event>>,
            Arc::clone(&storage) as Arc<dyn Storage>,
            work,
            Arc::new(brokers),
        );
        size(&mut parts);
        let engine = Engine::open(parts).map_err(|error| said(&error))?;
        Ok(Self {
            engine,
            storage,
            journal,
            dir: dir.to_owned(),
        })
    }

    pub fn repository(&self, name: &str, at: &Path) {
        self.engine
            .create_repository(&repository(name, at, RepositoryAccess::ReadWrite))
            .unwrap();
    }

    pub fn load(&self, table: &str, partition: Option<&str>, from: &Path, replication_num: u32) {
        let mut request = LoadRequest::new("db", table, vec![from.to_owned()]);
        request.partition = partition.map(str::to_owned);
        request.buckets = 3;
        request.replication_num = replication_num;
        self.storage.load(&request).unwrap();
    }

    /// Every file of a table by `partition/path`, as exported.
    pub fn content(&self, database: &str, table: &str) -> BTreeMap<String, Vec<u8>> {
        let to = tempfile::tempdir().unwrap();
        let out = to.path().join("out");
        self.storage
            .export(&ExportRequest::new(database, table, &out))
            .unwrap();
        tree(&out)
    }

    pub fn backup(&self, label: &str) -> Arc<JobView> {
        let job = self.engine.backup(&backup(label)).unwrap();
        self.ended(job)
    }

    pub fn restore(&self, request: &RestoreRequest) -> Arc<JobView> {
        let job = self.engine.restore(request).unwrap();
        self.ended(job)
    }

    /// The job's last view.
    pub fn ended(&self, job: JobId) -> Arc<JobView> {
        let view = self.engine.wait(job, PATIENCE).unwrap();
        assert!(view.has_ended(), "job {job} did not end: {view:?}");
        view
    }

    /// The timestamp of the one snapshot that bears `label`.
    pub fn timestamp(&self, repository: &str, label: &str) -> String {
        let opened = self.engine.repository(repository).unwrap();
        let labels = opened.labels(&holdfast_broker::Context::new()).unwrap();
        let entry = labels
            .into_iter()
            .find(|entry| entry.label == label)
            .unwrap();
        entry.snapshots[0].timestamp.clone()
    }
}

pub fn assert_finished(view: &JobView) {
    assert_eq!(view.state_name(), "FINISHED", "{:?}", view.common().status);
}

pub fn repository(name: &str, at: &Path, access: RepositoryAccess) -> RepositoryRequest {
    RepositoryRequest {
        name: name.to_owned(),
        broker: None,
        location: at.to_str().unwrap().to_owned(),
        access,
        properties: BTreeMap::new(),
    }
}

pub fn backup(label: &str) -> BackupRequest {
    BackupRequest {
        database: "db".to_owned(),
        label: label.to_owned(),
        repository: "repo".to_owned(),
        selection: Selection::All,
        timeout_seconds: None,
    }
}

pub fn restore(label: &str, timestamp: &str) -> RestoreRequest {
    RestoreRequest {
        database: "db".to_owned(),
        source_database: None,
        label: label.to_owned(),
        repository: "repo".to_owned(),
        timestamp: timestamp.to_owned(),
        selection: Selection::All,
        allow_load: AllowLoad::No,
        replication: Replication::Automatic,
        clean: Clean::default(),
        timeout_seconds: None,
    }
}

pub fn table(name: &str, partitions: &[&str]) -> ObjectRef {
    ObjectRef {
        table: name.to_owned(),
        partitions: partitions.iter().map(|p| (*p).to_owned()).collect(),
        alias: None,
    }
}

pub fn refused<T>(outcome: Result<T, Refusal>) -> Refusal {
    match outcome {
        Ok(_) => panic!("accepted, expected a refusal"),
        Err(refusal) => refusal,
    }
}

/// Bytes that look random and are the same for the same seed.
pub fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(&seed.to_le_bytes())
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// Every file below `dir` by its relative path.
pub fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    fn walk(root: &Path, dir: &Path, files: &mut BTreeMap<String, Vec<u8>>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, files);
            } else {
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                files.insert(name, std::fs::read(&path).unwrap());
            }
        }
    }
    let mut files = BTreeMap::new();
    if dir.exists() {
        walk(dir, dir, &mut files);
    }
    files
}

/// A folder of `count` files from 0 bytes to 64 KiB with odd names.
pub fn odd_files(dir: &Path, count: usize, seed: u64) {
    let names = [
        "plain",
        "with space",
        "ünïcödé-日本語-🦀",
        "tab\tand 'quotes' \"double\"",
        "-dash",
        "%41",
    ];
    for n in 0..count {
        let base = names[n % names.len()];
        let long = if n % 50 == 7 {
            "x".repeat(200)
        } else {
            String::new()
        };
        let folder = dir.join(format!("d{} é", n % 7));
        std::fs::create_dir_all(&folder).unwrap();
        let len = match n % 10 {
            0 => 0,
            1 => 65_536,
            _ => (n * 7_919) % 4_096,
        };
        let path = folder.join(format!("{base}{long}{n}"));
        std::fs::write(path, noise(seed + n as u64, len)).unwrap();
    }
}
