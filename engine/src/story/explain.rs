//! A story in words, for an operator: plain sentences with figures, and no sentence that the records do not bear out.

use std::collections::BTreeSet;
use std::fmt::Write;

use super::figures::{bytes, count, duration};
use super::model::{BackendStory, StopCause, Stopped, Story, TimeSpent, WorkStory};
use super::phrases::{
    LISTED, has, is_remote, jobs, name, on, one_line, rate, rest, share, tasks_were, times, were,
};
use crate::order::Work;

/// Backends of one work that are written out.
const BACKENDS: usize = 8;

impl Story {
    /// The story in words, line by line. `time` writes a wall time given in ms since the epoch.
    pub fn explain(&self, time: &dyn Fn(u64) -> String) -> String {
        let mut text = format!("{}\n{}\n", self.title(), self.outcome(time).trim_end());
        for (heading, lines) in [
            ("States", self.states()),
            ("What it waited for", self.waits()),
            ("Restarts", self.restarts_told(time)),
            ("Failures", self.failures_told()),
            ("Slowest tasks", self.slow_tasks()),
            ("Backends", self.backends_told()),
            ("Clean-up", self.cleanup_told()),
            ("What to do", self.advice(time)),
        ] {
            if lines.is_empty() {
                continue;
            }
            let _ = write!(text, "\n{heading}\n");
            for line in lines {
                let _ = writeln!(text, "  {line}");
            }
        }
        text
    }

    pub(super) fn is_backup(&self) -> bool {
        self.kind == "BACKUP"
    }

    fn title(&self) -> String {
        match self.is_backup() {
            true => format!(
                "Backup {} '{}' of database '{}' to repository '{}', {}, snapshot {}",
                self.job,
                self.label,
                self.database,
                self.repository,
                count(self.objects, "table"),
                self.timestamp
            ),
            false => format!(
                "Restore {} of snapshot '{}' ({}) from repository '{}' into database '{}'",
                self.job, self.label, self.timestamp, self.repository, self.database
            ),
        }
    }

    fn outcome(&self, time: &dyn Fn(u64) -> String) -> String {
        let took = duration(self.elapsed_ms());
        match (&self.stopped, self.ended) {
            (None, Some(end)) => format!(
                "It is FINISHED. It took {took}, from {} to {}.\n{}",
                time(self.accepted.at_ms),
                time(end.at_ms),
                self.data()
            ),
            (Some(stop), Some(end)) => format!(
                "It is CANCELLED: {}. It lasted {took}, from {} to {}.\n{}",
                reason(self, stop, time),
                time(self.accepted.at_ms),
                time(end.at_ms),
                self.progress(stop)
            ),
            (Some(stop), None) => format!(
                "It is being cancelled since {}: {}.\n{}",
                time(stop.at.at_ms),
                reason(self, stop, time),
                self.ending_step()
            ),
            (None, None) => self.running(time),
        }
    }

    fn running(&self, time: &dyn Fn(u64) -> String) -> String {
        let mut text = format!(
            "It is {} and has run for {} up to the last record, of {}.",
            self.state,
            duration(self.elapsed_ms()),
            time(self.known.at_ms)
        );
        if let Some(work) = self.main_works().last() {
            let ready = [work.done, work.running, work.waiting]
                .into_iter()
                .fold(work.tasks, u64::saturating_sub);
            let _ = write!(
                text,
                "\n{} of {} done, {} running, {} waiting for the next attempt, {} ready to start.",
                work.done,
                count(work.tasks, "task"),
                work.running,
                work.waiting,
                ready
            );
        }
        if self.committed.is_some() {
            text.push_str(
                "\nIt is past its point of no return: it cannot be cancelled any more and will be finished, \
                 after a restart too.",
            );
        }
        let data = self.data();
        if !data.is_empty() {
            let _ = write!(text, "\n{data}");
        }
        text
    }

    fn ending_step(&self) -> String {
        match self.works.last() {
            Some(work) if work.work.is_some_and(Work::is_cleanup) => {
                format!("Its workers have let go; {} is going on.", name(work))
            }
            Some(work) if work.running > 0 => {
                format!("{} not let go yet.", has(work.running, "worker"))
            }
            _ => "Its workers have let go; the clean-up is next.".to_owned(),
        }
    }

    /// What was moved and what needed no moving.
    fn data(&self) -> String {
        let moved: u64 = self
            .main_works()
            .map(|work| work.bytes)
            .fold(0, u64::saturating_add);
        let objects: u64 = self
            .main_works()
            .map(|work| work.objects)
            .fold(0, u64::saturating_add);
        let reused = self.reused_bytes();
        let mut parts = Vec::new();
        if let Some(total) = self.plan.bytes {
            parts.push(format!(
                "Its data: {} with {}, {}.",
                count(self.plan.tablets, "tablet"),
                count(self.plan.files, "file"),
                bytes(total)
            ));
        }
        let way = if self.is_backup() { "sent" } else { "fetched" };
        if objects > 0 {
            let of = count(objects, "object");
            parts.push(format!("{} in {of} {} {way}.", bytes(moved), were(objects)));
        }
        if reused > 0 {
            let place = match self.is_backup() {
                true => "the repository held them already",
                false => "the targets held them already",
            };
            parts.push(format!(
                "{}{} did not need to be {way}: {place}.",
                bytes(reused),
                share(reused, reused.saturating_add(moved))
            ));
        }
        if let Some(note) = &self.plan.note {
            parts.push(format!("Note: {note}."));
        }
        parts.join("\n")
    }

    /// The plan says what a repository held; tasks say what turned out to be there since (a job run again finds what
    /// it sent).
    fn reused_bytes(&self) -> u64 {
        let found: u64 = self
            .main_works()
            .map(|work| work.reused_bytes)
            .fold(0, u64::saturating_add);
        self.plan.reused_bytes.saturating_add(found)
    }

    fn progress(&self, stop: &Stopped) -> String {
        let Some(work) = self.main_works().last() else {
            return String::new();
        };
        let mut text = format!(
            "In {} {} of {} {} done.",
            stop.state,
            work.done,
            count(work.tasks, "task"),
            were(work.tasks)
        );
        let moved: u64 = self
            .main_works()
            .map(|work| work.bytes)
            .fold(0, u64::saturating_add);
        if moved > 0 {
            let _ = write!(text, " {} had been moved.", bytes(moved));
        }
        text
    }

    /// One line a piece of work, in their order.
    fn states(&self) -> Vec<String> {
        self.main_works()
            .map(|work| {
                let took = duration(work.duration_ms);
                format!("{:<16} {took:>12}  {}", work.state, work_line(self, work))
            })
            .collect()
    }

    fn waits(&self) -> Vec<String> {
        let mut all = TimeSpent::default();
        let (mut longest, mut behind, mut remote_ms) = (0, BTreeSet::new(), 0_u64);
        for work in self.main_works() {
            all.working_ms = all.working_ms.saturating_add(work.time.working_ms);
            all.queued_ms = all.queued_ms.saturating_add(work.time.queued_ms);
            all.backoff_ms = all.backoff_ms.saturating_add(work.time.backoff_ms);
            all.letting_go_ms = all.letting_go_ms.saturating_add(work.time.letting_go_ms);
            all.closed_ms = all.closed_ms.saturating_add(work.time.closed_ms);
            longest = longest.max(work.longest_wait_ms);
            behind.extend(work.waited_behind.iter().copied());
            if work.work.is_some_and(is_remote) {
                remote_ms = remote_ms.saturating_add(work.time.working_ms);
            }
        }
        let mut lines = Vec::new();
        if all.working_ms > 0 {
            let mut line = format!("{} of work", duration(all.working_ms));
            if remote_ms > 0 {
                let _ = write!(line, ", {} of it with the repository", duration(remote_ms));
            }
            lines.push(line);
        }
        if all.queued_ms > 0 {
            let mut line = format!("{} for a free worker", duration(all.queued_ms));
            if !behind.is_empty() {
                let _ = write!(line, ", behind {}", jobs(&behind));
            }
            lines.push(line);
        }
        if all.backoff_ms > 0 {
            let spent = duration(all.backoff_ms);
            lines.push(format!(
                "{spent} for the next attempt after failures, with nothing else to do"
            ));
        }
        if all.letting_go_ms > 0 {
            let spent = duration(all.letting_go_ms);
            lines.push(format!(
                "{spent} for its workers to let go once it was to end"
            ));
        }
        if all.closed_ms > 0 {
            let spent = duration(all.closed_ms);
            lines.push(format!(
                "{spent} from the last record of an opening to the next opening"
            ));
        }
        if longest > 0 {
            let most = duration(longest);
            lines.push(format!(
                "a ready task waited {most} at most until it was started"
            ));
        }
        lines
    }

    fn restarts_told(&self, time: &dyn Fn(u64) -> String) -> Vec<String> {
        let mut lines: Vec<String> = self
            .restarts
            .iter()
            .take(LISTED)
            .map(|restart| {
                let again = match restart.interrupted {
                    0 => "no task of it was running".to_owned(),
                    some => format!("{} cut off and ran again", tasks_were(some)),
                };
                format!(
                    "opening {} at {} found it {}; {again}; the record before was {} older",
                    restart.at.epoch,
                    time(restart.at.at_ms),
                    restart.state,
                    duration(restart.silent_ms)
                )
            })
            .collect();
        rest(&mut lines, self.restarts.len() as u64, "restart");
        for (at, words) in &self.pins_lost {
            lines.push(format!(
                "at {} the consistent point was lost and the backup began again with a new one for all its tables: {}",
                time(at.at_ms),
                one_line(words)
            ));
        }
        lines
    }

    fn failures_told(&self) -> Vec<String> {
        let failures: u64 = self
            .works
            .iter()
            .map(|work| work.failures)
            .fold(0, u64::saturating_add);
        let fenced: u64 = self
            .works
            .iter()
            .map(|work| work.fenced)
            .fold(0, u64::saturating_add);
        let mut lines = Vec::new();
        if failures > 0 {
            let troubled: u64 = self
                .works
                .iter()
                .map(|work| work.troubled)
                .fold(0, u64::saturating_add);
            let backoff: u64 = self
                .works
                .iter()
                .map(|work| work.backoff_ms)
                .fold(0, u64::saturating_add);
            lines.push(format!(
                "{} of {} failed and {} to be tried again, after {} of backoff in all",
                count(failures, "attempt"),
                count(troubled, "task"),
                if failures == 1 { "was" } else { "were" },
                duration(backoff)
            ));
            let told = self
                .works
                .iter()
                .flat_map(|work| work.troubles.iter().map(move |t| (work, t)));
            let mut each: Vec<String> = told
                .take(LISTED)
                .map(|(work, trouble)| {
                    let excluded: Vec<String> =
                        trouble.excluded.iter().map(u64::to_string).collect();
                    let excluded = match excluded.is_empty() {
                        true => String::new(),
                        false => format!(" (replica at fault: backend {})", excluded.join(", ")),
                    };
                    let end = if trouble.recovered {
                        "it ended well then"
                    } else {
                        "it had not ended well"
                    };
                    format!(
                        "task {} ({}{}) failed {}, {end}; its words{excluded}: {}",
                        trouble.task,
                        name(work),
                        on(trouble.backend),
                        times(u64::from(trouble.failures)),
                        one_line(&trouble.message)
                    )
                })
                .collect();
            rest(&mut each, troubled, "task");
            lines.append(&mut each);
        }
        if fenced > 0 {
            lines.push(format!(
                "{} not let go in time; whatever came of it later was ignored",
                has(fenced, "worker")
            ));
        }
        lines
    }

    fn slow_tasks(&self) -> Vec<String> {
        let mut slow: Vec<_> = self
            .main_works()
            .flat_map(|work| work.slowest.iter().map(move |task| (work, task)))
            .filter(|(_, task)| task.duration_ms > 0)
            .collect();
        slow.sort_by_key(|(_, task)| std::cmp::Reverse(task.duration_ms));
        slow.into_iter()
            .take(LISTED)
            .map(|(work, task)| {
                let mut line = format!(
                    "{:>12}  task {} ({}{})",
                    duration(task.duration_ms),
                    task.task,
                    name(work),
                    on(task.backend)
                );
                if task.bytes > 0 && task.attempts > 1 {
                    let _ = write!(line, ", {}", bytes(task.bytes));
                } else if task.bytes > 0 {
                    let rate = rate(task.bytes, task.duration_ms);
                    let _ = write!(line, ", {}{rate}", bytes(task.bytes));
                }
                if task.attempts > 1 {
                    let _ = write!(line, ", {} attempts and what was between", task.attempts);
                }
                line
            })
            .collect()
    }

    fn backends_told(&self) -> Vec<String> {
        let mut lines = Vec::new();
        // A work that moved nothing and was soon over says nothing of its backends.
        let tells = |work: &&WorkStory| {
            work.backends.len() > 1
                && work.work.is_some_and(Work::is_fanned_out)
                && (work.bytes > 0 || work.duration_ms.saturating_mul(20) > self.elapsed_ms())
        };
        for work in self.main_works().filter(tells) {
            let mut parts: Vec<&BackendStory> = work.backends.iter().collect();
            parts.sort_by_key(|part| std::cmp::Reverse(part.busy_ms));
            let mut each: Vec<String> = parts
                .iter()
                .take(BACKENDS)
                .map(|part| backend_line(work, part))
                .collect();
            rest(&mut each, work.backends.len() as u64, "backend");
            lines.append(&mut each);
        }
        lines
    }

    fn cleanup_told(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for work in self
            .works
            .iter()
            .filter(|w| w.work.is_some_and(Work::is_cleanup))
        {
            let end = match work.left {
                Some(_) if work.done == work.tasks => "done",
                Some(_) => "given up",
                None => "going on",
            };
            lines.push(format!(
                "{} {end}, {}{}",
                name(work),
                duration(work.duration_ms),
                match work.failures {
                    0 => String::new(),
                    some => format!(", {}", count(some, "failure")),
                }
            ));
        }
        match &self.released {
            Some((_, left)) if !left.is_empty() => {
                lines.push(format!("left over in the repository: {}", one_line(left)));
            }
            Some(_) => lines.push("nothing of the job is left outside the journal".to_owned()),
            None if self.ended.is_some() => {
                lines.push("not over yet: the engine goes on with it while it is open".to_owned());
            }
            None => {}
        }
        lines
    }
}

/// Why a job was stopped, as a part of a sentence.
fn reason(story: &Story, stop: &Stopped, time: &dyn Fn(u64) -> String) -> String {
    match stop.cause {
        StopCause::User => format!(
            "a user cancelled it in {} at {}",
            stop.state,
            time(stop.at.at_ms)
        ),
        StopCause::Timeout => format!(
            "it ran past its timeout of {} s in {}",
            story.timeout_seconds, stop.state
        ),
        StopCause::Failure => {
            let task = stop
                .task
                .map(|task| format!(" by task {task}{}", on(stop.backend)));
            format!(
                "it failed in {}{} with {}: {}",
                stop.state,
                task.unwrap_or_default(),
                stop.code,
                one_line(&stop.message)
            )
        }
    }
}

fn work_line(story: &Story, work: &WorkStory) -> String {
    let mut text = format!(
        "{}: {} of {}",
        name(work),
        work.done,
        count(work.tasks, "task")
    );
    let backends = work.backends.iter().filter(|b| b.backend.is_some()).count();
    if backends > 0 {
        let _ = write!(text, " on {}", count(backends as u64, "backend"));
    }
    if work.most_running > 1 {
        let _ = write!(text, ", {} at once at most", work.most_running);
    }
    if work.bytes > 0 {
        let rate = rate(work.bytes, work.time.working_ms);
        let _ = write!(text, ", {}{rate}", bytes(work.bytes));
    }
    if work.reused_bytes > 0 {
        let _ = write!(text, ", {} already there", bytes(work.reused_bytes));
    }
    if work.failures > 0 {
        let _ = write!(text, ", {}", count(work.failures, "failed attempt"));
    }
    if work.interrupted > 0 {
        let _ = write!(text, ", {} cut off by a restart", work.interrupted);
    }
    if work.work == Some(Work::PlanUpload)
        && work.left.is_some()
        && let Some(new) = story.plan.new_bytes
    {
        let of = count(story.plan.new_objects, "object");
        let _ = write!(text, ", {} to send in {of}", bytes(new));
    }
    text
}

fn backend_line(work: &WorkStory, part: &BackendStory) -> String {
    let mut line = format!(
        "{}{}: {} of {}, {} of task time",
        name(work),
        on(part.backend),
        part.done,
        count(part.tasks, "task"),
        duration(part.busy_ms)
    );
    if part.bytes > 0 {
        let _ = write!(
            line,
            ", {}{}",
            bytes(part.bytes),
            rate(part.bytes, part.busy_ms)
        );
    }
    if part.failures > 0 {
        let _ = write!(line, ", {}", count(part.failures, "failed attempt"));
    }
    line
}
