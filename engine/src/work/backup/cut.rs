//! Cuts planned objects into upload tasks by size, lane after lane, and names the file behind each member.

use std::collections::BTreeMap;

use holdfast_repository::plan::{FileNo, ObjectPlan, PlannedContent};
use holdfast_storage::BackendId;

use super::records::{ListedFile, MemberFile, SourceTablet, Span, UploadObject, UploadTask};
use crate::order::{Failure, Lane};
use crate::plan::PlanWriter;

/// The most members of all objects of a task (that has more than one object): bounds the task's record, however small
/// the files are.
const MAX_MEMBERS: usize = 65_536;

/// Where a file was listed first.
#[derive(Clone, Copy, Debug)]
pub(super) struct Origin {
    /// The record of its list.
    pub(super) record: u32,
    /// Its position in that list.
    pub(super) position: u32,
}

/// Writes one record per task and gives their place and the tasks per lane.
pub(super) fn cut(
    writer: &mut PlanWriter,
    objects: Vec<ObjectPlan>,
    origins: &[Origin],
    tablets: &[SourceTablet],
    lanes: &[BackendId],
    bytes_per_task: u64,
) -> Result<(Span, Vec<Lane>), Failure> {
    let mut by_lane: BTreeMap<u32, Vec<ObjectPlan>> = BTreeMap::new();
    for object in objects {
        by_lane.entry(object.lane).or_default().push(object);
    }
    let mut tasks = Span {
        first: writer.count(),
        count: 0,
    };
    let mut cut = Vec::new();
    let mut cutter = Cutter {
        origins,
        tablets,
        listed: None,
        batch: Batch::default(),
    };
    for (lane, objects) in by_lane {
        let backend = lanes.get(lane as usize).copied();
        let mut lane = Lane { backend, tasks: 0 };
        for object in objects {
            let batch = &cutter.batch;
            let full = batch.bytes.saturating_add(object.len) > bytes_per_task
                || batch.members + members(&object) > MAX_MEMBERS;
            if full && !batch.objects.is_empty() {
                cutter.batch.write(writer)?;
                lane.tasks += 1;
            }
            cutter.add(writer, object)?;
        }
        if !cutter.batch.objects.is_empty() {
            cutter.batch.write(writer)?;
            lane.tasks += 1;
        }
        tasks.count += lane.tasks;
        cut.push(lane);
    }
    Ok((tasks, cut))
}

fn members(object: &ObjectPlan) -> usize {
    match &object.content {
        PlannedContent::Whole { .. } => 1,
        PlannedContent::Pack { members } => members.len(),
    }
}

#[derive(Default)]
struct Batch {
    objects: Vec<UploadObject>,
    tablets: Vec<SourceTablet>,
    /// From a tablet's index in the pin to its index in the task.
    own: BTreeMap<u32, u32>,
    bytes: u64,
    members: usize,
}

impl Batch {
    fn write(&mut self, writer: &mut PlanWriter) -> Result<(), Failure> {
        let Batch {
            objects, tablets, ..
        } = std::mem::take(self);
        writer.push(&UploadTask { tablets, objects })?;
        Ok(())
    }
}

struct Cutter<'a> {
    origins: &'a [Origin],
    tablets: &'a [SourceTablet],
    /// The list that was read last: members mostly follow each other.
    listed: Option<(u32, Vec<ListedFile>)>,
    batch: Batch,
}

impl Cutter<'_> {
    fn add(&mut self, writer: &PlanWriter, plan: ObjectPlan) -> Result<(), Failure> {
        let members = match &plan.content {
            PlannedContent::Whole { file, .. } => vec![self.member(writer, *file)?],
            PlannedContent::Pack { members } => {
                let member = |member: &holdfast_repository::plan::PackMember| {
                    self.member(writer, member.file)
                };
                members.iter().map(member).collect::<Result<_, _>>()?
            }
        };
        self.batch.members += members.len();
        self.batch.bytes = self.batch.bytes.saturating_add(plan.len);
        self.batch.objects.push(UploadObject { plan, members });
        Ok(())
    }

    fn member(&mut self, writer: &PlanWriter, file: FileNo) -> Result<MemberFile, Failure> {
        let lost = || super::broken(format!("file number {} was never listed", file.0));
        let origin = *self.origins.get(file.index()).ok_or_else(lost)?;
        let held = self
            .listed
            .as_ref()
            .is_some_and(|(record, _)| *record == origin.record);
        if !held {
            self.listed = Some((origin.record, writer.peek(origin.record)?));
        }
        let (_, files) = self.listed.as_ref().ok_or_else(lost)?;
        let listed = files.get(origin.position as usize).ok_or_else(lost)?;
        let source = self.tablets.get(listed.tablet as usize).ok_or_else(lost)?;
        let Batch { own, tablets, .. } = &mut self.batch;
        let tablet = *own.entry(listed.tablet).or_insert_with(|| {
            tablets.push(source.clone());
            tablets.len() as u32 - 1
        });
        Ok(MemberFile {
            tablet,
            name: listed.entry.name.clone(),
        })
    }
}
