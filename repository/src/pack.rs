//! Packs: many small data files in one object. Owns the header's bytes and the places of members;
//! reads no remote.
//!
//! A pack is a header followed by its members' bytes, back to back. The header lists each member's
//! hash and length, and the pack is named after the hash of its *header*. So name, length and
//! layout are known before any data is read, and the name still commits to every byte through the
//! members' hashes.

use crate::limits::{MAX_OBJECT_LEN, MAX_PACK_MEMBERS};
use crate::{ContentHash, Error, ErrorKind, ObjectKey, ObjectKind};

const MAGIC: &[u8; 8] = b"HOLDPACK";
const VERSION: u32 = 1;
const FIXED_LEN: u64 = 16;
const ENTRY_LEN: u64 = 40;

/// The longest header there can be, in bytes.
pub const MAX_HEADER_LEN: u64 = header_len(MAX_PACK_MEMBERS);

/// The header's length for `members` members, in bytes.
pub const fn header_len(members: u32) -> u64 {
    FIXED_LEN + ENTRY_LEN * members as u64
}

/// One small file within a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Member {
    /// The hash of its bytes.
    pub hash: ContentHash,
    /// Its length in bytes, at least 1.
    pub len: u64,
    /// Where its bytes begin within the pack.
    pub offset: u64,
}

/// A pack's table of members, in the order of their bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    members: Vec<Member>,
    total: u64,
}

impl Header {
    /// Lays out members given as hash and length.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] where there are none or too many, one is empty, or the pack would be
    /// too long.
    pub fn new(members: impl IntoIterator<Item = (ContentHash, u64)>) -> Result<Self, Error> {
        Header::lay_out(members.into_iter().collect()).map_err(Error::invalid)
    }

    fn lay_out(entries: Vec<(ContentHash, u64)>) -> Result<Self, String> {
        let count = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        if !(1..=MAX_PACK_MEMBERS).contains(&count) {
            return Err(format!(
                "a pack of {} members, expected 1 to {MAX_PACK_MEMBERS}",
                entries.len()
            ));
        }
        let mut offset = header_len(count);
        let mut members = Vec::with_capacity(entries.len());
        for (hash, len) in entries {
            if len == 0 || len > MAX_OBJECT_LEN - offset {
                return Err(format!(
                    "a member of {len} bytes at offset {offset} of a pack, \
                     expected at least 1 byte and a pack of at most {MAX_OBJECT_LEN}"
                ));
            }
            members.push(Member { hash, len, offset });
            offset += len;
        }
        Ok(Header {
            members,
            total: offset,
        })
    }

    /// The members, in order.
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The pack's whole length in bytes.
    pub fn object_len(&self) -> u64 {
        self.total
    }

    /// The header's own length in bytes.
    pub fn len(&self) -> u64 {
        ENTRY_LEN * self.members.len() as u64 + FIXED_LEN
    }

    /// Never true: a pack has at least one member.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The header's bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(usize::try_from(self.len()).unwrap_or(0));
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&(self.members.len() as u32).to_le_bytes());
        for member in &self.members {
            bytes.extend_from_slice(member.hash.as_bytes());
            bytes.extend_from_slice(&member.len.to_le_bytes());
        }
        bytes
    }

    /// The pack's key, generation 0.
    pub fn key(&self) -> ObjectKey {
        ObjectKey::new(ObjectKind::Pack, ContentHash::of(&self.encode()))
    }

    /// Reads a header from the first bytes of a pack; more bytes may follow it. Proves it by the
    /// hash in `key`.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] where the bytes are no header or not the one that `key` names,
    /// [`ErrorKind::NewerFormat`] for a version that is not known here.
    pub fn decode(key: &ObjectKey, bytes: &[u8]) -> Result<Self, Error> {
        let count = Header::decode_count(bytes)?;
        let end = usize::try_from(header_len(count)).unwrap_or(usize::MAX);
        let Some(header) = bytes.get(..end) else {
            return Err(Error::damaged(format!(
                "a pack header of {count} members has {} bytes, expected {end}",
                bytes.len()
            )));
        };
        let found = ContentHash::of(header);
        if found != *key.hash() {
            return Err(Error::damaged(format!(
                "the pack header hashes to {found}, expected {}",
                key.hash()
            )));
        }
        let (entries, _) = header[FIXED_LEN as usize..].as_chunks::<{ ENTRY_LEN as usize }>();
        let entries = entries.iter().map(decode_entry).collect();
        Header::lay_out(entries).map_err(Error::damaged)
    }

    /// How many members the pack that begins with `bytes` says it has; at most
    /// [`MAX_PACK_MEMBERS`].
    pub(crate) fn decode_count(bytes: &[u8]) -> Result<u32, Error> {
        let fixed = bytes.first_chunk::<{ FIXED_LEN as usize }>();
        let Some(rest) = fixed.and_then(|fixed| fixed.strip_prefix(MAGIC)) else {
            return Err(Error::damaged("the pack does not begin with \"HOLDPACK\""));
        };
        let (words, _) = rest.as_chunks::<4>();
        let version = words.first().map_or(0, |word| u32::from_le_bytes(*word));
        let count = words.get(1).map_or(0, |word| u32::from_le_bytes(*word));
        if version > VERSION {
            return Err(Error::new(
                ErrorKind::NewerFormat,
                format!("the pack has format {version}, expected at most {VERSION}"),
            ));
        }
        if version != VERSION || !(1..=MAX_PACK_MEMBERS).contains(&count) {
            return Err(Error::damaged(format!(
                "the pack has format {version} and {count} members, \
                 expected format {VERSION} and 1 to {MAX_PACK_MEMBERS} members"
            )));
        }
        Ok(count)
    }

    /// The member whose bytes begin at `offset`.
    pub fn member_at(&self, offset: u64) -> Option<&Member> {
        let index = self
            .members
            .binary_search_by_key(&offset, |member| member.offset)
            .ok()?;
        self.members.get(index)
    }
}

fn decode_entry(entry: &[u8; ENTRY_LEN as usize]) -> (ContentHash, u64) {
    let mut hash = [0_u8; 32];
    hash.copy_from_slice(&entry[..32]);
    let mut len = [0_u8; 8];
    len.copy_from_slice(&entry[32..]);
    (ContentHash::from_bytes(hash), u64::from_le_bytes(len))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> Header {
        Header::new([(ContentHash::of(b"a"), 1), (ContentHash::of(b"bc"), 2)]).expect("good")
    }

    #[test]
    fn a_header_round_trips_and_lays_members_back_to_back() {
        let header = header();
        let mut bytes = header.encode();
        assert_eq!(bytes.len() as u64, header.len());
        assert_eq!(header.object_len(), header.len() + 3);
        assert_eq!(header.members()[1].offset, header.members()[0].offset + 1);
        bytes.extend_from_slice(b"abc");
        assert_eq!(
            Header::decode(&header.key(), &bytes).expect("own bytes"),
            header
        );
        assert_eq!(header.member_at(header.len()).expect("first").len, 1);
        assert!(header.member_at(0).is_none());
    }

    #[test]
    fn any_flipped_bit_or_cut_of_a_header_is_noticed() {
        let header = header();
        let key = header.key();
        let bytes = header.encode();
        for bit in 0..bytes.len() * 8 {
            let mut changed = bytes.clone();
            changed[bit / 8] ^= 1 << (bit % 8);
            assert!(Header::decode(&key, &changed).is_err(), "bit {bit}");
        }
        for len in 0..bytes.len() {
            assert!(Header::decode(&key, &bytes[..len]).is_err(), "cut at {len}");
        }
    }

    #[test]
    fn impossible_packs_are_refused() {
        let hash = ContentHash::of(b"a");
        assert!(Header::new([]).is_err());
        assert!(Header::new([(hash, 0)]).is_err());
        assert!(Header::new([(hash, u64::MAX)]).is_err());
        assert!(Header::new([(hash, MAX_OBJECT_LEN)]).is_err());
        assert!(Header::new((0..=MAX_PACK_MEMBERS).map(|_| (hash, 1))).is_err());
    }
}
