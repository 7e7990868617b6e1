//! Which names a statement may give to something new. The storage holds the same rules and judges
//! last; here they are checked early, for the error numbers that clients know.

use crate::error::{Code, SqlError};

/// Longest name of a database or table in bytes.
const MAX_NAME: usize = 256;
/// Longest name of a partition or column in bytes.
const MAX_PART: usize = 255;
/// Longest label in bytes.
const MAX_LABEL: usize = 128;

fn is_object(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes
        .next()
        .is_some_and(|b| b.is_ascii_alphabetic() || b == b'_')
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'_' || b == b'-')
        && name.len() <= MAX_NAME
}

fn bad_object(code: Code, what: &str, name: &str) -> SqlError {
    let text = format!(
        "{what} name '{}' is not allowed, expected a letter or '_' and then letters, digits, '_' \
         or \
         '-', at most {MAX_NAME}",
        name.escape_debug()
    );
    SqlError::new(code, text)
}

/// The name of a new database.
pub(crate) fn check_database(name: &str) -> Result<(), SqlError> {
    if is_object(name) {
        Ok(())
    } else {
        Err(bad_object(Code::BadDatabaseName, "database", name))
    }
}

/// The name of a new table.
pub(crate) fn check_table(name: &str) -> Result<(), SqlError> {
    if is_object(name) {
        Ok(())
    } else {
        Err(bad_object(Code::BadTableName, "table", name))
    }
}

/// The name of a new partition or column.
pub(crate) fn check_part(what: &str, name: &str) -> Result<(), SqlError> {
    let fine = !name.is_empty()
        && name.len() <= MAX_PART
        && !matches!(name, "." | "..")
        && !name.chars().any(|c| c == '/' || c.is_control());
    if fine {
        return Ok(());
    }
    let text = format!(
        "{what} name '{}' is not allowed, expected 1 to {MAX_PART} bytes without '/' and control \
         characters",
        name.escape_debug()
    );
    Err(SqlError::new(Code::BadName, text))
}

/// A label.
pub(crate) fn check_label(label: &str) -> Result<(), SqlError> {
    let fine = (1..=MAX_LABEL).contains(&label.len())
        && label
            .bytes()
            .all(|b| b.is_ascii_alphanumeric() || b == b'-' || b == b'_');
    if fine {
        return Ok(());
    }
    let shown: String = label.chars().take(MAX_LABEL + 1).collect();
    let text = format!(
        "label '{}' does not match, expected ^[-_A-Za-z0-9]{{1,{MAX_LABEL}}}$",
        shown.escape_debug()
    );
    Err(SqlError::new(Code::BadLabel, text))
}
