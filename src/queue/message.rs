//! What a message is, and what is shown of it.

use bytes::Bytes;
use jiff::Timestamp;

use super::{Failure, Standing, TRANSLATED_TO};

/// SHA-256 of an idempotency scope or of a request.
pub type Digest = [u8; 32];

/// Requests with the same order key reach their upstream in the order of admission.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

impl Lane {
    /// As files, filters and metrics write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Urgent => "urgent",
            Self::Standard => "standard",
            Self::Bulk => "bulk",
        }
    }
}

/// What a message that will not be delivered means for the later ones of its order key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum HeadOfLine {
    /// They wait until a person has decided: what follows may build on it.
    #[default]
    Quarantine,
    /// They go on without it. Order is kept, completeness is not.
    Skip,
}

impl HeadOfLine {
    /// Every policy.
    pub(crate) const ALL: [Self; 2] = [Self::Quarantine, Self::Skip];

    /// As files and the store write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Quarantine => "quarantine",
            Self::Skip => "skip",
        }
    }
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
    pub head_of_line: HeadOfLine,
    /// Business key (`order`, `4711`), where the API declares one.
    pub transaction: Option<(String, String)>,
    pub correlation: String,
    /// W3C `traceparent` of the request that was answered with 202; deliveries link to it.
    pub traceparent: String,
    /// What goes to the upstream, in its contract version.
    pub request: StoredRequest,
    /// Past it the message is not delivered any more.
    pub deadline: Timestamp,
    /// Counted attempts before the message is dead.
    pub max_attempts: u32,
    /// A synchronous attempt was made just before and may have had its effect.
    pub is_in_doubt: bool,
    /// Its caller waits for the answer itself: the record is there for the crash in between.
    pub is_synchronous: bool,
}

/// A request as it goes to the upstream. `idempotency-key` is among its headers; credentials are added when sending.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoredRequest {
    pub method: String,
    pub path_and_query: String,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Bytes,
    /// The idempotency key sent to the upstream; changes only when a person makes it another request.
    pub idempotency_key: String,
}

impl StoredRequest {
    /// What it takes to keep it, in bytes.
    pub fn size(&self) -> u64 {
        let headers = self.headers.iter().map(|(name, value)| name.len() + value.len());
        (self.path_and_query.len() + headers.sum::<usize>() + self.body.len()) as u64
    }

    /// Between which contract versions it was translated, as [`Mark::stored`](crate::contract::Mark::stored) says it.
    pub(crate) fn translated(&self) -> Option<&str> {
        let found = self.headers.iter().find(|(name, _)| name == TRANSLATED_TO);
        found.and_then(|(_, value)| std::str::from_utf8(value).ok())
    }
}

/// The upstream's answer, mapped to the caller's contract version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResponse {
    pub status: u16,
    pub headers: Vec<(String, Vec<u8>)>,
    pub body: Bytes,
}

/// Where a message stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MessageState {
    /// Waits for its turn, or for its next attempt.
    Queued,
    /// An attempt is under way.
    Attempting,
    /// An attempt may have had its effect; the next one will tell.
    InDoubt,
    /// Waits for a person.
    Parked,
    /// The upstream did it, or gave its answer to a caller that waited.
    Delivered,
    /// Rejected by the upstream, or given up.
    Dead,
    /// Not delivered before its deadline.
    Expired,
    /// A person took it out.
    Discarded,
}

impl MessageState {
    /// Every state, in the order of a message's life.
    pub const ALL: [Self; 8] = [
        Self::Queued,
        Self::Attempting,
        Self::InDoubt,
        Self::Parked,
        Self::Delivered,
        Self::Dead,
        Self::Expired,
        Self::Discarded,
    ];

    /// As the status document, filters and the store write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Queued => "waiting",
            Self::Attempting => "attempting",
            Self::InDoubt => "inDoubt",
            Self::Parked => "parked",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
            Self::Expired => "expired",
            Self::Discarded => "discarded",
        }
    }

    /// The state of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }

    /// Whether messages with the same order key have to wait behind a message in this state.
    ///
    /// A parked message holds its key until a person decides: what follows may build on it. So does one that will not
    /// be delivered, where its API quarantines. This function is the only place that decides it; a store keeps the
    /// answer beside each message when its state changes.
    pub fn holds_key(self, policy: HeadOfLine) -> bool {
        match self {
            Self::Queued | Self::Attempting | Self::InDoubt | Self::Parked => true,
            Self::Dead | Self::Expired => policy == HeadOfLine::Quarantine,
            Self::Delivered | Self::Discarded => false,
        }
    }

    /// Whether nothing will happen to a message in this state by itself any more.
    pub fn is_final(self) -> bool {
        matches!(self, Self::Delivered | Self::Dead | Self::Expired | Self::Discarded)
    }

    /// Whether it is undelivered and will be, as far as is known.
    pub fn is_open(self) -> bool {
        matches!(self, Self::Queued | Self::Attempting | Self::InDoubt)
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
    pub head_of_line: HeadOfLine,
    pub transaction: Option<(String, String)>,
    pub correlation: String,
    pub is_synchronous: bool,
    pub state: MessageState,
    /// An attempt may have had its effect.
    pub is_in_doubt: bool,
    /// Messages that hold the same order key and are before it; 0 once it is finished, and in lists.
    pub ahead: u64,
    /// Attempts that counted.
    pub counted: u32,
    /// Empty in lists.
    pub attempts: Vec<AttemptView>,
    pub admitted: Timestamp,
    pub deadline: Timestamp,
    /// When it may go out next, behind what is ahead; not there once it is finished or parked.
    pub next_attempt: Option<Timestamp>,
    pub finished: Option<Timestamp>,
    /// What went wrong last; why it is parked, dead or expired.
    pub failure: Option<Failure>,
    /// `None` in lists.
    pub response: Option<StoredResponse>,
}

impl MessageView {
    /// Of a message and how it stands, without what is kept elsewhere.
    pub(crate) fn new(message: &NewMessage, standing: &Standing, admitted: Timestamp) -> Self {
        Self {
            id: message.id.clone(),
            api: message.api.clone(),
            operation: message.operation.clone(),
            version: message.version.clone(),
            channel: message.channel.clone(),
            upstream: message.order_key.upstream.clone(),
            order_key: message.order_key.value.clone(),
            lane: message.lane,
            head_of_line: message.head_of_line,
            transaction: message.transaction.clone(),
            correlation: message.correlation.clone(),
            is_synchronous: message.is_synchronous,
            state: standing.state,
            is_in_doubt: standing.is_in_doubt,
            ahead: 0,
            counted: standing.attempts,
            attempts: Vec::new(),
            admitted,
            deadline: standing.deadline,
            next_attempt: standing.next_attempt,
            finished: standing.finished,
            failure: standing.failure.clone(),
            response: None,
        }
    }

    /// Whether the request is answered by its first caller right now.
    pub fn is_being_answered(&self) -> bool {
        self.is_synchronous && self.state == MessageState::Attempting
    }
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
