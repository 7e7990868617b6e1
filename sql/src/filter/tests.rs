//! Conditions, order and limits by example.

use crate::parse_one;
use crate::show::ResultTable;

fn table() -> ResultTable {
    let mut table = ResultTable::new(&["Name", "Size", "Time"]);
    let rows: [[Option<&str>; 3]; 5] = [
        [Some("alpha"), Some("9"), None],
        [Some("beta"), Some("10"), Some("2024-01-02 00:00:00")],
        [Some("Beta_2"), Some("100"), Some("2024-01-01 00:00:00")],
        [Some("007"), Some("-1"), None],
        [Some("7"), Some("2.5"), Some("2023-01-01 00:00:00")],
    ];
    table.rows = rows
        .iter()
        .map(|row| row.iter().map(|v| v.map(str::to_owned)).collect())
        .collect();
    table
}

/// The names of the rows that `SHOW BROKER <tail>` keeps.
fn kept(tail: &str) -> Vec<String> {
    let statement = parse_one(&format!("SHOW BROKER {tail}")).unwrap().statement;
    let out = statement.arrange(table()).unwrap();
    assert_eq!(out.columns, table().columns);
    out.rows
        .iter()
        .map(|row| row[0].clone().unwrap_or_default())
        .collect()
}

fn error(tail: &str) -> crate::SqlError {
    let statement = parse_one(&format!("SHOW BROKER {tail}")).unwrap().statement;
    statement
        .arrange(ResultTable {
            rows: Vec::new(),
            ..table()
        })
        .unwrap_err()
}

#[test]
fn comparisons_are_of_numbers_where_both_are() {
    assert_eq!(kept("WHERE size > 9"), ["beta", "Beta_2"]);
    assert_eq!(
        kept("WHERE SIZE >= '9' AND Size <= 10.0"),
        ["alpha", "beta"]
    );
    assert_eq!(kept("WHERE Size < 0 OR Size = 2.50"), ["007", "7"]);
    assert_eq!(kept("WHERE Size = -1"), ["007"]);
    assert_eq!(
        kept("WHERE Name <> 'beta' AND Size BETWEEN 1 AND 9"),
        ["alpha", "7"]
    );
    assert_eq!(kept("WHERE 10 <= Size"), ["beta", "Beta_2"]);
}

#[test]
fn a_quoted_name_equals_only_itself() {
    assert_eq!(kept("WHERE Name = '7'"), ["7"]);
    assert_eq!(kept("WHERE Name = 7"), ["007", "7"]);
    assert_eq!(kept("WHERE Name IN ('7', 'beta')"), ["beta", "7"]);
    assert_eq!(
        kept("WHERE Name NOT IN ('7', 'beta', 'alpha')"),
        ["Beta_2", "007"]
    );
}

#[test]
fn null_is_unknown_and_unknown_is_not_kept() {
    assert_eq!(kept("WHERE Time IS NULL"), ["alpha", "007"]);
    assert_eq!(kept("WHERE Time IS NOT NULL"), ["beta", "Beta_2", "7"]);
    assert_eq!(kept("WHERE Time > '2024'"), ["beta", "Beta_2"]);
    assert_eq!(kept("WHERE NOT Time > '2024'"), ["7"]);
    assert_eq!(kept("WHERE Time = NULL"), [""; 0]);
    assert_eq!(kept("WHERE Time = NULL OR Name = 'alpha'"), ["alpha"]);
    assert_eq!(kept("WHERE NOT (Time = NULL AND Name = 'alpha')").len(), 4);
    assert_eq!(kept("WHERE Name NOT IN ('7', NULL)"), [""; 0]);
}

#[test]
fn patterns_and_precedence() {
    assert_eq!(kept("LIKE '%eta%'"), ["beta", "Beta_2"]);
    assert_eq!(kept("WHERE Name LIKE '%\\_2'"), ["Beta_2"]);
    assert_eq!(kept("WHERE Name LIKE '%|_2' ESCAPE '|'"), ["Beta_2"]);
    assert_eq!(
        kept("WHERE Name NOT LIKE '%a%' AND NOT Size = 2.5"),
        ["007"]
    );
    assert_eq!(
        kept("WHERE Name = 'beta' OR Name = '7' AND Size = 0"),
        ["beta"]
    );
    assert_eq!(
        kept("WHERE (Name = 'beta' OR Name = '7') AND Size = 2.5"),
        ["7"]
    );
    assert_eq!(
        kept("WHERE !(`Name` = 'beta') && Size = 10 || Size = 9"),
        ["alpha"]
    );
}

#[test]
fn rows_are_ordered_by_several_keys_and_cut() {
    assert_eq!(
        kept("ORDER BY Size"),
        ["007", "7", "alpha", "beta", "Beta_2"]
    );
    assert_eq!(
        kept("ORDER BY time DESC, Size ASC"),
        ["beta", "Beta_2", "7", "007", "alpha"]
    );
    assert_eq!(kept("ORDER BY 3, 2 DESC LIMIT 1, 2"), ["007", "7"]);
    assert_eq!(kept("ORDER BY Size LIMIT 2 OFFSET 3"), ["beta", "Beta_2"]);
    assert_eq!(kept("LIMIT 0"), [""; 0]);
    assert_eq!(kept("LIMIT 100, 5"), [""; 0]);
}

#[test]
fn unknown_columns_are_refused_even_without_rows() {
    let unknown = error("WHERE Nmae = 1");
    assert_eq!((unknown.symbol, unknown.number), ("UNKNOWN_COLUMN", 1054));
    assert_eq!(
        unknown.message,
        "unknown column 'Nmae', expected one of Name, Size, Time"
    );
    assert_eq!(error("ORDER BY x").symbol, "UNKNOWN_COLUMN");
    assert_eq!(
        error("ORDER BY 4").message,
        "column 4 in ORDER BY, expected 1 to 3"
    );
    assert_eq!(error("ORDER BY 0").symbol, "UNKNOWN_COLUMN");
}
