//! Small phrases that the words of a story are made of.

use std::collections::BTreeSet;

use super::figures::{bytes, count};
use super::model::WorkStory;
use crate::order::Work;

/// Lines of one kind that are written out; the rest is counted.
pub(super) const LISTED: usize = 5;

/// Whether the time of a work is mostly that of the repository.
pub(super) fn is_remote(work: Work) -> bool {
    matches!(
        work,
        Work::PlanUpload
            | Work::Upload
            | Work::UploadInfo
            | Work::PutMarker
            | Work::PrepareMeta
            | Work::PlanDownload
            | Work::Download
    )
}

pub(super) fn name(work: &WorkStory) -> String {
    work.work
        .map_or_else(|| "work".to_owned(), |work| format!("{work:?}"))
}

pub(super) fn on(backend: Option<u64>) -> String {
    backend.map_or_else(String::new, |backend| format!(" on backend {backend}"))
}

pub(super) fn jobs(ids: &BTreeSet<u64>) -> String {
    let mut shown: Vec<String> = ids.iter().take(LISTED).map(u64::to_string).collect();
    rest(&mut shown, ids.len() as u64, "job");
    let word = if ids.len() == 1 { "job" } else { "jobs" };
    format!("{word} {}", shown.join(", "))
}

/// The last line where not all were written out.
pub(super) fn rest(lines: &mut Vec<String>, total: u64, what: &str) {
    let left = total.saturating_sub(lines.len() as u64);
    if left > 0 {
        lines.push(format!("and {}", count(left, &format!("more {what}"))));
    }
}

/// `, 12.3 MB/s`; empty where it was over too soon to say.
pub(super) fn rate(moved: u64, ms: u64) -> String {
    match u64::try_from(u128::from(moved) * 1000 / u128::from(ms.max(1))) {
        Ok(rate) if ms > 0 => format!(", {}/s", bytes(rate)),
        _ => String::new(),
    }
}

pub(super) fn share(part: u64, whole: u64) -> String {
    match (u128::from(part) * 100).checked_div(u128::from(whole)) {
        Some(percent) => format!(" ({percent} %)"),
        None => String::new(),
    }
}

pub(super) fn times(number: u64) -> String {
    match number {
        1 => "once".to_owned(),
        some => format!("{some} times"),
    }
}

pub(super) fn were(number: u64) -> &'static str {
    if number == 1 { "was" } else { "were" }
}

pub(super) fn has(number: u64, what: &str) -> String {
    let verb = if number == 1 { "has" } else { "have" };
    format!("{} {verb}", count(number, what))
}

pub(super) fn tasks_were(number: u64) -> String {
    format!("{} {}", count(number, "running task"), were(number))
}

/// The words of a remote on one line, and not without end.
pub(super) fn one_line(words: &str) -> String {
    const SHOWN: usize = 300;
    let line: Vec<&str> = words.split_whitespace().collect();
    let line = line.join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{} …", &line[..at]),
        None => line,
    }
}
