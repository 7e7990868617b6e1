//! Where a run's decisions come from: a seed, or a written plan. Every decision is a number of one kind, counted by
//! kind; 0 always means that nothing unusual happens. A run on a seed writes down what was not 0, and that is its plan.
//!
//! Kinds are counted apart, so that taking one decision out of a plan moves no other: that is what makes plans shrink.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

/// What a decision is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The size and shape of the world.
    Setup,
    /// Who moves next.
    Order,
    /// Whether a node dies now, and what dies with it.
    Crash,
    /// Trouble with a remote.
    Remote,
    /// Trouble with a node's tables.
    Storage,
    /// Trouble with the disk of a journal.
    Disk,
    /// What the clocks do.
    Clock,
    /// What users ask for.
    User,
    /// Answers that come late, together or twice.
    Answer,
}

impl Kind {
    /// All kinds, each at the index of its value.
    pub const ALL: [Self; 9] = [
        Self::Setup,
        Self::Order,
        Self::Crash,
        Self::Remote,
        Self::Storage,
        Self::Disk,
        Self::Clock,
        Self::User,
        Self::Answer,
    ];

    /// Its name in a plan.
    pub fn name(self) -> &'static str {
        match self {
            Self::Setup => "setup",
            Self::Order => "order",
            Self::Crash => "crash",
            Self::Remote => "remote",
            Self::Storage => "storage",
            Self::Disk => "disk",
            Self::Clock => "clock",
            Self::User => "user",
            Self::Answer => "answer",
        }
    }
}

/// Decisions that are not 0, by kind and number. Printed as `crash:88=1 remote:12=3,40=7`, and read back from that.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Plan(BTreeMap<(Kind, u64), u64>);

impl Plan {
    /// The decisions, in order.
    pub fn entries(&self) -> impl Iterator<Item = ((Kind, u64), u64)> + '_ {
        self.0.iter().map(|(key, value)| (*key, *value))
    }

    /// How many decisions it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing unusual happens.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl FromIterator<((Kind, u64), u64)> for Plan {
    fn from_iter<I: IntoIterator<Item = ((Kind, u64), u64)>>(entries: I) -> Self {
        Self(
            entries
                .into_iter()
                .filter(|(_, value)| *value > 0)
                .collect(),
        )
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut last = None;
        for ((kind, number), value) in &self.0 {
            match last {
                Some(same) if same == *kind => f.write_str(",")?,
                Some(_) => write!(f, " {}:", kind.name())?,
                None => write!(f, "{}:", kind.name())?,
            }
            last = Some(*kind);
            write!(f, "{number}={value}")?;
        }
        Ok(())
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut plan = BTreeMap::new();
        for part in text.split_whitespace() {
            let (name, list) = part
                .split_once(':')
                .ok_or_else(|| format!("found '{part}', expected KIND:NUMBER=VALUE,…"))?;
            let kind = Kind::ALL
                .into_iter()
                .find(|kind| kind.name() == name)
                .ok_or_else(|| {
                    let known: Vec<&str> = Kind::ALL.iter().map(|kind| kind.name()).collect();
                    format!("found kind '{name}', expected one of {}", known.join(", "))
                })?;
            for entry in list.split(',') {
                let number = entry.split_once('=').and_then(|(number, value)| {
                    Some((number.parse::<u64>().ok()?, value.parse::<u64>().ok()?))
                });
                let (number, value) =
                    number.ok_or_else(|| format!("found '{entry}', expected NUMBER=VALUE"))?;
                plan.insert((kind, number), value);
            }
        }
        Ok(plan.into_iter().collect())
    }
}

/// What a run is decided by.
#[derive(Clone, Debug)]
pub enum Script {
    /// A number that decides all.
    Seed(u64),
    /// Written decisions; what is not written is 0.
    Plan(Plan),
}

/// The decisions of one run.
pub(super) struct Choices {
    script: Script,
    dice: Vec<fastrand::Rng>,
    counts: [u64; Kind::ALL.len()],
    made: BTreeMap<(Kind, u64), u64>,
}

impl Choices {
    pub(super) fn new(script: Script) -> Self {
        let seed = match &script {
            Script::Seed(seed) => *seed,
            Script::Plan(_) => 0,
        };
        // Neighbouring seeds must not give neighbouring runs.
        let own = |kind: Kind| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&seed.to_le_bytes());
            bytes[8..].copy_from_slice(&(kind as u64).to_le_bytes());
            let hash = blake3::hash(&bytes);
            let mut first = [0; 8];
            first.copy_from_slice(&hash.as_bytes()[..8]);
            fastrand::Rng::with_seed(u64::from_le_bytes(first))
        };
        Self {
            script,
            dice: Kind::ALL.into_iter().map(own).collect(),
            counts: [0; Kind::ALL.len()],
            made: BTreeMap::new(),
        }
    }

    /// A number below `bound`, which must not be 0.
    pub(super) fn below(&mut self, kind: Kind, bound: u64) -> u64 {
        self.decide(kind, |dice| dice.u64(..bound.max(1))) % bound.max(1)
    }

    /// The index of one of several possibilities that are as likely as their weights say. The first is the usual one.
    pub(super) fn weighted(&mut self, kind: Kind, weights: &[u32]) -> usize {
        let sum: u32 = weights.iter().sum();
        let found = self.decide(kind, |dice| {
            let mut at = dice.u32(..sum.max(1));
            let hit = weights
                .iter()
                .position(|weight| match at.checked_sub(*weight) {
                    None => true,
                    Some(rest) => {
                        at = rest;
                        false
                    }
                });
            hit.unwrap_or(0) as u64
        });
        usize::try_from(found).unwrap_or(0) % weights.len().max(1)
    }

    /// Whether something happens that happens so many times in a thousand.
    pub(super) fn happens(&mut self, kind: Kind, per_mille: u32) -> bool {
        self.weighted(kind, &[1000 - per_mille.min(1000), per_mille]) == 1
    }

    fn decide(&mut self, kind: Kind, roll: impl FnOnce(&mut fastrand::Rng) -> u64) -> u64 {
        let count = &mut self.counts[kind as usize];
        let number = *count;
        *count += 1;
        let value = match &self.script {
            Script::Seed(_) => roll(&mut self.dice[kind as usize]),
            Script::Plan(plan) => plan.0.get(&(kind, number)).copied().unwrap_or(0),
        };
        if value > 0 {
            self.made.insert((kind, number), value);
        }
        value
    }

    /// What was decided so far.
    pub(super) fn plan(&self) -> Plan {
        Plan(self.made.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(script: Script) -> (Vec<u64>, Plan) {
        let mut choices = Choices::new(script);
        let mut made = Vec::new();
        for round in 0..50 {
            made.push(choices.below(Kind::ALL[round % 9], 7));
            made.push(choices.weighted(Kind::Remote, &[5, 0, 3]) as u64);
            made.push(u64::from(choices.happens(Kind::Crash, 200)));
        }
        (made, choices.plan())
    }

    #[test]
    fn a_plan_written_down_and_read_back_gives_the_run_again() {
        let (made, plan) = run(Script::Seed(7));
        assert!(!plan.is_empty());
        let read: Plan = plan.to_string().parse().unwrap();
        assert_eq!(read, plan);
        assert_eq!(run(Script::Plan(read)), (made, plan));
        assert_ne!(run(Script::Seed(8)).0, run(Script::Seed(7)).0);
        assert_eq!(run(Script::Plan(Plan::default())).0, vec![0; 150]);
    }

    #[test]
    fn a_possibility_without_weight_never_comes() {
        let mut choices = Choices::new(Script::Seed(1));
        assert!((0..1000).all(|_| choices.weighted(Kind::Disk, &[1, 0, 1]) != 1));
        assert!((0..1000).all(|_| !choices.happens(Kind::Disk, 0)));
    }

    #[test]
    fn a_text_that_is_no_plan_is_refused_with_the_place() {
        for (text, expected) in [
            ("crash", "found 'crash'"),
            ("rain:1=2", "found kind 'rain'"),
            ("crash:1", "found '1'"),
            ("crash:x=1", "found 'x=1'"),
        ] {
            let refused = text.parse::<Plan>().unwrap_err();
            assert!(refused.contains(expected), "{refused}");
        }
    }
}
