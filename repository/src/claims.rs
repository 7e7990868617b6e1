//! Who may write what: intents, which say that a writer is at work, and claims, by which one
//! writer owns a label. Owns both protocols; knows no data object.
//!
//! A label is claimed by `claim.<n>`, made only where absent. The first is `claim.0`. A cluster
//! takes over from an ended job of its own by making the next number, so that two of its jobs that
//! try at once cannot both succeed. The highest number counts, and whoever has made a claim looks
//! again: it holds only where all lower ones are of ended jobs of its own cluster. Two that see
//! each other both withdraw.

use std::collections::BTreeSet;

use holdfast_broker::{Context, ErrorClass, PutMode, PutOutcome};
use serde::{Deserialize, Serialize};

use crate::limits::{FORMAT_VERSION, MAX_STORED_DOCUMENT};
use crate::manifest::{Versioned, decode_text};
use crate::names::{CLAIM_PREFIX, PART_PREFIX};
use crate::snapshots::Folder;
use crate::{ContentHash, Error, ErrorKind, Repository, Writer};

/// Claims are a few hundred bytes.
const MAX_CLAIM_LEN: u64 = 64 << 10;

#[derive(Debug, Serialize, Deserialize)]
struct Claim {
    format: u32,
    cluster: String,
    job: u64,
}

#[derive(Debug, Serialize, Deserialize)]
struct Intent {
    format: u32,
    cluster: String,
    job: u64,
    /// Root hashes of the snapshots that were visible before this writer began: none of them can
    /// need what it writes.
    snapshots: Vec<ContentHash>,
}

impl Versioned for Claim {
    fn format(&self) -> u32 {
        self.format
    }
}

impl Versioned for Intent {
    fn format(&self) -> u32 {
        self.format
    }
}

/// What became of a claim that was to be given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unclaimed {
    /// The label is free as far as this writer is concerned.
    Released,
    /// Another writer holds it; nothing was touched.
    NotOurs,
    /// The label bears a snapshot; nothing was touched.
    Visible,
}

enum Holder {
    /// Nobody who counts; the next claim has this number.
    Free(u64),
    Ours,
    Another(String),
}

impl Repository {
    /// Says that `writer` is at work. Comes before any lookup of what the repository holds: from
    /// here on nobody deletes what this writer may find. Repeated: nothing more happens.
    ///
    /// # Errors
    /// [`ErrorKind::ReadOnly`], [`ErrorKind::NotFound`] where the repository itself is gone since
    /// it was opened, or the remote's failure.
    pub fn begin(&self, ctx: &Context, writer: &Writer) -> Result<(), Error> {
        self.writable()?;
        self.still_there(ctx)?;
        let name = self.layout().intent(writer)?;
        let labels = self.labels(ctx)?;
        let markers = labels.iter().flat_map(|entry| &entry.snapshots);
        let intent = Intent {
            format: FORMAT_VERSION,
            cluster: writer.cluster.clone(),
            job: writer.job,
            snapshots: markers.map(|marker| marker.root).collect(),
        };
        let text = to_text(&intent)?;
        let unsure = match self.put(ctx, &name, &text, PutMode::CreateIfAbsent) {
            Ok(PutOutcome::Created) => return Ok(()),
            Ok(PutOutcome::Exists) => None,
            Err(error) if error.kind() == ErrorKind::Remote(ErrorClass::Ambiguous) => Some(error),
            Err(error) => return Err(error),
        };
        match (self.find(ctx, &name, MAX_STORED_DOCUMENT)?, unsure) {
            (Some(found), _) if decode_text::<Intent>(&found).is_ok() => Ok(()),
            (_, Some(error)) => Err(error),
            // What is there was torn, by this writer's own earlier try: from it nobody could tell what was visible before.
            (_, None) => self.put(ctx, &name, &text, PutMode::Overwrite).map(drop),
        }
    }

    /// Says that `writer` is done, whichever way. Repeated: nothing more happens.
    ///
    /// # Errors
    /// [`ErrorKind::ReadOnly`], or the remote's failure.
    pub fn end(&self, ctx: &Context, writer: &Writer) -> Result<(), Error> {
        self.writable()?;
        self.delete(ctx, &self.layout().intent(writer)?)
    }

    /// Takes away intents that jobs of `writer`'s own cluster have left behind and that `ended` knows to have ended: a
    /// worker that nobody waited for any more may have written one late. Gives how many went. What such a job has
    /// uploaded needs no intent: it is referred to by a snapshot that is visible, or by nothing.
    ///
    /// # Errors
    /// [`ErrorKind::ReadOnly`], or the remote's failure.
    pub fn end_stale(
        &self,
        ctx: &Context,
        writer: &Writer,
        ended: &dyn Fn(u64) -> bool,
    ) -> Result<u64, Error> {
        self.writable()?;
        let mut gone = 0;
        for name in self.intents(ctx)? {
            let number = name
                .strip_prefix(writer.cluster.as_str())
                .and_then(|rest| rest.strip_prefix('-'))
                .and_then(|number| number.parse().ok());
            let Some(job) = number.filter(|job| *job != writer.job && ended(*job)) else {
                continue;
            };
            let stale = Writer {
                cluster: writer.cluster.clone(),
                job,
            };
            self.end(ctx, &stale)?;
            gone += 1;
        }
        Ok(gone)
    }

    /// Makes the label `writer`'s own, until it bears a snapshot or is given up. `ended` says
    /// which jobs of the writer's own cluster are known to have ended; their claims are taken
    /// over. Repeated: the label stays the writer's.
    ///
    /// Where the remote does not decide races for a name
    /// ([`ConditionalPut`](holdfast_broker::ConditionalPut)), two writers at the same instant may
    /// both succeed: use such a repository with one writer.
    ///
    /// # Errors
    /// [`ErrorKind::LabelTaken`] where the label bears another's snapshot or another writer holds
    /// it.
    pub fn claim(
        &self,
        ctx: &Context,
        label: &str,
        writer: &Writer,
        ended: &dyn Fn(u64) -> bool,
    ) -> Result<(), Error> {
        self.writable()?;
        writer.check()?;
        let folder = self.folder(ctx, label)?;
        let number = match self.holder(ctx, label, &folder, writer, ended)? {
            Holder::Ours => return Ok(()),
            Holder::Another(who) => return Err(self.taken(label, &who)),
            Holder::Free(number) => number,
        };
        let name = self.claim_name(label, number)?;
        let claim = Claim {
            format: FORMAT_VERSION,
            cluster: writer.cluster.clone(),
            job: writer.job,
        };
        match self.put(ctx, &name, &to_text(&claim)?, PutMode::CreateIfAbsent) {
            Ok(PutOutcome::Created | PutOutcome::Exists) => {}
            // Looking again tells whether it landed.
            Err(error) if error.kind() == ErrorKind::Remote(ErrorClass::Ambiguous) => {}
            Err(error) => return Err(error),
        }
        let mut folder = self.folder(ctx, label)?;
        if !folder.claims.contains(&number) && self.lists_late() {
            folder.claims.push(number);
            folder.claims.sort_unstable();
        }
        match self.holder(ctx, label, &folder, writer, ended)? {
            Holder::Ours => Ok(()),
            Holder::Another(who) => {
                if self.claimant(ctx, label, number)?.as_ref() == Some(writer) {
                    self.delete(ctx, &name)?;
                }
                Err(self.taken(label, &who))
            }
            Holder::Free(_) => Err(Error::new(
                ErrorKind::Remote(ErrorClass::Retry),
                format!("claim {name} was written and is not there"),
            )),
        }
    }

    /// Gives the label up: removes the manifest parts that were put under it, and the claim. Only
    /// where the claim is the writer's and the label bears no snapshot. Repeated: nothing more
    /// happens.
    ///
    /// # Errors
    /// [`ErrorKind::ReadOnly`], or the remote's failure; then it can be repeated.
    pub fn unclaim(&self, ctx: &Context, label: &str, writer: &Writer) -> Result<Unclaimed, Error> {
        self.writable()?;
        let folder = self.folder(ctx, label)?;
        let not_held = if !folder.markers.is_empty() || folder.problem.is_some() {
            Some(Unclaimed::Visible)
        } else {
            match folder.claims.last() {
                None => Some(Unclaimed::Released),
                Some(highest) => match self.claimant(ctx, label, *highest)? {
                    Some(by) if by == *writer => None,
                    _ => Some(Unclaimed::NotOurs),
                },
            }
        };
        if let Some(answer) = not_held {
            self.come_through(ctx, label, writer)?;
            return Ok(answer);
        }
        for hash in folder.parts.keys() {
            let leaf = format!("{PART_PREFIX}{hash}");
            self.delete(ctx, &self.layout().in_label(label, leaf)?)?;
        }
        // Ours goes last: while it is there, nobody takes the label over.
        for number in &folder.claims {
            self.delete(ctx, &self.claim_name(label, *number)?)?;
        }
        Ok(Unclaimed::Released)
    }

    /// Asks to delete, in the label's folder, a name that only this writer could use and that nobody
    /// ever puts. A broker clears a folder of what killed writers left unfinished when it is first
    /// asked to change it, and where this writer was killed while it put its claim nothing else asks.
    fn come_through(&self, ctx: &Context, label: &str, writer: &Writer) -> Result<(), Error> {
        let leaf = format_args!("{CLAIM_PREFIX}{writer}");
        self.delete(ctx, &self.layout().in_label(label, leaf)?)
    }

    /// Whether `writer` holds the label's highest claim.
    pub(crate) fn holds(
        &self,
        ctx: &Context,
        label: &str,
        folder: &Folder,
        writer: &Writer,
    ) -> Result<bool, Error> {
        match folder.claims.last() {
            Some(highest) => Ok(self.claimant(ctx, label, *highest)?.as_ref() == Some(writer)),
            None => Ok(false),
        }
    }

    fn holder(
        &self,
        ctx: &Context,
        label: &str,
        folder: &Folder,
        writer: &Writer,
        ended: &dyn Fn(u64) -> bool,
    ) -> Result<Holder, Error> {
        if let Some(marker) = folder.marker_of_another(writer) {
            let who = format!("job {} of cluster {}", marker.job, marker.cluster);
            return Ok(Holder::Another(who));
        }
        if let Some(problem) = &folder.problem {
            return Ok(Holder::Another(problem.clone()));
        }
        if !folder.markers.is_empty() {
            return Ok(Holder::Ours);
        }
        let mut ours = false;
        for number in &folder.claims {
            match self.claimant(ctx, label, *number)? {
                Some(by) if by == *writer => ours = true,
                Some(by) if by.cluster == writer.cluster && ended(by.job) && !ours => {}
                Some(by) => {
                    let who = format!("job {} of cluster {} at work", by.job, by.cluster);
                    return Ok(Holder::Another(who));
                }
                None => {}
            }
        }
        match ours {
            true => Ok(Holder::Ours),
            false => {
                let next = folder
                    .claims
                    .last()
                    .map_or(0, |last| last.saturating_add(1));
                Ok(Holder::Free(next))
            }
        }
    }

    /// Who made a claim; `None` where it is gone by now.
    fn claimant(&self, ctx: &Context, label: &str, number: u64) -> Result<Option<Writer>, Error> {
        let name = self.claim_name(label, number)?;
        let Some(bytes) = self.find(ctx, &name, MAX_CLAIM_LEN)? else {
            return Ok(None);
        };
        let claim: Claim =
            decode_text(&bytes).map_err(|error| error.context(format_args!("claim {name}")))?;
        Writer::new(&claim.cluster, claim.job)
            .map(Some)
            .map_err(|error| Error::damaged(format!("claim {name}: {error}")))
    }

    fn claim_name(&self, label: &str, number: u64) -> Result<holdfast_broker::ObjectName, Error> {
        self.layout()
            .in_label(label, format_args!("{CLAIM_PREFIX}{number}"))
    }

    fn taken(&self, label: &str, who: &str) -> Error {
        Error::new(
            ErrorKind::LabelTaken,
            format!(
                "snapshot {label} already exist in repository {} ({who})",
                self.info().name
            ),
        )
    }

    /// All writers that are at work, as `<cluster>-<job>`.
    ///
    /// # Errors
    /// Where the listing fails.
    pub fn intents(&self, ctx: &Context) -> Result<Vec<String>, Error> {
        const FOLDER: &str = "intents/";
        let mut names = Vec::new();
        self.each(ctx, FOLDER, &mut |path, _| {
            names.extend(path.strip_prefix(FOLDER).map(str::to_owned));
        })?;
        Ok(names)
    }

    /// The root hashes that were visible before `writer` began; `None` where its intent is gone or
    /// unreadable.
    pub(crate) fn seen_before(
        &self,
        ctx: &Context,
        writer: &Writer,
    ) -> Result<Option<BTreeSet<ContentHash>>, Error> {
        let name = self.layout().intent(writer)?;
        let found = self.find(ctx, &name, MAX_STORED_DOCUMENT)?;
        let intent = found.and_then(|bytes| decode_text::<Intent>(&bytes).ok());
        Ok(intent.map(|intent| intent.snapshots.into_iter().collect()))
    }
}

fn to_text<T: Serialize>(value: &T) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value)
        .map_err(|cause| Error::invalid(format!("the document cannot be written: {cause}")))
}
