//! How the queue stands, in numbers.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use super::{Lane, MessageState};

/// What messages are counted by.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Group {
    pub upstream: String,
    pub api: String,
    pub channel: String,
    pub lane: Lane,
    pub state: MessageState,
    /// Whether they hold their order keys.
    pub holds: bool,
}

/// Counts for metrics and operators.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Groups with messages.
    pub groups: BTreeMap<Group, u64>,
    /// Age of the first message that waits, is under way or is in doubt.
    pub oldest: Option<Duration>,
}

impl QueueStats {
    /// Messages that meet a condition.
    pub fn count(&self, is_meant: impl Fn(&Group) -> bool) -> u64 {
        let meant = self.groups.iter().filter(|(group, _)| is_meant(group));
        meant.map(|(_, count)| count).sum()
    }

    /// Messages in a state.
    pub fn in_state(&self, state: MessageState) -> u64 {
        self.count(|group| group.state == state)
    }

    /// Messages that wait or are under way, and are not in doubt, in a lane.
    pub fn waiting(&self, lane: Lane) -> u64 {
        self.count(|group| group.lane == lane && matches!(group.state, MessageState::Queued | MessageState::Attempting))
    }
}

/// How much more fits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Room {
    /// Messages stored since the log was opened.
    pub admitted: u64,
    /// Bytes in use, and bytes that new messages may use in all; zero where there is no bound.
    pub used: u64,
    pub quota: u64,
}

/// Requests that could be queued, whether they are or not: what an outage would bring.
#[derive(Default)]
pub struct Arrivals {
    apis: Mutex<HashMap<String, Arc<Arriving>>>,
    samples: Mutex<VecDeque<(Instant, BTreeMap<String, u64>)>>,
}

/// Those of one API.
#[derive(Default)]
pub struct Arriving {
    requests: AtomicU64,
    /// How many of its messages may wait; zero where that is not bounded.
    bound: AtomicU64,
}

impl Arriving {
    /// One more.
    pub fn count(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
    }
}

/// How long an outage of everything would still fit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outlook {
    /// Requests that could be queued, at present.
    pub per_second: f64,
    /// What one takes in the store, as far as is known.
    pub bytes_each: u64,
    /// How long, and what ends it. `None` where nothing comes in or nothing is bounded.
    pub fits: Option<(Duration, String)>,
}

/// The present rate is that of this time.
const WINDOW: Duration = Duration::from_mins(1);
/// What a message is taken to need where none is there to tell.
const USUAL_BYTES: u64 = 4_096;

impl Arrivals {
    /// The counter of an API, and how many of its messages may wait.
    pub fn of(&self, api: &str, bound: Option<u64>) -> Arc<Arriving> {
        let mut apis = self.apis.lock().unwrap_or_else(PoisonError::into_inner);
        let arriving = apis.entry(api.to_owned()).or_default();
        arriving.bound.store(bound.unwrap_or(0), Ordering::Relaxed);
        Arc::clone(arriving)
    }

    /// Looks at the counters. To be called every few seconds.
    pub fn sample(&self, now: Instant) {
        let apis = self.apis.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = apis
            .iter()
            .map(|(api, arriving)| (api.clone(), arriving.requests.load(Ordering::Relaxed)));
        let counts = counts.collect();
        drop(apis);
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back((now, counts));
        while samples.len() > 2 && samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            samples.pop_front();
        }
    }

    /// What the present rate means.
    pub fn outlook(&self, stats: &QueueStats, room: &Room) -> Outlook {
        let rates = self.rates();
        let per_second: f64 = rates.values().sum();
        let messages = stats.count(|_| true);
        let bytes_each = if messages >= 100 {
            (room.used / messages).max(1)
        } else {
            USUAL_BYTES
        };
        let mut fits: Option<(Duration, String)> = None;
        let mut bound = |left: u64, rate: f64, what: &str| {
            if rate > 0.0 {
                #[expect(clippy::cast_precision_loss, reason = "an estimate")]
                let seconds = (left as f64 / rate).min(1e9);
                let length = Duration::from_secs_f64(seconds);
                if fits.as_ref().is_none_or(|(shortest, _)| length < *shortest) {
                    fits = Some((length, what.to_owned()));
                }
            }
        };
        if room.quota > 0 {
            bound(
                room.quota.saturating_sub(room.used) / bytes_each,
                per_second,
                "queue.maxBytes",
            );
        }
        let apis = self.apis.lock().unwrap_or_else(PoisonError::into_inner);
        for (api, arriving) in apis.iter() {
            let limit = arriving.bound.load(Ordering::Relaxed);
            if limit > 0 {
                let held = stats.count(|group| group.holds && group.api == *api);
                let rate = rates.get(api).copied().unwrap_or(0.0);
                bound(limit.saturating_sub(held), rate, &format!("waiting.api of {api}"));
            }
        }
        drop(apis);
        Outlook {
            per_second,
            bytes_each,
            fits,
        }
    }

    fn rates(&self) -> BTreeMap<String, f64> {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some((first_at, first)), Some((last_at, last))) = (samples.front(), samples.back()) else {
            return BTreeMap::new();
        };
        let seconds = last_at.duration_since(*first_at).as_secs_f64();
        if seconds <= 0.0 {
            return BTreeMap::new();
        }
        let rate = |(api, count): (&String, &u64)| {
            let before = first.get(api).copied().unwrap_or(0);
            #[expect(clippy::cast_precision_loss, reason = "an estimate")]
            let rate = count.saturating_sub(before) as f64 / seconds;
            (api.clone(), rate)
        };
        last.iter().map(rate).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tighter_bound_ends_an_outage() {
        let arrivals = Arrivals::default();
        let (orders, stock) = (arrivals.of("orders", Some(600)), arrivals.of("stock", None));
        let start = Instant::now();
        arrivals.sample(start);
        (0..60).for_each(|_| orders.count());
        (0..120).for_each(|_| stock.count());
        arrivals.sample(start + Duration::from_mins(1));

        let room = |quota| Room {
            admitted: 0,
            used: 0,
            quota,
        };
        let outlook = arrivals.outlook(&QueueStats::default(), &room(3 * 4_096 * 100));
        assert!((outlook.per_second - 3.0).abs() < 1e-9);
        assert_eq!(
            outlook.fits,
            Some((Duration::from_secs(100), "queue.maxBytes".to_owned()))
        );
        let outlook = arrivals.outlook(&QueueStats::default(), &room(1 << 40));
        assert_eq!(
            outlook.fits,
            Some((Duration::from_mins(10), "waiting.api of orders".to_owned()))
        );
    }

    #[test]
    fn where_nothing_comes_in_nothing_is_foretold() {
        let arrivals = Arrivals::default();
        arrivals.of("orders", Some(1));
        arrivals.sample(Instant::now());
        assert_eq!(arrivals.outlook(&QueueStats::default(), &Room::default()).fits, None);
    }
}
