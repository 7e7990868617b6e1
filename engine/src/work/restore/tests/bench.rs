//! A storage, a repository and the steps of a job, driven by hand as the dispatcher would.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_broker::{Calls, Context, Fault, FaultPlan, Figures, MemoryBroker, Record, Recorder};
use holdfast_repository::manifest::{
    EncodedPart, Marker, Opaque, PartBuilder, PartitionRef, Root, TableRef, Totals,
};
use holdfast_repository::plan::{
    Content, FileNo, KnownMembers, Limits as PackLimits, Plan, Planner,
};
use holdfast_repository::{MemberRead, MemberSource, Mode, Repository, Visit, Writer};
use holdfast_storage::model::{PinRequest, PinTable, PinnedPartition};
use holdfast_storage::{AllowLoad, DataFile, OpId, PinnedTable, Storage};
use serde::Serialize;

use crate::blobs::BrokerBlobs;
use crate::ids::{BlobHash, Epoch, JobId, RepositoryId, TaskId};
use crate::order::{Failure, JobSpec, Lane, Output, TaskOrder, Work};
use crate::spec::{Clean, Replication, RestoreJobSpec, Selection};
use crate::testing::MemoryStorage;
use crate::work::pool::Pool;
use crate::work::{Limits, ProgressCell, Repositories, Task, WorkEnv, run};

pub(super) const JOB: JobId = JobId(77);
const TIMESTAMP: &str = "2026-01-02-03-04-05-678";

pub(super) struct Bench {
    pub(super) storage: MemoryStorage,
    /// The job whose works run.
    pub(super) id: JobId,
    pub(super) env: WorkEnv,
    pub(super) faults: FaultPlan,
    pub(super) broker: MemoryBroker,
    pub(super) context: Context,
    repository: Repository,
    recorder: Recorder,
    blob_recorder: Recorder,
}

/// What the downloads of a job did together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Moved {
    pub(super) bytes: u64,
    pub(super) reused_bytes: u64,
    pub(super) objects: u64,
    pub(super) downloads: u32,
}

struct One(Repository);

impl Repositories for One {
    fn get(&self, _: &Context, _: RepositoryId) -> Result<Repository, Failure> {
        Ok(self.0.clone())
    }

    fn has_ended(&self, _: JobId) -> bool {
        false
    }
}

pub(super) fn job(label: &str) -> RestoreJobSpec {
    RestoreJobSpec {
        database: "db".into(),
        source_database: None,
        label: label.into(),
        repository: RepositoryId(1),
        repository_name: "repo".into(),
        timestamp: TIMESTAMP.into(),
        selection: Selection::All,
        allow_load: AllowLoad::No,
        replication: Replication::Automatic,
        clean: Clean::default(),
        existed: vec![],
        timeout_seconds: 86_400,
        cluster: "testcluster".into(),
    }
}

impl Bench {
    /// A bench whose restores go to `storage`.
    pub(super) fn new(storage: MemoryStorage) -> Self {
        let broker = MemoryBroker::new();
        let faults = FaultPlan::new(1);
        let record = Record::new(Fault::new(broker.clone(), faults.clone()), Calls::Counted);
        let recorder = record.recorder();
        let mode = Mode::ReadWrite { created_at_ms: 1 };
        let repository = Repository::open(&Context::new(), Arc::new(record), "repo", mode).unwrap();
        let blobs = Record::new(MemoryBroker::new(), Calls::Counted);
        let blob_recorder = blobs.recorder();
        let env = WorkEnv {
            storage: Arc::new(storage.clone()),
            blobs: Arc::new(BrokerBlobs::new(Arc::new(blobs))),
            repositories: Arc::new(One(repository.clone())),
            pool: Arc::new(Pool::threads(2).unwrap()),
            limits: Limits::default(),
            movers: crate::work::parallel::Movers::new(4),
        };
        let context = Context::new();
        Self {
            storage,
            id: JOB,
            env,
            faults,
            broker,
            context,
            repository,
            recorder,
            blob_recorder,
        }
    }

    pub(super) fn figures(&self) -> Figures {
        self.recorder.figures()
    }

    pub(super) fn requests(&self) -> u64 {
        self.figures().all_requests()
    }

    pub(super) fn blob_requests(&self) -> u64 {
        self.blob_recorder.figures().all_requests()
    }

    /// Writes a snapshot of all tables of a database, as a backup would.
    pub(super) fn back_up(&self, from: &dyn Storage, database: &str, label: &str) {
        self.back_up_as(from, database, label, |_| {});
    }

    /// The same, with the root changed by `change` before it is put.
    pub(super) fn back_up_as(
        &self,
        from: &dyn Storage,
        database: &str,
        label: &str,
        change: impl FnOnce(&mut Root),
    ) {
        let context = Context::new();
        let writer = Writer::new("east", 5).unwrap();
        self.repository.begin(&context, &writer).unwrap();
        self.repository
            .claim(&context, label, &writer, &|_| false)
            .unwrap();
        let op = OpId(900_000);
        let names = from
            .tables(database)
            .unwrap()
            .into_iter()
            .map(|table| table.name);
        let tables = names
            .map(|name| PinTable {
                name,
                partitions: None,
            })
            .collect();
        let pin = from
            .pin(
                op,
                &PinRequest {
                    database: database.into(),
                    tables,
                },
            )
            .unwrap();
        let presence = self.repository.presence(&context).unwrap();
        let known = KnownMembers::default();
        let mut planner = Planner::new(&presence, known, PackLimits::default()).unwrap();
        let mut members = Members::default();
        for table in &pin.tables {
            for partition in &table.partitions {
                members.take(from, op, &mut planner, partition);
            }
        }
        let plan = planner.finish().unwrap();
        for object in &plan.objects {
            self.repository
                .put_object(&context, object, &members)
                .unwrap();
        }
        let mut root = Root {
            format: 1,
            label: label.into(),
            timestamp: TIMESTAMP.into(),
            timestamp_ms: 1,
            cluster: "east".into(),
            job: 5,
            database: database.into(),
            meta: Opaque::default(),
            tables: pin
                .tables
                .iter()
                .map(|table| self.put_table(label, &plan, &members, table))
                .collect(),
            totals: Totals::default(),
        };
        change(&mut root);
        let marker = Marker::build(root).unwrap();
        self.repository
            .put_marker(&context, label, &marker)
            .unwrap();
        self.repository.end(&context, &writer).unwrap();
        from.release(op).unwrap();
    }

    fn put_table(
        &self,
        label: &str,
        plan: &Plan,
        members: &Members,
        table: &PinnedTable,
    ) -> TableRef {
        let partition = |partition: &PinnedPartition| {
            let parts = members.parts(plan, partition);
            for part in &parts {
                self.repository
                    .put_part(&Context::new(), label, part)
                    .unwrap();
            }
            PartitionRef {
                name: partition.meta.name.clone(),
                meta: opaque(&partition.meta),
                version: partition.version,
                parts: parts.iter().map(|part| part.reference).collect(),
            }
        };
        TableRef {
            name: table.name.clone(),
            schema: opaque(&table.schema),
            partitions: table.partitions.iter().map(partition).collect(),
        }
    }

    /// Runs the first attempt of the single task of `work`.
    pub(super) fn run(
        &self,
        job: &RestoreJobSpec,
        work: Work,
        plan: Option<BlobHash>,
    ) -> Result<Output, Failure> {
        self.run_attempt(job, work, plan, 0, 1, Epoch(1))
    }

    pub(super) fn run_attempt(
        &self,
        job: &RestoreJobSpec,
        work: Work,
        plan: Option<BlobHash>,
        index: u32,
        attempt: u32,
        epoch: Epoch,
    ) -> Result<Output, Failure> {
        let order = TaskOrder {
            job: self.id,
            task: TaskId(1000 + u64::from(index)),
            attempt,
            epoch,
            work,
            index,
            backend: None,
            excluded: Vec::new(),
            plan,
            job_spec: JobSpec::Restore(Arc::new(job.clone())),
        };
        let (env, context) = (&self.env, &self.context);
        let progress = ProgressCell::default();
        let output = run(&Task {
            env,
            order: &order,
            context,
            progress: &progress,
        })?;
        if work == Work::Download {
            let (done, total, _) = progress.read();
            assert_eq!(done, total, "each file counted once");
        }
        Ok(output)
    }

    /// Runs all tasks of one phase.
    pub(super) fn phase(
        &self,
        job: &RestoreJobSpec,
        work: Work,
        plan: BlobHash,
        lanes: &[Lane],
        attempt: u32,
        epoch: Epoch,
    ) -> Result<Moved, Failure> {
        let mut all = Moved::default();
        for index in 0..lanes.iter().map(|lane| lane.tasks).sum() {
            let output = self.run_attempt(job, work, Some(plan), index, attempt, epoch)?;
            if let Output::Moved {
                bytes,
                objects,
                reused_bytes,
            } = output
            {
                all.bytes += bytes;
                all.objects += objects;
                all.reused_bytes += reused_bytes;
                all.downloads += 1;
            }
        }
        Ok(all)
    }

    pub(super) fn prepare_meta(&self, job: &RestoreJobSpec) -> Result<(Output, BlobHash), Failure> {
        let output = self.run(job, Work::PrepareMeta, None)?;
        let Output::MetaPrepared { plan, .. } = &output else {
            panic!("{output:?}")
        };
        let plan = *plan;
        Ok((output, plan))
    }

    pub(super) fn plan_download(
        &self,
        job: &RestoreJobSpec,
        plan: BlobHash,
    ) -> Result<(Vec<Lane>, BlobHash), Failure> {
        match self.run(job, Work::PlanDownload, Some(plan))? {
            Output::DownloadPlanned { plan, lanes, .. } => Ok((lanes, plan)),
            other => panic!("{other:?}"),
        }
    }

    /// Everything before the downloads; gives their plan and lanes.
    pub(super) fn up_to_download(
        &self,
        job: &RestoreJobSpec,
    ) -> Result<(Vec<Lane>, BlobHash), Failure> {
        let (output, plan) = self.prepare_meta(job)?;
        let Output::MetaPrepared { lanes, .. } = output else {
            panic!("{output:?}")
        };
        self.phase(job, Work::Stage, plan, &lanes, 1, Epoch(1))?;
        self.plan_download(job, plan)
    }

    pub(super) fn downloads(
        &self,
        job: &RestoreJobSpec,
        (lanes, plan): &(Vec<Lane>, BlobHash),
        attempt: u32,
        epoch: Epoch,
    ) -> Result<Moved, Failure> {
        self.phase(job, Work::Download, *plan, lanes, attempt, epoch)
    }

    /// Everything before the point of no return.
    pub(super) fn up_to_commit(&self, job: &RestoreJobSpec) -> Result<Moved, Failure> {
        let plans = self.up_to_download(job)?;
        let moved = self.downloads(job, &plans, 1, Epoch(1))?;
        self.run(job, Work::Prepare, None)?;
        Ok(moved)
    }

    /// A whole restore.
    pub(super) fn restore(&self, job: &RestoreJobSpec) -> Result<Moved, Failure> {
        let moved = self.up_to_commit(job)?;
        self.run(job, Work::Commit, None)?;
        self.run(job, Work::Forget, None)?;
        Ok(moved)
    }
}

/// All bytes of a file.
pub(super) fn read_file(file: &dyn DataFile) -> Vec<u8> {
    let mut bytes = vec![0; file.len() as usize];
    let mut at = 0;
    while at < bytes.len() {
        at += file.read_at(at as u64, &mut bytes[at..]).unwrap();
    }
    bytes
}

fn opaque<T: Serialize>(value: &T) -> Opaque {
    Opaque(serde_json::to_value(value).unwrap())
}

/// All files of a small backup, in memory.
#[derive(Default)]
struct Members {
    bytes: BTreeMap<FileNo, Vec<u8>>,
    files: BTreeMap<String, Vec<(u32, String, Content, FileNo)>>,
}

impl Members {
    fn take(
        &mut self,
        from: &dyn Storage,
        op: OpId,
        planner: &mut Planner<'_>,
        partition: &PinnedPartition,
    ) {
        for tablet in &partition.tablets {
            let backend = tablet.replicas[0];
            from.link(op, backend, &[tablet.id]).unwrap();
            for entry in from.pinned_files(op, tablet.id).unwrap() {
                let file = from.open(op, backend, tablet.id, &entry.name).unwrap();
                let bytes = read_file(file.as_ref());
                let content = Content::of(&bytes);
                let number = planner.add(1, &content).unwrap();
                self.bytes.insert(number, bytes);
                let files = self.files.entry(partition.meta.name.clone()).or_default();
                files.push((tablet.bucket, entry.name, content, number));
            }
        }
    }

    fn parts(&self, plan: &Plan, partition: &PinnedPartition) -> Vec<EncodedPart> {
        // Few files in each part, so that tablets go on over several.
        let mut builder = PartBuilder::new(&plan.table).with_max_files(4);
        let mut parts = Vec::new();
        for (bucket, name, content, number) in
            self.files.get(&partition.meta.name).into_iter().flatten()
        {
            let placement = &plan.placements[number.index()];
            parts.extend(builder.add(*bucket, name, content, placement).unwrap());
        }
        parts.extend(builder.finish().unwrap());
        parts
    }
}

impl MemberSource for Members {
    fn read(
        &self,
        member: &MemberRead,
        visit: &mut Visit<'_>,
    ) -> Result<(), holdfast_broker::Error> {
        let start = member.offset as usize;
        visit(&self.bytes[&member.file][start..start + member.len as usize])
    }
}
