//! Every measurement once at a tiny size: that it runs and that the work it times is done. No time
//! is judged.

use holdfast_benches::append::{Case, round};
use holdfast_benches::replay::Log;
use holdfast_benches::{Place, Scale, jobs};

#[test]
fn appends_of_all_contenders_hold_the_same_events() {
    let place = Place::new();
    for case in [
        Case {
            batch: 1,
            callers: 1,
        },
        Case {
            batch: 32,
            callers: 8,
        },
    ] {
        let found = round(place.path(), case, 2);
        assert_eq!(found.events, 2 * (case.batch * case.callers) as u64);
        assert!(
            found.syncs >= 1 && found.syncs <= 2 * case.callers as u64,
            "{found:?}"
        );
    }
}

#[test]
fn a_made_history_is_legal_and_replays_to_its_end() {
    let place = Place::new();
    let log = Log::make(&place.path().join("journal"), Scale::tiny().events);
    assert!(log.events >= Scale::tiny().events && log.bytes > 0);
    let round = log.round();
    assert!(!round.replay.is_zero());
}

#[test]
fn backups_and_restores_of_small_trees_are_proved() {
    let place = Place::new();
    jobs::report_backups(&place, Scale::tiny());
    jobs::report_restores(&place, Scale::tiny());
}

#[test]
fn the_smallest_jobs_are_counted() {
    let place = Place::new();
    let (backup, restore) = jobs::smallest(place.path(), 1);
    assert!(backup.serial_syncs() > 0 && restore.serial_syncs() > 0);
    assert!(
        backup.asked.puts >= 2,
        "at least a part and a marker: {:?}",
        backup.asked
    );
}
