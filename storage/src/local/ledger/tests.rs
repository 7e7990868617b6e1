//! The catalog's log stays bounded over a long life, and nothing that left it is missed.

use std::path::Path;

use std::sync::mpsc::channel;
use std::time::Duration;

use holdfast_journal::{
    Appended, Checkpoint, Error as JournalError, FileJournal, FrameHash, Index, Kind,
    MemoryJournal, Options, ReadJournal, Record, StreamId, Visit,
};

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
            ledger.settle();
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

/// A journal whose checkpoints wait for a lock.
struct Slow {
    inner: MemoryJournal<CatalogEvent>,
    gate: Mutex<()>,
    begun: Mutex<std::sync::mpsc::Sender<Seq>>,
}

impl Journal<CatalogEvent> for Slow {
    fn append(&self, events: &[CatalogEvent], at_ms: u64) -> Result<Appended, JournalError> {
        self.inner.append(events, at_ms)
    }
    fn position(&self) -> (Seq, FrameHash) {
        self.inner.position()
    }
    fn first(&self) -> Seq {
        self.inner.first()
    }
    fn read(&self, from: Seq, visit: &mut Visit<'_, CatalogEvent>) -> Result<(), JournalError> {
        self.inner.read(from, visit)
    }
    fn by_stream(
        &self,
        stream: StreamId,
        from: Seq,
        limit: usize,
    ) -> Result<Vec<Record<CatalogEvent>>, JournalError> {
        self.inner.by_stream(stream, from, limit)
    }
    fn by_kind(
        &self,
        kind: Kind,
        from: Seq,
        limit: usize,
    ) -> Result<Vec<Record<CatalogEvent>>, JournalError> {
        self.inner.by_kind(kind, from, limit)
    }
    fn checkpoint(&self, seq: Seq, projection: &str, state: &[u8]) -> Result<(), JournalError> {
        self.begun.lock().send(seq).unwrap();
        let _open = self.gate.lock();
        self.inner.checkpoint(seq, projection, state)
    }
    fn checkpoint_by(
        &self,
        projection: &str,
        through: Seq,
    ) -> Result<Option<Checkpoint>, JournalError> {
        self.inner.checkpoint_by(projection, through)
    }
    fn roll(&self) -> Result<(), JournalError> {
        self.inner.roll()
    }
}

#[test]
fn changes_and_readers_do_not_wait_for_a_checkpoint_and_there_is_only_one() {
    let (begun, asked) = channel();
    let journal = Arc::new(Slow {
        inner: MemoryJournal::new(),
        gate: Mutex::new(()),
        begun: Mutex::new(begun),
    });
    let ledger = Ledger::open_sized(Arc::clone(&journal) as Arc<dyn Journal<_>>, EVERY).unwrap();
    let shut = journal.gate.lock();
    for _ in 0..EVERY {
        create(&ledger);
    }
    let patience = Duration::from_secs(30);
    let first = asked.recv_timeout(patience).unwrap();
    assert_eq!(first, Seq(EVERY));
    // It is being written, and waits.
    for _ in 0..3 * EVERY {
        create(&ledger);
    }
    assert_eq!(ledger.read().databases.len() as u64, 4 * EVERY);
    assert!(asked.try_recv().is_err(), "a second one beside the first");
    drop(shut);
    ledger.settle();
    let kept = journal.latest_checkpoint(PROJECTION).unwrap().unwrap();
    assert_eq!(kept.seq, first);
    drop(ledger);
    let kept = journal.latest_checkpoint(PROJECTION).unwrap().unwrap();
    assert_eq!(kept.seq, Seq(4 * EVERY), "the last is kept by closing");
}
