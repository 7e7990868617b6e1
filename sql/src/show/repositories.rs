//! SHOW REPOSITORIES (7 columns), SHOW CREATE REPOSITORY, and SHOW SNAPSHOT in its forms.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_engine::{ObjectRef, RepositoryAccess, RepositoryView};

use crate::ddl::create_repository_text;
use crate::output::json_string;
use crate::secret::{mask_location, mask_text};
use crate::statement::SnapshotPick;

use super::{Clock, ResultTable};

/// The repositories. `error` gives what the last failed contact left, with its moment in ms since
/// the epoch.
pub fn repositories(
    views: &[Arc<RepositoryView>],
    error: &dyn Fn(&str) -> Option<(u64, String)>,
    clock: Clock<'_>,
) -> ResultTable {
    let mut table = ResultTable::new(&[
        "RepoId",
        "RepoName",
        "CreateTime",
        "IsReadOnly",
        "Location",
        "Broker",
        "ErrMsg",
    ]);
    for view in views {
        let read_only = view.access == RepositoryAccess::ReadOnly;
        table.rows.push(vec![
            Some(view.id.to_string()),
            Some(view.name.clone()),
            Some(clock.time(view.created_ms)),
            Some(read_only.to_string()),
            Some(mask_location(&view.location)),
            Some(view.broker.clone().unwrap_or_default()),
            error(&view.name).map(|(ms, text)| format!("{}: {}", clock.time(ms), mask_text(&text))),
        ]);
    }
    table
}

/// SHOW CREATE REPOSITORY: RepoName and CreateStmt, secrets masked.
pub fn create_repository(
    view: &RepositoryView,
    properties: &BTreeMap<String, String>,
) -> ResultTable {
    let mut table = ResultTable::new(&["RepoName", "CreateStmt"]);
    let text = create_repository_text(view, properties);
    table.rows.push(vec![Some(view.name.clone()), Some(text)]);
    table
}

/// One label of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotRow {
    /// The label.
    pub label: String,
    /// The timestamps of its finished snapshots, oldest first; more than one only where two
    /// clusters raced.
    pub timestamps: Vec<String>,
    /// What is wrong with it, in the repository's words.
    pub problem: Option<String>,
    /// The cluster that wrote it.
    pub cluster: Option<String>,
    /// The hash of its root manifest, as hex.
    pub root: Option<String>,
    /// What is in it, where the manifest was read.
    pub detail: Option<SnapshotDetail>,
}

/// What a snapshot's manifest says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SnapshotDetail {
    /// The database.
    pub database: String,
    /// The backup's moment, ms since the epoch.
    pub backup_ms: u64,
    /// The version of the repository's format.
    pub format: u32,
    /// Tables, each with all its partitions.
    pub objects: Vec<ObjectRef>,
    /// Bytes of its data files, one replica counted.
    pub data_bytes: u64,
    /// Its data files.
    pub files: u64,
}

/// SHOW SNAPSHOT. The list has Snapshot, Timestamp, Status; where labels are named, Database and
/// Details follow; with a label and a timestamp the order is Snapshot, Timestamp, Database,
/// Details, Status. Ours come last: Cluster, Root, and DataSize and Files where details are.
pub fn snapshots(pick: &SnapshotPick, rows: &[SnapshotRow]) -> ResultTable {
    let mut table = match pick {
        SnapshotPick::All => {
            ResultTable::new(&["Snapshot", "Timestamp", "Status", "Cluster", "Root"])
        }
        SnapshotPick::Labels(_) => ResultTable::new(&[
            "Snapshot",
            "Timestamp",
            "Status",
            "Database",
            "Details",
            "Cluster",
            "Root",
            "DataSize",
            "Files",
        ]),
        SnapshotPick::Exact { .. } => ResultTable::new(&[
            "Snapshot",
            "Timestamp",
            "Database",
            "Details",
            "Status",
            "Cluster",
            "Root",
            "DataSize",
            "Files",
        ]),
    };
    for row in rows {
        let (timestamp, status) = timestamp_and_status(row, pick);
        let label = Some(row.label.clone());
        let ours = [row.cluster.clone(), row.root.clone()];
        let detail = row.detail.as_ref();
        let database = detail.map(|detail| detail.database.clone());
        let text = detail.map(|detail| details(row, detail));
        let sizes = [
            detail.map(|detail| detail.data_bytes.to_string()),
            detail.map(|detail| detail.files.to_string()),
        ];
        table.rows.push(match pick {
            SnapshotPick::All => [label, timestamp, status].into_iter().chain(ours).collect(),
            SnapshotPick::Labels(_) => [label, timestamp, status, database, text]
                .into_iter()
                .chain(ours)
                .chain(sizes)
                .collect(),
            SnapshotPick::Exact { .. } => [label, timestamp, database, text, status]
                .into_iter()
                .chain(ours)
                .chain(sizes)
                .collect(),
        });
    }
    table
}

fn timestamp_and_status(
    row: &SnapshotRow,
    pick: &SnapshotPick,
) -> (Option<String>, Option<String>) {
    let exact = matches!(pick, SnapshotPick::Exact { .. });
    match &row.problem {
        Some(problem) if exact => (None, Some(format!("Failed to get info: {problem}"))),
        Some(problem) if row.timestamps.is_empty() => {
            (None, Some(format!("ERROR: Failed to get info: {problem}")))
        }
        Some(problem) => (
            Some(row.timestamps.join("\n")),
            Some(format!("ERROR: {problem}")),
        ),
        None if row.timestamps.is_empty() => {
            (Some(String::new()), Some("ERROR: no snapshot".to_owned()))
        }
        None => (Some(row.timestamps.join("\n")), Some("OK".to_owned())),
    }
}

/// The manifest reduced to names: JSON, indented by one blank a level.
fn details(row: &SnapshotRow, detail: &SnapshotDetail) -> String {
    let mut tables = Vec::with_capacity(detail.objects.len());
    for object in &detail.objects {
        let partitions: Vec<String> = object
            .partitions
            .iter()
            .map(|name| format!("    {}: {{}}", json_string(name)))
            .collect();
        tables.push(format!(
            "  {}: {{\n   \"partitions\": {}\n  }}",
            json_string(&object.table),
            braces(&partitions, "   ")
        ));
    }
    let fields = [
        format!(" \"name\": {}", json_string(&row.label)),
        format!(" \"database\": {}", json_string(&detail.database)),
        format!(" \"backup_time\": {}", detail.backup_ms),
        format!(" \"meta_version\": {}", detail.format),
        format!(" \"backup_objects\": {}", braces(&tables, " ")),
        " \"backup_result\": \"succeed\"".to_owned(),
    ];
    braces(&fields, "")
}

fn braces(fields: &[String], indent: &str) -> String {
    if fields.is_empty() {
        return "{}".to_owned();
    }
    format!("{{\n{}\n{indent}}}", fields.join(",\n"))
}
