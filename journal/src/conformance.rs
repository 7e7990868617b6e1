//! The contract of [`Journal`] as a suite that any implementation runs.
//!
//! It asks only through the trait, on journals that the [`Subject`] makes, and says which promise
//! was broken instead of panicking, so that it may run inside any test harness.

use std::{fmt::Debug, sync::Arc, thread};

use crate::{
    archive::ArchiveRequest,
    error::{Error, ErrorKind},
    event::Event,
    ids::{FrameHash, Kind, Seq, StreamId},
    journal::{Journal, Projection, Record, replay},
};

/// What the suite needs from the implementation under test.
pub trait Subject {
    /// The events it appends.
    type Event: Event;
    /// The journal.
    type Journal: Journal<Self::Event>;

    /// A new, empty journal, apart from all others.
    ///
    /// # Errors
    /// Why there is none; the suite ends with it.
    fn fresh(&self) -> Result<Self::Journal, Error>;

    /// Closes a journal and opens it again.
    ///
    /// # Errors
    /// Why it does not open; the suite ends with it.
    fn reopen(&self, journal: Self::Journal) -> Result<Self::Journal, Error>;

    /// An event of the stream `stream`; different `n` make different events. At least two kinds
    /// must come up among the first eight `n`.
    fn event(&self, stream: StreamId, n: u64) -> Self::Event;
}

type Check = Result<(), String>;

fn ok<T>(what: &str, result: Result<T, Error>) -> Result<T, String> {
    result.map_err(|e| format!("{what}: {e}"))
}

fn same<T: PartialEq + Debug>(what: &str, found: T, expected: T) -> Check {
    if found == expected {
        return Ok(());
    }
    Err(format!("{what}: found {found:?}, expected {expected:?}"))
}

fn refused<T: Debug>(what: &str, result: Result<T, Error>, kind: ErrorKind) -> Check {
    match result {
        Err(e) if e.kind() == kind => Ok(()),
        other => Err(format!(
            "{what}: found {other:?}, expected a refusal of kind {kind:?}"
        )),
    }
}

/// Runs the whole suite; the message names the first promise broken.
///
/// # Errors
/// The broken promise.
pub fn run<S: Subject + Sync>(subject: &S) -> Result<(), String> {
    an_empty_journal_is_at_zero(subject)?;
    sequences_are_dense_and_hashes_chain(subject)?;
    what_was_appended_is_read_after_reopening(subject)?;
    reading_starts_and_ends_where_asked(subject)?;
    queries_find_what_reading_finds(subject)?;
    wrong_requests_change_nothing(subject)?;
    a_visitor_ends_the_visit(subject)?;
    concurrent_transactions_stay_together(subject)?;
    checkpoints_are_kept_by_name(subject)?;
    equal_events_make_equal_hashes(subject)?;
    replay_brings_a_projection_up_to_the_end(subject)
}

/// Runs the part of the suite that is for journals which keep archives.
///
/// # Errors
/// The broken promise.
pub fn archives<S: Subject + Sync>(subject: &S) -> Result<(), String> {
    nothing_is_archived_without_a_checkpoint(subject)?;
    archives_and_log_are_one_history(subject)
}

fn leave<'a>(before: u64) -> ArchiveRequest<'a> {
    ArchiveRequest {
        before: Seq(before),
        projection: "views",
        description: b"a test",
        at_ms: 77,
    }
}

fn nothing_is_archived_without_a_checkpoint<S: Subject>(subject: &S) -> Check {
    let journal = ok("fresh", subject.fresh())?;
    fill(subject, &journal, 6)?;
    ok("roll", journal.roll())?;
    fill(subject, &journal, 4)?;
    let before = all::<S>(&journal, Seq::FIRST)?;
    let what = "archive without a checkpoint";
    refused(what, journal.archive(&leave(9)), ErrorKind::Invalid)?;
    ok(
        "early checkpoint",
        journal.checkpoint(Seq(5), "views", b"5"),
    )?;
    let what = "archive more than the checkpoint includes";
    refused(what, journal.archive(&leave(9)), ErrorKind::Invalid)?;
    ok("checkpoint", journal.checkpoint(Seq(6), "views", b"6"))?;
    let none = ok("archive what is not whole", journal.archive(&leave(6)))?;
    same("segments with records that must stay", none, None)?;
    same("first", journal.first(), Seq::FIRST)?;
    same("the log", all::<S>(&journal, Seq::FIRST)?, before)
}

fn archives_and_log_are_one_history<S: Subject>(subject: &S) -> Check {
    let mut journal = ok("fresh", subject.fresh())?;
    for _ in 0..3 {
        fill(subject, &journal, 5)?;
        ok("roll", journal.roll())?;
    }
    fill(subject, &journal, 2)?;
    let whole = all::<S>(&journal, Seq::FIRST)?;
    let position = journal.position();
    for (at, last) in [(8, 5), (17, 15)] {
        let end = journal.position().0;
        ok("checkpoint", journal.checkpoint(end, "views", b"end"))?;
        let made = ok("archive", journal.archive(&leave(at)))?;
        let made = made.ok_or("no archive was made")?;
        same("last archived", made.last, Seq(last))?;
        same("description", made.description, b"a test".to_vec())?;
        same("first kept", journal.first(), Seq(last + 1))?;
        journal = ok("reopen", subject.reopen(journal))?;
        same("first kept after reopening", journal.first(), Seq(last + 1))?;
        let kept = usize::try_from(last).unwrap_or(0);
        same(
            "the log",
            all::<S>(&journal, Seq::FIRST)?,
            whole[kept..].to_vec(),
        )?;
        for from in [0, 1, 4, last, last + 1, 17, 18] {
            let mut found = Vec::new();
            let read = journal.history(Seq(from), &mut |record| {
                found.push(record);
                Ok(())
            });
            ok("history", read)?;
            let skip = usize::try_from(from.max(1) - 1).unwrap_or(0);
            same("history", found, whole[skip..].to_vec())?;
        }
    }
    same("position", journal.position(), position)?;
    let known = ok("archives", journal.archives())?;
    let places: Vec<_> = known.found.iter().map(|a| (a.first, a.last)).collect();
    same(
        "archives",
        places,
        vec![(Seq(1), Seq(5)), (Seq(6), Seq(15))],
    )?;
    same("missing archives", known.missing, None)?;
    let kept = ok("checkpoint kept", journal.latest_checkpoint("views"))?;
    same("checkpoint kept", kept.map(|c| c.seq), Some(position.0))?;
    let appended = ok(
        "append",
        journal.append(&[subject.event(StreamId(1), 0)], 5),
    )?;
    same("the next record", appended.first, position.0.next())
}

fn fill<S: Subject>(subject: &S, journal: &S::Journal, count: u64) -> Result<(), String> {
    for n in 0..count {
        let event = subject.event(StreamId(n % 3), n);
        ok("append", journal.append(&[event], 1_000 + n))?;
    }
    Ok(())
}

fn all<S: Subject>(journal: &S::Journal, from: Seq) -> Result<Vec<Record<S::Event>>, String> {
    let mut records = Vec::new();
    let read = journal.read(from, &mut |record| {
        records.push(record);
        Ok(())
    });
    ok("read", read)?;
    Ok(records)
}

fn an_empty_journal_is_at_zero<S: Subject>(subject: &S) -> Check {
    let journal = ok("fresh", subject.fresh())?;
    let genesis = FrameHash::genesis(S::Event::FAMILY);
    same(
        "position of an empty journal",
        journal.position(),
        (Seq::ZERO, genesis),
    )?;
    same("first of an empty journal", journal.first(), Seq::FIRST)?;
    same(
        "records of an empty journal",
        all::<S>(&journal, Seq::FIRST)?.len(),
        0,
    )
}

fn sequences_are_dense_and_hashes_chain<S: Subject>(subject: &S) -> Check {
    let journal = ok("fresh", subject.fresh())?;
    let one = ok(
        "append one",
        journal.append(&[subject.event(StreamId(1), 0)], 5),
    )?;
    same("first append", (one.first, one.last), (Seq(1), Seq(1)))?;
    let three: Vec<_> = (1..4).map(|n| subject.event(StreamId(1), n)).collect();
    let done = ok("append three", journal.append(&three, 6))?;
    same("second append", (done.first, done.last), (Seq(2), Seq(4)))?;
    same("position", journal.position(), (Seq(4), done.hash))?;
    let records = all::<S>(&journal, Seq::FIRST)?;
    let seqs: Vec<u64> = records.iter().map(|r| r.seq.get()).collect();
    same("sequences", seqs, vec![1, 2, 3, 4])?;
    same(
        "time",
        records.iter().map(|r| r.at_ms).collect(),
        vec![5, 6, 6, 6],
    )?;
    same("hash of record 1", records[0].hash, one.hash)?;
    let mut hashes: Vec<_> = records.iter().map(|r| r.hash).collect();
    hashes.dedup();
    same("different hashes", hashes.len(), 4)
}

fn what_was_appended_is_read_after_reopening<S: Subject>(subject: &S) -> Check {
    let journal = ok("fresh", subject.fresh())?;
    fill(subject, &journal, 20)?;
    let (before, position) = (all::<S>(&journal, Seq::FIRST)?, journal.position());
    let journal = ok("reopen", subject.reopen(journal))?;
    same(
        "records after reopening",
        all::<S>(&journal, Seq::FIRST)?,
        before,
    )?;
    same("position after reopening", journal.position(), position)?;
    fill(subject, &journal, 1)?;
    let journal = ok("reopen", subject.reopen(journal))?;
    same("position after one more", journal.position().0, Seq(21))
}

fn reading_starts_and_ends_where_asked<S: Subject>(subject: &S) -> Check {
    let journal = ok("fresh", subject.fresh())?;
    fill(subject, &journal, 10)?;
    let records = all::<S>(&journal, Seq(8))?;
    same(
        "from 8",
        records.iter().map(|r| r.seq.get()).collect(),
        vec![8, 9, 10],
    )?;
    same("from zero", all::<S>(&journal, Seq::ZERO)?.len(), 10)?;
    same("from behind the end", all::<S>(&journal, Seq(11))?.len(), 0)?;
    let mut seen = 0;
    let read = journal.read(Seq::FIRST, &mut |_| {
        seen += 1;
        journal
            .append(&[subject.event(StreamId(9), seen)], 0)
            .map(|_| ())
    });
    ok("append while reading", read)?;
    same("records of a journal that grows while it is read", seen, 10)
}

fn queries_find_what_reading_finds<S: Subject>(subject: &S) -> Check {
    let journal = ok("fresh", subject.fresh())?;
    fill(subject, &journal, 60)?;
    let records = all::<S>(&journal, Seq::FIRST)?;
    for (from, limit) in [
        (1, 1_000),
        (0, 5),
        (31, 1_000),
        (31, 4),
        (60, 1),
        (61, 9),
        (1, 0),
    ] {
        let (from, what) = (Seq(from), format!("from {from}, at most {limit}"));
        let wanted = |pick: &dyn Fn(&Record<S::Event>) -> bool| -> Vec<_> {
            let behind = records.iter().filter(|r| r.seq >= from && pick(r));
            behind.take(limit).cloned().collect()
        };
        for stream in (0..4).map(StreamId) {
            let found = ok("by stream", journal.by_stream(stream, from, limit))?;
            same(
                &format!("stream {stream} {what}"),
                found,
                wanted(&|r| r.stream == stream),
            )?;
        }
        for kind in S::Event::kinds().iter().map(|(kind, _)| Kind(*kind)) {
            let found = ok("by kind", journal.by_kind(kind, from, limit))?;
            same(
                &format!("kind {kind} {what}"),
                found,
                wanted(&|r| r.kind == kind),
            )?;
        }
    }
    let mut kinds: Vec<_> = records.iter().map(|r| r.kind).collect();
    kinds.sort();
    kinds.dedup();
    if kinds.len() < 2 {
        return Err("the subject's events are all of one kind".to_owned());
    }
    Ok(())
}

fn wrong_requests_change_nothing<S: Subject>(subject: &S) -> Check {
    let journal = ok("fresh", subject.fresh())?;
    fill(subject, &journal, 2)?;
    let before = journal.position();
    refused("no events", journal.append(&[], 0), ErrorKind::Invalid)?;
    for name in ["", "Views", "a/b", "..", &"x".repeat(65)] {
        let checkpoint = journal.checkpoint(Seq(1), name, b"");
        refused(
            &format!("projection name {name:?}"),
            checkpoint,
            ErrorKind::Invalid,
        )?;
    }
    refused(
        "future",
        journal.checkpoint(Seq(3), "views", b""),
        ErrorKind::Invalid,
    )?;
    same("position after refusals", journal.position(), before)
}

fn a_visitor_ends_the_visit<S: Subject>(subject: &S) -> Check {
    let journal = ok("fresh", subject.fresh())?;
    fill(subject, &journal, 5)?;
    let mut seen = 0;
    let read = journal.read(Seq::FIRST, &mut |record| {
        seen += 1;
        if record.seq == Seq(3) {
            Err(Error::rejected("enough"))
        } else {
            Ok(())
        }
    });
    refused("a visitor's refusal", read, ErrorKind::Rejected)?;
    same("records visited", seen, 3)
}

fn concurrent_transactions_stay_together<S: Subject + Sync>(subject: &S) -> Check {
    const THREADS: u64 = 8;
    const EACH: u64 = 6;
    let journal = Arc::new(ok("fresh", subject.fresh())?);
    let worker = |stream: u64| -> Result<(), Error> {
        for n in 0..EACH {
            let events: Vec<_> = (0..3)
                .map(|i| subject.event(StreamId(stream), n * 3 + i))
                .collect();
            let done = journal.append(&events, n)?;
            if journal.position().0 < done.last {
                return Err(Error::rejected("acknowledged before it was readable"));
            }
        }
        Ok(())
    };
    #[expect(clippy::disallowed_methods, reason = "callers race here on purpose")]
    let outcomes: Vec<_> = thread::scope(|scope| {
        let handles: Vec<_> = (0..THREADS)
            .map(|t| scope.spawn(move || worker(t)))
            .collect();
        handles
            .into_iter()
            .map(std::thread::ScopedJoinHandle::join)
            .collect()
    });
    for outcome in outcomes {
        match outcome {
            Ok(result) => ok("concurrent append", result)?,
            Err(_) => return Err("a thread that appends panicked".to_owned()),
        }
    }
    let records = all::<S>(&journal, Seq::FIRST)?;
    same(
        "records of all threads",
        records.len() as u64,
        THREADS * EACH * 3,
    )?;
    for transaction in records.chunks(3) {
        let stream = transaction[0].stream;
        if transaction.iter().any(|r| r.stream != stream) {
            return Err(format!(
                "transaction at {} is torn apart",
                transaction[0].seq
            ));
        }
    }
    for stream in (0..THREADS).map(StreamId) {
        let found = ok(
            "by stream",
            journal.by_stream(stream, Seq::FIRST, usize::MAX),
        )?;
        let expected: Vec<_> = (0..EACH * 3).map(|n| subject.event(stream, n)).collect();
        same(
            "order within a thread",
            found.into_iter().map(|r| r.event).collect(),
            expected,
        )?;
    }
    Ok(())
}

fn checkpoints_are_kept_by_name<S: Subject>(subject: &S) -> Check {
    let journal = ok("fresh", subject.fresh())?;
    fill(subject, &journal, 6)?;
    same(
        "none",
        ok("latest", journal.latest_checkpoint("views"))?,
        None,
    )?;
    for seq in [0, 2, 4, 6] {
        let state = format!("state {seq}");
        ok(
            "checkpoint",
            journal.checkpoint(Seq(seq), "views", state.as_bytes()),
        )?;
    }
    ok("checkpoint", journal.checkpoint(Seq(3), "other", b""))?;
    let journal = ok("reopen", subject.reopen(journal))?;
    let latest = ok("latest", journal.latest_checkpoint("views"))?.ok_or("no checkpoint")?;
    same("state", latest.state.as_slice(), b"state 6".as_slice())?;
    same("position", (latest.seq, latest.hash), journal.position())?;
    for (through, expected) in [(6, Some(6)), (5, Some(4)), (4, Some(4)), (3, None)] {
        let found = ok(
            "checkpoint by",
            journal.checkpoint_by("views", Seq(through)),
        )?;
        same("checkpoint by", found.map(|c| c.seq.get()), expected)?;
    }
    let other = ok("latest", journal.latest_checkpoint("other"))?.ok_or("no checkpoint")?;
    let record = all::<S>(&journal, Seq(3))?.swap_remove(0);
    same(
        "hash of a checkpoint",
        (other.seq, other.hash),
        (record.seq, record.hash),
    )
}

fn equal_events_make_equal_hashes<S: Subject>(subject: &S) -> Check {
    let (one, two) = (ok("fresh", subject.fresh())?, ok("fresh", subject.fresh())?);
    fill(subject, &one, 7)?;
    fill(subject, &two, 4)?;
    let two = ok("reopen", subject.reopen(two))?;
    for n in 4..7 {
        ok(
            "append",
            two.append(&[subject.event(StreamId(n % 3), n)], 1_000 + n),
        )?;
    }
    same("equal histories", two.position(), one.position())?;
    ok("append", one.append(&[subject.event(StreamId(0), 7)], 1))?;
    ok("append", two.append(&[subject.event(StreamId(0), 7)], 2))?;
    if one.position() == two.position() {
        return Err("different times have the same hash".to_owned());
    }
    Ok(())
}

#[derive(Default)]
struct Count {
    at: Seq,
    hashes: Vec<FrameHash>,
}

impl<E> Projection<E> for Count {
    fn apply(&mut self, record: &Record<E>) -> Result<(), Error> {
        self.at = record.seq;
        self.hashes.push(record.hash);
        Ok(())
    }

    fn position(&self) -> Seq {
        self.at
    }
}

fn replay_brings_a_projection_up_to_the_end<S: Subject>(subject: &S) -> Check {
    let journal = ok("fresh", subject.fresh())?;
    let mut count = Count::default();
    fill(subject, &journal, 3)?;
    same(
        "replay",
        ok("replay", replay(&journal, &mut count))?,
        Seq(3),
    )?;
    fill(subject, &journal, 2)?;
    same(
        "replay of the rest",
        ok("replay", replay(&journal, &mut count))?,
        Seq(5),
    )?;
    same("records applied", count.hashes.len(), 5)?;
    count.at = Seq(9);
    refused(
        "a projection ahead",
        replay(&journal, &mut count),
        ErrorKind::Rejected,
    )
}
