//! `holdfast repository`: looks after a repository without a data folder. Only reads.

use std::collections::BTreeMap;
use std::io::Write;

use holdfast_broker::Context;
use holdfast_engine::Brokers;
use holdfast_repository::{Error, ErrorKind, Finding, Mode, Repository, Standing};
use holdfast_sql::ResultTable;

use crate::brokers::{Adapters, Traffic};
use crate::cli::{Format, RepositoryArgs, RepositoryCommand, VerifyArgs};
use crate::exit::{Exit, Failure};
use crate::sql_cmd::render;
use crate::{out, text};

/// Runs the command.
pub(crate) fn run(command: RepositoryCommand) -> Result<Exit, Failure> {
    match command {
        RepositoryCommand::Verify(args) => verify(&args),
        RepositoryCommand::Unreferenced(args) => unreferenced(&args),
    }
}

fn open(args: &RepositoryArgs) -> Result<Repository, Failure> {
    let properties: BTreeMap<String, String> = args.properties.iter().cloned().collect();
    let broker = Adapters::new(Traffic::Ignored)
        .connect(None, &args.location, &properties)
        .map_err(|text| Failure::failed("REPOSITORY_UNUSABLE", text))?;
    Repository::open(&Context::new(), broker, &args.name, Mode::ReadOnly)
        .map_err(|error| failure(&error))
}

fn failure(error: &Error) -> Failure {
    let (exit, symbol) = match error.kind() {
        ErrorKind::NotFound => (Exit::Failed, "REPOSITORY_NOT_FOUND"),
        ErrorKind::Damaged => (Exit::Damage, "REPOSITORY_DAMAGED"),
        _ => (Exit::Failed, "REPOSITORY_UNUSABLE"),
    };
    Failure::new(exit, symbol, error)
}

fn verify(args: &VerifyArgs) -> Result<Exit, Failure> {
    let repository = open(&args.repository)?;
    let format = args.repository.format;
    let mut found = Vec::new();
    let mut closed = None;
    let report = repository
        .verify(&Context::new(), args.snapshot.as_deref(), &mut |finding| {
            // A line as soon as it is known; the other formats are one result set.
            if format != Format::Table {
                found.push(row(finding));
            } else if closed.is_none() {
                closed = out::data(&format!("{finding}\n")).err();
            }
        })
        .map_err(|error| match error.kind() {
            ErrorKind::NotFound => Failure::failed("SNAPSHOT_NOT_FOUND", error),
            _ => failure(&error),
        })?;
    if let Some(failure) = closed {
        return Err(failure);
    }
    if format != Format::Table {
        let columns = [
            "Snapshot",
            "Timestamp",
            "Table",
            "Partition",
            "Bucket",
            "File",
            "Object",
            "Problem",
        ];
        let table = ResultTable {
            rows: found,
            ..ResultTable::new(&columns)
        };
        out::data(&render(&table, format))?;
    }
    out::note(format_args!(
        "read {}, {}, {} in {}: {}",
        text::count(report.snapshots, "snapshot"),
        text::count(report.files, "file"),
        text::count(report.objects, "object"),
        text::bytes(report.bytes),
        text::count(report.findings, "finding"),
    ));
    if report.findings == 0 {
        return Ok(Exit::Done);
    }
    Err(Failure::new(
        Exit::Damage,
        "REPOSITORY_DAMAGED",
        format!(
            "{} in repository '{}' at '{}'",
            text::count(report.findings, "finding"),
            args.repository.name,
            args.repository.location
        ),
    ))
}

fn row(finding: Finding) -> Vec<Option<String>> {
    vec![
        Some(finding.label),
        finding.timestamp,
        finding.table,
        finding.partition,
        finding.bucket.map(|bucket| bucket.to_string()),
        finding.file,
        Some(finding.object),
        Some(finding.what),
    ]
}

fn unreferenced(args: &RepositoryArgs) -> Result<Exit, Failure> {
    let repository = open(args)?;
    let mut table = ResultTable::new(&["Object", "Bytes", "Standing"]);
    let report = repository
        .unreferenced(&Context::new(), &mut |found| {
            let standing = match found.standing {
                Standing::Free => "free",
                Standing::Held => "held by a running writer",
                Standing::Unsure => "unsure",
            };
            table.rows.push(vec![
                Some(found.object.key.to_string()),
                Some(found.object.len.to_string()),
                Some(standing.to_owned()),
            ]);
        })
        .map_err(|error| failure(&error))?;
    match args.format {
        Format::Table => print_lines(&table)?,
        other => out::data(&render(&table, other))?,
    }
    for writer in &report.writers {
        out::note(format_args!("writer at work: {writer}"));
    }
    for problem in &report.problems {
        out::note(format_args!("cannot be read: {problem}"));
    }
    out::note(format_args!(
        "{} of {}, {}, are needed by no snapshot",
        report.objects,
        text::count(report.listed, "object"),
        text::bytes(report.bytes)
    ));
    Ok(Exit::Done)
}

/// `path bytes standing`, a line each: there may be a million.
fn print_lines(table: &ResultTable) -> Result<(), Failure> {
    let mut stream = out::stream();
    for row in &table.rows {
        let words: Vec<&str> = row.iter().flatten().map(String::as_str).collect();
        writeln!(stream, "{}", words.join("  ")).map_err(out::closed)?;
    }
    stream.flush().map_err(out::closed)
}
