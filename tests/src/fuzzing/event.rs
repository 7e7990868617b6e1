//! Events: payloads of the engine and of the catalog, and what any order of them does to a state.

use std::sync::OnceLock;

use holdfast_engine::testing::History;
use holdfast_engine::{Event, Now, Replay};
use holdfast_journal::{FrameHash, Kind, Projection as _, Record, Seq};
use holdfast_storage::events::CatalogEvent;
use holdfast_storage::testing::Catalog;

use super::Fields;

/// The time of the event with this sequence.
const START_MS: u64 = 1_735_689_600_000;
/// Events of one input, so that no input takes long.
const EVENTS: u64 = 200;

/// Pieces, each a byte and what it asks for: 0 the payload of an engine's event (kind, length,
/// bytes), 1 an event of a written history by its number, 2 the engine is opened and does what is
/// due, 3 the payload of an event of the catalog, 4 the next events of the history. Others end the
/// input.
pub fn event(data: &[u8]) {
    let mut fields = Fields(data);
    let (mut replay, mut catalog) = (Replay::new(), Catalog::new());
    let (mut seq, mut told, mut cataloged) = (0, 0_usize, 0);
    while !fields.is_empty() && seq + cataloged < EVENTS {
        match fields.byte() {
            0 => {
                if let Some(event) = payload::<Event>(&mut fields) {
                    seq += u64::from(take(&mut replay, seq + 1, event));
                }
            }
            1 => {
                let event = history()[usize::from(fields.byte()) % history().len()].clone();
                seq += u64::from(take(&mut replay, seq + 1, event));
            }
            2 => {
                settle(&mut replay);
                seq += 1;
            }
            3 => {
                if let Some(event) = payload::<CatalogEvent>(&mut fields) {
                    cataloged += 1;
                    let _ = catalog.apply(cataloged, START_MS + cataloged, &event);
                }
            }
            4 => {
                for _ in 0..fields.byte() {
                    let Some(event) = history().get(told) else {
                        break;
                    };
                    told += 1;
                    seq += u64::from(take(&mut replay, seq + 1, event.clone()));
                }
            }
            _ => break,
        }
    }
    let _ = replay.views();
    if let Ok(bytes) = catalog.checkpoint() {
        let again = Catalog::from_checkpoint(&bytes).unwrap();
        assert_eq!(again.checkpoint().unwrap(), bytes);
    }
    settle(&mut replay);
}

/// What an engine could have recorded: jobs that end in every way, and one that works.
pub(super) fn history() -> &'static [Event] {
    static HISTORY: OnceLock<Vec<Event>> = OnceLock::new();
    HISTORY.get_or_init(|| {
        let mut history = History::new();
        history.backup("a", 2);
        history.cancelled_backup("a");
        history.open_restore("b");
        history.take()
    })
}

/// A state that took only events that can follow decides only events that can follow.
fn settle(replay: &mut Replay) {
    let now = Now {
        wall_ms: START_MS,
        mono_ms: 1_000_000,
    };
    if let Err(why) = replay.open_and_settle(now) {
        panic!("{why}");
    }
    let _ = replay.views();
}

/// The event as a journal would hand it out; no replay looks at its hash.
pub(super) fn record(seq: u64, event: Event) -> Record<Event> {
    use holdfast_journal::Event as _;
    Record {
        seq: Seq(seq),
        at_ms: START_MS + seq,
        stream: event.stream(),
        kind: event.kind(),
        hash: FrameHash([0; 32]),
        event,
    }
}

fn take(replay: &mut Replay, seq: u64, event: Event) -> bool {
    replay.apply(&record(seq, event)).is_ok()
}

/// Reads a payload. What is accepted is written and read again as the same event.
fn payload<E: holdfast_journal::Event>(fields: &mut Fields<'_>) -> Option<E> {
    let kind = Kind(fields.u16());
    let length = usize::from(fields.u16());
    let bytes = fields.take(length);
    let known = E::kinds().iter().any(|(number, _)| *number == kind.get());
    match E::decode(kind, bytes) {
        Ok(event) => {
            assert!(known, "an unknown kind was read");
            let mut first = Vec::new();
            event.encode(&mut first).unwrap();
            let again = E::decode(event.kind(), &first).unwrap();
            assert_eq!(again, event);
            let mut second = Vec::new();
            again.encode(&mut second).unwrap();
            assert_eq!(first, second, "equal events have equal bytes");
            let _ = serde_json::to_string(&event).unwrap();
            let _ = event.stream();
            Some(event)
        }
        Err(refused) => {
            let words = refused.to_string();
            let named = E::kinds()
                .iter()
                .find(|(number, _)| *number == kind.get())
                .is_none_or(|(_, name)| words.contains(name));
            assert!(named, "{words}");
            None
        }
    }
}
