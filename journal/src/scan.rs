//! The one pass over a log that opening makes: finds its good prefix and says what lies behind.
//!
//! It changes nothing; cutting is the writer's. The rule for a flaw: pages of one unsynced batch
//! reach the disk in any order, so a bad frame may have good ones behind it. If one of those was
//! written when the bad one had been acknowledged (`synced_through`), it is damage; otherwise
//! nobody was ever told of it, and it may be cut.

use std::{collections::VecDeque, io};

use crate::{
    anchor::{self, ANCHOR, Anchor, AnchorFlaw},
    cases::OpenCase,
    disk::{Disk, DiskFile, read_all},
    error::{Error, Place},
    frame::{self, Flaw, Head},
    ids::{FrameHash, Kind, Seq},
    segment::{self, HeaderFlaw, Segment},
    transaction::Tip,
    window::{self, Found, Window},
};

/// What a journal of this owner must look like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected {
    pub(crate) family: u32,
    pub(crate) kinds: &'static [(u16, &'static str)],
}

/// What is to be cut off the end of the last segment.
#[derive(Clone, Debug)]
pub(crate) struct Cut {
    pub(crate) segment: String,
    /// Bytes to keep; `None` removes the file.
    pub(crate) keep: Option<u64>,
    pub(crate) bytes: u64,
}

/// The good prefix of a log.
#[derive(Debug)]
pub(crate) struct Scan {
    /// What stands before its first record, where leading segments were archived.
    pub(crate) anchor: Option<Anchor>,
    /// The record before its first.
    pub(crate) base: Tip,
    /// Segments that were archived and are still there: names and first records.
    pub(crate) leftover: Vec<(String, Seq)>,
    pub(crate) segments: Vec<Segment>,
    pub(crate) tip: Tip,
    /// Bytes of the last segment that hold whole transactions.
    pub(crate) end: u64,
    /// Bytes of the last segment that may not be durable start here.
    pub(crate) unsynced_from: u64,
    pub(crate) case: OpenCase,
    pub(crate) cut: Option<Cut>,
    /// Why a writer must refuse; the prefix before it is still readable.
    pub(crate) damage: Option<Error>,
}

/// Hears of each frame of the log in order; some of the last may be cut off afterwards.
pub(crate) type Witness<'a> = dyn FnMut(&Head) + 'a;

struct Scanner<'a> {
    disk: &'a dyn Disk,
    expected: Expected,
    anchor: Option<Anchor>,
    base: Tip,
    leftover: Vec<(String, Seq)>,
    segments: Vec<Segment>,
    /// After the last whole transaction.
    tip: Tip,
    /// After the last good frame.
    ahead: Tip,
    /// Highest `synced_through` of all whole frames seen.
    synced_through: Seq,
    /// End of the last whole transaction in the segment at hand.
    end: u64,
    unsynced_from: u64,
    /// Ends of the transactions of the segment that the newest `synced_through` does not cover.
    recent: VecDeque<(Seq, u64)>,
}

/// What one segment held.
enum Held {
    /// Whole transactions and nothing else.
    Whole,
    /// Something else from `end` on.
    Flawed {
        flaw: Option<Flaw>,
        chain: bool,
        offset: u64,
    },
}

/// Scans the log on `disk`.
///
/// # Errors
/// `Io`; `Foreign` and `NewerFormat` for what this program must not interpret.
pub(crate) fn scan(
    disk: &dyn Disk,
    expected: Expected,
    witness: &mut Witness<'_>,
) -> Result<Scan, Error> {
    let names = disk
        .list()
        .map_err(|e| Error::io("list", "the journal folder", &e))?;
    let firsts = names.iter().filter_map(|name| segment::first_of(name));
    let genesis = Tip {
        seq: Seq::ZERO,
        hash: FrameHash::genesis(expected.family),
    };
    let (anchor, wrong) = match anchored(disk, expected.family)? {
        Ok(anchor) => (anchor, None),
        Err(case) => (None, Some(case)),
    };
    let base = anchor.as_ref().map_or(genesis, |anchor| anchor.tip);
    let (leftover, firsts): (Vec<Seq>, Vec<Seq>) = firsts.partition(|first| *first <= base.seq);
    let leftover = leftover
        .into_iter()
        .map(|first| (segment::name(first), first));
    let mut scanner = Scanner {
        disk,
        expected,
        anchor,
        base,
        leftover: leftover.collect(),
        segments: Vec::new(),
        tip: base,
        ahead: base,
        synced_through: Seq::ZERO,
        end: 0,
        unsynced_from: 0,
        recent: VecDeque::new(),
    };
    if let Some(case) = wrong {
        let (case, cut, damage) = scanner.refuse(case, ANCHOR, 0);
        return Ok(scanner.finish(case, cut, damage));
    }
    if let (Some(_), true) = (&scanner.anchor, firsts.is_empty()) {
        let case = OpenCase::LostTail {
            witness: format!("the file {ANCHOR}"),
            seen: base.seq,
            end: Seq::ZERO,
            lost: base.seq.next(),
        };
        let (case, cut, damage) = scanner.refuse(case, ANCHOR, 0);
        return Ok(scanner.finish(case, cut, damage));
    }
    for (i, first) in firsts.iter().enumerate() {
        let last = i + 1 == firsts.len();
        if let Some((case, cut, damage)) = scanner.segment(*first, last, witness)? {
            return Ok(scanner.finish(case, cut, damage));
        }
    }
    let case = if scanner.segments.is_empty() {
        OpenCase::Empty
    } else {
        OpenCase::Clean
    };
    Ok(scanner.finish(case, None, None))
}

/// Refuses a folder of another family before anything in it is touched.
///
/// # Errors
/// `Io`, `Foreign`, `NewerFormat`.
pub(crate) fn probe(disk: &dyn Disk, expected: Expected) -> Result<(), Error> {
    let names = disk
        .list()
        .map_err(|e| Error::io("list", "the journal folder", &e))?;
    let Some(name) = names.iter().find(|name| segment::first_of(name).is_some()) else {
        return Ok(());
    };
    let failed = |e: &io::Error| Error::io("read", name, e);
    let file = disk.open(name).map_err(|e| failed(&e))?;
    let mut start = [0; segment::HEADER_BYTES];
    let read = file.read_at(0, &mut start).map_err(|e| failed(&e))?;
    match segment::decode(&start[..read]) {
        Ok((header, _)) if header.family != expected.family => {
            let (found, expected) = (header.family, expected.family);
            Err(OpenCase::Foreign { found, expected }.refusal())
        }
        Err(HeaderFlaw::Format(found)) => {
            let what = format!("segment format {found}, expected {}", segment::FORMAT);
            Err(OpenCase::NewerFormat { what }.refusal())
        }
        _ => Ok(()),
    }
}

/// The anchor of a folder, or why it is none that can be used.
fn anchored(disk: &dyn Disk, family: u32) -> Result<Result<Option<Anchor>, OpenCase>, Error> {
    let found = anchor::read(disk).map_err(|e| Error::io("read", ANCHOR, &e))?;
    match found {
        None => Ok(Ok(None)),
        Some(Ok(anchor)) if anchor.family == family => Ok(Ok(Some(anchor))),
        Some(Ok(anchor)) => {
            let (found, expected) = (anchor.family, family);
            Err(OpenCase::Foreign { found, expected }.refusal())
        }
        Some(Err(AnchorFlaw::Format(found))) => {
            let what = format!("anchor format {found}, expected {}", anchor::FORMAT);
            Err(OpenCase::NewerFormat { what }.refusal())
        }
        Some(Err(AnchorFlaw::Unreadable(why))) => {
            let flaw = format!("the file {ANCHOR} is unreadable: {why}");
            Ok(Err(OpenCase::AnchorWrong { flaw }))
        }
    }
}

type Ending = (OpenCase, Option<Cut>, Option<Error>);

impl Scanner<'_> {
    fn finish(mut self, case: OpenCase, cut: Option<Cut>, damage: Option<Error>) -> Scan {
        if let Some(segment) = self.segments.last_mut() {
            segment.forget_from(self.end);
        }
        Scan {
            anchor: self.anchor,
            base: self.base,
            leftover: self.leftover,
            segments: self.segments,
            tip: self.tip,
            end: self.end,
            unsynced_from: self.unsynced_from,
            case,
            cut,
            damage,
        }
    }

    /// Reads one segment; `Some` ends the scan.
    fn segment(
        &mut self,
        first: Seq,
        last: bool,
        witness: &mut Witness<'_>,
    ) -> Result<Option<Ending>, Error> {
        let name = segment::name(first);
        let failed = |e: &io::Error| Error::io("read", &name, e);
        let file = self.disk.open(&name).map_err(|e| failed(&e))?;
        let mut start = [0; segment::HEADER_BYTES];
        let read = file.read_at(0, &mut start).map_err(|e| failed(&e))?;
        let (header, seed) = match segment::decode(&start[..read]) {
            Ok(found) => found,
            Err(flaw) => return self.bad_header(&name, &*file, flaw, last).map(Some),
        };
        if header.family != self.expected.family {
            let (found, expected) = (header.family, self.expected.family);
            return Err(OpenCase::Foreign { found, expected }.refusal());
        }
        let expected = self.tip.seq.next();
        let begins = self.segments.is_empty();
        if begins && self.anchor.is_none() && first > expected && header.first == first {
            let case = OpenCase::AnchorMissing { found: first };
            return Ok(Some(self.refuse(case, &name, 0)));
        }
        if header.first != first {
            let said = header.first;
            let flaw = format!("its name says sequence {first}, its header {said}");
            return Ok(Some(self.refuse(OpenCase::Damage { flaw }, &name, 0)));
        }
        if first != expected {
            let case = OpenCase::MissingSegment {
                before: self.segments.last().map(|segment| segment.name.clone()),
                expected,
                found: first,
            };
            return Ok(Some(self.refuse(case, &name, 0)));
        }
        if header.prev != self.tip.hash && begins && self.anchor.is_some() {
            let flaw = format!("the file {ANCHOR} and segment {name} are of two histories");
            return Ok(Some(self.refuse(OpenCase::AnchorWrong { flaw }, &name, 0)));
        }
        if header.prev != self.tip.hash {
            let flaw = "the segment does not continue the one before".to_owned();
            return Ok(Some(self.refuse(OpenCase::Damage { flaw }, &name, 0)));
        }
        self.segments.push(Segment::new(&header, seed));
        self.end = segment::HEADER_BYTES as u64;
        self.unsynced_from = self.end;
        self.recent.clear();
        match self.frames(&name, &*file, seed, witness)? {
            Held::Whole => Ok(None),
            Held::Flawed {
                flaw,
                chain,
                offset,
            } => self
                .judge(&name, &*file, seed, last, flaw, chain, offset)
                .map(Some),
        }
    }

    /// Passes over the frames of a segment until its end or the first flaw.
    fn frames(
        &mut self,
        name: &str,
        file: &dyn DiskFile,
        seed: u32,
        witness: &mut Witness<'_>,
    ) -> Result<Held, Error> {
        let mut window = Window::new(file, self.end);
        loop {
            let offset = window.offset();
            let found = match window.next(seed).map_err(|e| Error::io("read", name, &e))? {
                Ok(Some(found)) => found,
                Ok(None) if self.ahead.seq == self.tip.seq => return Ok(Held::Whole),
                Ok(None) => {
                    return Ok(Held::Flawed {
                        flaw: None,
                        chain: false,
                        offset,
                    });
                }
                Err(flaw) => {
                    return Ok(Held::Flawed {
                        flaw: Some(flaw),
                        chain: false,
                        offset,
                    });
                }
            };
            if !self.follows(&found, window.payload(&found)) {
                return Ok(Held::Flawed {
                    flaw: None,
                    chain: true,
                    offset,
                });
            }
            self.known(found.head.kind)?;
            if let Some(segment) = self.segments.last_mut() {
                segment.pass(found.head.seq, offset, self.ahead.hash);
            }
            self.take(&found);
            witness(&found.head);
            window.pass(&found);
        }
    }

    /// Whether a whole frame is the next one: sequence, place in its transaction, chain.
    fn follows(&self, found: &Found, payload: &[u8]) -> bool {
        let inside = self.ahead.seq != self.tip.seq;
        found.head.seq == self.ahead.seq.next()
            && found.head.role.first != inside
            && frame::chain(&self.ahead.hash, &found.head, payload) == found.head.hash
    }

    fn known(&self, kind: Kind) -> Result<(), Error> {
        if self
            .expected
            .kinds
            .iter()
            .any(|(number, _)| *number == kind.get())
        {
            return Ok(());
        }
        let what = format!("an event of kind {kind}, which this program does not know");
        Err(OpenCase::NewerFormat { what }.refusal())
    }

    fn take(&mut self, found: &Found) {
        self.ahead = Tip {
            seq: found.head.seq,
            hash: found.head.hash,
        };
        self.synced_through = self.synced_through.max(found.head.synced_through);
        while let Some((seq, end)) = self.recent.front().copied()
            && seq <= self.synced_through
        {
            self.unsynced_from = end;
            self.recent.pop_front();
        }
        if found.head.role.last {
            self.tip = self.ahead;
            self.end = found.offset + found.bytes as u64;
            self.recent.push_back((self.tip.seq, self.end));
        }
    }

    /// What a flaw at `offset` means.
    #[allow(
        clippy::too_many_arguments,
        reason = "one place judges; it needs all that was seen"
    )]
    fn judge(
        &mut self,
        name: &str,
        file: &dyn DiskFile,
        seed: u32,
        last: bool,
        flaw: Option<Flaw>,
        chain: bool,
        offset: u64,
    ) -> Result<Ending, Error> {
        let text = match flaw {
            Some(flaw) => flaw.text(),
            None if chain => "the frame does not continue the one before".to_owned(),
            None => "the file ends inside a transaction".to_owned(),
        };
        if let Some(Flaw::Format(_)) = flaw {
            return Err(OpenCase::NewerFormat { what: text }.refusal());
        }
        let content = read_all(file).map_err(|e| Error::io("read", name, &e))?;
        let at = usize::try_from(offset).unwrap_or(usize::MAX);
        let (behind, seen) = window::survey(content.get(at..).unwrap_or_default(), seed);
        self.synced_through = self.synced_through.max(Seq(seen));
        if !last || self.synced_through > self.tip.seq {
            return Ok(self.refuse(OpenCase::Damage { flaw: text }, name, offset));
        }
        let bytes = (content.len() as u64).saturating_sub(self.end);
        let case = match (flaw, behind) {
            (None, _) if !chain => OpenCase::UnfinishedTransaction,
            (_, 0) => OpenCase::TornTail { flaw: text },
            (_, behind) => OpenCase::Hole { flaw: text, behind },
        };
        Ok((
            case,
            Some(Cut {
                segment: name.to_owned(),
                keep: Some(self.end),
                bytes,
            }),
            None,
        ))
    }

    /// A segment without a readable header: one that was being made has no frame in it, as the
    /// header is synced before the first is written.
    fn bad_header(
        &mut self,
        name: &str,
        file: &dyn DiskFile,
        flaw: HeaderFlaw,
        last: bool,
    ) -> Result<Ending, Error> {
        if let HeaderFlaw::Format(found) = flaw {
            let what = format!("segment format {found}, expected {}", segment::FORMAT);
            return Err(OpenCase::NewerFormat { what }.refusal());
        }
        let content = read_all(file).map_err(|e| Error::io("read", name, &e))?;
        let blank = content.iter().skip(segment::HEADER_BYTES).all(|b| *b == 0);
        // The segment behind an anchor was durable before the anchor was.
        let begun = self.anchor.is_none() || !self.segments.is_empty();
        if flaw == HeaderFlaw::Torn && last && blank && begun {
            let bytes = content.len() as u64;
            let cut = Cut {
                segment: name.to_owned(),
                keep: None,
                bytes,
            };
            return Ok((
                OpenCase::TornSegment {
                    segment: name.to_owned(),
                },
                Some(cut),
                None,
            ));
        }
        let flaw = "the header of the segment is unreadable".to_owned();
        Ok(self.refuse(OpenCase::Damage { flaw }, name, 0))
    }

    fn refuse(&self, case: OpenCase, name: &str, offset: u64) -> Ending {
        let place = Place {
            segment: name.to_owned(),
            offset,
            seq: self.tip.seq.next(),
        };
        let error = case.refusal().at(place);
        (case, None, Some(error))
    }
}
