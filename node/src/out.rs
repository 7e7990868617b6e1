//! The only place that writes to stdout and stderr: data there, everything else here.

use std::io::{self, IsTerminal, Write};

use crate::exit::{Exit, Failure};

/// Writes data to stdout as it is.
///
/// A reader that has gone away (`| head`) ends the command without a word.
pub(crate) fn data(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(closed)
}

/// A buffered stdout for many lines; the error of a write goes through [`closed`].
pub(crate) fn stream() -> io::BufWriter<io::StdoutLock<'static>> {
    io::BufWriter::with_capacity(64 * 1024, io::stdout().lock())
}

/// What a failed write to stdout means.
pub(crate) fn closed(error: io::Error) -> Failure {
    if error.kind() == io::ErrorKind::BrokenPipe {
        return Failure::silent(Exit::Failed);
    }
    Failure::failed(
        "OUTPUT_FAILED",
        format!("stdout cannot be written: {error}"),
    )
}

/// Whether anybody still reads stdout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reader {
    /// Somebody may.
    Here,
    /// The other end of the pipe is closed.
    Gone,
}

/// Waits for so many milliseconds, or until nobody reads stdout any more.
pub(crate) fn wait(ms: u32) -> Reader {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let time = Timespec {
        tv_sec: i64::from(ms / 1000),
        tv_nsec: i64::from(ms % 1000) * 1_000_000,
    };
    let out = io::stdout();
    let mut watched = [PollFd::new(&out, PollFlags::empty())];
    let gone = PollFlags::ERR | PollFlags::HUP | PollFlags::NVAL;
    match poll(&mut watched, Some(&time)) {
        Ok(_) if watched[0].revents().intersects(gone) => Reader::Gone,
        Ok(_) => Reader::Here,
        // A signal came early, or the system cannot say: the next write will tell.
        Err(_) => {
            std::thread::sleep(std::time::Duration::from_millis(u64::from(ms)));
            Reader::Here
        }
    }
}

/// Writes a line to stderr; where that is closed there is nobody left to tell.
pub(crate) fn note(text: impl std::fmt::Display) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}

/// Whether people watch stderr, so that a moving bar makes sense.
pub(crate) fn watched() -> bool {
    io::stderr().is_terminal()
}

/// The columns of the terminal that data goes to; `None` where it goes elsewhere.
pub(crate) fn width() -> Option<usize> {
    let out = io::stdout();
    if !out.is_terminal() {
        return None;
    }
    rustix::termios::tcgetwinsize(&out)
        .ok()
        .map(|size| usize::from(size.ws_col))
        .filter(|w| *w > 0)
}
