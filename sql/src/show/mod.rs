//! Result tables: columns and rows of text, made from what readers see of the engine and the
//! storage. Pure: time and zone come in with the call. Column order and value formats are those of
//! StarRocks; columns of our own stand behind them.

mod cluster;
mod jobs;
mod records;
mod repositories;
mod tables;
mod text;

pub use cluster::{BrokerRow, backends, brokers, databases, tables};
pub use jobs::{backups, restores};
pub use records::job_events;
pub use repositories::{SnapshotDetail, SnapshotRow, create_repository, repositories, snapshots};
pub use tables::{TabletPlace, TabletRow, create_table, partitions, tablet, tablets};

/// A column of a result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Its name, as StarRocks spells it where StarRocks has it.
    pub name: String,
}

/// What a SHOW answers. Every value is a text; NULL is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ResultTable {
    /// The columns.
    pub columns: Vec<Column>,
    /// The rows, one value per column each.
    pub rows: Vec<Vec<Option<String>>>,
}

impl ResultTable {
    /// A table of these columns without rows.
    pub fn new<S: AsRef<str>>(columns: &[S]) -> Self {
        let columns = columns
            .iter()
            .map(|name| Column {
                name: name.as_ref().to_owned(),
            })
            .collect();
        Self {
            columns,
            rows: Vec::new(),
        }
    }

    /// The value of the named column (without regard to case) in a row; `None` also where there is
    /// no such row or column.
    pub fn value(&self, row: usize, column: &str) -> Option<&str> {
        let at = self
            .columns
            .iter()
            .position(|c| c.name.eq_ignore_ascii_case(column))?;
        self.rows.get(row)?.get(at)?.as_deref()
    }

    /// The same table without the named columns.
    pub(crate) fn without(mut self, names: &[&str]) -> Self {
        let keep: Vec<bool> = self
            .columns
            .iter()
            .map(|column| !names.contains(&column.name.as_str()))
            .collect();
        let mut at = keep.iter();
        self.columns.retain(|_| at.next().copied().unwrap_or(true));
        for row in &mut self.rows {
            let mut at = keep.iter();
            row.retain(|_| at.next().copied().unwrap_or(true));
        }
        self
    }
}

/// The moment of the call, and the zone that times are shown in.
#[derive(Clone, Copy)]
pub struct Clock<'a> {
    /// Now, in ms since the epoch.
    pub now_ms: u64,
    /// The zone's offset from UTC in seconds at a moment given in ms since the epoch.
    pub offset_seconds: &'a dyn Fn(u64) -> i32,
}

impl std::fmt::Debug for Clock<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Clock")
            .field("now_ms", &self.now_ms)
            .finish_non_exhaustive()
    }
}

impl Clock<'_> {
    /// A moment as `yyyy-MM-dd HH:mm:ss` in the zone.
    pub fn time(&self, ms: u64) -> String {
        text::time(ms, (self.offset_seconds)(ms))
    }

    pub(crate) fn maybe(&self, ms: Option<u64>) -> Option<String> {
        ms.map(|ms| self.time(ms))
    }
}
