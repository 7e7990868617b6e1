//! The bounds of the format, in one place. They are part of the format: readers refuse what
//! exceeds them.

/// The format's version; readers refuse a newer one.
pub const FORMAT_VERSION: u32 = 1;

/// The longest data object, and the length of each segment of a larger file but the last, in
/// bytes.
pub const MAX_OBJECT_LEN: u64 = 64 << 20;

/// The most members that a pack may have.
pub const MAX_PACK_MEMBERS: u32 = 4096;

/// Files shorter than this travel in packs, in bytes.
pub const PACK_BELOW: u64 = 1 << 20;

/// The most files that one manifest part may describe.
pub const MAX_PART_FILES: usize = 20_000;

/// The longest file name in a manifest, in bytes.
pub const MAX_NAME_LEN: usize = 4096;

/// The longest manifest part or marker as stored, in bytes.
pub const MAX_STORED_DOCUMENT: u64 = 64 << 20;

/// The longest manifest part, marker or list as JSON text, in bytes.
pub const MAX_DOCUMENT_TEXT: usize = 256 << 20;

/// The most tables, and the most partitions of all tables together, that a snapshot may have.
pub const MAX_TABLES: usize = 100_000;
/// See [`MAX_TABLES`].
pub const MAX_PARTITIONS: usize = 1_000_000;

/// The most tablets that one manifest part may describe.
pub const MAX_PART_TABLETS: usize = 100_000;

/// The longest file, in bytes (1 PiB): 16 777 216 segments.
pub const MAX_FILE_LEN: u64 = 1 << 50;

/// How many segments a file of `len` bytes has: none up to [`MAX_OBJECT_LEN`], pieces of that size
/// beyond.
pub const fn segment_count(len: u64) -> u64 {
    if len <= MAX_OBJECT_LEN {
        0
    } else {
        len.div_ceil(MAX_OBJECT_LEN)
    }
}
