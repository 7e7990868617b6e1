//! Databases, backends, brokers, and the changes of a table's partitions.

use sqlparser::tokenizer::Token;

use crate::cursor::Cursor;
use crate::ddl;
use crate::error::{Code, SqlError};
use crate::names;
use crate::statement::Statement;

use super::unsupported;

/// What follows CREATE DATABASE.
pub(super) fn create_database(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    let if_not_exists = cursor.if_not_exists()?;
    let name = cursor.ident("database")?;
    names::check_database(&name)?;
    Ok(Statement::CreateDatabase {
        name,
        if_not_exists,
    })
}

/// `[PARTITION[S] (p, …)]`
pub(super) fn partitions(cursor: &mut Cursor<'_>) -> Result<Vec<String>, SqlError> {
    if cursor.eat_any(&["PARTITION", "PARTITIONS"]) {
        cursor.partition_names()
    } else {
        Ok(Vec::new())
    }
}

/// What follows ALTER SYSTEM.
pub(super) fn alter_system(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    let add = cursor.eat("ADD");
    if !add && !cursor.eat("DROP") {
        return Err(cursor.unexpected("ADD or DROP"));
    }
    if cursor.eat("BACKEND") {
        let name = cursor.string("the name of a backend")?;
        if cursor.is_token(&Token::Comma) {
            return Err(cursor.unexpected("the end of the statement: one backend at a time"));
        }
        if name.is_empty() {
            return Err(SqlError::new(
                Code::BadName,
                "the name of a backend is empty",
            ));
        }
        return Ok(if add {
            Statement::AddBackend { name }
        } else {
            Statement::DropBackend { name }
        });
    }
    if !add && cursor.eat_all(&["ALL", "BROKER"]) {
        let name = cursor.ident_or_string("broker")?;
        return Ok(Statement::DropBroker {
            name,
            addresses: None,
        });
    }
    if !cursor.eat("BROKER") {
        return Err(cursor.unexpected(if add {
            "BACKEND or BROKER"
        } else {
            "BACKEND, BROKER or ALL BROKER"
        }));
    }
    let name = cursor.ident_or_string("broker")?;
    let mut addresses = vec![address(cursor)?];
    while cursor.eat_token(&Token::Comma) {
        addresses.push(address(cursor)?);
    }
    Ok(if add {
        Statement::AddBroker { name, addresses }
    } else {
        Statement::DropBroker {
            name,
            addresses: Some(addresses),
        }
    })
}

fn address(cursor: &mut Cursor<'_>) -> Result<String, SqlError> {
    let address = cursor.string("host:port")?;
    let fine = address.rsplit_once(':').is_some_and(|(host, port)| {
        !host.is_empty()
            && !host.contains(char::is_whitespace)
            && port.parse::<u16>().is_ok_and(|port| port > 0)
    });
    if fine {
        return Ok(address);
    }
    let text = format!(
        "broker address '{}', expected host:port",
        address.escape_debug()
    );
    Err(SqlError::new(Code::BadName, text))
}

/// What follows ALTER TABLE.
pub(super) fn alter_table(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    let table = cursor.table_name()?;
    let add = cursor.eat("ADD");
    if !add && !cursor.eat("DROP") {
        return Err(cursor.unexpected("ADD PARTITION or DROP PARTITION"));
    }
    if cursor.is("TEMPORARY") {
        return Err(unsupported(
            "TEMPORARY PARTITION",
            "partitions are either there or not",
        ));
    }
    if !cursor.eat("PARTITION") {
        return Err(cursor.unexpected("PARTITION"));
    }
    if add {
        let partition = ddl::added_partition(cursor)?;
        return Ok(Statement::AddPartition { table, partition });
    }
    let if_exists = cursor.if_exists()?;
    let partition = cursor.ident_or_string("partition")?;
    cursor.eat("FORCE");
    Ok(Statement::DropPartition {
        table,
        partition,
        if_exists,
    })
}
