//! Power is cut at each sync of real code with real system calls: journal, local broker and local
//! storage alone, and whole jobs, run in a child process on a file system that forgets what was not
//! synced. What was left is opened and must hold what was acknowledged.
//!
//! `HOLDFAST_POWER=full` cuts at every sync, before, inside and after it; without it at a part of
//! them. `HOLDFAST_POWER_SEED=<n>` chooses otherwise what survives. Where no FUSE file system can be
//! mounted each test says so and counts as NOT RUN; with `CI=true` that is a failure.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::print_stderr
)]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use holdfast_broker::{Broker as _, BrokerExt as _, Context, LocalBroker, ObjectName, PutMode};
use holdfast_engine::event::JobReleased;
use holdfast_engine::{Event, JobKind};
use holdfast_journal::{FileJournal, Journal as _, Options, Seq};
use holdfast_storage::model::{
    Access, AllowLoad, BackendId, FileEntry, FileHash, Make, OpId, PinRequest, PinTable,
    RestorePartition, RestoreSpec, RestoreTable, TabletId, Targets, Token,
};
use holdfast_storage::{
    ErrorKind, ExportRequest, LoadRequest, LocalStorage, Staging, Storage as _,
};
use holdfast_tests::forgetful::{Disk, Kept, Mounted, When, unavailable};
use holdfast_tests::place::{copy_tree, fingerprint};
use holdfast_tests::template::{Size, Template, contents, label, open_at, released};
use holdfast_tests::verdict::judge;
use holdfast_tests::{backup, noise, restore, tree};

/// Tells a child process what to do, and where.
const CHILD: &str = "HOLDFAST_POWER_CHILD";
/// A child holds the locks of this process for the moment between fork and exec, so none is made
/// while another test opens what was left.
static ALONE: parking_lot::Mutex<()> = parking_lot::Mutex::new(());
const PATIENCE: Duration = Duration::from_secs(60);

/// Where and how power is cut.
#[derive(Clone, Copy, Debug)]
struct Cut {
    sync: u64,
    when: When,
    kept: Kept,
}

/// What a child had said when power was cut, and what was left.
struct Left {
    said: Vec<String>,
    place: tempfile::TempDir,
    cut: bool,
}

impl Left {
    fn has_said(&self, line: &str) -> bool {
        self.said.iter().any(|said| said == line)
    }

    /// The largest number behind a word.
    fn last(&self, word: &str) -> u64 {
        let numbers = self.said.iter().filter_map(|line| line.strip_prefix(word));
        numbers
            .filter_map(|n| n.trim().parse().ok())
            .max()
            .unwrap_or(0)
    }
}

/// Says why nothing is run, where that is so.
fn can_run(test: &str) -> bool {
    let Some(why) = unavailable() else {
        return true;
    };
    println!("NOT RUN: {test}: {why}");
    let ci = std::env::var("CI").is_ok_and(|value| value == "true");
    assert!(!ci, "{test} must run where CI=true: {why}");
    false
}

/// Runs a child on the disk; gives what is left, and how often it synced.
fn run(work: &str, disk: &Disk, cut: Option<Cut>) -> (Left, u64) {
    let mount = tempfile::tempdir().unwrap();
    // A child that is killed takes none of its temporary folders away.
    let scratch = tempfile::tempdir().unwrap();
    let at = cut.map(|cut| (cut.sync, cut.when, cut.kept));
    let mounted = Mounted::new(disk.clone(), mount.path(), at).unwrap();
    let alone = ALONE.lock();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child", "--nocapture"])
        .env(CHILD, format!("{work}|{}", mount.path().display()))
        .env("TMPDIR", scratch.path())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    drop(alone);
    let deadline = Instant::now() + PATIENCE;
    let mut ended = None;
    let mut is_cut = false;
    while ended.is_none() && !is_cut {
        assert!(Instant::now() < deadline, "{work}, {cut:?}: no end");
        is_cut = mounted.wait_for_cut(Duration::from_millis(5));
        ended = child.try_wait().unwrap();
    }
    is_cut = mounted.wait_for_cut(Duration::ZERO);
    let _ = child.kill();
    child.wait().unwrap();
    let mut text = String::new();
    child
        .stdout
        .take()
        .unwrap()
        .read_to_string(&mut text)
        .unwrap();
    if !is_cut {
        let good = ended.is_some_and(|status| status.success());
        assert!(good, "{work} failed with power: {text}");
    }
    let syncs = mounted.syncs();
    let place = tempfile::tempdir().unwrap();
    mounted.into_disk().lay_out(place.path());
    let said = text
        .lines()
        .filter_map(|line| line.split_once("SAID ").map(|(_, said)| said.to_owned()))
        .collect();
    let left = Left {
        said,
        place,
        cut: is_cut,
    };
    (left, syncs)
}

/// The cuts over a work of so many syncs: all, or about `few` of them.
fn cuts(syncs: u64, few: u64) -> Vec<Cut> {
    let full = std::env::var("HOLDFAST_POWER").is_ok_and(|value| value == "full");
    let seed: u64 = std::env::var("HOLDFAST_POWER_SEED")
        .ok()
        .map_or(1, |seed| seed.parse().unwrap());
    let step = if full { 1 } else { syncs.div_ceil(few).max(1) };
    let mut chosen = Vec::new();
    for sync in (1..=syncs).filter(|sync| (sync + seed).is_multiple_of(step)) {
        let some = |n| Kept::Some(seed * 1_000_003 + sync * 7 + n);
        let all = [
            (When::Before, Kept::Nothing),
            (When::After, Kept::Nothing),
            (When::Inside, some(1)),
            (When::Before, some(2)),
            (When::After, some(3)),
            (When::Before, Kept::Everything),
        ];
        let take = if full { 0..6 } else { 0..3 };
        for (when, kept) in all[take].iter().copied() {
            chosen.push(Cut { sync, when, kept });
        }
    }
    chosen
}

/// Cuts a work again and again.
fn each_cut(work: &str, disk: &Disk, few: u64, verdict: &(dyn Fn(&Left, usize) + Sync)) {
    let (whole, syncs) = run(work, disk, None);
    assert!(!whole.cut);
    {
        let _alone = ALONE.lock();
        verdict(&whole, 0);
    }
    assert!(syncs > 5, "{work} has only {syncs} syncs");
    let (mut cut, mut ended) = (0, 0);
    let chosen = cuts(syncs, few);
    for (number, at) in chosen.iter().enumerate() {
        if number > 0 && number.is_multiple_of(100) {
            println!("{work}: {number} of {} cuts judged", chosen.len());
        }
        let (left, _) = run(work, disk, Some(*at));
        if left.cut {
            cut += 1;
        } else {
            // Threads do not sync equally often each time.
            ended += 1;
        }
        let alone = ALONE.lock();
        let judged =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| verdict(&left, number)));
        drop(alone);
        if judged.is_err() {
            let kept = left.place.keep();
            panic!(
                "{work}, {at:?} of {syncs} syncs: see above and {}",
                kept.display()
            );
        }
    }
    println!(
        "RUN: {work}: {syncs} syncs, power cut {cut} times, {ended} times the work was done before"
    );
    assert!(cut * 2 > chosen.len(), "most cuts came too late");
}

fn say(line: impl std::fmt::Display) {
    use std::io::Write as _;
    let mut out = std::io::stdout().lock();
    writeln!(out, "\nSAID {line}").unwrap();
    out.flush().unwrap();
}

/// What a child does. Not a test by itself.
#[test]
fn child() {
    let Ok(order) = std::env::var(CHILD) else {
        return;
    };
    let (work, root) = order.split_once('|').unwrap();
    let root = Path::new(root);
    match work {
        "journal" => journal(root),
        "broker" => broker(root),
        "storage" => storage(root, usize::MAX),
        "moved" => moved(root),
        "linked" => linked(root),
        "backup" => job(root, JobKind::Backup, false),
        "backup, cancelled" => job(root, JobKind::Backup, true),
        "restore" => job(root, JobKind::Restore, false),
        "restore, cancelled" => job(root, JobKind::Restore, true),
        other => panic!("{other}?"),
    }
    say("END");
}

fn event(number: u64) -> Event {
    let leftovers = "x".repeat((number as usize * 977) % 6_000);
    let job = number;
    JobReleased { job, leftovers }.into()
}

fn journal_options() -> Options {
    Options::default()
        .segment_bytes(64 << 10)
        .reserve_bytes(8_192)
}

fn journal(root: &Path) {
    let (journal, _) = FileJournal::<Event>::open(root.join("journal"), journal_options()).unwrap();
    let mut next = 1;
    for size in [1, 2, 3].into_iter().cycle().take(30) {
        let events: Vec<Event> = (next..next + size).map(event).collect();
        journal.append(&events, next).unwrap();
        next += size;
        say(format_args!("APPENDED {}", next - 1));
        if next % 5 == 0 {
            journal
                .checkpoint(Seq(next - 1), "numbers", &next.to_le_bytes())
                .unwrap();
        }
    }
}

#[test]
fn a_journal_keeps_what_it_acknowledged_when_power_is_cut_at_any_sync() {
    if !can_run("journal") {
        return;
    }
    each_cut("journal", &Disk::new(), 24, &|left, _| {
        let folder = left.place.path().join("journal");
        let acknowledged = left.last("APPENDED");
        for more in 0..2 {
            let opened = FileJournal::<Event>::open(&folder, journal_options());
            let (journal, report) = opened.expect("opens");
            let mut found = Vec::new();
            journal
                .read(Seq::FIRST, &mut |record| {
                    found.push(record.event);
                    Ok(())
                })
                .unwrap();
            let count = found.len() as u64;
            assert!(
                count >= acknowledged,
                "{count} of {acknowledged}: {report:?}"
            );
            let numbers: Vec<Event> = (1..=count).map(event).collect();
            assert_eq!(found, numbers);
            let whole = [0, 1, 3].contains(&((count - more) % 6));
            assert!(whole, "a torn transaction: {count} events");
            let kept = journal.latest_checkpoint("numbers").unwrap();
            if let Some(kept) = kept {
                assert!(kept.seq.get() <= count);
                assert_eq!(kept.state, (kept.seq.get() + 1).to_le_bytes());
            }
            if more == 0 {
                journal.append(&[event(count + 1)], 7).unwrap();
            }
        }
    });
}

fn object(n: usize) -> ObjectName {
    ObjectName::parse(format!("a{}/b{}/object-{n}", n % 3, n % 2)).unwrap()
}

fn object_bytes(n: usize) -> Vec<u8> {
    noise(n as u64, n * 5_003)
}

const OBJECTS: usize = 14;

fn broker(root: &Path) {
    let remote = root.join("remote");
    std::fs::create_dir_all(&remote).unwrap();
    // Whoever makes the location makes it durable.
    std::fs::File::open(root).unwrap().sync_all().unwrap();
    let broker = LocalBroker::open(&remote).unwrap();
    let ctx = Context::new();
    for n in 0..OBJECTS {
        broker
            .put_bytes(&ctx, &object(n), &object_bytes(n), PutMode::CreateIfAbsent)
            .unwrap();
        say(format_args!("PUT {n}"));
        if n % 4 == 3 {
            say(format_args!("DELETING {}", n - 2));
            broker.delete(&ctx, &object(n - 2)).unwrap();
            say(format_args!("DELETED {}", n - 2));
        }
    }
}

#[test]
fn a_local_broker_keeps_what_it_acknowledged_when_power_is_cut_at_any_sync() {
    if !can_run("broker") {
        return;
    }
    each_cut("broker", &Disk::new(), 24, &|left, _| {
        let remote = left.place.path().join("remote");
        if !remote.exists() {
            assert!(left.said.is_empty(), "{:?}", left.said);
            return;
        }
        let broker = LocalBroker::open(&remote).unwrap();
        let ctx = Context::new();
        for n in 0..OBJECTS {
            let found = broker.find(&ctx, &object(n), 1 << 20).unwrap();
            let put = left.has_said(&format!("PUT {n}"));
            let deleting = left.has_said(&format!("DELETING {n}"));
            assert!(found.is_some() || !put || deleting, "object {n} is lost");
            if let Some(found) = found {
                assert!(found == object_bytes(n), "object {n} is torn");
            }
        }
        // What the dead left does not stand in the way.
        broker.sweep(&ctx, Duration::ZERO).unwrap();
        for n in 0..OBJECTS {
            let done =
                broker.put_bytes(&ctx, &object(n), &object_bytes(n), PutMode::CreateIfAbsent);
            done.unwrap();
        }
    });
}

const STEPS: usize = 8;

/// Does the first steps of a storage's life.
fn storage(root: &Path, steps: usize) {
    let files = |name: &str, seed: u64| -> PathBuf {
        // The user's own files need not be on this disk.
        let dir =
            std::env::temp_dir().join(format!("holdfast-power-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        for n in 0..3_u64 {
            let len = (seed * 7_001 + n * 40_009) % 100_000;
            std::fs::write(
                dir.join(format!("file {seed} {n}")),
                noise(seed + n, len as usize),
            )
            .unwrap();
        }
        dir
    };
    let dirs = [files("one", 1), files("two", 20)];
    let storage = LocalStorage::open(root.join("storage"), Default::default()).unwrap();
    let load = |table: &str, partition: &str, dir: &Path| {
        let mut request = LoadRequest::new("db", table, vec![dir.to_owned()]);
        request.partition = Some(partition.to_owned());
        request.buckets = 2;
        storage.load(&request).unwrap();
    };
    for step in 0..steps.min(STEPS) {
        match step {
            0 => load("t", "p1", &dirs[0]),
            1 => load("t", "p2", &dirs[1]),
            2 => load("t", "p1", &dirs[1]),
            3 => load("u", "p1", &dirs[0]),
            4 => storage.truncate_table("db", "t", None).unwrap(),
            5 => load("t", "p2", &dirs[0]),
            6 => storage.drop_table("db", "u").unwrap(),
            _ => load("u", "p2", &dirs[1]),
        }
        say(format_args!("STEP {}", step + 1));
    }
    for dir in dirs {
        std::fs::remove_dir_all(dir).unwrap();
    }
}

fn tables(root: &Path) -> BTreeMap<&'static str, Option<String>> {
    let storage = LocalStorage::open(root.join("storage"), Default::default()).unwrap();
    let read = |table: &str| {
        let out = tempfile::tempdir().unwrap();
        let to = out.path().join("out");
        match storage.export(&ExportRequest::new("db", table, &to)) {
            Ok(report) => {
                assert!(report.faults.is_empty(), "{:?}", report.faults);
                Some(fingerprint(&to))
            }
            Err(e) if e.kind() == ErrorKind::NotFound => None,
            Err(e) => panic!("table {table} cannot be read: {e}"),
        }
    };
    ["t", "u"].into_iter().map(|t| (t, read(t))).collect()
}

#[test]
fn a_local_storage_keeps_what_it_acknowledged_when_power_is_cut_at_any_sync() {
    if !can_run("storage") {
        return;
    }
    let states: Vec<_> = (0..=STEPS)
        .map(|steps| {
            let _alone = ALONE.lock();
            let place = tempfile::tempdir().unwrap();
            storage(place.path(), steps);
            tables(place.path())
        })
        .collect();
    each_cut("storage", &Disk::new(), 24, &|left, _| {
        let done = left.last("STEP") as usize;
        let found = tables(left.place.path());
        let next = states.get(done + 1);
        assert!(
            found == states[done] || Some(&found) == next,
            "after step {done}: {found:?}"
        );
        storage(&left.place.path().join("again"), 2);
    });
}

const OP: OpId = OpId(7);
const TOKEN: Token = Token {
    epoch: 1,
    attempt: 1,
};

fn make_one(storage: &LocalStorage, table: &str) -> Targets {
    let tables = storage.tables("db").unwrap();
    let like = tables.iter().find(|info| info.name == table).unwrap();
    let partitions = like.partitions.iter().map(|p| RestorePartition {
        meta: p.meta.clone(),
        partition: Make::Overwrite,
    });
    let spec = RestoreSpec {
        database: "db".to_owned(),
        tables: vec![RestoreTable {
            name: table.to_owned(),
            schema: like.schema.clone(),
            table: Make::Overwrite,
            partitions: partitions.collect(),
        }],
        allow_load: AllowLoad::No,
        drop_tables: Vec::new(),
        drop_partitions: Vec::new(),
    };
    storage.create_targets(OP, &spec).unwrap()
}

fn new_bytes() -> Vec<u8> {
    noise(77, 10_000)
}

/// A restore at storage's own level. A process was killed in `prepare`, after it had given files
/// their final place and before it had made that durable; another one goes on.
fn moved(root: &Path) {
    let files = std::env::temp_dir().join(format!("holdfast-power-{}-moved", std::process::id()));
    std::fs::create_dir_all(&files).unwrap();
    std::fs::write(files.join("file"), noise(1, 5_000)).unwrap();
    let home = root.join("storage");
    let open = || LocalStorage::open(&home, Default::default()).unwrap();
    let storage = open();
    storage
        .load(&LoadRequest::new("db", "t", vec![files.clone()]))
        .unwrap();
    std::fs::remove_dir_all(&files).unwrap();
    say("LOADED");
    let targets = make_one(&storage, "t");
    let tablet = targets.tables[0].partitions[0].tablets[0].clone();
    let (id, backend) = (tablet.id, tablet.replicas[0]);
    let bytes = new_bytes();
    let entry = FileEntry {
        name: "file".to_owned(),
        len: bytes.len() as u64,
        hash: Some(FileHash::of(&bytes)),
        segments: Vec::new(),
    };
    let list = std::slice::from_ref(&entry);
    storage.stage(OP, TOKEN, backend, id, list).unwrap();
    match storage.stage_file(OP, TOKEN, backend, id, &entry).unwrap() {
        Staging::Write(mut file) => {
            file.write(&bytes).unwrap();
            file.finish().unwrap();
        }
        Staging::Done => panic!("nothing was staged yet"),
    }
    storage.settle(OP, TOKEN, backend, &[id]).unwrap();
    drop(storage);
    // Where the files go is seen in a copy, off this disk.
    let copy = tempfile::tempdir().unwrap();
    let there = copy.path().join("storage");
    copy_tree(&home, &there, &|_| false);
    let chunks = |storage: &Path| -> Vec<PathBuf> {
        let name = |path: PathBuf| path.strip_prefix(storage).unwrap().to_owned();
        let mut found = Vec::new();
        for backend in std::fs::read_dir(storage.join("backends")).unwrap() {
            let tablet = backend.unwrap().path().join("data").join(id.to_string());
            for chunk in std::fs::read_dir(tablet).into_iter().flatten() {
                found.push(name(chunk.unwrap().path()));
            }
        }
        found
    };
    let old = chunks(&there);
    LocalStorage::open(&there, Default::default())
        .unwrap()
        .prepare(OP)
        .unwrap();
    let mut new = chunks(&there);
    new.retain(|chunk| !old.contains(chunk));
    let [chunk] = new.as_slice() else {
        panic!("{new:?}");
    };
    let place = chunk.ancestors().nth(3).unwrap();
    let done = format!("staging/{OP}/{id}/done");
    std::fs::rename(home.join(place).join(done), home.join(chunk)).unwrap();
    let storage = open();
    storage.prepare(OP).unwrap();
    storage.commit(OP).unwrap();
    say("COMMITTED");
}

#[test]
fn a_restore_whose_files_a_killed_process_had_moved_is_whole_when_power_is_cut_at_any_sync() {
    if !can_run("moved") {
        return;
    }
    each_cut("moved", &Disk::new(), 60, &|left, _| {
        if !left.has_said("LOADED") {
            return;
        }
        let home = left.place.path().join("storage");
        let storage = LocalStorage::open(&home, Default::default()).unwrap();
        if storage.tables("db").unwrap()[0].access != Access::Normal {
            assert!(!left.has_said("COMMITTED"));
            storage.abort(OP).unwrap();
        }
        let out = tempfile::tempdir().unwrap();
        let to = out.path().join("out");
        storage.export(&ExportRequest::new("db", "t", &to)).unwrap();
        let found = std::fs::read(to.join("t/file")).or_else(|_| std::fs::read(to.join("file")));
        let (found, new) = (found.unwrap(), new_bytes());
        let old = !left.has_said("COMMITTED") && found == noise(1, 5_000);
        assert!(found == new || old, "{} bytes", found.len());
    });
}

/// A local snapshot at storage's own level. A process was killed after it had given the links their
/// place and before it had made that durable; another one goes on, and says when it is recorded.
fn linked(root: &Path) {
    let files = tempfile::tempdir().unwrap();
    std::fs::write(files.path().join("file"), noise(1, 5_000)).unwrap();
    let home = root.join("storage");
    let open = || LocalStorage::open(&home, Default::default()).unwrap();
    let storage = open();
    let from = vec![files.path().to_owned()];
    storage.load(&LoadRequest::new("db", "t", from)).unwrap();
    let (tablet, backend) = pinned(&storage);
    drop(storage);
    // Where the links go is seen in a copy, off this disk.
    let copy = tempfile::tempdir().unwrap();
    let there = copy.path().join("storage");
    copy_tree(&home, &there, &|_| false);
    let seen = LocalStorage::open(&there, Default::default()).unwrap();
    seen.link(OP, backend, &[tablet]).unwrap();
    drop(seen);
    for link in tree(&there.join("backends")).into_keys() {
        let Some((disk, name)) = link.split_once("/snapshot/") else {
            continue;
        };
        let backend = home.join("backends").join(disk);
        let link = backend.join("snapshot").join(name);
        let data = backend.join("data").join(tablet.to_string());
        let chunk = std::fs::read_dir(data).unwrap().next().unwrap().unwrap();
        let (folder, file) = (link.parent().unwrap(), link.file_name().unwrap());
        // The folder is durable under its first name, as a killed process had made it.
        let half = folder.with_extension("half");
        std::fs::create_dir_all(&half).unwrap();
        std::fs::hard_link(chunk.path().join(file), half.join(file)).unwrap();
        let synced = std::fs::File::open(&half).and_then(|folder| folder.sync_all());
        synced.unwrap();
        std::fs::rename(&half, folder).unwrap();
    }
    let storage = open();
    storage.link(OP, backend, &[tablet]).unwrap();
    say("LINKED");
    // Something after it, at which power can be cut.
    storage.create_database("later").unwrap();
}

/// The one tablet of table `t` and a backend that holds it, pinned.
fn pinned(storage: &LocalStorage) -> (TabletId, BackendId) {
    let request = PinRequest {
        database: "db".to_owned(),
        tables: vec![PinTable {
            name: "t".to_owned(),
            partitions: None,
        }],
    };
    let pin = storage.pin(OP, &request).unwrap();
    let tablet = &pin.tables[0].partitions[0].tablets[0];
    (tablet.id, tablet.replicas[0])
}

#[test]
fn a_local_snapshot_whose_links_a_killed_process_had_made_is_whole_when_power_is_cut_at_any_sync() {
    if !can_run("linked") {
        return;
    }
    each_cut("linked", &Disk::new(), 60, &|left, _| {
        if !left.has_said("LINKED") {
            return;
        }
        let home = left.place.path().join("storage");
        let storage = LocalStorage::open(&home, Default::default()).unwrap();
        let (tablet, backend) = pinned(&storage);
        let file = storage.open(OP, backend, tablet, "file").unwrap();
        let mut found = vec![0; usize::try_from(file.len()).unwrap()];
        let read = file.read_at(0, &mut found).unwrap();
        assert_eq!(read, found.len());
        assert!(found == noise(1, 5_000), "{} bytes", found.len());
    });
}

fn job(root: &Path, kind: JobKind, cancel: bool) {
    let node = open_at(root, None);
    let job = match kind {
        JobKind::Backup => node.engine.backup(&backup(label(kind))).unwrap(),
        JobKind::Restore => {
            let stamp = node.timestamp("repo", label(kind));
            node.engine.restore(&restore(label(kind), &stamp)).unwrap()
        }
    };
    say(format_args!("JOB {}", job.0));
    if cancel {
        std::thread::sleep(Duration::from_millis(60));
        if node.engine.cancel(kind, "db").is_ok() {
            say("CANCEL");
        }
    }
    let view = node.ended(job);
    say(view.state_name());
    released(&node, job);
    say("RELEASED");
}

/// Whatever was said of the job holds, and then the job comes to the end that its journal demands.
fn judge_job(template: &Template, kind: JobKind, left: &Left, number: usize) {
    let root = left.place.path();
    let events = holdfast_tests::verdict::events(root);
    let finished = match kind {
        JobKind::Backup => "BackupFinished",
        JobKind::Restore => "RestoreFinished",
    };
    let submitted = match kind {
        JobKind::Backup => "BackupSubmitted",
        JobKind::Restore => "RestoreSubmitted",
    };
    let since = events.iter().rposition(|name| *name == submitted);
    let since = since.map_or(&[] as &[&str], |at| &events[at..]);
    assert!(
        left.last("JOB") == 0 || since.contains(&submitted),
        "an accepted job is lost"
    );
    for (said, event) in [
        ("FINISHED", finished),
        ("CANCELLED", "JobCancelled"),
        ("CANCEL", "JobStopping"),
        ("RELEASED", "JobReleased"),
    ] {
        assert!(
            !left.has_said(said) || since.contains(&event),
            "{said} is lost"
        );
    }
    if left.has_said("FINISHED") && kind == JobKind::Restore {
        assert_eq!(contents(root), template.in_snapshot);
    }
    judge(template, kind, root, number);
}

fn each_cut_of_a_job(work: &str, kind: JobKind, few: u64) {
    if !can_run(work) {
        return;
    }
    let template = Template::new(kind, Size { big: 1, small: 4 });
    let place = template.copy();
    let disk = Disk::of(place.path());
    each_cut(work, &disk, few, &|left, number| {
        judge_job(&template, kind, left, number)
    });
}

#[test]
fn a_backup_comes_to_its_end_when_power_is_cut_at_any_sync() {
    each_cut_of_a_job("backup", JobKind::Backup, 8);
}

#[test]
fn an_overwriting_restore_leaves_all_old_or_all_new_when_power_is_cut_at_any_sync() {
    each_cut_of_a_job("restore", JobKind::Restore, 8);
}

#[test]
fn a_cancelled_backup_comes_to_its_end_when_power_is_cut_at_any_sync() {
    each_cut_of_a_job("backup, cancelled", JobKind::Backup, 6);
}

#[test]
fn a_cancelled_restore_comes_to_its_end_when_power_is_cut_at_any_sync() {
    each_cut_of_a_job("restore, cancelled", JobKind::Restore, 6);
}
