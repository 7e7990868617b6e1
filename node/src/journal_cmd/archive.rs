//! `journal archive`: moves what ended long ago out of the state and the log. The engine's own act on a
//! journal that nobody has open; no engine is opened and no job resumed.

use holdfast_engine::{Archiving, Clock as _, Event, HistoryRequest, archive_journal};
use holdfast_journal::{FileJournal, Options};

use super::source::Source;
use crate::cli::ArchiveArgs;
use crate::exit::{Exit, Failure};
use crate::folder::{Absent, Folder};
use crate::host::{SystemClock, time_text};
use crate::node::{journal_failure, not_opened};
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

/// What an act did, in words.
fn told(done: &Archiving, before: &str) -> String {
    let mut told = match done.jobs {
        0 => format!("no job ended before {before}\n"),
        jobs => format!(
            "{} that ended before {before} left: ids {} to {}\n",
            text::count(jobs, "job"),
            done.first_job,
            done.last_job
        ),
    };
    told.push_str(&match &done.archive {
        Some(info) => format!(
            "{} ({} to {}) moved to journal/{}: {}, before {}\n",
            text::count(info.last.get() - info.first.get() + 1, "event"),
            info.first,
            info.last,
            info.file,
            text::bytes(info.file_bytes),
            text::bytes(info.log_bytes)
        ),
        None => {
            "no event moved: no whole segment of the log lies before the oldest job that stays\n"
                .to_owned()
        }
    });
    told.push_str(&format!("the log begins with event {}\n", done.first_event));
    told
}

/// Milliseconds of a duration such as `90s`, `30m`, `12h`, `7d` or `4w`.
pub(crate) fn parse_duration(text: &str) -> Result<u64, String> {
    let expected =
        || format!("'{text}' is no duration, expected a number and s, m, h, d or w, such as 7d");
    let unit = text.chars().next_back().ok_or_else(expected)?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        'w' => 604_800,
        _ => return Err(expected()),
    };
    let number: u64 = text[..text.len() - unit.len_utf8()]
        .parse()
        .map_err(|_| expected())?;
    number
        .checked_mul(seconds * 1_000)
        .ok_or_else(|| format!("'{text}' is longer than can be counted"))
}

#[cfg(test)]
mod tests {
    use super::parse_duration;

    #[test]
    fn durations_have_a_number_and_a_unit() {
        assert_eq!(parse_duration("90s"), Ok(90_000));
        assert_eq!(parse_duration("2w"), Ok(14 * 86_400_000));
        for wrong in [
            "",
            "7",
            "d",
            "-1d",
            "1y",
            "1.5h",
            "7 d",
            "ä",
            "99999999999999999w",
        ] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
