//! Column types: their normal spelling, and which literals belong to them.

use sqlparser::tokenizer::Token;

use crate::cursor::Cursor;
use crate::error::{Code, SqlError};

/// Types without parameters: every spelling, and the normal one.
const PLAIN: [(&str, &str); 28] = [
    ("BOOLEAN", "BOOLEAN"),
    ("BOOL", "BOOLEAN"),
    ("TINYINT", "TINYINT"),
    ("SMALLINT", "SMALLINT"),
    ("INT", "INT"),
    ("INTEGER", "INT"),
    ("BIGINT", "BIGINT"),
    ("LARGEINT", "LARGEINT"),
    ("FLOAT", "FLOAT"),
    ("DOUBLE", "DOUBLE"),
    ("DATE", "DATE"),
    ("DATEV2", "DATE"),
    ("DATETIME", "DATETIME"),
    ("DATETIMEV2", "DATETIME"),
    ("TIMESTAMP", "DATETIME"),
    ("STRING", "STRING"),
    ("TEXT", "STRING"),
    ("JSON", "JSON"),
    ("JSONB", "JSON"),
    ("VARIANT", "VARIANT"),
    ("BITMAP", "BITMAP"),
    ("HLL", "HLL"),
    ("PERCENTILE", "PERCENTILE"),
    ("CHAR", "CHAR"),
    ("VARCHAR", "VARCHAR"),
    ("VARBINARY", "VARBINARY"),
    ("BINARY", "VARBINARY"),
    ("DECIMAL", "DECIMAL"),
];

/// Other spellings of DECIMAL.
const DECIMALS: [&str; 7] = [
    "DECIMALV2",
    "DECIMALV3",
    "DECIMAL32",
    "DECIMAL64",
    "DECIMAL128",
    "DECIMAL256",
    "NUMERIC",
];

const KNOWN: &str = "BOOLEAN, TINYINT, SMALLINT, INT, BIGINT, LARGEINT, FLOAT, DOUBLE, \
    DECIMAL(p,s), DATE, \
                     DATETIME, CHAR(n), VARCHAR(n), STRING, VARBINARY, JSON, VARIANT, BITMAP, HLL, \
                     PERCENTILE, \
                     ARRAY<..>, MAP<..,..> or STRUCT<..>";

const MAX_CHAR: u32 = 255;
const MAX_VARCHAR: u32 = 1_048_576;
const MAX_PRECISION: u32 = 76;
const MAX_FRACTION: u32 = 6;

/// Reads a type and gives its normal spelling, such as `DECIMAL(15,2)`.
pub(super) fn data_type(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    let Some(Token::Word(word)) = cursor.peek() else {
        return Err(cursor.unexpected("a column type"));
    };
    let written = word.value.to_ascii_uppercase();
    let plain = PLAIN
        .iter()
        .find(|(name, _)| *name == written)
        .map(|(_, normal)| *normal);
    let plain = plain.or_else(|| DECIMALS.contains(&written.as_str()).then_some("DECIMAL"));
    if let Some(normal) = plain {
        cursor.advance();
        return parameters(cursor, normal);
    }
    match written.as_str() {
        "ARRAY" | "MAP" | "STRUCT" => {
            cursor.advance();
            cursor.nested(|cursor| composite(cursor, &written))
        }
        _ => {
            let shown: String = word.value.chars().take(60).collect();
            let text = format!("unknown column type '{shown}', expected {KNOWN}");
            Err(SqlError::new(Code::BadType, text))
        }
    }
}

fn composite(cursor: &mut Cursor<'_>, name: &str) -> Result<String, SqlError> {
    cursor.expect_token(&Token::Lt)?;
    let inner = match name {
        "ARRAY" => data_type(cursor)?,
        "MAP" => {
            let key = data_type(cursor)?;
            cursor.expect_token(&Token::Comma)?;
            format!("{key},{}", data_type(cursor)?)
        }
        _ => {
            let mut fields = Vec::new();
            loop {
                let field = cursor.ident("field")?;
                cursor.eat_token(&Token::Colon);
                fields.push(format!(
                    "{} {}",
                    super::quoted_name(&field),
                    data_type(cursor)?
                ));
                if cursor.is_half() || !cursor.eat_token(&Token::Comma) {
                    break;
                }
            }
            fields.join(", ")
        }
    };
    cursor.expect_closing_angle()?;
    Ok(format!("{name}<{inner}>"))
}

fn parameters(cursor: &mut Cursor<'_>, name: &str) -> Result<String, SqlError> {
    let given: Vec<u32> = if !cursor.is_half() && cursor.is_token(&Token::LParen) {
        cursor.list(|cursor| cursor.integer("a whole number"))?
    } else {
        Vec::new()
    };
    let wrong = |expected: &str| {
        let found: Vec<String> = given.iter().map(u32::to_string).collect();
        let text = format!(
            "column type {name}({}), expected {expected}",
            found.join(",")
        );
        Err(SqlError::new(Code::BadType, text))
    };
    match (name, given.as_slice()) {
        ("CHAR", []) => Ok("CHAR(1)".to_owned()),
        ("CHAR", [n]) if (1..=MAX_CHAR).contains(n) => Ok(format!("CHAR({n})")),
        ("CHAR", _) => wrong("CHAR(n) with n from 1 to 255"),
        ("VARCHAR", [n]) if (1..=MAX_VARCHAR).contains(n) => Ok(format!("VARCHAR({n})")),
        ("VARCHAR", _) => wrong("VARCHAR(n) with n from 1 to 1048576"),
        ("VARBINARY", []) => Ok("VARBINARY".to_owned()),
        ("VARBINARY", [n]) if (1..=MAX_VARCHAR).contains(n) => Ok(format!("VARBINARY({n})")),
        ("VARBINARY", _) => wrong("VARBINARY(n) with n from 1 to 1048576"),
        ("DECIMAL", []) => Ok("DECIMAL(10,0)".to_owned()),
        ("DECIMAL", [p]) if (1..=MAX_PRECISION).contains(p) => Ok(format!("DECIMAL({p},0)")),
        ("DECIMAL", [p, s]) if (1..=MAX_PRECISION).contains(p) && s <= p => {
            Ok(format!("DECIMAL({p},{s})"))
        }
        ("DECIMAL", _) => wrong("DECIMAL(p,s) with p from 1 to 76 and s from 0 to p"),
        ("DATETIME", [0]) => Ok("DATETIME".to_owned()),
        ("DATETIME", [n]) if *n <= MAX_FRACTION => Ok(format!("DATETIME({n})")),
        // A display width says nothing about the type.
        ("TINYINT" | "SMALLINT" | "INT" | "BIGINT" | "LARGEINT", [_]) => Ok(name.to_owned()),
        (_, []) => Ok(name.to_owned()),
        _ => wrong(&format!("{name} without these parameters")),
    }
}

/// What matters of a type to keys, partitions and defaults.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    Boolean,
    Integer,
    Decimal,
    Float,
    Date,
    DateTime,
    Text,
    Other,
}

/// The class of a type in its normal spelling.
pub(super) fn class(data_type: &str) -> Class {
    let name = data_type.split(['(', '<']).next().unwrap_or_default();
    match name {
        "BOOLEAN" => Class::Boolean,
        "TINYINT" | "SMALLINT" | "INT" | "BIGINT" | "LARGEINT" => Class::Integer,
        "DECIMAL" => Class::Decimal,
        "FLOAT" | "DOUBLE" => Class::Float,
        "DATE" => Class::Date,
        "DATETIME" => Class::DateTime,
        "CHAR" | "VARCHAR" | "STRING" => Class::Text,
        _ => Class::Other,
    }
}

/// The length in bytes that a CHAR, VARCHAR or VARBINARY allows.
pub(super) fn max_bytes(data_type: &str) -> Option<usize> {
    let (name, rest) = data_type.split_once('(')?;
    matches!(name, "CHAR" | "VARCHAR" | "VARBINARY")
        .then(|| rest.trim_end_matches(')').parse().ok())?
}

/// The literal `text` of a column of `class` in its normal spelling, so that equal values are equal
/// texts; `None` where it is not a value of the class.
pub(super) fn normal_literal(class: Class, text: &str) -> Option<String> {
    match class {
        Class::Integer => text
            .trim()
            .parse::<i128>()
            .ok()
            .map(|number| number.to_string()),
        Class::Boolean => match text.trim().to_ascii_lowercase().as_str() {
            "true" | "1" => Some("true".to_owned()),
            "false" | "0" => Some("false".to_owned()),
            _ => None,
        },
        Class::Date => {
            let (date, time) = date_time(text)?;
            time.is_empty().then_some(date)
        }
        Class::DateTime => {
            let (date, time) = date_time(text)?;
            Some(if time.is_empty() {
                format!("{date} 00:00:00")
            } else {
                format!("{date} {time}")
            })
        }
        Class::Text => Some(text.to_owned()),
        Class::Decimal | Class::Float | Class::Other => None,
    }
}

/// Whether `text` is a number as SQL writes it.
pub(super) fn is_number(text: &str) -> bool {
    let text = text.trim();
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    digits.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && digits
            .bytes()
            .all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'E' | b'-' | b'+'))
        && text.parse::<f64>().is_ok()
}

/// A date and its time of day; the time is empty at midnight. Dates are `yyyy-MM-dd` or `yyyyMMdd`.
fn date_time(text: &str) -> Option<(String, String)> {
    let text = text.trim();
    let (date, time) = match text.find([' ', 'T']) {
        Some(at) => (text.get(..at)?, text.get(at + 1..)?),
        None => (text, ""),
    };
    Some((normal_date(date)?, normal_time(time)?))
}

fn normal_date(date: &str) -> Option<String> {
    let compact = date.len() == 8 && date.bytes().all(|b| b.is_ascii_digit());
    let (year, month, day) = if compact {
        (
            number(date.get(..4)?)?,
            number(date.get(4..6)?)?,
            number(date.get(6..)?)?,
        )
    } else {
        let mut parts = date.split('-');
        let parsed = (
            number(parts.next()?)?,
            number(parts.next()?)?,
            number(parts.next()?)?,
        );
        if parts.next().is_some() {
            return None;
        }
        parsed
    };
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => return None,
    };
    let fine = year <= 9999 && (1..=last).contains(&day);
    fine.then(|| format!("{year:04}-{month:02}-{day:02}"))
}

fn normal_time(time: &str) -> Option<String> {
    if time.is_empty() {
        return Some(String::new());
    }
    let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
    let mut parts = clock.split(':');
    let (hour, minute) = (number(parts.next()?)?, number(parts.next()?)?);
    let second = parts.next().map_or(Some(0), number)?;
    let digits = fraction.bytes().all(|b| b.is_ascii_digit()) && fraction.len() <= 6;
    if parts.next().is_some() || hour > 23 || minute > 59 || second > 59 || !digits {
        return None;
    }
    let fraction = fraction.trim_end_matches('0');
    if hour + minute + second == 0 && fraction.is_empty() {
        return Some(String::new());
    }
    let point = if fraction.is_empty() { "" } else { "." };
    Some(format!(
        "{hour:02}:{minute:02}:{second:02}{point}{fraction}"
    ))
}

fn number(text: &str) -> Option<u32> {
    let fine = (1..=4).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    if fine { text.parse().ok() } else { None }
}
