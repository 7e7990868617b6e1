//! Export: the files of a table, each proved by its hash, written under their own names to a folder
//! of the user's.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::disk::{PIECE, failed, make_dirs, unreadable};
use super::ingest::{Meter, Progress};
use super::lists::read_list;
use super::load::read_ids;
use super::state::ListRef;
use super::{LocalStorage, parallel};
use crate::digest::Digest;
use crate::model::FileEntry;
use crate::names::DiskKey;
use crate::{Error, ErrorKind};

/// What to export, and where to.
pub struct ExportRequest<'a> {
    /// The database.
    pub database: String,
    /// The table.
    pub table: String,
    /// One partition; `None` = all.
    pub partition: Option<String>,
    /// The folder to write to; made where it is absent, else it must be empty.
    pub to: PathBuf,
    /// Called now and then, from several threads.
    pub progress: Option<&'a (dyn Fn(Progress) + Sync)>,
}

impl ExportRequest<'_> {
    /// An export of a whole table.
    pub fn new(database: &str, table: &str, to: impl Into<PathBuf>) -> Self {
        Self {
            database: database.to_owned(),
            table: table.to_owned(),
            partition: None,
            to: to.into(),
            progress: None,
        }
    }
}

/// What an export did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExportReport {
    /// Partitions written.
    pub partitions: u64,
    /// Files written.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Replicas found missing or damaged on the way, another one having served; one line each.
    pub faults: Vec<String>,
}

/// A chunk to be written out.
struct Piece {
    partition: String,
    chunk: u64,
    list: ListRef,
    folders: Vec<PathBuf>,
}

impl LocalStorage {
    /// Writes `to/<partition>/<path>` for each file, comparing each hash while copying. Where a
    /// replica is damaged, another one serves and the report says so.
    ///
    /// # Errors
    /// `NotFound`; `Exists` where `to` is not empty; `Busy` where a restore has not finished the
    /// table; `Damaged` where no replica of a file is whole; `Full`, `Io`.
    pub fn export(&self, request: &ExportRequest<'_>) -> Result<ExportReport, Error> {
        self.check_exportable(request)?;
        prepare_target(&request.to)?;
        let (names, pieces) = self.plan_export(request)?;
        let chunks: Vec<_> = pieces.iter().map(|p| (p.chunk, p.list)).collect();
        let done = self.write_out(request, &names, &pieces);
        self.end_read(&read_ids(&chunks));
        done
    }

    /// The refusals that need no folder, before one is made.
    fn check_exportable(&self, request: &ExportRequest<'_>) -> Result<(), Error> {
        let state = self.ledger.read();
        let table = state.table_id(&request.database, &request.table)?;
        let Some(name) = &request.partition else {
            return Ok(());
        };
        state.check_readable(state.partition_id(table, name)?)
    }

    /// What to write; its chunks are being read until `end_read`.
    fn plan_export(&self, request: &ExportRequest<'_>) -> Result<(Vec<String>, Vec<Piece>), Error> {
        let state = self.ledger.read();
        let table = state.table_id(&request.database, &request.table)?;
        let partitions = match &request.partition {
            Some(name) => vec![state.partition_id(table, name)?],
            None => state.table(table)?.partitions.clone(),
        };
        let (mut names, mut pieces) = (Vec::new(), Vec::new());
        for id in partitions {
            state.check_readable(id)?;
            let partition = state.partition(id)?;
            names.push(partition.meta.name.clone());
            for tablet_id in partition.tablets() {
                let tablet = state.tablet(tablet_id)?;
                for chunk in &tablet.chunks {
                    let mut folders = Vec::new();
                    for backend in &tablet.replicas {
                        let dir = self.layout.backend(&state.backend(*backend)?.name);
                        folders.push(dir.chunk(tablet_id, *chunk));
                    }
                    pieces.push(Piece {
                        partition: partition.meta.name.clone(),
                        chunk: *chunk,
                        list: state.chunk(*chunk)?.list,
                        folders,
                    });
                }
            }
        }
        let chunks: Vec<_> = pieces.iter().map(|p| (p.chunk, p.list)).collect();
        self.begin_read(&read_ids(&chunks));
        Ok((names, pieces))
    }

    fn write_out(
        &self,
        request: &ExportRequest<'_>,
        names: &[String],
        pieces: &[Piece],
    ) -> Result<ExportReport, Error> {
        for name in names {
            make_dirs(&request.to.join(name))?;
        }
        let mut work = Vec::new();
        for piece in pieces {
            let files = read_list(&self.layout, &piece.list)?;
            work.extend(files.into_iter().map(|file| (file, piece)));
        }
        let bytes = work.iter().map(|(file, _)| file.len).sum();
        let meter = Meter::with_totals(request.progress, work.len() as u64, bytes);
        let faults = Mutex::new(Vec::new());
        parallel::for_each(self.threads, &work, |(file, piece)| {
            let to = request.to.join(&piece.partition).join(&file.name);
            copy_out(file, piece, &to, &meter, &faults)
        })?;
        let mut faults = faults.into_inner();
        faults.sort_unstable();
        let (partitions, files) = (names.len() as u64, work.len() as u64);
        Ok(ExportReport {
            partitions,
            files,
            bytes,
            faults,
        })
    }
}

fn prepare_target(to: &Path) -> Result<(), Error> {
    make_dirs(to)?;
    let mut entries = fs::read_dir(to).map_err(|e| failed("list", to, &e))?;
    if entries.next().is_some() {
        let text = format!("folder '{}' is not empty", to.display());
        return Err(Error::new(ErrorKind::Exists, text));
    }
    Ok(())
}

fn copy_out(
    file: &FileEntry,
    piece: &Piece,
    to: &Path,
    meter: &Meter<'_>,
    faults: &Mutex<Vec<String>>,
) -> Result<(), Error> {
    if let Some(parent) = to.parent() {
        make_dirs(parent)?;
    }
    let key = DiskKey::of(&file.name).file_name();
    let mut last = None;
    for folder in &piece.folders {
        match copy_proved(file, &folder.join(&key), to) {
            Ok(()) => {
                meter.bytes(file.len);
                meter.file();
                faults.lock().extend(last.map(|e: Error| e.to_string()));
                return Ok(());
            }
            Err(e) if e.kind() == ErrorKind::ReplicaFault => last = Some(e),
            Err(e) => return Err(e),
        }
    }
    let why = last.map_or_else(|| "it has no replica".to_owned(), |e| e.to_string());
    let name = file.name.escape_debug();
    let partition = piece.partition.escape_debug();
    // Half a file under the user's name would pass for the whole one.
    let _ = fs::remove_file(to);
    Err(Error::new(
        ErrorKind::Damaged,
        format!("no replica of file '{name}' of partition '{partition}' is whole: {why}"),
    ))
}

fn copy_proved(file: &FileEntry, from: &Path, to: &Path) -> Result<(), Error> {
    let mut source = File::open(from).map_err(|e| unreadable(from, &e))?;
    let mut target = File::create(to).map_err(|e| failed("create", to, &e))?;
    let mut buffer = vec![0_u8; PIECE.min(file.len as usize + 1)];
    let mut digest = Digest::new();
    loop {
        let got = match source.read(&mut buffer) {
            Ok(0) => break,
            Ok(got) => got,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(unreadable(from, &e)),
        };
        digest.update(&buffer[..got]);
        target
            .write_all(&buffer[..got])
            .map_err(|e| failed("write", to, &e))?;
    }
    let found = digest.finish();
    if found.agrees_with(file) {
        return Ok(());
    }
    Err(Error::new(
        ErrorKind::ReplicaFault,
        format!(
            "data file '{}' of '{}' has {} bytes and hash {}, expected {} bytes and hash {}",
            from.display(),
            file.name.escape_debug(),
            found.len,
            found.hash,
            file.len,
            file.hash
                .map_or_else(|| "unknown".to_owned(), |h| h.to_string())
        ),
    ))
}
