//! Retention as the program offers it: `holdfast sql --keep-finished` and the words for what left.
//! Which jobs may leave, and how, is the engine's.

use std::time::Duration;

use holdfast_engine::{Archiving, Clock as _, Event, HistoryRequest, Retention};
use holdfast_journal::{Event as _, Journal as _, Kind, Seq};

use crate::exit::Failure;
use crate::host::time_text;
use crate::node::{Node, journal_failure};
use crate::{out, text};

/// The most that lies between two scheduled acts.
const EVERY_MAX: Duration = Duration::from_secs(24 * 3600);
/// The least: each act makes a file.
const EVERY_MIN: Duration = Duration::from_secs(60);

/// The retention that the options ask for: ended jobs leave when they are `keep_finished_ms` old; without it
/// none leaves by itself.
pub(crate) fn of(keep_finished_ms: Option<u64>, keep_last: u64) -> Retention {
    let keep_finished = keep_finished_ms.map(Duration::from_millis);
    Retention {
        keep_finished,
        keep_last,
        every: keep_finished.map_or(EVERY_MAX, |keep| keep.clamp(EVERY_MIN, EVERY_MAX)),
    }
}

/// The act that is due when a folder is opened: most processes end long before the engine's own timer would
/// come to it. Nothing where retention is off, no job is old enough, or an act was recorded less than
/// `every` ago.
///
/// # Errors
/// Where the journal cannot be read or no job could be archived.
pub(crate) fn at_opening(node: &Node, retention: Retention) -> Result<(), Failure> {
    let Some(keep) = retention.keep_finished else {
        return Ok(());
    };
    let now_ms = node.clock.wall_ms();
    let ended_before_ms = now_ms.saturating_sub(millis(keep));
    let views = node.engine.views();
    let ended = views
        .jobs
        .values()
        .filter_map(|job| job.common().finished_ms);
    let ended: Vec<u64> = ended.collect();
    let kept = usize::try_from(retention.keep_last).unwrap_or(usize::MAX);
    let may_leave = &ended[..ended.len().saturating_sub(kept)];
    if may_leave.iter().all(|ms| *ms >= ended_before_ms) {
        return Ok(());
    }
    let again_at = last_act(node)?.map(|ms| ms.saturating_add(millis(retention.every)));
    if again_at.is_some_and(|ms| ms > now_ms) {
        return Ok(());
    }
    let request = HistoryRequest {
        ended_before_ms,
        keep_last: retention.keep_last,
    };
    let done = node.engine.archive(&request).map_err(|refusal| {
        Failure::failed(
            "HISTORY_NOT_ARCHIVED",
            format!("--keep-finished: {refusal}"),
        )
    })?;
    if done.jobs > 0 || done.archive.is_some() {
        out::note(told(&done, &time_text(node.clock.as_ref(), ended_before_ms)).trim_end());
    }
    Ok(())
}

/// When an act was last recorded. The event of the newest act is always still in the log.
fn last_act(node: &Node) -> Result<Option<u64>, Failure> {
    let kinds = Event::kinds().iter();
    let Some((kind, _)) = kinds.copied().find(|(_, name)| *name == "HistoryArchived") else {
        return Ok(None);
    };
    let found = node.journal.by_kind(Kind(kind), Seq::FIRST, usize::MAX);
    let found = found.map_err(|error| journal_failure(&error))?;
    Ok(found.last().map(|record| record.at_ms))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// What an act did, in lines; `before` is the time before which the jobs had ended.
pub(crate) fn told(done: &Archiving, before: &str) -> String {
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
