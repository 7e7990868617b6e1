//! What the open journal says of the past: the views of an earlier moment, and the records of one job. Reads beside
//! the running engine and changes nothing.

use holdfast_engine::story::{JobRecord, JobRecords};
use holdfast_engine::{Event, JobId, Replay, Views};
use holdfast_journal::{ErrorKind, Event as _, Journal, Kind, Seq, StreamId};
use holdfast_sql::{AsOf, Clock, Code, LocalTime, SqlError};

/// The views as they stood at a moment.
pub(super) fn views(
    journal: &dyn Journal<Event>,
    as_of: &AsOf,
    clock: Clock<'_>,
) -> Result<Views, SqlError> {
    let seq = match as_of {
        AsOf::Event(seq) => Seq(*seq),
        AsOf::Timestamp(time) => last_by(journal, *time, clock)?,
    };
    let last = journal.position().0;
    if seq < Seq::FIRST || seq > last {
        let text = format!("event {seq} is not in the journal, expected an event from 1 to {last}");
        return Err(SqlError::new(Code::EventNotFound, text));
    }
    let mut replay = Replay::at(journal, seq).map_err(|error| unreadable(&error))?;
    Ok(replay.views())
}

/// The last event that is not later than a time. A clock that was set back leaves later times before earlier ones; the
/// order of events is what counts.
fn last_by(
    journal: &dyn Journal<Event>,
    time: LocalTime,
    clock: Clock<'_>,
) -> Result<Seq, SqlError> {
    let (start_ms, end_ms) = (time.start_ms(&clock), time.end_ms(&clock));
    if start_ms > clock.now_ms {
        let text = format!(
            "{} is later than now, {}: what will be recorded until then is not known",
            clock.time(start_ms),
            clock.time(clock.now_ms)
        );
        return Err(SqlError::new(Code::BadTimestamp, text));
    }
    let mut found = None;
    let mut first_ms = None;
    journal
        .history(Seq::FIRST, &mut |record| {
            first_ms.get_or_insert(record.at_ms);
            if record.at_ms <= end_ms {
                found = Some(record.seq);
            }
            Ok(())
        })
        .map_err(|error| unreadable(&error))?;
    found.ok_or_else(|| {
        let begins = first_ms.map_or_else(|| "no event".to_owned(), |ms| clock.time(ms));
        let text = format!(
            "nothing was recorded up to {}: the journal begins at {begins}",
            clock.time(start_ms)
        );
        SqlError::new(Code::EventNotFound, text)
    })
}

/// The records of one job, oldest first.
pub(super) fn records(
    journal: &dyn Journal<Event>,
    job: JobId,
) -> Result<Vec<JobRecord>, SqlError> {
    let unknown = || {
        let text = format!("job {job} does not exist; SHOW BACKUP and SHOW RESTORE list the jobs");
        SqlError::new(Code::JobNotFound, text)
    };
    // Stream 0 is the engine's own.
    if job.0 == 0 {
        return Err(unknown());
    }
    let mut words = JobRecords::new(job);
    let mut found = Vec::new();
    if journal.first() > Seq::FIRST {
        // The index knows only what is still in the log.
        let read = journal.history(Seq::FIRST, &mut |record| {
            found.extend(words.take(&record));
            Ok(())
        });
        read.map_err(|error| unreadable(&error))?;
    } else {
        let mut all = journal
            .by_stream(StreamId(job.0), Seq::FIRST, usize::MAX)
            .and_then(|of_job| {
                let openings = journal.by_kind(opening_kind(), Seq::FIRST, usize::MAX)?;
                Ok([of_job, openings].concat())
            })
            .map_err(|error| unreadable(&error))?;
        all.sort_by_key(|record| record.seq);
        found.extend(all.iter().filter_map(|record| words.take(record)));
    }
    if found.is_empty() {
        return Err(unknown());
    }
    Ok(found)
}

/// The number of the kind that an opening records.
fn opening_kind() -> Kind {
    let found = Event::kinds()
        .iter()
        .find(|(_, name)| *name == "EngineStarted");
    Kind(found.map_or(0, |(number, _)| *number))
}

fn unreadable(error: &holdfast_journal::Error) -> SqlError {
    let code = match error.kind() {
        ErrorKind::NotFound => Code::EventNotFound,
        ErrorKind::Io => Code::Failed,
        _ => Code::Damaged,
    };
    SqlError::new(code, error.to_string())
}
