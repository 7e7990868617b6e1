//! The keys and the distribution of a table, held against its columns.

use std::collections::BTreeSet;

use holdfast_storage::model::{Column, Distribution, KeysType};

use crate::error::{Code, SqlError};

use super::columns::Draft;
use super::types::{self, Class};

/// Key columns of a table without a key clause: as many as sort usefully.
const MAX_DEFAULT_KEYS: usize = 3;

/// The keys of a table.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) kind: KeysType,
    pub(super) columns: Vec<String>,
}

/// The words of the grammar.
pub(super) fn words(kind: KeysType) -> &'static str {
    match kind {
        KeysType::Duplicate => "DUPLICATE KEY",
        KeysType::Aggregate => "AGGREGATE KEY",
        KeysType::Unique => "UNIQUE KEY",
        KeysType::Primary => "PRIMARY KEY",
    }
}

fn wrong(text: String) -> SqlError {
    SqlError::new(Code::BadKeys, text)
}

/// The column of that name, without regard to case.
pub(super) fn find<'a>(columns: &'a [Column], name: &str) -> Option<&'a Column> {
    let lower = name.to_lowercase();
    columns
        .iter()
        .find(|column| column.name.to_lowercase() == lower)
}

/// Every name as the column spells it, each a column, each once.
pub(super) fn known_columns(
    columns: &[Column],
    names: &[String],
    clause: &str,
) -> Result<Vec<String>, SqlError> {
    let mut seen = BTreeSet::new();
    let mut out = Vec::with_capacity(names.len());
    for name in names {
        let Some(column) = find(columns, name) else {
            let known: Vec<&str> = columns.iter().map(|c| c.name.as_str()).collect();
            let text = format!(
                "unknown column '{name}' in {clause}, expected one of {}",
                known.join(", ")
            );
            return Err(SqlError::new(Code::UnknownColumn, text));
        };
        if !seen.insert(column.name.as_str()) {
            let text = format!("column '{name}' is listed twice in {clause}, expected each once");
            return Err(SqlError::new(Code::DuplicateColumn, text));
        }
        out.push(column.name.clone());
    }
    Ok(out)
}

/// The keys of the clause, or those of a table without one; sets the nullness that primary keys
/// bring.
pub(super) fn keys(drafts: &mut [Draft], clause: Option<Keys>) -> Result<Keys, SqlError> {
    let columns: Vec<Column> = drafts.iter().map(|draft| draft.column.clone()).collect();
    let keys = match clause {
        Some(Keys {
            kind,
            columns: names,
        }) => Keys {
            kind,
            columns: known_columns(&columns, &names, words(kind))?,
        },
        None => default_keys(&columns)?,
    };
    check_order(&columns, &keys)?;
    for name in &keys.columns {
        if let Some(column) = find(&columns, name) {
            check_sortable(column, words(keys.kind))?;
        }
    }
    check_aggregations(&columns, &keys)?;
    if keys.kind == KeysType::Primary {
        for draft in drafts
            .iter_mut()
            .filter(|d| keys.columns.contains(&d.column.name))
        {
            if draft.nullness == Some(true) {
                let text = format!(
                    "primary key column '{}' is NULL, expected NOT NULL",
                    draft.column.name
                );
                return Err(wrong(text));
            }
            draft.column.nullable = false;
        }
    }
    Ok(keys)
}

fn default_keys(columns: &[Column]) -> Result<Keys, SqlError> {
    let aggregated = columns.iter().any(|column| column.aggregation.is_some());
    if aggregated {
        let names = columns.iter().filter(|column| column.aggregation.is_none());
        let names: Vec<String> = names.map(|column| column.name.clone()).collect();
        return Ok(Keys {
            kind: KeysType::Aggregate,
            columns: names,
        });
    }
    let mut names = Vec::new();
    for column in columns.iter().take(MAX_DEFAULT_KEYS) {
        if !is_sortable(column) {
            break;
        }
        names.push(column.name.clone());
        // A text of any length ends the prefix that rows are sorted by.
        if types::class(&column.data_type) == Class::Text {
            break;
        }
    }
    match columns.first() {
        Some(first) if names.is_empty() => {
            let text = format!(
                "the first column '{}' of type {} cannot be a key, expected one that can, or a key \
                 clause",
                first.name, first.data_type
            );
            Err(wrong(text))
        }
        _ => Ok(Keys {
            kind: KeysType::Duplicate,
            columns: names,
        }),
    }
}

fn check_order(columns: &[Column], keys: &Keys) -> Result<(), SqlError> {
    for (i, name) in keys.columns.iter().enumerate() {
        let at = columns.get(i).map_or("", |column| column.name.as_str());
        if at != name {
            let text = format!(
                "column {} of {} is '{name}', expected '{at}': key columns are the first columns \
                 of the \
                 table, in its order",
                i + 1,
                words(keys.kind)
            );
            return Err(wrong(text));
        }
    }
    if keys.columns.is_empty() && !columns.is_empty() {
        return Err(wrong(format!(
            "{} has no column, expected at least one",
            words(keys.kind)
        )));
    }
    Ok(())
}

fn is_sortable(column: &Column) -> bool {
    !matches!(types::class(&column.data_type), Class::Float | Class::Other)
}

fn check_sortable(column: &Column, clause: &str) -> Result<(), SqlError> {
    if is_sortable(column) {
        return Ok(());
    }
    let text = format!(
        "column '{}' of type {} in {clause}, expected a BOOLEAN, integer, DECIMAL, date or text \
         type",
        column.name, column.data_type
    );
    Err(wrong(text))
}

fn check_aggregations(columns: &[Column], keys: &Keys) -> Result<(), SqlError> {
    for column in columns {
        let key = keys.columns.contains(&column.name);
        let name = &column.name;
        let text = match (&column.aggregation, key) {
            (Some(found), true) => {
                format!("key column '{name}' has aggregation {found}, expected none")
            }
            (Some(found), false) if keys.kind != KeysType::Aggregate => format!(
                "column '{name}' has aggregation {found}, expected none in a table with {}",
                words(keys.kind)
            ),
            (None, false) if keys.kind == KeysType::Aggregate => format!(
                "column '{name}' has no aggregation, expected one such as SUM in a table with \
                 AGGREGATE KEY"
            ),
            _ => continue,
        };
        return Err(SqlError::new(Code::BadAggregation, text));
    }
    Ok(())
}

/// Columns that rows are placed by: in a table whose rows with equal keys become one, they are key
/// columns.
pub(super) fn check_placing(
    columns: &[Column],
    keys: &Keys,
    names: &[String],
    code: Code,
    clause: &str,
) -> Result<(), SqlError> {
    for column in names.iter().filter_map(|name| find(columns, name)) {
        if keys.kind != KeysType::Duplicate && !keys.columns.contains(&column.name) {
            let text = format!(
                "column '{}' in {clause} is no key column, expected one of {} in a table with {}",
                column.name,
                keys.columns.join(", "),
                words(keys.kind)
            );
            return Err(SqlError::new(code, text));
        }
        if !is_sortable(column) {
            let text = format!(
                "column '{}' of type {} in {clause}, expected a type that can be a key",
                column.name, column.data_type
            );
            return Err(SqlError::new(code, text));
        }
    }
    Ok(())
}

/// The distribution of the clause, or that of a table without one.
pub(super) fn distribution(
    columns: &[Column],
    keys: &Keys,
    clause: Option<Distribution>,
) -> Result<Distribution, SqlError> {
    const CLAUSE: &str = "DISTRIBUTED BY";
    let wrong = |text: String| SqlError::new(Code::BadDistribution, text);
    match clause {
        Some(Distribution::Hash { columns: names }) => {
            let names = known_columns(columns, &names, CLAUSE)?;
            check_placing(columns, keys, &names, Code::BadDistribution, CLAUSE)?;
            if names.is_empty() && !columns.is_empty() {
                return Err(wrong(
                    "DISTRIBUTED BY HASH () has no column, expected one".to_owned(),
                ));
            }
            Ok(Distribution::Hash { columns: names })
        }
        _ if keys.kind == KeysType::Duplicate => Ok(Distribution::Random),
        Some(_) => Err(wrong(format!(
            "DISTRIBUTED BY RANDOM in a table with {}, expected HASH: rows with equal keys must \
             meet in one \
             bucket",
            words(keys.kind)
        ))),
        None => Err(wrong(format!(
            "DISTRIBUTED BY is missing in a table with {}, expected DISTRIBUTED BY HASH (..)",
            words(keys.kind)
        ))),
    }
}
