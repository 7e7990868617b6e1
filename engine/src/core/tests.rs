//! The engine without threads: given inputs and workers that end as told, these events and views follow.

use std::collections::BTreeMap;
use std::sync::Arc;

use crossbeam::channel::{Receiver, bounded};
use holdfast_broker::Broker;
use holdfast_journal::{Fate, Journal, MemoryJournal, Seq};
use holdfast_storage::{BackendId, CatalogPosition};
use parking_lot::Mutex;

mod checkpoints;
mod inspected;

use super::*;
use crate::decide::{DISCARD_MS, LET_GO_MS, MAX_FAILURES, NewRepository};
use crate::ids::{BlobHash, Epoch, TaskId};
use crate::opening::open_state;
use crate::order::{Completion, Failure, FailureClass, Lane, Output, StatusCode, Work};
use crate::seams::{Brokers, Vault};
use crate::spec::{
    BackupSpec, Clean, JobKind, ObjectRef, Replication, RepositoryAccess, RestoreJobSpec, Selection,
};
use crate::view::JobView;

const START: Now = Now {
    wall_ms: 1_700_000_000_000,
    mono_ms: 1_000,
};

/// Keeps what it is told to start; the test ends it.
#[derive(Default)]
struct Scripted {
    started: Mutex<Vec<TaskOrder>>,
    stopped: Mutex<Vec<JobId>>,
    abandoned: Mutex<Vec<TaskId>>,
}

impl Executor for Scripted {
    fn start(&self, order: TaskOrder) {
        self.started.lock().push(order);
    }
    fn stop(&self, job: JobId) {
        self.stopped.lock().push(job);
    }
    fn abandon(&self, _job: JobId, task: TaskId, _attempt: u32) {
        self.abandoned.lock().push(task);
    }
    fn reconcile(&self, _epoch: Epoch) -> Vec<TaskOrder> {
        Vec::new()
    }
    fn shutdown(&self) {}
}

struct Nothing;

impl Brokers for Nothing {
    fn connect(
        &self,
        _broker: Option<&str>,
        _location: &str,
        _properties: &BTreeMap<String, String>,
    ) -> Result<Arc<dyn Broker>, String> {
        Err("no broker in this test".to_owned())
    }
}

impl Vault for Nothing {
    fn seal(&self, plain: &[u8]) -> Result<Vec<u8>, String> {
        Ok(plain.to_vec())
    }
    fn open(&self, sealed: &[u8]) -> Result<Vec<u8>, String> {
        Ok(sealed.to_vec())
    }
}

struct Bench {
    core: Core,
    journal: Arc<MemoryJournal<Event>>,
    executor: Arc<Scripted>,
    published: Arc<Published>,
    now: Now,
}

impl Bench {
    fn new() -> Self {
        let mut bench = Self::over(MemoryJournal::new(), START);
        let answer = bench.ask(Input::CreateRepository(NewRepository {
            name: "repo".to_owned(),
            broker: None,
            location: "memory://".to_owned(),
            access: RepositoryAccess::ReadWrite,
            created_ms: 1,
            properties: Vec::new(),
        }));
        assert!(matches!(answer, Ok(Answer::Repository(_))), "{answer:?}");
        bench
    }

    fn over(journal: MemoryJournal<Event>, now: Now) -> Self {
        let journal = Arc::new(journal);
        let mut opened =
            open_state(journal.as_ref(), CatalogPosition(0), "c1".to_owned(), now).unwrap();
        opened.state.changed = opened.state.jobs.keys().copied().collect();
        opened.state.repositories_changed = true;
        let published = Arc::new(Published::default());
        published.publish(&mut opened.state);
        let registry = Arc::new(Registry::new(
            Arc::new(Nothing),
            Arc::new(Nothing),
            Arc::new(crate::testing::ManualClock::new()),
            Arc::clone(&published),
        ));
        let executor = Arc::new(Scripted::default());
        let credits = Credits {
            workers: 4,
            per_backend: 2,
            coordinators: 2,
        };
        let core = Core::new(
            opened,
            Arc::clone(&journal) as Arc<dyn Journal<Event>>,
            Arc::clone(&executor) as Arc<dyn Executor>,
            (registry, Arc::clone(&published)),
            Settings {
                credits,
                checkpoint_events: 0,
                checkpoints: Writing::Beside,
            },
        );
        let mut bench = Self {
            core,
            journal,
            executor,
            published,
            now,
        };
        bench.turn(Vec::new());
        bench
    }

    /// Kills the engine and opens the journal again, `later_ms` later on both clocks.
    fn reopen(self, later_ms: u64) -> Self {
        let now = Now {
            wall_ms: self.now.wall_ms + later_ms,
            mono_ms: 50,
        };
        Self::over(self.journal.reopen(), now)
    }

    fn turn(&mut self, asked: Vec<Asked>) -> Turned {
        self.core.turn(asked, self.now)
    }

    fn later(&mut self, ms: u64) {
        self.now.wall_ms += ms;
        self.now.mono_ms += ms;
        self.turn(Vec::new());
    }

    fn send(&mut self, input: Input) -> Receiver<Result<Answer, Refusal>> {
        let (reply, answer) = bounded(1);
        self.turn(vec![Asked {
            input,
            reply: Some(reply),
        }]);
        answer
    }

    fn ask(&mut self, input: Input) -> Result<Answer, Refusal> {
        self.send(input).recv().unwrap()
    }

    fn backup(&mut self, database: &str, label: &str) -> Result<JobId, Refusal> {
        match self.ask(Input::Backup(backup_of(&self.core, database, label)))? {
            Answer::Job(id) => Ok(id),
            other => panic!("{other:?}"),
        }
    }

    fn restore(&mut self, database: &str) -> Result<JobId, Refusal> {
        match self.ask(Input::Restore(restore_of(&self.core, database)))? {
            Answer::Job(id) => Ok(id),
            other => panic!("{other:?}"),
        }
    }

    fn cancel(&mut self, kind: JobKind, database: &str) -> Result<Answer, Refusal> {
        self.ask(Input::Cancel {
            kind,
            database: database.to_owned(),
        })
    }

    /// The orders started and not yet taken.
    fn orders(&self) -> Vec<TaskOrder> {
        std::mem::take(&mut *self.executor.started.lock())
    }

    fn order(&self) -> TaskOrder {
        let mut orders = self.orders();
        assert_eq!(orders.len(), 1, "{orders:?}");
        orders.remove(0)
    }

    fn end(&mut self, order: &TaskOrder, outcome: Result<Output, Failure>) {
        let completion = Completion {
            job: order.job,
            task: order.task,
            attempt: order.attempt,
            epoch: order.epoch,
            outcome,
        };
        self.turn(vec![Asked::silent(Input::Completion(Box::new(completion)))]);
    }

    fn fail(&mut self, order: &TaskOrder, class: FailureClass) {
        self.end(
            order,
            Err(Failure {
                class,
                message: format!("{:?} broke", order.work),
            }),
        );
    }

    /// Ends what was started, and what that starts, each well, until `stop` says so or nothing runs.
    fn run_until(&mut self, stop: impl Fn(&TaskOrder) -> bool) -> Option<TaskOrder> {
        loop {
            let orders = self.orders();
            if orders.is_empty() {
                return None;
            }
            for (at, order) in orders.iter().enumerate() {
                if stop(order) {
                    // The others stay started, as in life.
                    self.executor
                        .started
                        .lock()
                        .extend_from_slice(&orders[at + 1..]);
                    return Some(order.clone());
                }
                self.end(order, Ok(well(order.work)));
            }
        }
    }

    fn run_to_the_end(&mut self) {
        assert!(self.run_until(|_| false).is_none());
    }

    fn view(&self, job: JobId) -> Arc<JobView> {
        self.published.views().jobs.get(&job).unwrap().clone()
    }

    fn state_of(&self, job: JobId) -> &'static str {
        self.view(job).state_name()
    }

    fn kinds(&self) -> Vec<&'static str> {
        let mut kinds = Vec::new();
        self.journal
            .read(Seq::FIRST, &mut |record| {
                kinds.push(holdfast_journal::Event::kind_name(&record.event));
                Ok(())
            })
            .unwrap();
        kinds
    }

    fn events(&self) -> u64 {
        self.journal.position().0.get()
    }
}

fn backup_of(core: &Core, database: &str, label: &str) -> BackupSpec {
    BackupSpec {
        database: database.to_owned(),
        label: label.to_owned(),
        repository: core.state().repositories["repo"].id,
        repository_name: "repo".to_owned(),
        objects: vec![ObjectRef {
            table: "t".to_owned(),
            partitions: Vec::new(),
            alias: None,
        }],
        timestamp: "2026-01-01-00-00-00-000".to_owned(),
        timestamp_ms: 7,
        timeout_seconds: 600,
        cluster: String::new(),
    }
}

fn restore_of(core: &Core, database: &str) -> RestoreJobSpec {
    RestoreJobSpec {
        database: database.to_owned(),
        source_database: None,
        label: "s1".to_owned(),
        repository: core.state().repositories["repo"].id,
        repository_name: "repo".to_owned(),
        timestamp: "2026-01-01-00-00-00-000".to_owned(),
        selection: Selection::All,
        allow_load: holdfast_storage::AllowLoad::No,
        replication: Replication::Automatic,
        clean: Clean::default(),
        existed: Vec::new(),
        timeout_seconds: 600,
        cluster: String::new(),
    }
}

fn lanes() -> Vec<Lane> {
    vec![
        Lane {
            backend: Some(BackendId(1)),
            tasks: 3,
        },
        Lane {
            backend: Some(BackendId(2)),
            tasks: 2,
        },
    ]
}

/// How each work ends when all is well.
fn well(work: Work) -> Output {
    let plan = BlobHash([work as u8; 32]);
    match work {
        Work::Pin => Output::Pinned {
            plan,
            lanes: lanes(),
            tablets: 5,
            files: 9,
            bytes: 900,
        },
        Work::PlanUpload => Output::UploadPlanned {
            plan,
            lanes: lanes(),
            new_bytes: 800,
            new_objects: 5,
            reused_bytes: 100,
        },
        Work::Upload => Output::Moved {
            bytes: 160,
            objects: 1,
            reused_bytes: 0,
        },
        Work::SaveMeta => Output::MetaSaved {
            plan,
            marker: "__info_x".to_owned(),
            root: [7; 32],
        },
        Work::UploadInfo => Output::InfoUploaded,
        Work::PutMarker => Output::MarkerDurable,
        Work::PrepareMeta => Output::MetaPrepared {
            plan,
            lanes: lanes(),
            objects: vec![ObjectRef {
                table: "t".to_owned(),
                partitions: vec!["p".to_owned()],
                alias: None,
            }],
            drops: Vec::new(),
            replication_num: Some(2),
            note: None,
            tablets: 5,
            files: 9,
        },
        Work::PlanDownload => Output::DownloadPlanned {
            plan,
            lanes: lanes(),
            bytes: 500,
        },
        Work::Download => Output::Moved {
            bytes: 100,
            objects: 2,
            reused_bytes: 0,
        },
        _ => Output::Done,
    }
}

const BACKUP_WORKS: [Work; 7] = [
    Work::Pin,
    Work::Link,
    Work::PlanUpload,
    Work::Upload,
    Work::SaveMeta,
    Work::UploadInfo,
    Work::PutMarker,
];
const RESTORE_WORKS: [Work; 6] = [
    Work::PrepareMeta,
    Work::Stage,
    Work::PlanDownload,
    Work::Download,
    Work::Prepare,
    Work::Commit,
];

#[test]
fn a_backup_passes_every_state_and_shows_what_it_moved() {
    let mut bench = Bench::new();
    let job = bench.backup("db", "s1").unwrap();
    let mut seen = vec!["PENDING"];
    loop {
        let orders = bench.orders();
        if orders.is_empty() {
            break;
        }
        for order in orders {
            bench.end(&order, Ok(well(order.work)));
            if seen.last() != Some(&bench.state_of(job)) {
                seen.push(bench.state_of(job));
            }
        }
    }
    assert_eq!(
        seen,
        [
            "PENDING",
            "SNAPSHOTING",
            "UPLOAD_SNAPSHOT",
            "UPLOADING",
            "SAVE_META",
            "UPLOAD_INFO",
            "FINISHED"
        ]
    );
    let view = bench.view(job);
    let common = view.common();
    assert_eq!(
        (
            common.moved_bytes,
            common.moved_objects,
            common.reused_bytes
        ),
        (800, 5, 100)
    );
    assert_eq!(
        (common.tablets, common.files, common.total_bytes),
        (5, 9, 900)
    );
    assert!(common.snapshot_finished_ms.is_some() && common.transfer_finished_ms.is_some());
    let JobView::Backup(backup) = view.as_ref() else {
        panic!("{view:?}")
    };
    assert_eq!(backup.root.as_deref(), Some("07".repeat(32).as_str()));
    assert_eq!(*bench.kinds().last().unwrap(), "JobReleased");
}

#[test]
fn a_restore_passes_every_state_and_commits_after_its_commit_event() {
    let mut bench = Bench::new();
    let job = bench.restore("db").unwrap();
    let mut seen = vec!["PENDING"];
    loop {
        let orders = bench.orders();
        if orders.is_empty() {
            break;
        }
        for order in orders {
            if order.work == Work::Commit {
                assert!(bench.kinds().contains(&"RestoreCommitStarted"));
            }
            bench.end(&order, Ok(well(order.work)));
            if seen.last() != Some(&bench.state_of(job)) {
                seen.push(bench.state_of(job));
            }
        }
    }
    assert_eq!(
        seen,
        [
            "PENDING",
            "SNAPSHOTTING",
            "DOWNLOAD",
            "DOWNLOADING",
            "COMMIT",
            "COMMITTING",
            "FINISHED"
        ]
    );
    let view = bench.view(job);
    let JobView::Restore(restore) = view.as_ref() else {
        panic!("{view:?}")
    };
    assert_eq!(restore.replication_num, Some(2));
    assert_eq!((restore.common.tablets, restore.common.files), (5, 9));
    assert!(restore.meta_prepared_ms.is_some());
    assert_eq!(restore.common.objects[0].partitions, ["p"]);
}

#[test]
fn an_empty_backup_needs_no_upload_task() {
    let mut bench = Bench::new();
    let job = bench.backup("db", "s1").unwrap();
    let pin = bench.order();
    let plan = BlobHash([1; 32]);
    bench.end(
        &pin,
        Ok(Output::Pinned {
            plan,
            lanes: vec![],
            tablets: 0,
            files: 0,
            bytes: 0,
        }),
    );
    // SNAPSHOTING has no task either and is passed in the same append.
    let planning = bench.order();
    assert_eq!(planning.work, Work::PlanUpload);
    let planned = Output::UploadPlanned {
        plan,
        lanes: vec![],
        new_bytes: 0,
        new_objects: 0,
        reused_bytes: 0,
    };
    bench.end(&planning, Ok(planned));
    assert_eq!(bench.state_of(job), "SAVE_META");
    bench.run_to_the_end();
    assert_eq!(bench.state_of(job), "FINISHED");
}

#[test]
fn credits_bound_what_runs_at_once() {
    let mut bench = Bench::new();
    bench.backup("db", "s1").unwrap();
    let pin = bench.order();
    bench.end(&pin, Ok(well(Work::Pin)));
    let links = bench.orders();
    assert_eq!(links.len(), 4, "two on each of two backends");
    for backend in [1, 2] {
        assert_eq!(
            links
                .iter()
                .filter(|o| o.backend == Some(BackendId(backend)))
                .count(),
            2
        );
    }
    bench.end(&links[0], Ok(Output::Done));
    assert_eq!(
        bench.orders().len(),
        1,
        "a free credit starts the next task"
    );
}

#[test]
fn the_second_job_of_a_database_is_refused_with_the_id_of_the_first() {
    let mut bench = Bench::new();
    let first = bench.backup("db", "s1").unwrap();
    let refusal = bench.backup("db", "s2").unwrap_err();
    assert_eq!(refusal.code, RefusalCode::JobRunning);
    assert!(
        refusal.message.contains(&format!("job {first} ")),
        "{refusal}"
    );
    assert_eq!(
        bench.restore("db").unwrap_err().code,
        RefusalCode::JobRunning
    );
    // Another database is free, and both go on together.
    bench.backup("other", "s3").unwrap();
    bench.run_to_the_end();
    bench.backup("db", "s2").unwrap();
}

#[test]
fn two_databases_cannot_make_one_label_at_once() {
    let mut bench = Bench::new();
    bench.backup("db", "s1").unwrap();
    let refusal = bench.backup("other", "s1").unwrap_err();
    assert_eq!(refusal.code, RefusalCode::LabelExists);
    assert!(
        refusal.message.contains("already exist in repository"),
        "{refusal}"
    );
}

#[test]
fn a_cancel_in_any_state_ends_in_cancelled_once_all_workers_let_go() {
    for (kind, works) in [
        (JobKind::Backup, &BACKUP_WORKS[..]),
        (JobKind::Restore, &RESTORE_WORKS[..]),
    ] {
        for work in works {
            let mut bench = Bench::new();
            let job = match kind {
                JobKind::Backup => bench.backup("db", "s1").unwrap(),
                JobKind::Restore => bench.restore("db").unwrap(),
            };
            let order = bench.run_until(|order| order.work == *work).unwrap();
            let others = bench.orders();
            let answer = bench.cancel(kind, "db");
            if matches!(work, Work::PutMarker | Work::Commit) {
                let refusal = answer.unwrap_err();
                assert_eq!(refusal.code, RefusalCode::NotCancellable);
                assert!(refusal.message.contains("about to finish"), "{refusal}");
                bench.end(&order, Ok(well(*work)));
                assert_eq!(bench.state_of(job), "FINISHED");
                continue;
            }
            assert_eq!(answer.unwrap(), Answer::Job(job));
            assert_eq!(*bench.executor.stopped.lock(), [job]);
            assert!(
                bench.orders().is_empty(),
                "no cleanup while a worker runs ({work:?})"
            );
            assert!(bench.view(job).common().stopping);
            assert_eq!(
                bench.cancel(kind, "db").unwrap_err().code,
                RefusalCode::NotCancellable
            );
            for order in others.iter().chain([&order]) {
                bench.fail(order, FailureClass::Stopped);
            }
            let cleanup = bench.order();
            assert!(matches!(cleanup.work, Work::Discard | Work::Abort));
            assert_ne!(bench.state_of(job), "CANCELLED");
            bench.end(&cleanup, Ok(Output::Done));
            assert_eq!(bench.state_of(job), "CANCELLED", "{work:?}");
            let status = bench.view(job).common().status.clone();
            assert_eq!(status.code, StatusCode::CommonError);
            assert!(status.message.starts_with("user cancelled"), "{status:?}");
            bench.backup("db", "s1").unwrap();
        }
    }
}

#[test]
fn cancel_where_nothing_of_that_kind_runs_says_so() {
    let mut bench = Bench::new();
    bench.backup("db", "s1").unwrap();
    let refusal = bench.cancel(JobKind::Restore, "db").unwrap_err();
    assert_eq!(refusal.code, RefusalCode::NoJob);
    assert!(
        refusal
            .message
            .starts_with("No restore is currently running"),
        "{refusal}"
    );
    let refusal = bench.cancel(JobKind::Backup, "nowhere").unwrap_err();
    assert!(
        refusal
            .message
            .starts_with("No backup job is currently running"),
        "{refusal}"
    );
}

#[test]
fn a_worker_that_hangs_is_fenced_and_its_late_end_counts_for_nothing() {
    let mut bench = Bench::new();
    let job = bench.backup("db", "s1").unwrap();
    let hanging = bench
        .run_until(|order| order.work == Work::PlanUpload)
        .unwrap();
    bench.cancel(JobKind::Backup, "db").unwrap();
    bench.later(LET_GO_MS - 1);
    assert!(bench.orders().is_empty());
    bench.later(1);
    assert_eq!(*bench.executor.abandoned.lock(), [hanging.task]);
    let discard = bench.order();
    assert_eq!(discard.work, Work::Discard);
    bench.end(&discard, Ok(Output::Done));
    assert_eq!(bench.state_of(job), "CANCELLED");
    let before = bench.events();
    bench.end(&hanging, Ok(well(Work::PlanUpload)));
    assert_eq!(bench.events(), before);
}

#[test]
fn a_remote_that_is_down_does_not_hold_a_cancelled_backup() {
    for hang in [false, true] {
        let mut bench = Bench::new();
        let job = bench.backup("db", "s1").unwrap();
        let upload = bench
            .run_until(|order| order.work == Work::PlanUpload)
            .unwrap();
        bench.cancel(JobKind::Backup, "db").unwrap();
        bench.fail(&upload, FailureClass::Stopped);
        let discard = bench.order();
        if hang {
            bench.later(DISCARD_MS);
        } else {
            bench.fail(&discard, FailureClass::Retry);
        }
        assert_eq!(bench.state_of(job), "CANCELLED");
        bench.backup("db", "s2").unwrap();
    }
}

#[test]
fn a_cleanup_that_hangs_is_given_up_and_not_begun_beside_itself() {
    for work in [Work::Discard, Work::Release] {
        let mut bench = Bench::new();
        let job = bench.backup("db", "s1").unwrap();
        if work == Work::Discard {
            let pin = bench.order();
            bench.cancel(JobKind::Backup, "db").unwrap();
            bench.fail(&pin, FailureClass::Stopped);
        }
        let hanging = bench.run_until(|order| order.work == work).unwrap();
        let mut turns = 0;
        while let Some(wake) = bench.core.next_wake(bench.now) {
            bench.later(wake - bench.now.mono_ms);
            turns += 1;
            assert!(turns < 5, "{work:?} goes on and on");
        }
        assert_eq!(*bench.executor.abandoned.lock(), [hanging.task]);
        assert!(bench.orders().is_empty(), "{work:?} runs twice at once");
        assert!(bench.view(job).has_ended());
        assert_eq!(bench.kinds().last(), Some(&"JobReleased"));
        // Its thread is free again: others get theirs.
        bench.backup("db", "s2").unwrap();
        bench.backup("other", "s3").unwrap();
        assert_eq!(bench.orders().len(), 2);
        let bench = bench.reopen(10);
        assert!(bench.orders().iter().all(|order| order.job != job));
    }
}

#[test]
fn a_later_try_of_a_discard_has_the_time_that_many_objects_take() {
    let mut bench = Bench::new();
    let job = bench.backup("db", "s1").unwrap();
    let pin = bench.order();
    bench.cancel(JobKind::Backup, "db").unwrap();
    bench.fail(&pin, FailureClass::Stopped);
    let first = bench.order();
    bench.fail(&first, FailureClass::Retry);
    assert_eq!(bench.state_of(job), "CANCELLED");
    let wake = bench.core.next_wake(bench.now).unwrap();
    bench.later(wake - bench.now.mono_ms);
    let second = bench.order();
    bench.later(4 * DISCARD_MS);
    assert!(bench.executor.abandoned.lock().is_empty());
    bench.end(&second, Ok(Output::Done));
    assert_eq!(bench.kinds().last(), Some(&"JobReleased"));
}

#[test]
fn the_words_of_a_failure_are_kept_up_to_a_bound() {
    let mut bench = Bench::new();
    let job = bench.backup("db", "s1").unwrap();
    let pin = bench.order();
    bench.end(&pin, Err(Failure::retry("ö".repeat(1 << 20))));
    let message = bench.view(job).common().errors[0].message.clone();
    assert!(message.len() < 4_000, "{}", message.len());
    assert!(message.starts_with('ö') && message.ends_with('…'));
}

#[test]
fn a_job_past_its_timeout_is_cancelled_with_that_status() {
    let mut bench = Bench::new();
    let job = bench.backup("db", "s1").unwrap();
    let pin = bench.order();
    assert_eq!(
        bench.core.next_wake(bench.now),
        Some(START.mono_ms + 600_000)
    );
    bench.later(600_000);
    bench.fail(&pin, FailureClass::Stopped);
    bench.run_to_the_end();
    assert_eq!(bench.state_of(job), "CANCELLED");
    assert_eq!(bench.view(job).common().status.code, StatusCode::Timeout);
}

#[test]
fn time_between_openings_counts_towards_the_timeout() {
    let mut bench = Bench::new();
    let job = bench.backup("db", "s1").unwrap();
    bench.later(100_000);
    let mut bench = bench.reopen(300_000);
    assert_eq!(bench.state_of(job), "PENDING");
    // 400 s have passed by the wall; 200 s are left on the new monotonic clock.
    let wake = bench.core.next_wake(bench.now).unwrap();
    assert_eq!(wake, bench.now.mono_ms + 200_000);
    bench.later(200_000);
    let pin = bench.order();
    bench.fail(&pin, FailureClass::Stopped);
    bench.run_to_the_end();
    assert_eq!(bench.view(job).common().status.code, StatusCode::Timeout);
}

#[test]
fn a_wall_clock_that_jumps_back_never_makes_the_running_time_negative() {
    let mut bench = Bench::new();
    let job = bench.backup("db", "s1").unwrap();
    bench.later(10_000);
    let journal = bench.journal.reopen();
    let bench = Bench::over(
        journal,
        Now {
            wall_ms: 5,
            mono_ms: 0,
        },
    );
    assert!(bench.view(job).common().elapsed_ms < 600_000);
    assert!(bench.core.next_wake(bench.now).unwrap() <= 600_000);
}

#[test]
fn failures_back_off_and_the_eighth_ends_the_job() {
    let mut bench = Bench::new();
    let job = bench.backup("db", "s1").unwrap();
    let mut waits = Vec::new();
    for failures in 1..=MAX_FAILURES {
        let pin = bench.order();
        assert_eq!((pin.work, pin.attempt), (Work::Pin, failures));
        bench.fail(&pin, FailureClass::Retry);
        if failures == MAX_FAILURES {
            break;
        }
        let errors = &bench.view(job).common().errors.clone();
        assert_eq!(
            (errors[0].failures, errors[0].message.as_str()),
            (failures, "Pin broke")
        );
        let wake = bench.core.next_wake(bench.now).unwrap();
        waits.push(wake - bench.now.mono_ms);
        bench.later(wake - bench.now.mono_ms - 1);
        assert!(bench.orders().is_empty(), "not before its time");
        bench.later(1);
    }
    for (n, wait) in waits.iter().enumerate() {
        let full = 100_u64 << n;
        assert!(*wait <= full && *wait >= full * 3 / 4, "wait {n} is {wait}");
    }
    let discard = bench.order();
    bench.end(&discard, Ok(Output::Done));
    assert_eq!(bench.state_of(job), "CANCELLED");
    let message = bench.view(job).common().status.message.clone();
    assert!(
        message.contains("failed 8 times") && message.contains("Pin broke"),
        "{message}"
    );
}

#[test]
fn what_cannot_heal_fails_at_once_with_its_own_words() {
    let mut bench = Bench::new();
    let job = bench.restore("db").unwrap();
    let order = bench.order();
    bench.fail(&order, FailureClass::Fatal(StatusCode::NotFound));
    bench.run_to_the_end();
    let view = bench.view(job);
    assert_eq!(view.state_name(), "CANCELLED");
    assert_eq!(view.common().status.code, StatusCode::NotFound);
    assert_eq!(view.common().status.message, "PrepareMeta broke");
}

#[test]
fn a_replica_at_fault_is_left_out_of_the_next_attempt() {
    let mut bench = Bench::new();
    bench.backup("db", "s1").unwrap();
    let upload = bench.run_until(|order| order.work == Work::Upload).unwrap();
    let others = bench.orders();
    bench.fail(&upload, FailureClass::Replica(BackendId(1)));
    for order in others {
        bench.end(&order, Ok(well(Work::Upload)));
    }
    bench.later(200);
    let again = bench
        .orders()
        .into_iter()
        .find(|o| o.task == upload.task)
        .unwrap();
    assert_eq!(
        (again.attempt, again.excluded.as_slice()),
        (2, &[BackendId(1)][..])
    );
}

#[test]
fn a_lost_pin_takes_one_new_point_for_all() {
    let mut bench = Bench::new();
    let job = bench.backup("db", "s1").unwrap();
    let upload = bench.run_until(|order| order.work == Work::Upload).unwrap();
    let others = bench.orders();
    bench.fail(&upload, FailureClass::PinLost);
    assert_eq!(bench.state_of(job), "PENDING");
    assert_eq!(
        *bench.executor.stopped.lock(),
        [job],
        "nobody works on the old point"
    );
    let before = bench.events();
    for stale in &others {
        bench.end(stale, Ok(well(Work::Upload)));
    }
    let pin = bench.order();
    assert_eq!(pin.work, Work::Pin);
    assert!(bench.events() >= before);
    bench.end(&pin, Ok(well(Work::Pin)));
    bench.run_to_the_end();
    assert_eq!(bench.state_of(job), "FINISHED");
}

#[test]
fn a_marker_that_lost_ends_in_cancelled_although_the_commit_had_begun() {
    let mut bench = Bench::new();
    let job = bench.backup("db", "s1").unwrap();
    let marker = bench
        .run_until(|order| order.work == Work::PutMarker)
        .unwrap();
    // Any failure before the read-back is only tried again, for as long as it takes.
    let mut order = marker;
    for _ in 0..MAX_FAILURES + 2 {
        bench.fail(&order, FailureClass::Fatal(StatusCode::CommonError));
        let wake = bench.core.next_wake(bench.now).unwrap();
        bench.later(wake - bench.now.mono_ms);
        order = bench.order();
    }
    bench.end(
        &order,
        Ok(Output::MarkerLost {
            message: "already exist in repository".into(),
        }),
    );
    bench.run_to_the_end();
    assert_eq!(bench.state_of(job), "CANCELLED");
    assert!(
        bench
            .view(job)
            .common()
            .status
            .message
            .contains("already exist in repository")
    );
}

#[test]
fn a_dropped_repository_is_refused_while_a_job_uses_it() {
    let mut bench = Bench::new();
    let job = bench.backup("db", "s1").unwrap();
    let refusal = bench
        .ask(Input::DropRepository("repo".to_owned()))
        .unwrap_err();
    assert_eq!(refusal.code, RefusalCode::RepositoryBusy);
    assert!(refusal.message.contains(&job.to_string()));
    bench.run_to_the_end();
    bench.ask(Input::DropRepository("repo".to_owned())).unwrap();
    assert!(bench.published.views().repositories.is_empty());
}

#[test]
fn a_journal_cut_after_any_event_is_finished_by_the_next_opening() {
    for kind in [JobKind::Backup, JobKind::Restore] {
        let mut whole = Bench::new();
        let first = whole.events();
        let job = match kind {
            JobKind::Backup => whole.backup("db", "s1").unwrap(),
            JobKind::Restore => whole.restore("db").unwrap(),
        };
        // One failure on the way, so that waiting tasks are cut too.
        let order = whole.order();
        whole.fail(&order, FailureClass::Retry);
        whole.later(1_000);
        whole.run_to_the_end();
        assert_eq!(whole.state_of(job), "FINISHED");
        for cut in first + 1..=whole.events() {
            let journal = whole.journal.reopen_at(Seq(cut));
            let mut bench = Bench::over(
                journal,
                Now {
                    wall_ms: whole.now.wall_ms,
                    mono_ms: 0,
                },
            );
            bench.run_to_the_end();
            assert_eq!(bench.state_of(job), "FINISHED", "cut after event {cut}");
            assert!(
                bench.core.state().working.is_empty(),
                "cut after event {cut}"
            );
        }
    }
}

#[test]
fn a_cancelled_journal_cut_after_any_event_ends_one_way_for_good() {
    for kind in [JobKind::Backup, JobKind::Restore] {
        let mut whole = Bench::new();
        let first = whole.events();
        let job = match kind {
            JobKind::Backup => whole.backup("db", "s1").unwrap(),
            JobKind::Restore => whole.restore("db").unwrap(),
        };
        let last = match kind {
            JobKind::Backup => Work::Upload,
            JobKind::Restore => Work::Download,
        };
        let order = whole.run_until(|order| order.work == last).unwrap();
        let others = whole.orders();
        whole.cancel(kind, "db").unwrap();
        for order in others.iter().chain([&order]) {
            whole.fail(order, FailureClass::Stopped);
        }
        whole.run_to_the_end();
        assert_eq!(whole.state_of(job), "CANCELLED");
        let stopping = 1 + whole
            .kinds()
            .iter()
            .position(|k| *k == "JobStopping")
            .unwrap() as u64;
        for cut in first + 1..=whole.events() {
            let journal = whole.journal.reopen_at(Seq(cut));
            let mut bench = Bench::over(
                journal,
                Now {
                    wall_ms: whole.now.wall_ms,
                    mono_ms: 0,
                },
            );
            bench.run_to_the_end();
            let expected = if cut >= stopping {
                "CANCELLED"
            } else {
                "FINISHED"
            };
            assert_eq!(bench.state_of(job), expected, "cut after event {cut}");
        }
    }
}

#[test]
fn an_ended_job_shows_the_same_after_every_restart() {
    let mut bench = Bench::new();
    let job = bench.backup("db", "s1").unwrap();
    let order = bench.order();
    bench.fail(&order, FailureClass::Fatal(StatusCode::BadFile));
    bench.run_to_the_end();
    let before = bench.view(job);
    let bench = bench.reopen(1_000_000).reopen(5);
    assert_eq!(*bench.view(job), *before);
}

#[test]
fn a_failed_sync_answers_unknown_and_stops_the_engine_for_good() {
    for fate in [Fate::Kept, Fate::Lost] {
        let mut bench = Bench::new();
        bench.journal.fail_sync(1, fate);
        let spec = backup_of(&bench.core, "db", "s1");
        let refusal = bench.ask(Input::Backup(spec)).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Unavailable);
        assert!(refusal.message.contains("reopen"), "{refusal}");
        assert!(
            bench.orders().is_empty(),
            "no effect without a durable event"
        );
        assert!(bench.published.views().jobs.is_empty());
        assert!(bench.backup("db", "s2").is_err());
        assert!(bench.published.failure().is_some(), "nobody is to wait");
        // After reopening, the journal says what happened.
        let bench = bench.reopen(10);
        assert_eq!(
            bench.published.views().jobs.size(),
            usize::from(fate == Fate::Kept)
        );
    }
}

#[test]
fn a_full_disk_refuses_statements_and_loses_no_completion() {
    let mut bench = Bench::new();
    let job = bench.backup("db", "s1").unwrap();
    let pin = bench.order();
    bench.journal.fill_disk();
    assert_eq!(
        bench.backup("other", "s2").unwrap_err().code,
        RefusalCode::Full
    );
    bench.end(&pin, Ok(well(Work::Pin)));
    assert_eq!(bench.state_of(job), "PENDING");
    assert!(bench.orders().is_empty());
    // It is tried every second, and said once a minute.
    assert_eq!(bench.core.full_said_ms, Some(bench.now.mono_ms));
    let first = bench.now.mono_ms;
    for _ in 0..59 {
        bench.later(1_000);
        assert_eq!(bench.core.full_said_ms, Some(first));
    }
    bench.later(1_000);
    assert_eq!(bench.core.full_said_ms, Some(bench.now.mono_ms));
    bench.journal.free_disk();
    bench.later(1_000);
    assert_eq!(bench.state_of(job), "SNAPSHOTING");
    bench.run_to_the_end();
    assert_eq!(bench.state_of(job), "FINISHED");
}

#[test]
fn a_job_can_be_cancelled_after_a_restart_on_a_full_disk() {
    let mut bench = Bench::new();
    let job = bench.backup("db", "s1").unwrap();
    let journal = bench.journal.reopen();
    journal.fill_disk();
    let mut bench = Bench::over(journal, bench.now);
    assert_eq!(
        bench.cancel(JobKind::Backup, "db").unwrap(),
        Answer::Job(job)
    );
    let discard = bench.order();
    bench.end(&discard, Ok(Output::Done));
    assert_eq!(bench.state_of(job), "CANCELLED");
}

#[test]
fn no_event_can_follow_where_it_may_not() {
    let mut bench = Bench::new();
    bench.backup("db", "s1").unwrap();
    bench.restore("other").unwrap();
    bench.run_to_the_end();
    let mut records = Vec::new();
    bench
        .journal
        .read(Seq::FIRST, &mut |r| {
            records.push((r.at_ms, r.event));
            Ok(())
        })
        .unwrap();
    // Each event of a legal history is tried after every prefix of it: it is taken where it stood, and anywhere else
    // it is refused or harmless, but never a panic.
    let mut state = State::new();
    let mut refused = 0;
    for at in 0..records.len() {
        for (other, (at_ms, event)) in records.iter().enumerate() {
            let mut copy = state.clone();
            let outcome = copy.apply(*at_ms, event);
            assert!(
                outcome.is_ok() || other != at,
                "event {at} {event:?}: {outcome:?}"
            );
            refused += usize::from(outcome.is_err());
        }
        let (at_ms, event) = &records[at];
        state.apply(*at_ms, event).unwrap();
    }
    let pairs = records.len() * records.len();
    assert!(
        refused * 10 > pairs * 9,
        "{refused} of {pairs} pairs are illegal"
    );
}
