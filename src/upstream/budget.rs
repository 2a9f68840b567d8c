//! How many retries an upstream is to bear: a share of all first attempts, and a few more where there are few.
//!
//! A system in trouble must not get twice the load because everybody tries again. Credit comes in with first attempts and
//! with time, goes out with retries, and what is not used fades within about ten seconds, so that an hour of calm does
//! not pay for a storm. Over any span of time there are at most `share` retries for each first attempt in it and in the
//! ten seconds before, and `floor` retries for each second of these.

use std::{
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Credit that is not used fades with this time constant.
const MEMORY: Duration = Duration::from_secs(10);

/// A state machine that is told the time and how many first attempts there were.
#[derive(Debug)]
pub(crate) struct RetryBudget {
    /// Retries for each first attempt.
    share: f64,
    /// Retries a second besides.
    floor: f64,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    at: Instant,
    firsts: u64,
    credit: f64,
}

impl RetryBudget {
    /// For an upstream whose first attempts are counted from 0. `share` is 0 and more, `floor` in retries a second.
    pub(crate) fn new(share: f64, floor: f64, now: Instant) -> Self {
        let state = State {
            at: now,
            firsts: 0,
            credit: floor * MEMORY.as_secs_f64(),
        };
        Self {
            share,
            floor,
            state: Mutex::new(state),
        }
    }

    /// Takes one retry, if there is credit for it. `firsts`: first attempts so far.
    pub(crate) fn take(&self, firsts: u64, now: Instant) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let passed = now.saturating_duration_since(state.at).as_secs_f64();
        #[expect(clippy::cast_precision_loss, reason = "an estimate")]
        let added = firsts.saturating_sub(state.firsts) as f64;
        // First attempts are taken to have come evenly since the last retry: credit comes in at this rate and fades by
        // its own size, for as long as passed.
        let memory = MEMORY.as_secs_f64();
        let kept = (-passed / memory).exp();
        let earned = if passed > 1e-6 {
            (self.share * added / passed + self.floor) * memory * (1.0 - kept)
        } else {
            self.share * added
        };
        state.credit = state.credit * kept + earned;
        state.at = now.max(state.at);
        state.firsts = state.firsts.max(firsts);
        let is_enough = state.credit >= 1.0;
        if is_enough {
            state.credit -= 1.0;
        }
        is_enough
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn taken(budget: &RetryBudget, times: u32, firsts: u64, now: Instant) -> u32 {
        (0..times).map(|_| u32::from(budget.take(firsts, now))).sum()
    }

    #[test]
    fn the_floor_is_there_from_the_start_and_comes_back() {
        let now = Instant::now();
        let budget = RetryBudget::new(0.0, 2.0, now);
        assert_eq!(taken(&budget, 100, 0, now), 20);
        assert_eq!(taken(&budget, 100, 0, now + Duration::from_secs(1)), 1);
        assert_eq!(taken(&budget, 100, 0, now + Duration::from_mins(10)), 20);
    }

    #[test]
    fn first_attempts_bring_their_share() {
        let now = Instant::now();
        let budget = RetryBudget::new(0.2, 0.0, now);
        assert_eq!(taken(&budget, 100, 0, now), 0);
        assert_eq!(taken(&budget, 100, 50, now), 10);
        assert_eq!(taken(&budget, 100, 100, now + Duration::from_millis(10)), 9);
    }

    #[test]
    fn an_hour_of_calm_does_not_pay_for_a_storm() {
        let now = Instant::now();
        let budget = RetryBudget::new(0.2, 0.0, now);
        let later = now + Duration::from_hours(1);
        // A hundred a second: twenty retries a second, for ten seconds.
        let burst = taken(&budget, 10_000, 360_000, later);
        assert!((199..=200).contains(&burst), "{burst}");
    }

    #[test]
    fn a_clock_that_stands_still_or_goes_back_gives_nothing() {
        let now = Instant::now();
        let budget = RetryBudget::new(0.2, 1.0, now + Duration::from_secs(5));
        assert_eq!(taken(&budget, 100, 0, now + Duration::from_secs(5)), 10);
        assert_eq!(taken(&budget, 100, 0, now), 0);
    }

    proptest! {
        #[test]
        fn retries_stay_within_their_share_and_floor(
            share in 0.0..1.0_f64,
            floor in 0.0..20.0_f64,
            steps in prop::collection::vec((0..2_000_u64, 0..50_u32, 0..40_u32), 1..60),
        ) {
            let start = Instant::now();
            let budget = RetryBudget::new(share, floor, start);
            let (mut millis, mut firsts) = (0, 0);
            let mut history = Vec::new();
            for (wait, more, tries) in steps {
                millis += wait;
                firsts += u64::from(more);
                let retries = taken(&budget, tries, firsts, start + Duration::from_millis(millis));
                history.push((millis, more, retries));
            }
            for first in 0..history.len() {
                let (mut retries, mut attempts) = (0_u32, 0_u32);
                for (at, more, made) in &history[first..] {
                    retries += made;
                    attempts += more;
                    let span = Duration::from_millis(at - history[first].0).as_secs_f64();
                    // What came before the span may still be credit.
                    let before: u32 = history[..first].iter().map(|(_, more, _)| more).sum();
                    let most = share * f64::from(attempts + before) + floor * (span + MEMORY.as_secs_f64());
                    prop_assert!(f64::from(retries) <= most + 1e-6, "{retries} > {most}");
                }
            }
        }
    }
}
