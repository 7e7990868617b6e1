//! CREATE TABLE: its clauses, put together into the storage's model.

use std::collections::BTreeMap;

use holdfast_storage::model::{
    Bounds, Column, Distribution, KeysType, PartitionMeta, Partitioning, TableSchema,
};
use sqlparser::tokenizer::Token;

use crate::cursor::Cursor;
use crate::error::{Code, SqlError};
use crate::names;
use crate::parse::unsupported;
use crate::statement::{AddedPartition, CreateTable};

use super::columns;
use super::keys::{self, Keys};
use super::partition::{self, Defaults, Shape};
use super::{BUCKETS_KEY, DEFAULT_BUCKETS, DEFAULT_REPLICATION_NUM, REPLICATION_KEY};

/// What follows ALTER TABLE t ADD PARTITION.
pub(crate) fn added_partition(cursor: &mut Cursor<'_>) -> Result<AddedPartition, SqlError> {
    partition::partition(cursor)
}

/// The clauses as written.
#[derive(Debug, Default)]
struct Clauses {
    keys: Option<Keys>,
    comment: String,
    partitioning: Option<(Partitioning, Vec<AddedPartition>)>,
    distribution: Option<Distribution>,
    buckets: Option<u32>,
    properties: BTreeMap<String, String>,
}

/// What follows CREATE TABLE.
pub(crate) fn create_table(cursor: &mut Cursor<'_>) -> Result<CreateTable, SqlError> {
    let if_not_exists = cursor.if_not_exists()?;
    let table = cursor.table_name()?;
    names::check_table(&table.table)?;
    for word in ["LIKE", "AS"] {
        if cursor.is(word) {
            return Err(unsupported(
                &format!("CREATE TABLE {word}"),
                "list the columns",
            ));
        }
    }
    let mut drafts = columns::columns(cursor)?;
    let clauses = clauses(cursor)?;
    let keys = keys::keys(&mut drafts, clauses.keys)?;
    let columns: Vec<Column> = drafts.into_iter().map(|draft| draft.column).collect();
    let distribution = keys::distribution(&columns, &keys, clauses.distribution)?;
    let mut properties = clauses.properties;
    let replicas = match properties.remove("replication_num") {
        Some(text) => Some(partition::replication_num(&text)?),
        None => None,
    };
    let defaults = Defaults {
        buckets: clauses.buckets.unwrap_or(DEFAULT_BUCKETS),
        replication_num: replicas.unwrap_or(DEFAULT_REPLICATION_NUM),
    };
    let (partitioning, partitions) = match clauses.partitioning {
        Some((partitioning, drafts)) => {
            partitions(partitioning, &drafts, &columns, &keys, defaults)?
        }
        None => (
            Partitioning::Unpartitioned,
            vec![whole(&table.table, defaults)],
        ),
    };
    if partitions.is_empty() {
        // No partition carries these numbers yet.
        properties.insert(BUCKETS_KEY.to_owned(), defaults.buckets.to_string());
        properties.insert(
            REPLICATION_KEY.to_owned(),
            defaults.replication_num.to_string(),
        );
    }
    let schema = TableSchema {
        columns,
        keys_type: keys.kind,
        key_columns: keys.columns,
        partitioning,
        distribution,
        comment: clauses.comment,
        properties,
    };
    Ok(CreateTable {
        table,
        if_not_exists,
        schema,
        partitions,
    })
}

fn whole(name: &str, defaults: Defaults) -> PartitionMeta {
    PartitionMeta {
        name: name.to_owned(),
        bounds: Bounds::All,
        buckets: defaults.buckets,
        replication_num: defaults.replication_num,
    }
}

fn partitions(
    partitioning: Partitioning,
    drafts: &[AddedPartition],
    columns: &[Column],
    keys: &Keys,
    defaults: Defaults,
) -> Result<(Partitioning, Vec<PartitionMeta>), SqlError> {
    const CLAUSE: &str = "PARTITION BY";
    let known = |names: &[String]| -> Result<Vec<String>, SqlError> {
        let names = keys::known_columns(columns, names, CLAUSE)?;
        keys::check_placing(columns, keys, &names, Code::BadPartition, CLAUSE)?;
        Ok(names)
    };
    let partitioning = match partitioning {
        Partitioning::Unpartitioned => Partitioning::Unpartitioned,
        Partitioning::Range { columns } => Partitioning::Range {
            columns: known(&columns)?,
        },
        Partitioning::List { columns } => Partitioning::List {
            columns: known(&columns)?,
        },
    };
    let partitions = match Shape::new(&partitioning, columns) {
        Some(shape) => {
            shape.check()?;
            partition::resolve_all(&shape, drafts, defaults)?
        }
        None => Vec::new(),
    };
    Ok((partitioning, partitions))
}

const CLAUSES: &str = "ENGINE, a key clause, COMMENT, PARTITION BY, DISTRIBUTED BY, PROPERTIES or \
    the end of the statement";

fn clauses(cursor: &mut Cursor<'_>) -> Result<Clauses, SqlError> {
    let mut out = Clauses::default();
    if cursor.eat("ENGINE") {
        cursor.expect_token(&Token::Eq)?;
        let engine = cursor.ident_or_string("engine")?;
        if !engine.eq_ignore_ascii_case("olap") {
            let what = format!("ENGINE = {engine}");
            return Err(unsupported(
                &what,
                "only ENGINE = OLAP has tables of its own",
            ));
        }
    }
    for kind in [
        KeysType::Duplicate,
        KeysType::Aggregate,
        KeysType::Unique,
        KeysType::Primary,
    ] {
        let word = keys::words(kind).trim_end_matches(" KEY");
        if cursor.eat(word) {
            cursor.expect("KEY")?;
            out.keys = Some(Keys {
                kind,
                columns: possibly_none(cursor)?,
            });
            break;
        }
    }
    if cursor.eat("COMMENT") {
        out.comment = cursor.string("a comment")?;
    }
    if cursor.eat("PARTITION") {
        cursor.expect("BY")?;
        out.partitioning = Some(partition_by(cursor)?);
    }
    if cursor.eat("DISTRIBUTED") {
        cursor.expect("BY")?;
        if cursor.eat("HASH") {
            out.distribution = Some(Distribution::Hash {
                columns: possibly_none(cursor)?,
            });
        } else if cursor.eat("RANDOM") {
            out.distribution = Some(Distribution::Random);
        } else {
            return Err(cursor.unexpected("HASH or RANDOM"));
        }
        out.buckets = partition::buckets(cursor)?;
    }
    for (word, reason) in [
        ("ORDER", "rows lie as their key columns say"),
        ("ROLLUP", "a table has its base index alone"),
        ("AS", "a table begins empty, load it afterwards"),
        ("BROKER", "only tables of its own are kept here"),
    ] {
        if cursor.is(word) {
            return Err(unsupported(&format!("{word} in CREATE TABLE"), reason));
        }
    }
    out.properties = cursor.properties()?.0;
    for key in [BUCKETS_KEY, REPLICATION_KEY] {
        if out.properties.contains_key(key) {
            let text = format!(
                "property '{key}' is kept by the server, expected BUCKETS and replication_num"
            );
            return Err(SqlError::new(Code::BadProperty, text));
        }
    }
    cursor.finish_or(CLAUSES)?;
    Ok(out)
}

/// `(column, …)` or `()`.
fn possibly_none(cursor: &mut Cursor<'_>) -> Result<Vec<String>, SqlError> {
    if cursor.is_token(&Token::LParen) && cursor.peek_at(1) == Some(&Token::RParen) {
        cursor.advance();
        cursor.advance();
        return Ok(Vec::new());
    }
    cursor.names("column")
}

fn partition_by(cursor: &mut Cursor<'_>) -> Result<(Partitioning, Vec<AddedPartition>), SqlError> {
    let range = cursor.eat("RANGE");
    if !range && !cursor.eat("LIST") {
        if matches!(cursor.peek(), Some(Token::Word(_) | Token::LParen)) {
            let what = "PARTITION BY an expression";
            return Err(unsupported(
                what,
                "expected PARTITION BY RANGE (..) or LIST (..)",
            ));
        }
        return Err(cursor.unexpected("RANGE or LIST"));
    }
    let columns = if range {
        cursor.names("column")?
    } else {
        possibly_none(cursor)?
    };
    let partitioning = if range {
        Partitioning::Range { columns }
    } else {
        Partitioning::List { columns }
    };
    let empty = cursor.is_token(&Token::LParen) && cursor.peek_at(1) == Some(&Token::RParen);
    if empty {
        cursor.advance();
        cursor.advance();
        return Ok((partitioning, Vec::new()));
    }
    let drafts = cursor.list(|cursor| {
        if cursor.is("START") {
            let what = "a series of partitions (START .. END .. EVERY)";
            return Err(unsupported(what, "list each partition with its VALUES"));
        }
        cursor.expect("PARTITION")?;
        partition::partition(cursor)
    })?;
    Ok((partitioning, drafts))
}
