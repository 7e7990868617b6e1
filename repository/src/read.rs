//! Reading data objects back. Owns the proof that what is received has the hashes that its name or
//! a manifest promises, and how few requests many pieces take; decides nothing about where the
//! bytes go.

use std::ops::Range;

use holdfast_broker::{Context, ErrorClass};

use crate::limits::MAX_OBJECT_LEN;
use crate::pack::{Header, MAX_HEADER_LEN, header_len};
use crate::{ContentHash, Error, ObjectEntry, ObjectKey, ObjectKind, Repository, Verifier};

/// What receives the bytes of a read, piece by piece.
pub type Visit<'a> = dyn FnMut(&[u8]) -> Result<(), holdfast_broker::Error> + 'a;

/// Pieces of one object that lie no further apart than this are fetched by one request; the bytes
/// between are dropped.
const READ_OVER: u64 = 64 << 10;

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
    /// Hands a range of an object's bytes to `visit`, unproved: see [`Verifier`] and
    /// [`Repository::read_pieces`].
    ///
    /// # Errors
    /// [`ErrorKind::NotFound`](crate::ErrorKind::NotFound),
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) where the object is shorter, else the remote's
    /// failure or the error of `visit`.
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

    /// Reads pieces of one object, proves each by its hash, and uses as few requests as their
    /// places allow. The pieces come in the order of their offsets and do not overlap.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) at the first piece that does not hash as it
    /// should; it names object and piece. Otherwise as [`Repository::read_object`].
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
                let mut prover = PackProver::new(entry);
                let read = self.read_object(ctx, key, 0..*len, &mut |bytes| prover.take(bytes));
                prover.finish(read)
            }
        }
    }

    /// Reads a pack's header and proves it by the pack's name and length.
    ///
    /// # Errors
    /// [`ErrorKind::Damaged`](crate::ErrorKind::Damaged) where it is not the header that the name
    /// promises, else as [`Repository::read_object`].
    pub fn pack_header(&self, ctx: &Context, entry: &ObjectEntry) -> Result<Header, Error> {
        let ObjectEntry { key, len } = entry;
        if key.kind() != ObjectKind::Pack {
            return Err(Error::invalid(format!("object {key} is no pack")));
        }
        let fixed = header_len(0).min(*len);
        let mut bytes = Vec::new();
        self.read_object(ctx, key, 0..fixed, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        let count = Header::decode_count(&bytes)
            .map_err(|error| error.context(format_args!("object {key}")))?;
        self.pack_header_within(ctx, entry, header_len(count))
    }

    /// The same by one request, where it is known that the header ends within the first `reach`
    /// bytes.
    pub(crate) fn pack_header_within(
        &self,
        ctx: &Context,
        entry: &ObjectEntry,
        reach: u64,
    ) -> Result<Header, Error> {
        let ObjectEntry { key, len } = entry;
        let mut bytes = Vec::new();
        let range = 0..reach.min(*len).min(MAX_HEADER_LEN);
        self.read_object(ctx, key, range, &mut |piece| {
            bytes.extend_from_slice(piece);
            Ok(())
        })?;
        decode_header(entry, &bytes)
    }
}

/// Reads the header of an object of this name and length.
fn decode_header(entry: &ObjectEntry, bytes: &[u8]) -> Result<Header, Error> {
    let ObjectEntry { key, len } = entry;
    let decoded = Header::decode(key, bytes).and_then(|header| {
        let expected = header.object_len();
        match expected == *len {
            true => Ok(header),
            false => Err(Error::damaged(format!(
                "it has {len} bytes, expected {expected}"
            ))),
        }
    });
    decoded.map_err(|error| error.context(format_args!("object {key}")))
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

/// Judges a pack as its bytes pass by, header first.
struct PackProver<'a> {
    entry: &'a ObjectEntry,
    /// The bytes so far, until they hold the whole header.
    start: Vec<u8>,
    header: Option<Header>,
    /// The member that the next byte belongs to.
    next: usize,
    verifier: Option<Verifier>,
    bad: Vec<(u64, ContentHash)>,
    damage: Option<Error>,
}

impl<'a> PackProver<'a> {
    fn new(entry: &'a ObjectEntry) -> Self {
        PackProver {
            entry,
            start: Vec::new(),
            header: None,
            next: 0,
            verifier: None,
            bad: Vec::new(),
            damage: None,
        }
    }

    fn take(&mut self, bytes: &[u8]) -> Result<(), holdfast_broker::Error> {
        if self.header.is_some() {
            self.members(bytes);
            return Ok(());
        }
        // The header is short, and what follows it in this piece is looked at once.
        self.start.extend_from_slice(bytes);
        if self.start.len() as u64 <= header_len(0) {
            return Ok(());
        }
        let decoded = match Header::decode_count(&self.start) {
            Ok(count) if (self.start.len() as u64) < header_len(count) => return Ok(()),
            _ => decode_header(self.entry, &self.start),
        };
        match decoded {
            Ok(header) => {
                let start = std::mem::take(&mut self.start);
                let (_, rest) = split(&start, header.len());
                self.header = Some(header);
                self.members(rest);
                Ok(())
            }
            Err(error) => {
                let told = holdfast_broker::Error::new(ErrorClass::Corrupt, error.to_string());
                self.damage = Some(error);
                Err(told)
            }
        }
    }

    fn members(&mut self, mut bytes: &[u8]) {
        let members = self.header.as_ref().map_or(&[][..], Header::members);
        while let Some(member) = members.get(self.next)
            && !bytes.is_empty()
        {
            let verifier = self
                .verifier
                .get_or_insert_with(|| Verifier::new(member.hash, member.len));
            let (own, rest) = split(bytes, verifier.missing());
            verifier.update(own);
            bytes = rest;
            if verifier.missing() == 0 {
                let found = verifier.found();
                if found != member.hash {
                    self.bad.push((member.offset, found));
                }
                self.verifier = None;
                self.next += 1;
            }
        }
    }

    fn finish(self, read: Result<(), Error>) -> Result<ObjectProof, Error> {
        if let Some(damage) = self.damage {
            return Err(damage);
        }
        read?;
        if self.header.is_none() {
            // Too short for what it says of itself; decoding says so.
            decode_header(self.entry, &self.start)?;
        }
        Ok(ObjectProof {
            header: self.header,
            bad: self.bad,
        })
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
