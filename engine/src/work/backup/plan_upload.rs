//! Decides which bytes have to be sent: what the repository holds already is subtracted, the rest is laid out in
//! objects and cut into tasks.

use holdfast_repository::plan::{FileNo, KnownMembers, Limits, Plan, Planner};
use holdfast_repository::{ContentHash, ObjectKey, Presence};
use holdfast_storage::BackendId;
use serde::Serialize;

use super::cut::{self, Origin};
use super::listing::{self, Listing, prefix};
use super::records::{Head, LIST_RECORD, ListedFile, Pinned, Span, UploadHead, open_pin};
use crate::order::{Failure, Output};
use crate::plan::PlanWriter;
use crate::work::{Task, hashes};

/// Lists, looks up, plans and cuts.
pub(crate) fn plan_upload(task: &Task<'_>) -> Result<Output, Failure> {
    let (repository, _) = super::repository(task)?;
    let plan = open_pin(task)?;
    let pinned: Pinned = plan.record(plan.head.pinned)?;
    let mut listing = listing::list(task, pinned)?;
    let presence = repository.presence(task.context)?;
    let small = std::mem::take(&mut listing.small);
    let wanted = |hash: &ContentHash| small.binary_search(&prefix(hash.as_bytes())).is_ok();
    let known = repository.known_members(task.context, &wanted, small.len(), &presence)?;
    drop(small);
    let lanes = lanes(&listing);
    let (plan, origins) = lay_out(task, &mut listing, &presence, known, &lanes)?;
    drop(presence);
    write(task, listing, plan, &origins, &lanes)
}

/// The backends that give files, sorted: a lane's number is its index.
fn lanes(listing: &Listing) -> Vec<BackendId> {
    let mut lanes: Vec<BackendId> = listing.tablets.iter().map(|tablet| tablet.chosen).collect();
    lanes.sort_unstable();
    lanes.dedup();
    lanes
}

/// Numbers all files and lays them out; the numbers go into the plan beside their lists.
fn lay_out(
    task: &Task<'_>,
    listing: &mut Listing,
    presence: &Presence,
    known: KnownMembers,
    lanes: &[BackendId],
) -> Result<(Plan, Vec<Origin>), Failure> {
    let Listing {
        writer,
        tables,
        tablets,
        ..
    } = listing;
    let mut planner = Planner::new(presence, known, Limits::default())?;
    let mut origins: Vec<Origin> = Vec::new();
    let partitions = tables
        .tables
        .iter_mut()
        .flat_map(|table| &mut table.partitions);
    for partition in partitions {
        partition.numbers.first = writer.count();
        for record in partition.files.range() {
            task.context.check()?;
            let files: Vec<ListedFile> = writer.peek(record)?;
            let mut numbers: Vec<u32> = Vec::with_capacity(files.len());
            for (file, position) in files.iter().zip(0..) {
                let Some(content) = hashes::content_of(&file.entry) else {
                    let text = format!("file '{}' was listed without its hashes", file.entry.name);
                    return Err(super::broken(text));
                };
                let chosen = tablets[file.tablet as usize].chosen;
                let lane = lanes.partition_point(|backend| *backend < chosen) as u32;
                let FileNo(number) = planner.add(lane, &content)?;
                if number as usize == origins.len() {
                    origins.push(Origin { record, position });
                }
                numbers.push(number);
            }
            writer.push(&numbers)?;
            partition.numbers.count += 1;
        }
    }
    Ok((planner.finish()?, origins))
}

fn write(
    task: &Task<'_>,
    listing: Listing,
    plan: Plan,
    origins: &[Origin],
    lanes: &[BackendId],
) -> Result<Output, Failure> {
    let Listing {
        mut writer,
        tables,
        tablets,
        ..
    } = listing;
    let objects = push_list(&mut writer, &plan.table)?;
    let placements = push_list(&mut writer, &plan.placements)?;
    let reused: Vec<ObjectKey> = plan.reused.iter().map(|entry| entry.key).collect();
    let reused = push_list(&mut writer, &reused)?;
    let written: Vec<ObjectKey> = plan.objects.iter().map(|object| object.key).collect();
    let written = push_list(&mut writer, &written)?;
    let tables = writer.push(&tables)?;
    let new_objects = plan.objects.len() as u64;
    let limit = task.env.limits.bytes_per_task;
    let (tasks, cut) = cut::cut(&mut writer, plan.objects, origins, &tablets, lanes, limit)?;
    let head = UploadHead {
        tasks,
        tables,
        objects,
        placements,
        reused,
        written,
    };
    writer.push(&Head::Upload(head))?;
    Ok(Output::UploadPlanned {
        plan: writer.finish(task.env.blobs.as_ref(), task.order.job)?,
        lanes: cut,
        new_bytes: plan.new_bytes,
        new_objects,
        reused_bytes: plan.reused_bytes,
    })
}

fn push_list<T: Serialize>(writer: &mut PlanWriter, list: &[T]) -> Result<Span, Failure> {
    let first = writer.count();
    for some in list.chunks(LIST_RECORD) {
        writer.push(some)?;
    }
    Ok(Span {
        first,
        count: writer.count() - first,
    })
}
