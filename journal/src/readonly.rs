//! A journal opened for reading only, for tools: on a copy, or beside a running writer.
//!
//! It takes no lock and changes nothing, not even the index, which it never opens in place. What a
//! writer would cut off or refuse is not read, and is in the report.

use std::{marker::PhantomData, ops::ControlFlow, path::Path, sync::Arc, time::Duration};

use parking_lot::Mutex;

use crate::{
    advance::{self, Advanced, End},
    archive::{self, Archives},
    cases::{OpenCase, OpenReport},
    checkpoint,
    disk::{Disk, FolderDisk},
    error::{Error, ErrorKind},
    event::Event,
    file::{readable, report},
    frame::Frame,
    ids::{FrameHash, Kind, Seq, StreamId},
    index::{self, INDEX_FOLDER, IndexCheck},
    journal::{Checkpoint, Kept, Projection, Record, Visit, drive},
    reader::Reader,
    scan::{self, Expected, Scan},
};

/// Hears of each frame in order; an error ends the visit.
pub type VisitFrame<'a> = dyn FnMut(&Frame<'_>) -> Result<(), Error> + 'a;

const LOOKS_MAX: u32 = 50;
const FAILED_LOOKS_MAX: u32 = 3;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(5);

/// What one look at the folder found.
struct Found {
    scan: Scan,
    report: OpenReport,
    refusal: Option<Error>,
}

impl Found {
    fn look<E: Event>(disk: &dyn Disk) -> Result<Self, Error> {
        let expected = Expected {
            family: E::FAMILY,
            kinds: E::kinds(),
        };
        // Before the scan: what a live writer keeps meanwhile may have seen more than the scan will.
        let witness = checkpoint::farthest(disk, E::FAMILY, Seq::ZERO)?;
        let mut scan = scan::scan(disk, expected, &mut |_| {})?;
        let mut report = report(&scan);
        let mut refusal = scan.damage.take();
        let end = scan.tip.seq;
        if refusal.is_none()
            && let Some((name, seen)) = witness.filter(|(_, seen)| *seen > end)
        {
            let case = OpenCase::LostTail {
                witness: format!("the file {name}"),
                seen,
                end,
                lost: end.next(),
            };
            refusal = Some(case.refusal());
            report.cases.push(case);
        }
        Ok(Self {
            scan,
            report,
            refusal,
        })
    }
}

/// A journal that is only read. It ends where the log ended when it was opened, or where
/// [`advance`](ReadJournal::advance) last found its end.
#[derive(Debug)]
pub struct ReadJournal<E> {
    reader: Arc<Reader>,
    /// Where [`advance`](ReadJournal::advance) goes on; none where no segment is whole.
    end: Mutex<Option<End>>,
    /// Segments that were there beside the archives that hold them.
    leftover: Vec<(String, Seq)>,
    events: PhantomData<fn() -> E>,
}

impl<E: Event> ReadJournal<E> {
    /// Opens the journal in a folder.
    ///
    /// # Errors
    /// As a writer's opening, without `Locked`; `NotFound` where the folder holds no journal.
    pub fn open(folder: impl AsRef<Path>) -> Result<(Self, OpenReport), Error> {
        match Self::salvage(folder)? {
            (_, _, Some(refusal)) => Err(refusal),
            (journal, report, None) => Ok((journal, report)),
        }
    }

    /// Opens as much of the journal as is whole; what a writer would refuse with is returned
    /// beside it instead.
    ///
    /// # Errors
    /// `Foreign` and `NewerFormat`, which are not to be interpreted; `NotFound`, `Io`.
    pub fn salvage(folder: impl AsRef<Path>) -> Result<(Self, OpenReport, Option<Error>), Error> {
        let folder = folder.as_ref();
        let disk = FolderDisk::read_only(folder).map_err(|e| {
            let name = folder.display().to_string();
            if e.kind() == std::io::ErrorKind::NotFound {
                return Error::new(ErrorKind::NotFound, format!("no journal folder {name}"));
            }
            Error::io("open journal folder", &name, &e)
        })?;
        Self::salvage_on(Arc::new(disk))
    }

    /// As [`salvage`](ReadJournal::salvage), on a disk of the caller's.
    ///
    /// # Errors
    /// As `salvage`.
    #[expect(
        clippy::disallowed_methods,
        reason = "the writer looked at is another process"
    )]
    pub fn salvage_on(disk: Arc<dyn Disk>) -> Result<(Self, OpenReport, Option<Error>), Error> {
        let mut found = Found::look::<E>(&*disk);
        for _ in 0..FAILED_LOOKS_MAX {
            // A segment that was listed may be archived before it is opened.
            let Err(error) = &found else { break };
            if error.kind() != ErrorKind::Io {
                break;
            }
            std::thread::sleep(LOOK_AGAIN_AFTER);
            found = Found::look::<E>(&*disk);
        }
        let mut found = found?;
        for _ in 0..LOOKS_MAX {
            if found.refusal.is_none() {
                break;
            }
            // Beside a writer a scan may see the end of the log move, which looks like damage; what
            // is damaged stays where it is.
            std::thread::sleep(LOOK_AGAIN_AFTER);
            let again = Found::look::<E>(&*disk)?;
            let still = again.refusal == found.refusal;
            found = again;
            if still {
                break;
            }
        }
        let Found {
            mut scan,
            report,
            refusal,
        } = found;
        let leftover = std::mem::take(&mut scan.leftover);
        if refusal.is_none() && scan.case == OpenCase::Empty {
            let name = disk
                .folder()
                .map(|f| f.display().to_string())
                .unwrap_or_default();
            return Err(Error::new(
                ErrorKind::NotFound,
                format!("no journal in folder {name}"),
            ));
        }
        let (reader, last) = readable(disk, E::FAMILY, scan);
        let end = last.map(|(segment, seed, offset)| End {
            segment,
            seed,
            offset,
        });
        Ok((
            Self {
                reader,
                end: Mutex::new(end),
                leftover,
                events: PhantomData,
            },
            report,
            refusal,
        ))
    }

    /// What the next opening for writing finds of archiving that was cut short, and finishes or
    /// undoes: what it then adds to its report. Changes nothing. Beside a live writer it is what an
    /// opening would find, were that one killed now.
    ///
    /// # Errors
    /// `Io`.
    pub fn mending(&self) -> Result<Vec<OpenCase>, Error> {
        let found = archive::find_mending(&self.reader, E::FAMILY, &self.leftover)?;
        Ok(found.cases)
    }

    /// The last record that was found whole.
    #[must_use]
    pub fn position(&self) -> (Seq, FrameHash) {
        let tip = self.reader.tip();
        (tip.seq, tip.hash)
    }

    /// The chain hash at a record; at [`Seq::ZERO`] the one that stands before the first. `None`
    /// outside what is kept.
    ///
    /// # Errors
    /// As [`read`](ReadJournal::read).
    pub fn hash_at(&self, seq: Seq) -> Result<Option<FrameHash>, Error> {
        self.reader.hash_at(seq)
    }

    /// The first record kept.
    #[must_use]
    pub fn first(&self) -> Seq {
        self.reader.first()
    }

    /// As [`Journal::read`](crate::Journal::read).
    ///
    /// # Errors
    /// As there.
    pub fn read(&self, from: Seq, visit: &mut Visit<'_, E>) -> Result<(), Error> {
        self.reader.records(from, visit)
    }

    /// Takes in what a writer has added since; reads that and nothing twice. Works over the
    /// writer's change of segments, its end, and the next writer.
    ///
    /// # Errors
    /// `Damaged` where what is there now does not continue what was read: another journal took
    /// the place of this one, or it was cut. `NotFound` where the segment at hand is gone.
    /// `NewerFormat`, `Io`.
    pub fn advance(&self) -> Result<Advanced, Error> {
        match &mut *self.end.lock() {
            Some(end) => advance::advance(&self.reader, E::FAMILY, E::kinds(), end),
            None => Ok(Advanced {
                last: self.position().0,
                unfinished: false,
            }),
        }
    }

    /// Visits the frames from `from` to the position, in order, archived ones first, as they were
    /// written: with their place in their transaction and their payload's own bytes.
    ///
    /// # Errors
    /// As [`Journal::history`](crate::Journal::history).
    pub fn frames(&self, from: Seq, visit: &mut VisitFrame<'_>) -> Result<(), Error> {
        self.reader.history(from, self.position().0, &mut |raw| {
            visit(&Frame::of(&raw.head, raw.payload))?;
            Ok(ControlFlow::Continue(()))
        })
    }

    /// As [`Journal::history`](crate::Journal::history): archived records first.
    ///
    /// # Errors
    /// As there.
    pub fn history(&self, from: Seq, visit: &mut Visit<'_, E>) -> Result<(), Error> {
        self.reader.history_records(from, visit)
    }

    /// As [`Journal::archives`](crate::Journal::archives).
    ///
    /// # Errors
    /// As there.
    pub fn archives(&self) -> Result<Archives, Error> {
        Ok(self.reader.archives()?.infos())
    }

    /// Checks every byte of every archive at hand. An archive that was moved away is none at hand, see
    /// [`archives`](ReadJournal::archives).
    ///
    /// # Errors
    /// `Damaged`, naming the archive and the segment in it, also where it cannot be read at all or
    /// is not the one that belongs there; `Io`.
    pub fn verify_archives(&self) -> Result<(), Error> {
        self.reader.archives()?.verify()
    }

    /// Checks that the checkpoint which the anchor names is there, whole, and the one that was meant when records
    /// were archived. Without an anchor there is nothing to check.
    ///
    /// # Errors
    /// `Damaged`, naming the checkpoint; `Io`.
    pub fn verify_anchor(&self) -> Result<(), Error> {
        checkpoint::check_anchored(&**self.reader.disk(), E::FAMILY)
    }

    /// The first record at hand: of the archives that lead up to the log, else of the log.
    ///
    /// # Errors
    /// `Io`.
    pub fn origin(&self) -> Result<Seq, Error> {
        Ok(self.reader.archives()?.origin())
    }

    /// As [`replay`](crate::replay).
    ///
    /// # Errors
    /// As there.
    pub fn replay<P: Projection<E> + ?Sized>(&self, projection: &mut P) -> Result<Seq, Error> {
        drive(self.position().0, projection, &mut |from, visit| {
            self.history(from, visit)
        })
    }

    /// As [`Journal::by_stream`](crate::Journal::by_stream), by reading the log.
    ///
    /// # Errors
    /// As there.
    pub fn by_stream(
        &self,
        stream: StreamId,
        from: Seq,
        limit: usize,
    ) -> Result<Vec<Record<E>>, Error> {
        let mut found = Vec::new();
        let from = from.max(self.reader.first());
        self.reader
            .select(from, limit, &mut found, |head| head.stream == stream)?;
        Ok(found)
    }

    /// As [`Journal::by_kind`](crate::Journal::by_kind), by reading the log.
    ///
    /// # Errors
    /// As there.
    pub fn by_kind(&self, kind: Kind, from: Seq, limit: usize) -> Result<Vec<Record<E>>, Error> {
        let mut found = Vec::new();
        let from = from.max(self.reader.first());
        self.reader
            .select(from, limit, &mut found, |head| head.kind == kind)?;
        Ok(found)
    }

    /// As [`Journal::latest_checkpoint`](crate::Journal::latest_checkpoint).
    ///
    /// # Errors
    /// As there.
    pub fn latest_checkpoint(&self, projection: &str) -> Result<Option<Checkpoint>, Error> {
        checkpoint::newest_by(&self.reader, E::FAMILY, projection, self.position().0)
    }

    /// All kept checkpoints of a projection, oldest first: what each says, or why it is not used.
    /// One that reaches behind [`position`](ReadJournal::position) is left out: beside a live
    /// writer it is of later records, and in a folder at rest opening has said so.
    ///
    /// # Errors
    /// `Invalid` for a bad name, `Io`.
    pub fn checkpoints(&self, projection: &str) -> Result<Vec<Kept>, Error> {
        checkpoint::all(&self.reader, E::FAMILY, projection)
    }

    /// Checks the index against the log, in a private copy that is removed again. Beside a running
    /// writer the copy may be of a moment that never was, and then differ.
    ///
    /// # Errors
    /// `Io` and `Full` while copying.
    pub fn verify_index(&self) -> Result<IndexCheck, Error> {
        match self.reader.disk().folder() {
            Some(folder) => index::check(&self.reader, E::FAMILY, &folder.join(INDEX_FOLDER)),
            None => Ok(IndexCheck::Absent),
        }
    }
}
