//! Archives: whole leading segments of a log, moved into one compressed file each.
//!
//! An archive proves itself (hashes over all of it) and its place (the chain hashes before and after
//! it), so that archives and log read as one history and a missing or changed one is found and
//! named. `format` owns the bytes, `make` writes one, `read` reads one, `mend` is what an opening
//! does about an act that was cut short. Which records may go is the owner's business.

mod format;
mod make;
mod mend;
mod read;

use std::io;

use serde::{Serialize, Serializer};

use crate::{
    anchor::Anchor,
    disk::Disk,
    error::{Error, ErrorKind},
    ids::{FrameHash, Seq},
    transaction::Tip,
};

pub(crate) use make::{Leading, make};
pub(crate) use mend::{find as find_mending, mend, remove_segments, take_back};
pub(crate) use read::Archive;
pub use read::ArchiveFile;

/// The folder of the archives, beside the segments.
pub(crate) const ARCHIVE_FOLDER: &str = "archive";
/// The most bytes that a description may have.
pub(crate) const DESCRIPTION_MAX_BYTES: usize = 64 << 10;
const SUFFIX: &str = ".archive";
const UNFINISHED: &str = ".archive.new";

/// Which records may leave a log, and what the archive says of itself.
#[derive(Clone, Copy, Debug)]
pub struct ArchiveRequest<'a> {
    /// Records before this one may leave. Whole segments move, so some of them may stay.
    pub before: Seq,
    /// The projection without whose checkpoint nothing is moved: the newest whole one must include
    /// every record that leaves. It is named in the anchor and kept while the anchor needs it.
    pub projection: &'a str,
    /// What the archive is to say of itself, in the caller's own form; at most 64 KiB.
    pub description: &'a [u8],
    /// The wall clock now, milliseconds since 1970.
    pub at_ms: u64,
}

/// What an archive says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct ArchiveInfo {
    /// Its file, relative to the journal's folder.
    pub file: String,
    /// Its first record.
    pub first: Seq,
    /// Its last record.
    pub last: Seq,
    /// The chain hash before its first record.
    pub hash_before: FrameHash,
    /// The chain hash at its last record.
    pub hash: FrameHash,
    /// The earliest wall clock of its records, milliseconds since 1970.
    pub earliest_ms: u64,
    /// The latest wall clock of its records.
    pub latest_ms: u64,
    /// When it was made.
    pub made_ms: u64,
    /// What its maker said of it.
    #[serde(serialize_with = "as_text")]
    pub description: Vec<u8>,
    /// Segments in it.
    pub segments: u64,
    /// Bytes that they had in the log.
    pub log_bytes: u64,
    /// Bytes of the file.
    pub file_bytes: u64,
}

fn as_text<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&String::from_utf8_lossy(bytes))
}

/// The archives of a journal that can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Archives {
    /// Those that lead up to the log without a gap, in order.
    pub found: Vec<ArchiveInfo>,
    /// Which file with earlier records is not there or not whole, and why; `None` where the first
    /// record of the journal is at hand.
    pub missing: Option<String>,
}

/// Archives that lead up to a log without a gap.
pub(crate) struct Chain {
    pub(crate) found: Vec<Archive>,
    pub(crate) missing: Option<String>,
    /// What is missing is there and not whole, or not the one that belongs there.
    flawed: bool,
    /// The first record of the log behind them.
    log_first: Seq,
}

impl Chain {
    /// The archives that end just before `base`'s next record, as far back as they go.
    pub(crate) fn find(disk: &dyn Disk, family: u32, anchor: &Anchor) -> Result<Self, Error> {
        let log_first = anchor.tip.seq.next();
        let mut chain = Self {
            found: Vec::new(),
            missing: None,
            flawed: false,
            log_first,
        };
        let named = file_name(anchor.archive_first, anchor.tip.seq);
        let (inner, names) = match folder(disk)? {
            Some(inner) => {
                let names = list(&*inner)?;
                (Some(inner), names)
            }
            None => (None, Vec::new()),
        };
        let mut need = anchor.tip;
        while need.seq > Seq::ZERO {
            let at_anchor = need.seq == anchor.tip.seq;
            let next = inner.as_deref().map_or(Ok(None), |inner| {
                ending_with(inner, &names, family, (need, anchor.archive_hash))
            });
            match next {
                Ok(Some(archive)) => {
                    need = archive.before();
                    chain.found.push(archive);
                }
                other => {
                    chain.flawed = other.is_err();
                    let name = if at_anchor {
                        format!("{ARCHIVE_FOLDER}/{named}")
                    } else {
                        format!("{ARCHIVE_FOLDER}/*-{:020}{SUFFIX}", need.seq.get())
                    };
                    let why = other.err().unwrap_or_else(|| "it is not there".to_owned());
                    chain.missing = Some(format!(
                        "{name}, the archive that ends with record {}: {why}",
                        need.seq
                    ));
                    break;
                }
            }
        }
        chain.found.reverse();
        Ok(chain)
    }

    /// Of a log that holds every record.
    pub(crate) fn empty(log_first: Seq) -> Self {
        Self {
            found: Vec::new(),
            missing: None,
            flawed: false,
            log_first,
        }
    }

    /// The first record of the log behind them.
    pub(crate) fn log_first(&self) -> Seq {
        self.log_first
    }

    /// The first record at hand.
    pub(crate) fn origin(&self) -> Seq {
        self.found.first().map_or(self.log_first, Archive::first)
    }

    /// The refusal to read what is not at hand.
    pub(crate) fn gone(&self) -> Error {
        let missing = self.missing.as_deref().unwrap_or("an archive");
        Error::new(
            ErrorKind::NotFound,
            format!(
                "records before {} were archived and moved away, put back {missing}",
                self.origin()
            ),
        )
    }

    /// Checks every byte of what is at hand. What was moved away is no damage; a file that is there and not whole is.
    pub(crate) fn verify(&self) -> Result<(), Error> {
        self.found.iter().try_for_each(Archive::verify)?;
        match &self.missing {
            Some(missing) if self.flawed => Err(Error::new(
                ErrorKind::Damaged,
                format!("{missing}; put it back from a copy"),
            )),
            _ => Ok(()),
        }
    }

    pub(crate) fn infos(&self) -> Archives {
        Archives {
            found: self.found.iter().map(|a| a.info().clone()).collect(),
            missing: self.missing.clone(),
        }
    }
}

/// The whole archive that ends with `need`; the error says why the file of that name is not used. Which records it
/// holds is told by the chain hash alone: where there is none with the own hash that the anchor names, one that was
/// made of the same records at another time will do.
fn ending_with(
    inner: &dyn Disk,
    names: &[String],
    family: u32,
    (need, seal): (Tip, [u8; 32]),
) -> Result<Option<Archive>, String> {
    let (mut found, mut flawed) = (None, None);
    for name in names {
        if parse_name(name).is_none_or(|(_, last)| last != need.seq) {
            continue;
        }
        match Archive::open(inner, name) {
            Ok(archive) if archive.family() != family => {
                flawed = Some("it is of another family".to_owned());
            }
            Ok(archive) if archive.info().hash != need.hash => {
                flawed = Some("it is of another history".to_owned());
            }
            Ok(archive) if archive.begins_wrongly() => {
                flawed = Some(read::BEGINS_WRONGLY.to_owned());
            }
            Ok(archive) if archive.seal() == seal => return Ok(Some(archive)),
            Ok(archive) => found = Some(archive),
            Err(error) => flawed = Some(error.to_string()),
        }
    }
    match (found, flawed) {
        (None, Some(why)) => Err(why),
        (found, _) => Ok(found),
    }
}

/// The folder of the archives, where there is one.
pub(crate) fn folder(disk: &dyn Disk) -> Result<Option<Box<dyn Disk>>, Error> {
    match disk.within(ARCHIVE_FOLDER, false) {
        Ok(inner) => Ok(Some(inner)),
        Err(e)
            if matches!(
                e.kind(),
                io::ErrorKind::NotFound | io::ErrorKind::Unsupported
            ) =>
        {
            Ok(None)
        }
        Err(e) => Err(Error::io("open", ARCHIVE_FOLDER, &e)),
    }
}

fn list(inner: &dyn Disk) -> Result<Vec<String>, Error> {
    inner
        .list()
        .map_err(|e| Error::io("list", ARCHIVE_FOLDER, &e))
}

/// The name of an archive within its folder.
fn file_name(first: Seq, last: Seq) -> String {
    format!("{:020}-{:020}{SUFFIX}", first.get(), last.get())
}

/// The first and last record in an archive's name.
fn parse_name(name: &str) -> Option<(Seq, Seq)> {
    let (first, last) = name.strip_suffix(SUFFIX)?.split_once('-')?;
    let number = |text: &str| {
        let digits = text.len() == 20 && text.bytes().all(|b| b.is_ascii_digit());
        digits.then(|| text.parse().ok().map(Seq)).flatten()
    };
    Some((number(first)?, number(last)?))
}
