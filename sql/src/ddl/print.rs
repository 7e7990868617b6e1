//! Tables and repositories back to the statements that make them. What is printed parses to the
//! same again.

use std::collections::BTreeMap;
use std::fmt::Write;

use holdfast_engine::{RepositoryAccess, RepositoryView};
use holdfast_storage::model::{
    Bounds, Column, Distribution, PartitionMeta, Partitioning, TableSchema,
};

use crate::secret;

use super::columns::NOW;
use super::keys::words;
use super::types::{self, Class};
use super::{BUCKETS_KEY, DEFAULT_BUCKETS, DEFAULT_REPLICATION_NUM, REPLICATION_KEY};

/// A name between backquotes.
pub(crate) fn quoted_name(name: &str) -> String {
    format!("`{}`", name.replace('`', "``"))
}

/// A text between double quotes.
fn quoted_text(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for ch in text.chars() {
        if matches!(ch, '"' | '\\') {
            out.push('\\');
        }
        out.push(ch);
    }
    out.push('"');
    out
}

fn names(columns: &[String]) -> String {
    columns
        .iter()
        .map(|name| quoted_name(name))
        .collect::<Vec<_>>()
        .join(", ")
}

/// The CREATE TABLE statement that makes a table like this one.
pub fn create_table_text(name: &str, schema: &TableSchema, partitions: &[PartitionMeta]) -> String {
    let columns: Vec<String> = schema.columns.iter().map(column).collect();
    let mut out = format!("CREATE TABLE {} (", quoted_name(name));
    if !columns.is_empty() {
        out.push_str("\n  ");
        out.push_str(&columns.join(",\n  "));
        out.push('\n');
    }
    out.push_str(") ENGINE=OLAP\n");
    out.push_str(&format!(
        "{}({})\n",
        words(schema.keys_type),
        names(&schema.key_columns)
    ));
    if !schema.comment.is_empty() {
        out.push_str(&format!("COMMENT {}\n", quoted_text(&schema.comment)));
    }
    let (buckets, replicas) = table_numbers(schema, partitions);
    push_partitions(&mut out, schema, partitions, buckets, replicas);
    match &schema.distribution {
        Distribution::Hash { columns } => {
            out.push_str(&format!("DISTRIBUTED BY HASH({})", names(columns)));
        }
        Distribution::Random => out.push_str("DISTRIBUTED BY RANDOM"),
    }
    out.push_str(&format!(
        " BUCKETS {buckets}\nPROPERTIES (\n\"replication_num\" = \"{replicas}\""
    ));
    for (key, value) in &schema.properties {
        if key != BUCKETS_KEY && key != REPLICATION_KEY {
            out.push_str(&format!(",\n{} = {}", quoted_text(key), quoted_text(value)));
        }
    }
    out.push_str("\n)");
    out
}

/// The numbers that stand for the whole table: those of its first partition.
fn table_numbers(schema: &TableSchema, partitions: &[PartitionMeta]) -> (u32, u32) {
    let kept = |key: &str, otherwise: u32| {
        schema
            .properties
            .get(key)
            .and_then(|text| text.parse().ok())
            .unwrap_or(otherwise)
    };
    match partitions.first() {
        Some(first) => (first.buckets, first.replication_num),
        None => (
            kept(BUCKETS_KEY, DEFAULT_BUCKETS),
            kept(REPLICATION_KEY, DEFAULT_REPLICATION_NUM),
        ),
    }
}

fn column(column: &Column) -> String {
    let mut out = format!("{} {}", quoted_name(&column.name), column.data_type);
    if let Some(aggregation) = &column.aggregation {
        out.push_str(&format!(" {aggregation}"));
    }
    out.push_str(if column.nullable {
        " NULL"
    } else {
        " NOT NULL"
    });
    if let Some(default) = &column.default {
        let now = default == NOW && types::class(&column.data_type) == Class::DateTime;
        let text = if now {
            NOW.to_owned()
        } else {
            quoted_text(default)
        };
        out.push_str(&format!(" DEFAULT {text}"));
    }
    if !column.comment.is_empty() {
        out.push_str(&format!(" COMMENT {}", quoted_text(&column.comment)));
    }
    out
}

fn push_partitions(
    out: &mut String,
    schema: &TableSchema,
    partitions: &[PartitionMeta],
    buckets: u32,
    replicas: u32,
) {
    match &schema.partitioning {
        Partitioning::Unpartitioned => return,
        Partitioning::Range { columns } => {
            out.push_str(&format!("PARTITION BY RANGE({})\n(", names(columns)));
        }
        Partitioning::List { columns } => {
            out.push_str(&format!("PARTITION BY LIST({})\n(", names(columns)));
        }
    }
    for (i, partition) in partitions.iter().enumerate() {
        if i > 0 {
            out.push_str(",\n");
        }
        out.push_str(&format!(
            "PARTITION {} {}",
            quoted_name(&partition.name),
            values(&partition.bounds)
        ));
        if partition.replication_num != replicas {
            out.push_str(&format!(
                " (\"replication_num\" = \"{}\")",
                partition.replication_num
            ));
        }
        if partition.buckets != buckets {
            out.push_str(&format!(" BUCKETS {}", partition.buckets));
        }
    }
    out.push_str(")\n");
}

fn tuple(values: &[String]) -> String {
    let one = |text: &String| match text.as_str() {
        "MAXVALUE" | "MINVALUE" => text.clone(),
        _ => quoted_text(text),
    };
    format!(
        "({})",
        values.iter().map(one).collect::<Vec<_>>().join(", ")
    )
}

fn values(bounds: &Bounds) -> String {
    match bounds {
        Bounds::All => String::new(),
        Bounds::Range {
            lower: None,
            upper: None,
        } => "VALUES LESS THAN MAXVALUE".to_owned(),
        Bounds::Range {
            lower: None,
            upper: Some(upper),
        } => {
            format!("VALUES LESS THAN {}", tuple(upper))
        }
        Bounds::Range {
            lower: Some(lower),
            upper,
        } => {
            let upper = upper
                .as_deref()
                .map_or_else(|| "(MAXVALUE)".to_owned(), tuple);
            format!("VALUES [{}, {upper})", tuple(lower))
        }
        Bounds::List { items } => {
            let one = |item: &Vec<String>| match item.as_slice() {
                [only] => quoted_text(only),
                many => {
                    format!(
                        "({})",
                        many.iter()
                            .map(|v| quoted_text(v))
                            .collect::<Vec<_>>()
                            .join(", ")
                    )
                }
            };
            format!(
                "VALUES IN ({})",
                items.iter().map(one).collect::<Vec<_>>().join(", ")
            )
        }
    }
}

/// The CREATE REPOSITORY statement of a repository; secret properties are masked, so that it makes
/// the same repository only once they are filled in.
pub fn create_repository_text(
    view: &RepositoryView,
    properties: &BTreeMap<String, String>,
) -> String {
    let read_only = match view.access {
        RepositoryAccess::ReadWrite => "",
        RepositoryAccess::ReadOnly => "READ ONLY ",
    };
    let broker = view
        .broker
        .as_ref()
        .map(|name| format!(" {}", quoted_name(name)));
    let mut out = format!(
        "CREATE {read_only}REPOSITORY {}\nWITH BROKER{}\nON LOCATION {}",
        quoted_name(&view.name),
        broker.unwrap_or_default(),
        quoted_text(&secret::mask_location(&view.location))
    );
    if !properties.is_empty() {
        out.push_str("\nPROPERTIES (");
        for (i, (key, value)) in properties.iter().enumerate() {
            let separator = if i == 0 { "" } else { "," };
            let value = quoted_text(secret::mask(key, value));
            // Writing to a String cannot fail.
            let _ = write!(out, "{separator}\n{} = {value}", quoted_text(key));
        }
        out.push_str("\n)");
    }
    out
}
