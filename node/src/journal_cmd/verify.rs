//! `journal verify`: proves a journal whole, or names what is not, one finding a line.

use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use holdfast_engine::{Event, Replay};
use holdfast_journal::{
    Answer, Error, ErrorKind, IndexCheck, OpenReport, Projection, ReadJournal, Seq,
};
use holdfast_storage::events::CatalogEvent;
use serde_json::json;

use super::source::Source;
use crate::cli::{ToolFormat, VerifyJournalArgs};
use crate::exit::{Exit, Failure};
use crate::node::journal_failure;
use crate::{folder, out, text};

/// How often the index is looked at again where a running process may be writing it.
const INDEX_TRIES: u32 = 5;

/// What `journal verify` has found so far.
#[derive(Default)]
struct Findings {
    lines: Vec<(&'static str, String)>,
}

impl Findings {
    fn add(&mut self, part: &'static str, what: impl std::fmt::Display) {
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
    let catalog_seen = verify_jobs(&path, &mut findings)?;
    verify_catalog(&path, catalog_seen, &mut findings)?;
    findings.print(args.format)?;
    if findings.lines.is_empty() {
        return Ok(Exit::Done);
    }
    let count = text::count(findings.lines.len() as u64, "finding");
    Err(Failure::new(
        Exit::Damage,
        "JOURNAL_DAMAGED",
        format!("{count} in '{}'", path.display()),
    ))
}

/// Checks the jobs' journal; gives the highest position of the catalog that it has seen.
fn verify_jobs(path: &Path, findings: &mut Findings) -> Result<u64, Failure> {
    let source = match Source::open(path) {
        Ok(source) => source,
        Err(failure) if failure.exit == Exit::Damage => {
            findings.add("journal", failure);
            return Ok(0);
        }
        Err(failure) => return Err(failure),
    };
    judge("journal", source.report(), source.refusal(), findings);
    let mut replay = Replay::new();
    let mut catalog_seen = 0;
    let (end, hash) = source.last();
    let replayed = source.read(Seq::FIRST, end, &mut |record| {
        if let Event::EngineStarted(started) = &record.event {
            catalog_seen = catalog_seen.max(started.catalog);
        }
        replay.apply(&record).map_err(|e| journal_failure(&e))?;
        Ok(ControlFlow::Continue(()))
    });
    if let Err(failure) = replayed {
        findings.add("journal", failure);
    }
    verify_index(&source, findings)?;
    out::note(format_args!(
        "journal: read to sequence {end}, chain hash {hash}"
    ));
    Ok(catalog_seen)
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

/// Compares the index with the log. Beside a running process a copy may be of a moment that never
/// was, so what it shows counts only if it stays.
fn verify_index(source: &Source, findings: &mut Findings) -> Result<(), Failure> {
    let mut tries = 0;
    loop {
        tries += 1;
        let check = source
            .journal()
            .verify_index()
            .map_err(|error| journal_failure(&error))?;
        let held = source.is_live();
        match check {
            IndexCheck::Absent | IndexCheck::Agrees { .. } => {
                out::note(format_args!("index: {check}"));
                return Ok(());
            }
            other if !held => {
                findings.add("index", other);
                return Ok(());
            }
            other if tries >= INDEX_TRIES => {
                out::note(format_args!(
                    "index: {other}; a process has the folder open, so this may be of a moment \
                     between two writes: check again when it has ended"
                ));
                return Ok(());
            }
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}

/// Checks the chain of the tables' catalog, and that it is not older than the jobs' journal.
fn verify_catalog(data_dir: &Path, seen: u64, findings: &mut Findings) -> Result<(), Failure> {
    let path = folder::storage_dir(data_dir).join("catalog");
    if !path.is_dir() {
        out::note("catalog: none here, not checked");
        return Ok(());
    }
    let (journal, report, refusal) = match ReadJournal::<CatalogEvent>::salvage(&path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == ErrorKind::Damaged => {
            findings.add("catalog", error);
            return Ok(());
        }
        Err(error) => return Err(journal_failure(&error)),
    };
    judge("catalog", &report, refusal.as_ref(), findings);
    if let Err(error) = journal.read(Seq::FIRST, &mut |_| Ok(())) {
        findings.add("catalog", error);
    }
    let (seq, hash) = journal.position();
    if seq.get() < seen {
        let text = format!("ends at {seq}, the jobs' journal has seen it at {seen}");
        findings.add("catalog", text);
    }
    out::note(format_args!(
        "catalog: read to sequence {seq}, chain hash {hash}"
    ));
    Ok(())
}
