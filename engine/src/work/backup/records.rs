//! What the plans of a backup hold. The last record of each plan is its [`Head`], which says where the others lie;
//! lists that grow with the number of files are cut into records of bounded size.

use std::ops::Range;

use holdfast_repository::manifest::PartRef;
use holdfast_repository::plan::ObjectPlan;
use holdfast_storage::model::{PartitionMeta, TableSchema};
use holdfast_storage::{BackendId, CatalogPosition, FileEntry, Pin, TabletId};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::ids::BlobHash;
use crate::order::Failure;
use crate::plan::PlanReader;
use crate::work::Task;

/// How many entries a record of a list has at most.
pub(super) const LIST_RECORD: usize = 8192;

/// Consecutive records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Span {
    /// The first.
    pub(super) first: u32,
    /// How many.
    pub(super) count: u32,
}

impl Span {
    pub(super) fn range(self) -> Range<u32> {
        self.first..self.first.saturating_add(self.count)
    }
}

/// What a plan is, and where its records lie.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Head {
    Pin(PinHead),
    Upload(UploadHead),
    Meta(MetaHead),
}

/// The plan that `Pin` makes: the links.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PinHead {
    /// One [`LinkTask`] per task.
    pub(super) tasks: Span,
    /// A [`Pinned`].
    pub(super) pinned: u32,
}

/// What was pinned.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Pinned {
    pub(super) pin: Pin,
    /// The backend that was chosen for each tablet, in the order of the pin.
    pub(super) chosen: Vec<BackendId>,
}

/// A tablet and where it can be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct SourceTablet {
    pub(super) id: TabletId,
    /// Where the plan wants it to be read.
    pub(super) chosen: BackendId,
    /// All backends that have it, best first.
    pub(super) replicas: Vec<BackendId>,
}

/// One batch of tablets to link on one backend.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct LinkTask {
    pub(super) tablets: Vec<SourceTablet>,
}

/// The plan that `PlanUpload` makes: the uploads, and where all files will lie.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UploadHead {
    /// One [`UploadTask`] per task.
    pub(super) tasks: Span,
    /// The [`Tables`].
    pub(super) tables: u32,
    /// Lists of [`holdfast_repository::ObjectEntry`]: the objects that placements refer to.
    pub(super) objects: Span,
    /// Lists of [`holdfast_repository::plan::Placement`], by file number.
    pub(super) placements: Span,
    /// Lists of [`holdfast_repository::ObjectKey`]: objects that were there and are relied on.
    pub(super) reused: Span,
    /// Lists of [`holdfast_repository::ObjectKey`]: objects that this job writes.
    pub(super) written: Span,
}

/// What the snapshot will contain.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Tables {
    pub(super) position: CatalogPosition,
    pub(super) tables: Vec<TablePlan>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TablePlan {
    pub(super) name: String,
    pub(super) schema: TableSchema,
    pub(super) partitions: Vec<PartitionPlan>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct PartitionPlan {
    pub(super) meta: PartitionMeta,
    pub(super) version: u64,
    /// The buckets, ascending.
    pub(super) buckets: Vec<u32>,
    /// Lists of [`ListedFile`], bucket by bucket.
    pub(super) files: Span,
    /// Lists of file numbers, one for each list of files.
    pub(super) numbers: Span,
}

/// One data file of a partition, all hashes known.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct ListedFile {
    pub(super) bucket: u32,
    /// Index of its tablet in the order of the pin.
    pub(super) tablet: u32,
    pub(super) entry: FileEntry,
}

/// One batch of objects to upload.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UploadTask {
    pub(super) tablets: Vec<SourceTablet>,
    pub(super) objects: Vec<UploadObject>,
}

/// One object to upload.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct UploadObject {
    pub(super) plan: ObjectPlan,
    /// Where each member's file lies, in the order of the members.
    pub(super) members: Vec<MemberFile>,
}

/// A file that gives an object its bytes.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct MemberFile {
    /// Index into the task's tablets.
    pub(super) tablet: u32,
    pub(super) name: String,
}

/// The plan that `SaveMeta` makes: the manifest as it will be put.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct MetaHead {
    /// The upload plan that it was made from.
    pub(super) upload: BlobHash,
    /// The references of the parts, a `Vec<PartRef>`.
    pub(super) references: u32,
    /// The parts' bytes as they are, one record each, in the order of the references.
    pub(super) parts: Span,
    /// The [`holdfast_repository::manifest::Marker`].
    pub(super) marker: u32,
}

/// The references of all parts.
pub(super) type References = Vec<PartRef>;

/// A plan and its head.
pub(super) struct Opened<'a, H> {
    pub(super) hash: BlobHash,
    pub(super) head: H,
    reader: PlanReader<'a>,
}

impl<H> Opened<'_, H> {
    pub(super) fn record<T: DeserializeOwned>(&self, index: u32) -> Result<T, Failure> {
        self.reader.record(index).map_err(Failure::from)
    }

    pub(super) fn bytes(&self, index: u32) -> Result<Vec<u8>, Failure> {
        self.reader.bytes(index).map_err(Failure::from)
    }

    /// The record of task `index` of `tasks`.
    pub(super) fn task<T: DeserializeOwned>(&self, tasks: Span, index: u32) -> Result<T, Failure> {
        if index < tasks.count {
            return self.record(tasks.first + index);
        }
        Err(super::broken(format!(
            "plan {} has {} tasks, task {index} was asked for",
            self.hash, tasks.count
        )))
    }

    /// The entries of lists that were cut into records.
    pub(super) fn list<T: DeserializeOwned>(&self, span: Span) -> Result<Vec<T>, Failure> {
        let mut all = Vec::new();
        for index in span.range() {
            all.append(&mut self.record::<Vec<T>>(index)?);
        }
        Ok(all)
    }
}

fn open<'a>(task: &'a Task<'_>, hash: BlobHash) -> Result<Opened<'a, Head>, Failure> {
    let reader = PlanReader::open(task.env.blobs.as_ref(), task.order.job, hash)?;
    let Some(last) = reader.count().checked_sub(1) else {
        return Err(super::broken(format!("plan {hash} is empty")));
    };
    let head = reader.record(last)?;
    Ok(Opened { hash, head, reader })
}

fn hash_of(task: &Task<'_>) -> Result<BlobHash, Failure> {
    task.order
        .plan
        .ok_or_else(|| super::broken(format!("work {:?} has no plan", task.order.work)))
}

macro_rules! opener {
    ($name:ident, $at:ident, $variant:ident, $head:ty) => {
        /// Opens the order's plan, which must be of this kind.
        pub(super) fn $name<'a>(task: &'a Task<'_>) -> Result<Opened<'a, $head>, Failure> {
            $at(task, hash_of(task)?)
        }

        /// Opens the plan `hash`, which must be of this kind.
        pub(super) fn $at<'a>(
            task: &'a Task<'_>,
            hash: BlobHash,
        ) -> Result<Opened<'a, $head>, Failure> {
            let Opened { hash, head, reader } = open(task, hash)?;
            match head {
                Head::$variant(head) => Ok(Opened { hash, head, reader }),
                _ => Err(super::broken(format!(
                    "plan {hash} is of another kind than work {:?} needs",
                    task.order.work
                ))),
            }
        }
    };
}

opener!(open_pin, open_pin_at, Pin, PinHead);
opener!(open_upload, open_upload_at, Upload, UploadHead);
opener!(open_meta, open_meta_at, Meta, MetaHead);
