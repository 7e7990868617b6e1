//! No text makes the parser panic, and whatever it reads can be read again.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are outside the deterministic core"
)]
#![allow(clippy::unwrap_used, clippy::panic)] // A test fails by panicking.

use holdfast_sql::{Statement, parse, parse_one};
use proptest::prelude::*;

// One body for these tests and for the fuzz target.
#[path = "../../tests/src/fuzzing/sql.rs"]
#[allow(dead_code, unreachable_pub, missing_docs)]
mod body;

use body::exercise;

const SEEDS: [&str; 12] = [
    "CREATE READ ONLY REPOSITORY r WITH BROKER b ON LOCATION 's3://x' PROPERTIES ('a' = 'b', \"c\" \
     = 'd')",
    "BACKUP DATABASE d SNAPSHOT l TO r ON (TABLE t PARTITIONS (p, `q`), ALL VIEWS) PROPERTIES \
     ('timeout'='600')",
    "BACKUP SNAPSHOT d.l TO r EXCLUDE (t PARTITION (p1))",
    "RESTORE SNAPSHOT l FROM r DATABASE a AS b ON (t PARTITION (p) AS u) PROPERTIES \
     ('backup_timestamp'='x')",
    "SHOW BACKUP FROM d WHERE (State = 'X' OR NOT JobId IN (1, -2.5)) AND Status LIKE '%\\_' ORDER \
     BY 1 DESC LIMIT 1, 2",
    "SHOW SNAPSHOT ON r WHERE SNAPSHOT = 'a' AND TIMESTAMP = 'b'",
    "CREATE TABLE d.t (k INT NOT NULL DEFAULT '1' COMMENT 'c', v ARRAY<MAP<INT,STRING>>) DUPLICATE \
     KEY(k) \
     PARTITION BY RANGE(k) (PARTITION a VALUES LESS THAN (1), \
     PARTITION b VALUES [(1), (MAXVALUE))) \
     DISTRIBUTED BY HASH(k) BUCKETS 3 PROPERTIES ('replication_num' = '1')",
    "CREATE TABLE t (c DATE, s VARCHAR(5)) PARTITION BY LIST(c, s) (PARTITION a VALUES IN \
     (('2024-01-01', 'x')))",
    "ALTER TABLE t ADD PARTITION p VALUES [('1'), ('2')) ('replication_num'='1') BUCKETS 2",
    "ALTER SYSTEM ADD BROKER b 'h:1', \"i:2\"; SHOW TABLET FROM d.t PARTITION (p); -- end",
    "CANCEL RESTORE FROM d; SHOW BRIEF RESTORE IN d LIKE 'x'; USE `a``b`; TRUNCATE TABLE t",
    "SHOW TABLET 10001 /* c */ # d",
];

fn soup() -> impl Strategy<Value = String> {
    let mut words: Vec<String> = SEEDS
        .iter()
        .flat_map(|seed| seed.split_whitespace())
        .map(str::to_owned)
        .collect();
    for odd in [
        "(",
        ")",
        ",",
        "[",
        "<",
        ">",
        ">>",
        ";",
        "=",
        "<=",
        "-",
        ".",
        "'",
        "\"",
        "`",
        "\\",
        "/*",
        "*/",
        "--",
        "0x",
        "1e9",
        ".5",
        "99999999999999999999",
        "N'x'",
        "@@v",
        "é",
        "\u{0}",
        "IF",
        "NULL",
        "MINVALUE",
    ] {
        words.push(odd.to_owned());
    }
    prop::collection::vec(prop::sample::select(words), 0..40).prop_map(|words| words.join(" "))
}

fn mutated() -> impl Strategy<Value = String> {
    let edits = prop::collection::vec((any::<prop::sample::Index>(), any::<char>(), 0..4_u8), 1..6);
    (prop::sample::select(&SEEDS[..]), edits).prop_map(|(seed, edits)| {
        let mut text: Vec<char> = seed.chars().collect();
        for (at, ch, how) in edits {
            if text.is_empty() {
                break;
            }
            let at = at.index(text.len());
            match how {
                0 => drop(text.remove(at)),
                1 => text.insert(at, ch),
                2 => text.truncate(at),
                _ => {
                    let tail: Vec<char> = text[at..].to_vec();
                    text.extend(tail);
                }
            }
        }
        text.into_iter().collect()
    })
}

fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 600,
        failure_persistence: None,
        ..ProptestConfig::default()
    }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_text_is_answered(text in any::<String>()) {
        exercise(&text);
    }

    #[test]
    fn any_bytes_that_are_text_are_answered(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        exercise(&String::from_utf8_lossy(&bytes));
    }

    #[test]
    fn any_soup_of_tokens_is_answered(text in soup()) {
        exercise(&text);
    }

    #[test]
    fn any_broken_statement_is_answered(text in mutated()) {
        exercise(&text);
    }

    #[test]
    fn any_text_survives_a_table_and_back(
        comment in any::<String>(),
        default in "[^\u{0}]{0,9}", key in ".{1,9}", value in any::<String>(),
    ) {
        let quote = |text: &str| format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"));
        let text = format!(
            "CREATE TABLE t (k INT COMMENT {}, s STRING DEFAULT {}) PROPERTIES ({} = {})",
            quote(&comment), quote(&default), quote(&key), quote(&value)
        );
        let Statement::CreateTable(create) = parse_one(&text).unwrap().statement else {
            panic!("{text}")
        };
        prop_assert_eq!(&create.schema.columns[0].comment, &comment);
        prop_assert_eq!(create.schema.columns[1].default.as_deref(), Some(default.as_str()));
        prop_assert_eq!(create.schema.properties.get(&key), Some(&value));
        exercise(&text);
    }
}

/// A partitioned table: its clause, and the number of its partitions.
fn partitioned() -> impl Strategy<Value = (String, usize)> {
    let suffix =
        (prop::option::of(1..9_u32), prop::option::of(1..4_u32)).prop_map(|(buckets, replicas)| {
            let replicas = replicas.map(|n| format!(" ('replication_num' = '{n}')"));
            let buckets = buckets.map(|n| format!(" BUCKETS {n}"));
            format!(
                "{}{}",
                replicas.unwrap_or_default(),
                buckets.unwrap_or_default()
            )
        });
    let ends = prop::collection::btree_set(-1000..1000_i32, 1..12);
    let suffixes = prop::collection::vec(suffix, 12);
    (ends, suffixes, any::<bool>(), any::<bool>()).prop_map(|(ends, suffixes, range, max)| {
        let count = ends.len();
        let ends: Vec<i32> = ends.into_iter().collect();
        let one = |(i, suffix): (usize, &String)| {
            let end = ends[i];
            let values = match (range, i.checked_sub(1).and_then(|i| ends.get(i))) {
                (false, _) => format!("IN ('{end}', 'v{end}')"),
                (true, _) if max && i + 1 == count => "LESS THAN MAXVALUE".to_owned(),
                (true, Some(before)) if i % 3 == 0 => format!("[({before}), ({end}))"),
                (true, _) => format!("LESS THAN ({end})"),
            };
            format!("PARTITION `p {i}` VALUES {values}{suffix}")
        };
        let list: Vec<String> = suffixes.iter().take(count).enumerate().map(one).collect();
        let kind = if range { "RANGE(k)" } else { "LIST(s)" };
        (format!("PARTITION BY {kind} ({})", list.join(", ")), count)
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_partitioned_table_survives_its_text((clause, count) in partitioned()) {
        let text = format!("CREATE TABLE t (k INT, s STRING) DUPLICATE KEY(k) {clause}");
        let Statement::CreateTable(create) = parse_one(&text).unwrap().statement else {
            panic!("{text}")
        };
        prop_assert_eq!(create.partitions.len(), count);
        exercise(&text);
    }
}

#[test]
fn the_seeds_themselves_are_whole() {
    for seed in SEEDS {
        assert!(parse(seed).is_ok(), "{seed}: {:?}", parse(seed));
        exercise(seed);
    }
}
