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
    samples: Mutex<VecDeque<(Instant, Counts)>>,
}

/// Requests and their bytes so far, by API.
type Counts = BTreeMap<String, (u64, u64)>;

/// Those of one API.
#[derive(Default)]
pub struct Arriving {
    requests: AtomicU64,
    /// What they would take in the store.
    bytes: AtomicU64,
    /// How many of its messages may wait; zero where that is not bounded.
    bound: AtomicU64,
}

impl Arriving {
    /// One more, with so many bytes of its own to store.
    pub fn count(&self, bytes: u64) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.bytes.fetch_add(footprint(bytes), Ordering::Relaxed);
    }
}

/// How long an outage of everything would still fit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Outlook {
    /// Requests that could be queued, at present, at all gateways.
    pub per_second: f64,
    /// What one takes in the store, by those of the last minute; a guess where there were none.
    pub bytes_each: u64,
    /// How long, and what ends it. `None` where nothing comes in or nothing is bounded.
    pub fits: Option<(Duration, String)>,
}

/// The present rate is that of this time.
const WINDOW: Duration = Duration::from_mins(1);
/// What a message is taken to need where none is there to tell.
const USUAL_BYTES: u64 = 4_096;
/// Bytes of a page of the store, and what of it rows can have.
const PAGE: u64 = 4_096;
const USABLE: u64 = 4_000;
/// What a request's row takes besides what is counted.
const ROW: u64 = 150;
/// Its other rows: of the message, its order key and attempts, and their indexes.
const OTHER_ROWS: u64 = 600;

/// What a message of so many bytes takes in the store, with what pages leave empty.
fn footprint(bytes: u64) -> u64 {
    let row = bytes + ROW;
    let pages = match USABLE / row {
        0 => row.div_ceil(PAGE) * PAGE,
        rows => PAGE / rows,
    };
    pages + OTHER_ROWS
}

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
        let counts = apis.iter().map(|(api, arriving)| {
            let counts = [&arriving.requests, &arriving.bytes].map(|counter| counter.load(Ordering::Relaxed));
            (api.clone(), counts.into())
        });
        let counts = counts.collect();
        drop(apis);
        let mut samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        samples.push_back((now, counts));
        while samples.len() > 2 && samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
            samples.pop_front();
        }
    }

    /// What the present rate means, where `members` gateways share the store and get as many requests each.
    pub fn outlook(&self, stats: &QueueStats, room: &Room, members: u32) -> Outlook {
        let (rates, bytes_each) = self.rates(members);
        let per_second: f64 = rates.values().sum();
        // Not by what is there: most of that may be short answers that are remembered.
        let bytes_each = bytes_each.unwrap_or(USUAL_BYTES).max(1);
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

    /// Requests a second by API, and what one of them takes.
    #[expect(clippy::cast_precision_loss, reason = "an estimate")]
    fn rates(&self, members: u32) -> (BTreeMap<String, f64>, Option<u64>) {
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some((first_at, first)), Some((last_at, last))) = (samples.front(), samples.back()) else {
            return Default::default();
        };
        let seconds = last_at.duration_since(*first_at).as_secs_f64();
        if seconds <= 0.0 {
            return Default::default();
        }
        let (mut rates, mut requests, mut bytes) = (BTreeMap::new(), 0, 0);
        for (api, (count, size)) in last {
            let (count_before, size_before) = first.get(api).copied().unwrap_or_default();
            let added = count.saturating_sub(count_before);
            requests += added;
            bytes += size.saturating_sub(size_before);
            rates.insert(api.clone(), added as f64 * f64::from(members.max(1)) / seconds);
        }
        (rates, bytes.checked_div(requests))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes of a message.
    const SIZE: u64 = 1_000;

    #[test]
    fn the_tighter_bound_ends_an_outage() {
        let arrivals = Arrivals::default();
        let (orders, stock) = (arrivals.of("orders", Some(600)), arrivals.of("stock", None));
        let start = Instant::now();
        arrivals.sample(start);
        (0..60).for_each(|_| orders.count(SIZE));
        (0..120).for_each(|_| stock.count(SIZE));
        arrivals.sample(start + Duration::from_mins(1));

        let room = |quota| Room {
            admitted: 0,
            used: 0,
            quota,
        };
        let outlook = arrivals.outlook(&QueueStats::default(), &room(3 * footprint(SIZE) * 100), 1);
        assert!((outlook.per_second - 3.0).abs() < 1e-9);
        assert_eq!(
            outlook.fits,
            Some((Duration::from_secs(100), "queue.maxBytes".to_owned()))
        );
        let outlook = arrivals.outlook(&QueueStats::default(), &room(1 << 40), 1);
        assert_eq!(
            outlook.fits,
            Some((Duration::from_mins(10), "waiting.api of orders".to_owned()))
        );
        // Two gateways fill it twice as fast.
        let outlook = arrivals.outlook(&QueueStats::default(), &room(3 * footprint(SIZE) * 100), 2);
        assert_eq!(outlook.fits.unwrap().0, Duration::from_secs(50));
    }

    /// What is foretold for a store that is half empty, and what then happens.
    #[tokio::test]
    async fn what_is_foretold_is_what_fits() {
        use crate::queue::{
            LogError, MessageLog as _, NewMessage, SqliteLog,
            conformance::{Short as _, at, message},
        };

        for (size, quota) in [(300, 4 << 20), (2_000, 8 << 20), (40_000, 32 << 20)] {
            let folder = tempfile::tempdir().unwrap();
            let log = SqliteLog::open(folder.path(), quota).unwrap();
            let arrivals = Arrivals::default();
            let (orders, start) = (arrivals.of("orders", None), Instant::now());
            arrivals.sample(start);
            (0..600).for_each(|_| orders.count(size));
            arrivals.sample(start + Duration::from_mins(1));
            let stats = log.stats(at(0)).await.unwrap();
            let outlook = arrivals.outlook(&stats, &log.room().await.unwrap(), 1);
            let foretold = outlook.fits.unwrap().0.as_secs_f64() * 10.0;

            let mut stored = 0_u32;
            loop {
                let mut scope = [0; 32];
                scope[..4].copy_from_slice(&stored.to_be_bytes());
                let plain = message(0, &stored.to_string());
                let mut request = plain.request.clone();
                request.body = vec![b'x'; usize::try_from(size).unwrap()].into();
                let id = format!("n{stored}");
                match log
                    .put(
                        NewMessage {
                            id,
                            scope,
                            request,
                            ..plain
                        },
                        at(0),
                    )
                    .await
                {
                    Ok(_) => stored += 1,
                    Err(LogError::Full) => break,
                    Err(error) => panic!("{error}"),
                }
            }
            let share = foretold / f64::from(stored);
            assert!(
                (0.7..1.2).contains(&share),
                "{size} bytes each: foretold {foretold}, stored {stored}"
            );
        }
    }

    #[test]
    fn where_nothing_comes_in_nothing_is_foretold() {
        let arrivals = Arrivals::default();
        arrivals.of("orders", Some(1));
        arrivals.sample(Instant::now());
        assert_eq!(arrivals.outlook(&QueueStats::default(), &Room::default(), 1).fits, None);
    }
}
