//! The SHOW statements.

use sqlparser::tokenizer::Token;

use crate::cursor::Cursor;
use crate::error::{Code, SqlError};
use crate::filter::{Comparison, Expr, Operand, Tail};
use crate::moment;
use crate::statement::{ShowJobs, ShowSnapshot, SnapshotPick, Statement, Width};

use super::admin;

const KINDS: &str = "BACKENDS, BACKUP, BRIEF RESTORE, BROKER, CREATE REPOSITORY, CREATE TABLE, \
    DATABASES, \
                     JOB EVENTS, PARTITIONS, REPOSITORIES, RESTORE, SNAPSHOT, TABLES or TABLET";

/// Makes a SHOW of nothing but its tail.
type MakeShow = fn(Tail) -> Statement;

/// What follows SHOW.
pub(super) fn show(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    if cursor.eat("BACKUP") {
        return jobs(cursor, Width::Full).map(Statement::ShowBackup);
    }
    if cursor.eat("RESTORE") {
        return jobs(cursor, Width::Full).map(Statement::ShowRestore);
    }
    if cursor.eat("BRIEF") {
        cursor.expect("RESTORE")?;
        return jobs(cursor, Width::Brief).map(Statement::ShowRestore);
    }
    if cursor.eat("SNAPSHOT") {
        return snapshot(cursor).map(Statement::ShowSnapshot);
    }
    if cursor.eat("CREATE") {
        return create(cursor);
    }
    if cursor.eat("JOB") {
        return job_events(cursor);
    }
    let plain: [(&[&str], MakeShow); 4] = [
        (&["REPOSITORIES"], Statement::ShowRepositories),
        (&["BROKER", "BROKERS"], Statement::ShowBroker),
        (&["BACKENDS"], Statement::ShowBackends),
        (&["DATABASES", "SCHEMAS"], Statement::ShowDatabases),
    ];
    for (words, statement) in plain {
        if cursor.eat_any(words) {
            return Tail::parse(cursor).map(statement);
        }
    }
    cursor.eat("FULL");
    if cursor.eat("TABLES") {
        let database = cursor.of_database()?;
        return Ok(Statement::ShowTables {
            database,
            tail: Tail::parse(cursor)?,
        });
    }
    if cursor.eat("PARTITIONS") {
        if !cursor.eat_any(&["FROM", "IN"]) {
            return Err(cursor.unexpected("FROM"));
        }
        let table = cursor.table_name()?;
        return Ok(Statement::ShowPartitions {
            table,
            tail: Tail::parse(cursor)?,
        });
    }
    if cursor.eat_any(&["TABLET", "TABLETS"]) {
        return tablet(cursor);
    }
    Err(cursor.unexpected(KINDS))
}

fn jobs(cursor: &mut Cursor<'_>, width: Width) -> Result<ShowJobs, SqlError> {
    let database = cursor.of_database()?;
    let as_of = moment::as_of(cursor)?;
    Ok(ShowJobs {
        database,
        width,
        as_of,
        tail: Tail::parse(cursor)?,
    })
}

fn job_events(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    cursor.expect("EVENTS")?;
    cursor.expect("FOR")?;
    Ok(Statement::ShowJobEvents {
        job: cursor.integer("the id of a job")?,
        tail: Tail::parse(cursor)?,
    })
}

fn create(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    if cursor.eat("TABLE") {
        return Ok(Statement::ShowCreateTable {
            table: cursor.table_name()?,
        });
    }
    if cursor.eat("REPOSITORY") {
        cursor.expect("FOR")?;
        return Ok(Statement::ShowCreateRepository {
            name: cursor.ident("repository")?,
        });
    }
    Err(cursor.unexpected("TABLE or REPOSITORY"))
}

fn tablet(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    if cursor.eat_any(&["FROM", "IN"]) {
        let table = cursor.table_name()?;
        let partitions = admin::partitions(cursor)?;
        return Ok(Statement::ShowTablets {
            table,
            partitions,
            tail: Tail::parse(cursor)?,
        });
    }
    match cursor.peek() {
        Some(Token::Number(..)) => Ok(Statement::ShowTablet {
            id: cursor.integer("the id of a tablet")?,
            tail: Tail::parse(cursor)?,
        }),
        _ => Err(cursor.unexpected("the id of a tablet or FROM")),
    }
}

fn snapshot(cursor: &mut Cursor<'_>) -> Result<ShowSnapshot, SqlError> {
    cursor.expect("ON")?;
    let repository = cursor.ident("repository")?;
    let mut tail = Tail::parse(cursor)?;
    let mut pick = SnapshotPick::All;
    if let Some(filter) = &tail.filter
        && let Some(found) = snapshot_pick(filter)?
    {
        pick = found;
        tail.filter = None;
    }
    Ok(ShowSnapshot {
        repository,
        pick,
        tail,
    })
}

/// The labels or the exact snapshot that a WHERE names; `None` for any other condition, which is
/// then held against the columns.
fn snapshot_pick(filter: &Expr) -> Result<Option<SnapshotPick>, SqlError> {
    if equals(filter, "TIMESTAMP").is_some() {
        let text = "WHERE TIMESTAMP without SNAPSHOT, expected WHERE SNAPSHOT = '..' \
                    [AND TIMESTAMP = '..']";
        return Err(SqlError::new(Code::BadFilter, text));
    }
    if let Some(label) = equals(filter, "SNAPSHOT") {
        return Ok(Some(SnapshotPick::Labels(vec![label.to_owned()])));
    }
    if let Expr::In {
        value: Operand::Column(column),
        items,
    } = filter
        && column.eq_ignore_ascii_case("SNAPSHOT")
    {
        let labels: Option<Vec<String>> = items
            .iter()
            .map(|item| match item {
                Operand::Text(text) => Some(text.clone()),
                _ => None,
            })
            .collect();
        return Ok(labels.map(SnapshotPick::Labels));
    }
    let Expr::And(parts) = filter else {
        return Ok(None);
    };
    Ok(match parts.as_slice() {
        [a, b] => exact(a, b).or_else(|| exact(b, a)),
        _ => None,
    })
}

fn exact(label: &Expr, timestamp: &Expr) -> Option<SnapshotPick> {
    Some(SnapshotPick::Exact {
        label: equals(label, "SNAPSHOT")?.to_owned(),
        timestamp: equals(timestamp, "TIMESTAMP")?.to_owned(),
    })
}

/// The text that `column` is to equal.
fn equals<'a>(expr: &'a Expr, column: &str) -> Option<&'a str> {
    match expr {
        Expr::Compare {
            left: Operand::Column(name),
            how: Comparison::Equal,
            right: Operand::Text(text),
        } if name.eq_ignore_ascii_case(column) => Some(text),
        _ => None,
    }
}
