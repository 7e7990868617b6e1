//! Statements as owned data: what a text asks for, before anything is looked up. Parses nothing and
//! checks nothing.

use std::collections::BTreeMap;
use std::fmt;

use holdfast_engine::RepositoryAccess;
use holdfast_storage::model::{PartitionMeta, TableSchema};

use crate::error::SqlError;
use crate::filter::Tail;
use crate::moment::AsOf;
use crate::secret;
use crate::show::ResultTable;

/// A statement and the text it came from. `Debug` shows no secret.
#[derive(Clone, PartialEq)]
pub struct Parsed {
    /// The statement.
    pub statement: Statement,
    /// Its text without the `;`, as written. May hold secrets: see [`Parsed::loggable`].
    pub text: String,
}

impl Parsed {
    /// The text where it holds no secret; else what kind of statement it is, its properties left
    /// out.
    pub fn loggable(&self) -> String {
        match &self.statement {
            Statement::CreateRepository(create) => {
                format!("CREATE REPOSITORY `{}` …", create.name)
            }
            _ => self.text.clone(),
        }
    }
}

impl fmt::Debug for Parsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parsed")
            .field("statement", &self.statement)
            .field("text", &self.loggable())
            .finish()
    }
}

/// `PROPERTIES ("k" = "v", …)`. Keys are case-sensitive and unique. `Debug` hides the values of
/// secret keys.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(pub BTreeMap<String, String>);

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = self
            .0
            .iter()
            .map(|(key, value)| (key, secret::mask(key, value)));
        f.debug_map().entries(shown).finish()
    }
}

/// A table, perhaps with its database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TableName {
    /// The database; `None` = the session's.
    pub database: Option<String>,
    /// The table.
    pub table: String,
}

/// Any statement of the grammar.
#[derive(Clone, Debug, PartialEq)]
pub enum Statement {
    /// `CREATE [READ ONLY] REPOSITORY …`
    CreateRepository(CreateRepository),
    /// `DROP REPOSITORY name`
    DropRepository {
        /// The repository.
        name: String,
    },
    /// `SHOW REPOSITORIES`
    ShowRepositories(Tail),
    /// `SHOW CREATE REPOSITORY FOR name`
    ShowCreateRepository {
        /// The repository.
        name: String,
    },
    /// `ALTER SYSTEM ADD BROKER name "host:port", …`
    AddBroker {
        /// The broker.
        name: String,
        /// Its instances, `host:port` each; at least one.
        addresses: Vec<String>,
    },
    /// `ALTER SYSTEM DROP BROKER name "host:port", …` or `DROP ALL BROKER name`
    DropBroker {
        /// The broker.
        name: String,
        /// The instances to drop; `None` = all.
        addresses: Option<Vec<String>>,
    },
    /// `SHOW BROKER`
    ShowBroker(Tail),
    /// `BACKUP …`
    Backup(Backup),
    /// `SHOW BACKUP [{FROM|IN} db] [AS OF …] …`
    ShowBackup(ShowJobs),
    /// `CANCEL BACKUP [{FROM|IN} db]`
    CancelBackup {
        /// The database; `None` = the session's.
        database: Option<String>,
    },
    /// `RESTORE …`
    Restore(Restore),
    /// `SHOW [BRIEF] RESTORE [{FROM|IN} db] [AS OF …] …`
    ShowRestore(ShowJobs),
    /// `CANCEL RESTORE [{FROM|IN} db]`
    CancelRestore {
        /// The database; `None` = the session's.
        database: Option<String>,
    },
    /// `SHOW SNAPSHOT ON repo …`
    ShowSnapshot(ShowSnapshot),
    /// `SHOW JOB EVENTS FOR id …`
    ShowJobEvents {
        /// The job.
        job: u64,
        /// What to show of it.
        tail: Tail,
    },
    /// `SHOW BACKENDS`
    ShowBackends(Tail),
    /// `ALTER SYSTEM ADD BACKEND "name"`
    AddBackend {
        /// The backend.
        name: String,
    },
    /// `ALTER SYSTEM DROP BACKEND "name"`
    DropBackend {
        /// The backend.
        name: String,
    },
    /// `CREATE DATABASE [IF NOT EXISTS] name`
    CreateDatabase {
        /// The database.
        name: String,
        /// Whether an existing one is fine.
        if_not_exists: bool,
    },
    /// `DROP DATABASE [IF EXISTS] name`
    DropDatabase {
        /// The database.
        name: String,
        /// Whether a missing one is fine.
        if_exists: bool,
    },
    /// `USE name`
    Use {
        /// The database.
        database: String,
    },
    /// `SHOW DATABASES`
    ShowDatabases(Tail),
    /// `CREATE TABLE …`
    CreateTable(Box<CreateTable>),
    /// `DROP TABLE [IF EXISTS] name`
    DropTable {
        /// The table.
        table: TableName,
        /// Whether a missing one is fine.
        if_exists: bool,
    },
    /// `TRUNCATE TABLE name [PARTITION (p, …)]`
    TruncateTable {
        /// The table.
        table: TableName,
        /// The partitions; empty = all.
        partitions: Vec<String>,
    },
    /// `SHOW TABLES [{FROM|IN} db] …`
    ShowTables {
        /// The database; `None` = the session's.
        database: Option<String>,
        /// What to show of it.
        tail: Tail,
    },
    /// `SHOW CREATE TABLE name`
    ShowCreateTable {
        /// The table.
        table: TableName,
    },
    /// `ALTER TABLE name ADD PARTITION …`
    AddPartition {
        /// The table.
        table: TableName,
        /// The partition; see [`AddedPartition::resolve`](crate::AddedPartition::resolve).
        partition: AddedPartition,
    },
    /// `ALTER TABLE name DROP PARTITION [IF EXISTS] p`
    DropPartition {
        /// The table.
        table: TableName,
        /// The partition.
        partition: String,
        /// Whether a missing one is fine.
        if_exists: bool,
    },
    /// `SHOW PARTITIONS FROM name …`
    ShowPartitions {
        /// The table.
        table: TableName,
        /// What to show of it.
        tail: Tail,
    },
    /// `SHOW TABLET id …`
    ShowTablet {
        /// The tablet.
        id: u64,
        /// What to show of it.
        tail: Tail,
    },
    /// `SHOW TABLET[S] FROM name [PARTITION (p, …)] …`
    ShowTablets {
        /// The table.
        table: TableName,
        /// The partitions; empty = all.
        partitions: Vec<String>,
        /// What to show of it.
        tail: Tail,
    },
}

impl Statement {
    /// What kind of statement it is, as messages name it, such as `SHOW BACKUP`.
    pub fn name(&self) -> &'static str {
        match self {
            Self::CreateRepository(_) => "CREATE REPOSITORY",
            Self::DropRepository { .. } => "DROP REPOSITORY",
            Self::ShowRepositories(_) => "SHOW REPOSITORIES",
            Self::ShowCreateRepository { .. } => "SHOW CREATE REPOSITORY",
            Self::AddBroker { .. } => "ALTER SYSTEM ADD BROKER",
            Self::DropBroker { .. } => "ALTER SYSTEM DROP BROKER",
            Self::ShowBroker(_) => "SHOW BROKER",
            Self::Backup(_) => "BACKUP",
            Self::ShowBackup(_) => "SHOW BACKUP",
            Self::CancelBackup { .. } => "CANCEL BACKUP",
            Self::Restore(_) => "RESTORE",
            Self::ShowRestore(_) => "SHOW RESTORE",
            Self::CancelRestore { .. } => "CANCEL RESTORE",
            Self::ShowSnapshot(_) => "SHOW SNAPSHOT",
            Self::ShowJobEvents { .. } => "SHOW JOB EVENTS",
            Self::ShowBackends(_) => "SHOW BACKENDS",
            Self::AddBackend { .. } => "ALTER SYSTEM ADD BACKEND",
            Self::DropBackend { .. } => "ALTER SYSTEM DROP BACKEND",
            Self::CreateDatabase { .. } => "CREATE DATABASE",
            Self::DropDatabase { .. } => "DROP DATABASE",
            Self::Use { .. } => "USE",
            Self::ShowDatabases(_) => "SHOW DATABASES",
            Self::CreateTable(_) => "CREATE TABLE",
            Self::DropTable { .. } => "DROP TABLE",
            Self::TruncateTable { .. } => "TRUNCATE TABLE",
            Self::ShowTables { .. } => "SHOW TABLES",
            Self::ShowCreateTable { .. } => "SHOW CREATE TABLE",
            Self::AddPartition { .. } => "ALTER TABLE ADD PARTITION",
            Self::DropPartition { .. } => "ALTER TABLE DROP PARTITION",
            Self::ShowPartitions { .. } => "SHOW PARTITIONS",
            Self::ShowTablet { .. } => "SHOW TABLET",
            Self::ShowTablets { .. } => "SHOW TABLET FROM",
        }
    }

    /// The LIKE, WHERE, ORDER BY and LIMIT of a SHOW that takes them.
    pub fn tail(&self) -> Option<&Tail> {
        match self {
            Self::ShowRepositories(tail)
            | Self::ShowBroker(tail)
            | Self::ShowBackends(tail)
            | Self::ShowDatabases(tail)
            | Self::ShowJobEvents { tail, .. }
            | Self::ShowTables { tail, .. }
            | Self::ShowPartitions { tail, .. }
            | Self::ShowTablet { tail, .. }
            | Self::ShowTablets { tail, .. } => Some(tail),
            Self::ShowBackup(show) | Self::ShowRestore(show) => Some(&show.tail),
            Self::ShowSnapshot(show) => Some(&show.tail),
            _ => None,
        }
    }

    /// The column that LIKE is about.
    fn like_column(&self) -> &'static str {
        match self {
            Self::ShowRepositories(_) => "RepoName",
            Self::ShowBackup(_) => "SnapshotName",
            Self::ShowRestore(_) => "Label",
            Self::ShowSnapshot(_) => "Snapshot",
            Self::ShowJobEvents { .. } => "Kind",
            Self::ShowPartitions { .. } => "PartitionName",
            Self::ShowDatabases(_) => "Database",
            // SHOW TABLES names its only column after the database; the first column stands for it.
            Self::ShowTables { .. } => "",
            Self::ShowTablet { .. } => "TableName",
            Self::ShowTablets { .. } => "TabletId",
            _ => "Name",
        }
    }

    /// Keeps of `table` what the statement's LIKE, WHERE, ORDER BY and LIMIT ask for, in that
    /// order. A statement without them gets the table as it is.
    ///
    /// # Errors
    /// `UNKNOWN_COLUMN` where WHERE or ORDER BY names a column that the table lacks.
    pub fn arrange(&self, table: ResultTable) -> Result<ResultTable, SqlError> {
        match self.tail() {
            Some(tail) => tail.apply(table, self.like_column()),
            None => Ok(table),
        }
    }
}

/// `CREATE [READ ONLY] REPOSITORY name WITH … ON LOCATION "…" [PROPERTIES (…)]`. `Debug` shows no
/// secret.
#[derive(Clone, PartialEq, Eq)]
pub struct CreateRepository {
    /// Its name.
    pub name: String,
    /// Whether it refuses writes.
    pub access: RepositoryAccess,
    /// How the remote system is reached.
    pub reach: Reach,
    /// The location as given.
    pub location: String,
    /// Properties for the remote system.
    pub properties: Properties,
}

impl fmt::Debug for CreateRepository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreateRepository")
            .field("name", &self.name)
            .field("access", &self.access)
            .field("reach", &self.reach)
            .field("location", &secret::mask_location(&self.location))
            .field("properties", &self.properties)
            .finish()
    }
}

/// How a repository's remote system is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// `WITH BROKER name`: through a broker process.
    Broker(String),
    /// `WITH BROKER`: directly, by the scheme of the location.
    Direct,
    /// `WITH S3`: directly, an object store.
    S3,
    /// `WITH HDFS`: directly, HDFS.
    Hdfs,
    /// `WITH LOCAL`: directly, a folder.
    Local,
}

/// `BACKUP …` in either grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Backup {
    /// `DATABASE db`, or the `db.` before the label; `None` = the session's.
    pub database: Option<String>,
    /// The snapshot's name.
    pub label: String,
    /// The repository.
    pub repository: String,
    /// What to back up.
    pub objects: Objects,
    /// Properties.
    pub properties: Properties,
}

/// `RESTORE …` in either grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restore {
    /// `DATABASE db`: the database in the snapshot.
    pub source: Option<String>,
    /// `AS db` behind it: the target.
    pub target: Option<String>,
    /// The `db.` before the label.
    pub label_database: Option<String>,
    /// The snapshot's name.
    pub label: String,
    /// The repository.
    pub repository: String,
    /// What to restore.
    pub objects: Objects,
    /// Properties.
    pub properties: Properties,
}

/// The `ON (…)` or `EXCLUDE (…)` of a BACKUP or RESTORE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objects {
    /// Neither stands there.
    Whole,
    /// `ON (…)`
    On(Vec<Object>),
    /// `EXCLUDE (…)`
    Exclude(Vec<Object>),
    /// External catalogs, which do not exist here; the text of the clause.
    Catalogs(String),
}

/// One entry of ON or EXCLUDE.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// What kind is named.
    pub kind: ObjectKind,
    /// Which.
    pub name: ObjectName,
    /// The partitions; empty = all.
    pub partitions: Vec<String>,
    /// Whether the partitions were called TEMPORARY.
    pub temporary: bool,
    /// The name that a restore gives it.
    pub alias: Option<String>,
}

/// Which objects of a kind.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ObjectName {
    /// `ALL …`
    All,
    /// By name, perhaps (wrongly) with a database.
    Named(TableName),
}

/// The kinds of objects that the grammar knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ObjectKind {
    /// A table, or no kind was named.
    Table,
    /// A materialized view.
    MaterializedView,
    /// A view.
    View,
    /// A function.
    Function,
}

impl ObjectKind {
    /// The word of the grammar.
    pub fn name(self) -> &'static str {
        match self {
            Self::Table => "TABLE",
            Self::MaterializedView => "MATERIALIZED VIEW",
            Self::View => "VIEW",
            Self::Function => "FUNCTION",
        }
    }
}

/// `SHOW BACKUP` and `SHOW RESTORE`.
#[derive(Clone, Debug, PartialEq)]
pub struct ShowJobs {
    /// The database; `None` = the session's.
    pub database: Option<String>,
    /// Which columns.
    pub width: Width,
    /// The moment to show; `None` = now.
    pub as_of: Option<AsOf>,
    /// What to show of it.
    pub tail: Tail,
}

/// How much a SHOW tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Width {
    /// Every column.
    Full,
    /// `BRIEF`: without the objects, the progress and the errors.
    Brief,
}

/// `SHOW SNAPSHOT ON repo …`
#[derive(Clone, Debug, PartialEq)]
pub struct ShowSnapshot {
    /// The repository.
    pub repository: String,
    /// What the WHERE clause picks by name.
    pub pick: SnapshotPick,
    /// What to show of it; holds a WHERE only where it is not one of the forms of `pick`.
    pub tail: Tail,
}

/// The forms of WHERE that SHOW SNAPSHOT answers with details.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SnapshotPick {
    /// All snapshots, as a list.
    All,
    /// `SNAPSHOT = 'x'` or `SNAPSHOT IN ('x', …)`
    Labels(Vec<String>),
    /// `SNAPSHOT = 'x' AND TIMESTAMP = 'y'`
    Exact {
        /// The snapshot.
        label: String,
        /// The backup timestamp, as SHOW SNAPSHOT prints it.
        timestamp: String,
    },
}

/// `CREATE TABLE …`, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateTable {
    /// The table.
    pub table: TableName,
    /// Whether an existing one is fine.
    pub if_not_exists: bool,
    /// The schema.
    pub schema: TableSchema,
    /// The partitions in order; for an unpartitioned table one that bears the table's name.
    pub partitions: Vec<PartitionMeta>,
}

/// The partition of `ALTER TABLE … ADD PARTITION`, not yet held against the table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AddedPartition {
    /// Its name.
    pub name: String,
    /// Whether an existing one is fine.
    pub if_not_exists: bool,
    /// The rows it takes.
    pub values: PartitionValues,
    /// Its buckets; `None` = as the table's last partition.
    pub buckets: Option<u32>,
    /// Its replicas; `None` = as the table's last partition.
    pub replication_num: Option<u32>,
}

/// The `VALUES …` of a partition, as written. A tuple has one literal's text per column; `MAXVALUE`
/// stands for itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PartitionValues {
    /// `LESS THAN (…)`
    LessThan(Vec<String>),
    /// `[(…), (…))`
    Fixed {
        /// The inclusive lower end.
        lower: Vec<String>,
        /// The exclusive upper end.
        upper: Vec<String>,
    },
    /// `IN (…)`
    In(Vec<Vec<String>>),
}
