//! Reading the durable part of an open log, beside whoever writes it.
//!
//! Every frame is checked again, checksum and chain, each time it is read: a sector that went bad
//! after opening is an error here and never a wrong event.

use std::{cell::Cell, ops::ControlFlow, sync::Arc};

use parking_lot::{Mutex, RwLock};

use crate::{
    ahead::PART_BYTES,
    anchor::{self, Anchor},
    archive::{Archive, Chain},
    cases::OpenCase,
    checkpoint,
    disk::{Disk, DiskFile},
    error::{Error, ErrorKind, Place},
    event::Event,
    frame::{self, Head},
    ids::{FrameHash, Seq},
    journal::{Record, Visit},
    segment::{self, Segment, Waypoint},
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
    log: RwLock<Log>,
    durable: Mutex<Tip>,
    /// Which checkpoints are not to be dropped.
    pub(crate) held: Mutex<Held>,
    /// One checkpoint is written at a time: two at one record would share their file.
    pub(crate) checkpointing: Mutex<()>,
}

/// What there is of a log.
#[derive(Debug)]
struct Log {
    /// What stands before its first record, where leading segments were archived.
    anchor: Option<Anchor>,
    segments: Vec<Segment>,
}

/// Checkpoints that stay although newer ones are there, by file name.
#[derive(Debug, Default)]
pub(crate) struct Held {
    /// The one that the anchor names.
    pub(crate) anchored: Option<String>,
    /// The one that the next anchor will name.
    pub(crate) candidate: Option<String>,
}

/// A part of the history that lies in one file.
pub(crate) struct Stretch {
    name: String,
    first: Seq,
    seed: u32,
    start: Waypoint,
}

impl Stretch {
    /// A segment from its first frame on.
    pub(crate) fn whole(name: String, header: &segment::Header, seed: u32) -> Self {
        let start = Waypoint {
            seq: header.first,
            offset: segment::HEADER_BYTES as u64,
            prev: header.prev,
        };
        Self {
            name,
            first: header.first,
            seed,
            start,
        }
    }
}

/// Where a visit ended, so that the next can go on there. One that does not fit is not used.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cursor {
    /// The segment, by its first sequence.
    segment: Seq,
    at: Waypoint,
}

impl Cursor {
    /// The last frame visited.
    pub(crate) fn tip(self) -> Tip {
        Tip {
            seq: self.at.seq.before(),
            hash: self.at.prev,
        }
    }
}

impl Reader {
    pub(crate) fn new(
        disk: Arc<dyn Disk>,
        family: u32,
        (anchor, segments): (Option<Anchor>, Vec<Segment>),
        tip: Tip,
    ) -> Self {
        Self {
            disk,
            family,
            log: RwLock::new(Log { anchor, segments }),
            durable: Mutex::new(tip),
            held: Mutex::new(Held::default()),
            checkpointing: Mutex::new(()),
        }
    }

    /// What stands before the first record kept, where leading segments were archived.
    pub(crate) fn anchor(&self) -> Option<Anchor> {
        self.log.read().anchor.clone()
    }

    /// The record before the first kept.
    pub(crate) fn base(&self) -> Tip {
        self.log.read().anchor.as_ref().map_or_else(
            || Tip {
                seq: Seq::ZERO,
                hash: FrameHash::genesis(self.family),
            },
            |anchor| anchor.tip,
        )
    }

    /// The segments that hold records before `before` only: names and first records, and the last
    /// record of the last. The segment that is written is never among them.
    pub(crate) fn leading(&self, before: Seq) -> Option<(Vec<(String, Seq)>, Tip)> {
        let log = self.log.read();
        let next = log
            .segments
            .partition_point(|segment| segment.first <= before)
            .checked_sub(1)?;
        let start = log.segments.get(next)?.start();
        let leading = log.segments[..next].iter();
        let leading: Vec<_> = leading.map(|s| (s.name.clone(), s.first)).collect();
        let last = Tip {
            seq: start.seq.before(),
            hash: start.prev,
        };
        (!leading.is_empty()).then_some((leading, last))
    }

    /// Keeps the checkpoint that the anchor names, and no longer that of the anchor before.
    pub(crate) fn hold_anchored(&self, anchor: &Anchor) {
        let mut held = self.held.lock();
        held.anchored = Some(checkpoint::anchored_name(anchor));
        held.candidate = None;
    }

    /// Lets go of the checkpoint that the next anchor was to name.
    pub(crate) fn release_candidate(&self) {
        self.held.lock().candidate = None;
    }

    /// Lets the log begin behind an anchor.
    pub(crate) fn begin_at(&self, anchor: Anchor) {
        let mut log = self.log.write();
        log.segments
            .retain(|segment| segment.first > anchor.tip.seq);
        log.anchor = Some(anchor);
    }

    /// Bytes of the segments; what cannot be read counts for nothing.
    pub(crate) fn log_bytes(&self) -> u64 {
        let names: Vec<String> = {
            let log = self.log.read();
            log.segments.iter().map(|s| s.name.clone()).collect()
        };
        let bytes = |name: &String| self.disk.open(name).and_then(|file| file.bytes());
        names.iter().filter_map(|name| bytes(name).ok()).sum()
    }

    /// The archives that lead up to the log.
    pub(crate) fn archives(&self) -> Result<Chain, Error> {
        match self.anchor() {
            Some(anchor) => Chain::find(&*self.disk, self.family, &anchor),
            None => Ok(Chain::empty(self.first())),
        }
    }

    /// As [`frames`](Reader::frames), with what was archived before them; `Damaged` where an archive does not continue
    /// what was visited.
    pub(crate) fn history(
        &self,
        from: Seq,
        to: Seq,
        visit: &mut dyn FnMut(&Raw<'_>) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error> {
        self.history_with(None, (from, to), visit)
    }

    /// As [`history`](Reader::history), for whoever comes again and again: with archives that were found before, which
    /// are looked for anew only where records have left the log since.
    pub(crate) fn history_with(
        &self,
        known: Option<&Chain>,
        (from, to): (Seq, Seq),
        visit: &mut dyn FnMut(&Raw<'_>) -> Result<ControlFlow<()>, Error>,
    ) -> Result<(), Error> {
        let next = Cell::new(from.max(Seq::FIRST));
        let last = Cell::new(None);
        let mut visit = |raw: &Raw<'_>| {
            next.set(raw.head.seq.next());
            last.set(Some(Tip {
                seq: raw.head.seq,
                hash: raw.head.hash,
            }));
            visit(raw)
        };
        // Records may be archived while they are read; the visit then goes on in the archive.
        loop {
            let (begin, first) = (next.get(), self.first());
            if begin > to {
                return Ok(());
            }
            if begin >= first {
                match self.frames(begin, to, &mut visit) {
                    Err(e) if e.kind() == ErrorKind::NotFound && next.get() < self.first() => {}
                    outcome => return outcome,
                }
                continue;
            }
            let found;
            let chain = match known.filter(|chain| begin < chain.log_first()) {
                Some(chain) => chain,
                None => {
                    found = self.archives()?;
                    &found
                }
            };
            if begin < chain.origin() {
                return Err(chain.gone());
            }
            for archive in chain.found.iter().filter(|a| a.info().last >= begin) {
                let bounds = (next.get(), to);
                if archive
                    .frames_behind(last.get(), bounds, &mut visit)?
                    .is_break()
                {
                    return Ok(());
                }
            }
        }
    }

    /// As [`records`](Reader::records), with what was archived before them.
    pub(crate) fn history_records<E: Event>(
        &self,
        from: Seq,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), Error> {
        self.history(from, self.tip().seq, &mut |raw| {
            visit(record(&raw.head, raw.payload)?)?;
            Ok(ControlFlow::Continue(()))
        })
    }

    /// The history from `from` to `to` in parts that can be read and proved each by itself: first and last record of
    /// each, in order. One of `archives` is one part, since the chain within it is proved from its beginning.
    pub(crate) fn parts(&self, archives: &Chain, from: Seq, to: Seq) -> Vec<(Seq, Seq)> {
        let from = from.max(Seq::FIRST);
        let mut begins = vec![from];
        begins.extend(archives.found.iter().map(Archive::first));
        let log = self.log.read();
        let segments = log.segments.iter().filter(|segment| segment.first <= to);
        begins.extend(segments.flat_map(|segment| segment.every(PART_BYTES, from)));
        drop(log);
        begins.retain(|seq| *seq >= from && *seq <= to);
        begins.sort();
        begins.dedup();
        let ends = begins.iter().skip(1).map(|seq| seq.before()).chain([to]);
        begins.iter().copied().zip(ends).collect()
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
        self.base().seq.next()
    }

    pub(crate) fn segment_count(&self) -> usize {
        self.log.read().segments.len()
    }

    pub(crate) fn add_segment(&self, segment: Segment) {
        self.log.write().segments.push(segment);
    }

    /// Lets readers see frames of the last segment: sequence, offset and hash before each.
    pub(crate) fn publish(&self, frames: &[(Seq, u64, FrameHash)], tip: Tip) {
        if let Some(segment) = self.log.write().segments.last_mut() {
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
        let segments = &self.log.read().segments;
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

    /// Visits the frames from `from` to `to`, both included, as far as they are durable and in the
    /// log; `NotFound` where they left it meanwhile.
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
        let to = to.min(self.tip().seq);
        if from > to {
            return Ok(());
        }
        let plan = self.plan(from, to, *cursor);
        if plan.first().is_none_or(|stretch| stretch.start.seq > from) {
            return Err(self.archived_meanwhile());
        }
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
            match self.stretch(stretch, cursor, (from, to), visit)? {
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

    fn stretch(
        &self,
        stretch: &Stretch,
        cursor: &mut Option<Cursor>,
        bounds: (Seq, Seq),
        visit: &mut dyn FnMut(&Raw<'_>) -> Result<ControlFlow<()>, Error>,
    ) -> Result<ControlFlow<(), Seq>, Error> {
        let file = self.disk.open(&stretch.name).map_err(|e| {
            let gone = e.kind() == std::io::ErrorKind::NotFound;
            if gone && (stretch.first < self.first() || self.begins_later(stretch.first)) {
                return self.archived_meanwhile();
            }
            Error::io("read", &stretch.name, &e)
        })?;
        visit_stretch(&*file, stretch, cursor, bounds, visit)
    }

    /// Whether a writer in another process has archived the segment that begins with `first` since this log was
    /// opened to be read. The log then begins where its anchor says, which must continue what this reader knows.
    fn begins_later(&self, first: Seq) -> bool {
        match anchor::read(&*self.disk) {
            Ok(Some(Ok(anchor)))
                if anchor.family == self.family
                    && anchor.tip.seq >= first
                    && self.may_end(anchor.tip) =>
            {
                self.hold_anchored(&anchor);
                self.begin_at(anchor);
                true
            }
            _ => false,
        }
    }

    /// Whether segments of this log may end with this record, as far as they are known. Beyond that nothing is.
    fn may_end(&self, at: Tip) -> bool {
        let own = self.tip();
        if at.seq >= own.seq {
            return at.seq > own.seq || at.hash == own.hash;
        }
        let log = self.log.read();
        let mut starts = log.segments.iter().map(Segment::start);
        starts.any(|start| start.seq == at.seq.next() && start.prev == at.hash)
    }

    fn archived_meanwhile(&self) -> Error {
        let text = format!(
            "records before {} were archived while they were read, read again",
            self.first()
        );
        Error::new(ErrorKind::NotFound, text)
    }

    /// The chain hash at `seq`; `None` outside what is kept.
    pub(crate) fn hash_at(&self, seq: Seq) -> Result<Option<FrameHash>, Error> {
        let tip = self.tip();
        if seq == tip.seq {
            return Ok(Some(tip.hash));
        }
        let base = self.base();
        if seq == base.seq {
            return Ok(Some(base.hash));
        }
        if seq < base.seq {
            return Ok(None);
        }
        let mut hash = None;
        let read = self.frames(seq, seq, &mut |raw| {
            hash = Some(raw.head.hash);
            Ok(ControlFlow::Break(()))
        });
        match read {
            Err(e) if e.kind() == ErrorKind::NotFound && seq < self.base().seq => Ok(None),
            outcome => outcome.map(|()| hash),
        }
    }

    /// Visits the records from `from` on; those that are archived meanwhile are among them.
    pub(crate) fn records<E: Event>(
        &self,
        from: Seq,
        visit: &mut Visit<'_, E>,
    ) -> Result<(), Error> {
        let to = self.tip().seq;
        self.history(from.max(self.first()), to, &mut |raw| {
            visit(record(&raw.head, raw.payload)?)?;
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Up to `limit` records that are `wanted`, from `from` on, appended to `found`. Those that left the log since the
    /// caller chose `from` are read in their archive.
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
        self.history(from, self.tip().seq, &mut |raw| {
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

/// Visits one file's part of the history; goes on with the sequence expected next.
pub(crate) fn visit_stretch(
    file: &dyn DiskFile,
    stretch: &Stretch,
    cursor: &mut Option<Cursor>,
    (from, to): (Seq, Seq),
    visit: &mut dyn FnMut(&Raw<'_>) -> Result<ControlFlow<()>, Error>,
) -> Result<ControlFlow<(), Seq>, Error> {
    let failed = |e: &std::io::Error| Error::io("read", &stretch.name, e);
    let mut window = Window::new(file, stretch.start.offset);
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
