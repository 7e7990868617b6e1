//! Writing data objects as planned. Owns the proof that what is sent has the planned hashes, and
//! the answer to what is there; decides nothing about which objects there are to be.

use holdfast_broker::{Context, ErrorClass, PutMode, PutOutcome, Source};
use parking_lot::Mutex;

use crate::limits::MAX_OBJECT_LEN;
use crate::pack::Header;
use crate::plan::{FileNo, ObjectPlan, PlannedContent};
use crate::{
    Condemned, ContentHash, Error, ErrorKind, MemberFault, ObjectEntry, ObjectKey, ObjectKind,
    Presence, Repository, Verifier, Visit,
};

/// Which bytes of which file a member of an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberRead {
    /// Index of the member within the object; 0 for an object that is one file or segment.
    pub index: u32,
    /// Which file of the plan.
    pub file: FileNo,
    /// Where the bytes begin within the file.
    pub offset: u64,
    /// How many there are.
    pub len: u64,
}

/// Where the bytes of planned files come from. Read again where a put is retried.
pub trait MemberSource: Send + Sync {
    /// Hands exactly the bytes of `member` to `visit`, in order.
    ///
    /// # Errors
    /// Where they cannot be read; an error from `visit` is returned unchanged.
    fn read(
        &self,
        member: &MemberRead,
        visit: &mut Visit<'_>,
    ) -> Result<(), holdfast_broker::Error>;
}

/// How an object's put ended. The object is whole and durable either way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Put {
    /// Whether this put made it. `Exists` also where that cannot be known.
    pub outcome: PutOutcome,
    /// How many bytes were stored by this put; 0 where nothing had to be.
    pub bytes: u64,
}

impl Repository {
    /// What is condemned at this moment.
    ///
    /// # Errors
    /// Where a list cannot be read; then nothing may be taken for present.
    pub fn condemned(&self, ctx: &Context) -> Result<Condemned, Error> {
        self.read_condemned(ctx)
    }

    /// Lists the data objects. What is condemned is read *first*: a list that is gone by then has
    /// done its deletions, and the listing that follows shows them.
    ///
    /// # Errors
    /// Where listing or reading fails.
    pub fn presence(&self, ctx: &Context) -> Result<Presence, Error> {
        let condemned = self.read_condemned(ctx)?;
        let mut presence = Presence::new([], condemned);
        self.each_object(ctx, &mut |entry| presence.push(entry))?;
        presence.seal();
        Ok(presence)
    }

    pub(crate) fn each_object(
        &self,
        ctx: &Context,
        visit: &mut dyn FnMut(ObjectEntry),
    ) -> Result<(), Error> {
        for kind in [ObjectKind::Whole, ObjectKind::Pack] {
            self.each(ctx, &format!("{}/", kind.folder()), &mut |path, len| {
                if let Ok(key) = ObjectKey::parse(path) {
                    visit(ObjectEntry { key, len });
                }
            })?;
        }
        Ok(())
    }

    /// Writes one planned object. Every byte is hashed once on its way and compared with the plan;
    /// an object of which a member disagrees does not become visible. What is already there in
    /// full is left alone.
    ///
    /// # Errors
    /// [`ErrorKind::MemberMismatch`] and [`ErrorKind::MemberUnreadable`] put the blame on the
    /// source and name the member ([`Error::member`]); [`ErrorKind::Invalid`] for a plan that
    /// contradicts itself; else the remote's failure.
    pub fn put_object(
        &self,
        ctx: &Context,
        plan: &ObjectPlan,
        members: &dyn MemberSource,
    ) -> Result<Put, Error> {
        self.writable()?;
        let source = ObjectSource::new(plan, members)?;
        match self.send(ctx, plan, &source, PutMode::CreateIfAbsent) {
            Ok(PutOutcome::Created) => Ok(Put {
                outcome: PutOutcome::Created,
                bytes: plan.len,
            }),
            Ok(PutOutcome::Exists) if self.has(ctx, plan)? => Ok(Put {
                outcome: PutOutcome::Exists,
                bytes: 0,
            }),
            Ok(PutOutcome::Exists) => {
                // What is there is torn or of the wrong size; under this name only these bytes are
                // right.
                self.send(ctx, plan, &source, PutMode::Overwrite)?;
                Ok(Put {
                    outcome: PutOutcome::Exists,
                    bytes: plan.len,
                })
            }
            Err(error) if error.kind() == ErrorKind::Remote(ErrorClass::Ambiguous) => {
                match self.has(ctx, plan) {
                    Ok(true) => Ok(Put {
                        outcome: PutOutcome::Exists,
                        bytes: plan.len,
                    }),
                    _ => Err(error),
                }
            }
            Err(error) => Err(error),
        }
    }

    fn send(
        &self,
        ctx: &Context,
        plan: &ObjectPlan,
        source: &ObjectSource<'_>,
        mode: PutMode,
    ) -> Result<PutOutcome, Error> {
        let name = self.name(plan.key)?;
        self.broker()
            .put(ctx, &name, source, mode)
            .map_err(|cause| {
                source
                    .blame()
                    .unwrap_or_else(|| Error::remote(format!("writing {name}"), cause))
            })
    }

    /// Whether a planned object is there in full: its size is compared, and where puts are not
    /// atomic, its bytes are read back and hashed. One that is there is made durable, as if just
    /// put, since a put that was cut off may have left it visible and no more; a read-only
    /// repository only looks.
    ///
    /// # Errors
    /// The remote's failure; an object that is not as planned is no error.
    pub fn has(&self, ctx: &Context, plan: &ObjectPlan) -> Result<bool, Error> {
        let name = self.name(plan.key)?;
        let stat = self.broker().stat(ctx, &name);
        let found = stat.map_err(|cause| Error::remote(format!("looking for {name}"), cause))?;
        if found.is_none_or(|info| info.len != plan.len) {
            return Ok(false);
        }
        let gone = |kind| matches!(kind, ErrorKind::NotFound | ErrorKind::Damaged);
        if self.may_tear() {
            match self.prove_object(ctx, &plan.entry()) {
                Ok(proof) if proof.is_good() => {}
                Ok(_) => return Ok(false),
                Err(error) if gone(error.kind()) => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        if self.is_read_only() {
            return Ok(true);
        }
        match self.settle_reused(ctx, &[plan.key]) {
            Ok(()) => Ok(true),
            Err(error) if gone(error.kind()) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Makes sure that objects found in place are durable; part of the commit, before the marker.
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`] where one is gone, else the remote's failure.
    pub fn settle_reused(&self, ctx: &Context, keys: &[ObjectKey]) -> Result<(), Error> {
        self.writable()?;
        for some in keys.chunks(1000) {
            let names = some.iter().map(|key| self.name(key));
            let names = names.collect::<Result<Vec<_>, _>>()?;
            self.broker()
                .settle(ctx, &names)
                .map_err(|cause| Error::remote("settling reused objects", cause))?;
        }
        Ok(())
    }
}

/// A planned object's bytes, proved while they are read.
struct ObjectSource<'a> {
    plan: &'a ObjectPlan,
    members: &'a dyn MemberSource,
    header: Vec<u8>,
    fault: Mutex<Option<Error>>,
}

impl<'a> ObjectSource<'a> {
    fn new(plan: &'a ObjectPlan, members: &'a dyn MemberSource) -> Result<Self, Error> {
        let (kind, header) = match &plan.content {
            PlannedContent::Whole { .. } => (ObjectKind::Whole, None),
            PlannedContent::Pack { members } => {
                let header = Header::new(members.iter().map(|member| (member.hash, member.len)))?;
                (ObjectKind::Pack, Some(header))
            }
        };
        let agrees = header.as_ref().is_none_or(|header| {
            header.object_len() == plan.len && header.key().hash() == plan.key.hash()
        });
        if kind != plan.key.kind() || !agrees || !(1..=MAX_OBJECT_LEN).contains(&plan.len) {
            return Err(Error::invalid(format!(
                "the plan of object {} with {} bytes does not agree with its content",
                plan.key, plan.len
            )));
        }
        Ok(ObjectSource {
            plan,
            members,
            header: header.map(|header| header.encode()).unwrap_or_default(),
            fault: Mutex::new(None),
        })
    }

    /// Why the source failed, where it was the source.
    fn blame(&self) -> Option<Error> {
        self.fault.lock().take()
    }

    fn member(
        &self,
        member: &MemberRead,
        expected: ContentHash,
        visit: &mut Visit<'_>,
    ) -> Result<(), holdfast_broker::Error> {
        let mut verifier = Verifier::new(expected, member.len);
        let mut refused = false;
        let mut over = false;
        let read = self.members.read(member, &mut |bytes| {
            if bytes.len() as u64 > verifier.missing() {
                over = true;
                return Err(holdfast_broker::Error::new(
                    ErrorClass::Corrupt,
                    "more bytes than planned",
                ));
            }
            verifier.update(bytes);
            visit(bytes).inspect_err(|_| refused = true)
        });
        let key = &self.plan.key;
        let index = member.index;
        let fault = |found| MemberFault {
            index,
            found,
            expected,
        };
        let error = match read {
            Err(cause) if refused || (!over && cause.class() == ErrorClass::Cancelled) => {
                return Err(cause);
            }
            Err(cause) if !over => {
                let text = format!("member {index} of {key} cannot be read");
                Error::new(ErrorKind::MemberUnreadable, text)
                    .with_member(fault(None))
                    .with_source(cause)
            }
            _ if over || verifier.missing() > 0 => {
                let seen = if over { "more than" } else { "fewer than" };
                let text = format!(
                    "member {index} of {key} has {seen} the {} planned bytes",
                    member.len
                );
                Error::new(ErrorKind::MemberMismatch, text).with_member(fault(None))
            }
            _ => {
                let found = verifier.found();
                if found == expected {
                    return Ok(());
                }
                let text =
                    format!("member {index} of {key} hashes to {found}, expected {expected}");
                Error::new(ErrorKind::MemberMismatch, text).with_member(fault(Some(found)))
            }
        };
        let told = holdfast_broker::Error::new(ErrorClass::Corrupt, error.to_string());
        *self.fault.lock() = Some(error);
        Err(told)
    }
}

impl Source for ObjectSource<'_> {
    fn len(&self) -> u64 {
        self.plan.len
    }

    fn read(&self, visit: &mut Visit<'_>) -> Result<(), holdfast_broker::Error> {
        *self.fault.lock() = None;
        match &self.plan.content {
            PlannedContent::Whole { file, segment } => {
                let member = MemberRead {
                    index: 0,
                    file: *file,
                    offset: u64::from(*segment) * MAX_OBJECT_LEN,
                    len: self.plan.len,
                };
                self.member(&member, *self.plan.key.hash(), visit)
            }
            PlannedContent::Pack { members } => {
                visit(&self.header)?;
                for (planned, index) in members.iter().zip(0_u32..) {
                    let member = MemberRead {
                        index,
                        file: planned.file,
                        offset: 0,
                        len: planned.len,
                    };
                    self.member(&member, planned.hash, visit)?;
                }
                Ok(())
            }
        }
    }
}
