//! `journal dump`: the records, a line each.

use std::io::Write;
use std::ops::ControlFlow;

use holdfast_journal::Seq;

use super::line::line;
use super::source::Source;
use crate::cli::DumpArgs;
use crate::exit::{Exit, Failure};
use crate::host::SystemClock;
use crate::out;

/// Runs the command.
pub(super) fn run(args: &DumpArgs) -> Result<Exit, Failure> {
    let source = Source::open(&args.source.path())?;
    let clock = SystemClock::new();
    let mut stream = out::stream();
    source.read(Seq::FIRST, source.last().0, &mut |record| {
        writeln!(stream, "{}", line(&record, &clock, args.format)).map_err(out::closed)?;
        Ok(ControlFlow::Continue(()))
    })?;
    stream.flush().map_err(out::closed)?;
    source.conclude()
}
