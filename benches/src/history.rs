//! A journal as a busy node would leave it: one backup after the other, each legal from its
//! acceptance to its release, with as many upload tasks as a job of some 250 GB has.

use std::path::Path;

use holdfast_engine::event::{
    BackupCommitStarted, BackupFinished, BackupMetaSaved, BackupPinned, BackupSubmitted,
    CleanupStarted, EngineStarted, JobReleased, LaneV1, RepositoryCreated, StateEntered,
    TaskFinished, TaskStarted, UploadPlanned,
};
use holdfast_engine::{BackupState, Event, Work};
use holdfast_journal::{FileJournal, Index, Journal, Options};

/// The first id that an engine gives out.
const FIRST_ID: u64 = 10_001;
/// Backends of the node.
const BACKENDS: u64 = 3;
/// Tasks of each backend that link, and that upload, in one job.
const LINKS: u32 = 40;
const UPLOADS: u32 = 300;
/// Tasks that run at the same time.
const RUNNING: u64 = 4;
/// When the journal begins, ms since 1970, and how much later each event is.
const BEGIN_MS: u64 = 1_700_000_000_000;

/// Writes at least `events` legal events into a fresh journal in `folder`; gives how many.
pub fn write(folder: &Path, events: u64) -> u64 {
    let options = Options::default().index(Index::None);
    let (journal, _) = FileJournal::<Event>::open(folder, options).unwrap();
    let mut history = History::begin();
    let mut written = 0;
    while written < events {
        history.backup();
        for some in std::mem::take(&mut history.events).chunks(500) {
            journal.append(some, BEGIN_MS + written).unwrap();
            written += some.len() as u64;
        }
    }
    written
}

struct History {
    events: Vec<Event>,
    next_id: u64,
    mono_ms: u64,
    repository: u64,
}

impl History {
    fn begin() -> Self {
        let mut history = Self {
            events: Vec::new(),
            next_id: FIRST_ID,
            mono_ms: 0,
            repository: 0,
        };
        let cluster = "0123456789abcdef0123456789abcdef".to_owned();
        history.push(EngineStarted {
            epoch: 1,
            cluster,
            catalog: 0,
            mono_ms: 0,
        });
        history.repository = history.ids(1);
        history.push(RepositoryCreated {
            repository: history.repository,
            name: "repo".to_owned(),
            broker: None,
            location: "file:///backups".to_owned(),
            read_only: false,
            created_ms: BEGIN_MS,
            properties: b"{}".to_vec(),
        });
        history
    }

    fn push(&mut self, event: impl Into<Event>) {
        self.events.push(event.into());
    }

    fn ids(&mut self, count: u64) -> u64 {
        let first = self.next_id;
        self.next_id += count;
        first
    }

    fn mono(&mut self) -> u64 {
        self.mono_ms += 1;
        self.mono_ms
    }

    /// A whole backup.
    fn backup(&mut self) {
        let (job, plan) = (
            self.ids(1),
            *blake3::hash(&self.next_id.to_le_bytes()).as_bytes(),
        );
        let first_task = self.ids(1);
        let mono_ms = self.mono();
        self.push(BackupSubmitted {
            job,
            first_task,
            database: "sales".to_owned(),
            label: format!("nightly_{job}"),
            repository: self.repository,
            repository_name: "repo".to_owned(),
            objects: Vec::new(),
            timestamp: "2026-01-02-03-04-05-678".to_owned(),
            timestamp_ms: BEGIN_MS,
            timeout_seconds: 86_400,
            mono_ms,
        });
        self.pin_and_upload(job, first_task, plan);
        self.commit(job, plan);
    }

    /// Everything up to the last data object.
    fn pin_and_upload(&mut self, job: u64, first_task: u64, plan: [u8; 32]) {
        self.run_backup(job, first_task, plan);
    }

    /// The works of an accepted backup.
    fn run_backup(&mut self, job: u64, first_task: u64, plan: [u8; 32]) {
        let (links, uploads) = (lanes(LINKS), lanes(UPLOADS));
        let (tablets, files, bytes) = (30_000, 900_000, 250_000_000_000);
        let pinned = BackupPinned {
            job,
            plan,
            lanes: links.clone(),
            tablets,
            files,
            bytes,
        };
        self.single(job, first_task, Some(pinned.into()));
        self.enter(job, BackupState::Snapshoting, Work::Link, links, Some(plan));
        let planned = UploadPlanned {
            job,
            plan,
            lanes: uploads.clone(),
            new_bytes: 240_000_000_000,
            new_objects: 4_000,
            reused_bytes: 10_000_000_000,
        };
        self.step(
            job,
            BackupState::UploadSnapshot,
            Work::PlanUpload,
            Some(planned.into()),
        );
        self.enter(
            job,
            BackupState::Uploading,
            Work::Upload,
            uploads,
            Some(plan),
        );
    }

    /// The manifest, the marker and the tidying up.
    fn commit(&mut self, job: u64, plan: [u8; 32]) {
        let (marker, root) = (format!("marker_{job}"), plan);
        let saved = BackupMetaSaved {
            job,
            plan,
            marker: marker.clone(),
            root,
        };
        self.step(
            job,
            BackupState::SaveMeta,
            Work::SaveMeta,
            Some(saved.into()),
        );
        self.step(job, BackupState::UploadInfo, Work::UploadInfo, None);
        self.push(BackupCommitStarted { job, marker, root });
        self.step(job, BackupState::UploadInfo, Work::PutMarker, None);
        self.push(BackupFinished { job, root });
        let first_task = self.ids(1);
        self.push(CleanupStarted {
            job,
            work: Work::Release as u8,
            first_task,
        });
        self.single(job, first_task, None);
        self.push(JobReleased {
            job,
            leftovers: String::new(),
        });
    }

    /// Enters a work of one task of the coordinator and does it.
    fn step(&mut self, job: u64, state: BackupState, work: Work, made: Option<Event>) {
        let first_task = self.entered(
            job,
            state,
            work,
            vec![LaneV1 {
                backend: None,
                tasks: 1,
            }],
            None,
        );
        self.single(job, first_task, made);
    }

    fn single(&mut self, job: u64, task: u64, made: Option<Event>) {
        self.start(job, task);
        self.events.extend(made);
        self.finish(job, task, 0);
    }

    /// Enters a work of many tasks and does them, a few at a time.
    fn enter(
        &mut self,
        job: u64,
        state: BackupState,
        work: Work,
        lanes: Vec<LaneV1>,
        plan: Option<[u8; 32]>,
    ) {
        let tasks: u64 = lanes.iter().map(|lane| u64::from(lane.tasks)).sum();
        let first = self.entered(job, state, work, lanes, plan);
        for begin in (0..tasks).step_by(RUNNING as usize) {
            let some = first + begin..first + (begin + RUNNING).min(tasks);
            some.clone().for_each(|task| self.start(job, task));
            some.for_each(|task| self.finish(job, task, 256 << 20));
        }
    }

    fn entered(
        &mut self,
        job: u64,
        state: BackupState,
        work: Work,
        lanes: Vec<LaneV1>,
        plan: Option<[u8; 32]>,
    ) -> u64 {
        let first_task = self.ids(lanes.iter().map(|lane| u64::from(lane.tasks)).sum());
        let (state, work) = (state as u8, work as u8);
        self.push(StateEntered {
            job,
            state,
            work,
            first_task,
            lanes,
            plan,
        });
        first_task
    }

    fn start(&mut self, job: u64, task: u64) {
        let mono_ms = self.mono();
        self.push(TaskStarted {
            job,
            task,
            attempt: 1,
            mono_ms,
        });
    }

    fn finish(&mut self, job: u64, task: u64, bytes: u64) {
        let mono_ms = self.mono();
        let objects = bytes >> 26;
        self.push(TaskFinished {
            job,
            task,
            attempt: 1,
            bytes,
            objects,
            reused_bytes: 0,
            mono_ms,
        });
    }
}

fn lanes(tasks: u32) -> Vec<LaneV1> {
    (1..=BACKENDS)
        .map(|backend| LaneV1 {
            backend: Some(backend),
            tasks,
        })
        .collect()
}
