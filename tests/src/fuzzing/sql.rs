//! SQL texts: whatever is read can be read again, and an error has its place in the text.
//!
//! Needs nothing but `holdfast_sql`, whose own tests include this file.

use holdfast_sql::{
    Code, ResultTable, SqlError, Statement, complete, create_table_text, is_unfinished, output,
    parse, parse_one, privilege, statements,
};

/// The fuzz target: bytes that are no text are read as one with replacements.
pub fn bytes(data: &[u8]) {
    exercise(&String::from_utf8_lossy(data));
}

/// A syntax error has words, and the place that it names lies in the text or right behind it.
fn placed(text: &str, error: &SqlError) {
    assert!(!error.message.is_empty());
    if error.kind() != Some(Code::Syntax) {
        return;
    }
    let Some(rest) = error.message.strip_prefix("syntax error at line ") else {
        return;
    };
    let (line, rest) = rest.split_once(", column ").unwrap();
    let (column, _) = rest.split_once(':').unwrap();
    let (line, column): (usize, usize) = (line.parse().unwrap(), column.parse().unwrap());
    let found = text.split('\n').nth(line.checked_sub(1).unwrap());
    let Some(found) = found else {
        panic!("line {line} of {text:?}");
    };
    let last = found.chars().count() + 1;
    assert!((1..=last).contains(&column), "column {column} of {found:?}");
}

/// Does with a text all that a session would.
pub fn exercise(text: &str) {
    let _ = is_unfinished(text);
    let _ = complete(text);
    let collected: Vec<_> = statements(text).collect();
    let whole = parse(text);
    assert_eq!(whole.is_ok(), collected.iter().all(Result::is_ok));
    for error in collected.iter().filter_map(|one| one.as_ref().err()) {
        placed(text, error);
    }
    for parsed in collected.into_iter().flatten() {
        assert!(text.contains(&parsed.text));
        let again = parse_one(&parsed.text).unwrap();
        assert_eq!(again.statement, parsed.statement, "{}", parsed.text);
        let _ = privilege::check("x", &parsed.statement);
        let _ = parsed.loggable();
        match &parsed.statement {
            Statement::Backup(backup) => drop(backup.request(Some("d"))),
            Statement::Restore(restore) => drop(restore.request(Some("d"))),
            Statement::CreateRepository(create) => drop(create.request()),
            Statement::CreateTable(create) => {
                let printed =
                    create_table_text(&create.table.table, &create.schema, &create.partitions);
                let Statement::CreateTable(second) = parse_one(&printed).unwrap().statement else {
                    panic!("{printed}")
                };
                assert_eq!(second.schema, create.schema, "{printed}");
                assert_eq!(second.partitions, create.partitions, "{printed}");
            }
            statement => {
                let mut table = ResultTable::new(&["JobId", "State", "Status"]);
                table
                    .rows
                    .push(vec![Some("1".to_owned()), None, Some("x_".to_owned())]);
                if let Ok(table) = statement.arrange(table) {
                    let _ = (
                        output::json(&table),
                        output::csv(&table),
                        output::table(&table, Some(5)),
                    );
                }
            }
        }
    }
}
