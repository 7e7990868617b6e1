//! How bad a world is: how likely each kind of trouble is, in thousandths of the occasions for it.

use super::choices::{Choices, Kind};

/// The likelihoods of one world.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Weather {
    clear: bool,
    /// A request to a remote fails.
    pub(super) remote_error: u32,
    /// It is told to come back later.
    pub(super) remote_throttle: u32,
    /// It takes long.
    pub(super) remote_delay: u32,
    /// A read gives a wrong bit.
    pub(super) remote_corrupt: u32,
    /// It takes effect, and is answered with an error or never.
    pub(super) remote_unheard: u32,
    /// A put leaves a part under the name.
    pub(super) remote_tear: u32,
    /// A put is answered with success and kept nowhere.
    pub(super) remote_lie: u32,
    /// No answer comes for a long time.
    pub(super) remote_hang: u32,
    /// A call of the tables fails.
    pub(super) storage_error: u32,
    /// A pin is gone.
    pub(super) pin_lost: u32,
    /// A replica's file is damaged.
    pub(super) replica_damage: u32,
    /// A sync of the journal fails.
    pub(super) disk_sync: u32,
    /// The disk of the journal runs full for a while.
    pub(super) disk_full: u32,
    /// The process of a node dies.
    pub(super) crash: u32,
    /// A worker's end is told twice.
    pub(super) answer_twice: u32,
    /// A wall clock jumps.
    pub(super) clock_jump: u32,
}

impl Weather {
    pub(super) fn clear() -> Self {
        Self {
            clear: true,
            ..Self::default()
        }
    }

    pub(super) fn is_clear(&self) -> bool {
        self.clear
    }

    /// One of five: nothing at all, only deaths, a little of everything, bad disks, a storm on the way to the remote.
    pub(super) fn choose(choices: &mut Choices) -> Self {
        let deaths = [2, 6, 15, 0][choices.weighted(Kind::Setup, &[4, 3, 2, 1])];
        match choices.weighted(Kind::Setup, &[1, 4, 5, 4, 4]) {
            0 => Self::clear(),
            1 => Self {
                crash: deaths.max(2),
                ..Self::default()
            },
            2 => Self {
                remote_error: 20,
                remote_throttle: 20,
                remote_delay: 20,
                remote_corrupt: 3,
                remote_unheard: 10,
                remote_tear: 10,
                remote_lie: choices.below(Kind::Setup, 2) as u32 * 4,
                remote_hang: 5,
                storage_error: 10,
                pin_lost: 10,
                replica_damage: 10,
                disk_sync: 3,
                disk_full: 3,
                crash: deaths,
                answer_twice: 30,
                clock_jump: 50,
                clear: false,
            },
            3 => Self {
                remote_error: 5,
                remote_delay: 10,
                remote_unheard: 10,
                storage_error: 60,
                pin_lost: 15,
                replica_damage: 20,
                disk_sync: 15,
                disk_full: 15,
                crash: deaths,
                answer_twice: 50,
                clock_jump: 50,
                ..Self::default()
            },
            _ => Self {
                remote_error: 250,
                remote_throttle: 300,
                remote_delay: 150,
                remote_corrupt: 10,
                remote_unheard: 30,
                remote_tear: 30,
                remote_lie: choices.below(Kind::Setup, 2) as u32 * 10,
                remote_hang: 15,
                storage_error: 40,
                pin_lost: 20,
                replica_damage: 20,
                disk_sync: 5,
                disk_full: 5,
                crash: deaths,
                answer_twice: 100,
                clock_jump: 100,
                clear: false,
            },
        }
    }
}
