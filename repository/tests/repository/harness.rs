//! A backup and a restore in a few lines each, as an engine would do them. Owns no check.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex};

use holdfast_broker::{
    Atomicity, Broker, Context, Description, ErrorClass, ListConsistency, MemoryBroker, ObjectInfo,
    ObjectName, Page, PageToken, PutMode, PutOutcome, Source,
};
use holdfast_repository::manifest::{Marker, Opaque, PartBuilder, PartitionRef, Root, TableRef};
use holdfast_repository::plan::{Content, FileNo, Limits, Plan, Planner};
use holdfast_repository::{
    Error, MarkerOutcome, MemberRead, MemberSource, Mode, ObjectKey, PieceEvent, Repository, Visit,
    WantedPiece, Writer,
};

pub(crate) const NAME: &str = "north";
pub(crate) const NOON: &str = "2026-11-22-12-00-00-000";
pub(crate) const LATER: &str = "2026-11-22-13-00-00-000";

/// Table, partition, bucket, name.
pub(crate) type Place = (String, String, u32, String);
pub(crate) type Data = BTreeMap<Place, Vec<u8>>;

pub(crate) fn data<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Data {
    let place = |name: &str| ("t".to_owned(), "p".to_owned(), 0, name.to_owned());
    let files = files.into_iter();
    files
        .map(|(name, bytes)| (place(name), bytes.to_vec()))
        .collect()
}

/// Bytes that look like nothing else.
pub(crate) fn noise(seed: u8, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    blake3::Hasher::new()
        .update(&[seed])
        .finalize_xof()
        .fill(&mut bytes);
    bytes
}

/// Small files for packs, one for an object of its own, an empty one; several tables, partitions
/// and buckets.
pub(crate) fn sample() -> Data {
    let mut sample = Data::new();
    let tablets = [
        ("a", "p1", 0),
        ("a", "p1", 1),
        ("a", "p2", 0),
        ("b", "b", 3),
    ];
    for ((table, partition, bucket), tablet) in tablets.into_iter().zip(0_u8..) {
        for number in 0..4_u8 {
            let seed = 4 * tablet + number;
            let place = (
                table.to_owned(),
                partition.to_owned(),
                bucket,
                format!("dir {number}/f-ä{seed}"),
            );
            sample.insert(place, noise(seed, 100 + 1000 * usize::from(number)));
        }
    }
    let place = |name: &str| ("b".to_owned(), "b".to_owned(), 4, name.to_owned());
    sample.insert(place("empty"), Vec::new());
    sample.insert(place("whole"), noise(200, (1 << 20) + 17));
    sample
}

pub(crate) fn writer(cluster: &str, job: u64) -> Writer {
    Writer::new(cluster, job).unwrap()
}

pub(crate) fn open(broker: impl Broker + 'static) -> Repository {
    let mode = Mode::ReadWrite {
        created_at_ms: 1_795_336_675_123,
    };
    Repository::open(&Context::new(), Arc::new(broker), NAME, mode).unwrap()
}

pub(crate) fn in_memory() -> (Repository, MemoryBroker) {
    let broker = MemoryBroker::new();
    (open(broker.clone()), broker)
}

/// Files by [`FileNo`].
pub(crate) struct Files(pub(crate) Vec<Vec<u8>>);

impl MemberSource for Files {
    fn read(
        &self,
        member: &MemberRead,
        visit: &mut Visit<'_>,
    ) -> Result<(), holdfast_broker::Error> {
        let file = &self.0[member.file.index()];
        let start = member.offset as usize;
        let Some(bytes) = file.get(start..start + member.len as usize) else {
            return Err(holdfast_broker::Error::new(
                ErrorClass::Corrupt,
                "the file is short",
            ));
        };
        bytes.chunks(64 << 10).try_for_each(visit)
    }
}

/// The state of a backup that has sent its objects.
pub(crate) struct Uploaded {
    pub(crate) plan: Plan,
    pub(crate) numbers: BTreeMap<Place, FileNo>,
    pub(crate) contents: BTreeMap<Place, Content>,
    pub(crate) created: Vec<ObjectKey>,
    pub(crate) sent: u64,
}

pub(crate) struct Job<'a> {
    pub(crate) repository: &'a Repository,
    pub(crate) writer: Writer,
    pub(crate) label: &'a str,
    pub(crate) timestamp: &'a str,
    pub(crate) limits: Limits,
}

impl<'a> Job<'a> {
    pub(crate) fn new(
        repository: &'a Repository,
        label: &'a str,
        timestamp: &'a str,
        number: u64,
    ) -> Self {
        Job {
            repository,
            writer: writer("east", number),
            label,
            timestamp,
            limits: Limits {
                pack_members: 6,
                ..Limits::default()
            },
        }
    }

    pub(crate) fn of(mut self, cluster: &str) -> Self {
        self.writer.cluster = cluster.to_owned();
        self
    }

    pub(crate) fn upload(&self, data: &Data) -> Result<Uploaded, Error> {
        let (ctx, repository) = (&Context::new(), self.repository);
        repository.begin(ctx, &self.writer)?;
        repository.claim(ctx, self.label, &self.writer, &|_| false)?;
        let contents: BTreeMap<_, _> = data
            .iter()
            .map(|(place, bytes)| (place.clone(), Content::of(bytes)))
            .collect();
        let presence = repository.presence(ctx)?;
        let wanted = |hash: &_| contents.values().any(|content| content.hash == *hash);
        let known = repository.known_members(ctx, &wanted, usize::MAX, &presence)?;
        let mut planner = Planner::new(&presence, known, self.limits)?;
        let mut files = Vec::new();
        let mut numbers = BTreeMap::new();
        for (place, content) in &contents {
            let number = planner.add(place.2 % 2, content)?;
            if number.index() == files.len() {
                files.push(data[place].clone());
            }
            numbers.insert(place.clone(), number);
        }
        let plan = planner.finish()?;
        let files = Files(files);
        let (mut created, mut sent) = (Vec::new(), 0);
        for object in &plan.objects {
            let put = repository.put_object(ctx, object, &files)?;
            sent += put.bytes;
            if put.outcome == PutOutcome::Created {
                created.push(object.key);
            }
        }
        Ok(Uploaded {
            plan,
            numbers,
            contents,
            created,
            sent,
        })
    }

    pub(crate) fn marker(&self, uploaded: &Uploaded) -> Result<Marker, Error> {
        let mut tables: BTreeMap<&str, BTreeMap<&str, PartBuilder<'_>>> = BTreeMap::new();
        let mut parts: BTreeMap<(&str, &str), Vec<_>> = BTreeMap::new();
        for (place, number) in &uploaded.numbers {
            let (table, partition, bucket, name) = place;
            let new = || PartBuilder::new(&uploaded.plan.table).with_max_files(5);
            let builder = tables
                .entry(table)
                .or_default()
                .entry(partition)
                .or_insert_with(new);
            let placement = &uploaded.plan.placements[number.index()];
            let full = builder.add(*bucket, name, &uploaded.contents[place], placement)?;
            parts.entry((table, partition)).or_default().extend(full);
        }
        let mut refs = Vec::new();
        for (table_name, partitions) in tables {
            let mut table = TableRef {
                name: table_name.to_owned(),
                schema: Opaque::default(),
                partitions: Vec::new(),
            };
            for (partition, builder) in partitions {
                let mut parts = parts.remove(&(table_name, partition)).unwrap_or_default();
                parts.extend(builder.finish()?);
                for part in &parts {
                    self.repository
                        .put_part(&Context::new(), self.label, part)?;
                }
                table.partitions.push(PartitionRef {
                    name: partition.to_owned(),
                    meta: Opaque(serde_json::json!({"kept": partition})),
                    version: 1,
                    parts: parts.iter().map(|part| part.reference).collect(),
                });
            }
            refs.push(table);
        }
        Marker::build(Root {
            format: 0,
            label: self.label.to_owned(),
            timestamp: self.timestamp.to_owned(),
            timestamp_ms: 1_795_348_800_000,
            cluster: self.writer.cluster.clone(),
            job: self.writer.job,
            database: "shop".to_owned(),
            meta: Opaque::default(),
            tables: refs,
            totals: Default::default(),
        })
    }

    pub(crate) fn commit(&self, uploaded: &Uploaded) -> Result<Marker, Error> {
        let (ctx, repository) = (&Context::new(), self.repository);
        let marker = self.marker(uploaded)?;
        let keys: Vec<_> = uploaded.plan.reused.iter().map(|entry| entry.key).collect();
        repository.settle_reused(ctx, &keys)?;
        let used = uploaded.plan.table.iter().map(|entry| &entry.key);
        // Whoever condemned them looks for others at work, finds this writer, and takes the list
        // back.
        while repository.condemned(ctx)?.first_of(used.clone()).is_some() {}
        let outcome = repository.put_marker(ctx, self.label, &marker)?;
        assert_eq!(outcome, MarkerOutcome::Ours);
        repository.end(ctx, &self.writer)?;
        Ok(marker)
    }

    pub(crate) fn run(&self, data: &Data) -> Uploaded {
        let uploaded = self.upload(data).unwrap();
        self.commit(&uploaded).unwrap();
        uploaded
    }
}

/// Every file of a snapshot, each byte proved.
pub(crate) fn restore(
    repository: &Repository,
    label: &str,
    timestamp: &str,
) -> Result<Data, Error> {
    let ctx = &Context::new();
    let mut data = Data::new();
    for table in &repository.marker(ctx, label, timestamp)?.tables {
        for partition in &table.partitions {
            for reference in &partition.parts {
                let part = repository.part(ctx, label, reference)?;
                for tablet in &part.tablets {
                    for file in &tablet.files {
                        let mut bytes = Vec::new();
                        for (hash, piece) in file.hashed_pieces() {
                            let key = part.objects[piece.object as usize].key;
                            let wanted = WantedPiece {
                                offset: piece.offset,
                                len: piece.len,
                                hash,
                            };
                            repository.read_pieces(ctx, &key, &[wanted], &mut |event| {
                                if let PieceEvent::Bytes { bytes: some, .. } = event {
                                    bytes.extend_from_slice(some);
                                }
                                Ok(())
                            })?;
                        }
                        let place = (
                            table.name.clone(),
                            partition.name.clone(),
                            tablet.bucket,
                            file.name.clone(),
                        );
                        assert!(data.insert(place, bytes).is_none());
                    }
                }
            }
        }
    }
    Ok(data)
}

/// The paths of all objects below the repository's folder.
pub(crate) fn paths(broker: &dyn Broker) -> Vec<String> {
    use holdfast_broker::BrokerExt;
    let prefix = format!("__holdfast_repository_{NAME}/");
    let listed = broker.list_all(&Context::new(), &prefix).unwrap();
    let paths = listed
        .iter()
        .filter_map(|info| info.name.as_str().strip_prefix(&prefix));
    paths.map(str::to_owned).collect()
}

pub(crate) fn object(path: &str) -> holdfast_broker::ObjectName {
    holdfast_broker::ObjectName::parse(format!("__holdfast_repository_{NAME}/{path}")).unwrap()
}

pub(crate) fn findings(repository: &Repository) -> Vec<holdfast_repository::Finding> {
    let mut findings = Vec::new();
    let report = repository.verify(&Context::new(), None, &mut |finding| findings.push(finding));
    assert_eq!(report.unwrap().findings, findings.len() as u64);
    findings
}

/// A broker with something that happens before each request.
pub(crate) struct Tapped {
    inner: Arc<dyn Broker>,
    before: Box<dyn Fn() + Send + Sync>,
    atomicity: Atomicity,
    consistency: ListConsistency,
}

impl Tapped {
    fn new(inner: impl Broker + 'static) -> Self {
        Tapped {
            inner: Arc::new(inner),
            before: Box::new(|| ()),
            atomicity: Atomicity::Atomic,
            consistency: ListConsistency::Strong,
        }
    }

    /// A remote whose listings may be late.
    pub(crate) fn late(inner: impl Broker + 'static) -> Self {
        Tapped {
            consistency: ListConsistency::Eventual,
            ..Tapped::new(inner)
        }
    }

    /// A remote on which a failed put may leave a part of the bytes visible.
    pub(crate) fn tearing(inner: impl Broker + 'static) -> Self {
        Tapped {
            atomicity: Atomicity::MayTear,
            ..Tapped::new(inner)
        }
    }

    fn pass(&self) -> &dyn Broker {
        (self.before)();
        self.inner.as_ref()
    }
}

impl Broker for Tapped {
    fn put(
        &self,
        ctx: &Context,
        name: &ObjectName,
        source: &dyn Source,
        mode: PutMode,
    ) -> Result<PutOutcome, holdfast_broker::Error> {
        self.pass().put(ctx, name, source, mode)
    }

    fn get_range(
        &self,
        ctx: &Context,
        name: &ObjectName,
        range: Range<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), holdfast_broker::Error> {
        self.pass().get_range(ctx, name, range, visit)
    }

    fn stat(
        &self,
        ctx: &Context,
        name: &ObjectName,
    ) -> Result<Option<ObjectInfo>, holdfast_broker::Error> {
        self.pass().stat(ctx, name)
    }

    fn list(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page, holdfast_broker::Error> {
        self.pass().list(ctx, prefix, after, limit)
    }

    fn delete(&self, ctx: &Context, name: &ObjectName) -> Result<(), holdfast_broker::Error> {
        self.pass().delete(ctx, name)
    }

    fn describe(&self) -> Description {
        Description {
            atomic_put: self.atomicity,
            list_consistency: self.consistency,
            ..self.inner.describe()
        }
    }
}

/// Lets requests of one thread through in counted portions, so that a test decides how two threads
/// interleave.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<GateState>, Condvar)>);

#[derive(Default)]
struct GateState {
    allowed: u64,
    waiting: bool,
    done: bool,
}

impl Gate {
    pub(crate) fn before(self, inner: impl Broker + 'static) -> Tapped {
        Tapped {
            before: Box::new(move || self.pass()),
            ..Tapped::new(inner)
        }
    }

    fn pass(&self) {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        while state.allowed == 0 {
            state.waiting = true;
            changed.notify_all();
            state = changed.wait(state).unwrap();
        }
        state.waiting = false;
        state.allowed -= 1;
    }

    /// Says that no request will come any more.
    pub(crate) fn done(&self) {
        self.0.0.lock().unwrap().done = true;
        self.0.1.notify_all();
    }

    /// Lets `count` requests through and waits for them; true where the thread then stands before
    /// a further one.
    pub(crate) fn grant(&self, count: u64) -> bool {
        let (state, changed) = &*self.0;
        let mut state = state.lock().unwrap();
        state.allowed = count;
        changed.notify_all();
        while !(state.done || state.allowed == 0 && state.waiting) {
            state = changed.wait(state).unwrap();
        }
        !state.done
    }
}
