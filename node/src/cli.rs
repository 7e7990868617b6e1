//! The command line: what it accepts and what `--help` says. Reads arguments, does nothing.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

mod journal;

pub(crate) use journal::*;

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 a statement failed or a job it waited for was cancelled, 2 usage,
3 the data folder is in use, 4 damage was found, 130 interrupted.
Data goes to stdout, everything else to stderr. HOLDFAST_LOG=error|warn|info|debug|trace sets
what is logged there (default warn).";

/// Backs up and restores the tables of a database node, and survives being killed.
#[derive(Debug, Parser)]
#[command(name = "holdfast", version, about, after_help = EXIT_CODES)]
#[command(subcommand_required = true, arg_required_else_help = true)]
pub(crate) struct Cli {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Tell the whole story on made-up data: load, back up, lose, restore, prove
    Demo(DemoArgs),
    /// Put files into a table as one new version
    Load(LoadArgs),
    /// Copy the files of a table out, each checked against its hash
    Export(ExportArgs),
    /// Run SQL statements, or start a shell
    Sql(SqlArgs),
    /// Read what happened from a data folder or a copy of one; only `archive` changes anything
    #[command(subcommand, after_help = JOURNAL_HELP)]
    Journal(JournalCommand),
    /// Look after a repository without a data folder
    #[command(subcommand)]
    Repository(RepositoryCommand),
}

const DEMO_HELP: &str = "\
Examples:
  holdfast demo
  holdfast demo --data-dir /data/try --scale-factor 1";

#[derive(Debug, Args)]
#[command(after_help = DEMO_HELP)]
pub(crate) struct DemoArgs {
    /// Data folder to make, in place of an earlier demo [default: one in the temporary folder]
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: Option<PathBuf>,
    /// Size of the TPC-H data; 1 is about 1 GB
    #[arg(long, value_name = "F", default_value = "0.1", value_parser = scale_factor)]
    pub(crate) scale_factor: f64,
}

const LOAD_HELP: &str = "\
A folder is walked; a file keeps its path relative to the folder named, a file named its base name.
A path that the partition already has is refused, and then nothing is loaded.

Examples:
  holdfast load --data-dir node1 --table shop.orders --partition p2026 exports/2026/
  holdfast load --data-dir node1 --table shop.events --buckets 8 --replication-num 2 a.parquet";

#[derive(Debug, Args)]
#[command(after_help = LOAD_HELP)]
pub(crate) struct LoadArgs {
    /// Data folder; made where it does not exist
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Backends of a new data folder
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = backend_count())]
    pub(crate) backends: u32,
    /// The table; database and table are made where they do not exist
    #[arg(long, value_name = "DB.TABLE", value_parser = TableName::parse)]
    pub(crate) table: TableName,
    /// The partition [default: the table's name]
    #[arg(long, value_name = "P")]
    pub(crate) partition: Option<String>,
    /// Buckets of a new partition [default: 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) buckets: Option<u32>,
    /// Replicas of a new partition [default: 1]
    #[arg(long, value_name = "N", value_parser = backend_count())]
    pub(crate) replication_num: Option<u32>,
    /// Files and folders
    #[arg(required = true, value_name = "FILE|DIR")]
    pub(crate) sources: Vec<PathBuf>,
}

const EXPORT_HELP: &str = "\
Example:
  holdfast export --data-dir node1 --table shop.orders --to /tmp/orders";

#[derive(Debug, Args)]
#[command(after_help = EXPORT_HELP)]
pub(crate) struct ExportArgs {
    /// Data folder
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// The table
    #[arg(long, value_name = "DB.TABLE", value_parser = TableName::parse)]
    pub(crate) table: TableName,
    /// Only this partition
    #[arg(long, value_name = "P")]
    pub(crate) partition: Option<String>,
    /// Folder to write `<partition>/<path>` into; must be empty or absent
    #[arg(long, value_name = "DIR")]
    pub(crate) to: PathBuf,
}

const SQL_HELP: &str = "\
Without -e and -f statements are read from stdin; on a terminal a shell starts.
BACKUP and RESTORE are waited for unless --no-wait is given; a job goes on in whatever process opens
the data folder next.

Examples:
  holdfast sql --data-dir node1
  holdfast sql --data-dir node1 -e 'CREATE REPOSITORY r WITH BROKER ON LOCATION \"file:///backup\"'
  holdfast sql --data-dir node1 -e 'BACKUP SNAPSHOT shop.monday TO r; SHOW BACKUP FROM shop'
  holdfast sql --data-dir node1 --format json -e 'SHOW SNAPSHOT ON r'
  holdfast sql --data-dir node1 --database shop -f nightly.sql
  holdfast sql --data-dir node1 --database shop -f nightly.sql --keep-finished 30d

The local command line is no border: whoever can open the data folder owns what is in it.";

#[derive(Debug, Args)]
#[command(after_help = SQL_HELP)]
pub(crate) struct SqlArgs {
    /// Data folder; made where it does not exist
    #[arg(long, value_name = "DIR")]
    pub(crate) data_dir: PathBuf,
    /// Backends of a new data folder
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = backend_count())]
    pub(crate) backends: u32,
    /// Who runs the statements; only root may back up and restore
    #[arg(long, value_name = "NAME", default_value = "root")]
    pub(crate) user: String,
    /// The current database
    #[arg(long, value_name = "DB")]
    pub(crate) database: Option<String>,
    /// Statements to run, separated by semicolons
    #[arg(
        short = 'e',
        long = "execute",
        value_name = "STATEMENTS",
        conflicts_with = "file"
    )]
    pub(crate) execute: Option<String>,
    /// File with statements to run
    #[arg(short = 'f', long = "file", value_name = "FILE")]
    pub(crate) file: Option<PathBuf>,
    /// How result sets are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
    /// Do not wait for jobs: answer after acceptance, leave them to the next opening
    #[arg(long)]
    pub(crate) no_wait: bool,
    /// Move jobs that ended longer ago than this, such as 12h, 30d or 8w, out of SHOW into an archive:
    /// once a day, when the folder is opened or while it stays open [default: none moves]
    #[arg(long, value_name = "DURATION", value_parser = crate::retention::parse_duration)]
    pub(crate) keep_finished: Option<u64>,
    /// So many of the newest ended jobs stay however old they are
    #[arg(
        long,
        value_name = "N",
        default_value_t = 0,
        requires = "keep_finished"
    )]
    pub(crate) keep_last: u64,
}

const REPOSITORY_HELP: &str = "\
Example:
  holdfast repository verify --location file:///backup --name r --snapshot monday";

#[derive(Debug, Subcommand)]
pub(crate) enum RepositoryCommand {
    /// Read every object of the snapshots and name each finding; exit 4 where there is one
    #[command(after_help = REPOSITORY_HELP)]
    Verify(VerifyArgs),
    /// List the objects that no snapshot needs
    Unreferenced(RepositoryArgs),
}

#[derive(Debug, Args)]
pub(crate) struct RepositoryArgs {
    /// Where the repository lies, as in CREATE REPOSITORY
    #[arg(long, value_name = "URI")]
    pub(crate) location: String,
    /// Its name
    #[arg(long, value_name = "R")]
    pub(crate) name: String,
    /// A property as in CREATE REPOSITORY; may be given several times
    #[arg(long = "property", value_name = "KEY=VALUE", value_parser = key_value)]
    pub(crate) properties: Vec<(String, String)>,
    /// How findings are printed
    #[arg(long, value_enum, default_value_t = Format::Table)]
    pub(crate) format: Format,
}

#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    #[command(flatten)]
    pub(crate) repository: RepositoryArgs,
    /// Only this snapshot
    #[arg(long, value_name = "LABEL")]
    pub(crate) snapshot: Option<String>,
}

/// How result sets are printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people; may change
    Table,
    /// One line per result set: an array of objects, every value a string or null
    Json,
    /// Header, RFC 4180, NULL is an unquoted \N
    Csv,
}

/// `DB.TABLE` as given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TableName {
    pub(crate) database: String,
    pub(crate) table: String,
}

impl TableName {
    fn parse(text: &str) -> Result<Self, String> {
        match text.split_once('.') {
            Some((database, table)) if !database.is_empty() && !table.is_empty() => Ok(Self {
                database: database.to_owned(),
                table: table.to_owned(),
            }),
            _ => Err(format!("found '{text}', expected DATABASE.TABLE")),
        }
    }
}

fn backend_count() -> clap::builder::RangedI64ValueParser<u32> {
    clap::value_parser!(u32).range(1..=64)
}

fn scale_factor(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.001..=100.0).contains(&value) => Ok(value),
        _ => Err(format!(
            "found '{text}', expected a number from 0.001 to 100"
        )),
    }
}

fn key_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(format!("found '{text}', expected KEY=VALUE")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn a_table_needs_its_database() {
        assert!(TableName::parse("orders").is_err());
        assert!(TableName::parse(".orders").is_err());
        let name = TableName::parse("shop.orders").unwrap();
        assert_eq!(
            (name.database.as_str(), name.table.as_str()),
            ("shop", "orders")
        );
    }
}
