//! A disk that dies at each of its operations in turn, and then loses any choice of what was not
//! synced: whatever the moment, the next opening has all that was acknowledged.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are outside the deterministic core"
)]
#![allow(clippy::unwrap_used, reason = "a test")]

mod common;

use std::sync::{Arc, atomic::AtomicU64};

use common::{Dice, DoorEvent, dying::Dying, event, events_of};
use holdfast_journal::{
    Error, FileJournal, Journal, Options, Seq,
    disk::{Disk, MemoryDisk},
};

fn open(disk: Arc<dyn Disk>) -> Result<FileJournal<DoorEvent>, Error> {
    let options = Options::default().segment_bytes(1_500).reserve_bytes(0);
    FileJournal::open_on(disk, options).map(|(journal, _)| journal)
}

/// What a journal was asked and what it answered.
#[derive(Default)]
struct Story {
    acknowledged: Vec<DoorEvent>,
    in_doubt: Vec<DoorEvent>,
    checkpoint: Option<Seq>,
}

impl Story {
    /// Appends until the disk dies or the story is over; whether it is over.
    fn go_on(&mut self, journal: &FileJournal<DoorEvent>, dice: &mut Dice) -> bool {
        while self.acknowledged.len() < 40 {
            let n = self.acknowledged.len() as u64;
            let batch: Vec<_> = (n..=n + dice.below(4)).map(|n| event(n % 3, n)).collect();
            match journal.append(&batch, n) {
                Ok(_) => self.acknowledged.extend(batch),
                Err(_) => {
                    self.in_doubt = batch;
                    return false;
                }
            }
            if n.is_multiple_of(5) {
                let at = journal.position().0;
                if journal.checkpoint(at, "views", &n.to_le_bytes()).is_err() {
                    return false;
                }
                self.checkpoint = Some(at);
            }
        }
        true
    }

    /// Checks what an opening after the death found, and takes it for the truth.
    fn check(&mut self, journal: &FileJournal<DoorEvent>, what: &str) {
        let found = events_of(journal);
        let with = [self.acknowledged.clone(), self.in_doubt.clone()].concat();
        assert!(
            found == self.acknowledged || found == with,
            "{what}: {} events",
            found.len()
        );
        let kept = journal.latest_checkpoint("views").unwrap().map(|c| c.seq);
        assert!(
            kept >= self.checkpoint,
            "{what}: checkpoint {kept:?} of {:?}",
            self.checkpoint
        );
        self.acknowledged = found;
        self.in_doubt.clear();
    }
}

#[test]
fn whenever_the_disk_dies_what_was_acknowledged_is_there_again() {
    for seed in 0..6 {
        for life in 1.. {
            let what = format!("seed {seed} life {life}");
            let mut dice = Dice(seed * 1_000 + life);
            let (mut story, mut disk) = (Story::default(), MemoryDisk::new(512));
            // It dies in the middle, comes back, dies while it is opened or soon after, comes back.
            let mut over = false;
            for lives in [life, 1 + dice.below(6), u64::MAX] {
                let left = Arc::new(AtomicU64::new(lives));
                let dying = Dying {
                    inner: Box::new(disk.clone()),
                    left,
                };
                if let Ok(journal) = open(Arc::new(dying)) {
                    story.check(&journal, &what);
                    over = story.go_on(&journal, &mut dice);
                    if over {
                        break;
                    }
                }
                let odds = dice.below(11);
                disk = disk.power_cut(&mut |_| dice.below(10) < odds);
            }
            assert!(over, "{what}");
            if life > 200 {
                break;
            }
        }
    }
}
