//! The legal moves of both state machines, as one table. `decide` takes the next move from it, `apply` refuses
//! every other, `docs/states.md` is checked against it.

use crate::order::Work;
use crate::spec::JobKind;
use crate::state::Stage;
use crate::view::{BackupState as B, RestoreState as R};

/// Where the tasks of a move's work come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Tasks {
    /// From the plan that the work before made.
    Planned,
    /// One task of the coordinator, with the plan that the work before ran by.
    OneSamePlan,
    /// One task of the coordinator, with the plan that the work before made.
    OneNewPlan,
    /// One task of the coordinator, without a plan.
    OneBare,
}

/// One legal move: when all tasks of `from` are done, `to` begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Move {
    pub(crate) from: (Stage, Work),
    pub(crate) to: (Stage, Work),
    pub(crate) tasks: Tasks,
    /// Whether the move is the point of no return.
    pub(crate) commits: bool,
}

const fn backup(from: (B, Work), to: (B, Work), tasks: Tasks, commits: bool) -> Move {
    Move {
        from: (Stage::Backup(from.0), from.1),
        to: (Stage::Backup(to.0), to.1),
        tasks,
        commits,
    }
}

const fn restore(from: (R, Work), to: (R, Work), tasks: Tasks, commits: bool) -> Move {
    Move {
        from: (Stage::Restore(from.0), from.1),
        to: (Stage::Restore(to.0), to.1),
        tasks,
        commits,
    }
}

/// Every move there is.
pub(crate) const MOVES: [Move; 11] = [
    backup(
        (B::Pending, Work::Pin),
        (B::Snapshoting, Work::Link),
        Tasks::Planned,
        false,
    ),
    backup(
        (B::Snapshoting, Work::Link),
        (B::UploadSnapshot, Work::PlanUpload),
        Tasks::OneSamePlan,
        false,
    ),
    backup(
        (B::UploadSnapshot, Work::PlanUpload),
        (B::Uploading, Work::Upload),
        Tasks::Planned,
        false,
    ),
    backup(
        (B::Uploading, Work::Upload),
        (B::SaveMeta, Work::SaveMeta),
        Tasks::OneSamePlan,
        false,
    ),
    backup(
        (B::SaveMeta, Work::SaveMeta),
        (B::UploadInfo, Work::UploadInfo),
        Tasks::OneNewPlan,
        false,
    ),
    backup(
        (B::UploadInfo, Work::UploadInfo),
        (B::UploadInfo, Work::PutMarker),
        Tasks::OneSamePlan,
        true,
    ),
    restore(
        (R::Pending, Work::PrepareMeta),
        (R::Snapshotting, Work::Stage),
        Tasks::Planned,
        false,
    ),
    restore(
        (R::Snapshotting, Work::Stage),
        (R::Download, Work::PlanDownload),
        Tasks::OneSamePlan,
        false,
    ),
    restore(
        (R::Download, Work::PlanDownload),
        (R::Downloading, Work::Download),
        Tasks::Planned,
        false,
    ),
    restore(
        (R::Downloading, Work::Download),
        (R::Commit, Work::Prepare),
        Tasks::OneBare,
        false,
    ),
    restore(
        (R::Commit, Work::Prepare),
        (R::Committing, Work::Commit),
        Tasks::OneBare,
        true,
    ),
];

/// The move that follows `stage` and `work`; `None` after the last work.
pub(crate) fn after(stage: Stage, work: Work) -> Option<&'static Move> {
    MOVES.iter().find(|m| m.from == (stage, work))
}

/// The work that ends a job without success.
pub(crate) fn undo_of(stage: Stage) -> Work {
    match stage {
        Stage::Backup(_) => Work::Discard,
        Stage::Restore(_) => Work::Abort,
    }
}

/// The work that tidies up after a job that finished.
pub(crate) fn tidy_of(stage: Stage) -> Work {
    match stage {
        Stage::Backup(_) => Work::Release,
        Stage::Restore(_) => Work::Forget,
    }
}

impl Work {
    const ALL: [Self; 17] = [
        Self::Pin,
        Self::Link,
        Self::PlanUpload,
        Self::Upload,
        Self::SaveMeta,
        Self::UploadInfo,
        Self::PutMarker,
        Self::Release,
        Self::Discard,
        Self::PrepareMeta,
        Self::Stage,
        Self::PlanDownload,
        Self::Download,
        Self::Prepare,
        Self::Commit,
        Self::Forget,
        Self::Abort,
    ];

    /// The work with this number, if there is one.
    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|work| *work as u8 == number)
    }

    /// Which of both kinds of job has it.
    pub fn kind(self) -> JobKind {
        match self {
            Self::Pin
            | Self::Link
            | Self::PlanUpload
            | Self::Upload
            | Self::SaveMeta
            | Self::UploadInfo
            | Self::PutMarker
            | Self::Release
            | Self::Discard => JobKind::Backup,
            Self::PrepareMeta
            | Self::Stage
            | Self::PlanDownload
            | Self::Download
            | Self::Prepare
            | Self::Commit
            | Self::Forget
            | Self::Abort => JobKind::Restore,
        }
    }

    /// Whether a backend runs it, beside other tasks of the same phase; else the coordinator does, alone.
    pub fn is_fanned_out(self) -> bool {
        matches!(
            self,
            Self::Link | Self::Upload | Self::Stage | Self::Download
        )
    }

    /// Whether it only ends a job and follows no plan of moves.
    pub fn is_cleanup(self) -> bool {
        matches!(
            self,
            Self::Release | Self::Discard | Self::Forget | Self::Abort
        )
    }
}

impl Stage {
    /// The number that an event carries.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::Backup(state) => state as u8,
            Self::Restore(state) => state as u8,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Write;

    use super::*;

    fn name(stage: Stage) -> &'static str {
        match stage {
            Stage::Backup(state) => state.name(),
            Stage::Restore(state) => state.name(),
        }
    }

    fn table(kind: fn(Stage) -> bool) -> String {
        let mut text = String::from(
            "| In state | when all tasks of | are done | the job enters | with tasks of | point of no return |\n\
             |---|---|---|---|---|---|\n",
        );
        for step in MOVES.iter().filter(|step| kind(step.from.0)) {
            let tasks = match step.tasks {
                Tasks::Planned => "as planned",
                _ => "one",
            };
            let _ = writeln!(
                text,
                "| {} | `{:?}` | → | {} | `{:?}` ({tasks}) | {} |",
                name(step.from.0),
                step.from.1,
                name(step.to.0),
                step.to.1,
                if step.commits { "yes" } else { "" }
            );
        }
        text
    }

    #[test]
    fn the_document_holds_the_tables_of_the_code() {
        let document = include_str!("../../../docs/states.md");
        for kind in [
            (|stage| matches!(stage, Stage::Backup(_))) as fn(Stage) -> bool,
            |stage| matches!(stage, Stage::Restore(_)),
        ] {
            let expected = table(kind);
            assert!(
                document.contains(&expected),
                "docs/states.md lacks this table:\n{expected}"
            );
        }
    }

    #[test]
    fn every_number_of_a_work_is_read_back_and_each_work_belongs_somewhere() {
        for work in Work::ALL {
            assert_eq!(Work::from_number(work as u8), Some(work));
            let moves = MOVES
                .iter()
                .any(|step| step.from.1 == work || step.to.1 == work);
            assert_eq!(moves, !work.is_cleanup(), "{work:?}");
        }
        assert_eq!(Work::from_number(0), None);
    }
}
