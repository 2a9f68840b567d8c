//! How many of the latest requests failed.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::config::RollbackSpec;

/// Parts of the time that is looked back on; the oldest is forgotten as a whole.
const SLOTS: u32 = 10;

/// Counts of the latest time, in slots.
#[derive(Debug, Default)]
pub(super) struct Window(VecDeque<Slot>);

#[derive(Debug)]
struct Slot {
    since: Instant,
    requests: u64,
    failures: u64,
}

impl Window {
    /// Notes a request, and tells whether there are too many failures now: how many, of how many.
    pub(super) fn note(&mut self, now: Instant, has_failed: bool, bounds: &RollbackSpec) -> Option<(u64, u64)> {
        let over = bounds.over.0;
        while self
            .0
            .front()
            .is_some_and(|slot| now.duration_since(slot.since) >= over)
        {
            self.0.pop_front();
        }
        let width = (over / SLOTS).max(Duration::from_millis(1));
        if self.0.back().is_none_or(|slot| now.duration_since(slot.since) >= width) {
            self.0.push_back(Slot {
                since: now,
                requests: 0,
                failures: 0,
            });
        }
        if let Some(slot) = self.0.back_mut() {
            slot.requests += 1;
            slot.failures += u64::from(has_failed);
        }
        let requests = self.0.iter().map(|slot| slot.requests).sum();
        let failures = self.0.iter().map(|slot| slot.failures).sum();
        is_exceeded(failures, requests, bounds).then_some((failures, requests))
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of minutes are far below 2^52")]
fn is_exceeded(failures: u64, requests: u64, bounds: &RollbackSpec) -> bool {
    requests >= u64::from(bounds.least.get()) && failures as f64 > bounds.failures.0 * requests as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Percent, Time};

    fn bounds() -> RollbackSpec {
        RollbackSpec {
            failures: Percent(0.1),
            over: Time(Duration::from_secs(10)),
            least: 20.try_into().unwrap(),
        }
    }

    #[test]
    fn nothing_is_concluded_from_a_few_requests() {
        let (mut window, now) = (Window::default(), Instant::now());
        for _ in 0..19 {
            assert_eq!(window.note(now, true, &bounds()), None);
        }
        assert_eq!(window.note(now, true, &bounds()), Some((20, 20)));
    }

    #[test]
    fn the_bound_itself_is_still_good() {
        assert!(!is_exceeded(2, 20, &bounds()));
        assert!(is_exceeded(3, 20, &bounds()));
    }

    #[test]
    fn what_is_long_ago_does_not_count() {
        let (mut window, start) = (Window::default(), Instant::now());
        for _ in 0..19 {
            window.note(start, true, &bounds());
        }
        let later = start + Duration::from_secs(11);
        for _ in 0..30 {
            assert_eq!(window.note(later, false, &bounds()), None);
        }
    }
}
