//! Finding small files that the repository already holds, by way of what visible snapshots refer
//! to. Owns how far the search goes; what it does not find is only uploaded again.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_broker::Context;

use crate::manifest::Part;
use crate::plan::{KnownMember, KnownMembers};
use crate::{
    ContentHash, Error, ErrorKind, MarkerRef, ObjectEntry, ObjectKind, Presence, Repository,
};

/// How many snapshots are looked through at most, the newest first. Unchanged partitions have the
/// same manifest part in each snapshot, which is read once, so this bounds the cost of a search
/// for files that nobody has.
const MAX_SNAPSHOTS: usize = 64;

struct Search<'a> {
    wanted: &'a dyn Fn(&ContentHash) -> bool,
    enough: usize,
    presence: &'a Presence,
    found: KnownMembers,
    parts: BTreeSet<ContentHash>,
    packs: BTreeSet<ObjectEntry>,
}

impl Search<'_> {
    fn is_over(&self) -> bool {
        self.found.len() >= self.enough
    }
}

impl Repository {
    /// Finds packs that hold wanted small files. Looks through the manifests of the newest 64
    /// visible snapshots, takes only packs that are present, and takes places only from a pack's
    /// own proved header, never from a manifest's word. Ends as soon as `enough` distinct contents
    /// are found. What is damaged or gone is passed over with a warning.
    ///
    /// # Errors
    /// The remote's failure; never because of what is in a manifest.
    pub fn known_members(
        &self,
        ctx: &Context,
        wanted: &dyn Fn(&ContentHash) -> bool,
        enough: usize,
        presence: &Presence,
    ) -> Result<KnownMembers, Error> {
        let mut search = Search {
            wanted,
            enough,
            presence,
            found: KnownMembers::default(),
            parts: BTreeSet::new(),
            packs: BTreeSet::new(),
        };
        if search.is_over() || presence.is_empty() {
            return Ok(search.found);
        }
        let mut snapshots: Vec<(MarkerRef, String)> = Vec::new();
        for entry in self.labels(ctx)? {
            let markers = entry.snapshots.into_iter();
            snapshots.extend(markers.map(|marker| (marker, entry.label.clone())));
        }
        snapshots.sort_by(|a, b| b.cmp(a));
        for (marker, label) in snapshots.iter().take(MAX_SNAPSHOTS) {
            let root = match self.root(ctx, label, marker) {
                Ok(root) => root,
                Err(error) => {
                    pass_over(error)?;
                    continue;
                }
            };
            for part in root.parts() {
                if search.is_over() {
                    return Ok(search.found);
                }
                if search.parts.contains(&part.hash) {
                    continue;
                }
                match self.part(ctx, label, part) {
                    Ok(read) => {
                        search.parts.insert(part.hash);
                        self.search_part(ctx, &read, &mut search)?;
                    }
                    Err(error) => pass_over(error)?,
                }
            }
        }
        Ok(search.found)
    }

    fn search_part(
        &self,
        ctx: &Context,
        part: &Part,
        search: &mut Search<'_>,
    ) -> Result<(), Error> {
        // No member lies before the end of its pack's header.
        let mut useful: BTreeSet<u32> = BTreeSet::new();
        let mut reach: BTreeMap<u32, u64> = BTreeMap::new();
        for file in part.tablets.iter().flat_map(|tablet| &tablet.files) {
            let [piece] = file.pieces.as_slice() else {
                continue;
            };
            let least = reach.entry(piece.object).or_insert(piece.offset);
            *least = piece.offset.min(*least);
            if (search.wanted)(&file.hash) && !search.found.contains_key(&file.hash) {
                useful.insert(piece.object);
            }
        }
        for slot in useful {
            if search.is_over() {
                return Ok(());
            }
            let Some(entry) = part.objects.get(slot as usize) else {
                continue;
            };
            let fresh = entry.key.kind() == ObjectKind::Pack
                && search.presence.contains(entry)
                && search.packs.insert(*entry);
            if !fresh {
                continue;
            }
            let reach = reach.get(&slot).copied().unwrap_or(0);
            match self.pack_header_within(ctx, entry, reach) {
                Ok(header) => {
                    for member in header.members() {
                        if (search.wanted)(&member.hash) {
                            search.found.entry(member.hash).or_insert(KnownMember {
                                object: *entry,
                                offset: member.offset,
                                len: member.len,
                            });
                        }
                    }
                }
                Err(error) => pass_over(error)?,
            }
        }
        Ok(())
    }
}

/// What a snapshot or a pack is worth that cannot be used: nothing, and a warning.
fn pass_over(error: Error) -> Result<(), Error> {
    match error.kind() {
        ErrorKind::Damaged | ErrorKind::NewerFormat | ErrorKind::NotFound | ErrorKind::Invalid => {
            log::warn!("passed over while looking for files already stored: {error}");
            Ok(())
        }
        _ => Err(error),
    }
}
