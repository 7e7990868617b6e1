//! Which tables and partitions a statement means: a [`Selection`] against what there is.
//!
//! Pure: no catalog, no repository, no clock. What it gives back lists tables in the order of the
//! statement (ON) or of what there is (all, EXCLUDE), and partition lists as the user wrote them,
//! so that a list is never longer than its statement unless partitions were excluded.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_storage::TableInfo;

use crate::refusal::{Refusal, RefusalCode};
use crate::spec::{ObjectRef, Selection};

#[cfg(test)]
mod tests;

/// How many names a refusal lists at most.
const NAMES_SHOWN: usize = 5;

/// A table that may be selected.
#[derive(Clone, Debug)]
pub(crate) struct Available<'a> {
    /// Its name.
    pub(crate) table: &'a str,
    /// Its partitions, in their order.
    pub(crate) partitions: Vec<&'a str>,
}

impl<'a> From<&'a TableInfo> for Available<'a> {
    fn from(table: &'a TableInfo) -> Self {
        Self {
            table: &table.name,
            partitions: table
                .partitions
                .iter()
                .map(|p| p.meta.name.as_str())
                .collect(),
        }
    }
}

/// What a BACKUP of `database` takes, of the tables there are.
///
/// # Errors
/// A refusal that names the unknown table or partition and names near it, what is listed twice, an
/// alias (a backup has none), or that nothing is left.
pub(crate) fn for_backup(
    database: &str,
    selection: &Selection,
    available: &[Available<'_>],
) -> Result<Vec<ObjectRef>, Refusal> {
    let place = format!("database '{database}'");
    for object in listed(selection) {
        if let Some(alias) = &object.alias {
            return Err(Refusal::new(
                RefusalCode::BadProperty,
                format!(
                    "table '{}' has the alias '{alias}', expected none: a backup keeps names, \
                     give the alias to RESTORE",
                    object.table
                ),
            ));
        }
    }
    resolve(&place, selection, available, "back up")
}

/// What a RESTORE takes of the tables in snapshot `label`.
///
/// # Errors
/// As [`for_backup`], and where two tables would get one name or EXCLUDE has an alias.
pub(crate) fn for_restore(
    label: &str,
    selection: &Selection,
    available: &[Available<'_>],
) -> Result<Vec<ObjectRef>, Refusal> {
    check_aliases(selection)?;
    resolve(
        &format!("snapshot '{label}'"),
        selection,
        available,
        "restore",
    )
}

/// The objects a statement names.
pub(crate) fn listed(selection: &Selection) -> &[ObjectRef] {
    match selection {
        Selection::All => &[],
        Selection::Only(objects) | Selection::Except(objects) => objects,
    }
}

fn check_aliases(selection: &Selection) -> Result<(), Refusal> {
    let objects = listed(selection);
    let names: BTreeSet<&str> = objects.iter().map(|o| o.table.as_str()).collect();
    let mut aliases = BTreeSet::new();
    for object in objects {
        let Some(alias) = object.alias.as_deref() else {
            continue;
        };
        if matches!(selection, Selection::Except(_)) {
            return Err(Refusal::new(
                RefusalCode::BadProperty,
                format!(
                    "table '{}' in EXCLUDE has the alias '{alias}', expected none: what is \
                     left out gets no name",
                    object.table
                ),
            ));
        }
        if names.contains(alias) {
            return Err(duplicate(format!(
                "alias '{alias}' of table '{}' is the name of a table in the same list",
                object.table
            )));
        }
        if !aliases.insert(alias) {
            return Err(duplicate(format!("alias '{alias}' is given twice")));
        }
    }
    Ok(())
}

fn duplicate(message: String) -> Refusal {
    Refusal::new(RefusalCode::DuplicateObject, message)
}

fn resolve(
    place: &str,
    selection: &Selection,
    available: &[Available<'_>],
    verb: &str,
) -> Result<Vec<ObjectRef>, Refusal> {
    let by_name: BTreeMap<&str, &Available<'_>> = available.iter().map(|a| (a.table, a)).collect();
    check_listed(place, listed(selection), &by_name)?;
    let chosen = match selection {
        Selection::All => available.iter().map(|a| whole(a.table)).collect(),
        Selection::Only(objects) => objects.clone(),
        Selection::Except(objects) => all_but(available, objects),
    };
    if chosen.is_empty() {
        return Err(nothing_left(place, selection, available, verb));
    }
    Ok(chosen)
}

fn nothing_left(
    place: &str,
    selection: &Selection,
    available: &[Available<'_>],
    verb: &str,
) -> Refusal {
    let why = if available.is_empty() {
        format!("{place} is empty")
    } else if matches!(selection, Selection::Except(_)) {
        format!(
            "EXCLUDE leaves out all {} tables of {place}",
            available.len()
        )
    } else {
        "the list of tables is empty".to_owned()
    };
    Refusal::new(
        RefusalCode::NothingSelected,
        format!("nothing to {verb}: {why}"),
    )
}

/// Each named thing is there, once.
fn check_listed(
    place: &str,
    objects: &[ObjectRef],
    by_name: &BTreeMap<&str, &Available<'_>>,
) -> Result<(), Refusal> {
    let mut seen = BTreeSet::new();
    for object in objects {
        let Some(table) = by_name.get(object.table.as_str()) else {
            let names = by_name.keys().copied();
            return Err(Refusal::new(
                RefusalCode::TableNotFound,
                format!(
                    "table '{}' does not exist in {place}; {}",
                    object.table,
                    hint(&object.table, names, "tables")
                ),
            ));
        };
        if !seen.insert(object.table.as_str()) {
            return Err(duplicate(format!(
                "table '{}' is listed twice",
                object.table
            )));
        }
        check_partitions(place, object, table)?;
    }
    Ok(())
}

fn check_partitions(place: &str, object: &ObjectRef, table: &Available<'_>) -> Result<(), Refusal> {
    let known: BTreeSet<&str> = table.partitions.iter().copied().collect();
    let mut seen = BTreeSet::new();
    for name in &object.partitions {
        if !known.contains(name.as_str()) {
            let names = known.iter().copied();
            return Err(Refusal::new(
                RefusalCode::PartitionNotFound,
                format!(
                    "partition '{name}' does not exist in table '{}' of {place}; {}",
                    object.table,
                    hint(name, names, "partitions")
                ),
            ));
        }
        if !seen.insert(name.as_str()) {
            return Err(duplicate(format!(
                "partition '{name}' of table '{}' is listed twice",
                object.table
            )));
        }
    }
    Ok(())
}

fn whole(table: &str) -> ObjectRef {
    ObjectRef {
        table: table.to_owned(),
        partitions: Vec::new(),
        alias: None,
    }
}

fn all_but(available: &[Available<'_>], except: &[ObjectRef]) -> Vec<ObjectRef> {
    let except: BTreeMap<&str, &ObjectRef> = except.iter().map(|o| (o.table.as_str(), o)).collect();
    let mut chosen = Vec::new();
    for table in available {
        let Some(left_out) = except.get(table.table) else {
            chosen.push(whole(table.table));
            continue;
        };
        if left_out.partitions.is_empty() {
            continue;
        }
        let gone: BTreeSet<&str> = left_out.partitions.iter().map(String::as_str).collect();
        let rest: Vec<String> = table
            .partitions
            .iter()
            .filter(|name| !gone.contains(**name))
            .map(|name| (*name).to_owned())
            .collect();
        // An empty list would mean all partitions: a table that loses each of them is left out as
        // a whole.
        if !rest.is_empty() {
            chosen.push(ObjectRef {
                partitions: rest,
                ..whole(table.table)
            });
        }
    }
    chosen
}

/// Names that the user may have meant, else some of those there are.
fn hint<'a>(wanted: &str, names: impl Iterator<Item = &'a str> + Clone, what: &str) -> String {
    let wanted_small = wanted.to_lowercase();
    let bound = 1 + wanted.chars().count() / 4;
    let mut near: Vec<(usize, &str)> = names
        .clone()
        .filter_map(|name| {
            let small = name.to_lowercase();
            let distance = edits(&wanted_small, &small, bound);
            distance.map(|distance| (distance, name))
        })
        .collect();
    near.sort_unstable();
    if !near.is_empty() {
        return format!(
            "near names: {}",
            quoted(near.into_iter().map(|(_, name)| name))
        );
    }
    match names.clone().count() {
        0 => format!("it has no {what}"),
        count => format!("its {count} {what}: {}", quoted(names)),
    }
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut shown: Vec<String> = names
        .take(NAMES_SHOWN + 1)
        .map(|name| format!("'{name}'"))
        .collect();
    if shown.len() > NAMES_SHOWN {
        shown.truncate(NAMES_SHOWN);
        shown.push("…".to_owned());
    }
    shown.join(", ")
}

/// How many characters must be put in, taken out or changed to make `b` of `a`; `None` where more
/// than `bound`.
fn edits(a: &str, b: &str, bound: usize) -> Option<usize> {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    if a.len().abs_diff(b.len()) > bound {
        return None;
    }
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, left) in a.iter().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in b.iter().enumerate() {
            let changed = diagonal + usize::from(left != right);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
        if row.iter().all(|&distance| distance > bound) {
            return None;
        }
    }
    row.last().copied().filter(|&distance| distance <= bound)
}
