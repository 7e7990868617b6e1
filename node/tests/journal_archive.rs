//! `journal archive`: what moves, and how the tools read what has moved.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use common::World;
use common::journal::{dumped, journal, lived, objects, shown};
use serde_json::Value;

#[test]
fn archiving_moves_ended_jobs_and_their_events_and_the_tools_read_both_as_one() {
    let world = lived();
    let all = dumped(&world, "node", &[]);
    let dry = journal(
        &world,
        &["archive", "node", "--older-than", "0s", "--dry-run"],
    )
    .ok();
    assert!(dry.out.contains("2 jobs"), "{}", dry.out);
    assert_eq!(
        dumped(&world, "node", &[]),
        all,
        "a dry run changes nothing"
    );
    let none = journal(&world, &["archive", "node", "--older-than", "1d"]).ok();
    assert!(none.out.contains("no job ended before"), "{}", none.out);
    assert_eq!(dumped(&world, "node", &[]), all);

    let done = journal(&world, &["archive", "node", "--older-than", "0s"]).ok();
    assert!(done.out.contains("2 jobs"), "{}", done.out);
    let moved = format!("{} events (1 to {})", all.len(), all.len());
    assert!(done.out.contains(&moved), "{}", done.out);
    let after = dumped(&world, "node", &[]);
    assert_eq!(after[..all.len()], all[..], "the archive is read first");
    assert_eq!(after[all.len()]["kind"], "HistoryArchived");
    assert!(
        !world
            .sql("SHOW BACKUP FROM shop")
            .ok()
            .out
            .contains("monday")
    );
    journal(&world, &["verify", "node"]).ok();
    // The label is still taken, and a new backup runs.
    world.sql("BACKUP SNAPSHOT shop.tuesday TO r").ok();

    let folder = world.path("node/journal/archive");
    std::fs::rename(&folder, world.path("away")).unwrap();
    let told = journal(&world, &["dump", "node", "--format", "json"]).ok();
    assert!(told.err.contains("records before sequence"), "{}", told.err);
    assert!(objects(&told.out).len() > 1);
    journal(&world, &["state", "node"]).ok();
    world.sql("SHOW BACKUP FROM shop").ok();
}

#[test]
fn archiving_is_refused_while_a_process_has_the_folder_open_and_without_an_age() {
    let world = lived();
    let held = std::fs::File::open(world.path("node/lock")).unwrap();
    held.lock().unwrap();
    journal(&world, &["archive", "node", "--older-than", "0s"]).refused(3, "FOLDER_IN_USE");
    drop(held);
    let usage = journal(&world, &["archive", "node"]);
    assert_eq!(usage.code, 2, "{}", usage.err);
}

/// Moves the whole log of data folder `node` into an archive.
fn archive(world: &World) {
    use holdfast_engine::Event;
    use holdfast_journal::{ArchiveRequest, FileJournal, Journal, Options};
    let folder = world.path("node/journal");
    let (journal, _) = FileJournal::<Event>::open(folder, Options::default()).unwrap();
    let before = journal.position().0.next();
    journal.roll().unwrap();
    let request = ArchiveRequest {
        before,
        projection: holdfast_engine::Replay::CHECKPOINTS,
        description: b"{}",
        at_ms: 0,
    };
    journal.archive(&request).unwrap().expect("an archive");
}

#[test]
fn archived_records_are_read_before_those_of_the_log() {
    let world = lived();
    let expected = shown(&world, "node");
    let all = dumped(&world, "node", &[]);
    archive(&world);
    assert_eq!(shown(&world, "node"), expected);
    // The log goes on behind the archive.
    world.sql("BACKUP SNAPSHOT shop.tuesday TO r").ok();
    let more = dumped(&world, "node", &[]);
    assert_eq!(more[..all.len()], all);
    assert!(more.len() > all.len());
    let tail = journal(&world, &["tail", "node", "-n", "99999", "--format", "json"]).ok();
    assert_eq!(objects(&tail.out), more);
    journal(&world, &["export", "node", "--to", "file"]).ok();
    assert_eq!(shown(&world, "file"), shown(&world, "node"));
    let verify = journal(&world, &["verify", "file"]).ok();
    assert!(verify.err.contains("1 taken as recorded"), "{verify:#?}");
    let words = |source| {
        journal(&world, &["diff", source, "0", "2999-01-01"])
            .ok()
            .out
    };
    assert_eq!(words("file"), words("node"));
}

#[test]
fn without_its_archives_a_journal_is_told_from_its_oldest_checkpoint_on() {
    let world = lived();
    let end = dumped(&world, "node", &[]).len();
    let state = journal(&world, &["state", "node"]).ok().out;
    archive(&world);
    world.sql("SHOW BACKENDS").ok();
    let archives = world.path("node/journal/archive");
    let file = std::fs::read_dir(&archives)
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let away = world.path("away");
    std::fs::rename(file.path(), &away).unwrap();
    let dump = journal(&world, &["dump", "node", "--format", "json"]).ok();
    assert_eq!(objects(&dump.out)[0]["seq"], end + 1);
    assert!(
        dump.err
            .contains(&format!("before sequence {} are not here", end + 1)),
        "{dump:#?}"
    );
    assert_eq!(journal(&world, &["state", "node"]).ok().out, state);
    let verify = journal(&world, &["verify", "node"]).ok();
    assert!(
        verify.err.contains("checked from the checkpoint"),
        "{verify:#?}"
    );
    journal(&world, &["state", "node", "--at", "3"]).refused(1, "RECORDS_NOT_HERE");
    // A damaged archive is a finding.
    let mut bytes = std::fs::read(&away).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file.path(), bytes).unwrap();
    let verify = journal(&world, &["verify", "node"]).refused(4, "JOURNAL_DAMAGED");
    assert!(
        verify.out.contains("archive: ") || verify.out.contains("journal: "),
        "{verify:#?}"
    );
}

/// The files of archives of data folder `node`, oldest first.
fn archive_files(world: &World) -> Vec<String> {
    let folder = std::fs::read_dir(world.path("node/journal/archive")).unwrap();
    let name = |entry: std::fs::DirEntry| entry.file_name().into_string().unwrap();
    let mut names: Vec<_> = folder.map(|entry| name(entry.unwrap())).collect();
    names.sort();
    names
        .iter()
        .map(|name| format!("node/journal/archive/{name}"))
        .collect()
}

/// A data folder that has lived, all of it in one archive, and then a backup in a second one; the archives and the
/// jobs in them.
fn twice_archived() -> (World, [String; 2], [String; 2]) {
    let world = lived();
    let leave = |world: &World| {
        journal(world, &["archive", "node", "--older-than", "0s"]).ok();
    };
    leave(&world);
    world.sql("BACKUP SNAPSHOT shop.tuesday TO r").ok();
    leave(&world);
    let files: [String; 2] = archive_files(&world).try_into().unwrap();
    let jobs = files.clone().map(|file| {
        let submitted = dumped(&world, &file, &["--kind", "BackupSubmitted"]);
        submitted[0]["job"].to_string()
    });
    (world, files, jobs)
}

#[test]
fn an_archive_by_itself_is_read_by_the_commands_that_need_no_more_than_it() {
    let (world, files, jobs) = twice_archived();
    let all = dumped(&world, "node", &[]);
    let both = [&files[0], &files[1]].map(|file| dumped(&world, file, &[]));
    let moved = both.concat();
    assert_eq!(moved, all[..moved.len()]);
    std::fs::rename(world.path(&files[0]), world.path("elsewhere")).unwrap();
    let later = files[1].as_str();
    for (source, job) in [("elsewhere", &jobs[0]), (later, &jobs[1])] {
        let verify = journal(&world, &["verify", source]).ok();
        assert!(verify.err.contains("archive: sequences "), "{verify:#?}");
        let explain = journal(&world, &["explain", source, job]).ok();
        assert!(explain.out.contains("It is FINISHED"), "{}", explain.out);
        assert!(!explain.err.contains("next opening"), "{}", explain.err);
        let trace = journal(&world, &["timeline", source, job, "--chrome", "-"]).ok();
        let trace: Value = serde_json::from_str(&trace.out).unwrap();
        assert!(!trace["traceEvents"].as_array().unwrap().is_empty());
        let tail = journal(&world, &["tail", source, "-n", "1", "--format", "json"]).ok();
        let last = dumped(&world, source, &[]).pop().unwrap();
        assert_eq!(objects(&tail.out), [last]);
        let export = format!("export-{job}");
        journal(&world, &["export", source, "--to", &export]).ok();
        journal(&world, &["verify", &export]).ok();
        let told = journal(&world, &["explain", &export, job]).ok();
        assert_eq!(told.out, explain.out);
    }
    // The first begins where the journal began, so it has states too.
    let state = journal(&world, &["state", "elsewhere", "--format", "json"]).ok();
    let shown = state.sets();
    assert_eq!((shown[0].len(), shown[1].len(), shown[2].len()), (1, 1, 1));
    let diff = journal(&world, &["diff", "elsewhere", "0", "2999-01-01"]).ok();
    assert!(diff.out.contains("'monday'"), "{}", diff.out);
    let replay = journal(&world, &["replay", "elsewhere", "--to", "9"]).ok();
    assert!(replay.out.contains("no finding"), "{}", replay.out);
}

#[test]
fn what_an_archive_alone_cannot_tell_is_refused_with_what_to_name_instead() {
    let (world, files, jobs) = twice_archived();
    let [first, later] = [files[0].as_str(), files[1].as_str()];
    for args in [
        &["state", later][..],
        &["diff", later, "0", "2999-01-01"],
        &["replay", later, "--to", "2999-01-01"],
    ] {
        let refused = journal(&world, args).refused(1, "RECORDS_NOT_HERE");
        assert!(refused.err.contains("'journal/archive'"), "{refused:#?}");
    }
    for args in [&["tail", "-f", first][..], &["recover", "--dry-run", first]] {
        journal(&world, args).refused(1, "NOT_A_FOLDER");
    }
    journal(&world, &["archive", first, "--older-than", "0s"]).refused(1, "DATA_FOLDER_NOT_FOUND");
    let unknown = journal(&world, &["explain", later, &jobs[0]]).refused(1, "JOB_NOT_FOUND");
    assert!(unknown.err.contains("may have begun there"), "{unknown:#?}");
    // The folder has both, though neither job is in its log or its state any more.
    for job in &jobs {
        let explain = journal(&world, &["explain", "node", job]).ok();
        assert!(explain.out.contains("It is FINISHED"), "{}", explain.out);
        journal(&world, &["timeline", "node", job, "--html", "-"]).ok();
    }
}

#[test]
fn damage_of_an_archive_by_itself_is_named_and_what_stands_before_it_is_shown() {
    let (world, files, _) = twice_archived();
    let whole = std::fs::read(world.path(&files[0])).unwrap();
    for at in (8..whole.len()).step_by(61).chain([whole.len() - 1]) {
        let mut changed = whole.clone();
        changed[at] ^= 1;
        world.file("hurt", &changed);
        let verify = journal(&world, &["verify", "hurt"]).refused(4, "JOURNAL_DAMAGED");
        assert!(verify.out.contains("hurt"), "byte {at}: {verify:#?}");
        world.file("hurt", &whole[..at]);
        let verify = journal(&world, &["verify", "hurt"]).refused(4, "JOURNAL_DAMAGED");
        assert!(verify.out.contains("hurt"), "cut at {at}: {verify:#?}");
    }
    world.file("hurt", b"no archive");
    let none = journal(&world, &["dump", "hurt"]).refused(1, "JOURNAL_NOT_FOUND");
    assert!(none.err.contains("no archive"), "{none:#?}");
}

#[test]
fn a_job_of_which_only_the_beginning_is_archived_is_told_from_the_folder_as_one() {
    let world = World::new();
    world.shop(200_000, Some(50_000));
    world
        .sql_on("node", "BACKUP SNAPSHOT shop.monday TO r", &["--no-wait"])
        .ok();
    archive(&world);
    world.sql("SHOW BACKENDS").ok();
    let file = archive_files(&world).remove(0);
    let submitted = dumped(&world, &file, &["--kind", "BackupSubmitted"]);
    let job = submitted[0]["job"].to_string();
    let begun = journal(&world, &["explain", &file, &job]).ok();
    assert!(!begun.out.contains("FINISHED"), "{}", begun.out);
    assert!(
        begun.err.contains("a later archive or the log"),
        "{begun:#?}"
    );
    let whole = journal(&world, &["explain", "node", &job]).ok();
    assert!(whole.out.contains("It is FINISHED"), "{}", whole.out);
    let lengths = ["node", file.as_str()].map(|source| {
        let trace = journal(&world, &["timeline", source, &job, "--chrome", "-"]).ok();
        trace.out.len()
    });
    assert!(lengths[0] > lengths[1], "{lengths:?}");
    // Without the archive the log alone does not know how the job began.
    std::fs::remove_file(world.path(&file)).unwrap();
    let lost = journal(&world, &["explain", "node", &job]).refused(1, "JOB_NOT_FOUND");
    assert!(lost.err.contains("may have begun there"), "{lost:#?}");
    journal(&world, &["timeline", "node", &job, "--html", "-"]).refused(1, "JOB_NOT_FOUND");
}

#[test]
fn loads_go_on_after_archiving_with_and_without_the_archives() {
    let world = lived();
    journal(&world, &["archive", "node", "--older-than", "0s"]).ok();
    world.file("more/a", "a");
    world.load("shop.more", "more").ok();
    std::fs::rename(world.path("node/journal/archive"), world.path("away")).unwrap();
    world.file("again/b", "b");
    world.load("shop.more", "again").ok();
    assert_eq!(world.exported("shop.more").len(), 2);
    // Without a checkpoint the events are needed from the first.
    for (name, _) in common::files(&world.path("node/journal")) {
        if name.ends_with(".checkpoint") {
            std::fs::remove_file(world.path(&format!("node/journal/{name}"))).unwrap();
        }
    }
    world.file("third/c", "c");
    let refused = world.load("shop.more", "third");
    assert_eq!(refused.code, 1, "{refused:#?}");
    assert!(refused.err.contains("put back archive/"), "{refused:#?}");
    std::fs::rename(world.path("away"), world.path("node/journal/archive")).unwrap();
    world.load("shop.more", "third").ok();
}
