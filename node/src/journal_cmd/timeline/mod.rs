//! `journal timeline`: the picture of one job, as a trace for Perfetto and as a page.

mod chrome;
mod html;

use std::fs;
use std::ops::ControlFlow;
use std::path::Path;

use holdfast_engine::JobId;
use holdfast_engine::story::{Drawing, Timeline};
use holdfast_journal::Seq;

use super::explain::{accepted, job_id, unknown};
use super::source::Source;
use crate::cli::TimelineArgs;
use crate::exit::{Exit, Failure};
use crate::out;

/// In how many parts the time of a trace is cut: nothing shorter stands alone.
const TRACE_PARTS: u32 = 2_000;
/// The same of a page, whose picture has about as many dots across.
const PAGE_PARTS: u32 = 600;

/// Runs the command.
pub(super) fn run(args: &TimelineArgs) -> Result<Exit, Failure> {
    let (path, [job]) = args.operands.take(["JOB"])?;
    let job = job_id(&job)?;
    if args.chrome.is_none() && args.html.is_none() {
        return Err(Failure::usage(
            "nothing would be written: give --chrome FILE, --html FILE, or both",
        ));
    }
    let source = Source::open(&path)?;
    let end = source.last().0;
    let at = args.at.map_or(Ok(end), |point| source.find(point))?;
    let drawing = draw(&source, job, at)?;
    let picture = |parts| {
        let drawn: Option<Timeline> = drawing.clone().finish(parts);
        drawn.ok_or_else(|| unknown(job, (source.first(), at), &[]))
    };
    if let Some(file) = &args.chrome {
        write(file, &chrome::trace(&picture(TRACE_PARTS)?))?;
    }
    if let Some(file) = &args.html {
        write(file, &html::page(&picture(PAGE_PARTS)?))?;
    }
    source.conclude()
}

fn draw(source: &Source, job: JobId, at: Seq) -> Result<Drawing, Failure> {
    let mut drawing = Drawing::new(job);
    let mut seen = Vec::new();
    source.read(Seq::FIRST, at, &mut |record| {
        seen.extend(accepted(&record));
        drawing.take(&record);
        Ok(ControlFlow::Continue(()))
    })?;
    match seen.contains(&job.0) {
        true => Ok(drawing),
        false => Err(unknown(job, (source.first(), at), &seen)),
    }
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    if file.as_os_str() == "-" {
        return out::data(text);
    }
    fs::write(file, text).map_err(|error| {
        let text = format!("cannot write '{}': {error}", file.display());
        Failure::io(error.kind(), text)
    })?;
    out::note(format_args!(
        "{}: {}",
        file.display(),
        crate::text::bytes(text.len() as u64)
    ));
    Ok(())
}

/// What a merged slice is called: its work, and its task or how many there are in it.
fn called(slice: &holdfast_engine::story::Slice) -> String {
    let work = slice
        .work
        .map_or_else(|| "work".to_owned(), |work| format!("{work:?}"));
    match slice.attempts {
        1 => format!("{work} {}", slice.task),
        some => format!("{work}, {some} attempts"),
    }
}

/// The name of a backend's rows.
fn named(backend: Option<u64>) -> String {
    backend.map_or_else(|| "coordinator".to_owned(), |id| format!("backend {id}"))
}

#[cfg(test)]
mod tests;
