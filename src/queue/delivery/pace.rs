//! How many attempts an upstream gets at the same time: one to try it, then more with each that succeeds.

use jiff::Timestamp;

use super::{Signal, ceiling::Ceilings};

/// The pace of one upstream.
#[derive(Debug)]
pub(super) struct Pace {
    pub(super) in_flight: usize,
    /// Nothing is sent before.
    pub(super) paused_until: Timestamp,
    /// Closed doors in a row.
    pub(super) failures: u32,
    /// What its vendor allows.
    pub(super) ceilings: Ceilings,
    /// Whether it is the vendor's limit that messages wait for.
    pub(super) is_at_ceiling: bool,
    limit: usize,
    /// The limit grows to this.
    concurrency: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            in_flight: 0,
            paused_until: Timestamp::MIN,
            failures: 0,
            ceilings: Ceilings::default(),
            is_at_ceiling: false,
            limit: 1,
            concurrency: 1,
        }
    }
}

impl Pace {
    /// How many may be under way at most, whatever its answers.
    pub(super) fn bound(&mut self, concurrency: usize) {
        self.concurrency = concurrency.max(1);
        self.limit = self.limit.min(self.concurrency);
    }

    /// How many may be under way now.
    pub(super) fn limit(&self) -> usize {
        self.limit
    }

    /// How many more may start.
    pub(super) fn room(&self) -> usize {
        self.limit.saturating_sub(self.in_flight)
    }

    /// The upstream may not be called: when it may again, one probe goes first.
    pub(super) fn close(&mut self) {
        self.limit = 1;
    }

    /// An attempt ended.
    pub(super) fn note(&mut self, signal: Signal) {
        self.in_flight = self.in_flight.saturating_sub(1);
        match signal {
            // One more for each answer doubles the pace with each round of answers.
            Signal::Answered => {
                self.failures = 0;
                // No further than the bound, so that trouble is felt at once.
                self.limit = (self.limit + 1).min(self.concurrency);
            }
            Signal::Spent { until } => {
                self.failures = 0;
                self.paused_until = self.paused_until.max(until);
            }
            Signal::Trouble => self.limit = (self.limit / 2).max(1),
            Signal::Pause { until } => {
                self.failures = self.failures.saturating_add(1);
                self.limit = 1;
                self.paused_until = self.paused_until.max(until);
            }
            Signal::None => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pace(limit: usize, in_flight: usize) -> Pace {
        Pace {
            limit,
            in_flight,
            concurrency: 16,
            ..Pace::default()
        }
    }

    #[test]
    fn the_first_attempt_is_a_probe() {
        assert_eq!(Pace::default().room(), 1);
    }

    #[test]
    fn each_round_of_answers_doubles_the_pace_up_to_the_bound() {
        let mut pace = Pace::default();
        pace.bound(10);
        for expected in [1, 2, 4, 8, 10, 10] {
            let room = pace.room();
            assert_eq!(room, expected);
            pace.in_flight += room;
            (0..room).for_each(|_| pace.note(Signal::Answered));
        }
    }

    #[test]
    fn a_pause_leads_back_to_a_probe() {
        let mut pace = pace(8, 3);
        let until = Timestamp::UNIX_EPOCH;
        pace.note(Signal::Pause { until });
        assert_eq!((pace.room(), pace.failures, pace.paused_until), (0, 1, until));
        pace.note(Signal::Pause { until: Timestamp::MIN });
        pace.note(Signal::None);
        assert_eq!((pace.room(), pace.failures, pace.paused_until), (1, 2, until));
        pace.in_flight += 1;
        pace.note(Signal::Answered);
        assert_eq!((pace.room(), pace.failures), (2, 0));
    }

    #[test]
    fn trouble_halves_the_pace_however_long_all_was_well() {
        let mut pace = pace(8, 1);
        pace.note(Signal::Trouble);
        assert_eq!(pace.room(), 4);
        pace.in_flight = 1_000;
        (0..1_000).for_each(|_| pace.note(Signal::Answered));
        pace.in_flight = 1;
        pace.note(Signal::Trouble);
        assert_eq!(pace.room(), 8);
    }

    #[test]
    fn a_spent_allowance_is_no_failure() {
        let mut pace = pace(8, 1);
        let until = Timestamp::UNIX_EPOCH;
        pace.note(Signal::Spent { until });
        assert_eq!((pace.room(), pace.failures, pace.paused_until), (8, 0, until));
    }

    proptest! {
        #[test]
        fn the_bound_holds_and_something_may_always_start(
            concurrency in 0..40_usize,
            signals in prop::collection::vec(0..5_u8, 0..200),
        ) {
            let mut pace = Pace::default();
            pace.bound(concurrency);
            for signal in signals {
                pace.in_flight += pace.room();
                prop_assert!(pace.in_flight <= concurrency.max(1));
                let until = Timestamp::UNIX_EPOCH;
                pace.note(match signal {
                    0 => Signal::Answered,
                    1 => Signal::Trouble,
                    2 => Signal::Pause { until },
                    3 => Signal::Spent { until },
                    _ => Signal::None,
                });
                while pace.in_flight > 0 {
                    pace.note(Signal::None);
                }
                prop_assert!(pace.room() >= 1);
            }
        }
    }
}
