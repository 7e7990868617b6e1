//! The rules of the [`Storage`] contract as a suite that any implementation runs.
//!
//! An embedder implements [`Harness`] over their storage and calls [`run`] in a test. The suite
//! asks for nothing that the contract leaves open: no replicas, no known hashes, no reuse of local
//! files.

mod backup;
mod restore;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::sync::Arc;

use crate::model::{
    AllowLoad, FileEntry, FileHash, Make, OpId, Pin, PinRequest, PinTable, RestorePartition,
    RestoreSpec, RestoreTable, SEGMENT_BYTES, TableInfo, Targets, Token,
};
use crate::{Error, ErrorKind, Staging, Storage};

/// Data files by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What the suite needs besides the contract: one storage that keeps its data, and a user's loads
/// and reads.
pub trait Harness {
    /// Opens the storage, again from the second call on, as a new start of the node would. The
    /// suite has dropped every earlier handle. What was there stays.
    ///
    /// # Errors
    /// Whatever opening reports.
    fn open(&self) -> Result<Arc<dyn Storage>, Error>;

    /// Appends files to a partition of a table in the storage opened last; makes what is absent.
    ///
    /// # Errors
    /// `Busy` where a restore refuses it.
    fn load(
        &self,
        database: &str,
        table: &str,
        partition: &str,
        files: &Files,
    ) -> Result<(), Error>;

    /// All files that users see, by partition.
    ///
    /// # Errors
    /// `NotFound`; `Busy` where a restore has not finished the table.
    fn read(&self, database: &str, table: &str) -> Result<BTreeMap<String, Files>, Error>;

    /// Drops a table.
    ///
    /// # Errors
    /// `NotFound`; `Busy` where a restore holds it.
    fn drop_table(&self, database: &str, table: &str) -> Result<(), Error>;
}

/// A rule that the storage does not keep.
#[derive(Debug, Clone)]
pub struct Violation {
    rule: &'static str,
    text: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "rule '{}': {}", self.rule, self.text)
    }
}

impl std::error::Error for Violation {}

/// What went wrong within a rule.
struct Broken(String);

impl From<Error> for Broken {
    fn from(e: Error) -> Self {
        Self(format!("{:?} error where none was expected: {e}", e.kind()))
    }
}

type Outcome<T = ()> = Result<T, Broken>;
type Rule = (&'static str, fn(&mut Suite<'_>) -> Outcome);

/// Runs every rule. They use databases of their own, `conformance_1` and on, and operations from
/// 9001 on.
///
/// # Errors
/// The first rule that is broken.
pub fn run(harness: &dyn Harness) -> Result<(), Violation> {
    let rules = backup::RULES.iter().chain(restore::RULES);
    for (i, (rule, check)) in rules.enumerate() {
        let storage = harness.open();
        let fail = |text| Violation { rule, text };
        let storage = storage.map_err(|e| fail(format!("cannot open: {e}")))?;
        let database = format!("conformance_{}", i + 1);
        let op = OpId(9_001 + 100 * i as u64);
        let mut suite = Suite {
            harness,
            storage: Some(storage),
            database,
            op,
        };
        check(&mut suite).map_err(|Broken(text)| fail(text))?;
    }
    Ok(())
}

/// What one rule works with.
struct Suite<'a> {
    harness: &'a dyn Harness,
    storage: Option<Arc<dyn Storage>>,
    database: String,
    op: OpId,
}

impl Suite<'_> {
    fn s(&self) -> Outcome<&dyn Storage> {
        self.storage
            .as_deref()
            .ok_or_else(|| Broken("the storage is not open".to_owned()))
    }

    /// A start of the node after an end without warning.
    fn reopen(&mut self) -> Outcome {
        self.storage = None;
        self.storage = Some(self.harness.open()?);
        Ok(())
    }

    fn load(&self, table: &str, partition: &str, files: &Files) -> Outcome {
        Ok(self.harness.load(&self.database, table, partition, files)?)
    }

    fn read(&self, table: &str) -> Outcome<BTreeMap<String, Files>> {
        Ok(self.harness.read(&self.database, table)?)
    }

    fn pin_request(&self, tables: &[&str]) -> PinRequest {
        let table = |name: &&str| PinTable {
            name: (*name).to_owned(),
            partitions: None,
        };
        PinRequest {
            database: self.database.clone(),
            tables: tables.iter().map(table).collect(),
        }
    }

    /// Links and reads everything a pin holds: partition by partition of its first table.
    fn read_pinned(&self, op: OpId, pin: &Pin) -> Outcome<BTreeMap<String, Files>> {
        let s = self.s()?;
        let mut out = BTreeMap::new();
        for partition in pin.tables.iter().take(1).flat_map(|t| &t.partitions) {
            let files: &mut Files = out.entry(partition.meta.name.clone()).or_default();
            for tablet in &partition.tablets {
                let [backend, ..] = tablet.replicas[..] else {
                    return Err(Broken(format!(
                        "pinned tablet {} has no replica",
                        tablet.id
                    )));
                };
                s.link(op, backend, &[tablet.id])?;
                s.link(op, backend, &[tablet.id])?;
                let entries = s.pinned_files(op, tablet.id)?;
                ensure(
                    entries.is_sorted_by(|a, b| a.name < b.name),
                    "files are in name order",
                )?;
                ensure(
                    entries.len() as u64 == tablet.files,
                    "the pin counts the files",
                )?;
                for entry in entries {
                    let bytes = read_file(s, op, backend, tablet.id, &entry)?;
                    files.insert(entry.name, bytes);
                }
            }
        }
        Ok(out)
    }

    fn table(&self, name: &str) -> Outcome<TableInfo> {
        let tables = self.s()?.tables(&self.database)?;
        let found = tables.into_iter().find(|t| t.name == name);
        found.ok_or_else(|| Broken(format!("table '{name}' is not listed")))
    }

    /// A spec that restores a table like `like` as `name`.
    fn spec(&self, like: &TableInfo, name: &str, make: Make) -> RestoreSpec {
        let partitions = like.partitions.iter().map(|p| RestorePartition {
            meta: p.meta.clone(),
            partition: make,
        });
        let table = RestoreTable {
            name: name.to_owned(),
            schema: like.schema.clone(),
            table: make,
            partitions: partitions.collect(),
        };
        RestoreSpec {
            database: self.database.clone(),
            tables: vec![table],
            allow_load: AllowLoad::No,
            drop_tables: Vec::new(),
            drop_partitions: Vec::new(),
        }
    }

    /// Stages and writes the same files for every partition of every target, on every replica.
    fn fill(&self, op: OpId, token: Token, targets: &Targets, files: &Files) -> Outcome {
        let s = self.s()?;
        for tablet in targets
            .tables
            .iter()
            .flat_map(|t| &t.partitions)
            .flat_map(|p| {
                let count = p.tablets.len();
                p.tablets.iter().map(move |t| (t, count))
            })
        {
            let (tablet, count) = tablet;
            let mine: Vec<(&String, &Vec<u8>)> = files
                .iter()
                .skip(tablet.bucket as usize)
                .step_by(count)
                .collect();
            let list: Vec<FileEntry> = mine.iter().map(|(name, b)| entry(name, b)).collect();
            for backend in &tablet.replicas {
                s.stage(op, token, *backend, tablet.id, &list)?;
                for ((_, bytes), entry) in mine.iter().zip(&list) {
                    match s.stage_file(op, token, *backend, tablet.id, entry)? {
                        Staging::Done => {}
                        Staging::Write(mut file) => {
                            for piece in bytes.chunks(7) {
                                file.write(piece)?;
                            }
                            file.finish()?;
                        }
                    }
                }
                s.settle(op, token, *backend, &[tablet.id])?;
            }
        }
        Ok(())
    }
}

/// What a list says of this file.
fn entry(name: &str, bytes: &[u8]) -> FileEntry {
    let segments = match bytes.len() as u64 > SEGMENT_BYTES {
        true => bytes
            .chunks(SEGMENT_BYTES as usize)
            .map(FileHash::of)
            .collect(),
        false => Vec::new(),
    };
    let (len, hash) = (bytes.len() as u64, Some(FileHash::of(bytes)));
    FileEntry {
        name: name.to_owned(),
        len,
        hash,
        segments,
    }
}

fn read_file(
    s: &dyn Storage,
    op: OpId,
    backend: crate::BackendId,
    tablet: crate::TabletId,
    entry: &FileEntry,
) -> Outcome<Vec<u8>> {
    let file = s.open(op, backend, tablet, &entry.name)?;
    ensure(
        file.len() == entry.len,
        "an opened file has the length of its entry",
    )?;
    let mut visited = Vec::new();
    file.visit(0..file.len(), &mut |piece| {
        visited.extend_from_slice(piece);
        ControlFlow::Continue(())
    })?;
    let mut read = vec![0; visited.len() + 1];
    let mut at = 0;
    loop {
        let got = file.read_at(at as u64, &mut read[at..])?;
        if got == 0 {
            break;
        }
        at += got;
    }
    ensure(
        at == visited.len() && read[..at] == visited,
        "reads and visits give the same bytes",
    )?;
    let agrees = entry.hash.is_none_or(|hash| hash == FileHash::of(&visited));
    ensure(agrees, "the bytes agree with the hash of the entry")?;
    Ok(visited)
}

fn ensure(holds: bool, what: &str) -> Outcome {
    if holds {
        Ok(())
    } else {
        Err(Broken(format!("does not hold: {what}")))
    }
}

fn same<T: PartialEq + fmt::Debug>(found: &T, expected: &T, what: &str) -> Outcome {
    if found == expected {
        return Ok(());
    }
    Err(Broken(format!(
        "{what}: found {found:?}, expected {expected:?}"
    )))
}

fn refused<T>(result: Result<T, Error>, kind: ErrorKind, what: &str) -> Outcome {
    match result {
        Err(e) if e.kind() == kind => Ok(()),
        Err(e) => Err(Broken(format!(
            "{what}: found {:?} error '{e}', expected {kind:?}",
            e.kind()
        ))),
        Ok(_) => Err(Broken(format!(
            "{what}: succeeded, expected a {kind:?} error"
        ))),
    }
}

/// A few files whose content begins with `word`; names with folders, spaces and other scripts; one
/// empty.
fn some_files(word: &str) -> Files {
    let mut files = Files::new();
    for (i, name) in ["plain", "a folder/ü 漢字", "a folder/deeper/x", "long"]
        .iter()
        .enumerate()
    {
        let bytes = format!("{word} {i} ").repeat(1 + i * i * i * 100);
        files.insert((*name).to_owned(), bytes.into_bytes());
    }
    files.insert("empty".to_owned(), Vec::new());
    files
}
