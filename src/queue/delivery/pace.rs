//! How many attempts an upstream gets at the same time: one to try it, then more with each that succeeds.

use jiff::Timestamp;

use super::Signal;

/// The pace of one upstream.
#[derive(Debug)]
pub(super) struct Pace {
    pub(super) in_flight: usize,
    /// Nothing is sent before.
    pub(super) paused_until: Timestamp,
    /// Closed doors in a row.
    pub(super) failures: u32,
    limit: usize,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            in_flight: 0,
            paused_until: Timestamp::MIN,
            failures: 0,
            limit: 1,
        }
    }
}

impl Pace {
    /// How many more may start.
    pub(super) fn room(&self, concurrency: usize) -> usize {
        self.limit.min(concurrency.max(1)).saturating_sub(self.in_flight)
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
                self.limit = self.limit.saturating_add(1);
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
    use super::*;

    #[test]
    fn the_first_attempt_is_a_probe() {
        assert_eq!(Pace::default().room(16), 1);
    }

    #[test]
    fn each_round_of_answers_doubles_the_pace_up_to_the_bound() {
        let mut pace = Pace::default();
        for expected in [1, 2, 4, 8, 10, 10] {
            let room = pace.room(10);
            assert_eq!(room, expected);
            pace.in_flight += room;
            (0..room).for_each(|_| pace.note(Signal::Answered));
        }
    }

    #[test]
    fn a_pause_leads_back_to_a_probe() {
        let mut pace = Pace {
            limit: 8,
            in_flight: 3,
            ..Pace::default()
        };
        let until = Timestamp::UNIX_EPOCH;
        pace.note(Signal::Pause { until });
        assert_eq!((pace.room(16), pace.failures, pace.paused_until), (0, 1, until));
        pace.note(Signal::Pause { until: Timestamp::MIN });
        pace.note(Signal::None);
        assert_eq!((pace.room(16), pace.failures, pace.paused_until), (1, 2, until));
        pace.in_flight += 1;
        pace.note(Signal::Answered);
        assert_eq!((pace.room(16), pace.failures), (2, 0));
    }

    #[test]
    fn trouble_halves_the_pace() {
        let mut pace = Pace {
            limit: 8,
            in_flight: 1,
            ..Pace::default()
        };
        pace.note(Signal::Trouble);
        assert_eq!(pace.room(16), 4);
    }
}
