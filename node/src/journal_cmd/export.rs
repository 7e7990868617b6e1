//! `journal export`: one file with the events, for a laptop or a ticket.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::ops::ControlFlow;
use std::path::Path;

use holdfast_engine::{Clock as _, Event};
use holdfast_journal::{Error, ErrorKind, Event as _, Frame, FrameHash, Seq};
use serde_json::{Map, Value, json};

use super::exported::{FORMAT, Head, Mark, Redactor, Sealed, Writer};
use super::source::{Source, record};
use crate::cli::ExportJournalArgs;
use crate::exit::{Exit, Failure};
use crate::host::{SystemClock, time_text};
use crate::node::journal_failure;
use crate::{out, text};

/// Runs the command.
pub(super) fn run(args: &ExportJournalArgs) -> Result<Exit, Failure> {
    let source = Source::open(&args.source.path())?;
    let mut redactor = match args.anonymize {
        true => Redactor::names(),
        false => Redactor::secrets(),
    };
    let file = create(&args.to)?;
    let written = write(&source, &mut redactor, &file);
    let done = match written {
        Ok(done) => done,
        Err(failure) => {
            // Half a file is good for nothing, and it was made here.
            if let Err(error) = fs::remove_file(&args.to) {
                log::warn!("'{}' is left behind: {error}", args.to.display());
            }
            return Err(failure);
        }
    };
    let Done {
        sealed, changed, ..
    } = done;
    out::note(format_args!(
        "exported {} to sequence {} into '{}', {}",
        text::count(sealed.records, "record"),
        done.last.0,
        args.to.display(),
        text::bytes(sealed.bytes)
    ));
    if source.first() > Seq::FIRST {
        out::note(format_args!(
            "it begins with sequence {}: the records before are not here, so states cannot be shown \
             from it; `dump`, `explain`, `timeline` and `verify` read it",
            source.first()
        ));
    }
    let own = match done.own {
        Some(from) => format!(" (the file's own from sequence {from} on)"),
        None => String::new(),
    };
    out::note(format_args!(
        "{changed} of them without what may not leave; chain hash {}{own}, seal {}",
        done.last.1,
        blake3::Hash::from_bytes(sealed.seal).to_hex()
    ));
    source.conclude()
}

fn create(to: &Path) -> Result<File, Failure> {
    let made = OpenOptions::new().write(true).create_new(true).open(to);
    made.map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => Failure::failed(
            "FILE_EXISTS",
            format!("'{}' is there already; name another file", to.display()),
        ),
        _ => not_written(to, &error),
    })
}

fn not_written(to: &Path, error: &io::Error) -> Failure {
    let text = format!("'{}' cannot be written: {error}", to.display());
    Failure::io(error.kind(), text)
}

/// A file that was written.
struct Done {
    sealed: Sealed,
    /// Records without what may not leave.
    changed: u64,
    last: (Seq, FrameHash),
    /// The record from which on the hashes are not those of the journal.
    own: Option<Seq>,
}

/// Writes the file and syncs it.
fn write(source: &Source, redactor: &mut Redactor, file: &File) -> Result<Done, Failure> {
    let failed = |error: Error| journal_failure(&error);
    if redactor.anonymizes() {
        // Twice through the journal: a message may come before the name in it is known.
        source
            .frames(&mut |frame, _| {
                redactor.learn(&record(frame)?.event);
                Ok(ControlFlow::Continue(()))
            })
            .map_err(failed)?;
    }
    let io = |error: io::Error| {
        let kind = match error.kind() {
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => ErrorKind::Full,
            _ => ErrorKind::Io,
        };
        Error::new(kind, format!("write: {error}"))
    };
    if redactor.anonymizes()
        && source.first() > Seq::FIRST
        && let Ok(mut begun) = source.begin(source.last().0)
    {
        redactor.learn_state(&begun.views());
    }
    let head = head(source, redactor).map_err(failed)?;
    let description = describe(source, redactor).to_string();
    let writer = Writer::new(BufWriter::new(file), &head, &description)
        .map_err(|error| failed(io(error)))?;
    let mut copy = Copy {
        // Format 1 kept the hashes of whatever it changed.
        trusted: source.export().is_none_or(|file| file.head().format > 1),
        writer,
        own: redactor.anonymizes().then_some(head.first),
        changed: 0,
    };
    source
        .frames(&mut |frame, mark| {
            copy.take(redactor, frame, mark)?;
            Ok(ControlFlow::Continue(()))
        })
        .map_err(failed)?;
    let last = copy.writer.last();
    if last.0 != source.last().0 {
        let (found, expected) = (last.0, source.last().0);
        let text = format!("the journal was read to {found}, expected {expected}");
        return Err(Failure::new(Exit::Damage, "JOURNAL_DAMAGED", text));
    }
    let (_, sealed) = copy.writer.finish().map_err(|error| failed(io(error)))?;
    file.sync_all().map_err(|error| failed(io(error)))?;
    Ok(Done {
        sealed,
        changed: copy.changed,
        last,
        own: copy.own,
    })
}

/// Writes record after record without what may not leave.
struct Copy<W> {
    writer: Writer<W>,
    /// Whether what was taken out of the source's records cannot be guessed from their hashes.
    trusted: bool,
    own: Option<Seq>,
    changed: u64,
}

impl<W: io::Write> Copy<W> {
    fn take(
        &mut self,
        redactor: &mut Redactor,
        frame: &Frame<'_>,
        before: Mark,
    ) -> Result<(), Error> {
        let redacted = redactor.redact(&record(frame)?.event);
        let changed = redacted.is_some() || before.changed;
        self.changed += u64::from(changed);
        let guessable = redacted.as_ref().is_some_and(|redacted| redacted.guessable)
            || (before.changed && !self.trusted);
        // Later hashes prove a guess as well as the one of the record itself.
        if self.own.is_none() && (guessable || before.own) {
            self.own = Some(frame.seq);
        }
        let mut payload = Vec::new();
        let mut copy = *frame;
        if let Some(redacted) = &redacted {
            redacted.event.encode(&mut payload)?;
            copy.payload = &payload;
        }
        if self.own.is_some() {
            copy.hash = copy.chained(&self.writer.last().1);
        }
        let mark = Mark {
            changed,
            own: self.own.is_some(),
        };
        self.writer
            .push(&copy, mark)
            .map_err(|error| Error::new(ErrorKind::Io, format!("write: {error}")))
    }
}

fn head(source: &Source, redactor: &Redactor) -> Result<Head, Error> {
    let anonymized = source.export().is_some_and(|file| file.head().anonymized);
    Ok(Head {
        format: FORMAT,
        family: Event::FAMILY,
        first: source.first(),
        before: match redactor.anonymizes() {
            true => FrameHash::genesis(Event::FAMILY),
            false => source.before()?,
        },
        anonymized: anonymized || redactor.anonymizes(),
    })
}

/// What the file says of itself to whoever looks at its first bytes.
fn describe(source: &Source, redactor: &mut Redactor) -> Value {
    let kinds: Map<String, Value> = Event::kinds()
        .iter()
        .map(|(number, name)| (number.to_string(), json!(name)))
        .collect();
    let clock = SystemClock::new();
    let found: Vec<String> = match source.journal() {
        Some((_, report)) => report.cases.iter().map(ToString::to_string).collect(),
        None => Vec::new(),
    };
    let found: Vec<String> = found.iter().map(|case| redactor.words(case)).collect();
    let refusal = source
        .refusal()
        .map(|error| redactor.words(&error.to_string()));
    let mut removed = vec![
        "properties of repositories",
        "secrets in locations and messages",
        "values of users' data in messages",
    ];
    if redactor.anonymizes() {
        removed.push("names, locations and paths");
    }
    json!({
        "what": "the events of a Holdfast journal; docs/journal-format.md specifies the bytes",
        "program": concat!("holdfast ", env!("CARGO_PKG_VERSION")),
        "exported": time_text(&clock, clock.wall_ms()),
        "first": source.first().get(),
        "last": source.last().0.get(),
        "removed": removed,
        "found": found,
        "refusal": refusal,
        "kinds": kinds,
    })
}
