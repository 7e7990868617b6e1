//! The formats of single values (SHOW BACKUP, SHOW RESTORE): what clients match letter by letter.

use holdfast_engine::{ObjectRef, Status, StatusCode, TaskError, TaskProgress, TaskRun};

use crate::secret::mask_text;

/// Tasks shown by id at most; a job may have hundreds of thousands.
const MAX_TASKS: usize = 100;
const SECONDS_A_DAY: i64 = 86_400;

/// A moment, `offset` seconds east of UTC, as `yyyy-MM-dd HH:mm:ss`.
pub(crate) fn time(ms: u64, offset: i32) -> String {
    let seconds = i64::try_from(ms / 1000).unwrap_or(i64::MAX / 2) + i64::from(offset);
    let (year, month, day) = civil(seconds.div_euclid(SECONDS_A_DAY));
    let of_day = seconds.rem_euclid(SECONDS_A_DAY);
    let (hour, minute, second) = (of_day / 3600, of_day / 60 % 60, of_day % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

/// Year, month and day of a day counted from 1970-01-01. Years begin in March inside, so that the
/// leap day is the last of its year.
fn civil(days: i64) -> (i64, i64, i64) {
    const DAYS_400: i64 = 146_097;
    let shifted = days + 719_468;
    let (era, of_era) = (shifted.div_euclid(DAYS_400), shifted.rem_euclid(DAYS_400));
    let year_of_era = (of_era - of_era / 1460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * march + 2) / 5 + 1;
    let month = if march < 10 { march + 3 } else { march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// `[db.tbl], [db.tblPARTITIONS (p1, p2)]`: no blank before PARTITIONS, as clients know it.
pub(crate) fn backup_objects(database: &str, objects: &[ObjectRef]) -> String {
    let one = |object: &ObjectRef| {
        if object.partitions.is_empty() {
            format!("[{database}.{}]", object.table)
        } else {
            format!(
                "[{database}.{}PARTITIONS ({})]",
                object.table,
                object.partitions.join(", ")
            )
        }
    };
    objects.iter().map(one).collect::<Vec<_>>().join(", ")
}

/// `tbl PARTITIONS [p1, p2], tbl2 AS alias, DROP tbl3`: a partition named like its table is left
/// out.
pub(crate) fn restore_objects(objects: &[ObjectRef], drops: &[ObjectRef]) -> String {
    let one = |object: &ObjectRef| {
        let partitions: Vec<&str> = object
            .partitions
            .iter()
            .map(String::as_str)
            .filter(|name| *name != object.table)
            .collect();
        let mut text = object.table.clone();
        if !partitions.is_empty() {
            text.push_str(&format!(" PARTITIONS [{}]", partitions.join(", ")));
        }
        if let Some(alias) = &object.alias {
            text.push_str(&format!(" AS {alias}"));
        }
        text
    };
    let kept = objects.iter().map(one);
    let dropped = drops.iter().map(|object| format!("DROP {}", one(object)));
    kept.chain(dropped).collect::<Vec<_>>().join(", ")
}

/// `taskId=beId, taskId=beId`, at most 100, then how many more. Work of the coordinator has backend
/// -1.
pub(crate) fn unfinished(runs: &[TaskRun]) -> String {
    let total: u64 = runs.iter().map(|run| u64::from(run.count)).sum();
    let each = runs.iter().flat_map(|run| {
        let backend = run
            .backend
            .map_or_else(|| "-1".to_owned(), |id| id.to_string());
        let ids = run.first.0..run.first.0.saturating_add(u64::from(run.count));
        ids.map(move |id| format!("{id}={backend}"))
    });
    let mut parts: Vec<String> = each.take(MAX_TASKS).collect();
    more(&mut parts, total);
    parts.join(", ")
}

/// `[taskId: done/total], [..]`, at most 100, then how many more.
pub(crate) fn progress(tasks: &[TaskProgress]) -> String {
    let one = |t: &TaskProgress| format!("[{}: {}/{}]", t.task, t.done, t.total);
    let mut parts: Vec<String> = tasks.iter().take(MAX_TASKS).map(one).collect();
    more(&mut parts, tasks.len() as u64);
    parts.join(", ")
}

/// `[taskId: text], [..]`, at most 100, then how many more.
pub(crate) fn errors(errors: &[TaskError]) -> String {
    let one = |e: &TaskError| format!("[{}: {}]", e.task, mask_text(&e.message));
    let mut parts: Vec<String> = errors.iter().take(MAX_TASKS).map(one).collect();
    more(&mut parts, errors.len() as u64);
    parts.join(", ")
}

fn more(parts: &mut Vec<String>, total: u64) {
    let left = total.saturating_sub(parts.len() as u64);
    if left > 0 {
        parts.push(format!("and {left} more"));
    }
}

/// `[OK]`, `[OK, msg: note]` or `[CODE, msg: text]`.
pub(crate) fn status(status: &Status) -> String {
    match status.code {
        StatusCode::Ok if status.message.is_empty() => "[OK]".to_owned(),
        code => format!("[{}, msg: {}]", code.name(), mask_text(&status.message)),
    }
}

/// Milliseconds as seconds with three digits behind the point.
pub(crate) fn seconds(ms: u64) -> String {
    format!("{}.{:03}", ms / 1000, ms % 1000)
}
