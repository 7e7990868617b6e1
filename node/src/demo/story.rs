//! The chapters of the demo, in their order. Each does something real and says what it cost.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use holdfast_broker::Request;
use holdfast_engine::JobView;
use holdfast_sql::output;
use holdfast_storage::{ExportRequest, LoadRequest, Progress, Storage};

use super::floor::Costs;
use super::place::Place;
use super::proof::Contents;
use super::tpch::{self, SHIP_YEARS, Table, Written};
use super::{io_failed, say};
use crate::brokers::Traffic;
use crate::exit::Failure;
use crate::node::{Node, NodeOptions, storage_failure};
use crate::session::Session;
use crate::transfer::Meter;
use crate::{out, text, wait};

const DATABASE: &str = "tpch";
/// Columns of the story where it does not go to a terminal.
const STORY_WIDTH: usize = 160;
/// Tablet counts of a job as small as the smallest are not worth more tries.
const SMALLEST_TRIES: usize = 3;

/// What the story has so far.
pub(super) struct Story {
    root: PathBuf,
    scale_factor: f64,
    node: Node,
    /// Every input file as it was made, before the storage saw it.
    made: Contents,
    /// The backup to restore from.
    timestamp: String,
}

impl Story {
    /// Opens the data folder.
    pub(super) fn begin(place: Place, scale_factor: f64) -> Result<Self, Failure> {
        let root = place.root().to_owned();
        let options = NodeOptions {
            traffic: Traffic::Counted,
            ..Default::default()
        };
        let node = Node::open(place.into_folder(), options)?;
        Ok(Self {
            root,
            scale_factor,
            node,
            made: Contents::default(),
            timestamp: String::new(),
        })
    }

    fn input(&self) -> PathBuf {
        self.root.join("demo/input")
    }

    /// Closes the data folder.
    pub(super) fn end(self) {
        self.node.settle(Duration::from_secs(5));
        self.node.close();
    }

    /// Runs a statement as a user would, with its text in the story; gives the job it started.
    fn run(&self, statement: &str) -> Result<Option<Arc<JobView>>, Failure> {
        say(&format!("  holdfast> {statement};"))?;
        let outcome = Session::new(&self.node, "root".into(), Some(DATABASE.into()))
            .execute_text(statement)?;
        if let Some(table) = outcome.table {
            let width = out::width().unwrap_or(STORY_WIDTH).saturating_sub(2);
            for line in output::table(&table, Some(width)).lines() {
                say(&format!("  {line}"))?;
            }
        }
        outcome
            .job
            .map(|job| wait::for_job(&self.node, job))
            .transpose()
    }

    /// As [`run`](Self::run), for a statement that starts a job; with the time until it ended.
    fn job(&self, statement: &str) -> Result<(Arc<JobView>, Duration), Failure> {
        let start = Instant::now();
        let view = self.run(statement)?;
        let time = start.elapsed();
        view.map(|view| (view, time))
            .ok_or_else(|| Failure::failed("FAILED", format!("'{statement}' started no job")))
    }

    /// TPC-H as files, and their hashes.
    pub(super) fn make_data(&mut self) -> Result<(), Failure> {
        let start = Instant::now();
        let input = self.input();
        let written = Written::default();
        let meter = Meter::start("making TPC-H data");
        let expected = tpch::expected_bytes(self.scale_factor);
        std::thread::scope(|scope| {
            let work = scope.spawn(|| tpch::generate(&input, self.scale_factor, &written));
            while !work.is_finished() {
                std::thread::sleep(Duration::from_millis(50));
                let bytes = written.bytes.load(Ordering::Relaxed);
                let files = written.files.load(Ordering::Relaxed);
                let bytes_total = expected.max(bytes);
                meter.show(Progress {
                    files,
                    files_total: files,
                    bytes,
                    bytes_total,
                });
            }
            work.join()
                .unwrap_or_else(|_| Err(std::io::Error::other("the generator panicked")))
        })
        .map_err(io_failed("TPC-H data"))?;
        meter.clear();
        let time = start.elapsed();
        self.made = Contents::of(&input).map_err(io_failed("TPC-H data"))?;
        say(&format!(
            "\n1. TPC-H at scale factor {}: {}, {} made in {}; the BLAKE3 of each is kept aside.",
            self.scale_factor,
            text::count(self.made.files(), "file"),
            text::bytes(self.made.bytes()),
            text::duration(time)
        ))
    }

    /// Tables with their schemas, and the files in them.
    pub(super) fn load(&mut self) -> Result<(), Failure> {
        say("\n2. Eight tables, lineitem partitioned by ship year:")?;
        let mut session = Session::new(&self.node, "root".into(), Some(DATABASE.into()));
        session.execute_text(&format!("CREATE DATABASE {DATABASE}"))?;
        for table in Table::ALL {
            session.execute_text(&format!(
                "CREATE TABLE {} {}",
                table.name(),
                table.definition()
            ))?;
        }
        let start = Instant::now();
        let meter = Meter::start("loading");
        for table in Table::ALL {
            if table == Table::LineItem {
                for year in SHIP_YEARS {
                    let source = tpch::folder(&self.input(), table, Some(year));
                    self.load_one(table, Some(format!("y{year}")), source, &meter)?;
                }
            } else {
                self.load_one(
                    table,
                    None,
                    tpch::folder(&self.input(), table, None),
                    &meter,
                )?;
            }
        }
        meter.clear();
        let time = start.elapsed();
        self.run("SHOW TABLES")?;
        say(&format!(
            "   {} hashed, copied and durable in {}{}",
            text::bytes(self.made.bytes()),
            text::duration(time),
            text::rate(self.made.bytes(), time)
        ))
    }

    fn load_one(
        &self,
        table: Table,
        partition: Option<String>,
        source: PathBuf,
        meter: &Meter,
    ) -> Result<(), Failure> {
        let show = |progress: Progress| meter.show(progress);
        let request = LoadRequest {
            partition,
            progress: Some(&show),
            ..LoadRequest::new(DATABASE, table.name(), vec![source])
        };
        self.node
            .storage
            .load(&request)
            .map_err(|error| storage_failure(&error))?;
        Ok(())
    }

    /// The first full backup.
    pub(super) fn first_backup(&mut self) -> Result<(), Failure> {
        say("\n3. A repository, and the first full backup:")?;
        let location = self.root.join("demo/repository");
        self.run(&format!(
            "CREATE REPOSITORY demo WITH BROKER ON LOCATION \"file://{}\"",
            location.display()
        ))?;
        let (view, time) = self.job(&format!("BACKUP SNAPSHOT {DATABASE}.monday TO demo"))?;
        if let JobView::Backup(backup) = view.as_ref() {
            self.timestamp.clone_from(&backup.timestamp);
        }
        self.run(&format!("SHOW BACKUP FROM {DATABASE}"))?;
        self.run("SHOW SNAPSHOT ON demo")?;
        figures(&view, time)
    }

    /// What the smallest job costs, beside its syncs.
    pub(super) fn smallest_backup(&mut self) -> Result<(), Failure> {
        say(
            "\n4. The smallest job: a table without data. No job waits for a tick, so what is left \
             are the syncs\n   that make it safe:",
        )?;
        let mut session = Session::new(&self.node, "root".into(), None);
        session.execute_text("CREATE DATABASE small")?;
        session
            .execute_text("CREATE TABLE small.nothing (k INT) DISTRIBUTED BY HASH(k) BUCKETS 1")?;
        let mut tries = Vec::new();
        for number in 1..=SMALLEST_TRIES {
            // What the job before still gives back is not this one's.
            self.node.settle(Duration::from_secs(5));
            let before = self.syncs();
            let start = Instant::now();
            let statement = format!("BACKUP SNAPSHOT small.nothing{number} TO demo");
            if let Some(job) = session.execute_text(&statement)?.job {
                self.node.engine.wait(job, Duration::from_secs(60));
            }
            tries.push((start.elapsed(), self.syncs().since(before)));
        }
        tries.sort_by_key(|(time, _)| *time);
        let (time, syncs) = tries[SMALLEST_TRIES / 2];
        let costs = Costs::measure(&self.root).map_err(io_failed("the floor"))?;
        let floor = costs.append * as_u32(syncs.appends) + costs.object * as_u32(syncs.objects);
        say(&format!(
            "   BACKUP of an empty table: {}\n   \
             its floor: {} to journal and catalog of {} each, {} of {} each: {}\n   \
             ratio {:.2}",
            text::duration(time),
            text::count(syncs.appends, "durable append"),
            text::duration(costs.append),
            text::count(syncs.objects, "durable small file"),
            text::duration(costs.object),
            text::duration(floor),
            time.as_secs_f64() / floor.as_secs_f64().max(1e-9),
        ))
    }

    fn syncs(&self) -> Syncs {
        Syncs {
            appends: self.node.journal.appends() + self.node.storage.position().0,
            objects: self.node.adapters.requests(Request::Put),
        }
    }

    /// What nobody wants to happen.
    pub(super) fn lose(&mut self) -> Result<(), Failure> {
        say("\n5. A bad day: a partition dropped, a table emptied, a table dropped:")?;
        self.run("ALTER TABLE lineitem DROP PARTITION y1995")?;
        self.run("TRUNCATE TABLE customer")?;
        self.run("DROP TABLE orders")?;
        let left = self.exported("after-the-loss")?;
        let lost = self.made.files().saturating_sub(left.files());
        say(&format!(
            "   {} of {} are gone.",
            lost,
            text::count(self.made.files(), "file")
        ))
    }

    /// Only what was lost comes back; the rest is not touched.
    pub(super) fn restore(&mut self) -> Result<(), Failure> {
        say("\n6. What was lost comes back, the rest is not touched:")?;
        let statement = format!(
            "RESTORE SNAPSHOT {DATABASE}.monday FROM demo \
             ON (lineitem PARTITION (y1995), customer, orders) PROPERTIES (\"backup_timestamp\" = \"{}\")",
            self.timestamp
        );
        let (view, time) = self.job(&statement)?;
        self.run(&format!("SHOW RESTORE FROM {DATABASE}"))?;
        figures(&view, time)
    }

    /// Every file by its hash, taken outside of the storage.
    pub(super) fn prove(&mut self) -> Result<(), Failure> {
        let start = Instant::now();
        let found = self.exported("after-the-restore")?;
        let differences = self.made.differences(&found);
        if let Some(first) = differences.first() {
            return Err(Failure::new(
                crate::exit::Exit::Damage,
                "PROOF_FAILED",
                format!(
                    "{} differ from what was loaded; the first: {first}",
                    differences.len()
                ),
            ));
        }
        say(&format!(
            "\n7. Proof: all tables exported and hashed again in {}: {}, {}, \
             every one as it was made.",
            text::duration(start.elapsed()),
            text::count(found.files(), "file"),
            text::bytes(found.bytes())
        ))
    }

    /// Exports all tables, takes the hashes and removes the copies again.
    fn exported(&self, name: &str) -> Result<Contents, Failure> {
        let place = self.root.join("demo").join(name);
        let meter = Meter::start("exporting");
        let show = |progress: Progress| meter.show(progress);
        let there = self
            .node
            .storage
            .tables(DATABASE)
            .map_err(|error| storage_failure(&error))?;
        for table in there {
            // A table that is not partitioned has one partition of its own name, as the input has.
            let own = table.partitions.len() == 1 && table.partitions[0].meta.name == table.name;
            let request = ExportRequest {
                database: DATABASE.into(),
                table: table.name.clone(),
                partition: None,
                to: if own {
                    place.join(".flat").join(&table.name)
                } else {
                    place.join(&table.name)
                },
                progress: Some(&show),
            };
            self.node
                .storage
                .export(&request)
                .map_err(|error| storage_failure(&error))?;
            if own {
                let from = request.to.join(&table.name);
                fs::rename(from, place.join(&table.name)).map_err(io_failed("an export"))?;
            }
        }
        meter.clear();
        remove(&place.join(".flat"))?;
        let contents = Contents::of(&place).map_err(io_failed("an export"))?;
        remove(&place)?;
        Ok(contents)
    }

    /// What an unchanged file costs.
    pub(super) fn second_backup(&mut self) -> Result<(), Failure> {
        say("\n8. One small file more, and the next full backup: it sends what changed.")?;
        let late = self.root.join("demo/late-orders.tbl");
        fs::write(&late, "a few orders that came in late\n".repeat(100))
            .map_err(io_failed(late.display()))?;
        let meter = Meter::start("loading");
        self.load_one(Table::Orders, None, late, &meter)?;
        meter.clear();
        let (view, time) = self.job(&format!("BACKUP SNAPSHOT {DATABASE}.tuesday TO demo"))?;
        self.run("SHOW SNAPSHOT ON demo WHERE Snapshot LIKE \"%day\" ORDER BY Timestamp DESC")?;
        figures(&view, time)
    }
}

/// Durable steps so far.
#[derive(Clone, Copy)]
struct Syncs {
    appends: u64,
    objects: u64,
}

impl Syncs {
    fn since(self, before: Self) -> Self {
        Self {
            appends: self.appends - before.appends,
            objects: self.objects - before.objects,
        }
    }
}

fn as_u32(number: u64) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

fn remove(path: &Path) -> Result<(), Failure> {
    match fs::remove_dir_all(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(io_failed(path.display())(error))
        }
        _ => Ok(()),
    }
}

/// `   107.0 MB in 0.42 s, 254.8 MB/s: 52 objects moved …`
fn figures(view: &JobView, time: Duration) -> Result<(), Failure> {
    let common = view.common();
    out::data(&format!(
        "   {} in {}{}: {} moved in {}, {} were there already\n",
        text::bytes(common.total_bytes),
        text::duration(time),
        text::rate(common.total_bytes, time),
        text::bytes(common.moved_bytes),
        text::count(common.moved_objects, "object"),
        text::bytes(common.reused_bytes),
    ))
}
