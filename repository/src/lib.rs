//! A repository: a named place behind a broker that holds snapshots.
//!
//! Objects are written once and named after their content, so a repeated backup sends only what
//! changed and every snapshot is a full one. This crate owns the layout, the plan of objects and
//! packs, the manifests, the protocol by which several writers share one place without harm, and
//! the proof of what is stored. The format is written down in `docs/repository-format.md`. It
//! knows no job (only a [`Writer`]'s identity) and no table's structure (definitions are
//! [`manifest::Opaque`] JSON), and it keeps nothing in memory between calls that the repository
//! does not hold.
//!
//! # The order of a backup
//! | Step | Call | Why there |
//! |---|---|---|
//! | say that a writer is at work | [`Repository::begin`] | nobody deletes what it may find |
//! | own the label | [`Repository::claim`] | of two that want it, one goes on |
//! | see what is there | [`Repository::presence`] | condemned objects count as absent |
//! | where small files lie | [`Repository::known_members`] | as packs themselves tell |
//! | decide what to write | [`plan::Planner`] | fixes names and bytes of all objects unread |
//! | write it | [`Repository::put_object`] | every byte is proved on its way |
//! | write the manifest | [`manifest::PartBuilder`], [`Repository::put_part`] | |
//! | make what is reused durable | [`Repository::settle_reused`] | |
//! | last look | [`Repository::condemned`] | nothing of ours may be about to go |
//! | commit | [`Repository::put_marker`] | from here on the snapshot is visible |
//! | done | [`Repository::end`], or [`Repository::discard`] after a cancel | |
//!
//! # Example
//! ```
//! use std::sync::Arc;
//! use holdfast_broker::{Context, MemoryBroker};
//! use holdfast_repository::plan::{Content, KnownMembers, Limits, Planner};
//! use holdfast_repository::{Mode, Repository};
//!
//! # fn main() -> Result<(), holdfast_repository::Error> {
//! let ctx = Context::new(); let broker = Arc::new(MemoryBroker::new()); let repository =
//! Repository::open(&ctx, broker, "north", Mode::ReadWrite { created_at_ms: 0 })?; let presence =
//! repository.presence(&ctx)?; let mut planner = Planner::new(&presence, KnownMembers::default(),
//! Limits::default())?; let file = planner.add(0, &Content::of(b"a small file"))?; let plan =
//! planner.finish()?; assert_eq!(plan.objects.len(), 1);
//! assert_eq!(plan.placements[file.index()].pieces[0].len, 12);
//! # Ok(())
//! # }
//! ```
#![cfg_attr(
    test,
    allow(
        clippy::disallowed_methods,
        reason = "tests are outside the deterministic core"
    )
)]

mod claims;
mod commit;
mod discard;
mod error;
mod hash;
mod key;
mod known;
pub mod limits;
pub mod manifest;
mod names;
mod objects;
pub mod pack;
pub mod plan;
mod presence;
mod read;
mod repository;
mod snapshots;
mod unreferenced;
mod verify;

pub use claims::Unclaimed;
pub use commit::MarkerOutcome;
pub use discard::Discarded;
pub use error::{Error, ErrorKind, MemberFault};
pub use hash::{ContentHash, Verifier};
pub use key::{ObjectEntry, ObjectKey, ObjectKind};
pub use names::{Writer, check_label, check_repository_name, check_timestamp};
pub use objects::{MemberRead, MemberSource, Put};
pub use presence::{Condemned, Presence};
pub use read::{PieceEvent, Visit, WantedPiece};
pub use repository::{Mode, RepoInfo, Repository};
pub use snapshots::{LabelEntry, MarkerRef};
pub use unreferenced::{Standing, Unreferenced, UnreferencedReport};
pub use verify::{Finding, VerifyReport};
