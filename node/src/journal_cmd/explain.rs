//! `journal explain`: the story of one job in words.

use std::ops::ControlFlow;

use holdfast_engine::story::{Gather, Story};
use holdfast_engine::{Event, JobId};
use holdfast_journal::{Record, Seq};
use holdfast_sql::secret::mask_text;

use super::masked::json_line;
use super::source::Source;
use crate::cli::{ExplainArgs, ToolFormat};
use crate::exit::{Exit, Failure};
use crate::host::{SystemClock, time_text};
use crate::out;

/// Jobs that the message about an unknown one lists.
const LISTED: usize = 10;

/// Runs the command.
pub(super) fn run(args: &ExplainArgs) -> Result<Exit, Failure> {
    let (path, [job]) = args.operands.take(["JOB"])?;
    let job = job_id(&job)?;
    let source = Source::open(&path)?;
    let end = source.last().0;
    let at = args.at.map_or(Ok(end), |point| source.find(point))?;
    let story = story(&source, job, at)?;
    let clock = SystemClock::new();
    out::data(&match args.format {
        ToolFormat::Table => mask_text(&story.explain(&|ms| time_text(&clock, ms))).into_owned(),
        ToolFormat::Json => json_line(&story)?,
    })?;
    if story.released.is_none() && at == end && !source.is_live() {
        out::note(format_args!(
            "no process has the folder open: the next opening goes on with job {job}, `holdfast \
             journal recover --dry-run` says how"
        ));
    }
    source.conclude()
}

/// The id of a job as an operand.
pub(super) fn job_id(text: &str) -> Result<JobId, Failure> {
    match text.parse() {
        Ok(id) => Ok(JobId(id)),
        Err(_) => Err(Failure::usage(format!(
            "found '{text}', expected the id of a job, such as 10002; `holdfast journal state` \
             lists the jobs"
        ))),
    }
}

fn story(source: &Source, job: JobId, at: Seq) -> Result<Story, Failure> {
    let mut gather = Gather::new(job);
    let mut seen = Vec::new();
    source.read(Seq::FIRST, at, &mut |record| {
        seen.extend(accepted(&record));
        gather.take(&record);
        Ok(ControlFlow::Continue(()))
    })?;
    gather.story().ok_or_else(|| unknown(job, at, &seen))
}

/// The job that a record accepts.
pub(super) fn accepted(record: &Record<Event>) -> Option<u64> {
    match &record.event {
        Event::BackupSubmitted(e) => Some(e.job),
        Event::RestoreSubmitted(e) => Some(e.job),
        _ => None,
    }
}

/// The failure for a job that no record up to `at` accepts.
pub(super) fn unknown(job: JobId, at: Seq, seen: &[u64]) -> Failure {
    let known = match seen.is_empty() {
        true => "there is none".to_owned(),
        false => {
            let newest = &seen[seen.len().saturating_sub(LISTED)..];
            let newest: Vec<String> = newest.iter().map(u64::to_string).collect();
            format!(
                "the newest of {} are {}",
                crate::text::count(seen.len() as u64, "job"),
                newest.join(", ")
            )
        }
    };
    Failure::failed(
        "JOB_NOT_FOUND",
        format!("no record up to sequence {at} is of a job {job}: {known}"),
    )
}
