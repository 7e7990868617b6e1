//! What a statement's lists mean, rule by rule.

use super::*;

fn available() -> Vec<Available<'static>> {
    vec![
        Available {
            table: "orders",
            partitions: vec!["p1", "p2", "p3"],
        },
        Available {
            table: "lineitem",
            partitions: vec!["y1992", "y1993"],
        },
        Available {
            table: "empty",
            partitions: vec![],
        },
    ]
}

fn object(table: &str, partitions: &[&str]) -> ObjectRef {
    ObjectRef {
        table: table.into(),
        partitions: partitions.iter().map(|p| (*p).to_owned()).collect(),
        alias: None,
    }
}

fn alias(table: &str, alias: &str) -> ObjectRef {
    ObjectRef {
        alias: Some(alias.into()),
        ..object(table, &[])
    }
}

fn backup(selection: Selection) -> Result<Vec<ObjectRef>, Refusal> {
    for_backup("tpch", &selection, &available())
}

fn restore(selection: Selection) -> Result<Vec<ObjectRef>, Refusal> {
    for_restore("nightly", &selection, &available())
}

fn refused(result: Result<Vec<ObjectRef>, Refusal>, code: RefusalCode, fragments: &[&str]) {
    let refusal = result.expect_err("refused");
    assert_eq!(refusal.code, code, "{refusal}");
    for fragment in fragments {
        assert!(
            refusal.message.contains(fragment),
            "'{fragment}' in: {refusal}"
        );
    }
}

#[test]
fn all_takes_each_table_as_a_whole_in_its_order() {
    let expected = vec![
        object("orders", &[]),
        object("lineitem", &[]),
        object("empty", &[]),
    ];
    assert_eq!(backup(Selection::All).expect("all"), expected);
    assert_eq!(restore(Selection::All).expect("all"), expected);
}

#[test]
fn only_keeps_the_lists_as_they_were_written() {
    let wanted = vec![
        object("lineitem", &["y1993", "y1992"]),
        object("orders", &[]),
    ];
    assert_eq!(
        backup(Selection::Only(wanted.clone())).expect("only"),
        wanted
    );
}

#[test]
fn except_leaves_out_tables_and_partitions() {
    let except = vec![object("lineitem", &[]), object("orders", &["p2"])];
    let expected = vec![object("orders", &["p1", "p3"]), object("empty", &[])];
    assert_eq!(backup(Selection::Except(except)).expect("rest"), expected);
}

#[test]
fn a_table_whose_partitions_are_all_excluded_is_left_out_as_a_whole() {
    let except = vec![object("orders", &["p1", "p2", "p3"])];
    let expected = vec![object("lineitem", &[]), object("empty", &[])];
    assert_eq!(restore(Selection::Except(except)).expect("rest"), expected);
}

#[test]
fn an_unknown_table_is_named_with_the_names_near_it() {
    refused(
        backup(Selection::Only(vec![object("lineitm", &[])])),
        RefusalCode::TableNotFound,
        &["'lineitm'", "database 'tpch'", "near names: 'lineitem'"],
    );
    refused(
        restore(Selection::Except(vec![object("ORDERS", &[])])),
        RefusalCode::TableNotFound,
        &["'ORDERS'", "snapshot 'nightly'", "near names: 'orders'"],
    );
}

#[test]
fn an_unknown_table_with_no_near_name_lists_what_there_is() {
    refused(
        backup(Selection::Only(vec![object("customers_of_the_east", &[])])),
        RefusalCode::TableNotFound,
        &["its 3 tables: 'empty', 'lineitem', 'orders'"],
    );
}

#[test]
fn an_unknown_partition_is_named_with_its_table() {
    refused(
        backup(Selection::Only(vec![object("orders", &["p1", "p9"])])),
        RefusalCode::PartitionNotFound,
        &["'p9'", "table 'orders'", "near names: 'p1', 'p2', 'p3'"],
    );
    refused(
        backup(Selection::Only(vec![object("empty", &["p1"])])),
        RefusalCode::PartitionNotFound,
        &["it has no partitions"],
    );
}

#[test]
fn what_is_listed_twice_is_refused() {
    refused(
        backup(Selection::Only(vec![
            object("orders", &[]),
            object("orders", &["p1"]),
        ])),
        RefusalCode::DuplicateObject,
        &["table 'orders' is listed twice"],
    );
    refused(
        backup(Selection::Except(vec![object("orders", &["p1", "p1"])])),
        RefusalCode::DuplicateObject,
        &["partition 'p1' of table 'orders' is listed twice"],
    );
}

#[test]
fn a_selection_of_nothing_is_refused() {
    refused(
        for_backup("tpch", &Selection::All, &[]),
        RefusalCode::NothingSelected,
        &["nothing to back up", "database 'tpch' is empty"],
    );
    refused(
        backup(Selection::Except(vec![
            object("orders", &[]),
            object("lineitem", &[]),
            object("empty", &[]),
        ])),
        RefusalCode::NothingSelected,
        &["EXCLUDE leaves out all 3 tables"],
    );
    refused(
        restore(Selection::Only(vec![])),
        RefusalCode::NothingSelected,
        &["to restore"],
    );
}

#[test]
fn a_backup_refuses_an_alias() {
    refused(
        backup(Selection::Only(vec![alias("orders", "o2")])),
        RefusalCode::BadProperty,
        &["'orders'", "'o2'"],
    );
}

#[test]
fn a_restore_keeps_aliases() {
    let wanted = vec![alias("orders", "o2"), object("lineitem", &["y1992"])];
    assert_eq!(
        restore(Selection::Only(wanted.clone())).expect("aliases"),
        wanted
    );
}

#[test]
fn an_alias_that_makes_two_tables_one_is_refused() {
    refused(
        restore(Selection::Only(vec![
            alias("orders", "x"),
            alias("lineitem", "x"),
        ])),
        RefusalCode::DuplicateObject,
        &["alias 'x' is given twice"],
    );
    refused(
        restore(Selection::Only(vec![
            alias("orders", "lineitem"),
            object("lineitem", &[]),
        ])),
        RefusalCode::DuplicateObject,
        &["alias 'lineitem' of table 'orders'"],
    );
}

#[test]
fn an_alias_in_exclude_is_refused() {
    refused(
        restore(Selection::Except(vec![alias("orders", "x")])),
        RefusalCode::BadProperty,
        &["EXCLUDE", "'orders'", "'x'"],
    );
}

#[test]
fn a_list_of_names_in_a_refusal_is_bounded() {
    let names: Vec<String> = (0..50).map(|i| format!("p{i:02}")).collect();
    let table = Available {
        table: "t",
        partitions: names.iter().map(String::as_str).collect(),
    };
    let selection = Selection::Only(vec![object("t", &["something_else"])]);
    let refusal = for_backup("db", &selection, &[table]).expect_err("refused");
    assert!(
        refusal
            .message
            .ends_with("its 50 partitions: 'p00', 'p01', 'p02', 'p03', 'p04', …")
    );
}
