//! Waiting for a job in front of people: a bar on a terminal, lines elsewhere, and the question
//! that Ctrl-C asks. Decides nothing about the job itself.

use std::fs::OpenOptions;
use std::io::{BufRead, BufReader};
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use holdfast_engine::{Engine, JobId, JobKind, JobView};
use holdfast_sql::secret::mask_text;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::exit::{Exit, Failure};
use crate::node::Node;
use crate::{interrupt, out, text};

/// How often the bar moves and Ctrl-C is looked for.
const BEAT: Duration = Duration::from_millis(100);
/// How often a line is printed where there is no terminal and the state stays.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Waits until the job has ended.
///
/// # Errors
/// `JOB_CANCELLED` with exit code 1 where it was cancelled, `UNAVAILABLE` where the engine has
/// stopped, `Interrupted` after Ctrl-C.
pub(crate) fn for_job(node: &Node, job: JobId) -> Result<Arc<JobView>, Failure> {
    let engine = &node.engine;
    let _asking = interrupt::Asking::start();
    let mut progress = Progress::start();
    let (mut asked, mut left) = (false, false);
    loop {
        let Some(view) = engine.wait(job, BEAT) else {
            return Err(Failure::failed(
                "JOB_NOT_FOUND",
                format!("job {job} is not known"),
            ));
        };
        if view.has_ended() {
            progress.finish(&view);
            return if left {
                Err(Failure::silent(Exit::Interrupted))
            } else {
                ended(view)
            };
        }
        progress.show(&view, engine.bytes_in_flight(job));
        if let Some(error) = engine.failure() {
            progress.pause();
            let text = format!(
                "the engine has stopped ({error}); {} goes on when the data folder is next opened",
                title(&view)
            );
            return Err(Failure::failed("UNAVAILABLE", text));
        }
        if interrupt::taken() && !asked {
            progress.pause();
            match ask(&view) {
                Answer::Cancel => {
                    // A job that ends all the same is told as one that was waited for.
                    asked = true;
                    left = cancel(engine, &view);
                }
                Answer::Leave => {
                    out::note(format_args!(
                        "{} goes on when the data folder is next opened",
                        title(&view)
                    ));
                    return Err(Failure::silent(Exit::Interrupted));
                }
            }
        }
    }
}

fn ended(view: Arc<JobView>) -> Result<Arc<JobView>, Failure> {
    if view.is_finished() {
        return Ok(view);
    }
    let status = &view.common().status;
    Err(Failure::failed(
        "JOB_CANCELLED",
        format!(
            "{} was cancelled: {}, {}",
            title(&view),
            status.code.name(),
            mask_text(&status.message)
        ),
    ))
}

/// `backup 12 of 'monday'`.
fn title(view: &JobView) -> String {
    let kind = match view.kind() {
        JobKind::Backup => "backup",
        JobKind::Restore => "restore",
    };
    let common = view.common();
    format!("{kind} {} of '{}'", common.job, common.label)
}

/// Bytes that are where they belong, new or there before, and all of them. `in_flight` is what the
/// running tasks have moved so far.
fn bytes_done(view: &JobView, in_flight: u64) -> (u64, u64) {
    let common = view.common();
    if view.is_finished() {
        // Files of equal content were moved once, so that less may have been counted.
        return (common.total_bytes, common.total_bytes);
    }
    let done = common
        .moved_bytes
        .saturating_add(common.reused_bytes)
        .saturating_add(in_flight);
    (done.min(common.total_bytes), common.total_bytes)
}

enum Answer {
    Cancel,
    Leave,
}

/// Asks on the terminal; where there is none, the job is left. A second Ctrl-C ends the program.
fn ask(view: &JobView) -> Answer {
    if !out::watched() {
        return Answer::Leave;
    }
    out::note(format_args!(
        "\n{} is in state {}: cancel it (c), or leave it to go on at the next opening (l)?",
        title(view),
        view.state_name()
    ));
    match terminal_lines() {
        Some(lines) => loop {
            match lines
                .recv()
                .as_deref()
                .map(|line| line.trim().to_lowercase())
            {
                Ok(line) if ["c", "cancel"].contains(&line.as_str()) => return Answer::Cancel,
                Ok(line) if ["l", "leave"].contains(&line.as_str()) => return Answer::Leave,
                Ok(_) => out::note("please answer c or l"),
                Err(_) => return Answer::Leave,
            }
        },
        None => Answer::Leave,
    }
}

/// Lines typed at the terminal, whatever stdin is.
fn terminal_lines() -> Option<Receiver<String>> {
    let terminal = OpenOptions::new().read(true).open("/dev/tty").ok()?;
    let (sender, receiver) = mpsc::channel();
    let reader = move || {
        for line in BufReader::new(terminal).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                return;
            }
        }
    };
    let spawned = std::thread::Builder::new()
        .name("holdfast-terminal".into())
        .spawn(reader);
    spawned.ok().map(|_| receiver)
}

/// Whether the engine has taken the cancel; it refuses for a job that is about to finish.
fn cancel(engine: &Engine, view: &JobView) -> bool {
    match engine.cancel(view.kind(), &view.common().database) {
        Ok(_) => {
            out::note(format_args!("{} is being cancelled", title(view)));
            true
        }
        Err(refusal) => {
            out::note(format_args!("{}: {refusal}", title(view)));
            false
        }
    }
}

/// What people see of a running job.
enum Progress {
    Bar(ProgressBar),
    Lines { state: &'static str, last: Instant },
}

impl Progress {
    fn start() -> Self {
        if !out::watched() {
            return Self::Lines {
                state: "",
                last: Instant::now(),
            };
        }
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(10));
        Self::Bar(bar)
    }

    fn show(&mut self, view: &JobView, in_flight: u64) {
        let (done, total) = bytes_done(view, in_flight);
        match self {
            Self::Bar(bar) => {
                if total > 0 && bar.length() != Some(total) {
                    bar.set_length(total);
                    bar.set_style(bar_style());
                }
                bar.set_position(done);
                bar.set_message(format!("{} {}", title(view), view.state_name()));
                bar.tick();
            }
            Self::Lines { state, last } => {
                if *state != view.state_name() || last.elapsed() >= LINE_EVERY {
                    *state = view.state_name();
                    *last = Instant::now();
                    out::note(line(view, in_flight));
                }
            }
        }
    }

    fn pause(&mut self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }

    fn finish(&mut self, view: &JobView) {
        self.pause();
        out::note(line(view, 0));
    }
}

/// The bar of everything that counts bytes.
pub(crate) fn bar_style() -> ProgressStyle {
    const BAR: &str = "{msg} [{bar:20}] {decimal_bytes} of {decimal_total_bytes}, \
                       {decimal_bytes_per_sec}";
    ProgressStyle::with_template(BAR).map_or_else(
        |_| ProgressStyle::default_bar(),
        |style| style.progress_chars("=> "),
    )
}

/// `backup 12 of 'monday': UPLOADING, 45.0 MB of 107.0 MB, 3 of 9 tasks`.
fn line(view: &JobView, in_flight: u64) -> String {
    let common = view.common();
    let mut line = format!("{}: {}", title(view), view.state_name());
    if common.stopping && !view.has_ended() {
        line.push_str(", being cancelled");
    }
    let (done, total) = bytes_done(view, in_flight);
    if total > 0 {
        line.push_str(&format!(
            ", {} of {}",
            text::bytes(done),
            text::bytes(total)
        ));
    }
    if view.has_ended() {
        let time = Duration::from_millis(common.elapsed_ms);
        line.push_str(&format!(", {}", text::duration(time)));
    } else if common.tasks_total > 1 {
        line.push_str(&format!(
            ", {} of {} tasks",
            common.tasks_done, common.tasks_total
        ));
    }
    if let Some(error) = common.errors.last() {
        line.push_str(&format!(
            ", task {} failed: {}",
            error.task,
            mask_text(&error.message)
        ));
    }
    line
}
