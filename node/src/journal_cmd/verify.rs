//! `journal verify`: proves a journal whole, or names what is not, one finding a line.

mod catalog;
mod checkpoints;
mod index;

use std::fmt::Display;
use std::ops::ControlFlow;

use holdfast_engine::Event;
use holdfast_journal::{Answer, ArchiveInfo, Error, OpenReport, Projection, Record, Seq};
use serde_json::json;

use super::exported::ExportFile;
use super::source::{Source, record};
use crate::cli::{ToolFormat, VerifyJournalArgs};
use crate::exit::{Exit, Failure};
use crate::host::{SystemClock, time_text};
use crate::node::journal_failure;
use crate::{out, text};

use checkpoints::Beside;

/// What has been found so far.
#[derive(Default)]
struct Findings {
    lines: Vec<(&'static str, String)>,
}

impl Findings {
    fn add(&mut self, part: &'static str, what: impl Display) {
        self.lines.push((part, what.to_string()));
    }

    fn print(&self, format: ToolFormat) -> Result<(), Failure> {
        let mut lines = String::new();
        for (part, what) in &self.lines {
            match format {
                ToolFormat::Table => lines.push_str(&format!("{part}: {what}\n")),
                ToolFormat::Json => {
                    lines.push_str(&format!("{}\n", json!({"part": part, "finding": what})));
                }
            }
        }
        out::data(&lines)
    }
}

/// Runs the command.
pub(super) fn run(args: &VerifyJournalArgs) -> Result<Exit, Failure> {
    let path = args.source.path();
    let mut findings = Findings::default();
    match Source::open(&path) {
        Ok(source) => verify(&source, &mut findings)?,
        Err(failure) if failure.exit == Exit::Damage => findings.add("journal", failure.words()),
        Err(failure) => return Err(failure),
    }
    let printed = findings.print(args.format);
    if findings.lines.is_empty() {
        return printed.map(|()| Exit::Done);
    }
    // Whoever reads no further than the exit code must see the damage.
    if let Err(failure) = printed {
        log::debug!("the findings were not all read: {}", failure.words());
    }
    let count = text::count(findings.lines.len() as u64, "finding");
    Err(Failure::new(
        Exit::Damage,
        "JOURNAL_DAMAGED",
        format!("{count} in '{}'", path.display()),
    ))
}

fn verify(source: &Source, findings: &mut Findings) -> Result<(), Failure> {
    if let Some((journal, report)) = source.journal() {
        judge("journal", report, source.refusal(), findings);
        if let Err(error) = journal.verify_archives() {
            findings.add("archive", error);
        }
        if let Err(error) = journal.verify_anchor() {
            findings.add("checkpoint", error);
        }
    } else if let Some(archive) = source.archive() {
        if let Err(error) = archive.verify() {
            findings.add("archive", error);
            return Ok(());
        }
    } else if let Some(refusal) = source.refusal() {
        findings.add("journal", refusal);
    }
    if let Some(file) = source.export() {
        chain(source, file, findings)?;
    }
    let catalog_seen = replay(source, findings)?;
    let (end, hash) = source.last();
    out::note(format_args!(
        "journal: read to sequence {end}, chain hash {hash}"
    ));
    match (source.export(), source.archive()) {
        (Some(file), _) => say_seal(file),
        (_, Some(archive)) => say_archive(archive.info()),
        (None, None) => {
            index::verify(source, findings)?;
            catalog::verify(source.path(), catalog_seen, findings)?;
        }
    }
    Ok(())
}

/// Cases that an opening repairs without loss are no findings: a kill leaves them.
fn judge(
    part: &'static str,
    report: &OpenReport,
    refusal: Option<&Error>,
    findings: &mut Findings,
) {
    for case in &report.cases {
        if !matches!(case.answer(), Answer::GoOn | Answer::Refuse(_)) {
            out::note(format_args!("{part}: {case}"));
        }
    }
    if let Some(error) = refusal {
        findings.add(part, error);
    }
}

/// Replays every event, beside each checkpoint; gives the highest position of the catalog that the
/// journal has seen.
fn replay(source: &Source, findings: &mut Findings) -> Result<u64, Failure> {
    let mut catalog_seen = 0;
    let mut illegal = None;
    let mut beside = Beside::open(source, findings)?;
    let mut replay = match source.begin(source.last().0) {
        Ok(replay) => replay,
        Err(failure) => {
            out::note(failure.words());
            out::note("transitions and checkpoints: not checked");
            let read = source.read(Seq::FIRST, source.last().0, &mut |record| {
                catalog_seen = catalog_seen.max(seen_by(&record.event));
                Ok(ControlFlow::Continue(()))
            });
            damage(read, findings)?;
            return Ok(catalog_seen);
        }
    };
    // What openings saw whose records are not at hand is in the state that it begins with.
    catalog_seen = catalog_seen.max(replay.catalog().0);
    let begun = replay.position();
    if begun > Seq::ZERO {
        out::note(format_args!(
            "transitions and checkpoints: checked from the checkpoint at sequence {begun} on"
        ));
    }
    let read = source.read(Seq::FIRST, source.last().0, &mut |record: Record<Event>| {
        catalog_seen = catalog_seen.max(seen_by(&record.event));
        if record.seq <= begun {
            return Ok(ControlFlow::Continue(()));
        }
        if let Err(error) = replay.apply(&record) {
            illegal = Some(error);
            return Ok(ControlFlow::Break(()));
        }
        beside.passed(&mut replay, &record, findings);
        Ok(ControlFlow::Continue(()))
    });
    damage(read, findings)?;
    match illegal {
        Some(error) => findings.add("journal", error),
        None => beside.ended(&mut replay, findings),
    }
    Ok(catalog_seen)
}

/// The position of the catalog that a record says was seen.
fn seen_by(event: &Event) -> u64 {
    match event {
        Event::EngineStarted(started) => started.catalog,
        _ => 0,
    }
}

/// Damage found while reading is a finding, all else ends the command.
fn damage(read: Result<(), Failure>, findings: &mut Findings) -> Result<(), Failure> {
    match read {
        Err(failure) if failure.exit == Exit::Damage => findings.add("journal", failure.words()),
        other => return other,
    }
    Ok(())
}

/// The links of an exported file's chain: a link is proved where the event is as the journal held
/// it, or where the chain is the file's own, and taken as recorded where the export changed it.
fn chain(source: &Source, file: &ExportFile, findings: &mut Findings) -> Result<(), Failure> {
    let mut before = file.head().before;
    let (mut proved, mut changed, mut broken, mut own) = (0_u64, 0_u64, 0_u64, 0_u64);
    source
        .frames(&mut |frame, mark| {
            own += u64::from(mark.own);
            if mark.changed && !mark.own {
                changed += 1;
            } else if frame.chained(&before) == frame.hash {
                proved += 1;
            } else {
                broken += 1;
                if broken == 1 {
                    let text = format!(
                        "sequence {} does not continue the one before: the file was changed and \
                         sealed anew",
                        frame.seq
                    );
                    findings.add("chain", text);
                }
            }
            before = frame.hash;
            record(frame).map(|_| ControlFlow::Continue(()))
        })
        .map_err(|error| journal_failure(&error))?;
    if broken > 1 {
        findings.add("chain", format!("{} more links are broken", broken - 1));
    }
    out::note(format_args!(
        "chain: {} proved; {changed} taken as recorded, since the export took out of those events \
         what may not leave",
        text::count(proved, "link")
    ));
    if own > 0 {
        out::note(format_args!(
            "chain: {} at the end are of a chain of the file's own: with the hashes of the node what \
             was taken out could be guessed",
            text::count(own, "link")
        ));
    }
    Ok(())
}

/// What an archive says of itself, and what it does not prove.
fn say_archive(info: &ArchiveInfo) {
    let clock = SystemClock::new();
    out::note(format_args!(
        "archive: sequences {} to {}, {} to {}, moved out of the log {}; {} in {}",
        info.first,
        info.last,
        time_text(&clock, info.earliest_ms),
        time_text(&clock, info.latest_ms),
        time_text(&clock, info.made_ms),
        text::count(info.segments, "segment"),
        text::bytes(info.file_bytes)
    ));
    out::note(
        "whether it is the one that its log names: not checked, `journal verify` of the folder does",
    );
}

/// What an exported file proves by itself, and what it does not.
fn say_seal(file: &ExportFile) {
    match file.seal() {
        Some(seal) => out::note(format_args!(
            "seal: {}; it proves that the file is as `journal export` wrote it where it is the seal \
             that was printed then",
            blake3::Hash::from_bytes(seal).to_hex()
        )),
        None => out::note("seal: none, the file is not whole"),
    }
    out::note("index, checkpoints, catalog: not in an exported file, not checked");
}
