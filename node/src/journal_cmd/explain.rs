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
    if story.released.is_none() && at == end && source.archive().is_some() {
        out::note(format_args!(
            "the archive ends with sequence {end}: what came later is in a later archive or the log"
        ));
    }
    let opens = source.journal().is_some() && source.refusal().is_none();
    if story.released.is_none() && at == end && opens && !source.is_live() {
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
    gather
        .story()
        .ok_or_else(|| unknown(job, (source.first(), at), &seen))
}

/// The job that a record accepts.
pub(super) fn accepted(record: &Record<Event>) -> Option<u64> {
    match &record.event {
        Event::BackupSubmitted(e) => Some(e.job),
        Event::RestoreSubmitted(e) => Some(e.job),
        _ => None,
    }
}

/// The failure for a job that no record from `first` to `at` accepts; `seen` are those that one does.
pub(super) fn unknown(job: JobId, (first, at): (Seq, Seq), seen: &[u64]) -> Failure {
    let known = match seen {
        [] => "there is none".to_owned(),
        [only] => format!("the only one is {only}"),
        some if some.len() <= LISTED => format!("there are {}", listed(some)),
        some => format!(
            "the newest of {} are {}",
            crate::text::count(some.len() as u64, "job"),
            listed(&some[some.len() - LISTED..])
        ),
    };
    let earlier = match first > Seq::FIRST {
        true => {
            format!("; the records before sequence {first} are not here, it may have begun there")
        }
        false => String::new(),
    };
    Failure::failed(
        "JOB_NOT_FOUND",
        format!("no record up to sequence {at} accepts a job {job}: {known}{earlier}"),
    )
}

fn listed(ids: &[u64]) -> String {
    let ids: Vec<String> = ids.iter().map(u64::to_string).collect();
    ids.join(", ")
}
