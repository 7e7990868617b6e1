//! A record as a line, for people and for programs. Secrets never come through here: a dump goes
//! into tickets.

use holdfast_engine::Event;
use holdfast_journal::{Event as _, Record, StreamId};
use holdfast_sql::output::csv_record;
use holdfast_sql::secret::{mask_location, mask_text};
use serde_json::{Map, Value, json};

use crate::cli::RecordFormat;
use crate::host::{SystemClock, time_text};

/// The members of a record in JSON, and the columns in CSV.
const COLUMNS: [&str; 9] = [
    "seq",
    "at_ms",
    "time",
    "stream",
    "job",
    "kind",
    "kind_number",
    "hash",
    "fields",
];

/// What stands before the first record; empty for most formats.
pub(crate) fn header(format: RecordFormat) -> String {
    match format {
        RecordFormat::Csv => csv_record(&COLUMNS.map(Some)),
        RecordFormat::Table | RecordFormat::Json => String::new(),
    }
}

/// The record in this format, with the end of the line.
pub(crate) fn line(record: &Record<Event>, clock: &SystemClock, format: RecordFormat) -> String {
    match format {
        RecordFormat::Table => table_line(record, clock),
        RecordFormat::Json => json_line(record, clock),
        RecordFormat::Csv => csv_line(record, clock),
    }
}

/// `12  2026-11-22 09:00:00.123  job 7  TaskFinished  {"task":9,…}`.
fn table_line(record: &Record<Event>, clock: &SystemClock) -> String {
    let stream = match record.stream.get() {
        0 => "engine".to_owned(),
        job => format!("job {job}"),
    };
    format!(
        "{:>8}  {}  {stream:<10}  {:<24}  {}\n",
        record.seq.get(),
        time_text(clock, record.at_ms),
        record.event.kind_name(),
        fields(&record.event)
    )
}

/// The job that a record is about.
fn job_of(record: &Record<Event>) -> Option<u64> {
    Some(record.stream.get()).filter(|_| record.stream != StreamId::OWNER)
}

fn json_line(record: &Record<Event>, clock: &SystemClock) -> String {
    let object = json!({
        "seq": record.seq.get(),
        "at_ms": record.at_ms,
        "time": time_text(clock, record.at_ms),
        "stream": record.stream.get(),
        "job": job_of(record),
        "kind": record.event.kind_name(),
        "kind_number": record.kind.get(),
        "hash": record.hash.to_string(),
        "fields": fields(&record.event),
    });
    format!("{object}\n")
}

fn csv_line(record: &Record<Event>, clock: &SystemClock) -> String {
    let job = job_of(record).map(|job| job.to_string());
    csv_record(&[
        Some(&record.seq.to_string()),
        Some(&record.at_ms.to_string()),
        Some(&time_text(clock, record.at_ms)),
        Some(&record.stream.to_string()),
        job.as_deref(),
        Some(record.event.kind_name()),
        Some(&record.kind.to_string()),
        Some(&record.hash.to_string()),
        Some(&fields(&record.event).to_string()),
    ])
}

/// The payload with hashes as hex, secrets left out or masked.
pub(crate) fn fields(event: &Event) -> Value {
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
        Value::String(text) => json!(mask_text(&text)),
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
