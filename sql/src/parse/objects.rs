//! The objects of BACKUP and RESTORE: ON, EXCLUDE, and the clauses for kinds of objects that exist
//! elsewhere.

use sqlparser::tokenizer::Token;

use crate::cursor::Cursor;
use crate::error::SqlError;
use crate::statement::{Object, ObjectKind, ObjectName, Objects, TableName};

use super::unsupported;

/// The refusal of external catalogs.
pub(crate) fn no_catalogs() -> SqlError {
    unsupported(
        "EXTERNAL CATALOG",
        "there are no external catalogs here, a snapshot holds tables",
    )
}

/// `[ALL EXTERNAL CATALOGS | EXTERNAL CATALOG[S] (cat [AS name], …)]`: the text of the clause.
pub(super) fn catalogs(cursor: &mut Cursor<'_>) -> Result<Option<String>, SqlError> {
    let from = cursor.position();
    if cursor.eat_all(&["ALL", "EXTERNAL"]) {
        if !cursor.eat_any(&["CATALOGS", "CATALOG"]) {
            return Err(cursor.unexpected("CATALOGS"));
        }
    } else if cursor.eat("EXTERNAL") {
        if !cursor.eat_any(&["CATALOGS", "CATALOG"]) {
            return Err(cursor.unexpected("CATALOG or CATALOGS"));
        }
        cursor.list(|cursor| {
            cursor.ident("catalog")?;
            if cursor.eat("AS") {
                cursor.ident("catalog").map(Some)
            } else {
                Ok(None)
            }
        })?;
    } else {
        return Ok(None);
    }
    Ok(Some(cursor.text_since(from).to_owned()))
}

/// `[{ON|EXCLUDE} (object, …)]`
pub(super) fn objects(cursor: &mut Cursor<'_>) -> Result<Objects, SqlError> {
    if cursor.eat("ON") {
        cursor.list(object).map(Objects::On)
    } else if cursor.eat("EXCLUDE") {
        cursor.list(object).map(Objects::Exclude)
    } else {
        Ok(Objects::Whole)
    }
}

fn object(cursor: &mut Cursor<'_>) -> Result<Object, SqlError> {
    let all = cursor.is("ALL")
        && cursor
            .peek_at(1)
            .is_some_and(|next| kind_word(next).is_some());
    if all {
        cursor.advance();
    }
    let kind = kind(cursor, all)?;
    let name = if all {
        ObjectName::All
    } else {
        let TableName { database, table } = cursor.table_name()?;
        // A function may bear its argument types; it is refused by name later.
        if kind == ObjectKind::Function && cursor.is_token(&Token::LParen) {
            cursor.list(|cursor| cursor.ident("type"))?;
        }
        ObjectName::Named(TableName { database, table })
    };
    let mut partitions = Vec::new();
    let temporary = cursor.is("TEMPORARY");
    if temporary {
        cursor.advance();
    }
    if cursor.eat_any(&["PARTITION", "PARTITIONS"]) {
        partitions = cursor.partition_names()?;
    } else if temporary {
        return Err(cursor.unexpected("PARTITION or PARTITIONS"));
    }
    let alias = if cursor.eat("AS") {
        Some(cursor.ident("table")?)
    } else {
        None
    };
    Ok(Object {
        kind,
        name,
        partitions,
        temporary,
        alias,
    })
}

fn kind_word(token: &Token) -> Option<ObjectKind> {
    let is = |word| crate::cursor::is_keyword(token, word);
    if is("TABLE") || is("TABLES") {
        Some(ObjectKind::Table)
    } else if is("VIEW") || is("VIEWS") {
        Some(ObjectKind::View)
    } else if is("FUNCTION") || is("FUNCTIONS") {
        Some(ObjectKind::Function)
    } else if is("MATERIALIZED") {
        Some(ObjectKind::MaterializedView)
    } else {
        None
    }
}

/// The word for the kind, where it is one and not a table that bears such a name.
fn kind(cursor: &mut Cursor<'_>, all: bool) -> Result<ObjectKind, SqlError> {
    let Some(kind) = cursor.peek().and_then(kind_word) else {
        return Ok(ObjectKind::Table);
    };
    let follows_name = matches!(cursor.peek_at(1), Some(Token::Word(_) | Token::Number(..)))
        && !["PARTITION", "PARTITIONS", "TEMPORARY", "AS"]
            .iter()
            .any(|w| cursor.is_at(1, w));
    if !all && !follows_name {
        return Ok(ObjectKind::Table);
    }
    cursor.advance();
    if kind == ObjectKind::MaterializedView && !cursor.eat_any(&["VIEW", "VIEWS"]) {
        return Err(cursor.unexpected("VIEW or VIEWS"));
    }
    Ok(kind)
}
