//! Runs the built program as a stranger would, in a folder of the test's own. Knows no inside.

#![allow(dead_code, reason = "each test file uses a part of it")]

pub(crate) mod journal;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit code; -1 for a signal.
    pub(crate) code: i32,
    /// All of stdout.
    pub(crate) out: String,
    /// All of stderr.
    pub(crate) err: String,
}

impl Ended {
    /// The same, for a run that must have gone well.
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:#?}");
        self
    }

    /// The same, for a run that must have failed with this code and symbol, in the shape that
    /// scripts rely on.
    #[track_caller]
    pub(crate) fn refused(self, code: i32, symbol: &str) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        let line = self.err.lines().find(|line| line.starts_with("ERROR "));
        let line = line.unwrap_or_else(|| panic!("no error line: {self:#?}"));
        let rest = &line["ERROR ".len()..];
        let (number, rest) = rest.split_once(" (").expect("number");
        assert!(number.parse::<u16>().is_ok(), "{line}");
        let (state, text) = rest.split_once("): ").expect("sqlstate");
        assert_eq!(state.len(), 5, "{line}");
        assert!(
            text.starts_with(&format!("[{symbol}] ")),
            "expected {symbol}: {line}"
        );
        assert!(!self.err.contains("panicked"), "{self:#?}");
        self
    }

    /// The number of the error line.
    #[track_caller]
    pub(crate) fn number(&self) -> u16 {
        let line = self
            .err
            .lines()
            .find(|line| line.starts_with("ERROR "))
            .expect("error line");
        line.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The result sets of `--format json`.
    #[track_caller]
    pub(crate) fn sets(&self) -> Vec<Vec<Value>> {
        let parse = |line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"));
        self.out.lines().map(parse).collect()
    }

    /// The one row of the one result set.
    #[track_caller]
    pub(crate) fn row(&self) -> Value {
        let mut sets = self.sets();
        assert_eq!((sets.len(), sets[0].len()), (1, 1), "{self:#?}");
        sets.remove(0).remove(0)
    }
}

/// A folder for one test, with a data folder `node`, a repository place `repo` and files.
pub(crate) struct World {
    dir: tempfile::TempDir,
}

impl World {
    pub(crate) fn new() -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
        }
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Writes a file, with the folders above it.
    pub(crate) fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.path(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    pub(crate) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_holdfast"));
        command
            .env("TZ", "UTC")
            .env_remove("HOLDFAST_LOG")
            .current_dir(self.dir.path());
        command.stdin(Stdio::null());
        command
    }

    /// Runs the program with these arguments.
    pub(crate) fn run<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Ended {
        ended(
            self.command()
                .args(args)
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn(),
        )
    }

    /// Runs statements on the data folder `node`, results as JSON.
    pub(crate) fn sql(&self, statements: &str) -> Ended {
        self.sql_on("node", statements, &[])
    }

    pub(crate) fn sql_on(&self, node: &str, statements: &str, more: &[&str]) -> Ended {
        let mut args = vec![
            "sql",
            "--data-dir",
            node,
            "--format",
            "json",
            "-e",
            statements,
        ];
        args.extend(more);
        self.run(&args)
    }

    /// Runs `sql` with this on its stdin.
    pub(crate) fn sql_stdin(&self, input: &[u8], more: &[&str]) -> Ended {
        let mut child = self
            .command()
            .args(["sql", "--data-dir", "node"])
            .args(more)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let input = input.to_vec();
        // The program may end before it has read everything.
        let writer = std::thread::spawn(move || drop(stdin.write_all(&input)));
        let ended = ended(Ok(child));
        writer.join().unwrap();
        ended
    }

    pub(crate) fn load(&self, table: &str, source: &str) -> Ended {
        self.run(&["load", "--data-dir", "node", "--table", table, source])
    }

    /// A data folder with table `shop.orders` of `bytes` random-looking bytes, and repository `r`
    /// whose uploads and downloads take at least a second for each `rate` bytes.
    pub(crate) fn shop(&self, bytes: usize, rate: Option<usize>) {
        self.file("src/big", noise(bytes));
        self.file("src/deep/small", "small");
        self.load("shop.orders", "src").ok();
        let properties = rate.map_or(String::new(), |rate| {
            format!(" PROPERTIES ('upload_bandwidth' = '{rate}', 'download_bandwidth' = '{rate}')")
        });
        let location = self.path("repo");
        self.sql(&format!(
            "CREATE REPOSITORY r WITH BROKER ON LOCATION \"file://{}\"{properties}",
            location.display()
        ))
        .ok();
    }

    /// The timestamp of a snapshot of repository `r`.
    pub(crate) fn timestamp(&self, label: &str) -> String {
        let row = self
            .sql(&format!("SHOW SNAPSHOT ON r WHERE Snapshot = '{label}'"))
            .ok()
            .row();
        row["Timestamp"].as_str().unwrap().to_owned()
    }

    /// The exported files of a table: path and content.
    pub(crate) fn exported(&self, table: &str) -> Vec<(String, Vec<u8>)> {
        let to = format!("export-{}", fs::read_dir(self.dir.path()).unwrap().count());
        self.run(&[
            "export",
            "--data-dir",
            "node",
            "--table",
            table,
            "--to",
            &to,
        ])
        .ok();
        files(&self.path(&to))
    }

    /// Starts a run that the test will kill.
    pub(crate) fn start<S: AsRef<std::ffi::OsStr>>(&self, args: &[S]) -> Child {
        self.command()
            .args(args)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap()
    }
}

/// Bytes that nothing can make smaller, the same each time.
pub(crate) fn noise(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}

/// All files below a folder: path and content, by path.
pub(crate) fn files(root: &Path) -> Vec<(String, Vec<u8>)> {
    fn walk(root: &Path, folder: &Path, found: &mut Vec<(String, Vec<u8>)>) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(root, &path, found);
            } else {
                let name = path
                    .strip_prefix(root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                found.push((name, fs::read(&path).unwrap()));
            }
        }
    }
    let mut found = Vec::new();
    walk(root, root, &mut found);
    found.sort();
    found
}

/// Waits until `done` holds.
#[track_caller]
pub(crate) fn until(what: &str, mut done: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !done() {
        assert!(
            Instant::now() < deadline,
            "{what} did not happen within 60 s"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn ended(child: std::io::Result<Child>) -> Ended {
    let output = child.unwrap().wait_with_output().unwrap();
    Ended {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
