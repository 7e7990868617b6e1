//! What an operator can do about a job, in statements of the server.

use super::figures::duration;
use super::model::{StopCause, Stopped, Story};
use crate::decide::MAX_FAILURES;

impl Story {
    /// Each line is one piece of advice; none where there is nothing to do.
    pub(super) fn advice(&self, time: &dyn Fn(u64) -> String) -> Vec<String> {
        let mut lines = match (&self.stopped, self.ended) {
            (Some(stop), Some(_)) => self.after_stop(stop),
            (Some(_), None) => vec![
                "wait: it ends once its workers have let go, or are given up after a few seconds"
                    .to_owned(),
            ],
            (None, None) => self.while_running(time),
            (None, Some(_)) => Vec::new(),
        };
        if let Some((_, left)) = &self.released
            && !left.is_empty()
        {
            lines.push(
                "what is left over takes space and harms no snapshot; `holdfast repository unreferenced` lists it"
                    .to_owned(),
            );
        }
        lines
    }

    fn while_running(&self, time: &dyn Fn(u64) -> String) -> Vec<String> {
        let mut lines = Vec::new();
        let work = self.main_works().last();
        if work.is_some_and(|work| work.troubled > 0 && work.done < work.tasks) {
            lines.push(format!(
                "tasks are failing: read their words above, and SHOW REPOSITORIES for the last error of '{}'; a task is \
                 given up after {MAX_FAILURES} failures, then the job ends",
                self.repository
            ));
        }
        if self.committed.is_none() {
            let left_ms = self
                .timeout_seconds
                .saturating_mul(1000)
                .saturating_sub(self.elapsed_ms());
            let at_ms = self.known.at_ms.saturating_add(left_ms);
            lines.push(format!(
                "it may run for {} more, up to {}; CANCEL {} FROM {} ends it sooner",
                duration(left_ms),
                time(at_ms),
                self.kind,
                quoted(&self.database)
            ));
        }
        lines
    }

    fn after_stop(&self, stop: &Stopped) -> Vec<String> {
        let mut lines = match stop.cause {
            StopCause::User => Vec::new(),
            StopCause::Timeout => vec![self.longer()],
            StopCause::Failure => self.failed(stop),
        };
        lines.push(match (self.is_backup(), &self.released) {
            (false, _) => {
                "the target tables are as they were before; the same RESTORE may be given again".to_owned()
            }
            (true, Some((_, left))) if left.is_empty() => format!(
                "the label '{}' is free again, a new BACKUP may use it; the tables were not changed",
                self.label
            ),
            (true, Some(_)) => format!(
                "give a new BACKUP another label: '{}' may still be taken in the repository; the tables were not changed",
                self.label
            ),
            (true, None) => format!(
                "the label '{}' is free once the clean-up is over; the tables were not changed",
                self.label
            ),
        });
        lines
    }

    /// How much more time it would have needed, as far as that can be told.
    fn longer(&self) -> String {
        let moving = self.main_works().last();
        let pace = moving.filter(|work| work.done > 0 && work.done < work.tasks);
        let estimate = pace.map(|work| {
            let left = work.tasks.saturating_sub(work.done);
            let ms = work.duration_ms.saturating_mul(left) / work.done;
            format!(
                ": at the pace of {}, where {} of {} tasks were done in {}, its rest needs about {} more",
                work.state,
                work.done,
                work.tasks,
                duration(work.duration_ms),
                duration(ms)
            )
        });
        format!(
            "give it more time with PROPERTIES (\"timeout\" = \"{}\") or more{}",
            self.timeout_seconds.saturating_mul(2),
            estimate.unwrap_or_default()
        )
    }

    fn failed(&self, stop: &Stopped) -> Vec<String> {
        let repository = &self.repository;
        let main = match stop.code {
            "NOT_FOUND" => "something that it needs is not there: see what the words name, bring it back or leave it \
                            out, and give the statement again"
                .to_owned(),
            "BAD_FILE" if self.is_backup() => "a data file is not what the table says, on every replica that was tried: \
                the words name it; restore that table, or leave it out of the backup"
                .to_owned(),
            "BAD_FILE" => format!(
                "the snapshot is damaged: `holdfast repository verify --name {repository} --snapshot {}` names every \
                 bad object; restore another snapshot, or without the damaged table",
                self.label
            ),
            "BAD_CONNECTION" => format!(
                "the repository cannot be reached: SHOW REPOSITORIES shows the last error of '{repository}'; mend the \
                 way to it, then give the statement again"
            ),
            "TIMEOUT" => self.longer(),
            "UNSUPPORTED" => "this server cannot do that: the words say what".to_owned(),
            _ => "see the words above for what failed, mend it, and give the statement again".to_owned(),
        };
        vec![main]
    }
}

/// A name as a statement takes it.
fn quoted(name: &str) -> String {
    let plain = name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
        && !name.bytes().next().is_none_or(|b| b.is_ascii_digit());
    match plain {
        true => name.to_owned(),
        false => format!("`{}`", name.replace('`', "``")),
    }
}
