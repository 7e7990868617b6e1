//! The one thread that owns state and journal. It waits for commands, completions and the next wake, and turns the
//! core with all that has come together, so that many inputs share one sync. It never blocks on a send.

use std::sync::Arc;
use std::time::Duration;

use crossbeam::channel::{Receiver, RecvTimeoutError, TryRecvError, select};

use crate::core::{Asked, Core};
use crate::decide::Input;
use crate::order::Completion;
use crate::seams::{Clock, Now};

/// Inputs taken into one turn at most: bounds the size of one append.
const BATCH: usize = 512;
/// How long inputs wait after the journal's disk was found full.
const FULL_WAIT: Duration = Duration::from_secs(1);
/// The longest sleep without any input, so that a wrong wake cannot hang a job for ever.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// What the dispatcher is told.
pub(crate) enum Message {
    /// Decide this.
    Ask(Box<Asked>),
    /// Stop after the present turn.
    Close,
}

/// The two lanes into the dispatcher.
pub(crate) struct Lanes {
    pub(crate) messages: Receiver<Message>,
    pub(crate) completions: Receiver<Completion>,
}

/// Runs until told to close, or until all senders of messages are gone.
pub(crate) fn run(mut core: Core, lanes: &Lanes, clock: &Arc<dyn Clock>) {
    // The first turn has no input: it starts what the last opening left undone.
    let mut turned = core.turn(Vec::new(), now(clock));
    let bell = core.bell();
    loop {
        let wait = if turned.put_off {
            FULL_WAIT
        } else {
            wait_time(&core, now(clock))
        };
        let mut inputs = Vec::new();
        let mut open = receive_first(lanes, &bell, wait, &mut inputs);
        while open && inputs.len() < BATCH {
            let before = inputs.len();
            open = receive_more(lanes, &mut inputs);
            if inputs.len() == before {
                break;
            }
        }
        turned = core.turn(inputs, now(clock));
        if !open {
            core.close();
            return;
        }
    }
}

fn now(clock: &Arc<dyn Clock>) -> Now {
    Now {
        wall_ms: clock.wall_ms(),
        mono_ms: clock.mono_ms(),
    }
}

fn wait_time(core: &Core, now: Now) -> Duration {
    core.next_wake(now).map_or(LONGEST_WAIT, |wake| {
        Duration::from_millis(wake.saturating_sub(now.mono_ms)).min(LONGEST_WAIT)
    })
}

fn completion(completion: Completion) -> Asked {
    Asked::silent(Input::Completion(Box::new(completion)))
}

/// Waits for one input of either lane, or for the bell; says whether the engine stays open.
fn receive_first(
    lanes: &Lanes,
    bell: &Receiver<()>,
    wait: Duration,
    inputs: &mut Vec<Asked>,
) -> bool {
    select! {
        recv(lanes.messages) -> message => match message {
            Ok(Message::Ask(asked)) => inputs.push(*asked),
            Ok(Message::Close) | Err(_) => return false,
        },
        recv(lanes.completions) -> done => match done {
            Ok(done) => inputs.push(completion(done)),
            // The executor keeps a sender for as long as the dispatcher runs.
            Err(_) => return wait_for_message(lanes, wait, inputs),
        },
        // The core keeps a sender.
        recv(bell) -> _ => {}
        default(wait) => {}
    }
    true
}

fn wait_for_message(lanes: &Lanes, wait: Duration, inputs: &mut Vec<Asked>) -> bool {
    match lanes.messages.recv_timeout(wait) {
        Ok(Message::Ask(asked)) => {
            inputs.push(*asked);
            true
        }
        Ok(Message::Close) | Err(RecvTimeoutError::Disconnected) => false,
        Err(RecvTimeoutError::Timeout) => true,
    }
}

/// Takes one more of each lane without waiting; says whether the engine stays open.
fn receive_more(lanes: &Lanes, inputs: &mut Vec<Asked>) -> bool {
    match lanes.messages.try_recv() {
        Ok(Message::Ask(asked)) => inputs.push(*asked),
        Ok(Message::Close) | Err(TryRecvError::Disconnected) => return false,
        Err(TryRecvError::Empty) => {}
    }
    if let Ok(done) = lanes.completions.try_recv() {
        inputs.push(completion(done));
    }
    true
}
