//! The end of a backup: manifest parts, then the marker. Owns the answer to whose snapshot a label
//! bears; decides nothing about what is in it.

use holdfast_broker::{Context, ErrorClass};

use crate::manifest::{EncodedPart, Marker};
use crate::names::{MarkerName, PART_PREFIX};
use crate::{ContentHash, Error, ErrorKind, Repository, Writer};

/// Whose snapshot a label bears after [`Repository::put_marker`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MarkerOutcome {
    /// Ours: the marker was read back and is exactly what was to be put. The snapshot is visible
    /// and durable.
    Ours,
    /// Another's; nothing of ours is visible. Says whose, and why ours did not come to be.
    Anothers(String),
}

impl Repository {
    /// Puts a manifest part under a label that the writer has claimed. Repeated: nothing more
    /// happens.
    ///
    /// # Errors
    /// [`ErrorKind::ReadOnly`], [`ErrorKind::Invalid`] for bytes that do not agree with their
    /// reference, or the remote's failure.
    pub fn put_part(&self, ctx: &Context, label: &str, part: &EncodedPart) -> Result<(), Error> {
        self.writable()?;
        let hash = ContentHash::of(&part.bytes);
        if hash != part.reference.hash || part.bytes.len() as u64 != part.reference.len {
            return Err(Error::invalid(format!(
                "manifest part of {} bytes hashes to {hash}, expected {} bytes and {}",
                part.bytes.len(),
                part.reference.len,
                part.reference.hash
            )));
        }
        let leaf = format!("{PART_PREFIX}{hash}");
        self.put_exactly(ctx, &self.layout().in_label(label, leaf)?, &part.bytes)
    }

    /// Puts the marker, after which the snapshot is visible, and reads it back. All manifest parts
    /// that it names must be there. Never deletes anything, and can be repeated until it answers.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where a manifest part is gone or has another size,
    /// [`ErrorKind::Invalid`] where the marker is not for this label, else the remote's failure; a
    /// failed call says nothing about whether the marker is visible.
    pub fn put_marker(
        &self,
        ctx: &Context,
        label: &str,
        marker: &Marker,
    ) -> Result<MarkerOutcome, Error> {
        self.writable()?;
        let leaf = MarkerName::parse(marker.name())?;
        let root = marker.root()?;
        if root.label != label || leaf.root != ContentHash::of(marker.bytes()) {
            return Err(Error::invalid(format!(
                "marker {marker} is for label {}, expected {label}, or its name has another hash",
                root.label
            )));
        }
        let name = self.layout().in_label(label, marker)?;
        let folder = self.folder(ctx, label)?;
        let len = marker.bytes().len() as u64;
        let ours = |marker: &crate::snapshots::MarkerRef| marker.root == leaf.root;
        let there = folder
            .markers
            .iter()
            .any(|found| ours(found) && found.len == len);
        if there && self.find(ctx, &name, len)?.as_deref() == Some(marker.bytes()) {
            // Visible is visible, also beside another's that an undecided race has let in.
            return Ok(MarkerOutcome::Ours);
        }
        if let Some(other) = folder.marker_of_another(&leaf.writer) {
            return Ok(anothers(&other.cluster, other.job));
        }
        for part in root.parts() {
            let found = folder.parts.get(&part.hash);
            // A late listing is no proof of absence; the part's put was acknowledged.
            if found != Some(&part.len) && !(found.is_none() && self.lists_late()) {
                return Err(Error::not_found(format!(
                    "manifest part {} of snapshot {label} has {} bytes, expected {}",
                    part.hash,
                    found.copied().unwrap_or(0),
                    part.len
                )));
            }
        }
        if !self.lists_late() && !self.holds(ctx, label, &folder, &leaf.writer)? {
            let Writer { cluster, job } = &leaf.writer;
            return Ok(MarkerOutcome::Anothers(format!(
                "snapshot {label} is no longer claimed by job {job} of cluster {cluster}"
            )));
        }
        self.put_exactly(ctx, &name, marker.bytes())?;
        match self.get(ctx, &name, len) {
            Ok(found) if found == marker.bytes() => Ok(MarkerOutcome::Ours),
            Ok(_) => Err(Error::damaged(format!(
                "marker {name} reads back other bytes than were written"
            ))),
            // Visible a moment later, or deleted by hand: either way the next look tells.
            Err(error) if error.kind() == ErrorKind::NotFound => Err(Error::new(
                ErrorKind::Remote(ErrorClass::Retry),
                format!("marker {name} was written and is not there"),
            )),
            Err(error) => Err(error),
        }
    }
}

fn anothers(cluster: &str, job: u64) -> MarkerOutcome {
    MarkerOutcome::Anothers(format!(
        "the label bears the snapshot of job {job} of cluster {cluster}"
    ))
}
