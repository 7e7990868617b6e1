//! The `holdfast` program as a library: commands, data folder, and the wiring of all other crates.
//!
//! Only this crate reads arguments and the environment, prints, installs a logger and handles
//! signals. It holds no rule of backup or restore: those are the engine's.

mod cli;
mod exit;
mod folder;
mod host;
mod interrupt;
mod logger;
mod out;
mod split;
mod demo {
    pub(crate) mod tpch;
}

use std::process::ExitCode;

/// Runs the program with the arguments of the process.
pub fn run() -> ExitCode {
    ExitCode::SUCCESS
}
