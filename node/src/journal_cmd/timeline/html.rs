//! A time line as a page of its own: markup, style and an SVG picture, nothing from elsewhere and no
//! script. Every text that came from the journal is escaped.

use std::fmt::Write as _;

use holdfast_engine::Clock as _;
use holdfast_engine::story::{
    BackendRows, Mark, MarkKind, Slice, StateSpan, Timeline, bytes, count, duration,
};
use holdfast_sql::secret::mask_text;

use super::{called, named};
use crate::host::{SystemClock, time_text};

/// The picture's measures, in its own units.
const WIDTH: f64 = 1200.0;
const GUTTER: f64 = 130.0;
const RIGHT: f64 = 20.0;
const STATE_HEIGHT: f64 = 26.0;
const CHART_HEIGHT: f64 = 90.0;
const GAP: f64 = 12.0;
/// Rows of one backend that are drawn; the rest is said.
const ROWS: usize = 16;
/// Marks that the list below the picture names.
const LISTED: usize = 40;

const STYLE: &str = "\
:root{color-scheme:light dark;--bg:#fff;--ink:#1d2129;--soft:#69707d;--line:#d9dde3;--row:#f3f5f8;\
--s1:#9aa5b8;--s2:#6c8ebf;--s3:#8f7fc4;--s4:#3b82c4;--s5:#b08a3e;--s6:#4f9d8a;--s7:#4f9d5d;\
--task:#3b82c4;--bad:#cf3a3a;--cut:#d98a1f;--flow:#3b9d78;--open:#7a5cc0;--commit:#b0399a}\
@media(prefers-color-scheme:dark){:root{--bg:#15181d;--ink:#e4e7ec;--soft:#98a1b0;--line:#333a45;--row:#1d2229;\
--s1:#66738a;--s2:#4a6fa5;--s3:#75659f;--s4:#2f74b5;--s5:#94742f;--s6:#3c8070;--s7:#3f8350;\
--task:#4a94d6;--bad:#ee5f5f;--cut:#e9a443;--flow:#46b58b;--open:#a48be0;--commit:#e07acb}}\
body{margin:0;background:var(--bg);color:var(--ink);font:14px/1.45 system-ui,sans-serif}\
main{max-width:1240px;margin:0 auto;padding:20px}h1{font-size:20px;margin:0 0 4px;overflow-wrap:anywhere}\
h2{font-size:15px;margin:22px 0 6px}p{margin:2px 0;color:var(--soft);overflow-wrap:anywhere}\
.facts{display:flex;flex-wrap:wrap;gap:6px 26px;margin:12px 0 14px}.facts b{display:block;font-size:16px}\
.facts span{color:var(--soft);font-size:12px}.picture{overflow-x:auto}svg{display:block;width:100%;min-width:860px;height:auto}\
svg text{fill:var(--ink);font:12px system-ui,sans-serif}svg .soft{fill:var(--soft);font-size:11px}\
svg .on{fill:#fff;font-size:11px;pointer-events:none}.grid{stroke:var(--line)}.row{fill:var(--row)}\
.task{fill:var(--task)}.failed{fill:var(--bad)}.cut{fill:var(--cut)}.flow{fill:var(--flow);opacity:.75}\
.m-error{stroke:var(--bad);fill:var(--bad)}.m-stopped{stroke:var(--bad);fill:var(--bad)}\
.m-restart{stroke:var(--open);fill:var(--open)}.m-commit{stroke:var(--commit);fill:var(--commit)}\
.m-end{stroke:var(--soft);fill:var(--soft)}.key{display:flex;flex-wrap:wrap;gap:4px 18px;color:var(--soft);font-size:12px;margin:8px 0}\
.key i{display:inline-block;width:11px;height:11px;margin-right:5px;border-radius:2px;vertical-align:-1px}\
table{border-collapse:collapse;width:100%}td,th{text-align:left;padding:3px 14px 3px 0;border-bottom:1px solid var(--line);\
vertical-align:top;overflow-wrap:anywhere}th{color:var(--soft);font-weight:500}td.n{white-space:nowrap;font-variant-numeric:tabular-nums}";

/// The page.
pub(super) fn page(line: &Timeline) -> String {
    let clock = SystemClock::new();
    let title = format!(
        "{} {} '{}' of database '{}'",
        if line.kind == "BACKUP" {
            "Backup"
        } else {
            "Restore"
        },
        line.job,
        line.label,
        line.database
    );
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\
         <title>{0}</title><style>{STYLE}</style></head><body><main>\n<h1>{0}</h1>\n<p>repository '{1}', accepted {2}</p>\n",
        escape(&title),
        escape(&line.repository),
        time_text(&clock, line.accepted_ms)
    );
    facts(line, &mut out);
    picture(line, &mut out);
    key(&mut out);
    states_table(line, &mut out);
    marks_table(line, &clock, &mut out);
    out.push_str("</main></body></html>\n");
    out
}

fn facts(line: &Timeline, out: &mut String) {
    let rate = match line.length_ms {
        0 => "–".to_owned(),
        ms => format!(
            "{}/s",
            bytes((line.bytes as f64 * 1000.0 / ms as f64) as u64)
        ),
    };
    let errors: u64 = line
        .marks
        .iter()
        .filter(|mark| mark.kind == MarkKind::Error)
        .map(|mark| mark.count)
        .fold(0, u64::saturating_add);
    let restarts: u64 = line
        .marks
        .iter()
        .filter(|mark| mark.kind == MarkKind::Restart)
        .map(|mark| mark.count)
        .fold(0, u64::saturating_add);
    out.push_str("<div class=\"facts\">");
    for (what, value) in [
        ("state", line.state.to_owned()),
        ("shown", duration(line.length_ms)),
        ("moved", bytes(line.bytes)),
        ("on average", rate),
        ("task attempts", line.attempts.to_string()),
        ("errors", errors.to_string()),
        ("restarts", restarts.to_string()),
    ] {
        let _ = write!(
            out,
            "<div><span>{what}</span><b>{}</b></div>",
            escape(&value)
        );
    }
    out.push_str("</div>\n");
}

/// Where a time lies across the picture.
struct Scale {
    length_ms: f64,
}

impl Scale {
    fn x(&self, ms: u64) -> f64 {
        GUTTER + ms as f64 / self.length_ms * (WIDTH - GUTTER - RIGHT)
    }

    /// Left end and width of a span, wide enough to be seen.
    fn span(&self, from_ms: u64, to_ms: u64) -> (f64, f64) {
        let from = self.x(from_ms);
        (from, (self.x(to_ms) - from).max(1.0))
    }
}

fn picture(line: &Timeline, out: &mut String) {
    let scale = Scale {
        length_ms: line.length_ms.max(1) as f64,
    };
    let mut body = String::new();
    let mut y = 26.0;
    let top = y;
    let _ = write!(body, "<text x=\"0\" y=\"{:.1}\">states</text>", y + 17.0);
    for span in &line.states {
        state(span, &scale, y, &mut body);
    }
    y += STATE_HEIGHT + GAP;
    let rows: usize = line.backends.iter().map(|b| b.rows.len().min(ROWS)).sum();
    let row_height = match rows {
        0..=16 => 16.0,
        17..=48 => 10.0,
        _ => 6.0,
    };
    for part in &line.backends {
        y = backend(part, &scale, (y, row_height), &mut body);
    }
    y = chart(line, &scale, y, &mut body);
    let mut under = String::new();
    axis(line, &scale, (top, y), &mut under);
    let mut over = String::new();
    for mark in &line.marks {
        flag(mark, &scale, (top, y), &mut over);
    }
    let _ = writeln!(
        out,
        "<div class=\"picture\"><svg viewBox=\"0 0 {WIDTH} {:.0}\" role=\"img\" aria-label=\"time line\">{under}{body}{over}</svg></div>",
        y + 22.0
    );
}

fn state(span: &StateSpan, scale: &Scale, y: f64, out: &mut String) {
    let (x, width) = scale.span(span.from_ms, span.to_ms);
    let work = span
        .work
        .map_or_else(String::new, |work| format!(" ({work:?})"));
    let tip = format!(
        "{}{work}: {}",
        span.state,
        duration(span.to_ms.saturating_sub(span.from_ms))
    );
    let colour = match span.state {
        "PENDING" => 1,
        "SNAPSHOTING" | "SNAPSHOTTING" => 2,
        "UPLOAD_SNAPSHOT" | "DOWNLOAD" => 3,
        "UPLOADING" | "DOWNLOADING" => 4,
        "SAVE_META" | "COMMIT" => 5,
        "UPLOAD_INFO" | "COMMITTING" => 6,
        _ => 7,
    };
    let _ = write!(
        out,
        "<g><title>{}</title><rect x=\"{x:.1}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{STATE_HEIGHT}\" rx=\"2\" style=\"fill:var(--s{colour})\"/>",
        escape(&tip)
    );
    // About 6.6 units a letter; a name that does not fit is in the tip and in the table.
    if width > span.state.len() as f64 * 7.4 + 8.0 {
        let _ = write!(
            out,
            "<text class=\"on\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
            x + 5.0,
            y + 17.0,
            escape(span.state)
        );
    }
    out.push_str("</g>");
}

/// The rows of one backend; gives where they end.
fn backend(part: &BackendRows, scale: &Scale, (y, height): (f64, f64), out: &mut String) -> f64 {
    let mut at = y;
    let _ = write!(
        out,
        "<text x=\"0\" y=\"{:.1}\">{}</text>",
        y + 12.0,
        escape(&named(part.backend))
    );
    for slices in part.rows.iter().take(ROWS) {
        let _ = write!(
            out,
            "<rect class=\"row\" x=\"{GUTTER}\" y=\"{at:.1}\" width=\"{:.1}\" height=\"{:.1}\"/>",
            WIDTH - GUTTER - RIGHT,
            height - 1.0
        );
        for one in slices {
            slice(one, scale, (at, height - 1.0), out);
        }
        at += height;
    }
    if part.rows.len() > ROWS {
        let _ = write!(
            out,
            "<text class=\"soft\" x=\"{GUTTER}\" y=\"{:.1}\">and {} more at once</text>",
            at + 11.0,
            part.rows.len() - ROWS
        );
        at += 14.0;
    }
    // Room for the name, where one low row has less.
    at.max(y + 16.0) + GAP / 2.0
}

fn slice(slice: &Slice, scale: &Scale, (y, height): (f64, f64), out: &mut String) {
    let (x, width) = scale.span(slice.from_ms, slice.to_ms);
    let class = match (slice.failed, slice.cut_off) {
        (0, 0) => "task",
        (failed, _) if failed > 0 => "failed",
        _ => "cut",
    };
    let mut tip = format!(
        "{}: {}",
        called(slice),
        duration(slice.to_ms.saturating_sub(slice.from_ms))
    );
    if slice.bytes > 0 {
        let _ = write!(tip, ", {}", bytes(slice.bytes));
    }
    if slice.failed > 0 {
        let _ = write!(tip, ", {} failed", slice.failed);
    }
    if slice.cut_off > 0 {
        let _ = write!(tip, ", {} cut off", slice.cut_off);
    }
    // A gap between neighbours, where there is room for one.
    let drawn = if width > 3.0 { width - 0.8 } else { width };
    let _ = write!(
        out,
        "<rect class=\"{class}\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{drawn:.1}\" height=\"{height:.1}\"><title>{}</title></rect>",
        escape(&tip)
    );
    // Where only some of many failed, a part of the height is red.
    if slice.failed > 0 && slice.attempts > slice.failed {
        let part = height * (1.0 - slice.failed as f64 / slice.attempts as f64);
        let _ = write!(
            out,
            "<rect class=\"task\" x=\"{x:.1}\" y=\"{y:.1}\" width=\"{drawn:.1}\" height=\"{part:.1}\" pointer-events=\"none\"/>"
        );
    }
}

/// The throughput; gives where it ends.
fn chart(line: &Timeline, scale: &Scale, y: f64, out: &mut String) -> f64 {
    let y = y + GAP / 2.0;
    let bottom = y + CHART_HEIGHT;
    let most = line.moved.iter().copied().max().unwrap_or(0);
    let parts = line.moved.len().max(1) as f64;
    let part_ms = scale.length_ms / parts;
    let peak = (most as f64 / part_ms * 1000.0) as u64;
    let _ = write!(
        out,
        "<text x=\"0\" y=\"{:.1}\">throughput</text><text class=\"soft\" x=\"0\" y=\"{:.1}\">peak {}/s</text>\
         <rect class=\"row\" x=\"{GUTTER}\" y=\"{y:.1}\" width=\"{:.1}\" height=\"{CHART_HEIGHT}\"/>",
        y + 12.0,
        y + 28.0,
        escape(&bytes(peak)),
        WIDTH - GUTTER - RIGHT
    );
    if most > 0 {
        let step = (WIDTH - GUTTER - RIGHT) / parts;
        let mut path = format!("M{GUTTER:.1} {bottom:.1}");
        let mut last = u64::MAX;
        for (at, moved) in line.moved.iter().enumerate() {
            if *moved != last {
                let height = *moved as f64 / most as f64 * (CHART_HEIGHT - 6.0);
                let _ = write!(
                    path,
                    "H{:.1}V{:.1}",
                    GUTTER + at as f64 * step,
                    bottom - height
                );
            }
            last = *moved;
        }
        let _ = write!(
            out,
            "<path class=\"flow\" d=\"{path}H{:.1}V{bottom:.1}Z\"><title>peak {}/s, {} in all</title></path>",
            WIDTH - RIGHT,
            escape(&bytes(peak)),
            escape(&bytes(line.bytes))
        );
    }
    bottom
}

/// Ticks at round times.
fn axis(line: &Timeline, scale: &Scale, (top, bottom): (f64, f64), out: &mut String) {
    const STEPS: [u64; 25] = [
        1,
        2,
        5,
        10,
        20,
        50,
        100,
        200,
        500,
        1_000,
        2_000,
        5_000,
        10_000,
        30_000,
        60_000,
        120_000,
        300_000,
        600_000,
        1_800_000,
        3_600_000,
        7_200_000,
        21_600_000,
        43_200_000,
        86_400_000,
        604_800_000,
    ];
    let step = STEPS
        .into_iter()
        .find(|step| line.length_ms / step <= 10)
        .unwrap_or_else(|| line.length_ms.div_ceil(10));
    let ticks = std::iter::successors(Some(0_u64), |at| at.checked_add(step));
    for at in ticks.take_while(|at| *at <= line.length_ms) {
        let x = scale.x(at);
        let _ = write!(
            out,
            "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\"/>\
             <text class=\"soft\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
            bottom + 15.0,
            tick(at)
        );
    }
}

/// A time from the start, short.
fn tick(ms: u64) -> String {
    match ms {
        0 => "0".to_owned(),
        1..1_000 => format!("{ms} ms"),
        1_000..60_000 if ms.is_multiple_of(1_000) => format!("{} s", ms / 1_000),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 if ms.is_multiple_of(60_000) => format!("{} min", ms / 60_000),
        60_000..3_600_000 => format!("{}:{:02} min", ms / 60_000, ms % 60_000 / 1_000),
        _ => format!("{}:{:02} h", ms / 3_600_000, ms % 3_600_000 / 60_000),
    }
}

fn flag(mark: &Mark, scale: &Scale, (top, bottom): (f64, f64), out: &mut String) {
    let x = scale.x(mark.at_ms);
    let class = class(mark.kind);
    let dash = match mark.kind {
        MarkKind::Restart => " stroke-dasharray=\"4 3\"",
        MarkKind::Error => " stroke-opacity=\".25\"",
        _ => "",
    };
    let _ = write!(
        out,
        "<g class=\"m-{class}\"><title>{}</title><line x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top:.1}\" y2=\"{bottom:.1}\"{dash}/>\
         <path d=\"M{:.1} 12H{:.1}L{x:.1} 22Z\"/></g>",
        escape(&mask_text(&words(mark))),
        x - 5.0,
        x + 5.0
    );
}

fn class(kind: MarkKind) -> &'static str {
    match kind {
        MarkKind::Restart => "restart",
        MarkKind::Error => "error",
        MarkKind::Stopped => "stopped",
        MarkKind::Commit => "commit",
        MarkKind::End => "end",
    }
}

fn words(mark: &Mark) -> String {
    let at = duration(mark.at_ms);
    let more = match mark.count {
        1 => String::new(),
        some => format!(" (and {} more close by)", some - 1),
    };
    format!("{} at {at}: {}{more}", class(mark.kind), mark.words)
}

fn key(out: &mut String) {
    out.push_str("<div class=\"key\">");
    for (colour, what) in [
        ("task", "task"),
        ("bad", "failed attempt, error, stop"),
        ("cut", "cut off by a restart or a cancel"),
        ("open", "restart of the engine"),
        ("commit", "point of no return"),
        ("flow", "bytes moved"),
    ] {
        let _ = write!(
            out,
            "<span><i style=\"background:var(--{colour})\"></i>{what}</span>"
        );
    }
    out.push_str("<span>Short tasks side by side are drawn as one; point at a shape for its figures.</span></div>\n");
}

fn states_table(line: &Timeline, out: &mut String) {
    out.push_str(
        "<h2>States</h2><table><tr><th>state</th><th>work</th><th>from</th><th>took</th></tr>\n",
    );
    for span in &line.states {
        let work = span
            .work
            .map_or_else(String::new, |work| format!("{work:?}"));
        let _ = writeln!(
            out,
            "<tr><td>{}</td><td>{}</td><td class=\"n\">{}</td><td class=\"n\">{}</td></tr>",
            escape(span.state),
            escape(&work),
            duration(span.from_ms),
            duration(span.to_ms.saturating_sub(span.from_ms))
        );
    }
    out.push_str("</table>\n");
}

fn marks_table(line: &Timeline, clock: &SystemClock, out: &mut String) {
    out.push_str("<h2>What happened</h2><table><tr><th>time</th><th>after</th><th>what</th><th>words</th></tr>\n");
    for mark in line.marks.iter().take(LISTED) {
        let more = match mark.count {
            1 => String::new(),
            some => format!(" ×{some}"),
        };
        let _ = writeln!(
            out,
            "<tr><td class=\"n\">{}</td><td class=\"n\">{}</td><td class=\"n\">{}{more}</td><td>{}</td></tr>",
            time_text(clock, line.accepted_ms.saturating_add(mark.at_ms)),
            duration(mark.at_ms),
            class(mark.kind),
            escape(&mask_text(&mark.words))
        );
    }
    out.push_str("</table>\n");
    if line.marks.len() > LISTED {
        let left = (line.marks.len() - LISTED) as u64;
        let _ = writeln!(out, "<p>and {}</p>", count(left, "more mark"));
    }
    let offset = clock.utc_offset_seconds(line.accepted_ms);
    let sign = if offset < 0 { '-' } else { '+' };
    let minutes = offset.unsigned_abs() / 60;
    let _ = writeln!(
        out,
        "<p>Times are {sign}{:02}:{:02} from UTC, as the monotonic clock counts from the acceptance.</p>",
        minutes / 60,
        minutes % 60
    );
}

/// A text as it may stand in markup, in an attribute too.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for ch in text.chars() {
        match ch {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // No text may hold these in HTML.
            ch if ch.is_control() => out.push('\u{fffd}'),
            ch => out.push(ch),
        }
    }
    out
}
