//! Whole jobs of a node of real parts beside what a user would copy the same tree with.
//!
//! In each round every contender runs once, on a disk that was left to rest before. The backups go
//! to a fresh repository each time; the restores make a table that is absent. What has many files
//! is left where it is until the end: an ext4 without a journal does not give an inode again for a
//! minute after its file was deleted, and looks for another one each time a file is made.

use std::path::Path;
use std::time::{Duration, Instant};

use crate::copy::{Tree, cp_and_sync, digest, fdatasync, sequential_write};
use crate::node::{Counts, Node, TABLE};
use crate::place::{Place, settle};
use crate::report::{Samples, Table, rate, seconds, times};
use crate::scale::Scale;

/// What the backups of one tree took, round by round.
#[derive(Clone, Debug, Default)]
pub struct Backups {
    /// The first backup of the tree into a fresh repository.
    pub first: Samples,
    /// Another one of the same data.
    pub repeat: Samples,
    /// `cp -r` and `sync -f` of the tree.
    pub cp: Samples,
    /// One sequential write of as many bytes.
    pub write: Samples,
    /// What the last first backup asked for.
    pub asked: Counts,
    /// What the last repeated backup asked for.
    pub asked_again: Counts,
}

/// What the restores of one tree took, round by round.
#[derive(Clone, Debug, Default)]
pub struct Restores {
    /// A restore of the tree as an absent table.
    pub restore: Samples,
    /// `cp -r` and `sync -f` of the tree.
    pub cp: Samples,
}

/// What the smallest jobs took, round by round.
#[derive(Clone, Debug, Default)]
pub struct Smallest {
    /// A backup, or a restore, of an empty table.
    pub job: Samples,
    /// One small append and its `fdatasync`.
    pub sync: Samples,
    /// What the last job asked for.
    pub asked: Counts,
}

impl Smallest {
    /// The syncs that the job has to wait for, one after the other: each of the journal, and two of
    /// each put (the content, and its name in the folder).
    #[must_use]
    pub fn serial_syncs(&self) -> u64 {
        self.asked.journal_syncs + 2 * (self.asked.puts + self.asked.work_puts)
    }
}

fn timed<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let begun = Instant::now();
    let done = work();
    (begun.elapsed(), done)
}

/// Reads all files below a folder, so that no contender pays for what another one pushed out of the
/// page cache. What was hot before a job reads it stays so; what was cold does not become hot by
/// it.
fn warm(folder: &Path) {
    std::hint::black_box(digest(folder));
}

/// Fewer files than this may be removed between two measurements.
const FEW: u64 = 1000;

fn remove_if_few(tree: &Tree, folder: &Path) {
    if tree.files < FEW {
        remove(folder);
    }
}

fn remove(folder: &Path) {
    std::fs::remove_dir_all(folder).unwrap();
}

/// Backs the tree up into fresh repositories, beside the floor.
#[must_use]
pub fn backups(place: &Path, tree: &Tree, rounds: usize) -> Backups {
    let mut out = Backups::default();
    let folder = place.join("backups");
    let node = Node::open(&folder.join("node"));
    node.load(Some(&tree.path));
    for round in 0..rounds {
        // Who comes first meets a disk with credit and a cache without debts, so all take turns at
        // it.
        let plain_first = round % 2 == 0;
        if plain_first {
            plain(&folder, tree, round, &mut out);
        }
        let name = format!("repo{round}");
        let remote = folder.join(&name);
        node.repository(&name, &remote);
        warm(&folder.join("node").join("storage").join("backends"));
        settle(&folder);
        let before = node.counts();
        out.first.add(timed(|| node.backup(&name, "first")).0);
        out.asked = node.counts().since(before);
        assert!(out.asked.sent_bytes >= tree.bytes, "all bytes were sent");
        node.rest();
        settle(&folder);
        let before = node.counts();
        out.repeat.add(timed(|| node.backup(&name, "again")).0);
        out.asked_again = node.counts().since(before);
        assert!(
            out.asked_again.sent_bytes < tree.bytes / 2 + 65_536,
            "no data was sent again"
        );
        node.rest();
        assert_eq!(
            node.verify(&name),
            2 * tree.files,
            "both snapshots are whole"
        );
        remove_if_few(tree, &remote);
        if !plain_first {
            plain(&folder, tree, round, &mut out);
        }
    }
    out
}

/// The contenders of a backup that know nothing of tables.
fn plain(folder: &Path, tree: &Tree, round: usize, out: &mut Backups) {
    let copy = folder.join(format!("copy{round}"));
    warm(&tree.path);
    settle(folder);
    out.cp.add(cp_and_sync(&tree.path, &copy));
    remove_if_few(tree, &copy);
    settle(folder);
    let file = folder.join("plain");
    out.write
        .add(timed(|| sequential_write(tree.bytes, &file)).0);
    std::fs::remove_file(&file).unwrap();
}

/// Restores the tree as an absent table, beside the floor.
#[must_use]
pub fn restores(place: &Path, tree: &Tree, rounds: usize) -> Restores {
    let mut out = Restores::default();
    let folder = place.join("restores");
    let node = Node::open(&folder.join("node"));
    node.load(Some(&tree.path));
    node.repository("repo", &folder.join("repo"));
    node.backup("repo", "all");
    for round in 0..rounds {
        for turn in [round, round + 1] {
            node.rest();
            warm(&folder.join("repo"));
            warm(&tree.path);
            settle(&folder);
            if turn % 2 == 0 {
                let copy = folder.join(format!("copy{round}"));
                out.cp.add(cp_and_sync(&tree.path, &copy));
                remove_if_few(tree, &copy);
            } else {
                let table = format!("t{round}");
                out.restore
                    .add(timed(|| node.restore("repo", "all", &table)).0);
                node.rest();
                prove(&node, tree, &table, &folder.join("exported"));
            }
        }
    }
    out
}

/// Compares a table with the tree; of many files only the first one. One of few files is dropped
/// then, since memory that was just given up is cheaper to write to than new memory, and both
/// contenders shall find some.
fn prove(node: &Node, tree: &Tree, table: &str, to: &Path) {
    if !to.exists() || tree.files < FEW {
        node.export(table, to);
        let mut partitions = std::fs::read_dir(to).unwrap();
        let only = partitions.next().unwrap().unwrap().path();
        assert_eq!(digest(&only), tree.digest, "the table holds the tree");
    }
    if tree.files < FEW {
        remove(to);
        node.drop_table(table);
    }
}

/// Backs up, then restores, an empty table, beside the syncs that it takes.
#[must_use]
pub fn smallest(place: &Path, rounds: usize) -> (Smallest, Smallest) {
    let (mut backup, mut restore) = (Smallest::default(), Smallest::default());
    let folder = place.join("smallest");
    let node = Node::open(&folder.join("node"));
    node.load(None);
    node.repository("repo", &folder.join("repo"));
    settle(&folder);
    for round in 0..rounds {
        let label = format!("empty{round}");
        backup.sync.add(fdatasync(&folder));
        let before = node.counts();
        backup.job.add(timed(|| node.backup("repo", &label)).0);
        backup.asked = node.counts().since(before);
        node.rest();
        node.drop_table(TABLE);
        restore.sync.add(fdatasync(&folder));
        let before = node.counts();
        restore
            .job
            .add(timed(|| node.restore("repo", &label, TABLE)).0);
        restore.asked = node.counts().since(before);
        node.rest();
    }
    (backup, restore)
}

/// Measures and prints everything about backups.
pub fn report_backups(place: &Place, scale: Scale) {
    for tree in trees(place, scale) {
        let found = backups(place.path(), &tree, scale.rounds);
        let title = title("backup", place, &tree.describe(), scale.rounds);
        let columns = [
            "work",
            "median",
            "range",
            "bytes",
            "beside cp + sync",
            "beside plain write",
        ];
        let mut table = Table::new(&title, &columns);
        let rows = [
            ("first full backup", &found.first),
            ("repeat, unchanged", &found.repeat),
            ("`cp -r` + `sync -f`", &found.cp),
            ("one sequential write + fdatasync", &found.write),
        ];
        for (name, samples) in rows {
            table.row(&[
                name.to_owned(),
                seconds(samples.median()),
                range(samples),
                format!("{:.0} MB/s", tree.bytes as f64 / 1e6 / samples.median()),
                times(samples.ratio_to(&found.cp)),
                times(samples.ratio_to(&found.write)),
            ]);
        }
        table.print();
        println!(
            "{} puts for {} files, manifest and marks included · the repeat takes {:.1} % of the \
             first and sends {} bytes",
            found.asked.puts,
            tree.files,
            100.0 * found.repeat.ratio_to(&found.first),
            found.asked_again.sent_bytes
        );
        remove(&tree.path);
        remove(&place.path().join("backups"));
    }
    let (backup, restore) = smallest(place.path(), scale.rounds * 4);
    report_smallest(place, [("backup", &backup), ("restore", &restore)]);
}

fn report_smallest(place: &Place, jobs: [(&str, &Smallest); 2]) {
    let title = title(
        "smallest jobs",
        place,
        "an empty table",
        jobs[0].1.job.count(),
    );
    let columns = [
        "job",
        "median",
        "range",
        "journal syncs",
        "repository puts",
        "work files",
        "serial syncs",
        "one fdatasync",
        "beside its syncs",
    ];
    let mut table = Table::new(&title, &columns);
    for (name, found) in jobs {
        let floor = found.serial_syncs() as f64 * found.sync.median();
        table.row(&[
            name.to_owned(),
            seconds(found.job.median()),
            range(&found.job),
            found.asked.journal_syncs.to_string(),
            found.asked.puts.to_string(),
            found.asked.work_puts.to_string(),
            found.serial_syncs().to_string(),
            seconds(found.sync.median()),
            times(found.job.median() / floor),
        ]);
    }
    table.print();
}

/// Measures and prints everything about restores.
pub fn report_restores(place: &Place, scale: Scale) {
    for tree in trees(place, scale) {
        let found = restores(place.path(), &tree, scale.rounds);
        let title = title("restore", place, &tree.describe(), scale.rounds);
        let columns = [
            "work",
            "median",
            "range",
            "bytes",
            "files",
            "beside cp + sync",
        ];
        let mut table = Table::new(&title, &columns);
        let rows = [
            ("restore", &found.restore),
            ("`cp -r` + `sync -f`", &found.cp),
        ];
        for (name, samples) in rows {
            table.row(&[
                name.to_owned(),
                seconds(samples.median()),
                range(samples),
                format!("{:.0} MB/s", tree.bytes as f64 / 1e6 / samples.median()),
                rate(tree.files, samples.median()),
                times(samples.ratio_to(&found.cp)),
            ]);
        }
        table.print();
        remove(&tree.path);
        remove(&place.path().join("restores"));
    }
}

fn range(samples: &Samples) -> String {
    let (low, high) = samples.range();
    format!("{} – {}", seconds(low), seconds(high))
}

fn title(what: &str, place: &Place, input: &str, rounds: usize) -> String {
    format!(
        "### {what}: {input} · {} · median of {rounds} rounds",
        place.describe()
    )
}

/// The two trees, each made when it is its turn.
fn trees(place: &Place, scale: Scale) -> impl Iterator<Item = Tree> {
    let sizes = [
        (scale.big_bytes / scale.big_file_bytes, scale.big_file_bytes),
        (scale.small_files, scale.small_file_bytes),
    ];
    let path = place.path().join("tree");
    sizes
        .into_iter()
        .filter(|(files, _)| *files > 0)
        .map(move |(files, bytes)| Tree::make(&path, files, bytes))
}
