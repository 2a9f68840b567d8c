//! What an upstream's vendor allows: deliveries are spread so that a rate is kept over any span of time (GCRA).

use std::time::Duration;

use jiff::Timestamp;

use super::after;
use crate::config::Rate;

/// One limit that a vendor sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Deliveries in a unit of time.
    pub rate: Rate,
    /// Deliveries that may come at once, at least 1. Over any time `t`, at most `burst + rate * t` start.
    pub burst: u32,
}

/// How much of the limits of one upstream is used. It outlives snapshots: a new one is no fresh allowance.
#[derive(Debug, Default)]
pub(super) struct Ceilings(Vec<Used>);

#[derive(Debug)]
struct Used {
    limit: Limit,
    /// When all that was started is paid for: each delivery moves it on by the limit's interval.
    paid: Timestamp,
}

impl Ceilings {
    /// Takes the limits in force. One that is new begins with a single delivery: a process that is started again and
    /// again must not begin with a whole burst each time.
    pub(super) fn set(&mut self, limits: &[Limit], members: u32, now: Timestamp) {
        if self.0.len() == limits.len() && self.0.iter().zip(limits).all(|(used, limit)| used.limit == *limit) {
            return;
        }
        let former = std::mem::take(&mut self.0);
        self.0 = limits
            .iter()
            .map(|limit| {
                // A limit that changed goes on from where it stood.
                let known = former.iter().find(|used| used.limit.rate.per == limit.rate.per);
                let share = Share::of(limit, members);
                let spent = after(now, share.interval.saturating_mul(share.burst - 1));
                Used {
                    limit: *limit,
                    paid: known.map_or(spent, |used| used.paid),
                }
            })
            .collect();
    }

    /// How many deliveries may start now, where `members` gateways share the limits.
    pub(super) fn allowed(&self, members: u32, now: Timestamp) -> usize {
        let allowed = self.0.iter().map(|used| {
            let share = Share::of(&used.limit, members);
            let room = share.length().saturating_sub(used.debt(share, now));
            usize::try_from(room.as_nanos() / share.interval.as_nanos()).unwrap_or(usize::MAX)
        });
        allowed.min().unwrap_or(usize::MAX)
    }

    /// When at least one may start.
    pub(super) fn next(&self, members: u32, now: Timestamp) -> Timestamp {
        let next = self.0.iter().map(|used| {
            let share = Share::of(&used.limit, members);
            let most = share.length().saturating_sub(share.interval);
            after(now, used.debt(share, now).saturating_sub(most))
        });
        next.max().unwrap_or(now)
    }

    /// One delivery starts.
    pub(super) fn take(&mut self, members: u32, now: Timestamp) {
        for used in &mut self.0 {
            let share = Share::of(&used.limit, members);
            used.paid = after(now, used.debt(share, now) + share.interval);
        }
    }
}

impl Used {
    /// How long until all is paid for. Never more than a whole burst, so that a clock that was set back does not stop
    /// deliveries.
    fn debt(&self, share: Share, now: Timestamp) -> Duration {
        let debt = Duration::try_from(self.paid.duration_since(now)).unwrap_or_default();
        debt.min(share.length())
    }
}

/// What one of several gateways may use of a limit.
#[derive(Clone, Copy)]
struct Share {
    /// From one delivery to the next; not zero.
    interval: Duration,
    burst: u32,
}

impl Share {
    fn of(limit: &Limit, members: u32) -> Self {
        let members = members.max(1);
        let interval = limit.rate.per.saturating_mul(members) / limit.rate.count.get();
        Self {
            // Rounded up: a limit is not passed by what a division loses.
            interval: interval + Duration::from_nanos(1),
            burst: (limit.burst / members).max(1),
        }
    }

    fn length(self) -> Duration {
        self.interval.saturating_mul(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn limit(rate: &str, burst: u32) -> Limit {
        Limit {
            rate: rate.parse().unwrap(),
            burst,
        }
    }

    fn at(millis: u64) -> Timestamp {
        after(Timestamp::UNIX_EPOCH, Duration::from_millis(millis))
    }

    fn ceilings(limits: &[Limit]) -> Ceilings {
        let mut ceilings = Ceilings::default();
        ceilings.set(limits, 1, at(0));
        ceilings
    }

    /// Starts all that may start at each of these times, and says when each was started.
    fn starts(ceilings: &mut Ceilings, members: u32, times: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut started = Vec::new();
        for time in times {
            for _ in 0..ceilings.allowed(members, at(time)) {
                ceilings.take(members, at(time));
                started.push(time);
            }
        }
        started
    }

    #[test]
    fn without_limits_there_is_none() {
        let ceilings = ceilings(&[]);
        assert_eq!(
            (ceilings.allowed(1, at(0)), ceilings.next(1, at(0))),
            (usize::MAX, at(0))
        );
    }

    #[test]
    fn a_rate_without_a_burst_is_even() {
        let mut ceilings = ceilings(&[limit("10/s", 1)]);
        let started = starts(&mut ceilings, 1, 0..1_000);
        assert_eq!(started.len(), 10, "{started:?}");
        assert!(started.windows(2).all(|pair| pair[1] - pair[0] >= 100), "{started:?}");
    }

    #[test]
    fn a_burst_is_there_after_a_rest_and_not_at_the_start() {
        let mut ceilings = ceilings(&[limit("10/s", 5)]);
        assert_eq!(ceilings.allowed(1, at(0)), 1);
        assert_eq!(ceilings.allowed(1, at(60_000)), 5);
        starts(&mut ceilings, 1, [60_000]);
        assert_eq!(ceilings.allowed(1, at(60_000)), 0);
        let next = ceilings.next(1, at(60_000));
        assert_eq!(ceilings.allowed(1, next), 1);
        assert!(next > at(60_099) && next < at(60_102), "{next}");
    }

    #[test]
    fn the_tightest_of_several_limits_counts() {
        let mut ceilings = ceilings(&[limit("10/s", 10), limit("60/h", 3)]);
        assert_eq!(starts(&mut ceilings, 1, [3_600_000]).len(), 3);
        assert!(ceilings.next(1, at(3_600_000)) > at(3_659_000));
    }

    #[test]
    fn gateways_share_a_limit() {
        let mut one = ceilings(&[limit("10/s", 4)]);
        let started = starts(&mut one, 4, 0..4_000);
        assert!((9..=10).contains(&started.len()), "{started:?}");
    }

    #[test]
    fn a_changed_limit_is_no_fresh_allowance() {
        let mut ceilings = ceilings(&[limit("1/m", 1)]);
        starts(&mut ceilings, 1, [0]);
        ceilings.set(&[limit("2/m", 1)], 1, at(1_000));
        assert_eq!(ceilings.allowed(1, at(1_000)), 0);
        assert!(ceilings.next(1, at(1_000)) <= at(32_000));
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_stop_deliveries() {
        let mut ceilings = ceilings(&[limit("10/s", 1)]);
        starts(&mut ceilings, 1, [1_000_000]);
        assert!(ceilings.next(1, at(0)) <= at(101));
    }

    proptest! {
        /// Over any span of time, however calls fall and however many gateways come and go, no more than the burst and
        /// what the rate brings.
        #[test]
        fn no_span_sees_more_than_its_limit(
            count in 1..50_u32,
            per in prop::sample::select(vec!["s", "m"]),
            burst in 1..20_u32,
            waits in prop::collection::vec((0..3_000_u64, 1..4_u32), 1..60),
        ) {
            let limit = limit(&format!("{count}/{per}"), burst);
            let mut ceilings = ceilings(&[limit]);
            let (mut time, mut started) = (0, Vec::new());
            for (wait, members) in waits {
                time += wait;
                started.extend(starts(&mut ceilings, members, [time]));
            }
            for (first, from) in started.iter().enumerate() {
                for (last, to) in started.iter().enumerate().skip(first) {
                    let span = Duration::from_millis(to - from).as_secs_f64();
                    let most = f64::from(burst) + span * f64::from(count) / limit.rate.per.as_secs_f64();
                    let many = u32::try_from(last - first + 1).unwrap();
                    prop_assert!(f64::from(many) <= most + 1e-6, "{many} in {span} s");
                }
            }
        }

        /// What is told as the next time is the first at which one may start.
        #[test]
        fn the_next_time_is_right(count in 1..50_u32, burst in 1..20_u32, times in prop::collection::vec(0..500_u64, 1..30)) {
            let mut ceilings = ceilings(&[limit(&format!("{count}/s"), burst)]);
            let mut time = 0;
            for wait in times {
                time += wait;
                starts(&mut ceilings, 1, [time]);
                let next = ceilings.next(1, at(time));
                prop_assert!(ceilings.allowed(1, next) >= 1);
                let before = next.saturating_sub(Duration::from_micros(1)).unwrap();
                prop_assert!(before < at(time) || ceilings.allowed(1, before) == 0);
            }
        }
    }
}
