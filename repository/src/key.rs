//! Names of data objects. Owns the one pattern by which a key is written and read back; knows no
//! plan and no manifest.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::{ContentHash, Error};

/// What an object's hash is the hash of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum ObjectKind {
    /// One data file or one segment of one; the hash is that of the object's bytes.
    Whole,
    /// Many small data files; the hash is that of the pack's header, which holds the hash of each
    /// member.
    Pack,
}

impl ObjectKind {
    /// The folder below the repository where objects of this kind lie.
    pub fn folder(self) -> &'static str {
        match self {
            ObjectKind::Whole => "objects",
            ObjectKind::Pack => "packs",
        }
    }
}

/// The name of a data object below the repository's folder: `objects/ab/<hash>` or
/// `packs/ab/<hash>`, followed by `.g<N>` for the generation N where that is not 0. That text is
/// its form in JSON.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    kind: ObjectKind,
    hash: ContentHash,
    generation: u32,
}

impl ObjectKey {
    /// The key of generation 0.
    pub fn new(kind: ObjectKind, hash: ContentHash) -> Self {
        ObjectKey {
            kind,
            hash,
            generation: 0,
        }
    }

    /// The same content under another generation.
    pub fn with_generation(mut self, generation: u32) -> Self {
        self.generation = generation;
        self
    }

    /// What the hash is of.
    pub fn kind(&self) -> ObjectKind {
        self.kind
    }

    /// The hash in the name.
    pub fn hash(&self) -> &ContentHash {
        &self.hash
    }

    /// How often this content was condemned and written anew.
    pub fn generation(&self) -> u32 {
        self.generation
    }

    /// Reads a key's text, strictly: exactly what [`fmt::Display`] writes.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for any other text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        parse(text).ok_or_else(|| {
            let shown: String = text.chars().take(120).collect();
            Error::invalid(format!(
                "object key {shown:?} is not of the form objects/<2 hex>/<hash> \
                 or packs/<2 hex>/<hash>"
            ))
        })
    }
}

fn parse(text: &str) -> Option<ObjectKey> {
    let (folder, rest) = text.split_once('/')?;
    let kind = match folder {
        "objects" => ObjectKind::Whole,
        "packs" => ObjectKind::Pack,
        _ => return None,
    };
    let (shard, name) = rest.split_once('/')?;
    let (hash, generation) = match name.split_once(".g") {
        Some((hash, number)) => (hash, parse_generation(number)?),
        None => (name, 0),
    };
    let hash = ContentHash::parse(hash).ok()?;
    (hash.to_string().get(..2) == Some(shard)).then_some(ObjectKey {
        kind,
        hash,
        generation,
    })
}

/// A generation from 1 on, without leading zeros, so that each key has one text.
fn parse_generation(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|c| c.is_ascii_digit()) && !text.starts_with('0');
    if plain { text.parse().ok() } else { None }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shard = self.hash.as_bytes()[0];
        write!(f, "{}/{shard:02x}/{}", self.kind.folder(), self.hash)?;
        match self.generation {
            0 => Ok(()),
            generation => write!(f, ".g{generation}"),
        }
    }
}

impl fmt::Debug for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ObjectKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            (self.kind, self.hash, self.generation).serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for ObjectKey {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            return deserializer.deserialize_str(TextVisitor);
        }
        let (kind, hash, generation) = Deserialize::deserialize(deserializer)?;
        Ok(ObjectKey {
            kind,
            hash,
            generation,
        })
    }
}

struct TextVisitor;

impl de::Visitor<'_> for TextVisitor {
    type Value = ObjectKey;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object key")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ObjectKey, E> {
        ObjectKey::parse(text).map_err(E::custom)
    }
}

/// An object and its size, as a manifest or a plan refers to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ObjectEntry {
    /// The object's name.
    pub key: ObjectKey,
    /// Its length in bytes.
    pub len: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_round_trip_as_text_and_as_data() {
        let hash = ContentHash::of(b"x");
        for kind in [ObjectKind::Whole, ObjectKind::Pack] {
            for generation in [0, 1, 10, u32::MAX] {
                let key = ObjectKey::new(kind, hash).with_generation(generation);
                assert_eq!(ObjectKey::parse(&key.to_string()).expect("own text"), key);
                let binary = postcard::to_stdvec(&key).expect("binary");
                assert_eq!(
                    postcard::from_bytes::<ObjectKey>(&binary).expect("binary"),
                    key
                );
                let json = serde_json::to_string(&key).expect("json");
                assert_eq!(serde_json::from_str::<ObjectKey>(&json).expect("json"), key);
            }
        }
    }

    #[test]
    fn keys_that_are_not_exactly_ours_are_refused() {
        let key = ObjectKey::new(ObjectKind::Whole, ContentHash::of(b"x")).to_string();
        let other_shard = format!("objects/zz/{}", ContentHash::of(b"x"));
        for bad in [
            String::new(),
            format!("{key}/"),
            format!("/{key}"),
            format!("../{key}"),
            format!("{key}.g0"),
            format!("{key}.g01"),
            format!("{key}.g+1"),
            format!("{key}.g4294967296"),
            key.replace("objects", "things"),
            key.to_uppercase(),
            other_shard,
        ] {
            assert!(ObjectKey::parse(&bad).is_err(), "{bad}");
        }
    }
}
