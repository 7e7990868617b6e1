//! `holdfast demo`: the whole story on made-up data, told through the same statements that a user
//! types. Owns the story and its figures; everything it shows is done by the ordinary parts.

mod floor;
mod place;
mod proof;
mod story;
mod tpch;

use std::time::Instant;

use crate::cli::DemoArgs;
use crate::exit::{Exit, Failure};
use crate::out;
use crate::text;

/// Runs the command.
pub(crate) fn run(args: DemoArgs) -> Result<Exit, Failure> {
    let start = Instant::now();
    let place = place::Place::prepare(args.data_dir)?;
    let root = place.root().to_owned();
    say(&format!("Data folder: {}", root.display()))?;
    let mut story = story::Story::begin(place, args.scale_factor)?;
    story.make_data()?;
    story.load()?;
    story.first_backup()?;
    story.smallest_backup()?;
    story.lose()?;
    story.restore()?;
    story.prove()?;
    story.second_backup()?;
    story.end();
    say(&format!(
        "\nDone in {}. Where to look next:",
        text::duration(start.elapsed())
    ))?;
    let dir = root.display();
    say(&format!(
        "  holdfast sql --data-dir {dir}                          a shell on this data\n  \
           holdfast sql --data-dir {dir} -e 'SHOW BACKUP FROM tpch'\n  \
           holdfast journal dump --data-dir {dir}                 every event, in order\n  \
           holdfast journal state --data-dir {dir} --at 20        the jobs as they stood then\n  \
           holdfast repository verify --location file://{dir}/demo/repository --name demo"
    ))?;
    Ok(Exit::Done)
}

/// A line of the story.
fn say(line: &str) -> Result<(), Failure> {
    out::data(&format!("{line}\n"))
}

/// Takes a failed system call of the demo itself.
fn io_failed(what: impl std::fmt::Display) -> impl FnOnce(std::io::Error) -> Failure {
    move |error| Failure::io(error.kind(), format!("{what}: {error}"))
}
