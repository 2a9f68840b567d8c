//! What changes the store: each change of a message's standing, and what follows from it.

mod acts;

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    mem,
    sync::Arc,
    time::Duration,
};

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, params};

use super::{
    ballast::Ballast,
    codec::{Micros, encode_headers},
    fold::Folding,
    read,
    row::{Known, Whole, columns, more_columns},
    schema::{fold, give_back, used},
    worker::{Facts, Failure},
};
use crate::{
    audit,
    queue::{
        Admission, Admitted, AttemptOutcome, Claimed, EndedAttempt, Group, Lane, Lease, LogError, MessageState,
        NewMessage, OrderKey, Pause, PauseScope, Standing, StoredRequest, StoredResponse, SweepReport, after,
        lanes::{Ready, Wheel},
    },
};

/// At most so many messages are ended, and so many forgotten, by one sweep: others wait meanwhile.
const SWEEP_MESSAGES: i64 = 1000;

/// What a message takes beside its request: its row, its indexes, its attempts.
const MESSAGE_OVERHEAD: usize = 2048;

/// With less room than this the store counts as full.
const LEAST_ROOM: i64 = 64 << 10;

/// Finished messages forgotten at a time, beyond those of a sweep, when nobody wants anything.
const IDLE_MESSAGES: i64 = 200;

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
    facts: Arc<Facts>,
    wheels: HashMap<String, Wheel>,
    pauses: BTreeMap<PauseScope, Pause>,
    audit: audit::Head,
    ballast: Ballast,
    folding: Folding,
    /// Messages finished by then are to be forgotten: the last sweep has left some.
    forgets: Option<Timestamp>,
    /// Pages were given back, and the file is as long as before.
    gave_back: bool,
    quota: i64,
    /// Bytes that new messages may still take.
    room: i64,
    /// What the open transaction changed beside the store.
    pub(super) changes: Changes,
}

/// What others may see once the transaction is committed.
#[derive(Default)]
pub(super) struct Changes {
    pub(super) depths: Vec<(OrderKey, i32)>,
    pub(super) groups: HashMap<Group, i64>,
    pub(super) admitted: u64,
    /// What is held back, where that changed.
    pub(super) pauses: Option<BTreeMap<PauseScope, Pause>>,
    /// Something may be due earlier than before.
    pub(super) wakes: bool,
}

impl Writer {
    /// `second` is another connection that writes, for folding in the write-ahead log.
    pub(super) fn open(
        connection: Connection,
        second: Connection,
        max_bytes: u64,
        ballast: Ballast,
    ) -> rusqlite::Result<(Self, Arc<Facts>)> {
        let quota = i64::try_from(max_bytes).unwrap_or(i64::MAX);
        let pauses = read::pauses(&connection)?;
        let facts = Arc::new(Facts::new(max_bytes, pauses.clone()));
        let mut writer = Self {
            audit: read::audit_head(&connection)?,
            connection,
            facts: Arc::clone(&facts),
            wheels: HashMap::new(),
            pauses,
            ballast,
            folding: Folding::new(second, &facts),
            forgets: None,
            gave_back: false,
            quota,
            room: 0,
            changes: Changes::default(),
        };
        writer.begin()?;
        writer.void_leases(None, |admitted| admitted)?;
        writer.void_notice_leases()?;
        writer.commit()?;
        writer.changes = Changes::default();
        writer.count_all()?;
        facts.apply(&mut writer);
        Ok((writer, facts))
    }

    pub(super) fn begin(&mut self) -> rusqlite::Result<()> {
        self.changes = Changes::default();
        self.connection.prepare_cached("BEGIN IMMEDIATE")?.execute([]).map(drop)
    }

    pub(super) fn commit(&mut self) -> rusqlite::Result<()> {
        self.connection.prepare_cached("COMMIT")?.execute([])?;
        // The last tenth is kept for finishing what is there.
        self.room = self.quota / 10 * 9 - used(&self.connection)?;
        Ok(())
    }

    /// Errors are passed over: `SQLite` may have rolled back by itself, and if it has not, the next `begin` fails.
    pub(super) fn roll_back(&mut self) {
        self.changes = Changes::default();
        let _ = self.connection.execute_batch("ROLLBACK");
        if let (Ok(pauses), Ok(head)) = (read::pauses(&self.connection), read::audit_head(&self.connection)) {
            self.pauses = pauses;
            self.audit = head;
        }
    }

    /// What can wait until the answers are given. Most of it waits until nobody wants anything. Whether there is more.
    pub(super) fn tidy(&mut self, is_idle: bool) -> rusqlite::Result<bool> {
        // On a full disk the log must not grow.
        self.folding.look(&self.connection, !self.ballast.is_there())?;
        if !is_idle {
            return Ok(false);
        }
        self.ballast.restore();
        if self.forget_some()? {
            return Ok(true);
        }
        let gives_back = give_back(&self.connection)?;
        if self.gave_back && !gives_back {
            // The file gets shorter when that is folded in.
            fold(&self.connection)?;
        }
        self.gave_back = gives_back;
        Ok(gives_back)
    }

    /// Goes on where the last sweep has left off. Whether there was something.
    fn forget_some(&mut self) -> rusqlite::Result<bool> {
        let Some(past) = self.forgets else { return Ok(false) };
        self.begin()?;
        let done = self.forget(past, IDLE_MESSAGES);
        match done.and_then(|_| self.commit()) {
            Ok(()) => Ok(true),
            Err(error) => {
                self.roll_back();
                Err(error)
            }
        }
    }

    /// Whether a transaction that found no room has some now.
    pub(super) fn makes_room(&mut self) -> bool {
        self.ballast.is_there() && self.ballast.is_disk_full() && self.ballast.release()
    }

    /// A store that was full is so until a twentieth of its quota is free again.
    pub(super) fn is_full(&self, was_full: bool) -> bool {
        if !self.ballast.is_there() {
            return true;
        }
        self.room
            < if was_full {
                LEAST_ROOM.max(self.quota / 20)
            } else {
                LEAST_ROOM
            }
    }

    /// Bytes that are in use.
    pub(super) fn bytes_used(&self) -> u64 {
        u64::try_from(self.quota / 10 * 9 - self.room).unwrap_or(0)
    }

    pub(super) fn admit(&mut self, admission: &Admission, now: Timestamp) -> Result<Admitted, Failure> {
        let message = &admission.message;
        let size = i64::try_from(size(message)).unwrap_or(i64::MAX);
        if let Err(refusal) = self.takes(admission, size) {
            // What is here already needs no room.
            return self.known(message)?.ok_or_else(|| refusal.into());
        }
        let until = match admission.attempt {
            Some(length) if !self.is_held(&message.order_key)? => Some(after(now, length)),
            _ => None,
        };
        let standing = Standing::admitted(message, until, now);
        let Some(seq) = self.insert(message, true, now, &standing)? else {
            return self.known(message)?.ok_or_else(|| LogError::Unknown.into());
        };
        self.room -= size;
        if until.is_some() {
            self.started(seq, standing.attempts, now)?;
        }
        self.changes.admitted += 1;
        let lease = until.map(|_| Lease {
            id: message.id.clone(),
            epoch: standing.epoch,
        });
        Ok(Admitted::New(lease))
    }

    /// Whether a message of that size is taken, unless it is known.
    fn takes(&self, admission: &Admission, size: i64) -> Result<(), LogError> {
        if self.pauses.contains_key(&PauseScope::Intake) {
            return Err(LogError::Draining);
        }
        self.check_limits(admission)?;
        if size > self.room || !self.ballast.is_there() {
            return Err(LogError::Full);
        }
        Ok(())
    }

    fn known(&self, message: &NewMessage) -> rusqlite::Result<Option<Admitted>> {
        let mut statement = self.connection.prepare_cached(concat!(
            "SELECT ",
            columns!(),
            more_columns!(),
            " FROM message WHERE scope = ?1 OR message.id = ?2"
        ))?;
        let known = statement
            .query_row(params![message.scope, message.id], Whole::read)
            .optional()?;
        let Some(known) = known else { return Ok(None) };
        let is_same = known.message.scope == message.scope && known.message.fingerprint == message.fingerprint;
        Ok(Some(if is_same {
            Admitted::Replay(Box::new(read::view(&self.connection, &known)?))
        } else {
            Admitted::Mismatch
        }))
    }

    fn check_limits(&self, admission: &Admission) -> Result<(), LogError> {
        let (message, limits) = (&admission.message, &admission.limits);
        let is_of_api = |group: &Group| group.holds && group.api == message.api;
        if let Some(max) = limits.api
            && self.count(is_of_api) >= max
        {
            return Err(LogError::TooMany(format!("API {}", message.api)));
        }
        if let Some(max) = limits.channel
            && self.count(|group| is_of_api(group) && group.channel == message.channel) >= max
        {
            return Err(LogError::TooMany(format!("channel {}", message.channel)));
        }
        Ok(())
    }

    /// Messages in groups, those of the open transaction included.
    fn count(&self, is_meant: impl Fn(&Group) -> bool) -> u64 {
        let pending = self.changes.groups.iter().filter(|(group, _)| is_meant(group));
        let pending: i64 = pending.map(|(_, change)| change).sum();
        self.facts.count(is_meant).saturating_add_signed(pending)
    }

    fn is_held(&self, key: &OrderKey) -> rusqlite::Result<bool> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT 1 FROM head WHERE upstream = ?1 AND order_value = ?2")?;
        statement.exists([&key.upstream, &key.value])
    }

    /// Writes a message with all that follows from it. Returns its place, or `None` where its id or scope is known.
    fn insert(
        &mut self,
        message: &NewMessage,
        has_request: bool,
        admitted: Timestamp,
        standing: &Standing,
    ) -> rusqlite::Result<Option<i64>> {
        let holds = standing.holds_key(message.head_of_line);
        let mut insert = self.connection.prepare_cached(
            "INSERT INTO message (id, scope, fingerprint, api, operation, version, channel, upstream, order_value,
                lane, head_of_line, transaction_type, transaction_key, correlation, traceparent, deadline,
                max_attempts, synchronous, admitted, state, holds, in_doubt, attempts, attempts_allowed, breaks,
                first_sent, last_sent, next_at, due_by, finished, class, cause, epoch, lease_until)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21,
                ?22, ?23, ?24, ?25, ?26, ?27, ?28, ?29, ?30, ?31, ?32, ?33, ?34) ON CONFLICT DO NOTHING",
        )?;
        let inserted = insert.execute(params![
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
            message.head_of_line,
            message.transaction.as_ref().map(|(kind, _)| kind),
            message.transaction.as_ref().map(|(_, key)| key),
            message.correlation,
            message.traceparent,
            Micros(message.deadline),
            message.max_attempts,
            message.is_synchronous,
            Micros(admitted),
            standing.state,
            holds,
            standing.is_in_doubt,
            standing.attempts,
            standing.max_attempts,
            standing.breaks,
            standing.first_sent.map(Micros),
            standing.last_sent.map(Micros),
            standing.next_attempt.map(Micros),
            Micros(standing.deadline),
            standing.finished.map(Micros),
            standing.failure.as_ref().map(|failure| failure.class),
            standing.failure.as_ref().map(|failure| &failure.cause),
            standing.epoch.cast_signed(),
            standing.leased_until.map(Micros),
        ])?;
        drop(insert);
        if inserted == 0 {
            return Ok(None);
        }
        let seq = self.connection.last_insert_rowid();
        if has_request {
            self.insert_request(seq, &message.request)?;
        }
        if holds {
            self.append_to_key(seq, message, standing)?;
            self.changes.depths.push((message.order_key.clone(), 1));
        }
        let group = Group {
            upstream: message.order_key.upstream.clone(),
            api: message.api.clone(),
            channel: message.channel.clone(),
            lane: message.lane,
            state: standing.state,
            holds,
        };
        *self.changes.groups.entry(group).or_default() += 1;
        self.changes.wakes = true;
        Ok(Some(seq))
    }

    fn insert_request(&self, seq: i64, request: &StoredRequest) -> rusqlite::Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO request (seq, method, path_and_query, idempotency_key, headers, body)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
            params![
                seq,
                request.method,
                request.path_and_query,
                request.idempotency_key,
                encode_headers(&request.headers),
                &request.body[..],
            ],
        )
    }

    /// A key's last message: either it is its first too, or it may make the key more urgent.
    fn append_to_key(&self, seq: i64, message: &NewMessage, standing: &Standing) -> rusqlite::Result<()> {
        let ready_at = standing.ready_at().filter(|_| !self.is_key_paused(&message.order_key));
        self.execute(
            "INSERT INTO head (upstream, order_value, seq, lane, channel, api, ready_at)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
             ON CONFLICT (upstream, order_value) DO UPDATE SET lane = excluded.lane WHERE excluded.lane < lane",
            params![
                message.order_key.upstream,
                message.order_key.value,
                seq,
                message.lane,
                message.channel,
                message.api,
                ready_at.map(Micros),
            ],
        )
    }

    fn is_key_paused(&self, key: &OrderKey) -> bool {
        // Few are paused, and most of the time none is.
        !self.pauses.is_empty() && self.pauses.contains_key(&PauseScope::Key(key.clone()))
    }

    pub(super) fn claim(
        &mut self,
        upstream: &str,
        max: usize,
        lease: Duration,
        now: Timestamp,
    ) -> Result<Vec<Claimed>, Failure> {
        self.expire(now)?;
        if self.pauses.keys().any(|scope| scope.closes(upstream)) {
            return Ok(Vec::new());
        }
        let mut ready: [Ready<(Timestamp, i64)>; 3] = Default::default();
        for lane in Lane::ALL {
            ready[lane.rank()] = self.ready(upstream, lane, max, now)?;
        }
        let picked = self.wheels.entry(upstream.to_owned()).or_default().pick(ready, max);
        let until = after(now, lease);
        let claimed = picked.into_iter().map(|(_, seq)| self.lease(seq, until));
        Ok(claimed.collect::<rusqlite::Result<_>>()?)
    }

    /// What is ready in a lane, by channel, the first `max` of each.
    fn ready(
        &self,
        upstream: &str,
        lane: Lane,
        max: usize,
        now: Timestamp,
    ) -> rusqlite::Result<Ready<(Timestamp, i64)>> {
        let mut statement = self.connection.prepare_cached(
            "SELECT ready_at, seq FROM head WHERE upstream = ?1 AND lane = ?2 AND channel = ?3 AND api = ?4
                AND ready_at <= ?5 ORDER BY ready_at, seq LIMIT ?6",
        )?;
        let max = i64::try_from(max).unwrap_or(i64::MAX);
        let mut ready = BTreeMap::<String, Vec<(Timestamp, i64)>>::new();
        for (channel, api) in read::sources(&self.connection, upstream, lane)? {
            if read::is_paused(&self.pauses, &api) {
                continue;
            }
            let found = statement.query_map(params![upstream, lane, channel, api, Micros(now), max], |row| {
                Ok((row.get::<_, Micros>(0)?.0, row.get::<_, i64>(1)?))
            })?;
            let found = found.collect::<rusqlite::Result<Vec<_>>>()?;
            if !found.is_empty() {
                ready.entry(channel).or_default().extend(found);
            }
        }
        let sorted = ready.into_iter().map(|(channel, mut heads)| {
            heads.sort_unstable();
            (channel, VecDeque::from(heads))
        });
        Ok(sorted.collect())
    }

    fn lease(&mut self, seq: i64, until: Timestamp) -> rusqlite::Result<Claimed> {
        let mut whole = {
            let mut statement = self.connection.prepare_cached(concat!(
                "SELECT ",
                columns!(),
                more_columns!(),
                ", method, path_and_query, idempotency_key, headers, body",
                " FROM message JOIN request USING (seq) WHERE message.seq = ?1"
            ))?;
            statement.query_row([seq], read::claimed)?
        };
        whole.known.standing.lease(until);
        self.execute(
            "UPDATE message SET epoch = ?2, lease_until = ?3 WHERE seq = ?1",
            params![seq, whole.known.standing.epoch.cast_signed(), Micros(until)],
        )?;
        let key = &whole.known.key;
        self.execute(
            "UPDATE head SET ready_at = NULL WHERE upstream = ?1 AND order_value = ?2",
            [&key.upstream, &key.value],
        )?;
        Ok(Claimed::new(whole.message, &whole.known.standing, whole.known.admitted))
    }

    pub(super) fn begin_attempt(&mut self, lease: &Lease, now: Timestamp) -> Result<u32, Failure> {
        let Some(before) = self.message(&lease.id)? else {
            return Err(LogError::Fenced.into());
        };
        let mut standing = before.standing.clone();
        let number = standing.begin(&self.presented(&before, lease), now)?;
        self.execute(
            "UPDATE message SET state = ?2, attempts = ?3, first_sent = ?4, last_sent = ?5 WHERE seq = ?1",
            params![
                before.seq,
                standing.state,
                standing.attempts,
                standing.first_sent.map(Micros),
                standing.last_sent.map(Micros)
            ],
        )?;
        self.started(before.seq, number, now)?;
        self.regroup(&before, &standing);
        Ok(number)
    }

    fn started(&self, seq: i64, number: u32, now: Timestamp) -> rusqlite::Result<()> {
        self.execute(
            "INSERT OR REPLACE INTO attempt (seq, number, started, result) VALUES (?1, ?2, ?3, '')",
            params![seq, number, Micros(now)],
        )
    }

    pub(super) fn renew(&mut self, lease: &Lease, length: Duration, now: Timestamp) -> Result<(), Failure> {
        let Some(mut known) = self.message(&lease.id)? else {
            return Err(LogError::Fenced.into());
        };
        let until = after(now, length);
        let presented = self.presented(&known, lease);
        known.standing.renew(&presented, until, now)?;
        self.execute(
            "UPDATE message SET lease_until = ?2 WHERE seq = ?1",
            params![known.seq, Micros(until)],
        )?;
        Ok(())
    }

    pub(super) fn finish(&mut self, lease: &Lease, outcome: &AttemptOutcome, now: Timestamp) -> Result<(), Failure> {
        let Some(before) = self.message(&lease.id)? else {
            return Err(LogError::Fenced.into());
        };
        let mut standing = before.standing.clone();
        let ended = standing.finish(&self.presented(&before, lease), outcome, now)?;
        if *outcome == AttemptOutcome::Forgotten {
            self.execute("DELETE FROM message WHERE seq = ?1", [before.seq])?;
            self.removed(&before)?;
            return Ok(());
        }
        self.ended(before.seq, ended, now)?;
        if let Some(response) = outcome.response() {
            self.keep_response(before.seq, response)?;
        }
        if standing.state == MessageState::Delivered {
            self.drop_request(before.seq)?;
        }
        self.save(&before, &standing)?;
        if outcome.is_news() {
            self.tell(&before, &standing)?;
        }
        Ok(())
    }

    #[cfg(not(test))]
    #[expect(clippy::unused_self, reason = "a test has a switch here")]
    fn presented(&self, _: &Known, lease: &Lease) -> Lease {
        lease.clone()
    }

    /// The same, with a switch that takes every epoch on trust: for the test that shows that the others would notice.
    #[cfg(test)]
    fn presented(&self, known: &Known, lease: &Lease) -> Lease {
        let is_trusted = self.facts.trusts_every_epoch.load(std::sync::atomic::Ordering::Relaxed);
        Lease {
            epoch: if is_trusted { known.standing.epoch } else { lease.epoch },
            ..lease.clone()
        }
    }

    fn ended(&self, seq: i64, ended: Option<EndedAttempt>, now: Timestamp) -> rusqlite::Result<()> {
        let Some(ended) = ended else { return Ok(()) };
        let at = ended.ended.then_some(Micros(now));
        self.execute(
            "UPDATE attempt SET ended = ?3, result = ?4 WHERE seq = ?1 AND number = ?2",
            params![seq, ended.number, at, ended.result],
        )
    }

    /// Nobody will send it again.
    fn drop_request(&self, seq: i64) -> rusqlite::Result<()> {
        self.execute("DELETE FROM request WHERE seq = ?1", [seq])
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
        let past = now.saturating_sub(retention).unwrap_or(Timestamp::MIN);
        Ok(SweepReport {
            leases_expired,
            messages_expired,
            messages_forgotten: self.forget(past, SWEEP_MESSAGES)?,
        })
    }

    /// Deletes up to `max` messages that were finished by then.
    fn forget(&mut self, past: Timestamp, max: i64) -> rusqlite::Result<u64> {
        let forgotten = self.select(
            concat!(
                "SELECT ",
                columns!(),
                " FROM message WHERE finished IS NOT NULL AND finished <= ?1 AND holds = 0 AND NOT EXISTS (
                    SELECT 1 FROM notice WHERE notice.seq = message.seq AND next_try IS NOT NULL) LIMIT ?2"
            ),
            params![Micros(past), max],
        )?;
        for known in &forgotten {
            self.execute("DELETE FROM message WHERE seq = ?1", [known.seq])?;
            *self.changes.groups.entry(known.group()).or_default() -= 1;
        }
        let forgotten = forgotten.len() as u64;
        self.forgets = (forgotten == max.cast_unsigned()).then_some(past);
        Ok(forgotten)
    }

    /// Takes back leases that ended by `now`, or all of them. An attempt under way may have had its effect.
    fn void_leases(&mut self, now: Option<Timestamp>, next: impl Fn(Timestamp) -> Timestamp) -> rusqlite::Result<u64> {
        let until = now.map_or(i64::MAX, Timestamp::as_microsecond);
        let ended = self.select(
            concat!(
                "SELECT ",
                columns!(),
                " FROM message WHERE lease_until IS NOT NULL AND lease_until <= ?1"
            ),
            [until],
        )?;
        for before in &ended {
            let mut standing = before.standing.clone();
            let attempt = standing.lose_lease(next(before.admitted));
            self.ended(before.seq, attempt, now.unwrap_or(before.admitted))?;
            self.save(before, &standing)?;
        }
        Ok(ended.len() as u64)
    }

    /// Ends what waits past its deadline.
    fn expire(&mut self, now: Timestamp) -> rusqlite::Result<u64> {
        // `next_at` is there exactly while a message may be delivered.
        let overdue = self.select(
            concat!(
                "SELECT ",
                columns!(),
                " FROM message WHERE next_at IS NOT NULL AND due_by <= ?1 AND lease_until IS NULL ",
                "ORDER BY due_by LIMIT ?2"
            ),
            params![Micros(now), SWEEP_MESSAGES],
        )?;
        for before in &overdue {
            let mut standing = before.standing.clone();
            standing.expire(now);
            self.save(before, &standing)?;
            self.tell(before, &standing)?;
        }
        Ok(overdue.len() as u64)
    }

    /// Writes how a message stands, and what follows from it.
    fn save(&mut self, before: &Known, standing: &Standing) -> rusqlite::Result<()> {
        let holds = standing.holds_key(before.head_of_line);
        self.execute(
            "UPDATE message SET state = ?2, holds = ?3, in_doubt = ?4, attempts = ?5, attempts_allowed = ?6,
                breaks = ?7, first_sent = ?8, last_sent = ?9, next_at = ?10, due_by = ?11, finished = ?12,
                class = ?13, cause = ?14, epoch = ?15, lease_until = ?16
             WHERE seq = ?1",
            params![
                before.seq,
                standing.state,
                holds,
                standing.is_in_doubt,
                standing.attempts,
                standing.max_attempts,
                standing.breaks,
                standing.first_sent.map(Micros),
                standing.last_sent.map(Micros),
                standing.next_attempt.map(Micros),
                Micros(standing.deadline),
                standing.finished.map(Micros),
                standing.failure.as_ref().map(|failure| failure.class),
                standing.failure.as_ref().map(|failure| &failure.cause),
                standing.epoch.cast_signed(),
                standing.leased_until.map(Micros),
            ],
        )?;
        self.regroup(before, standing);
        let change = i32::from(holds) - i32::from(before.holds());
        if change != 0 {
            self.changes.depths.push((before.key.clone(), change));
        }
        self.refresh(&before.key)?;
        self.changes.wakes = true;
        Ok(())
    }

    fn regroup(&mut self, before: &Known, standing: &Standing) {
        let old = before.group();
        let new = Group {
            state: standing.state,
            holds: standing.holds_key(before.head_of_line),
            ..old.clone()
        };
        *self.changes.groups.entry(old).or_default() -= 1;
        *self.changes.groups.entry(new).or_default() += 1;
    }

    /// A message that held its key is gone.
    fn removed(&mut self, before: &Known) -> rusqlite::Result<()> {
        *self.changes.groups.entry(before.group()).or_default() -= 1;
        if before.holds() {
            self.changes.depths.push((before.key.clone(), -1));
        }
        self.refresh(&before.key)?;
        self.changes.wakes = true;
        Ok(())
    }

    /// Derives a key's row in `head` from its messages. While one of them is under way, none is ready.
    fn refresh(&self, key: &OrderKey) -> rusqlite::Result<()> {
        self.execute(
            "DELETE FROM head WHERE upstream = ?1 AND order_value = ?2",
            [&key.upstream, &key.value],
        )?;
        let mut first = self.connection.prepare_cached(
            "SELECT (SELECT min(seq) FROM message WHERE order_value = ?2 AND upstream = ?1 AND lane = 0 AND holds = 1),
                    (SELECT min(seq) FROM message WHERE order_value = ?2 AND upstream = ?1 AND lane = 1 AND holds = 1),
                    (SELECT min(seq) FROM message WHERE order_value = ?2 AND upstream = ?1 AND lane = 2 AND holds = 1)",
        )?;
        let firsts: [Option<i64>; 3] = first.query_row([&key.upstream, &key.value], |row| {
            Ok([row.get(0)?, row.get(1)?, row.get(2)?])
        })?;
        let lane = Lane::ALL.into_iter().find(|lane| firsts[lane.rank()].is_some());
        let (Some(lane), Some(seq)) = (lane, firsts.into_iter().flatten().min()) else {
            return Ok(());
        };
        self.execute(
            "INSERT INTO head (upstream, order_value, seq, lane, channel, api, ready_at)
             SELECT upstream, order_value, seq, ?2, channel, api, CASE WHEN ?3 OR EXISTS (
                SELECT 1 FROM message AS other WHERE other.lease_until IS NOT NULL
                    AND other.order_value = message.order_value AND other.upstream = message.upstream
             ) THEN NULL ELSE next_at END
             FROM message WHERE seq = ?1",
            params![seq, lane, self.is_key_paused(key)],
        )
    }

    fn message(&self, id: &str) -> rusqlite::Result<Option<Known>> {
        let mut statement =
            self.connection
                .prepare_cached(concat!("SELECT ", columns!(), " FROM message WHERE message.id = ?1"))?;
        statement.query_row([id], Known::read).optional()
    }

    fn select(&self, sql: &str, params: impl Params) -> rusqlite::Result<Vec<Known>> {
        let mut statement = self.connection.prepare_cached(sql)?;
        statement.query_map(params, Known::read)?.collect()
    }

    /// Counts what is there when the store is opened.
    fn count_all(&mut self) -> rusqlite::Result<()> {
        let groups = read::groups(&self.connection)?;
        self.changes.groups = groups
            .into_iter()
            .map(|(group, count)| (group, count.cast_signed()))
            .collect();
        let mut depths = self
            .connection
            .prepare("SELECT upstream, order_value, count(*) FROM message WHERE holds = 1 GROUP BY 2, 1")?;
        let mut rows = depths.query([])?;
        let facts = Arc::clone(&self.facts);
        while let Some(row) = rows.next()? {
            let key = OrderKey {
                upstream: row.get(0)?,
                value: row.get(1)?,
            };
            facts.deepen(&key, row.get(2)?);
        }
        Ok(())
    }

    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    pub(super) fn facts(&self) -> &Facts {
        &self.facts
    }

    pub(super) fn execute(&self, sql: &str, params: impl Params) -> rusqlite::Result<()> {
        self.connection.prepare_cached(sql)?.execute(params).map(drop)
    }

    /// What the transaction changed, to be told to others.
    pub(super) fn take_changes(&mut self) -> Changes {
        mem::take(&mut self.changes)
    }
}
