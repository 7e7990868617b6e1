//! The `holdfast` program. Everything is in the library; this only hands over and leaves.

use std::process::ExitCode;

fn main() -> ExitCode {
    holdfast_node::run()
}
