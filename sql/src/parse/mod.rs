//! From text to statements: the cut at `;`, and which rule a statement's first words call. The
//! rules of each family lie in a file of their own.

mod admin;
mod job;
mod objects;
mod repository;
mod show;

use sqlparser::tokenizer::{Location, Token};

use crate::cursor::Cursor;
use crate::ddl;
use crate::error::{Code, SqlError};
use crate::lex::{Lexed, lex};
use crate::statement::{Parsed, Statement};

const HEADS: &str = "ALTER, BACKUP, CANCEL, CREATE, DROP, RESTORE, SHOW, TRUNCATE or USE";

/// Reads every statement of `text`; empty ones between `;` are left out.
///
/// # Errors
/// The first statement that is wrong, by line and column in `text`.
pub fn parse(text: &str) -> Result<Vec<Parsed>, SqlError> {
    statements(text).collect()
}

/// Reads the one statement of `text`; a `;` behind it is fine.
///
/// # Errors
/// What is wrong with it, by line and column; also where `text` holds none or more than one.
pub fn parse_one(text: &str) -> Result<Parsed, SqlError> {
    let mut all = statements(text);
    let first = all.next().unwrap_or_else(|| {
        let text = format!("the text holds no statement, expected {HEADS}");
        Err(SqlError::new(Code::Syntax, text))
    })?;
    match all.next() {
        None => Ok(first),
        Some(Err(error)) => Err(error),
        Some(Ok(second)) => {
            let text = format!(
                "a second statement ({}) follows, expected one",
                second.statement.name()
            );
            Err(SqlError::new(Code::Syntax, text))
        }
    }
}

/// The statements of `text` one after the other, so that those before a wrong one can run. Ends
/// after the first error.
pub fn statements(text: &str) -> Statements<'_> {
    Statements {
        text,
        lexed: lex(text),
        at: 0,
        over: false,
    }
}

/// See [`statements`].
#[derive(Debug)]
pub struct Statements<'a> {
    text: &'a str,
    lexed: Lexed,
    at: usize,
    over: bool,
}

impl Iterator for Statements<'_> {
    type Item = Result<Parsed, SqlError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.over {
            return None;
        }
        while self
            .lexed
            .tokens
            .get(self.at)
            .is_some_and(|t| t.token == Token::SemiColon)
        {
            self.at += 1;
        }
        let rest = self.lexed.tokens.get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|t| t.token == Token::SemiColon);
        let outcome = match (length, &self.lexed.error) {
            // What cannot be read further belongs to the last statement, or stands alone.
            (None, Some(error)) => Err(error.clone()),
            (None, None) if rest.is_empty() => return None,
            _ => {
                let tokens = &rest[..length.unwrap_or(rest.len())];
                let end = rest.get(tokens.len()).map_or(self.lexed.end, |t| t.place);
                self.at += tokens.len();
                one(self.text, tokens, end)
            }
        };
        self.over = outcome.is_err();
        Some(outcome)
    }
}

fn one(text: &str, tokens: &[crate::lex::Lexeme], end: Location) -> Result<Parsed, SqlError> {
    let mut cursor = Cursor::new(text, tokens, end);
    let statement = statement(&mut cursor)?;
    cursor.finish()?;
    Ok(Parsed {
        statement,
        text: cursor.text_since(0).to_owned(),
    })
}

fn statement(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    for word in [
        "SELECT", "INSERT", "UPDATE", "DELETE", "SET", "EXPLAIN", "RECOVER", "ADMIN",
    ] {
        if cursor.is(word) {
            let text = format!("{word} is not a statement of this server, expected {HEADS}");
            return Err(SqlError::new(Code::Unsupported, text));
        }
    }
    if cursor.eat("BACKUP") {
        job::backup(cursor).map(Statement::Backup)
    } else if cursor.eat("RESTORE") {
        job::restore(cursor).map(Statement::Restore)
    } else if cursor.eat("CANCEL") {
        job::cancel(cursor)
    } else if cursor.eat("SHOW") {
        show::show(cursor)
    } else if cursor.eat("CREATE") {
        create(cursor)
    } else if cursor.eat("DROP") {
        drop_any(cursor)
    } else if cursor.eat("ALTER") {
        alter(cursor)
    } else if cursor.eat("TRUNCATE") {
        cursor.eat("TABLE");
        let table = cursor.table_name()?;
        let partitions = admin::partitions(cursor)?;
        Ok(Statement::TruncateTable { table, partitions })
    } else if cursor.eat("USE") {
        Ok(Statement::Use {
            database: cursor.ident("database")?,
        })
    } else {
        Err(cursor.unexpected(HEADS))
    }
}

fn create(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    if cursor.is("READ") || cursor.is("REPOSITORY") {
        return repository::create(cursor);
    }
    if cursor.eat_any(&["DATABASE", "SCHEMA"]) {
        return admin::create_database(cursor);
    }
    if cursor.eat("TABLE") {
        return ddl::create_table(cursor).map(|table| Statement::CreateTable(Box::new(table)));
    }
    for kind in [
        "EXTERNAL",
        "TEMPORARY",
        "VIEW",
        "MATERIALIZED",
        "FUNCTION",
        "INDEX",
        "USER",
    ] {
        if cursor.is(kind) {
            return Err(unsupported(
                &format!("CREATE {kind}"),
                "only tables of its own are kept here",
            ));
        }
    }
    Err(cursor.unexpected("REPOSITORY, READ ONLY REPOSITORY, DATABASE or TABLE"))
}

fn drop_any(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    if cursor.eat("REPOSITORY") {
        return Ok(Statement::DropRepository {
            name: cursor.ident("repository")?,
        });
    }
    if cursor.eat_any(&["DATABASE", "SCHEMA"]) {
        let if_exists = cursor.if_exists()?;
        let name = cursor.ident("database")?;
        // Nothing is kept in a bin, so that every drop is as with FORCE.
        cursor.eat("FORCE");
        return Ok(Statement::DropDatabase { name, if_exists });
    }
    if cursor.eat("TABLE") {
        let if_exists = cursor.if_exists()?;
        let table = cursor.table_name()?;
        cursor.eat("FORCE");
        return Ok(Statement::DropTable { table, if_exists });
    }
    if cursor.is("SNAPSHOT") {
        return Err(unsupported(
            "DROP SNAPSHOT",
            "snapshots cannot be removed by a statement yet; the folder __ss_<label> of the \
             repository may be deleted by hand",
        ));
    }
    Err(cursor.unexpected("REPOSITORY, DATABASE or TABLE"))
}

fn alter(cursor: &mut Cursor<'_>) -> Result<Statement, SqlError> {
    if cursor.eat("SYSTEM") {
        return admin::alter_system(cursor);
    }
    if cursor.eat("TABLE") {
        return admin::alter_table(cursor);
    }
    if cursor.is("REPOSITORY") {
        return Err(unsupported(
            "ALTER REPOSITORY",
            "drop the repository and create it again with the new properties; its snapshots stay",
        ));
    }
    Err(cursor.unexpected("SYSTEM or TABLE"))
}

/// The error for a statement or clause of the grammar that has no meaning here.
pub(crate) use objects::no_catalogs;

pub(crate) fn unsupported(what: &str, reason: &str) -> SqlError {
    SqlError::new(
        Code::Unsupported,
        format!("{what} is not supported: {reason}"),
    )
}
