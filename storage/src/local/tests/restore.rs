//! Restores of [`LocalStorage`]: what lies on disk at each step, and what a crash or damage leaves.

use super::*;
use crate::conformance::Files;
use crate::model::{
    AllowLoad, FileEntry, Make, RestorePartition, RestoreSpec, RestoreTable, TargetTablet, Targets,
    Token,
};
use crate::{Reuse, Staging};
use std::os::unix::fs::MetadataExt;

const OP: OpId = OpId(12);
const TOKEN: Token = Token {
    epoch: 1,
    attempt: 1,
};

/// A spec that overwrites, or makes, a table like `like`.
fn spec(bench: &Bench, like: &str, name: &str, make: Make) -> RestoreSpec {
    let info = bench
        .s()
        .tables("db")
        .unwrap()
        .into_iter()
        .find(|t| t.name == like)
        .unwrap();
    let partitions = info.partitions.iter();
    let partitions = partitions.map(|p| RestorePartition {
        meta: p.meta.clone(),
        partition: make,
    });
    RestoreSpec {
        database: "db".to_owned(),
        tables: vec![RestoreTable {
            name: name.to_owned(),
            schema: info.schema.clone(),
            table: make,
            partitions: partitions.collect(),
        }],
        allow_load: AllowLoad::No,
        drop_tables: Vec::new(),
        drop_partitions: Vec::new(),
    }
}

fn entry(name: &str, bytes: &[u8]) -> FileEntry {
    let (len, hash) = (bytes.len() as u64, Some(FileHash::of(bytes)));
    FileEntry {
        name: name.to_owned(),
        len,
        hash,
        segments: Vec::new(),
    }
}

fn tablets(targets: &Targets) -> Vec<&TargetTablet> {
    targets
        .tables
        .iter()
        .flat_map(|t| &t.partitions)
        .flat_map(|p| &p.tablets)
        .collect()
}

/// Gives all files to bucket 0 of every partition; the other buckets get none.
fn fill(bench: &Bench, token: Token, targets: &Targets, files: &Files) -> u32 {
    let mut written = 0;
    for tablet in tablets(targets) {
        let mine = if tablet.bucket == 0 {
            files.clone()
        } else {
            Files::new()
        };
        let list: Vec<FileEntry> = mine.iter().map(|(n, b)| entry(n, b)).collect();
        for backend in &tablet.replicas {
            bench
                .s()
                .stage(OP, token, *backend, tablet.id, &list)
                .unwrap();
            for (entry, bytes) in list.iter().zip(mine.values()) {
                let staged = bench.s().stage_file(OP, token, *backend, tablet.id, entry);
                if let Staging::Write(mut file) = staged.unwrap() {
                    file.write(bytes).unwrap();
                    file.finish().unwrap();
                    written += 1;
                }
            }
            bench.s().settle(OP, token, *backend, &[tablet.id]).unwrap();
        }
    }
    written
}

fn staged(bench: &Bench) -> Vec<PathBuf> {
    let mut out = Vec::new();
    for i in 1..=3 {
        collect(
            &bench.root().join(format!("backends/backend-{i}/staging")),
            &mut out,
        );
    }
    out
}

#[test]
fn old_versions_stay_until_the_operation_is_forgotten() {
    let bench = Bench::new();
    bench.load("t", "p", &files(&[("a", "old")]));
    let old = bench.data_files();
    let targets = bench
        .s()
        .create_targets(OP, &spec(&bench, "t", "t", Make::Overwrite))
        .unwrap();
    fill(&bench, TOKEN, &targets, &files(&[("a", "new")]));
    bench.s().prepare(OP).unwrap();
    bench.s().commit(OP).unwrap();
    assert!(old.iter().all(|path| path.exists()));
    assert_eq!(bench.export("t"), files(&[("p/a", "new")]));
    bench.s().forget(OP).unwrap();
    assert!(old.iter().all(|path| !path.exists()));
    assert_eq!((bench.data_files().len(), staged(&bench)), (2, Vec::new()));
}

#[test]
fn a_pin_keeps_what_a_restore_replaced() {
    let mut bench = Bench::new();
    let old = files(&[("a", "old"), ("b", "old too")]);
    bench.load("t", "p", &old);
    let request = pin_request("t");
    bench.s().pin(OpId(1), &request).unwrap();
    let targets = bench
        .s()
        .create_targets(OP, &spec(&bench, "t", "t", Make::Overwrite))
        .unwrap();
    fill(&bench, TOKEN, &targets, &files(&[("a", "new")]));
    bench.s().prepare(OP).unwrap();
    bench.s().commit(OP).unwrap();
    bench.s().forget(OP).unwrap();
    bench.reopen();
    assert_eq!(read_pinned(bench.s(), OpId(1), &request), below("p", &old));
    assert_eq!(bench.export("t"), files(&[("p/a", "new")]));
}

#[test]
fn refusals_name_the_operation() {
    let bench = Bench::new();
    bench.load("t", "p", &files(&[("a", "old")]));
    bench
        .s()
        .create_targets(OP, &spec(&bench, "t", "t", Make::Overwrite))
        .unwrap();
    let s = bench.s();
    let table = "table 'db.t' is being restored by job 12";
    let partition = "partition 'db.t.p' is being restored by job 12";
    assert_eq!(s.drop_table("db", "t").unwrap_err().message(), table);
    assert_eq!(
        s.truncate_table("db", "t", None).unwrap_err().message(),
        table
    );
    assert_eq!(
        s.drop_partition("db", "t", "p").unwrap_err().message(),
        table
    );
    assert_eq!(
        s.pin(OpId(1), &pin_request("t")).unwrap_err().message(),
        table
    );
    let load = bench.try_load("t", "p", &files(&[("z", "1")])).unwrap_err();
    assert_eq!(load.message(), partition);
    let load = bench.try_load("t", "q", &files(&[("z", "1")])).unwrap_err();
    assert_eq!(load.message(), table);
    let dropped = s.drop_database("db").unwrap_err();
    assert_eq!(
        dropped.message(),
        "database 'db' is being restored by job 12"
    );
    let backend = s.drop_backend("backend-1").unwrap_err();
    assert_eq!(backend.message(), "backend 'backend-1' is used by job 12");
}

#[test]
fn equal_local_files_are_linked_after_they_were_hashed_again() {
    let bench = Bench::new();
    let all = files(&[("a", "content a"), ("b", "content b"), ("c", "content c")]);
    bench.load("t", "p", &all);
    let targets = bench
        .s()
        .create_targets(OP, &spec(&bench, "t", "t", Make::Overwrite))
        .unwrap();
    let tablet = tablets(&targets)[0];
    let backend = tablet.replicas[0];
    let list = [
        entry("renamed", b"content a"),
        entry("b", b"content b"),
        entry("n", b"new"),
    ];
    bench
        .s()
        .stage(OP, TOKEN, backend, tablet.id, &list)
        .unwrap();
    let name = bench
        .s()
        .backends()
        .unwrap()
        .into_iter()
        .find(|b| b.id == backend)
        .unwrap()
        .name;
    let data = bench.root().join("backends").join(&name).join("data");
    let mut local = Vec::new();
    collect(&data, &mut local);
    let holds = |bytes: &[u8]| {
        local
            .iter()
            .find(|p| fs::read(p).unwrap() == bytes)
            .cloned()
    };
    // Another bucket of the partition may hold it, on this backend or not at all.
    let reuse = |entry| {
        bench
            .s()
            .reuse(OP, TOKEN, backend, tablet.id, entry)
            .unwrap()
    };
    if let Some(damaged) = holds(b"content b") {
        fs::write(damaged, b"content x").unwrap();
    }
    let expected = if holds(b"content a").is_some() {
        Reuse::Linked
    } else {
        Reuse::Absent
    };
    assert_eq!(reuse(&list[0]), expected);
    assert_eq!(
        reuse(&list[1]),
        Reuse::Absent,
        "a damaged file is not reused"
    );
    assert_eq!(reuse(&list[2]), Reuse::Absent);
    if let Some(path) = holds(b"content a") {
        assert_eq!(fs::metadata(path).unwrap().nlink(), 2);
    }
}

#[test]
fn what_a_crash_tore_is_written_again() {
    let mut bench = Bench::new();
    bench.load("t", "p", &files(&[("a", "old")]));
    let new = files(&[("a", "new a"), ("b", "new b")]);
    let targets = bench
        .s()
        .create_targets(OP, &spec(&bench, "t", "t", Make::Overwrite))
        .unwrap();
    assert_eq!(fill(&bench, TOKEN, &targets, &new), 4);
    bench.reopen();
    for path in staged(&bench)
        .iter()
        .filter(|p| fs::read(p).unwrap() == b"new b")
    {
        fs::write(path, "\0\0\0\0\0").unwrap();
    }
    let e = bench.s().prepare(OP).unwrap_err();
    assert!(
        e.kind() == ErrorKind::Invalid && e.message().contains("file 'b'"),
        "{e}"
    );
    let again = Token {
        epoch: 2,
        attempt: 1,
    };
    assert_eq!(
        fill(&bench, again, &targets, &new),
        2,
        "only the torn files are written again"
    );
    bench.s().prepare(OP).unwrap();
    bench.s().commit(OP).unwrap();
    assert_eq!(bench.export("t"), below("p", &new));
}

#[test]
fn a_torn_list_counts_as_never_staged() {
    let mut bench = Bench::new();
    bench.load("t", "p", &files(&[("a", "old")]));
    let targets = bench
        .s()
        .create_targets(OP, &spec(&bench, "t", "t", Make::Overwrite))
        .unwrap();
    let new = files(&[("a", "new")]);
    fill(&bench, TOKEN, &targets, &new);
    bench.storage = None;
    for path in staged(&bench).iter().filter(|p| p.ends_with("list")) {
        let mut bytes = fs::read(path).unwrap();
        *bytes.last_mut().unwrap() ^= 1;
        fs::write(path, bytes).unwrap();
    }
    bench.reopen();
    let e = bench.s().prepare(OP).unwrap_err();
    assert!(
        e.kind() == ErrorKind::Invalid && e.message().contains("never staged"),
        "{e}"
    );
    fill(&bench, TOKEN, &targets, &new);
    bench.s().prepare(OP).unwrap();
}

/// A cut of power can keep the name of the list and lose the one of the folder beside it.
#[test]
fn a_place_without_its_folder_of_complete_files_counts_as_never_staged() {
    let mut bench = Bench::new();
    let old = files(&[("a", "content")]);
    bench.load("t", "p", &old);
    let targets = bench
        .s()
        .create_targets(OP, &spec(&bench, "t", "t", Make::Overwrite))
        .unwrap();
    let list = [entry("a", b"content")];
    let all: Vec<_> = tablets(&targets)
        .into_iter()
        .flat_map(|tablet| tablet.replicas.iter().map(|backend| (*backend, tablet.id)))
        .collect();
    for (backend, tablet) in &all {
        bench
            .s()
            .stage(OP, TOKEN, *backend, *tablet, &list)
            .unwrap();
        let dir = bench.s().backend_dir(*backend).unwrap();
        fs::remove_dir(dir.place(OP, tablet.0).join("done")).unwrap();
    }
    bench.reopen();
    let later = Token {
        epoch: 2,
        attempt: 2,
    };
    for (backend, tablet) in &all {
        let (s, backend, tablet) = (bench.s(), *backend, *tablet);
        let reused = s.reuse(OP, later, backend, tablet, &list[0]).unwrap_err();
        let written = s.stage_file(OP, later, backend, tablet, &list[0]).err();
        let settled = s.settle(OP, later, backend, &[tablet]).unwrap_err();
        for e in [reused, written.unwrap(), settled] {
            assert!(
                e.kind() == ErrorKind::NotFound && e.message().contains("not staged"),
                "{e}"
            );
        }
    }
    fill(&bench, later, &targets, &old);
    bench.s().prepare(OP).unwrap();
    bench.s().commit(OP).unwrap();
    assert_eq!(bench.export("t"), below("p", &old));
}

#[test]
fn a_prepare_that_died_between_two_moves_is_finished_or_taken_back() {
    for finish in [true, false] {
        let mut bench = Bench::new();
        bench.load("t", "p", &files(&[("a", "old")]));
        let wanted = spec(&bench, "t", "t", Make::Overwrite);
        let targets = bench.s().create_targets(OP, &wanted).unwrap();
        let new = files(&[("a", "new")]);
        fill(&bench, TOKEN, &targets, &new);
        let tablet = tablets(&targets)[0];
        let dir = bench.s().backend_dir(tablet.replicas[0]).unwrap();
        let chunk = bench.s().ledger.read().restores[&OP.0].targets[&tablet.id.0];
        fs::create_dir_all(dir.tablet(tablet.id.0)).unwrap();
        let done = dir.place(OP, tablet.id.0).join("done");
        fs::rename(done, dir.chunk(tablet.id.0, chunk)).unwrap();
        bench.reopen();
        if finish {
            bench.s().prepare(OP).unwrap();
            bench.s().commit(OP).unwrap();
            bench.reopen();
            assert_eq!(bench.export("t"), below("p", &new));
            continue;
        }
        let other = files(&[("a", "newer"), ("b", "newer")]);
        fill(
            &bench,
            Token {
                epoch: 2,
                attempt: 1,
            },
            &targets,
            &other,
        );
        bench.s().prepare(OP).unwrap();
        bench.s().abort(OP).unwrap();
        assert_eq!(bench.export("t"), files(&[("p/a", "old")]));
        assert_eq!((bench.data_files().len(), staged(&bench)), (2, Vec::new()));
    }
}

#[test]
fn replicas_with_different_lists_are_refused() {
    let bench = Bench::new();
    bench.load("t", "p", &files(&[("a", "old")]));
    let targets = bench
        .s()
        .create_targets(OP, &spec(&bench, "t", "t", Make::Overwrite))
        .unwrap();
    fill(&bench, TOKEN, &targets, &Files::new());
    let tablet = tablets(&targets)[1];
    let list = [entry("x", b"")];
    let next = Token {
        epoch: 1,
        attempt: 2,
    };
    let backend = tablet.replicas[1];
    bench
        .s()
        .stage(OP, next, backend, tablet.id, &list)
        .unwrap();
    let staged = bench
        .s()
        .stage_file(OP, next, backend, tablet.id, &list[0])
        .unwrap();
    let Staging::Write(file) = staged else {
        panic!("nobody wrote it")
    };
    file.finish().unwrap();
    let e = bench.s().prepare(OP).unwrap_err();
    assert!(
        e.kind() == ErrorKind::Invalid && e.message().contains("other files"),
        "{e}"
    );
}

#[test]
fn files_of_a_drop_wait_for_a_running_export() {
    let bench = Bench::new();
    let mut all = Files::new();
    for i in 0..300 {
        all.insert(format!("f{i}"), vec![i as u8; 100]);
    }
    bench.load("t", "p", &all);
    let dropped = std::sync::atomic::AtomicBool::new(false);
    let storage = bench.s();
    let drop_it = |_: Progress| {
        if !dropped.swap(true, std::sync::atomic::Ordering::SeqCst) {
            storage.drop_table("db", "t").unwrap();
        }
    };
    let to = bench.dir.path().join("out");
    let mut request = ExportRequest::new("db", "t", &to);
    request.progress = Some(&drop_it);
    let report = bench.s().export(&request).unwrap();
    assert!(dropped.load(std::sync::atomic::Ordering::SeqCst));
    assert_eq!((report.files, read_tree(&to)), (300, below("p", &all)));
    assert_eq!(bench.data_files(), Vec::<PathBuf>::new());
}

#[test]
fn a_change_in_doubt_removes_no_file() {
    use holdfast_journal::{Fate, MemoryJournal};
    for fate in [Fate::Kept, Fate::Lost] {
        let dir = tempfile::tempdir().unwrap();
        let source = dir.path().join("source");
        fs::write(&source, "bytes").unwrap();
        let journal = Arc::new(MemoryJournal::new());
        let root = dir.path().join("s");
        let open = |j| LocalStorage::with_journal(&root, Options::default(), j).unwrap();
        let storage = open(Arc::clone(&journal) as Arc<dyn Journal<CatalogEvent>>);
        journal.fail_sync(1, fate);
        let request = LoadRequest::new("db", "t", vec![source]);
        assert_eq!(storage.load(&request).unwrap_err().kind(), ErrorKind::Io);
        assert_eq!(
            storage.databases().unwrap(),
            Vec::<String>::new(),
            "nothing is shown"
        );
        assert_eq!(
            storage.create_database("x").unwrap_err().kind(),
            ErrorKind::Io
        );
        drop(storage);
        let storage = open(Arc::new(journal.reopen()));
        let to = dir.path().join("out");
        let export = storage.export(&ExportRequest::new("db", "t", &to));
        match fate {
            Fate::Kept => assert_eq!(export.unwrap().files, 1),
            Fate::Lost => assert_eq!(export.unwrap_err().kind(), ErrorKind::NotFound),
        }
    }
}

#[test]
fn a_load_that_a_full_journal_refuses_leaves_nothing() {
    use holdfast_journal::MemoryJournal;
    let dir = tempfile::tempdir().unwrap();
    let source = dir.path().join("source");
    fs::write(&source, "bytes").unwrap();
    let journal = Arc::new(MemoryJournal::new());
    let root = dir.path().join("s");
    let storage =
        LocalStorage::with_journal(&root, Options::default(), Arc::clone(&journal) as _).unwrap();
    storage
        .load(&LoadRequest::new("db", "t", vec![source.clone()]))
        .unwrap();
    journal.fill_disk();
    let full = storage
        .load(&LoadRequest::new("db", "u", vec![source]))
        .unwrap_err();
    assert_eq!(full.kind(), ErrorKind::Full);
    let mut left = Vec::new();
    collect(&root, &mut left);
    assert_eq!(left.len(), 2, "one data file and its list: {left:?}");
    journal.free_disk();
    storage.drop_table("db", "t").unwrap();
}

#[test]
fn a_target_that_changed_since_it_was_checked_is_refused_with_both_values() {
    let bench = Bench::new();
    bench.load("t", "p", &files(&[("a", "old")]));
    let good = spec(&bench, "t", "t", Make::Overwrite);
    let refuse = |change: &dyn Fn(&mut RestoreTable), expected: &str| {
        let mut spec = good.clone();
        change(&mut spec.tables[0]);
        let e = bench.s().create_targets(OP, &spec).unwrap_err();
        assert!(
            e.kind() == ErrorKind::Exists && e.message() == expected,
            "{e}"
        );
    };
    refuse(
        &|t| t.schema.keys_type = KeysType::Primary,
        "table 'db.t' has changed: keys type is DUPLICATE KEY, expected PRIMARY KEY",
    );
    refuse(
        &|t| t.partitions[0].meta.buckets = 5,
        "partition 'db.t.p' has bucket count 2, expected 5",
    );
    refuse(
        &|t| t.partitions[0].meta.replication_num = 1,
        "partition 'db.t.p' has replication_num 2, expected 1",
    );
    refuse(
        &|t| t.partitions[0].partition = Make::Create,
        "partition 'p' exists already",
    );
    refuse(
        &|t| {
            t.partitions[0].partition = Make::Create;
            t.partitions[0].meta.name = "q".to_owned();
        },
        "partition 'q' overlaps partition 'p', expected bounds apart",
    );
    assert_eq!(bench.s().tables("db").unwrap()[0].access, Access::Normal);
    bench.s().create_targets(OP, &good).unwrap();
}
