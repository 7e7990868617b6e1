//! The command line itself: what is accepted, what is said, with which exit code.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail by a panic"
)]

mod common;

use common::World;

#[test]
fn a_wrong_command_line_ends_with_2_and_says_what_is_expected() {
    let world = World::new();
    for args in [
        &[][..],
        &["nonsense"],
        &["sql"],
        &[
            "sql",
            "--data-dir",
            "node",
            "-e",
            "SHOW BACKENDS",
            "-f",
            "x",
        ],
        &["sql", "--data-dir", "node", "--format", "xml"],
        &["sql", "--data-dir", "node", "--backends", "0"],
        &["load", "--data-dir", "node", "--table", "orders", "x"],
        &["load", "--data-dir", "node", "--table", "shop.orders"],
        &[
            "load",
            "--data-dir",
            "node",
            "--table",
            "shop.orders",
            "--buckets",
            "0",
            "x",
        ],
        &["export", "--data-dir", "node", "--table", "shop.orders"],
        &["journal"],
        &["journal", "state", "--data-dir", "node", "--at", "-1"],
        &["repository", "verify", "--name", "r"],
        &["demo", "--scale-factor", "-1"],
        &["demo", "--scale-factor", "NaN"],
    ] {
        let ended = world.run(args);
        assert_eq!(ended.code, 2, "{args:?}: {ended:#?}");
        assert!(ended.out.is_empty() && !ended.err.is_empty(), "{args:?}");
    }
    assert!(
        !world.path("node").exists(),
        "a wrong command line makes nothing"
    );
}

#[test]
fn help_names_the_one_journal_command_that_changes_a_folder() {
    let world = World::new();
    let top = world.run(&["--help"]).ok().out;
    let journal = world.run(&["journal", "--help"]).ok().out;
    for help in [&top, &journal] {
        assert!(help.contains("only `archive` changes anything"), "{help}");
    }
    assert!(journal.contains("needs the folder for itself"), "{journal}");
}

#[test]
fn version_and_help_go_to_stdout() {
    let world = World::new();
    let version = world.run(&["-V"]).ok();
    assert_eq!(
        version.out,
        format!("holdfast {}\n", env!("CARGO_PKG_VERSION"))
    );
    for args in [
        &["--help"][..],
        &["sql", "--help"],
        &["load", "--help"],
        &["journal", "--help"],
    ] {
        let help = world.run(args).ok();
        assert!(
            help.out.contains("Usage:") && help.err.is_empty(),
            "{args:?}"
        );
    }
    assert!(
        world
            .run(&["--help"])
            .ok()
            .out
            .contains("Exit codes: 0 done")
    );
}

#[test]
fn a_second_process_on_the_data_folder_ends_with_3_and_names_the_first() {
    let world = World::new();
    let mut first = world
        .command()
        .args(["sql", "--data-dir", "node"])
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    common::until("the first process has the folder", || {
        std::fs::read_to_string(world.path("node/lock")).is_ok_and(|text| text.ends_with('\n'))
    });
    let holder = format!("process {}", first.id());
    world.file("a", "a");
    for args in [
        &["sql", "--data-dir", "node", "-e", "SHOW BACKENDS"][..],
        &["load", "--data-dir", "node", "--table", "shop.orders", "a"],
        &["demo", "--data-dir", "node"],
    ] {
        let ended = world.run(args);
        if args[0] == "demo" {
            // It is no demo's folder, so it is refused before anybody asks who has it.
            ended.refused(1, "FOLDER_NOT_EMPTY");
        } else {
            let ended = ended.refused(3, "FOLDER_IN_USE");
            assert!(ended.err.contains(&holder), "{ended:#?}");
        }
    }
    drop(first.stdin.take());
    assert!(first.wait().unwrap().success());
    world.sql("SHOW BACKENDS").ok();
}

#[test]
fn the_log_goes_to_stderr_at_the_level_asked_for() {
    let world = World::new();
    let ended = |level: &str| {
        let mut command = world.command();
        command.env("HOLDFAST_LOG", level).args([
            "sql",
            "--data-dir",
            "node",
            "-e",
            "SHOW BACKENDS",
        ]);
        let output = command.output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stderr).unwrap()
    };
    assert_eq!(ended("warn"), "");
    assert!(ended("debug").contains("debug: "));
    assert!(ended("loud").contains("HOLDFAST_LOG is 'loud'"));
}

#[test]
fn a_journal_command_takes_one_source_by_place_or_by_option() {
    let world = World::new();
    world.sql("SHOW BACKENDS").ok();
    let by_place = world.run(&["journal", "dump", "node"]).ok();
    let by_option = world.run(&["journal", "dump", "--data-dir", "node"]).ok();
    assert_eq!(by_place.out, by_option.out);
    let folder = world.run(&["journal", "dump", "node/journal"]).ok();
    assert_eq!(by_place.out, folder.out);
    for command in ["dump", "verify", "state"] {
        let both = world.run(&["journal", command, "node", "--data-dir", "node"]);
        assert_eq!(both.code, 2, "{both:#?}");
        assert!(both.err.contains("cannot be used with"), "{both:#?}");
        let neither = world.run(&["journal", command]);
        assert_eq!(neither.code, 2, "{neither:#?}");
        assert!(
            neither.err.contains("--data-dir <DIR>") && neither.err.contains("SOURCE"),
            "{neither:#?}"
        );
    }
}
