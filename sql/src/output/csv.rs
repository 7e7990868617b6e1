//! CSV: a header, then one record a row, quoted as RFC 4180 says.

use crate::show::ResultTable;

/// What stands for NULL, unquoted; the same two characters as a value stand between quotes.
const NULL: &str = "\\N";

/// The result as CSV. Every record ends with a line feed.
pub fn csv(result: &ResultTable) -> String {
    let mut out = String::new();
    let header = result
        .columns
        .iter()
        .map(|column| Some(column.name.as_str()));
    record(&mut out, header, result.columns.len());
    for row in &result.rows {
        record(&mut out, row.iter().map(Option::as_deref), row.len());
    }
    out
}

/// One record with the end of its line, for results that are too long to be held; NULL is `None`.
pub fn csv_record(values: &[Option<&str>]) -> String {
    let mut out = String::new();
    record(&mut out, values.iter().copied(), values.len());
    out
}

fn record<'a>(out: &mut String, values: impl Iterator<Item = Option<&'a str>>, count: usize) {
    for (i, value) in values.enumerate() {
        if i > 0 {
            out.push(',');
        }
        match value {
            None => out.push_str(NULL),
            // A record of one empty value would be an empty line.
            Some(text) if needs_quotes(text) || (count == 1 && text.is_empty()) => {
                out.push('"');
                out.push_str(&text.replace('"', "\"\""));
                out.push('"');
            }
            Some(text) => out.push_str(text),
        }
    }
    out.push('\n');
}

fn needs_quotes(text: &str) -> bool {
    text == NULL || text.contains([',', '"', '\n', '\r'])
}
