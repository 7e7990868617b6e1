//! The end that every SHOW with rows takes: LIKE, WHERE, ORDER BY, LIMIT, over the columns of its
//! result. Works on finished rows only; knows no job.

mod expr;
mod like;
mod value;

use sqlparser::tokenizer::Token;

use crate::cursor::Cursor;
use crate::error::{Code, SqlError};
use crate::show::ResultTable;

pub use expr::{Comparison, Expr, Operand};
pub use like::Pattern;

/// `[LIKE 'pattern'] [WHERE expr] [ORDER BY …] [LIMIT …]`
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Tail {
    /// The pattern for the column that names the row.
    pub like: Option<String>,
    /// The condition.
    pub filter: Option<Expr>,
    /// The order; empty = as the rows come.
    pub order_by: Vec<OrderKey>,
    /// How many rows.
    pub limit: Option<Limit>,
}

/// One key of ORDER BY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OrderKey {
    /// The column.
    pub column: OrderColumn,
    /// Which way.
    pub direction: Direction,
}

/// A column of ORDER BY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrderColumn {
    /// By name, without regard to case.
    Name(String),
    /// By place, from 1.
    Position(usize),
}

/// Which way a key sorts. NULL is smaller than anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// The smallest first.
    Ascending,
    /// The largest first.
    Descending,
}

/// `LIMIT [offset,] count`
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Rows left out at the front.
    pub offset: usize,
    /// Rows at most.
    pub count: usize,
}

const TAIL: &str = "LIKE, WHERE, ORDER BY, LIMIT or the end of the statement";

impl Tail {
    /// Reads a tail up to the end of the statement.
    pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, SqlError> {
        let mut tail = Self::default();
        if cursor.eat("LIKE") {
            tail.like = Some(cursor.string("a pattern")?);
        }
        if cursor.eat("WHERE") {
            tail.filter = Some(Expr::parse(cursor)?);
        }
        if cursor.eat("ORDER") {
            cursor.expect("BY")?;
            tail.order_by.push(order_key(cursor)?);
            while cursor.eat_token(&Token::Comma) {
                tail.order_by.push(order_key(cursor)?);
            }
        }
        if cursor.eat("LIMIT") {
            tail.limit = Some(limit(cursor)?);
        }
        cursor.finish_or(TAIL)?;
        Ok(tail)
    }

    /// The rows of `table` that the tail asks for. `like_column` names the column of LIKE; "" or a
    /// column that the table lacks stands for the first.
    ///
    /// # Errors
    /// `UNKNOWN_COLUMN` where WHERE or ORDER BY names a column that the table lacks; also when it
    /// has no rows.
    pub fn apply(&self, table: ResultTable, like_column: &str) -> Result<ResultTable, SqlError> {
        let ResultTable { columns, mut rows } = table;
        let find = |name: &str| find_column(&columns, name);
        if let Some(pattern) = &self.like {
            let at = find(like_column).unwrap_or_default();
            let pattern = Pattern::new(pattern, Some('\\'));
            rows.retain(|row| {
                row.get(at)
                    .and_then(Option::as_deref)
                    .is_some_and(|text| pattern.matches(text))
            });
        }
        if let Some(filter) = &self.filter {
            let bound = filter.bind(&find)?;
            rows.retain(|row| bound.holds(row));
        }
        if !self.order_by.is_empty() {
            let keys = self.bind_order(&find, columns.len())?;
            rows.sort_by(|a, b| compare_rows(&keys, a, b));
        }
        if let Some(limit) = self.limit {
            rows = rows
                .into_iter()
                .skip(limit.offset)
                .take(limit.count)
                .collect();
        }
        Ok(ResultTable { columns, rows })
    }

    fn bind_order(
        &self,
        find: &dyn Fn(&str) -> Result<usize, SqlError>,
        columns: usize,
    ) -> Result<Vec<(usize, Direction)>, SqlError> {
        let bind = |key: &OrderKey| {
            let at = match &key.column {
                OrderColumn::Name(name) => find(name)?,
                OrderColumn::Position(at) if (1..=columns).contains(at) => at - 1,
                OrderColumn::Position(at) => {
                    let text = format!("column {at} in ORDER BY, expected 1 to {columns}");
                    return Err(SqlError::new(Code::UnknownColumn, text));
                }
            };
            Ok((at, key.direction))
        };
        self.order_by.iter().map(bind).collect()
    }
}

fn find_column(columns: &[crate::show::Column], name: &str) -> Result<usize, SqlError> {
    let lower = name.to_lowercase();
    columns
        .iter()
        .position(|column| column.name.to_lowercase() == lower)
        .ok_or_else(|| {
            let known: Vec<&str> = columns.iter().map(|column| column.name.as_str()).collect();
            let text = format!(
                "unknown column '{name}', expected one of {}",
                known.join(", ")
            );
            SqlError::new(Code::UnknownColumn, text)
        })
}

fn compare_rows(
    keys: &[(usize, Direction)],
    a: &[Option<String>],
    b: &[Option<String>],
) -> std::cmp::Ordering {
    let cell = |row: &[Option<String>], at: usize| row.get(at).cloned().flatten();
    for &(at, direction) in keys {
        let order = value::order(cell(a, at).as_deref(), cell(b, at).as_deref());
        let order = match direction {
            Direction::Ascending => order,
            Direction::Descending => order.reverse(),
        };
        if order.is_ne() {
            return order;
        }
    }
    std::cmp::Ordering::Equal
}

fn order_key(cursor: &mut Cursor<'_>) -> Result<OrderKey, SqlError> {
    let column = match cursor.peek() {
        Some(Token::Number(..)) => OrderColumn::Position(cursor.integer("a column")?),
        _ => OrderColumn::Name(cursor.ident("column")?),
    };
    let direction = if cursor.eat("DESC") {
        Direction::Descending
    } else {
        cursor.eat("ASC");
        Direction::Ascending
    };
    Ok(OrderKey { column, direction })
}

fn limit(cursor: &mut Cursor<'_>) -> Result<Limit, SqlError> {
    const WHOLE: &str = "a whole number of rows";
    let first = cursor.integer(WHOLE)?;
    if cursor.eat_token(&Token::Comma) {
        return Ok(Limit {
            offset: first,
            count: cursor.integer(WHOLE)?,
        });
    }
    let offset = if cursor.eat("OFFSET") {
        cursor.integer(WHOLE)?
    } else {
        0
    };
    Ok(Limit {
        offset,
        count: first,
    })
}

#[cfg(test)]
mod tests;
