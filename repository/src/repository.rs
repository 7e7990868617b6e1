//! A repository opened behind a broker: its info object, its access mode, and the small requests
//! that the rest of the crate is built from. Decides nothing about snapshots or objects.

use std::fmt;
use std::sync::Arc;

use holdfast_broker::{
    Atomicity, Broker, BrokerExt, Context, Description, ErrorClass, ListConsistency, ObjectName,
    PutMode, PutOutcome,
};
use serde::{Deserialize, Serialize};

use crate::limits::FORMAT_VERSION;
use crate::manifest::{Versioned, decode_text};
use crate::names::{Layout, check_repository_name, shown};
use crate::{ContentHash, Error, ErrorKind};

/// The info object and other small plain documents are never longer than this.
const SMALL_DOCUMENT: u64 = 64 << 10;

/// How often a probe is tried where another process' probe of the same name got in its way.
const PROBE_TRIES: u32 = 3;

/// How a repository is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// For reading and writing; a repository that is not there is made.
    ReadWrite {
        /// The time now in milliseconds since the epoch, kept as the creation time of a repository
        /// that is made.
        created_at_ms: u64,
    },
    /// For reading only; the repository must be there, and nothing is ever written to it.
    ReadOnly,
}

/// What a repository says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RepoInfo {
    /// The format's version.
    pub format: u32,
    /// The repository's name.
    pub name: String,
    /// When it was made, `yyyy-MM-dd HH:mm:ss` in UTC.
    pub create_time: String,
    /// The same moment in milliseconds since the epoch.
    pub create_time_ms: u64,
    /// 32 hex digits that tell it from others of the same name.
    pub id: String,
}

impl Versioned for RepoInfo {
    fn format(&self) -> u32 {
        self.format
    }
}

/// A named place behind a broker, with our layout. Clones share everything; all methods may be
/// called from any thread.
#[derive(Clone)]
pub struct Repository {
    inner: Arc<Inner>,
}

struct Inner {
    broker: Arc<dyn Broker>,
    layout: Layout,
    info: RepoInfo,
    mode: Mode,
}

impl fmt::Debug for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Repository")
            .field("info", &self.inner.info)
            .field("mode", &self.inner.mode)
            .finish_non_exhaustive()
    }
}

impl Repository {
    /// Opens the repository `name`. With [`Mode::ReadWrite`] it is made where it is absent;
    /// whoever else makes it at the same moment, all see the same info afterwards.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`] for a bad name, [`ErrorKind::NotFound`] where it is absent and may
    /// not be made, [`ErrorKind::NewerFormat`] or [`ErrorKind::Damaged`] for an info object that
    /// is not understood or names another repository.
    pub fn open(
        ctx: &Context,
        broker: Arc<dyn Broker>,
        name: &str,
        mode: Mode,
    ) -> Result<Self, Error> {
        check_repository_name(name)?;
        let layout = Layout::new(name);
        let object = layout.name("__repo_info")?;
        let what = || format!("repository {name} at {}", broker.describe());
        let found = broker
            .find(ctx, &object, SMALL_DOCUMENT)
            .map_err(|cause| Error::remote(what(), cause))?;
        let bytes = match (found, mode) {
            (Some(bytes), _) => bytes,
            (None, Mode::ReadOnly) => {
                return Err(Error::not_found(format!("{} does not exist", what())));
            }
            (None, Mode::ReadWrite { created_at_ms }) => {
                create_info(ctx, broker.as_ref(), &object, name, created_at_ms)
                    .map_err(|error| error.context(what()))?
            }
        };
        let info = decode_info(name, &bytes).map_err(|error| error.context(what()))?;
        Ok(Repository {
            inner: Arc::new(Inner {
                broker,
                layout,
                info,
                mode,
            }),
        })
    }

    /// What the repository says of itself.
    pub fn info(&self) -> &RepoInfo {
        &self.inner.info
    }

    /// Whether it was opened with [`Mode::ReadOnly`].
    pub fn is_read_only(&self) -> bool {
        self.inner.mode == Mode::ReadOnly
    }

    /// Shows that the repository can be used: a probe object is written, read back, compared and
    /// deleted; in a read-only one, the info object is read again and a listing asked for.
    ///
    /// `who` = a part of the probe's name that nobody else uses at the same time: two that probe under one name would
    /// delete each other's object.
    ///
    /// # Errors
    /// The failure of the first step that fails, with the step's name; [`ErrorKind::Invalid`] where `who` is no part of
    /// a name.
    pub fn probe(&self, ctx: &Context, who: &str) -> Result<(), Error> {
        if self.is_read_only() {
            let name = self.name("__repo_info")?;
            let bytes = self.get(ctx, &name, SMALL_DOCUMENT)?;
            decode_info(&self.inner.info.name, &bytes)?;
            let prefix = format!("{}__ss_", self.inner.layout.prefix());
            let listed = self.broker().list(ctx, &prefix, None, 1);
            return listed
                .map(drop)
                .map_err(|cause| Error::remote(format!("listing {prefix:?}"), cause));
        }
        let name = self.name(format_args!("probe/{who}"))?;
        let bytes = b"the repository can be written, read and deleted from";
        let mut outcome = Ok(());
        for _ in 0..PROBE_TRIES {
            self.put(ctx, &name, bytes, PutMode::Overwrite)?;
            outcome = match self.get(ctx, &name, SMALL_DOCUMENT) {
                Ok(read) if read == bytes => Ok(()),
                Ok(read) => Err(Error::damaged(format!(
                    "probe object {name}: {} bytes read back differ from the {} written",
                    read.len(),
                    bytes.len()
                ))),
                // A process of the same number on another host has just deleted it.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    outcome = Err(error);
                    continue;
                }
                Err(error) => Err(error),
            };
            break;
        }
        let deleted = self.delete(ctx, &name);
        outcome.and(deleted)
    }

    /// Makes sure that the repository is still there: a file system may have been unmounted since
    /// it was opened, and what is written then would lie below it.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where it is gone or another is in its place, else the remote's
    /// failure.
    pub(crate) fn still_there(&self, ctx: &Context) -> Result<(), Error> {
        let info = self.info();
        let found = self.find(ctx, &self.name("__repo_info")?, SMALL_DOCUMENT)?;
        let place = || {
            let Description { location, .. } = self.broker().describe();
            format!("repository {} at {location}", info.name)
        };
        match found.map(|bytes| decode_info(&info.name, &bytes)) {
            None => Err(Error::not_found(format!(
                "{} is gone; bring it back (is the file system mounted?)",
                place()
            ))),
            Some(found) if found.as_ref().is_ok_and(|found| found.id == info.id) => Ok(()),
            Some(_) => Err(Error::not_found(format!(
                "{} is another one than when it was opened",
                place()
            ))),
        }
    }

    pub(crate) fn writable(&self) -> Result<(), Error> {
        match self.inner.mode {
            Mode::ReadWrite { .. } => Ok(()),
            Mode::ReadOnly => Err(Error::new(
                ErrorKind::ReadOnly,
                format!("repository {} is read only", self.inner.info.name),
            )),
        }
    }

    pub(crate) fn broker(&self) -> &dyn Broker {
        self.inner.broker.as_ref()
    }

    pub(crate) fn layout(&self) -> &Layout {
        &self.inner.layout
    }

    pub(crate) fn name(&self, path: impl fmt::Display) -> Result<ObjectName, Error> {
        self.inner.layout.name(path)
    }

    /// Whether a visible object may be only a part of what was put.
    pub(crate) fn may_tear(&self) -> bool {
        self.broker().describe().atomic_put == Atomicity::MayTear
    }

    /// Whether a listing may lack what was just put.
    pub(crate) fn lists_late(&self) -> bool {
        self.broker().describe().list_consistency == ListConsistency::Eventual
    }

    pub(crate) fn get(&self, ctx: &Context, name: &ObjectName, max: u64) -> Result<Vec<u8>, Error> {
        let read = self.broker().get(ctx, name, max);
        read.map_err(|cause| Error::remote(format!("reading {name}"), cause))
    }

    pub(crate) fn find(
        &self,
        ctx: &Context,
        name: &ObjectName,
        max: u64,
    ) -> Result<Option<Vec<u8>>, Error> {
        match self.get(ctx, name, max) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) fn put(
        &self,
        ctx: &Context,
        name: &ObjectName,
        bytes: &[u8],
        mode: PutMode,
    ) -> Result<PutOutcome, Error> {
        self.writable()?;
        let put = self.broker().put_bytes(ctx, name, bytes, mode);
        put.map_err(|cause| Error::remote(format!("writing {name}"), cause))
    }

    /// Puts a small object whose name or content makes it ours alone; whatever happens, on success
    /// exactly `bytes` are there, durably.
    pub(crate) fn put_exactly(
        &self,
        ctx: &Context,
        name: &ObjectName,
        bytes: &[u8],
    ) -> Result<(), Error> {
        let found = match self.put(ctx, name, bytes, PutMode::CreateIfAbsent) {
            Ok(PutOutcome::Created) => return Ok(()),
            Ok(PutOutcome::Exists) => self.find(ctx, name, bytes.len() as u64),
            Err(error) if error.kind() == ErrorKind::Remote(ErrorClass::Ambiguous) => {
                // Whether it landed, only the object itself can tell.
                match self.find(ctx, name, bytes.len() as u64) {
                    Ok(Some(found)) if found == bytes => Ok(Some(found)),
                    _ => return Err(error),
                }
            }
            Err(error) => return Err(error),
        };
        let same = matches!(&found, Ok(Some(found)) if found == bytes);
        if same {
            let settled = self.broker().settle(ctx, std::slice::from_ref(name));
            return settled.map_err(|cause| Error::remote(format!("settling {name}"), cause));
        }
        if let Err(error) = found
            && error.kind() != ErrorKind::Remote(ErrorClass::Invalid)
        {
            return Err(error);
        }
        // Torn or damaged: under this name only these bytes are right.
        self.put(ctx, name, bytes, PutMode::Overwrite).map(drop)
    }

    pub(crate) fn delete(&self, ctx: &Context, name: &ObjectName) -> Result<(), Error> {
        self.writable()?;
        let deleted = self.broker().delete(ctx, name);
        deleted.map_err(|cause| Error::remote(format!("deleting {name}"), cause))
    }

    /// Calls `visit` with path below the repository's folder and length of each object whose path
    /// begins with `prefix`, in name order.
    pub(crate) fn each(
        &self,
        ctx: &Context,
        prefix: &str,
        visit: &mut dyn FnMut(&str, u64),
    ) -> Result<(), Error> {
        let root = self.inner.layout.prefix();
        let full = format!("{root}{prefix}");
        let listed = self.broker().for_each(ctx, &full, &mut |object| {
            if let Some(path) = object.name.as_str().strip_prefix(&root) {
                visit(path, object.len);
            }
            Ok(())
        });
        listed.map_err(|cause| Error::remote(format!("listing {full:?}"), cause))
    }
}

fn create_info(
    ctx: &Context,
    broker: &dyn Broker,
    object: &ObjectName,
    name: &str,
    created_at_ms: u64,
) -> Result<Vec<u8>, Error> {
    let seed = format!("{name}\n{}\n{created_at_ms}", broker.describe().location);
    let info = RepoInfo {
        format: FORMAT_VERSION,
        name: name.to_owned(),
        create_time: utc_text(created_at_ms),
        create_time_ms: created_at_ms,
        id: ContentHash::of(seed.as_bytes()).to_string()[..32].to_owned(),
    };
    let text = serde_json::to_vec_pretty(&info)
        .map_err(|cause| Error::invalid(format!("the info cannot be written: {cause}")))?;
    let put = broker.put_bytes(ctx, object, &text, PutMode::CreateIfAbsent);
    put.map_err(|cause| Error::remote("making the repository", cause))?;
    // Another cluster may have been first; what is there counts.
    broker
        .get(ctx, object, SMALL_DOCUMENT)
        .map_err(|cause| Error::remote("reading back the repository's info", cause))
}

fn decode_info(name: &str, bytes: &[u8]) -> Result<RepoInfo, Error> {
    let info: RepoInfo = decode_text(bytes).map_err(|error| error.context("__repo_info"))?;
    if info.name != name {
        return Err(Error::damaged(format!(
            "__repo_info names repository {:?}, expected {name:?}",
            shown(&info.name)
        )));
    }
    Ok(info)
}

/// `yyyy-MM-dd HH:mm:ss` in UTC.
fn utc_text(ms: u64) -> String {
    let seconds = ms / 1000;
    let (days, rest) = (seconds / 86_400, seconds % 86_400);
    // Years are counted from March, so that the leap day is the last of its year.
    let day_of_era = days + 719_468;
    let (era, day) = (day_of_era / 146_097, day_of_era % 146_097);
    let year_of_era = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day + 2) / 153;
    let day = day - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    let (hour, minute, second) = (rest / 3600, rest / 60 % 60, rest % 60);
    format!("{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02}")
}

#[cfg(test)]
mod tests {
    use super::utc_text;

    #[test]
    fn times_are_written_in_utc() {
        for (ms, text) in [
            (0, "1970-01-01 00:00:00"),
            (951_782_399_999, "2000-02-28 23:59:59"),
            (951_782_400_000, "2000-02-29 00:00:00"),
            (4_107_542_399_000, "2100-02-28 23:59:59"),
            (4_107_542_400_000, "2100-03-01 00:00:00"),
            (1_767_225_600_123, "2026-01-01 00:00:00"),
        ] {
            assert_eq!(utc_text(ms), text);
        }
    }
}
