//! Taking back what a cancelled writer has uploaded, without harm to anyone who may rely on it by
//! now. Owns the lists of the condemned and the order of looking that makes deleting safe.

use std::collections::BTreeSet;

use holdfast_broker::{Context, PutMode};
use serde::{Deserialize, Serialize};

use crate::limits::{FORMAT_VERSION, MAX_STORED_DOCUMENT};
use crate::manifest::{self, Versioned};
use crate::{Condemned, Error, ErrorKind, ObjectKey, Repository, Writer};

#[derive(Debug, Serialize, Deserialize)]
struct CondemnedList {
    format: u32,
    cluster: String,
    job: u64,
    keys: Vec<ObjectKey>,
}

impl Versioned for CondemnedList {
    fn format(&self) -> u32 {
        self.format
    }
}

/// What became of a cancelled writer's objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Discarded {
    /// Objects that were deleted, or were gone already.
    pub deleted: u64,
    /// Objects left in place because another may need them.
    pub kept: u64,
}

impl Repository {
    /// Undoes a cancelled backup: removes those of `uploaded` (objects whose put answered
    /// `Created`) that nobody else can have come to rely on, gives the label up and ends the
    /// writer. Repeated after a failure or a crash: goes on.
    ///
    /// The order is what makes it safe: the list of the condemned is written, so that whoever
    /// begins later does not find the objects; then a look for others at work, who may have found
    /// them before; then a look for snapshots that became visible since this writer began; and
    /// only then are objects deleted.
    ///
    /// # Errors
    /// [`ErrorKind::ReadOnly`], or the remote's failure; nothing that is needed has been deleted
    /// then, and it can be repeated.
    pub fn discard(
        &self,
        ctx: &Context,
        writer: &Writer,
        label: &str,
        uploaded: &[ObjectKey],
    ) -> Result<Discarded, Error> {
        self.writable()?;
        let mut done = Discarded::default();
        if !uploaded.is_empty() {
            let name = self.layout().condemned(writer)?;
            let list = manifest::encode(&CondemnedList {
                format: FORMAT_VERSION,
                cluster: writer.cluster.clone(),
                job: writer.job,
                keys: uploaded.to_vec(),
            })?;
            self.put(ctx, &name, &list, PutMode::Overwrite)?;
            match self.needed_by_others(ctx, writer, uploaded)? {
                Needed::All => done.kept = uploaded.len() as u64,
                Needed::Only(keys) => {
                    for key in uploaded {
                        if keys.contains(key) {
                            done.kept += 1;
                        } else {
                            self.delete(ctx, &self.name(key)?)?;
                            done.deleted += 1;
                        }
                    }
                }
            }
            self.delete(ctx, &name)?;
        }
        self.unclaim(ctx, label, writer)?;
        self.end(ctx, writer)?;
        Ok(done)
    }

    fn needed_by_others(
        &self,
        ctx: &Context,
        writer: &Writer,
        uploaded: &[ObjectKey],
    ) -> Result<Needed, Error> {
        // Without this writer's intent nothing kept others from collecting, or from relying on
        // what they found.
        let Some(seen) = self.seen_before(ctx, writer)? else {
            return Ok(Needed::All);
        };
        let own = writer.to_string();
        if self.lists_late() || self.intents(ctx)?.iter().any(|name| *name != own) {
            return Ok(Needed::All);
        }
        let uploaded: BTreeSet<&ObjectKey> = uploaded.iter().collect();
        let mut needed = BTreeSet::new();
        for entry in self.labels(ctx)? {
            if entry.problem.is_some() {
                return Ok(Needed::All);
            }
            let new = entry.snapshots.iter();
            for marker in new.filter(|marker| !seen.contains(&marker.root)) {
                let Some(keys) = self.objects_of(ctx, &entry.label, marker)? else {
                    return Ok(Needed::All);
                };
                needed.extend(keys.into_iter().filter(|key| uploaded.contains(key)));
            }
        }
        Ok(Needed::Only(needed))
    }

    /// The objects that a snapshot refers to; `None` where that cannot be known.
    fn objects_of(
        &self,
        ctx: &Context,
        label: &str,
        marker: &crate::MarkerRef,
    ) -> Result<Option<BTreeSet<ObjectKey>>, Error> {
        let mut keys = BTreeSet::new();
        let root = match self.root(ctx, label, marker) {
            Ok(root) => root,
            Err(error) => return unknown(error),
        };
        for part in root.parts() {
            match self.part(ctx, label, part) {
                Ok(part) => keys.extend(part.objects.iter().map(|entry| entry.key)),
                Err(error) => return unknown(error),
            }
        }
        Ok(Some(keys))
    }

    pub(crate) fn read_condemned(&self, ctx: &Context) -> Result<Condemned, Error> {
        let mut paths = Vec::new();
        self.each(ctx, "condemned/", &mut |path, _| {
            paths.push(path.to_owned())
        })?;
        let mut keys = Vec::new();
        for path in paths {
            let name = self.name(&path)?;
            // A list that is gone by now has done its deletions, or took them back.
            let Some(bytes) = self.find(ctx, &name, MAX_STORED_DOCUMENT)? else {
                continue;
            };
            let list: CondemnedList = manifest::decode(&bytes)
                .map_err(|error| error.context(format_args!("list of the condemned {name}")))?;
            keys.extend(list.keys);
        }
        Ok(Condemned::from_iter(keys))
    }
}

enum Needed {
    All,
    Only(BTreeSet<ObjectKey>),
}

/// A snapshot that cannot be read may need anything; any other failure is passed on.
fn unknown<T>(error: Error) -> Result<Option<T>, Error> {
    match error.kind() {
        ErrorKind::Damaged | ErrorKind::NewerFormat | ErrorKind::NotFound => Ok(None),
        _ => Err(error),
    }
}
