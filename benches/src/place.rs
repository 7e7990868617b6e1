//! Where a measurement happens: a folder on a real disk, and the words that describe the machine.

use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// A folder that is removed when dropped, beside the program itself (below cargo's target folder),
/// or below `HOLDFAST_BENCH_DIR` where that is set. A folder in memory would measure no disk.
pub struct Place {
    folder: TempDir,
}

impl Place {
    /// A fresh folder.
    #[must_use]
    pub fn new() -> Self {
        let below =
            std::env::var_os("HOLDFAST_BENCH_DIR").map_or_else(beside_program, PathBuf::from);
        let folder = tempfile::Builder::new()
            .prefix("bench-")
            .tempdir_in(&below)
            .unwrap_or_else(|e| panic!("no folder can be made in {}: {e}", below.display()));
        Self { folder }
    }

    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// One line on the machine: cores, file system, kernel. No names and no paths.
    #[must_use]
    pub fn describe(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let kernel: Vec<&str> = release.trim().split(['.', '-']).take(2).collect();
        let system = file_system(self.path());
        format!("{cores} cores, {system}, Linux {}", kernel.join("."))
    }
}

impl Default for Place {
    fn default() -> Self {
        Self::new()
    }
}

fn beside_program() -> PathBuf {
    let program = std::env::current_exe().unwrap();
    program.parent().unwrap().to_owned()
}

/// The type of the file system that holds `path`, as the system's table of mounts has it.
fn file_system(path: &Path) -> String {
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap_or_default();
    let mut best: Option<(usize, &str)> = None;
    for line in mounts.lines() {
        let mut fields = line.split(' ').skip(1);
        let (Some(point), Some(kind)) = (fields.next(), fields.next()) else {
            continue;
        };
        if path.starts_with(point) && best.is_none_or(|(len, _)| point.len() >= len) {
            best = Some((point.len(), kind));
        }
    }
    best.map_or("an unknown file system", |(_, kind)| kind)
        .to_owned()
}

/// Lets the disk come to rest, so that nobody pays for what was before.
pub fn settle(path: &Path) {
    run(Command::new("sync").arg("-f").arg(path));
}

/// Runs a program to its good end.
pub fn run(command: &mut Command) {
    let status = command
        .status()
        .unwrap_or_else(|e| panic!("{command:?}: {e}"));
    assert!(status.success(), "{command:?}: {status}");
}
