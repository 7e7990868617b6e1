//! `journal tail`: the last records, and with `-f` those that a running process adds.

use std::collections::VecDeque;
use std::io::Write;
use std::ops::ControlFlow;

use holdfast_engine::Event;
use holdfast_journal::{Record, Seq};

use super::filter::Filter;
use super::line::{header, line};
use super::source::Source;
use crate::cli::{RecordFormat, TailArgs};
use crate::exit::{Exit, Failure};
use crate::host::SystemClock;
use crate::out::{self, Reader};

/// How often the log is looked at.
const LOOK_EVERY_MS: u32 = 100;
/// After so many looks at bytes that do not become a record, the folder is opened anew: it may be
/// another one.
const LOOKS_AT_UNFINISHED: u32 = 20;

/// Runs the command.
pub(super) fn run(args: &TailArgs) -> Result<Exit, Failure> {
    let filter = Filter::new(&args.filter)?;
    let mut source = Source::open(&args.source.path())?;
    if args.follow && source.journal().is_none() {
        return Err(Failure::failed(
            "NOT_A_FOLDER",
            format!(
                "'{}' is a file, which does not grow; -f follows a folder",
                source.path().display()
            ),
        ));
    }
    let printer = Printer {
        clock: SystemClock::new(),
        format: args.format,
    };
    let shown = last(&source, &filter, args.lines)?;
    let done = printer.print(true, &shown).and_then(|()| {
        if !args.follow {
            return source.conclude();
        }
        source.conclude()?;
        follow(&mut source, &filter, &printer)
    });
    match done {
        // Whoever read has seen enough.
        Err(failure) if failure == Failure::silent(Exit::Failed) => Ok(Exit::Done),
        other => other,
    }
}

struct Printer {
    clock: SystemClock,
    format: RecordFormat,
}

impl Printer {
    /// Writes the records, all of them or none held back: Ctrl-C ends the program at any time.
    fn print<'a>(
        &self,
        first: bool,
        records: impl IntoIterator<Item = &'a Record<Event>>,
    ) -> Result<(), Failure> {
        let mut stream = out::stream();
        if first {
            write!(stream, "{}", header(self.format)).map_err(out::closed)?;
        }
        for record in records {
            let line = line(record, &self.clock, self.format);
            stream.write_all(line.as_bytes()).map_err(out::closed)?;
        }
        stream.flush().map_err(out::closed)
    }
}

/// The last `count` records that agree with the filter.
fn last(
    source: &Source,
    filter: &Filter,
    count: usize,
) -> Result<VecDeque<Record<Event>>, Failure> {
    let mut found = VecDeque::new();
    if count == 0 {
        return Ok(found);
    }
    let end = source.last().0.get();
    let from = match filter.is_narrow() {
        true => filter.from(),
        // Nothing is passed over, so the count alone says where to begin.
        false => Seq(end.saturating_sub(count as u64 - 1)).max(Seq::FIRST),
    };
    source.read(from, filter.to(), &mut |record| {
        if filter.takes(&record) {
            if found.len() == count {
                found.pop_front();
            }
            found.push_back(record);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(found)
}

/// Prints what is added until the filter lets nothing more through, nobody reads any more, or
/// Ctrl-C ends the program.
fn follow(source: &mut Source, filter: &Filter, printer: &Printer) -> Result<Exit, Failure> {
    let mut seen = source.last();
    let mut unfinished = 0;
    while seen.0 < filter.to() {
        if out::wait(LOOK_EVERY_MS) == Reader::Gone {
            return Ok(Exit::Done);
        }
        match source.advance() {
            Some(true) if unfinished < LOOKS_AT_UNFINISHED => unfinished += 1,
            Some(false) => unfinished = 0,
            _ => {
                source.reopen(seen)?;
                unfinished = 0;
            }
        }
        let last = source.last();
        if last.0 == seen.0 {
            continue;
        }
        let mut new = Vec::new();
        source.read(seen.0.next(), last.0, &mut |record| {
            if filter.takes(&record) {
                new.push(record);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        printer.print(false, &new)?;
        seen = last;
    }
    Ok(Exit::Done)
}
