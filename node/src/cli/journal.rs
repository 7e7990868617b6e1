//! The command line of `holdfast journal`: what it accepts and what `--help` says. Reads arguments,
//! does nothing.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::builder::PossibleValuesParser;
use clap::{Args, Subcommand, ValueEnum};
use holdfast_engine::Event;
use holdfast_journal::Event as _;

use crate::exit::Failure;
use crate::journal_cmd::{Point, parse_end, parse_time};

pub(crate) const JOURNAL_HELP: &str = "\
Every command but `archive` takes no lock, opens no engine and changes nothing in the source, also
beside the process that has the folder open. `archive` moves ended jobs and their events, and
needs the folder for itself.";

#[derive(Debug, Subcommand)]
pub(crate) enum JournalCommand {
    /// Print every record: sequence, time, stream, kind, fields
    Dump(DumpArgs),
    /// Prove the journal whole: chain, order, transitions, checkpoints, archives, index, catalog
    Verify(VerifyJournalArgs),
    /// Show jobs and repositories as they stood, now or at a record or a time
    State(JournalStateArgs),
    /// Say what changed between two points: jobs, states, tasks, bytes, errors, repositories
    Diff(DiffArgs),
    /// Print the last records, and with -f go on with those that a running process adds
    Tail(TailArgs),
    /// Tell the story of one job: its states, what it waited for, failures, the slowest tasks
    Explain(ExplainArgs),
    /// Say what the next opening of the folder will do, and why; does nothing of it
    Recover(RecoverArgs),
    /// Step through a recorded run in the engine's own code, forward and back
    Replay(ReplayArgs),
    /// Write the events into one compressed file without secrets, which all commands here read
    Export(ExportJournalArgs),
    /// Draw one job: its states, the tasks of each backend, throughput and errors
    Timeline(TimelineArgs),
    /// Move jobs that ended long ago out of SHOW and their events into a compressed archive
    Archive(ArchiveArgs),
}

/// What a command reads: exactly one of both.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct SourceArgs {
    /// A data folder (also one that a process has open), a copy, a journal folder, an archive, or an exported file
    #[arg(value_name = "SOURCE")]
    source: Option<PathBuf>,
    /// The same as an option
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
}

impl SourceArgs {
    /// The path that was given.
    pub(crate) fn path(&self) -> PathBuf {
        let given = self.source.as_ref().or(self.data_dir.as_ref());
        given.cloned().unwrap_or_default()
    }
}

/// A source and what a command needs besides: `SOURCE A B`, or `--data-dir DIR A B`.
#[derive(Debug, Args)]
pub(crate) struct OperandArgs {
    /// A data folder (also one that a process has open), a copy, a journal folder, an archive, or an exported file
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// The source, where it is not given by --data-dir; then the operands
    #[arg(required = true, value_name = "SOURCE OPERAND")]
    operands: Vec<OsString>,
}

impl OperandArgs {
    /// The source's path and the operands, which are `named` so that what is missing can be said.
    ///
    /// # Errors
    /// A usage error where there are fewer or more.
    pub(crate) fn take<const N: usize>(
        &self,
        named: [&str; N],
    ) -> Result<(PathBuf, [String; N]), Failure> {
        let (source, operands) = match (&self.data_dir, self.operands.split_first()) {
            (Some(data_dir), _) => (data_dir.clone(), self.operands.as_slice()),
            (None, Some((source, rest))) => (PathBuf::from(source), rest),
            (None, None) => (PathBuf::new(), &[][..]),
        };
        let texts: Vec<String> = operands
            .iter()
            .map(|operand| operand.to_string_lossy().into_owned())
            .collect();
        let found = texts.len();
        match <[String; N]>::try_from(texts) {
            Ok(operands) => Ok((source, operands)),
            Err(_) => Err(Failure::usage(format!(
                "found {found} operands beside the source, expected {N}: {}; the source is the \
                 first operand, or --data-dir",
                named.join(" ")
            ))),
        }
    }
}

/// Which records are shown: those that agree with every part given.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Filters")]
pub(crate) struct FilterArgs {
    /// Only records of this job; may be given several times
    #[arg(long, value_name = "ID")]
    pub(crate) job: Vec<u64>,
    /// Only records of this kind; may be given several times
    #[arg(long, value_name = "NAME", value_parser = kind_names(), ignore_case = true)]
    #[arg(hide_possible_values = true)]
    pub(crate) kind: Vec<String>,
    /// Only records that bear this time or a later one
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) since: Option<u64>,
    /// Only records that bear this time or an earlier one
    #[arg(long, value_name = "TIME", value_parser = parse_end)]
    pub(crate) until: Option<u64>,
    /// Only records from this sequence on
    #[arg(long, value_name = "SEQ")]
    pub(crate) from: Option<u64>,
    /// Only records to this sequence, itself included
    #[arg(long, value_name = "SEQ")]
    pub(crate) to: Option<u64>,
}

fn kind_names() -> PossibleValuesParser {
    PossibleValuesParser::new(Event::kinds().iter().map(|(_, name)| *name))
}

const DUMP_HELP: &str = "\
Times: '2026-11-22 09:00:00.123' in the zone of TZ, else of the system, or with a zone as in
2026-11-22T09:00:00Z. A time covers all that it names: without a fraction its whole second, a date alone
the whole day. Secrets are left out or masked.

Examples:
  holdfast journal dump node1
  holdfast journal dump node1 --job 10023 --kind TaskFailed --kind JobStopping
  holdfast journal dump copy-of-node1 --since '2026-11-22 09:00:00' --until '2026-11-22 09:05:00'
  holdfast journal dump --data-dir copy-of-node1 --from 100 --to 200 --format csv > part.csv";

#[derive(Debug, Args)]
#[command(after_help = DUMP_HELP)]
pub(crate) struct DumpArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// How records are printed
    #[arg(long, value_enum, default_value_t = RecordFormat::Table)]
    pub(crate) format: RecordFormat,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
}

const VERIFY_HELP: &str = "\
One finding a line; exit 4 where there is one. What was checked, and how far, goes to stderr.

Examples:
  holdfast journal verify node1
  holdfast journal verify copy-of-node1 --format json";

#[derive(Debug, Args)]
#[command(after_help = VERIFY_HELP)]
pub(crate) struct VerifyJournalArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t = ToolFormat::Table)]
    pub(crate) format: ToolFormat,
}

const STATE_HELP: &str = "\
Examples:
  holdfast journal state node1
  holdfast journal state copy-of-node1 --at 120
  holdfast journal state copy-of-node1 --at '2026-11-22 09:00:00'";

#[derive(Debug, Args)]
#[command(after_help = STATE_HELP)]
pub(crate) struct JournalStateArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// The last record to take in, by its sequence or as of a time [default: the last there is]
    #[arg(long, value_name = "SEQ|TIME", value_parser = Point::parse)]
    pub(crate) at: Option<Point>,
    /// How the views are printed
    #[arg(long, value_enum, default_value_t = ToolFormat::Table)]
    pub(crate) format: ToolFormat,
}

const EXPLAIN_HELP: &str = "\
SHOW BACKUP, SHOW RESTORE and `holdfast journal state` list the ids of the jobs.

Examples:
  holdfast journal explain node1 10002
  holdfast journal explain copy-of-node1 10002 --at '2026-11-22 09:00:00'
  holdfast journal explain --data-dir node1 10002 --format json";

#[derive(Debug, Args)]
#[command(after_help = EXPLAIN_HELP, override_usage = "holdfast journal explain [OPTIONS] <SOURCE> <JOB>")]
pub(crate) struct ExplainArgs {
    #[command(flatten)]
    pub(crate) operands: OperandArgs,
    /// Tell it as it stood after this record or at this time [default: the last there is]
    #[arg(long, value_name = "SEQ|TIME", value_parser = Point::parse)]
    pub(crate) at: Option<Point>,
    /// In words, or as one JSON object
    #[arg(long, value_enum, default_value_t = ToolFormat::Table)]
    pub(crate) format: ToolFormat,
}

const RECOVER_HELP: &str = "\
Recovery is no act of its own: any opening does it, such as `holdfast sql`. This command runs the
same code on a copy of the state, writes nothing and reaches no repository.

Examples:
  holdfast journal recover --dry-run node1
  holdfast journal recover --dry-run copy-of-node1 --opened-at '2026-11-22 09:00:00'
  holdfast journal recover --dry-run --data-dir node1 --format json";

#[derive(Debug, Args)]
#[command(after_help = RECOVER_HELP)]
pub(crate) struct RecoverArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Only say what would be done; without it the command refuses
    #[arg(long)]
    pub(crate) dry_run: bool,
    /// When the folder is opened: timeouts depend on it [default: now]
    #[arg(long, value_name = "TIME", value_parser = crate::journal_cmd::parse_time)]
    pub(crate) opened_at: Option<u64>,
    /// In words, or as one JSON object
    #[arg(long, value_enum, default_value_t = ToolFormat::Table)]
    pub(crate) format: ToolFormat,
}

const REPLAY_HELP: &str = "\
On a terminal a prompt starts; `help` there lists its commands. Each record that is passed is
decided anew: what the engine of today would not record is a finding. Exit code 1 where it decides
something else, 4 where a record could not have followed. Where archives were moved away it begins with
the oldest checkpoint; what lies before that is refused.

Examples:
  holdfast journal replay node1
  holdfast journal replay copy-of-node1 --to 120
  printf 'next error\\nback 3\\nshow\\ndue\\n' | holdfast journal replay node1 --script -";

#[derive(Debug, Args)]
#[command(after_help = REPLAY_HELP)]
pub(crate) struct ReplayArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Go there, show record, jobs, what is due and findings, and end
    #[arg(long, value_name = "SEQ|TIME", value_parser = Point::parse, conflicts_with = "script")]
    pub(crate) to: Option<Point>,
    /// Commands from a file, one a line; `-` for stdin
    #[arg(long, value_name = "FILE")]
    pub(crate) script: Option<PathBuf>,
}

const DIFF_HELP: &str = "\
A and B are sequences or times; what happened after A and up to B is told. 0 is the beginning.

Examples:
  holdfast journal diff node1 120 180
  holdfast journal diff node1 '2026-11-22 09:00:00' '2026-11-22 09:05:00'
  holdfast journal diff --data-dir copy-of-node1 0 120 --format json";

#[derive(Debug, Args)]
#[command(after_help = DIFF_HELP)]
#[command(override_usage = "holdfast journal diff [OPTIONS] <SOURCE|--data-dir <DIR>> <A> <B>")]
pub(crate) struct DiffArgs {
    #[command(flatten)]
    pub(crate) operands: OperandArgs,
    /// In words, or an object a change and line
    #[arg(long, value_enum, default_value_t = ToolFormat::Table)]
    pub(crate) format: ToolFormat,
}

const TAIL_HELP: &str = "\
-f ends with Ctrl-C (130), when nobody reads any more (0), or with the record of --to (0). It goes on
when the process that writes ends and when another opens the folder.

Examples:
  holdfast journal tail node1
  holdfast journal tail -f node1
  holdfast journal tail -f -n 0 node1 --kind TaskFailed --kind JobStopping --format json";

#[derive(Debug, Args)]
#[command(after_help = TAIL_HELP)]
pub(crate) struct TailArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// Go on with what is added
    #[arg(short = 'f', long)]
    pub(crate) follow: bool,
    /// How many records to begin with
    #[arg(short = 'n', long, value_name = "N", default_value_t = 10)]
    pub(crate) lines: usize,
    /// How records are printed
    #[arg(long, value_enum, default_value_t = RecordFormat::Table)]
    pub(crate) format: RecordFormat,
    #[command(flatten)]
    pub(crate) filter: FilterArgs,
}

const EXPORT_HELP: &str = "\
The file holds every event, the times and sizes of jobs, names, locations and the words of errors. It
holds no data of tables, no bounds of partitions, no property of a repository, and no secret of a
location or behind a known key in a message. The file cannot be made for one job alone: what a job may do
depends on the others.
--anonymize also replaces the names of databases, tables, partitions, labels, repositories and
brokers, the locations, and in messages whatever is a path or an address, stands between quotes or is
no plain word; a plain word that is no known name stays. Ids, hashes of contents, times and numbers stay.

Examples:
  holdfast journal export node1 --to node1.hfexport
  holdfast journal export --data-dir copy-of-node1 --to ticket-4711.hfexport --anonymize
  holdfast journal verify ticket-4711.hfexport";

#[derive(Debug, Args)]
#[command(after_help = EXPORT_HELP)]
pub(crate) struct ExportJournalArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    /// The file to make; one that is there is not overwritten
    #[arg(long, value_name = "FILE")]
    pub(crate) to: PathBuf,
    /// Replace names by pseudonyms, the same for the same name
    #[arg(long)]
    pub(crate) anonymize: bool,
}

const TIMELINE_HELP: &str = "\
The trace opens in https://ui.perfetto.dev or chrome://tracing, the page in any browser, also
without a network.

Examples:
  holdfast journal timeline node1 10002 --html job.html
  holdfast journal timeline copy-of-node1 10002 --chrome job.json --html job.html";

#[derive(Debug, Args)]
#[command(after_help = TIMELINE_HELP, override_usage = "holdfast journal timeline [OPTIONS] <SOURCE> <JOB>")]
pub(crate) struct TimelineArgs {
    #[command(flatten)]
    pub(crate) operands: OperandArgs,
    /// Write a Chrome trace, for Perfetto; `-` for stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) chrome: Option<PathBuf>,
    /// Write a page that needs nothing else; `-` for stdout
    #[arg(long, value_name = "FILE")]
    pub(crate) html: Option<PathBuf>,
    /// Draw it as it stood after this record or at this time [default: the last there is]
    #[arg(long, value_name = "SEQ|TIME", value_parser = Point::parse)]
    pub(crate) at: Option<Point>,
}

const ARCHIVE_HELP: &str = "\
Jobs that run, that ended later, and repositories stay. Events move in whole segments of the log, those
before the first event of the oldest job that stays; the rest moves with a later act. The archive stays
in the folder's journal/archive/ and may be copied elsewhere; keep it at hand for an upgrade.
Exits with 3 where a process has the folder open.

Examples:
  holdfast journal archive node1 --older-than 30d
  holdfast journal archive node1 --older-than 12h --keep-last 100 --dry-run
  holdfast journal archive --data-dir node1 --before '2026-11-01 00:00:00'";

#[derive(Debug, Args)]
#[command(after_help = ARCHIVE_HELP)]
pub(crate) struct ArchiveArgs {
    #[command(flatten)]
    pub(crate) source: SourceArgs,
    #[command(flatten)]
    pub(crate) age: AgeArgs,
    /// So many of the newest ended jobs stay however old they are
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) keep_last: u64,
    /// Only say which jobs would leave
    #[arg(long)]
    pub(crate) dry_run: bool,
}

/// How old a job must be to leave: exactly one of both.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(crate) struct AgeArgs {
    /// Jobs that ended longer ago than this, such as 90s, 30m, 12h, 7d or 4w
    #[arg(long, value_name = "DURATION", value_parser = crate::retention::parse_duration)]
    pub(crate) older_than: Option<u64>,
    /// Jobs that ended before this time
    #[arg(long, value_name = "TIME", value_parser = parse_time)]
    pub(crate) before: Option<u64>,
}

/// How tools print.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum ToolFormat {
    /// For people; may change
    Table,
    /// A line each: an object for a record or finding, an array of objects for backups or restores
    Json,
}

/// How records are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum RecordFormat {
    /// For people; may change
    Table,
    /// An object a line
    Json,
    /// Header, RFC 4180, NULL is an unquoted \N; the fields are JSON in one column
    Csv,
}
