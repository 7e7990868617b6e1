//! Stories of made histories, held against the texts in `golden/`. `HOLDFAST_BLESS=1` writes them anew.

#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

use std::path::PathBuf;

use super::tape::{START_MS, Tape};
use super::*;
use crate::event;
use crate::order::{StatusCode, Work};
use crate::view::RestoreState;

/// Times as seconds since the tape's start.
fn time(at_ms: u64) -> String {
    let ms = at_ms.saturating_sub(START_MS);
    format!("+{}.{:03}s", ms / 1000, ms % 1000)
}

#[track_caller]
fn check(name: &str, story: &Story) -> String {
    let text = story.explain(&time);
    let path =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("src/story/golden/{name}.txt"));
    if std::env::var_os("HOLDFAST_BLESS").is_some() {
        std::fs::write(&path, &text).unwrap();
    }
    let kept = std::fs::read_to_string(&path).unwrap_or_default();
    assert_eq!(text, kept, "{name} differs from {}", path.display());
    for work in &story.works {
        let t = work.time;
        let told = t.working_ms + t.queued_ms + t.backoff_ms + t.letting_go_ms + t.closed_ms;
        assert!(told <= work.duration_ms, "{work:#?}");
    }
    text
}

/// A backup whose upload has tasks on two backends, one of them failing twice.
fn finished() -> (Tape, u64) {
    let mut tape = Tape::new();
    let job = tape.pass(1_000).backup("shop", 86_400);
    let first = tape.until_upload(job, &[(1, 2), (2, 2)]);
    tape.start(job, first, 1)
        .start(job, first + 2, 1)
        .pass(2_000);
    tape.finish(job, first, 1, 20_000_000)
        .start(job, first + 1, 1)
        .pass(500);
    tape.fail(
        job,
        first + 2,
        (1, 1),
        "cannot put 'packs/ab':\nconnection reset by peer",
    );
    tape.start(job, first + 3, 1).pass(1_000);
    tape.finish(job, first + 3, 1, 10_000_000)
        .finish(job, first + 1, 1, 20_000_000);
    tape.start(job, first + 2, 2).pass(30);
    tape.fail(job, first + 2, (2, 2), "cannot put 'packs/ab': timed out")
        .pass(450);
    tape.start(job, first + 2, 3)
        .pass(700)
        .finish(job, first + 2, 3, 10_000_000);
    tape.until_finish(job);
    (tape, job)
}

#[test]
fn a_finished_backup_says_where_its_time_went() {
    let (tape, job) = finished();
    let text = check("finished", &tape.story(job));
    // The wait of 200 ms after the second failure is over before the next start: what is left waited for a worker.
    assert!(
        text.contains("200 ms for the next attempt after failures"),
        "{text}"
    );
    assert!(text.contains("250 ms for a free worker"), "{text}");
    assert!(!text.contains("What to do"), "{text}");
}

#[test]
fn a_running_backup_says_what_is_left_and_until_when_it_may_run() {
    let (tape, job) = finished();
    let mut running = Tape::new();
    for record in &tape.records[1..tape.records.len() - 25] {
        running.pass(record.at_ms - running.records.last().unwrap().at_ms);
        running.push(record.event.clone());
    }
    let text = check("running", &running.story(job));
    assert!(
        text.starts_with("Backup 10001") && text.contains("It is UPLOADING"),
        "{text}"
    );
}

#[test]
fn a_backup_that_a_user_cancelled_says_who_and_that_the_label_is_free() {
    let mut tape = Tape::new();
    let job = tape.backup("shop", 86_400);
    let first = tape.until_upload(job, &[(1, 2)]);
    tape.start(job, first, 1)
        .start(job, first + 1, 1)
        .pass(1_500);
    tape.finish(job, first, 1, 20_000_000).pass(100);
    tape.stopping(job, StatusCode::CommonError, "user cancelled")
        .pass(250);
    tape.let_go(job, first + 1, 1)
        .until_cancelled(job, Work::Discard);
    let text = check("cancelled", &tape.story(job));
    assert!(text.contains("250 ms for its workers to let go"), "{text}");
}

#[test]
fn a_cancel_that_waits_for_a_worker_says_so() {
    let mut tape = Tape::new();
    let job = tape.backup("shop", 86_400);
    let first = tape.until_upload(job, &[(1, 2)]);
    tape.start(job, first, 1).pass(100);
    tape.stopping(job, StatusCode::CommonError, "user cancelled");
    let text = check("cancelling", &tape.story(job));
    assert!(text.contains("1 worker has not let go yet"), "{text}");
    tape.pass(3_000).push(event::WorkerFenced {
        job,
        task: first,
        attempt: 1,
    });
    tape.until_cancelled(job, Work::Discard);
    let text = check("fenced", &tape.story(job));
    assert!(text.contains("1 worker has not let go in time"), "{text}");
}

#[test]
fn a_backup_that_failed_names_the_task_the_words_and_what_to_do() {
    let mut tape = Tape::new();
    let job = tape.backup("shop", 86_400);
    let first = tape.until_upload(job, &[(1, 1), (2, 1)]);
    tape.start(job, first, 1).start(job, first + 1, 1).pass(900);
    tape.finish(job, first, 1, 30_000_000).pass(10);
    tape.let_go(job, first + 1, 1);
    tape.stopping(
        job,
        StatusCode::BadConnection,
        "no route to the repository's host",
    );
    tape.until_cancelled(job, Work::Discard);
    let text = check("failed", &tape.story(job));
    assert!(text.contains("on backend 2 with BAD_CONNECTION"), "{text}");
    assert!(text.contains("SHOW REPOSITORIES"), "{text}");
}

#[test]
fn a_backup_that_timed_out_says_how_much_longer_it_would_have_taken() {
    let mut tape = Tape::new();
    let job = tape.backup("my-shop", 60);
    let first = tape.until_upload(job, &[(1, 4)]);
    tape.start(job, first, 1)
        .pass(30_000)
        .finish(job, first, 1, 15_000_000);
    tape.start(job, first + 1, 1).pass(29_500);
    let words = "job 10001 (monday) ran past its timeout of 60 seconds in state UPLOADING";
    tape.stopping(job, StatusCode::Timeout, words).pass(20);
    tape.let_go(job, first + 1, 1).clean_up(job, Work::Discard);
    tape.push(event::JobCancelled { job });
    tape.push(event::JobReleased {
        job,
        leftovers: "the repository did not answer Discard in 12 seconds".to_owned(),
    });
    let text = check("timed_out", &tape.story(job));
    assert!(text.contains("\"timeout\" = \"120\""), "{text}");
    assert!(text.contains("'monday' may still be taken"), "{text}");
}

#[test]
fn a_backup_killed_three_times_says_what_each_cost() {
    let mut tape = Tape::new();
    let job = tape.backup("shop", 86_400);
    let first = tape.until_upload(job, &[(1, 2), (2, 1)]);
    tape.start(job, first, 1).start(job, first + 2, 1).pass(800);
    tape.finish(job, first, 1, 20_000_000);
    tape.pass(5_000)
        .open()
        .start(job, first + 1, 1)
        .start(job, first + 2, 2)
        .pass(700);
    tape.finish(job, first + 1, 1, 20_000_000);
    tape.pass(60_000)
        .open()
        .start(job, first + 2, 3)
        .pass(900)
        .finish(job, first + 2, 3, 20_000_000);
    tape.until_marker(job);
    tape.pass(2_000).open();
    let text = check("killed_past_commit", &tape.story(job));
    assert!(text.contains("past its point of no return"), "{text}");
    tape.alone(job, 30, None)
        .push(event::BackupFinished { job, root: [4; 32] });
    tape.clean_up(job, Work::Release).push(event::JobReleased {
        job,
        leftovers: String::new(),
    });
    let story = tape.story(job);
    let text = check("killed_three_times", &story);
    assert_eq!(story.restarts.len(), 3);
    let interrupted: Vec<u64> = story
        .restarts
        .iter()
        .map(|restart| restart.interrupted)
        .collect();
    assert_eq!(interrupted, [1, 1, 0]);
    assert!(
        text.contains("opening 3 at +66.975s found it UPLOADING"),
        "{text}"
    );
}

#[test]
fn a_lost_point_sends_a_backup_back_and_says_why() {
    let mut tape = Tape::new();
    let job = tape.backup("shop", 86_400);
    let first = tape.until_upload(job, &[(1, 1)]);
    tape.start(job, first, 1).pass(100);
    let first_task = first + 1;
    tape.push(event::PinLost {
        job,
        message: "pin 9 is not held any more".to_owned(),
        first_task,
        mono_ms: 10 + 575,
    });
    let text = check("pin_lost", &tape.story(job));
    assert!(text.contains("the consistent point was lost"), "{text}");
    assert!(text.contains("It is PENDING"), "{text}");
}

#[test]
fn a_restore_tells_its_note_and_its_wait_behind_another_job() {
    let mut tape = Tape::new();
    let other = tape.backup("shop", 86_400);
    let busy = tape.until_upload(other, &[(1, 1)]);
    tape.start(other, busy, 1);
    let job = tape.restore("copy");
    let first = tape.until_download(job, &[(1, 2)]);
    tape.pass(4_000).finish(other, busy, 1, 60_000_000);
    tape.start(job, first, 1).start(job, first + 1, 1).pass(500);
    tape.finish(job, first, 1, 2_000_000)
        .pass(500)
        .finish(job, first + 1, 1, 3_000_000);
    tape.enter(job, (RestoreState::Commit as u8, Work::Prepare), &[]);
    tape.alone(job, 40, None)
        .push(event::RestoreCommitStarted { job });
    tape.enter(job, (RestoreState::Committing as u8, Work::Commit), &[]);
    tape.alone(job, 20, None)
        .push(event::RestoreFinished { job });
    tape.clean_up(job, Work::Forget);
    let text = check("restore", &tape.story(job));
    assert!(
        text.contains("4.0 s for a free worker, behind job 10001"),
        "{text}"
    );
    assert!(text.contains("Note: 1 replica instead of 3"), "{text}");
    assert!(text.contains("Clean-up\n  Forget going on"), "{text}");
}

#[test]
fn a_restore_that_failed_leaves_its_targets_as_they_were() {
    let mut tape = Tape::new();
    let job = tape.restore("copy");
    let first = tape.until_download(job, &[(1, 1)]);
    for (failure, attempt) in (1..8).zip(1..) {
        tape.start(job, first, attempt).pass(5);
        tape.fail(
            job,
            first,
            (attempt, failure),
            "object packs/cd is not there",
        )
        .pass(15_000);
    }
    tape.start(job, first, 8).pass(5).let_go(job, first, 8);
    let words = format!("task {first} failed 8 times, last: object packs/cd is not there");
    tape.stopping(job, StatusCode::CommonError, &words);
    tape.until_cancelled(job, Work::Abort);
    let text = check("restore_failed", &tape.story(job));
    assert!(
        text.contains("the target tables are as they were before"),
        "{text}"
    );
    assert!(
        text.contains("failed 7 times, it had not ended well"),
        "{text}"
    );
}

#[test]
fn a_wall_clock_that_is_set_back_changes_no_duration() {
    let spans = |back: u64| {
        let mut tape = Tape::new();
        let job = tape.pass(10_000).backup("shop", 86_400);
        let first = tape.until_upload(job, &[(1, 1)]);
        tape.start(job, first, 1).pass(1_000).set_back(back);
        tape.finish(job, first, 1, 60_000_000).until_finish(job);
        let story = tape.story(job);
        let spans: Vec<u64> = story.works.iter().map(|work| work.duration_ms).collect();
        (spans, story.elapsed_ms())
    };
    assert_eq!(spans(9_000), spans(0));
}

#[test]
fn a_story_keeps_little_of_a_job_with_many_tasks() {
    let mut tape = Tape::new();
    let job = tape.backup("shop", 86_400);
    let first = tape.until_upload(job, &[(1, 20_000), (2, 20_000)]);
    for task in first..first + 40_000 {
        tape.start(job, task, 1).pass(task % 7);
        tape.fail(job, task, (1, 1), "slow down")
            .pass(100)
            .start(job, task, 2);
        tape.finish(job, task, 2, 1_000);
    }
    tape.until_finish(job);
    let story = tape.story(job);
    let upload = story
        .works
        .iter()
        .find(|w| w.work == Some(Work::Upload))
        .unwrap();
    assert_eq!(
        (upload.done, upload.failures, upload.troubled),
        (40_000, 40_000, 40_000)
    );
    assert_eq!(
        (upload.slowest.len(), upload.troubles.len()),
        (SLOWEST, TROUBLES)
    );
    let text = story.explain(&time);
    assert!(
        text.len() < 4_000 && text.contains("and 39995 more tasks"),
        "{text}"
    );
}

#[test]
fn a_job_without_a_record_has_no_story() {
    let (tape, _) = finished();
    let mut gather = Gather::new(crate::ids::JobId(99));
    tape.records.iter().for_each(|record| gather.take(record));
    assert!(gather.story().is_none());
}
