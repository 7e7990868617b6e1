//! Where the demo lives: a folder of its own, which only an earlier demo may have filled.

use std::fs;
use std::path::{Path, PathBuf};

use super::io_failed;
use crate::exit::Failure;
use crate::folder::{Absent, Folder};

/// Its presence says that the folder was made by a demo and may be replaced.
const MARKER: &str = "demo/made-by-the-demo";

/// The demo's data folder, empty and held.
pub(super) struct Place {
    folder: Folder,
}

impl Place {
    /// Takes `wanted`, else a folder in the temporary one.
    pub(super) fn prepare(wanted: Option<PathBuf>) -> Result<Self, Failure> {
        let path = match wanted {
            Some(path) => path,
            None => {
                let user = rustix::process::getuid().as_raw();
                std::env::temp_dir().join(format!("holdfast-demo-{user}"))
            }
        };
        let path = std::path::absolute(&path)
            .map_err(io_failed(format_args!("folder '{}'", path.display())))?;
        check_replaceable(&path)?;
        let folder = Folder::hold(&path, Absent::Make)?;
        clear(&path)?;
        let marker = path.join(MARKER);
        for part in ["demo/input", "demo/repository"] {
            fs::create_dir_all(path.join(part)).map_err(io_failed(part))?;
        }
        fs::write(&marker, "holdfast demo\n").map_err(io_failed(marker.display()))?;
        Ok(Self { folder })
    }

    pub(super) fn root(&self) -> &Path {
        self.folder.path()
    }

    pub(super) fn into_folder(self) -> Folder {
        self.folder
    }
}

fn check_replaceable(path: &Path) -> Result<(), Failure> {
    let in_it = match fs::read_dir(path) {
        Ok(entries) => entries.count(),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => 0,
        Err(error) => {
            return Err(io_failed(format_args!("folder '{}'", path.display()))(
                error,
            ));
        }
    };
    if in_it == 0 || path.join(MARKER).is_file() {
        return Ok(());
    }
    Err(Failure::failed(
        "FOLDER_NOT_EMPTY",
        format!(
            "'{}' holds other files and no earlier demo: name an empty or absent folder",
            path.display()
        ),
    ))
}

/// Removes an earlier demo, all but the lock that is held.
fn clear(path: &Path) -> Result<(), Failure> {
    let failed = |path: &Path| io_failed(format!("an earlier demo in '{}'", path.display()));
    for entry in fs::read_dir(path).map_err(failed(path))? {
        let entry = entry.map_err(failed(path))?;
        if entry.file_name() == "lock" {
            continue;
        }
        let kind = entry.file_type().map_err(failed(path))?;
        let removed = if kind.is_dir() {
            fs::remove_dir_all(entry.path())
        } else {
            fs::remove_file(entry.path())
        };
        removed.map_err(failed(path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_earlier_demo_is_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("demo");
        drop(Place::prepare(Some(path.clone())).unwrap());
        fs::write(path.join("left"), "x").unwrap();
        drop(Place::prepare(Some(path.clone())).unwrap());
        assert!(!path.join("left").exists());
        let other = dir.path().join("mine");
        fs::create_dir(&other).unwrap();
        fs::write(other.join("thesis"), "x").unwrap();
        assert!(Place::prepare(Some(other.clone())).is_err());
        assert!(other.join("thesis").exists());
    }
}
