//! Makes manifest parts from files and their places in a plan. Owns where one part ends and the
//! next begins, and the translation from the plan's object table to the part's own.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use serde::{Deserialize, Serialize};

use crate::limits::{FORMAT_VERSION, MAX_PART_FILES, MAX_PART_TABLETS};
use crate::manifest::{Part, PartFile, PartRef, PartTablet};
use crate::plan::{Content, Location, Placement};
use crate::{Error, ObjectEntry};

/// A part ends before its text grows beyond about this many bytes, however few files it lists.
const SOFT_TEXT_LEN: usize = 32 << 20;

/// A manifest part ready to be put.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EncodedPart {
    /// The bytes to store.
    pub bytes: Vec<u8>,
    /// How the root refers to it.
    pub reference: PartRef,
}

/// Cuts the files of *one partition* into parts. Files come bucket by bucket, ascending.
///
/// The same files in the same places give the same bytes, so an unchanged partition has the same
/// part in each snapshot.
#[derive(Debug)]
pub struct PartBuilder<'a> {
    table: &'a [ObjectEntry],
    max_files: usize,
    part: Part,
    files: usize,
    text: usize,
    own: HashMap<u32, u32, BuildHasherDefault<SlotHasher>>,
}

impl<'a> PartBuilder<'a> {
    /// A builder over the plan's object table.
    pub fn new(table: &'a [ObjectEntry]) -> Self {
        PartBuilder {
            table,
            max_files: MAX_PART_FILES,
            part: Part::default(),
            files: 0,
            text: 0,
            own: HashMap::default(),
        }
    }

    /// The same builder with parts of at most `files` files, 1 to [`MAX_PART_FILES`].
    pub fn with_max_files(mut self, files: usize) -> Self {
        self.max_files = files.clamp(1, MAX_PART_FILES);
        self
    }

    /// Opens a tablet, so that one without files is listed too. Gives a part where one became
    /// full.
    ///
    /// # Errors
    /// As [`Part::encode`]; also where `bucket` does not ascend.
    pub fn tablet(&mut self, bucket: u32) -> Result<Option<EncodedPart>, Error> {
        match self.part.tablets.last() {
            Some(last) if last.bucket == bucket => return Ok(None),
            Some(last) if last.bucket > bucket => {
                return Err(Error::invalid(format!(
                    "bucket {bucket} comes after bucket {}",
                    last.bucket
                )));
            }
            _ => {}
        }
        let full = self.part.tablets.len() >= MAX_PART_TABLETS;
        let done = if full { self.cut()? } else { None };
        self.open(bucket);
        Ok(done)
    }

    /// Adds a file of `bucket` that lies at `placement` in the plan's table. Gives a part where
    /// one became full.
    ///
    /// # Errors
    /// As [`Part::encode`]; also where a piece lies in no object of the table.
    pub fn add(
        &mut self,
        bucket: u32,
        name: &str,
        content: &Content,
        placement: &Placement,
    ) -> Result<Option<EncodedPart>, Error> {
        let mut done = self.tablet(bucket)?;
        let text = 2 * name.len() + 160 + 140 * content.segments.len();
        let full = self.files >= self.max_files || self.text.saturating_add(text) > SOFT_TEXT_LEN;
        if full && self.files > 0 {
            let next = self.cut()?;
            done = done.or(next);
            self.open(bucket);
        }
        let mut pieces = Vec::with_capacity(placement.pieces.len());
        for piece in &placement.pieces {
            pieces.push(Location {
                object: self.own_slot(piece.object)?,
                ..*piece
            });
        }
        self.files += 1;
        self.text += text;
        let file = PartFile {
            name: name.to_owned(),
            len: content.len,
            hash: content.hash,
            segments: content.segments.clone(),
            pieces,
        };
        if let Some(tablet) = self.part.tablets.last_mut() {
            tablet.files.push(file);
        }
        Ok(done)
    }

    /// The last part, where anything was added since the one before.
    ///
    /// # Errors
    /// As [`Part::encode`].
    pub fn finish(mut self) -> Result<Option<EncodedPart>, Error> {
        self.cut()
    }

    fn open(&mut self, bucket: u32) {
        self.part.tablets.push(PartTablet {
            bucket,
            files: Vec::new(),
        });
    }

    fn own_slot(&mut self, slot: u32) -> Result<u32, Error> {
        if let Some(own) = self.own.get(&slot) {
            return Ok(*own);
        }
        let Some(entry) = self.table.get(slot as usize) else {
            return Err(Error::invalid(format!(
                "object number {slot}, expected below {}",
                self.table.len()
            )));
        };
        let own = self.part.objects.len() as u32;
        self.part.objects.push(*entry);
        self.own.insert(slot, own);
        Ok(own)
    }

    fn cut(&mut self) -> Result<Option<EncodedPart>, Error> {
        if self.part.tablets.is_empty() {
            return Ok(None);
        }
        let mut part = std::mem::take(&mut self.part);
        part.format = FORMAT_VERSION;
        self.own.clear();
        self.files = 0;
        self.text = 0;
        part.encode().map(Some)
    }
}

/// Takes a slot number for its own hash, scattered by a fixed odd factor.
#[derive(Debug, Clone, Copy, Default)]
struct SlotHasher(u64);

impl Hasher for SlotHasher {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u32(u32::from(*byte));
        }
    }

    fn write_u32(&mut self, slot: u32) {
        self.0 = (self.0 ^ u64::from(slot)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn finish(&self) -> u64 {
        self.0
    }
}
