//! `Stage`: a staging place for each tablet of a batch, with the list of files that it must get.

use super::lists::Lists;
use super::{plan, stage_token};
use holdfast_storage::{TabletId, Token};

use crate::order::{Failure, Output};
use crate::work::hashes::entry_of;
use crate::work::{Task, parallel};

/// Makes the staging places of one batch.
pub(crate) fn stage(task: &Task<'_>) -> Result<Output, Failure> {
    let batch = plan::batch(task)?;
    let lists = Lists::open(task, &batch)?;
    task.progress
        .set_total(batch.tablets.iter().map(|tablet| tablet.files).sum());
    parallel::each(task.context, &batch.tablets, &task.env.movers, |tablet| {
        place(task, &batch, &lists, stage_token(task.order), tablet)?;
        task.progress.add(tablet.files, 0);
        Ok(())
    })?;
    // No download comes by the tablets without files, so their places are made durable here.
    let empty = batch.tablets.iter().filter(|tablet| tablet.files == 0);
    let empty: Vec<TabletId> = empty.map(|tablet| tablet.id).collect();
    if !empty.is_empty() {
        let (storage, op) = (&task.env.storage, task.order.op());
        storage.settle(op, stage_token(task.order), batch.backend, &empty)?;
    }
    Ok(Output::Done)
}

/// Makes the staging places of these tablets of a batch once more, for a download.
///
/// That a place was made is recorded, and nothing makes it durable before its files are: a cut of
/// power may take it away again.
pub(super) fn stage_again(
    task: &Task<'_>,
    batch: &plan::Batch,
    token: Token,
    wanted: &dyn Fn(TabletId) -> bool,
) -> Result<(), Failure> {
    let mut lists = None;
    for tablet in batch.tablets.iter().filter(|tablet| wanted(tablet.id)) {
        let lists = match &lists {
            Some(lists) => lists,
            None => lists.insert(Lists::open(task, batch)?),
        };
        place(task, batch, lists, token, tablet)?;
    }
    Ok(())
}

fn place(
    task: &Task<'_>,
    batch: &plan::Batch,
    lists: &Lists<'_>,
    token: Token,
    tablet: &plan::BatchTablet,
) -> Result<(), Failure> {
    let files: Vec<_> = lists
        .files(tablet)?
        .iter()
        .map(|(_, file)| entry_of(file))
        .collect();
    let (storage, op) = (&task.env.storage, task.order.op());
    storage.stage(op, token, batch.backend, tablet.id, &files)?;
    Ok(())
}
