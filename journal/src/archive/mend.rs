//! What an opening does about archiving that was cut short: whatever the anchor does not count is
//! undone, whatever it counts is finished. Nothing is removed that is not held whole elsewhere.

use std::io;

use super::{ARCHIVE_FOLDER, ArchiveInfo, UNFINISHED, folder, list, parse_name, read::Archive};
use crate::{
    anchor::{self, ANCHOR_NEW},
    cases::OpenCase,
    disk::Disk,
    error::Error,
    ids::Seq,
    reader::Reader,
};

/// Finishes or undoes; what was found. `leftover` are segments before the anchor.
///
/// # Errors
/// `Io`.
pub(crate) fn mend(
    reader: &Reader,
    family: u32,
    leftover: &[(String, Seq)],
) -> Result<Vec<OpenCase>, Error> {
    let disk = &**reader.disk();
    let mut cases = Vec::new();
    match disk.remove(ANCHOR_NEW) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => {
            return Err(Error::io("remove", ANCHOR_NEW, &e));
        }
        _ => {}
    }
    if !leftover.is_empty() {
        finish(reader, leftover, &mut cases)?;
    }
    if let Some(inner) = folder(disk)? {
        undo(reader, &*inner, family, &mut cases)?;
    }
    Ok(cases)
}

/// Removes the segments that whole archives hold.
fn finish(
    reader: &Reader,
    leftover: &[(String, Seq)],
    cases: &mut Vec<OpenCase>,
) -> Result<(), Error> {
    if let Some(anchor) = reader.anchor() {
        // The process that put it there may have died of a failed sync: it is durable before what only it stands for goes.
        let disk = &**reader.disk();
        anchor::prepare(disk, &anchor)
            .and_then(|()| anchor::put(disk))
            .map_err(|e| Error::io("write", anchor::ANCHOR, &e))?;
    }
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
        remove_segments(&**reader.disk(), &held);
        cases.push(OpenCase::ArchiveUnfinished {
            archive: info.file.clone(),
            segments: held.len() as u64,
        });
    }
    if !left.is_empty() {
        let segments = left.len() as u64;
        cases.push(OpenCase::ArchiveAway { segments });
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

/// Removes what no anchor counts: files that were being written, and archives of records that the
/// log still holds.
fn undo(
    reader: &Reader,
    inner: &dyn Disk,
    family: u32,
    cases: &mut Vec<OpenCase>,
) -> Result<(), Error> {
    let (first, end) = (reader.first(), reader.tip().seq);
    let mut gone = false;
    for name in list(inner)? {
        let shown = format!("{ARCHIVE_FOLDER}/{name}");
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
            inner
                .remove(&name)
                .map_err(|e| Error::io("remove", &shown, &e))?;
            gone = true;
            cases.push(OpenCase::ArchiveUndone { archive: shown });
        }
    }
    if gone {
        inner
            .sync_folder()
            .map_err(|e| Error::io("sync", ARCHIVE_FOLDER, &e))?;
    }
    Ok(())
}
