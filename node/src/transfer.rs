//! `holdfast load` and `holdfast export`: files in, files out. They open the tables only, so they
//! resume no job.

use std::time::{Duration, Instant};

use holdfast_sql::{Code, SqlError};
use holdfast_storage::{ExportRequest, LoadRequest, LocalStorage, Progress};
use indicatif::{ProgressBar, ProgressDrawTarget};
use parking_lot::Mutex;

use crate::cli::{ExportArgs, LoadArgs};
use crate::exit::{Exit, Failure};
use crate::folder::{Absent, Folder};
use crate::guard;
use crate::node::{open_storage, storage_failure};
use crate::wait::bar_style;
use crate::{out, text};

/// Runs `holdfast load`.
pub(crate) fn load(args: LoadArgs) -> Result<Exit, Failure> {
    let folder = Folder::hold(&args.data_dir, Absent::Make)?;
    let partition = args.partition.as_ref().unwrap_or(&args.table.table);
    let jobs = guard::views_of(&folder)?;
    guard::check_load(&jobs, &args.table.database, &args.table.table, partition)?;
    let storage = open_storage(&folder, args.backends)?;
    check_shape(&storage, &args, partition)?;
    let start = Instant::now();
    let meter = Meter::start("load");
    let show = |progress: Progress| meter.show(progress);
    let request = LoadRequest {
        partition: args.partition,
        buckets: args.buckets.unwrap_or(1),
        replication_num: args.replication_num.unwrap_or(1),
        progress: Some(&show),
        ..LoadRequest::new(&args.table.database, &args.table.table, args.sources)
    };
    let loaded = storage.load(&request);
    meter.clear();
    let report = loaded.map_err(|error| storage_failure(&error))?;
    let time = start.elapsed();
    out::note(format_args!(
        "loaded {}, {} into {}.{} partition {} as version {} in {}{}",
        text::count(report.files, "file"),
        text::bytes(report.bytes),
        request.database,
        request.table,
        report.partition,
        report.version,
        text::duration(time),
        text::rate(report.bytes, time),
    ));
    Ok(Exit::Done)
}

/// Refuses buckets and replicas that a partition, once made, does not take.
fn check_shape(storage: &LocalStorage, args: &LoadArgs, partition: &str) -> Result<(), Failure> {
    let (database, table) = (&args.table.database, &args.table.table);
    // What is absent is made as asked for; what is wrong otherwise, the load itself says.
    let Ok(details) = storage.table_details(database, table) else {
        return Ok(());
    };
    let Some(there) = details.partitions.iter().find(|p| p.meta.name == partition) else {
        return Ok(());
    };
    for (option, asked, has) in [
        ("buckets", args.buckets, there.meta.buckets),
        (
            "replication-num",
            args.replication_num,
            there.meta.replication_num,
        ),
    ] {
        if let Some(asked) = asked.filter(|asked| *asked != has) {
            let text = format!(
                "--{option} is {asked}, partition '{partition}' of '{database}.{table}' has {has} \
                 (leave the option out to load into it)"
            );
            return Err(SqlError::new(Code::Invalid, text).into());
        }
    }
    Ok(())
}

/// Runs `holdfast export`.
pub(crate) fn export(args: ExportArgs) -> Result<Exit, Failure> {
    let folder = Folder::hold(&args.data_dir, Absent::Refuse)?;
    let storage = open_storage(&folder, 3)?;
    let start = Instant::now();
    let meter = Meter::start("export");
    let show = |progress: Progress| meter.show(progress);
    let request = ExportRequest {
        database: args.table.database,
        table: args.table.table,
        partition: args.partition,
        to: args.to,
        progress: Some(&show),
    };
    let exported = storage.export(&request);
    meter.clear();
    let report = exported.map_err(|error| storage_failure(&error))?;
    for fault in &report.faults {
        out::note(format_args!("warn: {fault}"));
    }
    let time = start.elapsed();
    out::note(format_args!(
        "exported {}, {} of {} to '{}' in {}{}, each hash proved",
        text::count(report.files, "file"),
        text::bytes(report.bytes),
        text::count(report.partitions, "partition"),
        request.to.display(),
        text::duration(time),
        text::rate(report.bytes, time),
    ));
    Ok(Exit::Done)
}

/// A bar on a terminal, a line every few seconds elsewhere; fed from several threads.
pub(crate) struct Meter {
    what: &'static str,
    bar: Option<ProgressBar>,
    last_line: Mutex<Instant>,
}

const LINE_EVERY: Duration = Duration::from_secs(5);

impl Meter {
    pub(crate) fn start(what: &'static str) -> Self {
        let bar = out::watched().then(|| {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
            bar.set_message(what);
            bar
        });
        Self {
            what,
            bar,
            last_line: Mutex::new(Instant::now()),
        }
    }

    pub(crate) fn show(&self, progress: Progress) {
        let Progress {
            files,
            files_total,
            bytes,
            bytes_total,
        } = progress;
        match &self.bar {
            Some(bar) => {
                if bar.length() != Some(bytes_total) {
                    bar.set_length(bytes_total);
                    bar.set_style(bar_style());
                }
                bar.set_position(bytes.min(bytes_total));
            }
            None => {
                let mut last = self.last_line.lock();
                if last.elapsed() >= LINE_EVERY {
                    *last = Instant::now();
                    out::note(format_args!(
                        "{}: {} of {}, {files} of {}",
                        self.what,
                        text::bytes(bytes),
                        text::bytes(bytes_total),
                        text::count(files_total, "file"),
                    ));
                }
            }
        }
    }

    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
