//! Checks an index against the log without touching it: a private copy is opened instead.
//!
//! sled repairs, truncates and writes whatever it opens, so a tool that only looks must not open
//! it in place.

use std::{fmt, ops::ControlFlow, path::Path};

use serde::Serialize;

use super::{
    Heads,
    store::{Broken, Store},
};
use crate::{error::Error, ids::Seq, reader::Reader};

/// What the check of an index found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub enum IndexCheck {
    /// There is no index.
    Absent,
    /// Each record up to `through` is in it as the log has it, and nothing else is.
    Agrees {
        /// Its last record.
        through: Seq,
        /// Records of the log behind that, which it takes in when the journal is opened.
        behind: u64,
    },
    /// It differs from the log; opening the journal builds it anew.
    Differs {
        /// The first difference.
        why: String,
    },
    /// It holds more than the log: the log lost acknowledged events.
    Ahead {
        /// Its last record.
        through: Seq,
        /// The log's last record.
        end: Seq,
    },
}

impl fmt::Display for IndexCheck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("no index, opening the journal builds one"),
            Self::Agrees { through, behind: 0 } => {
                write!(f, "index agrees with the log through sequence {through}")
            }
            Self::Agrees { through, behind } => {
                write!(
                    f,
                    "index agrees through sequence {through} and is {behind} records behind"
                )
            }
            Self::Differs { why } => write!(f, "index differs from the log: {why}"),
            Self::Ahead { through, end } => {
                write!(
                    f,
                    "index has seen sequence {through}, the log ends at {end}"
                )
            }
        }
    }
}

/// Checks a copy of the index in `path`.
pub(crate) fn check(reader: &Reader, family: u32, path: &Path) -> Result<IndexCheck, Error> {
    if !path.is_dir() {
        return Ok(IndexCheck::Absent);
    }
    let failed = |e: &std::io::Error| Error::io("copy", "the index", e);
    #[expect(
        clippy::disallowed_methods,
        reason = "a private copy that goes with this call"
    )]
    let private = tempfile::Builder::new()
        .prefix("holdfast-index-")
        .tempdir()
        .map_err(|e| failed(&e))?;
    let copy = private.path().join("index");
    copy_tree(path, &copy).map_err(|e| failed(&e))?;
    match compare(reader, family, &copy) {
        Ok(check) => Ok(check),
        Err(Broken(why)) => Ok(IndexCheck::Differs { why }),
    }
}

fn copy_tree(from: &Path, to: &Path) -> std::io::Result<()> {
    std::fs::create_dir_all(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            std::fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

fn compare(reader: &Reader, family: u32, copy: &Path) -> Result<IndexCheck, Broken> {
    let store = Store::open(copy, family)?;
    let check = compare_open(reader, &store);
    // The copy goes either way; how sled takes leave of it says nothing about the index.
    let _ = store.close();
    check
}

fn compare_open(reader: &Reader, store: &Store) -> Result<IndexCheck, Broken> {
    let end = reader.tip().seq;
    let Some(tip) = store.position()? else {
        return Ok(IndexCheck::Agrees {
            through: Seq::ZERO,
            behind: end.get(),
        });
    };
    if tip.seq > end {
        return Ok(IndexCheck::Ahead {
            through: tip.seq,
            end,
        });
    }
    let log = |e: Error| Broken(format!("reading the log: {e}"));
    if tip.seq.next() < reader.first() {
        // What it ends in has left the log since: it is as far behind as an empty one, and built anew.
        return Ok(IndexCheck::Agrees {
            through: Seq::ZERO,
            behind: end.next().get() - reader.first().get(),
        });
    }
    if reader.hash_at(tip.seq).map_err(log)? != Some(tip.hash) {
        return Err(Broken(format!("another history at sequence {}", tip.seq)));
    }
    let (mut heads, mut records, mut broken) = (Heads::default(), 0, None);
    reader
        .frames(reader.first(), tip.seq, &mut |raw| {
            records += 1;
            let before = heads.pass(&raw.head);
            broken = match store.agrees(raw, before, reader.first()) {
                Ok(true) => return Ok(ControlFlow::Continue(())),
                Ok(false) => Some(Broken(format!("at sequence {}", raw.head.seq))),
                Err(found) => Some(found),
            };
            Ok(ControlFlow::Break(()))
        })
        .map_err(log)?;
    if let Some(broken) = broken {
        return Err(broken);
    }
    // A kill between a batch and its position leaves entries behind the position; they are put in
    // again later, so only too few are wrong.
    let counts = store.counts()?;
    if counts.iter().any(|count| *count < records) {
        return Err(Broken(format!("{counts:?} entries for {records} records")));
    }
    let behind = end.get() - tip.seq.get();
    Ok(IndexCheck::Agrees {
        through: tip.seq,
        behind,
    })
}
