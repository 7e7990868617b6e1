//! The grammar by example: every statement in its forms, and wrong ones with the condition they
//! meet.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are outside the deterministic core"
)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::too_many_lines)] // A test fails by panicking.

use holdfast_engine::RepositoryAccess;
use holdfast_sql::{
    AsOf, Clock, ObjectKind, ObjectName, Objects, Reach, SnapshotPick, Statement, Width, parse,
    parse_one, statements,
};

fn one(text: &str) -> Statement {
    match parse_one(text) {
        Ok(parsed) => parsed.statement,
        Err(error) => panic!("{text}: {error}"),
    }
}

#[test]
fn every_statement_is_known_by_its_name() {
    for (text, name) in [
        (
            "CREATE REPOSITORY r WITH BROKER b ON LOCATION 'hdfs://h/x'",
            "CREATE REPOSITORY",
        ),
        (
            "create read only repository `r` with broker on location \"s3://b\"",
            "CREATE REPOSITORY",
        ),
        (
            "CREATE REPOSITORY r WITH BROKER 'b' ON LOCATION 'x' PROPERTIES ('a'='1', \"b\" = \
             \"2\")",
            "CREATE REPOSITORY",
        ),
        (
            "CREATE REPOSITORY r WITH S3 ON LOCATION 's3://b/p'",
            "CREATE REPOSITORY",
        ),
        (
            "CREATE REPOSITORY r WITH HDFS ON LOCATION 'hdfs://b/p'",
            "CREATE REPOSITORY",
        ),
        (
            "CREATE REPOSITORY r WITH LOCAL ON LOCATION 'file:///p'",
            "CREATE REPOSITORY",
        ),
        ("DROP REPOSITORY r", "DROP REPOSITORY"),
        ("SHOW REPOSITORIES", "SHOW REPOSITORIES"),
        ("SHOW REPOSITORIES LIKE 'x%'", "SHOW REPOSITORIES"),
        ("SHOW CREATE REPOSITORY FOR r", "SHOW CREATE REPOSITORY"),
        ("SHOW JOB EVENTS FOR 10002", "SHOW JOB EVENTS"),
        (
            "show job events for 10002 LIKE 'Task%' WHERE Attempt > 1 ORDER BY Seq DESC LIMIT 3",
            "SHOW JOB EVENTS",
        ),
        ("SHOW BACKUP FROM d AS OF EVENT 12", "SHOW BACKUP"),
        (
            "SHOW BRIEF RESTORE AS OF TIMESTAMP '2026-11-24 10:00:00' WHERE State = 'x'",
            "SHOW RESTORE",
        ),
        ("SHOW BROKER", "SHOW BROKER"),
        (
            "SHOW BROKER WHERE Alive = true ORDER BY Name LIMIT 1",
            "SHOW BROKER",
        ),
        (
            "ALTER SYSTEM ADD BROKER b 'h:8000', \"i:8000\"",
            "ALTER SYSTEM ADD BROKER",
        ),
        (
            "ALTER SYSTEM DROP BROKER b 'h:8000'",
            "ALTER SYSTEM DROP BROKER",
        ),
        ("ALTER SYSTEM DROP ALL BROKER b", "ALTER SYSTEM DROP BROKER"),
        (
            "ALTER SYSTEM ADD BACKEND 'disk2'",
            "ALTER SYSTEM ADD BACKEND",
        ),
        (
            "ALTER SYSTEM DROP BACKEND \"disk2\"",
            "ALTER SYSTEM DROP BACKEND",
        ),
        ("SHOW BACKENDS", "SHOW BACKENDS"),
        ("BACKUP SNAPSHOT d.l TO r ON (t)", "BACKUP"),
        ("BACKUP SNAPSHOT l TO r", "BACKUP"),
        (
            "BACKUP SNAPSHOT d.l TO r ON (t PARTITION (p1, p2), u) PROPERTIES ('type'='full')",
            "BACKUP",
        ),
        (
            "BACKUP SNAPSHOT d.l TO r EXCLUDE (t PARTITION (p1))",
            "BACKUP",
        ),
        ("BACKUP DATABASE d SNAPSHOT l TO r", "BACKUP"),
        (
            "BACKUP DATABASE d SNAPSHOT l TO r ON (TABLE t, TABLES u PARTITIONS (p))",
            "BACKUP",
        ),
        (
            "BACKUP DATABASE d SNAPSHOT l TO r ON (ALL TABLES)",
            "BACKUP",
        ),
        ("BACKUP SNAPSHOT d.full-2024-11-22 TO my-repo", "BACKUP"),
        ("SHOW BACKUP", "SHOW BACKUP"),
        ("SHOW BACKUP FROM d", "SHOW BACKUP"),
        (
            "SHOW BACKUP IN d WHERE SnapshotName LIKE 'a%' AND State = \"FINISHED\"",
            "SHOW BACKUP",
        ),
        (
            "SHOW BACKUP FROM d ORDER BY JobId DESC, 2 LIMIT 5, 10",
            "SHOW BACKUP",
        ),
        ("CANCEL BACKUP", "CANCEL BACKUP"),
        ("CANCEL BACKUP FROM d", "CANCEL BACKUP"),
        ("CANCEL BACKUP IN d", "CANCEL BACKUP"),
        ("SHOW SNAPSHOT ON r", "SHOW SNAPSHOT"),
        (
            "SHOW SNAPSHOT ON r WHERE SNAPSHOT = 'a' AND TIMESTAMP = 'b'",
            "SHOW SNAPSHOT",
        ),
        (
            "SHOW SNAPSHOT ON r WHERE SNAPSHOT IN ('a', 'b') ORDER BY Snapshot LIMIT 1",
            "SHOW SNAPSHOT",
        ),
        (
            "RESTORE SNAPSHOT d.l FROM r ON (t) PROPERTIES ('backup_timestamp'='x')",
            "RESTORE",
        ),
        (
            "RESTORE SNAPSHOT d.l FROM r ON (t PARTITION (p) AS u, v AS w)",
            "RESTORE",
        ),
        (
            "RESTORE SNAPSHOT l FROM r DATABASE d AS e ON (TABLE t AS u)",
            "RESTORE",
        ),
        ("RESTORE SNAPSHOT l FROM r DATABASE d", "RESTORE"),
        ("RESTORE SNAPSHOT d.l FROM r EXCLUDE (t)", "RESTORE"),
        ("SHOW RESTORE", "SHOW RESTORE"),
        ("SHOW RESTORE FROM d WHERE Label = 'x'", "SHOW RESTORE"),
        ("SHOW BRIEF RESTORE", "SHOW RESTORE"),
        ("CANCEL RESTORE FROM d", "CANCEL RESTORE"),
        ("CREATE DATABASE d", "CREATE DATABASE"),
        ("CREATE DATABASE IF NOT EXISTS d", "CREATE DATABASE"),
        ("DROP DATABASE IF EXISTS d FORCE", "DROP DATABASE"),
        ("USE d", "USE"),
        ("SHOW DATABASES LIKE 'd%'", "SHOW DATABASES"),
        (
            "CREATE TABLE t (k INT) DISTRIBUTED BY HASH(k) BUCKETS 2",
            "CREATE TABLE",
        ),
        ("DROP TABLE IF EXISTS d.t", "DROP TABLE"),
        ("TRUNCATE TABLE d.t PARTITION (p, 'q')", "TRUNCATE TABLE"),
        ("SHOW TABLES", "SHOW TABLES"),
        ("SHOW TABLES FROM d LIKE '%x'", "SHOW TABLES"),
        ("SHOW CREATE TABLE d.t", "SHOW CREATE TABLE"),
        (
            "ALTER TABLE t ADD PARTITION p VALUES LESS THAN ('5')",
            "ALTER TABLE ADD PARTITION",
        ),
        (
            "ALTER TABLE d.t DROP PARTITION IF EXISTS p FORCE",
            "ALTER TABLE DROP PARTITION",
        ),
        (
            "SHOW PARTITIONS FROM d.t WHERE PartitionName = 'p'",
            "SHOW PARTITIONS",
        ),
        ("SHOW TABLET 10001", "SHOW TABLET"),
        (
            "SHOW TABLET 10001 WHERE DbName = 'd' ORDER BY TableName DESC LIMIT 1",
            "SHOW TABLET",
        ),
        (
            "SHOW TABLET FROM d.t PARTITION (p) WHERE BackendId = 2",
            "SHOW TABLET FROM",
        ),
        ("SHOW TABLETS FROM t", "SHOW TABLET FROM"),
    ] {
        assert_eq!(one(text).name(), name, "{text}");
        assert_eq!(one(&format!("  {text} ;; -- end")), one(text), "{text}");
        if !text.contains(['\'', '"']) {
            assert_eq!(one(&text.to_lowercase()).name(), name, "{text}");
        }
    }
}

#[test]
fn texts_are_cut_at_semicolons_outside_quotes_and_comments() {
    let all = parse("USE `a;b`; /* ; */ SHOW BACKUP WHERE Status = ';' -- ;\n;\n; USE c").unwrap();
    let texts: Vec<&str> = all.iter().map(|parsed| parsed.text.as_str()).collect();
    assert_eq!(
        texts,
        ["USE `a;b`", "SHOW BACKUP WHERE Status = ';'", "USE c"]
    );
    assert!(parse("").unwrap().is_empty());
    assert!(parse(" ;; -- nothing").unwrap().is_empty());
}

#[test]
fn statements_before_a_wrong_one_are_given_first() {
    for (text, place) in [
        ("USE a; USE b;\n  NONSENSE; USE c", "line 2, column 3"),
        ("USE a; USE b; USE 'x", "line 1, column 19"),
    ] {
        let all: Vec<_> = statements(text).collect();
        assert_eq!(all.len(), 3, "{text}");
        assert!(all[0].is_ok() && all[1].is_ok());
        let error = all[2].clone().unwrap_err();
        assert!(error.message.contains(place), "{}", error.message);
        assert_eq!(parse(text).unwrap_err(), error);
    }
}

#[test]
fn labels_need_no_quotes_for_digits_and_hyphens() {
    for label in [
        "2024-11-22",
        "20241122",
        "2024_11",
        "a-1-b",
        "nightly-2024",
        "_x-y",
        "7th",
    ] {
        let text = format!("BACKUP SNAPSHOT d.{label} TO r");
        let Statement::Backup(backup) = one(&text) else {
            panic!("{text}")
        };
        assert_eq!(backup.label, label);
        let text = format!("RESTORE SNAPSHOT {label} FROM r");
        let Statement::Restore(restore) = one(&text) else {
            panic!("{text}")
        };
        assert_eq!(
            (restore.label_database, restore.label.as_str()),
            (None, label)
        );
    }
    for label in ["a -1", "a- 1", "a--1", "1.5", "-a", "a-'b'"] {
        let text = format!("BACKUP SNAPSHOT {label} TO r");
        assert_eq!(
            parse_one(&text).map(|p| p.text).unwrap_err().symbol,
            "SYNTAX_ERROR",
            "{text}"
        );
    }
}

#[test]
fn both_grammars_of_backup_mean_the_same() {
    let older = one("BACKUP SNAPSHOT d.l TO r ON (t PARTITION (p1, p2))");
    let newer = one("BACKUP DATABASE d SNAPSHOT l TO r ON (TABLE t PARTITIONS (p1, `p2`))");
    assert_eq!(older, newer);
}

#[test]
fn objects_of_every_kind_are_read() {
    let Statement::Backup(backup) = one(
        "BACKUP DATABASE d SNAPSHOT l TO r ON (t, VIEW v, MATERIALIZED VIEWS m, FUNCTION f, ALL \
         VIEWS, \
         table PARTITION (p), x TEMPORARY PARTITION q)",
    ) else {
        panic!("no backup")
    };
    let Objects::On(list) = backup.objects else {
        panic!("no list")
    };
    let kinds: Vec<ObjectKind> = list.iter().map(|object| object.kind).collect();
    use ObjectKind::{Function, MaterializedView, Table, View};
    assert_eq!(
        kinds,
        [Table, View, MaterializedView, Function, View, Table, Table]
    );
    assert_eq!(list[4].name, ObjectName::All);
    assert!(matches!(&list[5].name, ObjectName::Named(name) if name.table == "table"));
    assert!(list[6].temporary && list[6].partitions == ["q"]);
}

#[test]
fn repositories_keep_access_reach_and_properties() {
    let Statement::CreateRepository(create) = one(
        "CREATE READ ONLY REPOSITORY `r` WITH BROKER ON LOCATION 's3://b/p' \
         PROPERTIES (\"aws.s3.secret_key\" = \"hid\\\"den\", 'x' = 'it''s')",
    ) else {
        panic!("no repository")
    };
    assert_eq!(
        (create.access, create.reach.clone()),
        (RepositoryAccess::ReadOnly, Reach::Direct)
    );
    assert_eq!(create.properties.0["aws.s3.secret_key"], "hid\"den");
    assert_eq!(create.properties.0["x"], "it's");
    let debug = format!("{create:?}");
    assert!(
        debug.contains("secret_key") && !debug.contains("hid"),
        "{debug}"
    );
}

#[test]
fn nothing_made_for_logs_holds_a_secret() {
    let text = "CREATE REPOSITORY r WITH S3 ON LOCATION 's3://u:hunter2@h' \
                PROPERTIES ('password' = 'hunter3')";
    let parsed = parse_one(text).unwrap();
    assert_eq!(parsed.loggable(), "CREATE REPOSITORY `r` …");
    let debug = format!("{parsed:?}");
    assert!(
        debug.contains("password") && !debug.contains("hunter"),
        "{debug}"
    );
}

#[test]
fn snapshot_conditions_pick_or_filter() {
    let pick = |condition: &str| match one(&format!("SHOW SNAPSHOT ON r WHERE {condition}")) {
        Statement::ShowSnapshot(show) => (show.pick, show.tail.filter.is_some()),
        other => panic!("{other:?}"),
    };
    let labels =
        |list: &[&str]| SnapshotPick::Labels(list.iter().map(|l| (*l).to_owned()).collect());
    let exact = SnapshotPick::Exact {
        label: "a".to_owned(),
        timestamp: "t".to_owned(),
    };
    assert_eq!(pick("SNAPSHOT = 'a'"), (labels(&["a"]), false));
    assert_eq!(pick("(snapshot = \"a\")"), (labels(&["a"]), false));
    assert_eq!(pick("Snapshot IN ('a','b')"), (labels(&["a", "b"]), false));
    assert_eq!(
        pick("SNAPSHOT = 'a' AND TIMESTAMP = 't'"),
        (exact.clone(), false)
    );
    assert_eq!(pick("timestamp = 't' AND snapshot = 'a'"), (exact, false));
    assert_eq!(pick("SNAPSHOT LIKE 'a%'"), (SnapshotPick::All, true));
    assert_eq!(pick("SNAPSHOT != 'a'"), (SnapshotPick::All, true));
    assert_eq!(
        pick("SNAPSHOT = 'a' OR SNAPSHOT = 'b'"),
        (SnapshotPick::All, true)
    );
}

#[test]
fn brief_restores_are_told_apart() {
    let width = |text: &str| match one(text) {
        Statement::ShowRestore(show) => show.width,
        other => panic!("{other:?}"),
    };
    assert_eq!(width("SHOW BRIEF RESTORE FROM d"), Width::Brief);
    assert_eq!(width("SHOW RESTORE"), Width::Full);
}

#[test]
fn an_earlier_moment_stands_between_the_database_and_the_conditions() {
    let show = |text: &str| match one(text) {
        Statement::ShowBackup(show) | Statement::ShowRestore(show) => show,
        other => panic!("{other:?}"),
    };
    assert_eq!(show("SHOW BACKUP").as_of, None);
    let event = show("SHOW BACKUP FROM shop AS OF EVENT 12 LIKE 'x%'");
    assert_eq!(event.database.as_deref(), Some("shop"));
    assert_eq!(event.as_of, Some(AsOf::Event(12)));
    assert!(event.tail.like.is_some());
    let whole = show("SHOW RESTORE as of timestamp \"2026-11-24 10:00:00\" LIMIT 1").as_of;
    let exact = show("SHOW RESTORE AS OF TIMESTAMP '2026-11-24 10:00:00.000'").as_of;
    let (Some(AsOf::Timestamp(whole)), Some(AsOf::Timestamp(exact))) = (whole, exact) else {
        panic!("{whole:?} {exact:?}");
    };
    let utc = Clock {
        now_ms: 0,
        offset_seconds: &|_| 0,
    };
    assert_eq!(exact.end_ms(&utc), 1_795_514_400_000);
    assert_eq!(whole.end_ms(&utc), 1_795_514_400_999);
}

#[test]
fn wrong_statements_meet_their_condition() {
    for (text, symbol, part) in [
        ("", "SYNTAX_ERROR", "no statement"),
        ("USE a; USE b", "SYNTAX_ERROR", "second statement"),
        (
            "FOO",
            "SYNTAX_ERROR",
            "line 1, column 1: found 'FOO', expected ALTER, BACKUP",
        ),
        ("SELECT 1", "UNSUPPORTED", "SELECT is not a statement"),
        (
            "SHOW",
            "SYNTAX_ERROR",
            "found the end of the statement, expected BACKENDS",
        ),
        (
            "SHOW BACKUP x",
            "SYNTAX_ERROR",
            "column 13: found 'x', expected LIKE, WHERE",
        ),
        (
            "SHOW BACKUP AS EVENT 1",
            "SYNTAX_ERROR",
            "found 'EVENT', expected OF",
        ),
        (
            "SHOW BACKUP AS OF 1",
            "SYNTAX_ERROR",
            "expected EVENT or TIMESTAMP",
        ),
        (
            "SHOW BACKUP AS OF EVENT -1",
            "SYNTAX_ERROR",
            "expected the sequence of an event",
        ),
        (
            "SHOW BACKUP AS OF EVENT 1.5",
            "SYNTAX_ERROR",
            "found '1.5', expected the sequence of an event",
        ),
        (
            "SHOW BACKUP AS OF EVENT 99999999999999999999",
            "SYNTAX_ERROR",
            "expected the sequence of an event",
        ),
        (
            "SHOW BACKUP AS OF TIMESTAMP 5",
            "SYNTAX_ERROR",
            "expected a timestamp between quotes",
        ),
        (
            "SHOW BACKUP AS OF TIMESTAMP '2026-02-30 00:00:00'",
            "BAD_TIMESTAMP",
            "'2026-02-30 00:00:00' is no timestamp, expected 'yyyy-MM-dd HH:mm:ss'",
        ),
        (
            "SHOW BACKUP LIKE 'x' AS OF EVENT 1",
            "SYNTAX_ERROR",
            "found 'AS', expected LIKE, WHERE",
        ),
        (
            "SHOW SNAPSHOT ON r AS OF EVENT 1",
            "SYNTAX_ERROR",
            "found 'AS'",
        ),
        ("SHOW JOB", "SYNTAX_ERROR", "expected EVENTS"),
        ("SHOW JOB EVENTS", "SYNTAX_ERROR", "expected FOR"),
        (
            "SHOW JOB EVENTS FOR x",
            "SYNTAX_ERROR",
            "found 'x', expected the id of a job",
        ),
        (
            "SHOW BACKUP FROM",
            "SYNTAX_ERROR",
            "expected the name of a database",
        ),
        (
            "SHOW BACKUP WHERE",
            "SYNTAX_ERROR",
            "expected a column or a value",
        ),
        ("SHOW BACKUP WHERE a", "SYNTAX_ERROR", "expected =, !="),
        (
            "SHOW BACKUP WHERE a NOT 1",
            "SYNTAX_ERROR",
            "expected LIKE, IN or BETWEEN",
        ),
        ("SHOW BACKUP WHERE (a = 1", "SYNTAX_ERROR", "expected ')'"),
        (
            "SHOW BACKUP WHERE a LIKE 'x' ESCAPE 'yz'",
            "BAD_FILTER",
            "more than one character",
        ),
        (
            "SHOW BACKUP LIMIT -1",
            "SYNTAX_ERROR",
            "whole number of rows",
        ),
        (
            "SHOW SNAPSHOT ON r WHERE TIMESTAMP = 'x'",
            "BAD_FILTER",
            "SNAPSHOT = '..' [AND TIMESTAMP = '..']",
        ),
        ("SHOW SNAPSHOT r", "SYNTAX_ERROR", "found 'r', expected ON"),
        ("SHOW TABLET", "SYNTAX_ERROR", "the id of a tablet or FROM"),
        (
            "SHOW TABLET 99999999999999999999",
            "SYNTAX_ERROR",
            "the id of a tablet",
        ),
        (
            "BACKUP SNAPSHOT TO r",
            "SYNTAX_ERROR",
            "found 'TO', expected the name of a snapshot",
        ),
        (
            "BACKUP SNAPSHOT l FROM r",
            "SYNTAX_ERROR",
            "found 'FROM', expected TO",
        ),
        (
            "BACKUP SNAPSHOT l TO r ON ()",
            "SYNTAX_ERROR",
            "found ')', expected the name of a table",
        ),
        (
            "BACKUP SNAPSHOT l TO r ON (t",
            "SYNTAX_ERROR",
            "expected ',' or ')'",
        ),
        (
            "BACKUP SNAPSHOT l TO r ON (t AS u)",
            "SYNTAX_ERROR",
            "AS 'u' in BACKUP",
        ),
        (
            "BACKUP DATABASE d SNAPSHOT e.l TO r",
            "SYNTAX_ERROR",
            "DATABASE 'd' stands beside",
        ),
        (
            "BACKUP GLOBAL SNAPSHOT l TO r",
            "UNSUPPORTED",
            "BACKUP GLOBAL",
        ),
        (
            "BACKUP ALL EXTERNAL CATALOGS DATABASE d SNAPSHOT l TO r",
            "SYNTAX_ERROR",
            "stands beside",
        ),
        (
            "BACKUP SNAPSHOT l TO r PROPERTIES ('a'='1', 'a'='2')",
            "BAD_PROPERTY",
            "'a' is given twice",
        ),
        (
            "BACKUP SNAPSHOT l TO r PROPERTIES ('a'=1)",
            "SYNTAX_ERROR",
            "between quotes",
        ),
        (
            "BACKUP SNAPSHOT l TO r PROPERTIES ()",
            "SYNTAX_ERROR",
            "the name of a property",
        ),
        (
            "RESTORE SNAPSHOT e.l FROM r DATABASE d",
            "SYNTAX_ERROR",
            "DATABASE 'd' stands beside",
        ),
        ("RESTORE SNAPSHOT l TO r", "SYNTAX_ERROR", "expected FROM"),
        ("CANCEL", "SYNTAX_ERROR", "expected BACKUP or RESTORE"),
        (
            "CANCEL BACKUP FOR EXTERNAL CATALOG",
            "UNSUPPORTED",
            "EXTERNAL CATALOG",
        ),
        ("DROP SNAPSHOT l ON r", "UNSUPPORTED", "DROP SNAPSHOT"),
        (
            "ALTER REPOSITORY r PROPERTIES ('a'='b')",
            "UNSUPPORTED",
            "ALTER REPOSITORY",
        ),
        ("RECOVER TABLE t", "UNSUPPORTED", "RECOVER"),
        ("CREATE VIEW v AS SELECT 1", "UNSUPPORTED", "CREATE VIEW"),
        (
            "CREATE REPOSITORY r WITH BROKER b LOCATION 'x'",
            "SYNTAX_ERROR",
            "expected ON",
        ),
        (
            "CREATE REPOSITORY r WITH FTP ON LOCATION 'x'",
            "SYNTAX_ERROR",
            "BROKER, S3, HDFS or LOCAL",
        ),
        (
            "CREATE REPOSITORY r WITH BROKER ON LOCATION x",
            "SYNTAX_ERROR",
            "a location between quotes",
        ),
        (
            "CREATE DATABASE `a b`",
            "BAD_DATABASE_NAME",
            "'a b' is not allowed",
        ),
        ("CREATE DATABASE ``", "BAD_DATABASE_NAME", "''"),
        (
            "ALTER SYSTEM ADD BROKER b 'h'",
            "BAD_NAME",
            "expected host:port",
        ),
        (
            "ALTER SYSTEM ADD BROKER b 'h:0'",
            "BAD_NAME",
            "expected host:port",
        ),
        ("ALTER SYSTEM ADD BACKEND ''", "BAD_NAME", "is empty"),
        (
            "ALTER SYSTEM ADD BACKEND 'a', 'b'",
            "SYNTAX_ERROR",
            "one backend at a time",
        ),
        (
            "ALTER TABLE t ADD TEMPORARY PARTITION p VALUES IN (1)",
            "UNSUPPORTED",
            "TEMPORARY",
        ),
        (
            "ALTER TABLE t ADD COLUMN c INT",
            "SYNTAX_ERROR",
            "expected PARTITION",
        ),
        ("USE 'd'", "SYNTAX_ERROR", "found a string"),
        (
            "USE d x",
            "SYNTAX_ERROR",
            "found 'x', expected the end of the statement",
        ),
        ("USE \"d", "SYNTAX_ERROR", "line 1, column 5"),
        ("/* open", "SYNTAX_ERROR", "line 1"),
    ] {
        let error = match parse_one(text) {
            Err(error) => error,
            Ok(parsed) => panic!("{text} was read as {:?}", parsed.statement),
        };
        assert_eq!(error.symbol, symbol, "{text}: {error}");
        assert!(error.message.contains(part), "{text}: {error}");
        assert!(!error.message.ends_with('.'), "{error}");
    }
}

#[test]
fn secrets_of_a_wrong_statement_stay_out_of_the_error() {
    let error =
        parse_one("CREATE REPOSITORY r WITH S3 ON LOCATION 'x' PROPERTIES ('k' = 'v' 'hunter2')")
            .unwrap_err();
    assert!(!error.to_string().contains("hunter2"), "{error}");
}

#[test]
fn conditions_nested_too_deep_are_refused() {
    for open in ["(", "NOT "] {
        let text = format!("SHOW BACKUP WHERE {}", open.repeat(100_000));
        assert_eq!(parse_one(&text).unwrap_err().symbol, "BAD_FILTER");
    }
    let wide = vec!["a = 1"; 20_000].join(" OR ");
    assert!(parse_one(&format!("SHOW BACKUP WHERE {wide}")).is_ok());
    let deep = format!("CREATE TABLE t (a {})", "ARRAY<".repeat(100_000));
    assert!(parse_one(&deep).is_err());
}
