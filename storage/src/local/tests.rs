//! Tables, loads, pins and exports of [`LocalStorage`], seen from outside; restores are in
//! `tests/restore.rs`.

mod contract;
mod golden;
mod random;
mod ranges;
mod restore;

use super::*;
use crate::Storage;
use crate::model::{
    Access, Bounds, Distribution, FileHash, KeysType, PartitionMeta, Partitioning, PinRequest,
    PinTable, TableSchema,
};
use std::fs;
use std::ops::ControlFlow;
use std::path::PathBuf;

pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// A storage in a folder of its own, with places for sources and exports.
pub(super) struct Bench {
    pub(super) dir: tempfile::TempDir,
    pub(super) storage: Option<LocalStorage>,
    exports: std::cell::Cell<u32>,
}

impl Bench {
    pub(super) fn new() -> Self {
        Self::in_dir(tempfile::tempdir().unwrap())
    }

    /// Where the machine has a file system in memory, there: syncs cost nothing.
    pub(super) fn in_memory() -> Self {
        let memory = Path::new("/dev/shm");
        Self::in_dir(match memory.is_dir() {
            true => tempfile::tempdir_in(memory).unwrap(),
            false => tempfile::tempdir().unwrap(),
        })
    }

    fn in_dir(dir: tempfile::TempDir) -> Self {
        let mut bench = Self {
            dir,
            storage: None,
            exports: Default::default(),
        };
        bench.reopen();
        bench
    }

    pub(super) fn reopen(&mut self) {
        self.storage = None;
        let path = self.dir.path().join("storage");
        self.storage = Some(LocalStorage::open(path, Options::default()).unwrap());
    }

    pub(super) fn s(&self) -> &LocalStorage {
        self.storage.as_ref().unwrap()
    }

    pub(super) fn root(&self) -> PathBuf {
        self.dir.path().join("storage")
    }

    pub(super) fn source(&self, files: &Files) -> PathBuf {
        let root = tempfile::tempdir_in(self.dir.path()).unwrap().keep();
        for (name, bytes) in files {
            let path = root.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
        }
        root
    }

    pub(super) fn try_load(
        &self,
        table: &str,
        partition: &str,
        files: &Files,
    ) -> Result<LoadReport, Error> {
        let mut request = LoadRequest::new("db", table, vec![self.source(files)]);
        request.partition = Some(partition.to_owned());
        (request.buckets, request.replication_num) = (2, 2);
        self.s().load(&request)
    }

    pub(super) fn load(&self, table: &str, partition: &str, files: &Files) -> LoadReport {
        self.try_load(table, partition, files).unwrap()
    }

    pub(super) fn export(&self, table: &str) -> Files {
        self.exports.set(self.exports.get() + 1);
        let to = self
            .dir
            .path()
            .join(format!("export-{}", self.exports.get()));
        self.s()
            .export(&ExportRequest::new("db", table, &to))
            .unwrap();
        read_tree(&to)
    }

    /// Every data file on disk below `data/`, as paths.
    pub(super) fn data_files(&self) -> Vec<PathBuf> {
        let mut out = Vec::new();
        for backend in fs::read_dir(self.root().join("backends")).unwrap() {
            collect(&backend.unwrap().path().join("data"), &mut out);
        }
        out.sort();
        out
    }
}

fn collect(dir: &Path, out: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, out)
        } else {
            out.push(path)
        }
    }
}

pub(super) fn read_tree(root: &Path) -> Files {
    let mut paths = Vec::new();
    collect(root, &mut paths);
    let name = |p: &PathBuf| p.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
    paths
        .iter()
        .map(|p| (name(p), fs::read(p).unwrap()))
        .collect()
}

pub(super) fn files(entries: &[(&str, &str)]) -> Files {
    entries
        .iter()
        .map(|(n, b)| ((*n).to_owned(), b.as_bytes().to_vec()))
        .collect()
}

pub(super) fn below(partition: &str, files: &Files) -> Files {
    files
        .iter()
        .map(|(n, b)| (format!("{partition}/{n}"), b.clone()))
        .collect()
}

pub(super) fn pin_request(table: &str) -> PinRequest {
    let tables = vec![PinTable {
        name: table.to_owned(),
        partitions: None,
    }];
    PinRequest {
        database: "db".to_owned(),
        tables,
    }
}

/// All files of a pin, read through the contract from the best replica.
pub(super) fn read_pinned(storage: &LocalStorage, op: OpId, request: &PinRequest) -> Files {
    let pin = storage.pin(op, request).unwrap();
    let mut out = Files::new();
    for table in &pin.tables {
        for partition in &table.partitions {
            for tablet in &partition.tablets {
                let backend = tablet.replicas[0];
                storage.link(op, backend, &[tablet.id]).unwrap();
                for entry in storage.pinned_files(op, tablet.id).unwrap() {
                    let file = storage.open(op, backend, tablet.id, &entry.name).unwrap();
                    let mut bytes = Vec::new();
                    file.visit(0..file.len(), &mut |piece| {
                        bytes.extend_from_slice(piece);
                        ControlFlow::Continue(())
                    })
                    .unwrap();
                    assert_eq!(Some(FileHash::of(&bytes)), entry.hash);
                    out.insert(format!("{}/{}", partition.meta.name, entry.name), bytes);
                }
            }
        }
    }
    out
}

#[test]
fn what_is_loaded_is_exported_and_survives_reopening() {
    let mut bench = Bench::new();
    let first = files(&[("a", "1"), ("deep/er/b", "22"), ("empty", "")]);
    let report = bench.load("t", "p1", &first);
    assert_eq!((report.version, report.files, report.bytes), (2, 3, 3));
    let second = files(&[("c", "3")]);
    assert_eq!(bench.load("t", "p1", &second).version, 3);
    bench.load("t", "p 2=ü", &second);
    let mut expected = below("p1", &first);
    expected.extend(below("p1", &second));
    expected.extend(below("p 2=ü", &second));
    assert_eq!(bench.export("t"), expected);
    let before = bench.s().tables("db").unwrap();
    bench.reopen();
    assert_eq!(bench.s().tables("db").unwrap(), before);
    assert_eq!(bench.export("t"), expected);
}

#[test]
fn two_thousand_files_with_odd_names_come_back_byte_for_byte() {
    let bench = Bench::in_memory();
    let mut all = Files::new();
    for i in 0..2000_u32 {
        let name = match i % 6 {
            0 => format!("plain-{i}"),
            1 => format!("with space {i}/ü ñ 漢字 {i}"),
            2 => format!("{}{i}", "x".repeat(240)),
            3 => format!("{}/{}{i}", "d".repeat(255), "ß".repeat(120)),
            4 => format!("new\nline 'quote\" \\back {i}"),
            _ => format!("...{i}/.hidden/-dash/#{i}"),
        };
        all.insert(name, i.to_string().repeat(i as usize % 97).into_bytes());
    }
    let report = bench.load("t", "p", &all);
    assert_eq!(report.files, 2000);
    assert_eq!(bench.export("t"), below("p", &all));
    let info = &bench.s().tables("db").unwrap()[0].partitions[0];
    let bytes: usize = all.values().map(Vec::len).sum();
    assert_eq!((info.files, info.data_bytes), (2000, bytes as u64));
}

#[test]
fn a_refused_load_leaves_nothing() {
    let bench = Bench::new();
    let old = files(&[("a", "old"), ("folder/x", "1")]);
    bench.load("t", "p", &old);
    let on_disk = bench.data_files();
    for (text, again) in [
        ("is already in", files(&[("z", "new"), ("a", "new")])),
        (
            "one is a file, the other its folder",
            files(&[("z", "new"), ("a/b", "new")]),
        ),
        (
            "one is a file, the other its folder",
            files(&[("z", "new"), ("folder", "new")]),
        ),
    ] {
        let e = bench.try_load("t", "p", &again).unwrap_err();
        assert!(
            e.kind() == ErrorKind::Exists && e.message().contains(text),
            "{e}"
        );
    }
    let link = bench.source(&files(&[("ok", "1")]));
    std::os::unix::fs::symlink("/etc/hostname", link.join("bad link")).unwrap();
    let e = bench
        .s()
        .load(&LoadRequest::new("new_db", "t", vec![link]))
        .unwrap_err();
    assert!(
        e.kind() == ErrorKind::Invalid && e.message().contains("bad link"),
        "{e}"
    );
    let odd = bench.source(&files(&[("ok", "1")]));
    let name = <std::ffi::OsStr as std::os::unix::ffi::OsStrExt>::from_bytes(b"not-\xff-utf8");
    fs::write(odd.join(name), "x").unwrap();
    let e = bench
        .s()
        .load(&LoadRequest::new("new_db", "t", vec![odd]))
        .unwrap_err();
    assert!(
        e.kind() == ErrorKind::Invalid && e.message().contains("not UTF-8"),
        "{e}"
    );
    let gone = PathBuf::from("/no/such/file");
    let e = bench
        .s()
        .load(&LoadRequest::new("new_db", "t", vec![gone]))
        .unwrap_err();
    assert!(
        e.kind() == ErrorKind::NotFound && e.message().contains("/no/such/file"),
        "{e}"
    );
    let mut many = LoadRequest::new("new_db", "t", vec![bench.source(&old)]);
    many.replication_num = 4;
    let e = bench.s().load(&many).unwrap_err();
    assert!(
        e.kind() == ErrorKind::Invalid && e.message().contains("at most 3"),
        "{e}"
    );
    assert_eq!(bench.s().databases().unwrap(), ["db"]);
    assert_eq!(bench.data_files(), on_disk);
    assert_eq!(bench.export("t"), below("p", &old));
}

#[test]
fn a_load_of_nothing_makes_an_empty_table() {
    let bench = Bench::new();
    assert_eq!(bench.load("t", "p", &Files::new()).version, 1);
    assert_eq!(bench.export("t"), Files::new());
    let pin = bench.s().pin(OpId(1), &pin_request("t")).unwrap();
    assert_eq!(pin.tables[0].partitions[0].tablets.len(), 2);
    assert_eq!(
        read_pinned(bench.s(), OpId(1), &pin_request("t")),
        Files::new()
    );
}

#[test]
fn pinned_data_outlives_loads_truncates_drops_and_reopening() {
    let mut bench = Bench::new();
    let old = files(&[("a", "1"), ("b", "2")]);
    bench.load("t", "p", &old);
    let op = OpId(7);
    let pin = bench.s().pin(op, &pin_request("t")).unwrap();
    bench.load("t", "p", &files(&[("c", "3")]));
    bench.s().truncate_table("db", "t", None).unwrap();
    bench.load("t", "p", &files(&[("a", "other")]));
    bench.s().drop_database("db").unwrap();
    bench.reopen();
    assert_eq!(bench.s().pin(op, &pin_request("t")).unwrap(), pin);
    assert_eq!(
        read_pinned(bench.s(), op, &pin_request("t")),
        below("p", &old)
    );
    bench.reopen();
    assert_eq!(
        read_pinned(bench.s(), op, &pin_request("t")),
        below("p", &old)
    );
    bench.s().release(op).unwrap();
    bench.s().release(op).unwrap();
    assert_eq!(
        bench.data_files(),
        Vec::<PathBuf>::new(),
        "nothing holds the files any more"
    );
    let tablet = pin.tables[0].partitions[0].tablets[0].id;
    assert_eq!(
        bench.s().pinned_files(op, tablet).unwrap_err().kind(),
        ErrorKind::PinLost
    );
    assert_eq!(
        bench.s().pin(op, &pin_request("t")).unwrap_err().kind(),
        ErrorKind::NotFound
    );
}

#[test]
fn a_snapshot_shares_the_data_files_and_goes_with_its_pin() {
    let bench = Bench::new();
    bench.load("t", "p", &files(&[("a", "123")]));
    let op = OpId(3);
    read_pinned(bench.s(), op, &pin_request("t"));
    use std::os::unix::fs::MetadataExt;
    let links: Vec<u64> = bench
        .data_files()
        .iter()
        .map(|p| fs::metadata(p).unwrap().nlink())
        .collect();
    assert_eq!(
        links.iter().sum::<u64>(),
        3,
        "one of two replicas is linked: {links:?}"
    );
    bench.s().release(op).unwrap();
    let mut left = Vec::new();
    for name in ["backend-1", "backend-2", "backend-3"] {
        collect(
            &bench.root().join("backends").join(name).join("snapshot"),
            &mut left,
        );
    }
    assert_eq!(left, Vec::<PathBuf>::new());
}

#[test]
fn a_damaged_replica_is_found_and_another_one_serves() {
    let bench = Bench::new();
    let all = files(&[("a", "some bytes")]);
    bench.load("t", "p", &all);
    let on_disk = bench.data_files();
    assert_eq!(on_disk.len(), 2);
    fs::write(&on_disk[0], "some bytez").unwrap();
    let to = bench.dir.path().join("out");
    let report = bench
        .s()
        .export(&ExportRequest::new("db", "t", &to))
        .unwrap();
    assert_eq!(read_tree(&to), below("p", &all));
    assert!(report.faults.len() <= 1);
    fs::write(&on_disk[1], "").unwrap();
    let to = bench.dir.path().join("out2");
    let e = bench
        .s()
        .export(&ExportRequest::new("db", "t", &to))
        .unwrap_err();
    assert!(
        e.kind() == ErrorKind::Damaged && e.message().contains("file 'a'"),
        "{e}"
    );
    assert_eq!(
        read_tree(&to),
        Files::new(),
        "no half file bears the user's name"
    );
}

#[test]
fn a_missing_data_file_is_a_replica_fault() {
    let bench = Bench::new();
    bench.load("t", "p", &files(&[("a", "1")]));
    let op = OpId(1);
    let pin = bench.s().pin(op, &pin_request("t")).unwrap();
    let tablets = &pin.tables[0].partitions[0].tablets;
    let tablet = tablets.iter().find(|t| t.files == 1).unwrap();
    let path = bench.s().tablet_details(tablet.id).unwrap().replicas[0]
        .path
        .clone();
    let mut inside = Vec::new();
    collect(&path, &mut inside);
    fs::remove_file(&inside[0]).unwrap();
    let fault = bench
        .s()
        .link(op, tablet.replicas[0], &[tablet.id])
        .unwrap_err();
    assert_eq!(fault.kind(), ErrorKind::ReplicaFault, "{fault}");
    bench
        .s()
        .link(op, tablet.replicas[1], &[tablet.id])
        .unwrap();
    bench
        .s()
        .open(op, tablet.replicas[1], tablet.id, "a")
        .unwrap();
    let never = bench.s().open(op, tablet.replicas[0], tablet.id, "a");
    assert_eq!(never.err().unwrap().kind(), ErrorKind::ReplicaFault);
}

fn range_table() -> TableSchema {
    TableSchema {
        columns: Vec::new(),
        keys_type: KeysType::Duplicate,
        key_columns: vec!["k".to_owned()],
        partitioning: Partitioning::Range {
            columns: vec!["k".to_owned()],
        },
        distribution: Distribution::Random,
        comment: "words".to_owned(),
        properties: Default::default(),
    }
}

fn range(name: &str, lower: &str, upper: &str) -> PartitionMeta {
    let end = |text: &str| Some(vec![text.to_owned()]);
    PartitionMeta {
        name: name.to_owned(),
        bounds: Bounds::Range {
            lower: end(lower),
            upper: end(upper),
        },
        buckets: 3,
        replication_num: 2,
    }
}

#[test]
fn tables_and_partitions_are_made_and_dropped() {
    let mut bench = Bench::new();
    let kind = |r: Result<(), Error>| r.unwrap_err().kind();
    let s = bench.s();
    s.create_database("db").unwrap();
    assert_eq!(kind(s.create_database("db")), ErrorKind::Exists);
    assert_eq!(kind(s.create_database("1db")), ErrorKind::Invalid);
    let parts = vec![range("p1", "1", "10"), range("p2", "10", "20")];
    s.create_table("db", "t", range_table(), parts.clone())
        .unwrap();
    assert_eq!(
        kind(s.create_table("db", "t", range_table(), Vec::new())),
        ErrorKind::Exists
    );
    assert_eq!(
        kind(s.create_table("no", "t", range_table(), Vec::new())),
        ErrorKind::NotFound
    );
    assert_eq!(
        kind(s.add_partition("db", "t", range("p3", "19", "30"))),
        ErrorKind::Invalid
    );
    assert_eq!(
        kind(s.add_partition("db", "t", range("p2", "30", "40"))),
        ErrorKind::Exists
    );
    assert_eq!(
        kind(s.add_partition("db", "t", range("p3", "30", "20"))),
        ErrorKind::Invalid
    );
    s.add_partition("db", "t", range("p3", "20", "30")).unwrap();
    s.drop_partition("db", "t", "p1").unwrap();
    assert_eq!(kind(s.drop_partition("db", "t", "p1")), ErrorKind::NotFound);
    let e = bench
        .try_load("t", "p9", &files(&[("a", "1")]))
        .unwrap_err();
    assert_eq!(e.kind(), ErrorKind::NotFound, "a load adds no range: {e}");
    bench.load("t", "p2", &files(&[("a", "1")]));
    let details = bench.s().table_details("db", "t").unwrap();
    let names: Vec<_> = details
        .partitions
        .iter()
        .map(|p| p.meta.name.as_str())
        .collect();
    assert_eq!((names, details.access), (vec!["p2", "p3"], Access::Normal));
    assert_eq!(
        (
            details.partitions[0].data_bytes,
            details.partitions[0].stored_bytes
        ),
        (1, 2)
    );
    let tablets = bench.s().table_tablets("db", "t", None).unwrap();
    assert_eq!(tablets.len(), 6);
    assert_eq!(tablets.iter().map(|t| t.files).sum::<u64>(), 1);
    let before = bench.s().tables("db").unwrap();
    bench.reopen();
    assert_eq!(bench.s().tables("db").unwrap(), before);
    bench.s().drop_table("db", "t").unwrap();
    assert_eq!(bench.s().tables("db").unwrap(), Vec::new());
    assert_eq!(bench.data_files(), Vec::<PathBuf>::new());
}

#[test]
fn replicas_lie_on_distinct_least_loaded_backends() {
    let bench = Bench::new();
    let s = bench.s();
    s.create_database("db").unwrap();
    s.create_table("db", "t", range_table(), vec![range("p1", "1", "2")])
        .unwrap();
    let counts: Vec<u64> = s.backends().unwrap().iter().map(|b| b.replicas).collect();
    assert_eq!(counts, [2, 2, 2]);
    for tablet in s.table_tablets("db", "t", None).unwrap() {
        assert_ne!(tablet.replicas[0].backend, tablet.replicas[1].backend);
    }
}

#[test]
fn a_backend_with_the_only_replica_is_not_dropped() {
    let mut bench = Bench::new();
    bench.load("t", "p", &files(&[("a", "1"), ("b", "2"), ("c", "3")]));
    let s = bench.s();
    let added = s.add_backend("extra:1").unwrap();
    assert_eq!(
        s.add_backend("extra:1").unwrap_err().kind(),
        ErrorKind::Exists
    );
    assert_eq!(
        s.add_backend("../x").unwrap_err().kind(),
        ErrorKind::Invalid
    );
    s.drop_backend("extra:1").unwrap();
    assert!(s.backends().unwrap().iter().all(|b| b.id != added));
    s.drop_backend("backend-1").unwrap();
    let e = s.drop_backend("backend-2").unwrap_err();
    assert!(
        e.kind() == ErrorKind::Invalid && e.message().contains("only replica"),
        "{e}"
    );
    assert_eq!(
        s.drop_backend("nope").unwrap_err().kind(),
        ErrorKind::NotFound
    );
    bench.reopen();
    assert_eq!(bench.s().backends().unwrap().len(), 2);
    assert_eq!(bench.export("t").len(), 3);
}

#[test]
fn a_backend_with_the_last_readable_replica_is_not_dropped() {
    let mut bench = Bench::new();
    let s = bench.s();
    s.create_database("db").unwrap();
    let p1 = vec![range("p1", "1", "2")];
    s.create_table("db", "t", range_table(), p1).unwrap();
    let tablets = s.table_tablets("db", "t", None).unwrap();
    let [gone, kept] = tablets[0].replicas.as_slice() else {
        panic!("{:?}", tablets[0].replicas)
    };
    let (gone, kept) = (gone.backend_name.clone(), kept.backend_name.clone());
    let folder = bench.root().join("backends").join(&gone);
    let away = bench.dir.path().join("away");
    bench.storage = None;
    fs::rename(&folder, &away).unwrap();
    bench.reopen();
    let e = bench.s().drop_backend(&kept).unwrap_err();
    assert_eq!(e.kind(), ErrorKind::Invalid);
    for part in [
        format!("'{kept}' holds the last replica of tablet "),
        format!("not alive ('{gone}'), bring one back"),
        "p1".to_owned(),
    ] {
        assert!(e.message().contains(&part), "{part}: {e}");
    }
    assert!(bench.s().backends().unwrap().iter().any(|b| b.name == kept));
    bench.storage = None;
    fs::rename(&away, &folder).unwrap();
    bench.reopen();
    bench.s().drop_backend(&kept).unwrap();
}

#[test]
fn a_backend_that_is_not_there_is_dropped_while_others_hold_its_tablets() {
    let mut bench = Bench::new();
    let s = bench.s();
    s.create_database("db").unwrap();
    let p1 = vec![range("p1", "1", "2")];
    s.create_table("db", "t", range_table(), p1).unwrap();
    let folder = bench.root().join("backends/backend-2");
    bench.storage = None;
    fs::rename(&folder, bench.dir.path().join("away")).unwrap();
    bench.reopen();
    bench.s().drop_backend("backend-2").unwrap();
    assert_eq!(bench.s().backends().unwrap().len(), 2);
}

#[test]
fn a_second_opening_of_the_folder_is_refused() {
    let bench = Bench::new();
    let again = LocalStorage::open(bench.root(), Options::default());
    assert_eq!(again.err().unwrap().kind(), ErrorKind::Locked);
}

#[test]
fn leftovers_of_a_crash_are_swept_at_opening() {
    let mut bench = Bench::new();
    bench.load("t", "p", &files(&[("a", "1")]));
    let before = bench.data_files();
    let backend = bench.root().join("backends/backend-1");
    for leftover in ["data/999/1000", "snapshot/5/1", "staging/6/1/done"] {
        fs::create_dir_all(backend.join(leftover)).unwrap();
        fs::write(backend.join(leftover).join("f"), "x").unwrap();
    }
    fs::write(bench.root().join("lists/999999"), "x").unwrap();
    bench.reopen();
    assert_eq!(bench.data_files(), before);
    assert!(!backend.join("snapshot/5").exists() && !backend.join("staging/6").exists());
    assert!(!bench.root().join("lists/999999").exists());
}

#[test]
fn a_checkpoint_opens_to_the_same_catalog_as_the_whole_log() {
    let bench = Bench::new();
    bench.load("t", "p", &files(&[("a", "1")]));
    bench.s().pin(OpId(1), &pin_request("t")).unwrap();
    bench.load("t", "q", &files(&[("b", "1")]));
    let journal = bench.s().ledger.journal();
    let position = bench.s().ledger.read().position;
    let state = postcard::to_stdvec(&*bench.s().ledger.read()).unwrap();
    journal
        .checkpoint(holdfast_journal::Seq(position), "catalog-1", &state)
        .unwrap();
    bench.s().truncate_table("db", "t", None).unwrap();
    let live = postcard::to_stdvec(&*bench.s().ledger.read()).unwrap();
    let from_checkpoint = Ledger::open(std::sync::Arc::clone(&journal)).unwrap();
    let mut replayed = State::new();
    holdfast_journal::replay(&*journal, &mut replayed).unwrap();
    assert_eq!(postcard::to_stdvec(&*from_checkpoint.read()).unwrap(), live);
    assert_eq!(postcard::to_stdvec(&replayed).unwrap(), live);
}

#[test]
fn nothing_is_written_where_a_missing_backend_was() {
    let mut bench = Bench::new();
    let all = files(&[("a", "1"), ("b", "2"), ("c", "3"), ("d", "4")]);
    bench.load("t", "p", &all);
    let gone = bench.root().join("backends/backend-2");
    let away = bench.dir.path().join("away");
    bench.storage = None;
    fs::rename(&gone, &away).unwrap();
    bench.reopen();
    let alive: Vec<bool> = bench
        .s()
        .backends()
        .unwrap()
        .iter()
        .map(|b| b.alive)
        .collect();
    assert_eq!(alive, [true, false, true]);
    assert_eq!(
        bench.export("t"),
        below("p", &all),
        "the other replicas serve"
    );
    assert_eq!(
        read_pinned(bench.s(), OpId(1), &pin_request("t")),
        below("p", &all)
    );
    let e = bench
        .try_load("t", "p", &files(&[("e", "1"), ("f", "2"), ("g", "3")]))
        .unwrap_err();
    assert!(
        e.kind() == ErrorKind::ReplicaFault && e.message().contains("backend-2"),
        "{e}"
    );
    bench.load("t", "q", &all);
    bench.s().release(OpId(1)).unwrap();
    assert!(!gone.exists());
    bench.storage = None;
    fs::rename(&away, &gone).unwrap();
    bench.reopen();
    bench.load("t", "p", &files(&[("e", "1"), ("f", "2"), ("g", "3")]));
}

#[test]
fn loads_beside_each_other_all_count_and_no_path_counts_twice() {
    let bench = Bench::in_memory();
    let sources: Vec<PathBuf> = (0..8)
        .map(|i| {
            let own = format!("own-{i}");
            bench.source(&files(&[(own.as_str(), "x"), ("shared", "y")]))
        })
        .collect();
    let storage = bench.s();
    // Into partitions that all make the same database and table, then into one partition.
    let load = |partition: String, source: PathBuf| {
        let mut request = LoadRequest::new("db", "t", vec![source]);
        request.partition = Some(partition);
        storage.load(&request)
    };
    let run = |same: bool| -> Vec<Result<LoadReport, Error>> {
        std::thread::scope(|scope| {
            let handles: Vec<_> = (0..8)
                .map(|i| {
                    let partition = if same {
                        "same".to_owned()
                    } else {
                        format!("p{i}")
                    };
                    let source = sources[i].clone();
                    scope.spawn(move || load(partition, source))
                })
                .collect();
            handles.into_iter().map(|h| h.join().unwrap()).collect()
        })
    };
    assert!(run(false).iter().all(Result::is_ok));
    load("same".to_owned(), bench.source(&files(&[("first", "z")]))).unwrap();
    let results = run(true);
    let (done, refused): (Vec<_>, Vec<_>) = results.into_iter().partition(Result::is_ok);
    assert_eq!(
        done.len(),
        1,
        "one load brings the shared path: {refused:?}"
    );
    for refusal in refused {
        assert_eq!(refusal.unwrap_err().kind(), ErrorKind::Exists);
    }
    let all = bench.export("t");
    assert_eq!(all.len(), 8 * 2 + 3);
    assert_eq!(
        bench.data_files().len(),
        all.len(),
        "refused loads leave no file"
    );
}
