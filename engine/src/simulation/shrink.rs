//! Makes the plan of a broken run short: whole kinds go, then runs of decisions, then single ones, then values get
//! smaller, for as long as the same rule stays broken. Knows nothing of what decisions mean.

use super::choices::{Kind, Plan};

/// A plan that was made short.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    /// The plan.
    pub plan: Plan,
    /// The rule that it breaks.
    pub rule: &'static str,
    /// Runs that it took.
    pub runs: u64,
}

type Entry = ((Kind, u64), u64);

struct Shrinking<F> {
    breaks: F,
    rule: &'static str,
    entries: Vec<Entry>,
    runs: u64,
    most: u64,
}

pub(super) fn shrink(
    plan: &Plan,
    most: u64,
    mut breaks: impl FnMut(&Plan) -> Option<&'static str>,
) -> Option<Shrunk> {
    let rule = breaks(plan)?;
    let mut work = Shrinking {
        breaks,
        rule,
        entries: plan.entries().collect(),
        runs: 1,
        most,
    };
    work.whole_kinds();
    loop {
        let before = work.entries.clone();
        work.pieces();
        work.values();
        if work.entries == before || work.runs >= work.most {
            break;
        }
    }
    Some(Shrunk {
        plan: work.entries.into_iter().collect(),
        rule,
        runs: work.runs,
    })
}

impl<F: FnMut(&Plan) -> Option<&'static str>> Shrinking<F> {
    /// Keeps `entries` where they break the same rule.
    fn keep(&mut self, entries: Vec<Entry>) -> bool {
        if self.runs >= self.most {
            return false;
        }
        self.runs += 1;
        let plan: Plan = entries.iter().copied().collect();
        let same = (self.breaks)(&plan) == Some(self.rule);
        if same {
            self.entries = entries;
        }
        same
    }

    fn whole_kinds(&mut self) {
        for kind in Kind::ALL {
            let without = self.entries.iter().filter(|((of, _), _)| *of != kind);
            let without: Vec<Entry> = without.copied().collect();
            if without.len() < self.entries.len() {
                self.keep(without);
            }
        }
    }

    /// Leaves out pieces, from half of all down to one.
    fn pieces(&mut self) {
        let mut size = self.entries.len().div_ceil(2);
        while size > 0 {
            let mut at = 0;
            while at < self.entries.len() {
                let end = (at + size).min(self.entries.len());
                let mut without = self.entries.clone();
                without.drain(at..end);
                if !self.keep(without) {
                    at = end;
                }
            }
            size /= 2;
        }
    }

    fn values(&mut self) {
        for at in 0..self.entries.len() {
            let value = self.entries[at].1;
            for smaller in [1, value / 2, value.saturating_sub(1)] {
                if smaller > 0 && smaller < self.entries[at].1 {
                    let mut with = self.entries.clone();
                    with[at].1 = smaller;
                    self.keep(with);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_plan_shrinks_to_the_decisions_that_matter() {
        let long: Plan = (0..400)
            .map(|n| ((Kind::ALL[n as usize % 9], n), n % 13))
            .collect();
        let matters = |plan: &Plan| {
            let find = |number: u64, least: u64| {
                plan.entries()
                    .any(|((_, n), value)| n == number && value >= least)
            };
            (find(17, 3) && find(303, 1)).then_some("rule")
        };
        let shrunk = shrink(&long, 5_000, matters).unwrap();
        assert_eq!(shrunk.plan.to_string(), "clock:303=1 answer:17=3");
        assert_eq!(shrunk.rule, "rule");
        assert_eq!(shrink(&Plan::default(), 10, |_| None), None);
    }
}
