//! Each rule of a restore's checks, alone; the fixture below is a restore that every rule lets
//! pass.

use holdfast_storage::AllowLoad;
use holdfast_storage::model::{
    Bounds, Column, Distribution, KeysType, PartitionInfo, Partitioning,
};

use super::*;
use crate::ids::RepositoryId;
use crate::spec::Replication;

const OP: OpId = OpId(7);
const OTHER: OpId = OpId(99);

fn column(name: &str, data_type: &str) -> Column {
    Column {
        name: name.into(),
        data_type: data_type.into(),
        nullable: false,
        default: None,
        aggregation: None,
        comment: String::new(),
    }
}

fn schema(partitioning: Partitioning) -> TableSchema {
    TableSchema {
        columns: vec![column("k", "INT"), column("v", "BIGINT")],
        keys_type: KeysType::Duplicate,
        key_columns: vec!["k".into()],
        partitioning,
        distribution: Distribution::Hash {
            columns: vec!["k".into()],
        },
        comment: String::new(),
        properties: BTreeMap::new(),
    }
}

fn by_range() -> TableSchema {
    schema(Partitioning::Range {
        columns: vec!["k".into()],
    })
}

fn by_list() -> TableSchema {
    schema(Partitioning::List { columns: vec![] })
}

fn range(from: &str, to: &str) -> Bounds {
    Bounds::Range {
        lower: Some(vec![from.into()]),
        upper: Some(vec![to.into()]),
    }
}

fn items(values: &[&str]) -> Bounds {
    Bounds::List {
        items: values.iter().map(|v| vec![(*v).to_owned()]).collect(),
    }
}

fn part(name: &str, bounds: Bounds) -> PartitionMeta {
    PartitionMeta {
        name: name.into(),
        bounds,
        buckets: 4,
        replication_num: 2,
    }
}

/// `sales`: ranges p1 and p2; `notes`: unpartitioned; `lists`: items a and b.
fn snapshot_tables() -> Vec<SnapshotTable> {
    vec![
        SnapshotTable {
            name: "sales".into(),
            schema: by_range(),
            partitions: vec![part("p1", range("0", "10")), part("p2", range("10", "20"))],
        },
        SnapshotTable {
            name: "notes".into(),
            schema: schema(Partitioning::Unpartitioned),
            partitions: vec![part("notes", Bounds::All)],
        },
        SnapshotTable {
            name: "lists".into(),
            schema: by_list(),
            partitions: vec![part("a", items(&["a"])), part("b", items(&["b"]))],
        },
    ]
}

fn info(meta: PartitionMeta) -> PartitionInfo {
    PartitionInfo {
        id: 1,
        meta,
        access: Access::Normal,
        visible_version: 3,
        visible_since_ms: 0,
        files: 1,
        data_bytes: 10,
    }
}

/// The table as it would stand in the catalog.
fn existing(table: &SnapshotTable) -> TableInfo {
    TableInfo {
        name: table.name.clone(),
        schema: table.schema.clone(),
        access: Access::Normal,
        partitions: table.partitions.iter().cloned().map(info).collect(),
    }
}

fn job(selection: Selection) -> RestoreJobSpec {
    RestoreJobSpec {
        database: "db".into(),
        source_database: None,
        label: "nightly".into(),
        repository: RepositoryId(1),
        repository_name: "repo".into(),
        timestamp: "2026-01-01-00-00-00-000".into(),
        selection,
        allow_load: AllowLoad::No,
        replication: Replication::Automatic,
        clean: Clean::default(),
        existed: vec![],
        timeout_seconds: 86_400,
        cluster: "c".into(),
    }
}

fn object(table: &str, partitions: &[&str], alias: Option<&str>) -> ObjectRef {
    ObjectRef {
        table: table.into(),
        partitions: partitions.iter().map(|p| (*p).to_owned()).collect(),
        alias: alias.map(str::to_owned),
    }
}

fn only(table: &str, partitions: &[&str]) -> RestoreJobSpec {
    job(Selection::Only(vec![object(table, partitions, None)]))
}

fn run(
    tables: &[SnapshotTable],
    existing: &[TableInfo],
    backends: usize,
    job: &RestoreJobSpec,
) -> Result<Checked, Refusal> {
    let snapshot = Snapshot {
        database: "source",
        tables,
    };
    check(
        &snapshot,
        Existing {
            tables: existing,
            backends,
            op: OP,
        },
        job,
    )
}

fn refused(result: Result<Checked, Refusal>, code: RefusalCode, fragments: &[&str]) {
    let refusal = result.expect_err("refused");
    assert_eq!(refusal.code, code, "{refusal}");
    for fragment in fragments {
        assert!(
            refusal.message.contains(fragment),
            "'{fragment}' in: {refusal}"
        );
    }
    // Bounds of partitions are users' data, and can be left out of every refusal.
    let left = without_values(&refusal.message);
    for value in ["[(", "('", "takes '", "MINVALUE", "MAXVALUE"] {
        assert!(!left.contains(value), "'{value}' in: {left}");
    }
}

/// Restores `sales` onto an existing `sales` that `change` made different.
fn onto_sales(
    job: &RestoreJobSpec,
    change: impl FnOnce(&mut TableInfo),
) -> Result<Checked, Refusal> {
    let tables = snapshot_tables();
    let mut sales = existing(&tables[0]);
    change(&mut sales);
    run(&tables, &[sales], 3, job)
}

fn mismatch_on_sales(change: impl FnOnce(&mut TableInfo), fragments: &[&str]) {
    refused(
        onto_sales(&only("sales", &[]), change),
        RefusalCode::TargetMismatch,
        fragments,
    );
}

#[test]
fn absent_tables_are_made_as_the_snapshot_has_them() {
    let tables = snapshot_tables();
    let checked = run(&tables, &[], 3, &job(Selection::All)).expect("passes");
    assert_eq!(checked.spec.database, "db");
    assert_eq!(checked.spec.tables.len(), 3);
    for (target, source) in checked.spec.tables.iter().zip(&tables) {
        assert_eq!(
            (&target.name, &target.schema),
            (&source.name, &source.schema)
        );
        assert_eq!(target.table, Make::Create);
        let metas: Vec<_> = target.partitions.iter().map(|p| p.meta.clone()).collect();
        assert_eq!(metas, source.partitions);
        assert!(
            target
                .partitions
                .iter()
                .all(|p| p.partition == Make::Create)
        );
    }
    assert_eq!(
        checked.sources[0],
        SourceTable {
            table: 0,
            partitions: vec![0, 1]
        }
    );
    assert_eq!((checked.replication_num, checked.note), (Some(2), None));
}

#[test]
fn equal_tables_are_overwritten_and_keep_their_own_schema_text() {
    let tables = snapshot_tables();
    let mut local: Vec<TableInfo> = tables.iter().map(existing).collect();
    local[0].schema.comment = "mine".into();
    local[0].schema.properties.insert("k".into(), "v".into());
    let checked = run(&tables, &local, 3, &job(Selection::All)).expect("passes");
    assert!(
        checked
            .spec
            .tables
            .iter()
            .all(|t| t.table == Make::Overwrite)
    );
    assert!(
        checked
            .spec
            .tables
            .iter()
            .flat_map(|t| &t.partitions)
            .all(|p| p.partition == Make::Overwrite)
    );
    assert_eq!(checked.spec.tables[0].schema, local[0].schema);
}

#[test]
fn only_the_wanted_partitions_are_touched() {
    let checked = onto_sales(&only("sales", &["p2"]), |_| {}).expect("passes");
    let names: Vec<_> = checked.spec.tables[0]
        .partitions
        .iter()
        .map(|p| p.meta.name.as_str())
        .collect();
    assert_eq!(names, ["p2"]);
    assert_eq!(
        checked.sources,
        [SourceTable {
            table: 0,
            partitions: vec![1]
        }]
    );
    assert_eq!(checked.objects, [object("sales", &["p2"], None)]);
}

#[test]
fn a_snapshot_of_another_database_is_refused() {
    let mut job = job(Selection::All);
    job.source_database = Some("wanted".into());
    refused(
        run(&snapshot_tables(), &[], 3, &job),
        RefusalCode::WrongDatabase,
        &["'source'", "'wanted'"],
    );
    job.source_database = Some("source".into());
    assert!(run(&snapshot_tables(), &[], 3, &job).is_ok());
}

#[test]
fn an_unknown_table_or_partition_is_refused() {
    let tables = snapshot_tables();
    refused(
        run(&tables, &[], 3, &only("sale", &[])),
        RefusalCode::TableNotFound,
        &["'sale'", "snapshot 'nightly'", "'sales'"],
    );
    refused(
        run(&tables, &[], 3, &only("sales", &["p3"])),
        RefusalCode::PartitionNotFound,
        &["'p3'", "'p1', 'p2'"],
    );
}

#[test]
fn a_manifest_with_a_name_twice_is_refused() {
    let mut tables = snapshot_tables();
    tables[1].name = "sales".into();
    refused(
        run(&tables, &[], 3, &job(Selection::All)),
        RefusalCode::TargetMismatch,
        &["table 'sales' twice"],
    );
    let mut tables = snapshot_tables();
    tables[0].partitions[1].name = "p1".into();
    refused(
        run(&tables, &[], 3, &job(Selection::All)),
        RefusalCode::TargetMismatch,
        &["partition 'p1' of table 'sales' twice"],
    );
}

#[test]
fn a_manifest_whose_bounds_do_not_fit_its_table_is_refused() {
    let mut tables = snapshot_tables();
    tables[0].partitions[0].bounds = items(&["x"]);
    refused(
        run(&tables, &[], 3, &job(Selection::All)),
        RefusalCode::TargetMismatch,
        &["partition 'p1'", "('x')", "partition type"],
    );
    let mut tables = snapshot_tables();
    tables[1].partitions.push(part("second", Bounds::All));
    refused(
        run(&tables, &[], 3, &job(Selection::All)),
        RefusalCode::TargetMismatch,
        &["'notes' has 2 partitions", "expected 1"],
    );
    let mut tables = snapshot_tables();
    tables[0].partitions[1].buckets = 0;
    refused(
        run(&tables, &[], 3, &job(Selection::All)),
        RefusalCode::TargetMismatch,
        &["'p2'", "0 buckets"],
    );
}

#[test]
fn partitions_of_a_new_table_must_not_conflict_among_themselves() {
    let mut tables = snapshot_tables();
    tables[0].partitions[1].bounds = range("5", "20");
    refused(
        run(&tables, &[], 3, &job(Selection::All)),
        RefusalCode::TargetMismatch,
        &["conflicting range", "'p1'", "'p2'"],
    );
}

#[test]
fn an_alias_makes_a_new_table() {
    let tables = snapshot_tables();
    let job = job(Selection::Only(vec![object(
        "sales",
        &["p1"],
        Some("old_sales"),
    )]));
    let local = [existing(&tables[0])];
    let checked = run(&tables, &local, 3, &job).expect("passes");
    assert_eq!(checked.spec.tables[0].name, "old_sales");
    assert_eq!(checked.spec.tables[0].table, Make::Create);
    assert_eq!(checked.spec.tables[0].partitions[0].meta.name, "p1");
}

#[test]
fn an_alias_onto_an_existing_table_is_refused() {
    let tables = snapshot_tables();
    let job = job(Selection::Only(vec![object("sales", &[], Some("other"))]));
    let local = [TableInfo {
        name: "other".into(),
        ..existing(&tables[0])
    }];
    refused(
        run(&tables, &local, 3, &job),
        RefusalCode::TargetMismatch,
        &["table 'db.other' already exists", "'sales'", "AS"],
    );
}

#[test]
fn the_partition_of_an_unpartitioned_table_takes_the_alias() {
    let job = job(Selection::Only(vec![object("notes", &[], Some("notes2"))]));
    let checked = run(&snapshot_tables(), &[], 3, &job).expect("passes");
    assert_eq!(checked.spec.tables[0].partitions[0].meta.name, "notes2");
    assert_eq!(
        checked.sources,
        [SourceTable {
            table: 1,
            partitions: vec![0]
        }]
    );
}

#[test]
fn the_partition_of_an_unpartitioned_table_is_overwritten_under_any_name() {
    let tables = snapshot_tables();
    let mut notes = existing(&tables[1]);
    notes.partitions[0].meta.name = "p0".into();
    let checked = run(&tables, &[notes], 3, &only("notes", &[])).expect("passes");
    let partition = &checked.spec.tables[0].partitions[0];
    assert_eq!(
        (partition.meta.name.as_str(), partition.partition),
        ("p0", Make::Overwrite)
    );
}

#[test]
fn a_different_column_type_is_refused() {
    mismatch_on_sales(
        |t| t.schema.columns[1].data_type = "INT".into(),
        &[
            "table 'db.sales' already exist but with different schema",
            "type of column 'v' is INT, expected BIGINT",
        ],
    );
}

#[test]
fn a_different_column_name_order_or_count_is_refused() {
    mismatch_on_sales(
        |t| t.schema.columns.swap(0, 1),
        &["name of column 1 is 'v', expected 'k'"],
    );
    mismatch_on_sales(
        |t| t.schema.columns.push(column("w", "INT")),
        &["number of columns is 3, expected 2"],
    );
}

#[test]
fn a_different_nullability_default_or_aggregation_is_refused() {
    mismatch_on_sales(
        |t| t.schema.columns[1].nullable = true,
        &["NULL", "NOT NULL"],
    );
    mismatch_on_sales(
        |t| t.schema.columns[1].default = Some("0".into()),
        &["default of column 'v' is '0', expected absent"],
    );
    mismatch_on_sales(
        |t| t.schema.columns[1].aggregation = Some("SUM".into()),
        &["aggregation of column 'v' is SUM, expected absent"],
    );
}

#[test]
fn different_keys_are_refused() {
    mismatch_on_sales(
        |t| t.schema.keys_type = KeysType::Unique,
        &["keys type is UNIQUE KEY, expected DUPLICATE KEY"],
    );
    mismatch_on_sales(
        |t| t.schema.key_columns.push("v".into()),
        &["key columns is (k, v), expected (k)"],
    );
}

#[test]
fn a_different_partitioning_is_refused() {
    mismatch_on_sales(
        |t| {
            t.schema.partitioning = Partitioning::List {
                columns: vec!["k".into()],
            }
        },
        &["different schema", "partition type is LIST, expected RANGE"],
    );
    mismatch_on_sales(
        |t| {
            t.schema.partitioning = Partitioning::Range {
                columns: vec!["v".into()],
            }
        },
        &["partition columns is (v), expected (k)"],
    );
}

#[test]
fn a_different_distribution_is_refused() {
    mismatch_on_sales(
        |t| t.schema.distribution = Distribution::Random,
        &["distribution type is RANDOM, expected HASH"],
    );
    mismatch_on_sales(
        |t| {
            t.schema.distribution = Distribution::Hash {
                columns: vec!["v".into()],
            }
        },
        &["distribution columns is (v), expected (k)"],
    );
}

#[test]
fn a_different_bucket_count_is_refused() {
    mismatch_on_sales(
        |t| t.partitions[0].meta.buckets = 8,
        &["partition 'p1' of table 'db.sales' has 8 buckets, expected 4"],
    );
}

#[test]
fn a_different_range_or_item_list_is_refused() {
    mismatch_on_sales(
        |t| t.partitions[0].meta.bounds = range("0", "9"),
        &["'p1'", "different range", "[(0), (9))", "[(0), (10))"],
    );
    let tables = snapshot_tables();
    let mut lists = existing(&tables[2]);
    lists.partitions[0].meta.bounds = items(&["a", "c"]);
    refused(
        run(&tables, &[lists], 3, &only("lists", &[])),
        RefusalCode::TargetMismatch,
        &["'a'", "different items", "('a', 'c')"],
    );
}

#[test]
fn bounds_in_an_untouched_partition_do_not_matter() {
    let result = onto_sales(&only("sales", &["p2"]), |t| {
        t.partitions[0].meta.bounds = range("0", "9");
        t.partitions[0].meta.buckets = 9;
    });
    assert!(result.is_ok());
}

#[test]
fn a_partition_that_the_table_lacks_is_added() {
    let checked = onto_sales(&only("sales", &[]), |t| {
        t.partitions.remove(0);
    })
    .expect("passes");
    let table = &checked.spec.tables[0];
    assert_eq!(table.table, Make::Overwrite);
    let makes: Vec<_> = table.partitions.iter().map(|p| p.partition).collect();
    assert_eq!(makes, [Make::Create, Make::Overwrite]);

    let tables = snapshot_tables();
    let mut lists = existing(&tables[2]);
    lists.partitions.remove(1);
    let checked = run(&tables, &[lists], 3, &only("lists", &[])).expect("passes");
    assert_eq!(checked.spec.tables[0].partitions[1].partition, Make::Create);
}

#[test]
fn a_partition_that_conflicts_with_another_is_refused() {
    mismatch_on_sales(
        |t| {
            t.partitions[0].meta.name = "q".into();
            t.partitions[0].meta.bounds = range("9", "10");
        },
        &[
            "'p1'",
            "conflicting range",
            "[(0), (10))",
            "partition 'q' takes [(9), (10))",
        ],
    );
    let tables = snapshot_tables();
    let mut lists = existing(&tables[2]);
    lists.partitions[1].meta.name = "q".into();
    refused(
        run(&tables, &[lists], 3, &only("lists", &[])),
        RefusalCode::TargetMismatch,
        &["'b'", "conflicting items", "partition 'q' takes 'b' too"],
    );
}

#[test]
fn a_table_held_by_another_job_is_refused() {
    refused(
        onto_sales(&only("sales", &[]), |t| t.access = Access::Restoring(OTHER)),
        RefusalCode::JobRunning,
        &["table 'db.sales' is being restored by job 99"],
    );
    refused(
        onto_sales(&only("sales", &["p1"]), |t| {
            t.partitions[1].access = Access::Overwriting(OTHER);
        }),
        RefusalCode::JobRunning,
        &["job 99"],
    );
}

#[test]
fn what_the_operation_has_made_itself_does_not_change_the_answer() {
    let tables = snapshot_tables();
    let first = run(&tables, &[], 3, &job(Selection::All)).expect("passes");
    let made: Vec<TableInfo> = tables
        .iter()
        .map(|t| {
            let mut made = existing(t);
            made.access = Access::Restoring(OP);
            made.partitions
                .iter_mut()
                .for_each(|p| p.access = Access::Restoring(OP));
            made
        })
        .collect();
    assert_eq!(
        run(&tables, &made, 3, &job(Selection::All)).expect("passes"),
        first
    );

    // An overwrite with one partition added: the table and p2 are marked, p1 was made.
    let before = onto_sales(&only("sales", &[]), |t| {
        t.partitions.remove(0);
    });
    let after = onto_sales(&only("sales", &[]), |t| {
        t.access = Access::Overwriting(OP);
        t.partitions[0].access = Access::Restoring(OP);
        t.partitions[1].access = Access::Overwriting(OP);
    });
    assert_eq!(after.expect("passes"), before.expect("passes"));
}

#[test]
fn automatic_replication_keeps_the_targets_else_the_snapshots() {
    let checked = onto_sales(&only("sales", &[]), |t| {
        t.partitions.remove(0);
        t.partitions[0].meta.replication_num = 3;
    })
    .expect("passes");
    let counts: Vec<_> = checked.spec.tables[0]
        .partitions
        .iter()
        .map(|p| p.meta.replication_num)
        .collect();
    assert_eq!(counts, [2, 3]);
    assert_eq!((checked.replication_num, checked.note), (None, None));
}

#[test]
fn automatic_replication_is_lowered_to_the_backends_and_says_so() {
    let tables = snapshot_tables();
    let checked = run(&tables, &[], 1, &only("sales", &[])).expect("passes");
    assert_eq!(checked.replication_num, Some(1));
    let note = checked.note.expect("note");
    assert!(note.contains("from 2 to 1"), "{note}");
    assert!(
        note.contains("partition 'p1' of table 'db.sales' and 1 other partition"),
        "{note}"
    );
}

#[test]
fn a_given_replication_num_holds_for_new_and_must_equal_existing() {
    let tables = snapshot_tables();
    let mut job = only("sales", &[]);
    job.replication = Replication::Fixed(3);
    let checked = run(&tables, &[], 3, &job).expect("passes");
    assert_eq!(checked.replication_num, Some(3));
    refused(
        onto_sales(&job, |_| {}),
        RefusalCode::TargetMismatch,
        &["'p1'", "has different replication num", "is 2", "is 3"],
    );
    job.replication = Replication::Fixed(2);
    assert!(onto_sales(&job, |_| {}).is_ok());
}

#[test]
fn a_replication_num_that_cannot_be_met_is_refused() {
    let tables = snapshot_tables();
    let mut job = only("sales", &[]);
    job.replication = Replication::Fixed(4);
    refused(
        run(&tables, &[], 3, &job),
        RefusalCode::BadProperty,
        &["is 4", "at most 3"],
    );
    job.replication = Replication::Fixed(0);
    refused(
        run(&tables, &[], 3, &job),
        RefusalCode::BadProperty,
        &["is 0"],
    );
    job.replication = Replication::Automatic;
    refused(
        run(&tables, &[], 0, &job),
        RefusalCode::TargetMismatch,
        &["no backend"],
    );
    let mut tables = snapshot_tables();
    tables[0].partitions[0].replication_num = 0;
    refused(
        run(&tables, &[], 3, &job),
        RefusalCode::TargetMismatch,
        &["0 replicas"],
    );
}

#[test]
fn reserve_replica_keeps_the_snapshots_count_or_refuses() {
    let tables = snapshot_tables();
    let mut job = only("sales", &[]);
    job.replication = Replication::Reserve;
    let checked = run(&tables, &[], 2, &job).expect("passes");
    assert_eq!(checked.replication_num, Some(2));
    refused(
        run(&tables, &[], 1, &job),
        RefusalCode::BadProperty,
        &["'p1'", "2 replicas", "reserve_replica", "at most 1"],
    );
    let kept = onto_sales(&job, |t| t.partitions[0].meta.replication_num = 1).expect("passes");
    let note = kept.note.expect("note");
    assert!(
        note.contains("keep their replicas") && note.contains("has 1"),
        "{note}"
    );
}

#[test]
fn clean_tables_drops_what_existed_and_is_not_brought() {
    let tables = snapshot_tables();
    let mut job = job(Selection::All);
    job.clean.tables = true;
    job.existed = ["old", "gone", "sales"]
        .map(|t| object(t, &["p"], None))
        .to_vec();
    let named = |name: &str| TableInfo {
        name: name.into(),
        ..existing(&tables[0])
    };
    let local = [named("old"), named("younger"), named("sales")];
    let checked = run(&tables, &local, 3, &job).expect("passes");
    assert_eq!(checked.spec.drop_tables, ["old"]);
    assert!(checked.spec.drop_partitions.is_empty());
    assert_eq!(checked.drops, [object("old", &[], None)]);
    job.clean.tables = false;
    assert!(
        run(&tables, &local, 3, &job)
            .expect("passes")
            .drops
            .is_empty()
    );
}

#[test]
fn clean_tables_with_a_list_is_refused() {
    let mut job = only("sales", &[]);
    job.clean.tables = true;
    refused(
        run(&snapshot_tables(), &[], 3, &job),
        RefusalCode::BadProperty,
        &["clean_tables", "ON"],
    );
    job.selection = Selection::Except(vec![object("sales", &[], None)]);
    refused(
        run(&snapshot_tables(), &[], 3, &job),
        RefusalCode::BadProperty,
        &["clean_tables", "EXCLUDE"],
    );
}

#[test]
fn clean_partitions_drops_what_existed_and_is_not_brought() {
    let mut job = only("sales", &[]);
    job.clean.partitions = true;
    job.existed = vec![object("sales", &["p1", "p2", "p7", "p8"], None)];
    let checked = onto_sales(&job, |t| {
        t.partitions.push(info(part("p7", range("70", "80"))));
        t.partitions.push(info(part("younger", range("90", "99"))));
    })
    .expect("passes");
    assert_eq!(
        checked.spec.drop_partitions,
        [("sales".to_owned(), "p7".to_owned())]
    );
    assert_eq!(checked.drops, [object("sales", &["p7"], None)]);
}

#[test]
fn clean_partitions_leaves_other_tables_alone() {
    let tables = snapshot_tables();
    let mut job = only("sales", &[]);
    job.clean.partitions = true;
    job.existed = vec![object("lists", &["a", "b", "c"], None)];
    let local = [existing(&tables[0]), existing(&tables[2])];
    let checked = run(&tables, &local, 3, &job).expect("passes");
    assert!(checked.drops.is_empty());
}

#[test]
fn clean_partitions_with_a_partition_list_is_refused() {
    let mut job = only("sales", &["p1"]);
    job.clean.partitions = true;
    refused(
        run(&snapshot_tables(), &[], 3, &job),
        RefusalCode::BadProperty,
        &["clean_partitions", "'sales'"],
    );
}

#[test]
fn a_table_without_partitions_is_restored_as_such() {
    let mut tables = snapshot_tables();
    tables[2].partitions.clear();
    let checked = run(&tables, &[], 3, &only("lists", &[])).expect("passes");
    assert!(checked.spec.tables[0].partitions.is_empty());
    assert_eq!(checked.replication_num, None);
}
