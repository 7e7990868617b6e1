//! To what end an interrupted job must come, judged by the journal that was found and by what the
//! tables hold.

use std::path::Path;

use holdfast_broker::Context;
use holdfast_engine::{Event, JobKind};
use holdfast_journal::{ReadJournal, Seq};
use holdfast_storage::ExportRequest;

use crate::place::{fingerprint, leftovers_of_node};
use crate::template::{
    TABLES, Template, assert_nothing_is_held, assert_remote_is_clean, contents, label, open_at,
    released,
};
use crate::{Node, assert_finished, restore};

/// Names of the events about the job in the journal of a copy.
pub fn events(root: &Path) -> Vec<&'static str> {
    use holdfast_journal::Event as _;
    let (journal, _) = ReadJournal::<Event>::open(root.join("node/journal")).unwrap();
    let mut names = Vec::new();
    journal
        .read(Seq::FIRST, &mut |record| {
            names.push(record.event.kind_name());
            Ok(())
        })
        .unwrap();
    names
}

/// Opens a node that was interrupted and judges to what end it comes. Of the copies with a `number`
/// that is a multiple of four a backup is restored, too.
pub fn judge(template: &Template, kind: JobKind, root: &Path, number: usize) {
    let events = events(root);
    let submitted = if kind == JobKind::Backup {
        "BackupSubmitted"
    } else {
        "RestoreSubmitted"
    };
    let last = events.iter().rposition(|name| *name == submitted);
    // A template for a restore holds an ended backup, too.
    let since = last.map_or(&[] as &[&str], |at| &events[at..]);
    let now = contents(root);
    assert!(
        now == template.before || now == template.in_snapshot,
        "neither old nor new: {now:?}"
    );
    let committed = since.contains(&"RestoreFinished");
    assert!(
        !committed || now == template.in_snapshot,
        "FINISHED before the swap"
    );
    let begun = since.contains(&"RestoreCommitStarted") || kind == JobKind::Backup;
    assert!(
        begun || now == template.before,
        "swapped before the commit was recorded"
    );

    let node = open_at(root, None);
    let jobs = node.engine.views().jobs_of(kind, Some("db"));
    let view = jobs.iter().find(|view| view.common().label == label(kind));
    let Some(view) = view else {
        assert!(last.is_none(), "a recorded job is not known");
        drop(node);
        assert_eq!(contents(root), template.before);
        return;
    };
    let job = view.common().job;
    let view = node.ended(job);
    let expected = if since.contains(&"JobStopping") {
        "CANCELLED"
    } else {
        "FINISHED"
    };
    assert_eq!(view.state_name(), expected, "{:?}", view.common().status);
    released(&node, job);
    if kind == JobKind::Backup {
        judge_backup(template, &node, expected, number);
    }
    drop(node);
    let after = match (kind, expected) {
        (JobKind::Restore, "FINISHED") => &template.in_snapshot,
        _ => &template.before,
    };
    assert_eq!(contents(root), *after);
    assert_eq!(leftovers_of_node(&root.join("node")), Vec::<String>::new());
    assert_remote_is_clean(root);
    assert_nothing_is_held(root);
}

fn judge_backup(template: &Template, node: &Node, state: &str, number: usize) {
    let context = Context::new();
    let repository = node.engine.repository("repo").unwrap();
    let mut findings = Vec::new();
    let report = repository
        .verify(&context, None, &mut |found| findings.push(found))
        .unwrap();
    assert_eq!(findings, []);
    assert_eq!(report.snapshots, u64::from(state == "FINISHED"));
    let mut free = Vec::new();
    repository
        .unreferenced(&context, &mut |object| free.push(object))
        .unwrap();
    assert_eq!(free, [], "objects that no snapshot needs");
    if state == "FINISHED" && number.is_multiple_of(4) {
        for table in TABLES {
            node.storage.drop_table("db", table).unwrap();
        }
        let stamp = node.timestamp("repo", label(JobKind::Backup));
        let view = node.restore(&restore(label(JobKind::Backup), &stamp));
        assert_finished(&view);
        released(node, view.common().job);
        for table in TABLES {
            let out = tempfile::tempdir().unwrap();
            let to = out.path().join("out");
            node.storage
                .export(&ExportRequest::new("db", table, &to))
                .unwrap();
            assert_eq!(Some(fingerprint(&to)), template.before[table]);
        }
    }
}
