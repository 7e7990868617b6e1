//! SHOW JOB EVENTS: the records of one job.

use holdfast_engine::story::JobRecord;

use super::{Clock, ResultTable};
use crate::secret::mask_text;

/// SHOW JOB EVENTS FOR a job: Seq, Time (to the millisecond), Epoch, Kind, State (the job's, once the event was
/// recorded), Work, Task, Attempt, Backend, Detail. NULL stands for what an event is not about; the coordinator's
/// tasks have no backend.
pub fn job_events(records: &[JobRecord], clock: Clock<'_>) -> ResultTable {
    let mut table = ResultTable::new(&[
        "Seq", "Time", "Epoch", "Kind", "State", "Work", "Task", "Attempt", "Backend", "Detail",
    ]);
    for record in records {
        table.rows.push(vec![
            Some(record.seq.to_string()),
            Some(format!(
                "{}.{:03}",
                clock.time(record.at_ms),
                record.at_ms % 1000
            )),
            Some(record.epoch.to_string()),
            Some(record.kind.to_owned()),
            Some(record.state.to_owned()),
            record.work.map(|work| format!("{work:?}")),
            record.task.map(|task| task.to_string()),
            record.attempt.map(|attempt| attempt.to_string()),
            record.backend.map(|backend| backend.to_string()),
            Some(mask_text(&record.detail).into_owned()),
        ]);
    }
    table
}
