//! The plans of a restore: which tablets each task stages or fills, and where their file lists
//! lie.
//!
//! A plan is a container: one [`Batch`] per task, in the order of the lanes, then a [`Header`].
//! Batches do not hold file lists but point to the records of kept manifest parts
//! ([`super::lists`]), so that a plan's size grows with tablets, not with files.

use std::collections::BTreeMap;

use holdfast_storage::{BackendId, TabletId};
use serde::{Deserialize, Serialize};

use crate::ids::BlobHash;
use crate::order::{Failure, Lane, Output, StatusCode};
use crate::plan::{PlanReader, PlanWriter};
use crate::work::Task;

/// The tablets of one task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Batch {
    /// Where they are.
    pub(super) backend: BackendId,
    /// Kept manifest parts that the tablets refer to.
    pub(super) parts: Vec<BlobHash>,
    /// The tablets.
    pub(super) tablets: Vec<BatchTablet>,
}

/// One replica to be made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BatchTablet {
    /// The target tablet.
    pub(super) id: TabletId,
    /// Its file lists: index into [`Batch::parts`], record in that part.
    pub(super) lists: Vec<(u32, u32)>,
    /// Files on these lists.
    pub(super) files: u64,
    /// Bytes of these files.
    pub(super) bytes: u64,
}

/// What a plan says of itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Header {
    /// Tasks per backend.
    pub(super) lanes: Vec<Lane>,
}

/// A tablet of the snapshot and its file lists, by part and record.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct SourceTablet {
    /// Index among all kept parts, and record in that part.
    pub(super) lists: Vec<(u32, u32)>,
    /// Files.
    pub(super) files: u64,
    /// Bytes.
    pub(super) bytes: u64,
}

/// Writes a plan batch by batch; a batch ends where the next tablet would exceed a bound.
pub(super) struct BatchWriter<'a> {
    task: &'a Task<'a>,
    writer: PlanWriter,
    lanes: Vec<Lane>,
    bounds: Bounds,
    open: Option<Batch>,
    index_of: BTreeMap<BlobHash, u32>,
    files: u64,
    bytes: u64,
}

/// What one batch may hold; one tablet always fits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Tablets.
    pub(super) tablets: usize,
    /// Files.
    pub(super) files: u64,
    /// Bytes.
    pub(super) bytes: u64,
}

impl<'a> BatchWriter<'a> {
    /// A plan without tasks.
    pub(super) fn new(task: &'a Task<'a>, bounds: Bounds) -> Self {
        Self {
            task,
            writer: PlanWriter::new(),
            lanes: Vec::new(),
            bounds,
            open: None,
            index_of: BTreeMap::new(),
            files: 0,
            bytes: 0,
        }
    }

    /// Adds a tablet; those of one backend come together. `lists` are parts and records in them.
    pub(super) fn add(
        &mut self,
        backend: BackendId,
        id: TabletId,
        lists: impl Iterator<Item = (BlobHash, u32)>,
        files: u64,
        bytes: u64,
    ) -> Result<(), Failure> {
        let fits = self.open.as_ref().is_some_and(|batch| {
            batch.backend == backend
                && batch.tablets.len() < self.bounds.tablets
                && self.files.saturating_add(files) <= self.bounds.files
                && self.bytes.saturating_add(bytes) <= self.bounds.bytes
        });
        if !fits {
            self.close()?;
        }
        let batch = self.open.get_or_insert_with(|| Batch {
            backend,
            parts: Vec::new(),
            tablets: Vec::new(),
        });
        let mut local = Vec::new();
        for (part, record) in lists {
            let index = *self.index_of.entry(part).or_insert_with(|| {
                batch.parts.push(part);
                // A batch of more parts than a u32 counts does not fit into memory before.
                u32::try_from(batch.parts.len() - 1).unwrap_or(u32::MAX)
            });
            local.push((index, record));
        }
        batch.tablets.push(BatchTablet {
            id,
            lists: local,
            files,
            bytes,
        });
        self.files = self.files.saturating_add(files);
        self.bytes = self.bytes.saturating_add(bytes);
        Ok(())
    }

    fn close(&mut self) -> Result<(), Failure> {
        let Some(batch) = self.open.take() else {
            return Ok(());
        };
        self.writer.push(&batch)?;
        match self.lanes.last_mut() {
            Some(lane) if lane.backend == Some(batch.backend) => lane.tasks += 1,
            _ => self.lanes.push(Lane {
                backend: Some(batch.backend),
                tasks: 1,
            }),
        }
        self.index_of.clear();
        (self.files, self.bytes) = (0, 0);
        Ok(())
    }

    /// Keeps the plan; gives its hash and lanes.
    pub(super) fn finish(mut self) -> Result<(BlobHash, Vec<Lane>), Failure> {
        self.close()?;
        let header = Header { lanes: self.lanes };
        self.writer.push(&header)?;
        let (blobs, job) = (self.task.env.blobs.as_ref(), self.task.order.job);
        let plan = self.writer.finish(blobs, job)?;
        Ok((plan, header.lanes))
    }
}

/// Opens the plan that the order names.
pub(super) fn open<'a>(task: &Task<'a>) -> Result<PlanReader<'a>, Failure> {
    let Some(plan) = task.order.plan else {
        return Err(Failure::fatal(
            StatusCode::CommonError,
            format!(
                "task {} of job {} has no plan",
                task.order.task, task.order.job
            ),
        ));
    };
    PlanReader::open(task.env.blobs.as_ref(), task.order.job, plan).map_err(Failure::from)
}

/// The batch of the order's task.
pub(super) fn batch(task: &Task<'_>) -> Result<Batch, Failure> {
    open(task)?.record(task.order.index).map_err(Failure::from)
}

/// Cuts the staged tablets anew, by what has to be fetched. A tablet is never cut: its staging
/// place has one writer.
pub(crate) fn plan_download(task: &Task<'_>) -> Result<Output, Failure> {
    let limits = task.env.limits;
    let bounds = Bounds {
        tablets: usize::MAX,
        files: limits.files_per_task.max(1) as u64,
        bytes: limits.bytes_per_task.max(1),
    };
    let reader = open(task)?;
    let mut writer = BatchWriter::new(task, bounds);
    let mut bytes = 0_u64;
    for index in 0..reader.count().saturating_sub(1) {
        let batch: Batch = reader.record(index)?;
        for tablet in &batch.tablets {
            if tablet.files == 0 {
                continue;
            }
            bytes = bytes.saturating_add(tablet.bytes);
            let lists = tablet.lists.iter().filter_map(|&(part, record)| {
                batch.parts.get(part as usize).map(|&part| (part, record))
            });
            writer.add(batch.backend, tablet.id, lists, tablet.files, tablet.bytes)?;
        }
    }
    let (plan, lanes) = writer.finish()?;
    Ok(Output::DownloadPlanned { plan, lanes, bytes })
}
