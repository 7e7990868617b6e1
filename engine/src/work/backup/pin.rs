//! The first two works of a backup: one point of time over all tables, and the local snapshots of it.

use std::collections::BTreeMap;

use holdfast_storage::model::PinTable;
use holdfast_storage::{BackendId, Pin, PinRequest, PinnedTablet};

use super::records::{Head, LinkTask, PinHead, Pinned, SourceTablet, Span, open_pin};
use super::sources::Sources;
use crate::ids::JobId;
use crate::order::{Failure, Lane, Output, StatusCode};
use crate::plan::PlanWriter;
use crate::work::Task;

/// Announces the writer, claims the label, pins, and cuts the links into tasks.
pub(crate) fn pin(task: &Task<'_>) -> Result<Output, Failure> {
    let spec = super::spec(task)?;
    let (repository, writer) = super::repository(task)?;
    // Before anything is looked up: from here on nobody deletes what this job may rely on.
    repository.begin(task.context, &writer)?;
    let ended = |job: u64| task.env.repositories.has_ended(JobId(job));
    repository.claim(task.context, &spec.label, &writer, &ended)?;
    task.context.check()?;
    let table = |object: &crate::spec::ObjectRef| PinTable {
        name: object.table.clone(),
        partitions: (!object.partitions.is_empty()).then(|| object.partitions.clone()),
    };
    let tables = spec.objects.iter().map(table).collect();
    let request = PinRequest {
        database: spec.database.clone(),
        tables,
    };
    // A job that lost its pin comes here again; what is left of the old one must not mix with the new.
    task.env.storage.release(task.order.op())?;
    let pin = task.env.storage.pin(task.order.op(), &request)?;
    plan_links(task, pin)
}

fn plan_links(task: &Task<'_>, pin: Pin) -> Result<Output, Failure> {
    let (mut tablets, mut files, mut bytes) = (0, 0, 0);
    let mut chosen = Vec::new();
    let mut lanes: BTreeMap<BackendId, Vec<SourceTablet>> = BTreeMap::new();
    let mut load: BTreeMap<BackendId, u64> = BTreeMap::new();
    for tablet in pinned_tablets(&pin) {
        let backend = least_loaded(tablet, &load)?;
        *load.entry(backend).or_default() += tablet.bytes;
        chosen.push(backend);
        lanes.entry(backend).or_default().push(SourceTablet {
            id: tablet.id,
            chosen: backend,
            replicas: tablet.replicas.clone(),
        });
        (tablets, files, bytes) = (tablets + 1, files + tablet.files, bytes + tablet.bytes);
    }
    let mut writer = PlanWriter::new();
    let pinned = writer.push(&Pinned { pin, chosen })?;
    let mut tasks = Span {
        first: writer.count(),
        count: 0,
    };
    let mut cut = Vec::new();
    for (backend, tablets) in lanes {
        let mut lane = Lane {
            backend: Some(backend),
            tasks: 0,
        };
        for batch in tablets.chunks(task.env.limits.tablets_per_task.max(1)) {
            writer.push(&LinkTask {
                tablets: batch.to_vec(),
            })?;
            lane.tasks += 1;
            tasks.count += 1;
        }
        cut.push(lane);
    }
    writer.push(&Head::Pin(PinHead { tasks, pinned }))?;
    let plan = writer.finish(task.env.blobs.as_ref(), task.order.job)?;
    Ok(Output::Pinned {
        plan,
        lanes: cut,
        tablets,
        files,
        bytes,
    })
}

/// The replica whose backend has the fewest bytes to give so far; of equals the storage's best.
fn least_loaded(
    tablet: &PinnedTablet,
    load: &BTreeMap<BackendId, u64>,
) -> Result<BackendId, Failure> {
    let replicas = tablet.replicas.iter().copied();
    replicas
        .min_by_key(|backend| load.get(backend).copied().unwrap_or(0))
        .ok_or_else(|| {
            let text = format!("tablet {} has no whole replica", tablet.id);
            Failure::fatal(StatusCode::BadFile, text)
        })
}

/// All tablets of a pin in its order.
pub(super) fn pinned_tablets(pin: &Pin) -> impl Iterator<Item = &PinnedTablet> {
    let partitions = pin.tables.iter().flat_map(|table| &table.partitions);
    partitions.flat_map(|partition| &partition.tablets)
}

/// Links one batch of tablets.
pub(crate) fn link(task: &Task<'_>) -> Result<Output, Failure> {
    let plan = open_pin(task)?;
    let LinkTask { tablets } = plan.task(plan.head.tasks, task.order.index)?;
    task.progress.set_total(tablets.len() as u64);
    let sources = Sources::new(task);
    sources.link_all(&tablets)?;
    task.progress.add(tablets.len() as u64, 0);
    Ok(Output::Done)
}
