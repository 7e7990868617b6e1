//! Pure comparisons of schemas and partition bounds: what must agree before a partition may be
//! overwritten or added.
//!
//! No I/O, no catalog. Both the engine's early checks and the storage's own last check use these
//! functions, so that the two can never disagree about what "the same" means.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::model::{Bounds, Column, Distribution, KeysType, Partitioning, TableSchema};

#[cfg(test)]
mod tests;

/// The first thing in which two schemas differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// What differs, such as `type of column 'k1'`.
    pub what: String,
    /// The value in the first schema.
    pub found: String,
    /// The value in the second schema.
    pub expected: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} is {}, expected {}",
            self.what, self.found, self.expected
        )
    }
}

/// Whether both bounds take exactly the same rows. Literals are compared as in
/// [`compare_literals`]; list items as sets of texts.
pub fn same_bounds(a: &Bounds, b: &Bounds) -> bool {
    match (a, b) {
        (Bounds::All, Bounds::All) => true,
        (
            Bounds::Range {
                lower: la,
                upper: ua,
            },
            Bounds::Range {
                lower: lb,
                upper: ub,
            },
        ) => same_end(la.as_deref(), lb.as_deref()) && same_end(ua.as_deref(), ub.as_deref()),
        (Bounds::List { items: a }, Bounds::List { items: b }) => {
            a.iter().collect::<BTreeSet<_>>() == b.iter().collect::<BTreeSet<_>>()
        }
        _ => false,
    }
}

/// Whether some row could belong to both. Bounds of different kinds are taken to overlap: they
/// cannot stand beside each other in one table.
pub fn overlaps(a: &Bounds, b: &Bounds) -> bool {
    match (a, b) {
        (
            Bounds::Range {
                lower: la,
                upper: ua,
            },
            Bounds::Range {
                lower: lb,
                upper: ub,
            },
        ) => {
            let empty = is_empty_range(la.as_deref(), ua.as_deref())
                || is_empty_range(lb.as_deref(), ub.as_deref());
            !empty
                && starts_before_end(la.as_deref(), ub.as_deref())
                && starts_before_end(lb.as_deref(), ua.as_deref())
        }
        (Bounds::List { items: a }, Bounds::List { items: b }) => {
            let a: BTreeSet<_> = a.iter().collect();
            b.iter().any(|item| a.contains(item))
        }
        _ => true,
    }
}

/// Two of these bounds that overlap, by their places in `all`; takes about as long as sorting them.
pub fn first_overlap(all: &[&Bounds]) -> Option<(usize, usize)> {
    let mut ranges: Vec<(usize, End<'_>, End<'_>)> = Vec::new();
    let mut items: BTreeMap<&[String], usize> = BTreeMap::new();
    for (i, bounds) in all.iter().enumerate() {
        match bounds {
            Bounds::All => {}
            Bounds::Range { lower, upper } => {
                ranges.push((i, lower.as_deref(), upper.as_deref()));
            }
            Bounds::List { items: own } => {
                for item in own {
                    if let Some(other) = items.insert(item, i).filter(|other| *other != i) {
                        return Some((other, i));
                    }
                }
            }
        }
    }
    let kinds_are_mixed = !ranges.is_empty() && ranges.len() < all.len();
    let all_rows = all.iter().position(|b| matches!(b, Bounds::All));
    if all.len() > 1 && (kinds_are_mixed || all_rows.is_some()) {
        let first = all_rows.or(ranges.first().map(|r| r.0)).unwrap_or(0);
        let other = all
            .iter()
            .enumerate()
            .find(|(i, b)| *i != first && overlaps(all[first], b));
        if let Some((other, _)) = other {
            return Some((first.min(other), first.max(other)));
        }
    }
    ranges.retain(|(_, lower, upper)| !is_empty_range(*lower, *upper));
    ranges.sort_by(|(_, a, _), (_, b, _)| match (a, b) {
        (Some(a), Some(b)) => compare_tuples(a, b),
        _ => a.is_some().cmp(&b.is_some()),
    });
    // Where any two overlap, two that stand beside each other do.
    let mut beside = ranges.windows(2);
    let found = beside.find(|pair| starts_before_end(pair[1].1, pair[0].2))?;
    let (a, b) = (found[0].0, found[1].0);
    Some((a.min(b), a.max(b)))
}

/// One end of a range; `None` = unbounded.
type End<'a> = Option<&'a [String]>;

fn same_end(a: Option<&[String]>, b: Option<&[String]>) -> bool {
    match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => compare_tuples(a, b) == Ordering::Equal,
        _ => false,
    }
}

fn starts_before_end(lower: Option<&[String]>, upper: Option<&[String]>) -> bool {
    match (lower, upper) {
        (Some(lower), Some(upper)) => compare_tuples(lower, upper) == Ordering::Less,
        _ => true,
    }
}

fn is_empty_range(lower: Option<&[String]>, upper: Option<&[String]>) -> bool {
    !starts_before_end(lower, upper)
}

fn compare_tuples(a: &[String], b: &[String]) -> Ordering {
    // A tuple that ends early stands for the smallest values in the columns it leaves out.
    for i in 0..a.len().max(b.len()) {
        let left = a.get(i).map_or("MINVALUE", String::as_str);
        let right = b.get(i).map_or("MINVALUE", String::as_str);
        match compare_literals(left, right) {
            Ordering::Equal => {}
            other => return other,
        }
    }
    Ordering::Equal
}

/// Compares two literals of one partition column: integers by value, dates and date-times by time,
/// all others as text; of two kinds, integers come first and texts last. `MINVALUE` and `MAXVALUE`
/// (any case) lie below and above everything. A total order, so that literals can be sorted.
pub fn compare_literals(a: &str, b: &str) -> Ordering {
    Literal::of(a).cmp(&Literal::of(b))
}

/// A literal as it is compared; the order of the kinds is the order between them.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Literal<'a> {
    Least,
    Integer(i128),
    Time([u32; 7]),
    Text(&'a str),
    Greatest,
}

impl<'a> Literal<'a> {
    fn of(text: &'a str) -> Self {
        if text.eq_ignore_ascii_case("MINVALUE") {
            return Self::Least;
        }
        if text.eq_ignore_ascii_case("MAXVALUE") {
            return Self::Greatest;
        }
        if let Ok(value) = text.trim().parse() {
            return Self::Integer(value);
        }
        parse_date_time(text).map_or(Self::Text(text), Self::Time)
    }
}

/// Year, month, day, hour, minute, second, microsecond; a date alone is its midnight.
fn parse_date_time(text: &str) -> Option<[u32; 7]> {
    let text = text.trim();
    let (date, time) = match text.find([' ', 'T']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let mut out = [0_u32; 7];
    fill(&mut out[..3], date, '-')?;
    if let Some(time) = time {
        let (clock, fraction) = time.split_once('.').unwrap_or((time, ""));
        fill(&mut out[3..6], clock, ':')?;
        if fraction.len() > 6 {
            return None;
        }
        if !fraction.is_empty() {
            out[6] = format!("{fraction:0<6}").parse().ok()?;
        }
    }
    let sane = (1..=12).contains(&out[1])
        && (1..=31).contains(&out[2])
        && out[3] < 24
        && out[4] < 60
        && out[5] < 60;
    sane.then_some(out)
}

fn fill(out: &mut [u32], text: &str, separator: char) -> Option<()> {
    let mut parts = text.split(separator);
    for slot in out.iter_mut() {
        let part = parts.next()?;
        if part.is_empty() || !part.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        *slot = part.parse().ok()?;
    }
    parts.next().is_none().then_some(())
}

/// The first thing in which `found` (the table that exists) differs from `expected` (the one to be
/// restored): columns in order, then keys, partitioning, distribution. Comments and properties do
/// not count.
pub fn difference(found: &TableSchema, expected: &TableSchema) -> Option<Difference> {
    columns_difference(&found.columns, &expected.columns)
        .or_else(|| {
            differ(
                "keys type",
                keys_text(found.keys_type),
                keys_text(expected.keys_type),
            )
        })
        .or_else(|| differ_names("key columns", &found.key_columns, &expected.key_columns))
        .or_else(|| partitioning_difference(&found.partitioning, &expected.partitioning))
        .or_else(|| distribution_difference(&found.distribution, &expected.distribution))
}

fn differ(what: &str, found: &str, expected: &str) -> Option<Difference> {
    (found != expected).then(|| Difference {
        what: what.to_owned(),
        found: found.to_owned(),
        expected: expected.to_owned(),
    })
}

fn differ_names(what: &str, found: &[String], expected: &[String]) -> Option<Difference> {
    let same =
        found.len() == expected.len() && found.iter().zip(expected).all(|(a, b)| same_name(a, b));
    (!same).then(|| Difference {
        what: what.to_owned(),
        found: format!("({})", found.join(", ")),
        expected: format!("({})", expected.join(", ")),
    })
}

fn same_name(a: &str, b: &str) -> bool {
    a == b || a.to_lowercase() == b.to_lowercase()
}

fn columns_difference(found: &[Column], expected: &[Column]) -> Option<Difference> {
    for (i, (a, b)) in found.iter().zip(expected).enumerate() {
        if !same_name(&a.name, &b.name) {
            return differ(
                &format!("name of column {}", i + 1),
                &quoted(&a.name),
                &quoted(&b.name),
            );
        }
        if let Some(difference) = column_difference(a, b) {
            return Some(difference);
        }
    }
    differ(
        "number of columns",
        &found.len().to_string(),
        &expected.len().to_string(),
    )
}

fn column_difference(found: &Column, expected: &Column) -> Option<Difference> {
    let name = &expected.name;
    let type_of = |c: &Column| c.data_type.to_ascii_uppercase();
    let null_of = |c: &Column| if c.nullable { "NULL" } else { "NOT NULL" };
    let default_of = |c: &Column| c.default.as_deref().map_or("absent".to_owned(), quoted);
    let aggregation_of = |c: &Column| {
        c.aggregation
            .as_deref()
            .map_or("absent".to_owned(), str::to_ascii_uppercase)
    };
    differ(
        &format!("type of column '{name}'"),
        &type_of(found),
        &type_of(expected),
    )
    .or_else(|| {
        differ(
            &format!("nullability of column '{name}'"),
            null_of(found),
            null_of(expected),
        )
    })
    .or_else(|| {
        let what = format!("default of column '{name}'");
        differ(&what, &default_of(found), &default_of(expected))
    })
    .or_else(|| {
        let what = format!("aggregation of column '{name}'");
        differ(&what, &aggregation_of(found), &aggregation_of(expected))
    })
}

fn quoted(text: &str) -> String {
    format!("'{text}'")
}

fn keys_text(keys: KeysType) -> &'static str {
    match keys {
        KeysType::Duplicate => "DUPLICATE KEY",
        KeysType::Aggregate => "AGGREGATE KEY",
        KeysType::Unique => "UNIQUE KEY",
        KeysType::Primary => "PRIMARY KEY",
    }
}

fn partitioning_difference(found: &Partitioning, expected: &Partitioning) -> Option<Difference> {
    let parts = |p: &Partitioning| match p {
        Partitioning::Unpartitioned => ("UNPARTITIONED", Vec::new()),
        Partitioning::Range { columns } => ("RANGE", columns.clone()),
        Partitioning::List { columns } => ("LIST", columns.clone()),
    };
    let ((kind_a, columns_a), (kind_b, columns_b)) = (parts(found), parts(expected));
    differ("partition type", kind_a, kind_b)
        .or_else(|| differ_names("partition columns", &columns_a, &columns_b))
}

fn distribution_difference(found: &Distribution, expected: &Distribution) -> Option<Difference> {
    let parts = |d: &Distribution| match d {
        Distribution::Hash { columns } => ("HASH", columns.clone()),
        Distribution::Random => ("RANDOM", Vec::new()),
    };
    let ((kind_a, columns_a), (kind_b, columns_b)) = (parts(found), parts(expected));
    differ("distribution type", kind_a, kind_b)
        .or_else(|| differ_names("distribution columns", &columns_a, &columns_b))
}
