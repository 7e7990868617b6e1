//! The exported file: one file with the events of a journal, compressed, sealed, without secrets.
//! The bytes are specified in `docs/journal-format.md`. This module knows no command.

mod layout;
mod names;
mod reader;
mod redact;
mod writer;

pub(super) use layout::{FORMAT, Head, Mark};
pub(super) use reader::{ExportFile, VisitExported};
pub(super) use redact::Redactor;
pub(super) use writer::{Sealed, Writer};
