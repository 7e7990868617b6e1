//! `journal diff`: what changed between two points.

mod gather;
mod print;

use std::ops::ControlFlow;

use holdfast_journal::Projection;

use super::point::Point;
use super::source::Source;
use crate::cli::{DiffArgs, ToolFormat};
use crate::exit::{Exit, Failure};
use crate::host::SystemClock;
use crate::node::journal_failure;
use crate::out;

use gather::Gather;

/// Runs the command.
pub(super) fn run(args: &DiffArgs) -> Result<Exit, Failure> {
    let (path, [a, b]) = args.operands.take(["A", "B"])?;
    let (a, b) = (point("A", &a)?, point("B", &b)?);
    let source = Source::open(&path)?;
    let (a, b) = (source.find(a)?, source.find(b)?);
    if a > b {
        return Err(Failure::usage(format!(
            "A is sequence {a} and lies behind B, sequence {b}: name the earlier point first"
        )));
    }
    let (mut replay, a_ms) = source.replay(a)?;
    let mut gather = Gather::new((a, a_ms), &replay.views());
    source.read(a.next(), b, &mut |record| {
        replay.apply(&record).map_err(|e| journal_failure(&e))?;
        gather.take(&record);
        Ok(ControlFlow::Continue(()))
    })?;
    let changes = gather.finish(&replay.views());
    let clock = SystemClock::new();
    out::data(&match args.format {
        ToolFormat::Table => print::words(&changes, &clock),
        ToolFormat::Json => print::lines(&changes, &clock)?,
    })?;
    source.conclude()
}

fn point(name: &str, text: &str) -> Result<Point, Failure> {
    Point::parse(text).map_err(|error| Failure::usage(format!("{name}: {error}")))
}
