//! Specs of jobs that tests need and do not care about.

use crate::ids::RepositoryId;
use crate::spec::{BackupSpec, ObjectRef};

/// An accepted backup of whole tables into repository 1.
pub fn backup_spec(database: &str, label: &str, tables: &[&str]) -> BackupSpec {
    let object = |table: &&str| ObjectRef {
        table: (*table).to_owned(),
        partitions: Vec::new(),
        alias: None,
    };
    BackupSpec {
        database: database.to_owned(),
        label: label.to_owned(),
        repository: RepositoryId(1),
        repository_name: "repo".to_owned(),
        objects: tables.iter().map(object).collect(),
        timestamp: "2025-01-01-00-00-00-000".to_owned(),
        timestamp_ms: 1_735_689_600_000,
        timeout_seconds: 86_400,
        cluster: "testcluster".to_owned(),
    }
}
