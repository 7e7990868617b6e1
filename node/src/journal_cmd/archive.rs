//! `journal archive`: moves what ended long ago out of the state and the log. The engine's own act on a
//! journal that nobody has open; no engine is opened and no job resumed.

use holdfast_engine::{Clock as _, Event, HistoryRequest, archive_journal};
use holdfast_journal::{FileJournal, Options};

use super::source::Source;
use crate::cli::ArchiveArgs;
use crate::exit::{Exit, Failure};
use crate::folder::{Absent, Folder};
use crate::host::{SystemClock, time_text};
use crate::node::{journal_failure, not_opened};
use crate::retention::told;
use crate::{out, text};

/// Runs the command.
pub(super) fn run(args: &ArchiveArgs) -> Result<Exit, Failure> {
    let clock = SystemClock::new();
    let now_ms = clock.wall_ms();
    let ended_before_ms = match (args.age.older_than, args.age.before) {
        (Some(ms), _) => now_ms.saturating_sub(ms),
        (None, before) => before.unwrap_or_default().min(now_ms),
    };
    let request = HistoryRequest {
        ended_before_ms,
        keep_last: args.keep_last,
    };
    let path = args.source.path();
    let folder = Folder::hold(&path, Absent::Refuse)?;
    let before = time_text(&clock, ended_before_ms);
    if args.dry_run {
        let source = Source::open(&path)?;
        let (replay, _) = source.replay(source.last().0)?;
        let (jobs, first, last) = replay.archivable(&request);
        out::data(&match jobs {
            0 => format!("no job ended before {before}, nothing would leave\n"),
            _ => format!(
                "{} that ended before {before} would leave: ids {first} to {last}\n",
                text::count(jobs, "job")
            ),
        })?;
        return source.conclude();
    }
    let options = Options::default();
    let (journal, report) = FileJournal::<Event>::open(folder.journal(), options)
        .map_err(|error| journal_failure(&error))?;
    if !report.is_clean() {
        out::note(&report);
    }
    let done = archive_journal(&journal, &request, now_ms).map_err(|error| not_opened(&error))?;
    out::data(&told(&done, &before))?;
    Ok(Exit::Done)
}
