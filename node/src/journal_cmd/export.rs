//! `journal export`: one file with the events, for a laptop or a ticket.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter};
use std::ops::ControlFlow;
use std::path::Path;

use holdfast_engine::{Clock as _, Event};
use holdfast_journal::{Error, ErrorKind, Event as _, Frame, Seq};
use serde_json::{Map, Value, json};

use super::exported::{Head, Redactor, Sealed, Writer};
use super::source::{Source, record};
use crate::cli::ExportJournalArgs;
use crate::exit::{Exit, Failure};
use crate::host::{SystemClock, time_text};
use crate::node::journal_failure;
use crate::{out, text};

/// Runs the command.
pub(super) fn run(args: &ExportJournalArgs) -> Result<Exit, Failure> {
    let source = Source::open(&args.source.path())?;
    if source.first() > Seq::FIRST && source.archive().is_none() {
        return Err(Failure::failed(
            "RECORDS_NOT_HERE",
            format!(
                "an export begins with sequence 1, the records here begin with {}: put the archives \
                 back beside the log, into its folder 'archive'",
                source.first()
            ),
        ));
    }
    let mut redactor = match args.anonymize {
        true => Redactor::names(),
        false => Redactor::secrets(),
    };
    let file = create(&args.to)?;
    let written = write(&source, &mut redactor, &file);
    let (sealed, changed) = match written {
        Ok(done) => done,
        Err(failure) => {
            // Half a file is good for nothing, and it was made here.
            if let Err(error) = fs::remove_file(&args.to) {
                log::warn!("'{}' is left behind: {error}", args.to.display());
            }
            return Err(failure);
        }
    };
    let (last, hash) = source.last();
    out::note(format_args!(
        "exported {} to sequence {last} into '{}', {}",
        text::count(sealed.records, "record"),
        args.to.display(),
        text::bytes(sealed.bytes)
    ));
    out::note(format_args!(
        "{changed} of them without what may not leave; chain hash {hash}, seal {}",
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

/// Writes the file and syncs it; gives how many events were changed.
fn write(source: &Source, redactor: &mut Redactor, file: &File) -> Result<(Sealed, u64), Failure> {
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
    let head = head(source, redactor).map_err(failed)?;
    let description = describe(source, redactor).to_string();
    let mut writer = Writer::new(BufWriter::new(file), &head, &description)
        .map_err(|error| failed(io(error)))?;
    let mut changed = 0;
    source
        .frames(&mut |frame, already| {
            let redacted = redactor.redact(&record(frame)?.event);
            changed += u64::from(redacted.is_some() || already);
            match &redacted {
                Some(event) => {
                    let mut payload = Vec::new();
                    event.encode(&mut payload)?;
                    let frame = Frame {
                        kind: event.kind(),
                        payload: &payload,
                        ..*frame
                    };
                    writer.push(&frame, true).map_err(io)?;
                }
                None => writer.push(frame, already).map_err(io)?,
            }
            Ok(ControlFlow::Continue(()))
        })
        .map_err(failed)?;
    if writer.last() != source.last() {
        let (found, expected) = (writer.last().0, source.last().0);
        let text = format!("the journal was read to {found}, expected {expected}");
        return Err(Failure::new(Exit::Damage, "JOURNAL_DAMAGED", text));
    }
    let (_, sealed) = writer.finish().map_err(|error| failed(io(error)))?;
    file.sync_all().map_err(|error| failed(io(error)))?;
    Ok((sealed, changed))
}

fn head(source: &Source, redactor: &Redactor) -> Result<Head, Error> {
    let anonymized = source.export().is_some_and(|file| file.head().anonymized);
    Ok(Head {
        family: Event::FAMILY,
        first: source.first(),
        before: source.before()?,
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
        "chain_hash": source.last().1.to_string(),
        "removed": removed,
        "found": found,
        "refusal": refusal,
        "kinds": kinds,
    })
}
