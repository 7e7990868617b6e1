//! Blobs kept by a broker: with the local broker on the folder `jobs/`, with the memory broker in tests. Content-addressed;
//! knows nothing of what a blob holds.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_broker::{Broker, BrokerExt, Context, ErrorClass, ObjectName, PutMode};

use crate::ids::{BlobHash, JobId};
use crate::seams::{BlobError, Blobs};

/// [`Blobs`] over any [`Broker`]; each blob is one object, `<job>/<hash>`.
#[derive(Clone)]
pub struct BrokerBlobs {
    broker: Arc<dyn Broker>,
}

impl BrokerBlobs {
    /// Blobs at the root of `broker`, which should hold nothing else.
    pub fn new(broker: Arc<dyn Broker>) -> Self {
        Self { broker }
    }
}

impl Blobs for BrokerBlobs {
    fn put(&self, job: JobId, bytes: &[u8]) -> Result<BlobHash, BlobError> {
        let hash = BlobHash(*blake3::hash(bytes).as_bytes());
        self.broker
            .put_bytes(
                &Context::new(),
                &name(job, hash)?,
                bytes,
                PutMode::CreateIfAbsent,
            )
            .map_err(|error| failed(hash, "cannot be kept", &error))?;
        Ok(hash)
    }

    fn get_range(
        &self,
        job: JobId,
        hash: BlobHash,
        offset: u64,
        len: u64,
    ) -> Result<Vec<u8>, BlobError> {
        let end = offset.checked_add(len).ok_or_else(|| BlobError {
            retryable: false,
            message: format!("range of {len} bytes at byte {offset} of blob {hash} is too long"),
        })?;
        // Grown as bytes come, so that a wrong length costs no memory.
        let mut bytes = Vec::with_capacity(usize::try_from(len.min(1 << 20)).unwrap_or(0));
        self.broker
            .get_range(
                &Context::new(),
                &name(job, hash)?,
                offset..end,
                &mut |piece| {
                    bytes.extend_from_slice(piece);
                    Ok(())
                },
            )
            .map_err(|error| failed(hash, "cannot be read", &error))?;
        Ok(bytes)
    }

    fn len(&self, job: JobId, hash: BlobHash) -> Result<Option<u64>, BlobError> {
        let info = self
            .broker
            .stat(&Context::new(), &name(job, hash)?)
            .map_err(|error| failed(hash, "cannot be looked up", &error))?;
        Ok(info.map(|info| info.len))
    }

    fn retain_only(&self, live: &[JobId]) -> Result<(), BlobError> {
        let live: BTreeSet<u64> = live.iter().map(|job| job.0).collect();
        self.remove_where("", |job| !live.contains(&job))
    }

    fn remove(&self, job: JobId) -> Result<(), BlobError> {
        self.remove_where(&format!("{job}/"), |owner| owner == job.0)
    }
}

impl BrokerBlobs {
    fn remove_where(&self, prefix: &str, dead: impl Fn(u64) -> bool) -> Result<(), BlobError> {
        let context = Context::new();
        let failed = |what: &str, error: &holdfast_broker::Error| BlobError {
            retryable: error.class().heals(),
            message: format!("{what}: {error}"),
        };
        let all = self
            .broker
            .list_all(&context, prefix)
            .map_err(|error| failed("blobs cannot be listed", &error))?;
        for object in all {
            // Anything that is no blob is not ours to remove.
            if owner(object.name.as_str()).is_some_and(&dead) {
                self.broker
                    .delete(&context, &object.name)
                    .map_err(|error| failed("a blob cannot be removed", &error))?;
            }
        }
        Ok(())
    }
}

/// The job that a name belongs to; `None` where it is no blob's name.
fn owner(name: &str) -> Option<u64> {
    let (job, hash) = name.split_once('/')?;
    blake3::Hash::from_hex(hash).ok()?;
    job.parse().ok()
}

fn name(job: JobId, hash: BlobHash) -> Result<ObjectName, BlobError> {
    ObjectName::parse(format!("{job}/{hash}")).map_err(|error| failed(hash, "has no name", &error))
}

fn failed(hash: BlobHash, what: &str, error: &holdfast_broker::Error) -> BlobError {
    let class = error.class();
    BlobError {
        // A full disk may have room again; everything is content-addressed, so a repeated put is safe.
        retryable: class.heals() || matches!(class, ErrorClass::Ambiguous | ErrorClass::Full),
        message: format!("blob {hash} {what}: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use holdfast_broker::MemoryBroker;

    use super::*;

    const JOB: JobId = JobId(3);

    #[test]
    fn equal_bytes_are_one_blob_and_ranges_are_exact() {
        let broker = MemoryBroker::new();
        let blobs = BrokerBlobs::new(Arc::new(broker.clone()));
        let hash = blobs.put(JOB, b"0123456789").unwrap();
        assert_eq!(blobs.put(JOB, b"0123456789").unwrap(), hash);
        assert_eq!(broker.counts().objects, 1);
        assert_eq!(blobs.len(JOB, hash).unwrap(), Some(10));
        assert_eq!(blobs.get_range(JOB, hash, 3, 4).unwrap(), b"3456");
        assert_eq!(blobs.get_range(JOB, hash, 10, 0).unwrap(), b"");
        assert!(!blobs.get_range(JOB, hash, 8, 3).unwrap_err().retryable);
        assert!(
            !blobs
                .get_range(JOB, hash, u64::MAX, 3)
                .unwrap_err()
                .retryable
        );
        assert_eq!(blobs.len(JOB, BlobHash([0; 32])).unwrap(), None);
        assert_eq!(blobs.len(JobId(4), hash).unwrap(), None);
    }

    #[test]
    fn blobs_go_with_their_job_and_strangers_are_left_alone() {
        let broker = MemoryBroker::new();
        let blobs = BrokerBlobs::new(Arc::new(broker.clone()));
        let jobs = [JobId(3), JobId(30), JobId(31)];
        let kept = |job| {
            let hash = BlobHash(*blake3::hash(b"same").as_bytes());
            blobs.len(job, hash).unwrap().is_some()
        };
        for job in jobs {
            blobs.put(job, b"same").unwrap();
        }
        let stranger = ObjectName::parse("notes.txt").unwrap();
        let context = Context::new();
        broker
            .put_bytes(&context, &stranger, b"mine", PutMode::Overwrite)
            .unwrap();
        blobs.remove(JobId(3)).unwrap();
        blobs.remove(JobId(99)).unwrap();
        assert_eq!(jobs.map(kept), [false, true, true]);
        blobs.retain_only(&[JobId(31)]).unwrap();
        assert_eq!(jobs.map(kept), [false, false, true]);
        assert!(broker.exists(&context, &stranger).unwrap());
    }
}
