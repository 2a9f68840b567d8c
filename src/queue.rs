//! The fallback queue: what was answered with 202 is on disk, in order per key, and will reach its upstream.

mod backoff;
#[cfg(test)]
mod conformance;
pub mod courier;
pub mod delivery;
mod lanes;
mod memory;
mod sqlite;
mod status;

/// Among the header fields of a stored request: between which contract versions it was translated, and by which
/// revision. It is not sent.
pub(crate) const TRANSLATED_TO: &str = "crossdock-contract";

pub use memory::MemoryLog;
pub use sqlite::{OpenError, SqliteLog};
pub use status::status_document;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use jiff::Timestamp;
use tokio::sync::Notify;

/// What a store call returns: it may wait for a commit.
pub type LogFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, LogError>> + Send + 'a>>;

/// A durable, ordered log of messages. `Ok` from a writing call means: committed.
///
/// Time comes in as a parameter, so that a test can be anywhere in time.
pub trait MessageLog: Send + Sync + 'static {
    /// Stores a message and its idempotency scope in one commit. Idempotent by `scope`, so a caller that dropped this
    /// future (which does not undo it) or was told of a failure may call again.
    fn admit(&self, message: NewMessage, now: Timestamp) -> LogFuture<'_, Admitted>;
    /// What is known under an idempotency scope; a request whose key was queued before gets the same answer.
    fn find(&self, scope: Digest) -> LogFuture<'_, Option<(MessageView, Digest)>>;
    /// Leases the heads of up to `max` order keys of `upstream` that are due, urgent lanes first (8 : 3 : 1), never two
    /// messages of one order key. A key counts in the most urgent lane of all messages waiting in it. What is past its
    /// deadline is ended instead of leased.
    ///
    /// `message.is_in_doubt` of what is returned tells whether any attempt so far may have had its effect.
    fn claim(&self, upstream: &str, max: usize, lease: Duration, now: Timestamp) -> LogFuture<'_, Vec<Claimed>>;
    /// For each upstream with something to deliver: when its first message is due.
    fn due(&self) -> LogFuture<'_, Vec<(String, Timestamp)>>;
    /// Told after each commit that may have made something due. For one listener: the delivery loop.
    fn changed(&self) -> Arc<Notify>;
    /// Records that an attempt is about to be made and returns its number, from 1. Must be `Ok` before the first byte
    /// goes to the upstream. `Fenced` past the lease's end. An attempt that does not count lends its number to the next.
    fn begin_attempt(&self, lease: Lease, now: Timestamp) -> LogFuture<'_, u32>;
    /// Records how a leased message stands. Compare-and-set on the lease's epoch: a stale lease is `Fenced`.
    fn finish(&self, lease: Lease, outcome: AttemptOutcome, now: Timestamp) -> LogFuture<'_, ()>;
    /// One message with its attempts.
    fn get(&self, id: &str) -> LogFuture<'_, Option<MessageView>>;
    /// How many messages hold an order key: they wait, are under way or are parked. From memory: costs no I/O. A message
    /// counts before its `admit` is answered, and until the commit that ended it.
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
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// A synchronous attempt was made just before and may have had its effect.
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
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Stored now.
    New,
    /// The same request was stored before under this scope.
    Replay(Box<MessageView>),
    /// Another request was stored before under this scope (or this id).
    Mismatch,
}

/// A message leased for delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    pub lease: Lease,
    pub message: NewMessage,
    /// Counted attempts so far.
    pub attempts: u32,
    /// When the first attempt that may have had its effect was made, where there was one: the upstream remembers the
    /// idempotency key from then on.
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

impl AttemptOutcome {
    /// What `AttemptView::result` says of it.
    pub(crate) fn result(&self) -> String {
        match self {
            Self::Delivered(response) => format!("delivered: {}", response.status),
            Self::Rejected(response) => format!("rejected: {}", response.status),
            Self::RetryAt { cause, .. } => format!("retry: {cause}"),
            Self::InDoubt { cause, .. } => format!("in doubt: {cause}"),
            Self::Parked { cause } => format!("parked: {cause}"),
            Self::Dead { cause } => format!("dead: {cause}"),
        }
    }

    /// What `MessageView::cause` says after it.
    pub(crate) fn cause(&self) -> Option<String> {
        match self {
            Self::Rejected(response) => Some(format!("the upstream rejected it with {}", response.status)),
            Self::Parked { cause } | Self::Dead { cause } => Some(cause.clone()),
            Self::Delivered(_) | Self::RetryAt { .. } | Self::InDoubt { .. } => None,
        }
    }
}

impl MessageState {
    /// As the status document and the store write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "waiting",
            Self::Attempting => "attempting",
            Self::InDoubt => "inDoubt",
            Self::Parked => "parked",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Expired => "expired",
        }
    }
}

/// Result of an attempt whose process or lease ended before it did.
pub(crate) const LOST_ATTEMPT: &str = "in doubt: the gateway lost sight of it";

/// Cause of a message that was not delivered in time.
pub(crate) fn expiry_cause(is_in_doubt: bool) -> &'static str {
    if is_in_doubt {
        "its deadline passed; an attempt before may have had its effect"
    } else {
        "its deadline passed"
    }
}

/// `wait` after `now`, at most the end of time.
pub(crate) fn after(now: Timestamp, wait: Duration) -> Timestamp {
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
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

impl MessageState {
    /// Every state, in the order of a message's life.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Attempting,
        Self::InDoubt,
        Self::Parked,
        Self::Delivered,
        Self::Dead,
        Self::Expired,
    ];

    /// Whether messages with the same order key have to wait behind a message in this state.
    ///
    /// A parked message holds its key until a person decides: what follows may build on it. A dead or expired one lets
    /// go, so the next message of its key is delivered although this one was not. This function is the only place that
    /// decides it; a store keeps the answer beside each message when its state changes.
    pub fn holds_key(self) -> bool {
        match self {
            Self::Queued | Self::Attempting | Self::InDoubt | Self::Parked => true,
            Self::Delivered | Self::Dead | Self::Expired => false,
        }
    }

    /// Whether nothing will happen to a message in this state any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Dead | Self::Expired)
    }

    /// Whether a message in this state may be leased once it is due.
    pub(crate) fn is_waiting(self) -> bool {
        matches!(self, Self::Queued | Self::InDoubt)
    }
}

/// A message as it is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
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
    /// Messages that hold the same order key and are before it; 0 once it is finished.
    pub ahead: u64,
    pub attempts: Vec<AttemptView>,
    pub admitted: Timestamp,
    pub deadline: Timestamp,
    /// When it may go out next, behind what is ahead; not there once it is finished or parked.
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
    /// Messages that wait or are under way, and are not in doubt, by lane; every lane is there.
    pub waiting: Vec<(Lane, u64)>,
    pub in_doubt: u64,
    pub parked: u64,
    pub delivered: u64,
    pub dead: u64,
    pub expired: u64,
    /// Age of the oldest message that waits, is under way or is in doubt.
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
