//! BACKUP, RESTORE and CANCEL, in the older grammar (`SNAPSHOT db.label`) and the newer (`DATABASE
//! db`).

use crate::cursor::Cursor;
use crate::error::{Code, SqlError};
use crate::statement::{Backup, Objects, Restore, Statement};

use super::objects;
use super::unsupported;

/// What follows BACKUP.
pub(super) fn backup(cursor: &mut Cursor<'_>) -> Result<Backup, SqlError> {
    if cursor.is("GLOBAL") {
        return Err(unsupported(
            "BACKUP GLOBAL",
            "a snapshot holds tables of one database",
        ));
    }
    let catalogs = objects::catalogs(cursor)?;
    let named = if cursor.eat("DATABASE") {
        Some(cursor.ident("database")?)
    } else {
        None
    };
    cursor.expect("SNAPSHOT")?;
    let (before_label, label) = cursor.dotted("snapshot")?;
    let database = either(named, before_label, &label)?;
    cursor.expect("TO")?;
    let repository = cursor.ident("repository")?;
    let listed = objects::objects(cursor)?;
    if let Some(alias) = first_alias(&listed) {
        let text = format!("AS '{alias}' in BACKUP, expected no alias: a backup keeps every name");
        return Err(SqlError::new(Code::Syntax, text));
    }
    let objects = join(catalogs, listed, database.as_deref())?;
    let properties = cursor.properties()?;
    cursor.finish_or(&after(&objects))?;
    Ok(Backup {
        database,
        label,
        repository,
        objects,
        properties,
    })
}

/// What follows RESTORE.
pub(super) fn restore(cursor: &mut Cursor<'_>) -> Result<Restore, SqlError> {
    if cursor.is("GLOBAL") {
        return Err(unsupported(
            "RESTORE GLOBAL",
            "a snapshot holds tables of one database",
        ));
    }
    cursor.expect("SNAPSHOT")?;
    let (label_database, label) = cursor.dotted("snapshot")?;
    cursor.expect("FROM")?;
    let repository = cursor.ident("repository")?;
    let catalogs = objects::catalogs(cursor)?;
    let (mut source, mut target) = (None, None);
    if cursor.eat("DATABASE") {
        source = Some(cursor.ident("database")?);
        if cursor.eat("AS") {
            target = Some(cursor.ident("database")?);
        }
    }
    either(source.clone(), label_database.clone(), &label)?;
    let listed = objects::objects(cursor)?;
    let named = source.as_deref().or(label_database.as_deref());
    let objects = join(catalogs, listed, named)?;
    let properties = cursor.properties()?;
    cursor.finish_or(&after(&objects))?;
    Ok(Restore {
        source,
        target,
        label_database,
        label,
        repository,
        objects,
        properties,
    })
}

/// `CANCEL {BACKUP|RESTORE} [{FROM|IN} db]`
pub(super) fn cancel(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    let backup = cursor.eat("BACKUP");
    if !backup && !cursor.eat("RESTORE") {
        return Err(cursor.unexpected("BACKUP or RESTORE"));
    }
    if cursor.eat_all(&["FOR", "EXTERNAL"]) {
        return Err(objects::no_catalogs());
    }
    let database = cursor.of_database()?;
    cursor.finish_or("FROM, IN or the end of the statement")?;
    Ok(if backup {
        Statement::CancelBackup { database }
    } else {
        Statement::CancelRestore { database }
    })
}

fn either(
    named: Option<String>,
    before_label: Option<String>,
    label: &str,
) -> Result<Option<String>, SqlError> {
    match (named, before_label) {
        (Some(named), Some(before)) => {
            let text = format!(
                "syntax error: DATABASE '{named}' stands beside the database of \
                 '{before}.{label}', \
                 expected one of the two"
            );
            Err(SqlError::new(Code::Syntax, text))
        }
        (named, before) => Ok(named.or(before)),
    }
}

fn join(
    catalogs: Option<String>,
    objects: Objects,
    database: Option<&str>,
) -> Result<Objects, SqlError> {
    let Some(catalogs) = catalogs else {
        return Ok(objects);
    };
    if database.is_some() || objects != Objects::Whole {
        let text = format!("syntax error: '{catalogs}' stands beside a database or its objects");
        return Err(SqlError::new(Code::Syntax, text));
    }
    Ok(Objects::Catalogs(catalogs))
}

fn first_alias(objects: &Objects) -> Option<&str> {
    match objects {
        Objects::On(list) | Objects::Exclude(list) => {
            list.iter().find_map(|object| object.alias.as_deref())
        }
        Objects::Whole | Objects::Catalogs(_) => None,
    }
}

fn after(objects: &Objects) -> String {
    match objects {
        Objects::Whole => "ON, EXCLUDE, PROPERTIES or the end of the statement",
        _ => "PROPERTIES or the end of the statement",
    }
    .to_owned()
}
