//! File lists of tablets as the manifest has them: each part is read from the repository once,
//! proved, and kept as a blob with one record per tablet, so that every later work finds the list
//! of its tablets without the repository.
//!
//! A kept part is a container: record 0 is its object table, record n + 1 its n-th tablet.

use std::collections::BTreeMap;

use holdfast_repository::manifest::{NameGuard, PartFile, PartRef, PartTablet};
use holdfast_repository::{ObjectEntry, Repository};
use parking_lot::Mutex;

use super::insist::insist;
use super::plan::{Batch, BatchTablet};
use super::spec;
use crate::ids::BlobHash;
use crate::order::{Failure, StatusCode};
use crate::plan::{PlanReader, PlanWriter};
use crate::work::{Task, parallel};

/// What a kept part holds.
pub(super) struct KeptPart {
    /// The blob.
    pub(super) blob: BlobHash,
    /// Its tablets; the n-th is record n + 1.
    pub(super) tablets: Vec<KeptTablet>,
}

/// One tablet of a kept part.
pub(super) struct KeptTablet {
    /// Its bucket.
    pub(super) bucket: u32,
    /// Files listed here.
    pub(super) files: u64,
    /// Their bytes.
    pub(super) bytes: u64,
}

/// Reads and keeps `parts`, several at once; the answer is in their order.
pub(super) fn keep(
    task: &Task<'_>,
    repository: &Repository,
    parts: &[PartRef],
) -> Result<Vec<KeptPart>, Failure> {
    let kept: Vec<Mutex<Option<KeptPart>>> = parts.iter().map(|_| Mutex::new(None)).collect();
    let items: Vec<(&PartRef, &Mutex<Option<KeptPart>>)> = parts.iter().zip(&kept).collect();
    parallel::each(task.context, &items, &task.env.movers, |(part, slot)| {
        *slot.lock() = Some(keep_one(task, repository, part)?);
        Ok(())
    })?;
    // Each slot is filled: `each` has succeeded for all of them.
    Ok(kept.into_iter().filter_map(Mutex::into_inner).collect())
}

fn keep_one(
    task: &Task<'_>,
    repository: &Repository,
    reference: &PartRef,
) -> Result<KeptPart, Failure> {
    let label = &spec(task)?.label;
    let part = insist(task, |_| {
        Ok(repository.part(task.context, label, reference)?)
    })?;
    let mut writer = PlanWriter::new();
    writer.push(&part.objects)?;
    let mut tablets = Vec::with_capacity(part.tablets.len());
    for tablet in &part.tablets {
        writer.push(tablet)?;
        tablets.push(KeptTablet {
            bucket: tablet.bucket,
            files: tablet.files.len() as u64,
            bytes: tablet
                .files
                .iter()
                .fold(0, |sum, file| sum.saturating_add(file.len)),
        });
    }
    let blob = writer.finish(task.env.blobs.as_ref(), task.order.job)?;
    Ok(KeptPart { blob, tablets })
}

/// Reads the file lists of one batch.
pub(super) struct Lists<'a> {
    readers: Vec<PlanReader<'a>>,
}

impl<'a> Lists<'a> {
    /// Opens the kept parts of `batch`.
    pub(super) fn open(task: &Task<'a>, batch: &Batch) -> Result<Self, Failure> {
        let open = |&part: &BlobHash| {
            PlanReader::open(task.env.blobs.as_ref(), task.order.job, part).map_err(Failure::from)
        };
        Ok(Self {
            readers: batch.parts.iter().map(open).collect::<Result<_, _>>()?,
        })
    }

    /// The object tables of the parts, by their index in the batch.
    pub(super) fn objects(&self) -> Result<Vec<Vec<ObjectEntry>>, Failure> {
        let table = |reader: &PlanReader<'_>| reader.record(0).map_err(Failure::from);
        self.readers.iter().map(table).collect()
    }

    /// The files of a tablet, each with the index of its part in the batch.
    pub(super) fn files(&self, tablet: &BatchTablet) -> Result<Vec<(u32, PartFile)>, Failure> {
        let mut files = Vec::new();
        for &(part, record) in &tablet.lists {
            let Some(reader) = self.readers.get(part as usize) else {
                return Err(Failure::fatal(
                    StatusCode::CommonError,
                    format!("the plan has no part {part} for tablet {}", tablet.id),
                ));
            };
            let list: PartTablet = reader.record(record)?;
            files.extend(list.files.into_iter().map(|file| (part, file)));
        }
        if tablet.lists.len() > 1 {
            guard_names(tablet, &files)?;
        }
        Ok(files)
    }
}

/// A part was checked by itself when it was read; a tablet that goes on over several is checked as
/// a whole.
fn guard_names(tablet: &BatchTablet, files: &[(u32, PartFile)]) -> Result<(), Failure> {
    let mut guard = NameGuard::new();
    files
        .iter()
        .try_for_each(|(_, file)| guard.admit(&file.name))
        .map_err(|error| {
            Failure::fatal(
                StatusCode::BadFile,
                format!("the manifest's list of tablet {}: {error}", tablet.id),
            )
        })
}

/// Lists of one partition's tablets, by bucket, out of its kept parts.
///
/// # Errors
/// Where a part lists a bucket that the partition does not have.
pub(super) fn by_bucket(
    partition: &str,
    buckets: u32,
    first_part: u32,
    parts: &[KeptPart],
) -> Result<BTreeMap<u32, super::plan::SourceTablet>, Failure> {
    let mut tablets: BTreeMap<u32, super::plan::SourceTablet> = BTreeMap::new();
    for (part_index, part) in (first_part..).zip(parts) {
        for (record, tablet) in (1_u32..).zip(&part.tablets) {
            if tablet.bucket >= buckets {
                return Err(Failure::fatal(
                    StatusCode::BadFile,
                    format!(
                        "the manifest lists bucket {} of partition '{partition}', expected below \
                         {buckets}",
                        tablet.bucket
                    ),
                ));
            }
            let source = tablets.entry(tablet.bucket).or_default();
            source.lists.push((part_index, record));
            source.files = source.files.saturating_add(tablet.files);
            source.bytes = source.bytes.saturating_add(tablet.bytes);
        }
    }
    Ok(tablets)
}
