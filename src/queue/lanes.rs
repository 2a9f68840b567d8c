//! Chooses whose turn it is: urgent, standard and bulk messages share an upstream 8 : 3 : 1.

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

/// The round of turns. It goes on where it stopped, since most claims take one message only.
#[derive(Debug, Default)]
pub(crate) struct Wheel {
    position: usize,
}

impl Wheel {
    /// Picks up to `max` of what waits in the three lanes. A lane with nothing to do lends its turn to the most urgent
    /// one that has.
    pub(crate) fn pick<T>(&mut self, waiting: [Vec<T>; 3], max: usize) -> Vec<T> {
        let mut lanes = waiting.map(|lane| lane.into_iter().peekable());
        let mut picked = Vec::new();
        while picked.len() < max {
            let turn = TURNS[self.position % TURNS.len()].rank();
            let first_busy = lanes.iter_mut().position(|lane| lane.peek().is_some());
            let Some(first_busy) = first_busy else { break };
            let lane = if lanes[turn].peek().is_some() { turn } else { first_busy };
            picked.extend(lanes[lane].next());
            self.position = (self.position + 1) % TURNS.len();
        }
        picked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn busy_lanes_share_eight_to_three_to_one() {
        let waiting = Lane::ALL.map(|lane| vec![lane; 100]);
        let picked = Wheel::default().pick(waiting, 120);
        let count = |wanted| picked.iter().filter(|lane| **lane == wanted).count();
        assert_eq!(Lane::ALL.map(count), [80, 30, 10]);
    }

    #[test]
    fn the_shares_hold_when_one_is_picked_at_a_time() {
        let mut wheel = Wheel::default();
        let picked: Vec<Lane> = (0..24)
            .flat_map(|_| wheel.pick(Lane::ALL.map(|lane| vec![lane]), 1))
            .collect();
        let count = |wanted| picked.iter().filter(|lane| **lane == wanted).count();
        assert_eq!(Lane::ALL.map(count), [16, 6, 2]);
    }

    #[test]
    fn a_lane_alone_has_every_turn() {
        assert_eq!(Wheel::default().pick([vec![], vec![], vec![1, 2, 3]], 9), [1, 2, 3]);
        assert!(Wheel::default().pick::<u8>([vec![], vec![], vec![]], 9).is_empty());
    }
}
