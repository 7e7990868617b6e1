//! The books of the jobs: who may run, how each may end and when, and that none is lost.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_storage::OpId;

use super::Books;
use crate::ids::JobId;
use crate::order::StatusCode;
use crate::simulation::rules;
use crate::view::{JobView, Views};

/// Without trouble, a job may take this long.
const ENDS_WITHIN_MS: u64 = 20 * 60_000;

/// A job that the journal has taken in.
#[derive(Clone, Copy)]
pub(super) struct Submitted {
    /// In the world's time.
    since_ms: u64,
    timeout_ms: u64,
}

impl Books {
    pub(super) fn submitted(&self, node: usize, job: JobId, timeout_seconds: u64) {
        let submitted = Submitted {
            since_ms: self.appended_ms(node),
            timeout_ms: timeout_seconds.saturating_mul(1000),
        };
        self.node(node, |node| node.submitted.insert(job, submitted));
        self.note_crossing();
    }

    /// Notes whether a job is at work while another takes back what it has put.
    pub(super) fn note_crossing(&self) {
        let nodes = self.nodes.lock();
        let (mut discarding, mut at_work) = (0, 0);
        for node in nodes.iter() {
            discarding += node.discarding.len();
            let open = |id: &&JobId| !node.ends.contains_key(*id);
            at_work += node.submitted.keys().filter(open).count();
            let ended = |id: &&JobId| node.ends.contains_key(*id);
            at_work += node.discarding.iter().filter(ended).count();
        }
        if discarding > 0 && at_work > 1 {
            *self.crossed.lock() = true;
        }
    }

    /// What readers see after a turn.
    pub(in crate::simulation) fn check_views(&self, node: usize, views: &Views) {
        let mut active: BTreeMap<&str, JobId> = BTreeMap::new();
        for (id, view) in &views.jobs {
            if view.has_ended() {
                self.check_end(node, *id, view);
                continue;
            }
            let common = view.common();
            if let Some(other) = active.insert(&common.database, *id) {
                self.shared.broken(
                    rules::ONE_ACTIVE,
                    format!(
                        "jobs {other} and {id} of '{}' on node {node}",
                        common.database
                    ),
                );
            }
            let ended = self.node(node, |node| node.ends.get(id).cloned());
            if let Some(end) = ended.flatten() {
                let text = format!(
                    "job {id} of node {node} ended as '{end}', now it is {}",
                    view.state_name()
                );
                self.shared.broken(rules::ENDS_ONCE, text);
            }
        }
        self.check_missing(node, views);
    }

    fn check_end(&self, node: usize, id: JobId, view: &JobView) {
        let end = format!("{} {}", view.state_name(), view.common().status.message);
        let first = self.node(node, |node| {
            let known = node.ends.get(&id).cloned();
            node.ends.entry(id).or_insert_with(|| end.clone());
            known
        });
        match first.flatten() {
            None => self.check_first_end(node, id, view),
            Some(first) if first != end => self.shared.broken(
                rules::ENDS_ONCE,
                format!("job {id} of node {node} ended as '{first}', now '{end}'"),
            ),
            Some(_) => {}
        }
        let cancelled = self.node(node, |node| node.cancelled.contains(&id));
        if cancelled == Some(true) && view.is_finished() {
            self.shared.broken(
                rules::CANCELLED,
                format!("job {id} of node {node} is FINISHED"),
            );
        }
    }

    /// A job is seen to have ended.
    fn check_first_end(&self, node: usize, id: JobId, view: &JobView) {
        let (now, clear) = (self.shared.now_ms(), self.shared.clear_since_ms());
        let submitted = self.node(node, |node| node.submitted.get(&id).copied());
        let Some(job) = submitted.flatten() else {
            return self.shared.broken(
                rules::EXISTS,
                format!("job {id} of node {node}: never seen to begin"),
            );
        };
        if let Some(clear) = clear
            && now.saturating_sub(job.since_ms.max(clear)) > ENDS_WITHIN_MS
        {
            let text = format!(
                "job {id} of node {node} took from {} to {now} ms, no trouble since {clear} ms",
                job.since_ms
            );
            self.shared.broken(rules::ENDS, text);
        }
        if view.is_finished() {
            return;
        }
        let committed = self.node(node, |node| {
            let restore = node.restores.get(&OpId(id.0));
            restore.is_some_and(|restore| restore.committed)
        });
        if committed == Some(true) {
            self.shared.broken(
                rules::FINISHED,
                format!("job {id} of node {node} has committed and is CANCELLED"),
            );
        }
        self.check_reason(node, id, view, job);
    }

    /// Why a job may be CANCELLED.
    fn check_reason(&self, node: usize, id: JobId, view: &JobView, job: Submitted) {
        let status = &view.common().status;
        let (now, clear) = (self.shared.now_ms(), self.shared.clear_since_ms());
        let broken = |rule, why: &str| {
            let text = format!("job {id} of node {node}: {why}: {}", status.message);
            self.shared.broken(rule, text);
        };
        if status.code == StatusCode::Timeout {
            // The time that a node was down is told by its wall clock.
            if now + self.shared.jumped_ms(node) < job.since_ms + job.timeout_ms {
                broken(rules::TIMES_OUT, "too early");
            }
            let died = self.node(node, |node| node.last_death_ms).flatten();
            let was_up = died.is_none_or(|died| died < job.since_ms);
            if was_up && clear.is_some_and(|clear| job.since_ms >= clear) {
                broken(rules::ENDS, "nothing stood in its way");
            }
        } else if status.message.starts_with("user cancelled") {
            let cancel = (view.kind(), view.common().database.clone());
            if self.node(node, |node| node.cancels.contains(&cancel)) != Some(true) {
                broken(rules::HAS_REASON, "nobody has cancelled it");
            }
        } else if let Some(times) = failed_times(&status.message) {
            if times < crate::decide::MAX_FAILURES || !self.shared.had_trouble() {
                broken(rules::HAS_REASON, "it was given up too early");
            }
        } else if !self.shared.had_trouble() && !is_refusal(&status.message) {
            broken(rules::HAS_REASON, "nothing has gone wrong");
        }
    }

    /// No job is missing but those that ended and were archived, and of these all.
    fn check_missing(&self, node: usize, views: &Views) {
        let missing = self.node(node, |node| {
            let known = node.accepted.iter().chain(node.submitted.keys());
            let missing = known.filter(|id| !views.jobs.contains_key(*id));
            let missing: BTreeSet<JobId> = missing.copied().collect();
            let archived = std::mem::take(&mut node.archiving);
            let open = missing.iter().find(|id| !node.ends.contains_key(*id));
            let wrong = open.copied().or_else(|| {
                let right = missing.len() as u64 == archived;
                missing.first().copied().filter(|_| !right)
            });
            node.accepted.retain(|id| !missing.contains(id));
            node.submitted.retain(|id, _| !missing.contains(id));
            node.ends.retain(|id, _| !missing.contains(id));
            wrong
        });
        if let Some(id) = missing.flatten() {
            self.shared
                .broken(rules::EXISTS, format!("job {id} of node {node}"));
        }
    }

    /// At rest: every job has ended, and nothing of any is left behind.
    pub(in crate::simulation) fn check_rest(&self, node: usize) {
        let held = self.subjects[node].lock().held().unwrap_or_default();
        if !held.is_empty() {
            self.shared.broken(
                rules::LEFT_IN_STORAGE,
                format!("node {node} still holds operations {held:?}"),
            );
        }
        let (open, ends) = self
            .node(node, |node| {
                let open = node.submitted.keys();
                let open = open.filter(|id| !node.ends.contains_key(*id));
                let open: Vec<JobId> = open.copied().collect();
                (open, node.ends.values().cloned().collect::<Vec<_>>())
            })
            .unwrap_or_default();
        if !open.is_empty() {
            self.shared.broken(
                rules::ENDS,
                format!("jobs {open:?} of node {node} never ended"),
            );
        }
        self.shared.cover(|coverage| {
            for end in ends {
                let state = end.split(' ').next().unwrap_or_default().to_owned();
                *coverage.ends.entry(state).or_default() += 1;
            }
        });
        self.check_loads(node);
    }

    /// At rest no table is held by anybody: every one takes a load.
    fn check_loads(&self, node: usize) {
        let tables = self.node(node, |node| {
            let first = |content: &super::Content| content.keys().next().cloned();
            let tables = node.tables.iter();
            let named = tables.filter_map(|(key, content)| Some((key.clone(), first(content)?)));
            named.collect::<Vec<_>>()
        });
        for ((database, table), partition) in tables.unwrap_or_default() {
            let files = [("z".to_owned(), b"rows".to_vec())].into();
            let loaded = self.subjects[node]
                .lock()
                .load(&database, &table, &partition, &files);
            if let Err(e) = loaded {
                let text = format!("node {node}, '{database}.{table}' at the end: {e}");
                self.shared.broken(rules::LOADS, text);
            }
        }
    }
}

/// How often a task had failed when its job was given up for it.
fn failed_times(message: &str) -> Option<u32> {
    let (_, rest) = message.split_once(" failed ")?;
    let (times, _) = rest.split_once(" times, last: ")?;
    times.parse().ok()
}

/// Whether a job may end so though nothing has gone wrong: what users do at the same time is reason enough.
fn is_refusal(message: &str) -> bool {
    const WORDS: [&str; 8] = [
        "replication_num is",
        " buckets, expected ",
        " replicas in the snapshot",
        "does not exist",
        "already exist in repository",
        "has different replication num",
        "already exists, expected a new name",
        "is in another",
    ];
    WORDS.iter().any(|word| message.contains(word))
}
