//! Runs tasks on threads of its own, beside the dispatcher. Owns threads, cancel tokens and progress cells; decides
//! nothing: each task's end goes back as one [`Completion`], a panic included.
//!
//! Two pools, so that the one task of a coordinator (a plan, a commit) never waits behind the many that move bytes. A
//! queue needs no bound: the dispatcher holds a credit for each start.

use std::any::Any;
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crossbeam::channel::{Receiver, Sender, unbounded};
use holdfast_broker::{CancelToken, Context};
use parking_lot::{Condvar, Mutex};

use crate::ids::{Epoch, JobId, TaskId};
use crate::order::{Completion, Failure, FailureClass, Output, StatusCode, TaskOrder, Work};
use crate::seams::Executor;
use crate::view::TaskProgress;
use crate::work::{self, ProgressCell, Task, WorkEnv};

/// How long [`Executor::shutdown`] waits for workers before it leaves them behind.
const SHUTDOWN_WAIT: Duration = Duration::from_secs(5);

/// How many threads an executor has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Threads {
    /// For tasks that move bytes or link files; at least 1.
    pub workers: usize,
    /// For the single tasks that plan and commit; at least 1.
    pub coordinators: usize,
}

impl Default for Threads {
    fn default() -> Self {
        Self {
            workers: 4,
            coordinators: 2,
        }
    }
}

type Run = dyn Fn(&TaskOrder, &Context, &ProgressCell) -> Result<Output, Failure> + Send + Sync;
type Key = (JobId, TaskId, u32);

#[derive(Clone, Copy)]
enum Pool {
    Worker,
    Coordinator,
}

impl Pool {
    fn of(work: Work) -> Self {
        match work {
            Work::Link | Work::Upload | Work::Stage | Work::Download => Self::Worker,
            _ => Self::Coordinator,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Worker => "worker",
            Self::Coordinator => "coordinator",
        }
    }
}

/// One start on its way through a pool. In the table of live entries until it has completed or is abandoned.
struct Entry {
    order: TaskOrder,
    token: CancelToken,
    progress: ProgressCell,
    running: AtomicBool,
}

impl Entry {
    fn key(&self) -> Key {
        (self.order.job, self.order.task, self.order.attempt)
    }
}

struct Queue {
    sender: Mutex<Option<Sender<Arc<Entry>>>>,
    receiver: Receiver<Arc<Entry>>,
    wanted: usize,
}

impl Queue {
    fn new(wanted: usize) -> Self {
        let (sender, receiver) = unbounded();
        Self {
            sender: Mutex::new(Some(sender)),
            receiver,
            wanted: wanted.max(1),
        }
    }
}

struct Shared {
    run: Box<Run>,
    completions: Sender<Completion>,
    workers: Queue,
    coordinators: Queue,
    live: Mutex<BTreeMap<Key, Arc<Entry>>>,
    closing: AtomicBool,
    next_thread: AtomicU32,
    threads: Mutex<Vec<JoinHandle<()>>>,
    /// Threads that have not ended.
    alive: Mutex<usize>,
    ended: Condvar,
}

impl Shared {
    fn queue(&self, pool: Pool) -> &Queue {
        match pool {
            Pool::Worker => &self.workers,
            Pool::Coordinator => &self.coordinators,
        }
    }

    /// The live entries of `job`, by task.
    fn of_job(&self, job: JobId) -> Vec<Arc<Entry>> {
        let live = self.live.lock();
        let from = live.range((job, TaskId(0), 0)..);
        from.take_while(|(key, _)| key.0 == job)
            .map(|(_, entry)| Arc::clone(entry))
            .collect()
    }

    fn complete(&self, order: &TaskOrder, outcome: Result<Output, Failure>) {
        let completion = Completion {
            job: order.job,
            task: order.task,
            attempt: order.attempt,
            epoch: order.epoch,
            outcome,
        };
        // While closing, nobody may be left who makes room.
        let lost = if self.closing.load(Ordering::Acquire) {
            self.completions.try_send(completion).is_err()
        } else {
            self.completions.send(completion).is_err()
        };
        if lost {
            log::debug!(
                "completion of task {} of job {} came too late",
                order.task,
                order.job
            );
        }
    }

    fn run_one(&self, entry: &Entry) -> Result<Output, Failure> {
        let context = Context::new().with_cancel(entry.token.clone());
        if let Err(stopped) = context.check() {
            return Err(Failure::from(stopped));
        }
        let run = || (self.run)(&entry.order, &context, &entry.progress);
        catch_unwind(AssertUnwindSafe(run)).unwrap_or_else(|panic| {
            let (order, text) = (&entry.order, panic_text(panic.as_ref()));
            log::error!(
                "{:?} task {} of job {} panicked: {text}",
                order.work,
                order.task,
                order.job
            );
            Err(Failure::fatal(
                StatusCode::CommonError,
                format!(
                    "work {:?} broke off by a fault of the program: {text}",
                    order.work
                ),
            ))
        })
    }

    /// Takes entries until the queue is closed, or until it is replaced because a task of it was abandoned.
    fn serve(&self, pool: Pool) {
        while let Ok(entry) = self.queue(pool).receiver.recv() {
            {
                let live = self.live.lock();
                if !live.contains_key(&entry.key()) {
                    continue;
                }
                entry.running.store(true, Ordering::Release);
            }
            let outcome = self.run_one(&entry);
            if self.live.lock().remove(&entry.key()).is_none() {
                // Given up on meanwhile: another thread serves in this one's place.
                return;
            }
            self.complete(&entry.order, outcome);
        }
    }
}

/// Says that a thread ended, however it ends.
struct Leaving(Arc<Shared>);

impl Drop for Leaving {
    fn drop(&mut self) {
        *self.0.alive.lock() -= 1;
        self.0.ended.notify_all();
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the real side of the `Executor` seam"
)]
fn spawn(shared: &Arc<Shared>, pool: Pool) {
    let number = shared.next_thread.fetch_add(1, Ordering::Relaxed);
    let name = format!("holdfast-{}-{number}", pool.name());
    *shared.alive.lock() += 1;
    let leaving = Leaving(Arc::clone(shared));
    let body = move || leaving.0.serve(pool);
    match std::thread::Builder::new().name(name.clone()).spawn(body) {
        Ok(handle) => shared.threads.lock().push(handle),
        // The closure was dropped with its guard, so the count is right again.
        Err(error) => log::error!("thread {name} cannot be started: {error}"),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
}

/// An [`Executor`] within the process.
pub struct PoolExecutor {
    shared: Arc<Shared>,
}

impl PoolExecutor {
    /// Starts the threads. Each end of a task goes to `completions`.
    pub(crate) fn new(
        env: WorkEnv,
        threads: Threads,
        completions: Sender<Completion>,
    ) -> Arc<Self> {
        Self::with_run(threads, completions, move |order, context, progress| {
            work::run(&Task {
                env: &env,
                order,
                context,
                progress,
            })
        })
    }

    fn with_run(
        threads: Threads,
        completions: Sender<Completion>,
        run: impl Fn(&TaskOrder, &Context, &ProgressCell) -> Result<Output, Failure>
        + Send
        + Sync
        + 'static,
    ) -> Arc<Self> {
        let shared = Arc::new(Shared {
            run: Box::new(run),
            completions,
            workers: Queue::new(threads.workers),
            coordinators: Queue::new(threads.coordinators),
            live: Mutex::default(),
            closing: AtomicBool::new(false),
            next_thread: AtomicU32::new(1),
            threads: Mutex::default(),
            alive: Mutex::new(0),
            ended: Condvar::new(),
        });
        for pool in [Pool::Coordinator, Pool::Worker] {
            for _ in 0..shared.queue(pool).wanted {
                spawn(&shared, pool);
            }
        }
        Arc::new(Self { shared })
    }

    /// How far the running tasks of `job` are, by task.
    pub fn progress(&self, job: JobId) -> Vec<TaskProgress> {
        let running = |entry: &Arc<Entry>| entry.running.load(Ordering::Acquire);
        let read = |entry: Arc<Entry>| {
            let (done, total, _) = entry.progress.read();
            TaskProgress {
                task: entry.order.task,
                done,
                total,
            }
        };
        self.shared
            .of_job(job)
            .into_iter()
            .filter(running)
            .map(read)
            .collect()
    }
}

impl PoolExecutor {
    /// Bytes that the running tasks of `job` have moved so far.
    pub(crate) fn bytes(&self, job: JobId) -> u64 {
        self.shared
            .of_job(job)
            .into_iter()
            .map(|entry| entry.progress.read().2)
            .sum()
    }
}

impl Executor for PoolExecutor {
    fn start(&self, order: TaskOrder) {
        let shared = &self.shared;
        let pool = Pool::of(order.work);
        let entry = Arc::new(Entry {
            token: CancelToken::new(),
            progress: ProgressCell::default(),
            running: AtomicBool::new(false),
            order,
        });
        shared.live.lock().insert(entry.key(), Arc::clone(&entry));
        let sender = shared.queue(pool).sender.lock();
        let sent = sender
            .as_ref()
            .is_some_and(|sender| sender.send(Arc::clone(&entry)).is_ok());
        drop(sender);
        if !sent && shared.live.lock().remove(&entry.key()).is_some() {
            let message = "the executor is shut down";
            shared.complete(
                &entry.order,
                Err(Failure::new(FailureClass::Stopped, message)),
            );
        }
    }

    fn stop(&self, job: JobId) {
        // What is started for the job after this has a token of its own.
        let reason = format!("job {job} is being stopped");
        for entry in self.shared.of_job(job) {
            entry.token.cancel(reason.as_str());
        }
    }

    fn abandon(&self, job: JobId, task: TaskId, attempt: u32) {
        let key = (job, task, attempt);
        let Some(entry) = self.shared.live.lock().remove(&key) else {
            return;
        };
        entry
            .token
            .cancel(format!("task {task} of job {job} was given up"));
        if entry.running.load(Ordering::Acquire) && !self.shared.closing.load(Ordering::Acquire) {
            log::warn!(
                "{:?} task {task} of job {job} did not let go; its thread is replaced",
                entry.order.work
            );
            spawn(&self.shared, Pool::of(entry.order.work));
        }
    }

    fn reconcile(&self, epoch: Epoch) -> Vec<TaskOrder> {
        let live = self.shared.live.lock();
        let older = live.values().filter(|entry| entry.order.epoch <= epoch);
        older.map(|entry| entry.order.clone()).collect()
    }

    fn shutdown(&self) {
        let shared = &self.shared;
        shared.closing.store(true, Ordering::Release);
        for pool in [Pool::Coordinator, Pool::Worker] {
            shared.queue(pool).sender.lock().take();
        }
        let entries: Vec<Arc<Entry>> = shared.live.lock().values().cloned().collect();
        for entry in entries {
            entry.token.cancel("the engine is closing");
        }
        #[expect(
            clippy::disallowed_methods,
            reason = "the real side of the `Executor` seam"
        )]
        let deadline = Instant::now() + SHUTDOWN_WAIT;
        let mut alive = shared.alive.lock();
        while *alive > 0 && !shared.ended.wait_until(&mut alive, deadline).timed_out() {}
        let left_behind = *alive;
        drop(alive);
        if left_behind > 0 {
            log::warn!("{left_behind} threads did not let go and are left behind");
        }
        for handle in shared.threads.lock().drain(..) {
            // A thread says that it ends before it lets go of the storage, so only a join makes sure that the folder
            // can be opened again. One that did not let go is detached by dropping its handle.
            if (left_behind == 0 || handle.is_finished()) && handle.join().is_err() {
                log::error!("an executor thread panicked outside of a task");
            }
        }
    }
}

impl Drop for PoolExecutor {
    fn drop(&mut self) {
        if !self.shared.closing.load(Ordering::Acquire) {
            self.shutdown();
        }
    }
}

#[cfg(test)]
mod tests;
