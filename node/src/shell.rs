//! The interactive shell: line editing, history, completion. Runs no statement itself.

use std::path::PathBuf;

use rustyline::completion::Completer;
use rustyline::config::CompletionType;
use rustyline::error::ReadlineError;
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::history::FileHistory;
use rustyline::validate::Validator;
use rustyline::{Config, Context, Editor, Helper};

use crate::exit::Failure;
use crate::out;
use crate::split::Splitter;

const HELP: &str = "\
Statements end with a semicolon. exit, quit or Ctrl-D leaves; Tab completes.
  CREATE REPOSITORY r WITH BROKER ON LOCATION \"file:///backup\";
  BACKUP SNAPSHOT db.label TO r [ON (table [PARTITION (p, ..)], ..)];   SHOW BACKUP FROM db;
  SHOW SNAPSHOT ON r [WHERE SNAPSHOT = \"label\" AND TIMESTAMP = \"..\"];
  RESTORE SNAPSHOT db.label FROM r [ON (table [AS other], ..)]
    PROPERTIES (\"backup_timestamp\" = \"..\");                           SHOW RESTORE FROM db;
  SHOW BACKUP FROM db AS OF EVENT 12;  SHOW JOB EVENTS FOR 10002;
  CANCEL BACKUP FROM db;  CANCEL RESTORE FROM db;  DROP REPOSITORY r;  SHOW REPOSITORIES;
  SHOW DATABASES; USE db; SHOW TABLES; SHOW PARTITIONS FROM t; SHOW TABLET FROM t; SHOW BACKENDS;";

/// Words that no history should keep.
const SECRET_STATEMENT: &str = "REPOSITORY";

/// A shell on the terminal.
pub(crate) struct Shell {
    editor: Editor<Words, FileHistory>,
    history: Option<PathBuf>,
    splitter: Splitter,
}

/// What the shell gives next.
pub(crate) enum Input {
    /// A whole statement.
    Statement(String),
    /// The user is done.
    End,
}

impl Shell {
    pub(crate) fn start() -> Result<Self, Failure> {
        let config = Config::builder()
            .completion_type(CompletionType::List)
            .build();
        let mut editor = Editor::with_config(config).map_err(|error| no_terminal(&error))?;
        editor.set_helper(Some(Words));
        let history =
            std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".holdfast_history"));
        if let Some(path) = &history
            && let Err(error) = editor.load_history(path)
        {
            log::debug!("no history from '{}': {error}", path.display());
        }
        Ok(Self {
            editor,
            history,
            splitter: Splitter::default(),
        })
    }

    /// Asks until a statement is whole.
    pub(crate) fn next(&mut self) -> Result<Input, Failure> {
        loop {
            if let Some(statement) = self.splitter.next() {
                self.remember(&statement);
                // Without the line ends of what came before: an error counts lines from here.
                return Ok(Input::Statement(statement.trim_start().to_owned()));
            }
            let open = self.splitter.is_open();
            let prompt = if open { "       -> " } else { "holdfast> " };
            match self.editor.readline(prompt) {
                Ok(line) if !open => {
                    match line.trim().trim_end_matches(';').to_lowercase().as_str() {
                        "exit" | "quit" | "\\q" => return Ok(self.end()),
                        "help" | "\\h" | "?" => out::note(HELP),
                        _ => self.take(&line),
                    }
                }
                Ok(line) => self.take(&line),
                // Ctrl-C drops what was typed, as in other shells.
                Err(ReadlineError::Interrupted) => self.splitter = Splitter::default(),
                Err(ReadlineError::Eof) => return Ok(self.end()),
                Err(error) => return Err(no_terminal(&error)),
            }
        }
    }

    fn take(&mut self, line: &str) {
        self.splitter.push(line);
        self.splitter.push("\n");
    }

    /// Keeps the statement as one line, unless it may carry a password.
    fn remember(&mut self, statement: &str) {
        let upper = statement.to_uppercase();
        if upper.contains(SECRET_STATEMENT) && upper.contains("PROPERTIES") {
            return;
        }
        let line: Vec<&str> = statement.split_whitespace().collect();
        if let Err(error) = self
            .editor
            .add_history_entry(format!("{};", line.join(" ")))
        {
            log::debug!("history: {error}");
        }
    }

    fn end(&mut self) -> Input {
        if let Some(path) = &self.history
            && let Err(error) = self.editor.save_history(path)
        {
            log::debug!("history is not kept in '{}': {error}", path.display());
        }
        Input::End
    }
}

fn no_terminal(error: &ReadlineError) -> Failure {
    Failure::failed(
        "TERMINAL_FAILED",
        format!("the terminal cannot be used: {error}"),
    )
}

/// Completion of statements.
struct Words;

impl Helper for Words {}
impl Highlighter for Words {}
impl Validator for Words {}

impl Hinter for Words {
    type Hint = String;
}

impl Completer for Words {
    type Candidate = String;

    fn complete(
        &self,
        line: &str,
        position: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<String>)> {
        let completion = holdfast_sql::complete(line.get(..position).unwrap_or(line));
        Ok((completion.start, completion.candidates))
    }
}
