//! What a client sees of a failure: number, SQLSTATE, symbol and text. Owns the one table of codes;
//! decides nothing.

use std::fmt;

use holdfast_engine::{Refusal, RefusalCode};
use holdfast_storage::ErrorKind;

/// A failed statement as a client sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqlError {
    /// The error number that StarRocks clients know.
    pub number: u16,
    /// The SQLSTATE, five characters.
    pub sqlstate: &'static str,
    /// The stable name of the condition, upper case with underscores.
    pub symbol: &'static str,
    /// The text without the symbol: what was found, what was expected, what to do.
    pub message: String,
}

impl SqlError {
    /// An error of `code` with its text.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let (symbol, number, sqlstate) = code.parts();
        Self {
            number,
            sqlstate,
            symbol,
            message: message.into(),
        }
    }

    /// The condition; `None` for a symbol that is not in the table.
    pub fn kind(&self) -> Option<Code> {
        Code::ALL
            .iter()
            .copied()
            .find(|code| code.parts().0 == self.symbol)
    }

    /// No database was named and the session has none.
    pub fn no_database() -> Self {
        Self::new(
            Code::NoDatabase,
            "no database selected, expected FROM <database> or a USE statement before",
        )
    }

    /// The database does not exist.
    pub fn unknown_database(name: &str) -> Self {
        Self::new(
            Code::DatabaseNotFound,
            format!("database '{name}' does not exist"),
        )
    }

    /// The table does not exist.
    pub fn unknown_table(database: &str, table: &str) -> Self {
        Self::new(
            Code::TableNotFound,
            format!("table '{database}.{table}' does not exist"),
        )
    }

    /// `[SYMBOL] text`: what stands behind the number and SQLSTATE, on a wire too.
    pub fn text(&self) -> String {
        format!("[{}] {}", self.symbol, self.message)
    }
}

impl fmt::Display for SqlError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "ERROR {} ({}): [{}] {}",
            self.number, self.sqlstate, self.symbol, self.message
        )
    }
}

impl std::error::Error for SqlError {}

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $symbol:literal, $number:literal, $state:literal;)*) => {
        /// Every condition that a client can meet.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// All of them, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// Symbol, number and SQLSTATE.
            pub fn parts(self) -> (&'static str, u16, &'static str) {
                match self {
                    $(Self::$name => ($symbol, $number, $state),)*
                }
            }
        }
    };
}

codes! {
    /// The text is not a statement of this grammar.
    Syntax = "SYNTAX_ERROR", 1064, "42000";
    /// The statement, clause or kind of object exists elsewhere but not here.
    Unsupported = "UNSUPPORTED", 5064, "42000";
    /// No database was named and the session has none.
    NoDatabase = "NO_DATABASE_SELECTED", 1046, "3D000";
    /// The database does not exist.
    DatabaseNotFound = "DATABASE_NOT_FOUND", 5501, "3F000";
    /// A database of that name exists.
    DatabaseExists = "DATABASE_EXISTS", 1007, "HY000";
    /// The table does not exist.
    TableNotFound = "TABLE_NOT_FOUND", 5502, "42602";
    /// A table of that name exists.
    TableExists = "TABLE_EXISTS", 1050, "42S01";
    /// The partition does not exist.
    PartitionNotFound = "PARTITION_NOT_FOUND", 5064, "42000";
    /// A partition of that name exists.
    PartitionExists = "PARTITION_EXISTS", 5064, "42000";
    /// The tablet does not exist.
    TabletNotFound = "TABLET_NOT_FOUND", 5064, "42000";
    /// The backend does not exist.
    BackendNotFound = "BACKEND_NOT_FOUND", 5064, "42000";
    /// Something else that was named does not exist.
    NotFound = "NOT_FOUND", 5064, "42000";
    /// Something else of that name exists.
    Exists = "ALREADY_EXISTS", 5064, "42000";
    /// The database name is not allowed.
    BadDatabaseName = "BAD_DATABASE_NAME", 1102, "42000";
    /// The table name is not allowed here.
    BadTableName = "BAD_TABLE_NAME", 1104, "42000";
    /// Another name is not allowed.
    BadName = "BAD_NAME", 5063, "42000";
    /// The repository name does not match its pattern.
    BadRepositoryName = "BAD_REPOSITORY_NAME", 5063, "42000";
    /// The label does not match its pattern.
    BadLabel = "BAD_LABEL", 5082, "42000";
    /// The location is empty or does not fit the kind of repository.
    BadLocation = "BAD_LOCATION", 5064, "42000";
    /// The principal is not ADMIN.
    AccessDenied = "ACCESS_DENIED", 5203, "42000";
    /// A property is unknown, malformed, missing or contradicts another.
    BadProperty = "BAD_PROPERTY", 5064, "42000";
    /// A column that was named does not exist.
    UnknownColumn = "UNKNOWN_COLUMN", 1054, "42S22";
    /// A column is listed twice.
    DuplicateColumn = "DUPLICATE_COLUMN", 1060, "42S21";
    /// A column's type is unknown or its parameters are out of bounds.
    BadType = "BAD_COLUMN_TYPE", 1064, "42000";
    /// A column's default does not fit its type.
    BadDefault = "BAD_COLUMN_DEFAULT", 1067, "42000";
    /// A column's aggregation does not fit the keys type.
    BadAggregation = "BAD_AGGREGATION", 1064, "42000";
    /// The key columns are not as the keys type needs them.
    BadKeys = "BAD_KEYS", 1064, "42000";
    /// The partition columns or the values of a partition do not fit.
    BadPartition = "BAD_PARTITION", 1064, "42000";
    /// Two partitions would take the same rows.
    OverlappingPartition = "OVERLAPPING_PARTITION", 1064, "42000";
    /// Two partitions bear one name.
    DuplicatePartition = "DUPLICATE_PARTITION", 1517, "HY000";
    /// The distribution does not fit the columns or the keys type.
    BadDistribution = "BAD_DISTRIBUTION", 1064, "42000";
    /// WHERE, ORDER BY or LIMIT is nested too deep or of a form that has no meaning here.
    BadFilter = "BAD_FILTER", 1064, "42000";
    /// A timestamp of AS OF is none, or lies in the future.
    BadTimestamp = "BAD_TIMESTAMP", 1064, "42000";
    /// Nothing is left to back up or restore.
    NothingSelected = "NOTHING_SELECTED", 5064, "42000";
    /// A table or alias is listed twice.
    DuplicateObject = "DUPLICATE_OBJECT", 5064, "42000";
    /// The repository does not exist.
    RepositoryNotFound = "REPOSITORY_NOT_FOUND", 5064, "42000";
    /// A repository of that name exists.
    RepositoryExists = "REPOSITORY_EXISTS", 5064, "42000";
    /// The repository is in use by a running job.
    RepositoryBusy = "REPOSITORY_BUSY", 5064, "42000";
    /// The repository refuses writes.
    RepositoryReadOnly = "REPOSITORY_READ_ONLY", 5064, "42000";
    /// The repository could not be made or reached.
    RepositoryUnusable = "REPOSITORY_UNUSABLE", 5064, "42000";
    /// The broker is not registered.
    BrokerNotFound = "BROKER_NOT_FOUND", 5064, "42000";
    /// The label is taken in the repository.
    LabelExists = "LABEL_EXISTS", 5064, "42000";
    /// The snapshot or its timestamp is not in the repository.
    SnapshotNotFound = "SNAPSHOT_NOT_FOUND", 5064, "42000";
    /// The snapshot holds another database.
    WrongDatabase = "WRONG_DATABASE", 5064, "42000";
    /// Another job of the database runs.
    JobRunning = "JOB_RUNNING", 5064, "42000";
    /// No job of that kind runs.
    NoJob = "NO_JOB", 5064, "42000";
    /// No job has this id.
    JobNotFound = "JOB_NOT_FOUND", 5064, "42000";
    /// The journal has no event at the moment asked for.
    EventNotFound = "EVENT_NOT_FOUND", 5064, "42000";
    /// The job is past its point of no return or has ended.
    NotCancellable = "NOT_CANCELLABLE", 5064, "42000";
    /// The target does not agree with the snapshot.
    TargetMismatch = "TARGET_MISMATCH", 5064, "42000";
    /// The engine is closing or its journal is poisoned.
    Unavailable = "UNAVAILABLE", 5064, "42000";
    /// No space is left.
    Full = "DISK_FULL", 5064, "42000";
    /// The request is wrong in a way of its own.
    Invalid = "INVALID", 5064, "42000";
    /// The object is held by a running operation.
    Busy = "OBJECT_BUSY", 5064, "42000";
    /// The data folder is in use by another process.
    Locked = "FOLDER_IN_USE", 5064, "42000";
    /// What is on disk is damaged.
    Damaged = "DAMAGED", 5064, "42000";
    /// Any other failure of a part below.
    Failed = "FAILED", 5064, "42000";
}

impl From<RefusalCode> for Code {
    fn from(code: RefusalCode) -> Self {
        match code {
            RefusalCode::DatabaseNotFound => Self::DatabaseNotFound,
            RefusalCode::TableNotFound => Self::TableNotFound,
            RefusalCode::PartitionNotFound => Self::PartitionNotFound,
            RefusalCode::NothingSelected => Self::NothingSelected,
            RefusalCode::DuplicateObject => Self::DuplicateObject,
            RefusalCode::BadLabel => Self::BadLabel,
            RefusalCode::BadRepositoryName => Self::BadRepositoryName,
            RefusalCode::RepositoryNotFound => Self::RepositoryNotFound,
            RefusalCode::RepositoryExists => Self::RepositoryExists,
            RefusalCode::RepositoryBusy => Self::RepositoryBusy,
            RefusalCode::RepositoryReadOnly => Self::RepositoryReadOnly,
            RefusalCode::RepositoryUnusable => Self::RepositoryUnusable,
            RefusalCode::BrokerNotFound => Self::BrokerNotFound,
            RefusalCode::LabelExists => Self::LabelExists,
            RefusalCode::SnapshotNotFound => Self::SnapshotNotFound,
            RefusalCode::WrongDatabase => Self::WrongDatabase,
            RefusalCode::JobRunning => Self::JobRunning,
            RefusalCode::NoJob => Self::NoJob,
            RefusalCode::NotCancellable => Self::NotCancellable,
            RefusalCode::BadProperty => Self::BadProperty,
            RefusalCode::TargetMismatch => Self::TargetMismatch,
            RefusalCode::Unavailable => Self::Unavailable,
            RefusalCode::Full => Self::Full,
            RefusalCode::Failed => Self::Failed,
        }
    }
}

impl From<Refusal> for SqlError {
    fn from(refusal: Refusal) -> Self {
        Self::new(refusal.code.into(), refusal.message)
    }
}

/// The condition behind an error of the storage. Its texts begin with the kind of thing they name,
/// which tells an unknown database from an unknown table.
fn storage_code(kind: ErrorKind, message: &str) -> Code {
    let names = |what: &str| {
        message
            .strip_prefix(what)
            .is_some_and(|rest| rest.starts_with(' '))
    };
    match kind {
        ErrorKind::NotFound if names("database") => Code::DatabaseNotFound,
        ErrorKind::NotFound if names("table") => Code::TableNotFound,
        ErrorKind::NotFound if names("partition") => Code::PartitionNotFound,
        ErrorKind::NotFound if names("tablet") => Code::TabletNotFound,
        ErrorKind::NotFound if names("backend") => Code::BackendNotFound,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::Exists if names("database") => Code::DatabaseExists,
        ErrorKind::Exists if names("table") => Code::TableExists,
        ErrorKind::Exists if names("partition") => Code::PartitionExists,
        ErrorKind::Exists => Code::Exists,
        ErrorKind::Invalid if names("database name") => Code::BadDatabaseName,
        ErrorKind::Invalid if names("table name") => Code::BadTableName,
        ErrorKind::Invalid => Code::Invalid,
        ErrorKind::Busy => Code::Busy,
        ErrorKind::Full => Code::Full,
        ErrorKind::Locked => Code::Locked,
        ErrorKind::Damaged | ErrorKind::ReplicaFault => Code::Damaged,
        ErrorKind::PinLost | ErrorKind::Fenced | ErrorKind::Stopped | ErrorKind::Io => Code::Failed,
    }
}

impl From<holdfast_storage::Error> for SqlError {
    fn from(error: holdfast_storage::Error) -> Self {
        Self::new(storage_code(error.kind(), error.message()), error.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn symbols_are_unique_and_found_again() {
        for code in Code::ALL {
            let error = SqlError::new(*code, "x");
            assert_eq!(error.kind(), Some(*code), "{}", error.symbol);
            assert_eq!(error.sqlstate.len(), 5);
        }
    }

    #[test]
    fn prints_number_state_symbol_and_text() {
        let refusal = Refusal::new(
            RefusalCode::RepositoryNotFound,
            "repository 'r' does not exist",
        );
        assert_eq!(
            SqlError::from(refusal).to_string(),
            "ERROR 5064 (42000): [REPOSITORY_NOT_FOUND] repository 'r' does not exist"
        );
    }

    #[test]
    fn storage_errors_keep_what_they_name() {
        let of = |kind, text: &str| SqlError::from(holdfast_storage::Error::new(kind, text));
        assert_eq!(
            of(ErrorKind::NotFound, "database 'x' does not exist").number,
            5501
        );
        assert_eq!(
            of(ErrorKind::NotFound, "table 'd.x' does not exist").number,
            5502
        );
        assert_eq!(
            of(ErrorKind::NotFound, "tablet 5 does not exist").symbol,
            "TABLET_NOT_FOUND"
        );
        assert_eq!(of(ErrorKind::Exists, "table 'd.x' exists").number, 1050);
        assert_eq!(
            of(ErrorKind::Busy, "table 'd.x' is held by job 3").symbol,
            "OBJECT_BUSY"
        );
    }
}
