//! Events and helpers that the tests of the journal share.

#![allow(
    clippy::unwrap_used,
    dead_code,
    missing_docs,
    unreachable_pub,
    reason = "each test file takes what it needs"
)]

pub mod dying;

use holdfast_journal::{Error, Journal, Record, Seq, StreamId, events};

#[derive(
    Clone, Debug, PartialEq, serde::Serialize, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub struct Opened {
    pub door: u64,
    pub n: u64,
}

#[derive(
    Clone, Debug, PartialEq, serde::Serialize, rkyv::Archive, rkyv::Serialize, rkyv::Deserialize,
)]
pub struct Painted {
    pub door: u64,
    pub n: u64,
    pub colours: Vec<String>,
}

events! {
    /// What happens to doors.
    pub enum DoorEvent: family 0x444f_4f52 {
        /// A door was opened.
        1 => Opened(Opened) in |e| StreamId(e.door),
        /// A door was painted.
        4 => Painted(Painted) in |e| StreamId(e.door),
    }
}

/// An event of varying kind and size.
pub fn event(door: u64, n: u64) -> DoorEvent {
    if n.is_multiple_of(3) {
        let colours = (0..n % 5)
            .map(|i| format!("colour {i} of {n} of door {door}"))
            .collect();
        Painted { door, n, colours }.into()
    } else {
        Opened { door, n }.into()
    }
}

pub fn records(journal: &impl Journal<DoorEvent>) -> Result<Vec<Record<DoorEvent>>, Error> {
    let mut found = Vec::new();
    journal.read(Seq::FIRST, &mut |record| {
        found.push(record);
        Ok(())
    })?;
    Ok(found)
}

pub fn events_of(journal: &impl Journal<DoorEvent>) -> Vec<DoorEvent> {
    records(journal)
        .unwrap()
        .into_iter()
        .map(|r| r.event)
        .collect()
}

/// Archived records and those of the log.
pub fn history(journal: &impl Journal<DoorEvent>) -> Result<Vec<DoorEvent>, Error> {
    let mut found = Vec::new();
    journal.history(Seq::FIRST, &mut |record| {
        found.push(record.event);
        Ok(())
    })?;
    Ok(found)
}

/// A small generator, so that a seed decides a test.
pub struct Dice(pub u64);

impl Dice {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }
}
