//! CREATE REPOSITORY.

use holdfast_engine::RepositoryAccess;

use crate::cursor::Cursor;
use crate::error::SqlError;
use crate::statement::{CreateRepository, Reach, Statement};

/// What follows CREATE.
pub(super) fn create(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    let access = if cursor.eat("READ") {
        cursor.expect("ONLY")?;
        RepositoryAccess::ReadOnly
    } else {
        RepositoryAccess::ReadWrite
    };
    cursor.expect("REPOSITORY")?;
    let name = cursor.ident("repository")?;
    cursor.expect("WITH")?;
    let reach = reach(cursor)?;
    cursor.expect("ON")?;
    cursor.expect("LOCATION")?;
    let location = cursor.string("a location")?;
    let properties = cursor.properties()?;
    cursor.finish_or("PROPERTIES or the end of the statement")?;
    let create = CreateRepository {
        name,
        access,
        reach,
        location,
        properties,
    };
    Ok(Statement::CreateRepository(create))
}

fn reach(cursor: &mut Cursor<'_>) -> Result<Reach, SqlError> {
    if cursor.eat("BROKER") {
        return if cursor.is("ON") {
            Ok(Reach::Direct)
        } else {
            cursor.ident_or_string("broker").map(Reach::Broker)
        };
    }
    for (word, reach) in [
        ("S3", Reach::S3),
        ("HDFS", Reach::Hdfs),
        ("LOCAL", Reach::Local),
    ] {
        if cursor.eat(word) {
            return Ok(reach);
        }
    }
    Err(cursor.unexpected("BROKER, S3, HDFS or LOCAL"))
}
