//! Checkpoints: files beside the log that keep a projection's state as of one record.
//!
//! A checkpoint proves itself (a hash over all of it) and names the log's chain hash at its
//! record; without both it is not used, and the one before is. It is never needed: what it holds
//! can be replayed. It is a witness, though: one that knows more than the log says that the log
//! lost its end.

use std::{io, ops::ControlFlow};

use crate::{
    anchor::{self, Anchor},
    disk::{Disk, read_all},
    error::{Error, ErrorKind},
    ids::{FrameHash, Seq},
    journal::{Checkpoint, Kept},
    reader::Reader,
};

const MAGIC: [u8; 8] = *b"HFJCHK\r\n";
const FORMAT: u16 = 1;
const HEADER_BYTES: usize = 96;
const HASH_AT: usize = 64;
const SUFFIX: &str = ".checkpoint";
/// How many of each projection are kept.
const KEPT: usize = 2;

/// Checks the name of a projection, which becomes part of a file name.
pub(crate) fn check_name(projection: &str) -> Result<(), Error> {
    let allowed = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if projection.is_empty() || projection.len() > 64 || !projection.bytes().all(allowed) {
        let text = format!("projection name {projection:?}, expected [a-z0-9-], 1 to 64 bytes");
        return Err(Error::invalid(text));
    }
    Ok(())
}

fn file_name(projection: &str, seq: Seq) -> String {
    format!("{projection}.{:020}{SUFFIX}", seq.get())
}

/// The projection and the sequence in a checkpoint's file name.
fn parse_name(name: &str) -> Option<(&str, Seq)> {
    let (projection, digits) = name.strip_suffix(SUFFIX)?.rsplit_once('.')?;
    check_name(projection).ok()?;
    digits.parse().ok().map(|seq| (projection, Seq(seq)))
}

fn seal(header: &[u8], state: &[u8]) -> [u8; 32] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&header[..HASH_AT]).update(state);
    *hasher.finalize().as_bytes()
}

pub(crate) fn encode(family: u32, seq: Seq, hash: &FrameHash, state: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; HEADER_BYTES];
    bytes[0..8].copy_from_slice(&MAGIC);
    bytes[8..10].copy_from_slice(&FORMAT.to_le_bytes());
    bytes[12..16].copy_from_slice(&family.to_le_bytes());
    bytes[16..24].copy_from_slice(&seq.get().to_le_bytes());
    bytes[24..32].copy_from_slice(&(state.len() as u64).to_le_bytes());
    bytes[32..64].copy_from_slice(hash.as_bytes());
    let own = seal(&bytes, state);
    bytes[HASH_AT..].copy_from_slice(&own);
    bytes.extend_from_slice(state);
    bytes
}

pub(crate) fn decode(family: u32, bytes: &[u8]) -> Result<Checkpoint, &'static str> {
    let (header, state) = bytes
        .split_at_checked(HEADER_BYTES)
        .ok_or("it is too short")?;
    if header[0..8] != MAGIC || header[8..10] != FORMAT.to_le_bytes() {
        return Err("it is no checkpoint of a known format");
    }
    if header[10..12] != [0; 2] {
        return Err("it has a byte set where a zero is written");
    }
    if header[24..32] != (state.len() as u64).to_le_bytes()
        || header[HASH_AT..] != seal(header, state)
    {
        return Err("its hash disagrees");
    }
    if header[12..16] != family.to_le_bytes() {
        return Err("it is of another family");
    }
    let (mut seq, mut hash) = ([0; 8], [0; 32]);
    seq.copy_from_slice(&header[16..24]);
    hash.copy_from_slice(&header[32..64]);
    let seq = Seq(u64::from_le_bytes(seq));
    Ok(Checkpoint {
        seq,
        hash: FrameHash(hash),
        state: state.to_vec(),
    })
}

fn names(disk: &dyn Disk) -> Result<Vec<String>, Error> {
    disk.list()
        .map_err(|e| Error::io("list", "the journal folder", &e))
}

/// Keeps a state, durably, and drops all but the newest [`KEPT`] of its projection. Whoever comes while another is
/// written waits.
pub(crate) fn write(
    reader: &Reader,
    family: u32,
    seq: Seq,
    projection: &str,
    state: &[u8],
) -> Result<(), Error> {
    check_name(projection)?;
    let Some(hash) = reader.hash_at(seq)? else {
        let end = reader.tip().seq;
        return Err(Error::invalid(format!(
            "checkpoint at {seq}, the journal ends at {end}"
        )));
    };
    let _one = reader.checkpointing.lock();
    let disk = &**reader.disk();
    let name = file_name(projection, seq);
    let temporary = format!("{name}.new");
    let put = || -> io::Result<()> {
        match disk.remove(&temporary) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
        let file = disk.create(&temporary)?;
        let bytes = encode(family, seq, &hash, state);
        file.write_at(0, &bytes)?;
        file.sync()?;
        // It counts, and may push older ones out, only once it reads back.
        if read_all(&*disk.open(&temporary)?)? != bytes {
            return Err(io::Error::other(
                "what was read back is not what was written",
            ));
        }
        disk.rename(&temporary, &name)?;
        disk.sync_folder()
    };
    if let Err(error) = put() {
        if let Err(left) = disk.remove(&temporary) {
            log::debug!("checkpoint {temporary} is left behind: {left}");
        }
        return Err(Error::io("write checkpoint", &name, &error));
    }
    let held = reader.held.lock();
    let kept = [&held.anchored, &held.candidate];
    for old in newest_first(disk, projection)?.into_iter().skip(KEPT) {
        if kept.into_iter().flatten().any(|name| *name == old) {
            continue;
        }
        match disk.remove(&old) {
            // Another checkpoint of the same projection, made at the same time, dropped it first.
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(Error::io("remove checkpoint", &old, &e));
            }
            _ => {}
        }
    }
    Ok(())
}

fn newest_first(disk: &dyn Disk, projection: &str) -> Result<Vec<String>, Error> {
    let mut found = names(disk)?;
    found.retain(|name| parse_name(name).is_some_and(|(of, _)| of == projection));
    found.sort();
    found.reverse();
    Ok(found)
}

fn load(disk: &dyn Disk, family: u32, name: &str) -> Result<Checkpoint, Error> {
    load_sealed(disk, family, name).map(|(checkpoint, _)| checkpoint)
}

/// The checkpoint with its own hash.
fn load_sealed(disk: &dyn Disk, family: u32, name: &str) -> Result<(Checkpoint, [u8; 32]), Error> {
    let file = disk.open(name).map_err(|e| match e.kind() {
        // A live writer may drop an old one between the listing and this.
        io::ErrorKind::NotFound => {
            Error::new(ErrorKind::NotFound, format!("checkpoint {name} is gone"))
        }
        _ => Error::io("open checkpoint", name, &e),
    })?;
    let bytes = read_all(&*file).map_err(|e| Error::io("read checkpoint", name, &e))?;
    let checkpoint = decode(family, &bytes)
        .map_err(|why| Error::damaged(format!("checkpoint {name} is not used: {why}")))?;
    if parse_name(name).is_none_or(|(_, seq)| seq != checkpoint.seq) {
        return Err(Error::damaged(format!(
            "checkpoint {name} is not used: it was renamed"
        )));
    }
    let mut seal = [0; 32];
    seal.copy_from_slice(&bytes[HASH_AT..HEADER_BYTES]);
    Ok((checkpoint, seal))
}

/// The newest state of a projection that includes no record behind `through`, is whole and agrees
/// with the log.
pub(crate) fn newest_by(
    reader: &Reader,
    family: u32,
    projection: &str,
    through: Seq,
) -> Result<Option<Checkpoint>, Error> {
    check_name(projection)?;
    let disk = &**reader.disk();
    for name in newest_first(disk, projection)? {
        if parse_name(&name).is_none_or(|(_, seq)| seq > through) {
            continue;
        }
        match load(disk, family, &name) {
            Ok(found) if reader.hash_at(found.seq)? == Some(found.hash) => return Ok(Some(found)),
            Ok(_) => log::warn!("checkpoint {name} is not used: it disagrees with the log"),
            Err(error) => log::warn!("{error}"),
        }
    }
    Ok(None)
}

/// Every checkpoint of a projection that is kept and reaches no further than the log, oldest first; one whose
/// record is in an archive that is not at hand cannot be compared and is left out.
pub(crate) fn all(reader: &Reader, family: u32, projection: &str) -> Result<Vec<Kept>, Error> {
    check_name(projection)?;
    let disk = &**reader.disk();
    let mut kept = Vec::new();
    for name in newest_first(disk, projection)?.into_iter().rev() {
        let Some((_, seq)) = parse_name(&name).filter(|(_, seq)| *seq <= reader.tip().seq) else {
            continue;
        };
        let content = match load(disk, family, &name) {
            Ok(found) if hash_in_history(reader, found.seq)?.is_none() => continue,
            Ok(found) if hash_in_history(reader, found.seq)? == Some(found.hash) => Ok(found),
            Ok(_) => Err(Error::damaged(format!(
                "checkpoint {name} is not used: it disagrees with the log"
            ))),
            // A live writer dropped it meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) if error.kind() == ErrorKind::Io => return Err(error),
            Err(error) => Err(error),
        };
        kept.push(Kept { name, seq, content });
    }
    Ok(kept)
}

/// The newest whole checkpoint that includes the record `last` and agrees with the log, held so that
/// no newer one drops it: its record and its own hash.
///
/// # Errors
/// `Invalid` where there is none, which is the caller's to write first.
pub(crate) fn hold(
    reader: &Reader,
    family: u32,
    projection: &str,
    last: Seq,
) -> Result<(Seq, [u8; 32]), Error> {
    check_name(projection)?;
    let disk = &**reader.disk();
    let mut held = reader.held.lock();
    for name in newest_first(disk, projection)? {
        let loaded = load_sealed(disk, family, &name);
        let Ok((found, seal)) = loaded else { continue };
        if found.seq >= last && reader.hash_at(found.seq)? == Some(found.hash) {
            held.candidate = Some(name);
            return Ok((found.seq, seal));
        }
    }
    Err(Error::invalid(format!(
        "nothing is archived: no whole checkpoint of {projection} includes record {last}, write one \
         first"
    )))
}

/// Checks that the checkpoint which the folder's anchor names is there, whole, and the one that is meant.
///
/// # Errors
/// `Damaged`, naming it; `Io`.
pub(crate) fn check_anchored(disk: &dyn Disk, family: u32) -> Result<(), Error> {
    let read = || {
        let found = anchor::read(disk).map_err(|e| Error::io("read", anchor::ANCHOR, &e))?;
        // One that is not whole is found by opening.
        Ok::<_, Error>(found.and_then(Result::ok))
    };
    let mut anchor = read()?;
    loop {
        let Some(of) = &anchor else { return Ok(()) };
        let Err(error) = anchored_as_meant(disk, family, of) else {
            return Ok(());
        };
        // A live writer that archives drops the one of the anchor before.
        let now = read()?;
        if now == anchor {
            return Err(error);
        }
        anchor = now;
    }
}

fn anchored_as_meant(disk: &dyn Disk, family: u32, anchor: &Anchor) -> Result<(), Error> {
    let name = anchored_name(anchor);
    let why = match load_sealed(disk, family, &name) {
        Ok((_, seal)) if seal == anchor.checkpoint_hash => return Ok(()),
        Ok(_) => format!("checkpoint {name} is another one than it names"),
        Err(error) if error.kind() == ErrorKind::Io => return Err(error),
        Err(error) => error.to_string(),
    };
    Err(Error::damaged(format!(
        "the anchor stands on a checkpoint that cannot be used: {why}; without any that can, opening needs every archive"
    )))
}

/// The name of the checkpoint that an anchor names.
pub(crate) fn anchored_name(anchor: &Anchor) -> String {
    file_name(&anchor.projection, anchor.checkpoint)
}

/// The chain hash at a record of the log or of the archives at hand.
fn hash_in_history(reader: &Reader, seq: Seq) -> Result<Option<FrameHash>, Error> {
    if let Some(hash) = reader.hash_at(seq)? {
        return Ok(Some(hash));
    }
    let mut hash = None;
    let read = reader.history(seq, seq, &mut |raw| {
        hash = Some(raw.head.hash);
        Ok(ControlFlow::Break(()))
    });
    match read {
        // Not at hand, or not whole; whoever reads the archive is told.
        Err(error) if error.kind() != ErrorKind::Io => Ok(None),
        outcome => outcome.map(|()| hash),
    }
}

/// The checkpoint that has seen most of the log: its name and sequence. Only whole ones count.
pub(crate) fn farthest(
    disk: &dyn Disk,
    family: u32,
    end: Seq,
) -> Result<Option<(String, Seq)>, Error> {
    let mut farthest: Option<(String, Seq)> = None;
    for name in names(disk)? {
        // The name alone says whether it is worth reading.
        let Some((_, seq)) = parse_name(&name).filter(|(_, seq)| *seq > end) else {
            continue;
        };
        match load(disk, family, &name) {
            Ok(_) if farthest.as_ref().is_none_or(|(_, best)| *best < seq) => {
                farthest = Some((name, seq));
            }
            Err(error) if error.kind() == ErrorKind::Io => return Err(error),
            _ => {}
        }
    }
    Ok(farthest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_that_sets_what_must_be_zero_is_none() {
        let bytes = encode(1, Seq(2), &FrameHash([3; 32]), b"state");
        assert!(decode(1, &bytes).is_ok());
        for at in [10, 11] {
            let mut odd = bytes.clone();
            odd[at] = 1;
            let own = seal(&odd, b"state");
            odd[HASH_AT..HEADER_BYTES].copy_from_slice(&own);
            assert!(decode(1, &odd).is_err(), "byte {at}");
        }
    }
}
