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

#[test]
fn a_checkpoint_that_holds_no_state_is_passed_over_for_the_one_before() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path();
    let ledger = open(folder).unwrap();
    for _ in 0..300 {
        create(&ledger);
        ledger.settle();
    }
    assert!(ledger.journal().first() > Seq::FIRST);
    drop(ledger);
    let options = Options::default().index(Index::None).reserve_bytes(0);
    let (journal, _) = FileJournal::<CatalogEvent>::open(folder, options).unwrap();
    let name = "one more".to_owned();
    let event = DatabaseCreated { id: 90_000, name };
    let last = journal.append(&[event.into()], 1).unwrap().last;
    journal.checkpoint(last, PROJECTION, b"no state").unwrap();
    drop(journal);
    // Without them nothing but the checkpoint before is left to open from.
    std::fs::rename(folder.join("archive"), folder.join("away")).unwrap();
    let ledger = open(folder).unwrap();
    assert_eq!(ledger.read().databases.len(), 301);
    assert_eq!(Seq(ledger.read().position), last);
}

/// A journal whose checkpoints wait for a lock, and fail where it is full.
struct Slow {
    inner: MemoryJournal<CatalogEvent>,
    gate: Mutex<()>,
    begun: Mutex<std::sync::mpsc::Sender<Seq>>,
    /// No checkpoint has room.
    full: AtomicBool,
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
        if self.full.load(Ordering::Relaxed) {
            return Err(JournalError::new(JournalKind::Full, "no room"));
        }
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
        full: AtomicBool::new(false),
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

#[test]
fn a_checkpoint_that_fails_is_tried_again_after_some_events_and_not_at_each() {
    let (begun, asked) = channel();
    let journal = Arc::new(Slow {
        inner: MemoryJournal::new(),
        gate: Mutex::new(()),
        begun: Mutex::new(begun),
        full: AtomicBool::new(true),
    });
    let ledger = Ledger::open_sized(Arc::clone(&journal) as Arc<dyn Journal<_>>, 320).unwrap();
    let fill = |count: usize| {
        for _ in 0..count {
            create(&ledger);
            ledger.settle();
        }
    };
    fill(355);
    let tried: Vec<Seq> = asked.try_iter().collect();
    assert_eq!(tried, [320, 330, 340, 350].map(Seq));
    assert!(journal.latest_checkpoint(PROJECTION).unwrap().is_none());
    journal.full.store(false, Ordering::Relaxed);
    fill(100);
    let tried: Vec<Seq> = asked.try_iter().collect();
    assert_eq!(
        tried,
        [Seq(360)],
        "once it has room the next is due far later"
    );
    let kept = journal.latest_checkpoint(PROJECTION).unwrap().unwrap();
    assert_eq!(kept.seq, Seq(360));
}
