//! What a restore has claimed from its acceptance on. The tables themselves refuse once the targets
//! are made; this speaks for the time before that. Knows no statement and changes nothing.

use holdfast_engine::{JobKind, JobView, Replay, RestoreView, Views};
use holdfast_journal::{ErrorKind, Projection as _, ReadJournal};
use holdfast_sql::{Code, SqlError};
use holdfast_storage::AllowLoad;

use crate::exit::Failure;
use crate::folder::Folder;
use crate::node::journal_failure;

/// Refuses a change of a table (drop, truncate, partitions) that a restore claims.
pub(crate) fn check_table(views: &Views, database: &str, table: &str) -> Result<(), SqlError> {
    refuse_if(
        views,
        database,
        &format!("table '{database}.{table}'"),
        |job| claims_table(job, table),
    )
}

/// Refuses to drop a database that a restore works on.
pub(crate) fn check_database(views: &Views, database: &str) -> Result<(), SqlError> {
    refuse_if(views, database, &format!("database '{database}'"), |_| true)
}

/// Refuses a load into a partition that a restore claims.
pub(crate) fn check_load(
    views: &Views,
    database: &str,
    table: &str,
    partition: &str,
) -> Result<(), SqlError> {
    refuse_if(
        views,
        database,
        &format!("table '{database}.{table}'"),
        |job| claims_table(job, table) && !takes_load(job, table, partition),
    )
}

/// The jobs of a data folder whose engine is not open; none where there is no journal yet.
pub(crate) fn views_of(folder: &Folder) -> Result<Views, Failure> {
    let path = folder.journal();
    if !path.is_dir() {
        return Ok(Views::default());
    }
    let journal = match ReadJournal::open(path) {
        Ok((journal, _)) => journal,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Views::default()),
        Err(error) => return Err(journal_failure(&error)),
    };
    let failed = |error| journal_failure(&error);
    let kept = journal.latest_checkpoint(Replay::CHECKPOINTS);
    let kept = kept.map_err(failed)?;
    let begun = kept.and_then(|kept| Replay::from_checkpoint(&kept.state, kept.seq).ok());
    // As the engine does: without a checkpoint from the first event, which may be archived.
    let mut replay = begun.unwrap_or_else(Replay::new);
    journal
        .history(replay.position().next(), &mut |record| {
            replay.apply(&record)
        })
        .map_err(failed)?;
    Ok(replay.views())
}

fn refuse_if(
    views: &Views,
    database: &str,
    what: &str,
    claimed: impl Fn(&RestoreView) -> bool,
) -> Result<(), SqlError> {
    for job in views.jobs_of(JobKind::Restore, Some(database)) {
        let JobView::Restore(restore) = &*job else {
            continue;
        };
        if !job.has_ended() && claimed(restore) {
            let id = restore.common.job;
            let text = format!("{what} is being restored by job {id}");
            return Err(SqlError::new(Code::Busy, text));
        }
    }
    Ok(())
}

/// A job that names no tables takes the whole snapshot or most of it; which tables that are is
/// known only once its manifest is read, so it claims all.
fn claims_table(job: &RestoreView, table: &str) -> bool {
    let objects = &job.common.objects;
    objects.is_empty()
        || objects
            .iter()
            .any(|object| object.alias.as_ref().unwrap_or(&object.table) == table)
        || job.drops.iter().any(|dropped| dropped.table == table)
}

/// Whether the job leaves this partition open for loads. Once its targets are made, the tables know
/// exactly; before that only partitions beside those it names are surely not among them.
fn takes_load(job: &RestoreView, table: &str, partition: &str) -> bool {
    let dropped = job.drops.iter().any(|dropped| {
        let parts = &dropped.partitions;
        dropped.table == table && (parts.is_empty() || parts.iter().any(|p| p == partition))
    });
    if dropped || job.allow_load != AllowLoad::UntouchedPartitions {
        return false;
    }
    if job.meta_prepared_ms.is_some() {
        return true;
    }
    let mut named = job
        .common
        .objects
        .iter()
        .filter(|object| object.alias.as_ref().unwrap_or(&object.table) == table)
        .peekable();
    named.peek().is_some()
        && named.all(|object| {
            !object.partitions.is_empty() && !object.partitions.iter().any(|p| p == partition)
        })
}
