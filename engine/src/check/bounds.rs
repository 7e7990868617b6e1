//! Bounds of partitions beside each other: whether they fit the table, whether they conflict, how
//! they read.

use std::collections::BTreeMap;

use holdfast_storage::model::{Bounds, Partitioning};
use holdfast_storage::schema;

/// How many list items a message shows at most.
const ITEMS_SHOWN: usize = 4;

/// The word that users know for what a partition takes.
pub(super) fn word(bounds: &Bounds) -> &'static str {
    match bounds {
        Bounds::All => "bounds",
        Bounds::Range { .. } => "range",
        Bounds::List { .. } => "items",
    }
}

/// The bounds as text: `all rows`, `[(1), (5))`, `('a', 'b')`.
pub(super) fn text(bounds: &Bounds) -> String {
    match bounds {
        Bounds::All => "all rows".to_owned(),
        Bounds::Range { lower, upper } => {
            let end = |end: &Option<Vec<String>>, open: &str| {
                end.as_ref()
                    .map_or(open.to_owned(), |values| format!("({})", values.join(", ")))
            };
            format!("[{}, {})", end(lower, "MINVALUE"), end(upper, "MAXVALUE"))
        }
        Bounds::List { items } => {
            let mut shown: Vec<String> = items
                .iter()
                .take(ITEMS_SHOWN)
                .map(|item| item_text(item))
                .collect();
            if items.len() > ITEMS_SHOWN {
                shown.push(format!("… {} in all", items.len()));
            }
            format!("({})", shown.join(", "))
        }
    }
}

fn item_text(item: &[String]) -> String {
    match item {
        [value] => format!("'{value}'"),
        values => format!("({})", values.join(", ")),
    }
}

/// Whether a table partitioned so can have a partition of these bounds.
pub(super) fn fit(partitioning: &Partitioning, bounds: &Bounds) -> bool {
    matches!(
        (partitioning, bounds),
        (Partitioning::Unpartitioned, Bounds::All)
            | (Partitioning::Range { .. }, Bounds::Range { .. })
            | (Partitioning::List { .. }, Bounds::List { .. })
    )
}

/// The partitions of one table by what they take: finds the first that a new one conflicts with.
///
/// List items are looked up; ranges are compared one by one, which is for those only of which it is
/// known that some conflict.
#[derive(Default)]
pub(super) struct Taken<'a> {
    items: BTreeMap<&'a [String], &'a str>,
    others: Vec<(&'a str, &'a Bounds)>,
}

impl<'a> Taken<'a> {
    /// Adds partition `name`.
    pub(super) fn add(&mut self, name: &'a str, bounds: &'a Bounds) {
        if let Bounds::List { items } = bounds {
            self.items
                .extend(items.iter().map(|item| (item.as_slice(), name)));
        } else {
            self.others.push((name, bounds));
        }
    }

    /// A partition that takes rows which `bounds` take too, and what it takes of them.
    pub(super) fn conflict(&self, bounds: &Bounds) -> Option<(&'a str, String)> {
        if let Bounds::List { items } = bounds {
            let hit = items.iter().find_map(|item| {
                self.items
                    .get(item.as_slice())
                    .map(|&name| (name, item_text(item)))
            });
            if hit.is_some() {
                return hit;
            }
        }
        self.others
            .iter()
            .find(|(_, other)| schema::overlaps(other, bounds))
            .map(|&(name, other)| (name, text(other)))
    }
}
