//! Content hashes. Owns how a BLAKE3 hash is written as text and as data; hashes nothing that it
//! does not get in hand.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::Error;

/// The BLAKE3 hash of some bytes. Text form: 64 lower-case hex digits, also in JSON; 32 plain
/// bytes in binary formats.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ContentHash([u8; 32]);

impl ContentHash {
    /// The hash of `bytes`, computed on this thread.
    pub fn of(bytes: &[u8]) -> Self {
        ContentHash(*blake3::hash(bytes).as_bytes())
    }

    /// The hash of no bytes at all.
    pub fn of_nothing() -> Self {
        ContentHash::of(&[])
    }

    /// A hash that was computed elsewhere.
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        ContentHash(bytes)
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Reads 64 lower-case hex digits.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for any other text.
    pub fn parse(text: &str) -> Result<Self, Error> {
        parse_hex(text).map(ContentHash).ok_or_else(|| {
            let shown: String = text.chars().take(80).collect();
            Error::invalid(format!(
                "content hash {shown:?} is not 64 lower-case hex digits"
            ))
        })
    }
}

fn parse_hex(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0_u8; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(bytes)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

impl From<blake3::Hash> for ContentHash {
    fn from(hash: blake3::Hash) -> Self {
        ContentHash(*hash.as_bytes())
    }
}

impl fmt::Display for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        let mut text = [0_u8; 64];
        for (pair, byte) in text.chunks_exact_mut(2).zip(self.0) {
            pair[0] = DIGITS[usize::from(byte >> 4)];
            pair[1] = DIGITS[usize::from(byte & 15)];
        }
        f.write_str(std::str::from_utf8(&text).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for ContentHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl Serialize for ContentHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            self.0.serialize(serializer)
        }
    }
}

impl<'de> Deserialize<'de> for ContentHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(HexVisitor)
        } else {
            <[u8; 32]>::deserialize(deserializer).map(ContentHash)
        }
    }
}

struct HexVisitor;

impl de::Visitor<'_> for HexVisitor {
    type Value = ContentHash;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("64 lower-case hex digits")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<ContentHash, E> {
        ContentHash::parse(text).map_err(E::custom)
    }
}

/// Hashes a run of bytes of known length as it passes by, and judges it at the end.
#[derive(Debug, Clone)]
pub struct Verifier {
    hasher: blake3::Hasher,
    seen: u64,
    expected: ContentHash,
    len: u64,
}

impl Verifier {
    /// A verifier of `len` bytes whose hash must be `expected`.
    pub fn new(expected: ContentHash, len: u64) -> Self {
        Verifier {
            hasher: blake3::Hasher::new(),
            seen: 0,
            expected,
            len,
        }
    }

    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        self.seen = self.seen.saturating_add(bytes.len() as u64);
        self.hasher.update(bytes);
    }

    /// How many bytes have passed.
    pub fn seen(&self) -> u64 {
        self.seen
    }

    /// How many bytes are still to come; 0 where too many came.
    pub fn missing(&self) -> u64 {
        self.len.saturating_sub(self.seen)
    }

    /// The hash of what has passed so far.
    pub fn found(&self) -> ContentHash {
        self.hasher.finalize().into()
    }

    /// Whether length and hash agree.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged), with both values in the message.
    pub fn finish(&self) -> Result<(), Error> {
        if self.seen != self.len {
            return Err(Error::damaged(format!(
                "{} bytes were read, expected {}",
                self.seen, self.len
            )));
        }
        let found = self.found();
        if found != self.expected {
            return Err(Error::damaged(format!(
                "the bytes hash to {found}, expected {}",
                self.expected
            )));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_text_round_trips_and_nothing_else_parses() {
        let hash = ContentHash::of(b"abc");
        assert_eq!(
            ContentHash::parse(&hash.to_string()).expect("own text"),
            hash
        );
        let upper = hash.to_string().to_uppercase();
        for bad in ["", "ab", upper.as_str(), &"g".repeat(64), &"é".repeat(32)] {
            assert!(ContentHash::parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn json_and_binary_forms_round_trip() {
        let hash = ContentHash::of(b"abc");
        let json = serde_json::to_string(&hash).expect("json");
        assert_eq!(json, format!("\"{hash}\""));
        assert_eq!(
            serde_json::from_str::<ContentHash>(&json).expect("json"),
            hash
        );
        let binary = postcard::to_stdvec(&hash).expect("binary");
        assert_eq!(binary.len(), 32);
        assert_eq!(
            postcard::from_bytes::<ContentHash>(&binary).expect("binary"),
            hash
        );
    }

    #[test]
    fn a_verifier_notices_length_and_content() {
        let mut verifier = Verifier::new(ContentHash::of(b"abc"), 3);
        verifier.update(b"ab");
        assert!(verifier.finish().is_err());
        assert_eq!(verifier.missing(), 1);
        verifier.update(b"c");
        assert!(verifier.finish().is_ok());
        verifier.update(b"d");
        assert!(verifier.finish().is_err());
        let mut other = Verifier::new(ContentHash::of(b"abc"), 3);
        other.update(b"abd");
        assert!(other.finish().is_err());
    }
}
