//! `journal recover --dry-run`: what the next opening of a folder will do, and why. The engine's own
//! code says it, over a copy of the state; this file only reads and prints.

use std::fmt::Write as _;
use std::path::Path;

use holdfast_engine::inspect::{Again, Direction, JobOutlook, NextOpening, next_opening};
use holdfast_engine::story::{count, duration};
use holdfast_engine::{Clock as _, Event, Now, Options, Replay};
use holdfast_journal::{Answer, Error, Event as _, OpenCase, OpenReport, ReadJournal, Seq};
use holdfast_sql::secret::mask_text;
use holdfast_storage::CatalogPosition;
use holdfast_storage::events::CatalogEvent;
use serde_json::json;

use super::masked::json_line;
use super::source::Source;
use crate::cli::{RecoverArgs, ToolFormat};
use crate::exit::{Exit, Failure};
use crate::host::{SystemClock, time_text};
use crate::node::{journal_failure, not_opened};
use crate::{folder, out};

/// Task starts of one job that are written out.
const LISTED: usize = 20;

/// Runs the command.
pub(super) fn run(args: &RecoverArgs) -> Result<Exit, Failure> {
    if !args.dry_run {
        return Err(Failure::usage(
            "there is nothing to recover by hand: any opening of the folder does it, such as \
             `holdfast sql`; give --dry-run to see what it will do",
        ));
    }
    let path = args.source.path();
    let source = Source::open(&path)?;
    if source.archive().is_some() {
        return Err(Failure::failed(
            "NOT_A_FOLDER",
            format!(
                "'{}' is an archive, which holds what is over; what the next opening does is in the \
                 folder that it came from",
                path.display()
            ),
        ));
    }
    let clock = SystemClock::new();
    let now = Now {
        wall_ms: args.opened_at.unwrap_or_else(|| clock.wall_ms()),
        // A process that has just begun.
        mono_ms: 0,
    };
    let outlook = Outlook::of(&source, &path, now)?;
    out::data(&match args.format {
        ToolFormat::Table => mask_text(&outlook.text(&clock)).into_owned(),
        ToolFormat::Json => json_line(&outlook.json())?,
    })?;
    if source.is_live() {
        out::note(
            "a process has the folder open now: this is what the next opening would do, were that \
             one killed at this moment",
        );
    }
    source.conclude()?;
    outlook
        .refused
        .map_or(Ok(Exit::Done), |(_, failure)| Err(failure))
}

/// What the next opening meets, part by part, in the order in which it meets it.
struct Outlook {
    /// What was found in the log; `None` for an exported file, which has none.
    report: Option<OpenReport>,
    records: Seq,
    refusal: Option<String>,
    index: Option<String>,
    catalog: Catalog,
    seen: CatalogPosition,
    now: Now,
    ended: usize,
    opening: Option<NextOpening>,
    /// Why the engine would not open, where it would not, and what the program would end with.
    refused: Option<(String, Failure)>,
}

/// The catalog of the tables.
enum Catalog {
    /// There is none here, as in a copy of a journal alone.
    Absent,
    /// Where it stands, and what its own opening does.
    At(CatalogPosition, OpenReport),
    /// Why it would be refused.
    Refused(Error),
}

impl Outlook {
    fn of(source: &Source, path: &Path, now: Now) -> Result<Self, Failure> {
        let (mut replay, _) = source.replay(source.last().0)?;
        let catalog = Catalog::of(path);
        let seen = replay.catalog();
        let jobs = replay.views().jobs.size();
        let mut outlook = Self {
            report: report(source)?,
            records: source.last().0,
            refusal: source.refusal().map(ToString::to_string),
            index: source.journal().map(|(journal, _)| index(journal)),
            seen,
            catalog,
            now,
            ended: jobs,
            opening: None,
            refused: None,
        };
        if outlook.refusal.is_none() {
            outlook.open(&replay);
        }
        Ok(outlook)
    }

    fn open(&mut self, replay: &Replay) {
        let stands = match &self.catalog {
            Catalog::Absent => self.seen,
            Catalog::At(position, _) => *position,
            Catalog::Refused(error) => {
                self.refused = Some((error.to_string(), journal_failure(error)));
                return;
            }
        };
        // The program opens every folder with these.
        let credits = Options::default().credits;
        match next_opening(replay, stands, self.now, credits) {
            Ok(opening) => {
                self.ended -= opening.jobs.len();
                self.opening = Some(opening);
            }
            Err(error) => self.refused = Some((error.to_string(), not_opened(&error))),
        }
    }

    fn text(&self, clock: &SystemClock) -> String {
        let mut text = String::new();
        for line in self.journal_lines() {
            let _ = writeln!(text, "Journal: {line}");
        }
        if let Some(index) = &self.index {
            let _ = writeln!(text, "Index: {index}");
        }
        let _ = writeln!(text, "Catalog: {}", self.catalog_line());
        if let Some(refusal) = &self.refusal {
            let _ = writeln!(text, "\nThe next opening refuses: {refusal}");
        }
        if let Some((why, _)) = &self.refused {
            let _ = writeln!(text, "\nThe next opening refuses: {why}");
        }
        if let Some(opening) = &self.opening {
            self.opening_lines(opening, clock, &mut text);
        }
        text
    }

    fn mends_archives(report: &OpenReport) -> bool {
        let mut answers = report.cases.iter().map(OpenCase::answer);
        answers.any(|answer| answer == Answer::MendArchive)
    }

    fn journal_lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        let Some(report) = &self.report else {
            return vec![format!(
                "exported up to record {}; what an opening finds in the node's own log is not known",
                self.records
            )];
        };
        for case in &report.cases {
            let does = match case.answer() {
                Answer::GoOn if Self::mends_archives(report) => "nothing to cut".to_owned(),
                Answer::GoOn => "nothing to mend".to_owned(),
                Answer::Cut => format!(
                    "{} cut{}",
                    count(report.cut_bytes, "byte"),
                    match &report.cut_at {
                        Some(place) => format!(" at {place}"),
                        None => String::new(),
                    }
                ),
                Answer::MendIndex => "the index is mended beside normal work".to_owned(),
                Answer::MendArchive => {
                    lines.push(mended_archive(case));
                    continue;
                }
                Answer::Refuse(_) => "refused".to_owned(),
            };
            lines.push(format!("{case}: {does}"));
        }
        lines.push(format!(
            "{} whole, in {}",
            count(report.records, "record"),
            count(report.segments, "segment")
        ));
        lines
    }

    fn catalog_line(&self) -> String {
        match &self.catalog {
            Catalog::Absent => format!(
                "none here, not checked; on the node it must stand at {} or later",
                self.seen
            ),
            Catalog::Refused(error) => format!("refused: {error}"),
            Catalog::At(position, report) => {
                let judged = match *position < self.seen {
                    true => "it is older than the journal",
                    false => "not behind",
                };
                let mut line = format!(
                    "stands at {position}, the journal has seen {}: {judged}",
                    self.seen
                );
                let mended = report
                    .cases
                    .iter()
                    .filter(|case| case.answer() != Answer::GoOn);
                for case in mended {
                    let words = match case.answer() {
                        Answer::MendArchive => mended_archive(case),
                        _ => case.to_string(),
                    };
                    let _ = write!(line, "; {words}");
                }
                line
            }
        }
    }

    fn opening_lines(&self, opening: &NextOpening, clock: &SystemClock, text: &mut String) {
        let _ = writeln!(
            text,
            "\nOpening {} at {} records {} before any worker answers.",
            opening.epoch,
            time_text(clock, self.now.wall_ms),
            count(opening.events.len() as u64, "event")
        );
        for job in &opening.jobs {
            job_lines(job, text);
        }
        let over = match self.ended {
            0 => "No job is over yet.".to_owned(),
            1 => "1 job is over and is not touched.".to_owned(),
            jobs => format!("{jobs} jobs are over and are not touched."),
        };
        let _ = writeln!(text, "\n{over}");
        if self.ended > 0 {
            text.push_str(
                "Jobs that are over stay in SHOW, but where the folder is opened with \
                 --keep-finished: then those that are old enough leave into an archive.\n",
            );
        }
        text.push_str(
            "What the storage still holds for jobs that are over (pins, local snapshots, staging) \
             is removed.\n",
        );
    }

    fn json(&self) -> serde_json::Value {
        let case = |case: &OpenCase| {
            json!({
                "name": case.name(),
                "text": match case.answer() {
                    Answer::MendArchive => mended_archive(case),
                    _ => case.to_string(),
                },
                "answer": format!("{:?}", case.answer()),
            })
        };
        let catalog = match &self.catalog {
            Catalog::At(position, _) => json!(position.0),
            Catalog::Absent | Catalog::Refused(_) => json!(null),
        };
        let opening = self.opening.as_ref().map(|opening| {
            let kinds: Vec<_> = opening.events.iter().map(Event::kind_name).collect();
            json!({"epoch": opening.epoch, "events": kinds, "jobs": opening.jobs})
        });
        let report = self.report.as_ref();
        json!({
            "journal": {
                "records": self.records,
                "cases": report.map(|report| report.cases.iter().map(case).collect::<Vec<_>>()),
                "cut_bytes": report.map(|report| report.cut_bytes),
                "cut_at": report.and_then(|report| report.cut_at.clone()),
            },
            "index": self.index,
            "catalog": {"stands_at": catalog, "seen_at": self.seen.0},
            "refused": self.refusal.as_ref().or(self.refused.as_ref().map(|(why, _)| why)),
            "opened_at_ms": self.now.wall_ms,
            "opening": opening,
            "jobs_over": self.ended,
        })
    }
}

impl Catalog {
    fn of(path: &Path) -> Self {
        let path = folder::storage_dir(path).join("catalog");
        if !path.is_dir() {
            return Self::Absent;
        }
        match ReadJournal::<CatalogEvent>::salvage(&path) {
            Ok((journal, mut report, None)) => {
                match journal.mending() {
                    Ok(cases) => report.cases.extend(cases),
                    Err(error) => return Self::Refused(error),
                }
                let checked = journal.read(Seq::FIRST, &mut |_| Ok(()));
                let (seq, _) = journal.position();
                match checked {
                    Ok(()) => Self::At(CatalogPosition(seq.get()), report),
                    Err(error) => Self::Refused(error),
                }
            }
            Ok((_, _, Some(error))) | Err(error) => Self::Refused(error),
        }
    }
}

/// What an opening finds in the log, and of archiving that was cut short; `None` for a file.
fn report(source: &Source) -> Result<Option<OpenReport>, Failure> {
    let Some((journal, report)) = source.journal() else {
        return Ok(None);
    };
    let mut report = report.clone();
    // An opening that is refused mends nothing.
    if source.refusal().is_none() {
        let cases = journal.mending().map_err(|error| journal_failure(&error))?;
        report.cases.extend(cases);
    }
    Ok(Some(report))
}

/// What an opening will do about archiving that was cut short.
fn mended_archive(case: &OpenCase) -> String {
    match case {
        OpenCase::ArchiveUnfinished { archive, segments } => format!(
            "{}: {} that {archive} holds will be removed",
            case.name(),
            count(*segments, "segment")
        ),
        OpenCase::ArchiveUndone { archive } => format!(
            "{}: {archive} will be removed, the log holds its records",
            case.name()
        ),
        other => format!("{other}: the archive is mended"),
    }
}

fn index(journal: &ReadJournal<Event>) -> String {
    match journal.verify_index() {
        Ok(check) => check.to_string(),
        Err(error) => format!("not checked: {error}"),
    }
}

fn job_lines(job: &JobOutlook, text: &mut String) {
    let kind = if job.kind == "BACKUP" {
        "Backup"
    } else {
        "Restore"
    };
    let _ = writeln!(
        text,
        "\n{kind} {} '{}' of database '{}', found in {}: {}",
        job.job,
        job.label,
        job.database,
        job.state,
        match job.direction {
            Direction::GoesOn => "goes on",
            Direction::RollsForward => "rolls forward, it will be FINISHED",
            Direction::RollsBack => "rolls back, it will be CANCELLED",
            Direction::TimesOut => "times out at once, it will be CANCELLED",
            Direction::CleansUp => "only cleans up",
        }
    );
    let mut line = |words: String| {
        let _ = writeln!(text, "  {words}");
    };
    line(format!("why: {}", one_line(&job.why)));
    if let Some(work) = job.work {
        line(format!(
            "{work:?}: {} of {} done, {} at once, {} wait for a free worker",
            job.done,
            count(u64::from(job.tasks), "task"),
            starts(job.starts.len()),
            job.queued
        ));
    }
    for start in job.starts.iter().take(LISTED) {
        line(start_line(start));
    }
    if job.starts.len() > LISTED {
        line(format!("  and {} more", job.starts.len() - LISTED));
    }
    if let Some(left) = job.time_left_ms {
        line(format!("it may run for {} more", duration(left)));
    }
    for words in &job.holdings {
        line(words.clone());
    }
}

fn starts(number: usize) -> String {
    match number {
        1 => "1 starts".to_owned(),
        some => format!("{some} start"),
    }
}

fn start_line(start: &Again) -> String {
    let place = match start.backend {
        Some(backend) => format!("on backend {backend}"),
        None => "of the coordinator".to_owned(),
    };
    let why = match (start.interrupted, start.attempt) {
        (true, _) => ", again: it was running when the journal ended",
        (false, 1) => "",
        (false, _) => ", again",
    };
    format!(
        "  task {} {place}, attempt {}{why}",
        start.task, start.attempt
    )
}

fn one_line(words: &str) -> String {
    words.split_whitespace().collect::<Vec<_>>().join(" ")
}
