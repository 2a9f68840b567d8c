//! How long to wait before trying again: doubling, bounded, with full jitter.

use std::time::Duration;

/// The first wait is up to `base`, each further one up to twice the one before, none above `cap`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Backoff {
    pub(crate) base: Duration,
    pub(crate) cap: Duration,
}

impl Backoff {
    /// After an attempt that counted.
    pub(crate) const MESSAGE: Self = Self {
        base: Duration::from_millis(200),
        cap: Duration::from_secs(30),
    };
    /// While an upstream cannot be reached: short, so that its return is noticed quickly.
    pub(crate) const CLOSED_DOOR: Self = Self {
        base: Duration::from_millis(200),
        cap: Duration::from_secs(2),
    };

    /// For a message that cannot be sent as things are, whatever its upstream.
    pub(crate) const UNSENDABLE: Self = Self {
        base: Duration::from_secs(5),
        cap: Duration::from_secs(5),
    };

    /// The wait after `failures` failures in a row (from 1), for a random number from 0 up to 1.
    pub(crate) fn wait(self, failures: u32, random: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let longest = self.base.saturating_mul(1 << doublings).min(self.cap);
        longest.mul_f64(random.clamp(0.0, 1.0))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_longest_wait_doubles_up_to_the_cap() {
        let longest = |failures| Backoff::MESSAGE.wait(failures, 1.0).as_millis();
        assert_eq!(
            [1, 2, 3, 8, 9, 4_000_000_000].map(longest),
            [200, 400, 800, 25_600, 30_000, 30_000]
        );
        assert_eq!(Backoff::CLOSED_DOOR.wait(40, 1.0), Duration::from_secs(2));
    }

    #[test]
    fn jitter_reaches_from_nothing_to_the_longest() {
        assert_eq!(Backoff::MESSAGE.wait(3, 0.0), Duration::ZERO);
        assert_eq!(Backoff::MESSAGE.wait(3, 0.5), Duration::from_millis(400));
    }

    fn any() -> impl Strategy<Value = Backoff> {
        (1..100_000_u64, 1..10_000_000_u64).prop_map(|(base, cap)| Backoff {
            base: Duration::from_millis(base),
            cap: Duration::from_millis(cap),
        })
    }

    proptest! {
        #[test]
        fn the_longest_wait_never_shrinks_nor_passes_the_cap(backoff in any(), failures: u32, more in 0..5_u32) {
            let (longest, later) = (backoff.wait(failures, 1.0), backoff.wait(failures.saturating_add(more), 1.0));
            prop_assert!(longest <= later && later <= backoff.cap);
            prop_assert!(longest <= backoff.base.saturating_mul(1 << failures.saturating_sub(1).min(31)));
        }

        #[test]
        fn jitter_is_full_and_in_bounds(backoff in any(), failures: u32, random in 0.0..=1.0_f64) {
            let (wait, longest) = (backoff.wait(failures, random), backoff.wait(failures, 1.0));
            prop_assert!(wait <= longest);
            let expected = longest.as_secs_f64() * random;
            prop_assert!((wait.as_secs_f64() - expected).abs() < 1e-6, "{wait:?} for {expected} s");
        }

        #[test]
        fn jitter_out_of_bounds_is_brought_back(backoff in any(), failures: u32, random: f64) {
            prop_assert!(random.is_nan() || backoff.wait(failures, random) <= backoff.cap);
        }
    }
}
