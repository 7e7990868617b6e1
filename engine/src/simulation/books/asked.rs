//! What users asked for, worked out from their words and the books alone: which tables a backup must hold, which targets a
//! restore must have and what it may drop. Nothing here looks at what the engine made of it.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_storage::{PinRequest, RestoreSpec};

use super::{Books, Database, Names};
use crate::convert::objects_in;
use crate::event;
use crate::ids::JobId;
use crate::simulation::rules;
use crate::spec::{BackupRequest, Clean, ObjectRef, RestoreRequest, Selection};

/// What a RESTORE statement asks for.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) selection: Selection,
    pub(super) clean: Clean,
}

/// A target with the table of the snapshot that it comes from, and the partitions.
type Targets = BTreeMap<String, (String, BTreeSet<String>)>;

impl Asked {
    pub(super) fn of(event: &event::RestoreSubmitted) -> Self {
        let objects = objects_in(&event.objects);
        Self {
            selection: match event.selection {
                0 => Selection::All,
                1 => Selection::Only(objects),
                _ => Selection::Except(objects),
            },
            clean: Clean {
                tables: event.clean_tables,
                partitions: event.clean_partitions,
            },
        }
    }

    /// The targets of this restore of `source`.
    pub(super) fn targets(&self, source: &Database) -> Targets {
        let mut targets = Targets::new();
        for (table, content) in source {
            let all: BTreeSet<String> = content.keys().cloned().collect();
            let named = |objects: &[ObjectRef]| {
                let object = objects.iter().find(|object| object.table == *table);
                object.map(|object| {
                    let listed: BTreeSet<String> = object.partitions.iter().cloned().collect();
                    (object.alias.clone(), listed)
                })
            };
            let (alias, partitions) = match &self.selection {
                Selection::All => (None, all),
                Selection::Only(objects) => match named(objects) {
                    None => continue,
                    Some((alias, listed)) if listed.is_empty() => (alias, all),
                    Some((alias, listed)) => (alias, listed),
                },
                Selection::Except(objects) => match named(objects) {
                    None => (None, all),
                    Some((_, listed)) if listed.is_empty() => continue,
                    Some((_, listed)) => {
                        let rest: BTreeSet<String> = all.difference(&listed).cloned().collect();
                        if rest.is_empty() {
                            continue;
                        }
                        (None, rest)
                    }
                },
            };
            let target = alias.unwrap_or_else(|| table.clone());
            targets.insert(target, (table.clone(), partitions));
        }
        targets
    }

    /// What differs between the targets that a storage was asked to make and those of this restore of `source`, where
    /// `existed` (at the statement) and `found` (now) are what the target database holds.
    pub(super) fn differs(
        &self,
        spec: &RestoreSpec,
        source: &Database,
        existed: Option<&Names>,
        found: &Names,
    ) -> Option<String> {
        let targets = self.targets(source);
        let wanted = targets
            .iter()
            .map(|(name, (_, parts))| (name, parts.clone()));
        let wanted: BTreeMap<&String, BTreeSet<String>> = wanted.collect();
        let made = spec.tables.iter().map(|table| {
            let partitions = table.partitions.iter().map(|p| p.meta.name.clone());
            (&table.name, partitions.collect::<BTreeSet<String>>())
        });
        let made: BTreeMap<&String, BTreeSet<String>> = made.collect();
        if made != wanted {
            return Some(format!("targets {made:?}, expected {wanted:?}"));
        }
        let dropped: BTreeSet<&String> = spec.drop_tables.iter().collect();
        let parts: BTreeSet<(&String, &String)> =
            spec.drop_partitions.iter().map(|(t, p)| (t, p)).collect();
        let (most_tables, most_parts) = self.drops(&targets, source, found);
        if !dropped.is_subset(&most_tables) || !parts.is_subset(&most_parts) {
            return Some(format!(
                "drops {dropped:?} and {parts:?}, may drop {most_tables:?} and {most_parts:?}"
            ));
        }
        // What was there all the time must go.
        let there = |table: &String| existed.and_then(|existed| existed.get(table));
        let kept = most_tables
            .iter()
            .find(|table| there(table).is_some() && !dropped.contains(*table));
        let kept_part = most_parts.iter().find(|(t, p)| {
            there(t).is_some_and(|old| old.contains(*p)) && !parts.contains(&(t, p))
        });
        match (kept, kept_part) {
            (Some(table), _) => Some(format!("table '{table}' is not dropped")),
            (_, Some(part)) => Some(format!("partition {part:?} is not dropped")),
            (None, None) => None,
        }
    }

    /// The most that this restore may drop of what is found.
    fn drops<'a>(
        &self,
        targets: &Targets,
        source: &Database,
        found: &'a Names,
    ) -> (BTreeSet<&'a String>, BTreeSet<(&'a String, &'a String)>) {
        let (mut tables, mut parts) = (BTreeSet::new(), BTreeSet::new());
        for (table, partitions) in found {
            match targets.get(table) {
                None if self.clean.tables => {
                    tables.insert(table);
                }
                Some((from, _)) if self.clean.partitions => {
                    let brought = source.get(from);
                    let gone = partitions
                        .iter()
                        .filter(|p| brought.is_none_or(|content| !content.contains_key(*p)));
                    parts.extend(gone.map(|p| (table, p)));
                }
                _ => {}
            }
        }
        (tables, parts)
    }
}

impl Books {
    /// The tables of a database with their partitions, as the books have them now.
    pub(in crate::simulation) fn names(&self, node: usize, database: &str) -> Names {
        let names = self.node(node, |node| {
            let own = node.tables.iter().filter(|((d, _), _)| d == database);
            own.map(|((_, table), content)| (table.clone(), content.keys().cloned().collect()))
                .collect()
        });
        names.unwrap_or_default()
    }

    /// A backup was answered; `before` = what the database held when the user asked.
    pub(in crate::simulation) fn backup_accepted(
        &self,
        node: usize,
        job: JobId,
        request: &BackupRequest,
        before: &Names,
    ) {
        self.accepted(node, job);
        let recorded = self.node(node, |node| node.backed_up.get(&job).cloned());
        let Some(recorded) = recorded.flatten() else {
            return;
        };
        let now = self.names(node, &request.database);
        let missing = match &request.selection {
            // A table that came or went in between may be in it or not.
            Selection::All => before
                .keys()
                .find(|table| {
                    now.contains_key(*table)
                        && recorded.iter().all(|object| object.table != **table)
                })
                .map(|table| format!("table '{table}' is not in it")),
            Selection::Only(objects) if *objects != recorded => {
                Some(format!("recorded {recorded:?}, asked {objects:?}"))
            }
            Selection::Only(_) | Selection::Except(_) => None,
        };
        if let Some(text) = missing {
            self.shared.broken(
                rules::RECORDED,
                format!("backup {job} of node {node}: {text}"),
            );
        }
    }

    /// A restore was answered; `before` = what the database held when the user asked.
    pub(in crate::simulation) fn restore_accepted(
        &self,
        node: usize,
        job: JobId,
        request: &RestoreRequest,
        before: Names,
    ) {
        self.accepted(node, job);
        let asked = self.node(node, |node| {
            let restore = node.restores.get_mut(&holdfast_storage::OpId(job.0))?;
            restore.existed = Some(before);
            Some(restore.asked.clone())
        });
        let Some(asked) = asked.flatten() else { return };
        if asked.selection != request.selection || asked.clean != request.clean {
            self.shared.broken(
                rules::RECORDED,
                format!("restore {job} of node {node}: {:?}", asked.selection),
            );
        }
    }

    /// A storage is asked for a pin: of all that the job was accepted for.
    pub(super) fn check_pin(&self, node: usize, job: JobId, request: &PinRequest) {
        let recorded = self.node(node, |node| node.backed_up.get(&job).cloned());
        let recorded = recorded.flatten().unwrap_or_default();
        let wanted: BTreeMap<&String, BTreeSet<&String>> = recorded
            .iter()
            .map(|object| (&object.table, object.partitions.iter().collect()))
            .collect();
        let asked: BTreeMap<&String, BTreeSet<&String>> = request
            .tables
            .iter()
            .map(|table| (&table.name, table.partitions.iter().flatten().collect()))
            .collect();
        if wanted != asked {
            self.shared.broken(
                rules::RECORDED,
                format!("job {job} of node {node} pins {asked:?}, accepted {wanted:?}"),
            );
        }
    }
}
