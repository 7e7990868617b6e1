//! Histories of jobs as events, made without running anything: for measurements that need
//! millions, and for bytes that must stay what they are.

use crate::event::{self, Event, LaneV1, ObjectV1};
use crate::order::Work;
use crate::view::{BackupState, RestoreState};

/// Events that an engine could have recorded, in order.
#[derive(Clone, Debug)]
pub struct History {
    events: Vec<Event>,
    next_id: u64,
    epoch: u64,
    mono_ms: u64,
    repository: u64,
}

impl History {
    /// One opening, and the repository `repo`.
    pub fn new() -> Self {
        let mut history = Self {
            events: Vec::new(),
            next_id: 10_001,
            epoch: 0,
            mono_ms: 0,
            repository: 0,
        };
        history.opening();
        history.repository = history.ids(1);
        let created = event::RepositoryCreated {
            repository: history.repository,
            name: "repo".to_owned(),
            broker: None,
            location: "memory://".to_owned(),
            read_only: false,
            created_ms: 1,
            properties: b"{}".to_vec(),
        };
        history.push(created);
        history
    }

    /// Takes the events since the last call.
    pub fn take(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    /// The engine is opened (again).
    pub fn opening(&mut self) {
        self.epoch += 1;
        let started = event::EngineStarted {
            epoch: self.epoch,
            cluster: "cluster".to_owned(),
            catalog: 0,
            mono_ms: self.mono_ms,
        };
        self.push(started);
    }

    /// A backup that finishes, with `tasks` links and `tasks` uploads: 26 events, and 4 more for
    /// each of `tasks`.
    pub fn backup(&mut self, database: &str, tasks: u32) {
        let job = self.backup_begun(database, tasks);
        let lanes = lanes(Some(1), tasks);
        self.enter_backup(job, BackupState::UploadSnapshot, Work::PlanUpload, None);
        let planned = event::UploadPlanned {
            job,
            plan: [2; 32],
            lanes: lanes.clone(),
            new_bytes: 900,
            new_objects: 9,
            reused_bytes: 50,
        };
        self.coordinate(job, planned);
        self.enter_backup(job, BackupState::Uploading, Work::Upload, Some(lanes));
        self.run(job, tasks);
        self.enter_backup(job, BackupState::SaveMeta, Work::SaveMeta, None);
        let (marker, root) = ("__info_label".to_owned(), [4; 32]);
        let saved = event::BackupMetaSaved {
            job,
            plan: [3; 32],
            marker: marker.clone(),
            root,
        };
        self.coordinate(job, saved);
        self.enter_backup(job, BackupState::UploadInfo, Work::UploadInfo, None);
        self.run(job, 1);
        self.push(event::BackupCommitStarted { job, marker, root });
        self.enter_backup(job, BackupState::UploadInfo, Work::PutMarker, None);
        self.run(job, 1);
        self.push(event::BackupFinished { job, root });
        self.clean_up(job, Work::Release);
    }

    /// A backup that is interrupted by an opening while it links, fails there once, and is
    /// cancelled then.
    pub fn cancelled_backup(&mut self, database: &str) {
        let job = self.backup_begun(database, 1);
        self.enter_backup(
            job,
            BackupState::UploadSnapshot,
            Work::PlanUpload,
            Some(lanes(None, 1)),
        );
        let task = self.next_id - 1;
        self.start(job, task, 1);
        self.opening();
        self.start(job, task, 2);
        self.mono_ms += 1;
        let failed = event::TaskFailed {
            job,
            task,
            attempt: 2,
            failures: 1,
            excluded: Some(1),
            message: "the remote is down".to_owned(),
            backoff_ms: 100,
            mono_ms: self.mono_ms,
        };
        self.push(failed);
        let stopping = event::JobStopping {
            job,
            code: 5,
            message: "user cancelled".to_owned(),
            mono_ms: self.mono_ms,
        };
        self.push(stopping);
        let first_task = self.ids(1);
        self.push(event::CleanupStarted {
            job,
            work: Work::Discard as u8,
            first_task,
        });
        self.run_from(job, first_task, 1);
        self.push(event::JobCancelled { job });
        self.push(event::JobReleased {
            job,
            leftovers: String::new(),
        });
    }

    /// A restore that is left while its second of two downloads runs.
    pub fn open_restore(&mut self, database: &str) {
        let (job, first_task) = (self.ids(1), self.ids(1));
        let submitted = event::RestoreSubmitted {
            job,
            first_task,
            database: database.to_owned(),
            source_database: Some("source".to_owned()),
            label: "label".to_owned(),
            repository: self.repository,
            repository_name: "repo".to_owned(),
            timestamp: "2025-01-01-00-00-00-000".to_owned(),
            selection: 1,
            objects: objects(),
            allow_load: true,
            replication: 1,
            replication_num: 2,
            clean_tables: true,
            clean_partitions: false,
            existed: objects(),
            timeout_seconds: 86_400,
            mono_ms: self.mono_ms,
        };
        self.push(submitted);
        let prepared = event::RestoreMetaPrepared {
            job,
            plan: [5; 32],
            lanes: lanes(Some(1), 1),
            tablets: 3,
            files: 10,
            objects: objects(),
            drops: objects(),
            replication_num: Some(2),
            note: Some("fewer replicas".to_owned()),
        };
        self.coordinate(job, prepared);
        let staged = lanes(Some(1), 1);
        self.enter_restore(job, RestoreState::Snapshotting, Work::Stage, staged);
        self.run(job, 1);
        let one = lanes(None, 1);
        self.enter_restore(job, RestoreState::Download, Work::PlanDownload, one);
        let planned = event::DownloadPlanned {
            job,
            plan: [6; 32],
            lanes: lanes(Some(1), 2),
            bytes: 77,
        };
        self.coordinate(job, planned);
        let two = lanes(Some(1), 2);
        self.enter_restore(job, RestoreState::Downloading, Work::Download, two);
        let first = self.next_id - 2;
        self.run_from(job, first, 1);
        self.start(job, first + 1, 1);
    }

    /// Up to the end of the links.
    fn backup_begun(&mut self, database: &str, tasks: u32) -> u64 {
        let (job, first_task) = (self.ids(1), self.ids(1));
        let submitted = event::BackupSubmitted {
            job,
            first_task,
            database: database.to_owned(),
            label: format!("label_{job}"),
            repository: self.repository,
            repository_name: "repo".to_owned(),
            objects: objects(),
            timestamp: "2025-01-01-00-00-00-000".to_owned(),
            timestamp_ms: 1_735_689_600_000,
            timeout_seconds: 86_400,
            mono_ms: self.mono_ms,
        };
        self.push(submitted);
        let lanes = lanes(Some(1), tasks);
        let pinned = event::BackupPinned {
            job,
            plan: [1; 32],
            lanes: lanes.clone(),
            tablets: 3,
            files: 10,
            bytes: 1_000,
        };
        self.coordinate(job, pinned);
        self.enter_backup(job, BackupState::Snapshoting, Work::Link, Some(lanes));
        self.run(job, tasks);
        job
    }

    fn push(&mut self, event: impl Into<Event>) {
        self.events.push(event.into());
    }

    fn ids(&mut self, count: u64) -> u64 {
        let first = self.next_id;
        self.next_id += count;
        first
    }

    fn enter_backup(
        &mut self,
        job: u64,
        state: BackupState,
        work: Work,
        planned: Option<Vec<LaneV1>>,
    ) {
        self.enter(
            job,
            (state as u8, work),
            planned.unwrap_or_else(|| lanes(None, 1)),
        );
    }

    fn enter_restore(&mut self, job: u64, state: RestoreState, work: Work, lanes: Vec<LaneV1>) {
        self.enter(job, (state as u8, work), lanes);
    }

    fn enter(&mut self, job: u64, (state, work): (u8, Work), lanes: Vec<LaneV1>) {
        let tasks: u64 = lanes.iter().map(|lane| u64::from(lane.tasks)).sum();
        let first_task = self.ids(tasks);
        self.push(event::StateEntered {
            job,
            state,
            work: work as u8,
            first_task,
            lanes,
            plan: Some([work as u8; 32]),
        });
    }

    /// The coordinator's one task, which is the newest, and what it found out.
    fn coordinate(&mut self, job: u64, found: impl Into<Event>) {
        let task = self.next_id - 1;
        self.start(job, task, 1);
        self.push(found);
        self.finish(job, task);
    }

    /// The newest `tasks` tasks.
    fn run(&mut self, job: u64, tasks: u32) {
        self.run_from(job, self.next_id - u64::from(tasks), tasks);
    }

    fn run_from(&mut self, job: u64, first: u64, tasks: u32) {
        for task in first..first + u64::from(tasks) {
            self.start(job, task, 1);
            self.finish(job, task);
        }
    }

    fn start(&mut self, job: u64, task: u64, attempt: u32) {
        self.mono_ms += 1;
        self.push(event::TaskStarted {
            job,
            task,
            attempt,
            mono_ms: self.mono_ms,
        });
    }

    fn finish(&mut self, job: u64, task: u64) {
        self.mono_ms += 1;
        self.push(event::TaskFinished {
            job,
            task,
            attempt: 1,
            bytes: 100,
            objects: 1,
            reused_bytes: 5,
            mono_ms: self.mono_ms,
        });
    }

    fn clean_up(&mut self, job: u64, work: Work) {
        let first_task = self.ids(1);
        self.push(event::CleanupStarted {
            job,
            work: work as u8,
            first_task,
        });
        self.run_from(job, first_task, 1);
        self.push(event::JobReleased {
            job,
            leftovers: String::new(),
        });
    }
}

impl Default for History {
    fn default() -> Self {
        Self::new()
    }
}

fn lanes(backend: Option<u64>, tasks: u32) -> Vec<LaneV1> {
    vec![LaneV1 { backend, tasks }]
}

fn objects() -> Vec<ObjectV1> {
    vec![ObjectV1 {
        table: "table".to_owned(),
        partitions: vec!["p1".to_owned(), "p2".to_owned()],
        alias: None,
    }]
}
