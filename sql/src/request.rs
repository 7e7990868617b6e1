//! From parsed BACKUP, RESTORE and CREATE REPOSITORY to what the engine takes. Checks all that can
//! be known without looking anything up: labels, objects of kinds that do not exist here,
//! properties and their contradictions.

use std::collections::BTreeSet;

use holdfast_engine::{
    BackupRequest, Clean, MIN_TIMEOUT_SECONDS, ObjectRef, Replication, RepositoryRequest,
    RestoreRequest, Selection,
};
use holdfast_storage::AllowLoad;

use crate::error::{Code, SqlError};
use crate::names;
use crate::parse::unsupported;
use crate::statement::{
    Backup, CreateRepository, Object, ObjectKind, ObjectName, Objects, Properties, Reach, Restore,
};

mod properties;

use properties::Reader;

/// The database that a statement means: the one it names, else the session's.
///
/// # Errors
/// `NO_DATABASE_SELECTED` (1046) where there is neither.
pub fn database_or_session(named: Option<&str>, session: Option<&str>) -> Result<String, SqlError> {
    named
        .or(session)
        .map(str::to_owned)
        .ok_or_else(SqlError::no_database)
}

impl Backup {
    /// The request to the engine.
    ///
    /// # Errors
    /// `NO_DATABASE_SELECTED`, `BAD_LABEL`, `BAD_PROPERTY`, `DUPLICATE_OBJECT`, `UNSUPPORTED` for
    /// kinds of objects that do not exist here, `BAD_TABLE_NAME` for a table written with a
    /// database.
    pub fn request(&self, session: Option<&str>) -> Result<BackupRequest, SqlError> {
        no_catalogs(&self.objects)?;
        let database = database_or_session(self.database.as_deref(), session)?;
        names::check_label(&self.label)?;
        let selection = selection(&self.objects, "backup")?;
        let timeout_seconds = backup_properties(&self.properties)?;
        Ok(BackupRequest {
            database,
            label: self.label.clone(),
            repository: self.repository.clone(),
            selection,
            timeout_seconds,
        })
    }
}

impl Restore {
    /// The request to the engine. The target database is `DATABASE x AS y` → y, `DATABASE x` → x,
    /// else the `db.` before the label, else the session's.
    ///
    /// # Errors
    /// As [`Backup::request`].
    pub fn request(&self, session: Option<&str>) -> Result<RestoreRequest, SqlError> {
        no_catalogs(&self.objects)?;
        let named = self.target.as_deref().or(self.source.as_deref());
        let database = database_or_session(named.or(self.label_database.as_deref()), session)?;
        names::check_label(&self.label)?;
        names::check_database(&database)?;
        let selection = selection(&self.objects, "restore")?;
        let mut request = RestoreRequest {
            database,
            source_database: self.source.clone(),
            label: self.label.clone(),
            repository: self.repository.clone(),
            timestamp: String::new(),
            selection,
            allow_load: AllowLoad::No,
            replication: Replication::Automatic,
            clean: Clean::default(),
            timeout_seconds: None,
        };
        restore_properties(&self.properties, &mut request)?;
        Ok(request)
    }
}

impl CreateRepository {
    /// The request to the engine, which checks the name.
    ///
    /// # Errors
    /// `BAD_LOCATION` where the location is empty or its scheme does not fit the kind that WITH
    /// names.
    pub fn request(&self) -> Result<RepositoryRequest, SqlError> {
        if self.location.trim().is_empty() {
            let text = "the location is empty, expected an address such as file:///srv/backup";
            return Err(SqlError::new(Code::BadLocation, text));
        }
        self.check_scheme()?;
        let broker = match &self.reach {
            Reach::Broker(name) if name.is_empty() => {
                let text = "the broker's name is empty, expected WITH BROKER alone for none";
                return Err(SqlError::new(Code::BrokerNotFound, text));
            }
            Reach::Broker(name) => Some(name.clone()),
            Reach::Direct | Reach::S3 | Reach::Hdfs | Reach::Local => None,
        };
        Ok(RepositoryRequest {
            name: self.name.clone(),
            broker,
            location: self.location.clone(),
            access: self.access,
            properties: self.properties.0.clone(),
        })
    }

    fn check_scheme(&self) -> Result<(), SqlError> {
        let scheme = self
            .location
            .split_once("://")
            .map_or("", |(scheme, _)| scheme);
        let scheme = scheme.to_ascii_lowercase();
        let (word, fine, expected) = match self.reach {
            Reach::Broker(_) | Reach::Direct => return Ok(()),
            Reach::S3 => {
                let kin = [
                    "s3", "s3a", "s3n", "oss", "cos", "cosn", "obs", "ks3", "tos", "gs",
                ];
                ("S3", kin.contains(&scheme.as_str()), "s3://")
            }
            Reach::Hdfs => {
                let kin = ["hdfs", "viewfs", "webhdfs", "swebhdfs"];
                ("HDFS", kin.contains(&scheme.as_str()), "hdfs://")
            }
            Reach::Local => ("LOCAL", scheme.is_empty() || scheme == "file", "file://"),
        };
        if fine {
            return Ok(());
        }
        let shown = crate::secret::mask_location(&self.location);
        let text = format!("location '{shown}' does not fit WITH {word}, expected {expected}…");
        Err(SqlError::new(Code::BadLocation, text))
    }
}

/// What ON or EXCLUDE means; `verb` is backup or restore.
/// External catalogs are refused first: they belong to no database, so none is missed.
fn no_catalogs(objects: &Objects) -> Result<(), SqlError> {
    match objects {
        Objects::Catalogs(_) => Err(crate::parse::no_catalogs()),
        _ => Ok(()),
    }
}

fn selection(objects: &Objects, verb: &str) -> Result<Selection, SqlError> {
    match objects {
        Objects::Whole => Ok(Selection::All),
        Objects::Catalogs(_) => Err(crate::parse::no_catalogs()),
        Objects::On(list) => {
            for object in list {
                check_kind(object, verb)?;
            }
            if list.iter().any(|object| object.name == ObjectName::All) {
                return whole_tables(list);
            }
            only(list).map(Selection::Only)
        }
        Objects::Exclude(list) => {
            for object in list {
                check_kind(object, verb)?;
                if let Some(alias) = &object.alias {
                    let text = format!(
                        "AS '{alias}' in EXCLUDE, expected no alias: what is left out needs no name"
                    );
                    return Err(SqlError::new(Code::Unsupported, text));
                }
            }
            if list.iter().any(|object| object.name == ObjectName::All) {
                let text = "EXCLUDE (ALL TABLES) leaves nothing, expected the tables to leave out";
                return Err(SqlError::new(Code::NothingSelected, text));
            }
            only(list).map(Selection::Except)
        }
    }
}

/// `ON (ALL TABLES)` stands alone.
fn whole_tables(list: &[Object]) -> Result<Selection, SqlError> {
    let [only] = list else {
        let text = "ALL TABLES stands beside other objects, expected it alone";
        return Err(SqlError::new(Code::DuplicateObject, text));
    };
    if !only.partitions.is_empty() || only.alias.is_some() {
        let text = "ALL TABLES with partitions or an alias, expected it alone";
        return Err(SqlError::new(Code::Syntax, text));
    }
    Ok(Selection::All)
}

fn check_kind(object: &Object, verb: &str) -> Result<(), SqlError> {
    let name = match &object.name {
        ObjectName::All => "ALL".to_owned(),
        ObjectName::Named(name) => name.table.clone(),
    };
    if object.kind != ObjectKind::Table {
        let what = format!("{} '{name}'", object.kind.name());
        let reason = format!("only tables exist here, so that a {verb} holds nothing else");
        return Err(unsupported(&what, &reason));
    }
    if object.temporary {
        let what = format!("TEMPORARY PARTITION of table '{name}'");
        return Err(unsupported(&what, "there are no temporary partitions here"));
    }
    if let ObjectName::Named(name) = &object.name
        && let Some(database) = &name.database
    {
        let text = format!(
            "Cannot specify database name on {verb} objects: found '{database}.{table}', expected \
             '{table}'; the database stands before the label",
            table = name.table
        );
        return Err(SqlError::new(Code::BadTableName, text));
    }
    Ok(())
}

/// The objects by name, each once.
fn only(list: &[Object]) -> Result<Vec<ObjectRef>, SqlError> {
    let twice = |what: &str, name: &str| {
        let text = format!("{what} '{name}' is listed twice, expected each once");
        SqlError::new(Code::DuplicateObject, text)
    };
    let (mut tables, mut targets) = (BTreeSet::new(), BTreeSet::new());
    let mut out = Vec::with_capacity(list.len());
    for object in list {
        let ObjectName::Named(name) = &object.name else {
            continue;
        };
        if !tables.insert(name.table.as_str()) {
            return Err(twice("table", &name.table));
        }
        let mut partitions = BTreeSet::new();
        if let Some(name) = object
            .partitions
            .iter()
            .find(|name| !partitions.insert(*name))
        {
            return Err(twice("partition", name));
        }
        if let Some(alias) = &object.alias {
            names::check_table(alias)?;
        }
        out.push(ObjectRef {
            table: name.table.clone(),
            partitions: object.partitions.clone(),
            alias: object.alias.clone(),
        });
    }
    for object in &out {
        // An alias equal to a listed table counts too: both would become one table.
        if let Some(alias) = &object.alias
            && (!targets.insert(alias.as_str())
                || (tables.contains(alias.as_str()) && *alias != object.table))
        {
            return Err(twice("alias", alias));
        }
    }
    Ok(out)
}

const BACKUP_KEYS: [&str; 2] = ["timeout", "type"];

fn backup_properties(properties: &Properties) -> Result<Option<u64>, SqlError> {
    let reader = Reader::new(properties, "BACKUP", &BACKUP_KEYS);
    reader.refuse(&[
        (
            "content",
            "a backup holds the data and what the tables are, never one alone",
        ),
        ("ttl", "snapshots are not removed by age here"),
    ])?;
    if let Some(kind) = reader.text("type") {
        if kind.eq_ignore_ascii_case("incremental") {
            let text = "property 'type' is 'incremental', expected 'full': every full backup \
                already \
                        sends only what changed";
            return Err(SqlError::new(Code::BadProperty, text));
        }
        if !kind.eq_ignore_ascii_case("full") {
            return Err(reader.wrong("type", "'full'"));
        }
    }
    timeout(&reader)
}

fn timeout(reader: &Reader<'_>) -> Result<Option<u64>, SqlError> {
    let Some(seconds) = reader.number::<u64>("timeout", "a number of seconds")? else {
        return Ok(None);
    };
    if seconds < MIN_TIMEOUT_SECONDS {
        let expected = format!("{MIN_TIMEOUT_SECONDS} seconds or more: at least 10 min");
        return Err(reader.wrong("timeout", &expected));
    }
    Ok(Some(seconds))
}

const RESTORE_KEYS: [&str; 8] = [
    "allow_load",
    "atomic_restore",
    "backup_timestamp",
    "clean_partitions",
    "clean_tables",
    "replication_num",
    "reserve_replica",
    "timeout",
];

/// Properties that other systems know and that are refused here, with the reason.
const RESTORE_REFUSED: [(&str, &str); 8] = [
    ("meta_version", "a snapshot says itself which format it has"),
    (
        "starrocks_meta_version",
        "a snapshot says itself which format it has",
    ),
    (
        "reserve_dynamic_partition_enable",
        "there are no dynamic partitions here",
    ),
    ("reserve_colocate", "there are no colocate groups here"),
    (
        "is_being_synced",
        "there is no replication between clusters here",
    ),
    ("storage_vault_name", "there are no storage vaults here"),
    (
        "force_replace",
        "a table that differs is never replaced silently, drop it or restore it AS another name",
    ),
    (
        "replication_allocation",
        "there are no placement tags here, use 'replication_num'",
    ),
];

fn restore_properties(
    properties: &Properties,
    request: &mut RestoreRequest,
) -> Result<(), SqlError> {
    let reader = Reader::new(properties, "RESTORE", &RESTORE_KEYS);
    reader.refuse(&RESTORE_REFUSED)?;
    request.timestamp = match reader.text("backup_timestamp").map(str::trim) {
        Some(text) if !text.is_empty() => text.to_owned(),
        _ => {
            let text = format!(
                "Missing backup_timestamp property, expected PROPERTIES (\"backup_timestamp\" = \
                 \"…\") as \
                 SHOW SNAPSHOT ON {} prints it",
                request.repository
            );
            return Err(SqlError::new(Code::BadProperty, text));
        }
    };
    request.timeout_seconds = timeout(&reader)?;
    if reader.switch("allow_load")? == Some(true) {
        request.allow_load = AllowLoad::UntouchedPartitions;
    }
    if reader.switch("atomic_restore")? == Some(false) {
        let expected = "'true': every restore here is one atomic change";
        return Err(reader.wrong("atomic_restore", expected));
    }
    request.replication = replication(&reader)?;
    request.clean = clean(&reader, &request.selection)?;
    Ok(())
}

fn replication(reader: &Reader<'_>) -> Result<Replication, SqlError> {
    let count = reader.number::<u32>("replication_num", "a number of replicas from 1 on")?;
    if count == Some(0) {
        return Err(reader.wrong("replication_num", "a number of replicas from 1 on"));
    }
    match (count, reader.switch("reserve_replica")?) {
        (Some(count), Some(true)) => {
            let text = format!(
                "properties 'replication_num' = '{count}' and 'reserve_replica' = 'true' \
                 contradict each \
                 other, expected one of them"
            );
            Err(SqlError::new(Code::BadProperty, text))
        }
        (Some(count), _) => Ok(Replication::Fixed(count)),
        (None, Some(true)) => Ok(Replication::Reserve),
        (None, _) => Ok(Replication::Automatic),
    }
}

fn clean(reader: &Reader<'_>, selection: &Selection) -> Result<Clean, SqlError> {
    let tables = reader.switch("clean_tables")? == Some(true);
    let partitions = reader.switch("clean_partitions")? == Some(true);
    if tables && *selection != Selection::All {
        let text = "property 'clean_tables' is 'true' beside ON or EXCLUDE, expected it only where \
            the whole \
                    database is restored";
        return Err(SqlError::new(Code::BadProperty, text));
    }
    let listed = match selection {
        Selection::All => None,
        Selection::Only(list) | Selection::Except(list) => {
            list.iter().find(|object| !object.partitions.is_empty())
        }
    };
    if partitions && let Some(object) = listed {
        let text = format!(
            "property 'clean_partitions' is 'true' beside a partition list of table '{}', expected \
             it only \
             where whole tables are restored",
            object.table
        );
        return Err(SqlError::new(Code::BadProperty, text));
    }
    Ok(Clean { tables, partitions })
}

#[cfg(test)]
mod tests;
