//! `holdfast journal`: dump, verify, state. Reads log and checkpoints, opens no engine, takes no
//! lock and changes nothing, so it works beside a running process and on a copy.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::time::Duration;

use holdfast_engine::{Clock as _, Event, JobKind, Replay, Views};
use holdfast_journal::{
    Answer, Error, ErrorKind, Event as _, IndexCheck, OpenReport, Projection, ReadJournal, Record,
    Seq,
};
use holdfast_sql::Width;
use holdfast_sql::secret::mask_location;
use holdfast_storage::events::CatalogEvent;
use serde_json::{Map, Value, json};

use crate::cli::{Format, JournalArgs, JournalCommand, JournalStateArgs, ToolFormat};
use crate::exit::{Exit, Failure};
use crate::folder;
use crate::host::{SystemClock, time_text};
use crate::node::journal_failure;
use crate::session::jobs_table;
use crate::sql_cmd::render;
use crate::{out, text};

/// How often the index is looked at again where a running process may be writing it.
const INDEX_TRIES: u32 = 5;

/// Runs the command.
pub(crate) fn run(command: JournalCommand) -> Result<Exit, Failure> {
    match command {
        JournalCommand::Dump(args) => dump(&args),
        JournalCommand::Verify(args) => verify(&args),
        JournalCommand::State(args) => state(&args),
    }
}

/// The journal as far as it is whole, and what was found behind that.
struct Opened {
    journal: ReadJournal<Event>,
    report: OpenReport,
    refusal: Option<Error>,
}

impl Opened {
    fn of(args: &JournalArgs) -> Result<Self, Failure> {
        let (journal, report, refusal) =
            ReadJournal::salvage(place(&args.data_dir)).map_err(|error| journal_failure(&error))?;
        Ok(Self {
            journal,
            report,
            refusal,
        })
    }

    /// What the command ends with once it has shown what is whole.
    fn conclude(&self) -> Result<Exit, Failure> {
        self.refusal
            .as_ref()
            .map_or(Ok(Exit::Done), |error| Err(journal_failure(error)))
    }
}

/// The journal of a data folder; where `path` is no data folder, it is taken for a journal itself.
fn place(path: &Path) -> PathBuf {
    let inside = folder::journal_dir(path);
    if inside.is_dir() {
        inside
    } else {
        path.to_owned()
    }
}

fn dump(args: &JournalArgs) -> Result<Exit, Failure> {
    let opened = Opened::of(args)?;
    let clock = SystemClock::new();
    let mut stream = out::stream();
    let mut failed = None;
    let read = opened.journal.read(Seq::FIRST, &mut |record| {
        let line = match args.format {
            ToolFormat::Table => table_line(&record, &clock),
            ToolFormat::Json => json_line(&record, &clock),
        };
        writeln!(stream, "{line}").map_err(|error| {
            failed = Some(error);
            Error::rejected("stdout cannot be written")
        })
    });
    if let Some(error) = failed {
        return Err(out::closed(error));
    }
    stream.flush().map_err(out::closed)?;
    read.map_err(|error| journal_failure(&error))?;
    opened.conclude()
}

/// `12  2026-11-22 09:00:00.123  job 7  TaskFinished  {"task":9,…}`.
fn table_line(record: &Record<Event>, clock: &SystemClock) -> String {
    let stream = match record.stream.get() {
        0 => "engine".to_owned(),
        job => format!("job {job}"),
    };
    format!(
        "{:>8}  {}  {stream:<10}  {:<24}  {}",
        record.seq.get(),
        time_text(clock, record.at_ms),
        record.event.kind_name(),
        fields(&record.event)
    )
}

fn json_line(record: &Record<Event>, clock: &SystemClock) -> String {
    json!({
        "seq": record.seq.get(),
        "at_ms": record.at_ms,
        "time": time_text(clock, record.at_ms),
        "stream": record.stream.get(),
        "kind": record.event.kind_name(),
        "kind_number": record.kind.get(),
        "hash": record.hash.to_string(),
        "fields": fields(&record.event),
    })
    .to_string()
}

/// The payload with hashes as hex, secrets left out or masked: a dump goes into tickets.
fn fields(event: &Event) -> Value {
    let value = serde_json::to_value(event).unwrap_or(Value::Null);
    let payload = match value {
        Value::Object(map) if map.len() == 1 => map.into_iter().next().map(|(_, inner)| inner),
        other => Some(other),
    };
    readable(payload.unwrap_or(Value::Null))
}

fn readable(value: Value) -> Value {
    match value {
        Value::Object(map) => {
            let shown = map.into_iter().map(|(key, value)| {
                let value = match value {
                    Value::Array(sealed) if key == "properties" => {
                        json!(format!("{} sealed bytes", sealed.len()))
                    }
                    Value::String(place) if key == "location" => json!(mask_location(&place)),
                    other => readable(other),
                };
                (key, value)
            });
            Value::Object(shown.collect::<Map<_, _>>())
        }
        Value::Array(items) => match hash_text(&items) {
            Some(text) => Value::String(text),
            None => Value::Array(items.into_iter().map(readable).collect()),
        },
        other => other,
    }
}

/// 32 small numbers are a hash.
fn hash_text(items: &[Value]) -> Option<String> {
    let bytes: Option<Vec<u8>> = items
        .iter()
        .map(|item| item.as_u64().and_then(|byte| u8::try_from(byte).ok()))
        .collect();
    let hash = <[u8; 32]>::try_from(bytes?).ok()?;
    Some(blake3::Hash::from_bytes(hash).to_hex().to_string())
}

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

fn verify(args: &JournalArgs) -> Result<Exit, Failure> {
    let path = place(&args.data_dir);
    let mut findings = Findings::default();
    let catalog_seen = verify_jobs(args, &path, &mut findings)?;
    verify_catalog(&args.data_dir, catalog_seen, &mut findings)?;
    findings.print(args.format)?;
    if findings.lines.is_empty() {
        return Ok(Exit::Done);
    }
    let count = text::count(findings.lines.len() as u64, "finding");
    Err(Failure::new(
        Exit::Damage,
        "JOURNAL_DAMAGED",
        format!("{count} in '{}'", args.data_dir.display()),
    ))
}

/// Checks the jobs' journal; gives the highest position of the catalog that it has seen.
fn verify_jobs(args: &JournalArgs, path: &Path, findings: &mut Findings) -> Result<u64, Failure> {
    let opened = match Opened::of(args) {
        Ok(opened) => opened,
        Err(failure) if failure.exit == Exit::Damage => {
            findings.add("journal", failure);
            return Ok(0);
        }
        Err(failure) => return Err(failure),
    };
    judge("journal", &opened.report, opened.refusal.as_ref(), findings);
    let mut replay = Replay::new();
    let mut catalog_seen = 0;
    let replayed = opened.journal.read(Seq::FIRST, &mut |record| {
        if let Event::EngineStarted(started) = &record.event {
            catalog_seen = catalog_seen.max(started.catalog);
        }
        replay.apply(&record)
    });
    if let Err(error) = replayed {
        findings.add("journal", error);
    }
    verify_index(&opened.journal, path, args, findings)?;
    let (seq, hash) = opened.journal.position();
    out::note(format_args!(
        "journal: read to sequence {seq}, chain hash {hash}"
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
fn verify_index(
    journal: &ReadJournal<Event>,
    path: &Path,
    args: &JournalArgs,
    findings: &mut Findings,
) -> Result<(), Failure> {
    let mut tries = 0;
    loop {
        tries += 1;
        let check = journal
            .verify_index()
            .map_err(|error| journal_failure(&error))?;
        let held = folder::is_held(&args.data_dir) || folder::is_held(path);
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

fn state(args: &JournalStateArgs) -> Result<Exit, Failure> {
    let opened = Opened::of(&args.journal)?;
    let end = opened.journal.position().0;
    let at = args.at.map_or(end, Seq);
    if at > end {
        let text = format!("--at is {at}, the journal is whole to sequence {end}");
        return Err(Failure::failed("SEQUENCE_NOT_FOUND", text));
    }
    let (views, now_ms) = views_at(&opened.journal, at)?;
    print_state(&views, now_ms, args.journal.format)?;
    out::note(format_args!("state after sequence {at} of {end}"));
    opened.conclude()
}

/// The views after record `at`, and the time of that record.
fn views_at(journal: &ReadJournal<Event>, at: Seq) -> Result<(Views, u64), Failure> {
    const ENOUGH: &str = "enough was read";
    let mut replay = Replay::new();
    let mut now_ms = 0;
    let mut full = false;
    let read = journal.read(Seq::FIRST, &mut |record| {
        if record.seq > at {
            full = true;
            return Err(Error::rejected(ENOUGH));
        }
        now_ms = record.at_ms;
        replay.apply(&record)
    });
    match read {
        Err(error) if !full => Err(journal_failure(&error)),
        _ => Ok((replay.views(), now_ms)),
    }
}

fn print_state(views: &Views, now_ms: u64, format: ToolFormat) -> Result<(), Failure> {
    let zone = SystemClock::new();
    let offset = |at: u64| zone.utc_offset_seconds(at);
    let clock = holdfast_sql::Clock {
        now_ms,
        offset_seconds: &offset,
    };
    let format = match format {
        ToolFormat::Table => Format::Table,
        ToolFormat::Json => Format::Json,
    };
    for kind in [JobKind::Backup, JobKind::Restore] {
        let jobs = views.jobs_of(kind, None);
        if jobs.is_empty() && format == Format::Table {
            out::data(match kind {
                JobKind::Backup => "no backup\n",
                JobKind::Restore => "no restore\n",
            })?;
            continue;
        }
        // Workers' reports are not in the journal.
        let table = jobs_table(kind, &jobs, &|_| Vec::new(), Width::Full, clock);
        out::data(&render(&table, format))?;
    }
    Ok(())
}
