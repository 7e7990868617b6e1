//! What an opening does about archiving that was cut short: whatever the anchor does not count is
//! undone, whatever it counts is finished. Nothing is removed that is not held whole elsewhere.

use std::io;

use super::{ARCHIVE_FOLDER, ArchiveInfo, UNFINISHED, folder, list, parse_name, read::Archive};
use crate::{
    anchor::{self, ANCHOR_NEW, Anchor},
    cases::OpenCase,
    commit,
    disk::Disk,
    error::{Error, ErrorKind},
    ids::Seq,
    reader::Reader,
};

/// What an opening will do: what it finds, and what goes for it.
pub(crate) struct Mending {
    /// What is found.
    pub(crate) cases: Vec<OpenCase>,
    /// Segments that whole archives hold, the newest last.
    segments: Vec<(String, Seq)>,
    /// Files among the archives that count for nothing.
    archives: Vec<String>,
}

/// Finishes or undoes; what was found and done. `leftover` are segments before the anchor; where the disk is too full
/// to make that durable, they stay.
///
/// # Errors
/// `Io`.
pub(crate) fn mend(
    reader: &Reader,
    family: u32,
    leftover: &[(String, Seq)],
) -> Result<Vec<OpenCase>, Error> {
    let disk = &**reader.disk();
    match disk.remove(ANCHOR_NEW) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io("remove", ANCHOR_NEW, &e));
        }
        _ => {}
    }
    let durable = match (leftover.is_empty(), reader.anchor()) {
        (false, Some(anchor)) => make_durable(disk, &anchor)?,
        _ => true,
    };
    let mut found = find(reader, family, leftover)?;
    if !durable {
        let finished = |case: &OpenCase| matches!(case, OpenCase::ArchiveUnfinished { .. });
        found.cases.retain(|case| !finished(case));
    } else if !found.segments.is_empty() {
        remove_segments(disk, &found.segments);
    }
    if let (false, Some(inner)) = (found.archives.is_empty(), folder(disk)?) {
        for name in &found.archives {
            inner
                .remove(name)
                .map_err(|e| Error::io("remove", &shown(name), &e))?;
        }
        inner
            .sync_folder()
            .map_err(|e| Error::io("sync", ARCHIVE_FOLDER, &e))?;
    }
    Ok(found.cases)
}

/// Writes the anchor again: the process that put it there may have died of a failed sync, and it is durable before what
/// only it stands for goes. Whether it is; a full disk has no room for it even with what is held back.
fn make_durable(disk: &dyn Disk, anchor: &Anchor) -> Result<bool, Error> {
    let write = || {
        anchor::prepare(disk, anchor)
            .and_then(|()| anchor::put(disk))
            .map_err(|e| Error::io("write", anchor::ANCHOR, &e))
    };
    let full = |written: &Result<(), Error>| {
        let error = written.as_ref().err();
        error.is_some_and(|error| error.kind() == ErrorKind::Full)
    };
    let mut written = write();
    // Whoever opens holds it anew afterwards, in the room of what goes now.
    if full(&written) && commit::give_up_reserve(disk).is_ok() {
        written = write();
    }
    match written {
        Err(error) if error.kind() == ErrorKind::Full => {
            if let Err(left) = disk.remove(ANCHOR_NEW) {
                log::debug!("{ANCHOR_NEW} is left behind: {left}");
            }
            log::warn!("archived segments stay until an opening with free space: {error}");
            Ok(false)
        }
        outcome => outcome.map(|()| true),
    }
}

/// What there is to finish or to undo. Changes nothing.
///
/// # Errors
/// `Io`.
pub(crate) fn find(
    reader: &Reader,
    family: u32,
    leftover: &[(String, Seq)],
) -> Result<Mending, Error> {
    let mut found = Mending {
        cases: Vec::new(),
        segments: Vec::new(),
        archives: Vec::new(),
    };
    if !leftover.is_empty() {
        find_held(reader, leftover, &mut found)?;
    }
    if let Some(inner) = folder(&**reader.disk())? {
        find_uncounted(reader, &*inner, family, &mut found)?;
    }
    Ok(found)
}

/// The segments that whole archives hold.
fn find_held(reader: &Reader, leftover: &[(String, Seq)], to: &mut Mending) -> Result<(), Error> {
    let mut left = leftover.to_vec();
    for archive in reader.archives()?.found {
        let info = archive.info();
        let inside = |(_, first): &(String, Seq)| info.first <= *first && *first <= info.last;
        let (held, rest): (Vec<_>, Vec<_>) = left.into_iter().partition(inside);
        left = rest;
        if held.is_empty() {
            continue;
        }
        if let Err(error) = archive.verify() {
            log::warn!("archived segments stay beside the log: {error}");
            left.extend(held);
            continue;
        }
        to.cases.push(OpenCase::ArchiveUnfinished {
            archive: info.file.clone(),
            segments: held.len() as u64,
        });
        to.segments.extend(held);
    }
    if !left.is_empty() {
        let segments = left.len() as u64;
        to.cases.push(OpenCase::ArchiveAway { segments });
    }
    Ok(())
}

/// Removes segments that an archive holds, the newest last. What fails is left to the next opening.
pub(crate) fn remove_segments(disk: &dyn Disk, segments: &[(String, Seq)]) {
    let removed = segments
        .iter()
        .try_for_each(|(name, _)| disk.remove(name))
        .and_then(|()| disk.sync_folder());
    if let Err(error) = removed {
        log::warn!("archived segments stay until the next opening: {error}");
    }
}

/// Removes an archive that no anchor will name. What fails is left to the next opening.
pub(crate) fn take_back(disk: &dyn Disk, info: &ArchiveInfo) {
    let removed = folder(disk).and_then(|inner| {
        let name = info.file.rsplit('/').next().unwrap_or_default();
        let Some(inner) = inner else { return Ok(()) };
        let removed = inner.remove(name).and_then(|()| inner.sync_folder());
        removed.map_err(|e| Error::io("remove", &info.file, &e))
    });
    if let Err(error) = removed {
        log::warn!("an archive that does not count stays until the next opening: {error}");
    }
}

/// What no anchor counts: files that were being written, and archives of records that the log still
/// holds.
fn find_uncounted(
    reader: &Reader,
    inner: &dyn Disk,
    family: u32,
    to: &mut Mending,
) -> Result<(), Error> {
    let (first, end) = (reader.first(), reader.tip().seq);
    for name in list(inner)? {
        let undone = if name.ends_with(UNFINISHED) {
            true
        } else {
            let ahead = parse_name(&name).is_some_and(|(from, to)| from == first && to <= end);
            ahead
                && match Archive::open(inner, &name) {
                    Ok(archive) => {
                        archive.family() == family
                            && reader.hash_at(archive.info().last)? == Some(archive.info().hash)
                    }
                    Err(error) => {
                        log::warn!("{error}; it is left as it is, the log holds its records");
                        false
                    }
                }
        };
        if undone {
            to.cases.push(OpenCase::ArchiveUndone {
                archive: shown(&name),
            });
            to.archives.push(name);
        }
    }
    Ok(())
}

fn shown(name: &str) -> String {
    format!("{ARCHIVE_FOLDER}/{name}")
}
