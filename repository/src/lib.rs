//! The layout of a Holdfast repository.
mod error;
mod hash;
mod key;
pub mod limits;
pub mod manifest;
mod names;
pub mod pack;
pub mod plan;
mod presence;

pub use error::{Error, ErrorKind, MemberFault};
pub use hash::{ContentHash, Verifier};
pub use key::{ObjectEntry, ObjectKey, ObjectKind};
pub use names::{Writer, check_label, check_repository_name, check_timestamp};
pub use presence::{Condemned, Presence};
