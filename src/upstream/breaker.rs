//! Leaves a failing endpoint alone for a while: a state machine that is told the time.

use std::{
    num::NonZeroU32,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

/// Opens after so many failures in a row; then one request at a time may try again.
#[derive(Debug)]
pub struct Breaker {
    failures: NonZeroU32,
    open_for: Duration,
    state: Mutex<State>,
    /// Closed, and nothing has failed since the last success: all that most requests need to know, without the lock.
    is_calm: AtomicBool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
    },
    Open {
        until: Instant,
    },
    /// A probe is under way; if nobody reports how it went, another may start at `until`.
    Probing {
        until: Instant,
    },
}

/// What a breaker shows to metrics and operators.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests pass.
    Closed,
    /// One request is trying.
    HalfOpen,
    /// Nothing passes.
    Open,
}

impl Breaker {
    /// Opens after `failures` in a row, for `open_for`.
    pub fn new(failures: NonZeroU32, open_for: Duration) -> Self {
        Self {
            failures,
            open_for,
            state: Mutex::new(State::Closed { failures: 0 }),
            is_calm: AtomicBool::new(true),
        }
    }

    /// Lets a request pass, or says how long to wait. Who is let in reports `succeeded` or `failed`.
    pub fn admit(&self, now: Instant) -> Result<(), Duration> {
        if self.is_calm() {
            return Ok(());
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match *state {
            State::Closed { .. } => Ok(()),
            State::Open { until } | State::Probing { until } if now < until => Err(until - now),
            State::Open { .. } | State::Probing { .. } => {
                *state = State::Probing {
                    until: now + self.open_for,
                };
                Ok(())
            }
        }
    }

    /// Whether `admit` would let a request pass; changes nothing.
    pub fn would_admit(&self, now: Instant) -> bool {
        match *self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Closed { .. } => true,
            State::Open { until } | State::Probing { until } => now >= until,
        }
    }

    /// The endpoint answered.
    pub fn succeeded(&self) {
        if self.is_calm() {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State::Closed { failures: 0 };
        // Changed under the lock, so that it never contradicts the state.
        self.is_calm.store(true, Ordering::Relaxed);
    }

    /// The endpoint did not answer, or answered that it cannot.
    pub fn failed(&self, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.is_calm.store(false, Ordering::Relaxed);
        *state = match *state {
            State::Closed { failures } if failures + 1 < self.failures.get() => {
                State::Closed { failures: failures + 1 }
            }
            // A straggler of before the opening does not prolong it.
            State::Open { until } if now < until => State::Open { until },
            State::Closed { .. } | State::Open { .. } | State::Probing { .. } => State::Open {
                until: now + self.open_for,
            },
        };
    }

    /// What it shows.
    pub fn state(&self) -> BreakerState {
        if self.is_calm() {
            return BreakerState::Closed;
        }
        match *self.state.lock().unwrap_or_else(PoisonError::into_inner) {
            State::Closed { .. } => BreakerState::Closed,
            State::Open { .. } => BreakerState::Open,
            State::Probing { .. } => BreakerState::HalfOpen,
        }
    }

    fn is_calm(&self) -> bool {
        self.is_calm.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPEN_FOR: Duration = Duration::from_secs(2);

    fn opened(now: Instant) -> Breaker {
        let breaker = Breaker::new(NonZeroU32::new(3).unwrap(), OPEN_FOR);
        for _ in 0..3 {
            breaker.failed(now);
        }
        breaker
    }

    #[test]
    fn it_opens_after_the_last_of_the_failures_in_a_row() {
        let (now, breaker) = (Instant::now(), Breaker::new(NonZeroU32::new(3).unwrap(), OPEN_FOR));
        breaker.failed(now);
        breaker.failed(now);
        breaker.succeeded();
        breaker.failed(now);
        breaker.failed(now);
        assert_eq!(breaker.admit(now), Ok(()));
        breaker.failed(now);
        assert_eq!(breaker.admit(now), Err(OPEN_FOR));
    }

    #[test]
    fn one_probe_passes_when_the_time_is_up() {
        let now = Instant::now();
        let breaker = opened(now);
        assert_eq!(breaker.admit(now + OPEN_FOR), Ok(()));
        assert_eq!(breaker.state(), BreakerState::HalfOpen);
        assert_eq!(breaker.admit(now + OPEN_FOR), Err(OPEN_FOR));
    }

    #[test]
    fn the_probe_decides() {
        let now = Instant::now();
        let breaker = opened(now);
        breaker.admit(now + OPEN_FOR).unwrap();
        breaker.failed(now + OPEN_FOR);
        assert_eq!(breaker.state(), BreakerState::Open);
        breaker.admit(now + 2 * OPEN_FOR).unwrap();
        breaker.succeeded();
        assert_eq!(breaker.state(), BreakerState::Closed);
    }

    #[test]
    fn a_probe_that_never_reports_does_not_close_the_door_for_ever() {
        let now = Instant::now();
        let breaker = opened(now);
        breaker.admit(now + OPEN_FOR).unwrap();
        assert_eq!(breaker.admit(now + 2 * OPEN_FOR), Ok(()));
    }

    #[test]
    fn a_late_failure_does_not_prolong_the_opening() {
        let now = Instant::now();
        let breaker = opened(now);
        breaker.failed(now + OPEN_FOR / 2);
        assert!(breaker.would_admit(now + OPEN_FOR));
    }
}
