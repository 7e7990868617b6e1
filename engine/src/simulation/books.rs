//! What must be true of a world, kept beside it: what every table holds, what every snapshot holds, what was answered to
//! users. Compared with what the nodes say after every call and every turn; writes nothing into the world.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use holdfast_journal::{FrameHash, Record, Seq};
use holdfast_storage::conformance::Files;
use holdfast_storage::{CatalogPosition, ErrorKind, OpId, RestoreSpec, Storage};
use parking_lot::Mutex;

mod asked;
mod ends;
mod snapshots;
mod storage;

use asked::Asked;
use ends::Submitted;

use super::coverage::place_of;
use super::remote::Remote;
use super::rules;
use super::shared::Shared;
use super::subject::Subject;
use crate::convert::objects_in;
use crate::event::{self, Event};
use crate::ids::JobId;
use crate::spec::{JobKind, ObjectRef};
use crate::state::State;

/// The one repository of a world.
pub(super) const REPOSITORY: &str = "repo";

/// Files of a table by partition.
type Content = BTreeMap<String, Files>;
/// Tables of one database.
type Database = BTreeMap<String, Content>;
/// Label and timestamp.
type SnapshotName = (String, String);
/// Names of tables with those of their partitions.
type Names = BTreeMap<String, BTreeSet<String>>;

struct Pinned {
    position: CatalogPosition,
    content: Database,
}

#[derive(Clone)]
struct Restoring {
    label: String,
    timestamp: String,
    asked: Asked,
    /// What the target database held when it was asked for, where the books know that moment.
    existed: Option<Names>,
    /// What it held when the targets were made.
    found: Names,
    spec: Option<RestoreSpec>,
    /// Whether it only shows that the snapshot can be brought back.
    is_proof: bool,
    /// Whether the journal lets it commit.
    may_commit: bool,
    committed: bool,
}

impl Restoring {
    fn of(event: &event::RestoreSubmitted) -> Self {
        Self {
            label: event.label.clone(),
            timestamp: event.timestamp.clone(),
            asked: Asked::of(event),
            existed: None,
            found: Names::new(),
            spec: None,
            is_proof: event.database.starts_with("proof"),
            may_commit: false,
            committed: false,
        }
    }
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
    /// What each backup was accepted for.
    backed_up: BTreeMap<JobId, Vec<ObjectRef>>,
    /// All that the journal has taken in, answered or not.
    submitted: BTreeMap<JobId, Submitted>,
    cancelled: BTreeSet<JobId>,
    /// Cancels that users have asked for, answered or not.
    cancels: Vec<(JobKind, String)>,
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
    /// When it died last, until its next process has shown what it found.
    died_ms: Option<u64>,
    /// Whether a backup lost its pin: what it had put for the lost point may stay.
    lost_point: bool,
    /// When it died last.
    last_death_ms: Option<u64>,
    /// Jobs that take back what they put into the repository.
    discarding: BTreeSet<JobId>,
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
    /// Which jobs have finished under a label.
    bearers: Mutex<BTreeMap<String, BTreeSet<(usize, OpId)>>>,
    /// Labels of snapshots that hold something that the remote did not keep.
    spoiled: Mutex<BTreeSet<String>>,
    /// Labels that are to be brought back at the end.
    wanted: Mutex<BTreeSet<String>>,
    /// Whether a job took back what it had put while another was at work: what that one may need stays.
    crossed: Mutex<bool>,
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
            bearers: Mutex::default(),
            spoiled: Mutex::default(),
            wanted: Mutex::default(),
            crossed: Mutex::default(),
        }
    }

    fn node<T>(&self, node: usize, with: impl FnOnce(&mut Node) -> T) -> Option<T> {
        self.nodes.lock().get_mut(node).map(with)
    }

    /// The storage of a process that begins.
    pub(super) fn opened(&self, node: usize, truth: &Arc<dyn Storage>) {
        self.node(node, |node| node.truth = Some(Arc::clone(truth)));
    }

    /// The node dies: nobody holds its storage any more.
    pub(super) fn closed(&self, node: usize) {
        let now = self.shared.now_ms();
        self.node(node, |node| {
            node.truth = None;
            node.died_ms = Some(now);
            node.last_death_ms = Some(now);
        });
    }

    /// When the events that are observed now were appended, at the latest: by whoever died, or just now.
    fn appended_ms(&self, node: usize) -> u64 {
        let died = self.node(node, |node| node.died_ms).flatten();
        died.unwrap_or_else(|| self.shared.now_ms())
    }

    /// All that is durable has been observed.
    pub(super) fn caught_up(&self, node: usize) {
        self.node(node, |node| node.died_ms = None);
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
            Err(e) => self.shared.broken(rules::LOADS, e.to_string()),
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
            Err(e) => self.shared.broken(rules::DROPS, e.to_string()),
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

    /// A user asks for a cancel.
    pub(super) fn cancel_asked(&self, node: usize, kind: JobKind, database: &str) {
        let cancel = (kind, database.to_owned());
        self.node(node, |node| node.cancels.push(cancel));
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
                self.submitted(node, JobId(e.job), e.timeout_seconds);
                let objects = objects_in(&e.objects);
                self.node(node, |node| node.backed_up.insert(JobId(e.job), objects));
            }
            Event::BackupPinned(e) => self.point_recorded(node, OpId(e.job)),
            Event::RestoreSubmitted(e) => {
                self.submitted(node, JobId(e.job), e.timeout_seconds);
                let restore = Restoring::of(e);
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
                    self.shared
                        .broken(rules::FINISHED, format!("job {} of node {node}", e.job));
                }
            }
            Event::PinLost(_) => {
                self.node(node, |node| node.lost_point = true);
            }
            Event::CleanupStarted(e) => {
                self.node(node, |node| node.discarding.insert(JobId(e.job)));
                self.note_crossing();
            }
            Event::JobReleased(e) => {
                let (job, left) = (JobId(e.job), !e.leftovers.is_empty());
                self.node(node, |node| {
                    node.discarding.remove(&job);
                    if left {
                        node.leftovers.insert(job);
                    }
                });
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
            self.shared
                .broken(rules::PIN_RECORDED, format!("job {op} of node {node}"));
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
}
