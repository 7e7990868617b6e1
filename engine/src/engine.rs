//! The handle that a host holds: opens the engine, takes statements, shows views. It checks what can be checked
//! against storage and repository on the caller's thread; the dispatcher decides the rest.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Sender, bounded, unbounded};
use holdfast_journal::Journal;
use holdfast_storage::{OpId, Storage};
use parking_lot::Mutex;

use crate::core::{Answer, Asked, Core};
use crate::decide::{Input, NewRepository, repository_exists};
use crate::dispatcher::{self, Lanes, Message};
use crate::due::Credits;
use crate::event::Event;
use crate::executor::{PoolExecutor, Threads};
use crate::ids::{JobId, RepositoryId};
use crate::opening::{OpenError, Opened, open_state};
use crate::published::Published;
use crate::refusal::{Refusal, RefusalCode};
use crate::registry::Registry;
use crate::seams::{Blobs, Brokers, Clock, Entropy, Executor, Now, Vault};
use crate::spec::{BackupRequest, JobKind, RepositoryAccess, RepositoryRequest, RestoreRequest};
use crate::view::{JobView, TaskProgress, Views};
use crate::work::parallel::Movers;
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
}

impl Default for Options {
    fn default() -> Self {
        Self {
            credits: Credits::default(),
            limits: Limits::default(),
            checkpoint_events: 50_000,
        }
    }
}

/// An open engine. Dropping it closes it; jobs go on at the next opening.
pub struct Engine {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) clock: Arc<dyn Clock>,
    brokers: Arc<dyn Brokers>,
    vault: Arc<dyn Vault>,
    published: Arc<Published>,
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
        let now = Now {
            wall_ms: parts.clock.wall_ms(),
            mono_ms: parts.clock.mono_ms(),
        };
        let cluster = format!("{:032x}", parts.entropy.random());
        let mut opened = open_state(
            parts.journal.as_ref(),
            parts.storage.position(),
            cluster,
            now,
        )?;
        let state = &mut opened.state;
        let live: Vec<JobId> = state.working.iter().copied().collect();
        let ops: Vec<OpId> = live.iter().map(|id| OpId(id.0)).collect();
        parts
            .storage
            .retain_only(&ops)
            .map_err(OpenError::environment)?;
        if let Err(e) = parts.blobs.retain_only(&live) {
            log::warn!(
                "work files of ended jobs stay until the next opening: {}",
                e.message
            );
        }
        let published = Arc::new(Published::default());
        state.changed = state.jobs.keys().copied().collect();
        state.repositories_changed = true;
        published.publish(state);
        let registry = Arc::new(Registry::new(
            Arc::clone(&parts.brokers),
            Arc::clone(&parts.vault),
            Arc::clone(&parts.clock),
            Arc::clone(&published),
        ));
        registry.update(state.repositories.values());
        Self::start(parts, opened, registry, published)
    }

    fn start(
        parts: Parts,
        opened: Opened,
        registry: Arc<Registry>,
        published: Arc<Published>,
    ) -> Result<Self, OpenError> {
        let credits = parts.options.credits.at_least_one();
        let pool = rayon::ThreadPoolBuilder::new()
            .num_threads(credits.workers.max(1) as usize)
            .thread_name(|n| format!("holdfast-pool-{n}"))
            .build()
            .map_err(OpenError::environment)?;
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
        let core = Core::new(
            opened,
            parts.journal,
            Arc::clone(&executor) as Arc<dyn Executor>,
            (Arc::clone(&registry), Arc::clone(&published)),
            (credits, parts.options.checkpoint_events),
        );
        let lanes = Lanes {
            messages: message_rx,
            completions: done_rx,
        };
        let clock = Arc::clone(&parts.clock);
        let thread_published = Arc::clone(&published);
        let thread = std::thread::Builder::new()
            .name("holdfast-dispatcher".to_owned())
            .spawn(move || {
                let _closing = Closing(thread_published);
                dispatcher::run(core, &lanes, &clock);
            })
            .map_err(OpenError::environment)?;
        Ok(Self {
            storage: parts.storage,
            registry,
            clock: parts.clock,
            brokers: parts.brokers,
            vault: parts.vault,
            published,
            executor,
            messages,
            thread: Mutex::new(Some(thread)),
        })
    }

    /// What readers see now.
    pub fn views(&self) -> Views {
        self.published.views()
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
        self.published.failure()
    }

    /// The job's view once it has ended, or as it is when `timeout` is over or the engine has stopped
    /// ([`Engine::failure`]); `None` for an unknown job.
    pub fn wait(&self, job: JobId, timeout: Duration) -> Option<Arc<JobView>> {
        self.published.wait(job, timeout)
    }

    /// BACKUP: checks the request, then hands it to the dispatcher.
    ///
    /// # Errors
    /// Each condition that refuses a BACKUP has its own [`RefusalCode`].
    pub fn backup(&self, request: &BackupRequest) -> Result<JobId, Refusal> {
        let spec = crate::submit::backup(self, request)?;
        self.ask_job(Input::Backup(spec))
    }

    /// RESTORE: checks the request against the repository, then hands it to the dispatcher.
    ///
    /// # Errors
    /// Each condition that is known at submission has its own [`RefusalCode`]; the others end
    /// the job in PENDING.
    pub fn restore(&self, request: &RestoreRequest) -> Result<JobId, Refusal> {
        let spec = crate::submit::restore(self, request)?;
        self.ask_job(Input::Restore(spec))
    }

    /// CANCEL BACKUP or CANCEL RESTORE of a database. Returns once the wish is durable; CANCELLED follows when every
    /// worker has let go.
    ///
    /// # Errors
    /// [`RefusalCode::NoJob`] where nothing of that kind runs, [`RefusalCode::NotCancellable`] past the commit event.
    pub fn cancel(&self, kind: JobKind, database: &str) -> Result<JobId, Refusal> {
        self.ask_job(Input::Cancel {
            kind,
            database: database.to_owned(),
        })
    }

    /// CREATE REPOSITORY: proves access by using it, makes the remote side where it is absent, then records it.
    ///
    /// # Errors
    /// Says which step failed; nothing is recorded then.
    pub fn create_repository(&self, request: &RepositoryRequest) -> Result<RepositoryId, Refusal> {
        holdfast_repository::check_repository_name(&request.name)
            .map_err(|e| Refusal::new(RefusalCode::BadRepositoryName, e.to_string()))?;
        if self.views().repositories.contains_key(&request.name) {
            return Err(repository_exists(&request.name));
        }
        let unusable = |text: String| {
            Refusal::new(
                RefusalCode::RepositoryUnusable,
                format!("Failed to create repository '{}': {text}", request.name),
            )
        };
        let broker = self
            .brokers
            .connect(
                request.broker.as_deref(),
                &request.location,
                &request.properties,
            )
            .map_err(|text| match &request.broker {
                Some(_) => Refusal::new(RefusalCode::BrokerNotFound, text),
                None => unusable(text),
            })?;
        let context = crate::submit::patience();
        let mode = match request.access {
            RepositoryAccess::ReadOnly => holdfast_repository::Mode::ReadOnly,
            RepositoryAccess::ReadWrite => holdfast_repository::Mode::ReadWrite {
                created_at_ms: self.clock.wall_ms(),
            },
        };
        let opened = holdfast_repository::Repository::open(&context, broker, &request.name, mode)
            .map_err(|e| match e.kind() {
            holdfast_repository::ErrorKind::NotFound => unusable(format!(
                "{e}; a repository is found by the name and the location it was made with"
            )),
            _ => unusable(e.to_string()),
        })?;
        opened
            .probe(&context)
            .map_err(|e| unusable(e.to_string()))?;
        let plain = serde_json::to_vec(&request.properties).map_err(|e| unusable(e.to_string()))?;
        let properties = self.vault.seal(&plain).map_err(unusable)?;
        let new = NewRepository {
            name: request.name.clone(),
            broker: request.broker.clone(),
            location: request.location.clone(),
            access: request.access,
            created_ms: opened.info().create_time_ms,
            properties,
        };
        match self.ask(Input::CreateRepository(new))? {
            Answer::Repository(id) => {
                self.registry.keep(id, opened);
                Ok(id)
            }
            other => Err(unexpected(other)),
        }
    }

    /// DROP REPOSITORY: forgets the repository; its remote data stays.
    ///
    /// # Errors
    /// [`RefusalCode::RepositoryNotFound`], or [`RefusalCode::RepositoryBusy`] naming the job that uses it.
    pub fn drop_repository(&self, name: &str) -> Result<(), Refusal> {
        self.ask(Input::DropRepository(name.to_owned())).map(|_| ())
    }

    /// The properties of a repository with every secret value masked.
    ///
    /// # Errors
    /// [`RefusalCode::RepositoryNotFound`]; [`RefusalCode::Failed`] where they cannot be opened.
    pub fn repository_properties(&self, name: &str) -> Result<BTreeMap<String, String>, Refusal> {
        let id = crate::submit::repository(self, name)?;
        self.registry
            .masked_properties(id)
            .map_err(|failure| Refusal::new(RefusalCode::Failed, failure.message))
    }

    /// The opened repository, for reading what it holds (SHOW SNAPSHOT, verify).
    ///
    /// # Errors
    /// [`RefusalCode::RepositoryNotFound`], or [`RefusalCode::RepositoryUnusable`] where it cannot be reached.
    pub fn repository(&self, name: &str) -> Result<holdfast_repository::Repository, Refusal> {
        let id = crate::submit::repository(self, name)?;
        crate::submit::open_repository(self, id)
    }

    /// Why the repository could not be connected to or opened the last time that was tried: when (wall time in ms
    /// since the epoch) and in words. `None` where that went well, was not tried since this opening, or where no
    /// repository has that name. Never talks to the remote; what fails in an open repository is not told here.
    pub fn repository_problem(&self, name: &str) -> Option<(u64, String)> {
        self.registry.problem(name)
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
        self.published.close();
    }

    fn ask_job(&self, input: Input) -> Result<JobId, Refusal> {
        match self.ask(input)? {
            Answer::Job(id) => Ok(id),
            other => Err(unexpected(other)),
        }
    }

    fn ask(&self, input: Input) -> Result<Answer, Refusal> {
        let (reply, answer) = bounded(1);
        let closed = || {
            Refusal::new(
                RefusalCode::Unavailable,
                "the engine is closed; open it again",
            )
        };
        self.messages
            .send(Message::Ask(Box::new(Asked {
                input,
                reply: Some(reply),
            })))
            .map_err(|_| closed())?;
        answer.recv().map_err(|_| closed())?
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

fn unexpected(answer: Answer) -> Refusal {
    Refusal::new(
        RefusalCode::Failed,
        format!("the engine answered {answer:?} to another question"),
    )
}
