//! What must be true of a world, kept beside it: what every table holds, what every snapshot holds, what was answered to
//! users. Compared with what the nodes say after every call and every turn; writes nothing into the world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_broker::Context;
use holdfast_journal::{FrameHash, Record, Seq};
use holdfast_repository::{Mode, Repository};
use holdfast_storage::conformance::Files;
use holdfast_storage::{CatalogPosition, ErrorKind, OpId, RestoreSpec, Storage};
use parking_lot::Mutex;

mod storage;

use super::coverage::place_of;
use super::remote::Remote;
use super::shared::Shared;
use super::subject::Subject;
use crate::event::Event;
use crate::ids::JobId;
use crate::state::State;
use crate::view::Views;

/// The one repository of a world.
pub(super) const REPOSITORY: &str = "repo";

/// Files of a table by partition.
type Content = BTreeMap<String, Files>;
/// Tables of one database.
type Database = BTreeMap<String, Content>;
/// Label and timestamp.
type SnapshotName = (String, String);

struct Pinned {
    position: CatalogPosition,
    content: Database,
}

#[derive(Clone)]
struct Restoring {
    label: String,
    timestamp: String,
    /// Target name -> name in the snapshot.
    sources: BTreeMap<String, String>,
    spec: Option<RestoreSpec>,
    /// Whether it only shows that the snapshot can be brought back.
    is_proof: bool,
    /// Whether the journal lets it commit.
    may_commit: bool,
    committed: bool,
}

#[derive(Default)]
struct Node {
    /// The storage as the running process has it.
    truth: Option<Arc<dyn Storage>>,
    tables: BTreeMap<(String, String), Content>,
    pins: BTreeMap<OpId, Pinned>,
    /// What a backup's durable point holds.
    points: BTreeMap<OpId, Database>,
    restores: BTreeMap<OpId, Restoring>,
    accepted: BTreeSet<JobId>,
    cancelled: BTreeSet<JobId>,
    /// How a job ended, as its view said first.
    ends: BTreeMap<JobId, String>,
    /// Jobs that said that they could not remove all.
    leftovers: BTreeSet<JobId>,
    /// Jobs that were archived since the views were looked at.
    archiving: u64,
    /// Whether a worker went on after its process or its job.
    outlived: bool,
    acknowledged: Option<(Seq, FrameHash)>,
    observed: Seq,
}

/// The books of a world.
pub(super) struct Books {
    shared: Arc<Shared>,
    remote: Arc<Remote>,
    pub(super) subjects: Vec<Mutex<Box<dyn Subject>>>,
    nodes: Mutex<Vec<Node>>,
    /// Who made a snapshot, or tried to.
    backups: Mutex<BTreeMap<SnapshotName, Vec<(usize, OpId)>>>,
    finished: Mutex<Vec<(String, String)>>,
}

impl Books {
    pub(super) fn new(
        shared: &Arc<Shared>,
        remote: &Arc<Remote>,
        subjects: Vec<Box<dyn Subject>>,
    ) -> Self {
        Self {
            shared: Arc::clone(shared),
            remote: Arc::clone(remote),
            nodes: Mutex::new(subjects.iter().map(|_| Node::default()).collect()),
            subjects: subjects.into_iter().map(Mutex::new).collect(),
            backups: Mutex::default(),
            finished: Mutex::default(),
        }
    }

    fn node<T>(&self, node: usize, with: impl FnOnce(&mut Node) -> T) -> Option<T> {
        self.nodes.lock().get_mut(node).map(with)
    }

    /// The storage of a process that begins.
    pub(super) fn opened(&self, node: usize, truth: &Arc<dyn Storage>) {
        self.node(node, |node| node.truth = Some(Arc::clone(truth)));
    }

    /// Nobody holds the storage of the node any more.
    pub(super) fn closed(&self, node: usize) {
        self.node(node, |node| node.truth = None);
    }

    fn read(&self, node: usize, database: &str, table: &str) -> Result<Content, String> {
        let subject = self.subjects[node].lock();
        subject
            .read(database, table)
            .map_err(|e| format!("{:?}: {e}", e.kind()))
    }

    /// A user loads; what is answered well is in the books.
    pub(super) fn load(
        &self,
        node: usize,
        (database, table, partition): (&str, &str, &str),
        files: &Files,
    ) {
        let loaded = self.subjects[node]
            .lock()
            .load(database, table, partition, files);
        match loaded {
            Ok(()) => {
                self.node(node, |node| {
                    let key = (database.to_owned(), table.to_owned());
                    let content = node.tables.entry(key).or_default();
                    let kept = content.entry(partition.to_owned()).or_default();
                    kept.extend(files.clone());
                });
                self.shared.tell(|| {
                    format!(
                        "node {node}: loaded {} files into {database}.{table} {partition}",
                        files.len()
                    )
                });
            }
            Err(e) if matches!(e.kind(), ErrorKind::Busy | ErrorKind::Exists) => {}
            Err(e) => self
                .shared
                .broken("loads are refused only where they must be", e.to_string()),
        }
        self.check_tables(node, "load");
    }

    /// A user drops a table.
    pub(super) fn drop_table(&self, node: usize, database: &str, table: &str) {
        let dropped = self.subjects[node].lock().drop_table(database, table);
        match dropped {
            Ok(()) => {
                let key = (database.to_owned(), table.to_owned());
                self.node(node, |node| node.tables.remove(&key));
                self.shared
                    .tell(|| format!("node {node}: dropped {database}.{table}"));
            }
            Err(e) if matches!(e.kind(), ErrorKind::Busy | ErrorKind::NotFound) => {}
            Err(e) => self
                .shared
                .broken("drops are refused only where they must be", e.to_string()),
        }
        self.check_tables(node, "drop");
    }

    /// A table with a partition was made by a user.
    pub(super) fn created(&self, node: usize, database: &str, table: &str, partition: &str) {
        self.node(node, |node| {
            let key = (database.to_owned(), table.to_owned());
            let content = node.tables.entry(key).or_default();
            content.entry(partition.to_owned()).or_default();
        });
    }

    /// A job was answered to a user.
    pub(super) fn accepted(&self, node: usize, job: JobId) {
        self.node(node, |node| node.accepted.insert(job));
    }

    /// A cancel was answered to a user.
    pub(super) fn cancelled(&self, node: usize, job: JobId) {
        self.node(node, |node| node.cancelled.insert(job));
    }

    /// Snapshots that are known to be finished, oldest first.
    pub(super) fn snapshots(&self) -> Vec<(String, String)> {
        self.finished.lock().clone()
    }

    /// All that was ever asked to be backed up, finished or not.
    pub(super) fn attempted(&self) -> Vec<(String, String)> {
        self.backups.lock().keys().cloned().collect()
    }

    /// Takes in the next event of a node's journal, which is durable.
    pub(super) fn observe(&self, node: usize, record: &Record<Event>) {
        self.shared.tell(|| {
            let name = holdfast_journal::Event::kind_name(&record.event);
            format!(
                "node {node}: event {} {name} of {}",
                record.seq, record.stream.0
            )
        });
        match &record.event {
            Event::BackupSubmitted(e) => {
                let key = (e.label.clone(), e.timestamp.clone());
                let maker = (node, OpId(e.job));
                self.backups.lock().entry(key).or_default().push(maker);
            }
            Event::BackupPinned(e) => self.point_recorded(node, OpId(e.job)),
            Event::RestoreSubmitted(e) => {
                let sources = e.objects.iter().filter_map(|object| {
                    let alias = object.alias.clone()?;
                    Some((alias, object.table.clone()))
                });
                let restore = Restoring {
                    label: e.label.clone(),
                    timestamp: e.timestamp.clone(),
                    sources: sources.collect(),
                    spec: None,
                    is_proof: e.database.starts_with("proof"),
                    may_commit: false,
                    committed: false,
                };
                self.node(node, |node| node.restores.insert(OpId(e.job), restore));
            }
            Event::RestoreCommitStarted(e) => {
                self.node(node, |node| {
                    if let Some(restore) = node.restores.get_mut(&OpId(e.job)) {
                        restore.may_commit = true;
                    }
                });
            }
            Event::HistoryArchived(e) => {
                self.node(node, |node| node.archiving += e.jobs);
            }
            Event::BackupFinished(e) => self.backup_finished(node, OpId(e.job)),
            Event::RestoreFinished(e) => {
                let done = self.node(node, |node| {
                    node.restores.get(&OpId(e.job)).is_some_and(|r| r.committed)
                });
                if done != Some(true) {
                    self.shared.broken(
                        "a restore is FINISHED only after its commit",
                        format!("job {} of node {node}", e.job),
                    );
                }
            }
            Event::JobReleased(e) if !e.leftovers.is_empty() => {
                self.node(node, |node| node.leftovers.insert(JobId(e.job)));
            }
            _ => {}
        }
        self.shared.cover(|coverage| coverage.events += 1);
        self.node(node, |node| node.observed = record.seq);
    }

    /// The point of a backup is recorded: from here on this is what its snapshot must hold.
    fn point_recorded(&self, node: usize, op: OpId) {
        let kept = self.node(node, |node| {
            let content = node.pins.get(&op).map(|pinned| pinned.content.clone());
            content
                .map(|content| node.points.insert(op, content))
                .is_some()
        });
        if kept != Some(true) {
            self.shared.broken(
                "a recorded pin was taken",
                format!("job {op} of node {node}"),
            );
        }
    }

    fn backup_finished(&self, node: usize, op: OpId) {
        let found = {
            let backups = self.backups.lock();
            let mut made = backups.iter().filter(|(_, by)| by.contains(&(node, op)));
            made.next().map(|(key, _)| key.clone())
        };
        let Some((label, timestamp)) = found else {
            return self
                .shared
                .broken("a finished backup was accepted", format!("job {op}"));
        };
        self.finished.lock().push((label.clone(), timestamp));
        self.prove(&label);
    }

    /// Every object of a finished snapshot is there and whole.
    pub(super) fn prove(&self, label: &str) {
        let context = Context::new();
        let truth = Arc::new(self.remote.truth.clone());
        let opened = Repository::open(&context, truth, REPOSITORY, Mode::ReadOnly);
        let mut findings = Vec::new();
        let proved = opened.and_then(|repository| {
            repository.verify(&context, Some(label), &mut |finding| {
                let name = format!("__holdfast_repository_{REPOSITORY}/{}", finding.object);
                if !self.remote.lied_about(&name) {
                    findings.push(finding.to_string());
                }
            })
        });
        let excused = self.remote.has_lied();
        let text = match (proved, findings.first()) {
            (Err(e), _) if !excused => e.to_string(),
            (_, Some(finding)) => finding.clone(),
            _ => return self.shared.cover(|coverage| coverage.snapshots += 1),
        };
        self.shared.broken(
            "a finished snapshot is whole",
            format!("snapshot '{label}': {text}"),
        );
    }

    /// After requests that took something away: no finished snapshot suffers.
    pub(super) fn check_deleted(&self) {
        if self.remote.take_deleted().is_empty() {
            return;
        }
        for (label, _) in self.snapshots() {
            self.prove(&label);
        }
    }

    /// The last event that the books have taken in.
    pub(super) fn observed(&self, node: usize) -> Seq {
        self.node(node, |node| node.observed).unwrap_or(Seq::ZERO)
    }

    /// What a turn has made durable before it answered anybody.
    pub(super) fn acknowledge(&self, node: usize, position: (Seq, FrameHash)) {
        self.node(node, |node| node.acknowledged = Some(position));
    }

    /// What had been made durable before a death.
    pub(super) fn acknowledged(&self, node: usize) -> Option<(Seq, FrameHash)> {
        self.node(node, |node| node.acknowledged).flatten()
    }

    /// What readers see after a turn.
    pub(super) fn check_views(&self, node: usize, views: &Views) {
        let mut active: BTreeMap<&str, JobId> = BTreeMap::new();
        for (id, view) in &views.jobs {
            let common = view.common();
            if !view.has_ended() {
                if let Some(other) = active.insert(&common.database, *id) {
                    self.shared.broken(
                        "one active job per database",
                        format!(
                            "jobs {other} and {id} of '{}' on node {node}",
                            common.database
                        ),
                    );
                }
                continue;
            }
            let end = format!("{} {}", view.state_name(), common.status.message);
            let (first, cancelled) = self
                .node(node, |node| {
                    let first = node.ends.entry(*id).or_insert_with(|| end.clone()).clone();
                    (first, node.cancelled.contains(id))
                })
                .unwrap_or_default();
            if first != end {
                self.shared.broken(
                    "an end never changes",
                    format!("job {id} of node {node} ended as '{first}', now '{end}'"),
                );
            }
            if cancelled && view.is_finished() {
                self.shared.broken(
                    "a cancel that was answered ends in CANCELLED",
                    format!("job {id} of node {node} is FINISHED"),
                );
            }
        }
        self.check_missing(node, views);
    }

    /// No job is missing but those that ended and were archived, and of these all.
    fn check_missing(&self, node: usize, views: &Views) {
        let missing = self.node(node, |node| {
            let known = node.accepted.iter().chain(node.ends.keys());
            let missing = known.filter(|id| !views.jobs.contains_key(*id));
            let missing: BTreeSet<JobId> = missing.copied().collect();
            let archived = std::mem::take(&mut node.archiving);
            let open = missing.iter().find(|id| !node.ends.contains_key(*id));
            let wrong = open.copied().or_else(|| {
                let right = missing.len() as u64 == archived;
                missing.first().copied().filter(|_| !right)
            });
            node.accepted.retain(|id| !missing.contains(id));
            node.ends.retain(|id, _| !missing.contains(id));
            wrong
        });
        if let Some(id) = missing.flatten() {
            self.shared.broken(
                "a job that was answered exists",
                format!("job {id} of node {node}"),
            );
        }
    }

    /// Where the jobs of a node stand, for the coverage.
    pub(super) fn cover_places(&self, state: &State, death: bool) {
        self.shared.cover(|coverage| {
            for job in state.working.iter().filter_map(|id| state.jobs.get(id)) {
                let Some(phase) = job.current() else { continue };
                let place = place_of(job.stage, phase.work);
                match death {
                    true => coverage.death_in(place),
                    false => coverage.place(place),
                }
            }
        });
    }

    /// At rest: nothing of any job is left behind, unless it said so.
    pub(super) fn check_rest(&self, node: usize) {
        let held = self.subjects[node].lock().held().unwrap_or_default();
        if !held.is_empty() {
            self.shared.broken(
                "nothing of an ended job is left in the storage",
                format!("node {node} still holds operations {held:?}"),
            );
        }
        let ends = self.node(node, |node| node.ends.values().cloned().collect::<Vec<_>>());
        self.shared.cover(|coverage| {
            for end in ends.unwrap_or_default() {
                let state = end.split(' ').next().unwrap_or_default().to_owned();
                *coverage.ends.entry(state).or_default() += 1;
            }
        });
    }

    /// A snapshot could not even be asked back on a world without trouble.
    pub(super) fn not_brought_back(&self, label: &str, why: &str) {
        if !self.remote.has_lied() {
            self.shared.broken(
                "a finished snapshot can be restored",
                format!("snapshot '{label}': {why}"),
            );
        }
    }

    /// The restores at the end have finished, unless the remote has not kept what it said it had.
    pub(super) fn check_proofs(&self) {
        if self.remote.has_lied() {
            return;
        }
        let proofs = self.node(0, |node| {
            let restores = node.restores.iter();
            restores
                .filter(|(_, restore)| restore.is_proof && !restore.committed)
                .map(|(op, restore)| (*op, restore.label.clone()))
                .collect::<Vec<_>>()
        });
        for (op, label) in proofs.unwrap_or_default() {
            let end = self.node(0, |node| node.ends.get(&JobId(op.0)).cloned());
            self.shared.broken(
                "a finished snapshot can be restored",
                format!("snapshot '{label}', job {op}: {:?}", end.flatten()),
            );
        }
    }

    /// A worker of the node goes on though nobody waits for it any more.
    pub(super) fn worker_outlives(&self, node: usize) {
        self.node(node, |node| node.outlived = true);
    }

    /// Whether an intent may have been left in the repository: by a job that said that it could not remove all, or by a
    /// worker that wrote it after its job had ended. The next job of that cluster takes it away.
    pub(super) fn may_leave_intents(&self) -> bool {
        let nodes = self.nodes.lock();
        nodes
            .iter()
            .any(|node| node.outlived || !node.leftovers.is_empty())
    }
}
