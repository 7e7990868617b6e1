//! Reading an archive: each segment in it is inflated as it is read and then checked frame by frame
//! as one of the log is, checksum and chain.

use std::{
    io::{self, Read},
    ops::ControlFlow,
    path::Path,
    sync::Arc,
};

use parking_lot::Mutex;
use zstd::stream::read::Decoder;

use super::{
    ARCHIVE_FOLDER, ArchiveInfo,
    format::{self, HEADER_BYTES, Header, PART_BYTES, Part},
};
use crate::{
    disk::{Disk, DiskFile, open_to_read},
    error::{Error, ErrorKind},
    event::Event,
    frame::Frame,
    ids::{FrameHash, Seq},
    journal::{Projection, Visit, drive},
    reader::{Cursor, Raw, Stretch, record, visit_stretch},
    readonly::VisitFrame,
    segment,
    transaction::Tip,
};

/// An open archive.
pub(crate) struct Archive {
    file: Arc<dyn DiskFile>,
    info: ArchiveInfo,
    family: u32,
    seal: [u8; 32],
    parts: Vec<Part>,
}

/// Hears of frames, in order.
pub(crate) type VisitRaw<'a> = dyn FnMut(&Raw<'_>) -> Result<ControlFlow<()>, Error> + 'a;

impl Archive {
    /// Opens the archive `name` in the folder of archives; its head is checked, its segments are
    /// when they are read.
    pub(super) fn open(inner: &dyn Disk, name: &str) -> Result<Self, Error> {
        let shown = format!("{ARCHIVE_FOLDER}/{name}");
        let file = inner
            .open(name)
            .map_err(|e| Error::io("open", &shown, &e))?;
        let archive = Self::of(shown.clone(), file.into())?;
        let inside = (archive.info.first, archive.info.last);
        if super::parse_name(name) != Some(inside) {
            return Err(flawed(&shown, "it was renamed"));
        }
        Ok(archive)
    }

    /// An archive in any file, which `shown` names in errors.
    pub(crate) fn of(shown: String, file: Arc<dyn DiskFile>) -> Result<Self, Error> {
        let failed = |e: &io::Error| Error::io("read", &shown, e);
        let mut start = [0; HEADER_BYTES];
        let read = file.read_at(0, &mut start).map_err(|e| failed(&e))?;
        let (header, seal) = format::decode(&start[..read]).map_err(|why| flawed(&shown, &why))?;
        let file_bytes = file.bytes().map_err(|e| failed(&e))?;
        if file_bytes != header.file_bytes {
            let why = format!("it has {file_bytes} bytes, expected {}", header.file_bytes);
            return Err(flawed(&shown, &why));
        }
        let described = header.description_bytes as usize;
        let head_bytes = described + header.parts as usize * PART_BYTES;
        if (HEADER_BYTES + head_bytes) as u64 > file_bytes {
            let why = format!("its table of {} segments is longer than it", header.parts);
            return Err(flawed(&shown, &why));
        }
        let mut head = vec![0; head_bytes];
        let read = file
            .read_at(HEADER_BYTES as u64, &mut head)
            .map_err(|e| failed(&e))?;
        if read != head.len() || header.head_hash != *blake3::hash(&head).as_bytes() {
            return Err(flawed(&shown, "the hash of its table disagrees"));
        }
        let (description, table) = head.split_at(described);
        let (table, _) = table.as_chunks::<PART_BYTES>();
        let parts: Vec<Part> = table.iter().map(format::decode_part).collect();
        Ok(Self::assemble(
            shown,
            file,
            &header,
            seal,
            description.to_vec(),
            parts,
        ))
    }

    pub(super) fn assemble(
        shown: String,
        file: Arc<dyn DiskFile>,
        header: &Header,
        seal: [u8; 32],
        description: Vec<u8>,
        parts: Vec<Part>,
    ) -> Self {
        let info = ArchiveInfo {
            file: shown,
            first: header.first,
            last: header.last,
            hash_before: header.before,
            hash: header.hash,
            earliest_ms: header.earliest_ms,
            latest_ms: header.latest_ms,
            made_ms: header.made_ms,
            description,
            segments: u64::from(header.parts),
            log_bytes: parts
                .iter()
                .fold(0, |sum, part| sum.saturating_add(part.raw_bytes)),
            file_bytes: header.file_bytes,
        };
        Self {
            file,
            info,
            family: header.family,
            seal,
            parts,
        }
    }

    pub(crate) fn info(&self) -> &ArchiveInfo {
        &self.info
    }

    pub(crate) fn family(&self) -> u32 {
        self.family
    }

    pub(crate) fn first(&self) -> Seq {
        self.info.first
    }

    /// The one hash that stands for all of it.
    pub(crate) fn seal(&self) -> [u8; 32] {
        self.seal
    }

    /// Whether it holds the first record of a journal and another hash stands before that than before any.
    pub(crate) fn begins_wrongly(&self) -> bool {
        self.info.first == Seq::FIRST && self.info.hash_before != FrameHash::genesis(self.family)
    }

    /// The record before its first.
    pub(crate) fn before(&self) -> Tip {
        Tip {
            seq: self.info.first.before(),
            hash: self.info.hash_before,
        }
    }

    /// Visits the frames from `from` to `to`, both included, as far as they are in it.
    pub(crate) fn frames(
        &self,
        from: Seq,
        to: Seq,
        visit: &mut VisitRaw<'_>,
    ) -> Result<ControlFlow<()>, Error> {
        let to_here = to.min(self.info.last);
        let begin = self.parts.partition_point(|part| part.first <= from);
        let begin = begin.saturating_sub(1);
        let mut expected = None;
        for part in self.parts.iter().skip(begin) {
            if part.first > to_here {
                break;
            }
            match self.part(part, &mut expected, (from, to_here), visit)? {
                ControlFlow::Break(()) => return Ok(ControlFlow::Break(())),
                ControlFlow::Continue(()) => {}
            }
        }
        let end = expected.unwrap_or_else(|| self.before());
        let whole = end.seq >= to_here;
        if !whole || (end.seq == self.info.last && end.hash != self.info.hash) {
            let why = format!("its records end at {}", end.seq);
            return Err(flawed(&self.info.file, &why));
        }
        Ok(ControlFlow::Continue(()))
    }

    /// As [`frames`](Archive::frames), where `last` is the record before `from` if that was visited: it must be of the
    /// same history.
    pub(crate) fn frames_behind(
        &self,
        last: Option<Tip>,
        (from, to): (Seq, Seq),
        visit: &mut VisitRaw<'_>,
    ) -> Result<ControlFlow<()>, Error> {
        let Some(last) = last else {
            return self.frames(from, to, visit);
        };
        let check = |found: FrameHash| {
            let why = "it is of another history than the records before";
            match found == last.hash {
                true => Ok(()),
                false => Err(flawed(
                    &self.info.file,
                    &format!("{why}, up to {}", last.seq),
                )),
            }
        };
        if self.before().seq == last.seq {
            check(self.before().hash)?;
            return self.frames(from, to, visit);
        }
        // It holds that record too.
        self.frames(last.seq, to, &mut |raw| {
            if raw.head.seq > last.seq {
                return visit(raw);
            }
            check(raw.head.hash)?;
            Ok(ControlFlow::Continue(()))
        })
    }

    /// Visits one segment's part; `expected` is what the segment must follow, where known, and then
    /// what it ends with.
    fn part(
        &self,
        part: &Part,
        expected: &mut Option<Tip>,
        (from, to): (Seq, Seq),
        visit: &mut VisitRaw<'_>,
    ) -> Result<ControlFlow<()>, Error> {
        let name = format!("{} {}", self.info.file, segment::name(part.first));
        let source = Inflated::of(Arc::clone(&self.file), part)
            .map_err(|e| flawed(&name, &e.to_string()))?;
        let mut start = [0; segment::HEADER_BYTES];
        source
            .read_at(0, &mut start)
            .map_err(|e| flawed(&name, &e.to_string()))?;
        let (header, seed) = segment::decode(&start)
            .map_err(|_| flawed(&name, "the header of the segment is unreadable"))?;
        let prev = expected.unwrap_or(Tip {
            seq: part.first.before(),
            hash: header.prev,
        });
        let at_start = part.first != self.info.first || header.prev == self.info.hash_before;
        let follows = header.first == prev.seq.next() && header.prev == prev.hash && at_start;
        if header.family != self.family || header.first != part.first || !follows {
            return Err(flawed(
                &name,
                "the segment does not continue the one before",
            ));
        }
        let stretch = Stretch::whole(name.clone(), &header, seed);
        let mut cursor: Option<Cursor> = None;
        // The end of the stretch ends the visit of it too, so that the visitor's word is kept apart.
        let mut word = ControlFlow::Continue(());
        let visited = visit_stretch(&source, &stretch, &mut cursor, (from, to), &mut |raw| {
            word = visit(raw)?;
            Ok(word)
        });
        let _end = visited.map_err(|error| match error.kind() {
            // What cannot be inflated.
            ErrorKind::Io => flawed(&name, &error.to_string()),
            _ => error,
        })?;
        *expected = cursor.map(|cursor| cursor.tip());
        Ok(word)
    }

    /// Checks every byte: the hash of each compressed segment, each frame and the chain.
    ///
    /// # Errors
    /// `Damaged`, naming the archive and the segment in it; `Io`.
    pub(crate) fn verify(&self) -> Result<(), Error> {
        self.verify_bytes()?;
        self.frames(self.info.first, self.info.last, &mut |_| {
            Ok(ControlFlow::Continue(()))
        })
        .map(|_| ())
    }

    /// Checks the hash of each compressed segment.
    pub(super) fn verify_bytes(&self) -> Result<(), Error> {
        for part in &self.parts {
            let name = format!("{} {}", self.info.file, segment::name(part.first));
            let mut hasher = blake3::Hasher::new();
            let mut source = Slice::of(Arc::clone(&self.file), part);
            let mut buffer = vec![0; 1 << 18];
            loop {
                match source.read(&mut buffer) {
                    Ok(0) => break,
                    Ok(read) => hasher.update(&buffer[..read]),
                    Err(e) => return Err(Error::io("read", &name, &e)),
                };
            }
            if part.hash != *hasher.finalize().as_bytes() {
                return Err(flawed(&name, "its hash disagrees"));
            }
        }
        Ok(())
    }
}

/// What is wrong with one that [`begins_wrongly`](Archive::begins_wrongly).
pub(super) const BEGINS_WRONGLY: &str = "its first record does not begin a journal";

/// The error for an archive that is not what it should be.
pub(super) fn flawed(name: &str, why: &str) -> Error {
    Error::damaged(format!("archive {name} cannot be used: {why}"))
}

/// A part of a file as a reader.
struct Slice {
    file: Arc<dyn DiskFile>,
    at: u64,
    end: u64,
}

impl Slice {
    fn of(file: Arc<dyn DiskFile>, part: &Part) -> Self {
        let end = part.offset.saturating_add(part.bytes);
        let at = part.offset;
        Self { file, at, end }
    }
}

impl Read for Slice {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = usize::try_from(self.end - self.at).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let read = self.file.read_at(self.at, &mut buffer[..wanted])?;
        self.at += read as u64;
        Ok(read)
    }
}

/// A compressed segment as a file that is read from front to back.
struct Inflated {
    source: Mutex<(Decoder<'static, io::BufReader<Slice>>, u64)>,
    bytes: u64,
}

impl std::fmt::Debug for Inflated {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Inflated")
            .field("bytes", &self.bytes)
            .finish_non_exhaustive()
    }
}

impl Inflated {
    fn of(file: Arc<dyn DiskFile>, part: &Part) -> io::Result<Self> {
        let decoder = Decoder::new(Slice::of(file, part))?;
        Ok(Self {
            source: Mutex::new((decoder, 0)),
            bytes: part.raw_bytes,
        })
    }
}

fn read_only() -> io::Error {
    io::Error::from(io::ErrorKind::ReadOnlyFilesystem)
}

impl DiskFile for Inflated {
    fn bytes(&self) -> io::Result<u64> {
        Ok(self.bytes)
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let mut source = self.source.lock();
        let (decoder, at) = &mut *source;
        if offset != *at {
            return Err(io::Error::other("an archive is read from front to back"));
        }
        let left = usize::try_from(self.bytes - *at).unwrap_or(usize::MAX);
        let wanted = buffer.len().min(left);
        let mut done = 0;
        while done < wanted {
            match decoder.read(&mut buffer[done..wanted])? {
                0 => break,
                read => done += read,
            }
        }
        *at += done as u64;
        Ok(done)
    }

    fn write_at(&self, _offset: u64, _bytes: &[u8]) -> io::Result<()> {
        Err(read_only())
    }

    fn truncate(&self, _bytes: u64) -> io::Result<()> {
        Err(read_only())
    }

    fn sync(&self) -> io::Result<()> {
        Err(read_only())
    }
}

/// One archive by itself, wherever it was moved to: the same records, without a log.
pub struct ArchiveFile<E> {
    archive: Archive,
    events: std::marker::PhantomData<fn() -> E>,
}

impl<E> std::fmt::Debug for ArchiveFile<E> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("ArchiveFile")
            .field(&self.archive.info)
            .finish()
    }
}

impl<E: Event> ArchiveFile<E> {
    /// Opens an archive by its path; its segments are checked as they are read.
    ///
    /// # Errors
    /// `NotFound`; `Foreign` where it is of another family; `Damaged` where its head is, or where it holds record 1 and
    /// not the beginning of a journal; `Io`.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, Error> {
        let (shown, file) = file_at(path.as_ref())?;
        let archive = Archive::of(shown.clone(), file.into())?;
        if archive.family != E::FAMILY {
            let (found, expected) = (archive.family, E::FAMILY);
            let text = format!(
                "archive {shown} is of family {found:08x}, expected {expected:08x}; name the right \
                 file"
            );
            return Err(Error::new(ErrorKind::Foreign, text));
        }
        if archive.begins_wrongly() {
            return Err(flawed(&shown, BEGINS_WRONGLY));
        }
        Ok(Self {
            archive,
            events: std::marker::PhantomData,
        })
    }

    /// Whether the file at this path begins as an archive does; it may be damaged all the same.
    ///
    /// # Errors
    /// `NotFound`, `Io`.
    pub fn begins_at(path: impl AsRef<Path>) -> Result<bool, Error> {
        let (shown, file) = file_at(path.as_ref())?;
        let mut start = [0; 8];
        match file.read_at(0, &mut start) {
            Ok(read) => Ok(read == start.len() && start == format::MAGIC),
            Err(e) => Err(Error::io("read", &shown, &e)),
        }
    }

    /// What it says of itself.
    #[must_use]
    pub fn info(&self) -> &ArchiveInfo {
        self.archive.info()
    }

    /// Checks every byte of it.
    ///
    /// # Errors
    /// `Damaged`, naming the segment in it; `Io`.
    pub fn verify(&self) -> Result<(), Error> {
        self.archive.verify()
    }

    /// Visits its records from `from` on, in order.
    ///
    /// # Errors
    /// `Damaged`, `NewerFormat` for a kind that this program does not know, `Io`; what the visitor
    /// returned.
    pub fn read(&self, from: Seq, visit: &mut Visit<'_, E>) -> Result<(), Error> {
        let to = self.archive.info.last;
        self.archive
            .frames(from, to, &mut |raw| {
                visit(record(&raw.head, raw.payload)?)?;
                Ok(ControlFlow::Continue(()))
            })
            .map(|_| ())
    }

    /// Visits its frames from `from` on, in order, as they were written.
    ///
    /// # Errors
    /// `Damaged`, `Io`; what the visitor returned.
    pub fn frames(&self, from: Seq, visit: &mut VisitFrame<'_>) -> Result<(), Error> {
        let to = self.archive.info.last;
        self.archive
            .frames(from, to, &mut |raw| {
                visit(&Frame::of(&raw.head, raw.payload))?;
                Ok(ControlFlow::Continue(()))
            })
            .map(|_| ())
    }

    /// Brings a projection up to its last record, as [`replay`](crate::replay) does; one that begins
    /// after 1 needs a projection that stands just before it.
    ///
    /// # Errors
    /// As [`read`](Self::read) and as the projection reports.
    pub fn replay<P: Projection<E> + ?Sized>(&self, projection: &mut P) -> Result<Seq, Error> {
        drive(self.archive.info.last, projection, &mut |from, visit| {
            self.read(from, visit)
        })
    }
}

/// The file at a path, and how it is called in errors.
fn file_at(path: &Path) -> Result<(String, Box<dyn DiskFile>), Error> {
    let shown = path.display().to_string();
    let file = open_to_read(path).map_err(|e| match e.kind() {
        io::ErrorKind::NotFound => Error::new(ErrorKind::NotFound, format!("no file {shown}")),
        _ => Error::io("open", &shown, &e),
    })?;
    Ok((shown, file))
}
