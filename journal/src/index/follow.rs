//! The thread that keeps the index behind the log.
//!
//! It owns all writing to sled. It wakes on a bounded signal (a full one is as good as two), reads
//! what is durable from the log itself and feeds it in batches; so it can be any distance behind
//! and nobody waits. Opening and building an index are in `build`.

use std::{
    ops::ControlFlow,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::{Condvar, Mutex};

use super::{
    Heads, IndexStatus,
    opening::Begin,
    size::Size,
    store::{Batch, Broken, Store, open_event},
};
use crate::{
    error::{Error, ErrorKind},
    event::Event,
    frame::Head,
    ids::{Kind, Seq, StreamId},
    journal::Record,
    reader::{Cursor, Reader, record},
};

/// sled frees what its inserts replace when their batch ends: 4 096 records at a time took 1.7 GB
/// where these take tens of MiB, and no less time.
const BATCH_RECORDS: usize = 128;
const BATCH_BYTES: usize = 256 << 10;
/// How long what was fed may stay unflushed; a shorter time costs the log's own syncs.
const FLUSH_AFTER: Duration = Duration::from_secs(1);
/// How often an index is built anew before the thread gives up.
const BUILDS_MAX: u32 = 3;

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Query {
    Stream(StreamId),
    Kind(Kind),
}

impl Query {
    pub(crate) fn wants(self, head: &Head) -> bool {
        match self {
            Self::Stream(stream) => head.stream == stream,
            Self::Kind(kind) => head.kind == kind,
        }
    }
}

pub(super) enum Phase {
    Opening,
    Following {
        store: Arc<Store>,
        fed: Seq,
        heads: Heads,
    },
    Building {
        why: String,
    },
    Failed {
        why: String,
    },
}

pub(super) struct Shared {
    pub(super) phase: Mutex<Phase>,
    moved: Condvar,
    /// Why the index was last taken out of use.
    distrusted: Mutex<Option<String>>,
    stop: AtomicBool,
}

/// The index of an open journal.
pub(crate) struct Follower {
    shared: Arc<Shared>,
    reader: Arc<Reader>,
    wake: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

/// Where an index is kept.
pub(crate) struct Place {
    pub(crate) path: PathBuf,
    /// See [`Options::index_floor_bytes`](crate::Options::index_floor_bytes).
    pub(crate) floor_bytes: u64,
}

/// What the index knew: records found, and up to where they are all there are.
pub(crate) struct Known<E> {
    pub(crate) records: Vec<Record<E>>,
    pub(crate) through: Seq,
}

impl Follower {
    /// Starts the thread.
    ///
    /// # Errors
    /// `Io` where the system gives no thread.
    pub(crate) fn start(
        reader: Arc<Reader>,
        family: u32,
        place: Place,
        begin: Begin,
        refuse: Refuse,
    ) -> Result<Self, Error> {
        let mut worker_heads = Heads::default();
        let mut deferred = None;
        let phase = match begin {
            Begin::Follow { store, fed, heads } => {
                worker_heads.clone_from(&heads);
                Phase::Following {
                    store: Arc::new(store),
                    fed,
                    heads,
                }
            }
            Begin::Open { seen, heads } => {
                deferred = Some((seen, heads));
                Phase::Opening
            }
            Begin::Build { why } => Phase::Building { why },
        };
        let shared = Arc::new(Shared {
            phase: Mutex::new(phase),
            moved: Condvar::new(),
            distrusted: Mutex::new(None),
            stop: AtomicBool::new(false),
        });
        let (wake, woken) = bounded(1);
        let mut worker = Worker {
            shared: Arc::clone(&shared),
            reader: Arc::clone(&reader),
            family,
            path: place.path,
            heads: worker_heads,
            cursor: None,
            deferred,
            refuse,
            unflushed: false,
            size: Size::with_floor(place.floor_bytes),
        };
        #[expect(
            clippy::disallowed_methods,
            reason = "the thread that owns sled; an append never waits for it"
        )]
        let thread = std::thread::Builder::new()
            .name("holdfast-index".to_owned())
            .spawn(move || worker.run(&woken))
            .map_err(|e| Error::io("start thread", "holdfast-index", &e))?;
        Ok(Self {
            shared,
            reader,
            wake: Some(wake),
            thread: Some(thread),
        })
    }

    /// Says that there is more in the log. Never waits.
    pub(crate) fn wake(&self) {
        if let Some(wake) = &self.wake {
            // A full channel already says it.
            let _ = wake.try_send(());
        }
    }

    pub(crate) fn status(&self) -> IndexStatus {
        match &*self.shared.phase.lock() {
            Phase::Opening => IndexStatus::Opening,
            Phase::Following { fed, .. } => IndexStatus::Following {
                through: *fed,
                rebuilt: self.shared.distrusted.lock().clone(),
            },
            Phase::Building { why } => IndexStatus::Building { why: why.clone() },
            Phase::Failed { why } => IndexStatus::Failed { why: why.clone() },
        }
    }

    /// Waits until the index holds `seq`, has failed, or the time is over; whether it holds it.
    pub(crate) fn wait_for(&self, seq: Seq, timeout: Duration) -> bool {
        #[expect(
            clippy::disallowed_methods,
            reason = "sled's thread works in the machine's time"
        )]
        let deadline = Instant::now() + timeout;
        let mut phase = self.shared.phase.lock();
        loop {
            match &*phase {
                Phase::Following { fed, .. } if *fed >= seq => return true,
                Phase::Failed { .. } => return false,
                _ => {}
            }
            if self
                .shared
                .moved
                .wait_until(&mut phase, deadline)
                .timed_out()
            {
                return false;
            }
        }
    }

    /// What the index knows about a query; `None` where only the log can answer.
    pub(crate) fn query<E: Event>(
        &self,
        query: Query,
        from: Seq,
        limit: usize,
    ) -> Option<Known<E>> {
        let (store, fed, last) = match &*self.shared.phase.lock() {
            Phase::Following { store, fed, heads } => {
                (Arc::clone(store), *fed, heads.last_of(query))
            }
            Phase::Opening | Phase::Building { .. } | Phase::Failed { .. } => return None,
        };
        if from > fed {
            return Some(Known {
                records: Vec::new(),
                through: fed,
            });
        }
        let records = store
            .query(query, from, fed, limit, last)
            .and_then(|values| {
                values
                    .iter()
                    .map(|value| {
                        let (head, payload) = open_event(value)?;
                        record(&head, payload).map_err(|e| Broken(e.to_string()))
                    })
                    .collect::<Result<Vec<_>, _>>()
            });
        match records {
            Ok(records) => {
                release(store);
                Some(Known {
                    records,
                    through: fed,
                })
            }
            Err(Broken(why)) => {
                release(store);
                self.shared.distrust(why);
                self.wake();
                None
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        self.wake = None;
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            log::error!("the index thread ended in a panic");
        }
    }
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let end = self.reader.tip().seq;
        f.debug_struct("Follower")
            .field("status", &self.status())
            .field("log", &end)
            .finish()
    }
}

impl Shared {
    pub(super) fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    pub(super) fn set(&self, phase: Phase) {
        let old = std::mem::replace(&mut *self.phase.lock(), phase);
        self.moved.notify_all();
        if let Phase::Following { store, .. } = old {
            release(store);
        }
    }

    /// Takes a usable index out of use.
    fn distrust(&self, why: String) {
        let old = {
            let mut phase = self.phase.lock();
            if matches!(*phase, Phase::Building { .. } | Phase::Failed { .. }) {
                return;
            }
            log::warn!("the journal's index is unusable and is built anew: {why}");
            *self.distrusted.lock() = Some(why.clone());
            std::mem::replace(&mut *phase, Phase::Building { why })
        };
        if let Phase::Following { store, .. } = old {
            release(store);
        }
    }
}

/// Closes the index with its last user.
fn release(store: Arc<Store>) {
    if let Ok(store) = Arc::try_unwrap(store)
        && let Err(Broken(why)) = store.close()
    {
        log::debug!("closing the journal's index: {why}");
    }
}

/// Hears of an error that the journal must not go on with.
pub(crate) type Refuse = Box<dyn Fn(Error) + Send>;

enum Task {
    Open,
    Build,
    Follow,
}

pub(super) struct Worker {
    pub(super) shared: Arc<Shared>,
    pub(super) reader: Arc<Reader>,
    pub(super) family: u32,
    pub(super) path: PathBuf,
    /// As of the last record fed; the copy of those who ask follows when it is in the index.
    pub(super) heads: Heads,
    /// Where the log was read to.
    pub(super) cursor: Option<Cursor>,
    /// How far an index that is not open yet has seen the log, and the heads there.
    pub(super) deferred: Option<(Seq, Heads)>,
    pub(super) refuse: Refuse,
    unflushed: bool,
    pub(super) size: Size,
}

impl Worker {
    fn run(&mut self, woken: &Receiver<()>) {
        let mut builds = 0;
        while !self.shared.stopping() {
            let outcome = match self.task() {
                Task::Open => self.open(),
                Task::Build => {
                    builds += 1;
                    let built = self.build();
                    // One that was only too large was never unusable.
                    if built.is_ok() && std::mem::take(&mut self.size.outgrown) {
                        builds = 0;
                    }
                    built
                }
                Task::Follow => self.follow(),
            };
            if let Err(Broken(why)) = outcome {
                if builds >= BUILDS_MAX {
                    log::error!("the journal's index cannot be built: {why}");
                    self.shared.set(Phase::Failed { why });
                } else {
                    self.shared.distrust(why);
                }
                continue;
            }
            if self.outgrown() {
                continue;
            }
            if self.caught_up() && !self.idle(woken) {
                break;
            }
        }
        self.shared.set(Phase::Failed {
            why: "the journal was closed".to_owned(),
        });
    }

    fn task(&self) -> Task {
        match &*self.shared.phase.lock() {
            Phase::Opening => Task::Open,
            Phase::Building { .. } => Task::Build,
            Phase::Following { .. } | Phase::Failed { .. } => Task::Follow,
        }
    }

    fn caught_up(&self) -> bool {
        match &*self.shared.phase.lock() {
            Phase::Following { fed, .. } => *fed >= self.reader.tip().seq,
            Phase::Opening | Phase::Building { .. } => false,
            Phase::Failed { .. } => true,
        }
    }

    /// Waits for more in the log, flushing once it is quiet; `false` when the journal closes.
    fn idle(&mut self, woken: &Receiver<()>) -> bool {
        if !self.unflushed {
            return woken.recv().is_ok();
        }
        match woken.recv_timeout(FLUSH_AFTER) {
            Ok(()) => true,
            Err(RecvTimeoutError::Disconnected) => false,
            Err(RecvTimeoutError::Timeout) => {
                self.unflushed = false;
                if let Some((store, _)) = self.in_use() {
                    let flushed = store.flush();
                    release(store);
                    if let Err(Broken(why)) = flushed {
                        self.shared.distrust(why);
                    }
                }
                true
            }
        }
    }

    fn in_use(&self) -> Option<(Arc<Store>, Seq)> {
        match &*self.shared.phase.lock() {
            Phase::Following { store, fed, .. } => Some((Arc::clone(store), *fed)),
            Phase::Opening | Phase::Building { .. } | Phase::Failed { .. } => None,
        }
    }

    /// Feeds the next batch to the index in use.
    fn follow(&mut self) -> Result<(), Broken> {
        let Some((store, before)) = self.in_use() else {
            return Ok(());
        };
        let mut heads = std::mem::take(&mut self.heads);
        let mut moved = Vec::new();
        let fed = self.feed(&store, before, &mut heads, &mut moved);
        release(store);
        self.heads = heads;
        // What left the log before it was fed will not come any more.
        let gone = self.reader.base().seq;
        let last = match fed? {
            Some(last) => {
                self.unflushed = true;
                last
            }
            None if gone > before => gone,
            None => return Ok(()),
        };
        let mut phase = self.shared.phase.lock();
        if let Phase::Following { fed, heads, .. } = &mut *phase {
            *fed = last;
            moved
                .iter()
                .for_each(|(stream, kind, seq)| heads.set(*stream, *kind, *seq));
        }
        drop(phase);
        self.shared.moved.notify_all();
        Ok(())
    }

    /// Puts the next batch behind `fed` into a store; the last record put in.
    pub(super) fn feed(
        &mut self,
        store: &Store,
        fed: Seq,
        heads: &mut Heads,
        moved: &mut Vec<(StreamId, Kind, Seq)>,
    ) -> Result<Option<Seq>, Broken> {
        let mut batch = Batch::default();
        let end = self.reader.tip().seq;
        // What left the log before it was fed is not missed: answers begin with the log.
        let from = fed.next().max(self.reader.first());
        let read = self
            .reader
            .frames_on(&mut self.cursor, from, end, &mut |raw| {
                batch.add(raw, heads.pass(&raw.head));
                moved.push((raw.head.stream, raw.head.kind, raw.head.seq));
                let full = batch.records >= BATCH_RECORDS || batch.bytes >= BATCH_BYTES;
                Ok(if full {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            });
        match read {
            // They were archived meanwhile; what is read next begins behind them.
            Err(e) if e.kind() == ErrorKind::NotFound => self.cursor = None,
            outcome => outcome.map_err(|e| Broken(format!("reading the log: {e}")))?,
        }
        let last = batch.tip.map(|tip| tip.seq);
        store.put(batch)?;
        Ok(last)
    }
}
