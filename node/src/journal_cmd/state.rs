//! `journal state`: the SHOW views as they stood at a point.

use holdfast_engine::{Clock as _, JobKind, Views};
use holdfast_sql::Width;

use super::source::Source;
use crate::cli::{Format, JournalStateArgs, ToolFormat};
use crate::exit::{Exit, Failure};
use crate::host::SystemClock;
use crate::out;
use crate::session::jobs_table;
use crate::sql_cmd::render;

/// Runs the command.
pub(super) fn run(args: &JournalStateArgs) -> Result<Exit, Failure> {
    let source = Source::open(&args.source.path())?;
    let end = source.last().0;
    let at = args.at.map_or(Ok(end), |point| source.find(point))?;
    let (mut replay, now_ms) = source.replay(at)?;
    print(&replay.views(), now_ms, args.format)?;
    out::note(format_args!("state after sequence {at} of {end}"));
    source.conclude()
}

fn print(views: &Views, now_ms: u64, format: ToolFormat) -> Result<(), Failure> {
    let zone = SystemClock::new();
    let offset = |at: u64| zone.utc_offset_seconds(at);
    let clock = holdfast_sql::Clock {
        now_ms,
        offset_seconds: &offset,
    };
    let format = match format {
        ToolFormat::Table => Format::Table,
        ToolFormat::Json => Format::Json,
    };
    for kind in [JobKind::Backup, JobKind::Restore] {
        let jobs = views.jobs_of(kind, None);
        if jobs.is_empty() && format == Format::Table {
            out::data(match kind {
                JobKind::Backup => "no backup\n",
                JobKind::Restore => "no restore\n",
            })?;
            continue;
        }
        // Workers' reports are not in the journal.
        let table = jobs_table(kind, &jobs, &|_| Vec::new(), Width::Full, clock);
        out::data(&render(&table, format))?;
    }
    Ok(())
}
