//! Which data objects nothing needs. Owns the look at what snapshots refer to and who is at work;
//! deletes nothing.

use std::collections::BTreeSet;

use holdfast_broker::Context;

use crate::{Error, ErrorKind, ObjectEntry, ObjectKey, Repository};

/// How sure it is that an object is needed by nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Standing {
    /// No snapshot refers to it and nobody is at work.
    Free,
    /// No snapshot refers to it, but a writer is at work that may be about to.
    Held,
    /// Some snapshot cannot be read, and may refer to it.
    Unsure,
}

/// A data object to which no readable snapshot refers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreferenced {
    /// Which object.
    pub object: ObjectEntry,
    /// How sure that is.
    pub standing: Standing,
}

/// Sums over the unreferenced objects, and what stood in the way of being sure.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct UnreferencedReport {
    /// How many objects were listed, needed ones included.
    pub listed: u64,
    /// How many are unreferenced.
    pub objects: u64,
    /// How many bytes these have.
    pub bytes: u64,
    /// Writers at work, as `<cluster>-<job>`.
    pub writers: Vec<String>,
    /// Snapshots or manifest parts that could not be read, and why.
    pub problems: Vec<String>,
}

impl Repository {
    /// Hands every data object to `sink` to which no visible snapshot refers. Objects are listed
    /// before writers, and writers before snapshots, so that whoever finishes meanwhile is not
    /// missed.
    ///
    /// # Errors
    /// The remote's failure; what is damaged is reported and makes every object
    /// [`Standing::Unsure`].
    pub fn unreferenced(
        &self,
        ctx: &Context,
        sink: &mut dyn FnMut(Unreferenced),
    ) -> Result<UnreferencedReport, Error> {
        let mut report = UnreferencedReport::default();
        let mut objects = Vec::new();
        self.each_object(ctx, &mut |entry| objects.push(entry))?;
        report.listed = objects.len() as u64;
        report.writers = self.intents(ctx)?;
        let needed = self.needed(ctx, &mut report.problems)?;
        let standing = match (report.problems.is_empty(), report.writers.is_empty()) {
            (false, _) => Standing::Unsure,
            (true, false) => Standing::Held,
            (true, true) => Standing::Free,
        };
        for object in objects {
            if !needed.contains(&object.key) {
                report.objects += 1;
                report.bytes = report.bytes.saturating_add(object.len);
                sink(Unreferenced { object, standing });
            }
        }
        Ok(report)
    }

    fn needed(
        &self,
        ctx: &Context,
        problems: &mut Vec<String>,
    ) -> Result<BTreeSet<ObjectKey>, Error> {
        let mut needed = BTreeSet::new();
        let mut parts = BTreeSet::new();
        let mut note = |error: Error| match error.kind() {
            ErrorKind::Damaged | ErrorKind::NewerFormat | ErrorKind::NotFound => {
                problems.push(error.to_string());
                Ok(())
            }
            _ => Err(error),
        };
        for entry in self.labels(ctx)? {
            if let Some(problem) = entry.problem {
                note(Error::damaged(format!(
                    "snapshot {}: {problem}",
                    entry.label
                )))?;
            }
            for marker in &entry.snapshots {
                let root = match self.root(ctx, &entry.label, marker) {
                    Ok(root) => root,
                    Err(error) => {
                        note(error)?;
                        continue;
                    }
                };
                for part in root.parts() {
                    // A part of the same bytes under another label names the same objects.
                    if parts.contains(&part.hash) {
                        continue;
                    }
                    match self.part(ctx, &entry.label, part) {
                        Ok(read) => {
                            parts.insert(part.hash);
                            needed.extend(read.objects.iter().map(|entry| entry.key));
                        }
                        Err(error) => note(error)?,
                    }
                }
            }
        }
        Ok(needed)
    }
}
