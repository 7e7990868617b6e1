//! Tables for people: aligned columns, or one line a value where a row is too wide. May change at
//! any time.

use unicode_width::UnicodeWidthStr;

use crate::show::ResultTable;

/// The result as a table with borders; where it is wider than `width` (in terminal columns), as
/// [`vertical`].
pub fn table(result: &ResultTable, width: Option<usize>) -> String {
    let cells: Vec<Vec<Vec<String>>> = result
        .rows
        .iter()
        .map(|row| row.iter().map(|value| lines(value.as_deref())).collect())
        .collect();
    let header: Vec<Vec<String>> = result
        .columns
        .iter()
        .map(|column| lines(Some(&column.name)))
        .collect();
    let mut widths: Vec<usize> = vec![1; header.len()];
    for row in std::iter::once(&header).chain(&cells) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell
                .iter()
                .map(|line| line.width())
                .max()
                .unwrap_or_default()
                .max(*width);
        }
    }
    let total = widths.iter().map(|width| width + 3).sum::<usize>() + 1;
    if width.is_some_and(|width| total > width) && !cells.is_empty() {
        return vertical(result);
    }
    let numeric: Vec<bool> = (0..header.len())
        .map(|at| is_numeric(result.rows.iter().map(|row| row.get(at))))
        .collect();
    let left = vec![false; header.len()];
    let rule = rule(&widths);
    let mut out = rule.clone();
    push_row(&mut out, &header, &widths, &left);
    out.push_str(&rule);
    for row in &cells {
        push_row(&mut out, row, &widths, &numeric);
    }
    if !cells.is_empty() {
        out.push_str(&rule);
    }
    out
}

/// The result with one line a value, names to the left, rows apart.
pub fn vertical(result: &ResultTable) -> String {
    let widest = result
        .columns
        .iter()
        .map(|column| column.name.width())
        .max()
        .unwrap_or_default();
    let mut out = String::new();
    for (i, row) in result.rows.iter().enumerate() {
        let stars = "*".repeat(27);
        out.push_str(&format!("{stars} {}. row {stars}\n", i + 1));
        for (column, value) in result.columns.iter().zip(row) {
            let mut name = column.name.as_str();
            for line in lines(value.as_deref()) {
                out.push_str(&" ".repeat(widest.saturating_sub(name.width())));
                out.push_str(name);
                out.push_str(if name.is_empty() { "  " } else { ": " });
                out.push_str(line.trim_end());
                out.push('\n');
                name = "";
            }
        }
    }
    out
}

/// A value as the lines it takes. Control characters are shown, never sent to a terminal.
fn lines(value: Option<&str>) -> Vec<String> {
    let Some(text) = value else {
        return vec!["NULL".to_owned()];
    };
    let clean = |line: &str| {
        let mut out = String::with_capacity(line.len());
        for ch in line.chars() {
            if ch.is_control() {
                out.extend(ch.escape_default());
            } else {
                out.push(ch);
            }
        }
        out
    };
    text.split('\n').map(clean).collect()
}

fn is_numeric<'a>(values: impl Iterator<Item = Option<&'a Option<String>>>) -> bool {
    let mut any = false;
    for value in values.flatten().flatten() {
        let digits = value.strip_prefix('-').unwrap_or(value);
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return false;
        }
        any = true;
    }
    any
}

fn rule(widths: &[usize]) -> String {
    let mut out = String::from("+");
    for width in widths {
        out.push_str(&"-".repeat(width + 2));
        out.push('+');
    }
    out.push('\n');
    out
}

fn push_row(out: &mut String, cells: &[Vec<String>], widths: &[usize], right: &[bool]) {
    let height = cells.iter().map(Vec::len).max().unwrap_or(1);
    for line in 0..height {
        out.push('|');
        for ((cell, width), right) in cells.iter().zip(widths).zip(right) {
            let text = cell.get(line).map_or("", String::as_str);
            let blanks = " ".repeat(width.saturating_sub(text.width()));
            if *right {
                out.push_str(&format!(" {blanks}{text} |"));
            } else {
                out.push_str(&format!(" {text}{blanks} |"));
            }
        }
        out.push('\n');
    }
}
