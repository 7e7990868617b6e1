//! Which objects a backup has to write, and where in them each data file lies. Pure: the plan is a
//! function of what is added, in which order, and of what the repository holds; it reads neither
//! data nor remote.
//!
//! Files of equal content are one. A file shorter than [`Limits::pack_below`] goes into its lane's
//! pack; any other is an object of its own, or one for each 64 MiB segment. What the repository
//! already holds is referred to and not written.

use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasherDefault, Hasher};

use serde::{Deserialize, Serialize};

use crate::limits::{MAX_FILE_LEN, MAX_OBJECT_LEN, MAX_PACK_MEMBERS, PACK_BELOW, segment_count};
use crate::pack::{Header, header_len};
use crate::{ContentHash, Error, ObjectEntry, ObjectKey, ObjectKind, Presence};

/// A map by content hash. Needs no random state: the keys are hashes already, and those of data at
/// hand.
pub type ByHash<V> = HashMap<ContentHash, V, BuildHasherDefault<PrefixHasher>>;

/// Takes the first eight bytes of a [`ContentHash`] for its hash.
#[derive(Debug, Clone, Copy, Default)]
pub struct PrefixHasher(u64);

impl Hasher for PrefixHasher {
    fn write(&mut self, bytes: &[u8]) {
        if let Some(first) = bytes.first_chunk::<8>() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn write_usize(&mut self, _: usize) {
        // The length before the bytes; all keys have the same.
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// A data file as the planner sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Content {
    /// The hash of all its bytes.
    pub hash: ContentHash,
    /// Its length in bytes.
    pub len: u64,
    /// The hash of each 64 MiB piece (the last is shorter) of a file longer than 64 MiB; empty for
    /// any other.
    pub segments: Vec<ContentHash>,
}

impl Content {
    /// The content of `bytes`, hashed on this thread. For small contents and tests.
    pub fn of(bytes: &[u8]) -> Self {
        let pieces = bytes.chunks(MAX_OBJECT_LEN as usize);
        Content {
            hash: ContentHash::of(bytes),
            len: bytes.len() as u64,
            segments: match segment_count(bytes.len() as u64) {
                0 => Vec::new(),
                _ => pieces.map(ContentHash::of).collect(),
            },
        }
    }

    /// The objects this content would be on its own: hash and length of each piece. None for an
    /// empty file.
    pub fn pieces(&self) -> impl Iterator<Item = (ContentHash, u64)> + '_ {
        let whole = (self.segments.is_empty() && self.len > 0).then_some((self.hash, self.len));
        let segments = self.segments.iter().zip(0_u64..).map(|(hash, index)| {
            let left = self.len.saturating_sub(index * MAX_OBJECT_LEN);
            (*hash, left.min(MAX_OBJECT_LEN))
        });
        whole.into_iter().chain(segments)
    }

    /// What is wrong with it, where anything is.
    pub(crate) fn fault(&self) -> Option<String> {
        let expected = segment_count(self.len);
        if self.len > MAX_FILE_LEN {
            Some(format!(
                "length {}, expected at most {MAX_FILE_LEN}",
                self.len
            ))
        } else if self.segments.len() as u64 != expected {
            Some(format!(
                "{} segment hashes for {} bytes, expected {expected}",
                self.segments.len(),
                self.len
            ))
        } else if self.len == 0 && self.hash != ContentHash::of_nothing() {
            Some(format!("hash {} for no bytes", self.hash))
        } else {
            None
        }
    }
}

/// The number of a distinct content within a plan, dense from 0 in the order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct FileNo(pub u32);

impl FileNo {
    /// The number as an index into [`Plan::placements`].
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A run of bytes within an object of an object table: [`Plan::table`] in a plan, the part's own
/// in a manifest part.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Location {
    /// Index into the object table.
    pub object: u32,
    /// Where the run begins within the object.
    pub offset: u64,
    /// How many bytes it has.
    pub len: u64,
}

/// Where one file's bytes lie: nothing for an empty file, one run, or one for each segment in
/// order.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Placement {
    /// The runs.
    pub pieces: Vec<Location>,
}

/// One small file of a pack to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackMember {
    /// Which file.
    pub file: FileNo,
    /// Its length in bytes.
    pub len: u64,
    /// Its hash.
    pub hash: ContentHash,
}

/// What an object to be written holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum PlannedContent {
    /// A whole file, or the segment of that number of a larger one, which begins at `segment` × 64
    /// MiB.
    Whole {
        /// Which file.
        file: FileNo,
        /// Which segment; 0 for a file that is not segmented.
        segment: u32,
    },
    /// A pack of small files, in order.
    Pack {
        /// The files.
        members: Vec<PackMember>,
    },
}

/// One object to be written. Its name and length are known without its data.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectPlan {
    /// Its name.
    pub key: ObjectKey,
    /// Its index in [`Plan::table`].
    pub slot: u32,
    /// The lane that first added its content.
    pub lane: u32,
    /// Its length in bytes.
    pub len: u64,
    /// What it holds.
    pub content: PlannedContent,
}

impl ObjectPlan {
    /// Key and length.
    pub fn entry(&self) -> ObjectEntry {
        ObjectEntry {
            key: self.key,
            len: self.len,
        }
    }
}

/// What is to be written, and where everything lies afterwards.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Objects to write.
    pub objects: Vec<ObjectPlan>,
    /// Every object that a placement refers to, written or reused.
    pub table: Vec<ObjectEntry>,
    /// Where each file lies, by [`FileNo`].
    pub placements: Vec<Placement>,
    /// Objects that the repository already holds and this plan relies on.
    pub reused: Vec<ObjectEntry>,
    /// Distinct files of which some bytes have to be written.
    pub new_files: u64,
    /// Bytes of data to write, without the headers of packs.
    pub new_bytes: u64,
    /// Distinct files of which nothing has to be written, empty ones included.
    pub reused_files: u64,
    /// Bytes of data that the repository already holds.
    pub reused_bytes: u64,
}

/// A small file that the repository already holds in a pack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownMember {
    /// The pack.
    pub object: ObjectEntry,
    /// Where the file begins within it.
    pub offset: u64,
    /// The file's length in bytes.
    pub len: u64,
}

/// Small files that the repository already holds, by content.
pub type KnownMembers = ByHash<KnownMember>;

/// How small files are bundled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Files shorter than this go into packs, in bytes.
    pub pack_below: u64,
    /// The longest pack, its header included, in bytes; at most [`MAX_OBJECT_LEN`].
    pub pack_len: u64,
    /// The most members of a pack; at most [`MAX_PACK_MEMBERS`].
    pub pack_members: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            pack_below: PACK_BELOW,
            pack_len: MAX_OBJECT_LEN,
            pack_members: MAX_PACK_MEMBERS,
        }
    }
}

impl Limits {
    fn check(&self) -> Result<(), Error> {
        let fits = header_len(1).saturating_add(self.pack_below) <= self.pack_len;
        if fits
            && self.pack_len <= MAX_OBJECT_LEN
            && (1..=MAX_PACK_MEMBERS).contains(&self.pack_members)
        {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "packs of files below {} bytes, of at most {} bytes and {} members, expected room for \
             one file, at most {MAX_OBJECT_LEN} bytes and {MAX_PACK_MEMBERS} members",
            self.pack_below, self.pack_len, self.pack_members
        )))
    }
}

#[derive(Debug, Default)]
struct OpenPack {
    slot: u32,
    members: Vec<PackMember>,
    bytes: u64,
}

/// Makes a [`Plan`] from files, one after the other.
#[derive(Debug)]
pub struct Planner<'a> {
    presence: &'a Presence,
    known: KnownMembers,
    limits: Limits,
    plan: Plan,
    files: ByHash<FileNo>,
    whole: ByHash<u32>,
    packs: BTreeMap<ObjectKey, u32>,
    open: BTreeMap<u32, OpenPack>,
    /// Bytes of the file being added that have to be written.
    added: u64,
}

impl<'a> Planner<'a> {
    /// A planner over what the repository holds. Entries of `known` whose object is not present
    /// are ignored.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) where the limits exceed the format's.
    pub fn new(presence: &'a Presence, known: KnownMembers, limits: Limits) -> Result<Self, Error> {
        limits.check()?;
        Ok(Planner {
            presence,
            known,
            limits,
            plan: Plan::default(),
            files: ByHash::default(),
            whole: ByHash::default(),
            packs: BTreeMap::new(),
            open: BTreeMap::new(),
            added: 0,
        })
    }

    /// Adds a file that the backend `lane` can read. Content added before, by whatever lane, gets
    /// the same number.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) where the content contradicts itself or
    /// an earlier one of the same hash, or the plan is full.
    pub fn add(&mut self, lane: u32, content: &Content) -> Result<FileNo, Error> {
        if let Some(fault) = content.fault() {
            return Err(Error::invalid(format!("file {}: {fault}", content.hash)));
        }
        if let Some(file) = self.files.get(&content.hash).copied() {
            self.check_same(file, content)?;
            return Ok(file);
        }
        let number = u32::try_from(self.plan.placements.len())
            .map_err(|_| Error::invalid("a plan of more than 4294967295 files"))?;
        let file = FileNo(number);
        self.added = 0;
        let pieces = self.place(lane, file, content)?;
        self.plan.placements.push(Placement { pieces });
        self.files.insert(content.hash, file);
        self.plan.new_bytes += self.added;
        self.plan.reused_bytes += content.len - self.added;
        match self.added {
            0 => self.plan.reused_files += 1,
            _ => self.plan.new_files += 1,
        }
        Ok(file)
    }

    /// Closes all packs and gives the plan.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) where a pack cannot be laid out, which
    /// the limits exclude.
    pub fn finish(mut self) -> Result<Plan, Error> {
        while let Some((lane, pack)) = self.open.pop_first() {
            self.close(lane, pack)?;
        }
        Ok(self.plan)
    }

    fn check_same(&self, file: FileNo, content: &Content) -> Result<(), Error> {
        let pieces = &self.plan.placements[file.index()].pieces;
        let len: u64 = pieces.iter().map(|piece| piece.len).sum();
        if len == content.len {
            return Ok(());
        }
        Err(Error::invalid(format!(
            "two files have the hash {}, one of {len} bytes and one of {}",
            content.hash, content.len
        )))
    }

    fn place(
        &mut self,
        lane: u32,
        file: FileNo,
        content: &Content,
    ) -> Result<Vec<Location>, Error> {
        if let Some(location) = self.known_location(content)? {
            return Ok(vec![location]);
        }
        let packed = (1..self.limits.pack_below).contains(&content.len);
        if packed && !self.is_whole(&content.hash, content.len) {
            return Ok(vec![self.put_packed(lane, file, content)?]);
        }
        let mut pieces = Vec::with_capacity(content.segments.len().max(1));
        for ((hash, len), segment) in content.pieces().zip(0_u32..) {
            let object = self.put_whole(lane, file, segment, hash, len)?;
            pieces.push(Location {
                object,
                offset: 0,
                len,
            });
        }
        Ok(pieces)
    }

    fn known_location(&mut self, content: &Content) -> Result<Option<Location>, Error> {
        let Some(known) = self.known.get(&content.hash).copied() else {
            return Ok(None);
        };
        let within = known
            .offset
            .checked_add(known.len)
            .is_some_and(|end| end <= known.object.len);
        let fits = known.object.key.kind() == ObjectKind::Pack && known.len == content.len;
        if !fits || !within || !self.presence.contains(&known.object) {
            return Ok(None);
        }
        let object = match self.packs.get(&known.object.key) {
            Some(slot) => *slot,
            None => self.reuse(known.object)?,
        };
        self.packs.insert(known.object.key, object);
        Ok(Some(Location {
            object,
            offset: known.offset,
            len: known.len,
        }))
    }

    /// Whether these bytes are an object of their own, in the repository or in this plan.
    fn is_whole(&self, hash: &ContentHash, len: u64) -> bool {
        self.whole.contains_key(hash) || self.presence.find(ObjectKind::Whole, hash, len).is_some()
    }

    fn put_whole(
        &mut self,
        lane: u32,
        file: FileNo,
        segment: u32,
        hash: ContentHash,
        len: u64,
    ) -> Result<u32, Error> {
        if let Some(slot) = self.whole.get(&hash).copied() {
            let found = self.plan.table[slot as usize].len;
            if found != len {
                return Err(Error::invalid(format!(
                    "two segments have the hash {hash}, one of {found} bytes and one of {len}"
                )));
            }
            return Ok(slot);
        }
        let slot = match self.presence.find(ObjectKind::Whole, &hash, len) {
            Some(key) => self.reuse(ObjectEntry { key, len })?,
            None => {
                let key = self.presence.vacant(ObjectKind::Whole, &hash);
                let slot = self.slot(ObjectEntry { key, len })?;
                self.added += len;
                self.plan.objects.push(ObjectPlan {
                    key,
                    slot,
                    lane,
                    len,
                    content: PlannedContent::Whole { file, segment },
                });
                slot
            }
        };
        self.whole.insert(hash, slot);
        Ok(slot)
    }

    fn put_packed(
        &mut self,
        lane: u32,
        file: FileNo,
        content: &Content,
    ) -> Result<Location, Error> {
        if let Some(pack) = self.open.remove(&lane) {
            let members = pack.members.len() as u32;
            let len = header_len(members + 1) + pack.bytes + content.len;
            if members >= self.limits.pack_members || len > self.limits.pack_len {
                self.close(lane, pack)?;
            } else {
                self.open.insert(lane, pack);
            }
        }
        if !self.open.contains_key(&lane) {
            // The name is known only when the pack is closed; the slot is filled then.
            let key = ObjectKey::new(ObjectKind::Pack, ContentHash::of_nothing());
            let slot = self.slot(ObjectEntry { key, len: 0 })?;
            let pack = OpenPack {
                slot,
                ..OpenPack::default()
            };
            self.open.insert(lane, pack);
        }
        let pack = self.open.entry(lane).or_default();
        pack.bytes += content.len;
        pack.members.push(PackMember {
            file,
            len: content.len,
            hash: content.hash,
        });
        self.added += content.len;
        Ok(Location {
            object: pack.slot,
            offset: 0,
            len: content.len,
        })
    }

    fn close(&mut self, lane: u32, pack: OpenPack) -> Result<(), Error> {
        let header = Header::new(pack.members.iter().map(|member| (member.hash, member.len)))?;
        for (planned, member) in pack.members.iter().zip(header.members()) {
            if let Some(piece) = self.plan.placements[planned.file.index()]
                .pieces
                .first_mut()
            {
                piece.offset = member.offset;
            }
        }
        let len = header.object_len();
        let hash = *header.key().hash();
        let entry = match self.presence.find(ObjectKind::Pack, &hash, len) {
            Some(key) => {
                // The same pack was written before, by a job that did not finish or whose snapshot
                // is gone.
                let files = pack.members.len() as u64;
                self.plan.new_bytes -= pack.bytes;
                self.plan.reused_bytes += pack.bytes;
                self.plan.new_files -= files;
                self.plan.reused_files += files;
                let entry = ObjectEntry { key, len };
                self.plan.reused.push(entry);
                entry
            }
            None => {
                let key = self.presence.vacant(ObjectKind::Pack, &hash);
                self.plan.objects.push(ObjectPlan {
                    key,
                    slot: pack.slot,
                    lane,
                    len,
                    content: PlannedContent::Pack {
                        members: pack.members,
                    },
                });
                ObjectEntry { key, len }
            }
        };
        self.plan.table[pack.slot as usize] = entry;
        Ok(())
    }

    fn reuse(&mut self, entry: ObjectEntry) -> Result<u32, Error> {
        let slot = self.slot(entry)?;
        self.plan.reused.push(entry);
        Ok(slot)
    }

    fn slot(&mut self, entry: ObjectEntry) -> Result<u32, Error> {
        let slot = u32::try_from(self.plan.table.len())
            .map_err(|_| Error::invalid("a plan of more than 4294967295 objects"))?;
        self.plan.table.push(entry);
        Ok(slot)
    }
}

#[cfg(test)]
mod tests;
