//! Requests by example: right ones, and wrong ones with the condition they
//! meet.
#![allow(clippy::too_many_lines)] // One table of examples each.

use super::*;
use crate::parse_one;
use crate::statement::Statement;

fn backup(text: &str, session: Option<&str>) -> Result<BackupRequest, SqlError> {
    match parse_one(text)?.statement {
        Statement::Backup(backup) => backup.request(session),
        other => panic!("{other:?}"),
    }
}

fn restore(rest: &str, properties: &str) -> Result<RestoreRequest, SqlError> {
    let text =
        format!("RESTORE SNAPSHOT {rest} PROPERTIES ('backup_timestamp' = 'ts'{properties})");
    match parse_one(&text)?.statement {
        Statement::Restore(restore) => restore.request(Some("session")),
        other => panic!("{other:?}"),
    }
}

fn repository(text: &str) -> Result<RepositoryRequest, SqlError> {
    match parse_one(text)?.statement {
        Statement::CreateRepository(create) => create.request(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_backup_becomes_a_request() {
    let request = backup(
        "BACKUP SNAPSHOT l TO r ON (t PARTITION (p), u) PROPERTIES ('type'='FULL','timeout'='600')",
        Some("session"),
    )
    .unwrap();
    let object = |table: &str, partitions: &[&str]| ObjectRef {
        table: table.to_owned(),
        partitions: partitions.iter().map(|p| (*p).to_owned()).collect(),
        alias: None,
    };
    assert_eq!(
        request,
        BackupRequest {
            database: "session".to_owned(),
            label: "l".to_owned(),
            repository: "r".to_owned(),
            selection: Selection::Only(vec![object("t", &["p"]), object("u", &[])]),
            timeout_seconds: Some(600),
        }
    );
    let whole = backup("BACKUP DATABASE d SNAPSHOT l TO r ON (ALL TABLES)", None).unwrap();
    assert_eq!(
        (whole.database.as_str(), whole.selection),
        ("d", Selection::All)
    );
    let except = backup("BACKUP SNAPSHOT d.l TO r EXCLUDE (t)", None).unwrap();
    assert_eq!(except.selection, Selection::Except(vec![object("t", &[])]));
}

#[test]
fn wrong_backups_meet_their_condition() {
    let long = "x".repeat(129);
    for (rest, symbol, part) in [
        ("l TO r", "NO_DATABASE_SELECTED", "no database selected"),
        ("d.`` TO r", "BAD_LABEL", "label ''"),
        ("d.`a b` TO r", "BAD_LABEL", "^[-_A-Za-z0-9]{1,128}$"),
        (&format!("d.{long} TO r"), "BAD_LABEL", "x'"),
        (
            "d.l TO r ON (d.t)",
            "BAD_TABLE_NAME",
            "Cannot specify database name on backup objects",
        ),
        ("d.l TO r ON (t, t)", "DUPLICATE_OBJECT", "table 't'"),
        (
            "d.l TO r ON (t PARTITION (p, p))",
            "DUPLICATE_OBJECT",
            "partition 'p'",
        ),
        (
            "d.l TO r ON (ALL TABLES, t)",
            "DUPLICATE_OBJECT",
            "ALL TABLES",
        ),
        (
            "d.l TO r EXCLUDE (ALL TABLES)",
            "NOTHING_SELECTED",
            "leaves nothing",
        ),
        (
            "d.l TO r ON (VIEW v)",
            "UNSUPPORTED",
            "VIEW 'v' is not supported: only tables",
        ),
        (
            "d.l TO r ON (MATERIALIZED VIEW v)",
            "UNSUPPORTED",
            "MATERIALIZED VIEW 'v'",
        ),
        ("d.l TO r ON (ALL FUNCTIONS)", "UNSUPPORTED", "FUNCTION"),
        (
            "d.l TO r ON (t TEMPORARY PARTITION (p))",
            "UNSUPPORTED",
            "TEMPORARY PARTITION",
        ),
        (
            "d.l TO r PROPERTIES ('type'='incremental')",
            "BAD_PROPERTY",
            "already sends only what changed",
        ),
        (
            "d.l TO r PROPERTIES ('type'='x')",
            "BAD_PROPERTY",
            "'type' is 'x', expected 'full'",
        ),
        (
            "d.l TO r PROPERTIES ('timeout'='599')",
            "BAD_PROPERTY",
            "at least 10 min",
        ),
        (
            "d.l TO r PROPERTIES ('timeout'='1h')",
            "BAD_PROPERTY",
            "'1h', expected a number of seconds",
        ),
        (
            "d.l TO r PROPERTIES ('timeout'='-600')",
            "BAD_PROPERTY",
            "a number of seconds",
        ),
        (
            "d.l TO r PROPERTIES ('Timeout'='600')",
            "BAD_PROPERTY",
            "expected one of timeout, type",
        ),
        (
            "d.l TO r PROPERTIES ('content'='ALL')",
            "BAD_PROPERTY",
            "'content' is not supported",
        ),
    ] {
        let error = backup(&format!("BACKUP SNAPSHOT {rest}"), None).unwrap_err();
        assert_eq!(error.symbol, symbol, "{rest}: {error}");
        assert!(error.message.contains(part), "{rest}: {error}");
    }
    let catalogs = backup("BACKUP ALL EXTERNAL CATALOGS SNAPSHOT l TO r", Some("d")).unwrap_err();
    assert!(catalogs.message.contains("EXTERNAL CATALOG"));
    assert_eq!(
        backup("BACKUP SNAPSHOT l TO r", None).unwrap_err().number,
        1046
    );
    assert_eq!(
        backup("BACKUP SNAPSHOT `a b` TO r", Some("d"))
            .unwrap_err()
            .number,
        5082
    );
}

#[test]
fn the_target_database_is_chosen_by_rank() {
    let names = |rest: &str| {
        let request = restore(rest, "").unwrap();
        (request.database, request.source_database)
    };
    let own = |text: &str| Some(text.to_owned());
    assert_eq!(
        names("l FROM r DATABASE a AS b"),
        ("b".to_owned(), own("a"))
    );
    assert_eq!(names("l FROM r DATABASE a"), ("a".to_owned(), own("a")));
    assert_eq!(names("c.l FROM r"), ("c".to_owned(), None));
    assert_eq!(names("l FROM r"), ("session".to_owned(), None));
}

#[test]
fn restore_properties_become_fields() {
    let plain = restore("d.l FROM r", "").unwrap();
    assert_eq!(plain.timestamp, "ts");
    assert_eq!(plain.allow_load, AllowLoad::No);
    assert_eq!(plain.replication, Replication::Automatic);
    assert_eq!(
        (plain.clean, plain.timeout_seconds),
        (Clean::default(), None)
    );
    let rich = restore(
        "d.l FROM r",
        ", 'allow_load'='TRUE', 'replication_num'='2', 'reserve_replica'='false', \
         'clean_tables'='true', 'clean_partitions'='true', 'atomic_restore'='true', \
          'timeout'='86400'",
    )
    .unwrap();
    assert_eq!(rich.allow_load, AllowLoad::UntouchedPartitions);
    assert_eq!(rich.replication, Replication::Fixed(2));
    assert_eq!(
        rich.clean,
        Clean {
            tables: true,
            partitions: true
        }
    );
    assert_eq!(rich.timeout_seconds, Some(86_400));
    let reserve = restore("d.l FROM r", ", 'reserve_replica'='true'").unwrap();
    assert_eq!(reserve.replication, Replication::Reserve);
    assert!(restore("d.l FROM r ON (t)", ", 'clean_partitions'='true'").is_ok());
}

#[test]
fn wrong_restores_meet_their_condition() {
    for (rest, properties, symbol, part) in [
        (
            "d.l FROM r",
            ", 'x'='1'",
            "BAD_PROPERTY",
            "expected one of allow_load, atomic_restore",
        ),
        (
            "d.l FROM r",
            ", 'allow_load'='yes'",
            "BAD_PROPERTY",
            "expected 'true' or 'false'",
        ),
        (
            "d.l FROM r",
            ", 'replication_num'='0'",
            "BAD_PROPERTY",
            "from 1 on",
        ),
        (
            "d.l FROM r",
            ", 'replication_num'='three'",
            "BAD_PROPERTY",
            "'three'",
        ),
        (
            "d.l FROM r",
            ", 'replication_num'='2', 'reserve_replica'='true'",
            "BAD_PROPERTY",
            "contradict",
        ),
        (
            "d.l FROM r",
            ", 'atomic_restore'='false'",
            "BAD_PROPERTY",
            "expected 'true'",
        ),
        (
            "d.l FROM r",
            ", 'meta_version'='1'",
            "BAD_PROPERTY",
            "'meta_version' is not supported",
        ),
        (
            "d.l FROM r",
            ", 'force_replace'='false'",
            "BAD_PROPERTY",
            "'force_replace' is not supported",
        ),
        (
            "d.l FROM r",
            ", 'storage_vault_name'='v'",
            "BAD_PROPERTY",
            "there are no storage vaults",
        ),
        (
            "d.l FROM r",
            ", 'timeout'='1'",
            "BAD_PROPERTY",
            "at least 10 min",
        ),
        (
            "d.l FROM r ON (t)",
            ", 'clean_tables'='true'",
            "BAD_PROPERTY",
            "'clean_tables'",
        ),
        (
            "d.l FROM r EXCLUDE (t)",
            ", 'clean_tables'='true'",
            "BAD_PROPERTY",
            "'clean_tables'",
        ),
        (
            "d.l FROM r ON (t PARTITION (p))",
            ", 'clean_partitions'='true'",
            "BAD_PROPERTY",
            "partition list of table 't'",
        ),
        (
            "d.l FROM r ON (t AS u, v AS u)",
            "",
            "DUPLICATE_OBJECT",
            "alias 'u'",
        ),
        (
            "d.l FROM r ON (t AS u, u)",
            "",
            "DUPLICATE_OBJECT",
            "alias 'u'",
        ),
        (
            "d.l FROM r ON (t, t AS u)",
            "",
            "DUPLICATE_OBJECT",
            "table 't'",
        ),
        (
            "d.l FROM r ON (d.t)",
            "",
            "BAD_TABLE_NAME",
            "Cannot specify database name",
        ),
        ("d.l FROM r ON (t AS `a/b`)", "", "BAD_TABLE_NAME", "'a/b'"),
        (
            "d.l FROM r EXCLUDE (t AS u)",
            "",
            "UNSUPPORTED",
            "AS 'u' in EXCLUDE",
        ),
        (
            "l FROM r DATABASE d AS `x y`",
            "",
            "BAD_DATABASE_NAME",
            "'x y'",
        ),
        ("d.`x!` FROM r", "", "BAD_LABEL", "'x!'"),
    ] {
        let error = restore(rest, properties).unwrap_err();
        assert_eq!(error.symbol, symbol, "{rest}: {error}");
        assert!(error.message.contains(part), "{rest}: {error}");
    }
    let Statement::Restore(bare) = parse_one("RESTORE SNAPSHOT d.l FROM r").unwrap().statement
    else {
        panic!("no restore")
    };
    let error = bare.request(None).unwrap_err();
    assert!(
        error.message.contains("Missing backup_timestamp"),
        "{error}"
    );
    assert!(restore("d.l FROM r ON (t AS t)", "").is_ok());
}

#[test]
fn repositories_are_checked_by_scheme() {
    let request =
        repository("CREATE REPOSITORY r WITH BROKER b ON LOCATION 'x://y' PROPERTIES ('k'='v')")
            .unwrap();
    assert_eq!(request.broker.as_deref(), Some("b"));
    assert_eq!(request.properties["k"], "v");
    let direct = repository("CREATE REPOSITORY r WITH BROKER ON LOCATION '/srv'").unwrap();
    assert_eq!((direct.broker, direct.location.as_str()), (None, "/srv"));
    for (text, symbol) in [
        (
            "CREATE REPOSITORY r WITH BROKER ON LOCATION ' '",
            "BAD_LOCATION",
        ),
        (
            "CREATE REPOSITORY r WITH S3 ON LOCATION 'hdfs://h'",
            "BAD_LOCATION",
        ),
        (
            "CREATE REPOSITORY r WITH HDFS ON LOCATION 's3://h'",
            "BAD_LOCATION",
        ),
        (
            "CREATE REPOSITORY r WITH LOCAL ON LOCATION 's3://h'",
            "BAD_LOCATION",
        ),
        (
            "CREATE REPOSITORY r WITH BROKER '' ON LOCATION 's3://h'",
            "BROKER_NOT_FOUND",
        ),
    ] {
        assert_eq!(repository(text).unwrap_err().symbol, symbol, "{text}");
    }
    assert!(repository("CREATE REPOSITORY r WITH LOCAL ON LOCATION 'file:///x'").is_ok());
}
