//! `holdfast journal`: the flight recorder. Every command reads events from a [`source::Source`],
//! opens no engine, takes no lock and changes nothing, so it works beside a running process and on
//! a copy. Only `archive` changes a folder, which then nobody may have open.

mod archive;
mod diff;
mod dump;
mod explain;
mod export;
mod exported;
mod filter;
mod line;
mod masked;
mod point;
mod recover;
mod replay;
mod source;
mod state;
mod tail;
mod timeline;
mod verify;
mod views;

pub(crate) use point::{Point, parse_end, parse_time};

use crate::cli::JournalCommand;
use crate::exit::{Exit, Failure};

/// Runs the command.
pub(crate) fn run(command: JournalCommand) -> Result<Exit, Failure> {
    match command {
        JournalCommand::Archive(args) => archive::run(&args),
        JournalCommand::Dump(args) => dump::run(&args),
        JournalCommand::Verify(args) => verify::run(&args),
        JournalCommand::State(args) => state::run(&args),
        JournalCommand::Explain(args) => explain::run(&args),
        JournalCommand::Recover(args) => recover::run(&args),
        JournalCommand::Replay(args) => replay::run(&args),
        JournalCommand::Export(args) => export::run(&args),
        JournalCommand::Tail(args) => tail::run(&args),
        JournalCommand::Diff(args) => diff::run(&args),
        JournalCommand::Timeline(args) => timeline::run(&args),
    }
}
