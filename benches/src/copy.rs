//! The trees that are backed up, and the tools that a user would copy them with.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::place::run;

/// A folder of files that look random and are the same in each run.
#[derive(Clone, Debug)]
pub struct Tree {
    /// Where it lies.
    pub path: PathBuf,
    /// Its files.
    pub files: u64,
    /// Their bytes.
    pub bytes: u64,
    /// A hash over names and contents.
    pub digest: blake3::Hash,
}

impl Tree {
    /// Makes `files` files of `file_bytes` bytes below `path`, at most a thousand in a folder. They
    /// are in the page cache afterwards.
    #[must_use]
    pub fn make(path: &Path, files: u64, file_bytes: u64) -> Self {
        let mut bytes = vec![0; usize::try_from(file_bytes).unwrap()];
        for number in 0..files {
            let folder = path.join(format!("d{:04}", number / 1000));
            if number % 1000 == 0 {
                std::fs::create_dir_all(&folder).unwrap();
            }
            let mut hasher = blake3::Hasher::new();
            hasher
                .update(&number.to_le_bytes())
                .update(&file_bytes.to_le_bytes());
            hasher.finalize_xof().fill(&mut bytes);
            std::fs::write(folder.join(format!("f{number:07}")), &bytes).unwrap();
        }
        Self {
            path: path.to_owned(),
            files,
            bytes: files * file_bytes,
            digest: digest(path),
        }
    }

    /// One line for a title.
    #[must_use]
    pub fn describe(&self) -> String {
        let each = self.bytes / self.files.max(1);
        let each = if each >= 1 << 20 {
            format!("{} MiB", each >> 20)
        } else {
            format!("{} KiB", each >> 10)
        };
        format!(
            "{} files of {each} ({} MiB), warm",
            self.files,
            self.bytes >> 20
        )
    }
}

/// A hash over the relative names and contents of all files below a folder.
#[must_use]
pub fn digest(folder: &Path) -> blake3::Hash {
    let mut paths = Vec::new();
    walk(folder, &mut paths);
    paths.sort_unstable();
    let mut all = blake3::Hasher::new();
    for path in paths {
        let name = path.strip_prefix(folder).unwrap().to_str().unwrap();
        let content = blake3::hash(&std::fs::read(&path).unwrap());
        all.update(&(name.len() as u64).to_le_bytes());
        all.update(name.as_bytes()).update(content.as_bytes());
    }
    all.finalize()
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, paths);
        } else {
            paths.push(path);
        }
    }
}

/// `cp -r --reflink=never` and `sync -f`: the tree is at `to` and durable.
pub fn cp_and_sync(from: &Path, to: &Path) -> Duration {
    let begun = Instant::now();
    run(Command::new("cp")
        .args(["-r", "--reflink=never"])
        .arg(from)
        .arg(to));
    run(Command::new("sync").arg("-f").arg(to));
    begun.elapsed()
}

/// One aligned sequential write of as many bytes as the tree has, and its `fdatasync`: what the
/// disk takes at best.
pub fn sequential_write(bytes: u64, to: &Path) -> Duration {
    use std::io::Write as _;
    let mut piece = vec![0; 8 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut piece);
    let begun = Instant::now();
    let mut file = std::fs::File::create_new(to).unwrap();
    let mut left = bytes;
    while left > 0 {
        let now = left.min(piece.len() as u64);
        file.write_all(&piece[..usize::try_from(now).unwrap()])
            .unwrap();
        left -= now;
    }
    file.sync_data().unwrap();
    begun.elapsed()
}

/// The median time of one small append with its `fdatasync`.
#[must_use]
pub fn fdatasync(folder: &Path) -> Duration {
    use std::io::Write as _;
    let mut file = tempfile::tempfile_in(folder).unwrap();
    let mut took: Vec<Duration> = (0..15)
        .map(|_| {
            let begun = Instant::now();
            file.write_all(&[7; 512]).unwrap();
            file.sync_data().unwrap();
            begun.elapsed()
        })
        .collect();
    took.sort_unstable();
    took[took.len() / 2]
}
