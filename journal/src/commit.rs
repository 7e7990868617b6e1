//! Group commit: many callers, one writer at a time, one sync for all that waited.
//!
//! A caller queues its encoded transaction. The first to find no leader becomes one: it takes
//! everything queued, numbers it, writes it with one write and one sync, hands leadership to the
//! first of those who came meanwhile, and answers. A failed write or sync poisons: what is on disk
//! is then unknown, and only a new opening finds out. No space left is told apart, because it can
//! be undone by cutting off what was written.

use std::{io, sync::Arc};

use parking_lot::{Condvar, Mutex};

use crate::{
    disk::{Disk, DiskFile},
    error::{Error, ErrorKind},
    ids::{FrameHash, Seq},
    journal::Appended,
    reader::Reader,
    segment::{self, Header, Segment},
    transaction::{Tip, Transaction},
};

/// The file whose space is given up so that a full disk can still record what is urgent.
pub(crate) const RESERVE: &str = "reserve";

/// Whether a transaction may use the space held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    Ordinary,
    Urgent,
}

#[derive(Debug)]
enum Turn {
    Wait,
    Lead,
    Done(Result<Appended, Error>),
}

#[derive(Debug)]
struct Slot {
    turn: Mutex<Turn>,
    changed: Condvar,
}

impl Slot {
    fn set(&self, turn: Turn) {
        *self.turn.lock() = turn;
        self.changed.notify_one();
    }

    /// Waits for an answer (`Some`) or for leadership.
    fn wait(&self) -> Option<Result<Appended, Error>> {
        let mut turn = self.turn.lock();
        loop {
            match &*turn {
                Turn::Wait => self.changed.wait(&mut turn),
                Turn::Lead => return None,
                Turn::Done(result) => return Some(result.clone()),
            }
        }
    }
}

#[derive(Debug)]
struct Pending {
    transaction: Transaction,
    urgency: Urgency,
    slot: Arc<Slot>,
}

#[derive(Debug, Default)]
struct Queue {
    pending: Vec<Pending>,
    led: bool,
    poisoned: Option<Error>,
}

/// Where the next frame goes.
#[derive(Debug)]
struct Writer {
    file: Box<dyn DiskFile>,
    name: String,
    offset: u64,
    seed: u32,
    tip: Tip,
    reserve: Reserve,
    /// Whether what is on disk is known; nothing is written any more once it is not.
    sound: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reserve {
    /// It is there, or its absence says nothing about the space left.
    Held,
    /// The disk is too full for it, so only what is urgent is written.
    Missing,
}

/// Sizes that the owner chose.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sizes {
    pub(crate) segment_bytes: u64,
    pub(crate) reserve_bytes: u64,
}

/// The writing side of a log.
#[derive(Debug)]
pub(crate) struct Committer {
    reader: Arc<Reader>,
    family: u32,
    sizes: Sizes,
    queue: Mutex<Queue>,
    writer: Mutex<Writer>,
}

/// Why a batch is not in the log.
enum Failure {
    /// It certainly is not, and the log is as before.
    Undone(Error),
    /// Nobody knows.
    Unknown(Error),
}

impl Committer {
    /// Goes on behind `tip`, at byte `end` of the last segment; begins a log where there is none.
    pub(crate) fn open(
        reader: Arc<Reader>,
        family: u32,
        sizes: Sizes,
        last: Option<(String, u32, u64)>,
    ) -> Result<Self, Error> {
        let tip = reader.tip();
        let disk = Arc::clone(reader.disk());
        let (file, name, seed, offset) = match last {
            Some((name, seed, end)) => {
                let file = disk.open(&name).map_err(|e| Error::io("open", &name, &e))?;
                (file, name, seed, end)
            }
            None => {
                let (file, segment) = begin_segment(&*disk, family, tip)?;
                let (name, seed) = (segment.name.clone(), segment.seed);
                reader.add_segment(segment);
                (file, name, seed, segment::HEADER_BYTES as u64)
            }
        };
        let reserve = hold_reserve(&*disk, sizes.reserve_bytes);
        let writer = Writer {
            file,
            name,
            offset,
            seed,
            tip,
            reserve,
            sound: true,
        };
        let queue = Mutex::new(Queue::default());
        Ok(Self {
            reader,
            family,
            sizes,
            queue,
            writer: Mutex::new(writer),
        })
    }

    /// Appends one transaction and returns when it is durable.
    pub(crate) fn submit(
        &self,
        transaction: Transaction,
        urgency: Urgency,
    ) -> Result<Appended, Error> {
        let slot = Arc::new(Slot {
            turn: Mutex::new(Turn::Wait),
            changed: Condvar::new(),
        });
        let leads = {
            let mut queue = self.queue.lock();
            if let Some(error) = &queue.poisoned {
                return Err(error.clone());
            }
            queue.pending.push(Pending {
                transaction,
                urgency,
                slot: Arc::clone(&slot),
            });
            !std::mem::replace(&mut queue.led, true)
        };
        if !leads && let Some(result) = slot.wait() {
            return result;
        }
        self.lead();
        slot.wait()
            .unwrap_or_else(|| Err(Error::poisoned("the leader's append went unanswered")))
    }

    /// Begins a new segment where the one that is written holds anything, so that all before can
    /// leave the log.
    pub(crate) fn begin_next(&self) -> Result<(), Error> {
        let mut writer = self.writer.lock();
        self.usable()?;
        if !writer.sound {
            return Err(Error::poisoned("an append before this one failed"));
        }
        if writer.offset <= segment::HEADER_BYTES as u64 {
            return Ok(());
        }
        match self.roll(&mut writer) {
            Ok(()) => Ok(()),
            Err(Failure::Undone(error)) => Err(error),
            Err(Failure::Unknown(error)) => {
                writer.sound = false;
                let error = Error::poisoned(&error.to_string());
                self.poison(error.clone());
                Err(error)
            }
        }
    }

    /// Whether the log takes more.
    pub(crate) fn usable(&self) -> Result<(), Error> {
        self.queue.lock().poisoned.clone().map_or(Ok(()), Err)
    }

    /// Accepts nothing more. What is being written is answered as it comes out.
    pub(crate) fn poison(&self, error: Error) {
        self.queue.lock().poisoned.get_or_insert(error);
    }

    /// Writes everything queued, passes leadership on and answers.
    fn lead(&self) {
        let batch = std::mem::take(&mut self.queue.lock().pending);
        let (answers, poison) = self.write(batch);
        let mut left = Vec::new();
        {
            let mut queue = self.queue.lock();
            if let Some(error) = poison {
                queue.poisoned = Some(error);
                left = std::mem::take(&mut queue.pending);
            }
            match queue.pending.first() {
                Some(next) => next.slot.set(Turn::Lead),
                None => queue.led = false,
            }
        }
        if !left.is_empty() {
            let error = Error::poisoned("an append before this one failed");
            left.iter()
                .for_each(|p| p.slot.set(Turn::Done(Err(error.clone()))));
        }
        for (slot, result) in answers {
            slot.set(Turn::Done(result));
        }
    }

    /// Writes a batch; also says whether the log is poisoned by it.
    fn write(&self, batch: Vec<Pending>) -> (Vec<Answer>, Option<Error>) {
        let mut writer = self.writer.lock();
        let (mut urgent, mut ordinary) = (Vec::new(), Vec::new());
        let mut all = batch;
        if writer.reserve == Reserve::Missing {
            writer.reserve = hold_reserve(&**self.reader.disk(), self.sizes.reserve_bytes);
        }
        if writer.reserve == Reserve::Held {
            let outcome = self.attempt(&mut writer, &mut all);
            writer.sound &= !matches!(outcome, Err(Failure::Unknown(_)));
            match outcome {
                Err(Failure::Undone(e)) if e.kind() == ErrorKind::Full => {}
                outcome => return answer(all, outcome),
            }
        }
        for pending in all {
            match pending.urgency {
                Urgency::Urgent => urgent.push(pending),
                Urgency::Ordinary => ordinary.push(pending),
            }
        }
        let full = full_error(&writer.name);
        let (mut answers, _) = answer(ordinary, Err(Failure::Undone(full)));
        if urgent.is_empty() {
            return (answers, None);
        }
        if writer.reserve == Reserve::Held {
            writer.reserve = release_reserve(&**self.reader.disk());
        }
        let outcome = self.attempt(&mut writer, &mut urgent);
        writer.sound &= !matches!(outcome, Err(Failure::Unknown(_)));
        let (more, poison) = answer(urgent, outcome);
        answers.extend(more);
        (answers, poison)
    }

    /// One write and one sync for all of the batch.
    fn attempt(
        &self,
        writer: &mut Writer,
        batch: &mut [Pending],
    ) -> Result<Vec<Appended>, Failure> {
        let bytes: usize = batch.iter().map(|p| p.transaction.bytes().len()).sum();
        let begun = writer.offset > segment::HEADER_BYTES as u64;
        if begun && writer.offset + bytes as u64 > self.sizes.segment_bytes {
            self.roll(writer)?;
        }
        let mut tip = writer.tip;
        let (synced_through, seed) = (tip.seq, writer.seed);
        let (mut at, mut prev) = (writer.offset, tip.hash);
        let mut frames: Vec<(Seq, u64, FrameHash)> = Vec::with_capacity(batch.len());
        let mut appended = Vec::with_capacity(batch.len());
        let mut joined = Vec::new();
        for pending in batch.iter_mut() {
            let transaction = &mut pending.transaction;
            appended.push(
                transaction.seal(&mut tip, synced_through, seed, |head, start| {
                    frames.push((head.seq, at + start as u64, prev));
                    prev = head.hash;
                }),
            );
            at += transaction.bytes().len() as u64;
        }
        let whole = if let [only] = batch {
            only.transaction.bytes()
        } else {
            joined.reserve(bytes);
            batch
                .iter()
                .for_each(|p| joined.extend_from_slice(p.transaction.bytes()));
            &joined
        };
        self.persist(writer, whole)?;
        writer.offset = at;
        writer.tip = tip;
        self.reader.publish(&frames, tip);
        Ok(appended)
    }

    fn persist(&self, writer: &Writer, bytes: &[u8]) -> Result<(), Failure> {
        let name = &writer.name;
        if let Err(error) = writer.file.write_at(writer.offset, bytes) {
            let error = Error::io("write", name, &error);
            if error.kind() != ErrorKind::Full {
                return Err(Failure::Unknown(error));
            }
            // What was written may hold whole frames; they must not come back after a power cut.
            let undone = writer
                .file
                .truncate(writer.offset)
                .and_then(|()| writer.file.sync());
            return Err(match undone {
                Ok(()) => Failure::Undone(error),
                Err(e) => Failure::Unknown(Error::io("cut back", name, &e)),
            });
        }
        writer
            .file
            .sync()
            .map_err(|e| Failure::Unknown(Error::io("sync", name, &e)))
    }

    /// Begins the next segment. All of the one before is durable here: each batch was synced.
    fn roll(&self, writer: &mut Writer) -> Result<(), Failure> {
        let disk = &**self.reader.disk();
        let (file, segment) = match begin_segment(disk, self.family, writer.tip) {
            Ok(begun) => begun,
            Err(error) => {
                let name = segment::name(writer.tip.seq.next());
                // Left behind, the name would begin the sequence that the old segment goes on with.
                let removed = match disk.remove(&name) {
                    Err(e) if e.kind() == io::ErrorKind::NotFound => Ok(()),
                    other => other,
                };
                return Err(match removed.and_then(|()| disk.sync_folder()) {
                    Ok(()) => Failure::Undone(error),
                    Err(_) => Failure::Unknown(error),
                });
            }
        };
        writer.file = file;
        writer.name.clone_from(&segment.name);
        writer.seed = segment.seed;
        writer.offset = segment::HEADER_BYTES as u64;
        self.reader.add_segment(segment);
        Ok(())
    }
}

type Answer = (Arc<Slot>, Result<Appended, Error>);

fn answer(
    batch: Vec<Pending>,
    outcome: Result<Vec<Appended>, Failure>,
) -> (Vec<Answer>, Option<Error>) {
    let slots = batch.into_iter().map(|p| p.slot);
    match outcome {
        Ok(appended) => (slots.zip(appended.into_iter().map(Ok)).collect(), None),
        Err(Failure::Undone(error)) => (slots.map(|s| (s, Err(error.clone()))).collect(), None),
        Err(Failure::Unknown(error)) => {
            log::error!("journal poisoned: {error}");
            let error = Error::poisoned(&error.to_string());
            (
                slots.map(|s| (s, Err(error.clone()))).collect(),
                Some(error),
            )
        }
    }
}

fn full_error(name: &str) -> Error {
    let text = format!("no space is left to append to {name}, free some and repeat");
    Error::new(ErrorKind::Full, text)
}

/// Makes the segment behind `tip`, durable with its name.
fn begin_segment(
    disk: &dyn Disk,
    family: u32,
    tip: Tip,
) -> Result<(Box<dyn DiskFile>, Segment), Error> {
    let header = Header {
        family,
        first: tip.seq.next(),
        prev: tip.hash,
    };
    let (bytes, seed) = segment::encode(&header);
    let segment = Segment::new(&header, seed);
    let failed = |e: &io::Error| Error::io("create", &segment.name, e);
    let file = disk.create(&segment.name).map_err(|e| failed(&e))?;
    file.write_at(0, &bytes).map_err(|e| failed(&e))?;
    file.sync().map_err(|e| failed(&e))?;
    disk.sync_folder().map_err(|e| failed(&e))?;
    Ok((file, segment))
}

/// Holds space back; a disk too full for it is said, not refused.
fn hold_reserve(disk: &dyn Disk, bytes: u64) -> Reserve {
    let hold = || -> io::Result<()> {
        let file = match disk.open(RESERVE) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => disk.create(RESERVE)?,
            Err(e) => return Err(e),
        };
        let mut at = file.bytes()?;
        if at == bytes {
            return Ok(());
        }
        if at > bytes {
            file.truncate(bytes)?;
        }
        let zeros = [0_u8; 1 << 16];
        while at < bytes {
            let part = (bytes - at).min(zeros.len() as u64);
            file.write_at(at, &zeros[..usize::try_from(part).unwrap_or(0)])?;
            at += part;
        }
        file.sync()?;
        disk.sync_folder()
    };
    match hold() {
        Ok(()) => Reserve::Held,
        Err(error) if Error::io("hold", RESERVE, &error).kind() != ErrorKind::Full => {
            log::warn!("journal holds no space back for a full disk: {error}");
            Reserve::Held
        }
        Err(error) => {
            log::warn!("journal accepts urgent events only: {error}");
            // A part of it would only keep urgent events from what space there is.
            if bytes > 0 && disk.remove(RESERVE).is_err() {
                log::debug!("journal reserve was not there to remove");
            }
            Reserve::Missing
        }
    }
}

/// Gives back what is held back, durably.
pub(crate) fn give_up_reserve(disk: &dyn Disk) -> io::Result<()> {
    disk.remove(RESERVE).and_then(|()| disk.sync_folder())
}

fn release_reserve(disk: &dyn Disk) -> Reserve {
    if let Err(error) = give_up_reserve(disk) {
        log::warn!("journal could not give up its reserve: {error}");
    }
    Reserve::Missing
}
