//! How the program ends: exit codes, and failures in the shape that scripts rely on.

use std::fmt;
use std::io;
use std::process::ExitCode;

/// The exit codes of every command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// All is done.
    Done,
    /// A statement failed, or a job that was waited for was cancelled.
    Failed,
    /// The command line is wrong; most of that is found before a command runs.
    Usage,
    /// Another process has the data folder.
    InUse,
    /// Damage was found.
    Damage,
    /// Ctrl-C.
    Interrupted,
}

impl Exit {
    /// The number the shell sees.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Usage => 2,
            Self::InUse => 3,
            Self::Damage => 4,
            Self::Interrupted => 130,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}

/// Why a command ends early: its exit code, and the line for stderr (none where all was said).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) exit: Exit,
    pub(crate) text: Option<String>,
}

impl Failure {
    /// `ERROR 5064 (42000): [SYMBOL] text`, the general form.
    pub(crate) fn new(exit: Exit, symbol: &str, text: impl fmt::Display) -> Self {
        Self {
            exit,
            text: Some(format!("ERROR 5064 (42000): [{symbol}] {text}")),
        }
    }

    /// The words alone, without number, state and symbol.
    pub(crate) fn words(&self) -> &str {
        let text = self.text.as_deref().unwrap_or_default();
        text.split_once("] ").map_or(text, |(_, words)| words)
    }

    /// A failed statement or command.
    pub(crate) fn failed(symbol: &str, text: impl fmt::Display) -> Self {
        Self::new(Exit::Failed, symbol, text)
    }

    /// What the system answered to reading or writing a file, in `text`: a full disk has a symbol of its own, since
    /// what to do about it is known.
    pub(crate) fn io(kind: io::ErrorKind, text: impl fmt::Display) -> Self {
        let symbol = match kind {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => "DISK_FULL",
            _ => "IO_ERROR",
        };
        Self::failed(symbol, text)
    }

    /// A command line that is wrong in a way the definition of the arguments cannot say.
    pub(crate) fn usage(text: impl fmt::Display) -> Self {
        Self {
            exit: Exit::Usage,
            text: Some(format!(
                "error: {text}\n\nFor more information, try '--help'."
            )),
        }
    }

    /// An end about which everything has been said.
    pub(crate) fn silent(exit: Exit) -> Self {
        Self { exit, text: None }
    }
}

impl From<holdfast_sql::SqlError> for Failure {
    fn from(error: holdfast_sql::SqlError) -> Self {
        Self {
            exit: Exit::Failed,
            text: Some(error.to_string()),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text.as_deref().unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_a_used_up_quota_are_no_other_errors_of_a_file() {
        // Linux: ENOSPC, EDQUOT, EACCES, EIO.
        for (number, symbol) in [
            (28, "DISK_FULL"),
            (122, "DISK_FULL"),
            (13, "IO_ERROR"),
            (5, "IO_ERROR"),
        ] {
            let error = io::Error::from_raw_os_error(number);
            let failure = Failure::io(error.kind(), &error);
            let text = failure.text.unwrap();
            assert!(text.contains(&format!("[{symbol}] ")), "{text}");
            assert_eq!(failure.exit, Exit::Failed);
        }
    }
}
