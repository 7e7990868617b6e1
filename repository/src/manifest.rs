//! What a snapshot contains: the *root* (the bytes of the commit marker), which names tables and
//! partitions, and the *parts*, which say where each data file's bytes lie. Owns these documents'
//! form and its checks; moves no bytes.

mod builder;
mod check;
mod codec;

pub use builder::{EncodedPart, PartBuilder};
pub use check::{NameGuard, check_file_name};
pub(crate) use codec::{Versioned, decode, decode_text, encode};

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::names::MarkerName;
use crate::plan::{Content, Location};
use crate::{ContentHash, Error, ObjectEntry, Writer};

/// JSON that the repository carries for its user and never looks into. Null where absent.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Opaque(pub serde_json::Value);

impl Serialize for Opaque {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            self.0.serialize(serializer)
        } else {
            // Binary formats that do not describe themselves cannot read a value of unknown shape
            // back.
            serializer.collect_str(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Opaque {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return serde_json::Value::deserialize(deserializer).map(Opaque);
        }
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text)
            .map(Opaque)
            .map_err(serde::de::Error::custom)
    }
}

impl From<serde_json::Value> for Opaque {
    fn from(value: serde_json::Value) -> Self {
        Opaque(value)
    }
}

/// Sums over a snapshot, written so that a reader can tell people what to expect, and checked
/// against the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Totals {
    /// Tables.
    pub tables: u64,
    /// Partitions of all tables.
    pub partitions: u64,
    /// Files, those of equal content counted each.
    pub files: u64,
    /// Bytes of these files.
    pub bytes: u64,
}

/// The whole of one snapshot: the content of its commit marker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Root {
    /// The format's version, [`FORMAT_VERSION`](crate::limits::FORMAT_VERSION).
    pub format: u32,
    /// The snapshot's label.
    pub label: String,
    /// When its job was accepted, `yyyy-MM-dd-HH-mm-ss-SSS` in that cluster's zone.
    pub timestamp: String,
    /// The same moment in milliseconds since the epoch.
    pub timestamp_ms: u64,
    /// The cluster that wrote it.
    pub cluster: String,
    /// The job that wrote it.
    pub job: u64,
    /// The database it was taken from.
    pub database: String,
    /// What the writer wants to say of the database or the job.
    #[serde(default)]
    pub meta: Opaque,
    /// The tables.
    pub tables: Vec<TableRef>,
    /// Sums.
    pub totals: Totals,
}

/// One table of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TableRef {
    /// Its name, unique within the snapshot.
    pub name: String,
    /// Its definition.
    #[serde(default)]
    pub schema: Opaque,
    /// Its partitions.
    pub partitions: Vec<PartitionRef>,
}

/// One partition of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PartitionRef {
    /// Its name, unique within the table.
    pub name: String,
    /// Its definition.
    #[serde(default)]
    pub meta: Opaque,
    /// The version of the partition that the snapshot holds.
    pub version: u64,
    /// The manifest parts that list its files.
    pub parts: Vec<PartRef>,
}

/// A manifest part, which lies beside the marker as `part.<hash>`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PartRef {
    /// The hash of its bytes as stored.
    pub hash: ContentHash,
    /// Its length as stored, in bytes.
    pub len: u64,
    /// How many files it lists.
    pub files: u64,
    /// How many bytes these have.
    pub bytes: u64,
}

/// A list of files and of the objects in which they lie.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Part {
    /// The format's version.
    pub format: u32,
    /// The objects that the pieces refer to by index.
    pub objects: Vec<ObjectEntry>,
    /// The tablets, ascending by bucket; a tablet's files may go on in the next part.
    pub tablets: Vec<PartTablet>,
}

/// The files of one bucket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartTablet {
    /// Which bucket of the partition.
    pub bucket: u32,
    /// Its files.
    pub files: Vec<PartFile>,
}

/// One data file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartFile {
    /// Its name: relative, `/` between folders.
    pub name: String,
    /// Its length in bytes.
    pub len: u64,
    /// The hash of all its bytes.
    pub hash: ContentHash,
    /// The hash of each 64 MiB piece where it is longer than 64 MiB, else empty.
    #[serde(default)]
    pub segments: Vec<ContentHash>,
    /// Where its bytes lie: none for an empty file, else one run, or one for each segment.
    pub pieces: Vec<Location>,
}

impl PartFile {
    /// The file's content, as a planner wants it.
    pub fn content(&self) -> Content {
        Content {
            hash: self.hash,
            len: self.len,
            segments: self.segments.clone(),
        }
    }

    /// The pieces, each with the hash its bytes must have.
    pub fn hashed_pieces(&self) -> impl Iterator<Item = (ContentHash, Location)> + '_ {
        let hashes: &[ContentHash] = match self.segments.is_empty() {
            true => std::slice::from_ref(&self.hash),
            false => &self.segments,
        };
        hashes.iter().copied().zip(self.pieces.iter().copied())
    }
}

impl Versioned for Part {
    fn format(&self) -> u32 {
        self.format
    }
}

impl Versioned for Root {
    fn format(&self) -> u32 {
        self.format
    }
}

impl Part {
    /// Encodes the part for storing.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) where it breaks a rule of the format.
    pub fn encode(&self) -> Result<EncodedPart, Error> {
        let (files, bytes) = check::part(self).map_err(Error::invalid)?;
        let stored = codec::encode(self)?;
        let reference = PartRef {
            hash: ContentHash::of(&stored),
            len: stored.len() as u64,
            files,
            bytes,
        };
        Ok(EncodedPart {
            bytes: stored,
            reference,
        })
    }

    /// Reads a part's stored bytes and checks every name, length, place and count.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) for what breaks a rule or does not agree
    /// with `reference`, [`ErrorKind::NewerFormat`](crate::ErrorKind::NewerFormat) for a newer
    /// format.
    pub fn decode(reference: &PartRef, stored: &[u8]) -> Result<Self, Error> {
        check::stored(stored, &reference.hash, reference.len)?;
        let part: Part = codec::decode(stored)?;
        let (files, bytes) = check::part(&part).map_err(Error::damaged)?;
        if (files, bytes) != (reference.files, reference.bytes) {
            return Err(Error::damaged(format!(
                "the part lists {files} files of {bytes} bytes, expected {} of {}",
                reference.files, reference.bytes
            )));
        }
        Ok(part)
    }
}

impl Root {
    /// The sums over its tables, as [`Root::totals`] must have them.
    pub fn sum(&self) -> Totals {
        let mut totals = Totals {
            tables: self.tables.len() as u64,
            ..Totals::default()
        };
        for partition in self.tables.iter().flat_map(|table| &table.partitions) {
            totals.partitions += 1;
            for part in &partition.parts {
                totals.files = totals.files.saturating_add(part.files);
                totals.bytes = totals.bytes.saturating_add(part.bytes);
            }
        }
        totals
    }

    /// Every reference to a part, in order.
    pub fn parts(&self) -> impl Iterator<Item = &PartRef> {
        let partitions = self.tables.iter().flat_map(|table| &table.partitions);
        partitions.flat_map(|partition| &partition.parts)
    }

    /// Reads the bytes of a marker and checks every name, length and count.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) for what breaks a rule,
    /// [`ErrorKind::NewerFormat`](crate::ErrorKind::NewerFormat) for a newer format.
    pub fn decode(stored: &[u8]) -> Result<Self, Error> {
        let root: Root = codec::decode(stored)?;
        check::root(&root).map_err(Error::damaged)?;
        Ok(root)
    }
}

/// A commit marker ready to be put: its exact bytes and the name that follows from them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marker {
    name: String,
    root_hash: ContentHash,
    bytes: Vec<u8>,
}

impl Marker {
    /// The marker of `root`. Sets the format's version and the totals.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) where the root breaks a rule of the
    /// format.
    pub fn build(mut root: Root) -> Result<Self, Error> {
        root.format = crate::limits::FORMAT_VERSION;
        root.totals = root.sum();
        check::root(&root).map_err(Error::invalid)?;
        let bytes = codec::encode(&root)?;
        let root_hash = ContentHash::of(&bytes);
        let name = MarkerName {
            timestamp: root.timestamp,
            writer: Writer::new(&root.cluster, root.job)?,
            root: root_hash,
        };
        Ok(Marker {
            name: name.to_string(),
            root_hash,
            bytes,
        })
    }

    /// The marker's name within the label's folder.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The hash of the marker's bytes: the snapshot's root hash.
    pub fn root_hash(&self) -> ContentHash {
        self.root_hash
    }

    /// The bytes to store.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// What the marker says.
    ///
    /// # Errors
    /// As [`Root::decode`], which a marker made by [`Marker::build`] does not meet.
    pub fn root(&self) -> Result<Root, Error> {
        Root::decode(&self.bytes)
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

#[cfg(test)]
mod tests;
