//! Each format, byte by byte.

use super::*;
use crate::show::ResultTable;

fn result(columns: &[&str], rows: &[&[Option<&str>]]) -> ResultTable {
    let mut table = ResultTable::new(columns);
    table.rows = rows
        .iter()
        .map(|row| row.iter().map(|v| v.map(str::to_owned)).collect())
        .collect();
    table
}

#[test]
fn json_is_one_line_in_column_order() {
    let table = result(
        &["b", "a"],
        &[
            &[Some("x\"\\\n\u{1}é\u{2028}"), None],
            &[Some(""), Some("\\N")],
        ],
    );
    assert_eq!(
        json(&table),
        r#"[{"b":"x\"\\\n\u0001é\u2028","a":null},{"b":"","a":"\\N"}]"#
    );
    assert_eq!(json(&result(&["a"], &[])), "[]");
}

#[test]
fn csv_quotes_only_what_needs_it_and_tells_null_apart() {
    let table = result(
        &["a", "b,c"],
        &[
            &[None, Some("\\N")],
            &[Some("x\ny"), Some("say \"hi\"")],
            &[Some(""), Some(" s ")],
        ],
    );
    assert_eq!(
        csv(&table),
        "a,\"b,c\"\n\\N,\"\\N\"\n\"x\ny\",\"say \"\"hi\"\"\"\n, s \n"
    );
    assert_eq!(csv(&result(&["a"], &[&[Some("")]])), "a\n\"\"\n");
    assert_eq!(csv(&result(&["a"], &[])), "a\n");
}

#[test]
fn tables_align_by_what_a_terminal_shows() {
    let table_of = result(
        &["name", "n"],
        &[&[Some("日本"), Some("7")], &[Some("a\nb"), None]],
    );
    assert_eq!(
        table(&table_of, None),
        "+------+------+\n\
         | name | n    |\n\
         +------+------+\n\
         | 日本 |    7 |\n\
         | a    | NULL |\n\
         | b    |      |\n\
         +------+------+\n"
    );
    assert_eq!(
        table(&result(&["a"], &[]), Some(1)),
        "+---+\n| a |\n+---+\n"
    );
}

#[test]
fn a_row_wider_than_the_terminal_stands_upright() {
    let wide = result(&["name", "n"], &[&[Some("x\u{1b}[31m"), Some("1\n2")]]);
    let stars = "*".repeat(27);
    let upright = format!("{stars} 1. row {stars}\nname: x\\u{{1b}}[31m\n   n: 1\n      2\n");
    assert_eq!(table(&wide, Some(10)), upright);
    assert_eq!(vertical(&wide), upright);
    assert!(table(&wide, Some(80)).starts_with('+'));
}
