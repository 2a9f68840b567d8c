//! Durable enqueueing: callers that wait for each commit, and the bare loop beside them.

use std::{
    fmt,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use crossdock::queue::{Admitted, HeadOfLine, Lane, MessageLog, NewMessage, OrderKey, StoredRequest};
use jiff::Timestamp;
use rusqlite::{Connection, params};

/// Bytes of a body.
const BODY: usize = 2048;

/// What one round measured.
pub(crate) struct Figures {
    pub(crate) per_second: f64,
    /// Milliseconds from asking to the commit.
    p50: f64,
    p99: f64,
}

impl Figures {
    fn new(mut waits: Vec<Duration>, messages: usize, time: Duration) -> Self {
        waits.sort_unstable();
        let at = |share: f64| {
            let place = (waits.len() as f64 * share) as usize;
            waits[place.min(waits.len() - 1)].as_secs_f64() * 1e3
        };
        Self {
            per_second: messages as f64 / time.as_secs_f64(),
            p50: at(0.5),
            p99: at(0.99),
        }
    }

    pub(crate) fn median(rounds: &[Self]) -> Self {
        let of = |figure: fn(&Self) -> f64| median(rounds.iter().map(figure).collect());
        Self {
            per_second: of(|round| round.per_second),
            p50: of(|round| round.p50),
            p99: of(|round| round.p99),
        }
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{:.0} | {:.1}, {:.1}", self.per_second, self.p50, self.p99)
    }
}

pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Half of each body compresses.
fn bodies() -> Vec<Bytes> {
    let mut random = fastrand::Rng::with_seed(1);
    let body = || {
        let noise = (0..BODY).map(|at| if at % 2 == 0 { b'x' } else { random.alphanumeric() as u8 });
        noise.collect::<Bytes>()
    };
    std::iter::repeat_with(body).take(64).collect()
}

/// The least that keeps a promise: is its scope known, note the scope, keep the body; so many in each commit.
pub(crate) fn bare(path: &Path, batch: usize, time: Duration) -> Figures {
    let connection = Connection::open(path).unwrap();
    connection
        .execute_batch(
            "PRAGMA page_size = 4096; PRAGMA journal_mode = wal; PRAGMA synchronous = full;
             PRAGMA wal_autocheckpoint = 4000;
             CREATE TABLE scope (digest BLOB PRIMARY KEY, message INTEGER NOT NULL) STRICT, WITHOUT ROWID;
             CREATE TABLE message (seq INTEGER PRIMARY KEY, body BLOB NOT NULL) STRICT;",
        )
        .unwrap();
    let mut known = connection.prepare("SELECT 1 FROM scope WHERE digest = ?1").unwrap();
    let mut message = connection.prepare("INSERT INTO message (body) VALUES (?1)").unwrap();
    let mut scope = connection
        .prepare("INSERT INTO scope (digest, message) VALUES (?1, ?2)")
        .unwrap();
    let (bodies, mut waits, mut messages) = (bodies(), Vec::new(), 0);
    let started = Instant::now();
    while started.elapsed() < time {
        let asked = Instant::now();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        for _ in 0..batch {
            let digest = digest();
            assert!(!known.exists([&digest]).unwrap());
            message.execute([&bodies[messages % bodies.len()][..]]).unwrap();
            scope.execute(params![digest, connection.last_insert_rowid()]).unwrap();
            messages += 1;
        }
        connection.execute_batch("COMMIT").unwrap();
        waits.push(asked.elapsed());
    }
    Figures::new(waits, messages, started.elapsed())
}

/// Each caller admits its next message when the one before is committed.
pub(crate) async fn closed_loop(log: Arc<dyn MessageLog>, callers: usize, time: Duration) -> Figures {
    let (bodies, number) = (Arc::new(bodies()), Arc::new(AtomicU32::new(0)));
    let started = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..callers {
        let (log, bodies, number) = (Arc::clone(&log), Arc::clone(&bodies), Arc::clone(&number));
        running.spawn(async move {
            let mut waits = Vec::new();
            while started.elapsed() < time {
                let message = message(number.fetch_add(1, Ordering::Relaxed), &bodies);
                let asked = Instant::now();
                let admitted = log.admit(message.into(), Timestamp::now()).await;
                assert_eq!(admitted, Ok(Admitted::New(None)));
                waits.push(asked.elapsed());
            }
            waits
        });
    }
    let waits = running.join_all().await.concat();
    let messages = waits.len();
    Figures::new(waits, messages, started.elapsed())
}

/// Admits so many messages, as fast as it goes. Returns how many a second.
pub(crate) async fn fill(log: &Arc<dyn MessageLog>, messages: u32) -> f64 {
    let (bodies, number) = (Arc::new(bodies()), Arc::new(AtomicU32::new(0)));
    let started = Instant::now();
    let mut running = tokio::task::JoinSet::new();
    for _ in 0..512 {
        let (log, bodies, next) = (Arc::clone(log), Arc::clone(&bodies), Arc::clone(&number));
        running.spawn(async move {
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= messages {
                    break;
                }
                let admitted = log.admit(message(number, &bodies).into(), Timestamp::now()).await;
                assert_eq!(admitted, Ok(Admitted::New(None)));
            }
        });
    }
    running.join_all().await;
    f64::from(messages) / started.elapsed().as_secs_f64()
}

fn digest() -> [u8; 32] {
    let mut digest = [0; 32];
    fastrand::fill(&mut digest);
    digest
}

/// An order with a number of its own, of one of a hundred channels.
fn message(number: u32, bodies: &[Bytes]) -> NewMessage {
    let id = uuid::Uuid::now_v7().to_string();
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("idempotency-key", id.clone()),
        ("x-correlation-id", id.clone()),
    ];
    NewMessage {
        scope: digest(),
        fingerprint: digest(),
        api: "orders".to_owned(),
        operation: "createOrder".to_owned(),
        version: "v3".to_owned(),
        channel: format!("channel-{}", number % 100),
        order_key: OrderKey {
            upstream: "erp".to_owned(),
            value: format!("4711-{number}"),
        },
        lane: [Lane::Urgent, Lane::Standard, Lane::Standard, Lane::Bulk][number as usize % 4],
        head_of_line: HeadOfLine::default(),
        transaction: Some(("order".to_owned(), format!("4711-{number}"))),
        correlation: id.clone(),
        traceparent: "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00".to_owned(),
        request: StoredRequest {
            method: "POST".to_owned(),
            path_and_query: "/orders".to_owned(),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.into_bytes()))
                .into(),
            body: bodies[number as usize % bodies.len()].clone(),
            idempotency_key: id.clone(),
        },
        deadline: Timestamp::MAX,
        max_attempts: 10,
        is_in_doubt: false,
        is_synchronous: false,
        id,
    }
}
