//! Between the hashes and file entries of the storage and those of the repository. Both are BLAKE3 of the same bytes.

use holdfast_repository::ContentHash;
use holdfast_repository::manifest::PartFile;
use holdfast_repository::plan::Content;
use holdfast_storage::model::SEGMENT_BYTES;
use holdfast_storage::{FileEntry, FileHash};

// A segment of a file is one object: both crates must cut at the same places.
const _: () = assert!(SEGMENT_BYTES == holdfast_repository::limits::MAX_OBJECT_LEN);

/// The repository's form of a storage's hash.
pub(crate) fn to_content(hash: FileHash) -> ContentHash {
    ContentHash::from_bytes(hash.0)
}

/// The storage's form of a repository's hash.
pub(crate) fn to_file(hash: ContentHash) -> FileHash {
    FileHash(*hash.as_bytes())
}

/// How many segment hashes a file of `len` bytes has.
pub(crate) fn segment_count(len: u64) -> usize {
    if len > SEGMENT_BYTES {
        len.div_ceil(SEGMENT_BYTES) as usize
    } else {
        0
    }
}

/// The entry's content; `None` where the storage does not know all of its hashes.
pub(crate) fn content_of(entry: &FileEntry) -> Option<Content> {
    let hash = entry.hash?;
    (entry.segments.len() == segment_count(entry.len)).then(|| Content {
        hash: to_content(hash),
        len: entry.len,
        segments: entry.segments.iter().copied().map(to_content).collect(),
    })
}

/// A file of a manifest as the storage wants it.
pub(crate) fn entry_of(file: &PartFile) -> FileEntry {
    FileEntry {
        name: file.name.clone(),
        len: file.len,
        hash: Some(to_file(file.hash)),
        segments: file.segments.iter().copied().map(to_file).collect(),
    }
}
