//! The `holdfast` program as a library: commands, data folder, and the wiring of all other crates.
//!
//! Only this crate reads arguments and the environment, prints, installs a logger and handles
//! signals. It holds no rule of backup or restore: those are the engine's.

mod brokers;
mod cli;
mod demo;
mod exit;
mod folder;
mod guard;
mod host;
mod interrupt;
mod journal_cmd;
mod logger;
mod node;
mod out;
mod panics;
mod repository_cmd;
mod retention;
mod session;
mod shell;
mod split;
mod sql_cmd;
mod text;
mod transfer;
mod wait;
mod watched;

use std::process::ExitCode;

use clap::Parser;

use cli::{Cli, Command};

/// Runs the program with the arguments of the process; its end is the exit code of the contract.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    logger::install();
    panics::install();
    interrupt::install();
    let ended = match cli.command {
        Command::Demo(args) => demo::run(args),
        Command::Load(args) => transfer::load(args),
        Command::Export(args) => transfer::export(args),
        Command::Sql(args) => sql_cmd::run(args),
        Command::Journal(command) => journal_cmd::run(command),
        Command::Repository(command) => repository_cmd::run(command),
    };
    match ended {
        Ok(exit) => exit.into(),
        Err(failure) => {
            if failure.text.is_some() {
                out::note(&failure);
            }
            failure.exit.into()
        }
    }
}
