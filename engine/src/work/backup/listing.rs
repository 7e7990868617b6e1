//! Lists every pinned file with all its hashes into a plan. What the storage knows is believed (upload proves it); what
//! it does not know is read and hashed here.

use blake3::Hasher;
use holdfast_storage::model::{PinnedPartition, PinnedTable, SEGMENT_BYTES};
use holdfast_storage::{FileEntry, FileHash};

use super::pin::pinned_tablets;
use super::records::{
    LIST_RECORD, ListedFile, PartitionPlan, Pinned, SourceTablet, Span, TablePlan, Tables,
};
use super::sources::{Sources, visit};
use crate::order::Failure;
use crate::plan::PlanWriter;
use crate::work::{Task, hashes};

/// How many tablets are listed at a time, which bounds what is held besides the plan.
const BATCH: usize = 256;

/// All files of a pin.
pub(super) struct Listing {
    /// The lists are in here already; the numbers of their files are not.
    pub(super) writer: PlanWriter,
    pub(super) tables: Tables,
    /// All pinned tablets in the pin's order.
    pub(super) tablets: Vec<SourceTablet>,
    /// The first bytes of the hashes of all files that may lie in packs, sorted: a filter of eight bytes per file.
    pub(super) small: Vec<u64>,
}

/// Lists the files of all tablets of the pin.
pub(super) fn list(task: &Task<'_>, pinned: Pinned) -> Result<Listing, Failure> {
    let Pinned { pin, chosen } = pinned;
    let mut chosen = chosen.into_iter();
    task.progress
        .set_total(pinned_tablets(&pin).map(|tablet| tablet.files).sum());
    let mut listing = Listing {
        writer: PlanWriter::new(),
        tables: Tables {
            position: pin.position,
            tables: Vec::new(),
        },
        tablets: Vec::new(),
        small: Vec::new(),
    };
    let sources = Sources::new(task);
    for PinnedTable {
        name,
        schema,
        partitions,
    } in pin.tables
    {
        let mut plans = Vec::new();
        for partition in partitions {
            let first = listing.tablets.len();
            for tablet in &partition.tablets {
                let Some(chosen) = chosen.next() else {
                    return Err(super::broken("the plan of links lacks a tablet".to_owned()));
                };
                let (id, replicas) = (tablet.id, tablet.replicas.clone());
                listing.tablets.push(SourceTablet {
                    id,
                    chosen,
                    replicas,
                });
            }
            plans.push(listing.partition(task, &sources, partition, first)?);
        }
        listing.tables.tables.push(TablePlan {
            name,
            schema,
            partitions: plans,
        });
    }
    listing.small.sort_unstable();
    listing.small.dedup();
    Ok(listing)
}

/// The part of a content hash that the filter keeps.
pub(super) fn prefix(hash: &[u8; 32]) -> u64 {
    let mut first = [0; 8];
    first.copy_from_slice(&hash[..8]);
    u64::from_le_bytes(first)
}

impl Listing {
    fn partition(
        &mut self,
        task: &Task<'_>,
        sources: &Sources<'_>,
        partition: PinnedPartition,
        first: usize,
    ) -> Result<PartitionPlan, Failure> {
        let mut files = Span {
            first: self.writer.count(),
            count: 0,
        };
        let buckets: Vec<u32> = partition
            .tablets
            .iter()
            .map(|tablet| tablet.bucket)
            .collect();
        let mut record: Vec<ListedFile> = Vec::new();
        for start in (0..buckets.len()).step_by(BATCH) {
            task.context.check()?;
            let end = (start + BATCH).min(buckets.len());
            let tablets = &self.tablets[first + start..first + end];
            let lists = list_tablets(task, sources, tablets)?;
            for (entries, index) in lists.into_iter().zip(start..end) {
                task.progress.add(entries.len() as u64, 0);
                for entry in entries {
                    self.note_small(&entry);
                    let (bucket, tablet) = (buckets[index], (first + index) as u32);
                    record.push(ListedFile {
                        bucket,
                        tablet,
                        entry,
                    });
                    if record.len() == LIST_RECORD {
                        self.writer.push(&record)?;
                        files.count += 1;
                        record.clear();
                    }
                }
            }
        }
        if !record.is_empty() {
            self.writer.push(&record)?;
            files.count += 1;
        }
        Ok(PartitionPlan {
            meta: partition.meta,
            version: partition.version,
            buckets,
            files,
            numbers: Span::default(),
        })
    }

    fn note_small(&mut self, entry: &FileEntry) {
        let packed = entry.len > 0 && entry.len < holdfast_repository::limits::PACK_BELOW;
        if let (true, Some(hash)) = (packed, entry.hash) {
            self.small.push(prefix(&hash.0));
        }
    }
}

/// The files of each tablet, all hashes known.
fn list_tablets(
    task: &Task<'_>,
    sources: &Sources<'_>,
    tablets: &[SourceTablet],
) -> Result<Vec<Vec<FileEntry>>, Failure> {
    let (op, storage) = (task.order.op(), &task.env.storage);
    let pool = &task.env.pool;
    pool.map(tablets, |tablet| {
        let entries = storage.pinned_files(op, tablet.id)?;
        pool.map(entries, |entry| match hashes::content_of(&entry) {
            Some(_) => Ok(entry),
            None => hashed(task, sources, tablet, entry),
        })
    })
}

/// The entry with all hashes, read from the local snapshot.
fn hashed(
    task: &Task<'_>,
    sources: &Sources<'_>,
    tablet: &SourceTablet,
    mut entry: FileEntry,
) -> Result<FileEntry, Failure> {
    let file = sources.open(tablet, &entry.name)?;
    let fault = |text: String| {
        sources.blame_content(
            tablet,
            format!("file '{}' of tablet {} {text}", entry.name, tablet.id),
        )
    };
    if file.len() != entry.len {
        return Err(fault(format!(
            "has {} bytes, expected {}",
            file.len(),
            entry.len
        )));
    }
    let mut whole = Hasher::new();
    let mut segments = Vec::new();
    let count = hashes::segment_count(entry.len) as u64;
    for index in 0..count.max(1) {
        let start = index * SEGMENT_BYTES;
        let end = if count == 0 {
            entry.len
        } else {
            entry.len.min(start + SEGMENT_BYTES)
        };
        let mut segment = Hasher::new();
        let read = visit(file.as_ref(), start..end, &mut |bytes| {
            task.context.check()?;
            task.env.pool.update(&mut whole, bytes);
            if count > 0 {
                task.env.pool.update(&mut segment, bytes);
            }
            Ok::<(), Failure>(())
        });
        let backend = sources.backend(tablet);
        read.map_err(|error| sources.blame(backend, &[tablet], &error))??;
        if count > 0 {
            segments.push(FileHash(*segment.finalize().as_bytes()));
        }
    }
    let found = FileHash(*whole.finalize().as_bytes());
    if let Some(expected) = entry.hash.filter(|expected| *expected != found) {
        return Err(fault(format!("hashes to {found}, expected {expected}")));
    }
    entry.hash = Some(found);
    entry.segments = segments;
    Ok(entry)
}
