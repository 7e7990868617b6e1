//! What all parts of a simulated world share: its decisions, its time, whose turn it is, what has gone wrong. Everything
//! runs on one thread; the lock is there because the seams ask for `Send` and `Sync`, and nobody holds it while waiting.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use holdfast_broker::CancelToken;
use parking_lot::Mutex;

use super::choices::{Choices, Kind, Script};
use super::coverage::Coverage;
use super::weather::Weather;
use crate::seams::Clock;

/// 2026-01-01 00:00:00 UTC, where every simulated wall clock begins.
const WALL_START_MS: u64 = 1_767_225_600_000;

/// What a fiber waits for.
#[derive(Clone, Debug)]
pub(super) enum Wait {
    /// Its next turn.
    Turn,
    /// A time of the world in ms, or the token, whichever comes first.
    Until(u64, Option<CancelToken>),
    /// Nothing any more.
    Ended,
}

/// An invariant that did not hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub rule: &'static str,
    /// What was found.
    pub text: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Current {
    /// The world itself.
    Nobody,
    /// A fiber that may still do something.
    Living,
    /// A fiber that is being taken apart: whatever it asks for fails.
    Dead,
}

struct Inner {
    choices: Choices,
    now_ms: u64,
    /// Of each node: how far its wall clock is off, and the time at which its process began.
    nodes: Vec<(i64, u64)>,
    weather: Weather,
    current: Current,
    coverage: Coverage,
    violation: Option<Violation>,
    /// Since when there is no more trouble.
    clear_since_ms: Option<u64>,
    had_trouble: bool,
    /// How far wall clocks have jumped forward, by node.
    jumped_ms: BTreeMap<usize, u64>,
    story: Option<Vec<String>>,
}

/// Shared by all parts of one world.
pub(super) struct Shared {
    inner: Mutex<Inner>,
    origin: Instant,
}

impl Shared {
    /// `told` = whether a story is kept.
    #[expect(
        clippy::disallowed_methods,
        reason = "an origin; only differences from it are seen"
    )]
    pub(super) fn new(script: Script, told: bool) -> Self {
        let mut choices = Choices::new(script);
        let weather = Weather::choose(&mut choices);
        Self {
            inner: Mutex::new(Inner {
                choices,
                now_ms: 0,
                nodes: Vec::new(),
                weather,
                current: Current::Nobody,
                coverage: Coverage::default(),
                violation: None,
                clear_since_ms: None,
                had_trouble: false,
                jumped_ms: BTreeMap::new(),
                story: told.then(Vec::new),
            }),
            origin: Instant::now(),
        }
    }

    /// Makes one or several decisions.
    pub(super) fn choose<T>(&self, choose: impl FnOnce(&mut Choices) -> T) -> T {
        choose(&mut self.inner.lock().choices)
    }

    /// Decides over trouble; there is none once the sky is clear, and then nothing is decided.
    pub(super) fn trouble<T>(
        &self,
        choose: impl FnOnce(&mut Choices, &Weather) -> Option<T>,
    ) -> Option<T> {
        let inner = &mut *self.inner.lock();
        if inner.weather.is_clear() {
            return None;
        }
        choose(&mut inner.choices, &inner.weather)
    }

    /// No trouble from here on.
    pub(super) fn clear(&self) {
        {
            let inner = &mut *self.inner.lock();
            inner.weather = Weather::clear();
            inner.clear_since_ms = Some(inner.now_ms);
        }
        self.tell(|| "no more trouble from here on".to_owned());
    }

    /// Since when there is no more trouble, once that is so.
    pub(super) fn clear_since_ms(&self) -> Option<u64> {
        self.inner.lock().clear_since_ms
    }

    /// Whether anything has gone wrong so far that a job may end by; deaths and clocks are no reason to.
    pub(super) fn had_trouble(&self) -> bool {
        self.inner.lock().had_trouble
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.inner.lock().now_ms
    }

    pub(super) fn advance_to(&self, ms: u64) {
        let inner = &mut *self.inner.lock();
        inner.now_ms = inner.now_ms.max(ms);
    }

    /// A process of node `node` begins now.
    pub(super) fn process_begins(&self, node: usize) {
        let inner = &mut *self.inner.lock();
        let now = inner.now_ms;
        match inner.nodes.get_mut(node) {
            Some(known) => known.1 = now,
            None => inner.nodes.push((0, now)),
        }
    }

    /// The wall clock of a node jumps.
    pub(super) fn wall_jumps(&self, node: usize, by_ms: i64) {
        {
            let inner = &mut *self.inner.lock();
            if let Some(known) = inner.nodes.get_mut(node) {
                known.0 = known.0.saturating_add(by_ms);
            }
            *inner.jumped_ms.entry(node).or_default() += by_ms.max(0).unsigned_abs();
        }
        self.tell(|| format!("the wall clock of node {node} jumps by {by_ms} ms"));
    }

    /// How far the wall clock of a node has jumped forward in all: what a node takes for the time that it was down.
    pub(super) fn jumped_ms(&self, node: usize) -> u64 {
        let inner = self.inner.lock();
        inner.jumped_ms.get(&node).copied().unwrap_or(0)
    }

    /// Whether the caller may still do something.
    pub(super) fn is_alive(&self) -> bool {
        self.inner.lock().current != Current::Dead
    }

    /// Lets others move; on return the wait is over. False where the caller is dead and must not do anything more. The
    /// world itself does not wait.
    pub(super) fn pause(&self, wait: Wait) -> bool {
        let current = self.inner.lock().current;
        match current {
            Current::Nobody => true,
            Current::Dead => false,
            Current::Living => {
                generator::co_yield_with(wait);
                self.is_alive()
            }
        }
    }

    /// Runs a piece of a fiber, or takes it apart.
    pub(super) fn as_fiber<T>(&self, living: bool, run: impl FnOnce() -> T) -> T {
        self.inner.lock().current = match living {
            true => Current::Living,
            false => Current::Dead,
        };
        let result = run();
        self.inner.lock().current = Current::Nobody;
        result
    }

    /// Keeps the first thing that must not be.
    pub(super) fn broken(&self, rule: &'static str, text: impl Into<String>) {
        let text = text.into();
        self.tell(|| format!("BROKEN {rule}: {text}"));
        self.inner
            .lock()
            .violation
            .get_or_insert(Violation { rule, text });
    }

    pub(super) fn violation(&self) -> Option<Violation> {
        self.inner.lock().violation.clone()
    }

    pub(super) fn cover(&self, note: impl FnOnce(&mut Coverage)) {
        note(&mut self.inner.lock().coverage);
    }

    pub(super) fn coverage(&self) -> Coverage {
        self.inner.lock().coverage.clone()
    }

    pub(super) fn plan(&self) -> super::choices::Plan {
        self.inner.lock().choices.plan()
    }

    /// Adds a line to the story, where one is kept.
    pub(super) fn tell(&self, line: impl FnOnce() -> String) {
        let inner = &mut *self.inner.lock();
        let now = inner.now_ms;
        if let Some(story) = &mut inner.story {
            story.push(format!("{now:>9} ms  {}", line()));
        }
    }

    pub(super) fn story(&self) -> Vec<String> {
        self.inner.lock().story.clone().unwrap_or_default()
    }

    /// Counts a fault that was made, and tells of it.
    pub(super) fn fault(&self, name: &'static str, where_: impl FnOnce() -> String) {
        self.cover(|coverage| coverage.fault(name));
        self.inner.lock().had_trouble = true;
        self.tell(|| format!("fault: {name}: {}", where_()));
    }

    /// Counts what must not be a reason for any job to end, and tells of it.
    pub(super) fn mishap(&self, name: &'static str, where_: impl FnOnce() -> String) {
        self.cover(|coverage| coverage.fault(name));
        self.tell(|| format!("fault: {name}: {}", where_()));
    }

    /// Whether something of `kind` happens that the weather makes so likely, in thousandths.
    pub(super) fn happens(&self, kind: Kind, likely: impl FnOnce(&Weather) -> u32) -> bool {
        self.trouble(|choices, weather| choices.happens(kind, likely(weather)).then_some(()))
            .is_some()
    }
}

/// The clocks of one node, or the time of the world for what measures requests to a remote.
pub(super) struct NodeClock {
    pub(super) shared: std::sync::Arc<Shared>,
    pub(super) node: usize,
}

impl std::fmt::Debug for NodeClock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NodeClock")
            .field("node", &self.node)
            .finish_non_exhaustive()
    }
}

impl Clock for NodeClock {
    fn wall_ms(&self) -> u64 {
        let inner = self.shared.inner.lock();
        let off = inner.nodes.get(self.node).map_or(0, |known| known.0);
        (WALL_START_MS + inner.now_ms).saturating_add_signed(off)
    }

    fn mono_ms(&self) -> u64 {
        let inner = self.shared.inner.lock();
        let began = inner.nodes.get(self.node).map_or(0, |known| known.1);
        inner.now_ms.saturating_sub(began)
    }

    fn utc_offset_seconds(&self, _wall_ms: u64) -> i32 {
        0
    }
}

impl holdfast_broker::Clock for NodeClock {
    fn now(&self) -> Instant {
        self.shared.origin + Duration::from_millis(self.shared.now_ms())
    }

    fn sleep(&self, duration: Duration, cancel: &CancelToken) {
        let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let at = self.shared.now_ms().saturating_add(ms.max(1));
        self.shared.pause(Wait::Until(at, Some(cancel.clone())));
    }
}
