//! What tests outside this crate may ask of the written formats (feature `testing`): whether bytes
//! are accepted, and what is written for what they say. No part of the crate's promise; nothing
//! here does I/O.

use std::ops::ControlFlow;

use crate::{
    anchor,
    archive::Archive,
    checkpoint,
    disk::{Disk as _, MemoryDisk},
    event::Event,
    frame, reader, segment,
};

/// Reads the frame at the start of `bytes` and writes it again.
///
/// # Errors
/// Why the bytes are no frame of a segment with this `seed`, in words.
pub fn rewritten_frame(bytes: &[u8], seed: u32) -> Result<Vec<u8>, String> {
    let (head, payload, _) = frame::open(bytes, seed).map_err(frame::Flaw::text)?;
    let mut again = Vec::new();
    let start = frame::reserve(&mut again);
    again.extend_from_slice(payload);
    frame::close(&mut again, start).map_err(|e| e.to_string())?;
    frame::seal(&mut again, &head, seed);
    Ok(again)
}

/// Reads the header at the start of a segment and writes it again; also gives the seed of its
/// frames.
///
/// # Errors
/// Why the bytes are no header.
pub fn rewritten_segment_header(bytes: &[u8]) -> Result<(Vec<u8>, u32), String> {
    let (header, _) = segment::decode(bytes).map_err(|flaw| format!("{flaw:?}"))?;
    let (again, seed) = segment::encode(&header);
    Ok((again.to_vec(), seed))
}

/// Reads a checkpoint's file and writes it again.
///
/// # Errors
/// Why the bytes are no checkpoint of `family`, in words.
pub fn rewritten_checkpoint(family: u32, bytes: &[u8]) -> Result<Vec<u8>, String> {
    let found = checkpoint::decode(family, bytes)?;
    Ok(checkpoint::encode(
        family,
        found.seq,
        &found.hash,
        &found.state,
    ))
}

/// Reads an anchor's file and writes it again.
///
/// # Errors
/// Why the bytes are no anchor, in words.
pub fn rewritten_anchor(bytes: &[u8]) -> Result<Vec<u8>, String> {
    let found = anchor::decode(bytes).map_err(|flaw| format!("{flaw:?}"))?;
    Ok(anchor::encode(&found))
}

/// Checks every byte of an archive's file and reads its records; how many there are, and how many it says there are.
///
/// # Errors
/// Why the bytes are no archive of such events, in words.
pub fn archived<E: Event>(bytes: &[u8]) -> Result<(u64, u64), String> {
    let disk = MemoryDisk::new(4_096);
    disk.put("file", bytes);
    let file = disk.open("file").map_err(|e| e.to_string())?;
    let archive = Archive::of("file".to_owned(), file.into()).map_err(|e| e.to_string())?;
    archive.verify().map_err(|e| e.to_string())?;
    let (mut count, info) = (0, archive.info());
    let _all = archive
        .frames(info.first, info.last, &mut |raw| {
            count += 1;
            reader::record::<E>(&raw.head, raw.payload)?;
            Ok(ControlFlow::Continue(()))
        })
        .map_err(|e| e.to_string())?;
    Ok((count, info.last.get() - info.first.before().get()))
}
