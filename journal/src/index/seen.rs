//! How far the index has seen the log, in a small file of our own beside sled's.
//!
//! It lets opening ask whether the log lost its end without waiting for sled, which may take long
//! to open, or panic. It is written before a batch goes in, so sled is never ahead of it but where
//! a power cut took it; and it never says more than what the log had synced.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt,
    path::Path,
};

use super::Broken;
use crate::{
    ids::{FrameHash, Seq},
    transaction::Tip,
};

const FILE: &str = "seen";
/// The layout of the index; another one means a new index.
const LAYOUT: u32 = 1;

/// The open file.
#[derive(Debug)]
pub(super) struct Seen {
    file: File,
    family: u32,
}

impl Seen {
    pub(super) fn open(folder: &Path, family: u32) -> Result<Self, Broken> {
        let path = folder.join(FILE);
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path);
        let file = file.map_err(|e| Broken(format!("{}: {e}", path.display())))?;
        Ok(Self { file, family })
    }

    pub(super) fn write(&self, tip: Tip) -> Result<(), Broken> {
        let written = self.file.write_all_at(&position_value(self.family, tip), 0);
        written.map_err(|e| Broken(format!("write {FILE}: {e}")))
    }
}

/// What the index in a folder has seen; `None` where that cannot be told without opening it.
pub(crate) fn read(folder: &Path, family: u32) -> Option<Tip> {
    let bytes = std::fs::read(folder.join(FILE)).ok()?;
    open_position(family, &bytes).ok()
}

pub(super) fn position_value(family: u32, tip: Tip) -> Vec<u8> {
    let mut value = Vec::with_capacity(52);
    value.extend_from_slice(&LAYOUT.to_le_bytes());
    value.extend_from_slice(&family.to_le_bytes());
    value.extend_from_slice(&tip.seq.get().to_le_bytes());
    value.extend_from_slice(tip.hash.as_bytes());
    let crc = crc32c::crc32c(&value);
    value.extend_from_slice(&crc.to_le_bytes());
    value
}

pub(super) fn open_position(family: u32, value: &[u8]) -> Result<Tip, Broken> {
    let bad = || Broken("the position of the index is unreadable".to_owned());
    let rest = value.get(8..48).ok_or_else(bad)?;
    let (seq, hash) = rest.split_first_chunk::<8>().ok_or_else(bad)?;
    let hash: &[u8; 32] = hash.first_chunk().ok_or_else(bad)?;
    let tip = Tip {
        seq: Seq(u64::from_le_bytes(*seq)),
        hash: FrameHash(*hash),
    };
    if value != position_value(family, tip) {
        return Err(bad());
    }
    Ok(tip)
}
