//! Ingestion: copies the files of a load to all replicas of their tablets, hashing each in the same
//! pass, and makes them durable. Knows nothing of the catalog; what it wrote is named by nobody
//! yet.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};

use super::disk::{PIECE, WriteBack, create_new, failed, make_dirs, remove_tree, sync_file};
use super::walk::Source;
use super::{LocalStorage, parallel, source_failed};
use crate::digest::{Digest, Digested};
use crate::model::FileEntry;
use crate::names::DiskKey;
use crate::{Error, ErrorKind};

/// Files from this length on are synced as soon as they are written, beside the copying of others.
const SYNC_AT_ONCE: u64 = 1024 * 1024;

/// How far a load or export is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Files done.
    pub files: u64,
    /// All files.
    pub files_total: u64,
    /// Bytes done.
    pub bytes: u64,
    /// All bytes, as far as known.
    pub bytes_total: u64,
}

/// What one tablet gets.
pub(super) struct TabletLoad {
    pub(super) chunk: u64,
    pub(super) tablet: u64,
    /// The chunk's folder on each replica.
    pub(super) folders: Vec<PathBuf>,
    /// Places in the list of sources, in name order.
    pub(super) files: Vec<usize>,
}

impl LocalStorage {
    /// Copies all files to all replicas and makes them durable. Returns an entry for each source.
    pub(super) fn ingest(
        &self,
        tablets: &[TabletLoad],
        sources: &[Source],
        progress: Option<&(dyn Fn(Progress) + Sync)>,
    ) -> Result<Vec<FileEntry>, Error> {
        for folder in tablets.iter().flat_map(|t| &t.folders) {
            make_chunk_dir(folder)?;
        }
        let mut work = Vec::new();
        for tablet in tablets {
            work.extend(tablet.files.iter().map(|i| (*i, tablet)));
        }
        let meter = Meter::new(progress, sources);
        let slots: Vec<OnceLock<Digested>> = vec![Default::default(); sources.len()];
        parallel::for_each(self.threads, &work, |(i, tablet)| {
            let source = &sources[*i];
            let found = copy_in(source, &tablet.folders, &meter)?;
            // Each slot is filled once, by the worker that took its file.
            let _ = slots[*i].set(found);
            Ok(())
        })?;
        let late: Vec<_> = work
            .iter()
            .filter(|(i, _)| sources[*i].len < SYNC_AT_ONCE)
            .collect();
        parallel::for_each(self.threads * 2, &late, |(i, tablet)| {
            let key = DiskKey::of(&sources[*i].name).file_name();
            tablet
                .folders
                .iter()
                .try_for_each(|folder| sync_file(&folder.join(&key)))
        })?;
        let mut dirs = BTreeSet::new();
        for folder in tablets.iter().flat_map(|t| &t.folders) {
            dirs.extend(folder.ancestors().take(3).map(Path::to_owned));
        }
        self.sync_all_dirs(&dirs.into_iter().collect::<Vec<_>>())?;
        let entries = sources.iter().zip(slots).map(|(source, slot)| {
            let found = slot.into_inner().ok_or_else(|| {
                Error::new(
                    ErrorKind::Io,
                    format!("'{}' was not copied", source.path.display()),
                )
            })?;
            Ok(FileEntry {
                name: source.name.clone(),
                len: found.len,
                hash: Some(found.hash),
                segments: found.segments,
            })
        });
        entries.collect()
    }
}

/// Makes a chunk's folder new. The tablet's folder may go away meanwhile, when its last chunk is
/// deleted.
fn make_chunk_dir(folder: &Path) -> Result<(), Error> {
    remove_tree(folder)?;
    let mut tries = 0;
    loop {
        match make_dirs(folder) {
            Err(_) if tries < 8 => tries += 1,
            other => return other,
        }
    }
}

/// Copies one file to all its replicas, hashing it on the way.
fn copy_in(source: &Source, folders: &[PathBuf], meter: &Meter<'_>) -> Result<Digested, Error> {
    let path = &source.path;
    let mut from = File::open(path).map_err(|e| source_failed("read", path, &e))?;
    let key = DiskKey::of(&source.name).file_name();
    let mut targets = Vec::new();
    for folder in folders {
        let path = folder.join(&key);
        targets.push((create_new(&path)?, path));
    }
    let mut buffer = vec![0_u8; PIECE.min(source.len as usize + 1)];
    let mut digest = Digest::new();
    let mut write_back: Vec<WriteBack> = folders.iter().map(|_| WriteBack::default()).collect();
    loop {
        let got = match from.read(&mut buffer) {
            Ok(0) => break,
            Ok(got) => got,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(source_failed("read", path, &e)),
        };
        digest.update(&buffer[..got]);
        for ((file, path), write_back) in targets.iter_mut().zip(&mut write_back) {
            let written = file.write_all(&buffer[..got]);
            written.map_err(|e| failed("write", path, &e))?;
            write_back.wrote(file, digest.seen());
        }
        meter.bytes(got as u64);
    }
    let found = digest.finish();
    if found.len != source.len {
        let text = format!(
            "'{}' changed while it was loaded: it had {} bytes, {} were read",
            path.display(),
            source.len,
            found.len
        );
        return Err(Error::new(ErrorKind::Invalid, text));
    }
    if source.len >= SYNC_AT_ONCE {
        for (file, path) in &targets {
            file.sync_data().map_err(|e| failed("sync", path, &e))?;
        }
    }
    meter.file();
    Ok(found)
}

/// Counts what is done and tells the caller now and then.
pub(super) struct Meter<'a> {
    tell: Option<&'a (dyn Fn(Progress) + Sync)>,
    files: AtomicU64,
    bytes: AtomicU64,
    files_total: u64,
    bytes_total: u64,
}

impl<'a> Meter<'a> {
    fn new(tell: Option<&'a (dyn Fn(Progress) + Sync)>, sources: &[Source]) -> Self {
        Self::with_totals(
            tell,
            sources.len() as u64,
            sources.iter().map(|s| s.len).sum(),
        )
    }

    pub(super) fn with_totals(
        tell: Option<&'a (dyn Fn(Progress) + Sync)>,
        files_total: u64,
        bytes_total: u64,
    ) -> Self {
        let (files, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        Self {
            tell,
            files,
            bytes,
            files_total,
            bytes_total,
        }
    }

    pub(super) fn bytes(&self, count: u64) {
        self.bytes.fetch_add(count, Ordering::Relaxed);
        if count >= PIECE as u64 {
            self.report(self.files.load(Ordering::Relaxed));
        }
    }

    pub(super) fn file(&self) {
        let files = self.files.fetch_add(1, Ordering::Relaxed) + 1;
        if files.is_multiple_of(64) || files == self.files_total {
            self.report(files);
        }
    }

    fn report(&self, files: u64) {
        if let Some(tell) = self.tell {
            tell(Progress {
                files,
                files_total: self.files_total,
                bytes: self.bytes.load(Ordering::Relaxed),
                bytes_total: self.bytes_total,
            });
        }
    }
}
