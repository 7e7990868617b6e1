//! Partitions: their clauses, the values held against the column types, and that no two take the
//! same rows.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use holdfast_storage::model::{Bounds, Column, PartitionMeta, Partitioning, TableSchema};
use holdfast_storage::schema::compare_literals;
use sqlparser::tokenizer::Token;

use crate::cursor::Cursor;
use crate::error::{Code, SqlError};
use crate::names;
use crate::parse::unsupported;
use crate::statement::{AddedPartition, PartitionValues, Properties};

use super::columns::literal;
use super::types::{self, Class};
use super::{BUCKETS_KEY, DEFAULT_BUCKETS, DEFAULT_REPLICATION_NUM, MAX_BUCKETS, REPLICATION_KEY};

const MAX: &str = "MAXVALUE";
const MIN: &str = "MINVALUE";

fn wrong(text: String) -> SqlError {
    SqlError::new(Code::BadPartition, text)
}

/// `name VALUES … [("replication_num" = "n")] [DISTRIBUTED BY …] [BUCKETS n]`
pub(super) fn partition(cursor: &mut Cursor<'_>) -> Result<AddedPartition, SqlError> {
    let if_not_exists = cursor.if_not_exists()?;
    let name = cursor.ident_or_string("partition")?;
    names::check_part("partition", &name)?;
    if cursor.is("START") || cursor.is("FROM") {
        let what = "a series of partitions (START .. END .. EVERY)";
        return Err(unsupported(what, "list each partition with its VALUES"));
    }
    cursor.expect("VALUES")?;
    let values = values(cursor)?;
    let mut partition = AddedPartition {
        name,
        if_not_exists,
        values,
        buckets: None,
        replication_num: None,
    };
    if cursor.is_token(&Token::LParen) {
        let properties = cursor.property_list()?;
        partition.replication_num = only_replication_num(&properties)?;
    }
    if cursor.eat("DISTRIBUTED") {
        // The columns are the table's; only the number may differ.
        cursor.expect("BY")?;
        if cursor.eat("HASH") {
            cursor.names("column")?;
        } else if !cursor.eat("RANDOM") {
            return Err(cursor.unexpected("HASH or RANDOM"));
        }
    }
    partition.buckets = buckets(cursor)?;
    if cursor.is("PROPERTIES") {
        let properties = cursor.properties()?;
        partition.replication_num = only_replication_num(&properties)?;
    }
    Ok(partition)
}

fn only_replication_num(properties: &Properties) -> Result<Option<u32>, SqlError> {
    for key in properties.0.keys() {
        if !["replication_num", "storage_medium"].contains(&key.as_str()) {
            let text = format!("unknown property '{key}' of a partition, expected replication_num");
            return Err(SqlError::new(Code::BadProperty, text));
        }
    }
    properties
        .0
        .get("replication_num")
        .map(|text| replication_num(text))
        .transpose()
}

/// A number of replicas.
pub(super) fn replication_num(text: &str) -> Result<u32, SqlError> {
    text.trim()
        .parse()
        .ok()
        .filter(|count| *count > 0)
        .ok_or_else(|| {
            let text = format!(
                "property 'replication_num' is '{}', expected a number of replicas from 1 on",
                text.escape_debug()
            );
            SqlError::new(Code::BadProperty, text)
        })
}

/// `[BUCKETS n]`
pub(super) fn buckets(cursor: &mut Cursor<'_>) -> Result<Option<u32>, SqlError> {
    if !cursor.eat("BUCKETS") || cursor.eat("AUTO") {
        return Ok(None);
    }
    let count: u64 = cursor.integer("a number of buckets")?;
    match u32::try_from(count) {
        Ok(fine) if (1..=MAX_BUCKETS).contains(&fine) => Ok(Some(fine)),
        _ => {
            let text = format!("BUCKETS {count}, expected 1 to {MAX_BUCKETS}");
            Err(SqlError::new(Code::BadDistribution, text))
        }
    }
}

fn values(cursor: &mut Cursor<'_>) -> Result<PartitionValues, SqlError> {
    if cursor.eat_all(&["LESS", "THAN"]) {
        if cursor.eat(MAX) {
            return Ok(PartitionValues::LessThan(vec![MAX.to_owned()]));
        }
        return cursor.list(value).map(PartitionValues::LessThan);
    }
    if cursor.eat("IN") {
        return cursor.list(item).map(PartitionValues::In);
    }
    if cursor.eat_token(&Token::LBracket) {
        let lower = cursor.list(value)?;
        cursor.expect_token(&Token::Comma)?;
        let upper = cursor.list(value)?;
        if !cursor.eat_token(&Token::RParen) {
            return Err(cursor.unexpected("')': the upper end is exclusive"));
        }
        return Ok(PartitionValues::Fixed { lower, upper });
    }
    Err(cursor.unexpected("LESS THAN, IN or '['"))
}

fn value(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    for word in [MAX, MIN] {
        if cursor.eat(word) {
            return Ok(word.to_owned());
        }
    }
    literal(cursor, "a value or MAXVALUE")
}

fn item(cursor: &mut Cursor<'_>) -> Result<Vec<String>, SqlError> {
    if cursor.is("NULL") {
        return Err(unsupported(
            "NULL in a list partition",
            "name the value that stands for it",
        ));
    }
    if cursor.is_token(&Token::LParen) {
        cursor.list(|cursor| literal(cursor, "a value"))
    } else {
        Ok(vec![literal(cursor, "a value")?])
    }
}

/// Defaults for the partitions of one statement.
#[derive(Clone, Copy, Debug)]
pub(super) struct Defaults {
    pub(super) buckets: u32,
    pub(super) replication_num: u32,
}

/// The partition columns, and whether values are ranges.
pub(super) struct Shape<'a> {
    columns: Vec<(&'a str, Option<Class>)>,
    range: bool,
}

impl<'a> Shape<'a> {
    /// How `partitioning` cuts `columns`; `None` for a table without partitions of its own.
    pub(super) fn new(partitioning: &'a Partitioning, columns: &[Column]) -> Option<Self> {
        let (names, range) = match partitioning {
            Partitioning::Unpartitioned => return None,
            Partitioning::Range { columns } => (columns, true),
            Partitioning::List { columns } => (columns, false),
        };
        let class = |name: &str| {
            super::keys::find(columns, name).map(|column| types::class(&column.data_type))
        };
        let mut columns: Vec<_> = names
            .iter()
            .map(|name| (name.as_str(), class(name)))
            .collect();
        if columns.is_empty() {
            // A table of files: each partition has its one name for a value.
            columns.push(("partition", None));
        }
        Some(Self { columns, range })
    }

    /// The types are such as partitions can be cut by.
    pub(super) fn check(&self) -> Result<(), SqlError> {
        for (name, class) in &self.columns {
            let fine = match class {
                None => true,
                Some(Class::Integer | Class::Date | Class::DateTime) => true,
                Some(Class::Boolean | Class::Text) => !self.range,
                Some(Class::Decimal | Class::Float | Class::Other) => false,
            };
            if !fine {
                let (kind, expected) = if self.range {
                    ("RANGE", "an integer, DATE or DATETIME column")
                } else {
                    ("LIST", "an integer, DATE, DATETIME, BOOLEAN or text column")
                };
                return Err(wrong(format!(
                    "PARTITION BY {kind} ({name}), expected {expected}"
                )));
            }
        }
        Ok(())
    }

    /// The bounds of `values`; `below` gives the highest end at or below an end, for LESS THAN.
    fn bounds(
        &self,
        name: &str,
        values: &PartitionValues,
        below: impl FnOnce(&[String]) -> Option<Vec<String>>,
    ) -> Result<Bounds, SqlError> {
        let kind = if self.range { "RANGE" } else { "LIST" };
        match values {
            PartitionValues::In(items) if !self.range => self.list(name, items),
            PartitionValues::LessThan(upper) if self.range => {
                let upper = self.end(name, upper)?;
                if upper.iter().all(|value| value == MIN) {
                    return Err(wrong(format!(
                        "partition '{name}' ends at MINVALUE, it takes no row"
                    )));
                }
                let lower = below(&upper);
                self.range(name, lower, Some(upper))
            }
            PartitionValues::Fixed { lower, upper } if self.range => {
                let (lower, upper) = (self.end(name, lower)?, self.end(name, upper)?);
                self.range(name, Some(lower), Some(upper))
            }
            PartitionValues::In(_) => Err(wrong(format!(
                "partition '{name}' has VALUES IN, expected a range in a table partitioned by \
                 {kind}"
            ))),
            _ => Err(wrong(format!(
                "partition '{name}' has a range, expected VALUES IN in a table partitioned by \
                 {kind}"
            ))),
        }
    }

    fn range(
        &self,
        name: &str,
        lower: Option<Vec<String>>,
        upper: Option<Vec<String>>,
    ) -> Result<Bounds, SqlError> {
        let lower = lower.filter(|values| !values.iter().all(|value| value == MIN));
        let upper = upper.filter(|values| !self.is_max(values));
        if let Some(lower) = &lower {
            let order = match &upper {
                Some(upper) => compare_tuples(lower, upper),
                None if self.is_max(lower) => Ordering::Equal,
                None => Ordering::Less,
            };
            if order != Ordering::Less {
                let end = upper
                    .as_ref()
                    .map_or_else(|| MAX.to_owned(), |values| values.join(", "));
                return Err(wrong(format!(
                    "partition '{name}' goes from ({}) to ({end}), expected an end above its start",
                    lower.join(", ")
                )));
            }
        }
        Ok(Bounds::Range { lower, upper })
    }

    fn is_max(&self, values: &[String]) -> bool {
        values.first().is_some_and(|value| value == MAX) && values.iter().all(|value| value == MAX)
    }

    fn end(&self, name: &str, values: &[String]) -> Result<Vec<String>, SqlError> {
        if values.len() > self.columns.len() {
            return Err(self.arity(name, values.len(), "at most "));
        }
        values
            .iter()
            .zip(&self.columns)
            .map(|(text, column)| self.literal(name, text, column))
            .collect()
    }

    fn list(&self, name: &str, items: &[Vec<String>]) -> Result<Bounds, SqlError> {
        let mut out: Vec<Vec<String>> = Vec::with_capacity(items.len());
        for item in items {
            if item.len() != self.columns.len() {
                return Err(self.arity(name, item.len(), ""));
            }
            let values: Result<_, _> = item
                .iter()
                .zip(&self.columns)
                .map(|(text, column)| self.literal(name, text, column))
                .collect();
            out.push(values?);
        }
        Ok(Bounds::List { items: out })
    }

    fn arity(&self, name: &str, found: usize, bound: &str) -> SqlError {
        wrong(format!(
            "partition '{name}' has a tuple of {found} values, expected {bound}{}",
            self.columns.len()
        ))
    }

    fn literal(
        &self,
        name: &str,
        text: &str,
        (column, class): &(&str, Option<Class>),
    ) -> Result<String, SqlError> {
        if self.range && (text == MAX || text == MIN) {
            return Ok(text.to_owned());
        }
        let Some(class) = class else {
            return Ok(text.to_owned());
        };
        types::normal_literal(*class, text).ok_or_else(|| {
            wrong(format!(
                "value '{}' of partition '{name}', expected a value of column '{column}' \
                 ({class:?})",
                text.escape_debug()
            ))
        })
    }
}

/// Compares tuples column by column; one that ends early goes on with the smallest values.
fn compare_tuples(a: &[String], b: &[String]) -> Ordering {
    for i in 0..a.len().max(b.len()) {
        let left = a.get(i).map_or(MIN, String::as_str);
        let right = b.get(i).map_or(MIN, String::as_str);
        let order = compare_literals(left, right);
        if order.is_ne() {
            return order;
        }
    }
    Ordering::Equal
}

/// The partitions of a CREATE TABLE in the order given.
pub(super) fn resolve_all(
    shape: &Shape<'_>,
    drafts: &[AddedPartition],
    defaults: Defaults,
) -> Result<Vec<PartitionMeta>, SqlError> {
    // Ends seen so far, ascending: the highest one at or below a new end is where LESS THAN begins.
    let mut ends: Vec<Vec<String>> = Vec::with_capacity(drafts.len());
    let mut out: Vec<PartitionMeta> = Vec::with_capacity(drafts.len());
    for draft in drafts {
        let bounds = shape.bounds(&draft.name, &draft.values, |upper| {
            let at = ends.partition_point(|end| compare_tuples(end, upper).is_le());
            at.checked_sub(1).and_then(|at| ends.get(at).cloned())
        })?;
        if let Bounds::Range {
            upper: Some(upper), ..
        } = &bounds
        {
            let at = ends.partition_point(|end| compare_tuples(end, upper).is_le());
            ends.insert(at, upper.clone());
        }
        out.push(meta(draft, bounds, defaults));
    }
    check_names(&out)?;
    check_disjoint(&out)?;
    Ok(out)
}

fn meta(draft: &AddedPartition, bounds: Bounds, defaults: Defaults) -> PartitionMeta {
    PartitionMeta {
        name: draft.name.clone(),
        bounds,
        buckets: draft.buckets.unwrap_or(defaults.buckets),
        replication_num: draft.replication_num.unwrap_or(defaults.replication_num),
    }
}

impl AddedPartition {
    /// The partition as it would stand beside `existing` in a table of `schema`. Buckets and
    /// replicas that the statement does not give are those of the table's last partition. LESS THAN
    /// begins at the highest end below.
    ///
    /// # Errors
    /// `BAD_PARTITION` where the table is not partitioned or the values do not fit its columns,
    /// `PARTITION_EXISTS` where the name is taken, `OVERLAPPING_PARTITION` with the first partition
    /// that it meets.
    pub fn resolve(
        &self,
        schema: &TableSchema,
        existing: &[PartitionMeta],
    ) -> Result<PartitionMeta, SqlError> {
        let Some(shape) = Shape::new(&schema.partitioning, &schema.columns) else {
            return Err(wrong(format!(
                "partition '{}' cannot be added: the table is not partitioned",
                self.name
            )));
        };
        if existing.iter().any(|partition| partition.name == self.name) {
            let text = format!(
                "partition '{}' exists already, expected a new name",
                self.name
            );
            return Err(SqlError::new(Code::PartitionExists, text));
        }
        let bounds = shape.bounds(&self.name, &self.values, |upper| {
            let ends = existing
                .iter()
                .filter_map(|partition| match &partition.bounds {
                    Bounds::Range {
                        upper: Some(end), ..
                    } => Some(end),
                    _ => None,
                });
            ends.filter(|end| compare_tuples(end, upper).is_le())
                .max_by(|a, b| compare_tuples(a, b))
                .cloned()
        })?;
        let kept = |key: &str, otherwise: u32| {
            schema
                .properties
                .get(key)
                .and_then(|text| text.parse().ok())
                .unwrap_or(otherwise)
        };
        let defaults = match existing.last() {
            Some(last) => Defaults {
                buckets: last.buckets,
                replication_num: last.replication_num,
            },
            None => Defaults {
                buckets: kept(BUCKETS_KEY, DEFAULT_BUCKETS),
                replication_num: kept(REPLICATION_KEY, DEFAULT_REPLICATION_NUM),
            },
        };
        let new = meta(self, bounds, defaults);
        let mut all = existing.to_vec();
        all.push(new.clone());
        check_disjoint(&all)?;
        Ok(new)
    }
}

fn check_names(partitions: &[PartitionMeta]) -> Result<(), SqlError> {
    let mut seen = std::collections::BTreeSet::new();
    match partitions
        .iter()
        .find(|partition| !seen.insert(partition.name.as_str()))
    {
        None => Ok(()),
        Some(twice) => {
            let text = format!(
                "partition '{}' is listed twice, expected each once",
                twice.name
            );
            Err(SqlError::new(Code::DuplicatePartition, text))
        }
    }
}

/// No two partitions take the same rows. Costs a sort, not a comparison of every pair.
fn check_disjoint(partitions: &[PartitionMeta]) -> Result<(), SqlError> {
    let mut ranges = Vec::new();
    let mut items: BTreeMap<&[String], &str> = BTreeMap::new();
    for partition in partitions {
        match &partition.bounds {
            Bounds::All => {}
            Bounds::Range { lower, upper } => ranges.push((lower, upper, &partition.name)),
            Bounds::List { items: listed } => {
                for item in listed {
                    if let Some(first) = items.insert(item, &partition.name) {
                        let what = format!("value ({})", item.join(", "));
                        return Err(overlap(first, &partition.name, &what));
                    }
                }
            }
        }
    }
    ranges.sort_by(|(a, ..), (b, ..)| match (a, b) {
        (Some(a), Some(b)) => compare_tuples(a, b),
        (a, b) => a.is_some().cmp(&b.is_some()),
    });
    for pair in ranges.windows(2) {
        let [(_, upper, first), (lower, _, second)] = pair else {
            continue;
        };
        let apart = match (upper, lower) {
            (Some(upper), Some(lower)) => compare_tuples(upper, lower).is_le(),
            _ => false,
        };
        if !apart {
            let from = lower
                .as_ref()
                .map_or_else(|| MIN.to_owned(), |values| values.join(", "));
            return Err(overlap(first, second, &format!("rows from ({from}) on")));
        }
    }
    Ok(())
}

fn overlap(first: &str, second: &str, what: &str) -> SqlError {
    let text = format!(
        "partitions '{first}' and '{second}' both take {what}, expected each row in one (LESS THAN \
         ranges are \
         listed in ascending order)"
    );
    SqlError::new(Code::OverlappingPartition, text)
}
