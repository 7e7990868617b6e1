//! Starts, ends, stops and gives up tasks through the `Executor` seam.

use crossbeam::channel::bounded;

use super::*;
use crate::order::JobSpec;
use crate::spec::BackupSpec;
use crate::testing::backup_spec;

fn order(job: u64, task: u64, work: Work) -> TaskOrder {
    let spec: BackupSpec = backup_spec("d", "label", &[]);
    TaskOrder {
        job: JobId(job),
        task: TaskId(task),
        attempt: 1,
        epoch: Epoch(1),
        work,
        index: 0,
        backend: None,
        excluded: Vec::new(),
        plan: None,
        job_spec: JobSpec::Backup(Arc::new(spec)),
    }
}

const ONE_EACH: Threads = Threads {
    workers: 1,
    coordinators: 1,
};
const SOON: Duration = Duration::from_secs(20);

fn wait_for_cancel(context: &Context) -> Result<Output, Failure> {
    context
        .sleep(Duration::from_secs(60))
        .map_err(Failure::from)?;
    Ok(Output::Done)
}

#[test]
fn every_start_ends_in_one_completion() {
    let (sender, completions) = unbounded();
    let executor = PoolExecutor::with_run(Threads::default(), sender, |order, _, _| {
        if order.task.0 % 2 == 0 {
            Ok(Output::Done)
        } else {
            Err(Failure::retry("odd"))
        }
    });
    for task in 0..100 {
        executor.start(order(
            1,
            task,
            if task < 50 {
                Work::Upload
            } else {
                Work::SaveMeta
            },
        ));
    }
    let mut seen: Vec<u64> = Vec::new();
    for _ in 0..100 {
        let end = completions.recv_timeout(SOON).unwrap();
        assert_eq!(end.outcome.is_ok(), end.task.0 % 2 == 0);
        seen.push(end.task.0);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
    assert!(executor.reconcile(Epoch(9)).is_empty());
}

#[test]
fn a_panic_is_a_fatal_failure_that_names_the_work_and_the_thread_lives_on() {
    let (sender, completions) = unbounded();
    let executor = PoolExecutor::with_run(ONE_EACH, sender, |order, _, _| {
        assert_ne!(order.task.0, 1, "broken on purpose");
        Ok(Output::Done)
    });
    executor.start(order(1, 1, Work::Upload));
    executor.start(order(1, 2, Work::Upload));
    let failure = completions.recv_timeout(SOON).unwrap().outcome.unwrap_err();
    assert_eq!(failure.class, FailureClass::Fatal(StatusCode::CommonError));
    assert!(failure.message.contains("Upload"), "{}", failure.message);
    assert!(
        failure.message.contains("broken on purpose"),
        "{}",
        failure.message
    );
    assert_eq!(
        completions.recv_timeout(SOON).unwrap().outcome,
        Ok(Output::Done)
    );
}

#[test]
fn stop_ends_running_and_queued_tasks_of_that_job_only_and_later_starts_run() {
    let (sender, completions) = unbounded();
    let (entered, running) = bounded(8);
    let executor = PoolExecutor::with_run(ONE_EACH, sender, move |order, context, _| {
        entered.send(order.job).unwrap();
        if order.work == Work::Discard {
            Ok(Output::Done)
        } else {
            wait_for_cancel(context)
        }
    });
    executor.start(order(1, 1, Work::Upload));
    executor.start(order(1, 2, Work::Upload));
    executor.start(order(2, 3, Work::SaveMeta));
    assert!(running.recv_timeout(SOON).is_ok() && running.recv_timeout(SOON).is_ok());
    executor.stop(JobId(1));
    for _ in 0..2 {
        let end = completions.recv_timeout(SOON).unwrap();
        assert_eq!(
            (end.job, end.outcome.unwrap_err().class),
            (JobId(1), FailureClass::Stopped)
        );
    }
    assert!(completions.is_empty(), "job 2 goes on");
    executor.stop(JobId(2));
    assert_eq!(completions.recv_timeout(SOON).unwrap().job, JobId(2));
    executor.start(order(1, 4, Work::Discard));
    assert_eq!(
        completions.recv_timeout(SOON).unwrap().outcome,
        Ok(Output::Done)
    );
}

#[test]
fn an_abandoned_task_is_replaced_and_its_end_is_not_heard() {
    let (sender, completions) = unbounded();
    let (entered, running) = bounded(8);
    let (release, held) = bounded::<()>(0);
    let executor = PoolExecutor::with_run(ONE_EACH, sender, move |order, _, _| {
        entered.send(()).unwrap();
        if order.task.0 == 1 {
            // Hangs whatever it is asked.
            held.recv().ok();
        }
        Ok(Output::Done)
    });
    let hung = order(1, 1, Work::Upload);
    executor.start(hung.clone());
    running.recv_timeout(SOON).unwrap();
    executor.start(order(1, 2, Work::Upload));
    assert_eq!(executor.reconcile(Epoch(1)).len(), 2);
    executor.abandon(hung.job, hung.task, hung.attempt);
    let end = completions.recv_timeout(SOON).unwrap();
    assert_eq!((end.task, end.outcome), (TaskId(2), Ok(Output::Done)));
    release.send(()).unwrap();
    executor.start(order(2, 3, Work::Upload));
    let end = completions.recv_timeout(SOON).unwrap();
    assert_eq!((end.task, end.outcome), (TaskId(3), Ok(Output::Done)));
}

#[test]
fn progress_is_seen_while_a_task_runs() {
    let (sender, completions) = unbounded();
    let (entered, running) = bounded(1);
    let (release, held) = bounded::<()>(0);
    let executor = PoolExecutor::with_run(ONE_EACH, sender, move |_, _, progress| {
        progress.set_total(10);
        progress.add(3, 4096);
        entered.send(()).unwrap();
        held.recv().ok();
        Ok(Output::Done)
    });
    executor.start(order(5, 1, Work::Upload));
    running.recv_timeout(SOON).unwrap();
    let expected = TaskProgress {
        task: TaskId(1),
        done: 3,
        total: 10,
    };
    assert_eq!(executor.progress(JobId(5)), [expected]);
    assert!(executor.progress(JobId(4)).is_empty());
    release.send(()).unwrap();
    completions.recv_timeout(SOON).unwrap();
    assert!(executor.progress(JobId(5)).is_empty());
}

#[test]
fn shutdown_stops_what_runs_and_refuses_what_comes() {
    let (sender, completions) = unbounded();
    let (entered, running) = bounded(8);
    let executor = PoolExecutor::with_run(ONE_EACH, sender, move |_, context, _| {
        entered.send(()).unwrap();
        wait_for_cancel(context)
    });
    executor.start(order(1, 1, Work::Upload));
    running.recv_timeout(SOON).unwrap();
    executor.shutdown();
    executor.start(order(1, 2, Work::Upload));
    for _ in 0..2 {
        let end = completions.recv_timeout(SOON).unwrap();
        assert_eq!(end.outcome.unwrap_err().class, FailureClass::Stopped);
    }
}
