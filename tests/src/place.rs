//! Folders of nodes: copying them while nobody works in them, and finding what should not be there
//! any more.

use std::fs;
use std::path::{Path, PathBuf};

use crate::tree;

/// Copies a folder; files for which `link` says so are hard links, which is right only for files
/// that are never written in place.
pub fn copy_tree(from: &Path, to: &Path, link: &dyn Fn(&Path) -> bool) {
    copy_part(from, to, link, &|_| true);
}

/// As [`copy_tree`], without the indices of journals: they follow their logs on threads of their own, whoever
/// else stands still, and a node does without them.
pub fn copy_without_indices(from: &Path, to: &Path, link: &dyn Fn(&Path) -> bool) {
    copy_part(from, to, link, &|path| !path.ends_with("index"));
}

fn copy_part(from: &Path, to: &Path, link: &dyn Fn(&Path) -> bool, wanted: &dyn Fn(&Path) -> bool) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            if wanted(&path) {
                copy_part(&path, &target, link, wanted);
            }
        } else if link(&path) {
            fs::hard_link(&path, &target).unwrap();
        } else {
            fs::copy(&path, &target).unwrap();
        }
    }
}

/// Whether a path is that of a data file in its final place, or of a finished object.
pub fn is_immutable(path: &Path) -> bool {
    let has = |name: &str| path.components().any(|part| part.as_os_str() == name);
    let whole = !path
        .file_name()
        .unwrap()
        .to_string_lossy()
        .starts_with(".tmp-");
    has("backends") && has("data") || has("objects") && whole || has("packs") && whole
}

/// Relative paths of all files below a folder.
fn files(dir: &Path) -> Vec<String> {
    fn walk(root: &Path, dir: &Path, found: &mut Vec<String>) {
        let Ok(entries) = fs::read_dir(dir) else {
            return;
        };
        for entry in entries {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                found.push(
                    path.strip_prefix(root)
                        .unwrap()
                        .to_string_lossy()
                        .into_owned(),
                );
            }
        }
    }
    let mut found = Vec::new();
    walk(dir, dir, &mut found);
    found
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    fs::read_dir(dir).map_or_else(
        |_| Vec::new(),
        |found| found.map(|e| e.unwrap().path()).collect(),
    )
}

/// What the jobs of a closed node left behind in its folder: local snapshots, staging places and
/// work files.
pub fn leftovers_of_node(node: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for backend in entries(&node.join("storage/backends")) {
        for kind in ["snapshot", "staging"] {
            found.extend(
                entries(&backend.join(kind))
                    .iter()
                    .map(|path| path.display().to_string()),
            );
        }
    }
    found.extend(
        files(&node.join("jobs"))
            .into_iter()
            .map(|name| format!("jobs/{name}")),
    );
    found
}

/// What writers that are no more left in the repositories of a location: intents, lists of the
/// condemned, unfinished uploads.
pub fn leftovers_of_remote(remote: &Path) -> Vec<String> {
    let stays = |name: &String| {
        ["/intents/", "/condemned/", "/.tmp-"]
            .iter()
            .any(|part| format!("/{name}").contains(part))
    };
    files(remote).into_iter().filter(stays).collect()
}

/// Data files and lists of files that a storage holds.
pub fn held_files(node: &Path) -> Vec<String> {
    let storage = node.join("storage");
    files(&storage)
        .into_iter()
        .filter(|name| name.starts_with("lists/") || name.starts_with("backends/"))
        .collect()
}

/// The bytes of all files of a folder, hashed by name: equal for equal content.
pub fn fingerprint(dir: &Path) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, bytes) in tree(dir) {
        hasher
            .update(&(name.len() as u64).to_le_bytes())
            .update(name.as_bytes());
        hasher
            .update(&(bytes.len() as u64).to_le_bytes())
            .update(&bytes);
    }
    hasher.finalize().to_hex().to_string()
}
