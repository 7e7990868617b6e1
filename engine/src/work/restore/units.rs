//! How missing files are fetched: small files that lie near each other in one object together, a
//! larger file by itself, files of equal content once. Pure.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_repository::manifest::PartFile;
use holdfast_repository::{ContentHash, ObjectEntry, ObjectKey, limits};
use holdfast_storage::{FileEntry, TabletId};

use crate::order::{Failure, StatusCode};
use crate::work::hashes::entry_of;

/// The most bytes that one run of small files asks for, gaps included.
const RUN_BYTES: u64 = 8 << 20;
/// The most files of equal content that are written at once.
const TARGETS_AT_ONCE: usize = 8;
/// The most empty files in one unit.
const EMPTY_AT_ONCE: usize = 256;

/// A file that a task must bring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Want {
    /// The target tablet.
    pub(super) tablet: TabletId,
    /// The file as the storage's list has it.
    pub(super) entry: FileEntry,
    /// Where its bytes lie, in order.
    pub(super) pieces: Vec<Piece>,
}

/// A run of bytes in an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// The object.
    pub(super) key: ObjectKey,
    /// Where the run begins.
    pub(super) offset: u64,
    /// How many bytes it has.
    pub(super) len: u64,
    /// Their hash.
    pub(super) hash: ContentHash,
}

/// One thing to fetch; numbers in `targets` are indices of wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Files without bytes.
    Empty {
        /// The files.
        targets: Vec<usize>,
    },
    /// Small files of one object, read with as few requests as their places allow.
    Small {
        /// The object.
        key: ObjectKey,
        /// The runs, by offset and without overlap.
        spans: Vec<Span>,
    },
    /// One content of one or many pieces.
    Large {
        /// The pieces in order.
        pieces: Vec<Piece>,
        /// The files that have this content.
        targets: Vec<usize>,
    },
}

/// One small content within an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Span {
    /// Where it begins.
    pub(super) offset: u64,
    /// How many bytes it has.
    pub(super) len: u64,
    /// Their hash.
    pub(super) hash: ContentHash,
    /// The files that have this content.
    pub(super) targets: Vec<usize>,
}

impl Want {
    /// The want of a manifest's file; `objects` is its part's object table.
    ///
    /// # Errors
    /// Where the file points beyond that table.
    pub(super) fn new(
        tablet: TabletId,
        file: &PartFile,
        objects: &[ObjectEntry],
    ) -> Result<Self, Failure> {
        let piece = |(hash, at): (ContentHash, holdfast_repository::plan::Location)| {
            let object = objects.get(at.object as usize)?;
            Some(Piece {
                key: object.key,
                offset: at.offset,
                len: at.len,
                hash,
            })
        };
        let pieces: Option<Vec<Piece>> = file.hashed_pieces().map(piece).collect();
        let entry = entry_of(file);
        match pieces {
            Some(pieces) if pieces.iter().map(|piece| piece.len).sum::<u64>() == entry.len => {
                Ok(Self {
                    tablet,
                    entry,
                    pieces,
                })
            }
            _ => Err(Failure::fatal(
                StatusCode::BadFile,
                format!(
                    "the manifest does not say where all bytes of file '{}' lie",
                    file.name
                ),
            )),
        }
    }

    fn is_small(&self) -> bool {
        self.pieces.len() == 1 && self.entry.len < limits::PACK_BELOW
    }
}

/// Groups what has to be fetched: `missing` are indices into `wants`.
pub(super) fn group(wants: &[Want], missing: &[usize]) -> Vec<Unit> {
    let mut empty = Vec::new();
    let mut small: BTreeMap<ObjectKey, Vec<(Piece, usize)>> = BTreeMap::new();
    let mut large: BTreeMap<(ContentHash, u64), Vec<usize>> = BTreeMap::new();
    for &index in missing {
        let want = &wants[index];
        match want.pieces.first() {
            None => empty.push(index),
            Some(piece) if want.is_small() => {
                small.entry(piece.key).or_default().push((*piece, index));
            }
            Some(_) => {
                let hash = want.entry.hash.map_or([0; 32], |hash| hash.0);
                let content = (ContentHash::from_bytes(hash), want.entry.len);
                large.entry(content).or_default().push(index);
            }
        }
    }
    let mut units = Vec::new();
    for targets in large.into_values() {
        units.extend(targets.chunks(TARGETS_AT_ONCE).map(|targets| Unit::Large {
            pieces: wants[targets[0]].pieces.clone(),
            targets: targets.to_vec(),
        }));
    }
    for (key, pieces) in small {
        runs(key, pieces, &mut units);
    }
    let empty = empty.chunks(EMPTY_AT_ONCE);
    units.extend(empty.map(|targets| Unit::Empty {
        targets: targets.to_vec(),
    }));
    units
}

/// Cuts the pieces of one object into runs.
fn runs(key: ObjectKey, mut pieces: Vec<(Piece, usize)>, units: &mut Vec<Unit>) {
    pieces.sort_by_key(|(piece, index)| (piece.offset, piece.len, piece.hash, *index));
    let mut spans: Vec<Span> = Vec::new();
    for (piece, index) in pieces {
        if let Some(last) = spans.last_mut() {
            if (last.offset, last.len, last.hash) == (piece.offset, piece.len, piece.hash) {
                last.targets.push(index);
                continue;
            }
            let begin = spans.first().map_or(0, |first| first.offset);
            // A manifest from outside may let pieces overlap; those are read apart.
            let overlaps = spans
                .last()
                .is_some_and(|last| piece.offset - last.offset < last.len);
            let end = piece.offset.saturating_add(piece.len);
            if overlaps || end.saturating_sub(begin) > RUN_BYTES {
                units.push(Unit::Small {
                    key,
                    spans: std::mem::take(&mut spans),
                });
            }
        }
        let Piece {
            offset, len, hash, ..
        } = piece;
        spans.push(Span {
            offset,
            len,
            hash,
            targets: vec![index],
        });
    }
    if !spans.is_empty() {
        units.push(Unit::Small { key, spans });
    }
}

/// How many different objects the units read.
pub(super) fn object_count(units: &[Unit]) -> u64 {
    let mut keys = BTreeSet::new();
    for unit in units {
        match unit {
            Unit::Empty { .. } => {}
            Unit::Small { key, .. } => {
                keys.insert(*key);
            }
            Unit::Large { pieces, .. } => keys.extend(pieces.iter().map(|piece| piece.key)),
        }
    }
    keys.len() as u64
}

#[cfg(test)]
mod tests {
    use holdfast_repository::ObjectKind;
    use holdfast_storage::FileHash;

    use super::*;

    fn want(content: &[u8], len: u64, pieces: &[(&[u8], u64, u64)]) -> Want {
        let hash = ContentHash::of(content);
        let piece = |&(object, offset, len): &(&[u8], u64, u64)| Piece {
            key: ObjectKey::new(ObjectKind::Pack, ContentHash::of(object)),
            offset,
            len,
            hash,
        };
        Want {
            tablet: TabletId(1),
            entry: FileEntry {
                name: String::from_utf8_lossy(content).into_owned(),
                len,
                hash: Some(FileHash(*hash.as_bytes())),
                segments: vec![],
            },
            pieces: pieces.iter().map(piece).collect(),
        }
    }

    fn all(wants: &[Want]) -> Vec<Unit> {
        group(wants, &(0..wants.len()).collect::<Vec<_>>())
    }

    fn targets_of_spans(unit: &Unit) -> Vec<Vec<usize>> {
        match unit {
            Unit::Small { spans, .. } => spans.iter().map(|span| span.targets.clone()).collect(),
            other => panic!("not small: {other:?}"),
        }
    }

    #[test]
    fn neighbours_in_one_object_are_one_unit_in_order_of_their_places() {
        let wants = [
            want(b"b", 10, &[(b"o", 110, 10)]),
            want(b"a", 10, &[(b"o", 100, 10)]),
            want(b"c", 10, &[(b"other", 0, 10)]),
        ];
        let units = all(&wants);
        assert_eq!(units.len(), 2);
        assert_eq!(object_count(&units), 2);
        assert!(
            units
                .iter()
                .any(|unit| targets_of_spans(unit) == [vec![1], vec![0]])
        );
    }

    #[test]
    fn equal_content_is_fetched_once() {
        let wants = [
            want(b"a", 10, &[(b"o", 0, 10)]),
            want(b"a", 10, &[(b"o", 0, 10)]),
        ];
        assert_eq!(targets_of_spans(&all(&wants)[0]), [vec![0, 1]]);
        let big = 5 << 20;
        let wants = [
            want(b"a", big, &[(b"o", 0, big)]),
            want(b"a", big, &[(b"p", 0, big)]),
        ];
        match all(&wants).as_slice() {
            [Unit::Large { targets, .. }] => assert_eq!(targets, &[0, 1]),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_run_ends_before_it_is_too_long() {
        let step = 900 << 10;
        let contents: Vec<Vec<u8>> = (0..20_u8).map(|i| vec![i]).collect();
        let wants: Vec<Want> = (0_u64..)
            .zip(&contents)
            .map(|(i, content)| want(content, step, &[(b"o", i * step, step)]))
            .collect();
        let units = all(&wants);
        assert_eq!(units.len(), 3);
        let spans: usize = units.iter().map(|unit| targets_of_spans(unit).len()).sum();
        assert_eq!(spans, 20);
    }

    #[test]
    fn overlapping_pieces_are_read_apart() {
        let wants = [
            want(b"a", 10, &[(b"o", 0, 10)]),
            want(b"b", 10, &[(b"o", 5, 10)]),
            want(b"c", 10, &[(b"o", 5, 10)]),
        ];
        assert_eq!(all(&wants).len(), 3);
    }

    #[test]
    fn empty_files_need_no_object() {
        let wants = [want(b"", 0, &[])];
        let units = all(&wants);
        assert_eq!(units, [Unit::Empty { targets: vec![0] }]);
        assert_eq!(object_count(&units), 0);
    }

    proptest::proptest! {
        #[test]
        fn every_missing_file_is_in_exactly_one_unit_and_runs_never_overlap(
            shape in proptest::collection::vec((0_u8..4, 0_u64..200, 1_u64..50, 0_u8..3), 0..60),
        ) {
            let wants: Vec<Want> = shape
                .iter()
                .map(|&(object, offset, len, kind)| match kind {
                    0 => want(b"", 0, &[]),
                    1 => want(&[object], len, &[(&[object], offset, len)]),
                    _ => want(&[object], len + (2 << 20), &[(&[object], offset, len + (2 << 20))]),
                })
                .collect();
            let mut seen = Vec::new();
            for unit in all(&wants) {
                match unit {
                    Unit::Empty { targets } | Unit::Large { targets, .. } => seen.extend(targets),
                    Unit::Small { spans, .. } => {
                        assert!(spans.is_sorted_by(|a, b| a.offset + a.len <= b.offset));
                        seen.extend(spans.into_iter().flat_map(|span| span.targets));
                    }
                }
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..wants.len()).collect::<Vec<_>>());
        }
    }

    #[test]
    fn only_what_is_missing_is_fetched() {
        let wants = [
            want(b"a", 10, &[(b"o", 0, 10)]),
            want(b"b", 10, &[(b"o", 10, 10)]),
        ];
        assert_eq!(targets_of_spans(&group(&wants, &[1])[0]), [vec![1]]);
    }
}
