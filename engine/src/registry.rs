//! Opened repositories, connected at first use and kept. Holds no lock while it talks to a remote.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_broker::Context;
use holdfast_repository::{Mode, Repository};
use parking_lot::Mutex;

use crate::ids::{JobId, RepositoryId};
use crate::order::{Failure, FailureClass, StatusCode};
use crate::published::Published;
use crate::seams::{Brokers, Vault};
use crate::spec::RepositoryAccess;
use crate::state::RepositoryRecord;
use crate::work::Repositories;

struct Entry {
    record: Arc<RepositoryRecord>,
    opened: Option<Repository>,
}

/// The repositories that the journal knows.
pub(crate) struct Registry {
    brokers: Arc<dyn Brokers>,
    vault: Arc<dyn Vault>,
    published: Arc<Published>,
    entries: Mutex<BTreeMap<RepositoryId, Entry>>,
}

impl Registry {
    pub(crate) fn new(
        brokers: Arc<dyn Brokers>,
        vault: Arc<dyn Vault>,
        published: Arc<Published>,
    ) -> Self {
        Self {
            brokers,
            vault,
            published,
            entries: Mutex::new(BTreeMap::new()),
        }
    }

    /// Takes over what the state knows now; connections of repositories that stay are kept.
    pub(crate) fn update<'a>(&self, records: impl Iterator<Item = &'a Arc<RepositoryRecord>>) {
        let mut entries = self.entries.lock();
        let mut old = std::mem::take(&mut *entries);
        for record in records {
            let opened = old.remove(&record.id).and_then(|entry| entry.opened);
            entries.insert(
                record.id,
                Entry {
                    record: Arc::clone(record),
                    opened,
                },
            );
        }
    }

    /// Keeps the connection that CREATE REPOSITORY has proved.
    pub(crate) fn keep(&self, id: RepositoryId, repository: Repository) {
        if let Some(entry) = self.entries.lock().get_mut(&id) {
            entry.opened = Some(repository);
        }
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
        let properties = self.properties(&record)?;
        let broker = self
            .brokers
            .connect(record.broker.as_deref(), &record.location, &properties)
            .map_err(|text| fatal(format!("repository '{}': {text}", record.name)))?;
        let mode = match record.access {
            RepositoryAccess::ReadOnly => Mode::ReadOnly,
            RepositoryAccess::ReadWrite => Mode::ReadWrite {
                created_at_ms: record.created_ms,
            },
        };
        let opened =
            Repository::open(context, broker, &record.name, mode).map_err(Failure::from)?;
        self.keep(id, opened.clone());
        Ok(opened)
    }

    fn has_ended(&self, job: JobId) -> bool {
        self.published
            .views()
            .jobs
            .get(&job)
            .is_none_or(|view| view.has_ended())
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
