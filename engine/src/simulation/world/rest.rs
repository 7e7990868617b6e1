//! The end of a run: what is brought back, and what must be true of a world at rest.

use std::sync::Arc;

use holdfast_journal::{Journal, Seq};

use super::{Node, World};
use crate::checkpoint;
use crate::opening::replayed;
use crate::replay::Replay;
use crate::simulation::fiber::{Fiber, Role};
use crate::simulation::rules;
use crate::state::State;

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
            self.books.check_tables(index, "the end");
            self.books.check_rest(index);
        }
        self.books.check_proofs();
        self.books.check_repository();
    }

    fn check_ended(&self, index: usize) {
        let node = &self.nodes[index];
        if node.process.is_none() {
            let text = format!("node {index} has no process at the end");
            return self.shared.broken(rules::OPENS, text);
        }
        let files = node.kept.jobs.counts().objects;
        if files > 0 {
            self.shared.broken(
                rules::LEFT_ON_NODE,
                format!("node {index} keeps {files} work files"),
            );
        }
    }

    /// What a checkpoint says, what the events say from the first on, and what the living engine says: the state, what is
    /// rebuilt beside it, and the views.
    pub(super) fn check_replay(&self, index: usize) {
        let Some(process) = &self.nodes[index].process else {
            return;
        };
        let journal: &dyn Journal<crate::event::Event> = process.journal.as_ref();
        let end = journal.position().0;
        let mut whole = Replay::new();
        let from_start = holdfast_journal::replay(journal, &mut whole).map(|_| whole.into_state());
        let from_kept = replayed(journal).map(|opened| opened.state);
        match (from_start, from_kept) {
            (Ok(start), Ok(kept)) => {
                let live = told(process.state(), end);
                if told(&start, end) != live || told(&kept, end) != live {
                    self.shared
                        .broken(rules::SAME_STATE, format!("node {index}, {end} events"));
                }
            }
            (Err(e), _) | (_, Err(e)) => self
                .shared
                .broken(rules::REPLAYS, format!("node {index}: {e}")),
        }
    }

    /// A hash over all bytes of all journals and their archives: equal runs have equal ones.
    pub(in crate::simulation) fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new();
        for node in &self.nodes {
            for (name, bytes) in node.kept.disk.everything() {
                hasher.update(name.as_bytes());
                hasher.update(&bytes);
            }
        }
        *hasher.finalize().as_bytes()
    }
}

/// All that a state says: its lasting form, what is made from it again at each opening, and the views of its jobs.
fn told(state: &State, at: Seq) -> (Result<Vec<u8>, String>, String) {
    let views: Vec<_> = state
        .jobs
        .iter()
        .map(|(id, job)| (id, job.view()))
        .collect();
    let rest = format!("{:?} {:?} {views:?}", state.working, state.active);
    (checkpoint::encode(state, at), rest)
}
