//! Reading the durable part of an open log, beside whoever writes it.
//!
//! Every frame is checked again, checksum and chain, each time it is read: a sector that went bad
//! after opening is an error here and never a wrong event.

use std::{ops::ControlFlow, sync::Arc};

use parking_lot::{Mutex, RwLock};

use crate::{
    cases::OpenCase,
    disk::Disk,
    error::{Error, Place},
    event::Event,
    frame::{self, Head},
    ids::{FrameHash, Seq},
    journal::{Record, Visit},
    segment::{Segment, Waypoint},
    transaction::Tip,
    window::Window,
};

/// A frame as it lies in the log.
pub(crate) struct Raw<'a> {
    pub(crate) head: Head,
    pub(crate) payload: &'a [u8],
    /// Header, payload and padding.
    pub(crate) bytes: &'a [u8],
    /// What the frame's checksum starts from.
    pub(crate) seed: u32,
}

/// The readable side of a log.
#[derive(Debug)]
pub(crate) struct Reader {
    disk: Arc<dyn Disk>,
    family: u32,
    segments: RwLock<Vec<Segment>>,
    durable: Mutex<Tip>,
}

struct Stretch {
    name: String,
    first: Seq,
    seed: u32,
    start: Waypoint,
}

/// Where a visit ended, so that the next can go on there. One that does not fit is not used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    /// The segment, by its first sequence.
    segment: Seq,
    at: Waypoint,
}

impl Reader {
    pub(crate) fn new(disk: Arc<dyn Disk>, family: u32, segments: Vec<Segment>, tip: Tip) -> Self {
        Self {
            disk,
            family,
            segments: RwLock::new(segments),
            durable: Mutex::new(tip),
        }
    }

    pub(crate) fn disk(&self) -> &Arc<dyn Disk> {
        &self.disk
    }

    /// The last durable record.
    pub(crate) fn tip(&self) -> Tip {
        *self.durable.lock()
    }

    /// The first record kept.
    pub(crate) fn first(&self) -> Seq {
        self.segments
            .read()
            .first()
            .map_or(Seq::FIRST, |segment| segment.first)
    }

    pub(crate) fn segment_count(&self) -> usize {
        self.segments.read().len()
    }

    pub(crate) fn add_segment(&self, segment: Segment) {
        self.segments.write().push(segment);
    }

    /// Lets readers see frames of the last segment: sequence, offset and hash before each.
    pub(crate) fn publish(&self, frames: &[(Seq, u64, FrameHash)], tip: Tip) {
        if let Some(segment) = self.segments.write().last_mut() {
            for (seq, offset, prev) in frames {
                segment.pass(*seq, *offset, *prev);
            }
        }
        *self.durable.lock() = tip;
    }

    fn plan(&self, from: Seq, to: Seq, cursor: Option<Cursor>) -> Vec<Stretch> {
        let known = |segment: &Segment| {
            cursor
                .filter(|c| c.segment == segment.first && c.at.seq == from)
                .map(|c| c.at)
        };
        let segments = self.segments.read();
        let begin = segments
            .partition_point(|s| s.first <= from)
            .saturating_sub(1);
        segments[begin.min(segments.len())..]
            .iter()
            .take_while(|segment| segment.first <= to)
            .map(|segment| Stretch {
                name: segment.name.clone(),
                first: segment.first,
                seed: segment.seed,
                start: known(segment).unwrap_or_else(|| segment.nearest(from)),
            })
            .collect()
    }

    /// Visits the frames from `from` to `to`, both included, as far as they are durable.
    pub(crate) fn frames(
        &self,
        from: Seq,
        to: Seq,
        visit: &mut dyn FnMut(&Raw<'_>) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error> {
        self.frames_on(&mut None, from, to, visit)
    }

    /// As [`frames`](Reader::frames), for a reader that comes again and again for what is new.
    pub(crate) fn frames_on(
        &self,
        cursor: &mut Option<Cursor>,
        from: Seq,
        to: Seq,
        visit: &mut dyn FnMut(&Raw<'_>) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error> {
        let from = from.max(self.first());
        let to = to.min(self.tip().seq);
        if from > to {
            return Ok(());
        }
        let plan = self.plan(from, to, *cursor);
        let mut next = None;
        for stretch in &plan {
            if next.is_some_and(|seq| seq != stretch.start.seq) {
                let flaw = "the segment before ends early".to_owned();
                return Err(damage(
                    stretch,
                    stretch.start.offset,
                    stretch.start.seq,
                    flaw,
                ));
            }
            match self.stretch(stretch, cursor, from, to, visit)? {
                ControlFlow::Break(()) => return Ok(()),
                ControlFlow::Continue(seq) => next = Some(seq),
            }
        }
        match next {
            Some(seq) if seq <= to => {
                let text = format!("the log ends before sequence {seq}, which was durable");
                Err(OpenCase::Damage { flaw: text }.refusal())
            }
            _ => Ok(()),
        }
    }

    /// Visits one segment's part; goes on with the sequence expected next.
    fn stretch(
        &self,
        stretch: &Stretch,
        cursor: &mut Option<Cursor>,
        from: Seq,
        to: Seq,
        visit: &mut dyn FnMut(&Raw<'_>) -> Result<ControlFlow<()>, Error>,
    ) -> Result<ControlFlow<(), Seq>, Error> {
        let failed = |e: &std::io::Error| Error::io("read", &stretch.name, e);
        let file = self.disk.open(&stretch.name).map_err(|e| failed(&e))?;
        let mut window = Window::new(&*file, stretch.start.offset);
        let (mut seq, mut prev) = (stretch.start.seq, stretch.start.prev);
        while seq <= to {
            let offset = window.offset();
            let found = match window.next(stretch.seed).map_err(|e| failed(&e))? {
                Ok(Some(found)) => found,
                Ok(None) => break,
                Err(flaw) => return Err(damage(stretch, offset, seq, flaw.text())),
            };
            let payload = window.payload(&found);
            let hash = frame::chain(&prev, &found.head, payload);
            if found.head.seq != seq || hash != found.head.hash {
                let flaw = "the frame does not continue the one before".to_owned();
                return Err(damage(stretch, offset, seq, flaw));
            }
            let flow = if seq >= from {
                let bytes = window.bytes(&found);
                let head = found.head;
                visit(&Raw {
                    head,
                    payload,
                    bytes,
                    seed: stretch.seed,
                })?
            } else {
                ControlFlow::Continue(())
            };
            window.pass(&found);
            prev = hash;
            seq = seq.next();
            let at = Waypoint {
                seq,
                offset: window.offset(),
                prev,
            };
            *cursor = Some(Cursor {
                segment: stretch.first,
                at,
            });
            if flow.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(if seq > to {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(seq)
        })
    }

    /// The chain hash at `seq`; `None` outside what is kept.
    pub(crate) fn hash_at(&self, seq: Seq) -> Result<Option<FrameHash>, Error> {
        let tip = self.tip();
        if seq == tip.seq {
            return Ok(Some(tip.hash));
        }
        if seq == Seq::ZERO {
            return Ok(Some(FrameHash::genesis(self.family)));
        }
        let mut hash = None;
        self.frames(seq, seq, &mut |raw| {
            hash = Some(raw.head.hash);
            Ok(ControlFlow::Break(()))
        })?;
        Ok(hash)
    }

    /// Visits the records from `from` on.
    pub(crate) fn records<E: Event>(
        &self,
        from: Seq,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), Error> {
        let to = self.tip().seq;
        self.frames(from, to, &mut |raw| {
            visit(record(&raw.head, raw.payload)?)?;
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Up to `limit` records that are `wanted`, from `from` on, appended to `found`.
    pub(crate) fn select<E: Event>(
        &self,
        from: Seq,
        limit: usize,
        found: &mut Vec<Record<E>>,
        wanted: impl Fn(&Head) -> bool,
    ) -> Result<(), Error> {
        if found.len() >= limit {
            return Ok(());
        }
        self.frames(from, self.tip().seq, &mut |raw| {
            if wanted(&raw.head) {
                found.push(record(&raw.head, raw.payload)?);
            }
            Ok(if found.len() >= limit {
                ControlFlow::Break(())
            } else {
                ControlFlow::Continue(())
            })
        })
    }
}

fn damage(stretch: &Stretch, offset: u64, seq: Seq, flaw: String) -> Error {
    let place = Place {
        segment: stretch.name.clone(),
        offset,
        seq,
    };
    OpenCase::Damage { flaw }.refusal().at(place)
}

/// Makes the record that callers see from a checked frame.
pub(crate) fn record<E: Event>(head: &Head, payload: &[u8]) -> Result<Record<E>, Error> {
    Ok(Record {
        seq: head.seq,
        at_ms: head.at_ms,
        stream: head.stream,
        kind: head.kind,
        hash: head.hash,
        event: E::decode(head.kind, payload)?,
    })
}
