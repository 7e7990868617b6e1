//! Going on behind a live writer: reads what was added to a log since it was opened for reading,
//! and nothing twice. Whole transactions only; changes nothing.

use std::{io, sync::Arc};

use crate::{
    cases::OpenCase,
    error::{Error, ErrorKind, Place},
    frame::{self, Flaw},
    ids::{FrameHash, Seq},
    reader::Reader,
    segment::{self, HeaderFlaw, Segment},
    transaction::Tip,
    window::Window,
};

/// What [`ReadJournal::advance`](crate::ReadJournal::advance) found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Advanced {
    /// The last record that is whole now.
    pub last: Seq,
    /// Whether bytes follow that are no whole transaction: one that is being written, or one that
    /// never will be.
    pub unfinished: bool,
}

/// Where reading goes on: behind the last whole transaction of a segment.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) segment: String,
    pub(crate) seed: u32,
    pub(crate) offset: u64,
}

/// Takes in what was added behind `end`.
pub(crate) fn advance(
    reader: &Arc<Reader>,
    family: u32,
    kinds: &[(u16, &str)],
    end: &mut End,
) -> Result<Advanced, Error> {
    loop {
        // Asked before reading: where there is a next segment now, this one grows no more.
        let before = reader.tip();
        let next = following(reader, family, before)?;
        let unfinished = grow(reader, kinds, end)?;
        let last = reader.tip();
        if before.seq != last.seq {
            // The next segment would begin behind the new end: look again from there.
            continue;
        }
        match next {
            Some(_) if unfinished => {
                let flaw = "a transaction is not whole and a segment follows".to_owned();
                return Err(damage(end, last.seq.next(), flaw));
            }
            Some((segment, seed)) => {
                *end = End {
                    segment: segment.name.clone(),
                    seed,
                    offset: segment::HEADER_BYTES as u64,
                };
                reader.add_segment(segment);
            }
            None => {
                return Ok(Advanced {
                    last: last.seq,
                    unfinished,
                });
            }
        }
    }
}

/// The segment that goes on behind `tip` and the seed of its frames, where it is there with its
/// header whole.
fn following(reader: &Reader, family: u32, tip: Tip) -> Result<Option<(Segment, u32)>, Error> {
    let name = segment::name(tip.seq.next());
    let failed = |e: &io::Error| Error::io("read", &name, e);
    let file = match reader.disk().open(&name) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(failed(&e)),
    };
    let mut start = [0; segment::HEADER_BYTES];
    let read = file.read_at(0, &mut start).map_err(|e| failed(&e))?;
    let refuse = |flaw: &str| {
        let place = Place {
            segment: name.clone(),
            offset: 0,
            seq: tip.seq.next(),
        };
        let flaw = flaw.to_owned();
        OpenCase::Damage { flaw }.refusal().at(place)
    };
    match segment::decode(&start[..read]) {
        Ok((header, seed)) if header.family == family && header.prev == tip.hash => {
            Ok(Some((Segment::new(&header, seed), seed)))
        }
        Ok(_) => Err(refuse("the segment does not continue the one before")),
        // It is being made.
        Err(HeaderFlaw::Torn) => Ok(None),
        Err(HeaderFlaw::Unreadable) => Err(refuse("the header of the segment is unreadable")),
        Err(HeaderFlaw::Format(found)) => {
            let what = format!("segment format {found}, expected {}", segment::FORMAT);
            Err(OpenCase::NewerFormat { what }.refusal())
        }
    }
}

/// Reads to the end of the segment at hand; says whether something else than whole transactions
/// stands there.
fn grow(reader: &Reader, kinds: &[(u16, &str)], end: &mut End) -> Result<bool, Error> {
    let failed = |e: &io::Error| match e.kind() {
        io::ErrorKind::NotFound => {
            let text = format!("segment {} is no longer there", end.segment);
            Error::new(ErrorKind::NotFound, text)
        }
        _ => Error::io("read", &end.segment, e),
    };
    let file = reader.disk().open(&end.segment).map_err(|e| failed(&e))?;
    let bytes = file.bytes().map_err(|e| failed(&e))?;
    let mut ahead = reader.tip();
    if bytes < end.offset {
        let flaw = format!("the segment has {bytes} bytes, it had {}", end.offset);
        return Err(damage(end, ahead.seq, flaw));
    }
    let mut window = Window::new(&*file, end.offset);
    // Frames of the transaction at hand.
    let mut pending: Vec<(Seq, u64, FrameHash)> = Vec::new();
    loop {
        let offset = window.offset();
        let found = match window.next(end.seed).map_err(|e| failed(&e))? {
            Ok(Some(found)) => found,
            Ok(None) => return Ok(!pending.is_empty()),
            Err(Flaw::Format(found)) => {
                let what = Flaw::Format(found).text();
                return Err(OpenCase::NewerFormat { what }.refusal());
            }
            Err(_) => return Ok(true),
        };
        let head = found.head;
        let hash = frame::chain(&ahead.hash, &head, window.payload(&found));
        // A frame with a sound checksum is one that was written, and written frames continue.
        if head.seq != ahead.seq.next()
            || head.role.first != pending.is_empty()
            || hash != head.hash
        {
            let flaw = "the frame does not continue the one before".to_owned();
            return Err(damage(end, ahead.seq.next(), flaw));
        }
        if !kinds.iter().any(|(number, _)| *number == head.kind.get()) {
            let kind = head.kind;
            let what = format!("an event of kind {kind}, which this program does not know");
            return Err(OpenCase::NewerFormat { what }.refusal());
        }
        pending.push((head.seq, offset, ahead.hash));
        ahead = Tip {
            seq: head.seq,
            hash,
        };
        window.pass(&found);
        if head.role.last {
            reader.publish(&pending, ahead);
            pending.clear();
            end.offset = window.offset();
        }
    }
}

fn damage(end: &End, seq: Seq, flaw: String) -> Error {
    let place = Place {
        segment: end.segment.clone(),
        offset: end.offset,
        seq,
    };
    OpenCase::Damage { flaw }.refusal().at(place)
}
