//! How the queue stands, in numbers.

use std::{collections::BTreeMap, time::Duration};

use super::{Lane, MessageState};

/// What messages are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group {
    pub upstream: String,
    pub api: String,
    pub channel: String,
    pub lane: Lane,
    pub state: MessageState,
    /// Whether they hold their order keys.
    pub holds: bool,
}

/// Counts for metrics and operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Groups with messages.
    pub groups: BTreeMap<Group, u64>,
    /// Age of the first message that waits, is under way or is in doubt.
    pub oldest: Option<Duration>,
}

impl QueueStats {
    /// Messages that meet a condition.
    pub fn count(&self, is_meant: impl Fn(&Group) -> bool) -> u64 {
        let meant = self.groups.iter().filter(|(group, _)| is_meant(group));
        meant.map(|(_, count)| count).sum()
    }

    /// Messages in a state.
    pub fn in_state(&self, state: MessageState) -> u64 {
        self.count(|group| group.state == state)
    }

    /// Messages that wait or are under way, and are not in doubt, in a lane.
    pub fn waiting(&self, lane: Lane) -> u64 {
        self.count(|group| group.lane == lane && matches!(group.state, MessageState::Queued | MessageState::Attempting))
    }
}

/// How much more fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Messages stored since the log was opened.
    pub admitted: u64,
    /// Bytes in use, and bytes that new messages may use in all; zero where there is no bound.
    pub used: u64,
    pub quota: u64,
}
