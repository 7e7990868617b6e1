//! Lists of data files: which files a chunk holds, kept in list files beside the catalog so that
//! events stay small.
//!
//! One list file holds the lists of all chunks of one transaction. A list is found by its place and
//! proved by its hash, which the catalog keeps.

use std::fs::File;
use std::os::unix::fs::FileExt;

use super::disk::{Layout, failed, sync_dir, write_synced};
use super::events::Chunk;
use super::state::ListRef;
use crate::model::{FileEntry, FileHash};
use crate::{Error, ErrorKind};

/// Gathers the lists of one transaction.
pub(crate) struct ListWriter {
    id: u64,
    bytes: Vec<u8>,
    chunks: Vec<Chunk>,
}

impl ListWriter {
    pub(crate) fn new(id: u64) -> Self {
        Self {
            id,
            bytes: Vec::new(),
            chunks: Vec::new(),
        }
    }

    /// Adds a chunk's list, in name order.
    pub(crate) fn add(&mut self, id: u64, tablet: u64, files: &[FileEntry]) -> Result<(), Error> {
        let bytes = encode(files)?;
        self.chunks.push(Chunk {
            id,
            tablet,
            offset: self.bytes.len() as u64,
            len: bytes.len() as u64,
            hash: FileHash::of(&bytes).0,
            files: files.len() as u64,
            bytes: files.iter().map(|f| f.len).sum(),
        });
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    /// Writes the list file durably; returns its id and the chunks as events name them.
    pub(crate) fn finish(self, layout: &Layout) -> Result<(u64, Vec<Chunk>), Error> {
        if !self.chunks.is_empty() {
            write_synced(&layout.list(self.id), &self.bytes)?;
            sync_dir(&layout.lists())?;
        }
        Ok((self.id, self.chunks))
    }
}

/// Reads one chunk's list, in name order.
pub(crate) fn read_list(layout: &Layout, place: &ListRef) -> Result<Vec<FileEntry>, Error> {
    let path = layout.list(place.list);
    let mut bytes = vec![0_u8; place.len as usize];
    let read = File::open(&path).and_then(|file| file.read_exact_at(&mut bytes, place.offset));
    read.map_err(|e| {
        Error::new(
            ErrorKind::Damaged,
            failed("read list of files", &path, &e).message(),
        )
    })?;
    if FileHash::of(&bytes).0 != place.hash {
        return Err(Error::new(
            ErrorKind::Damaged,
            format!(
                "list of files '{}' at {} does not agree with its hash",
                path.display(),
                place.offset
            ),
        ));
    }
    decode(&bytes)
}

pub(crate) fn encode(files: &[FileEntry]) -> Result<Vec<u8>, Error> {
    postcard::to_stdvec(files).map_err(|e| {
        Error::new(
            ErrorKind::Invalid,
            format!("list of files cannot be kept: {e}"),
        )
    })
}

pub(crate) fn decode(bytes: &[u8]) -> Result<Vec<FileEntry>, Error> {
    postcard::from_bytes(bytes).map_err(|e| {
        Error::new(
            ErrorKind::Damaged,
            format!("list of files is not readable: {e}"),
        )
    })
}
