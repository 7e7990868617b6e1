//! A time line in the trace-event format that Perfetto and chrome://tracing read: states are one
//! track, each backend has one for each task that it ran at once, marks are instants, throughput is
//! a counter. Times are microseconds from the acceptance of the job.

use holdfast_engine::story::{MarkKind, Timeline};
use holdfast_sql::secret::mask_text;
use serde_json::{Value, json};

use super::{called, named};

const PROCESS: u32 = 1;
/// The track of the states.
const STATES: usize = 1;

/// The whole file.
pub(super) fn trace(line: &Timeline) -> String {
    let title = format!("{} {} {}", line.kind, line.job, line.label);
    let mut events = vec![
        json!({"ph": "M", "pid": PROCESS, "name": "process_name", "args": {"name": title}}),
        thread(STATES, "states"),
    ];
    for span in &line.states {
        let work = span.work.map(|work| format!("{work:?}"));
        events.push(json!({
            "ph": "X", "pid": PROCESS, "tid": STATES, "cat": "state", "name": span.state,
            "ts": micros(span.from_ms), "dur": micros(span.to_ms.saturating_sub(span.from_ms)),
            "args": {"work": work},
        }));
    }
    let mut track = STATES;
    for part in &line.backends {
        for (row, slices) in part.rows.iter().enumerate() {
            track += 1;
            let name = match part.rows.len() {
                1 => named(part.backend),
                _ => format!("{} ({})", named(part.backend), row + 1),
            };
            events.push(thread(track, &name));
            for slice in slices {
                events.push(json!({
                    "ph": "X", "pid": PROCESS, "tid": track, "cat": "task", "name": called(slice),
                    "ts": micros(slice.from_ms), "dur": micros(slice.to_ms.saturating_sub(slice.from_ms)),
                    "args": {
                        "first_task": slice.task, "attempts": slice.attempts, "failed": slice.failed,
                        "cut_off": slice.cut_off, "bytes": slice.bytes,
                    },
                }));
            }
        }
    }
    marks(line, &mut events);
    throughput(line, &mut events);
    json!({"displayTimeUnit": "ms", "traceEvents": events}).to_string() + "\n"
}

fn thread(track: usize, name: &str) -> Value {
    json!({
        "ph": "M", "pid": PROCESS, "tid": track, "name": "thread_name", "args": {"name": name},
    })
}

fn marks(line: &Timeline, events: &mut Vec<Value>) {
    for mark in &line.marks {
        let name = match mark.kind {
            MarkKind::Restart => "restart",
            MarkKind::Error => "error",
            MarkKind::Stopped => "stopped",
            MarkKind::Commit => "commit",
            MarkKind::End => "end",
        };
        events.push(json!({
            "ph": "i", "s": "p", "pid": PROCESS, "tid": STATES, "cat": "mark", "name": name,
            "ts": micros(mark.at_ms),
            "args": {"words": mask_text(&mark.words), "count": mark.count},
        }));
    }
}

fn micros(ms: u64) -> u64 {
    ms.saturating_mul(1000)
}

/// A value where it changes, so that a long rest costs nothing.
fn throughput(line: &Timeline, events: &mut Vec<Value>) {
    let parts = line.moved.len().max(1) as f64;
    let part_ms = line.length_ms.max(1) as f64 / parts;
    let mut last = None;
    for (at, bytes) in line.moved.iter().enumerate() {
        let rate = (*bytes as f64 / part_ms * 1000.0).round() as u64;
        if last != Some(rate) {
            events.push(json!({
                "ph": "C", "pid": PROCESS, "name": "throughput", "ts": (at as f64 * part_ms * 1000.0) as u64,
                "args": {"bytes per second": rate},
            }));
        }
        last = Some(rate);
    }
}
