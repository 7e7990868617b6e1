//! `sql`: formats, errors, where statements come from, who may run them.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use common::World;

#[test]
fn json_is_one_line_a_result_set_and_csv_knows_null() {
    let world = World::new();
    let ended = world
        .sql("CREATE DATABASE shop; SHOW DATABASES; USE shop; SHOW TABLES; SHOW REPOSITORIES")
        .ok();
    assert_eq!(ended.out, "[{\"Database\":\"shop\"}]\n[]\n[]\n");
    world.file("src/a,\"b", "x");
    world.load("shop.orders", "src").ok();
    let tablets = "SHOW TABLET FROM shop.orders";
    let row = world.sql(tablets).ok().row();
    assert!(row["Checksum"].is_null() && row["Version"].is_string());
    let csv = world
        .run(&[
            "sql",
            "--data-dir",
            "node",
            "--format",
            "csv",
            "-e",
            tablets,
        ])
        .ok();
    let lines: Vec<&str> = csv.out.lines().collect();
    assert_eq!(lines.len(), 2);
    assert!(lines[0].starts_with("TabletId,ReplicaId,BackendId"));
    assert!(lines[1].split(',').any(|value| value == "\\N"));
    let table = world
        .run(&["sql", "--data-dir", "node", "-e", "SHOW BACKENDS"])
        .ok();
    assert!(table.out.contains("backend-3") && table.out.ends_with('\n'));
}

#[test]
fn the_first_error_ends_it_and_what_came_before_is_done() {
    let world = World::new();
    let ended = world
        .sql("CREATE DATABASE a; USE nowhere; CREATE DATABASE b")
        .refused(1, "DATABASE_NOT_FOUND");
    assert_eq!(ended.number(), 5501);
    let ended = world
        .sql("CREATE DATABASE c; selec 1; CREATE DATABASE d")
        .refused(1, "SYNTAX_ERROR");
    assert!(
        ended.err.contains("line 1") && ended.number() == 1064,
        "{ended:#?}"
    );
    assert_eq!(
        world.sql("SHOW DATABASES").ok().out,
        "[{\"Database\":\"a\"},{\"Database\":\"c\"}]\n"
    );
}

#[test]
fn statements_come_from_a_file_and_from_stdin() {
    let world = World::new();
    world.file(
        "s.sql",
        "-- a comment; with a semicolon\nCREATE DATABASE a;\n/* and\n; more */ SHOW\nDATABASES\n",
    );
    let file = world
        .run(&[
            "sql",
            "--data-dir",
            "node",
            "--format",
            "json",
            "-f",
            "s.sql",
        ])
        .ok();
    assert_eq!(file.out, "[{\"Database\":\"a\"}]\n");
    let piped = world
        .sql_stdin(b"SHOW DATABASES;\n\nSHOW DATABASES", &["--format", "json"])
        .ok();
    assert_eq!(piped.out, file.out.repeat(2));
    world
        .sql_stdin(b"SHOW DATABASES; USE x; SHOW DATABASES;", &[])
        .refused(1, "DATABASE_NOT_FOUND");
    world.sql_stdin(b"", &[]).ok();
    let marked = b"\xef\xbb\xbfSHOW DATABASES;\r\nSHOW DATABASES;\r\n";
    let ended = world.sql_stdin(marked, &["--format", "json"]).ok();
    assert_eq!(ended.out, file.out.repeat(2));
    world.file("marked.sql", marked);
    world
        .run(&["sql", "--data-dir", "node", "-f", "marked.sql"])
        .ok();
    world
        .run(&["sql", "--data-dir", "node", "-f", "absent.sql"])
        .refused(1, "FILE_UNREADABLE");
}

#[test]
fn a_syntax_error_is_placed_in_the_whole_input_wherever_it_comes_from() {
    let world = World::new();
    let text = "SHOW DATABASES;\n-- one; two\nSHOW DATABASES; SHOW\n  XX; SHOW DATABASES;\n";
    world.file("s.sql", text);
    let piped = world
        .sql_stdin(text.as_bytes(), &[])
        .refused(1, "SYNTAX_ERROR");
    let file = world
        .run(&["sql", "--data-dir", "node", "-f", "s.sql"])
        .refused(1, "SYNTAX_ERROR");
    assert!(piped.err.contains("line 4, column 3"), "{piped:#?}");
    assert_eq!(piped.err, file.err);
}

#[test]
fn what_does_not_exist_here_is_refused_before_a_database_is_missed() {
    let world = World::new();
    let ended = world
        .sql("BACKUP ALL EXTERNAL CATALOGS SNAPSHOT l TO r")
        .refused(1, "UNSUPPORTED");
    assert!(ended.err.contains("EXTERNAL CATALOG"), "{ended:#?}");
}

#[test]
fn input_of_many_wrong_kinds_is_an_error_and_never_a_panic() {
    let world = World::new();
    let deep = format!(
        "SHOW BACKUP FROM d WHERE {}x = 1{}",
        "(".repeat(5000),
        ")".repeat(5000)
    );
    let long = format!("CREATE DATABASE {}", "x".repeat(100_000));
    for text in [
        "'",
        "\"",
        "`",
        "/*",
        ";;;'",
        "BACKUP",
        "BACKUP SNAPSHOT",
        "RESTORE SNAPSHOT a.b FROM",
        "\u{0}",
        "SHOW TABLET 99999999999999999999999",
        "CREATE TABLE t (",
        "CANCEL",
        "USE ;",
        "\u{202e}SHOW",
        "SHOW BACKUP FROM d LIMIT -1",
        "CREATE REPOSITORY r WITH BROKER ON LOCATION ''",
        &deep,
        &long,
    ] {
        let ended = world.sql_stdin(text.as_bytes(), &[]);
        assert_eq!(ended.code, 1, "{text:.60}: {ended:#?}");
        assert!(
            ended.err.contains("ERROR ") && !ended.err.contains("panicked"),
            "{text:.60}"
        );
    }
    world
        .sql_stdin(b"SHOW DATABASES \xff\xfe;\n", &[])
        .refused(1, "SYNTAX_ERROR");
    world
        .sql_stdin(&[0xff; 4096], &[])
        .refused(1, "SYNTAX_ERROR");
}

#[test]
fn errors_have_the_numbers_that_clients_know() {
    let world = World::new();
    world.file("src/a", "a");
    world.load("shop.orders", "src").ok();
    let cases = [
        ("SHOW BACKUP", "NO_DATABASE_SELECTED", 1046),
        ("CANCEL RESTORE", "NO_DATABASE_SELECTED", 1046),
        ("SHOW BACKUP FROM lost", "DATABASE_NOT_FOUND", 5501),
        ("CANCEL BACKUP FROM lost", "DATABASE_NOT_FOUND", 5501),
        ("CANCEL BACKUP FROM shop", "NO_JOB", 5064),
        ("SHOW PARTITIONS FROM shop.lost", "TABLE_NOT_FOUND", 5502),
        (
            "BACKUP SNAPSHOT shop.x TO lost",
            "REPOSITORY_NOT_FOUND",
            5064,
        ),
        ("SHOW SNAPSHOT ON lost", "REPOSITORY_NOT_FOUND", 5064),
        ("DROP REPOSITORY lost", "REPOSITORY_NOT_FOUND", 5064),
        (
            "BACKUP SNAPSHOT shop.`bad label` TO lost",
            "BAD_LABEL",
            5082,
        ),
        (
            "CREATE REPOSITORY r WITH BROKER ON LOCATION 's3://b/x'",
            "REPOSITORY_UNUSABLE",
            5064,
        ),
        (
            "CREATE REPOSITORY r WITH BROKER b ON LOCATION 'file:///x'",
            "BROKER_NOT_FOUND",
            5064,
        ),
        ("DROP DATABASE lost", "DATABASE_NOT_FOUND", 5501),
        ("SHOW DATABASES WHERE Nothing = 1", "UNKNOWN_COLUMN", 1054),
    ];
    for (text, symbol, number) in cases {
        assert_eq!(
            world.sql(text).refused(1, symbol).number(),
            number,
            "{text}"
        );
    }
    for text in [
        "DROP DATABASE IF EXISTS lost",
        "CREATE DATABASE IF NOT EXISTS shop",
        "SHOW BROKER",
    ] {
        world.sql(text).ok();
    }
}

#[test]
fn only_root_may_run_or_see_backups() {
    let world = World::new();
    for text in [
        "SHOW REPOSITORIES",
        "SHOW BACKUP FROM d",
        "BACKUP SNAPSHOT d.l TO r",
        "SHOW BROKER",
    ] {
        let ended = world
            .sql_on("node", text, &["--user", "eve"])
            .refused(1, "ACCESS_DENIED");
        assert_eq!(ended.number(), 5203);
    }
    world
        .sql_on(
            "node",
            "CREATE DATABASE d; SHOW DATABASES",
            &["--user", "eve"],
        )
        .ok();
}

#[test]
fn the_session_has_a_database() {
    let world = World::new();
    world.file("src/a", "a");
    world.load("shop.orders", "src").ok();
    let given = world
        .sql_on("node", "SHOW TABLES; SHOW BACKUP", &["--database", "shop"])
        .ok();
    assert_eq!(given.out, "[{\"Tables_in_shop\":\"orders\"}]\n[]\n");
    assert_eq!(
        world.sql("USE shop; SHOW TABLES").ok().out,
        "[{\"Tables_in_shop\":\"orders\"}]\n"
    );
    world
        .sql_on("node", "SHOW TABLES", &["--database", "lost"])
        .refused(1, "DATABASE_NOT_FOUND");
}

#[test]
fn tables_are_made_changed_and_shown() {
    let world = World::new();
    world
        .sql(
            "CREATE DATABASE d; USE d; \
             CREATE TABLE t (day DATE NOT NULL, n BIGINT) DUPLICATE KEY(day) \
             PARTITION BY RANGE(day) (PARTITION p1 VALUES LESS THAN ('2026-01-01')) \
             DISTRIBUTED BY HASH(day) BUCKETS 2; \
             ALTER TABLE t ADD PARTITION p2 VALUES LESS THAN ('2027-01-01'); \
             ALTER TABLE t ADD PARTITION IF NOT EXISTS p2 VALUES LESS THAN ('2027-01-01')",
        )
        .ok();
    world.file("src/a", "a");
    let load = [
        "load",
        "--data-dir",
        "node",
        "--table",
        "d.t",
        "--partition",
        "p2",
        "src",
    ];
    world.run(&load).ok();
    let shown = world
        .sql("SHOW PARTITIONS FROM d.t ORDER BY PartitionName DESC; SHOW CREATE TABLE d.t")
        .ok()
        .sets();
    assert_eq!(
        (shown[0][0]["PartitionName"].as_str(), shown[0].len()),
        (Some("p2"), 2)
    );
    assert!(
        shown[1][0]["Create Table"]
            .as_str()
            .unwrap()
            .contains("PARTITION BY RANGE")
    );
    world
        .sql("ALTER TABLE d.t DROP PARTITION p9")
        .refused(1, "PARTITION_NOT_FOUND");
    world
        .sql("ALTER TABLE d.t DROP PARTITION IF EXISTS p9; TRUNCATE TABLE d.t PARTITION (p2)")
        .ok();
    assert!(world.exported("d.t").is_empty());
    let id = world.sql("SHOW TABLET FROM d.t LIMIT 1").ok().row()["TabletId"]
        .as_str()
        .unwrap()
        .to_owned();
    let row = world.sql(&format!("SHOW TABLET {id}")).ok().row();
    assert_eq!(row["TableName"].as_str(), Some("t"));
    world
        .sql("ALTER SYSTEM ADD BACKEND 'four'; ALTER SYSTEM DROP BACKEND 'four'; DROP TABLE d.t")
        .ok();
    world.sql("DROP TABLE d.t").refused(1, "TABLE_NOT_FOUND");
    world.sql("DROP TABLE IF EXISTS d.t").ok();
}
