//! One process of one node: an engine without threads, opened over what the node keeps, turned by the world.

use std::collections::VecDeque;
use std::sync::Arc;

use crossbeam::channel::{TryRecvError, bounded};
use holdfast_broker::{Broker, CancelToken, Context, MemoryBroker, Retry, RetryPolicy};
use holdfast_journal::disk::MemoryDisk;
use holdfast_journal::{FileJournal, Index, Journal};
use parking_lot::Mutex;

use super::books::Books;
use super::choices::Kind;
use super::fiber::{Fiber, Role};
use super::remote::{Remote, Way};
use super::rules;
use super::shared::{NodeClock, Shared, Wait};
use super::tables::Tables;
use crate::blobs::BrokerBlobs;
use crate::checkpoint::Writing;
use crate::core::{Answer, Asked, Core, Settings, Turned};
use crate::decide::Input;
use crate::desk::{Ask, Desk};
use crate::due::Credits;
use crate::engine::{Options, Parts};
use crate::event::Event;
use crate::host::NoSecrets;
use crate::ids::{BlobHash, Epoch, JobId, TaskId};
use crate::opening::{Prepared, prepare};
use crate::order::{Completion, Failure, Output, TaskOrder, Work};
use crate::refusal::{Refusal, RefusalCode};
use crate::seams::{BlobError, Blobs, Clock, Entropy, Executor, Now};
use crate::state::State;
use crate::work::parallel::Movers;
use crate::work::pool::Pool;
use crate::work::{self, Limits, ProgressCell, Repositories, Task, WorkEnv};

/// What a node keeps over the death of its process.
pub(super) struct Kept {
    pub(super) disk: MemoryDisk,
    pub(super) jobs: MemoryBroker,
    pub(super) settings: NodeSettings,
    pub(super) desk: Letters,
}

/// Where the ends of tasks go to: whatever process the node has then, though another may have started them.
#[derive(Clone, Default)]
pub(super) struct Letters(Arc<Mutex<Option<Arc<Inbox>>>>);

impl Letters {
    fn complete(&self, completion: Completion) {
        if let Some(inbox) = &*self.0.lock() {
            inbox.complete(completion);
        }
    }

    /// How many ends wait for the dispatcher.
    pub(super) fn completions(&self) -> usize {
        let inbox = self.0.lock();
        inbox
            .as_ref()
            .map_or(0, |inbox| inbox.0.lock().completions.len())
    }
}

/// Sizes of a node.
#[derive(Clone, Copy, Debug)]
pub(super) struct NodeSettings {
    pub(super) credits: Credits,
    pub(super) limits: Limits,
    pub(super) checkpoint_events: u64,
    pub(super) segment_bytes: u64,
    pub(super) retries: bool,
}

/// What the dispatcher has asked of its executor, in order.
pub(super) enum Effect {
    Start(TaskOrder),
    Stop(JobId),
    Abandon(JobId, TaskId, u32),
}

/// Keeps what it is told; the world carries it out.
#[derive(Default)]
pub(super) struct Outbox(Mutex<Vec<Effect>>);

impl Outbox {
    pub(super) fn take(&self) -> Vec<Effect> {
        std::mem::take(&mut *self.0.lock())
    }
}

impl Executor for Outbox {
    fn start(&self, order: TaskOrder) {
        self.0.lock().push(Effect::Start(order));
    }
    fn stop(&self, job: JobId) {
        self.0.lock().push(Effect::Stop(job));
    }
    fn abandon(&self, job: JobId, task: TaskId, attempt: u32) {
        self.0.lock().push(Effect::Abandon(job, task, attempt));
    }
    fn reconcile(&self, _epoch: Epoch) -> Vec<TaskOrder> {
        Vec::new()
    }
    fn shutdown(&self) {}
}

/// What waits for the dispatcher.
#[derive(Default)]
pub(super) struct Inbox(Mutex<Waiting>);

#[derive(Default)]
struct Waiting {
    asked: VecDeque<Asked>,
    completions: VecDeque<Completion>,
    /// Wakes users whose statements wait for an answer.
    users: Vec<CancelToken>,
}

impl Inbox {
    pub(super) fn is_empty(&self) -> bool {
        let waiting = self.0.lock();
        waiting.asked.is_empty() && waiting.completions.is_empty()
    }

    fn len(&self) -> usize {
        let waiting = self.0.lock();
        waiting.asked.len() + waiting.completions.len()
    }

    /// Up to `limit` inputs, commands first.
    fn take(&self, limit: usize) -> Vec<Asked> {
        let waiting = &mut *self.0.lock();
        let mut taken = Vec::new();
        while taken.len() < limit {
            if let Some(asked) = waiting.asked.pop_front() {
                taken.push(asked);
            } else if let Some(done) = waiting.completions.pop_front() {
                taken.push(Asked::silent(Input::Completion(Box::new(done))));
            } else {
                break;
            }
        }
        taken
    }

    fn complete(&self, completion: Completion) {
        self.0.lock().completions.push_back(completion);
    }

    fn wake_users(&self) {
        for user in std::mem::take(&mut self.0.lock().users) {
            user.cancel("answered");
        }
    }
}

/// How statements reach a dispatcher that the world turns.
struct Queued {
    shared: Arc<Shared>,
    inbox: Arc<Inbox>,
}

impl Ask for Queued {
    fn ask(&self, input: Input) -> Result<Answer, Refusal> {
        let (reply, answer) = bounded(1);
        let closed = || Refusal::new(RefusalCode::Unavailable, "the process is gone");
        self.inbox.0.lock().asked.push_back(Asked {
            input,
            reply: Some(reply),
        });
        loop {
            let token = CancelToken::new();
            self.inbox.0.lock().users.push(token.clone());
            if !self.shared.pause(Wait::Until(u64::MAX, Some(token))) {
                return Err(closed());
            }
            match answer.try_recv() {
                Ok(answer) => return answer,
                Err(TryRecvError::Disconnected) => return Err(closed()),
                Err(TryRecvError::Empty) => {}
            }
        }
    }
}

/// Plans and lists on the node's own disk: they fail, too, and others move meanwhile.
struct Files {
    shared: Arc<Shared>,
    truth: BrokerBlobs,
}

impl Files {
    fn begin(&self, what: &'static str) -> Result<(), BlobError> {
        let failed = |retryable| BlobError {
            retryable,
            message: format!("simulated failure to {what} a work file"),
        };
        if !self.shared.pause(Wait::Turn) {
            return Err(failed(false));
        }
        if self.shared.happens(Kind::Storage, |w| w.storage_error) {
            self.shared.fault("work file error", || what.to_owned());
            return Err(failed(true));
        }
        Ok(())
    }
}

impl Blobs for Files {
    fn put(&self, job: JobId, bytes: &[u8]) -> Result<BlobHash, BlobError> {
        self.begin("keep")?;
        self.truth.put(job, bytes)
    }

    fn get_range(
        &self,
        job: JobId,
        hash: BlobHash,
        offset: u64,
        len: u64,
    ) -> Result<Vec<u8>, BlobError> {
        self.begin("read")?;
        self.truth.get_range(job, hash, offset, len)
    }

    fn len(&self, job: JobId, hash: BlobHash) -> Result<Option<u64>, BlobError> {
        self.begin("look up")?;
        self.truth.len(job, hash)
    }

    fn retain_only(&self, live: &[JobId]) -> Result<(), BlobError> {
        self.truth.retain_only(live)
    }

    fn remove(&self, job: JobId) -> Result<(), BlobError> {
        self.begin("remove")?;
        self.truth.remove(job)
    }
}

/// The only random number that an engine asks for, fixed for each node.
struct Fixed(u128);

impl Entropy for Fixed {
    fn random(&self) -> u128 {
        self.0
    }
}

/// An engine that the world turns.
pub(super) struct Process {
    pub(super) node: usize,
    pub(super) number: u32,
    core: Core,
    pub(super) journal: Arc<FileJournal<Event>>,
    pub(super) desk: Arc<Desk>,
    pub(super) inbox: Arc<Inbox>,
    letters: Letters,
    outbox: Arc<Outbox>,
    env: Arc<WorkEnv>,
    clock: Arc<NodeClock>,
    shared: Arc<Shared>,
    /// World time before which a full disk is not tried again.
    pub(super) waits_until_ms: u64,
    turned: bool,
}

impl Process {
    /// Starts a process over what the node keeps.
    pub(super) fn open(
        (node, number): (usize, u32),
        kept: &Kept,
        (shared, remote, books): (&Arc<Shared>, &Arc<Remote>, &Arc<Books>),
    ) -> Result<Self, String> {
        shared.process_begins(node);
        let settings = kept.settings;
        let options = holdfast_journal::Options::default()
            .index(Index::None)
            .segment_bytes(settings.segment_bytes)
            .reserve_bytes(16 << 10);
        let disk = Arc::new(kept.disk.clone());
        let (journal, report) =
            FileJournal::<Event>::open_on(disk, options).map_err(|e| e.to_string())?;
        shared.tell(|| format!("node {node}: process {number}, journal {:?}", report.cases));
        check_acknowledged(shared, books, node, &journal);
        let truth = books.subjects[node]
            .lock()
            .open()
            .map_err(|e| e.to_string())?;
        books.opened(node, &truth);
        let clock = Arc::new(NodeClock {
            shared: Arc::clone(shared),
            node,
        });
        let journal = Arc::new(journal);
        let parts = Parts {
            journal: Arc::clone(&journal) as Arc<dyn Journal<Event>>,
            storage: Arc::new(Tables {
                shared: Arc::clone(shared),
                truth,
                books: Arc::clone(books),
                node,
            }),
            blobs: Arc::new(Files {
                shared: Arc::clone(shared),
                truth: BrokerBlobs::new(Arc::new(kept.jobs.clone())),
            }),
            brokers: Arc::new(brokers(shared, remote, settings.retries)),
            vault: Arc::new(NoSecrets),
            clock: Arc::clone(&clock) as Arc<dyn Clock>,
            entropy: Arc::new(Fixed(node as u128 + 1)),
            options: Options::default(),
        };
        let prepared = prepare(&parts, Writing::Inline).map_err(|e| e.to_string())?;
        Ok(Self::start(
            (node, number),
            parts,
            prepared,
            (journal, clock),
            (shared, kept),
        ))
    }

    fn start(
        (node, number): (usize, u32),
        parts: Parts,
        prepared: Prepared,
        (journal, clock): (Arc<FileJournal<Event>>, Arc<NodeClock>),
        (shared, kept): (&Arc<Shared>, &Kept),
    ) -> Self {
        let settings = kept.settings;
        let Prepared {
            opened,
            registry,
            published,
        } = prepared;
        let (inbox, outbox) = (Arc::<Inbox>::default(), Arc::<Outbox>::default());
        *kept.desk.0.lock() = Some(Arc::clone(&inbox));
        let env = WorkEnv {
            storage: Arc::clone(&parts.storage),
            blobs: Arc::clone(&parts.blobs),
            repositories: Arc::clone(&registry) as Arc<dyn Repositories>,
            pool: Arc::new(Pool::Inline),
            limits: settings.limits,
            // One at a time within a task: the tasks are what goes on side by side.
            movers: Movers::new(1),
        };
        let cluster = opened.state.cluster.clone();
        let core = Core::new(
            opened,
            parts.journal,
            Arc::clone(&outbox) as Arc<dyn Executor>,
            (Arc::clone(&registry), Arc::clone(&published)),
            Settings {
                credits: settings.credits,
                checkpoint_events: settings.checkpoint_events,
                checkpoints: Writing::Inline,
            },
        );
        let desk = Desk {
            storage: parts.storage,
            registry,
            clock: parts.clock,
            brokers: parts.brokers,
            vault: parts.vault,
            published,
            terms: Context::new().with_clock(Arc::clone(&clock) as Arc<dyn holdfast_broker::Clock>),
            decider: Box::new(Queued {
                shared: Arc::clone(shared),
                inbox: Arc::clone(&inbox),
            }),
            cluster,
            probes: Default::default(),
        };
        Self {
            node,
            number,
            core,
            journal,
            desk: Arc::new(desk),
            inbox,
            letters: kept.desk.clone(),
            outbox,
            env: Arc::new(env),
            clock,
            shared: Arc::clone(shared),
            waits_until_ms: 0,
            turned: false,
        }
    }

    fn now(&self) -> Now {
        Now {
            wall_ms: self.clock.wall_ms(),
            mono_ms: self.clock.mono_ms(),
        }
    }

    /// The time of the world at which a turn is due without any input, if one ever is.
    pub(super) fn wakes_at(&self) -> Option<u64> {
        let now = self.now();
        let wake = self.core.next_wake(now)?;
        Some(self.shared.now_ms() + wake.saturating_sub(now.mono_ms))
    }

    /// Whether a turn would have something to do now; `due_ms` is what [`Process::wakes_at`] said after the last one.
    pub(super) fn is_ready(&self, due_ms: Option<u64>) -> bool {
        let now = self.shared.now_ms();
        if now < self.waits_until_ms {
            return false;
        }
        let put_off = self.waits_until_ms > 0;
        !self.turned || put_off || !self.inbox.is_empty() || due_ms.is_some_and(|due| due <= now)
    }

    /// One turn, with all or some of what waits.
    pub(super) fn turn(&mut self) -> Turned {
        self.turned = true;
        let all = self.inbox.len();
        let taken = self
            .shared
            .choose(|choices| match choices.weighted(Kind::Answer, &[3, 1]) {
                0 => all,
                _ => 1 + choices.below(Kind::Answer, all.max(1) as u64) as usize,
            });
        let inputs = self.inbox.take(taken);
        let now = self.now();
        let turned = self.core.turn(inputs, now);
        self.waits_until_ms = match turned.put_off {
            true => self.shared.now_ms() + 1_000,
            false => 0,
        };
        self.inbox.wake_users();
        turned
    }

    pub(super) fn effects(&self) -> Vec<Effect> {
        self.outbox.take()
    }

    pub(super) fn state(&self) -> &State {
        self.core.state()
    }

    /// Whether a job is past its commit event and has not ended.
    pub(super) fn is_committing(&self) -> bool {
        let state = self.core.state();
        let working = state.working.iter().filter_map(|id| state.jobs.get(id));
        let mut works = working
            .filter_map(|job| job.current())
            .map(|phase| phase.work);
        works.any(|work| matches!(work, Work::PutMarker | Work::Commit))
    }

    /// Why the engine takes nothing any more.
    pub(super) fn failure(&self) -> Option<String> {
        self.desk.published.failure()
    }

    /// The fiber of one start of a task.
    pub(super) fn task(&self, order: TaskOrder) -> Fiber {
        let token = CancelToken::new();
        let role = Role::Task {
            token: token.clone(),
            job: order.job,
            task: order.task,
            attempt: order.attempt,
            backend: order.backend,
            abandoned: false,
        };
        let (env, letters, shared) = (
            Arc::clone(&self.env),
            self.letters.clone(),
            Arc::clone(&self.shared),
        );
        let clock = Arc::clone(&self.clock) as Arc<dyn holdfast_broker::Clock>;
        let run = move || {
            let context = Context::new().with_cancel(token).with_clock(clock);
            let outcome = context.check().map_err(Failure::from).and_then(|()| {
                work::run(&Task {
                    env: &env,
                    order: &order,
                    context: &context,
                    progress: &ProgressCell::default(),
                })
            });
            tell_end(&shared, &letters, &order, outcome);
        };
        Fiber::new((self.node, self.number), role, &self.shared, run)
    }
}

/// Hands the end of a task to its dispatcher, once or twice.
fn tell_end(
    shared: &Shared,
    letters: &Letters,
    order: &TaskOrder,
    outcome: Result<Output, Failure>,
) {
    if !shared.is_alive() {
        return;
    }
    shared.tell(|| {
        let ended = match &outcome {
            Ok(_) => "well".to_owned(),
            Err(failure) => format!("{:?}: {}", failure.class, failure.message),
        };
        format!(
            "{:?} task {} of job {}, attempt {}, ended {ended}",
            order.work, order.task, order.job, order.attempt
        )
    });
    let completion = Completion {
        job: order.job,
        task: order.task,
        attempt: order.attempt,
        epoch: order.epoch,
        outcome,
    };
    if shared.happens(Kind::Answer, |w| w.answer_twice) {
        shared.fault("end told twice", || format!("task {}", order.task));
        letters.complete(completion.clone());
    }
    letters.complete(completion);
}

/// The way to the remote for each repository, with the retries that a real node puts before it, or without.
fn brokers(
    shared: &Arc<Shared>,
    remote: &Arc<Remote>,
    retries: bool,
) -> impl Fn(&str) -> Result<Arc<dyn Broker>, String> + Send + Sync + use<> {
    let (shared, remote) = (Arc::clone(shared), Arc::clone(remote));
    move |_location: &str| {
        let way = Way {
            shared: Arc::clone(&shared),
            remote: Arc::clone(&remote),
        };
        let policy = RetryPolicy {
            tries: 3,
            ..RetryPolicy::default()
        };
        Ok(match retries {
            true => Arc::new(Retry::new(way, policy)) as Arc<dyn Broker>,
            false => Arc::new(way),
        })
    }
}

/// Nothing that was durable before a death is gone after it.
fn check_acknowledged(shared: &Shared, books: &Books, node: usize, journal: &FileJournal<Event>) {
    let Some((seq, hash)) = books.acknowledged(node) else {
        return;
    };
    let mut found = None;
    // It may be in an archive by now.
    let read = journal.history(seq, &mut |record| {
        if record.seq == seq {
            found = Some(record.hash);
        }
        Ok(())
    });
    let rule = rules::ACKNOWLEDGED;
    if let Err(e) = read {
        shared.broken(rule, format!("node {node}: {e}"));
    } else if found != Some(hash) {
        let end = journal.position().0;
        shared.broken(
            rule,
            format!("node {node}: event {seq} was acknowledged, the journal ends at {end}"),
        );
    }
}
