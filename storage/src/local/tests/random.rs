//! Random histories of statements, pins and restores, with openings between them: after each step
//! catalog and files must agree, and every table must hold what a plain model says.

use super::*;
use crate::conformance::Files;
use crate::model::{
    AllowLoad, FileEntry, Make, RestorePartition, RestoreSpec, RestoreTable, Targets, Token,
};
use crate::{Staging, TableInfo};

const STEPS: u32 = 200;
const TABLES: [&str; 3] = ["t1", "t2", "t3"];

/// A small generator of numbers that a seed decides.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % sides
    }
}

struct World {
    bench: Bench,
    dice: Dice,
    step: u32,
    /// What users should see.
    tables: BTreeMap<&'static str, Files>,
    /// What pins should hold.
    pins: BTreeMap<OpId, (PinRequest, Files)>,
}

impl World {
    fn files(&mut self) -> Files {
        let count = self.dice.roll(4);
        let name = |i| {
            (
                format!("{}/{i}", self.step),
                format!("{} {i}", self.step).into_bytes(),
            )
        };
        (0..count).map(name).collect()
    }

    fn load(&mut self, table: &'static str) {
        let new = self.files();
        self.bench.load(table, "p", &new);
        self.tables
            .entry(table)
            .or_default()
            .extend(below("p", &new));
    }

    fn pin(&mut self, table: &'static str) {
        let Some(held) = self.tables.get(table).cloned() else {
            return;
        };
        let (op, request) = (OpId(u64::from(self.step)), pin_request(table));
        self.bench.s().pin(op, &request).unwrap();
        self.pins.insert(op, (request, held));
    }

    fn release(&mut self) {
        if let Some((op, _)) = self.pins.pop_first() {
            self.bench.s().release(op).unwrap();
        }
    }

    fn info(&self, table: &str) -> Option<TableInfo> {
        let tables = self.bench.s().tables("db").ok()?;
        tables.into_iter().find(|t| t.name == table)
    }

    fn restore(&mut self, table: &'static str) {
        let Some(like) = TABLES.iter().find_map(|t| self.info(t)) else {
            return;
        };
        let make = if self.info(table).is_some() {
            Make::Overwrite
        } else {
            Make::Create
        };
        let op = OpId(1_000 + u64::from(self.step));
        let meta = like.partitions[0].meta.clone();
        let spec = RestoreSpec {
            database: "db".to_owned(),
            tables: vec![RestoreTable {
                name: table.to_owned(),
                schema: like.schema.clone(),
                table: make,
                partitions: vec![RestorePartition {
                    meta,
                    partition: make,
                }],
            }],
            allow_load: AllowLoad::No,
            drop_tables: Vec::new(),
            drop_partitions: Vec::new(),
        };
        let new = self.files();
        let targets = self.bench.s().create_targets(op, &spec).unwrap();
        self.reopen_sometimes();
        self.fill(op, &targets, &new);
        self.reopen_sometimes();
        let end = self.dice.roll(4);
        if end > 0 {
            self.bench.s().prepare(op).unwrap();
            self.reopen_sometimes();
        }
        if end < 2 {
            self.bench.s().abort(op).unwrap();
            return;
        }
        self.bench.s().commit(op).unwrap();
        self.tables.insert(table, below("p", &new));
        self.reopen_sometimes();
        self.bench.s().forget(op).unwrap();
    }

    /// Gives all files to bucket 0.
    fn fill(&self, op: OpId, targets: &Targets, new: &Files) {
        let token = Token {
            epoch: 1,
            attempt: 1,
        };
        let list: Vec<FileEntry> = new
            .iter()
            .map(|(name, bytes)| FileEntry {
                name: name.clone(),
                len: bytes.len() as u64,
                hash: Some(FileHash::of(bytes)),
                segments: Vec::new(),
            })
            .collect();
        for tablet in &targets.tables[0].partitions[0].tablets {
            let list = if tablet.bucket == 0 {
                list.as_slice()
            } else {
                &[]
            };
            for backend in &tablet.replicas {
                let s = self.bench.s();
                s.stage(op, token, *backend, tablet.id, list).unwrap();
                for (entry, bytes) in list.iter().zip(new.values()) {
                    let staged = s.stage_file(op, token, *backend, tablet.id, entry).unwrap();
                    if let Staging::Write(mut file) = staged {
                        file.write(bytes).unwrap();
                        file.finish().unwrap();
                    }
                }
            }
        }
    }

    fn reopen_sometimes(&mut self) {
        if self.dice.roll(4) == 0 {
            self.bench.reopen();
        }
    }

    fn turn(&mut self) {
        self.step += 1;
        let table = TABLES[self.dice.roll(3) as usize];
        match self.dice.roll(10) {
            0..3 => self.load(table),
            3 if self.tables.remove(table).is_some() => {
                self.bench.s().drop_table("db", table).unwrap();
            }
            4 if self.tables.contains_key(table) => {
                self.bench.s().truncate_table("db", table, None).unwrap();
                self.tables.insert(table, Files::new());
            }
            5 => self.pin(table),
            6 => self.release(),
            7..9 => self.restore(table),
            _ => self.reopen_sometimes(),
        }
    }

    /// Catalog against files, counters against chunks, contents against the model.
    fn check(&self) {
        for (table, expected) in &self.tables {
            assert_eq!(
                self.bench.export(table),
                *expected,
                "{table} after step {}",
                self.step
            );
        }
        for (op, (request, expected)) in &self.pins {
            assert_eq!(
                read_pinned(self.bench.s(), *op, request),
                *expected,
                "pin {op}"
            );
        }
        self.check_chunks();
    }

    fn check_chunks(&self) {
        let state = self.bench.s().ledger.read();
        let mut held: Vec<PathBuf> = Vec::new();
        for (id, chunk) in &state.chunks {
            let pinned = state
                .pins
                .values()
                .filter_map(|p| p.tablets.get(&chunk.tablet));
            let holders = pinned.filter(|t| t.chunks.contains(id)).count()
                + state
                    .tablets
                    .values()
                    .filter(|t| t.chunks.contains(id))
                    .count();
            assert_eq!(chunk.holders as usize, holders, "holders of chunk {id}");
            let folder = format!("data/{}/{id}", chunk.tablet);
            let dirs = self.bench.s().backend_dirs();
            let there = dirs
                .iter()
                .map(|d| d.root().join(&folder))
                .filter(|p| p.is_dir());
            let before = held.len();
            for folder in there {
                collect(&folder, &mut held);
            }
            assert_eq!(
                (held.len() - before) as u64,
                2 * chunk.files,
                "two replicas of {id}"
            );
        }
        held.sort();
        assert_eq!(
            held,
            self.bench.data_files(),
            "every data file belongs to a chunk"
        );
        let lists = disk::entries(&self.bench.s().layout.lists()).unwrap();
        assert_eq!(
            lists.len(),
            state.lists.len(),
            "every list file is known: {lists:?}"
        );
        for tablet in state.tablets.values() {
            let chunks = tablet
                .chunks
                .iter()
                .map(|c| state.chunks[c].files)
                .sum::<u64>();
            assert_eq!(tablet.files, chunks);
        }
        let bytes: u64 = state
            .tablets
            .values()
            .map(|t| t.bytes * t.replicas.len() as u64)
            .sum();
        assert_eq!(bytes, state.backends.values().map(|b| b.bytes).sum::<u64>());
    }
}

#[test]
fn catalog_and_files_agree_through_random_histories() {
    for seed in [3, 77, 4_242] {
        let (tables, pins) = (BTreeMap::new(), BTreeMap::new());
        let dice = Dice(0x9e37_79b9_7f4a_7c15 ^ seed);
        let mut world = World {
            bench: Bench::in_memory(),
            dice,
            step: 0,
            tables,
            pins,
        };
        for _ in 0..STEPS {
            world.turn();
            if world.step.is_multiple_of(3) {
                world.check();
            }
        }
        world.check();
        world.bench.reopen();
        world.check();
    }
}
