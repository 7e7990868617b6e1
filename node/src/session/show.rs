//! The SHOW statements: collects what engine, storage and repositories know and hands it to the
//! builders of `sql`. Formats nothing.

use std::sync::Arc;

use holdfast_broker::Context;
use holdfast_engine::{Clock as _, JobId, JobKind, JobView, ObjectRef, RefusalCode};
use holdfast_repository::manifest::Root;
use holdfast_repository::{LabelEntry, Repository};
use holdfast_sql::show::{self, SnapshotDetail, SnapshotRow, TabletPlace, TabletRow};
use holdfast_sql::{
    Clock, Code, ResultTable, ShowJobs, ShowSnapshot, SnapshotPick, SqlError, Statement,
};
use holdfast_sql::{TableName, Width};
use holdfast_storage::{Storage, TableInfo, TabletDetails, TabletId};

use super::{Session, past};

type Shown = Result<ResultTable, SqlError>;

impl Session<'_> {
    /// The rows of a SHOW, before its WHERE, ORDER BY and LIMIT.
    pub(super) fn show(&self, statement: &Statement) -> Shown {
        let clock = Arc::clone(&self.node.clock);
        let offset = move |at: u64| clock.utc_offset_seconds(at);
        let clock = Clock {
            now_ms: self.node.clock.wall_ms(),
            offset_seconds: &offset,
        };
        match statement {
            Statement::ShowBackup(show) => self.show_jobs(JobKind::Backup, show, clock),
            Statement::ShowRestore(show) => self.show_jobs(JobKind::Restore, show, clock),
            Statement::ShowJobEvents { job, .. } => self.show_job_events(JobId(*job), clock),
            Statement::ShowSnapshot(show) => self.show_snapshot(show),
            Statement::ShowRepositories(_) => {
                let views: Vec<_> = self
                    .node
                    .engine
                    .views()
                    .repositories
                    .values()
                    .cloned()
                    .collect();
                let problem = |name: &str| self.node.engine.repository_problem(name);
                Ok(show::repositories(&views, &problem, clock))
            }
            Statement::ShowCreateRepository { name } => self.show_create_repository(name),
            // Broker processes cannot be registered in this build.
            Statement::ShowBroker(_) => Ok(show::brokers(&[], clock)),
            Statement::ShowBackends(_) => Ok(show::backends(&self.node.storage.backends()?)),
            Statement::ShowDatabases(_) => Ok(show::databases(&self.node.storage.databases()?)),
            Statement::ShowTables { database, .. } => self.show_tables(database.as_deref()),
            Statement::ShowCreateTable { table } => {
                Ok(show::create_table(&self.table_info(table)?))
            }
            Statement::ShowPartitions { table, .. } => {
                Ok(show::partitions(&self.table_info(table)?, clock))
            }
            Statement::ShowTablet { id, .. } => self.show_tablet(TabletId(*id)),
            Statement::ShowTablets {
                table, partitions, ..
            } => self.show_tablets(table, partitions),
            other => Err(SqlError::new(
                Code::Unsupported,
                format!("{} is not available in this build", other.name()),
            )),
        }
    }

    fn show_jobs(&self, kind: JobKind, show: &ShowJobs, clock: Clock<'_>) -> Shown {
        let database = self.database(show.database.as_deref())?;
        let engine = &self.node.engine;
        let views = match &show.as_of {
            Some(as_of) => past::views(self.node.journal.as_ref(), as_of, clock)?,
            None => engine.views(),
        };
        let jobs = views.jobs_of(kind, Some(&database));
        if jobs.is_empty() {
            // Jobs outlive their database, and a restore makes it late.
            self.check_database(&database)?;
        }
        // Workers' reports are not in the journal.
        let progress = |job| match show.as_of {
            Some(_) => Vec::new(),
            None => engine.progress(job),
        };
        Ok(jobs_table(kind, &jobs, &progress, show.width, clock))
    }

    fn show_job_events(&self, job: JobId, clock: Clock<'_>) -> Shown {
        let records = past::records(self.node.journal.as_ref(), job)?;
        Ok(show::job_events(&records, clock))
    }

    fn show_tables(&self, named: Option<&str>) -> Shown {
        let database = self.database(named)?;
        let tables = self.node.storage.tables(&database)?;
        let names: Vec<&str> = tables.iter().map(|table| table.name.as_str()).collect();
        Ok(show::tables(&database, &names))
    }

    fn table_info(&self, table: &TableName) -> Result<TableInfo, SqlError> {
        let (database, name) = self.named(table)?;
        let tables = self.node.storage.tables(&database)?;
        tables
            .into_iter()
            .find(|table| table.name == name)
            .ok_or_else(|| SqlError::unknown_table(&database, &name))
    }

    fn show_tablet(&self, id: TabletId) -> Shown {
        let TabletDetails {
            database,
            table,
            partition,
            ..
        } = self.node.storage.tablet_details(id)?;
        let place = TabletPlace {
            tablet: id,
            database: database.1,
            table: table.1,
            partition: partition.1,
            partition_id: partition.0,
        };
        Ok(show::tablet(&place))
    }

    fn show_tablets(&self, table: &TableName, partitions: &[String]) -> Shown {
        let (database, name) = self.named(table)?;
        let some = (!partitions.is_empty()).then_some(partitions);
        let tablets = self.node.storage.table_tablets(&database, &name, some)?;
        let rows: Vec<TabletRow> = tablets.into_iter().flat_map(tablet_rows).collect();
        Ok(show::tablets(&rows))
    }

    fn show_create_repository(&self, name: &str) -> Shown {
        let properties = self.node.engine.repository_properties(name)?;
        let views = self.node.engine.views();
        let view = views.repositories.get(name).ok_or_else(|| {
            SqlError::new(
                Code::RepositoryNotFound,
                format!("repository '{name}' does not exist"),
            )
        })?;
        Ok(show::create_repository(view, &properties))
    }

    /// Failures of the remote side are rows, so that a listing shows what can be shown.
    fn show_snapshot(&self, show: &ShowSnapshot) -> Shown {
        let repository = match self.node.engine.repository(&show.repository) {
            Ok(repository) => repository,
            Err(refusal) if refusal.code == RefusalCode::RepositoryUnusable => {
                return Ok(show::snapshots(&show.pick, &[problem_row(refusal.message)]));
            }
            Err(refusal) => return Err(refusal.into()),
        };
        let context = Context::new();
        let rows = match repository.labels(&context) {
            Ok(labels) => labels
                .into_iter()
                .filter(|entry| wanted(entry, &show.pick))
                .map(|entry| snapshot_row(&repository, &context, entry, &show.pick))
                .collect(),
            Err(error) => vec![problem_row(error.to_string())],
        };
        Ok(show::snapshots(&show.pick, &rows))
    }
}

/// SHOW BACKUP or SHOW RESTORE over these jobs.
pub(crate) fn jobs_table(
    kind: JobKind,
    jobs: &[Arc<JobView>],
    progress: &dyn Fn(holdfast_engine::JobId) -> Vec<holdfast_engine::TaskProgress>,
    width: Width,
    clock: Clock<'_>,
) -> ResultTable {
    match kind {
        JobKind::Backup => show::backups(jobs, progress, clock),
        JobKind::Restore => show::restores(jobs, progress, width, clock),
    }
}

fn tablet_rows(tablet: TabletDetails) -> impl Iterator<Item = TabletRow> {
    let TabletDetails {
        id,
        bucket,
        partition,
        version,
        version_count,
        files,
        data_bytes,
        ..
    } = tablet;
    tablet.replicas.into_iter().map(move |replica| TabletRow {
        tablet: id,
        replica: replica.backend.0,
        backend: replica.backend,
        partition: partition.1.clone(),
        bucket,
        version,
        data_bytes,
        files,
        versions: version_count,
        whole: replica.alive,
        path: Some(replica.path.display().to_string()),
    })
}

/// What stands for a listing that cannot be had.
fn problem_row(problem: String) -> SnapshotRow {
    SnapshotRow {
        problem: Some(problem),
        ..Default::default()
    }
}

fn wanted(entry: &LabelEntry, pick: &SnapshotPick) -> bool {
    match pick {
        SnapshotPick::All => true,
        SnapshotPick::Labels(labels) => labels.contains(&entry.label),
        SnapshotPick::Exact { label, timestamp } => {
            entry.label == *label
                && (entry.problem.is_some()
                    || entry
                        .snapshots
                        .iter()
                        .any(|marker| marker.timestamp == *timestamp))
        }
    }
}

/// A label as SHOW SNAPSHOT lists it; its manifest is read only where the statement names it.
fn snapshot_row(
    repository: &Repository,
    context: &Context,
    entry: LabelEntry,
    pick: &SnapshotPick,
) -> SnapshotRow {
    let marker = match pick {
        SnapshotPick::Exact { timestamp, .. } => entry
            .snapshots
            .iter()
            .find(|marker| marker.timestamp == *timestamp),
        SnapshotPick::All | SnapshotPick::Labels(_) => entry.snapshots.last(),
    };
    let mut row = SnapshotRow {
        label: entry.label.clone(),
        timestamps: match (pick, marker) {
            (SnapshotPick::Exact { .. }, Some(marker)) => vec![marker.timestamp.clone()],
            _ => entry
                .snapshots
                .iter()
                .map(|marker| marker.timestamp.clone())
                .collect(),
        },
        problem: entry.problem.clone(),
        cluster: marker.map(|marker| marker.cluster.clone()),
        root: marker.map(|marker| marker.root.to_string()),
        detail: None,
    };
    if let (Some(marker), SnapshotPick::Labels(_) | SnapshotPick::Exact { .. }) = (marker, pick) {
        match repository.root(context, &entry.label, marker) {
            Ok(root) => row.detail = Some(detail(root)),
            Err(error) => row.problem = Some(error.to_string()),
        }
    }
    row
}

fn detail(root: Root) -> SnapshotDetail {
    SnapshotDetail {
        database: root.database,
        backup_ms: root.timestamp_ms,
        format: root.format,
        objects: root
            .tables
            .into_iter()
            .map(|table| ObjectRef {
                table: table.name,
                partitions: table.partitions.into_iter().map(|part| part.name).collect(),
                alias: None,
            })
            .collect(),
        data_bytes: root.totals.bytes,
        files: root.totals.files,
    }
}
