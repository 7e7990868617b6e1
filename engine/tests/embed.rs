//! The example's node under the storage contract's suite, and killed at every call that the engine
//! makes.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are outside the deterministic core"
)]
#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stdout)]

#[path = "../examples/embed/mod.rs"]
mod pocket;

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use holdfast_broker::{Broker, LocalBroker};
use holdfast_engine::{
    BackupRequest, Clean, Engine, JobKind, JobView, Parts, Replication, RepositoryAccess,
    RepositoryRequest, RestoreRequest, Selection,
};
use holdfast_journal::FileJournal;
use holdfast_storage::conformance::{self, Files, Harness};
use holdfast_storage::model::{Make, RestorePartition, RestoreTable};
use holdfast_storage::{
    AllowLoad, BackendId, BackendInfo, CatalogPosition, DataFile, Error, ErrorKind, FileEntry,
    OpId, Pin, PinRequest, RestoreSpec, Reuse, Staging, Storage, TableInfo, TabletId, Targets,
    Token,
};
use parking_lot::Mutex;
use pocket::{Form, Pocket, Rows};

/// Held by every test: a process that is being started holds a copy of all open files for a moment,
/// and with them the locks of folders that another test may have closed meanwhile.
static ALONE: Mutex<()> = Mutex::new(());

/// The suite's users: a file that they load is a row whose key is the file's name.
struct Users {
    dir: PathBuf,
    open: Mutex<Option<Arc<Pocket>>>,
}

impl Users {
    fn node(&self) -> Arc<Pocket> {
        Arc::clone(self.open.lock().as_ref().unwrap())
    }
}

impl Harness for Users {
    fn open(&self) -> Result<Arc<dyn Storage>, Error> {
        let mut open = self.open.lock();
        // The row store is locked by whoever has it open.
        *open = None;
        let node = Arc::new(Pocket::open(&self.dir)?);
        *open = Some(Arc::clone(&node));
        Ok(node)
    }

    fn load(
        &self,
        database: &str,
        table: &str,
        partition: &str,
        files: &Files,
    ) -> Result<(), Error> {
        match self.node().create_table(database, table, Form::Loose) {
            Err(e) if e.kind() != ErrorKind::Exists => return Err(e),
            _ => {}
        }
        let rows = files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()));
        self.node().insert(database, table, partition, rows)
    }

    fn read(&self, database: &str, table: &str) -> Result<BTreeMap<String, Files>, Error> {
        self.node().scan(database, table)
    }

    fn drop_table(&self, database: &str, table: &str) -> Result<(), Error> {
        self.node().drop_table(database, table)
    }
}

#[test]
fn keeps_every_rule_of_the_contract() {
    let _alone = ALONE.lock();
    let dir = tempfile::tempdir().unwrap();
    let users = Users {
        dir: dir.path().join("node"),
        open: Mutex::new(None),
    };
    if let Err(violation) = conformance::run(&users) {
        panic!("{violation}");
    }
}

#[test]
fn a_pin_is_one_moment_over_all_tables() {
    let _alone = ALONE.lock();
    let dir = tempfile::tempdir().unwrap();
    let node = Pocket::open(dir.path()).unwrap();
    for table in ["a", "b"] {
        node.create_table("db", table, Form::Packed).unwrap();
        node.insert("db", table, "p", [("n", b"000000".as_slice())])
            .unwrap();
    }
    let tables = ["a", "b"].map(|name| holdfast_storage::model::PinTable {
        name: name.to_owned(),
        partitions: None,
    });
    let request = PinRequest {
        database: "db".to_owned(),
        tables: tables.to_vec(),
    };
    // A writer that always changes `a` before `b`: at one moment `b` is never ahead.
    std::thread::scope(|scope| {
        let writer = scope.spawn(|| {
            for n in 1..60 {
                for table in ["a", "b"] {
                    let value = format!("{n:06}");
                    node.insert("db", table, "p", [("n", value.as_bytes())])
                        .unwrap();
                }
            }
        });
        for op in 1..20 {
            let pin = node.pin(OpId(op), &request).unwrap();
            let [a, b] = [0, 1].map(|at| {
                let tablet = &pin.tables[at].partitions[0].tablets[0];
                let entry = &node.pinned_files(OpId(op), tablet.id).unwrap()[0];
                let file = node
                    .open(OpId(op), tablet.replicas[0], tablet.id, &entry.name)
                    .unwrap();
                let mut bytes = Vec::new();
                file.visit(0..file.len(), &mut |piece| {
                    bytes.extend_from_slice(piece);
                    ControlFlow::Continue(())
                })
                .unwrap();
                String::from_utf8(bytes[bytes.len() - 6..].to_vec())
                    .unwrap()
                    .parse::<u32>()
                    .unwrap()
            });
            assert!(a == b || a == b + 1, "a is {a}, b is {b}");
        }
        writer.join().unwrap();
    });
}

#[test]
fn what_is_no_dump_is_refused_before_it_is_seen() {
    let _alone = ALONE.lock();
    let dir = tempfile::tempdir().unwrap();
    let node = Pocket::open(dir.path()).unwrap();
    node.create_table("db", "a", Form::Packed).unwrap();
    node.insert("db", "a", "p", [("k", b"v".as_slice())])
        .unwrap();
    let before = node.scan("db", "a").unwrap();
    let info = node.tables("db").unwrap().remove(0);
    let partition = RestorePartition {
        meta: info.partitions[0].meta.clone(),
        partition: Make::Overwrite,
    };
    let spec = RestoreSpec {
        database: "db".to_owned(),
        tables: vec![RestoreTable {
            name: "a".to_owned(),
            schema: info.schema,
            table: Make::Overwrite,
            partitions: vec![partition],
        }],
        allow_load: AllowLoad::No,
        drop_tables: Vec::new(),
        drop_partitions: Vec::new(),
    };
    let hostile: [&[u8]; 6] = [
        b"",
        b"rows of another kind",
        b"pocket 1\x01\0\0",
        b"pocket 1\xff\xff\xff\xffk",
        b"pocket 1\x01\0\0\0\xff\0\0\0\0",
        b"pocket 1\x01\0\0\0k\0\0\0\0\x01\0\0\0k\0\0\0\0",
    ];
    for (op, bytes) in (1..).map(OpId).zip(hostile) {
        let target = node.create_targets(op, &spec).unwrap();
        let tablet = &target.tables[0].partitions[0].tablets[0];
        let (token, backend) = (
            Token {
                epoch: 1,
                attempt: 1,
            },
            tablet.replicas[0],
        );
        let entry = FileEntry {
            name: "rows-000000".to_owned(),
            len: bytes.len() as u64,
            hash: Some(holdfast_storage::FileHash::of(bytes)),
            segments: Vec::new(),
        };
        let list = std::slice::from_ref(&entry);
        node.stage(op, token, backend, tablet.id, list).unwrap();
        let staging = node
            .stage_file(op, token, backend, tablet.id, &entry)
            .unwrap();
        let Staging::Write(mut file) = staging else {
            panic!("a file counts that nobody wrote");
        };
        file.write(bytes).unwrap();
        file.finish().unwrap();
        let refusal = node.prepare(op).unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::Invalid, "{bytes:?}: {refusal}");
        assert_eq!(node.scan("db", "a").unwrap(), before);
        node.abort(op).unwrap();
    }
    node.insert("db", "a", "p", [("k", b"w".as_slice())])
        .unwrap();
}

const PATIENCE: Duration = Duration::from_secs(60);

/// What users see of the whole shop; `None` for a table that is absent or not finished.
type Shop = [Option<BTreeMap<String, Rows>>; 2];

fn shop(node: &Pocket) -> Shop {
    ["orders", "letters"].map(|table| match node.scan("shop", table) {
        Ok(rows) => Some(rows),
        Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::Busy) => None,
        Err(e) => panic!("{e}"),
    })
}

fn fill(node: &Pocket) {
    node.create_table("shop", "orders", Form::Packed).unwrap();
    node.create_table("shop", "letters", Form::Loose).unwrap();
    for (table, partition) in [("orders", "2024"), ("orders", "2025"), ("letters", "all")] {
        let rows: Vec<_> = (0..12)
            .map(|n| {
                (
                    format!("{n:04}"),
                    format!("{partition} {n} ").repeat(n * 40),
                )
            })
            .collect();
        let rows = rows
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_bytes()));
        node.insert("shop", table, partition, rows).unwrap();
    }
}

fn open_engine(home: &Path, tables: Arc<dyn Storage>) -> Engine {
    // Queries by job are not asked for here, and its index takes the longest to open.
    let options = holdfast_journal::Options {
        index: holdfast_journal::Index::None,
        ..Default::default()
    };
    let journal = FileJournal::open(home.join("journal"), options).unwrap().0;
    let jobs = home.join("jobs");
    std::fs::create_dir_all(&jobs).unwrap();
    let brokers = |location: &str| -> Result<Arc<dyn Broker>, String> {
        Ok(Arc::new(
            LocalBroker::open(Path::new(location)).map_err(|e| e.to_string())?,
        ))
    };
    let work = Arc::new(LocalBroker::open(&jobs).unwrap());
    Engine::open(Parts::new(
        Arc::new(journal),
        tables,
        work,
        Arc::new(brokers),
    ))
    .unwrap()
}

fn begin(engine: &Engine, kind: JobKind) {
    match kind {
        JobKind::Backup => {
            let request = BackupRequest {
                database: "shop".to_owned(),
                label: "monday".to_owned(),
                repository: "attic".to_owned(),
                selection: Selection::All,
                timeout_seconds: None,
            };
            engine.backup(&request).unwrap();
        }
        JobKind::Restore => {
            let done = engine.views().jobs_of(JobKind::Backup, None);
            let Some(JobView::Backup(backup)) = done.last().map(|view| view.as_ref()) else {
                panic!("no backup to restore from");
            };
            let request = RestoreRequest {
                database: "shop".to_owned(),
                source_database: None,
                label: "monday".to_owned(),
                repository: "attic".to_owned(),
                timestamp: backup.timestamp.clone(),
                selection: Selection::All,
                allow_load: AllowLoad::No,
                replication: Replication::Automatic,
                clean: Clean::default(),
                timeout_seconds: None,
            };
            engine.restore(&request).unwrap();
        }
    }
}

/// The end of the only job of its kind.
fn end(engine: &Engine, kind: JobKind) {
    let jobs = engine.views().jobs_of(kind, None);
    assert_eq!(jobs.len(), 1, "{kind:?} jobs in the journal");
    let view = engine.wait(jobs[0].common().job, PATIENCE).unwrap();
    assert!(
        view.is_finished(),
        "{:?} {:?}",
        view.state_name(),
        view.common().status
    );
}

/// A node in `dir` with a repository and a full shop.
fn found(dir: &Path) -> (Arc<Pocket>, Engine) {
    let node = Arc::new(Pocket::open(&dir.join("node")).unwrap());
    fill(&node);
    let engine = open_engine(&dir.join("node"), Arc::clone(&node) as _);
    std::fs::create_dir_all(dir.join("remote")).unwrap();
    let request = RepositoryRequest {
        name: "attic".to_owned(),
        broker: None,
        location: dir.join("remote").display().to_string(),
        access: RepositoryAccess::ReadWrite,
        properties: BTreeMap::new(),
    };
    engine.create_repository(&request).unwrap();
    (node, engine)
}

/// Closes both; the folder is free when this returns.
fn close(engine: Engine, node: Arc<Pocket>) {
    drop(engine);
    for _ in 0..500 {
        // A worker of the engine may still be on its way out.
        if Arc::strong_count(&node) == 1 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!("a closed engine still holds its storage");
}

/// A storage that tells when the engine comes to a given point, and stays there if it is told so.
struct Halting {
    inner: Arc<Pocket>,
    point: String,
}

impl Halting {
    fn pass(&self, when: &str, call: &str) {
        if self.point == format!("{when} {call}") {
            println!("\nHALT");
            std::io::stdout().flush().unwrap();
            if when != "during" {
                std::thread::sleep(PATIENCE);
            }
        }
    }
}

macro_rules! forward {
    ($($name:ident($($arg:ident: $type:ty),*) -> $out:ty;)*) => {
        $(fn $name(&self, $($arg: $type),*) -> $out {
            self.pass("before", stringify!($name));
            self.pass("during", stringify!($name));
            let out = self.inner.$name($($arg),*);
            self.pass("after", stringify!($name));
            out
        })*
    };
}

impl Storage for Halting {
    forward! {
        position() -> CatalogPosition;
        backends() -> Result<Vec<BackendInfo>, Error>;
        databases() -> Result<Vec<String>, Error>;
        tables(database: &str) -> Result<Vec<TableInfo>, Error>;
        pin(op: OpId, request: &PinRequest) -> Result<Pin, Error>;
        pinned_files(op: OpId, tablet: TabletId) -> Result<Vec<FileEntry>, Error>;
        link(op: OpId, backend: BackendId, tablets: &[TabletId]) -> Result<(), Error>;
        open(op: OpId, backend: BackendId, tablet: TabletId, name: &str)
            -> Result<Arc<dyn DataFile>, Error>;
        release(op: OpId) -> Result<(), Error>;
        create_targets(op: OpId, spec: &RestoreSpec) -> Result<Targets, Error>;
        stage(op: OpId, token: Token, backend: BackendId, tablet: TabletId, files: &[FileEntry])
            -> Result<(), Error>;
        reuse(op: OpId, token: Token, backend: BackendId, tablet: TabletId, entry: &FileEntry)
            -> Result<Reuse, Error>;
        stage_file(op: OpId, token: Token, backend: BackendId, tablet: TabletId, entry: &FileEntry)
            -> Result<Staging, Error>;
        settle(op: OpId, token: Token, backend: BackendId, tablets: &[TabletId])
            -> Result<(), Error>;
        prepare(op: OpId) -> Result<(), Error>;
        commit(op: OpId) -> Result<(), Error>;
        forget(op: OpId) -> Result<(), Error>;
        abort(op: OpId) -> Result<(), Error>;
        retain_only(live: &[OpId]) -> Result<(), Error>;
    }
}

#[test]
#[ignore = "a process of its own for the tests that kill it"]
fn child() {
    let (Ok(home), Ok(point), Ok(kind)) = (
        std::env::var("POCKET_HOME"),
        std::env::var("POCKET_POINT"),
        std::env::var("POCKET_JOB"),
    ) else {
        return;
    };
    let kind = if kind == "backup" {
        JobKind::Backup
    } else {
        JobKind::Restore
    };
    let home = PathBuf::from(home);
    let inner = Arc::new(Pocket::open(&home).unwrap());
    let engine = open_engine(&home, Arc::new(Halting { inner, point }));
    begin(&engine, kind);
    end(&engine, kind);
    // What follows the job's end is to be killed too.
    std::thread::sleep(PATIENCE);
}

/// Runs a job in a process of its own and kills it where it tells that it has come to `point`.
fn run_and_kill(home: &Path, kind: JobKind, point: &str, after: Duration) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--ignored", "--exact", "child", "--nocapture"])
        .env("POCKET_HOME", home)
        .env("POCKET_POINT", point)
        .env(
            "POCKET_JOB",
            if kind == JobKind::Backup {
                "backup"
            } else {
                "restore"
            },
        )
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let came = lines.map_while(Result::ok).any(|line| line == "HALT");
    std::thread::sleep(after);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(came, "the job never came to '{point}'");
}

fn points(calls: &[&str], moment: &str) -> Vec<(String, Duration)> {
    let halts = calls.iter().map(|call| format!("{moment} {call}"));
    halts.map(|halt| (halt, Duration::ZERO)).collect()
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let target = to.join(path.file_name().unwrap());
        if path.is_dir() {
            copy(&path, &target);
        } else {
            std::fs::copy(&path, &target).unwrap();
        }
    }
}

/// The engine lets go of what a job held right after the job's end.
fn assert_emptied(dir: &Path, point: &str) {
    for _ in 0..500 {
        if std::fs::read_dir(dir).unwrap().count() == 0 {
            return;
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    panic!(
        "'{}' still holds something after a kill '{point}'",
        dir.display()
    );
}

#[test]
fn a_backup_killed_anywhere_is_finished_by_the_next_opening() {
    let mut points = points(&["pin", "pinned_files", "link", "open", "release"], "after");
    points.extend(self::points(&["pin", "release"], "before"));
    points.extend([1, 4].map(|ms| ("during pin".to_owned(), Duration::from_millis(ms))));
    for (point, after) in points {
        let _alone = ALONE.lock();
        let dir = tempfile::tempdir().unwrap();
        let (node, engine) = found(dir.path());
        let before = shop(&node);
        close(engine, node);
        let home = dir.path().join("node");
        run_and_kill(&home, JobKind::Backup, &point, after);

        let node = Arc::new(Pocket::open(&home).unwrap());
        let engine = open_engine(&home, Arc::clone(&node) as _);
        end(&engine, JobKind::Backup);
        assert_emptied(&home.join("pins"), &point);
        node.drop_table("shop", "orders").unwrap();
        node.insert("shop", "letters", "all", [("0001", b"spoilt".as_slice())])
            .unwrap();
        begin(&engine, JobKind::Restore);
        end(&engine, JobKind::Restore);
        assert!(shop(&node) == before, "other rows after a kill '{point}'");
    }
}

#[test]
fn a_restore_killed_anywhere_leaves_all_old_or_all_new_and_is_finished() {
    let calls = [
        "create_targets",
        "stage",
        "stage_file",
        "settle",
        "prepare",
        "commit",
        "forget",
    ];
    let mut points = points(&calls, "after");
    points.extend(self::points(&calls[4..], "before"));
    for ms in [1, 5] {
        points.push(("during prepare".to_owned(), Duration::from_millis(ms)));
        points.push(("during commit".to_owned(), Duration::from_millis(ms)));
    }
    let _alone = ALONE.lock();
    let dir = tempfile::tempdir().unwrap();
    let (node, engine) = found(dir.path());
    let new = shop(&node);
    begin(&engine, JobKind::Backup);
    end(&engine, JobKind::Backup);
    node.drop_table("shop", "orders").unwrap();
    let spoilt = [("0001", b"spoilt".as_slice())];
    node.insert("shop", "letters", "all", spoilt).unwrap();
    let old = shop(&node);
    close(engine, node);
    for (number, (point, after)) in points.into_iter().enumerate() {
        // Each on a copy of the node; the repository is only read.
        let home = dir.path().join(format!("node-{number}"));
        copy(&dir.path().join("node"), &home);
        run_and_kill(&home, JobKind::Restore, &point, after);

        let node = Arc::new(Pocket::open(&home).unwrap());
        let found = shop(&node);
        assert!(
            found == old || found == new,
            "neither old nor new after a kill '{point}'"
        );
        let engine = open_engine(&home, Arc::clone(&node) as _);
        end(&engine, JobKind::Restore);
        assert!(shop(&node) == new, "other rows after a kill '{point}'");
        assert_emptied(&home.join("staging"), &point);
    }
}
