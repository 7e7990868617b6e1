//! `Stage`: a staging place for each tablet of a batch, with the list of files that it must get.

use super::lists::Lists;
use super::{plan, stage_token};
use crate::order::{Failure, Output};
use crate::work::hashes::entry_of;
use crate::work::{Task, parallel};

/// Makes the staging places of one batch.
pub(crate) fn stage(task: &Task<'_>) -> Result<Output, Failure> {
    let batch = plan::batch(task)?;
    let lists = Lists::open(task, &batch)?;
    let (op, token) = (task.order.op(), stage_token(task.order));
    task.progress
        .set_total(batch.tablets.iter().map(|tablet| tablet.files).sum());
    parallel::each(task.context, &batch.tablets, &task.env.movers, |tablet| {
        let files: Vec<_> = lists
            .files(tablet)?
            .iter()
            .map(|(_, file)| entry_of(file))
            .collect();
        task.env
            .storage
            .stage(op, token, batch.backend, tablet.id, &files)?;
        task.progress.add(tablet.files, 0);
        Ok(())
    })?;
    Ok(Output::Done)
}
