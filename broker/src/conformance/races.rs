//! Checks of many at once: who wins a name, what a reader can see meanwhile, and folders that come
//! and go.

use std::sync::Barrier;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::{Check, Finding, Subject, pattern, same, truth};
use crate::{Atomicity, BytesSource, ConditionalPut, ErrorClass, PutMode, PutOutcome};

pub(super) const CHECKS: &[Check] = &[
    ("one-creator-wins", one_creator_wins),
    ("no-half-object-is-seen", no_half_object_is_seen),
    ("many-at-once", many_at_once),
    ("folders-come-and-go", folders_come_and_go),
];

const THREADS: usize = 8;

/// Joins threads that give findings.
fn all(results: Vec<std::thread::Result<Result<(), Finding>>>) -> Result<(), Finding> {
    results
        .into_iter()
        .try_for_each(|result| result.unwrap_or_else(|_| Err("a thread panicked".to_owned())))
}

/// Runs `work` on [`THREADS`] threads that begin together.
fn together(work: impl Fn(usize) -> Result<(), Finding> + Sync) -> Result<(), Finding> {
    let start = Barrier::new(THREADS);
    #[expect(clippy::disallowed_methods, reason = "callers race here on purpose")]
    let results = std::thread::scope(|scope| {
        let run = |n| {
            start.wait();
            work(n)
        };
        let threads: Vec<_> = (0..THREADS).map(|n| scope.spawn(move || run(n))).collect();
        threads.into_iter().map(|thread| thread.join()).collect()
    });
    all(results)
}

fn one_creator_wins(subject: &Subject) -> Result<(), Finding> {
    for round in 0..4 {
        let name = subject.name(&format!("round-{round}/contested"))?;
        let wins = AtomicUsize::new(0);
        let winner = AtomicUsize::new(0);
        together(|n| {
            let outcome = subject.put(
                &name,
                &pattern(30_000 + n, n as u64),
                PutMode::CreateIfAbsent,
            )?;
            if outcome == PutOutcome::Created {
                wins.fetch_add(1, Ordering::SeqCst);
                winner.store(n, Ordering::SeqCst);
                return Ok(());
            }
            // Whoever lost finds a whole object at once.
            let info = subject
                .broker
                .stat(&subject.ctx, &name)
                .map_err(|error| error.to_string())?;
            truth(info.is_some_and(|info| info.len >= 30_000), || {
                "the loser finds no whole object".to_owned()
            })
        })?;
        if subject.broker.describe().conditional_put == ConditionalPut::Decided {
            same("winners of one name", &wins.into_inner(), &1)?;
            let n = winner.into_inner();
            subject.expect(&name, &pattern(30_000 + n, n as u64))?;
        }
    }
    Ok(())
}

fn no_half_object_is_seen(subject: &Subject) -> Result<(), Finding> {
    if subject.broker.describe().atomic_put == Atomicity::MayTear {
        return Ok(());
    }
    let name = subject.name("replaced")?;
    let versions = [pattern(200_000, 1), pattern(300_000, 2)];
    subject.put(&name, &versions[0], PutMode::Overwrite)?;
    let done = AtomicBool::new(false);
    let reads = AtomicUsize::new(0);
    #[expect(clippy::disallowed_methods, reason = "callers race here on purpose")]
    let results = std::thread::scope(|scope| {
        let read = || {
            while !done.load(Ordering::SeqCst) || reads.load(Ordering::SeqCst) == 0 {
                match subject.broker.get(&subject.ctx, &name, 1 << 20) {
                    Ok(bytes) => truth(versions.contains(&bytes), || {
                        format!("saw {} bytes of no one put", bytes.len())
                    })?,
                    Err(error) => return Err(error.to_string()),
                }
                let listed = subject.list(name.as_str(), 10)?;
                truth(listed.len() == 1, || {
                    format!("a listing shows {listed:?} while the object is replaced")
                })?;
                reads.fetch_add(1, Ordering::SeqCst);
            }
            Ok(())
        };
        let reader = scope.spawn(read);
        let writer = scope.spawn(|| {
            let written = (0..10).try_for_each(|n| {
                subject
                    .put(&name, &versions[n % 2], PutMode::Overwrite)
                    .map(|_| ())
            });
            done.store(true, Ordering::SeqCst);
            written
        });
        vec![reader.join(), writer.join()]
    });
    all(results)
}

fn many_at_once(subject: &Subject) -> Result<(), Finding> {
    const EACH: usize = 8;
    together(|n| {
        (0..EACH).try_for_each(|m| {
            let name = subject.name(&format!("shared-{}/{n}-{m}", m % 3))?;
            subject.create(&name, &pattern(100 + m, n as u64))
        })
    })?;
    same(
        "objects listed",
        &subject.list(&subject.prefix, 7)?.len(),
        &(THREADS * EACH),
    )?;
    together(|n| {
        (0..EACH).try_for_each(|m| {
            let name = subject.name(&format!("shared-{}/{n}-{m}", m % 3))?;
            subject.expect(&name, &pattern(100 + m, n as u64))
        })
    })
}

fn folders_come_and_go(subject: &Subject) -> Result<(), Finding> {
    together(|n| {
        (0..8).try_for_each(|m| {
            let name = subject.name(&format!("folder/deeper/{n}"))?;
            let bytes = pattern(10 + m, n as u64);
            let put = subject.broker.put(
                &subject.ctx,
                &name,
                &BytesSource::from(&bytes),
                PutMode::CreateIfAbsent,
            );
            match put {
                Ok(PutOutcome::Created) => {}
                // A folder that others remove again and again may win for a while, and then says
                // so.
                Err(error) if error.class() == ErrorClass::Retry => return Ok(()),
                other => return Err(format!("put into a folder that others empty: {other:?}")),
            }
            subject.expect(&name, &bytes)?;
            subject
                .broker
                .delete(&subject.ctx, &name)
                .map_err(|error| format!("delete: {error}"))
        })
    })?;
    same("the rest", &subject.list(&subject.prefix, 10)?, &Vec::new())
}
