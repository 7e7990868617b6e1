//! The end of a run: what is brought back, and what must be true of a world at rest.

use std::sync::Arc;

use holdfast_broker::Context;
use holdfast_journal::Journal;
use holdfast_journal::disk::Disk;
use holdfast_repository::{Mode, Repository};

use super::{Node, World};
use crate::checkpoint;
use crate::opening::replayed;
use crate::replay::Replay;
use crate::simulation::books::REPOSITORY;
use crate::simulation::fiber::{Fiber, Role};

/// Snapshots that are brought back at the end of a run.
const BROUGHT_BACK: usize = 3;

impl World {
    /// On a world without trouble: the newest snapshots come back, whole.
    pub(super) fn bring_back(&mut self) {
        let mut snapshots = self.books.snapshots();
        let skipped = snapshots.len().saturating_sub(BROUGHT_BACK);
        let snapshots = snapshots.split_off(skipped);
        let Some(Node {
            process: Some(process),
            user,
            ..
        }) = self.nodes.first()
        else {
            return;
        };
        for (number, snapshot) in snapshots.into_iter().enumerate() {
            let (user, desk) = (user.clone(), Arc::clone(&process.desk));
            let run = move || user.bring_back(&desk, &snapshot, number);
            let of = (process.node, process.number);
            self.fibers
                .push(Fiber::new(of, Role::User, &self.shared, run));
        }
    }

    /// At rest, nothing of any job is left, and a checkpoint says what the events say.
    pub(super) fn check_rest(&mut self) {
        if self.shared.violation().is_some() {
            return;
        }
        for index in 0..self.nodes.len() {
            self.check_replay(index);
            self.check_ended(index);
            self.books.check_rest(index);
            self.books.check_tables(index, "the end");
        }
        self.books.check_proofs();
        let context = Context::new();
        let truth = Arc::new(self.remote.truth.clone());
        let opened = Repository::open(&context, truth, REPOSITORY, Mode::ReadOnly);
        // No user may have come so far as to make one.
        let Ok(repository) = opened else { return };
        match repository.intents(&context) {
            Ok(intents) if intents.is_empty() || self.books.may_leave_intents() => {}
            Ok(intents) => self.shared.broken(
                "nothing of an ended job is left in the repository",
                format!("intents {intents:?}"),
            ),
            Err(e) => self.shared.broken(
                "nothing of an ended job is left in the repository",
                e.to_string(),
            ),
        }
    }

    fn check_ended(&self, index: usize) {
        let node = &self.nodes[index];
        let Some(process) = &node.process else {
            let text = format!("node {index} has no process at the end");
            return self
                .shared
                .broken("a node opens again after any death", text);
        };
        if !process.state().working.is_empty() {
            self.shared.broken(
                "every job ends once there is no more trouble",
                self.unfinished(),
            );
        }
        let files = node.kept.jobs.counts().objects;
        if files > 0 {
            self.shared.broken(
                "nothing of an ended job is left on the node",
                format!("node {index} keeps {files} work files"),
            );
        }
    }

    fn check_replay(&self, index: usize) {
        let Some(process) = &self.nodes[index].process else {
            return;
        };
        let journal: &dyn Journal<crate::event::Event> = process.journal.as_ref();
        let end = journal.position().0;
        let mut whole = Replay::new();
        let from_start = holdfast_journal::replay(journal, &mut whole).map(|_| whole.into_state());
        let from_kept = replayed(journal).map(|opened| opened.state);
        let bytes = |state| checkpoint::encode(state, end);
        match (from_start, from_kept) {
            (Ok(start), Ok(kept)) => {
                let live = process.state();
                if bytes(&start) != bytes(&kept) || bytes(&start) != bytes(live) {
                    self.shared.broken(
                        "a checkpoint, the events and the living engine say the same",
                        format!("node {index}, {end} events"),
                    );
                }
            }
            (Err(e), _) | (_, Err(e)) => self
                .shared
                .broken("a journal replays", format!("node {index}: {e}")),
        }
    }

    /// A hash over all bytes of all journals: equal runs have equal ones.
    pub(in crate::simulation) fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for node in &self.nodes {
            for name in node.kept.disk.list().unwrap_or_default() {
                hasher.update(name.as_bytes());
                hasher.update(&node.kept.disk.get(&name).unwrap_or_default());
            }
        }
        *hasher.finalize().as_bytes()
    }
}
