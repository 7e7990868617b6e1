//! Reading a journal back: opening it, a bare scan of its events, the same scan into the engine's
//! views, and the floor of both, a pass over the bytes with a checksum.

use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use holdfast_engine::{Event, Replay};
use holdfast_journal::{FileJournal, Index, Journal as _, Options, Seq};

use crate::history;

/// A log of legal events in the page cache.
pub struct Log {
    folder: PathBuf,
    /// Its events.
    pub events: u64,
    /// Bytes of its segments.
    pub bytes: u64,
}

/// What one round took.
#[derive(Clone, Copy, Debug)]
pub struct Round {
    /// Opening the journal: every frame and the chain checked.
    pub open: Duration,
    /// Reading every byte of the segments, with a checksum over it.
    pub bytes: Duration,
    /// Reading every event, checked and decoded.
    pub scan: Duration,
    /// The same, applied to the engine's state and published as views.
    pub replay: Duration,
}

impl Log {
    /// Writes a log of at least `events` events into `folder`.
    #[must_use]
    pub fn make(folder: &Path, events: u64) -> Self {
        let events = history::write(folder, events);
        let mut log = Self {
            folder: folder.to_owned(),
            events,
            bytes: 0,
        };
        log.bytes = log.read_bytes().1;
        log
    }

    /// Reads the log in all ways, once.
    #[must_use]
    pub fn round(&self) -> Round {
        let begun = Instant::now();
        let options = Options::default().index(Index::None);
        let (journal, report) = FileJournal::<Event>::open(&self.folder, options).unwrap();
        let open = begun.elapsed();
        assert_eq!(report.records, self.events, "every event is there");
        let bytes = self.read_bytes().0;

        let begun = Instant::now();
        let (mut count, mut sum) = (0, 0);
        journal
            .read(Seq::FIRST, &mut |record| {
                count += 1;
                sum += record.at_ms ^ u64::from(record.kind.get());
                Ok(())
            })
            .unwrap();
        let scan = begun.elapsed();
        assert!(count == self.events && sum > 0, "every event was seen");

        let begun = Instant::now();
        let mut projection = Replay::new();
        let end = holdfast_journal::replay(&journal, &mut projection).unwrap();
        let views = projection.views();
        let replay = begun.elapsed();
        assert_eq!(end.get(), self.events, "every event was applied");
        assert!(
            views.jobs.values().all(|job| job.has_ended()),
            "every job has ended"
        );
        Round {
            open,
            bytes,
            scan,
            replay,
        }
    }

    fn read_bytes(&self) -> (Duration, u64) {
        let begun = Instant::now();
        let (mut read, mut sum) = (0, 0_u32);
        let mut buffer = vec![0; 1 << 20];
        for entry in std::fs::read_dir(&self.folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_none_or(|extension| extension != "log") {
                continue;
            }
            let mut file = std::fs::File::open(&path).unwrap();
            loop {
                let got = file.read(&mut buffer).unwrap();
                if got == 0 {
                    break;
                }
                sum = crc32c::crc32c_append(sum, &buffer[..got]);
                read += got as u64;
            }
        }
        assert_ne!(sum, 0, "the bytes were looked at");
        (begun.elapsed(), read)
    }
}
