//! What changes the store: the state machine of a message, in SQL.

use std::{collections::HashMap, sync::Arc, time::Duration};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, params};

use super::{
    codec::{Micros, encode_headers},
    read,
    schema::{PAGE_BYTES, pragma},
    worker::{Facts, Failure},
};
use crate::queue::{
    Admitted, AttemptOutcome, Claimed, LOST_ATTEMPT, Lane, Lease, LogError, MessageState, NewMessage, OrderKey,
    StoredResponse, SweepReport, after, expiry_cause, lanes::Wheel,
};

/// At most so many messages are ended, and so many forgotten, by one sweep: others wait meanwhile.
const SWEEP_MESSAGES: i64 = 1000;

/// What a message takes beside its request: its row, its indexes, its attempts.
const MESSAGE_OVERHEAD: usize = 2048;

/// With less room than this the store counts as full.
const LEAST_ROOM: i64 = 64 << 10;

/// How many bytes a message will take, roughly.
pub(super) fn size(message: &NewMessage) -> usize {
    let headers = message
        .request
        .headers
        .iter()
        .map(|(name, value)| name.len() + value.len() + 8)
        .sum::<usize>();
    message.request.body.len() + message.request.path_and_query.len() + headers + MESSAGE_OVERHEAD
}

/// The writing connection, with what lives as long as it.
pub(super) struct Writer {
    connection: Connection,
    wheels: HashMap<String, Wheel>,
    quota: i64,
    /// Bytes that new messages may still take.
    room: i64,
    /// What the open transaction changed beside the store.
    pub(super) changes: Changes,
}

/// What others may see once the transaction is committed.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) depths: Vec<(OrderKey, isize)>,
    pub(super) stored: i64,
    /// Something may be due earlier than before.
    pub(super) wakes: bool,
}

impl Writer {
    pub(super) fn open(connection: Connection, max_bytes: u64) -> rusqlite::Result<(Self, Arc<Facts>)> {
        let quota = i64::try_from(max_bytes).unwrap_or(i64::MAX);
        let mut writer = Self {
            connection,
            wheels: HashMap::new(),
            quota,
            room: 0,
            changes: Changes::default(),
        };
        writer.begin()?;
        writer.void_leases(None, |admitted| admitted)?;
        writer.commit()?;
        writer.changes = Changes::default();
        let facts = Facts::new(
            writer.depths()?,
            writer.count("SELECT count(*) FROM message")?,
            writer.is_full(false),
        );
        Ok((writer, Arc::new(facts)))
    }

    pub(super) fn begin(&mut self) -> rusqlite::Result<()> {
        self.changes = Changes::default();
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map(drop)
    }

    pub(super) fn commit(&mut self) -> rusqlite::Result<()> {
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        let used = pragma(&self.connection, "page_count")? - pragma(&self.connection, "freelist_count")?;
        // The last tenth is kept for finishing what is there.
        self.room = self.quota / 10 * 9 - used * PAGE_BYTES;
        Ok(())
    }

    /// Errors are passed over: `SQLite` may have rolled back by itself, and if it has not, the next `begin` fails.
    pub(super) fn roll_back(&mut self) {
        self.changes = Changes::default();
        let _ = self.connection.execute_batch("ROLLBACK");
    }

    /// A store that was full is so until a twentieth of its quota is free again.
    pub(super) fn is_full(&self, was_full: bool) -> bool {
        self.room
            < if was_full {
                LEAST_ROOM.max(self.quota / 20)
            } else {
                LEAST_ROOM
            }
    }

    pub(super) fn admit(&mut self, message: &NewMessage, now: Timestamp) -> Result<Admitted, Failure> {
        if let Some(known) = self.known(message)? {
            return Ok(known);
        }
        let size = i64::try_from(size(message)).unwrap_or(i64::MAX);
        if size > self.room {
            return Err(LogError::Full.into());
        }
        self.room -= size;
        self.insert(message, now)?;
        self.refresh(&message.order_key)?;
        self.changes.depths.push((message.order_key.clone(), 1));
        self.changes.stored += 1;
        self.changes.wakes = true;
        Ok(Admitted::New)
    }

    fn known(&self, message: &NewMessage) -> rusqlite::Result<Option<Admitted>> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT * FROM message WHERE scope = ?1 OR id = ?2")?;
        let known = statement.query_row(params![message.scope, message.id], |row| {
            let is_same = row.get::<_, [u8; 32]>("scope")? == message.scope
                && row.get::<_, [u8; 32]>("fingerprint")? == message.fingerprint;
            if !is_same {
                return Ok(Admitted::Mismatch);
            }
            Ok(Admitted::Replay(Box::new(read::view(&self.connection, row)?)))
        });
        known.optional()
    }

    fn insert(&self, message: &NewMessage, now: Timestamp) -> rusqlite::Result<()> {
        let state = if message.is_in_doubt {
            MessageState::InDoubt
        } else {
            MessageState::Queued
        };
        self.execute(
            "INSERT INTO message (id, scope, fingerprint, api, operation, version, channel, upstream, order_value,
                lane, transaction_type, transaction_key, correlation, traceparent, deadline, max_attempts, state, holds,
                in_doubt, attempts, first_sent, admitted, next_at, epoch)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, 0, ?20, ?21,
                ?21, 0)",
            params![
                message.id,
                message.scope,
                message.fingerprint,
                message.api,
                message.operation,
                message.version,
                message.channel,
                message.order_key.upstream,
                message.order_key.value,
                message.lane,
                message.transaction.as_ref().map(|(kind, _)| kind),
                message.transaction.as_ref().map(|(_, key)| key),
                message.correlation,
                message.traceparent,
                Micros(message.deadline),
                message.max_attempts,
                state,
                state.holds_key(),
                message.is_in_doubt,
                message.is_in_doubt.then_some(Micros(now)),
                Micros(now),
            ],
        )?;
        let request = &message.request;
        self.execute(
            "INSERT INTO request (seq, method, path_and_query, idempotency_key, headers, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                self.connection.last_insert_rowid(),
                request.method,
                request.path_and_query,
                request.idempotency_key,
                encode_headers(&request.headers),
                &request.body[..],
            ],
        )
    }

    pub(super) fn claim(
        &mut self,
        upstream: &str,
        max: usize,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Failure> {
        self.expire(now)?;
        let mut waiting = [const { Vec::new() }; 3];
        for lane in Lane::ALL {
            waiting[lane.rank()] = self.ready(upstream, lane, max, now)?;
        }
        let picked = self.wheels.entry(upstream.to_owned()).or_default().pick(waiting, max);
        let until = after(now, lease);
        let claimed = picked.into_iter().map(|seq| self.lease(seq, until));
        Ok(claimed.collect::<rusqlite::Result<_>>()?)
    }

    fn ready(&self, upstream: &str, lane: Lane, max: usize, now: Timestamp) -> rusqlite::Result<Vec<i64>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT seq FROM head WHERE upstream = ?1 AND lane = ?2 AND ready_at <= ?3 ORDER BY ready_at, seq LIMIT ?4",
        )?;
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let ready = statement.query_map(params![upstream, lane, Micros(now), max], |row| row.get(0))?;
        ready.collect()
    }

    fn lease(&self, seq: i64, until: Timestamp) -> rusqlite::Result<Claimed> {
        self.execute(
            "UPDATE message SET epoch = epoch + 1, lease_until = ?2 WHERE seq = ?1",
            params![seq, Micros(until)],
        )?;
        let mut statement = self
            .connection
            .prepare_cached("SELECT * FROM message JOIN request USING (seq) WHERE seq = ?1")?;
        let claimed = statement.query_row([seq], |row| {
            Ok(Claimed {
                lease: Lease {
                    id: row.get("id")?,
                    epoch: row.get::<_, i64>("epoch")?.cast_unsigned(),
                },
                message: read::message(row)?,
                attempts: row.get("attempts")?,
                first_sent: read::first_sent(row)?,
                admitted: row.get::<_, Micros>("admitted")?.0,
            })
        })?;
        self.refresh(&claimed.message.order_key)?;
        Ok(claimed)
    }

    pub(super) fn begin_attempt(&mut self, lease: &Lease, now: Timestamp) -> Result<u32, Failure> {
        let leased = self.leased(lease)?;
        if leased.until <= now || leased.state == MessageState::Attempting {
            return Err(LogError::Fenced.into());
        }
        let number = leased.attempts + 1;
        self.execute(
            "UPDATE message SET state = ?2, attempts = ?3, first_sent = coalesce(first_sent, ?4) WHERE seq = ?1",
            params![leased.seq, MessageState::Attempting, number, Micros(now)],
        )?;
        self.execute(
            "INSERT OR REPLACE INTO attempt (seq, number, started, result) VALUES (?1, ?2, ?3, '')",
            params![leased.seq, number, Micros(now)],
        )?;
        Ok(number)
    }

    pub(super) fn finish(&mut self, lease: &Lease, outcome: &AttemptOutcome, now: Timestamp) -> Result<(), Failure> {
        let leased = self.leased(lease)?;
        let was_attempting = leased.state == MessageState::Attempting;
        if was_attempting {
            self.execute(
                "UPDATE attempt SET ended = ?3, result = ?4 WHERE seq = ?1 AND number = ?2",
                params![leased.seq, leased.attempts, Micros(now), outcome.result()],
            )?;
        }
        let mut in_doubt = leased.in_doubt;
        let mut attempts = leased.attempts;
        let mut next = None;
        let state = match outcome {
            AttemptOutcome::Delivered(response) => {
                self.keep_response(leased.seq, response)?;
                // Nobody will send it again.
                self.execute("DELETE FROM request WHERE seq = ?1", [leased.seq])?;
                MessageState::Delivered
            }
            AttemptOutcome::Rejected(response) => {
                self.keep_response(leased.seq, response)?;
                MessageState::Dead
            }
            AttemptOutcome::RetryAt { at, counts, .. } => {
                next = Some(Micros(*at));
                attempts -= u32::from(was_attempting && !counts);
                if in_doubt {
                    MessageState::InDoubt
                } else {
                    MessageState::Queued
                }
            }
            AttemptOutcome::InDoubt { at, .. } => {
                next = Some(Micros(*at));
                in_doubt = true;
                MessageState::InDoubt
            }
            AttemptOutcome::Parked { .. } => MessageState::Parked,
            AttemptOutcome::Dead { .. } => MessageState::Dead,
        };
        self.execute(
            "UPDATE message SET state = ?2, holds = ?3, in_doubt = ?4, attempts = ?5, next_at = ?6, finished = ?7,
                cause = ?8, lease_until = NULL, first_sent = CASE WHEN ?9 THEN NULL ELSE first_sent END
             WHERE seq = ?1",
            params![
                leased.seq,
                state,
                state.holds_key(),
                in_doubt,
                attempts,
                next,
                state.is_final().then_some(Micros(now)),
                outcome.cause(),
                state == MessageState::Queued,
            ],
        )?;
        self.settle(leased.key, state)?;
        Ok(())
    }

    fn keep_response(&self, seq: i64, response: &StoredResponse) -> rusqlite::Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO response (seq, status, headers, body) VALUES (?1, ?2, ?3, ?4)",
            params![
                seq,
                response.status,
                encode_headers(&response.headers),
                &response.body[..]
            ],
        )
    }

    pub(super) fn sweep(&mut self, retention: Duration, now: Timestamp) -> Result<SweepReport, Failure> {
        let leases_expired = self.void_leases(Some(now), |_| now)?;
        let messages_expired = self.expire(now)?;
        let mut forget = self.connection.prepare_cached(
            "DELETE FROM message WHERE seq IN (
                SELECT seq FROM message WHERE finished IS NOT NULL AND finished <= ?1 AND holds = 0 LIMIT ?2)",
        )?;
        let past = now.saturating_sub(retention).unwrap_or(Timestamp::MIN);
        let messages_forgotten = forget.execute(params![Micros(past), SWEEP_MESSAGES])?;
        self.changes.stored -= i64::try_from(messages_forgotten).unwrap_or(0);
        Ok(SweepReport {
            leases_expired,
            messages_expired,
            messages_forgotten: messages_forgotten as u64,
        })
    }

    /// Takes back leases that ended by `now`, or all of them. An attempt under way may have had its effect.
    fn void_leases(&mut self, now: Option<Timestamp>, next: impl Fn(Timestamp) -> Timestamp) -> rusqlite::Result<u64> {
        let ended = {
            let mut statement = self.connection.prepare_cached(
                "SELECT seq, state, attempts, admitted, upstream, order_value FROM message
                 WHERE lease_until IS NOT NULL AND lease_until <= ?1",
            )?;
            let until = now.map_or(i64::MAX, Timestamp::as_microsecond);
            let rows = statement.query_map([until], |row| {
                Ok((
                    row.get::<_, i64>("seq")?,
                    row.get::<_, MessageState>("state")?,
                    row.get::<_, u32>("attempts")?,
                    row.get::<_, Micros>("admitted")?.0,
                    OrderKey {
                        upstream: row.get("upstream")?,
                        value: row.get("order_value")?,
                    },
                ))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()?
        };
        for (seq, state, attempts, admitted, key) in &ended {
            self.execute(
                "UPDATE message SET lease_until = NULL, epoch = epoch + 1 WHERE seq = ?1",
                [seq],
            )?;
            if *state == MessageState::Attempting {
                self.execute(
                    "UPDATE message SET state = ?2, in_doubt = 1, next_at = ?3 WHERE seq = ?1",
                    params![seq, MessageState::InDoubt, Micros(next(*admitted))],
                )?;
                self.execute(
                    "UPDATE attempt SET result = ?3 WHERE seq = ?1 AND number = ?2",
                    params![seq, attempts, LOST_ATTEMPT],
                )?;
            }
            self.refresh(key)?;
            self.changes.wakes = true;
        }
        Ok(ended.len() as u64)
    }

    /// Ends what waits past its deadline.
    fn expire(&mut self, now: Timestamp) -> rusqlite::Result<u64> {
        let overdue = {
            // `next_at` is there exactly while a message may be delivered.
            let mut statement = self.connection.prepare_cached(
                "SELECT seq, in_doubt, upstream, order_value FROM message
                 WHERE holds = 1 AND next_at IS NOT NULL AND deadline <= ?1 AND lease_until IS NULL
                 ORDER BY deadline LIMIT ?2",
            )?;
            let rows = statement.query_map(params![Micros(now), SWEEP_MESSAGES], |row| {
                let key = OrderKey {
                    upstream: row.get("upstream")?,
                    value: row.get("order_value")?,
                };
                Ok((row.get::<_, i64>("seq")?, row.get::<_, bool>("in_doubt")?, key))
            })?;
            rows.collect::<rusqlite::Result<Vec<_>>>()?
        };
        let expired = overdue.len() as u64;
        for (seq, in_doubt, key) in overdue {
            let state = MessageState::Expired;
            self.execute(
                "UPDATE message SET state = ?2, holds = ?3, next_at = NULL, finished = ?4, cause = ?5 WHERE seq = ?1",
                params![seq, state, state.holds_key(), Micros(now), expiry_cause(in_doubt)],
            )?;
            self.settle(key, state)?;
        }
        Ok(expired)
    }

    /// Brings what is derived from a message up to date after its state changed.
    fn settle(&mut self, key: OrderKey, state: MessageState) -> rusqlite::Result<()> {
        self.refresh(&key)?;
        if !state.holds_key() {
            self.changes.depths.push((key, -1));
        }
        self.changes.wakes = true;
        Ok(())
    }

    /// Derives a key's row in `head` from its messages.
    fn refresh(&self, key: &OrderKey) -> rusqlite::Result<()> {
        self.execute(
            "DELETE FROM head WHERE upstream = ?1 AND order_value = ?2",
            [&key.upstream, &key.value],
        )?;
        self.execute(
            "INSERT INTO head (upstream, order_value, seq, lane, ready_at)
             SELECT upstream, order_value, seq,
                (SELECT min(lane) FROM message WHERE upstream = ?1 AND order_value = ?2 AND holds = 1),
                CASE WHEN lease_until IS NULL THEN next_at END
             FROM message WHERE upstream = ?1 AND order_value = ?2 AND holds = 1 ORDER BY seq LIMIT 1",
            [&key.upstream, &key.value],
        )
    }

    fn leased(&self, lease: &Lease) -> Result<Leased, Failure> {
        let mut statement = self.connection.prepare_cached(
            "SELECT seq, state, attempts, in_doubt, lease_until, upstream, order_value FROM message
             WHERE id = ?1 AND epoch = ?2 AND lease_until IS NOT NULL",
        )?;
        let leased = statement.query_row(params![lease.id, lease.epoch.cast_signed()], |row| {
            Ok(Leased {
                seq: row.get("seq")?,
                state: row.get("state")?,
                attempts: row.get("attempts")?,
                in_doubt: row.get("in_doubt")?,
                until: row.get::<_, Micros>("lease_until")?.0,
                key: OrderKey {
                    upstream: row.get("upstream")?,
                    value: row.get("order_value")?,
                },
            })
        });
        leased.optional()?.ok_or_else(|| LogError::Fenced.into())
    }

    fn depths(&self) -> rusqlite::Result<HashMap<OrderKey, usize>> {
        let mut statement = self.connection.prepare(
            "SELECT upstream, order_value, count(*) FROM message WHERE holds = 1 GROUP BY upstream, order_value",
        )?;
        let depths = statement.query_map([], |row| {
            let depth = usize::try_from(row.get::<_, i64>(2)?).unwrap_or(usize::MAX);
            Ok((
                OrderKey {
                    upstream: row.get(0)?,
                    value: row.get(1)?,
                },
                depth,
            ))
        })?;
        depths.collect()
    }

    fn count(&self, sql: &str) -> rusqlite::Result<i64> {
        self.connection.query_row(sql, [], |row| row.get(0))
    }

    fn execute(&self, sql: &str, params: impl Params) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute(params).map(drop)
    }
}

/// A message whose lease is valid.
struct Leased {
    seq: i64,
    state: MessageState,
    attempts: u32,
    in_doubt: bool,
    until: Timestamp,
    key: OrderKey,
}
