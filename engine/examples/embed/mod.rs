//! "Pocket", a toy database node: tables of rows (key -> value) in one redb file, cut into named
//! partitions, and everything that its users do with them.
//!
//! What the backup engine needs of it is in the modules beside: `catalog` (records), `dump` (rows
//! to data files and back), `backup` (pins), `targets`, `staging` and `restore` (marks, files, the
//! commit), and `storage`, which puts them behind the engine's trait.

mod backup;
mod catalog;
mod dump;
mod restore;
mod staging;
mod storage;
mod targets;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_storage::model::{Access, Bounds, PartitionMeta};
use holdfast_storage::{AllowLoad, Error, ErrorKind, check_file, check_object, check_partition};
use parking_lot::Mutex;
use redb::{Database, ReadableDatabase, WriteTransaction};

use catalog::{DATABASES, META, PartitionRecord, ROWS, TableRecord};
use staging::Fences;

/// How a table's rows become data files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// All rows of a partition in one data file (in several where they exceed [`dump::CUT`]).
    Packed,
    /// One data file per row: its name is the key, its bytes are the value.
    Loose,
}

/// Rows by key.
pub(crate) type Rows = BTreeMap<String, Vec<u8>>;

/// The longest value of a row in bytes, so that any data file fits into memory.
const MAX_VALUE: usize = 16 * 1024 * 1024;

/// The node. One process opens its folder at a time.
pub(crate) struct Pocket {
    db: Database,
    dir: PathBuf,
    /// The catalog's position, also in `META`: the trait asks for it without a way to fail.
    position: AtomicU64,
    /// One pin is exported at a time, and found by whoever asks for the same one meanwhile.
    pinning: Mutex<()>,
    /// One restore is proved, committed or taken back at a time.
    restoring: Mutex<()>,
    fences: Arc<Fences>,
}

impl Pocket {
    /// Opens the node in a folder, making it where it is absent.
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        fs::create_dir_all(dir).map_err(|e| io_failed("make folder", dir, &e))?;
        let db = Database::create(dir.join("rows.redb")).map_err(failed)?;
        let txn = db.begin_write().map_err(failed)?;
        catalog::make_tables(&txn)?;
        txn.commit().map_err(failed)?;
        let position = {
            let txn = db.begin_read().map_err(failed)?;
            let meta = txn.open_table(META).map_err(failed)?;
            catalog::number(&meta, "position")?
        };
        Ok(Self {
            db,
            dir: dir.to_owned(),
            position: AtomicU64::new(position),
            pinning: Mutex::new(()),
            restoring: Mutex::new(()),
            fences: Arc::default(),
        })
    }

    /// Makes a table, and its database where that is absent.
    pub(crate) fn create_table(&self, database: &str, name: &str, form: Form) -> Result<(), Error> {
        check_object("database", database)?;
        check_object("table", name)?;
        self.change(|txn| {
            if catalog::table(txn, database, name)?.is_some() {
                let text = format!("table '{database}.{name}' exists already");
                return Err(Error::new(ErrorKind::Exists, text));
            }
            txn.open_table(DATABASES)
                .map_err(failed)?
                .insert(database, ())
                .map_err(failed)?;
            catalog::put_table(
                txn,
                database,
                name,
                &TableRecord::new(catalog::schema(form)),
            )
        })
    }

    /// Inserts rows into a partition in one transaction, over rows of the same key; makes the
    /// partition where it is absent.
    pub(crate) fn insert<'a>(
        &self,
        database: &str,
        table: &str,
        partition: &str,
        rows: impl IntoIterator<Item = (&'a str, &'a [u8])>,
    ) -> Result<(), Error> {
        check_partition(partition)?;
        self.change(|txn| {
            let mut record = catalog::known_table(txn, database, table)?;
            let at = loadable(txn, &record, (database, table, partition))?;
            let at = match at {
                Some(at) => at,
                None => {
                    let id = catalog::take_id(txn)?;
                    let made = PartitionRecord::new(id, meta(partition), Access::Normal);
                    record.partitions.push(made);
                    record.partitions.len() - 1
                }
            };
            let found = &mut record.partitions[at];
            if found.rows > 0 {
                found.publish(found.version + 1);
            }
            let mut store = txn.open_table(ROWS).map_err(failed)?;
            for (key, value) in rows {
                check_row(key, value)?;
                let old = store.insert((found.tablet, key), value).map_err(failed)?;
                match old.map(|old| old.value().len() as u64) {
                    Some(len) => found.bytes -= len,
                    None => {
                        found.rows += 1;
                        found.bytes += key.len() as u64;
                    }
                }
                found.bytes += value.len() as u64;
            }
            catalog::put_table(txn, database, table, &record)
        })
    }

    /// All rows that users see, by partition. A table that a restore is making refuses to be read; a partition that it makes in
    /// a table of before is not there yet.
    pub(crate) fn scan(
        &self,
        database: &str,
        table: &str,
    ) -> Result<BTreeMap<String, Rows>, Error> {
        let txn = self.db.begin_read().map_err(failed)?;
        let tables = txn.open_table(catalog::TABLES).map_err(failed)?;
        let record = catalog::known(
            catalog::get_table(&tables, database, table)?,
            database,
            table,
        )?;
        if let Access::Restoring(op) = record.access {
            return Err(catalog::busy(database, table, op));
        }
        let store = txn.open_table(ROWS).map_err(failed)?;
        let mut out = BTreeMap::new();
        let made = |access| matches!(access, Access::Restoring(_));
        for partition in record.partitions.iter().filter(|p| !made(p.access)) {
            let rows: &mut Rows = out.entry(partition.meta.name.clone()).or_default();
            let tablet = partition.tablet;
            for row in store
                .range((tablet, "")..(tablet + 1, ""))
                .map_err(failed)?
            {
                let (key, value) = row.map_err(failed)?;
                rows.insert(key.value().1.to_owned(), value.value().to_owned());
            }
        }
        Ok(out)
    }

    /// Drops a table with its rows.
    pub(crate) fn drop_table(&self, database: &str, name: &str) -> Result<(), Error> {
        self.change(|txn| {
            let record = catalog::known_table(txn, database, name)?;
            catalog::check_free(&record, database, name)?;
            for partition in &record.partitions {
                catalog::clear_rows(txn, partition.tablet)?;
            }
            catalog::remove_table(txn, database, name)
        })
    }

    /// One durable transaction. It moves the catalog's position; an error takes all of it back.
    fn change<T>(
        &self,
        work: impl FnOnce(&WriteTransaction) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let txn = self.db.begin_write().map_err(failed)?;
        let done = work(&txn)?;
        let position = catalog::advance(&txn, "position")?;
        txn.commit().map_err(failed)?;
        self.position.fetch_max(position, Ordering::AcqRel);
        Ok(done)
    }
}

/// Where in the record the partition is, if it is; refuses where a restore holds it.
fn loadable(
    txn: &WriteTransaction,
    record: &TableRecord,
    (database, table, partition): (&str, &str, &str),
) -> Result<Option<usize>, Error> {
    let at = record
        .partitions
        .iter()
        .position(|p| p.meta.name == partition);
    if let Some(op) = at.and_then(|at| catalog::holder(record.partitions[at].access)) {
        return Err(catalog::busy(database, table, op));
    }
    if let Some(op) = catalog::holder(record.access) {
        let restore = catalog::restore(txn, op)?;
        let beside = restore.is_some_and(|r| r.spec.allow_load == AllowLoad::UntouchedPartitions);
        // A new partition would be a change of schema, which no restore allows.
        if !beside || at.is_none() {
            return Err(catalog::busy(database, table, op));
        }
    }
    Ok(at)
}

/// Keys are as data files may be called, so that any table may be dumped in any form.
fn check_row(key: &str, value: &[u8]) -> Result<(), Error> {
    check_file(key)?;
    if value.len() > MAX_VALUE {
        let text = format!(
            "the value of row '{}' has {} bytes, expected at most {MAX_VALUE}",
            key.escape_debug(),
            value.len()
        );
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    Ok(())
}

/// A partition as users make it: it takes the rows that they put into it by its name.
fn meta(name: &str) -> PartitionMeta {
    PartitionMeta {
        name: name.to_owned(),
        bounds: Bounds::List {
            items: vec![vec![name.to_owned()]],
        },
        buckets: 1,
        replication_num: 1,
    }
}

/// Milliseconds since the epoch.
fn now_ms() -> u64 {
    let age = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(age.as_millis()).unwrap_or(u64::MAX)
}

/// An error of the row store.
fn failed(e: impl Into<redb::Error>) -> Error {
    let e = e.into();
    let kind = match &e {
        redb::Error::Corrupted(_) => ErrorKind::Damaged,
        redb::Error::DatabaseAlreadyOpen => ErrorKind::Locked,
        redb::Error::Io(e) if e.kind() == std::io::ErrorKind::StorageFull => ErrorKind::Full,
        _ => ErrorKind::Io,
    };
    Error::new(kind, format!("row store: {e}"))
}

/// An error of the file system.
fn io_failed(what: &str, path: &Path, e: &std::io::Error) -> Error {
    let kind = match e.kind() {
        std::io::ErrorKind::StorageFull => ErrorKind::Full,
        _ => ErrorKind::Io,
    };
    Error::new(kind, format!("cannot {what} '{}': {e}", path.display()))
}

/// Makes the names in a folder durable.
fn sync_dir(dir: &Path) -> Result<(), Error> {
    let synced = fs::File::open(dir).and_then(|dir| dir.sync_all());
    synced.map_err(|e| io_failed("sync folder", dir, &e))
}

/// Removes a folder with what is in it; it may be absent.
fn remove_tree(dir: &Path) -> Result<(), Error> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(io_failed("remove", dir, &e)),
        _ => Ok(()),
    }
}
