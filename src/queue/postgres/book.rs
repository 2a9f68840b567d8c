//! One transaction's work: messages are locked and read, changed in memory by the rules of their standing, and written
//! back together in a few statements.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;

use super::{
    codec::{day, digest, micros, stored, text},
    outbox, read,
    row::{COLUMNS, Whole},
    session::{Failure, Param, Session},
};
use crate::queue::{
    AttemptView, Digest, EndedAttempt, Group, NewMessage, NoticeStanding, NoticeView, OrderKey, Pause, PauseScope,
    Standing, StoredRequest, StoredResponse, fields,
};

/// The first message of each order key of `$1`, its most urgent lane, and when it is due.
macro_rules! heads {
    () => {
        "SELECT t.key, t.change, f.upstream, f.seq, f.channel, f.api,
            (CASE WHEN s.urgent IS NOT NULL THEN 0 WHEN s.standard IS NOT NULL THEN 1 ELSE 2 END)::smallint AS lane,
            CASE WHEN t.paused OR EXISTS (
                SELECT FROM message u WHERE u.key = t.key AND u.lease_until IS NOT NULL
            ) THEN NULL ELSE f.next_at END AS ready_at
         FROM unnest($1::bytea[], $2::bigint[], $3::bool[]) AS t(key, change, paused)
         CROSS JOIN LATERAL (SELECT
            (SELECT min(seq) FROM message m WHERE m.key = t.key AND m.lane = 0 AND m.holds) AS urgent,
            (SELECT min(seq) FROM message m WHERE m.key = t.key AND m.lane = 1 AND m.holds) AS standard,
            (SELECT min(seq) FROM message m WHERE m.key = t.key AND m.lane = 2 AND m.holds) AS bulk
         ) s
         JOIN message f ON f.seq = least(s.urgent, s.standard, s.bulk)"
    };
}

/// What is locked, what is known, and what will be written.
pub(super) struct Book<'a> {
    session: &'a Session,
    /// Order keys that have a row, which is ours until the end.
    locked: HashSet<Digest>,
    pub(super) pauses: BTreeMap<PauseScope, Pause>,
    slots: Vec<Slot>,
    by_id: HashMap<String, usize>,
    by_scope: HashMap<Digest, usize>,
    started: Vec<(i32, i64, AttemptView)>,
    ended: Vec<(i32, i64, EndedAttempt, Timestamp)>,
    requests: Vec<(i32, i64, StoredRequest)>,
    responses: Vec<(i32, i64, StoredResponse)>,
    tally: HashMap<Group, i64>,
    /// Something may be due earlier than before.
    pub(super) wakes: bool,
}

/// A message and what it was before.
pub(super) struct Slot {
    pub(super) whole: Whole,
    before: Option<Whole>,
    is_gone: bool,
    /// Its channel knows how it ended.
    pub(super) is_quiet: bool,
    /// Who has its lease now, and by which claim.
    pub(super) holder: Option<(String, i64)>,
}

/// A number for a place in [`Book`].
pub(super) type Place = usize;

impl<'a> Book<'a> {
    /// Locks order keys, and the messages with these ids together with theirs.
    pub(super) async fn open(session: &'a Session, keys: &[Digest], ids: &[String]) -> Result<Self, Failure> {
        let keys: Vec<&[u8]> = keys.iter().map(Digest::as_slice).collect();
        // In one order for all, so that nobody waits for somebody who waits.
        let locked = session
            .query(
                "SELECT key FROM order_key
                 WHERE key IN (SELECT unnest($1::bytea[]) UNION SELECT key FROM message WHERE id = ANY($2))
                 ORDER BY key FOR UPDATE",
                &[&keys, &ids],
            )
            .await?;
        let mut book = Self::with(session, &locked).await?;
        if !ids.is_empty() {
            let sql = format!("SELECT {COLUMNS} FROM message m WHERE id = ANY($1) ORDER BY seq FOR UPDATE");
            book.take(&session.query(&sql, &[&ids]).await?)?;
        }
        Ok(book)
    }

    /// With rows of `order_key` that are locked already.
    pub(super) async fn with(session: &'a Session, locked: &[tokio_postgres::Row]) -> Result<Self, Failure> {
        let locked = locked.iter().map(|row| super::codec::Columns::of(row).digest());
        Ok(Self {
            session,
            locked: locked.collect::<Result<_, _>>()?,
            pauses: read::pauses(session).await?,
            slots: Vec::new(),
            by_id: HashMap::new(),
            by_scope: HashMap::new(),
            started: Vec::new(),
            ended: Vec::new(),
            requests: Vec::new(),
            responses: Vec::new(),
            tally: HashMap::new(),
            wakes: false,
        })
    }

    /// Takes over rows with [`COLUMNS`].
    pub(super) fn take(&mut self, rows: &[tokio_postgres::Row]) -> Result<(), Failure> {
        for row in rows {
            let whole = Whole::read(row)?;
            if !self.by_id.contains_key(&whole.message.id) {
                self.add(Slot {
                    before: Some(whole.clone()),
                    whole,
                    is_gone: false,
                    is_quiet: false,
                    holder: None,
                });
            }
        }
        Ok(())
    }

    /// Reads what is known under these scopes and ids, without a lock.
    pub(super) async fn know(&mut self, scopes: &[Digest], ids: &[String]) -> Result<(), Failure> {
        let scopes: Vec<&[u8]> = scopes.iter().map(Digest::as_slice).collect();
        for (condition, value) in [
            ("scope = ANY($1)", &scopes as &(dyn tokio_postgres::types::ToSql + Sync)),
            ("id = ANY($1)", &ids),
        ] {
            let sql = format!("SELECT {COLUMNS} FROM message m WHERE {condition}");
            self.take(&self.session.query(&sql, &[value]).await?)?;
        }
        Ok(())
    }

    fn add(&mut self, slot: Slot) -> Place {
        let place = self.slots.len();
        self.by_id.insert(slot.whole.message.id.clone(), place);
        self.by_scope.insert(slot.whole.message.scope, place);
        self.slots.push(slot);
        place
    }

    pub(super) fn find(&self, id: &str) -> Option<Place> {
        let place = *self.by_id.get(id)?;
        (!self.slots[place].is_gone).then_some(place)
    }

    /// The message under this scope, or else with this id.
    pub(super) fn known(&self, message: &NewMessage) -> Option<&Whole> {
        let under_scope = self
            .by_scope
            .get(&message.scope)
            .filter(|place| !self.slots[**place].is_gone);
        let place = under_scope.copied().or_else(|| self.find(&message.id))?;
        Some(&self.slots[place].whole)
    }

    pub(super) fn at(&mut self, place: Place) -> &mut Slot {
        &mut self.slots[place]
    }

    pub(super) fn standing(&self, place: Place) -> &Standing {
        &self.slots[place].whole.standing
    }

    pub(super) fn places(&self) -> std::ops::Range<Place> {
        0..self.slots.len()
    }

    /// Whether a message holds this order key, those of this transaction included.
    pub(super) fn is_held(&self, key: &Digest) -> bool {
        self.locked.contains(key)
            || self
                .slots
                .iter()
                .any(|slot| !slot.is_gone && slot.whole.key == *key && slot.whole.holds())
    }

    /// Places in the order of admission. To be asked for once the order keys are locked.
    pub(super) async fn reserve(&self, count: usize) -> Result<Vec<i64>, Failure> {
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        let rows = self
            .session
            .query(
                "SELECT nextval('message_seq') FROM generate_series(1, $1::int)",
                &[&count],
            )
            .await?;
        rows.iter().map(|row| Ok(row.try_get(0)?)).collect()
    }

    pub(super) fn insert(
        &mut self,
        seq: i64,
        message: NewMessage,
        has_request: bool,
        admitted: Timestamp,
        standing: &Standing,
        now: Timestamp,
    ) -> Place {
        let whole = Whole {
            seq,
            day: day(now),
            key: digest(&message.order_key),
            has_request,
            message,
            admitted,
            standing: stored(standing),
        };
        if has_request {
            self.requests.push((whole.day, seq, whole.message.request.clone()));
        }
        self.add(Slot {
            whole,
            before: None,
            is_gone: false,
            is_quiet: false,
            holder: None,
        })
    }

    pub(super) fn remove(&mut self, place: Place) {
        self.slots[place].is_gone = true;
    }

    /// How it stands from now on.
    pub(super) fn set(&mut self, place: Place, standing: &Standing) {
        self.slots[place].whole.standing = stored(standing);
    }

    /// An attempt's intent.
    pub(super) fn started(&mut self, place: Place, number: u32, now: Timestamp) {
        let attempt = AttemptView {
            number,
            started: now,
            ended: None,
            result: String::new(),
        };
        self.attempted(place, attempt);
    }

    pub(super) fn attempted(&mut self, place: Place, attempt: AttemptView) {
        let whole = &self.slots[place].whole;
        self.started.push((whole.day, whole.seq, attempt));
    }

    pub(super) fn ended(&mut self, place: Place, ended: Option<EndedAttempt>, now: Timestamp) {
        let whole = &self.slots[place].whole;
        self.ended.extend(ended.map(|ended| (whole.day, whole.seq, ended, now)));
    }

    pub(super) fn keep_request(&mut self, place: Place, request: StoredRequest) {
        let whole = &self.slots[place].whole;
        self.requests.push((whole.day, whole.seq, request));
    }

    /// Nobody will send it again. It goes with its day.
    pub(super) fn drop_request(&mut self, place: Place) {
        self.slots[place].whole.has_request = false;
    }

    pub(super) fn keep_response(&mut self, place: Place, response: StoredResponse) {
        let whole = &self.slots[place].whole;
        self.responses.push((whole.day, whole.seq, response));
    }

    /// Messages that hold their keys, by what this transaction adds.
    pub(super) fn added(&self, is_meant: impl Fn(&NewMessage) -> bool) -> i64 {
        let slots = self.slots.iter().filter(|slot| is_meant(&slot.whole.message));
        slots.map(Slot::change).sum()
    }

    /// Writes all of it.
    pub(super) async fn close(mut self) -> Result<bool, Failure> {
        let mut inserted = Vec::new();
        let mut updated = Vec::new();
        let mut deleted = Vec::new();
        let mut keys: BTreeMap<Digest, (OrderKey, i64)> = BTreeMap::new();
        for slot in &self.slots {
            let (whole, before) = (&slot.whole, slot.before.as_ref());
            match before {
                None if slot.is_gone => continue,
                None => inserted.push(slot),
                Some(before) if slot.is_gone => deleted.push(before.seq),
                Some(before) if before.standing == whole.standing && before.has_request == whole.has_request => {
                    continue;
                }
                Some(_) => updated.push(slot),
            }
            if let Some(before) = before {
                *self.tally.entry(before.group()).or_default() -= 1;
            }
            if !slot.is_gone {
                *self.tally.entry(whole.group()).or_default() += 1;
            }
            let change = slot.change();
            let is_moved = before.is_none_or(|before| {
                slot.is_gone
                    || before.standing.next_attempt != whole.standing.next_attempt
                    || before.standing.leased_until.is_some() != whole.standing.leased_until.is_some()
            });
            if change != 0 || is_moved && before.is_some_and(Whole::holds) {
                keys.entry(whole.key)
                    .or_insert_with(|| (whole.message.order_key.clone(), 0))
                    .1 += change;
                self.wakes = true;
            }
        }
        write_messages(self.session, &inserted).await?;
        write_standings(self.session, &updated).await?;
        if !deleted.is_empty() {
            self.session
                .execute("DELETE FROM message WHERE seq = ANY($1)", &[&deleted])
                .await?;
            self.session
                .execute("DELETE FROM former_request WHERE seq = ANY($1)", &[&deleted])
                .await?;
        }
        let told: Vec<_> = updated.iter().filter_map(|slot| self.notice(slot)).collect();
        outbox::keep(self.session, &told).await?;
        self.write_attempts().await?;
        self.write_requests().await?;
        self.write_responses().await?;
        self.write_tally().await?;
        self.refresh(&keys).await?;
        Ok(self.wakes)
    }

    /// The notice of a message that ended in this transaction, where it is told.
    fn notice(&self, slot: &Slot) -> Option<(i64, NoticeView)> {
        let (before, whole) = (slot.before.as_ref()?, &slot.whole);
        let subscriptions = (!slot.is_quiet).then_some(&self.session.subscriptions)?;
        let (id, channel) = (&whole.message.id, &whole.message.channel);
        let notice = subscriptions.notice(id, channel, before.standing.finished, &whole.standing)?;
        let standing = NoticeStanding::new(notice.finished);
        Some((whole.seq, NoticeView { notice, standing }))
    }

    async fn write_attempts(&self) -> Result<(), Failure> {
        // One attempt may be written twice, and the last one counts.
        let started: BTreeMap<_, _> = self
            .started
            .iter()
            .map(|(day, seq, attempt)| ((*day, *seq, attempt.number), attempt))
            .collect();
        if !started.is_empty() {
            let (mut days, mut seqs, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
            let (mut starts, mut ends, mut results) = (Vec::new(), Vec::new(), Vec::new());
            for ((day, seq, number), attempt) in started {
                days.push(day);
                seqs.push(seq);
                numbers.push(i64::from(number));
                starts.push(micros(attempt.started));
                ends.push(attempt.ended.map(micros));
                results.push(text(&attempt.result));
            }
            let sql = "INSERT INTO attempt (day, seq, number, started, ended, result)
                SELECT * FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::text[])
                ON CONFLICT (day, seq, number) DO UPDATE
                    SET started = excluded.started, ended = excluded.ended, result = excluded.result";
            self.session
                .execute(sql, &[&days, &seqs, &numbers, &starts, &ends, &results])
                .await?;
        }
        if !self.ended.is_empty() {
            let (mut days, mut seqs, mut numbers) = (Vec::new(), Vec::new(), Vec::new());
            let (mut ends, mut results) = (Vec::new(), Vec::new());
            for (day, seq, ended, now) in &self.ended {
                days.push(*day);
                seqs.push(*seq);
                numbers.push(i64::from(ended.number));
                ends.push(ended.ended.then_some(micros(*now)));
                results.push(text(&ended.result));
            }
            let sql = "UPDATE attempt a SET ended = t.ended, result = t.result
                FROM unnest($1::int[], $2::bigint[], $3::bigint[], $4::bigint[], $5::text[])
                    AS t(day, seq, number, ended, result)
                WHERE a.day = t.day AND a.seq = t.seq AND a.number = t.number";
            self.session
                .execute(sql, &[&days, &seqs, &numbers, &ends, &results])
                .await?;
        }
        Ok(())
    }

    async fn write_requests(&self) -> Result<(), Failure> {
        if self.requests.is_empty() {
            return Ok(());
        }
        let (mut days, mut seqs) = (Vec::new(), Vec::new());
        let (mut methods, mut paths, mut idempotency_keys) = (Vec::new(), Vec::new(), Vec::new());
        let (mut headers, mut bodies) = (Vec::new(), Vec::new());
        for (day, seq, request) in &self.requests {
            days.push(*day);
            seqs.push(*seq);
            methods.push(text(&request.method));
            paths.push(text(&request.path_and_query));
            idempotency_keys.push(text(&request.idempotency_key));
            headers.push(fields::encode(&request.headers));
            bodies.push(&request.body[..]);
        }
        let sql = "INSERT INTO request (day, seq, method, path_and_query, idempotency_key, headers, body)
            SELECT * FROM unnest($1::int[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::bytea[], $7::bytea[])
            ON CONFLICT (day, seq) DO UPDATE SET method = excluded.method, path_and_query = excluded.path_and_query,
                idempotency_key = excluded.idempotency_key, headers = excluded.headers, body = excluded.body";
        let params = [
            &days as Param<'_>,
            &seqs,
            &methods,
            &paths,
            &idempotency_keys,
            &headers,
            &bodies,
        ];
        self.session.execute(sql, &params).await?;
        Ok(())
    }

    async fn write_responses(&self) -> Result<(), Failure> {
        if self.responses.is_empty() {
            return Ok(());
        }
        let (mut days, mut seqs, mut statuses) = (Vec::new(), Vec::new(), Vec::new());
        let (mut headers, mut bodies) = (Vec::new(), Vec::new());
        for (day, seq, response) in &self.responses {
            days.push(*day);
            seqs.push(*seq);
            statuses.push(i32::from(response.status));
            headers.push(fields::encode(&response.headers));
            bodies.push(&response.body[..]);
        }
        let sql = "INSERT INTO response (day, seq, status, headers, body)
            SELECT * FROM unnest($1::int[], $2::bigint[], $3::int[], $4::bytea[], $5::bytea[])
            ON CONFLICT (day, seq) DO UPDATE
                SET status = excluded.status, headers = excluded.headers, body = excluded.body";
        self.session
            .execute(sql, &[&days, &seqs, &statuses, &headers, &bodies])
            .await?;
        Ok(())
    }

    async fn write_tally(&self) -> Result<(), Failure> {
        write_tally(self.session, self.tally.iter().map(|(group, n)| (group, *n))).await
    }

    /// Has the row of an order key derived anew from its messages, whether or not one of them changed.
    pub(super) async fn refresh_key(&self, key: &OrderKey) -> Result<(), Failure> {
        let digest = digest(key);
        if self.locked.contains(&digest) {
            self.refresh(&BTreeMap::from([(digest, (key.clone(), 0))])).await?;
        }
        Ok(())
    }

    /// Derives rows of order keys from their messages. While one of them is under way, none is ready.
    async fn refresh(&self, keys: &BTreeMap<Digest, (OrderKey, i64)>) -> Result<(), Failure> {
        for has_row in [true, false] {
            let (mut digests, mut changes, mut paused) = (Vec::new(), Vec::new(), Vec::new());
            for (digest, (key, change)) in keys {
                if self.locked.contains(digest) == has_row {
                    digests.push(&digest[..]);
                    changes.push(*change);
                    paused.push(!self.pauses.is_empty() && self.pauses.contains_key(&PauseScope::Key(key.clone())));
                }
            }
            if digests.is_empty() {
                continue;
            }
            if has_row {
                let sql = "DELETE FROM order_key k USING unnest($1::bytea[], $2::bigint[]) AS t(key, change)
                    WHERE k.key = t.key AND k.depth + t.change = 0";
                self.session.execute(sql, &[&digests, &changes]).await?;
                let sql = concat!(
                    "UPDATE order_key k SET depth = k.depth + t.change, seq = t.seq, lane = t.lane,
                        channel = t.channel, api = t.api, ready_at = t.ready_at FROM (",
                    heads!(),
                    ") t WHERE k.key = t.key"
                );
                self.session.execute(sql, &[&digests, &changes, &paused]).await?;
            } else {
                let sql = concat!(
                    "INSERT INTO order_key (key, upstream, depth, seq, lane, channel, api, ready_at)
                     SELECT key, upstream, change, seq, lane, channel, api, ready_at FROM (",
                    heads!(),
                    ") t WHERE change > 0 ORDER BY key ON CONFLICT DO NOTHING"
                );
                let made = self.session.execute(sql, &[&digests, &changes, &paused]).await?;
                // Another gateway made one of them meanwhile: it has to be locked first.
                if made != changes.iter().filter(|change| **change != 0).count() as u64 {
                    return Err(Failure::Again);
                }
            }
        }
        Ok(())
    }
}

impl Slot {
    /// By how much it changes the depth of its order key.
    fn change(&self) -> i64 {
        let holds = !self.is_gone && self.whole.holds();
        i64::from(holds) - i64::from(self.before.as_ref().is_some_and(Whole::holds))
    }
}

pub(super) async fn write_tally<'a>(
    session: &Session,
    changes: impl Iterator<Item = (&'a Group, i64)> + Send,
) -> Result<(), Failure> {
    let (mut upstreams, mut apis, mut channels) = (Vec::new(), Vec::new(), Vec::new());
    let (mut lanes, mut states, mut holds, mut counts) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for (group, n) in changes.filter(|(_, n)| *n != 0) {
        upstreams.push(group.upstream.as_str());
        apis.push(group.api.as_str());
        channels.push(group.channel.as_str());
        lanes.push(group.lane as i16);
        states.push(group.state.name());
        holds.push(group.holds);
        counts.push(n);
    }
    if counts.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO tally (upstream, api, channel, lane, state, holds, n)
        SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::smallint[], $5::text[], $6::bool[], $7::bigint[])";
    session
        .execute(sql, &[&upstreams, &apis, &channels, &lanes, &states, &holds, &counts])
        .await?;
    Ok(())
}

/// Standings as columns, in the order of [`Standings::params`].
#[derive(Default)]
struct Standings<'a> {
    has_request: Vec<bool>,
    states: Vec<&'static str>,
    holds: Vec<bool>,
    in_doubt: Vec<bool>,
    attempts: Vec<i64>,
    attempts_allowed: Vec<i64>,
    breaks: Vec<i64>,
    first_sent: Vec<Option<i64>>,
    last_sent: Vec<Option<i64>>,
    next_at: Vec<Option<i64>>,
    due_by: Vec<i64>,
    finished: Vec<Option<i64>>,
    classes: Vec<Option<&'static str>>,
    causes: Vec<Option<&'a str>>,
    epochs: Vec<i64>,
    lease_until: Vec<Option<i64>>,
    holders: Vec<Option<&'a str>>,
    claims: Vec<Option<i64>>,
}

impl<'a> Standings<'a> {
    fn of(slots: &[&'a Slot]) -> Self {
        let mut columns = Self::default();
        for Slot { whole, holder, .. } in slots {
            let standing = &whole.standing;
            let failure = standing.failure.as_ref();
            columns.has_request.push(whole.has_request);
            columns.states.push(standing.state.name());
            columns.holds.push(whole.holds());
            columns.in_doubt.push(standing.is_in_doubt);
            columns.attempts.push(standing.attempts.into());
            columns.attempts_allowed.push(standing.max_attempts.into());
            columns.breaks.push(standing.breaks.into());
            columns.first_sent.push(standing.first_sent.map(micros));
            columns.last_sent.push(standing.last_sent.map(micros));
            columns.next_at.push(standing.next_attempt.map(micros));
            columns.due_by.push(micros(standing.deadline));
            columns.finished.push(standing.finished.map(micros));
            columns.classes.push(failure.map(|failure| failure.class.as_str()));
            columns.causes.push(failure.map(|failure| failure.cause.as_str()));
            columns.epochs.push(standing.epoch.cast_signed());
            columns.lease_until.push(standing.leased_until.map(micros));
            columns.holders.push(holder.as_ref().map(|(node, _)| node.as_str()));
            columns.claims.push(holder.as_ref().map(|(_, claim)| *claim));
        }
        columns
    }

    fn params(&self) -> [Param<'_>; 18] {
        [
            &self.has_request,
            &self.states,
            &self.holds,
            &self.in_doubt,
            &self.attempts,
            &self.attempts_allowed,
            &self.breaks,
            &self.first_sent,
            &self.last_sent,
            &self.next_at,
            &self.due_by,
            &self.finished,
            &self.classes,
            &self.causes,
            &self.epochs,
            &self.lease_until,
            &self.holders,
            &self.claims,
        ]
    }
}

async fn write_standings(session: &Session, slots: &[&Slot]) -> Result<(), Failure> {
    if slots.is_empty() {
        return Ok(());
    }
    let columns = Standings::of(slots);
    let seqs: Vec<i64> = slots.iter().map(|slot| slot.whole.seq).collect();
    // By the epoch that was read: the rows are locked, and this is what fences if they ever were not.
    let epochs: Vec<i64> = slots
        .iter()
        .map(|slot| {
            slot.before
                .as_ref()
                .map_or(0, |before| before.standing.epoch.cast_signed())
        })
        .collect();
    let sql = "UPDATE message m SET has_request = t.has_request, state = t.state, holds = t.holds,
            in_doubt = t.in_doubt, attempts = t.attempts, attempts_allowed = t.attempts_allowed, breaks = t.breaks,
            first_sent = t.first_sent, last_sent = t.last_sent, next_at = t.next_at, due_by = t.due_by,
            finished = t.finished, class = t.class, cause = t.cause, epoch = t.epoch, lease_until = t.lease_until,
            holder = CASE WHEN t.lease_until IS NULL THEN NULL ELSE coalesce(t.holder, m.holder) END,
            claim = CASE WHEN t.lease_until IS NULL THEN NULL ELSE coalesce(t.claim, m.claim) END
        FROM unnest($1::bool[], $2::text[], $3::bool[], $4::bool[], $5::bigint[], $6::bigint[], $7::bigint[],
            $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::text[], $14::text[],
            $15::bigint[], $16::bigint[], $17::text[], $18::bigint[], $19::bigint[], $20::bigint[])
            AS t(has_request, state, holds, in_doubt, attempts, attempts_allowed, breaks, first_sent, last_sent,
                next_at, due_by, finished, class, cause, epoch, lease_until, holder, claim, seq, epoch_before)
        WHERE m.seq = t.seq AND m.epoch = t.epoch_before";
    let mut params = columns.params().to_vec();
    params.extend([&seqs as Param<'_>, &epochs]);
    let written = session.execute(sql, &params).await?;
    if written != slots.len() as u64 {
        return Err(Failure::Again);
    }
    Ok(())
}

async fn write_messages(session: &Session, slots: &[&Slot]) -> Result<(), Failure> {
    if slots.is_empty() {
        return Ok(());
    }
    let columns = Standings::of(slots);
    let of = |part: fn(&Whole) -> &[u8]| slots.iter().map(|slot| part(&slot.whole)).collect::<Vec<_>>();
    let said = |part: fn(&NewMessage) -> &str| {
        slots
            .iter()
            .map(|slot| text(part(&slot.whole.message)))
            .collect::<Vec<_>>()
    };
    let number = |part: fn(&Whole) -> i64| slots.iter().map(|slot| part(&slot.whole)).collect::<Vec<_>>();
    let days: Vec<i32> = slots.iter().map(|slot| slot.whole.day).collect();
    let lanes: Vec<i16> = slots.iter().map(|slot| slot.whole.message.lane as i16).collect();
    let transactions = slots.iter().map(|slot| slot.whole.message.transaction.as_ref());
    let kinds: Vec<Option<String>> = transactions
        .clone()
        .map(|both| both.map(|(kind, _)| text(kind)))
        .collect();
    let values: Vec<Option<&[u8]>> = transactions
        .map(|both| both.map(|(_, value)| value.as_bytes()))
        .collect();
    let synchronous: Vec<bool> = slots.iter().map(|slot| slot.whole.message.is_synchronous).collect();
    let (seqs, admitted) = (number(|whole| whole.seq), number(|whole| micros(whole.admitted)));
    let deadlines = number(|whole| micros(whole.message.deadline));
    let max_attempts = number(|whole| whole.message.max_attempts.into());
    let (scopes, fingerprints, keys) = (
        of(|whole| &whole.message.scope),
        of(|whole| &whole.message.fingerprint),
        of(|whole| &whole.key),
    );
    let order_values = of(|whole| whole.message.order_key.value.as_bytes());
    let (ids, apis, operations) = (said(|m| &m.id), said(|m| &m.api), said(|m| &m.operation));
    let (versions, channels, upstreams) = (
        said(|m| &m.version),
        said(|m| &m.channel),
        said(|m| &m.order_key.upstream),
    );
    let (correlations, traceparents) = (said(|m| &m.correlation), said(|m| &m.traceparent));
    let policies = said(|m| m.head_of_line.name());
    let sql = "INSERT INTO message (has_request, state, holds, in_doubt, attempts, attempts_allowed, breaks,
            first_sent, last_sent, next_at, due_by, finished, class, cause, epoch, lease_until, holder, claim,
            seq, day, id, scope, fingerprint, key, upstream, order_value, api, operation, version, channel, lane,
            head_of_line, transaction_type, transaction_key, correlation, traceparent, deadline, max_attempts,
            synchronous, admitted)
        SELECT * FROM unnest($1::bool[], $2::text[], $3::bool[], $4::bool[], $5::bigint[], $6::bigint[],
            $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::text[],
            $14::text[], $15::bigint[], $16::bigint[], $17::text[], $18::bigint[], $19::bigint[], $20::int[],
            $21::text[], $22::bytea[], $23::bytea[], $24::bytea[], $25::text[], $26::bytea[], $27::text[],
            $28::text[], $29::text[], $30::text[], $31::smallint[], $32::text[], $33::text[], $34::bytea[],
            $35::text[], $36::text[], $37::bigint[], $38::bigint[], $39::bool[], $40::bigint[])
        ON CONFLICT DO NOTHING";
    let mut params = columns.params().to_vec();
    params.extend([
        &seqs as Param<'_>,
        &days,
        &ids,
        &scopes,
        &fingerprints,
        &keys,
        &upstreams,
        &order_values,
        &apis,
        &operations,
        &versions,
        &channels,
        &lanes,
        &policies,
        &kinds,
        &values,
        &correlations,
        &traceparents,
        &deadlines,
        &max_attempts,
        &synchronous,
        &admitted,
    ]);
    let written = session.execute(sql, &params).await?;
    // Another gateway stored one of the scopes meanwhile: it is known now.
    if written != slots.len() as u64 {
        return Err(Failure::Again);
    }
    Ok(())
}
