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
    use proptest::prelude::*;

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

    /// One channel's messages in one lane: how many arrive before each claim.
    #[derive(Clone, Debug)]
    struct Source {
        lane: usize,
        channel: &'static str,
        arrivals: Vec<usize>,
    }

    fn sources() -> impl Strategy<Value = Vec<Source>> {
        let source = (
            0..3_usize,
            prop::sample::select(vec!["a", "b", "c", "noisy"]),
            prop::collection::vec(0..6_usize, 20..40),
        );
        let source = source.prop_map(|(lane, channel, arrivals)| Source {
            lane,
            channel,
            arrivals,
        });
        prop::collection::vec(source, 1..8)
    }

    /// Lane and channel of what was picked, and what waited before.
    type Pick = (usize, &'static str, [BTreeMap<String, usize>; 3]);

    /// What is picked, claim by claim.
    fn run(sources: &[Source], max: usize) -> Vec<Pick> {
        let mut wheel = Wheel::default();
        let mut waiting: [BTreeMap<&'static str, usize>; 3] = Default::default();
        let mut picks = Vec::new();
        for round in 0..40 {
            for source in sources {
                let arrived = source.arrivals.get(round).copied().unwrap_or(0);
                *waiting[source.lane].entry(source.channel).or_default() += arrived;
            }
            let ready = std::array::from_fn(|lane| {
                let busy = waiting[lane].iter().filter(|(_, count)| **count > 0);
                busy.map(|(channel, count)| ((*channel).to_owned(), vec![(lane, *channel); *count].into()))
                    .collect::<Ready<_>>()
            });
            for (lane, channel) in wheel.pick(ready, max) {
                let before = std::array::from_fn(|lane| {
                    let busy = waiting[lane].iter().filter(|(_, count)| **count > 0);
                    busy.map(|(channel, count)| ((*channel).to_owned(), *count)).collect()
                });
                *waiting[lane].get_mut(channel).unwrap() -= 1;
                picks.push((lane, channel, before));
            }
        }
        picks
    }

    proptest! {
        /// Nothing is made up, and no turn is wasted while something is ready.
        #[test]
        fn a_claim_takes_what_there_is(sources in sources(), max in 0..10_usize) {
            let ready: [Ready<()>; 3] = std::array::from_fn(|lane| {
                let of_lane = sources.iter().filter(|source| source.lane == lane);
                of_lane.map(|source| (source.channel.to_owned(), vec![(); source.arrivals[0] + 1].into())).collect()
            });
            let there: usize = ready.iter().flat_map(BTreeMap::values).map(VecDeque::len).sum();
            prop_assert_eq!(Wheel::default().pick(ready, max).len(), max.min(there));
        }

        /// While a lane has something ready, it is not passed over for a whole round of turns, and gets its share of each.
        #[test]
        fn no_lane_starves(sources in sources(), max in 1..10_usize) {
            let picks = run(&sources, max);
            for lane in 0..3 {
                let busy: Vec<_> = picks.iter().map(|(_, _, before)| !before[lane].is_empty()).collect();
                for start in 0..picks.len().saturating_sub(TURNS.len() - 1) {
                    let round = start..start + TURNS.len();
                    if busy[round.clone()].iter().all(|busy| *busy) {
                        let share = TURNS.iter().filter(|turn| turn.rank() == lane).count();
                        let got = picks[round].iter().filter(|(picked, ..)| *picked == lane).count();
                        prop_assert!(got >= share, "lane {lane} got {got} of {share} turns from {start} on");
                    }
                }
            }
        }

        /// Between two turns of a channel in its lane, no other channel has more than one: whoever is noisy waits.
        #[test]
        fn no_channel_goes_twice_while_another_waits(sources in sources(), max in 1..10_usize) {
            let picks = run(&sources, max);
            for lane in 0..3 {
                let of_lane: Vec<_> = picks.iter().filter(|(picked, ..)| *picked == lane).collect();
                for (number, (_, channel, before)) in of_lane.iter().enumerate() {
                    for patient in before[lane].keys().filter(|patient| *patient != channel) {
                        // How often this channel went while the other waited all the time and had no turn.
                        let since = of_lane[..number].iter().rev();
                        let in_vain = since
                            .take_while(|(_, picked, before)| picked != patient && before[lane].contains_key(patient));
                        let turns = in_vain.filter(|(_, picked, _)| picked == channel).count();
                        prop_assert!(turns == 0, "{channel} went {} times before {patient}", turns + 1);
                    }
                }
            }
        }
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
