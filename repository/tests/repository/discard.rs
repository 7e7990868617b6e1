//! Cancelled backups: what is removed, and what is kept because another may need it.

use std::ops::Range;
use std::sync::{Arc, Mutex};

use holdfast_broker::{
    Broker, BrokerExt, Context, Description, Error, ErrorClass, MemoryBroker, ObjectInfo,
    ObjectName, Page, PageToken, PutMode, PutOutcome, Source, Visit,
};
use holdfast_repository::{Discarded, ObjectKey, Repository};

use crate::harness::*;

fn extra(mut data: Data, text: &str) -> Data {
    data.insert(
        ("x".into(), "x".into(), 0, "extra".into()),
        text.as_bytes().to_vec(),
    );
    data
}

#[test]
fn a_cancelled_backup_leaves_nothing_behind() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    Job::new(&repository, "one", NOON, 1).run(&sample());
    let before = paths(&broker);
    let job = Job::new(&repository, "two", LATER, 2);
    let uploaded = job.upload(&extra(sample(), "only here")).unwrap();
    job.marker(&uploaded).unwrap();
    assert_eq!(uploaded.created.len(), 1);
    let discard = || {
        repository
            .discard(&ctx, &job.writer, "two", &uploaded.created)
            .unwrap()
    };
    assert_eq!(
        discard(),
        Discarded {
            deleted: 1,
            kept: 0
        }
    );
    assert_eq!(paths(&broker), before);
    // Told again, after its intent is gone, it has nothing to go by and deletes nothing.
    assert_eq!(
        discard(),
        Discarded {
            deleted: 0,
            kept: 1
        }
    );
    assert_eq!(paths(&broker), before);
    assert_eq!(restore(&repository, "one", NOON).unwrap(), sample());
}

#[test]
fn objects_are_kept_while_another_writer_is_at_work() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let job = Job::new(&repository, "one", NOON, 1);
    let uploaded = job.upload(&sample()).unwrap();
    let other = Job::new(&repository, "two", NOON, 1).of("west");
    let relying = other.upload(&sample()).unwrap();
    assert!(relying.created.len() < uploaded.created.len());
    let done = repository
        .discard(&ctx, &job.writer, "one", &uploaded.created)
        .unwrap();
    assert_eq!(
        done,
        Discarded {
            deleted: 0,
            kept: uploaded.created.len() as u64
        }
    );
    assert!(repository.condemned(&ctx).unwrap().is_empty());
    other.commit(&relying).unwrap();
    assert_eq!(restore(&repository, "two", NOON).unwrap(), sample());
    assert!(
        !paths(&broker)
            .iter()
            .any(|path| path.starts_with("__ss_one/"))
    );
}

#[test]
fn objects_are_kept_that_a_snapshot_made_meanwhile_refers_to() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let job = Job::new(&repository, "one", NOON, 1);
    let uploaded = job.upload(&sample()).unwrap();
    // It finds the objects of the first in place, adds one of its own, and is done before the first is cancelled.
    let whole = ("b".to_owned(), "b".to_owned(), 4, "whole".to_owned());
    let shared = Data::from([(whole.clone(), sample()[&whole].clone())]);
    let other = Job::new(&repository, "two", NOON, 1).of("west");
    let relying = other.run(&shared);
    assert_eq!(relying.sent, 0);
    let done = repository
        .discard(&ctx, &job.writer, "one", &uploaded.created)
        .unwrap();
    assert_eq!(
        done,
        Discarded {
            deleted: uploaded.created.len() as u64 - 1,
            kept: 1
        }
    );
    assert_eq!(restore(&repository, "two", NOON).unwrap(), shared);
    assert_eq!(findings(&repository), []);
    let left = paths(&broker);
    let objects = left.iter().filter(|path| ObjectKey::parse(path).is_ok());
    assert_eq!(objects.count(), 1);
}

#[test]
fn a_snapshot_made_meanwhile_that_cannot_be_read_keeps_everything() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let job = Job::new(&repository, "one", NOON, 1);
    let uploaded = job.upload(&sample()).unwrap();
    Job::new(&repository, "two", NOON, 1)
        .of("west")
        .run(&sample());
    let part = paths(&broker)
        .into_iter()
        .find(|path| path.starts_with("__ss_two/part."))
        .unwrap();
    broker
        .damage(&object(&part), |bytes| bytes.truncate(1))
        .unwrap();
    let done = repository
        .discard(&ctx, &job.writer, "one", &uploaded.created)
        .unwrap();
    assert_eq!(done.deleted, 0);
}

#[test]
fn what_is_condemned_counts_as_absent_and_gets_a_new_generation() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let job = Job::new(&repository, "one", NOON, 1);
    let uploaded = job.upload(&sample()).unwrap();
    // A cancelled writer that was killed in the middle: its list stands, its objects do too.
    let keys: Vec<_> = uploaded.created.iter().map(ToString::to_string).collect();
    let list = serde_json::json!({"format": 1, "cluster": "east", "job": 1, "keys": keys});
    let list = zstd::bulk::compress(list.to_string().as_bytes(), 1).unwrap();
    broker
        .put_bytes(
            &ctx,
            &object("condemned/east-1"),
            &list,
            holdfast_broker::PutMode::Overwrite,
        )
        .unwrap();

    let other = Job::new(&repository, "two", NOON, 1).of("west");
    let sent = other.run(&sample());
    assert_eq!(sent.created.len(), uploaded.created.len());
    assert!(sent.created.iter().all(|key| key.generation() == 1));
    assert_eq!(repository.condemned(&ctx).unwrap().len(), keys.len());

    // It goes on where it was killed.
    let done = repository
        .discard(&ctx, &job.writer, "one", &uploaded.created)
        .unwrap();
    assert_eq!(done.deleted, keys.len() as u64);
    assert_eq!(restore(&repository, "two", NOON).unwrap(), sample());
    let again = Job::new(&repository, "three", LATER, 3).run(&sample());
    assert_eq!(again.sent, 0);
}

#[test]
fn an_unreadable_list_of_the_condemned_stops_a_writer() {
    let (repository, broker) = in_memory();
    let ctx = Context::new();
    let name = object("condemned/east-1");
    broker
        .put_bytes(&ctx, &name, b"{", holdfast_broker::PutMode::Overwrite)
        .unwrap();
    let error = repository.presence(&ctx).unwrap_err();
    assert_eq!(error.kind(), holdfast_repository::ErrorKind::Damaged);
    assert!(error.message().contains("condemned/east-1"), "{error}");
    broker.delete(&ctx, &name).unwrap();
    assert!(repository.presence(&ctx).unwrap().is_empty());
}

type Hook = Box<dyn FnOnce() -> Result<(), Error> + Send>;

/// Calls a hook once, just before the nth request.
#[derive(Default)]
struct Hooked {
    inner: MemoryBroker,
    hook: Mutex<Option<(u32, Hook)>>,
}

impl Hooked {
    fn pass(&self) -> Result<&MemoryBroker, Error> {
        let mut slot = self.hook.lock().unwrap();
        let due = match slot.as_mut() {
            Some((left, _)) => {
                *left -= 1;
                *left == 0
            }
            None => false,
        };
        let hook = if due { slot.take() } else { None };
        drop(slot);
        match hook {
            Some((_, hook)) => hook().map(|()| &self.inner),
            None => Ok(&self.inner),
        }
    }
}

impl Broker for Hooked {
    fn put(
        &self,
        ctx: &Context,
        name: &ObjectName,
        source: &dyn Source,
        mode: PutMode,
    ) -> Result<PutOutcome, Error> {
        self.pass()?.put(ctx, name, source, mode)
    }

    fn get_range(
        &self,
        ctx: &Context,
        name: &ObjectName,
        range: Range<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        self.pass()?.get_range(ctx, name, range, visit)
    }

    fn stat(&self, ctx: &Context, name: &ObjectName) -> Result<Option<ObjectInfo>, Error> {
        self.pass()?.stat(ctx, name)
    }

    fn list(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.pass()?.list(ctx, prefix, after, limit)
    }

    fn delete(&self, ctx: &Context, name: &ObjectName) -> Result<(), Error> {
        self.pass()?.delete(ctx, name)
    }

    fn describe(&self) -> Description {
        self.inner.describe()
    }
}

/// How far another writer gets before the discard, at one of its requests, and after it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Meanwhile {
    WholeBackup,
    UploadThenCommitLater,
    BeganBeforeUploadsThenCommitsLater,
    UploadedBeforeCommitsAfter,
    Killed,
}

fn other(repository: &Repository) -> Job<'_> {
    Job::new(repository, "two", LATER, 1).of("west")
}

/// Discards a backup of the sample while another writer of the same data does something at the nth request; gives whether
/// there was such a request.
fn meet(meanwhile: Meanwhile, nth: u32) -> bool {
    let ctx = Context::new();
    let broker = Arc::new(Hooked::default());
    let east = open(broker.clone());
    let west = open(broker.inner.clone());
    let job = Job::new(&east, "one", NOON, 1);
    let uploaded = job.upload(&sample()).unwrap();
    let mut relying = None;
    match meanwhile {
        Meanwhile::BeganBeforeUploadsThenCommitsLater => {
            west.begin(&ctx, &other(&west).writer).unwrap()
        }
        Meanwhile::UploadedBeforeCommitsAfter => {
            relying = Some(other(&west).upload(&sample()).unwrap())
        }
        _ => {}
    }
    let in_hook = Arc::new(Mutex::new(None));
    let (slot, repository) = (in_hook.clone(), west.clone());
    let hook: Hook = Box::new(move || {
        match meanwhile {
            Meanwhile::WholeBackup => drop(other(&repository).run(&sample())),
            Meanwhile::UploadThenCommitLater | Meanwhile::BeganBeforeUploadsThenCommitsLater => {
                *slot.lock().unwrap() = Some(other(&repository).upload(&sample()).unwrap());
            }
            Meanwhile::UploadedBeforeCommitsAfter => {}
            Meanwhile::Killed => return Err(Error::new(ErrorClass::Retry, "killed")),
        }
        Ok(())
    });
    *broker.hook.lock().unwrap() = Some((nth, hook));
    let discard = || east.discard(&ctx, &job.writer, "one", &uploaded.created);
    let first = discard();
    let fired = broker.hook.lock().unwrap().take().is_none();
    relying = relying.or(in_hook.lock().unwrap().take());
    if meanwhile == Meanwhile::Killed {
        assert_eq!(first.is_err(), fired);
        other(&west).run(&sample());
        discard().unwrap();
    } else {
        first.unwrap();
        match &relying {
            Some(uploaded) => drop(other(&west).commit(uploaded).unwrap()),
            None if fired => {}
            None => drop(other(&west).run(&sample())),
        }
    }
    assert_eq!(
        restore(&west, "two", LATER).unwrap(),
        sample(),
        "{meanwhile:?} {nth}"
    );
    assert_eq!(findings(&west), [], "{meanwhile:?} {nth}");
    assert!(west.condemned(&ctx).unwrap().is_empty());
    fired
}

#[test]
fn a_discard_takes_nothing_from_whoever_works_meanwhile_at_whichever_moment() {
    for meanwhile in [
        Meanwhile::WholeBackup,
        Meanwhile::UploadThenCommitLater,
        Meanwhile::BeganBeforeUploadsThenCommitsLater,
        Meanwhile::UploadedBeforeCommitsAfter,
        Meanwhile::Killed,
    ] {
        let last = (1..).find(|nth| !meet(meanwhile, *nth)).unwrap();
        assert!(last > 5, "{meanwhile:?}: only {last} requests");
    }
}
