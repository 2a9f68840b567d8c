//! A message's row.

use jiff::Timestamp;
use tokio_postgres::Row;

use super::{codec::Columns, session::Failure};
use crate::queue::{
    AttemptView, Digest, Group, HeadOfLine, Lane, Lease, MessageView, NewMessage, OrderKey, Standing, StoredRequest,
};

/// A message without what is kept by day, in the order that [`Whole::read`] expects.
pub(super) const COLUMNS: &str = "m.seq, m.day, m.key, m.has_request, m.id, m.scope, m.fingerprint, m.api, m.operation, \
    m.version, m.channel, m.upstream, m.order_value, m.lane, m.head_of_line, m.transaction_type, m.transaction_key, \
    m.correlation, m.traceparent, m.deadline, m.max_attempts, m.synchronous, m.admitted, m.state, m.in_doubt, \
    m.attempts, m.attempts_allowed, m.breaks, m.first_sent, m.last_sent, m.next_at, m.due_by, m.finished, m.class, \
    m.cause, m.epoch, m.lease_until";

/// `method, path_and_query, idempotency_key, headers, body`, joined as `q`.
pub(super) const REQUEST: &str = "q.method, q.path_and_query, q.idempotency_key, q.headers, q.body";

/// Behind [`COLUMNS`]: what [`shown`] expects.
pub(super) const SHOWN: &str = "p.status, p.headers, p.body, \
    ARRAY(SELECT number FROM attempt a WHERE a.day = m.day AND a.seq = m.seq ORDER BY number), \
    ARRAY(SELECT started FROM attempt a WHERE a.day = m.day AND a.seq = m.seq ORDER BY number), \
    ARRAY(SELECT ended FROM attempt a WHERE a.day = m.day AND a.seq = m.seq ORDER BY number), \
    ARRAY(SELECT result FROM attempt a WHERE a.day = m.day AND a.seq = m.seq ORDER BY number), \
    (SELECT count(*) FROM message b WHERE b.key = m.key AND b.lane IN (0, 1, 2) AND b.seq < m.seq AND b.holds)";

pub(super) const WITH_RESPONSE: &str = "LEFT JOIN response p ON p.day = m.day AND p.seq = m.seq";
pub(super) const WITH_REQUEST: &str = "LEFT JOIN request q ON q.day = m.day AND q.seq = m.seq AND m.has_request";

/// A message in the store, without its request.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    pub(super) seq: i64,
    pub(super) day: i32,
    pub(super) key: Digest,
    pub(super) has_request: bool,
    pub(super) message: NewMessage,
    pub(super) admitted: Timestamp,
    pub(super) standing: Standing,
}

impl Whole {
    pub(super) fn read(row: &Row) -> Result<Self, Failure> {
        Self::from(&mut Columns::of(row))
    }

    pub(super) fn from(columns: &mut Columns<'_>) -> Result<Self, Failure> {
        let (seq, day, key, has_request) = (columns.take()?, columns.take()?, columns.digest()?, columns.take()?);
        let id = columns.take()?;
        let (scope, fingerprint) = (columns.digest()?, columns.digest()?);
        let (api, operation, version, channel) = (columns.take()?, columns.take()?, columns.take()?, columns.take()?);
        let order_key = OrderKey {
            upstream: columns.take()?,
            value: columns.bytes_as_text()?,
        };
        let (lane, head_of_line): (Lane, HeadOfLine) = (columns.lane()?, columns.head_of_line()?);
        let (kind, value): (Option<String>, Option<Vec<u8>>) = (columns.take()?, columns.take()?);
        let value = value.map(String::from_utf8).transpose();
        let value = value.map_err(|_| Failure::Unreadable("a text"))?;
        let message = NewMessage {
            id,
            scope,
            fingerprint,
            api,
            operation,
            version,
            channel,
            order_key,
            lane,
            head_of_line,
            transaction: kind.zip(value),
            correlation: columns.take()?,
            traceparent: columns.take()?,
            request: StoredRequest::default(),
            deadline: columns.time()?,
            max_attempts: columns.number()?,
            is_in_doubt: false,
            is_synchronous: columns.take()?,
        };
        let admitted = columns.time()?;
        let standing = Standing {
            state: columns.state()?,
            is_in_doubt: columns.take()?,
            attempts: columns.number()?,
            max_attempts: columns.number()?,
            breaks: columns.number()?,
            first_sent: columns.time_or_none()?,
            last_sent: columns.time_or_none()?,
            next_attempt: columns.time_or_none()?,
            deadline: columns.time()?,
            finished: columns.time_or_none()?,
            failure: columns.failure()?,
            epoch: columns.take::<i64>()?.cast_unsigned(),
            leased_until: columns.time_or_none()?,
        };
        Ok(Self {
            seq,
            day,
            key,
            has_request,
            message,
            admitted,
            standing,
        })
    }

    pub(super) fn holds(&self) -> bool {
        self.standing.holds_key(self.message.head_of_line)
    }

    pub(super) fn group(&self) -> Group {
        Group {
            upstream: self.message.order_key.upstream.clone(),
            api: self.message.api.clone(),
            channel: self.message.channel.clone(),
            lane: self.message.lane,
            state: self.standing.state,
            holds: self.holds(),
        }
    }

    pub(super) fn view(&self) -> MessageView {
        MessageView::new(&self.message, &self.standing, self.admitted)
    }

    pub(super) fn lease(&self) -> Lease {
        Lease {
            id: self.message.id.clone(),
            epoch: self.standing.epoch,
        }
    }
}

/// A whole message as it is shown, from [`COLUMNS`] and [`SHOWN`].
pub(super) fn shown(columns: &mut Columns<'_>) -> Result<(Whole, MessageView), Failure> {
    let whole = Whole::from(columns)?;
    let response = columns.response()?;
    let attempts = attempts(columns)?;
    let before: i64 = columns.take()?;
    let view = whole.view();
    let view = MessageView {
        ahead: if view.state.is_final() {
            0
        } else {
            before.cast_unsigned()
        },
        attempts,
        response,
        ..view
    };
    Ok((whole, view))
}

fn attempts(columns: &mut Columns<'_>) -> Result<Vec<AttemptView>, Failure> {
    let (numbers, started): (Vec<i64>, Vec<i64>) = (columns.take()?, columns.take()?);
    let (ended, results): (Vec<Option<i64>>, Vec<String>) = (columns.take()?, columns.take()?);
    let all = numbers.into_iter().zip(started).zip(ended).zip(results);
    all.map(|(((number, started), ended), result)| {
        Ok(AttemptView {
            number: u32::try_from(number).map_err(|_| Failure::Unreadable("a number"))?,
            started: super::codec::time(started)?,
            ended: ended.map(super::codec::time).transpose()?,
            result,
        })
    })
    .collect()
}
