//! What is asked of the store: views, counts, and what is due.

use std::time::Duration;

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, params};

use super::codec::{Body, Headers, Micros};
use crate::queue::{
    AttemptView, Digest, Lane, MessageState, MessageView, NewMessage, OrderKey, QueueStats, StoredRequest,
    StoredResponse,
};

pub(super) fn find(connection: &Connection, scope: &Digest) -> rusqlite::Result<Option<(MessageView, Digest)>> {
    let mut statement = connection.prepare_cached("SELECT * FROM message WHERE scope = ?1")?;
    let found = statement.query_row([scope], |row| Ok((view(connection, row)?, row.get("fingerprint")?)));
    found.optional()
}

pub(super) fn get(connection: &Connection, id: &str) -> rusqlite::Result<Option<MessageView>> {
    let mut statement = connection.prepare_cached("SELECT * FROM message WHERE id = ?1")?;
    statement.query_row([id], |row| view(connection, row)).optional()
}

pub(super) fn view(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<MessageView> {
    let seq: i64 = row.get("seq")?;
    let state: MessageState = row.get("state")?;
    let upstream: String = row.get("upstream")?;
    let order_key: String = row.get("order_value")?;
    Ok(MessageView {
        id: row.get("id")?,
        api: row.get("api")?,
        operation: row.get("operation")?,
        version: row.get("version")?,
        channel: row.get("channel")?,
        lane: row.get("lane")?,
        transaction: transaction(row)?,
        correlation: row.get("correlation")?,
        state,
        ahead: if state.is_final() {
            0
        } else {
            ahead(connection, &upstream, &order_key, seq)?
        },
        attempts: attempts(connection, seq)?,
        admitted: row.get::<_, Micros>("admitted")?.0,
        deadline: row.get::<_, Micros>("deadline")?.0,
        next_attempt: time(row, "next_at")?,
        finished: time(row, "finished")?,
        cause: row.get("cause")?,
        response: response(connection, seq)?,
        upstream,
        order_key,
    })
}

fn transaction(row: &Row<'_>) -> rusqlite::Result<Option<(String, String)>> {
    let kind: Option<String> = row.get("transaction_type")?;
    let key: Option<String> = row.get("transaction_key")?;
    Ok(kind.zip(key))
}

fn time(row: &Row<'_>, column: &str) -> rusqlite::Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<Micros>>(column)?.map(|time| time.0))
}

fn ahead(connection: &Connection, upstream: &str, order_value: &str, seq: i64) -> rusqlite::Result<u64> {
    let mut statement = connection.prepare_cached(
        "SELECT count(*) FROM message WHERE upstream = ?1 AND order_value = ?2 AND holds = 1 AND seq < ?3",
    )?;
    statement.query_row(params![upstream, order_value, seq], |row| {
        Ok(row.get::<_, i64>(0)?.cast_unsigned())
    })
}

fn attempts(connection: &Connection, seq: i64) -> rusqlite::Result<Vec<AttemptView>> {
    let mut statement = connection
        .prepare_cached("SELECT number, started, ended, result FROM attempt WHERE seq = ?1 ORDER BY number")?;
    let attempts = statement.query_map([seq], |row| {
        Ok(AttemptView {
            number: row.get("number")?,
            started: row.get::<_, Micros>("started")?.0,
            ended: time(row, "ended")?,
            result: row.get("result")?,
        })
    })?;
    attempts.collect()
}

fn response(connection: &Connection, seq: i64) -> rusqlite::Result<Option<StoredResponse>> {
    let mut statement = connection.prepare_cached("SELECT status, headers, body FROM response WHERE seq = ?1")?;
    let response = statement.query_row([seq], |row| {
        Ok(StoredResponse {
            status: row.get("status")?,
            headers: row.get::<_, Headers>("headers")?.0,
            body: row.get::<_, Body>("body")?.0,
        })
    });
    response.optional()
}

/// A message with its request, from a row of both.
pub(super) fn message(row: &Row<'_>) -> rusqlite::Result<NewMessage> {
    Ok(NewMessage {
        id: row.get("id")?,
        scope: row.get("scope")?,
        fingerprint: row.get("fingerprint")?,
        api: row.get("api")?,
        operation: row.get("operation")?,
        version: row.get("version")?,
        channel: row.get("channel")?,
        order_key: OrderKey {
            upstream: row.get("upstream")?,
            value: row.get("order_value")?,
        },
        lane: row.get("lane")?,
        transaction: transaction(row)?,
        correlation: row.get("correlation")?,
        traceparent: row.get("traceparent")?,
        request: StoredRequest {
            method: row.get("method")?,
            path_and_query: row.get("path_and_query")?,
            headers: row.get::<_, Headers>("headers")?.0,
            body: row.get::<_, Body>("body")?.0,
            idempotency_key: row.get("idempotency_key")?,
        },
        deadline: row.get::<_, Micros>("deadline")?.0,
        max_attempts: row.get("max_attempts")?,
        is_in_doubt: row.get("in_doubt")?,
    })
}

pub(super) fn first_sent(row: &Row<'_>) -> rusqlite::Result<Option<Timestamp>> {
    time(row, "first_sent")
}

pub(super) fn due(connection: &Connection) -> rusqlite::Result<Vec<(String, Timestamp)>> {
    // From one upstream to the next along the index: few upstreams, perhaps a million keys.
    let mut next = connection.prepare_cached("SELECT min(upstream) FROM head WHERE upstream > ?1")?;
    let mut first = connection
        .prepare_cached("SELECT min(ready_at) FROM head WHERE upstream = ?1 AND lane = ?2 AND ready_at > ?3")?;
    let mut due = Vec::new();
    let mut upstream = String::new();
    while let Some(found) = next.query_row([&upstream], |row| row.get::<_, Option<String>>(0))? {
        upstream = found;
        let mut earliest: Option<Timestamp> = None;
        for lane in Lane::ALL {
            let found = first.query_row(params![upstream, lane, i64::MIN], |row| row.get::<_, Option<Micros>>(0))?;
            earliest = earliest.into_iter().chain(found.map(|time| time.0)).min();
        }
        due.extend(earliest.map(|at| (upstream.clone(), at)));
    }
    Ok(due)
}

pub(super) fn stats(connection: &Connection, now: Timestamp) -> rusqlite::Result<QueueStats> {
    let mut counts = QueueStats {
        waiting: Lane::ALL.map(|lane| (lane, 0)).to_vec(),
        ..QueueStats::default()
    };
    let mut oldest: Option<Timestamp> = None;
    let mut statement = connection
        .prepare_cached("SELECT state, lane, count(*) AS number, min(admitted) AS oldest FROM message GROUP BY 1, 2")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let state: MessageState = row.get("state")?;
        let lane: Lane = row.get("lane")?;
        let count = row.get::<_, i64>("number")?.cast_unsigned();
        match state {
            MessageState::Queued | MessageState::Attempting => counts.waiting[lane.rank()].1 += count,
            MessageState::InDoubt => counts.in_doubt += count,
            MessageState::Parked => counts.parked += count,
            MessageState::Delivered => counts.delivered += count,
            MessageState::Dead => counts.dead += count,
            MessageState::Expired => counts.expired += count,
        }
        if matches!(
            state,
            MessageState::Queued | MessageState::Attempting | MessageState::InDoubt
        ) {
            oldest = oldest.into_iter().chain(time(row, "oldest")?).min();
        }
    }
    counts.oldest = oldest.map(|admitted| Duration::try_from(now.duration_since(admitted)).unwrap_or_default());
    Ok(counts)
}
