//! The remote system of a world, and the way to it from one node: every request is a moment at which others move, and
//! may go wrong in each way that a remote's requests go wrong. What is in the remote stays true: trouble is on the way.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use holdfast_broker::{
    Atomicity, Broker, ConditionalPut, Context, Description, Error, ErrorClass, Fault, FaultPlan,
    FaultRule, ListConsistency, MemoryBroker, ObjectInfo, ObjectName, Page, PageToken, PutMode,
    PutOutcome, Request, Source, Trouble, Visit, When,
};
use parking_lot::Mutex;

use super::choices::{Choices, Kind};
use super::shared::{Shared, Wait};
use super::weather::Weather;

/// How long a listing of a remote that lists late may lack a new object.
pub(super) const LATE_LISTING_MS: u64 = 2_000;

/// One remote, shared by all nodes of a world.
pub(super) struct Remote {
    pub(super) truth: MemoryBroker,
    description: Description,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    /// When each object came, for listings that lack the new ones.
    came_ms: BTreeMap<String, u64>,
    /// Objects that a put was said to have made and did not, or not whole.
    lied: BTreeSet<String>,
    /// Objects that requests took away, since this was asked last.
    deleted: Vec<String>,
}

impl Remote {
    /// One that gives more or less; where several clusters write it, it decides who puts first.
    pub(super) fn choose(choices: &mut Choices, clusters: usize) -> Self {
        let truth = MemoryBroker::new();
        let mut description = truth.describe();
        if choices.weighted(Kind::Setup, &[1, 1]) == 1 {
            description.atomic_put = Atomicity::MayTear;
        }
        if clusters == 1 && choices.weighted(Kind::Setup, &[3, 1]) == 1 {
            description.conditional_put = ConditionalPut::Raced;
        }
        if clusters == 1 && choices.weighted(Kind::Setup, &[3, 1]) == 1 {
            description.list_consistency = ListConsistency::Eventual;
        }
        Self {
            truth,
            description,
            inner: Mutex::default(),
        }
    }

    /// Whether a put of this object was answered with success and not done.
    pub(super) fn lied_about(&self, name: &str) -> bool {
        self.inner.lock().lied.contains(name)
    }

    /// Whether its listings may lack what came only just now.
    pub(super) fn lists_late(&self) -> bool {
        self.description.list_consistency != ListConsistency::Strong
    }

    /// Whether that is so of any object with such a beginning.
    pub(super) fn lied_below(&self, prefix: &str) -> bool {
        let inner = self.inner.lock();
        inner.lied.iter().any(|name| name.starts_with(prefix))
    }

    /// Whether any put was.
    pub(super) fn has_lied(&self) -> bool {
        !self.inner.lock().lied.is_empty()
    }

    /// The names of all objects with such a beginning.
    pub(super) fn names(&self, prefix: &str) -> Vec<String> {
        let mut names = Vec::new();
        let mut after = None;
        while let Ok(page) = self
            .truth
            .list(&Context::new(), prefix, after.as_ref(), 1_000)
        {
            names.extend(page.objects.iter().map(|o| o.name.as_str().to_owned()));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        names
    }

    /// What requests took away since the last call.
    pub(super) fn take_deleted(&self) -> Vec<String> {
        std::mem::take(&mut self.inner.lock().deleted)
    }
}

/// The way from one process of a node to the remote.
pub(super) struct Way {
    pub(super) shared: Arc<Shared>,
    pub(super) remote: Arc<Remote>,
}

/// What becomes of one request.
enum Fate {
    Done,
    Troubled(Trouble),
    /// It was answered, late, as if all were well.
    Late,
}

impl Way {
    /// Lets others move, then says what becomes of the request.
    fn begin(&self, ctx: &Context, request: Request, name: &str) -> Result<Fate, Error> {
        ctx.check()?;
        if !self.shared.pause(Wait::Turn) {
            return Err(gone());
        }
        ctx.check()?;
        let may_tear = self.remote.description.atomic_put == Atomicity::MayTear;
        let drawn = self
            .shared
            .trouble(|choices, weather| draw(choices, weather, request, may_tear));
        let Some((name_of_fault, trouble)) = drawn else {
            return Ok(Fate::Done);
        };
        self.shared
            .fault(name_of_fault, || format!("{request:?} {name}: {trouble:?}"));
        match trouble {
            Trouble::Hang => self.hang(ctx).map(|()| Fate::Late),
            Trouble::Delay(duration) => {
                self.wait(ctx, u64::try_from(duration.as_millis()).unwrap_or(0))?;
                Ok(Fate::Late)
            }
            other => Ok(Fate::Troubled(other)),
        }
    }

    fn wait(&self, ctx: &Context, ms: u64) -> Result<(), Error> {
        let at = self.shared.now_ms().saturating_add(ms.max(1));
        let token = ctx.cancel_token().clone();
        if !self.shared.pause(Wait::Until(at, Some(token))) {
            return Err(gone());
        }
        ctx.check()
    }

    /// No answer until the context ends, or until so late that most have given up.
    fn hang(&self, ctx: &Context) -> Result<(), Error> {
        let late = self
            .shared
            .choose(|choices| choices.weighted(Kind::Remote, &[1, 1, 1]));
        let end_ms = [10_000, 120_000, 3_600_000][late];
        let mut waited_ms = 0;
        while waited_ms < end_ms && self.shared.clear_since_ms().is_none() {
            // A deadline is looked at again and again, less often the longer it takes.
            let step = waited_ms.clamp(1_000, 60_000).min(end_ms - waited_ms);
            self.wait(ctx, step)?;
            waited_ms += step;
        }
        Ok(())
    }

    /// The truth, with this trouble before it.
    fn troubled(&self, request: Request, trouble: Trouble) -> Fault<MemoryBroker> {
        let rule = FaultRule::on(request, When::Always, trouble);
        Fault::new(self.remote.truth.clone(), FaultPlan::new(0).with(rule))
    }

    /// Runs a request to its answer.
    fn request<T>(
        &self,
        ctx: &Context,
        request: Request,
        name: &str,
        mut act: impl FnMut(&dyn Broker) -> Result<T, Error>,
    ) -> Result<T, Error> {
        match self.begin(ctx, request, name)? {
            Fate::Done | Fate::Late => act(&self.remote.truth),
            Fate::Troubled(Trouble::LandThenHang) => {
                act(&self.remote.truth)?;
                self.hang(ctx)?;
                Err(Error::new(
                    ErrorClass::Ambiguous,
                    "the answer came too late",
                ))
            }
            Fate::Troubled(trouble) => {
                let troubled = self.troubled(request, trouble);
                act(&troubled)
            }
        }
    }

    /// Remembers when an object came, and whether a put was said to have made what is not there. That an object of another
    /// length was there before is no lie: whoever puts has to look.
    fn note_put(&self, name: &ObjectName, len: u64, outcome: &Result<PutOutcome, Error>) {
        let inner = &mut *self.remote.inner.lock();
        let found = self.remote.truth.stat(&Context::new(), name);
        let found = found.ok().flatten().map(|object| object.len);
        let key = name.as_str().to_owned();
        if found == Some(len) {
            inner.lied.remove(&key);
        } else if matches!(outcome, Ok(PutOutcome::Created)) {
            inner.lied.insert(key.clone());
        }
        if found.is_some() {
            let came = inner.came_ms.entry(key);
            came.or_insert_with(|| self.shared.now_ms());
        }
    }

    /// Leaves out of a page what came only just now, where the remote lists late.
    fn lack(&self, page: &mut Page) {
        if !self.remote.lists_late() {
            return;
        }
        let inner = self.remote.inner.lock();
        let now = self.shared.now_ms();
        let all = page.objects.len();
        page.objects.retain(|object| {
            let came = inner.came_ms.get(object.name.as_str()).copied();
            came.is_none_or(|ms| ms + LATE_LISTING_MS <= now)
        });
        if page.objects.len() < all {
            self.shared
                .fault("remote listing lacks the newest", || "a page".to_owned());
        }
    }
}

fn gone() -> Error {
    Error::new(ErrorClass::Cancelled, "the process is gone")
}

/// Which trouble a request meets, if any.
fn draw(
    choices: &mut Choices,
    weather: &Weather,
    request: Request,
    may_tear: bool,
) -> Option<(&'static str, Trouble)> {
    let put = request == Request::Put;
    let weights = [
        weather.remote_error,
        weather.remote_throttle,
        weather.remote_delay,
        if request == Request::Get {
            weather.remote_corrupt
        } else {
            0
        },
        weather.remote_unheard,
        if put && may_tear {
            weather.remote_tear
        } else {
            0
        },
        if put { weather.remote_lie } else { 0 },
        weather.remote_hang,
    ];
    let all: u32 = weights.iter().sum();
    let mut table = [0; 9];
    table[0] = 1000_u32.saturating_sub(all);
    table[1..].copy_from_slice(&weights);
    let small = |choices: &mut Choices| choices.below(Kind::Remote, 200);
    Some(match choices.weighted(Kind::Remote, &table) {
        1 => ("remote error", error(choices, request)),
        2 => {
            let after = choices
                .happens(Kind::Remote, 300)
                .then(|| Duration::from_millis(500));
            (
                "remote throttled",
                Trouble::Fail(ErrorClass::Throttled { after }),
            )
        }
        3 => {
            let ms = 1 + 50 * small(choices);
            ("remote delay", Trouble::Delay(Duration::from_millis(ms)))
        }
        4 => {
            let at = small(choices);
            ("remote wrong bit", Trouble::Corrupt { at })
        }
        5 => match choices.below(Kind::Remote, 3) {
            0 => (
                "remote done, answered with an error",
                Trouble::LandThenFail(ErrorClass::Ambiguous),
            ),
            1 if put => (
                "remote done, called retryable",
                Trouble::LandThenFail(ErrorClass::Retry),
            ),
            _ => ("remote done, never answered", Trouble::LandThenHang),
        },
        6 => {
            let bytes = small(choices);
            ("remote torn put", Trouble::Tear { bytes })
        }
        7 => ("remote lying put", Trouble::Lie),
        8 => ("remote hang", Trouble::Hang),
        _ => return None,
    })
}

/// Most errors heal, some do not.
fn error(choices: &mut Choices, request: Request) -> Trouble {
    let class = match choices.weighted(Kind::Remote, &[40, 10, 5, 1, 1]) {
        0 => ErrorClass::Retry,
        1 => ErrorClass::Ambiguous,
        2 => ErrorClass::Full,
        3 => ErrorClass::Denied,
        _ => ErrorClass::Invalid,
    };
    let moves = matches!(request, Request::Put | Request::Get);
    if moves && choices.happens(Kind::Remote, 300) {
        let bytes = choices.below(Kind::Remote, 100);
        return Trouble::FailAfter { bytes, class };
    }
    Trouble::Fail(class)
}

impl Broker for Way {
    fn put(
        &self,
        ctx: &Context,
        name: &ObjectName,
        source: &dyn Source,
        mode: PutMode,
    ) -> Result<PutOutcome, Error> {
        let raced = self.remote.description.conditional_put == ConditionalPut::Raced;
        let mut mode = mode;
        if raced && mode == PutMode::CreateIfAbsent {
            if self.remote.truth.stat(ctx, name)?.is_some() {
                return Ok(PutOutcome::Exists);
            }
            mode = PutMode::Overwrite;
        }
        let outcome = self.request(ctx, Request::Put, name.as_str(), |broker| {
            broker.put(ctx, name, source, mode)
        });
        self.note_put(name, source.len(), &outcome);
        outcome
    }

    fn get_range(
        &self,
        ctx: &Context,
        name: &ObjectName,
        range: Range<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        self.request(ctx, Request::Get, name.as_str(), |broker| {
            broker.get_range(ctx, name, range.clone(), visit)
        })
    }

    fn get(&self, ctx: &Context, name: &ObjectName, max_len: u64) -> Result<Vec<u8>, Error> {
        self.request(ctx, Request::Get, name.as_str(), |broker| {
            broker.get(ctx, name, max_len)
        })
    }

    fn stat(&self, ctx: &Context, name: &ObjectName) -> Result<Option<ObjectInfo>, Error> {
        self.request(ctx, Request::Stat, name.as_str(), |broker| {
            broker.stat(ctx, name)
        })
    }

    fn list(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page, Error> {
        // Several pages, so that a listing can fail half-way.
        let limit = limit.min(7);
        let mut page = self.request(ctx, Request::List, prefix, |broker| {
            broker.list(ctx, prefix, after, limit)
        })?;
        self.lack(&mut page);
        Ok(page)
    }

    fn delete(&self, ctx: &Context, name: &ObjectName) -> Result<(), Error> {
        let deleted = self.request(ctx, Request::Delete, name.as_str(), |broker| {
            broker.delete(ctx, name)
        });
        let inner = &mut *self.remote.inner.lock();
        inner.deleted.push(name.as_str().to_owned());
        if deleted.is_ok() {
            inner.lied.remove(name.as_str());
        }
        deleted
    }

    fn settle(&self, ctx: &Context, names: &[ObjectName]) -> Result<(), Error> {
        self.request(ctx, Request::Settle, "", |broker| broker.settle(ctx, names))
    }

    fn describe(&self) -> Description {
        self.remote.description.clone()
    }
}
