//! The plain data that crosses the storage border: schemas, partitions, pins, restore targets.
//!
//! Everything here is owned, serialisable and free of I/O, so that it can lie in a manifest, travel
//! to another host and be compared by pure functions.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

/// Bytes in one segment: a data file longer than this has a hash for each segment of it.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub u64);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}", self.0)
            }
        }
    };
}

id! {
    /// A place that owns replicas and runs their tasks.
    BackendId
}
id! {
    /// One bucket of one partition. Never reused within a storage.
    TabletId
}
id! {
    /// One operation of the engine on the storage: pins, staging and marks carry it. The engine
    /// uses the job's id.
    OpId
}
id! {
    /// Where the storage's own catalog stands: grows with every durable change of it.
    CatalogPosition
}

/// Who writes: a staging place refuses any token older than the newest it has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Token {
    /// The opening of the engine that the worker belongs to.
    pub epoch: u64,
    /// The attempt of the task within the job, from 1.
    pub attempt: u32,
}

/// A backend as SHOW BACKENDS lists it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackendInfo {
    /// Its id.
    pub id: BackendId,
    /// Its name, unique in the storage.
    pub name: String,
    /// Whether it can run tasks now.
    pub alive: bool,
    /// Tablet replicas that it owns.
    pub replicas: u64,
    /// Bytes of data files that it holds.
    pub data_bytes: u64,
}

/// A BLAKE3 hash; text form is 64 lowercase hex digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileHash(pub [u8; 32]);

impl FileHash {
    /// The hash of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        Self(*blake3::hash(bytes).as_bytes())
    }

    /// Reads 64 hex digits; `None` for any other text.
    pub fn parse(text: &str) -> Option<Self> {
        blake3::Hash::from_hex(text)
            .ok()
            .map(|h| Self(*h.as_bytes()))
    }
}

impl fmt::Display for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&blake3::Hash::from_bytes(self.0).to_hex())
    }
}

impl fmt::Debug for FileHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FileHash({self})")
    }
}

impl Serialize for FileHash {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        if s.is_human_readable() {
            s.collect_str(self)
        } else {
            self.0.serialize(s)
        }
    }
}

impl<'de> Deserialize<'de> for FileHash {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        if d.is_human_readable() {
            let text = String::deserialize(d)?;
            Self::parse(&text).ok_or_else(|| {
                serde::de::Error::custom(format!("hash '{text}' is not 64 lowercase hex digits"))
            })
        } else {
            Ok(Self(<[u8; 32]>::deserialize(d)?))
        }
    }
}

/// One immutable data file of a tablet's version, as lists and manifests name it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Path within the partition: '/'-separated, relative, no empty, "." or ".." part.
    pub name: String,
    /// Length in bytes.
    pub len: u64,
    /// BLAKE3 of the whole content, where the storage knows it without reading.
    pub hash: Option<FileHash>,
    /// BLAKE3 of each [`SEGMENT_BYTES`] piece of a file longer than that (the last may be shorter);
    /// else empty.
    pub segments: Vec<FileHash>,
}

/// A column of a table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Column {
    /// Its name; compared without case.
    pub name: String,
    /// Its type as normalised text, such as `BIGINT` or `DECIMAL(15,2)`.
    pub data_type: String,
    /// Whether NULL is allowed.
    pub nullable: bool,
    /// The default, as the literal's text.
    pub default: Option<String>,
    /// The aggregation of a value column of an aggregate table, such as `SUM`.
    pub aggregation: Option<String>,
    /// The comment.
    #[serde(default)]
    pub comment: String,
}

/// How rows with equal keys are treated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KeysType {
    /// All rows are kept.
    Duplicate,
    /// Values are aggregated.
    Aggregate,
    /// The newest row wins, resolved on read.
    Unique,
    /// The newest row wins, resolved on write.
    Primary,
}

/// How a table is cut into partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Partitioning {
    /// One partition, named as the table.
    Unpartitioned,
    /// By ranges over these columns.
    Range {
        /// The partition columns in order.
        columns: Vec<String>,
    },
    /// By lists of values of these columns.
    List {
        /// The partition columns in order; empty for tables made by a load of named partitions.
        columns: Vec<String>,
    },
}

/// How rows are cut into buckets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Distribution {
    /// By a hash of these columns.
    Hash {
        /// The distribution columns in order; empty for tables made by a load.
        columns: Vec<String>,
    },
    /// At random.
    Random,
}

/// What a table is, apart from its name, its partitions and its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableSchema {
    /// Columns in order; empty for tables made by a load.
    pub columns: Vec<Column>,
    /// The keys type.
    pub keys_type: KeysType,
    /// The key columns in order.
    pub key_columns: Vec<String>,
    /// How it is partitioned.
    pub partitioning: Partitioning,
    /// How it is distributed.
    pub distribution: Distribution,
    /// The comment.
    #[serde(default)]
    pub comment: String,
    /// Properties as given at creation, without `replication_num`.
    #[serde(default)]
    pub properties: BTreeMap<String, String>,
}

/// What rows a partition takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Bounds {
    /// All rows: the one partition of an unpartitioned table.
    All,
    /// From `lower` (inclusive; `None` = no lower end) to `upper` (exclusive; `None` = MAXVALUE).
    Range {
        /// One literal's text per partition column.
        lower: Option<Vec<String>>,
        /// One literal's text per partition column.
        upper: Option<Vec<String>>,
    },
    /// Exactly these tuples, one literal's text per partition column.
    List {
        /// The tuples. A partition made by a load of partition P has the one item `[P]`.
        items: Vec<Vec<String>>,
    },
}

/// What a partition is, apart from its data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionMeta {
    /// Its name; unique in the table.
    pub name: String,
    /// The rows it takes.
    pub bounds: Bounds,
    /// Its number of tablets.
    pub buckets: u32,
    /// Replicas of each tablet.
    pub replication_num: u32,
}

/// Who may use a table or partition now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Access {
    /// Open to all.
    Normal,
    /// Made by this operation and not finished: visible, refuses reads and loads.
    Restoring(OpId),
    /// To be overwritten by this operation: serves its previous data, refuses loads and changes of
    /// schema.
    Overwriting(OpId),
}

/// A table as the catalog has it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableInfo {
    /// Its name.
    pub name: String,
    /// Its schema.
    pub schema: TableSchema,
    /// Who may use it.
    pub access: Access,
    /// Its partitions in creation order.
    pub partitions: Vec<PartitionInfo>,
}

/// A partition as the catalog has it now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartitionInfo {
    /// Its id.
    pub id: u64,
    /// What it is.
    pub meta: PartitionMeta,
    /// Who may use it.
    pub access: Access,
    /// The visible version, from 1.
    pub visible_version: u64,
    /// When that version became visible, ms since the epoch.
    pub visible_since_ms: u64,
    /// Data files of the visible version.
    pub files: u64,
    /// Bytes of the visible version, one replica counted.
    pub data_bytes: u64,
}

/// What a backup wants pinned.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinRequest {
    /// The database.
    pub database: String,
    /// The tables, in the order wanted.
    pub tables: Vec<PinTable>,
}

/// One table of a [`PinRequest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinTable {
    /// Its name.
    pub name: String,
    /// The wanted partitions; `None` = all there are at the moment of the pin.
    pub partitions: Option<Vec<String>>,
}

/// One consistent point over all tables of an operation, held until released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// The catalog's position at that point.
    pub position: CatalogPosition,
    /// The tables in the order of the request.
    pub tables: Vec<PinnedTable>,
}

/// A pinned table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedTable {
    /// Its name.
    pub name: String,
    /// Its schema at the point.
    pub schema: TableSchema,
    /// Its wanted partitions.
    pub partitions: Vec<PinnedPartition>,
}

/// A pinned partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedPartition {
    /// What it is.
    pub meta: PartitionMeta,
    /// The version visible at the point.
    pub version: u64,
    /// Its tablets in bucket order.
    pub tablets: Vec<PinnedTablet>,
}

/// A pinned tablet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PinnedTablet {
    /// Its id.
    pub id: TabletId,
    /// Its bucket, from 0.
    pub bucket: u32,
    /// Backends that hold the whole version, best first; at least one.
    pub replicas: Vec<BackendId>,
    /// Data files of the version.
    pub files: u64,
    /// Bytes of the version.
    pub bytes: u64,
}

/// Whether users may load into existing partitions of the job's tables that the restore does not
/// touch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AllowLoad {
    /// All loads into the job's tables are refused until the end.
    No,
    /// Loads into untouched partitions go on.
    UntouchedPartitions,
}

/// Everything a restore will make or overwrite, already checked by the engine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreSpec {
    /// The target database; made where it does not exist.
    pub database: String,
    /// The tables.
    pub tables: Vec<RestoreTable>,
    /// Loads while it runs.
    pub allow_load: AllowLoad,
    /// Whole tables to drop in the same commit.
    pub drop_tables: Vec<String>,
    /// Partitions to drop in the same commit: table and partition name.
    pub drop_partitions: Vec<(String, String)>,
}

/// One table of a [`RestoreSpec`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreTable {
    /// The target name.
    pub name: String,
    /// The schema; that of the existing table where there is one.
    pub schema: TableSchema,
    /// Whether the table is to be made.
    pub table: Make,
    /// The partitions.
    pub partitions: Vec<RestorePartition>,
}

/// One partition of a [`RestoreTable`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestorePartition {
    /// What it is (or is to be), with the final replica count.
    pub meta: PartitionMeta,
    /// Whether the partition is to be made or overwritten.
    pub partition: Make,
}

/// Whether a target is new.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Make {
    /// It does not exist; the operation makes it, and an abort removes it.
    Create,
    /// It exists; its data is replaced as a whole by the commit.
    Overwrite,
}

/// The tablets that a restore writes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Targets {
    /// Whether this operation made the database.
    pub created_database: bool,
    /// One entry per table of the spec, in its order.
    pub tables: Vec<TargetTable>,
}

/// A target table.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetTable {
    /// Its name.
    pub name: String,
    /// One entry per partition of the spec, in its order.
    pub partitions: Vec<TargetPartition>,
}

/// A target partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetPartition {
    /// Its name.
    pub name: String,
    /// Its tablets in bucket order.
    pub tablets: Vec<TargetTablet>,
}

/// A target tablet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TargetTablet {
    /// Its id.
    pub id: TabletId,
    /// Its bucket, from 0.
    pub bucket: u32,
    /// Every backend that must receive its files.
    pub replicas: Vec<BackendId>,
}
