//! SHOW CREATE TABLE, SHOW PARTITIONS (22 columns of StarRocks, then ours) and SHOW TABLET (24,
//! then ours; 10 for one tablet).
//!
//! Sizes are plain numbers of bytes, so that they add up: a partition's DataSize counts one
//! replica, its StorageSize as many as ReplicationNum wants, and the DataSize of its tablets' rows,
//! one per replica, sums up to StorageSize until a dropped backend took replicas along; it is the
//! less by theirs from then on. RowCount is 0: rows are unknown. Ours are, of a partition: Tablets,
//! Files, RestoreJob (the job that holds it); of a tablet: PartitionName, Bucket, Files.

use holdfast_storage::model::{
    Access, BackendId, Bounds, Distribution, PartitionInfo, Partitioning, TableInfo, TableSchema,
    TabletId,
};

use crate::ddl::{create_table_text, quoted_name};

use super::{Clock, ResultTable};

/// SHOW CREATE TABLE.
pub fn create_table(table: &TableInfo) -> ResultTable {
    let partitions: Vec<_> = table.partitions.iter().map(|p| p.meta.clone()).collect();
    let text = create_table_text(&table.name, &table.schema, &partitions);
    let mut out = ResultTable::new(&["Table", "Create Table"]);
    out.rows.push(vec![Some(table.name.clone()), Some(text)]);
    out
}

/// SHOW PARTITIONS of a table.
pub fn partitions(table: &TableInfo, clock: Clock<'_>) -> ResultTable {
    let bounds = match table.schema.partitioning {
        Partitioning::List { .. } => "List",
        Partitioning::Range { .. } | Partitioning::Unpartitioned => "Range",
    };
    let mut out = ResultTable::new(&[
        "PartitionId",
        "PartitionName",
        "VisibleVersion",
        "VisibleVersionTime",
        "VisibleVersionHash",
        "State",
        "PartitionKey",
        bounds,
        "DistributionKey",
        "Buckets",
        "ReplicationNum",
        "StorageMedium",
        "CooldownTime",
        "LastConsistencyCheckTime",
        "DataSize",
        "StorageSize",
        "IsInMemory",
        "RowCount",
        "DataVersion",
        "VersionEpoch",
        "VersionTxnType",
        "TabletBalanced",
        "Tablets",
        "Files",
        "RestoreJob",
    ]);
    out.rows = table
        .partitions
        .iter()
        .map(|p| partition_row(table, p, clock))
        .collect();
    out
}

fn partition_row(
    table: &TableInfo,
    partition: &PartitionInfo,
    clock: Clock<'_>,
) -> Vec<Option<String>> {
    let some = |text: &str| Some(text.to_owned());
    let meta = &partition.meta;
    let held = held_by(partition.access).or_else(|| held_by(table.access));
    let storage = partition
        .data_bytes
        .saturating_mul(u64::from(meta.replication_num));
    vec![
        Some(partition.id.to_string()),
        Some(meta.name.clone()),
        Some(partition.visible_version.to_string()),
        Some(clock.time(partition.visible_since_ms)),
        some("0"),
        some(if held.is_some() { "RESTORE" } else { "NORMAL" }),
        Some(partition_columns(&table.schema).join(", ")),
        Some(bounds_text(&table.schema, &meta.bounds)),
        Some(distribution_key(&table.schema.distribution)),
        Some(meta.buckets.to_string()),
        Some(meta.replication_num.to_string()),
        some("HDD"),
        some("9999-12-31 23:59:59"),
        None,
        Some(partition.data_bytes.to_string()),
        Some(storage.to_string()),
        some("false"),
        some("0"),
        Some(partition.visible_version.to_string()),
        some("0"),
        some("TXN_NORMAL"),
        some("true"),
        Some(meta.buckets.to_string()),
        Some(partition.files.to_string()),
        held.map(|job| job.to_string()),
    ]
}

fn held_by(access: Access) -> Option<u64> {
    match access {
        Access::Normal => None,
        Access::Restoring(op) | Access::Overwriting(op) => Some(op.0),
    }
}

fn partition_columns(schema: &TableSchema) -> &[String] {
    match &schema.partitioning {
        Partitioning::Unpartitioned => &[],
        Partitioning::Range { columns } | Partitioning::List { columns } => columns,
    }
}

fn distribution_key(distribution: &Distribution) -> String {
    match distribution {
        Distribution::Hash { columns } => columns.join(", "),
        Distribution::Random => "RANDOM".to_owned(),
    }
}

/// `[types: [DATE]; keys: [2024-01-01]; ..types: [DATE]; keys: [2024-02-01]; )` of a range, `('a',
/// 'b')` or `(('a', '1'), ('b', '2'))` of a list.
fn bounds_text(schema: &TableSchema, bounds: &Bounds) -> String {
    match bounds {
        Bounds::All => String::new(),
        Bounds::Range { lower, upper } => {
            let columns = partition_columns(schema);
            let types: Vec<&str> = columns
                .iter()
                .filter_map(|name| schema.columns.iter().find(|c| c.name == *name))
                .map(|column| column.data_type.as_str())
                .collect();
            let end = |values: &Option<Vec<String>>, open: &str| {
                let keys = match values {
                    Some(values) => values.join(", "),
                    None => open.to_owned(),
                };
                format!("types: [{}]; keys: [{keys}]; ", types.join(", "))
            };
            format!("[{}..{})", end(lower, "MINVALUE"), end(upper, "MAXVALUE"))
        }
        Bounds::List { items } => {
            let quoted = |text: &String| format!("'{text}'");
            let tuple = |item: &Vec<String>| match item.as_slice() {
                [one] => quoted(one),
                many => {
                    format!(
                        "({})",
                        many.iter().map(quoted).collect::<Vec<_>>().join(", ")
                    )
                }
            };
            format!(
                "({})",
                items.iter().map(tuple).collect::<Vec<_>>().join(", ")
            )
        }
    }
}

/// One replica of one tablet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TabletRow {
    /// The tablet.
    pub tablet: TabletId,
    /// The replica, where replicas have ids of their own; else any number that tells the tablet's
    /// replicas apart.
    pub replica: u64,
    /// The backend that owns it.
    pub backend: BackendId,
    /// The partition's name.
    pub partition: String,
    /// The bucket, from 0.
    pub bucket: u32,
    /// The visible version.
    pub version: u64,
    /// Bytes of that version.
    pub data_bytes: u64,
    /// Data files of that version.
    pub files: u64,
    /// Versions of which the replica holds files.
    pub versions: u64,
    /// Whether the replica is whole, as far as is known.
    pub whole: bool,
    /// Where the backend keeps it, for an operator's eyes.
    pub path: Option<String>,
}

/// SHOW TABLET FROM a table: one row per replica.
pub fn tablets(rows: &[TabletRow]) -> ResultTable {
    let mut out = ResultTable::new(&[
        "TabletId",
        "ReplicaId",
        "BackendId",
        "SchemaHash",
        "Version",
        "VersionHash",
        "LstSuccessVersion",
        "LstSuccessVersionHash",
        "LstFailedVersion",
        "LstFailedVersionHash",
        "LstFailedTime",
        "DataSize",
        "RowCount",
        "State",
        "LstConsistencyCheckTime",
        "CheckVersion",
        "CheckVersionHash",
        "VersionCount",
        "PathHash",
        "MetaUrl",
        "CompactionStatus",
        "DiskRootPath",
        "IsConsistent",
        "Checksum",
        "PartitionName",
        "Bucket",
        "Files",
    ]);
    out.rows = rows.iter().map(tablet_row).collect();
    out
}

fn tablet_row(row: &TabletRow) -> Vec<Option<String>> {
    let some = |text: &str| Some(text.to_owned());
    vec![
        Some(row.tablet.to_string()),
        Some(row.replica.to_string()),
        Some(row.backend.to_string()),
        some("0"),
        Some(row.version.to_string()),
        some("0"),
        Some(row.version.to_string()),
        some("0"),
        some("-1"),
        some("0"),
        None,
        Some(row.data_bytes.to_string()),
        some("0"),
        some(if row.whole { "NORMAL" } else { "BAD" }),
        None,
        some("-1"),
        some("0"),
        Some(row.versions.to_string()),
        some("-1"),
        None,
        None,
        row.path.clone(),
        Some(row.whole.to_string()),
        None,
        Some(row.partition.clone()),
        Some(row.bucket.to_string()),
        Some(row.files.to_string()),
    ]
}

/// Where a tablet belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TabletPlace {
    /// The tablet.
    pub tablet: TabletId,
    /// Its database.
    pub database: String,
    /// Its table.
    pub table: String,
    /// Its partition's name.
    pub partition: String,
    /// Its partition's id.
    pub partition_id: u64,
}

/// SHOW TABLET id. Databases, tables and indexes have no ids here: -1.
pub fn tablet(place: &TabletPlace) -> ResultTable {
    let mut out = ResultTable::new(&[
        "DbName",
        "TableName",
        "PartitionName",
        "IndexName",
        "DbId",
        "TableId",
        "PartitionId",
        "IndexId",
        "IsSync",
        "DetailCmd",
    ]);
    let detail = format!(
        "SHOW TABLET FROM {}.{} PARTITION ({}) WHERE TabletId = {}",
        quoted_name(&place.database),
        quoted_name(&place.table),
        quoted_name(&place.partition),
        place.tablet
    );
    out.rows.push(vec![
        Some(place.database.clone()),
        Some(place.table.clone()),
        Some(place.partition.clone()),
        Some(place.table.clone()),
        Some("-1".to_owned()),
        Some("-1".to_owned()),
        Some(place.partition_id.to_string()),
        Some("-1".to_owned()),
        Some("true".to_owned()),
        Some(detail),
    ]);
    out
}
