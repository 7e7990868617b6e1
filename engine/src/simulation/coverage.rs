//! What runs have reached: faults that were made, states that jobs were in, and where a death found them. Counts only.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::order::Work;
use crate::state::Stage;
use crate::state::transitions::MOVES;
use crate::view::{BackupState, RestoreState};

/// A state of a job with the work that was going on in it.
pub type Place = (&'static str, &'static str, String);

/// Counts over one run or many.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Coverage {
    /// Runs.
    pub runs: u64,
    /// Steps of the worlds.
    pub steps: u64,
    /// Events made durable.
    pub events: u64,
    /// Deaths of a node in the middle of things.
    pub deaths: u64,
    /// Deaths of a node after all trouble.
    pub deaths_at_rest: u64,
    /// Snapshots that were proved.
    pub snapshots: u64,
    /// Jobs by kind and end.
    pub ends: BTreeMap<String, u64>,
    /// Faults made, by name.
    pub faults: BTreeMap<&'static str, u64>,
    /// How often a job was found in a place after a turn.
    pub places: BTreeMap<Place, u64>,
    /// How often a death found a job there.
    pub deaths_in: BTreeMap<Place, u64>,
}

impl Coverage {
    pub(super) fn fault(&mut self, name: &'static str) {
        *self.faults.entry(name).or_default() += 1;
    }

    pub(super) fn place(&mut self, place: Place) {
        *self.places.entry(place).or_default() += 1;
    }

    pub(super) fn death_in(&mut self, place: Place) {
        *self.deaths_in.entry(place).or_default() += 1;
    }

    /// Adds the counts of another.
    pub fn add(&mut self, other: &Self) {
        self.runs += other.runs;
        self.steps += other.steps;
        self.events += other.events;
        self.deaths += other.deaths;
        self.deaths_at_rest += other.deaths_at_rest;
        self.snapshots += other.snapshots;
        for (name, count) in &other.ends {
            *self.ends.entry(name.clone()).or_default() += count;
        }
        for (name, count) in &other.faults {
            *self.faults.entry(name).or_default() += count;
        }
        for (place, count) in &other.places {
            *self.places.entry(place.clone()).or_default() += count;
        }
        for (place, count) in &other.deaths_in {
            *self.deaths_in.entry(place.clone()).or_default() += count;
        }
    }

    /// Every place that the table of moves knows, and those of the clean-up.
    pub fn all_places() -> Vec<Place> {
        let mut all = Vec::new();
        let mut add = |stage: Stage, work: Work| {
            let place = place_of(stage, work);
            if !all.contains(&place) {
                all.push(place);
            }
        };
        for step in MOVES {
            let cleanup = match step.from.0 {
                Stage::Backup(_) => Work::Discard,
                Stage::Restore(_) => Work::Abort,
            };
            for (stage, work) in [step.from, step.to] {
                add(stage, work);
                // Past its commit event a job is not taken back any more.
                if !matches!(work, Work::PutMarker | Work::Commit) {
                    add(stage, cleanup);
                }
            }
        }
        for (stage, work) in [
            (Stage::Backup(BackupState::Finished), Work::Release),
            (Stage::Backup(BackupState::Cancelled), Work::Discard),
            (Stage::Restore(RestoreState::Finished), Work::Forget),
        ] {
            add(stage, work);
        }
        all
    }

    /// The counts as text, for people.
    pub fn report(&self) -> String {
        let mut text = String::new();
        let _ = writeln!(
            text,
            "{} runs, {} steps, {} events, {} deaths and {} at rest, {} snapshots proved",
            self.runs, self.steps, self.events, self.deaths, self.deaths_at_rest, self.snapshots
        );
        for (end, count) in &self.ends {
            let _ = writeln!(text, "{end}: {count}");
        }
        let faults: u64 = self.faults.values().sum();
        let _ = writeln!(text, "faults made: {faults}");
        for (name, count) in &self.faults {
            let _ = writeln!(text, "  {name}: {count}");
        }
        let _ = writeln!(text, "job, state, work: seen, a death there");
        let mut places = Self::all_places();
        for place in self.places.keys().chain(self.deaths_in.keys()) {
            if !places.contains(place) {
                places.push(place.clone());
            }
        }
        for place in places {
            let seen = self.places.get(&place).copied().unwrap_or(0);
            let deaths = self.deaths_in.get(&place).copied().unwrap_or(0);
            let (kind, state, work) = place;
            let _ = writeln!(text, "  {kind} {state} {work}: {seen}, {deaths}");
        }
        text
    }
}

pub(super) fn place_of(stage: Stage, work: Work) -> Place {
    let (kind, state) = match stage {
        Stage::Backup(state) => ("BACKUP", state.name()),
        Stage::Restore(state) => ("RESTORE", state.name()),
    };
    (kind, state, format!("{work:?}"))
}
