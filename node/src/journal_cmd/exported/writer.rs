//! Writes an exported file, front to back, over any writer.

use std::io::{self, Write};

use holdfast_journal::{Frame, FrameHash, Seq};

use super::layout::{BLOCK_TARGET, Block, End, Head, Mark, Seal, push_record, seal};

/// Compression that costs little beside reading a journal.
const LEVEL: i32 = 6;

/// What a finished file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sealed {
    /// How many records it holds.
    pub(crate) records: u64,
    /// The seal over all of the file before it.
    pub(crate) seal: [u8; 32],
    /// Bytes of the file.
    pub(crate) bytes: u64,
}

/// An exported file that is being written. One that is not finished is read as cut.
pub(crate) struct Writer<W> {
    out: W,
    seal: Seal,
    /// Records of the block at hand.
    raw: Vec<u8>,
    count: u32,
    first: Seq,
    end: End,
    bytes: u64,
}

impl<W: Write> Writer<W> {
    /// Begins a file; `description` is a JSON object that says what the file is.
    ///
    /// # Errors
    /// What writing reports.
    pub(crate) fn new(mut out: W, head: &Head, description: &str) -> io::Result<Self> {
        let bytes = head.encode(description.len());
        let own = seal(&[], &[&bytes, description.as_bytes()]);
        out.write_all(&bytes)?;
        out.write_all(description.as_bytes())?;
        out.write_all(&own)?;
        Ok(Self {
            out,
            seal: own,
            raw: Vec::with_capacity(BLOCK_TARGET + BLOCK_TARGET / 4),
            count: 0,
            first: head.first,
            end: End {
                blocks: 0,
                records: 0,
                last: head.first.before(),
                hash: head.before,
                seal: own,
            },
            bytes: (bytes.len() + description.len() + own.len()) as u64,
        })
    }

    /// Adds the next record, of which `mark` says what was made.
    ///
    /// # Errors
    /// What writing reports; a payload that no frame can have.
    pub(crate) fn push(&mut self, frame: &Frame<'_>, mark: Mark) -> io::Result<()> {
        push_record(&mut self.raw, frame, mark).ok_or_else(too_large)?;
        self.count += 1;
        self.end.records += 1;
        (self.end.last, self.end.hash) = (frame.seq, frame.hash);
        if self.raw.len() >= BLOCK_TARGET {
            self.close_block()?;
        }
        Ok(())
    }

    fn close_block(&mut self) -> io::Result<()> {
        if self.count == 0 {
            return Ok(());
        }
        let stored = zstd::bulk::compress(&self.raw, LEVEL)?;
        let raw_bytes = u32::try_from(self.raw.len()).map_err(|_| too_large())?;
        let records = (self.count, self.first);
        let (block, header) =
            Block::encode(records, raw_bytes, &stored, &self.seal).ok_or_else(too_large)?;
        self.out.write_all(&header)?;
        self.out.write_all(&stored)?;
        self.bytes += (header.len() + stored.len()) as u64;
        self.seal = block.seal;
        self.first = block.last().next();
        self.end.blocks += 1;
        self.count = 0;
        self.raw.clear();
        Ok(())
    }

    /// Ends the file and gives the writer back.
    ///
    /// # Errors
    /// What writing reports.
    pub(crate) fn finish(mut self) -> io::Result<(W, Sealed)> {
        self.close_block()?;
        let bytes = self.end.encode(&self.seal);
        self.out.write_all(&bytes)?;
        self.out.flush()?;
        let sealed = Sealed {
            records: self.end.records,
            seal: self.end.seal,
            bytes: self.bytes + bytes.len() as u64,
        };
        Ok((self.out, sealed))
    }

    /// The last record written, and its chain hash.
    pub(crate) fn last(&self) -> (Seq, FrameHash) {
        (self.end.last, self.end.hash)
    }
}

fn too_large() -> io::Error {
    io::Error::other("an event is larger than any journal keeps")
}
