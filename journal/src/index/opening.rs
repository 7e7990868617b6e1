//! What an opening of the log means for the index, found out in the same pass.
//!
//! The index is a witness: one that has seen more than the log holds means that acknowledged events
//! are lost. Where its file `seen` says how far it came, sled is opened later, on the index's own
//! thread; where that file is unreadable, sled is asked at once.

use super::{Broken, Heads, INDEX_FOLDER, seen, store::Store};
use crate::{
    cases::OpenCase,
    checkpoint,
    disk::Disk,
    error::Error,
    file::Index,
    frame::Head,
    ids::{FrameHash, Seq},
    transaction::Tip,
};

/// How the thread begins.
pub(crate) enum Begin {
    /// With a usable index that holds everything up to `fed`.
    Follow {
        store: Store,
        fed: Seq,
        heads: Heads,
    },
    /// With one that is still to be opened; `heads` are those at `seen`.
    Open { seen: Seq, heads: Heads },
    /// With none.
    Build { why: String },
}

/// Gathered while the log is scanned.
pub(crate) struct Opening {
    /// How far the index has seen the log, by its own word.
    seen: Option<Tip>,
    /// Open already, where it had to be.
    store: Option<Store>,
    trouble: Option<OpenCase>,
    heads: Heads,
    /// The log's hash where the index says it is.
    hash: Option<FrameHash>,
}

impl Opening {
    pub(crate) fn begin(disk: &dyn Disk, wanted: Index, family: u32) -> Self {
        let mut opening = Self {
            seen: None,
            store: None,
            trouble: None,
            heads: Heads::default(),
            hash: None,
        };
        let path = disk.folder().map(|folder| folder.join(INDEX_FOLDER));
        let Some(path) = path.filter(|_| wanted == Index::Sled) else {
            return opening;
        };
        if !path.is_dir() {
            opening.trouble = Some(OpenCase::IndexMissing);
            return opening;
        }
        let genesis = Tip {
            seq: Seq::ZERO,
            hash: FrameHash::genesis(family),
        };
        opening.hash = Some(genesis.hash);
        opening.seen = seen::read(&path, family);
        if opening.seen.is_some() {
            return opening;
        }
        let found = Store::open(&path, family).and_then(|store| match store.position() {
            Ok(tip) => Ok((store, tip.unwrap_or(genesis))),
            Err(broken) => store.close().and(Err(broken)),
        });
        match found {
            Ok((store, tip)) => {
                opening.store = Some(store);
                opening.seen = Some(tip);
            }
            Err(Broken(why)) => opening.trouble = Some(OpenCase::IndexDamaged { why }),
        }
        opening
    }

    /// Hears of a frame of the log, in order.
    pub(crate) fn pass(&mut self, head: &Head) {
        if let Some(seen) = &self.seen
            && head.seq <= seen.seq
        {
            self.heads.pass(head);
            self.hash = Some(head.hash);
        }
    }

    /// Refuses where the log is damaged or a witness has seen more of it; else says how the index
    /// begins.
    pub(crate) fn judge(
        mut self,
        disk: &dyn Disk,
        family: u32,
        damage: Option<Error>,
        (base, end): (Tip, Seq),
    ) -> Result<(Option<Begin>, Option<OpenCase>), Error> {
        let refusal = match damage {
            Some(error) => Some(error),
            None => self
                .lost_tail(disk, family, end)?
                .map(|case| case.refusal()),
        };
        if let Some(seen) = self.seen.filter(|seen| seen.seq <= base.seq) {
            // No frame of the log was as old as what it has seen.
            self.hash = (seen.seq == base.seq).then_some(base.hash);
        }
        let other_history = self.seen.is_some_and(|seen| self.hash != Some(seen.hash));
        if refusal.is_some() || other_history {
            // Whatever sled says to that: it is refused, or thrown away.
            let _ = self.store.take().map(Store::close);
        }
        if let Some(error) = refusal {
            return Err(error);
        }
        let Some(seen) = self.seen else {
            let begin = self.trouble.as_ref().map(|case| Begin::Build {
                why: case.to_string(),
            });
            // A journal that is being begun has none, and nobody need hear of it.
            let begun = |case: &OpenCase| end == Seq::ZERO && *case == OpenCase::IndexMissing;
            let case = self.trouble.filter(|case| !begun(case));
            return Ok((begin, case));
        };
        if let Some(seen) = self.seen.filter(|seen| seen.seq < base.seq) {
            // Nothing in the log says whether it is of the same history, and all that answers need is in the log.
            let records = end.get() - base.seq.get();
            let why = format!("its end, sequence {}, has left the log", seen.seq);
            let case = OpenCase::IndexBehind { records };
            return Ok((Some(Begin::Build { why }), Some(case)));
        }
        if other_history {
            let why = format!("it knows another history at sequence {}", seen.seq);
            let case = OpenCase::IndexDamaged { why };
            return Ok((
                Some(Begin::Build {
                    why: case.to_string(),
                }),
                Some(case),
            ));
        }
        let records = end.get() - seen.seq.get();
        let case = (records > 0).then_some(OpenCase::IndexBehind { records });
        let heads = self.heads;
        let begin = match self.store {
            Some(store) => Begin::Follow {
                store,
                fed: seen.seq,
                heads,
            },
            None => Begin::Open {
                seen: seen.seq,
                heads,
            },
        };
        Ok((Some(begin), case))
    }

    /// Whether the index or a checkpoint has seen more than the log holds.
    fn lost_tail(&self, disk: &dyn Disk, family: u32, end: Seq) -> Result<Option<OpenCase>, Error> {
        if let Some(seen) = &self.seen
            && seen.seq > end
        {
            return Ok(Some(lost_tail(seen.seq, end)));
        }
        let farthest = checkpoint::farthest(disk, family, end)?;
        Ok(farthest.map(|(name, seen)| OpenCase::LostTail {
            witness: format!("the file {name}"),
            seen,
            end,
            lost: end.next(),
        }))
    }
}

/// The case of an index that is ahead of the log.
pub(super) fn lost_tail(seen: Seq, end: Seq) -> OpenCase {
    OpenCase::LostTail {
        witness: format!("the folder {INDEX_FOLDER}"),
        seen,
        end,
        lost: end.next(),
    }
}
