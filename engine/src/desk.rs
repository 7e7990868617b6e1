//! Takes statements on the caller's thread: checks what can be checked against storage and repository, and hands the
//! rest to whoever decides. Owns no thread and no job; a simulated engine has the same desk as a real one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast_broker::Context;
use holdfast_repository::{ErrorKind, Mode, Repository};
use holdfast_storage::Storage;

use crate::core::Answer;
use crate::decide::{Input, NewRepository, repository_exists};
use crate::ids::{JobId, RepositoryId};
use crate::published::Published;
use crate::refusal::{Refusal, RefusalCode};
use crate::registry::Registry;
use crate::retention::{Archiving, HistoryRequest};
use crate::seams::{Brokers, Clock, Vault};
use crate::spec::{BackupRequest, JobKind, RepositoryAccess, RepositoryRequest, RestoreRequest};
use crate::submit;
use crate::view::Views;

/// How long a statement waits for a remote before it is refused; a job that is accepted has its own timeout.
const PATIENCE: Duration = Duration::from_secs(60);

/// The way to whoever decides.
pub(crate) trait Ask: Send + Sync {
    /// Hands the input over and waits for what was decided and made durable.
    fn ask(&self, input: Input) -> Result<Answer, Refusal>;
}

/// What statements need.
pub(crate) struct Desk {
    pub(crate) storage: Arc<dyn Storage>,
    pub(crate) registry: Arc<Registry>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) brokers: Arc<dyn Brokers>,
    pub(crate) vault: Arc<dyn Vault>,
    pub(crate) published: Arc<Published>,
    /// The terms of a statement's requests to a remote, apart from its patience.
    pub(crate) terms: Context,
    pub(crate) decider: Box<dyn Ask>,
    pub(crate) cluster: String,
    /// Probes of remotes so far.
    pub(crate) probes: AtomicU64,
}

impl Desk {
    pub(crate) fn views(&self) -> Views {
        self.published.views()
    }

    /// A statement's own deadline: a remote that hangs must not hold its caller.
    pub(crate) fn patience(&self) -> Context {
        self.terms.clone().with_timeout(PATIENCE)
    }

    pub(crate) fn backup(&self, request: &BackupRequest) -> Result<JobId, Refusal> {
        let spec = submit::backup(self, request)?;
        self.ask_job(Input::Backup(spec))
    }

    pub(crate) fn restore(&self, request: &RestoreRequest) -> Result<JobId, Refusal> {
        let spec = submit::restore(self, request)?;
        self.ask_job(Input::Restore(spec))
    }

    pub(crate) fn cancel(&self, kind: JobKind, database: &str) -> Result<JobId, Refusal> {
        self.ask_job(Input::Cancel {
            kind,
            database: database.to_owned(),
        })
    }

    pub(crate) fn archive(&self, request: &HistoryRequest) -> Result<Archiving, Refusal> {
        match self.decider.ask(Input::Archive(*request))? {
            Answer::Archived(archiving) => Ok(archiving),
            Answer::Done => Ok(Archiving {
                jobs: 0,
                first_job: JobId(0),
                last_job: JobId(0),
                archive: None,
                first_event: 0,
            }),
            other => Err(unexpected(&other)),
        }
    }

    pub(crate) fn create_repository(
        &self,
        request: &RepositoryRequest,
    ) -> Result<RepositoryId, Refusal> {
        holdfast_repository::check_repository_name(&request.name)
            .map_err(|e| Refusal::new(RefusalCode::BadRepositoryName, e.to_string()))?;
        if self.views().repositories.contains_key(&request.name) {
            return Err(repository_exists(&request.name));
        }
        let opened = self.open_new(request)?;
        let plain = serde_json::to_vec(&request.properties)
            .map_err(|e| unusable(request, &e.to_string()))?;
        let properties = self
            .vault
            .seal(&plain)
            .map_err(|text| unusable(request, &text))?;
        let new = NewRepository {
            name: request.name.clone(),
            broker: request.broker.clone(),
            location: request.location.clone(),
            access: request.access,
            created_ms: opened.info().create_time_ms,
            properties,
        };
        match self.decider.ask(Input::CreateRepository(new))? {
            Answer::Repository(id) => {
                self.registry.keep(id, opened);
                Ok(id)
            }
            other => Err(unexpected(&other)),
        }
    }

    /// Opens the remote side, makes it where it is absent and may be made, and proves access by using it.
    fn open_new(&self, request: &RepositoryRequest) -> Result<Repository, Refusal> {
        let broker = self
            .brokers
            .connect(
                request.broker.as_deref(),
                &request.location,
                &request.properties,
            )
            .map_err(|text| match &request.broker {
                Some(_) => Refusal::new(RefusalCode::BrokerNotFound, text),
                None => unusable(request, &text),
            })?;
        let context = self.patience();
        let mode = match request.access {
            RepositoryAccess::ReadOnly => Mode::ReadOnly,
            RepositoryAccess::ReadWrite => Mode::ReadWrite {
                created_at_ms: self.clock.wall_ms(),
            },
        };
        let opened = Repository::open(&context, broker, &request.name, mode).map_err(
            |e| match e.kind() {
                ErrorKind::NotFound => unusable(
                    request,
                    &format!(
                        "{e}; a repository is found by the name and the location it was made with"
                    ),
                ),
                _ => unusable(request, &e.to_string()),
            },
        )?;
        opened
            .probe(&context, &self.probe_name())
            .map_err(|e| unusable(request, &e.to_string()))?;
        Ok(opened)
    }

    /// A name for a probe that no other statement and no other cluster takes.
    fn probe_name(&self) -> String {
        let number = self.probes.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number}", self.cluster)
    }

    pub(crate) fn drop_repository(&self, name: &str) -> Result<(), Refusal> {
        self.decider
            .ask(Input::DropRepository(name.to_owned()))
            .map(|_| ())
    }

    pub(crate) fn repository_properties(
        &self,
        name: &str,
    ) -> Result<BTreeMap<String, String>, Refusal> {
        let id = submit::repository(self, name)?;
        self.registry
            .masked_properties(id)
            .map_err(|failure| Refusal::new(RefusalCode::Failed, failure.message))
    }

    pub(crate) fn repository(&self, name: &str) -> Result<Repository, Refusal> {
        let id = submit::repository(self, name)?;
        submit::open_repository(self, id)
    }

    fn ask_job(&self, input: Input) -> Result<JobId, Refusal> {
        match self.decider.ask(input)? {
            Answer::Job(id) => Ok(id),
            other => Err(unexpected(&other)),
        }
    }
}

fn unusable(request: &RepositoryRequest, text: &str) -> Refusal {
    Refusal::new(
        RefusalCode::RepositoryUnusable,
        format!("Failed to create repository '{}': {text}", request.name),
    )
}

fn unexpected(answer: &Answer) -> Refusal {
    Refusal::new(
        RefusalCode::Failed,
        format!("the engine answered {answer:?} to another question"),
    )
}
