//! What the disk takes for the syncs of a job, measured beside it: the floor that no design goes
//! below without promising less.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::Path;
use std::time::{Duration, Instant};

/// Times of single durable steps on this disk, the median of some tries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Costs {
    /// Some bytes appended to a file and synced: one append to a journal.
    pub(crate) append: Duration,
    /// A small file written, synced, given its name, its folder synced: one object put.
    pub(crate) object: Duration,
}

const TRIES: usize = 15;

impl Costs {
    /// Measures in a folder of its own below `folder`, and removes it.
    pub(crate) fn measure(folder: &Path) -> io::Result<Self> {
        let place = folder.join("floor");
        fs::create_dir_all(&place)?;
        let mut log = OpenOptions::new()
            .append(true)
            .create(true)
            .open(place.join("log"))?;
        let append = median(|_| {
            log.write_all(&[7; 256])?;
            log.sync_data()
        })?;
        let holder = File::open(&place)?;
        let object = median(|i| {
            let fresh = place.join(format!("fresh-{i}"));
            let mut file = File::create_new(&fresh)?;
            file.write_all(&[7; 1024])?;
            file.sync_data()?;
            fs::rename(&fresh, place.join(format!("object-{i}")))?;
            holder.sync_all()
        })?;
        fs::remove_dir_all(&place)?;
        Ok(Self { append, object })
    }
}

fn median(mut step: impl FnMut(usize) -> io::Result<()>) -> io::Result<Duration> {
    let mut times = Vec::with_capacity(TRIES);
    for i in 0..TRIES {
        let start = Instant::now();
        step(i)?;
        times.push(start.elapsed());
    }
    times.sort_unstable();
    Ok(times[TRIES / 2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn measuring_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let costs = Costs::measure(dir.path()).unwrap();
        assert!(costs.object > Duration::ZERO);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
