//! Killing processes at moments of chance. What they do, and what they must have left, is the tests'
//! own business.

use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use crate::dice::Dice;

/// How long a process that nobody kills may take.
pub const PATIENCE: Duration = Duration::from_secs(150);

/// A number that an environment variable sets.
pub fn number(variable: &str, default: u64) -> u64 {
    std::env::var(variable).map_or(default, |text| text.parse().expect("a number"))
}

/// What a work without a kill takes.
#[derive(Clone, Copy, Default)]
pub struct Usual {
    pub time: Duration,
    /// How long the journal is then.
    pub journal_bytes: u64,
}

impl Usual {
    /// A part of the time.
    pub fn part(&self, dice: &mut Dice) -> Duration {
        self.time
            .mul_f64(dice.below(1_000_000) as f64 / 1_000_000.0)
    }

    /// Half of the moments are chosen by time alone, half by how far the work is and a little later.
    pub fn moment(&self, dice: &mut Dice, journal: PathBuf) -> Moment {
        match dice.below(2) {
            0 => Moment {
                journal,
                bytes: 0,
                then: self.part(dice).mul_f64(0.8),
            },
            _ => {
                let now = journal_bytes(&journal);
                let bytes = now + dice.below(self.journal_bytes.saturating_sub(now) + 500);
                Moment {
                    journal,
                    bytes,
                    then: self.part(dice).mul_f64(0.02),
                }
            }
        }
    }
}

/// When a process is killed: so long after the journal in a folder has grown to so many bytes.
pub struct Moment {
    /// The journal's folder.
    pub journal: PathBuf,
    pub bytes: u64,
    pub then: Duration,
}

/// Bytes of a journal's own files.
pub fn journal_bytes(folder: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(folder) else {
        return 0;
    };
    let lens = entries.filter_map(|entry| entry.ok()?.metadata().ok());
    lens.filter(|meta| meta.is_file())
        .map(|meta| meta.len())
        .sum()
}

/// Waits for the moment, then kills; the status where the process ended before.
pub fn kill_at(child: &mut Child, moment: &Moment) -> Option<ExitStatus> {
    let mut reached: Option<Instant> = None;
    while reached.is_none_or(|since| since.elapsed() < moment.then) {
        if let Some(status) = child.try_wait().unwrap() {
            return Some(status);
        }
        let there = || moment.bytes == 0 || journal_bytes(&moment.journal) >= moment.bytes;
        if reached.is_none() && there() {
            reached = Some(Instant::now());
            continue;
        }
        std::thread::sleep(Duration::from_micros(300));
    }
    let status = child.try_wait().unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    status
}
