//! Opening an index and building one, on the index's thread.
//!
//! An index is built in a folder of its own, synced, and renamed into the place of the old one, so
//! a kill leaves the old one, none, or a whole one that may be behind.

use std::{collections::VecDeque, ops::ControlFlow, path::Path, sync::Arc};

use super::{
    Heads,
    follow::{Phase, Worker},
    opening::lost_tail,
    store::{Broken, Store},
};
use crate::{ids::Seq, transaction::Tip};

impl Worker {
    /// Opens the index that was there when the journal was opened.
    pub(super) fn open(&mut self) -> Result<(), Broken> {
        let (seen, heads) = self.deferred.take().unwrap_or_default();
        let store = Store::open(&self.path, self.family)?;
        let placed = self.place(&store, seen, heads);
        let Ok(Some((fed, heads))) = placed else {
            // What was found first is the reason.
            let _ = store.close();
            return placed.map(|_| ());
        };
        self.heads.clone_from(&heads);
        self.shared.set(Phase::Following {
            store: Arc::new(store),
            fed,
            heads,
        });
        Ok(())
    }

    /// Where an index stands in the log, and the heads there (of what left the log they may be older, and
    /// nobody asks for it); `None` where it is ahead of it.
    fn place(
        &self,
        store: &Store,
        seen: Seq,
        heads: Heads,
    ) -> Result<Option<(Seq, Heads)>, Broken> {
        let Some(tip) = store.position()? else {
            return Ok(Some((Seq::ZERO, Heads::default())));
        };
        // What it ends in may have left the log since the journal was opened; answers begin with the log.
        let archived = tip.seq.next() < self.reader.first();
        if !archived && !self.knows(tip)? {
            if tip.seq > seen {
                // Its word on how far it came is older than itself, as after a power cut. It is
                // kept as it is, and the next opening refuses at once.
                let error = lost_tail(tip.seq, self.reader.tip().seq).refusal();
                log::error!("the journal accepts nothing more: {error}");
                store.note(tip)?;
                self.shared.set(Phase::Failed {
                    why: error.to_string(),
                });
                (self.refuse)(error);
                return Ok(None);
            }
            return Err(Broken(format!(
                "it knows another history at sequence {}",
                tip.seq
            )));
        }
        if archived || tip.seq == seen {
            return Ok(Some((tip.seq, heads)));
        }
        let mut heads = Heads::default();
        let passed = self
            .reader
            .frames(self.reader.first(), tip.seq, &mut |raw| {
                heads.pass(&raw.head);
                let stop = self.shared.stopping();
                Ok(if stop {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                })
            });
        passed.map_err(|e| Broken(format!("reading the log: {e}")))?;
        Ok(Some((tip.seq, heads)))
    }

    fn knows(&self, tip: Tip) -> Result<bool, Broken> {
        let hash = self.reader.hash_at(tip.seq);
        Ok(hash.map_err(|e| Broken(format!("reading the log: {e}")))? == Some(tip.hash))
    }

    /// Builds an index from the whole log and puts it in the place of the one there.
    pub(super) fn build(&mut self) -> Result<(), Broken> {
        self.cursor = None;
        let fresh = self.path.with_extension("new");
        remove(&fresh)?;
        let store = Store::open(&fresh, self.family)?;
        let (mut fed, mut heads) = (Seq::ZERO, Heads::default());
        let mut moved = Vec::new();
        loop {
            match self.feed(&store, fed, &mut heads, &mut moved) {
                Ok(Some(last)) => fed = last,
                Ok(None) => break,
                Err(broken) => {
                    // Its own failure to close would hide what it was.
                    let _ = store.close();
                    return Err(broken);
                }
            }
            moved.clear();
            // What is built so far is an index that is behind, which the next opening goes on with.
            if self.shared.stopping() {
                break;
            }
        }
        store.close()?;
        sync_files(&fresh)?;
        self.swap(&fresh)?;
        if self.shared.stopping() {
            return Ok(());
        }
        let store = Store::open(&self.path, self.family)?;
        if store.position()?.map_or(Seq::ZERO, |tip| tip.seq) != fed {
            return Err(Broken(
                "the index built last is not the one opened".to_owned(),
            ));
        }
        self.measured();
        log::info!("the journal's index was built anew, through sequence {fed}");
        self.heads.clone_from(&heads);
        self.shared.set(Phase::Following {
            store: Arc::new(store),
            fed,
            heads,
        });
        Ok(())
    }

    fn swap(&self, fresh: &Path) -> Result<(), Broken> {
        remove(&self.path)?;
        let renamed = std::fs::rename(fresh, &self.path).and_then(|()| {
            let parent = self.path.parent().unwrap_or(Path::new("."));
            std::fs::File::open(parent)?.sync_all()
        });
        renamed.map_err(|e| Broken(format!("rename {}: {e}", fresh.display())))
    }
}

fn remove(path: &Path) -> Result<(), Broken> {
    match std::fs::remove_dir_all(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
            Err(Broken(format!("remove {}: {e}", path.display())))
        }
        _ => Ok(()),
    }
}

/// sled's flush is no device barrier, so its files are synced before the rename relies on them.
fn sync_files(path: &Path) -> Result<(), Broken> {
    let sync = || -> std::io::Result<()> {
        let mut folders = VecDeque::from([path.to_path_buf()]);
        while let Some(folder) = folders.pop_front() {
            for entry in std::fs::read_dir(&folder)? {
                let entry = entry?;
                if entry.file_type()?.is_dir() {
                    folders.push_back(entry.path());
                } else {
                    std::fs::File::open(entry.path())?.sync_all()?;
                }
            }
            std::fs::File::open(&folder)?.sync_all()?;
        }
        Ok(())
    };
    sync().map_err(|e| Broken(format!("sync {}: {e}", path.display())))
}
