//! Plan containers: many records in one blob, each readable on its own. A task reads its record and no other, however
//! large the plan is. Owns the layout; what the records mean is the business of the works that write and read them.
//!
//! Layout, all numbers little-endian: the records' bytes back to back; then one entry per record (offset `u64`, length
//! `u32`, checksum 8 bytes); then a footer (magic 8 bytes, format `u32`, record count `u32`, offset of the entries
//! `u64`). A record's checksum is the start of the BLAKE3 of its number and its bytes, so that a damaged entry or record
//! is found without reading the blob as a whole.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ids::{BlobHash, JobId};
use crate::seams::{BlobError, Blobs};

/// The most bytes that one record may have.
pub const MAX_RECORD_BYTES: usize = 256 * 1024 * 1024;
/// The most records that one plan may have.
pub const MAX_RECORDS: u32 = 1 << 26;

const MAGIC: [u8; 8] = *b"hfplan\r\n";
const FORMAT: u32 = 1;
const ENTRY_BYTES: usize = 20;
const FOOTER_BYTES: usize = 24;
const CHECKSUM_BYTES: usize = 8;

/// Makes a plan container in memory.
#[derive(Debug, Default)]
pub struct PlanWriter {
    bytes: Vec<u8>,
    entries: Vec<u8>,
    count: u32,
}

impl PlanWriter {
    /// A plan without records.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds `record` in postcard form and gives its number; numbers count up from 0.
    ///
    /// # Errors
    /// Where the record cannot be encoded, or is longer than [`MAX_RECORD_BYTES`], or there are too many.
    pub fn push<T: Serialize + ?Sized>(&mut self, record: &T) -> Result<u32, BlobError> {
        let start = self.bytes.len();
        let bytes = std::mem::take(&mut self.bytes);
        match postcard::to_extend(record, bytes) {
            Ok(bytes) => self.bytes = bytes,
            Err(error) => {
                return Err(broken(format!(
                    "plan record {} cannot be encoded: {error}",
                    self.count
                )));
            }
        }
        self.enter(start)
    }

    /// Adds `record` as it is and gives its number.
    ///
    /// # Errors
    /// As [`PlanWriter::push`].
    pub fn push_bytes(&mut self, record: &[u8]) -> Result<u32, BlobError> {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record);
        self.enter(start)
    }

    /// Decodes a record that was pushed before.
    ///
    /// # Errors
    /// Where there is no such record or it is no `T`.
    pub fn peek<T: DeserializeOwned>(&self, index: u32) -> Result<T, BlobError> {
        let at = index as usize * ENTRY_BYTES;
        let record = self.entries.get(at..at + ENTRY_BYTES).and_then(|entry| {
            let start = usize::try_from(u64_at(entry, 0)).ok()?;
            self.bytes.get(start..)?.get(..u32_at(entry, 8) as usize)
        });
        let Some(record) = record else {
            return Err(broken(format!("plan record {index} was not pushed yet")));
        };
        postcard::from_bytes(record)
            .map_err(|error| broken(format!("plan record {index} cannot be decoded: {error}")))
    }

    /// How many records there are so far.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Keeps the plan durably for `job` and gives its hash.
    ///
    /// # Errors
    /// Where the blob store cannot keep it.
    pub fn finish(mut self, blobs: &dyn Blobs, job: JobId) -> Result<BlobHash, BlobError> {
        let table = self.bytes.len() as u64;
        self.bytes.append(&mut self.entries);
        self.bytes.extend_from_slice(&MAGIC);
        self.bytes.extend_from_slice(&FORMAT.to_le_bytes());
        self.bytes.extend_from_slice(&self.count.to_le_bytes());
        self.bytes.extend_from_slice(&table.to_le_bytes());
        blobs.put(job, &self.bytes)
    }

    fn enter(&mut self, start: usize) -> Result<u32, BlobError> {
        let record = &self.bytes[start..];
        if record.len() > MAX_RECORD_BYTES || self.count >= MAX_RECORDS {
            return Err(broken(format!(
                "plan record {} has {} bytes, expected at most {MAX_RECORD_BYTES} bytes and \
                 {MAX_RECORDS} records",
                self.count,
                record.len()
            )));
        }
        let index = self.count;
        self.entries
            .extend_from_slice(&(start as u64).to_le_bytes());
        // The cast holds: the length was compared with a bound below 4 GiB.
        self.entries
            .extend_from_slice(&(record.len() as u32).to_le_bytes());
        self.entries.extend_from_slice(&checksum(index, record));
        self.count += 1;
        Ok(index)
    }
}

/// Reads a plan container record by record.
pub struct PlanReader<'a> {
    blobs: &'a dyn Blobs,
    job: JobId,
    hash: BlobHash,
    count: u32,
    table: u64,
}

impl<'a> PlanReader<'a> {
    /// Opens the plan `hash` of `job`; reads its footer only.
    ///
    /// # Errors
    /// Where the blob is absent, unreadable or no plan.
    pub fn open(blobs: &'a dyn Blobs, job: JobId, hash: BlobHash) -> Result<Self, BlobError> {
        let len = blobs
            .len(job, hash)?
            .ok_or_else(|| broken(format!("plan {hash} of job {job} does not exist")))?;
        let Some(at) = len.checked_sub(FOOTER_BYTES as u64) else {
            return Err(broken(format!(
                "plan {hash} has {len} bytes, expected at least {FOOTER_BYTES}"
            )));
        };
        let footer = read(blobs, job, hash, at, FOOTER_BYTES)?;
        let format = u32_at(&footer, 8);
        if footer[..8] != MAGIC || format != FORMAT {
            return Err(broken(format!("blob {hash} is no plan of format {FORMAT}")));
        }
        let (count, table) = (u32_at(&footer, 12), u64_at(&footer, 16));
        let entries = u64::from(count) * ENTRY_BYTES as u64;
        if count > MAX_RECORDS || table.checked_add(entries) != Some(at) {
            return Err(broken(format!(
                "plan {hash} of {len} bytes names {count} records and entries at byte {table}, \
                 which do not fit"
            )));
        }
        Ok(Self {
            blobs,
            job,
            hash,
            count,
            table,
        })
    }

    /// How many records there are.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// Record `index`, decoded.
    ///
    /// # Errors
    /// Where there is no such record, it is damaged, or is no `T`.
    pub fn record<T: DeserializeOwned>(&self, index: u32) -> Result<T, BlobError> {
        let bytes = self.bytes(index)?;
        let (record, rest) = postcard::take_from_bytes(&bytes).map_err(|error| {
            broken(format!(
                "record {index} of plan {} cannot be decoded: {error}",
                self.hash
            ))
        })?;
        if rest.is_empty() {
            return Ok(record);
        }
        Err(broken(format!(
            "record {index} of plan {} has {} bytes behind its end",
            self.hash,
            rest.len()
        )))
    }

    /// Record `index` as it was pushed.
    ///
    /// # Errors
    /// Where there is no such record or it is damaged.
    pub fn bytes(&self, index: u32) -> Result<Vec<u8>, BlobError> {
        let hash = self.hash;
        if index >= self.count {
            return Err(broken(format!(
                "plan {hash} has {} records, record {index} was asked for",
                self.count
            )));
        }
        let at = self.table + u64::from(index) * ENTRY_BYTES as u64;
        let entry = read(self.blobs, self.job, hash, at, ENTRY_BYTES)?;
        let (offset, len) = (u64_at(&entry, 0), u32_at(&entry, 8));
        let fits = offset
            .checked_add(u64::from(len))
            .is_some_and(|end| end <= self.table);
        if !fits || len as usize > MAX_RECORD_BYTES {
            return Err(damaged(index, hash));
        }
        let bytes = read(self.blobs, self.job, hash, offset, len as usize)?;
        if checksum(index, &bytes) != entry[12..] {
            return Err(damaged(index, hash));
        }
        Ok(bytes)
    }
}

fn read(
    blobs: &dyn Blobs,
    job: JobId,
    hash: BlobHash,
    at: u64,
    len: usize,
) -> Result<Vec<u8>, BlobError> {
    let bytes = blobs.get_range(job, hash, at, len as u64)?;
    if bytes.len() == len {
        return Ok(bytes);
    }
    Err(broken(format!(
        "blob {hash} gave {} bytes at byte {at}, expected {len}",
        bytes.len()
    )))
}

fn checksum(index: u32, record: &[u8]) -> [u8; CHECKSUM_BYTES] {
    let mut hasher = blake3::Hasher::new();
    hasher.update(&index.to_le_bytes());
    hasher.update(record);
    let mut start = [0; CHECKSUM_BYTES];
    start.copy_from_slice(&hasher.finalize().as_bytes()[..CHECKSUM_BYTES]);
    start
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut value = [0; 4];
    value.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(value)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut value = [0; 8];
    value.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(value)
}

fn damaged(index: u32, hash: BlobHash) -> BlobError {
    broken(format!("record {index} of plan {hash} is damaged"))
}

fn broken(message: String) -> BlobError {
    BlobError {
        retryable: false,
        message,
    }
}

#[cfg(test)]
mod tests {
    use holdfast_broker::MemoryBroker;
    use std::sync::Arc;

    use super::*;
    use crate::blobs::BrokerBlobs;

    const JOB: JobId = JobId(7);

    fn blobs() -> BrokerBlobs {
        BrokerBlobs::new(Arc::new(MemoryBroker::new()))
    }

    #[test]
    fn each_record_comes_back_alone() {
        let blobs = blobs();
        let mut writer = PlanWriter::new();
        for number in 0_u32..100 {
            let index = writer.push(&(number, "x".repeat(number as usize))).unwrap();
            assert_eq!(index, number);
        }
        let raw = writer.push_bytes(b"raw").unwrap();
        let hash = writer.finish(&blobs, JOB).unwrap();
        let reader = PlanReader::open(&blobs, JOB, hash).unwrap();
        assert_eq!(reader.count(), 101);
        for number in [99_u32, 0, 50] {
            let (got, text): (u32, String) = reader.record(number).unwrap();
            assert_eq!((got, text.len()), (number, number as usize));
        }
        assert_eq!(reader.bytes(raw).unwrap(), b"raw");
        assert!(reader.bytes(101).is_err());
    }

    #[test]
    fn an_empty_plan_and_a_repeated_plan_are_fine() {
        let blobs = blobs();
        let first = PlanWriter::new().finish(&blobs, JOB).unwrap();
        assert_eq!(PlanWriter::new().finish(&blobs, JOB).unwrap(), first);
        assert_eq!(PlanReader::open(&blobs, JOB, first).unwrap().count(), 0);
    }

    #[test]
    fn a_record_of_another_type_is_an_error() {
        let blobs = blobs();
        let mut writer = PlanWriter::new();
        writer.push(&(1_u8, 2_u8, 3_u8)).unwrap();
        let hash = writer.finish(&blobs, JOB).unwrap();
        let reader = PlanReader::open(&blobs, JOB, hash).unwrap();
        assert!(reader.record::<(u8, u8)>(0).is_err());
        assert!(reader.record::<String>(0).is_err());
    }

    #[test]
    fn every_flipped_byte_is_an_error_or_harmless_but_never_another_record() {
        let blobs = blobs();
        let mut writer = PlanWriter::new();
        writer.push(&"first record").unwrap();
        writer.push(&"second record").unwrap();
        let hash = writer.finish(&blobs, JOB).unwrap();
        let len = blobs.len(JOB, hash).unwrap().unwrap();
        let bytes = blobs.get_range(JOB, hash, 0, len).unwrap();
        for at in 0..bytes.len() {
            let mut bad = bytes.clone();
            bad[at] ^= 0x41;
            let bad = blobs.put(JOB, &bad).unwrap();
            let Ok(reader) = PlanReader::open(&blobs, JOB, bad) else {
                continue;
            };
            for (index, text) in [(0, "first record"), (1, "second record")] {
                if let Ok(got) = reader.record::<String>(index) {
                    assert_eq!(got, text, "byte {at}");
                }
            }
        }
    }

    #[test]
    fn blobs_that_are_no_plans_are_refused() {
        let blobs = blobs();
        for bytes in [&b""[..], b"short", &[0_u8; 64], &[0xff_u8; 24]] {
            let hash = blobs.put(JOB, bytes).unwrap();
            assert!(PlanReader::open(&blobs, JOB, hash).is_err());
        }
        assert!(PlanReader::open(&blobs, JOB, BlobHash([7; 32])).is_err());
    }
}
