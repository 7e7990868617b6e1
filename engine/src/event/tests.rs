//! Golden bytes: what was recorded once is read for ever, and recorded the same way today.
//!
//! To add a kind, give it a sample, run with `HOLDFAST_WRITE_GOLDEN=1`, see that no line that was
//! there before has changed, and commit the files.

use std::fs;
use std::path::{Path, PathBuf};

use holdfast_journal::{
    Event as _, FileJournal, Index, Journal as _, Kind, Options, ReadJournal, Record, Seq,
};

use super::*;
use crate::ids::Epoch;
use crate::order::{StatusCode, Work};
use crate::replay::Replay;
use crate::testing::History;
use crate::view::{BackupState, JobView};

const LOG: &str = "00000000000000000001.log";
const WALL_MS: u64 = 1_735_689_600_000;

fn golden(name: &str) -> PathBuf {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    folder.join(name)
}

fn write_golden(name: &str, bytes: &[u8]) {
    if std::env::var_os("HOLDFAST_WRITE_GOLDEN").is_some() {
        fs::write(golden(name), bytes).unwrap();
    }
}

fn objects() -> Vec<ObjectV1> {
    vec![
        ObjectV1 {
            table: "orders".to_owned(),
            partitions: vec!["p1".to_owned(), "a_longer_partition".to_owned()],
            alias: Some("orders_of_yesterday".to_owned()),
        },
        ObjectV1 {
            table: "a_table".to_owned(),
            partitions: Vec::new(),
            alias: None,
        },
    ]
}

fn lanes() -> Vec<LaneV1> {
    let lane = |backend, tasks| LaneV1 { backend, tasks };
    vec![lane(Some(10_001), 3), lane(None, 1)]
}

/// One value of each kind.
fn samples() -> Vec<Event> {
    let mut samples = cluster_samples();
    samples.extend(accepted_samples());
    samples.extend(task_samples());
    samples.extend(backup_samples());
    samples.extend(restore_samples());
    samples.extend(ending_samples());
    samples
}

fn cluster_samples() -> Vec<Event> {
    vec![
        EngineStarted {
            epoch: 3,
            cluster: "00112233445566778899aabbccddeeff".to_owned(),
            catalog: 77,
            mono_ms: 5_001,
        }
        .into(),
        RepositoryCreated {
            repository: 10_101,
            name: "repo".to_owned(),
            broker: Some("a_broker".to_owned()),
            location: "s3://bucket/backups".to_owned(),
            read_only: true,
            created_ms: WALL_MS,
            properties: br#"{"key":"sealed"}"#.to_vec(),
        }
        .into(),
        RepositoryDropped { repository: 10_101 }.into(),
        HistoryArchived {
            ended_before_ms: WALL_MS,
            jobs: 17,
            first_job: 10_003,
            last_job: 10_199,
            archive: Some("archive/00000000000000000001-00000000000000000500.archive".to_owned()),
            archived_through: 500,
            automatic: true,
        }
        .into(),
    ]
}

fn accepted_samples() -> Vec<Event> {
    vec![
        BackupSubmitted {
            job: 10_201,
            first_task: 10_202,
            database: "sales".to_owned(),
            label: "nightly_snapshot".to_owned(),
            repository: 10_101,
            repository_name: "repo".to_owned(),
            objects: objects(),
            timestamp: "2025-01-01-00-00-00-000".to_owned(),
            timestamp_ms: WALL_MS,
            timeout_seconds: 86_400,
            mono_ms: 5_002,
        }
        .into(),
        RestoreSubmitted {
            job: 10_301,
            first_task: 10_302,
            database: "sales_copy".to_owned(),
            source_database: Some("sales".to_owned()),
            label: "nightly_snapshot".to_owned(),
            repository: 10_101,
            repository_name: "repo".to_owned(),
            timestamp: "2025-01-01-00-00-00-000".to_owned(),
            selection: 2,
            objects: objects(),
            allow_load: true,
            replication: 1,
            replication_num: 3,
            clean_tables: false,
            clean_partitions: true,
            existed: objects(),
            timeout_seconds: 600,
            mono_ms: 5_003,
        }
        .into(),
    ]
}

fn task_samples() -> Vec<Event> {
    let (job, task, attempt) = (10_201, 10_210, 2);
    vec![
        StateEntered {
            job,
            state: BackupState::Uploading as u8,
            work: Work::Upload as u8,
            first_task: task,
            lanes: lanes(),
            plan: Some([0x11; 32]),
        }
        .into(),
        TaskStarted {
            job,
            task,
            attempt,
            mono_ms: 5_004,
        }
        .into(),
        TaskFinished {
            job,
            task,
            attempt,
            bytes: 1 << 40,
            objects: 12,
            reused_bytes: 34,
            mono_ms: 5_005,
        }
        .into(),
        TaskFailed {
            job,
            task,
            attempt,
            failures: 2,
            excluded: Some(10_001),
            message: "the remote is down".to_owned(),
            backoff_ms: 200,
            mono_ms: 5_006,
        }
        .into(),
        WorkerFenced { job, task, attempt }.into(),
        TaskStopped { job, task, attempt }.into(),
    ]
}

fn backup_samples() -> Vec<Event> {
    let job = 10_201;
    let (marker, root) = ("__info_nightly".to_owned(), [0x44; 32]);
    vec![
        BackupPinned {
            job,
            plan: [0x12; 32],
            lanes: lanes(),
            tablets: 5,
            files: 60,
            bytes: 7_000_000,
        }
        .into(),
        PinLost {
            job,
            message: "pin is gone".to_owned(),
            first_task: 10_220,
            mono_ms: 5_007,
        }
        .into(),
        UploadPlanned {
            job,
            plan: [0x13; 32],
            lanes: lanes(),
            new_bytes: 6_000_000,
            new_objects: 50,
            reused_bytes: 1_000_000,
        }
        .into(),
        BackupMetaSaved {
            job,
            plan: [0x14; 32],
            marker: marker.clone(),
            root,
        }
        .into(),
        BackupCommitStarted { job, marker, root }.into(),
    ]
}

fn restore_samples() -> Vec<Event> {
    let job = 10_301;
    vec![
        RestoreMetaPrepared {
            job,
            plan: [0x15; 32],
            lanes: lanes(),
            objects: objects(),
            drops: objects(),
            replication_num: Some(2),
            note: Some("fewer replicas".to_owned()),
            tablets: 5,
            files: 60,
        }
        .into(),
        DownloadPlanned {
            job,
            plan: [0x16; 32],
            lanes: lanes(),
            bytes: 14_000_000,
        }
        .into(),
        RestoreCommitStarted { job }.into(),
    ]
}

fn ending_samples() -> Vec<Event> {
    let job = 10_201;
    vec![
        JobStopping {
            job,
            code: 5,
            message: "user cancelled".to_owned(),
            mono_ms: 5_008,
        }
        .into(),
        CleanupStarted {
            job,
            work: Work::Discard as u8,
            first_task: 10_230,
        }
        .into(),
        BackupFinished {
            job,
            root: [0x44; 32],
        }
        .into(),
        RestoreFinished { job: 10_301 }.into(),
        JobCancelled { job }.into(),
        JobReleased {
            job,
            leftovers: "one object of the backup".to_owned(),
        }
        .into(),
    ]
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |i| u8::from_str_radix(&text[i..i + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

#[test]
fn the_bytes_of_every_event_stay_as_they_are() {
    let samples = samples();
    let mut now = String::new();
    for event in &samples {
        let mut bytes = Vec::new();
        event.encode(&mut bytes).unwrap();
        now += &format!("{} {} {}\n", event.kind(), event.kind_name(), hex(&bytes));
    }
    write_golden("events.txt", now.as_bytes());
    let golden = fs::read_to_string(golden("events.txt")).unwrap();
    assert!(golden == now, "payloads changed; as they are now:\n{now}");
    let mut kept = Vec::new();
    for (line, event) in golden.lines().zip(&samples) {
        let words: Vec<&str> = line.split(' ').collect();
        let [number, name, bytes] = words[..] else {
            panic!("a line is a number, a name and bytes: {line}");
        };
        let number: u16 = number.parse().unwrap();
        let decoded = Event::decode(Kind(number), &unhex(bytes)).unwrap();
        assert_eq!(&decoded, event, "{line}");
        kept.push((number, name));
    }
    assert_eq!(kept, Event::kinds(), "every kind has a golden line");
}

/// A backup that finishes, one that an opening interrupts and a user cancels, and a restore that
/// still downloads.
fn history() -> Vec<Event> {
    let mut history = History::new();
    history.backup("sales", 2);
    history.cancelled_backup("stock");
    history.open_restore("sales_copy");
    history.take()
}

fn record(folder: &Path) {
    let options = Options::default().index(Index::None).reserve_bytes(0);
    let (journal, _) = FileJournal::open(folder, options).unwrap();
    for (event, at_ms) in history().into_iter().zip(WALL_MS..) {
        journal.append(&[event], at_ms).unwrap();
    }
}

#[test]
fn a_journal_of_format_1_is_recorded_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    record(folder.path());
    let log = fs::read(folder.path().join(LOG)).unwrap();
    write_golden(&format!("journal/{LOG}"), &log);
    let kept = fs::read(golden("journal").join(LOG)).unwrap();
    assert!(kept == log, "the journal is no longer recorded as it was");
}

#[test]
fn a_journal_of_format_1_shows_its_jobs() {
    let folder = tempfile::tempdir().unwrap();
    fs::copy(golden("journal").join(LOG), folder.path().join(LOG)).unwrap();
    let (journal, _) = ReadJournal::<Event>::open(folder.path()).unwrap();
    let mut read = Vec::new();
    let mut visit = |record: Record<Event>| {
        read.push((record.at_ms, record.event));
        Ok(())
    };
    journal.read(Seq(1), &mut visit).unwrap();
    let recorded: Vec<_> = (WALL_MS..).zip(history()).collect();
    assert_eq!(read, recorded);

    let mut replay = Replay::new();
    assert_eq!(
        journal.replay(&mut replay).unwrap(),
        Seq(recorded.len() as u64)
    );
    assert_eq!((replay.epoch(), replay.cluster()), (Epoch(2), "cluster"));
    let views = replay.views();
    assert_eq!(views.repositories["repo"].location, "memory://");
    let shown: Vec<_> = views.jobs.values().map(|job| shown(job)).collect();
    assert_eq!(
        shown,
        [
            ("sales", "FINISHED", StatusCode::Ok, 0, 0),
            ("stock", "CANCELLED", StatusCode::from_number(5), 0, 0),
            ("sales_copy", "DOWNLOADING", StatusCode::Ok, 1, 2),
        ]
    );
    let JobView::Backup(backup) = &**views.jobs.values().next().unwrap() else {
        panic!("the first job is a backup");
    };
    assert_eq!(backup.root, Some("04".repeat(32)));
    assert_eq!(backup.common.created_ms, WALL_MS + 2);
}

/// Database, state, status, and tasks done of all.
fn shown(job: &JobView) -> (&str, &'static str, StatusCode, u32, u32) {
    let common = job.common();
    (
        &common.database,
        job.state_name(),
        common.status.code,
        common.tasks_done,
        common.tasks_total,
    )
}
