//! Conditions: their grammar, and their truth for a row, with NULL as unknown.

use std::cmp::Ordering;

use sqlparser::tokenizer::Token;

use crate::cursor::Cursor;
use crate::error::{Code, SqlError};

use super::like::Pattern;
use super::value;

/// A condition over the columns of a result.
#[derive(Clone, Debug, PartialEq)]
pub enum Expr {
    /// All hold.
    And(Vec<Expr>),
    /// At least one holds.
    Or(Vec<Expr>),
    /// It does not hold.
    Not(Box<Expr>),
    /// Two values compare so.
    Compare {
        /// The value on the left.
        left: Operand,
        /// How they are to compare.
        how: Comparison,
        /// The value on the right.
        right: Operand,
    },
    /// A value matches a pattern.
    Like {
        /// The value.
        value: Operand,
        /// The pattern.
        pattern: String,
        /// The character that takes away the meaning of `%` and `_`.
        escape: Option<char>,
    },
    /// A value equals one of a list.
    In {
        /// The value.
        value: Operand,
        /// The list.
        items: Vec<Operand>,
    },
    /// A value is NULL.
    IsNull(Operand),
}

/// A value in a condition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operand {
    /// A column, by name without regard to case.
    Column(String),
    /// A literal between quotes, or TRUE or FALSE.
    Text(String),
    /// A literal number.
    Number(String),
    /// NULL.
    Null,
}

/// The comparisons.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `!=` or `<>`
    NotEqual,
    /// `<`
    Less,
    /// `<=`
    LessOrEqual,
    /// `>`
    Greater,
    /// `>=`
    GreaterOrEqual,
}

impl Expr {
    /// Reads a condition.
    pub(crate) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, SqlError> {
        cursor.nested(|cursor| {
            let mut parts = vec![conjunction(cursor)?];
            while cursor.eat("OR") || cursor.eat_token(&Token::StringConcat) {
                parts.push(conjunction(cursor)?);
            }
            Ok(one_or(parts, Self::Or))
        })
    }

    /// The condition with its columns found.
    pub(super) fn bind(
        &self,
        find: &dyn Fn(&str) -> Result<usize, SqlError>,
    ) -> Result<Bound, SqlError> {
        let operand = |operand: &Operand| match operand {
            Operand::Column(name) => find(name).map(Value::Cell),
            Operand::Text(text) => Ok(Value::Text(text.clone())),
            Operand::Number(text) => Ok(Value::Number(text.clone())),
            Operand::Null => Ok(Value::Null),
        };
        let all = |parts: &[Self]| -> Result<Vec<Bound>, SqlError> {
            parts.iter().map(|part| part.bind(find)).collect()
        };
        Ok(match self {
            Self::And(parts) => Bound::And(all(parts)?),
            Self::Or(parts) => Bound::Or(all(parts)?),
            Self::Not(part) => Bound::Not(Box::new(part.bind(find)?)),
            Self::Compare { left, how, right } => {
                Bound::Compare(operand(left)?, *how, operand(right)?)
            }
            Self::Like {
                value,
                pattern,
                escape,
            } => Bound::Like(operand(value)?, Pattern::new(pattern, *escape)),
            Self::In { value, items } => {
                let items: Result<_, _> = items.iter().map(operand).collect();
                Bound::In(operand(value)?, items?)
            }
            Self::IsNull(value) => Bound::IsNull(operand(value)?),
        })
    }
}

fn one_or(mut parts: Vec<Expr>, join: fn(Vec<Expr>) -> Expr) -> Expr {
    match parts.pop() {
        Some(only) if parts.is_empty() => only,
        Some(last) => {
            parts.push(last);
            join(parts)
        }
        None => join(parts),
    }
}

fn conjunction(cursor: &mut Cursor<'_>) -> Result<Expr, SqlError> {
    let mut parts = vec![negation(cursor)?];
    while cursor.eat("AND") || cursor.eat_token(&Token::Overlap) {
        parts.push(negation(cursor)?);
    }
    Ok(one_or(parts, Expr::And))
}

fn negation(cursor: &mut Cursor<'_>) -> Result<Expr, SqlError> {
    if cursor.eat("NOT") || cursor.eat_token(&Token::ExclamationMark) {
        return cursor.nested(|cursor| Ok(Expr::Not(Box::new(negation(cursor)?))));
    }
    if cursor.eat_token(&Token::LParen) {
        let inner = Expr::parse(cursor)?;
        cursor.expect_token(&Token::RParen)?;
        return Ok(inner);
    }
    predicate(cursor)
}

fn predicate(cursor: &mut Cursor<'_>) -> Result<Expr, SqlError> {
    let left = operand(cursor)?;
    if let Some(how) = comparison(cursor) {
        return Ok(Expr::Compare {
            left,
            how,
            right: operand(cursor)?,
        });
    }
    if cursor.eat("IS") {
        let not = cursor.eat("NOT");
        cursor.expect("NULL")?;
        return Ok(negate_if(not, Expr::IsNull(left)));
    }
    let not = cursor.eat("NOT");
    if cursor.eat("LIKE") {
        let pattern = cursor.string("a pattern")?;
        let escape = escape(cursor)?;
        return Ok(negate_if(
            not,
            Expr::Like {
                value: left,
                pattern,
                escape,
            },
        ));
    }
    if cursor.eat("IN") {
        let items = cursor.list(operand)?;
        return Ok(negate_if(not, Expr::In { value: left, items }));
    }
    if cursor.eat("BETWEEN") {
        let lower = operand(cursor)?;
        cursor.expect("AND")?;
        let upper = operand(cursor)?;
        let from = Expr::Compare {
            left: left.clone(),
            how: Comparison::GreaterOrEqual,
            right: lower,
        };
        let to = Expr::Compare {
            left,
            how: Comparison::LessOrEqual,
            right: upper,
        };
        return Ok(negate_if(not, Expr::And(vec![from, to])));
    }
    Err(cursor.unexpected(if not {
        "LIKE, IN or BETWEEN"
    } else {
        "=, !=, <, <=, >, >=, LIKE, IN, BETWEEN, IS or NOT"
    }))
}

fn negate_if(not: bool, expr: Expr) -> Expr {
    if not { Expr::Not(Box::new(expr)) } else { expr }
}

fn comparison(cursor: &mut Cursor<'_>) -> Option<Comparison> {
    let how = match cursor.peek()? {
        Token::Eq | Token::DoubleEq => Comparison::Equal,
        Token::Neq => Comparison::NotEqual,
        Token::Lt => Comparison::Less,
        Token::LtEq => Comparison::LessOrEqual,
        Token::Gt => Comparison::Greater,
        Token::GtEq => Comparison::GreaterOrEqual,
        _ => return None,
    };
    cursor.advance();
    Some(how)
}

fn escape(cursor: &mut Cursor<'_>) -> Result<Option<char>, SqlError> {
    if !cursor.eat("ESCAPE") {
        return Ok(Some('\\'));
    }
    let text = cursor.string("the escape character")?;
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (escape, None) => Ok(escape),
        _ => {
            let text = format!("escape '{text}' has more than one character, expected at most one");
            Err(SqlError::new(Code::BadFilter, text))
        }
    }
}

fn operand(cursor: &mut Cursor<'_>) -> Result<Operand, SqlError> {
    if cursor.eat("NULL") {
        return Ok(Operand::Null);
    }
    for (word, text) in [("TRUE", "true"), ("FALSE", "false")] {
        if cursor.eat(word) {
            return Ok(Operand::Text(text.to_owned()));
        }
    }
    match cursor.peek() {
        Some(Token::SingleQuotedString(_) | Token::DoubleQuotedString(_)) => {
            Ok(Operand::Text(cursor.string("a value")?))
        }
        Some(Token::Number(digits, _)) => {
            cursor.advance();
            Ok(Operand::Number(digits.clone()))
        }
        Some(Token::Minus) => match cursor.peek_at(1) {
            Some(Token::Number(digits, _)) => {
                cursor.advance();
                cursor.advance();
                Ok(Operand::Number(format!("-{digits}")))
            }
            _ => Err(cursor.unexpected("a column or a value")),
        },
        Some(Token::Word(_)) => Ok(Operand::Column(cursor.ident("column")?)),
        _ => Err(cursor.unexpected("a column or a value")),
    }
}

/// A condition whose columns are places in a row.
#[derive(Debug)]
pub(super) enum Bound {
    And(Vec<Bound>),
    Or(Vec<Bound>),
    Not(Box<Bound>),
    Compare(Value, Comparison, Value),
    Like(Value, Pattern),
    In(Value, Vec<Value>),
    IsNull(Value),
}

#[derive(Debug)]
pub(super) enum Value {
    Cell(usize),
    Text(String),
    Number(String),
    Null,
}

impl Value {
    fn of<'a>(&'a self, row: &'a [Option<String>]) -> Option<&'a str> {
        match self {
            Self::Cell(at) => row.get(*at).and_then(Option::as_deref),
            Self::Text(text) | Self::Number(text) => Some(text),
            Self::Null => None,
        }
    }
}

impl Bound {
    /// Whether the row is kept: unknown is not true.
    pub(super) fn holds(&self, row: &[Option<String>]) -> bool {
        self.truth(row) == Some(true)
    }

    /// True, false, or unknown.
    fn truth(&self, row: &[Option<String>]) -> Option<bool> {
        match self {
            Self::And(parts) => fold(parts, row, false),
            Self::Or(parts) => fold(parts, row, true),
            Self::Not(part) => part.truth(row).map(|truth| !truth),
            Self::Compare(left, how, right) => compare(left, *how, right, row),
            Self::Like(value, pattern) => value.of(row).map(|text| pattern.matches(text)),
            Self::In(value, items) => {
                let mut unknown = value.of(row).is_none();
                for item in items {
                    match compare(value, Comparison::Equal, item, row) {
                        Some(true) => return Some(true),
                        Some(false) => {}
                        None => unknown = true,
                    }
                }
                if unknown { None } else { Some(false) }
            }
            Self::IsNull(value) => Some(value.of(row).is_none()),
        }
    }
}

/// AND (`decides` false) or OR (`decides` true) over unknowns.
fn fold(parts: &[Bound], row: &[Option<String>], decides: bool) -> Option<bool> {
    let mut outcome = Some(!decides);
    for part in parts {
        match part.truth(row) {
            Some(truth) if truth == decides => return Some(decides),
            Some(_) => {}
            None => outcome = None,
        }
    }
    outcome
}

fn compare(left: &Value, how: Comparison, right: &Value, row: &[Option<String>]) -> Option<bool> {
    let (a, b) = (left.of(row)?, right.of(row)?);
    // A name such as `007` equals only itself when it is asked for between quotes.
    let quoted = matches!(left, Value::Text(_)) || matches!(right, Value::Text(_));
    let order = value::compare(a, b);
    let equal = if quoted {
        a == b
    } else {
        order == Ordering::Equal
    };
    Some(match how {
        Comparison::Equal => equal,
        Comparison::NotEqual => !equal,
        Comparison::Less => order == Ordering::Less,
        Comparison::LessOrEqual => order != Ordering::Greater,
        Comparison::Greater => order == Ordering::Greater,
        Comparison::GreaterOrEqual => order != Ordering::Less,
    })
}
