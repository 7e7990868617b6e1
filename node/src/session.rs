//! One session: runs a parsed statement against tables and engine, for one user with one current
//! database. Checks the privilege first; decides nothing else that the parts below decide.

mod past;
mod show;

use holdfast_engine::{JobId, JobKind};
use holdfast_sql::{
    AddedPartition, Code, Parsed, ResultTable, SqlError, Statement, TableName, database_or_session,
    parse_one, privilege,
};
use holdfast_storage::{ErrorKind, Storage};

use crate::guard;
use crate::node::Node;

pub(crate) use show::jobs_table;

/// What a statement gives back.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// The rows of a statement that has rows.
    pub(crate) table: Option<ResultTable>,
    /// The job that a BACKUP or RESTORE started.
    pub(crate) job: Option<JobId>,
}

impl From<ResultTable> for Outcome {
    fn from(table: ResultTable) -> Self {
        Self {
            table: Some(table),
            job: None,
        }
    }
}

impl From<JobId> for Outcome {
    fn from(job: JobId) -> Self {
        Self {
            table: None,
            job: Some(job),
        }
    }
}

/// A user's session.
pub(crate) struct Session<'a> {
    node: &'a Node,
    user: String,
    database: Option<String>,
}

type Answer = Result<Outcome, SqlError>;

impl<'a> Session<'a> {
    /// A session of `user`; `database` need not exist until a statement needs it.
    pub(crate) fn new(node: &'a Node, user: String, database: Option<String>) -> Self {
        Self {
            node,
            user,
            database,
        }
    }

    /// Parses and runs one statement.
    pub(crate) fn execute_text(&mut self, text: &str) -> Answer {
        self.execute(&parse_one(text)?)
    }

    /// Runs one statement.
    pub(crate) fn execute(&mut self, parsed: &Parsed) -> Answer {
        log::debug!("{}: {}", self.user, parsed.loggable());
        let statement = &parsed.statement;
        privilege::check(&self.user, statement)?;
        match self.tables(statement).or_else(|| self.jobs(statement)) {
            Some(answer) => answer,
            None => {
                let table = self.show(statement)?;
                Ok(statement.arrange(table)?.into())
            }
        }
    }

    /// Databases, tables, partitions, backends; `None` for another family.
    fn tables(&mut self, statement: &Statement) -> Option<Answer> {
        let storage = &self.node.storage;
        let done = match statement {
            Statement::CreateDatabase {
                name,
                if_not_exists,
            } => unless(
                *if_not_exists,
                ErrorKind::Exists,
                storage.create_database(name),
            ),
            Statement::DropDatabase { name, if_exists } => {
                return Some(self.drop_database(name, *if_exists));
            }
            Statement::Use { database } => return Some(self.use_database(database)),
            Statement::CreateTable(create) => self.named(&create.table).and_then(|(db, table)| {
                let made = storage.create_table(
                    &db,
                    &table,
                    create.schema.clone(),
                    create.partitions.clone(),
                );
                unless(create.if_not_exists, ErrorKind::Exists, made)
            }),
            Statement::DropTable { table, if_exists } => {
                self.named(table).and_then(|(db, table)| {
                    self.check_database(&db)?;
                    self.check_unclaimed(&db, &table)?;
                    unless(
                        *if_exists,
                        ErrorKind::NotFound,
                        storage.drop_table(&db, &table),
                    )
                })
            }
            Statement::TruncateTable { table, partitions } => {
                self.named(table).and_then(|(db, table)| {
                    self.check_unclaimed(&db, &table)?;
                    let some = (!partitions.is_empty()).then_some(partitions.as_slice());
                    Ok(storage.truncate_table(&db, &table, some)?)
                })
            }
            Statement::AddPartition { table, partition } => self.add_partition(table, partition),
            Statement::DropPartition {
                table,
                partition,
                if_exists,
            } => {
                self.named(table).and_then(|(db, table)| {
                    // IF EXISTS is about the partition; a missing table is an error all the same.
                    storage.table_details(&db, &table)?;
                    self.check_unclaimed(&db, &table)?;
                    let dropped = storage.drop_partition(&db, &table, partition);
                    unless(*if_exists, ErrorKind::NotFound, dropped)
                })
            }
            Statement::AddBackend { name } => storage
                .add_backend(name)
                .map(|_| ())
                .map_err(SqlError::from),
            Statement::DropBackend { name } => storage.drop_backend(name).map_err(SqlError::from),
            _ => return None,
        };
        Some(done.map(|()| Outcome::default()))
    }

    /// Repositories, backups, restores; `None` for another family.
    fn jobs(&self, statement: &Statement) -> Option<Answer> {
        let engine = &self.node.engine;
        let session = self.database.as_deref();
        let answer = match statement {
            Statement::CreateRepository(create) => create.request().and_then(|request| {
                engine.create_repository(&request)?;
                Ok(Outcome::default())
            }),
            Statement::DropRepository { name } => engine
                .drop_repository(name)
                .map(|()| Outcome::default())
                .map_err(SqlError::from),
            Statement::Backup(backup) => backup
                .request(session)
                .and_then(|request| Ok(engine.backup(&request)?.into())),
            Statement::Restore(restore) => restore
                .request(session)
                .and_then(|request| Ok(engine.restore(&request)?.into())),
            Statement::CancelBackup { database } => self.cancel(JobKind::Backup, database),
            Statement::CancelRestore { database } => self.cancel(JobKind::Restore, database),
            Statement::AddBroker { .. } | Statement::DropBroker { .. } => Err(SqlError::new(
                Code::Unsupported,
                format!(
                    "{} is not available in this build: it reaches repositories directly, by the \
                     scheme of their location (file://)",
                    statement.name()
                ),
            )),
            _ => return None,
        };
        Some(answer)
    }

    fn cancel(&self, kind: JobKind, database: &Option<String>) -> Answer {
        let database = self.database(database.as_deref())?;
        // A restore makes its database late, so a job may run where there is none yet.
        if !self
            .node
            .engine
            .views()
            .jobs_of(kind, Some(&database))
            .iter()
            .any(|j| !j.has_ended())
        {
            self.check_database(&database)?;
        }
        self.node.engine.cancel(kind, &database)?;
        Ok(Outcome::default())
    }

    fn add_partition(&self, table: &TableName, partition: &AddedPartition) -> Result<(), SqlError> {
        let (db, table) = self.named(table)?;
        let storage = &self.node.storage;
        let details = storage.table_details(&db, &table)?;
        let there: Vec<_> = details.partitions.into_iter().map(|p| p.meta).collect();
        if partition.if_not_exists && there.iter().any(|p| p.name == partition.name) {
            return Ok(());
        }
        self.check_unclaimed(&db, &table)?;
        let meta = partition.resolve(&details.schema, &there)?;
        Ok(storage.add_partition(&db, &table, meta)?)
    }

    fn drop_database(&mut self, name: &str, if_exists: bool) -> Answer {
        if self.check_database(name).is_ok() {
            guard::check_database(&self.node.engine.views(), name)?;
        }
        let dropped = self.node.storage.drop_database(name);
        unless(if_exists, ErrorKind::NotFound, dropped)?;
        if self.database.as_deref() == Some(name) {
            self.database = None;
        }
        Ok(Outcome::default())
    }

    fn use_database(&mut self, name: &str) -> Answer {
        self.check_database(name)?;
        self.database = Some(name.to_owned());
        Ok(Outcome::default())
    }

    /// The database that a statement means.
    fn database(&self, named: Option<&str>) -> Result<String, SqlError> {
        database_or_session(named, self.database.as_deref())
    }

    fn check_database(&self, name: &str) -> Result<(), SqlError> {
        if self
            .node
            .storage
            .databases()?
            .iter()
            .any(|known| known == name)
        {
            return Ok(());
        }
        Err(SqlError::unknown_database(name))
    }

    /// Refuses where a restore that has not ended claims the table. One that is not there yet is
    /// left to the tables, which say so.
    fn check_unclaimed(&self, database: &str, table: &str) -> Result<(), SqlError> {
        match self.node.storage.table_details(database, table) {
            Ok(_) => guard::check_table(&self.node.engine.views(), database, table),
            Err(_) => Ok(()),
        }
    }

    /// The database and table that a statement means.
    fn named(&self, table: &TableName) -> Result<(String, String), SqlError> {
        Ok((
            self.database(table.database.as_deref())?,
            table.table.clone(),
        ))
    }
}

/// `IF EXISTS` and `IF NOT EXISTS`: one kind of error is as good as done.
fn unless(
    allowed: bool,
    kind: ErrorKind,
    result: Result<(), holdfast_storage::Error>,
) -> Result<(), SqlError> {
    match result {
        Err(error) if allowed && error.kind() == kind => Ok(()),
        other => Ok(other?),
    }
}
