//! Makes the manifest: parts and marker as they will be put, byte for byte, kept as a plan before any of it is visible.

use holdfast_repository::ObjectEntry;
use holdfast_repository::manifest::{
    EncodedPart, Marker, Opaque, PartBuilder, PartRef, PartitionRef, Root, TableRef, Totals,
};
use holdfast_repository::plan::Placement;
use serde::Serialize;

use super::records::{
    Head, ListedFile, MetaHead, Opened, PartitionPlan, References, Span, TablePlan, Tables,
    UploadHead, open_upload,
};
use crate::order::{Failure, Output};
use crate::plan::PlanWriter;
use crate::work::{Task, hashes};

/// Builds parts and marker from the upload plan.
pub(crate) fn save_meta(task: &Task<'_>) -> Result<Output, Failure> {
    let spec = super::spec(task)?;
    let upload = open_upload(task)?;
    let Tables { position, tables } = upload.record(upload.head.tables)?;
    let mut manifest = Manifest {
        task,
        upload: &upload,
        objects: upload.list(upload.head.objects)?,
        placements: upload.list(upload.head.placements)?,
        writer: PlanWriter::new(),
        references: Vec::new(),
    };
    let mut refs = Vec::new();
    for table in tables {
        refs.push(manifest.table(table)?);
    }
    let marker = Marker::build(Root {
        format: 0,
        label: spec.label.clone(),
        timestamp: spec.timestamp.clone(),
        timestamp_ms: spec.timestamp_ms,
        cluster: spec.cluster.clone(),
        job: task.order.job.0,
        database: spec.database.clone(),
        meta: Opaque(serde_json::json!({ "catalog_position": position.0 })),
        tables: refs,
        totals: Totals::default(),
    })?;
    let Manifest {
        mut writer,
        references,
        ..
    } = manifest;
    let parts = Span {
        first: 0,
        count: writer.count(),
    };
    let references = writer.push(&references)?;
    let marker_at = writer.push(&marker)?;
    let head = MetaHead {
        upload: upload.hash,
        references,
        parts,
        marker: marker_at,
    };
    writer.push(&Head::Meta(head))?;
    Ok(Output::MetaSaved {
        plan: writer.finish(task.env.blobs.as_ref(), task.order.job)?,
        marker: marker.name().to_owned(),
        root: *marker.root_hash().as_bytes(),
    })
}

struct Manifest<'a> {
    task: &'a Task<'a>,
    upload: &'a Opened<'a, UploadHead>,
    objects: Vec<ObjectEntry>,
    placements: Vec<Placement>,
    writer: PlanWriter,
    references: References,
}

impl Manifest<'_> {
    fn table(&mut self, table: TablePlan) -> Result<TableRef, Failure> {
        let schema = opaque(&table.schema)?;
        let mut partitions = Vec::new();
        for partition in table.partitions {
            self.task.context.check()?;
            partitions.push(PartitionRef {
                name: partition.meta.name.clone(),
                meta: opaque(&partition.meta)?,
                version: partition.version,
                parts: self.parts(&partition)?,
            });
        }
        Ok(TableRef {
            name: table.name,
            schema,
            partitions,
        })
    }

    /// The parts of one partition: every bucket is listed, those without files too.
    fn parts(&mut self, partition: &PartitionPlan) -> Result<Vec<PartRef>, Failure> {
        let Self {
            upload,
            objects,
            placements,
            writer,
            references,
            ..
        } = self;
        let before = references.len();
        let mut keep = |part: Option<EncodedPart>| -> Result<(), Failure> {
            if let Some(part) = part {
                writer.push_bytes(&part.bytes)?;
                references.push(part.reference);
            }
            Ok(())
        };
        let mut builder = PartBuilder::new(objects);
        let mut buckets = partition.buckets.iter().copied().peekable();
        for (record, numbers) in partition.files.range().zip(partition.numbers.range()) {
            let files: Vec<ListedFile> = upload.record(record)?;
            let numbers: Vec<u32> = upload.record(numbers)?;
            for (file, number) in files.iter().zip(numbers) {
                while let Some(bucket) = buckets.next_if(|bucket| *bucket <= file.bucket) {
                    keep(builder.tablet(bucket)?)?;
                }
                let content = hashes::content_of(&file.entry);
                let (Some(content), Some(placement)) = (content, placements.get(number as usize))
                else {
                    let text = format!("file '{}' has no place in the plan", file.entry.name);
                    return Err(super::broken(text));
                };
                keep(builder.add(file.bucket, &file.entry.name, &content, placement)?)?;
            }
        }
        for bucket in buckets {
            keep(builder.tablet(bucket)?)?;
        }
        keep(builder.finish()?)?;
        Ok(references[before..].to_vec())
    }
}

fn opaque<T: Serialize>(value: &T) -> Result<Opaque, Failure> {
    let value = serde_json::to_value(value);
    value
        .map(Opaque)
        .map_err(|error| super::broken(format!("metadata cannot be written: {error}")))
}
