//! `holdfast sql`: where statements come from, what is waited for, how results leave.

use std::fs;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::time::Duration;

use holdfast_sql::{Parsed, ResultTable, SqlError, output, parse_one};

use crate::cli::{Format, SqlArgs};
use crate::exit::{Exit, Failure};
use crate::folder::{Absent, Folder};
use crate::node::{Node, NodeOptions};
use crate::session::Session;
use crate::shell::{Input, Shell};
use crate::split::{Place, Splitter};
use crate::{out, retention, wait};

/// How long a finished job may take to let go of what it held.
const PATIENCE: Duration = Duration::from_secs(5);

/// The byte order mark that some editors put before UTF-8.
const MARK: char = '\u{feff}';

/// Where the statements come from.
enum Statements {
    Text(String),
    Lines(Box<dyn BufRead>),
    Shell(Box<Shell>),
}

/// Runs the command.
pub(crate) fn run(args: SqlArgs) -> Result<Exit, Failure> {
    let statements = statements(&args)?;
    let folder = Folder::hold(&args.data_dir, Absent::Make)?;
    let retention = retention::of(args.keep_finished, args.keep_last);
    let node = Node::open(
        folder,
        NodeOptions {
            backends: args.backends,
            retention,
            ..Default::default()
        },
    )?;
    // What was not moved today is moved another day; the statements do not depend on it.
    if let Err(failure) = retention::at_opening(&node, retention) {
        log::warn!("{}", failure.words());
    }
    let mut run = Run {
        session: Session::new(&node, args.user, args.database),
        node: &node,
        format: args.format,
        waits: if args.no_wait {
            Waits::Never
        } else {
            Waits::ForJobs
        },
    };
    let ended = run.all(statements);
    let ended = run.leave(ended);
    drop(run);
    node.close();
    ended
}

fn statements(args: &SqlArgs) -> Result<Statements, Failure> {
    if let Some(text) = &args.execute {
        return Ok(Statements::Text(text.clone()));
    }
    if let Some(path) = &args.file {
        let text = fs::read_to_string(path).map_err(|error| {
            Failure::failed(
                "FILE_UNREADABLE",
                format!("cannot read '{}': {error}", path.display()),
            )
        })?;
        let text = match text.strip_prefix(MARK) {
            Some(rest) => rest.to_owned(),
            None => text,
        };
        return Ok(Statements::Text(text));
    }
    if io::stdin().is_terminal() {
        return Ok(Statements::Shell(Box::new(Shell::start()?)));
    }
    Ok(Statements::Lines(Box::new(BufReader::new(io::stdin()))))
}

/// Whether a job is waited for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waits {
    ForJobs,
    Never,
}

struct Run<'a> {
    session: Session<'a>,
    node: &'a Node,
    format: Format,
    waits: Waits,
}

impl Run<'_> {
    fn all(&mut self, statements: Statements) -> Result<(), Failure> {
        match statements {
            Statements::Text(text) => {
                // One after the other, so that those before a wrong one have run.
                holdfast_sql::statements(&text).try_for_each(|parsed| self.one(parsed))
            }
            Statements::Lines(lines) => self.lines(lines),
            Statements::Shell(shell) => self.shell(*shell),
        }
    }

    fn drain(&mut self, splitter: &mut Splitter) -> Result<(), Failure> {
        while let Some(statement) = splitter.next() {
            self.one(parse_at(&statement, splitter.place()))?;
        }
        Ok(())
    }

    /// Runs each statement as soon as its semicolon was read.
    fn lines(&mut self, mut lines: Box<dyn BufRead>) -> Result<(), Failure> {
        let mut splitter = Splitter::default();
        let mut line = Vec::new();
        let mut first = true;
        loop {
            line.clear();
            let read = lines.read_until(b'\n', &mut line).map_err(|error| {
                Failure::failed(
                    "FILE_UNREADABLE",
                    format!("cannot read the statements: {error}"),
                )
            })?;
            if read == 0 {
                return match splitter.finish() {
                    Some(last) => self.one(parse_at(&last, splitter.place())),
                    None => Ok(()),
                };
            }
            let text = std::str::from_utf8(&line).map_err(|error| {
                Failure::failed(
                    "SYNTAX_ERROR",
                    format!("the statements are not UTF-8: {error}"),
                )
            })?;
            splitter.push(text.strip_prefix(MARK).filter(|_| first).unwrap_or(text));
            first = false;
            self.drain(&mut splitter)?;
        }
    }

    /// An error is shown and the shell goes on; only Ctrl-C during a job leaves it.
    fn shell(&mut self, mut shell: Shell) -> Result<(), Failure> {
        while let Input::Statement(statement) = shell.next()? {
            match self.one(parse_one(&statement)) {
                Err(failure) if failure.exit != Exit::Interrupted => out::note(failure),
                other => other?,
            }
        }
        Ok(())
    }

    fn one(&mut self, parsed: Result<Parsed, SqlError>) -> Result<(), Failure> {
        let outcome = self.session.execute(&parsed?)?;
        if let Some(table) = &outcome.table {
            out::data(&render(table, self.format))?;
        }
        match outcome.job {
            Some(job) if self.waits == Waits::ForJobs => wait::for_job(self.node, job).map(|_| ()),
            Some(job) => {
                out::note(format_args!("job {job} is accepted and goes on by itself"));
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Waits for what still runs, then answers for all: the first error counts.
    fn leave(&mut self, ended: Result<(), Failure>) -> Result<Exit, Failure> {
        let interrupted = ended
            .as_ref()
            .is_err_and(|failure| failure.exit == Exit::Interrupted);
        if self.waits == Waits::Never || interrupted {
            return ended.map(|()| Exit::Done);
        }
        // Said now: the wait may be long.
        let mut exit = ended.map_or_else(
            |failure| {
                say(&failure);
                failure.exit
            },
            |()| Exit::Done,
        );
        for job in self.node.engine.active() {
            if let Err(failure) = wait::for_job(self.node, job) {
                if exit == Exit::Done || failure.exit == Exit::Interrupted {
                    exit = failure.exit;
                }
                say(&failure);
                if exit == Exit::Interrupted {
                    break;
                }
            }
        }
        if exit != Exit::Interrupted {
            self.node.settle(PATIENCE);
        }
        Ok(exit)
    }
}

/// Parses one statement of a longer input; an error names the line and column of that input.
fn parse_at(statement: &str, place: Place) -> Result<Parsed, SqlError> {
    parse_one(statement).or_else(|_| {
        // Only a wrong statement pays for this: blanks bring it to its own place.
        let before = "\n".repeat(place.line) + &" ".repeat(place.column);
        parse_one(&(before + statement))
    })
}

fn say(failure: &Failure) {
    if failure.text.is_some() {
        out::note(failure);
    }
}

/// A result set as text, with its last line ended.
pub(crate) fn render(table: &ResultTable, format: Format) -> String {
    let mut text = match format {
        Format::Table => output::table(table, out::width()),
        Format::Json => output::json(table),
        Format::Csv => output::csv(table),
    };
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text
}
