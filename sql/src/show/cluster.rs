//! SHOW BROKER, SHOW BACKENDS, SHOW DATABASES, SHOW TABLES.

use holdfast_storage::BackendInfo;

use super::{Clock, ResultTable};

/// One instance of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BrokerRow {
    /// The broker's name.
    pub name: String,
    /// The instance's host.
    pub host: String,
    /// The instance's port.
    pub port: u16,
    /// Whether it answered last.
    pub alive: bool,
    /// Since when it answers, ms since the epoch.
    pub last_start_ms: Option<u64>,
    /// When it answered last, ms since the epoch.
    pub last_update_ms: Option<u64>,
    /// Why it does not answer.
    pub error: Option<String>,
}

/// SHOW BROKER (7 columns).
pub fn brokers(rows: &[BrokerRow], clock: Clock<'_>) -> ResultTable {
    let mut table = ResultTable::new(&[
        "Name",
        "IP",
        "Port",
        "Alive",
        "LastStartTime",
        "LastUpdateTime",
        "ErrMsg",
    ]);
    for row in rows {
        table.rows.push(vec![
            Some(row.name.clone()),
            Some(row.host.clone()),
            Some(row.port.to_string()),
            Some(row.alive.to_string()),
            clock.maybe(row.last_start_ms),
            clock.maybe(row.last_update_ms),
            row.error.clone(),
        ]);
    }
    table
}

/// SHOW BACKENDS: BackendId, Name, Alive, TabletNum (replicas), DataUsedCapacity (bytes).
pub fn backends(rows: &[BackendInfo]) -> ResultTable {
    let mut table = ResultTable::new(&[
        "BackendId",
        "Name",
        "Alive",
        "TabletNum",
        "DataUsedCapacity",
    ]);
    for row in rows {
        table.rows.push(vec![
            Some(row.id.to_string()),
            Some(row.name.clone()),
            Some(row.alive.to_string()),
            Some(row.replicas.to_string()),
            Some(row.data_bytes.to_string()),
        ]);
    }
    table
}

/// SHOW DATABASES.
pub fn databases<S: AsRef<str>>(names: &[S]) -> ResultTable {
    one_column("Database", names)
}

/// SHOW TABLES of a database.
pub fn tables<S: AsRef<str>>(database: &str, names: &[S]) -> ResultTable {
    one_column(&format!("Tables_in_{database}"), names)
}

fn one_column<S: AsRef<str>>(column: &str, names: &[S]) -> ResultTable {
    let mut table = ResultTable::new(&[column]);
    table.rows = names
        .iter()
        .map(|name| vec![Some(name.as_ref().to_owned())])
        .collect();
    table
}
