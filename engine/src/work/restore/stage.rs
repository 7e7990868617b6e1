//! `Stage`: a staging place for each tablet of a batch, with the list of files that it must get.

use super::lists::{self, Lists};
use super::{crew, plan, stage_token};
use crate::order::{Failure, Output};
use crate::work::Task;

/// Makes the staging places of one batch.
pub(crate) fn stage(task: &Task<'_>) -> Result<Output, Failure> {
    let batch = plan::batch(task)?;
    let lists = Lists::open(task, &batch)?;
    let (op, token) = (task.order.op(), stage_token(task.order));
    task.progress
        .set_total(batch.tablets.iter().map(|tablet| tablet.files).sum());
    crew::each(task, &batch.tablets, |tablet| {
        let files: Vec<_> = lists
            .files(tablet)?
            .iter()
            .map(|(_, file)| lists::entry(file))
            .collect();
        task.env
            .storage
            .stage(op, token, batch.backend, tablet.id, &files)?;
        task.progress.add(tablet.files, 0);
        Ok(())
    })?;
    Ok(Output::Done)
}
