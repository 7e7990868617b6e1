//! A world of twins for the tests of all works: a storage and a remote in memory, and a coordinator that runs each work
//! as often as its failures allow.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_broker::{Context, Fault, FaultPlan, MemoryBroker};
use holdfast_repository::{Mode, Repository};
use holdfast_storage::BackendId;
use parking_lot::Mutex;

use crate::blobs::BrokerBlobs;
use crate::ids::{BlobHash, Epoch, JobId, RepositoryId, TaskId};
use crate::order::{Failure, FailureClass, JobSpec, Lane, Output, TaskOrder, Work};
use crate::spec::BackupSpec;
use crate::testing::MemoryStorage;
use crate::work::pool::Pool;
use crate::work::{Limits, ProgressCell, Repositories, Task, WorkEnv, run};

/// One cluster.
pub(crate) struct World {
    pub(crate) env: WorkEnv,
    pub(crate) storage: MemoryStorage,
    pub(crate) remote: MemoryBroker,
    pub(crate) faults: FaultPlan,
    pub(crate) ended: Arc<Mutex<Vec<JobId>>>,
}

struct Fixed {
    remote: MemoryBroker,
    faults: FaultPlan,
    ended: Arc<Mutex<Vec<JobId>>>,
}

impl Repositories for Fixed {
    fn get(&self, context: &Context, _: RepositoryId) -> Result<Repository, Failure> {
        let mode = Mode::ReadWrite { created_at_ms: 0 };
        let broker = Arc::new(Fault::new(self.remote.clone(), self.faults.clone()));
        Ok(Repository::open(context, broker, "repo", mode)?)
    }

    fn has_ended(&self, job: JobId) -> bool {
        self.ended.lock().contains(&job)
    }
}

impl World {
    /// A cluster of `backends` backends before `remote`.
    pub(crate) fn new(backends: u32, remote: &MemoryBroker) -> Self {
        let storage = MemoryStorage::new(backends);
        let faults = FaultPlan::new(1);
        let ended = Arc::new(Mutex::new(Vec::new()));
        let fixed = Fixed {
            remote: remote.clone(),
            faults: faults.clone(),
            ended: Arc::clone(&ended),
        };
        let env = WorkEnv {
            storage: Arc::new(storage.clone()),
            blobs: Arc::new(BrokerBlobs::new(Arc::new(MemoryBroker::new()))),
            repositories: Arc::new(fixed),
            pool: Arc::new(Pool::threads(2).unwrap()),
            limits: Limits::default(),
            movers: crate::work::parallel::Movers::new(4),
        };
        Self {
            env,
            storage,
            remote: remote.clone(),
            faults,
            ended,
        }
    }

    /// The repository as anybody sees it, without faults.
    pub(crate) fn repository(&self) -> Repository {
        let mode = Mode::ReadWrite { created_at_ms: 0 };
        Repository::open(&Context::new(), Arc::new(self.remote.clone()), "repo", mode).unwrap()
    }

    /// Runs one order once.
    pub(crate) fn run(&self, order: &TaskOrder) -> Result<Output, Failure> {
        self.run_under(&Context::new(), order)
    }

    /// Runs one order once under `context`.
    pub(crate) fn run_under(
        &self,
        context: &Context,
        order: &TaskOrder,
    ) -> Result<Output, Failure> {
        let progress = ProgressCell::default();
        run(&Task {
            env: &self.env,
            order,
            context,
            progress: &progress,
        })
    }

    /// Runs one order until it succeeds or fails for good: what a dispatcher does, without waiting.
    pub(crate) fn insist(&self, order: &TaskOrder) -> Result<Output, Failure> {
        let mut order = order.clone();
        loop {
            let failure = match self.run(&order) {
                Ok(output) => return Ok(output),
                Err(failure) => failure,
            };
            match failure.class {
                FailureClass::Retry | FailureClass::RetryAfter(_) if order.attempt < 8 => {}
                FailureClass::Replica(backend) if order.attempt < 8 => {
                    order.excluded.push(backend);
                }
                _ => return Err(failure),
            }
            order.attempt += 1;
        }
    }
}

/// One backup and how far it is.
pub(crate) struct Backup<'w> {
    pub(crate) world: &'w World,
    pub(crate) job: JobId,
    pub(crate) spec: Arc<BackupSpec>,
    pub(crate) pinned: Option<(BlobHash, Vec<Lane>)>,
    pub(crate) uploads: Option<(BlobHash, Vec<Lane>)>,
    pub(crate) meta: Option<BlobHash>,
}

/// What the uploads of a backup did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) tasks: u64,
    pub(crate) bytes: u64,
    pub(crate) objects: u64,
    pub(crate) reused: u64,
}

impl<'w> Backup<'w> {
    pub(crate) fn new(world: &'w World, job: u64, spec: BackupSpec) -> Self {
        let spec = Arc::new(spec);
        Self {
            world,
            job: JobId(job),
            spec,
            pinned: None,
            uploads: None,
            meta: None,
        }
    }

    /// The first attempt of a task.
    pub(crate) fn order(&self, work: Work, index: u32, backend: Option<BackendId>) -> TaskOrder {
        let plan = match work {
            Work::Link | Work::PlanUpload => self.pinned.as_ref().map(|(plan, _)| *plan),
            Work::Upload | Work::SaveMeta | Work::Discard => {
                self.uploads.as_ref().map(|(plan, _)| *plan)
            }
            Work::UploadInfo | Work::PutMarker => self.meta,
            _ => None,
        };
        TaskOrder {
            job: self.job,
            task: TaskId(1000 * work as u64 + u64::from(index)),
            attempt: 1,
            epoch: Epoch(1),
            work,
            index,
            backend,
            excluded: Vec::new(),
            plan,
            job_spec: JobSpec::Backup(Arc::clone(&self.spec)),
        }
    }

    /// Runs a work of one task.
    pub(crate) fn one(&self, work: Work) -> Result<Output, Failure> {
        self.world.insist(&self.order(work, 0, None))
    }

    /// Runs all tasks of `lanes`.
    pub(crate) fn all(&self, work: Work, lanes: &[Lane]) -> Result<Vec<Output>, Failure> {
        let backends = lanes
            .iter()
            .flat_map(|l| std::iter::repeat_n(l.backend, l.tasks as usize));
        backends
            .zip(0..)
            .map(|(backend, index)| self.world.insist(&self.order(work, index, backend)))
            .collect()
    }

    pub(crate) fn pin(&mut self) -> Result<Output, Failure> {
        let output = self.one(Work::Pin)?;
        if let Output::Pinned { plan, lanes, .. } = &output {
            self.pinned = Some((*plan, lanes.clone()));
        }
        Ok(output)
    }

    pub(crate) fn link(&self) -> Result<Vec<Output>, Failure> {
        self.all(Work::Link, &self.pinned.as_ref().unwrap().1)
    }

    pub(crate) fn plan(&mut self) -> Result<Output, Failure> {
        let output = self.one(Work::PlanUpload)?;
        if let Output::UploadPlanned { plan, lanes, .. } = &output {
            self.uploads = Some((*plan, lanes.clone()));
        }
        Ok(output)
    }

    pub(crate) fn upload(&self) -> Result<Sent, Failure> {
        let mut sent = Sent::default();
        for output in self.all(Work::Upload, &self.uploads.as_ref().unwrap().1)? {
            let Output::Moved {
                bytes,
                objects,
                reused_bytes,
            } = output
            else {
                panic!("{output:?}")
            };
            sent.tasks += 1;
            sent.bytes += bytes;
            sent.objects += objects;
            sent.reused += reused_bytes;
        }
        Ok(sent)
    }

    pub(crate) fn save_meta(&mut self) -> Result<Output, Failure> {
        let output = self.one(Work::SaveMeta)?;
        if let Output::MetaSaved { plan, .. } = &output {
            self.meta = Some(*plan);
        }
        Ok(output)
    }

    /// Everything up to and with the uploads.
    pub(crate) fn until_uploaded(&mut self) -> Result<Sent, Failure> {
        self.pin()?;
        self.link()?;
        self.plan()?;
        self.upload()
    }

    /// Everything.
    pub(crate) fn run(&mut self) -> Result<Sent, Failure> {
        let sent = self.until_uploaded()?;
        self.save_meta()?;
        self.one(Work::UploadInfo)?;
        let marker = self.one(Work::PutMarker)?;
        assert_eq!(marker, Output::MarkerDurable);
        self.one(Work::Release)?;
        Ok(sent)
    }
}

/// Every file of a snapshot as its manifest and objects have it: `table/partition/name` and the bytes.
pub(crate) fn read_snapshot(world: &World, spec: &BackupSpec) -> BTreeMap<String, Vec<u8>> {
    let (repository, context) = (world.repository(), Context::new());
    let root = repository
        .marker(&context, &spec.label, &spec.timestamp)
        .unwrap();
    let mut all = BTreeMap::new();
    for table in &root.tables {
        for partition in &table.partitions {
            for part in &partition.parts {
                let part = repository.part(&context, &spec.label, part).unwrap();
                for file in part.tablets.iter().flat_map(|tablet| &tablet.files) {
                    let mut bytes = Vec::new();
                    for piece in &file.pieces {
                        let key = &part.objects[piece.object as usize].key;
                        let range = piece.offset..piece.offset + piece.len;
                        let mut take = |some: &[u8]| {
                            bytes.extend_from_slice(some);
                            Ok(())
                        };
                        repository
                            .read_object(&context, key, range, &mut take)
                            .unwrap();
                    }
                    all.insert(
                        format!("{}/{}/{}", table.name, partition.name, file.name),
                        bytes,
                    );
                }
            }
        }
    }
    all
}

/// Every visible file of a table of the storage in the same form.
pub(crate) fn read_table(world: &World, table: &str) -> BTreeMap<String, Vec<u8>> {
    let files = world.storage.read_back("d", table).unwrap();
    let named = |((partition, name), bytes)| (format!("{table}/{partition}/{name}"), bytes);
    files.into_iter().map(named).collect()
}
