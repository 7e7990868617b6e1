//! An open data folder: tables, jobs, and all that the engine needs, in their order. Knows no
//! statement.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_broker::{Broker, Context, ErrorClass, LocalBroker};
use holdfast_engine::{BrokerBlobs, Engine, Event, OpenError, Options, Parts, Retention};
use holdfast_journal::{Event as _, FileJournal, Journal, Kind, OpenReport, Seq};
use holdfast_storage::LocalStorage;

use crate::brokers::{Adapters, Traffic};
use crate::exit::{Exit, Failure};
use crate::folder::Folder;
use crate::host::{KeyVault, SystemClock, SystemEntropy};
use crate::watched::Watched;

/// How a data folder is opened.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NodeOptions {
    /// Backends of a new folder.
    pub(crate) backends: u32,
    /// Whether requests to repositories are counted.
    pub(crate) traffic: Traffic,
    /// Which ended jobs leave by themselves.
    pub(crate) retention: Retention,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self {
            backends: 3,
            traffic: Traffic::Ignored,
            retention: Retention::default(),
        }
    }
}

/// An open data folder. Fields go in this order: the engine before the tables it works on, and the
/// lock of the folder last.
pub(crate) struct Node {
    pub(crate) engine: Engine,
    pub(crate) storage: Arc<LocalStorage>,
    pub(crate) clock: Arc<SystemClock>,
    pub(crate) adapters: Arc<Adapters>,
    pub(crate) journal: Arc<Watched>,
    _folder: Folder,
}

impl Node {
    /// Opens tables, then journal, then engine; jobs that had not ended go on from here.
    pub(crate) fn open(folder: Folder, options: NodeOptions) -> Result<Self, Failure> {
        let key = folder.key()?;
        let storage = Arc::new(open_storage(&folder, options.backends)?);
        let journal = Arc::new(Watched::new(open_journal(&folder.journal())?));
        let adapters = Arc::new(Adapters::new(options.traffic));
        let jobs = adapters.counted(open_jobs(&folder.jobs())?);
        let clock = Arc::new(SystemClock::new());
        let engine = Engine::open(Parts {
            journal: Arc::clone(&journal) as _,
            storage: Arc::clone(&storage) as _,
            blobs: Arc::new(BrokerBlobs::new(jobs)),
            brokers: Arc::clone(&adapters) as _,
            vault: KeyVault::shared(&key),
            clock: Arc::clone(&clock) as _,
            entropy: Arc::new(SystemEntropy),
            options: Options {
                retention: options.retention,
                ..Options::default()
            },
        })
        .map_err(|error| not_opened(&error))?;
        Ok(Self {
            engine,
            storage,
            clock,
            adapters,
            journal,
            _folder: folder,
        })
    }

    /// Waits until ended jobs hold nothing any more (pins, local snapshots, intents in the
    /// repository), but not longer than `patience`: the next opening would see to it as well.
    pub(crate) fn settle(&self, patience: Duration) {
        let deadline = Instant::now() + patience;
        while self.holds_leftovers().unwrap_or(false) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    fn holds_leftovers(&self) -> Result<bool, holdfast_journal::Error> {
        let jobs = |name: &str| -> Result<BTreeSet<u64>, holdfast_journal::Error> {
            let kind = Event::kinds().iter().find(|(_, known)| *known == name);
            let Some((number, _)) = kind else {
                return Ok(BTreeSet::new());
            };
            let found = self
                .journal
                .by_kind(Kind(*number), Seq::FIRST, usize::MAX)?;
            Ok(found.iter().map(|record| record.stream.get()).collect())
        };
        Ok(!jobs("CleanupStarted")?.is_subset(&jobs("JobReleased")?))
    }

    /// Stops the engine; jobs go on at the next opening.
    pub(crate) fn close(self) {
        self.engine.close();
    }
}

/// Opens the tables alone: enough to load and export, and no job is resumed.
pub(crate) fn open_storage(folder: &Folder, backends: u32) -> Result<LocalStorage, Failure> {
    let threads = std::thread::available_parallelism()
        .map_or(2, usize::from)
        .clamp(2, 8);
    let options = holdfast_storage::Options { backends, threads };
    LocalStorage::open(folder.storage(), options).map_err(|error| storage_failure(&error))
}

/// An error of the storage outside of a statement.
pub(crate) fn storage_failure(error: &holdfast_storage::Error) -> Failure {
    let exit = match error.kind() {
        holdfast_storage::ErrorKind::Locked => Exit::InUse,
        holdfast_storage::ErrorKind::Damaged => Exit::Damage,
        _ => Exit::Failed,
    };
    Failure {
        exit,
        ..Failure::from(holdfast_sql::SqlError::from(error.clone()))
    }
}

fn open_journal(path: &Path) -> Result<Arc<dyn Journal<Event>>, Failure> {
    let (journal, report) = FileJournal::<Event>::open(path, holdfast_journal::Options::default())
        .map_err(|error| journal_failure(&error))?;
    tell(&report);
    Ok(Arc::new(journal))
}

/// An error of a journal, with the exit code that it means.
pub(crate) fn journal_failure(error: &holdfast_journal::Error) -> Failure {
    use holdfast_journal::ErrorKind;
    let (exit, symbol) = match error.kind() {
        ErrorKind::Locked => (Exit::InUse, "FOLDER_IN_USE"),
        ErrorKind::Damaged => (Exit::Damage, "JOURNAL_DAMAGED"),
        ErrorKind::Rejected => (Exit::Damage, "JOURNAL_ILLEGAL_EVENT"),
        ErrorKind::Foreign => (Exit::Failed, "JOURNAL_FOREIGN"),
        ErrorKind::NewerFormat => (Exit::Failed, "JOURNAL_NEWER_FORMAT"),
        ErrorKind::NotFound => (Exit::Failed, "JOURNAL_NOT_FOUND"),
        ErrorKind::Full => (Exit::Failed, "DISK_FULL"),
        _ => (Exit::Failed, "JOURNAL_FAILED"),
    };
    Failure::new(exit, symbol, error)
}

/// A repaired journal is worth a line; a clean one is not.
fn tell(report: &OpenReport) {
    if report.is_clean() {
        log::debug!("{report}");
    } else {
        log::info!("{report}");
    }
}

fn open_jobs(path: &Path) -> Result<Arc<dyn Broker>, Failure> {
    let words =
        |error: &dyn std::fmt::Display| format!("work files in '{}': {error}", path.display());
    let path =
        std::path::absolute(path).map_err(|error| Failure::io(error.kind(), words(&error)))?;
    let broker = LocalBroker::open(&path).map_err(|error| match error.class() {
        ErrorClass::Full => Failure::failed("DISK_FULL", words(&error)),
        _ => Failure::failed("IO_ERROR", words(&error)),
    })?;
    // Nobody else writes here, so whatever is half-written was left by a kill.
    if let Err(error) = broker.sweep(&Context::new(), Duration::ZERO) {
        log::warn!("work files in '{}' are not swept: {error}", path.display());
    }
    Ok(Arc::new(broker))
}

/// The engine's refusal to open, with the exit code that it means.
pub(crate) fn not_opened(error: &OpenError) -> Failure {
    let (exit, symbol) = match error.damaged {
        true => (Exit::Damage, "DAMAGED"),
        false => (Exit::Failed, "ENGINE_NOT_OPENED"),
    };
    Failure::new(exit, symbol, error)
}
