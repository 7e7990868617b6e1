//! What goes wrong, when: rules over requests, decided by counting or by a seed and never by time
//! or by the order in which threads happen to run. Carries nothing out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::hash;
use crate::{ErrorClass, Request};

/// What happens to a request. A trouble that makes no sense for a kind of request (torn listings,
/// say) passes it unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// It fails at once and has no effect.
    Fail(ErrorClass),
    /// A put fails after its source gave so many bytes, and nothing is visible; a get fails after
    /// it handed over so many.
    FailAfter {
        /// How many bytes pass before.
        bytes: u64,
        /// The class of the failure.
        class: ErrorClass,
    },
    /// It is done in full and then answered with a failure; with [`ErrorClass::Ambiguous`] the
    /// remote is honest about that.
    LandThenFail(ErrorClass),
    /// It is done in full and then never answered until its context ends: the answer that comes
    /// too late to be heard.
    LandThenHang,
    /// A put leaves only its first bytes under the name and fails with [`ErrorClass::Ambiguous`].
    Tear {
        /// How many bytes are left visible.
        bytes: u64,
    },
    /// A get hands over one wrong bit and succeeds.
    Corrupt {
        /// The offset in the object of the byte that is wrong; nothing happens where the range
        /// does not hold it.
        at: u64,
    },
    /// It is answered with success and has no effect: nothing was put or deleted, nothing is found
    /// or listed.
    Lie,
    /// It neither ends nor fails until its context does.
    Hang,
    /// It is done after so long.
    Delay(Duration),
}

impl Trouble {
    /// Whether it means anything for this kind of request.
    fn suits(self, request: Request) -> bool {
        match self {
            Trouble::Fail(_)
            | Trouble::LandThenFail(_)
            | Trouble::LandThenHang
            | Trouble::Hang
            | Trouble::Delay(_) => true,
            Trouble::FailAfter { .. } => matches!(request, Request::Put | Request::Get),
            Trouble::Tear { .. } => request == Request::Put,
            Trouble::Corrupt { .. } => request == Request::Get,
            Trouble::Lie => request != Request::Get,
        }
    }
}

/// Which of the requests that a rule is about are hit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum When {
    /// Each.
    Always,
    /// Only the nth, counted from 1.
    Nth(u64),
    /// The first n.
    First(u64),
    /// Each nth.
    Every(u64),
    /// So many of a thousand, chosen by seed, name and how often that name was asked for before.
    /// Threads in another order hit the same requests.
    PerMille(u16),
}

/// One way in which things go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FaultRule {
    request: Option<Request>,
    name_part: Option<String>,
    when: When,
    trouble: Trouble,
}

impl FaultRule {
    /// `trouble` for requests of one kind.
    pub fn on(request: Request, when: When, trouble: Trouble) -> Self {
        FaultRule {
            request: Some(request),
            name_part: None,
            when,
            trouble,
        }
    }

    /// `trouble` for requests of any kind that it suits.
    pub fn on_any(when: When, trouble: Trouble) -> Self {
        FaultRule {
            request: None,
            name_part: None,
            when,
            trouble,
        }
    }

    /// The same, only for names (or prefixes of listings) that contain `part`.
    pub fn named(mut self, part: impl Into<String>) -> Self {
        self.name_part = Some(part.into());
        self
    }

    fn is_about(&self, request: Request, name: &str) -> bool {
        self.request.is_none_or(|own| own == request)
            && self
                .name_part
                .as_ref()
                .is_none_or(|part| name.contains(part.as_str()))
            && self.trouble.suits(request)
    }
}

/// Rules and a seed, shared by clones and alterable while requests run. Where several rules hit,
/// the first one counts.
#[derive(Debug, Clone, Default)]
pub struct FaultPlan(Arc<Mutex<Rules>>);

#[derive(Debug, Default)]
struct Rules {
    seed: u64,
    rules: Vec<Counted>,
    fired: u64,
}

#[derive(Debug)]
struct Counted {
    rule: FaultRule,
    /// Requests that this rule was about.
    seen: u64,
    /// The same by kind and name, where the rule needs to know.
    seen_by_name: BTreeMap<(Request, String), u64>,
}

impl FaultPlan {
    /// A plan without rules.
    pub fn new(seed: u64) -> Self {
        FaultPlan(Arc::new(Mutex::new(Rules {
            seed,
            rules: Vec::new(),
            fired: 0,
        })))
    }

    /// The same plan with one more rule.
    pub fn with(self, rule: FaultRule) -> Self {
        self.add(rule);
        self
    }

    /// Adds a rule; it counts from now on.
    pub fn add(&self, rule: FaultRule) {
        self.0.lock().rules.push(Counted {
            rule,
            seen: 0,
            seen_by_name: BTreeMap::new(),
        });
    }

    /// Drops all rules: from now on the remote is well.
    pub fn clear(&self) {
        self.0.lock().rules.clear();
    }

    /// How many requests were hit so far.
    pub fn fired(&self) -> u64 {
        self.0.lock().fired
    }

    /// What happens to the request that begins now.
    pub(super) fn next(&self, request: Request, name: &str) -> Option<Trouble> {
        let mut plan = self.0.lock();
        let seed = plan.seed;
        let mut hit = None;
        for (index, counted) in plan.rules.iter_mut().enumerate() {
            if !counted.rule.is_about(request, name) {
                continue;
            }
            counted.seen += 1;
            let fires = match counted.rule.when {
                When::Always => true,
                When::Nth(n) => counted.seen == n,
                When::First(n) => counted.seen <= n,
                When::Every(n) => n > 0 && counted.seen.is_multiple_of(n),
                When::PerMille(share) => {
                    let seen = counted
                        .seen_by_name
                        .entry((request, name.to_owned()))
                        .or_default();
                    *seen += 1;
                    let salt = hash::of(seed, name, (index as u64) << 8 | request as u64);
                    hash::of(salt, "", *seen) % 1000 < u64::from(share)
                }
            };
            if fires && hit.is_none() {
                hit = Some(counted.rule.trouble);
            }
        }
        plan.fired += u64::from(hit.is_some());
        hit
    }
}
