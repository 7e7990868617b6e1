//! The columns of CREATE TABLE.

use std::collections::BTreeSet;

use holdfast_storage::model::Column;
use sqlparser::tokenizer::Token;

use crate::cursor::Cursor;
use crate::error::{Code, SqlError};
use crate::names;
use crate::parse::unsupported;

use super::types::{self, Class};

/// The default of a DATETIME column that takes the moment of the load.
pub(super) const NOW: &str = "CURRENT_TIMESTAMP";

const AGGREGATIONS: [&str; 8] = [
    "SUM",
    "MIN",
    "MAX",
    "REPLACE",
    "REPLACE_IF_NOT_NULL",
    "HLL_UNION",
    "BITMAP_UNION",
    "PERCENTILE_UNION",
];

/// A column as written.
#[derive(Debug)]
pub(super) struct Draft {
    /// The column; nullable where nothing was said.
    pub(super) column: Column,
    /// Whether NULL or NOT NULL was said.
    pub(super) nullness: Option<bool>,
}

/// `(column, …)`; `()` makes a table of files, without columns.
pub(super) fn columns(cursor: &mut Cursor<'_>) -> Result<Vec<Draft>, SqlError> {
    if cursor.is_token(&Token::LParen) && cursor.peek_at(1) == Some(&Token::RParen) {
        cursor.advance();
        cursor.advance();
        return Ok(Vec::new());
    }
    let drafts = cursor.list(column)?;
    let mut seen = BTreeSet::new();
    for draft in &drafts {
        if !seen.insert(draft.column.name.to_lowercase()) {
            let text = format!(
                "column '{}' is listed twice, expected each once",
                draft.column.name
            );
            return Err(SqlError::new(Code::DuplicateColumn, text));
        }
    }
    Ok(drafts)
}

fn column(cursor: &mut Cursor<'_>) -> Result<Draft, SqlError> {
    let listed = matches!(
        (cursor.peek_at(2), cursor.peek_at(3)),
        (Some(Token::LParen), Some(Token::Word(_)))
    );
    if cursor.is("INDEX") && listed {
        return Err(unsupported(
            "INDEX",
            "only data files are kept, not indexes over them",
        ));
    }
    let name = cursor.ident("column")?;
    names::check_part("column", &name)?;
    let data_type = types::data_type(cursor)?;
    let mut draft = Draft {
        column: Column {
            name,
            data_type,
            nullable: true,
            default: None,
            aggregation: None,
            comment: String::new(),
        },
        nullness: None,
    };
    let mut default = None;
    while !matches!(cursor.peek(), None | Some(Token::Comma | Token::RParen)) {
        attribute(cursor, &mut draft, &mut default)?;
    }
    draft.column.nullable = draft.nullness.unwrap_or(true);
    if let Some(default) = default {
        draft.column.default = checked_default(&draft, default)?;
    }
    Ok(draft)
}

/// What follows DEFAULT.
#[derive(Debug)]
enum Default {
    Null,
    Now,
    Literal(String),
}

fn attribute(
    cursor: &mut Cursor<'_>,
    draft: &mut Draft,
    default: &mut Option<Default>,
) -> Result<(), SqlError> {
    const EXPECTED: &str = "an aggregation, NULL, NOT NULL, DEFAULT, COMMENT, ',' or ')'";
    let column = &mut draft.column;
    for word in ["AUTO_INCREMENT", "AS", "GENERATED"] {
        if cursor.is(word) {
            let what = format!("{word} of column '{}'", column.name);
            return Err(unsupported(&what, "values come from loads alone"));
        }
    }
    if cursor.is("NOT") && draft.nullness.is_none() {
        cursor.advance();
        cursor.expect("NULL")?;
        draft.nullness = Some(false);
    } else if cursor.is("NULL") && draft.nullness.is_none() {
        cursor.advance();
        draft.nullness = Some(true);
    } else if cursor.is("DEFAULT") && default.is_none() {
        cursor.advance();
        *default = Some(default_value(cursor)?);
    } else if cursor.is("COMMENT") && column.comment.is_empty() {
        cursor.advance();
        column.comment = cursor.string("a comment")?;
    } else if let Some(name) = AGGREGATIONS.iter().find(|name| cursor.is(name))
        && column.aggregation.is_none()
    {
        cursor.advance();
        column.aggregation = Some((*name).to_owned());
    } else {
        return Err(cursor.unexpected(EXPECTED));
    }
    Ok(())
}

fn default_value(cursor: &mut Cursor<'_>) -> Result<Default, SqlError> {
    if cursor.eat("NULL") {
        return Ok(Default::Null);
    }
    if cursor.eat_any(&[NOW, "NOW"]) {
        if cursor.eat_token(&Token::LParen) {
            if matches!(cursor.peek(), Some(Token::Number(..))) {
                cursor.advance();
            }
            cursor.expect_token(&Token::RParen)?;
        }
        return Ok(Default::Now);
    }
    for (word, text) in [("TRUE", "true"), ("FALSE", "false")] {
        if cursor.eat(word) {
            return Ok(Default::Literal(text.to_owned()));
        }
    }
    if cursor.is_token(&Token::LParen) {
        return Err(unsupported(
            "DEFAULT (expression)",
            "a default is a literal here",
        ));
    }
    literal(cursor, "a default value").map(Default::Literal)
}

/// A string or a number, perhaps with a minus, as its text.
pub(super) fn literal(cursor: &mut Cursor<'_>, what: &str) -> Result<String, SqlError> {
    let minus = cursor.is_token(&Token::Minus);
    match cursor.peek_at(usize::from(minus)) {
        Some(Token::Number(digits, _)) => {
            cursor.advance();
            if minus {
                cursor.advance();
                return Ok(format!("-{digits}"));
            }
            Ok(digits.clone())
        }
        Some(Token::SingleQuotedString(_) | Token::DoubleQuotedString(_)) if !minus => {
            cursor.string(what)
        }
        _ => Err(cursor.unexpected(what)),
    }
}

fn checked_default(draft: &Draft, default: Default) -> Result<Option<String>, SqlError> {
    let column = &draft.column;
    let wrong = |found: &str, expected: &str| {
        let text = format!(
            "default {found} of column '{}' of type {}, expected {expected}",
            column.name, column.data_type
        );
        Err(SqlError::new(Code::BadDefault, text))
    };
    let class = types::class(&column.data_type);
    let text = match default {
        Default::Null if column.nullable => return Ok(None),
        Default::Null => return wrong("NULL", "a value, as the column is NOT NULL"),
        Default::Now if class == Class::DateTime => return Ok(Some(NOW.to_owned())),
        Default::Now => return wrong(NOW, "it only of a DATETIME column"),
        Default::Literal(text) => text,
    };
    let shown = format!("'{}'", text.escape_debug());
    let fine = match class {
        Class::Integer | Class::Boolean | Class::Date | Class::DateTime => {
            types::normal_literal(class, &text).is_some()
        }
        Class::Decimal | Class::Float => types::is_number(&text),
        Class::Text | Class::Other => true,
    };
    if !fine {
        return wrong(&shown, "a value of that type");
    }
    match types::max_bytes(&column.data_type) {
        Some(max) if text.len() > max => wrong(&shown, &format!("{max} bytes at most")),
        _ => Ok(Some(text)),
    }
}
