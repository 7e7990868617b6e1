//! Replaying a long log with a reader ahead of the projection: one thread reads, checks and decodes, the
//! caller's applies, in the same order as without. Two of the three costs of a replay then run at
//! once; what comes out is the same to the byte.

use crossbeam::channel::{Receiver, Sender, bounded};

use crate::{
    error::Error,
    event::Event,
    ids::Seq,
    journal::{Journal, Projection, Record, replay, step},
};

/// Records handed over at once, and how many such batches may wait: some MiB at most.
const BATCH_RECORDS: usize = 1_024;
const BATCHES: usize = 4;
/// With fewer records a thread costs more than it saves.
const WORTH_RECORDS: u64 = 20_000;

/// As [`replay`], with one thread that reads ahead where there is enough to read. The thread ends
/// before this returns.
///
/// # Errors
/// As [`replay`]; `Io` where the system gives no thread.
#[expect(
    clippy::disallowed_methods,
    reason = "one reader ahead of one applier: the log's order stays"
)]
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
    let (batches, read) = bounded(BATCHES);
    std::thread::scope(|scope| {
        let reader = std::thread::Builder::new()
            .name("holdfast-replay".to_owned())
            .spawn_scoped(scope, move || ahead(journal, at.next(), &batches))
            .map_err(|e| Error::io("start thread", "holdfast-replay", &e))?;
        // The receiver goes with the visit, so that a reader whose records nobody wants any more ends.
        let applied = apply(read, projection);
        let whole = reader.join();
        applied?;
        match whole {
            Ok(whole) => whole?,
            Err(_) => return Err(Error::rejected("the reader ahead ended by a panic")),
        }
        Ok(projection.position())
    })
}

/// Reads and hands over until the end, or until nobody takes any more.
fn ahead<E: Event, J: Journal<E> + ?Sized>(
    journal: &J,
    from: Seq,
    batches: &Sender<Vec<Record<E>>>,
) -> Result<(), Error> {
    let gone = || Error::rejected("the projection takes no more");
    let mut batch = Vec::with_capacity(BATCH_RECORDS);
    journal.history(from, &mut |record| {
        batch.push(record);
        if batch.len() < BATCH_RECORDS {
            return Ok(());
        }
        let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH_RECORDS));
        batches.send(full).map_err(|_| gone())
    })?;
    batches.send(batch).map_err(|_| gone())
}

fn apply<E: Event, P: Projection<E> + ?Sized>(
    read: Receiver<Vec<Record<E>>>,
    projection: &mut P,
) -> Result<(), Error> {
    for batch in read {
        for record in batch {
            step(projection, &record)?;
        }
    }
    Ok(())
}
