//! The contract of a journal, and what is built on reading one.
//!
//! [`Journal`] is the seam that owners hold; the file journal and the in-memory twin implement it
//! and pass [`conformance`](crate::conformance). Everything that reads events to build something is
//! a [`Projection`]; there is one way to replay.

use serde::Serialize;

use crate::{
    archive::{ArchiveInfo, ArchiveRequest, Archives},
    error::{Error, ErrorKind},
    event::Event,
    ids::{FrameHash, Kind, Seq, StreamId},
};

/// One event with its place in the journal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Record<E> {
    /// Its place.
    pub seq: Seq,
    /// Wall clock when it was appended, milliseconds since 1970, as the appender gave it. It may
    /// run backwards from one record to the next; the order is `seq`.
    pub at_ms: u64,
    /// What it is about.
    pub stream: StreamId,
    /// The number its payload was written under; an older number than `event.kind()` after an
    /// upcast.
    pub kind: Kind,
    /// The chain hash up to and including this record.
    pub hash: FrameHash,
    /// What happened.
    pub event: E,
}

/// Where a transaction went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Sequence of its first event.
    pub first: Seq,
    /// Sequence of its last event.
    pub last: Seq,
    /// Chain hash at `last`.
    pub hash: FrameHash,
}

/// The kept state of a projection, checked against the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checkpoint {
    /// The last record that the state includes.
    pub seq: Seq,
    /// Chain hash at `seq`.
    pub hash: FrameHash,
    /// The state, in the projection's own form.
    pub state: Vec<u8>,
}

/// A checkpoint that is kept, whether it can be used or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The name of its file.
    pub name: String,
    /// The last record that it says it includes, by its name.
    pub seq: Seq,
    /// What it holds, whole and in agreement with the log; else why it is passed over.
    pub content: Result<Checkpoint, Error>,
}

/// A visitor of records; an error ends the visit and is handed to the caller of `read`.
pub type Visit<'a, E> = dyn FnMut(Record<E>) -> Result<(), Error> + 'a;

/// A durable, ordered, gapless record of events.
///
/// # Contract
/// - `append` is a transaction: all of its events are in the journal, next to each other, or none.
///   It returns after they are durable. Events of concurrent callers share a sync; their order is
///   the order of `seq`.
/// - After [`Poisoned`](crate::ErrorKind::Poisoned) every later append fails the same way. Whether
///   the events of the failed append are in the journal is known only after opening it again.
///   Reading goes on up to the last durable record.
/// - After [`Full`](crate::ErrorKind::Full) nothing of the transaction is in the journal, and the
///   journal stays usable.
/// - Nothing that is read was ever unacknowledged at that moment: `read`, `by_stream` and
///   `by_kind` end at `position()`.
pub trait Journal<E: Event>: Send + Sync {
    /// Appends `events` as one transaction, stamped with the wall clock `at_ms`.
    ///
    /// # Errors
    /// `Invalid` for no events or one that is too large, `Full`, `Io` where nothing was written,
    /// `Poisoned` where the outcome is unknown.
    fn append(&self, events: &[E], at_ms: u64) -> Result<Appended, Error>;

    /// As [`append`](Journal::append), but may use the space held back for what must be recorded
    /// on a full disk, such as a cancel.
    ///
    /// # Errors
    /// As `append`.
    fn append_urgent(&self, events: &[E], at_ms: u64) -> Result<Appended, Error> {
        self.append(events, at_ms)
    }

    /// The last durable record, [`Seq::ZERO`] and the genesis hash before the first.
    fn position(&self) -> (Seq, FrameHash);

    /// The first record still kept; 1 unless leading segments were archived.
    fn first(&self) -> Seq;

    /// Visits the records from `from` (or the first kept, where that is later) to the position at
    /// the time of the call, in order.
    ///
    /// # Errors
    /// `Damaged` where a record no longer agrees with its checksum or the chain; what the visitor
    /// returned.
    fn read(&self, from: Seq, visit: &mut Visit<'_, E>) -> Result<(), Error>;

    /// Up to `limit` records of one stream, from `from` on, in order.
    ///
    /// # Errors
    /// As [`read`](Journal::read).
    fn by_stream(&self, stream: StreamId, from: Seq, limit: usize)
    -> Result<Vec<Record<E>>, Error>;

    /// Up to `limit` records written under one kind, from `from` on, in order.
    ///
    /// # Errors
    /// As [`read`](Journal::read).
    fn by_kind(&self, kind: Kind, from: Seq, limit: usize) -> Result<Vec<Record<E>>, Error>;

    /// Keeps the state of a projection as of record `seq`, once it was read back as it was written. The
    /// last two of each name are kept.
    ///
    /// # Errors
    /// `Invalid` for a name that is not `[a-z0-9-]{1,64}` or a `seq` outside the journal; `Full`;
    /// `Io`.
    fn checkpoint(&self, seq: Seq, projection: &str, state: &[u8]) -> Result<(), Error>;

    /// The newest state kept for a projection that includes no record behind `through`, is whole and
    /// agrees with the log; a damaged one is passed over for the one before.
    ///
    /// # Errors
    /// `Invalid` for a bad name, `Io`.
    fn checkpoint_by(&self, projection: &str, through: Seq) -> Result<Option<Checkpoint>, Error>;

    /// The newest of all, see [`checkpoint_by`](Journal::checkpoint_by).
    ///
    /// # Errors
    /// As there.
    fn latest_checkpoint(&self, projection: &str) -> Result<Option<Checkpoint>, Error> {
        self.checkpoint_by(projection, self.position().0)
    }

    /// Begins a new segment where the one that is written holds anything, so that every record up
    /// to now can be archived. Changes nothing that can be read.
    ///
    /// # Errors
    /// `Invalid` for a journal that keeps no archives, `Full`, `Io`, `Poisoned`.
    fn roll(&self) -> Result<(), Error> {
        Err(no_archives())
    }

    /// Moves the whole leading segments whose records all lie before `request.before` into one
    /// compressed archive; `None` where there is no such segment. When it returns, archive and
    /// [`first`](Journal::first) are durable; after a kill at any moment the next opening has
    /// finished the move or undone it. Appends go on meanwhile.
    ///
    /// # Errors
    /// `Invalid` where no whole checkpoint of `request.projection` includes every record that would
    /// leave, and for a journal that keeps no archives; `Damaged` where a record that would leave
    /// is; `Full`; `Io`; `Poisoned`. But for `Io`, nothing has changed then; after `Io` it may be unknown whether the
    /// records are in the log or in the archive: every later call then fails the same way, and the next opening says
    /// which.
    fn archive(&self, request: &ArchiveRequest<'_>) -> Result<Option<ArchiveInfo>, Error> {
        let _ = request;
        Err(no_archives())
    }

    /// The archives at hand, and what is missing of them.
    ///
    /// # Errors
    /// `Io`.
    fn archives(&self) -> Result<Archives, Error> {
        Ok(Archives {
            found: Vec::new(),
            missing: (self.first() > Seq::FIRST).then(|| "every archive".to_owned()),
        })
    }

    /// As [`read`](Journal::read), with the archived records before those of the log: one history.
    ///
    /// # Errors
    /// As `read`; `NotFound`, naming the file to put back, where archives with records from `from`
    /// on were moved away or are not whole.
    fn history(&self, from: Seq, visit: &mut Visit<'_, E>) -> Result<(), Error> {
        let first = self.first();
        if from.max(Seq::FIRST) < first {
            let text = format!("records before {first} are not in this journal");
            return Err(Error::new(ErrorKind::NotFound, text));
        }
        self.read(from, visit)
    }

    /// As [`history`](Journal::history), in the same order on the caller's thread; a journal may read ahead on
    /// threads of its own, which end before this returns.
    ///
    /// # Errors
    /// As there; `Io` where the system gives no thread.
    fn history_ahead(&self, from: Seq, visit: &mut Visit<'_, E>) -> Result<(), Error> {
        self.history(from, visit)
    }
}

fn no_archives() -> Error {
    Error::invalid("this kind of journal keeps no archives")
}

/// Something built from the records of a journal, in order, and from nothing else.
pub trait Projection<E> {
    /// Takes in the next record. It is called with `position().next()` only.
    ///
    /// # Errors
    /// [`Rejected`](crate::ErrorKind::Rejected) for a record that cannot follow.
    fn apply(&mut self, record: &Record<E>) -> Result<(), Error>;

    /// The last record taken in.
    fn position(&self) -> Seq;
}

/// Brings a projection up to the position of the journal, from archived records first where it
/// needs them; returns that position.
///
/// # Errors
/// What reading or the projection reports; `Rejected` where the projection is ahead of the journal;
/// `NotFound`, naming the file, where archived records that it needs were moved away.
pub fn replay<E, J, P>(journal: &J, projection: &mut P) -> Result<Seq, Error>
where
    E: Event,
    J: Journal<E> + ?Sized,
    P: Projection<E> + ?Sized,
{
    let end = journal.position().0;
    drive(end, projection, &mut |from, visit| {
        journal.history(from, visit)
    })
}

/// A way to read records from a sequence on.
type ReadFrom<'a, E> = dyn FnMut(Seq, &mut Visit<'_, E>) -> Result<(), Error> + 'a;

/// The one way to replay, over any way to read.
pub(crate) fn drive<E, P>(
    end: Seq,
    projection: &mut P,
    read: &mut ReadFrom<'_, E>,
) -> Result<Seq, Error>
where
    P: Projection<E> + ?Sized,
{
    let at = projection.position();
    if at > end {
        return Err(Error::rejected(format!(
            "projection is at {at}, the journal ends at {end}"
        )));
    }
    read(at.next(), &mut |record| step(projection, &record))?;
    Ok(projection.position())
}

/// Hands the next record to a projection.
pub(crate) fn step<E, P>(projection: &mut P, record: &Record<E>) -> Result<(), Error>
where
    P: Projection<E> + ?Sized,
{
    let expected = projection.position().next();
    if record.seq != expected {
        let text = format!("projection needs record {expected}, found {}", record.seq);
        return Err(Error::rejected(text));
    }
    projection.apply(record)
}
