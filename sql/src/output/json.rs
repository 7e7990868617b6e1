//! JSON: one line, an array of objects in column order.

use crate::show::ResultTable;

/// The result as one line without its end: an array of objects whose members stand in column order,
/// every value a string or null; `[]` where there are no rows.
pub fn json(result: &ResultTable) -> String {
    let names: Vec<String> = result
        .columns
        .iter()
        .map(|column| string(&column.name))
        .collect();
    let mut out = String::from("[");
    for (i, row) in result.rows.iter().enumerate() {
        out.push_str(if i == 0 { "{" } else { ",{" });
        for (j, name) in names.iter().enumerate() {
            if j > 0 {
                out.push(',');
            }
            out.push_str(name);
            out.push(':');
            match row.get(j).and_then(Option::as_deref) {
                Some(text) => push_string(&mut out, text),
                None => out.push_str("null"),
            }
        }
        out.push('}');
    }
    out.push(']');
    out
}

/// A text as a JSON string with its quotes.
pub(crate) fn string(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    push_string(&mut out, text);
    out
}

fn push_string(out: &mut String, text: &str) {
    out.push('"');
    for ch in text.chars() {
        match ch {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            // Line separators are legal in JSON but end a line for some readers of "one line each".
            ch if ch.is_control() || matches!(ch, '\u{2028}' | '\u{2029}') => {
                out.push_str(&format!("\\u{:04x}", u32::from(ch)));
            }
            ch => out.push(ch),
        }
    }
    out.push('"');
}
