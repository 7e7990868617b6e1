//! What users do: sensible statements, racing ones and nonsense, one after the other, on the desk of a process. They
//! check no more than that what is answered stays true; the books do the rest.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use holdfast_storage::AllowLoad;
use holdfast_storage::conformance::Files;

use super::books::{Books, REPOSITORY};
use super::choices::{Choices, Kind};
use super::remote::LATE_LISTING_MS;
use super::rules;
use super::shared::{Shared, Wait};
use crate::desk::Desk;
use crate::refusal::Refusal;
use crate::retention::HistoryRequest;
use crate::spec::{
    BackupRequest, Clean, JobKind, ObjectRef, Replication, RepositoryRequest, RestoreRequest,
    Selection,
};

/// A user of one node, through whatever process it has.
#[derive(Clone)]
pub(super) struct User {
    pub(super) node: usize,
    pub(super) shared: Arc<Shared>,
    pub(super) books: Arc<Books>,
    /// Statements that are still to be made on this node, by all of its users together.
    pub(super) left: Arc<AtomicU32>,
}

const DATABASES: [&str; 4] = ["d0", "d1", "d0", "d2"];
const TABLES: [&str; 3] = ["t0", "t1", "t2"];
const PARTITIONS: [&str; 2] = ["p0", "p1"];

fn one<'a>(choices: &mut Choices, of: &[&'a str]) -> &'a str {
    of[choices.below(Kind::User, of.len() as u64) as usize]
}

impl User {
    fn choose<T>(&self, choose: impl FnOnce(&mut Choices) -> T) -> T {
        self.shared.choose(choose)
    }

    /// Makes statements until none is left.
    pub(super) fn work(&self, desk: &Desk) {
        while self.take_one() {
            self.ensure_repository(desk);
            let wait_ms = self.choose(|c| match c.weighted(Kind::User, &[3, 2, 1]) {
                0 => 0,
                1 => c.below(Kind::User, 2_000),
                _ => c.below(Kind::User, 900_000),
            });
            if wait_ms > 0 {
                let at = self.shared.now_ms() + wait_ms;
                self.shared.pause(Wait::Until(at, None));
            }
            if !self.shared.is_alive() {
                return;
            }
            self.statement(desk);
        }
    }

    fn take_one(&self) -> bool {
        let take = |left: u32| left.checked_sub(1);
        self.shared.is_alive()
            && self
                .left
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, take)
                .is_ok()
    }

    fn ensure_repository(&self, desk: &Desk) {
        if !desk.views().repositories.contains_key(REPOSITORY) {
            let made = desk.create_repository(&RepositoryRequest::new(REPOSITORY, "memory://"));
            self.say("CREATE REPOSITORY", made.map(|_| ()));
        }
    }

    fn statement(&self, desk: &Desk) {
        match self.choose(|c| c.weighted(Kind::User, &[8, 14, 4, 4, 1, 2, 1, 1])) {
            0 => self.backup(desk),
            1 => self.restore(desk),
            2 => self.cancel(desk),
            3 => self.load(),
            4 => {
                let (database, table) = self.choose(|c| (one(c, &DATABASES), one(c, &TABLES)));
                self.books.drop_table(self.node, database, table);
            }
            5 => self.nonsense(desk),
            6 => {
                let dropped = desk.drop_repository(REPOSITORY);
                self.say("DROP REPOSITORY", dropped);
            }
            _ => {
                let keep_last = self.choose(|c| c.below(Kind::User, 3));
                let archived = desk.archive(&HistoryRequest {
                    ended_before_ms: u64::MAX,
                    keep_last,
                });
                self.say("archive", archived.map(|_| ()));
            }
        }
    }

    fn backup(&self, desk: &Desk) {
        let request = self.choose(|c| {
            let label = format!("s{}", c.below(Kind::User, 6));
            let mut request = BackupRequest::new(one(c, &DATABASES), &label, REPOSITORY);
            if c.happens(Kind::User, 300) {
                request.selection = Selection::Only(vec![object(c, false)]);
            }
            request.timeout_seconds = timeout(c);
            request
        });
        self.shared.tell(|| {
            format!(
                "node {}: BACKUP {} of {}",
                self.node, request.label, request.database
            )
        });
        let before = self.books.names(self.node, &request.database);
        let answer = desk.backup(&request);
        if let Ok(job) = answer
            && self.shared.is_alive()
        {
            self.books
                .backup_accepted(self.node, job, &request, &before);
        }
        self.say("BACKUP", answer.map(|_| ()));
    }

    fn restore(&self, desk: &Desk) {
        let (finished, attempted) = (self.books.snapshots(), self.books.attempted());
        let request = self.choose(|c| {
            let known = match c.weighted(Kind::User, &[6, 1]) {
                0 if !finished.is_empty() => &finished,
                _ => &attempted,
            };
            if known.is_empty() {
                return None;
            }
            let (label, timestamp) = &known[c.below(Kind::User, known.len() as u64) as usize];
            let database = one(c, &["d0", "d1", "d2", "r0"]);
            let mut request = RestoreRequest::new(database, label, REPOSITORY, timestamp);
            match c.weighted(Kind::User, &[5, 2, 1]) {
                0 => {}
                1 => request.selection = Selection::Only(vec![object(c, true)]),
                _ => request.selection = Selection::Except(vec![object(c, false)]),
            }
            if c.happens(Kind::User, 200) {
                request.clean = Clean {
                    tables: c.happens(Kind::User, 500),
                    partitions: c.happens(Kind::User, 500),
                };
            }
            if c.happens(Kind::User, 300) {
                request.allow_load = AllowLoad::UntouchedPartitions;
            }
            request.replication = match c.weighted(Kind::User, &[6, 1, 1]) {
                0 => Replication::Automatic,
                1 => Replication::Fixed(1 + c.below(Kind::User, 4) as u32),
                _ => Replication::Reserve,
            };
            request.timeout_seconds = timeout(c);
            Some(request)
        });
        if let Some(request) = request {
            self.shared.tell(|| {
                format!(
                    "node {}: RESTORE {} into {}",
                    self.node, request.label, request.database
                )
            });
            let before = self.books.names(self.node, &request.database);
            let answer = desk.restore(&request);
            if let Ok(job) = answer
                && self.shared.is_alive()
            {
                self.books
                    .restore_accepted(self.node, job, &request, before);
            }
            self.say("RESTORE", answer.map(|_| ()));
        }
    }

    fn cancel(&self, desk: &Desk) {
        let (kind, database) = self.choose(|c| {
            let kind = match c.happens(Kind::User, 500) {
                true => JobKind::Restore,
                false => JobKind::Backup,
            };
            (kind, one(c, &["d0", "d1", "d2", "r0"]))
        });
        self.books.cancel_asked(self.node, kind, database);
        let cancelled = desk.cancel(kind, database);
        if let Ok(job) = cancelled
            && self.shared.is_alive()
        {
            self.books.cancelled(self.node, job);
        }
        self.say("CANCEL", cancelled.map(|_| ()));
    }

    fn load(&self) {
        let (database, table, partition) =
            self.choose(|c| (one(c, &DATABASES), one(c, &TABLES), one(c, &PARTITIONS)));
        let files = self.choose(|c| some_files(c, Kind::User));
        self.books
            .load(self.node, (database, table, partition), &files);
    }

    fn nonsense(&self, desk: &Desk) {
        let which = self.choose(|c| c.below(Kind::User, 8));
        let refused = match which {
            0 => desk.backup(&BackupRequest::new("nowhere", "s0", REPOSITORY)),
            1 => desk.backup(&BackupRequest::new("d0", "a label/with..", REPOSITORY)),
            2 => desk.backup(&BackupRequest::new("d0", "s0", "no_repository")),
            3 => {
                let mut request = BackupRequest::new("d0", "s9", REPOSITORY);
                request.timeout_seconds = Some(1);
                desk.backup(&request)
            }
            4 => desk.restore(&RestoreRequest::new("d0", "never", REPOSITORY, "yesterday")),
            5 => desk.restore(&RestoreRequest::new(
                "d0",
                "s0",
                REPOSITORY,
                "2001-01-01-00-00-00-000",
            )),
            6 => desk.cancel(JobKind::Backup, "nowhere"),
            _ => {
                let mut request = BackupRequest::new("d0", "s9", REPOSITORY);
                request.selection = Selection::Only(vec![ObjectRef {
                    table: "t9".to_owned(),
                    partitions: vec!["p9".to_owned()],
                    alias: None,
                }]);
                desk.backup(&request)
            }
        };
        if let Ok(job) = refused
            && self.shared.is_alive()
        {
            self.shared.broken(
                rules::NONSENSE,
                format!("statement {which} became job {job}"),
            );
        }
    }

    fn say(&self, what: &str, answer: Result<(), Refusal>) {
        self.shared.tell(|| match &answer {
            Ok(()) => format!("node {}: {what} accepted", self.node),
            Err(refusal) => format!("node {}: {what} refused: {}", self.node, refusal.message),
        });
    }

    /// Brings a snapshot back into a database of its own, on a world without trouble.
    pub(super) fn bring_back(
        &self,
        desk: &Desk,
        (label, timestamp): &(String, String),
        number: usize,
    ) {
        self.ensure_repository(desk);
        // A remote that lists late may take its time.
        let listed_ms = self.shared.now_ms() + LATE_LISTING_MS;
        self.shared.pause(Wait::Until(listed_ms, None));
        let database = format!("proof{number}");
        let request = RestoreRequest::new(&database, label, REPOSITORY, timestamp);
        self.books.wants_back(label);
        match desk.restore(&request) {
            Ok(job) => self
                .books
                .restore_accepted(self.node, job, &request, Default::default()),
            Err(refusal) if self.shared.is_alive() => {
                self.books.not_brought_back(label, &refusal.message);
            }
            Err(_) => {}
        }
    }
}

/// The shortest timeout now and then, so that it is reached.
fn timeout(choices: &mut Choices) -> Option<u64> {
    choices.happens(Kind::User, 300).then_some(600)
}

fn object(choices: &mut Choices, renamed: bool) -> ObjectRef {
    let table = one(choices, &TABLES).to_owned();
    let partitions = match choices.happens(Kind::User, 400) {
        true => vec![one(choices, &PARTITIONS).to_owned()],
        false => Vec::new(),
    };
    let alias = (renamed && choices.happens(Kind::User, 400))
        .then(|| format!("a{}", choices.below(Kind::User, 2)));
    ObjectRef {
        table,
        partitions,
        alias,
    }
}

/// A few files, some of which hold the same as others.
pub(super) fn some_files(choices: &mut Choices, kind: Kind) -> Files {
    let count = 1 + choices.below(kind, 3);
    (0..count)
        .map(|_| {
            let name = format!("f{}", choices.below(kind, 12));
            let word = choices.below(kind, 9);
            let times = [0, 1, 7, 60][choices.weighted(kind, &[1, 4, 2, 1])];
            (name, format!("rows {word};").repeat(times).into_bytes())
        })
        .collect()
}
