//! The twin keeps the contract of `Storage`.

use holdfast_storage::model::{Make, PinTable, RestorePartition, RestoreTable};
use holdfast_storage::{AllowLoad, FileHash};

use super::*;

const OP: OpId = OpId(9);
const TOKEN: Token = Token {
    epoch: 1,
    attempt: 1,
};

fn pin_all(storage: &MemoryStorage, table: &str) -> Pin {
    let tables = vec![PinTable {
        name: table.to_owned(),
        partitions: None,
    }];
    storage
        .pin(
            OP,
            &PinRequest {
                database: "d".to_owned(),
                tables,
            },
        )
        .unwrap()
}

fn entry(name: &str, bytes: &[u8]) -> FileEntry {
    let hash = Some(FileHash::of(bytes));
    FileEntry {
        name: name.to_owned(),
        len: bytes.len() as u64,
        hash,
        segments: Vec::new(),
    }
}

fn overwrite(storage: &MemoryStorage, table: &str, make: Make) -> RestoreSpec {
    let meta = storage.tables("d").unwrap()[0].partitions[0].meta.clone();
    RestoreSpec {
        database: "d".to_owned(),
        tables: vec![RestoreTable {
            name: table.to_owned(),
            schema: MemoryStorage::loaded_schema(),
            table: make,
            partitions: vec![RestorePartition {
                meta,
                partition: make,
            }],
        }],
        allow_load: AllowLoad::No,
        drop_tables: Vec::new(),
        drop_partitions: Vec::new(),
    }
}

fn stage_all(storage: &MemoryStorage, targets: &Targets, bytes: &[u8]) -> (BackendId, TabletId) {
    let tablet = &targets.tables[0].partitions[0].tablets[0];
    let (backend, id) = (tablet.replicas[0], tablet.id);
    let want = entry("a", bytes);
    storage
        .stage(OP, TOKEN, backend, id, std::slice::from_ref(&want))
        .unwrap();
    match storage.stage_file(OP, TOKEN, backend, id, &want).unwrap() {
        Staging::Write(mut file) => {
            file.write(bytes).unwrap();
            file.finish().unwrap();
        }
        Staging::Done => panic!("nothing was written yet"),
    }
    (backend, id)
}

#[test]
fn a_pin_outlives_truncate_and_drop_and_repeats() {
    let storage = MemoryStorage::new(2);
    storage
        .load("d", "t", "p", &[("a", b"one"), ("b", b"two")])
        .unwrap();
    let pin = pin_all(&storage, "t");
    storage.truncate("d", "t").unwrap();
    storage.drop_table("d", "t").unwrap();
    assert_eq!(pin_all(&storage, "t"), pin);
    let tablet = &pin.tables[0].partitions[0].tablets[0];
    assert_eq!(storage.pinned_files(OP, tablet.id).unwrap().len(), 2);
    assert!(
        storage
            .open(OP, tablet.replicas[0], tablet.id, "a")
            .is_err(),
        "not linked yet"
    );
    storage.link(OP, tablet.replicas[0], &[tablet.id]).unwrap();
    let file = storage
        .open(OP, tablet.replicas[0], tablet.id, "a")
        .unwrap();
    let mut bytes = [0; 8];
    assert_eq!(file.read_at(0, &mut bytes).unwrap(), 3);
    storage.release(OP).unwrap();
    let lost = storage.pinned_files(OP, tablet.id).unwrap_err();
    assert_eq!(lost.kind(), ErrorKind::PinLost);
}

#[test]
fn a_committed_overwrite_shows_only_the_new_data() {
    let storage = MemoryStorage::new(1);
    storage.load("d", "t", "p", &[("old", b"old")]).unwrap();
    let spec = overwrite(&storage, "t", Make::Overwrite);
    let targets = storage.create_targets(OP, &spec).unwrap();
    assert_eq!(storage.create_targets(OP, &spec).unwrap(), targets);
    assert_eq!(storage.prepare(OP).unwrap_err().kind(), ErrorKind::Invalid);
    let refused = storage.load("d", "t", "p", &[("x", b"x")]).unwrap_err();
    assert!(
        refused.message().contains("is being restored by job 9"),
        "{refused}"
    );
    stage_all(&storage, &targets, b"new");
    assert_eq!(storage.commit(OP).unwrap_err().kind(), ErrorKind::NotFound);
    storage.prepare(OP).unwrap();
    assert_eq!(storage.read_back("d", "t").unwrap().len(), 1);
    storage.commit(OP).unwrap();
    let now = storage.read_back("d", "t").unwrap();
    assert_eq!(now.into_values().collect::<Vec<_>>(), [b"new".to_vec()]);
    storage.truncate("d", "t").unwrap();
    storage.commit(OP).unwrap();
    assert!(
        storage.read_back("d", "t").unwrap().is_empty(),
        "a repeated commit does nothing"
    );
    assert_eq!(storage.abort(OP).unwrap_err().kind(), ErrorKind::Invalid);
    storage.forget(OP).unwrap();
    storage.forget(OP).unwrap();
}

#[test]
fn an_abort_leaves_everything_as_it_was() {
    let storage = MemoryStorage::new(1);
    storage.load("d", "t", "p", &[("old", b"old")]).unwrap();
    let before = storage.tables("d").unwrap();
    for (table, make) in [("t", Make::Overwrite), ("new", Make::Create)] {
        let targets = storage
            .create_targets(OP, &overwrite(&storage, table, make))
            .unwrap();
        stage_all(&storage, &targets, b"new");
        storage.prepare(OP).unwrap();
        storage.abort(OP).unwrap();
        storage.abort(OP).unwrap();
        assert_eq!(storage.tables("d").unwrap(), before);
    }
}

#[test]
fn older_tokens_and_sealed_staging_are_fenced() {
    let storage = MemoryStorage::new(1);
    storage.load("d", "t", "p", &[("old", b"old")]).unwrap();
    let targets = storage
        .create_targets(OP, &overwrite(&storage, "t", Make::Overwrite))
        .unwrap();
    let (backend, tablet) = stage_all(&storage, &targets, b"new");
    let newer = Token {
        epoch: 2,
        attempt: 1,
    };
    let want = entry("a", b"new");
    storage
        .stage(OP, newer, backend, tablet, std::slice::from_ref(&want))
        .unwrap();
    let old = storage.settle(OP, TOKEN, backend, &[tablet]).unwrap_err();
    assert_eq!(old.kind(), ErrorKind::Fenced);
    assert!(matches!(
        storage.stage_file(OP, newer, backend, tablet, &want),
        Ok(Staging::Done)
    ));
    storage.prepare(OP).unwrap();
    let sealed = storage
        .reuse(OP, newer, backend, tablet, &want)
        .unwrap_err();
    assert_eq!(sealed.kind(), ErrorKind::Fenced);
}

#[test]
fn wrong_bytes_never_count_and_equal_local_files_are_reused_unless_damaged() {
    let storage = MemoryStorage::new(1);
    storage.load("d", "t", "p", &[("old", b"same")]).unwrap();
    let pin = pin_all(&storage, "t");
    let source = pin.tables[0].partitions[0].tablets[0].id;
    let targets = storage
        .create_targets(OP, &overwrite(&storage, "t", Make::Overwrite))
        .unwrap();
    let tablet = &targets.tables[0].partitions[0].tablets[0];
    let (backend, id) = (tablet.replicas[0], tablet.id);
    let want = entry("a", b"same");
    storage
        .stage(OP, TOKEN, backend, id, std::slice::from_ref(&want))
        .unwrap();
    if let Staging::Write(mut file) = storage.stage_file(OP, TOKEN, backend, id, &want).unwrap() {
        file.write(b"diff").unwrap();
        assert_eq!(file.finish().unwrap_err().kind(), ErrorKind::Invalid);
    }
    storage.damage(backend, source, "old", Some(b"samf"));
    assert_eq!(
        storage.reuse(OP, TOKEN, backend, id, &want).unwrap(),
        Reuse::Absent
    );
    storage.damage(backend, source, "old", Some(b"same"));
    assert_eq!(
        storage.reuse(OP, TOKEN, backend, id, &want).unwrap(),
        Reuse::Linked
    );
    storage.prepare(OP).unwrap();
}

#[test]
fn retain_only_ends_what_is_not_live() {
    let storage = MemoryStorage::new(1);
    storage.load("d", "t", "p", &[("old", b"old")]).unwrap();
    pin_all(&storage, "t");
    storage
        .create_targets(OpId(10), &overwrite(&storage, "t", Make::Overwrite))
        .unwrap();
    storage.retain_only(&[OP]).unwrap();
    assert_eq!(storage.held(), (vec![OP], vec![]));
    storage.load("d", "t", "p", &[("x", b"x")]).unwrap();
    storage.retain_only(&[]).unwrap();
    assert_eq!(storage.held(), (vec![], vec![]));
}

#[test]
fn injected_failures_hit_the_named_call_and_end() {
    let storage = MemoryStorage::new(1);
    storage.load("d", "t", "p", &[("old", b"old")]).unwrap();
    storage.fail_next(CallKind::Release, 1, ErrorKind::Io);
    pin_all(&storage, "t");
    assert_eq!(storage.release(OP).unwrap_err().kind(), ErrorKind::Io);
    storage.release(OP).unwrap();
    assert_eq!(storage.calls(CallKind::Release), 2);
}

/// A user of the twin: what the public suite needs besides the contract.
struct TwinHarness(MemoryStorage);

impl holdfast_storage::conformance::Harness for TwinHarness {
    fn open(&self) -> Result<Arc<dyn Storage>, Error> {
        Ok(Arc::new(self.0.clone()))
    }

    fn load(
        &self,
        database: &str,
        table: &str,
        partition: &str,
        files: &holdfast_storage::conformance::Files,
    ) -> Result<(), Error> {
        let files: Vec<(&str, &[u8])> = files
            .iter()
            .map(|(name, bytes)| (name.as_str(), bytes.as_slice()))
            .collect();
        self.0.load(database, table, partition, &files)
    }

    fn read(
        &self,
        database: &str,
        table: &str,
    ) -> Result<BTreeMap<String, holdfast_storage::conformance::Files>, Error> {
        let info = self
            .0
            .tables(database)?
            .into_iter()
            .find(|info| info.name == table);
        let info = info.ok_or_else(|| error(ErrorKind::NotFound, format!("table '{table}'")))?;
        if matches!(info.access, holdfast_storage::model::Access::Restoring(_)) {
            return Err(error(
                ErrorKind::Busy,
                format!("table '{table}' is being restored"),
            ));
        }
        let open = info.partitions.iter().filter(|partition| {
            !matches!(
                partition.access,
                holdfast_storage::model::Access::Restoring(_)
            )
        });
        let mut all: BTreeMap<String, BTreeMap<String, Vec<u8>>> = open
            .map(|partition| (partition.meta.name.clone(), BTreeMap::new()))
            .collect();
        for ((partition, name), bytes) in self.0.read_back(database, table)? {
            all.entry(partition).or_default().insert(name, bytes);
        }
        Ok(all)
    }

    fn drop_table(&self, database: &str, table: &str) -> Result<(), Error> {
        self.0.drop_table(database, table)
    }
}

#[test]
fn the_twin_passes_the_public_suite_of_the_contract() {
    for knowledge in [HashKnowledge::Known, HashKnowledge::Unknown] {
        let storage = MemoryStorage::new(3);
        storage.set_hash_knowledge(knowledge);
        if let Err(violation) = holdfast_storage::conformance::run(&TwinHarness(storage)) {
            panic!("{knowledge:?}: {violation}");
        }
    }
}
