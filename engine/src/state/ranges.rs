//! Sets of task numbers as runs: a phase of 300 000 tasks that is untouched, or done, is one run.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// A set of `u32` kept as disjoint, non-adjacent runs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RangeSet {
    /// start -> end (exclusive)
    runs: BTreeMap<u32, u32>,
}

impl RangeSet {
    /// The numbers `start..end`.
    pub(crate) fn span(start: u32, end: u32) -> Self {
        let mut set = Self::default();
        if start < end {
            set.runs.insert(start, end);
        }
        set
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    pub(crate) fn contains(&self, n: u32) -> bool {
        self.runs
            .range(..=n)
            .next_back()
            .is_some_and(|(_, end)| n < *end)
    }

    /// Adds `n`; merges with its neighbours.
    pub(crate) fn insert(&mut self, n: u32) {
        if self.contains(n) {
            return;
        }
        let mut start = n;
        let mut end = n + 1;
        if let Some((s, e)) = self.runs.range(..=n).next_back().map(|(s, e)| (*s, *e))
            && e == n
        {
            self.runs.remove(&s);
            start = s;
        }
        if let Some(e) = self.runs.remove(&end) {
            end = e;
        }
        self.runs.insert(start, end);
    }

    /// Takes `n` out; says whether it was in.
    pub(crate) fn remove(&mut self, n: u32) -> bool {
        let Some((start, end)) = self.runs.range(..=n).next_back().map(|(s, e)| (*s, *e)) else {
            return false;
        };
        if n >= end {
            return false;
        }
        self.runs.remove(&start);
        if start < n {
            self.runs.insert(start, n);
        }
        if n + 1 < end {
            self.runs.insert(n + 1, end);
        }
        true
    }

    /// The smallest number in `start..end`.
    pub(crate) fn first_in(&self, start: u32, end: u32) -> Option<u32> {
        if start < end && self.contains(start) {
            return Some(start);
        }
        self.runs.range(start..end).next().map(|(s, _)| *s)
    }

    /// The runs within `start..end`, cut to it.
    pub(crate) fn runs_in(&self, start: u32, end: u32) -> Vec<(u32, u32)> {
        let from = self
            .runs
            .range(..=start)
            .next_back()
            .map_or(start, |(s, _)| *s);
        self.runs
            .range(from..end)
            .map(|(s, e)| ((*s).max(start), (*e).min(end)))
            .filter(|(s, e)| s < e)
            .collect()
    }

    /// Whether what was read from outside is such a set, of numbers below `end`.
    pub(crate) fn is_sound(&self, end: u32) -> bool {
        let mut free = 0;
        self.runs.iter().all(|(s, e)| {
            let apart = *s >= free && s < e && *e <= end;
            free = e.saturating_add(1);
            apart
        })
    }

    /// How many numbers are in.
    pub(crate) fn len(&self) -> u32 {
        self.runs.iter().map(|(s, e)| e - s).sum()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn behaves_as_a_plain_set(ops in prop::collection::vec((any::<bool>(), 0_u32..40), 0..200)) {
            let mut ranges = RangeSet::span(5, 9);
            let mut plain: BTreeSet<u32> = (5..9).collect();
            for (add, n) in ops {
                if add {
                    ranges.insert(n);
                    plain.insert(n);
                } else {
                    prop_assert_eq!(ranges.remove(n), plain.remove(&n));
                }
                prop_assert_eq!(ranges.len() as usize, plain.len());
                prop_assert_eq!(ranges.is_empty(), plain.is_empty());
                for low in [0_u32, 7, 20] {
                    let expected = plain.range(low..35).next().copied();
                    prop_assert_eq!(ranges.first_in(low, 35), expected);
                    let listed: Vec<u32> =
                        ranges.runs_in(low, 35).into_iter().flat_map(|(s, e)| s..e).collect();
                    let wanted: Vec<u32> = plain.range(low..35).copied().collect();
                    prop_assert_eq!(listed, wanted);
                }
            }
        }
    }
}
