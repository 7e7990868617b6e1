//! The checks that every manifest passes before it is used, whoever wrote it. Owns the rules of
//! names, lengths, places and counts; a failed check is a sentence that the caller puts into an
//! error.

use std::collections::BTreeSet;
use std::ops::Bound;

use crate::limits::{
    MAX_NAME_LEN, MAX_OBJECT_LEN, MAX_PART_FILES, MAX_PART_TABLETS, MAX_PARTITIONS,
    MAX_STORED_DOCUMENT, MAX_TABLES,
};
use crate::manifest::{Part, PartFile, PartRef, Root};
use crate::names::{check_label, check_timestamp, shown};
use crate::plan::Location;
use crate::{ContentHash, Error, ObjectEntry, ObjectKind, Writer};

/// The longest name of a database, table or partition, in bytes.
const MAX_OBJECT_NAME: usize = 1024;

/// Checks the name of a data file: relative, `/` between folders, no empty folder, no `.` or `..`,
/// no NUL, at most 4096 bytes.
///
/// # Errors
/// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) with the rule that it breaks.
pub fn check_file_name(name: &str) -> Result<(), Error> {
    match broken_rule(name) {
        None => Ok(()),
        Some(rule) => Err(Error::invalid(format!(
            "file name {:?} {rule}",
            shown(name)
        ))),
    }
}

fn broken_rule(name: &str) -> Option<&'static str> {
    if name.is_empty() {
        return Some("is empty");
    }
    if name.len() > MAX_NAME_LEN {
        return Some("is longer than 4096 bytes");
    }
    if name.contains('\0') {
        return Some("holds a NUL");
    }
    if name.starts_with('/') {
        return Some("is absolute");
    }
    name.split('/').find_map(|folder| match folder {
        "" => Some("has an empty folder name"),
        "." | ".." => Some("has a folder name \".\" or \"..\""),
        _ => None,
    })
}

/// Proves stored bytes by length and hash.
pub(crate) fn stored(bytes: &[u8], hash: &ContentHash, len: u64) -> Result<(), Error> {
    if bytes.len() as u64 != len {
        return Err(Error::damaged(format!(
            "{} bytes are stored, expected {len}",
            bytes.len()
        )));
    }
    let found = ContentHash::of(bytes);
    if found != *hash {
        return Err(Error::damaged(format!(
            "the stored bytes hash to {found}, expected {hash}"
        )));
    }
    Ok(())
}

/// Finds names that cannot lie in one folder tree: equal ones, and a file where another name needs
/// a folder. One guard serves one tablet, over all parts that list its files.
#[derive(Debug, Clone, Default)]
pub struct NameGuard {
    files: BTreeSet<String>,
}

impl NameGuard {
    /// A guard that has seen no name.
    pub fn new() -> Self {
        NameGuard::default()
    }

    /// Takes the next name.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) where it cannot lie beside those before.
    pub fn admit(&mut self, name: &str) -> Result<(), Error> {
        clash(&self.files, name).map_err(Error::damaged)?;
        self.files.insert(name.to_owned());
        Ok(())
    }
}

fn clash(files: &BTreeSet<String>, name: &str) -> Result<(), String> {
    if files.contains(name) {
        return Err(format!("file name {:?} comes twice", shown(name)));
    }
    let folders = name.match_indices('/').map(|(at, _)| &name[..at]);
    if let Some(folder) = folders.into_iter().find(|folder| files.contains(*folder)) {
        return Err(format!(
            "{:?} is a file, and a folder of {:?}",
            shown(folder),
            shown(name)
        ));
    }
    let below = format!("{name}/");
    let from = (Bound::Included(below.as_str()), Bound::Unbounded);
    match files.range::<str, _>(from).next() {
        Some(next) if next.starts_with(&below) => Err(format!(
            "{:?} is a file, and a folder of {:?}",
            shown(name),
            shown(next)
        )),
        _ => Ok(()),
    }
}

/// Finds names of one tablet that cannot lie beside each other, all at once: two are in each other's
/// way where they are equal, or where one is a folder of the other.
fn names(files: &[PartFile]) -> Result<(), String> {
    let mut names: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
    names.sort_unstable();
    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(format!("file name {:?} comes twice", shown(pair[0])));
    }
    let mut cleared = "";
    for name in &names {
        let Some((parent, _)) = name.rsplit_once('/') else {
            continue;
        };
        if parent == cleared {
            continue;
        }
        let folders = name.match_indices('/').map(|(at, _)| &name[..at]);
        let file = folders
            .into_iter()
            .find(|folder| names.binary_search(folder).is_ok());
        if let Some(file) = file {
            return Err(format!(
                "{:?} is a file, and a folder of {:?}",
                shown(file),
                shown(name)
            ));
        }
        cleared = parent;
    }
    Ok(())
}

/// Checks a part; gives how many files it lists and how many bytes they have.
pub(crate) fn part(part: &Part) -> Result<(u64, u64), String> {
    if part.tablets.len() > MAX_PART_TABLETS {
        return Err(format!(
            "the part has {} tablets, expected at most {MAX_PART_TABLETS}",
            part.tablets.len()
        ));
    }
    if !part.tablets.is_sorted_by(|a, b| a.bucket < b.bucket) {
        return Err("the part's buckets do not ascend".to_owned());
    }
    let mut keys = BTreeSet::new();
    for ObjectEntry { key, len } in &part.objects {
        if !(1..=MAX_OBJECT_LEN).contains(len) {
            return Err(format!(
                "object {key} has {len} bytes, expected 1 to {MAX_OBJECT_LEN}"
            ));
        }
        if !keys.insert(key) {
            return Err(format!("object {key} is listed twice"));
        }
    }
    let (mut files, mut bytes) = (0_u64, 0_u64);
    for tablet in &part.tablets {
        names(&tablet.files)?;
        for file in &tablet.files {
            files += 1;
            bytes = bytes
                .checked_add(file.len)
                .ok_or("the part's bytes do not fit 64 bits")?;
            part_file(file, &part.objects)
                .map_err(|fault| format!("file {:?}: {fault}", shown(&file.name)))?;
        }
    }
    match files > MAX_PART_FILES as u64 {
        true => Err(format!(
            "the part lists {files} files, expected at most {MAX_PART_FILES}"
        )),
        false => Ok((files, bytes)),
    }
}

fn part_file(file: &PartFile, objects: &[ObjectEntry]) -> Result<(), String> {
    if let Some(rule) = broken_rule(&file.name) {
        return Err(format!("the name {rule}"));
    }
    let content = file.content();
    if let Some(fault) = content.fault() {
        return Err(fault);
    }
    let mut expected = content.pieces();
    for piece in &file.pieces {
        let Some((hash, len)) = expected.next() else {
            return Err(format!("{} pieces are more than it has", file.pieces.len()));
        };
        if piece.len != len {
            return Err(format!("a piece of {} bytes, expected {len}", piece.len));
        }
        part_piece(piece, &hash, objects)?;
    }
    match expected.next() {
        Some((_, len)) => Err(format!("a piece of {len} bytes is missing")),
        None => Ok(()),
    }
}

fn part_piece(piece: &Location, hash: &ContentHash, objects: &[ObjectEntry]) -> Result<(), String> {
    let Some(object) = objects.get(piece.object as usize) else {
        return Err(format!(
            "object number {}, expected below {}",
            piece.object,
            objects.len()
        ));
    };
    let ObjectEntry { key, len } = object;
    match piece.offset.checked_add(piece.len) {
        Some(end) if end <= *len => {}
        _ => {
            return Err(format!(
                "{} bytes at {} of object {key}, which has {len}",
                piece.len, piece.offset
            ));
        }
    }
    let whole = piece.offset == 0 && piece.len == *len && key.hash() == hash;
    if key.kind() == ObjectKind::Whole && !whole {
        return Err(format!(
            "{} bytes at {} of object {key}, expected the whole of an object of {hash}",
            piece.len, piece.offset
        ));
    }
    Ok(())
}

/// Checks a root.
pub(crate) fn root(root: &Root) -> Result<(), String> {
    let plain = |error: Error| error.message().to_owned();
    check_label(&root.label).map_err(plain)?;
    check_timestamp(&root.timestamp).map_err(plain)?;
    Writer::new(&root.cluster, root.job).map_err(plain)?;
    object_name("database", &root.database)?;
    if root.tables.len() > MAX_TABLES {
        return Err(format!(
            "{} tables, expected at most {MAX_TABLES}",
            root.tables.len()
        ));
    }
    let mut tables = BTreeSet::new();
    let mut partitions = 0;
    for table in &root.tables {
        object_name("table", &table.name)?;
        if !tables.insert(table.name.as_str()) {
            return Err(format!("table {:?} comes twice", shown(&table.name)));
        }
        partitions += table.partitions.len();
        let mut names = BTreeSet::new();
        for partition in &table.partitions {
            object_name("partition", &partition.name)?;
            if !names.insert(partition.name.as_str()) {
                return Err(format!(
                    "partition {:?} of table {:?} comes twice",
                    shown(&partition.name),
                    shown(&table.name)
                ));
            }
            partition.parts.iter().try_for_each(part_ref)?;
        }
    }
    if partitions > MAX_PARTITIONS {
        return Err(format!(
            "{partitions} partitions, expected at most {MAX_PARTITIONS}"
        ));
    }
    let sum = root.sum();
    match sum == root.totals {
        true => Ok(()),
        false => Err(format!("totals {:?}, expected {sum:?}", root.totals)),
    }
}

fn part_ref(part: &PartRef) -> Result<(), String> {
    if part.len > MAX_STORED_DOCUMENT || part.files > MAX_PART_FILES as u64 {
        return Err(format!(
            "part {} of {} bytes and {} files, \
             expected at most {MAX_STORED_DOCUMENT} and {MAX_PART_FILES}",
            part.hash, part.len, part.files
        ));
    }
    Ok(())
}

/// Names of databases, tables and partitions belong to the storage; here only what no name may
/// hold is refused.
fn object_name(what: &str, name: &str) -> Result<(), String> {
    let bad = name.is_empty() || name.len() > MAX_OBJECT_NAME || name.chars().any(char::is_control);
    match bad {
        true => Err(format!(
            "{what} name {:?} is empty, longer than {MAX_OBJECT_NAME} bytes \
             or holds a control character",
            shown(name)
        )),
        false => Ok(()),
    }
}
