//! Opened repositories, connected at first use and kept. Holds no lock while it talks to a remote.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_broker::{Broker, Context};
use holdfast_repository::{ErrorKind, Mode, Repository};
use parking_lot::Mutex;

use crate::ids::{JobId, RepositoryId};
use crate::order::{Failure, FailureClass, StatusCode};
use crate::published::Published;
use crate::seams::{Brokers, Clock, Vault};
use crate::spec::RepositoryAccess;
use crate::state::RepositoryRecord;
use crate::work::Repositories;

struct Entry {
    record: Arc<RepositoryRecord>,
    opened: Option<Repository>,
    /// Wall time in ms and words of the last opening that failed, until one succeeds.
    problem: Option<(u64, String)>,
}

/// The repositories that the journal knows.
pub(crate) struct Registry {
    brokers: Arc<dyn Brokers>,
    vault: Arc<dyn Vault>,
    clock: Arc<dyn Clock>,
    published: Arc<Published>,
    entries: Mutex<BTreeMap<RepositoryId, Entry>>,
}

impl Registry {
    pub(crate) fn new(
        brokers: Arc<dyn Brokers>,
        vault: Arc<dyn Vault>,
        clock: Arc<dyn Clock>,
        published: Arc<Published>,
    ) -> Self {
        Self {
            brokers,
            vault,
            clock,
            published,
            entries: Mutex::new(BTreeMap::new()),
        }
    }

    /// Takes over what the state knows now; connections and problems of repositories that stay are kept.
    pub(crate) fn update<'a>(&self, records: impl Iterator<Item = &'a Arc<RepositoryRecord>>) {
        let mut entries = self.entries.lock();
        let mut old = std::mem::take(&mut *entries);
        for record in records {
            let (opened, problem) = match old.remove(&record.id) {
                Some(entry) => (entry.opened, entry.problem),
                None => (None, None),
            };
            entries.insert(
                record.id,
                Entry {
                    record: Arc::clone(record),
                    opened,
                    problem,
                },
            );
        }
    }

    /// Keeps the connection that CREATE REPOSITORY has proved.
    pub(crate) fn keep(&self, id: RepositoryId, repository: Repository) {
        if let Some(entry) = self.entries.lock().get_mut(&id) {
            entry.opened = Some(repository);
            entry.problem = None;
        }
    }

    /// Why the repository could not be opened the last time it was tried, and when (wall ms).
    pub(crate) fn problem(&self, name: &str) -> Option<(u64, String)> {
        let entries = self.entries.lock();
        let mut entries = entries.values();
        entries
            .find(|entry| entry.record.name == name)
            .and_then(|entry| entry.problem.clone())
    }

    fn note(&self, id: RepositoryId, failure: &Failure) {
        // A worker that was asked to let go says nothing about the repository.
        if failure.class == FailureClass::Stopped {
            return;
        }
        let now = self.clock.wall_ms();
        if let Some(entry) = self.entries.lock().get_mut(&id)
            // Another thread may have opened it meanwhile.
            && entry.opened.is_none()
        {
            entry.problem = Some((now, failure.message.clone()));
        }
    }

    fn connect(&self, context: &Context, record: &RepositoryRecord) -> Result<Repository, Failure> {
        let properties = self.properties(record)?;
        let broker = self
            .brokers
            .connect(record.broker.as_deref(), &record.location, &properties)
            // CREATE REPOSITORY has connected with just these words, so what fails now may heal.
            .map_err(|text| Failure::retry(format!("repository '{}': {text}", record.name)))?;
        open(context, broker, record)
    }

    fn properties(&self, record: &RepositoryRecord) -> Result<BTreeMap<String, String>, Failure> {
        let plain = self.vault.open(&record.properties).map_err(|text| {
            fatal(format!(
                "properties of repository '{}' cannot be read: {text}",
                record.name
            ))
        })?;
        serde_json::from_slice(&plain).map_err(|e| {
            fatal(format!(
                "properties of repository '{}' are damaged: {e}",
                record.name
            ))
        })
    }
}

/// Opens what CREATE REPOSITORY has made. It is never made anew: where a file system is not mounted, the
/// backup would lie below it and be lost from sight.
fn open(
    context: &Context,
    broker: Arc<dyn Broker>,
    record: &RepositoryRecord,
) -> Result<Repository, Failure> {
    let name = &record.name;
    let reading = Repository::open(context, Arc::clone(&broker), name, Mode::ReadOnly);
    let reading = reading.map_err(|error| match error.kind() {
        ErrorKind::NotFound => Failure::retry(format!(
            "repository '{name}' is no longer at {}; bring it back (is the file system mounted?), or DROP REPOSITORY \
             {name} and CREATE it again",
            without_secrets(&record.location)
        )),
        _ => Failure::from(error),
    })?;
    match record.access {
        RepositoryAccess::ReadOnly => Ok(reading),
        RepositoryAccess::ReadWrite => {
            let mode = Mode::ReadWrite {
                created_at_ms: record.created_ms,
            };
            Repository::open(context, broker, name, mode).map_err(Failure::from)
        }
    }
}

/// A location without what may be a secret in it, the query and the user: an error's words go into the journal and
/// from there everywhere.
fn without_secrets(location: &str) -> String {
    let (body, query) = match location.split_once('?') {
        Some((body, _)) => (body, "?…"),
        None => (location, ""),
    };
    let Some((scheme, rest)) = body.split_once("://") else {
        return format!("{body}{query}");
    };
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    let (user, host) = match authority.rsplit_once('@') {
        Some((_, host)) => ("…@", host),
        None => ("", authority),
    };
    format!("{scheme}://{user}{host}{path}{query}")
}

fn fatal(message: String) -> Failure {
    Failure {
        class: FailureClass::Fatal(StatusCode::CommonError),
        message,
    }
}

impl Repositories for Registry {
    fn get(&self, context: &Context, id: RepositoryId) -> Result<Repository, Failure> {
        let record = {
            let entries = self.entries.lock();
            let Some(entry) = entries.get(&id) else {
                return Err(Failure {
                    class: FailureClass::Fatal(StatusCode::NotFound),
                    message: format!("failed to get repository {id}: it was dropped"),
                });
            };
            if let Some(opened) = &entry.opened {
                return Ok(opened.clone());
            }
            Arc::clone(&entry.record)
        };
        let opened = self
            .connect(context, &record)
            .inspect_err(|failure| self.note(id, failure))?;
        self.keep(id, opened.clone());
        Ok(opened)
    }

    fn has_ended(&self, job: JobId) -> bool {
        let jobs = self.published.views().jobs;
        match jobs.get(&job) {
            Some(view) => view.has_ended(),
            // One below the newest was archived. One above it was accepted by a later process of this node, of which a
            // worker that outlived its own knows nothing: it may be at work.
            None => jobs.last().is_some_and(|(newest, _)| job < *newest),
        }
    }
}

impl Registry {
    /// A repository's properties, secret values masked.
    pub(crate) fn masked_properties(
        &self,
        id: RepositoryId,
    ) -> Result<BTreeMap<String, String>, Failure> {
        let record = self
            .entries
            .lock()
            .get(&id)
            .map(|entry| Arc::clone(&entry.record));
        let Some(record) = record else {
            return Err(fatal(format!("repository {id} was dropped")));
        };
        let mut properties = self.properties(&record)?;
        for (key, value) in &mut properties {
            if is_secret(key) {
                "******".clone_into(value);
            }
        }
        Ok(properties)
    }
}

/// Whether the value of a property must never be shown: by the words that such keys are made of.
fn is_secret(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    [
        "secret", "password", "passwd", "token", "access", "key", "keytab", "sas",
    ]
    .iter()
    .any(|word| key.contains(word))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use holdfast_broker::{BrokerExt, MemoryBroker, ObjectName};
    use holdfast_journal::{Journal, MemoryJournal};

    use super::*;
    use crate::engine::{Engine, Parts};
    use crate::event::Event;
    use crate::host::NoSecrets;
    use crate::refusal::RefusalCode;
    use crate::spec::RepositoryRequest;
    use crate::state::State;
    use crate::testing::{History, ManualClock, MemoryStorage};

    #[test]
    fn a_repository_that_is_gone_is_not_made_anew() {
        let remote = MemoryBroker::new();
        let other = remote.clone();
        let brokers = move |_: &str| Ok(Arc::new(other.clone()) as Arc<dyn Broker>);
        let clock = Arc::new(ManualClock::new());
        let registry = Registry::new(
            Arc::new(brokers),
            Arc::new(NoSecrets),
            Arc::clone(&clock) as Arc<dyn Clock>,
            Arc::default(),
        );
        let record = |access| {
            Arc::new(RepositoryRecord {
                id: RepositoryId(7),
                name: "repo".to_owned(),
                broker: None,
                location: "file:///mnt/backups".to_owned(),
                access,
                created_ms: 1,
                properties: b"{}".to_vec(),
            })
        };
        for access in [RepositoryAccess::ReadWrite, RepositoryAccess::ReadOnly] {
            registry.update([record(access)].iter());
            let failure = registry.get(&Context::new(), RepositoryId(7)).unwrap_err();
            // A file system may be mounted a moment later.
            assert_eq!(failure.class, FailureClass::Retry);
            assert!(
                failure.message.contains("file:///mnt/backups"),
                "{}",
                failure.message
            );
            assert_eq!(remote.counts().objects, 0);
            let problem = (clock.wall_ms(), failure.message);
            assert_eq!(registry.problem("repo"), Some(problem));
            assert_eq!(registry.problem("another"), None);
            clock.advance(10);
        }
        let made = Mode::ReadWrite { created_at_ms: 1 };
        Repository::open(&Context::new(), Arc::new(remote.clone()), "repo", made).unwrap();
        registry.update([record(RepositoryAccess::ReadWrite)].iter());
        let opened = registry.get(&Context::new(), RepositoryId(7)).unwrap();
        assert!(!opened.is_read_only());
        assert_eq!(registry.problem("repo"), None);
        let info = ObjectName::parse("__holdfast_repository_repo/__repo_info").unwrap();
        assert!(remote.exists(&Context::new(), &info).unwrap());
    }

    #[test]
    fn a_job_that_is_not_known_has_ended_only_where_a_newer_one_is() {
        let published = Arc::new(Published::default());
        let registry = Registry::new(
            Arc::new(|_: &str| Err("none".to_owned())),
            Arc::new(NoSecrets),
            Arc::new(ManualClock::new()),
            Arc::clone(&published),
        );
        let ended = |job| registry.has_ended(JobId(job));
        // Nothing is known: no job of any number can be taken for ended.
        assert!(!ended(1));
        let mut history = History::new();
        history.opening();
        history.backup("db", 1);
        let mut state = State::new();
        for event in history.take() {
            state.apply(1, &event).unwrap();
        }
        let known = state.jobs.iter().map(|(id, _)| id).last().unwrap();
        published.publish(&mut state);
        assert!(ended(known.0));
        assert!(ended(known.0 - 1), "it was archived");
        assert!(!ended(known.0 + 1), "a later process may have accepted it");
    }

    #[test]
    fn an_engine_tells_a_repositorys_problem_until_it_opens_again() {
        let journal: Arc<dyn Journal<Event>> = Arc::new(MemoryJournal::new());
        let (remote, up) = (MemoryBroker::new(), Arc::new(AtomicBool::new(true)));
        let open = || {
            let (remote, up) = (remote.clone(), Arc::clone(&up));
            let brokers = move |_: &str| match up.load(Ordering::SeqCst) {
                true => Ok(Arc::new(remote.clone()) as Arc<dyn Broker>),
                false => Err("no route to the host".to_owned()),
            };
            let mut parts = Parts::new(
                Arc::clone(&journal),
                Arc::new(MemoryStorage::new(1)),
                Arc::new(MemoryBroker::new()),
                Arc::new(brokers),
            );
            parts.clock = Arc::new(ManualClock::new());
            Engine::open(parts).unwrap()
        };
        let engine = open();
        let request = RepositoryRequest::new("repo", "memory://");
        engine.create_repository(&request).unwrap();
        assert_eq!(engine.repository_problem("repo"), None);
        drop(engine);

        let engine = open();
        up.store(false, Ordering::SeqCst);
        assert_eq!(engine.repository_problem("repo"), None);
        let refusal = engine.repository("repo").unwrap_err();
        assert_eq!(refusal.code, RefusalCode::RepositoryUnusable);
        let problem = "repository 'repo': no route to the host".to_owned();
        assert_eq!(
            engine.repository_problem("repo"),
            Some((ManualClock::new().wall_ms(), problem))
        );
        up.store(true, Ordering::SeqCst);
        engine.repository("repo").unwrap();
        assert_eq!(engine.repository_problem("repo"), None);
    }
}
