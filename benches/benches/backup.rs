//! Whole backups beside `cp -r` and `sync -f`: `cargo bench -p holdfast-benches --bench backup`.

use holdfast_benches::{Place, Scale, jobs};

fn main() {
    jobs::report_backups(&Place::new(), Scale::of_this_run());
}
