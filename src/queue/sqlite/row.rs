//! A message's row: its standing in columns, read by position.

use jiff::Timestamp;
use rusqlite::Row;

use super::codec::{Body, Headers, Micros};
use crate::queue::{
    Failure, Group, HeadOfLine, Lane, MessageView, NewMessage, OrderKey, Standing, StoredRequest, StoredResponse,
};

/// What every change of a message starts from, in the order that [`Known::read`] expects.
macro_rules! columns {
    () => {
        "message.seq, message.id, upstream, order_value, api, channel, lane, head_of_line, admitted, deadline, state, \
         in_doubt, attempts, attempts_allowed, breaks, first_sent, last_sent, next_at, due_by, finished, class, cause, \
         epoch, lease_until"
    };
}

/// Those that only whole messages need, behind the ones of [`columns`].
macro_rules! more_columns {
    () => {
        ", scope, fingerprint, operation, version, transaction_type, transaction_key, correlation, traceparent, \
         max_attempts, synchronous"
    };
}

pub(super) use {columns, more_columns};

/// Number of [`columns`].
const KNOWN: usize = 24;
/// Number of both.
pub(super) const WHOLE: usize = KNOWN + 10;

/// A message in the store.
#[derive(Clone)]
pub(super) struct Known {
    pub(super) seq: i64,
    pub(super) id: String,
    pub(super) key: OrderKey,
    pub(super) api: String,
    pub(super) channel: String,
    pub(super) lane: Lane,
    pub(super) head_of_line: HeadOfLine,
    pub(super) admitted: Timestamp,
    /// As admitted.
    pub(super) deadline: Timestamp,
    pub(super) standing: Standing,
}

impl Known {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let time = |column: usize| Ok::<_, rusqlite::Error>(row.get::<_, Option<Micros>>(column)?.map(|time| time.0));
        let cause: Option<String> = row.get(21)?;
        let failure = match cause {
            Some(cause) => Some(Failure {
                class: row.get(20)?,
                cause,
            }),
            None => None,
        };
        Ok(Self {
            seq: row.get(0)?,
            id: row.get(1)?,
            key: OrderKey {
                upstream: row.get(2)?,
                value: row.get(3)?,
            },
            api: row.get(4)?,
            channel: row.get(5)?,
            lane: row.get(6)?,
            head_of_line: row.get(7)?,
            admitted: row.get::<_, Micros>(8)?.0,
            deadline: row.get::<_, Micros>(9)?.0,
            standing: Standing {
                state: row.get(10)?,
                is_in_doubt: row.get(11)?,
                attempts: row.get(12)?,
                max_attempts: row.get(13)?,
                breaks: row.get(14)?,
                first_sent: time(15)?,
                last_sent: time(16)?,
                next_attempt: time(17)?,
                deadline: row.get::<_, Micros>(18)?.0,
                finished: time(19)?,
                failure,
                epoch: row.get::<_, i64>(22)?.cast_unsigned(),
                leased_until: time(23)?,
            },
        })
    }

    pub(super) fn holds(&self) -> bool {
        self.standing.holds_key(self.head_of_line)
    }

    pub(super) fn group(&self) -> Group {
        Group {
            upstream: self.key.upstream.clone(),
            api: self.api.clone(),
            channel: self.channel.clone(),
            lane: self.lane,
            state: self.standing.state,
            holds: self.holds(),
        }
    }
}

/// A message without its request, and its fingerprint beside it.
#[derive(Clone)]
pub(super) struct Whole {
    pub(super) known: Known,
    pub(super) message: NewMessage,
}

impl Whole {
    pub(super) fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        let known = Known::read(row)?;
        let kind: Option<String> = row.get(KNOWN + 4)?;
        let key: Option<String> = row.get(KNOWN + 5)?;
        let message = NewMessage {
            id: known.id.clone(),
            scope: row.get(KNOWN)?,
            fingerprint: row.get(KNOWN + 1)?,
            api: known.api.clone(),
            operation: row.get(KNOWN + 2)?,
            version: row.get(KNOWN + 3)?,
            channel: known.channel.clone(),
            order_key: known.key.clone(),
            lane: known.lane,
            head_of_line: known.head_of_line,
            transaction: kind.zip(key),
            correlation: row.get(KNOWN + 6)?,
            traceparent: row.get(KNOWN + 7)?,
            request: StoredRequest::default(),
            deadline: known.deadline,
            max_attempts: row.get(KNOWN + 8)?,
            is_in_doubt: false,
            is_synchronous: row.get(KNOWN + 9)?,
        };
        Ok(Self { known, message })
    }

    pub(super) fn view(&self) -> MessageView {
        MessageView::new(&self.message, &self.known.standing, self.known.admitted)
    }
}

/// `method, path_and_query, idempotency_key, headers, body` from column `first` on.
pub(super) fn request(row: &Row<'_>, first: usize) -> rusqlite::Result<StoredRequest> {
    Ok(StoredRequest {
        method: row.get(first)?,
        path_and_query: row.get(first + 1)?,
        idempotency_key: row.get(first + 2)?,
        headers: row.get::<_, Headers>(first + 3)?.0,
        body: row.get::<_, Body>(first + 4)?.0,
    })
}

/// `status, headers, body`.
pub(super) fn response(row: &Row<'_>) -> rusqlite::Result<StoredResponse> {
    Ok(StoredResponse {
        status: row.get(0)?,
        headers: row.get::<_, Headers>(1)?.0,
        body: row.get::<_, Body>(2)?.0,
    })
}
