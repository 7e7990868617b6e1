//! `journal replay`: steps through a recorded run in the engine's own code, forward and back.

mod command;
mod stepper;

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::ops::ControlFlow;

use holdfast_engine::inspect::due_now;
use holdfast_engine::story::{Gather, duration};
use holdfast_engine::{Clock as _, Event, JobId, JobKind, Options};
use holdfast_journal::{Record, Seq};
use holdfast_sql::Width;
use holdfast_sql::secret::mask_text;
use rustyline::DefaultEditor;
use rustyline::error::ReadlineError;

use self::command::{Command, HELP, What};
use self::stepper::{Stepper, told};
use super::explain::{accepted, job_id, unknown};
use super::line::line;
use super::source::Source;
use crate::cli::{Format, RecordFormat, ReplayArgs};
use crate::exit::{Exit, Failure};
use crate::host::{SystemClock, time_text};
use crate::out;
use crate::session::jobs_table;
use crate::sql_cmd::render;

/// Findings that are written out; the rest is counted.
const LISTED: usize = 50;

/// Runs the command.
pub(super) fn run(args: &ReplayArgs) -> Result<Exit, Failure> {
    let source = Source::open(&args.source.path())?;
    let mut run = Run {
        stepper: Stepper::new(&source)?,
        clock: SystemClock::new(),
    };
    let begun = run.stepper.begun();
    if begun > Seq::ZERO {
        out::note(format_args!(
            "the replay begins with the state at sequence {begun}, from a checkpoint"
        ));
    }
    if let Some(point) = args.to {
        let target = source.find(point)?;
        run.stepper.goto(target)?;
        for command in [
            Command::Event,
            Command::Show,
            Command::Due,
            Command::Findings,
        ] {
            run.perform(command)?;
        }
    } else if let Some(path) = args
        .script
        .as_deref()
        .filter(|path| path.as_os_str() != "-")
    {
        let file = File::open(path).map_err(|error| {
            Failure::failed(
                "FILE_UNREADABLE",
                format!("cannot read '{}': {error}", path.display()),
            )
        })?;
        run.script(BufReader::new(file))?;
    } else if args.script.is_none() && io::stdin().is_terminal() {
        run.prompt()?;
    } else {
        run.script(io::stdin().lock())?;
    }
    source.conclude()?;
    run.conclude()
}

struct Run<'a> {
    stepper: Stepper<'a>,
    clock: SystemClock,
}

impl Run<'_> {
    /// Commands from a file; the first that is wrong ends it.
    fn script(&mut self, lines: impl BufRead) -> Result<(), Failure> {
        for (line, number) in lines.lines().zip(1..) {
            let line = line.map_err(|error| {
                Failure::failed(
                    "FILE_UNREADABLE",
                    format!("cannot read the commands: {error}"),
                )
            })?;
            let command = Command::parse(&line).map_err(|error| {
                Failure::failed("BAD_COMMAND", format!("line {number}: {error}"))
            })?;
            match command {
                Some(Command::Quit) => return Ok(()),
                Some(command) => self.perform(command)?,
                None => {}
            }
        }
        Ok(())
    }

    /// Commands from a terminal; a wrong one is told, and the prompt comes again.
    fn prompt(&mut self) -> Result<(), Failure> {
        let no_terminal = |error: &ReadlineError| {
            let text = format!("the terminal cannot be used: {error}");
            Failure::failed("TERMINAL_FAILED", text)
        };
        let mut editor = DefaultEditor::new().map_err(|error| no_terminal(&error))?;
        out::note(format_args!(
            "{} records; help lists the commands",
            self.stepper.end()
        ));
        loop {
            let prompt = format!("{}/{}> ", self.stepper.position(), self.stepper.end());
            let line = match editor.readline(&prompt) {
                Ok(line) => line,
                Err(ReadlineError::Interrupted) => continue,
                Err(ReadlineError::Eof) => return Ok(()),
                Err(error) => return Err(no_terminal(&error)),
            };
            if let Err(error) = editor.add_history_entry(line.as_str()) {
                log::debug!("history: {error}");
            }
            match Command::parse(&line) {
                Ok(Some(Command::Quit)) => return Ok(()),
                Ok(Some(command)) => {
                    if let Err(failure) = self.perform(command) {
                        out::note(failure);
                    }
                }
                Ok(None) => {}
                Err(error) => out::note(error),
            }
        }
    }

    fn perform(&mut self, command: Command) -> Result<(), Failure> {
        let position = self.stepper.position();
        match command {
            Command::Step(count) => self.go(Seq(position.get().saturating_add(count))),
            Command::Back(count) => {
                let back = Seq(position.get().saturating_sub(count));
                self.go(back.max(self.stepper.begun()))
            }
            Command::End => self.go(self.stepper.end()),
            Command::Goto(point) => {
                let target = self.stepper.source().find(point)?;
                self.go(target)
            }
            Command::Next(what) => self.next(what),
            Command::Event => self.event(),
            Command::Show => self.show(),
            Command::Jobs => self.jobs(),
            Command::Due => self.due(),
            Command::Explain(job) => self.explain(job.as_deref()),
            Command::Findings => self.findings(),
            Command::Help => out::data(HELP),
            Command::Quit => Ok(()),
        }
    }

    /// Goes there and tells where that is, and what was found on the way.
    fn go(&mut self, target: Seq) -> Result<(), Failure> {
        let before = self.stepper.findings().len();
        self.stepper.goto(target)?;
        let new = &self.stepper.findings()[before..];
        let mut text = String::new();
        for finding in new.iter().take(LISTED) {
            text.push_str(&format!("finding at {}: {}\n", finding.seq, finding.text));
        }
        if new.len() > LISTED {
            text.push_str(&format!("and {} more findings\n", new.len() - LISTED));
        }
        out::data(&mask_text(&text))?;
        if target > self.stepper.end() {
            out::note("that is behind the last record");
        }
        self.event()
    }

    fn event(&self) -> Result<(), Failure> {
        match self.stepper.record() {
            Some(record) => out::data(&line(record, &self.clock, RecordFormat::Table)),
            None => match self.stepper.begun() {
                Seq::ZERO => out::data("before the first record\n"),
                begun => out::data(&format!(
                    "before the first record at hand, in the state of sequence {begun}\n"
                )),
            },
        }
    }

    fn next(&mut self, what: What) -> Result<(), Failure> {
        let mut found = None;
        let (from, to) = (self.stepper.position().next(), self.stepper.end());
        self.stepper.source().read(from, to, &mut |record| {
            if is(&record, what) {
                found = Some(record.seq);
                return Ok(ControlFlow::Break(()));
            }
            Ok(ControlFlow::Continue(()))
        })?;
        match found {
            Some(seq) => self.go(seq),
            None => out::data(match what {
                What::Job => "no later job\n",
                What::State => "no later state\n",
                What::Error => "no later error\n",
            }),
        }
    }

    fn show(&mut self) -> Result<(), Failure> {
        let now_ms = self.stepper.record().map_or(0, |record| record.at_ms);
        let views = self.stepper.replay().views();
        let offset = |at: u64| self.clock.utc_offset_seconds(at);
        let clock = holdfast_sql::Clock {
            now_ms,
            offset_seconds: &offset,
        };
        for kind in [JobKind::Backup, JobKind::Restore] {
            let jobs = views.jobs_of(kind, None);
            if !jobs.is_empty() {
                let table = jobs_table(kind, &jobs, &|_| Vec::new(), Width::Full, clock);
                out::data(&render(&table, Format::Table))?;
            }
        }
        match views.jobs.is_empty() {
            true => out::data("no job\n"),
            false => Ok(()),
        }
    }

    fn jobs(&mut self) -> Result<(), Failure> {
        let views = self.stepper.replay().views();
        let mut text = String::new();
        for view in views.jobs.values().filter(|view| !view.has_ended()) {
            let job = view.common();
            text.push_str(&format!(
                "{} {:?} '{}' of database '{}': {}, {} of {} tasks done{}\n",
                job.job,
                view.kind(),
                job.label,
                job.database,
                view.state_name(),
                job.tasks_done,
                job.tasks_total,
                if job.stopping { ", ending" } else { "" }
            ));
        }
        match text.is_empty() {
            true => out::data("no job is active\n"),
            false => out::data(&text),
        }
    }

    fn due(&mut self) -> Result<(), Failure> {
        let due = due_now(self.stepper.replay(), Options::default().credits);
        let mut text = String::new();
        for event in &due.events {
            text.push_str(&format!("due: {}\n", told(event)));
        }
        match due.next_in_ms {
            Some(ms) => text.push_str(&format!("next by itself: in {}\n", duration(ms))),
            None if text.is_empty() => text.push_str("nothing is due\n"),
            None => {}
        }
        out::data(&mask_text(&text))
    }

    fn explain(&self, job: Option<&str>) -> Result<(), Failure> {
        let about = self.stepper.record().map(|record| record.stream.get());
        let job = match (job, about) {
            (Some(text), _) => job_id(text)?,
            (None, Some(job)) if job != 0 => JobId(job),
            (None, _) => return out::data("the record is about no job: explain JOB\n"),
        };
        let at = self.stepper.position();
        let mut gather = Gather::new(job);
        let mut seen = Vec::new();
        let source = self.stepper.source();
        source.read(Seq::FIRST, at, &mut |record| {
            seen.extend(accepted(&record));
            gather.take(&record);
            Ok(ControlFlow::Continue(()))
        })?;
        let story = gather
            .story()
            .ok_or_else(|| unknown(job, (self.stepper.source().first(), at), &seen))?;
        let text = story.explain(&|ms| time_text(&self.clock, ms));
        out::data(&mask_text(&text))
    }

    fn findings(&self) -> Result<(), Failure> {
        let findings = self.stepper.findings();
        let mut text = String::new();
        for finding in findings {
            text.push_str(&format!("finding at {}: {}\n", finding.seq, finding.text));
        }
        let begun = self.stepper.begun();
        if findings.is_empty() {
            let from = match (self.stepper.checked() == begun, begun) {
                (true, _) => return out::data("no record was passed, none was decided anew\n"),
                (false, Seq::ZERO) => String::new(),
                (false, _) => format!(" from sequence {} on", begun.next()),
            };
            text.push_str(&format!(
                "no finding{from}: the engine of today decides the same up to here\n"
            ));
        }
        out::data(&mask_text(&text))
    }

    /// The exit code says whether all that was passed could be decided again.
    fn conclude(&self) -> Result<Exit, Failure> {
        let found = self.stepper.findings();
        let Some(first) = found.first() else {
            return Ok(Exit::Done);
        };
        let text = format!(
            "{}, the first at sequence {}",
            crate::text::count(found.len() as u64, "finding"),
            first.seq
        );
        match self.stepper.is_broken() {
            true => Err(Failure::new(Exit::Damage, "JOURNAL_ILLEGAL_EVENT", text)),
            false => Err(Failure::failed("REPLAY_DIFFERS", text)),
        }
    }
}

fn is(record: &Record<Event>, what: What) -> bool {
    match what {
        What::Job => accepted(record).is_some(),
        What::State => matches!(
            record.event,
            Event::BackupSubmitted(_)
                | Event::RestoreSubmitted(_)
                | Event::StateEntered(_)
                | Event::PinLost(_)
                | Event::BackupFinished(_)
                | Event::RestoreFinished(_)
                | Event::JobCancelled(_)
        ),
        What::Error => matches!(
            record.event,
            Event::TaskFailed(_)
                | Event::PinLost(_)
                | Event::WorkerFenced(_)
                | Event::JobStopping(_)
        ),
    }
}
