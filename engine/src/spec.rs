//! What users ask for: requests as they come in, and the accepted form that a job keeps.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::ids::RepositoryId;

/// The default timeout of a job, in seconds.
pub const DEFAULT_TIMEOUT_SECONDS: u64 = 86_400;
/// The smallest timeout that a statement may ask for, in seconds.
pub const MIN_TIMEOUT_SECONDS: u64 = 600;

/// A table, and some of its partitions.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    /// The table's name.
    pub table: String,
    /// The partitions; empty = all.
    pub partitions: Vec<String>,
    /// The name that a restore gives it; `None` = its own.
    pub alias: Option<String>,
}

/// Which objects of a database or snapshot a statement means.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selection {
    /// All of them.
    All,
    /// These.
    Only(Vec<ObjectRef>),
    /// All but these (a table without partitions leaves out the whole table).
    Except(Vec<ObjectRef>),
}

/// A BACKUP statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackupRequest {
    /// The database.
    pub database: String,
    /// The snapshot's name.
    pub label: String,
    /// The repository's name.
    pub repository: String,
    /// What to back up.
    pub selection: Selection,
    /// The timeout in seconds; `None` = the default.
    pub timeout_seconds: Option<u64>,
}

impl BackupRequest {
    /// A backup of a whole database with the default timeout.
    pub fn new(database: &str, label: &str, repository: &str) -> Self {
        Self {
            database: database.to_owned(),
            label: label.to_owned(),
            repository: repository.to_owned(),
            selection: Selection::All,
            timeout_seconds: None,
        }
    }
}

/// An accepted backup.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupSpec {
    /// The database.
    pub database: String,
    /// The snapshot's name.
    pub label: String,
    /// The repository.
    pub repository: RepositoryId,
    /// The repository's name when the job was accepted.
    pub repository_name: String,
    /// The tables and partitions, resolved when the job was accepted.
    pub objects: Vec<ObjectRef>,
    /// The snapshot's timestamp as text, `yyyy-MM-dd-HH-mm-ss-SSS` in the server's zone.
    pub timestamp: String,
    /// The same moment, ms since the epoch.
    pub timestamp_ms: u64,
    /// The timeout in seconds.
    pub timeout_seconds: u64,
    /// This cluster's id, as it stands in intents, claims and markers.
    pub cluster: String,
}

/// How many replicas a restore makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Replication {
    /// The target partition's count, else the snapshot's, but not more than there are backends.
    Automatic,
    /// This count.
    Fixed(u32),
    /// The snapshot's count, as it is.
    Reserve,
}

/// A RESTORE statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RestoreRequest {
    /// The target database.
    pub database: String,
    /// The database that the snapshot must hold, where the statement names it.
    pub source_database: Option<String>,
    /// The snapshot's name.
    pub label: String,
    /// The repository's name.
    pub repository: String,
    /// The backup timestamp as SHOW SNAPSHOT prints it.
    pub timestamp: String,
    /// What to restore.
    pub selection: Selection,
    /// Loads while it runs.
    pub allow_load: holdfast_storage::AllowLoad,
    /// Replica counts.
    pub replication: Replication,
    /// Drops in the same commit.
    pub clean: Clean,
    /// The timeout in seconds; `None` = the default.
    pub timeout_seconds: Option<u64>,
}

impl RestoreRequest {
    /// A restore of a whole snapshot into `database`, with the defaults of a RESTORE statement without properties.
    pub fn new(database: &str, label: &str, repository: &str, timestamp: &str) -> Self {
        Self {
            database: database.to_owned(),
            source_database: None,
            label: label.to_owned(),
            repository: repository.to_owned(),
            timestamp: timestamp.to_owned(),
            selection: Selection::All,
            allow_load: holdfast_storage::AllowLoad::No,
            replication: Replication::Automatic,
            clean: Clean::default(),
            timeout_seconds: None,
        }
    }
}

/// What a restore drops in its commit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clean {
    /// Tables of the database that the snapshot does not bring (`clean_tables`).
    pub tables: bool,
    /// Partitions of the restored tables that the snapshot does not bring (`clean_partitions`).
    pub partitions: bool,
}

/// An accepted restore.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RestoreJobSpec {
    /// The target database.
    pub database: String,
    /// The database that the snapshot must hold, where the statement names it.
    pub source_database: Option<String>,
    /// The snapshot's name.
    pub label: String,
    /// The repository.
    pub repository: RepositoryId,
    /// The repository's name when the job was accepted.
    pub repository_name: String,
    /// The backup timestamp.
    pub timestamp: String,
    /// What to restore.
    pub selection: Selection,
    /// Loads while it runs.
    pub allow_load: holdfast_storage::AllowLoad,
    /// Replica counts.
    pub replication: Replication,
    /// Drops in the same commit.
    pub clean: Clean,
    /// Tables (with partitions) that existed at acceptance: only these may be dropped by `clean`.
    pub existed: Vec<ObjectRef>,
    /// The timeout in seconds.
    pub timeout_seconds: u64,
    /// This cluster's id.
    pub cluster: String,
}

/// A CREATE REPOSITORY statement.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepositoryRequest {
    /// Its name.
    pub name: String,
    /// The broker process; `None` = directly by the location's scheme.
    pub broker: Option<String>,
    /// The location as given.
    pub location: String,
    /// Whether it refuses writes.
    pub access: RepositoryAccess,
    /// Properties; may hold secrets.
    pub properties: BTreeMap<String, String>,
}

impl RepositoryRequest {
    /// A repository that is reached directly by its location's scheme, for reading and writing, without properties.
    pub fn new(name: &str, location: &str) -> Self {
        Self {
            name: name.to_owned(),
            broker: None,
            location: location.to_owned(),
            access: RepositoryAccess::ReadWrite,
            properties: BTreeMap::new(),
        }
    }
}

/// Whether a repository takes backups.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RepositoryAccess {
    /// It does.
    ReadWrite,
    /// It refuses every write.
    ReadOnly,
}

/// Which kind of job.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum JobKind {
    /// BACKUP.
    Backup,
    /// RESTORE.
    Restore,
}
