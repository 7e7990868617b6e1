//! What crosses a broker, written down so that it outlives a kill: each request is appended to a
//! file by one write before it begins and one after it ended. Counts; changes nothing.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_broker::{
    Broker, Context, Description, Error, ObjectInfo, ObjectName, Page, PageToken, PutMode,
    PutOutcome, Source, Visit,
};

/// A broker whose puts and gets are written down.
pub struct Logged {
    inner: Arc<dyn Broker>,
    log: File,
}

impl Logged {
    /// Appends to the file at `path`.
    pub fn new(inner: Arc<dyn Broker>, path: &Path) -> Self {
        Self {
            inner,
            log: appending(path),
        }
    }

    fn say(&self, line: &str) {
        // One write per line: a kill leaves whole lines.
        (&self.log)
            .write_all(format!("{line}\n").as_bytes())
            .unwrap();
    }
}

/// A file that is only appended to.
pub fn appending(path: &Path) -> File {
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .unwrap()
}

/// Counts what a put takes from its source.
struct Counted<'a> {
    inner: &'a dyn Source,
    bytes: AtomicU64,
}

impl Source for Counted<'_> {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn read(&self, visit: &mut dyn FnMut(&[u8]) -> Result<(), Error>) -> Result<(), Error> {
        self.inner.read(&mut |piece| {
            self.bytes.fetch_add(piece.len() as u64, Ordering::Relaxed);
            visit(piece)
        })
    }
}

impl Broker for Logged {
    fn put(
        &self,
        ctx: &Context,
        name: &ObjectName,
        source: &dyn Source,
        mode: PutMode,
    ) -> Result<PutOutcome, Error> {
        self.say(&format!("begin put {} {}", name.as_str(), source.len()));
        let counted = Counted {
            inner: source,
            bytes: AtomicU64::new(0),
        };
        let done = self.inner.put(ctx, name, &counted, mode);
        let word = if done.is_ok() { "done" } else { "failed" };
        self.say(&format!(
            "{word} put {} {}",
            name.as_str(),
            counted.bytes.into_inner()
        ));
        done
    }

    fn get_range(
        &self,
        ctx: &Context,
        name: &ObjectName,
        range: Range<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        let len = range.end.saturating_sub(range.start);
        let what = format!("{}@{}", name.as_str(), range.start);
        self.say(&format!("begin get {what} {len}"));
        let done = self.inner.get_range(ctx, name, range, visit);
        let word = if done.is_ok() { "done" } else { "failed" };
        self.say(&format!("{word} get {what} {len}"));
        done
    }

    fn get(&self, ctx: &Context, name: &ObjectName, max_len: u64) -> Result<Vec<u8>, Error> {
        self.inner.get(ctx, name, max_len)
    }

    fn stat(&self, ctx: &Context, name: &ObjectName) -> Result<Option<ObjectInfo>, Error> {
        self.inner.stat(ctx, name)
    }

    fn list(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page, Error> {
        self.inner.list(ctx, prefix, after, limit)
    }

    fn delete(&self, ctx: &Context, name: &ObjectName) -> Result<(), Error> {
        self.inner.delete(ctx, name)
    }

    fn settle(&self, ctx: &Context, names: &[ObjectName]) -> Result<(), Error> {
        self.inner.settle(ctx, names)
    }

    fn describe(&self) -> Description {
        self.inner.describe()
    }
}

/// What one process did, as far as it was written down.
#[derive(Debug, Default)]
pub struct Traffic {
    /// Ended well: how many bytes were given, by name.
    pub done: BTreeMap<String, u64>,
    /// Begun and not ended: how many bytes there are, by name.
    pub open: BTreeMap<String, u64>,
    /// How often it was begun and how many bytes there are, by name.
    pub begun: BTreeMap<String, (u64, u64)>,
}

impl Traffic {
    /// Reads the requests of one kind (`put` or `get`) on names that `counts` likes.
    pub fn read(path: &Path, request: &str, counts: impl Fn(&str) -> bool) -> Self {
        let mut traffic = Self::default();
        let text = std::fs::read_to_string(path).unwrap_or_default();
        for line in text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'))
        {
            let words: Vec<&str> = line.split_whitespace().collect();
            let [word, kind, name, bytes] = words[..] else {
                panic!("log line {line:?}")
            };
            if kind != request || !counts(name) {
                continue;
            }
            let bytes: u64 = bytes.parse().unwrap();
            if word == "begin" {
                let begun = traffic.begun.entry(name.to_owned()).or_default();
                *begun = (begun.0 + 1, bytes);
                traffic.open.insert(name.to_owned(), bytes);
                continue;
            }
            traffic.open.remove(name);
            if word == "done" {
                *traffic.done.entry(name.to_owned()).or_default() += bytes;
            }
        }
        traffic
    }

    /// Bytes of requests that ended well.
    pub fn bytes(&self) -> u64 {
        self.done.values().sum()
    }
}

/// Whether a name is that of something a backup's data or manifest consists of.
pub fn is_content(name: &str) -> bool {
    ["/objects/", "/packs/", "/part."]
        .iter()
        .any(|part| name.contains(part))
}
