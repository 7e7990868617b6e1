//! Reads an exported file: finds how far it is whole, names what is damaged, and gives the records
//! of the blocks before that. Input from outside: nothing in it is believed before its seal.

use std::fs::File;
use std::io;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::Path;

use holdfast_engine::Event;
use holdfast_journal::{Error, ErrorKind, Event as _, Frame, FrameHash, Seq};
use serde_json::Value;

use super::layout::{
    BLOCK_BYTES, BLOCK_MAX, Block, DESCRIPTION_MAX, END_BYTES, End, FORMAT, HEAD_BYTES, Head,
    HeadFlaw, Mark, RECORD_BYTES, Seal, seal, take_record,
};

/// Hears of each record, and what the export made of it; says whether to go on.
pub(crate) type VisitExported<'a> =
    dyn FnMut(&Frame<'_>, Mark) -> Result<ControlFlow<()>, Error> + 'a;

/// A block in the file.
#[derive(Clone, Copy, Debug)]
struct Placed {
    block: Block,
    /// Where its header stands.
    offset: u64,
}

/// An exported file, open for reading.
#[derive(Debug)]
pub(crate) struct ExportFile {
    file: File,
    name: String,
    head: Head,
    description: Value,
    blocks: Vec<Placed>,
    last: (Seq, FrameHash),
    /// The seal of the whole file, where it is whole.
    seal: Option<Seal>,
    flaw: Option<Error>,
}

impl ExportFile {
    /// Opens the file and proves the seal of every block. What is damaged is in
    /// [`flaw`](ExportFile::flaw); what stands before it can be read.
    ///
    /// # Errors
    /// `NotFound` for a file that is no exported journal, `Foreign`, `NewerFormat`, `Io`; `Damaged`
    /// where not even its head is whole.
    pub(crate) fn open(path: &Path) -> Result<Self, Error> {
        let name = path.display().to_string();
        let file = File::open(path).map_err(|e| io_error(&name, &e))?;
        let mut bytes = [0; HEAD_BYTES];
        let read = read_at(&file, 0, &mut bytes).map_err(|e| io_error(&name, &e))?;
        let (head, description_bytes) = match Head::decode(&bytes) {
            Ok(found) => found,
            Err(HeadFlaw::Format(found)) => {
                let text = format!(
                    "'{name}' has export format {found}, expected 1 to {FORMAT}: use the newer \
                     program"
                );
                return Err(Error::new(ErrorKind::NewerFormat, text));
            }
            Err(HeadFlaw::Magic) => return Err(no_export(&name)),
        };
        if read < HEAD_BYTES || description_bytes > DESCRIPTION_MAX {
            return Err(damaged(format!("'{name}': its head is cut or changed")));
        }
        let size = usize::try_from(description_bytes).unwrap_or(0);
        let mut rest = vec![0; size + 32];
        let read = read_at(&file, HEAD_BYTES as u64, &mut rest).map_err(|e| io_error(&name, &e))?;
        let (description, own) = rest.split_at(size);
        if read < rest.len() || own != seal(&[], &[&bytes, description]) {
            return Err(damaged(format!("'{name}': the seal of its head disagrees")));
        }
        if head.family != Event::FAMILY {
            let (found, expected) = (head.family, Event::FAMILY);
            let text =
                format!("'{name}' holds a journal of family {found:08x}, expected {expected:08x}");
            return Err(Error::new(ErrorKind::Foreign, text));
        }
        let description = serde_json::from_slice(description)
            .map_err(|e| damaged(format!("'{name}': its description cannot be read: {e}")))?;
        let mut opened = Self {
            file,
            name,
            head,
            description,
            blocks: Vec::new(),
            last: (head.first.before(), head.before),
            seal: None,
            flaw: None,
        };
        let mut before = [0; 32];
        before.copy_from_slice(own);
        opened.scan((HEAD_BYTES + rest.len()) as u64, before)?;
        Ok(opened)
    }

    /// Goes over the blocks to the end or to the first flaw.
    fn scan(&mut self, mut offset: u64, mut before: Seal) -> Result<(), Error> {
        loop {
            let mut bytes = [0; END_BYTES];
            let read = self.bytes(offset, &mut bytes)?;
            if read == END_BYTES
                && let Some(end) = End::decode(&bytes, &before)
            {
                self.flaw = self.finish(end, offset).err();
                return Ok(());
            }
            let mut header = [0; BLOCK_BYTES];
            header.copy_from_slice(&bytes[..BLOCK_BYTES]);
            match self.block(offset, read, &header, &before) {
                Ok(block) => {
                    self.blocks.push(Placed { block, offset });
                    self.take_last(&block, offset)?;
                    if self.flaw.is_some() {
                        return Ok(());
                    }
                    before = block.seal;
                    offset += (BLOCK_BYTES + block.stored_bytes as usize) as u64;
                }
                Err(flaw) => {
                    self.flaw = Some(self.flaw_at(offset, &flaw));
                    return Ok(());
                }
            }
        }
    }

    /// The block at `offset`, its seal proved.
    fn block(
        &self,
        offset: u64,
        read: usize,
        header: &[u8; BLOCK_BYTES],
        before: &Seal,
    ) -> Result<Block, String> {
        if read < BLOCK_BYTES {
            return Err("the file ends here: it was cut, or not copied to its end".to_owned());
        }
        let block = Block::decode(header).ok_or("neither a block nor the end starts here")?;
        let stored = self.stored(&block, offset)?;
        if block.sealed(header, &stored, before) != block.seal {
            return Err("the seal of the block disagrees".to_owned());
        }
        let expected = self.last.0.next();
        if block.first != expected || block.records == 0 {
            return Err(format!(
                "the block has {} records from sequence {}, expected some from {expected}",
                block.records, block.first
            ));
        }
        Ok(block)
    }

    /// The compressed records of a block.
    fn stored(&self, block: &Block, offset: u64) -> Result<Vec<u8>, String> {
        let (stored, raw) = (block.stored_bytes as usize, block.raw_bytes as usize);
        let least = (block.records as usize).saturating_mul(RECORD_BYTES);
        if raw > BLOCK_MAX || stored > BLOCK_MAX || raw < least {
            return Err("the block has impossible lengths".to_owned());
        }
        let mut bytes = vec![0; stored];
        let read = self
            .bytes(offset + BLOCK_BYTES as u64, &mut bytes)
            .map_err(|e| e.to_string())?;
        if read < stored {
            return Err(
                "the file ends inside the block: it was cut, or not copied to its end".to_owned(),
            );
        }
        Ok(bytes)
    }

    /// Moves the position to the end of a block that was found whole.
    fn take_last(&mut self, block: &Block, offset: u64) -> Result<(), Error> {
        let mut last = self.last;
        let placed = Placed {
            block: *block,
            offset,
        };
        let visited = self.visit(&placed, &mut |frame, _| {
            last = (frame.seq, frame.hash);
            Ok(ControlFlow::Continue(()))
        });
        match visited {
            Ok(_) => self.last = last,
            Err(error) if error.kind() == ErrorKind::Io => return Err(error),
            Err(error) => {
                self.blocks.pop();
                self.flaw = Some(error);
            }
        }
        Ok(())
    }

    /// What the end says, compared with what was found.
    fn finish(&mut self, end: Result<End, ()>, offset: u64) -> Result<(), Error> {
        let end = end.map_err(|()| self.flaw_at(offset, "the seal of the end disagrees"))?;
        let records: u64 = self.blocks.iter().map(|p| u64::from(p.block.records)).sum();
        let counted = (self.blocks.len() as u64, records);
        if (end.blocks, end.records) != counted || (end.last, end.hash) != self.last {
            return Err(self.flaw_at(offset, "the end is of another file"));
        }
        let after = offset + END_BYTES as u64;
        let mut more = [0; 1];
        if self.bytes(after, &mut more)? > 0 {
            return Err(self.flaw_at(after, "bytes follow the end"));
        }
        self.seal = Some(end.seal);
        Ok(())
    }

    fn bytes(&self, offset: u64, buffer: &mut [u8]) -> Result<usize, Error> {
        read_at(&self.file, offset, buffer).map_err(|e| io_error(&self.name, &e))
    }

    /// Damage at a place of the file, with what can be done.
    fn flaw_at(&self, offset: u64, flaw: &str) -> Error {
        let (block, last) = (self.blocks.len() + 1, self.last.0);
        damaged(format!(
            "'{}': block {block} at offset {offset}, behind sequence {last}: {flaw}; copy the file \
             again, or export anew",
            self.name
        ))
    }

    /// Visits the records of a block.
    fn visit(
        &self,
        placed: &Placed,
        visit: &mut VisitExported<'_>,
    ) -> Result<ControlFlow<()>, Error> {
        let Placed { block, offset } = placed;
        let wrong = |what: &str| {
            damaged(format!(
                "'{}': the block at offset {offset}, sequences {} to {}: {what}",
                self.name,
                block.first,
                block.last()
            ))
        };
        let stored = self.stored(block, *offset).map_err(|e| wrong(&e))?;
        let raw = zstd::bulk::decompress(&stored, block.raw_bytes as usize)
            .map_err(|e| wrong(&format!("it cannot be decompressed: {e}")))?;
        let mut rest = raw.as_slice();
        let mut expected = block.first;
        while !rest.is_empty() {
            let Some((frame, mark, taken)) = take_record(rest) else {
                return Err(wrong(&format!("record {expected} is none")));
            };
            if frame.seq != expected {
                return Err(wrong(&format!(
                    "found record {}, expected {expected}",
                    frame.seq
                )));
            }
            expected = expected.next();
            rest = &rest[taken..];
            if visit(&frame, mark)?.is_break() {
                return Ok(ControlFlow::Break(()));
            }
        }
        if expected != block.last().next() {
            return Err(wrong("it holds fewer records than it says"));
        }
        Ok(ControlFlow::Continue(()))
    }

    /// Visits the records from `from` on.
    ///
    /// # Errors
    /// What the visitor returns; `Damaged` where the file was changed since it was opened; `Io`.
    pub(crate) fn frames(&self, from: Seq, visit: &mut VisitExported<'_>) -> Result<(), Error> {
        let begin = self.blocks.partition_point(|p| p.block.last() < from);
        for placed in &self.blocks[begin..] {
            let flow = self.visit(placed, &mut |frame, mark| match frame.seq < from {
                true => Ok(ControlFlow::Continue(())),
                false => visit(frame, mark),
            })?;
            if flow.is_break() {
                break;
            }
        }
        Ok(())
    }

    /// What stands before the events.
    pub(crate) fn head(&self) -> &Head {
        &self.head
    }

    /// The last record that is whole, and its chain hash.
    pub(crate) fn last(&self) -> (Seq, FrameHash) {
        self.last
    }

    /// The seal over the whole file; none where it is damaged.
    pub(crate) fn seal(&self) -> Option<[u8; 32]> {
        self.seal
    }

    /// What is damaged in the file.
    pub(crate) fn flaw(&self) -> Option<&Error> {
        self.flaw.as_ref()
    }

    /// A text of the description.
    pub(crate) fn described(&self, key: &str) -> Option<&str> {
        self.description.get(key).and_then(Value::as_str)
    }
}

fn damaged(text: String) -> Error {
    Error::new(ErrorKind::Damaged, text)
}

fn no_export(name: &str) -> Error {
    let text = format!(
        "'{name}' is no exported journal and no archive; expected a data folder, a journal folder, \
         an archive of one, or a file made by `holdfast journal export`"
    );
    Error::new(ErrorKind::NotFound, text)
}

fn io_error(name: &str, error: &io::Error) -> Error {
    Error::new(ErrorKind::Io, format!("read '{name}': {error}"))
}

/// Reads up to `buffer.len()` bytes; fewer only at the end of the file.
fn read_at(file: &File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
    let mut done = 0;
    while done < buffer.len() {
        match file.read_at(&mut buffer[done..], offset + done as u64) {
            Ok(0) => break,
            Ok(read) => done += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(done)
}
