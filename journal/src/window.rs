//! Reads frames one after the other from a file through a bounded, aligned buffer.
//!
//! It finds and checks single frames; sequence, chain and what a flaw means are its callers'.

use std::{io, ops::Range};

use rkyv::util::AlignedVec;

use crate::{
    disk::DiskFile,
    frame::{self, FRAME_ALIGN, Flaw, Head},
};

/// The first read, for those who want one frame; each further one is twice as large.
const READ_MIN_BYTES: usize = 32 << 10;
const READ_MAX_BYTES: usize = 1 << 20;

/// A window that moves over a file, frame by frame.
pub(crate) struct Window<'a> {
    file: &'a dyn DiskFile,
    buffer: AlignedVec<FRAME_ALIGN>,
    /// Where in the buffer the next frame starts.
    at: usize,
    /// Where in the file the next frame starts.
    offset: u64,
    read_bytes: usize,
    ended: bool,
}

/// A frame that lies in the window until the next one is asked for.
pub(crate) struct Found {
    pub(crate) head: Head,
    pub(crate) offset: u64,
    pub(crate) bytes: usize,
    payload: Range<usize>,
}

impl<'a> Window<'a> {
    /// Starts at `offset`, which must be a multiple of [`FRAME_ALIGN`].
    pub(crate) fn new(file: &'a dyn DiskFile, offset: u64) -> Self {
        Self {
            file,
            buffer: AlignedVec::new(),
            at: 0,
            offset,
            read_bytes: READ_MIN_BYTES,
            ended: false,
        }
    }

    /// Where the next frame starts.
    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    /// Makes `wanted` bytes available from the next frame on, fewer at the end of the file.
    fn fill(&mut self, wanted: usize) -> io::Result<usize> {
        let left = self.buffer.len() - self.at;
        if left >= wanted || self.ended {
            return Ok(left);
        }
        self.buffer.copy_within(self.at.., 0);
        self.at = 0;
        self.buffer.resize(left + self.read_bytes.max(wanted), 0);
        self.read_bytes = READ_MAX_BYTES.min(self.read_bytes * 2);
        let read = self
            .file
            .read_at(self.offset + left as u64, &mut self.buffer[left..])?;
        self.ended = left + read < self.buffer.len();
        self.buffer.resize(left + read, 0);
        Ok(left + read)
    }

    /// The next frame, `Ok(None)` at the end of the file. After a flaw the window stays.
    pub(crate) fn next(&mut self, seed: u32) -> io::Result<Result<Option<Found>, Flaw>> {
        if self.fill(frame::HEADER_BYTES)? == 0 {
            return Ok(Ok(None));
        }
        let claimed = match frame::claimed_bytes(&self.buffer[self.at..]) {
            Ok(claimed) => claimed,
            Err(flaw) => return Ok(Err(flaw)),
        };
        self.fill(claimed)?;
        match frame::open(&self.buffer[self.at..], seed) {
            Ok((head, payload, bytes)) => {
                let start = self.at + frame::HEADER_BYTES;
                let payload = start..start + payload.len();
                Ok(Ok(Some(Found {
                    head,
                    offset: self.offset,
                    bytes,
                    payload,
                })))
            }
            Err(flaw) => Ok(Err(flaw)),
        }
    }

    /// The payload of the frame found last.
    pub(crate) fn payload(&self, found: &Found) -> &[u8] {
        &self.buffer[found.payload.clone()]
    }

    /// All bytes of the frame found last.
    pub(crate) fn bytes(&self, found: &Found) -> &[u8] {
        &self.buffer[self.at..self.at + found.bytes]
    }

    /// Moves on behind the frame found last.
    pub(crate) fn pass(&mut self, found: &Found) {
        self.at += found.bytes;
        self.offset += found.bytes as u64;
    }
}

/// Looks for whole frames anywhere behind a flaw: how many, and the highest `synced_through` that
/// they bear, which is what had been acknowledged when the last of them was written.
pub(crate) fn survey(bytes: &[u8], seed: u32) -> (u64, u64) {
    let (mut count, mut synced_through) = (0, 0);
    let mut at = 0;
    while at + frame::HEADER_BYTES <= bytes.len() {
        if bytes[at..at + 4] == frame::MAGIC
            && let Ok((head, _, taken)) = frame::open(&bytes[at..], seed)
        {
            count += 1;
            synced_through = synced_through.max(head.synced_through.get());
            at += taken;
            continue;
        }
        at += FRAME_ALIGN;
    }
    (count, synced_through)
}
