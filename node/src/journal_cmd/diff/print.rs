//! What changed, in words for people and as objects for programs.

use std::fmt::Write as _;

use holdfast_engine::{JobId, JobKind};
use holdfast_sql::secret::mask_text;
use serde_json::{Value, json};

use super::super::masked::json_line;
use super::gather::{Changes, JobChange, Moment};
use crate::exit::Failure;
use crate::host::{SystemClock, time_text};
use crate::text;

/// An object a line; `change` says which, and each kind of change always has the same members.
pub(super) fn lines(changes: &Changes, clock: &SystemClock) -> Result<String, Failure> {
    let at = |change: &str, at: Moment, mut rest: Value| {
        rest["change"] = json!(change);
        rest["seq"] = json!(at.0.get());
        rest["at_ms"] = json!(at.1);
        rest["time"] = json!(time_text(clock, at.1));
        rest
    };
    let mut all = vec![json!({
        "change": "span",
        "from": changes.from.0.get(),
        "from_ms": changes.from.1,
        "to": changes.to.0.get(),
        "to_ms": changes.to.1,
        "records": changes.records,
    })];
    for (when, epoch) in &changes.openings {
        all.push(at("opening", *when, json!({"epoch": epoch})));
    }
    for (when, name, made) in &changes.repositories {
        let change = if *made {
            "repository_made"
        } else {
            "repository_dropped"
        };
        all.push(at(change, *when, json!({"repository": name})));
    }
    for (when, jobs) in &changes.archived {
        all.push(at("archived", *when, json!({"jobs": jobs})));
    }
    for (id, job) in &changes.jobs {
        job_objects(id.0, job, &at, &mut all);
    }
    all.iter().map(json_line).collect()
}

type At<'a> = dyn Fn(&str, Moment, Value) -> Value + 'a;

fn job_objects(id: u64, job: &JobChange, at: &At<'_>, all: &mut Vec<Value>) {
    if let Some(when) = job.new {
        let about = json!({
            "job": id,
            "kind": kind(job.kind),
            "database": job.database,
            "label": job.label,
            "repository": job.repository,
        });
        all.push(at("job_new", when, about));
    }
    let mut before = job.before;
    for (when, state) in &job.moves {
        all.push(at(
            "state",
            *when,
            json!({"job": id, "from": before, "to": state}),
        ));
        before = Some(*state);
    }
    let tasks = &job.tasks;
    all.push(json!({
        "change": "tasks",
        "job": id,
        "started": tasks.started,
        "again": tasks.again,
        "finished": tasks.finished,
        "failed": tasks.failed,
        "stopped": tasks.stopped,
        "fenced": tasks.fenced,
    }));
    all.push(json!({
        "change": "bytes",
        "job": id,
        "moved": job.bytes,
        "objects": job.objects,
        "reused": job.reused_bytes,
    }));
    for (task, error) in &job.errors {
        all.push(json!({
            "change": "error",
            "job": id,
            "task": task,
            "failures": error.failures,
            "message": error.message,
            "before": error.before,
            "after": error.after,
        }));
    }
    if let Some((when, message)) = &job.stopping {
        all.push(at(
            "stopping",
            *when,
            json!({"job": id, "message": message}),
        ));
    }
    if let Some(when) = job.ended {
        all.push(at("job_ended", when, json!({"job": id, "state": before})));
    }
    if job.left {
        all.push(json!({"change": "job_left", "job": id}));
    }
}

fn kind(kind: JobKind) -> &'static str {
    match kind {
        JobKind::Backup => "BACKUP",
        JobKind::Restore => "RESTORE",
    }
}

/// The same in words.
pub(super) fn words(changes: &Changes, clock: &SystemClock) -> String {
    let point = |(seq, ms): Moment| match ms {
        0 => "the beginning".to_owned(),
        ms => format!("sequence {seq} ({})", time_text(clock, ms)),
    };
    let mut out = format!(
        "From {} to {}: {}\n",
        point(changes.from),
        point(changes.to),
        text::count(changes.records, "record")
    );
    let mut line = |at: &Moment, what: String| {
        let _ = writeln!(out, "{}  {what}", time_text(clock, at.1));
    };
    for (at, epoch) in &changes.openings {
        line(at, format!("opening {epoch}"));
    }
    for (at, name, made) in &changes.repositories {
        let what = if *made { "made" } else { "dropped" };
        line(at, format!("repository '{name}' {what}"));
    }
    for (at, jobs) in &changes.archived {
        line(
            at,
            format!("history archived, {} left", text::count(*jobs, "job")),
        );
    }
    for (id, job) in &changes.jobs {
        job_words(*id, job, clock, &mut out);
    }
    if changes.records == 0 {
        out.push_str("nothing changed\n");
    }
    out
}

fn job_words(id: JobId, job: &JobChange, clock: &SystemClock, out: &mut String) {
    let kind = match job.kind {
        JobKind::Backup => "Backup",
        JobKind::Restore => "Restore",
    };
    let standing = match (job.new.is_some(), job.ended.is_some(), job.left) {
        (true, true, _) => ", new and ended",
        (true, false, _) => ", new",
        (false, true, _) => ", ended",
        (false, false, true) => ", no longer kept",
        (false, false, false) => "",
    };
    let _ = writeln!(
        out,
        "\n{kind} {id} '{}' of database '{}', repository '{}'{standing}",
        job.label, job.database, job.repository
    );
    if let Some(before) = job.before {
        let _ = writeln!(out, "  it was {before}");
    }
    for ((_, ms), state) in &job.moves {
        let _ = writeln!(out, "  {}  {state}", time_text(clock, *ms));
    }
    let tasks = &job.tasks;
    let parts = [
        (tasks.started, "started"),
        (tasks.again, "of them again"),
        (tasks.finished, "finished"),
        (tasks.failed, "failed"),
        (tasks.stopped, "stopped"),
        (tasks.fenced, "fenced"),
    ];
    let told: Vec<String> = parts
        .iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("{count} {what}"))
        .collect();
    if !told.is_empty() {
        let _ = writeln!(out, "  tasks: {}", told.join(", "));
    }
    if job.bytes > 0 || job.reused_bytes > 0 {
        let _ = writeln!(
            out,
            "  {} moved in {}, {} reused",
            text::bytes(job.bytes),
            text::count(job.objects, "object"),
            text::bytes(job.reused_bytes)
        );
    }
    for (task, error) in &job.errors {
        let what = match (error.before, error.after) {
            (false, true) => "error came",
            (true, false) => "error went",
            (false, false) => "error came and went",
            (true, true) => "error stays",
        };
        let failures = text::count(u64::from(error.failures), "failure");
        let message = mask_text(&error.message);
        let _ = writeln!(out, "  {what}: task {task}, {failures}: {message}");
    }
    if let Some(((_, ms), message)) = &job.stopping {
        let (time, message) = (time_text(clock, *ms), mask_text(message));
        let _ = writeln!(out, "  {time}  stopping: {message}");
    }
}
