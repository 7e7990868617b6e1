//! Tables and partitions by example: right ones, and wrong ones with the condition they
//! meet.
#![allow(clippy::too_many_lines)] // One table of examples each.

use holdfast_storage::model::{Bounds, Distribution, KeysType, PartitionMeta, Partitioning};

use crate::error::SqlError;
use crate::parse_one;
use crate::statement::{AddedPartition, CreateTable, Statement};

use super::create_table_text;

fn create(text: &str) -> Result<CreateTable, SqlError> {
    match parse_one(&format!("CREATE TABLE {text}"))?.statement {
        Statement::CreateTable(create) => Ok(*create),
        other => panic!("{other:?}"),
    }
}

fn added(text: &str) -> AddedPartition {
    match parse_one(&format!("ALTER TABLE t ADD PARTITION {text}"))
        .unwrap()
        .statement
    {
        Statement::AddPartition { partition, .. } => partition,
        other => panic!("{other:?}"),
    }
}

fn own(values: &[&str]) -> Vec<String> {
    values.iter().map(|value| (*value).to_owned()).collect()
}

fn range(lower: Option<&[&str]>, upper: Option<&[&str]>) -> Bounds {
    Bounds::Range {
        lower: lower.map(own),
        upper: upper.map(own),
    }
}

fn bounds(partitions: &[PartitionMeta]) -> Vec<Bounds> {
    partitions
        .iter()
        .map(|partition| partition.bounds.clone())
        .collect()
}

const LINEITEM: &str = "IF NOT EXISTS tpch.lineitem (
    l_shipdate DATE NOT NULL, l_orderkey BIGINT NOT NULL COMMENT \"the \\\"order\\\"\",
    l_quantity DECIMAL(15, 2) DEFAULT '0', l_comment varchar(44) NULL,
    l_seen datetime default current_timestamp,
    l_tags ARRAY<MAP<INT,ARRAY<STRING>>>, l_more STRUCT<a int, `b c`: ARRAY<INT>>
  ) ENGINE = olap
  DUPLICATE KEY(l_shipdate, L_ORDERKEY)
  COMMENT 'lines'
  PARTITION BY RANGE(l_shipdate) (
    PARTITION p1992 VALUES LESS THAN ('1993-1-1'),
    PARTITION p1993 VALUES LESS THAN ('19940101') ('replication_num' = '1'),
    PARTITION p1994 VALUES [('1994-01-01'), ('1995-01-01')) BUCKETS 8,
    PARTITION rest VALUES LESS THAN MAXVALUE)
  DISTRIBUTED BY HASH(l_orderkey) BUCKETS 4
  PROPERTIES ('replication_num' = '2', 'compression' = 'zstd')";

#[test]
fn a_table_of_every_clause_becomes_the_model() {
    let create = create(LINEITEM).unwrap();
    assert!(create.if_not_exists);
    assert_eq!(create.table.database.as_deref(), Some("tpch"));
    let schema = &create.schema;
    let types: Vec<&str> = schema
        .columns
        .iter()
        .map(|c| c.data_type.as_str())
        .collect();
    assert_eq!(
        types,
        [
            "DATE",
            "BIGINT",
            "DECIMAL(15,2)",
            "VARCHAR(44)",
            "DATETIME",
            "ARRAY<MAP<INT,ARRAY<STRING>>>",
            "STRUCT<`a` INT, `b c` ARRAY<INT>>"
        ]
    );
    assert_eq!(schema.columns[1].comment, "the \"order\"");
    assert!(!schema.columns[1].nullable && schema.columns[2].nullable);
    assert_eq!(
        schema.columns[4].default.as_deref(),
        Some("CURRENT_TIMESTAMP")
    );
    assert_eq!(schema.keys_type, KeysType::Duplicate);
    assert_eq!(schema.key_columns, ["l_shipdate", "l_orderkey"]);
    assert_eq!(
        schema.distribution,
        Distribution::Hash {
            columns: own(&["l_orderkey"])
        }
    );
    assert_eq!(schema.comment, "lines");
    assert_eq!(
        schema.properties.keys().collect::<Vec<_>>(),
        ["compression"]
    );
    assert_eq!(
        bounds(&create.partitions),
        [
            range(None, Some(&["1993-01-01"])),
            range(Some(&["1993-01-01"]), Some(&["1994-01-01"])),
            range(Some(&["1994-01-01"]), Some(&["1995-01-01"])),
            range(Some(&["1995-01-01"]), None),
        ]
    );
    let numbers: Vec<_> = create
        .partitions
        .iter()
        .map(|p| (p.buckets, p.replication_num))
        .collect();
    assert_eq!(numbers, [(4, 2), (4, 1), (8, 2), (4, 2)]);
}

#[test]
fn what_is_printed_parses_to_the_same_table() {
    for text in [
        LINEITEM,
        "t (k INT) DISTRIBUTED BY HASH(k)",
        "t (k INT, v INT SUM DEFAULT '0') AGGREGATE KEY(k) DISTRIBUTED BY HASH(k) BUCKETS 3",
        "t (k INT, v INT) UNIQUE KEY(k) DISTRIBUTED BY HASH(k)",
        "t (k INT, v STRING DEFAULT 'a\\\\b\"c') PRIMARY KEY(k) DISTRIBUTED BY HASH(k)",
        "t (k INT, c VARCHAR(9)) PARTITION BY LIST(c) (PARTITION a VALUES IN ('x', \"it's\"), \
         PARTITION b VALUES IN ('MAXVALUE') ('replication_num'='2'))",
        "t (k INT, c DATE) PARTITION BY LIST(c, k) (PARTITION a VALUES IN (('2024-01-01', 1), \
         ('2024-01-01', -2)))",
        "t (k INT, c INT) PARTITION BY RANGE(k, c) (PARTITION a VALUES LESS THAN (1, MAXVALUE), \
         PARTITION b VALUES LESS THAN (5))",
        "t (k INT) PARTITION BY RANGE(k) () DISTRIBUTED BY HASH(k) BUCKETS 7 PROPERTIES \
         ('replication_num'='3')",
        "t () PARTITION BY LIST () (PARTITION `a b` VALUES IN ('a b')) DISTRIBUTED BY HASH () \
         BUCKETS 2",
    ] {
        let first = create(text).unwrap();
        let printed = create_table_text(&first.table.table, &first.schema, &first.partitions);
        let second = match parse_one(&printed) {
            Ok(parsed) => parsed.statement,
            Err(error) => panic!("{printed}\n{error}"),
        };
        let Statement::CreateTable(second) = second else {
            panic!("{second:?}")
        };
        assert_eq!(second.schema, first.schema, "{printed}");
        assert_eq!(second.partitions, first.partitions, "{printed}");
    }
}

#[test]
fn what_is_left_out_has_a_default() {
    let plain = create("t (a INT, b VARCHAR(5), c INT)").unwrap();
    assert_eq!(
        plain.schema.key_columns,
        ["a", "b"],
        "a text ends the sort prefix"
    );
    assert_eq!(plain.schema.distribution, Distribution::Random);
    assert_eq!(plain.schema.partitioning, Partitioning::Unpartitioned);
    assert_eq!(plain.partitions.len(), 1);
    let only = &plain.partitions[0];
    assert_eq!(
        (only.name.as_str(), only.buckets, only.replication_num),
        ("t", 1, 1)
    );
    assert_eq!(only.bounds, Bounds::All);
    let aggregate = create("t (a INT, b BIGINT MAX) DISTRIBUTED BY HASH(a)").unwrap();
    assert_eq!(aggregate.schema.keys_type, KeysType::Aggregate);
    let primary = create("t (a INT, b INT) PRIMARY KEY (a) DISTRIBUTED BY HASH(a)").unwrap();
    assert!(!primary.schema.columns[0].nullable && primary.schema.columns[1].nullable);
}

#[test]
fn wrong_tables_meet_their_condition() {
    for (text, symbol, part) in [
        ("`a b` (k INT)", "BAD_TABLE_NAME", "'a b'"),
        (
            "t (k INT, K INT)",
            "DUPLICATE_COLUMN",
            "column 'K' is listed twice",
        ),
        ("t (k FOO)", "BAD_COLUMN_TYPE", "unknown column type 'FOO'"),
        ("t (k VARCHAR)", "BAD_COLUMN_TYPE", "VARCHAR(n)"),
        ("t (k CHAR(256))", "BAD_COLUMN_TYPE", "CHAR(256)"),
        ("t (k DECIMAL(5,6))", "BAD_COLUMN_TYPE", "DECIMAL(5,6)"),
        ("t (k DATE(3))", "BAD_COLUMN_TYPE", "DATE(3)"),
        ("t (k INT DEFAULT 'x')", "BAD_COLUMN_DEFAULT", "'x'"),
        (
            "t (k DATE DEFAULT '2023-02-29')",
            "BAD_COLUMN_DEFAULT",
            "'2023-02-29'",
        ),
        (
            "t (k INT NOT NULL DEFAULT NULL)",
            "BAD_COLUMN_DEFAULT",
            "NOT NULL",
        ),
        (
            "t (k VARCHAR(2) DEFAULT 'abc')",
            "BAD_COLUMN_DEFAULT",
            "2 bytes at most",
        ),
        (
            "t (k INT DEFAULT CURRENT_TIMESTAMP)",
            "BAD_COLUMN_DEFAULT",
            "DATETIME",
        ),
        ("t (k INT AUTO_INCREMENT)", "UNSUPPORTED", "AUTO_INCREMENT"),
        (
            "t (k INT, INDEX i (k) USING BITMAP)",
            "UNSUPPORTED",
            "INDEX",
        ),
        (
            "t (k INT NULL NULL)",
            "SYNTAX_ERROR",
            "an aggregation, NULL",
        ),
        ("t (k FLOAT)", "BAD_KEYS", "cannot be a key"),
        (
            "t (k INT) DUPLICATE KEY (x)",
            "UNKNOWN_COLUMN",
            "unknown column 'x' in DUPLICATE KEY",
        ),
        (
            "t (k INT) DUPLICATE KEY (k, k)",
            "DUPLICATE_COLUMN",
            "twice in DUPLICATE KEY",
        ),
        (
            "t (k INT, v INT) DUPLICATE KEY (v)",
            "BAD_KEYS",
            "expected 'k'",
        ),
        ("t (k JSON) DUPLICATE KEY (k)", "BAD_KEYS", "JSON"),
        (
            "t (k INT NULL) PRIMARY KEY (k) DISTRIBUTED BY HASH(k)",
            "BAD_KEYS",
            "expected NOT NULL",
        ),
        (
            "t (k INT SUM) AGGREGATE KEY (k)",
            "BAD_AGGREGATION",
            "expected none",
        ),
        (
            "t (k INT, v INT) AGGREGATE KEY (k)",
            "BAD_AGGREGATION",
            "has no aggregation",
        ),
        (
            "t (k INT, v INT SUM) UNIQUE KEY (k)",
            "BAD_AGGREGATION",
            "UNIQUE KEY",
        ),
        (
            "t (k INT) DISTRIBUTED BY HASH(x)",
            "UNKNOWN_COLUMN",
            "in DISTRIBUTED BY",
        ),
        (
            "t (k INT) DISTRIBUTED BY HASH(k) BUCKETS 0",
            "BAD_DISTRIBUTION",
            "BUCKETS 0, expected 1 to",
        ),
        (
            "t (k INT) DISTRIBUTED BY HASH(k) BUCKETS 4294967297",
            "BAD_DISTRIBUTION",
            "expected 1 to",
        ),
        (
            "t (k INT) DISTRIBUTED BY HASH()",
            "BAD_DISTRIBUTION",
            "no column",
        ),
        (
            "t (k INT, v INT) UNIQUE KEY(k) DISTRIBUTED BY HASH(v)",
            "BAD_DISTRIBUTION",
            "no key column",
        ),
        (
            "t (k INT, v INT) UNIQUE KEY(k) DISTRIBUTED BY RANDOM",
            "BAD_DISTRIBUTION",
            "expected HASH",
        ),
        (
            "t (k INT, v INT) UNIQUE KEY(k)",
            "BAD_DISTRIBUTION",
            "is missing",
        ),
        (
            "t (k INT) PROPERTIES ('replication_num'='0')",
            "BAD_PROPERTY",
            "replication_num",
        ),
        (
            "t (k INT) PROPERTIES ('default_buckets'='5')",
            "BAD_PROPERTY",
            "kept by the server",
        ),
        ("t (k INT) ENGINE = mysql", "UNSUPPORTED", "ENGINE = mysql"),
        ("t LIKE u", "UNSUPPORTED", "CREATE TABLE LIKE"),
        ("t (k INT) AS SELECT 1", "UNSUPPORTED", "AS in CREATE TABLE"),
        ("t (k INT) ORDER BY (k)", "UNSUPPORTED", "ORDER"),
        (
            "t (k INT) PARTITION BY date_trunc('day', k)",
            "UNSUPPORTED",
            "an expression",
        ),
    ] {
        let error = create(text).unwrap_err();
        assert_eq!(error.symbol, symbol, "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
    }
}

#[test]
fn wrong_partitions_meet_their_condition() {
    for (clause, symbol, part) in [
        ("RANGE(x) ()", "UNKNOWN_COLUMN", "'x' in PARTITION BY"),
        (
            "RANGE(s) ()",
            "BAD_PARTITION",
            "expected an integer, DATE or DATETIME",
        ),
        (
            "LIST(f) ()",
            "BAD_PARTITION",
            "expected a type that can be a key",
        ),
        (
            "RANGE(k) (PARTITION p VALUES IN (1))",
            "BAD_PARTITION",
            "expected a range",
        ),
        (
            "LIST(s) (PARTITION p VALUES LESS THAN ('x'))",
            "BAD_PARTITION",
            "expected VALUES IN",
        ),
        (
            "RANGE(k) (PARTITION p VALUES LESS THAN ('x'))",
            "BAD_PARTITION",
            "value 'x' of partition 'p'",
        ),
        (
            "RANGE(d) (PARTITION p VALUES LESS THAN ('2024-13-01'))",
            "BAD_PARTITION",
            "'2024-13-01'",
        ),
        (
            "RANGE(k) (PARTITION p VALUES LESS THAN (1, 2))",
            "BAD_PARTITION",
            "tuple of 2 values",
        ),
        (
            "LIST(s, k) (PARTITION p VALUES IN ('x'))",
            "BAD_PARTITION",
            "tuple of 1 values, expected 2",
        ),
        (
            "RANGE(k) (PARTITION p VALUES [(5), (5)))",
            "BAD_PARTITION",
            "from (5) to (5)",
        ),
        (
            "RANGE(k) (PARTITION p VALUES [(MAXVALUE), (MAXVALUE)))",
            "BAD_PARTITION",
            "from (MAXVALUE)",
        ),
        (
            "RANGE(k) (PARTITION p VALUES LESS THAN (MINVALUE))",
            "BAD_PARTITION",
            "takes no row",
        ),
        (
            "RANGE(k) (PARTITION a VALUES LESS THAN (9), PARTITION a VALUES LESS THAN (10))",
            "DUPLICATE_PARTITION",
            "'a' is listed twice",
        ),
        (
            "RANGE(k) (PARTITION a VALUES LESS THAN (10), PARTITION b VALUES LESS THAN (9))",
            "OVERLAPPING_PARTITION",
            "ascending order",
        ),
        (
            "RANGE(k) (PARTITION a VALUES [(1), (10)), PARTITION b VALUES [(9), (20)))",
            "OVERLAPPING_PARTITION",
            "'a' and 'b' both take rows from (9) on",
        ),
        (
            "LIST(d) (PARTITION a VALUES IN ('2024-01-01'), PARTITION b VALUES IN ('20240101'))",
            "OVERLAPPING_PARTITION",
            "value (2024-01-01)",
        ),
        (
            "LIST(s) (PARTITION a VALUES IN (NULL))",
            "UNSUPPORTED",
            "NULL in a list partition",
        ),
        (
            "LIST(s) (PARTITION `a/b` VALUES IN ('x'))",
            "BAD_NAME",
            "'a/b'",
        ),
        (
            "RANGE(d) (START ('2021') END ('2022') EVERY (INTERVAL 1 DAY))",
            "UNSUPPORTED",
            "a series",
        ),
        (
            "RANGE(k) (PARTITION a VALUES [(1), (2)])",
            "SYNTAX_ERROR",
            "the upper end is exclusive",
        ),
    ] {
        let text = format!(
            "t (k INT, d DATE, s VARCHAR(5), f FLOAT) DUPLICATE KEY(k) PARTITION BY {clause} \
             DISTRIBUTED BY HASH(k)"
        );
        let error = create(&text).unwrap_err();
        assert_eq!(error.symbol, symbol, "{clause}: {error}");
        assert!(error.message.contains(part), "{clause}: {error}");
    }
    let error =
        create("t (k INT, v INT) UNIQUE KEY(k) PARTITION BY RANGE(v) () DISTRIBUTED BY HASH(k)");
    assert_eq!(error.unwrap_err().symbol, "BAD_PARTITION");
}

#[test]
fn an_added_partition_finds_its_place() {
    let table = create(
        "t (k INT) PARTITION BY RANGE(k) (PARTITION a VALUES [(10), (20)), PARTITION b VALUES \
         [(30), (40))) \
         DISTRIBUTED BY HASH(k) BUCKETS 5 PROPERTIES ('replication_num'='2')",
    )
    .unwrap();
    let resolve = |text: &str| added(text).resolve(&table.schema, &table.partitions);
    let new = resolve("c VALUES LESS THAN (30)").unwrap();
    assert_eq!(new.bounds, range(Some(&["20"]), Some(&["30"])));
    assert_eq!((new.buckets, new.replication_num), (5, 2));
    assert_eq!(
        resolve("c VALUES LESS THAN (10)").unwrap().bounds,
        range(None, Some(&["10"]))
    );
    let last = resolve(
        "c VALUES LESS THAN MAXVALUE ('replication_num'='1') DISTRIBUTED BY HASH(k) BUCKETS 9",
    );
    let last = last.unwrap();
    assert_eq!(last.bounds, range(Some(&["40"]), None));
    assert_eq!((last.buckets, last.replication_num), (9, 1));
    for (text, symbol, part) in [
        ("a VALUES LESS THAN (50)", "PARTITION_EXISTS", "'a' exists"),
        ("c VALUES LESS THAN (35)", "OVERLAPPING_PARTITION", "'b'"),
        (
            "c VALUES [(15), (25))",
            "OVERLAPPING_PARTITION",
            "'a' and 'c'",
        ),
        ("c VALUES IN (1)", "BAD_PARTITION", "expected a range"),
    ] {
        let error = resolve(text).unwrap_err();
        assert_eq!(error.symbol, symbol, "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
    }
    let whole = create("t (k INT)").unwrap();
    let error = added("p VALUES IN (1)")
        .resolve(&whole.schema, &whole.partitions)
        .unwrap_err();
    assert!(error.message.contains("not partitioned"), "{error}");
}

#[test]
fn a_table_without_partitions_keeps_its_numbers_for_the_first() {
    let table = create(
        "t (k INT) PARTITION BY RANGE(k) () DISTRIBUTED BY HASH(k) BUCKETS 7 PROPERTIES \
         ('replication_num'='3')",
    )
    .unwrap();
    assert!(table.partitions.is_empty());
    let new = added("p VALUES LESS THAN (1)")
        .resolve(&table.schema, &[])
        .unwrap();
    assert_eq!((new.buckets, new.replication_num), (7, 3));
}

#[test]
fn many_partitions_cost_no_comparison_of_every_pair() {
    let list: Vec<String> = (0..20_000)
        .map(|i| format!("PARTITION p{i} VALUES LESS THAN ({})", i * 10))
        .collect();
    let text = format!("t (k INT) PARTITION BY RANGE(k) ({})", list.join(","));
    let table = create(&text).unwrap();
    assert_eq!(table.partitions.len(), 20_000);
    assert_eq!(
        table.partitions[7].bounds,
        range(Some(&["60"]), Some(&["70"]))
    );
}
