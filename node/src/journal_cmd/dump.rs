//! `journal dump`: the records, a line each.

use std::io::Write;
use std::ops::ControlFlow;

use super::filter::Filter;
use super::line::{header, line};
use super::source::Source;
use crate::cli::DumpArgs;
use crate::exit::{Exit, Failure};
use crate::host::SystemClock;
use crate::out;

/// Runs the command.
pub(super) fn run(args: &DumpArgs) -> Result<Exit, Failure> {
    let filter = Filter::new(&args.filter)?;
    let source = Source::open(&args.source.path())?;
    let clock = SystemClock::new();
    let mut stream = out::stream();
    let mut shown = 0_u64;
    write!(stream, "{}", header(args.format)).map_err(out::closed)?;
    source.read(filter.from(), filter.to(), &mut |record| {
        if filter.takes(&record) {
            shown += 1;
            let line = line(&record, &clock, args.format);
            stream.write_all(line.as_bytes()).map_err(out::closed)?;
        }
        Ok(ControlFlow::Continue(()))
    })?;
    stream.flush().map_err(out::closed)?;
    if shown == 0 && filter.is_narrow() {
        let (first, last) = (source.first(), source.last().0);
        out::note(format_args!(
            "no record agrees with the filters; the journal has {first} to {last}"
        ));
    }
    source.conclude()
}
