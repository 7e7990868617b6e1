//! `Download`: the files of a batch into their staging places: what is there already is proved and
//! linked, the rest is fetched. The storage proves each file as a whole before it counts.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_broker::ErrorClass;
use holdfast_repository::{ObjectKey, PieceEvent, Repository, WantedPiece};
use holdfast_storage::{BackendId, ErrorKind, Reuse, StagedFile, Staging, TabletId, Token};
use parking_lot::Mutex;

use super::insist::{Fault, insist};
use super::lists::Lists;
use super::stage::stage_again;
use super::units::{self, Piece, Span, Unit, Want};
use super::{download_token, plan, spec};
use crate::order::{Failure, FailureClass, Output, StatusCode};
use crate::work::{Task, parallel};

/// Brings the files of one batch.
pub(crate) fn download(task: &Task<'_>) -> Result<Output, Failure> {
    let batch = plan::batch(task)?;
    let wants = read_wants(task, &batch)?;
    task.progress.set_total(wants.len() as u64);
    let moving = Moving {
        task,
        backend: batch.backend,
        token: download_token(task.order),
        moved: AtomicU64::new(0),
        reused: AtomicU64::new(0),
    };
    let missing = moving.begin(&batch, &wants)?;
    let units = units::group(&wants, &missing);
    if !units.is_empty() {
        let repository = task
            .env
            .repositories
            .get(task.context, spec(task)?.repository)?;
        let fetch = Fetch {
            moving: &moving,
            repository: &repository,
            wants: &wants,
        };
        parallel::each(task.context, &units, &task.env.movers, |unit| {
            fetch.unit(unit)
        })?;
    }
    let tablets: Vec<TabletId> = batch.tablets.iter().map(|tablet| tablet.id).collect();
    task.env
        .storage
        .settle(task.order.op(), moving.token, batch.backend, &tablets)?;
    Ok(Output::Moved {
        bytes: moving.moved.into_inner(),
        objects: units::object_count(&units),
        reused_bytes: moving.reused.into_inner(),
    })
}

fn read_wants(task: &Task<'_>, batch: &plan::Batch) -> Result<Vec<Want>, Failure> {
    let lists = Lists::open(task, batch)?;
    let objects = lists.objects()?;
    let mut wants = Vec::new();
    for tablet in &batch.tablets {
        for (part, file) in lists.files(tablet)? {
            let objects = objects.get(part as usize).map_or(&[][..], Vec::as_slice);
            wants.push(Want::new(tablet.id, &file, objects)?);
        }
    }
    Ok(wants)
}

/// One attempt's writing into the staging places of one backend.
struct Moving<'a> {
    task: &'a Task<'a>,
    backend: BackendId,
    token: Token,
    /// Bytes that came from the repository.
    moved: AtomicU64,
    /// Bytes that were there already.
    reused: AtomicU64,
}

impl Moving<'_> {
    /// Takes what is local, into places that are made again where a cut of power took them.
    fn begin(&self, batch: &plan::Batch, wants: &[Want]) -> Result<Vec<usize>, Failure> {
        // Taking what is local asks for the place of each of these; nothing does for the others.
        let asked: BTreeSet<TabletId> = wants
            .iter()
            .filter(|want| !want.pieces.is_empty())
            .map(|want| want.tablet)
            .collect();
        let again =
            |wanted: &dyn Fn(TabletId) -> bool| stage_again(self.task, batch, self.token, wanted);
        again(&|tablet| !asked.contains(&tablet))?;
        match self.take_local(wants) {
            Err(failure) if failure.class == FailureClass::Fatal(StatusCode::NotFound) => {
                log::warn!(
                    "staging places of job {} are made again: {}",
                    self.task.order.job,
                    failure.message
                );
                again(&|tablet| asked.contains(&tablet))?;
                self.reused.store(0, Ordering::Relaxed);
                self.task.progress.forget_files();
                self.take_local(wants)
            }
            taken => taken,
        }
    }

    /// Takes what is local; gives the indices of what is not.
    fn take_local(&self, wants: &[Want]) -> Result<Vec<usize>, Failure> {
        let missing = Mutex::new(Vec::new());
        let numbered: Vec<(usize, &Want)> = wants.iter().enumerate().collect();
        parallel::each(
            self.task.context,
            &numbered,
            &self.task.env.movers,
            |(index, want)| {
                if self.is_local(want)? {
                    self.reused.fetch_add(want.entry.len, Ordering::Relaxed);
                    self.task.progress.add(1, 0);
                } else {
                    missing.lock().push(*index);
                }
                Ok(())
            },
        )?;
        let mut missing = missing.into_inner();
        missing.sort_unstable();
        Ok(missing)
    }

    fn is_local(&self, want: &Want) -> Result<bool, Failure> {
        // What an earlier attempt has finished is not hashed again here: the storage has proved
        // it.
        if self.task.order.attempt > 1 && self.stage(want)?.is_none() {
            return Ok(true);
        }
        if want.pieces.is_empty() {
            return Ok(false);
        }
        let (storage, op) = (&self.task.env.storage, self.task.order.op());
        let reuse = storage.reuse(op, self.token, self.backend, want.tablet, &want.entry)?;
        Ok(reuse == Reuse::Linked)
    }

    /// Opens the file for writing; `None` where it is complete already.
    fn stage(&self, want: &Want) -> Result<Option<Box<dyn StagedFile>>, Failure> {
        let (storage, op) = (&self.task.env.storage, self.task.order.op());
        match storage.stage_file(op, self.token, self.backend, want.tablet, &want.entry)? {
            Staging::Done => Ok(None),
            Staging::Write(file) => Ok(Some(file)),
        }
    }

    fn write_whole(&self, want: &Want, bytes: &[u8]) -> Result<(), Failure> {
        if let Some(mut file) = self.stage(want)? {
            if !bytes.is_empty() {
                file.write(bytes)?;
            }
            file.finish()?;
        }
        self.task.progress.add(1, want.entry.len);
        Ok(())
    }

    fn count(&self, bytes: &[u8]) {
        self.moved.fetch_add(bytes.len() as u64, Ordering::Relaxed);
    }
}

struct Fetch<'a> {
    moving: &'a Moving<'a>,
    repository: &'a Repository,
    wants: &'a [Want],
}

impl Fetch<'_> {
    fn unit(&self, unit: &Unit) -> Result<(), Failure> {
        match unit {
            Unit::Empty { targets } => self.empty(targets),
            Unit::Small { key, spans } => self.small(key, spans),
            Unit::Large { pieces, targets } => self.large(pieces, targets),
        }
    }

    fn empty(&self, targets: &[usize]) -> Result<(), Failure> {
        targets
            .iter()
            .try_for_each(|&target| self.moving.write_whole(&self.wants[target], &[]))
    }

    /// Small contents: each is held in memory until it is proved, then written to all files that
    /// have it.
    fn small(&self, key: &ObjectKey, spans: &[Span]) -> Result<(), Failure> {
        let mut done = 0;
        insist(self.moving.task, |_| {
            let rest = &spans[done..];
            let wanted: Vec<WantedPiece> = rest
                .iter()
                .map(
                    |&Span {
                         offset, len, hash, ..
                     }| WantedPiece { offset, len, hash },
                )
                .collect();
            let mut buffer = Vec::new();
            let mut ours = None;
            let read =
                self.repository
                    .read_pieces(
                        self.moving.task.context,
                        key,
                        &wanted,
                        &mut |event| match event {
                            PieceEvent::Bytes { bytes, .. } => {
                                self.moving.count(bytes);
                                buffer.extend_from_slice(bytes);
                                Ok(())
                            }
                            PieceEvent::Proved { index } => {
                                let written = self.write_span(&rest[index], &buffer);
                                buffer.clear();
                                done += usize::from(written.is_ok());
                                written.map_err(|failure| stop(&mut ours, failure))
                            }
                        },
                    );
            match ours {
                Some(failure) => Err(Fault::Other(failure)),
                None => Ok(read?),
            }
        })
    }

    fn write_span(&self, span: &Span, bytes: &[u8]) -> Result<(), Failure> {
        let mut targets = span.targets.iter();
        targets.try_for_each(|&target| self.moving.write_whole(&self.wants[target], bytes))
    }

    /// One larger content, streamed into all files that have it.
    fn large(&self, pieces: &[Piece], targets: &[usize]) -> Result<(), Failure> {
        let mut left = targets.to_vec();
        insist(self.moving.task, |reading| {
            let mut files = Vec::new();
            for target in std::mem::take(&mut left) {
                let want = &self.wants[target];
                match self.moving.stage(want)? {
                    Some(file) => files.push((target, file)),
                    None => self.moving.task.progress.add(1, want.entry.len),
                }
            }
            left.extend(files.iter().map(|(target, _)| *target));
            for piece in pieces {
                self.stream(piece, reading, &mut files)?;
            }
            for (target, file) in files {
                let want = &self.wants[target];
                file.finish()
                    .map_err(|error| unproved(&error, want, pieces))?;
                left.retain(|other| *other != target);
                self.moving.task.progress.add(1, want.entry.len);
            }
            Ok(())
        })
    }

    /// Hands one piece to all files. The storage proves whole files, so a first reading is not
    /// hashed here as well; another one is, so that the object at fault has a name.
    fn stream(
        &self,
        piece: &Piece,
        reading: u32,
        files: &mut [(usize, Box<dyn StagedFile>)],
    ) -> Result<(), Fault> {
        if files.is_empty() {
            return Ok(());
        }
        let context = self.moving.task.context;
        let mut ours = None;
        let mut write = |bytes: &[u8]| {
            self.moving.count(bytes);
            for (_, file) in files.iter_mut() {
                file.write(bytes)
                    .map_err(|error| stop(&mut ours, error.into()))?;
            }
            Ok(())
        };
        let &Piece {
            key,
            offset,
            len,
            hash,
        } = piece;
        let read = if reading == 1 {
            let range = offset..offset.saturating_add(len);
            self.repository
                .read_object(context, &key, range, &mut write)
        } else {
            let wanted = [WantedPiece { offset, len, hash }];
            self.repository
                .read_pieces(context, &key, &wanted, &mut |event| match event {
                    PieceEvent::Bytes { bytes, .. } => write(bytes),
                    PieceEvent::Proved { .. } => Ok(()),
                })
        };
        match ours {
            Some(failure) => Err(Fault::Other(failure)),
            None => Ok(read?),
        }
    }
}

/// Keeps the failure of our own side and ends the reading; the text of the broker's error is never
/// shown.
fn stop(ours: &mut Option<Failure>, failure: Failure) -> holdfast_broker::Error {
    let error = holdfast_broker::Error::new(ErrorClass::Cancelled, failure.message.clone());
    *ours = Some(failure);
    error
}

fn unproved(error: &holdfast_storage::Error, want: &Want, pieces: &[Piece]) -> Fault {
    if error.kind() != ErrorKind::Invalid {
        return Fault::Other(error.clone().into());
    }
    let more = match pieces.len() {
        0 | 1 => String::new(),
        count => format!(" and {} more objects", count - 1),
    };
    let object = pieces
        .first()
        .map(|piece| piece.key.to_string())
        .unwrap_or_default();
    Fault::Object(format!(
        "object {object}{more} does not give file '{}': {}",
        want.entry.name,
        error.message()
    ))
}
