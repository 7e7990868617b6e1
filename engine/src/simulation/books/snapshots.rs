//! The books of the repository: finished snapshots are whole and visible, nothing else is visible, nothing else is left.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_broker::Context;
use holdfast_repository::{Mode, Repository, Standing};
use holdfast_storage::OpId;

use super::{Books, REPOSITORY};
use crate::ids::JobId;
use crate::simulation::rules;

impl Books {
    /// The repository as it is, without anything in the way; none where no user came so far as to make one.
    fn repository(&self) -> Option<Repository> {
        let truth = Arc::new(self.remote.truth.clone());
        Repository::open(&Context::new(), truth, REPOSITORY, Mode::ReadOnly).ok()
    }

    pub(super) fn backup_finished(&self, node: usize, op: OpId) {
        let found = {
            let backups = self.backups.lock();
            let mut made = backups.iter().filter(|(_, by)| by.contains(&(node, op)));
            made.next().map(|(key, _)| key.clone())
        };
        let Some((label, timestamp)) = found else {
            return self
                .shared
                .broken(rules::BACKUP_ACCEPTED, format!("job {op}"));
        };
        self.finished.lock().push((label.clone(), timestamp));
        let bearers = {
            let mut all = self.bearers.lock();
            let bearers = all.entry(label.clone()).or_default();
            bearers.insert((node, op));
            bearers.clone()
        };
        // Where new markers are not listed yet, nobody can tell that the label is taken: such remotes have one writer.
        if bearers.len() > 1 && !self.remote.has_lied() && !self.remote.lists_late() {
            self.shared.broken(
                rules::ONE_SNAPSHOT,
                format!("snapshot '{label}' was finished by {bearers:?}"),
            );
        }
        self.prove(&label);
    }

    /// Every object of a finished snapshot is there and whole, but for what the remote said that it kept and did not.
    pub(in crate::simulation) fn prove(&self, label: &str) {
        let mut findings = Vec::new();
        let Some(repository) = self.repository() else {
            return self.spoilt_or(label, "the repository is not there");
        };
        let proved = repository.verify(&Context::new(), Some(label), &mut |finding| {
            let name = format!("__holdfast_repository_{REPOSITORY}/{}", finding.object);
            match self.remote.lied_about(&name) {
                true => drop(self.spoiled.lock().insert(label.to_owned())),
                false => findings.push(finding.to_string()),
            }
        });
        match (proved, findings.first()) {
            (Err(e), _) => self.spoilt_or(label, &e.to_string()),
            (_, Some(finding)) => self
                .shared
                .broken(rules::WHOLE, format!("snapshot '{label}': {finding}")),
            _ => self.shared.cover(|coverage| coverage.snapshots += 1),
        }
    }

    /// What cannot even be read is excused where the remote has lied about something in the snapshot's own folder, or
    /// about the repository's description.
    fn spoilt_or(&self, label: &str, why: &str) {
        let folder = format!("__holdfast_repository_{REPOSITORY}/__ss_{label}/");
        let info = format!("__holdfast_repository_{REPOSITORY}/__repo_info");
        if self.remote.lied_below(&folder) || self.remote.lied_about(&info) {
            self.spoiled.lock().insert(label.to_owned());
        } else {
            self.shared
                .broken(rules::WHOLE, format!("snapshot '{label}': {why}"));
        }
    }

    /// After requests that took something away: no finished snapshot suffers.
    pub(in crate::simulation) fn check_deleted(&self) {
        if self.remote.take_deleted().is_empty() {
            return;
        }
        for (label, _) in self.snapshots() {
            self.prove(&label);
        }
    }

    /// This snapshot is to be brought back at the end.
    pub(in crate::simulation) fn wants_back(&self, label: &str) {
        self.wanted.lock().insert(label.to_owned());
    }

    /// A snapshot could not even be asked back on a world without trouble.
    pub(in crate::simulation) fn not_brought_back(&self, label: &str, why: &str) {
        if !self.spoiled.lock().contains(label) {
            self.shared
                .broken(rules::RESTORABLE, format!("snapshot '{label}': {why}"));
        }
    }

    /// What was to be brought back at the end has come, whole; what the remote has not kept may be missing.
    pub(in crate::simulation) fn check_proofs(&self) {
        let proofs = self.node(0, |node| {
            let restores = node.restores.iter().filter(|(_, restore)| restore.is_proof);
            let proof = |(op, restore): (&OpId, &super::Restoring)| {
                let end = node.ends.get(&JobId(op.0)).cloned();
                (restore.label.clone(), restore.committed, end)
            };
            restores.map(proof).collect::<Vec<_>>()
        });
        let proofs = proofs.unwrap_or_default();
        for label in self.wanted.lock().clone() {
            // What was whole when it was finished may have lost something since.
            self.prove(&label);
            let of_label = || proofs.iter().filter(|(of, _, _)| *of == label);
            let brought = of_label().any(|(_, committed, _)| *committed);
            if !brought && !self.spoiled.lock().contains(&label) {
                let ends: Vec<_> = of_label().map(|(_, _, end)| end).collect();
                self.shared.broken(
                    rules::RESTORABLE,
                    format!("snapshot '{label}': its restores ended as {ends:?}"),
                );
            }
        }
    }

    /// At rest: what is visible was finished, and nothing else lies there.
    pub(in crate::simulation) fn check_repository(&self) {
        let Some(repository) = self.repository() else {
            return;
        };
        let context = Context::new();
        let broken = |rule, text: String| self.shared.broken(rule, text);
        match repository.labels(&context) {
            Ok(labels) => {
                for entry in labels {
                    for marker in &entry.snapshots {
                        self.check_visible(&entry.label, &marker.cluster, marker.job);
                    }
                }
            }
            Err(e) => broken(rules::VISIBLE, e.to_string()),
        }
        match repository.intents(&context) {
            Ok(intents) => {
                for intent in intents.iter().filter(|name| !self.may_leave(name)) {
                    broken(rules::LEFT_IN_REPOSITORY, format!("intent {intent}"));
                }
            }
            Err(e) => broken(rules::LEFT_IN_REPOSITORY, e.to_string()),
        }
        for label in self.claimed_for_nothing() {
            broken(
                rules::LEFT_IN_REPOSITORY,
                format!("label '{label}' is claimed and bears no snapshot"),
            );
        }
        let mut left = Vec::new();
        let looked = repository.unreferenced(&context, &mut |found| {
            if found.standing == Standing::Free {
                left.push(found.object.key.to_string());
            }
        });
        match looked {
            Ok(_) if left.is_empty() || self.may_leave_objects() => {}
            Ok(_) => broken(
                rules::LEFT_IN_REPOSITORY,
                format!("objects of no snapshot: {left:?}"),
            ),
            Err(e) => broken(rules::LEFT_IN_REPOSITORY, e.to_string()),
        }
    }

    /// Labels that nobody can take for no snapshot's sake, unless somebody said so or went on when nobody waited for it.
    fn claimed_for_nothing(&self) -> Vec<String> {
        let excused = self
            .nodes
            .lock()
            .iter()
            .any(|node| node.outlived || !node.leftovers.is_empty());
        if excused || self.remote.lists_late() || self.remote.has_lied() {
            return Vec::new();
        }
        let below = format!("__holdfast_repository_{REPOSITORY}/__ss_");
        let names = self.remote.names(&below);
        let mut labels: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
        for name in &names {
            let parts = name.strip_prefix(&below).and_then(|n| n.split_once('/'));
            let Some((label, leaf)) = parts else { continue };
            let of_label = labels.entry(label).or_default();
            of_label.0 |= leaf.starts_with("claim.");
            of_label.1 |= leaf.starts_with("__info_");
        }
        let idle = |(label, (claimed, visible)): (&str, (bool, bool))| {
            (claimed && !visible).then(|| label.to_owned())
        };
        labels.into_iter().filter_map(idle).collect()
    }

    fn check_visible(&self, label: &str, cluster: &str, job: u64) {
        let node = u128::from_str_radix(cluster, 16).unwrap_or(0);
        let node = usize::try_from(node).unwrap_or(0).wrapping_sub(1);
        let bearers = self.bearers.lock();
        let known = bearers.get(label);
        if !known.is_some_and(|bearers| bearers.contains(&(node, OpId(job)))) {
            self.shared.broken(
                rules::VISIBLE,
                format!("snapshot '{label}' of job {job} of node {node}; finished: {known:?}"),
            );
        }
    }

    /// A worker of the node goes on though nobody waits for it any more.
    pub(in crate::simulation) fn worker_outlives(&self, node: usize) {
        self.node(node, |node| node.outlived = true);
    }

    /// Whether an intent may have been left: by a job that said that it could not remove all, or by a worker of that
    /// cluster that wrote it after its job had ended. The next job of that cluster takes it away.
    fn may_leave(&self, intent: &str) -> bool {
        let nodes = self.nodes.lock();
        nodes.iter().enumerate().any(|(index, node)| {
            let cluster = format!("{:032x}-", index as u128 + 1);
            intent.strip_prefix(&cluster).is_some_and(|job| {
                let job = job.parse().map(JobId);
                node.outlived || job.is_ok_and(|job| node.leftovers.contains(&job))
            })
        })
    }

    /// Whether a backup of the node lost its pin: its workers of before still run then, beside those that begin again.
    pub(in crate::simulation) fn has_lost_a_point(&self, node: usize) -> bool {
        self.node(node, |node| node.lost_point) == Some(true)
    }

    /// Whether objects may have been left: for a point that was lost, by whoever said so, by workers that nobody waited for, or because another
    /// was at work that might have needed them.
    fn may_leave_objects(&self) -> bool {
        let nodes = self.nodes.lock();
        // Where listings lack new objects, nobody can prove that an object is needed by no one.
        self.remote.lists_late()
            || *self.crossed.lock()
            || nodes
                .iter()
                .any(|node| node.outlived || node.lost_point || !node.leftovers.is_empty())
    }
}
