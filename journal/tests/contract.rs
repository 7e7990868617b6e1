//! The contract suite on every kind of journal.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are outside the deterministic core"
)]
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stderr,
    reason = "a test"
)]

mod common;

use std::{
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use common::{DoorEvent, event};
use holdfast_journal::{
    Error, FileJournal, Index, Journal, MemoryJournal, Options, StreamId,
    conformance::{self, Subject},
    disk::{Disk, MemoryDisk},
};

struct InMemory;

impl Subject for InMemory {
    type Event = DoorEvent;
    type Journal = MemoryJournal<DoorEvent>;

    fn fresh(&self) -> Result<Self::Journal, Error> {
        Ok(MemoryJournal::new())
    }

    fn reopen(&self, journal: Self::Journal) -> Result<Self::Journal, Error> {
        Ok(journal.reopen())
    }

    fn event(&self, stream: StreamId, n: u64) -> DoorEvent {
        event(stream.get(), n)
    }
}

enum Place {
    Folder(PathBuf),
    Memory(MemoryDisk),
}

struct OnDisk {
    root: tempfile::TempDir,
    made: AtomicU64,
    options: Options,
    real: bool,
}

struct Opened {
    journal: FileJournal<DoorEvent>,
    place: Place,
}

impl OnDisk {
    fn new(options: Options, real: bool) -> Self {
        Self {
            root: tempfile::tempdir().unwrap(),
            made: AtomicU64::new(0),
            options,
            real,
        }
    }

    fn open(&self, place: Place) -> Result<Opened, Error> {
        let (journal, _) = match &place {
            Place::Folder(path) => FileJournal::open(path, self.options)?,
            Place::Memory(disk) => {
                let disk: Arc<dyn Disk> = Arc::new(disk.clone());
                FileJournal::open_on(disk, self.options)?
            }
        };
        Ok(Opened { journal, place })
    }
}

impl Subject for OnDisk {
    type Event = DoorEvent;
    type Journal = Opened;

    fn fresh(&self) -> Result<Opened, Error> {
        let n = self.made.fetch_add(1, Ordering::Relaxed);
        self.open(if self.real {
            Place::Folder(self.root.path().join(n.to_string()))
        } else {
            Place::Memory(MemoryDisk::new(512))
        })
    }

    fn reopen(&self, opened: Opened) -> Result<Opened, Error> {
        let Opened { journal, place } = opened;
        drop(journal);
        self.open(place)
    }

    fn event(&self, stream: StreamId, n: u64) -> DoorEvent {
        event(stream.get(), n)
    }
}

mod delegate {
    //! `Opened` is its journal, with the place it can be opened from again.

    use holdfast_journal::{
        Appended, ArchiveInfo, ArchiveRequest, Archives, Checkpoint, Error, FrameHash, Journal,
        Kind, Record, Seq, StreamId, Visit,
    };

    use super::{DoorEvent, Opened};

    impl Journal<DoorEvent> for Opened {
        fn append(&self, events: &[DoorEvent], at_ms: u64) -> Result<Appended, Error> {
            self.journal.append(events, at_ms)
        }

        fn position(&self) -> (Seq, FrameHash) {
            self.journal.position()
        }

        fn first(&self) -> Seq {
            self.journal.first()
        }

        fn read(&self, from: Seq, visit: &mut Visit<'_, DoorEvent>) -> Result<(), Error> {
            self.journal.read(from, visit)
        }

        fn by_stream(
            &self,
            stream: StreamId,
            from: Seq,
            limit: usize,
        ) -> Result<Vec<Record<DoorEvent>>, Error> {
            self.journal.by_stream(stream, from, limit)
        }

        fn by_kind(
            &self,
            kind: Kind,
            from: Seq,
            limit: usize,
        ) -> Result<Vec<Record<DoorEvent>>, Error> {
            self.journal.by_kind(kind, from, limit)
        }

        fn checkpoint(&self, seq: Seq, projection: &str, state: &[u8]) -> Result<(), Error> {
            self.journal.checkpoint(seq, projection, state)
        }

        fn checkpoint_by(
            &self,
            projection: &str,
            through: Seq,
        ) -> Result<Option<Checkpoint>, Error> {
            self.journal.checkpoint_by(projection, through)
        }

        fn roll(&self) -> Result<(), Error> {
            self.journal.roll()
        }

        fn archive(&self, request: &ArchiveRequest<'_>) -> Result<Option<ArchiveInfo>, Error> {
            self.journal.archive(request)
        }

        fn archives(&self) -> Result<Archives, Error> {
            self.journal.archives()
        }

        fn history(&self, from: Seq, visit: &mut Visit<'_, DoorEvent>) -> Result<(), Error> {
            self.journal.history(from, visit)
        }
    }
}

#[test]
fn memory_keeps_the_contract() {
    conformance::run(&InMemory).unwrap();
    conformance::archives(&InMemory).unwrap();
}

#[test]
fn a_folder_with_an_index_keeps_the_contract() {
    conformance::run(&OnDisk::new(Options::default(), true)).unwrap();
    conformance::archives(&OnDisk::new(Options::default(), true)).unwrap();
}

#[test]
fn a_folder_without_an_index_keeps_the_contract() {
    conformance::run(&OnDisk::new(Options::default().index(Index::None), true)).unwrap();
}

#[test]
fn tiny_segments_keep_the_contract() {
    conformance::run(&OnDisk::new(Options::default().segment_bytes(600), true)).unwrap();
}

#[test]
fn a_disk_in_memory_keeps_the_contract() {
    conformance::run(&OnDisk::new(Options::default().segment_bytes(2_000), false)).unwrap();
    conformance::archives(&OnDisk::new(Options::default(), false)).unwrap();
}

#[test]
fn a_record_prints_as_json_under_the_name_of_its_event() {
    let journal = MemoryJournal::<DoorEvent>::new();
    journal.append(&[event(3, 1)], 17).unwrap();
    let found = common::records(&journal).unwrap();
    let json = serde_json::to_value(&found[0]).unwrap();
    assert_eq!(json["event"]["Opened"]["door"], 3);
    assert_eq!((&json["seq"], &json["at_ms"]), (&1.into(), &17.into()));
    assert_eq!(json["hash"], found[0].hash.to_string());
}
