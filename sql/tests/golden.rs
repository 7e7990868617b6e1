//! Each SHOW in its three formats, held against the texts in `golden/`. `HOLDFAST_BLESS=1` writes
//! them anew.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are outside the deterministic core"
)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::too_many_lines)] // A test fails by panicking.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use holdfast_engine::story::JobRecords;
use holdfast_engine::testing::History;
use holdfast_engine::{
    BackupState, BackupView, Epoch, JobCommon, JobId, JobView, ObjectRef, RepositoryAccess,
    RepositoryId, RepositoryView, RestoreState, RestoreView, Status, StatusCode, TaskError, TaskId,
    TaskProgress, TaskRun,
};
use holdfast_journal::{Event as _, FrameHash, Record, Seq};
use holdfast_sql::show::{self, BrokerRow, SnapshotDetail, SnapshotRow, TabletPlace, TabletRow};
use holdfast_sql::{Clock, ResultTable, SnapshotPick, Statement, Width, output, parse_one};
use holdfast_storage::model::{
    Access, AllowLoad, BackendId, BackendInfo, OpId, PartitionInfo, TableInfo, TabletId,
};

/// 2024-11-22 10:00:00 UTC.
const T0: u64 = 1_732_269_600_000;

fn east(_: u64) -> i32 {
    2 * 3600
}

fn clock() -> Clock<'static> {
    Clock {
        now_ms: T0 + 90_500,
        offset_seconds: &east,
    }
}

fn check(name: &str, table: &ResultTable) {
    for row in &table.rows {
        assert_eq!(row.len(), table.columns.len(), "{name}");
    }
    let text = format!(
        "-- json\n{}\n-- csv\n{}-- table\n{}-- upright\n{}",
        output::json(table),
        output::csv(table),
        output::table(table, None),
        output::table(table, Some(1))
    );
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("tests/golden/{name}.txt"));
    if std::env::var_os("HOLDFAST_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, kept, "{name} differs from {}", path.display());
}

fn object(table: &str, partitions: &[&str], alias: Option<&str>) -> ObjectRef {
    ObjectRef {
        table: table.to_owned(),
        partitions: partitions.iter().map(|p| (*p).to_owned()).collect(),
        alias: alias.map(str::to_owned),
    }
}

fn common(job: u64) -> JobCommon {
    JobCommon {
        job: JobId(job),
        label: "monday".to_owned(),
        database: "shop".to_owned(),
        repository: "vault".to_owned(),
        objects: vec![
            object("orders", &["p1", "p2"], None),
            object("items", &[], None),
        ],
        created_ms: T0,
        snapshot_finished_ms: None,
        transfer_finished_ms: None,
        finished_ms: None,
        unfinished: Vec::new(),
        errors: Vec::new(),
        status: Status {
            code: StatusCode::Ok,
            message: String::new(),
        },
        timeout_seconds: 86_400,
        tablets: 0,
        files: 0,
        total_bytes: 0,
        moved_bytes: 0,
        moved_objects: 0,
        reused_bytes: 0,
        epoch: Epoch(1),
        elapsed_ms: 0,
        tasks_total: 1,
        tasks_done: 0,
        stopping: false,
    }
}

fn backup(common: JobCommon, state: BackupState, root: Option<&str>) -> Arc<JobView> {
    Arc::new(JobView::Backup(BackupView {
        common,
        state,
        timestamp: "2024-11-22-12-00-00-000".to_owned(),
        root: root.map(str::to_owned),
    }))
}

fn restore(common: JobCommon, state: RestoreState) -> RestoreView {
    RestoreView {
        common,
        state,
        timestamp: "2024-11-22-12-00-00-000".to_owned(),
        allow_load: AllowLoad::No,
        replication_num: None,
        drops: Vec::new(),
        meta_prepared_ms: None,
    }
}

fn no_progress(_: JobId) -> Vec<TaskProgress> {
    Vec::new()
}

fn arranged(text: &str, table: ResultTable) -> ResultTable {
    parse_one(text).unwrap().statement.arrange(table).unwrap()
}

fn backups() -> ResultTable {
    let done = JobCommon {
        snapshot_finished_ms: Some(T0 + 1_000),
        transfer_finished_ms: Some(T0 + 61_000),
        finished_ms: Some(T0 + 62_345),
        tablets: 12,
        files: 400,
        total_bytes: 1_000_000,
        moved_bytes: 600_000,
        moved_objects: 9,
        reused_bytes: 400_000,
        elapsed_ms: 62_345,
        tasks_done: 1,
        ..common(10)
    };
    let running = JobCommon {
        label: "tuesday".to_owned(),
        snapshot_finished_ms: Some(T0 + 1_000),
        unfinished: vec![
            TaskRun {
                first: TaskId(20),
                count: 2,
                backend: Some(BackendId(1)),
            },
            TaskRun {
                first: TaskId(22),
                count: 1,
                backend: None,
            },
        ],
        errors: vec![TaskError {
            task: TaskId(21),
            failures: 3,
            message: "cannot write 'x': connection reset".to_owned(),
        }],
        tablets: 12,
        files: 400,
        total_bytes: 1_000_000,
        moved_bytes: 20,
        tasks_total: 8,
        tasks_done: 5,
        elapsed_ms: 100,
        ..common(13)
    };
    let cancelled = JobCommon {
        label: "wednesday".to_owned(),
        finished_ms: Some(T0 + 5),
        status: Status {
            code: StatusCode::CommonError,
            message: "user cancelled".to_owned(),
        },
        ..common(15)
    };
    let progress = |job: JobId| {
        let task = TaskProgress {
            task: TaskId(20),
            done: 3,
            total: 10,
        };
        if job == JobId(13) {
            vec![task]
        } else {
            Vec::new()
        }
    };
    let jobs = [
        backup(done, BackupState::Finished, Some("ab12")),
        Arc::new(JobView::Restore(restore(common(11), RestoreState::Pending))),
        backup(running, BackupState::Uploading, None),
        backup(cancelled, BackupState::Cancelled, None),
    ];
    show::backups(&jobs, &progress, clock())
}

#[test]
fn show_backup() {
    let table = backups();
    assert_eq!(table.columns[3].name, "State");
    assert_eq!(table.columns[12].name, "Status");
    check("backup", &table);
    let one = arranged("SHOW BACKUP LIKE 'tue%'", backups());
    assert_eq!(one.rows.len(), 1);
    assert_eq!(one.value(0, "UnfinishedTasks"), Some("20=1, 21=1, 22=-1"));
    let two = arranged(
        "SHOW BACKUP WHERE JobId > 10 ORDER BY CreateTime, JobId DESC",
        backups(),
    );
    assert_eq!(two.value(0, "JobId"), Some("15"));
    assert_eq!(two.rows.len(), 2);
}

#[test]
fn long_task_lists_end_with_a_count() {
    let mut many = common(1);
    many.unfinished = vec![TaskRun {
        first: TaskId(5),
        count: 300_000,
        backend: Some(BackendId(2)),
    }];
    many.errors = (0..102)
        .map(|i| TaskError {
            task: TaskId(i),
            failures: 1,
            message: "x".to_owned(),
        })
        .collect();
    let table = show::backups(
        &[backup(many, BackupState::Snapshoting, None)],
        &no_progress,
        clock(),
    );
    let tasks = table.value(0, "UnfinishedTasks").unwrap();
    assert!(
        tasks.starts_with("5=2, 6=2, ") && tasks.ends_with(", 104=2, and 299900 more"),
        "{tasks}"
    );
    assert_eq!(tasks.matches('=').count(), 100);
    let errors = table.value(0, "TaskErrMsg").unwrap();
    assert!(errors.ends_with("[99: x], and 2 more"), "{errors}");
}

#[test]
fn show_restore() {
    let mut finished = restore(
        JobCommon {
            objects: vec![
                object("orders", &["p1"], Some("orders_old")),
                object("items", &["items"], None),
            ],
            snapshot_finished_ms: Some(T0 + 1_000),
            transfer_finished_ms: Some(T0 + 2_000),
            finished_ms: Some(T0 + 3_000),
            status: Status {
                code: StatusCode::Ok,
                message: "replication_num lowered to 2".to_owned(),
            },
            elapsed_ms: 3_000,
            ..common(20)
        },
        RestoreState::Finished,
    );
    finished.meta_prepared_ms = Some(T0 + 500);
    finished.replication_num = Some(2);
    finished.drops = vec![object("junk", &[], None), object("items", &["old"], None)];
    finished.allow_load = AllowLoad::UntouchedPartitions;
    let timed_out = restore(
        JobCommon {
            finished_ms: Some(T0 + 600_000),
            status: Status {
                code: StatusCode::Timeout,
                message: String::new(),
            },
            ..common(21)
        },
        RestoreState::Cancelled,
    );
    let jobs = [finished, timed_out].map(|view| Arc::new(JobView::Restore(view)));
    let table = show::restores(&jobs, &no_progress, Width::Full, clock());
    assert_eq!(table.columns[4].name, "State");
    assert_eq!(table.columns[16].name, "Status");
    check("restore", &table);
    let brief = show::restores(&jobs, &no_progress, Width::Brief, clock());
    assert_eq!(brief.columns.len(), table.columns.len() - 3);
    assert_eq!(brief.value(0, "RestoreObjs"), None);
    assert_eq!(brief.value(0, "Timeout"), Some("86400"));
}

fn snapshot_rows() -> Vec<SnapshotRow> {
    let row = |label: &str, timestamps: &[&str], problem: Option<&str>| SnapshotRow {
        label: label.to_owned(),
        timestamps: timestamps.iter().map(|t| (*t).to_owned()).collect(),
        problem: problem.map(str::to_owned),
        cluster: Some("c1".to_owned()),
        root: Some("ab12".to_owned()),
        detail: None,
    };
    let mut whole = row("monday", &["2024-11-22-12-00-00-000"], None);
    whole.detail = Some(SnapshotDetail {
        database: "shop".to_owned(),
        backup_ms: T0,
        format: 1,
        objects: vec![
            object("or\"ders", &["p1", "p2"], None),
            object("none", &[], None),
        ],
        data_bytes: 5,
        files: 2,
    });
    vec![
        whole,
        row(
            "raced",
            &["2024-11-22-12-00-00-001", "2024-11-22-12-00-00-002"],
            None,
        ),
        SnapshotRow {
            label: "open".to_owned(),
            ..SnapshotRow::default()
        },
        row("broken", &[], Some("connection refused")),
    ]
}

#[test]
fn show_snapshot_in_its_three_forms() {
    let rows = snapshot_rows();
    check("snapshot_list", &show::snapshots(&SnapshotPick::All, &rows));
    let labels = SnapshotPick::Labels(vec!["monday".to_owned()]);
    check("snapshot_labels", &show::snapshots(&labels, &rows[..1]));
    let exact = SnapshotPick::Exact {
        label: "monday".to_owned(),
        timestamp: "2024-11-22".to_owned(),
    };
    check(
        "snapshot_exact",
        &show::snapshots(&exact, &[rows[0].clone(), rows[3].clone()]),
    );
    let found = arranged(
        "SHOW SNAPSHOT ON r WHERE snapshot LIKE '%o%' AND status = 'OK'",
        show::snapshots(&SnapshotPick::All, &rows),
    );
    assert_eq!(found.rows.len(), 1);
}

fn repository(name: &str, access: RepositoryAccess, broker: Option<&str>) -> RepositoryView {
    RepositoryView {
        id: RepositoryId(7),
        name: name.to_owned(),
        created_ms: T0,
        access,
        location: "sftp://user:pass@host/backup".to_owned(),
        broker: broker.map(str::to_owned),
    }
}

#[test]
fn show_repositories_and_show_create_repository() {
    let direct = repository("vault", RepositoryAccess::ReadWrite, None);
    let mirror = repository("mirror", RepositoryAccess::ReadOnly, Some("hdfs_broker"));
    let views = [direct.clone(), mirror.clone()].map(Arc::new);
    let error = |name: &str| (name == "mirror").then(|| (T0, "no route to host".to_owned()));
    check("repositories", &show::repositories(&views, &error, clock()));
    let properties: BTreeMap<String, String> =
        [("aws.s3.secret_key", "hunter2"), ("region", "e\"u")]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into();
    let table = show::create_repository(&mirror, &properties);
    check("create_repository", &table);
    let text = table.value(0, "CreateStmt").unwrap();
    assert!(
        !text.contains("hunter2") && !text.contains("pass@"),
        "{text}"
    );
    let Statement::CreateRepository(again) = parse_one(text).unwrap().statement else {
        panic!("{text}")
    };
    assert_eq!(again.access, mirror.access);
    assert_eq!(again.properties.0["region"], "e\"u");
}

#[test]
fn show_job_events() {
    let mut words = JobRecords::new(JobId(10_002));
    let mut history = History::new();
    history.opening();
    history.cancelled_backup("shop");
    let rows = history.take().into_iter().zip(1..);
    let records: Vec<_> = rows
        .filter_map(|(event, seq)| {
            words.take(&Record {
                seq: Seq(seq),
                at_ms: T0 + seq * 250,
                stream: event.stream(),
                kind: event.kind(),
                hash: FrameHash([0; 32]),
                event,
            })
        })
        .collect();
    let table = show::job_events(&records, clock());
    check("job_events", &table);
    let failed = arranged("SHOW JOB EVENTS FOR 10002 LIKE 'TaskFail%'", table.clone());
    assert_eq!(failed.rows.len(), 1);
    assert_eq!(failed.value(0, "Attempt"), Some("2"));
    let last = arranged(
        "SHOW JOB EVENTS FOR 10002 WHERE Backend = 1 ORDER BY Seq DESC LIMIT 1",
        table,
    );
    assert_eq!(last.value(0, "Kind"), Some("TaskFinished"));
}

#[test]
fn show_broker_and_backends() {
    let broker = BrokerRow {
        name: "b".to_owned(),
        host: "10.0.0.1".to_owned(),
        port: 8000,
        alive: false,
        last_start_ms: Some(T0),
        last_update_ms: None,
        error: Some("connection refused".to_owned()),
    };
    check("broker", &show::brokers(&[broker], clock()));
    check("broker_none", &show::brokers(&[], clock()));
    let backend = BackendInfo {
        id: BackendId(1),
        name: "disk1".to_owned(),
        alive: true,
        replicas: 12,
        data_bytes: 34,
    };
    check("backends", &show::backends(&[backend]));
    check("databases", &show::databases(&["a", "b"]));
    check("tables", &show::tables("shop", &["items", "orders"]));
}

fn table_info(text: &str) -> TableInfo {
    let Statement::CreateTable(create) = parse_one(text).unwrap().statement else {
        panic!("{text}")
    };
    let partitions = create
        .partitions
        .into_iter()
        .zip(100..)
        .map(|(meta, id)| PartitionInfo {
            id,
            meta,
            access: Access::Normal,
            visible_version: 2,
            visible_since_ms: T0,
            files: 3,
            data_bytes: 1_000,
        });
    TableInfo {
        name: create.table.table,
        schema: create.schema,
        access: Access::Normal,
        partitions: partitions.collect(),
    }
}

#[test]
fn show_partitions_and_show_create_table() {
    let mut range = table_info(
        "CREATE TABLE orders (day DATE, n INT) PARTITION BY RANGE(day) (PARTITION p1 VALUES LESS \
         THAN \
         ('2024-01-01'), PARTITION p2 VALUES LESS THAN ('2025-01-01')) DISTRIBUTED BY \
         HASH(day, n) BUCKETS 2 \
         PROPERTIES ('replication_num' = '3')",
    );
    range.partitions[1].access = Access::Overwriting(OpId(44));
    check("partitions_range", &show::partitions(&range, clock()));
    check("create_table", &show::create_table(&range));
    let list = table_info("CREATE TABLE f () PARTITION BY LIST() (PARTITION a VALUES IN ('a'))");
    check("partitions_list", &show::partitions(&list, clock()));
}

#[test]
fn show_tablet() {
    let row = TabletRow {
        tablet: TabletId(9),
        replica: 91,
        backend: BackendId(2),
        partition: "p1".to_owned(),
        bucket: 0,
        version: 2,
        data_bytes: 10,
        files: 1,
        versions: 1,
        whole: true,
        path: Some("/srv/b2".to_owned()),
    };
    let damaged = TabletRow {
        replica: 92,
        whole: false,
        path: None,
        ..row.clone()
    };
    check("tablets", &show::tablets(&[row, damaged]));
    let place = TabletPlace {
        tablet: TabletId(9),
        database: "shop".to_owned(),
        table: "orders".to_owned(),
        partition: "p1".to_owned(),
        partition_id: 100,
    };
    let table = show::tablet(&place);
    check("tablet", &table);
    assert!(parse_one(table.value(0, "DetailCmd").unwrap()).is_ok());
    let shown = |tail: &str| {
        let text = format!("SHOW TABLET 9 {tail}");
        arranged(&text, show::tablet(&place)).rows.len()
    };
    assert_eq!(shown("WHERE DbName = 'shop' ORDER BY TableName LIMIT 1"), 1);
    assert_eq!((shown("WHERE DbName = 'other'"), shown("LIMIT 0")), (0, 0));
    assert_eq!((shown("LIKE 'ord%'"), shown("LIKE 'x'")), (1, 0));
}

#[test]
fn times_follow_the_zone_over_leap_days_and_before_its_offset() {
    let zone = |offset: i32| move |_: u64| offset;
    let at = |ms: u64, offset: i32| {
        Clock {
            now_ms: 0,
            offset_seconds: &zone(offset),
        }
        .time(ms)
    };
    assert_eq!(at(0, 0), "1970-01-01 00:00:00");
    assert_eq!(at(0, -3600), "1969-12-31 23:00:00");
    assert_eq!(at(1_709_164_799_999, 0), "2024-02-28 23:59:59");
    assert_eq!(at(1_709_164_800_000, 0), "2024-02-29 00:00:00");
    assert_eq!(at(1_709_164_800_000, 86_400), "2024-03-01 00:00:00");
    assert_eq!(at(4_107_542_399_000, 1), "2100-03-01 00:00:00");
    assert!(!at(u64::MAX, i32::MAX).is_empty());
}
