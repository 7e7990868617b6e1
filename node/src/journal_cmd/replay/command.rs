//! The commands of a replay: what a line means. Performs nothing.

use crate::journal_cmd::Point;

/// What `help` says.
pub(super) const HELP: &str = "\
step [N]          one record forward, or N
back [N]          one record back, or N
goto SEQ|TIME     behind that record, or the last one up to a time; goto end, goto 0
next job          to the next job that is accepted
next state        to the next state that a job enters
next error        to the next failed task, lost point, fenced worker or stopped job
event             the record that the replay stands behind
show              SHOW BACKUP and SHOW RESTORE as they stood
jobs              the jobs that have not ended, and where they stand
due               what the engine would do next, were nobody to tell it anything
explain [JOB]     the story so far of that job, or of the one that the record is about
findings          where the engine of today would have decided something else
help, quit
The first letter is enough for step, back, goto, next, quit.
";

/// One command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Command {
    Step(u64),
    Back(u64),
    Goto(Point),
    End,
    Next(What),
    Event,
    Show,
    Jobs,
    Due,
    Explain(Option<String>),
    Findings,
    Help,
    Quit,
}

/// What is looked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Job,
    State,
    Error,
}

impl Command {
    /// Reads a line; `None` for an empty one and for a comment.
    ///
    /// # Errors
    /// What was found and what is expected.
    pub(super) fn parse(line: &str) -> Result<Option<Self>, String> {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            return Ok(None);
        }
        let (word, rest) = match line.split_once(char::is_whitespace) {
            Some((word, rest)) => (word, rest.trim()),
            None => (line, ""),
        };
        let command = match (word.to_ascii_lowercase().as_str(), rest) {
            ("step" | "s", count) => Self::Step(number(count)?),
            ("back" | "b", count) => Self::Back(number(count)?),
            ("goto" | "g", "end") => Self::End,
            ("goto" | "g", point) => Self::Goto(Point::parse(point)?),
            ("next" | "n", "job") => Self::Next(What::Job),
            ("next" | "n", "state") => Self::Next(What::State),
            ("next" | "n", "error") => Self::Next(What::Error),
            ("next" | "n", other) => {
                return Err(format!(
                    "found 'next {other}', expected next job, next state or next error"
                ));
            }
            ("explain", "") => Self::Explain(None),
            ("explain", job) => Self::Explain(Some(job.to_owned())),
            ("event", "") => Self::Event,
            ("show", "") => Self::Show,
            ("jobs", "") => Self::Jobs,
            ("due", "") => Self::Due,
            ("findings", "") => Self::Findings,
            ("help" | "?", "") => Self::Help,
            ("quit" | "exit" | "q", "") => Self::Quit,
            _ => {
                return Err(format!(
                    "'{line}' is no command, expected step, back, goto, next, event, show, jobs, \
                     due, explain, findings, help or quit"
                ));
            }
        };
        Ok(Some(command))
    }
}

/// A number of records; 1 where none is given.
fn number(text: &str) -> Result<u64, String> {
    if text.is_empty() {
        return Ok(1);
    }
    match text.parse() {
        Ok(0) | Err(_) => Err(format!("found '{text}', expected how many records, from 1")),
        Ok(number) => Ok(number),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use holdfast_journal::Seq;

    #[test]
    fn commands_are_read_in_long_and_short() {
        let read = |line: &str| Command::parse(line).unwrap().unwrap();
        assert_eq!(read("step"), Command::Step(1));
        assert_eq!(read(" S  12 "), Command::Step(12));
        assert_eq!(read("b 3"), Command::Back(3));
        assert_eq!(read("goto 7"), Command::Goto(Point::Seq(Seq(7))));
        assert_eq!(read("g end"), Command::End);
        assert_eq!(read("n state"), Command::Next(What::State));
        assert_eq!(
            read("explain 10002"),
            Command::Explain(Some("10002".to_owned()))
        );
        for nothing in ["", "  ", "# a comment"] {
            assert_eq!(Command::parse(nothing), Ok(None));
        }
        for wrong in [
            "jump", "step x", "back 0", "goto", "next", "show all", "step 1 2",
        ] {
            let error = Command::parse(wrong).unwrap_err();
            assert!(error.contains("expected"), "{wrong}: {error}");
        }
    }
}
