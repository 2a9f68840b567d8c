//! Chooses whose turn it is: urgent, standard and bulk messages share an upstream 8 : 3 : 1, and within a lane channels
//! take turns.

use std::collections::{BTreeMap, VecDeque};

use super::Lane;

impl Lane {
    pub(crate) const ALL: [Self; 3] = [Self::Urgent, Self::Standard, Self::Bulk];

    /// Urgent is 0.
    pub(crate) fn rank(self) -> usize {
        self as usize
    }
}

/// Twelve turns, spread so that no lane waits for a whole round.
const TURNS: [Lane; 12] = {
    use Lane::{Bulk as B, Standard as S, Urgent as U};
    [U, U, S, U, U, B, U, U, S, U, U, S]
};

/// The round of turns at one upstream. It goes on where it stopped, since most claims take one message only.
#[derive(Debug, Default)]
pub(crate) struct Wheel {
    position: usize,
    /// The channel served last, by lane.
    last: [String; 3],
}

/// What is ready in a lane, by channel, each in its own order.
pub(crate) type Ready<T> = BTreeMap<String, VecDeque<T>>;

impl Wheel {
    /// Picks up to `max` of what is ready in the three lanes. A lane with nothing to do lends its turn to the most urgent
    /// one that has. In a lane each channel has one turn, so that a busy one does not keep others waiting.
    pub(crate) fn pick<T>(&mut self, mut ready: [Ready<T>; 3], max: usize) -> Vec<T> {
        let mut picked = Vec::new();
        while picked.len() < max {
            let turn = TURNS[self.position % TURNS.len()].rank();
            let Some(first_busy) = ready.iter().position(|lane| !lane.is_empty()) else {
                break;
            };
            let lane = if ready[turn].is_empty() { first_busy } else { turn };
            picked.extend(next(&mut ready[lane], &mut self.last[lane]));
            self.position = (self.position + 1) % TURNS.len();
        }
        picked
    }
}

/// The first of the channel whose turn it is: the one after `last` by name.
fn next<T>(ready: &mut Ready<T>, last: &mut String) -> Option<T> {
    let after = (std::ops::Bound::Excluded(&*last), std::ops::Bound::Unbounded);
    let channel = ready
        .range::<String, _>(after)
        .next()
        .or_else(|| ready.iter().next())?
        .0
        .clone();
    let waiting = ready.get_mut(&channel)?;
    let first = waiting.pop_front();
    if waiting.is_empty() {
        ready.remove(&channel);
    }
    *last = channel;
    first
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of<T: Clone>(item: T, count: usize) -> Ready<T> {
        BTreeMap::from([("shop".to_owned(), vec![item; count].into())])
    }

    #[test]
    fn busy_lanes_share_eight_to_three_to_one() {
        let picked = Wheel::default().pick(Lane::ALL.map(|lane| of(lane, 100)), 120);
        let count = |wanted| picked.iter().filter(|lane| **lane == wanted).count();
        assert_eq!(Lane::ALL.map(count), [80, 30, 10]);
    }

    #[test]
    fn the_shares_hold_when_one_is_picked_at_a_time() {
        let mut wheel = Wheel::default();
        let picked: Vec<Lane> = (0..24)
            .flat_map(|_| wheel.pick(Lane::ALL.map(|lane| of(lane, 1)), 1))
            .collect();
        let count = |wanted| picked.iter().filter(|lane| **lane == wanted).count();
        assert_eq!(Lane::ALL.map(count), [16, 6, 2]);
    }

    #[test]
    fn a_lane_alone_has_every_turn() {
        let alone = BTreeMap::from([("shop".to_owned(), VecDeque::from([1, 2, 3]))]);
        assert_eq!(Wheel::default().pick([Ready::new(), Ready::new(), alone], 9), [1, 2, 3]);
        assert!(Wheel::default().pick::<u8>(Default::default(), 9).is_empty());
    }

    #[test]
    fn a_noisy_channel_waits_for_the_others() {
        let mut wheel = Wheel::default();
        let lane = || {
            Ready::from([
                ("edi".to_owned(), VecDeque::from(["e1"])),
                ("noisy".to_owned(), VecDeque::from(["n1", "n2", "n3", "n4"])),
                ("shop".to_owned(), VecDeque::from(["s1", "s2"])),
            ])
        };
        let picked = wheel.pick([Ready::new(), lane(), Ready::new()], 9);
        assert_eq!(picked, ["e1", "n1", "s1", "n2", "s2", "n3", "n4"]);
        // The turn goes on from claim to claim.
        let picked: Vec<_> = (0..4)
            .flat_map(|_| wheel.pick([Ready::new(), lane(), Ready::new()], 1))
            .collect();
        assert_eq!(picked, ["s1", "e1", "n1", "s1"]);
    }
}
