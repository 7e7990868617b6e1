//! The tables' catalog beside a journal of jobs: its chain, and that it is not older.

use std::path::Path;

use holdfast_journal::{ErrorKind, ReadJournal, Seq};
use holdfast_storage::events::CatalogEvent;

use super::{Findings, judge};
use crate::exit::Failure;
use crate::node::journal_failure;
use crate::{folder, out};

/// Checks the chain of the catalog of the data folder at `path`, and that it has come as far as the
/// jobs' journal has `seen` it.
pub(super) fn verify(path: &Path, seen: u64, findings: &mut Findings) -> Result<(), Failure> {
    let path = folder::storage_dir(path).join("catalog");
    if !path.is_dir() {
        out::note("catalog: none here, not checked");
        return Ok(());
    }
    let (journal, report, refusal) = match ReadJournal::<CatalogEvent>::salvage(&path) {
        Ok(opened) => opened,
        Err(error) if error.kind() == ErrorKind::Damaged => {
            findings.add("catalog", error);
            return Ok(());
        }
        Err(error) => return Err(journal_failure(&error)),
    };
    judge("catalog", &report, refusal.as_ref(), findings);
    if let Err(error) = journal.verify_anchor() {
        findings.add("catalog", error);
    }
    if let Err(error) = journal.read(Seq::FIRST, &mut |_| Ok(())) {
        findings.add("catalog", error);
    }
    let (seq, hash) = journal.position();
    if seq.get() < seen {
        let text = format!("ends at {seq}, the jobs' journal has seen it at {seen}");
        findings.add("catalog", text);
    }
    out::note(format_args!(
        "catalog: read to sequence {seq}, chain hash {hash}"
    ));
    Ok(())
}
