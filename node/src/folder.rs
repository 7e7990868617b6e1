//! The data folder: who holds it, its key, and the order in which its parts are opened. Knows no
//! statement.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::exit::{Exit, Failure};
use crate::host::KEY_BYTES;

/// A data folder that this process holds until it is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    /// Locked; the lock goes with the descriptor, however the process ends.
    _lock: File,
}

/// What to do where there is no data folder yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Absent {
    /// Make one.
    Make,
    /// Refuse.
    Refuse,
}

impl Folder {
    /// Takes hold of the folder at `path`.
    pub(crate) fn hold(path: &Path, absent: Absent) -> Result<Self, Failure> {
        if absent == Absent::Refuse && !storage_dir(path).is_dir() {
            return Err(Failure::failed(
                "DATA_FOLDER_NOT_FOUND",
                format!(
                    "'{}' is no data folder: it has no folder 'storage'",
                    path.display()
                ),
            ));
        }
        create_dir_durably(path)?;
        let lock = lock(path)?;
        Ok(Self {
            path: path.to_owned(),
            _lock: lock,
        })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The journal of the jobs.
    pub(crate) fn journal(&self) -> PathBuf {
        journal_dir(&self.path)
    }

    /// The tables.
    pub(crate) fn storage(&self) -> PathBuf {
        storage_dir(&self.path)
    }

    /// Work files of the jobs.
    pub(crate) fn jobs(&self) -> PathBuf {
        self.path.join("jobs")
    }

    /// The key that seals secrets; made at the first opening.
    pub(crate) fn key(&self) -> Result<[u8; KEY_BYTES], Failure> {
        let path = self.path.join("key");
        match File::open(&path) {
            Ok(file) => read_key(&path, file),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                if self.journal().is_dir() {
                    log::warn!(
                        "the key '{}' is missing, a new one is made: properties of repositories \
                         that were sealed with the old one cannot be opened",
                        path.display()
                    );
                }
                make_key(&path).map_err(|error| io_failure("make the key", &path, &error))
            }
            Err(error) => Err(io_failure("open the key", &path, &error)),
        }
    }
}

/// Whether some process holds the data folder at `path` now. Only looks: a lock taken to find out
/// would keep away who comes at that moment.
pub(crate) fn is_held(path: &Path) -> bool {
    use std::os::unix::fs::MetadataExt;
    let Ok(about) = fs::metadata(path.join("lock")) else {
        return false;
    };
    let inode = format!(":{}", about.ino());
    let locks = fs::read_to_string("/proc/locks").unwrap_or_default();
    locks.lines().any(|line| {
        let mut words = line.split_whitespace().skip(1);
        words.next() == Some("FLOCK") && words.any(|word| word.ends_with(&inode))
    })
}

/// The journal of the jobs of the data folder at `path`.
pub(crate) fn journal_dir(path: &Path) -> PathBuf {
    path.join("journal")
}

/// The tables of the data folder at `path`.
pub(crate) fn storage_dir(path: &Path) -> PathBuf {
    path.join("storage")
}

fn io_failure(what: &str, path: &Path, error: &std::io::Error) -> Failure {
    Failure::io(
        error.kind(),
        format!("cannot {what} '{}': {error}", path.display()),
    )
}

/// Makes a folder and syncs the parent of each level made, so that what is synced below is found.
fn create_dir_durably(path: &Path) -> Result<(), Failure> {
    if path.is_dir() {
        return Ok(());
    }
    let parent = match path.parent() {
        Some(parent) if parent.as_os_str().is_empty() => Path::new("."),
        Some(parent) => parent,
        None => Path::new("/"),
    };
    if !parent.is_dir() {
        create_dir_durably(parent)?;
    }
    match fs::create_dir(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(io_failure("make the data folder", path, &error));
        }
        Ok(()) => {}
        Err(_) if path.is_dir() => {}
        Err(error) => return Err(io_failure("make the data folder", path, &error)),
    }
    File::open(parent)
        .and_then(|folder| folder.sync_all())
        .map_err(|error| io_failure("sync the folder", parent, &error))
}

fn lock(folder: &Path) -> Result<File, Failure> {
    let path = folder.join("lock");
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|error| io_failure("open the lock file", &path, &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(fs::TryLockError::WouldBlock) => return Err(in_use(folder, &mut file)),
        Err(fs::TryLockError::Error(error)) => {
            return Err(io_failure("lock the file", &path, &error));
        }
    }
    // The number only serves the message of the next who comes; a stale one is harmless.
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    if let Err(error) = written {
        log::warn!("cannot note the process in '{}': {error}", path.display());
    }
    Ok(file)
}

fn in_use(folder: &Path, file: &mut File) -> Failure {
    let mut text = String::new();
    let holder = match file.take(32).read_to_string(&mut text) {
        Ok(_) if text.trim().parse::<u32>().is_ok() => format!("process {}", text.trim()),
        _ => "another process".to_owned(),
    };
    Failure::new(
        Exit::InUse,
        "FOLDER_IN_USE",
        format!(
            "data folder '{}' is in use by {holder}: wait until it has ended, or end it",
            folder.display()
        ),
    )
}

fn read_key(path: &Path, file: File) -> Result<[u8; KEY_BYTES], Failure> {
    let mut bytes = Vec::new();
    let mode = file.metadata().map(|about| about.permissions().mode());
    if let Ok(mode) = mode
        && mode & 0o077 != 0
    {
        log::warn!(
            "the key '{}' may be read by others (mode {:o}), expected mode 600",
            path.display(),
            mode & 0o777
        );
    }
    file.take(KEY_BYTES as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(|error| io_failure("read the key", path, &error))?;
    let found = match bytes.len() {
        len if len > KEY_BYTES => format!("more than {KEY_BYTES}"),
        len => len.to_string(),
    };
    <[u8; KEY_BYTES]>::try_from(bytes).map_err(|_| {
        Failure::new(
            Exit::Damage,
            "KEY_DAMAGED",
            format!(
                "the key '{}' has {found} bytes, expected {KEY_BYTES}: put it back from a copy, \
                 or remove it and create the repositories again",
                path.display()
            ),
        )
    })
}

/// Writes a new key beside its place, syncs it and gives it its name, so that no half key is found.
fn make_key(path: &Path) -> std::io::Result<[u8; KEY_BYTES]> {
    let mut key = [0_u8; KEY_BYTES];
    getrandom::fill(&mut key).map_err(std::io::Error::other)?;
    let fresh = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(&key)?;
    file.sync_all()?;
    fs::rename(&fresh, path)?;
    if let Some(parent) = path.parent() {
        File::open(parent)?.sync_all()?;
    }
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_is_made_once_and_for_its_owner_only() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::hold(dir.path(), Absent::Make).unwrap();
        let key = folder.key().unwrap();
        assert_eq!(folder.key().unwrap(), key);
        let mode = fs::metadata(dir.path().join("key"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
    }

    #[test]
    fn a_folder_on_a_full_disk_is_said_to_be_that() {
        let full = std::io::Error::from_raw_os_error(28);
        let failure = io_failure("make the key", Path::new("node/key"), &full);
        let text = failure.text.unwrap();
        assert!(
            text.contains("[DISK_FULL] cannot make the key 'node/key'"),
            "{text}"
        );
    }

    #[test]
    fn a_key_of_another_length_is_damage() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::hold(dir.path(), Absent::Make).unwrap();
        fs::write(dir.path().join("key"), [1; 31]).unwrap();
        assert_eq!(folder.key().unwrap_err().exit, Exit::Damage);
    }

    #[test]
    fn a_folder_is_held_by_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a/b");
        let first = Folder::hold(&path, Absent::Make).unwrap();
        let refused = Folder::hold(&path, Absent::Make).unwrap_err();
        assert_eq!(refused.exit, Exit::InUse);
        let pid = std::process::id().to_string();
        assert!(refused.text.unwrap().contains(&format!("process {pid}")));
        assert!(is_held(&path));
        drop(first);
        assert!(!is_held(&path));
        assert!(Folder::hold(&path, Absent::Make).is_ok());
    }

    #[test]
    fn a_folder_that_is_none_is_not_made_for_reading() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("absent");
        assert!(Folder::hold(&path, Absent::Refuse).is_err());
        assert!(!path.exists());
    }
}
