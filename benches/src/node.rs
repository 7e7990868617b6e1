//! A node made of the real parts in one folder, with counters where its syncs come from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use holdfast_broker::{Broker, Calls, Context, Figures, LocalBroker, Record, Recorder};
use holdfast_engine::{
    BackupRequest, Clean, Engine, Event, JobId, JobView, ObjectRef, Parts, Replication,
    RepositoryAccess, RepositoryRequest, RestoreRequest, Selection,
};
use holdfast_journal::{FileJournal, Journal};
use holdfast_storage::{AllowLoad, ExportRequest, LoadRequest, LocalStorage, Storage};
use parking_lot::Mutex;

use crate::watched::{Watch, WatchedDisk};

/// The longest that any job may take.
const PATIENCE: Duration = Duration::from_secs(600);
/// The one database.
const DATABASE: &str = "db";
/// The table that is loaded.
pub const TABLE: &str = "t";
/// Tablets of the table.
const BUCKETS: u32 = 3;

/// A node of real journal, real storage and real files.
pub struct Node {
    engine: Engine,
    storage: Arc<LocalStorage>,
    journal: Arc<FileJournal<Event>>,
    watch: Arc<Watch>,
    work: Recorder,
    remote: Arc<Mutex<Vec<Recorder>>>,
}

/// What a node has asked of its parts so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    /// Syncs of the engine's journal.
    pub journal_syncs: u64,
    /// Objects put into repositories.
    pub puts: u64,
    /// Bytes sent to repositories.
    pub sent_bytes: u64,
    /// Plans and lists put among the work files.
    pub work_puts: u64,
    /// Events in the storage's catalog.
    pub catalog: u64,
}

impl Counts {
    /// What was asked since `before`.
    #[must_use]
    pub fn since(self, before: Self) -> Self {
        Self {
            journal_syncs: self.journal_syncs - before.journal_syncs,
            puts: self.puts - before.puts,
            sent_bytes: self.sent_bytes - before.sent_bytes,
            work_puts: self.work_puts - before.work_puts,
            catalog: self.catalog - before.catalog,
        }
    }
}

impl Node {
    /// Opens a node in `folder`.
    #[must_use]
    pub fn open(folder: &Path) -> Self {
        let options = holdfast_journal::Options::default();
        let watch = Arc::new(Watch::default());
        let disk = WatchedDisk::create(&folder.join("journal"), &watch);
        let (journal, _) = FileJournal::open_on(Arc::new(disk), options).unwrap();
        let journal = Arc::new(journal);
        let options = holdfast_storage::Options::default();
        let storage = Arc::new(LocalStorage::open(folder.join("storage"), options).unwrap());
        std::fs::create_dir_all(folder.join("jobs")).unwrap();
        let jobs = LocalBroker::open(&folder.join("jobs")).unwrap();
        let jobs = Record::new(jobs, Calls::Counted);
        let work = jobs.recorder();
        let remote: Arc<Mutex<Vec<Recorder>>> = Arc::default();
        let recorders = Arc::clone(&remote);
        let brokers = move |location: &str| -> Result<Arc<dyn Broker>, String> {
            let local = LocalBroker::open(Path::new(location)).map_err(|e| e.to_string())?;
            let broker = Record::new(local, Calls::Counted);
            recorders.lock().push(broker.recorder());
            Ok(Arc::new(broker))
        };
        let parts = Parts::new(
            Arc::clone(&journal) as Arc<dyn Journal<Event>>,
            Arc::clone(&storage) as Arc<dyn Storage>,
            Arc::new(jobs),
            Arc::new(brokers),
        );
        let engine = Engine::open(parts).unwrap();
        Self {
            engine,
            storage,
            journal,
            watch,
            work,
            remote,
        }
    }

    /// What was asked of the parts so far.
    #[must_use]
    pub fn counts(&self) -> Counts {
        use holdfast_broker::Request::Put;
        let remote: Vec<Figures> = self.remote.lock().iter().map(Recorder::figures).collect();
        Counts {
            journal_syncs: self.watch.syncs(),
            puts: remote.iter().map(|figures| figures.requests(Put)).sum(),
            sent_bytes: remote.iter().map(|figures| figures.up_bytes).sum(),
            work_puts: self.work.figures().requests(Put),
            catalog: self.storage.position().0,
        }
    }

    /// Makes the repository `name` in a folder.
    pub fn repository(&self, name: &str, at: &Path) {
        self.engine
            .create_repository(&RepositoryRequest {
                name: name.to_owned(),
                broker: None,
                location: at.to_str().unwrap().to_owned(),
                access: RepositoryAccess::ReadWrite,
                properties: BTreeMap::new(),
            })
            .unwrap();
    }

    /// Loads a folder into the table; without one the table is made empty.
    pub fn load(&self, from: Option<&Path>) {
        let sources: Vec<PathBuf> = from.map(Path::to_owned).into_iter().collect();
        let mut request = LoadRequest::new(DATABASE, TABLE, sources);
        request.buckets = BUCKETS;
        self.storage.load(&request).unwrap();
    }

    /// Drops a table.
    pub fn drop_table(&self, table: &str) {
        self.storage.drop_table(DATABASE, table).unwrap();
    }

    /// Writes a table's files to `to`, each proved by its hash.
    pub fn export(&self, table: &str, to: &Path) {
        self.storage
            .export(&ExportRequest::new(DATABASE, table, to))
            .unwrap();
    }

    /// Runs a backup of the database to its good end.
    pub fn backup(&self, repository: &str, label: &str) -> Arc<JobView> {
        let request = BackupRequest {
            database: DATABASE.to_owned(),
            label: label.to_owned(),
            repository: repository.to_owned(),
            selection: Selection::All,
            timeout_seconds: None,
        };
        let job = self.engine.backup(&request).unwrap();
        self.finished(job)
    }

    /// Runs a restore of the snapshot `label` to its good end; the table comes back as `alias`.
    pub fn restore(&self, repository: &str, label: &str, alias: &str) -> Arc<JobView> {
        let table = ObjectRef {
            table: TABLE.to_owned(),
            partitions: Vec::new(),
            alias: (alias != TABLE).then(|| alias.to_owned()),
        };
        let request = RestoreRequest {
            database: DATABASE.to_owned(),
            source_database: None,
            label: label.to_owned(),
            repository: repository.to_owned(),
            timestamp: self.timestamp(repository, label),
            selection: Selection::Only(vec![table]),
            allow_load: AllowLoad::No,
            replication: Replication::Automatic,
            clean: Clean::default(),
            timeout_seconds: None,
        };
        let job = self.engine.restore(&request).unwrap();
        self.finished(job)
    }

    /// Reads every object of the repository and compares hashes; gives the number of files proved.
    #[must_use]
    pub fn verify(&self, repository: &str) -> u64 {
        let repository = self.engine.repository(repository).unwrap();
        let mut findings = Vec::new();
        let report = repository
            .verify(&Context::new(), None, &mut |finding| {
                findings.push(finding.to_string())
            })
            .unwrap();
        assert!(findings.is_empty(), "{findings:?}");
        report.files
    }

    fn timestamp(&self, repository: &str, label: &str) -> String {
        let repository = self.engine.repository(repository).unwrap();
        let labels = repository.labels(&Context::new()).unwrap();
        let entry = labels
            .into_iter()
            .find(|entry| entry.label == label)
            .unwrap();
        entry.snapshots[0].timestamp.clone()
    }

    fn finished(&self, job: JobId) -> Arc<JobView> {
        let view = self.engine.wait(job, PATIENCE).unwrap();
        assert_eq!(view.state_name(), "FINISHED", "{:?}", view.common().status);
        view
    }

    /// Waits until nothing of the jobs that ended is left to tidy up.
    pub fn rest(&self) {
        let begun = std::time::Instant::now();
        while !self.is_at_rest() {
            assert!(
                begun.elapsed() < PATIENCE,
                "a job that ended is never released"
            );
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn is_at_rest(&self) -> bool {
        use holdfast_journal::Kind;
        let count = |kind| {
            let found = self
                .journal
                .by_kind(Kind(kind), holdfast_journal::Seq::FIRST, usize::MAX);
            found.unwrap().len()
        };
        let (backups, restores, released) = (20, 21, 65);
        count(backups) + count(restores) == count(released)
    }
}
