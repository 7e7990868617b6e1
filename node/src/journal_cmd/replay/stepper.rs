//! Where a replay stands, and how it gets elsewhere: forward by the engine's own `apply`, back from
//! a kept state. Every record that is passed for the first time is decided anew.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use holdfast_engine::inspect::{Verdict, recheck};
use holdfast_engine::story::words;
use holdfast_engine::{Event, Replay};
use holdfast_journal::{Event as _, Projection, Record, Seq};

use crate::exit::{Exit, Failure};
use crate::journal_cmd::line::fields;
use crate::journal_cmd::source::Source;

/// Records between two kept states: what a step back has to apply again at most.
const CHUNK: u64 = 10_000;
/// Records on each side that tell what decision a record was a part of.
const BESIDE: u64 = 2;

/// Something that the engine of today would not have recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) seq: Seq,
    pub(super) text: String,
}

/// A place in a run.
pub(super) struct Stepper<'a> {
    source: &'a Source,
    replay: Replay,
    /// What it began with: the state before the first record, or that of a checkpoint where the
    /// records before it are not at hand.
    base: Replay,
    /// States at the ends of chunks.
    kept: BTreeMap<Seq, Replay>,
    /// The chunk that was read last, with a few records on each side.
    chunk: Vec<Record<Event>>,
    chunk_number: Option<u64>,
    /// The last record that was decided anew.
    checked: Seq,
    findings: Vec<Finding>,
    /// The record that cannot follow the ones before it, where there is one: nothing goes past it.
    broken: Option<Seq>,
}

impl<'a> Stepper<'a> {
    /// Stands before everything that is at hand.
    ///
    /// # Errors
    /// Where there is no state that leads on to the records at hand; what reading reports.
    pub(super) fn new(source: &'a Source) -> Result<Self, Failure> {
        let base = source.begin(source.last().0)?;
        let mut stepper = Self {
            source,
            replay: base.clone(),
            kept: BTreeMap::new(),
            chunk: Vec::new(),
            chunk_number: None,
            checked: base.position(),
            findings: Vec::new(),
            broken: None,
            base,
        };
        // The record of the checkpoint may be at hand.
        if stepper.begun() > Seq::ZERO {
            stepper.move_to(stepper.begun())?;
        }
        Ok(stepper)
    }

    /// Where it began: [`Seq::ZERO`], or the record of a checkpoint.
    pub(super) fn begun(&self) -> Seq {
        self.base.position()
    }

    pub(super) fn position(&self) -> Seq {
        self.replay.position()
    }

    /// The last record that there is.
    pub(super) fn end(&self) -> Seq {
        self.source.last().0
    }

    pub(super) fn source(&self) -> &'a Source {
        self.source
    }

    pub(super) fn replay(&mut self) -> &mut Replay {
        &mut self.replay
    }

    /// The last record that was decided anew; [`begun`](Stepper::begun) before the first.
    pub(super) fn checked(&self) -> Seq {
        self.checked
    }

    /// What was found so far.
    pub(super) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// Whether a record that cannot follow was met.
    pub(super) fn is_broken(&self) -> bool {
        self.broken.is_some()
    }

    /// The record that the replay stands behind; `None` before the first at hand.
    pub(super) fn record(&self) -> Option<&Record<Event>> {
        find(&self.chunk, self.position())
    }

    /// Goes to stand behind `target`, or as near as a record that cannot follow lets it.
    ///
    /// # Errors
    /// A target before the state that it began with; records that are not there.
    pub(super) fn goto(&mut self, target: Seq) -> Result<(), Failure> {
        if target < self.begun() {
            return Err(self.source.before_begin(target, self.begun()));
        }
        let mut target = target.min(self.end());
        if let Some(broken) = self.broken {
            target = target.min(broken.before());
        }
        self.move_to(target)?;
        if self.broken.is_none() && self.position() != target {
            let text = format!(
                "sequence {target} was asked for, the records at hand lead to {} only",
                self.position()
            );
            return Err(Failure::new(Exit::Damage, "JOURNAL_DAMAGED", text));
        }
        Ok(())
    }

    fn move_to(&mut self, target: Seq) -> Result<(), Failure> {
        if target < self.position() {
            self.replay = self.nearest(target);
        }
        let wanted = number_of(target.max(Seq::FIRST));
        if self.chunk_number == Some(wanted) && self.position().next() >= first_of(wanted) {
            let chunk = std::mem::take(&mut self.chunk);
            self.advance(&chunk, wanted, target);
            self.chunk = chunk;
            return Ok(());
        }
        self.read_to(target, wanted)
    }

    /// The last kept state at `target` or before it.
    fn nearest(&self, target: Seq) -> Replay {
        let kept = self.kept.range(..=target).next_back();
        kept.map_or(&self.base, |(_, kept)| kept).clone()
    }

    /// Reads on from where the state is, chunk by chunk, and keeps the last one.
    fn read_to(&mut self, target: Seq, wanted: u64) -> Result<(), Failure> {
        let mut number = number_of(self.position().next().min(target.max(Seq::FIRST)));
        let mut chunk: Vec<Record<Event>> = Vec::new();
        let from = Seq(first_of(number).get().saturating_sub(BESIDE).max(1));
        let to = Seq(last_of(wanted).get() + BESIDE);
        let source = self.source;
        source.read(from, to, &mut |record| {
            while record.seq.get() > last_of(number).get() + BESIDE {
                self.advance(&chunk, number, target);
                number += 1;
                let before = first_of(number).get().saturating_sub(BESIDE);
                chunk.retain(|kept| kept.seq.get() >= before);
            }
            chunk.push(record);
            Ok(ControlFlow::Continue(()))
        })?;
        while number < wanted {
            self.advance(&chunk, number, target);
            number += 1;
        }
        self.advance(&chunk, number, target);
        self.chunk = chunk;
        self.chunk_number = Some(wanted);
        Ok(())
    }

    /// Applies what the chunk has behind the position, up to `target`.
    fn advance(&mut self, chunk: &[Record<Event>], number: u64, target: Seq) {
        // What lies behind the chunk is judged with the next one, which knows what follows it.
        let target = target.min(last_of(number));
        while self.position() < target && self.broken.is_none() {
            let next = self.position().next();
            let Some(at) = place(chunk, next) else { return };
            if next > self.checked {
                self.check(chunk, at);
            }
            if let Err(error) = self.replay.apply(&chunk[at]) {
                self.broken = Some(next);
                self.findings.push(Finding {
                    seq: next,
                    text: format!("it cannot follow what came before: {error}"),
                });
                // A refused event leaves the state unusable.
                self.replay = self.nearest(next.before());
                let again = self.replay.position().next();
                for record in chunk.iter().filter(|r| r.seq >= again && r.seq < next) {
                    // They were applied once before.
                    let _ = self.replay.apply(record);
                }
                return;
            }
            if next == last_of(number_of(next)) {
                self.kept.insert(next, self.replay.clone());
            }
        }
    }

    fn check(&mut self, chunk: &[Record<Event>], at: usize) {
        let record = &chunk[at];
        self.checked = record.seq;
        let from = at.saturating_sub(BESIDE as usize);
        let to = chunk.len().min(at + 1 + BESIDE as usize);
        if let Verdict::Differs { today, why } = recheck(&self.replay, &chunk[from..to], at - from)
        {
            let recorded = told(&record.event);
            let alike = today.iter().any(|event| told(event) == recorded);
            // Where the words are the same, the difference is in fields that they leave out.
            let tell = |event: &Event| match alike {
                true => format!("{} {}", told(event), fields(event)),
                false => told(event),
            };
            let instead: Vec<String> = today.iter().map(tell).collect();
            let instead = match instead.is_empty() {
                true => "nothing".to_owned(),
                false => instead.join("; "),
            };
            self.findings.push(Finding {
                seq: record.seq,
                text: format!(
                    "{} was recorded, the engine of today records {instead}: {why}",
                    tell(&record.event)
                ),
            });
        }
    }
}

/// An event in a few words: its kind, what it is about, what it says.
pub(super) fn told(event: &Event) -> String {
    let mut text = event.kind_name().to_owned();
    let job = event.stream().get();
    if job != 0 {
        text.push_str(&format!(" of job {job}"));
    }
    match event {
        Event::TaskStarted(e) => text.push_str(&format!(", task {} attempt {}", e.task, e.attempt)),
        Event::TaskFinished(e) => {
            text.push_str(&format!(", task {} attempt {}", e.task, e.attempt))
        }
        Event::TaskFailed(e) => text.push_str(&format!(", task {} attempt {}", e.task, e.attempt)),
        Event::WorkerFenced(e) => {
            text.push_str(&format!(", task {} attempt {}", e.task, e.attempt))
        }
        Event::TaskStopped(e) => text.push_str(&format!(", task {} attempt {}", e.task, e.attempt)),
        _ => {}
    }
    let words = words(event);
    if !words.is_empty() {
        text.push_str(&format!(" ({words})"));
    }
    text
}

fn number_of(seq: Seq) -> u64 {
    seq.get().saturating_sub(1) / CHUNK
}

fn first_of(number: u64) -> Seq {
    Seq(number * CHUNK + 1)
}

fn last_of(number: u64) -> Seq {
    Seq((number + 1) * CHUNK)
}

/// Where a record is in a chunk, whose records follow each other.
fn place(chunk: &[Record<Event>], seq: Seq) -> Option<usize> {
    let first = chunk.first()?.seq.get();
    let at = usize::try_from(seq.get().checked_sub(first)?).ok()?;
    (at < chunk.len()).then_some(at)
}

fn find(chunk: &[Record<Event>], seq: Seq) -> Option<&Record<Event>> {
    place(chunk, seq).and_then(|at| chunk.get(at))
}

#[cfg(test)]
mod tests {
    use holdfast_engine::testing::History;
    use holdfast_journal::{FileJournal, Journal, Options};

    use super::*;

    fn journal(folder: &std::path::Path, events: &[Event]) {
        let (journal, _) = FileJournal::open(folder, Options::default()).unwrap();
        for events in events.chunks(500) {
            journal.append(events, 1_700_000_000_000).unwrap();
        }
    }

    /// The state as bytes, which are equal for equal states.
    fn state(stepper: &mut Stepper<'_>) -> Vec<u8> {
        stepper.replay().to_checkpoint().unwrap()
    }

    #[test]
    fn back_is_the_same_place_as_forward_over_the_ends_of_chunks() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = History::new();
        for database in ["a", "b", "c"] {
            history.backup(database, 3_000);
        }
        journal(dir.path(), &history.take());
        let source = Source::open(dir.path()).unwrap();
        let mut forward = Stepper::new(&source).unwrap();
        let mut back = Stepper::new(&source).unwrap();
        back.goto(source.last().0).unwrap();
        // The made plans are not those that the made ends of tasks told of.
        let plans = |f: &Finding| f.text.starts_with("StateEntered") && f.text.contains("\"plan\"");
        assert!(back.findings().iter().all(plans), "{:#?}", back.findings());
        let mut seen = BTreeMap::new();
        let places = (9_995..10_006)
            .chain(19_999..20_004)
            .chain([1, 2, 3, 30_001]);
        let mut places: Vec<u64> = places.collect();
        places.sort_unstable();
        for at in &places {
            forward.goto(Seq(*at)).unwrap();
            assert_eq!(forward.record().unwrap().seq, Seq(*at));
            seen.insert(*at, state(&mut forward));
        }
        for at in places.iter().rev() {
            back.goto(Seq(*at)).unwrap();
            assert_eq!(back.record().unwrap().seq, Seq(*at));
            assert!(state(&mut back) == seen[at], "behind record {at}");
        }
        back.goto(Seq::ZERO).unwrap();
        assert_eq!((back.position(), back.record()), (Seq::ZERO, None));
        forward.goto(source.last().0).unwrap();
        assert_eq!(forward.findings(), back.findings());
    }

    #[test]
    fn nothing_goes_past_a_record_that_cannot_follow() {
        let dir = tempfile::tempdir().unwrap();
        let mut history = History::new();
        history.backup("a", 2);
        let mut events = history.take();
        let opening = events[0].clone();
        events.insert(7, opening);
        journal(dir.path(), &events);
        let source = Source::open(dir.path()).unwrap();
        let mut stepper = Stepper::new(&source).unwrap();
        for _ in 0..2 {
            stepper.goto(source.last().0).unwrap();
            assert_eq!(stepper.position(), Seq(7));
        }
        assert!(stepper.is_broken());
        let last = stepper.findings().last().unwrap();
        assert!(
            last.seq == Seq(8) && last.text.contains("epoch 1 follows epoch 1"),
            "{last:?}"
        );
        let mut straight = Stepper::new(&source).unwrap();
        straight.goto(Seq(7)).unwrap();
        assert!(state(&mut stepper) == state(&mut straight));
    }
}
