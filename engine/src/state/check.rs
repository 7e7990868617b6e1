//! Whether a state that was read from outside is one that events could have made, as far as the
//! code relies on it. It repairs nothing.

use crate::state::{Job, State};

impl State {
    /// Looks at every job once; the state must be indexed.
    ///
    /// # Errors
    /// The first thing that does not fit, in words.
    pub(crate) fn check(&self) -> Result<(), String> {
        for (name, record) in &self.repositories {
            if *name != record.name || record.id.0 >= self.next_id {
                return Err(format!("repository '{name}' is kept as {}", record.id));
            }
        }
        let mut active = 0;
        for (id, job) in self.jobs.iter() {
            if id != job.id || id.0 >= self.next_id {
                return Err(format!("job {} is kept as job {id}", job.id));
            }
            job.check(self.next_id)
                .map_err(|what| format!("job {id}: {what}"))?;
            active += usize::from(job.ending.is_none());
        }
        if active != self.active.len() {
            return Err("a database has two active jobs".to_owned());
        }
        Ok(())
    }
}

impl Job {
    fn check(&self, next_id: u64) -> Result<(), String> {
        for phase in [&self.phase, &self.cleanup].into_iter().flatten() {
            let end = phase.first.checked_add(u64::from(phase.total));
            if end.is_none_or(|end| end > next_id) {
                return Err("its tasks have ids that were never given out".to_owned());
            }
            if !phase.is_sound() {
                return Err(format!(
                    "the tasks of {:?} contradict each other",
                    phase.work
                ));
            }
        }
        if self.released && self.ending.is_none() {
            return Err("it is released before it has ended".to_owned());
        }
        Ok(())
    }
}
