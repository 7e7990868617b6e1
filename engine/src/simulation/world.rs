//! A world: nodes that are killed and started again, their users, one remote. It decides who moves next, carries out
//! what engines ask of their executors, and has everything compared with the books.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use holdfast_broker::MemoryBroker;
use holdfast_journal::Journal;
use holdfast_journal::disk::{MemoryDisk, Unsynced};
use holdfast_storage::BackendId;

mod rest;

use super::books::Books;
use super::choices::{Choices, Kind, Script};
use super::fiber::{Fiber, Role};
use super::process::{Effect, Kept, Letters, NodeSettings, Process};
use super::remote::Remote;
use super::rules;
use super::shared::Shared;
use super::subject::Subject;
use super::users::{User, some_files};
use crate::due::Credits;
use crate::ids::{JobId, TaskId};
use crate::work::Limits;

/// Steps after which a world that has no more trouble must be at rest.
const REST_STEPS: u64 = 60_000;

/// Failed openings in a row, each after a fault of the disk.
const OPENINGS: u32 = 10;

struct Node {
    kept: Kept,
    process: Option<Process>,
    /// The next process' number.
    number: u32,
    opens_at_ms: u64,
    failed_openings: u32,
    due_ms: Option<u64>,
    user: User,
    users: u64,
}

/// Whoever can move.
#[derive(Clone, Copy)]
enum Mover {
    Opening(usize),
    Turn(usize),
    Fiber(usize),
}

pub(super) struct World {
    pub(super) shared: Arc<Shared>,
    remote: Arc<Remote>,
    books: Arc<Books>,
    nodes: Vec<Node>,
    fibers: Vec<Fiber>,
    steps: u64,
    trouble_steps: u64,
}

/// Makes the tables of a node.
pub(super) type Make<'a> = dyn Fn(u32, bool) -> Box<dyn Subject> + 'a;

impl World {
    /// The world that `script` decides, over tables that `make` makes (backends, whether hashes are known).
    pub(super) fn new(script: Script, told: bool, make: &Make<'_>) -> Self {
        let shared = Arc::new(Shared::new(script, told));
        let (clusters, trouble_steps, remote) = shared.choose(|choices| {
            let clusters = 1 + choices.weighted(Kind::Setup, &[2, 1]);
            let steps = [600, 200, 3_000][choices.weighted(Kind::Setup, &[3, 1, 2])];
            (clusters, steps, Remote::choose(choices, clusters))
        });
        let remote = Arc::new(remote);
        let mut subjects = Vec::new();
        let mut settings = Vec::new();
        for _ in 0..clusters {
            let (backends, knows, of_node) = shared.choose(|choices| {
                let backends = 1 + choices.below(Kind::Setup, 3) as u32;
                let knows = choices.weighted(Kind::Setup, &[3, 1]) == 0;
                (backends, knows, node_settings(choices))
            });
            subjects.push(make(backends, knows));
            settings.push((of_node, backends));
        }
        let books = Arc::new(Books::new(&shared, &remote, subjects));
        let mut world = Self {
            shared,
            remote,
            books,
            nodes: Vec::new(),
            fibers: Vec::new(),
            steps: 0,
            trouble_steps,
        };
        for (node, (settings, backends)) in settings.into_iter().enumerate() {
            world.add_node(node, settings, backends);
        }
        world
    }

    fn add_node(&mut self, node: usize, settings: NodeSettings, backends: u32) {
        let (statements, users) = self.shared.choose(|choices| {
            let statements = 3 + choices.below(Kind::Setup, 12) as u32;
            (statements, 1 + choices.below(Kind::Setup, 3))
        });
        let page_bytes = [256, 512, 4096][self
            .shared
            .choose(|choices| choices.weighted(Kind::Setup, &[1, 1, 1]))];
        self.fill(node, backends);
        self.nodes.push(Node {
            kept: Kept {
                disk: MemoryDisk::new(page_bytes),
                jobs: MemoryBroker::new(),
                settings,
                desk: Letters::default(),
            },
            process: None,
            number: 1,
            opens_at_ms: 0,
            failed_openings: 0,
            due_ms: None,
            user: User {
                node,
                shared: Arc::clone(&self.shared),
                books: Arc::clone(&self.books),
                left: Arc::new(AtomicU32::new(statements)),
            },
            users,
        });
    }

    /// What users had before the world began.
    fn fill(&self, node: usize, backends: u32) {
        let count = 1 + self.shared.choose(|c| c.below(Kind::Setup, 5));
        for _ in 0..count {
            let (database, table, partition, buckets, replicas, files) = self.shared.choose(|c| {
                (
                    format!("d{}", c.below(Kind::Setup, 2)),
                    format!("t{}", c.below(Kind::Setup, 3)),
                    format!("p{}", c.below(Kind::Setup, 2)),
                    1 + c.below(Kind::Setup, 2) as u32,
                    1 + c.below(Kind::Setup, u64::from(backends)) as u32,
                    some_files(c, Kind::Setup),
                )
            });
            let made = self.books.subjects[node]
                .lock()
                .create_table(&database, &table, &partition, buckets, replicas);
            if made {
                self.books.created(node, &database, &table, &partition);
            }
            self.books
                .load(node, (&database, &table, &partition), &files);
        }
    }

    /// Runs from the first opening to rest.
    pub(super) fn run(&mut self) {
        self.go_on(Some(self.trouble_steps));
        self.shared.clear();
        for node in &self.nodes {
            node.kept.disk.heal();
        }
        self.go_on(None);
        self.bring_back();
        self.go_on(None);
        // What a living process may leave to the next opening is gone after one.
        for node in 0..self.nodes.len() {
            self.die(node);
        }
        self.go_on(None);
        self.check_rest();
        self.fibers.clear();
        self.shared.cover(|coverage| {
            coverage.runs += 1;
            coverage.steps += self.steps;
        });
    }

    /// Moves until nothing can move any more, or for some steps; without a limit nothing may go on for ever.
    fn go_on(&mut self, limit: Option<u64>) {
        let begun = self.steps;
        while self.shared.violation().is_none() {
            let done = self.steps - begun;
            if limit.is_some_and(|limit| done >= limit) || !self.step() {
                return;
            }
            self.steps += 1;
            if limit.is_none() && done > REST_STEPS {
                let text = self.unfinished();
                self.shared.broken(rules::ENDS, text);
            }
        }
    }

    fn unfinished(&self) -> String {
        let mut jobs = Vec::new();
        for process in self.nodes.iter().filter_map(|node| node.process.as_ref()) {
            for id in &process.state().working {
                let state = process.state().jobs.get(id).map(|job| job.state_name());
                jobs.push(format!("{id} of node {} in {state:?}", process.node));
            }
        }
        format!("{} fibers, jobs: {}", self.fibers.len(), jobs.join(", "))
    }

    fn step(&mut self) -> bool {
        for node in 0..self.nodes.len() {
            self.mishap(node);
        }
        let movers = self.movers();
        if movers.is_empty() {
            return self.pass_time();
        }
        let chosen = self
            .shared
            .choose(|choices| choices.below(Kind::Order, movers.len() as u64));
        match movers[chosen as usize] {
            Mover::Opening(node) => self.open(node),
            Mover::Turn(node) => self.turn(node),
            Mover::Fiber(index) => self.fiber(index),
        }
        true
    }

    fn movers(&self) -> Vec<Mover> {
        let now = self.shared.now_ms();
        let mut movers = Vec::new();
        for (index, node) in self.nodes.iter().enumerate() {
            match &node.process {
                None if node.opens_at_ms <= now => movers.push(Mover::Opening(index)),
                Some(process) if process.is_ready(node.due_ms) => movers.push(Mover::Turn(index)),
                _ => {}
            }
        }
        let fibers = self.fibers.iter().enumerate();
        movers.extend(
            fibers
                .filter(|(_, fiber)| fiber.is_ready(now))
                .map(|(index, _)| Mover::Fiber(index)),
        );
        movers
    }

    /// Nobody can move now: goes on to when somebody can.
    fn pass_time(&self) -> bool {
        let nodes = self.nodes.iter().filter_map(|node| match &node.process {
            None => Some(node.opens_at_ms),
            Some(process) if process.waits_until_ms > 0 => Some(process.waits_until_ms),
            Some(_) => node.due_ms,
        });
        let fibers = self.fibers.iter().filter_map(Fiber::wakes_at);
        let Some(next) = nodes.chain(fibers).filter(|at| *at < u64::MAX).min() else {
            return false;
        };
        self.shared.advance_to(next);
        if self.shared.happens(Kind::Clock, |w| w.clock_jump) {
            let (node, by_ms) = self.shared.choose(|c| {
                let node = c.below(Kind::Clock, self.nodes.len() as u64) as usize;
                let by = c.below(Kind::Clock, 7_200_001) as i64 - 3_600_000;
                (node, by)
            });
            self.shared.mishap("clock jump", || format!("node {node}"));
            self.shared.wall_jumps(node, by_ms);
        }
        true
    }

    /// What may happen to a node between two moves.
    fn mishap(&mut self, node: usize) {
        let Some(process) = &self.nodes[node].process else {
            return;
        };
        // Few steps are those of a commit, and it is there that a death can do most harm.
        let times = if process.is_committing() { 6 } else { 1 };
        if self.shared.happens(Kind::Crash, |w| w.crash * times) {
            self.die(node);
        }
    }

    fn die(&mut self, node: usize) {
        let Some(process) = self.nodes[node].process.take() else {
            return;
        };
        self.shared
            .tell(|| format!("node {node}: process {} dies", process.number));
        self.books.cover_places(process.state(), true);
        self.bury(node, process.number);
        drop(process);
        self.leave(node);
    }

    /// What a death leaves on the disk of a node, and when it opens again.
    fn leave(&mut self, node: usize) {
        self.books.closed(node);
        let at_rest = self.shared.clear_since_ms().is_some();
        self.shared.cover(|coverage| match at_rest {
            true => coverage.deaths_at_rest += 1,
            false => coverage.deaths += 1,
        });
        let choose = |choices: &mut Choices| {
            let power = choices.weighted(Kind::Crash, &[1, 1]) == 1;
            (
                power,
                [0, 10, 5_000, 700_000][choices.weighted(Kind::Crash, &[4, 3, 2, 1])],
            )
        };
        let (power, later_ms) = self.shared.choose(choose);
        let kept = &mut self.nodes[node].kept;
        if power {
            self.shared.mishap("power cut", || format!("node {node}"));
            let mut unsynced = 0;
            let mut keep = |_: Unsynced<'_>| {
                unsynced += 1;
                self.shared
                    .choose(|choices| choices.weighted(Kind::Disk, &[1, 1]) == 0)
            };
            kept.disk = kept.disk.power_cut(&mut keep);
            if unsynced > 0 {
                self.shared
                    .mishap("power cut over unsynced pages", || format!("{unsynced}"));
            }
        } else {
            self.shared
                .mishap("process killed", || format!("node {node}"));
            kept.disk.set_capacity(None);
            kept.disk.go_on();
        }
        self.nodes[node].opens_at_ms = self.shared.now_ms() + later_ms;
    }

    /// What goes with a process; some workers may live on where the tables are elsewhere.
    fn bury(&mut self, node: usize, process: u32) {
        let may_live_on = self.books.subjects[node].lock().outlives_its_engine();
        let (shared, books) = (Arc::clone(&self.shared), Arc::clone(&self.books));
        self.fibers.retain(|fiber| {
            if (fiber.node, fiber.process) != (node, process) {
                // Those of earlier processes end for good sooner or later.
                return fiber.node != node || !shared.happens(Kind::Crash, |_| 500);
            }
            let is_task = matches!(fiber.role, Role::Task { .. });
            let lives_on = is_task && may_live_on && shared.happens(Kind::Crash, |_| 150);
            if lives_on {
                books.worker_outlives(node);
                shared.mishap("worker outlives its process", || format!("node {node}"));
            }
            lives_on
        });
    }

    /// Chooses whether the process dies within what it does next: before one of its changes of the disk.
    fn doom(&self, index: usize, changes: u64) {
        if self.shared.happens(Kind::Crash, |w| w.crash * 4) {
            let nth = 1 + self.shared.choose(|c| c.below(Kind::Crash, changes));
            self.nodes[index].kept.disk.stop(nth);
        }
    }

    /// Whether what was chosen has come.
    fn is_doomed(&self, index: usize, what: &'static str) -> bool {
        let disk = &self.nodes[index].kept.disk;
        if disk.has_stopped() {
            self.shared.mishap(what, || format!("node {index}"));
            return true;
        }
        disk.go_on();
        false
    }

    fn open(&mut self, index: usize) {
        self.doom(index, 12);
        let node = &mut self.nodes[index];
        let number = node.number;
        let opened = Process::open(
            (index, number),
            &node.kept,
            (&self.shared, &self.remote, &self.books),
        );
        if self.is_doomed(index, "death while opening") {
            drop(opened);
            return self.leave(index);
        }
        let node = &mut self.nodes[index];
        let process = match opened {
            Ok(process) => process,
            Err(e) => {
                node.failed_openings += 1;
                node.opens_at_ms = self.shared.now_ms() + 1_000;
                if node.failed_openings > OPENINGS {
                    self.shared
                        .broken(rules::OPENS, format!("node {index}: {e}"));
                }
                return;
            }
        };
        node.failed_openings = 0;
        node.number += 1;
        for _ in 0..node.users {
            let (user, desk) = (node.user.clone(), Arc::clone(&process.desk));
            let role = Role::User;
            let run = move || user.work(&desk);
            self.fibers
                .push(Fiber::new((index, number), role, &self.shared, run));
        }
        node.process = Some(process);
        node.due_ms = None;
        self.check_replay(index);
        self.observe(index);
    }

    fn turn(&mut self, index: usize) {
        self.doom(index, 4);
        self.disk_mishap(index);
        let Some(process) = &mut self.nodes[index].process else {
            return;
        };
        process.turn();
        if self.is_doomed(index, "death within a turn") {
            return self.die(index);
        }
        let Some(process) = &self.nodes[index].process else {
            return;
        };
        if let Some(why) = process.failure() {
            if why.contains("internal error") {
                self.shared.broken(rules::DECIDES, why);
            } else {
                self.shared.tell(|| format!("node {index}: {why}"));
                self.die(index);
            }
            return;
        }
        self.observe(index);
        let Some(process) = &self.nodes[index].process else {
            return;
        };
        self.books.cover_places(process.state(), false);
        let number = process.number;
        for effect in process.effects() {
            match effect {
                Effect::Start(order) => self.fibers.push(process.task(order)),
                Effect::Stop(stopped) => {
                    let which = |job, _, _| job == stopped;
                    let_go(&mut self.fibers, (index, number), which, false);
                }
                Effect::Abandon(job, task, attempt) => {
                    let which = |j, t, a| (j, t, a) == (job, task, attempt);
                    let_go(&mut self.fibers, (index, number), which, true);
                    self.books.worker_outlives(index);
                }
            }
        }
        let due_ms = process.wakes_at();
        self.nodes[index].due_ms = due_ms;
        self.check_bounds(index, number);
    }

    fn disk_mishap(&mut self, index: usize) {
        let disk = &self.nodes[index].kept.disk;
        if self.shared.happens(Kind::Disk, |w| w.disk_sync) {
            let nth = self.shared.choose(|c| 1 + c.below(Kind::Disk, 3));
            self.shared.fault("sync fails", || format!("node {index}"));
            disk.fail_sync(nth);
        }
        if self.shared.happens(Kind::Disk, |w| w.disk_full) {
            let room = self.shared.choose(|c| c.below(Kind::Disk, 2_000)) as usize;
            self.shared.fault("disk full", || format!("node {index}"));
            disk.set_capacity(Some(disk.used_bytes() + room));
        } else if self
            .shared
            .happens(Kind::Disk, |w| if w.disk_full > 0 { 200 } else { 0 })
        {
            disk.set_capacity(None);
        }
    }

    fn fiber(&mut self, index: usize) {
        self.fibers[index].step();
        if self.fibers[index].has_ended() {
            self.fibers.remove(index);
        }
        self.books.check_deleted();
    }
    /// Takes in what is durable, and what readers see.
    fn observe(&self, index: usize) {
        let Some(process) = &self.nodes[index].process else {
            return;
        };
        let (books, shared) = (&self.books, &self.shared);
        let position = process.journal.position();
        let from = books.observed(index).next();
        if position.0 >= from {
            let read = process.journal.history(from, &mut |record| {
                books.observe(index, &record);
                Ok(())
            });
            if let Err(e) = read {
                shared.broken(rules::READABLE, format!("node {index}: {e}"));
            }
            books.acknowledge(index, position);
        }
        books.caught_up(index);
        books.check_views(index, &process.desk.views());
    }

    /// No more runs at once than there are credits, in all and on each backend, and no more waits for the dispatcher than
    /// was started.
    fn check_bounds(&self, index: usize, number: u32) {
        let credits = self.nodes[index].kept.settings.credits;
        let mut on: BTreeMap<Option<BackendId>, usize> = BTreeMap::new();
        for fiber in &self.fibers {
            if let Role::Task {
                abandoned: false,
                backend,
                ..
            } = fiber.role
                && (fiber.node, fiber.process) == (index, number)
            {
                *on.entry(backend).or_default() += 1;
            }
        }
        let running: usize = on.values().sum();
        let most = (credits.workers + credits.coordinators) as usize;
        let crowded = on
            .iter()
            .find(|(backend, count)| backend.is_some() && **count > credits.per_backend as usize);
        if running > most || crowded.is_some() && !self.books.has_lost_a_point(index) {
            self.shared.broken(
                rules::CREDITS,
                format!("node {index}: {on:?} run, the credits are {credits:?}"),
            );
        }
        let waiting = self.nodes[index].kept.desk.completions();
        // Each end may be told twice, and workers of earlier processes tell theirs, too.
        let most = 2 * (most + self.fibers.len());
        if waiting > most {
            self.shared.broken(
                rules::QUEUES,
                format!("node {index}: {waiting} ends wait, at most {most} may"),
            );
        }
    }
}

/// Asks the workers of some tasks of one process to let go; `abandon` = nobody waits for them any more.
fn let_go(
    fibers: &mut [Fiber],
    of: (usize, u32),
    which: impl Fn(JobId, TaskId, u32) -> bool,
    abandon: bool,
) {
    let fibers = fibers
        .iter_mut()
        .filter(|fiber| (fiber.node, fiber.process) == of);
    for fiber in fibers {
        if let Role::Task {
            token,
            job,
            task,
            attempt,
            abandoned,
            ..
        } = &mut fiber.role
            && which(*job, *task, *attempt)
        {
            token.cancel("the job is being stopped");
            *abandoned |= abandon;
        }
    }
}

/// Sizes of a node: small ones, so that little data makes many tasks.
fn node_settings(choices: &mut Choices) -> NodeSettings {
    NodeSettings {
        credits: Credits {
            workers: 1 + choices.below(Kind::Setup, 4) as u32,
            per_backend: 1 + choices.below(Kind::Setup, 2) as u32,
            coordinators: 1 + choices.below(Kind::Setup, 2) as u32,
        },
        limits: Limits {
            tablets_per_task: 1 + choices.below(Kind::Setup, 3) as usize,
            bytes_per_task: [40, 400, 1 << 20][choices.weighted(Kind::Setup, &[2, 1, 1])],
            files_per_task: 1 + choices.below(Kind::Setup, 4) as usize,
        },
        checkpoint_events: [0, 7, 40][choices.weighted(Kind::Setup, &[1, 2, 2])],
        segment_bytes: [64 << 20, 4 << 10, 16 << 10][choices.weighted(Kind::Setup, &[1, 1, 1])],
        retries: choices.weighted(Kind::Setup, &[1, 1]) == 1,
    }
}
