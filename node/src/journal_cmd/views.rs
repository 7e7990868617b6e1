//! The SHOW views of a replay as tables, as several commands print or compare them.

use std::sync::Arc;

use holdfast_engine::{Clock as _, JobKind, JobView, Views};
use holdfast_sql::{Clock, ResultTable, Width, show};

use crate::host::SystemClock;
use crate::session::jobs_table;

/// SHOW BACKUP or SHOW RESTORE of all databases, as of `now_ms`. Workers' reports are not in the
/// journal.
pub(super) fn jobs(views: &Views, kind: JobKind, now_ms: u64) -> ResultTable {
    with_clock(now_ms, |clock| {
        let jobs = views.jobs_of(kind, None);
        jobs_table(kind, &jobs, &|_| Vec::new(), Width::Full, clock)
    })
}

/// SHOW REPOSITORIES. What the last contact left is not in the journal.
pub(super) fn repositories(views: &Views) -> ResultTable {
    let views: Vec<_> = views.repositories.values().cloned().collect();
    with_clock(0, |clock| show::repositories(&views, &|_| None, clock))
}

/// The columns in which two views of one job differ: name, both values.
pub(super) fn differing_columns(
    one: &Arc<JobView>,
    other: &Arc<JobView>,
) -> Vec<(String, String, String)> {
    let row = |view: &Arc<JobView>| {
        with_clock(0, |clock| {
            let jobs = [Arc::clone(view)];
            jobs_table(view.kind(), &jobs, &|_| Vec::new(), Width::Full, clock)
        })
    };
    let (one, other) = (row(one), row(other));
    let text = |table: &ResultTable, at: usize| {
        let value = table.rows.first().and_then(|row| row.get(at)).cloned();
        value
            .flatten()
            .map_or("NULL".to_owned(), |value| format!("'{value}'"))
    };
    let columns = one.columns.iter().enumerate();
    columns
        .map(|(at, column)| (column.name.clone(), text(&one, at), text(&other, at)))
        .filter(|(_, one, other)| one != other)
        .collect()
}

fn with_clock<T>(now_ms: u64, make: impl FnOnce(Clock<'_>) -> T) -> T {
    let zone = SystemClock::new();
    let offset_seconds = |at: u64| zone.utc_offset_seconds(at);
    make(Clock {
        now_ms,
        offset_seconds: &offset_seconds,
    })
}
