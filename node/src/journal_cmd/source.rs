//! Where the tools read events from: a data folder, which a running process may have open, a copy
//! of one, a journal folder, an archive, or an exported file. One type for all of them; few tools know which
//! they have.
//!
//! It reads the log, takes no lock and changes nothing.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use holdfast_engine::{Event, Replay};
use holdfast_journal::{
    ArchiveFile, Error, ErrorKind, Event as _, Frame, FrameHash, OpenReport, Projection,
    ReadJournal, Record, Seq,
};

use super::exported::{ExportFile, Mark, VisitExported};
use super::point::Point;
use crate::exit::{Exit, Failure};
use crate::host::{SystemClock, time_text};
use crate::node::journal_failure;
use crate::{folder, out};

/// Hears of each record in order and says whether to go on.
pub(crate) type Visit<'a> = dyn FnMut(Record<Event>) -> Result<ControlFlow<()>, Failure> + 'a;

/// What a source is.
enum Content {
    /// A journal: what was found at the end of its log, and its first record at hand.
    Journal(Box<ReadJournal<Event>>, OpenReport, Seq),
    Export(Box<ExportFile>),
    /// One archive by itself.
    Archive(Box<ArchiveFile<Event>>),
}

/// An open source: the events as far as they are whole, and what was found behind them. It ends
/// where it ended when it was opened, also beside a writer.
pub(crate) struct Source {
    path: PathBuf,
    content: Content,
    refusal: Option<Error>,
}

impl Source {
    /// Opens what lies at `path`.
    ///
    /// # Errors
    /// Where there is no journal, one of something else, or one of a newer program. Damage is no
    /// error here: what lies before it can be read, see [`conclude`](Source::conclude).
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let opened = match path.is_file() {
            true => Self::open_file(path),
            false => Self::open_journal(path),
        };
        opened.map_err(|error| journal_failure(&error))
    }

    fn open_journal(path: &Path) -> Result<Self, Error> {
        if path.exists() && !path.is_dir() {
            let text = "it is neither a folder nor a regular file";
            return Err(with_expected(path, Error::new(ErrorKind::NotFound, text)));
        }
        let (journal, report, refusal) =
            ReadJournal::salvage(journal_of(path)).map_err(|error| with_expected(path, error))?;
        let first = journal.origin()?;
        if first > Seq::FIRST
            && let Some(missing) = journal.archives()?.missing
        {
            out::note(format_args!(
                "the records before sequence {first} are not here: {missing}"
            ));
        }
        Ok(Self {
            path: path.to_owned(),
            content: Content::Journal(Box::new(journal), report, first),
            refusal,
        })
    }

    fn open_file(path: &Path) -> Result<Self, Error> {
        if !ArchiveFile::<Event>::begins_at(path)? {
            return Self::open_export(path);
        }
        Ok(Self {
            path: path.to_owned(),
            content: Content::Archive(Box::new(ArchiveFile::open(path)?)),
            refusal: None,
        })
    }

    fn open_export(path: &Path) -> Result<Self, Error> {
        let file = ExportFile::open(path)?;
        let exported = |refusal: &str| {
            let text = format!("when this was exported, its journal went no further: {refusal}");
            Error::new(ErrorKind::Damaged, text)
        };
        let refusal = file.flaw().cloned();
        Ok(Self {
            path: path.to_owned(),
            refusal: refusal.or_else(|| file.described("refusal").map(exported)),
            content: Content::Export(Box::new(file)),
        })
    }

    /// The path as it was given.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The journal itself and what was found at the end of its log, for what only a journal has;
    /// `None` for a file.
    pub(crate) fn journal(&self) -> Option<(&ReadJournal<Event>, &OpenReport)> {
        match &self.content {
            Content::Journal(journal, report, _) => Some((journal, report)),
            Content::Export(_) | Content::Archive(_) => None,
        }
    }

    /// The exported file, for what only that has.
    pub(crate) fn export(&self) -> Option<&ExportFile> {
        match &self.content {
            Content::Export(file) => Some(file),
            Content::Journal(..) | Content::Archive(_) => None,
        }
    }

    /// The archive, where the source is one by itself.
    pub(crate) fn archive(&self) -> Option<&ArchiveFile<Event>> {
        match &self.content {
            Content::Archive(file) => Some(file),
            Content::Journal(..) | Content::Export(_) => None,
        }
    }

    /// Why a writer would refuse the journal: there was more than can be read.
    pub(crate) fn refusal(&self) -> Option<&Error> {
        self.refusal.as_ref()
    }

    /// What a command ends with once it has shown what is whole.
    ///
    /// # Errors
    /// The refusal, where there is one.
    pub(crate) fn conclude(&self) -> Result<Exit, Failure> {
        self.refusal
            .as_ref()
            .map_or(Ok(Exit::Done), |error| Err(journal_failure(error)))
    }

    /// The first record.
    pub(crate) fn first(&self) -> Seq {
        match &self.content {
            Content::Journal(_, _, first) => *first,
            Content::Export(file) => file.head().first,
            Content::Archive(file) => file.info().first,
        }
    }

    /// The last record that is whole, and the chain hash there; [`Seq::ZERO`] where there is none.
    pub(crate) fn last(&self) -> (Seq, FrameHash) {
        match &self.content {
            Content::Journal(journal, ..) => journal.position(),
            Content::Export(file) => file.last(),
            Content::Archive(file) => (file.info().last, file.info().hash),
        }
    }

    /// The chain hash before the first record.
    ///
    /// # Errors
    /// What reading reports.
    pub(crate) fn before(&self) -> Result<FrameHash, Error> {
        match &self.content {
            Content::Journal(journal, _, first) => {
                if let Some(archive) = journal.archives()?.found.first() {
                    return Ok(archive.hash_before);
                }
                let missing = || {
                    let text = format!("what stands before sequence {first} is not known");
                    Error::new(ErrorKind::Damaged, text)
                };
                journal.hash_at(first.before())?.ok_or_else(missing)
            }
            Content::Export(file) => Ok(file.head().before),
            Content::Archive(file) => Ok(file.info().hash_before),
        }
    }

    /// Visits the records from `from` to `to`, both included, as far as there are any.
    ///
    /// # Errors
    /// What the visitor returns; damage that was not there when the source was opened.
    pub(crate) fn read(&self, from: Seq, to: Seq, visit: &mut Visit<'_>) -> Result<(), Failure> {
        let mut ended = None;
        let mut step = |record: Record<Event>| {
            let flow = match record.seq > to {
                true => Ok(ControlFlow::Break(())),
                false => visit(record),
            };
            match flow {
                Ok(ControlFlow::Continue(())) => Ok(()),
                end => {
                    ended = Some(end);
                    Err(Error::rejected("the visitor has seen enough"))
                }
            }
        };
        let read = match &self.content {
            Content::Journal(journal, _, first) => journal.history(from.max(*first), &mut step),
            Content::Export(file) => file.frames(from, &mut |frame, _| {
                step(record(frame)?).map(ControlFlow::Continue)
            }),
            Content::Archive(file) => file.read(from.max(file.info().first), &mut step),
        };
        match (ended, read) {
            (Some(Err(failure)), _) => Err(failure),
            (Some(Ok(_)), _) | (None, Ok(())) => Ok(()),
            (None, Err(error)) => Err(journal_failure(&error)),
        }
    }

    /// Visits all frames, each with what an export has made of it.
    ///
    /// # Errors
    /// As [`read`](Source::read).
    pub(crate) fn frames(&self, visit: &mut VisitExported<'_>) -> Result<(), Error> {
        match &self.content {
            Content::Journal(journal, _, first) => journal.frames(*first, &mut |frame| {
                // Nobody who asks for frames ends early but by an error.
                visit(frame, Mark::default()).map(|_| ())
            }),
            Content::Export(file) => file.frames(Seq::FIRST, visit),
            Content::Archive(file) => file.frames(file.info().first, &mut |frame| {
                visit(frame, Mark::default()).map(|_| ())
            }),
        }
    }

    /// The record that a point names: that sequence, or the last one that bears the time or an
    /// earlier one; [`Seq::ZERO`] before the first. Where the server's clock was put back, a time
    /// was there more than once, and the last of them is meant.
    ///
    /// # Errors
    /// A sequence that the source does not reach; what reading reports.
    pub(crate) fn find(&self, point: Point) -> Result<Seq, Failure> {
        let end = self.last().0;
        let at_ms = match point {
            Point::Seq(seq) if seq <= end => return Ok(seq),
            Point::Seq(seq) => {
                let text = format!("{seq} was asked for, the journal is whole to sequence {end}");
                return Err(match &self.refusal {
                    Some(error) => {
                        let text = format!("{text}: {error}");
                        Failure::new(Exit::Damage, "SEQUENCE_NOT_FOUND", text)
                    }
                    None => Failure::failed("SEQUENCE_NOT_FOUND", text),
                });
            }
            Point::Time(at_ms) => at_ms,
        };
        let mut found = Seq::ZERO;
        let mut later = None;
        self.read(Seq::FIRST, end, &mut |record| {
            if record.at_ms <= at_ms {
                found = record.seq;
            } else if later.is_none() {
                later = Some(record.seq);
            }
            Ok(ControlFlow::Continue(()))
        })?;
        if later.is_some_and(|seq| seq < found) {
            out::note(format_args!(
                "the server's clock was put back: it showed {} more than once, sequence {found} is \
                 the last record up to it",
                time_text(&SystemClock::new(), at_ms)
            ));
        }
        Ok(found)
    }

    /// The engine's state after record `at`, and the time of that record (0 before the first).
    ///
    /// # Errors
    /// An event that could not have followed the ones before it; a record before the first state
    /// at hand; what reading reports.
    pub(crate) fn replay(&self, at: Seq) -> Result<(Replay, u64), Failure> {
        let mut replay = self.begin(at)?;
        let mut now_ms = 0;
        // The record of the checkpoint, where one was begun from, still has the time.
        let from = replay.position().max(Seq::FIRST);
        self.read(from, at, &mut |record| {
            now_ms = record.at_ms;
            if record.seq > replay.position() {
                replay.apply(&record).map_err(|e| journal_failure(&e))?;
            }
            Ok(ControlFlow::Continue(()))
        })?;
        Ok((replay, now_ms))
    }

    /// The state from which the events at hand lead on to record `at`: before the first event;
    /// where that is archived elsewhere, the oldest checkpoint.
    ///
    /// # Errors
    /// Where no state is early enough; what reading reports.
    pub(crate) fn begin(&self, at: Seq) -> Result<Replay, Failure> {
        let first = self.first();
        if first <= Seq::FIRST {
            return Ok(Replay::new());
        }
        let Content::Journal(journal, ..) = &self.content else {
            return Err(self.without_state());
        };
        let kept = journal
            .checkpoints(Replay::CHECKPOINTS)
            .map_err(|error| journal_failure(&error))?;
        let usable = kept
            .into_iter()
            .filter(|kept| kept.seq.next() >= first)
            .filter_map(|kept| Replay::from_checkpoint(&kept.content.ok()?.state, kept.seq).ok())
            .next();
        match usable {
            Some(replay) if replay.position() <= at => Ok(replay),
            Some(replay) => Err(self.before_begin(at, replay.position())),
            None => Err(Failure::failed(
                "RECORDS_NOT_HERE",
                format!(
                    "the records before sequence {first} are not here, and no checkpoint stands in \
                     for them: put the archives back beside the log, into its folder 'archive'"
                ),
            )),
        }
    }

    /// The refusal to show a state of a file whose records begin later than the journal did.
    fn without_state(&self) -> Failure {
        Failure::failed(
            "RECORDS_NOT_HERE",
            format!(
                "'{}' begins with sequence {} and no state stands before it, so none can be shown: \
                 name a folder that has all archives in its 'journal/archive'; dump, explain, \
                 timeline and verify read this file",
                self.path.display(),
                self.first()
            ),
        )
    }

    /// The refusal of a sequence before the oldest state at hand.
    pub(crate) fn before_begin(&self, at: Seq, begun: Seq) -> Failure {
        let text = format!(
            "sequence {at} was asked for, the oldest state at hand is that of sequence {begun}: put \
             the archives back beside the log, into its folder 'archive'"
        );
        Failure::failed("RECORDS_NOT_HERE", text)
    }

    /// Takes in what a writer has added since; says whether bytes follow that are no whole record.
    /// `None` where what is there now does not go on from what was read.
    pub(crate) fn advance(&self) -> Option<bool> {
        match &self.content {
            Content::Journal(journal, ..) => match journal.advance() {
                Ok(advanced) => Some(advanced.unfinished),
                Err(error) => {
                    log::debug!("the journal is opened anew: {error}");
                    None
                }
            },
            Content::Export(_) | Content::Archive(_) => Some(false),
        }
    }

    /// Opens the same path again; it must still be the journal that was read to `seen`.
    ///
    /// # Errors
    /// As [`open`](Source::open); damage, and another journal in the place of this one.
    pub(crate) fn reopen(&mut self, seen: (Seq, FrameHash)) -> Result<(), Failure> {
        let again = Self::open(&self.path)?;
        let mut found = None;
        again.read(seen.0, seen.0, &mut |record| {
            found = Some(record.hash);
            Ok(ControlFlow::Continue(()))
        })?;
        if seen.0 > Seq::ZERO && found != Some(seen.1) {
            again.conclude()?;
            return Err(Failure::failed(
                "JOURNAL_REPLACED",
                format!(
                    "'{}' no longer holds the journal that was read to sequence {}: another took \
                     its place",
                    self.path.display(),
                    seen.0
                ),
            ));
        }
        again.conclude()?;
        *self = again;
        Ok(())
    }

    /// Whether a process has the folder open now.
    pub(crate) fn is_live(&self) -> bool {
        folder::is_held(&self.path) || folder::is_held(&journal_of(&self.path))
    }
}

/// Where there is no journal, what would have been one.
fn with_expected(path: &Path, error: Error) -> Error {
    match error.kind() {
        ErrorKind::NotFound => Error::new(
            ErrorKind::NotFound,
            format!(
                "'{}': {error}; expected a data folder, a journal folder, an archive of one, or a \
                 file made by `holdfast journal export`",
                path.display()
            ),
        ),
        _ => error,
    }
}

/// The record that a frame is.
pub(super) fn record(frame: &Frame<'_>) -> Result<Record<Event>, Error> {
    Ok(Record {
        seq: frame.seq,
        at_ms: frame.at_ms,
        stream: frame.stream,
        kind: frame.kind,
        hash: frame.hash,
        event: Event::decode(frame.kind, frame.payload)?,
    })
}

/// The journal of a data folder; where `path` is no data folder, it is taken for a journal itself.
fn journal_of(path: &Path) -> PathBuf {
    let inside = folder::journal_dir(path);
    if inside.is_dir() {
        inside
    } else {
        path.to_owned()
    }
}
