//! The frames of a log, as `docs/journal-format.md` lays them out: where each ends, so that a log can
//! be cut between any two of them and inside any of them.

use std::collections::BTreeMap;
use std::fs;
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::gate::{Moment, Side};
use crate::place::{copy_tree, is_immutable};

/// Bytes of a segment's header, and of a frame's.
const HEADER: usize = 96;

/// Where each frame of a segment lies. The segment is whole.
fn frames(bytes: &[u8]) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    let mut at = HEADER;
    while at < bytes.len() {
        assert_eq!(bytes[at..at + 4], *b"HFf\xa7", "no frame at {at}");
        let payload = bytes[at + 12..at + 16].try_into().unwrap();
        let payload = u32::from_le_bytes(payload) as usize;
        let end = at + (HEADER + payload).next_multiple_of(16);
        found.push(at..end);
        at = end;
    }
    assert_eq!(at, bytes.len(), "the last frame is torn");
    found
}

fn segments(folder: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let paths = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path());
    paths
        .filter(|path| path.extension().is_some_and(|name| name == "log"))
        .map(|path| {
            let bytes = fs::read(&path).unwrap();
            (path.file_name().unwrap().into(), bytes)
        })
        .collect()
}

/// A log as a kill in the middle of one append leaves it: some of the append's frames, and of the
/// next one nothing or a part. Everything else is as it was before the append.
#[derive(Clone, Debug)]
pub struct Cut {
    /// The copy from before the append.
    before: PathBuf,
    segment: PathBuf,
    /// What the segment holds.
    bytes: Vec<u8>,
    /// Events of the append, the last of which makes it valid.
    pub frames: usize,
    /// How many of them are whole.
    pub whole: usize,
    /// Whether a half of the next one is there.
    pub is_torn: bool,
    /// What was appended.
    pub what: String,
}

impl Cut {
    /// Whether some of the append is there, and not all.
    pub fn is_inside(&self) -> bool {
        self.frames > 1 && (self.whole > 0 || self.is_torn) && self.whole < self.frames
    }

    /// How many events the log held before the append.
    pub fn events_before(&self) -> usize {
        let segments = segments(&self.before.join("node/journal"));
        segments.values().map(|bytes| frames(bytes).len()).sum()
    }

    /// Lays the folders out below `to`.
    pub fn lay_out(&self, to: &Path) {
        copy_tree(&self.before, to, &is_immutable);
        fs::write(to.join("node/journal").join(&self.segment), &self.bytes).unwrap();
    }
}

/// All cuts of all appends among these moments: after each frame, and half-way through each.
pub fn cuts(moments: &[Moment]) -> Vec<Cut> {
    let mut found = Vec::new();
    let mut before: Option<&Moment> = None;
    for moment in moments {
        match moment.append {
            None => {}
            Some(Side::Before) => before = Some(moment),
            Some(Side::After) => {
                let before = before.take().expect("an append that did not begin");
                cuts_of_append(before, moment, &mut found);
            }
        }
    }
    found
}

fn cuts_of_append(before: &Moment, after: &Moment, found: &mut Vec<Cut>) {
    let mut old = segments(&before.root.join("node/journal"));
    for (segment, bytes) in segments(&after.root.join("node/journal")) {
        // One append never spans segments, and those of a test are far below the length at which
        // the next one begins.
        let had = old.remove(&segment).expect("the log went on to a new file");
        let new = bytes.strip_prefix(&had[..]).expect("a log only grows");
        if new.is_empty() {
            continue;
        }
        let frames: Vec<_> = frames(&bytes)
            .into_iter()
            .filter(|frame| frame.start >= had.len())
            .collect();
        let mut add = |whole: usize, len: usize, is_torn: bool| {
            found.push(Cut {
                before: before.root.clone(),
                segment: segment.clone(),
                bytes: bytes[..len].to_vec(),
                frames: frames.len(),
                whole,
                is_torn,
                what: after.what.clone(),
            });
        };
        for (number, frame) in frames.iter().enumerate() {
            add(number, frame.start + frame.len() / 2, true);
            add(number + 1, frame.end, false);
        }
    }
}
