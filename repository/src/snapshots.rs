//! What is visible: labels, markers, manifest parts. Owns the reading of label folders; writes
//! nothing.

use std::collections::BTreeMap;

use holdfast_broker::Context;

use crate::limits::MAX_STORED_DOCUMENT;
use crate::manifest::{Part, PartRef, Root};
use crate::names::{
    CLAIM_PREFIX, Layout, MARKER_PREFIX, MarkerName, PART_PREFIX, SNAPSHOT_FOLDER, check_label,
    check_timestamp, parse_number, shown,
};
use crate::{ContentHash, Error, Repository, Writer};

/// A snapshot as the name of its marker tells it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MarkerRef {
    /// When its job was accepted, `yyyy-MM-dd-HH-mm-ss-SSS`.
    pub timestamp: String,
    /// The cluster that wrote it.
    pub cluster: String,
    /// The job that wrote it.
    pub job: u64,
    /// The hash of the marker's bytes.
    pub root: ContentHash,
    /// The marker's length in bytes, as listed.
    pub len: u64,
}

impl MarkerRef {
    pub(crate) fn is_by(&self, writer: &Writer) -> bool {
        self.job == writer.job && self.cluster == writer.cluster
    }

    /// The marker's name within the label's folder.
    pub fn file_name(&self) -> String {
        let Self {
            timestamp,
            cluster,
            job,
            root,
            ..
        } = self;
        format!("{MARKER_PREFIX}{timestamp}.{cluster}.{job}.{root}")
    }

    fn name(&self) -> Result<MarkerName, Error> {
        Ok(MarkerName {
            timestamp: self.timestamp.clone(),
            writer: Writer::new(&self.cluster, self.job)?,
            root: self.root,
        })
    }
}

/// A label and its snapshots.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LabelEntry {
    /// The label.
    pub label: String,
    /// Its snapshots by timestamp; more than one only where the remote could not decide a race for
    /// the label.
    pub snapshots: Vec<MarkerRef>,
    /// What is wrong with the folder, where anything is.
    pub problem: Option<String>,
}

/// What lies in a label's folder.
#[derive(Debug, Clone, Default)]
pub(crate) struct Folder {
    pub(crate) markers: Vec<MarkerRef>,
    pub(crate) parts: BTreeMap<ContentHash, u64>,
    /// Numbers of the claims.
    pub(crate) claims: Vec<u64>,
    pub(crate) problem: Option<String>,
}

impl Folder {
    /// Takes one listed object. What is not ours is left alone and not spoken of.
    fn take(&mut self, leaf: &str, len: u64) {
        if leaf.starts_with(MARKER_PREFIX) {
            if let Err(problem) = self.take_marker(leaf, len) {
                self.problem.get_or_insert(problem.message().to_owned());
            }
        } else if let Some(hash) = leaf.strip_prefix(PART_PREFIX) {
            if let Ok(hash) = ContentHash::parse(hash) {
                self.parts.insert(hash, len);
            }
        } else if let Some(number) = leaf.strip_prefix(CLAIM_PREFIX).and_then(parse_number) {
            self.claims.push(number);
        }
    }

    fn take_marker(&mut self, leaf: &str, len: u64) -> Result<(), Error> {
        let name = MarkerName::parse(leaf)?;
        if !(1..=MAX_STORED_DOCUMENT).contains(&len) {
            return Err(Error::damaged(format!(
                "marker {leaf} has {len} bytes, expected 1 to {MAX_STORED_DOCUMENT}"
            )));
        }
        self.markers.push(MarkerRef {
            timestamp: name.timestamp,
            cluster: name.writer.cluster,
            job: name.writer.job,
            root: name.root,
            len,
        });
        Ok(())
    }

    fn seal(&mut self) {
        self.markers.sort();
        self.claims.sort_unstable();
    }

    pub(crate) fn marker_of_another(&self, writer: &Writer) -> Option<&MarkerRef> {
        self.markers.iter().find(|marker| !marker.is_by(writer))
    }
}

impl Repository {
    /// All visible snapshots, by label, from one listing. A label's folder without a marker is no
    /// snapshot and not among them; one whose marker has a damaged name is, with its problem.
    ///
    /// # Errors
    /// Where the listing fails.
    pub fn labels(&self, ctx: &Context) -> Result<Vec<LabelEntry>, Error> {
        let mut folders: BTreeMap<String, Folder> = BTreeMap::new();
        self.each(ctx, SNAPSHOT_FOLDER, &mut |path, len| {
            let below = path.strip_prefix(SNAPSHOT_FOLDER);
            let Some((label, leaf)) = below.and_then(|below| below.split_once('/')) else {
                return;
            };
            if !leaf.starts_with(MARKER_PREFIX) {
                return;
            }
            if let Some(folder) = folders.get_mut(label) {
                folder.take(leaf, len);
            } else {
                let mut folder = Folder::default();
                if let Err(error) = check_label(label) {
                    folder.problem = Some(error.message().to_owned());
                }
                folder.take(leaf, len);
                folders.insert(label.to_owned(), folder);
            }
        })?;
        let entries = folders.into_iter().map(|(label, mut folder)| {
            folder.seal();
            LabelEntry {
                label,
                snapshots: folder.markers,
                problem: folder.problem,
            }
        });
        Ok(entries.collect())
    }

    /// Reads and proves the snapshot of `label` and `timestamp`. Of two with the same timestamp,
    /// which only an undecided race can leave, the one whose marker's name comes first is meant.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) where there is none,
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) where its bytes do not hash to the root
    /// hash in its name, break a rule, or contradict the name.
    pub fn marker(&self, ctx: &Context, label: &str, timestamp: &str) -> Result<Root, Error> {
        check_timestamp(timestamp)?;
        let folder = self.folder(ctx, label)?;
        let mut markers = folder.markers.iter();
        match markers.find(|marker| marker.timestamp == timestamp) {
            Some(marker) => self.root(ctx, label, marker),
            None => Err(Error::not_found(format!(
                "snapshot {label} has no timestamp {timestamp}{}",
                match folder.problem {
                    Some(problem) => format!(" ({problem})"),
                    None => String::new(),
                }
            ))),
        }
    }

    /// Reads and proves the snapshot that a listing named.
    ///
    /// # Errors
    /// As [`Repository::marker`].
    pub fn root(&self, ctx: &Context, label: &str, marker: &MarkerRef) -> Result<Root, Error> {
        let leaf = marker.name()?;
        let name = self.layout().in_label(label, &leaf)?;
        let bytes = self.get_document(ctx, &name)?;
        let proved = (|| {
            let found = ContentHash::of(&bytes);
            if found != marker.root {
                return Err(Error::damaged(format!(
                    "the bytes hash to {found}, expected {}",
                    marker.root
                )));
            }
            let root = Root::decode(&bytes)?;
            let named = (label, leaf.timestamp.as_str(), leaf.writer.cluster.as_str());
            let says = (
                root.label.as_str(),
                root.timestamp.as_str(),
                root.cluster.as_str(),
            );
            if named != says || leaf.writer.job != root.job {
                return Err(Error::damaged(format!(
                    "it says it is {} {} of {} job {}, expected {label} {} of {}",
                    shown(&root.label),
                    root.timestamp,
                    root.cluster,
                    root.job,
                    leaf.timestamp,
                    leaf.writer
                )));
            }
            Ok(root)
        })();
        proved.map_err(|error: Error| error.context(format_args!("marker {name}")))
    }

    /// Reads and proves a manifest part, and checks every name, length, place and count in it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound) where it is gone,
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) or
    /// [`ErrorKind::NewerFormat`](crate::ErrorKind::NewerFormat) where it cannot be used.
    pub fn part(&self, ctx: &Context, label: &str, part: &PartRef) -> Result<Part, Error> {
        let name = self
            .layout()
            .in_label(label, format_args!("{PART_PREFIX}{}", part.hash))?;
        let bytes = self.get_document(ctx, &name)?;
        Part::decode(part, &bytes)
            .map_err(|error| error.context(format_args!("manifest part {name}")))
    }

    pub(crate) fn folder(&self, ctx: &Context, label: &str) -> Result<Folder, Error> {
        check_label(label)?;
        let prefix = Layout::label(label);
        let mut folder = Folder::default();
        self.each(ctx, &prefix, &mut |path, len| {
            if let Some(leaf) = path.strip_prefix(&prefix) {
                folder.take(leaf, len);
            }
        })?;
        folder.seal();
        Ok(folder)
    }

    /// A stored document. One that is longer than the format allows is damage, not a wrong
    /// request.
    pub(crate) fn get_document(
        &self,
        ctx: &Context,
        name: &holdfast_broker::ObjectName,
    ) -> Result<Vec<u8>, Error> {
        use crate::ErrorKind::Remote;
        use holdfast_broker::ErrorClass::Invalid;
        match self.get(ctx, name, MAX_STORED_DOCUMENT) {
            Err(error) if error.kind() == Remote(Invalid) => Err(Error::damaged(error.to_string())),
            other => other,
        }
    }
}
