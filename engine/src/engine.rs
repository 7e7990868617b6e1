//! The handle that a host holds: opens the engine, starts its threads, shows views. Statements go over its desk.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Sender, bounded, unbounded};
use holdfast_broker::Context;
use holdfast_journal::Journal;
use holdfast_storage::Storage;
use parking_lot::Mutex;

use crate::checkpoint::Writing;
use crate::core::{Answer, Asked, Core, Settings};
use crate::decide::Input;
use crate::desk::{Ask, Desk};
use crate::dispatcher::{self, Lanes, Message};
use crate::due::Credits;
use crate::event::Event;
use crate::executor::{PoolExecutor, Threads};
use crate::ids::{JobId, RepositoryId};
use crate::opening::{OpenError, Opened, Prepared, prepare};
use crate::published::Published;
use crate::refusal::{Refusal, RefusalCode};
use crate::registry::Registry;
use crate::retention::{Archiving, HistoryRequest, Retention};
use crate::seams::{Blobs, Brokers, Clock, Entropy, Executor, Vault};
use crate::spec::{BackupRequest, JobKind, RepositoryRequest, RestoreRequest};
use crate::view::{JobView, TaskProgress, Views};
use crate::work::parallel::Movers;
use crate::work::pool::Pool;
use crate::work::{Limits, Repositories, WorkEnv};

/// Everything that the engine needs from its host.
pub struct Parts {
    /// Where events go.
    pub journal: Arc<dyn Journal<Event>>,
    /// The host's tables.
    pub storage: Arc<dyn Storage>,
    /// Where plans go.
    pub blobs: Arc<dyn Blobs>,
    /// How repositories are reached.
    pub brokers: Arc<dyn Brokers>,
    /// Seals repository properties.
    pub vault: Arc<dyn Vault>,
    /// The clocks.
    pub clock: Arc<dyn Clock>,
    /// Random numbers.
    pub entropy: Arc<dyn Entropy>,
    /// Sizes.
    pub options: Options,
}

/// Sizes of an engine.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How many tasks run at once.
    pub credits: Credits,
    /// Sizes that plans are cut by.
    pub limits: Limits,
    /// After how many events a checkpoint is kept beside the journal, by a thread of its own; one more is kept when
    /// the engine closes. 0 = none, neither then.
    pub checkpoint_events: u64,
    /// Whether finished jobs leave by themselves, and when. By default none does.
    pub retention: Retention,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            credits: Credits::default(),
            limits: Limits::default(),
            checkpoint_events: 50_000,
            retention: Retention::default(),
        }
    }
}

/// An open engine. Dropping it closes it; jobs go on at the next opening.
pub struct Engine {
    desk: Desk,
    executor: Arc<PoolExecutor>,
    messages: Sender<Message>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
}

impl Engine {
    /// Replays the journal, records this opening, and goes on with every job that has not ended.
    ///
    /// # Errors
    /// Where the journal holds an event that could not have followed, where the storage's catalog is behind the
    /// journal, or where journal, storage or threads fail.
    pub fn open(parts: Parts) -> Result<Self, OpenError> {
        let Prepared {
            opened,
            registry,
            published,
        } = prepare(&parts, Writing::Beside)?;
        Self::start(parts, opened, registry, published)
    }

    fn start(
        parts: Parts,
        opened: Opened,
        registry: Arc<Registry>,
        published: Arc<Published>,
    ) -> Result<Self, OpenError> {
        let credits = parts.options.credits.at_least_one();
        let pool = Pool::threads(credits.workers as usize).map_err(OpenError::environment)?;
        let env = WorkEnv {
            storage: Arc::clone(&parts.storage),
            blobs: Arc::clone(&parts.blobs),
            repositories: Arc::clone(&registry) as Arc<dyn Repositories>,
            pool: Arc::new(pool),
            limits: parts.options.limits,
            movers: Movers::new(credits.workers as usize),
        };
        // Bounded by the credits (and the few workers that were given up), not by a capacity: a worker never waits.
        let (done_tx, done_rx) = unbounded();
        let threads = Threads {
            workers: credits.workers as usize,
            coordinators: credits.coordinators as usize,
        };
        let executor = PoolExecutor::new(env, threads, done_tx);
        let (messages, message_rx) = unbounded();
        let cluster = opened.state.cluster.clone();
        let core = Core::new(
            opened,
            parts.journal,
            Arc::clone(&executor) as Arc<dyn Executor>,
            (Arc::clone(&registry), Arc::clone(&published)),
            Settings {
                credits,
                checkpoint_events: parts.options.checkpoint_events,
                checkpoints: Writing::Beside,
            },
        )
        .keeping(parts.options.retention);
        let lanes = Lanes {
            messages: message_rx,
            completions: done_rx,
        };
        let clock = Arc::clone(&parts.clock);
        let thread_published = Arc::clone(&published);
        #[expect(
            clippy::disallowed_methods,
            reason = "the dispatcher's thread; the core has none"
        )]
        let thread = std::thread::Builder::new()
            .name("holdfast-dispatcher".to_owned())
            .spawn(move || {
                let _closing = Closing(thread_published);
                dispatcher::run(core, &lanes, &clock);
            })
            .map_err(OpenError::environment)?;
        let desk = Desk {
            storage: parts.storage,
            registry,
            clock: parts.clock,
            brokers: parts.brokers,
            vault: parts.vault,
            published,
            terms: Context::new(),
            decider: Box::new(Dispatched(messages.clone())),
            cluster,
            probes: Default::default(),
        };
        Ok(Self {
            desk,
            executor,
            messages,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// What readers see now.
    pub fn views(&self) -> Views {
        self.desk.views()
    }

    /// Progress of a job's running tasks, as their workers report it; empty once the job has ended.
    pub fn progress(&self, job: JobId) -> Vec<TaskProgress> {
        let ended = self
            .views()
            .jobs
            .get(&job)
            .is_none_or(|view| view.has_ended());
        if ended {
            Vec::new()
        } else {
            self.executor.progress(job)
        }
    }

    /// Bytes that the job's running tasks have moved so far, on top of what its view counts.
    pub fn bytes_in_flight(&self, job: JobId) -> u64 {
        self.executor.bytes(job)
    }

    /// Jobs that have not ended.
    pub fn active(&self) -> Vec<JobId> {
        let views = self.views();
        views
            .jobs
            .iter()
            .filter(|(_, view)| !view.has_ended())
            .map(|(id, _)| *id)
            .collect()
    }

    /// Why the engine has stopped by itself: its journal failed, and nothing moves until it is opened again. `None`
    /// while all is well; a full disk is waited out and is no such reason.
    pub fn failure(&self) -> Option<String> {
        self.desk.published.failure()
    }

    /// The job's view once it has ended, or as it is when `timeout` is over or the engine has stopped
    /// ([`Engine::failure`]); `None` for an unknown job.
    pub fn wait(&self, job: JobId, timeout: Duration) -> Option<Arc<JobView>> {
        self.desk.published.wait(job, timeout)
    }

    /// BACKUP: checks the request, then hands it to the dispatcher.
    ///
    /// # Errors
    /// Each condition that refuses a BACKUP has its own [`RefusalCode`].
    pub fn backup(&self, request: &BackupRequest) -> Result<JobId, Refusal> {
        self.desk.backup(request)
    }

    /// RESTORE: checks the request against the repository, then hands it to the dispatcher.
    ///
    /// # Errors
    /// Each condition that is known at submission has its own [`RefusalCode`]; the others end
    /// the job in PENDING.
    pub fn restore(&self, request: &RestoreRequest) -> Result<JobId, Refusal> {
        self.desk.restore(request)
    }

    /// CANCEL BACKUP or CANCEL RESTORE of a database. Returns once the wish is durable; CANCELLED follows when every
    /// worker has let go.
    ///
    /// # Errors
    /// [`RefusalCode::NoJob`] where nothing of that kind runs, [`RefusalCode::NotCancellable`] past the commit event.
    pub fn cancel(&self, kind: JobKind, database: &str) -> Result<JobId, Refusal> {
        self.desk.cancel(kind, database)
    }

    /// CREATE REPOSITORY: proves access by using it, makes the remote side where it is absent, then records it.
    ///
    /// # Errors
    /// Says which step failed; nothing is recorded then.
    pub fn create_repository(&self, request: &RepositoryRequest) -> Result<RepositoryId, Refusal> {
        self.desk.create_repository(request)
    }

    /// DROP REPOSITORY: forgets the repository; its remote data stays.
    ///
    /// # Errors
    /// [`RefusalCode::RepositoryNotFound`], or [`RefusalCode::RepositoryBusy`] naming the job that uses it.
    pub fn drop_repository(&self, name: &str) -> Result<(), Refusal> {
        self.desk.drop_repository(name)
    }

    /// The properties of a repository with every secret value masked.
    ///
    /// # Errors
    /// [`RefusalCode::RepositoryNotFound`]; [`RefusalCode::Failed`] where they cannot be opened.
    pub fn repository_properties(&self, name: &str) -> Result<BTreeMap<String, String>, Refusal> {
        self.desk.repository_properties(name)
    }

    /// The opened repository, for reading what it holds (SHOW SNAPSHOT, verify).
    ///
    /// # Errors
    /// [`RefusalCode::RepositoryNotFound`], or [`RefusalCode::RepositoryUnusable`] where it cannot be reached.
    pub fn repository(&self, name: &str) -> Result<holdfast_repository::Repository, Refusal> {
        self.desk.repository(name)
    }

    /// Why the repository could not be connected to or opened the last time that was tried: when (wall time in ms
    /// since the epoch) and in words. `None` where that went well, was not tried since this opening, or where no
    /// repository has that name. Never talks to the remote; what fails in an open repository is not told here.
    pub fn repository_problem(&self, name: &str) -> Option<(u64, String)> {
        self.desk.registry.problem(name)
    }

    /// Archives: jobs that ended before a time and were released leave the state and the views, and the events before the
    /// first of the oldest job that stays move, in whole segments of the log, into a compressed file. An event records
    /// it. Jobs that still work, and repositories, stay. Returns when it is durable; jobs run on meanwhile.
    ///
    /// A kill in between loses nothing: jobs leave the state last, and the next act goes on.
    ///
    /// # Errors
    /// [`RefusalCode::Unavailable`] while another act runs; [`RefusalCode::Failed`] in the journal's words, no job has
    /// left then; [`RefusalCode::Full`].
    pub fn archive(&self, request: &HistoryRequest) -> Result<Archiving, Refusal> {
        self.desk.archive(request)
    }

    /// Stops taking statements, asks every worker to let go, and joins the threads. Jobs go on at the next opening.
    pub fn close(&self) {
        // A dispatcher that is gone already needs no message.
        let _ = self.messages.send(Message::Close);
        if let Some(thread) = self.thread.lock().take() {
            if thread.join().is_err() {
                log::error!("the dispatcher ended by a panic");
            }
            self.executor.shutdown();
        }
        self.desk.published.close();
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.close();
    }
}

/// Wakes all waiters when the dispatcher ends, however it ends.
struct Closing(Arc<Published>);

impl Drop for Closing {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0
                .stop("the dispatcher ended by a fault of the program");
        }
        self.0.close();
    }
}

/// The way to the dispatcher's thread.
struct Dispatched(Sender<Message>);

impl Ask for Dispatched {
    fn ask(&self, input: Input) -> Result<Answer, Refusal> {
        let (reply, answer) = bounded(1);
        let closed = || {
            Refusal::new(
                RefusalCode::Unavailable,
                "the engine is closed; open it again",
            )
        };
        self.0
            .send(Message::Ask(Box::new(Asked {
                input,
                reply: Some(reply),
            })))
            .map_err(|_| closed())?;
        answer.recv().map_err(|_| closed())?
    }
}
