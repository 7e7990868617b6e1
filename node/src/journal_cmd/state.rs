//! `journal state`: the SHOW views as they stood at a point.

use holdfast_engine::JobKind;
use holdfast_sql::ResultTable;

use super::source::Source;
use super::views;
use crate::cli::{Format, JournalStateArgs, ToolFormat};
use crate::exit::{Exit, Failure};
use crate::host::{SystemClock, time_text};
use crate::out;
use crate::sql_cmd::render;

/// Runs the command.
pub(super) fn run(args: &JournalStateArgs) -> Result<Exit, Failure> {
    let source = Source::open(&args.source.path())?;
    let end = source.last().0;
    let at = args.at.map_or(Ok(end), |point| source.find(point))?;
    let (mut replay, now_ms) = source.replay(at)?;
    let views = replay.views();
    let backups = views::jobs(&views, JobKind::Backup, now_ms);
    print(&backups, "backup", args.format)?;
    let restores = views::jobs(&views, JobKind::Restore, now_ms);
    print(&restores, "restore", args.format)?;
    print(&views::repositories(&views), "repository", args.format)?;
    match now_ms {
        0 => out::note(format_args!("state before the first of {end} records")),
        now_ms => out::note(format_args!(
            "state after sequence {at} of {end}, {}",
            time_text(&SystemClock::new(), now_ms)
        )),
    }
    source.conclude()
}

fn print(table: &ResultTable, what: &str, format: ToolFormat) -> Result<(), Failure> {
    match format {
        ToolFormat::Table if table.rows.is_empty() => out::data(&format!("no {what}\n")),
        ToolFormat::Table => out::data(&render(table, Format::Table)),
        ToolFormat::Json => out::data(&render(table, Format::Json)),
    }
}
