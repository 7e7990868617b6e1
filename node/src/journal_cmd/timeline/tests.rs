//! Pages and traces of made jobs. `HOLDFAST_PAGES=DIR` keeps the pages, to be looked at.

use holdfast_engine::Work;
use holdfast_engine::story::{BackendRows, Mark, MarkKind, Slice, StateSpan};
use holdfast_engine::testing::History;
use holdfast_journal::{Event as _, FrameHash, Record};
use serde_json::Value;

use super::*;

const HOSTILE: &str = "</title><script>alert('x')</script>\"&<b>";

fn kept(name: &str, page: String) -> String {
    if let Some(folder) = std::env::var_os("HOLDFAST_PAGES") {
        fs::write(Path::new(&folder).join(format!("{name}.html")), &page).unwrap();
    }
    page
}

fn records(mut history: History) -> Vec<Record<holdfast_engine::Event>> {
    let events = history.take().into_iter().zip(1..);
    events
        .map(|(event, seq)| Record {
            seq: Seq(seq),
            at_ms: 1_795_514_400_000 + seq / 2,
            stream: event.stream(),
            kind: event.kind(),
            hash: FrameHash([0; 32]),
            event,
        })
        .collect()
}

fn drawn(history: History, parts: u32) -> Timeline {
    let mut drawing = Drawing::new(JobId(10_002));
    records(history).iter().for_each(|r| drawing.take(r));
    drawing.finish(parts).unwrap()
}

fn slice(task: u64, from_ms: u64, to_ms: u64) -> Slice {
    Slice {
        work: Some(Work::Upload),
        from_ms,
        to_ms,
        attempts: 1,
        failed: u64::from(task.is_multiple_of(7)),
        cut_off: u64::from(task.is_multiple_of(11)),
        task,
        bytes: 12_000_000,
    }
}

/// A job on so many backends with so many rows, with restarts, failures and hostile words.
fn rich(backends: u64, rows: u64, label: &str) -> Timeline {
    let state = |state, work, from_ms, to_ms| StateSpan {
        state,
        work: Some(work),
        from_ms,
        to_ms,
    };
    let row = |backend: u64, row: u64| {
        let tasks = (0..12).map(|n| {
            let from = 4_000 + n * 9_000 + (backend * 731 + row * 1_733 + n * 377) % 3_000;
            slice(
                backend * 100 + row * 13 + n,
                from,
                from + 4_000 + (n * 911 + row * 2_000) % 4_500,
            )
        });
        tasks.collect()
    };
    let mark = |kind, at_ms, count, words: &str| Mark {
        kind,
        at_ms,
        count,
        words: words.to_owned(),
    };
    Timeline {
        job: 10_002,
        kind: "BACKUP",
        label: label.to_owned(),
        database: "shop".to_owned(),
        repository: "attic".to_owned(),
        state: "CANCELLED",
        accepted_ms: 1_795_514_400_000,
        length_ms: 120_000,
        attempts: backends * rows * 12,
        bytes: backends * rows * 12 * 12_000_000,
        states: vec![
            state("PENDING", Work::Pin, 0, 1_200),
            state("SNAPSHOTING", Work::Link, 1_200, 2_600),
            state("UPLOAD_SNAPSHOT", Work::PlanUpload, 2_600, 4_000),
            state("UPLOADING", Work::Upload, 4_000, 116_000),
            state("clean-up", Work::Discard, 116_000, 120_000),
        ],
        backends: (1..=backends)
            .map(|backend| BackendRows {
                backend: Some(backend),
                rows: (0..rows).map(|n| row(backend, n)).collect(),
            })
            .collect(),
        moved: (0..600_u64)
            .map(|n| (n * 37 % 101) * 40_000 * u64::from(n > 20))
            .collect(),
        marks: vec![
            mark(MarkKind::Restart, 30_000, 1, "opening 2"),
            mark(MarkKind::Restart, 61_000, 1, "opening 3"),
            mark(MarkKind::Error, 44_000, 3, HOSTILE),
            mark(
                MarkKind::Error,
                80_000,
                1,
                "cannot put 'packs/ab' at sftp://me:hush@host/x: reset",
            ),
            mark(
                MarkKind::Stopped,
                114_000,
                1,
                "COMMON_ERROR: user cancelled",
            ),
            mark(MarkKind::End, 119_000, 1, "CANCELLED"),
        ],
    }
}

/// Every tag that is opened is closed, in order.
#[track_caller]
fn is_well_formed(page: &str) {
    let mut open: Vec<&str> = Vec::new();
    for tag in page.split('<').skip(1) {
        let (inside, _) = tag
            .split_once('>')
            .unwrap_or_else(|| panic!("no end of <{tag}"));
        let name = inside
            .trim_start_matches('/')
            .split([' ', '/'])
            .next()
            .unwrap();
        let alone = inside.ends_with('/') || matches!(name, "meta" | "!DOCTYPE");
        if inside.starts_with('/') {
            assert_eq!(open.pop(), Some(name), "</{name}>");
        } else if !alone {
            open.push(name);
        }
    }
    assert!(open.is_empty(), "{open:?}");
}

#[test]
fn a_page_needs_nothing_from_elsewhere_and_escapes_every_text() {
    let page = kept("rich", html::page(&rich(3, 4, HOSTILE)));
    is_well_formed(&page);
    for part in [
        "<script", "http:", "https:", "src=", "href=", "@import", "url(",
    ] {
        assert!(!page.contains(part), "{part}");
    }
    assert!(page.contains("&lt;script&gt;alert(&#39;x&#39;)"));
    assert!(page.contains("sftp://me:") && !page.contains("hush"));
}

#[test]
fn pages_of_every_size_are_whole_and_small() {
    let long = "a-label-that-is-as-long-as-labels-may-be-".repeat(6);
    for (name, line) in [
        ("long_label", rich(1, 1, &long)),
        ("many_backends", rich(40, 4, "monday")),
        ("wide_backend", rich(2, 40, "monday")),
        (
            "nothing",
            Timeline {
                length_ms: 0,
                backends: Vec::new(),
                moved: Vec::new(),
                marks: Vec::new(),
                states: Vec::new(),
                ..rich(1, 1, "monday")
            },
        ),
    ] {
        let page = kept(name, html::page(&line));
        is_well_formed(&page);
        assert!(!page.contains("NaN") && !page.contains("inf"), "{name}");
        assert!(page.len() < 500_000, "{name}: {}", page.len());
    }
}

#[test]
fn a_job_of_two_thousand_tasks_is_a_small_page() {
    let mut history = History::new();
    history.backup("shop", 2_000);
    let page = kept("two_thousand", html::page(&drawn(history, PAGE_PARTS)));
    is_well_formed(&page);
    assert!(page.len() < 100_000, "{}", page.len());
}

#[test]
fn a_job_of_a_hundred_thousand_tasks_stays_small() {
    let mut history = History::new();
    history.backup("shop", 100_000);
    let line = drawn(history.clone(), PAGE_PARTS);
    assert_eq!(line.attempts, 200_006);
    let page = kept("hundred_thousand", html::page(&line));
    is_well_formed(&page);
    assert!(page.len() < 100_000, "{}", page.len());
    let trace = chrome::trace(&drawn(history, TRACE_PARTS));
    assert!(trace.len() < 1_000_000, "{}", trace.len());
}

#[test]
fn every_byte_is_in_the_throughput_and_slices_of_a_row_do_not_overlap() {
    let mut history = History::new();
    history.backup("shop", 1_000);
    for parts in [1, 7, 600, 100_000] {
        let line = drawn(history.clone(), parts);
        assert_eq!(line.moved.iter().sum::<u64>(), line.bytes, "{parts} parts");
        let rows = line.backends.iter().flat_map(|part| &part.rows);
        for row in rows {
            assert!(row.is_sorted_by(|a, b| a.to_ms <= b.from_ms));
        }
        let drawn: u64 = line
            .backends
            .iter()
            .flat_map(|b| b.rows.iter().flatten())
            .map(|s| s.attempts)
            .sum();
        assert_eq!(drawn, line.attempts, "{parts} parts");
    }
}

#[test]
fn the_throughput_of_parts_shorter_than_a_millisecond_is_that_of_their_millisecond() {
    const FINER: u32 = 50;
    let mut history = History::new();
    history.backup("shop", 3);
    let length = u32::try_from(drawn(history.clone(), 1).length_ms).unwrap();
    let coarse = drawn(history.clone(), length).moved;
    let fine = drawn(history, length * FINER).moved;
    assert!(coarse.iter().any(|moved| *moved > 0));
    for (all, parts) in coarse.iter().zip(fine.chunks(FINER as usize)) {
        assert!(parts.iter().sum::<u64>().abs_diff(*all) <= 10);
        // Rounding loses less than a byte for each task.
        let most = all / u64::from(FINER) + 10;
        assert!(parts.iter().all(|part| *part <= most), "{all}: {parts:?}");
    }
}

#[test]
fn a_trace_has_tracks_slices_instants_and_a_counter() {
    let mut history = History::new();
    history.cancelled_backup("shop");
    let trace: Value = serde_json::from_str(&chrome::trace(&drawn(history, TRACE_PARTS))).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let of = |ph: &str, key: &str| -> Vec<String> {
        let found = events.iter().filter(|event| event["ph"] == ph);
        found
            .map(|event| event[key].as_str().unwrap().to_owned())
            .collect()
    };
    assert_eq!(of("i", "name"), ["restart", "error", "stopped", "end"]);
    assert!(of("X", "name").contains(&"SNAPSHOTING".to_owned()));
    assert!(of("C", "name").contains(&"throughput".to_owned()));
    let tracks: Vec<&str> = events
        .iter()
        .filter(|event| event["name"] == "thread_name")
        .map(|event| event["args"]["name"].as_str().unwrap())
        .collect();
    assert_eq!(tracks, ["states", "coordinator", "backend 1"]);
    for slice in events.iter().filter(|event| event["ph"] == "X") {
        assert!(slice["ts"].is_u64() && slice["dur"].is_u64(), "{slice}");
    }
}
