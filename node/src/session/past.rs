//! What the open journal says of the past: the views of an earlier moment, and the records of one job. Reads beside
//! the running engine and changes nothing.

use holdfast_engine::story::{JobRecord, JobRecords};
use holdfast_engine::{Epoch, Event, JobId, Replay, Views};
use holdfast_journal::{Error, ErrorKind, Event as _, Journal, Kind, Seq, StreamId};
use holdfast_sql::{AsOf, Clock, Code, SqlError, WrittenTime};

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
/// order of events is what counts, so archives are asked only where the log has no such event.
fn last_by(
    journal: &dyn Journal<Event>,
    time: WrittenTime,
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
    let mut first_ms = None;
    let mut last_from = |from: Seq| {
        let mut found = None;
        first_ms = None;
        let read = journal.history(from, &mut |record| {
            first_ms.get_or_insert(record.at_ms);
            if record.at_ms <= end_ms {
                found = Some(record.seq);
            }
            Ok(())
        });
        read.map(|()| found).map_err(|error| unreadable(&error))
    };
    let log = journal.first();
    let mut found = last_from(log)?;
    if found.is_none() && log > Seq::FIRST {
        let archives = journal.archives().map_err(|error| unreadable(&error))?;
        let origin = archives.found.first().map_or(log, |archive| archive.first);
        if origin < log {
            found = last_from(origin)?;
        }
        if found.is_none() && origin > Seq::FIRST {
            // It may be in what was moved away; this names what.
            found = last_from(Seq::FIRST)?;
        }
    }
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
    let known = in_log(journal, job).map_err(|error| unreadable(&error))?;
    let found = match known {
        Some(known) => known,
        None if gave(journal, job).map_err(|error| unreadable(&error))? => {
            in_history(journal, job).map_err(|error| unreadable(&error))?
        }
        None => Vec::new(),
    };
    if found.is_empty() {
        return Err(unknown());
    }
    Ok(found)
}

/// The records of a job by the index, which knows the log; `None` where its first record is not there.
fn in_log(journal: &dyn Journal<Event>, job: JobId) -> Result<Option<Vec<JobRecord>>, Error> {
    let stream = StreamId(job.0);
    let mut all = journal.by_stream(stream, Seq::FIRST, usize::MAX)?;
    if !all.first().is_some_and(|record| submits(&record.event)) {
        return Ok(None);
    }
    let openings = journal.by_kind(opening_kind(), Seq::FIRST, usize::MAX)?;
    let before = match openings.first().map(|record| &record.event) {
        Some(Event::EngineStarted(started)) => Epoch(started.epoch.saturating_sub(1)),
        _ => Replay::at(journal, journal.position().0)?.epoch(),
    };
    all.extend(openings);
    all.sort_by_key(|record| record.seq);
    let mut words = JobRecords::new(job);
    let mut found: Vec<_> = all.iter().filter_map(|record| words.take(record)).collect();
    // The opening in which the job began may have left the log; openings are numbered without a gap.
    let unknown = found.iter_mut().filter(|record| record.epoch == Epoch(0));
    unknown.for_each(|record| record.epoch = before);
    Ok(Some(found))
}

/// The records of a job, archives first.
fn in_history(journal: &dyn Journal<Event>, job: JobId) -> Result<Vec<JobRecord>, Error> {
    let mut words = JobRecords::new(job);
    let mut found = Vec::new();
    journal.history(Seq::FIRST, &mut |record| {
        found.extend(words.take(&record));
        Ok(())
    })?;
    Ok(found)
}

/// Whether a job that does not begin in the log can have begun before it.
fn gave(journal: &dyn Journal<Event>, job: JobId) -> Result<bool, Error> {
    let first = journal.first();
    if first <= Seq::FIRST {
        return Ok(false);
    }
    // Ids rise: whatever began before the first job of the log has a lower one.
    let mut begun = None;
    let read = journal.history(first, &mut |record| {
        if !submits(&record.event) {
            return Ok(());
        }
        begun = Some(record.stream.get());
        // The only way to end a reading before the end.
        Err(Error::rejected("enough was read"))
    });
    match begun {
        Some(begun) => Ok(job.0 < begun && Replay::at(journal, journal.position().0)?.gave(job.0)),
        None => {
            read?;
            Ok(Replay::at(journal, journal.position().0)?.gave(job.0))
        }
    }
}

/// Whether an event is the first of a job.
fn submits(event: &Event) -> bool {
    matches!(
        event,
        Event::BackupSubmitted(_) | Event::RestoreSubmitted(_)
    )
}

/// The number of the kind that an opening records.
fn opening_kind() -> Kind {
    let found = Event::kinds()
        .iter()
        .find(|(_, name)| *name == "EngineStarted");
    Kind(found.map_or(0, |(number, _)| *number))
}

fn unreadable(error: &Error) -> SqlError {
    let code = match error.kind() {
        ErrorKind::NotFound => Code::EventNotFound,
        ErrorKind::Io => Code::Failed,
        _ => Code::Damaged,
    };
    SqlError::new(code, error.to_string())
}
