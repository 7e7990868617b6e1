//! From the paths a user names to the data files they stand for. Reads folders, opens no file.

use std::fs;
use std::path::{Path, PathBuf};

use super::source_failed;
use crate::names::check_file;
use crate::{Error, ErrorKind};

/// One file to be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Source {
    /// Where it lies.
    pub(crate) path: PathBuf,
    /// Its name in the partition.
    pub(crate) name: String,
    /// Its length when it was found.
    pub(crate) len: u64,
}

/// All files below the named folders and the named files themselves, in name order. Symbolic links,
/// special files, names that are not UTF-8 and names given twice are refused.
pub(crate) fn walk(roots: &[PathBuf]) -> Result<Vec<Source>, Error> {
    let mut found = Vec::new();
    for root in roots {
        let meta = fs::symlink_metadata(root).map_err(|e| source_failed("read", root, &e))?;
        if meta.is_dir() {
            walk_folder(root, &mut found)?;
        } else {
            check_kind(root, &meta)?;
            let name = root.file_name().ok_or_else(|| {
                let text = format!("'{}' has no file name", root.display());
                Error::new(ErrorKind::Invalid, text)
            })?;
            add(root, Path::new(name), meta.len(), &mut found)?;
        }
    }
    found.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    match found.windows(2).find(|pair| pair[0].name == pair[1].name) {
        Some(pair) => Err(Error::new(
            ErrorKind::Invalid,
            format!(
                "file name '{}' comes from both '{}' and '{}'",
                pair[0].name.escape_debug(),
                pair[0].path.display(),
                pair[1].path.display()
            ),
        )),
        None => Ok(found),
    }
}

fn walk_folder(root: &Path, found: &mut Vec<Source>) -> Result<(), Error> {
    let mut folders = vec![PathBuf::new()];
    while let Some(relative) = folders.pop() {
        let folder = root.join(&relative);
        let reader = fs::read_dir(&folder).map_err(|e| source_failed("list", &folder, &e))?;
        for entry in reader {
            let entry = entry.map_err(|e| source_failed("list", &folder, &e))?;
            let (path, below) = (entry.path(), relative.join(entry.file_name()));
            let meta = fs::symlink_metadata(&path).map_err(|e| source_failed("read", &path, &e))?;
            if meta.is_dir() {
                folders.push(below);
            } else {
                check_kind(&path, &meta)?;
                add(&path, &below, meta.len(), found)?;
            }
        }
    }
    Ok(())
}

fn check_kind(path: &Path, meta: &fs::Metadata) -> Result<(), Error> {
    let kind = meta.file_type();
    if kind.is_file() {
        return Ok(());
    }
    let found = if kind.is_symlink() {
        "a symbolic link"
    } else {
        "a special file"
    };
    let text = format!(
        "'{}' is {found}, expected a regular file or a folder",
        path.display()
    );
    Err(Error::new(ErrorKind::Invalid, text))
}

fn add(path: &Path, name: &Path, len: u64, found: &mut Vec<Source>) -> Result<(), Error> {
    let Some(name) = name.to_str() else {
        let text = format!("file name '{}' is not UTF-8", path.display());
        return Err(Error::new(ErrorKind::Invalid, text));
    };
    check_file(name)?;
    found.push(Source {
        path: path.to_owned(),
        name: name.to_owned(),
        len,
    });
    Ok(())
}
