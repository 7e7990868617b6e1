//! Whole restores beside `cp -r` and `sync -f`: `cargo bench -p holdfast-benches --bench restore`.

use holdfast_benches::{Place, Scale, jobs};

fn main() {
    jobs::report_restores(&Place::new(), Scale::of_this_run());
}
