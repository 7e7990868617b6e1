//! Writing data objects as planned and reading them back. Owns the proof that what is sent and what is received has the
//! planned hashes; decides nothing about which objects there are.

use std::ops::Range;

use holdfast_broker::{Context, ErrorClass, PutMode, PutOutcome, Source};
use parking_lot::Mutex;

use crate::limits::MAX_OBJECT_LEN;
use crate::pack::{Header, Member};
use crate::plan::{FileNo, ObjectPlan, PlannedContent};
use crate::{
    Condemned, ContentHash, Error, ErrorKind, MemberFault, ObjectEntry, ObjectKey, ObjectKind,
    Presence, Repository, Verifier,
};

/// What receives the bytes of a read, piece by piece.
pub type Visit<'a> = dyn FnMut(&[u8]) -> Result<(), holdfast_broker::Error> + 'a;

/// Pieces of one object that lie no further apart than this are fetched by one request; the bytes between are dropped.
const READ_OVER: u64 = 64 << 10;

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

/// A run of bytes within an object and the hash it must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WantedPiece {
    /// Where it begins within the object.
    pub offset: u64,
    /// How many bytes it has, at least 1.
    pub len: u64,
    /// Their hash.
    pub hash: ContentHash,
}

/// What [`Repository::read_pieces`] reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PieceEvent<'a> {
    /// The next bytes of a piece, not proved yet.
    Bytes {
        /// Which of the wanted pieces.
        index: usize,
        /// The bytes.
        bytes: &'a [u8],
    },
    /// All bytes of a piece have been handed over, and hash as they should.
    Proved {
        /// Which of the wanted pieces.
        index: usize,
    },
}

impl Repository {
    /// What is condemned at this moment.
    ///
    /// # Errors
    /// Where a list cannot be read; then nothing may be taken for present.
    pub fn condemned(&self, ctx: &Context) -> Result<Condemned, Error> {
        self.read_condemned(ctx)
    }

    /// Lists the data objects. What is condemned is read *first*: a list that is gone by then has done its deletions, and
    /// the listing that follows shows them.
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

    /// Writes one planned object. Every byte is hashed once on its way and compared with the plan; an object of which a
    /// member disagrees does not become visible. What is already there in full is left alone.
    ///
    /// # Errors
    /// [`ErrorKind::MemberMismatch`] and [`ErrorKind::MemberUnreadable`] put the blame on the source and name the member
    /// ([`Error::member`]); [`ErrorKind::Invalid`] for a plan that contradicts itself; else the remote's failure.
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
                // What is there is torn or of the wrong size; under this name only these bytes are right.
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

    /// Whether a planned object is there in full: its size is compared, and where puts are not atomic, its bytes are read
    /// back and hashed.
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
        if !self.may_tear() {
            return Ok(true);
        }
        match self.prove_object(ctx, &plan.entry()) {
            Ok(proof) => Ok(proof.is_good()),
            Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::Damaged) => {
                Ok(false)
            }
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

    /// Hands a range of an object's bytes to `visit`, unproved: see [`Verifier`] and [`Repository::read_pieces`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`], [`ErrorKind::Damaged`] where the object is shorter, else the remote's failure or the
    /// error of `visit`.
    pub fn read_object(
        &self,
        ctx: &Context,
        key: &ObjectKey,
        range: Range<u64>,
        visit: &mut Visit<'_>,
    ) -> Result<(), Error> {
        let name = self.name(key)?;
        self.broker()
            .get_range(ctx, &name, range, visit)
            .map_err(|cause| Error::remote(format!("reading {name}"), cause))
    }

    /// Reads pieces of one object, proves each by its hash, and uses as few requests as their places allow. The pieces
    /// come in the order of their offsets and do not overlap.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] at the first piece that does not hash as it should; it names object and piece. Otherwise as
    /// [`Repository::read_object`].
    pub fn read_pieces(
        &self,
        ctx: &Context,
        key: &ObjectKey,
        pieces: &[WantedPiece],
        visit: &mut dyn FnMut(PieceEvent<'_>) -> Result<(), holdfast_broker::Error>,
    ) -> Result<(), Error> {
        let mut ends = Vec::with_capacity(pieces.len());
        let mut last = 0;
        for piece in pieces {
            match piece.offset.checked_add(piece.len) {
                Some(end) if piece.offset >= last && piece.len > 0 && end <= MAX_OBJECT_LEN => {
                    ends.push(end);
                    last = end;
                }
                _ => {
                    return Err(Error::invalid(format!(
                        "a piece of {} bytes at {} of {key} after one that ends at {last}",
                        piece.len, piece.offset
                    )));
                }
            }
        }
        let mut first = 0;
        while first < pieces.len() {
            let mut next = first + 1;
            while next < pieces.len() && pieces[next].offset - ends[next - 1] <= READ_OVER {
                next += 1;
            }
            let mut run = Run::new(key, first, &pieces[first..next]);
            let range = pieces[first].offset..ends[next - 1];
            let read = self.read_object(ctx, key, range, &mut |bytes| run.take(bytes, visit));
            if let Some(damage) = run.damage {
                return Err(damage);
            }
            read?;
            first = next;
        }
        Ok(())
    }

    /// Reads a whole object and judges all of its bytes.
    pub(crate) fn prove_object(
        &self,
        ctx: &Context,
        entry: &ObjectEntry,
    ) -> Result<ObjectProof, Error> {
        let ObjectEntry { key, len } = entry;
        match key.kind() {
            ObjectKind::Whole => {
                let mut verifier = Verifier::new(*key.hash(), *len);
                self.read_object(ctx, key, 0..*len, &mut |bytes| {
                    verifier.update(bytes);
                    Ok(())
                })?;
                verifier
                    .finish()
                    .map_err(|error| error.context(format_args!("object {key}")))?;
                Ok(ObjectProof::default())
            }
            ObjectKind::Pack => {
                let header = self.pack_header(ctx, entry)?;
                let mut proof = ObjectProof::default();
                let mut members = Members::new(header.members());
                self.read_object(ctx, key, header.len()..*len, &mut |bytes| {
                    members.take(bytes, &mut proof);
                    Ok(())
                })?;
                proof.header = Some(header);
                Ok(proof)
            }
        }
    }

    /// Reads a pack's header and proves it by the pack's name and length.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`] where it is not the header that the name promises, else as [`Repository::read_object`].
    pub fn pack_header(&self, ctx: &Context, entry: &ObjectEntry) -> Result<Header, Error> {
        let ObjectEntry { key, len } = entry;
        if key.kind() != ObjectKind::Pack {
            return Err(Error::invalid(format!("object {key} is no pack")));
        }
        let mut bytes = Vec::new();
        let mut take = |piece: &[u8]| {
            bytes.extend_from_slice(piece);
            Ok(())
        };
        let fixed = crate::pack::header_len(0).min(*len);
        self.read_object(ctx, key, 0..fixed, &mut take)?;
        let decoded = Header::decode_count(&bytes).and_then(|count| {
            let end = crate::pack::header_len(count).min(*len);
            let mut take = |piece: &[u8]| {
                bytes.extend_from_slice(piece);
                Ok(())
            };
            self.read_object(ctx, key, fixed..end, &mut take)?;
            Header::decode(key, &bytes)
        });
        let header = decoded.map_err(|error| error.context(format_args!("object {key}")))?;
        if header.object_len() != *len {
            return Err(Error::damaged(format!(
                "object {key} has {len} bytes, expected {}",
                header.object_len()
            )));
        }
        Ok(header)
    }
}

/// What reading all of an object has shown.
#[derive(Debug, Clone, Default)]
pub(crate) struct ObjectProof {
    /// A pack's header.
    pub(crate) header: Option<Header>,
    /// Members of a pack whose bytes do not hash as they should: offset and what was found.
    pub(crate) bad: Vec<(u64, ContentHash)>,
}

impl ObjectProof {
    pub(crate) fn is_good(&self) -> bool {
        self.bad.is_empty()
    }
}

/// Hashes a pack's members as their bytes pass by.
struct Members<'a> {
    left: std::slice::Iter<'a, Member>,
    now: Option<(Member, Verifier)>,
}

impl<'a> Members<'a> {
    fn new(members: &'a [Member]) -> Self {
        Members {
            left: members.iter(),
            now: None,
        }
    }

    fn take(&mut self, mut bytes: &[u8], proof: &mut ObjectProof) {
        while !bytes.is_empty() {
            if self.now.is_none() {
                let next = self.left.next();
                self.now = next.map(|member| (*member, Verifier::new(member.hash, member.len)));
            }
            let Some((member, verifier)) = &mut self.now else {
                return;
            };
            let (own, rest) = split(bytes, verifier.missing());
            verifier.update(own);
            bytes = rest;
            if verifier.missing() == 0 {
                let found = verifier.found();
                if found != member.hash {
                    proof.bad.push((member.offset, found));
                }
                self.now = None;
            }
        }
    }
}

fn split(bytes: &[u8], at: u64) -> (&[u8], &[u8]) {
    let at = usize::try_from(at).unwrap_or(usize::MAX).min(bytes.len());
    bytes.split_at(at)
}

/// Hands the bytes of one request to the pieces that it covers.
struct Run<'a> {
    key: &'a ObjectKey,
    first: usize,
    pieces: &'a [WantedPiece],
    /// The piece that the next byte belongs to or comes before.
    current: usize,
    at: u64,
    verifier: Option<Verifier>,
    damage: Option<Error>,
}

impl<'a> Run<'a> {
    fn new(key: &'a ObjectKey, first: usize, pieces: &'a [WantedPiece]) -> Self {
        Run {
            key,
            first,
            pieces,
            current: 0,
            at: pieces.first().map_or(0, |piece| piece.offset),
            verifier: None,
            damage: None,
        }
    }

    fn take(
        &mut self,
        mut bytes: &[u8],
        visit: &mut dyn FnMut(PieceEvent<'_>) -> Result<(), holdfast_broker::Error>,
    ) -> Result<(), holdfast_broker::Error> {
        while let Some(piece) = self.pieces.get(self.current)
            && !bytes.is_empty()
        {
            let (_, rest) = split(bytes, piece.offset.saturating_sub(self.at));
            self.at += (bytes.len() - rest.len()) as u64;
            if rest.is_empty() {
                return Ok(());
            }
            let index = self.first + self.current;
            let verifier = self
                .verifier
                .get_or_insert_with(|| Verifier::new(piece.hash, piece.len));
            let (own, rest) = split(rest, verifier.missing());
            verifier.update(own);
            self.at += own.len() as u64;
            bytes = rest;
            visit(PieceEvent::Bytes { index, bytes: own })?;
            if verifier.missing() > 0 {
                continue;
            }
            if let Err(error) = verifier.finish() {
                let text = format!("{} bytes at {} of {}", piece.len, piece.offset, self.key);
                self.damage = Some(error.context(&text));
                return Err(holdfast_broker::Error::new(ErrorClass::Corrupt, text));
            }
            self.verifier = None;
            self.current += 1;
            visit(PieceEvent::Proved { index })?;
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
