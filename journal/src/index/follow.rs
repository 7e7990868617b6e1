//! The thread that keeps the index behind the log.
//!
//! It owns all writing to sled. It wakes on a bounded signal (a full one is as good as two), reads
//! what is durable from the log itself and feeds it in batches; so it can be any distance behind
//! and nobody waits. When the index is unusable it builds another in a folder beside it, renames it
//! into place and goes on.

use std::{
    collections::VecDeque,
    ops::ControlFlow,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
    time::Duration,
};

use crossbeam::channel::{Receiver, RecvTimeoutError, Sender, bounded};
use parking_lot::{Condvar, Mutex};

use super::{
    Heads, IndexStatus,
    store::{Batch, Broken, Store, open_event},
};
use crate::{
    error::Error,
    event::Event,
    frame::Head,
    ids::{Kind, Seq, StreamId},
    journal::Record,
    reader::{Reader, record},
};

const BATCH_RECORDS: usize = 4_096;
const BATCH_BYTES: usize = 4 << 20;
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

/// How the thread begins.
pub(crate) enum Begin {
    /// With a usable index that holds everything up to `fed`.
    Follow {
        store: Store,
        fed: Seq,
        heads: Heads,
    },
    /// With none.
    Build { why: String },
}

enum Phase {
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

struct Shared {
    phase: Mutex<Phase>,
    moved: Condvar,
    stop: AtomicBool,
}

/// The index of an open journal.
pub(crate) struct Follower {
    shared: Arc<Shared>,
    reader: Arc<Reader>,
    wake: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
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
        path: PathBuf,
        begin: Begin,
    ) -> Result<Self, Error> {
        let mut known = Heads::default();
        let phase = match begin {
            Begin::Follow { store, fed, heads } => {
                known.clone_from(&heads);
                Phase::Following {
                    store: Arc::new(store),
                    fed,
                    heads,
                }
            }
            Begin::Build { why } => Phase::Building { why },
        };
        let shared = Arc::new(Shared {
            phase: Mutex::new(phase),
            moved: Condvar::new(),
            stop: AtomicBool::new(false),
        });
        let (wake, woken) = bounded(1);
        let mut worker = Worker {
            shared: Arc::clone(&shared),
            reader: Arc::clone(&reader),
            family,
            path,
            heads: known,
            unflushed: false,
        };
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
            Phase::Following { fed, .. } => IndexStatus::Following { through: *fed },
            Phase::Building { why } => IndexStatus::Building { why: why.clone() },
            Phase::Failed { why } => IndexStatus::Failed { why: why.clone() },
        }
    }

    /// Waits until the index holds `seq`, has failed, or the time is over; whether it holds it.
    pub(crate) fn wait_for(&self, seq: Seq, timeout: Duration) -> bool {
        let mut phase = self.shared.phase.lock();
        let mut settled = false;
        let mut left = timeout;
        while !settled {
            settled = match &*phase {
                Phase::Following { fed, .. } if *fed >= seq => return true,
                Phase::Failed { .. } => return false,
                _ => left.is_zero(),
            };
            let step = left.min(Duration::from_millis(50));
            self.shared.moved.wait_for(&mut phase, step);
            left = left.saturating_sub(step);
        }
        false
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
            Phase::Building { .. } | Phase::Failed { .. } => return None,
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
    fn stopping(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn set(&self, phase: Phase) {
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
            if !matches!(*phase, Phase::Following { .. }) {
                return;
            }
            log::warn!("the journal's index is unusable and is built anew: {why}");
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

struct Worker {
    shared: Arc<Shared>,
    reader: Arc<Reader>,
    family: u32,
    path: PathBuf,
    /// As of the last record fed; the copy of those who ask follows when it is in the index.
    heads: Heads,
    unflushed: bool,
}

impl Worker {
    fn run(&mut self, woken: &Receiver<()>) {
        let mut builds = 0;
        while !self.shared.stopping() {
            let building = matches!(*self.shared.phase.lock(), Phase::Building { .. });
            let outcome = if building {
                builds += 1;
                self.build()
            } else {
                self.follow()
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
            if self.caught_up() && !self.idle(woken) {
                break;
            }
        }
        self.shared.set(Phase::Failed {
            why: "the journal was closed".to_owned(),
        });
    }

    fn caught_up(&self) -> bool {
        match &*self.shared.phase.lock() {
            Phase::Following { fed, .. } => *fed >= self.reader.tip().seq,
            Phase::Building { .. } => false,
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
            Phase::Building { .. } | Phase::Failed { .. } => None,
        }
    }

    /// Feeds the next batch to the index in use.
    fn follow(&mut self) -> Result<(), Broken> {
        let Some((store, fed)) = self.in_use() else {
            return Ok(());
        };
        let mut heads = std::mem::take(&mut self.heads);
        let mut moved = Vec::new();
        let fed = self.feed(&store, fed, &mut heads, &mut moved);
        release(store);
        self.heads = heads;
        let Some(last) = fed? else { return Ok(()) };
        self.unflushed = true;
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
    fn feed(
        &self,
        store: &Store,
        fed: Seq,
        heads: &mut Heads,
        moved: &mut Vec<(StreamId, Kind, Seq)>,
    ) -> Result<Option<Seq>, Broken> {
        let mut batch = Batch::default();
        let end = self.reader.tip().seq;
        self.reader
            .frames(fed.next(), end, &mut |raw| {
                batch.add(raw, heads.pass(&raw.head));
                moved.push((raw.head.stream, raw.head.kind, raw.head.seq));
                let full = batch.records >= BATCH_RECORDS || batch.bytes >= BATCH_BYTES;
                Ok(if full {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            })
            .map_err(|e| Broken(format!("reading the log: {e}")))?;
        let last = batch.tip.map(|tip| tip.seq);
        store.put(batch)?;
        Ok(last)
    }

    /// Builds an index from the whole log and puts it in the place of the one there.
    fn build(&mut self) -> Result<(), Broken> {
        let fresh = self.path.with_extension("new");
        remove(&fresh)?;
        let store = Store::open(&fresh, self.family)?;
        let (mut fed, mut heads) = (Seq::ZERO, Heads::default());
        let mut moved = Vec::new();
        loop {
            match self.feed(&store, fed, &mut heads, &mut moved) {
                Ok(Some(last)) => fed = last,
                Ok(None) => break,
                Err(broken) => {
                    // Its own failure to close would hide what it was.
                    let _ = store.close();
                    return Err(broken);
                }
            }
            moved.clear();
            // What is built so far is an index that is behind, which the next opening goes on with.
            if self.shared.stopping() {
                break;
            }
        }
        store.close()?;
        sync_files(&fresh)?;
        self.swap(&fresh)?;
        let store = Store::open(&self.path, self.family)?;
        if store.position()?.map_or(Seq::ZERO, |tip| tip.seq) != fed {
            return Err(Broken(
                "the index built last is not the one opened".to_owned(),
            ));
        }
        log::info!("the journal's index was built anew, through sequence {fed}");
        self.heads.clone_from(&heads);
        self.shared.set(Phase::Following {
            store: Arc::new(store),
            fed,
            heads,
        });
        Ok(())
    }

    fn swap(&self, fresh: &Path) -> Result<(), Broken> {
        remove(&self.path)?;
        let renamed = std::fs::rename(fresh, &self.path).and_then(|()| {
            let parent = self.path.parent().unwrap_or(Path::new("."));
            std::fs::File::open(parent)?.sync_all()
        });
        renamed.map_err(|e| Broken(format!("rename {}: {e}", fresh.display())))
    }
}

fn remove(path: &Path) -> Result<(), Broken> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Broken(format!("remove {}: {e}", path.display())))
        }
        _ => Ok(()),
    }
}

/// sled's flush is no device barrier, so its files are synced before the rename relies on them.
fn sync_files(path: &Path) -> Result<(), Broken> {
    let sync = || -> std::io::Result<()> {
        let mut folders = VecDeque::from([path.to_path_buf()]);
        while let Some(folder) = folders.pop_front() {
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push_back(entry.path());
                } else {
                    std::fs::File::open(entry.path())?.sync_all()?;
                }
            }
            std::fs::File::open(&folder)?.sync_all()?;
        }
        Ok(())
    };
    sync().map_err(|e| Broken(format!("sync {}: {e}", path.display())))
}
