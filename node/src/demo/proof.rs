//! The proof: every file of a folder by name and BLAKE3, taken by this program from outside of the
//! storage, and two such lists compared.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;

/// What a folder holds: path relative to it, hash and length.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Contents(BTreeMap<String, (blake3::Hash, u64)>);

impl Contents {
    /// Reads and hashes every file below `root`, on as many threads as the machine has cores.
    pub(crate) fn of(root: &Path) -> io::Result<Self> {
        let mut paths = Vec::new();
        walk(root, &mut paths)?;
        let next = AtomicUsize::new(0);
        let found = Mutex::new(BTreeMap::new());
        let work = || -> io::Result<()> {
            while let Some(path) = paths.get(next.fetch_add(1, Ordering::Relaxed)) {
                let mut hasher = blake3::Hasher::new();
                let len = io::copy(&mut File::open(path)?, &mut hasher)?;
                let name = path
                    .strip_prefix(root)
                    .unwrap_or(path)
                    .to_string_lossy()
                    .into_owned();
                found.lock().insert(name, (hasher.finalize(), len));
            }
            Ok(())
        };
        let threads = std::thread::available_parallelism().map_or(2, usize::from);
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            handles.into_iter().try_for_each(|handle| {
                handle
                    .join()
                    .unwrap_or_else(|_| Err(io::Error::other("a hashing thread panicked")))
            })
        })?;
        Ok(Self(found.into_inner()))
    }

    /// How many files.
    pub(crate) fn files(&self) -> u64 {
        self.0.len() as u64
    }

    /// Bytes of all files.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.values().map(|(_, len)| len).sum()
    }

    /// What `found` lacks, has too much, or has with another content; empty where they agree.
    pub(crate) fn differences(&self, found: &Self) -> Vec<String> {
        let missing = self
            .0
            .iter()
            .filter_map(|(name, file)| match found.0.get(name) {
                None => Some(format!("'{name}' is missing")),
                Some(other) if other != file => Some(format!("'{name}' has another content")),
                Some(_) => None,
            });
        let extra = found.0.keys().filter(|name| !self.0.contains_key(*name));
        missing
            .chain(extra.map(|name| format!("'{name}' was not there before")))
            .collect()
    }
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            walk(&entry.path(), paths)?;
        } else {
            paths.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_a_missing_and_a_new_file_are_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("p")).unwrap();
        for name in ["a", "b", "c"] {
            fs::write(dir.path().join("p").join(name), name).unwrap();
        }
        let before = Contents::of(dir.path()).unwrap();
        assert_eq!((before.files(), before.bytes()), (3, 3));
        fs::write(dir.path().join("p/a"), "A").unwrap();
        fs::remove_file(dir.path().join("p/b")).unwrap();
        fs::write(dir.path().join("p/d"), "d").unwrap();
        let after = Contents::of(dir.path()).unwrap();
        let differences = before.differences(&after);
        assert_eq!(
            differences,
            [
                "'p/a' has another content",
                "'p/b' is missing",
                "'p/d' was not there before"
            ]
        );
        assert!(before.differences(&before).is_empty());
    }
}
