//! The index of a journal, compared with its log in a private copy.

use std::time::Duration;

use holdfast_journal::IndexCheck;

use super::super::source::Source;
use super::Findings;
use crate::exit::Failure;
use crate::node::journal_failure;
use crate::out;

/// How often the index is looked at again where a running process may be writing it.
const TRIES: u32 = 5;

/// Compares the index with the log. Beside a running process a copy may be of a moment that never
/// was, so what it shows counts only if it stays.
pub(super) fn verify(source: &Source, findings: &mut Findings) -> Result<(), Failure> {
    let Some((journal, _)) = source.journal() else {
        return Ok(());
    };
    let mut tries = 0;
    loop {
        tries += 1;
        let check = journal
            .verify_index()
            .map_err(|error| journal_failure(&error))?;
        let held = source.is_live();
        match check {
            IndexCheck::Absent | IndexCheck::Agrees { .. } => {
                out::note(format_args!("index: {check}"));
                return Ok(());
            }
            other if !held => {
                findings.add("index", other);
                return Ok(());
            }
            other if tries >= TRIES => {
                out::note(format_args!(
                    "index: {other}; a process has the folder open, so this may be of a moment \
                     between two writes: check again when it has ended"
                ));
                return Ok(());
            }
            _ => std::thread::sleep(Duration::from_millis(100)),
        }
    }
}
