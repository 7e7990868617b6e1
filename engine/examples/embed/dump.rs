//! Rows to data files and back: the only place that knows what lies in a data file.
//!
//! The same rows always give the same bytes, so that a table that has not changed costs a second
//! backup nothing. What comes back is input from outside: every length is checked before it is
//! used.

use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;

use holdfast_storage::{Error, ErrorKind, FileEntry, FileHash};

use super::catalog::PinnedFile;
use super::{Form, check_row, io_failed};

/// A packed file that has reached this many bytes takes no further row. With the longest key and
/// value on top it stays below the length from which on data files have several hashes.
const CUT: u64 = 32 * 1024 * 1024;

/// The first bytes of a packed file.
const MAGIC: &[u8] = b"pocket 1";

/// The export of one tablet: all its data files, one after the other in one file on disk.
pub(super) struct Dump<'a> {
    form: Form,
    path: &'a Path,
    out: BufWriter<File>,
    files: Vec<PinnedFile>,
    /// The file that is being written.
    hasher: blake3::Hasher,
    name: String,
    start: u64,
    at: u64,
}

impl<'a> Dump<'a> {
    pub(super) fn create(form: Form, path: &'a Path) -> Result<Self, Error> {
        let out = File::create(path).map_err(|e| io_failed("create", path, &e))?;
        Ok(Self {
            form,
            path,
            out: BufWriter::new(out),
            files: Vec::new(),
            hasher: blake3::Hasher::new(),
            name: String::new(),
            start: 0,
            at: 0,
        })
    }

    /// Takes the next row; they come in the order of their keys.
    pub(super) fn row(&mut self, key: &str, value: &[u8]) -> Result<(), Error> {
        match self.form {
            Form::Loose => {
                self.begin(key.to_owned());
                self.put(value)?;
                self.end();
            }
            Form::Packed => {
                if self.name.is_empty() {
                    self.begin(format!("rows-{:06}", self.files.len()));
                    self.put(MAGIC)?;
                }
                for part in [key.as_bytes(), value] {
                    self.put(&(part.len() as u32).to_le_bytes())?;
                    self.put(part)?;
                }
                if self.at - self.start >= CUT {
                    self.end();
                }
            }
        }
        Ok(())
    }

    /// Makes the export durable and says where each of its data files is.
    pub(super) fn finish(mut self) -> Result<Vec<PinnedFile>, Error> {
        if !self.name.is_empty() {
            self.end();
        }
        let synced = self
            .out
            .flush()
            .and_then(|()| self.out.get_ref().sync_all());
        synced.map_err(|e| io_failed("write", self.path, &e))?;
        Ok(self.files)
    }

    fn begin(&mut self, name: String) {
        self.hasher = blake3::Hasher::new();
        self.name = name;
        self.start = self.at;
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        self.out
            .write_all(bytes)
            .map_err(|e| io_failed("write", self.path, &e))
    }

    fn end(&mut self) {
        let entry = FileEntry {
            name: std::mem::take(&mut self.name),
            len: self.at - self.start,
            hash: Some(FileHash(*self.hasher.finalize().as_bytes())),
            segments: Vec::new(),
        };
        self.files.push(PinnedFile {
            entry,
            offset: self.start,
        });
    }
}

/// Gives the rows of one data file to `take`.
pub(super) fn rows(
    form: Form,
    name: &str,
    bytes: &[u8],
    mut take: impl FnMut(&str, &[u8]) -> Result<(), Error>,
) -> Result<(), Error> {
    if form == Form::Loose {
        check_row(name, bytes)?;
        return take(name, bytes);
    }
    let wrong = |what: &str| {
        let text = format!("data file '{}' {what}", name.escape_debug());
        Error::new(ErrorKind::Invalid, text)
    };
    let mut rest = bytes
        .strip_prefix(MAGIC)
        .ok_or_else(|| wrong("does not begin as packed rows"))?;
    while !rest.is_empty() {
        let key = part(&mut rest).ok_or_else(|| wrong("ends within a key"))?;
        let key = std::str::from_utf8(key).map_err(|_| wrong("has a key that is not UTF-8"))?;
        let value = part(&mut rest).ok_or_else(|| wrong("ends within a value"))?;
        check_row(key, value)?;
        take(key, value)?;
    }
    Ok(())
}

/// Splits one part with its length before it off the front; `None` where there is too little.
fn part<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, after) = rest.split_first_chunk::<4>()?;
    let (part, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize)?;
    *rest = after;
    Some(part)
}
