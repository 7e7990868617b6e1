//! Damage to every kind of file that a node and a repository consist of: deleted, cut, zeroed, a bit
//! turned over. What follows is the right result, or an error that names the thing: never a panic,
//! never wrong data, never a snapshot that is FINISHED and not whole.
//!
//! `HOLDFAST_DAMAGE=full` damages small files at every byte; without it a sample is taken. Each test
//! prints how many cases survived and how many were refused.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_broker::{
    Broker, Context, Fault, FaultPlan, FaultRule, LocalBroker, Request, Trouble, When,
};
use holdfast_engine::{Event, HistoryRequest, JobId, JobKind, JobView};
use holdfast_journal::{ArchiveRequest, FileJournal, Journal, ReadJournal, Seq};
use holdfast_repository::{Mode, Repository};
use holdfast_storage::events::CatalogEvent;
use holdfast_storage::testing::Catalog;
use holdfast_storage::{ErrorKind, ExportRequest};
use holdfast_tests::damage::{Action, Case, Outcome, cases, is_full, sweep};
use holdfast_tests::place::{copy_tree, is_immutable};
use holdfast_tests::template::{open_at, released, try_open_at};
use holdfast_tests::{Node, assert_finished, backup, noise, restore, tree};

/// The table with one replica, and the one with two.
const TABLES: [(&str, u32); 2] = [("one", 1), ("two", 2)];
const REPOSITORY: &str = "__holdfast_repository_repo";
type Files = BTreeMap<String, Vec<u8>>;

/// A node with two finished backups, the first of them archived; two tables of two partitions with
/// packed files and one object of its own.
struct Base {
    root: tempfile::TempDir,
    contents: BTreeMap<&'static str, Files>,
    stamp: String,
}

impl Base {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        let path = root.path();
        std::fs::create_dir_all(path.join("remote")).unwrap();
        let node = open_at(path, None);
        load(&node, path);
        node.repository("repo", &path.join("remote"));
        backed_up(&node, "s0");
        std::thread::sleep(Duration::from_millis(5));
        let archived = node.engine.archive(&HistoryRequest::before(u64::MAX));
        assert_eq!(archived.unwrap().jobs, 1);
        drop(node);
        archive_catalog(path);
        let node = open_at(path, None);
        node.storage.create_database("other").unwrap();
        backed_up(&node, "s1");
        let contents = TABLES.map(|(table, _)| (table, node.content("db", table)));
        let stamp = node.timestamp("repo", "s1");
        drop(node);
        // The last segments of both logs hold but an opening and a database.
        let (journal, _) =
            FileJournal::<Event>::open(path.join("node/journal"), Default::default()).unwrap();
        journal.roll().unwrap();
        drop(journal);
        let node = open_at(path, None);
        node.storage.create_database("last").unwrap();
        drop(node);
        Self {
            root,
            contents: contents.into(),
            stamp,
        }
    }

    fn copy(&self) -> tempfile::TempDir {
        copy_of(self.root.path())
    }

    /// The files of a folder below the root, relative to it.
    fn files(&self, folder: &str) -> Vec<PathBuf> {
        files(self.root.path(), folder)
    }
}

fn files(root: &Path, folder: &str) -> Vec<PathBuf> {
    let found = tree(&root.join(folder)).into_keys();
    found.map(|name| Path::new(folder).join(name)).collect()
}

fn copy_of(root: &Path) -> tempfile::TempDir {
    let to = tempfile::tempdir().unwrap();
    for folder in ["node", "remote"] {
        copy_tree(&root.join(folder), &to.path().join(folder), &is_immutable);
    }
    for journal in ["node/journal", "node/storage/catalog"] {
        let _ = std::fs::remove_dir_all(to.path().join(journal).join("index"));
    }
    to
}

fn load(node: &Node, root: &Path) {
    for (number, (table, replicas)) in (0..).zip(TABLES) {
        for (seed, partition) in [(number * 100, "p1"), (number * 100 + 50, "p2")] {
            let files = root.join(format!("files-{table}-{partition}"));
            std::fs::create_dir_all(&files).unwrap();
            for n in 0..4 {
                let name = files.join(format!("{table}-{partition}-small-{n}"));
                std::fs::write(name, noise(seed + n, 40 + n as usize)).unwrap();
            }
            if partition == "p1" {
                // From this length on a file is an object of its own.
                let name = files.join(format!("{table}-{partition}-large"));
                std::fs::write(name, noise(seed + 9, 1 << 20)).unwrap();
            }
            node.load(table, Some(partition), &files, replicas);
        }
    }
}

fn backed_up(node: &Node, label: &str) {
    let view = node.backup(label);
    assert_finished(&view);
    released(node, view.common().job);
}

/// Gives the catalog what it has after a long life: a checkpoint, an archive and an anchor.
fn archive_catalog(root: &Path) {
    let folder = root.join("node/storage/catalog");
    let (journal, _) = FileJournal::<CatalogEvent>::open(folder, Default::default()).unwrap();
    let mut catalog = Catalog::new();
    journal
        .read(Seq::FIRST, &mut |record| {
            let taken = catalog.apply(record.seq.get(), record.at_ms, &record.event);
            taken.unwrap();
            Ok(())
        })
        .unwrap();
    let last = journal.position().0;
    let state = catalog.checkpoint().unwrap();
    journal.checkpoint(last, "catalog-1", &state).unwrap();
    journal.roll().unwrap();
    let request = ArchiveRequest {
        before: last.next(),
        projection: "catalog-1",
        description: b"events of a storage's catalog",
        at_ms: 1,
    };
    assert!(journal.archive(&request).unwrap().is_some());
}

/// What a table of a database holds, or why it is not to be had.
fn exported(node: &Node, database: &str, table: &str) -> Result<Files, String> {
    let to = tempfile::tempdir().unwrap();
    let out = to.path().join("out");
    let request = ExportRequest::new(database, table, &out);
    match node.storage.export(&request) {
        Ok(_) => Ok(tree(&out)),
        Err(error) if error.kind() == ErrorKind::Damaged => Err(error.to_string()),
        Err(error) => panic!("export of {database}.{table}: {error}"),
    }
}

/// The words of a job that ended as CANCELLED; `None` for one that is FINISHED.
fn cancelled(view: &JobView) -> Option<String> {
    (view.state_name() != "FINISHED").then(|| view.common().status.message.clone())
}

/// Restores into a database of its own and compares; the words of a refusal.
fn restored(node: &Node, base: &Base, database: &str) -> Option<String> {
    let mut request = restore("s1", &base.stamp);
    request.source_database = Some("db".to_owned());
    request.database = database.to_owned();
    let job = match node.engine.restore(&request) {
        Ok(job) => job,
        Err(refusal) => return Some(refusal.message),
    };
    let view = node.ended(job);
    released(node, job);
    if let Some(words) = cancelled(&view) {
        return Some(words);
    }
    for (table, content) in &base.contents {
        assert!(
            exported(node, database, table).as_ref() == Ok(content),
            "restored wrongly: {table}"
        );
        node.storage.drop_table(database, table).unwrap();
    }
    None
}

/// All findings on a repository opened anew, or why it is not opened.
fn findings(remote: &Path, label: Option<&str>) -> Result<Vec<String>, String> {
    let broker: Arc<dyn Broker> = Arc::new(LocalBroker::open(remote).unwrap());
    let context = Context::new();
    let said = |error: holdfast_repository::Error| error.to_string();
    let repository = Repository::open(&context, broker, "repo", Mode::ReadOnly).map_err(said)?;
    let mut found = Vec::new();
    let sink = &mut |finding: holdfast_repository::Finding| found.push(finding.to_string());
    repository.verify(&context, label, sink).map_err(said)?;
    Ok(found)
}

fn outcome(refusals: Vec<String>) -> Outcome {
    match refusals.is_empty() {
        true => Outcome::Survived,
        false => Outcome::Refused(refusals.join("\n")),
    }
}

/// Opens a closed node: whatever is not refused is as it was.
fn judge_node(base: &Base, root: &Path, deep: bool) -> Outcome {
    let mut refusals = Vec::new();
    let mut note = |found: Result<(), holdfast_journal::Error>| {
        refusals.extend(found.err().map(|error| error.to_string()));
    };
    note(
        ReadJournal::<Event>::open(root.join("node/journal"))
            .and_then(|(journal, _)| journal.verify_archives()),
    );
    note(
        ReadJournal::<CatalogEvent>::open(root.join("node/storage/catalog"))
            .and_then(|(journal, _)| journal.verify_archives()),
    );
    let node = match try_open_at(root) {
        Ok(node) => node,
        Err(words) => {
            refusals.push(words);
            return outcome(refusals);
        }
    };
    let jobs = node.engine.views().jobs_of(JobKind::Backup, Some("db"));
    let job = jobs.iter().find(|view| view.common().label == "s1");
    let job = job.expect("a finished job is not known any more");
    assert_eq!(job.state_name(), "FINISHED");
    for (table, content) in &base.contents {
        assert!(
            exported(&node, "db", table).as_ref() == Ok(content),
            "{table}"
        );
    }
    if deep {
        assert_eq!(findings(&root.join("remote"), None), Ok(Vec::new()));
        assert_eq!(restored(&node, base, "copy"), None);
    }
    outcome(refusals)
}

#[test]
fn a_node_whose_logs_are_damaged_opens_with_all_it_had_or_names_the_file() {
    let base = Base::new();
    let mut all = Vec::new();
    for (folder, places) in [
        (
            "node/journal",
            [
                "journal segment",
                "journal checkpoint",
                "journal archive",
                "journal anchor",
            ],
        ),
        (
            "node/storage/catalog",
            [
                "catalog segment",
                "catalog checkpoint",
                "catalog archive",
                "catalog anchor",
            ],
        ),
    ] {
        let mut seen = std::collections::BTreeSet::new();
        for file in base.files(folder) {
            let name = file.to_string_lossy();
            let place = match () {
                () if name.ends_with(".log") => places[0],
                () if name.ends_with(".checkpoint") => places[1],
                () if name.ends_with(".archive") => places[2],
                () if name.ends_with("/anchor") => places[3],
                () => continue,
            };
            seen.insert(place);
            all.extend(cases(base.root.path(), place, &file, 4));
        }
        assert_eq!(seen.len(), 4, "{seen:?}");
    }
    let run = |(): &mut (), case: &Case| {
        let copy = base.copy();
        case.damage(copy.path());
        judge_node(&base, copy.path(), case.number.is_multiple_of(16))
    };
    let names = |case: &Case| {
        let mut names = vec![case.name()];
        if case.place.ends_with("segment") {
            // Where the last batch of the journal went with its segment, the other log tells.
            names.push("the storage's catalog stands at ".to_owned());
        }
        names
    };
    sweep(("logs of a closed node", 2), all, || (), run, names);
}

/// A node that stays open while its repository is damaged and repaired.
struct Reader {
    copy: tempfile::TempDir,
    node: Node,
}

impl Reader {
    fn new(base: &Base) -> Self {
        let copy = base.copy();
        let node = open_at(copy.path(), None);
        Self { copy, node }
    }
}

fn judge_remote(reader: &mut Reader, base: &Base, case: &Case) -> Outcome {
    let (node, root) = (&reader.node, reader.copy.path());
    let before = case.damage(root);
    let mut refusals = Vec::new();
    let (found, opened) = match findings(&root.join("remote"), None) {
        Ok(found) => (found, true),
        Err(words) => (vec![words], false),
    };
    let restored = restored(node, base, &format!("c{}", case.number));
    // Without its marker there is no snapshot, whose label and time the restore names.
    let is_gone = case.place == "marker" && case.action == Action::Delete;
    assert!(
        restored.is_none() || !found.is_empty() || is_gone,
        "verify finds nothing, a restore does: {restored:?}"
    );
    let is_info = case.name() == "__repo_info";
    assert_eq!(opened, !is_info || found.is_empty());
    refusals.extend(found);
    refusals.extend(restored);
    if case.place == "claim" {
        // A label that is taken stays taken.
        let again = node.engine.backup(&backup("s1"));
        let job = again.map(|job| node.ended(job));
        assert!(job.is_err() || cancelled(&job.unwrap()).is_some());
        assert_eq!(findings(&root.join("remote"), Some("s1")), Ok(Vec::new()));
    }
    if matches!(case.action, Action::Delete | Action::Truncate(_))
        && matches!(case.place, "pack" | "object")
    {
        // What is seen to be missing or short is sent again.
        let label = format!("again{}", case.number);
        let view = node.backup(&label);
        released(node, view.common().job);
        match cancelled(&view) {
            None => assert_eq!(
                findings(&root.join("remote"), Some(&label)),
                Ok(Vec::new()),
                "a snapshot is FINISHED and not whole"
            ),
            Some(words) => refusals.push(words),
        }
        let folder = root.join("remote").join(REPOSITORY);
        std::fs::remove_dir_all(folder.join(format!("__ss_{label}"))).unwrap();
    }
    case.repair(root, &before);
    outcome(refusals)
}

#[test]
fn a_damaged_repository_restores_rightly_or_names_the_object() {
    let base = Base::new();
    let mut all = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for file in base.files("remote") {
        let name = file.to_string_lossy();
        let (place, sample) = match () {
            () if name.contains("/packs/") => ("pack", 2),
            () if name.contains("/objects/") => ("object", 2),
            () if name.contains("__ss_s0/") => continue,
            () if name.contains("/part.") => ("manifest part", 2),
            () if name.contains("/__info_") => ("marker", 4),
            () if name.contains("/claim.") => ("claim", 3),
            () if name.ends_with("/__repo_info") => ("repository info", 4),
            () => panic!("{name} was left"),
        };
        seen.insert(place);
        all.extend(cases(base.root.path(), place, &file, sample));
    }
    assert_eq!(seen.len(), 6, "{seen:?}");
    let gone = format!("snapshot s1 has no timestamp {}", base.stamp);
    let names = |case: &Case| vec![case.name(), "repository repo".to_owned(), gone.clone()];
    sweep(
        ("a repository with a finished snapshot", 2),
        all,
        || Reader::new(&base),
        |reader, case| judge_remote(reader, &base, case),
        names,
    );
}

/// A node that stays open while its tables are damaged and repaired, with a repository for each case.
fn judge_tables(reader: &mut Reader, base: &Base, case: &Case) -> Outcome {
    let (node, root) = (&reader.node, reader.copy.path());
    let before = case.damage(root);
    let mut refusals = Vec::new();
    for (table, content) in &base.contents {
        match exported(node, "db", table) {
            Ok(found) => assert!(found == *content, "exported wrongly: {table}"),
            Err(words) => refusals.push(words),
        }
    }
    let remote = root.join(format!("remote-{}", case.number));
    std::fs::create_dir_all(&remote).unwrap();
    let name = format!("r{}", case.number);
    node.repository(&name, &remote);
    let mut request = backup("s1");
    request.repository = name.clone();
    let job = node.engine.backup(&request).unwrap();
    let view = node.ended(job);
    released(node, job);
    let words = cancelled(&view);
    assert_eq!(
        words.is_some(),
        !refusals.is_empty(),
        "{words:?}, an export: {refusals:?}"
    );
    assert!(
        case.place != "data file, two replicas" || words.is_none(),
        "another replica is whole: {words:?}"
    );
    if words.is_none() {
        check_whole(node, base, &name, case.number);
    }
    refusals.extend(words);
    node.engine.drop_repository(&name).unwrap();
    std::fs::remove_dir_all(&remote).unwrap();
    case.repair(root, &before);
    outcome(refusals)
}

/// A finished snapshot of a repository proves whole and restores what the tables held.
fn check_whole(node: &Node, base: &Base, repository: &str, number: usize) {
    let opened = node.engine.repository(repository).unwrap();
    let mut found = Vec::new();
    let sink = &mut |finding| found.push(finding);
    opened.verify(&Context::new(), None, sink).unwrap();
    assert_eq!(found, [], "a snapshot is FINISHED and not whole");
    let mut request = restore("s1", &node.timestamp(repository, "s1"));
    request.repository = repository.to_owned();
    request.source_database = Some("db".to_owned());
    request.database = format!("c{number}");
    let view = node.restore(&request);
    assert_finished(&view);
    released(node, view.common().job);
    for (table, content) in &base.contents {
        assert!(
            exported(node, &request.database, table).as_ref() == Ok(content),
            "{table}"
        );
        node.storage.drop_table(&request.database, table).unwrap();
    }
}

#[test]
fn a_damaged_data_file_is_named_by_backup_and_export_unless_another_replica_is_whole() {
    let base = Base::new();
    let hash = |bytes: &[u8]| blake3::hash(bytes).to_hex().to_string();
    // Which user's file a data file holds; each content is there once per replica.
    let mut names: BTreeMap<String, String> = BTreeMap::new();
    for content in base.contents.values() {
        let known = |(name, bytes): (&String, &Vec<u8>)| {
            (hash(bytes), name.rsplit('/').next().unwrap().to_owned())
        };
        names.extend(content.iter().map(known));
    }
    let name_of =
        |file: &Path| names[&hash(&std::fs::read(base.root.path().join(file)).unwrap())].clone();
    let mut all = Vec::new();
    let mut number = 0;
    for file in base.files("node/storage/backends") {
        if !file.components().any(|part| part.as_os_str() == "data") {
            continue;
        }
        // In a sample of every third of the small ones and of all large ones.
        number += 1;
        let len = std::fs::metadata(base.root.path().join(&file))
            .unwrap()
            .len();
        if !is_full() && len < 1_000 && number % 3 != 0 {
            continue;
        }
        let place = match name_of(&file).starts_with("one") {
            true => "data file, one replica",
            false => "data file, two replicas",
        };
        all.extend(cases(base.root.path(), place, &file, 1));
    }
    for file in base.files("node/storage/lists") {
        all.extend(cases(base.root.path(), "list of files", &file, 1));
    }
    let run = |reader: &mut Reader, case: &Case| judge_tables(reader, &base, case);
    let named = |case: &Case| match case.place {
        "list of files" => vec![format!("lists/{}", case.name()), case.name()],
        _ => vec![name_of(&case.file)],
    };
    sweep(
        ("data files before a backup", 2),
        all,
        || Reader::new(&base),
        run,
        named,
    );
}

/// A copy of the base in which a job of this kind is under way, its transfers hanging.
fn under_way(base: &Base, kind: JobKind) -> tempfile::TempDir {
    let copy = base.copy();
    let root = copy.path();
    let troubles = FaultPlan::new(1);
    let request = match kind {
        JobKind::Backup => Request::Put,
        JobKind::Restore => Request::Get,
    };
    for folder in ["/objects/", "/packs/"] {
        troubles.add(FaultRule::on(request, When::Always, Trouble::Hang).named(folder));
    }
    let (remote, plan) = (root.join("remote"), troubles.clone());
    let node = Node::open_with(
        &root.join("node"),
        Arc::new(move |_| {
            let local: Arc<dyn Broker> = Arc::new(LocalBroker::open(&remote).unwrap());
            Arc::new(Fault::new(local, plan.clone())) as Arc<dyn Broker>
        }),
    );
    if kind == JobKind::Backup {
        // Content that the repository does not hold yet.
        let files = root.join("more");
        std::fs::create_dir_all(&files).unwrap();
        std::fs::write(files.join("one-p2-more"), noise(77, 500)).unwrap();
        node.load("one", Some("p2"), &files, 1);
        node.engine.backup(&backup("s2")).unwrap();
    } else {
        let mut request = restore("s1", &base.stamp);
        request.source_database = Some("db".to_owned());
        request.database = "copy".to_owned();
        node.engine.restore(&request).unwrap();
    }
    let deadline = Instant::now() + Duration::from_secs(60);
    while troubles.fired() == 0 {
        assert!(Instant::now() < deadline, "nothing was transferred");
        std::thread::sleep(Duration::from_millis(2));
    }
    // What hangs is let go by the closing engine, and the job stays where it is.
    node.engine.close();
    drop(node);
    copy
}

/// What a job that puts its marker waits for, as its task has failed; `None` for a job that ended.
fn waits(node: &Node, job: JobId) -> Option<String> {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        let view = node.engine.wait(job, Duration::from_millis(10)).unwrap();
        if view.has_ended() {
            return None;
        }
        let failed = view.common().errors.first();
        if let (Some(failed), "UPLOAD_INFO") = (failed, view.state_name()) {
            return Some(failed.message.clone());
        }
        assert!(
            Instant::now() < deadline,
            "job {job} does not end: {view:?}"
        );
    }
}

/// The finished snapshot of the job proves whole and restores what the tables held.
fn check_backup(base: &Base, node: &Node, root: &Path) {
    let label = Some("s2");
    assert_eq!(findings(&root.join("remote"), label), Ok(Vec::new()));
    let mut wanted = base.contents.clone();
    let more = ("p2/one-p2-more".to_owned(), noise(77, 500));
    wanted.get_mut("one").unwrap().extend([more]);
    let mut request = restore("s2", &node.timestamp("repo", "s2"));
    request.source_database = Some("db".to_owned());
    request.database = "again".to_owned();
    assert_finished(&node.restore(&request));
    for (table, content) in &wanted {
        assert!(
            exported(node, "again", table).as_ref() == Ok(content),
            "{table}"
        );
    }
}

/// Lets a job go on in a damaged copy: FINISHED means whole, CANCELLED says why.
fn judge_under_way(
    base: &Base,
    root: &Path,
    kind: JobKind,
    (case, bytes): (&Case, &[u8]),
) -> Outcome {
    let node = match try_open_at(root) {
        Ok(node) => node,
        Err(words) => return Outcome::Refused(words),
    };
    let database = match kind {
        JobKind::Backup => "db",
        JobKind::Restore => "copy",
    };
    let jobs = node.engine.views().jobs_of(kind, Some(database));
    let job = jobs
        .last()
        .expect("the job is not known any more")
        .common()
        .job;
    let mut said = Vec::new();
    if let Some(words) = waits(&node, job) {
        // The marker may be there or not, so the job neither ends nor is given up: once the file is
        // put back it comes to its end.
        assert_eq!(case.place, "claim of a backup under way", "{words}");
        case.repair(root, bytes);
        assert_finished(&node.ended(job));
        said.push(words);
    }
    let view = node.ended(job);
    let words = cancelled(&view);
    match (kind, &words) {
        (JobKind::Backup, None) => check_backup(base, &node, root),
        (JobKind::Restore, None) => {
            for (table, content) in &base.contents {
                assert!(
                    exported(&node, "copy", table).as_ref() == Ok(content),
                    "{table}"
                );
            }
        }
        (JobKind::Backup, Some(_)) => {
            let opened = node.engine.repository("repo");
            let labels = opened.map(|opened| opened.labels(&Context::new()).unwrap());
            let is_s2 = |entry: &holdfast_repository::LabelEntry| {
                entry.label == "s2" && !entry.snapshots.is_empty()
            };
            assert!(labels.is_err() || !labels.unwrap().iter().any(is_s2));
        }
        (JobKind::Restore, Some(_)) => {
            for (table, _) in TABLES {
                let to = root.join("none");
                let export = node.storage.export(&ExportRequest::new("copy", table, to));
                assert!(export.is_err(), "a cancelled restore left {table}");
            }
        }
    }
    // Whatever else, the tables that the job only read are what they were.
    let two = exported(&node, "db", "two");
    assert!(
        two.as_ref() == Ok(&base.contents["two"]),
        "case {}",
        case.number
    );
    said.extend(words);
    outcome(said)
}

fn damage_under_way(kind: JobKind, places: &[(&'static str, &str)]) {
    let base = Base::new();
    let origin = under_way(&base, kind);
    let mut all = Vec::new();
    for (place, part) in places {
        let mut found = files(origin.path(), "node/jobs");
        found.extend(files(origin.path(), "remote"));
        found.retain(|file| file.to_string_lossy().contains(part));
        assert!(!found.is_empty(), "there is no {place}");
        for file in found {
            all.extend(cases(origin.path(), place, &file, 2));
        }
    }
    let run = |(): &mut (), case: &Case| {
        let copy = copy_of(origin.path());
        let bytes = case.damage(copy.path());
        judge_under_way(&base, copy.path(), kind, (case, &bytes))
    };
    let names = |case: &Case| {
        let mut names = vec![case.name(), "repository 'repo'".to_owned()];
        if case.place.starts_with("claim") {
            names.push("snapshot s2 is no longer claimed by job ".to_owned());
        }
        names
    };
    // Most of the time a job waits before it tries again.
    let title = format!("{kind:?} under way");
    sweep((&title, 8), all, || (), run, names);
}

#[test]
fn a_backup_under_way_whose_files_are_damaged_ends_whole_or_says_what_is_damaged() {
    let places = [
        ("work file of a backup", "node/jobs/"),
        ("claim of a backup under way", "__ss_s2/claim"),
        ("intent", "/intents/"),
        ("repository info, job under way", "/__repo_info"),
    ];
    damage_under_way(JobKind::Backup, &places);
}

#[test]
fn a_restore_under_way_whose_files_are_damaged_ends_whole_or_says_what_is_damaged() {
    damage_under_way(
        JobKind::Restore,
        &[("work file of a restore", "node/jobs/")],
    );
}
