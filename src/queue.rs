//! The fallback queue: what was answered with 202 is on disk, in order per key, and will reach its upstream.

mod backoff;
#[cfg(test)]
pub(crate) mod conformance;
pub mod courier;
pub mod delivery;
mod fields;
mod lanes;
mod memory;
mod message;
pub mod notifier;
mod operate;
mod outbox;
mod outcome;
mod postgres;
mod sqlite;
mod standing;
mod stats;
mod status;

/// Among the header fields of a stored request: between which contract versions it was translated, and by which
/// revision. It is not sent.
pub(crate) const TRANSLATED_TO: &str = "crossdock-contract";

pub use memory::MemoryLog;
pub use message::{
    AttemptView, Digest, HeadOfLine, Lane, MessageState, MessageView, NewMessage, OrderKey, StoredRequest,
    StoredResponse,
};
pub use operate::{Act, Actor, MessageCopy, MessageFilter, Page, Pause, PauseScope, Shown};
pub use outbox::{
    ClaimedNotice, Notice, NoticeFilter, NoticeLease, NoticeOutcome, NoticeStanding, NoticeState, NoticeStats,
    NoticeView, Outbox, Subscriptions,
};
pub use outcome::{AttemptOutcome, Failure};
pub use postgres::{ConnectError, PostgresLog, Unfit};
pub use sqlite::{Archive, LostMessage, OpenError, Salvage, Salvaged, SqliteLog};
pub use standing::{EndedAttempt, Standing};
pub use stats::{Arrivals, Arriving, Group, Outlook, QueueStats, Room};
pub use status::status_document;

use std::{future::Future, pin::Pin, sync::Arc, time::Duration};

use jiff::Timestamp;
use tokio::sync::Notify;

use crate::audit;

/// What a store call returns: it may wait for a commit.
pub type LogFuture<'a, T> = Pin<Box<dyn Future<Output = Result<T, LogError>> + Send + 'a>>;

/// A durable, ordered log of messages. `Ok` from a writing call means: committed.
///
/// Time comes in as a parameter, so that a test can be anywhere in time. What an event makes of a message is decided
/// by [`Standing`] alone; a log keeps it, finds what is due, and does each call in one commit. Calls of different
/// messages may share a commit. A log may be shared by several processes: a lease with its epoch says who may go on with
/// a message, and nothing in here asks for more than one row of one order key at a time.
pub trait MessageLog: Outbox {
    /// Stores a message and its idempotency scope in one commit. Idempotent by `scope`, so a caller that dropped this
    /// future (which does not undo it) or was told of a failure may call again.
    fn admit(&self, admission: Admission, now: Timestamp) -> LogFuture<'_, Admitted>;
    /// What is known under an idempotency scope; a request whose key was queued before gets the same answer.
    fn find(&self, scope: Digest) -> LogFuture<'_, Option<(MessageView, Digest)>>;
    /// Whether a request of an API with this order key may go to its upstream now, without overtaking one that waits.
    /// A message counts before its `admit` is answered, and until the commit that ended it.
    fn gate(&self, api: &str, order_key: &OrderKey) -> LogFuture<'_, Gate>;
    /// Leases the heads of up to `max` order keys of `upstream` that are due and not paused, urgent lanes first
    /// (8 : 3 : 1), channels in turn within a lane, never two messages of one order key. A key counts in the most urgent
    /// lane of all messages waiting in it, for the channel of its first one. What is past its deadline is ended instead
    /// of leased.
    ///
    /// `message.is_in_doubt` of what is returned tells whether any attempt so far may have had its effect.
    fn claim(&self, upstream: &str, max: usize, lease: Duration, now: Timestamp) -> LogFuture<'_, Vec<Claimed>>;
    /// For each upstream with something to deliver that is not paused: when its first message is due.
    fn due(&self) -> LogFuture<'_, Vec<(String, Timestamp)>>;
    /// Told after each commit that may have made something due. For one listener: the delivery loop.
    fn changed(&self) -> Arc<Notify>;
    /// Told after each commit that may have changed how a message stands. For any number of listeners.
    fn moved(&self) -> Arc<Notify>;
    /// Records that an attempt is about to be made and returns its number, from 1. Must be `Ok` before the first byte
    /// goes to the upstream. `Fenced` past the lease's end. An attempt that does not count lends its number to the next.
    fn begin_attempt(&self, lease: Lease, now: Timestamp) -> LogFuture<'_, u32>;
    /// Keeps a lease that has not ended for `length` more.
    fn renew(&self, lease: Lease, length: Duration, now: Timestamp) -> LogFuture<'_, ()>;
    /// Records how a leased message stands. Compare-and-set on the lease's epoch: a stale lease is `Fenced`.
    fn finish(&self, lease: Lease, outcome: AttemptOutcome, now: Timestamp) -> LogFuture<'_, ()>;
    /// One message with its attempts.
    fn get(&self, id: &str) -> LogFuture<'_, Option<MessageView>>;
    /// One message with all that is kept of it.
    fn show(&self, id: &str) -> LogFuture<'_, Option<Shown>>;
    /// Messages in the order of admission, from where a part before ended, at most `max`.
    fn list(&self, filter: MessageFilter, from: Option<u64>, max: usize) -> LogFuture<'_, Page<MessageView>>;
    /// Does what a person decided, with its entry in the audit log, and returns how the message stands then. `Conflict`
    /// where it cannot be done, `Unknown` where there is no such message.
    fn act(&self, id: &str, act: Act, by: Actor, now: Timestamp) -> LogFuture<'_, MessageView>;
    /// Holds something back until it is resumed, with its entry in the audit log. Paused again, it stays as it was.
    fn pause(&self, scope: PauseScope, by: Actor, now: Timestamp) -> LogFuture<'_, ()>;
    /// Lets go what was held back, with its entry in the audit log. Whether it had been.
    fn resume(&self, scope: PauseScope, by: Actor, now: Timestamp) -> LogFuture<'_, bool>;
    /// What is held back.
    fn pauses(&self) -> LogFuture<'_, Vec<Pause>>;
    /// Returns expired leases to the queue as in doubt, ends messages past their deadline, forgets finished ones past
    /// `retention`.
    fn sweep(&self, retention: Duration, now: Timestamp) -> LogFuture<'_, SweepReport>;
    /// Counts, and the age of the oldest waiting message.
    fn stats(&self, now: Timestamp) -> LogFuture<'_, QueueStats>;
    /// How many gateways share the log at the moment, this one included.
    fn members(&self) -> u32 {
        1
    }
    /// How much more fits.
    fn room(&self) -> LogFuture<'_, Room>;
    /// Whether new messages can be stored.
    fn health(&self) -> Health;
    /// What the last look through the whole store found, where this store is looked through.
    fn checked(&self) -> Option<Checked> {
        None
    }
    /// Copies of messages in the order of admission, from where a part before ended, at most `max`.
    fn export(&self, from: Option<u64>, max: usize) -> LogFuture<'_, Page<MessageCopy>>;
    /// Takes over copies, in their order, behind what is there. Those whose id or scope is known are left out. What was
    /// under way is in doubt. Returns how many were taken over.
    fn import(&self, copies: Vec<MessageCopy>, now: Timestamp) -> LogFuture<'_, usize>;
    /// Enters an act that changes no message.
    fn record(&self, entry: audit::NewEntry, now: Timestamp) -> LogFuture<'_, audit::Entry>;
    /// Entries of the audit log after number `after`, at most `max`.
    fn audit(&self, after: u64, max: usize) -> LogFuture<'_, Vec<audit::Entry>>;
}

/// A message that is to be stored, and on which conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admission {
    pub message: NewMessage,
    pub limits: Limits,
    /// Its caller makes the first attempt itself, under a lease of this length, if nothing holds its order key: stored
    /// as begun.
    pub attempt: Option<Duration>,
}

impl From<NewMessage> for Admission {
    fn from(message: NewMessage) -> Self {
        Self {
            message,
            limits: Limits::default(),
            attempt: None,
        }
    }
}

/// How many undelivered messages may be there. A message over a limit is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Limits {
    /// Of its API.
    pub api: Option<u64>,
    /// Of its channel in its API.
    pub channel: Option<u64>,
}

/// What became of a message that was to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Admitted {
    /// Stored now; with the lease for the attempt that was asked for.
    New(Option<Lease>),
    /// The same request was stored before under this scope.
    Replay(Box<MessageView>),
    /// Another request was stored before under this scope (or this id).
    Mismatch,
}

/// Whether a request may go to its upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gate {
    /// Nothing is before it.
    Open,
    /// So many messages of its order key are before it.
    Behind(u64),
    /// Deliveries are held back.
    Paused,
}

/// A message leased for delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claimed {
    pub lease: Lease,
    pub message: NewMessage,
    /// Counted attempts so far.
    pub attempts: u32,
    /// Grounds to believe that it ends its own delivery, see [`Standing::breaks`]. Who claims a message with any delivers
    /// one such at a time, and one with more than one ground while nothing else is under way.
    pub breaks: u32,
    /// When the first attempt that may have had its effect was made, where there was one: the upstream remembers the
    /// idempotency key from then on.
    pub first_sent: Option<Timestamp>,
    /// When the last attempt was made.
    pub last_sent: Option<Timestamp>,
    pub admitted: Timestamp,
}

impl Claimed {
    /// Of a message under its new lease.
    pub(crate) fn new(message: NewMessage, standing: &Standing, admitted: Timestamp) -> Self {
        Self {
            lease: Lease {
                id: message.id.clone(),
                epoch: standing.epoch,
            },
            message: NewMessage {
                is_in_doubt: standing.is_in_doubt,
                deadline: standing.deadline,
                max_attempts: standing.max_attempts,
                ..message
            },
            attempts: standing.attempts,
            breaks: standing.breaks,
            first_sent: standing.first_sent,
            last_sent: standing.last_sent,
            admitted,
        }
    }
}

/// The right to deliver one message, until it expires.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub id: String,
    pub epoch: u64,
}

/// `wait` after `now`, at most the end of time.
pub(crate) fn after(now: Timestamp, wait: Duration) -> Timestamp {
    now.saturating_add(wait).unwrap_or(Timestamp::MAX)
}

/// What a sweep did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SweepReport {
    pub leases_expired: u64,
    pub messages_expired: u64,
    pub messages_forgotten: u64,
}

/// Whether new messages can be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    Ok,
    /// The byte quota is used up; delivery goes on.
    Full,
    /// New messages are held back by a person; delivery goes on.
    Draining,
    /// The store cannot be reached at the moment; what is there stays there.
    Unavailable(String),
    /// The store failed once and is not trusted any more until the process restarts.
    Poisoned(String),
}

/// A look through a whole store, for damage.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// When it began.
    pub at: Timestamp,
    pub took: Duration,
    pub result: CheckResult,
}

/// What a look through a store found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CheckResult {
    Sound,
    /// It could not be ended; why.
    Unfinished(String),
    /// What is wrong. The store is `Poisoned` then.
    Damaged(String),
}

impl CheckResult {
    /// Every result, as documents and metrics write it.
    pub(crate) const NAMES: [&str; 3] = ["sound", "unfinished", "damaged"];

    /// As documents and metrics write it.
    pub fn name(&self) -> &'static str {
        let [sound, unfinished, damaged] = Self::NAMES;
        match self {
            Self::Sound => sound,
            Self::Unfinished(_) => unfinished,
            Self::Damaged(_) => damaged,
        }
    }
}

/// Why the log could not do it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    #[error("the queue is full")]
    Full,
    /// A limit on undelivered messages is reached; whose.
    #[error("too many messages of {0} wait already")]
    TooMany(String),
    #[error("the queue takes no new messages at the moment")]
    Draining,
    /// The lease was given to somebody else.
    #[error("the lease is no longer valid")]
    Fenced,
    /// What a person wants cannot be done to a message as it stands; why.
    #[error("{0}")]
    Conflict(String),
    #[error("there is no such message")]
    Unknown,
    /// Whether it was committed is not known: the same call again will tell.
    #[error("the store did not say whether it was done: {0}")]
    InDoubt(String),
    /// The store cannot be reached; nothing was done.
    #[error("the store cannot be reached: {0}")]
    Unavailable(String),
    #[error("the store failed: {0}")]
    Poisoned(String),
    #[error("the store is closed")]
    Closed,
}
