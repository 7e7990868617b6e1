//! Making an archive of the leading segments of a log: written under another name, read back whole,
//! synced, renamed. The log is not touched here.

use std::{
    io::{self, Write},
    ops::ControlFlow,
    sync::Arc,
};

use zstd::stream::write::Encoder;

use super::{
    ARCHIVE_FOLDER, ArchiveInfo, ArchiveRequest, DESCRIPTION_MAX_BYTES,
    format::{self, HEADER_BYTES, Header, PART_BYTES, PARTS_MAX, Part},
    read::{Archive, flawed},
};
use crate::{
    disk::{Disk, DiskFile},
    error::Error,
    ids::Seq,
    transaction::Tip,
};

/// zstd's own default: a third of the bytes at several hundred MB a second.
const LEVEL: i32 = 3;
const PIECE: usize = 1 << 20;

/// The leading segments that are to move.
pub(crate) struct Leading {
    pub(crate) family: u32,
    /// Names and first records, in order; never empty.
    pub(crate) segments: Vec<(String, Seq)>,
    /// The record before the first of them.
    pub(crate) before: Tip,
    /// The last record of the last of them.
    pub(crate) last: Tip,
}

/// Makes the archive, durable under its name; what it says of itself, and its own hash.
///
/// # Errors
/// `Invalid` for a description that is too long, `Damaged` where a segment is, `Full`, `Io`.
/// Nothing is left behind then but what the next opening removes.
pub(crate) fn make(
    disk: &dyn Disk,
    leading: &Leading,
    request: &ArchiveRequest<'_>,
) -> Result<(ArchiveInfo, [u8; 32]), Error> {
    if request.description.len() > DESCRIPTION_MAX_BYTES {
        return Err(Error::invalid(format!(
            "description of {} bytes, expected at most {DESCRIPTION_MAX_BYTES}",
            request.description.len()
        )));
    }
    if leading.segments.len() > PARTS_MAX as usize {
        return Err(Error::invalid(format!(
            "{} segments, expected at most {PARTS_MAX}",
            leading.segments.len()
        )));
    }
    let failed = |e: &io::Error| Error::io("make", ARCHIVE_FOLDER, e);
    let inner = disk.within(ARCHIVE_FOLDER, true).map_err(|e| failed(&e))?;
    let first = leading.before.seq.next();
    let name = super::file_name(first, leading.last.seq);
    let temporary = format!("{name}.new");
    let failed = |e: &io::Error| Error::io("write", &format!("{ARCHIVE_FOLDER}/{temporary}"), e);
    remove_if_there(&*inner, &temporary).map_err(|e| failed(&e))?;
    let file: Arc<dyn DiskFile> = inner.create(&temporary).map_err(|e| failed(&e))?.into();
    let made = fill(disk, &file, leading, request, &name).and_then(|made| {
        file.sync().map_err(|e| failed(&e))?;
        inner.rename(&temporary, &name).map_err(|e| failed(&e))?;
        inner.sync_folder().map_err(|e| failed(&e))?;
        Ok(made)
    });
    if made.is_err()
        && let Err(left) = remove_if_there(&*inner, &temporary)
    {
        log::debug!("{ARCHIVE_FOLDER}/{temporary} is left behind: {left}");
    }
    made
}

fn remove_if_there(inner: &dyn Disk, name: &str) -> io::Result<()> {
    match inner.remove(name) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(e),
        _ => Ok(()),
    }
}

/// Writes segments, description and table, reads all back, then writes the header.
fn fill(
    disk: &dyn Disk,
    file: &Arc<dyn DiskFile>,
    leading: &Leading,
    request: &ArchiveRequest<'_>,
    name: &str,
) -> Result<(ArchiveInfo, [u8; 32]), Error> {
    let shown = format!("{ARCHIVE_FOLDER}/{name}");
    let failed = |e: &io::Error| Error::io("write", &shown, e);
    let head_bytes = request.description.len() + leading.segments.len() * PART_BYTES;
    let mut offset = (HEADER_BYTES + head_bytes) as u64;
    let mut parts = Vec::with_capacity(leading.segments.len());
    for (segment, first) in &leading.segments {
        let part = squeeze(disk, file, (segment, *first), offset)?;
        offset += part.bytes;
        parts.push(part);
    }
    let mut head = request.description.to_vec();
    parts
        .iter()
        .for_each(|part| format::encode_part(part, &mut head));
    file.write_at(HEADER_BYTES as u64, &head)
        .map_err(|e| failed(&e))?;
    let mut header = Header {
        family: leading.family,
        first: leading.before.seq.next(),
        last: leading.last.seq,
        before: leading.before.hash,
        hash: leading.last.hash,
        earliest_ms: u64::MAX,
        latest_ms: 0,
        made_ms: request.at_ms,
        parts: u32::try_from(parts.len()).unwrap_or(u32::MAX),
        description_bytes: u32::try_from(request.description.len()).unwrap_or(u32::MAX),
        file_bytes: offset,
        head_hash: *blake3::hash(&head).as_bytes(),
    };
    let archive = |header: &Header, seal| {
        let (file, parts) = (Arc::clone(file), parts.clone());
        let description = request.description.to_vec();
        Archive::assemble(shown.clone(), file, header, seal, description, parts)
    };
    // All of it as a reader will see it, against the chain of the log that it is to stand for.
    let bounds = (header.first, header.last);
    let _all = archive(&header, [0; 32]).frames(bounds.0, bounds.1, &mut |raw| {
        header.earliest_ms = header.earliest_ms.min(raw.head.at_ms);
        header.latest_ms = header.latest_ms.max(raw.head.at_ms);
        Ok(ControlFlow::Continue(()))
    })?;
    let bytes = format::encode(&header);
    file.write_at(0, &bytes).map_err(|e| failed(&e))?;
    let (decoded, seal) = format::decode(&bytes).map_err(|why| flawed(&shown, &why))?;
    let whole = archive(&decoded, seal);
    whole.verify_bytes()?;
    Ok((whole.info().clone(), seal))
}

/// Compresses one segment to `offset` of the archive.
fn squeeze(
    disk: &dyn Disk,
    file: &Arc<dyn DiskFile>,
    (name, first): (&str, Seq),
    offset: u64,
) -> Result<Part, Error> {
    let source = disk.open(name).map_err(|e| Error::io("open", name, &e))?;
    let raw_bytes = source.bytes().map_err(|e| Error::io("read", name, &e))?;
    let target = Target {
        file: Arc::clone(file),
        at: offset,
        hasher: blake3::Hasher::new(),
    };
    let failed = |e: &io::Error| Error::io("compress", name, e);
    let mut encoder = Encoder::new(target, LEVEL).map_err(|e| failed(&e))?;
    encoder.include_checksum(true).map_err(|e| failed(&e))?;
    let mut piece = vec![0; PIECE];
    let mut at = 0;
    while at < raw_bytes {
        let read = source
            .read_at(at, &mut piece)
            .map_err(|e| Error::io("read", name, &e))?;
        if read == 0 {
            return Err(Error::damaged(format!("segment {name} became shorter")));
        }
        encoder.write_all(&piece[..read]).map_err(|e| failed(&e))?;
        at += read as u64;
    }
    let target = encoder.finish().map_err(|e| failed(&e))?;
    Ok(Part {
        first,
        raw_bytes,
        offset,
        bytes: target.at - offset,
        hash: *target.hasher.finalize().as_bytes(),
    })
}

/// Where compressed bytes go.
struct Target {
    file: Arc<dyn DiskFile>,
    at: u64,
    hasher: blake3::Hasher,
}

impl Write for Target {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(self.at, bytes)?;
        self.hasher.update(bytes);
        self.at += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
