//! The table of what may be found at opening, and the answer to each.
//!
//! One [`OpenCase`] per finding; a case either goes on (and is reported) or refuses (and is an
//! [`Error`]). The same table, with reasons, is in `docs/journal-format.md`. Nothing here reads a
//! file: scanning finds, this judges.

use std::fmt;

use serde::Serialize;

use crate::{
    error::{Error, ErrorKind},
    ids::Seq,
    segment,
};

/// A finding at opening.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum OpenCase {
    /// The log ends with a whole transaction.
    Clean,
    /// There is no log yet; one was made.
    Empty,
    /// The log ends inside a frame that was never acknowledged.
    TornTail {
        /// What is wrong with it.
        flaw: String,
    },
    /// A bad frame with good ones behind it, none of which was ever acknowledged.
    Hole {
        /// What is wrong with the bad frame.
        flaw: String,
        /// Whole frames behind it.
        behind: u64,
    },
    /// The last transaction lacks its end.
    UnfinishedTransaction,
    /// A segment file that was being made.
    TornSegment {
        /// Its name.
        segment: String,
    },
    /// A bad frame, or a gap, where events had been acknowledged.
    Damage {
        /// What is wrong.
        flaw: String,
    },
    /// Segments between two others, or before the first, are not there.
    MissingSegment {
        /// The file before, where there is one; if it was cut, no file is missing.
        before: Option<String>,
        /// The sequence that the next file should have started with.
        expected: Seq,
        /// The sequence that it starts with.
        found: Seq,
    },
    /// The log begins after record 1, and nothing says that what was before it was archived.
    AnchorMissing {
        /// The first record that there is.
        found: Seq,
    },
    /// The anchor is unreadable, or is not that of the log behind it.
    AnchorWrong {
        /// What is wrong.
        flaw: String,
    },
    /// Segments that were archived were still in the log: archiving was cut short.
    ArchiveUnfinished {
        /// The archive that holds them.
        archive: String,
        /// How many were removed.
        segments: u64,
    },
    /// Segments that were archived are still in the log, and no whole archive holds them.
    ArchiveAway {
        /// How many stay.
        segments: u64,
    },
    /// An archive whose records the log still holds: archiving was cut short before it counted.
    ArchiveUndone {
        /// The file that was removed.
        archive: String,
    },
    /// A journal of another family.
    Foreign {
        /// The family found.
        found: u32,
        /// The family of the program's events.
        expected: u32,
    },
    /// Written by a newer program.
    NewerFormat {
        /// What is newer.
        what: String,
    },
    /// Another opener holds the journal.
    Locked {
        /// Who, as far as the lock file says.
        holder: String,
    },
    /// The log ends before records of which a witness, written only behind the log's sync, knows.
    LostTail {
        /// Which witness.
        witness: String,
        /// How far the witness has seen the log.
        seen: Seq,
        /// Where the log ends.
        end: Seq,
        /// The first record that is not there. Its segment is missing, or the last that is there was cut.
        lost: Seq,
    },
    /// There is no index; it is built.
    IndexMissing,
    /// The index follows the log by so many records; it catches up.
    IndexBehind {
        /// How many.
        records: u64,
    },
    /// The index is unusable; it is built anew.
    IndexDamaged {
        /// What was found.
        why: String,
    },
}

/// What opening does about a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Open, nothing to mend.
    GoOn,
    /// Cut what was never acknowledged, then open.
    Cut,
    /// Open; the index is mended beside normal work.
    MendIndex,
    /// Finish or undo the archiving that was cut short, then open.
    MendArchive,
    /// Do not open.
    Refuse(ErrorKind),
}

impl OpenCase {
    /// The answer of the table.
    #[must_use]
    pub const fn answer(&self) -> Answer {
        match self {
            Self::Clean | Self::Empty | Self::ArchiveAway { .. } => Answer::GoOn,
            Self::TornTail { .. }
            | Self::Hole { .. }
            | Self::UnfinishedTransaction
            | Self::TornSegment { .. } => Answer::Cut,
            Self::IndexMissing | Self::IndexBehind { .. } | Self::IndexDamaged { .. } => {
                Answer::MendIndex
            }
            Self::ArchiveUnfinished { .. } | Self::ArchiveUndone { .. } => Answer::MendArchive,
            Self::Damage { .. }
            | Self::MissingSegment { .. }
            | Self::AnchorMissing { .. }
            | Self::AnchorWrong { .. }
            | Self::LostTail { .. } => Answer::Refuse(ErrorKind::Damaged),
            Self::Foreign { .. } => Answer::Refuse(ErrorKind::Foreign),
            Self::NewerFormat { .. } => Answer::Refuse(ErrorKind::NewerFormat),
            Self::Locked { .. } => Answer::Refuse(ErrorKind::Locked),
        }
    }

    /// The name of the case in the table.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Clean => "clean",
            Self::Empty => "empty",
            Self::TornTail { .. } => "torn tail",
            Self::Hole { .. } => "hole",
            Self::UnfinishedTransaction => "unfinished transaction",
            Self::TornSegment { .. } => "torn segment",
            Self::Damage { .. } => "damage",
            Self::MissingSegment { .. } => "missing segment",
            Self::AnchorMissing { .. } => "anchor missing",
            Self::AnchorWrong { .. } => "anchor wrong",
            Self::ArchiveUnfinished { .. } => "archive unfinished",
            Self::ArchiveAway { .. } => "archive away",
            Self::ArchiveUndone { .. } => "archive undone",
            Self::Foreign { .. } => "foreign",
            Self::NewerFormat { .. } => "newer format",
            Self::Locked { .. } => "locked",
            Self::LostTail { .. } => "lost tail",
            Self::IndexMissing => "index missing",
            Self::IndexBehind { .. } => "index behind",
            Self::IndexDamaged { .. } => "index damaged",
        }
    }

    /// The refusal that this case is, for those that refuse.
    pub(crate) fn refusal(&self) -> Error {
        let kind = match self.answer() {
            Answer::Refuse(kind) => kind,
            Answer::GoOn | Answer::Cut | Answer::MendIndex | Answer::MendArchive => {
                ErrorKind::Invalid
            }
        };
        Error::new(kind, self.to_string())
    }
}

/// Which file of a log is not there, as far as its neighbours tell.
fn write_missing(
    f: &mut fmt::Formatter<'_>,
    before: Option<&str>,
    expected: Seq,
    found: Seq,
) -> fmt::Result {
    write!(f, ": segment {} is not there", segment::name(expected))?;
    if let Some(before) = before {
        write!(f, ", or {before} was cut")?;
    }
    write!(f, ": the next file is {}", segment::name(found))
}

impl fmt::Display for OpenCase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const COPY: &str = "acknowledged events are missing or changed, put the folder back from \
                            a copy";
        write!(f, "{}", self.name())?;
        match self {
            Self::Clean => Ok(()),
            Self::Empty => f.write_str(": a new log was begun"),
            Self::TornTail { flaw } => write!(f, ": {flaw}, nothing acknowledged is lost"),
            Self::Hole { flaw, behind } => write!(
                f,
                ": {flaw}, {behind} whole frames behind it, none of them was acknowledged"
            ),
            Self::UnfinishedTransaction => f.write_str(": it was never acknowledged"),
            Self::TornSegment { segment } => write!(f, ": {segment} was being made"),
            Self::Damage { flaw } => write!(f, ": {flaw}; {COPY}"),
            Self::MissingSegment {
                before,
                expected,
                found,
            } => {
                write_missing(f, before.as_deref(), *expected, *found)?;
                write!(f, "; {COPY}")
            }
            Self::AnchorMissing { found } => write!(
                f,
                ": segment {} is not there, the first file is {}, and no file anchor says where the \
                 records before it went; put back the segments, or the anchor, from a copy",
                segment::name(Seq::FIRST),
                segment::name(*found)
            ),
            Self::AnchorWrong { flaw } => write!(
                f,
                ": {flaw}; put the file anchor back from a copy of this journal"
            ),
            Self::ArchiveUnfinished { archive, segments } => {
                write!(f, ": {segments} segments that {archive} holds were removed")
            }
            Self::ArchiveAway { segments } => write!(
                f,
                ": {segments} segments that were archived stay beside the log, since no whole archive \
                 holds them"
            ),
            Self::ArchiveUndone { archive } => {
                write!(f, ": {archive} was removed, the log holds its records")
            }
            Self::Foreign { found, expected } => write!(
                f,
                ": the folder holds a journal of family {found:08x}, expected {expected:08x}; \
                 name the right folder"
            ),
            Self::NewerFormat { what } => write!(f, ": {what}; open it with the newer program"),
            Self::Locked { holder } => {
                write!(f, ": the journal is open in {holder}; close that one first")
            }
            Self::LostTail {
                witness,
                seen,
                end,
                lost,
            } => write!(
                f,
                ": {witness} has seen sequence {seen}, the log ends at {end}: segment {} is not there, \
                 or the one before it was cut; {COPY} or, where {witness} is from elsewhere, remove it",
                segment::name(*lost)
            ),
            Self::IndexMissing => f.write_str(": it is built from the log"),
            Self::IndexBehind { records } => write!(f, ": by {records} records, it catches up"),
            Self::IndexDamaged { why } => write!(f, ": {why}; it is built anew from the log"),
        }
    }
}

/// What opening found and did.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct OpenReport {
    /// The findings, log first, then index. Never empty.
    pub cases: Vec<OpenCase>,
    /// Records in the log, without archived ones.
    pub records: u64,
    /// The first of them; 1 unless leading segments were archived.
    pub first: Seq,
    /// The last of them.
    pub last: Seq,
    /// Segment files.
    pub segments: u64,
    /// Bytes cut off the end of the log, which had never been acknowledged.
    pub cut_bytes: u64,
    /// Where they began, for the reader of the report.
    pub cut_at: Option<String>,
}

impl OpenReport {
    /// Whether there is nothing that an operator would want to hear of. An index that is behind is
    /// what a quick exit leaves.
    #[must_use]
    pub fn is_clean(&self) -> bool {
        self.cases.iter().all(|case| {
            case.answer() == Answer::GoOn || matches!(case, OpenCase::IndexBehind { .. })
        })
    }
}

impl fmt::Display for OpenReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            records,
            last,
            segments,
            ..
        } = self;
        write!(
            f,
            "journal: {records} records to sequence {last} in {segments} segments"
        )?;
        if let Some(place) = &self.cut_at {
            write!(f, "\njournal: {} bytes cut at {place}", self.cut_bytes)?;
        }
        for case in &self.cases {
            write!(f, "\njournal: {case}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn every_case() -> Vec<OpenCase> {
        let text = || "x".to_owned();
        vec![
            OpenCase::Clean,
            OpenCase::Empty,
            OpenCase::TornTail { flaw: text() },
            OpenCase::Hole {
                flaw: text(),
                behind: 1,
            },
            OpenCase::UnfinishedTransaction,
            OpenCase::TornSegment { segment: text() },
            OpenCase::Damage { flaw: text() },
            OpenCase::MissingSegment {
                before: Some(text()),
                expected: Seq(5),
                found: Seq(9),
            },
            OpenCase::AnchorMissing { found: Seq(9) },
            OpenCase::AnchorWrong { flaw: text() },
            OpenCase::ArchiveUnfinished {
                archive: text(),
                segments: 2,
            },
            OpenCase::ArchiveAway { segments: 2 },
            OpenCase::ArchiveUndone { archive: text() },
            OpenCase::Foreign {
                found: 1,
                expected: 2,
            },
            OpenCase::NewerFormat { what: text() },
            OpenCase::Locked { holder: text() },
            OpenCase::LostTail {
                witness: text(),
                seen: Seq(9),
                end: Seq(5),
                lost: Seq(6),
            },
            OpenCase::IndexMissing,
            OpenCase::IndexBehind { records: 3 },
            OpenCase::IndexDamaged { why: text() },
        ]
    }

    #[test]
    fn every_case_stands_in_the_written_table_with_its_answer() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/journal-format.md");
        let page = std::fs::read_to_string(path).unwrap();
        for case in every_case() {
            let answer = match case.answer() {
                Answer::GoOn => "go on".to_owned(),
                Answer::Cut => "cut".to_owned(),
                Answer::MendIndex => "mend the index".to_owned(),
                Answer::MendArchive => "mend the archive".to_owned(),
                Answer::Refuse(kind) => format!("refuse: {kind:?}"),
            };
            let row = format!("| {} | {answer} |", case.name());
            assert!(page.contains(&row), "the table lacks {row}");
        }
    }

    #[test]
    fn a_message_is_one_line_without_a_stop() {
        for case in every_case() {
            let text = case.to_string();
            assert!(
                !text.ends_with('.') && !text.contains('\n') && !text.contains("  "),
                "{text}"
            );
        }
    }
}
