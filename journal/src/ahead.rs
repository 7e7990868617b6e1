//! Replaying a long history with readers ahead of the projection: threads read, check and decode parts of it at the
//! same time, the caller's thread applies, in the same order as without. What comes out is the same to the byte.
//!
//! A part is an archive, or a few MiB of the log that begin where the chain's hash is known, so each is proved by
//! itself. What waits is bounded by its bytes in the log, except that one batch of the part that is
//! applied may always wait, so that nobody waits for each other.

use std::{collections::VecDeque, ops::ControlFlow};

use parking_lot::{Condvar, Mutex};

use crate::{
    archive::Chain,
    error::Error,
    event::Event,
    ids::Seq,
    journal::{Journal, Projection, Record, Visit, drive, replay},
    reader::{Reader, record},
};

/// With fewer records threads cost more than they save.
const WORTH_RECORDS: u64 = 20_000;
/// Readers at most; each more would only wait for the one who applies.
const READERS_MAX: usize = 4;
/// About so much of the log is one part.
pub(crate) const PART_BYTES: u64 = 4 << 20;
/// What is handed over at once.
const BATCH_BYTES: usize = 256 << 10;
/// What may wait to be applied.
const WAITING_BYTES: usize = 32 << 20;

/// As [`replay`], with threads that read ahead where there is enough to read and the journal can. They end
/// before this returns.
///
/// # Errors
/// As [`replay`]; `Io` where the system gives not even one thread; `Rejected` where a reader panics.
pub fn replay_ahead<E, J, P>(journal: &J, projection: &mut P) -> Result<Seq, Error>
where
    E: Event,
    J: Journal<E> + ?Sized,
    P: Projection<E> + ?Sized,
{
    let (at, end) = (projection.position(), journal.position().0);
    if end.get().saturating_sub(at.get()) < WORTH_RECORDS {
        return replay(journal, projection);
    }
    drive(end, projection, &mut |from, visit| {
        journal.history_ahead(from, visit)
    })
}

/// Visits the history from `from` on, read on several threads.
pub(crate) fn history<E: Event>(
    reader: &Reader,
    from: Seq,
    visit: &mut Visit<'_, E>,
) -> Result<(), Error> {
    let first = reader.first();
    let archives = match from < first {
        true => reader.archives()?,
        false => Chain::empty(first),
    };
    let parts = reader.parts(&archives, from, reader.tip().seq);
    read_parts((reader, &archives), parts, WAITING_BYTES, visit)
}

#[expect(
    clippy::disallowed_methods,
    reason = "readers ahead of one applier: the log's order stays"
)]
fn read_parts<E: Event>(
    source: (&Reader, &Chain),
    parts: Vec<(Seq, Seq)>,
    waiting_bytes: usize,
    visit: &mut Visit<'_, E>,
) -> Result<(), Error> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    // One core is the applier's: it is the slowest of them all.
    let readers = cores
        .saturating_sub(1)
        .clamp(1, READERS_MAX)
        .min(parts.len());
    let lane = Lane::new(parts, waiting_bytes);
    std::thread::scope(|scope| {
        // Closed before anybody waits for the readers, also where the visitor panics.
        let closing = Closing(&lane);
        let mut threads = Vec::with_capacity(readers);
        for number in 0..readers {
            let lane = closing.0;
            let started = std::thread::Builder::new()
                .name(format!("holdfast-replay-{number}"))
                .spawn_scoped(scope, move || lane.read(source));
            match started {
                Ok(thread) => threads.push(thread),
                Err(e) if threads.is_empty() => {
                    return Err(Error::io("start thread", "holdfast-replay", &e));
                }
                Err(e) => {
                    log::debug!("{} readers ahead, no more: {e}", threads.len());
                    break;
                }
            }
        }
        let applied = apply(closing.0, visit);
        drop(closing);
        // The scope panics for a panicked thread that nobody joined. Its part has the error already.
        for thread in threads {
            if thread.join().is_err() {
                log::error!("a reader ahead ended by a panic");
            }
        }
        applied
    })
}

/// Visits what the readers bring, in order.
fn apply<E: Event>(lane: &Lane<E>, visit: &mut Visit<'_, E>) -> Result<(), Error> {
    while let Some(batch) = lane.next()? {
        for record in batch {
            visit(record)?;
        }
    }
    Ok(())
}

/// Records that were read, and their bytes in the log.
struct Batch<E> {
    records: Vec<Record<E>>,
    bytes: usize,
}

impl<E> Batch<E> {
    fn new() -> Self {
        Self {
            records: Vec::new(),
            bytes: 0,
        }
    }
}

/// A part that is being read or waits to be applied.
struct Part<E> {
    waiting: VecDeque<Batch<E>>,
    /// How its reading ended.
    ended: Option<Result<(), Error>>,
}

struct State<E> {
    /// Parts that a reader has taken.
    taken: usize,
    /// The part that is applied; it is the first of `parts`, once it was taken.
    applied: usize,
    /// From the one that is applied to the last taken.
    parts: VecDeque<Part<E>>,
    waiting_bytes: usize,
    /// Nobody takes any more.
    closed: bool,
}

/// What stands between the readers and the one who applies.
struct Lane<E> {
    all: Vec<(Seq, Seq)>,
    bound: usize,
    state: Mutex<State<E>>,
    /// Something was taken away.
    room: Condvar,
    /// Something was put.
    ready: Condvar,
}

struct Closing<'a, E>(&'a Lane<E>);

impl<E> Drop for Closing<'_, E> {
    fn drop(&mut self) {
        self.0.state.lock().closed = true;
        self.0.room.notify_all();
    }
}

/// A part in the hands of a reader; one that is let go of without an end was left by a panic.
struct Taken<'a, E> {
    lane: &'a Lane<E>,
    number: usize,
    ended: bool,
}

impl<E> Drop for Taken<'_, E> {
    fn drop(&mut self) {
        if !self.ended {
            let panic = Err(Error::rejected("a reader ahead ended by a panic"));
            self.lane.end(self.number, panic);
        }
    }
}

impl<E> Lane<E> {
    fn new(all: Vec<(Seq, Seq)>, bound: usize) -> Self {
        let state = State {
            taken: 0,
            applied: 0,
            parts: VecDeque::new(),
            waiting_bytes: 0,
            closed: false,
        };
        Self {
            all,
            bound,
            state: Mutex::new(state),
            room: Condvar::new(),
            ready: Condvar::new(),
        }
    }

    /// The next part to read.
    fn take(&self) -> Option<(Taken<'_, E>, (Seq, Seq))> {
        let mut state = self.state.lock();
        let number = state.taken;
        let part = self.all.get(number).filter(|_| !state.closed)?;
        state.taken += 1;
        state.parts.push_back(Part {
            waiting: VecDeque::new(),
            ended: None,
        });
        let taken = Taken {
            lane: self,
            number,
            ended: false,
        };
        Some((taken, *part))
    }

    /// Hands over what was read, once there is room; whether anybody still wants it.
    fn put(&self, number: usize, batch: Batch<E>) -> bool {
        let mut state = self.state.lock();
        while !state.closed && !state.fits(number, batch.bytes, self.bound) {
            self.room.wait(&mut state);
        }
        let closed = state.closed;
        let at = number - state.applied;
        if !closed && let Some(part) = state.parts.get_mut(at) {
            let bytes = batch.bytes;
            part.waiting.push_back(batch);
            state.waiting_bytes += bytes;
            self.ready.notify_all();
        }
        !closed
    }

    fn end(&self, number: usize, how: Result<(), Error>) {
        let mut state = self.state.lock();
        let at = number - state.applied;
        if let Some(part) = state.parts.get_mut(at) {
            part.ended = Some(how);
        }
        self.ready.notify_all();
    }

    /// The next records in order; `None` at the end.
    fn next(&self) -> Result<Option<Vec<Record<E>>>, Error> {
        let mut state = self.state.lock();
        loop {
            if state.applied == self.all.len() {
                return Ok(None);
            }
            let Some(part) = state.parts.front_mut() else {
                self.ready.wait(&mut state);
                continue;
            };
            if let Some(batch) = part.waiting.pop_front() {
                state.waiting_bytes -= batch.bytes;
                self.room.notify_all();
                return Ok(Some(batch.records));
            }
            match part.ended.take() {
                None => self.ready.wait(&mut state),
                Some(how) => {
                    how?;
                    state.parts.pop_front();
                    state.applied += 1;
                    self.room.notify_all();
                }
            }
        }
    }
}

impl<E> State<E> {
    /// Whether a batch of this part may wait now.
    fn fits(&self, number: usize, bytes: usize, bound: usize) -> bool {
        let next = number == self.applied;
        let nothing = self
            .parts
            .front()
            .is_none_or(|part| part.waiting.is_empty());
        self.waiting_bytes + bytes <= bound || (next && nothing)
    }
}

impl<E: Event> Lane<E> {
    /// Reads one part after the other, until there is none or nobody wants them.
    fn read(&self, (reader, archives): (&Reader, &Chain)) {
        while let Some((mut taken, (from, to))) = self.take() {
            let mut batch = Batch::new();
            let read = reader.history_with(Some(archives), (from, to), &mut |raw| {
                batch.records.push(record(&raw.head, raw.payload)?);
                batch.bytes += raw.bytes.len();
                if batch.bytes < BATCH_BYTES {
                    return Ok(ControlFlow::Continue(()));
                }
                let full = std::mem::replace(&mut batch, Batch::new());
                Ok(match self.put(taken.number, full) {
                    true => ControlFlow::Continue(()),
                    false => ControlFlow::Break(()),
                })
            });
            // What was read before an error is applied before it is heard of, as without readers.
            self.put(taken.number, batch);
            self.end(taken.number, read);
            taken.ended = true;
        }
    }
}

#[cfg(test)]
mod tests;
