//! The kept checkpoints of the engine's state: each must be what the events up to it make, and go
//! on to what all events make.

use std::collections::BTreeSet;
use std::sync::Arc;

use holdfast_engine::{CheckpointError, Event, JobId, JobView, Replay, Views};
use holdfast_journal::{Projection, Record, Seq};

use super::super::source::Source;
use super::super::views::differing_columns;
use super::Findings;
use crate::exit::Failure;
use crate::node::journal_failure;
use crate::out;

/// A checkpoint that is replayed beside the events from the first.
struct Begun {
    name: String,
    at: Seq,
    state: Vec<u8>,
    /// None until the events have come to it, and again once it is known to be wrong.
    replay: Option<Replay>,
}

/// All kept checkpoints.
pub(super) struct Beside {
    begun: Vec<Begun>,
}

impl Beside {
    /// Reads the checkpoints; one that cannot be used is a finding, one of another version is not.
    pub(super) fn open(source: &Source, findings: &mut Findings) -> Result<Self, Failure> {
        let Some((journal, _)) = source.journal() else {
            return Ok(Self { begun: Vec::new() });
        };
        let kept = journal
            .checkpoints(Replay::CHECKPOINTS)
            .map_err(|error| journal_failure(&error))?;
        let mut begun = Vec::new();
        for kept in kept {
            let state = match kept.content {
                Ok(checkpoint) => checkpoint.state,
                Err(error) => {
                    findings.add("checkpoint", error);
                    continue;
                }
            };
            match Replay::from_checkpoint(&state, kept.seq) {
                Ok(_) => begun.push(Begun {
                    name: kept.name,
                    at: kept.seq,
                    state,
                    replay: None,
                }),
                Err(other @ CheckpointError::OtherVersion { .. }) => {
                    out::note(format_args!(
                        "checkpoint: {} not checked: {other}",
                        kept.name
                    ));
                }
                Err(CheckpointError::Unsound(why)) => {
                    findings.add(
                        "checkpoint",
                        format_args!("{} is unsound: {why}", kept.name),
                    );
                }
            }
        }
        if begun.is_empty() {
            out::note("checkpoint: none to check");
        }
        Ok(Self { begun })
    }

    /// `whole`, made from the first event on, has taken in `record`.
    pub(super) fn passed(
        &mut self,
        whole: &mut Replay,
        record: &Record<Event>,
        findings: &mut Findings,
    ) {
        for begun in &mut self.begun {
            if let Some(replay) = &mut begun.replay {
                if let Err(error) = replay.apply(record) {
                    begun.replay = None;
                    findings.add("checkpoint", format_args!("{}: {error}", begun.name));
                }
            } else if begun.at == record.seq
                && let Ok(mut replay) = Replay::from_checkpoint(&begun.state, begun.at)
                && agree(&begun.name, whole, &mut replay, findings)
            {
                begun.replay = Some(replay);
            }
        }
    }

    /// All records have been taken in.
    pub(super) fn ended(&mut self, whole: &mut Replay, findings: &mut Findings) {
        for begun in &mut self.begun {
            if let Some(replay) = &mut begun.replay
                && agree(&begun.name, whole, replay, findings)
            {
                out::note(format_args!(
                    "checkpoint: {} agrees with the events there and at sequence {}",
                    begun.name,
                    whole.position()
                ));
            }
        }
    }
}

/// Whether two replays of the same events show and hold the same; what differs is a finding.
fn agree(name: &str, whole: &mut Replay, other: &mut Replay, findings: &mut Findings) -> bool {
    let seq = whole.position();
    let differences = differences(whole, other);
    for what in &differences {
        findings.add(
            "checkpoint",
            format_args!("{name}: at sequence {seq} {what}"),
        );
    }
    differences.is_empty()
}

fn differences(whole: &mut Replay, other: &mut Replay) -> Vec<String> {
    let (expected, shown) = (whole.views(), other.views());
    let ids = expected.jobs.keys().chain(shown.jobs.keys());
    let jobs: BTreeSet<JobId> = ids.copied().collect();
    let mut found: Vec<String> = jobs
        .into_iter()
        .filter_map(|job| {
            Some(format!(
                "job {job} {}",
                job_differs(&shown, &expected, job)?
            ))
        })
        .collect();
    let (expected, shown) = (&expected.repositories, &shown.repositories);
    let names: BTreeSet<&String> = expected.keys().chain(shown.keys()).collect();
    let wrong = names
        .into_iter()
        .filter(|name| expected.get(*name) != shown.get(*name))
        .map(|name| format!("repository '{name}' is not what the events make"));
    found.extend(wrong);
    // What no view shows is in the bytes.
    if found.is_empty() && whole.to_checkpoint() != other.to_checkpoint() {
        found
            .push("the state is not what the events make, in a part that no view shows".to_owned());
    }
    found
}

fn job_differs(shown: &Views, expected: &Views, job: JobId) -> Option<String> {
    let view = |views: &Views| -> Option<Arc<JobView>> { views.jobs.get(&job).cloned() };
    match (view(shown), view(expected)) {
        (Some(shown), Some(expected)) if shown == expected => None,
        (Some(shown), Some(expected)) => {
            let columns: Vec<String> = differing_columns(&shown, &expected)
                .into_iter()
                .map(|(column, found, expected)| format!("{column} {found}, expected {expected}"))
                .collect();
            Some(match columns.is_empty() {
                true => "differs in what SHOW does not print".to_owned(),
                false => format!("has {}", columns.join("; ")),
            })
        }
        (None, Some(_)) => Some("is missing".to_owned()),
        (Some(_), None) => Some("is there, the events know none".to_owned()),
        (None, None) => None,
    }
}
