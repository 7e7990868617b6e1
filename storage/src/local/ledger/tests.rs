//! The catalog's log stays bounded over a long life, and nothing that left it is missed.

use std::path::Path;

use holdfast_journal::{FileJournal, Index, Options, ReadJournal};

use super::*;
use crate::events::DatabaseCreated;

const EVERY: u64 = 16;

fn open(folder: &Path) -> Result<Ledger, Error> {
    let options = Options::default().index(Index::None).reserve_bytes(0);
    let (journal, _) = FileJournal::open(folder, options).map_err(from_journal)?;
    Ledger::open_sized(Arc::new(journal), EVERY)
}

fn create(ledger: &Ledger) {
    let id = ledger.take_ids(1);
    let name = format!("database_{id}");
    let made = ledger.change(|_, out| {
        out.push(DatabaseCreated { id, name }.into());
        Ok(())
    });
    made.unwrap();
}

fn remove(folder: &Path, ending: &str) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.to_string_lossy().ends_with(ending) {
            std::fs::remove_file(path).unwrap();
        }
    }
}

#[test]
fn the_log_is_bounded_and_the_catalog_opens_from_a_checkpoint_and_from_the_archives() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    let bound = (2 * LOG_CHECKPOINTS + 2) * EVERY;
    let mut made = 0;
    for life in 0..10 {
        let ledger = open(folder).unwrap();
        assert_eq!(ledger.read().databases.len(), made, "life {life}");
        assert_eq!(
            ledger.read().position,
            made as u64,
            "a position never goes back"
        );
        for _ in 0..100 {
            create(&ledger);
            made += 1;
            let held = made as u64 + 1 - ledger.journal().first().get();
            assert!(held <= bound, "{held} events in the log, expected {bound}");
        }
    }
    let (log, _) = ReadJournal::<CatalogEvent>::open(folder).unwrap();
    assert!(log.archives().unwrap().found.len() > 3);
    log.verify_archives().unwrap();

    let state = open(folder).unwrap().read().clone();
    remove(folder, ".checkpoint");
    let replayed = open(folder).unwrap();
    assert_eq!(*replayed.read(), state, "the same from the first event");
    drop(replayed);

    remove(folder, ".checkpoint");
    let archives = folder.join("archive");
    std::fs::rename(&archives, root.path().join("away")).unwrap();
    let refused = match open(folder) {
        Ok(_) => panic!("opened without its beginning"),
        Err(error) => error,
    };
    assert_eq!(refused.kind(), ErrorKind::Damaged);
    assert!(refused.to_string().contains(".archive"), "{refused}");
}
