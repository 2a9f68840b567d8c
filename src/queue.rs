//! The fallback queue: what was answered with 202 is on disk, in order per key, and will reach its upstream.

use std::{future::Future, pin::Pin, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;

/// What a store call returns: it may wait for a commit.
pub type LogFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, LogError>> + Send + 'a>>;

/// A durable, ordered log of messages. `Ok` from a writing call means: committed.
///
/// Time comes in as a parameter, so that a test can be anywhere in time.
pub trait MessageLog: Send + Sync + 'static {
    /// Stores a message and its idempotency scope in one commit. Idempotent by `scope`.
    fn admit(&self, message: NewMessage, now: Timestamp) -> LogFuture<'_, Admitted>;
    /// What is known under an idempotency scope; a request whose key was queued before gets the same answer.
    fn find(&self, scope: Digest) -> LogFuture<'_, Option<(MessageView, Digest)>>;
    /// Leases heads of ready order keys of upstreams that are not in `paused`, urgent lanes first (8 : 3 : 1), never
    /// two messages of one order key.
    fn claim(&self, max: usize, lease: Duration, paused: Vec<String>, now: Timestamp) -> LogFuture<'_, Vec<Claimed>>;
    /// Records that an attempt is about to be made. Must be `Ok` before the first byte goes to the upstream.
    fn begin_attempt(&self, lease: Lease, now: Timestamp) -> LogFuture<'_, u32>;
    /// Records how a leased message stands. Compare-and-set on the lease's epoch: a stale lease is `Fenced`.
    fn finish(&self, lease: Lease, outcome: AttemptOutcome, now: Timestamp) -> LogFuture<'_, ()>;
    /// One message with its attempts.
    fn get(&self, id: &str) -> LogFuture<'_, Option<MessageView>>;
    /// How many messages of an order key wait or are under way. From memory: costs no I/O.
    fn depth(&self, order_key: &OrderKey) -> usize;
    /// Returns expired leases to the queue as in doubt, ends messages past their deadline, forgets finished ones past
    /// `retention`.
    fn sweep(&self, retention: Duration, now: Timestamp) -> LogFuture<'_, SweepReport>;
    /// Counts by state and lane, and the age of the oldest waiting message.
    fn stats(&self, now: Timestamp) -> LogFuture<'_, QueueStats>;
    /// Whether new messages can be stored.
    fn health(&self) -> Health;
}

/// SHA-256 of an idempotency scope or of a request.
pub type Digest = [u8; 32];

/// Requests with the same order key reach their upstream in the order of admission.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct OrderKey {
    /// Name of the upstream.
    pub upstream: String,
    /// Value of `orderBy`, such as an order number.
    pub value: String,
}

/// Priority class. Served 8 : 3 : 1, so that none starves.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Lane {
    /// Served first.
    Urgent,
    /// The usual one.
    #[default]
    Standard,
    /// Served last.
    Bulk,
}

/// A request to be stored: resolved for its upstream, without credentials.
#[derive(Clone, Debug)]
pub struct NewMessage {
    /// UUID version 7, hyphenated.
    pub id: String,
    /// Digest of channel, API, operation and idempotency key.
    pub scope: Digest,
    /// Digest of the request, to tell a repeat from a reuse of its key.
    pub fingerprint: Digest,
    pub api: String,
    pub operation: String,
    /// Contract version of the caller; the answer will be mapped to it.
    pub version: String,
    pub channel: String,
    pub order_key: OrderKey,
    pub lane: Lane,
    /// Business key (`order`, `4711`), where the API declares one.
    pub transaction: Option<(String, String)>,
    pub correlation: String,
    /// W3C `traceparent` of the request that was answered with 202; deliveries link to it.
    pub traceparent: String,
    /// What goes to the upstream, in its contract version.
    pub request: StoredRequest,
    /// Past it the message is dead.
    pub deadline: Timestamp,
    /// Counted attempts before the message is dead.
    pub max_attempts: u32,
    /// A synchronous attempt was made before and may have had its effect.
    pub is_in_doubt: bool,
}

/// A request as it goes to the upstream. `idempotency-key` is among its headers; credentials are added when sending.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRequest {
    pub method: String,
    pub path_and_query: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Bytes,
    /// The idempotency key sent to the upstream; never changes.
    pub idempotency_key: String,
}

/// The upstream's answer, mapped to the caller's contract version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResponse {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Bytes,
}

/// What became of a message that was to be stored.
#[derive(Clone, Debug)]
pub enum Admitted {
    /// Stored now.
    New,
    /// The same request was stored before under this scope.
    Replay(Box<MessageView>),
    /// Another request was stored before under this scope.
    Mismatch,
}

/// A message leased for delivery.
#[derive(Clone, Debug)]
pub struct Claimed {
    pub lease: Lease,
    pub message: NewMessage,
    /// Counted attempts so far.
    pub attempts: u32,
    /// When the first attempt with bytes on the wire was made, where there was one.
    pub first_sent: Option<Timestamp>,
    pub admitted: Timestamp,
}

/// The right to deliver one message, until it expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub id: String,
    pub epoch: u64,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptOutcome {
    /// The upstream did it.
    Delivered(StoredResponse),
    /// The upstream will never do it: the message is dead, its answer kept.
    Rejected(StoredResponse),
    /// Nothing was sent, or the upstream said it did nothing. `counts` is false for a closed door.
    RetryAt { at: Timestamp, cause: String, counts: bool },
    /// It may have been done. Retried with the same key where the upstream honours keys.
    InDoubt { at: Timestamp, cause: String },
    /// It may have been done, and nothing but a person can tell.
    Parked { cause: String },
    /// Attempts or time are used up.
    Dead { cause: String },
}

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MessageState {
    /// Waits for its turn, or for its next attempt.
    Queued,
    /// An attempt is under way.
    Attempting,
    /// An attempt may have had its effect; the next one will tell.
    InDoubt,
    /// Waits for a person.
    Parked,
    Delivered,
    /// Rejected by the upstream, or given up.
    Dead,
    /// Not delivered before its deadline.
    Expired,
}

/// A message as it is shown.
#[derive(Clone, Debug)]
pub struct MessageView {
    pub id: String,
    pub api: String,
    pub operation: String,
    pub version: String,
    pub channel: String,
    pub upstream: String,
    pub order_key: String,
    pub lane: Lane,
    pub transaction: Option<(String, String)>,
    pub correlation: String,
    pub state: MessageState,
    /// Messages of the same order key that are before it.
    pub ahead: u64,
    pub attempts: Vec<AttemptView>,
    pub admitted: Timestamp,
    pub deadline: Timestamp,
    pub next_attempt: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    /// Why it is parked, dead or expired.
    pub cause: Option<String>,
    pub response: Option<StoredResponse>,
}

/// One attempt as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptView {
    pub number: u32,
    pub started: Timestamp,
    pub ended: Option<Timestamp>,
    /// `delivered`, `rejected`, `retry`, `in doubt`, … and why.
    pub result: String,
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    pub leases_expired: u64,
    pub messages_expired: u64,
    pub messages_forgotten: u64,
}

/// Counts for metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QueueStats {
    /// Waiting messages by lane.
    pub waiting: Vec<(Lane, u64)>,
    pub in_doubt: u64,
    pub parked: u64,
    pub delivered: u64,
    pub dead: u64,
    pub expired: u64,
    /// Age of the oldest waiting message.
    pub oldest: Option<Duration>,
}

/// Whether new messages can be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Ok,
    /// The byte quota is used up; delivery goes on.
    Full,
    /// The store failed once and is not trusted any more until the process restarts.
    Poisoned(String),
}

/// Why the log could not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    #[error("the queue is full")]
    Full,
    /// The lease was given to somebody else.
    #[error("the lease is no longer valid")]
    Fenced,
    #[error("the store failed: {0}")]
    Poisoned(String),
    #[error("the store is closed")]
    Closed,
}
