//! Length and hashes of a data file, taken in one pass over its bytes.

use crate::model::{FileEntry, FileHash, SEGMENT_BYTES};

/// Takes in the bytes of a file in order.
///
/// Up to the end of the first segment the hash of the file and that of the segment are one, so
/// files of up to [`SEGMENT_BYTES`] are hashed once.
#[derive(Default)]
pub struct Digest {
    whole: blake3::Hasher,
    segment: Option<blake3::Hasher>,
    segments: Vec<FileHash>,
    len: u64,
}

/// What a [`Digest`] found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digested {
    /// Bytes seen.
    pub len: u64,
    /// The hash of all of them.
    pub hash: FileHash,
    /// The hash of each segment of more than [`SEGMENT_BYTES`] bytes; else empty.
    pub segments: Vec<FileHash>,
}

impl Digested {
    /// Whether this is the content that `entry` promises; what it does not promise agrees.
    pub fn agrees_with(&self, entry: &FileEntry) -> bool {
        self.len == entry.len
            && entry.hash.is_none_or(|hash| hash == self.hash)
            && (entry.segments.is_empty() || entry.segments == self.segments)
    }
}

impl Digest {
    /// Before the first byte.
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes seen so far.
    pub fn seen(&self) -> u64 {
        self.len
    }

    /// Takes the next bytes in.
    pub fn update(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let within = self.len % SEGMENT_BYTES;
            if within == 0 && self.len > 0 {
                self.end_segment();
                self.segment = Some(blake3::Hasher::new());
            }
            let take = (bytes.len() as u64).min(SEGMENT_BYTES - within) as usize;
            let (now, rest) = bytes.split_at(take);
            self.whole.update(now);
            if let Some(segment) = &mut self.segment {
                segment.update(now);
            }
            self.len += take as u64;
            bytes = rest;
        }
    }

    fn end_segment(&mut self) {
        let hasher = self.segment.as_ref().unwrap_or(&self.whole);
        self.segments.push(FileHash(*hasher.finalize().as_bytes()));
    }

    /// What was seen.
    pub fn finish(mut self) -> Digested {
        if self.len > SEGMENT_BYTES {
            self.end_segment();
        }
        let hash = FileHash(*self.whole.finalize().as_bytes());
        Digested {
            len: self.len,
            hash,
            segments: self.segments,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_pass_gives_the_hash_of_the_whole_and_of_each_segment() {
        let segment = SEGMENT_BYTES as usize;
        let bytes: Vec<u8> = (0..segment + 5).map(|i| (i % 251) as u8).collect();
        for len in [0, 1, segment, segment + 5] {
            let mut digest = Digest::new();
            for piece in bytes[..len].chunks(10_000_019) {
                digest.update(piece);
            }
            let found = digest.finish();
            assert_eq!(
                (found.len, found.hash),
                (len as u64, FileHash::of(&bytes[..len]))
            );
            let expected: Vec<FileHash> = match len > segment {
                true => bytes[..len].chunks(segment).map(FileHash::of).collect(),
                false => Vec::new(),
            };
            assert_eq!(found.segments, expected, "{len}");
        }
    }
}
