//! The contract of [`Broker`] as a suite that any implementation runs, against the real system
//! where there is one. Asks only for what the trait's documentation promises, and adapts to what
//! [`Broker::describe`] says is missing.
//!
//! ```
//! use holdfast_broker::{MemoryBroker, conformance};
//!
//! # fn main() -> Result<(), conformance::Failures> {
//! let report = conformance::run(|| Box::new(MemoryBroker::new()))?;
//! assert!(report.passed.len() > 10);
//! # Ok(())
//! # }
//! ```

mod bytes;
mod names;
mod races;

use std::fmt;
use std::ops::Range;

use crate::{
    Broker, Context, Error, ErrorClass, ObjectInfo, ObjectName, PutMode, PutOutcome, Source,
};

/// What a check found wrong.
type Finding = String;

/// One check of the suite.
type Check = (&'static str, fn(&Subject) -> Result<(), Finding>);

/// What a run passed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The names of the checks, in order.
    pub passed: Vec<&'static str>,
}

/// What a run found wrong: each failed check with its finding. All checks are run whatever fails.
#[derive(Clone, PartialEq, Eq)]
pub struct Failures {
    /// Name of the check, and what was found.
    pub findings: Vec<(&'static str, String)>,
}

impl fmt::Display for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} checks failed", self.findings.len())?;
        self.findings
            .iter()
            .try_for_each(|(check, finding)| write!(f, "\n  {check}: {finding}"))
    }
}

/// As [`fmt::Display`], so that an unwrapped failure can be read.
impl fmt::Debug for Failures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for Failures {}

/// Runs all checks, each on a broker of its own from `make`. The brokers may share a store or not,
/// as long as nothing else lies there under `conformance-…/`; each check begins by deleting what
/// lies under its own prefix, and ends so.
pub fn run(make: impl Fn() -> Box<dyn Broker>) -> Result<Report, Failures> {
    let mut report = Report { passed: Vec::new() };
    let mut failures = Failures {
        findings: Vec::new(),
    };
    for (name, check) in bytes::CHECKS
        .iter()
        .chain(names::CHECKS)
        .chain(races::CHECKS)
    {
        let subject = Subject {
            broker: make(),
            ctx: Context::new(),
            prefix: format!("conformance-{name}/"),
        };
        let result = subject
            .clean()
            .and_then(|()| check(&subject))
            .and_then(|()| subject.clean());
        match result {
            Ok(()) => report.passed.push(name),
            Err(finding) => failures.findings.push((name, finding)),
        }
    }
    if failures.findings.is_empty() {
        Ok(report)
    } else {
        Err(failures)
    }
}

/// The broker under test, below a prefix of the check's own.
struct Subject {
    broker: Box<dyn Broker>,
    ctx: Context,
    prefix: String,
}

impl Subject {
    fn name(&self, text: &str) -> Result<ObjectName, Finding> {
        ObjectName::parse(format!("{}{text}", self.prefix)).map_err(|error| error.to_string())
    }

    fn clean(&self) -> Result<(), Finding> {
        for object in self.list(&self.prefix, 100)? {
            self.broker
                .delete(&self.ctx, &object.name)
                .map_err(|error| format!("cleaning up: {error}"))?;
        }
        Ok(())
    }

    fn put(&self, name: &ObjectName, bytes: &[u8], mode: PutMode) -> Result<PutOutcome, Finding> {
        let source = crate::BytesSource::from(bytes);
        self.broker
            .put(&self.ctx, name, &source, mode)
            .map_err(|error| format!("put {name:?}: {error}"))
    }

    fn create(&self, name: &ObjectName, bytes: &[u8]) -> Result<(), Finding> {
        match self.put(name, bytes, PutMode::CreateIfAbsent)? {
            PutOutcome::Created => Ok(()),
            PutOutcome::Exists => Err(format!("put of the new name {name:?} answered exists")),
        }
    }

    fn range(&self, name: &ObjectName, range: Range<u64>) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.broker
            .get_range(&self.ctx, name, range, &mut |piece| {
                bytes.extend_from_slice(piece);
                match piece.is_empty() {
                    true => Err(Error::invalid("an empty piece was handed over")),
                    false => Ok(()),
                }
            })?;
        Ok(bytes)
    }

    /// Fails unless the object holds exactly `expected`, by every way of asking.
    fn expect(&self, name: &ObjectName, expected: &[u8]) -> Result<(), Finding> {
        let len = expected.len() as u64;
        let stat = self
            .broker
            .stat(&self.ctx, name)
            .map_err(|error| format!("stat {name:?}: {error}"))?;
        same(
            "stat",
            &stat,
            &Some(ObjectInfo {
                name: name.clone(),
                len,
            }),
        )?;
        let got = self
            .range(name, 0..len)
            .map_err(|error| format!("get {name:?}: {error}"))?;
        truth(got == expected, || {
            format!(
                "{name:?} has other bytes than were put ({} of {len})",
                got.len()
            )
        })?;
        let got = self
            .broker
            .get(&self.ctx, name, len)
            .map_err(|error| format!("get {name:?} whole: {error}"))?;
        truth(got == expected, || {
            format!("{name:?} read whole has other bytes than were put")
        })
    }

    fn expect_nothing(&self, name: &ObjectName) -> Result<(), Finding> {
        let stat = self
            .broker
            .stat(&self.ctx, name)
            .map_err(|error| format!("stat {name:?}: {error}"))?;
        same("stat of what is not there", &stat, &None)?;
        let listed = self.list(name.as_str(), 100)?;
        truth(!listed.iter().any(|info| info.name == *name), || {
            format!("{name:?} is listed and not there")
        })?;
        class_of(
            "get of what is not there",
            self.range(name, 0..1),
            ErrorClass::Missing,
        )
    }

    /// All objects under `prefix` by pages of `limit`.
    fn list(&self, prefix: &str, limit: usize) -> Result<Vec<ObjectInfo>, Finding> {
        let mut objects = Vec::new();
        let mut after = None;
        // A broker that never ends is caught; no check has this many pages.
        for _ in 0..100_000 {
            let page = self
                .broker
                .list(&self.ctx, prefix, after.as_ref(), limit)
                .map_err(|error| format!("list {prefix:?}: {error}"))?;
            truth(page.objects.len() <= limit, || {
                format!("a page of {limit} held {}", page.objects.len())
            })?;
            objects.extend(page.objects);
            after = page.next;
            if after.is_none() {
                return Ok(objects);
            }
        }
        Err(format!("list {prefix:?} by {limit} does not end"))
    }
}

/// Bytes that differ at every offset and from one `salt` to the next.
fn pattern(len: usize, salt: u64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len + 8);
    let mut word = crate::hash::of(salt, "", 0);
    while bytes.len() < len {
        bytes.extend_from_slice(&word.to_le_bytes());
        // A full-period generator: no word repeats within any object.
        word = word
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
    }
    bytes.truncate(len);
    bytes
}

fn truth(holds: bool, finding: impl FnOnce() -> Finding) -> Result<(), Finding> {
    if holds { Ok(()) } else { Err(finding()) }
}

fn same<T: PartialEq + fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), Finding> {
    truth(found == expected, || {
        format!("{what} gave {found:?}, expected {expected:?}")
    })
}

/// Fails unless `result` failed with `expected`.
fn class_of<T>(what: &str, result: Result<T, Error>, expected: ErrorClass) -> Result<(), Finding> {
    match result {
        Ok(_) => Err(format!("{what} succeeded, expected class {expected}")),
        Err(error) if error.class() == expected => Ok(()),
        Err(error) => Err(format!(
            "{what} failed with class {}, expected {expected}: {error}",
            error.class()
        )),
    }
}

/// A source that does something each time it has given a piece.
struct Interrupted<'a> {
    bytes: &'a [u8],
    piece_bytes: usize,
    then: &'a (dyn Fn(usize) -> Result<(), Error> + Sync),
}

impl Source for Interrupted<'_> {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, visit: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        let mut given = 0;
        for piece in self.bytes.chunks(self.piece_bytes) {
            visit(piece)?;
            given += piece.len();
            (self.then)(given)?;
        }
        Ok(())
    }
}
