//! The seam to a remote system: the [`Broker`] trait with its contract, the plain data that
//! crosses it, and conveniences built from it. Knows no adapter.

use std::fmt;
use std::ops::Range;

use crate::{Context, Error, ErrorClass, ObjectName, Source};

/// What receives bytes, piece by piece and in order; an error from it ends the request and comes
/// back unchanged.
pub type Visit<'a> = dyn FnMut(&[u8]) -> Result<(), Error> + 'a;

/// How many objects [`BrokerExt::list_all`] asks for at a time.
const LIST_ALL_PAGE: usize = 10_000;

/// The kinds of requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Request {
    /// [`Broker::put`].
    Put,
    /// [`Broker::get_range`] and [`Broker::get`].
    Get,
    /// [`Broker::stat`].
    Stat,
    /// [`Broker::list`].
    List,
    /// [`Broker::delete`].
    Delete,
    /// [`Broker::settle`].
    Settle,
}

impl Request {
    /// All kinds, each at the index of its value.
    pub const ALL: [Request; 6] = [
        Request::Put,
        Request::Get,
        Request::Stat,
        Request::List,
        Request::Delete,
        Request::Settle,
    ];
}

/// What a put does where the name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PutMode {
    /// Leave what is there and answer [`PutOutcome::Exists`].
    CreateIfAbsent,
    /// Replace it, at one moment, by the new bytes.
    Overwrite,
}

/// How a put ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PutOutcome {
    /// The object holds the bytes of this put.
    Created,
    /// Only with [`PutMode::CreateIfAbsent`]: an object was there before, this put wrote nothing,
    /// and what is there is as whole and durable as the remote makes a finished put. Its bytes may
    /// be another's: the caller compares.
    Exists,
}

/// An object's name and size.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ObjectInfo {
    /// Its name.
    pub name: ObjectName,
    /// Its length in bytes.
    pub len: u64,
}

/// Where the next page of a listing begins; opaque, and good for the same prefix on the same store
/// only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PageToken(String);

impl PageToken {
    /// A token that means "after `text`". Only adapters make tokens.
    pub fn new(text: impl Into<String>) -> Self {
        PageToken(text.into())
    }

    /// What the adapter put in.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A part of a listing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Page {
    /// Objects in name order, byte by byte.
    pub objects: Vec<ObjectInfo>,
    /// Present where there may be more.
    pub next: Option<PageToken>,
}

/// Whether an object can be seen half-written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Atomicity {
    /// An object is whole from the moment it is visible.
    Atomic,
    /// A failed or running put may leave a part of the bytes visible under the name.
    MayTear,
}

/// Who decides when two put the same name with [`PutMode::CreateIfAbsent`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ConditionalPut {
    /// The remote: exactly one of them is answered [`PutOutcome::Created`].
    Decided,
    /// Nobody: the adapter looks first and then puts, and two that race may both be answered
    /// `Created`.
    Raced,
}

/// What a listing knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ListConsistency {
    /// All that was put and not deleted before the request.
    Strong,
    /// The same after a while.
    Eventual,
}

/// What survives once a put has returned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Durability {
    /// Bytes and name were synced to a disk by this process.
    Synced,
    /// The remote said so.
    Acknowledged,
    /// Nothing outlives the process.
    Volatile,
}

/// What a remote gives and what it does not; callers choose their protocol by it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// The kind of remote in one word, such as `local` or `s3`.
    pub kind: &'static str,
    /// The location as a user would write it, without secrets.
    pub location: String,
    /// Whether an object can be seen half-written.
    pub atomic_put: Atomicity,
    /// Who decides a race for a name.
    pub conditional_put: ConditionalPut,
    /// What a listing knows.
    pub list_consistency: ListConsistency,
    /// What survives.
    pub durability: Durability,
}

impl fmt::Display for Description {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.kind, self.location)
    }
}

/// Moves whole objects to and from one remote system.
///
/// Methods block and may be called from any number of threads. Each request ends with
/// [`ErrorClass::Cancelled`] soon after its [`Context`] does; one whose context has ended before it
/// began has no effect, while one that is cancelled under way may have had its effect. An adapter
/// does not retry on its own; it classes each failure by [`ErrorClass`] and says
/// [`ErrorClass::Ambiguous`] where it cannot know whether a put took effect.
///
/// What callers must *not* assume: that a put can be renamed, that folders exist, that a put which
/// failed left nothing behind ([`Description::atomic_put`]), that times on the remote mean anything.
/// A put of a name that another name needs as a folder (`a` beside `a/b`) may be refused with
/// [`ErrorClass::Invalid`]; to every other request such a name is an object that is not there.
pub trait Broker: Send + Sync {
    /// Stores all bytes of `source` under `name`, all or nothing, and returns once they are as
    /// durable as [`Broker::describe`] says. The source may be read several times.
    ///
    /// Fails with [`ErrorClass::Corrupt`] where the source gives another number of bytes than its
    /// `len`, and with the source's own error where it fails; then nothing is visible under the
    /// name that was not there before.
    fn put(
        &self,
        ctx: &Context,
        name: &ObjectName,
        source: &dyn Source,
        mode: PutMode,
    ) -> Result<PutOutcome, Error>;

    /// Hands exactly the bytes of `range` to `visit`, in order and in non-empty pieces, or fails;
    /// pieces handed over before a failure are good.
    ///
    /// Fails with [`ErrorClass::Missing`] where there is no such object, with
    /// [`ErrorClass::Corrupt`] where the object ends before the range does, with
    /// [`ErrorClass::Invalid`] where the range ends before it starts. An empty range within the
    /// object hands over nothing.
    fn get_range(
        &self,
        ctx: &Context,
        name: &ObjectName,
        range: Range<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error>;

    /// The whole object as it was at one moment, for small objects: one longer than `max_len`
    /// bytes fails with [`ErrorClass::Invalid`]. This default asks for the size and then for the
    /// bytes, which mixes two versions where somebody overwrites in between; an adapter that can,
    /// answers by one request.
    fn get(&self, ctx: &Context, name: &ObjectName, max_len: u64) -> Result<Vec<u8>, Error> {
        let Some(info) = self.stat(ctx, name)? else {
            return Err(Error::missing(name));
        };
        check_size(name, info.len, max_len)?;
        let mut bytes = Vec::with_capacity(usize::try_from(info.len).unwrap_or(0));
        self.get_range(ctx, name, 0..info.len, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        Ok(bytes)
    }

    /// The object's size, or `None` where there is no such object.
    fn stat(&self, ctx: &Context, name: &ObjectName) -> Result<Option<ObjectInfo>, Error>;

    /// Objects whose names begin with `prefix`, a plain string that need not end at a `/`, in name
    /// order and through all levels, after `after`, at most `limit` (at least 1, else
    /// [`ErrorClass::Invalid`]). A page may hold fewer than `limit`, even none, and still have a
    /// next one. Uploads under way are never listed.
    fn list(
        &self,
        ctx: &Context,
        prefix: &str,
        after: Option<&PageToken>,
        limit: usize,
    ) -> Result<Page, Error>;

    /// Removes the object; one that is not there is no error.
    fn delete(&self, ctx: &Context, name: &ObjectName) -> Result<(), Error>;

    /// Makes sure that objects found in place (by `stat` or `list`, perhaps written by others) are
    /// as durable as if put here. Fails with [`ErrorClass::Missing`] where one is not there. Many
    /// names at a time cost less than many calls. Remote systems that acknowledge only what is
    /// durable have nothing to do.
    fn settle(&self, ctx: &Context, names: &[ObjectName]) -> Result<(), Error> {
        let _ = (ctx, names);
        Ok(())
    }

    /// What this remote gives.
    fn describe(&self) -> Description;
}

/// Conveniences over any [`Broker`].
pub trait BrokerExt: Broker {
    /// Whether there is such an object.
    fn exists(&self, ctx: &Context, name: &ObjectName) -> Result<bool, Error> {
        Ok(self.stat(ctx, name)?.is_some())
    }

    /// [`Broker::put`] of bytes in memory.
    fn put_bytes(
        &self,
        ctx: &Context,
        name: &ObjectName,
        bytes: &[u8],
        mode: PutMode,
    ) -> Result<PutOutcome, Error> {
        self.put(ctx, name, &crate::BytesSource::from(bytes), mode)
    }

    /// [`Broker::get`], with `None` for an object that is not there.
    fn find(
        &self,
        ctx: &Context,
        name: &ObjectName,
        max_len: u64,
    ) -> Result<Option<Vec<u8>>, Error> {
        match self.get(ctx, name, max_len) {
            Ok(bytes) => Ok(Some(bytes)),
            Err(error) if error.class() == ErrorClass::Missing => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Calls `visit` for each object below `prefix`, in name order, page by page.
    fn for_each(
        &self,
        ctx: &Context,
        prefix: &str,
        visit: &mut dyn FnMut(ObjectInfo) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let mut after = None;
        loop {
            let page = self.list(ctx, prefix, after.as_ref(), LIST_ALL_PAGE)?;
            page.objects.into_iter().try_for_each(&mut *visit)?;
            match page.next {
                Some(next) if Some(&next) == after.as_ref() => {
                    let text = format!(
                        "listing of {prefix:?} does not advance past {:?}",
                        next.as_str()
                    );
                    return Err(Error::new(ErrorClass::Corrupt, text));
                }
                Some(next) => after = Some(next),
                None => return Ok(()),
            }
        }
    }

    /// All objects below `prefix`, in name order. Holds them all in memory.
    fn list_all(&self, ctx: &Context, prefix: &str) -> Result<Vec<ObjectInfo>, Error> {
        let mut objects = Vec::new();
        self.for_each(ctx, prefix, &mut |object| {
            objects.push(object);
            Ok(())
        })?;
        Ok(objects)
    }
}

impl<B: Broker + ?Sized> BrokerExt for B {}

/// Fails where an object is too long to be read whole.
pub(crate) fn check_size(name: &ObjectName, len: u64, max_len: u64) -> Result<(), Error> {
    if len <= max_len {
        return Ok(());
    }
    Err(Error::invalid(format!(
        "object {name:?} is {len} bytes long, expected at most {max_len}"
    )))
}

/// Fails where `range` is no range, or ends behind an object of `len` bytes.
pub(crate) fn check_range(name: &ObjectName, range: &Range<u64>, len: u64) -> Result<(), Error> {
    let Range { start, end } = *range;
    if start > end {
        return Err(Error::invalid(format!(
            "range {start}..{end} of object {name:?} ends before it starts"
        )));
    }
    if end > len {
        let text = format!(
            "object {name:?} is {len} bytes long, expected at least {end} for range {start}..{end}"
        );
        return Err(Error::new(ErrorClass::Corrupt, text));
    }
    Ok(())
}

/// Fails where a page could hold nothing.
pub(crate) fn check_limit(limit: usize) -> Result<(), Error> {
    if limit == 0 {
        Err(Error::invalid(
            "a page of 0 objects was asked for, expected at least 1",
        ))
    } else {
        Ok(())
    }
}

macro_rules! forward_broker {
    ($($pointer:ty),*) => {$(
        #[deny(clippy::missing_trait_methods, reason = "a pointer forwards each request")]
        impl<B: Broker + ?Sized> Broker for $pointer {
            fn put(
                &self,
                ctx: &Context,
                name: &ObjectName,
                source: &dyn Source,
                mode: PutMode,
            ) -> Result<PutOutcome, Error> {
                (**self).put(ctx, name, source, mode)
            }

            fn get_range(
                &self,
                ctx: &Context,
                name: &ObjectName,
                range: Range<u64>,
                visit: &mut Visit<'_>,
            ) -> Result<(), Error> {
                (**self).get_range(ctx, name, range, visit)
            }

            fn get(&self, ctx: &Context, name: &ObjectName, max_len: u64) -> Result<Vec<u8>, Error> {
                (**self).get(ctx, name, max_len)
            }

            fn stat(&self, ctx: &Context, name: &ObjectName) -> Result<Option<ObjectInfo>, Error> {
                (**self).stat(ctx, name)
            }

            fn list(
                &self,
                ctx: &Context,
                prefix: &str,
                after: Option<&PageToken>,
                limit: usize,
            ) -> Result<Page, Error> {
                (**self).list(ctx, prefix, after, limit)
            }

            fn delete(&self, ctx: &Context, name: &ObjectName) -> Result<(), Error> {
                (**self).delete(ctx, name)
            }

            fn settle(&self, ctx: &Context, names: &[ObjectName]) -> Result<(), Error> {
                (**self).settle(ctx, names)
            }

            fn describe(&self) -> Description {
                (**self).describe()
            }
        }
    )*};
}

forward_broker!(&B, Box<B>, std::sync::Arc<B>);
