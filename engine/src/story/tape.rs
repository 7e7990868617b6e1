//! Made records with times of their own, for the tests of stories. Each is applied to a state, so that no history is
//! told that could not have been.

use holdfast_journal::{Event as _, FrameHash, Projection, Record, Seq};

use crate::event::{self, Event, LaneV1, ObjectV1};
use crate::ids::JobId;
use crate::order::{StatusCode, Work};
use crate::replay::Replay;
use crate::story::{Gather, Story};
use crate::view::{BackupState, RestoreState};

/// 2026-11-24 10:00:00 UTC.
pub(super) const START_MS: u64 = 1_795_514_400_000;

/// Records as they are made.
pub(super) struct Tape {
    pub(super) records: Vec<Record<Event>>,
    replay: Replay,
    wall_ms: u64,
    mono_ms: u64,
    epoch: u64,
    next_id: u64,
}

impl Tape {
    /// One opening.
    pub(super) fn new() -> Self {
        let mut tape = Self {
            records: Vec::new(),
            replay: Replay::new(),
            wall_ms: START_MS,
            mono_ms: 10,
            epoch: 0,
            next_id: 10_001,
        };
        tape.open();
        tape
    }

    /// Time goes by.
    pub(super) fn pass(&mut self, ms: u64) -> &mut Self {
        self.wall_ms += ms;
        self.mono_ms += ms;
        self
    }

    /// The wall clock is set back, the other is not.
    pub(super) fn set_back(&mut self, ms: u64) -> &mut Self {
        self.wall_ms -= ms;
        self
    }

    pub(super) fn push(&mut self, event: impl Into<Event>) -> &mut Self {
        let event = event.into();
        let record = Record {
            seq: Seq(self.records.len() as u64 + 1),
            at_ms: self.wall_ms,
            stream: event.stream(),
            kind: event.kind(),
            hash: FrameHash([0; 32]),
            event,
        };
        self.replay.apply(&record).unwrap();
        self.records.push(record);
        self
    }

    fn ids(&mut self, count: u64) -> u64 {
        let first = self.next_id;
        self.next_id += count;
        first
    }

    /// The engine is opened in a process of its own.
    pub(super) fn open(&mut self) -> &mut Self {
        self.epoch += 1;
        self.mono_ms = 10;
        let (epoch, mono_ms) = (self.epoch, self.mono_ms);
        self.push(event::EngineStarted {
            epoch,
            cluster: "c".to_owned(),
            catalog: 7,
            mono_ms,
        })
    }

    /// A backup is accepted; gives its id.
    pub(super) fn backup(&mut self, database: &str, timeout_seconds: u64) -> u64 {
        let (job, first_task) = (self.ids(1), self.ids(1));
        let mono_ms = self.mono_ms;
        self.push(event::BackupSubmitted {
            job,
            first_task,
            database: database.to_owned(),
            label: "monday".to_owned(),
            repository: 1,
            repository_name: "attic".to_owned(),
            objects: vec![table("orders"), table("items")],
            timestamp: "2026-11-24-10-00-00-000".to_owned(),
            timestamp_ms: START_MS,
            timeout_seconds,
            mono_ms,
        });
        job
    }

    /// A restore is accepted; gives its id.
    pub(super) fn restore(&mut self, database: &str) -> u64 {
        let (job, first_task) = (self.ids(1), self.ids(1));
        let mono_ms = self.mono_ms;
        self.push(event::RestoreSubmitted {
            job,
            first_task,
            database: database.to_owned(),
            source_database: None,
            label: "monday".to_owned(),
            repository: 1,
            repository_name: "attic".to_owned(),
            timestamp: "2026-11-24-10-00-00-000".to_owned(),
            selection: 0,
            objects: Vec::new(),
            allow_load: false,
            replication: 0,
            replication_num: 0,
            clean_tables: false,
            clean_partitions: false,
            existed: Vec::new(),
            timeout_seconds: 3_600,
            mono_ms,
        });
        job
    }

    pub(super) fn start(&mut self, job: u64, task: u64, attempt: u32) -> &mut Self {
        let mono_ms = self.mono_ms;
        self.push(event::TaskStarted {
            job,
            task,
            attempt,
            mono_ms,
        })
    }

    pub(super) fn finish(&mut self, job: u64, task: u64, attempt: u32, bytes: u64) -> &mut Self {
        let mono_ms = self.mono_ms;
        self.push(event::TaskFinished {
            job,
            task,
            attempt,
            bytes,
            objects: bytes.div_ceil(1_000_000),
            reused_bytes: 0,
            mono_ms,
        })
    }

    pub(super) fn fail(
        &mut self,
        job: u64,
        task: u64,
        (attempt, failures): (u32, u32),
        message: &str,
    ) -> &mut Self {
        let mono_ms = self.mono_ms;
        self.push(event::TaskFailed {
            job,
            task,
            attempt,
            failures,
            excluded: None,
            message: message.to_owned(),
            backoff_ms: 100 << (failures - 1),
            mono_ms,
        })
    }

    pub(super) fn stopping(&mut self, job: u64, code: StatusCode, message: &str) -> &mut Self {
        let mono_ms = self.mono_ms;
        self.push(event::JobStopping {
            job,
            code: code as u8,
            message: message.to_owned(),
            mono_ms,
        })
    }

    pub(super) fn let_go(&mut self, job: u64, task: u64, attempt: u32) -> &mut Self {
        self.push(event::TaskStopped { job, task, attempt })
    }

    /// Enters a state; gives the first task's id.
    pub(super) fn enter(
        &mut self,
        job: u64,
        (state, work): (u8, Work),
        lanes: &[(u64, u32)],
    ) -> u64 {
        let lanes = match lanes.is_empty() {
            true => vec![LaneV1 {
                backend: None,
                tasks: 1,
            }],
            false => lanes_of(lanes),
        };
        let tasks = lanes.iter().map(|lane| u64::from(lane.tasks)).sum();
        let first_task = self.ids(tasks);
        self.push(event::StateEntered {
            job,
            state,
            work: work as u8,
            first_task,
            lanes,
            plan: Some([1; 32]),
        });
        first_task
    }

    /// The newest task alone: starts, and after `ms` ends; `found` comes with its end.
    pub(super) fn alone(&mut self, job: u64, ms: u64, found: Option<Event>) -> &mut Self {
        let task = self.next_id - 1;
        self.start(job, task, 1).pass(ms);
        if let Some(found) = found {
            self.push(found);
        }
        self.finish(job, task, 1, 0)
    }

    /// A backup's PENDING and SNAPSHOTING over two backends, and its plan; then UPLOADING begins with tasks as in
    /// `lanes`. Gives the first of them.
    pub(super) fn until_upload(&mut self, job: u64, lanes: &[(u64, u32)]) -> u64 {
        let pinned = event::BackupPinned {
            job,
            plan: [1; 32],
            lanes: lanes_of(&[(1, 1), (2, 1)]),
            tablets: 12,
            files: 400,
            bytes: 90_000_000,
        };
        self.alone(job, 120, Some(pinned.into()));
        let link = (BackupState::Snapshoting as u8, Work::Link);
        let first = self.enter(job, link, &[(1, 1), (2, 1)]);
        self.start(job, first, 1).start(job, first + 1, 1).pass(40);
        self.finish(job, first, 1, 0).pass(15);
        self.finish(job, first + 1, 1, 0);
        let plan = (BackupState::UploadSnapshot as u8, Work::PlanUpload);
        self.enter(job, plan, &[]);
        let planned = event::UploadPlanned {
            job,
            plan: [2; 32],
            lanes: lanes_of(lanes),
            new_bytes: 60_000_000,
            new_objects: 60,
            reused_bytes: 30_000_000,
        };
        self.alone(job, 300, Some(planned.into()));
        self.enter(job, (BackupState::Uploading as u8, Work::Upload), lanes)
    }

    /// A backup from the end of UPLOADING up to its marker.
    pub(super) fn until_marker(&mut self, job: u64) -> &mut Self {
        let (marker, root) = ("__info_2026".to_owned(), [4; 32]);
        self.enter(job, (BackupState::SaveMeta as u8, Work::SaveMeta), &[]);
        let saved = event::BackupMetaSaved {
            job,
            plan: [3; 32],
            marker: marker.clone(),
            root,
        };
        self.alone(job, 25, Some(saved.into()));
        let info = BackupState::UploadInfo as u8;
        self.enter(job, (info, Work::UploadInfo), &[]);
        self.alone(job, 60, None);
        self.push(event::BackupCommitStarted { job, marker, root });
        self.enter(job, (info, Work::PutMarker), &[]);
        self
    }

    /// A backup from the end of UPLOADING to its end.
    pub(super) fn until_finish(&mut self, job: u64) -> &mut Self {
        self.until_marker(job).alone(job, 30, None);
        self.push(event::BackupFinished { job, root: [4; 32] });
        self.clean_up(job, Work::Release);
        self.push(event::JobReleased {
            job,
            leftovers: String::new(),
        })
    }

    pub(super) fn clean_up(&mut self, job: u64, work: Work) -> &mut Self {
        let first_task = self.ids(1);
        self.push(event::CleanupStarted {
            job,
            work: work as u8,
            first_task,
        });
        self.alone(job, 80, None)
    }

    /// What follows once all workers of an ending job have let go.
    pub(super) fn until_cancelled(&mut self, job: u64, work: Work) -> &mut Self {
        self.clean_up(job, work).push(event::JobCancelled { job });
        self.push(event::JobReleased {
            job,
            leftovers: String::new(),
        })
    }

    /// A restore up to DOWNLOADING with tasks as in `lanes`. Gives the first of them.
    pub(super) fn until_download(&mut self, job: u64, lanes: &[(u64, u32)]) -> u64 {
        let prepared = event::RestoreMetaPrepared {
            job,
            plan: [5; 32],
            lanes: lanes_of(&[(1, 1)]),
            objects: vec![table("orders")],
            drops: Vec::new(),
            replication_num: Some(1),
            note: Some("1 replica instead of 3, there are 2 backends".to_owned()),
            tablets: 4,
            files: 20,
        };
        self.alone(job, 200, Some(prepared.into()));
        self.enter(
            job,
            (RestoreState::Snapshotting as u8, Work::Stage),
            &[(1, 1)],
        );
        self.alone(job, 10, None);
        let download = (RestoreState::Download as u8, Work::PlanDownload);
        self.enter(job, download, &[]);
        let planned = event::DownloadPlanned {
            job,
            plan: [6; 32],
            lanes: lanes_of(lanes),
            bytes: 5_000_000,
        };
        self.alone(job, 50, Some(planned.into()));
        self.enter(
            job,
            (RestoreState::Downloading as u8, Work::Download),
            lanes,
        )
    }

    pub(super) fn story(&self, job: u64) -> Story {
        let mut gather = Gather::new(JobId(job));
        for record in &self.records {
            gather.apply(record).unwrap();
        }
        gather.story().unwrap()
    }
}

fn table(name: &str) -> ObjectV1 {
    ObjectV1 {
        table: name.to_owned(),
        partitions: Vec::new(),
        alias: None,
    }
}

fn lanes_of(lanes: &[(u64, u32)]) -> Vec<LaneV1> {
    lanes
        .iter()
        .map(|(backend, tasks)| LaneV1 {
            backend: Some(*backend),
            tasks: *tasks,
        })
        .collect()
}
