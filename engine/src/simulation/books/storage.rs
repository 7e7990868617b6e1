//! The books of the tables: what every call of a storage may change, and that it changes nothing else.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_storage::model::Access;
use holdfast_storage::{OpId, Pin, PinRequest, RestoreSpec};

use super::{Books, Content, Database, Pinned, Restoring};
use crate::ids::JobId;
use crate::simulation::choices::Kind;
use crate::simulation::rules;

/// Tables of one database after a commit; `None` = dropped.
type After = BTreeMap<String, Option<Content>>;

impl Books {
    /// Before a call: the world may take a pin away or damage a replica.
    pub(in crate::simulation) fn before_call(&self, node: usize, op: OpId) {
        let pinned = self.node(node, |node| node.pins.contains_key(&op)) == Some(true);
        if pinned
            && self.shared.happens(Kind::Storage, |w| w.pin_lost)
            && self.subjects[node].lock().lose_pin(op)
        {
            self.shared
                .fault("pin lost", || format!("job {op} on node {node}"));
        }
        if self.shared.happens(Kind::Storage, |w| w.replica_damage) {
            let number = self.shared.choose(|c| c.below(Kind::Storage, 1000));
            if self.subjects[node].lock().damage_replica(number) {
                self.shared
                    .fault("replica damaged", || format!("node {node}"));
            }
        }
    }

    /// After a call that may have changed something.
    pub(in crate::simulation) fn after_call(&self, node: usize, call: &'static str, op: OpId) {
        self.shared
            .tell(|| format!("node {node}: {call} of job {op}"));
        self.check_tables(node, call);
    }

    /// A point was pinned, or the pin of before was answered again.
    pub(in crate::simulation) fn pinned(
        &self,
        node: usize,
        op: OpId,
        request: &PinRequest,
        pin: &Pin,
    ) {
        self.check_pin(node, JobId(op.0), request);
        let known = self.node(node, |node| node.pins.get(&op).map(|p| p.position));
        if known.flatten() == Some(pin.position) {
            return;
        }
        let mut content = Database::new();
        for table in &request.tables {
            match self.read(node, &request.database, &table.name) {
                Ok(mut files) => {
                    if let Some(wanted) = &table.partitions {
                        files.retain(|name, _| wanted.contains(name));
                    }
                    content.insert(table.name.clone(), files);
                }
                Err(e) => self.shared.broken(
                    rules::PINNED,
                    format!("{}.{}: {e}", request.database, table.name),
                ),
            }
        }
        let position = pin.position;
        self.node(node, |node| {
            node.pins.insert(op, Pinned { position, content })
        });
    }

    /// The targets of a restore were made.
    pub(in crate::simulation) fn targets_made(&self, node: usize, op: OpId, spec: &RestoreSpec) {
        let found = self.names(node, &spec.database);
        let new = self.node(node, |node| {
            let restore = node.restores.get_mut(&op)?;
            if restore.spec.is_some() {
                return None;
            }
            restore.spec = Some(spec.clone());
            restore.found = found;
            Some(restore.clone())
        });
        let Some(restore) = new.flatten() else { return };
        let sources = self.sources(&restore);
        let differences: Vec<_> = sources
            .iter()
            .map(|source| {
                let (existed, found) = (restore.existed.as_ref(), &restore.found);
                restore.asked.differs(spec, source, existed, found)
            })
            .collect();
        if !differences.iter().any(Option::is_none) {
            self.shared.broken(
                rules::TARGETS,
                format!("job {op} of node {node}: {differences:?}"),
            );
        }
    }

    /// What the snapshot of a restore holds, by each backup that may have made it.
    fn sources(&self, restore: &Restoring) -> Vec<Database> {
        let key = (restore.label.clone(), restore.timestamp.clone());
        let makers = self.backups.lock().get(&key).cloned().unwrap_or_default();
        makers
            .into_iter()
            .filter_map(|(maker, op)| self.node(maker, |n| n.points.get(&op).cloned()).flatten())
            .collect()
    }

    /// A commit is about to run: only after the journal says so.
    pub(in crate::simulation) fn before_commit(&self, node: usize, op: OpId) {
        let may = self.node(node, |node| {
            node.restores.get(&op).is_some_and(|r| r.may_commit)
        });
        if may != Some(true) {
            self.shared
                .broken(rules::COMMIT_ALLOWED, format!("job {op} of node {node}"));
        }
    }

    /// A commit has ended, well or not: all of its tables are new, or none is.
    pub(in crate::simulation) fn committed(&self, node: usize, op: OpId, done: bool) {
        let Some(restore) = self.node(node, |n| n.restores.get(&op).cloned()).flatten() else {
            return;
        };
        let Some(spec) = restore.spec.clone() else {
            if done {
                self.shared.broken(
                    rules::HAS_TARGETS,
                    format!("job {op} of node {node} committed and never made its targets"),
                );
            }
            return;
        };
        if restore.committed {
            return;
        }
        let possible = self.after_commit(node, &restore, &spec);
        let holds = |new: &&After| {
            new.iter().all(|(table, expected)| {
                self.read(node, &spec.database, table).ok().as_ref() == expected.as_ref()
            })
        };
        let Some(new) = possible.iter().find(holds) else {
            if done {
                let text = possible.first().map_or_else(
                    || "no pinned point of such a snapshot is known".to_owned(),
                    |new| self.difference(node, &spec.database, new),
                );
                self.shared.broken(
                    rules::BROUGHT,
                    format!(
                        "job {op} of node {node}, snapshot '{}': {text}",
                        restore.label
                    ),
                );
            }
            // Else nothing may have happened: the tables are compared with the books of before.
            return;
        };
        self.node(node, |node| {
            for (table, content) in new {
                let key = (spec.database.clone(), table.clone());
                match content {
                    Some(content) => node.tables.insert(key, content.clone()),
                    None => node.tables.remove(&key),
                };
            }
            if let Some(restore) = node.restores.get_mut(&op) {
                restore.committed = true;
            }
        });
    }

    fn difference(&self, node: usize, database: &str, new: &After) -> String {
        for (table, expected) in new {
            let found = self.read(node, database, table);
            if found.as_ref().ok() != expected.as_ref() {
                return format!(
                    "table '{database}.{table}': {}",
                    differing(found.as_ref().ok(), expected.as_ref())
                );
            }
        }
        "no difference".to_owned()
    }

    /// What the restore's tables must hold after its commit, by each backup that may have made the snapshot; `None`
    /// for a table that it drops.
    fn after_commit(&self, node: usize, restore: &Restoring, spec: &RestoreSpec) -> Vec<After> {
        let before = self
            .node(node, |node| node.tables.clone())
            .unwrap_or_default();
        let sources = self.sources(restore);
        sources
            .iter()
            .map(|source| after(&before, restore, spec, source))
            .collect()
    }

    /// Every table holds what the books say, and there is no other.
    pub(in crate::simulation) fn check_tables(&self, node: usize, after: &str) {
        if self.shared.violation().is_some() {
            return;
        }
        let Some((truth, books)) = self.node(node, |n| (n.truth.clone(), n.tables.clone())) else {
            return;
        };
        let rule = rules::TABLES;
        for ((database, table), expected) in &books {
            let found = self.read(node, database, table);
            if found.as_ref() != Ok(expected) {
                let text = match &found {
                    Ok(found) => differing(Some(found), Some(expected)),
                    Err(e) => e.clone(),
                };
                let text = format!("node {node}, '{database}.{table}' after {after}: {text}");
                return self.shared.broken(rule, text);
            }
        }
        let Some(truth) = truth else { return };
        for database in truth.databases().unwrap_or_default() {
            for info in truth.tables(&database).unwrap_or_default() {
                let key = (database.clone(), info.name.clone());
                let open = !matches!(info.access, Access::Restoring(_));
                if open != books.contains_key(&key) {
                    let text = format!(
                        "node {node}, '{database}.{}' after {after}: access is {:?}, in the books: {}",
                        info.name, info.access, !open
                    );
                    return self.shared.broken(rule, text);
                }
            }
        }
    }
}

/// What the tables of a restore of `source` hold after its commit.
fn after(
    before: &BTreeMap<(String, String), Content>,
    restore: &Restoring,
    spec: &RestoreSpec,
    source: &Database,
) -> After {
    let mut after = After::new();
    for (target, (from, partitions)) in restore.asked.targets(source) {
        let was = before.get(&(spec.database.clone(), target.clone()));
        let mut content = was.cloned().unwrap_or_default();
        for partition in partitions {
            let files = source.get(&from).and_then(|t| t.get(&partition));
            content.insert(partition, files.cloned().unwrap_or_default());
        }
        for (of, partition) in &spec.drop_partitions {
            if *of == target {
                content.remove(partition);
            }
        }
        after.insert(target, Some(content));
    }
    for table in &spec.drop_tables {
        after.insert(table.clone(), None);
    }
    after
}

/// The first thing in which two contents differ.
fn differing(found: Option<&Content>, expected: Option<&Content>) -> String {
    let (Some(found), Some(expected)) = (found, expected) else {
        return format!("found {}, expected {}", there(found), there(expected));
    };
    let names: BTreeSet<&String> = found.keys().chain(expected.keys()).collect();
    for name in names {
        let (Some(f), Some(e)) = (found.get(name), expected.get(name)) else {
            return format!(
                "partition '{name}' is {}, expected {}",
                there(found.get(name)),
                there(expected.get(name))
            );
        };
        let files: BTreeSet<&String> = f.keys().chain(e.keys()).collect();
        for file in files {
            if f.get(file) != e.get(file) {
                return format!(
                    "file '{file}' of partition '{name}' is {}, expected {}",
                    sized(f.get(file)),
                    sized(e.get(file))
                );
            }
        }
    }
    "no difference".to_owned()
}

fn there<T>(what: Option<&T>) -> &'static str {
    match what {
        Some(_) => "there",
        None => "absent",
    }
}

fn sized(file: Option<&Vec<u8>>) -> String {
    file.map_or_else(
        || "absent".to_owned(),
        |bytes| {
            format!(
                "{} bytes of hash {}",
                bytes.len(),
                &blake3::hash(bytes).to_hex()[..8]
            )
        },
    )
}
