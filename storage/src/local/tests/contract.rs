//! [`LocalStorage`] under the public suite, and the suite under storages that break a rule.

use super::*;
use crate::conformance::{self, Files};
use crate::model::{
    CatalogPosition, FileEntry, Pin, RestoreSpec, TableInfo, TabletId, Targets, Token,
};
use crate::{BackendInfo, DataFile, Reuse, StagedFile, Staging};

/// [`LocalStorage`] under the public suite.
struct LocalHarness {
    dir: tempfile::TempDir,
    open: Mutex<Option<Arc<LocalStorage>>>,
    lie: Option<Lie>,
}

impl LocalHarness {
    fn new(lie: Option<Lie>) -> Self {
        // Broken storages need no real disk: syncs in memory cost nothing.
        let memory = Path::new("/dev/shm");
        let dir = match lie {
            Some(_) if memory.is_dir() => tempfile::tempdir_in(memory),
            _ => tempfile::tempdir(),
        };
        Self {
            dir: dir.unwrap(),
            open: Mutex::default(),
            lie,
        }
    }

    fn current(&self) -> Arc<LocalStorage> {
        Arc::clone(self.open.lock().as_ref().unwrap())
    }
}

impl conformance::Harness for LocalHarness {
    fn open(&self) -> Result<Arc<dyn Storage>, Error> {
        let mut open = self.open.lock();
        *open = None;
        let storage = LocalStorage::open(self.dir.path().join("s"), Options::default())?;
        let storage = Arc::new(storage);
        *open = Some(Arc::clone(&storage));
        match self.lie {
            Some(lie) => Ok(Arc::new(Liar {
                inner: storage,
                lie,
            })),
            None => Ok(storage),
        }
    }

    fn load(&self, db: &str, table: &str, partition: &str, files: &Files) -> Result<(), Error> {
        let source = tempfile::tempdir_in(self.dir.path()).unwrap();
        for (name, bytes) in files {
            let path = source.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        let mut request = LoadRequest::new(db, table, vec![source.path().to_owned()]);
        request.partition = Some(partition.to_owned());
        (request.buckets, request.replication_num) = (2, 2);
        self.current().load(&request).map(|_| ())
    }

    fn read(&self, db: &str, table: &str) -> Result<BTreeMap<String, Files>, Error> {
        let storage = self.current();
        let target = tempfile::tempdir_in(self.dir.path()).unwrap();
        storage.export(&ExportRequest::new(db, table, target.path().join("out")))?;
        let all = read_tree(&target.path().join("out"));
        let mut out = BTreeMap::new();
        for partition in storage.table_details(db, table)?.partitions {
            let prefix = format!("{}/", partition.meta.name);
            let own = all.iter().filter_map(|(name, bytes)| {
                Some((name.strip_prefix(&prefix)?.to_owned(), bytes.clone()))
            });
            out.insert(partition.meta.name.clone(), own.collect());
        }
        Ok(out)
    }

    fn drop_table(&self, db: &str, table: &str) -> Result<(), Error> {
        self.current().drop_table(db, table)
    }
}

#[test]
fn the_contract_is_kept() {
    let harness = LocalHarness::new(None);
    conformance::run(&harness).unwrap();
}

/// One way to break the contract.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Lie {
    PinIsTakenAnew,
    ReleaseDoesNothing,
    OpenCutsTheFile,
    AnyContentCounts,
    TokensAreIgnored,
    AbortDoesNothing,
    PrepareDoesNothing,
    CommitRefusesToRepeat,
    RetainOnlyDoesNothing,
    AllLoadsAreAllowed,
    DropsAreForgotten,
    NamesAreNotChecked,
}

const LIES: [Lie; 12] = [
    Lie::PinIsTakenAnew,
    Lie::ReleaseDoesNothing,
    Lie::OpenCutsTheFile,
    Lie::AnyContentCounts,
    Lie::TokensAreIgnored,
    Lie::AbortDoesNothing,
    Lie::PrepareDoesNothing,
    Lie::CommitRefusesToRepeat,
    Lie::RetainOnlyDoesNothing,
    Lie::AllLoadsAreAllowed,
    Lie::DropsAreForgotten,
    Lie::NamesAreNotChecked,
];

#[test]
fn the_suite_finds_every_broken_rule() {
    // Beside each other: they mostly wait for syncs.
    std::thread::scope(|scope| {
        for lie in LIES {
            scope.spawn(move || {
                let violation = conformance::run(&LocalHarness::new(Some(lie)));
                assert!(violation.is_err(), "{lie:?} was not found");
            });
        }
    });
}

struct Liar {
    inner: Arc<LocalStorage>,
    lie: Lie,
}

struct Cut(Arc<dyn DataFile>);

impl DataFile for Cut {
    fn len(&self) -> u64 {
        self.0.len().saturating_sub(1)
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        self.0.read_at(offset, buffer)
    }
}

struct AnyContent(Box<dyn StagedFile>);

impl StagedFile for AnyContent {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.0.write(bytes)
    }
    fn finish(self: Box<Self>) -> Result<(), Error> {
        let _ = self.0.finish();
        Ok(())
    }
}

impl Liar {
    fn token(&self, token: Token) -> Token {
        match self.lie {
            Lie::TokensAreIgnored => Token {
                epoch: 1,
                attempt: 1,
            },
            _ => token,
        }
    }
}

impl Storage for Liar {
    fn position(&self) -> CatalogPosition {
        self.inner.position()
    }
    fn backends(&self) -> Result<Vec<BackendInfo>, Error> {
        self.inner.backends()
    }
    fn databases(&self) -> Result<Vec<String>, Error> {
        self.inner.databases()
    }
    fn tables(&self, database: &str) -> Result<Vec<TableInfo>, Error> {
        self.inner.tables(database)
    }
    fn pin(&self, op: OpId, request: &PinRequest) -> Result<Pin, Error> {
        if self.lie == Lie::PinIsTakenAnew {
            self.inner.release(op)?;
        }
        self.inner.pin(op, request)
    }
    fn pinned_files(&self, op: OpId, tablet: TabletId) -> Result<Vec<FileEntry>, Error> {
        self.inner.pinned_files(op, tablet)
    }
    fn link(&self, op: OpId, backend: BackendId, tablets: &[TabletId]) -> Result<(), Error> {
        self.inner.link(op, backend, tablets)
    }
    fn open(
        &self,
        op: OpId,
        backend: BackendId,
        tablet: TabletId,
        name: &str,
    ) -> Result<Arc<dyn DataFile>, Error> {
        let file = self.inner.open(op, backend, tablet, name)?;
        match self.lie {
            Lie::OpenCutsTheFile => Ok(Arc::new(Cut(file))),
            _ => Ok(file),
        }
    }
    fn release(&self, op: OpId) -> Result<(), Error> {
        match self.lie {
            Lie::ReleaseDoesNothing => Ok(()),
            _ => self.inner.release(op),
        }
    }
    fn create_targets(&self, op: OpId, spec: &RestoreSpec) -> Result<Targets, Error> {
        let mut spec = spec.clone();
        match self.lie {
            Lie::AllLoadsAreAllowed => {
                spec.allow_load = crate::AllowLoad::UntouchedPartitions;
            }
            Lie::DropsAreForgotten => spec.drop_tables.clear(),
            _ => {}
        }
        self.inner.create_targets(op, &spec)
    }
    fn stage(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        files: &[FileEntry],
    ) -> Result<(), Error> {
        let done = self
            .inner
            .stage(op, self.token(token), backend, tablet, files);
        match done {
            Err(e) if e.kind() == ErrorKind::Invalid && self.lie == Lie::NamesAreNotChecked => {
                Ok(())
            }
            other => other,
        }
    }
    fn reuse(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        entry: &FileEntry,
    ) -> Result<Reuse, Error> {
        self.inner
            .reuse(op, self.token(token), backend, tablet, entry)
    }
    fn stage_file(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablet: TabletId,
        entry: &FileEntry,
    ) -> Result<Staging, Error> {
        match self
            .inner
            .stage_file(op, self.token(token), backend, tablet, entry)?
        {
            Staging::Write(file) if self.lie == Lie::AnyContentCounts => {
                Ok(Staging::Write(Box::new(AnyContent(file))))
            }
            other => Ok(other),
        }
    }
    fn settle(
        &self,
        op: OpId,
        token: Token,
        backend: BackendId,
        tablets: &[TabletId],
    ) -> Result<(), Error> {
        self.inner.settle(op, self.token(token), backend, tablets)
    }
    fn prepare(&self, op: OpId) -> Result<(), Error> {
        match self.lie {
            Lie::PrepareDoesNothing => Ok(()),
            _ => self.inner.prepare(op),
        }
    }
    fn commit(&self, op: OpId) -> Result<(), Error> {
        let before = self.inner.position();
        self.inner.commit(op)?;
        match self.lie {
            Lie::CommitRefusesToRepeat if before == self.inner.position() => {
                Err(Error::new(ErrorKind::NotFound, "committed already"))
            }
            _ => Ok(()),
        }
    }
    fn forget(&self, op: OpId) -> Result<(), Error> {
        self.inner.forget(op)
    }
    fn abort(&self, op: OpId) -> Result<(), Error> {
        match self.lie {
            Lie::AbortDoesNothing => Ok(()),
            _ => self.inner.abort(op),
        }
    }
    fn retain_only(&self, live: &[OpId]) -> Result<(), Error> {
        match self.lie {
            Lie::RetainOnlyDoesNothing => Ok(()),
            _ => self.inner.retain_only(live),
        }
    }
}
